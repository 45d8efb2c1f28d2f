"""Figures for people and for scripts: a flat table of names and numbers, the unit in the name."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

# The first that fits a name's end gives the unit; seconds_… is the one name that begins with it.
_UNITS = (
    ("_per_s", "a second"),
    ("_ms", "ms"),
    ("_s", "s"),
    ("_nats", "nats"),
    ("_bits", "bits"),
    ("_ratio", "times"),
    ("_mb", "MB"),
)


def unit(name: str) -> str:
    """The unit a figure's name carries, "" when it is a plain number."""
    if name.startswith("seconds_"):
        return "s"
    return next((word for end, word in _UNITS if name.endswith(end)), "")


def lines(figures: Mapping[str, float]) -> list[str]:
    """One "name value unit" a figure, in columns."""
    width = max((len(name) for name in figures), default=0)
    return [
        f"{name:<{width}}  {_number(value)} {unit(name)}".rstrip()
        for name, value in figures.items()
    ]


def as_json(figures: Mapping[str, float]) -> str:
    """One flat JSON object; what is no number (a figure that could not be taken) is null."""
    clean = {name: value if math.isfinite(value) else None for name, value in figures.items()}
    return json.dumps(clean)


def _number(value: float) -> str:
    if isinstance(value, int) or (math.isfinite(value) and value == int(value)):
        return str(int(value))
    return f"{value:.4g}"

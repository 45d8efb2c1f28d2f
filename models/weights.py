"""Weights on disk: one safetensors file and a JSON card beside it. Nothing in either is executed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load as read_tensors
from safetensors.numpy import save as write_tensors

from models.score import UserError

Array = npt.NDArray[Any]


def shipped(system_id: str) -> Path:
    """Where the weights that come with the program lie."""
    return Path(str(resources.files("assets"))) / "weights" / f"{system_id}.safetensors"


def save(path: Path, tensors: Mapping[str, Array], card: Mapping[str, Any]) -> None:
    """Writes `path` and its card `path` with suffix .json; each appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {name: np.ascontiguousarray(a) for name, a in tensors.items()}
    text = json.dumps(card, indent=1, ensure_ascii=False) + "\n"
    _replace(path, write_tensors(arrays))
    _replace(path.with_suffix(".json"), text.encode("utf-8"))


def _replace(path: Path, content: bytes) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content)
    os.replace(partial, path)


def load(path: Path, system_id: str) -> tuple[dict[str, Array], dict[str, Any]]:
    """Tensors and card of weights for `system_id`; UserError when a file is missing, broken or another
    system's."""
    try:
        tensors = read_tensors(path.read_bytes())
    except OSError as error:
        raise UserError(
            f"{path} could not be read ({error.strerror}); name weights made by `ricercar train`."
        ) from None
    except (SafetensorError, ValueError, KeyError):
        raise UserError(
            f"{path} is not a whole safetensors file; train or fetch it again."
        ) from None
    beside = path.with_suffix(".json")
    try:
        card = json.loads(beside.read_text("utf-8"))
    except OSError:
        raise UserError(f"{beside} is missing; the weights need the card beside them.") from None
    except ValueError:
        raise UserError(f"{beside} is not JSON; train or fetch the weights again.") from None
    if not isinstance(card, dict) or card.get("system") != system_id:
        raise UserError(f"{path} holds no weights for {system_id}; choose another file.")
    return tensors, card


def check(path: Path, tensors: Mapping[str, Array], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """UserError unless the tensors have exactly these names and shapes and finite values."""
    for name, shape in shapes.items():
        if name not in tensors:
            raise UserError(f"{path} lacks the tensor {name}; train the weights again.")
        if tensors[name].shape != tuple(shape):
            raise UserError(
                f"{path}: {name} has shape {tensors[name].shape}, not {tuple(shape)}; "
                "train the weights again."
            )
        if not np.isfinite(tensors[name]).all():
            raise UserError(f"{path}: {name} holds values that are no numbers; train them again.")
    extra = sorted(set(tensors) - set(shapes))
    if extra:
        raise UserError(f"{path} has an unknown tensor {extra[0]}; choose another file.")

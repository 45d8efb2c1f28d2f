"""Rehearsed: how a performance was set the last time, each mode for itself, as a value that can be written down."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from engine.staging import LIVE, Mode, Quantum, Setting, modes
from models.card import Card, Value
from models.score import Track, UserError

KEY = "performance"
"""Where the settings keep it."""

USUAL: dict[Mode, str] = {
    Mode.ANSWER: "launchpad_lstm",
    Mode.HARMONISE: "deep_bach",
    Mode.STREAM: "bi_axial",
    Mode.MUTATE: "deep_bach",
}
"""The system each mode begins with, where it is installed."""

STEPS: dict[Mode, Quantum] = {Mode.HARMONISE: Quantum.BEAT}
"""Where changes come to begin with, if not at the next bar."""

BOUNDS: dict[str, tuple[float, float]] = {
    "bars": (1, 16),
    "density": (-3.0, 3.0),
    "register": (-2, 2),
    "passes": (1, 16),
    "share": (0.0, 1.0),
    "rest": (0.25, 8.0),
}
"""The numbers of a Setting that are remembered, and what they can be."""

_SOUND_BOUNDS: dict[str, tuple[int, int]] = {
    "channel": (0, 15),
    "program": (0, 127),
    "volume": (0, 127),
    "offset": (-200, 200),
}
SOUND = ("port", *_SOUND_BOUNDS)
"""The fields of a track that say where and how a part sounds."""

FIRST_CHANNEL = 15
"""Parts begin on the last channel, far from those a document's tracks take first."""

FIRST_PART = Track(LIVE, "Ricercar", channel=FIRST_CHANNEL)


def fitting(cards: Iterable[Card], mode: Mode) -> tuple[Card, ...]:
    """The systems whose card offers a mode."""
    return tuple(card for card in cards if mode in modes(card))


@dataclass(frozen=True)
class Rehearsed:
    """The mode chosen; the settings of every mode (their `params` and `parts` empty); what was set of each
    system's parameters; and the parts."""

    mode: Mode
    settings: Mapping[Mode, Setting]
    params: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    parts: tuple[Track, ...] = (FIRST_PART,)

    @property
    def setting(self) -> Setting:
        """The setting of the mode chosen, whole."""
        setting = self.settings[self.mode]
        return replace(setting, params=self.params.get(setting.system, {}), parts=self.parts)

    def in_mode(self, mode: Mode) -> Rehearsed:
        """With another mode chosen."""
        return replace(self, mode=mode)

    def with_setting(self, **changes: object) -> Rehearsed:
        """With the chosen mode set differently."""
        setting = replace(self.settings[self.mode], **changes)  # type: ignore[arg-type]
        return replace(self, settings={**self.settings, self.mode: setting})

    def with_param(self, card: Card | None, name: str, value: Value) -> Rehearsed:
        """With a parameter of a system set; UserError when it has none such, or not with that value."""
        if card is None:
            return self
        own = {**self.params.get(card.id, {}), name: value}
        every = card.values(own)
        return replace(self, params={**self.params, card.id: {n: every[n] for n in own}})

    def text(self) -> str:
        """As JSON. A voice belongs to one document and is not remembered."""
        return json.dumps(
            {
                "mode": self.mode,
                "settings": {
                    mode: {"system": s.system, "quantum": s.quantum, "repeat": s.repeat}
                    | {name: getattr(s, name) for name in BOUNDS}
                    for mode, s in self.settings.items()
                },
                "params": {system: dict(own) for system, own in self.params.items()},
                "parts": [
                    {"name": p.name} | {name: getattr(p, name) for name in SOUND}
                    for p in self.parts
                ],
            }
        )

    @classmethod
    def read(cls, text: str, cards: Iterable[Card]) -> Rehearsed:
        """What `text` wrote, as far as it makes sense with these systems; the usual for the rest."""
        cards = tuple(cards)
        try:
            stored = _table(json.loads(text))
        except (ValueError, RecursionError):
            stored = {}
        settings = {}
        for mode in Mode:
            ids = [card.id for card in fitting(cards, mode)]
            usual = USUAL[mode] if USUAL[mode] in ids else next(iter(ids), "")
            settings[mode] = _setting(
                mode, _table(_table(stored.get("settings")).get(mode)), ids, usual
            )
        chosen = stored.get("mode")
        return cls(
            Mode(chosen) if chosen in tuple(Mode) else Mode.ANSWER,
            settings,
            _params(_table(stored.get("params")), cards),
            _parts(stored.get("parts")) or (FIRST_PART,),
        )


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: Any, default: Any, low: float, high: float) -> Any:
    """`value` when it is a number as the default is, and within bounds; else the default."""
    kinds = (int, float) if isinstance(default, float) else (int,)
    fits = isinstance(value, kinds) and not isinstance(value, bool) and low <= value <= high
    return type(default)(value) if fits else default


def _setting(mode: Mode, stored: dict[str, Any], ids: list[str], usual: str) -> Setting:
    system = stored["system"] if stored.get("system") in ids else usual
    setting = Setting(mode, system, quantum=STEPS.get(mode, Quantum.BAR))
    quantum = stored.get("quantum")
    return replace(
        setting,
        quantum=Quantum(quantum) if quantum in tuple(Quantum) else setting.quantum,
        repeat=stored.get("repeat") is True,
        **{n: _number(stored.get(n), getattr(setting, n), *b) for n, b in BOUNDS.items()},
    )


def _params(stored: dict[str, Any], cards: Iterable[Card]) -> dict[str, dict[str, Value]]:
    found: dict[str, dict[str, Value]] = {}
    for card in cards:
        for name, value in _table(stored.get(card.id)).items():
            whole = tuple(value) if isinstance(value, list) else value
            try:
                own = {name: card.values({name: whole})[name]}
            except (UserError, TypeError, IndexError):
                continue
            found[card.id] = found.get(card.id, {}) | own
    return found


def _parts(stored: Any) -> tuple[Track, ...]:
    parts: list[Track] = []
    for row in stored if isinstance(stored, list) else []:
        row = _table(row)
        part = replace(FIRST_PART, id=LIVE + len(parts))
        sound = {
            n: _number(row.get(n), getattr(part, n), *_SOUND_BOUNDS[n])
            for n in SOUND
            if n != "port"
        }
        texts = {n: row[n] for n in ("name", "port") if isinstance(row.get(n), str)}
        parts.append(replace(part, **sound, **texts))
    return tuple(parts)

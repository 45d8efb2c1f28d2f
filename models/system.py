"""The protocol between a system and whoever asks it for music: Ask in, Proposals out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from models.card import Card, Task, Value
from models.score import Key, Region, Score, Track, splice
from models.timebase import MeterMap


@dataclass(frozen=True)
class Ask:
    """A request. `score` is the whole piece; `region` where to write (its tracks may be empty for
    `create` and `accompany`, which make tracks of their own); `params` as `Card.values` returns them.

    Locks are notes' own (`Notes.locked`). `melody` is the id of the track `accompany` listens to (None:
    the system picks the one that fits). `phrases` are pieces to start from, each from its tick 0 on:
    `interpolate` goes from the first to the second, `reshape` and `regenerate` start from the average of
    all of them, or from what is in the region when there are none.
    """

    task: Task
    score: Score
    region: Region
    params: Mapping[str, Value] = field(default_factory=dict)
    seed: int = 0
    count: int = 1
    melody: int | None = None
    phrases: tuple[Score, ...] = ()


@dataclass(frozen=True)
class Proposal:
    """One candidate, complete enough to play at any time.

    `tracks` hold only the new notes, all inside `region`; a track id the score lacks is a new track.
    `final` is False while the sampler still works on it. `figures` may carry what the system thinks
    of it (e.g. nats per note). `fermatas`, `keys` and `meter` are those of a piece made from nothing: they
    are taken over by a score that has none, the metre by one that has no notes.
    """

    candidate: int
    region: Region
    tracks: tuple[Track, ...]
    final: bool = False
    fermatas: tuple[int, ...] = ()
    keys: tuple[Key, ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)
    meter: MeterMap | None = None

    def apply(self, score: Score) -> Score:
        """`score` with the proposal in it; see `models.score.splice`."""
        spliced = splice(score, self.region, self.tracks)
        if self.fermatas and not score.fermatas:
            spliced = replace(spliced, fermatas=self.fermatas)
        if self.keys and not score.keys:
            spliced = replace(spliced, keys=self.keys)
        if self.meter is not None and not score.length:
            spliced = replace(spliced, meter=self.meter)
        return spliced


@dataclass(frozen=True)
class Progress:
    """How far a job is: `fraction` 0–1 and a short text for the status line."""

    fraction: float
    text: str = ""


@dataclass(frozen=True)
class Context:
    """What a system may use besides the request: its only randomness, the device's name, weights.

    `device` is "cpu", "cuda" or "mps". `weights` is None for those shipped in assets/weights.
    """

    rng: np.random.Generator
    device: str = "cpu"
    weights: Path | None = None


class System(Protocol):
    """One system of models.systems. Loading happens in the constructor's caller: see `catalogue.load`.

    `generate` validates the request first and raises UserError with one sentence when it can't be met;
    it then yields Progress and Proposals; closing it at any yield leaves nothing behind.
    `train` yields dictionaries of losses in nats; `evaluate` returns figure name → number, units in names.
    """

    card: ClassVar[Card]

    def generate(self, ask: Ask, context: Context) -> Iterator[Proposal | Progress]: ...

    def train(self, corpus: Any, context: Context) -> Iterator[Mapping[str, float]]: ...

    def evaluate(self, data: Any, context: Context) -> Mapping[str, float]: ...

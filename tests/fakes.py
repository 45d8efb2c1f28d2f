"""Small real parts for tests: a system that needs no weights, and makes notes that can be told apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from models.card import Card, Objective, Param, Representation, Task
from models.score import Notes, Track, UserError
from models.system import Ask, Context, Progress, Proposal
from models.timebase import SIXTEENTH


class ToySystem:
    """Fills the region with random quarter notes, `steps` times over for every candidate.

    `before(step)` is called ahead of each step, so that a test can raise, wait or watch there;
    `closed` counts generators that ended, by whatever way.
    """

    card: ClassVar[Card] = Card(
        id="toy",
        name="Toy",
        source="none",
        objective=Objective("melody", "score", "autonomous"),
        representation=Representation("none", 4, False, "none"),
        architecture="none",
        challenges=(),
        strategy=("random",),
        tasks=(Task.CREATE, Task.REGENERATE),
        params=(Param("steps", 5, 1, 1000),),
    )

    def __init__(self, before: Callable[[int], None] | None = None) -> None:
        self.before = before
        self.closed = 0

    def generate(self, ask: Ask, context: Context) -> Iterator[Proposal | Progress]:
        if ask.task not in self.card.tasks:
            raise UserError(f"Toy cannot {ask.task}; ask it to create or regenerate.")
        region, length = ask.region, 4 * SIXTEENTH
        ids = sorted(region.tracks) or [ask.score.next_track_id]
        names = {t.id: t.name for t in ask.score.tracks}
        steps = self.card.values(ask.params)["steps"]
        assert isinstance(steps, int)
        try:
            for step in range(steps):
                if self.before is not None:
                    self.before(step)
                yield Progress(step / steps)
                for candidate in range(ask.count):
                    onset = np.arange(region.start, region.end - length + 1, length)
                    pitches = [context.rng.integers(60, 72, len(onset)) for _ in ids]
                    tracks = tuple(
                        Track(i, names.get(i, "Toy"), Notes.of(onset, length, p))
                        for i, p in zip(ids, pitches, strict=True)
                    )
                    yield Proposal(candidate, region, tracks, final=step == steps - 1)
        finally:
            self.closed += 1

    def train(self, corpus: Any, context: Context) -> Iterator[Mapping[str, float]]:
        raise UserError("Toy has nothing to learn.")

    def evaluate(self, data: Any, context: Context) -> Mapping[str, float]:
        raise UserError("Toy has nothing to measure.")

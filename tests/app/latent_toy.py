"""A system with a latent space that needs no weights: two numbers, how high and how dense a phrase is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import ClassVar

import numpy as np
from fakes import ToySystem

from models.attributes import NAMES, measure
from models.card import LATENT_PARAMS, Card, Task
from models.representations import melody
from models.score import Notes, Score, UserError
from models.space import Space
from models.system import Ask, Context, Progress, Proposal
from models.timebase import SIXTEENTH

SEMITONES, DENSER = 5.0, 3.0
"""What one unit of each number of a code stands for: semitones, notes a bar."""
STEPS = 2 * melody.BAR

LATENT_TOY: Card = replace(
    ToySystem.card,
    id="latent_toy",
    name="Latent toy",
    tasks=(Task.CREATE, Task.REGENERATE, Task.INTERPOLATE, Task.RESHAPE),
    params=LATENT_PARAMS,
)


def tokens_of(score: Score, start: int, end: int, track_id: int) -> melody.Tokens:
    """A track's bars as tokens."""
    notes = score.track(track_id).notes
    notes = notes.where(notes.sounding(start, end))
    steps = (end - start) // SIXTEENTH
    return melody.from_notes(notes.onset, notes.duration, notes.pitch, start, steps)[0]


class LatentToy(ToySystem):
    """Transposes, and gives every note so many repeats; what it is asked is kept in `asked`."""

    card: ClassVar[Card] = LATENT_TOY

    def __init__(self, before: Callable[[int], None] | None = None) -> None:
        super().__init__(before)
        self.asked: list[Ask] = []

    def generate(self, ask: Ask, context: Context) -> Iterator[Proposal | Progress]:
        self.asked.append(ask)
        if self.before is not None:
            self.before(len(self.asked))
        region, values = ask.region, self.card.values(ask.params)
        if ask.score.meter.at(region.start)[0] == 3:
            raise UserError("Latent toy takes phrases in 4/4; these bars are in 3/4.")
        (track_id,) = region.tracks
        track = ask.score.track(track_id)
        notes = track.notes.where(region.owned(track))
        high, dense = 0.0, 0.0
        if ask.task is Task.RESHAPE:
            given = {n: v for n, v in values.items() if isinstance(v, float)}
            high = given["pitch"] + given["map_x"]
            dense = given["density"] + given["map_y"]
        if ask.phrases:
            means = [float(np.mean(p.tracks[0].notes.pitch)) for p in ask.phrases]
            high += (float(np.mean(means)) - float(notes.pitch.mean())) / SEMITONES
        yield Progress(0.0)
        for candidate in range(ask.count):
            times = max(round(1 + dense), 1)
            part = notes.duration // times
            onset = np.concatenate([notes.onset + k * part for k in range(times)])
            moved = np.clip(notes.pitch.astype(int) + round(SEMITONES * high) + candidate, 0, 127)
            made = Notes.of(
                onset, np.tile(part, times), np.tile(moved, times), np.tile(notes.velocity, times)
            )
            steps = (region.end - region.start) // SIXTEENTH
            tokens = melody.from_notes(
                made.onset, made.duration, made.pitch, region.start, -(-steps // 16) * 16
            )[0]
            measured = measure(tokens[None])[0]
            figures = dict(zip(NAMES, map(float, measured), strict=True))
            figures["map_x"] = (float(notes.pitch.mean()) - 60) / SEMITONES + high
            figures["map_y"] = dense
            figures["changed"] = float(len(made) != len(notes) or round(SEMITONES * high) != 0)
            yield Proposal(candidate, region, (track.with_notes(made),), True, figures=figures)


def toy_space(points: int = 400) -> Space:
    """A space for it, whose phrases lie in a cloud; all sliders act but tension and rhythm."""
    rng = np.random.default_rng(1)
    places = rng.normal(0, (1.6, 1.0), (points, 2))
    tokens = np.full((points, STEPS), melody.HOLD, np.uint8)
    for row, (x, y) in zip(tokens, places, strict=True):
        every = int(np.clip(4 - round(y), 1, 8))
        row[::every] = melody.FIRST + np.clip(round(24 + SEMITONES * x), 0, 60)
        row[::8] += 2
    measured = measure(tokens)
    direction = np.zeros((len(NAMES), 2), np.float32)
    direction[NAMES.index("pitch")] = (1, 0)
    direction[NAMES.index("density")] = (0, 1)
    rho = np.where(np.isin(NAMES, ("tension", "rhythm")), 0.2, 0.9).astype(np.float32)
    return Space(
        direction=direction,
        mean=measured.mean(0),
        scale=measured.std(0),
        curve=np.zeros((len(NAMES), 7), np.float32),
        rho=rho,
        drift=np.zeros(len(NAMES), np.float32),
        code_scale=np.ones(2, np.float32),
        map_mean=np.zeros(2, np.float32),
        map_axes=np.eye(2, dtype=np.float32),
        points=places.astype(np.float16),
        point_attributes=measured.astype(np.float16),
        point_tokens=tokens,
    )

"""The blues: choruses over its forms, and a piece with chords and a melody above."""

from __future__ import annotations

from typing import Any

import numpy as np

from mills.lines import BAR, line
from models import training
from models.card import Card, Task
from models.representations import blues
from models.representations.blues import STEP
from models.score import Notes, Region, Score, Track
from models.system import Ask

RANGE = (36, 96)
ONE_AT_A_TIME = False


def corpus(system: Any) -> training.Corpus:
    made = blues.made(1, 8)
    return training.Corpus(made, made)


def chords(first_id: int = 500) -> Track:
    """Four bars of the plain form, in C, with a locked note and a chord that crosses the end of bar 1."""
    rows = [
        (
            bar * BAR + (600 if bar == 1 else 0),
            BAR + (600 if not bar else -600 if bar == 1 else 0),
            48 + p,
        )
        for bar in range(4)
        for p in np.flatnonzero(blues.form("plain")[bar * blues.BAR])
    ]
    rows += [(2 * BAR + 4 * STEP, STEP, 60)]
    onset, duration, pitch = np.array(rows).T
    locked = pitch == 60
    return Track(5, "Chords", Notes.of(onset, duration, pitch, locked=locked, first_id=first_id))


def asked(card: Card, task: Task, count: int, seed: int) -> Ask:
    """Two bars of four: of both tracks, or of the melody alone over the chords."""
    score = Score((line(0, "Melody", 67), chords(), line(1, "Bass", 40)))
    both = {0, 5} if "melody" in card.voices else {5}
    region = Region(
        BAR, 3 * BAR, frozenset({0} if task in (Task.ACCOMPANY, Task.REGENERATE) else both)
    )
    if task is Task.CREATE:
        score, region = Score(), Region(0, 2 * BAR)
    return Ask(task, score, region, card.values(), seed, count)

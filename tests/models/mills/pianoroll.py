"""Polyphony as piano rolls."""

from __future__ import annotations

from typing import Any

import numpy as np

from mills.lines import BAR, line
from models import training
from models.card import Card, Task
from models.representations.pianoroll import LOWEST, PITCHES, Roll, struck
from models.score import Region, Score
from models.system import Ask

RANGE = (LOWEST, LOWEST + PITCHES - 1)
ONE_AT_A_TIME = False


def roll(steps: int, seed: int) -> Roll:
    """Chords of three notes that change every other step."""
    rng = np.random.default_rng(seed)
    sounds = np.zeros((steps, PITCHES), bool)
    for t in range(0, steps, 2):
        root = 60 - LOWEST + int(rng.choice([0, 5, 7]))
        sounds[t : t + 2, [root, root + 4, root + 7]] = True
    return Roll(f"made/{seed}", sounds, struck(sounds), np.arange(steps) % 16)


def corpus(system: Any) -> training.Corpus:
    pieces = [roll(24, seed) for seed in range(3)]
    return training.Corpus(pieces, pieces)


def asked(card: Card, task: Task, count: int, seed: int) -> Ask:
    """Two bars of one track of chords of a piece of four bars, a melody beside it."""
    chords = line(0, "Piano", 48)
    upper = chords.notes.with_(pitch=chords.notes.pitch + 7, id=chords.notes.id + 50)
    both = type(upper).concatenate([chords.notes, upper])
    score = Score((chords.with_notes(both), line(1, "Flute", 72)))
    region = Region(BAR, 3 * BAR, frozenset({0}))
    if task is Task.CREATE:
        score, region = Score(), Region(0, 2 * BAR)
    melody = 1 if task is Task.ACCOMPANY else None
    return Ask(task, score, region, card.values({}), seed, count, melody)

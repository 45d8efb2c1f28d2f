"""Performances, and requests to whatever plays the piano."""

from __future__ import annotations

from typing import Any

import numpy as np

from mills.lines import BAR, line
from models import training
from models.card import Card, Task
from models.representations.performance import HIGH, LOW, Held, Performance, encode, follows
from models.score import Region, Score
from models.system import Ask

RANGE = (LOW, HIGH)
ONE_AT_A_TIME = False


def played(seed: int, strokes: int = 200) -> Performance:
    """Made-up playing: a walk over the keys in triplets, louder as it rises."""
    rng = np.random.default_rng(seed)
    pitch = 60 + np.cumsum(rng.integers(-2, 3, strokes)) % 24
    onset = np.arange(strokes) * 0.17
    return Performance(f"made {seed}", onset, onset + 0.15, pitch, pitch)


def corpus(system: Any) -> training.Corpus:
    train = [played(seed) for seed in range(4)]
    held = Held((encode(played(9)),), follows(map(encode, train)))
    return training.Corpus(train, held)


def asked(card: Card, task: Task, count: int, seed: int) -> Ask:
    """Two bars of a flute part of four, a bass beside it."""
    score = Score((line(0, "Flute", 67), line(1, "Bass", 48)))
    region = Region(BAR, 3 * BAR, frozenset({0}))
    if task is Task.CREATE:
        score, region = Score(), Region(0, 2 * BAR)
    return Ask(task, score, region, card.values(), seed, count)

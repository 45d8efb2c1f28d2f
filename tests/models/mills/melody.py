"""Phrases of melody on a grid of sixteenths, and requests to whatever writes one line."""

from __future__ import annotations

from typing import Any

import numpy as np

from mills.lines import BAR, line
from models import training
from models.card import Card, Task, Value
from models.representations.melody import FIRST, HOLD, Phrases
from models.score import Region, Score
from models.system import Ask

RANGE = (36, 96)
ONE_AT_A_TIME = True


def phrases(count: int, bars: int) -> Phrases:
    """Made-up melodies in C, all quarters."""
    rng = np.random.default_rng(1)
    tokens = np.full((count, 16 * bars), HOLD, np.uint8)
    tokens[:, ::4] = FIRST + 24 + rng.choice([0, 2, 4, 5, 7, 9, 11], (count, 4 * bars))
    zeros = np.zeros(len(tokens), np.int64)
    return Phrases(tokens, zeros, zeros, zeros, ("made/up",))


def corpus(system: Any) -> training.Corpus:
    return training.Corpus(phrases(8, system.bars), phrases(8, system.bars))


def asked(card: Card, task: Task, count: int, seed: int) -> Ask:
    """Two bars of a flute part of four, a bass beside it."""
    score = Score((line(0, "Flute", 67), line(1, "Bass", 48)))
    region = Region(BAR, 3 * BAR, frozenset({0}))
    params: dict[str, Value] = {}
    ends: tuple[Score, ...] = ()
    if task is Task.CREATE:
        score, region = Score(), Region(0, 2 * BAR)
    elif task is Task.RESHAPE:
        params = {"density": 2.0}
    elif task is Task.INTERPOLATE:
        ends = (Score((line(2, "A", 67),)), Score((line(3, "B", 72),)))
        score, region, params = Score(), Region(0, 12 * BAR), {"steps": 3}
    return Ask(task, score, region, card.values(params), seed, count, phrases=ends)

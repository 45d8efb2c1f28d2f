"""Songs of a few chords, and requests for chords under a line."""

from __future__ import annotations

from typing import Any

import numpy as np

from mills.lines import BAR, line
from models import training
from models.card import Card, Task
from models.representations.chords import Song
from models.score import Notes, Region, Score, Track
from models.system import Ask
from models.timebase import PPQ

RANGE = (36, 76)
ONE_AT_A_TIME = False


def song(seed: int, bars: int = 16) -> Song:
    """Bars of C, F and G whose melodies sound the chord's notes."""
    rng = np.random.default_rng(seed)
    root = rng.choice([0, 5, 7], bars)
    ticks = np.zeros((bars, 2, 12), np.int64)
    for step in (0, 4, 7):
        ticks[np.arange(bars), :, (root + step) % 12] = 2 * PPQ // 3
    label = np.repeat(root[:, None], 2, axis=1)
    return Song(f"made/{seed}.mxl", ticks, np.full((bars, 2), 2 * PPQ), label)


def corpus(system: Any) -> training.Corpus:
    songs = [song(i) for i in range(8)]
    return training.Corpus(songs, songs)


def asked(card: Card, task: Task, count: int, seed: int) -> Ask:
    """Chords for two bars of four of a flute part: a note of them is locked, one crosses the edge."""
    kept = Notes.of([BAR - PPQ, 2 * BAR + 100], [2 * PPQ, PPQ], [60, 62], locked=[False, True])
    piano = Track(1, "Piano", kept.with_(id=[900, 901]), channel=1)
    score = Score((line(0, "Flute", 72), piano))
    region = Region(BAR, 3 * BAR, frozenset({1}))
    return Ask(task, score, region, card.values(), seed, count, 0)

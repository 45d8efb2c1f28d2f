"""Polyphony as piano rolls, long enough for windows of four bars."""

from __future__ import annotations

from typing import Any

from mills.pianoroll import ONE_AT_A_TIME, RANGE, asked, roll
from models import training

__all__ = ["ONE_AT_A_TIME", "RANGE", "asked", "corpus"]


def corpus(system: Any) -> training.Corpus:
    pieces = [roll(96, seed) for seed in range(3)]
    return training.Corpus(pieces, pieces)

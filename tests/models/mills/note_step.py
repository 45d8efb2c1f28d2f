"""Whole tunes, note by note."""

from __future__ import annotations

from typing import Any

from test_melody import tune, walk

from mills.melody import ONE_AT_A_TIME, RANGE, asked
from models import training

__all__ = ["ONE_AT_A_TIME", "RANGE", "asked", "corpus"]


def corpus(system: Any) -> training.Corpus:
    tunes = [tune(f"made/{i}", walk(i, 48)) for i in range(12)]
    return training.Corpus(tunes, tunes)

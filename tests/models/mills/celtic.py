"""Whole tunes as words of ABC."""

from __future__ import annotations

from typing import Any

from test_melody import tune, walk

from mills.melody import ONE_AT_A_TIME, RANGE, asked
from models import training
from models.representations import folk_books

__all__ = ["ONE_AT_A_TIME", "RANGE", "asked", "corpus"]


def corpus(system: Any) -> training.Corpus:
    pieces = [w for i in range(12) for w in folk_books.of_tune(tune(f"made/{i}", walk(i, 48)))]
    return training.Corpus(pieces, pieces)

"""Phrases of melody, slice after slice."""

from mills.melody import ONE_AT_A_TIME, RANGE, asked, corpus

__all__ = ["ONE_AT_A_TIME", "RANGE", "asked", "corpus"]

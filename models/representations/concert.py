"""CONCERT's psychologically grounded vectors of pitch and duration (Mozer 1994, after Shepard 1982).

Notes that sound alike are near one another: pitch by height, by its place on the chroma circle and on
the circle of fifths (PHCCCF), duration by its length and its place on a third and a quarter of a beat.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.representations.placed import LOWEST, PITCHES, SILENT, SYMBOLS, TIMES

Vectors = npt.NDArray[np.float32]

PER_SEMITONE = 2 * 9.798 / 48
"""Four octaves of height are as long as in the paper, from −9.798 to 9.798."""
MIDDLE = 67
"""The pitch of height 0."""
PITCH_PARTS = (1, 6, 6)
"""Units of height, chroma circle and circle of fifths."""
TIME_PARTS = (1, 2, 2)
"""Units of length, third of a beat and quarter of a beat."""


def circle(place: npt.ArrayLike) -> Vectors:
    """[..., 6] of ±1: twelve places on a circle, each one unit different from its neighbours, and all six
    from the place opposite."""
    p = np.asarray(place)[..., None]
    on = (p - np.arange(-2, 4)) % 12 < 6
    return np.where(on, 1, -1).astype(np.float32)


def pitch_vectors() -> Vectors:
    """[SYMBOLS, 13]: height, chroma circle, circle of fifths; for a rest, a pattern that no pitch has."""
    pitch = LOWEST + np.arange(PITCHES)
    out = np.zeros((SYMBOLS, sum(PITCH_PARTS)), np.float32)
    out[:PITCHES, 0] = (pitch - MIDDLE) * PER_SEMITONE
    out[:PITCHES, 1:7] = circle(pitch % 12)
    out[:PITCHES, 7:] = circle(7 * pitch % 12 + 6)
    out[SILENT, 1:] = np.tile([1, -1], 6)
    return out


def time_vectors() -> Vectors:
    """[TIMES, 5]: the logarithm of the length, and cosine and sine of the length's place on the circles
    of a third and of a quarter of a beat."""
    parts = [np.log2(TIMES / 12)]
    for twelfths in (4, 3):
        turn = 2 * np.pi * (TIMES % twelfths) / twelfths
        parts += [np.cos(turn), np.sin(turn)]
    return np.stack(parts, -1).astype(np.float32)


def one_hot(symbols: int) -> Vectors:
    """[symbols, symbols]: vectors in which no two pitches are any nearer than others, to compare with."""
    return np.eye(symbols, dtype=np.float32)

"""Time slices: what sounds in every eighth or sixteenth, and whether it begins there (Todd 1989).

A slice is a vector of PITCHES units, one for each pitch, and one unit more that says whether a note
begins: so a repeated note is told from a long one. Silence is the absence of any pitch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from models.representations import melody
from models.representations.melody import FIRST, HOLD
from models.representations.note_step import REST, Column
from models.timebase import SIXTEENTH

Vectors = npt.NDArray[np.float32]

LOWEST, PITCHES = 53, 36
"""F3 to E6, after music has been moved to white keys and to the octave the corpus lies in."""
UNITS = PITCHES + 1
SILENT = -1
HALF = 0.5
"""Above it a unit is on."""


def slices(tokens: melody.Tokens, per_slice: int) -> tuple[Column, npt.NDArray[np.bool_]]:
    """Pitch unit (SILENT for none) and whether a note begins, [..., T // per_slice], of tokens [..., T].

    What sounds at the first sixteenth of a slice stands for the slice.
    """
    pitch = melody.pitch(tokens)
    sounding = np.empty_like(pitch)
    now = np.full(pitch.shape[:-1], -1)
    for t in range(pitch.shape[-1]):
        now = np.where(tokens[..., t] == HOLD, now, pitch[..., t])
        sounding[..., t] = now
    taken = sounding[..., ::per_slice]
    begins = (tokens >= FIRST)[..., ::per_slice]
    # A note that began inside the slice before and still sounds has its beginning here.
    before = np.concatenate([np.full((*taken.shape[:-1], 1), -1), taken[..., :-1]], -1)
    begins = (begins | (taken != before)) & (taken >= 0)
    unit = np.where(taken < 0, SILENT, (taken - LOWEST))
    unit = np.where(
        unit >= PITCHES, PITCHES - 12 + unit % 12, np.where(unit < SILENT, unit % 12, unit)
    )
    return unit, begins


def vectors(unit: Column, begins: npt.ArrayLike) -> Vectors:
    """[..., S, UNITS] of zeros and ones."""
    out = np.zeros((*unit.shape, UNITS), np.float32)
    at = np.nonzero(unit != SILENT)
    out[(*at, unit[at])] = 1
    out[..., PITCHES] = begins
    return out


def read(activations: npt.NDArray[Any], threshold: float = HALF) -> tuple[Column, Any]:
    """Unit and beginning [..., S] of activations [..., S, UNITS]: the strongest pitch, silence when it
    is below `threshold`."""
    strongest = activations[..., :PITCHES].argmax(-1)
    strength = activations[..., :PITCHES].max(-1)
    unit = np.where(strength < threshold, SILENT, strongest)
    return unit, (activations[..., PITCHES] >= HALF) & (unit != SILENT)


def rows(unit: Column, begins: npt.NDArray[np.bool_], per_slice: int) -> Column:
    """[N, 2] (pitch or REST, ticks): slices [S] put together to notes and silences."""
    changed = np.append(True, unit[1:] != unit[:-1]) | (begins & (unit != SILENT))
    first = np.flatnonzero(changed)
    length = np.diff(np.append(first, len(unit))) * per_slice * SIXTEENTH
    pitch = np.where(unit[first] == SILENT, REST, unit[first] + LOWEST)
    return np.stack([pitch, length], 1)

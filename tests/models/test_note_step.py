"""Note steps: written back onto the keys there are."""

from __future__ import annotations

import numpy as np
import pytest

from models.representations.note_step import Seat, written
from models.score import EMPTY, Region, Track
from models.timebase import PPQ


@pytest.mark.parametrize(
    ("shift", "expected"), [(0, [60, 127, 1]), (-48, [108, 127, 49]), (72, [0, 55, 1])]
)
def test_what_lies_beyond_the_keys_is_moved_by_octaves(shift: int, expected: list[int]) -> None:
    seat = Seat(Track(0, "Melody"), shift, 80, EMPTY)
    rows = np.array([[60, PPQ], [127, PPQ], [1, PPQ]])
    made = written(rows, seat, Region(0, 4 * PPQ)).notes
    assert made.pitch.tolist() == expected
    assert ((made.pitch - rows[:, 0] + shift) % 12 == 0).all()

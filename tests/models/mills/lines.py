"""Lines of quarters that requests are made of."""

from __future__ import annotations

import numpy as np

from models.score import Notes, Track
from models.timebase import PPQ

BAR = 4 * PPQ


def line(voice: int, name: str, centre: int) -> Track:
    """Four bars of quarters with a locked note and one that crosses the end of bar 1."""
    rng = np.random.default_rng(voice)
    late, n = PPQ // 2, np.arange(16)
    notes = Notes.of(
        n * PPQ + np.where(n == 4, late, 0),
        np.where(n == 3, PPQ + late, np.where(n == 4, late, PPQ - 7)),
        centre + rng.choice([0, 2, 4, 5, 7], 16),
        velocity=60 + voice,
        locked=n == 6,
        first_id=100 * voice,
    )
    return Track(voice, name, notes, channel=voice)

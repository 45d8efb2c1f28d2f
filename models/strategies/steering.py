"""Steering: moving a phrase along attributes until it measures as the sliders say.

A learnt direction says which way an attribute lies, but not how far: a code's neighbourhood decodes to one
phrase and then, suddenly, to another. So points nearer and further along the way are decoded in one batch and
measured, and of each phrase the one is taken that comes nearest to what was asked and leaves the rest alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from models.attributes import NAMES, measure
from models.coder import Coder
from models.representations.melody import Tokens
from models.space import Space
from models.strategies.codes import Codes, decode

Wanted = npt.NDArray[np.float64]

REACH = np.array([0.25, 0.5, 0.75, 1.0, 1.35, 1.75, 2.25, 3.0], np.float32)
"""How far along its direction each candidate lies, in what the slider says."""
REST = 0.1
"""Weight of an attribute that is to stay where it is, against one that is to move."""
STAY = 0.5
"""Variances of an attribute that changing every step of the grid is worth."""


def steer(
    coder: Coder,
    space: Space,
    z: Codes,
    sliders: Mapping[str, float],
    put: Callable[[Tokens], Tokens] = lambda written: written,
) -> Codes:
    """Codes [N, L] of phrases like those of `z`, their attributes moved by sliders (attribute → −3…3, in the
    corpus's standard deviations). `put` says what is heard of phrases decoded [N, C, T]."""
    wanted = np.array([sliders.get(name, 0.0) for name in NAMES])
    if not wanted.any():
        return z
    return steer_each(coder, space, z, np.tile(wanted, (len(z), 1)), put)[0]


def steer_each(
    coder: Coder,
    space: Space,
    z: Codes,
    wanted: Wanted,
    put: Callable[[Tokens], Tokens] = lambda written: written,
) -> tuple[Codes, npt.NDArray[np.intp], Tokens]:
    """As `steer`, each code with sliders [N, 9] of its own: the codes, which of REACH each lies at, and the
    phrases [N, T]."""
    way = (wanted @ space.direction).astype(np.float32)
    codes = z[:, None] + REACH[:, None] * way[:, None]  # N, C, L
    tokens = put(decode(coder, np.concatenate([z[:, None], codes], 1)))
    best = nearest(space, tokens[:, 0], tokens[:, 1:], wanted)
    rows = np.arange(len(z))
    return codes[rows, best], best, tokens[rows, best + 1]


def nearest(
    space: Space, before: Tokens, candidates: Tokens, wanted: Wanted
) -> npt.NDArray[np.intp]:
    """Which [N] of the candidates [N, C, T] has moved from a phrase [N, T] as is wanted [N, 9], in the corpus's
    standard deviations."""
    count, each, steps = candidates.shape
    now = measure(before)[:, None]
    then = measure(candidates.reshape(-1, steps)).reshape(count, each, -1)
    off = np.clip((then - now) / space.scale - wanted[:, None], -4, 4) ** 2
    cost = (off * np.where(wanted[:, None] != 0, 1.0, REST)).sum(-1)
    cost += STAY * (candidates != before[:, None]).mean(-1)
    return np.asarray(cost.argmin(-1))

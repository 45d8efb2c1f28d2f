"""Travelling: moving a phrase over the latent map so that one hears where it is.

The two ways of the map hold a small part of what a code says; moved along them alone, a phrase of two bars
decodes to what it was (4 % of its steps differ one standard deviation away). So the further it goes, the more
it takes on of the phrases that lie there, while its own place on the map stays exactly what was asked for.
"""

from __future__ import annotations

import numpy as np

from models.coder import Coder
from models.space import Space
from models.strategies.codes import Codes, as_long, encode, slerp

NEAR = 8
"""So many phrases of the corpus are what lies at a place, the nearer ones more."""
TOUCH = 0.2
"""Nearer than this share of the map's standard deviation is as near as can be."""


def travel(coder: Coder, space: Space, z: Codes, dx: float, dy: float) -> Codes:
    """Codes [N, L] moved on the map by (dx, dy), and towards the phrases that lie there.

    Of the way to those it goes 1 − exp(−r), r being the distance in the map's standard deviations: it is all
    itself at rest, and a third one deviation away. Along the sphere, as interpolation goes.
    """
    moved = space.shift(z, dx, dy)
    if not (dx or dy) or not len(space.points):
        return moved
    points = space.points.astype(np.float32)
    spread = max(float(points.std(0).mean()), 1e-6)
    at = space.project(moved)
    distance = np.linalg.norm(at[:, None] - points, axis=-1)
    near = np.argsort(distance, 1, kind="stable")[:, :NEAR]
    weight = (np.take_along_axis(distance, near, 1) + TOUCH * spread) ** -2.0
    weight = (weight / weight.sum(1, keepdims=True))[..., None]
    found = encode(coder, space.point_tokens[near.reshape(-1)]).reshape(*near.shape, -1)
    length = np.linalg.norm(found, axis=-1, keepdims=True)
    there = as_long((found * weight).sum(1), (length * weight).sum(1))
    share = 1 - np.exp(-np.hypot(dx, dy) / spread)
    out = slerp(moved, there, float(share))
    return np.asarray(out + (at - space.project(out)) @ space.map_axes, np.float32)

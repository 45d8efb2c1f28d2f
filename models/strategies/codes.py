"""Codes: arithmetic in a latent space, and the way there and back (Roberts et al. 2018, 4.2)."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch

from models.coder import Coder
from models.representations.melody import Tokens
from models.space import Space

Codes = npt.NDArray[np.float32]

BATCH = 512


Share = float | npt.NDArray[np.floating]


def lerp(a: Codes, b: Codes, share: Share) -> Codes:
    """The code [..., L] at `share` 0–1 of the straight way from `a` to `b`."""
    return ((1 - share) * a + share * b).astype(np.float32)


def slerp(a: Codes, b: Codes, share: Share) -> Codes:
    """The code [..., L] at `share` 0–1 of the way from `a` to `b` along the sphere: the direction turns
    evenly while the length goes from one to the other (Roberts et al. 2018, 4.2).

    Codes of a normal prior lie near a sphere; the straight way leads through its empty middle.
    """
    long_a, long_b = (np.linalg.norm(z, axis=-1, keepdims=True) for z in (a, b))
    u, v = a / np.maximum(long_a, 1e-9), b / np.maximum(long_b, 1e-9)
    angle = np.arccos(np.clip((u * v).sum(-1, keepdims=True), -1, 1))
    sine = np.sin(angle)
    # The same direction, opposite ones, between which no way is the shortest, or none.
    near = (sine < 1e-4) | (np.minimum(long_a, long_b) < 1e-6)
    safe = np.where(near, 1.0, sine)
    turned = (np.sin((1 - share) * angle) * u + np.sin(share * angle) * v) / safe
    length = (1 - share) * long_a + share * long_b
    return np.where(near, lerp(a, b, share), turned * length).astype(np.float32)


def average(codes: Codes) -> Codes:
    """The mean [..., L] of codes [P, ..., L], as long as they are on average.

    Means of unlike codes are short, and what is near the middle of the prior is everybody's phrase.
    """
    return as_long(codes.mean(0), np.linalg.norm(codes, axis=-1, keepdims=True).mean(0))


def as_long(z: Codes, length: npt.NDArray[np.floating]) -> Codes:
    """Codes [..., L] brought to lengths [..., 1]."""
    now = np.linalg.norm(z, axis=-1, keepdims=True)
    return (z * np.where(now > 1e-6, length / np.maximum(now, 1e-6), 1.0)).astype(np.float32)


def neighbour(z: Codes, scale: Codes | float, radius: float, noise: Codes) -> Codes:
    """Codes [..., L] `radius` deviations `scale` away in the direction of standard normal `noise`, as long
    as before."""
    return as_long(z + radius * scale * noise, np.linalg.norm(z, axis=-1, keepdims=True))


def encode(coder: Coder, windows: Tokens) -> Codes:
    """Mean codes [N, L] of windows [N, T]."""
    parts = torch.split(torch.from_numpy(windows.astype(np.int64)), BATCH)
    return np.concatenate([coder.encode(part)[0].numpy() for part in parts]).astype(np.float32)


def decode(coder: Coder, z: Codes) -> Tokens:
    """The likeliest phrases [..., T] of codes [..., L], all in one batch or few."""
    flat = torch.from_numpy(np.ascontiguousarray(z.reshape(-1, z.shape[-1])))
    written = np.concatenate([coder.decode(part).numpy() for part in torch.split(flat, BATCH)])
    return written.reshape(*z.shape[:-1], -1).astype(np.uint8)


def on_map(space: Space | None, z: Codes, suffix: str = "") -> dict[str, float]:
    """Figures map_x and map_y: where codes [N, L] of one phrase lie on average; none without a space."""
    if space is None:
        return {}
    x, y = space.project(z).mean(0)
    return {f"map_x{suffix}": float(x), f"map_y{suffix}": float(y)}


def evenly(apart: npt.NDArray[np.floating], count: int) -> list[int]:
    """Which of F points on a way to take, `count` of them, the first and the last included, so that from
    one to the next there is as nearly as possible the same distance; `apart` [F, F] are the distances.

    The least sum of squares, by dynamic programming. Where there are fewer different points than are
    wanted, each is taken about equally often.
    """
    points = len(apart)
    cost = np.where(np.tri(points, dtype=bool), np.inf, apart.astype(np.float64) ** 2)
    total = np.full(points, np.inf)
    total[0] = 0.0
    before = []
    for _ in range(count - 1):
        ways = total[:, None] + cost  # from, to
        before.append(ways.argmin(0))
        total = ways.min(0)
    found = [points - 1]
    for back in reversed(before):
        found.append(int(back[found[-1]]))
    found.reverse()
    moving = [0, *(b for a, b in pairwise(found) if apart[a, b] > 0)]
    moving[-1] = points - 1 if len(moving) > 1 else 0
    turns = np.rint(np.linspace(0, len(moving) - 1, count)).astype(int)
    return [*(moving[i] for i in turns[:-1]), points - 1]

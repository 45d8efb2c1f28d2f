"""Space: what is known of a system's latent space besides its weights: which way attributes lie, and a map.

Learnt from a corpus by `models.latent_figures.learn`; here are the value, its file and the linear algebra, so
that a window can show the map before torch is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models import weights
from models.attributes import NAMES
from models.representations.melody import BAR, TOKENS, Tokens
from models.score import UserError

Real = npt.NDArray[np.float64]
Table = npt.NDArray[np.float32]
Column = npt.NDArray[np.int64]

SLIDER = tuple(range(-3, 4))
"""Where a response curve is measured, in slider units."""
ACTS = 0.6
"""The rank correlation from which on a slider acts."""
RIDGE = 1e-3
"""Added to the codes' variances before they are divided by, as a share of the largest."""


@dataclass(frozen=True, eq=False)
class Space:
    """Directions and map of a latent space of L dimensions; attributes in the order of `attributes.NAMES`.

    direction [9, L]: what to add to a code for one slider unit, one standard deviation of the corpus.
    mean, scale [9]: of each attribute over the corpus, in its own unit.
    curve [9, 7]: measured attribute (in scales, from where it was) at each of SLIDER, over held-out phrases.
    rho [9]: Spearman's rank correlation of slider and measured attribute, of each phrase, averaged.
    drift [9]: how far the other attributes go for one slider unit, in their scales, averaged.
    code_scale [L]: standard deviations of the corpus's codes.
    map_mean [L], map_axes [2, L]: centre and orthonormal axes of the map.
    points [P, 2], point_attributes [P, 9], point_tokens [P, T]: phrases of the corpus on the map.
    """

    direction: Table
    mean: Table
    scale: Table
    curve: Table
    rho: Table
    drift: Table
    code_scale: Table
    map_mean: Table
    map_axes: Table
    points: npt.NDArray[np.float16]
    point_attributes: npt.NDArray[np.float16]
    point_tokens: Tokens

    @property
    def latent(self) -> int:
        """Dimensions of a code."""
        return int(self.direction.shape[1])

    @property
    def bars(self) -> int:
        """Bars of a phrase."""
        return int(self.point_tokens.shape[1]) // BAR

    def acts(self, name: str) -> bool:
        """Whether a slider does what it says (and so is to be shown)."""
        return bool(self.rho[NAMES.index(name)] >= ACTS)

    @property
    def acting(self) -> tuple[str, ...]:
        """The sliders that act."""
        return tuple(name for name in NAMES if self.acts(name))

    def push(self, z: npt.ArrayLike, sliders: Mapping[str, float]) -> Table:
        """Codes [..., L] moved by sliders (attribute → −3…3)."""
        amount = np.array([sliders.get(name, 0.0) for name in NAMES], np.float32)
        return np.asarray(np.asarray(z, np.float32) + amount @ self.direction)

    def project(self, z: npt.ArrayLike) -> Table:
        """Where codes [..., L] lie on the map [..., 2]."""
        return np.asarray((np.asarray(z, np.float32) - self.map_mean) @ self.map_axes.T)

    def shift(self, z: npt.ArrayLike, dx: float, dy: float) -> Table:
        """Codes [..., L] moved so that they lie dx further right and dy further up, and nothing else of
        them changes."""
        move = np.array([dx, dy], np.float32) @ self.map_axes
        return np.asarray(np.asarray(z, np.float32) + move)


def beside(path: Path) -> Path:
    """Where the space of the weights at `path` lies."""
    return path.with_name(f"{path.stem}.space.safetensors")


def shipped(system_id: str) -> Path | None:
    """Where the space that comes with the program lies, None when this system has none."""
    path = beside(weights.shipped(system_id))
    return path if path.is_file() else None


def save(path: Path, space: Space, card: Mapping[str, Any]) -> None:
    """Writes a space and a card that names its system."""
    weights.save(path, vars(space), card)


def load(path: Path, system_id: str) -> Space:
    """The space at `path`; UserError when it is missing, broken or another system's."""
    tensors, _ = weights.load(path, system_id)
    latent = tensors["direction"].shape[-1] if "direction" in tensors else 0
    phrases = tensors["point_tokens"].shape if "point_tokens" in tensors else (0, 0)
    count, steps = phrases if len(phrases) == 2 else (0, 0)
    k = len(NAMES)
    shapes: dict[str, tuple[int, ...]] = {
        "direction": (k, latent),
        **dict.fromkeys(("mean", "scale", "rho", "drift"), (k,)),
        "curve": (k, len(SLIDER)),
        **dict.fromkeys(("code_scale", "map_mean"), (latent,)),
        "map_axes": (2, latent),
        "points": (count, 2),
        "point_attributes": (count, k),
        "point_tokens": (count, steps),
    }
    weights.check(path, tensors, shapes)
    tokens = tensors["point_tokens"]
    if steps % BAR or tokens.dtype != np.uint8 or (tokens.size and tokens.max() >= TOKENS):
        raise UserError(f"{path}: its phrases are no melodies of whole bars; learn it again.")
    dtypes = {"points": np.float16, "point_attributes": np.float16, "point_tokens": np.uint8}
    return Space(**{n: tensors[n].astype(dtypes.get(n, np.float32)) for n in shapes})


# --- learning, the part without a network ----------------------------------------------------------


def standard(table: npt.ArrayLike) -> tuple[Real, Real, Real]:
    """Columns brought to mean 0 and deviation 1, their means, their deviations (1 for constant ones)."""
    values = np.asarray(table, np.float64)
    mean, scale = values.mean(0), values.std(0)
    scale = np.where(scale > 1e-6, scale, 1.0)
    return (values - mean) / scale, mean, scale


def directions(codes: npt.ArrayLike, attributes: npt.ArrayLike) -> Real:
    """[9, L]: for each attribute the shortest way through the corpus's codes [N, L] along which a linear
    reading of the attributes [N, 9] rises by one deviation, and of the others stays.

    Shortest: in the codes' own covariance, so that the way leads where there are codes. It is the
    difference of means between phrases that have more and less of the attribute and are alike in all
    others, scaled to what a linear reading of the code can see of it.
    """
    z, a = np.asarray(codes, np.float64), standard(attributes)[0]
    z = z - z.mean(0)
    shared = z.T @ a / len(z)  # L, 9
    spread = z.T @ z / len(z)
    spread[np.diag_indices_from(spread)] += RIDGE * max(float(np.diag(spread).max()), 1e-9)
    seen = shared.T @ np.linalg.solve(spread, shared)  # covariances of what is read
    seen[np.diag_indices_from(seen)] += RIDGE
    return np.asarray(np.linalg.solve(seen, shared.T))


def chart(codes: npt.ArrayLike, attributes: npt.ArrayLike) -> tuple[Table, Table]:
    """Mean [L] and axes [2, L] of the map: the two ways in which codes [N, L] differ most, each pointing
    to where the attribute most akin to it grows."""
    z, a = np.asarray(codes, np.float64), standard(attributes)[0]
    mean = z.mean(0)
    _, vectors = np.linalg.eigh((z - mean).T @ (z - mean))
    axes = vectors[:, ::-1][:, :2].T
    akin = ((z - mean) @ axes.T).T @ a  # 2, 9
    strongest = akin[np.arange(2), np.abs(akin).argmax(1)]
    axes = axes * np.where(strongest < 0, -1.0, 1.0)[:, None]
    return mean.astype(np.float32), axes.astype(np.float32)


def spread_out(points: npt.ArrayLike, count: int, rng: np.random.Generator) -> Column:
    """Indices of at most `count` of points [N, 2], fewer from crowded parts: the map is cut into cells and
    each in turn gives a point until there are enough."""
    places = np.asarray(points, np.float64)
    order = rng.permutation(len(places))
    low, high = places.min(0), places.max(0)
    cells = np.floor((places[order] - low) / np.maximum(high - low, 1e-9) * 39.99).astype(np.int64)
    cell = cells @ np.array([40, 1])
    by_cell = np.argsort(cell, kind="stable")
    first = np.searchsorted(cell[by_cell], cell[by_cell])  # where each one's cell begins
    turn = np.arange(len(cell)) - first
    chosen = by_cell[np.argsort(turn, kind="stable")][:count]
    return np.sort(order[chosen])


def rank_correlations(x: npt.ArrayLike, y: npt.ArrayLike) -> Real:
    """Spearman's ρ [...] of x [K] and each y [..., K], ties sharing their rank; 0 where y is constant."""
    a, b = _ranks(np.asarray(x, np.float64)), _ranks(np.asarray(y, np.float64))
    a, b = a - a.mean(-1, keepdims=True), b - b.mean(-1, keepdims=True)
    norm = np.sqrt((a**2).sum(-1) * (b**2).sum(-1))
    return np.asarray((a * b).sum(-1) / np.where(norm > 0, norm, 1.0))


def _ranks(values: Real) -> Real:
    below = (values[..., None, :] < values[..., :, None]).sum(-1)
    same = (values[..., None, :] == values[..., :, None]).sum(-1)
    return np.asarray(below + (same - 1) / 2)

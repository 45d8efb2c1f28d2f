"""Sight: the notes that show, of all layers at once, as boxes of device pixels. Numpy only, no Qt.

A frame costs a few dozen numpy calls whatever the number of tracks: the calls, not the notes, are what
takes time when some hundred notes show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from app.pianoroll.layers import LEVELS, Layer
from app.pianoroll.viewport import PITCHES, Viewport
from models.score import Mask

Row = npt.NDArray[Any]
BESIDE_PX = 8
"""Boxes are cut off this far outside the canvas, where their rounded ends don't show."""


def tops(view: Viewport, pitch: Row, dpr: float) -> npt.NDArray[np.int32]:
    """The y of pitches' lower edges in whole device pixels."""
    y = ((PITCHES - pitch.astype(np.int64)) * view.row - view.scroll_y) * dpr
    return np.asarray(np.rint(y), np.int32)


@dataclass(frozen=True)
class Sight:
    """The notes that show, in drawing order. `rank` is the layer's place in that order, `level` the
    loudness (0 … LEVELS − 1), `over` whether a note drawn earlier has the same beginning and pitch,
    `longer` whether it is longer than that one."""

    rank: Row
    pitch: Row
    level: Row
    locked: Mask
    picked: Mask
    faint: Mask
    marked: Mask
    over: Mask
    longer: Mask
    x: Row
    y: Row
    w: Row
    h: Row

    def __len__(self) -> int:
        return len(self.rank)

    @property
    def boxes(self) -> tuple[Row, Row, Row, Row]:
        """Left, top, width and height in device pixels."""
        return self.x, self.y, self.w, self.h

    def where(self, mask: Row) -> Sight:
        """Some of them."""
        return Sight(*(getattr(self, field.name)[mask] for field in fields(self)))


def sight(view: Viewport, order: Sequence[Layer], dpr: float) -> Sight:
    """What shows of these layers, those first in `order` drawn first."""
    spans = [layer.span(view.left_tick, view.right_tick) for layer in order]

    def column(name: str) -> Row:
        parts = [getattr(r.notes, name)[s] for r, s in zip(order, spans, strict=True)]
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)

    def mask(name: str) -> Mask:
        parts = [getattr(r, name)[s] for r, s in zip(order, spans, strict=True)]
        return np.concatenate(parts) if parts else np.zeros(0, bool)

    rank = np.repeat(np.arange(len(order)), [s.stop - s.start for s in spans])
    low, high = view.pitches
    pitch = column("pitch").astype(np.int64)
    onset = column("onset")
    end = onset + column("duration")
    shown = (pitch >= low) & (pitch <= high) & (end > view.left_tick)
    rank, pitch, onset, end = rank[shown], pitch[shown], onset[shown], end[shown]
    edge = int(view.width * dpr) + BESIDE_PX
    x = view.xs(onset, dpr).clip(-BESIDE_PX, edge)
    w = view.xs(end, dpr).clip(-BESIDE_PX, edge) - x
    y = tops(view, pitch + 1, dpr)
    h = tops(view, pitch, dpr) - y
    gap = max(round(dpr), 1)  # parts a note from the next in its row, and from the row below
    w = np.maximum(w - gap * (w > 3 * gap), gap)
    h = np.maximum(h - gap * (view.row >= 5), 1)
    faint = mask("faint")[shown]
    # Faint notes share a place with nobody: each gets a key of its own.
    key = np.where(faint, -1 - np.arange(len(faint)), onset * PITCHES + pitch)
    _, first, which = np.unique(key, return_index=True, return_inverse=True)
    under = first[which]
    return Sight(
        rank,
        pitch,
        column("velocity")[shown] // (128 // LEVELS),
        mask_of(column("locked")[shown]),
        mask("selected")[shown],
        faint,
        mask("marked")[shown],
        under < np.arange(len(key)),
        w > w[under],
        x,
        y,
        w,
        h,
    )


def mask_of(column: Row) -> Mask:
    """The column as a mask (an empty score's columns have no type of their own)."""
    return np.asarray(column, bool)


def cut_corners(x: Row, y: Row, w: Row, h: Row, cut: int) -> Row:
    """Each box as a cross of three rectangles, so that it lacks a square of `cut` pixels at every corner;
    as itself, three times, where it is too small for that. Shape (n, 3, 4): left, top, right, bottom,
    the last two inclusive, as QRect has them."""
    c = np.where((w >= 5 * cut) & (h >= 5 * cut), cut, 0)
    whole = c == 0
    side = np.where(whole, w, c)
    out = np.empty((len(x), 3, 4), np.int32)
    out[:, 0] = _corners(x + c, y, w - 2 * c, h)
    out[:, 1] = _corners(x, y + c, side, h - 2 * c)
    out[:, 2] = _corners(x + w - side, y + c, side, h - 2 * c)
    return out


def rims(x: Row, y: Row, w: Row, h: Row, thick: int) -> Row:
    """The four sides of each box, `thick` pixels wide. Shape (n, 4, 4), as in `cut_corners`."""
    t = np.minimum(thick, np.minimum(w, h))
    inner = np.maximum(h - 2 * t, 1)
    out = np.empty((len(x), 4, 4), np.int32)
    out[:, 0] = _corners(x, y, w, t)
    out[:, 1] = _corners(x, y + h - t, w, t)
    out[:, 2] = _corners(x, y + t, t, inner)
    out[:, 3] = _corners(x + w - t, y + t, t, inner)
    return out


def whole(x: Row, y: Row, w: Row | int, h: Row) -> Row:
    """Each box as one rectangle. Shape (n, 1, 4), as in `cut_corners`."""
    return _corners(x, y, w, h).astype(np.int32)[:, None]


def _corners(x: Row, y: Row, w: Row | int, h: Row) -> Row:
    return np.stack([x, y, x + (w - 1), y + (h - 1)], axis=-1)

"""Layers: a track's notes prepared for drawing and for the mouse. Numpy only, no Qt.

Notes come ordered by onset. The running maximum of their ends is ordered as well, so both edges of what a
window shows are found by bisection, however long single notes are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, floor
from typing import Any

import numpy as np
import numpy.typing as npt

from models.score import Mask, Notes

LEVELS = 4
"""Loudnesses told apart by colour."""

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Layer:
    """One track's notes as drawn: `colour` is its place in the palette. Masks: `selected`; `faint`, notes a
    proposal would replace; `marked`, notes that Generate may replace."""

    track: int
    colour: int
    active: bool
    muted: bool
    notes: Notes
    reach: npt.NDArray[Any]
    selected: Mask
    faint: Mask
    marked: Mask

    @classmethod
    def of(
        cls,
        notes: Notes,
        *,
        track: int = 0,
        colour: int = 0,
        active: bool = False,
        muted: bool = False,
        selection: Ids | None = None,
        faint: Mask | None = None,
        marked: Mask | None = None,
    ) -> Layer:
        """A layer of `notes`, those with ids in the sorted `selection` selected; no mask means none."""
        none = np.zeros(len(notes), bool)
        chosen = none if selection is None or not len(selection) else members(notes.id, selection)
        reach = np.maximum.accumulate(notes.end) if len(notes) else notes.end
        return cls(
            track,
            colour,
            active,
            muted,
            notes,
            reach,
            chosen,
            none if faint is None else faint,
            none if marked is None else marked,
        )

    def span(self, start: float, end: float) -> slice:
        """The slice of notes that can sound in [start, end); some in it may end before `start`."""
        # Whole numbers: a float would have numpy convert the column before every search.
        return slice(
            int(self.reach.searchsorted(floor(start), side="right")),
            int(self.notes.onset.searchsorted(ceil(end), side="left")),
        )

    def at(self, tick: float, pitch: int, slack: float = 0.0) -> int | None:
        """The index of the note at a point, the latest begun of several; `slack` ticks to either side count."""
        span = self.span(tick - slack, tick + slack + 1)
        notes = self.notes
        onset, end = notes.onset[span], notes.onset[span] + notes.duration[span]
        hit = np.flatnonzero(
            (notes.pitch[span] == pitch) & (onset <= tick + slack) & (end > tick - slack)
        )
        if not len(hit):
            return None
        exact = hit[(onset[hit] <= tick) & (end[hit] > tick)]
        return int(span.start + (exact if len(exact) else hit)[-1])

    def inside(self, start: float, end: float, low: int, high: int) -> Ids:
        """Ids of the notes that a rectangle of ticks [start, end) and pitches low … high touches."""
        span = self.span(start, end)
        notes = self.notes
        pitch = notes.pitch[span]
        touched = (
            (pitch >= low)
            & (pitch <= high)
            & (notes.onset[span] + notes.duration[span] > start)
            & ~self.faint[span]
        )
        return np.asarray(notes.id[span][touched])


def members(ids: npt.NDArray[Any], chosen: Ids) -> Mask:
    """A mask of the `ids` that are among the sorted, non-empty `chosen`."""
    place = np.minimum(np.searchsorted(chosen, ids), len(chosen) - 1)
    return np.asarray(chosen[place] == ids)


def topmost(
    layers: Iterable[Layer], tick: float, pitch: int, slack: float
) -> tuple[Layer, int] | None:
    """The layer and index of the note under a point: of the active track first, then the last drawn."""
    order = sorted(layers, key=lambda layer: layer.active)
    for reach in (0.0, slack):
        for layer in reversed(order):
            if layer.muted and not layer.active:
                continue
            found = layer.at(tick, pitch, reach)
            if found is not None and not layer.faint[found]:
                return layer, found
    return None

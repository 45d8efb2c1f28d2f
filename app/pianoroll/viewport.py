"""Viewport: which ticks and pitches a rectangle of pixels shows. Pure arithmetic, no Qt.

Distances are logical pixels; y grows downwards. Pitch p fills the row between y(p + 1) and y(p).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from models.timebase import PPQ

PITCHES = 128
LEAST_SCALE, GREATEST_SCALE = 4e-6, 2.0
"""Pixels a tick: from a day of music in a window to two pixels a tick."""
LEAST_ROW, GREATEST_ROW = 3, 48
"""Pixels a semitone. Whole numbers keep every row as high as its neighbour."""
MARGIN_PX = 24.0
"""Empty space shown before tick 0, so that the first note can be taken by its left edge."""


@dataclass(frozen=True)
class Viewport:
    """A window on the roll: `width` × `height` pixels, `left_tick` at x = 0, `scale` pixels a tick,
    `row` pixels a semitone, `scroll_y` pixels from the top of pitch 127 to y = 0."""

    width: int = 800
    height: int = 400
    left_tick: float = -PPQ / 8
    scale: float = 80 / PPQ
    row: int = 14
    scroll_y: int = 0

    def x(self, tick: float) -> float:
        """The x of a tick."""
        return (tick - self.left_tick) * self.scale

    def xs(self, ticks: npt.NDArray[Any], dpr: float = 1.0) -> npt.NDArray[np.int32]:
        """The x of each tick in whole device pixels, `dpr` of them to a logical one."""
        return np.rint((ticks - self.left_tick) * (self.scale * dpr)).astype(np.int32)

    def tick(self, x: float) -> float:
        """The tick at x (may be negative)."""
        return self.left_tick + x / self.scale

    def y(self, pitch: float) -> float:
        """The y of the lower edge of a pitch's row."""
        return (PITCHES - pitch) * self.row - self.scroll_y

    def pitch(self, y: float) -> int:
        """The pitch whose row holds y, 0–127."""
        return min(max(PITCHES - 1 - int((y + self.scroll_y) // self.row), 0), PITCHES - 1)

    @property
    def right_tick(self) -> float:
        """The tick at the right edge."""
        return self.tick(self.width)

    @property
    def pitches(self) -> tuple[int, int]:
        """The lowest and the highest pitch of which any part shows."""
        return self.pitch(self.height - 1), self.pitch(0)

    def resized(self, width: int, height: int) -> Viewport:
        """With another size; what is at the left and at the top stays."""
        return replace(self, width=max(width, 1), height=max(height, 1))._kept_in_pitch()

    def scrolled(self, dx: float = 0.0, dy: float = 0.0) -> Viewport:
        """Moved over the music by so many pixels."""
        return replace(
            self,
            left_tick=self._clamped_left(self.left_tick + dx / self.scale),
            scroll_y=self.scroll_y + round(dy),
        )._kept_in_pitch()

    def at(self, left_tick: float) -> Viewport:
        """With this tick at the left edge."""
        return replace(self, left_tick=self._clamped_left(left_tick))

    def zoomed_time(self, factor: float, x: float) -> Viewport:
        """Magnified `factor` times in time; the tick under x stays there."""
        scale = min(max(self.scale * factor, LEAST_SCALE), GREATEST_SCALE)
        new = replace(self, scale=scale)
        return new.at(self.tick(x) - x / scale)

    def zoomed_pitch(self, steps: int, y: float) -> Viewport:
        """Rows `steps` pixels higher; the pitch under y stays there."""
        row = min(max(self.row + steps, LEAST_ROW), GREATEST_ROW)
        rows = (y + self.scroll_y) / self.row
        return replace(self, row=row, scroll_y=round(rows * row - y))._kept_in_pitch()

    def showing(self, start: float, end: float, low: int, high: int) -> Viewport:
        """Fitted to ticks [start, end) and, as far as rows stay legible, pitches low … high."""
        span = max(end - start, PPQ)
        scale = min(max((self.width - 2 * MARGIN_PX) / span, LEAST_SCALE), 160 / PPQ)
        row = min(max(self.height // max(high - low + 5, 1), 7), 18)
        middle = (PITCHES - (low + high + 1) / 2) * row
        fitted = replace(self, scale=scale, row=row, scroll_y=round(middle - self.height / 2))
        return fitted.at(start - MARGIN_PX / scale)._kept_in_pitch()

    def revealing(
        self, start: float, end: float, low: int | None = None, high: int | None = None
    ) -> Viewport:
        """Scrolled as little as needed for ticks [start, end) and pitches low … high to show."""
        left = self.left_tick
        if self.x(end) > self.width - MARGIN_PX:
            left = end - (self.width - MARGIN_PX) / self.scale
        if start - MARGIN_PX / self.scale < left:
            left = start - MARGIN_PX / self.scale
        scroll = self.scroll_y
        if low is not None:
            scroll = max(scroll, (PITCHES - low + 1) * self.row - self.height)
        if high is not None:
            scroll = min(scroll, (PITCHES - 2 - high) * self.row)
        return replace(self, left_tick=self._clamped_left(left), scroll_y=scroll)._kept_in_pitch()

    def _clamped_left(self, left: float) -> float:
        return max(left, -MARGIN_PX / self.scale)

    def _kept_in_pitch(self) -> Viewport:
        furthest = max(PITCHES * self.row - self.height, 0)
        scroll = min(max(self.scroll_y, 0), furthest)
        return self if scroll == self.scroll_y else replace(self, scroll_y=scroll)

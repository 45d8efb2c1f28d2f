"""The still picture of the roll: rows, grid, region and notes. What moves (playhead, rubber band) is not in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PySide6.QtGui import QBrush, QColor, QFont, QPainter

from app import theme
from app.pianoroll import grid
from app.pianoroll.layers import LEVELS, Layer, thinned
from app.pianoroll.painting import Labels, Rectangles, dashes, hatching
from app.pianoroll.viewport import PITCHES, Viewport
from models.score import Score

WHITE = np.array([p % 12 in (0, 2, 4, 5, 7, 9, 11) for p in range(PITCHES)])
SHARP_NAMES = ("C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B")
FLAT_NAMES = ("C", "D♭", "D", "E♭", "E", "F", "G♭", "G", "A♭", "A", "B♭", "B")
CROWD = 12_000
"""With more notes than this in sight, those that share a pixel are drawn once."""
NAME_ROW_PX, NAME_NOTE_PX = 11, 20
"""Rows this high and notes this wide carry their names."""


def pitch_name(pitch: int, flats: bool = False) -> str:
    """A pitch's name with its octave, middle C (60) being C4."""
    return f"{(FLAT_NAMES if flats else SHARP_NAMES)[pitch % 12]}{pitch // 12 - 1}"


@dataclass(frozen=True)
class Style:
    """How notes of one colour and standing look: a fill a loudness, one for selected notes, the rims."""

    fills: tuple[QColor, ...]
    edge: QColor
    picked: QColor
    ghost: QColor
    rim: str


@cache
def style(index: int, standing: str) -> Style:
    """The look of track `index` when it is "active", "other" or "muted"."""
    ground = theme.COLOURS["row_white"]
    base = theme.voice(index).name()
    if standing == "muted":
        base = theme.blend(base, "#565d69", 0.85).name()
    back = {"active": 0.0, "other": 0.2, "muted": 0.3}[standing]
    fills = tuple(
        theme.blend(base, ground, back + 0.32 * (1 - level / (LEVELS - 1)))
        for level in range(LEVELS)
    )
    ghost = QColor(base)
    ghost.setAlpha(64)
    return Style(
        fills=fills,
        edge=theme.blend(base, "#ffffff", 0.45 if standing == "active" else 0.1),
        picked=theme.blend(base, "#ffffff", 0.62),
        ghost=ghost,
        rim="#ff" + theme.blend(base, "#ffffff", 0.25).name()[1:],
    )


class Scene:
    """Paints the still picture. One object a canvas: it keeps buffers and label strips between frames."""

    def __init__(self, font: QFont) -> None:
        self._rectangles = Rectangles()
        self._font = font
        self._names: dict[tuple[bool, int, float], Labels] = {}

    def background(
        self,
        painter: QPainter,
        view: Viewport,
        score: Score,
        step: int,
        span: tuple[int, int] | None,
        dpr: float,
    ) -> None:
        """Rows, grid lines and the marked span. The painter works in device pixels."""
        width, height = int(np.ceil(view.width * dpr)), int(np.ceil(view.height * dpr))
        fill = self._rectangles.fill
        low, high = view.pitches
        pitch = np.arange(low, high + 1)
        top = self._tops(view, pitch + 1, dpr)
        bottom = self._tops(view, pitch, dpr)
        painter.fillRect(0, 0, width, height, theme.colour("row_white"))
        black = ~WHITE[pitch]
        fill(painter, theme.colour("row_black"), 0, top[black], width, bottom[black] - top[black])
        hair = max(round(dpr), 1)
        if view.row >= 5:
            # Rows need a line only where two white keys meet: elsewhere their shades differ.
            meeting = np.isin(pitch % 12, (4,))
            fill(painter, theme.colour("row_line"), 0, top[meeting], width, hair)
        tonic = pitch % 12 == 0
        fill(painter, theme.colour("octave_line"), 0, bottom[tonic] - hair, width, hair)
        if span is not None:
            self._span(painter, view, span, width, height, dpr)
        lines = grid.lines(score.meter, view.tick(0), view.right_tick, view.scale, step)
        for ticks, name in (
            (lines.steps, "grid_sub"),
            (lines.beats, "grid_beat"),
            (lines.bars, "grid_bar"),
        ):
            fill(painter, theme.colour(name), view.xs(ticks, dpr), 0, hair, height)
        left = int(view.xs(np.array([0]), dpr)[0])
        if left > 0:
            painter.fillRect(0, 0, left, height, theme.colour("outside"))

    def _span(
        self,
        painter: QPainter,
        view: Viewport,
        span: tuple[int, int],
        width: int,
        height: int,
        dpr: float,
    ) -> None:
        x0, x1 = (int(x) for x in view.xs(np.array(span), dpr).clip(-10, width + 10))
        tint = QColor(theme.colour("region"))
        tint.setAlpha(26)
        painter.fillRect(x0, 0, x1 - x0, height, tint)
        tint.setAlpha(150)
        hair = max(round(dpr), 1)
        painter.fillRect(x0, 0, hair, height, tint)
        painter.fillRect(x1 - hair, 0, hair, height, tint)

    def loop(
        self, painter: QPainter, view: Viewport, loop: tuple[int, int] | None, dpr: float
    ) -> None:
        """The ends of the loop, where there is one."""
        if loop is not None:
            line = QColor(theme.colour("loop"))
            line.setAlpha(130)
            x, height = view.xs(np.array(loop), dpr), int(np.ceil(view.height * dpr))
            self._rectangles.fill(painter, line, x, 0, max(round(dpr), 1), height)

    @staticmethod
    def _tops(view: Viewport, pitch: npt.NDArray[Any], dpr: float) -> npt.NDArray[np.int32]:
        y = ((PITCHES - pitch.astype(np.int64)) * view.row - view.scroll_y) * dpr
        return np.asarray(np.rint(y), np.int32)

    def notes(
        self,
        painter: QPainter,
        view: Viewport,
        layers: Sequence[Layer],
        dpr: float,
        flats: bool = False,
    ) -> None:
        """The notes of all layers, the active one last. The painter works in device pixels."""
        crowded = 0
        for layer in layers:
            span = layer.span(view.left_tick, view.right_tick)
            crowded += span.stop - span.start
        for layer in sorted(layers, key=lambda layer: (layer.active, not layer.muted)):
            self._layer(painter, view, layer, dpr, crowded > CROWD, flats)

    def _layer(
        self,
        painter: QPainter,
        view: Viewport,
        layer: Layer,
        dpr: float,
        crowded: bool,
        flats: bool,
    ) -> None:
        notes, span = layer.notes, layer.span(view.left_tick, view.right_tick)
        if span.start >= span.stop:
            return
        low, high = view.pitches
        pitch = notes.pitch[span].astype(np.int64)
        onset = notes.onset[span]
        end = onset + notes.duration[span]
        shown = np.flatnonzero((pitch >= low) & (pitch <= high) & (end > view.left_tick))
        edge = int(view.width * dpr) + 8
        x = view.xs(onset[shown], dpr).clip(-8, edge)
        width = view.xs(end[shown], dpr).clip(-8, edge) - x
        if crowded:
            kept = thinned(x, pitch[shown], width)
            shown, x, width = shown[kept], x[kept], width[kept]
        pitch = pitch[shown]
        y = self._tops(view, pitch + 1, dpr)
        height = self._tops(view, pitch, dpr) - y
        gap = max(round(dpr), 1)
        width = np.maximum(width - gap * (width > 3 * gap), gap)
        height = np.maximum(height - gap * (view.row >= 5), 1)
        look = style(
            layer.colour, "muted" if layer.muted else "active" if layer.active else "other"
        )
        index = shown + span.start
        faint, picked = layer.faint[index], layer.selected[index]
        level = notes.velocity[index] // (128 // LEVELS)
        for k, fill in enumerate(look.fills):
            m = (level == k) & ~faint & ~picked
            self._bodies(painter, fill, x[m], y[m], width[m], height[m], gap)
        if not crowded:
            m = ~faint & ~picked & (width > 6 * gap)
            onset_w = 2 * gap
            self._rectangles.fill(
                painter, look.edge, x[m], y[m] + gap, onset_w, height[m] - 2 * gap
            )
        if faint.any():
            outline = QBrush(QColor(look.ghost))
            self._frames(painter, outline, x[faint], y[faint], width[faint], height[faint], gap)
        if picked.any():
            args = x[picked], y[picked], width[picked], height[picked]
            self._bodies(painter, theme.colour("selected"), *args, gap)
            rim = gap + (1 if dpr > 1 else 0)
            inner = (args[2] > 4 * rim) & (args[3] > 4 * rim)
            self._rectangles.fill(
                painter,
                look.picked,
                args[0][inner] + rim,
                args[1][inner] + rim,
                args[2][inner] - 2 * rim,
                args[3][inner] - 2 * rim,
            )
        locked = notes.locked[index] & ~faint
        if locked.any():
            hatch = hatching("#70000000", max(round(5 * dpr), 4))
            args = x[locked], y[locked], width[locked], height[locked]
            self._rectangles.fill(painter, hatch, *args)
            least = 46 if view.row >= NAME_ROW_PX else 16  # a name comes before the padlock
            self._padlocks(painter, *args, dpr, least)
        if view.row >= NAME_ROW_PX:
            named = (width >= NAME_NOTE_PX * dpr) & ~faint
            self._label(
                painter,
                view,
                pitch[named],
                np.maximum(x[named], 0) + round(5 * dpr),
                x[named] + width[named],
                y[named] + height[named] // 2,
                dpr,
                flats,
            )

    def _bodies(
        self,
        painter: QPainter,
        fill: QColor | QBrush,
        x: npt.NDArray[Any],
        y: npt.NDArray[Any],
        w: npt.NDArray[Any],
        h: npt.NDArray[Any],
        gap: int,
    ) -> None:
        """Note bodies; those large enough have their corners cut, by drawing a cross of two rectangles."""
        if not len(x):
            return
        large = (w >= 5 * gap) & (h >= 5 * gap)
        small = ~large
        rectangles = self._rectangles
        rectangles.fill(painter, fill, x[small], y[small], w[small], h[small])
        x, y, w, h = x[large], y[large], w[large], h[large]
        rectangles.fill(painter, fill, x + gap, y, w - 2 * gap, h)
        rectangles.fill(painter, fill, x, y + gap, gap, h - 2 * gap)
        rectangles.fill(painter, fill, x + w - gap, y + gap, gap, h - 2 * gap)

    def _frames(
        self,
        painter: QPainter,
        brush: QBrush,
        x: npt.NDArray[Any],
        y: npt.NDArray[Any],
        w: npt.NDArray[Any],
        h: npt.NDArray[Any],
        t: int,
    ) -> None:
        fill = self._rectangles.fill
        fill(painter, brush, x, y, w, t)
        fill(painter, brush, x, y + h - t, w, t)
        fill(painter, brush, x, y + t, t, h - 2 * t)
        fill(painter, brush, x + w - t, y + t, t, h - 2 * t)

    def _padlocks(
        self,
        painter: QPainter,
        x: npt.NDArray[Any],
        y: npt.NDArray[Any],
        w: npt.NDArray[Any],
        h: npt.NDArray[Any],
        dpr: float,
        least: int,
    ) -> None:
        """A padlock at the right end of the notes at least `least` logical pixels long."""
        u = max(round(dpr), 1)
        room = (w >= least * u) & (h >= 9 * u)
        right, middle = (x + w)[room] - 11 * u, (y + h // 2)[room]
        fill, ink = self._rectangles.fill, theme.colour("ink")
        fill(painter, ink, right, middle - u, 7 * u, 4 * u)
        fill(painter, ink, right + u, middle - 3 * u, u, 2 * u)
        fill(painter, ink, right + 5 * u, middle - 3 * u, u, 2 * u)
        fill(painter, ink, right + 2 * u, middle - 4 * u, 3 * u, u)

    def _label(
        self,
        painter: QPainter,
        view: Viewport,
        pitch: npt.NDArray[Any],
        x: npt.NDArray[Any],
        right: npt.NDArray[Any],
        middle: npt.NDArray[Any],
        dpr: float,
        flats: bool,
    ) -> None:
        size = min(view.row - 3, 12)
        key = (flats, size, dpr)
        labels = self._names.get(key)
        if labels is None:
            font = QFont(self._font)
            font.setPixelSize(size)
            font.setWeight(QFont.Weight.DemiBold)
            names = [pitch_name(p, flats) for p in range(PITCHES)]
            labels = self._names[key] = Labels(names, font, theme.colour("ink"), dpr)
        fits = x + labels.widths[pitch] <= right
        labels.draw(painter, pitch[fits], x[fits], middle[fits])

    def ghosts(
        self,
        painter: QPainter,
        view: Viewport,
        layers: Sequence[Layer],
        dpr: float,
        heard: bool = False,
    ) -> None:
        """Proposed notes: translucent with dashed rims, fuller while they are heard."""
        t = max(round(1.4 * dpr), 1)
        for layer in layers:
            span = layer.span(view.left_tick, view.right_tick)
            notes, edge = layer.notes, int(view.width * dpr) + 8
            x = view.xs(notes.onset[span], dpr).clip(-8, edge)
            width = view.xs(notes.onset[span] + notes.duration[span], dpr).clip(-8, edge) - x
            pitch = notes.pitch[span].astype(np.int64)
            y = self._tops(view, pitch + 1, dpr)
            gap = max(round(dpr), 1)
            height = np.maximum(self._tops(view, pitch, dpr) - y - gap, 1)
            width = np.maximum(width - gap, gap)
            look = style(layer.colour, "active")
            body = QColor(look.ghost)
            body.setAlpha(150 if heard else 64)
            self._rectangles.fill(painter, body, x, y, width, height)
            rim = dashes(look.rim, max(round(4 * dpr), 3), max(round(3 * dpr), 2))
            self._frames(painter, rim, x, y, width, height, t)

"""The still picture of the roll: rows, grid, region and notes. What moves (playhead, rubber band) is not in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QRect
from PySide6.QtGui import QColor, QFont, QImage, QPainter

from app import theme
from app.pianoroll import grid
from app.pianoroll.layers import LEVELS, Layer
from app.pianoroll.painting import Labels, Rectangles, Row, dashes, hatching
from app.pianoroll.sight import Sight, cut_corners, rims, sight, tops, whole
from app.pianoroll.viewport import PITCHES, Viewport
from models.score import Score

WHITE = np.array([p % 12 in (0, 2, 4, 5, 7, 9, 11) for p in range(PITCHES)])
SHARP_NAMES = ("C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B")
FLAT_NAMES = ("C", "D♭", "D", "E♭", "E", "F", "G♭", "G", "A♭", "A", "B♭", "B")
CROWD = 5_000
"""With more notes than this in sight they are stamped into a picture instead of drawn one by one."""
LONG_PX = 24
"""Notes longer than this are drawn as rectangles all the same."""
QUIET = 0.2
"""How far the softest notes' colour sinks into the ground; further, and names on them would not be read."""
UNISON_ROW_PX = 8
"""Rows this high show a note under another of the same beginning and pitch."""
RIM_ALPHA = 150
NAME_ROW_PX, NAME_NOTE_PX = 11, 14
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
    stem: QColor
    rim: str


@cache
def style(index: int, standing: str) -> Style:
    """The look of track `index` when it is "active", "other" or "muted"."""
    ground = theme.COLOURS["row_white"]
    base = theme.voice(index).name()
    if standing == "muted":
        base = theme.blend(base, "#565d69", 0.85).name()
    back = {"active": 0.0, "other": 0.08, "muted": 0.3}[standing]
    fills = tuple(
        theme.blend(base, ground, back + QUIET * (1 - level / (LEVELS - 1)))
        for level in range(LEVELS)
    )
    ghost = QColor(base)
    ghost.setAlpha(64)
    return Style(
        fills=fills,
        edge=theme.blend(base, "#ffffff", 0.45 if standing == "active" else 0.1),
        picked=theme.blend(base, "#ffffff", 0.62),
        ghost=ghost,
        stem=theme.blend(base, theme.COLOURS["row_black"], 0.6),
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
        top = tops(view, pitch + 1, dpr)
        bottom = tops(view, pitch, dpr)
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
        lines = grid.lines(score.meter, view.left_tick, view.right_tick, view.scale, step)
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

    def notes(
        self,
        painter: QPainter,
        view: Viewport,
        layers: Sequence[Layer],
        dpr: float,
        flats: bool = False,
    ) -> None:
        """The notes of all layers, the active one last. The painter works in device pixels."""
        order = sorted(layers, key=lambda layer: (layer.active, not layer.muted))
        spans = [layer.span(view.left_tick, view.right_tick) for layer in order]
        if sum(span.stop - span.start for span in spans) > CROWD:
            self._crowd(painter, view, order, dpr)
        else:
            self._each(painter, view, order, dpr, flats)

    def _crowd(self, painter: QPainter, view: Viewport, order: Sequence[Layer], dpr: float) -> None:
        """Thousands of notes a few pixels long: stamped into a picture of one line a pitch, which is
        then stretched. The cost is that of the picture, not of the notes."""
        width = int(np.ceil(view.width * dpr))
        low, high = view.pitches
        cells = np.zeros((high - low + 1, width), np.uint8)
        flat = cells.reshape(-1)
        shades = [0]
        rest: list[tuple[QColor, Row, Row, Row]] = []
        for layer in order:
            notes, span = layer.notes, layer.span(view.left_tick, view.right_tick)
            pitch, onset = notes.pitch[span], notes.onset[span]
            x = view.xs(onset, dpr)
            right = np.minimum(view.xs(onset + notes.duration[span], dpr), width)
            x = np.maximum(x, 0)
            long = right - x
            shown = np.flatnonzero((pitch >= low) & (pitch <= high) & (right > 0) & (x < width))
            x, long = x[shown], long[shown]
            at = (high - pitch[shown].astype(np.int64)) * width + x
            level = notes.velocity[span][shown] // (128 // LEVELS)
            level[layer.selected[span][shown]] = LEVELS
            code = (level + len(shades)).astype(np.uint8)
            flat[at] = code
            look = self._look(layer)
            shades += [shade.rgb() for shade in (*look.fills, theme.colour("selected"))]
            more = np.flatnonzero((long > 1) & (long <= LONG_PX))
            for k in range(1, LONG_PX):
                more = more[long[more] > k]
                if not len(more):
                    break
                flat[at[more] + k] = code[more]
            wide = long > LONG_PX
            if wide.any():
                rest.append(
                    (look.fills[-1], x[wide], pitch[shown][wide].astype(np.int64), long[wide])
                )
        pixels = np.array(shades, np.uint32)[cells]
        picture = QImage(
            pixels.data,
            width,
            len(cells),
            QImage.Format.Format_ARGB32_Premultiplied,
        )
        edges = tops(view, np.arange(low, high + 2), dpr)
        target = QRect(0, int(edges[-1]), width, int(edges[0] - edges[-1]))
        painter.drawImage(target, picture)
        for shade, x, pitch, long in rest:
            y = tops(view, pitch + 1, dpr)
            self._rectangles.fill(painter, shade, x, y, long, tops(view, pitch, dpr) - y)
        if view.row >= 5:
            hair = max(round(dpr), 1)
            self._rectangles.fill(
                painter, theme.colour("row_line"), 0, edges[:-1] - hair, width, hair
            )

    @staticmethod
    def _look(layer: Layer) -> Style:
        return style(
            layer.colour, "muted" if layer.muted else "active" if layer.active else "other"
        )

    def _each(
        self, painter: QPainter, view: Viewport, order: Sequence[Layer], dpr: float, flats: bool
    ) -> None:
        """Notes one by one: bodies, beginnings, then what is special about some, then names."""
        seen = sight(view, order, dpr)
        looks = [self._look(layer) for layer in order]
        gap, full, runs = max(round(dpr), 1), seen.h, self._rectangles.runs
        if view.row >= UNISON_ROW_PX:
            # A unison: the upper note leaves a strip of the one below in sight.
            seen = replace(seen, h=np.where(seen.over, full * 3 // 5, full))
        solid = seen.where(~seen.faint & ~seen.picked)
        bodies = {
            rank * LEVELS + level: fill
            for rank, look in enumerate(looks)
            for level, fill in enumerate(look.fills)
        }
        code = solid.rank * LEVELS + solid.level
        runs(painter, cut_corners(*solid.boxes, gap), code, bodies)
        x, y, w, h = solid.boxes
        wide = w > 6 * gap
        edges = whole(x[wide], y[wide] + gap, 2 * gap, np.maximum(h[wide] - 2 * gap, 1))
        runs(painter, edges, solid.rank[wide], {r: look.edge for r, look in enumerate(looks)})
        marked = seen.marked & ~seen.faint & ~seen.picked
        if marked.any() and view.row >= 5:
            shade = QColor(theme.colour("region_rim"))
            shade.setAlpha(RIM_ALPHA)
            sides = rims(*seen.where(marked).boxes, gap)
            runs(painter, sides, np.zeros(len(sides), np.int64), {0: shade})
        if seen.faint.any():
            faint = seen.where(seen.faint)
            shades = {r: look.ghost for r, look in enumerate(looks)}
            runs(painter, rims(*faint.boxes, gap), faint.rank, shades)
        if seen.picked.any():
            self._picked(painter, seen.where(seen.picked & ~seen.faint), looks, dpr)
        if seen.locked.any():
            boxes = seen.where(seen.locked & ~seen.faint).boxes
            hatch = hatching("#70000000", max(round(5 * dpr), 4))
            self._rectangles.fill(painter, hatch, *boxes)
            least = 46 if view.row >= NAME_ROW_PX else 16  # a name comes before the padlock
            self._padlocks(painter, *boxes, dpr, least)
        if view.row >= NAME_ROW_PX:
            # Beyond a shorter unison's end half the name would stand on the ground.
            named = (seen.w >= NAME_NOTE_PX * dpr) & ~seen.faint & ~seen.longer
            x, y, w, _ = seen.where(named).boxes
            left = np.maximum(x, 0) + round(4 * dpr)
            middle = y + full[named] // 2
            self._label(painter, view, seen.pitch[named], left, x + w, middle, dpr, flats)

    def _picked(self, painter: QPainter, picked: Sight, looks: Sequence[Style], dpr: float) -> None:
        """Selected notes: white, and inside, where there is room, a light shade of their colour."""
        gap = max(round(dpr), 1)
        white = {0: theme.colour("selected")}
        body = cut_corners(*picked.boxes, gap)
        self._rectangles.runs(painter, body, np.zeros(len(picked), np.int64), white)
        rim = gap + (1 if dpr > 1 else 0)
        x, y, w, h = picked.boxes
        fits = (w > 4 * rim) & (h > 4 * rim)
        x, y, w, h = x[fits] + rim, y[fits] + rim, w[fits] - 2 * rim, h[fits] - 2 * rim
        shades = {rank: look.picked for rank, look in enumerate(looks)}
        self._rectangles.runs(painter, whole(x, y, w, h), picked.rank[fits], shades)

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
            names += [name.rstrip("-0123456789") for name in names]  # for notes too short for more
            labels = self._names[key] = Labels(names, font, theme.colour("ink"), dpr)
        which = np.where(x + labels.widths[pitch] <= right, pitch, pitch + PITCHES)
        fits = x + labels.widths[which] <= right
        labels.draw(painter, which[fits], x[fits], middle[fits])

    def ghosts(
        self,
        painter: QPainter,
        view: Viewport,
        layers: Sequence[Layer],
        dpr: float,
        heard: bool = False,
    ) -> None:
        """Proposed notes: translucent with dashed rims, fuller while they are heard."""
        if not layers:
            return
        seen = sight(view, layers, dpr)
        looks = [style(layer.colour, "active") for layer in layers]
        bodies = {rank: QColor(look.ghost) for rank, look in enumerate(looks)}
        for body in bodies.values():
            body.setAlpha(150 if heard else 64)
        self._rectangles.runs(painter, whole(*seen.boxes), seen.rank, bodies)
        on, off = max(round(4 * dpr), 3), max(round(3 * dpr), 2)
        brushes = {rank: dashes(look.rim, on, off) for rank, look in enumerate(looks)}
        thick = max(round(1.4 * dpr), 1)
        self._rectangles.runs(painter, rims(*seen.boxes, thick), seen.rank, brushes)

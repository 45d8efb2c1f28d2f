"""The latent map: phrases of the corpus in two dimensions, and the phrase in hand as a dot to be dragged.

Imported when the map is first shown: pyqtgraph takes a while.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyqtgraph as pg
from PySide6.QtCore import QEvent, QPointF, QRectF, Qt, Signal
from PySide6.QtGui import (
    QDragEnterEvent,
    QDragMoveEvent,
    QDropEvent,
    QFocusEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
)
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QVBoxLayout, QWidget

from app import theme
from app.panels.common import label
from app.panels.sliders import measured_text
from app.places import Placed
from engine import exchange
from models.attributes import NAMES, UNITS
from models.space import Space

SHADES = 32
GRAB_PX, NEAR_PX, STILL_PX = 14, 12, 4
STEP, FINE_STEP = 1 / 40, 1 / 200
"""What an arrow key moves the dot by, as a share of the map; the finer with Shift."""
COMMON = 0.02
"""Colours go from this quantile of an attribute to that far from the other end."""

ARROWS = {
    Qt.Key.Key_Left: (-1, 0),
    Qt.Key.Key_Right: (1, 0),
    Qt.Key.Key_Up: (0, 1),
    Qt.Key.Key_Down: (0, -1),
}

Point = tuple[float, float]


class Plot(pg.PlotWidget):  # type: ignore[misc]
    """The picture: points, path, placed music and the dot.

    `dragged(x, y, settled)`: the dot is to go there. `point_pressed(index, keep)` and
    `placed_pressed(index, keep)`: a phrase is to be heard (and kept, after a double click).
    """

    dragged = Signal(float, float, bool)
    point_pressed = Signal(int, bool)
    placed_pressed = Signal(int, bool)
    dropped = Signal(object)

    def __init__(self) -> None:
        super().__init__(background=theme.COLOURS["field"])
        self.setObjectName("latent_map")
        self.setAccessibleName("latent map")
        self.viewport().setAcceptDrops(True)
        self.setMinimumHeight(130)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMenuEnabled(False)
        self.hideAxis("left")
        self.hideAxis("bottom")
        self.hideButtons()
        self._points: npt.NDArray[np.float64] = np.zeros((0, 2))
        self._brushes = [pg.mkBrush(theme.ramp(k / (SHADES - 1))) for k in range(SHADES)]
        self._cloud = pg.ScatterPlotItem(size=5, pen=None, antialias=True)
        # Thousands of points, under a dot that moves sixty times a second.
        self._cloud.setCacheMode(self._cloud.CacheMode.DeviceCoordinateCache)
        self._path = pg.PlotDataItem(
            pen=pg.mkPen(theme.colour("loop"), width=2),
            symbol="o",
            symbolSize=7,
            symbolPen=None,
            symbolBrush=theme.colour("loop"),
            antialias=True,
        )
        self._way = pg.PlotDataItem(
            pen=pg.mkPen(theme.colour("selected"), width=1, style=Qt.PenStyle.DashLine)
        )
        self._marks = pg.ScatterPlotItem(
            symbol="d", size=13, pen=pg.mkPen(theme.colour("ink"), width=1), antialias=True
        )
        self._marks.setBrush(theme.colour("warning"))
        self._home = pg.ScatterPlotItem(
            size=11, pen=pg.mkPen(theme.colour("selected"), width=2), brush=None, antialias=True
        )
        self._dot = pg.ScatterPlotItem(size=18, antialias=True)
        for depth, item in enumerate(
            (self._cloud, self._path, self._way, self._marks, self._home, self._dot)
        ):
            item.setZValue(depth)
            self.addItem(item)
        self._names: list[Any] = []
        self._ends: list[Any] = []
        self._at: Point | None = None
        self._own: Point | None = None
        self._placed: tuple[Placed, ...] = ()
        self._dotted: tuple[Point | None, Point | None, bool] | None = None
        self._held = False
        self._pressed: QPointF | None = None
        self.show_dot(None, None)

    # --- what is shown -----------------------------------------------------------------------------

    def show_points(self, points: npt.ArrayLike) -> None:
        """Show the corpus at these places [P, 2], and all of it."""
        self._points = np.asarray(points, np.float64).reshape(-1, 2)
        self._cloud.setData(pos=self._points)
        if len(self._points):
            low, high = self._points.min(0), self._points.max(0)
            self.getViewBox().setRange(QRectF(QPointF(*low), QPointF(*high)), padding=0.05)

    def show_shades(self, shares: npt.ArrayLike) -> None:
        """Colour the points by numbers [P], 0–1."""
        index = np.clip(np.nan_to_num(np.asarray(shares)) * SHADES, 0, SHADES - 1).astype(int)
        self._cloud.setBrush([self._brushes[k] for k in index.tolist()])

    def show_dot(self, at: Point | None, own: Point | None) -> None:
        """The phrase as it is pushed, and where it would be without."""
        shown = (at, own, self.hasFocus())
        if shown == self._dotted:
            return
        self._at, self._own, self._dotted = at, own, shown
        moved = at is not None and own is not None and math.dist(at, own) > 1e-6
        focus = theme.colour("selected" if self.hasFocus() else "ink")
        self._dot.setData(
            pos=[] if at is None else [at],
            brush=theme.colour("accent"),
            pen=pg.mkPen(focus, width=2.5),
        )
        self._home.setData(pos=[own] if moved else [])
        self._way.setVisible(moved)
        if moved:
            self._way.setData(np.array([own, at]))

    def show_placed(self, placed: Sequence[Placed]) -> None:
        """Music that was put on the map."""
        self._placed = tuple(placed)
        self._marks.setData(pos=[(p.x, p.y) for p in placed])
        self._label(self._names, [(p.name, (p.x, p.y), "warning") for p in placed])

    def set_path(self, points: Iterable[Point]) -> None:
        """The path from A to B."""
        line = np.array(list(points), np.float64).reshape(-1, 2)
        self._path.setData(line)
        ends = [("A", line[0], "loop"), ("B", line[-1], "loop")] if len(line) else []
        self._label(self._ends, [(n, (float(p[0]), float(p[1])), c) for n, p, c in ends])

    def _label(self, there: list[Any], wanted: list[tuple[str, Point, str]]) -> None:
        for item in there:
            self.removeItem(item)
        there.clear()
        for text, at, colour in wanted:
            ground = theme.colour("field").name() + "c0"
            item = pg.TextItem(
                text, theme.colour(colour), anchor=(0.5, 1.4), fill=pg.mkBrush(ground)
            )
            item.setPos(*at)
            item.setZValue(4.5)
            self.addItem(item)
            there.append(item)

    # --- places ------------------------------------------------------------------------------------

    def pixel(self, at: Point) -> QPointF:
        """Where a place of the map is in the widget."""
        scene = self.getViewBox().mapViewToScene(QPointF(*at))
        return QPointF(self.mapFromScene(scene))

    def place(self, pixel: QPointF) -> Point:
        """The place of the map at a point of the widget."""
        found = self.getViewBox().mapSceneToView(self.mapToScene(pixel.toPoint()))
        return float(found.x()), float(found.y())

    def _nearest(self, points: npt.ArrayLike, pixel: QPointF) -> int | None:
        """The index of the point next to a pixel, None when it is too far away."""
        places = np.asarray(points, np.float64).reshape(-1, 2)
        if not len(places):
            return None
        width, height = self.getViewBox().viewPixelSize()
        away = (places - self.place(pixel)) / (width or 1.0, height or 1.0)
        distance = np.hypot(away[:, 0], away[:, 1])
        best = int(distance.argmin())
        return best if distance[best] <= NEAR_PX else None

    def _press_at(self, pixel: QPointF, keep: bool) -> None:
        mark = self._nearest([(p.x, p.y) for p in self._placed], pixel)
        if mark is not None:
            self.placed_pressed.emit(mark, keep)
        elif (index := self._nearest(self._points, pixel)) is not None:
            self.point_pressed.emit(index, keep)

    # --- mouse, keys, drops ------------------------------------------------------------------------

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self.setFocus(Qt.FocusReason.MouseFocusReason)
        if event.button() == Qt.MouseButton.LeftButton:
            self._pressed = event.position()
            if self._at is not None:
                away = event.position() - self.pixel(self._at)
                self._held = np.hypot(away.x(), away.y()) <= GRAB_PX
            if self._held:
                event.accept()
                return
        super().mousePressEvent(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self._held:
            self.dragged.emit(*self.place(event.position()), False)
            event.accept()
            return
        super().mouseMoveEvent(event)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        pressed, self._pressed = self._pressed, None
        if event.button() == Qt.MouseButton.LeftButton and pressed is not None:
            away = event.position() - pressed
            still = np.hypot(away.x(), away.y()) <= STILL_PX
            if self._held:
                self._held = False
                if not still:
                    self.dragged.emit(*self.place(event.position()), True)
                event.accept()
                return
            if still:
                self._press_at(event.position(), False)
        super().mouseReleaseEvent(event)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self._press_at(event.position(), True)
        event.accept()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key = Qt.Key(event.key())
        if key in ARROWS and self._at is not None:
            shift = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
            (left, right), (low, high) = self.getViewBox().viewRange()
            share = FINE_STEP if shift else STEP
            dx, dy = ARROWS[key]
            x, y = self._at
            self.dragged.emit(x + dx * share * (right - left), y + dy * share * (high - low), True)
        elif key == Qt.Key.Key_Backspace and self._own is not None:
            self.dragged.emit(*self._own, True)
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self._at is not None:
            if len(self._points):
                away = self._points - self._at
                self.point_pressed.emit(int(np.hypot(away[:, 0], away[:, 1]).argmin()), False)
        else:
            super().keyPressEvent(event)

    def focusInEvent(self, event: QFocusEvent) -> None:
        super().focusInEvent(event)
        self.show_dot(self._at, self._own)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        self.show_dot(self._at, self._own)

    def event(self, event: QEvent) -> bool:
        # Arrow keys and Return are ours while the map has the focus, whatever shortcuts there are.
        if event.type() == QEvent.Type.ShortcutOverride and isinstance(event, QKeyEvent):
            ours = (*ARROWS, Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Backspace)
            plain = event.modifiers() in (
                Qt.KeyboardModifier.NoModifier,
                Qt.KeyboardModifier.ShiftModifier,
                Qt.KeyboardModifier.KeypadModifier,
            )
            if plain and event.key() in ours:
                event.accept()
                return True
        return bool(super().event(event))

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if _file(event) is not None:
            event.acceptProposedAction()

    def dragMoveEvent(self, event: QDragMoveEvent) -> None:
        if _file(event) is not None:
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        path = _file(event)
        if path is not None:
            event.acceptProposedAction()
            self.dropped.emit(path)


def _file(event: QDropEvent) -> Path | None:
    """The first file of a drop that can be read as music."""
    paths = [Path(u.toLocalFile()) for u in event.mimeData().urls() if u.isLocalFile()]
    return next((p for p in paths if p.suffix.lower() in exchange.READERS), None)


class Scale(QWidget):
    """The colours from little to much."""

    def __init__(self) -> None:
        super().__init__()
        self.setMinimumWidth(40)
        self.setFixedHeight(10)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setPen(Qt.PenStyle.NoPen)
        width = self.width() / SHADES
        for k in range(SHADES):
            painter.setBrush(theme.ramp(k / (SHADES - 1)))
            painter.drawRect(QRectF(k * width, 0, width + 0.5, self.height()))


class LatentMap(QWidget):
    """The map with its colours: which attribute they show, and what they stand for."""

    def __init__(self) -> None:
        super().__init__()
        self._space: Space | None = None
        self.plot = Plot()
        self.colouring = QComboBox()
        self.colouring.setObjectName("map_colour")
        self.colouring.setAccessibleName("what colours show")
        self.colouring.setToolTip("What the colours of the phrases show")
        for name in NAMES:
            self.colouring.addItem(name.capitalize(), name)
        self.low, self.high = label("", "dim"), label("", "dim")
        legend = QHBoxLayout()
        legend.setSpacing(6)
        legend.addWidget(self.colouring)
        legend.addWidget(self.low)
        legend.addWidget(Scale(), 1)
        legend.addWidget(self.high)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.plot, 1)
        layout.addLayout(legend)
        self.colouring.currentIndexChanged.connect(self._colour)

    def show_space(self, space: Space | None) -> None:
        """Show another system's phrases."""
        self._space = space
        self.plot.show_points(np.zeros((0, 2)) if space is None else space.points)
        self._colour()

    def set_path(self, points: Iterable[Point]) -> None:
        """The path from A to B."""
        self.plot.set_path(points)

    def _colour(self) -> None:
        if self._space is None or not len(self._space.points):
            self.low.setText("")
            self.high.setText("")
            return
        name = str(self.colouring.currentData())
        values = self._space.point_attributes[:, NAMES.index(name)].astype(np.float64)
        low, high = np.quantile(values, [COMMON, 1 - COMMON])
        self.plot.show_shades((values - low) / max(high - low, 1e-9))
        self.low.setText(measured_text(name, float(low)))
        self.high.setText(f"{measured_text(name, float(high))} {UNITS[name]}")

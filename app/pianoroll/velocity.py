"""The velocity lane: a stem for every note of the active track, to be dragged up and down."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QEvent, QPointF, QRect, QSize, Qt, Signal
from PySide6.QtGui import (
    QImage,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QWidget

from app import theme
from app.pianoroll import gestures, grid
from app.pianoroll.canvas import CURSORS, Canvas
from app.pianoroll.gestures import Gesture, Spot
from app.pianoroll.layers import Layer
from app.pianoroll.painting import Rectangles, surface
from app.pianoroll.scene import style
from app.pianoroll.view import View
from app.session import Session
from engine.document import Change

REACH_PX = 5.0
"""A stem this near to the mouse counts as under it."""
TOP_PX = 7
DENSE_PX = 3
"""With notes closer than this the stems lose their heads, and the other tracks' go."""


class VelocityLane(QWidget):
    """Drag across stems to draw their heights; drag a selected note's stem to shift the whole selection.

    `hinted(text)` says what is under the mouse.
    """

    hinted = Signal(str)

    def __init__(
        self, session: Session, view: View, canvas: Canvas, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setMouseTracking(True)
        self.setMinimumHeight(44)
        self.setToolTip(
            "Velocity: drag across notes, or drag a selected note to change all selected"
        )
        self._session, self._view, self._canvas = session, view, canvas
        self._rectangles = Rectangles()
        self._gesture: Gesture | None = None
        self._ending = False
        self._image: QImage | None = None
        self._stale = True
        self._playhead_x = -100
        view.changed.connect(self.refresh)
        session.changed.connect(self._on_changed)
        for signal in (
            session.selection_changed,
            session.active_track_changed,
            session.proposals_changed,
            session.region_changed,
        ):
            signal.connect(self.refresh)

    def sizeHint(self) -> QSize:
        return QSize(400, 60)

    def refresh(self) -> None:
        """Draw anew at the next opportunity."""
        self._stale = True
        self.update()

    def _on_changed(self, change: Change) -> None:
        if change.committed and self._gesture is not None and not self._ending:
            self._gesture = None
        self.refresh()

    def show_playhead(self, tick: float) -> None:
        """Move the playhead."""
        x = round(self._view.viewport.x(tick))
        if x != self._playhead_x:
            for at in (self._playhead_x, x):
                self.update(QRect(at - 2, 0, 5, self.height()))
            self._playhead_x = x

    def resizeEvent(self, event: QResizeEvent) -> None:
        self.refresh()

    # --- drawing ---------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:
        dpr = self.devicePixelRatioF()
        if self._stale or self._image is None or self._image.devicePixelRatio() != dpr:
            self._render(dpr)
        assert self._image is not None
        painter = QPainter(self)
        painter.drawImage(0, 0, self._image)
        if -2 <= self._playhead_x <= self.width():
            painter.fillRect(self._playhead_x, 0, 1, self.height(), theme.colour("playhead"))
        painter.end()

    def _render(self, dpr: float) -> None:
        self._image = surface(self._image, self.width(), self.height(), dpr)
        painter = QPainter(self._image)
        width, height = self._image.width(), self._image.height()
        painter.fillRect(0, 0, width, height, theme.colour("row_black"))
        view, hair = self._view.viewport, max(round(dpr), 1)
        levels = np.rint(np.array([self._y(v) for v in (32, 64, 96, 127)]) * dpr).astype(np.int32)
        self._rectangles.fill(painter, theme.colour("grid_sub"), 0, levels, width, hair)
        lines = grid.lines(
            self._session.score.meter,
            view.left_tick,
            view.right_tick,
            view.scale,
            self._session.snap,
        )
        for ticks, name in ((lines.beats, "grid_sub"), (lines.bars, "grid_beat")):
            self._rectangles.fill(painter, theme.colour(name), view.xs(ticks, dpr), 0, hair, height)
        for layer in sorted(self._canvas.layers, key=lambda layer: layer.active):
            if not layer.muted or layer.active:
                self._stems(painter, layer, dpr, height)
        painter.end()
        self._image.setDevicePixelRatio(dpr)
        self._stale = False

    def _stems(self, painter: QPainter, layer: Layer, dpr: float, height: int) -> None:
        view, notes = self._view.viewport, layer.notes
        edges = np.array([view.left_tick - 1, view.right_tick + 1], np.int64)
        span = slice(*notes.onset.searchsorted(edges))
        count = span.stop - span.start
        dense = count > self.width() / DENSE_PX
        if count == 0 or (dense and not layer.active):
            return
        x = view.xs(notes.onset[span], dpr)
        velocity, picked = notes.velocity[span].astype(np.int64), layer.selected[span]
        # Onsets ascend, so notes that share a pixel are neighbours: the loudest stands for them.
        first = np.flatnonzero(np.append(True, x[1:] != x[:-1]))
        if len(first) < len(x):
            velocity = np.maximum.reduceat(velocity * 2 + picked, first)
            velocity, picked, x = velocity // 2, velocity % 2 == 1, x[first]
        y = np.rint((self.height() - (self.height() - TOP_PX) * velocity / 127) * dpr)
        y = y.astype(np.int32)
        u = max(round(dpr), 1)
        look = style(layer.colour, "active" if layer.active else "other")
        fill = self._rectangles.fill
        if not layer.active:
            fill(painter, look.stem, x, y, u, height - y)
            return
        for mask, shade in ((~picked, look.fills[-1]), (picked, theme.colour("selected"))):
            fill(painter, shade, x[mask], y[mask], u if dense else 2 * u, height - y[mask])
            if not dense:
                fill(painter, shade, x[mask] - u, y[mask] - 2 * u, 6 * u, 4 * u)

    def _y(self, velocity: float) -> float:
        return self.height() - (self.height() - TOP_PX) * velocity / 127

    def _velocity(self, y: float) -> int:
        share = (self.height() - y) / max(self.height() - TOP_PX, 1)
        return min(max(round(share * 127), 1), 127)

    # --- the mouse -------------------------------------------------------------------------------

    def _spot(self, event: QMouseEvent) -> Spot:
        at = event.position()
        return Spot(self._view.viewport.tick(at.x()), velocity=self._velocity(at.y()))

    def _active(self) -> Layer | None:
        return next((layer for layer in self._canvas.layers if layer.active), None)

    def _near(self, x: float) -> list[int]:
        """Indices of the active track's notes whose stems are under the mouse."""
        layer = self._active()
        if layer is None:
            return []
        tick, reach = self._view.viewport.tick(x), REACH_PX / self._view.viewport.scale
        low, high = np.searchsorted(layer.notes.onset, [tick - reach, tick + reach])
        return list(range(int(low), int(high)))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if self._gesture is not None:
            self.cancel()
            return
        layer = self._active()
        if event.button() != Qt.MouseButton.LeftButton or layer is None:
            return
        near, spot = self._near(event.position().x()), self._spot(event)
        picked = any(layer.selected[i] for i in near)
        if picked and len(self._session.selection) > 1:
            self._gesture = gestures.ShiftVelocity(self._session, spot)
        else:
            # One note of a chord is changed alone when it is the one selected.
            chosen = layer.notes.where(layer.selected) if picked else layer.notes
            reach = REACH_PX / self._view.viewport.scale
            self._gesture = gestures.SweepVelocity(self._session, chosen, spot, reach)
        self.setCursor(CURSORS[self._gesture.cursor])

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self._gesture is not None:
            self._gesture.drag(self._spot(event))
            self.hinted.emit(f"Velocity {self._velocity(event.position().y())}")
            return
        near, layer = self._near(event.position().x()), self._active()
        self.setCursor(CURSORS["resize_v" if near else ""])
        if near and layer is not None:
            values = ", ".join(str(int(layer.notes.velocity[i])) for i in near[:4])
            self.hinted.emit(f"Velocity {values}")
        else:
            self.hinted.emit("")

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        gesture, self._gesture = self._gesture, None
        if gesture is not None:
            self._ending = True
            gesture.finish()
            self._ending = False

    def cancel(self) -> bool:
        """Let go of the drag under way as if it had not been; False when there was none."""
        gesture, self._gesture = self._gesture, None
        if gesture is not None:
            gesture.cancel()
        return gesture is not None

    def leaveEvent(self, event: QEvent) -> None:
        self.hinted.emit("")

    def wheelEvent(self, event: QWheelEvent) -> None:
        self._view.wheel(event, QPointF(event.position().x(), 0), sideways=True)

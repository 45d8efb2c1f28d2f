"""The ruler: a loop strip, bar numbers with the marked bars, and signs of metre, fermata and playhead.

Click: go there. Drag: mark bars (Alt: steps of the grid); its ends can be dragged. Drag in the strip at the
top, or with Shift: the loop. A double-click takes away what it hits. Right-click: a fermata, on or off.
"""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QPointF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import (
    QColor,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPolygonF,
    QWheelEvent,
)
from PySide6.QtWidgets import QWidget

from app import theme
from app.pianoroll import gestures, grid
from app.pianoroll.canvas import CURSORS, DRAG_PX
from app.pianoroll.gestures import Gesture, Spot
from app.pianoroll.view import View
from app.session import Session
from engine import edits
from engine.document import Change

LOOP_PX = 11
"""Height of the loop strip."""
HEIGHT_PX = 46
EDGE_PX = 5
LABEL_PX = 38
"""Bar numbers keep this distance."""


class Ruler(QWidget):
    """See the module. Shares the canvas's viewport; x is the canvas's x."""

    def __init__(self, session: Session, view: View, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setMouseTracking(True)
        self.setFixedHeight(HEIGHT_PX)
        self.setToolTip(
            "Click: move the playhead · drag: mark the bars that may change"
            " · Shift+drag: loop · double-click: clear · right-click: fermata"
        )
        self._session, self._view = session, view
        self._gesture: Gesture | None = None
        self._pressed: QPointF | None = None
        self._dragging = False
        self._playhead_x = -100
        view.changed.connect(self.update)
        session.region_changed.connect(self.update)
        session.loop_changed.connect(self.update)
        session.changed.connect(self._on_changed)

    def sizeHint(self) -> QSize:
        return QSize(400, HEIGHT_PX)

    def _on_changed(self, change: Change) -> None:
        if change.meter or change.fermatas or change.structure:
            self.update()

    def show_playhead(self, tick: float) -> None:
        """Move the playhead's mark."""
        x = round(self._view.viewport.x(tick))
        if x != self._playhead_x:
            for at in (self._playhead_x, x):
                self.update(QRect(at - 8, 0, 17, self.height()))
            self._playhead_x = x

    # --- drawing ---------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.fillRect(event.rect(), theme.colour("window"))
        painter.fillRect(0, 0, self.width(), LOOP_PX, theme.colour("field"))
        clip = event.rect()
        self._paint_span(painter)
        self._paint_loop(painter)
        self._paint_bars(painter, clip)
        self._paint_signs(painter, clip)
        painter.fillRect(0, self.height() - 1, self.width(), 1, theme.colour("line"))
        self._paint_playhead(painter)
        painter.end()

    def _paint_span(self, painter: QPainter) -> None:
        span = self._session.span
        if span is None:
            return
        x0, x1 = (round(self._view.viewport.x(t)) for t in span)
        tint = QColor(theme.colour("region"))
        tint.setAlpha(70)
        painter.fillRect(x0, LOOP_PX, x1 - x0, self.height() - LOOP_PX, tint)
        for x in (x0, x1 - 2):
            painter.fillRect(x, LOOP_PX, 2, self.height() - LOOP_PX, theme.colour("region"))

    def _paint_loop(self, painter: QPainter) -> None:
        loop = self._session.loop
        if loop is not None:
            x0, x1 = (round(self._view.viewport.x(t)) for t in loop)
            painter.fillRect(x0, 2, x1 - x0, LOOP_PX - 4, theme.colour("loop"))

    def _paint_bars(self, painter: QPainter, clip: QRect) -> None:
        view, meter = self._view.viewport, self._session.score.meter
        lines = grid.lines(meter, view.left_tick, view.right_tick, view.scale, self._session.snap)
        bottom = self.height() - 1
        for ticks, height, name in (
            (lines.beats, 6, "grid_bar"),
            (lines.bars, self.height() - LOOP_PX, "grid_bar"),
        ):
            for x in view.xs(ticks).tolist():
                painter.fillRect(x, bottom - height, 1, height, theme.colour(name))
        font = painter.font()
        font.setPixelSize(12)
        painter.setFont(font)
        painter.setPen(theme.colour("text"))
        apart = view.scale * float(np.diff(lines.bars).max()) if len(lines.bars) > 1 else LABEL_PX
        gap = lines.numbers[1][0] - lines.numbers[0][0] if len(lines.numbers) > 1 else 1
        every = gap
        while apart * every / gap < LABEL_PX:
            every *= 2
        for bar, tick in lines.numbers:
            near = clip.left() - LABEL_PX <= view.x(tick) <= clip.right()
            if near and (bar == 0 or (bar - 1) % every == 0):
                painter.drawText(QPointF(round(view.x(tick)) + 5, LOOP_PX + 15), str(bar))

    def _paint_signs(self, painter: QPainter, clip: QRect) -> None:
        view, score = self._view.viewport, self._session.score
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        fermatas = np.array(score.fermatas, np.int64)
        xs = view.xs(fermatas)
        seen = fermatas[(xs > clip.left() - 20) & (xs < clip.right() + 12)]
        if len(seen) <= self.width() / 12:
            pen = QPen(theme.colour("warning"), 1.4)
            for tick in seen.tolist():
                x, y = view.x(tick) + 7, self.height() - 5.0
                painter.setPen(pen)
                painter.setBrush(Qt.BrushStyle.NoBrush)
                painter.drawArc(QRectF(x - 5.5, y - 7, 11, 13), 0, 180 * 16)
                painter.setPen(Qt.PenStyle.NoPen)
                painter.setBrush(theme.colour("warning"))
                painter.drawEllipse(QPointF(x, y - 1.6), 1.4, 1.4)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        font = painter.font()
        font.setPixelSize(10)
        painter.setFont(font)
        painter.setPen(theme.colour("text_dim"))
        meter = score.meter
        for tick in meter.tick[
            (meter.tick >= view.left_tick) & (meter.tick < view.right_tick)
        ].tolist():
            above, below = meter.at(tick)
            painter.drawText(
                QPointF(round(view.x(tick)) + 5, self.height() - 7), f"{above}/{below}"
            )

    def _paint_playhead(self, painter: QPainter) -> None:
        x = self._playhead_x
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.colour("playhead"))
        y = self.height()
        painter.drawPolygon(
            QPolygonF([QPointF(x - 5, y - 9), QPointF(x + 6, y - 9), QPointF(x + 0.5, y - 1)])
        )

    # --- the mouse -------------------------------------------------------------------------------

    def _spot(self, event: QMouseEvent) -> Spot:
        keys = event.modifiers()
        return Spot(
            self._view.viewport.tick(event.position().x()),
            free=bool(keys & Qt.KeyboardModifier.AltModifier),
        )

    def _edge(self, at: QPointF) -> tuple[str, int] | None:
        """Which end of what lies under the mouse."""
        strip = at.y() < LOOP_PX
        marked = self._session.loop if strip else self._session.span
        for edge, tick in enumerate(marked or ()):
            if abs(self._view.viewport.x(tick) - at.x()) <= EDGE_PX:
                return "loop" if strip else "span", edge
        return None

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if self._gesture is not None:
            self.cancel()
            return
        if event.button() == Qt.MouseButton.RightButton:
            self._toggle_fermata(self._spot(event).tick)
        if event.button() != Qt.MouseButton.LeftButton:
            return
        self._pressed, self._dragging = event.position(), False
        edge, spot = self._edge(event.position()), self._spot(event)
        shift = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
        if edge is not None:
            self._gesture = gestures.MoveEdge(self._session, *edge)
        elif shift or event.position().y() < LOOP_PX:
            self._gesture = gestures.MarkLoop(self._session, spot)
        else:
            self._gesture = gestures.MarkBars(self._session, spot)
        self.setCursor(CURSORS[self._gesture.cursor])

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self._gesture is None or self._pressed is None:
            self.setCursor(CURSORS["resize" if self._edge(event.position()) else ""])
            return
        far = abs(event.position().x() - self._pressed.x()) >= DRAG_PX
        self._dragging = self._dragging or far
        if self._dragging:
            x = event.position().x()
            if x < 0 or x > self.width():
                self._view.show(
                    self._view.viewport.scrolled((x if x < 0 else x - self.width()) / 4)
                )
            self._gesture.drag(self._spot(event))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        gesture, self._gesture = self._gesture, None
        if gesture is None:
            return
        if self._dragging:
            gesture.finish()
        elif event.position().y() >= LOOP_PX:
            spot = self._spot(event)
            step = 1 if spot.free else self._session.snap
            self._session.seek(grid.nearest(self._session.score.meter, spot.tick, step))

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        if event.position().y() < LOOP_PX:
            self._session.set_loop(None)
            return
        span, tick = self._session.span, self._view.viewport.tick(event.position().x())
        if span is not None and span[0] <= tick < span[1]:
            self._session.set_span(None)

    def _toggle_fermata(self, tick: float) -> None:
        """At the beginning of the note nearest to the mouse, of whatever track; at the beat without notes."""
        score = self._session.score
        onsets = np.concatenate([t.notes.onset for t in score.tracks] or [np.zeros(0, np.int64)])
        if len(onsets):
            at = int(onsets[np.abs(onsets - tick).argmin()])
        else:
            at = grid.nearest(score.meter, tick, score.meter.beat_ticks(max(tick, 0)))
        self._session.commit("Change fermata", edits.toggle_fermata(score, at))

    def cancel(self) -> bool:
        """Let go of the drag under way as if it had not been; False when there was none."""
        gesture, self._gesture = self._gesture, None
        if gesture is not None:
            gesture.cancel()
        return gesture is not None

    def wheelEvent(self, event: QWheelEvent) -> None:
        self._view.wheel(event, QPointF(event.position().x(), 0), sideways=True)

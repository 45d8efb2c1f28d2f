"""The canvas: where the notes are. It draws the scene and turns mouse events into gestures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QEvent, QPoint, QPointF, QRect, QRectF, Qt, QTimer, Signal
from PySide6.QtGui import (
    QColor,
    QImage,
    QMouseEvent,
    QNativeGestureEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QWidget

from app import theme
from app.candidates import Candidate
from app.pianoroll import gestures
from app.pianoroll.gestures import Gesture, Grab, Spot
from app.pianoroll.layers import Layer, topmost
from app.pianoroll.painting import surface
from app.pianoroll.scene import Scene, pitch_name
from app.pianoroll.view import View
from app.session import Session, Trial
from engine import edits
from engine.document import Change
from models.score import Notes, Region, Score

EDGE_PX = 6.0
"""A note's edge can be taken this far inside it (or a third of it, when it is short)."""
SLACK_PX = 2.0
DRAG_PX = 4
"""A press that moves less than this is a click."""
AUTOSCROLL_MS = 25

CURSORS: dict[str, Qt.CursorShape] = {
    "": Qt.CursorShape.ArrowCursor,
    "note": Qt.CursorShape.PointingHandCursor,
    "move": Qt.CursorShape.ClosedHandCursor,
    "copy": Qt.CursorShape.DragCopyCursor,
    "resize": Qt.CursorShape.SizeHorCursor,
    "resize_v": Qt.CursorShape.SizeVerCursor,
    "draw": Qt.CursorShape.CrossCursor,
    "cross": Qt.CursorShape.CrossCursor,
    "erase": Qt.CursorShape.ForbiddenCursor,
    "mark": Qt.CursorShape.IBeamCursor,
    "pan": Qt.CursorShape.ClosedHandCursor,
}
"""Mouse pointers, by what a gesture calls them."""


def silent(score: Score) -> frozenset[int]:
    """Ids of the tracks that do not sound: muted ones, and where some are soloed all others."""
    solo = any(t.soloed for t in score.tracks)
    return frozenset(t.id for t in score.tracks if t.muted or (solo and not t.soloed))


@dataclass(frozen=True, eq=False)
class Made:
    """A layer, and what it was made from."""

    layer: Layer
    selected: npt.NDArray[np.int64]
    shown: Candidate | Trial | None
    region: Region | None

    def fits(
        self,
        notes: Notes,
        selected: npt.NDArray[np.int64],
        shown: Candidate | Trial | None,
        region: Region | None,
        look: tuple[int, bool, bool],
    ) -> bool:
        """Whether it would come out the same from these; `look` is colour, active, muted."""
        layer = self.layer
        same = layer.notes is notes and self.selected is selected and self.shown is shown
        return same and self.region == region and (layer.colour, layer.active, layer.muted) == look


def layers_of(session: Session, known: dict[int, Made]) -> list[Layer]:
    """A layer a track of what the session shows. `known` keeps them by track, so that a drag makes anew
    only those it touches."""
    score, selected = session.score, session.selected
    shown = session.trial or session.shown_candidate
    region = session.region
    quiet = silent(score)
    out = []
    for index, track in enumerate(score.tracks):
        active, muted = track.id == session.active_track, track.id in quiet
        made = known.get(track.id)
        look = index, active, muted
        if made is None or not made.fits(track.notes, selected, shown, region, look):
            layer = Layer.of(
                track.notes,
                track=track.id,
                colour=index,
                active=active,
                muted=muted,
                selection=selected,
                faint=session.replaced(track),
                marked=None if region is None else region.owned(track),
            )
            made = known[track.id] = Made(layer, selected, shown, region)
        out.append(made.layer)
    return out


class Canvas(QWidget):
    """Shows the session's score and edits it with the mouse.

    Left: take a note (its edges resize, Ctrl copies, Shift adds to the selection), or drag a rubber
    band; double-click draws or deletes. Right: erase. Middle: pan. Alt bypasses the grid.
    `hovered(pitch)` says which row the mouse is in (−1: none), `hinted(text)` what is under it.
    """

    hovered = Signal(int)
    hinted = Signal(str)

    def __init__(self, session: Session, view: View, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMinimumSize(160, 80)
        self.drawing = False
        self._session, self._view = session, view
        self._scene = Scene(self.font())
        self._image: QImage | None = None
        self._stale = True
        self._layers: list[Layer] | None = None
        self._known: dict[int, Made] = {}
        self._ghosts: list[Layer] = []
        self._playhead_x = -100
        self._gesture: Gesture | None = None
        self._pan: QPointF | None = None
        self._pressed: QPoint | None = None
        self._toggle: int | None = None
        self._dragging = False
        self._ending = False
        self._last: QMouseEvent | None = None
        self._autoscroll = QTimer(self, interval=AUTOSCROLL_MS)
        self._autoscroll.timeout.connect(self._scroll_on)
        view.changed.connect(self.refresh)
        session.changed.connect(self._on_changed)
        session.selection_changed.connect(self._on_layers)
        session.active_track_changed.connect(self._on_layers)
        session.proposals_changed.connect(self._on_layers)
        session.region_changed.connect(self._on_layers)
        session.snap_changed.connect(self.refresh)
        session.loop_changed.connect(self.refresh)

    # --- what is shown ---------------------------------------------------------------------------

    @property
    def gesture(self) -> Gesture | None:
        """The drag under way, or None."""
        return self._gesture

    @property
    def layers(self) -> list[Layer]:
        """The notes as drawn, a layer a track."""
        if self._layers is None:
            self._layers = layers_of(self._session, self._known)
            self._ghosts = [
                Layer.of(g.notes, track=g.track, colour=g.colour, active=True)
                for g in self._session.ghosts
            ]
        return self._layers

    def refresh(self) -> None:
        """Draw anew at the next opportunity."""
        self._stale = True
        self.update()

    def _on_layers(self) -> None:
        self._layers = None
        self.refresh()

    def _on_changed(self, change: Change) -> None:
        if change.committed and self._gesture is not None and not self._ending:
            # Undo, or a kept proposal, has overtaken the drag: what it started from is gone.
            self._let_go()
        self._on_layers()

    def show_playhead(self, tick: float) -> None:
        """Move the playhead; only the two strips it leaves and enters are painted."""
        x = round(self._view.viewport.x(tick))
        if x != self._playhead_x:
            for at in (self._playhead_x, x):
                self.update(QRect(at - 2, 0, 5, self.height()))
            self._playhead_x = x

    def paintEvent(self, event: QPaintEvent) -> None:
        dpr = self.devicePixelRatioF()
        if self._stale or self._image is None or self._image.devicePixelRatio() != dpr:
            self._render(dpr)
        assert self._image is not None
        painter = QPainter(self)
        painter.drawImage(0, 0, self._image)
        view = self._view.viewport
        box = self._gesture.box if self._gesture is not None else None
        if box is not None:
            left, right = view.x(box.start), view.x(box.end)
            area = QRectF(left, view.y(box.high + 1), right - left, 0)
            area.setBottom(view.y(box.low))
            tint = QColor(theme.colour("accent"))
            tint.setAlpha(40)
            painter.setPen(QPen(theme.colour("accent"), 1))
            painter.setBrush(tint)
            painter.drawRect(area)
        if -2 <= self._playhead_x <= self.width():
            painter.fillRect(self._playhead_x, 0, 1, self.height(), theme.colour("playhead"))
        painter.end()

    def _render(self, dpr: float) -> None:
        layers = self.layers
        view, session = self._view.viewport, self._session
        self._image = surface(self._image, self.width(), self.height(), dpr)
        painter = QPainter(self._image)
        score = session.score
        self._scene.background(painter, view, score, session.snap, session.span, dpr)
        self._scene.loop(painter, view, session.loop, dpr)
        key = score.key_at(max(int(view.left_tick), 0))
        self._scene.notes(painter, view, layers, dpr, key is not None and key.sharps < 0)
        self._scene.ghosts(painter, view, self._ghosts, dpr, heard=session.hearing)
        painter.end()
        self._image.setDevicePixelRatio(dpr)
        self._stale = False

    def resizeEvent(self, event: QResizeEvent) -> None:
        self._view.resize(self.width(), self.height())
        self.refresh()

    def changeEvent(self, event: QEvent) -> None:
        if event.type() == QEvent.Type.FontChange:
            self._scene = Scene(self.font())
            self.refresh()

    # --- the mouse -------------------------------------------------------------------------------

    def spot(self, event: QMouseEvent) -> Spot:
        """Where an event is, musically."""
        at, keys = event.position(), event.modifiers()
        view = self._view.viewport
        return Spot(
            view.tick(at.x()),
            view.pitch(at.y()),
            free=bool(keys & Qt.KeyboardModifier.AltModifier),
            level=bool(keys & Qt.KeyboardModifier.ShiftModifier),
        )

    def note_at(self, at: QPointF) -> tuple[Grab, str] | None:
        """The note under a point, and which part of it: "start", "end" or "body"."""
        view = self._view.viewport
        tick, pitch = view.tick(at.x()), view.pitch(at.y())
        found = topmost(self.layers, tick, pitch, SLACK_PX / view.scale)
        if found is None:
            return None
        layer, i = found
        n = layer.notes
        onset, end = int(n.onset[i]), int(n.onset[i] + n.duration[i])
        grab = Grab(int(n.id[i]), layer.track, onset, end, int(n.pitch[i]), int(n.velocity[i]))
        zone = min(EDGE_PX, (end - onset) * view.scale / 3) / view.scale
        part = "start" if tick < onset + zone else "end" if tick >= end - zone else "body"
        return grab, part

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self._press(event, double=False)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        self._press(event, double=True)

    def _press(self, event: QMouseEvent, double: bool) -> None:
        if self._gesture is not None:
            self.cancel()  # a second button lets go of a drag, as Escape does
            return
        self._pressed, self._dragging, self._toggle = event.position().toPoint(), False, None
        button = event.button()
        if button == Qt.MouseButton.LeftButton:
            self._gesture = self._left(event, double and not self.drawing)
        elif button == Qt.MouseButton.RightButton:
            self._gesture = gestures.Erase(self._session, self.spot(event))
        elif button == Qt.MouseButton.MiddleButton:
            self._pan = event.position()
        name = self._gesture.cursor if self._gesture else "pan" if self._pan else ""
        self.setCursor(CURSORS[name])

    def _left(self, event: QMouseEvent, double: bool) -> Gesture | None:
        session, spot, hit = self._session, self.spot(event), self.note_at(event.position())
        shift = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
        control = bool(event.modifiers() & Qt.KeyboardModifier.ControlModifier)
        if hit is None:
            if double or self.drawing:
                if session.active_track < 0:
                    session.message.emit("There is no track to draw on; add one first.")
                    return None
                return gestures.Draw(session, spot)
            kept = session.selection if shift or control else frozenset()
            return gestures.BoxSelect(session, spot, kept)
        grab, part = hit
        if double:
            session.commit("Delete note", edits.delete(session.score, [grab.id]))
            return None
        session.set_active_track(grab.track)
        chosen = session.selection
        if shift and grab.id in chosen:
            session.select(chosen - {grab.id})
            return None
        if grab.id not in chosen:
            session.select(chosen | {grab.id} if shift or control else {grab.id})
        else:
            self._toggle = grab.id
        if control:
            return gestures.Duplicate(session, grab, spot)
        if part != "body":
            return gestures.Resize(session, grab, part, spot)
        return gestures.Move(session, grab, spot)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        at = event.position()
        if self._pan is not None:
            self._view.show(
                self._view.viewport.scrolled(self._pan.x() - at.x(), self._pan.y() - at.y())
            )
            self._pan = at
        elif self._gesture is None:
            self._hover(at)
        else:
            assert self._pressed is not None
            far = (at.toPoint() - self._pressed).manhattanLength() >= DRAG_PX
            self._dragging = self._dragging or far
            if self._dragging:
                self._last = event.clone()
                self._gesture.drag(self.spot(event))
                self.hinted.emit(self._hint(at, None))
                self.update()
                outside = not self.rect().contains(at.toPoint())
                if outside and not self._autoscroll.isActive():
                    self._autoscroll.start()
                elif not outside:
                    self._autoscroll.stop()
        self.hovered.emit(self._view.viewport.pitch(at.y()))

    def _scroll_on(self) -> None:
        if self._gesture is None or self._last is None:
            self._autoscroll.stop()
            return
        at = self._last.position()
        dx = min(at.x(), 0) + max(at.x() - self.width(), 0)
        dy = min(at.y(), 0) + max(at.y() - self.height(), 0)
        self._view.show(self._view.viewport.scrolled(dx / 3, dy / 3))
        self._gesture.drag(self.spot(self._last))
        self.update()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self._pan = None
        gesture = self._gesture
        if gesture is not None and not event.buttons():
            self._ending = True
            gesture.finish()
            self._ending = False
            if not self._dragging and self._toggle is not None:
                self._click(self._toggle, event)
            self._let_go()
        self._hover(event.position())

    def _click(self, note: int, event: QMouseEvent) -> None:
        """A press and release on a note that was selected already."""
        chosen = self._session.selection
        if event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self._session.select(chosen - {note})
        else:
            self._session.select({note})

    def cancel(self) -> bool:
        """Let go of the drag under way as if it had not been; False when there was none."""
        if self._gesture is None:
            return False
        self._ending = True
        self._gesture.cancel()
        self._ending = False
        self._let_go()
        return True

    def _let_go(self) -> None:
        self._gesture, self._pressed, self._toggle, self._last = None, None, None, None
        self._autoscroll.stop()
        self.update()

    def _hover(self, at: QPointF) -> None:
        hit = self.note_at(at)
        if hit is None:
            self.setCursor(CURSORS["draw" if self.drawing else ""])
        else:
            self.setCursor(CURSORS["note" if hit[1] == "body" else "resize"])
        self.hinted.emit(self._hint(at, hit))

    def _hint(self, at: QPointF, hit: tuple[Grab, str] | None) -> str:
        view, score = self._view.viewport, self._session.score
        tick = max(int(view.tick(at.x())), 0) if hit is None else hit[0].onset
        bar = score.meter.position(tick)
        beat = bar.offset / score.meter.beat_ticks(tick) + 1
        pitch = view.pitch(at.y()) if hit is None else hit[0].pitch
        key = score.key_at(tick)
        where = f"{pitch_name(pitch, key is not None and key.sharps < 0)}   bar {bar.bar}, beat {beat:.4g}"
        if hit is None:
            return where
        return f"{where}   {score.track(hit[0].track).name}, velocity {hit[0].velocity}"

    def event(self, event: QEvent) -> bool:
        pinch = Qt.NativeGestureType.ZoomNativeGesture
        if isinstance(event, QNativeGestureEvent) and event.gestureType() == pinch:
            self._view.zoom_time(1 + event.value(), event.position().x())
            return True
        return super().event(event)

    def leaveEvent(self, event: QEvent) -> None:
        self.hovered.emit(-1)
        self.hinted.emit("")

    def wheelEvent(self, event: QWheelEvent) -> None:
        self._view.wheel(event, event.position())

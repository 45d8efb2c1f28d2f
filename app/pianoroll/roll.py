"""PianoRoll: ruler, keyboard, canvas, velocity lane and scroll bars, composed."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QEvent, QKeyCombination, QObject, Qt, QTimer, Signal
from PySide6.QtGui import QKeyEvent, QKeySequence, QShowEvent
from PySide6.QtWidgets import QGridLayout, QLabel, QScrollBar, QSplitter, QVBoxLayout, QWidget

from app.pianoroll.canvas import Canvas
from app.pianoroll.commands import COMMANDS, Command
from app.pianoroll.keys import WIDTH_PX, Keys
from app.pianoroll.ruler import Ruler
from app.pianoroll.velocity import VelocityLane
from app.pianoroll.view import ZOOM, View
from app.session import Session
from engine.document import Change
from models.timebase import PPQ

FRAME_MS = 16
"""Time between two positions of a moving playhead."""
QUARTER_PX = 48
"""Width of a quarter note at first."""
BAR_PX = 12
"""Thickness of a scroll bar."""
SCROLL_UNIT_PX = 4
"""Pixels a step of the horizontal scroll bar, so that long pieces fit its range."""


class PianoRoll(QWidget):
    """The piano roll of a session. `hinted(text)` describes what is under the mouse.

    Keys are answered while the canvas has the focus: see `commands.COMMANDS`, and Escape, which lets
    go of a drag, or else of the selection.
    """

    hinted = Signal(str)

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = session
        self.view = View(self)
        self.following = True
        self.ruler = Ruler(session, self.view)
        self.keys = Keys(session, self.view)
        self.canvas = Canvas(session, self.view)
        self.velocity = VelocityLane(session, self.view, self.canvas)
        self._across = QScrollBar(Qt.Orientation.Horizontal)
        self._down = QScrollBar(Qt.Orientation.Vertical)
        self._arrange()
        self._fitted = False
        self._syncing = False
        self._commands: dict[str, Command] = {
            QKeySequence(keys).toString(): command for command in COMMANDS for keys in command.keys
        }
        self._frames = QTimer(self, interval=FRAME_MS)
        self._frames.setTimerType(Qt.TimerType.PreciseTimer)
        self._frames.timeout.connect(self._frame)
        self.canvas.installEventFilter(self)
        self.canvas.hovered.connect(self.keys.hover)
        self.canvas.hinted.connect(self.hinted)
        self.velocity.hinted.connect(self.hinted)
        self.view.changed.connect(self._on_view)
        self._across.valueChanged.connect(self._on_across)
        self._down.valueChanged.connect(self._on_down)
        session.changed.connect(self._on_changed)
        session.playhead_changed.connect(self._on_playhead)
        session.selection_changed.connect(self._on_selection)
        self.view.length = session.score.length
        for widget, name in (
            (self.canvas, "Piano roll"),
            (self.ruler, "Ruler"),
            (self.keys, "Keyboard"),
            (self.velocity, "Velocity lane"),
        ):
            widget.setAccessibleName(name)
            if (
                widget is not self.canvas
            ):  # a click there must not take the keys away from the notes
                widget.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
                widget.setFocusProxy(self.canvas)
        self.setFocusProxy(self.canvas)

    def _arrange(self) -> None:
        corner, label = QWidget(), QLabel("Velocity")
        corner.setFixedWidth(WIDTH_PX)
        label.setProperty("dim", True)
        label.setFixedWidth(WIDTH_PX)
        label.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignTop)
        label.setContentsMargins(0, 6, 8, 0)
        self._across.setFixedHeight(BAR_PX)
        self._down.setFixedWidth(BAR_PX)
        upper, lower = QWidget(), QWidget()
        above, below = QGridLayout(upper), QGridLayout(lower)
        for grid in (above, below):
            grid.setContentsMargins(0, 0, 0, 0)
            grid.setSpacing(0)
        above.addWidget(corner, 0, 0)
        above.addWidget(self.ruler, 0, 1)
        above.addWidget(self.keys, 1, 0)
        above.addWidget(self.canvas, 1, 1)
        above.addWidget(self._down, 1, 2)
        below.addWidget(label, 0, 0)
        below.addWidget(self.velocity, 0, 1)
        below.addWidget(self._across, 1, 1)
        below.setColumnMinimumWidth(2, BAR_PX)
        self.splitter = QSplitter(Qt.Orientation.Vertical)
        self.splitter.addWidget(upper)
        self.splitter.addWidget(lower)
        self.splitter.setStretchFactor(0, 1)
        self.splitter.setStretchFactor(1, 0)
        self.splitter.setSizes([600, 72])
        self.splitter.setHandleWidth(5)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(self.splitter)

    # --- what is shown ---------------------------------------------------------------------------

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if not self._fitted:
            QTimer.singleShot(0, self.fit)

    def fit(self) -> None:
        """Show the first bars at a legible size, centred on the pitches that sound in them."""
        self._fitted = self.isVisible()  # a size known before that is not the final one
        self.view.resize(self.canvas.width(), self.canvas.height())
        score = self.session.score
        low, high = self._range(0, max(score.length, 1))
        readable = self.view.viewport.width / (QUARTER_PX / PPQ)
        end = min(max(score.length, 4 * 4 * PPQ), readable)
        self.view.show(self.view.viewport.showing(0, end, low, high))

    def fit_all(self) -> None:
        """Show the whole piece."""
        length = max(self.session.score.length, 4 * PPQ)
        self.view.show(self.view.viewport.showing(0, length, *self._range(0, length)))

    def fit_selection(self) -> None:
        """Show the selected notes, or the marked bars, or everything."""
        if self.session.selection:
            chosen = [
                t.notes.where(t.notes.having(self.session.selected))
                for t in self.session.score.tracks
            ]
            start = min(int(n.onset.min()) for n in chosen if len(n))
            end = max(n.length for n in chosen)
        elif self.session.span is not None:
            start, end = self.session.span
        else:
            self.fit_all()
            return
        self.view.show(self.view.viewport.showing(start, end, *self._range(start, end)))

    def zoom(self, notches: float) -> None:
        """Magnify in time, about the playhead when it shows, else about the middle."""
        view = self.view.viewport
        x = view.x(self.session.playhead_tick())
        x = x if 0 <= x <= view.width else view.width / 2
        self.view.zoom_time(ZOOM**notches, x)

    def zoom_pitch(self, steps: int) -> None:
        """Make rows higher or lower, about the middle."""
        view = self.view.viewport
        self.view.show(view.zoomed_pitch(steps, view.height / 2))

    def set_drawing(self, drawing: bool) -> None:
        """Whether a press on an empty place draws a note (else it begins a rubber band)."""
        self.canvas.drawing = drawing

    def set_following(self, following: bool) -> None:
        """Whether the roll turns its page with the playhead."""
        self.following = following

    def _range(self, start: int, end: int) -> tuple[int, int]:
        pitches = [t.notes.pitch[t.notes.sounding(start, end)] for t in self.session.score.tracks]
        sounding = np.concatenate([*pitches, np.zeros(0, np.uint8)])
        return (int(sounding.min()), int(sounding.max())) if len(sounding) else (55, 79)

    def _on_view(self) -> None:
        view = self.view.viewport
        self._syncing = True
        left, right = view.left_tick * view.scale, view.right_tick * view.scale
        end = (self.session.score.length + 16 * PPQ) * view.scale
        furthest = max(end - view.width, right - view.width, 0)
        margin = -view.scrolled(dx=-1e9).left_tick * view.scale
        self._across.setRange(int(-margin // SCROLL_UNIT_PX), int(furthest // SCROLL_UNIT_PX))
        self._across.setPageStep(max(view.width // SCROLL_UNIT_PX, 1))
        self._across.setSingleStep(40 // SCROLL_UNIT_PX)
        self._across.setValue(round(left / SCROLL_UNIT_PX))
        self._down.setRange(0, max(128 * view.row - view.height, 0))
        self._down.setPageStep(view.height)
        self._down.setSingleStep(view.row)
        self._down.setValue(view.scroll_y)
        self._syncing = False
        self._frame()

    def _on_across(self, value: int) -> None:
        if not self._syncing:
            view = self.view.viewport
            self.view.show(view.at(value * SCROLL_UNIT_PX / view.scale))

    def _on_down(self, value: int) -> None:
        if not self._syncing:
            view = self.view.viewport
            self.view.show(view.scrolled(dy=value - view.scroll_y))

    def _on_changed(self, change: Change) -> None:
        self.view.length = self.session.score.length
        if change.structure and change.title and change.tempo and change.meter:
            self.fit()  # another document
        else:
            self._on_view()

    def _on_selection(self) -> None:
        """Bring a note chosen by the keyboard into sight."""
        if self.canvas.gesture is not None or len(self.session.selection) != 1:
            return
        for layer in self.canvas.layers:
            found = np.flatnonzero(layer.selected)
            if len(found):
                n, i = layer.notes, int(found[0])
                self.view.show(
                    self.view.viewport.revealing(
                        int(n.onset[i]),
                        int(n.onset[i] + n.duration[i]),
                        int(n.pitch[i]),
                        int(n.pitch[i]),
                    )
                )

    # --- the playhead ----------------------------------------------------------------------------

    def _on_playhead(self) -> None:
        if self.session.playing:
            self._frames.start()
        else:
            self._frames.stop()
        self._frame()

    def _frame(self) -> None:
        tick = self.session.playhead_tick()
        if self.session.playing and self.following and self.canvas.gesture is None:
            self._follow(tick)
        self.canvas.show_playhead(tick)
        self.ruler.show_playhead(tick)
        self.velocity.show_playhead(tick)

    def _follow(self, tick: float) -> None:
        """Turn the page when the playhead leaves it."""
        view = self.view.viewport
        x = view.x(tick)
        if x < 0 or x > view.width * 0.94:
            turned = view.at(tick - view.width * 0.06 / view.scale)
            if turned != view:
                self.view.show(turned)

    # --- the keyboard ----------------------------------------------------------------------------

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        ours = watched is self.canvas and event.type() == QEvent.Type.KeyPress
        if ours and isinstance(event, QKeyEvent):
            return self._key(event)
        return super().eventFilter(watched, event)

    def _key(self, event: QKeyEvent) -> bool:
        """Answer a key; False when it is not one of ours."""
        if event.key() == Qt.Key.Key_Escape:
            if self.cancel():
                return True
            had = bool(self.session.selection)
            self.session.select(())
            return had
        keypad = Qt.KeyboardModifier.KeypadModifier
        pressed = QKeySequence(QKeyCombination(event.modifiers() & ~keypad, Qt.Key(event.key())))
        command = self._commands.get(pressed.toString())
        if command is None or self.canvas.gesture is not None:
            return False
        command.run(self.session)
        return True

    def cancel(self) -> bool:
        """Let go of whatever drag is under way; False when there was none."""
        return self.canvas.cancel() or self.ruler.cancel() or self.velocity.cancel()

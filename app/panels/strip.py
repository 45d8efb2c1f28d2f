"""The strip of a path's steps: small piano rolls side by side, to hear, select and scrub through."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QHelpEvent, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from app import theme
from models.score import Notes

CELL_PX, GAP_PX, CAPTION_PX = 22, 4, 15
NARROW_PX = 40
"""Cells narrower than this have narrow edges."""

START, END = theme.VOICES[0], theme.VOICES[1]
"""The colours of A and B; steps between them lie between these."""

STEPS_KEYS = {
    Qt.Key.Key_Left: -1,
    Qt.Key.Key_Right: 1,
    Qt.Key.Key_Home: -1000,
    Qt.Key.Key_End: 1000,
}


def compass(phrases: Sequence[Notes]) -> tuple[int, int]:
    """The lowest and the highest pitch of them all, at least an octave apart, so that pictures compare."""
    pitches = np.concatenate([p.pitch for p in phrases] or [np.zeros(0, np.uint8)])
    if not len(pitches):
        return 60, 72
    low, high = int(pitches.min()), int(pitches.max())
    spare = max(12 - (high - low), 0)
    return low - spare // 2, high + spare - spare // 2


def paint_phrase(
    painter: QPainter,
    box: QRectF,
    notes: Notes,
    length: int,
    pitches: tuple[int, int],
    colour: QColor,
) -> None:
    """Draw notes as bars: time across, from tick 0 to `length`, pitch up."""
    low, high = pitches
    row = box.height() / (high - low + 1)
    thick = max(min(row, 5.0), 2.5)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(colour)
    scale = box.width() / length
    for onset, duration, pitch in zip(
        notes.onset.tolist(), notes.duration.tolist(), notes.pitch.tolist(), strict=True
    ):
        x = box.left() + onset * scale
        y = box.top() + (high - pitch + 0.5) * row - thick / 2
        # A hair is left between a note and the next, so that repeated ones can be told apart.
        wide = max(min(duration * scale, box.right() - x) - 0.8, 1.2)
        painter.drawRoundedRect(QRectF(x, y, wide, thick), 1, 1)


def name_of(step: int, count: int) -> str:
    """What a step is called: "A", "2", … "B"."""
    return "A" if step == 0 else "B" if step == count - 1 else str(step + 1)


class Strip(QWidget):
    """Steps side by side; one is current, any number are selected, one may sound.

    `chosen(step)` when a click or a key makes a step the current one, `heard(step)` when it is to be
    heard by itself (a double click, Return); `selection_changed` follows `selected`.
    """

    chosen = Signal(int)
    heard = Signal(int)
    selection_changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._steps: tuple[Notes, ...] = ()
        self._length = 1
        self._bars: tuple[int, ...] = ()
        self._about: tuple[str, ...] = ()
        self._sounding: tuple[int, float] | None = None
        self._pivot = 0
        self.current = 0
        self.selected: frozenset[int] = frozenset()
        self.setObjectName("strip")
        self.setAccessibleName("Steps of the path")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)

    # --- what it shows -------------------------------------------------------------------------------

    def show_steps(
        self, steps: Sequence[Notes], length: int, bars: Sequence[int], about: Sequence[str]
    ) -> None:
        """Show these steps of `length` ticks; barlines at the ticks `bars`; `about` are their tooltips."""
        self._steps, self._length = tuple(steps), max(length, 1)
        self._bars, self._about = tuple(bars), tuple(about)
        self._sounding = None
        self.current = min(self.current, max(len(steps) - 1, 0))
        self._select(frozenset())
        self.setMinimumWidth(len(steps) * CELL_PX)
        self._describe()
        self.update()

    def set_current(self, step: int) -> None:
        """Make a step the current one, as the slider does."""
        if step != self.current:
            self.current = step
            self._describe()
            self.update()

    def set_sounding(self, sounding: tuple[int, float] | None) -> None:
        """Say which step sounds and how far it is (0–1), or None."""
        if sounding != self._sounding:
            self._sounding = sounding
            self.update()

    @property
    def count(self) -> int:
        """How many steps there are."""
        return len(self._steps)

    def cell(self, step: int) -> QRectF:
        """Where a step is drawn."""
        wide = self.width() / max(self.count, 1)
        gap = GAP_PX if wide > NARROW_PX else GAP_PX / 2
        return QRectF(step * wide + gap / 2, 1, wide - gap, self.height() - 2)

    def sizeHint(self) -> QSize:
        return QSize(CELL_PX * 20, 88)

    def minimumSizeHint(self) -> QSize:
        return QSize(CELL_PX, 60)

    # --- the hand ------------------------------------------------------------------------------------

    def mousePressEvent(self, event: QMouseEvent) -> None:
        step = self._at(event.position())
        if step is None or event.button() != Qt.MouseButton.LeftButton:
            return
        keys = event.modifiers()
        if keys & Qt.KeyboardModifier.ControlModifier:
            self._select(self.selected ^ {step})
            self._pivot = step
        elif keys & Qt.KeyboardModifier.ShiftModifier:
            self._extend(step)
        else:
            self._select(frozenset({step}))
            self._pivot = step
        self.set_current(step)
        self.chosen.emit(step)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        step = self._at(event.position())
        if step is not None:
            self.heard.emit(step)

    def event(self, event: QEvent) -> bool:
        # Home and Ctrl+A are the window's own unless the strip has the focus.
        if (
            event.type() == QEvent.Type.ShortcutOverride
            and isinstance(event, QKeyEvent)
            and (event.key() in STEPS_KEYS or self._is_all(event))
        ):
            event.accept()
            return True
        if isinstance(event, QHelpEvent):
            step = self._at(QPointF(event.pos()))
            if step is not None and step < len(self._about):
                QToolTip.showText(event.globalPos(), self._about[step], self)
            return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key = Qt.Key(event.key())
        if self.count and key in STEPS_KEYS:
            step = min(max(self.current + STEPS_KEYS[key], 0), self.count - 1)
            if event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
                self._extend(step)
            else:
                self._select(frozenset({step}))
                self._pivot = step
            self.set_current(step)
            self.chosen.emit(step)
        elif self._is_all(event):
            self._select(frozenset(range(self.count)))
        elif self.count and key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.heard.emit(self.current)
        else:
            super().keyPressEvent(event)

    @staticmethod
    def _is_all(event: QKeyEvent) -> bool:
        control = bool(event.modifiers() & Qt.KeyboardModifier.ControlModifier)
        return control and event.key() == Qt.Key.Key_A

    def _extend(self, step: int) -> None:
        low, high = sorted((self._pivot, step))
        self._select(frozenset(range(low, high + 1)))

    def _select(self, steps: frozenset[int]) -> None:
        if steps != self.selected:
            self.selected = steps
            self.selection_changed.emit()
            self.update()

    def _at(self, place: QPointF) -> int | None:
        step = int(place.x() * self.count / max(self.width(), 1))
        return step if 0 <= step < self.count else None

    def _describe(self) -> None:
        if self.count:
            about = self._about[self.current] if self._about else ""
            self.setAccessibleDescription(about)

    # --- drawing -------------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if not self._steps:
            painter.setPen(theme.colour("text_dim"))
            painter.drawText(
                self.rect(), Qt.AlignmentFlag.AlignCenter, "The steps from A to B appear here."
            )
            return
        pitches = compass(self._steps)
        for step in range(self.count):
            self._paint_cell(painter, step, pitches)

    def _paint_cell(self, painter: QPainter, step: int, pitches: tuple[int, int]) -> None:
        box = self.cell(step)
        colour = theme.blend(START, END, round(step / max(self.count - 1, 1), 3))
        current, sounds = step == self.current, self._sounding is not None
        sounding = self._sounding if sounds and self._sounding[0] == step else None  # type: ignore[index]
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.colour("hover" if step in self.selected else "field"))
        painter.drawRoundedRect(box, 5, 5)
        edge = 4 if box.width() > NARROW_PX else 2
        roll = box.adjusted(edge, CAPTION_PX + 1, -edge, -4)
        painter.setPen(QPen(theme.colour("grid_beat"), 1))
        for tick in self._bars if box.width() > NARROW_PX else ():
            x = roll.left() + tick * roll.width() / self._length
            painter.drawLine(QPointF(x, roll.top()), QPointF(x, roll.bottom()))
        paint_phrase(painter, roll, self._steps[step], self._length, pitches, colour)
        painter.setPen(theme.colour("text" if current else "text_dim"))
        caption = QRectF(box.left() + edge, box.top() + 1, box.width() - 2 * edge, CAPTION_PX)
        painter.drawText(
            caption,
            Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter,
            name_of(step, self.count),
        )
        if sounding is not None:
            x = roll.left() + sounding[1] * roll.width()
            painter.setPen(QPen(theme.colour("playhead"), 1.5))
            painter.drawLine(QPointF(x, roll.top() - 1), QPointF(x, roll.bottom() + 1))
        if current or sounding is not None:
            rim = "playhead" if sounding is not None else "accent"
            if current:
                rim = "region_rim" if self.hasFocus() else "accent"
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(theme.colour(rim), 1.6))
            painter.drawRoundedRect(box.adjusted(0.8, 0.8, -0.8, -0.8), 5, 5)

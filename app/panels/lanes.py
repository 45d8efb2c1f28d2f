"""Two lanes of one take: as it was played above, quantised below, and between them how far each note moved."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFocusEvent, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from app import theme
from app.panels.strip import compass, paint_phrase
from engine.capture import Take
from models.score import Notes
from models.timebase import MeterMap

GAP_PX = 26
"""Between the lanes, for the threads."""

GRID_PX = 7
"""Grid lines nearer than this are left out."""

CLOSE_TICKS = 2
"""A note that moved no further has not moved."""

EMPTY = "Play something on the MIDI keyboard; it is always recorded."


class Lanes(QWidget):
    """Shows a take twice; one lane is the current one.

    `heard(lane)` and `kept(lane)` when the current lane (0 as played, 1 quantised) is to be heard (Space,
    a double click) or kept (Return); `firmer(percent)` to change the strength (Left, Right).
    """

    chosen = Signal(int)
    heard = Signal(int)
    kept = Signal(int)
    firmer = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._take: Take | None = None
        self._lines: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]] = ((), (), ())
        self._sounding: tuple[int, float] | None = None
        self.current = 1
        self.setObjectName("lanes")
        self.setAccessibleName("What was played, and quantised")
        self.setToolTip("↑ ↓ choose · Space hears · Return keeps · ← → strength")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)

    # --- what it shows -------------------------------------------------------------------------------

    def show_take(self, take: Take | None, meter: MeterMap, grid: int) -> None:
        """Show a take with lines at `grid` ticks, or that there is none."""
        self._take = take
        self._lines = ((), (), ())
        if take is not None:
            bars = [tick for _, tick in meter.bars(take.start, take.end)]
            beats: list[int] = []
            steps: list[int] = []
            for start, end in zip(bars, [*bars[1:], take.end], strict=True):
                beats.extend(range(start, end, meter.beat_ticks(start)))
                steps.extend(range(start, end, grid))
            self._lines = (tuple(bars), tuple(beats), tuple(steps))
        self._describe()
        self.update()

    def set_current(self, lane: int) -> None:
        """Make a lane the current one."""
        if lane != self.current:
            self.current = lane
            self.chosen.emit(lane)
            self._describe()
            self.update()

    def set_sounding(self, sounding: tuple[int, float] | None) -> None:
        """Say which lane sounds and at which tick, or None."""
        if sounding != self._sounding:
            self._sounding = sounding
            self.update()

    def lane(self, index: int) -> QRectF:
        """Where a lane is drawn."""
        tall = (self.height() - GAP_PX) / 2
        return QRectF(0, index * (tall + GAP_PX), self.width(), tall)

    def moved(self) -> tuple[tuple[int, int], ...]:
        """Of each note in both lanes, where it was played and where it is quantised, in ticks."""
        if self._take is None:
            return ()
        before, after = self._take.untouched, self._take.quantised
        there = dict(zip(after.id.tolist(), after.onset.tolist(), strict=True))
        pairs = zip(before.id.tolist(), before.onset.tolist(), strict=True)
        return tuple((onset, there[note]) for note, onset in pairs if note in there)

    def sizeHint(self) -> QSize:
        return QSize(460, 170)

    def minimumSizeHint(self) -> QSize:
        return QSize(160, 120)

    def _describe(self) -> None:
        take = self._take
        if take is None:
            self.setAccessibleDescription(EMPTY)
            return
        notes = len(take.untouched)
        lane = ("As played", "Quantised")[self.current]
        self.setAccessibleDescription(f"{lane}, {notes} note{'s' * (notes != 1)}")

    # --- the hand ------------------------------------------------------------------------------------

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self.set_current(int(event.position().y() > self.height() / 2))

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        self.heard.emit(self.current)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        match event.key():
            case Qt.Key.Key_Up:
                self.set_current(0)
            case Qt.Key.Key_Down:
                self.set_current(1)
            case Qt.Key.Key_Left:
                self.firmer.emit(-5)
            case Qt.Key.Key_Right:
                self.firmer.emit(5)
            case Qt.Key.Key_Space:
                self.heard.emit(self.current)
            case Qt.Key.Key_Return | Qt.Key.Key_Enter:
                self.kept.emit(self.current)
            case _:
                super().keyPressEvent(event)

    def focusInEvent(self, event: QFocusEvent) -> None:
        super().focusInEvent(event)
        self.update()

    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        self.update()

    # --- drawing -------------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self._take is None:
            painter.setPen(theme.colour("text_dim"))
            flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(self.rect(), int(flags), EMPTY)
            return
        take = self._take
        start = min(take.start, int(take.untouched.onset.min()))
        both = (take.untouched, take.quantised)
        pitches = compass(both)
        for index, notes in enumerate(both):
            colour = theme.voice(index)
            self._paint_lane(painter, index, notes, start, take.end, pitches, colour)
        self._paint_threads(painter, start, take.end)

    def _x(self, tick: float, start: int, end: int) -> float:
        return 4 + (tick - start) * (self.width() - 8) / (end - start)

    def _paint_lane(
        self,
        painter: QPainter,
        index: int,
        notes: Notes,
        start: int,
        end: int,
        pitches: tuple[int, int],
        colour: QColor,
    ) -> None:
        box = self.lane(index).adjusted(0.8, 0.8, -0.8, -0.8)
        current = index == self.current
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.colour("field"))
        painter.drawRoundedRect(box, 5, 5)
        bars, beats, steps = self._lines
        shades = (("grid_sub", steps), ("grid_beat", beats), ("grid_bar", bars))
        for name, ticks in shades:
            if len(ticks) > 1 and (self.width() / len(ticks)) < GRID_PX:
                continue
            painter.setPen(QPen(theme.colour(name), 1))
            for tick in ticks:
                x = round(self._x(tick, start, end)) + 0.5
                painter.drawLine(QPointF(x, box.top() + 2), QPointF(x, box.bottom() - 2))
        roll = box.adjusted(3.2, 5, -3.2, -5)
        shown = notes.with_(onset=notes.onset - start)
        paint_phrase(painter, roll, shown, end - start, pitches, colour)
        sounds = self._sounding is not None and self._sounding[0] == index
        if self._sounding is not None and sounds and start <= self._sounding[1] <= end:
            x = self._x(self._sounding[1], start, end)
            painter.setPen(QPen(theme.colour("playhead"), 1.5))
            painter.drawLine(QPointF(x, box.top()), QPointF(x, box.bottom()))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        rim = "playhead" if sounds else "line"
        if current and not sounds:
            rim = "region_rim" if self.hasFocus() else "accent"
        painter.setPen(QPen(theme.colour(rim), 1.6 if current or sounds else 1))
        painter.drawRoundedRect(box, 5, 5)

    def _paint_threads(self, painter: QPainter, start: int, end: int) -> None:
        """A thread for each note from where it was played to where it goes: upright when it stays."""
        top, bottom = self.lane(0).bottom() + 2, self.lane(1).top() - 2
        for before, after in self.moved():
            stays = abs(after - before) <= CLOSE_TICKS
            painter.setPen(QPen(theme.colour("grid_bar" if stays else "warning"), 1.2))
            left, right = self._x(before, start, end), self._x(after, start, end)
            painter.drawLine(QPointF(left, top), QPointF(right, bottom))

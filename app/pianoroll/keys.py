"""The keyboard at the left: names the rows and sounds them."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QPointF, QRect, QSize, Qt
from PySide6.QtGui import QMouseEvent, QPainter, QPaintEvent, QWheelEvent
from PySide6.QtWidgets import QWidget

from app import theme
from app.pianoroll.gestures import Sound
from app.pianoroll.scene import WHITE, pitch_name
from app.pianoroll.view import View
from app.session import Session

WIDTH_PX = 64
BLACK_PX = 38
SOFTEST, LOUDEST = 40, 112
"""Velocity at the left and at the right end of a key."""


class Keys(QWidget):
    """A piano keyboard on its side. Press: hear a note, louder towards the right; drag: a glissando."""

    def __init__(self, session: Session, view: View, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setMouseTracking(True)
        self.setFixedWidth(WIDTH_PX)
        self.setToolTip("Press a key to hear it on the active track")
        self._session, self._view = session, view
        self._sound: Sound | None = None
        self._hovered = -1
        self._down = -1
        self._rows = (0, 0, 0)
        view.changed.connect(self._on_view)

    def sizeHint(self) -> QSize:
        return QSize(WIDTH_PX, 300)

    def _on_view(self) -> None:
        view = self._view.viewport
        rows = (view.row, view.scroll_y, view.height)
        if rows != self._rows:  # scrolling in time leaves the keys as they are
            self._rows = rows
            self.update()

    def hover(self, pitch: int) -> None:
        """Light up a key (−1: none)."""
        if pitch != self._hovered:
            self._hovered = pitch
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        view = self._view.viewport
        painter = QPainter(self)
        painter.fillRect(self.rect(), theme.colour("key_white"))
        low, high = view.pitches
        font = painter.font()
        font.setPixelSize(min(max(view.row - 3, 9), 11))
        painter.setFont(font)
        lit = {self._hovered: theme.colour("accent"), self._down: theme.colour("loop")}
        for pitch in range(low, high + 1):
            top, bottom = round(view.y(pitch + 1)), round(view.y(pitch))
            row = QRect(0, top, self.width(), bottom - top)
            if WHITE[pitch]:
                if pitch in lit:
                    painter.fillRect(row, lit[pitch])
                if pitch % 12 in (0, 5):  # C and F: no black key below, so a line parts the two
                    painter.fillRect(0, bottom - 1, self.width(), 1, theme.colour("key_line"))
                if pitch % 12 == 0 or view.row >= 13:
                    shade = theme.colour("ink" if pitch % 12 == 0 else "key_line")
                    painter.setPen(shade)
                    lowest = QRect(
                        0, bottom - max(view.row, 12), self.width() - 5, max(view.row, 12)
                    )
                    painter.drawText(
                        lowest,
                        int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter),
                        pitch_name(pitch) if pitch % 12 == 0 else pitch_name(pitch)[0],
                    )
            else:
                middle = (top + bottom) // 2
                painter.fillRect(BLACK_PX, middle, self.width(), 1, theme.colour("key_line"))
                black = QRect(0, top, BLACK_PX, bottom - top)
                painter.fillRect(black, lit.get(pitch, theme.colour("key_black")))
        painter.fillRect(self.width() - 1, 0, 1, self.height(), theme.colour("field"))
        painter.end()

    def _press(self, at: QPointF) -> None:
        share = min(max(at.x() / self.width(), 0.0), 1.0)
        velocity = round(SOFTEST + (LOUDEST - SOFTEST) * share)
        if self._sound is None:
            self._sound = Sound(self._session, self._session.active_track, velocity)
        self._down = self._view.viewport.pitch(at.y())
        self._sound.play(self._down)
        self.update()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton and self._session.active_track >= 0:
            self._press(event.position())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self._sound is not None:
            self._press(event.position())
        self.hover(self._view.viewport.pitch(event.position().y()))

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if self._sound is not None:
            self._sound.stop()
            self._sound, self._down = None, -1
            self.update()

    def leaveEvent(self, event: QEvent) -> None:
        self.hover(-1)

    def wheelEvent(self, event: QWheelEvent) -> None:
        self._view.wheel(event, QPointF(0, event.position().y()))

"""A card for one end of a path: a picture of its phrase, where it came from, and a place to drop a file on."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QDragEnterEvent,
    QDropEvent,
    QFont,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
)
from PySide6.QtWidgets import QFrame, QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from app import theme
from app.panels.common import Elided, button
from app.panels.strip import compass, paint_phrase
from app.phrases import Phrase
from engine import exchange


class Picture(QWidget):
    """The phrase's notes; a click (or Return) plays it."""

    pressed = Signal()

    def __init__(self, letter: str, colour: str) -> None:
        super().__init__()
        self._letter, self._colour = letter, QColor(colour)
        self._phrase: Phrase | None = None
        self.setMinimumSize(64, 30)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setObjectName(f"hear_{letter.lower()}")
        self.setAccessibleName(f"Hear {letter}")

    def show_phrase(self, phrase: Phrase | None) -> None:
        """Draw that phrase."""
        self._phrase = phrase
        self.setToolTip(f"Hear {self._letter}" if phrase is not None else "")
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(92, 34)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self.pressed.emit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.pressed.emit()
        else:
            super().keyPressEvent(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        box = QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5)
        painter.setPen(theme.colour("accent") if self.hasFocus() else Qt.PenStyle.NoPen)
        painter.setBrush(theme.colour("field"))
        painter.drawRoundedRect(box, 5, 5)
        font = QFont(self.font())
        font.setBold(True)
        painter.setFont(font)
        painter.setPen(self._colour)
        left, middle = Qt.AlignmentFlag.AlignLeft, Qt.AlignmentFlag.AlignVCenter
        painter.drawText(box.adjusted(6, 0, 0, 0), left | middle, self._letter)
        if self._phrase is not None:
            notes = self._phrase.notes
            roll = box.adjusted(20, 4, -5, -4)
            paint_phrase(painter, roll, notes, self._phrase.length, compass([notes]), self._colour)


class EndCard(QFrame):
    """One end of the path, "A" or "B". `set_asked` wants what is selected, `dropped(path)` a file's
    music, `hear_asked` its sound."""

    set_asked = Signal()
    hear_asked = Signal()
    dropped = Signal(Path)

    def __init__(self, letter: str, colour: str) -> None:
        super().__init__()
        self._letter = letter
        self.setAcceptDrops(True)
        self.setObjectName(f"end_{letter.lower()}")
        self.picture = Picture(letter, colour)
        self.source = Elided("", "dim")
        self.set_button = button(
            f"Set {letter}",
            f"set_{letter.lower()}",
            f"Take the bars of the selected notes, or the marked bars, as {letter} (Alt+{letter})",
        )
        words = QHBoxLayout()
        words.setSpacing(6)
        words.addWidget(self.set_button)
        words.addWidget(self.source, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addLayout(words)
        column.addWidget(self.picture, 1)
        self.set_button.clicked.connect(self.set_asked)
        self.picture.pressed.connect(self.hear_asked)
        self.show_phrase(None)

    def show_phrase(self, phrase: Phrase | None) -> None:
        """Show what the end is."""
        self.picture.show_phrase(phrase)
        self.source.say(phrase.source if phrase is not None else "not set")
        what = (
            phrase.source if phrase is not None else "Select notes, mark bars, or drop a file here"
        )
        self.setToolTip(f"{self._letter}: {what}")

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if self._music(event) is not None:
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        path = self._music(event)
        if path is not None:
            event.acceptProposedAction()
            self.dropped.emit(path)

    @staticmethod
    def _music(event: QDropEvent) -> Path | None:
        paths = [Path(u.toLocalFile()) for u in event.mimeData().urls() if u.isLocalFile()]
        return next((p for p in paths if p.suffix.lower() in exchange.READERS), None)

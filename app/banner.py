"""The banner: one sentence laid over the music, for as long as it takes to read it."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, Qt, QTimer
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QSizePolicy, QWidget

from app import theme
from app.panels.common import tool

SHOWN_MS_LEAST, SHOWN_MS_PER_LETTER = 5000, 70


MARGIN_PX, WIDEST_PX = 12, 640


class Banner(QFrame):
    """Says what went wrong or what to do next, at the foot of `over`; closes by its cross, or by itself."""

    def __init__(self, over: QWidget) -> None:
        super().__init__(over)
        self._over = over
        over.installEventFilter(self)
        self.setObjectName("banner")
        ground = theme.blend(theme.COLOURS["panel"], theme.COLOURS["warning"], 0.16).name()
        self.setStyleSheet(
            f"#banner {{ background: {ground}; border: 1px solid {theme.COLOURS['line']};"
            f" border-left: 3px solid {theme.COLOURS['warning']}; border-radius: 4px; }}"
        )
        self._text = QLabel()
        self._text.setObjectName("banner_text")
        self._text.setTextFormat(Qt.TextFormat.PlainText)
        self._text.setWordWrap(True)
        self._text.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        close = tool("drop", "close_banner", "Close this message", side=13)
        close.setAutoRaise(True)
        row = QHBoxLayout(self)
        row.setContentsMargins(12, 6, 6, 6)
        row.addWidget(self._text, 1)
        row.addWidget(close, 0, Qt.AlignmentFlag.AlignTop)
        self._timer = QTimer(self, singleShot=True)
        self._timer.timeout.connect(self.hide)
        close.clicked.connect(self.hide)
        self.hide()

    def text(self) -> str:
        """The sentence shown, or shown last."""
        return self._text.text()

    def say(self, sentence: str) -> None:
        """Show a sentence in place of any other."""
        self._text.setText(sentence)
        self._place()
        self.show()
        self.raise_()
        self._timer.start(SHOWN_MS_LEAST + SHOWN_MS_PER_LETTER * len(sentence))

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if watched is self._over and event.type() == QEvent.Type.Resize:
            self._place()
        return super().eventFilter(watched, event)

    def _place(self) -> None:
        over = self._over
        width = max(min(over.width() - 2 * MARGIN_PX, WIDEST_PX), 1)
        height = self.heightForWidth(width)
        x = (over.width() - width) // 2
        self.setGeometry(x, over.height() - height - MARGIN_PX, width, height)

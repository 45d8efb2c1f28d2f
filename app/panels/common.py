"""Small widgets that several panels share."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QFontMetrics, QResizeEvent
from PySide6.QtWidgets import (
    QAbstractSpinBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QWidget,
)

from app import icons, theme

USUAL_CODER = "music_vae_2bar"
"""Of the systems with a latent space, the one that is chosen to begin with."""


def mark(widget: QWidget, name: str) -> None:
    """Set one of the stylesheet's properties ("dim", "title", "primary", "danger") on a widget."""
    widget.setProperty(name, True)


def label(text: str, kind: str = "", parent: QWidget | None = None) -> QLabel:
    """A label, plain or of a kind the stylesheet knows ("dim", "title")."""
    made = QLabel(text, parent)
    made.setTextFormat(Qt.TextFormat.PlainText)
    if kind:
        mark(made, kind)
    return made


def tool(icon: str, name: str, tip: str, *, colour: str = "text", side: int = 18) -> QToolButton:
    """A square button with an icon; `name` is its object name and what a screen reader says."""
    button = QToolButton()
    button.setIcon(icons.icon(icon, theme.colour(colour)))
    button.setIconSize(QSize(side, side))
    button.setObjectName(name)
    button.setAccessibleName(name.replace("_", " "))
    button.setToolTip(tip)
    button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    return button


def button(text: str, name: str, tip: str) -> QPushButton:
    """A button with a text."""
    made = QPushButton(text)
    made.setObjectName(name)
    made.setToolTip(tip)
    return made


class Elided(QLabel):
    """A one-line label that ends in "…" when it does not fit; the whole text is its tooltip then."""

    def __init__(self, text: str = "", kind: str = "") -> None:
        super().__init__()
        self._whole = ""
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.setMinimumWidth(20)
        if kind:
            mark(self, kind)
        self.say(text)

    def say(self, text: str) -> None:
        """Show another text."""
        self._whole = text
        self._fit()

    def whole(self) -> str:
        """The text, fitting or not."""
        return self._whole

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        shown = QFontMetrics(self.font()).elidedText(
            self._whole, Qt.TextElideMode.ElideRight, max(self.width(), 20)
        )
        self.setText(shown)
        self.setToolTip(self._whole if shown != self._whole else "")


def header(title: str, *tools: QWidget) -> QWidget:
    """The title bar of a dock: its name at the left, tools at the right."""
    made = QWidget()
    row = QHBoxLayout(made)
    row.setContentsMargins(10, 5, 8, 5)
    row.setSpacing(4)
    row.addWidget(label(title, "title"))
    row.addStretch(1)
    for widget in tools:
        row.addWidget(widget)
    made.setMinimumHeight(34)
    return made


def spin_text(spin: QAbstractSpinBox) -> None:
    """Keep a spin box's text off its frame, which the stylesheet cannot."""
    spin.lineEdit().setTextMargins(5, 0, 5, 0)

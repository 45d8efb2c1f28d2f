"""The attribute sliders: one a line, from −3 to 3 with nothing in the middle, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from PySide6.QtCore import QRectF, QSignalBlocker, QSize, Qt, Signal
from PySide6.QtGui import QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QGridLayout, QLabel, QSlider, QWidget

from app import theme
from app.panels.common import label
from models.attributes import UNITS
from models.card import LATENT_PARAMS

MOST = 3.0
PARTS = 20
"""Steps of a slider in one standard deviation."""
KNOB_PX = 7

TIPS = {p.name: p.about for p in LATENT_PARAMS}
DECIMALS = {"repetition": 2, "rhythm": 2, "tension": 2, "pitch": 0, "range": 0}


class Push(QSlider):
    """A slider with its rest in the middle; a double click brings it back there.

    `pushed(amount, settled)`: the user has moved it to −3…3; `settled` when no hand holds it any more.
    """

    pushed = Signal(float, bool)

    def __init__(self, name: str) -> None:
        super().__init__(Qt.Orientation.Horizontal)
        self.setRange(round(-MOST * PARTS), round(MOST * PARTS))
        self.setSingleStep(PARTS // 4)
        self.setPageStep(PARTS)
        self.setAccessibleName(name)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._held = False
        self.valueChanged.connect(self._told)

    def amount(self) -> float:
        """Where it stands."""
        return self.value() / PARTS

    def show_amount(self, amount: float) -> None:
        """Put it there without a word; not while a hand holds it."""
        if not self._held:
            with QSignalBlocker(self):
                self.setValue(round(amount * PARTS))
            self.update()

    def sizeHint(self) -> QSize:
        return QSize(96, 20)

    def _told(self) -> None:
        self.pushed.emit(self.amount(), not self._held)

    # The groove is filled from the middle, which a stylesheet cannot do, and a press anywhere takes hold.

    def _x(self, value: float) -> float:
        room = self.width() - 2 * KNOB_PX
        return KNOB_PX + (value - self.minimum()) / (self.maximum() - self.minimum()) * room

    def _take(self, x: float) -> None:
        share = (x - KNOB_PX) / max(self.width() - 2 * KNOB_PX, 1)
        value = self.minimum() + share * (self.maximum() - self.minimum())
        self.setValue(0 if abs(value) < 2 else round(value))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self._held = True
            self._take(event.position().x())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self._held:
            self._take(event.position().x())

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if self._held and event.button() == Qt.MouseButton.LeftButton:
            self._held = False
            self.pushed.emit(self.amount(), True)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        self._held = False
        self.setValue(0)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        on = self.isEnabled()
        middle, at, y = self._x(0), self._x(self.value()), self.height() / 2
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.colour("line"))
        painter.drawRoundedRect(QRectF(2, y - 2, self.width() - 4, 4), 2, 2)
        if on:
            painter.setBrush(theme.colour("accent"))
            painter.drawRect(QRectF(min(middle, at), y - 2, abs(at - middle), 4))
        painter.setBrush(theme.colour("text_faint"))
        painter.drawRect(QRectF(middle - 0.5, y - 6, 1, 12))
        rim = theme.colour("accent") if self.hasFocus() else theme.colour("field")
        painter.setPen(QPen(rim, 2))
        painter.setBrush(theme.colour("text" if on else "text_faint"))
        painter.drawEllipse(QRectF(at - 6, y - 6, 12, 12))


def measured_text(name: str, value: float | None) -> str:
    """A measured attribute as a musician reads it, "" when it is not known."""
    if value is None:
        return ""
    text = f"{value:.{DECIMALS.get(name, 1)}f}"
    return text.replace("-", "−") if float(text) else text.lstrip("-")


class AttributeSliders(QWidget):
    """The sliders that act; `pushed(name, amount, settled)` when the user moves one."""

    pushed = Signal(str, float, bool)

    def __init__(self) -> None:
        super().__init__()
        self.sliders: dict[str, Push] = {}
        self.values: dict[str, QLabel] = {}
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(8)
        self._grid.setVerticalSpacing(0)
        self._grid.setColumnStretch(1, 1)

    def show_names(self, names: Iterable[str]) -> None:
        """Have a slider for each of these attributes, and no others."""
        names = tuple(names)
        if names == tuple(self.sliders):
            return
        while (item := self._grid.takeAt(0)) is not None:
            if (old := item.widget()) is not None:
                old.hide()
                old.deleteLater()
        self.sliders, self.values = {}, {}
        for row, name in enumerate(names):
            title, value = label(name.capitalize(), "dim"), label("", "dim")
            slider = Push(name)
            slider.setObjectName(f"push_{name}")
            tip = f"{TIPS[name]} ({UNITS[name]}); double click: back to the middle"
            shown: tuple[QWidget, ...] = (title, slider, value)
            for widget in shown:
                widget.setToolTip(tip)
            title.setBuddy(slider)
            value.setFixedWidth(88)
            value.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            slider.pushed.connect(
                lambda amount, settled, n=name: self.pushed.emit(n, amount, settled)
            )
            for column, widget in enumerate(shown):
                self._grid.addWidget(widget, row, column)
            self.sliders[name], self.values[name] = slider, value

    def show_state(
        self, amounts: Mapping[str, float], own: Mapping[str, float], now: Mapping[str, float]
    ) -> None:
        """Put the sliders where they are to be; beside them what the phrase measures, before and now."""
        for name, slider in self.sliders.items():
            slider.show_amount(amounts.get(name, 0.0))
            before, after = (measured_text(name, t.get(name)) for t in (own, now))
            moved = before and after and before != after
            self.values[name].setText(f"{before} → {after}" if moved else after or before)

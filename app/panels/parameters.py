"""The parameter form: one editor a Param of a Card, built from nothing but the card."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QGridLayout,
    QHBoxLayout,
    QLineEdit,
    QSlider,
    QSpinBox,
    QWidget,
)

from app.panels.common import label, spin_text
from models.card import Card, Param, Task, Value

SLIDER_STEPS = 1000
LOGARITHMIC_FROM = 100.0
"""A slider whose maximum is more than this many times its (positive) minimum moves by ratios."""


class NumberEdit(QWidget):
    """A number by slider or by typing, within a Param's bounds."""

    edited = Signal()

    def __init__(self, param: Param) -> None:
        super().__init__()
        self._low, self._high = float(param.minimum), float(param.maximum)
        self._whole = isinstance(param.default, int)
        self._log = self._low > 0 and self._high / self._low > LOGARITHMIC_FROM
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(0, SLIDER_STEPS)
        self.slider.setAccessibleName(param.name)
        self.spin: QSpinBox | QDoubleSpinBox
        if self._whole:
            whole = QSpinBox()
            whole.setRange(int(param.minimum), int(param.maximum))
            self.spin = whole
        else:
            decimal = QDoubleSpinBox()
            decimal.setDecimals(2)
            decimal.setSingleStep(0.05 if self._high - self._low <= 5 else 0.5)
            decimal.setRange(self._low, self._high)
            self.spin = decimal
        spin_text(self.spin)
        self.spin.setFixedWidth(60)
        self.spin.setAlignment(Qt.AlignmentFlag.AlignRight)
        self.spin.setAccessibleName(param.name)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addWidget(self.slider, 1)
        layout.addWidget(self.spin)
        self.slider.valueChanged.connect(self._slid)
        self.spin.valueChanged.connect(self._typed)

    def value(self) -> Value:
        """The number."""
        return self.spin.value()

    def set_value(self, value: Value) -> None:
        """Show another number."""
        assert isinstance(value, int | float)
        if isinstance(self.spin, QSpinBox):
            self.spin.setValue(int(value))
        else:
            self.spin.setValue(float(value))
        self._follow()

    def _slid(self, position: int) -> None:
        share = position / SLIDER_STEPS
        if self._log:
            value = self._low * (self._high / self._low) ** share
        else:
            value = self._low + (self._high - self._low) * share
        with QSignalBlocker(self.spin):
            if isinstance(self.spin, QSpinBox):
                self.spin.setValue(round(value))
            else:
                self.spin.setValue(value)
        self.edited.emit()

    def _typed(self) -> None:
        self._follow()
        self.edited.emit()

    def _follow(self) -> None:
        value = float(self.spin.value())
        if self._log:
            share = math.log(value / self._low) / math.log(self._high / self._low)
        else:
            share = (value - self._low) / max(self._high - self._low, 1e-9)
        with QSignalBlocker(self.slider):
            self.slider.setValue(round(share * SLIDER_STEPS))


class RangeEdit(QWidget):
    """A range of whole numbers: two fields that never cross."""

    edited = Signal()

    def __init__(self, param: Param) -> None:
        super().__init__()
        self.low, self.high = QSpinBox(), QSpinBox()
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        for spin, name in ((self.low, "lowest"), (self.high, "highest")):
            spin.setRange(int(param.minimum), int(param.maximum))
            spin_text(spin)
            spin.setAccessibleName(f"{name} {param.name}")
            layout.addWidget(spin, 1)
        layout.insertWidget(1, label("to", "dim"))
        self.low.valueChanged.connect(self._low_changed)
        self.high.valueChanged.connect(self._high_changed)

    def value(self) -> Value:
        """(lowest, highest)."""
        return self.low.value(), self.high.value()

    def set_value(self, value: Value) -> None:
        """Show another range."""
        assert isinstance(value, tuple)
        with QSignalBlocker(self.low), QSignalBlocker(self.high):
            self.low.setValue(value[0])
            self.high.setValue(value[1])

    def _low_changed(self, value: int) -> None:
        if self.high.value() < value:
            with QSignalBlocker(self.high):
                self.high.setValue(value)
        self.edited.emit()

    def _high_changed(self, value: int) -> None:
        if self.low.value() > value:
            with QSignalBlocker(self.low):
                self.low.setValue(value)
        self.edited.emit()


class ParameterForm(QWidget):
    """The parameters of a card that matter to a task (all when None), but for those in `served`, which
    have controls of their own elsewhere; `edited` when the user changes one."""

    edited = Signal()

    def __init__(
        self,
        card: Card,
        values: Mapping[str, Value] | None = None,
        task: Task | None = None,
        served: Collection[str] = (),
    ) -> None:
        super().__init__()
        self._get: dict[str, Callable[[], Value]] = {}
        self._set: dict[str, Callable[[Value], None]] = {}
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(10)
        grid.setVerticalSpacing(6)
        grid.setColumnStretch(1, 1)
        shown = [
            p
            for p in card.params
            if p.name not in served and (task is None or not p.tasks or task in p.tasks)
        ]
        for row, param in enumerate(shown):
            editor = self._editor(param)
            name = label(param.name.replace("_", " ").capitalize(), "dim")
            tip = param.about or name.text()
            if not isinstance(param.default, bool | str):
                low, high = f"{param.minimum:g}", f"{param.maximum:g}"
                tip += f" ({low}–{high}, usually {_text(param.default)})"
            name.setToolTip(tip)
            editor.setToolTip(tip)
            editor.setObjectName(f"param_{param.name}")
            name.setBuddy(editor)
            grid.addWidget(name, row, 0)
            grid.addWidget(editor, row, 1)
        every = card.values(values)
        self.set_values({p.name: every[p.name] for p in shown})

    def values(self) -> dict[str, Value]:
        """Parameter name → value, each within the bounds of its Param."""
        return {name: get() for name, get in self._get.items()}

    def set_values(self, values: Mapping[str, Value]) -> None:
        """Show these values."""
        for name, value in values.items():
            self._set[name](value)

    def _editor(self, param: Param) -> QWidget:
        default = param.default
        if isinstance(default, bool):
            check = QCheckBox()
            check.toggled.connect(self.edited)
            self._get[param.name] = check.isChecked
            self._set[param.name] = lambda value: check.setChecked(bool(value))
            return check
        if param.choices:
            combo = QComboBox()
            combo.addItems(list(param.choices))
            combo.currentIndexChanged.connect(self.edited)
            self._get[param.name] = combo.currentText
            self._set[param.name] = lambda value: combo.setCurrentText(str(value))
            return combo
        if isinstance(default, str):
            line = QLineEdit()
            line.textEdited.connect(self.edited)
            self._get[param.name] = line.text
            self._set[param.name] = lambda value: line.setText(str(value))
            return line
        editor = RangeEdit(param) if isinstance(default, tuple) else NumberEdit(param)
        editor.edited.connect(self.edited)
        self._get[param.name] = editor.value
        self._set[param.name] = editor.set_value
        return editor


def _text(value: Value) -> str:
    return f"{value[0]}–{value[1]}" if isinstance(value, tuple) else f"{value:g}"

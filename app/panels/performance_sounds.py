"""The performance view's dialogs: where every part sounds and which inputs are heard, every knob of
the system, and all the keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from PySide6.QtGui import QFont, QKeySequence, QShortcut
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from app import theme
from app.panels.common import button, label, spin_text
from app.panels.parameters import ParameterForm
from app.panels.performance_text import SMALL, font_of
from app.panels.tracks import INSTRUMENTS
from app.performing import MOST_PARTS, Performance
from app.player import VIRTUAL, port_text, port_title
from engine.staging import Mode
from models.card import Card
from models.score import Track

MIDI_CHANNELS = 16
MOST_OFFSET_MS = 200
COLUMNS = 2
SMALLEST_PX = 6
"""How many columns of keys there are, and how small their letters may become to fit beside one another."""
HEADINGS = ("", "Output", "Channel", "Sound", "Later by")


def input_text(names: Sequence[str]) -> str:
    """Which inputs are heard, in a few words."""
    return (
        "nothing"
        if not names
        else port_title(names[0])
        if len(names) == 1
        else f"{len(names)} inputs"
    )


def sounds_text(parts: Sequence[Track]) -> str:
    """Where the parts sound, in a few words."""
    ports = {p.port for p in parts}
    where = port_title(parts[0].port) if parts[0].port else "built in"
    if len(ports) > 1:
        where = f"{len(ports)} outputs"
    return where if len(parts) == 1 else f"{len(parts)} × {where}"


class SoundsDialog(QDialog):
    """Port, channel, program and offset of every part, highest first, and the inputs that are listened to.

    What is chosen is in force at once.
    """

    def __init__(self, performance: Performance, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._performance = performance
        self.setWindowTitle("Where it sounds")
        self.setMinimumWidth(620)
        self.grid = QGridLayout()
        self.grid.setColumnStretch(1, 1)
        self.grid.setHorizontalSpacing(10)
        self._inputs = QVBoxLayout()
        self.more = button("Add a part", "add_part", "Another voice with a sound of its own")
        self.fewer = button("Remove the last", "remove_part", "Its notes go to the part above")
        self.more.clicked.connect(self._add)
        self.fewer.clicked.connect(self._remove)
        closing = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        closing.rejected.connect(self.reject)
        row = QHBoxLayout()
        row.addWidget(self.more)
        row.addWidget(self.fewer)
        row.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setSpacing(12)
        layout.addWidget(label("Parts, highest first", "title"))
        layout.addLayout(self.grid)
        layout.addLayout(row)
        layout.addWidget(label("Listen to", "title"))
        layout.addLayout(self._inputs)
        layout.addStretch(1)
        layout.addWidget(closing)
        panic = QShortcut(QKeySequence("Ctrl+."), self)
        panic.activated.connect(performance.panic)
        performance.player.ports_changed.connect(self.refresh)

    def open_fresh(self) -> None:
        """Show it, as things are now."""
        self.refresh()
        self.show()
        self.raise_()
        self.activateWindow()

    def refresh(self) -> None:
        """Build the rows anew."""
        _clear(self.grid)
        _clear(self._inputs)
        parts = self._performance.setting.parts
        for column, text in enumerate(HEADINGS):
            self.grid.addWidget(label(text, "dim"), 0, column)
        for row, part in enumerate(parts):
            self._row(row, part)
        self.more.setEnabled(len(parts) < MOST_PARTS)
        self.fewer.setEnabled(len(parts) > 1)
        chosen = self._performance.rig.inputs
        names = list(dict.fromkeys([*self._performance.player.inputs, *chosen]))
        for name in names:
            check = QCheckBox(port_text(name, self._performance.player.inputs))
            check.setObjectName(f"input_{name}")
            check.setChecked(name in chosen)
            check.toggled.connect(lambda on, n=name: self._listen(n, on))
            self._inputs.addWidget(check)
        if not names:
            self._inputs.addWidget(label("No MIDI input is there.", "dim"))

    def _row(self, row: int, part: Track) -> None:
        outputs = ["", *self._performance.player.outputs, VIRTUAL, part.port]
        port, program = QComboBox(), QComboBox()
        for name in dict.fromkeys(outputs):
            port.addItem(port_text(name, self._performance.player.outputs), name)
        port.setCurrentIndex(port.findData(part.port))
        port.activated.connect(lambda i: self._set(row, port=port.itemData(i)))
        for title, number in INSTRUMENTS:
            program.addItem(title, number)
        if program.findData(part.program) < 0:
            program.addItem(f"Program {part.program + 1}", part.program)
        program.setCurrentIndex(program.findData(part.program))
        program.activated.connect(lambda i: self._set(row, program=program.itemData(i)))
        channel, offset = QSpinBox(), QSpinBox()
        channel.setRange(1, MIDI_CHANNELS)
        channel.setValue(part.channel + 1)
        channel.valueChanged.connect(lambda v: self._set(row, channel=v - 1))
        offset.setRange(-MOST_OFFSET_MS, MOST_OFFSET_MS)
        offset.setSuffix(" ms")
        offset.setValue(part.offset)
        offset.valueChanged.connect(lambda v: self._set(row, offset=v))
        self.grid.addWidget(label(f"{row + 1}", "title"), row + 1, 0)
        for column, (editor, name) in enumerate(
            ((port, "port"), (channel, "channel"), (program, "program"), (offset, "offset"))
        ):
            editor.setObjectName(f"part_{row}_{name}")
            editor.setAccessibleName(f"{name} of part {row + 1}")
            if isinstance(editor, QSpinBox):
                spin_text(editor)
                editor.setKeyboardTracking(False)
            self.grid.addWidget(editor, row + 1, column + 1)

    def _set(self, row: int, **changes: object) -> None:
        parts = list(self._performance.setting.parts)
        parts[row] = replace(parts[row], **changes)  # type: ignore[arg-type]
        self._performance.set_parts(parts)

    def _add(self) -> None:
        parts = self._performance.setting.parts
        used = {p.channel for p in parts}
        free = next((c for c in range(MIDI_CHANNELS - 1, 0, -1) if c != 9 and c not in used), 0)
        name = f"{parts[0].name} {len(parts) + 1}"
        self._performance.set_parts([*parts, replace(parts[-1], name=name, channel=free)])
        self.refresh()

    def _remove(self) -> None:
        self._performance.set_parts(self._performance.setting.parts[:-1])
        self.refresh()

    def _listen(self, name: str, on: bool) -> None:
        others = [n for n in self._performance.rig.inputs if n != name]
        self._performance.rig.listen((*others, name) if on else tuple(others))


def _clear(layout: QGridLayout | QVBoxLayout) -> None:
    while (item := layout.takeAt(0)) is not None:
        if (widget := item.widget()) is not None:
            widget.hide()
            widget.deleteLater()


class KnobsDialog(QDialog):
    """Every parameter of the system chosen. What is set is in force from the next bar or beat."""

    def __init__(self, performance: Performance, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._performance = performance
        self._card: Card | None = None
        self._served = frozenset[str]()
        self.form: ParameterForm | None = None
        self.setMinimumWidth(420)
        closing = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        closing.rejected.connect(self.reject)
        panic = QShortcut(QKeySequence("Ctrl+."), self)
        panic.activated.connect(performance.panic)
        self._column = QVBoxLayout(self)
        self._column.addWidget(closing)
        performance.setting_changed.connect(self._follow)

    def open_fresh(self) -> None:
        """Show it for the system chosen."""
        self._build()
        self.show()
        self.raise_()
        self.activateWindow()

    def _follow(self) -> None:
        shown = (self._card, self._served)
        if self.isVisible() and (self._performance.card, self._set_by_mode()) != shown:
            self._build()

    def _set_by_mode(self) -> frozenset[str]:
        """The parameters that the mode sets by itself: an answer begins at once."""
        answers = self._performance.setting.mode is Mode.ANSWER
        return frozenset({"attacca"} if answers else ())

    def _build(self) -> None:
        if self.form is not None:
            self._column.removeWidget(self.form)
            self.form.hide()
            self.form.deleteLater()
        self._card, self.form = self._performance.card, None
        self._served = self._set_by_mode()
        self.setWindowTitle("Knobs" if self._card is None else f"Knobs of {self._card.name}")
        if self._card is not None:
            self.form = ParameterForm(
                self._card, self._performance.setting.params, served=self._served
            )
            self.form.edited.connect(self._edited)
            self._column.insertWidget(0, self.form)

    def _edited(self) -> None:
        if self.form is None or self._card is None:
            return
        before = self._card.values(self._performance.setting.params)
        for name, value in self.form.values().items():
            if value != before[name]:
                self._performance.set_param(name, value)


class KeysSheet(QFrame):
    """Every key, laid over the view that it is the child of, in letters that one can read from where one plays.
    It takes no keys itself: all of them go on working."""

    def __init__(self, rows: Sequence[tuple[str, str]], parent: QWidget) -> None:
        super().__init__(parent)
        self._over = parent
        self.setObjectName("stage_keys")
        self.setStyleSheet(
            f"QFrame#stage_keys {{ background: {theme.COLOURS['panel']};"
            f" border: 2px solid {theme.COLOURS['accent']}; border-radius: 10px; }}"
        )
        self._grid = QGridLayout(self)
        self._labels: list[QLabel] = []
        each = -(-len(rows) // COLUMNS)
        for index, (keys, text) in enumerate(rows):
            column, row = divmod(index, each)
            for offset, words, shade in ((0, keys, "accent"), (1, text, "text")):
                made = label(words)
                made.setStyleSheet(f"color: {theme.COLOURS[shade]}")
                self._labels.append(made)
                self._grid.addWidget(made, row, 2 * column + offset)
        self.hide()

    def toggle(self, unit: float) -> None:
        """Show it, for a view so many pixels high; or hide it."""
        if self.isVisible():
            self.hide()
            return
        room = self._over.size()
        height, edge = SMALL * unit, round(unit * 0.02)
        self._grid.setContentsMargins(edge, edge // 2, edge, edge // 2)
        self._grid.setHorizontalSpacing(edge)
        self._grid.setVerticalSpacing(edge // 8)
        while True:
            for made in self._labels:
                made.setFont(font_of(height, QFont.Weight.Medium))
            size = self._grid.totalSizeHint()
            fits = size.width() <= room.width() and size.height() <= room.height()
            if fits or height < SMALLEST_PX:
                break
            height *= 0.95
        self.setGeometry(
            (room.width() - size.width()) // 2,
            (room.height() - size.height()) // 2,
            size.width(),
            size.height(),
        )
        self.show()
        self.raise_()

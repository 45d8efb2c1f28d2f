"""MIDI learn, as it is seen: the dialog of all mappings, a small popup, and a menu for whatever can be taught."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from PySide6.QtCore import QEvent, QObject, QSignalBlocker, Qt, QTimer
from PySide6.QtGui import QCloseEvent, QContextMenuEvent, QHideEvent, QKeyEvent, QShowEvent
from PySide6.QtWidgets import (
    QAbstractSpinBox,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QMenu,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from app import theme
from app.controllers import Controllers
from app.controls import CHANNELS, MODE_TITLES, NEEDS, Kind, Mapping, Mode
from app.panels.common import Elided, button, label, mark, tool
from app.panels.parameters import ParameterForm
from app.targets import parameter_id
from models.card import Card

NOW_MS = 100
"""How often the dialog looks where the targets stand."""

LIST_PX = 260
HEADINGS = ("Moves", "Control", "Device", "Channel", "How", "Now")
ARROWS = {1: "▲ turn up", -1: "▼ turn down"}
EMPTY = "No control is taught yet. Choose what to move, press Learn, then move a knob or hit a key."


def pick_up_words(controllers: Controllers, target_id: str, direction: int) -> str:
    """What to do so that a control takes hold of its target; "" when it has."""
    if not direction:
        return ""
    where = "up" if direction > 0 else "down"
    return f"{controllers.title(target_id)}: turn it {where} to pick it up."


def teaching_words(controllers: Controllers, target_id: str) -> str:
    """What to do to teach a target."""
    target = controllers.target(target_id)
    kind = target.kind if target is not None else Kind.NUMBER
    verb = "move" if kind is Kind.NUMBER else "use"
    return f"{controllers.title(target_id)}: {verb} {NEEDS[kind]} now"


# --- the dialog --------------------------------------------------------------------------------------


class _Row:
    """One mapping: what it moves, its control, and how; all of it can be changed in place."""

    def __init__(self, controllers: Controllers, inputs: Callable[[], Sequence[str]]) -> None:
        self._controllers, self._inputs = controllers, inputs
        self.mapping: Mapping | None = None
        self.moves, self.control, self.now = Elided(), label("", "dim"), QLabel()
        self.now.setMinimumWidth(140)
        self.device, self.channel, self.mode = QComboBox(), QComboBox(), QComboBox()
        self.device.setMinimumWidth(130)
        self.device.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.device.activated.connect(lambda i: self._mean(device=self.device.itemData(i)))
        self.channel.activated.connect(lambda i: self._mean(channel=self.channel.itemData(i)))
        self.mode.activated.connect(self._move)
        for number in (None, *range(CHANNELS)):
            self.channel.addItem("Any" if number is None else str(number + 1), number)
        self.remove = tool("drop", "forget_control", "Let it move nothing any more", side=14)
        self.remove.setAutoRaise(True)
        self.remove.clicked.connect(self._forget)

    def widgets(self) -> tuple[QWidget, ...]:
        """One a column."""
        return (
            self.moves,
            self.control,
            self.device,
            self.channel,
            self.mode,
            self.now,
            self.remove,
        )

    def show(self, mapping: Mapping) -> None:
        """Show a mapping."""
        self.mapping = mapping
        control, title = mapping.control, self._controllers.title(mapping.target)
        self.moves.say(title)
        self.control.setText(control.title())
        known = [m.control.device for m in self._controllers.mappings]
        with QSignalBlocker(self.device):
            self.device.clear()
            for name in dict.fromkeys(["", *self._inputs(), control.device, *known]):
                self.device.addItem(name or "Any device", name)
            self.device.setCurrentIndex(self.device.findData(control.device))
        self.device.setToolTip(self.device.currentText())
        self.channel.setCurrentIndex(0 if control.channel is None else control.channel + 1)
        modes = self._controllers.modes(mapping)
        with QSignalBlocker(self.mode):
            self.mode.clear()
            for row, mode in enumerate(modes):
                text, tip = MODE_TITLES[mode]
                self.mode.addItem(text, mode)
                self.mode.setItemData(row, tip, Qt.ItemDataRole.ToolTipRole)
            self.mode.setCurrentIndex(max(self.mode.findData(mapping.mode), 0))
        self.mode.setEnabled(len(modes) > 1)
        self.mode.setToolTip(MODE_TITLES[mapping.mode][1])
        for widget, name in (
            (self.device, "device of"),
            (self.channel, "channel of"),
            (self.mode, "way of"),
            (self.remove, "forget"),
        ):
            widget.setAccessibleName(f"{name} {control.title()}, which moves {title}")
        self.look()

    def look(self) -> None:
        """Show where the target stands now."""
        if self.mapping is None:
            return
        target = self._controllers.target(self.mapping.target)
        share = target.get() if target is not None else None
        value = target.say(share) if target is not None and share is not None else ""
        arrow = ARROWS.get(self._controllers.direction(self.mapping.target), "")
        text = "  ".join(part for part in (value, arrow) if part)
        if text != self.now.text():
            self.now.setText(text)
            self.now.setStyleSheet(f"color: {theme.COLOURS['warning']}" if arrow else "")

    def _mean(self, **changes: object) -> None:
        if self.mapping is not None:
            control = replace(self.mapping.control, **changes)  # type: ignore[arg-type]
            self._controllers.change(self.mapping, control=control)

    def _move(self, index: int) -> None:
        if self.mapping is not None:
            self._controllers.change(self.mapping, mode=Mode(self.mode.itemData(index)))

    def _forget(self) -> None:
        if self.mapping is not None:
            self._controllers.remove(self.mapping)


class LearnDialog(QDialog):
    """Every mapping, and how to make more. `inputs` gives the names of the MIDI inputs there are."""

    def __init__(
        self,
        controllers: Controllers,
        inputs: Callable[[], Sequence[str]] = tuple,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.controllers, self._inputs = controllers, inputs
        self.setWindowTitle("MIDI control")
        self.resize(1120, 540)
        self.search = QLineEdit()
        self.search.setPlaceholderText("Find what to move")
        self.search.setAccessibleName("find what to move")
        self.search.setClearButtonEnabled(True)
        self.list = QListWidget()
        self.list.setObjectName("targets")
        self.list.setAccessibleName("what can be moved")
        self.list.setUniformItemSizes(True)
        self.list.setFixedWidth(LIST_PX)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.learn_button = button("Learn", "learn", "Teach it a control (Enter)")
        self.learn_button.setDefault(True)
        mark(self.learn_button, "primary")
        self.prompt = QLabel()
        self.prompt.setWordWrap(True)
        self.prompt.setMinimumHeight(36)
        self.echo = Elided("Nothing heard yet", "dim")
        self.echo.setObjectName("echo")
        self.rows: list[_Row] = []
        self.empty = QLabel(EMPTY)
        self.empty.setWordWrap(True)
        self.empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        mark(self.empty, "dim")

        left = QVBoxLayout()
        left.setSpacing(6)
        for widget in (label("What to move", "title"), self.search, self.list, self.learn_button):
            left.addWidget(widget)
        holder = QWidget()
        self._grid = QGridLayout()
        self._grid.setHorizontalSpacing(8)
        self._grid.setVerticalSpacing(4)
        self._grid.setColumnStretch(0, 3)
        self._grid.setColumnStretch(2, 2)
        self._grid.setColumnMinimumWidth(0, 150)
        self._headings = [label(text, "dim") for text in HEADINGS]
        for column, heading in enumerate(self._headings):
            self._grid.addWidget(heading, 0, column)
        column_of_rows = QVBoxLayout(holder)
        column_of_rows.setContentsMargins(10, 6, 10, 6)
        column_of_rows.addLayout(self._grid)
        column_of_rows.addStretch(1)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setWidget(holder)
        right = QVBoxLayout()
        right.setSpacing(6)
        right.addWidget(label("What is taught", "title"))
        right.addWidget(area, 1)
        right.addWidget(self.empty, 1)
        self._area = area
        middle = QHBoxLayout()
        middle.setSpacing(14)
        middle.addLayout(left)
        middle.addLayout(right, 1)
        closing = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        closing.rejected.connect(self.close)
        bottom = QHBoxLayout()
        bottom.addWidget(label("Heard:", "dim"))
        bottom.addWidget(self.echo, 1)
        bottom.addWidget(closing)
        layout = QVBoxLayout(self)
        layout.setSpacing(10)
        layout.addWidget(self.prompt)
        layout.addLayout(middle, 1)
        layout.addLayout(bottom)

        self._looking = QTimer(self, interval=NOW_MS)
        self._looking.timeout.connect(self._look)
        self.search.textChanged.connect(self._filter)
        self.search.installEventFilter(self)
        self.list.itemActivated.connect(lambda _: self.learn())
        self.list.currentItemChanged.connect(lambda *_: self._say())
        self.learn_button.clicked.connect(self.learn)
        controllers.changed.connect(self.refresh)
        controllers.table_changed.connect(self._list)
        controllers.learning_changed.connect(self._say)
        controllers.echoed.connect(self.echo.say)
        controllers.said.connect(self._hear)
        self._list()
        self.refresh()

    # --- what to move --------------------------------------------------------------------------------

    def chosen(self) -> str | None:
        """The id of the target that is chosen in the list."""
        item = self.list.currentItem()
        return None if item is None or item.isHidden() else str(item.data(Qt.ItemDataRole.UserRole))

    def choose(self, target_id: str) -> None:
        """Choose a target in the list, as a click would."""
        for row in range(self.list.count()):
            if self.list.item(row).data(Qt.ItemDataRole.UserRole) == target_id:
                self.search.clear()
                self.list.setCurrentRow(row)

    def learn(self) -> None:
        """Teach what is chosen; while something is being taught, leave that."""
        chosen = self.chosen()
        if self.controllers.learning is not None:
            self.controllers.cancel()
        elif chosen is not None:
            self.controllers.learn(chosen)

    def _list(self) -> None:
        chosen = self.chosen()
        with QSignalBlocker(self.list):
            self.list.clear()
            for target in self.controllers.targets:
                item = QListWidgetItem(target.whole_title)
                item.setData(Qt.ItemDataRole.UserRole, target.id)
                item.setToolTip(f"Moved by {NEEDS[target.kind]}")
                self.list.addItem(item)
                if target.id == chosen:
                    self.list.setCurrentItem(item)
        self._filter()
        self.refresh()

    def _filter(self) -> None:
        words = self.search.text().casefold().split()
        first = -1
        for row in range(self.list.count()):
            item = self.list.item(row)
            there = all(word in item.text().casefold() for word in words)
            item.setHidden(not there)
            if there and first < 0:
                first = row
        if self.chosen() is None:
            self.list.setCurrentRow(first)
        self._say()

    def _step(self, by: int) -> None:
        """Go to the next target that is shown, or the one before."""
        row = self.list.currentRow() + by
        while 0 <= row < self.list.count() and self.list.item(row).isHidden():
            row += by
        if 0 <= row < self.list.count():
            self.list.setCurrentRow(row)

    # --- showing -------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Show the mappings as they are now."""
        mappings = self.controllers.mappings
        while len(self.rows) > len(mappings):
            for widget in self.rows.pop().widgets():
                self._grid.removeWidget(widget)
                widget.hide()
                widget.deleteLater()
        while len(self.rows) < len(mappings):
            row = _Row(self.controllers, self._inputs)
            self.rows.append(row)
            for column, widget in enumerate(row.widgets()):
                self._grid.addWidget(widget, len(self.rows), column)
        for row, mapping in zip(self.rows, mappings, strict=True):
            row.show(mapping)
        self._area.setVisible(bool(mappings))
        self.empty.setVisible(not mappings)

    def _look(self) -> None:
        for row in self.rows:
            row.look()

    def _say(self) -> None:
        learning, chosen = self.controllers.learning, self.chosen()
        if learning is not None:
            words = f"{teaching_words(self.controllers, learning)} (Esc: leave it)."
        elif chosen is not None:
            words = f"Enter teaches a control to move {self.controllers.title(chosen)}."
        else:
            words = "Nothing is called like that."
        self._show_prompt(words, learning is not None)
        self.learn_button.setText("Cancel" if learning is not None else "Learn")
        self.learn_button.setEnabled(learning is not None or chosen is not None)

    def _hear(self, sentence: str) -> None:
        """Show what the controllers say, and how to go on."""
        if self.controllers.learning is not None:
            sentence += " Esc: leave it."
        self._show_prompt(sentence, self.controllers.learning is not None)

    def _show_prompt(self, words: str, urgent: bool) -> None:
        self.prompt.setText(words)
        ground = theme.COLOURS["accent_deep" if urgent else "panel"]
        self.prompt.setStyleSheet(f"background: {ground}; border-radius: 5px; padding: 4px 10px;")

    # --- keys ----------------------------------------------------------------------------------------

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Up and Down in the search field go through the list."""
        pressed = event.type() == QEvent.Type.KeyPress
        if watched is self.search and pressed and isinstance(event, QKeyEvent):
            by = {Qt.Key.Key_Down: 1, Qt.Key.Key_Up: -1}.get(Qt.Key(event.key()))
            if by is not None:
                self._step(by)
                return True
        return super().eventFilter(watched, event)

    def reject(self) -> None:
        """Esc leaves what is being taught; then closes."""
        if self.controllers.learning is not None:
            self.controllers.cancel()
        else:
            super().reject()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.refresh()
        self._looking.start()
        self.search.setFocus()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._looking.stop()
        self.controllers.cancel()

    def closeEvent(self, event: QCloseEvent) -> None:
        self.controllers.cancel()
        super().closeEvent(event)


# --- teaching in place -------------------------------------------------------------------------------


class LearnPopup(QFrame):
    """Teaches one target, near its widget: says what to do, shows what arrives, goes when it is done.

    Esc or a press elsewhere leaves it.
    """

    def __init__(
        self, controllers: Controllers, target_id: str, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent, Qt.WindowType.Popup)
        self.setObjectName("learn_popup")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setStyleSheet(
            f"QFrame#learn_popup {{ background: {theme.COLOURS['panel']};"
            f" border: 1px solid {theme.COLOURS['accent']}; border-radius: 6px; }}"
        )
        self._controllers, self._target = controllers, target_id
        self.words = label(teaching_words(controllers, target_id), "title")
        self.words.setWordWrap(True)
        self.words.setFixedWidth(300)
        self.echo = Elided("Nothing heard yet · Esc: leave it", "dim")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(12, 10, 12, 10)
        layout.addWidget(self.words)
        layout.addWidget(self.echo)
        controllers.echoed.connect(self.echo.say)
        controllers.said.connect(self.words.setText)
        controllers.learnt.connect(self.close)
        controllers.learn(target_id)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.close()
        else:
            super().keyPressEvent(event)

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        if self._controllers.learning == self._target:
            self._controllers.cancel()


def teach(widget: QWidget, target_id: str, controllers: Controllers) -> LearnPopup:
    """Teach a target by a popup under a widget."""
    popup = LearnPopup(controllers, target_id, widget)
    popup.move(widget.mapToGlobal(widget.rect().bottomLeft()))
    popup.show()
    return popup


class _LearnFilter(QObject):
    """Opens the menu of a widget that can be taught, whichever part of it was asked."""

    def __init__(self, widget: QWidget, target_id: str, controllers: Controllers) -> None:
        super().__init__(widget)
        self._widget, self._target, self._controllers = widget, target_id, controllers
        for part in (widget, *widget.findChildren(QWidget)):
            part.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if not isinstance(event, QContextMenuEvent) or not isinstance(watched, QWidget):
            return super().eventFilter(watched, event)
        line = watched.lineEdit() if isinstance(watched, QAbstractSpinBox) else watched
        if isinstance(line, QLineEdit):
            menu = line.createStandardContextMenu()
        else:
            menu = QMenu(watched)
            menu.addActions(watched.actions())
        if menu.actions():
            menu.addSeparator()
        menu.addAction("MIDI learn…", partial(teach, self._widget, self._target, self._controllers))
        for mapping in self._controllers.of(self._target):
            forget = partial(self._controllers.remove, mapping)
            menu.addAction(f"Forget {mapping.control.whole_title()}", forget)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.popup(event.globalPos())
        return True


def learnable(widget: QWidget, target_id: str, controllers: Controllers) -> None:
    """Let a widget's context menu teach a target: add "MIDI learn…", and "Forget …" what is taught."""
    _LearnFilter(widget, target_id, controllers)


def learnable_form(form: ParameterForm, card: Card, controllers: Controllers) -> None:
    """Let every editor of a card's form teach its parameter; a range has a target for each end."""
    for param in card.params:
        editor = form.findChild(QWidget, f"param_{param.name}")
        if editor is None or (isinstance(param.default, str) and not param.choices):
            continue
        if isinstance(param.default, tuple):
            for end, word in (("low", "lowest"), ("high", "highest")):
                for spin in editor.findChildren(QAbstractSpinBox):
                    if spin.accessibleName() == f"{word} {param.name}":
                        learnable(spin, parameter_id(card.id, param.name, end), controllers)
        else:
            learnable(editor, parameter_id(card.id, param.name), controllers)

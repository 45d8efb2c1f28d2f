"""The system browser and what is asked of a system: task, parameters, count, seed, Generate and Stop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from PySide6.QtCore import (
    QAbstractListModel,
    QModelIndex,
    QPersistentModelIndex,
    QRect,
    QSize,
    Qt,
    Signal,
)
from PySide6.QtGui import QFont, QPainter
from PySide6.QtWidgets import (
    QAbstractItemView,
    QButtonGroup,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListView,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSpinBox,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QVBoxLayout,
    QWidget,
)

from app import theme
from app.composer import VERBS, Composer, Wishes, plan
from app.panels.common import Elided, button, header, label, mark, spin_text, tool
from app.panels.parameters import ParameterForm
from app.session import Session
from app.shaping import PUSHES
from models.card import Card, Task, Value

SEED_LIMIT = 1_000_000
ROW_PX = 42
SEARCH_FROM = 6
"""With this many systems the list gets a search field."""

Index = QModelIndex | QPersistentModelIndex


def about(card: Card) -> str:
    """What a musician wants to know about a system, as a tooltip."""
    lines = [
        f"{card.name} ({card.year or card.source})",
        card.source,
        "",
        f"Makes: {card.objective.type}, for {card.objective.destination}",
        f"Works by: {', '.join(card.strategy)}",
        f"Network: {card.architecture}",
        f"Good at: {card.strengths}" if card.strengths else "",
        f"Not good at: {card.weaknesses}" if card.weaknesses else "",
    ]
    return "\n".join(line for i, line in enumerate(lines) if line or i == 2)


class CardModel(QAbstractListModel):
    """The cards, filtered by a text found anywhere in them."""

    def __init__(self, cards: Sequence[Card]) -> None:
        super().__init__()
        self._all, self.shown = tuple(cards), list(cards)

    def filter(self, text: str) -> None:
        """Show the cards that hold every word of `text`."""
        words = text.casefold().split()
        self.beginResetModel()
        self.shown = [c for c in self._all if all(w in str(c).casefold() for w in words)]
        self.endResetModel()

    def rowCount(self, parent: Index | None = None) -> int:
        return len(self.shown)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        card = self.shown[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            return card.name
        if role == Qt.ItemDataRole.ToolTipRole:
            return about(card)
        if role == Qt.ItemDataRole.UserRole:
            return card
        return None


class CardDelegate(QStyledItemDelegate):
    """A system's name over one line on what it makes."""

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        return QSize(200, ROW_PX)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        card: Card = index.data(Qt.ItemDataRole.UserRole)
        rect: QRect = option.rect.adjusted(2, 1, -2, -1)
        state = option.state
        chosen = bool(state & QStyle.StateFlag.State_Selected)
        hovered = bool(state & QStyle.StateFlag.State_MouseOver)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if chosen or hovered:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(theme.colour("accent_deep" if chosen else "raised"))
            painter.drawRoundedRect(rect, 5, 5)
        font = QFont(option.font)
        font.setWeight(QFont.Weight.DemiBold)
        painter.setFont(font)
        painter.setPen(theme.colour("selected" if chosen else "text"))
        text = rect.adjusted(9, 3, -8, -3)
        left, top = Qt.AlignmentFlag.AlignLeft, Qt.AlignmentFlag.AlignTop
        painter.drawText(text, left | top, card.name)
        painter.setFont(option.font)
        painter.setPen(theme.colour("text" if chosen else "text_dim"))
        if card.year:
            painter.drawText(text, Qt.AlignmentFlag.AlignRight | top, str(card.year))
        line = painter.fontMetrics().elidedText(
            f"{card.objective.type.capitalize()} · {card.strategy[0]}",
            Qt.TextElideMode.ElideRight,
            text.width(),
        )
        painter.drawText(text, left | Qt.AlignmentFlag.AlignBottom, line)
        painter.restore()


class ComposePanel(QWidget):
    """Choose a system and a task, set its parameters, generate, stop. `system_chosen(id)` follows the choice.

    `pushes` gives the values of the parameters that the Shape panel serves; `shape_wanted` asks for it.
    """

    system_chosen = Signal(str)
    shape_wanted = Signal()

    def __init__(
        self,
        session: Session,
        composer: Composer,
        cards: Sequence[Card],
        rng: np.random.Generator,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.session, self._composer, self._rng = session, composer, rng
        self._values: dict[str, dict[str, Value]] = {}
        self.pushes: Callable[[], Mapping[str, Value]] = dict
        self._task = Task.REGENERATE
        self._form: ParameterForm | None = None
        self.card: Card | None = None
        self.tasks: dict[Task, QPushButton] = {}

        self.model = CardModel(cards)
        self.list = QListView()
        self.list.setObjectName("systems")
        self.list.setModel(self.model)
        self.list.setItemDelegate(CardDelegate(self.list))
        self.list.setMouseTracking(True)
        self.list.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        rows = max(len(cards), 1)
        self.list.setMinimumHeight(ROW_PX * min(rows, 2) + 4)
        self.list.setMaximumHeight(ROW_PX * min(rows, 4) + 4)
        self.search = QLineEdit()
        self.search.setPlaceholderText("Search systems")
        self.search.setClearButtonEnabled(True)
        self.search.setVisible(len(cards) >= SEARCH_FROM)
        self._task_row = QHBoxLayout()
        self._task_row.setSpacing(4)
        self._group = QButtonGroup(self)
        self.sentence = QLabel()
        self.sentence.setTextFormat(Qt.TextFormat.PlainText)
        self.sentence.setWordWrap(True)
        self.sentence.setObjectName("sentence")
        self.sentence.setMinimumHeight(34)
        self._form_area = QScrollArea()
        self._form_area.setWidgetResizable(True)
        self._form_area.setFrameShape(QFrame.Shape.NoFrame)
        self._form_area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.reset = tool("reset", "reset_parameters", "Set all parameters back", side=13)
        self.reset.setAutoRaise(True)

        self.count, self.bars, self.seed = QSpinBox(), QSpinBox(), QSpinBox()
        for spin, low, high, value, tip in (
            (self.count, 1, 16, 3, "How many candidates to make at once"),
            (self.bars, 1, 256, 8, "How many bars to write where none are marked"),
            (self.seed, 0, SEED_LIMIT - 1, 0, "The same seed gives the same notes again"),
        ):
            spin.setRange(low, high)
            spin.setValue(value)
            spin_text(spin)
            spin.setToolTip(tip)
            spin.setAccessibleName(tip)
        self.count.setObjectName("count")
        self.seed.setObjectName("seed")
        self.dice = tool("dice", "new_seed", "A new seed for every request", side=15)
        self.dice.setCheckable(True)
        self.dice.setChecked(True)
        self._bars_label = label("Bars", "dim")
        numbers = QHBoxLayout()
        numbers.setSpacing(6)
        for widget in (
            label("Candidates", "dim"),
            self.count,
            label("Seed", "dim"),
        ):
            numbers.addWidget(widget)
        numbers.addWidget(self.seed, 1)
        numbers.addWidget(self.dice)
        what = QHBoxLayout()
        what.addWidget(self.sentence, 1)
        what.addWidget(self._bars_label)
        what.addWidget(self.bars)
        self.count.setFixedWidth(40)
        self.bars.setFixedWidth(44)

        self.generate_button = button("Generate", "generate", "Ask for music (Ctrl+G)")
        mark(self.generate_button, "primary")
        self.generate_button.setMinimumHeight(34)
        self.stop_button = button("Stop", "stop_generating", "Stop; what is there stays (Esc)")
        self.stop_button.setMinimumHeight(34)
        self.progress = QProgressBar()
        self.progress.setRange(0, 1000)
        self.progress.setTextVisible(False)
        self.progress.setFixedHeight(4)
        still = self.progress.sizePolicy()
        still.setRetainSizeWhenHidden(True)  # nothing moves under the mouse when a job begins
        self.progress.setSizePolicy(still)
        self.status = Elided("", "dim")
        go = QHBoxLayout()
        go.addWidget(self.generate_button, 1)
        go.addWidget(self.stop_button, 1)

        settings = QHBoxLayout()
        settings.addWidget(label("Settings", "title"))
        settings.addStretch(1)
        settings.addWidget(self.reset)

        self.header = header("Compose with")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(10, 2, 10, 8)
        layout.setSpacing(7)
        layout.addWidget(self.search)
        layout.addWidget(self.list)
        layout.addLayout(self._task_row)
        layout.addLayout(what)
        layout.addLayout(settings)
        layout.addWidget(self._form_area, 1)
        layout.addLayout(numbers)
        layout.addLayout(go)
        layout.addWidget(self.progress)
        layout.addWidget(self.status)

        self.list.selectionModel().currentChanged.connect(self._chosen)
        self.search.textChanged.connect(self._filter)
        self.generate_button.clicked.connect(self.generate)
        self.stop_button.clicked.connect(composer.stop)
        self.reset.clicked.connect(self._reset)
        self.bars.valueChanged.connect(self.refresh)
        session.region_changed.connect(self.refresh)
        session.active_track_changed.connect(self.refresh)
        session.ends_changed.connect(self.refresh)
        session.changed.connect(self.refresh)
        session.job_changed.connect(self._job)
        self._job()
        if cards:
            self.choose(cards[0].id)

    @property
    def task(self) -> Task:
        """The task chosen."""
        return self._task

    def choose(self, system_id: str, task: Task | None = None) -> None:
        """Choose a system (and a task of its card) as a click would."""
        for row, card in enumerate(self.model.shown):
            if card.id == system_id:
                self.list.setCurrentIndex(self.model.index(row))
                if task is not None:
                    self.choose_task(task)

    def choose_task(self, task: Task) -> None:
        """Choose a task as a click would; one that the system lacks is said."""
        if task in self.tasks:
            self.tasks[task].setChecked(True)
            self._set_task(task)
        elif self.card is not None:
            known = ", ".join(VERBS[t][0].lower() for t in self.tasks)
            self.session.message.emit(f"{self.card.name} cannot {task}; it can {known}.")

    def wishes(self) -> Wishes:
        """What the form says."""
        params: dict[str, Value] = self._form.values() if self._form is not None else {}
        if self._task is Task.RESHAPE and self.card is not None:
            known = {p.name for p in self.card.params}
            params |= {name: value for name, value in self.pushes().items() if name in known}
        return Wishes(params, self.count.value(), self.seed.value(), self.bars.value())

    def generate(self) -> None:
        """Ask for what is chosen; with the dice on, with a fresh seed."""
        if self.card is None:
            self.session.message.emit("There is no system to ask.")
            return
        if self.dice.isChecked():
            self.seed.setValue(int(self._rng.integers(SEED_LIMIT)))
        self._composer.generate(self.card, self._task, self.wishes())

    def refresh(self) -> None:
        """Say anew what Generate would do."""
        if self.card is None:
            self.sentence.setText("No systems are installed.")
            self.generate_button.setEnabled(False)
            return
        found = plan(self.session, self.card, self._task, self.bars.value())
        self.sentence.setText(found.sentence)
        self.generate_button.setEnabled(found.region is not None)
        asks_bars = self._task is Task.CONTINUE or (
            self._task is Task.CREATE and self.session.span is None
        )
        self.bars.setVisible(asks_bars)
        self._bars_label.setVisible(asks_bars)

    def _filter(self, text: str) -> None:
        self.model.filter(text)
        if self.model.shown:
            self.list.setCurrentIndex(self.model.index(0))

    def _chosen(self, index: QModelIndex) -> None:
        if not index.isValid():
            return
        card: Card = index.data(Qt.ItemDataRole.UserRole)
        self._remember()
        self.card = card
        for old in self.tasks.values():
            self._group.removeButton(old)
            self._task_row.removeWidget(old)
            old.deleteLater()
        self.tasks = {}
        for task in (t for t in VERBS if t in card.tasks):
            name, tip = VERBS[task]
            made = button(name, f"task_{task}", tip)
            made.setCheckable(True)
            made.clicked.connect(lambda _=False, t=task: self._set_task(t))
            self._group.addButton(made)
            self._task_row.addWidget(made, 1)
            self.tasks[task] = made
        if self._task not in self.tasks and self.tasks:
            self._task = next(iter(self.tasks))
        if self._task in self.tasks:
            self.tasks[self._task].setChecked(True)
        self._show_form(self._values.get(card.id))
        self.refresh()
        self.system_chosen.emit(card.id)

    def _show_form(self, values: dict[str, Value] | None) -> None:
        assert self.card is not None
        self._form = ParameterForm(self.card, values, self._task, PUSHES)
        holder = QWidget()
        column = QVBoxLayout(holder)
        column.setContentsMargins(0, 0, 4, 0)
        column.addWidget(self._form)
        if self._task is Task.RESHAPE:
            shape = button("Sliders and map…", "open_shape", "Open the Shape panel (F5)")
            shape.clicked.connect(self.shape_wanted)
            column.addWidget(shape)
        column.addStretch(1)
        self._form_area.setWidget(holder)

    def _remember(self) -> None:
        if self.card is not None and self._form is not None:
            self._values[self.card.id] = self._values.get(self.card.id, {}) | self._form.values()

    def _reset(self) -> None:
        if self.card is not None:
            self._values.pop(self.card.id, None)
            self._show_form(None)

    def _set_task(self, task: Task) -> None:
        if task is not self._task and self.card is not None:
            self._remember()
            self._task = task
            self._show_form(self._values.get(self.card.id))
        self.refresh()

    def _job(self) -> None:
        job = self.session.job
        self.stop_button.setVisible(job is not None)
        self.generate_button.setVisible(job is None)
        self.progress.setVisible(job is not None)
        if job is None:
            self.status.say("")
            return
        self.progress.setValue(round(job.fraction * self.progress.maximum()))
        self.status.say(" · ".join(t for t in (job.card.name, job.text, job.device) if t))

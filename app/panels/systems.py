"""The system browser and what is asked of a system: task, parameters, count, seed, Generate and Stop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QButtonGroup,
    QFrame,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSpinBox,
    QStackedWidget,
    QTabBar,
    QVBoxLayout,
    QWidget,
)

from app.composer import VERBS, Composer, Wishes, plan
from app.panels.browser import AboutCard, SystemBrowser
from app.panels.common import Elided, button, header, label, mark, spin_text, tool
from app.panels.flow import Flow
from app.panels.parameters import ParameterForm
from app.session import Session
from app.shaping import PUSHES
from models.card import Card, Task, Value

SEED_LIMIT = 1_000_000
CROWD = 4
"""With so many tasks their buttons keep less room around their words, to stay in one row."""
USUAL = "deep_bach"
"""The system that is chosen to begin with."""


class ComposePanel(QWidget):
    """Choose a system and a task, set its parameters, generate, stop. `system_chosen(id)` follows the choice,
    `form_shown(form, card)` the form of its parameters, made anew for each.

    `pushes` gives the values of the parameters that the Shape panel serves; `shape_wanted` asks for it.
    """

    system_chosen = Signal(str)
    form_shown = Signal(object, object)
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
        self.cards = tuple(cards)
        self._values: dict[str, dict[str, Value]] = {}
        self.pushes: Callable[[], Mapping[str, Value]] = dict
        self._task = Task.REGENERATE
        self._form: ParameterForm | None = None
        self.card: Card | None = None
        self.tasks: dict[Task, QPushButton] = {}

        self.browser = SystemBrowser(cards)
        self._task_row = QWidget()
        self._tasks = Flow(self._task_row, fill=True)
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
        self._numbers = QWidget()
        numbers = QHBoxLayout(self._numbers)
        numbers.setContentsMargins(0, 0, 0, 0)
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

        self.about = AboutCard()
        self.pages = QStackedWidget()
        self.pages.addWidget(self._form_area)
        self.pages.addWidget(self.about)
        self.tabs = QTabBar()
        self.tabs.setObjectName("pages")
        self.tabs.setDrawBase(False)
        self.tabs.setExpanding(False)
        self.tabs.addTab("Settings")
        self.tabs.setTabToolTip(0, "The knobs of the chosen system")
        self.tabs.addTab("About")
        self.tabs.setTabToolTip(1, "Who made it and when, what it is good at, how it works")
        settings = QHBoxLayout()
        settings.addWidget(self.tabs)
        settings.addStretch(1)
        settings.addWidget(self.reset)

        self.header = header("Compose with")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(10, 2, 10, 8)
        layout.setSpacing(7)
        layout.addWidget(self.browser, 2)
        layout.addWidget(self._task_row)
        layout.addLayout(what)
        layout.addLayout(settings)
        layout.addWidget(self.pages, 3)
        layout.addWidget(self._numbers)
        layout.addLayout(go)
        layout.addWidget(self.progress)
        layout.addWidget(self.status)

        self.browser.chosen.connect(self._chosen)
        self.tabs.currentChanged.connect(self._turn)
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
            ids = [card.id for card in cards]
            self.choose(USUAL if USUAL in ids else ids[0])

    @property
    def task(self) -> Task:
        """The task chosen."""
        return self._task

    def choose(self, system_id: str, task: Task | None = None) -> None:
        """Choose a system (and a task of its card) as a click would."""
        if self.browser.choose(system_id) and task is not None:
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

    def value(self, card: Card, name: str) -> Value:
        """A parameter as the form has it, or would have it."""
        if self._form is not None and card is self.card and name in (shown := self._form.values()):
            return shown[name]
        return card.values(self._values.get(card.id))[name]

    def set_value(self, card: Card, name: str, value: Value) -> None:
        """Set a parameter, whether or not its form is shown."""
        self._values[card.id] = self._values.get(card.id, {}) | {name: value}
        if self._form is not None and card is self.card and name in self._form.values():
            self._form.set_values({name: value})

    def refresh(self) -> None:
        """Say anew what Generate would do."""
        if self.card is None:
            self.sentence.setText("No systems are installed.")
            self.generate_button.setEnabled(False)
            return
        found = plan(self.session, self.card, self._task, self.bars.value())
        self.sentence.setText(found.sentence)
        self.generate_button.setEnabled(found.region is not None)
        there = None if found.region is None else (found.region.start, found.region.end)
        asks_bars = self._task in (Task.CREATE, Task.CONTINUE) and there != self.session.span
        self.bars.setVisible(asks_bars)
        self._bars_label.setVisible(asks_bars)

    def _turn(self, page: int) -> None:
        self.pages.setCurrentIndex(page)
        for widget in (
            self.reset,
            self._numbers,
        ):  # settings, too; what is there to read needs the room
            widget.setVisible(page == 0)

    def _chosen(self, card: Card) -> None:
        self._remember()
        self.card = card
        for old in self.tasks.values():
            self._group.removeButton(old)
            self._tasks.removeWidget(old)
            old.hide()
            old.deleteLater()
        self.tasks = {}
        for task in (t for t in VERBS if t in card.tasks):
            name, tip = VERBS[task]
            made = button(name, f"task_{task}", tip)
            made.setCheckable(True)
            made.clicked.connect(lambda _=False, t=task: self._set_task(t))
            self._group.addButton(made)
            if len(card.tasks) >= CROWD:
                mark(made, "tight")
            self._tasks.addWidget(made)
            self.tasks[task] = made
        if self._task not in self.tasks and self.tasks:
            self._task = next(iter(self.tasks))
        if self._task in self.tasks:
            self.tasks[self._task].setChecked(True)
        self.about.show_card(card)
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
        self.form_shown.emit(self._form, self.card)

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

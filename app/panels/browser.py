"""The systems to choose from: a list, found by words and by the survey's dimensions, and what each is."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from PySide6.QtCore import (
    QAbstractListModel,
    QModelIndex,
    QPersistentModelIndex,
    QPoint,
    QRect,
    QSize,
    Qt,
    Signal,
)
from PySide6.QtGui import QFont, QKeySequence, QPainter, QPaintEvent, QShortcut
from PySide6.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListView,
    QPushButton,
    QScrollArea,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QVBoxLayout,
    QWidget,
)

from app import facets, theme
from app.facets import Facet, Wanted
from app.panels.common import button, label, mark
from app.panels.flow import Flow
from models.card import Card

ROW_PX = 26
SHORTEST_ROWS, LONGEST_ROWS = 4, 9
"""How many rows the list shows at least, and at most."""
SEARCH_FROM = 6
"""With this many systems there is something to look for."""
COLUMNS = 3
GAP_PX = 12

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


def portrait(card: Card) -> str:
    """The card as rich text, but for its name: who made it and when, what it can do, how well, and the five dimensions."""
    objective, representation = card.objective, card.representation
    hold = ", notes held" if representation.hold else ""
    rows = (
        ("Can", ", ".join(card.tasks)),
        ("Good at", card.strengths),
        ("Not good at", card.weaknesses),
        ("Measured", card.figure),
        ("Needs", card.listens),
        ("Objective", f"{objective.type}, for {objective.destination}, {objective.mode}"),
        (
            "Representation",
            f"{representation.name.replace('_', ' ')}: {representation.encoding}, "
            f"{representation.steps_per_beat} steps a beat{hold}",
        ),
        ("Architecture", card.architecture),
        ("Challenges", ", ".join(card.challenges)),
        ("Strategy", ", ".join(card.strategy)),
    )
    dim, text = theme.COLOURS["text_dim"], theme.COLOURS["text"]
    made = card.source if str(card.year) in card.source else f"{card.source}, {card.year}"
    told = "".join(
        f'<p style="margin:0 0 4px 0"><span style="color:{dim}">{escape(name)}:</span> '
        f'<span style="color:{text}">{escape(value)}</span></p>'
        for name, value in rows
        if value
    )
    return f'<p style="margin:0 0 4px 0">{escape(made)}</p>{told}'


class CardModel(QAbstractListModel):
    """The cards that are looked for."""

    def __init__(self, cards: Sequence[Card]) -> None:
        super().__init__()
        self.all, self.shown = tuple(cards), list(cards)

    def show(self, wanted: Wanted) -> None:
        """Show the cards that are meant."""
        self.beginResetModel()
        self.shown = [c for c in self.all if wanted.finds(c)]
        self.endResetModel()

    def row(self, card: Card | None) -> int:
        """Where a card is, −1 when it is not shown."""
        return next((i for i, c in enumerate(self.shown) if c is card), -1)

    def rowCount(self, parent: Index | None = None) -> int:
        return len(self.shown)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        card = self.shown[index.row()]
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.AccessibleTextRole):
            return card.name
        if role == Qt.ItemDataRole.ToolTipRole:
            return about(card)
        if role == Qt.ItemDataRole.UserRole:
            return card
        return None


class CardDelegate(QStyledItemDelegate):
    """A system in one line: its name, what it makes, its year."""

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
        text = rect.adjusted(9, 0, -8, 0)
        left, middle = Qt.AlignmentFlag.AlignLeft, Qt.AlignmentFlag.AlignVCenter
        painter.setFont(option.font)
        metrics = painter.fontMetrics()
        painter.setPen(theme.colour("text" if chosen else "text_dim"))
        if card.year:
            painter.drawText(text, Qt.AlignmentFlag.AlignRight | middle, str(card.year))
            text.setRight(text.right() - metrics.horizontalAdvance(str(card.year)) - 9)
        font = QFont(option.font)
        font.setWeight(QFont.Weight.DemiBold)
        painter.setFont(font)
        painter.setPen(theme.colour("selected" if chosen else "text"))
        elide = Qt.TextElideMode.ElideRight
        name = painter.fontMetrics().elidedText(card.name, elide, text.width())
        painter.drawText(text, left | middle, name)
        text.setLeft(text.left() + painter.fontMetrics().horizontalAdvance(name) + 8)
        painter.setFont(option.font)
        painter.setPen(theme.colour("text" if chosen else "text_dim"))
        line = metrics.elidedText(card.objective.type, elide, text.width())
        if len(line) > 3:
            painter.drawText(text, Qt.AlignmentFlag.AlignRight | middle, line)
        painter.restore()


class CardList(QListView):
    """The list; says so where nothing is found."""

    def __init__(self, model: CardModel) -> None:
        super().__init__()
        self.setObjectName("systems")
        self.setAccessibleName("systems")
        self.setModel(model)
        self.setItemDelegate(CardDelegate(self))
        self.setMouseTracking(True)
        self.setUniformItemSizes(True)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        model.modelReset.connect(self._fit)
        self.setMinimumHeight(ROW_PX * min(max(len(model.all), 1), SHORTEST_ROWS) + 4)
        self._fit()

    def _fit(self) -> None:
        rows = max(self.model().rowCount(), 1)
        self.setMaximumHeight(max(ROW_PX * min(rows, LONGEST_ROWS) + 4, self.minimumHeight()))

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if not self.model().rowCount():
            painter = QPainter(self.viewport())
            painter.setPen(theme.colour("text_dim"))
            centre = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(self.viewport().rect(), centre, "No system is like that.")


class FilterPopup(QFrame):
    """Every value of every dimension with a check mark, and how many systems it would show.

    `toggled(Facet)` says which one was clicked, `cleared` that none is wanted any more.
    """

    toggled = Signal(object)
    cleared = Signal()

    def __init__(self, cards: Sequence[Card], parent: QWidget) -> None:
        super().__init__(parent, Qt.WindowType.Popup)
        self.setObjectName("filters")
        self.setAccessibleName("filters")
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self.boxes: dict[Facet, QCheckBox] = {}
        grid = QGridLayout(self)
        grid.setContentsMargins(14, 10, 14, 10)
        grid.setHorizontalSpacing(22)
        grid.setVerticalSpacing(10)
        for i, (name, found) in enumerate(facets.offered(cards).items()):
            column = QVBoxLayout()
            column.setSpacing(3)
            title = label(name.capitalize(), "title")
            title.setToolTip(facets.DIMENSIONS[name])
            column.addWidget(title)
            for facet in found:
                column.addWidget(self._box(facet))
            column.addStretch(1)
            grid.addLayout(column, i // COLUMNS, i % COLUMNS)
        self.found = label("", "dim")
        self.clear = button("Clear", "clear_in_filters", "Show all systems")
        self.clear.clicked.connect(self.cleared)
        foot = QHBoxLayout()
        foot.addWidget(self.found, 1)
        foot.addWidget(self.clear)
        grid.addLayout(foot, 2, 0, 1, COLUMNS)

    def _box(self, facet: Facet) -> QCheckBox:
        box = QCheckBox(facet.value)
        box.setObjectName(f"filter_{facet.dimension}_{facet.value}")
        box.setToolTip(facets.about(facet))
        box.clicked.connect(lambda _=False, f=facet: self.toggled.emit(f))
        self.boxes[facet] = box
        return box

    def show_state(self, wanted: Wanted, cards: Sequence[Card], shown: int) -> None:
        """Tick what is wanted, count, and grey out what would show nothing."""
        counts = wanted.counts(cards)
        for facet, box in self.boxes.items():
            many = counts[facet]
            box.setText(f"{facet.value}  {many}")
            systems = "system" if many == 1 else "systems"
            box.setAccessibleName(f"{facet.dimension}: {facet.value}, {many} {systems}")
            box.setChecked(facet in wanted.chosen)
            box.setEnabled(many > 0 or facet in wanted.chosen)
        self.found.setText(f"{shown} of {len(cards)} systems")
        self.clear.setEnabled(bool(wanted.chosen or wanted.text))

    def open_beside(self, panel: QWidget) -> None:
        """Open at the left of a panel, which stays in sight, moved to where the screen has room."""
        self.adjustSize()
        screen = panel.screen().availableGeometry()
        at = panel.mapToGlobal(QPoint(-self.width() - GAP_PX, 0))
        x = min(max(at.x(), screen.left()), screen.right() - self.width())
        y = min(max(at.y(), screen.top()), screen.bottom() - self.height())
        self.move(x, y)
        self.show()
        next((box for box in self.boxes.values() if box.isEnabled()), self.clear).setFocus(
            Qt.FocusReason.PopupFocusReason
        )


class SystemBrowser(QWidget):
    """Search field, filters and list. `chosen(Card)` follows the choice, which a filter changes only when it
    leaves the chosen system out; then the first of what it shows is chosen."""

    chosen = Signal(object)

    def __init__(self, cards: Sequence[Card]) -> None:
        super().__init__()
        self.wanted = Wanted()
        self.card: Card | None = None
        self.model = CardModel(cards)
        self.list = CardList(self.model)
        self.search = QLineEdit()
        self.search.setObjectName("search_systems")
        self.search.setPlaceholderText("Search systems")
        self.search.setAccessibleName("search systems")
        self.search.setToolTip("Words from anywhere on a card: a name, a year, what it is good at")
        self.search.setClearButtonEnabled(True)
        self.filter_button = button(
            "Filter", "filter_systems", "Choose by task, objective, architecture …"
        )
        self.popup = FilterPopup(self.model.all, self)
        top = QHBoxLayout()
        top.setSpacing(6)
        top.addWidget(self.search, 1)
        top.addWidget(self.filter_button)
        for widget in (self.search, self.filter_button):
            widget.setVisible(len(cards) >= SEARCH_FROM)
        self.chips = QWidget()
        self._flow = Flow(self.chips)
        self.chips.hide()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        column.addLayout(top)
        column.addWidget(self.chips)
        column.addWidget(self.list, 1)
        down = QShortcut(QKeySequence(Qt.Key.Key_Down), self.search, self.list.setFocus)
        down.setContext(Qt.ShortcutContext.WidgetShortcut)
        self.search.textChanged.connect(
            lambda text: self.look_for(Wanted(text, self.wanted.chosen))
        )
        self.filter_button.clicked.connect(lambda: self.popup.open_beside(self))
        self.popup.toggled.connect(self.toggle)
        self.popup.cleared.connect(self.clear)
        self.list.selectionModel().currentChanged.connect(self._current)
        self.popup.show_state(self.wanted, self.model.all, len(self.model.shown))

    def choose(self, system_id: str) -> bool:
        """Choose a system as a click would; one that is filtered away brings all back. False when there is
        none of that id."""
        card = next((c for c in self.model.all if c.id == system_id), None)
        if card is None:
            return False
        if self.model.row(card) < 0:
            self.clear()
        self.list.setCurrentIndex(self.model.index(self.model.row(card)))
        return True

    def toggle(self, facet: Facet) -> None:
        """Want one value more, or no longer."""
        self.look_for(self.wanted.toggled(facet))

    def clear(self) -> None:
        """Show all systems."""
        self.look_for(Wanted())

    def look_for(self, wanted: Wanted) -> None:
        """Show what is wanted."""
        self.wanted = wanted
        if self.search.text() != wanted.text:
            self.search.setText(wanted.text)  # which comes back here
            return
        self.model.show(wanted)
        row = max(self.model.row(self.card), 0)
        if self.model.shown:
            self.list.setCurrentIndex(self.model.index(row))
        self.popup.show_state(wanted, self.model.all, len(self.model.shown))
        self._show_chips()

    def _show_chips(self) -> None:
        order = list(facets.DIMENSIONS)
        chosen = sorted(self.wanted.chosen, key=lambda f: (order.index(f.dimension), f.value))
        focused = self.chips.isAncestorOf(self.focusWidget()) if self.focusWidget() else False
        while (item := self._flow.takeAt(0)) is not None:
            if (old := item.widget()) is not None:
                old.hide()
                old.deleteLater()
        for facet in chosen:
            chip = self._chip(f"{facet.value} ×", f"chip_{facet.dimension}_{facet.value}")
            chip.setToolTip(f"{facet.dimension.capitalize()}; click to take the filter away")
            chip.setAccessibleName(f"remove filter {facet.dimension}: {facet.value}")
            chip.clicked.connect(lambda _=False, f=facet: self.toggle(f))
        if chosen:
            clear = self._chip("Clear", "clear_filters")
            clear.setToolTip("Show all systems")
            clear.clicked.connect(self.clear)
        self.chips.setVisible(bool(chosen))
        self.chips.updateGeometry()
        self.filter_button.setText(f"Filter {len(chosen)}" if chosen else "Filter")
        if focused:
            self.filter_button.setFocus()

    def _chip(self, text: str, name: str) -> QPushButton:
        chip = button(text, name, "")
        mark(chip, "chip")
        chip.setParent(self.chips)
        self._flow.addWidget(chip)
        chip.show()
        return chip

    def _current(self, index: QModelIndex) -> None:
        card = index.data(Qt.ItemDataRole.UserRole) if index.isValid() else None
        if card is not None and card is not self.card:
            self.card = card
            self.chosen.emit(card)


class AboutCard(QScrollArea):
    """A system's card, to read."""

    def __init__(self) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setAccessibleName("about the system")
        self.text = QLabel()
        self.text.setObjectName("about")
        self.text.setTextFormat(Qt.TextFormat.RichText)
        self.text.setWordWrap(True)
        self.text.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.text.setContentsMargins(0, 2, 6, 2)
        self.setWidget(self.text)

    def show_card(self, card: Card) -> None:
        """Show another card, from its beginning."""
        self.text.setText(portrait(card))
        self.verticalScrollBar().setValue(0)

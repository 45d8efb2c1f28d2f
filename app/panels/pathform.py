"""What a path is to be: the system, the way, its ends and how many steps, and the button that makes it."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtWidgets import QComboBox, QGridLayout, QProgressBar, QSpinBox, QWidget

from app.panels.common import USUAL_CODER, button, mark, spin_text
from models.card import Card, Value

LANES = (("Spherical", "spherical"), ("Linear", "linear"))
ENDS = (("Exact ends", "exact"), ("Decoded ends", "decoded"))


def choice(rows: Sequence[tuple[str, str]], tip: str) -> QComboBox:
    """A list to pick from: what it says, and what that means."""
    made = QComboBox()
    for text, data in rows:
        made.addItem(text, data)
    made.setToolTip(tip)
    made.setAccessibleName(tip)
    made.setMinimumWidth(64)
    return made


class PathForm(QWidget):
    """Asks what the path is to be. `make_button` and `stop_button` are for the panel to connect."""

    def __init__(self, cards: Sequence[Card]) -> None:
        super().__init__()
        self._cards = tuple(cards)
        self.system = choice(
            [(c.name, c.id) for c in self._cards], "The system that makes the path"
        )
        self.system.setCurrentIndex(max(self.system.findData(USUAL_CODER), 0))
        self.lane = choice(LANES, "How to go from one code to the other")
        self.ends = choice(
            ENDS, "Begin and end with A and B note for note, or as the system decodes them"
        )
        self.count = QSpinBox()
        self.count.setRange(3, 32)
        self.count.setValue(10)
        self.count.setSuffix(" steps")
        spin_text(self.count)
        self.count.setObjectName("path_steps")
        self.count.setToolTip("How many phrases the path has, A and B included")
        self.make_button = button("Make path", "make_path", "Lead from A to B (Ctrl+P)")
        mark(self.make_button, "primary")
        self.stop_button = button("Stop", "stop_path", "Stop; what is there stays (Esc)")
        self.progress = QProgressBar()
        self.progress.setRange(0, 1000)
        self.progress.setTextVisible(False)
        self.progress.setFixedHeight(3)
        still = self.progress.sizePolicy()
        still.setRetainSizeWhenHidden(True)
        self.progress.setSizePolicy(still)
        settings = QGridLayout(self)
        settings.setContentsMargins(0, 0, 0, 0)
        settings.setSpacing(5)
        settings.addWidget(self.system, 0, 0, 1, 2)
        settings.addWidget(self.make_button, 0, 2)
        settings.addWidget(self.stop_button, 0, 2)
        settings.addWidget(self.lane, 1, 0)
        settings.addWidget(self.ends, 1, 1)
        settings.addWidget(self.count, 1, 2)
        settings.addWidget(self.progress, 2, 0, 1, 3)
        self.show_work(None)

    @property
    def card(self) -> Card | None:
        """The system chosen, None when there is none."""
        return next((c for c in self._cards if c.id == self.system.currentData()), None)

    def values(self) -> dict[str, Value]:
        """The parameters that the chosen system takes."""
        known = {p.name for p in self.card.params} if self.card is not None else set()
        said: dict[str, Value] = {
            "steps": self.count.value(),
            "path": self.lane.currentData(),
            "ends": self.ends.currentData(),
        }
        return {name: value for name, value in said.items() if name in known}

    def show_work(self, fraction: float | None) -> None:
        """Show that a path is being made, and how far it is, or (None) that none is."""
        self.make_button.setVisible(fraction is None)
        self.stop_button.setVisible(fraction is not None)
        self.progress.setVisible(fraction is not None)
        if fraction is not None:
            self.progress.setValue(round(fraction * self.progress.maximum()))

"""Devices: which output every voice plays on, MIDI clock, panic."""

from __future__ import annotations

from PySide6.QtCore import QSignalBlocker, Qt
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QGridLayout,
    QHBoxLayout,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from app.panels.common import button, label, mark
from app.player import VIRTUAL, Player, port_title
from app.session import Session
from engine import edits
from models.score import Score

SEVERAL = "Several"


def with_port(score: Score, port: str) -> Score:
    """`score` with every track on that output."""
    for track in score.tracks:
        score = edits.set_track(score, track.id, port=port)
    return score


class DevicesDialog(QDialog):
    """Chooses outputs: of all voices together, or of each."""

    def __init__(self, session: Session, player: Player, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session, self._player = session, player
        self.setWindowTitle("Devices")
        self.setMinimumWidth(460)
        self.all = QComboBox()
        self.all.setObjectName("port_all")
        self.all.activated.connect(self._set_all)
        self._grid_holder = QWidget()
        self._grid = QGridLayout(self._grid_holder)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setColumnStretch(1, 1)
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setWidget(self._grid_holder)
        self.clock = QCheckBox("Send MIDI clock to external outputs")
        self.clock.toggled.connect(player.send_clock)
        panic = button("Silence everything", "panic", "All notes off on every port (Ctrl+.)")
        mark(panic, "danger")
        panic.clicked.connect(player.panic)
        self.input = QComboBox()
        self.input.setToolTip("What you play on it sounds as the active voice does")
        self.input.activated.connect(lambda i: player.listen(self.input.itemData(i)))

        top = QHBoxLayout()
        top.addWidget(label("All voices play on", "title"))
        top.addWidget(self.all, 1)
        listening = QHBoxLayout()
        listening.addWidget(label("Listen to", "title"))
        listening.addWidget(self.input, 1)
        bottom = QHBoxLayout()
        bottom.addWidget(self.clock)
        bottom.addStretch(1)
        bottom.addWidget(panic)
        closing = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        closing.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.setSpacing(12)
        layout.addLayout(top)
        layout.addWidget(scroll, 1)
        layout.addLayout(listening)
        layout.addLayout(bottom)
        layout.addWidget(closing)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose, False)
        player.ports_changed.connect(self.refresh)
        session.changed.connect(self.refresh)
        self.refresh()

    def ports(self) -> list[str]:
        """Every output there is to choose, those in use but missing included."""
        used = [t.port for t in self.session.score.tracks]
        return list(dict.fromkeys(["", *self._player.outputs, VIRTUAL, *used]))

    def refresh(self) -> None:
        """Show ports and tracks as they are now."""
        ports, tracks = self.ports(), self.session.score.tracks
        used = {t.port for t in tracks}
        self._fill(self.all, ports, next(iter(used)) if len(used) == 1 else None)
        while self._grid.count() > 2 * len(tracks):
            item = self._grid.takeAt(self._grid.count() - 1)
            if item is not None and (widget := item.widget()) is not None:
                widget.deleteLater()
        for row, track in enumerate(tracks):
            item = self._grid.itemAtPosition(row, 1)
            combo = item.widget() if item is not None else None
            if not isinstance(combo, QComboBox):
                combo = QComboBox()
                combo.activated.connect(lambda i, r=row, c=combo: self._set(r, c.itemData(i)))
                self._grid.addWidget(label("", "dim"), row, 0)
                self._grid.addWidget(combo, row, 1)
            name = self._grid.itemAtPosition(row, 0)
            if name is not None and (text := name.widget()) is not None:
                text.setProperty("text", track.name or f"Track {row + 1}")
            combo.setObjectName(f"port_{track.id}")
            self._fill(combo, ports, track.port)
        chosen = str(self.input.currentData() or "")
        with QSignalBlocker(self.input):
            self.input.clear()
            for port in dict.fromkeys(["", *self._player.inputs, chosen]):
                self.input.addItem(port or "No MIDI keyboard", port)
            self.input.setCurrentIndex(self.input.findData(chosen))

    def _fill(self, combo: QComboBox, ports: list[str], chosen: str | None) -> None:
        with QSignalBlocker(combo):
            combo.clear()
            for port in ports:
                combo.addItem(port_title(port), port)
            if chosen is None:
                combo.setPlaceholderText(SEVERAL)
                combo.setCurrentIndex(-1)
            else:
                combo.setCurrentIndex(ports.index(chosen))

    def _set(self, row: int, port: str) -> None:
        score = self.session.document.score
        track = score.tracks[row]
        self.session.commit("Change output", edits.set_track(score, track.id, port=port))

    def _set_all(self, index: int) -> None:
        port = self.all.itemData(index)
        self.session.commit("Change outputs", with_port(self.session.document.score, port))

"""Devices: which output every voice plays on and when, the inputs, whose clock rules, panic."""

from __future__ import annotations

from PySide6.QtCore import QSignalBlocker, Qt
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QGridLayout,
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QScrollArea,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from app.panels.common import button, label, mark, spin_text
from app.player import VIRTUAL, Player, port_text
from app.rig import OWN_INPUT, Rig, source_title
from app.session import Session
from engine import edits
from models.score import Score, Track

SEVERAL = "Several"
MOST_MS = 200
CHANNELS = 16
INPUTS_PX = 84


def with_port(score: Score, port: str) -> Score:
    """`score` with every track on that output."""
    for track in score.tracks:
        score = edits.set_track(score, track.id, port=port)
    return score


class _Row:
    """Where one track plays: its name, output, channel and offset."""

    def __init__(self) -> None:
        self.name, self.port = label("", "dim"), QComboBox()
        self.channel, self.offset = QSpinBox(), QSpinBox()
        self.channel.setRange(1, CHANNELS)
        self.channel.setToolTip("MIDI channel (10: drums)")
        self.offset.setRange(-MOST_MS, MOST_MS)
        self.offset.setSuffix(" ms")
        self.offset.setToolTip("How much later than the score says it plays; below 0, earlier")
        for spin in (self.channel, self.offset):
            spin.setKeyboardTracking(False)
            spin_text(spin)
        self.channel.setFixedWidth(56)
        self.offset.setFixedWidth(82)

    def widgets(self) -> tuple[QWidget, ...]:
        return self.name, self.port, self.channel, self.offset

    def show(self, track: Track, number: int) -> None:
        title = track.name or f"Track {number}"
        self.name.setText(title)
        for widget, what, value in (
            (self.channel, "channel", track.channel + 1),
            (self.offset, "offset", track.offset),
        ):
            widget.setAccessibleName(f"{what} of {title}")
            widget.setObjectName(f"{what}_{track.id}")
            with QSignalBlocker(widget):
                widget.setValue(value)
        self.port.setAccessibleName(f"output of {title}")
        self.port.setObjectName(f"port_{track.id}")


class DevicesDialog(QDialog):
    """Chooses outputs, of all voices together or of each; inputs; and the clock."""

    def __init__(
        self, session: Session, player: Player, rig: Rig, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.session, self._player, self._rig = session, player, rig
        self.setWindowTitle("Devices")
        self.setMinimumWidth(560)
        self.all = QComboBox()
        self.all.setObjectName("port_all")
        self.all.activated.connect(self._set_all)
        holder = QWidget()
        self._grid = QGridLayout(holder)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setColumnStretch(1, 1)
        for column, title in ((2, "channel"), (3, "offset")):
            self._grid.addWidget(label(title, "dim"), 0, column)
        self._rows: list[_Row] = []
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setWidget(holder)
        self.inputs = QListWidget()
        self.inputs.setObjectName("inputs")
        self.inputs.setAccessibleName("MIDI inputs to listen to")
        self.inputs.setToolTip("What you play on these is heard, and always recorded")
        self.inputs.setFixedHeight(INPUTS_PX)
        self.inputs.itemChanged.connect(self._listen)
        self.thru = QCheckBox("What I play sounds as the active voice does")
        self.thru.toggled.connect(rig.set_thru)
        self.clock = QCheckBox("Send MIDI clock to external outputs")
        self.clock.toggled.connect(rig.set_clock)
        self.follow = QComboBox()
        self.follow.setObjectName("follow")
        self.follow.setAccessibleName("whose time to follow")
        self.follow.activated.connect(lambda i: rig.set_follow(self.follow.itemData(i)))
        self.sync = label("", "dim")
        self.sync.setMinimumWidth(150)
        panic = button("Silence everything", "panic", "All notes off on every port (Ctrl+.)")
        mark(panic, "danger")
        panic.clicked.connect(player.panic)

        top = QHBoxLayout()
        top.addWidget(label("All voices play on", "title"))
        top.addWidget(self.all, 1)
        timing = QHBoxLayout()
        timing.addWidget(label("Time", "title"))
        timing.addWidget(self.follow, 1)
        timing.addWidget(self.sync)
        bottom = QHBoxLayout()
        bottom.addWidget(self.clock)
        bottom.addStretch(1)
        bottom.addWidget(panic)
        closing = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        closing.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.setSpacing(10)
        layout.addLayout(top)
        layout.addWidget(scroll, 1)
        layout.addWidget(label("Listen to", "title"))
        layout.addWidget(self.inputs)
        layout.addWidget(self.thru)
        layout.addLayout(timing)
        layout.addLayout(bottom)
        layout.addWidget(closing)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose, False)
        player.ports_changed.connect(self.refresh)
        session.changed.connect(self.refresh)
        rig.changed.connect(self.refresh)
        self.refresh()

    def ports(self) -> list[str]:
        """Every output there is to choose, those in use but missing included."""
        used = [t.port for t in self.session.score.tracks]
        return list(dict.fromkeys(["", *self._player.outputs, VIRTUAL, *used]))

    def refresh(self) -> None:
        """Show ports, tracks and clock as they are now."""
        ports, tracks = self.ports(), self.session.score.tracks
        used = {t.port for t in tracks}
        self._fill(self.all, ports, next(iter(used)) if len(used) == 1 else None)
        while len(self._rows) > len(tracks):
            for widget in self._rows.pop().widgets():
                self._grid.removeWidget(widget)
                widget.deleteLater()
        while len(self._rows) < len(tracks):
            self._add_row()
        for number, (row, track) in enumerate(zip(self._rows, tracks, strict=True), 1):
            row.show(track, number)
            self._fill(row.port, ports, track.port)
        self._show_rig()

    def _add_row(self) -> None:
        row, k = _Row(), len(self._rows)
        row.port.activated.connect(lambda i: self._set(k, "output", port=row.port.itemData(i)))
        row.channel.valueChanged.connect(lambda v: self._set(k, "channel", channel=v - 1))
        row.offset.valueChanged.connect(lambda v: self._set(k, "offset", offset=v))
        for column, widget in enumerate(row.widgets()):
            self._grid.addWidget(widget, k + 1, column)
        self._rows.append(row)

    def _show_rig(self) -> None:
        rig, there = self._rig, self._player.inputs
        with QSignalBlocker(self.inputs):
            chosen = self.inputs.currentRow()
            self.inputs.clear()
            for name in dict.fromkeys((*there, *rig.inputs, OWN_INPUT)):
                item = QListWidgetItem(port_text(name, there), self.inputs)
                item.setData(Qt.ItemDataRole.UserRole, name)
                item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
                on = name in rig.inputs
                item.setCheckState(Qt.CheckState.Checked if on else Qt.CheckState.Unchecked)
            self.inputs.setCurrentRow(chosen)
        for box, on in ((self.thru, rig.thru), (self.clock, rig.clock)):
            with QSignalBlocker(box):
                box.setChecked(on)
        with QSignalBlocker(self.follow):
            self.follow.clear()
            for source in rig.sources():
                self.follow.addItem(source_title(source), source)
            self.follow.setCurrentIndex(self.follow.findData(rig.follow))
        self.sync.setText(rig.sync_text())

    def _listen(self, _item: QListWidgetItem) -> None:
        items = (self.inputs.item(i) for i in range(self.inputs.count()))
        self._rig.listen(
            tuple(
                i.data(Qt.ItemDataRole.UserRole)
                for i in items
                if i.checkState() == Qt.CheckState.Checked
            )
        )

    def _fill(self, combo: QComboBox, ports: list[str], chosen: str | None) -> None:
        with QSignalBlocker(combo):
            combo.clear()
            for port in ports:
                combo.addItem(port_text(port, self._player.outputs), port)
            if chosen is None:
                combo.setPlaceholderText(SEVERAL)
                combo.setCurrentIndex(-1)
            else:
                combo.setCurrentIndex(ports.index(chosen))

    def _set(self, row: int, what: str, **changes: object) -> None:
        score = self.session.document.score
        track = score.tracks[row]
        self.session.commit(f"Change {what}", edits.set_track(score, track.id, **changes))

    def _set_all(self, index: int) -> None:
        port = self.all.itemData(index)
        self.session.commit("Change outputs", with_port(self.session.document.score, port))

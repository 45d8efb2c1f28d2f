"""The track headers: how each voice is called, sounds, and whether generation may change it."""

from __future__ import annotations

from PySide6.QtCore import QPoint, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QAction,
    QColor,
    QContextMenuEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
)
from PySide6.QtWidgets import (
    QApplication,
    QCheckBox,
    QComboBox,
    QFrame,
    QHBoxLayout,
    QLineEdit,
    QMenu,
    QScrollArea,
    QSizePolicy,
    QSlider,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from app import icons, theme
from app.panels.common import header, tool
from app.session import Session
from engine import edits
from engine.document import Change
from models.score import Track

DRUM_CHANNEL = 9

INSTRUMENTS: tuple[tuple[str, int], ...] = (
    ("Piano", 0),
    ("Harpsichord", 6),
    ("Organ", 19),
    ("Guitar", 24),
    ("Bass", 32),
    ("Strings", 48),
    ("Choir", 52),
    ("Trumpet", 56),
    ("Oboe", 68),
    ("Clarinet", 71),
    ("Flute", 73),
)
"""Names offered for General MIDI programs, counted from 0; others are shown by number."""


class _Switch(QToolButton):
    """A lettered switch of a header."""

    def __init__(self, letter: str, name: str, tip: str, colour: str) -> None:
        super().__init__()
        self.setText(letter)
        self.setObjectName(name)
        self.setAccessibleName(name)
        self.setToolTip(tip)
        self.setCheckable(True)
        self.setFixedSize(24, 22)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        shade = theme.COLOURS[colour]
        self.setStyleSheet(
            "QToolButton { padding: 0; font-weight: 600; }"
            f"QToolButton:checked {{ background: {shade}; border-color: {shade};"
            f" color: {theme.COLOURS['ink']}; }}"
        )


class Tick(QCheckBox):
    """The tick "may change", filled with the voice's colour when it is set."""

    SIDE = 16

    def __init__(self) -> None:
        super().__init__()
        self.colour = theme.colour("accent")
        self.setFixedSize(self.SIDE + 6, self.SIDE + 6)

    def hitButton(self, at: QPoint) -> bool:
        return self.rect().contains(at)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        box = QRectF(3.5, 3.5, self.SIDE - 1, self.SIDE - 1)
        painter.setBrush(self.colour if self.isChecked() else theme.colour("field"))
        lit = self.hasFocus() or self.underMouse()
        edge = theme.colour("text" if lit else "text_faint")
        painter.setPen(QPen(edge if lit or not self.isChecked() else self.colour, 1.2))
        painter.drawRoundedRect(box, 4, 4)
        if self.isChecked():
            icons.icon("keep", theme.colour("ink")).paint(painter, box.toAlignedRect())


class TrackHeader(QFrame):
    """One track: a tick (may change), its name, mute, solo, lock, instrument and volume."""

    pressed = Signal(int)
    dragged = Signal(int)

    def __init__(self, session: Session, track_id: int, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session, self.track_id = session, track_id
        self._colour = QColor()
        self._active = False
        self._pressed_at: QPoint | None = None
        self.setObjectName(f"track_{track_id}")
        self.setToolTip("Click: new notes go here. Drag into a DAW: this track as a MIDI file")
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)

        self.tick = Tick()
        self.tick.setToolTip("This voice may change: generation writes into it")
        self.tick.toggled.connect(self._ticked)
        self.name = QLineEdit()
        self.name.setFrame(False)
        self.name.setStyleSheet(
            "QLineEdit { background: transparent; border: 1px solid transparent; font-weight: 600;"
            " padding: 1px 3px; }"
            f"QLineEdit:focus {{ background: {theme.COLOURS['field']};"
            f" border-color: {theme.COLOURS['accent']}; }}"
        )
        self.name.setToolTip("The track's name")
        self.name.editingFinished.connect(self._rename)
        self.mute = _Switch("M", "mute", "Mute this track", "warning")
        self.mute.toggled.connect(lambda on: self._set("Mute" if on else "Unmute", muted=on))
        self.solo = _Switch("S", "solo", "Hear only the tracks set to solo", "good")
        self.solo.toggled.connect(lambda on: self._set("Solo" if on else "End solo", soloed=on))
        self.lock = tool("lock", "lock", "Lock all notes of this track against generation", side=13)
        self.lock.setCheckable(True)
        self.lock.setFixedSize(24, 22)
        self.lock.toggled.connect(self._lock_all)
        self.program = QComboBox()
        self.program.setToolTip("The instrument that plays this track")
        self.program.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        for instrument, number in INSTRUMENTS:
            self.program.addItem(instrument, number)
        self.program.activated.connect(
            lambda i: self._set("Change instrument", program=self.program.itemData(i))
        )
        self.volume = QSlider(Qt.Orientation.Horizontal)
        self.volume.setRange(0, 127)
        self.volume.setFixedWidth(72)
        self.volume.setToolTip("Volume")
        self.volume.valueChanged.connect(self._volume)
        self.volume.sliderReleased.connect(self._volume_done)

        top, bottom = QHBoxLayout(), QHBoxLayout()
        top.setSpacing(4)
        bottom.setSpacing(6)
        for widget in (self.tick, self.name, self.mute, self.solo, self.lock):
            top.addWidget(widget, 1 if widget is self.name else 0)
        bottom.addWidget(self.program, 1)
        bottom.addWidget(self.volume)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(12, 6, 8, 7)
        layout.setSpacing(5)
        layout.addLayout(top)
        layout.addLayout(bottom)

    def show_track(self, track: Track, index: int, ticked: bool, active: bool) -> None:
        """Show what the track is now; tells nobody."""
        self._colour, self._active = theme.voice(index), active
        self.tick.colour = self._colour
        widgets = (self.tick, self.mute, self.solo, self.lock, self.program, self.volume)
        for widget in widgets:
            widget.blockSignals(True)
        self.tick.setChecked(ticked)
        self.mute.setChecked(track.muted)
        self.solo.setChecked(track.soloed)
        self.lock.setChecked(bool(len(track.notes)) and bool(track.notes.locked.all()))
        self.lock.setEnabled(bool(len(track.notes)))
        drums = track.channel == DRUM_CHANNEL
        at = self.program.findData(track.program)
        if drums or at < 0:
            text = "Drums" if drums else f"Program {track.program + 1}"
            if (at := self.program.findText(text)) < 0:
                self.program.addItem(text, track.program)
                at = self.program.count() - 1
        self.program.setCurrentIndex(at)
        if not self.volume.isSliderDown():
            self.volume.setValue(track.volume)
        for widget in widgets:
            widget.blockSignals(False)
        if not self.name.hasFocus():
            self.name.setText(track.name)
            self.name.setCursorPosition(0)  # of a long name the beginning is seen
            self.name.setPlaceholderText(f"Track {index + 1}")
        self.name.setAccessibleName(f"name of track {index + 1}")
        self.tick.setAccessibleName(f"{track.name} may change")
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(228, super().sizeHint().height())

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        ground = theme.colour("raised" if self._active else "panel")
        painter.fillRect(self.rect(), ground)
        painter.fillRect(0, 0, 5 if self._active else 3, self.height() - 1, self._colour)
        painter.fillRect(0, self.height() - 1, self.width(), 1, theme.colour("window"))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self.pressed.emit(self.track_id)
        left = event.button() == Qt.MouseButton.LeftButton
        self._pressed_at = event.position().toPoint() if left else None

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self._pressed_at is None:
            return
        way = (event.position().toPoint() - self._pressed_at).manhattanLength()
        if way >= QApplication.startDragDistance():
            self._pressed_at = None
            self.dragged.emit(self.track_id)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self._pressed_at = None

    def _set(self, label_text: str, **changes: object) -> None:
        score = self.session.document.score
        self.session.commit(label_text, edits.set_track(score, self.track_id, **changes))

    def _ticked(self, on: bool) -> None:
        ticked = self.session.ticked
        self.session.set_ticked(ticked | {self.track_id} if on else ticked - {self.track_id})

    def _rename(self) -> None:
        if self.name.text() != self.session.document.score.track(self.track_id).name:
            self._set("Rename track", name=self.name.text())
        self.name.clearFocus()
        self.name.setCursorPosition(0)

    def _lock_all(self, on: bool) -> None:
        score = self.session.document.score
        ids = score.track(self.track_id).notes.id
        self.session.commit(
            "Lock track" if on else "Unlock track", edits.set_locked(score, ids, on)
        )

    def _volume(self, value: int) -> None:
        score = self.session.document.score
        changed = edits.set_track(score, self.track_id, volume=value)
        if self.volume.isSliderDown():
            self.session.preview(changed)
        else:
            self.session.commit("Change volume", changed)

    def _volume_done(self) -> None:
        self._set("Change volume", volume=self.volume.value())


class TracksPanel(QWidget):
    """All headers, in score order, and a button to add a track. `drag_out(track id)` asks for a file drag."""

    drag_out = Signal(int)

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = session
        self.headers: dict[int, TrackHeader] = {}
        self._body = QWidget()
        self._rows = QVBoxLayout(self._body)
        self._rows.setContentsMargins(0, 0, 0, 0)
        self._rows.setSpacing(0)
        self._rows.addStretch(1)
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(self._body)
        self.add = tool("add", "add_track", "Add a track (Ctrl+T)", side=14)
        self.header = header("Voices", self.add)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(scroll, 1)
        self.setMinimumWidth(216)

        self.add.clicked.connect(self.add_track)
        session.changed.connect(self._on_change)
        session.region_changed.connect(self.refresh)
        session.active_track_changed.connect(self.refresh)
        self._rebuild()

    def add_track(self) -> None:
        """Put an empty track at the end and make it active."""
        session = self.session
        score = session.document.score
        name = f"Track {len(score.tracks) + 1}"
        if session.commit("Add track", edits.add_track(score, name)):
            session.set_active_track(session.document.score.tracks[-1].id)

    def remove_track(self, track_id: int) -> None:
        """Remove a track with its notes."""
        self.session.commit(
            "Remove track", edits.remove_track(self.session.document.score, track_id)
        )

    def refresh(self) -> None:
        """Show the tracks as they are now."""
        session = self.session
        for index, track in enumerate(session.score.tracks):
            header = self.headers.get(track.id)
            if header is not None:
                header.show_track(
                    track, index, track.id in session.ticked, track.id == session.active_track
                )

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        found = next((h for h in self.headers.values() if h.underMouse()), None)
        if found is None:
            return
        menu = QMenu(self)
        remove = QAction("Remove track", menu)
        remove.triggered.connect(lambda: self.remove_track(found.track_id))
        menu.addAction(remove)
        menu.exec(event.globalPos())

    def _on_change(self, change: Change) -> None:
        if change.structure or {t.id for t in self.session.score.tracks} != set(self.headers):
            self._rebuild()
        elif change.tracks:
            self.refresh()

    def _rebuild(self) -> None:
        tracks = self.session.score.tracks
        for track_id in set(self.headers) - {t.id for t in tracks}:
            header = self.headers.pop(track_id)
            self._rows.removeWidget(header)
            header.deleteLater()
        for index, track in enumerate(tracks):
            if track.id not in self.headers:
                header = TrackHeader(self.session, track.id)
                header.pressed.connect(self.session.set_active_track)
                header.dragged.connect(self.drag_out)
                self.headers[track.id] = header
            self._rows.removeWidget(self.headers[track.id])
            self._rows.insertWidget(index, self.headers[track.id])
        self.refresh()

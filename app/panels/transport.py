"""The transport bar: play, stop, loop, where we are, how fast, the snap grid, and where it sounds."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QSignalBlocker, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QFont, QFontDatabase
from PySide6.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QFrame,
    QHBoxLayout,
    QLabel,
    QSizePolicy,
    QWidget,
)

from app.panels.common import label, spin_text, tool
from app.session import SNAPS, Session
from engine import edits
from engine.document import Change
from models.score import Key, Score
from models.timebase import PPQ, TempoMap

FRAME_MS = 33
MAJOR = ("C♭", "G♭", "D♭", "A♭", "E♭", "B♭", "F", "C", "G", "D", "A", "E", "B", "F♯", "C♯")
MINOR = ("a♭", "e♭", "b♭", "f", "c", "g", "d", "a", "e", "b", "f♯", "c♯", "g♯", "d♯", "a♯")


def position_text(score: Score, tick: int) -> str:
    """Bar, beat (from 1) and thousandths of a beat, e.g. "12 . 3 . 500"; the pickup is bar 0."""
    place = score.meter.position(tick)
    beat_ticks = score.meter.beat_ticks(tick)
    # A pickup holds the last beats of its bar.
    missing = 0
    if place.bar == 0:
        numerator, denominator = score.meter.at(0)
        missing = numerator * 4 * PPQ // denominator - score.meter.pickup
    beat, rest = divmod(place.offset + missing, beat_ticks)
    return f"{place.bar:3d} . {beat + 1} . {rest * 1000 // beat_ticks:03d}"


def clock_text(seconds: float) -> str:
    """Minutes, seconds and tenths, e.g. "0:07.5"."""
    tenths = int(seconds * 10)
    return f"{tenths // 600}:{tenths // 10 % 60:02d}.{tenths % 10}"


def key_text(key: Key | None) -> str:
    """E.g. "G major"; "no key" when the score says none."""
    if key is None or not -7 <= key.sharps <= 7:
        return "no key"
    return (
        f"{MINOR[key.sharps + 7]} minor".capitalize()
        if key.minor
        else f"{MAJOR[key.sharps + 7]} major"
    )


def with_tempo(score: Score, tick: int, bpm: float) -> Score:
    """`score` with `bpm` at `tick`: a score of many tempi is sped up or slowed down as a whole."""
    if len(score.tempo.tick) == 1:
        return edits.set_tempo(score, TempoMap.constant(bpm))
    ratio = score.tempo.bpm(tick) / bpm
    slower = np.rint(score.tempo.us_per_quarter * ratio).astype(np.int64)
    return edits.set_tempo(score, TempoMap(score.tempo.tick, np.maximum(slower, 1)))


class TransportBar(QWidget):
    """Signals `play`, `stop`, `rewind`, `loop(on)` and `devices` ask; the session says what is so."""

    play = Signal()
    stop = Signal()
    rewind = Signal()
    loop = Signal(bool)
    devices = Signal()

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = session
        self._said = ("", "")
        self.rewind_button = tool("rewind", "rewind", "To the beginning (Home)")
        self.play_button = tool("play", "play", "Play or stop (Space)", colour="good", side=22)
        self.play_button.setCheckable(True)
        self.stop_button = tool("stop", "stop", "Stop and return (Shift+Space)")
        self.loop_button = tool("loop", "loop", "Loop the marked bars (L)")
        self.loop_button.setCheckable(True)
        for made in (self.rewind_button, self.play_button, self.stop_button, self.loop_button):
            made.setFixedSize(34, 28)

        mono = QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont)
        mono.setPointSizeF(self.font().pointSizeF() * 1.45)
        mono.setWeight(QFont.Weight.DemiBold)
        self.position = QLabel()
        self.position.setFont(mono)
        self.position.setObjectName("position")
        self.position.setToolTip("Bar . beat . thousandths of the beat")
        self.position.setTextFormat(Qt.TextFormat.PlainText)
        self.time = label("", "dim")
        self.time.setMinimumWidth(52)
        self.time.setToolTip("Minutes and seconds")
        self.meter, self.key = label("", "dim"), label("", "dim")
        self.meter.setToolTip("Metre at the playhead")
        self.key.setToolTip("Key at the playhead")
        self.tempo = QDoubleSpinBox()
        self.tempo.setRange(5, 999)
        self.tempo.setDecimals(1)
        self.tempo.setKeyboardTracking(False)
        spin_text(self.tempo)
        self.tempo.setFixedWidth(70)
        self.tempo.setAlignment(Qt.AlignmentFlag.AlignRight)
        self.tempo.setToolTip("Tempo in quarter notes a minute")
        self.tempo.setAccessibleName("tempo")
        self.followed = label("", "dim")
        self.followed.setObjectName("followed")
        self.followed.setToolTip("The tempo that is followed instead (Ctrl+,)")
        self.followed.hide()
        self.snap = QComboBox()
        self.snap.setToolTip("The grid that notes snap to (Alt: not at all)")
        self.snap.setAccessibleName("snap")
        for name, ticks in SNAPS:
            self.snap.addItem(name, ticks)
        self.port = tool("hear", "devices", "Where it sounds: ports and devices (Ctrl+,)", side=16)
        self.port.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.port.setIconSize(QSize(16, 16))
        self.show_port("Built-in synth")

        row = QHBoxLayout(self)
        row.setContentsMargins(4, 0, 4, 0)
        row.setSpacing(5)
        for widget in (
            self.rewind_button,
            self.play_button,
            self.stop_button,
            self.loop_button,
            _gap(),
            self.position,
            self.time,
            _gap(),
            self.tempo,
            label("bpm", "dim"),
            self.followed,
            _gap(),
            self.meter,
            self.key,
            _gap(),
            label("Snap", "dim"),
            self.snap,
        ):
            row.addWidget(widget)
        row.addStretch(1)
        row.addWidget(self.port)

        self.play_button.clicked.connect(self._play_clicked)
        self.stop_button.clicked.connect(self.stop)
        self.rewind_button.clicked.connect(self.rewind)
        self.loop_button.clicked.connect(self.loop)
        self.port.clicked.connect(self.devices)
        self.tempo.valueChanged.connect(self._tempo_typed)
        self.snap.activated.connect(lambda i: session.set_snap(self.snap.itemData(i)))
        session.playhead_changed.connect(self.refresh)
        session.loop_changed.connect(self.refresh)
        session.snap_changed.connect(self.refresh)
        session.changed.connect(self._on_change)
        self._timer = QTimer(self, interval=FRAME_MS)
        self._timer.timeout.connect(self._tell_position)
        self.refresh()

    def show_port(self, name: str) -> None:
        """Name the output that plays."""
        self.port.setText(name)

    def show_followed(self, text: str) -> None:
        """Say whose tempo rules in place of the score's; nothing for "" (our own)."""
        self.followed.setText(text)
        self.followed.setVisible(bool(text))

    def refresh(self) -> None:
        """Show the state of the transport."""
        session = self.session
        self.play_button.setChecked(session.playing)
        self.loop_button.setChecked(session.loop is not None)
        with QSignalBlocker(self.snap):
            self.snap.setCurrentIndex(self.snap.findData(session.snap))
        if session.playing and not self._timer.isActive():
            self._timer.start()
        elif not session.playing:
            self._timer.stop()
        self._tell_position()

    def _on_change(self, change: Change) -> None:
        if change.tempo or change.meter or change.keys:
            self._said = ("", "")
            self._tell_position()

    def _tell_position(self) -> None:
        score = self.session.heard
        tick = self.session.playhead_tick()
        place = position_text(score, int(tick))
        clock = clock_text(score.tempo.second(tick))
        if (place, clock) == self._said:
            return
        self._said = (place, clock)
        self.position.setText(place)
        self.time.setText(clock)
        numerator, denominator = score.meter.at(tick)
        self.meter.setText(f"{numerator}/{denominator}")
        self.key.setText(key_text(score.key_at(int(tick))))
        if not self.tempo.hasFocus():
            with QSignalBlocker(self.tempo):
                self.tempo.setValue(score.tempo.bpm(tick))

    def _play_clicked(self) -> None:
        self.play_button.setChecked(self.session.playing)
        self.play.emit()

    def _tempo_typed(self, bpm: float) -> None:
        session = self.session
        tick = int(session.playhead_tick())
        session.commit("Change tempo", with_tempo(session.document.score, tick, bpm))


def _gap() -> QFrame:
    line = QFrame()
    line.setFixedSize(10, 20)
    line.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
    return line

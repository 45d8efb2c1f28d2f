"""The Capture panel: the last bars that were played in, as played and quantised, to hear and to keep."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from PySide6.QtCore import QSignalBlocker, Qt, QTimer
from PySide6.QtGui import QHideEvent, QShowEvent
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QPushButton,
    QSlider,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from app.capture import Capture, Version
from app.composer import bars_text
from app.panels.common import Elided, button, label, spin_text
from app.panels.flow import Flow
from app.panels.lanes import Lanes
from app.panels.pathform import choice
from app.session import Session
from engine.capture import Stretch
from engine.capture_bars import Passes, Place
from engine.document import Change
from engine.quantising import GRIDS
from models.score import Score

FRAME_MS = 33
MOST_PASSES = 8

VERSIONS = (Version.PLAYED, Version.QUANTISED)
SWINGS = (
    ("Straight", 50),
    ("Swing 54 %", 54),
    ("Swing 58 %", 58),
    ("Swing 62 %", 62),
    ("Triplet swing", 67),
)
TRIPLET, TRIPLET_PERCENT = 2 / 3, 67
PLACES = (
    ("Where it was played", Place.PLAYED),
    ("At the playhead's bar", Place.PLAYHEAD),
    ("After the music", Place.END),
)
FREE_PLACES = (("At the playhead's bar", Place.PLAYED), ("After the music", Place.END))
"""What was played without the transport was played nowhere."""

TALL_PX = 26
"""The height of what stands in a row."""

OWN, NEW = "own", "new"
TEMPI = (("The piece's tempo", False), ("The player's tempo", True))


def ago(seconds: float) -> str:
    """How long ago something ended, in words."""
    if seconds < 10:
        return "just now"
    if seconds < 90:
        return f"{seconds:.0f} s ago"
    return f"{seconds / 60:.0f} min ago"


def about(stretch: Stretch, now: int) -> str:
    """A stretch in a few words."""
    notes = f"{stretch.notes} note{'s' * (stretch.notes != 1)}"
    how = "with the music" if stretch.playing else "freely"
    return f"{notes} {how}, {ago((now - stretch.end) * 1e-9)}"


def remembered(seconds: float, notes: int) -> str:
    """How much the record holds."""
    if not notes:
        return ""
    long = f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
    return f"{notes:,} note{'s' * (notes != 1)} in {long}".replace(",", " ")


def pass_rows(passes: int) -> list[tuple[str, str]]:
    """What can be chosen of so many passes of a loop."""
    rows = [("Last pass", "0")]
    rows += [
        (f"{back} pass{'es' * (back > 1)} before", str(back))
        for back in range(1, min(passes, MOST_PASSES))
    ]
    if passes > 1:
        rows += [("All passes layered", Passes.LAYERED), ("One after the other", Passes.UNROLLED)]
    return rows


def refill(box: QComboBox, rows: Sequence[tuple[str, object]], chosen: object) -> None:
    """Show other choices, telling nobody."""
    with QSignalBlocker(box):
        if [(box.itemText(k), box.itemData(k)) for k in range(box.count())] != list(rows):
            box.clear()
            for text, data in rows:
                box.addItem(text, data)
        box.setCurrentIndex(max(box.findData(chosen), 0))


class CapturePanel(QWidget):
    """Everything about a take. It listens to `capture`, and tells it when it is looked at."""

    def __init__(self, session: Session, capture: Capture, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session, self.capture = session, capture
        self._build()
        self._connect()
        self._show()

    # --- building ------------------------------------------------------------------------------------

    def _build(self) -> None:
        wish, quantise = self.capture.wish, self.capture.quantise
        self.bars = QSpinBox()
        self.bars.setRange(1, 999)
        self.bars.setValue(wish.bars)
        self.bars.setSuffix(" bars")
        self.bars.setPrefix("Last ")
        self.bars.setObjectName("capture_bars")
        self.bars.setAccessibleName("How many of the last bars")
        self.bars.setToolTip("How many bars, up to the last note that was played")
        spin_text(self.bars)
        self.stretch = choice([], "Which playing: the latest, or what came before")
        self.passes = choice([], "Which pass of the loop")
        self.source = choice([], "All MIDI inputs, or one")
        self.hold = button("Hold", "hold_take", "Hold this take still while you play on")
        self.hold.setCheckable(True)
        self.have = label("", "dim")
        self.have.setObjectName("capture_have")

        self.grid = choice([], "The grid to quantise to")
        for text, width in GRIDS:
            self.grid.addItem(text, width)
        self.grid.setCurrentIndex(max(self.grid.findData(quantise.grid), 0))
        self.strength = QSlider(Qt.Orientation.Horizontal)
        self.strength.setObjectName("strength")
        self.strength.setAccessibleName("Quantise strength, percent")
        self.strength.setToolTip("How far notes move towards the grid")
        self.strength.setRange(0, 100)
        self.strength.setPageStep(10)
        self.strength.setSingleStep(5)
        self.strength.setValue(round(quantise.strength * 100))
        self.strength.setFixedWidth(120)
        self.percent = label("", "dim")
        self.swing = choice([], "Where the second of two grid steps lies")
        for text, swing in SWINGS:
            self.swing.addItem(text, swing)
        self.swing.setCurrentIndex(max(self.swing.findData(round(quantise.swing * 100)), 0))
        self.ends = QCheckBox("Ends too")
        self.ends.setObjectName("capture_ends")
        self.ends.setToolTip("Quantise where notes end as well as where they begin")
        self.ends.setChecked(quantise.ends)
        self.tempo = choice([], "Whose tempo free playing is laid out by")
        for text, own in TEMPI:
            self.tempo.addItem(text, own)

        self.lanes = Lanes()
        self.titles = (label("As played", "title"), label("", "title"))
        self.hear_buttons = tuple(self._hear_button(k) for k in range(2))
        self.keep_buttons = tuple(self._keep_button(k) for k in range(2))
        self.into = choice([], "Where a take goes")
        self.place = choice([], "At which bars")
        self.over = QCheckBox("Replace")
        self.over.setObjectName("capture_over")
        self.over.setToolTip(
            "In place of the notes in those bars; else beside them. Locked ones stay"
        )
        self.latency = QSpinBox()
        self.latency.setRange(0, 200)
        self.latency.setSuffix(" ms late")
        self.latency.setValue(round(wish.latency_ms))
        self.latency.setAccessibleName("Latency of the keyboard in milliseconds")
        self.latency.setToolTip(
            "How late the keyboard's notes arrive; they are put so much earlier"
        )
        spin_text(self.latency)
        self.keep_both = button(
            "Keep both", "keep_both", "Two new tracks: quantised, and as played (muted)"
        )
        self.told = Elided("", "dim")
        self.told.setObjectName("capture_told")

        self._lay()
        self._frame = QTimer(self, interval=FRAME_MS)

    def _hear_button(self, lane: int) -> QPushButton:
        made = button("Hear", f"hear_{VERSIONS[lane]}", "Hear it among the other tracks (Space)")
        made.setCheckable(True)
        return made

    def _keep_button(self, lane: int) -> QPushButton:
        made = button("Keep", f"keep_{VERSIONS[lane]}", "Put it into the piece (Return)")
        return made

    def _lay(self) -> None:
        what, how = QWidget(), QWidget()
        for room, widgets in (
            (what, (self.bars, self.stretch, self.passes, self.source, self.hold)),
            (how, (self.grid, self._strength_box(), self.swing, self.ends, self.tempo)),
        ):
            flow = Flow(room)
            for widget in widgets:
                widget.setFixedHeight(TALL_PX)
                flow.addWidget(widget)
                if isinstance(widget, QComboBox):
                    widget.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        middle = QGridLayout()
        middle.setContentsMargins(0, 0, 0, 0)
        middle.setHorizontalSpacing(8)
        middle.setVerticalSpacing(0)
        for lane in range(2):
            side = QVBoxLayout()
            side.setSpacing(3)
            side.addStretch(1)
            side.addWidget(self.titles[lane])
            pair = QHBoxLayout()
            pair.setSpacing(4)
            pair.addWidget(self.hear_buttons[lane])
            pair.addWidget(self.keep_buttons[lane])
            side.addLayout(pair)
            side.addStretch(1)
            middle.addLayout(side, lane, 0)
            middle.setRowStretch(lane, 1)
        middle.addWidget(self.lanes, 0, 1, 2, 1)
        middle.setColumnStretch(1, 1)
        where = QWidget()
        flow = Flow(where)
        for widget in (self.into, self.place, self.over, self.latency, self.keep_both):
            widget.setFixedHeight(TALL_PX)
            flow.addWidget(widget)
        self.into.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        foot = QHBoxLayout()
        foot.addWidget(self.told, 1)
        foot.addWidget(self.have)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(10, 4, 10, 6)
        layout.setSpacing(6)
        layout.addWidget(what)
        layout.addWidget(how)
        layout.addLayout(middle, 1)
        layout.addWidget(where)
        layout.addLayout(foot)

    def _strength_box(self) -> QWidget:
        box = QWidget()
        row = QHBoxLayout(box)
        row.setContentsMargins(4, 0, 4, 0)
        row.addWidget(label("Strength", "dim"))
        row.addWidget(self.strength)
        row.addWidget(self.percent)
        self.percent.setFixedWidth(self.percent.fontMetrics().horizontalAdvance("100 % "))
        return box

    def _connect(self) -> None:
        capture = self.capture
        self.bars.valueChanged.connect(lambda bars: capture.set_wish(bars=bars))
        self.stretch.activated.connect(lambda row: capture.set_wish(stretch=row, back=0))
        self.passes.activated.connect(self._choose_pass)
        self.source.activated.connect(
            lambda _: capture.set_wish(source=self.source.currentData(), stretch=0)
        )
        self.hold.clicked.connect(lambda on: capture.catch() if on else capture.follow())
        self.grid.activated.connect(lambda _: capture.set_quantise(grid=self.grid.currentData()))
        self.strength.valueChanged.connect(
            lambda percent: capture.set_quantise(strength=percent / 100)
        )
        self.swing.activated.connect(self._choose_swing)
        self.ends.toggled.connect(lambda on: capture.set_quantise(ends=on))
        self.tempo.activated.connect(
            lambda _: capture.set_wish(own_tempo=bool(self.tempo.currentData()))
        )
        self.into.activated.connect(
            lambda _: capture.set_target(new_track=self.into.currentData() == NEW)
        )
        self.place.activated.connect(
            lambda _: capture.set_wish(place=Place(self.place.currentData()))
        )
        self.over.toggled.connect(lambda on: capture.set_target(over=on))
        self.latency.valueChanged.connect(lambda ms: capture.set_wish(latency_ms=float(ms)))
        for lane in range(2):
            self.hear_buttons[lane].clicked.connect(partial(self.hear, lane))
            self.keep_buttons[lane].clicked.connect(partial(self.keep, VERSIONS[lane]))
        self.keep_both.clicked.connect(partial(self.keep, Version.BOTH))
        self.lanes.heard.connect(self.hear)
        self.lanes.kept.connect(lambda lane: self.keep(VERSIONS[lane]))
        self.lanes.firmer.connect(lambda by: self.strength.setValue(self.strength.value() + by))
        self._frame.timeout.connect(self._tell_sounding)
        capture.changed.connect(self._show)
        capture.kept.connect(self.told.say)
        # Methods, not functions: what is connected to them goes with the panel.
        capture.have.connect(self._show_have)
        self.session.active_track_changed.connect(self._show)
        self.session.changed.connect(self._document_changed)

    def _show_have(self, seconds: float, notes: int) -> None:
        self.have.setText(remembered(seconds, notes))

    def _document_changed(self, change: Change) -> None:
        if change.structure:
            self._show()

    def _choose_pass(self, row: int) -> None:
        chosen = str(self.passes.itemData(row))
        if chosen.isdigit():
            self.capture.set_wish(passes=Passes.LAST, back=int(chosen))
        else:
            self.capture.set_wish(passes=Passes(chosen), back=0)

    def _choose_swing(self, row: int) -> None:
        percent = int(self.swing.itemData(row))
        swing = TRIPLET if percent == TRIPLET_PERCENT else percent / 100
        self.capture.set_quantise(swing=swing)

    # --- what it does --------------------------------------------------------------------------------

    def hear(self, lane: int, _checked: bool = False) -> None:
        """Hear a lane, or stop."""
        self.lanes.set_current(lane)
        self.capture.hear(VERSIONS[lane])
        self._show()

    def keep(self, version: Version, _checked: bool = False) -> None:
        """Put a version of the take into the piece."""
        self.capture.keep(version)

    def catch(self) -> None:
        """Hold what was played last still, ready for the keys of the lanes."""
        self.capture.catch()
        self.lanes.setFocus()

    # --- what it shows -------------------------------------------------------------------------------

    def _show(self) -> None:
        capture, session = self.capture, self.session
        made, wish, score = capture.made, capture.wish, session.document.score
        now = capture.moment
        rows = [(about(s, now), k) for k, s in enumerate(capture.stretches)]
        refill(self.stretch, rows, wish.stretch)
        chosen = capture.stretches[wish.stretch : wish.stretch + 1]
        passes = chosen[0].passes if chosen else 1
        which = str(wish.back) if wish.passes is Passes.LAST else wish.passes
        refill(self.passes, pass_rows(passes), which)
        inputs = [(name or "MIDI input", name) for name in capture.recorder.sources]
        refill(self.source, [("All inputs", None), *inputs], wish.source)
        refill(self.into, self._targets(score), NEW if capture.new_track else OWN)
        self.stretch.setVisible(len(rows) > 1)
        self.passes.setVisible(passes > 1)
        self.source.setVisible(len(inputs) > 1)
        self.tempo.setVisible(made is not None and not made.playing)
        self.tempo.setItemText(1, self._own_tempo())
        with QSignalBlocker(self.tempo):
            self.tempo.setCurrentIndex(int(wish.own_tempo))
        free = made is not None and not made.playing
        refill(self.place, FREE_PLACES if free else PLACES, wish.place)
        with QSignalBlocker(self.hold):
            self.hold.setChecked(not capture.following)
        self.lanes.show_take(made, score.meter, capture.quantise.grid)
        percent = f"{capture.quantise.strength:.0%}".replace("%", " %")
        self.percent.setText(percent)
        self.titles[1].setText(f"Quantised {percent}")
        hearing = capture.hearing
        for lane, version in enumerate(VERSIONS):
            with QSignalBlocker(self.hear_buttons[lane]):
                self.hear_buttons[lane].setChecked(hearing is version)
            self.hear_buttons[lane].setEnabled(made is not None)
            self.keep_buttons[lane].setEnabled(made is not None)
        self.keep_both.setEnabled(made is not None)
        self.hold.setEnabled(made is not None)
        self.over.setEnabled(self.into.currentData() == OWN)
        if made is not None and hearing is None:
            self.told.say(self._about_take(score))
        if hearing is not None and not self._frame.isActive():
            self._frame.start()
        elif hearing is None:
            self._frame.stop()
        self._tell_sounding()

    def _about_take(self, score: Score) -> str:
        made = self.capture.made
        assert made is not None
        notes = len(made.untouched)
        words = f"{notes} note{'s' * (notes != 1)} for {bars_text(score, made.start, made.end)}"
        if made.bpm is not None:
            words += f", played at {made.bpm:.0f} bpm"
        elif self.capture.wish.own_tempo and not made.playing:
            words += "; no steady tempo was found, so the piece's is used"
        return words

    def _own_tempo(self) -> str:
        made = self.capture.made
        bpm = f" ({made.bpm:.0f})" if made is not None and made.bpm is not None else ""
        return f"The player's tempo{bpm}"

    def _targets(self, score: Score) -> list[tuple[str, object]]:
        active = next((t for t in score.tracks if t.id == self.session.active_track), None)
        rows: list[tuple[str, object]] = [("Into a new track", NEW)]
        if active is not None:
            rows.insert(0, (f"Into {active.name or 'the active track'}", OWN))
        return rows

    def _tell_sounding(self) -> None:
        hearing = self.capture.hearing
        if hearing is None or not self.session.playing:
            self.lanes.set_sounding(None)
        else:
            tick = self.session.playhead_tick()
            self.lanes.set_sounding((VERSIONS.index(hearing), tick))

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.capture.watch(True)

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self.capture.watch(False)
        self.capture.stop()

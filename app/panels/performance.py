"""The performance view: everything one needs on stage, large, and every bit of it on the keys."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QByteArray, QKeyCombination, Qt, QTimer, Signal
from PySide6.QtGui import (
    QCloseEvent,
    QHideEvent,
    QKeyEvent,
    QKeySequence,
    QPalette,
    QResizeEvent,
    QShowEvent,
)
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QLayout, QVBoxLayout, QWidget

from app import theme
from app.dials import DIALS, HEAT, MODES, place
from app.panels.performance_display import (
    Band,
    BeatDisplay,
    Headline,
    Lamps,
    Sentence,
)
from app.panels.performance_keys import COMMANDS, Command
from app.panels.performance_played import PlayedIn
from app.panels.performance_sounds import (
    KeysSheet,
    KnobsDialog,
    SoundsDialog,
    input_text,
    sounds_text,
)
from app.panels.performance_strip import MOST_BARS, SHOWN_BARS, ComingBars, coming_bars
from app.panels.performance_text import Painted
from app.panels.performance_tiles import BigKey, Choice, Tile
from app.performing import HINTS, TITLES, Performance
from engine.staging import Mode, Quantum, View
from models.timebase import PPQ

GEOMETRY = "stage_geometry"
"""Where the settings keep how large it was, on which screen, and whether it filled that."""
FRAME_MS = 16
SPARE_TICKS = 16 * PPQ
"""Notes that began so long before the strip does may sound in it."""
SHAPE = 0.625
"""Letters are as high as in a view of 16:10, however narrow it is."""

ROWS = {
    "top": 0.264,
    "lamps": 0.022,
    "band": 0.094,
    "sentence": 0.086,
    "keys": 0.085,
    "modes": 0.06,
    "tiles": 0.188,
}
"""How high the rows are, as shares of the view's height; the coming bars get the rest."""

CELLS: tuple[tuple[str, ...], ...] = (
    (HEAT,),
    ("density",),
    ("register",),
    ("bars", "passes"),
    ("quantum",),
    ("rest", "share"),
    ("late",),
    ("voice",),
    ("input",),
    ("sounds",),
)
"""Where the tiles are, row by row. Of two in one place the mode chooses."""
COLUMNS = 5
SYSTEM_LETTERS = 20
"""How wide the system's tile is, in letters as those of the modes."""
MUTATE_ONLY, MUTATE_NEVER = ("passes", "share"), ("bars", "rest")

NUMBERS: dict[str, Callable[[float], str]] = {
    HEAT: lambda v: f"{v:.2f}",
    "density": lambda v: f"{v:+.1f}".replace("-", "−") if v else "±0",
    "register": lambda v: f"{v:+.0f} oct".replace("-", "−") if v else "±0",
    "bars": lambda v: f"{v:.0f}",
    "rest": lambda v: f"{v:g} beat{'s' * (v > 1)}",
    "passes": lambda v: "each" if v == 1 else f"every {v:.0f}",
    "share": lambda v: f"{v * 100:.0f} %",
}
"""How a dial's number reads."""


def _portable(pressed: QKeyCombination) -> str:
    return QKeySequence(pressed).toString()


class PerformanceView(QWidget):
    """A window of its own over `performance`, its letters readable at two metres (see `performance_text`).

    `closed` when it goes; what runs goes on then.
    """

    performance: Performance
    closed = Signal()

    def __init__(self, performance: Performance, parent: QWidget | None = None) -> None:
        super().__init__(parent, Qt.WindowType.Window)
        self.performance = performance
        self.setObjectName("performance")
        self.setWindowTitle("On stage – Ricercar")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMinimumSize(640, 400)
        self.resize(1280, 800)
        geometry = performance.settings.value(GEOMETRY)
        if isinstance(geometry, QByteArray):
            self.restoreGeometry(geometry)
        ground = self.palette()
        ground.setColor(QPalette.ColorRole.Window, theme.colour("field"))
        self.setPalette(ground)
        self.setAutoFillBackground(True)
        self._keys = {QKeySequence(k).toString(): c for c in COMMANDS for k in c.keys}
        self.played = PlayedIn()
        self._told = self._said = ""  # the core's last sentence; the one shown
        self._mode: Mode | None = None
        self._knobs: KnobsDialog | None = None
        self._sounds: SoundsDialog | None = None

        self.beat, self.headline, self.lamps = BeatDisplay(), Headline(), Lamps()
        self.band, self.coming, self.sentence = Band(), ComingBars(), Sentence()
        self.pad_key = BigKey("pad", "Pad", "Space", "Answer now")
        self.go_key = BigKey("go", "Go", "G", "Begin, or halt", "good")
        self.keep_key = BigKey("keep", "Keep", "K", "Make it part of the piece: one undo step")
        self.panic_key = BigKey("panic", "PANIC", "⌫", "Halt, and silence every port", "danger")
        self.modes = {
            m: Choice(f"mode_{m}", TITLES[m], str(i + 1), HINTS[m]) for i, m in enumerate(MODES)
        }
        self.system = Tile("system", "System", "[ ]", "Those that can do this mode")
        self.tiles = {
            name: Tile(name, title, keys, tip)
            for name, title, keys, tip in (
                (HEAT, "Temperature", "↑↓", "How bold the system is"),
                ("density", "Density", "←→", "More notes or fewer"),
                ("register", "Register", "Pg", "Octaves higher or lower"),
                ("bars", "Bars", "+ −", "How long an answer is, or how far a stream is ahead"),
                ("quantum", "Changes at", "Q", "Where a change may come"),
                ("rest", "Rest", "R", "How long a rest ends your phrase"),
                ("passes", "Passes", "N", "The loop changes after so many passes"),
                ("late", "If late", "L", "What is heard while a model is late"),
                ("share", "Share", "S", "How much of the notes is written anew"),
                ("voice", "Voice", "V", "Which voice is written anew"),
                ("input", "Listens to", "I", "The MIDI input you play on"),
                ("sounds", "Sounds on", "O", "Port, channel and program of every part"),
            )
        }
        self._lay_out()
        self.sheet = KeysSheet([(self.keys_text(c), c.text) for c in COMMANDS], self)
        self._connect()
        self._timer = QTimer(self, interval=FRAME_MS)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self.frame)
        self.refresh()
        self._show_view(performance.view)

    # --- building ----------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        top = QHBoxLayout()
        top.addWidget(self.beat, 53)
        top.addWidget(self.headline, 47)
        keys, modes, tiles = QHBoxLayout(), QHBoxLayout(), QGridLayout()
        for key in (self.pad_key, self.go_key, self.keep_key, self.panic_key):
            keys.addWidget(key, 1)
        for choice in self.modes.values():
            modes.addWidget(choice, len(choice.title) + 4)
        modes.addWidget(self.system, SYSTEM_LETTERS)
        for index, names in enumerate(CELLS):
            for name in names:
                tiles.addWidget(self.tiles[name], index // COLUMNS, index % COLUMNS)
            tiles.setColumnStretch(index % COLUMNS, 1)
        self._rows: dict[str, QWidget] = {}
        column = QVBoxLayout(self)
        self._layouts = (column, top, keys, modes, tiles)
        for layout in self._layouts[1:]:
            layout.setContentsMargins(0, 0, 0, 0)
        rows: tuple[tuple[str, QWidget | QLayout], ...] = (
            ("top", top),
            ("lamps", self.lamps),
            ("band", self.band),
            ("coming", self.coming),
            ("sentence", self.sentence),
            ("keys", keys),
            ("modes", modes),
            ("tiles", tiles),
        )
        for name, inside in rows:
            if isinstance(inside, QWidget):
                row = inside
            else:
                row = QWidget()
                row.setLayout(inside)
            self._rows[name] = row
            column.addWidget(row, 1 if name == "coming" else 0)

    def _connect(self) -> None:
        performance, session = self.performance, self.performance.session
        self.pad_key.pressed.connect(performance.pad)
        self.go_key.pressed.connect(performance.toggle)
        self.keep_key.pressed.connect(performance.keep)
        self.panic_key.pressed.connect(performance.panic)
        for mode, choice in self.modes.items():
            choice.pressed.connect(lambda m=mode: performance.set_mode(m))
        self.system.stepped.connect(performance.step_system)
        for name, tile in self.tiles.items():
            if name == HEAT or name in DIALS:
                tile.stepped.connect(lambda by, n=name: performance.step(n, by))
        self.tiles["quantum"].stepped.connect(self.switch_quantum)
        self.tiles["late"].stepped.connect(self.switch_late)
        self.tiles["voice"].stepped.connect(performance.step_voice)
        self.tiles["input"].stepped.connect(performance.step_input)
        self.tiles["sounds"].stepped.connect(self.show_sounds)
        performance.setting_changed.connect(self.refresh)
        performance.rig.changed.connect(self.refresh)
        performance.view_changed.connect(self._show_view)
        performance.player.ports_changed.connect(self.refresh)
        self._listen()
        session.message.connect(self._say)
        session.changed.connect(self._score_changed)
        session.loop_changed.connect(self.frame)
        session.playhead_changed.connect(self._follow)

    @property
    def bars(self) -> list[tuple[int, int]]:
        """The bars shown from the sounding one on, as ticks [start, end)."""
        return self.coming.bars

    def _listen(self) -> None:
        """Follow what is played, and where in the music that is."""
        player, session, played = self.performance.player, self.performance.session, self.played

        def staged(_change: object = None) -> None:
            played.staged(session.heard, session.loop, self._now())

        staged()
        if self.performance.anchor is not None:
            played.anchored(self.performance.anchor)
        session.changed.connect(staged)
        session.loop_changed.connect(staged)
        player.anchored.connect(played.anchored)
        player.restarted.connect(lambda: played.restarted(self._now()))
        player.input_lost.connect(lambda name: played.lost(name, self._now()))
        player.played.connect(played.heard)
        player.played.connect(self._touched)

    def _now(self) -> int:
        """The moment, in nanoseconds of the session's clock."""
        return round(self.performance.session.now() * 1e9)

    # --- showing -----------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Show how it is set."""
        performance, setting = self.performance, self.performance.setting
        dials = performance.dials
        for mode, choice in self.modes.items():
            choice.choose(mode is setting.mode)
        if setting.mode is not self._mode:
            self._mode = setting.mode
            self._say("")
        card = performance.card
        self.system.show_value(card.name if card is not None else None)
        for name in (HEAT, *DIALS):
            dial = dials.get(name)
            if dial is None:
                self.tiles[name].show_value(None)
            else:
                value = performance.value(name)
                self.tiles[name].show_value(NUMBERS[name](value), dial.share(value), dial.title)
        self.tiles["quantum"].show_value(f"next {setting.quantum}")
        mutates = setting.mode is Mode.MUTATE
        late = "repeat" if setting.repeat else "vary"
        self.tiles["late"].show_value(late)
        for name in (*MUTATE_NEVER, *MUTATE_ONLY):
            self.tiles[name].setVisible((name in MUTATE_ONLY) == mutates)
        voices = {t.id: t.name or "no name" for t in performance.session.score.tracks}
        self.tiles["voice"].show_value(
            (voices.get(setting.voice, "any") if setting.voice is not None else "any")
            if mutates
            else None
        )
        self.tiles["input"].show_value(input_text(performance.rig.inputs))
        self.tiles["sounds"].show_value(sounds_text(setting.parts))
        self.frame()

    def frame(self) -> None:
        """Show where the music is at this moment."""
        performance, session = self.performance, self.performance.session
        score, tick, playing = session.heard, max(session.playhead_tick(), 0.0), session.playing
        there = place(score, tick)
        self.beat.show_place(there, playing)
        self.lamps.show_place(there, playing)
        sync, view = performance.rig.synced, performance.view
        bpm = sync.bpm if sync.source and sync.bpm > 0 else score.tempo.bpm(tick)
        self.headline.say(TITLES[performance.mode], performance.card, bpm, sync, view.late)
        setting = performance.setting
        ahead = setting.bars + 1 if setting.mode in DIALS["bars"].modes else 0
        count = min(max(SHOWN_BARS, ahead), MOST_BARS)
        bars = coming_bars(score, tick, session.loop, count)
        now = self._now()
        u = self.played.place(now)
        began = round(u - tick + bars[0][0])
        self.coming.show_bars(score, bars, performance.laid, view.ahead, began)
        self.coming.show_tick(tick, playing)
        notes = self.played.notes(self.coming.since - SPARE_TICKS, now)
        self.coming.show_played(notes, u, self.played.down)

    def _show_view(self, view: View) -> None:
        self.band.show_view(view)
        if view.sentence != self._told:
            before, self._told = self._told, view.sentence
            if view.sentence or self._said == before:  # else something newer stands there
                self._say(view.sentence)
        go = ("Halt", "H", "warning") if view.running else ("Go", "G", "good")
        self.go_key.show_title(*go)
        self.frame()

    def _say(self, sentence: str) -> None:
        """Say something, or (nothing) what the mode does."""
        self._said = sentence
        self.sentence.say(sentence or HINTS[self.performance.mode], bool(sentence))

    def _score_changed(self) -> None:
        if self.isVisible():
            self.refresh()

    def _touched(self, _played: object) -> None:
        """A key is seen at once where no frames are drawn."""
        if self.isVisible() and not self._timer.isActive():
            self.frame()

    def _follow(self) -> None:
        """Frames are drawn while it plays and can be seen."""
        wanted = self.isVisible() and self.performance.session.playing
        if wanted and not self._timer.isActive():
            self._timer.start()
        elif not wanted:
            self._timer.stop()
        self.frame()

    def stop_frames(self) -> None:
        """Draw no more frames by itself, until the playhead is told anew."""
        self._timer.stop()

    # --- what is done --------------------------------------------------------------------------------

    def open(self) -> None:
        """Come to the front, ready to play."""
        self.show()
        self.raise_()
        self.activateWindow()

    def back(self) -> None:
        """Put the keys away; else leave the control that has the focus; else the view, which what runs outlives."""
        if self.sheet.isVisible():
            self.sheet.hide()
        elif self.focusWidget() not in (None, self):
            self.setFocus()
        else:
            self.close()

    def switch_quantum(self) -> None:
        """Let changes come at the next bar, or at the next beat."""
        bar = self.performance.setting.quantum is Quantum.BAR
        self.performance.set_quantum(Quantum.BEAT if bar else Quantum.BAR)

    def switch_late(self) -> None:
        """Let the last bar be repeated while a model is late, or varied."""
        self.performance.set_repeat(not self.performance.setting.repeat)

    def toggle_full_screen(self) -> None:
        """Use the whole screen, or not."""
        if self.isFullScreen():
            self.showNormal()
        else:
            self.showFullScreen()

    def show_sounds(self) -> None:
        """Ask where every part sounds."""
        if self._sounds is None:
            self._sounds = SoundsDialog(self.performance, self)
        self._sounds.open_fresh()

    def show_knobs(self) -> None:
        """Show every parameter of the system."""
        if self._knobs is None:
            self._knobs = KnobsDialog(self.performance, self)
        self._knobs.open_fresh()

    def show_keys(self) -> None:
        """Show every key, or put them away again."""
        self.sheet.toggle(self._unit())

    @staticmethod
    def keys_text(command: Command) -> str:
        """The first of a command's keys, as one reads it."""
        return QKeySequence(command.keys[0]).toString(QKeySequence.SequenceFormat.NativeText)

    # --- events ------------------------------------------------------------------------------------

    def _unit(self) -> float:
        return min(float(self.height()), self.width() * SHAPE)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        held = event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier
        key = Qt.Key(event.key())
        command = self._keys.get(_portable(QKeyCombination(held, key)))
        if command is None and not event.text().isalpha():
            # Signs such as "?" and "+" need Shift on some keyboards, and not on others.
            held &= ~Qt.KeyboardModifier.ShiftModifier
            command = self._keys.get(_portable(QKeyCombination(held, key)))
        if command is None:
            super().keyPressEvent(event)
        elif command.again or not event.isAutoRepeat():
            command.run(self)

    def resizeEvent(self, event: QResizeEvent) -> None:
        self.sheet.hide()
        unit = self._unit()
        gap = round(0.0085 * unit)
        for layout in self._layouts:
            layout.setSpacing(gap)
        self._layouts[0].setContentsMargins(2 * gap, gap, 2 * gap, 2 * gap)
        for name, share in ROWS.items():
            self._rows[name].setFixedHeight(round(share * unit))
        for painted in self.findChildren(Painted):
            painted.fit(unit)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.setFocus()
        self.performance.open()
        self._follow()
        self.refresh()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._timer.stop()

    def closeEvent(self, event: QCloseEvent) -> None:
        self.performance.settings.setValue(GEOMETRY, self.saveGeometry())
        super().closeEvent(event)
        for dialog in (self._knobs, self._sounds):
            if dialog is not None:
                dialog.hide()
        if self.performance.view.running:
            self.performance.session.message.emit("The performance goes on.")
        self.closed.emit()

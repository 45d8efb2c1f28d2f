"""The performance view and what is behind it: keys, modes and systems, memory, what is shown and kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue

import numpy as np
import pytest
from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QFontMetricsF, QKeyEvent, QKeySequence
from PySide6.QtWidgets import QApplication, QComboBox, QLabel, QSpinBox, QWidget
from pytestqt.qtbot import QtBot
from stage import BAR, RecordingLink, quartet, settings_in

from app import stage_targets, theme
from app.controls import Kind
from app.dials import DIALS, HEAT
from app.panels.parameters import NumberEdit
from app.panels.performance import COMMANDS, PerformanceView
from app.panels.performance_display import STATES, sync_text, tempo_text
from app.panels.performance_strip import coming_bars
from app.panels.performance_text import HUGE, LARGE, SMALL, STATE, font_of
from app.performing import HINTS, OpenStage, Performance
from app.performing import Stage as Core
from app.player import Player
from app.rig import Rig
from app.session import Playhead, Session
from engine import playback, schedule
from engine.document import Document
from engine.messages import Inbound
from engine.stage import Stage
from engine.staging import LIVE, Mode, Quantum, Scene, Setting, View
from models import catalogue
from models.score import Notes, Region, Score, Track
from models.timebase import PPQ


class FakeStage:
    """Remembers what it is told, and tells what a test has it tell."""

    def __init__(
        self, send: Callable[[playback.Command], None], emit: Callable[[View], None]
    ) -> None:
        self.send, self.emit = send, emit
        self.told: list[tuple[str, object]] = []

    def set(self, setting: Setting) -> None:
        self.told.append(("set", setting))

    def scene(self, scene: Scene) -> None:
        self.told.append(("scene", scene))

    def go(self) -> None:
        self.told.append(("go", None))

    def halt(self) -> None:
        self.told.append(("halt", None))

    def pad(self) -> None:
        self.told.append(("pad", None))

    def heard(self, played: playback.Played) -> None:
        self.told.append(("heard", played))

    def anchored(self, anchor: playback.Anchor) -> None:
        self.told.append(("anchored", anchor))

    def restarted(self) -> None:
        self.told.append(("restarted", None))

    def close(self, timeout_seconds: float) -> bool:
        self.told.append(("close", None))
        return len(self.of("close")) > 1

    def of(self, kind: str) -> list[object]:
        return [what for name, what in self.told if name == kind]


class House:
    """A session with a player, a performance and its view, on a fake core and a clock of its own."""

    def __init__(
        self,
        qtbot: QtBot,
        folder: Path,
        score: Score | None = None,
        open_stage: OpenStage | None = None,
    ) -> None:
        application = QApplication.instance()
        assert isinstance(application, QApplication)
        theme.apply(application)
        self.qtbot, self.clock = qtbot, 0.0
        self.session = Session(Document(score or quartet()), now=lambda: self.clock)
        self.player = Player(self.session, RecordingLink)
        self.player.start()
        self.settings = settings_in(folder)
        self.stages: list[FakeStage] = []
        self.said: list[str] = []
        self.session.message.connect(self.said.append)
        self.rig = Rig(self.session, self.player, self.settings)
        self.performance = Performance(
            self.session,
            self.player,
            self.rig,
            catalogue.cards(),
            self.settings,
            open_stage=open_stage or self._open,
        )
        self.view = PerformanceView(self.performance)
        qtbot.addWidget(self.view)
        self.view.resize(1280, 800)

    def _open(
        self, send: Callable[[playback.Command], None], emit: Callable[[View], None]
    ) -> FakeStage:
        self.stages.append(FakeStage(send, emit))
        return self.stages[-1]

    @property
    def stage(self) -> FakeStage:
        return self.stages[-1]

    def open(self) -> None:
        self.view.open()
        self.qtbot.waitExposed(self.view)

    def tell(self, view: View) -> None:
        """The core tells, from wherever, and it arrives."""
        with self.qtbot.waitSignal(self.performance.view_changed):
            self.stage.emit(view)

    def press(self, keys: str, widget: QWidget | None = None) -> None:
        pressed = QKeySequence(keys)
        self.qtbot.keySequence(widget or self.view, pressed)

    def sent(self, kind: type) -> list[object]:
        link = self.player._link
        assert isinstance(link, RecordingLink)
        return list(link.of(kind))


@pytest.fixture
def house(qtbot: QtBot, tmp_path: Path) -> House:
    made = House(qtbot, tmp_path)
    made.open()
    return made


# --- modes and systems ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "mode"), [("1", Mode.ANSWER), ("2", Mode.HARMONISE), ("4", Mode.MUTATE)]
)
def test_a_number_chooses_a_mode_and_the_brackets_its_systems(
    house: House, key: str, mode: Mode
) -> None:
    house.press("3")
    house.press(key)
    assert house.performance.mode is mode
    assert [m for m, c in house.view.modes.items() if c.chosen] == [mode]
    ids = [card.id for card in house.performance.systems()]
    seen = set()
    for _ in ids:
        house.press("]")
        seen.add(house.performance.setting.system)
        assert house.view.system.value == catalogue.card(house.performance.setting.system).name
    assert seen == set(ids)
    house.press("[")
    newest = house.stage.of("set")[-1]
    assert newest == house.performance.setting
    assert isinstance(newest, Setting)
    assert (newest.mode, newest.system) == (mode, ids[(ids.index(newest.system))])


def test_a_system_that_cannot_do_it_is_refused(house: House) -> None:
    before = house.performance.setting
    house.performance.set_system("mini_bach")
    assert house.performance.setting == before
    assert house.said[-1] == "MiniBach cannot answer; choose another system."
    assert house.view.sentence.text == house.said[-1]


def test_tiles_show_what_matters_to_the_mode_and_the_system(house: House) -> None:
    tiles = house.view.tiles
    assert tiles["bars"].isEnabled()
    assert not tiles["voice"].isEnabled()
    assert tiles["rest"].isVisible()
    house.press("4")
    assert not tiles["bars"].isEnabled()
    assert tiles["voice"].isEnabled()
    assert not tiles["rest"].isVisible()
    house.performance.set_system("music_vae_2bar")
    assert (tiles[HEAT].title, tiles[HEAT].value) == ("Radius", "0.50")
    house.press("2")
    house.performance.set_system("mini_bach")
    assert (tiles[HEAT].isEnabled(), tiles[HEAT].value) == (False, "–")
    house.press("Up")
    assert house.performance.setting.params == {}, "it has no temperature"


def test_every_setting_is_on_the_keys(house: House) -> None:
    house.performance.set_mode(Mode.STREAM)
    house.performance.set_system("bi_axial")
    for keys in ("Up", "Right", "PgDown", "+", "Q", "L"):
        house.press(keys)
    setting = house.performance.setting
    assert setting.params == {"temperature": pytest.approx(0.95)}
    assert (setting.density, setting.register, setting.bars) == (0.5, -1, 5)
    assert (setting.quantum, setting.repeat) == (Quantum.BEAT, True)
    house.press("1")
    house.press("R")
    assert house.performance.setting.rest == 1.5
    house.press("4")
    for keys in ("N", "Shift+S", "V", "V"):
        house.press(keys)
    setting = house.performance.setting
    assert (setting.passes, setting.voice) == (3, 1)
    assert setting.share == pytest.approx(0.2)
    assert house.view.tiles["voice"].value == "Alto"
    assert house.stage.of("set")[-1] == setting


def test_no_key_does_two_things() -> None:
    keys = [QKeySequence(k).toString() for c in COMMANDS for k in c.keys]
    assert len(keys) == len(set(keys))


def test_a_focused_tile_takes_the_arrows_and_return(house: House) -> None:
    tile = house.view.tiles["bars"]
    house.qtbot.keyClick(house.view, Qt.Key.Key_Tab)
    reached = []
    for _ in range(40):
        focused = house.view.focusWidget()
        assert focused is not None
        if focused in reached:
            break
        reached.append(focused)
        house.qtbot.keyClick(focused, Qt.Key.Key_Tab)
    assert {w.objectName() for w in reached} >= {
        "pad", "go", "keep", "panic", "mode_answer", "system", "temperature", "bars", "sounds",
    }  # fmt: skip
    tile.setFocus(Qt.FocusReason.TabFocusReason)
    house.press("Right", tile)
    house.press("Return", tile)
    assert house.performance.setting.bars == 6
    assert house.performance.setting.density == 0
    house.press("Space", tile)
    assert house.said[-1] == "Nothing runs yet: press G to begin.", "Space is the pad, wherever"
    house.press("Esc", tile)
    assert house.view.isVisible()
    assert house.view.hasFocus()
    house.press("Esc")
    assert not house.view.isVisible()


# --- playing -------------------------------------------------------------------------------------


def test_go_pad_halt_and_panic(house: House) -> None:
    house.press("Space")
    assert house.stage.of("pad") == [], "nothing begins unasked"
    house.press("G")
    house.tell(View(running=True, state="listening"))
    house.press("Space")
    house.press("Return")
    assert len(house.stage.of("pad")) == 2
    assert house.view.go_key.title == "Halt"
    house.qtbot.mouseClick(house.view.go_key, Qt.MouseButton.LeftButton)
    house.press("G")
    house.press("Backspace")
    told = [name for name, _ in house.stage.told if name in ("go", "halt")]
    assert told == ["go", "halt", "go", "halt"]
    assert len(house.sent(playback.Panic)) == 1


def test_a_held_pad_is_one_pad(house: House) -> None:
    house.press("G")
    house.tell(View(running=True))
    for again in (False, True, True):
        event = QKeyEvent(
            QEvent.Type.KeyPress, Qt.Key.Key_Space, Qt.KeyboardModifier.NoModifier, " ", again
        )
        QApplication.sendEvent(house.view, event)
    assert len(house.stage.of("pad")) == 1


def test_mutating_loops_what_is_marked_or_everything(house: House) -> None:
    house.press("4")
    house.press("G")
    assert house.session.loop == (0, PPQ + 4 * BAR)
    assert house.said[-1] == "Looping bars 0–4."
    scene = house.stage.of("scene")[-1]
    assert isinstance(scene, Scene)
    assert scene.loop == Region(0, PPQ + 4 * BAR)


def test_changing_to_mutate_while_it_plays_loops_too(house: House) -> None:
    house.press("3")
    house.press("G")
    house.tell(View(running=True, mode=Mode.STREAM))
    house.press("4")
    assert house.session.loop == (0, PPQ + 4 * BAR)
    assert house.view.sentence.text == "Looping bars 0–4."
    names = [name for name, value in house.stage.told if name in ("scene", "set")]
    assert names[-2:] == ["scene", "set"], "there is a loop when the mode changes"


def test_nothing_to_hear_is_said(house: House) -> None:
    house.press("1")
    house.press("G")
    assert house.said[-1].startswith("No MIDI input is listened to")
    house.player.inputs = ("Keys",)
    house.press("I")
    assert house.said[-1] == "Listening to Keys."
    house.press("G")
    assert house.said[-1] == "Listening to Keys."


def test_what_the_core_said_does_not_wipe_out_something_newer(house: House) -> None:
    house.press("G")
    house.tell(View(running=True, sentence="Play a phrase."))
    assert house.view.sentence.text == "Play a phrase."
    house.press("Backspace")
    house.tell(View(running=False))
    assert house.view.sentence.text == "All notes are off, on every port."
    house.tell(View(running=True, sentence="Play a phrase."))
    house.tell(View(running=True))
    assert house.view.sentence.text == HINTS[Mode.ANSWER]


def test_there_must_be_something_to_mutate(qtbot: QtBot, tmp_path: Path) -> None:
    house = House(qtbot, tmp_path, Score())
    house.performance.set_mode(Mode.MUTATE)
    house.performance.go()
    assert house.stages == []
    assert house.said[-1].startswith("There is nothing to mutate yet")


def test_the_core_hears_what_the_transport_tells(qtbot: QtBot, tmp_path: Path) -> None:
    house = House(qtbot, tmp_path)
    anchor = playback.Anchor(5.0, 7, False)
    house.player.anchored.emit(anchor)
    house.open()
    assert house.stage.of("anchored") == [anchor], "the newest, when it begins later"
    played = playback.Played(9, bytes((0x90, 60, 80)), "Keys")
    house.player.played.emit(played)
    house.player.restarted.emit()
    assert house.stage.of("heard") == [played]
    assert house.stage.of("restarted") == [None]
    house.session.set_loop((0, BAR))
    house.session.commit("Edit", house.session.score.with_track(Track(9, "New")))
    scene = house.stage.of("scene")[-1]
    assert scene == Scene(house.session.document.score, Region(0, BAR))
    shown = house.sent(playback.Show)[-1]
    assert isinstance(shown, playback.Show)
    assert shown.score is house.session.document.score, "the transport was told before the core"
    house.stage.send(playback.Panic())
    assert len(house.sent(playback.Panic)) == 1


def test_a_core_that_still_loads_is_not_waited_for(house: House) -> None:
    house.performance.close()
    assert house.stage.of("close") == [None]
    assert house.performance.ended(0.1)
    assert len(house.stage.of("close")) == 2


class NoEngine:
    """An engine that never answers; the real one imports torch."""

    def __init__(self) -> None:
        self.inbox: SimpleQueue[Inbound] = SimpleQueue()

    def start(self) -> None:
        pass

    def close(self, timeout_seconds: float = 0) -> bool:
        return True


def test_the_real_core_takes_all_this(qtbot: QtBot, tmp_path: Path) -> None:
    def open_real(send: Callable[[playback.Command], None], emit: Callable[[View], None]) -> Core:
        made = Stage(send, emit, engine=lambda _answer: NoEngine())
        made.start()
        return made

    house = House(qtbot, tmp_path, open_stage=open_real)
    house.open()
    performance = house.performance
    try:
        performance.set_mode(Mode.STREAM)
        qtbot.waitUntil(lambda: performance.view.mode is Mode.STREAM)
        assert performance.card is not None
        assert performance.view.system == performance.card.name
        performance.set_mode(Mode.ANSWER)
        performance.go()
        qtbot.waitUntil(lambda: performance.view.running)
        performance.pad()
        house.player.played.emit(playback.Played(0, bytes((0x90, 60, 80)), "Keys"))
        house.player.restarted.emit()
        performance.panic()
        qtbot.waitUntil(lambda: not performance.view.running)
        assert house.view.go_key.title == "Go"
    finally:
        performance.close()
    assert performance.ended(5.0)


def test_settings_outlive_the_program(qtbot: QtBot, tmp_path: Path) -> None:
    first = House(qtbot, tmp_path)
    first.performance.set_mode(Mode.STREAM)
    first.performance.set_system("markov")
    first.performance.turn(HEAT, 1.4)
    first.performance.turn("bars", 9)
    first.performance.set_parts([Track(0, "Lead", channel=2, port="Gear")] * 2)
    first.rig.listen(("Keys",))
    before = first.performance.setting
    first.performance.close()
    second = House(qtbot, tmp_path)
    assert second.performance.setting == before
    assert [p.id for p in before.parts] == [LIVE, LIVE + 1]
    assert second.view.tiles["input"].value == "Keys"


def test_a_voice_that_goes_is_no_longer_chosen(house: House) -> None:
    house.press("4")
    house.press("V")
    assert house.performance.setting.voice == 0
    score = house.session.document.score
    house.session.commit("Remove", Score(score.tracks[1:], meter=score.meter))
    assert house.performance.setting.voice is None


# --- what is shown -------------------------------------------------------------------------------


def test_bar_and_beat_follow_the_playhead_not_the_events(house: House) -> None:
    house.session.set_playhead(Playhead(PPQ + 2.0 * BAR, 0.0, True))
    house.view.frame()
    assert house.view.beat.place[:3] == (3, 1, 4)
    house.clock = 2 * 60 / 90 + 0.01
    house.view.frame()
    assert house.view.beat.place[:3] == (3, 3, 4)
    assert house.view.beat.accessibleDescription() == "bar 3, beat 3"
    assert house.view.headline.words[1] == "90 bpm"


def test_state_lateness_and_sync_are_shown(house: House) -> None:
    house.tell(
        View(
            True, Mode.ANSWER, state="falling back", coming="answer soon", late=2, sentence="Slow."
        )
    )
    assert house.view.band.accessibleDescription() == "falling back, answer soon"
    assert house.view.sentence.text == "Slow."
    assert house.view.headline.words[4] == "late 2 ×"
    house.tell(View(True, Mode.ANSWER, state="listening"))
    assert house.view.sentence.text.startswith("Play a phrase"), (
        "when it is over, what the mode does"
    )
    house.player.synced.emit(playback.Synced("clock:Deck", "locked", 126.04))
    assert house.view.headline.words[1::2] == ("126 bpm", "clock locked")


@pytest.mark.parametrize(
    ("synced", "text"),
    [
        (playback.Synced("", "own", 0), "own clock"),
        (playback.Synced("link", "waiting", 0), "Link waiting"),
        (playback.Synced("mtc:Deck", "lost", 0), "MTC lost"),
    ],
)
def test_whose_clock_it_is(synced: playback.Synced, text: str) -> None:
    assert sync_text(synced) == text
    assert (tempo_text(119.96), tempo_text(127.9)) == (("120", " bpm"), ("127", ".9"))


def test_coming_bars_go_round_the_loop() -> None:
    score = quartet()
    one = PPQ
    assert coming_bars(score, 0.0, None, 3) == [
        (0, one),
        (one, one + BAR),
        (one + BAR, one + 2 * BAR),
    ]
    loop = (one, one + 2 * BAR)
    bars = coming_bars(score, one + BAR + 5.0, loop, 3)
    assert bars == [(one + BAR, one + 2 * BAR), (one, one + BAR), (one + BAR, one + 2 * BAR)]
    short = (one + PPQ, one + 3 * PPQ)
    assert coming_bars(score, one + PPQ + 1.0, short, 2) == [short, short]
    assert coming_bars(score, 0.0, short, 2)[1] == (one, one + BAR), "outside, the loop is not met"


def load(track: Track) -> playback.Load:
    return playback.Load(track.id, "", schedule.compile(track))


def test_the_strip_shows_what_is_laid(house: House) -> None:
    own = house.view.coming.notes_shown
    house.press("G")
    house.tell(View(True))
    part = Track(LIVE, "Ricercar", Notes.of(PPQ + np.arange(8) * PPQ, PPQ, 72))
    house.stage.send(load(part))
    house.tell(View(True, ahead=2.0))
    assert house.view.coming.notes_shown == own + 8
    assert len(house.sent(playback.Load)) == 1, "and the transport has it"
    house.session.set_playhead(Playhead(PPQ + 2.5 * PPQ, 0.0, True))
    house.stage.send(load(part.with_notes(part.notes.where(part.notes.onset > 2 * PPQ))))
    house.tell(View(True, ahead=1.0))
    (laid,) = house.performance.laid
    assert laid.notes.onset.tolist() == part.notes.onset.tolist(), "the bar is shown whole"
    soprano = quartet().track(0)
    house.stage.send(playback.Unload(LIVE))
    house.stage.send(load(soprano.with_notes(soprano.notes.where([1]))))
    house.tell(View(True, Mode.MUTATE))
    # The bar of the playhead and three more, each with four quarters in three voices.
    assert house.view.coming.notes_shown == 3 * 16 + 1, "a voice that mutates is shown as it sounds"
    house.tell(View(False))
    assert house.performance.laid == ()


@pytest.mark.parametrize("size", [(1280, 800), (1920, 1080)])
def test_letters_are_high_enough_at_two_metres(house: House, size: tuple[int, int]) -> None:
    house.view.resize(*size)
    height = size[1]
    assert QFontMetricsF(font_of(SMALL * height)).capHeight() >= 0.025 * height
    assert QFontMetricsF(font_of(LARGE * height)).capHeight() >= 0.05 * height
    assert min(HUGE, STATE, LARGE, SMALL) >= 0.025
    for bar in (7, 88, 256):
        house.session.set_playhead(Playhead(float(PPQ + (bar - 1) * BAR)))
        house.view.frame()
        digits = QFontMetricsF(house.view.beat.digits())
        assert digits.capHeight() >= 0.2 * height, bar
    for widget in (house.view.beat, house.view.headline, house.view.tiles["bars"]):
        assert widget.unit == height
        assert not widget.grab().isNull()


def test_big_letters_stand_out_from_their_ground() -> None:
    field = theme.COLOURS["field"]
    for name in ("selected", "text", "text_dim", "accent", "good", "warning"):
        assert theme.contrast(theme.colour(name), theme.colour("field")) >= 7, name
        assert theme.contrast(theme.colour(name), theme.colour("raised")) >= 5.5, name
    for name in STATES.values():
        ground = theme.blend(field, theme.COLOURS[name], 0.16)
        assert theme.contrast(theme.colour(name), ground) >= 5.5, name
        assert theme.contrast(theme.colour("text"), ground) >= 7, name
    assert theme.contrast(theme.colour("ink"), theme.colour("danger")) >= 7


def test_only_what_changed_is_painted_again(house: House) -> None:
    painted: list[str] = []
    for widget in (house.view.beat, house.view.headline, house.view.band, house.view.sentence):

        def record(event: object, w: QWidget = widget, own: object = widget.paintEvent) -> None:
            painted.append(w.objectName())
            own(event)  # type: ignore[operator]

        widget.paintEvent = record  # type: ignore[method-assign]
    house.session.set_playhead(Playhead(PPQ + 2.0 * BAR, 0.0, True))
    house.qtbot.wait(30)
    painted.clear()
    house.clock = 0.3
    house.view.frame()
    house.qtbot.wait(30)
    assert painted == [], "within a beat nothing but lamp and playhead"
    house.clock = 0.7
    house.view.frame()
    house.qtbot.waitUntil(lambda: painted == ["bar_and_beat"])


# --- keeping -------------------------------------------------------------------------------------


def test_keeping_is_one_undo_step(house: House) -> None:
    before = house.session.document.score
    take = tuple(
        Track(LIVE + i, f"Part {i}", Notes.of([BAR], PPQ, 60 + i), channel=15 - i) for i in range(2)
    )
    house.press("G")
    house.tell(View(True, take=take))
    house.press("K")
    kept = house.session.document.score
    assert [t.name for t in kept.tracks[4:]] == ["Part 0", "Part 1"]
    assert house.said[-1] == "Kept, as one step to undo."
    house.press("K")
    assert house.session.document.score is kept
    assert house.said[-1] == "There is nothing new to keep."
    house.session.undo()
    assert house.session.document.score == before
    house.press("K")
    assert len(house.session.document.score.tracks) == 6, "and once more, since it was taken back"


def test_keeping_a_mutated_loop_spares_what_was_edited_since(house: House) -> None:
    score = house.session.document.score
    house.session.set_loop((PPQ, PPQ + 2 * BAR))
    alto = score.track(1)
    up = alto.with_notes(alto.notes.with_(pitch=69))
    house.press("G")
    house.tell(View(True, Mode.MUTATE, take=(up,)))
    house.tell(View(True, Mode.MUTATE, take=(up,)))
    edited = alto.with_notes(alto.notes.with_(pitch=np.where(alto.notes.onset == 2 * PPQ, 60, 67)))
    house.session.commit("Edit", score.with_track(edited))
    house.press("K")
    pitches = house.session.document.score.track(1).notes.pitch.tolist()
    assert pitches == [67, 67, 60, 67, 67] + [69] * 4 + [67] * 8
    house.session.undo()
    assert house.session.document.score.track(1) == edited


# --- hands on ------------------------------------------------------------------------------------


def test_controllers_can_move_everything(house: House) -> None:
    performance = house.performance
    every = {t.id.removeprefix("stage/"): t for t in stage_targets.of(performance)}
    moved = set()
    for mode in Mode:
        performance.set_mode(mode)
        for name in performance.dials:
            moved.add(name)
            for share in (1.0, 0.0):
                every[name].set(share)
                assert every[name].get() == pytest.approx(share), name
            assert every[name].say(0.0)
    assert moved == set(DIALS) | {HEAT}
    every["mode"].set(0.34)
    assert performance.mode is Mode.HARMONISE
    assert every["mode"].get() == pytest.approx(1 / 3)
    before = performance.setting
    every["bars"].set(1.0)
    assert performance.setting == before, "it means nothing to this mode"
    assert every["bars"].get() is None
    every["quantum"].set(1.0)
    every["late"].set(1.0)
    assert (performance.setting.quantum, performance.setting.repeat) == (Quantum.BEAT, True)
    assert (every["quantum"].say(0.0), every["late"].get()) == ("bar", 1.0)
    house.player.inputs = ("Keys",)
    for target in every.values():
        if target.kind is Kind.ACTION:
            target.set(1.0)
    assert house.rig.inputs == ("Keys",)
    assert {"go", "halt"} <= {name for name, _ in house.stage.told}
    assert performance.mode is Mode.MUTATE, "the last of them"


def test_where_it_sounds(house: House) -> None:
    house.player.outputs, house.player.inputs = ("Gear",), ("Keys", "Pads")
    house.press("O")
    dialog = house.view._sounds
    assert dialog is not None
    dialog.more.click()
    port = dialog.findChild(QComboBox, "part_1_port")
    assert port is not None
    port.setCurrentIndex(port.findData("Gear"))
    port.activated.emit(port.currentIndex())
    for name, value in (("channel", 5), ("offset", -30)):
        spin = dialog.findChild(QSpinBox, f"part_1_{name}")
        assert spin is not None
        spin.setValue(value)
    house.player.outputs = ()
    dialog.refresh()
    port = dialog.findChildren(QComboBox, "part_1_port")[-1]
    assert port.currentText() == "Gear, not there now"
    first, second = house.performance.setting.parts
    assert (first.port, first.channel) == ("", 15)
    assert (second.id, second.port, second.channel, second.offset) == (LIVE + 1, "Gear", 4, -30)
    assert house.view.tiles["sounds"].value == "2 × 2 outputs"
    for expected in (("Keys",), ("Pads",), ("Keys", "Pads"), ()):
        house.press("I")
        assert house.rig.inputs == expected
    dialog.fewer.click()
    assert len(house.performance.setting.parts) == 1


def test_every_knob_of_the_system(house: House) -> None:
    house.performance.set_system("celtic")
    house.press("E")
    dialog = house.view._knobs
    assert dialog is not None
    metre = dialog.findChild(QComboBox, "param_metre")
    assert metre is not None
    metre.setCurrentText("6/8")
    assert house.performance.setting.params == {"metre": "6/8"}
    house.performance.set_system("markov")
    assert dialog.windowTitle() == "Knobs of Markov chain"
    assert dialog.findChild(NumberEdit, "param_temperature") is not None
    house.performance.set_system("celtic")
    assert house.performance.setting.params == {"metre": "6/8"}, "each system keeps its own"


def test_a_knob_that_the_mode_turns_itself_is_not_offered(house: House) -> None:
    house.performance.set_mode(Mode.STREAM)
    house.performance.set_system("bi_axial")
    house.press("E")
    dialog = house.view._knobs
    assert dialog is not None
    assert dialog.form is not None
    assert "attacca" in dialog.form.values()
    house.performance.set_mode(Mode.ANSWER)
    assert "attacca" not in dialog.form.values()


def test_the_keys_are_listed_and_go_on_working(house: House) -> None:
    house.press("?")
    sheet = house.view.sheet
    assert sheet.isVisible()
    assert house.view.rect().contains(sheet.geometry())
    for words in sheet.findChildren(QLabel):
        assert QFontMetricsF(words.font()).capHeight() >= 0.025 * house.view.height()
    house.press("3")
    assert house.performance.mode is Mode.STREAM
    house.press("Esc")
    assert not sheet.isVisible()
    assert house.view.isVisible()

"""The Capture panel: what was played in is shown, heard among the other tracks, and kept in one step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mouse import click, double_click
from PySide6.QtCore import Qt
from PySide6.QtGui import QPixmap
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot
from stage import BAR, RecordingLink, settings_in

from app import theme
from app.capture import Capture, Target, Version, kept
from app.panels.capture import CapturePanel, about, ago, pass_rows, remembered
from app.panels.lanes import EMPTY
from app.player import Player
from app.session import Session
from engine import edits, playback
from engine.capture import Stretch, Take
from engine.document import Document
from engine.playback import Anchor, Played
from models.score import Controls, Notes, Score, Track
from models.timebase import PPQ, TempoMap

MS = 1_000_000
BEAT_NS = 500 * MS
KEY = Qt.Key


def song() -> Score:
    """A piano with a chord held through bar 1, a locked note in it, and a bass; 120 bpm."""
    piano = Notes.of([0, 0], [BAR, PPQ], [48, 52], locked=[False, True])
    bass = Notes.of([0], [BAR], [36], first_id=2)
    tracks = (
        Track(0, "Piano", piano, program=4),
        Track(1, "Bass", bass, channel=1, program=32),
    )
    return Score(tracks, TempoMap.constant(120))


class Stage:
    """A session with a transport that records, and the panel; time is the test's."""

    def __init__(self, qtbot: QtBot, folder: Path, score: Score) -> None:
        application = QApplication.instance()
        assert isinstance(application, QApplication)
        theme.apply(application)
        self.now = 0
        self.session = Session(Document(score))
        self.said: list[str] = []
        self.session.message.connect(self.said.append)
        self.settings = settings_in(folder)
        self.capture = Capture(self.session, self.settings, now=lambda: self.now)
        self.player = Player(self.session, RecordingLink)
        self.capture.stop_asked.connect(lambda: self.player.send(playback.Stop()))
        self.player.anchored.connect(self.capture.anchored)
        self.player.restarted.connect(self.capture.restarted)
        self.player.start()
        self.panel = CapturePanel(self.session, self.capture)
        qtbot.addWidget(self.panel)
        self.panel.resize(820, 330)
        self.panel.show()
        qtbot.waitExposed(self.panel)

    def play(self, *keys: tuple[float, int]) -> None:
        """Strike keys (beat, pitch) along with the transport, which plays from bar 1 on."""
        self.capture.anchored(Anchor(0, 0, True))
        for beat, pitch in keys:
            at = round(beat * BEAT_NS)
            self.capture.heard(Played(at, bytes((0x90, pitch, 70))))
            self.capture.heard(Played(at + 200 * MS, bytes((0x80, pitch, 0))))
            self.now = at + BEAT_NS
        self.capture.refresh()

    def notes(self, track: int = 0) -> Notes:
        return self.session.document.score.track(track).notes

    @property
    def made(self) -> Take:
        assert self.capture.made is not None
        return self.capture.made


@pytest.fixture
def stage(qtbot: QtBot, tmp_path: Path) -> Iterator[Stage]:
    made = Stage(qtbot, tmp_path, song())
    yield made
    made.player.close()


LATE = ((0.04, 60), (1.06, 64), (1.98, 67), (3.05, 72))


def test_nothing_played_says_that_it_is_recorded(stage: Stage) -> None:
    assert EMPTY in stage.panel.lanes.accessibleDescription()
    assert not stage.panel.keep_buttons[0].isEnabled()
    assert not stage.capture.keep(Version.PLAYED)
    assert "Nothing has been played yet" in stage.said[-1]
    stage.capture.hear(Version.PLAYED)
    assert len(stage.said) == 2


def test_what_is_played_appears_by_itself(stage: Stage, qtbot: QtBot) -> None:
    with qtbot.waitSignal(stage.capture.have) as told:
        stage.capture.heard(Played(5 * MS, bytes((0x90, 60, 70))))
        stage.now = 6 * MS
    assert told.args == [0.0, 1]
    assert len(stage.made.untouched) == 1
    assert stage.panel.have.text() == "1 note in 0 s"


def test_keep_adds_to_the_active_track_in_one_step(stage: Stage) -> None:
    stage.play(*LATE)
    before = stage.notes()
    stage.panel.keep_buttons[0].click()
    fresh = stage.notes().where(~stage.notes().having(before.id))
    assert fresh.onset.tolist() == [round(beat * PPQ) for beat, _ in LATE]
    assert len(stage.notes()) == len(before) + 4
    assert stage.session.document.undo_label == "Keep 1 bar as played"
    assert stage.panel.told.whole() == "Kept 4 notes in bar 1."
    stage.session.undo()
    assert stage.notes() == before


def test_the_quantised_one_is_as_strong_as_the_slider_says(stage: Stage) -> None:
    stage.play(*LATE)
    stage.panel.strength.setValue(100)
    stage.panel.grid.setCurrentIndex(0)
    stage.panel.grid.activated.emit(0)
    assert stage.panel.titles[1].text() == "Quantised 100 %"
    assert stage.made.quantised.onset.tolist() == [0, PPQ, 2 * PPQ, 3 * PPQ]
    played = [round(beat * PPQ) for beat, _ in LATE]
    assert stage.panel.lanes.moved() == tuple(zip(played, [0, 960, 1920, 2880], strict=True))
    stage.panel.keep_buttons[1].click()
    assert stage.session.document.undo_label == "Keep 1 bar quantised 100 %"
    stage.panel.strength.setValue(0)
    assert stage.made.quantised.onset.tolist() == played


def test_replace_clears_the_bars_but_what_is_locked(stage: Stage) -> None:
    stage.play(*LATE)
    stage.panel.over.setChecked(True)
    assert stage.capture.keep(Version.PLAYED)
    assert stage.notes().pitch.tolist() == [52, 60, 64, 67, 72]
    assert len(stage.notes(1)) == 1


def test_a_new_track_sounds_like_the_active_one(stage: Stage) -> None:
    stage.play(*LATE)
    stage.panel.into.setCurrentIndex(1)
    stage.panel.into.activated.emit(1)
    assert stage.capture.keep(Version.PLAYED)
    track = stage.session.document.score.tracks[2]
    assert (track.name, track.program, track.channel) == ("Capture 1", 4, 2)
    assert stage.notes() == song().tracks[0].notes


def test_both_are_two_tracks_of_which_one_sounds(stage: Stage) -> None:
    stage.play(*LATE)
    stage.panel.keep_both.click()
    quantised, played = stage.session.document.score.tracks[2:]
    assert (quantised.muted, played.muted) == (False, True)
    assert played.notes.onset.tolist() == [round(beat * PPQ) for beat, _ in LATE]
    assert len({int(i) for t in stage.session.document.score.tracks for i in t.notes.id}) == 11
    stage.session.undo()
    assert len(stage.session.document.score.tracks) == 2


def test_a_piece_without_tracks_gets_one_and_the_players_tempo(
    qtbot: QtBot, tmp_path: Path
) -> None:
    stage = Stage(qtbot, tmp_path, Score())
    beat = round(60e9 / 90)
    steps = (0, 1, 2, 2.5, 3, 4, 5, 5.5, 6, 6.5, 7, 8, 9, 10, 10.5, 11, 12)
    for step in steps:
        at = round(step * beat)
        stage.capture.heard(Played(at, bytes((0x90, 60, 70))))
        stage.capture.heard(Played(at + 100 * MS, bytes((0x80, 60, 0))))
    stage.now = 13 * beat
    stage.capture.set_wish(own_tempo=True)
    assert stage.panel.tempo.isVisible()
    assert stage.panel.tempo.itemText(1) == "The player's tempo (90)"
    assert stage.capture.keep(Version.PLAYED)
    score = stage.session.document.score
    assert score.tempo.bpm(0) == pytest.approx(90, rel=0.005)
    assert score.tracks[0].name == "Capture 1"
    assert score.tracks[0].notes.onset.tolist()[:3] == pytest.approx([0, PPQ, 2 * PPQ], abs=4)


# --- hearing -------------------------------------------------------------------------------------


def test_hear_plays_the_take_among_the_rest_and_leaves_nothing_behind(
    stage: Stage, qtbot: QtBot
) -> None:
    stage.play(*LATE)
    before = stage.session.document.score
    stage.session.set_loop((4 * BAR, 8 * BAR))
    stage.panel.hear_buttons[0].click()
    assert stage.capture.hearing is Version.PLAYED
    assert stage.panel.hold.isChecked()
    heard = stage.session.heard.track(0).notes
    assert len(heard) == 6
    qtbot.waitUntil(lambda: stage.session.playing)
    assert stage.session.loop is None
    link = stage.player._link
    assert isinstance(link, RecordingLink)
    assert link.of(playback.Play)[-1] == playback.Play(0, BAR)
    stage.panel.hear_buttons[1].click()  # compared while it plays
    assert stage.capture.hearing is Version.QUANTISED
    assert len(link.of(playback.Play)) == 1
    link.emit(Anchor(BAR, 0, False))  # its end
    qtbot.waitUntil(lambda: stage.capture.hearing is None)
    assert stage.session.heard is before
    assert stage.session.loop == (4 * BAR, 8 * BAR)
    assert not stage.panel.hear_buttons[1].isChecked()


def test_an_edit_while_it_is_heard_is_not_lost(stage: Stage) -> None:
    stage.play(*LATE)
    stage.capture.hear(Version.PLAYED)
    session = stage.session
    session.commit("Move", edits.move(session.score, [0], 0, 2))
    assert stage.capture.hearing is None
    assert 50 in stage.notes().pitch
    assert len(stage.notes()) == 2


def test_what_is_heard_is_what_is_kept_whatever_is_played_meanwhile(stage: Stage) -> None:
    stage.play(*LATE)
    stage.capture.hear(Version.PLAYED)
    stage.play((40, 90))
    stage.capture.keep(Version.PLAYED)
    assert 90 not in stage.notes().pitch
    assert len(stage.notes()) == 6
    assert stage.capture.hearing is None
    assert stage.capture.following
    assert stage.made.untouched.pitch.tolist() == [90]


def test_in_a_loop_that_plays_the_take_is_heard_as_it_comes_round(
    stage: Stage, qtbot: QtBot
) -> None:
    stage.play(*LATE)
    stage.session.set_loop((0, 2 * BAR))
    stage.player.play()
    qtbot.waitUntil(lambda: stage.session.playing)
    link = stage.player._link
    assert isinstance(link, RecordingLink)
    told = len(link.sent)
    stage.capture.hear(Version.QUANTISED)
    assert stage.session.loop == (0, 2 * BAR)
    assert not any(isinstance(c, playback.Play | playback.Seek) for c in link.sent[told:])
    stage.capture.hear(Version.QUANTISED)
    assert stage.capture.hearing is None
    assert stage.session.playing


def test_elsewhere_than_the_music_that_plays_it_is_gone_to_and_left_with_stop(
    stage: Stage, qtbot: QtBot
) -> None:
    stage.play(*LATE)
    stage.player.play()
    qtbot.waitUntil(lambda: stage.session.playing)
    link = stage.player._link
    assert isinstance(link, RecordingLink)
    stage.capture.hear(Version.PLAYED)
    assert link.of(playback.Seek)[-1] == playback.Seek(0)
    stage.panel.hide()
    assert stage.capture.hearing is None
    assert link.of(playback.Stop)
    assert len(stage.session.heard.track(0).notes) == 2


# --- by hand -------------------------------------------------------------------------------------


def test_the_lanes_go_by_keys_alone(stage: Stage, qtbot: QtBot) -> None:
    stage.play(*LATE)
    lanes = stage.panel.lanes
    lanes.setFocus()
    qtbot.keyClick(lanes, KEY.Key_Right)
    assert stage.capture.quantise.strength == pytest.approx(0.65)
    qtbot.keyClick(lanes, KEY.Key_Up)
    qtbot.keyClick(lanes, KEY.Key_Space)
    assert stage.capture.hearing is Version.PLAYED
    qtbot.keyClick(lanes, KEY.Key_Return)
    assert stage.session.document.undo_label == "Keep 1 bar as played"


def test_everything_that_shows_can_be_reached_with_tab(stage: Stage) -> None:
    stage.play(*LATE)
    panel = stage.panel
    reached: set[QWidget] = set()
    here: QWidget = panel.bars
    for _ in range(40):
        reached.add(here)
        here = here.nextInFocusChain()
    wanted = (panel.hold, panel.grid, panel.strength, panel.lanes, panel.into, panel.keep_both)
    assert {*wanted, *panel.hear_buttons, *panel.keep_buttons} <= reached
    assert all(w.focusPolicy() & Qt.FocusPolicy.TabFocus for w in wanted)


def test_the_lanes_go_by_mouse(stage: Stage) -> None:
    stage.play(*LATE)
    lanes = stage.panel.lanes
    click(lanes, (50.0, 5.0))
    assert lanes.current == 0
    double_click(lanes, (50.0, lanes.height() - 5.0))
    assert stage.capture.hearing is Version.QUANTISED
    stage.panel.grab()  # a playhead too


def test_its_action_catches_what_was_played_and_gives_the_lanes_the_keys(stage: Stage) -> None:
    stage.play(*LATE)
    stage.panel.activateWindow()
    stage.panel.catch()
    assert stage.panel.hold.isChecked()
    assert stage.panel.focusWidget() is stage.panel.lanes


def test_hold_keeps_a_take_still_and_further_back_holds_too(stage: Stage) -> None:
    stage.play(*LATE)
    stage.panel.hold.click()
    stage.play((40, 90))
    assert len(stage.made.untouched) == 4
    stage.panel.hold.click()
    assert stage.made.untouched.pitch.tolist() == [90]
    assert stage.panel.stretch.isVisible() is (len(stage.capture.stretches) > 1)
    stage.capture.set_wish(stretch=len(stage.capture.stretches) - 1)
    if len(stage.capture.stretches) > 1:
        assert not stage.capture.following


def test_settings_are_remembered(stage: Stage, qtbot: QtBot, tmp_path: Path) -> None:
    stage.panel.bars.setValue(4)
    stage.panel.strength.setValue(35)
    stage.panel.latency.setValue(12)
    stage.panel.ends.setChecked(True)
    again = Capture(Session(Document()), settings_in(tmp_path))
    assert (again.wish.bars, again.wish.latency_ms) == (4, 12)
    assert (again.quantise.strength, again.quantise.ends) == (0.35, True)
    stage.settings.setValue("capture/strength", "loud")
    stage.settings.setValue("capture/bars", "-3")
    stage.settings.sync()
    broken = Capture(Session(Document()), settings_in(tmp_path))
    assert (broken.wish.bars, broken.quantise.strength) == (8, 0.6)


def test_a_panel_nobody_looks_at_works_nothing_out(stage: Stage, qtbot: QtBot) -> None:
    stage.panel.hide()
    stage.capture.heard(Played(5 * MS, bytes((0x90, 60, 70))))
    with qtbot.waitSignal(stage.capture.have):
        pass
    assert stage.capture.made is None
    stage.now = 10 * MS
    assert stage.capture.keep(Version.PLAYED)  # as by its shortcut
    assert len(stage.notes()) == 3


def test_an_input_that_vanishes_ends_its_notes(stage: Stage) -> None:
    stage.capture.heard(Played(0, bytes((0x90, 60, 70)), "A"))
    stage.now = BEAT_NS
    stage.capture.lost("A")
    stage.now = 9 * BEAT_NS
    stage.capture.refresh()
    assert stage.made.untouched.duration.tolist() == [PPQ]


def test_what_the_transport_tells_is_followed_until_its_process_ends(
    stage: Stage, qtbot: QtBot
) -> None:
    link = stage.player._link
    assert isinstance(link, RecordingLink)
    link.emit(Anchor(BAR, 0, True))
    stage.capture.heard(Played(BEAT_NS, bytes((0x90, 60, 70))))
    stage.now = 3 * BEAT_NS
    qtbot.waitUntil(lambda: stage.capture.made is not None and stage.made.playing)
    assert stage.made.untouched.onset.tolist() == [BAR + PPQ]
    link.emit(playback.Ended())
    qtbot.waitUntil(lambda: not stage.session.playing)
    stage.capture.heard(Played(4 * BEAT_NS, bytes((0x90, 62, 70))))
    stage.now = 5 * BEAT_NS
    qtbot.waitUntil(lambda: not stage.made.playing)
    stage.capture.set_wish(stretch=1)
    assert stage.made.untouched.duration.tolist() == [2 * PPQ]


def test_controllers_are_kept_beside_those_there(stage: Stage) -> None:
    score = stage.session.document.score
    there = Controls([0, BAR], [0xB0, 0xB0], [7, 7], [90, 91])
    score = score.with_track(replace(score.track(0), controls=there))
    taken = Take(
        Notes.of([0], [10], [60]),
        Notes.of([0], [10], [60]),
        Controls([5], [0xB0], [64], [127]),
        Controls([0], [0xB0], [64], [127]),
        0,
        BAR,
        True,
    )
    beside = kept(score, taken, Version.PLAYED, Target(0)).track(0).controls
    assert beside.tick.tolist() == [0, 5, BAR]
    over = kept(score, taken, Version.PLAYED, Target(0, over=True)).track(0).controls
    assert over.tick.tolist() == [5, BAR]


def test_words() -> None:
    assert ago(3) == "just now"
    assert ago(42) == "42 s ago"
    assert ago(600) == "10 min ago"
    assert about(Stretch(False, 0, 0, 1), 20_000 * MS) == "1 note freely, 20 s ago"
    assert remembered(0, 0) == ""
    assert remembered(720, 12345) == "12 345 notes in 12 min"
    assert [text for text, _ in pass_rows(3)] == [
        "Last pass",
        "1 pass before",
        "2 passes before",
        "All passes layered",
        "One after the other",
    ]
    assert len(pass_rows(1)) == 1


def test_it_draws_more_than_its_ground(stage: Stage) -> None:
    def inks() -> int:
        picture = QPixmap(stage.panel.lanes.size())
        stage.panel.lanes.render(picture)
        image = picture.toImage().convertToFormat(picture.toImage().Format.Format_RGB32)
        pixels = np.frombuffer(image.constBits(), np.uint32)
        return len(np.unique(pixels & 0xFFFFFF))

    empty = inks()
    stage.play(*LATE)
    assert inks() > empty

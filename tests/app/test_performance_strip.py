"""The strip of the performance view: what the performer plays, told apart from the machine's, while it is played."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QRect
from pytestqt.qtbot import QtBot
from stage import BAR
from test_performance_view import House, load

from app import theme
from app.panels.performance import PerformanceView
from app.panels.performance_played import PlayedIn
from app.panels.performance_strip import BEHIND_BARS, MOST_PLAYED, ComingBars
from app.session import Playhead
from engine import playback
from engine.staging import LIVE, View
from models.score import Notes, Score, Track
from models.timebase import PPQ, TempoMap

BEAT = 60 / 90
"""Seconds of a beat of the quartet."""


@pytest.fixture
def house(qtbot: QtBot, tmp_path: Path) -> House:
    made = House(qtbot, tmp_path)
    made.open()
    return made


def ns(seconds: float) -> int:
    return round(seconds * 1e9)


def strike(house: House, key: int, velocity: int = 80, source: str = "Keys") -> None:
    """A key goes down, or with velocity 0 up, at this moment."""
    message = bytes((0x90, key, velocity))
    house.player.played.emit(playback.Played(ns(house.clock), message, source))


def start(house: House, tick: float = PPQ, playing: bool = True) -> None:
    """The transport says that it is there."""
    house.session.set_playhead(Playhead(tick, house.clock, playing))
    house.player.anchored.emit(playback.Anchor(tick, ns(house.clock), playing))
    house.view.frame()


def wait(house: House, beats: float) -> None:
    """Time passes, a frame every tenth of a beat."""
    for _ in range(round(beats * 10)):
        house.clock += BEAT / 10
        house.view.frame()


# --- what is played, without a view --------------------------------------------------------------


def two_bars() -> tuple[PlayedIn, Score]:
    """A transport that goes round two bars at 60 beats a minute from the moment 0 on."""
    played, score = PlayedIn(), Score(tempo=TempoMap.constant(60))
    played.staged(score, (0, 2 * BAR), 0)
    played.anchored(playback.Anchor(0.0, 1, True))
    return played, score


def on(second: float, key: int, source: str = "Keys") -> playback.Played:
    return playback.Played(ns(second), bytes((0x91, key, 80)), source)


def off(second: float, key: int, source: str = "Keys") -> playback.Played:
    return playback.Played(ns(second), bytes((0x81, key, 0)), source)


def test_notes_lie_where_they_were_struck_and_last_while_they_are_held() -> None:
    played, _ = two_bars()
    for message in (on(1, 60), off(1.5, 60), on(2, 64)):
        played.heard(message)
    notes = played.notes(0, ns(2.25))
    assert notes.onset.tolist() == [PPQ, 2 * PPQ]
    assert notes.end.tolist() == [1.5 * PPQ, 2.25 * PPQ]
    assert played.down == (64,)
    assert played.notes(1.5 * PPQ, ns(3)).pitch.tolist() == [64]


def test_round_a_loop_time_goes_on() -> None:
    played, _ = two_bars()
    played.heard(on(7.5, 60))
    played.anchored(playback.Anchor(0.0, ns(8), True))
    played.heard(on(8.5, 62))
    assert played.notes(0, ns(9)).onset.tolist() == [7.5 * PPQ, 8.5 * PPQ]


@pytest.mark.parametrize("how", ["lost", "notes off", "restarted"])
def test_no_key_stays_down_for_ever(how: str) -> None:
    played, _ = two_bars()
    played.heard(on(1, 60, "A"))
    played.heard(on(1, 64, "B"))
    if how == "lost":
        played.lost("A", ns(2))
    elif how == "notes off":
        played.heard(playback.Played(ns(2), bytes((0xB1, 123, 0)), "A"))
    else:
        played.restarted(ns(2))
    assert played.down == ((64,) if how != "restarted" else ())
    notes = played.notes(0, ns(3))
    assert dict(zip(notes.pitch.tolist(), notes.end.tolist(), strict=True))[60] == 2 * PPQ


def test_a_stroke_that_starts_the_music_is_its_first_note() -> None:
    played = PlayedIn()
    played.staged(Score(tempo=TempoMap.constant(60)), None, 0)
    played.heard(on(5, 60))
    assert len(played.notes(0, ns(5))) == 0
    assert played.down == (60,)
    played.anchored(playback.Anchor(BAR, ns(5.01), True))
    played.heard(off(5.51, 60))
    notes = played.notes(0, ns(6))
    assert (notes.onset.tolist(), notes.end.tolist()) == ([BAR], [BAR + PPQ // 2])


# --- what is seen --------------------------------------------------------------------------------


def test_a_key_is_lit_while_it_is_down_and_hollow_after(house: House) -> None:
    strip = house.view.coming
    start(house)
    wait(house, 1)
    strike(house, 60)
    wait(house, 0.5)
    assert strip.played_shown == (0, 1)
    short = strip._lit[0].width()
    wait(house, 0.5)
    assert strip._lit[0].width() > 1.5 * short, "it grows while it is held"
    assert strip._lit[0].right() == pytest.approx(strip._head(), abs=3)
    strike(house, 60, 0)
    wait(house, 0.1)
    assert strip.played_shown == (1, 0)


def test_phrase_and_answer_are_on_one_strip(house: House) -> None:
    strip = house.view.coming
    start(house)
    for key in (60, 62, 64, 65):
        strike(house, key)
        wait(house, 0.9)
        strike(house, key, 0)
        wait(house, 0.1)
    assert strip.played_shown == (4, 0)
    house.press("G")
    answer = Track(LIVE, "Ricercar", Notes.of(PPQ + BAR + np.arange(8) * PPQ, PPQ, 72))
    house.stage.send(load(answer))
    house.tell(View(True, ahead=2.0))
    before = strip.notes_shown
    wait(house, 4)
    assert strip.played_shown == (4, 0), "a bar later the phrase is in sight"
    assert strip.notes_shown >= before, "and so is what it was played over"
    left = max(box.right() for box in strip._hollow)
    assert left < strip._head() - strip.width() / 8
    wait(house, 4 * BEHIND_BARS)
    assert strip.played_shown == (0, 0), "and then it makes room"


def test_a_view_that_opens_while_it_plays_knows_where_the_music_is(
    qtbot: QtBot, tmp_path: Path
) -> None:
    house = House(qtbot, tmp_path)
    start(house, PPQ + BAR)
    wait(house, 1)
    house.view = PerformanceView(house.performance)
    qtbot.addWidget(house.view)
    house.open()
    strike(house, 60)
    wait(house, 1)
    (box,) = house.view.coming._lit
    assert box.right() == pytest.approx(house.view.coming._head(), abs=3)
    assert box.width() > 20
    house.session.set_loop((PPQ, PPQ + 2 * BAR))
    strike(house, 60, 0)
    wait(house, 2.5)
    strike(house, 64)
    wait(house, 1)
    assert len(house.view.coming._lit) == 1, "and goes round the loop with it"


def test_what_was_played_goes_with_the_place_it_was_played_at(house: House) -> None:
    strip = house.view.coming
    start(house)
    strike(house, 60)
    wait(house, 5)
    strike(house, 60, 0)
    wait(house, 0.1)
    assert strip.played_shown == (2, 0), "over a bar line it is in both bars"
    start(house, PPQ + 3 * BAR)
    wait(house, 0.2)
    assert strip.played_shown == (0, 0)


def test_in_a_loop_of_one_bar_every_pass_is_a_bar_of_its_own(house: House) -> None:
    strip = house.view.coming
    house.session.set_loop((PPQ, PPQ + BAR))
    start(house)
    for beat in range(8):
        strike(house, 60 + beat)
        wait(house, 0.9)
        strike(house, 60 + beat, 0)
        wait(house, 0.1)
    assert strip.played_shown == (8, 0)
    lefts = sorted(box.left() for box in strip._hollow)
    assert np.diff(lefts).min() > 10


def test_at_rest_a_key_is_seen_at_the_playhead(house: House) -> None:
    strip = house.view.coming
    start(house, PPQ + 2 * PPQ, playing=False)
    strike(house, 60)
    strike(house, 64)
    assert strip.played_shown == (0, 2)
    assert {round(box.left()) for box in strip._lit} == {round(strip._head())}
    strike(house, 60, 0)
    strike(house, 64, 0)
    assert strip.played_shown == (0, 0)


def test_played_notes_are_told_apart_without_colour(house: House) -> None:
    """Hollow against filled, and no smaller than what can be seen at two metres."""
    strip = house.view.coming
    start(house)
    strike(house, 60)
    wait(house, 2)
    strike(house, 60, 0)
    strike(house, 67)
    wait(house, 1)
    picture = strip.grab().toImage()
    scale = picture.width() / strip.width()

    def light(x: float, y: float) -> float:
        return theme.luminance(picture.pixelColor(round(x * scale), round(y * scale)))

    (hollow,), (lit,) = strip._hollow, strip._lit
    for box in (hollow, lit):
        assert box.height() >= 0.015 * house.view.height()
    rim = max(light(hollow.center().x(), hollow.top() + d) for d in (0.5, 1.0, 1.5, 2.0))
    assert rim > 0.5
    assert light(hollow.center().x(), hollow.center().y()) < 0.2
    assert light(lit.center().x() - 4, lit.center().y()) > 0.8
    assert theme.COLOURS["selected"] not in theme.VOICES


def test_a_note_out_of_the_strips_compass_widens_it(house: House) -> None:
    strip = house.view.coming
    start(house)
    for key in (24, 103):
        strike(house, key)
        wait(house, 0.3)
    for box in strip._lit:
        assert 0 <= box.center().y() <= strip.height()


def test_of_a_flood_the_newest_are_drawn(house: House) -> None:
    strip = house.view.coming
    start(house)
    for i in range(1500):
        house.clock += 0.0005
        strike(house, 30 + i % 60)
        strike(house, 30 + i % 60, 0)
    house.view.frame()
    assert strip.played_shown == (MOST_PLAYED, 0)


def test_a_held_note_paints_no_more_than_itself(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    strip: ComingBars = house.view.coming
    start(house)
    strike(house, 60)
    wait(house, 0.3)
    asked: list[QRect] = []
    monkeypatch.setattr(strip, "update", lambda *box: asked.append(QRect(*box)))
    house.clock += BEAT / 10
    house.view.frame()
    assert asked
    assert all(0 < box.width() < strip.width() / 8 for box in asked), "an empty one is everything"

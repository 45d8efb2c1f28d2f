"""The Shape panel: sliders, map, corpus phrases, averages, controllers; one candidate that follows the hand."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from latent_toy import LATENT_TOY, SEMITONES, LatentToy, toy_space
from mouse import SHIFT, click, double_click, drag, move, press, release
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot
from stage import BAR, CARDS, RecordingLink, open_window, quartet

from app.composer import phrase_of, plan
from app.panels.latent import Plot
from app.panels.parameters import ParameterForm
from app.panels.sliders import Push, measured_text
from app.phrases import groups
from app.places import laid
from app.session import Session
from app.shaping import PUSHES
from app.window import Window
from engine import edits, exchange, playback
from engine.document import Document
from models.card import Task
from models.representations import melody
from models.score import Notes, Region, Score, Track
from models.timebase import PPQ, MeterMap

LOADING_MS = 120_000
"""The first request imports torch."""


def song(bars: int = 4) -> Score:
    """Eighths that go up and down, in one voice, and a silent second one."""
    onset = np.arange(8 * bars) * PPQ // 2
    pitch = 60 + np.array([0, 2, 4, 5, 7, 9, 7, 5] * bars)
    velocity = 40 + np.arange(8 * bars)
    return Score(
        (Track(0, "Melody", Notes.of(onset, PPQ // 2, pitch, velocity)), Track(1, "Second"))
    )


class Stage:
    """A window with the panel open on the first two bars of a song."""

    def __init__(
        self,
        qtbot: QtBot,
        folder: Path,
        score: Score | None = None,
        before: Callable[[int], None] | None = None,
    ) -> None:
        self.qtbot, self.toy = qtbot, LatentToy(before)
        self.window = open_window(
            qtbot,
            folder,
            score=score or song(),
            toy=self.toy,
            cards=(LATENT_TOY, *CARDS),
            spaces=lambda name: toy_space() if name == "latent_toy" else None,
            width=1280,
            height=900,
        )
        self.session, self.shaper = self.window.session, self.window.shaper
        self.session.set_span((0, 2 * BAR))
        self.window.toggle_dock("shape")

    def ready(self) -> Stage:
        """Once the phrase has been found on the map."""
        self.qtbot.waitUntil(lambda: self.shaper.home is not None, timeout=LOADING_MS)
        return self

    @property
    def plot(self) -> Plot:
        assert self.window.shape.map is not None
        return self.window.shape.map.plot

    def slider(self, name: str) -> Push:
        return self.window.shape.sliders.sliders[name]

    def until(self, condition: Callable[[], bool]) -> None:
        self.qtbot.waitUntil(condition, timeout=20_000)

    def quiet(self) -> bool:
        """Whether everything asked for has been answered."""
        return not self.shaper.busy

    @property
    def link(self) -> RecordingLink:
        link = self.window.player._link
        assert isinstance(link, RecordingLink)
        return link


@pytest.fixture
def stage(qtbot: QtBot, tmp_path: Path) -> Stage:
    return Stage(qtbot, tmp_path).ready()


def middle(widget: QWidget) -> tuple[float, float]:
    return widget.width() / 2, widget.height() / 2


def at(plot: Plot, place: tuple[float, float]) -> tuple[float, float]:
    pixel = plot.pixel(place)
    return pixel.x(), pixel.y()


def point_near(plot: Plot, index: int) -> tuple[float, float]:
    x, y = plot._points[index]
    return at(plot, (float(x), float(y)))


def lonely(plot: Plot, count: int) -> list[int]:
    """Points with nothing else near them, the dot included, so that a click means them and no other."""
    points = plot._points
    everything = np.vstack([points, np.array([plot._at or (0.0, 0.0)])])
    away = np.linalg.norm(points[:, None] - everything[None], axis=-1)
    np.fill_diagonal(away, np.inf)
    return [int(i) for i in np.argsort(away.min(1))[::-1][:count]]


# --- what a phrase is ------------------------------------------------------------------------------


def test_the_phrase_is_what_is_selected_else_what_is_marked(qtbot: QtBot) -> None:
    session = Session(Document(song()))
    assert phrase_of(session) == Region(0, 4 * BAR, frozenset({0}))
    session.set_span((BAR, 2 * BAR))
    assert phrase_of(session) == Region(BAR, 2 * BAR, frozenset({0}))
    session.select([17, 24])
    assert phrase_of(session) == Region(2 * BAR, 4 * BAR, frozenset({0})), "whole bars of the notes"
    session.select(())
    session.set_ticked([1])
    assert phrase_of(session) is None, "the ticked voice is silent"
    found = plan(session, LATENT_TOY, Task.RESHAPE, 8)
    assert found.region is None
    assert "Select" in found.sentence
    session.set_ticked(())
    found = plan(session, LATENT_TOY, Task.RESHAPE, 8)
    assert found.sentence == "Reshape Melody in bar 2."
    assert found.region == Region(BAR, 2 * BAR, frozenset({0}))


def test_selected_notes_fall_into_phrases() -> None:
    score = quartet()  # quarters after a pickup, note 17 i of voice i the first
    first, second = np.array([1, 2]), np.array([9, 10])
    apart = groups(score, np.concatenate([first, second]), 2)
    assert [(r.start, r.end) for r in apart] == [
        (PPQ, PPQ + BAR),
        (PPQ + 2 * BAR, PPQ + 3 * BAR),
    ]
    voices = groups(score, np.array([1, 18]), 2)
    assert [set(r.tracks) for r in voices] == [{0}, {1}]
    one_run = groups(song(4), np.arange(32), 2)
    assert [(r.start, r.end) for r in one_run] == [(0, 2 * BAR), (2 * BAR, 4 * BAR)]
    assert groups(score, np.zeros(0, np.int64), 2) == ()


def test_music_is_laid_into_a_region_around_what_stays() -> None:
    phrase = Notes.of(np.array([0, PPQ, 2 * PPQ]), PPQ, np.array([60, 62, 64]))
    region = Region(0, BAR, frozenset({0}))
    empty = laid(phrase, 3 * PPQ, region, Track(0, "A"))
    assert empty.notes.pitch.tolist() == [60, 62, 64, 60], "repeated, and cut at the end"
    assert empty.notes.velocity.tolist() == [80] * 4
    there = Notes.of(np.array([PPQ, 2 * PPQ]), PPQ, 50, np.array([30, 50]), locked=[True, False])
    kept = laid(phrase, 3 * PPQ, region, Track(0, "A", there))
    assert kept.notes.onset.tolist() == [0, 2 * PPQ, 3 * PPQ], "not over the locked note"
    assert set(kept.notes.velocity.tolist()) == {40}
    crossing = Notes.of([BAR - 10], 2 * PPQ, 50)
    assert laid(phrase, 3 * PPQ, region, Track(0, "A", crossing)).notes.length == 3 * PPQ


# --- sliders ---------------------------------------------------------------------------------------


def test_only_sliders_that_act_are_shown_with_what_the_phrase_measures(stage: Stage) -> None:
    sliders = stage.window.shape.sliders
    assert "tension" not in sliders.sliders
    assert "rhythm" not in sliders.sliders
    assert len(sliders.sliders) == 7
    assert sliders.values["density"].text() == "8.0"
    assert sliders.values["pitch"].text() == measured_text("pitch", 64.875)
    assert stage.window.shape.phrase.whole() == "Melody, bars 1–2"
    assert stage.session.candidates == (), "finding the phrase's place proposes nothing"
    assert stage.shaper.home == pytest.approx((4.875 / SEMITONES, 0))


def test_a_slider_is_seen_and_heard_at_once_and_kept_as_one_step(stage: Stage) -> None:
    session, slider = stage.session, stage.slider("pitch")
    before = session.score
    y = slider.height() / 2
    press(slider, (slider.width() / 2, y))
    for x in np.linspace(slider.width() / 2, slider.width() - 8, 12):
        move(slider, (float(x), y))
        stage.qtbot.wait(3)
    stage.until(lambda: bool(session.candidates) and stage.quiet())
    assert len(session.candidates) == 1, "one candidate that is replaced"
    key = session.candidates[0].key
    assert session.hearing
    shows = stage.link.of(playback.Show)
    plays = stage.link.of(playback.Play)
    assert plays
    assert plays[0] == playback.Play(0, 2 * BAR), "what rests plays the phrase and no further"
    assert stage.link.sent.index(plays[0]) > stage.link.sent.index(shows[-1]) or len(shows) > 1
    release(slider, (slider.width() - 8, y))
    stage.until(stage.quiet)
    assert slider.amount() == pytest.approx(3.0, abs=0.1)
    assert [c.key for c in session.candidates] == [key]
    (ghost,) = session.ghosts
    moved = round(SEMITONES * slider.amount())
    original = before.tracks[0].notes
    inside = original.inside(0, 2 * BAR)
    assert ghost.notes.pitch.tolist() == (original.pitch[inside].astype(int) + moved).tolist()
    assert stage.window.shape.sliders.values["pitch"].text() == f"65 → {round(64.875 + moved)}"
    click(stage.window.shape.keep, middle(stage.window.shape.keep))
    assert session.candidates == ()
    kept = session.score.tracks[0].notes
    assert kept.velocity[kept.inside(0, 2 * BAR)].tolist() == original.velocity[inside].tolist()
    assert kept.where(~kept.inside(0, 2 * BAR)) == original.where(~inside)
    assert slider.amount() == 0, "the new phrase is pushed by nothing"
    stage.until(lambda: stage.shaper.home is not None)
    session.undo()
    assert session.score == before


def test_released_the_phrase_is_played_from_its_beginning(stage: Stage) -> None:
    slider = stage.slider("density")
    drag(slider, [middle(slider), (slider.width() - 20, 9)])
    stage.until(lambda: len(stage.link.of(playback.Play)) >= 1 and stage.quiet())
    stage.until(lambda: stage.link.sent[-1] == playback.Play(0, 2 * BAR))
    stage.link.emit(playback.Anchor(2 * BAR, 0, False))  # as when the phrase has ended
    stage.until(lambda: playback.Seek(0) in stage.link.sent)
    assert not stage.session.playing


def test_what_plays_plays_on_with_the_phrase_in_its_place(stage: Stage) -> None:
    stage.session.seek(BAR)
    stage.window.toggle()
    stage.until(lambda: stage.session.playing)
    plays = len(stage.link.of(playback.Play))
    stage.shaper.push("pitch", 1.0, settled=True)
    stage.until(lambda: stage.session.hearing and stage.quiet())
    stage.until(lambda: stage.link.of(playback.Show)[-1].score is stage.session.heard)
    assert len(stage.link.of(playback.Play)) == plays


def test_a_double_click_and_the_reset_button_take_everything_back(stage: Stage) -> None:
    session, slider = stage.session, stage.slider("density")
    slider.setFocus()
    stage.qtbot.keyClick(slider, Qt.Key.Key_Right)
    assert slider.amount() == 0.25
    stage.qtbot.keyClick(slider, Qt.Key.Key_PageUp)
    assert slider.amount() == 1.25
    stage.until(lambda: bool(session.candidates))
    double_click(slider, (slider.width() / 4, 9))
    assert slider.amount() == 0
    stage.until(lambda: session.candidates == ())
    assert not session.hearing
    stage.shaper.push("pitch", 2)
    stage.shaper.push("density", -1)
    stage.until(lambda: bool(session.candidates) and stage.quiet())
    click(stage.window.shape.reset, middle(stage.window.shape.reset))
    stage.until(lambda: session.candidates == ())
    assert [s.amount() for s in stage.window.shape.sliders.sliders.values()] == [0] * 7


def test_under_a_fast_hand_the_newest_wish_follows_the_one_at_work(
    qtbot: QtBot, tmp_path: Path
) -> None:
    stage = Stage(qtbot, tmp_path, before=lambda _: time.sleep(0.02)).ready()
    asked = len(stage.toy.asked)
    for k in range(60):
        stage.shaper.push("pitch", k / 20)
    stage.until(lambda: stage.quiet() and bool(stage.session.candidates))
    values = [ask.params["pitch"] for ask in stage.toy.asked[asked:]]
    assert values[-1] == 59 / 20
    assert values[0] == 1 / 20, "the first is answered, not thrown away for the next"
    assert len(values) <= 4
    assert stage.session.candidates[-1].ask.params["pitch"] == 59 / 20


def test_a_push_that_comes_before_the_phrase_is_found_waits_for_it(
    qtbot: QtBot, tmp_path: Path
) -> None:
    stage = Stage(qtbot, tmp_path)
    stage.until(lambda: stage.shaper.space is not None)
    stage.shaper.push("pitch", 2)
    qtbot.waitUntil(lambda: bool(stage.session.candidates), timeout=LOADING_MS)
    assert stage.shaper.home == pytest.approx((4.875 / SEMITONES, 0)), (
        "its own place, not the new one"
    )
    assert [a.params["pitch"] for a in stage.toy.asked] == [0, 2]
    assert stage.shaper.place == pytest.approx((4.875 / SEMITONES + 2, 0))


def test_a_candidate_dropped_by_hand_leaves_the_sliders_at_rest(stage: Stage) -> None:
    stage.shaper.push("pitch", 2)
    stage.until(lambda: bool(stage.session.candidates) and stage.quiet())
    stage.window.drop()
    assert stage.slider("pitch").amount() == 0
    assert not stage.shaper.pushed


def test_other_music_is_another_phrase_and_the_shaped_one_waits_in_the_tray(stage: Stage) -> None:
    stage.shaper.push("pitch", 2)
    stage.until(lambda: bool(stage.session.candidates) and stage.quiet())
    stage.session.select([24])
    stage.until(lambda: stage.shaper.phrase == Region(3 * BAR, 4 * BAR, frozenset({0})))
    assert stage.slider("pitch").amount() == 0
    stage.ready().shaper.push("pitch", 1)
    stage.until(lambda: len(stage.session.candidates) == 2 and stage.quiet())
    one, two = stage.session.candidates
    assert (one.proposal.region.start, two.proposal.region.start) == (0, 3 * BAR)


def test_what_comes_too_late_for_its_document_is_forgotten(qtbot: QtBot, tmp_path: Path) -> None:
    working, go_on = threading.Event(), threading.Event()
    go_on.set()

    def before(_: int) -> None:
        working.set()
        go_on.wait(20)

    stage = Stage(qtbot, tmp_path, before=before).ready()
    stage.until(stage.quiet)
    working.clear()
    go_on.clear()
    stage.shaper.push("pitch", 2)
    assert working.wait(20)
    stage.session.replace_document(Document(quartet()))
    go_on.set()
    stage.until(stage.quiet)
    qtbot.wait(200)
    assert stage.session.candidates == ()
    stage.until(lambda: stage.window.shape.phrase.whole().startswith("Soprano"))
    assert stage.slider("pitch").amount() == 0


def test_what_the_system_cannot_take_is_said_in_its_own_words(qtbot: QtBot, tmp_path: Path) -> None:
    score = edits.set_meter(song(), MeterMap(np.array([0]), np.array([3]), np.array([4])))
    stage = Stage(qtbot, tmp_path, score)
    stage.until(lambda: "3/4" in stage.window.shape.phrase.whole())
    assert not stage.window.banner.isVisible(), "nobody has asked for anything yet"
    stage.shaper.push("pitch", 1)
    stage.until(lambda: "3/4" in stage.window.banner.text())
    assert stage.session.score == score
    assert stage.session.candidates == ()
    assert stage.slider("pitch").amount() == 0


# --- the map ---------------------------------------------------------------------------------------


def test_the_dot_is_dragged_and_heard(stage: Stage) -> None:
    plot, shaper = stage.plot, stage.shaper
    assert shaper.home is not None
    x, y = at(plot, shaper.home)
    goal = (shaper.home[0] - 1.0, shaper.home[1] + 1.5)
    press(plot.viewport(), (x + 2, y))
    steps = np.linspace((x, y), at(plot, goal), 9)
    for px, py in steps[1:]:
        move(plot.viewport(), (px, py))
        stage.qtbot.wait(3)
    stage.until(lambda: stage.session.hearing)
    release(plot.viewport(), tuple(steps[-1]))
    stage.until(stage.quiet)
    assert shaper.place == pytest.approx(goal, abs=0.08)
    params = stage.session.candidates[-1].ask.params
    assert params["map_x"] == pytest.approx(-1, abs=0.08)
    assert params["map_y"] == pytest.approx(1.5, abs=0.08)
    assert plot._at == shaper.place
    assert plot._own == shaper.home
    assert stage.link.sent[-1] == playback.Play(0, 2 * BAR)
    shaper.push("pitch", 1)
    stage.until(stage.quiet)
    assert shaper.place is not None
    assert shaper.place[0] == pytest.approx(goal[0] + 1, abs=0.08), "sliders move the dot"


def test_arrow_keys_move_the_dot_finer_with_shift_and_backspace_brings_it_home(
    stage: Stage,
) -> None:
    plot, shaper = stage.plot, stage.shaper
    plot.setFocus()
    home = shaper.home
    assert home is not None
    stage.qtbot.keyClick(plot, Qt.Key.Key_Right)
    coarse = stage.shaper.place
    assert coarse is not None
    stage.qtbot.keyClick(plot, Qt.Key.Key_Right, SHIFT)
    fine = stage.shaper.place
    assert fine is not None
    assert coarse[0] - home[0] == pytest.approx(5 * (fine[0] - coarse[0]), rel=0.01)
    stage.qtbot.keyClick(plot, Qt.Key.Key_Up)
    assert stage.shaper.place is not None
    assert stage.shaper.place[1] > home[1]
    stage.until(lambda: bool(stage.session.candidates) and stage.quiet())
    stage.qtbot.keyClick(plot, Qt.Key.Key_Backspace)
    assert stage.shaper.place == pytest.approx(home)
    stage.qtbot.keyClick(plot, Qt.Key.Key_Return)
    stage.until(lambda: stage.session.hearing)
    assert not shaper.pushed or len(stage.session.candidates) > 1, "a corpus phrase is heard"


def test_a_phrase_of_the_corpus_is_heard_by_a_click_and_stays_after_two(stage: Stage) -> None:
    plot, session = stage.plot, stage.session
    one, two = lonely(plot, 2)
    space = toy_space()
    for index in (one, two):
        click(plot.viewport(), point_near(plot, index))
        stage.until(lambda: session.hearing)
        assert len(session.candidates) == 1, "the next replaces it"
        (track,) = session.candidates[0].proposal.tracks
        onset, duration, pitch = melody.to_notes(space.point_tokens[index], 0)
        assert track.notes.onset.tolist() == onset.tolist()
        assert track.notes.duration.tolist() == duration.tolist()
        assert track.notes.pitch.tolist() == pitch.tolist()
    assert stage.link.sent[-1] == playback.Play(0, 2 * BAR)
    stage.qtbot.wait(QApplication.doubleClickInterval() // 8)
    double_click(plot.viewport(), point_near(plot, one))
    click(plot.viewport(), point_near(plot, two))
    assert len(session.candidates) == 2, "put there by the double click"


def test_without_music_a_corpus_phrase_makes_the_first_notes(qtbot: QtBot, tmp_path: Path) -> None:
    stage = Stage(qtbot, tmp_path, Score())
    stage.session.set_span(None)
    stage.until(lambda: stage.window.shape.map is not None and stage.shaper.space is not None)
    stage.window.places.hear_point(3)
    key = stage.session.candidates[0].key
    stage.session.keep(key)
    (track,) = stage.session.score.tracks
    assert track.name == "Melody"
    assert len(track.notes) > 3


def test_colours_follow_the_chosen_attribute(stage: Stage) -> None:
    shown = stage.window.shape.map
    assert shown is not None
    before = [b.color().name() for b in shown.plot._cloud.data["brush"]]
    shown.colouring.setCurrentIndex(shown.colouring.findData("pitch"))
    after = [b.color().name() for b in shown.plot._cloud.data["brush"]]
    assert before != after
    pitch = toy_space().point_attributes[:, 2].astype(float)
    assert after[int(pitch.argmin())] == "#3b528b"
    assert after[int(pitch.argmax())] == "#fde725"
    assert shown.high.text().endswith("MIDI pitch")


def test_the_path_is_drawn_from_a_to_b(stage: Stage) -> None:
    points = ((-1.0, 0.0), (0.0, 0.5), (1.0, 0.2))
    card = stage.window.shaper.card
    assert card is not None
    stage.session.set_path(card.id, points)
    x, y = stage.plot._path.getData()
    assert np.column_stack([x, y]).tolist() == [list(p) for p in points]
    assert [i.toPlainText() for i in stage.plot._ends] == ["A", "B"]
    stage.session.set_path("another", points)  # whose map is another
    assert stage.plot._path.getData()[0] is None or not len(stage.plot._path.getData()[0])


def test_a_selection_and_a_dropped_file_show_where_they_lie(stage: Stage, tmp_path: Path) -> None:
    stage.qtbot.keyClick(stage.window, Qt.Key.Key_P, Qt.KeyboardModifier.ControlModifier | SHIFT)
    stage.until(lambda: len(stage.window.places.placed) == 1)
    assert (stage.window.places.placed[0].x, stage.window.places.placed[0].y) == stage.shaper.home
    path = tmp_path / "high.mid"
    exchange.write(edits.move(song(2), np.arange(16), 0, 12), path)
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path))])
    copy, left = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton
    none, viewport = Qt.KeyboardModifier.NoModifier, stage.plot.viewport()
    QApplication.sendEvent(viewport, QDragEnterEvent(QPoint(60, 60), copy, data, left, none))
    QApplication.sendEvent(viewport, QDropEvent(QPointF(60, 60), copy, data, left, none))
    stage.until(lambda: len(stage.window.places.placed) == 2)
    placed = stage.window.places.placed[1]
    assert placed.name == "high"
    assert stage.shaper.home is not None
    assert placed.x == pytest.approx(stage.shaper.home[0] + 12 / SEMITONES)
    assert stage.session.score == song(), "nothing was opened"
    click(stage.plot.viewport(), at(stage.plot, (placed.x, placed.y)))
    stage.until(lambda: stage.session.hearing)
    (track,) = stage.session.candidates[0].proposal.tracks
    assert int(track.notes.pitch.min()) == 72


# --- other phrases ---------------------------------------------------------------------------------


def test_more_like_this_starts_from_what_is_heard(stage: Stage) -> None:
    stage.shaper.push("pitch", 2)
    stage.until(lambda: bool(stage.session.candidates) and stage.quiet())
    stage.window.shape.radius.setValue(0.8)
    click(stage.window.shape.more, middle(stage.window.shape.more))
    stage.until(lambda: len(stage.session.candidates) == 4 and stage.session.job is None)
    ask = stage.toy.asked[-1]
    assert (ask.task, ask.params["radius"], ask.count) == (Task.REGENERATE, 0.8, 3)
    (around,) = ask.phrases
    assert around.tracks[0].notes.pitch.mean() == pytest.approx(64.875 + 10)
    assert stage.session.hearing
    assert stage.session.shown_candidate == stage.session.candidates[1]


def test_surprises_go_into_what_is_marked_or_after_the_music(stage: Stage) -> None:
    stage.window.shape.temperature.setValue(1.4)
    click(stage.window.shape.surprise, middle(stage.window.shape.surprise))
    stage.until(lambda: stage.toy.asked[-1].task is Task.CREATE)
    assert stage.toy.asked[-1].params["temperature"] == 1.4
    assert stage.toy.asked[-1].region == Region(0, 2 * BAR, frozenset({0}))
    stage.until(lambda: stage.session.job is None)
    stage.session.set_span(None)
    stage.shaper.surprise(1.0)
    stage.until(lambda: stage.toy.asked[-1].region.start == 4 * BAR)
    assert stage.toy.asked[-1].region == Region(4 * BAR, 6 * BAR, frozenset({0}))


def test_the_average_of_selected_phrases_is_shaped_like_any_other(stage: Stage) -> None:
    average = stage.window.shape.average
    assert not average.isEnabled()
    stage.session.select(np.arange(32))
    stage.until(average.isEnabled)
    click(average, middle(average))
    stage.until(lambda: bool(stage.session.candidates) and stage.quiet())
    ask = stage.session.candidates[0].ask
    assert len(ask.phrases) == 2
    assert ask.region == Region(0, 2 * BAR, frozenset({0}))
    assert [p.length for p in ask.phrases] == [2 * BAR, 2 * BAR]
    assert stage.window.shape.phrase.whole() == "Average of 2 phrases, into bars 1–2"
    stage.shaper.push("pitch", 1)
    stage.until(lambda: stage.quiet() and len(stage.toy.asked[-1].phrases) == 2)
    assert stage.toy.asked[-1].params["pitch"] == 1
    stage.shaper.reset()
    assert stage.session.candidates == ()


# --- controllers -----------------------------------------------------------------------------------


def test_two_controllers_move_the_dot(stage: Stage) -> None:
    controllers = stage.window.controllers
    for target, number in (("map_x", 20), ("map_y", 21)):
        controllers.learn(target)
        controllers.receive(bytes((0xB0, number, 64)))
    for value in (0, 127):  # on its way a control takes hold of what it moves
        stage.link.emit(playback.Played(0, bytes((0xB0, 20, value))))
        stage.link.emit(playback.Played(0, bytes((0xB0, 21, 127 - value))))
    points = stage.plot._points
    goal = (points[:, 0].max(), points[:, 1].min())
    stage.until(lambda: stage.shaper.place == pytest.approx(goal, abs=1e-3))
    stage.until(lambda: stage.session.hearing and stage.quiet())


# --- the form --------------------------------------------------------------------------------------


def test_the_form_shows_what_matters_to_the_task(stage: Stage, qtbot: QtBot) -> None:
    form = ParameterForm(LATENT_TOY, None, Task.REGENERATE, PUSHES)
    qtbot.addWidget(form)
    assert set(form.values()) == {"radius"}
    compose = stage.window.compose
    compose.choose("latent_toy", Task.CREATE)
    assert set(compose.wishes().params) == {"temperature"}
    compose.choose_task(Task.RESHAPE)
    stage.shaper.push("pitch", 1.5)
    stage.until(stage.quiet)
    wishes = compose.wishes().params
    assert wishes["pitch"] == 1.5
    assert set(wishes) == set(PUSHES)
    before = len(stage.session.candidates)
    compose.generate()
    stage.until(lambda: len(stage.session.candidates) == before + 3)
    button = compose.findChild(QWidget, "open_shape")
    assert button is not None


def test_the_first_system_with_a_map_is_chosen_and_others_say_that_they_have_none(
    qtbot: QtBot, tmp_path: Path
) -> None:
    bare = replace(LATENT_TOY, id="bare", name="A bare one")
    toy = LatentToy()
    window = open_window(
        qtbot,
        tmp_path,
        score=song(),
        toy=toy,
        cards=(bare, LATENT_TOY, *CARDS),
        spaces=lambda name: toy_space() if name == "latent_toy" else None,
    )
    window.show_shape()
    qtbot.waitUntil(lambda: window.shaper.card is not None)
    assert window.shaper.card is LATENT_TOY
    assert not window.shape.unmapped.isVisible()
    window.shape.choose("bare")
    assert window.shaper.card is bare
    assert window.shape.unmapped.isVisible()
    assert window.shape.map is not None
    assert not window.shape.map.isVisible()
    assert window.shape.sliders.sliders == {}


def test_proposed_notes_above_the_window_are_brought_into_it(stage: Stage) -> None:
    stage.shaper.push("pitch", 0.5)
    stage.until(lambda: bool(stage.session.candidates) and stage.quiet())
    stage.shaper.push("pitch", 3, settled=True)
    stage.until(stage.quiet)
    (ghost,) = stage.session.ghosts
    view = stage.window.roll.view.viewport
    assert view.y(int(ghost.notes.pitch.max()) + 1) >= 0
    assert view.y(int(ghost.notes.pitch.min())) <= view.height


def test_leaving_and_coming_back_finds_everything_in_its_place(stage: Stage) -> None:
    window: Window = stage.window
    stage.shaper.push("pitch", 1)
    stage.until(lambda: bool(stage.session.candidates) and stage.quiet())
    window.toggle_dock("shape")
    window.toggle_dock("shape")
    stage.qtbot.wait(80)
    assert stage.slider("pitch").amount() == 1
    assert len(stage.session.candidates) == 1

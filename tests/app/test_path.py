"""The Path panel: A and B, the strip, listening while one slider moves, and keeping steps in order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import ToySystem
from mouse import CONTROL, SHIFT, click, double_click
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QPixmap
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot
from stage import BAR, OTHER, TOY, RecordingLink, open_window

from app import phrases, theme
from app.composer import Composer, plan
from app.errands import Errands
from app.panels.path import PathPanel
from app.pianoroll.canvas import Made, layers_of
from app.player import Player
from app.session import Playhead, Session
from app.window import Window
from engine import edits, exchange, playback, schedule
from engine.document import Document
from models.card import LATENT_PARAMS, Task
from models.score import Key, Notes, Region, Score, Track, UserError
from models.system import Ask, Context, Progress, Proposal
from models.timebase import PPQ, MeterMap, TempoMap

MORPH = replace(
    TOY,
    id="morph",
    name="Morph",
    tasks=(Task.INTERPOLATE,),
    params=tuple(p for p in LATENT_PARAMS if Task.INTERPOLATE in p.tasks),
)


class Morph(ToySystem):
    """Leads from A to B by letting more and more of the notes be B's; decodes A a tenth wrong."""

    card = MORPH

    def generate(self, ask: Ask, context: Context) -> Iterator[Proposal | Progress]:
        values = self.card.values(ask.params)
        count = values["steps"]
        assert isinstance(count, int)
        a, b = (phrase.tracks[0].notes for phrase in ask.phrases)
        length = 2 * BAR
        if not a.length <= length >= b.length:
            raise UserError("Morph knows phrases of two bars.")
        yield Progress(0.5, "Morphing")
        steps = []
        for k in range(count):
            edge = length * k // (count - 1)
            steps.append(phrases.joined([b.where(b.onset < edge), a.where(a.onset >= edge)]))
        start = ask.region.start
        notes = phrases.passage(steps, length)
        notes = notes.with_(onset=notes.onset + start)
        (track,) = ask.region.tracks
        figures = {
            "steps": count,
            "step_ticks": length,
            "difference_a": 0.1 if values["ends"] == "exact" else 0.0,
            "difference_b": 0.0,
            "largest_hamming_step": 0.25,
        }
        for k in range(count):
            figures |= {f"map_x_{k}": float(k), f"map_y_{k}": -float(k)}
        region = Region(start, start + count * length, ask.region.tracks)
        yield Proposal(
            0, region, (ask.score.track(track).with_notes(notes),), final=True, figures=figures
        )


def line(*pitches: int, start: int = 0, step: int = PPQ, first_id: int = 0) -> Notes:
    onset = start + step * np.arange(len(pitches))
    return Notes.of(onset, step - 20, list(pitches), 90, first_id=first_id)


UP, DOWN = (60, 62, 64, 65, 67, 69, 71, 72), (84, 83, 81, 79, 77, 76, 74, 72)


def song() -> Score:
    """Eight bars: a scale up in bars 1–2, silence, a scale down in bars 5–6; a bass below, which lasts."""
    melody = Notes.concatenate([line(*UP), line(*DOWN, start=4 * BAR, first_id=8)])
    bass = Notes.of(np.arange(8) * BAR, BAR, 36, first_id=16)
    tracks = (
        Track(0, "Melody", melody, program=52),
        Track(1, "Bass", bass, channel=1, program=32),
    )
    return Score(tracks, TempoMap.constant(120), MeterMap(), (Key(0, 0),), title="Song")


class Stage:
    """What the panel needs of a window, without the rest of it."""

    def __init__(self, qtbot: QtBot) -> None:
        application = QApplication.instance()
        assert isinstance(application, QApplication)
        theme.apply(application)
        self.session = Session(Document(song()))
        self.errands = Errands()
        self.composer = Composer(self.session, load=lambda _name, _device: Morph())
        self.player = Player(self.session, RecordingLink)
        self.path = PathPanel(self.session, self.composer, self.errands, (MORPH, TOY, OTHER))
        self.path.listener.play_asked.connect(self.player.play)
        self.path.listener.stop_asked.connect(lambda: self.player.send(playback.Stop()))
        self.player.start()
        qtbot.addWidget(self.path)
        self.path.resize(740, 240)
        self.path.show()
        qtbot.waitExposed(self.path)


@pytest.fixture
def stage(qtbot: QtBot) -> Iterator[Stage]:
    made = Stage(qtbot)
    yield made
    made.composer.close()
    made.player.close()


@pytest.fixture
def window(qtbot: QtBot, tmp_path: Path) -> Window:
    made = open_window(qtbot, tmp_path, score=song(), toy=Morph(), cards=(MORPH, TOY, OTHER))
    qtbot.waitUntil(lambda: made.player._link is not None)
    made.toggle_dock("path")
    return made


def link(window: Window | Stage) -> RecordingLink:
    found = window.player._link
    assert isinstance(found, RecordingLink)
    return found


def said(session: Session) -> list[str]:
    heard: list[str] = []
    session.message.connect(heard.append)
    return heard


def press(button: QWidget) -> None:
    click(button, (button.width() / 2, button.height() / 2))


def set_ends(window: Window | Stage) -> None:
    """A by marked bars, B by selected notes."""
    session = window.session
    session.set_span((0, 2 * BAR))
    press(window.path.cards[0].set_button)
    notes = session.score.tracks[0].notes
    session.select(notes.id[notes.onset >= 4 * BAR])
    press(window.path.cards[1].set_button)
    session.select(())


def make(window: Window | Stage, qtbot: QtBot, steps: int = 5) -> PathPanel:
    """A path of so many steps from A to B."""
    panel = window.path
    set_ends(window)
    panel.form.count.setValue(steps)
    before = panel.path
    press(panel.form.make_button)
    qtbot.waitUntil(lambda: panel.path is not before and window.session.job is None, timeout=60_000)
    return panel


# --- phrases -----------------------------------------------------------------------------------------


def test_a_phrase_begins_at_its_first_bar_and_keeps_what_it_is() -> None:
    score = song()
    phrase = phrases.of_bars(score, 0, 4 * BAR, 6 * BAR, "Melody, bars 5–6")
    assert phrase.notes.pitch.tolist() == list(DOWN)
    assert phrase.notes.onset[0] == 0
    assert phrase.notes.velocity.tolist() == [90] * 8
    assert (phrase.length, phrase.track, phrase.start) == (2 * BAR, 0, 4 * BAR)
    assert (phrase.score.tracks[0].program, phrase.score.tempo.bpm(0)) == (52, 120)
    assert phrase.score.keys == (Key(0, 0),)


def test_notes_are_cut_at_the_edges_and_slivers_left_out() -> None:
    long = Notes.of([BAR - 1000, BAR - 40, 2 * BAR - 500, 2 * BAR - 10], [2000, 80, 1000, 100], 60)
    cut = phrases.clipped(long, BAR, 2 * BAR)
    assert cut.onset.tolist() == [BAR, 2 * BAR - 500]
    assert cut.end.tolist() == [BAR + 1000, 2 * BAR]
    short = Notes.of([BAR + 10], [5], 60)
    assert phrases.clipped(short, BAR, 2 * BAR) == short, "a short note is no sliver"


def test_a_silent_place_is_no_phrase() -> None:
    with pytest.raises(UserError, match="Melody is silent there"):
        phrases.of_bars(song(), 0, 2 * BAR, 4 * BAR, "")
    with pytest.raises(UserError, match=r"empty\.mid has no notes"):
        phrases.of_piece(Score((Track(0, "Nothing"),)), "empty.mid")


def test_a_change_of_metre_inside_comes_along() -> None:
    meter = MeterMap(np.array([0, 5 * BAR]), np.array([4, 3]), np.array([4, 4]))
    phrase = phrases.of_bars(replace(song(), meter=meter), 0, 4 * BAR, 5 * BAR + 3 * PPQ, "")
    assert phrase.score.meter.at(0) == (4, 4)
    assert phrase.score.meter.at(BAR) == (3, 4)


def test_a_path_is_cut_into_its_steps_and_put_together_again() -> None:
    steps = (line(60, 62), line(64), Notes.of([], [], []))
    whole = phrases.passage(steps, BAR)
    moved = whole.with_(onset=whole.onset + 7 * BAR)
    proposal = Proposal(
        0,
        Region(7 * BAR, 10 * BAR),
        (Track(0, "x", moved),),
        figures={"steps": 3, "step_ticks": BAR, "map_x_2": 1.0},
    )
    path = phrases.path_of(proposal)
    assert path is not None
    assert [s.pitch.tolist() for s in path.steps] == [[60, 62], [64], []]
    assert [s.onset.tolist() for s in path.steps] == [[0, PPQ], [0], []]
    assert phrases.path_of(replace(proposal, figures={})) is None


# --- A and B -----------------------------------------------------------------------------------------


def test_marked_bars_and_selected_notes_become_a_and_b(stage: Stage) -> None:
    set_ends(stage)
    a, b = stage.session.ends
    assert a is not None
    assert b is not None
    assert (a.source, b.source) == ("Melody, bars 1–2", "Melody, bars 5–6")
    assert a.notes.pitch.tolist() == list(UP)
    assert b.notes.pitch.tolist() == list(DOWN)
    assert stage.path.cards[1].source.whole() == "Melody, bars 5–6"


def test_what_is_missing_is_said(window: Window) -> None:
    session, heard = window.session, said(window.session)
    press(window.path.cards[0].set_button)
    assert heard.pop() == (
        "Select the notes of a phrase, or mark its bars in the ruler, then set A."
    )
    session.set_span((2 * BAR, 4 * BAR))
    press(window.path.cards[1].set_button)
    assert "silent" in heard.pop()
    assert session.ends == (None, None)
    assert not window.path.form.make_button.isEnabled()
    window.make_path()
    assert heard.pop() == "Set A and B in the Path panel (F6) first."


def test_shortcuts_set_the_ends_and_make_the_path(window: Window, qtbot: QtBot) -> None:
    window.toggle_dock("path")
    window.roll.canvas.setFocus()
    window.session.set_span((0, 2 * BAR))
    qtbot.keyClick(window, Qt.Key.Key_A, Qt.KeyboardModifier.AltModifier)
    assert window.dock_shown("path"), "one sees what one has set"
    window.session.set_span((4 * BAR, 6 * BAR))
    qtbot.keyClick(window, Qt.Key.Key_B, Qt.KeyboardModifier.AltModifier)
    qtbot.keyClick(window, Qt.Key.Key_P, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: window.path.path is not None, timeout=60_000)
    strip = window.path.strip
    strip.setFocus()
    window.session.select([0])
    for key, current in ((Qt.Key.Key_End, 9), (Qt.Key.Key_Home, 0)):
        qtbot.keyClick(strip, key)
        assert strip.current == current, "while the strip has the focus its keys are its own"
    qtbot.keyClick(strip, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
    assert strip.selected == set(range(10))
    assert window.session.selection == {0}


def test_a_file_dropped_on_b_becomes_b(stage: Stage, qtbot: QtBot, tmp_path: Path) -> None:
    path = tmp_path / "tune.mid"
    exchange.write(Score((Track(0, "Empty"), Track(1, "Tune", line(*DOWN)))), path)
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path))])
    card = stage.path.cards[1]
    copy, left = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton
    none = Qt.KeyboardModifier.NoModifier
    QApplication.sendEvent(card, QDragEnterEvent(QPoint(5, 5), copy, data, left, none))
    QApplication.sendEvent(card, QDropEvent(QPointF(5, 5), copy, data, left, none))
    qtbot.waitUntil(lambda: stage.session.ends[1] is not None)
    b = stage.session.ends[1]
    assert b is not None
    assert (b.source, b.track, b.notes.pitch.tolist()) == ("tune.mid", None, list(DOWN))
    assert stage.session.score.title == "Song", "the document stays"


def test_a_file_that_is_none_is_said(stage: Stage, qtbot: QtBot, tmp_path: Path) -> None:
    path = tmp_path / "broken.mid"
    path.write_bytes(b"MThd nonsense")
    heard: list[str] = []
    stage.errands.failed.connect(heard.append)
    stage.path.drop_file(0, path)
    qtbot.waitUntil(lambda: bool(heard))
    assert "broken.mid" in heard[0]
    assert stage.session.ends == (None, None)


def test_ends_outlive_their_document_as_music_from_elsewhere(stage: Stage) -> None:
    set_ends(stage)
    stage.session.replace_document(Document(Score((Track(0, "Other"),))))
    a, b = stage.session.ends
    assert a is not None
    assert b is not None
    assert (a.track, a.start, a.notes.pitch.tolist()) == (None, None, list(UP))
    found = plan(stage.session, MORPH, Task.INTERPOLATE, 8)
    assert found.region == Region(0, 32 * 2 * BAR, frozenset({0}))


# --- making ------------------------------------------------------------------------------------------


def test_compose_knows_the_task(window: Window, qtbot: QtBot) -> None:
    compose = window.compose
    compose.choose("morph")
    window.roll.canvas.setFocus()
    qtbot.keyClick(window, Qt.Key.Key_5, Qt.KeyboardModifier.ControlModifier)
    assert compose.task is Task.INTERPOLATE
    assert compose.sentence.text() == "Set A and B in the Path panel (F6) first."
    assert not compose.generate_button.isEnabled()
    set_ends(window)
    assert compose.sentence.text() == "Lead from A (Melody, bars 1–2) to B (Melody, bars 5–6)."
    compose.count.setValue(1)
    press(compose.generate_button)
    qtbot.waitUntil(lambda: window.path.path is not None, timeout=60_000)
    assert window.path.strip.count == 8, "as the form says"


def test_a_path_becomes_a_strip(stage: Stage, qtbot: QtBot) -> None:
    panel = make(stage, qtbot)
    path = panel.path
    assert path is not None
    assert [s.pitch.tolist() for s in path.steps[::4]] == [list(UP), list(DOWN)]
    assert panel.strip.count == 5
    assert panel.slider.maximum() == 4
    assert panel.figures.text() == "A comes back 90 % · largest step 25 %"
    assert stage.session.path("morph") == tuple((float(k), -float(k)) for k in range(5))
    assert stage.session.path("other") == ()
    first = stage.session.candidates[-1].proposal
    assert first.region.start == 8 * BAR, "after the music"
    panel.form.ends.setCurrentIndex(panel.form.ends.findData("decoded"))
    make(stage, qtbot, steps=3)
    assert panel.strip.count == 3
    assert panel.figures.text() == "largest step 25 %"


def test_what_the_system_refuses_is_said(stage: Stage, qtbot: QtBot) -> None:
    set_ends(stage)
    stage.session.set_active_track(1)
    stage.session.set_span((0, 4 * BAR))
    stage.path.set_end(1)
    heard = said(stage.session)
    press(stage.path.form.make_button)
    qtbot.waitUntil(lambda: bool(heard), timeout=60_000)
    assert heard == ["Morph knows phrases of two bars."]
    assert stage.path.form.make_button.isVisible()


def test_steps_differ_to_the_eye(stage: Stage, qtbot: QtBot) -> None:
    panel = make(stage, qtbot)
    picture: QPixmap = panel.strip.grab()
    image = picture.toImage()
    seen = []
    for step in (0, 2, 4):
        box = panel.strip.cell(step).toRect().adjusted(6, 20, -6, -6)
        part = image.copy(box)
        seen.append(
            {
                part.pixelColor(x, y).name()
                for x in range(part.width())
                for y in range(part.height())
            }
        )
    assert "#62bdf0" in seen[0]
    assert "#f2a93b" in seen[2]
    assert not {"#62bdf0", "#f2a93b"} & seen[1], "in between, neither colour"


# --- the strip's keys and mouse ------------------------------------------------------------------------


def centre(panel: PathPanel, step: int) -> tuple[float, float]:
    middle = panel.strip.cell(step).center()
    return middle.x(), middle.y()


def test_the_mouse_selects_steps(stage: Stage, qtbot: QtBot) -> None:
    panel = make(stage, qtbot)
    strip = panel.strip
    click(strip, centre(panel, 1))
    assert strip.selected == {1}
    assert panel.slider.value() == 1
    click(strip, centre(panel, 3), SHIFT)
    assert strip.selected == {1, 2, 3}
    click(strip, centre(panel, 2), CONTROL)
    assert strip.selected == {1, 3}
    assert panel.keep_some.text() == "Keep 2"


def test_the_keyboard_reaches_every_step(stage: Stage, qtbot: QtBot) -> None:
    panel = make(stage, qtbot)
    strip = panel.strip
    strip.setFocus()
    key = Qt.Key
    for pressed, keys, current in (
        (key.Key_Right, Qt.KeyboardModifier.NoModifier, 1),
        (key.Key_Right, Qt.KeyboardModifier.NoModifier, 2),
        (key.Key_Left, Qt.KeyboardModifier.ShiftModifier, 1),
    ):
        qtbot.keyClick(strip, pressed, keys)
        assert (strip.current, panel.slider.value()) == (current, current)
    assert strip.selected == {1, 2}
    qtbot.keyClick(strip, key.Key_End)
    assert strip.current == 4
    qtbot.keyClick(strip, key.Key_Home)
    assert strip.current == 0
    qtbot.keyClick(strip, key.Key_A, Qt.KeyboardModifier.ControlModifier)
    assert strip.selected == set(range(5))


def test_places_of_the_slider_are_under_the_steps(stage: Stage, qtbot: QtBot) -> None:
    panel = make(stage, qtbot, steps=7)
    slider = panel.slider
    for width in (740, 560):
        panel.resize(width, 240)
        qtbot.wait(30)
        for step in (0, 3, 6):
            share = step / 6
            x = 7 + share * (slider.width() - 14)
            at = slider.mapTo(panel.strip.parentWidget(), QPoint(round(x), 0)).x()
            assert abs(at - panel.strip.cell(step).center().x()) < 3


# --- hearing -----------------------------------------------------------------------------------------


def shown(window: Window | Stage) -> list[Score]:
    return [c.score for c in link(window).of(playback.Show) if isinstance(c, playback.Show)]


def melody_of(score: Score, start: int = 0, end: int = 2 * BAR) -> list[int]:
    notes = score.track(0).notes
    return notes.where(notes.inside(start, end)).pitch.tolist()


def at(window: Window | Stage, tick: int) -> None:
    """The transport says it plays at `tick` now."""
    session = window.session
    session.set_playhead(Playhead(tick, session.now(), True))
    window.path.listener._follow()


def test_the_slider_scrubs_while_it_plays(stage: Stage, qtbot: QtBot) -> None:
    panel, session = make(stage, qtbot), stage.session
    before = session.document.score
    known: dict[int, Made] = {}
    session.show_candidate(None)
    assert not layers_of(session, known)[0].faint.any()
    session.set_loop((0, 4 * BAR))
    press(panel.play_button)
    assert session.loop == (0, 2 * BAR)
    assert link(stage).of(playback.Play)[-1] == playback.Play(0, 2 * BAR)
    assert melody_of(shown(stage)[-1]) == list(UP)
    assert panel.play_button.isChecked()
    at(stage, PPQ)
    panel.slider.setValue(4)
    heard = session.heard
    assert melody_of(heard) == [*UP[:4], *DOWN[4:]], "this bar to its end, the next one new"
    at(stage, BAR + 10)
    assert melody_of(session.heard) == list(DOWN)
    assert panel.listener.step == 4
    assert session.score is before, "views draw the document"
    assert session.document.score is before
    assert [g.notes.pitch.tolist() for g in session.ghosts] == [list(DOWN)]
    assert layers_of(session, known)[0].faint.sum() == 8, "what they take the place of is faint"
    qtbot.waitUntil(lambda: melody_of(shown(stage)[-1]) == list(DOWN))
    press(panel.play_button)
    assert not panel.listener.listening
    assert session.heard is before
    assert session.loop == (0, 4 * BAR), "the loop is given back"


def test_a_controller_moves_the_slider(window: Window, qtbot: QtBot) -> None:
    panel = make(window, qtbot)
    window.controllers.learn("path")
    window.controllers.receive(bytes((0xB0, 20, 0)))
    for value, step in ((127, 4), (64, 2), (0, 0), (40, 1)):
        window.controllers.receive(bytes((0xB0, 20, value)))
        qtbot.waitUntil(lambda step=step: panel.slider.value() == step)
        assert panel.strip.current == step


def test_stopping_the_transport_ends_the_preview(window: Window, qtbot: QtBot) -> None:
    panel, session = make(window, qtbot), window.session
    click(panel.strip, centre(panel, 2))
    assert panel.listener.looping
    qtbot.waitUntil(lambda: session.playing)
    window.roll.canvas.setFocus()
    qtbot.keyClick(window.roll.canvas, Qt.Key.Key_Space)
    qtbot.waitUntil(lambda: not panel.listener.listening)
    assert session.heard is session.document.score
    assert session.loop is None


def test_one_step_plays_once(stage: Stage, qtbot: QtBot) -> None:
    panel, session = make(stage, qtbot), stage.session
    panel.loop_button.setChecked(False)
    click(panel.strip, centre(panel, 4))
    assert link(stage).of(playback.Play)[-1] == playback.Play(0, 2 * BAR)
    assert melody_of(session.heard) == list(DOWN)
    assert session.loop is None
    qtbot.waitUntil(lambda: session.playing)
    session.set_playhead(Playhead(2 * BAR))  # as the transport does at the end
    assert session.heard is session.document.score
    panel.strip.setFocus()
    qtbot.keyClick(panel.strip, Qt.Key.Key_Return)
    assert panel.listener.listening
    assert not panel.listener.looping
    double_click(panel.strip, centre(panel, 0))
    assert melody_of(session.heard) == list(UP)


def test_alone_or_with_the_others(stage: Stage, qtbot: QtBot) -> None:
    panel, session = make(stage, qtbot), stage.session
    press(panel.play_button)
    assert schedule.audible(session.heard) == {0}
    panel.alone.setChecked(False)
    assert schedule.audible(session.heard) == {0, 1}
    session.revert()
    assert not any(t.soloed for t in session.document.score.tracks)


def test_a_loop_is_played_to_its_end_though_the_music_is_over(stage: Stage) -> None:
    stage.session.set_loop((6 * BAR, 12 * BAR))
    stage.player.play(6 * BAR)
    assert link(stage).of(playback.Play)[-1] == playback.Play(6 * BAR, 12 * BAR)


def test_b_is_heard_where_it_is(stage: Stage) -> None:
    set_ends(stage)
    press(stage.path.cards[1].picture)
    assert link(stage).of(playback.Play)[-1] == playback.Play(4 * BAR, 6 * BAR)


@pytest.mark.parametrize("other", ["edit", "undo", "hear", "open"])
def test_what_takes_its_place_ends_the_listening(stage: Stage, qtbot: QtBot, other: str) -> None:
    panel, session = make(stage, qtbot), stage.session
    session.commit("Quieter", edits.set_velocity(session.document.score, [0], 40))
    press(panel.play_button)
    assert session.trial is not None
    if other == "edit":
        session.commit("Louder", edits.set_velocity(session.document.score, [0], 100))
    elif other == "undo":
        session.undo()
    elif other == "hear":
        session.hear(session.candidates[-1].key)
    else:
        session.replace_document(Document(song()))
    assert session.trial is None
    assert not panel.listener.listening
    assert not panel.play_button.isChecked()
    assert session.loop is None
    assert session.hearing == (other == "hear")
    if other != "hear":
        assert session.heard is session.document.score


def test_a_new_path_is_heard_in_place_of_the_old(stage: Stage, qtbot: QtBot) -> None:
    panel = make(stage, qtbot)
    press(panel.play_button)
    panel.slider.setValue(4)
    panel.form.count.setValue(3)
    press(panel.form.make_button)
    qtbot.waitUntil(lambda: panel.strip.count == 3, timeout=60_000)
    assert panel.listener.looping
    assert panel.slider.value() == 2
    assert melody_of(stage.session.heard) == list(DOWN)


# --- keeping -----------------------------------------------------------------------------------------


def test_the_path_is_kept_after_the_music_as_one_step(stage: Stage, qtbot: QtBot) -> None:
    panel, session = make(stage, qtbot), stage.session
    before, position = session.document.score, session.document.position
    press(panel.play_button)
    press(panel.keep_all)
    score = session.document.score
    assert session.document.position == position + 1
    assert session.document.undo_label == "Keep path"
    assert not session.candidates
    assert not session.ghosts
    assert panel.strip.count == 5, "it can still be heard"
    notes = score.track(0).notes
    old = notes.having(before.track(0).notes.id)
    assert notes.where(old) == before.track(0).notes
    assert notes.onset[~old].min() == 8 * BAR
    assert notes.length <= (8 + 10) * BAR
    assert notes.where(~old).pitch[:8].tolist() == list(UP)
    assert score.track(1).notes is before.track(1).notes
    ids = np.concatenate([t.notes.id for t in score.tracks])
    assert len(set(ids.tolist())) == len(ids)
    session.undo()
    assert session.document.score == before


def test_selected_steps_are_kept_in_order_on_a_new_track(stage: Stage, qtbot: QtBot) -> None:
    panel, session = make(stage, qtbot), stage.session
    before = session.document.score
    click(panel.strip, centre(panel, 4))
    click(panel.strip, centre(panel, 0), CONTROL)
    panel.place.setCurrentIndex(panel.place.findData("at_a"))
    panel.track.setCurrentIndex(panel.track.findData("new"))
    press(panel.keep_some)
    score = session.document.score
    assert [t.name for t in score.tracks] == ["Melody", "Bass", "Path"]
    new = score.tracks[2]
    assert new.notes.pitch.tolist() == [*UP, *DOWN]
    assert new.notes.onset.tolist() == [*(PPQ * k for k in range(16))]
    assert (new.program, new.channel) == (52, 2)
    assert score.tracks[:2] == before.tracks


def test_no_note_is_overwritten(stage: Stage, qtbot: QtBot) -> None:
    panel, session = make(stage, qtbot), stage.session
    heard, before = said(session), session.document.score
    panel.place.setCurrentIndex(panel.place.findData("at_a"))
    press(panel.keep_all)
    assert heard == [
        "Melody already has notes where the path would go: "
        "put it after the music, or on a new track."
    ]
    assert session.document.score is before
    # Two steps would run into bar 5, one fits.
    session.set_span((2 * BAR, 4 * BAR))
    panel.place.setCurrentIndex(panel.place.findData("marked"))
    click(panel.strip, centre(panel, 2))
    press(panel.keep_some)
    notes = session.document.score.track(0).notes
    assert notes.inside(2 * BAR, 4 * BAR).sum() == 8
    session.undo()
    click(panel.strip, centre(panel, 3), SHIFT)
    press(panel.keep_some)
    assert len(heard) == 2
    assert session.document.score == before


def test_a_path_is_kept_though_its_track_has_gone(stage: Stage, qtbot: QtBot) -> None:
    panel, session = make(stage, qtbot), stage.session
    session.commit("Remove", edits.remove_track(session.document.score, 0))
    press(panel.play_button)
    assert [t.name for t in session.heard.tracks] == ["Bass", "Path"]
    press(panel.keep_all)
    assert [t.name for t in session.document.score.tracks] == ["Bass", "Path"]
    assert len(session.document.score.tracks[1].notes) == 40

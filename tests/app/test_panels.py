"""The panels: what a card's form asks, what headers change, what the tray and the transport say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mouse import click, drag
from PySide6.QtCore import QSettings, Qt
from PySide6.QtWidgets import QCheckBox, QComboBox, QLineEdit, QSpinBox, QWidget
from pytestqt.qtbot import QtBot
from stage import BAR, CARDS, OTHER, TOY, RecordingLink, quartet

from app.composer import Composer, plan
from app.panels.browser import about
from app.panels.devices import DevicesDialog
from app.panels.parameters import NumberEdit, ParameterForm, RangeEdit
from app.panels.proposals import ProposalsPanel
from app.panels.systems import ComposePanel
from app.panels.tracks import TracksPanel
from app.panels.transport import TransportBar, clock_text, key_text, position_text, with_tempo
from app.player import Player, port_title
from app.rig import OWN_INPUT, Rig
from app.session import Session
from engine import edits, playback
from engine.document import Document
from models import catalogue
from models.card import Card, Param, Task
from models.score import Key, Notes, Region, Score, Track
from models.system import Ask, Progress, Proposal
from models.timebase import PPQ, MeterMap, TempoMap


@pytest.fixture
def session(qtbot: QtBot) -> Session:
    return Session(Document(quartet()))


def shown(qtbot: QtBot, widget: QWidget) -> None:
    qtbot.addWidget(widget)
    widget.resize(300, 600)
    widget.show()
    qtbot.waitExposed(widget)


# --- parameters ------------------------------------------------------------------------------------


def test_a_form_gives_the_values_it_was_given(qtbot: QtBot) -> None:
    values = {
        "steps": 12,
        "temperature": 0.7,
        "keep_rhythm": True,
        "range": (61, 65),
        "mode": "exact",
        "words": "Jesu",
    }
    form = ParameterForm(TOY, values)
    qtbot.addWidget(form)
    assert form.values() == values
    assert {name: type(v) for name, v in form.values().items()} == {
        p.name: type(p.default) for p in TOY.params
    }


@pytest.mark.parametrize("card", catalogue.cards(), ids=lambda c: c.id)
def test_every_card_makes_a_form_of_its_defaults(qtbot: QtBot, card: Card) -> None:
    form = ParameterForm(card)
    qtbot.addWidget(form)
    assert card.values(form.values()) == card.values()
    assert about(card).startswith(card.name)


def test_a_form_is_edited_by_hand(qtbot: QtBot) -> None:
    form = ParameterForm(TOY)
    shown(qtbot, form)
    told: list[int] = []
    form.edited.connect(lambda: told.append(1))
    check = form.findChild(QCheckBox, "param_keep_rhythm")
    combo = form.findChild(QComboBox, "param_mode")
    line = form.findChild(QLineEdit, "param_words")
    numbers = form.findChild(NumberEdit, "param_temperature")
    assert check is not None
    assert combo is not None
    assert line is not None
    assert numbers is not None
    click(check, (8, check.height() / 2))
    combo.setCurrentText("exact")
    qtbot.keyClicks(line, "!")
    numbers.spin.setFocus()
    numbers.spin.selectAll()
    qtbot.keyClicks(numbers.spin, "1.5")
    numbers.spin.clearFocus()
    got = form.values()
    assert (got["keep_rhythm"], got["mode"], got["words"]) == (True, "exact", "none!")
    assert got["temperature"] == 1.5
    assert len(told) >= 4


def test_a_number_stays_within_its_bounds(qtbot: QtBot) -> None:
    edit = NumberEdit(Param("iterations", 500, 1, 5000))
    qtbot.addWidget(edit)
    edit.set_value(500)
    middle = edit.slider.value()
    assert 0.6 < middle / edit.slider.maximum() < 0.85, "a wide range moves by ratios"
    for position, value in ((0, 1), (edit.slider.maximum(), 5000)):
        edit.slider.setValue(position)
        assert edit.value() == value
    edit.spin.setValue(99999)
    assert edit.value() == 5000
    fine = NumberEdit(Param("temperature", 1.0, 0.1, 2.0))
    qtbot.addWidget(fine)
    fine.slider.setValue(fine.slider.maximum() // 2)
    assert fine.value() == pytest.approx(1.05)


def test_a_range_never_crosses(qtbot: QtBot) -> None:
    edit = RangeEdit(Param("range", (60, 72), 36, 96))
    qtbot.addWidget(edit)
    edit.set_value((60, 72))
    edit.low.setValue(80)
    assert edit.value() == (80, 80)
    edit.high.setValue(50)
    assert edit.value() == (50, 50)


# --- compose -----------------------------------------------------------------------------------------


@pytest.fixture
def compose(qtbot: QtBot, session: Session) -> ComposePanel:
    panel = ComposePanel(session, Composer(session), CARDS, np.random.default_rng(1))
    shown(qtbot, panel)
    return panel


def test_choosing_a_system_shows_its_tasks_and_keeps_its_settings(compose: ComposePanel) -> None:
    assert compose.card is TOY
    assert list(compose.tasks) == [Task.CREATE, Task.REGENERATE]
    form = compose.findChild(ParameterForm)
    assert isinstance(form, ParameterForm)
    form.set_values({"steps": 99})
    compose.choose("other")
    assert list(compose.tasks) == [Task.CONTINUE, Task.ACCOMPANY]
    assert compose.wishes().params == {}
    compose.choose("toy", Task.CREATE)
    assert compose.wishes().params["steps"] == 99
    compose.reset.click()
    assert compose.wishes().params["steps"] == 5


def test_the_sentence_says_what_generate_would_do(compose: ComposePanel, session: Session) -> None:
    compose.choose("toy", Task.REGENERATE)
    assert "Tick the voices" in compose.sentence.text()
    assert not compose.generate_button.isEnabled()
    session.set_ticked([1, 2])
    session.set_span((PPQ, PPQ + 2 * BAR))
    assert compose.sentence.text() == "Rewrite Alto and Tenor in bars 1–2."
    assert compose.generate_button.isEnabled()
    session.set_ticked([1, 2, 3])
    session.set_span((PPQ, PPQ + BAR))
    assert compose.sentence.text() == "Rewrite Alto, Tenor and Bass in bar 1."


def test_every_task_is_planned_or_says_what_it_needs(session: Session) -> None:
    whole = (0, PPQ + 4 * BAR)
    assert plan(session, TOY, Task.REGENERATE, 4).region is None
    session.set_ticked([0, 2])
    assert plan(session, TOY, Task.REGENERATE, 4).region == Region(*whole, frozenset({0, 2}))
    found = plan(session, TOY, Task.ACCOMPANY, 4)
    assert (found.melody, found.region) == (0, Region(*whole, frozenset({2})))
    assert found.sentence == "Accompany Soprano in bars 0–4, into Tenor."
    session.set_ticked([])
    created = plan(session, TOY, Task.CREATE, 4)
    assert created.region == Region(whole[1], whole[1] + 4 * BAR)
    assert created.sentence == "Create bars 5–8."
    assert plan(session, TOY, Task.CONTINUE, 1).sentence == "Continue bar 5 in Soprano."
    session.set_span((PPQ, PPQ + BAR))
    assert plan(session, TOY, Task.CREATE, 4).region == Region(PPQ, PPQ + BAR)
    silent = edits.clear(session.score, Region(0, BAR * 9, frozenset({0})))
    session.commit("Clear", silent)
    assert "pick another" in plan(session, TOY, Task.ACCOMPANY, 4).sentence
    session.replace_document(Document(Score((Track(0, "Melody"),))))
    for task in (Task.ACCOMPANY, Task.CONTINUE, Task.REGENERATE):
        assert plan(session, TOY, task, 4).region is None
    assert plan(session, TOY, Task.CREATE, 2).region == Region(0, 2 * BAR)


def test_a_systems_own_voices_are_used_where_they_are_silent(session: Session) -> None:
    card = replace(TOY, voices=("soprano", "alto", "tenor", "bass"))
    after = plan(session, card, Task.CREATE, 2)
    assert after.region == Region(PPQ + 4 * BAR, PPQ + 6 * BAR, frozenset({0, 1, 2, 3}))
    assert after.sentence == "Create bars 5–6 in Soprano, Alto, Tenor and Bass."
    session.set_span((PPQ, PPQ + BAR))
    over = plan(session, card, Task.CREATE, 2).region
    assert over is not None
    assert not over.tracks, "nothing is overwritten that was not ticked"
    session.commit("Clear", edits.clear(session.score, Region(0, 9 * BAR, frozenset({1, 2, 3}))))
    found = plan(session, card, Task.ACCOMPANY, 2)
    assert found.melody == 0
    assert found.sentence == "Accompany Soprano in bar 1, into Alto, Tenor and Bass."


def piece(*parts: tuple[str, int, int]) -> Score:
    """Tracks by name, first bar and number of bars of quarters, on channels in order."""
    return Score(
        tuple(
            Track(i, name, Notes.of(np.arange(4 * bars) * PPQ + first * BAR, PPQ, 60), channel=i)
            for i, (name, first, bars) in enumerate(parts)
        )
    )


@pytest.mark.parametrize(
    ("makes", "voices", "ticked", "tracks"),
    [
        ("melody", ("melody",), (), {1}),  # the active one
        ("polyphony", ("piano",), (), {0, 1}),  # all that have notes
        ("melody", ("melody",), (0,), {0}),
        ("polyphony", ("piano",), (0, 1), {0, 1}),
        ("melody", ("flute",), (), {0}),  # its own
        ("melody", ("empty",), (), {1}),  # whose own has nothing to go on from
        ("chords and melody", ("chords", "melody"), (), {0, 1}),
    ],
)
def test_what_goes_on_is_what_is_heard(
    session: Session, makes: str, voices: tuple[str, ...], ticked: tuple[int, ...], tracks: set[int]
) -> None:
    card = replace(TOY, voices=voices, objective=replace(TOY.objective, type=makes))
    session.replace_document(Document(piece(("Flute", 0, 4), ("Oboe", 0, 2), ("Empty", 0, 0))))
    session.set_active_track(1)
    session.set_ticked(ticked)
    found = plan(session, card, Task.CONTINUE, 2)
    assert found.region == Region(4 * BAR, 6 * BAR, frozenset(tracks))


def test_marked_bars_are_continued_where_nothing_sounds(compose: ComposePanel) -> None:
    session = compose.session
    session.replace_document(Document(piece(("Flute", 0, 4), ("Oboe", 0, 2))))
    session.set_active_track(1)
    compose.choose("other", Task.CONTINUE)
    assert compose.sentence.text() == "Continue bars 5–12 in Oboe."
    assert compose.bars.isVisible()
    session.set_span((2 * BAR, 4 * BAR))
    assert compose.sentence.text() == "Continue bars 3–4 in Oboe."
    assert not compose.bars.isVisible()
    for ticked, span in (((), (BAR, 3 * BAR)), ((0,), (2 * BAR, 4 * BAR)), ((1,), (0, BAR))):
        session.set_ticked(ticked)
        session.set_span(span)
        where = compose.sentence.text()
        assert where.startswith("Continue bars 5–12 in"), "music that sounds is not written over"
        assert compose.bars.isVisible()


def test_chords_go_under_a_melody_on_a_track_of_their_own(session: Session) -> None:
    card = replace(TOY, voices=("chords",))
    found = plan(session, card, Task.ACCOMPANY, 4)
    assert found.sentence == "Accompany Soprano in bars 0–4, on a new track."
    assert found.region == Region(0, PPQ + 4 * BAR)
    assert found.melody == 0
    session.commit(
        "Add", replace(session.score, tracks=(*session.score.tracks, Track(9, "Chords")))
    )
    found = plan(session, card, Task.ACCOMPANY, 4)
    assert found.region == Region(0, PPQ + 4 * BAR, frozenset({9}))
    counted = piece(*((f"Part {i}", 0, 1) for i in range(6)))
    session.replace_document(Document(counted))
    many = replace(card, objective=replace(card.objective, type="polyphony"))
    assert plan(session, many, Task.CONTINUE, 1).sentence == "Continue bar 2 in 6 voices."


def test_many_systems_are_searched(qtbot: QtBot, session: Session) -> None:
    cards = tuple(replace(TOY, id=f"s{i}", name=f"System {i}") for i in range(8))
    cards += (replace(OTHER, source="Hadjeres 2017"),)
    panel = ComposePanel(session, Composer(session), cards, np.random.default_rng(1))
    shown(qtbot, panel)
    assert panel.browser.search.isVisible()
    qtbot.keyClicks(panel.browser.search, "hadj accomp")
    assert [c.id for c in panel.browser.model.shown] == ["other"]
    assert panel.card is cards[-1]
    panel.browser.search.clear()
    assert len(panel.browser.model.shown) == 9


def test_a_task_the_system_lacks_is_said(compose: ComposePanel, session: Session) -> None:
    said: list[str] = []
    session.message.connect(said.append)
    compose.choose_task(Task.CONTINUE)
    assert said == ["Toy cannot continue; it can create, regenerate."]
    assert compose.task is not Task.CONTINUE


# --- tracks ------------------------------------------------------------------------------------------


@pytest.fixture
def tracks(qtbot: QtBot, session: Session) -> TracksPanel:
    panel = TracksPanel(session)
    shown(qtbot, panel)
    return panel


def test_a_header_changes_its_track_one_step_each(
    qtbot: QtBot, tracks: TracksPanel, session: Session
) -> None:
    header = tracks.headers[1]
    click(header.mute, (12, 11))
    assert session.score.track(1).muted
    assert session.document.undo_label == "Mute"
    click(header.solo, (12, 11))
    assert session.score.track(1).soloed
    click(header.lock, (12, 11))
    assert session.score.track(1).notes.locked.all()
    header.name.setFocus()
    header.name.selectAll()
    qtbot.keyClicks(header.name, "Viola")
    qtbot.keyClick(header.name, Qt.Key.Key_Return)
    assert session.score.track(1).name == "Viola"
    header.program.setCurrentIndex(header.program.findText("Organ"))
    header.program.activated.emit(header.program.currentIndex())
    assert session.score.track(1).program == 19
    for _ in range(5):
        session.undo()
    assert session.score == quartet()
    assert not header.mute.isChecked()
    assert header.name.text() == "Alto"


def test_of_a_long_name_the_beginning_is_seen(tracks: TracksPanel, session: Session) -> None:
    named = edits.set_track(session.document.score, 1, name="Capture 1 as played, the first time")
    session.commit("Rename track", named)
    assert tracks.headers[1].name.cursorPosition() == 0


def test_dragging_the_volume_is_one_step(tracks: TracksPanel, session: Session) -> None:
    slider = tracks.headers[0].volume
    y = slider.height() / 2
    at = 8 + (slider.width() - 16) * session.score.track(0).volume / 127
    drag(slider, [(at, y), (at - 10, y), (at - 20, y), (at - 30, y)])
    assert 20 < session.score.track(0).volume < 80
    assert session.document.undo_label == "Change volume"
    session.undo()
    assert session.score.track(0).volume == 100
    assert session.document.undo_label is None


def test_ticks_and_clicks_choose_voices(tracks: TracksPanel, session: Session) -> None:
    for track_id in (1, 3):
        click(tracks.headers[track_id].tick, (10, 10))
    assert session.ticked == {1, 3}
    click(tracks.headers[1].tick, (10, 10))
    assert session.ticked == {3}
    header = tracks.headers[2]
    click(header, (6, header.height() - 3))
    assert session.active_track == 2


def test_tracks_come_and_go(tracks: TracksPanel, session: Session) -> None:
    tracks.add.click()
    assert session.active_track == 4
    assert list(tracks.headers) == [0, 1, 2, 3, 4]
    tracks.remove_track(1)
    assert sorted(tracks.headers) == [0, 2, 3, 4]
    session.undo()
    session.undo()
    assert sorted(tracks.headers) == [0, 1, 2, 3]


def test_dragging_a_header_asks_for_a_file(tracks: TracksPanel) -> None:
    asked: list[int] = []
    tracks.drag_out.connect(asked.append)
    header = tracks.headers[2]
    drag(header, [(6, 4), (8, 6), (40, 40), (60, 60)])
    assert asked == [2]


# --- the transport bar -----------------------------------------------------------------------------


def test_positions_are_counted_as_in_print() -> None:
    score = quartet()
    assert position_text(score, 0) == "  0 . 4 . 000"
    assert position_text(score, PPQ) == "  1 . 1 . 000"
    assert position_text(score, PPQ + BAR + PPQ // 2) == "  2 . 1 . 500"
    compound = replace(score, meter=MeterMap(numerator=[6], denominator=[8]))
    assert position_text(compound, PPQ * 3 // 2) == "  1 . 2 . 000"
    assert clock_text(67.54) == "1:07.5"
    assert key_text(Key(0, -3, True)) == "C minor"
    assert key_text(Key(0, 2)) == "D major"
    assert key_text(None) == "no key"


def test_the_tempo_field_scales_a_map_of_many_tempi() -> None:
    score = quartet()
    assert with_tempo(score, 0, 60).tempo == TempoMap.constant(60)
    many = edits.set_tempo(score, TempoMap([0, BAR], [500_000, 1_000_000]))
    twice = with_tempo(many, 0, 240).tempo
    assert twice.us_per_quarter.tolist() == [250_000, 500_000]


def test_the_bar_shows_and_changes_tempo_and_snap(qtbot: QtBot, session: Session) -> None:
    bar = TransportBar(session)
    shown(qtbot, bar)
    assert bar.tempo.value() == pytest.approx(90, abs=0.05)
    assert (bar.meter.text(), bar.key.text()) == ("4/4", "G major")
    bar.tempo.setValue(75)
    assert session.score.tempo.bpm(0) == pytest.approx(75, abs=0.01)
    session.undo()
    assert bar.tempo.value() == pytest.approx(90, abs=0.05)
    assert bar.snap.currentText() == "1/16"
    bar.snap.setCurrentIndex(bar.snap.findText("1/8 triplet"))
    bar.snap.activated.emit(bar.snap.currentIndex())
    assert session.snap == PPQ // 3


# --- the tray ----------------------------------------------------------------------------------------


def propose(session: Session, request: int, candidate: int, *, final: bool = True) -> None:
    region = Region(PPQ, PPQ + BAR, frozenset({1}))
    notes = Notes.of([PPQ, 2 * PPQ], PPQ, [60 + candidate, 64])
    tracks = (Track(1, "Alto", notes),)
    figures = {"nats_per_note": 0.4321}
    session.propose(request, Proposal(candidate, region, tracks, final, figures=figures))


def test_the_tray_follows_the_candidates(qtbot: QtBot, session: Session) -> None:
    tray = ProposalsPanel(session)
    shown(qtbot, tray)
    region = Region(PPQ, PPQ + BAR, frozenset({1}))
    request = session.begin(TOY, Ask(Task.REGENERATE, session.score, region, seed=7))
    propose(session, request, 0, final=False)
    row = tray.rows[(request, 0)]
    assert row.title.whole() == f"Toy {request}.1 · bar 1"
    assert row.state.whole() == "working…"
    session.ended(request)
    assert row.state.whole() == "stopped early"
    propose(session, request, 0)
    propose(session, request, 1)
    assert tray.rows[(request, 0)] is row, "a better proposal keeps its place"
    assert row.state.whole() == "0.43 nats/note"
    assert "seed 7" in row.toolTip()
    other = tray.rows[(request, 1)]
    click(other.hear, (10, 10))
    assert session.hearing
    assert session.shown_candidate is not None
    assert session.shown_candidate.key == (request, 1)
    click(other.hear, (10, 10))
    assert not session.hearing
    click(row, (20, 20))
    assert session.shown_candidate.key == (request, 0)
    session.commit("Edit", edits.move(session.score, [18], 0, 1))
    assert row.state.whole() == "out of date"
    click(other.keep, (10, 10))
    assert [int(p) for p in session.score.track(1).notes.pitch[1:3]] == [61, 64]
    assert list(tray.rows) == [(request, 0)]
    click(row.drop, (10, 10))
    assert session.candidates == ()
    assert not tray.drop_all.isVisible()


def test_progress_shows_while_a_job_works(compose: ComposePanel, session: Session) -> None:
    ask = Ask(Task.REGENERATE, session.score, Region(0, BAR, frozenset({1})))
    request = session.begin(TOY, ask)
    session.started(request, "CPU")
    session.progressed(request, Progress(0.25, "sweep 5 of 20"))
    assert compose.stop_button.isVisible()
    assert not compose.generate_button.isVisible()
    assert compose.progress.value() == compose.progress.maximum() // 4
    assert compose.status.whole() == "Toy · sweep 5 of 20 · CPU"
    session.ended(request)
    assert compose.generate_button.isVisible()


# --- devices -----------------------------------------------------------------------------------------


def test_outputs_are_chosen_for_all_voices_or_one(
    qtbot: QtBot, session: Session, tmp_path: Path
) -> None:
    settings = QSettings(str(tmp_path / "settings.ini"), QSettings.Format.IniFormat)
    links: list[RecordingLink] = []

    def link(emit: object) -> RecordingLink:
        links.append(RecordingLink(emit))  # type: ignore[arg-type]
        return links[-1]

    player = Player(session, link)
    rig = Rig(session, player, settings)
    player.start()
    dialog = DevicesDialog(session, player, rig)
    shown(qtbot, dialog)
    links[0].emit(playback.PortNames(("Piano", "Organ"), ("Keyboard",)))
    qtbot.waitUntil(lambda: dialog.all.findData("Organ") >= 0)
    dialog.all.setCurrentIndex(dialog.all.findData("Piano"))
    dialog.all.activated.emit(dialog.all.currentIndex())
    assert {t.port for t in session.score.tracks} == {"Piano"}
    one = dialog.findChild(QComboBox, "port_2")
    assert one is not None
    one.setCurrentIndex(one.findData("Organ"))
    one.activated.emit(one.currentIndex())
    assert [t.port for t in session.score.tracks] == ["Piano", "Piano", "Organ", "Piano"]
    assert dialog.all.currentIndex() == -1
    offset, channel = (
        dialog.findChild(QSpinBox, "offset_1"),
        dialog.findChild(QSpinBox, "channel_3"),
    )
    assert offset is not None
    assert channel is not None
    offset.setValue(-35)
    channel.setValue(12)
    assert [t.offset for t in session.score.tracks] == [0, -35, 0, 0]
    assert session.score.track(3).channel == 11

    # Inputs, several at once, and whose clock.
    assert links[0].of(playback.Listen) == [playback.Listen(())]
    for name in ("Keyboard", OWN_INPUT):
        (item,) = dialog.inputs.findItems(port_title(name), Qt.MatchFlag.MatchExactly)
        item.setCheckState(Qt.CheckState.Checked)
    assert links[0].of(playback.Listen)[-1] == playback.Listen(("Keyboard", OWN_INPUT))
    assert links[0].of(playback.Thru)[-1].routes[0].port == "Piano"
    dialog.thru.click()
    assert links[0].of(playback.Thru)[-1] == playback.Thru()
    dialog.clock.click()
    dialog.follow.setCurrentIndex(dialog.follow.findData("clock:Keyboard"))
    dialog.follow.activated.emit(dialog.follow.currentIndex())
    assert links[0].of(playback.Follow)[-1] == playback.Follow("clock:Keyboard")
    links[0].emit(playback.Synced("clock:Keyboard", "locked", 99.96))
    qtbot.waitUntil(lambda: dialog.sync.text() == "followed, 100.0 bpm")
    assert links[0].of(playback.SendClock) == [playback.SendClock(False), playback.SendClock(True)]
    links[0].emit(playback.PortNames((), ()))
    qtbot.waitUntil(lambda: not player.outputs)
    assert dialog.all.findData("Organ") >= 0, "a port in use stays in the list when it is gone"
    assert one.currentText() == "Organ, not there now"

    # Another day it is all as it was.
    again = Rig(session, player, settings)
    assert again.inputs == ("Keyboard", OWN_INPUT)
    assert (again.thru, again.clock, again.follow) == (False, True, "clock:Keyboard")
    settings.setValue("rig", "[not json")
    assert Rig(session, player, settings).inputs == ()

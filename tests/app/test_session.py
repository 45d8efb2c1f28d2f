"""The session: what views are told, and the life of a proposal from asking to keeping."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pytestqt.qtbot import QtBot

from app.session import Playhead, Session
from engine import edits
from engine.document import Change, Document
from models.card import Card, Objective, Representation, Task
from models.score import Notes, Region, Score, Track, UserError
from models.system import Ask, Progress, Proposal
from models.timebase import PPQ, TempoMap

CARD = Card(
    id="toy",
    name="Toy",
    source="none",
    objective=Objective("melody", "score", "autonomous"),
    representation=Representation("none", 4, False, "none"),
    architecture="none",
    challenges=(),
    strategy=("random",),
    tasks=(Task.REGENERATE,),
)
BAR = 4 * PPQ


def duet() -> Score:
    """Two tracks, ids 0 and 1, a quarter note on every beat of two bars."""
    onset = np.arange(8) * PPQ
    return Score(
        (
            Track(0, "High", Notes.of(onset, PPQ, 72)),
            Track(1, "Low", Notes.of(onset, PPQ, 48, first_id=8)),
        )
    )


@pytest.fixture
def session(qtbot: QtBot) -> Session:
    return Session(Document(duet()))


def ask(session: Session, tracks: frozenset[int] = frozenset({1})) -> Ask:
    return Ask(Task.REGENERATE, session.document.score, Region(0, BAR, tracks))


def proposal(
    pitch: int = 50, candidate: int = 0, track: int = 1, name: str = "Low", final: bool = True
) -> Proposal:
    tracks = (Track(track, name, Notes.of([0, PPQ], PPQ, pitch)),)
    return Proposal(candidate, Region(0, BAR, frozenset({track})), tracks, final)


def pitches(score: Score, track: int) -> list[int]:
    return [int(p) for p in score.track(track).notes.pitch]


# --- selection, region, active track ---------------------------------------------------------------


def test_a_signal_comes_once_for_a_change_and_never_for_the_same_value(
    session: Session, qtbot: QtBot
) -> None:
    told: list[str] = []
    session.selection_changed.connect(lambda: told.append("selection"))
    session.region_changed.connect(lambda: told.append("region"))
    session.active_track_changed.connect(lambda: told.append("active"))
    session.snap_changed.connect(lambda: told.append("snap"))
    session.loop_changed.connect(lambda: told.append("loop"))
    for _ in range(2):
        session.select([3, 1])
        session.set_span((0, BAR))
        session.set_ticked([1])
        session.set_active_track(1)
        session.set_snap(PPQ)
        session.set_loop((0, BAR))
    assert told == ["selection", "region", "region", "active", "snap", "loop"]
    assert session.selected.tolist() == [1, 3]
    assert session.region == Region(0, BAR, frozenset({1}))


def test_there_is_no_region_without_bars(session: Session) -> None:
    session.set_ticked([0])
    assert session.region is None


def test_what_a_commit_removes_is_no_longer_chosen(session: Session) -> None:
    session.select([1, 2, 9])
    session.set_ticked([0, 1])
    session.set_active_track(1)
    session.commit("Delete", edits.delete(session.score, [2]))
    assert session.selection == {1, 9}
    session.commit("Remove", edits.remove_track(session.score, 1))
    assert session.selection == {1}
    assert session.ticked == {0}
    assert session.active_track == 0
    session.commit("Remove", edits.remove_track(session.score, 0))
    assert session.active_track == -1


def test_a_preview_leaves_the_selection_alone(session: Session) -> None:
    session.select([2])
    session.preview(edits.delete(session.score, [2]))
    assert session.selection == {2}
    session.revert()
    assert session.selection == {2}


# --- the document ----------------------------------------------------------------------------------


def test_replacing_the_document_tells_everything_and_forgets_the_rest(session: Session) -> None:
    session.select([1])
    session.set_span((0, BAR))
    session.set_loop((0, BAR))
    old = session.document
    changes: list[Change] = []
    session.changed.connect(changes.append)
    session.replace_document(Document(Score((Track(5, "New"),))))
    (change,) = changes
    assert change.tracks == {5}
    assert change.structure
    assert change.tempo
    assert change.committed
    assert (session.selection, session.region, session.loop) == (frozenset(), None, None)
    assert session.active_track == 5
    old.commit("Old", Score())
    assert len(changes) == 1, "the old document must not be listened to any more"


class BrokenJournal:
    def commit(self, *_: object) -> None:
        raise UserError("The disk is full.")

    def move(self, *_: object) -> None:
        raise UserError("The disk is full.")


def test_a_commit_that_cannot_be_written_is_said_and_undone(qtbot: QtBot) -> None:
    document = Document(duet(), journal=BrokenJournal())
    session = Session(document)
    said: list[str] = []
    session.message.connect(said.append)
    before = session.score
    session.preview(edits.delete(before, [0]))
    assert not session.commit("Delete", edits.delete(before, [0]))
    assert said == ["The disk is full."]
    assert session.score is before


# --- the playhead ----------------------------------------------------------------------------------


def test_the_playhead_moves_with_the_clock_the_tempo_and_the_loop(qtbot: QtBot) -> None:
    now = [10.0]
    score = edits.set_tempo(duet(), TempoMap.constant(60))
    session = Session(Document(score), now=lambda: now[0])
    session.set_playhead(Playhead(PPQ, 10.0, playing=False))
    now[0] = 12.0
    assert session.playhead_tick() == PPQ
    session.set_playhead(Playhead(PPQ, 12.0, playing=True))
    now[0] = 13.5
    assert session.playhead_tick() == pytest.approx(2.5 * PPQ)
    session.set_loop((0, 2 * PPQ))
    assert session.playhead_tick() == pytest.approx(0.5 * PPQ)
    assert session.playhead_tick(11.0) == PPQ, "never before the anchor"
    session.set_playhead(Playhead(3 * PPQ, 13.5, playing=True))
    now[0] = 14.5
    assert session.playhead_tick() == pytest.approx(4 * PPQ), "what plays beyond a loop plays on"


def test_the_playhead_moves_with_somebody_elses_clock(qtbot: QtBot) -> None:
    session = Session(Document(edits.set_tempo(duet(), TempoMap.constant(60))), now=lambda: 2.0)
    session.set_playhead(Playhead(0, 0.0, playing=True, bpm=90))
    assert session.playhead_tick() == pytest.approx(3 * PPQ, abs=0.01)
    session.set_loop((0, 2 * PPQ))
    assert session.playhead_tick() == pytest.approx(PPQ, abs=0.01)
    session.set_playhead(Playhead(0, 0.0, playing=True, rate=0.5))
    assert session.playhead_tick() == pytest.approx(PPQ, abs=0.01)


# --- proposals -------------------------------------------------------------------------------------


def test_a_proposal_shows_as_ghosts_and_changes_nothing(session: Session) -> None:
    before = session.score
    request = session.begin(CARD, ask(session))
    assert session.job is not None
    session.started(request, "CPU")
    session.progressed(request, Progress(0.5, "half way"))
    assert (session.job.device, session.job.fraction, session.job.text) == ("CPU", 0.5, "half way")
    session.propose(request, proposal(50, final=False))
    session.propose(request, proposal(51))
    (ghost,) = session.ghosts
    assert (ghost.track, ghost.colour) == (1, 1)
    assert ghost.notes.pitch.tolist() == [51, 51]
    assert session.score is before
    assert session.replaced(before.track(1)).tolist() == [True] * 4 + [False] * 4
    assert not session.replaced(before.track(0)).any()
    session.ended(request)
    assert session.job is None
    assert len(session.candidates) == 1


def test_a_candidate_is_heard_in_place_and_drawn_as_a_ghost(session: Session) -> None:
    request = session.begin(CARD, ask(session))
    session.propose(request, proposal(50))
    before = session.score
    session.hear((request, 0))
    assert session.hearing
    assert pitches(session.heard, 1) == [50, 50, 48, 48, 48, 48]
    assert session.score is before, "views draw the score without it"
    session.propose(request, proposal(53))
    assert pitches(session.heard, 1)[:2] == [53, 53], "what is heard follows the sampler"
    session.revert()
    assert not session.hearing
    assert session.heard is before


def test_an_edit_while_hearing_takes_nothing_of_the_candidate(session: Session) -> None:
    request = session.begin(CARD, ask(session))
    session.propose(request, proposal(50))
    session.hear((request, 0))
    session.commit("Transpose", edits.move(session.score, [0], 0, 1))
    assert not session.hearing
    assert pitches(session.score, 1) == [48] * 8
    assert pitches(session.score, 0)[0] == 73


def test_keeping_is_one_undo_step(session: Session) -> None:
    before = session.score
    request = session.begin(CARD, ask(session))
    for candidate in range(3):
        session.propose(request, proposal(50 + candidate, candidate))
    session.hear((request, 1))
    assert session.keep((request, 1))
    assert pitches(session.score, 1) == [51, 51, 48, 48, 48, 48]
    assert session.document.undo_label == "Keep Toy 1.2"
    assert [c.key for c in session.candidates] == [(request, 0), (request, 2)]
    assert session.ghosts == ()
    assert all(c.stale for c in session.candidates), "their bars hold other notes now"
    session.undo()
    assert session.score == before
    assert not any(c.stale for c in session.candidates), "the bars are again as when they asked"


def test_a_candidate_goes_stale_by_what_sounds_in_its_bars_alone(session: Session) -> None:
    request = session.begin(CARD, ask(session))
    session.propose(request, proposal(50))
    session.commit("Elsewhere", edits.move(session.score, [7], 0, 1))
    assert not session.candidates[0].stale
    session.commit("Name", edits.set_track(session.score, 1, name="Bass"))
    assert not session.candidates[0].stale
    session.commit("Another voice, same bars", edits.move(session.score, [1], 0, 1))
    assert session.candidates[0].stale


def test_keeping_what_has_gone_stale_keeps_locked_notes(session: Session) -> None:
    request = session.begin(CARD, ask(session))
    session.propose(request, proposal(50))
    session.commit("Lock", edits.set_locked(session.score, [8], True))
    assert session.candidates[0].stale
    locked = session.score.track(1).notes.where(np.array([True] + [False] * 7))
    session.keep((request, 0))
    notes = session.score.track(1).notes
    assert notes.where(notes.locked) == locked


def test_a_new_track_of_a_proposal_never_lands_in_a_stranger(session: Session) -> None:
    request = session.begin(CARD, ask(session, frozenset()))
    session.propose(request, proposal(50, track=2, name="Alto"))
    session.propose(request, proposal(51, candidate=1, track=2, name="Alto"))
    score = session.score.with_track(Track(2, "Mine", Notes.of([0], PPQ, 60, first_id=90)))
    session.commit("Add", score)
    session.keep((request, 0))
    assert [t.name for t in session.score.tracks] == ["High", "Low", "Mine", "Alto"]
    assert pitches(session.score, 2) == [60]
    assert pitches(session.score, 3) == [50, 50]


def test_dropping_forgets_and_shows_the_next(session: Session) -> None:
    before = session.score
    request = session.begin(CARD, ask(session))
    for candidate in range(3):
        session.propose(request, proposal(50 + candidate, candidate))
    session.hear((request, 1))
    session.drop([(request, 1)])
    assert not session.hearing
    assert session.heard is before
    assert session.shown_candidate is not None
    assert session.shown_candidate.key == (request, 2)
    session.drop([c.key for c in session.candidates])
    assert session.candidates == ()
    assert session.ghosts == ()


def test_answers_of_a_closed_document_are_ignored(session: Session) -> None:
    request = session.begin(CARD, ask(session))
    session.replace_document(Document(duet()))
    session.propose(request, proposal(50))
    session.progressed(request, Progress(0.9))
    assert session.candidates == ()
    assert session.job is None


def test_a_failure_is_said_and_costs_its_request_alone(session: Session) -> None:
    said: list[str] = []
    session.message.connect(said.append)
    first = session.begin(CARD, ask(session))
    session.propose(first, proposal(50))
    session.ended(first)
    second = session.begin(CARD, ask(session))
    session.ended(second, "Toy ran out of memory.")
    assert said == ["Toy ran out of memory."]
    assert session.job is None
    assert len(session.candidates) == 1


def test_a_keep_that_cannot_be_written_leaves_the_candidate(qtbot: QtBot) -> None:
    session = Session(Document(duet(), journal=BrokenJournal()))
    request = session.begin(CARD, ask(session))
    session.propose(request, replace(proposal(50)))
    assert not session.keep((request, 0))
    assert [c.key for c in session.candidates] == [(request, 0)]
    assert session.shown_candidate is not None

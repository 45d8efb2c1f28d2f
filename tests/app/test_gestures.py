"""Gestures by themselves: each previews, ends in one undo step, and cancels without a trace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from app.pianoroll import gestures
from app.pianoroll.gestures import Gesture, Grab, Spot
from app.session import Session
from engine import edits
from engine.document import Document
from models.score import Notes, Score, Track
from models.timebase import PPQ, SIXTEENTH, MeterMap

E8 = PPQ // 2


@pytest.fixture
def session(qapp: object) -> Session:
    high = Notes.of([0, PPQ, 2 * PPQ, 3 * PPQ], PPQ, [72, 74, 76, 77], [60, 70, 80, 90])
    low = Notes.of([0, 2 * PPQ], 2 * PPQ, [48, 43], 64, first_id=4)
    tracks = (Track(1, "High", high), Track(2, "Low", low, channel=1))
    return Session(Document(Score(tracks)))


def grab(session: Session, note: int) -> Grab:
    for track in session.score.tracks:
        for i in np.flatnonzero(track.notes.id == note).tolist():
            n = track.notes
            onset, end = int(n.onset[i]), int(n.end[i])
            return Grab(note, track.id, onset, end, int(n.pitch[i]), int(n.velocity[i]))
    raise KeyError(note)


def note(session: Session, note: int) -> tuple[int, int, int, int]:
    """(onset, duration, pitch, velocity)"""
    n = edits.select(session.score, [note])
    return int(n.onset[0]), int(n.duration[0]), int(n.pitch[0]), int(n.velocity[0])


def steps(session: Session) -> int:
    count = 0
    while session.document.undo_label is not None:
        session.undo()
        count += 1
    for _ in range(count):
        session.redo()
    return count


def test_move_lands_on_the_grid_and_is_one_step(session: Session) -> None:
    session.select([0, 1])
    move = gestures.Move(session, grab(session, 1), Spot(PPQ + 100, 74))
    before = session.document.score
    for tick in range(PPQ + 100, PPQ + 700, 50):
        move.drag(Spot(tick, 74))
    move.drag(Spot(PPQ + 100 + 400, 76))  # 400 ticks: nearest sixteenth is 480
    assert session.document.score is before
    assert note(session, 1) == (PPQ + 480, PPQ, 76, 70)
    move.finish()
    assert note(session, 0) == (480, PPQ, 74, 60)
    assert note(session, 4) == (0, 2 * PPQ, 48, 64)
    assert session.document.undo_label == "Move notes"
    assert steps(session) == 1


def test_alt_bypasses_the_grid_and_shift_keeps_to_an_axis(session: Session) -> None:
    session.select([1])
    move = gestures.Move(session, grab(session, 1), Spot(PPQ + 10, 74))
    move.drag(Spot(PPQ + 47, 74, free=True))
    assert note(session, 1)[0] == PPQ + 37
    move.drag(Spot(PPQ + 60, 79, level=True))
    assert note(session, 1)[:3] == (PPQ, PPQ, 79)
    move.drag(Spot(4 * PPQ + 10, 75, level=True))
    assert note(session, 1)[:3] == (4 * PPQ, PPQ, 74)
    move.cancel()
    assert note(session, 1) == (PPQ, PPQ, 74, 70)


def test_a_move_stops_as_a_whole_at_the_beginning_and_at_the_lowest_pitch(session: Session) -> None:
    session.select([0, 1, 2, 3, 4, 5])
    move = gestures.Move(session, grab(session, 3), Spot(3 * PPQ, 77))
    move.drag(Spot(-9 * PPQ, 0))
    move.finish()
    assert note(session, 0)[0] == 0
    assert note(session, 3)[0] == 3 * PPQ
    assert note(session, 5)[2] == 0
    assert note(session, 3)[2] == 77 - 43


def test_duplicate_leaves_the_originals_and_selects_the_copies(session: Session) -> None:
    session.select([0, 4])
    copy = gestures.Duplicate(session, grab(session, 0), Spot(0, 72))
    for tick in (100, 2000, 4 * PPQ):
        copy.drag(Spot(tick, 73))
    copy.finish()
    assert note(session, 0) == (0, PPQ, 72, 60)
    copies = edits.select(session.score, session.selected)
    assert sorted(zip(copies.onset.tolist(), copies.pitch.tolist(), strict=True)) == [
        (4 * PPQ, 49),
        (4 * PPQ, 73),
    ]
    assert [len(t.notes) for t in session.score.tracks] == [5, 3]
    assert steps(session) == 1


def test_duplicating_to_where_it_began_does_nothing(session: Session) -> None:
    session.select([0])
    copy = gestures.Duplicate(session, grab(session, 0), Spot(0, 72))
    copy.drag(Spot(PPQ, 72))
    copy.drag(Spot(30, 72))
    copy.finish()
    assert steps(session) == 0
    assert session.selection == {0}


@pytest.mark.parametrize(
    ("edge", "to", "expected"),
    [
        ("end", 2 * PPQ + 500, (PPQ, PPQ + 480)),
        ("end", 0, (PPQ, SIXTEENTH)),
        ("start", PPQ + 250, (PPQ + SIXTEENTH, PPQ - SIXTEENTH)),
        ("start", 9 * PPQ, (2 * PPQ - SIXTEENTH, SIXTEENTH)),
        ("start", 10, (0, 2 * PPQ)),
    ],
)
def test_resize(session: Session, edge: str, to: int, expected: tuple[int, int]) -> None:
    session.select([1])
    at = PPQ if edge == "start" else 2 * PPQ
    resize = gestures.Resize(session, grab(session, 1), edge, Spot(at, 74))
    resize.drag(Spot(to, 74))
    resize.finish()
    assert note(session, 1)[:2] == expected
    assert note(session, 2)[:2] == (2 * PPQ, PPQ)
    assert steps(session) == 1


def test_draw_snaps_lengthens_and_selects(session: Session) -> None:
    session.set_active_track(2)
    session.set_snap(E8)
    draw = gestures.Draw(session, Spot(8 * PPQ + 300, 50))
    assert note(session, 6) == (8 * PPQ, E8, 50, 80)
    draw.drag(Spot(9 * PPQ + 10, 52))
    draw.finish()
    assert session.selection == {6}
    assert note(session, 6) == (8 * PPQ, PPQ + E8, 52, 80)
    assert session.score.track(2).notes.having([6]).any()
    assert steps(session) == 1


def test_erase_sweeps_over_everything_between_two_mouse_events(session: Session) -> None:
    erase = gestures.Erase(session, Spot(10, 72))
    erase.drag(Spot(2 * PPQ + 400, 76))  # one jump across notes 0, 1 and 2
    assert len(session.score.tracks[0].notes) == 1
    erase.finish()
    assert session.score.tracks[0].notes.id.tolist() == [3]
    assert len(session.score.tracks[1].notes) == 2
    assert steps(session) == 1


def test_muted_tracks_are_not_erased_nor_selected(session: Session) -> None:
    session.commit("Mute", edits.set_track(session.score, 1, muted=True))
    erase = gestures.Erase(session, Spot(0, 72))
    erase.drag(Spot(4 * PPQ, 72))
    erase.finish()
    box = gestures.BoxSelect(session, Spot(0, 30))
    box.drag(Spot(8 * PPQ, 100))
    assert session.selection == {4, 5}
    assert len(session.score.tracks[0].notes) == 4


def test_box_select_adds_to_what_is_kept_and_cancels(session: Session) -> None:
    session.select([3])
    box = gestures.BoxSelect(session, Spot(PPQ / 2, 71), frozenset({3}))
    box.drag(Spot(PPQ + 1, 74))
    assert session.selection == {0, 1, 3}
    assert box.box == gestures.Box(PPQ / 2, PPQ + 1, 71, 74)
    box.drag(Spot(PPQ - 1, 71))
    assert session.selection == {3}
    box.cancel()
    assert session.selection == {3}


def test_marking_bars_takes_whole_bars_in_either_direction(session: Session) -> None:
    score = replace(session.score, meter=MeterMap(pickup=PPQ))
    session.commit("Meter", score)
    bar = score.meter.bar_start
    mark = gestures.MarkBars(session, Spot(bar(3) + 5))
    mark.drag(Spot(bar(2) + 9))
    assert session.span == (bar(2), bar(4))
    mark.drag(Spot(-500))
    assert session.span == (0, bar(4))
    mark.drag(Spot(bar(4) + 1))
    assert session.span == (bar(3), bar(5))
    mark.drag(Spot(bar(3) + 500, free=True))
    assert session.span == (bar(3), bar(3) + 480)
    mark.cancel()
    assert session.span is None


def test_moving_an_edge_keeps_the_other_and_never_turns_round(session: Session) -> None:
    session.set_span((4 * PPQ, 12 * PPQ))
    edge = gestures.MoveEdge(session, "span", 1)
    edge.drag(Spot(8 * PPQ + 200))
    assert session.span == (4 * PPQ, 8 * PPQ)
    edge.drag(Spot(0))
    assert session.span == (4 * PPQ, 8 * PPQ)
    edge.cancel()
    assert session.span == (4 * PPQ, 12 * PPQ)


def test_loops_go_by_beats(session: Session) -> None:
    loop = gestures.MarkLoop(session, Spot(3 * PPQ + 100))
    loop.drag(Spot(PPQ - 100))
    assert session.loop == (PPQ, 3 * PPQ)
    loop.drag(Spot(3 * PPQ + 100))
    assert session.loop == (3 * PPQ, 4 * PPQ)


def test_sweeping_velocities_draws_a_line(session: Session) -> None:
    notes = session.score.tracks[0].notes
    sweep = gestures.SweepVelocity(session, notes, Spot(0, velocity=20), 30)
    assert note(session, 0)[3] == 20
    sweep.drag(Spot(3 * PPQ, velocity=110))
    assert [note(session, i)[3] for i in range(4)] == [20, 50, 80, 110]
    sweep.finish()
    assert steps(session) == 1
    assert [note(session, i)[3] for i in (4, 5)] == [64, 64]


def test_sweeping_back_overwrites(session: Session) -> None:
    notes = session.score.tracks[0].notes
    sweep = gestures.SweepVelocity(session, notes, Spot(0, velocity=20), 30)
    sweep.drag(Spot(3 * PPQ, velocity=20))
    sweep.drag(Spot(0, velocity=100))
    assert note(session, 0)[3] == 100
    assert note(session, 1)[3] == pytest.approx(73, abs=1)
    sweep.cancel()
    assert [note(session, i)[3] for i in range(4)] == [60, 70, 80, 90]


def test_shifting_velocities_keeps_their_differences_and_stays_in_range(session: Session) -> None:
    session.select([0, 3])
    shift = gestures.ShiftVelocity(session, Spot(0, velocity=60))
    shift.drag(Spot(0, velocity=90))
    assert (note(session, 0)[3], note(session, 3)[3]) == (90, 120)
    shift.drag(Spot(0, velocity=127))
    assert (note(session, 0)[3], note(session, 3)[3]) == (127, 127)
    shift.drag(Spot(0, velocity=70))
    shift.finish()
    assert (note(session, 0)[3], note(session, 3)[3]) == (70, 100)
    assert steps(session) == 1


MAKERS: dict[str, Callable[[Session], Gesture]] = {
    "move": lambda s: gestures.Move(s, grab(s, 1), Spot(PPQ, 74)),
    "duplicate": lambda s: gestures.Duplicate(s, grab(s, 1), Spot(PPQ, 74)),
    "resize": lambda s: gestures.Resize(s, grab(s, 1), "end", Spot(PPQ, 74)),
    "draw": lambda s: gestures.Draw(s, Spot(PPQ, 74)),
    "erase": lambda s: gestures.Erase(s, Spot(PPQ, 74)),
    "box": lambda s: gestures.BoxSelect(s, Spot(PPQ, 70)),
    "bars": lambda s: gestures.MarkBars(s, Spot(PPQ)),
    "loop": lambda s: gestures.MarkLoop(s, Spot(PPQ)),
    "sweep": lambda s: gestures.SweepVelocity(
        s, s.score.tracks[0].notes, Spot(PPQ, velocity=5), 50
    ),
    "shift": lambda s: gestures.ShiftVelocity(s, Spot(PPQ, velocity=5)),
}


@pytest.mark.parametrize("name", MAKERS)
def test_cancel_leaves_no_trace_and_no_note_sounding(session: Session, name: str) -> None:
    session.select([0, 1])
    session.set_span((0, 4 * PPQ))
    heard: list[tuple[int, int, int]] = []
    session.auditioned.connect(lambda *note: heard.append(note))
    state = session.score, session.selection, session.span, session.loop
    gesture = MAKERS[name](session)
    gesture.drag(Spot(3 * PPQ, 79, velocity=99))
    gesture.drag(Spot(4 * PPQ, 80, velocity=100))
    gesture.cancel()
    assert (session.score, session.selection, session.span, session.loop) == state
    assert session.document.undo_label is None
    sounding = {pitch for _, pitch, velocity in heard if velocity}
    assert sounding <= {pitch for _, pitch, velocity in heard if not velocity}
    if heard:
        assert heard[-1][2] == 0


def test_a_hundred_thousand_notes_follow_the_mouse(session: Session) -> None:
    rng = np.random.default_rng(1)
    many = Notes.of(np.sort(rng.integers(0, 10**7, 100_000)), 240, rng.integers(30, 90, 100_000))
    big = Session(Document(Score((Track(0, "Big", many),))))
    big.select([5])
    move = gestures.Move(big, grab(big, 5), Spot(float(many.onset[5]), int(many.pitch[5])))
    move.drag(Spot(float(many.onset[5]) + 9000, 60))
    move.finish()
    assert len(big.score.tracks[0].notes) == 100_000
    assert note(big, 5)[2] == 60

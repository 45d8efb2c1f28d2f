"""Edits: what they change, what they leave alone, and that they stay quick on a large score."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from music import edit, scores

from engine import edits
from models.score import EMPTY, Key, Notes, Region, Score, Track
from models.timebase import MeterMap, TempoMap


def two_tracks() -> Score:
    """Ids 0, 1, 2 in track 7 and 3, 4 in track 8."""
    upper = Notes.of([0, 960, 1920], 480, [60, 64, 67], [80, 81, 82])
    lower = Notes.of([0, 960], 960, [36, 40], 70, first_id=3)
    return Score((Track(7, "Upper", upper), Track(8, "Lower", lower)))


def by_id(score: Score, column: str) -> dict[int, int]:
    notes = edits.select(score, range(100))
    return {int(i): int(v) for i, v in zip(notes.id, getattr(notes, column), strict=True)}


def test_move_takes_notes_of_all_tracks_along() -> None:
    moved = edits.move(two_tracks(), [1, 4], 240, -2)
    assert by_id(moved, "onset") == {0: 0, 1: 1200, 2: 1920, 3: 0, 4: 1200}
    assert by_id(moved, "pitch") == {0: 60, 1: 62, 2: 67, 3: 36, 4: 38}


@pytest.mark.parametrize(
    ("ticks", "semitones", "onset", "pitch"),
    [(-5000, 0, {1: 0, 2: 960}, {1: 64, 2: 67}), (0, 99, {1: 960, 2: 1920}, {1: 124, 2: 127})],
)
def test_move_stops_as_a_whole_where_the_first_note_would_leave(
    ticks: int, semitones: int, onset: dict[int, int], pitch: dict[int, int]
) -> None:
    moved = edits.move(two_tracks(), [1, 2], ticks, semitones)
    assert {i: by_id(moved, "onset")[i] for i in (1, 2)} == onset
    assert {i: by_id(moved, "pitch")[i] for i in (1, 2)} == pitch


def test_an_edit_shares_what_it_leaves_alone() -> None:
    score = two_tracks()
    moved = edits.move(score, [3], 120)
    assert moved.tracks[0] is score.tracks[0]
    assert moved.tracks[1] is not score.tracks[1]
    assert edits.move(score, [3]) is score
    assert edits.move(score, [99], 5) is score


def test_notes_moved_past_others_keep_the_order_of_columns() -> None:
    notes = edits.move(two_tracks(), [0], 1500).track(7).notes
    assert notes.onset.tolist() == [960, 1500, 1920]
    assert notes.id.tolist() == [1, 0, 2]
    assert not notes.onset.flags.writeable


def test_resize_moves_either_end_and_never_turns_a_note_round() -> None:
    longer = edits.resize(two_tracks(), [1], end=240)
    assert by_id(longer, "duration")[1] == 720
    later = edits.resize(two_tracks(), [1], start=100)
    assert (by_id(later, "onset")[1], by_id(later, "duration")[1]) == (1060, 380)
    shortest = edits.resize(two_tracks(), [1], end=-9999, shortest=60)
    assert (by_id(shortest, "onset")[1], by_id(shortest, "duration")[1]) == (960, 60)
    from_the_left = edits.resize(two_tracks(), [1], start=9999, shortest=60)
    assert (by_id(from_the_left, "onset")[1], by_id(from_the_left, "duration")[1]) == (1380, 60)
    to_the_beginning = edits.resize(two_tracks(), [1], start=-9999)
    assert (by_id(to_the_beginning, "onset")[1], by_id(to_the_beginning, "duration")[1]) == (
        0,
        1440,
    )


def test_velocities_follow_the_order_of_ids_and_stay_in_range() -> None:
    score = edits.set_velocity(two_tracks(), [4, 0, 2], [10, 0, 300])
    assert by_id(score, "velocity") == {0: 1, 1: 81, 2: 127, 3: 70, 4: 10}
    assert set(by_id(edits.set_velocity(score, [1, 3], 99), "velocity").values()) == {
        1,
        99,
        127,
        10,
    }


def test_duplicate_copies_into_the_same_tracks_and_names_the_copies() -> None:
    score = edits.set_locked(two_tracks(), [1, 4], True)
    score, ids = edits.duplicate(score, [1, 4], 3840, 12)
    assert ids.tolist() == [5, 6]
    copies = edits.select(score, ids)
    assert sorted(copies.onset.tolist()) == [4800, 4800]
    assert sorted(copies.pitch.tolist()) == [52, 76]
    assert not copies.locked.any()
    assert len(score.track(7).notes) == 4
    assert len(score.track(8).notes) == 3


def test_duplicate_keeps_chords_together_at_the_edge() -> None:
    score, ids = edits.duplicate(two_tracks(), [0, 1, 2], -100, 100)
    assert edits.select(score, ids).pitch.tolist() == [120, 124, 127]
    assert edits.select(score, ids).onset.tolist() == [0, 960, 1920]


def test_quantize_by_strength() -> None:
    score = edits.move(two_tracks(), [1], 100)
    assert by_id(edits.quantize(score, [1], 240), "onset")[1] == 960
    assert by_id(edits.quantize(score, [1], 240, 0.5), "onset")[1] == 1010


def test_clear_leaves_locked_notes_and_those_across_the_edge() -> None:
    score = edits.set_locked(two_tracks(), [0], True)
    cleared = edits.clear(score, Region(0, 1000, frozenset({7, 8})))
    assert edits.select(cleared, range(9)).id.tolist() == [0, 4, 1, 2]


def test_tracks_come_and_go() -> None:
    score = edits.add_track(two_tracks(), "Third", program=12)
    assert [(t.id, t.channel) for t in score.tracks] == [(7, 0), (8, 0), (9, 1)]
    assert edits.set_track(score, 9, muted=True, volume=3).track(9).volume == 3
    assert [t.id for t in edits.remove_track(score, 8).tracks] == [7, 9]


def test_what_surrounds_the_notes() -> None:
    score = edits.toggle_fermata(edits.toggle_fermata(two_tracks(), 960), 0)
    assert score.fermatas == (0, 960)
    assert edits.toggle_fermata(score, 0).fermatas == (960,)
    assert edits.set_keys(score, [Key(960, 1), Key(0, -2)]).keys == (Key(0, -2), Key(960, 1))
    assert edits.set_tempo(score, TempoMap.constant(60)).tempo.bpm(0) == 60
    assert edits.set_meter(score, MeterMap(numerator=[3])).meter.at(0) == (3, 4)


def test_colliding_ids_are_made_unique() -> None:
    notes = Notes.of([0, 960], 240, [60, 62])
    score = Score((Track(0, "a", notes), Track(1, "b", notes)))
    ids = [t.notes.id.tolist() for t in edits.distinct(score).tracks]
    assert ids == [[0, 1], [2, 3]]
    plain = two_tracks()
    assert edits.distinct(plain) is plain


@given(scores(), st.integers(0, 2**32 - 1))
def test_every_edit_gives_a_valid_score(score: Score, seed: int) -> None:
    new = edit(score, np.random.default_rng(seed))
    ids = np.concatenate([EMPTY.id, *(t.notes.id for t in new.tracks)])
    assert len(np.unique(ids)) == len(ids)
    for track in new.tracks:
        n = track.notes
        order = np.lexsort((n.id, n.pitch, n.onset))
        assert (order == np.arange(len(n))).all()
        assert len(n) == 0 or (n.onset.min() >= 0 and n.duration.min() >= 1 and n.pitch.max() < 128)

"""Scores as values: in order, in range, shared, never changed; regions and what they own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from music import scores

from models.score import (
    EMPTY,
    NOTE_DTYPES,
    Controls,
    Key,
    Notes,
    Region,
    Score,
    Track,
    splice,
)
from models.system import Proposal

ROW = st.tuples(
    st.integers(0, 5000),
    st.integers(1, 3000),
    st.integers(0, 127),
    st.integers(1, 127),
    st.integers(0, 255),
    st.booleans(),
)


def notes_of(rows: list[tuple[int, int, int, int, int, bool]]) -> Notes:
    columns = [np.array([row[i] for row in rows]) for i in range(6)]
    onset, duration, pitch, velocity, voice, locked = columns
    return Notes.of(onset, duration, pitch, velocity, voice=voice, locked=locked.astype(bool))


# --- notes ---------------------------------------------------------------------------------------


@given(st.lists(ROW, max_size=30), st.randoms())
def test_notes_are_ordered_whatever_order_they_came_in(
    rows: list[tuple[int, int, int, int, int, bool]], random: object
) -> None:
    notes = notes_of(rows)
    keys = list(zip(notes.onset, notes.pitch, notes.id, strict=True))
    assert keys == sorted(keys)
    order = np.arange(len(rows))
    random.shuffle(order)  # type: ignore[attr-defined]
    assert notes.where(order) == notes
    assert sorted(notes.id.tolist()) == list(range(len(rows)))
    for row_id, row in enumerate(rows):
        at = notes.id.tolist().index(row_id)
        assert tuple(getattr(notes, n)[at] for n in list(NOTE_DTYPES)[:6]) == row


@pytest.mark.parametrize(
    "columns",
    [
        {"onset": [-1]},
        {"duration": [0]},
        {"pitch": [128]},
        {"pitch": [-1]},
        {"velocity": [0]},
        {"velocity": [128]},
        {"velocity": [300]},
        {"voice": [256]},
    ],
)
def test_values_out_of_range_are_refused_and_never_wrapped(columns: dict[str, list[int]]) -> None:
    good = {"onset": [0], "duration": [1], "pitch": [60], "velocity": [64], "voice": [0]}
    with pytest.raises(ValueError, match="note"):
        Notes(**{**good, "locked": [False], "id": [0], **columns})  # type: ignore[arg-type]


def test_columns_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="length"):
        replace(Notes.of([0, 1], 1, 60), pitch=np.array([60]))


def test_nobody_can_change_a_column_not_even_who_gave_it() -> None:
    onset = np.array([0, 480])
    notes = Notes.of(onset, 480, 60)
    onset[0] = 99
    assert notes.onset.tolist() == [0, 480]
    for name in NOTE_DTYPES:
        with pytest.raises(ValueError, match="read-only"):
            getattr(notes, name)[0] = 1


def test_with_and_where_and_concatenate() -> None:
    notes = Notes.of([0, 480, 960], 480, [60, 62, 64], first_id=10)
    up = notes.with_(pitch=notes.pitch + 12, locked=True)
    assert up.pitch.tolist() == [72, 74, 76]
    assert up.locked.all()
    assert up.id.tolist() == notes.id.tolist() == [10, 11, 12]
    first, rest = notes.where(notes.onset == 0), notes.where(notes.onset > 0)
    assert Notes.concatenate([rest, first]) == notes
    assert Notes.concatenate([]) == EMPTY
    assert notes.having([12, 99, 10]).tolist() == [True, False, True]
    assert (notes.length, EMPTY.length) == (1440, 0)


def test_inside_is_whole_notes_and_sounding_is_any_part() -> None:
    notes = Notes.of([0, 100, 200, 300], [100, 150, 50, 100], 60)
    assert notes.inside(100, 250).tolist() == [False, True, True, False]
    assert notes.inside(100, 249).tolist() == [False, False, False, False]
    assert notes.sounding(100, 300).tolist() == [False, True, True, False]
    assert notes.sounding(99, 301).tolist() == [True] * 4


# --- controls, keys, scores ----------------------------------------------------------------------


def test_controls_at_one_tick_keep_their_order() -> None:
    controls = Controls(np.array([5, 0, 5, 5]), [0xB0] * 4, [101, 1, 100, 6], [0, 1, 0, 12])
    assert controls.data1.tolist() == [1, 101, 100, 6]


@pytest.mark.parametrize(
    ("key", "tonic"),
    [
        (Key(0, 0), 0),
        (Key(0, 0, True), 9),
        (Key(0, 3), 9),
        (Key(0, 3, True), 6),
        (Key(0, -3), 3),
        (Key(0, -3, True), 0),
        (Key(0, -7), 11),
        (Key(0, 7), 1),
    ],
)
def test_the_tonic_of_a_key(key: Key, tonic: int) -> None:
    assert key.tonic == tonic


def test_the_key_in_force() -> None:
    score = Score(keys=(Key(0, 1), Key(960, -2)))
    assert [score.key_at(t) for t in (0, 959, 960)] == [Key(0, 1), Key(0, 1), Key(960, -2)]
    assert Score().key_at(5) is None
    assert Score(keys=(Key(960, 2),)).key_at(0) == Key(960, 2)


@given(scores())
def test_ids_and_names_are_found(score: Score) -> None:
    every = [i for t in score.tracks for i in t.notes.id.tolist()]
    assert score.next_id > max(every, default=-1)
    assert score.next_track_id not in [t.id for t in score.tracks]
    for track in score.tracks:
        assert score.track(track.id) is track
        found = score.named(track.name.upper())
        assert found is None or found.name.casefold() == track.name.upper().casefold()
    with pytest.raises(KeyError):
        score.track(1000)


def test_with_track_replaces_in_place_or_adds_at_the_end() -> None:
    a, b = Track(3, "a"), Track(1, "b")
    score = Score((a, b))
    louder = replace(a, volume=1)
    assert score.with_track(louder).tracks == (louder, b)
    assert score.with_track(Track(2, "c")).tracks[2].name == "c"
    assert score.with_track(louder).tracks[1] is b


# --- regions and splicing ------------------------------------------------------------------------


@pytest.mark.parametrize(("start", "end"), [(0, 0), (5, 4), (-1, 4)])
def test_a_region_has_a_length(start: int, end: int) -> None:
    with pytest.raises(ValueError, match="region"):
        Region(start, end)


@given(scores(), st.integers(0, 1500), st.integers(1, 1500), st.data())
def test_splicing_keeps_every_byte_the_region_does_not_own(
    score: Score, start: int, length: int, data: st.DataObject
) -> None:
    region = Region(start, start + length, frozenset(t.id for t in score.tracks[:2]))
    new = [
        Track(t.id, "x", Notes.of([start, start + length - 1], 1, [50, 51]))
        for t in score.tracks[:2]
    ]
    new.append(Track(score.next_track_id, "New", Notes.of([start], length, [99])))
    after = splice(score, region, new)
    ids = [i for t in after.tracks for i in t.notes.id.tolist()]
    assert len(ids) == len(set(ids))
    for old in score.tracks:
        track = after.track(old.id)
        owned = region.owned(old)
        kept = old.notes.where(~owned)
        assert track.notes.where(track.notes.having(kept.id)) == kept
        fresh = track.notes.where(~track.notes.having(kept.id))
        assert fresh.pitch.tolist() == ([50, 51] if old in score.tracks[:2] else [])
        if old not in score.tracks[:2]:
            assert track is old
        assert old.notes.locked[owned].sum() == 0
    assert after.tracks[-1].name == "New"
    assert after.tempo is score.tempo


def test_a_new_note_outside_the_region_is_refused() -> None:
    score = Score((Track(0, "A"),))
    with pytest.raises(ValueError, match="leaves the region"):
        splice(score, Region(0, 100, frozenset({0})), [Track(0, "A", Notes.of([50], 51, [60]))])


def test_a_proposal_brings_its_fermatas_only_where_there_are_none() -> None:
    region = Region(0, 960, frozenset({0}))
    proposal = Proposal(0, region, (Track(0, "A", Notes.of([0], 960, [60])),), fermatas=(0,))
    bare = Score((Track(0, "A"),))
    assert proposal.apply(bare).fermatas == (0,)
    assert proposal.apply(replace(bare, fermatas=(480,))).fermatas == (480,)

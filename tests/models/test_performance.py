"""Performances as events: known answers, exact round trips, pedals, batches, splits."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mills.performance import played

from models.representations import performance
from models.representations.performance import (
    EVENTS,
    OFF,
    SHIFT,
    START,
    STEP,
    VELOCITY,
    Held,
    Performance,
    Streams,
    decode,
    encode,
    heard,
    level,
    velocity_of,
)
from models.score import Controls, Notes, Score, Track
from models.timebase import PPQ, TempoMap


def strokes(*rows: tuple[float, float, int, int]) -> Performance:
    table = np.array(rows).reshape(-1, 4)
    pitch, velocity = table[:, 2].astype(int), table[:, 3].astype(int)
    return Performance("", table[:, 0], table[:, 1], pitch, velocity)


def rows(p: Performance) -> list[tuple[int, int, int, int]]:
    onset, end = np.round(p.onset / STEP).astype(int), np.round(p.end / STEP).astype(int)
    return list(
        zip(onset.tolist(), end.tolist(), p.pitch.tolist(), p.velocity.tolist(), strict=True)
    )


def test_a_chord_and_a_note_spell_as_in_the_paper() -> None:
    events = encode(strokes((0, 0.5, 60, 66), (0, 0.5, 64, 66), (1.73, 2, 67, 127)))
    assert events.tolist() == [
        VELOCITY + 16, 60, 64, SHIFT + 49, OFF + 60, OFF + 64,
        SHIFT + 99, SHIFT + 22, VELOCITY + 31, 67, SHIFT + 26, OFF + 67,
    ]  # fmt: skip
    assert performance.kind(events[:4]).tolist() == [3, 0, 0, 2]
    assert events.max() < EVENTS == 388


def test_every_level_keeps_its_velocity() -> None:
    assert level(np.array([1, 4, 5, 64, 127])).tolist() == [0, 0, 1, 15, 31]
    assert (level(velocity_of(np.arange(32))) == np.arange(32)).all()
    assert velocity_of(31) <= 127


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 700), st.integers(1, 350), st.integers(0, 127), st.integers(0, 31)
        ),
        min_size=1,
        max_size=40,
    )
)
def test_on_the_grid_what_is_played_comes_back_exactly(
    drawn: list[tuple[int, int, int, int]],
) -> None:
    free: dict[int, int] = {}
    clean = []
    for onset, duration, pitch, loud in sorted(drawn):
        onset = max(onset, free.get(pitch, 0))
        free[pitch] = onset + duration
        clean.append((onset, onset + duration, pitch, int(velocity_of(loud))))
    clean.sort(key=lambda row: (row[0], row[2]))
    table = np.array(clean)
    before = Performance("", table[:, 0] * STEP, table[:, 1] * STEP, table[:, 2], table[:, 3])
    events = encode(before, begin=0.0)
    assert rows(decode(events)) == clean
    assert (encode(decode(events), begin=0.0) == events).all()
    until = encode(before, begin=0.0, until=3.0)
    assert decode(until).end.max(initial=0) <= 3.0 + 1e-9
    assert round(performance.waits()[until].sum() / STEP) == 300
    assert not performance.strikes()[until].sum(0).any()  # every key has come up


def test_keys_are_struck_once_at_a_time() -> None:
    twice = strokes((0, 2, 60, 40), (0, 1, 60, 90), (0.5, 0.8, 60, 50))
    assert rows(decode(encode(twice))) == [(0, 50, 60, 90), (50, 80, 60, 50)]
    assert rows(decode(encode(strokes((0, 0.001, 60, 66))))) == [(0, 1, 60, 66)]
    late = encode(strokes((0, 2, 60, 66), (1, 2, 64, 66)), begin=0.5)
    assert rows(decode(late)) == [(50, 150, 64, 66)]


def test_any_events_are_some_performance() -> None:
    rng = np.random.default_rng(0)
    found = decode(rng.integers(0, EVENTS, 500))
    assert (found.end > found.onset).all()
    assert len(decode([])) == 0
    assert rows(decode([60, SHIFT + 9])) == [(0, 10, 60, 66)]  # never comes up
    assert rows(decode([OFF + 60, SHIFT])) == []


def pedalled(*rows: tuple[int, int]) -> Controls:
    tick, value = np.array(rows).T
    return Controls(tick, np.full(len(tick), 0xB0), np.full(len(tick), 64), value)


def test_the_pedal_holds_notes_until_it_comes_up_or_they_are_struck_again() -> None:
    notes = Notes.of([0, PPQ, 2 * PPQ, 6 * PPQ], PPQ // 2, [60, 62, 60, 64])
    controls = pedalled((100, 127), (3 * PPQ, 10), (5 * PPQ, 63))
    tempo = TempoMap.constant(60)
    ends = performance.sustained(notes, controls, tempo)
    assert ends.tolist() == [2.0, 3.0, 3.0, 6.5]
    forgotten = performance.sustained(notes, pedalled((100, 127)), tempo)
    assert forgotten.tolist() == [2.0, 6.5, 6.5, 6.5]  # held until the music ends
    other = Controls(np.array([100]), np.array([0xB0]), np.array([7]), np.array([127]))
    assert performance.sustained(notes, other, tempo).tolist() == [0.5, 1.5, 2.5, 6.5]


def test_seconds_follow_the_tempo_and_drums_are_not_heard() -> None:
    notes = Notes.of([0, PPQ, 2 * PPQ], PPQ, [60, 62, 64])
    tempo = TempoMap(np.array([0, PPQ]), np.array([500_000, 1_000_000]))
    tracks = (Track(0, "Piano", notes), Track(1, "Drums", notes, channel=9))
    found = heard(tracks, tempo)
    assert found.onset.tolist() == [0, 0.5, 1.5]
    assert found.end.tolist() == [0.5, 1.5, 2.5]


def test_streams_go_on_where_they_stopped() -> None:
    rng = np.random.default_rng(1)
    streams = Streams([played(1, 700), played(2, 700)], 3, 64)
    batches = [streams(rng) for _ in range(40)]
    for row in range(3):
        said = np.concatenate([y[row][y[row] >= 0] for _, y, _ in batches])
        told = np.concatenate([x[row][y[row] >= 0] for x, y, _ in batches])
        begins = told == START
        assert (told[1:][~begins[1:]] == said[:-1][~begins[1:]]).all()
        assert begins.sum() == sum(int(fresh[row]) for _, _, fresh in batches) > 1
    assert all(fresh.all() == (i == 0) for i, (_, _, fresh) in enumerate(batches[:2]))
    every = np.concatenate([y[y >= 0] for _, y, _ in batches])
    assert every.max() < EVENTS


def test_baselines_know_what_followed_what() -> None:
    a, b = VELOCITY, 60
    pieces = (np.array([a, b] * 50, np.uint16),)
    held = Held(pieces, performance.follows(pieces))
    (one,), (two,) = performance.baselines(held)
    assert one.shape == two.shape == (100,)
    assert two[1:].mean() < 0.2 < one.mean()
    assert held.follows[a, b] == 50
    assert np.isfinite(
        performance.baselines(Held((np.array([5], np.uint16),), held.follows))[1]
    ).all()


def test_the_shipped_performances_are_whole() -> None:
    held = performance.shipped()
    assert len(held) == 9
    assert all(len(piece) > 2000 for piece in held.pieces)
    piece = held.pieces[0]
    assert (encode(decode(piece))[:2000] == piece[:2000]).all()
    assert held.follows.sum() > 500_000


def test_files_are_on_the_side_the_split_says(tmp_path: Path) -> None:
    names = [f"{i}.mid" for i in range(11)]
    giant = [
        "Debussy_Suite_bergamasque_xAKeiyjjTKk_cut_no_1.mid",
        "Chopin_Etudes_Op10_g0hoN6_HDVU_no_9_cut.mid",
        "Scriabin_op_42_Hf4EIJB4DGc_cut_no_4.mid",
    ]
    assert performance.sides(giant) == ["valid", "", "train"]
    assert performance.known(giant)
    assert not performance.known(names)
    assert [i for i, s in enumerate(performance.sides(names)) if s == "valid"] == [0, 10]
    score = Score((Track(0, "", Notes.of([0, PPQ], PPQ, [60, 62])),))
    train, held = performance.read([(tmp_path / "one.mid", score)])
    assert len(train) == len(held) == 1


def test_the_split_keeps_recordings_together() -> None:
    split = performance._split()
    tail = re.compile(r"(_cut|_no_\d+|_mov_\d+|_a|_part1|_midi)*\.mid$")
    sides = {s: {tail.sub("", name)[-11:] for name in split[s]} for s in ("train", "valid")}
    assert not sides["train"] & sides["valid"]
    assert "xAKeiyjjTKk" in sides["valid"]
    assert len(split["train"]) + len(split["valid"]) + len(split["left_out"]) == 56


@pytest.mark.parametrize("steps", [0, 1, 100, 101, 250])
def test_waits_add_up(steps: int) -> None:
    assert performance.waits()[performance.shifts(steps)].sum() == pytest.approx(steps * STEP)

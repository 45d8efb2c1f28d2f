"""schedule: order, pairing of note-ons and note-offs, chase, and speed."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import schedule
from models.score import Controls, Notes, Score, Track
from models.timebase import TempoMap

notes_lists = st.lists(
    st.tuples(st.integers(0, 400), st.integers(1, 300), st.integers(60, 63), st.integers(1, 127)),
    max_size=40,
)


def track_of(rows, **fields) -> Track:
    columns = list(zip(*rows, strict=True)) or [[], [], [], []]
    return Track(0, "t", Notes.of(*columns), **fields)


def messages(table: schedule.Table) -> list[tuple[int, bytes]]:
    return [(int(table.tick[i]), table.bytes_at(i)) for i in range(len(table))]


def sounding(events: list[tuple[int, bytes]]) -> dict[int, set[int]]:
    """key → ticks at which it sounds; fails where a key is struck twice or lifted in silence."""
    since: dict[int, int] = {}
    ticks: dict[int, set[int]] = defaultdict(set)
    for tick, message in events:
        kind, key = message[0] & 0xF0, message[1]
        if kind == schedule.NOTE_ON:
            assert key not in since
            since[key] = tick
        elif kind == schedule.NOTE_OFF:
            begun = since.pop(key)
            assert begun < tick
            ticks[key] |= set(range(begun, tick))
    assert not since
    return ticks


@given(notes_lists)
def test_every_key_sounds_exactly_while_some_note_of_it_does(rows):
    expected: dict[int, set[int]] = defaultdict(set)
    for onset, duration, pitch, _ in rows:
        expected[pitch] |= set(range(onset, onset + duration))
    table = schedule.compile(track_of(rows))
    assert sounding(messages(table)) == expected


@given(notes_lists)
def test_every_onset_is_struck_once_at_its_loudest(rows):
    struck = {
        (tick, m[1]): m[2]
        for tick, m in messages(schedule.compile(track_of(rows)))
        if m[0] & 0xF0 == schedule.NOTE_ON
    }
    loudest: dict[tuple[int, int], int] = {}
    for onset, _, pitch, velocity in rows:
        loudest[onset, pitch] = max(velocity, loudest.get((onset, pitch), 0))
    assert struck == loudest


@given(notes_lists, notes_lists)
def test_tracks_on_one_channel_share_their_keys(first, second):
    tracks = (track_of(first), Track(1, "u", track_of(second).notes))
    expected: dict[int, set[int]] = defaultdict(set)
    for onset, duration, pitch, _ in first + second:
        expected[pitch] |= set(range(onset, onset + duration))
    assert sounding(messages(schedule.flatten(Score(tracks)))) == expected


def test_order_at_one_tick_is_controls_offs_ons():
    track = Track(
        0,
        "t",
        Notes.of([0, 960], [960, 960], [60, 60], [80, 90]),
        Controls([960, 0], [0xB0, 0xE0], [64, 1], [127, 2]),
        channel=3,
        program=19,
        volume=77,
    )
    assert messages(schedule.compile(track)) == [
        (0, bytes((0xB3, 7, 77))),
        (0, bytes((0xC3, 19))),
        (0, bytes((0xE3, 1, 2))),
        (0, bytes((0x93, 60, 80))),
        (960, bytes((0xB3, 64, 127))),
        (960, bytes((0x83, 60, 64))),
        (960, bytes((0x93, 60, 90))),
        (1920, bytes((0x83, 60, 64))),
    ]


def test_ends_point_at_the_note_offs():
    table = schedule.compile(track_of([(0, 500, 60, 80), (100, 50, 60, 81), (100, 70, 64, 82)]))
    ons = [(int(table.tick[i]), int(table.end[i])) for i in table.held(120)]
    assert ons == [(100, 500), (100, 170)]
    assert [int(table.end[i]) for i in table.held(100)] == [100] * 0  # cut by the retrigger at 100
    assert list(table.held(50)) == [2]


def test_solo_and_mute():
    a, b, c = (Track(i, str(i), Notes.of([0], [10], [60 + i])) for i in range(3))
    assert schedule.audible(Score((a, b, c))) == {0, 1, 2}
    muted = Track(1, "1", b.notes, muted=True)
    assert schedule.audible(Score((a, muted, c))) == {0, 2}
    solo = Track(1, "1", b.notes, muted=True, soloed=True)
    assert schedule.audible(Score((a, solo, c))) == {1}
    assert len(schedule.compile(a, audible=False)) == 0
    heard = schedule.flatten(Score((a, solo, c)))
    assert [m[1] for _, m in messages(heard)] == [7, 0, 61, 61]


def test_bytes_round_trip():
    table = schedule.compile(track_of([(0, 500, 60, 80), (100, 50, 61, 81)]))
    again = schedule.Table.frombytes(table.tobytes())
    assert messages(again) == messages(table)
    assert list(again.end) == list(table.end)
    with pytest.raises(ValueError, match="table"):
        schedule.Table.frombytes(b"123")


def test_chase_gives_what_is_in_force():
    controls = Controls(
        [0, 10, 20, 20, 30, 40, 50, 60],
        [0xC0, 0xB0, 0xB0, 0xB0, 0xE0, 0xD0, 0xB0, 0xA0],
        [5, 64, 64, 1, 0, 9, 11, 60],
        [0, 127, 0, 33, 100, 0, 80, 50],
    )
    table = schedule.compile(Track(0, "t", controls=controls, channel=2))
    assert schedule.chase(table, 15) == [
        bytes((0xB2, 1, 0)),
        bytes((0xB2, 11, 127)),
        bytes((0xD2, 0)),
        bytes((0xE2, 0, 64)),
        bytes((0xB2, 7, 100)),
        bytes((0xC2, 5)),
        bytes((0xB2, 64, 127)),
    ]
    assert schedule.chase(table, 1000) == [
        bytes((0xB2, 7, 100)),
        bytes((0xC2, 5)),
        bytes((0xB2, 64, 0)),
        bytes((0xB2, 1, 33)),
        bytes((0xE2, 0, 100)),
        bytes((0xD2, 9)),
        bytes((0xB2, 11, 80)),
    ]
    assert schedule.chase(schedule.NOTHING, 0) == []


def test_timed_follows_the_tempo_map():
    score = Score(
        (track_of([(0, 960, 60, 80), (960, 960, 62, 80)]),),
        tempo=TempoMap([0, 960], [500_000, 1_000_000]),
    )
    notes = [(s, m[1]) for s, m in schedule.timed(score) if m[0] & 0xF0 == schedule.NOTE_ON]
    assert notes == [(0.0, 60), (0.5, 62)]
    assert schedule.timed(score)[-1] == (1.5, bytes((0x80, 62, 64)))
    assert schedule.timed(Score()) == []

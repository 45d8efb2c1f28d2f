"""Performance time against the playhead's, and the rules of the fallback."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import fallback
from engine.playback import Anchor, Played
from engine.stage_ear import Ear
from engine.stage_mutate import merged_edits, spliced
from engine.stage_time import Timeline
from engine.staging import Quantum, Scene
from models.score import Key, Notes, Score, Track
from models.timebase import PPQ, MeterMap, TempoMap

SECOND = 1_000_000_000
BAR = 4 * PPQ
MAJOR = fallback.scale(Key(0, 0))


def timeline(
    loop: tuple[int, int] | None = None, tick: float = 0.0, bpm: float = 120.0, numerator: int = 4
) -> Timeline:
    meter = MeterMap(np.zeros(1, np.int64), np.array([numerator]), np.array([4]))
    return Timeline(TempoMap.constant(bpm), meter, loop, Anchor(tick, SECOND, True))


@settings(max_examples=40)
@given(
    st.integers(0, 5),
    st.integers(1, 5),
    st.integers(30, 240),
    st.floats(0, 60),
    st.sampled_from([0.0, 97.3]),
)
def test_position_and_moment_are_inverse_around_a_loop(
    first: int, bars: int, bpm: int, seconds: float, followed: float
) -> None:
    loop = (first * BAR, (first + bars) * BAR)
    line = timeline(loop, bpm=bpm)
    line = Timeline(line.tempo, line.meter, loop, Anchor(0.0, SECOND, True, followed))
    now = SECOND + round(seconds * SECOND)
    u = line.position(now)
    assert abs(line.moment(u) - now) < 20_000
    assert u == pytest.approx(seconds * (followed or bpm) * PPQ / 60, abs=1)
    assert 0 <= line.place(u) < loop[1]


def test_u_goes_on_where_the_playhead_goes_back() -> None:
    line = timeline((0, 2 * BAR))
    back = Anchor(0.0, SECOND + 4 * SECOND, True)  # two bars at 120 last four seconds
    again, left = line.anchored(back)
    assert left is None
    assert again.shift == 2 * BAR
    assert again.position(back.at + SECOND) == pytest.approx(2 * BAR + 2 * PPQ)
    assert again.place(2 * BAR + 5) == 5


def test_after_a_jump_bars_are_still_bars() -> None:
    line = timeline()
    moved, left = line.anchored(Anchor(10 * BAR + PPQ, SECOND + 3 * SECOND, True))
    assert left == pytest.approx(6 * PPQ)
    assert moved.position(SECOND + 3 * SECOND) >= 6 * PPQ
    assert (moved.shift % BAR) == 0
    assert moved.offset(moved.position(SECOND + 3 * SECOND)) == PPQ


def test_a_change_of_tempo_is_no_jump() -> None:
    line = timeline()
    now = SECOND + 3 * SECOND
    staged = line.staged(Scene(Score(tempo=TempoMap.constant(60))), now)
    assert staged.position(now) == pytest.approx(6 * PPQ)
    assert staged.position(now + SECOND) == pytest.approx(7 * PPQ)
    _, left = staged.anchored(Anchor(6 * PPQ + 3.0, now + 2_000_000, True))
    assert left is None


def test_bars_and_beats_in_any_metre() -> None:
    line = timeline(numerator=3)
    assert line.following(1) == 3 * PPQ
    assert line.following(3 * PPQ) == 3 * PPQ
    assert line.following(1, Quantum.BEAT) == PPQ
    six = MeterMap(np.zeros(1, np.int64), np.array([6]), np.array([8]))
    compound = Timeline(TempoMap.constant(120), six)
    assert compound.following(1, Quantum.BEAT) == 3 * PPQ // 2
    assert compound.bar_length(0) == 3 * PPQ


def test_bars_go_on_through_a_loop_that_is_no_whole_number_of_them() -> None:
    line = timeline((PPQ, PPQ + 6 * PPQ))
    assert line.following(5 * PPQ) == 7 * PPQ + 3 * PPQ  # the bar line of the next round
    assert line.until(0) == 7 * PPQ
    assert line.until(7 * PPQ) == 13 * PPQ


# --- the ear ----------------------------------------------------------------------------------------


def key(at: int, pitch: int, velocity: int) -> Played:
    return Played(at, bytes((0x90 if velocity else 0x80, pitch, velocity)), "keys")


def test_notes_before_the_playhead_moves_begin_with_it() -> None:
    rest = Timeline(TempoMap.constant(120), MeterMap())
    ear = Ear()
    for at, pitch, velocity in ((-9, 40, 90), (-8, 40, 0), (-1, 60, 90), (0, 64, 80)):
        ear.heard(key(10 * SECOND + at * SECOND // 100, pitch, velocity), rest)
    ear.heard(key(5 * SECOND, 70, 90), rest)
    ear.heard(key(5 * SECOND + 1, 70, 0), rest)  # long ago
    line = Timeline(rest.tempo, rest.meter, None, Anchor(2.0 * BAR, 10 * SECOND + 5_000_000, True))
    ear.anchored(line)
    notes = ear.notes(0, 2 * BAR + PPQ)
    assert set(notes.pitch.tolist()) == {40, 60, 64}
    assert set(notes.onset.tolist()) == {2 * BAR}
    assert ear.held == (60, 64)


@pytest.mark.parametrize(
    "message", [b"", b"\x90", b"\x90\x40", b"\xf8", b"\xb0\x40\x7f", b"\xf0\x7e\xf7"]
)
def test_what_is_no_note_is_no_note(message: bytes) -> None:
    ear = Ear()
    assert not ear.heard(Played(SECOND, message), timeline())
    assert not len(ear.notes(0, 10))


def test_a_flood_is_bounded() -> None:
    ear, line = Ear(), timeline()
    for i in range(10_000):
        ear.heard(key(SECOND + i * 100_000, 60 + i % 12, 90 if i % 2 else 0), line)
    assert len(ear.notes(0, 1e9)) <= 2048 + 128


# --- the fallback -----------------------------------------------------------------------------------

bars = st.lists(
    st.tuples(
        st.integers(0, 15), st.integers(1, 8), st.sampled_from(sorted(MAJOR)), st.integers(3, 7)
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=30)
@given(bars, st.integers(0, 2**32 - 1))
def test_a_varied_bar_is_another_bar_in_the_key(
    rows: list[tuple[int, int, int, int]], seed: int
) -> None:
    """Inside its length, on the keyboard, a key at a time, and the same for the same seed."""
    table = np.array(rows)
    notes = Notes.of(table[:, 0] * PPQ // 4, table[:, 1] * PPQ // 4, table[:, 2] + 12 * table[:, 3])
    notes = notes.where(np.append(np.diff(notes.onset * 128 + notes.pitch) > 0, True))
    said: list[Notes] = []
    for _ in range(4):
        varied = fallback.vary(notes, BAR, MAJOR, np.random.default_rng([seed, len(said)]), said)
        again = fallback.vary(notes, BAR, MAJOR, np.random.default_rng([seed, len(said)]), said)
        assert fallback.alike(varied, again)
        assert len(varied)
        assert varied.onset.min() >= 0
        assert varied.length <= BAR
        assert all(int(p) % 12 in MAJOR for p in varied.pitch)
        pairs = list(zip(varied.onset.tolist(), varied.pitch.tolist(), strict=True))
        assert len(set(pairs)) == len(pairs)
        if len(notes) > 2:
            assert not fallback.alike(varied, notes)
        said.append(varied)


@given(st.integers(0, 127), st.integers(-7, 7), st.lists(st.integers(40, 70), max_size=4))
def test_a_chord_by_rule_lies_under_the_melody_and_does_not_clash(
    melody: int, sharps: int, before: list[int]
) -> None:
    in_scale = fallback.scale(Key(0, sharps))
    chord = fallback.harmony(melody, in_scale, sorted(set(before)))
    assert all(0 <= p < melody for p in chord)
    if melody % 12 in in_scale and melody > 60:
        assert len(chord) >= 2 or chord == tuple(sorted(set(before)))
        assert not any((melody - p) % 12 in fallback.HARSH for p in chord)


def test_the_scale_of_notes_without_a_key() -> None:
    notes = Notes.of(np.arange(8) * PPQ, PPQ, (67, 69, 71, 72, 74, 76, 78, 79))
    assert fallback.scale(None, notes) == fallback.scale(Key(0, 1))


def test_denser_and_thinner() -> None:
    notes = Notes.of(np.arange(8) * PPQ // 2, PPQ // 2, 60 + np.arange(8))
    rng = np.random.default_rng(0)
    assert len(fallback.denser(notes, 3.0, rng)) == 16
    thin = fallback.denser(notes, -3.0, rng)
    assert (thin.onset % PPQ == 0).all()
    assert (thin.end[:-1] == thin.onset[1:]).all()  # what is left holds on
    assert fallback.denser(notes, 0.0, rng) is notes


@given(st.integers(0, 127), st.integers(-2, 2))
def test_registers_stay_on_the_keyboard(pitch: int, octaves: int) -> None:
    moved = fallback.registered(Notes.of([0], PPQ, [pitch]), octaves)
    assert (int(moved.pitch[0]) - pitch) % 12 == 0
    if octaves:
        assert fallback.LOWEST <= moved.pitch[0] <= fallback.HIGHEST


# --- loop and mutate --------------------------------------------------------------------------------


def test_nothing_that_sounds_changes_where_two_versions_meet() -> None:
    old = Notes.of([0, PPQ, 3 * PPQ], [PPQ, 3 * PPQ, PPQ], [60, 62, 64])
    new = Notes.of([0, PPQ, 3 * PPQ], [PPQ, 3 * PPQ, PPQ], [70, 72, 74])
    both = spliced(new, old, 2 * PPQ)
    assert both.pitch.tolist() == [70, 62, 72, 64]
    assert both.where(both.pitch == 72).end.tolist() == [2 * PPQ]
    assert both.where(both.pitch == 62).end.tolist() == [4 * PPQ]


def test_edits_win_bar_by_bar() -> None:
    def score(pitches: list[int]) -> Score:
        return Score((Track(0, "A", Notes.of(np.arange(4) * BAR, PPQ, pitches)),))

    before, after, evolved = score([1, 2, 3, 4]), score([1, 20, 3, 4]), score([5, 6, 7, 8])
    spans = [(0, BAR), (BAR, 2 * BAR), (2 * BAR, 3 * BAR)]
    found = merged_edits(evolved, before, after, spans).tracks[0].notes
    assert found.pitch.tolist() == [5, 20, 7, 4]  # the last bar is outside the loop
    assert len(np.unique(found.id)) == 4

"""Moving notes towards a grid, and the tempo of free playing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.quantising import GRIDS, Quantise, apart, carried, nearest, quantised, tempo_of
from models.score import Controls, Notes
from models.timebase import PPQ, MeterMap, TempoMap

AT_120 = TempoMap.constant(120)
FOUR = MeterMap()


@st.composite
def played(draw: st.DrawFn) -> Notes:
    """What a recorder may hand over: no note runs into the next of its pitch."""
    rows = draw(
        st.lists(
            st.tuples(st.integers(0, 8000), st.integers(1, 2000), st.integers(60, 63)),
            min_size=1,
            max_size=30,
        )
    )
    onset, duration, pitch = np.array(rows).T
    notes = apart(Notes.of(onset, duration, pitch))
    return notes.with_(id=np.arange(len(notes)))


HOW = st.builds(
    Quantise,
    st.sampled_from([width for _, width in GRIDS]),
    st.floats(0, 1),
    st.floats(0.5, 0.75),
    st.booleans(),
)
METERS = st.sampled_from(
    (FOUR, MeterMap([0], [7], [8]), MeterMap([0, 2 * PPQ], [2, 3], [4, 4]), MeterMap(pickup=PPQ))
)


@given(played(), HOW, METERS)
def test_no_note_is_lost_or_shortened_to_nothing_or_overtaken_by_its_own_pitch(
    notes: Notes, how: Quantise, meter: MeterMap
) -> None:
    made = quantised(notes, how, meter, AT_120).notes
    assert sorted(made.id.tolist()) == notes.id.tolist()
    assert (made.duration >= 1).all()
    there = made.where(np.argsort(made.id, kind="stable"))
    for pitch in np.unique(notes.pitch).tolist():
        line = made.onset[made.pitch == pitch]
        order = made.id[made.pitch == pitch]
        assert (np.diff(line) > 0).all()
        assert (np.diff(order) > 0).all()
    assert len(there) == len(notes)


@given(played(), HOW, METERS)
def test_no_strength_leaves_everything_as_it_was(
    notes: Notes, how: Quantise, meter: MeterMap
) -> None:
    still = Quantise(how.grid, 0.0, how.swing, how.ends)
    assert quantised(notes, still, meter, AT_120).notes == notes


@given(played(), HOW, METERS)
def test_full_strength_puts_every_first_stroke_on_the_grid(
    notes: Notes, how: Quantise, meter: MeterMap
) -> None:
    full = Quantise(how.grid, 1.0, how.swing, how.ends)
    made = quantised(notes, full, meter, AT_120).notes
    off = made.onset != nearest(made.onset.astype(float), full, meter)
    for note in made.where(off).id.tolist():  # a key struck again before the next point
        before = notes.where((notes.pitch == notes.pitch[note]) & (notes.id < note))
        assert len(before)
        assert notes.onset[note] - before.onset[-1] < 2 * how.grid


@settings(max_examples=40)
@given(played(), HOW)
def test_half_strength_goes_half_the_way(notes: Notes, how: Quantise) -> None:
    def onsets(strength: float) -> np.ndarray:
        made = quantised(notes, Quantise(how.grid, strength, how.swing), FOUR, AT_120).notes
        return made.onset[np.argsort(made.id)]

    middle = (notes.onset + onsets(1.0)) / 2
    assert np.abs(onsets(0.5) - middle).max() <= len(notes)  # rounding keeps strokes apart


def test_a_chord_stays_one() -> None:
    notes = Notes.of([460, 470, 500], 400, [60, 64, 67])  # spread over 20 ms around a line between
    made = quantised(notes, Quantise(PPQ), FOUR, AT_120).notes
    assert made.onset.tolist() == [0, 0, 0]
    slow = quantised(notes, Quantise(PPQ), FOUR, TempoMap.constant(40)).notes
    assert slow.onset.tolist() == [0, 0, PPQ]


def test_fast_runs_on_a_fine_grid_are_no_chords() -> None:
    run = Notes.of(np.arange(8) * 60 + 5, 50, 60 + np.arange(8))  # sixty-fourths, 31 ms apart
    made = quantised(run, Quantise(PPQ // 16), FOUR, AT_120).notes
    assert made.onset.tolist() == (np.arange(8) * 60).tolist()


def test_a_key_struck_twice_within_a_step_stays_two_strokes() -> None:
    notes = Notes.of([10, 130, 970], [100, 100, 100], 60)
    made = quantised(notes, Quantise(PPQ), FOUR, AT_120).notes
    assert made.onset.tolist() == [0, 120, PPQ]


def test_swing_delays_every_second_step() -> None:
    notes = Notes.of(np.arange(4) * PPQ // 2, 100, 60)
    made = quantised(notes, Quantise(PPQ // 2, swing=2 / 3), FOUR, AT_120).notes
    assert made.onset.tolist() == [0, 640, 960, 1600]


def test_the_grid_is_counted_from_each_barline() -> None:
    meter = MeterMap([0], [7], [8])  # 3360 ticks
    notes = Notes.of([3360 + 950], 100, 60)
    assert quantised(notes, Quantise(PPQ), meter, AT_120).notes.onset.tolist() == [3360 + 960]


def test_ends_move_when_asked_and_never_before_their_beginnings() -> None:
    notes = Notes.of([20], [90], 60)
    assert quantised(notes, Quantise(240), FOUR, AT_120).notes.duration.tolist() == [90]
    ends = quantised(notes, Quantise(240, ends=True), FOUR, AT_120).notes
    assert (ends.onset.tolist(), ends.duration.tolist()) == ([0], [240])
    part = quantised(notes, Quantise(240, 0.5, ends=True), FOUR, AT_120).notes
    assert (part.onset.tolist(), part.end.tolist()) == ([10], [175])


def test_controllers_go_along_with_the_notes_around_them() -> None:
    notes = Notes.of([100, 1000], 50, 60)
    moved = quantised(notes, Quantise(PPQ), FOUR, AT_120)
    controls = Controls([0, 100, 550, 1000, 2000], [0xB0] * 5, [64] * 5, [0, 127, 64, 1, 0])
    assert carried(controls, moved).tick.tolist() == [0, 0, 480, 960, 1960]


def test_one_pitch_at_one_tick_is_one_note() -> None:
    notes = Notes.of([0, 0, 50, 50], [100, 300, 10, 10], [60, 60, 60, 62], [70, 60, 80, 90])
    made = apart(notes)
    assert made.onset.tolist() == [0, 50, 50]
    assert made.duration.tolist() == [50, 10, 10]
    assert made.velocity.tolist() == [70, 80, 90]


@pytest.mark.parametrize("bpm", [62, 88, 120, 145])
def test_the_tempo_of_somebody_who_plays_unevenly(bpm: float) -> None:
    """Onsets on quarters, eighths and sixteenths, 10 ms off (standard deviation)."""
    rng = np.random.default_rng(1)
    steps = np.cumsum(rng.choice([1, 2, 2, 4], 48))
    onset = np.sort(steps * 15 / bpm + rng.normal(0, 0.01, 48))
    assert tempo_of(onset, 0.8 * bpm) == pytest.approx(bpm, rel=0.01)
    assert tempo_of(onset, 1.25 * bpm) == pytest.approx(bpm, rel=0.01)


def test_no_tempo_where_there_is_none() -> None:
    rng = np.random.default_rng(2)
    assert tempo_of(np.sort(rng.uniform(0, 20, 60))) is None
    assert tempo_of(np.arange(4.0)) is None


@pytest.mark.parametrize("wrong", [{"grid": 0}, {"strength": 1.5}, {"swing": 0.3}])
def test_wrong_wishes_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="a grid is positive"):
        Quantise(**wrong)  # type: ignore[arg-type]

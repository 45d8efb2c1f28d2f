"""Time against the slow, obvious way to count it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.timebase import PPQ, BarPosition, MeterMap, TempoMap

# --- tempo ---------------------------------------------------------------------------------------

CHANGES = st.lists(st.tuples(st.integers(0, 20_000), st.integers(1, 2_000_000)), max_size=8)


def tempo_map(changes: list[tuple[int, int]]) -> TempoMap:
    return TempoMap(
        np.array([t for t, _ in changes], np.int64), np.array([u for _, u in changes], np.int64)
    )


@given(CHANGES, st.integers(0, 30_000))
def test_seconds_are_the_sum_over_every_tick(changes: list[tuple[int, int]], tick: int) -> None:
    speed = dict(changes)  # of several at one tick the last counts
    at = sorted(speed)
    total, now, us = 0.0, 0, speed.get(0, 500_000)
    for change in [t for t in at if 0 < t < tick]:
        total += (change - now) * us / PPQ / 1e6
        now, us = change, speed[change]
    total += (tick - now) * us / PPQ / 1e6
    assert tempo_map(changes).second(tick) == pytest.approx(total, rel=1e-9, abs=1e-9)


@given(CHANGES, st.lists(st.integers(0, 40_000), min_size=1, max_size=20))
def test_ticks_and_seconds_are_inverse(changes: list[tuple[int, int]], ticks: list[int]) -> None:
    tempo = tempo_map(changes)
    assert tempo.ticks(tempo.seconds(ticks)) == pytest.approx(ticks, rel=1e-6, abs=1e-3)
    assert (np.diff(tempo.seconds(np.sort(ticks))) >= 0).all()


def test_a_tempo_holds_until_the_next() -> None:
    tempo = TempoMap(np.array([0, 1920]), np.array([500_000, 1_000_000]))
    assert tempo.bpm(0) == tempo.bpm(1919) == 120
    assert tempo.bpm(1920) == tempo.bpm(10**9) == 60
    assert tempo.seconds([960, 1920, 2880]).tolist() == [0.5, 1.0, 2.0]
    assert TempoMap.constant(90).bpm(0) == pytest.approx(90, abs=1e-4)


def test_120_bpm_is_where_nothing_is_said() -> None:
    assert TempoMap().bpm(0) == 120
    late = TempoMap(np.array([960]), np.array([250_000]))
    assert late.tick.tolist() == [0, 960]
    assert late.second(1920) == 0.75


@pytest.mark.parametrize(
    ("tick", "us"), [([0], [0]), ([0], [-1]), ([-1], [500_000]), ([0, 1], [500_000])]
)
def test_an_impossible_tempo_is_refused(tick: list[int], us: list[int]) -> None:
    with pytest.raises(ValueError, match="tempo"):
        TempoMap(np.array(tick), np.array(us))


def test_tempo_maps_are_values() -> None:
    a, b = (
        TempoMap(np.array([0, 9]), np.array([5, 6])),
        TempoMap(np.array([9, 0]), np.array([6, 5])),
    )
    assert a == b
    assert hash(a) == hash(b)
    assert a != TempoMap()
    with pytest.raises(ValueError, match="read-only"):
        a.tick[0] = 3


# --- metre ---------------------------------------------------------------------------------------


@st.composite
def meters(draw: st.DrawFn) -> MeterMap:
    ticks = sorted({0, *draw(st.lists(st.integers(3840, 30_000), max_size=3))})
    metre = st.tuples(st.integers(1, 12), st.sampled_from((1, 2, 4, 8, 16)))
    values = [draw(metre) for _ in ticks]
    first = values[0][0] * 4 * PPQ // values[0][1]
    pickup = draw(st.just(0) | st.integers(1, min(first, 3840) - 1))
    return MeterMap(
        np.array(ticks),
        np.array([n for n, _ in values]),
        np.array([d for _, d in values]),
        pickup,
    )


def barlines(meter: MeterMap, until: int) -> Iterator[tuple[int, int]]:
    """(bar, tick), counted one bar at a time."""
    number, tick = 1, meter.pickup
    if meter.pickup:
        yield 0, 0
    while tick < until:
        yield number, tick
        numerator, denominator = meter.at(tick)
        end = tick + numerator * 4 * PPQ // denominator
        changes = [c for c in meter.tick.tolist() if tick < c < end]
        tick = changes[0] if changes else end
        number += 1


@given(meters())
def test_bars_are_where_counting_puts_them(meter: MeterMap) -> None:
    counted = list(barlines(meter, 60_000))
    assert meter.bars(0, 60_000) == counted
    for number, tick in counted:
        assert meter.bar_start(number) == tick


@given(meters(), st.integers(0, 50_000))
def test_every_tick_lies_in_the_bar_before_the_next_barline(meter: MeterMap, tick: int) -> None:
    counted = list(barlines(meter, 120_000))
    index = max(n for n, (_, start) in enumerate(counted) if start <= tick)
    (number, start), (_, after) = counted[index], counted[index + 1]
    assert meter.position(tick) == BarPosition(number, tick - start, after - start)


@given(meters(), st.integers(0, 40_000), st.integers(0, 40_000))
def test_a_stretch_has_the_barlines_inside_it(meter: MeterMap, a: int, b: int) -> None:
    start, end = min(a, b), max(a, b)
    assert meter.bars(start, end) == [x for x in barlines(meter, 60_000) if start <= x[1] < end]


@pytest.mark.parametrize(
    ("numerator", "denominator", "beat"),
    [(4, 4, 960), (3, 4, 960), (2, 2, 1920), (6, 8, 1440), (12, 8, 1440), (3, 8, 480), (5, 8, 480)],
)
def test_beats_are_dotted_in_compound_metres(numerator: int, denominator: int, beat: int) -> None:
    assert MeterMap([0], [numerator], [denominator]).beat_ticks(0) == beat


@pytest.mark.parametrize(
    "words",
    [
        {"numerator": [0]},
        {"numerator": [256]},
        {"denominator": [3]},
        {"denominator": [128]},
        {"tick": [-1]},
        {"tick": [0, 1]},
        {"pickup": 3840},
        {"pickup": -1},
    ],
)
def test_an_impossible_metre_is_refused(words: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"metre|pickup"):
        MeterMap(**words)  # type: ignore[arg-type]


def test_metre_maps_are_values() -> None:
    assert MeterMap([0], [3], [4]) == MeterMap([0, 0], [4, 3], [4, 4])
    assert hash(MeterMap(pickup=960)) == hash(MeterMap(pickup=960)) != hash(MeterMap())
    assert MeterMap() != MeterMap(pickup=960)

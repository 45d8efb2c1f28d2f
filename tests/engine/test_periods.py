"""When JACK's periods begin: calls that are late, drivers that stall, cards that run slow."""

from __future__ import annotations

import numpy as np

from engine.periods import COUNTER, PeriodClock, anchors

FRAMES = 64
FRAME_NS = 1e9 / 48_000
PERIOD_NS = FRAMES * FRAME_NS
MS = 1_000_000


def late_calls(count: int) -> np.ndarray:
    """By how many nanoseconds calls are late: some tens of microseconds, and every fortieth by almost a period."""
    rng = np.random.default_rng(1)
    late = rng.integers(5_000, 60_000, count)
    late[::40] += round(0.9 * PERIOD_NS)
    return late


def run(begins: np.ndarray, late: np.ndarray, first: int = 1000) -> np.ndarray:
    """By how much PeriodClock is wrong about each period, in nanoseconds."""
    clock = PeriodClock(FRAME_NS)
    found = [
        clock.begins((first + FRAMES * i) % COUNTER, int(at + by))
        for i, (at, by) in enumerate(zip(begins, late, strict=True))
    ]
    return np.array(found) - begins


def even(count: int, slow: float = 1.0) -> np.ndarray:
    return 5e12 + np.arange(count) * PERIOD_NS * slow


def test_late_calls_put_nothing_off():
    wrong = run(even(2000), late_calls(2000))[50:]
    assert np.abs(wrong).max() < 60_000
    assert np.ptp(wrong) < 45_000


def test_after_a_stall_the_periods_are_found_again():
    begins = even(400)
    begins[200:] += 56 * MS
    begins[300:] += MS // 2
    wrong = np.abs(run(begins, np.full(400, 20_000)))
    assert wrong[:300].max() < 1_000 + 20_000, "longer than a period: at once"
    assert wrong[304:].max() < 1_000 + 20_000


def test_calls_that_catch_up_are_no_stall():
    """A server that was held up calls for the periods it owes one upon the other; they began when they did. Held up
    by more than a period it may have stalled, which shows as soon as it catches up."""
    for held_up, most_ns in ((0.9, 25_000), (2.0, 2 * PERIOD_NS)):
        late = np.full(400, 20_000)
        late[200:208] += np.maximum(0, held_up * PERIOD_NS - np.arange(8) * PERIOD_NS).astype(int)
        wrong = np.abs(run(even(400), late))
        assert wrong.max() < most_ns + 20_000
        assert wrong[203:].max() < 25_000


def test_a_slow_card_and_a_fast_one_are_followed():
    for slow in (1 + 2e-4, 1 - 2e-4):
        wrong = run(even(4000, slow), late_calls(4000))[100:]
        assert np.abs(wrong).max() < 100_000


def test_the_counter_may_begin_anew():
    wrong = run(even(400), np.full(400, 20_000), COUNTER - 200 * FRAMES)
    assert np.abs(wrong - 20_000).max() < 1_000


def test_afterwards_stalls_and_late_calls_are_told_apart():
    begins = even(2000)
    begins[700:] += 56 * MS
    begins[703:] += 2 * MS
    frames = 1000 + FRAMES * np.arange(2000)
    found = anchors(frames, (begins + late_calls(2000)).astype(np.int64), FRAME_NS)
    wrong = found - begins
    assert np.abs(np.delete(wrong, [700, 701, 702])[:-30]).max() < 60_000
    assert anchors([], [], FRAME_NS).tolist() == []

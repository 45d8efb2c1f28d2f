"""counting: how many pulses have been, where some are lost, late or too many, and the tempo jumps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from rehearsal import MS

from engine.counting import Tracker
from engine.sync import ClockFollower
from engine.sync_figures import errors, pulses

SECOND = 1000 * MS
CLOCK, START, STOP = b"\xf8", b"\xfa", b"\xfc"


def started() -> ClockFollower:
    """A follower that has heard start."""
    follower = ClockFollower()
    follower.hear(0, START)
    return follower


@pytest.mark.parametrize("jitter_ms", [0, 3])
@pytest.mark.parametrize(
    ("before", "after"),
    [(120, 90), (120, 50), (90, 180), (60, 174), (120, 60), (174, 116), (240, 60), (150, 300)],
)
@pytest.mark.parametrize("second", [5.0, 5.013])
def test_a_tempo_that_jumps_is_learnt_without_losing_count(before, after, second, jitter_ms):
    off = np.abs(
        errors(lambda t: before if t < second else after, seconds=8, jitter_ns=jitter_ms * MS)
    )
    assert off[-50:].max() < 3


@pytest.mark.parametrize("bpm", [60, 174, 220, 300])
@pytest.mark.parametrize("losses", [{}, {"lost": 0.05}, {"lost": 0.1}, {"bursts": True}])
def test_lost_pulses_are_counted(bpm, losses):
    off = np.abs(errors(lambda _: bpm, seconds=15, seed=1, **losses))
    assert off[-1] < 60e3 / 24 / bpm / 2
    assert np.quantile(off, 0.99) < 1.5


def ramp(before: float, after: float, seconds: float) -> Callable[[float], float]:
    """From one tempo to the other, in so many seconds from 3 s on."""
    return lambda second: float(np.interp(second, [3, 3 + seconds], [before, after]))


@pytest.mark.parametrize("jitter_ms", [0, 3])
@pytest.mark.parametrize("lost", [0.0, 0.05])
@pytest.mark.parametrize(("before", "after", "seconds"), [(60, 180, 4), (180, 60, 4), (120, 40, 4)])
def test_lost_pulses_are_counted_while_the_tempo_moves(before, after, seconds, lost, jitter_ms):
    off = errors(
        ramp(before, after, seconds), seconds=8, lost=lost, jitter_ns=jitter_ms * MS, seed=2
    )
    assert abs(off[-1]) < 10


def test_a_tempo_that_halves_is_told_from_losses_in_a_few_pulses():
    before, after = pulses(lambda _: 120.0, 5.0), pulses(lambda _: 60.0, 2.0)
    heard = [*before.tolist(), *(before[-1] + after[1:]).tolist()]
    follower, places, states = started(), [], []
    for at in heard:
        orders = follower.hear(at, CLOCK)
        places.append(orders[-1].place if orders else None)
        states.append(follower.state)
    wrong = [n for n, place in enumerate(places) if place not in (n * 40, None)]
    assert min(wrong) >= len(before)
    assert max(wrong) < len(before) + 8
    assert set(states[10:]) == {"locked"}
    assert follower.bpm == pytest.approx(60, abs=0.1)


@pytest.mark.parametrize("missing", [[1], [2], [3], [1, 4]])
def test_a_pulse_may_be_missing_among_the_first(missing):
    true = pulses(lambda _: 100.0, 1.0).tolist()
    follower = started()
    for n, at in enumerate(true):
        if n not in missing:
            orders = follower.hear(at, CLOCK)
    assert orders[-1].place == (len(true) - 1) * 40


@pytest.mark.parametrize("bpm", [60.0, 120.0, 300.0])
@pytest.mark.parametrize("held_ms", [15, 40, 120, 300])
def test_pulses_held_up_come_all_at_once_and_are_counted_once(bpm, held_ms):
    rng = np.random.default_rng(held_ms)
    true = pulses(lambda _: bpm, 4.0)
    heard = true + rng.integers(-MS, MS, len(true))
    held = (heard > 2 * SECOND) & (heard < 2 * SECOND + held_ms * MS)
    heard[held] = 2 * SECOND + held_ms * MS
    follower = started()
    for n, at in enumerate(np.maximum.accumulate(heard).tolist()):
        orders = follower.hear(at + n, CLOCK)
    assert orders[-1].place == (len(true) - 1) * 40
    assert abs(orders[-1].at - true[-1]) < 1 * MS


@pytest.mark.parametrize("later_ms", [0, 1, 7])
def test_pulses_sent_twice_are_counted_once(later_ms):
    true = pulses(lambda _: 120.0, 5.0).tolist()
    follower = started()
    for n, at in enumerate(true):
        orders = follower.hear(at, CLOCK)
        if n % 40 == 20:
            follower.hear(at + later_ms * MS, CLOCK)
    assert orders[-1].place == (len(true) - 1) * 40
    assert abs(orders[-1].at - true[-1]) < 1 * MS


def test_a_phase_that_jumps_is_followed():
    true = pulses(lambda _: 120.0, 6.0)
    heard = true + np.where(true > 3 * SECOND, 8 * MS, 0)
    follower = started()
    for at in heard.tolist():
        orders = follower.hear(at, CLOCK)
    assert orders[-1].place == (len(true) - 1) * 40
    assert abs(orders[-1].at - heard[-1]) < 1 * MS


@pytest.mark.parametrize("bpm", [50.0, 120.0, 240.0])
def test_a_master_that_starts_again_after_silence_may_have_another_tempo(bpm):
    follower = started()
    for at in pulses(lambda _: 120.0, 3.0).tolist():
        follower.hear(at, CLOCK)
    follower.hear(3 * SECOND, STOP)
    follower.poll(follower.due)
    follower.hear(6 * SECOND, START)
    true = (6 * SECOND + pulses(lambda _: bpm, 1.0)).tolist()
    for at in true:
        orders = follower.hear(at, CLOCK)
    assert orders[-1].place == (len(true) - 1) * 40
    assert orders[-1].speed == pytest.approx(bpm, rel=1e-3)


def test_a_tracker_forgives_one_accident_and_believes_two():
    tracker = Tracker(20e6)
    tracker.restart(0, 0)
    for n in range(1, 50):
        tracker.feed(n, n * 20 * MS)
    tracker.feed(50, 1015 * MS)  # 15 ms late
    assert tracker.moment(50) == pytest.approx(1000 * MS, abs=1 * MS)
    for n in range(51, 75):
        tracker.feed(n, n * 20 * MS + 15 * MS)
    assert tracker.moment(74) == pytest.approx(1495 * MS, abs=2 * MS)

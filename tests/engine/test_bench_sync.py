"""How far apart two that share a time are: the arithmetic, and two of our processes over JACK."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from engine import bench_sync, jackd
from engine.playback import Linked

MS = 1_000_000
BEAT_NS = 500 * MS  # at 120 a minute


def heard(since: int, late: int = 0, bpm: float = 120.0) -> list[Linked]:
    """A beat that began at 0, read every 50 ms from `since` on by somebody who takes it to be `late`."""
    moments = range(since, since + 10 * 50 * MS, 50 * MS)
    return [Linked(at, (at - late) / BEAT_NS, bpm, False, 1) for at in moments]


def test_the_same_beat_read_at_other_moments_is_no_difference():
    assert bench_sync.apart(heard(0), heard(17 * MS)).tolist() == pytest.approx([0] * 9, abs=2)


@pytest.mark.parametrize("late", [3 * MS, -3 * MS])
def test_a_difference_is_told_in_time(late: int):
    apart = bench_sync.apart(heard(0), heard(17 * MS, late))
    assert apart.tolist() == pytest.approx([3 * MS] * 9, abs=2)


def test_other_tempos_and_other_times_are_not_compared():
    assert not len(bench_sync.apart(heard(0), heard(0, bpm=121.0)))
    assert not len(bench_sync.apart(heard(0), heard(3000 * MS)))
    assert not len(bench_sync.apart(heard(0), []))


def test_onsets_since():
    came = [(1, b"\x90\x3c\x40"), (5, b"\x90\x3d\x40"), (6, b"\x80\x3d\x40"), (7, b"\xf8")]
    assert bench_sync.onsets(came, 5) == [came[1]]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere MIDI does not go through JACK")
def test_one_process_follows_the_clock_of_another():
    pytest.importorskip("jack")
    with jackd.dummy_server("ricercar-test-sync", 256, patient=True):
        figures = bench_sync.follow_over_jack(60, 3.0)
    assert figures["loop_lost"] == 0
    assert not np.isnan(list(figures.values())).any()

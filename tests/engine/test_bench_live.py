"""What the live benchmark makes of what was played and what came."""

from __future__ import annotations

import numpy as np
import pytest

from engine import bench_live
from engine.playback import Anchor
from models.score import Notes, Track, UserError
from models.timebase import PPQ

SECOND = 1_000_000_000


def arrivals(count: int, drift_ns: int = 0, lost: int = 0) -> list[tuple[int, bytes]]:
    """Quarters at 120 from second 1 on, each so much later than the one before."""
    found = []
    for i in range(count - lost):
        at = SECOND + i * SECOND // 2 + i * drift_ns
        found += [(at, bytes((0x90, 60, 80))), (at + SECOND // 4, bytes((0x80, 60, 0)))]
    return found


def take(count: int) -> Track:
    return Track(0, "", Notes.of(np.arange(count) * PPQ, PPQ // 2, 60))


def test_a_clean_performance_has_clean_figures() -> None:
    heard = bench_live._compare(take(40), Anchor(0.0, SECOND, True), arrivals(40))
    assert (heard.lost, heard.hanging, heard.silent) == (0, 0, 0)
    assert heard.drift_ms == 0


def test_drift_losses_silence_and_hanging_keys_are_seen() -> None:
    anchor = Anchor(0.0, SECOND, True)
    drifting = bench_live._compare(take(40), anchor, arrivals(40, drift_ns=100_000))
    assert drifting.drift_ms == pytest.approx(3.0)
    assert bench_live._compare(take(40), anchor, arrivals(40, lost=3)).lost == 3
    assert bench_live._compare(take(4), anchor, arrivals(4)[:-1]).hanging == 1
    holed = take(40)
    kept = holed.notes.where(holed.notes.onset // bench_live.BAR != 2)
    assert bench_live._compare(holed.with_notes(kept), anchor, arrivals(40)).silent == 1


def test_a_wrong_length_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(bench_live.SECONDS_VARIABLE, "long")
    with pytest.raises(UserError, match="number of seconds"):
        bench_live.run()

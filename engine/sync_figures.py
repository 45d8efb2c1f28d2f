"""How well another's time is followed, in figures: pulses with jitter and losses against the true master.

Simulated, so it takes no time and is the same everywhere; what the system adds is measured by `bench sync`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from engine.sync import PULSE, ClockFollower, Steer
from models.timebase import PPQ

JITTER_NS = 3_000_000
SECONDS = 60.0
SETTLE_SECONDS = 2.0


def pulses(bpm: Callable[[float], float], seconds: float) -> npt.NDArray[np.int64]:
    """The true moments in ns of the pulses of a master whose tempo at each second is `bpm`."""
    step = 1e-3
    time = np.arange(0, seconds, step)
    phase = np.concatenate([[0.0], np.cumsum([bpm(t) * 24 / 60 * step for t in time])])[:-1]
    seconds_of = np.interp(np.arange(int(phase[-1])), phase, time)
    return np.asarray(np.round(seconds_of * 1e9), np.int64)


def errors(
    bpm: Callable[[float], float],
    *,
    lost: float = 0.0,
    jitter_ns: int = JITTER_NS,
    seconds: float = SECONDS,
    seed: int = 0,
) -> npt.NDArray[np.float64]:
    """By how many milliseconds the place followed was off after each pulse, from SETTLE_SECONDS on.

    A share `lost` of the pulses does not arrive; but the first ones do, without which nobody could know.
    """
    rng = np.random.default_rng(seed)
    true = pulses(bpm, seconds) + 1_000_000_000
    heard = true + rng.integers(-jitter_ns, jitter_ns + 1, len(true))
    heard = np.maximum.accumulate(heard)
    follower = ClockFollower()
    follower.hear(0, b"\xfa")
    found = []
    arrives = rng.random(len(true)) >= lost
    arrives[:2] = True
    for index in np.flatnonzero(arrives).tolist():
        for order in follower.hear(int(heard[index]), b"\xf8"):
            if isinstance(order, Steer) and true[index] - true[0] > SETTLE_SECONDS * 1e9:
                # Where the master truly was at that moment, against where it is taken to have been.
                place = float(np.interp(order.at, true, np.arange(len(true)) * PULSE))
                found.append((order.place - place) / PPQ * 60e3 / order.speed)
    return np.array(found)


def clock_figures() -> dict[str, float]:
    """Phase errors in ms at ±3 ms of jitter, p50 and p99."""

    def ramp(second: float) -> float:
        return float(np.clip(120 + 4 * (second - 10), 120, 160))

    cases: dict[str, tuple[Callable[[float], float], float]] = {
        "60_bpm": (lambda _: 60.0, 0.0),
        "120_bpm": (lambda _: 120.0, 0.0),
        "174_bpm": (lambda _: 174.0, 0.0),
        "120_bpm_lost_5_percent": (lambda _: 120.0, 0.05),
        "ramp_120_160_bpm": (ramp, 0.0),
    }
    figures = {}
    for name, (bpm, lost) in cases.items():
        off = np.abs(errors(bpm, lost=lost))
        figures[f"clock_{name}_p50_ms"] = float(np.quantile(off, 0.5))
        figures[f"clock_{name}_p99_ms"] = float(np.quantile(off, 0.99))
    return figures

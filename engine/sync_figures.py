"""How well another's time is followed, in figures: pulses with jitter and losses against the true master.

Simulated, so it takes no time and is the same everywhere; what the system adds is measured by `bench sync`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from engine.sync import PULSE, ClockFollower, Steer

JITTER_NS = 3_000_000
SECONDS = 60.0
SETTLE_SECONDS = 2.0
LOST = 0.05
TEMPOS = (60, 120, 174, 220, 300)
MINUTES = 5
"""Of each tempo, for the count of slips; of all in turn, where pulses are lost in bursts."""

PULSE_MS_BPM = 60e3 / 24
"""A pulse's length in milliseconds at one quarter note a minute."""


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
    bursts: bool = False,
    jitter_ns: int = JITTER_NS,
    seconds: float = SECONDS,
    seed: int = 0,
) -> npt.NDArray[np.float64]:
    """By how many milliseconds the place followed was off after each pulse, from SETTLE_SECONDS on.

    A share `lost` of the pulses does not arrive, and with `bursts` two to four in a row every one to three quarter
    notes; but the first two do, without which nobody could know.
    """
    rng = np.random.default_rng(seed)
    true = pulses(bpm, seconds) + 1_000_000_000
    heard = true + rng.integers(-jitter_ns, jitter_ns + 1, len(true))
    heard = np.maximum.accumulate(heard)
    arrives = rng.random(len(true)) >= lost
    if bursts:
        begin = 0
        while (begin := begin + int(rng.integers(24, 73))) < len(true):
            arrives[begin : begin + int(rng.integers(2, 5))] = False
    arrives[:2] = True
    follower = ClockFollower()
    follower.hear(0, b"\xfa")
    steers = [
        order
        for index in np.flatnonzero(arrives).tolist()
        for order in follower.hear(int(heard[index]), b"\xf8")
        if isinstance(order, Steer) and true[index] - true[0] > SETTLE_SECONDS * 1e9
    ]
    # Where the master truly was at that moment, against where it is taken to have been.
    place = np.interp([steer.at for steer in steers], true, np.arange(len(true)) * PULSE)
    off = np.array([steer.place for steer in steers]) - place
    return np.asarray(off / PULSE * PULSE_MS_BPM / np.array([steer.speed for steer in steers]))


def clock_figures() -> dict[str, float]:
    """Phase errors in ms at ±3 ms of jitter, p50 and p99, and how often the count of pulses slips."""

    def ramp(second: float) -> float:
        return float(np.clip(120 + 4 * (second - 10), 120, 160))

    cases: dict[str, tuple[Callable[[float], float], float]] = {
        "60_bpm": (lambda _: 60.0, 0.0),
        "120_bpm": (lambda _: 120.0, 0.0),
        "174_bpm": (lambda _: 174.0, 0.0),
        "120_bpm_lost_5_percent": (lambda _: 120.0, LOST),
        "ramp_120_160_bpm": (ramp, 0.0),
    }
    figures = {}
    for name, (bpm, lost) in cases.items():
        off = np.abs(errors(bpm, lost=lost))
        figures[f"clock_{name}_p50_ms"] = float(np.quantile(off, 0.5))
        figures[f"clock_{name}_p99_ms"] = float(np.quantile(off, 0.99))
    return figures | slip_figures(MINUTES)


def slip_figures(minutes: int) -> dict[str, float]:
    """How many of so many minutes with lost pulses end off, and their phase error, see `slips`."""
    figures: dict[str, float] = {"slips_of_minutes": minutes}
    for bpm in TEMPOS:
        figures[f"slips_{bpm}_bpm_lost_5_percent"], off = slips(bpm, range(minutes), lost=LOST)
        figures[f"slips_{bpm}_bpm_lost_5_percent_p99_ms"] = off
    ended = [slips(TEMPOS[n % len(TEMPOS)], [n], bursts=True)[0] for n in range(minutes)]
    return figures | {"slips_bursts": sum(ended)}


def slips(
    bpm: float, seeds: Sequence[int], *, lost: float = 0.0, bursts: bool = False
) -> tuple[int, float]:
    """Of a minute for each seed: how many end off, in most of their last 24 orders by half a pulse or more; the phase
    error of all, p99 in ms."""
    runs = [np.abs(errors(lambda _: bpm, lost=lost, bursts=bursts, seed=n)) for n in seeds]
    ended = sum(bool(np.median(off[-24:]) >= PULSE_MS_BPM / bpm / 2) for off in runs)
    return ended, float(np.quantile(np.concatenate(runs), 0.99))

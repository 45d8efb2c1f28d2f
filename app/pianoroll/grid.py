"""The time grid: where bars, beats and steps lie, and the nearest of them. Pure, no Qt."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from models.timebase import MeterMap

LEAST_BAR_PX, LEAST_BEAT_PX, LEAST_STEP_PX = 12.0, 9.0, 7.0
"""Lines closer together than this are not drawn: they would be noise."""


def _origin(meter: MeterMap, tick: float, step: int) -> tuple[int, int, int]:
    """(grid's origin, bar's start, bar's end) around `tick`; a pickup's grid counts back from its end."""
    bar = meter.position(int(tick))
    start = int(tick) - bar.offset
    end = start + bar.length
    return (end - -(-bar.length // step) * step if bar.bar == 0 else start), start, end


def floor(meter: MeterMap, tick: float, step: int) -> int:
    """The last grid line at or before `tick`, never before 0; a grid of 0 leaves the tick alone."""
    tick = max(tick, 0.0)
    if step <= 0:
        return int(tick)
    origin, start, _ = _origin(meter, tick, step)
    return max(origin + int(tick - origin) // step * step, start)


def after(meter: MeterMap, tick: float, step: int) -> int:
    """The first grid line after `tick`."""
    if step <= 0:
        return int(tick) + 1
    line = floor(meter, tick, step)
    origin, _, end = _origin(meter, line, step)
    return min(origin + ((line - origin) // step + 1) * step, end)


def nearest(meter: MeterMap, tick: float, step: int) -> int:
    """The grid line nearest to `tick`, never before 0; a grid of 0 leaves the tick alone.

    Grids start anew at every bar line, so a step that does not divide the bar stays musical.
    """
    tick = max(tick, 0.0)
    if step <= 0:
        return round(tick)
    low = floor(meter, tick, step)
    high = after(meter, tick, step)
    return low if tick - low < high - tick else high


def nearest_bar(meter: MeterMap, tick: float) -> int:
    """The bar line nearest to `tick`."""
    bar = meter.position(max(int(tick), 0))
    start = max(int(tick), 0) - bar.offset
    return start if bar.offset * 2 < bar.length else start + bar.length


def _every(step: int, anchor: int, start: int, end: int) -> npt.NDArray[np.int64]:
    """The ticks strictly inside (start, end) that lie whole steps from `anchor`."""
    first = anchor - (anchor - start) // step * step
    ticks = np.arange(first, end, step, dtype=np.int64)
    return ticks[ticks > start]


@dataclass(frozen=True)
class Lines:
    """What to draw between two ticks: numbered bars, and the ticks of bars, beats and steps."""

    numbers: tuple[tuple[int, int], ...]
    bars: npt.NDArray[np.int64]
    beats: npt.NDArray[np.int64]
    steps: npt.NDArray[np.int64]


@lru_cache(maxsize=4)
def lines(meter: MeterMap, start: float, end: float, scale: float, step: int) -> Lines:
    """The lines in [start, end) that lie far enough apart at `scale` pixels a tick.

    Bars thin out to every 2nd, 4th, 8th … (1, 5, 9 …) when they crowd. The last answers are kept:
    canvas, ruler and velocity lane ask the same for every frame.
    """
    first, last = max(int(start), 0), max(int(end), 1)
    bar = meter.position(first).bar
    final = meter.position(last).bar
    span = max(last - first, 1) / max(final - bar + 1, 1)
    every = next(2**k for k in range(40) if 2**k * span * scale >= LEAST_BAR_PX)
    shown = range(bar - (bar - 1) % every, final + 1, every)
    chosen = [b for b in shown if b > 0 or (b == 0 and meter.pickup)]
    numbers = tuple((b, meter.bar_start(b)) for b in chosen)
    ticks = np.array([t for _, t in numbers], np.int64)
    none = np.zeros(0, np.int64)
    if every > 1:
        return Lines(numbers, ticks, none, none)
    beats: list[npt.NDArray[np.int64]] = []
    steps: list[npt.NDArray[np.int64]] = []
    for _, tick in numbers:
        _, opening, closing = _origin(meter, tick, 1)
        beat = meter.beat_ticks(tick)
        # A pickup's beats count back from its end, where the first full bar begins.
        anchor = closing if meter.pickup and tick == 0 else opening
        if beat * scale >= LEAST_BEAT_PX:
            beats.append(_every(beat, anchor, opening, closing))
        if step and step * scale >= LEAST_STEP_PX:
            inside = _every(step, anchor, opening, closing)
            steps.append(inside[(inside - anchor) % beat != 0])
    return Lines(
        numbers,
        ticks,
        np.concatenate(beats) if beats else none,
        np.concatenate(steps) if steps else none,
    )

"""When JACK's periods begin, by our clock, told from when JACK calls.

JACK's own answer (`jack_frame_time`, `jack_get_cycle_times`) comes from a delay-locked loop (F. Adriaensen, "Using a
DLL to filter time", LAC 2005) that takes seconds to find back after its driver has stalled, and is as many
milliseconds off meanwhile: 67 were seen. Here the rule is simpler: a call comes never early and seldom late, so
of some calls the earliest is right.
"""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

COUNTER = 1 << 32
"""JACK's frames begin anew after so many."""

AGREE = 4
"""So many periods in a row that all began later than expected show that JACK's driver has stalled; and so does one
that is late by more than a period, as JACK does not call for the next one before."""
LATE_ANYHOW = 16
"""So many do even where the driver seems to catch up."""
ASTRAY_NS = 250_000
"""Less than this, and it is the call that was late, or the sound card that runs a little slower than ours."""
SMOOTHING = 1 / 32

WINDOW_NS = 250_000_000
"""`anchors`: within this some call was on time."""


class PeriodClock:
    """Says at each call of JACK when the period that begins with it began, from this call and those before."""

    def __init__(self, frame_ns: float) -> None:
        self._frame_ns = frame_ns
        self._frame = 0
        self._period = 0.0
        self._begins: float | None = None
        self._late: deque[float] = deque(maxlen=LATE_ANYHOW)  # of the latest periods

    def begins(self, frame: int, called: int) -> float:
        """The moment of `frame`, the first of the period for which JACK called at the moment `called`."""
        if self._begins is None:
            self._begins = float(called)
        else:
            self._period = (frame - self._frame) % COUNTER * self._frame_ns
            self._begins += self._period
        self._frame = frame
        self._late.append(called - self._begins)
        if shift := self._shift():
            self._begins += shift
            if shift > ASTRAY_NS:
                self._late.clear()  # what was before a stall says nothing of what is after it
            for _ in range(len(self._late)):
                self._late.append(self._late.popleft() - shift)
        return self._begins

    def _shift(self) -> float:
        """By how much later than expected the periods begin."""
        late = self._late
        if late[-1] <= 0 or late[-1] > self._period + ASTRAY_NS:
            return late[-1]
        if len(late) < AGREE:
            return 0.0
        newest = [late[-i] for i in range(1, AGREE + 1)]
        least = min(newest)
        if least <= ASTRAY_NS:
            return SMOOTHING * least
        catching_up = newest[-1] - newest[0] > ASTRAY_NS
        if not catching_up:
            return least
        return least if len(late) == LATE_ANYHOW and min(late) > ASTRAY_NS else 0.0


def anchors(
    frames: npt.ArrayLike, called: npt.ArrayLike, frame_ns: float
) -> npt.NDArray[np.float64]:
    """When each period began, told afterwards from all calls: int [P] first frames and moments in, moments out.

    A driver that stalls goes on from where it is: what its periods are late by grows and never shrinks. So each
    period is late by the least that one of those soon after it was called late.
    """
    even = np.asarray(frames, np.float64) * frame_ns
    late = np.asarray(called, np.float64) - even
    if not len(late):
        return late
    size = (
        max(1, round(WINDOW_NS / max(float(np.median(np.diff(even))), 1.0))) if len(late) > 1 else 1
    )
    padded = np.concatenate([late, np.full(size - 1, np.inf)])
    least: npt.NDArray[np.float64] = np.lib.stride_tricks.sliding_window_view(padded, size).min(
        axis=1
    )
    return even + least

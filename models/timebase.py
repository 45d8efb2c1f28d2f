"""Musical time: the only tick ↔ second and tick ↔ bar arithmetic.

Every position in the program is an integer tick, `PPQ` to the quarter note. Seconds and bars are
computed here, by pure functions over immutable maps, and never stored beside ticks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

PPQ = 960
SIXTEENTH = PPQ // 4
US_PER_QUARTER = 500_000
"""Default tempo, 120 quarter notes a minute, in microseconds per quarter note (as MIDI files say it)."""

Ticks = npt.NDArray[np.int64]
Seconds = npt.NDArray[np.float64]


def frozen(
    values: Iterable[int] | npt.NDArray[np.generic], dtype: type[np.generic] = np.int64
) -> npt.NDArray[np.generic]:
    """An immutable, contiguous copy of `values` as a one-dimensional array of `dtype`."""
    array = np.array(
        values if isinstance(values, np.ndarray) else list(values), dtype=dtype
    ).reshape(-1)
    array.flags.writeable = False
    return array


@dataclass(frozen=True, eq=False)
class TempoMap:
    """Tempo changes: at `tick[i]` the tempo becomes `us_per_quarter[i]` microseconds per quarter note.

    The first change is always at tick 0 (one of 120 bpm is put there when missing); of several at one
    tick the last counts. Raises ValueError for a tempo that is not positive or a negative tick.
    """

    tick: Ticks = field(default_factory=lambda: np.zeros(1, np.int64))
    us_per_quarter: Ticks = field(default_factory=lambda: np.full(1, US_PER_QUARTER, np.int64))
    _second: Seconds = field(init=False, repr=False)

    def __post_init__(self) -> None:
        tick = np.asarray(self.tick, np.int64).reshape(-1)
        us = np.asarray(self.us_per_quarter, np.int64).reshape(-1)
        if len(tick) != len(us):
            raise ValueError("tempo ticks and values differ in number")
        if len(us) and (us.min() <= 0 or tick.min() < 0):
            raise ValueError("a tempo must be positive and not before the start")
        order = np.argsort(tick, kind="stable")
        tick, us = tick[order], us[order]
        last = np.append(tick[1:] != tick[:-1], True) if len(tick) else np.zeros(0, bool)
        tick, us = tick[last], us[last]
        if not len(tick) or tick[0] != 0:
            tick, us = np.insert(tick, 0, 0), np.insert(us, 0, US_PER_QUARTER)
        second = np.concatenate([[0.0], np.cumsum(np.diff(tick) * us[:-1] / (PPQ * 1e6))])
        object.__setattr__(self, "tick", frozen(tick))
        object.__setattr__(self, "us_per_quarter", frozen(us))
        object.__setattr__(self, "_second", frozen(second, np.float64))

    @classmethod
    def constant(cls, bpm: float) -> TempoMap:
        """One tempo throughout, in quarter notes per minute."""
        return cls(np.zeros(1, np.int64), np.array([round(60e6 / bpm)], np.int64))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, TempoMap)
            and np.array_equal(self.tick, other.tick)
            and np.array_equal(self.us_per_quarter, other.us_per_quarter)
        )

    def __hash__(self) -> int:
        return hash((self.tick.tobytes(), self.us_per_quarter.tobytes()))

    def seconds(self, tick: npt.ArrayLike) -> Seconds:
        """Seconds from the start of the score at each `tick` (any shape; before 0 extrapolated)."""
        t = np.asarray(tick, np.float64)
        i = np.clip(np.searchsorted(self.tick, t, side="right") - 1, 0, None)
        return np.asarray(
            self._second[i] + (t - self.tick[i]) * self.us_per_quarter[i] / (PPQ * 1e6)
        )

    def second(self, tick: float) -> float:
        """Seconds from the start at one tick."""
        return float(self.seconds(tick))

    def ticks(self, second: npt.ArrayLike) -> Seconds:
        """The (fractional) tick at each moment, the inverse of `seconds`."""
        s = np.asarray(second, np.float64)
        i = np.clip(np.searchsorted(self._second, s, side="right") - 1, 0, None)
        return np.asarray(self.tick[i] + (s - self._second[i]) * PPQ * 1e6 / self.us_per_quarter[i])

    def bpm(self, tick: float) -> float:
        """Quarter notes per minute in force at `tick`."""
        i = max(int(np.searchsorted(self.tick, tick, side="right")) - 1, 0)
        return 60e6 / float(self.us_per_quarter[i])


class BarPosition(NamedTuple):
    """Where a tick lies: bar number (see `MeterMap`), ticks since that bar's start, bar's length."""

    bar: int
    offset: int
    length: int


@dataclass(frozen=True, eq=False)
class MeterMap:
    """Metre changes: from `tick[i]` on, bars hold `numerator[i]` notes of value 1/`denominator[i]`.

    `pickup` is the length in ticks of an incomplete first bar, 0 when there is none. Bars are numbered
    as in print: the first full bar is 1, a pickup is bar 0. A change inside a bar cuts that bar short.
    Raises ValueError for a numerator outside 1–255, a denominator that is not a power of two up to 64.
    """

    tick: Ticks = field(default_factory=lambda: np.zeros(1, np.int64))
    numerator: Ticks = field(default_factory=lambda: np.full(1, 4, np.int64))
    denominator: Ticks = field(default_factory=lambda: np.full(1, 4, np.int64))
    pickup: int = 0
    _first_bar: Ticks = field(init=False, repr=False)

    def __post_init__(self) -> None:
        tick = np.asarray(self.tick, np.int64).reshape(-1)
        num = np.asarray(self.numerator, np.int64).reshape(-1)
        den = np.asarray(self.denominator, np.int64).reshape(-1)
        if not len(tick) == len(num) == len(den):
            raise ValueError("metre ticks and values differ in number")
        if len(tick) and (tick.min() < 0 or num.min() < 1 or num.max() > 255):
            raise ValueError("a metre's numerator must lie between 1 and 255")
        if not np.isin(den, (1, 2, 4, 8, 16, 32, 64)).all():
            raise ValueError("a metre's denominator must be 1, 2, 4, 8, 16, 32 or 64")
        order = np.argsort(tick, kind="stable")
        tick, num, den = tick[order], num[order], den[order]
        last = np.append(tick[1:] != tick[:-1], True) if len(tick) else np.zeros(0, bool)
        tick, num, den = tick[last], num[last], den[last]
        if not len(tick) or tick[0] != 0:
            tick, num, den = np.insert(tick, 0, 0), np.insert(num, 0, 4), np.insert(den, 0, 4)
        length = num * (4 * PPQ) // den
        pickup = int(self.pickup)
        if not 0 <= pickup < length[0]:
            raise ValueError("a pickup must be shorter than its bar")
        origin = tick.copy()  # where whole bars are counted from, in each section
        origin[0] = pickup
        spans = -(
            -np.maximum(
                np.diff(tick) - (pickup if len(tick) > 1 else 0) * (np.arange(len(tick) - 1) == 0),
                0,
            )
            // length[:-1]
        )
        first_bar = 1 + np.concatenate([[0], np.cumsum(spans)])
        object.__setattr__(self, "tick", frozen(tick))
        object.__setattr__(self, "numerator", frozen(num))
        object.__setattr__(self, "denominator", frozen(den))
        object.__setattr__(self, "_first_bar", frozen(first_bar))
        object.__setattr__(self, "pickup", pickup)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MeterMap) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[bytes, bytes, bytes, int]:
        return (
            self.tick.tobytes(),
            self.numerator.tobytes(),
            self.denominator.tobytes(),
            self.pickup,
        )

    def _section(self, tick: float) -> int:
        return max(int(np.searchsorted(self.tick, tick, side="right")) - 1, 0)

    def _length(self, section: int) -> int:
        return int(self.numerator[section]) * 4 * PPQ // int(self.denominator[section])

    def _origin(self, section: int) -> int:
        return self.pickup if section == 0 else int(self.tick[section])

    def at(self, tick: float) -> tuple[int, int]:
        """(numerator, denominator) in force at `tick`."""
        i = self._section(tick)
        return int(self.numerator[i]), int(self.denominator[i])

    def beat_ticks(self, tick: float) -> int:
        """Ticks of one counted beat at `tick`: the dotted value in compound metres (6/8, 9/8, 12/8)."""
        numerator, denominator = self.at(tick)
        unit = 4 * PPQ // denominator
        return 3 * unit if denominator >= 8 and numerator % 3 == 0 and numerator > 3 else unit

    def position(self, tick: int) -> BarPosition:
        """The bar a tick lies in."""
        i = self._section(tick)
        since = tick - self._origin(i)
        length = self._length(i)
        if since < 0:  # inside the pickup
            return BarPosition(0, tick, self.pickup)
        bar, offset = divmod(since, length)
        if i + 1 < len(self.tick):
            length = min(length, int(self.tick[i + 1]) - (self._origin(i) + bar * length))
        return BarPosition(int(self._first_bar[i]) + bar, offset, length)

    def bar_start(self, bar: int) -> int:
        """The tick at which bar `bar` begins (0: the pickup; numbers beyond the music extrapolate)."""
        if bar < 1:
            return 0
        i = max(int(np.searchsorted(self._first_bar, bar, side="right")) - 1, 0)
        return self._origin(i) + (bar - int(self._first_bar[i])) * self._length(i)

    def bars(self, start: int, end: int) -> list[tuple[int, int]]:
        """(bar number, tick) of every barline with start ≤ tick < end."""
        bar = self.position(start).bar
        if self.bar_start(bar) < start:
            bar += 1
        found: list[tuple[int, int]] = []
        while (tick := self.bar_start(bar)) < end:
            found.append((bar, tick))
            bar += 1
        return found

"""Counting what comes steadily, from moments that jitter: pulses, of which some are lost, late or too many.

Pure: moments are handed in. `Tracker` smooths the moments of what is counted; `PulseCounter` finds out the count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

CALM = 0.05
"""The share of a deviation that is believed while all is steady: ±3 ms of jitter become ±0.8 ms (p99)."""

HASTY = 0.35
"""The share believed while deviations keep to one side, as when the tempo changes."""

FAR = 0.3
"""A deviation of more than this share of a period is not jitter."""

SETTLED = 6
"""Pulses after which tempo and phase are good enough to follow."""

QUICK = 0.5
"""The share believed always, where the count is to be kept while the tempo moves."""

MEMORY = 3.0
"""As many arrivals, over the share believed, count in what a Tracker is sure of."""

WANDER = 0.1
"""The share of a period, times the share believed, by which the next one may be another."""

TURN, STEADY = 3e-4, 0.9
"""The share of pulses at which a steady tempo begins to move, or a moving one is steady; the share that are steady."""

NOISE_NS, LEAST_NOISE_NS, MOST_NOISE_NS = 1.5e6, 0.2e6, 2e6
"""The standard deviation of arrivals before any is known, and its bounds. More than MOST_NOISE_SHARE of a period could
not be told from losses; up to that it may be more."""

MOST_NOISE_SHARE = 0.2

LEARNT = 50
"""As many arrivals tell the standard deviation, four times as many the share lost."""

FREEDOM = 8.0
"""Deviations are distributed as Student's t with so many degrees of freedom: more are large than of a Gaussian."""

LOST, LEAST_LOST, MOST_LOST = 0.02, 0.003, 0.3
"""The share of pulses that are lost before any is known to be, and its bounds."""

LOST_TOO = 0.5
"""The share of pulses lost after a lost one."""

LATE, LATE_NS = 0.01, 20e6
"""The share of pulses that are held up, and for how long on average."""

QUEUED, QUEUED_NS = 0.5, 1e6
"""The share of missing pulses that follow at once, having been held up too, and how long after one another."""

EXTRA = 1e-3
"""The share of pulses that are too many."""

JUMPED = 1e-4
"""The share of pulses at which the phase jumps, by less than half a period."""

MOVED, MOVED_TWICE = 3e-5, 0.1
"""The share of pulses at which the tempo jumps, and of those right after such a one: it jumped between two pulses."""

RANGE = math.log(16)
"""A tempo jumps to any in four octaves, equally likely in each."""

FASTEST_NS = 4e6
"""Pulses that are nearer (625 bpm) are no tempo."""

READINGS = 6
"""As many are kept, ..."""

HOPELESS = 14.0
"""... none of them by more than this less likely than the likeliest (as a logarithm)."""

MARGIN = 4.0
"""By this one must be likelier than the reading believed, to be believed in its place."""

SAME_PHASE, SAME_PERIOD = 0.1, 0.03
"""Readings that foresee the next pulse as near as this, and a period as near as this (shares of a period), nothing
to come can tell apart: the likelier stays."""

Kind = Literal["on time", "late", "extra", "tempo", "phase"]


class Tracker:
    """Tempo and phase of a steady count (index, moment), from arrivals that jitter.

    An alpha-beta filter: its gains begin as those of a line fitted to all arrivals, end at `calm`, and rise
    towards HASTY while the deviations keep to one side. In figures: see `bench_sync`.
    """

    def __init__(self, period_ns: float, calm: float = CALM) -> None:
        self.period = period_ns
        self.calm = calm
        self.index = 0
        self.at = 0.0  # the smoothed moment of `index`
        self.count = 0  # arrivals so far, or as many as its confidence is worth
        self._side = 0.0
        self._spread = 0.0
        self._last = 0.0

    def restart(self, index: int, at: float, confidence: int = 1) -> None:
        """Believe this arrival; and the period as if it came from so many."""
        self.index, self.at, self.count = index, float(at), confidence
        self._side = self._spread = self._last = 0.0

    def feed(self, index: int, at: int) -> None:
        """Take in that `index` arrived then; indices rise."""
        steps = index - self.index
        foreseen = self.at + steps * self.period
        deviation = at - foreseen
        n = self.count
        if n == 1:
            self.period = max((at - self.at) / steps, 1.0)
            self.index, self.at, self.count = index, float(at), 2
            return
        once = deviation
        if n > SETTLED and not (self._last * deviation > 0 and abs(self._last) > FAR * self.period):
            # A single one far off is an accident; a second on the same side is news.
            once = min(max(deviation, -FAR * self.period), FAR * self.period)
        self._last = deviation
        self._side += 0.15 * (once - self._side)
        weight = max(0.02, 1 / n)
        self._spread += weight * (once * once - self._spread)
        share = self.calm
        if n > 2 * SETTLED:
            # The mean of independent deviations is this small a part of their spread.
            usual = math.sqrt(self._spread * 0.15 / 1.85) + 1e3
            hasty = self.calm * (1 + 1.5 * (abs(self._side) / usual - 2.5))
            share = max(self.calm, min(HASTY, hasty))
        alpha = max(share, 2 * (2 * n + 1) / ((n + 1) * (n + 2)))
        beta = max(share * share / (2 - share), 6 / ((n + 1) * (n + 2)))
        self.at = foreseen + min(alpha, 1.0) * once
        self.period = max(self.period + beta * once / steps, 1.0)
        self.index, self.count = index, n + 1

    def variance(self, steps: int, noise: float) -> float:
        """Of the deviation foreseen `steps` on in ns², if arrivals have that of `noise`: that of a line fitted to the
        last arrivals and drawn on, for a tempo that may move."""
        n = min(self.count, MEMORY / self.calm)
        ahead = steps + (n - 1) / 2
        fit = 1 + 1 / n + 12 * ahead * ahead / (n * (n * n - 1))
        return noise * fit + (WANDER * self.calm * steps * self.period) ** 2

    def copy(self) -> Tracker:
        """Another that has heard the same."""
        tracker = Tracker.__new__(Tracker)
        tracker.__dict__.update(self.__dict__)
        return tracker

    def moment(self, index: float) -> float:
        """When it is, or was, at `index`."""
        return self.at + (index - self.index) * self.period


@dataclass(frozen=True)
class Reading:
    """One way to read what has arrived."""

    tracker: Tracker  # whose index is the count; neither is fed any more
    quick: Tracker  # the same, quick
    weight: float = 0.0  # ln of its likelihood over the likeliest one's
    missed: int = 0  # pulses given up for lost with the last arrival, which may yet follow at once
    moved: bool = False  # its tempo is of one interval only
    steady: float = STEADY  # how likely the tempo does not move

    def densities(self, at: int, steps: int, noise: float) -> tuple[float, float]:
        """Of an arrival so many pulses on per ns, if the tempo is steady, and if it moves; times how likely that is."""
        steady = TURN + (1 - 2 * TURN) * self.steady
        calm, quick = (
            _student(at - tracker.moment(tracker.index + steps), tracker.variance(steps, noise))
            for tracker in (self.tracker, self.quick)
        )
        return steady * calm, (1 - steady) * quick


class PulseCounter:
    """How many pulses have been, from arrivals of which some are lost, late, or too many, at a tempo that may jump.

    Multiple hypothesis tracking (Reid, An algorithm for tracking multiple targets, IEEE Trans. Automatic Control
    24(6), 1979): every arrival is read in each way that is possible after each reading kept, the likeliest are kept,
    and one of them is believed. So a count that was wrong is set right by what comes later.
    """

    def __init__(self, period_ns: float) -> None:
        self.readings = [Reading(Tracker(period_ns), Tracker(period_ns, QUICK))]
        self.heard = 0  # arrivals since all was uncertain
        self._believed = 0
        self._arrived = 0
        self._noise = NOISE_NS**2
        self._lost = LOST

    @property
    def tracker(self) -> Tracker:
        """Of the reading believed."""
        return self.readings[self._believed].tracker

    def restart(self, index: int, at: int, confidence: int, *, doubt: bool = False) -> None:
        """This arrival is `index` for certain; see `Tracker.restart`. In `doubt` the tempo may be any."""
        self._believe(_restarted(self.readings[self._believed], index, at, confidence), at)
        self.heard = confidence
        if doubt:
            other = _restarted(self.readings[0], index, at, 1)
            self.readings.append(replace(other, weight=-1.0))

    def next(self, at: int) -> None:
        """This arrival is the next one for certain, and on time."""
        self._believe(_read(self.readings[self._believed], 0.0, "on time", 1, at, self._noise), at)
        self.heard += 1

    def hear(self, at: int) -> None:
        """A pulse has arrived."""
        ways = [
            (reading.weight + ln, n, kind, steps)
            for n, reading in enumerate(self.readings)
            for ln, kind, steps in self._ways(reading, at)
        ]
        ways.sort(reverse=True)
        kept: list[Reading] = []
        how: list[tuple[int, Kind, int]] = []
        believed, followed = 0, False
        for weight, n, kind, steps in ways:
            if weight < ways[0][0] - HOPELESS or len(kept) == READINGS:
                break
            reading = _read(self.readings[n], weight - ways[0][0], kind, steps, at, self._noise)
            place = next((i for i, other in enumerate(kept) if _alike(reading, other)), len(kept))
            if place == len(kept):
                kept.append(reading)
                how.append((n, kind, steps))
            if n == self._believed and not followed:
                followed = True
                if reading.weight > -MARGIN:
                    believed = place
        n, kind, steps = how[believed]
        if kind == "on time":
            self._learn(self.readings[n], at, steps)
        self.readings, self._believed, self._arrived = kept, believed, at
        self.heard += 1

    def _believe(self, reading: Reading, at: int) -> None:
        self.readings, self._believed, self._arrived = [reading], 0, at

    def _learn(self, reading: Reading, at: int, steps: int) -> None:
        """How much arrivals deviate, and how many are lost."""
        self._lost += ((steps > 1) - self._lost) / min(LEARNT + self.heard, 4 * LEARNT)
        if reading.tracker.count > 1:
            steady, moving = reading.densities(at, steps, self._noise)
            tracker = reading.tracker if steady > moving else reading.quick
            deviation = at - tracker.moment(tracker.index + steps)
            surprise = min(deviation**2 / tracker.variance(steps, self._noise), 9.0) - 1
            noise = self._noise * (1 + surprise / min(8 + self.heard, LEARNT))
            most = max(MOST_NOISE_NS, MOST_NOISE_SHARE * tracker.period)
            self._noise = min(max(noise, LEAST_NOISE_NS**2), most**2)

    def _ways(self, reading: Reading, at: int) -> list[tuple[float, Kind, int]]:
        """How this arrival may be read after that: ln of the probability density per ns, kind and pulses passed."""
        tracker = reading.tracker
        likely = tracker if reading.steady > 0.5 else reading.quick
        period, since, gap = likely.period, at - likely.at, max(at - self._arrived, 0)
        extra = EXTRA / period
        if reading.missed:
            extra += QUEUED / QUEUED_NS * math.exp(-gap / QUEUED_NS)
        ways: list[tuple[float, Kind, int]] = [(math.log(extra), "extra", 0)]
        if tracker.count == 1:
            ways += [
                (self._passed(steps) - math.log(max(since, FASTEST_NS) * RANGE), "on time", steps)
                for steps in (1, 2, 3)
                if since + 2 * math.sqrt(self._noise) >= steps * FASTEST_NS
            ]
            return ways
        last = max(math.floor(since / period), 0)
        # The nearest pulses on both sides, and more while the tempo is uncertain.
        more = 1 if tracker.count < SETTLED else 0
        for steps in range(max(last - more, 1), last + more + 2):
            density = sum(reading.densities(at, steps, self._noise))
            ways.append((self._passed(steps) + math.log(density), "on time", steps))
        if last:
            late = since - last * period
            ways.append((math.log(LATE / LATE_NS) - late / LATE_NS, "late", last))
        nearest = max(round(since / period), 1)
        ways.append((self._passed(nearest) + math.log(JUMPED / period), "phase", nearest))
        if since >= FASTEST_NS:
            moved = MOVED_TWICE if reading.moved else MOVED
            ways.append((math.log(moved / (since * RANGE)), "tempo", 1))
        return ways

    def _passed(self, steps: int) -> float:
        """ln of the probability that the next pulse to arrive is so many on."""
        lost = min(max(self._lost, LEAST_LOST), MOST_LOST)
        if steps == 1:
            return math.log(1 - lost)
        return math.log(lost * (1 - LOST_TOO)) + (steps - 2) * math.log(LOST_TOO)


def _read(
    reading: Reading, weight: float, kind: Kind, steps: int, at: int, noise: float
) -> Reading:
    """The arrival read in that way."""
    if kind == "extra":
        return replace(reading, weight=weight, missed=max(reading.missed - 1, 0))
    index, missed = reading.tracker.index + steps, steps - 1
    if kind == "phase":
        return replace(_restarted(reading, index, at, SETTLED), weight=weight, missed=missed)
    tracker, quick, steady = reading.tracker.copy(), reading.quick.copy(), reading.steady
    if kind == "on time" and tracker.count > 1:
        is_steady, moves = reading.densities(at, steps, noise)
        steady = is_steady / (is_steady + moves)
    for one in (tracker, quick):
        if kind == "on time":
            one.feed(index, at)
        elif kind == "late":
            one.index, one.at = index, one.moment(index)
        else:
            one.period = at - reading.quick.at
            one.restart(index, at, 2)
        one.period = max(one.period, FASTEST_NS)
    return Reading(tracker, quick, weight, missed, kind == "tempo", steady)


def _restarted(reading: Reading, index: int, at: int, confidence: int) -> Reading:
    """That reading, see `Tracker.restart`."""
    tracker, quick = reading.tracker.copy(), reading.quick.copy()
    tracker.restart(index, at, confidence)
    quick.restart(index, at, confidence)
    return Reading(tracker, quick)


def _alike(one: Reading, other: Reading) -> bool:
    """Whether they foresee the same."""
    a, b = one.tracker, other.tracker
    apart, drift = a.at + a.period - b.at - b.period, a.period - b.period
    return abs(apart) < SAME_PHASE * b.period and abs(drift) < SAME_PERIOD * b.period


def _student(deviation: float, variance: float) -> float:
    """The density of Student's t with FREEDOM degrees, scaled to `variance`."""
    power = math.pow(1 + deviation * deviation / (FREEDOM * variance), -(FREEDOM + 1) / 2)
    return _STUDENT * power / math.sqrt(variance)


_STUDENT = math.gamma((FREEDOM + 1) / 2) / math.gamma(FREEDOM / 2) / math.sqrt(FREEDOM * math.pi)

"""Following somebody else's time: what arrives, with jitter and gaps, becomes a smooth course.

Pure: moments are handed in, nothing waits. `Tracker` smooths the moments of a steady count; `ClockFollower` reads
MIDI clock with it, `engine.mtc` MIDI time code, `engine.link` Ableton Link. All give the transport the same
orders.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Protocol

from models.timebase import PPQ, US_PER_QUARTER

PULSE = PPQ // 24
NEVER = 1 << 62

LOST_NS = 1_000_000_000
"""After this long without a pulse a clock is lost. The music goes on."""

CALM = 0.05
"""The share of a deviation that is believed while all is steady: ±3 ms of jitter become ±0.8 ms (p99)."""

HASTY = 0.35
"""The share believed while deviations keep to one side, as when the tempo changes."""

FAR = 0.3
"""A deviation of more than this share of a period is not jitter."""

SETTLED = 6
"""Pulses after which tempo and phase are good enough to follow."""


@dataclass(frozen=True)
class Begin:
    """Play: the source is at `place` at the moment `at`, which may still be to come, at that speed.

    Places are ticks and speeds quarter notes a minute, or seconds and their rate; see `Follower.in_seconds`.
    """

    place: float
    at: int
    speed: float


@dataclass(frozen=True)
class Steer:
    """The source was at `place` at the moment `at`, at that speed."""

    place: float
    at: int
    speed: float


@dataclass(frozen=True)
class Locate:
    """Not playing, the source has gone to `place`."""

    place: float


@dataclass(frozen=True)
class Halt:
    """The source has stopped."""


Order = Begin | Steer | Locate | Halt


class Follower(Protocol):
    """Follows one source of time."""

    in_seconds: bool
    """Places are seconds of the score, speeds a rate; else ticks and quarter notes a minute."""
    anywhere: bool
    """It knows beats, but not where in the score one is: its start begins where the score stands."""
    quantum: int
    """Ticks by which the score may be moved against it and still be in time with it; 0: it may not."""

    @property
    def state(self) -> str:
        """ "waiting", "locked" or "lost"; see `playback.Synced`."""

    @property
    def bpm(self) -> float:
        """The tempo heard, 0 when none is (or none is told, as by time code)."""

    @property
    def due(self) -> int:
        """When to `poll`, if nothing is heard before."""

    def hear(self, at: int, message: object) -> list[Order]:
        """Something came in at the moment `at`."""

    def poll(self, now: int) -> list[Order]:
        """Nothing has come in until now."""

    def join(self, tick: float, now: int) -> Begin | None:
        """The user wants to play: from where and when, or None to wait for the source's start."""


class Tracker:
    """Tempo and phase of a steady count (index, moment), from arrivals that jitter.

    An alpha-beta filter: its gains begin as those of a line fitted to all arrivals, end at CALM, and rise
    towards HASTY while the deviations keep to one side. In figures: see `bench_sync`.
    """

    def __init__(self, period_ns: float) -> None:
        self.period = period_ns
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
        share = CALM
        if n > 2 * SETTLED:
            # The mean of independent deviations is this small a part of their spread.
            usual = math.sqrt(self._spread * 0.15 / 1.85) + 1e3
            share = min(HASTY, CALM * max(1.0, 1 + 1.5 * (abs(self._side) / usual - 2.5)))
        alpha = max(share, 2 * (2 * n + 1) / ((n + 1) * (n + 2)))
        beta = max(share * share / (2 - share), 6 / ((n + 1) * (n + 2)))
        self.at = foreseen + min(alpha, 1.0) * once
        self.period = max(self.period + beta * once / steps, 1.0)
        self.index, self.count = index, n + 1

    @property
    def jitter(self) -> float:
        """How far off an arrival may well be, as a share of the period."""
        return 3.2 * math.sqrt(self._spread) / self.period

    @property
    def calm(self) -> bool:
        """Whether arrivals keep to where they are foreseen."""
        return self.count > SETTLED and abs(self._side) < 0.1 * self.period

    def moment(self, index: float) -> float:
        """When it is, or was, at `index`."""
        return self.at + (index - self.index) * self.period


class ClockFollower:
    """Follows MIDI clock: start, stop, continue, song position, and 24 pulses a quarter note.

    By the MIDI specification the first pulse after *start* or *continue* is the place started from. Single
    pulses that were lost are made up for by the time that passed; a tempo that changed at once is told from
    losses by its lasting. A clock that stops without a word is `lost`: nothing is ordered, so the music goes on
    at its last tempo; when it returns it is taken to have counted on. One that never says start (many send pulses
    alone) lets a local *play* begin on its next pulse.
    """

    in_seconds = False
    anywhere = False
    quantum = PPQ

    def __init__(self, bpm: float = 60e6 / US_PER_QUARTER) -> None:
        self._tracker = Tracker(60e9 / (24 * bpm))
        self._heard = False  # any pulse
        self._silent = True  # since LOST_NS, or ever
        self._arrived = 0
        self._gaps: deque[tuple[float, int]] = deque(maxlen=8)  # (ns, pulses counted for it)
        self._assumed = 0  # pulses counted lately that never came
        self._running = False
        self._words = False  # start, stop or continue have been heard
        self._tick = 0  # of the next pulse
        self._begun = False  # Begin has been ordered for this run
        self._first = False  # the next pulse is the first since start or continue
        self._lost = False
        self._checked = False  # the first intervals for losses

    @property
    def state(self) -> str:
        if self._lost:
            return "lost"
        return "waiting" if self._silent or self._tracker.count < SETTLED else "locked"

    @property
    def bpm(self) -> float:
        return 60e9 / (24 * self._tracker.period) if self._heard else 0.0

    @property
    def due(self) -> int:
        return NEVER if self._silent else self._arrived + LOST_NS

    def hear(self, at: int, message: object) -> list[Order]:
        match message:
            case bytes() if message[:1] == b"\xf8":
                return self._pulse(at)
            case b"\xfa":
                return self._start(0, at)
            case b"\xfb":
                return self._start(self._tick, at)
            case b"\xfc":
                self._words, self._running, self._lost = True, False, False
                return [Halt()]
            case bytes() if message[:1] == b"\xf2" and len(message) == 3:
                tick = (message[1] | message[2] << 7) * 6 * PULSE
                if self._running:
                    return self._start(tick, at)
                self._tick = tick
                return [Locate(tick)]
        return []

    def poll(self, now: int) -> list[Order]:
        if now >= self.due:
            self._silent, self._lost = True, self._running
        return []

    def join(self, tick: float, now: int) -> Begin | None:
        if self.state == "waiting":
            return None
        tracker = self._tracker
        if not self._running:
            if self._words:
                return None
            # Its pulses are all there is to go by: the next one is ours.
            self._running, self._tick = True, round(tick / PULSE) * PULSE
        self._begun = True
        ahead = max(math.ceil((now - tracker.at) / tracker.period), 1)
        at = round(tracker.moment(tracker.index + ahead))
        return Begin(self._tick + (ahead - 1) * PULSE, at, self.bpm)

    def _start(self, tick: int, at: int) -> list[Order]:
        self._words, self._running, self._first, self._tick = True, True, True, tick
        if self.state != "locked":
            self._begun = False
            return [Locate(tick)]
        # It ticks already, so the moment of its next pulse is known.
        self._begun = True
        tracker = self._tracker
        return [Begin(tick, max(round(tracker.moment(tracker.index + 1)), at), self.bpm)]

    def _pulse(self, at: int) -> list[Order]:
        steps = self._count(at)
        self._arrived, self._silent, self._heard = at, False, True
        tracker = self._tracker
        if tracker.count >= SETTLED:
            self._lost = False
        if not self._running:
            return []
        place = self._tick + (steps - 1) * PULSE
        self._tick = place + PULSE
        if not self._begun:
            self._begun = True
            return [Begin(place, round(tracker.at), self.bpm)]
        if tracker.count < 3:
            return []  # one interval says little
        return [Steer(place, round(tracker.at), self.bpm)]

    def _count(self, at: int) -> int:
        """Take a pulse in; how many it stands for: 1, more after a gap, 0 if it had been counted already."""
        tracker = self._tracker
        if not self._heard:
            self._first = False
            tracker.restart(0, at)
            return 1
        gap = at - self._arrived
        if self._first:
            self._first = False
            self._gaps.clear()
            self._assumed = 0
            if abs(at - tracker.moment(tracker.index + 1)) < FAR * tracker.period:
                tracker.feed(tracker.index + 1, at)
            else:  # it counts anew from its start
                tracker.restart(tracker.index + 1, at, 2 if self._silent else SETTLED)
            return 1
        if self._silent or gap > LOST_NS:
            steps = max(round((at - tracker.at) / tracker.period), 1)
            # Its phase may have moved, and its tempo: the nearest pulse it is, and all is learnt anew.
            tracker.restart(tracker.index + steps, at, confidence=2)
            self._gaps.clear()
            self._assumed = 0
            return steps
        steps = 1
        # From the smoothed place of the last pulse, which jitters less; unless the tempo is on the move.
        since = at - tracker.at if tracker.calm else gap
        two = (2 - min(max(tracker.jitter, 0.25), 0.5)) * tracker.period
        if tracker.count > 2 and since > two and gap > 1.4 * tracker.period:
            steps = max(round(since / tracker.period), 2)
        elif self._assumed and gap < 0.4 * tracker.period:
            self._assumed -= 1
            return 0  # it was late, not lost
        self._assumed += steps - 1
        self._gaps.append((gap, steps))
        if len(self._gaps) == self._gaps.maxlen:
            if not self._checked:
                # With the first intervals there was no telling whether a pulse was missing.
                self._checked = True
                usual = sorted(gap for gap, _ in self._gaps)[3]
                missed = sum(round(gap / usual) - counted for gap, counted in self._gaps)
                if missed > 0:
                    self._relearn(at, steps + missed)
                    return steps + missed
            if sum(counted > 1 for _, counted in self._gaps) >= 6:
                back = min(self._assumed, sum(counted - 1 for _, counted in self._gaps))
                self._relearn(at, steps - back)
                return steps - back
            if sum(gap for gap, _ in self._gaps) < 0.75 * tracker.period * len(self._gaps):
                self._relearn(at, 1)
                return 1
            if all(counted == 1 for _, counted in self._gaps):
                self._assumed = 0
        tracker.feed(tracker.index + steps, at)
        return steps

    def _relearn(self, at: int, steps: int) -> None:
        """The tempo is another one."""
        gaps = sorted(gap for gap, _ in self._gaps)
        self._tracker.period = gaps[len(gaps) // 2]
        self._tracker.restart(self._tracker.index + steps, at, confidence=SETTLED)
        self._gaps.clear()
        self._assumed = 0

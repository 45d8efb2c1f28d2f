"""Following somebody else's time: what arrives, with jitter and gaps, becomes a smooth course.

Pure: moments are handed in, nothing waits. `ClockFollower` reads MIDI clock, `engine.mtc` MIDI time code,
`engine.link` Ableton Link; `engine.counting` smooths and counts what arrives. All give the transport the same orders.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from engine.counting import FAR, SETTLED, PulseCounter, Tracker
from models.timebase import PPQ, US_PER_QUARTER

PULSE = PPQ // 24
NEVER = 1 << 62

LOST_NS = 1_000_000_000
"""After this long without a pulse a clock is lost. The music goes on."""


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


class ClockFollower:
    """Follows MIDI clock: start, stop, continue, song position, and 24 pulses a quarter note.

    By the MIDI specification the first pulse after *start* or *continue* is the place started from. Pulses that
    were lost are made up for, see `PulseCounter`; where it finds that it had counted wrong, the next order has the right
    place. A clock that stops without a word is `lost`: nothing is ordered, so the music goes on at its last tempo;
    when it returns it is taken to have counted on. One that never says start (many send pulses alone) lets a local
    *play* begin on its next pulse.
    """

    in_seconds = False
    anywhere = False
    quantum = PPQ

    def __init__(self, bpm: float = 60e6 / US_PER_QUARTER) -> None:
        self._counter = PulseCounter(60e9 / (24 * bpm))
        self._heard = False  # any pulse
        self._silent = True  # since LOST_NS, or ever
        self._arrived = 0
        self._running = False
        self._words = False  # start, stop or continue have been heard
        self._tick = 0  # of the next pulse
        self._begun = False  # Begin has been ordered for this run
        self._first = False  # the next pulse is the first since start or continue
        self._lost = False

    @property
    def _tracker(self) -> Tracker:
        return self._counter.tracker

    @property
    def state(self) -> str:
        if self._lost:
            return "lost"
        return "waiting" if self._silent or self._counter.heard < SETTLED else "locked"

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
        if self._counter.heard >= SETTLED:
            self._lost = False
        if not self._running:
            return []
        place = max(self._tick + (steps - 1) * PULSE, 0)
        self._tick = place + PULSE
        if not self._begun:
            self._begun = True
            return [Begin(place, round(tracker.at), self.bpm)]
        if tracker.count < 3:
            return []  # one interval says little
        return [Steer(place, round(tracker.at), self.bpm)]

    def _count(self, at: int) -> int:
        """Take a pulse in; how many it stands for: 1, more after a gap, fewer when the count before was wrong."""
        counter, tracker = self._counter, self._tracker
        index = tracker.index
        if not self._heard:
            counter.restart(index + 1, at, 1)
        elif self._first:
            if abs(at - tracker.moment(index + 1)) < FAR * tracker.period:
                counter.next(at)
            else:  # it counts anew from its start
                known = not self._silent and counter.heard >= SETTLED
                counter.restart(index + 1, at, SETTLED if known else 2, doubt=not known)
        elif self._silent or at - self._arrived > LOST_NS:
            # Its phase may have moved, and its tempo: the nearest pulse it is, and all is learnt anew.
            steps = max(round((at - tracker.at) / tracker.period), 1)
            counter.restart(index + steps, at, 2, doubt=True)
        else:
            counter.hear(at)
        self._first = False
        return self._tracker.index - index

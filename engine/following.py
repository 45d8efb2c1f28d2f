"""How the beat is led by a source of time: by nudges too small to hear, and jumps where the source jumps."""

from __future__ import annotations

from engine.beat import Beat
from engine.link import LINK, LinkFollower
from engine.mtc import TimeCodeFollower
from engine.playback import Event, Linked, Synced, Timing
from engine.strands import NEVER, Course
from engine.sync import Begin, ClockFollower, Follower, Locate, Order, Steer
from models.timebase import PPQ

NEAR_MS = 2.0
"""The beat is set right at once by as much; by more, it goes faster or slower for a while."""

SLEW = 0.1
"""How much faster or slower it goes then, as a share."""

FAR_TICKS = PPQ / 2
"""Off by more than this, it jumps."""

TELL_MS = 1.0
"""The anchor is told when the one told before is off by more."""

TELL_NS = 500_000_000
"""How often a tempo that moves is told."""


def follower_of(source: str, bpm: float) -> Follower | None:
    """What follows the source of that name (see `playback.Follow`); `bpm` is the tempo until one is heard."""
    match source.partition(":")[0]:
        case "clock":
            return ClockFollower(bpm)
        case "mtc":
            return TimeCodeFollower()
        case kind if kind == LINK:
            return LinkFollower(bpm)
    return None


class Following:
    """A follower, and how its places lie against the score's.

    The loop is ours, not the source's: what it repeats, and where the user seeks to, is kept as `shift` in ticks.
    """

    def __init__(self, source: str, follower: Follower) -> None:
        self.source = source
        self.follower = follower
        self.shift = 0.0
        self.joined = False  # the beat has been laid on the source's
        self.settle_due = NEVER  # when a nudge has done its work
        self._input = source.partition(":")[2]
        self._steady = (0.0, 1.0)  # bpm and rate without the nudge
        self._told = Synced("", "", 0.0)
        self._told_at = 0
        self._anchor: Course | None = None  # as it was told

    @property
    def due(self) -> int:
        """When something is to be done by itself."""
        return min(self.settle_due, self.follower.due)

    def hears(self, command: Timing | Linked) -> bool:
        """Whether it is from the source that is followed."""
        if isinstance(command, Linked):
            return self.source == LINK
        return self.source != LINK and command.source == self._input

    def hear(self, command: Timing | Linked) -> list[Order]:
        """What follows from it."""
        message = command if isinstance(command, Linked) else command.message
        return self.follower.hear(command.at, message)

    def tick(self, beat: Beat, place: float) -> float:
        """The tick a place means."""
        return beat.tempi.ticks(place) if self.follower.in_seconds else place

    def course(self, beat: Beat, order: Begin | Steer) -> Course:
        """The source's course, in ticks of the score."""
        tick = self.tick(beat, order.place) - self.shift
        if self.follower.in_seconds:
            return Course(beat.tempi, tick, order.at, rate=order.speed)
        return Course(beat.tempi, tick, order.at, bpm=order.speed)

    def begin(self, beat: Beat, order: Begin | Locate) -> float:
        """Lay the score on the source; returns the tick it is at there."""
        self.shift, self.joined = 0.0, True
        self.settle_due, self._anchor = NEVER, None
        place = self.tick(beat, order.place)
        if self.follower.anywhere:
            self.shift = place - beat.course.tick
        return max(place - self.shift, 0.0)

    def steer(self, beat: Beat, order: Steer, now: int) -> tuple[Course, bool]:
        """The beat's next course, and whether to jump there."""
        course = self.course(beat, order)
        here, there = beat.course.along(now), course.along(now)
        if not self.joined:  # it played already when it began to follow
            quantum = self.follower.quantum
            self.shift = round((there - here) / quantum) * quantum if quantum else 0.0
            self.joined = True
            course = self.course(beat, order)
            there = course.along(now)
        if now < beat.course.at:  # it has still to begin
            tick = beat.course.tick
            return course.jumped(tick, course.moment(tick)), False
        off = there - here
        bpm = course.bpm or beat.tempi.bpm(here) * course.rate
        self.settle_due = NEVER
        self._steady = (course.bpm, course.rate)
        if abs(off) > FAR_TICKS:
            return course.jumped(max(there, 0), now), True
        if abs(off) / PPQ * 60e3 / bpm <= NEAR_MS:
            return course.jumped(there, now), False
        factor = 1 + SLEW if off > 0 else 1 - SLEW
        self.settle_due = now + round(abs(off) / PPQ * 60e9 / bpm / SLEW)
        return Course(beat.tempi, here, now, course.bpm * factor, course.rate * factor), False

    def settled(self, beat: Beat, now: int) -> Course:
        """The beat's course when a nudge has done its work."""
        self.settle_due = NEVER
        return Course(beat.tempi, beat.position(now), now, *self._steady)

    def seek(self, here: float, tick: float) -> float:
        """Where to be instead of `here` to be nearest to `tick` without leaving the source's beat."""
        quantum = self.follower.quantum
        if not quantum:
            return here
        by = min(round((here - tick) / quantum), here // quantum) * quantum
        self.shift += by
        return here - by

    def strayed(self, beat: Beat, course: Course, now: int) -> bool:
        """Whether the beat, about to take this course, is off from what was told of it last."""
        told = self._anchor
        if told is not None and told.tempi is beat.tempi:
            speed = course.bpm or beat.tempi.bpm(course.tick) * course.rate
            off = abs(course.position(now) - told.position(now)) / PPQ * 60e3 / speed
            if off < TELL_MS and abs(course.bpm - told.bpm) <= 2e-3 * course.bpm:
                return False
        self._anchor = course
        return True

    def tell(self, now: int) -> list[Event]:
        """What is to be told of how it goes."""
        synced = Synced(self.source, self.follower.state, round(self.follower.bpm, 1))
        soon = synced.state == self._told.state and now - self._told_at < TELL_NS
        if synced == self._told or soon:
            return []
        self._told, self._told_at = synced, now
        return [synced]

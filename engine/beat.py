"""The beat: where the music is and how it goes on, for all the strands that run along it.

It knows the tempo, the loop, the end and its past turns; strands are placed on it and turned with it. Nothing is
sent from here.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from itertools import takewhile

from engine.playback import Anchor, Loop
from engine.strands import KEPT_NS, NEVER, Course, Strand, Tempi, Turn
from models.timebase import TempoMap


class Beat:
    """Stands at `course.tick`, or plays along `course`."""

    def __init__(self) -> None:
        self.tempi = Tempi(TempoMap())
        self.course = Course(self.tempi, 0, 0)
        self.playing = False
        self.ended = False  # `until` has been reached; late strands have not got there yet
        self.until: int | None = None
        self.loop = Loop()
        self.laps = 0
        self.jump_due = NEVER  # when it reaches the end of the loop, as planned
        self.end_due = NEVER  # when it reaches its end, but for jumps before that
        self._history: deque[Turn] = deque()

    def position(self, now: int) -> float:
        """The tick at the moment `now`."""
        return self.course.position(now) if self.playing else self.course.tick

    @property
    def anchor(self) -> Anchor:
        """As it is told."""
        c = self.course
        return Anchor(c.tick, c.at, self.playing, c.bpm, c.rate)

    @property
    def loop_end(self) -> int | None:
        """Where it is going to jump; None outside a loop."""
        return self.loop.end if self.loop and self.course.tick < self.loop.end else None

    def plan(self, strands: Iterable[Strand]) -> None:
        """Find out what is next, for the strands too."""
        loop_end, until = self.loop_end, self.until
        self.jump_due = self.end_due = NEVER
        if self.playing and not self.ended:
            if loop_end is not None:
                self.jump_due = self.course.moment(loop_end)
            if until is not None and until >= self.course.tick:
                self.end_due = self.course.moment(until)
        for strand in strands:
            strand.plan(loop_end, until)

    def start(self, tick: float, at: int, bpm: float = 0.0, rate: float = 1.0) -> None:
        """Play from there."""
        self.playing, self.ended, self.laps = True, False, 0
        self.course = Course(self.tempi, tick, at, bpm, rate)
        self._history = deque([Turn(self.course, True, 0)])

    def stop(self, tick: float, now: int) -> None:
        """Stand there."""
        self.playing, self.until = False, None
        self.course = Course(self.tempi, tick, now)
        self._history.clear()

    def turn(
        self, course: Course, now: int, strands: Iterable[Strand], *, jump: bool = False
    ) -> list[Strand]:
        """Follow another course, the strands too, in time; returns those that have to jump for it now."""
        self.course = course
        if not self.playing:
            return []
        self.laps += jump
        turn = Turn(course, jump, self.laps)
        self._history.append(turn)
        while len(self._history) > 1 and self._history[1].course.at < now - KEPT_NS:
            self._history.popleft()
        behind = []
        for strand in strands:
            if strand.lag > 0:
                strand.turns.append(turn)
                continue
            if strand.laps < self.laps:
                strand.laps = self.laps
                behind.append(strand)
            strand.course = self._foreseen(strand.laps).later(strand.offset)
        return behind

    def place(self, strand: Strand, now: int) -> None:
        """Let a strand join where it should be now."""
        here = now - strand.lag + strand.early  # the moment of the beat that this strand is about
        if strand.lag <= 0:
            laps = self.laps
            while (end := self.loop_end) is not None and self._foreseen(laps).moment(end) <= here:
                laps += 1
            strand.start(self._foreseen(laps), laps)
        else:
            past = list(takewhile(lambda turn: turn.course.at <= here, self._history))
            first = max(len(past) - 1, 0)
            strand.start(self._history[first].course, self._history[first].laps)
            strand.turns.extend(list(self._history)[first + 1 :])
        strand.ended = self.ended
        strand.done = math.ceil(strand.position(now))

    def jumped(self, strand: Strand) -> None:
        """A strand foresees the jump of the loop and is the first to make it."""
        strand.course = strand.course.jumped(self.loop.start, strand.course.moment(self.loop.end))
        strand.laps += 1

    def postpone(self, ns: int, strands: Iterable[Strand]) -> None:
        """Let everything that is to come come later."""

        def later(turns: Iterable[Turn]) -> deque[Turn]:
            return deque(Turn(t.course.later(ns), t.jump, t.laps) for t in turns)

        self.course = self.course.later(ns)
        self._history = later(self._history)
        for strand in strands:
            strand.course, strand.turns = strand.course.later(ns), later(strand.turns)

    def _foreseen(self, laps: int) -> Course:
        """The course after so many jumps of the loop, those to come included."""
        course = self.course
        if self.loop_end is not None:
            for _ in range(laps - self.laps):
                course = course.jumped(self.loop.start, course.moment(self.loop.end))
        return course

"""What is played along the beat, each strand with a shift of its own against it: tracks and MIDI clock.

The beat is a `Course`: a tick at a moment, and how fast time goes from there. It changes by turns: a jump of
the loop, a new tempo, a nudge by a clock that is followed. A strand that is late against the beat (a positive
offset) makes every turn that much later, exactly where the beat made it, so what was due before a turn sounds
and ends as if nothing had happened. One that is early (a negative offset, a port that wants its messages ahead
of time) foresees the next jump of the loop, and is set right by whatever it could not foresee.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import deque
from dataclasses import dataclass

from engine import schedule
from engine.schedule import CONTROL, SUSTAIN_CC, Table
from models.timebase import PPQ, TempoMap

PULSE = PPQ // 24
SIXTEENTH = PPQ // 4
NEVER = 1 << 62

EARLY_NS = 2_000_000
"""Slaves are told of a jump this long before the first clock that counts from its end: the MIDI specification
asks for 1 ms between the two."""

SHORTEST_PULSE_NS = 2_000_000
"""Idle pulses come no faster (1,250 bpm), whatever a tempo map says: they never end by themselves."""

KEPT_NS = 1_000_000_000
"""Turns older than this are forgotten: more than any strand can be late."""


def next_sixteenth(tick: float) -> int:
    """The first tick from there that a song position can name."""
    return math.ceil(tick / SIXTEENTH) * SIXTEENTH


class Tempi:
    """A tempo map in a form a loop reads fast; its figures are `TempoMap`'s own."""

    __slots__ = ("_second", "_tick", "_us")

    def __init__(self, tempo: TempoMap) -> None:
        self._tick: list[int] = tempo.tick.tolist()
        self._us: list[int] = tempo.us_per_quarter.tolist()
        self._second: list[float] = tempo.seconds(tempo.tick).tolist()

    def second(self, tick: float) -> float:
        """Seconds from the start of the score."""
        i = max(bisect_right(self._tick, tick) - 1, 0)
        return self._second[i] + (tick - self._tick[i]) * self._us[i] / (PPQ * 1e6)

    def ticks(self, second: float) -> float:
        """The inverse of `second`."""
        i = max(bisect_right(self._second, second) - 1, 0)
        return self._tick[i] + (second - self._second[i]) * PPQ * 1e6 / self._us[i]

    def bpm(self, tick: float) -> float:
        """Quarter notes a minute at a tick."""
        return 60e6 / self._us[max(bisect_right(self._tick, tick) - 1, 0)]


class Course:
    """How the beat goes from `tick` at the moment `at`; see `playback.Anchor` for `bpm` and `rate`."""

    __slots__ = ("_second", "at", "bpm", "rate", "tempi", "tick")

    def __init__(
        self, tempi: Tempi, tick: float, at: int, bpm: float = 0.0, rate: float = 1.0
    ) -> None:
        self.tempi, self.tick, self.at, self.bpm, self.rate = tempi, tick, at, bpm, rate
        self._second = 0.0 if bpm else tempi.second(tick)

    def moment(self, tick: float) -> int:
        """When it is at `tick`."""
        if self.bpm:
            return self.at + round((tick - self.tick) * 60e9 / (self.bpm * PPQ))
        return self.at + round((self.tempi.second(tick) - self._second) * 1e9 / self.rate)

    def position(self, now: int) -> float:
        """The tick at the moment `now`; its first one before `at`."""
        return self.tick if now <= self.at else self.along(now)

    def along(self, now: int) -> float:
        """The tick at the moment `now`, as if it had always gone like that."""
        if self.bpm:
            return self.tick + (now - self.at) * self.bpm * PPQ / 60e9
        return self.tempi.ticks(self._second + (now - self.at) * 1e-9 * self.rate)

    def speed(self, tick: float) -> float:
        """Quarter notes a minute at a tick."""
        return self.bpm or self.tempi.bpm(tick) * self.rate

    def later(self, ns: int) -> Course:
        """The same, shifted."""
        return Course(self.tempi, self.tick, self.at + ns, self.bpm, self.rate) if ns else self

    def jumped(self, tick: float, at: int) -> Course:
        """Going on as fast from elsewhere."""
        return Course(self.tempi, tick, at, self.bpm, self.rate)


@dataclass(frozen=True, slots=True)
class Turn:
    """From the moment `course.at` on the beat follows this course; a jump of the loop made it (`jump`) or
    not. `laps` counts the jumps so far."""

    course: Course
    jump: bool
    laps: int


class Strand:
    """Plays `offset` ns later than the beat, and hands messages over `lead` ns before they are to sound.

    `due` is the moment of its next deed, kept up by `plan`: a turn, a jump, its end or the events of one tick.
    `course` is its own, offset included. Events before the tick `done` have been sent.
    """

    early = 0
    """How much earlier than its events it jumps, in ns."""

    def __init__(self, offset: int = 0, lead: int = 0) -> None:
        self.offset, self.lead = offset, lead
        self.lag = offset - lead
        self.course = Course(Tempi(TempoMap()), 0, 0)
        self.laps = 0
        self.turns: deque[Turn] = deque()  # those the beat made and this strand has still to make
        self.done = 0
        self.ended = True
        self.due = NEVER
        self.deed = ""

    @property
    def next(self) -> int:
        """The tick of the next events; NEVER when there are none."""
        raise NotImplementedError

    def start(self, beat: Course, laps: int) -> None:
        """Go along with the beat, wherever it is."""
        self.course, self.laps, self.ended = beat.later(self.offset), laps, False
        self.turns.clear()

    def resume(self, other: Strand) -> None:
        """Go on where another of the same offset and lead has got to."""
        self.course, self.laps, self.done = other.course, other.laps, other.done
        self.turns, self.ended = other.turns, other.ended

    def position(self, now: int) -> float:
        """The tick whose events are to be handed over now."""
        return self.course.position(now + self.lead)

    def plan(self, loop_end: int | None, until: int | None) -> None:
        """Say what is next, and when. `loop_end`: where the beat is going to jump, if it is."""
        self.due = NEVER
        if self.ended:
            return
        course, tick = self.course, self.next
        self.deed = "events"
        if loop_end is not None and loop_end <= tick and self.lag <= 0:
            tick, self.deed = loop_end, "jump"
        if until is not None and course.tick <= until <= tick - (self.deed == "jump"):
            tick, self.deed = until, "end"
        if tick != NEVER:
            self.due = course.moment(tick) - self.lead - (self.early if self.deed == "jump" else 0)
        if self.turns and (turn := self.turns[0].course.at + self.lag) <= self.due:
            self.due, self.deed = turn, "turn"


class Line(Strand):
    """A track being played: its table in a form a loop reads fast, and how far it has got."""

    def __init__(self, track: int, port: str, table: Table, offset: int, lead: int) -> None:
        super().__init__(offset, lead)
        self.track = track
        self.port = port
        self.table = table
        self.ticks = table.tick.data
        self.messages = memoryview(table.message.tobytes())
        self.count = len(table)
        self.cursor = 0
        self.strikes: list[bytes] = []  # notes to strike with the first batch after a jump
        controls = table.message[table.controls]
        pedals = controls[(controls[:, 0] & 0xF0 == CONTROL) & (controls[:, 1] == SUSTAIN_CC), 0]
        self.pedals = {(port, int(status), SUSTAIN_CC) for status in set(pedals.tolist())}
        self._ready: tuple[float, list[bytes], list[bytes]] | None = None

    def go(self, tick: int) -> None:
        """Be about to send what is at `tick`."""
        self.done = tick
        self.cursor = bisect_left(self.ticks, tick)

    def prepare(self, tick: float) -> tuple[list[bytes], list[bytes]]:
        """What to send on a jump to `tick`: the controls in force there, the notes to strike.

        Remembered for the last tick asked about, so that a loop costs no time when it jumps.
        """
        if self._ready is None or self._ready[0] != tick:
            self._ready = (tick, schedule.chase(self.table, tick), self.held(tick))
        return self._ready[1:]

    @property
    def next(self) -> int:
        if self.strikes:
            return self.done
        return self.ticks[self.cursor] if self.cursor < self.count else NEVER

    def held(self, tick: float) -> list[bytes]:
        """The note-ons of notes that began before `tick` and go on."""
        rows = self.table.held(tick)
        long = self.table.end[rows] - tick >= schedule.SHORTEST_CHASED
        return [self.table.bytes_at(int(row)) for row in rows[long]]


class Grid:
    """The moments of idle clock pulses, which belong to no beat: steady, and the same for all ports.

    What has been asked for stands; a new tempo or phase holds from the next one on.
    """

    def __init__(self) -> None:
        self.period = 60e9 / (24 * 120)
        self._pull = 0.0
        self._moments: deque[float] = deque([0.0], maxlen=64)

    @property
    def latest(self) -> float:
        """The last moment that is fixed."""
        return self._moments[-1]

    def restart(self, moment: float) -> None:
        """Have a pulse there, and all others as far from it as the period says."""
        self._pull = 0.0
        self._moments = deque([moment], maxlen=64)

    def tempo(self, bpm: float) -> None:
        """Go at that tempo, in quarter notes a minute."""
        self.period = max(60e9 / (24 * bpm), SHORTEST_PULSE_NS)

    def pull(self, ns: float) -> None:
        """Have the next be that much later than the period says."""
        self._pull = ns

    def postpone(self, ns: int) -> None:
        """Let everything come later."""
        self._moments = deque((moment + ns for moment in self._moments), maxlen=64)

    def after(self, moment: float) -> float:
        """The first one after that moment."""
        while self._moments[-1] <= moment:
            self._moments.append(self._moments[-1] + self.period + self._pull)
            self._pull = 0.0
        first = self._moments[0]
        if moment < first:
            return first - self.period * (math.ceil((first - moment) / self.period) - 1)
        return next(known for known in self._moments if known > moment)


class Pulses(Strand):
    """MIDI clock for one port, which wants messages `lead` ns early.

    Along the beat its pulses are `counting`: the slave moves with each. Before, between a jump and the place it
    goes on counting from, and when the beat has ended, they are those of `grid`, which tell the tempo alone.
    """

    early = EARLY_NS

    def __init__(self, port: str, lead: int, grid: Grid, now: int) -> None:
        super().__init__(0, lead)
        self.port = port
        self.grid = grid
        self.tick = NEVER  # of the next pulse that counts
        self.counting = False
        self.cueing = False  # what is due is no pulse, but the word that the next one counts
        self.told = now + lead  # the moment of the last message
        self.pulsed = self.told - grid.period  # the moment of the last pulse
        self.clear = self.told - 1.0  # the next idle one comes after that

    @property
    def next(self) -> int:
        return self.tick

    def go(self, tick: int) -> None:
        """Count from the first whole sixteenth from `tick`: slaves know no other places."""
        self.done = tick
        self.tick = next_sixteenth(tick)

    def allow(self) -> None:
        """Allow the slave its time, if need be by counting from a sixteenth later."""
        if self.course.moment(self.tick) < self.told + self.early:
            self.go(self.tick + 1)

    def plan(self, loop_end: int | None, until: int | None) -> None:
        super().plan(loop_end, until)
        if self.counting:
            if loop_end is not None and self.deed == "events":
                jump = self.course.moment(loop_end) - self.lead - self.early
                if jump <= self.due:  # the last pulse before it would leave the slave no time
                    self.due, self.deed = jump, "jump"
            return
        moment, self.cueing = self.grid.after(self.clear), False
        ahead = not self.ended and self.deed == "events"
        if ahead:
            # The grid need not meet the beat's pulses; half a period before the first of them it ends.
            cue = self.course.moment(self.tick) - self.grid.period / 2
            if moment > cue:
                moment, self.cueing = max(cue, self.told), True
        due = round(moment) - self.lead
        if ahead or due < self.due:
            self.due, self.deed = due, "events"

"""What the strands send: each message at its moment, and what a jump or an end takes besides."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable

from engine.beat import Beat
from engine.clock import Clock
from engine.clock_out import ClockOut
from engine.hands import Hands
from engine.outputs import Outputs
from engine.schedule import NOTE_OFF, NOTE_ON, PROGRAM
from engine.strands import Line, Pulses, Strand

KEPT = 1 << 17
"""How many latenesses are kept, the newest."""


class Sender:
    """Sends for the strands of `beat` on `out`; pedals that `hands` hold stay down."""

    def __init__(
        self, clock: Clock, beat: Beat, out: Outputs, hands: Hands, clock_out: ClockOut
    ) -> None:
        self._clock = clock
        self._beat = beat
        self._out = out
        self._hands = hands
        self._clock_out = clock_out
        self._late = array("q")
        self._late_at = 0

    def advance(self, strands: Iterable[Strand], deadline: int) -> None:
        """Let the strands do what is due by then, everybody's note-ons after everybody's note-offs."""
        ons: list[tuple[int, Line, bytes]] = []
        for strand in strands:
            if strand.due <= deadline:
                self._step(strand, deadline, ons)
        for moment, line, message in ons:
            self._out.strike(line.track, line.port, message, moment)
            self._note_lateness(moment)

    def lateness(self) -> bytes:
        """How late each message left since the last time this was asked, as int64 nanoseconds."""
        late, self._late, self._late_at = self._late.tobytes(), array("q"), 0
        return late

    def jump(self, strand: Strand, tick: float, moment: int) -> None:
        """Have a strand play on from `tick`: end what it holds, set up and strike what is in force there."""
        if isinstance(strand, Pulses):
            self._clock_out.jump(strand, tick, moment)
        elif isinstance(strand, Line):
            self._out.end_notes_of(strand.track, moment=moment)
            self._out.raise_pedals(strand.pedals - self._hands.pedals, moment)
            strand.go(math.ceil(tick))
            controls, strikes = strand.prepare(tick)
            self.chase(strand, controls, moment)
            strand.strikes = list(strikes)

    def _end(self, strand: Strand, moment: int) -> None:
        if isinstance(strand, Pulses):
            self._clock_out.end(strand, moment)
        elif isinstance(strand, Line):
            self._out.end_notes_of(strand.track, moment=moment)
            self._out.raise_pedals(strand.pedals - self._hands.pedals, moment)

    def silence(self, line: Line, now: int) -> None:
        """End what a track holds, after what has been handed over already."""
        self._out.end_notes_of(line.track, moment=now + line.lead)
        self._out.raise_pedals(line.pedals - self._hands.pedals, now + line.lead)

    def chase(self, line: Line, controls: Iterable[bytes], moment: int) -> None:
        """Set up what is in force."""
        # Pedals stay up while nothing plays.
        self._out.chase(line.port, controls, pedals=self._beat.playing, moment=moment)

    def _step(self, strand: Strand, deadline: int, ons: list[tuple[int, Line, bytes]]) -> None:
        """Let a strand turn or end, and send what belongs at one tick; note-ons are left to the caller, as
        they come after everybody's note-offs."""
        loop_end, until = self._beat.loop_end, self._beat.until
        while strand.due <= deadline and strand.deed != "events":
            if strand.deed == "turn":
                turn = strand.turns.popleft()
                strand.course, strand.laps = turn.course.later(strand.offset), turn.laps
                if turn.jump:
                    self.jump(strand, turn.course.tick, strand.course.at)
            elif strand.deed == "jump":
                self._beat.jumped(strand)
                self.jump(strand, strand.course.tick, strand.course.at)
            else:
                strand.ended = True
                self._end(strand, strand.due + strand.lead)
            strand.plan(loop_end, until)
        if strand.due <= deadline:
            tick, moment = strand.next, strand.due + strand.lead
            if isinstance(strand, Line):
                ons.extend((moment, strand, message) for message in strand.strikes)
                strand.strikes = []
                self._send(strand, tick, moment, ons)
            elif isinstance(strand, Pulses):
                self._clock_out.pulse(strand, moment)
            strand.done = tick + 1
            strand.plan(loop_end, until)

    def _send(self, line: Line, tick: int, moment: int, ons: list[tuple[int, Line, bytes]]) -> None:
        cursor = line.cursor
        while cursor < line.count and line.ticks[cursor] == tick:
            at = 4 * cursor
            message = bytes(line.messages[at : at + line.messages[at + 3]])
            cursor += 1
            kind = message[0] & 0xF0
            if kind == NOTE_ON:
                ons.append((moment, line, message))
                continue
            if kind == NOTE_OFF:
                self._out.lift(line.track, (line.port, message[0] & 0x0F, message[1]), moment)
            elif kind != PROGRAM or not self._out.has(line.port, message):
                # Old gear falls silent while it changes programs, even to the one it has.
                self._out.control(line.port, message, moment)
            self._note_lateness(moment)
        line.cursor = cursor

    def _note_lateness(self, moment: int) -> None:
        late = max(self._clock.now() - moment, 0)
        if len(self._late) < KEPT:
            self._late.append(late)
        else:
            self._late[self._late_at % KEPT] = late
        self._late_at += 1

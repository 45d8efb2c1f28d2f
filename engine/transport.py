"""The real-time loop: sends each message at its moment, whatever happens around it.

`run` is hosted by a process of its own in the program (see `engine.midi`), by a thread, or inline with a
fake clock. It sleeps to absolute deadlines computed from an anchor (tick, moment) and the tempo map, so
nothing drifts. It never opens a port, compiles a track or touches a pipe: all of that is done by others
and arrives in the inbox. What sounds, and for whom, is kept by `engine.outputs`; how tracks and MIDI clock
run along the beat, each with its own shift, by `engine.strands`; whose time is followed, by `engine.sync`.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable
from queue import SimpleQueue

from engine import schedule
from engine.beat import Beat
from engine.clock import Clock
from engine.hands import Hands
from engine.outputs import Outputs
from engine.playback import (
    Command,
    Event,
    Follow,
    Lateness,
    LetGo,
    Linked,
    Live,
    Load,
    Loop,
    Panic,
    Play,
    Port,
    PortBack,
    PortLost,
    PortOpened,
    Ports,
    Quit,
    Report,
    Seek,
    SendClock,
    Stop,
    Tempo,
    Timing,
    Unload,
)
from engine.schedule import NOTE_OFF, NOTE_ON, PROGRAM
from engine.strands import NEVER, PULSE, Course, Line, Pulses, Strand, Tempi

LEAD_NS = 5_000_000
"""Between *play* and the first note: time for programs and controllers to arrive first."""

GAP_NS = 1_000_000_000
"""Later than this (the process was suspended), the music goes on from where it was, without a rush."""

CLOCK, START, CONTINUE, STOP, SONG_POSITION = b"\xf8", b"\xfa", b"\xfb", b"\xfc", 0xF2

KEPT = 1 << 17
"""How many latenesses are kept, the newest."""


def run(
    clock: Clock, inbox: SimpleQueue[Command], ports: Ports, outbox: SimpleQueue[Event]
) -> None:
    """Obey the commands in `inbox` until Quit; what there is to tell goes to `outbox`.

    However it ends, all notes have been ended.
    """
    transport = _Transport(clock, ports, outbox)
    try:
        while True:
            due = transport.due()
            if due is not None and clock.now() >= due:
                transport.advance(due)
                due = 0  # then only look into the inbox: neither can starve the other
            transport.tell()
            command = clock.wait(inbox, due)
            if isinstance(command, Quit):
                return
            if command is not None:
                transport.obey(command)
    finally:
        transport.close()
        transport.tell()


class _Transport:
    def __init__(self, clock: Clock, ports: Ports, outbox: SimpleQueue[Event]) -> None:
        self._clock = clock
        self._keeper = ports
        self._outbox = outbox
        self._out = Outputs(self._lost)
        self._hands = Hands(self._out)
        self._live_ports: set[str] = set()
        self._wanted: frozenset[str] = frozenset()
        self._beat = Beat()
        self._lines: dict[int, Line] = {}
        self._pulses: list[Pulses] = []
        self._send_clock = False
        self._due: int | None = None  # when something is to be done next; None: to be found out
        self._told: list[Event] = []
        self._late = array("q")
        self._late_at = 0

    # What is due

    def due(self) -> int | None:
        """The moment at which something has to be done, or None."""
        if self._due is None:
            strands = self._strands()
            self._beat.plan(strands)
            self._find_due(strands)
        due = min(NEVER if self._due is None else self._due, self._hands.due)
        return due if due != NEVER else None

    def _find_due(self, strands: list[Strand]) -> None:
        self._due = min(self._beat.jump_due, self._beat.end_due)
        if self._beat.playing:
            self._due = min(self._due, min((s.due for s in strands), default=NEVER))

    def _strands(self) -> list[Strand]:
        return [*self._pulses, *self._lines.values()]

    def advance(self, deadline: int) -> None:
        """Do what is due at that moment."""
        self._hands.lift(deadline)
        if self._due is None or self._due > deadline:
            return
        beat, strands = self._beat, self._strands()
        late = self._clock.now() - deadline
        if late > GAP_NS:
            beat.postpone(late, strands)
            beat.plan(strands)
            deadline += late
            self._told.append(beat.anchor)
        if beat.jump_due <= deadline:
            self._turn(beat.course.jumped(beat.loop.start, deadline), deadline, jump=True)
            beat.plan(strands)
        elif beat.end_due <= deadline:
            beat.ended = True
        ons: list[tuple[int, Line, bytes]] = []
        for strand in strands:
            if strand.due <= deadline:
                self._step(strand, deadline, ons)
        for moment, line, message in ons:
            self._out.strike(line.track, line.port, message, moment)
            self._note_lateness(moment)
        if beat.ended and all(strand.ended for strand in strands):
            self._stop(beat.until if beat.until is not None else beat.position(deadline))
        else:
            self._find_due(strands)

    def _step(self, strand: Strand, deadline: int, ons: list[tuple[int, Line, bytes]]) -> None:
        """Let a strand turn or end, and send what belongs at one tick; note-ons are left to the caller, as
        they come after everybody's note-offs."""
        while strand.due <= deadline and strand.deed != "events":
            if strand.deed == "turn":
                turn = strand.turns.popleft()
                strand.course, strand.laps = turn.course.later(strand.offset), turn.laps
                if turn.jump:
                    self._jump(strand, turn.course.tick, strand.course.at)
            elif strand.deed == "jump":
                self._beat.jumped(strand)
                self._jump(strand, strand.course.tick, strand.course.at)
            else:
                strand.ended = True
                self._end(strand, strand.due + strand.lead)
            self._beat.plan([strand])
        if strand.due <= deadline:
            tick, moment = strand.next, strand.due + strand.lead
            if isinstance(strand, Line):
                ons.extend((moment, strand, message) for message in strand.strikes)
                strand.strikes = []
                self._send(strand, tick, moment, ons)
            elif isinstance(strand, Pulses):
                strand.tick += PULSE
                self._to_all(CLOCK, strand.lead, moment)
            strand.done = tick + 1
            self._beat.plan([strand])

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

    def tell(self) -> None:
        """Pass on what there is to tell. Not done at once: it wakes a thread, and notes come first."""
        for event in self._told:
            self._outbox.put(event)
        self._told.clear()

    # What is asked

    def obey(self, command: Command) -> None:
        """Carry out one command."""
        now = self._clock.now()
        match command:
            case Live():
                self._live_ports.add(command.port)
                self._want()
                self._hands.play(command, now)
                return
            case LetGo(source):
                self._hands.let_go(source)
                return
            case Load() | Unload() | Tempo() | Loop() | SendClock():
                self._catch_up(now)
        self._due = None
        match command:
            case Load():
                self._load(command, now)
            case Unload(track):
                line = self._lines.pop(track, None)
                if line is not None:
                    self._silence(line, now)
                self._want()
            case Tempo(tempo):
                self._beat.tempi = Tempi(tempo)
                self._go_on(now)
            case Play(tick, until):
                self._beat.until = until
                self._start(self._beat.position(now) if tick is None else max(tick, 0), now)
            case Stop():
                self._stop(self._beat.position(now))
            case Seek(tick):
                if self._beat.playing:
                    self._start(max(tick, 0), now)
                else:
                    self._rest(max(tick, 0), now)
            case Loop():
                self._set_loop(command, now)
            case SendClock(on):
                if on != self._send_clock:
                    self._stop_clock()
                    self._send_clock = on
                    self._start_clock(now)
            case Panic():
                self._out.panic()
                self._hands.forget()
            case Report():
                self._told.append(Lateness(self._late.tobytes()))
                self._late, self._late_at = array("q"), 0
            case PortOpened(name, port, again):
                self._opened(name, port, again, now)
            case PortLost(name):
                self._leave(name)
                self._lost(name)
            case Follow() | Timing() | Linked() | Quit():
                pass

    def _catch_up(self, now: int) -> None:
        """Do what fell due while this thread was kept waiting: for the new order of things it would lie in
        the past. (But not the end: the new table may go on from there.)"""
        while (due := self.due()) is not None and due <= now:
            if self._beat.end_due <= due:
                break
            self.advance(due)

    def _load(self, load: Load, now: int) -> None:
        old = self._lines.get(load.track)
        lead = self._out.lead_ns(load.port)
        line = Line(load.track, load.port, load.table, load.offset * 1_000_000, lead)
        if old is not None and (old.offset, old.lead) == (line.offset, line.lead):
            line.resume(old)
        elif self._beat.playing:
            self._beat.place(line, now)
            if old is not None and old.laps == line.laps:
                line.done = old.done
        else:
            line.done = math.ceil(self._beat.course.tick)
        if self._beat.playing:
            # What the new table has between the last message sent and now is not played late.
            line.done = max(line.done, math.ceil(line.position(now)))
            if now + line.lead < line.course.at:
                line.strikes = line.held(line.done)
        line.go(line.done)
        rows = load.table.held(line.done - 0.5)  # a note that ends there has its note-off before it
        pairs = {(int(m[0]) & 0x0F, int(m[1])) for m in load.table.message[rows]}
        kept = frozenset((load.port, channel, pitch) for channel, pitch in pairs)
        self._out.end_notes_of(load.track, kept, now + lead)
        if old is not None:
            self._out.raise_pedals(old.pedals - line.pedals - self._hands.pedals, now + lead)
        self._lines[load.track] = line
        self._want()
        self._chase(line, schedule.chase(line.table, line.done), now + lead)
        if self._beat.loop:
            line.prepare(self._beat.loop.start)

    def _set_loop(self, loop: Loop, now: int) -> None:
        self._beat.loop = loop
        if loop:
            for line in self._lines.values():
                line.prepare(loop.start)
        self._go_on(now)
        for strand in self._strands():
            if self._beat.playing and strand.lag - strand.early < 0:
                # It is ahead of the beat and may have foreseen otherwise.
                before, done = strand.laps, strand.done
                self._beat.place(strand, now)
                if strand.laps != before or before > self._beat.laps:
                    self._jump(strand, strand.position(now), now + strand.lead)
                else:
                    strand.done = done

    # The beat

    def _start(self, tick: float, now: int) -> None:
        """Play on from `tick`, as soon as the strand that must be earliest can."""
        self._stop_clock()
        for line in self._lines.values():
            self._silence(line, now)
        early = max((-line.lag for line in self._lines.values()), default=0)
        self._beat.start(tick, now + LEAD_NS + max(early, 0))
        self._start_clock(now)
        for line in self._lines.values():
            line.start(self._beat.course, 0)
            self._jump(line, tick, now + line.lead)
        self._due = None
        self._told.append(self._beat.anchor)

    def _stop(self, tick: float) -> None:
        self._stop_clock()
        now = self._clock.now()
        for line in self._lines.values():
            self._silence(line, now)
        self._rest(tick, now)

    def _rest(self, tick: float, now: int) -> None:
        """Let the beat and all tracks stand at `tick`."""
        self._beat.stop(tick, now)
        for line in self._lines.values():
            line.ended, line.strikes = True, []
            line.go(math.ceil(tick))
        self._due = None
        self._told.append(self._beat.anchor)

    def _go_on(self, now: int) -> None:
        """From here on by the tempo there is."""
        at = max(now, self._beat.course.at)
        self._turn(Course(self._beat.tempi, self._beat.position(now), at), now)

    def _turn(self, course: Course, now: int, *, jump: bool = False) -> None:
        self._due = None
        for strand in self._beat.turn(course, now, self._strands(), jump=jump):
            self._jump(strand, self._beat.loop.start, strand.course.at)
        self._told.append(self._beat.anchor)

    def _jump(self, strand: Strand, tick: float, moment: int) -> None:
        """Have a strand play on from `tick`: end what it holds, set up and strike what is in force there."""
        if isinstance(strand, Pulses):
            self._to_all(STOP, strand.lead, moment - strand.early)
            self._locate(strand, tick, moment - strand.early)
        elif isinstance(strand, Line):
            self._out.end_notes_of(strand.track, moment=moment)
            self._out.raise_pedals(strand.pedals - self._hands.pedals, moment)
            strand.go(math.ceil(tick))
            controls, strikes = strand.prepare(tick)
            self._chase(strand, controls, moment)
            strand.strikes = list(strikes)

    def _end(self, strand: Strand, moment: int) -> None:
        if isinstance(strand, Pulses):
            self._to_all(STOP, strand.lead, moment)
        elif isinstance(strand, Line):
            self._out.end_notes_of(strand.track, moment=moment)
            self._out.raise_pedals(strand.pedals - self._hands.pedals, moment)

    def _silence(self, line: Line, now: int) -> None:
        """End what a track holds, after what has been handed over already."""
        self._out.end_notes_of(line.track, moment=now + line.lead)
        self._out.raise_pedals(line.pedals - self._hands.pedals, now + line.lead)

    def close(self) -> None:
        """End everything."""
        self._stop_clock()
        self._out.end_all_notes()

    # MIDI clock

    def _start_clock(self, now: int) -> None:
        """Tell slaves where the next clock counts from."""
        if not self._send_clock or not self._beat.playing:
            return
        self._pulses = [
            Pulses(lead) for lead in {self._out.lead_ns(n) for n in self._out.names if n}
        ]
        for pulses in self._pulses:
            self._beat.place(pulses, now)
            self._locate(pulses, pulses.done, now + pulses.lead)
        self._due = None

    def _locate(self, pulses: Pulses, tick: float, moment: int) -> None:
        sixteenths = pulses.go(math.ceil(tick))
        if sixteenths == 0:
            self._to_all(START, pulses.lead, moment)
        else:
            position = min(sixteenths, 0x3FFF)
            self._to_all(bytes((SONG_POSITION, position & 127, position >> 7)), pulses.lead, moment)
            self._to_all(CONTINUE, pulses.lead, moment)

    def _stop_clock(self) -> None:
        now = self._clock.now()
        for pulses in self._pulses:
            if not pulses.ended:
                self._to_all(STOP, pulses.lead, now + pulses.lead)
        self._pulses = []

    def _to_all(self, message: bytes, lead: int, moment: int) -> None:
        """To every output that wants its messages that early."""
        for name in self._out.names:
            if name and self._out.lead_ns(name) == lead:  # the built-in synth has no use for it
                self._out.send(name, message, moment)

    # Ports

    def _want(self) -> None:
        wanted = frozenset(line.port for line in self._lines.values()) | self._live_ports
        if wanted != self._wanted:
            for name in self._out.names:
                if name not in wanted:
                    self._leave(name)
            self._wanted = wanted
            self._keeper.want(wanted)

    def _opened(self, name: str, port: Port, again: bool, now: int) -> None:
        if name not in self._wanted:
            return
        self._out.add(name, port)
        if again:
            self._out.silence(name)
        self._stop_clock()
        self._start_clock(now)
        lead = self._out.lead_ns(name)
        for line in self._lines.values():
            if line.port != name:
                continue
            if line.lead != lead:
                line.lead, line.lag = lead, line.offset - lead
                if self._beat.playing:
                    self._beat.place(line, now)
                    line.go(line.done)
            self._chase(line, schedule.chase(line.table, line.position(now)), now + lead)
        self._told.append(PortBack(name))

    def _leave(self, name: str) -> None:
        if any(not p.ended and p.lead == self._out.lead_ns(name) for p in self._pulses) and name:
            self._out.send(name, STOP)
        self._out.leave(name)

    def _lost(self, name: str) -> None:
        self._told.append(PortLost(name))

    def _chase(self, line: Line, controls: Iterable[bytes], moment: int) -> None:
        # Pedals stay up while nothing plays.
        self._out.chase(line.port, controls, pedals=self._beat.playing, moment=moment)

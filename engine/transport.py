"""The real-time loop: sends each message at its moment, whatever happens around it.

`run` is hosted by a process of its own in the program (see `engine.midi`), by a thread, or inline with a
fake clock. It sleeps to absolute deadlines computed from an anchor (tick, moment) and the tempo map, so
nothing drifts. It never opens a port, compiles a track or touches a pipe: all of that is done by others
and arrives in the inbox. What sounds, and for whom, is kept by `engine.outputs`.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Iterable
from heapq import heappop, heappush
from queue import SimpleQueue

from engine import schedule
from engine.clock import Clock
from engine.outputs import KEYBOARD, Key, Outputs
from engine.playback import (
    Anchor,
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
from engine.schedule import CONTROL, NOTE_OFF, NOTE_ON, PROGRAM, SUSTAIN_CC, Table
from models.timebase import PPQ, TempoMap

LEAD_NS = 5_000_000
"""Between *play* and the first note: time for programs and controllers to arrive first."""

GAP_NS = 1_000_000_000
"""Later than this (the process was suspended), the music goes on from where it was, without a rush."""

PULSE = PPQ // 24
SIXTEENTH = PPQ // 4
CLOCK, START, CONTINUE, STOP, SONG_POSITION = b"\xf8", b"\xfa", b"\xfb", b"\xfc", 0xF2

KEPT = 1 << 17
"""How many latenesses are kept, the newest."""

NEVER = 1 << 62


class _Line:
    """A track being played: its table in a form a loop reads fast, and how far it has got."""

    def __init__(self, port: str, table: Table, tick: float) -> None:
        self.port = port
        self.table = table
        self.ticks = table.tick.data
        self.messages = memoryview(table.message.tobytes())
        self.count = len(table)
        self.strikes: list[bytes] = []  # notes to strike with the first batch after a jump
        controls = table.message[table.controls]
        pedals = controls[(controls[:, 0] & 0xF0 == CONTROL) & (controls[:, 1] == SUSTAIN_CC), 0]
        self.pedals = {(port, int(status), SUSTAIN_CC) for status in set(pedals.tolist())}
        self.ready: tuple[float, list[bytes], list[bytes]] | None = None
        self.go(tick)

    def go(self, tick: float) -> None:
        self.cursor = bisect_left(self.ticks, tick)

    def prepare(self, tick: float) -> tuple[list[bytes], list[bytes]]:
        """What to send on a jump to `tick`: the controls in force there, the notes to strike.

        Remembered for the last tick asked about, so that a loop costs no time when it jumps.
        """
        if self.ready is None or self.ready[0] != tick:
            self.ready = (tick, schedule.chase(self.table, tick), self.held(tick))
        return self.ready[1:]

    @property
    def next(self) -> int:
        return self.ticks[self.cursor] if self.cursor < self.count else NEVER

    def held(self, tick: float) -> list[bytes]:
        """The note-ons of notes that began before `tick` and go on."""
        rows = self.table.held(tick)
        long = self.table.end[rows] - tick >= schedule.SHORTEST_CHASED
        return [self.table.bytes_at(int(row)) for row in rows[long]]


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
        self._live_ports: set[str] = set()
        self._wanted: frozenset[str] = frozenset()
        self._lines: dict[int, _Line] = {}
        self._tempo = TempoMap()
        self._anchor = Anchor()
        self._done = 0  # messages before this tick have been sent
        self._until: int | None = None
        self._loop = Loop()
        self._send_clock = False
        self._pulse = NEVER  # the tick of the next MIDI clock
        self._lifts: list[tuple[int, int, Key]] = []  # auditions: when to lift, owner, key
        self._auditions = KEYBOARD
        self._told: list[Event] = []
        self._late = array("q")
        self._late_at = 0
        self._due: tuple[int, int] | None = (
            None  # the next tick at which something is to be done, and when
        )

    # What is due

    def due(self) -> int | None:
        """The moment at which something has to be done, or None."""
        if self._anchor.playing and self._due is None:
            tick = min((line.next for line in self._lines.values()), default=NEVER)
            if any(line.strikes for line in self._lines.values()):
                tick = min(tick, self._done)
            if self._until is not None and self._until >= self._done:
                tick = min(tick, self._until)
            if self._loops:
                tick = min(tick, self._loop.end)
            tick = min(tick, self._pulse)
            if tick != NEVER:
                self._due = (tick, self._anchor.moment(self._tempo, tick))
        moments = [self._due[1]] if self._due is not None else []
        if self._lifts:
            moments.append(self._lifts[0][0])
        return min(moments, default=None)

    @property
    def _loops(self) -> bool:
        return bool(self._loop) and self._anchor.tick < self._loop.end >= self._done

    def advance(self, deadline: int) -> None:
        """Do what is due at that moment."""
        while self._lifts and self._lifts[0][0] <= deadline:
            _, owner, key = heappop(self._lifts)
            self._out.lift(owner, key)
        if self._due is None or self._due[1] > deadline:
            return
        tick, self._due = self._due[0], None
        late = self._clock.now() - deadline
        if late > GAP_NS:
            self._move_anchor(self._anchor.tick, self._anchor.at + late)
            deadline += late
        if self._loops and tick == self._loop.end:
            self._jump(self._loop.start, deadline)
            self._play(self._loop.start, deadline)
        elif tick == self._until:
            self._stop(tick)
        else:
            self._play(tick, deadline)

    def _play(self, tick: int, deadline: int) -> None:
        """Send everything that belongs at `tick`."""
        if tick == self._pulse:
            self._pulse += PULSE
            self._to_all(CLOCK)
        ons: list[tuple[int, _Line, bytes]] = []
        for owner, line in self._lines.items():
            ons.extend((owner, line, message) for message in line.strikes)
            line.strikes = []
            cursor = line.cursor
            while cursor < line.count and line.ticks[cursor] == tick:
                at = 4 * cursor
                message = bytes(line.messages[at : at + line.messages[at + 3]])
                cursor += 1
                kind = message[0] & 0xF0
                if kind == NOTE_ON:
                    ons.append((owner, line, message))
                    continue
                if kind == NOTE_OFF:
                    self._out.lift(owner, (line.port, message[0] & 0x0F, message[1]))
                elif kind != PROGRAM or not self._out.has(line.port, message):
                    # Old gear falls silent while it changes programs, even to the one it has.
                    self._out.control(line.port, message)
                self._note_lateness(deadline)
            line.cursor = cursor
        for owner, line, message in ons:
            self._out.strike(owner, line.port, message, deadline)
            self._note_lateness(deadline)
        self._done = tick + 1

    def _note_lateness(self, deadline: int) -> None:
        late = self._clock.now() - deadline
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
        self._due = None
        now = self._clock.now()
        match command:
            case Load():
                self._load(command, now)
            case Unload(track):
                self._out.end_notes_of(track)
                line = self._lines.pop(track, None)
                if line is not None:
                    self._out.raise_pedals(line.pedals)
                self._want()
            case Tempo(tempo):
                here = self._position(now)
                self._tempo = tempo
                self._move_anchor(here, max(now, self._anchor.at))
            case Play(tick, until):
                here = self._position(now) if tick is None else max(tick, 0)
                self._until = until
                self._anchor = Anchor(here, now, playing=True)
                self._jump(here, now + LEAD_NS)
            case Stop():
                self._stop(self._position(now))
            case Seek(tick):
                if self._anchor.playing:
                    self._jump(max(tick, 0), now + LEAD_NS)
                else:
                    self._done = max(tick, 0)
                    self._move_anchor(self._done, now)
            case Loop():
                self._loop = command
                self._prepare_loop(self._lines.values())
                self._move_anchor(self._position(now), max(now, self._anchor.at))
            case SendClock(on):
                if on != self._send_clock:
                    self._stop_clock()
                    self._send_clock = on
                    self._start_clock(max(self._done, math.ceil(self._position(now))))
            case Live(port, message, seconds):
                self._live(port, message, seconds, now)
            case Panic():
                self._out.panic()
                self._lifts.clear()
            case Report():
                self._told.append(Lateness(self._late.tobytes()))
                self._late, self._late_at = array("q"), 0
            case PortOpened(name, port, again):
                self._opened(name, port, again)
            case PortLost(name):
                self._leave(name)
                self._lost(name)
            case Follow() | Timing() | Linked() | LetGo() | Quit():
                pass

    def _load(self, load: Load, now: int) -> None:
        # What fell due while this thread was kept waiting is played yet, from the table it was due in:
        # in the new one it would lie in the past.
        while (due := self.due()) is not None and due <= now:
            if self._due is not None and self._due[0] == self._until:
                break  # the new table may go on from here
            self.advance(due)
        self._due = None
        done = self._done
        if self._anchor.playing:
            # What the new table has between the last message sent and now is not played late.
            done = max(done, math.ceil(self._position(now)))
        line = _Line(load.port, load.table, done)
        if self._anchor.playing and now < self._anchor.at:
            line.strikes = line.held(done)
        rows = load.table.held(done - 0.5)  # a note that ends at `done` has its note-off before it
        pairs = {(int(m[0]) & 0x0F, int(m[1])) for m in load.table.message[rows]}
        kept = frozenset((load.port, channel, pitch) for channel, pitch in pairs)
        self._out.end_notes_of(load.track, keep=kept)
        old = self._lines.get(load.track)
        if old is not None:
            self._out.raise_pedals(old.pedals - line.pedals)
        self._lines[load.track] = line
        self._want()
        self._chase(line.port, schedule.chase(line.table, done))
        self._prepare_loop([line])

    def _prepare_loop(self, lines: Iterable[_Line]) -> None:
        if self._loop:
            for line in lines:
                line.prepare(self._loop.start)

    def _live(self, port: str, message: bytes, seconds: float | None, now: int) -> None:
        self._live_ports.add(port)
        self._want()
        kind = message[0] & 0xF0
        if kind not in (NOTE_ON, NOTE_OFF):
            self._out.control(port, message)
            return
        key = (port, message[0] & 0x0F, message[1])
        if kind == NOTE_OFF or not message[2]:
            self._out.lift(KEYBOARD, key)
        elif seconds is None:
            self._out.strike(KEYBOARD, port, message, now)
        else:
            self._auditions -= 1
            heappush(self._lifts, (now + round(seconds * 1e9), self._auditions, key))
            self._out.strike(self._auditions, port, message, now)

    def _stop(self, tick: float) -> None:
        if self._anchor.playing:
            self._stop_clock()
        self._out.end_tracks_notes()
        self._until = None
        self._done = math.ceil(tick)
        self._anchor = Anchor(tick, self._clock.now(), playing=False)
        self._told.append(self._anchor)

    def _jump(self, tick: float, at: int) -> None:
        """Play on from `tick` at the moment `at`."""
        self._stop_clock()
        self._out.end_tracks_notes()
        self._done = math.ceil(tick)
        for line in self._lines.values():
            line.go(tick)
            controls, strikes = line.prepare(tick)
            self._chase(line.port, controls)
            line.strikes = list(strikes)
        self._start_clock(self._done)
        self._move_anchor(tick, at)

    def close(self) -> None:
        """End everything."""
        if self._anchor.playing:
            self._stop_clock()
        self._out.end_all_notes()

    # Position

    def _position(self, now: int) -> float:
        return self._anchor.position(self._tempo, now)

    def _move_anchor(self, tick: float, at: int) -> None:
        self._anchor = Anchor(tick, at, self._anchor.playing)
        self._due = None
        self._told.append(self._anchor)

    def _start_clock(self, tick: int) -> None:
        """Tell slaves where the next clock counts from: the first whole sixteenth from `tick`."""
        if not self._send_clock or not self._anchor.playing:
            return
        sixteenths = -(-tick // SIXTEENTH)
        self._pulse = sixteenths * SIXTEENTH
        if sixteenths == 0:
            self._to_all(START)
        else:
            position = min(sixteenths, 0x3FFF)
            self._to_all(bytes((SONG_POSITION, position & 127, position >> 7)))
            self._to_all(CONTINUE)

    def _stop_clock(self) -> None:
        if self._pulse != NEVER:
            self._pulse = NEVER
            self._to_all(STOP)

    def _to_all(self, message: bytes) -> None:
        for name in self._out.names:
            if name:  # the built-in synth has no use for it
                self._out.send(name, message)

    # Ports

    def _want(self) -> None:
        wanted = frozenset(line.port for line in self._lines.values()) | self._live_ports
        if wanted != self._wanted:
            for name in self._out.names:
                if name not in wanted:
                    self._leave(name)
            self._wanted = wanted
            self._keeper.want(wanted)

    def _opened(self, name: str, port: Port, again: bool) -> None:
        if name not in self._wanted:
            return
        self._out.add(name, port)
        if again:
            self._out.silence(name)
        here = self._position(self._clock.now())
        self._stop_clock()
        self._start_clock(max(self._done, math.ceil(here)))
        for line in self._lines.values():
            if line.port == name:
                self._chase(name, schedule.chase(line.table, here))
        self._told.append(PortBack(name))

    def _leave(self, name: str) -> None:
        if self._pulse != NEVER and name:
            self._out.send(name, STOP)
        self._out.leave(name)

    def _lost(self, name: str) -> None:
        self._told.append(PortLost(name))

    def _chase(self, port: str, controls: Iterable[bytes]) -> None:
        # Pedals stay up while nothing plays.
        self._out.chase(port, controls, pedals=self._anchor.playing)

"""The real-time loop: sends each message at its moment, whatever happens around it.

`run` is hosted by a process of its own in the program (see `engine.midi`), by a thread, or inline with a
fake clock. It sleeps to absolute deadlines computed from an anchor (tick, moment) and the tempo map, so
nothing drifts. It never opens a port, compiles a track or touches a pipe: all of that is done by others
and arrives in the inbox. `engine.outputs` keeps what sounds, and for whom; `engine.beat` and `engine.strands` how
tracks and MIDI clock run along the beat, each with its own shift; `engine.sync` follows somebody else's time.
"""

from __future__ import annotations

import math
from queue import SimpleQueue

from engine import schedule
from engine.beat import Beat
from engine.clock import Clock
from engine.clock_out import ClockOut
from engine.following import Following, follower_of
from engine.hands import Hands
from engine.link import LINK, Link
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
    Synced,
    Tempo,
    Timing,
    Unload,
)
from engine.sending import Sender
from engine.strands import NEVER, Course, Line, Strand, Tempi
from engine.sync import Begin, Halt, Locate, Order, Steer

LEAD_NS = 5_000_000
"""Between *play* and the first note: time for programs and controllers to arrive first."""

GAP_NS = 1_000_000_000
"""Later than this (the process was suspended), the music goes on from where it was, without a rush."""


def run(
    clock: Clock,
    inbox: SimpleQueue[Command],
    ports: Ports,
    outbox: SimpleQueue[Event],
    link: Link | None = None,
) -> None:
    """Obey the commands in `inbox` until Quit; what there is to tell goes to `outbox`.

    While somebody else's time is followed, it is their start that begins: *play* joins what plays already, else
    it waits for that; *stop* stops here alone, but for Ableton Link, where both are for everyone.

    However it ends, all notes have been ended.
    """
    transport = _Transport(clock, ports, outbox, link)
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
    def __init__(
        self, clock: Clock, ports: Ports, outbox: SimpleQueue[Event], link: Link | None
    ) -> None:
        self._clock = clock
        self._keeper = ports
        self._outbox = outbox
        self._out = Outputs(self._lost)
        self._hands = Hands(self._out)
        self._live_ports: set[str] = set()
        self._wanted: frozenset[str] = frozenset()
        self._beat = Beat()
        self._lines: dict[int, Line] = {}
        self._clock_out = ClockOut(self._out)
        self._sender = Sender(clock, self._beat, self._out, self._hands, self._clock_out)
        self._following: Following | None = None
        self._link = link
        self._due: int | None = None  # when something is to be done next; None: to be found out
        self._told: list[Event] = []

    # What is due

    def due(self) -> int | None:
        """The moment at which something has to be done, or None."""
        if self._due is None:
            strands = self._strands()
            self._idle()
            self._beat.plan(strands)
            self._find_due(strands)
        due = min(NEVER if self._due is None else self._due, self._hands.due)
        if self._following is not None:
            due = min(due, self._following.due)
        return due if due != NEVER else None

    def _idle(self) -> None:
        """While nothing plays, slaves hear the tempo at which it would."""
        if self._beat.playing:
            return
        bpm = self._beat.tempi.bpm(self._beat.course.tick)
        if self._following is not None and self._following.follower.state == "locked":
            bpm = self._following.follower.bpm or bpm
        self._clock_out.idle(bpm)

    def _find_due(self, strands: list[Strand]) -> None:
        first = min((strand.due for strand in strands), default=NEVER)
        self._due = min(self._beat.jump_due, self._beat.end_due, first)

    def _strands(self) -> list[Strand]:
        return [*self._clock_out.strands, *self._lines.values()]

    def advance(self, deadline: int) -> None:
        """Do what is due at that moment."""
        self._hands.lift(deadline)
        if self._following is not None and self._following.due <= deadline:
            self._poll(self._following, self._clock.now())
        if self._due is None or self._due > deadline:
            return
        beat, strands = self._beat, self._strands()
        late = self._clock.now() - deadline
        if late > GAP_NS:
            beat.postpone(late, strands)
            self._clock_out.postpone(late)
            beat.plan(strands)
            deadline += late
            self._told.append(beat.anchor)
        if beat.jump_due <= deadline:
            self._turn(beat.course.jumped(beat.loop.start, deadline), deadline, jump=True)
            beat.plan(strands)
        elif beat.end_due <= deadline:
            beat.ended, beat.end_due = True, NEVER
        self._sender.advance(strands, deadline)
        if beat.playing and beat.ended and all(strand.ended for strand in strands):
            self._stop(beat.until if beat.until is not None else beat.position(deadline))
        else:
            self._find_due(strands)

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
            case Timing() | Linked():
                self._heard(command, now)
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
                    self._sender.silence(line, now)
                self._want()
            case Tempo(tempo):
                self._beat.tempi = Tempi(tempo)
                if self._following is None or not self._beat.course.bpm:
                    self._go_on(now)
                if self._following is not None and self._link is not None:
                    self._link.lead(bpm=round(self._beat.tempi.bpm(self._beat.position(now)), 2))
            case Play(tick, until):
                self._beat.until = until
                self._play(self._beat.position(now) if tick is None else max(tick, 0), now)
            case Stop():
                self._stop(self._beat.position(now))
                if self._following is not None and self._link is not None:
                    self._link.lead(playing=False)
            case Seek(tick):
                if self._beat.playing and self._following is not None:
                    self._seek(self._following, max(tick, 0), now)
                elif self._beat.playing:
                    self._start(max(tick, 0), now)
                else:
                    self._rest(max(tick, 0), now)
            case Loop():
                self._set_loop(command, now)
            case SendClock(on):
                self._clock_out.switch(on, self._beat, now)
            case Panic():
                self._out.panic()
                self._hands.forget()
            case Report():
                self._told.append(Lateness(self._sender.lateness()))
            case PortOpened(name, port, again):
                self._opened(name, port, again, now)
            case PortLost(name):
                self._leave(name)
                self._lost(name)
            case Follow(source):
                self._follow(source, now)

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
        self._sender.chase(line, schedule.chase(line.table, line.done), now + lead)
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
                    self._sender.jump(strand, strand.position(now), now + strand.lead)
                else:
                    strand.done = done

    # The beat

    def _start(
        self, tick: float, now: int, at: int | None = None, bpm: float = 0.0, rate: float = 1.0
    ) -> None:
        """Play on from `tick`: at the moment `at`, which may be too soon for strands that are to be early (what
        they missed, they play at once), or else as soon as all are ready."""
        self._clock_out.stop(now)
        for line in self._lines.values():
            self._sender.silence(line, now)
        course = Course(self._beat.tempi, tick, self._soon(now) if at is None else at, bpm, rate)
        self._clock_out.idle(course.speed(tick))
        if at is None:
            course = course.later(self._clock_out.wait(course))
        self._beat.start(tick, course.at, bpm, rate)
        self._clock_out.start(self._beat, now)
        for line in self._lines.values():
            line.start(self._beat.course, 0)
            self._sender.jump(line, tick, now + line.lead)
        self._due = None
        self._told.append(self._beat.anchor)

    def _soon(self, now: int) -> int:
        early = max((-strand.lag for strand in self._strands()), default=0)
        return now + LEAD_NS + max(early, 0)

    def _stop(self, tick: float) -> None:
        now = self._clock.now()
        self._clock_out.stop(now)
        for line in self._lines.values():
            self._sender.silence(line, now)
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

    def _turn(self, course: Course, now: int, *, jump: bool = False, tell: bool = True) -> None:
        self._due = None
        if jump and self._following is not None:
            self._following.shift += self._beat.loop.end - self._beat.loop.start
        for strand in self._beat.turn(course, now, self._strands(), jump=jump):
            self._sender.jump(strand, self._beat.loop.start, strand.course.at)
        if tell:
            self._told.append(self._beat.anchor)

    def close(self) -> None:
        """End everything."""
        self._clock_out.stop(self._clock.now())
        self._out.end_all_notes()

    # Somebody else's time

    def _follow(self, source: str, now: int) -> None:
        follower = follower_of(source, self._beat.tempi.bpm(self._beat.position(now)))
        if self._link is not None:
            self._link.want(source == LINK)
        self._following = None if follower is None else Following(source, follower)
        if self._following is None:
            if self._beat.course.bpm or self._beat.course.rate != 1:
                self._go_on(now)
            self._told.append(Synced(source, "own", 0.0))
        else:
            self._told.extend(self._following.tell(now))

    def _heard(self, command: Timing | Linked, now: int) -> None:
        following = self._following
        if following is None or not following.hears(command):
            return
        self._catch_up(now)
        for order in following.hear(command):
            self._carry_out(following, order, now)
        if self._beat.playing and not following.joined and following.follower.state == "locked":
            # It played in its own time so far: have the source count from where it is.
            following.follower.join(self._beat.position(now), now)
        self._idle()
        if not self._beat.playing and following.follower.state == "locked":
            self._clock_out.pull(command)
        self._told.extend(following.tell(now))

    def _poll(self, following: Following, now: int) -> None:
        if following.settle_due <= now:
            self._turn(following.settled(self._beat, now), now)
        for order in following.follower.poll(now):
            self._carry_out(following, order, now)
        self._idle()
        self._told.extend(following.tell(now))

    def _carry_out(self, following: Following, order: Order, now: int) -> None:
        match order:
            case Begin():
                tick = following.begin(self._beat, order)
                course = following.course(self._beat, order)
                self._start(tick, now, order.at, course.bpm, course.rate)
            case Steer():
                if self._beat.playing:
                    course, jump = following.steer(self._beat, order, now)
                    if jump:
                        self._start(course.tick, now, course.at, course.bpm, course.rate)
                    else:
                        self._turn(course, now, tell=following.strayed(self._beat, course, now))
            case Locate():
                tick = following.begin(self._beat, order)
                if not self._beat.playing:
                    self._rest(tick, now)
            case Halt():
                if self._beat.playing:
                    self._stop(self._beat.position(now))

    def _play(self, tick: float, now: int) -> None:
        following = self._following
        if following is None:
            self._start(tick, now)
            return
        if not self._beat.playing:
            self._rest(tick, now)
            begin = following.follower.join(tick, now)
            if begin is not None:
                self._carry_out(following, begin, now)
            if self._link is not None:
                self._link.lead(playing=True)
        else:
            self._seek(following, tick, now)

    def _seek(self, following: Following, tick: float, now: int) -> None:
        """Go where the source's beat falls, nearest to `tick`."""
        at, course = self._soon(now), self._beat.course
        tick = following.seek(course.position(at), tick)
        self._start(tick, now, at, course.bpm, course.rate)

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
        self._clock_out.open(name, self._beat, now)
        lead = self._out.lead_ns(name)
        for line in self._lines.values():
            if line.port != name:
                continue
            if line.lead != lead:
                line.lead, line.lag = lead, line.offset - lead
                if self._beat.playing:
                    self._beat.place(line, now)
                    line.go(line.done)
            self._sender.chase(line, schedule.chase(line.table, line.position(now)), now + lead)
        self._told.append(PortBack(name))

    def _leave(self, name: str) -> None:
        self._clock_out.leave(name)
        self._out.leave(name)

    def _lost(self, name: str) -> None:
        self._told.append(PortLost(name))

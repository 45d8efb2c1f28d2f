"""MIDI clock for others: start, stop, continue, song position, and pulses, along the beat and while it stands.

Slaves learn the tempo from pulses, and delays, arpeggiators and LFOs run by them, also while nothing plays; they
move along the music between *start* or *continue* and *stop* alone (MIDI 1.0 Detailed Specification, "System Real
Time Messages").
"""

from __future__ import annotations

import math

from engine.beat import Beat
from engine.counting import SETTLED, Tracker
from engine.outputs import Outputs
from engine.playback import Linked, Timing
from engine.strands import PULSE, SIXTEENTH, Course, Grid, Pulses, next_sixteenth
from engine.sync import LOST_NS

CLOCK, START, CONTINUE, STOP, SONG_POSITION = b"\xf8", b"\xfa", b"\xfb", b"\xfc", 0xF2
FARTHEST = 0x3FFF
"""The last song position there is, in sixteenths."""

LONGEST_WAIT_NS = 50_000_000
"""A start waits for the next idle pulse, but no longer than this; slower than 50 bpm a pulse may come early instead."""

PULL = 0.3
"""The share of their distance from a source's pulses, smoothed, by which idle ones move at each of those."""


class ClockOut:
    """Sends clock to every open output but the built-in synth, while it is `on`."""

    def __init__(self, out: Outputs) -> None:
        self._out = out
        self._grid = Grid()
        self._source: Tracker | None = None  # what is heard of the source while nothing is counted
        self.on = False
        self.strands: list[Pulses] = []  # one for each port

    def switch(self, on: bool, beat: Beat, now: int) -> None:
        """Begin to send, or cease."""
        if on == self.on:
            return
        self.stop(now)
        self.on, self.strands = on, []
        for name in self._out.names:
            self.open(name, beat, now)

    def open(self, name: str, beat: Beat, now: int) -> None:
        """A port has been opened: let it know the tempo, and the place if the beat plays."""
        if not self.on or not name:
            return
        others = [pulses for pulses in self.strands if pulses.port != name]
        pulses = Pulses(name, self._out.lead_ns(name), self._grid, now)
        # Whatever it did before: by idle pulses a slave that still runs would go on, and running it heeds no position.
        self._send(pulses, STOP, now)
        if beat.playing:
            self._join(pulses, beat, now)
            pulses.allow()
            self._grid.tempo(pulses.course.speed(pulses.tick))
            self._grid.restart(pulses.course.moment(pulses.tick))
        elif not others:
            self._grid.restart(pulses.told)
        self.strands = [*others, pulses]

    def leave(self, name: str) -> None:
        """Stop whoever listens on a port that is given up."""
        for pulses in self.strands:
            if pulses.port == name and pulses.counting:
                self._out.send(name, STOP)
        self.strands = [pulses for pulses in self.strands if pulses.port != name]

    # While nothing is counted

    def idle(self, bpm: float) -> None:
        """Pulses that do not count go at that tempo, in quarter notes a minute."""
        self._grid.tempo(bpm)

    def pull(self, source: Timing | Linked) -> None:
        """Bring the idle pulses nearer to those of the source that will start the beat."""
        if not self.strands:
            return  # the grid stands still
        grid = self._grid
        if isinstance(source, Linked):
            moment = source.at + (-24 * source.beat % 1) * grid.period
        elif source.message == CLOCK:
            moment = self._smoothed(source.at)
        else:
            return
        grid.pull(PULL * (moment - grid.after(moment - grid.period / 2)))

    def postpone(self, ns: int) -> None:
        """Let everything that is to come come later."""
        self._grid.postpone(ns)
        for pulses in self.strands:
            pulses.told += ns
            pulses.pulsed += ns
            pulses.clear += ns

    def wait(self, course: Course) -> int:
        """By how many ns a course has to begin later, for its first counted pulse to follow the idle ones in step."""
        if not self.strands:
            return 0
        counted = course.moment(next_sixteenth(course.tick))
        ns = round(self._grid.after(counted - 1) - counted)
        return ns if 0 < ns <= LONGEST_WAIT_NS else 0

    # Along the beat

    def start(self, beat: Beat, now: int) -> None:
        """Have slaves go along with the beat, which plays."""
        for pulses in self.strands:
            self._join(pulses, beat, now)

    def jump(self, pulses: Pulses, tick: float, moment: int) -> None:
        """Have a slave go on from `tick`, told as much before the moment as it needs."""
        self._halt(pulses, moment - pulses.early)
        pulses.go(math.ceil(tick))
        pulses.allow()

    def pulse(self, pulses: Pulses, moment: int) -> None:
        """One clock, or the word from where the next one counts."""
        if pulses.cueing and not pulses.counting:
            self._cue(pulses, moment)
            return
        if pulses.counting:
            pulses.tick += PULSE
        pulses.pulsed, pulses.clear = moment, moment + self._grid.period / 2
        self._send(pulses, CLOCK, moment)

    def end(self, pulses: Pulses, moment: int) -> None:
        """The beat ends there."""
        self._halt(pulses, moment)
        pulses.go(pulses.tick)

    def stop(self, now: int) -> None:
        """Stop the slaves at once."""
        for pulses in self.strands:
            self._halt(pulses, now + pulses.lead)
            pulses.ended = True

    def _smoothed(self, at: int) -> float:
        """When the source's pulse that came then was due."""
        source, period = self._source, self._grid.period
        if source is None or at - source.at > LOST_NS:
            source = self._source = Tracker(period)
            source.restart(0, self._grid.after(at - 1.5 * period), SETTLED)
        steps = round((at - source.at) / source.period)
        if steps > 0:
            source.feed(source.index + steps, at)
        return source.at

    def _join(self, pulses: Pulses, beat: Beat, now: int) -> None:
        beat.place(pulses, now)
        pulses.go(pulses.done)

    def _cue(self, pulses: Pulses, moment: int) -> None:
        pulses.counting = True
        if pulses.tick == 0:
            self._send(pulses, START, moment)
            return
        position = min(pulses.tick // SIXTEENTH, FARTHEST)
        self._send(pulses, bytes((SONG_POSITION, position & 127, position >> 7)), moment)
        self._send(pulses, CONTINUE, moment)

    def _halt(self, pulses: Pulses, moment: int) -> None:
        """No pulse counts from there on."""
        if not pulses.counting:
            return
        pulses.counting = False
        self._send(pulses, STOP, moment)
        if pulses.pulsed > self._grid.latest:  # else another port has come this far
            self._grid.tempo(pulses.course.speed(pulses.tick))
            self._grid.restart(pulses.pulsed)
        pulses.clear = pulses.pulsed + self._grid.period / 2

    def _send(self, pulses: Pulses, message: bytes, moment: int) -> None:
        pulses.told = max(moment, pulses.told)
        self._out.send(pulses.port, message, pulses.told)

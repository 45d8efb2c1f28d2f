"""MIDI clock for others: start, stop, continue, song position, and pulses as strands along the beat."""

from __future__ import annotations

import math

from engine.beat import Beat
from engine.outputs import Outputs
from engine.strands import PULSE, Pulses

CLOCK, START, CONTINUE, STOP, SONG_POSITION = b"\xf8", b"\xfa", b"\xfb", b"\xfc", 0xF2
FARTHEST = 0x3FFF
"""The last song position there is, in sixteenths."""


class ClockOut:
    """Sends clock to every open output, while it is `on` and the beat plays; when ports come or go, start anew."""

    def __init__(self, out: Outputs) -> None:
        self._out = out
        self.on = False
        self.strands: list[Pulses] = []  # one for each lead that ports have

    def start(self, beat: Beat, now: int) -> None:
        """Tell slaves where the next pulse counts from."""
        if not self.on or not beat.playing:
            return
        self.strands = [
            Pulses(lead) for lead in {self._out.lead_ns(n) for n in self._out.names if n}
        ]
        for pulses in self.strands:
            beat.place(pulses, now)
            self._locate(pulses, pulses.done, now + pulses.lead)

    def jump(self, pulses: Pulses, tick: float, moment: int) -> None:
        """Have slaves go on from `tick`, told as much before the moment as they need."""
        self._to_all(STOP, pulses.lead, moment - pulses.early)
        self._locate(pulses, tick, moment - pulses.early)

    def pulse(self, pulses: Pulses, moment: int) -> None:
        """One clock."""
        pulses.tick += PULSE
        self._to_all(CLOCK, pulses.lead, moment)

    def end(self, pulses: Pulses, moment: int) -> None:
        """The beat ends there."""
        self._to_all(STOP, pulses.lead, moment)

    def stop(self, now: int) -> None:
        """Stop the slaves at once."""
        for pulses in self.strands:
            if not pulses.ended:
                self._to_all(STOP, pulses.lead, now + pulses.lead)
        self.strands = []

    def leave(self, name: str) -> None:
        """Stop whoever listens on a port that is given up."""
        lead = self._out.lead_ns(name)
        if name and any(not p.ended and p.lead == lead for p in self.strands):
            self._out.send(name, STOP)

    def _locate(self, pulses: Pulses, tick: float, moment: int) -> None:
        sixteenths = pulses.go(math.ceil(tick))
        if sixteenths == 0:
            self._to_all(START, pulses.lead, moment)
        else:
            position = min(sixteenths, FARTHEST)
            place = bytes((SONG_POSITION, position & 127, position >> 7))
            self._to_all(place, pulses.lead, moment)
            self._to_all(CONTINUE, pulses.lead, moment)

    def _to_all(self, message: bytes, lead: int, moment: int) -> None:
        """To every output that wants its messages that early."""
        for name in self._out.names:
            if name and self._out.lead_ns(name) == lead:  # the built-in synth has no use for it
                self._out.send(name, message, moment)

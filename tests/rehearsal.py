"""A script for the transport played to its end on a fake clock, and what came of it."""

from __future__ import annotations

from queue import SimpleQueue
from typing import Any

import numpy as np
from fakes import EarlyPort, FakeClock, RecordingPort, RecordingPorts

from engine import schedule
from engine.playback import Anchor, Event, Load
from engine.transport import run
from models.score import NO_CONTROLS, Controls, Notes, Track
from models.timebase import PPQ

MS = 1_000_000
QUARTER = 500 * MS  # at the default tempo


def load(
    track: int,
    notes: Notes,
    port: str = "A",
    controls: Controls = NO_CONTROLS,
    offset: int = 0,
    **fields: Any,
) -> Load:
    table = schedule.compile(Track(track, "t", notes, controls, **fields))
    return Load(track, port, table, offset)


def quarters(*pitches: int, start: int = 0) -> Notes:
    return Notes.of(start + PPQ * np.arange(len(pitches)), PPQ, list(pitches))


class Played:
    """A script played to its end: what each port was sent, and what the transport told."""

    def __init__(self, *script: tuple[int, object], leads: dict[str, int] | None = None) -> None:
        self.clock = FakeClock(script)
        inbox: SimpleQueue = SimpleQueue()
        outbox: SimpleQueue = SimpleQueue()
        self.keeper = RecordingPorts(self.clock, inbox)
        for name, lead_ns in (leads or {}).items():
            self.keeper.ports[name] = EarlyPort(self.clock, lead_ns)
        run(self.clock, inbox, self.keeper, outbox)
        self.events: list[Event] = []
        while not outbox.empty():
            self.events.append(outbox.get())

    def port(self, name: str = "A") -> RecordingPort:
        return self.keeper.ports[name]

    def notes(self, name: str = "A") -> list[tuple[float, str, int]]:
        """(ms, "on" or "off", pitch) of each note message."""
        words = {0x90: "on", 0x80: "off"}
        return [
            (moment / MS, words[m[0] & 0xF0], m[1])
            for moment, m in sorted(self.port(name).sent, key=lambda sent: sent[0])
            if m[0] & 0xF0 in words
        ]

    def others(self, name: str = "A") -> list[tuple[float, bytes]]:
        return [
            (moment / MS, m)
            for moment, m in self.port(name).sent
            if m[0] & 0xF0 not in (0x80, 0x90)
        ]

    def anchors(self) -> list[Anchor]:
        return [e for e in self.events if isinstance(e, Anchor)]

"""Ableton Link: tempo, beat and start/stop shared with every other program on the network.

It needs the optional package aalink (GPL, hence never required), which is imported only when Link is asked for.
`Linker` is the door to it, a thread of the MIDI process; `LinkFollower` makes orders of what it says.
"""

from __future__ import annotations

import importlib
import math
import queue
import threading
from typing import Any, Protocol

from engine.clock import Clock
from engine.playback import Command, Event, Linked, Notice
from engine.sync import NEVER, Begin, Halt, Order, Steer
from models.timebase import PPQ

LINK = "link"

BAR_BEATS = 4
"""Link's quantum: bars of all programs begin together, and so do they."""

START_BPM = 120.0
"""The session's tempo if nobody else is there."""

POLL_SECONDS = 0.05
ECHO_NS = 300_000_000
"""What Link says of start and stop within this time after we said something ourselves may be older than that."""

MISSING = "Ableton Link needs the optional package aalink; install it with: pip install aalink"


class Link(Protocol):
    """The way to the others."""

    def want(self, on: bool) -> None:
        """Take part, or don't. Returns at once; what is heard comes as `Linked` into the transport's inbox."""

    def lead(self, *, bpm: float | None = None, playing: bool | None = None) -> None:
        """Tell the others a new tempo, start or stop. Returns at once."""


class LinkFollower:
    """Follows Link; places are ticks of its beat, which says nothing of where in the score one is."""

    in_seconds = False
    anywhere = True
    quantum = BAR_BEATS * PPQ

    def __init__(self, bpm: float) -> None:
        self._bpm = bpm
        self._last: Linked | None = None
        self._playing = False
        self._asked = -ECHO_NS

    @property
    def state(self) -> str:
        return "locked" if self._last is not None and self._last.peers else "waiting"

    @property
    def bpm(self) -> float:
        return self._bpm

    @property
    def due(self) -> int:
        return NEVER

    def hear(self, at: int, message: object) -> list[Order]:
        if not isinstance(message, Linked):
            return []
        first = self._last is None
        self._last, self._bpm = message, message.bpm
        if first:
            self._playing = message.playing
        elif message.playing != self._playing and at > self._asked + ECHO_NS:
            self._playing = message.playing
            return [self._bar(at)] if self._playing else [Halt()]
        return [Steer(message.beat * PPQ, at, message.bpm)]

    def poll(self, now: int) -> list[Order]:
        return []

    def join(self, tick: float, now: int) -> Begin | None:
        self._playing, self._asked = True, now
        return None if self._last is None else self._bar(now)

    def _bar(self, now: int) -> Begin:
        """Begin with the next bar."""
        assert self._last is not None
        per_ns = self._bpm / 60e9
        beat = self._last.beat + (now - self._last.at) * per_ns
        bar = math.ceil(beat / BAR_BEATS) * BAR_BEATS
        return Begin(bar * PPQ, now + round((bar - beat) / per_ns), self._bpm)


class Linker:
    """Takes part in Link on a thread of its own, so that nobody waits for it.

    Without aalink a Notice says what to install, and nothing else happens.
    """

    def __init__(
        self, clock: Clock, inbox: queue.SimpleQueue[Command], outbox: queue.SimpleQueue[Event]
    ) -> None:
        self._clock = clock
        self._inbox = inbox
        self._outbox = outbox
        self._asked: queue.SimpleQueue[tuple[str, float]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def want(self, on: bool) -> None:
        if on and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="link", daemon=True)
            self._thread.start()
        if self._thread is not None:
            self._asked.put(("enabled", on))

    def lead(self, *, bpm: float | None = None, playing: bool | None = None) -> None:
        if self._thread is None:
            return
        if bpm is not None:
            self._asked.put(("tempo", bpm))
        if playing is not None:
            self._asked.put(("playing", playing))

    def _run(self) -> None:
        try:
            aalink: Any = importlib.import_module("aalink")
            asyncio: Any = importlib.import_module("asyncio")  # a fifth of a second, for Link alone
        except ImportError:
            self._outbox.put(Notice(MISSING))
            self._thread = None
            return

        async def joined() -> Any:
            return aalink.Link(START_BPM)  # it wants a running loop, of which we need nothing

        link = asyncio.run(joined())
        link.quantum = BAR_BEATS
        link.start_stop_sync_enabled = True
        enabled = False
        while True:
            try:
                name, value = self._asked.get(timeout=POLL_SECONDS if enabled else None)
                setattr(link, name, bool(value) if name != "tempo" else value)
                enabled = bool(value) if name == "enabled" else enabled
            except queue.Empty:
                pass
            if enabled:
                self._inbox.put(self._read(link))

    def _read(self, link: Any) -> Linked:
        """Its beat, with the moment it was read at: the shortest reading of three, as others may run between."""
        readings = []
        for _ in range(3):
            before = self._clock.now()
            beat = float(link.beat)
            after = self._clock.now()
            readings.append((after - before, (before + after) // 2, beat))
        _, at, beat = min(readings)
        return Linked(at, beat, float(link.tempo), bool(link.playing), int(link.num_peers))

"""Small real parts for tests: a system that needs no weights, and makes notes that can be told apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from queue import SimpleQueue
from typing import Any, ClassVar

import numpy as np

from engine.clock import Message
from engine.playback import Command, PortOpened
from models.card import Card, Objective, Param, Representation, Task
from models.score import Notes, Track, UserError
from models.system import Ask, Context, Progress, Proposal
from models.timebase import SIXTEENTH


class ToySystem:
    """Fills the region with random quarter notes, `steps` times over for every candidate.

    `before(step)` is called ahead of each step, so that a test can raise, wait or watch there;
    `closed` counts generators that ended, by whatever way.
    """

    card: ClassVar[Card] = Card(
        id="toy",
        name="Toy",
        source="none",
        objective=Objective("melody", "score", "autonomous"),
        representation=Representation("none", 4, False, "none"),
        architecture="none",
        challenges=(),
        strategy=("random",),
        tasks=(Task.CREATE, Task.REGENERATE),
        params=(Param("steps", 5, 1, 1000),),
    )

    def __init__(self, before: Callable[[int], None] | None = None) -> None:
        self.before = before
        self.closed = 0

    def generate(self, ask: Ask, context: Context) -> Iterator[Proposal | Progress]:
        if ask.task not in self.card.tasks:
            raise UserError(f"Toy cannot {ask.task}; ask it to create or regenerate.")
        region, length = ask.region, 4 * SIXTEENTH
        ids = sorted(region.tracks) or [ask.score.next_track_id]
        names = {t.id: t.name for t in ask.score.tracks}
        steps = self.card.values(ask.params)["steps"]
        assert isinstance(steps, int)
        try:
            for step in range(steps):
                if self.before is not None:
                    self.before(step)
                yield Progress(step / steps)
                for candidate in range(ask.count):
                    onset = np.arange(region.start, region.end - length + 1, length)
                    pitches = [context.rng.integers(60, 72, len(onset)) for _ in ids]
                    tracks = tuple(
                        Track(i, names.get(i, "Toy"), Notes.of(onset, length, p))
                        for i, p in zip(ids, pitches, strict=True)
                    )
                    yield Proposal(candidate, region, tracks, final=step == steps - 1)
        finally:
            self.closed += 1

    def train(self, corpus: Any, context: Context) -> Iterator[Mapping[str, float]]:
        raise UserError("Toy has nothing to learn.")

    def evaluate(self, data: Any, context: Context) -> Mapping[str, float]:
        raise UserError("Toy has nothing to measure.")


class FakeClock:
    """Time that passes only while somebody waits, with a script of (moment in ns, message) to deliver."""

    def __init__(self, script: Iterable[tuple[int, Any]] = ()) -> None:
        self.script = sorted(script, key=lambda step: step[0])
        self.time = 0

    def now(self) -> int:
        return self.time

    def wait(self, inbox: SimpleQueue[Message], until: int | None) -> Message | None:
        if not inbox.empty():
            return inbox.get_nowait()
        if self.script and (until is None or self.script[0][0] <= max(until, self.time)):
            moment, message = self.script.pop(0)
            self.time = max(self.time, moment)
            return message
        if until is None:
            raise AssertionError("the script ended without Quit")
        self.time = max(self.time, until)
        return None


class RecordingPort:
    """Remembers what it is sent as (moment, message); raises OSError while `broken`."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.sent: list[tuple[int, bytes]] = []
        self.broken = False

    def send(self, message: bytes) -> None:
        if self.broken:
            raise OSError("unplugged")
        self.sent.append((self.clock.now(), message))


class EarlyPort(RecordingPort):
    """Wants messages `lead_ns` before their moments, as JACK does; `sent` says when they sound.

    `handed` has (moment of the call, moment meant) of each.
    """

    def __init__(self, clock: FakeClock, lead_ns: int) -> None:
        super().__init__(clock)
        self.lead_ns = lead_ns
        self.handed: list[tuple[int, int]] = []
        self._last: dict[tuple[int, ...], int] = {}  # of each key and control

    def send_at(self, message: bytes, moment: int) -> None:
        if self.broken:
            raise OSError("unplugged")
        now = self.clock.now()
        self.handed.append((now, moment))
        kind = 0x80 if message[0] & 0xE0 == 0x80 else message[0]
        what = (kind, message[0] & 0x0F, *message[1:2]) if message[0] < 0xF0 else (0xF0,)
        self._last[what] = max(now, moment, self._last.get(what, 0))
        self.sent.append((self._last[what], message))

    def send(self, message: bytes) -> None:
        self.send_at(message, self.clock.now())


class RecordingPorts:
    """Opens a RecordingPort for every name it is asked for, at once, unless the name is in `missing`."""

    def __init__(self, clock: FakeClock, inbox: SimpleQueue[Command]) -> None:
        self.clock = clock
        self.inbox = inbox
        self.ports: dict[str, RecordingPort] = {}
        self.open: frozenset[str] = frozenset()
        self.missing: set[str] = set()

    def want(self, names: frozenset[str]) -> None:
        for name in sorted(names - self.open - self.missing):
            port = self.ports.setdefault(name, RecordingPort(self.clock))
            self.inbox.put(PortOpened(name, port))
        self.open = names

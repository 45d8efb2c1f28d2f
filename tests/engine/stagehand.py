"""A stage for tests: the real loops of transport and performance, each in its thread, in one made-up time.

Only one thread runs at any moment, and time passes only when all of them wait, so everything is deterministic.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable, Iterator, Mapping
from queue import SimpleQueue
from typing import Any, ClassVar

import numpy as np
from fakes import RecordingPorts

from engine import stage, transport
from engine.messages import (
    Cancel,
    Failed,
    Finished,
    Generate,
    Inbound,
    Outbound,
    Proposed,
    Started,
)
from engine.playback import Anchor, Command, Event, Loop, Played, Quit, Tempo
from engine.staging import Mode, Scene, Setting, View
from models.card import Card, Objective, Param, Representation, Task
from models.score import Notes, Track, UserError
from models.system import Ask, Context, Progress, Proposal
from models.timebase import PPQ, SIXTEENTH

SECOND = 1_000_000_000
BEAT = SECOND // 2
"""Nanoseconds of a quarter at 120."""


class _Clock:
    """Time as one thread sees it: to wait is to let the others run."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.inbox: SimpleQueue[Any] = SimpleQueue()
        self.until: int | None = None
        self.parked = False
        self.ended = False
        self.resume = threading.Semaphore(0)

    def now(self) -> int:
        return self._world.time

    def wait(self, inbox: SimpleQueue[Any], until: int | None) -> Any:
        if not inbox.empty():
            return inbox.get_nowait()
        if until is not None and until <= self._world.time:
            return None
        self.inbox, self.until, self.parked = inbox, until, True
        self._world.baton.release()
        self.resume.acquire()
        self.parked = False
        return None if inbox.empty() else inbox.get_nowait()

    @property
    def ready(self) -> bool:
        return not self.ended and (
            not self.inbox.empty() or (self.until is not None and self.until <= self._world.time)
        )


class World:
    """Transport, performance, an engine that takes `seconds(ask)` for each answer, and what came of it all.

    `sent` is every message that left, with its moment; `views` what was to be seen; `anchors` where the playhead was.
    """

    def __init__(
        self,
        systems: Mapping[str, Any],
        seconds: Callable[[Ask], float] = lambda ask: 0.05,
        seed: int = 0,
    ) -> None:
        self.time = SECOND
        self.baton = threading.Semaphore(0)
        self.systems, self.seconds = systems, seconds
        self.views: list[View] = []
        self.told: list[Command] = []
        self.anchors: list[Anchor] = []
        self.asked: list[Ask] = []
        self._count = itertools.count()
        self._script: list[tuple[int, int, Callable[[], None]]] = []
        self._transport_in: SimpleQueue[Command] = SimpleQueue()
        self._stage_in: SimpleQueue[stage.Message] = SimpleQueue()
        self._outbox: SimpleQueue[Event] = SimpleQueue()
        self._jobs: list[Generate] = []
        self._faults: list[BaseException] = []
        self.clocks = [_Clock(self), _Clock(self)]
        self.ports = RecordingPorts(self.clocks[0], self._transport_in)  # type: ignore[arg-type]
        core = stage.Core(
            self._send,
            self.views.append,
            self._put,
            seed=seed,
            card=lambda name: systems[name].card,
        )
        bodies = (
            lambda: transport.run(self.clocks[0], self._transport_in, self.ports, self._outbox),
            lambda: stage.run(self.clocks[1], self._stage_in, core),
        )
        self._threads = [
            threading.Thread(target=self._body, args=(body, clock), daemon=True)
            for body, clock in zip(bodies, self.clocks, strict=True)
        ]
        for thread in self._threads:
            thread.start()
            self.baton.acquire()

    def _body(self, body: Callable[[], None], clock: _Clock) -> None:
        try:
            body()
        except BaseException as error:
            self._faults.append(error)
        clock.ended = True
        self.baton.release()

    # --- what happens ------------------------------------------------------------------------------

    def at(self, beat: float, action: Callable[[], None]) -> None:
        """Have it happen so many beats (at 120) after the beginning of the world."""
        heapq.heappush(self._script, (SECOND + round(beat * BEAT), next(self._count), action))

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        heapq.heappush(
            self._script, (self.time + round(seconds * SECOND), next(self._count), action)
        )

    def stage(self, message: stage.Message) -> None:
        """Tell the performance something."""
        self._stage_in.put(message)

    def transport(self, command: Command) -> None:
        """Tell the transport something, as the window does."""
        self._transport_in.put(command)

    def scene(self, scene: Scene) -> None:
        """Another document, as the window tells it."""
        self.transport(Tempo(scene.score.tempo))
        if scene.loop is not None:
            self.transport(Loop(scene.loop.start, scene.loop.end))
        self.stage(scene)

    def play(self, beat: float, pitch: int, beats: float, velocity: int = 80) -> None:
        """A key that is struck at a beat of the world and held."""

        def message(*data: int) -> Callable[[], None]:
            return lambda: self.stage(Played(self.time, bytes(data), "keys"))

        self.at(beat, message(0x90, pitch, velocity))
        self.at(beat + beats, message(0x80, pitch, 0))

    def run(self, beats: float) -> None:
        """Let the world go on until so many beats after its beginning."""
        end = SECOND + round(beats * BEAT)
        while True:
            while not self._outbox.empty():
                event = self._outbox.get_nowait()
                if isinstance(event, Anchor):
                    self.anchors.append(event)
                    self._stage_in.put(event)
            ready = next((c for c in self.clocks if c.ready), None)
            if ready is not None:
                ready.resume.release()
                self.baton.acquire()
                if self._faults:
                    raise self._faults[0]
                continue
            moments = [c.until for c in self.clocks if c.until is not None and not c.ended]
            moments += [self._script[0][0]] if self._script else []
            moment = min(moments, default=end + 1)
            if moment > end:
                self.time = end
                return
            self.time = max(self.time, moment)
            if self._script and self._script[0][0] <= self.time:
                heapq.heappop(self._script)[2]()

    def close(self) -> None:
        """End it; then every key must have been let go."""
        self._stage_in.put(stage.Quit())
        self.run((self.time - SECOND) / BEAT)
        self._transport_in.put(Quit())
        self.run((self.time - SECOND) / BEAT)
        for thread in self._threads:
            thread.join(5)

    # --- the engine --------------------------------------------------------------------------------

    def _put(self, message: Inbound) -> None:
        match message:
            case Generate():
                self.asked.append(message.ask)
                self._jobs.append(message)
                if len(self._jobs) == 1:
                    self._begin()
            case Cancel(request):
                found = next((j for j in self._jobs if j.request == request), None)
                if found is not None:
                    head = found is self._jobs[0]
                    self._jobs.remove(found)
                    self._answer(Finished(request, cancelled=True))
                    if head and self._jobs:
                        self._begin()

    def _begin(self) -> None:
        job = self._jobs[0]
        self._answer(Started(job.request, "CPU"))
        self.later(self.seconds(job.ask), lambda: self._end(job))

    def _end(self, job: Generate) -> None:
        if not self._jobs or self._jobs[0] is not job:
            return
        try:
            context = Context(np.random.default_rng(job.ask.seed))
            for step in self.systems[job.system].generate(job.ask, context):
                if isinstance(step, Proposal):
                    self._answer(Proposed(job.request, step))
            self._answer(Finished(job.request))
        except UserError as error:
            self._answer(Failed(job.request, str(error)))
        self._jobs.remove(job)
        if self._jobs:
            self._begin()

    def _answer(self, message: Outbound) -> None:
        self._stage_in.put(message)

    def _send(self, command: Command) -> None:
        self.told.append(command)
        self._transport_in.put(command)

    # --- what came of it ---------------------------------------------------------------------------

    def notes(self, port: str = "") -> list[tuple[float, int, float]]:
        """(beat at which it began, pitch, beats it lasted) of every note that left, from the first anchor on."""
        start = next((a.at for a in self.anchors if a.playing), 0)
        on: dict[int, int] = {}
        found: list[tuple[float, int, float]] = []
        for at, message in self.ports.ports[port].sent if port in self.ports.ports else []:
            if message[0] & 0xF0 == 0x90 and message[2]:
                assert message[1] not in on, "a key is struck twice"
                on[message[1]] = at
            elif message[0] & 0xF0 in (0x80, 0x90) and message[1] in on:
                began = on.pop(message[1])
                found.append(((began - start) / BEAT, message[1], (at - began) / BEAT))
        assert not on, f"keys hang: {on}"
        return sorted((round(b, 6), p, round(d, 6)) for b, p, d in found)

    @property
    def view(self) -> View:
        return self.views[-1]


class Counting:
    """A system whose every request has a pitch of its own: quarters of 60, 61, 62 … from the first on.

    What it writes for `accompany` are triads under the melody's last note, in each beat.
    """

    card: ClassVar[Card] = Card(
        id="counting",
        name="Counting",
        source="none",
        objective=Objective("melody", "score", "autonomous"),
        representation=Representation("none", 4, False, "none"),
        architecture="none",
        challenges=(),
        strategy=("none",),
        tasks=(Task.CONTINUE, Task.ACCOMPANY, Task.REGENERATE),
        params=(Param("temperature", 1.0, 0, 2),),
        voices=("melody",),
    )

    def __init__(self) -> None:
        self.calls: list[Ask] = []

    def generate(self, ask: Ask, context: Context) -> Iterator[Proposal | Progress]:
        self.calls.append(ask)
        region = ask.region
        yield Progress(0.0)
        if ask.task is Task.ACCOMPANY:
            sung = ask.score.track(ask.melody or 0).notes
            now = sung.where(sung.sounding(region.start, region.end))
            if not len(now):
                raise UserError("Nothing sounds there.")
            low = int(now.pitch[-1])
            onset = np.repeat(np.arange(region.start, region.end, PPQ), 3)
            pitch = np.tile([low - 12, low - 8, low - 5], len(onset) // 3)
            notes = Notes.of(onset, np.minimum(PPQ, region.end - onset), pitch)
            yield Proposal(0, region, (Track(7, "Chords", notes),), final=True)
            return
        if ask.task is Task.REGENERATE:
            tracks = []
            for track in ask.score.tracks:
                if track.id in region.tracks:
                    old = track.notes.where(region.owned(track))
                    tracks.append(track.with_notes(old.with_(pitch=old.pitch.astype(int) + 1)))
            yield Proposal(0, region, tuple(tracks), final=True)
            return
        track = next(t for t in ask.score.tracks if t.id in region.tracks)
        onset = np.arange(region.start, region.end, PPQ)
        notes = Notes.of(onset, PPQ - SIXTEENTH, 60 + (len(self.calls) - 1) % 24)
        yield Proposal(0, region, (track.with_notes(notes),), final=True)


def setting(mode: Mode, **more: Any) -> Setting:
    """A setting of the counting system."""
    return Setting(mode, "counting", **more)


__all__ = ["BEAT", "SECOND", "Counting", "World", "setting"]

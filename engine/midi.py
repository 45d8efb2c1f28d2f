"""Playing music from a process of its own: `MidiLink` starts it, speaks to it and is told what happens.

Why a process: a Python thread shares the interpreter with painting and sampling, and was late by up to
77 ms; alone it is late by a fraction of a millisecond. What goes through the pipe is flat bytes (tables of
messages) or a few numbers. Only threads beside the real-time loop touch the pipe.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from engine import schedule, transport
from engine.clock import SystemClock, real_time
from engine.inputs import Waiting
from engine.link import Linker
from engine.playback import (
    Anchor,
    Command,
    Ended,
    Event,
    Follow,
    Listen,
    Load,
    Loop,
    Notice,
    Panic,
    Play,
    Played,
    PortBack,
    PortLost,
    Quit,
    Ready,
    Request,
    SendClock,
    Show,
    Tempo,
    Thru,
    Unload,
)
from engine.ports import VIRTUAL, Keeper, list_ports
from engine.schedule import Table
from models.score import Score, Track, UserError
from models.timebase import TempoMap

__all__ = ["MidiLink", "list_ports", "play"]

SWITCH_SECONDS = 0.0001
"""How long a helping thread may keep the interpreter from the real-time loop (Python's own: 5 ms)."""

ORPHAN_SECONDS = 0.5
"""How often the process looks whether its parent still lives, should the pipe not say so."""

CLOSE_SECONDS = 2.0
RESTART_SECONDS = 2.0
"""A process that ended sooner than this after its start is not started again."""


# --- in the process ------------------------------------------------------------------------------


def serve(pipe: Connection, parent: int, again: bool) -> None:
    """The process: the transport on the main thread, helpers for the pipe and the ports around it.

    `again`: in place of one that died, whose notes are ended first.

    Ends, and ends all notes, on Quit, on SIGTERM, when the pipe closes or the process `parent` dies.
    """
    inbox: queue.SimpleQueue[Command] = queue.SimpleQueue()
    outbox: queue.SimpleQueue[Event] = queue.SimpleQueue()
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C goes to the whole group; the parent decides
    signal.signal(signal.SIGTERM, lambda *_: inbox.put(Quit()))
    sys.setswitchinterval(SWITCH_SECONDS)
    # Before the threads start, so that they have it too: one that held the interpreter while the system
    # runs something else instead would hold up the loop.
    priority = real_time()
    clock = SystemClock()
    keeper = Keeper(clock, inbox, outbox, again=again)
    receiver = threading.Thread(
        target=_receive, args=(pipe, parent, inbox, keeper), name="receiver", daemon=True
    )
    sender = threading.Thread(
        target=_send, args=(pipe, outbox, keeper.hearing.waiting), name="sender", daemon=True
    )
    for thread in (keeper, receiver, sender):
        thread.start()
    gc.collect()
    gc.freeze()
    gc.disable()  # nothing in the loop makes cycles
    outbox.put(Ready(os.getpid(), priority))
    try:
        transport.run(clock, inbox, keeper, outbox, Linker(clock, inbox, outbox))
    finally:
        keeper.close()
        outbox.put(Ended())
        sender.join(1.0)
    # Not by way of the interpreter's end: there, the ports of a JACK server that died wait a second each.
    os._exit(0)


def _receive(
    pipe: Connection, parent: int, inbox: queue.SimpleQueue[Command], keeper: Keeper
) -> None:
    """Bring what comes through the pipe into the inbox; Quit when nobody is left at its other end."""
    try:
        while True:
            while not pipe.poll(ORPHAN_SECONDS):
                # A process forked from the parent may hold the pipe open after the parent was killed.
                if sys.platform != "win32" and os.getppid() != parent:
                    raise EOFError
            message = pipe.recv()
            if isinstance(message, tuple):
                track, port, offset = message
                message = Load(track, port, Table.frombytes(pipe.recv_bytes()), offset)
            match message:
                case Listen(names):
                    keeper.listen(names)
                    continue
                case Thru():
                    keeper.thru(message)
                    continue
                case Follow(source):
                    keeper.follow(source)
                case Panic():
                    keeper.hearing.panic()
            inbox.put(message)
    except (EOFError, OSError):
        inbox.put(Quit())


def _send(pipe: Connection, outbox: queue.SimpleQueue[Event], waiting: Waiting) -> None:
    while not isinstance(event := outbox.get(), Ended):
        try:
            pipe.send(waiting.get() if isinstance(event, Played) else event)
        except OSError:
            return  # the parent has gone; the receiver sees that too


# --- in the program ------------------------------------------------------------------------------


class MidiLink:
    """The program's end: `send` takes commands from any thread and returns at once.

    `emit(event)` is called on a thread of the link's own, with Anchor, PortNames, PortLost and so on. A
    process that dies is started again, unless it had only just begun, and told the score, the loop and the
    clock anew; `emit` gets Ended.
    """

    def __init__(self, emit: Callable[[Event], None]) -> None:
        """Start the process; this takes a few milliseconds, the process is up half a second later."""
        self._emit = emit
        self._commands: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._newest: Score | None = None  # of the scores asked for; those in between are skipped
        self._state: dict[type, Request] = {}  # what a new process must be told
        self._closing = False
        self._lock = threading.Lock()
        self._process, self._pipe = self._start()
        self._writer = threading.Thread(target=self._write, name="midi writer", daemon=True)
        self._reader = threading.Thread(target=self._read, name="midi reader", daemon=True)
        self._writer.start()
        self._reader.start()

    def send(self, command: Request) -> None:
        """Have the transport obey."""
        if isinstance(command, Show):
            self._newest = command.score
        self._commands.put(command)

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """End all notes and the process. Waits at most three times `seconds`, when it is stuck."""
        if self._closing:
            return
        self._closing = True
        self._commands.put(Quit())
        self._commands.put(None)
        self._reader.join(seconds)
        self._process.join(0 if self._reader.is_alive() else seconds)
        if self._process.is_alive():
            self._process.terminate()  # it ends its notes on that, too
            self._process.join(seconds)
        if self._process.is_alive():
            # Stuck in a driver, as in a JACK server that answers no more; Python would wait for it
            # at exit, without end.
            self._process.kill()

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid or 0

    @staticmethod
    def _start(*, again: bool = False) -> tuple[BaseProcess, Connection]:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(
            target=serve, args=(theirs, os.getpid(), again), name="ricercar-midi", daemon=True
        )
        process.start()
        theirs.close()
        return process, ours

    def _write(self) -> None:
        shown = _Shown()
        pipe = None
        while (command := self._commands.get()) is not None:
            with self._lock:
                if pipe is not self._pipe:
                    pipe, shown = self._pipe, _Shown()
            if isinstance(command, (Loop, SendClock, Listen, Thru, Follow)):
                self._state[type(command)] = command
            try:
                if not isinstance(command, Show):
                    _put(pipe, command)
                elif self._newest is not None:
                    for part in shown.changes(self._newest):
                        _put(pipe, part)
            except OSError:
                continue  # the process has died; the reader sees to it

    def _read(self) -> None:
        begun = time.monotonic()
        while True:
            try:
                self._emit(self._pipe.recv())
                continue
            except (EOFError, OSError):
                self._process.join(1.0)
            if self._closing:
                return
            again = time.monotonic() - begun > RESTART_SECONDS
            if again:
                begun = time.monotonic()
                with self._lock:
                    self._process, self._pipe = self._start(again=True)
                for command in list(self._state.values()):
                    self._commands.put(command)
                if self._newest is not None:
                    self._commands.put(Show(self._newest))
            self._emit(Ended(again))
            if not again:
                return


def _put(pipe: Connection, command: Request) -> None:
    if isinstance(command, Load):
        pipe.send((command.track, command.port, command.offset))
        pipe.send_bytes(command.table.tobytes())
    else:
        pipe.send(command)


class _Shown:
    """What the transport has been told of a score."""

    def __init__(self) -> None:
        self._tracks: dict[int, tuple[Track, bool]] = {}
        self._tempo: TempoMap | None = None

    def changes(self, score: Score) -> list[Command]:
        """The commands that bring the transport from the last score to this one."""
        found: list[Command] = []
        if score.tempo is not self._tempo:
            self._tempo = score.tempo
            found.append(Tempo(score.tempo))
        heard = schedule.audible(score)
        for gone in self._tracks.keys() - {track.id for track in score.tracks}:
            del self._tracks[gone]
            found.append(Unload(gone))
        for track in score.tracks:
            now = (track, track.id in heard)
            before = self._tracks.get(track.id)
            if before is None or before[0] is not track or before[1] != now[1]:
                self._tracks[track.id] = now
                table = schedule.compile(track, audible=now[1])
                found.append(Load(track.id, track.port, table, track.offset))
        return found


def play(
    score: Score,
    *,
    port: str | None = None,
    virtual: str | None = None,
    clock: bool = False,
    loop: tuple[int, int] | None = None,
) -> None:
    """Play a score to its end, or round and round the ticks of `loop`, until done or interrupted.

    On the output named `port`, on a virtual one named `virtual`, or where each track says. Raises
    UserError when an output is not there; KeyboardInterrupt after all notes have been ended.
    """
    if virtual is not None and sys.platform == "win32":
        raise UserError(
            "--virtual: Windows has no virtual MIDI ports; install loopMIDI and use --port."
        )
    name = f"{VIRTUAL}{virtual}" if virtual is not None else port
    if name is not None:
        score = replace(score, tracks=tuple(replace(t, port=name) for t in score.tracks))
    heard = schedule.audible(score)
    wanted = {t.port for t in score.tracks if t.id in heard}
    if not score.length:
        raise UserError("There is nothing to play: the score has no notes.")
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    link = MidiLink(events.put)
    try:
        link.send(Show(score))
        while wanted:
            match events.get():
                case PortBack(opened):
                    wanted.discard(opened)
                case Notice(sentence):
                    print(sentence, file=sys.stderr)
                case PortLost(lost):
                    there = ", ".join(list_ports()["outputs"]) or "none"
                    raise UserError(
                        f"There is no MIDI output {lost.removeprefix(VIRTUAL)!r}; there are: {there}."
                    )
                case Ended():
                    raise UserError("The MIDI process ended unexpectedly; try again.")
        if clock:
            link.send(SendClock(True))
        if loop is not None:
            link.send(Loop(*loop))
        link.send(Play(loop[0] if loop is not None else 0, score.length))
        _until_stopped(events)
    finally:
        with contextlib.suppress(KeyboardInterrupt):
            link.close()


def _until_stopped(events: queue.SimpleQueue[Event]) -> None:
    """Return when playing has begun and ended."""
    begun = False
    while True:
        match events.get():
            case Notice(sentence):
                print(sentence, file=sys.stderr)
            case Anchor(playing=playing):
                if begun and not playing:
                    return
                begun = begun or playing
            case Ended():
                raise UserError("The MIDI process ended unexpectedly; try again.")

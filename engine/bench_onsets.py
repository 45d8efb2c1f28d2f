"""A ruler for players: gear on JACK that says to the frame when each message came, and what that says of a player.

`Receiver` is a MIDI input in a process of its own. JACK tells it the frame at which a message stands in its
period; when the period began is told afterwards from when JACK called (`engine.periods`), for JACK's own map of time
lags for seconds once its driver has stalled. The measured part is then plain arithmetic: `measure`, `added`.
"""

from __future__ import annotations

import gc
import importlib
import multiprocessing
import time
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from engine.periods import anchors
from models.score import UserError

READY_SECONDS = 30.0
STALL_NS = 100_000
"""JACK's driver stood still if its periods are later than they would have been by more."""

Arrival = tuple[int, bytes]
"""When a message came, in nanoseconds of engine.clock, and the message."""
Strike = tuple[int, int, int]
"""What tells a note from the others of a piece made for measuring: channel, pitch, velocity."""
Stall = tuple[float, float]
"""From when to when JACK's driver stood still, because the machine did: nothing could come then."""
Nanoseconds = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Onsets:
    """How a player played a piece: `errors` is how far each onset that came was from where it belonged, in
    nanoseconds and regardless of sign, and `own` the same without what it was late because JACK stood still;
    `lost` counts note-ons and note-offs that never came, `extra` those that came though the piece has none
    such left."""

    errors: Nanoseconds
    own: Nanoseconds
    lost: int
    extra: int = 0


def measure(
    piece: Sequence[tuple[int, bytes]], arrivals: Iterable[Arrival], stalls: Sequence[Stall] = ()
) -> Onsets:
    """Compare what came with the piece, given as (nanoseconds from its beginning, message).

    Every note of the piece must have a channel, pitch and velocity of its own, so that a lost one puts no
    other in its place. One constant is taken off a whole run, the median difference, for a constant latency
    is no error: a player that is late by the same amount throughout is exact. What is left is jitter and drift.
    """
    due = {strike: at for at, message in piece if (strike := struck(message))}
    came: dict[Strike, int] = {}
    extra = 0
    released: Counter[tuple[int, int]] = Counter()
    for at, message in arrivals:
        if strike := struck(message):
            if strike in due and strike not in came:
                came[strike] = at
            else:
                extra += 1
        elif key := lifted(message):
            released[key] += 1
    differences = np.array([at - due[strike] for strike, at in came.items()], np.int64)
    offs = differences - np.median(differences) if len(differences) else differences
    errors = np.abs(offs)
    came_at = np.array(list(came.values()), np.int64)
    own = errors.astype(np.float64)
    for begun, ended in stalls:
        waited = np.minimum(came_at, ended) - np.maximum(came_at - offs, begun)
        own -= np.clip(waited, 0, None)
    releases = Counter(key for _, message in piece if (key := lifted(message)))
    return Onsets(
        errors.astype(np.int64),
        own.clip(0).astype(np.int64),
        len(due) - len(came) + (releases - released).total(),
        extra + (released - releases).total(),
    )


def struck(message: bytes) -> Strike | None:
    """The note a message strikes, if any."""
    if len(message) == 3 and message[0] & 0xF0 == 0x90 and message[2]:
        return message[0] & 0x0F, message[1], message[2]
    return None


def lifted(message: bytes) -> tuple[int, int] | None:
    """The channel and pitch of the note a message ends, if any: a note-off, or a note-on of velocity 0."""
    if len(message) == 3 and message[0] & 0xE0 == 0x80 and struck(message) is None:
        return message[0] & 0x0F, message[1]
    return None


def added(direct: Iterable[Arrival], roundabout: Iterable[Arrival]) -> tuple[Nanoseconds, int]:
    """How much later each message came by the second way than by the first, and how many came by the first
    only. Equal messages are taken in the order in which they came."""
    first: dict[bytes, list[int]] = defaultdict(list)
    second: dict[bytes, list[int]] = defaultdict(list)
    for at, message in direct:
        first[message].append(at)
    for at, message in roundabout:
        second[message].append(at)
    later = [
        b - a
        for message, moments in first.items()
        for a, b in zip(moments, second[message], strict=False)
    ]
    missing = sum(max(len(m) - len(second[message]), 0) for message, m in first.items())
    return np.array(later, np.int64), missing


def percentiles(name: str, nanoseconds: Nanoseconds) -> dict[str, float]:
    """NAME_p50_ms, NAME_p99_ms and NAME_max_ms; not a number where nothing was measured."""
    if not len(nanoseconds):
        return {f"{name}_{which}_ms": float("nan") for which in ("p50", "p99", "max")}
    p50, p99, most = np.percentile(nanoseconds, [50, 99, 100]) / 1e6
    return {f"{name}_p50_ms": p50, f"{name}_p99_ms": p99, f"{name}_max_ms": most}


def jack_client(name: str) -> Any:
    """A client of the running JACK server; UserError when the package for it is missing."""
    try:
        return importlib.import_module("jack").Client(name, no_start_server=True)
    except (ImportError, OSError) as error:
        raise UserError(
            "JACK-Client is not there to measure with; install it (pip install JACK-Client)."
        ) from error


class Receiver:
    """MIDI inputs named "NAME:PORT" that remember to the frame what comes. For a `with` statement."""

    def __init__(self, name: str, ports: Sequence[str] = ("in",)) -> None:
        context = multiprocessing.get_context("spawn")
        self.stalls: list[Stall] = []
        """When JACK's driver stood still, in the time that the last `collect` was about."""
        self._ports = list(ports)
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_receive, args=(theirs, name, self._ports), name="bench receiver", daemon=True
        )
        self._process.start()
        theirs.close()

    def __enter__(self) -> Self:
        """Returns once the ports are there. UserError when they can't be."""
        try:
            if not self._pipe.poll(READY_SECONDS) or (answer := self._pipe.recv()) == "":
                raise EOFError
        except EOFError:
            self.close()
            raise UserError("The measuring gear did not start; is JACK running?") from None
        if answer != "ready":
            self.close()
            raise UserError(answer)
        return self

    def collect(self) -> dict[str, list[Arrival]]:
        """What has come since the last time, by port, in order."""
        self._pipe.send("collect")
        stamps, messages, ports, self.stalls = self._pipe.recv()
        found: dict[str, list[Arrival]] = {port: [] for port in self._ports}
        for at, message, port in zip(stamps, messages, ports, strict=True):
            found[self._ports[port]].append((at, message))
        return found

    def arrivals(self) -> list[Arrival]:
        """What has come at the first port since the last time."""
        return self.collect()[self._ports[0]]

    def close(self) -> None:
        """Unplug it."""
        self._pipe.close()
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close()


def _receive(pipe: Connection, name: str, names: Sequence[str]) -> None:
    """The receiver's process. Answers "ready" (or a sentence), then each "collect", until the pipe closes."""
    try:
        client = jack_client(name)
    except UserError as error:
        pipe.send(str(error))
        return
    ports = [client.midi_inports.register(port) for port in names]
    frame_ns = 1e9 / client.samplerate
    calls, frames = array("q"), array("q")
    got: list[
        tuple[int, int, bytes, int]
    ] = []  # its period's first frame, its frame in it, message, port

    def process(_frames: int) -> None:
        calls.append(time.perf_counter_ns())
        frames.append(first := client.last_frame_time)
        for number, port in enumerate(ports):
            for offset, data in port.incoming_midi_events():
                got.append((first, offset, bytes(data), number))

    client.set_process_callback(process)
    gc.collect()
    gc.freeze()
    gc.disable()  # it would stop the callback for milliseconds, and nothing here makes cycles
    client.activate()
    pipe.send("ready")
    try:
        while True:
            pipe.recv()
            taken, periods = len(got), len(frames)
            firsts = np.array(frames[:periods])
            began = anchors(firsts, calls[:periods], frame_ns)
            period = np.searchsorted(firsts, [first for first, *_ in got[:taken]])
            into = np.array([offset for _, offset, *_ in got[:taken]]) * frame_ns
            stamps = np.rint(began[period] + into).astype(np.int64).tolist()
            stood = np.diff(began - firsts * frame_ns)
            stalls = [
                (began[i + 1] - stood[i], began[i + 1]) for i in np.flatnonzero(stood > STALL_NS)
            ]
            pipe.send(
                (stamps, [m for *_, m, _ in got[:taken]], [p for *_, p in got[:taken]], stalls)
            )
            # The callback goes on adding at their ends meanwhile.
            del calls[:periods], frames[:periods]
            del got[:taken]
    except (EOFError, OSError):
        pass
    finally:
        client.deactivate()
        client.close()

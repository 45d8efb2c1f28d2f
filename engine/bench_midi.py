"""`ricercar bench midi`: how late 10,000 MIDI messages are, while nothing else happens and while DeepBach samples.

The whole way is real: the MIDI process of the program, python-rtmidi, a JACK server (dummy driver, 64 frames
at 48 kHz) and a receiver in a process of its own. `idle_…` and `load_…` are how late the transport was when
it had handed a message over, against the moment it was due; `received_…` is when the message stood in the
receiver's JACK period (JACK moves MIDI once a period of 1.33 ms, so that is 0–1.33 ms more by design).
`timer_…` is what the machine allows at best: a process of the same priority that does nothing but wait for
moments, measured in turn. `stolen_percent` is the processor time a host machine took from this one meanwhile.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import time
from array import array
from collections import defaultdict
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from queue import Empty, SimpleQueue

import numpy as np
import numpy.typing as npt

from engine import jackd, schedule
from engine.clock import SystemClock, real_time
from engine.messages import Failed, Finished, Generate, Outbound, Proposed
from engine.midi import MidiLink
from engine.playback import Anchor, Event, Lateness, Play, PortBack, Report, Show
from engine.worker import Engine
from models import catalogue
from models.card import Task
from models.score import Notes, Region, Score, Track, UserError
from models.system import Ask
from models.timebase import PPQ

EVENTS = 10_000
SECONDS = 20
VOICES = 4
GEAR = "Ricercar bench gear"
PERIOD = 64
BARS = 64
"""Of the chorales asked of DeepBach meanwhile, eight candidates at once."""
TAIL_SECONDS = 0.5
PATIENCE_SECONDS = 120.0

Nanoseconds = npt.NDArray[np.int64]


def run() -> dict[str, float]:
    """The figures: milliseconds, but for the counts of lost messages and of proposals, percents of processor time,
    and the load average before (what else the machine was busy with). UserError when JACK is not there."""
    load_before = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    with jackd.dummy_server(f"ricercar-bench-{os.getpid()}", PERIOD, patient=True):
        before = _ticks()
        timer_idle = _timer()
        idle, received_idle, lost_idle = _play()
        between = _ticks()
        busy = _Busy()
        try:
            busy.begin()
            timer_load = _timer()
            load, received_load, lost_load = _play()
        finally:
            busy.close()
        after = _ticks()
    return {
        **_percentiles("idle", idle),
        **_percentiles("load", load),
        "lost_events": float(lost_idle + lost_load),
        **_percentiles("received_idle", received_idle),
        **_percentiles("received_load", received_load),
        **_percentiles("timer_idle", timer_idle),
        **_percentiles("timer_load", timer_load),
        "stolen_idle_percent": _stolen(before, between),
        "stolen_load_percent": _stolen(between, after),
        "jack_period_ms": PERIOD / 48,
        "proposals_during_load": float(busy.proposals),
        "loadavg_before": load_before,
    }


def _ticks() -> list[int]:
    """Processor time spent so far in each way the system tells apart; empty where it does not."""
    try:
        return [int(t) for t in Path("/proc/stat").read_text().split("\n")[0].split()[1:]]
    except OSError:
        return []


def _stolen(before: list[int], after: list[int]) -> float:
    if len(before) < 8:
        return 0.0
    spent = [b - a for a, b in zip(before, after, strict=True)]
    return 100 * spent[7] / max(sum(spent[:8]), 1)


def _timer() -> Nanoseconds:
    """How late a process is that only waits for moments."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_wait_for_moments, args=(theirs,), daemon=True)
    process.start()
    late = np.frombuffer(ours.recv_bytes(), np.int64)
    process.join()
    return late


def _wait_for_moments(pipe: Connection) -> None:
    real_time()
    clock = SystemClock()
    nothing: SimpleQueue[None] = SimpleQueue()
    late = array("q")
    begun = clock.now()
    for i in range(EVENTS // 4):
        moment = begun + i * SECONDS * 1_000_000_000 // EVENTS
        clock.wait(nothing, moment)
        late.append(clock.now() - moment)
    pipe.send_bytes(late.tobytes())


def _percentiles(name: str, nanoseconds: Nanoseconds) -> dict[str, float]:
    p50, p99, most = np.percentile(nanoseconds, [50, 99, 100]) / 1e6
    return {f"{name}_p50_ms": p50, f"{name}_p99_ms": p99, f"{name}_max_ms": most}


def _piece() -> Score:
    """Four voices, each note somewhere in its own slot of time: deadlines fall anywhere."""
    rng = np.random.default_rng(1)
    count = EVENTS // 2 // VOICES
    slot = 2 * PPQ * SECONDS // count  # 120 quarter notes a minute
    tracks = []
    for voice in range(VOICES):
        onset = np.arange(count) * slot + rng.integers(0, slot // 2, count)
        duration = rng.integers(slot // 8, slot // 2, count)
        notes = Notes.of(onset, duration, rng.integers(36, 96, count))
        tracks.append(Track(voice, f"Voice {voice + 1}", notes, channel=voice, port=GEAR))
    return Score(tuple(tracks))


def _play() -> tuple[Nanoseconds, Nanoseconds, int]:
    """Play the piece: lateness sent and received, messages lost."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    receiver = context.Process(target=_receive, args=(theirs,), daemon=True)
    receiver.start()
    theirs.close()
    events: SimpleQueue[Event] = SimpleQueue()
    link = MidiLink(events.put)
    score = _piece()
    try:
        link.send(Show(score))
        _until(events, lambda e: isinstance(e, PortBack))
        link.send(Play(0, score.length + PPQ))
        anchor = _until(events, lambda e: isinstance(e, Anchor) and e.playing)
        _until(events, lambda e: isinstance(e, Anchor) and not e.playing)
        link.send(Report())
        report = _until(events, lambda e: isinstance(e, Lateness))
        time.sleep(TAIL_SECONDS)
        ours.send(None)
        received = ours.recv()
    finally:
        link.close()
        ours.close()
        receiver.join(5)
    assert isinstance(anchor, Anchor)
    assert isinstance(report, Lateness)
    late, lost = _against(score, anchor, received)
    return np.frombuffer(report.nanoseconds, np.int64), late, lost


def _until(events: SimpleQueue[Event], wanted: Callable[[Event], bool]) -> Event:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            if wanted(event := events.get(timeout=1.0)):
                return event
        except Empty:
            continue
    raise UserError("The MIDI process does not answer; try again when the machine is less busy.")


def _against(
    score: Score, anchor: Anchor, received: list[tuple[int, bytes]]
) -> tuple[Nanoseconds, int]:
    """How late each note message was that arrived, and how many did not."""
    arrivals: dict[bytes, list[int]] = defaultdict(list)
    for at, message in received:
        arrivals[message[:2]].append(at)
    late: list[int] = []
    lost = 0
    due: dict[bytes, list[int]] = defaultdict(list)
    for track in score.tracks:
        table = schedule.compile(track)
        for row in range(len(table)):
            message = table.bytes_at(row)
            if message[0] & 0xE0 == 0x80:
                due[message[:2]].append(anchor.moment(score.tempo, int(table.tick[row])))
    for key, moments in due.items():
        lost += max(len(moments) - len(arrivals[key]), 0)
        late += [a - m for a, m in zip(arrivals[key], moments, strict=False)]
    return np.array(late, np.int64), lost


def _receive(pipe: Connection) -> None:
    """The receiver: JACK's own time stamps of all that arrives, once it is asked for them."""
    stamps: list[tuple[int, float, bytes]] = []
    gear = jackd.Gear(GEAR, lambda at, since, message: stamps.append((at, since, message)))
    try:
        pipe.recv()
    except EOFError:  # the other end gave up
        return
    finally:
        gear.close()
    # rtmidi tells how long after the last message each came, by JACK's clock in JACK's thread; our own clock is
    # read later, in Python. The earliest of our readings places the first.
    elapsed = np.cumsum([0.0, *(since for _, since, _ in stamps[1:])]) * 1e9
    called = np.array([at for at, _, _ in stamps])
    moments = (elapsed + (called - elapsed).min()).astype(np.int64)
    pipe.send([(int(m), s[2]) for m, s in zip(moments, stamps, strict=True)])


class _Busy:
    """DeepBach sampling on the engine thread of this process, as in the program, over and over."""

    def __init__(self) -> None:
        self.proposals = 0
        self._answers: SimpleQueue[Outbound] = SimpleQueue()
        self._numbers = itertools.count()
        self._closing = False
        self._engine = Engine(self._heard)

    def begin(self) -> None:
        """Start, and return once it samples."""
        self._engine.start()
        self._ask()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            try:
                answer = self._answers.get(timeout=1.0)
            except Empty:
                continue
            if isinstance(answer, Failed):
                raise UserError(answer.sentence)
            if isinstance(answer, Proposed):
                return
        raise UserError("DeepBach gave no answer in two minutes.")

    def _ask(self) -> None:
        number = next(self._numbers)
        card = catalogue.card("deep_bach")
        region = Region(0, BARS * 4 * PPQ)
        ask = Ask(Task.CREATE, Score(), region, card.values({}), seed=number, count=8)
        self._engine.inbox.put(Generate(number, "deep_bach", ask))

    def _heard(self, answer: Outbound) -> None:
        self._answers.put(answer)
        self.proposals += isinstance(answer, Proposed)
        if isinstance(answer, Finished) and not self._closing:
            self._ask()

    def close(self) -> None:
        """Stop at the next chance."""
        self._closing = True
        self._engine.close(10.0)

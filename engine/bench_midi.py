"""`ricercar bench midi`: how well our MIDI process keeps time, beside others that play the same file.

The whole way is real: the MIDI process of the program, a JACK server (dummy driver, 64 frames at 48 kHz) and a
receiver in a process of its own that knows to the frame when each message came (`engine.bench_onsets`).

- `PLAYER_CASE_onset_…` and `PLAYER_CASE_lost`: a file of 2,000 notes, played by us, by mido's `MidiFile.play`, by
  isobar's timeline and by FluidSynth's player (`engine.bench_peers`), in turn, three times. The error of an onset is
  its distance from where the file has it, one constant per run (the median) taken off: a constant latency is no
  error. Of the three runs the median of each figure; lost notes of all.
- `PLAYER_CASE_own_…`: the same errors without what a note was late because JACK's driver stood still, as it does when
  the machine does (also while nobody plays; for `PLAYER_CASE_jack_stood_ms` in those runs): what the player did.
  CASE is `idle`; `busy`, with one process that spins; `busy_equal`, the same with the peers started at the
  priority that our process asks for, where by themselves they ask for none.
- `thru_added_…` and `thru_busy_added_…`: what going through our process adds to a message (`engine.bench_thru`).
- `idle_…` and `load_…`: how much too late the transport handed over each of 10,000 messages for its frame, while
  nothing else happens and while DeepBach samples; `received_…`: how long after its moment it stood in the receiver's
  period, by JACK's clock.
- `timer_…`: what the machine allows at best: a process of the same priority that does nothing but wait for moments,
  measured in turn. `stolen_percent`: the processor time a host machine took from this one meanwhile.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import tempfile
import time
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from multiprocessing.connection import Connection
from pathlib import Path
from queue import Empty, SimpleQueue

import numpy as np

from engine import bench_onsets, bench_peers, bench_thru, jackd, schedule
from engine.bench_onsets import Arrival, Nanoseconds, percentiles
from engine.bench_peers import until
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
FILE_NOTES = 2000
FILE_SECONDS = 10.5
VOICES = 4
GEAR = "Ricercar bench gear"
SERVER = "ricercar-bench"
"""Always the same: JACK keeps eight places for servers, and a killed one's only for its own name."""
PERIOD = 64
ROUNDS = 3
BARS = 64
"""Of the chorales asked of DeepBach meanwhile, eight candidates at once."""
TAIL_SECONDS = 0.5
PATIENCE_SECONDS = 120.0


def run() -> dict[str, float]:
    """The figures: milliseconds, but for the counts of lost messages and of proposals, percents of processor time,
    and the load average before (what else the machine was busy with). UserError when JACK or a peer is not there."""
    bench_peers.check()
    load_before = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    with jackd.dummy_server(SERVER, PERIOD, patient=True):
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
        players = peers()
        thru = bench_thru.measure("thru")
        with spinning():
            thru |= bench_thru.measure("thru_busy")
    return {
        **percentiles("idle", idle),
        **percentiles("load", load),
        "lost_events": float(lost_idle + lost_load),
        **players,
        **thru,
        **percentiles("received_idle", received_idle),
        **percentiles("received_load", received_load),
        **percentiles("timer_idle", timer_idle),
        **percentiles("timer_load", timer_load),
        "stolen_idle_percent": _stolen(before, between),
        "stolen_load_percent": _stolen(between, after),
        "jack_period_ms": PERIOD / 48,
        "proposals_during_load": float(busy.proposals),
        "loadavg_before": load_before,
    }


CASES: dict[str, tuple[bool, bool]] = {
    "idle": (False, False),
    "busy": (True, False),
    "busy_equal": (True, True),
}
"""In which cases players are compared: whether a process spins, and whether the peers get our priority."""


def peers(
    notes: int = FILE_NOTES,
    seconds: float = FILE_SECONDS,
    cases: Iterable[str] = tuple(CASES),
    rounds: int = ROUNDS,
) -> dict[str, float]:
    """What each player makes of one file: see PLAYER_CASE_… above. The JACK server runs."""
    score = bench_peers.piece(notes, seconds, GEAR)
    messages = bench_peers.messages(score)
    errors: dict[str, list[dict[str, float]]] = defaultdict(list)
    counts: dict[str, float] = defaultdict(float)
    with tempfile.TemporaryDirectory() as folder, bench_onsets.Receiver(GEAR) as receiver:
        path = Path(folder) / "piece.mid"
        bench_peers.write_file(score, path)
        for _, case in itertools.product(range(rounds), cases):
            busy, ahead = CASES[case]
            with spinning() if busy else nullcontext():
                # With our priority only the peers are another case.
                for player in bench_peers.PEERS if ahead else ("ours", *bench_peers.PEERS):
                    receiver.collect()
                    if player == "ours":
                        bench_peers.play_ours(score)
                    else:
                        bench_peers.play_peer(player, path, GEAR, ahead=ahead)
                    found = bench_onsets.measure(messages, receiver.arrivals(), receiver.stalls)
                    name = f"{player}_{case}"
                    errors[name].append(
                        percentiles(f"{name}_onset", found.errors)
                        | percentiles(f"{name}_own", found.own)
                    )
                    counts[f"{name}_lost"] += found.lost
                    counts[f"{name}_jack_stood_ms"] += sum(b - a for a, b in receiver.stalls) / 1e6
    medians = {
        key: float(np.median([found[key] for found in played]))
        for played in errors.values()
        for key in played[0]
    }
    return medians | counts


@contextmanager
def spinning() -> Iterator[None]:
    """Keep one core busy meanwhile."""
    process = multiprocessing.get_context("spawn").Process(target=_spin, daemon=True)
    process.start()
    try:
        time.sleep(TAIL_SECONDS)
        yield
    finally:
        process.kill()
        process.join()


def _spin() -> None:
    while True:
        pass


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
    events: SimpleQueue[Event] = SimpleQueue()
    score = _piece()
    link = MidiLink(events.put)
    try:
        with bench_onsets.Receiver(GEAR) as receiver:
            link.send(Show(score))
            until(events, lambda e: isinstance(e, PortBack))
            link.send(Play(0, score.length + PPQ))
            anchor = until(events, lambda e: isinstance(e, Anchor) and e.playing)
            until(events, lambda e: isinstance(e, Anchor) and not e.playing)
            link.send(Report())
            report = until(events, lambda e: isinstance(e, Lateness))
            time.sleep(TAIL_SECONDS)
            received = receiver.arrivals()
    finally:
        link.close()
    assert isinstance(anchor, Anchor)
    assert isinstance(report, Lateness)
    late, lost = _against(score, anchor, received)
    return np.frombuffer(report.nanoseconds, np.int64), late, lost


def _against(score: Score, anchor: Anchor, received: Sequence[Arrival]) -> tuple[Nanoseconds, int]:
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

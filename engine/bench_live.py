"""`ricercar bench live`: a performance over JACK, with a model that is quick enough and with one that is not.

The whole way is real: the stage and its engine in this process, the MIDI process of the program, a JACK server
(dummy driver) and gear of its own. First a Markov chain streams, and a Launchpad LSTM answers phrases; then the same
stream with a chain that is slowed down to three seconds of computing a bar, where a bar lasts two. Both parts together
take about two minutes; RICERCAR_LIVE_SECONDS changes the length of each stream.

- `late_events`: messages that left more than 5 ms after their moment, as the transport reports; `late_max_ms` the worst.
- `fallback_bars`: bars played by rule in the quick part, `slow_fallback_bars` in the slow one (it must be used there).
- `lost_notes`, `hanging_notes`: of the notes that were made, those that the gear did not get; keys down at the end.
- `beat_drift_ms`: how much later against the beat the last ten notes of a stream came than its first ten.
  `silent_bars`: bars of both streams in which nothing sounds; the rules leave none, whatever the model does.
- `first_answer_ms`: from the pad to the first note of the answer, which waits for a beat that is half a beat away, at
  120 beats a minute: 250 to 750 ms when the system is quick enough.
- `model_bar_ms` and `slow_model_bar_ms`: how long a request took the system, at the median.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np

from engine import jackd
from engine.bench_onsets import Arrival, Receiver, lifted, struck
from engine.bench_peers import until
from engine.midi import MidiLink
from engine.playback import Anchor, Event, Lateness, Load, Played, PortBack, Report
from engine.schedule import NOTHING
from engine.stage import Stage
from engine.staging import LIVE, Mode, Quantum, Setting, View
from models import catalogue
from models.card import Card
from models.score import Track, UserError
from models.system import Ask, Context, Progress, Proposal, System
from models.timebase import PPQ, TempoMap

SECONDS = 40.0
SECONDS_VARIABLE = "RICERCAR_LIVE_SECONDS"
GEAR = "Ricercar live gear"
SERVER = "ricercar-live"
"""Always the same, as in `bench_midi`."""
PERIOD = 256
SLOW_SECONDS = 3.0
ANSWERS = 3
LATE_NS = 5_000_000
PATIENCE_SECONDS = 60.0
TAIL_SECONDS = 0.5
EDGE = 10
BAR = 4 * PPQ
BEAT_SECONDS = 0.5


def run() -> dict[str, float]:
    """The figures; see above. UserError when there is no JACK, or the variable is no number."""
    words = os.environ.get(SECONDS_VARIABLE, str(SECONDS))
    try:
        seconds = float(words)
    except ValueError:
        raise UserError(f"{SECONDS_VARIABLE}={words}: write a number of seconds.") from None
    with jackd.dummy_server(SERVER, PERIOD, patient=True):
        quick = perform(seconds, 0.0, answers=ANSWERS)
        slow = perform(seconds, SLOW_SECONDS)
    both = np.concatenate([quick.late, slow.late])
    return {
        "late_events": float((both > LATE_NS).sum()),
        "late_max_ms": float(both.max(initial=0)) / 1e6,
        "events": float(len(both)),
        "fallback_bars": float(quick.fallbacks),
        "slow_fallback_bars": float(slow.fallbacks),
        "lost_notes": float(quick.lost + slow.lost),
        "hanging_notes": float(quick.hanging + slow.hanging),
        "beat_drift_ms": max(quick.drift_ms, slow.drift_ms, key=abs),
        "silent_bars": float(quick.silent + slow.silent),
        "first_answer_ms": float(np.median(quick.answers_ms)) if quick.answers_ms else float("nan"),
        "model_bar_ms": quick.model_ms,
        "slow_model_bar_ms": slow.model_ms,
    }


@dataclass
class Heard:
    """What came of one performance: lateness of each message in nanoseconds, and what run() says of the rest."""

    late: Any
    fallbacks: int = 0
    lost: int = 0
    hanging: int = 0
    drift_ms: float = 0.0
    silent: int = 0
    model_ms: float = 0.0
    answers_ms: list[float] = field(default_factory=list)


class Slowed:
    """A system that computes for so many seconds more for every bar, in Python, as a slow model would."""

    def __init__(self, system: System, seconds: float, took: list[float]) -> None:
        self._system, self._seconds, self._took = system, seconds, took

    @property
    def card(self) -> Card:
        return self._system.card

    def generate(self, ask: Ask, context: Context) -> Iterator[Proposal | Progress]:
        began = time.perf_counter()
        region = ask.region
        bars = (region.end - region.start) / BAR
        while time.perf_counter() < began + self._seconds * bars:
            sum(range(1000))
        steps = list(self._system.generate(ask, context))
        self._took.append((time.perf_counter() - began) / max(bars, 1e-9))
        yield from steps

    def train(self, corpus: Any, context: Context) -> Iterator[Mapping[str, float]]:
        return self._system.train(corpus, context)

    def evaluate(self, data: Any, context: Context) -> Mapping[str, float]:
        return self._system.evaluate(data, context)


class Performance:
    """A stage, a MIDI process and gear, wired as in the program."""

    def __init__(self, seconds_a_bar: float) -> None:
        self.took: list[float] = []
        self.views: SimpleQueue[View] = SimpleQueue()
        self.events: SimpleQueue[Event] = SimpleQueue()
        self.anchor = Anchor()
        self.view = View()
        self.link = MidiLink(self._told)

        def load(system: str, device: str) -> System:
            slowed: Any = Slowed(catalogue.load(system, None, device), seconds_a_bar, self.took)
            found: System = slowed
            return found

        self.stage = Stage(self.link.send, self.views.put, load=load, seed=1)
        self.stage.start()

    def _told(self, event: Event) -> None:
        if isinstance(event, Anchor):
            self.stage.anchored(event)
            if event.playing:
                self.anchor = event
        self.events.put(event)

    def until(self, wanted: Callable[[View], bool], what: str) -> View:
        """Wait for a view; UserError when it does not come."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not wanted(self.view):
            try:
                self.view = self.views.get(timeout=1.0)
            except Empty:
                if time.monotonic() > deadline:
                    raise UserError(f"The performance does not get to {what}.") from None
        return self.view

    def wait(self, seconds: float) -> None:
        """Let it play."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                self.view = self.views.get(timeout=left)
            except Empty:
                return

    def close(self) -> None:
        """End it all."""
        self.stage.close()
        self.link.close()


def perform(seconds: float, seconds_a_bar: float, *, answers: int = 0) -> Heard:
    """Stream for so long with a system slowed so much, then answer some phrases. JACK must run."""
    with Receiver(GEAR) as gear:
        stage = Performance(seconds_a_bar)
        try:
            parts = (Track(LIVE, "Live", port=GEAR),)
            stage.link.send(Load(LIVE, GEAR, NOTHING))
            until(stage.events, lambda e: isinstance(e, PortBack))
            stage.stage.set(Setting(Mode.STREAM, "markov", parts=parts, bars=2))
            stage.until(lambda v: v.system != "" and v.state == "ready", "being ready")
            stage.stage.go()
            stage.until(lambda v: v.state in ("playing", "falling back"), "playing")
            stage.wait(seconds)
            stage.stage.halt()
            view = stage.until(lambda v: not v.running, "its end")
            time.sleep(TAIL_SECONDS)
            heard = _compare(view.take[0], stage.anchor, gear.arrivals())
            heard.fallbacks = view.late
            heard.model_ms = 1e3 * float(np.median(stage.took)) if stage.took else float("nan")
            if answers:
                _answer(stage, gear, heard, parts, answers)
            stage.link.send(Report())
            report = until(stage.events, lambda e: isinstance(e, Lateness))
            assert isinstance(report, Lateness)
            heard.late = np.frombuffer(report.nanoseconds, np.int64)
        finally:
            stage.close()
    return heard


def _compare(take: Track, anchor: Anchor, arrivals: list[Arrival]) -> Heard:
    """What the gear got against what was made; the take's ticks are the transport's, from tick 0 on."""
    tempo = TempoMap()
    due: dict[int, list[int]] = {}
    for onset, pitch in zip(take.notes.onset.tolist(), take.notes.pitch.tolist(), strict=True):
        due.setdefault(pitch, []).append(anchor.moment(tempo, onset))
    came: dict[int, list[int]] = {}
    for at, message in arrivals:
        if strike := struck(message):
            came.setdefault(strike[1], []).append(at)
    lost = 0
    differences: list[tuple[int, int]] = []
    for pitch, moments in due.items():
        got = came.get(pitch, [])
        lost += max(len(moments) - len(got), 0)
        differences += [(m, a - m) for m, a in zip(moments, got, strict=False)]
    late = np.array([d for _, d in sorted(differences)])
    drift = float(np.median(late[-EDGE:]) - np.median(late[:EDGE])) / 1e6 if len(late) else 0.0
    notes = take.notes
    bars = range(0, notes.length // BAR * BAR, BAR) if len(notes) else range(0)
    silent = sum(not notes.sounding(at, at + BAR).any() for at in bars)
    return Heard(np.zeros(0, np.int64), 0, lost, _hanging(arrivals), drift, silent)


def _hanging(arrivals: list[Arrival]) -> int:
    """How many keys are down after all these messages."""
    sounding: Counter[tuple[int, int]] = Counter()
    for _, message in arrivals:
        if strike := struck(message):
            sounding[strike[:2]] = 1
        elif key := lifted(message):
            sounding[key] = 0
    return sounding.total()


def _answer(
    stage: Performance, gear: Receiver, heard: Heard, parts: tuple[Track, ...], count: int
) -> None:
    """Play phrases of four notes, press the pad, and see when the first note of the answer comes."""
    setting = Setting(Mode.ANSWER, "launchpad_lstm", parts=parts, bars=1, quantum=Quantum.BEAT)
    stage.stage.set(setting)
    stage.until(lambda v: v.mode is Mode.ANSWER and v.state == "ready", "being ready to answer")
    stage.stage.go()
    for _ in range(count):
        stage.until(lambda v: v.running and v.state == "ready", "listening")
        for pitch in (60, 62, 64, 67):
            stage.stage.heard(_key(0x90, pitch))
            stage.wait(0.9 * BEAT_SECONDS)
            stage.stage.heard(_key(0x80, pitch))
            stage.wait(0.1 * BEAT_SECONDS)
        gear.arrivals()
        asked = time.perf_counter_ns()
        stage.stage.pad()
        stage.until(lambda v: v.state in ("answering", "falling back"), "its answer")
        stage.until(lambda v: v.state == "ready", "handing back")
        arrivals = gear.arrivals()
        first = next((at for at, message in arrivals if struck(message)), None)
        if first is not None:
            heard.answers_ms.append((first - asked) / 1e6)
        heard.fallbacks += stage.view.late
        heard.hanging += _hanging(arrivals)
    stage.stage.halt()
    stage.until(lambda v: not v.running, "its end")


def _key(status: int, pitch: int) -> Played:
    return Played(time.perf_counter_ns(), bytes((status, pitch, 80)), "bench")

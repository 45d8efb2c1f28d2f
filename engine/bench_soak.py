"""`ricercar bench soak`: a performance of minutes or hours with everything happening to it, and what is left of it.

A stage streams with changing systems and settings over JACK (dummy driver) while the document is edited once a
second, MIDI clock goes out, the playhead loops and jumps, tempo changes, gear and a keyboard are plugged and
unplugged, keys are auditioned, and panic is pressed. It lasts 5 minutes, or RICERCAR_SOAK_MINUTES.

- `hanging_notes`: keys that sound at the end, after *stop*; `note_ons` and `note_offs` are those that began and ended
  a note at the two pieces of gear that stay, `retriggered` those struck while they sounded.
- `memory_growth_percent`: of the resident memory from a fifth of the time to the end, the greater of the MIDI process
  and the process that streams; what is mapped from files or shared with JACK is left out, as it would hide a leak.
  Before the first minute systems are still being loaded.
- `late_events`: messages that left more than 5 ms after their moment. `lost_clocks`: of the MIDI clocks and starts and
  stops, those that only one of the two pieces of gear got.
- `fallback_bars`: bars the system was too late for. `faults`: performances and processes that ended by themselves.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from queue import Empty, SimpleQueue

import numpy as np
import rtmidi

from engine import edits, jackd
from engine.bench_onsets import Arrival, Receiver, lifted, struck
from engine.bench_peers import until
from engine.document import Document
from engine.midi import MidiLink
from engine.playback import (
    Anchor,
    Ended,
    Event,
    Lateness,
    Listen,
    Live,
    Loop,
    Panic,
    Play,
    Played,
    PortBack,
    Report,
    Route,
    Seek,
    SendClock,
    Show,
    Stop,
    Thru,
)
from engine.stage import Stage
from engine.staging import LIVE, Mode, Scene, Setting, View
from models.score import Notes, Region, Score, Track, UserError
from models.timebase import PPQ, TempoMap

MINUTES = 5.0
MINUTES_VARIABLE = "RICERCAR_SOAK_MINUTES"
SERVER, PERIOD = "ricercar-soak", 256
STREAMED, WRITTEN, PLUGGED = "Ricercar soak stream", "Ricercar soak score", "Ricercar soak plug"
KEYBOARD = "Ricercar soak keyboard"
SYSTEMS = ("markov", "launchpad_lstm")
BAR = 4 * PPQ
BARS = 16
LATE_NS = 5_000_000
REPORT_SECONDS = 5
TAIL_SECONDS = 2.0
STEP_NS = 10_000
"""How finely latenesses are counted, and that up to …"""
STEPS = 10_000


def run() -> dict[str, float]:
    """The figures; see above. UserError when there is no JACK, or the variable is no number."""
    words = os.environ.get(MINUTES_VARIABLE, str(MINUTES))
    try:
        minutes = float(words)
    except ValueError:
        raise UserError(f"{MINUTES_VARIABLE}={words}: write a number of minutes.") from None
    with jackd.dummy_server(SERVER, PERIOD, patient=True):
        return soak(60 * minutes)


@dataclass
class Sounding:
    """What a piece of gear got, counted: note-ons, the note-offs that ended a note, notes struck while they sounded,
    and messages of time. `keys` are those that sound."""

    ons: int = 0
    offs: int = 0
    again: int = 0
    clocks: int = 0
    keys: set[tuple[int, int]] = field(default_factory=set)

    def add(self, arrivals: Iterable[Arrival]) -> None:
        """Count these, in order."""
        for _, message in arrivals:
            if strike := struck(message):
                key = strike[:2]
                self.ons += 1
                self.again += key in self.keys
                self.keys.add(key)
            elif (released := lifted(message)) and released in self.keys:
                self.offs += 1
                self.keys.remove(released)
            elif message[0] in (0xF8, 0xFA, 0xFB, 0xFC):
                self.clocks += 1


class Latenesses:
    """How late messages were, counted in steps of 10 µs, so that an hour takes no more memory than a minute."""

    def __init__(self) -> None:
        self._counts = np.zeros(STEPS + 1, np.int64)
        self.late = 0
        self.most_ns = 0

    def add(self, report: bytes) -> None:
        """Count a Lateness's nanoseconds."""
        found = np.frombuffer(report, np.int64)
        if len(found):
            self._counts += np.bincount(np.clip(found // STEP_NS, 0, STEPS), minlength=STEPS + 1)
            self.late += int((found > LATE_NS).sum())
            self.most_ns = max(self.most_ns, int(found.max()))

    @property
    def count(self) -> int:
        """How many messages there were."""
        return int(self._counts.sum())

    def percentile_ms(self, percent: float) -> float:
        """Within so many milliseconds so many percent of the messages had left."""
        below = np.searchsorted(np.cumsum(self._counts), percent / 100 * self.count)
        return float(below + 1) * STEP_NS / 1e6


def growth_percent(before: float, after: float) -> float:
    """By how many percent a process has grown."""
    return 100 * (after - before) / before


def resident_mb(pid: int) -> float:
    """The resident memory of a process in millions of bytes, without what it shares with files and JACK."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    words = next(line for line in lines if line.startswith("RssAnon:")).split()
    return int(words[1]) * 1024 / 1e6


def soak(seconds: float, seed: int = 1) -> dict[str, float]:
    """The figures of a performance of that length on the JACK server that runs."""
    with Receiver(STREAMED) as streamed, Receiver(WRITTEN) as written:
        show = _Show(seed)
        try:
            return _perform(show, seconds, streamed, written)
        finally:
            show.close()


def _perform(
    show: _Show, seconds: float, streamed: Receiver, written: Receiver
) -> dict[str, float]:
    gear = {streamed: Sounding(), written: Sounding()}
    late = Latenesses()
    processes = {"midi": show.link.pid, "stream": os.getpid()}
    early: dict[str, list[float]] = {name: [] for name in processes}
    latest: dict[str, list[float]] = {name: [] for name in processes}

    def look(done: float) -> None:
        for receiver, sounding in gear.items():
            sounding.add(receiver.arrivals())
        show.link.send(Report())
        for name, pid in processes.items():
            if 0.15 <= done <= 0.25:
                early[name].append(resident_mb(pid))
            elif done >= 0.9:
                latest[name].append(resident_mb(pid))

    show.begin()
    begun = time.monotonic()
    for second in itertools.count(1):
        show.wait(begun + second, late)
        done = second / seconds
        if second % REPORT_SECONDS == 0 or done >= 1:
            look(done)
        if done >= 1:
            break
        show.act(second)
    show.end(late)
    for receiver, sounding in gear.items():
        sounding.add(receiver.arrivals())
    growths = {
        name: growth_percent(float(np.median(early[name])), float(np.median(latest[name])))
        for name in processes
    }
    both = list(gear.values())
    return {
        "soak_minutes": seconds / 60,
        "note_ons": float(sum(s.ons for s in both)),
        "note_offs": float(sum(s.offs for s in both)),
        "hanging_notes": float(sum(len(s.keys) for s in both)),
        "retriggered": float(sum(s.again for s in both)),
        "events": float(late.count),
        "late_events": float(late.late),
        "late_p50_ms": late.percentile_ms(50),
        "late_p99_ms": late.percentile_ms(99),
        "late_max_ms": late.most_ns / 1e6,
        "clocks": float(both[0].clocks),
        "lost_clocks": float(abs(both[0].clocks - both[1].clocks)),
        "memory_growth_percent": max(growths.values()),
        "midi_memory_growth_percent": growths["midi"],
        "midi_memory_mb": latest["midi"][-1],
        "stream_memory_growth_percent": growths["stream"],
        "stream_memory_mb": latest["stream"][-1],
        "fallback_bars": float(show.missed),
        "faults": float(show.faults),
        **{f"times_{name}": float(n) for name, n in sorted(show.acts.items())},
    }


class _Show:
    """The performance, and all that is done to it. `acts` counts what was done."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._events: SimpleQueue[Event] = SimpleQueue()
        self._views: SimpleQueue[View] = SimpleQueue()
        self._view = View()
        self._document = Document(_piece())
        self._loop: Region | None = None
        self._clock, self._resting = True, False
        self._plugged: Receiver | None = None
        self._keyboard: _Keyboard | None = None
        self._setting = Setting(
            Mode.STREAM,
            SYSTEMS[0],
            parts=(Track(LIVE, "Stream", Notes.of([], [], []), port=STREAMED),),
        )
        self.acts: Counter[str] = Counter()
        self.faults = self.missed = 0
        self.link = MidiLink(self._events.put)
        self._stage = Stage(self.link.send, self._views.put, seed=seed)

    def begin(self) -> None:
        """Start everything; returns when the stage plays."""
        self.link.send(Listen((f"{KEYBOARD}:out",)))
        self.link.send(Thru((Route("", WRITTEN, channel=8),)))
        self._tell()
        for port in (STREAMED, WRITTEN):
            self.link.send(Live(port, bytes((0xB0, 1, 0))))
        waiting = {PortBack(STREAMED), PortBack(WRITTEN)}
        while waiting:
            waiting.discard(until(self._events, lambda e: e in waiting))
        self.link.send(SendClock(True))  # both get the same pulses, which are compared at the end
        self._stage.start()
        self._stage.set(self._setting)
        self._stage.go()
        self.link.send(Play(0))

    def wait(self, until_second: float, late: Latenesses) -> None:
        """Pass on what the MIDI process tells until then."""
        while (left := until_second - time.monotonic()) > 0:
            with contextlib.suppress(Empty):
                self._hear(self._events.get(timeout=left), late)
        while not self._views.empty():
            view = self._views.get()
            self.missed += max(view.late - self._view.late, 0)
            if self._view.running and not view.running:
                self.faults += 1
                self._stage.go()
            self._view = view

    def _hear(self, event: Event, late: Latenesses) -> None:
        match event:
            case Anchor():
                self._stage.anchored(event)
            case Played():
                self._stage.heard(event)
            case Lateness(report):
                late.add(report)
            case Ended():
                self.faults += 1
                self._stage.restarted()

    def act(self, second: int) -> None:
        """Do what this second brings; what was stopped the second before plays on."""
        if self._resting:
            self._resting = False
            self.link.send(Play(int(self._rng.integers(BARS)) * BAR))
        for every, name in ACTS:
            if second % every == 0:
                self.acts[name] += 1
                getattr(self, f"_{name}")()

    def end(self, late: Latenesses) -> None:
        """Stop; returns when all has left."""
        self._views = SimpleQueue()  # that it runs no more is no fault
        self._stage.halt()
        self._unplug_keyboard()
        self.link.send(Stop())
        self.link.send(Report())
        self.wait(time.monotonic() + TAIL_SECONDS, late)

    def close(self) -> None:
        """Let go of everything."""
        self._stage.close()
        self._unplug_keyboard()
        if self._plugged is not None:
            self._plugged.close()
        self.link.close()

    # What is done

    def _edit(self) -> None:
        score, rng = self._document.score, self._rng
        ids = np.concatenate([t.notes.id for t in score.tracks])
        chosen = rng.choice(ids, min(len(ids), 8), replace=False)
        if len(ids) > 300:
            self._document.commit("Delete", edits.delete(score, chosen))
        elif rng.random() < 0.3:
            new = Notes.of(
                rng.integers(0, (BARS - 1) * BAR, 8),
                rng.integers(PPQ // 8, 2 * PPQ, 8),
                rng.integers(40, 80, 8),
            )
            self._document.commit("Add", edits.add(score, int(rng.integers(3)), new))
        else:
            ticks, semitones = int(rng.integers(-PPQ, PPQ)), int(rng.integers(-3, 4))
            self._document.commit("Move", edits.move(score, chosen, ticks, semitones))
        self._tell()

    def _undo(self) -> None:
        self._document.undo()
        self._tell()

    def _tempo(self) -> None:
        tempo = TempoMap.constant(float(self._rng.integers(60, 180)))
        self._document.commit("Tempo", replace(self._document.score, tempo=tempo))
        self._tell()

    def _audition(self) -> None:
        pitch = int(self._rng.integers(40, 80))
        self.link.send(Live(WRITTEN, bytes((0x97, pitch, 80)), float(self._rng.random())))

    def _loops(self) -> None:
        first = int(self._rng.integers(BARS - 2))
        self._loop = None if self._loop else Region(first * BAR, (first + 2) * BAR)
        self.link.send(Loop(self._loop.start, self._loop.end) if self._loop else Loop())
        self._stage.scene(Scene(self._document.score, self._loop))

    def _seek(self) -> None:
        self.link.send(Seek(int(self._rng.integers(BARS * BAR))))

    def _stop(self) -> None:
        self.link.send(Stop())
        self._resting = True

    def _clock_switch(self) -> None:
        self._clock = not self._clock
        self.link.send(SendClock(self._clock))

    def _panic(self) -> None:
        self.link.send(Panic())

    def _setting_change(self) -> None:
        self._setting = replace(
            self._setting,
            density=float(self._rng.integers(-2, 3)),
            register=int(self._rng.integers(-1, 2)),
            bars=int(self._rng.integers(1, 6)),
        )
        self._stage.set(self._setting)

    def _system_change(self) -> None:
        other = SYSTEMS[(SYSTEMS.index(self._setting.system) + 1) % len(SYSTEMS)]
        self._setting = replace(self._setting, system=other)
        self._stage.set(self._setting)

    def _gear(self) -> None:
        if self._plugged is None:
            self._plugged = Receiver(PLUGGED).__enter__()
        else:
            self._plugged.close()
            self._plugged = None

    def _keys(self) -> None:
        if self._keyboard is None:
            self._keyboard = _Keyboard(int(self._rng.integers(1 << 31)))
        else:
            self._unplug_keyboard()

    def _unplug_keyboard(self) -> None:
        if self._keyboard is not None:
            self._keyboard.close()
            self._keyboard = None

    def _tell(self) -> None:
        self.link.send(Show(self._document.score))
        self._stage.scene(Scene(self._document.score, self._loop))


ACTS = (
    (1, "edit"),
    (1, "audition"),
    (3, "undo"),
    (7, "seek"),
    (9, "system_change"),
    (11, "loops"),
    (13, "setting_change"),
    (17, "gear"),
    (19, "keys"),
    (23, "stop"),
    (29, "tempo"),
    (37, "clock_switch"),
    (41, "panic"),
)
"""Every so many seconds, what is done."""


def _piece() -> Score:
    """Three tracks of sixteen bars, on gear that stays and on gear that does not."""
    rng = np.random.default_rng(4)
    tracks = []
    for number, port in enumerate((WRITTEN, WRITTEN, PLUGGED)):
        onset = np.arange(0, BARS * BAR, PPQ // 2)
        notes = Notes.of(
            onset, rng.integers(PPQ // 8, PPQ, len(onset)), rng.integers(40, 80, len(onset))
        )
        tracks.append(Track(number, f"Track {number + 1}", notes, channel=number, port=port))
    return Score(tuple(tracks))


class _Keyboard:
    """A MIDI keyboard in a process of its own that plays until it is unplugged, in the middle of a note."""

    def __init__(self, seed: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_play_keys, args=(theirs, seed), daemon=True)
        self._process.start()
        theirs.close()

    def close(self) -> None:
        """Unplug it."""
        self._pipe.close()
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _play_keys(pipe: Connection, seed: int) -> None:
    rng = np.random.default_rng(seed)
    out = rtmidi.MidiOut(rtmidi.API_UNIX_JACK, name=KEYBOARD)
    out.open_virtual_port("out")
    with contextlib.suppress(EOFError, OSError):
        while True:
            pitch = int(rng.integers(40, 80))
            out.send_message((0x90, pitch, 90))
            if pipe.poll(float(rng.random()) / 5):
                break
            out.send_message((0x80, pitch, 64))
    out.close_port()
    out.delete()

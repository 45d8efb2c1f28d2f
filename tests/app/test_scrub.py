"""scrub: what a path's slider plays, as lists of (moment, event) out of the real transport."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from queue import SimpleQueue

import numpy as np
import pytest
from fakes import FakeClock, RecordingPorts
from hypothesis import given, settings
from hypothesis import strategies as st

from app.scrub import LEAD_SECONDS, Scrub, laid, loop_lines
from engine import schedule
from engine.playback import Load, Loop, Play, Quit, Tempo
from engine.transport import LEAD_NS, run
from models.score import Notes, Track
from models.timebase import PPQ, SIXTEENTH, MeterMap, TempoMap

BAR = 4 * PPQ
MS = 1_000_000
POLL_NS = 40 * MS
"""How often the window looks whether a bar is over."""
LATENCY_NS = 60 * MS
"""How long a change takes from the window to the transport."""

Event = tuple[float, str, int]
"""(seconds after the loop began, "on" or "off", pitch)."""


@dataclass
class Run:
    """A loop that plays while a slider is moved: `moves` are (seconds, step)."""

    steps: list[Notes]
    length: int
    lines: tuple[int, ...]
    tempo: TempoMap
    moves: list[tuple[float, int]]
    seconds: float
    latency_ns: int = LATENCY_NS

    @property
    def lap(self) -> float:
        """Seconds of the loop."""
        return self.tempo.second(self.lines[-1]) - self.tempo.second(self.lines[0])

    def tick(self, seconds: float) -> float:
        """The tick that sounds so long after the loop began."""
        start = self.tempo.second(self.lines[0])
        return float(self.tempo.ticks(start + max(seconds, 0.0) % self.lap))

    def load(self, scrub: Scrub) -> Load:
        notes = laid(self.steps, self.length, self.lines, scrub.which)
        return Load(0, "A", schedule.compile(Track(0, "Path", notes)))

    def play(self) -> list[Event]:
        """What the transport sends, told what the window would tell it."""
        scrub = Scrub.of(self.lines, 0)
        script: list[tuple[int, object]] = [
            (0, Tempo(self.tempo)),
            (0, self.load(scrub)),
            (0, Loop(self.lines[0], self.lines[-1])),
            (0, Play(self.lines[0])),
        ]
        wanted = 0
        polls = [(t * 1e-9, None) for t in range(0, int(self.seconds * 1e9), POLL_NS)]
        for at, step in sorted([*self.moves, *polls], key=lambda p: p[0]):
            wanted = wanted if step is None else step
            now = scrub.changed(self.tempo, self.tick(at), wanted)
            if now is not scrub:
                scrub = now
                script.append((LEAD_NS + round(at * 1e9) + self.latency_ns, self.load(scrub)))
        script.append((LEAD_NS + round(self.seconds * 1e9), Quit()))
        clock = FakeClock(script)
        inbox: SimpleQueue = SimpleQueue()
        ports = RecordingPorts(clock, inbox)
        run(clock, inbox, ports, SimpleQueue())
        names = {0x90: "on", 0x80: "off"}
        return [
            ((moment - LEAD_NS) * 1e-9, names[m[0] & 0xF0], m[1])
            for moment, m in ports.ports["A"].sent
            if m[0] & 0xF0 in names
        ]

    def expected(self) -> list[Event]:
        """The same by the rule alone: every bar plays the step chosen last before it, save the last moment;
        a note that goes on through a barline at which the step changes ends there, or begins there."""
        bars: list[tuple[float, int, int]] = []  # when it begins, which bar of the loop, step
        lap = 0
        while lap * self.lap < self.seconds:
            for i, line in enumerate(self.lines[:-1]):
                begin = self.tempo.second(line) - self.tempo.second(self.lines[0]) + lap * self.lap
                known = [s for at, s in self.moves if at <= begin - LEAD_SECONDS]
                bars.append((begin, i, known[-1] if known else 0))
            lap += 1
        out: list[Event] = []
        laps = (self.lines[-1] - self.lines[0]) // self.length
        for n, (begin, i, step) in enumerate(bars):
            seamless = n > 0 and i > 0 and bars[n - 1][2] == step
            goes_on = n + 1 < len(bars) and i + 1 < len(self.lines) - 1 and bars[n + 1][2] == step
            low, high = self.lines[i], self.lines[i + 1]
            for k in range(laps):
                shift = self.lines[0] + k * self.length
                for on, end, pitch in zip(
                    self.steps[step].onset + shift,
                    self.steps[step].end + shift,
                    self.steps[step].pitch.tolist(),
                    strict=True,
                ):

                    def moment(tick: int, begin: float = begin, low: int = low) -> float:
                        return begin + self.tempo.second(tick) - self.tempo.second(low)

                    if low <= on < high:
                        out.append((moment(on), "on", pitch))
                    elif on < low < end and not seamless and end - low >= SIXTEENTH:
                        out.append((moment(low), "on", pitch))
                    elif not (on < low < end and seamless):
                        continue
                    if end <= high or not goes_on:
                        out.append((moment(min(end, high)), "off", pitch))
        return [e for e in out if e[0] < self.seconds]


def same(sent: list[Event], expected: list[Event]) -> None:
    """To a few microseconds, and whatever the order at one moment."""

    def tidy(events: list[Event]) -> list[Event]:
        return sorted(events, key=lambda e: (e[1], e[2], e[0]))

    ours, theirs = tidy(sent), tidy(expected)
    assert [e[1:] for e in ours] == [e[1:] for e in theirs]
    assert [e[0] for e in ours] == pytest.approx([e[0] for e in theirs], abs=1e-5)


def nothing_hangs(events: list[Event]) -> None:
    """Every key is struck only when it is silent, and is lifted in the end."""
    sounding: set[int] = set()
    for _, kind, pitch in events:
        if kind == "on":
            assert pitch not in sounding
            sounding.add(pitch)
        else:
            sounding.discard(pitch)
    assert not sounding


def quarters(*pitches: int) -> Notes:
    return Notes.of(PPQ * np.arange(len(pitches)), PPQ, list(pitches))


A = quarters(60, 62, 64, 65, 67, 65, 64, 62)
B = quarters(72, 74, 76, 77, 79, 77, 76, 74)
TWO = loop_lines(MeterMap(), 0, 2 * BAR)


def heard(*moves: tuple[float, int], seconds: float = 12.0, **changes: object) -> list[Event]:
    fields = {"steps": [A, B], "length": 2 * BAR, "lines": TWO, "tempo": TempoMap()} | changes
    run_ = Run(moves=list(moves), seconds=seconds, **fields)  # type: ignore[arg-type]
    events = run_.play()
    same([e for e in events if e[0] < seconds], run_.expected())
    nothing_hangs(events)
    return events


def pitches(events: list[Event], start: float, end: float) -> list[int]:
    return [p for t, kind, p in events if kind == "on" and start - 1e-6 <= t < end - 1e-6]


def test_a_move_is_heard_from_the_next_bar_on() -> None:
    events = heard((0.7, 1))  # a bar lasts two seconds
    assert pitches(events, 0, 2) == [60, 62, 64, 65], "the bar that sounds is played to its end"
    assert pitches(events, 2, 4) == [79, 77, 76, 74]
    assert pitches(events, 4, 8) == [72, 74, 76, 77, 79, 77, 76, 74]
    ends = [t for t, kind, p in events if kind == "off" and p == 65]
    assert ends[0] == pytest.approx(2.0, abs=1e-6)


def test_a_move_in_the_last_bar_is_heard_across_the_loops_jump() -> None:
    events = heard((3.0, 1))
    assert pitches(events, 2, 4) == [67, 65, 64, 62]
    assert pitches(events, 4, 8) == [72, 74, 76, 77, 79, 77, 76, 74]


def test_there_and_back_within_a_bar_changes_nothing() -> None:
    assert heard((0.5, 1), (1.2, 0)) == heard()


def test_a_move_in_the_last_moment_of_a_bar_waits_for_one_more() -> None:
    events = heard((2 - LEAD_SECONDS / 2, 1))
    assert pitches(events, 2, 4) == [67, 65, 64, 62], "too late for this one"
    assert pitches(events, 4, 6) == [72, 74, 76, 77]


def test_a_long_note_is_neither_cut_nor_hung() -> None:
    long = Notes.of([0], [2 * BAR], [48])
    events = heard((2.5, 1), (6.3, 0), steps=[long, B])
    assert (4.0, "off", 48) in [(round(t, 6), k, p) for t, k, p in events]
    assert pitches(events, 4, 8) == [72, 74, 76, 77, 79, 77, 76, 74]
    assert pitches(events, 8, 12) == [48]


def test_a_note_that_two_steps_share_is_struck_anew_at_the_change() -> None:
    low, high = Notes.of([0], [2 * BAR], [48]), Notes.of([0, BAR], [BAR, BAR], [60, 48])
    events = heard((0.5, 1), steps=[low, high])
    assert [(round(t, 6), k) for t, k, p in events if p == 48 and t < 4.5] == [
        (0.0, "on"),
        (2.0, "off"),
        (2.0, "on"),
        (4.0, "off"),
    ]


def test_a_step_of_one_bar_is_laid_twice() -> None:
    lines = loop_lines(MeterMap(), BAR, BAR)
    assert lines == (BAR, 2 * BAR, 3 * BAR)
    events = heard(
        (0.5, 1),
        steps=[quarters(60, 62, 64, 65), quarters(72, 74, 76, 77)],
        length=BAR,
        lines=lines,
    )
    assert pitches(events, 0, 4) == [60, 62, 64, 65, 72, 74, 76, 77]


def test_bars_of_the_documents_metre_are_the_bars_of_the_loop() -> None:
    assert loop_lines(MeterMap(numerator=[2]), 0, 2 * BAR) == (0, 1920, 3840, 5760, 7680)
    assert loop_lines(MeterMap(pickup=PPQ), PPQ, 2 * BAR) == (PPQ, PPQ + BAR, PPQ + 2 * BAR)


def test_outside_the_loop_all_bars_change_at_once() -> None:
    scrub = Scrub.of(TWO, 0)
    assert scrub.changed(TempoMap(), 3 * BAR, 1).which == (1, 1)
    assert scrub.step(3 * BAR) is None
    assert scrub.changed(TempoMap(), BAR / 2, 0) is scrub


steps_ = st.lists(
    st.tuples(st.integers(0, 31), st.integers(1, 24), st.integers(55, 60)),
    min_size=0,
    max_size=10,
    unique_by=lambda n: n[0],
)


@st.composite
def melodies(draw: st.DrawFn) -> Notes:
    """One note at a time on the grid of sixteenths, two bars long."""
    found = sorted(draw(steps_))
    ends = [*(b[0] for _, b in pairwise(found)), *([32] if found else [])]
    lengths = [min(n, end - at) for (at, n, _), end in zip(found, ends, strict=True)]
    return Notes.of(
        SIXTEENTH * np.array([at for at, _, _ in found], np.int64),
        SIXTEENTH * np.array(lengths, np.int64),
        np.array([p for _, _, p in found], np.int64),
    )


@settings(max_examples=40)
@given(
    steps=st.lists(melodies(), min_size=2, max_size=4),
    moves=st.lists(st.tuples(st.integers(0, 360), st.integers(0, 3)), max_size=14),
    bpm=st.sampled_from((60, 97, 120, 240)),
    latency=st.sampled_from((2, 7, 60, 110)),
)
def test_whatever_the_slider_does_every_bar_plays_one_step(
    steps: list[Notes], moves: list[tuple[int, int]], bpm: int, latency: int
) -> None:
    tempo = TempoMap.constant(bpm)
    lead = LEAD_SECONDS
    asked = sorted((at / 30, step % len(steps)) for at, step in moves)
    bar = tempo.second(BAR)
    # A move at the very edge of the lead may fall on either side of it by rounding.
    asked = [(t, s) for t, s in asked if abs((t + lead) / bar - round((t + lead) / bar)) > 1e-6]
    heard(*asked, steps=steps, tempo=tempo, seconds=8.0 * 60 / bpm * 4, latency_ns=latency * MS)

"""The last bars of what was played in: which notes they are, and where in the score each of them was played."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from engine.capture_timeline import Moments, Places, Run
from engine.quantising import apart, tempo_of
from engine.schedule import CONTROL
from models.score import EMPTY, Controls, Mask, Notes, Score
from models.timebase import MeterMap, TempoMap

EARLY_NS = 60_000_000
"""Who strikes a key so shortly before a barline, a loop's start or *play* means what comes then."""

PAUSE_BARS, PAUSE_SECONDS = 2, 2.0
"""Without the transport, a silence of so many bars, but no less than so long, begins another stretch."""

NEUTRAL: dict[tuple[int, int], tuple[int, int]] = {
    (CONTROL, 1): (1, 0),
    **{(CONTROL, pedal): (pedal, 0) for pedal in (64, 65, 66, 67, 68, 69)},
    (0xD0, 0): (0, 0),
    (0xE0, 0): (0, 64),
}
"""Controls that rest at a known value: wheel, pedals, pressure, bend; a take leaves them there."""

Rows = npt.NDArray[np.int64]
ON, OFF, PITCH, VELOCITY, CHANNEL, SOURCE = range(6)
AT, STATUS, DATA1, DATA2 = range(4)


class Passes(StrEnum):
    """Which passes of a loop: one (see `Wish.back`), all on top of each other, all one after the other."""

    LAST = "last"
    LAYERED = "layered"
    UNROLLED = "unrolled"


class Place(StrEnum):
    """Where a take goes: the bars it was played at (without the transport: the playhead's), the bar of the
    playhead, the first bar after the music."""

    PLAYED = "played"
    PLAYHEAD = "playhead"
    END = "end"


@dataclass(frozen=True)
class Wish:
    """What is to be taken out of the record: the last `bars` bars up to the last note of a stretch.

    stretch: how many stretches back (see `Recorder.stretches`). source: of that input alone (None: of all).
    back: of a loop, how many passes with notes before the last. own_tempo: what was played without the
    transport is laid on the bars by its own tempo, not the score's. latency_ms: how late messages arrive.
    """

    bars: int = 8
    stretch: int = 0
    source: str | None = None
    passes: Passes = Passes.LAST
    back: int = 0
    place: Place = Place.PLAYED
    own_tempo: bool = False
    latency_ms: float = 0.0


@dataclass(frozen=True, eq=False)
class Passage:
    """What was played, as notes and controllers of the score: bars of `length` ticks from `start`.

    Notes may begin a little before `start`, and end after `cycle` (the loop they were played in) ends; their
    ids count from 0 in their order.
    `tempo` is the one they were played at; `bpm` the player's own, where that was asked for and found.
    """

    notes: Notes
    controls: Controls
    start: int
    length: int
    meter: MeterMap
    tempo: TempoMap
    playing: bool
    cycle: tuple[int, int] | None = None
    bpm: float | None = None


@dataclass(frozen=True, eq=False)
class Part:
    """The rows of one stretch, ordered by onset, and the run they were played in."""

    run: Run
    rows: Rows

    def meant(self) -> npt.NDArray[np.int64]:
        """The pass of a loop each note was meant for."""
        return self.run.passes(self.rows[:, ON] + EARLY_NS)


def _bar(meter: MeterMap, tick: float) -> int:
    """The beginning of the bar a tick lies in."""
    return meter.bar_start(meter.position(int(max(tick, 0))).bar)


def _after(meter: MeterMap, tick: float, bars: int = 1) -> int:
    """The barline `bars` bars after the beginning of the bar a tick lies in; none before 0."""
    return meter.bar_start(meter.position(int(max(tick, 0))).bar + bars)


def _landing(place: Place, score: Score, playhead: int) -> int:
    if place is Place.END:
        return _after(score.meter, score.length - 1) if score.length else 0
    return _bar(score.meter, playhead)


def pause_ns(score: Score, playhead: int) -> int:
    """How long a silence must be to part two stretches, in nanoseconds."""
    start = _bar(score.meter, playhead)
    bars = score.tempo.second(_after(score.meter, start, PAUSE_BARS)) - score.tempo.second(start)
    return round(max(bars, PAUSE_SECONDS) * 1e9)


def _built(
    rows: Rows, onset: Places, end: Places, controls: Controls, passage: Passage, delta: int
) -> Passage:
    """The passage with its notes, `delta` ticks later than they were played."""
    onset, end = np.rint(onset) + delta, np.rint(end) + delta
    onset = np.maximum(onset, 0)
    end = np.maximum(end, onset + 1)
    notes = apart(Notes.of(onset, end - onset, rows[:, PITCH], rows[:, VELOCITY]))
    tick = np.maximum(controls.tick + delta, 0)
    controls = Controls(tick, controls.status, controls.data1, controls.data2)
    cycle = passage.cycle
    return replace(
        passage,
        notes=notes.with_(id=np.arange(len(notes))),
        controls=controls,
        start=passage.start + delta,
        cycle=None if cycle is None else (cycle[0] + delta, cycle[1] + delta),
    )


def _controls(rows: Rows, tick: Places, start: float, end: float) -> Controls:
    """The controllers at [start, end), what was in force at `start`, and rest for what is not at `end`."""
    state: dict[tuple[int, int], tuple[int, int]] = {}
    found: list[tuple[float, int, int, int]] = []
    columns = (tick, rows[:, STATUS], rows[:, DATA1], rows[:, DATA2])
    changes = sorted(zip(*(c.tolist() for c in columns), strict=True), key=lambda row: row[0])

    def chase(at: float, states: dict[tuple[int, int], tuple[int, int]]) -> None:
        found.extend((at, key[0], *data) for key, data in states.items())

    begun = False
    for at, status, data1, data2 in changes:
        if at >= end:
            break
        if at >= start and not begun:
            chase(start, {k: d for k, d in state.items() if d != NEUTRAL.get(k)})
            begun = True
        state[status, data1 if status in (0xA0, CONTROL) else 0] = (data1, data2)
        if begun:
            found.append((at, status, data1, data2))
    if not begun:
        chase(start, {k: d for k, d in state.items() if d != NEUTRAL.get(k)})
    chase(end, {k: n for k, n in NEUTRAL.items() if state.get(k, n) != n})
    table = np.array(found, np.float64).reshape(-1, 4)
    return Controls(np.rint(table[:, 0]).astype(np.int64), *table[:, 1:].T.astype(np.uint8))


class _Window(NamedTuple):
    """The bars [start, end) of a stretch: the ticks of all its notes and controllers, and which are `members`
    and `turns`; `cycle` as in Passage."""

    onset: Places
    stop: Places
    members: Mask
    turned: Places
    turns: Mask
    start: int
    end: int
    cycle: tuple[int, int] | None


def timed(part: Part, controls: Rows, wish: Wish, score: Score, playhead: int) -> Passage:
    """What was played along with the transport, at the ticks it was played at."""
    tempo = part.run.tempo_at(int(part.rows[-1, ON]))
    last = float(part.run.places(part.rows[-1:, ON])[0])
    early = float(tempo.ticks(tempo.second(last) + EARLY_NS * 1e-9)) - last
    cut = _unrolled if wish.passes is Passes.UNROLLED else _folded
    found = cut(part, controls, wish, score.meter, early)
    stop = found.stop[found.members]
    end = found.end if found.cycle is not None else max(found.end, float(stop.max()))
    turned = _controls(controls[found.turns], found.turned[found.turns], found.start, end)
    start, length = found.start, found.end - found.start
    delta = 0 if wish.place is Place.PLAYED else _landing(wish.place, score, playhead) - start
    empty = Passage(EMPTY, turned, start, length, score.meter, tempo, True, found.cycle)
    onset = found.onset[found.members]
    return _built(part.rows[found.members], onset, stop, turned, empty, delta)


def _unrolled(part: Part, controls: Rows, wish: Wish, meter: MeterMap, early: float) -> _Window:
    """The last bars with the passes of a loop one after the other, from the tick at which the first of
    them was played."""
    run = part.run
    laid, ends = run.places(part.rows[:, ON]), run.places(part.rows[:, OFF])
    turned = run.places(controls[:, AT])
    top = float(laid.max()) + early
    lines = _lines(run, meter, top, wish.bars)
    line = max(int(np.searchsorted(lines, top, side="right")) - wish.bars, 0)
    origin = float(lines[line])
    start = int(origin - run.offset(run.pass_of(origin)))
    shift = origin - start
    return _Window(
        laid - shift,
        ends - shift,
        laid >= origin - early,
        turned - shift,
        np.ones(len(controls), bool),
        start,
        _after(meter, top - shift),
        None,
    )


def _folded(part: Part, controls: Rows, wish: Wish, meter: MeterMap, early: float) -> _Window:
    """The last bars of one pass of a loop, or of all of them on top of each other."""
    run, rows = part.run, part.rows
    lap, meant = run.passes(rows[:, ON]), part.meant()
    shift = run.offsets(lap)
    tick, ends = run.places(rows[:, ON]) - shift, run.places(rows[:, OFF]) - shift
    turned_lap = run.passes(controls[:, AT])
    turned = run.places(controls[:, AT]) - run.offsets(turned_lap)
    chosen, least = run.laps, 0
    members = np.ones(len(rows), bool)
    ahead = np.zeros(len(rows), bool)  # struck at the end of the pass before, meant for this one
    if wish.passes is Passes.LAST:
        there = np.unique(meant)
        chosen = int(there[max(len(there) - 1 - wish.back, 0)])
        own_end = rows[(lap == chosen) & (meant != chosen), PITCH]  # the same stroke, a pass later
        ahead = (meant == chosen) & (lap != chosen) & ~np.isin(rows[:, PITCH], own_end)
        members = (lap == chosen) | ahead
        least = _bar(meter, run.begin(chosen))
    cycle = run.cycle(chosen)
    body = tick[members & ~ahead]
    top = float(body.max()) + early if len(body) else run.begin(chosen)
    if cycle is not None and (not len(body) or body.max() < cycle[1]):
        top = min(top, cycle[1] - 1.0)
    start = max(_after(meter, top, 1 - wish.bars), least)
    end = _after(meter, top)
    if cycle is not None and top < cycle[1]:
        end = min(end, cycle[1])
        if wish.passes is Passes.LAST and chosen:
            start = max(start, cycle[0])
        ahead &= start <= cycle[0]
    members &= (tick >= start - early) | ahead
    turned = np.where(turned_lap < chosen, start - 1, turned)  # what came before still holds
    return _Window(tick, ends, members, turned, turned_lap <= chosen, start, end, cycle)


def _lines(run: Run, meter: MeterMap, top: float, bars: int) -> Places:
    """The barlines up to `top`, passes laid end to end; enough of them for `bars` bars, where there are."""
    found: list[float] = []
    for lap in range(run.laps, run.spans[0].lap - 1, -1):
        offset, begin, stop = run.offset(lap), run.begin(lap), run.stop(lap)
        last = top - offset + 1 if stop is None else stop
        lines = {begin, *(float(tick) for _, tick in meter.bars(int(begin), int(last)))}
        if lap == run.spans[0].lap:
            lines = (lines - {begin}) | {float(_bar(meter, begin))}
        found.extend(tick + offset for tick in lines)
        if len(found) > bars + 1:
            break
    return np.array(sorted(found))


def free(part: Part, controls: Rows, wish: Wish, score: Score, playhead: int) -> Passage:
    """What was played while the transport rested: its first note is a barline."""
    rows, meter, tempo = part.rows, score.meter, score.tempo
    start = _landing(wish.place, score, playhead)
    on = rows[:, ON]
    bpm = None
    if wish.own_tempo:
        bpm = tempo_of((on - on[0]) * 1e-9, tempo.bpm(start))
        if bpm is not None:
            tempo = TempoMap.constant(bpm)
    bar = tempo.second(_after(meter, start)) - tempo.second(start)
    reached = int((on[-1] + EARLY_NS - on[0]) * 1e-9 / bar)
    origin = int(on[0]) + round(max(reached + 1 - wish.bars, 0) * bar * 1e9)
    members = on >= origin - EARLY_NS

    def ticks(moments: Moments) -> Places:
        return np.asarray(tempo.ticks(tempo.second(start) + (moments - origin) * 1e-9))

    onset, stop = ticks(on[members]), ticks(rows[members, OFF])
    early = float(ticks(np.array([origin + EARLY_NS]))[0]) - start
    end = _after(meter, float(onset.max()) + early)
    found = _controls(controls, ticks(controls[:, AT]), start, max(end, float(stop.max())))
    empty = Passage(EMPTY, found, start, end - start, meter, tempo, False, None, bpm)
    return _built(rows[members], onset, stop, found, empty, 0)

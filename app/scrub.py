"""Scrubbing: which step of a path each bar of a loop plays, so that a change is heard from the next bar on.

The transport swaps a track's table at once, whenever it gets another. So what it gets always holds the
step that sounds now up to the coming barline, and the newly chosen one in all other bars: wherever in the
bar the swap happens, it changes nothing that sounds. Once the bar is over, it is filled anew as well.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from app.phrases import clipped, joined, passage
from models.score import Notes
from models.timebase import MeterMap, TempoMap

LEAD_SECONDS = 0.12
"""A bar that begins sooner than this keeps what it has: the transport might get the change too late.
Measured with the window's coalescing of changes (30 ms), the pipe and a busy machine: 35–60 ms."""


def loop_lines(meter: MeterMap, start: int, length: int) -> tuple[int, ...]:
    """The barlines of the loop that plays steps of `length` ticks from `start` on, both ends included.

    A step of one bar is laid twice: a loop needs a bar that sounds and one that can be changed.
    """
    inside = [tick for _, tick in meter.bars(start + 1, start + length)]
    if not inside:
        return start, start + length, start + 2 * length
    return start, *inside, start + length


def laid(
    steps: Sequence[Notes], length: int, lines: tuple[int, ...], which: Sequence[int]
) -> Notes:
    """The notes of a loop whose i-th bar, from lines[i] to lines[i + 1], plays steps[which[i]].

    Steps begin at tick 0 and last `length` ticks. Neighbouring bars of one step are whole; where two steps
    meet, notes are cut at the barline, and one that began before it is struck there.
    """
    laps = (lines[-1] - lines[0]) // length
    parts: list[Notes] = []
    bar = 0
    for step, run in groupby(which):
        bars = len(list(run))
        start, end = lines[bar], lines[bar + bars]
        bar += bars
        whole = passage((clipped(steps[step], 0, length),) * laps, length)
        parts.append(clipped(whole.with_(onset=whole.onset + lines[0]), start, end))
    return joined(parts)


@dataclass(frozen=True)
class Scrub:
    """What a loop plays: its barlines, and the step of each of its bars."""

    lines: tuple[int, ...]
    which: tuple[int, ...]

    @classmethod
    def of(cls, lines: tuple[int, ...], step: int) -> Scrub:
        """The same step in every bar."""
        return cls(lines, (step,) * (len(lines) - 1))

    def bar(self, tick: float) -> int | None:
        """The index of the bar that `tick` lies in, None outside the loop."""
        if not self.lines[0] <= tick < self.lines[-1]:
            return None
        return bisect_right(self.lines, tick) - 1

    def step(self, tick: float) -> int | None:
        """The step that sounds at `tick`, None outside the loop."""
        bar = self.bar(tick)
        return None if bar is None else self.which[bar]

    def changed(self, tempo: TempoMap, tick: float, step: int) -> Scrub:
        """The loop when `step` is wanted while it plays at `tick`: the bar that sounds keeps its own, and
        so does the one after it when that begins within LEAD_SECONDS; all others play `step`.

        To be asked again in every bar, until all bars play `step`. Itself when nothing changes.
        """
        here = self.bar(tick)
        which = [step] * len(self.which)
        if here is not None:
            which[here] = self.which[here]
            if tempo.second(self.lines[here + 1]) - tempo.second(tick) < LEAD_SECONDS:
                coming = (here + 1) % len(which)
                which[coming] = self.which[coming]
        return self if tuple(which) == self.which else replace(self, which=tuple(which))

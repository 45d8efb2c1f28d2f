"""Where the playhead was when: the transport's anchors of the last while, and moments turned into ticks.

What is played in carries the moment it arrived. The anchor in force *then* says where in the score that
was, whatever the transport has done since: changed its tempo, jumped round a loop, stopped.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from engine.playback import Anchor
from models.timebase import PPQ, TempoMap

Moments = npt.NDArray[np.int64]
Places = npt.NDArray[np.float64]

SLEW = PPQ // 4
"""An anchor nearer than this (ticks) to where the last one leads corrects it; one further away is a jump."""

NEAR_END = PPQ // 16
"""A jump from so near the loop's end to its start is a pass; from anywhere else somebody moved the playhead."""

KNOWN = 0.01
"""An anchor within so many ticks of what is known already tells nothing."""

MOST_SPANS = 1 << 16
"""So many are remembered, the newest: half an hour of a loop of 30 ms."""

EVER = -(1 << 62)


@dataclass(frozen=True, eq=False)
class Span:
    """From the moment `at` on, the playhead moves from `tick` by `tempo` or rests; `bpm` and `rate` as in Anchor.

    `run` numbers the stretches between stops, starts and jumps; in it, `lap` counts the passes of a loop
    and `laid` goes on where `tick` jumps back: the passes laid end to end. `cycle` is the loop whose jump
    began this lap, None for lap 0.
    """

    at: int
    tick: float = 0.0
    tempo: TempoMap = TempoMap()  # noqa: RUF009 — a value nobody can change
    playing: bool = False
    run: int = 0
    lap: int = 0
    laid: float = 0.0
    cycle: tuple[int, int] | None = None
    bpm: float = 0.0
    rate: float = 1.0

    def advance(self, moments: Moments) -> Places:
        """How many ticks further than `tick` the playhead is at each moment, if it goes on so."""
        since = (np.asarray(moments, np.int64) - self.at) * 1e-9
        if self.bpm:
            return np.asarray(since * (self.bpm * PPQ / 60), np.float64)
        second = self.tempo.second(self.tick) + since * self.rate
        return np.asarray(self.tempo.ticks(second) - self.tick)


@dataclass(frozen=True, eq=False)
class Run:
    """The spans of one run and the moment it ended, None when it goes on."""

    spans: tuple[Span, ...]
    end: int | None

    @property
    def start(self) -> int:
        """The moment it began."""
        return self.spans[0].at

    @property
    def playing(self) -> bool:
        """Whether the transport played."""
        return self.spans[0].playing

    @property
    def laps(self) -> int:
        """The number of the last pass."""
        return self.spans[-1].lap

    def cycle(self, lap: int) -> tuple[int, int] | None:
        """The loop that pass `lap` goes round, None when it never jumped."""
        first, after = self._firsts[lap], self._firsts.get(lap + 1, self._firsts[lap])
        return first.cycle or after.cycle

    @cached_property
    def _columns(self) -> tuple[Moments, Places, Moments, Places]:
        """Of each span its moment, its place, its lap, and its speed in ticks a second (0: by its tempo map)."""
        rows = [(s.at, s.laid, s.lap, s.bpm * PPQ / 60) for s in self.spans]
        at, laid, lap, speed = zip(*rows, strict=True)
        return np.array(at), np.array(laid), np.array(lap), np.array(speed)

    @cached_property
    def _firsts(self) -> dict[int, Span]:
        """The first span of each pass."""
        return {span.lap: span for span in reversed(self.spans)}

    def _spans(self, moments: Moments) -> Moments:
        """The number of the span each moment lies in."""
        found = np.searchsorted(self._columns[0], moments, side="right") - 1
        return np.asarray(np.clip(found, 0, None))

    def passes(self, moments: Moments) -> Moments:
        """The pass each moment lies in."""
        return np.asarray(self._columns[2][self._spans(moments)])

    def places(self, moments: Moments) -> Places:
        """Where each moment lies in the run, passes laid end to end.

        Before the run's beginning and after its end the music is thought to go on.
        """
        moments = np.asarray(moments, np.int64)
        at, laid, _, speed = self._columns
        which = self._spans(moments)
        gone = (moments - at[which]) * 1e-9 * speed[which]
        # The clock that is followed may have gone a little otherwise than its tempo said.
        ends = np.append(np.diff(at) * 1e-9 * speed[:-1], 0.0)
        for k in np.unique(which[speed[which] == 0]).tolist():
            gone[which == k] = self.spans[k].advance(moments[which == k])
            if k + 1 < len(at):
                ends[k] = self.spans[k].advance(at[k + 1 : k + 2])[0]
        missed = np.append(np.diff(laid), 0.0) - ends
        whole = np.append(np.diff(at), 1).clip(1)
        missed[-1] = 0.0
        share = ((moments - at[which]) / whole[which]).clip(0.0, 1.0)
        return np.asarray(laid[which] + gone + missed[which] * share)

    def offsets(self, passes: Moments) -> Places:
        """What to take from a place in each of these passes to have its tick in the score."""
        unique, which = np.unique(passes, return_inverse=True)
        return np.array([self.offset(lap) for lap in unique.tolist()], np.float64)[which]

    def offset(self, lap: int) -> float:
        """The same of one pass."""
        return self._firsts[lap].laid - self._firsts[lap].tick

    def begin(self, lap: int) -> float:
        """The tick at which pass `lap` begins."""
        span = self._firsts[lap]
        return span.tick if span.cycle is None else float(span.cycle[0])

    def stop(self, lap: int) -> float | None:
        """The tick at which pass `lap` jumped back, None when it has not."""
        after = self._firsts.get(lap + 1)
        return None if after is None else after.laid - self.offset(lap)

    def pass_of(self, place: float) -> int:
        """The pass a place lies in, passes laid end to end."""
        spans = self.spans
        k = bisect_right(spans, place, key=lambda span: span.laid) - 1
        return spans[max(k, 0)].lap

    def tempo_at(self, moment: int) -> TempoMap:
        """The tempo map in force at a moment, or the steady tempo of the clock that was followed."""
        found = [span for span in self.spans if span.at <= moment] or [self.spans[0]]
        return TempoMap.constant(found[-1].bpm) if found[-1].bpm else found[-1].tempo


class Timeline:
    """Takes anchors in, and says in which run a moment was and where."""

    def __init__(self) -> None:
        self._spans: list[Span] = [Span(EVER)]

    def __len__(self) -> int:
        return len(self._spans)

    @property
    def first(self) -> int:
        """The moment before which nothing is known."""
        return self._spans[0].at

    def anchored(
        self, anchor: Anchor, tempo: TempoMap, loop: tuple[int, int] | None = None
    ) -> None:
        """The transport says where it is, following `tempo`, with that loop."""
        spans = self._spans
        while len(spans) > 1 and spans[-1].at > anchor.at:
            spans.pop()  # it had announced something, and thought better of it
        last = spans[-1]
        here = Span(
            anchor.at,
            anchor.tick,
            tempo,
            anchor.playing,
            last.run + 1,
            laid=anchor.tick,
            bpm=anchor.bpm,
            rate=anchor.rate,
        )
        if not (last.playing and anchor.playing):
            if last.playing or anchor.playing:
                self._put(here)
            return
        gone = float(last.advance(np.array([anchor.at], np.int64))[0])
        missed = anchor.tick - last.tick - gone
        goes_on = replace(
            here,
            run=last.run,
            lap=last.lap,
            laid=last.laid + anchor.tick - last.tick,
            cycle=last.cycle,
        )
        if (
            loop is not None
            and anchor.tick == loop[0]
            and abs(missed) > KNOWN
            and abs(last.tick + gone - loop[1]) <= NEAR_END
        ):
            laid = last.laid + loop[1] - last.tick
            self._put(replace(goes_on, lap=last.lap + 1, laid=laid, cycle=loop))
        elif abs(missed) > SLEW:
            self._put(here)
        elif (
            abs(missed) > KNOWN
            or tempo is not last.tempo
            or (anchor.bpm, anchor.rate) != (last.bpm, last.rate)
        ):
            self._put(goes_on)

    def _put(self, span: Span) -> None:
        self._spans.append(span)
        if len(self._spans) > MOST_SPANS:
            del self._spans[: MOST_SPANS // 4]

    def forget(self, before: int) -> None:
        """Forget what was over before that moment."""
        spans = self._spans
        gone = 0
        while gone + 1 < len(spans) and spans[gone + 1].at <= before:
            gone += 1
        del spans[:gone]

    def runs(self) -> Iterator[Run]:
        """The runs, the newest first."""
        spans: Sequence[Span] = self._spans
        end: int | None = None
        stop = len(spans)
        while stop:
            start = stop
            while start and spans[start - 1].run == spans[stop - 1].run:
                start -= 1
            run = Run(tuple(spans[start:stop]), end)
            yield run
            end, stop = run.start, start

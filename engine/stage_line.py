"""Bars one after another: those a system makes, as long as there are any, else the last good one varied by rule."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from engine import fallback
from engine.stage_asks import Lines, Passage, clipped, merged, shifted
from engine.stage_deck import Deck
from engine.staging import Quantum
from models.score import Notes

MEMORY_BARS = 26
"""Bars that are remembered for systems to go on from."""

VARIATIONS = 4
"""A varied bar is none of so many before it."""


@dataclass(frozen=True, eq=False)
class Segment:
    """A bar, or what is left of one: as it was written, and whether a system wrote it."""

    passage: Passage
    good: bool

    @property
    def start(self) -> int:
        return self.passage.start

    @property
    def end(self) -> int:
        return self.passage.end


class Line:
    """Music from `start` on, up to `until` if given (u), that always has a next bar.

    Its bars are laid in the deck's parts as soon as they are there, once `open`ed; what has not begun and is
    more than half a beat away may be taken back with `revoke`.
    """

    def __init__(self, deck: Deck, start: int, until: int | None, past: Lines) -> None:
        self._deck = deck
        self.start, self.until = start, until
        self.opened = False
        self._past = dict(past)
        self._segments: deque[Segment] = deque()
        self._spare: deque[Segment] = deque()
        self._good: Passage | None = None
        self._said: deque[Notes] = deque(maxlen=VARIATIONS)
        self._next = start

    # --- where it is -------------------------------------------------------------------------------

    @property
    def next(self) -> int:
        """Where the music that is there ends."""
        return self._next

    @property
    def over(self) -> bool:
        """Whether all of it is there."""
        return self.until is not None and self._next >= self.until

    def segment_end(self, u: int) -> int:
        """The bar line after `u`, or the end."""
        end = self._deck.timeline.following(u + 1)
        return end if self.until is None else min(end, self.until)

    def ahead(self, u: float) -> float:
        """How many bars are ready beyond `u`."""
        return max(self._next - u, 0) / self._deck.timeline.bar_length(u)

    def due(self) -> float:
        """From where on the next bar must be known."""
        return self._next - self._deck.margin(self._next)

    def past(self) -> dict[str, Notes]:
        """All that is remembered before `next`, as it was written, by line."""
        lines: dict[str, list[Notes]] = {k: [n] for k, n in self._past.items()}
        for segment in self._segments:
            for name, notes in segment.passage.lines.items():
                lines.setdefault(name, []).append(notes)
        return {name: merged(parts) for name, parts in lines.items()}

    def good(self, passage: Passage) -> None:
        """What to vary as long as there is nothing better."""
        self._good = passage

    # --- growing -----------------------------------------------------------------------------------

    def open(self, start: int) -> None:
        """Play it from `start` on, where a bar begins as one does where it began till now."""
        by = start - self.start
        self.start += by
        self._next += by
        if self.until is not None:
            self.until += by
        self._past = {k: shifted(n, by) for k, n in self._past.items()}
        self._segments = deque(Segment(s.passage.moved(by), s.good) for s in self._segments)
        self.opened = True
        for segment in self._segments:
            self._deck.parts.lay(self._deck.sounding(segment.passage))

    def push(self, passage: Passage) -> bool:
        """Go on with a system's music, wherever it was meant to begin; False when nothing of it fits there.

        It fits where a bar is as far on as where it was meant to be; else its first whole bar does.
        """
        timeline = self._deck.timeline
        if timeline.offset(passage.start) != timeline.offset(self._next):
            barline = timeline.following(passage.start)
            if timeline.offset(self._next) or barline >= passage.end:
                return False
            passage = passage.cut(barline, passage.end)
        passage = passage.moved(self._next - passage.start)
        self._spare.clear()
        added = False
        while not self.over and self._next < passage.end:
            end = self.segment_end(self._next)
            if passage.end < end and added:
                break
            self._add(Segment(passage.cut(self._next, end), True))
            added = True
        return added

    def improvise(self) -> None:
        """Go on without a system: with a bar that was taken back, else with the last good one varied."""
        end = self.segment_end(self._next)
        timeline = self._deck.timeline
        while self._spare:
            spare = self._spare.popleft()
            # As far on in its bar as it was to be; what lies before is left out.
            late = timeline.offset(self._next) - timeline.offset(spare.start)
            if 0 <= late < spare.end - spare.start:
                rest = spare.passage.cut(spare.start + late, spare.end)
                rest = rest.moved(self._next - rest.start)
                self._add(Segment(rest.cut(self._next, end), spare.good))
                return
        deck, good = self._deck, self._good
        bar: Lines = {}
        if good is not None:
            length = end - self._next
            bar = {k: _fitted(n, good.start, good.end, length) for k, n in good.lines.items()}
            if not deck.setting.repeat and bar:
                top = max(bar, key=lambda k: float(np.mean(bar[k].pitch)) if len(bar[k]) else -1.0)
                scale = deck.scale(self._next, merged(list(bar.values())))
                varied = fallback.vary(bar[top], length, scale, deck.rng, self._said)
                self._said.append(varied)
                bar = {**bar, top: varied}
        lines = {k: shifted(n, self._next) for k, n in bar.items()}
        self._add(Segment(Passage(self._next, end, lines), False))

    def _add(self, segment: Segment) -> None:
        self._segments.append(segment)
        self._next = segment.end
        if segment.good and segment.passage.count:
            self._good = segment.passage
            self._said.clear()
        if self.opened:
            self._deck.parts.lay(self._deck.sounding(segment.passage))
        oldest = segment.end - MEMORY_BARS * self._deck.timeline.bar_length(segment.start)
        while self._segments[0].end < oldest:
            self._segments.popleft()
        self._past = {k: n for k, n in self._past.items() if n.length >= oldest}

    def revoke(self, u: int) -> None:
        """Take back what is to come from `u` on; it may be used yet, should nothing better come."""
        if u >= self._next:
            return
        spare: list[Segment] = []
        while self._segments and self._segments[-1].start >= u:
            spare.insert(0, self._segments.pop())
        if self._segments and self._segments[-1].end > u:
            cut = self._segments.pop()
            spare.insert(0, Segment(cut.passage.cut(u, cut.end), cut.good))
            self._segments.append(Segment(cut.passage.cut(cut.start, u), cut.good))
        self._spare.extendleft(reversed(spare))
        self._next = max(u, self.start)
        self._deck.parts.clear(u)

    def resume(self, u: float) -> None:
        """Go on at the next beat after `u`, after a jump: what has not been heard comes from there on."""
        u = self._deck.timeline.following(u + self._deck.margin(u) // 4, Quantum.BEAT)
        gap = u - self._next
        self._next = u
        if self.until is not None:
            self.until += gap


def _fitted(notes: Notes, start: int, end: int, length: int) -> Notes:
    """A bar's notes from 0 on, cut or repeated to `length`."""
    bar = shifted(clipped(notes, start, end), -start)
    copies = [shifted(bar, k * (end - start)) for k in range(-(-length // max(end - start, 1)))]
    return clipped(merged(copies), 0, length)

"""Stream: a system's endless continuation, kept some bars ahead of what is heard."""

from __future__ import annotations

import math

import numpy as np

from engine import fallback
from engine.playback import Play
from engine.stage_asks import Lines, clipped, continuing, led_up
from engine.stage_deck import Deck, Look
from engine.stage_desk import Reply
from engine.stage_line import Line
from engine.staging import Scene
from models.score import Notes, Track
from models.timebase import PPQ

HEADSTART_BARS = 2
"""So many bars, or as many as are kept ahead, are there before the first is heard."""

SEED_BARS = 4
"""What was played, or stands in the score, so long before is gone on from."""


class Stream:
    """See the head of this file. It begins at a bar line once its first bars are there, and lets a transport
    that rests play; what it goes on from is what was played last, else the score, else a scale."""

    def __init__(self, deck: Deck) -> None:
        self._deck = deck
        self._job: int | None = None
        self._refused = False
        self._line = Line(deck, 0, None, {})

    # --- what happens ------------------------------------------------------------------------------

    def begin(self, u: float, now: int) -> None:
        start = self._deck.timeline.following(u)
        if start < SEED_BARS * self._deck.timeline.bar_length(start):
            # Written a little later than it will be played: what it goes on from needs room before it.
            start += SEED_BARS * self._deck.timeline.bar_length(start)
        self._line = Line(self._deck, start, None, self._before(u, start))
        self._order(now)

    def played(self, u: float, now: int, *, began: bool) -> None:
        """What is played beside it makes no difference."""

    def pad(self, u: float, now: int) -> None:
        """From the next bar or beat something new, going on from what was played last."""
        self.changed(u, now)

    def replied(self, reply: Reply, u: float, now: int) -> None:
        if reply.job != self._job or not reply.final:
            return
        self._job = None
        deck, line = self._deck, self._line
        if reply.passage is None:
            self._refused = True
            deck.sentence = reply.sentence or f"{deck.card.name} has no answer; it is asked again."
            return
        if line.push(reply.passage):
            deck.kept_up()
        if not line.opened and line.ahead(line.start) >= min(HEADSTART_BARS, deck.setting.bars):
            self._open(u)
        self._load(u)
        self._order(now)

    def changed(self, u: float, now: int) -> None:
        self._refused = False
        line, deck = self._line, self._deck
        if self._job is not None:
            deck.desk.drop(self._job)
            self._job = None
        if not line.opened:
            self.begin(u, now)
            return
        line.revoke(deck.timeline.following(u + deck.margin(u), deck.setting.quantum))
        self._load(u)
        self._order(now)

    def staged(self, before: Scene, u: float, now: int) -> None:
        """Tempo and metre are the timeline's; what is ready stays."""

    def moved(self, u: float, now: int, *, left: float | None) -> None:
        line, deck = self._line, self._deck
        if not deck.timeline.playing or not line.opened:
            return
        if left is not None:
            line.revoke(math.ceil(left))
            line.resume(u)
            while line.ahead(u) < 1:
                line.improvise()
        self._load(u, everything=True)

    def due(self, u: float) -> float | None:
        line = self._line
        if not line.opened:
            return None
        if self._job is not None or self._refused:
            return line.due()
        return min(line.due(), self._wanted())

    def advance(self, u: float, now: int) -> None:
        line, deck = self._line, self._deck
        while line.due() <= u:
            line.improvise()
            deck.missed(f"{deck.card.name} is late: the last bar is varied until it answers.")
            self._refused = False
        self._load(u)
        self._order(now)

    def restore(self) -> None:
        """Its tables are the deck's parts."""

    def end(self, u: float) -> None:
        if self._job is not None:
            self._deck.desk.drop(self._job)

    def look(self, u: float) -> Look:
        line, deck = self._line, self._deck
        if not line.opened:
            return Look("thinking", deck.desk.loading or f"{deck.card.name} begins")
        if not deck.timeline.playing:
            return Look("ready", "press play to go on", line.ahead(u))
        ahead = line.ahead(u)
        state = "playing" if deck.in_time else "falling back"
        return Look(state, f"{ahead:.0f} bars ready" if ahead >= 1 else "the next bar", ahead)

    def take(self) -> tuple[Track, ...]:
        return self._deck.parts.take

    # --- inside ------------------------------------------------------------------------------------

    def _order(self, now: int) -> None:
        """Ask for the next bar unless there are enough."""
        deck, line = self._deck, self._line
        here = deck.timeline.position(now) if line.opened else line.start
        if self._job is not None or self._refused or here + 1 < self._wanted():
            return
        start, past = line.next, line.past()
        order = continuing(
            deck.card,
            deck.setting,
            deck.timeline,
            deck.scene,
            past,
            start,
            line.segment_end(start),
            deck.seed(),
        )
        self._job = deck.desk.want(order, now)

    def _wanted(self) -> int:
        """From where on there are fewer bars ahead than there should be."""
        line, deck = self._line, self._deck
        bars = max(deck.setting.bars, 1)
        return line.next - bars * deck.timeline.bar_length(line.next - 1) + 1

    def _open(self, u: float) -> None:
        deck, line = self._deck, self._line
        timeline = deck.timeline
        if timeline.playing:
            line.open(timeline.following(u + deck.margin(u)))
            return
        line.open(timeline.following(u))
        self._load(u)
        deck.send(Play(timeline.place(line.start)))

    def _load(self, u: float, *, everything: bool = False) -> None:
        if self._line.opened:
            self._deck.parts.load(self._deck.timeline, u, everything=everything)

    def _before(self, u: float, start: int) -> Lines:
        """What to go on from: what was played last, what stands in the score, or a scale up to the tonic."""
        deck = self._deck
        bar = deck.timeline.bar_length(start)
        here = deck.timeline.following(u)
        since = max(here - SEED_BARS * bar, 0)
        played = clipped(deck.ear.notes(since, here), since, here)
        if len(played):
            played = fallback.gridded(played)
            return {"Phrase": led_up(played.with_(onset=played.onset + start - here), start, bar)}
        tick = deck.timeline.place(here)
        shift = start - tick
        written = {
            t.name or str(t.id): clipped(t.notes, max(tick - SEED_BARS * bar, 0), tick)
            for t in deck.scene.score.tracks
            if t.channel != 9 and not t.muted and tick > 0
        }
        found = {k: n.with_(onset=n.onset + shift) for k, n in written.items() if len(n)}
        if found:
            top = max(found, key=lambda k: float(np.mean(found[k].pitch)))
            return {"Phrase": led_up(fallback.highest(found[top]), start, bar)}
        return {"Phrase": self._scale(start, bar)}

    def _scale(self, start: int, bar: int) -> Notes:
        """A bar of quarters before `start` that rises to the tonic."""
        deck = self._deck
        key = deck.scene.score.key_at(deck.timeline.place(start))
        tonic = 60 + (key.tonic if key is not None else 0)
        count = max(bar // PPQ, 1)
        scale = deck.scale(start)
        pitches = [fallback.step(tonic, i - count + 1, scale) for i in range(count)]
        return Notes.of(start - (count - np.arange(count)) * PPQ, PPQ, pitches)

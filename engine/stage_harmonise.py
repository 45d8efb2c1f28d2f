"""Harmonise: chords follow what is played or held, on the next beat or bar, and nothing that sounds is rewritten."""

from __future__ import annotations

import math

import numpy as np

from engine import fallback
from engine.playback import Play
from engine.stage_asks import HISTORY_BARS, Passage, accompanying, merged
from engine.stage_deck import Deck, Look
from engine.stage_desk import Reply
from engine.staging import Quantum, Scene
from models.score import EMPTY, Notes, Track
from models.timebase import PPQ

BREATH_BEATS = 1.0
"""A rest of the melody as long as this is a rest of the chords, too."""

LATEST = 0.25
"""So many beats before they sound the chords are settled."""


class Harmonise:
    """See the head of this file.

    The system is asked for the next beat (or bar) with what is held now held on, and again when another note
    is played, if it is quick enough to be asked twice. What one that takes longer than a beat says of later
    beats is kept for them. Where nothing has come the last chord stays if it fits, else one fits by rule.
    """

    def __init__(self, deck: Deck) -> None:
        self._deck = deck
        self._next: int | None = None  # where the next chords begin; None while nothing is played
        self._starting = False
        self._job: int | None = None
        self._again = False  # something was played since the system was asked
        self._plan: tuple[Passage, int] | None = None  # with the melody's pitch it was made for
        self._asked_pitch = 0
        self._asked_at = 0
        self._asked_again = False  # for the same beat, as another note was played
        self._written: dict[str, Notes] = {}

    # --- what happens ------------------------------------------------------------------------------

    def begin(self, u: float, now: int) -> None:
        """It waits for a note."""

    def played(self, u: float, now: int, *, began: bool) -> None:
        deck = self._deck
        if not began:
            return
        if not deck.timeline.playing:
            if not self._starting:
                self._starting = True
                deck.send(Play(deck.timeline.place(deck.timeline.following(u))))
            return
        if self._next is None:
            self._wake(u)
        self._order(now)

    def pad(self, u: float, now: int) -> None:
        """Chords come by themselves."""

    def replied(self, reply: Reply, u: float, now: int) -> None:
        if reply.job != self._job:
            return
        if reply.passage is not None and reply.passage.count:
            self._plan = reply.passage, self._asked_pitch
        if not reply.final:
            return
        self._job = None
        if reply.passage is None:
            self._deck.sentence = reply.sentence
        if self._again:
            self._order(now)

    def changed(self, u: float, now: int) -> None:
        self._drop()
        self._plan = None
        self._order(now)

    def staged(self, before: Scene, u: float, now: int) -> None:
        """Tempo, metre and key are looked up when they are needed."""

    def moved(self, u: float, now: int, *, left: float | None) -> None:
        deck = self._deck
        if not deck.timeline.playing:
            self._next = None
            self._drop()
            return
        started, self._starting = self._starting, False
        if left is not None:
            deck.parts.clear(math.ceil(left))
            self._plan = None
        if left is not None or started or (self._next is None and deck.ear.held):
            self._next = None
            if deck.ear.held or started:
                self._wake(u)
                self._order(now)
        deck.parts.load(deck.timeline, u, everything=True)

    def due(self, u: float) -> float | None:
        if self._next is None:
            return None
        return self._next - self._latest(self._next)

    def advance(self, u: float, now: int) -> None:
        deck, start = self._deck, self._next
        if start is None:
            return
        end = self._following(start + 1)
        melody = self._melody(u)
        if melody is None:
            # The performer rests: so do the chords, and they come back with the next note.
            self._next = None
            self._drop()
            self._plan = None
            deck.parts.load(deck.timeline, u)
            return
        self._lay(self._chords(start, end, melody), start)
        self._next, self._asked_again = end, False
        deck.parts.load(deck.timeline, u)
        self._order(now)

    def restore(self) -> None:
        """Its tables are the deck's parts."""

    def end(self, u: float) -> None:
        self._drop()

    def look(self, u: float) -> Look:
        deck = self._deck
        if self._next is None:
            if deck.desk.loading:
                return Look("thinking", deck.desk.loading)
            return Look("ready", "play or hold a melody")
        what = "beat" if deck.setting.quantum is Quantum.BEAT else "bar"
        state = "playing" if deck.in_time else "falling back"
        bars = max(self._next - u, 0) / deck.timeline.bar_length(u)
        return Look(state, f"chords follow on the next {what}", bars)

    def take(self) -> tuple[Track, ...]:
        return self._deck.parts.take

    # --- inside ------------------------------------------------------------------------------------

    def _following(self, u: float) -> int:
        return self._deck.timeline.following(u, self._deck.setting.quantum)

    def _latest(self, u: float) -> float:
        """How many ticks before they sound the chords are settled."""
        return LATEST * self._deck.timeline.beat_length(u) + self._deck.early(u)

    def _wake(self, u: float) -> None:
        """A melody begins: chords come on the next beat or bar after its note."""
        self._next = self._following(u + self._latest(u) + 1)

    def _melody(self, u: float) -> int | None:
        """The highest pitch held, or the last one if it was let go less than a breath ago."""
        deck = self._deck
        if deck.ear.held:
            return deck.ear.held[-1]
        end = deck.ear.last_end()
        if end is None or u - end > BREATH_BEATS * deck.timeline.beat_length(u):
            return None
        recent = deck.ear.notes(u - HISTORY_BARS * deck.timeline.bar_length(u), u)
        last = recent.where(recent.end == recent.length)
        return int(last.pitch.max()) if len(last) else None

    def _sung(self, u: float, end: int) -> Notes:
        """The melody so far; what sounds now, or sounded last, goes on to `end`."""
        deck = self._deck
        sung = deck.ear.notes(u - HISTORY_BARS * deck.timeline.bar_length(u), u)
        if not len(sung):
            return sung
        held = np.isin(sung.pitch, deck.ear.held) & (sung.end >= int(u))
        if not held.any():
            held = sung.end == sung.length
        sung = fallback.gridded(sung)
        held = held & (sung.onset < end)
        return sung.with_(duration=np.where(held, np.maximum(end - sung.onset, 1), sung.duration))

    def _order(self, now: int) -> None:
        """Ask for what comes next, unless a slow system is still at it."""
        deck, start = self._deck, self._next
        if start is None:
            return
        u = deck.timeline.position(now)
        melody = self._melody(u)
        if melody is None:
            return
        length = self._following(start + 1) - start
        slow = self._slow(length)
        if self._job is not None:
            waited = (now - self._asked_at) * 1e-9 * deck.timeline.bpm(u) / 60 * PPQ
            if slow or self._asked_again or waited > length / 2:
                self._again = True
                return
            self._drop()
            self._asked_again = True
        self._again = False
        # One that is slow is asked for what begins until this answer and the next are there.
        seconds = deck.desk.seconds.get(deck.card.id, 0.0)
        beats = seconds * deck.timeline.bpm(u) / 60 * PPQ / length
        reach = min(1 + 2 * math.ceil(beats), 8) if slow else 1
        end = start
        for _ in range(reach):
            end = self._following(end + 1)
        sung = self._sung(u, end)
        if not len(sung):
            return
        self._asked_pitch, self._asked_at = melody, now
        order = accompanying(
            deck.card,
            deck.setting,
            deck.timeline,
            deck.scene,
            sung,
            self._written,
            start,
            end,
            deck.seed(),
        )
        self._job = deck.desk.want(order, now)

    def _slow(self, length: int) -> bool:
        deck = self._deck
        seconds = deck.desk.seconds.get(deck.card.id, 0.0)
        return seconds * deck.timeline.bpm(self._next or 0) / 60 * PPQ > length / 2

    def _chords(self, start: int, end: int, melody: int) -> Passage:
        """What is to sound in [start, end): the system's if it is there and fits, else by rule."""
        deck = self._deck
        if self._plan is not None:
            passage, pitch = self._plan
            there = passage.start <= start and end <= passage.end
            chords = self._held_on(passage.cut(start, end), start, melody)
            if there and chords.count:
                struck = chords.joined()
                struck = struck.where(struck.onset < start + deck.timeline.beat_length(start))
                rough = {(melody - int(p)) % 12 for p in struck.pitch} & set(fallback.HARSH)
                if pitch == melody or not rough:
                    deck.kept_up()
                    return chords
        before = deck.parts.sounding(start)
        before = before.where(before.end == start)
        octaves = 12 * deck.setting.register
        recent = merged(list(self._written.values()))
        sung = deck.ear.notes(start - 2 * deck.timeline.bar_length(start), start)
        scale = deck.scale(start, merged([recent, sung]))
        chord = fallback.harmony(melody, scale, sorted({int(p) - octaves for p in before.pitch}))
        deck.missed(f"{deck.card.name} is late: chords fit by rule until it answers.")
        names = sorted(
            self._written,
            key=lambda k: -float(np.mean(self._written[k].pitch)) if len(self._written[k]) else 0.0,
        ) or ["Chords"]
        lines: dict[str, list[int]] = {name: [] for name in names}
        for i, pitch in enumerate(sorted(chord, reverse=True)):
            lines[names[min(i, len(names) - 1)]].append(pitch)
        found = {k: Notes.of([start] * len(p), end - start, p, 70) for k, p in lines.items() if p}
        return Passage(start, end, found)

    def _held_on(self, chords: Passage, start: int, melody: int) -> Passage:
        """Voices of which it says nothing at first hold their last note, if it fits: a system that holds on to what
        sounds before its region cannot say so."""
        lines = dict(chords.lines)
        for name, known in self._written.items() if len(self._deck.card.voices) > 1 else ():
            said = lines.get(name, EMPTY)
            first = int(said.onset.min()) if len(said) else chords.end
            last = known.where(known.end == start)
            if (
                first > start
                and len(last)
                and (melody - int(last.pitch[0])) % 12 not in fallback.HARSH
            ):
                held = Notes.of([start], first - start, last.pitch[:1], last.velocity[:1])
                lines[name] = merged([held, said])
        return Passage(chords.start, chords.end, lines)

    def _lay(self, chords: Passage, start: int) -> None:
        deck = self._deck
        oldest = start - HISTORY_BARS * deck.timeline.bar_length(start)
        for name, notes in chords.lines.items():
            known = self._written.get(name)
            parts = [notes] if known is None else [known.where(known.end > oldest), notes]
            self._written[name] = merged(parts)
        deck.parts.lay(deck.sounding(chords), tie=True)

    def _drop(self) -> None:
        if self._job is not None:
            self._deck.desk.drop(self._job)
        self._job, self._again = None, False

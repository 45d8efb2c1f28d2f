"""Loop and mutate: the document's loop goes round, and every few passes a part of its notes is written anew."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from engine import fallback, schedule
from engine.playback import Loop, Play
from engine.stage_asks import DRUMS, mutating
from engine.stage_deck import Deck, Look
from engine.stage_desk import Reply
from engine.stage_line import VARIATIONS
from engine.stage_parts import load
from engine.staging import Scene
from models.score import NOTE_DTYPES, Notes, Region, Score, Track, UserError
from models.system import Ask

MELODY, PLAYING = "melody", "performance"
"""The card's words for systems that write one voice at a time, and for those that leave every pitch as it is."""

COMPARED = ("onset", "duration", "pitch", "velocity", "locked")


class Mutate:
    """See the head of this file. The document is untouched: what has become of its tracks is in `take`.

    A new version is loaded half a beat before the loop's end, for all but that half beat, which follows when it
    is over: so what sounds at the end of a pass is what sounded there before. Where none is ready in time the
    last good version is varied by rule, in the notes that the system was to write, until it answers; it is
    repeated where that is the wish, or nothing may be varied. A bar that is edited in the document is the
    document's again.
    """

    def __init__(self, deck: Deck) -> None:
        self._deck = deck
        self._evolved = deck.scene.score  # what sounds
        self._good = deck.scene.score  # the same without what is varied by rule
        self._said: deque[Score] = deque(maxlen=VARIATIONS)  # variations of it
        self._ready: Score | None = None
        self._job: int | None = None
        self._base = deck.scene.score  # what the job is about
        self._wanted: Ask | None = None  # what of it may change
        self._passes = 0  # since the last new version
        self._back: int | None = None  # u of the next jump back
        self._swapped: Score | None = None  # loaded but for the end of the loop
        self._refused = ""

    # --- what happens ------------------------------------------------------------------------------

    def begin(self, u: float, now: int) -> None:
        deck = self._deck
        loop = deck.scene.loop
        if loop is None:
            deck.sentence = "Mark a loop first; it is what changes."
            return
        deck.send(Loop(loop.start, loop.end))
        if deck.timeline.playing:
            self._back = deck.timeline.until(int(u))
        else:
            deck.send(Play(loop.start))
        self._order(now)

    def played(self, u: float, now: int, *, began: bool) -> None:
        """What is played beside it makes no difference."""

    def pad(self, u: float, now: int) -> None:
        """The next new version comes at the end of this pass."""
        self._passes = self._deck.setting.passes - 1
        self._order(now)

    def replied(self, reply: Reply, u: float, now: int) -> None:
        if reply.job != self._job or not reply.final:
            return
        self._job = None
        if reply.proposal is None or reply.ask is None:
            self._refused = reply.sentence
            self._deck.sentence = reply.sentence
            return
        whole = reply.proposal.apply(reply.ask.score)
        self._ready = _unlocked(whole, self._base)

    def changed(self, u: float, now: int) -> None:
        self._drop()
        self._ready = None
        self._order(now)

    def staged(self, before: Scene, u: float, now: int) -> None:
        deck, scene = self._deck, self._deck.scene
        if scene.loop is None:
            self._drop()
            self._back = None
            deck.sentence = "The loop is gone; mark one to go on."
            return
        if scene.loop != before.loop:
            deck.send(Loop(scene.loop.start, scene.loop.end))
        varied = self._evolved is not self._good
        self._good = merged_edits(self._good, before.score, scene.score, self._barlines())
        if varied:
            self._evolved = merged_edits(self._evolved, before.score, scene.score, self._barlines())
        else:
            self._evolved = self._good
        self._said.clear()
        self._swapped = None
        self._drop()
        self._ready = None
        for track in self.take():
            self._load(track)
        self._order(now)

    def moved(self, u: float, now: int, *, left: float | None) -> None:
        timeline = self._deck.timeline
        if timeline.playing and timeline.looping:
            back = timeline.until(int(u))
            if self._back is not None and back > self._back and left is None:
                self._went_back(now)
            self._back = back
        else:
            self._back = None

    def due(self, u: float) -> float | None:
        if self._back is None:
            return None
        return self._back - self._margin() if self._swapped is None else float(self._back)

    def advance(self, u: float, now: int) -> None:
        deck, back = self._deck, self._back
        if back is None:
            return
        if u >= back:
            self._went_back(now)
            self._back = deck.timeline.until(int(u))
            return
        following = self._evolved
        if self._passes + 1 >= deck.setting.passes:
            if self._ready is not None:
                deck.kept_up()
                following = self._ready
            elif self._job is not None and not (self._passes + 1) % deck.setting.passes:
                following = self._late()
        split = deck.timeline.place(u)
        for track in following.tracks:
            old = next((t for t in self._evolved.tracks if t.id == track.id), None)
            if old is not None and old.notes is not track.notes:
                self._load(track.with_notes(spliced(track.notes, old.notes, split)))
        self._swapped = following  # what sounds already, if nothing is to change yet

    def restore(self) -> None:
        for track in self.take():
            self._load(track)

    def end(self, u: float) -> None:
        self._drop()
        for track in self._deck.scene.score.tracks:
            if any(t.id == track.id for t in self.take()):
                self._load(track)

    def look(self, u: float) -> Look:
        deck = self._deck
        if deck.scene.loop is None or self._back is None:
            return Look("ready", "mark a loop and play it")
        passes = max(deck.setting.passes - self._passes, 1)
        what = (
            "a new version"
            if self._ready is not None
            else deck.desk.loading or "it is being written"
        )
        when = "next time" if passes == 1 else f"in {passes} passes"
        state = "playing" if deck.in_time else "falling back"
        if self._refused:
            return Look("ready", "nothing new")
        return Look(state, f"{what}, {when}", 1.0 if self._ready is not None else 0.0)

    def take(self) -> tuple[Track, ...]:
        document = {t.id: t for t in self._deck.scene.score.tracks}
        return tuple(
            t
            for t in self._evolved.tracks
            if t.id in document and document[t.id].notes is not t.notes
        )

    # --- inside ------------------------------------------------------------------------------------

    def _margin(self) -> int:
        loop = self._deck.scene.loop
        length = 0 if loop is None else loop.end - loop.start
        return min(self._deck.margin(self._back or 0), length // 4)

    def _went_back(self, now: int) -> None:
        """The loop begins again."""
        swapped, self._swapped = self._swapped, None
        self._passes += 1
        if swapped is None or swapped is self._evolved:
            return
        before, self._evolved = self._evolved, swapped
        for track in swapped.tracks:
            old = next((t for t in before.tracks if t.id == track.id), None)
            if old is not None and old.notes is not track.notes:
                self._load(track)
        if not any(swapped is varied for varied in self._said):
            self._good, self._ready, self._passes = swapped, None, 0
            self._said.clear()
            self._order(now)

    def _late(self) -> Score:
        """What sounds in the next pass, as the system has no answer yet."""
        deck = self._deck
        if not deck.setting.repeat and self._wanted is not None:
            varied = by_rule(self._wanted, deck.rng, self._said)
            if varied is not None:
                deck.missed(
                    f"{deck.card.name} is late: the loop is varied by rule until it answers."
                )
                self._said.append(_unlocked(varied, self._good))
                return self._said[-1]
        deck.missed(f"{deck.card.name} is late: the loop is repeated until it answers.")
        return self._evolved

    def _order(self, now: int) -> None:
        deck = self._deck
        loop = deck.scene.loop
        if loop is None or self._job is not None or self._ready is not None:
            return
        self._base, self._refused, self._wanted = self._good, "", None
        try:
            order = mutating(deck.card, deck.setting, self._good, loop, deck.rng)
        except UserError as error:
            self._refused = deck.sentence = str(error)
            return
        kind = deck.card.objective.type
        if kind != PLAYING:
            # The last ask is of one voice alone, all that a system of melodies will change.
            self._wanted = order.asks[-1 if kind.startswith(MELODY) else 0][0]
        self._job = deck.desk.want(order, now, empty=True)

    def _load(self, track: Track) -> None:
        """Let the transport play the track, if it is to be heard."""
        heard = track.id in schedule.audible(self._deck.scene.score)
        self._deck.send(load(track, schedule.compile(track, audible=heard)))

    def _barlines(self) -> list[tuple[int, int]]:
        loop = self._deck.scene.loop
        return [] if loop is None else bars(self._deck.scene.score, loop)

    def _drop(self) -> None:
        if self._job is not None:
            self._deck.desk.drop(self._job)
        self._job = None


def by_rule(ask: Ask, rng: np.random.Generator, avoid: Sequence[Score] = ()) -> Score | None:
    """The score of a request with what its region owns varied by rule, none of `avoid` again; None when nothing
    of it can be. Every voice keeps its rhythm and its compass in the region's bars."""
    score, region = ask.score, ask.region
    voices = {
        t.id: t.notes.where(t.notes.sounding(region.start, region.end))
        for t in score.tracks
        if t.channel != DRUMS
    }
    whole = Notes.concatenate(voices.values())
    scaled = [
        (start, end, fallback.scale(score.key_at(start), whole))
        for start, end in bars(score, region)
    ]
    varied = score
    for track in score.tracks:
        if track.id not in region.tracks:
            continue
        notes = track.notes
        inside = notes.sounding(region.start, region.end)
        around = [t.notes for t in varied.tracks if t.id in voices and t.id != track.id]
        new = fallback.repitch(
            notes.where(inside),
            region.owned(track)[inside],
            scaled,
            rng,
            Notes.concatenate([n.where(n.sounding(region.start, region.end)) for n in around]),
            [said.track(track.id).notes.where(inside) for said in avoid],
        )
        if not fallback.alike(new, notes.where(inside)):
            new = Notes.concatenate([notes.where(~inside), new])
            varied = varied.with_track(track.with_notes(new))
    return None if varied is score else varied


def bars(score: Score, loop: Region) -> list[tuple[int, int]]:
    """The bars of a loop, as ticks [start, end), the first and the last cut where the loop is."""
    lines = [tick for _, tick in score.meter.bars(loop.start, loop.end) if tick > loop.start]
    edges = [loop.start, *lines, loop.end]
    return list(pairwise(edges))


def spliced(new: Notes, old: Notes, split: int) -> Notes:
    """What begins before `split` of the new notes, ending there at the latest, and what sounds from `split` on
    of the old: nothing that sounds changes while the playhead is at `split`."""
    first = new.where(new.onset < split)
    first = first.with_(duration=np.minimum(first.end, split) - first.onset)
    rest = old.where(old.end > split)
    first = first.with_(id=np.arange(len(first)))
    return Notes.concatenate([first, rest.with_(id=len(first) + np.arange(len(rest)))])


def merged_edits(
    evolved: Score, before: Score, after: Score, barlines: list[tuple[int, int]]
) -> Score:
    """The document `after` an edit, with what had become of the document `before` in bars nobody edited.

    A bar is a track's notes that begin in it. What lies outside `barlines` is the document's.
    """
    tracks: list[Track] = []
    next_id = max(evolved.next_id, after.next_id)
    for track in after.tracks:
        was = next((t for t in before.tracks if t.id == track.id), None)
        grown = next((t for t in evolved.tracks if t.id == track.id), None)
        if was is None or grown is None or grown.notes is was.notes:
            tracks.append(track)
            continue
        ours = np.zeros(len(grown.notes), bool)
        theirs = np.ones(len(track.notes), bool)
        for start, end in barlines:
            inside: Callable[[Notes], np.ndarray] = _begins(start, end)
            if _same(was.notes.where(inside(was.notes)), track.notes.where(inside(track.notes))):
                ours |= inside(grown.notes)
                theirs &= ~inside(track.notes)
        if not ours.any():
            tracks.append(track)
            continue
        kept, edited = grown.notes.where(ours), track.notes.where(theirs)
        clash = np.isin(kept.id, edited.id)
        ids = np.where(clash, next_id + np.arange(len(kept)), kept.id)
        next_id += len(kept)
        tracks.append(track.with_notes(Notes.concatenate([kept.with_(id=ids), edited])))
    return replace(after, tracks=tuple(tracks))


def _begins(start: int, end: int) -> Callable[[Notes], np.ndarray]:
    return lambda notes: np.asarray((notes.onset >= start) & (notes.onset < end))


def _same(a: Notes, b: Notes) -> bool:
    return len(a) == len(b) and all(np.array_equal(getattr(a, n), getattr(b, n)) for n in COMPARED)


def _unlocked(score: Score, base: Score) -> Score:
    """`score` with only those notes locked that are so in `base`; tracks with nothing new are `base`'s."""
    known = {t.id: t for t in base.tracks}
    tracks: list[Track] = []
    for track in score.tracks:
        old = known.get(track.id)
        if old is None:
            continue  # a part of its own has no place in the document
        locked = np.isin(track.notes.id, old.notes.id[old.notes.locked])
        notes = track.notes.with_(locked=locked)
        same = len(notes) == len(old.notes) and all(
            np.array_equal(getattr(notes, n), getattr(old.notes, n)) for n in NOTE_DTYPES
        )
        tracks.append(old if same else old.with_notes(notes))
    return replace(base, tracks=tuple(tracks))

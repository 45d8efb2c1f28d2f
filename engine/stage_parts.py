"""What is made on stage, part by part: what the transport plays of it, and all of it to be kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from engine import schedule
from engine.playback import Command, Load, Unload
from engine.schedule import Table
from engine.stage_asks import Lines
from engine.stage_time import Timeline
from engine.staging import LIVE
from models.score import EMPTY, Notes, Track
from models.timebase import PPQ

KEPT_NOTES = 100_000
"""So many of the newest notes are kept of a performance, of each part."""

BEHIND = PPQ
"""What ended so many ticks ago is no longer in the transport's tables."""

DEFAULT = Track(LIVE, "Ricercar")


def load(track: Track, table: Table) -> Load:
    """The command that lets `track` play `table`."""
    return Load(track.id, track.port, table, track.offset)


class Parts:
    """The parts of a performance (highest first) and their notes, in u.

    `lay` and `clear` plan; `load` tells the transport what has changed. Each line of music keeps the part it
    got when it was first heard: the highest line the first part, what is left over the last one.
    """

    def __init__(self, send: Callable[[Command], None]) -> None:
        self._send = send
        self._tracks: tuple[Track, ...] = (DEFAULT,)
        self._notes: list[Notes] = [EMPTY]
        self._done: list[list[Notes]] = [[]]
        self._seats: list[str] = []
        self._changed: set[int] = set()
        self._next_id = 0
        self._take: tuple[Track, ...] = ()

    @property
    def take(self) -> tuple[Track, ...]:
        """What has been played so far."""
        return self._take

    def seat(self, tracks: tuple[Track, ...]) -> None:
        """Play on these tracks from now on; without any, on one of the built-in synth."""
        tracks = tuple(t.with_notes(EMPTY) for t in tracks) or (DEFAULT,)
        if tracks == self._tracks:
            return
        for gone in {t.id for t in self._tracks} - {t.id for t in tracks}:
            self._send(Unload(gone))
        every = [n for n in self._notes if len(n)]
        count = len(tracks)
        notes, done = self._notes[:count], self._done[:count]
        if len(self._tracks) > count:  # the last part takes over from those that are gone
            notes[-1] = Notes.concatenate(self._notes[count - 1 :]) if every else EMPTY
            done[-1] = [n for chunk in self._done[count - 1 :] for n in chunk]
        while len(notes) < count:
            notes.append(EMPTY)
            done.append([])
        self._tracks, self._notes, self._done = tracks, notes, done
        self._changed = set(range(count))

    def fresh(self) -> None:
        """Forget all notes."""
        self._notes = [EMPTY for _ in self._tracks]
        self._done = [[] for _ in self._tracks]
        self._seats, self._take = [], ()
        self._changed = set(range(len(self._tracks)))

    def lay(self, lines: Lines, *, tie: bool = False) -> None:
        """Add music. With `tie`, a note that goes on with the key of one that ends there makes it longer."""
        new = sorted((k for k in lines if k not in self._seats), key=lambda k: -_height(lines[k]))
        self._seats += new
        for name, notes in lines.items():
            if not len(notes):
                continue
            i = min(self._seats.index(name), len(self._tracks) - 1)
            if tie:
                notes = self._tied(i, notes)
            notes = notes.with_(id=self._next_id + np.arange(len(notes)))
            self._next_id += len(notes)
            self._notes[i] = Notes.concatenate([self._notes[i], notes])
            self._changed.add(i)

    def _tied(self, i: int, notes: Notes) -> Notes:
        """Lengthen what is laid by those of `notes` that go on with it; the others."""
        laid = self._notes[i]
        duration = laid.duration.copy()
        rest = np.ones(len(notes), bool)
        for k, (onset, length, pitch) in enumerate(
            zip(notes.onset, notes.duration, notes.pitch, strict=True)
        ):
            same = np.flatnonzero((laid.end == onset) & (laid.pitch == pitch))
            if len(same):
                duration[same[-1]] += length
                rest[k] = False
        self._notes[i] = laid.with_(duration=duration)
        self._changed.add(i)
        return notes.where(rest)

    def clear(self, u: int) -> None:
        """Nothing begins at or after `u`, and what sounds ends there."""
        for i, notes in enumerate(self._notes):
            if notes.length > u:
                kept = notes.where(notes.onset < u)
                self._notes[i] = kept.with_(duration=np.minimum(kept.end, u) - kept.onset)
                self._changed.add(i)

    def sounding(self, u: int) -> Notes:
        """What sounds or ends at `u`, of all parts."""
        return Notes.concatenate([n.where((n.onset < u) & (n.end >= u)) for n in self._notes])

    def load(self, timeline: Timeline, u: float, *, everything: bool = False) -> None:
        """Have the transport play what is laid; what is long past goes to the take."""
        self._trim(int(u))
        indices = (
            range(len(self._tracks)) if everything or timeline.looping else sorted(self._changed)
        )
        for i in indices:
            track, notes = self._tracks[i], self._notes[i]
            # What was before a jump back may lie before the beginning, and what is to come a round later has to wait.
            there = (timeline.places(notes.onset) >= 0) & (notes.onset < timeline.horizon(u))
            notes = notes.where(there)
            ends = np.array([timeline.until(int(o)) for o in notes.onset], np.int64)
            placed = Notes.of(
                timeline.places(notes.onset),
                np.minimum(notes.duration, ends - notes.onset),
                notes.pitch,
                notes.velocity,
            )
            self._send(load(track, schedule.compile(track.with_notes(placed))))
        self._changed.clear()

    def unload(self, u: float) -> None:
        """End everything; what was to come is not."""
        self.clear(int(u))
        self._trim(int(u) + 2 * BEHIND)
        for track in self._tracks:
            self._send(Unload(track.id))
        self._changed = set(range(len(self._tracks)))

    def _trim(self, u: int) -> None:
        moved = False
        for i, notes in enumerate(self._notes):
            past = notes.end <= u - BEHIND
            if past.any():
                self._done[i].append(notes.where(past))
                self._notes[i] = notes.where(~past)
                moved = True
        if moved or len(self._take) != len(self._tracks):
            self._take = tuple(map(self._kept, range(len(self._tracks))))

    def _kept(self, i: int) -> Track:
        whole = Notes.concatenate(self._done[i])
        if len(whole) > KEPT_NOTES:
            whole = whole.where(np.arange(len(whole)) >= len(whole) - KEPT_NOTES)
        self._done[i] = [whole] if len(whole) else []
        return replace(self._tracks[i], notes=whole)


def _height(notes: Notes) -> float:
    return float(np.mean(notes.pitch)) if len(notes) else 0.0

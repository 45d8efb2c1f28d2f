"""Retrospective record: whatever is played in is remembered, so that it can be kept after the fact.

`Recorder` is told what comes in and where the transport is; `Recorder.passage` takes the last bars out of
that as notes of the score, exactly as they were played, and `take` puts the same notes, moved towards a grid,
beside them. Time is handed in; nothing here waits or draws.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.capture_bars import (
    AT,
    EARLY_NS,
    OFF,
    ON,
    PITCH,
    SOURCE,
    Part,
    Passage,
    Rows,
    Wish,
    free,
    pause_ns,
    timed,
)
from engine.capture_timeline import Moments, Timeline
from engine.playback import Anchor, Played
from engine.quantising import Quantise, apart, carried, quantised
from engine.schedule import CONTROL, NOTE_OFF, NOTE_ON, PROGRAM
from models.score import Controls, Notes, Score, UserError
from models.timebase import TempoMap

KEPT_SECONDS = 1800.0
KEPT_NOTES = 50_000
KEPT_CONTROLS = 100_000
"""What is remembered: half an hour, or so many of each, the newest. A flood of controllers drives no notes out."""

ECHO_NS = 10_000_000
"""The same key from two inputs within this time was struck once: one keyboard on two ports."""

MOST_STRETCHES = 12

FREE_BANKS = frozenset({0, 32})
MODES = 120
"""Controllers from here on are channel modes; all of them but reset and local control end notes."""


@dataclass(frozen=True)
class Stretch:
    """Music played in between one start, stop or jump of the transport and the next, or (not `playing`)
    without it, between two long silences. Moments in nanoseconds; `passes` of a loop that have notes."""

    playing: bool
    start: int
    end: int
    notes: int
    passes: int = 1


@dataclass(frozen=True, eq=False)
class Take:
    """A passage twice: `untouched` exactly as played, and `quantised`, with what controllers do in each.

    Notes of one id are the same note in both.
    """

    untouched: Notes
    quantised: Notes
    controls: Controls
    quantised_controls: Controls
    start: int
    length: int
    playing: bool
    bpm: float | None = None

    @property
    def end(self) -> int:
        """The tick after its last bar."""
        return self.start + self.length


def take(passage: Passage, quantise: Quantise) -> Take:
    """The passage as played and moved as asked."""
    moved = quantised(passage.notes, quantise, passage.meter, passage.tempo)
    cycle = passage.cycle
    notes = moved.notes
    if cycle is not None:  # what was early for the next pass is on time for this one
        played = passage.notes.onset[notes.id]
        over = (notes.onset >= cycle[1]) & (played < cycle[1])
        notes = notes.with_(onset=notes.onset - np.where(over, cycle[1] - cycle[0], 0))
    return Take(
        _within(passage.notes, cycle),
        _within(notes, cycle),
        passage.controls,
        carried(passage.controls, moved),
        passage.start,
        passage.length,
        passage.playing,
        passage.bpm,
    )


def _within(notes: Notes, cycle: tuple[int, int] | None) -> Notes:
    """The notes, cut where the loop they begin in ends, none running into the next of its pitch."""
    if cycle is not None:
        end = np.where(notes.onset < cycle[1], np.minimum(notes.end, cycle[1]), notes.end)
        notes = notes.with_(duration=end - notes.onset)
    return apart(notes)


class _Ring:
    """Rows of six whole numbers, the newest `size` of them."""

    def __init__(self, size: int) -> None:
        self._rows = np.zeros((size, 6), np.int64)
        self.count = 0

    def add(self, row: tuple[int, int, int, int, int, int]) -> int:
        """Put a row in, in place of the oldest; its number."""
        number = self.count
        self._rows[number % len(self._rows)] = row
        self.count += 1
        return number

    def set(self, number: int, column: int, value: int) -> None:
        """Change a row, if it is still there."""
        if number >= self.count - len(self._rows):
            self._rows[number % len(self._rows), column] = value

    def rows(self) -> Rows:
        """All rows, the oldest first."""
        if self.count <= len(self._rows):
            return self._rows[: self.count].copy()
        return np.roll(self._rows, -(self.count % len(self._rows)), axis=0)


class Recorder:
    """Remembers what is played in, within KEPT_SECONDS, KEPT_NOTES and KEPT_CONTROLS.

    `heard` costs some microseconds and no memory beyond what is taken at the start. What comes from
    an input named in `ignored` is not recorded.
    """

    def __init__(
        self, seconds: float = KEPT_SECONDS, notes: int = KEPT_NOTES, controls: int = KEPT_CONTROLS
    ) -> None:
        self.ignored: frozenset[str] = frozenset()
        self._kept_ns = round(seconds * 1e9)
        self._notes, self._controls = _Ring(notes), _Ring(controls)
        self._timeline = Timeline()
        self._sources: dict[str, int] = {}
        self._held: dict[
            tuple[int, int, int], int
        ] = {}  # source, channel, pitch → its row's number

    # --- what is told ----------------------------------------------------------------------------

    def heard(self, played: Played) -> None:
        """A message came in. What is no note and no controller is passed over."""
        message = played.message
        if len(message) < 2 or played.source in self.ignored or max(message[1:]) > 127:
            return
        kind, channel = message[0] & 0xF0, message[0] & 0x0F
        if not NOTE_OFF <= message[0] < 0xF0 or len(message) != (2 if kind in (0xC0, 0xD0) else 3):
            return
        source = self._sources.setdefault(played.source, len(self._sources))
        if kind in (NOTE_ON, NOTE_OFF):
            key = (source, channel, message[1])
            self._lift(key, played.at)
            if kind == NOTE_ON and message[2]:
                row = (played.at, -1, message[1], message[2], channel, source)
                self._held[key] = self._notes.add(row)
        elif kind == CONTROL and message[1] >= MODES:
            if message[1] not in (121, 122):
                self._lift_all(source, played.at, channel)
        elif kind != PROGRAM and not (kind == CONTROL and message[1] in FREE_BANKS):
            last = message[2] if len(message) > 2 else 0
            self._controls.add((played.at, kind, message[1], last, channel, source))

    def lost(self, source: str, at: int) -> None:
        """An input is gone at the moment `at`; what was held on it ends."""
        if source in self._sources:
            self._lift_all(self._sources[source], at)

    def anchored(
        self, anchor: Anchor, tempo: TempoMap, loop: tuple[int, int] | None = None
    ) -> None:
        """The transport says where it is; it follows `tempo`, and `loop` (ticks) if there is one."""
        self._timeline.anchored(anchor, tempo, loop)

    def _lift(self, key: tuple[int, int, int], at: int) -> None:
        number = self._held.pop(key, None)
        if number is not None:
            self._notes.set(number, OFF, at)

    def _lift_all(self, source: int, at: int, channel: int | None = None) -> None:
        for key in [k for k in self._held if k[0] == source and channel in (None, k[1])]:
            self._lift(key, at)

    # --- what is there ---------------------------------------------------------------------------

    @property
    def sources(self) -> tuple[str, ...]:
        """The inputs something came from, in order of their first message."""
        return tuple(self._sources)

    @property
    def seconds(self) -> float:
        """How far back the oldest note that is remembered lies before the newest."""
        on = self._recent()
        return float(on.max() - on.min()) * 1e-9 if len(on) else 0.0

    @property
    def notes(self) -> int:
        """How many notes are remembered."""
        return len(self._recent())

    def _recent(self) -> Moments:
        on = self._notes.rows()[:, ON]
        return on[on >= on.max() - self._kept_ns] if len(on) else on

    def stretches(self, score: Score, playhead: int, now: int) -> tuple[Stretch, ...]:
        """The last stretches that have notes, the newest first. `score` and `playhead` (a tick) say what a
        bar is where the transport rested; `now` as in `passage`."""
        found = []
        for part in self._parts(self._played(Wish(), now), pause_ns(score, playhead)):
            laps = len(np.unique(part.meant())) if part.run.playing else 1
            on, off = part.rows[:, ON], part.rows[:, OFF]
            playing = part.run.playing
            found.append(Stretch(playing, int(on[0]), int(off.max()), len(on), laps))
        return tuple(found)

    def passage(self, wish: Wish, score: Score, playhead: int, now: int) -> Passage:
        """What was played up to the moment `now`, at which what is still held ends.

        `playhead` (a tick) is where the transport stands. UserError when there is nothing.
        """
        parts = self._parts(self._played(wish, now), pause_ns(score, playhead))
        if not parts:
            raise UserError("Nothing has been played yet: play something on the MIDI keyboard.")
        part = parts[min(wish.stretch, len(parts) - 1)]
        controls = self._turned(wish, now)
        if part.run.playing:
            return timed(part, controls, wish, score, playhead)
        return free(part, controls, wish, score, playhead)

    def _played(self, wish: Wish, now: int) -> Rows:
        """The notes up to now, in order of onset, moments put right by the latency."""
        rows = self._chosen(self._notes.rows(), wish, now)
        held = (rows[:, OFF] < 0) | (rows[:, OFF] > now)
        rows[:, OFF] = np.maximum(np.where(held, now, rows[:, OFF]), rows[:, ON] + 1)
        if wish.source is None and len(self._sources) > 1 and len(rows):
            rows = rows[np.lexsort((rows[:, ON], rows[:, PITCH]))]
            step = np.diff(rows, axis=0)
            echo = (step[:, PITCH] == 0) & (step[:, ON] < ECHO_NS) & (step[:, SOURCE] != 0)
            rows = rows[~np.append(False, echo)]
        rows[:, [ON, OFF]] -= round(wish.latency_ms * 1e6)
        return np.asarray(rows[np.argsort(rows[:, ON], kind="stable")])

    def _turned(self, wish: Wish, now: int) -> Rows:
        """The controllers likewise."""
        rows = self._chosen(self._controls.rows(), wish, now)
        rows[:, AT] -= round(wish.latency_ms * 1e6)
        return np.asarray(rows[np.argsort(rows[:, AT], kind="stable")])

    def _chosen(self, rows: Rows, wish: Wish, now: int) -> Rows:
        oldest = max(now - self._kept_ns, self._timeline.first)
        chosen = (rows[:, AT] <= now) & (rows[:, AT] >= oldest)
        if wish.source is not None:
            chosen &= rows[:, SOURCE] == self._sources.get(wish.source, -1)
        return np.asarray(rows[chosen])

    def _parts(self, rows: Rows, longest: int) -> list[Part]:
        """The stretches of the rows, the newest first."""
        found: list[Part] = []
        on = rows[:, ON]
        runs = list(self._timeline.runs())
        upper = len(rows)
        for k, run in enumerate(runs):
            start = run.start
            if run.playing and k + 1 < len(runs) and not runs[k + 1].playing:
                start -= EARLY_NS
            lower = int(np.searchsorted(on[:upper], start))
            own, upper = rows[lower:upper], lower
            if run.playing and len(own):
                found.append(Part(run, own))
            elif len(own):
                silence = own[1:, ON] - np.maximum.accumulate(own[:, OFF])[:-1]
                phrases = np.split(own, np.flatnonzero(silence > longest) + 1)
                found.extend(Part(run, phrase) for phrase in reversed(phrases))
            if not upper or len(found) >= MOST_STRETCHES:
                break
        return found[:MOST_STRETCHES]

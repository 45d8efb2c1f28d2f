"""Score, Track, Notes, Controls, Region: the values everything in the program passes around.

All of them are immutable; an edit makes a new Score that shares what did not change, so "what changed"
is an identity test (`is not`) and handing a score to another thread needs neither copy nor lock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from models.timebase import MeterMap, TempoMap

Column = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]


class UserError(Exception):
    """Bad input. Its text is one sentence for the user: the file or thing, the place in it, the remedy."""


def _frozen(array: Column) -> Column:
    """`array`, which nobody else holds, made read-only."""
    array.flags.writeable = False
    return array


def _readonly(array: Column) -> Column:
    """`array` itself when nobody can write to it any more, else a copy of it that nobody can."""
    return _frozen(array.copy()) if array.flags.writeable or array.base is not None else array


NOTE_DTYPES: dict[str, str] = {
    "onset": "int64",
    "duration": "int64",
    "pitch": "uint8",
    "velocity": "uint8",
    "voice": "uint8",
    "locked": "bool",
    "id": "int64",
}
"""The columns of a set of notes and their types: onset and duration in ticks, pitch and velocity as in MIDI."""

CONTROL_DTYPES: dict[str, str] = {
    "tick": "int64",
    "status": "uint8",
    "data1": "uint8",
    "data2": "uint8",
}


LAST_TICK = 2**53
"""No onset and no duration is longer: sums of two stay far inside 64 bits, and exact as floats."""

MOST_OFFSET = 200
"""Milliseconds a track may be sent later, or earlier, than the score says."""

_RANGES: dict[str, tuple[int, int]] = {
    "onset": (0, LAST_TICK),
    "duration": (1, LAST_TICK),
    "pitch": (0, 127),
    "velocity": (1, 127),
    "voice": (0, 255),
}


def _note_column(name: str, values: npt.ArrayLike) -> Column:
    """`values` as that column; ValueError when one is out of range, before a cast could hide it."""
    column = np.asarray(values).reshape(-1)
    if name in _RANGES and len(column):
        low, high = _RANGES[name]
        if not (column.min() >= low and column.max() <= high):  # so put, it refuses NaN as well
            raise ValueError(f"a note's {name} is out of range")
    return column.astype(NOTE_DTYPES[name], copy=False)


def _note_order(columns: Mapping[str, Column]) -> Column | None:
    """The permutation that puts notes in order (onset, pitch, id), None when they are in order.

    Most edits leave notes in order or nearly so, hence a check first, and then a sort (stable, so
    numpy's merges runs) by one number; ids are looked at only where two notes share that number.
    """
    rank = columns["onset"] * 128 + columns["pitch"]
    ids = columns["id"]
    step = np.diff(rank)
    if (step > 0).all():
        return None
    if (step >= 0).all() and (np.diff(ids)[step == 0] >= 0).all():
        return None
    order = np.argsort(rank, kind="stable")
    if (np.diff(ids[order])[np.diff(rank[order]) == 0] >= 0).all():
        return np.asarray(order)
    return np.asarray(np.lexsort((ids, rank)))


@dataclass(frozen=True, eq=False)
class Notes:
    """A set of notes as parallel read-only columns of equal length, ordered by (onset, pitch, id).

    onset ≥ 0 and duration ≥ 1 are in ticks, pitch 0–127, velocity 1–127, voice 0–255 (a line inside
    the track; 0 when the track is one line), locked: generation must leave the note alone, id: unique
    in the score. Raises ValueError when a value is out of range.
    """

    onset: Column
    duration: Column
    pitch: Column
    velocity: Column
    voice: Column
    locked: Column
    id: Column

    def __post_init__(self) -> None:
        columns = {name: _note_column(name, getattr(self, name)) for name in NOTE_DTYPES}
        if len({len(column) for column in columns.values()}) > 1:
            raise ValueError("columns differ in length")
        order = _note_order(columns)
        for name, column in columns.items():
            object.__setattr__(
                self, name, _readonly(column) if order is None else _frozen(column[order])
            )

    @classmethod
    def _made(cls, columns: Mapping[str, Column]) -> Notes:
        """Notes of columns already checked, in order, of the right types and read-only: no work."""
        notes = object.__new__(cls)
        for name, column in columns.items():
            object.__setattr__(notes, name, column)
        return notes

    @classmethod
    def of(
        cls,
        onset: npt.ArrayLike,
        duration: npt.ArrayLike,
        pitch: npt.ArrayLike,
        velocity: npt.ArrayLike = 80,
        *,
        voice: npt.ArrayLike = 0,
        locked: npt.ArrayLike = False,
        first_id: int = 0,
    ) -> Notes:
        """Notes from columns or single values (broadcast), with ids counted up from `first_id`."""
        o = np.asarray(onset, np.int64).reshape(-1)
        n = len(o)

        def full(value: npt.ArrayLike) -> Column:
            return np.broadcast_to(np.asarray(value), (n,))

        ids = first_id + np.arange(n)
        return cls(o, full(duration), full(pitch), full(velocity), full(voice), full(locked), ids)

    @classmethod
    def concatenate(cls, parts: Iterable[Notes]) -> Notes:
        """One set from several; their ids must not collide."""
        parts = list(parts)
        if not parts:
            return EMPTY
        return cls(
            **{name: np.concatenate([getattr(p, name) for p in parts]) for name in NOTE_DTYPES}
        )

    def __len__(self) -> int:
        return len(self.onset)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Notes) and (
            self is other
            or all(np.array_equal(getattr(self, n), getattr(other, n)) for n in NOTE_DTYPES)
        )

    __hash__ = object.__hash__

    @property
    def end(self) -> Column:
        """The tick at which each note ends (exclusive)."""
        return np.asarray(self.onset + self.duration)

    @property
    def length(self) -> int:
        """The tick at which the last note ends; 0 when there are none."""
        return int(self.end.max()) if len(self) else 0

    def where(self, mask: Column) -> Notes:
        """The notes a boolean mask or an index array picks."""
        columns = {name: getattr(self, name)[mask] for name in NOTE_DTYPES}
        if np.asarray(mask).dtype == bool:  # a mask copies, and leaves what it picks in order
            return Notes._made({name: _frozen(column) for name, column in columns.items()})
        return Notes(**columns)

    def with_(self, **columns: npt.ArrayLike) -> Notes:
        """A copy with columns replaced (arrays of the same length, or single values)."""
        if unknown := columns.keys() - NOTE_DTYPES.keys():
            raise TypeError(f"notes have no column {', '.join(sorted(unknown))}")
        n = len(self)
        new = {name: np.broadcast_to(np.asarray(value), (n,)) for name, value in columns.items()}
        if columns.keys().isdisjoint(("onset", "pitch", "id")):  # so their order stands
            checked = {name: _readonly(_note_column(name, value)) for name, value in new.items()}
            return Notes._made({n: checked.get(n, getattr(self, n)) for n in NOTE_DTYPES})
        return Notes(**{name: new.get(name, getattr(self, name)) for name in NOTE_DTYPES})

    def having(self, ids: npt.ArrayLike) -> Mask:
        """A mask of the notes whose id is among `ids`."""
        return np.isin(self.id, np.asarray(ids, np.int64))

    def inside(self, start: int, end: int) -> Mask:
        """A mask of the notes that lie wholly in [start, end): what a region owns.

        A note that crosses either edge belongs to what is outside and is never touched.
        """
        return np.asarray((self.onset >= start) & (self.end <= end))

    def sounding(self, start: int, end: int) -> Mask:
        """A mask of the notes of which any part lies in [start, end)."""
        return np.asarray((self.onset < end) & (self.end > start))


EMPTY = Notes.of([], [], [])


@dataclass(frozen=True, eq=False)
class Controls:
    """Channel messages other than notes, ordered by tick: `status` is the high nibble alone (0xA0 poly
    pressure, 0xB0 control change, 0xC0 program, 0xD0 pressure, 0xE0 bend); the track gives the channel."""

    tick: Column = field(default_factory=lambda: np.zeros(0, np.int64))
    status: Column = field(default_factory=lambda: np.zeros(0, np.uint8))
    data1: Column = field(default_factory=lambda: np.zeros(0, np.uint8))
    data2: Column = field(default_factory=lambda: np.zeros(0, np.uint8))

    def __post_init__(self) -> None:
        columns = {
            name: np.asarray(getattr(self, name), dtype).reshape(-1)
            for name, dtype in CONTROL_DTYPES.items()
        }
        if len({len(column) for column in columns.values()}) > 1:
            raise ValueError("columns differ in length")
        tick = columns["tick"]
        if (np.diff(tick) < 0).any():
            # The sort is stable on tick alone: the order of messages at one tick carries meaning (RPN).
            order = np.argsort(tick, kind="stable")
            columns = {name: column[order] for name, column in columns.items()}
        for name, column in columns.items():
            object.__setattr__(self, name, _readonly(column))

    def __len__(self) -> int:
        return len(self.tick)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Controls) and all(
            np.array_equal(getattr(self, n), getattr(other, n)) for n in CONTROL_DTYPES
        )

    __hash__ = object.__hash__


NO_CONTROLS = Controls()


@dataclass(frozen=True)
class Track:
    """One line of the score: its notes and how they sound.

    channel 0–15 (9: drums), program 0–127; `port` names a MIDI output, "" the built-in synth;
    `volume` 0–127 as in MIDI controller 7; `offset` −200…200 ms: how much later than the score it is sent, to
    make up for slow or fast gear (files of music know nothing of it).
    """

    id: int
    name: str
    notes: Notes = EMPTY
    controls: Controls = NO_CONTROLS
    channel: int = 0
    program: int = 0
    port: str = ""
    muted: bool = False
    soloed: bool = False
    volume: int = 100
    offset: int = 0

    def with_notes(self, notes: Notes) -> Track:
        """A copy with other notes."""
        return replace(self, notes=notes)


class Key(NamedTuple):
    """A key signature from `tick` on: sharps −7…7 (flats negative), major or minor."""

    tick: int
    sharps: int
    minor: bool = False

    @property
    def tonic(self) -> int:
        """Pitch class of the tonic, 0 = C."""
        return (self.sharps * 7 + (9 if self.minor else 0)) % 12


@dataclass(frozen=True)
class Score:
    """A piece of music. `fermatas` are onset ticks of the chords held; `keys` are ordered by tick.

    `division` is the resolution, in ticks per quarter note, of the MIDI file the score was read from
    (`timebase.PPQ` otherwise), so that it can be written back on its own grid.
    """

    tracks: tuple[Track, ...] = ()
    tempo: TempoMap = field(default_factory=TempoMap)
    meter: MeterMap = field(default_factory=MeterMap)
    keys: tuple[Key, ...] = ()
    fermatas: tuple[int, ...] = ()
    title: str = ""
    division: int = 960

    @property
    def length(self) -> int:
        """The tick at which the last note ends."""
        return max((track.notes.length for track in self.tracks), default=0)

    @property
    def next_id(self) -> int:
        """The smallest id above every note's."""
        return 1 + max((int(t.notes.id.max()) for t in self.tracks if len(t.notes)), default=-1)

    @property
    def next_track_id(self) -> int:
        """The smallest id above every track's."""
        return 1 + max((t.id for t in self.tracks), default=-1)

    def track(self, track_id: int) -> Track:
        """The track with that id; KeyError when there is none."""
        for track in self.tracks:
            if track.id == track_id:
                return track
        raise KeyError(track_id)

    def named(self, name: str) -> Track | None:
        """The first track of that name, whatever its case, or None."""
        return next((t for t in self.tracks if t.name.casefold() == name.casefold()), None)

    def with_track(self, track: Track) -> Score:
        """A copy in which `track` replaces the one with its id, or is added at the end."""
        if any(t.id == track.id for t in self.tracks):
            return replace(
                self, tracks=tuple(track if t.id == track.id else t for t in self.tracks)
            )
        return replace(self, tracks=(*self.tracks, track))

    def key_at(self, tick: int) -> Key | None:
        """The key signature in force at `tick`, or None when the score says none."""
        return next(
            (k for k in reversed(self.keys) if k.tick <= tick), self.keys[0] if self.keys else None
        )


@dataclass(frozen=True)
class Region:
    """Where generation may write: ticks [start, end) of the tracks with these ids.

    It owns the notes that lie wholly inside (`Notes.inside`) and are not locked.
    """

    start: int
    end: int
    tracks: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end:
            raise ValueError("a region must have a positive length")

    def owned(self, track: Track) -> Mask:
        """A mask over the track's notes: those that generation may replace."""
        notes = track.notes
        if track.id not in self.tracks:
            return np.zeros(len(notes), bool)
        return np.asarray(notes.inside(self.start, self.end) & ~notes.locked)

    def with_tracks(self, tracks: Iterable[int]) -> Self:
        """The same bars of other tracks."""
        return replace(self, tracks=frozenset(tracks))


def splice(score: Score, region: Region, tracks: Iterable[Track]) -> Score:
    """`score` with the notes `region` owns replaced by those of `tracks`, which hold only new notes.

    A track whose id the score lacks is added whole. What the region does not own keeps its bytes, ids
    included; the new notes get fresh ids. Raises ValueError when a new note leaves the region.
    """
    next_id = score.next_id
    for new in tracks:
        notes = new.notes
        if len(notes) and not notes.inside(region.start, region.end).all():
            raise ValueError(f"a note of {new.name} leaves the region")
        notes = notes.with_(id=next_id + np.arange(len(notes)))
        next_id += len(notes)
        old = next((t for t in score.tracks if t.id == new.id), None)
        if old is None:
            score = score.with_track(new.with_notes(notes))
        else:
            kept = old.notes.where(~region.with_tracks({old.id}).owned(old))
            score = score.with_track(old.with_notes(Notes.concatenate([kept, notes])))
    return score

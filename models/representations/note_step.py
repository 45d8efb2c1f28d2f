"""Note step: a melody as one note after another, each a pitch and a duration (Briot 4.8.1.2).

Time advances by notes, not by a grid, so triplets and any metre are at home here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.score import Notes, Region, Score, Track, UserError
from models.timebase import PPQ
from models.tunes import Tune

Column = npt.NDArray[np.int64]

REST = -1
"""The pitch of a silence."""
END = 0
"""The symbol that stands between two pieces."""
MIDDLE = 69
"""Where melodies of the corpora lie; music an octave or more away is brought there and back."""
_SCALE = np.array([0, 2, 4, 5, 7, 9, 11])
LONGEST = 16 * PPQ
SHORTEST = PPQ // 24


def to_white_keys(sharps: int) -> int:
    """Semitones −6…5 that take a signature of so many sharps to none, whatever the mode."""
    return (-7 * sharps + 6) % 12 - 6


def signature(pitches: Column, durations: Column) -> int:
    """Sharps −5…6 of the major scale in which most of the time is spent."""
    weight = np.bincount(pitches % 12, durations, 12)
    inside = [weight[(_SCALE + tonic) % 12].sum() for tonic in range(12)]
    tonic = int(np.argmax(inside))
    return (tonic * 7 + 5) % 12 - 5


def steps(onset: Column, duration: Column, pitch: Column) -> Column:
    """[N, 2] (pitch or REST, ticks) of a line of notes and the silences between them."""
    if not len(onset):
        return np.zeros((0, 2), np.int64)
    gap = np.append(onset[1:], onset[-1] + duration[-1]) - onset - duration
    rows = np.empty((2 * len(onset), 2), np.int64)
    rows[::2, 0], rows[::2, 1] = pitch, duration
    rows[1::2, 0], rows[1::2, 1] = REST, gap
    return np.asarray(rows[rows[:, 1] >= SHORTEST])


def of_tune(tune: Tune) -> Column:
    """The steps of a tune, moved to a signature without sharps or flats."""
    rows = steps(tune.onset, np.minimum(tune.duration, LONGEST), tune.pitch)
    moved = rows[:, 0] + to_white_keys(tune.sharps)
    rows[:, 0] = np.where(rows[:, 0] == REST, REST, moved)
    return rows


def runs(tune: Tune, length: int) -> set[bytes]:
    """Every run of `length` notes of a tune, as intervals and durations: what it is whatever its key."""
    rows = steps(tune.onset, tune.duration, tune.pitch)
    rows = rows[rows[:, 0] != REST]
    moves = np.stack([np.diff(rows[:, 0]), rows[1:, 1]], 1)
    return {moves[i : i + length - 1].tobytes() for i in range(len(moves) - length + 2)}


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The steps there are: `rows` [V, 2] (pitch or REST, ticks), symbol 0 being END."""

    rows: Column

    @classmethod
    def of(cls, pieces: Sequence[Column]) -> Vocabulary:
        """All steps of some pieces."""
        every = np.unique(np.concatenate([np.zeros((0, 2), np.int64), *pieces]), axis=0)
        return cls(np.concatenate([[[REST, 0]], every]))

    def symbols(self, rows: Column) -> Column:
        """The symbol of each step; −1 for one that is not known."""
        key = self.rows[1:, 0] * (1 << 32) + self.rows[1:, 1]
        wanted = rows[:, 0] * (1 << 32) + rows[:, 1]
        at = np.minimum(np.searchsorted(key, wanted), max(len(key) - 1, 0))
        return np.where(key[at] == wanted, at + 1, -1) if len(key) else np.full(len(rows), -1)


@dataclass(frozen=True, eq=False)
class Seat:
    """Where a line goes: its track, how far its music is from where the corpus lies, and how loud it is.

    `shift` semitones take the score's pitches to the corpus'. `before` are the notes to go on from.
    """

    track: Track
    shift: int
    velocity: int
    before: Notes


def seat(score: Score, region: Region, program: int) -> Seat:
    """The one track a region of a melody stands for; a new one when it names none.

    UserError when it names several, or drums, or a track of chords.
    """
    named = [t for t in score.tracks if t.id in region.tracks]
    if len(named) > 1:
        raise UserError(f"A melody is one line and {len(named)} tracks are marked; mark one.")
    if named and named[0].channel == 9:
        raise UserError("A drum track has no melody; mark another.")
    used = {t.channel for t in score.tracks} | {9}
    channel = next((c for c in range(16) if c not in used), 0)
    new = Track(score.next_track_id, "Melody", channel=channel, program=program)
    track = named[0] if named else new
    before = track.notes.where(track.notes.end <= region.start)
    heard = before if len(before) else track.notes
    if len(heard) > 1 and float((heard.onset[1:] < heard.end[:-1] - SHORTEST).mean()) > 0.25:
        raise UserError(
            f"{track.name or 'The track'} holds chords; a melody is one note at a time."
        )
    key = score.key_at(region.start)
    pitch, duration = heard.pitch.astype(np.int64), heard.duration
    sharps = key.sharps if key else signature(pitch, duration) if len(heard) else 0
    shift = to_white_keys(sharps)
    if len(heard):
        far = MIDDLE - (np.average(pitch, weights=duration) + shift)
        shift += 12 * round(float(far) / 12)
    velocity = int(np.median(heard.velocity)) if len(heard) else 80
    return Seat(track, shift, velocity, before)


def line(notes: Notes) -> Column:
    """The steps of a track's notes, one at a time: of those that begin together the highest."""
    if not len(notes):
        return np.zeros((0, 2), np.int64)
    last = np.append(np.diff(notes.onset) > 0, True)
    onset, pitch = notes.onset[last], notes.pitch[last].astype(np.int64)
    until = np.append(onset[1:], onset[-1] + notes.duration[last][-1])
    return steps(onset, np.minimum(notes.duration[last], until - onset), pitch)


def written(rows: Column, seat: Seat, region: Region) -> Track:
    """The steps as notes of the seat's track from the region's start on: cut at its end, and left out
    where a locked note or one that crosses its edge sounds."""
    ends = region.start + np.cumsum(rows[:, 1])
    onset = ends - rows[:, 1]
    sounds = (rows[:, 0] != REST) & (onset < region.end)
    onset, ends = onset[sounds], np.minimum(ends[sounds], region.end)
    pitch = rows[sounds, 0] - seat.shift
    # By as many octaves as it takes: a score may lie at the very end of the keys.
    octaves = np.ceil(np.maximum(-pitch, 0) / 12) - np.ceil(np.maximum(pitch - 127, 0) / 12)
    pitch = pitch + 12 * octaves.astype(np.int64)
    notes = seat.track.notes
    kept = notes.where(~region.with_tracks({seat.track.id}).owned(seat.track))
    for first, last in zip(kept.onset, kept.end, strict=True):
        free = (ends <= first) | (onset >= last)
        before = ~free & (onset < first)
        ends = np.where(before, first, ends)
        stays: Any = free | before
        onset, ends, pitch = onset[stays], ends[stays], pitch[stays]
    return seat.track.with_notes(Notes.of(onset, ends - onset, pitch, seat.velocity))

"""What stays where polyphony is written: locked notes, and what sounds on the tracks that are listened to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.representations import pianoroll
from models.representations.note_step import MIDDLE
from models.representations.pianoroll import PITCHES, Keys, Roll, Seat
from models.score import Notes, Region, Score, Track, UserError

LOW = 55
"""Middle of a line from which down it is a bass: then notes may always lie above it."""
BASS = 50
"""Middle of the basses of the corpus, as MIDDLE is of its melodies."""
FAR = 9
"""Semitones from there from which on a line is moved by octaves."""


@dataclass(frozen=True, eq=False)
class Given:
    """What stays in T steps: `notes`, and the keys `held` [T, PITCHES] that are sounding or silent for
    their sake, whatever is written."""

    notes: Roll
    held: Keys


def kept(seat: Seat) -> Given:
    """What stays of the tracks written themselves."""
    return Given(seat.kept, seat.kept.sounds)


def seat(
    score: Score,
    region: Region,
    melody: int | None,
    per_beat: int,
    memory: int,
    top: bool,
    name: str,
) -> tuple[Seat, Given]:
    """Where to write an accompaniment, and what stays there: what sounds on the track with the id
    `melody`, or on all that are not marked. With `top` nothing may lie above it, unless it is a bass.

    As `pianoroll.seat`, but it is heard with what sounds before it, in the key of both, and where it is
    itself in the register of melodies. UserError when nothing sounds there, or when that alone is marked.
    """
    heard = _heard(score, region, melody)
    ids = frozenset(t.id for t in heard)
    written = region.with_tracks(region.tracks - ids)
    if region.tracks and not written.tracks:
        raise UserError("Only the melody itself is marked; mark the tracks to write, or none.")
    both = pianoroll.seat(score, region.with_tracks(written.tracks | ids), per_beat, memory)
    own = pianoroll.seat(score, written, per_beat, memory, name=name)
    notes = Notes.concatenate(
        t.notes.where(t.notes.sounding(region.start, region.end)) for t in heard
    )
    shift = (both.shift + 6) % 12 - 6
    centre = float(np.average(notes.pitch, weights=notes.duration)) + shift
    home = MIDDLE if centre > LOW else BASS
    if abs(home - centre) > FAR:
        shift += 12 * round((home - centre) / 12)
    stays = own.kept.transposed(shift - own.shift)
    sounds, begins = pianoroll.grid(notes, region.start, len(own), own.step, shift)
    held = sounds | stays.sounds
    if top and centre > LOW:
        highest = np.where(sounds.any(1), PITCHES - 1 - sounds[:, ::-1].argmax(1), PITCHES)
        held |= np.arange(PITCHES) > highest[:, None]
    found = replace(own, shift=shift, kept=stays, before=both.before.transposed(shift - both.shift))
    given = Roll("", sounds | stays.sounds, begins | stays.begins, own.position)
    return found, Given(given, held)


def _heard(score: Score, region: Region, melody: int | None) -> Sequence[Track]:
    wanted = [
        t for t in score.tracks
        if (t.id == melody if melody is not None else t.id not in region.tracks)
        and t.channel != 9 and t.notes.sounding(region.start, region.end).any()
    ]  # fmt: skip
    if not wanted:
        raise UserError("Nothing sounds in the marked bars to accompany; draw a melody there.")
    return wanted

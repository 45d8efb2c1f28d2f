"""Piano roll, many-hot: which of 88 keys sound at every step, and which are struck there (Briot 4.5.3, 4.9.4).

Without the second a repeated note and a long one look the same, which is all that the polyphonic data
sets of 2012 know; music written into a score has both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from models.representations.chorale import STEPS_PER_BEAT, Chorale
from models.representations.note_step import MIDDLE, signature, to_white_keys
from models.score import Notes, Region, Score, Track, UserError
from models.timebase import PPQ

Keys = npt.NDArray[np.bool_]
Column = npt.NDArray[np.int64]

LOWEST, PITCHES = 21, 88
"""A0 to C8, as a piano has them."""
PIANO = 0
NO_BAR = 48
"""Where no barlines are known, steps are counted modulo this, which 3, 4, 6, 8, 12 and 16 divide."""


@dataclass(frozen=True, eq=False)
class Roll:
    """T steps of polyphony: `sounds` and `begins` [T, PITCHES], `position` [T] steps since the barline."""

    name: str
    sounds: Keys
    begins: Keys
    position: Column

    def __len__(self) -> int:
        return len(self.sounds)

    def slice(self, start: int, end: int) -> Roll:
        """Steps [start, end)."""
        rows = slice(start, end)
        return Roll(self.name, self.sounds[rows], self.begins[rows], self.position[rows])

    def transposed(self, semitones: int) -> Roll:
        """A copy `semitones` higher; what leaves the keyboard is lost."""
        moved = [shifted(rows, semitones) for rows in (self.sounds, self.begins)]
        return Roll(self.name, moved[0], moved[1], self.position)


@dataclass(frozen=True, eq=False)
class Rolls:
    """Pieces of a file of the community's, and those to validate on that lie beside it (else none)."""

    path: Path
    pieces: Sequence[Roll]
    valid: Sequence[Roll] = ()


def shifted(rows: Keys, semitones: int) -> Keys:
    """[..., PITCHES] moved up by so many keys; what leaves the keyboard is lost."""
    out = np.zeros_like(rows)
    if semitones >= 0:
        out[..., semitones:] = rows[..., : PITCHES - semitones]
    else:
        out[..., :semitones] = rows[..., -semitones:]
    return out


def struck(sounds: Keys) -> Keys:
    """[T, PITCHES]: where a key sounds that did not sound one step before."""
    before = np.zeros_like(sounds)
    before[1:] = sounds[:-1]
    return np.asarray(sounds & ~before)


def of_chorale(chorale: Chorale, per_beat: int, white: bool = True) -> Roll:
    """A chorale, moved to white keys unless `white` is off, at so many steps a quarter (1, 2 or 4): what
    sounds at each step's first sixteenth, and what was struck since the step before."""
    each = STEPS_PER_BEAT // per_beat
    moved = chorale.pitch - white * chorale.shift[:, None] - LOWEST
    inside = (chorale.pitch >= 0) & (moved >= 0) & (moved < PITCHES)
    sounds = np.zeros((len(chorale), PITCHES), bool)
    begins = np.zeros_like(sounds)
    at = np.nonzero(inside)
    sounds[at[0], moved[at]] = True
    at = np.nonzero(inside & chorale.attack)
    begins[at[0], moved[at]] = True
    first = int(np.argmax(chorale.position % each == 0)) if len(chorale) else 0
    taken = sounds[first::each]
    recent = np.zeros_like(taken)
    for back in range(each):  # a note struck inside the step before, and sounding still
        rows = np.arange(first, len(chorale), each) - back
        recent |= np.where(rows[:, None] >= 0, begins[np.maximum(rows, 0)], False)
    begun = (recent & taken) | struck(taken)
    return Roll(chorale.name, taken, begun, chorale.position[first::each] // each)


def of_score(score: Score, name: str, per_beat: int, white: bool = True) -> Roll:
    """A whole score but its drums, moved to white keys (by its signature, or what sounds like one) unless
    `white` is off."""
    notes = Notes.concatenate(
        t.notes.with_(id=10**9 * i + np.arange(len(t.notes)))
        for i, t in enumerate(t for t in score.tracks if t.channel != 9)
    )
    step = PPQ // per_beat
    steps = -(-notes.length // step) if len(notes) else 0
    shift = _shift(score, 0, notes, False) if white else 0
    sounds, begins = grid(notes, 0, steps, step, shift)
    return Roll(name, sounds, begins, positions(score, 0, steps, step))


def grid(notes: Notes, start: int, steps: int, step: int, shift: int) -> tuple[Keys, Keys]:
    """`sounds` and `begins` [steps, PITCHES] of notes from tick `start` on, moved up by `shift`.

    A note belongs to the step its onset is nearest to, and lasts one step at least.
    """
    sounds = np.zeros((max(steps, 0), PITCHES), bool)
    begins = np.zeros_like(sounds)
    first = (notes.onset - start + step // 2) // step
    last = np.maximum((notes.end - start + step // 2) // step, first + 1)
    for pitch, a, b in zip(notes.pitch.astype(int) + shift - LOWEST, first, last, strict=True):
        if 0 <= pitch < PITCHES and a < steps and b > 0:
            sounds[max(a, 0) : b, pitch] = True
            if a >= 0:
                begins[a, pitch] = True
    return sounds, begins


def positions(score: Score, start: int, steps: int, step: int) -> Column:
    """[steps] how many steps each lies after its barline."""
    ticks = start + step * np.arange(steps)
    return np.array([score.meter.position(int(t)).offset // step for t in ticks], np.int64)


@dataclass(frozen=True, eq=False)
class Seat:
    """Where polyphony is written: T steps of `step` ticks from the region's start.

    `tracks` take the notes, of several the first the highest; `before` is what was heard, `kept` what
    stays and sounds in the region; `position` [T]. All moved up by `shift`.
    """

    region: Region
    tracks: tuple[Track, ...]
    shift: int
    step: int
    velocity: int
    before: Roll
    kept: Roll
    position: Column

    def __len__(self) -> int:
        return len(self.position)

    def until(self, steps: int) -> Seat:
        """The first so many steps of it, of the same region."""
        return replace(self, kept=self.kept.slice(0, steps), position=self.position[:steps])


def seat(
    score: Score,
    region: Region,
    per_beat: int,
    memory: int,
    *,
    name: str = "Piano",
    program: int = PIANO,
    white: bool = True,
) -> Seat:
    """The tracks a region stands for, a new one when it names none, and up to `memory` steps before it,
    moved to white keys and to the octave the corpus lies in unless `white` is off.

    UserError when drums are marked.
    """
    named = [t for t in score.tracks if t.id in region.tracks]
    if any(t.channel == 9 for t in named):
        raise UserError("A drum track has no pitches; leave it unmarked.")
    used = {t.channel for t in score.tracks} | {9}
    channel = next((c for c in range(16) if c not in used), 0)
    new = Track(score.next_track_id, name, channel=channel, program=program)
    heard = named or [t for t in score.tracks if t.channel != 9]
    notes = _together([t.notes for t in heard])
    step = PPQ // per_beat
    steps = -(-(region.end - region.start) // step)
    shift = _shift(score, region.start, notes, True) if white else 0
    back = min(memory, region.start // step)
    past = grid(
        notes.where(notes.onset < region.start), region.start - back * step, back, step, shift
    )
    kept = [
        t.notes.where(~region.owned(t) & t.notes.sounding(region.start, region.end)) for t in named
    ]
    stays = grid(_together(kept), region.start, steps, step, shift)
    position = positions(score, region.start, steps, step)
    named.sort(key=lambda t: -float(np.mean(t.notes.pitch)) if len(t.notes) else 0.0)
    return Seat(
        region,
        tuple(named) or (new,),
        shift,
        step,
        int(np.median(notes.velocity)) if len(notes) else 80,
        Roll("", *past, positions(score, region.start - back * step, back, step)),
        Roll("", *stays, position),
        position,
    )


def _together(parts: Sequence[Notes]) -> Notes:
    return Notes.concatenate(
        p.with_(id=10**9 * i + np.arange(len(p))) for i, p in enumerate(parts) if len(p)
    )


def _shift(score: Score, tick: int, notes: Notes, near: bool) -> int:
    """Semitones to white keys, and with `near` to the octave in which the corpus lies, were the music
    written far from it."""
    key = score.key_at(tick)
    pitch = notes.pitch.astype(np.int64)
    sharps = key.sharps if key else signature(pitch, notes.duration) if len(notes) else 0
    shift = to_white_keys(sharps)
    if near and len(notes):
        centre = MIDDLE - 9  # of four voices or two hands, about middle C
        far = centre - (float(np.average(pitch, weights=notes.duration)) + shift)
        shift += 12 * int(np.fix(far / 12))
    return shift


def written(sounds: Keys, begins: Keys, seat: Seat) -> tuple[Track, ...]:
    """Rows [T, PITCHES] as notes of the seat's tracks, cut at the region's end; a key that something kept
    holds is left to it. Of several tracks each takes one line, the highest note going to the first."""
    sounds = sounds & ~seat.kept.sounds
    starts = (begins & sounds) | struck(sounds)
    ends = np.zeros_like(sounds)
    ends[:-1] = sounds[:-1] & (~sounds[1:] | starts[1:])
    ends[-1:] = sounds[-1:]
    pitch, first = np.nonzero(starts.T)
    _, last = np.nonzero(ends.T)
    onset = seat.region.start + first * seat.step
    end = np.minimum(seat.region.start + (last + 1) * seat.step, seat.region.end)
    key = pitch + LOWEST - seat.shift
    order = np.lexsort((-key, onset))
    onset, end, key = onset[order], end[order], key[order]
    rank = np.arange(len(onset)) - np.searchsorted(onset, onset)
    fits = (key >= 0) & (key <= 127) & (end > onset)
    tracks = []
    for i, track in enumerate(seat.tracks):
        mine = fits & (np.minimum(rank, len(seat.tracks) - 1) == i)
        free = mine & ~_taken(onset, end, key, track, seat.region)
        notes = Notes.of(onset[free], (end - onset)[free], key[free], seat.velocity)
        tracks.append(track.with_notes(notes))
    return tuple(tracks)


def _taken(onset: Column, end: Column, key: Column, track: Track, region: Region) -> Any:
    """Which notes would sound together with one of the track's own that stays, on the same key."""
    kept = track.notes.where(~region.with_tracks({track.id}).owned(track))
    kept = kept.where(kept.sounding(region.start, region.end))
    hit = np.zeros(len(onset), bool)
    for a, b, k in zip(kept.onset, kept.end, kept.pitch, strict=True):
        hit |= (key == int(k)) & (onset < b) & (end > a)
    return hit


def read(path: Path) -> Rolls:
    """Pieces of an .npz as the 2012 sets or the sixteenth-note chorales come in (`rolls` and `lengths`, or
    `voices` and `lengths`); with "train" in its name, those of the file beside it that says "valid" are to
    validate on. UserError when it is no such file."""
    beside = path.with_name(path.name.replace("train", "valid"))
    valid = _pieces(beside) if beside != path and beside.is_file() else ()
    return Rolls(path, _pieces(path), valid)


def _pieces(path: Path) -> Sequence[Roll]:
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as table:
            lengths = table["lengths"]
            rows = table["rolls"] if "rolls" in table else _keys(table["voices"])
            lowest = int(table["lowest_pitch"]) if "lowest_pitch" in table else LOWEST
    except OSError as error:
        raise UserError(
            f"{path} could not be read ({error.strerror}); name another file."
        ) from None
    except (ValueError, KeyError, TypeError, EOFError, BadZipFile):
        rows = lengths = np.zeros(0)
        lowest = 0
    whole = rows.ndim == 2 and rows.shape[1] == PITCHES and rows.dtype == bool
    if not whole or lowest != LOWEST or lengths.ndim != 1 or lengths.dtype.kind not in "iu":
        raise UserError(f"{path} holds no piano rolls of {PITCHES} keys; name another file.")
    if not len(lengths) or lengths.min() < 1 or lengths.sum() != len(rows):
        raise UserError(f"{path}: the lengths of its pieces do not add up; fetch it again.")
    pieces = []
    for i, end in enumerate(np.cumsum(lengths)):
        sounds = rows[end - lengths[i] : end]
        position = np.arange(len(sounds)) % NO_BAR
        pieces.append(Roll(f"{path.name}/{i}", sounds, struck(sounds), position))
    return pieces


def _keys(voices: npt.NDArray[Any]) -> Keys:
    """[T, voices] pitches, −1 for silence, as [T, PITCHES]."""
    rows = np.zeros((len(voices), PITCHES), bool)
    inside = (voices >= LOWEST) & (voices < LOWEST + PITCHES)
    at = np.nonzero(inside)
    rows[at[0], voices[at].astype(np.int64) - LOWEST] = True
    return rows


def per_frame(nats: Sequence[npt.NDArray[Any]]) -> Mapping[str, float]:
    """The two averages of nats per frame of pieces [T]: over all frames, and over pieces of their means.
    Published figures are the one or the other."""
    return {
        "nats_per_frame_by_frame": float(np.concatenate(nats).mean()),
        "nats_per_frame_by_piece": float(np.mean([piece.mean() for piece in nats])),
        "frames": float(sum(map(len, nats))),
        "pieces": float(len(nats)),
    }


def windows(pieces: Sequence[Roll], steps: int, rng: np.random.Generator) -> Iterator[Roll]:
    """For ever, stretches of at most `steps` steps of pieces, each piece as often as it is long."""
    length = np.array([len(p) for p in pieces], float)
    while True:
        piece = pieces[int(rng.choice(len(pieces), p=length / length.sum()))]
        start = int(rng.integers(0, max(1, len(piece) - steps + 1)))
        yield piece.slice(start, start + steps)

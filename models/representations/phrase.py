"""Phrases: from a region of a score to windows of melody tokens, and from tokens back to its notes.

A latent space knows one voice, whole bars of 4/4 and sixteenths. A musician's region is a polyphonic track,
three bars, played by hand, partly locked. Here is the way there and the way back, on which a note that the
model leaves as it is comes back as it was played.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from models.representations import melody
from models.representations.melody import BAR, HOLD, REST, Tokens
from models.score import (
    EMPTY,
    LAST_TICK,
    NO_CONTROLS,
    Column,
    Mask,
    Notes,
    Region,
    Score,
    Track,
    UserError,
)
from models.timebase import SIXTEENTH, MeterMap, TempoMap

BAR_TICKS = BAR * SIXTEENTH
HALF = SIXTEENTH // 2
"""Notes nearer than this in time are meant to be together; less than this is too short to write."""
MOST_BARS = 1000
USUAL = (57, 80)
"""Mean pitches of nearly all phrases that models learn from; others move there by octaves to be heard."""
COMMON, HALVES = ((4, 4), (2, 2)), (2, 4)
DRUMS = 9


def grid(meter: MeterMap, start: int, end: int, name: str, of: str = "") -> tuple[int, int]:
    """The tick of the first step and the number of bars of 16 steps for the ticks [start, end).

    It begins at the barline at or before `start`; two bars of 2/4 are one of 4/4. An upbeat is left out, as
    it was in training. UserError, with `name` for the system and `of` (" of B") for what the bars are of,
    for other metres and changes of metre.
    """
    upbeat = start < meter.pickup
    origin = meter.pickup if upbeat else start - meter.position(start).offset
    if end <= origin:
        raise UserError(f"{name} needs a whole bar; mark the bar after the upbeat, too.")
    if end - origin > MOST_BARS * BAR_TICKS:
        raise UserError(f"{name} takes {MOST_BARS} bars{of} at most; mark fewer.")
    tick, halves = origin, meter.at(origin) == HALVES
    while tick < end:
        metre, here = meter.at(tick), meter.position(tick)
        if metre not in COMMON and metre != HALVES:
            raise UserError(
                f"{name} knows 4/4, 2/2 and 2/4, and bar {here.bar}{of} is in {metre[0]}/{metre[1]}; "
                "mark bars in one of those."
            )
        full = BAR_TICKS // 2 if halves else BAR_TICKS
        if here.length != full:
            raise UserError(
                f"{name} needs bars of one metre, and it changes at bar {here.bar}{of}; mark those before "
                "or those after."
            )
        tick += full
    return origin, -(-(tick - origin) // BAR_TICKS)


def skyline(notes: Notes) -> Mask:
    """A mask of the notes that make the melody: those with no higher one above them as they begin.

    A note that ends within a thirty-second of the next note's beginning is not above it, so that a
    melody played legato stays whole, and of notes of one pitch at one time the first counts.
    """
    onset, end, pitch = notes.onset.tolist(), notes.end.tolist(), notes.pitch.tolist()
    above: list[int] = []  # notes begun that have not ended
    out = np.ones(len(notes), bool)
    ahead = 0
    for i in range(len(notes)):
        while ahead < len(notes) and onset[ahead] < onset[i] + HALF:
            above.append(ahead)
            ahead += 1
        above = [j for j in above if end[j] > onset[i]]
        for j in above:
            higher = pitch[j] > pitch[i] or (pitch[j] == pitch[i] and j < i)
            together = min(end[i], end[j]) - max(onset[i], onset[j])
            shorter = min(end[i] - onset[i], end[j] - onset[j])
            if higher and together > min(HALF, shorter / 2):
                out[i] = False
                break
    return out


def _heard(notes: Notes, start: int, end: int) -> Mask:
    """A mask of the notes that make the melody in [start, end)."""
    near = notes.sounding(start, end)
    near[near] = skyline(notes.where(near))
    return near


@dataclass(frozen=True, eq=False)
class Line:
    """A melody as it is heard and as it was played.

    tokens [steps]; notes: those heard, in ticks of the score; start: tick of the first step; first [notes]:
    the step at which each is heard; stays [notes]: it may not change; shift: semitones (octaves) that were
    added to the pitches before they became tokens. A phrase from elsewhere is `foreign` to the place it goes
    to, and brings with it what is `under` its melody.
    """

    tokens: Tokens
    notes: Notes
    start: int
    first: Column
    stays: Mask
    shift: int
    foreign: bool = False
    under: Notes = EMPTY

    @property
    def bars(self) -> int:
        """Bars of 16 steps."""
        return len(self.tokens) // BAR

    @property
    def given(self) -> Mask:
        """[steps] where something sounds that may not change."""
        out = np.zeros(len(self.tokens), bool)
        until = np.rint((self.notes.end - self.start) / SIXTEENTH).astype(np.int64)
        for a, b in zip(self.first[self.stays], until[self.stays], strict=True):
            out[a : max(b, a + 1)] = True
        return out

    def nearest(self, tick: int) -> int:
        """Index of the note sounding nearest to `tick`, counted from the first step."""
        at = tick + self.start
        away = np.maximum(self.notes.onset - at, at + 1 - self.notes.end)
        return int(np.maximum(away, 0).argmin())


def hear(notes: Notes, start: int, steps: int, stays: Mask) -> Line:
    """The line of `notes` (a melody, one at a time) on `steps` steps from tick `start` on."""
    first = np.maximum(np.rint((notes.onset - start) / SIXTEENTH).astype(np.int64), 0)
    inside = (first < steps) & (notes.end > start)
    notes, first, stays = notes.where(inside), first[inside], stays[inside]
    shift = _octaves(notes)
    tokens, _ = melody.from_notes(
        notes.onset, notes.duration, notes.pitch.astype(np.int64) + shift, start, steps
    )
    return Line(tokens, notes, start, first, stays, shift)


def _octaves(notes: Notes) -> int:
    """Semitones, whole octaves, to where melodies usually lie; 0 for those that lie there."""
    if not len(notes):
        return 0
    mean = float(np.average(notes.pitch, weights=notes.duration))
    low, high = USUAL
    if mean < low:
        return 12 * int(np.ceil((low - mean) / 12))
    return -12 * int(np.ceil((mean - high) / 12)) if mean > high else 0


def made(tokens: Tokens, velocity: Callable[[int], int], shift: int) -> Line:
    """The line that tokens [steps] stand for, from tick 0 on; `velocity` says how loud a note at a tick is."""
    onset, duration, pitch = melody.to_notes(tokens, 0)
    loud = [velocity(int(tick)) for tick in onset]
    notes = Notes.of(onset, duration, folded(pitch - shift), np.array(loud, np.int64))
    free = np.zeros(len(notes), bool)
    return Line(melody.repaired(tokens), notes, 0, onset // SIXTEENTH, free, shift, foreign=True)


def folded(pitch: npt.ArrayLike) -> Column:
    """Pitches moved by octaves to where MIDI has them."""
    p = np.asarray(pitch, np.int64)
    p = np.where(p > 127, p - 12 * -(-(p - 127) // 12), p)
    return np.where(p < 0, p + 12 * -(p // 12), p)


def melody_track(score: Score, start: int, end: int) -> Track | None:
    """The first track, drums aside, that sounds in [start, end)."""
    sung = (t for t in score.tracks if t.channel != DRUMS)
    return next((t for t in sung if t.notes.sounding(start, end).any()), None)


def alone(score: Score, name: str, called: str = "A phrase") -> Line:
    """The melody of the first track with notes of a score that is a phrase, from its first bar on.

    UserError, with `name` for the system and what the phrase is `called`, when it has no notes or another metre
    than models know.
    """
    track = melody_track(score, 0, LAST_TICK)
    if track is None:
        raise UserError(f"{called} has no notes; choose one with a melody.")
    start, bars = grid(score.meter, 0, track.notes.length, name, f" of {called}")
    notes = track.notes.where(track.notes.onset >= start)
    if not len(notes):
        raise UserError(f"{called} is an upbeat alone, and {name} needs a whole bar; take more.")
    top = skyline(notes)
    line = hear(notes.where(top), start, bars * BAR, np.zeros(int(top.sum()), bool))
    return replace(line, foreign=True, under=notes.where(~notes.having(line.notes.id)))


def excerpt(score: Score, track: Track, start: int, end: int) -> Score:
    """The notes of a track that begin in [start, end), from tick 0 on and cut at the end: a phrase as
    `Ask.phrases` has them, with the tempo, metre, key and sound it has there."""
    notes = track.notes.where((track.notes.onset >= start) & (track.notes.onset < end))
    notes = notes.with_(
        onset=notes.onset - start, duration=np.minimum(notes.duration, end - notes.onset)
    )
    key = score.key_at(start)
    numerator, denominator = score.meter.at(start)
    upbeat = max(0, score.meter.pickup - start)
    return Score(
        (replace(track, notes=notes, controls=NO_CONTROLS),),
        TempoMap.constant(score.tempo.bpm(start)),
        MeterMap(
            numerator=np.array([numerator]), denominator=np.array([denominator]), pickup=upbeat
        ),
        (key._replace(tick=0),) if key else (),
    )


@dataclass(frozen=True, eq=False)
class Place:
    """Where notes are written: on a track, inside a region, on `steps` steps from tick `start` on.

    New notes keep off `stays` and, where they have its pitch, off `beneath`; `back` are notes that the region
    owns and that come back as they are.
    """

    track: Track
    region: Region
    start: int
    steps: int
    stays: Notes = EMPTY
    beneath: Notes = EMPTY
    back: Notes = EMPTY


def chosen(score: Score, region: Region) -> Track:
    """The track a line is read from and written to: the first of the region's with notes there, else its
    first. UserError when it has none, or drums alone."""
    tracks = [t for t in score.tracks if t.id in region.tracks]
    if not tracks:
        raise UserError("No track is marked to be written; mark the one with the melody.")
    tracks = [t for t in tracks if t.channel != DRUMS]
    if not tracks:
        raise UserError("A drum track has no melody; mark another one.")
    heard = [t for t in tracks if t.notes.sounding(region.start, region.end).any()]
    return (heard or tracks)[0]


def read(score: Score, region: Region, name: str) -> tuple[Place, Line]:
    """The melody in a region, and where to write what becomes of it.

    The bars at its edges are heard in full; what lies under the melody stays as it is. UserError for another
    metre and when there are no notes.
    """
    track = chosen(score, region)
    start, bars = grid(score.meter, region.start, region.end, name)
    end = start + bars * BAR_TICKS
    owned = region.owned(track)
    top = _heard(track.notes, start, end)
    begun = track.notes.onset < start
    line = hear(track.notes.where(top), start, bars * BAR, (~owned | begun)[top])
    heard = track.notes.having(line.notes.id)
    if not heard.any() or not (heard & owned).any():
        where = track.name or "The track"
        raise UserError(f"{where} has no notes that may change there; mark bars with a melody.")
    place = Place(
        track,
        region.with_tracks({track.id}),
        start,
        bars * BAR,
        track.notes.where(heard & (~owned | begun)),
        track.notes.where(~heard & track.notes.sounding(region.start, region.end)),
        track.notes.where(owned & (~heard | begun)),
    )
    return place, line


def clear(score: Score, region: Region, name: str) -> Place:
    """The region as a place for new music: all it owns goes. Its first track, or a new one, takes it."""
    if region.tracks:
        track = chosen(score, region)
    else:
        used = {t.channel for t in score.tracks} | {DRUMS}
        channel = next((c for c in range(16) if c not in used), 0)
        like = next((t for t in score.tracks if t.channel != DRUMS), None)
        track = Track(
            score.next_track_id,
            "Melody",
            channel=channel,
            program=like.program if like else 0,
            port=like.port if like else "",
        )
    start, bars = grid(score.meter, region.start, region.end, name)
    region = region.with_tracks({track.id})
    top, left = _heard(track.notes, region.start, region.end), ~region.owned(track)
    near = track.notes.sounding(region.start, region.end)
    stays, beneath = (track.notes.where(near & left & above) for above in (top, ~top))
    return Place(track, region, start, bars * BAR, stays, beneath)


def laid(line: Line, place: Place) -> Line:
    """A phrase as the original of a place: repeated until it fills it, and cut."""
    times = -(-place.steps // len(line.tokens))
    notes, copy = _repeated(line.notes, line, place, times)
    under, _ = _repeated(line.under, line, place, times)
    first = np.tile(line.first, times) + np.repeat(np.arange(times), len(line.first)) * len(
        line.tokens
    )
    return replace(
        line,
        tokens=np.resize(line.tokens, place.steps),
        notes=notes,
        start=place.start,
        first=first[copy],
        stays=np.zeros(len(notes), bool),
        under=under,
    )


def _repeated(notes: Notes, line: Line, place: Place, times: int) -> tuple[Notes, Column]:
    """Notes of a phrase so many times at a place, cut at its end, and which of all copies each is."""
    n = len(notes)
    by = np.repeat(np.arange(times), n) * len(line.tokens) * SIXTEENTH + place.start - line.start
    end = place.start + place.steps * SIXTEENTH
    onset = np.tile(notes.onset, times) + by
    fits = np.flatnonzero(onset < end)
    fits = fits[np.lexsort((np.tile(notes.pitch, times)[fits], onset[fits]))]
    which = fits % max(n, 1)
    out = Notes.of(
        onset[fits],
        np.minimum(notes.duration[which], end - onset[fits]),
        notes.pitch[which],
        notes.velocity[which],
        voice=notes.voice[which],
    )
    return out, fits


def together(parts: Sequence[Notes]) -> Notes:
    """One set from several, with new ids."""
    onset, duration, pitch, velocity, voice = (
        np.concatenate([getattr(part, column) for part in parts])
        for column in ("onset", "duration", "pitch", "velocity", "voice")
    )
    return Notes.of(onset, duration, pitch, velocity, voice=voice)


# --- windows --------------------------------------------------------------------------------------


def windows(tokens: Tokens, bars: int) -> Tokens:
    """Tokens [steps] as windows [N, 16 × bars], the whole repeated until it fills the last one.

    What is left of a note that a window cuts is a note.
    """
    steps = bars * BAR
    count = -(-len(tokens) // steps)
    flat = np.resize(tokens, count * steps)
    sound = _sounding(flat)
    starts = np.arange(count) * steps
    flat[starts] = np.where(flat[starts] == HOLD, sound[starts], flat[starts])
    return flat.reshape(count, steps)


def joined(written: Tokens, *originals: Tokens) -> Tokens:
    """Windows [N, T] as one run of tokens [steps], as long as the originals [steps] they were made from: a
    note that windows cut in one of those, and that no window changed, is whole again."""
    steps = len(originals[0])
    flat = written.reshape(-1)[:steps].copy()
    sound = _sounding(flat)
    for original in originals:
        held = _sounding(original)
        for at in range(written.shape[1], steps, written.shape[1]):
            if original[at] == HOLD and flat[at] == held[at] == sound[at - 1]:
                flat[at] = HOLD
    return flat


def _sounding(tokens: Tokens) -> Tokens:
    """[steps] every hold replaced by what it holds, silence where that is nothing."""
    last = np.maximum.accumulate(np.where(tokens != HOLD, np.arange(len(tokens)), -1))
    return np.where(last >= 0, tokens[np.maximum(last, 0)], REST).astype(np.uint8)

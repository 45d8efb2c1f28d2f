"""From a score to the grid and back: what may change, what must stay.

Everything a user wrote is only read. What generation may not touch (locked notes, notes that cross the
region's edge, other voices) reaches the networks rounded to sixteenths, and comes back as it was because
only new notes come back at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from models.representations.casting import CHURCH_ORGAN
from models.representations.chorale import (
    BAR_STEPS,
    FERMATA,
    FIRST_PITCH,
    HIGH,
    HOLD,
    LOW,
    MAJOR,
    METERS,
    MINOR,
    NO_FERMATA,
    RANGES,
    REST,
    REST_PITCH,
    TOKENS,
    UNKNOWN_FERMATA,
    UNKNOWN_METER,
    UNKNOWN_MODE,
    VOICES,
    Chorale,
    tokens,
)
from models.score import EMPTY, Key, Notes, Region, Score, Track, UserError
from models.timebase import PPQ, SIXTEENTH, MeterMap

CONTEXT = 128
"""Sixteenths of music before and after the region that the networks read."""
MAX_STEPS = 40_000
FINALS, FINAL_SPREAD = ((0, 68.0), (3, 44.0)), 4.0
"""Voices whose last note is planned, the MIDI pitch it lies near in the corpus, and how far from it."""

Flags = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Stage:
    """A region laid on the grid. Step i begins at tick `origin` + i × SIXTEENTH.

    given: what stands (pitch −1 and no attack where something is to be written), with metre, key and
    fermatas. free [T, 4]: sites to write. lines: each voice's track in the score, None when it has none.
    inside: the region's steps, first and last + 1. octaves [4]: octaves added to a line so that it lies
    where its voice lies. starts, ends: whether the piece begins at step 0 and ends at step T.
    """

    given: Chorale
    free: Flags
    lines: tuple[Track | None, ...]
    region: Region
    origin: int
    inside: tuple[int, int]
    octaves: tuple[int, ...]
    starts: bool
    ends: bool


def _grid(region: Region, music: tuple[int, int]) -> tuple[int, int, int, int]:
    """(first tick, steps, region's first step, its last step + 1) of the region and its context.

    `music` is where the first note begins and the last one ends.
    """
    length = (region.end - region.start) // SIXTEENTH
    if not length:
        raise UserError("The region is shorter than a sixteenth; mark a longer one.")
    if length > MAX_STEPS:
        raise UserError(f"The region is longer than {MAX_STEPS // 16} bars; mark a shorter one.")
    before = min(CONTEXT, max(0, region.start - music[0]) // SIXTEENTH)
    after = min(CONTEXT, max(0, -(-(music[1] - region.start) // SIXTEENTH) - length))
    return region.start - before * SIXTEENTH, before + length + after, before, before + length


def metre(score: Score, origin: int, steps: int, inside: tuple[int, int]) -> tuple[Ints, Ints]:
    """Position in the bar and class of metre of each step; UserError when the region has a metre the
    corpus lacks or bars that do not lie on the grid."""
    position = np.zeros(steps, np.int64)
    kind = np.zeros(steps, np.int64)
    for i in range(steps):
        tick = origin + i * SIXTEENTH
        signature = score.meter.at(tick)
        at = score.meter.position(tick)
        bar = signature[0] * 4 * PPQ // signature[1]
        if signature not in METERS:
            if inside[0] <= i < inside[1]:
                known = ", ".join(f"{n}/{d}" for n, d in METERS)
                raise UserError(
                    f"Bar {at.bar} is in {signature[0]}/{signature[1]}; the chorales are in "
                    f"{known} only, so mark bars in one of these."
                )
            kind[i] = UNKNOWN_METER
            continue
        offset = at.offset + (bar - at.length if at.bar == 0 else 0)
        position[i] = offset // SIXTEENTH
        kind[i] = METERS[signature]
    return position, kind


def _column(
    notes: Notes, origin: int, steps: int, low_first: bool, *, wide: bool
) -> tuple[Ints, Flags, Flags]:
    """(pitch, attack, covered) of one line on the grid. Of notes that sound together the highest counts,
    or the lowest; a later note cuts an earlier one. `wide` covers every step a note touches."""
    pitch = np.full(steps, REST_PITCH, np.int64)
    attack = np.zeros(steps, bool)
    start = (notes.onset - origin) / SIXTEENTH
    end = (notes.end - origin) / SIXTEENTH
    first = np.floor(start + 1e-9) if wide else np.floor(start + 0.5)
    last = np.ceil(end - 1e-9) if wide else np.maximum(np.floor(end + 0.5), first + 1)
    rank = notes.pitch.astype(np.int64) * (-1 if low_first else 1)
    for i in np.lexsort((rank, first)):
        a, b = int(max(first[i], 0)), int(min(last[i], steps))
        if a >= b:
            continue
        same = pitch[a:b] == int(notes.pitch[i])
        pitch[a:b] = int(notes.pitch[i])
        if first[i] >= 0 or not same[0]:
            attack[a] = True
        attack[a + 1 : b] = False
    covered = pitch != REST_PITCH
    silent = np.asarray(~covered)
    attack[silent] = False
    begins = silent & np.append(True, ~silent[:-1])
    attack[begins] = True
    if steps:
        attack[0] = True
    # A line that goes on after a note was cut short by another one strikes again.
    changed = np.append(True, pitch[1:] != pitch[:-1])
    attack |= changed
    return pitch, attack, covered


def _octave(pitch: Ints, voice: int) -> int:
    """Octaves to add so that most of a line lies in its voice's range."""
    sounding = pitch[pitch >= 0]
    low, high = RANGES[voice]
    if not len(sounding):
        return 0

    def outside(k: int) -> float:
        moved = sounding + 12 * k
        return float(((moved < low) | (moved > high)).mean()) + 1e-3 * abs(k)

    return min(range(-6, 7), key=outside)


def lay(
    score: Score, region: Region, lines: Sequence[Track | None], writable: Sequence[int]
) -> Stage:
    """The region of a score, with `lines` as its voices, of which `writable` are to be written.

    Voices without a line are written as well, as nobody has written them. UserError when the metre is
    not one of the corpus's, or nothing is left to write.
    """
    heard = [t.notes for t in lines if t is not None and len(t.notes)]
    music = (
        min((int(n.onset.min()) for n in heard), default=region.start),
        max((n.length for n in heard), default=region.end),
    )
    origin, steps, first, last = _grid(region, music)
    position, meter = metre(score, origin, steps, (first, last))
    pitch = np.full((steps, 4), REST_PITCH, np.int64)
    attack = np.zeros((steps, 4), bool)
    free = np.zeros((steps, 4), bool)
    octaves = []
    for v, track in enumerate(lines):
        if track is None:
            free[:, v] = True
            octaves.append(0)
            continue
        if v in writable:
            stays = track.notes.where(~region.with_tracks({track.id}).owned(track))
            here = np.zeros(steps, bool)
            here[first:last] = True
        else:
            stays = track.notes
            here = np.zeros(steps, bool)
        pitch[:, v], attack[:, v], covered = _column(
            stays, origin, steps, v == 3, wide=v in writable
        )
        octave = _octave(pitch[:, v], v)
        pitch[:, v] += np.where(pitch[:, v] >= 0, 12 * octave, 0)
        octaves.append(octave)
        free[:, v] = here & ~covered
    attack[free] = False
    pitch[free] = REST_PITCH
    # What stands after a free stretch begins anew, silence included.
    after = np.zeros_like(free)
    after[1:] = free[:-1] & ~free[1:]
    attack |= after
    if len(writable) and not free[first:last, list(writable)].any():
        raise UserError("Every note of the region is locked or crosses its edge; unlock some.")
    sharps = np.zeros(steps, np.int64)
    mode = np.full(steps, UNKNOWN_MODE, np.int64)
    for i in range(steps) if score.keys else ():
        key = score.key_at(origin + i * SIXTEENTH)
        if key is not None:
            sharps[i], mode[i] = key.sharps, MINOR if key.minor else MAJOR
    fermata = np.full(steps, NO_FERMATA if score.fermatas else UNKNOWN_FERMATA, np.int64)
    upbeat = BAR_STEPS[int(meter[0])] - score.meter.pickup // SIXTEENTH if score.meter.pickup else 0
    for tick in score.fermatas:
        at = round((tick - origin) / SIXTEENTH)
        if 0 <= at < steps:
            fermata[at : at + _held(pitch, attack, free, at, position, upbeat)] = FERMATA
    given = Chorale(score.title, pitch, attack, fermata, position, meter, sharps, mode)
    return Stage(
        given, free, tuple(lines), region, origin, (first, last), tuple(octaves),
        starts=origin - music[0] < SIXTEENTH, ends=origin + steps * SIXTEENTH >= music[1],
    )  # fmt: skip


def _held(pitch: Ints, attack: Flags, free: Flags, at: int, position: Ints, upbeat: int) -> int:
    """Steps a fermata that begins at step `at` lasts: as long as the highest known voice holds its note;
    when none is known, until the next phrase begins, at a barline or on the piece's upbeat."""
    steps = len(pitch)
    known = next((v for v in range(4) if not free[at, v] and pitch[at, v] >= 0), None)
    if known is not None:
        new = attack[at + 1 :, known] | (pitch[at + 1 :, known] != pitch[at, known])
    else:
        new = position[at + 1 :] == upbeat
    ends = np.flatnonzero(new[:15])
    return min(1 + int(ends[0]) if len(ends) else 16, steps - at)


def allowed(
    stage: Stage,
    ranges: Sequence[tuple[int, int]],
    shift: Ints,
    rhythm: Sequence[Notes | None] | None = None,
) -> Flags:
    """[T, 4, TOKENS] what each free site may become: pitches in range, holds that hold something new,
    silence where a voice that stands is silent. `rhythm`, each voice's notes so far, fixes when the
    voices strike. UserError when a range leaves nothing."""
    steps = len(shift)
    may = np.zeros((steps, 4, TOKENS), bool)
    may[:, :, HOLD] = True
    for v, (low, high) in enumerate(ranges):
        pitch = np.arange(LOW, HIGH + 1) + shift[:, None]
        may[:, v, FIRST_PITCH:] = (pitch >= low) & (pitch <= high)
        if not may[:, v, FIRST_PITCH:].any(axis=1).all():
            raise UserError(f"The range of the {VOICES[v]}, {low}:{high}, has no note it can sing.")
    standing = ~stage.free & (stage.given.pitch < 0)
    may[:, :, REST] = standing[:, :1] | standing.all(axis=1, keepdims=True)
    begins = np.ones_like(stage.free)
    begins[1:] = ~stage.free[:-1]
    may[:, :, HOLD] &= ~begins
    for v, notes in enumerate(rhythm or ()):
        if notes is None:
            continue
        pitch, attack, _ = _column(notes, stage.origin, steps, v == 3, wide=False)
        struck, silent = attack & (pitch >= 0), pitch < 0
        begin = begins[:, v]
        may[silent, v] = False
        may[silent, v, REST] = True
        may[struck, v, HOLD] = False
        held = ~struck & ~silent & ~begin
        may[held, v] = False
        may[held, v, HOLD] = True
    return may


def written(stage: Stage, columns: Ints, velocity: int) -> list[Notes]:
    """The new notes of each voice in the region, from token columns [T, 4]."""
    first, last = stage.inside
    out = []
    shift = stage.given.shift
    for v in range(4):
        track = stage.lines[v]
        octave = stage.octaves[v] if track is not None else 0
        onset, duration, pitch = [], [], []
        i = first
        while i < last:
            token = int(columns[i, v])
            if not stage.free[i, v] or token < FIRST_PITCH:
                i += 1
                continue
            j = i + 1
            while j < last and stage.free[j, v] and columns[j, v] == HOLD:
                j += 1
            onset.append(stage.origin + i * SIXTEENTH)
            duration.append((j - i) * SIXTEENTH)
            pitch.append(token - FIRST_PITCH + LOW + int(shift[i]) - 12 * octave)
            i = j
        out.append(Notes.of(onset, duration, np.clip(pitch, 0, 127), velocity))
    return out


def token_columns(stage: Stage, blank: int) -> Ints:
    """[T, 4] tokens of what stands, `blank` at free sites."""
    return np.asarray(np.where(stage.free, blank, tokens(stage.given)))


def in_key(stage: Stage, sharps: int, minor: bool) -> Stage:
    """The same stage under another key signature."""
    given = stage.given
    mode = np.full_like(given.mode, MINOR if minor else MAJOR)
    return replace(
        stage, given=replace(given, sharps=np.full_like(given.sharps, sharps), mode=mode)
    )


def moved(stage: Stage, beats: int) -> Stage:
    """The same stage with its barlines `beats` quarters earlier."""
    bar = np.take(BAR_STEPS, stage.given.meter)
    position = (stage.given.position + beats * 4) % bar
    return replace(stage, given=replace(stage.given, position=position))


def phrased(stage: Stage, bars: int) -> tuple[Stage, tuple[int, ...]]:
    """The stage with a fermata every `bars` bars and at the end of the region, and their ticks.

    In common time a phrase ends on the third beat, in triple time on the first, as most in the corpus.
    """
    given = stage.given
    fermata = np.full_like(given.fermata, NO_FERMATA)
    if not bars:
        return replace(stage, given=replace(given, fermata=fermata)), ()
    first, last = stage.inside
    begins = [i for i in range(first, last) if given.position[i] == 0]
    ticks = []
    phrases = max(1, len(begins) // bars)
    for n in range(1, phrases + 1):
        start = (
            begins[min(n * bars, len(begins)) - 1]
            if n < phrases
            else begins[-1]
            if begins
            else first
        )
        common = given.meter[start] == METERS[4, 4]
        onset = start + (8 if common else 0)
        length = 8 if common else 12
        if n < phrases and given.position[first]:  # phrases begin with an upbeat, as the piece does
            length -= 4
        end = last if n == phrases else min(onset + length, last)
        if onset < end:
            fermata[onset:end] = FERMATA
            ticks.append(stage.origin + onset * SIXTEENTH)
    return replace(stage, given=replace(given, fermata=fermata)), tuple(ticks)


def cadence(stage: Stage, ranges: Sequence[tuple[int, int]], rng: np.random.Generator) -> Ints:
    """[T, 4] tokens known before a piece is made from nothing, −1 where nothing is.

    The last chord (under the last fermata, else the last two beats) has the tonic in bass and soprano:
    138 of the 195 training chorales end on their signature's tonic (most others are modal), 135 of them
    with it on top. Known in advance, it is what writing from left to right heads for; the middle voices
    are free.
    """
    first, last = stage.inside
    start = last
    while start > first and stage.given.fermata[start - 1] == FERMATA:
        start -= 1
    if start == last:
        start = max(first, last - 8)
    planned = np.full((len(stage.given), 4), -1, np.int64)
    shift = int(stage.given.shift[start])
    tonic = (shift + (9 if stage.given.mode[start] == MINOR else 0)) % 12
    for voice, centre in FINALS:
        low, high = ranges[voice]
        tonics = [p for p in range(low, high + 1) if p % 12 == tonic]
        if not tonics:
            continue
        near = centre + rng.uniform(-FINAL_SPREAD, FINAL_SPREAD)
        pitch = min(tonics, key=lambda p: abs(p - near))
        planned[start:last, voice] = HOLD
        planned[start, voice] = pitch - shift - LOW + FIRST_PITCH
    return planned


def score_of(chorale: Chorale) -> Score:
    """A chorale as a score of four tracks, with its metre, pickup, key and fermatas."""
    bar = np.take(BAR_STEPS, chorale.meter)
    first = int(chorale.position[0])
    pickup = (int(bar[0]) - first) * SIXTEENTH if first else 0
    changes = [0, *(1 + np.flatnonzero(np.diff(chorale.meter))).tolist()]
    names = {kind: meter for meter, kind in reversed(METERS.items())}
    meters = [names[int(chorale.meter[i])] for i in changes]
    made = []
    for v, voice in enumerate(VOICES):
        begin = np.flatnonzero(chorale.attack[:, v])
        end = np.append(begin[1:], len(chorale))
        sung = chorale.pitch[begin, v] >= 0
        notes = Notes.of(
            begin[sung] * SIXTEENTH,
            (end - begin)[sung] * SIXTEENTH,
            chorale.pitch[begin, v][sung],
            first_id=len(chorale) * v,
        )
        made.append(Track(v, voice.capitalize(), notes, channel=v, program=CHURCH_ORGAN))
    held = chorale.fermata == FERMATA
    begins = held & np.append(True, ~held[:-1])
    return Score(
        tuple(made),
        meter=MeterMap(
            np.array(changes) * SIXTEENTH,
            np.array([m[0] for m in meters]),
            np.array([m[1] for m in meters]),
            pickup,
        ),
        keys=(Key(0, int(chorale.sharps[0]), bool(chorale.mode[0] == MINOR)),),
        fermatas=tuple((np.flatnonzero(begins) * SIXTEENTH).tolist()),
        title=chorale.name,
    )


def without_notes(score: Score) -> Score:
    """The same score with its tracks empty."""
    return replace(score, tracks=tuple(t.with_notes(EMPTY) for t in score.tracks))


def only(score: Score, index: int) -> Score:
    """The same score with every track but one empty."""
    kept = (t if i == index else t.with_notes(EMPTY) for i, t in enumerate(score.tracks))
    return replace(score, tracks=tuple(kept))

"""What is played while a model is late: the last bar varied by rule, chords that fit; and the rules for density and
register of systems that have no parameter for them. Pure functions; every random choice is the caller's."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from models.score import EMPTY, Column, Key, Mask, Notes
from models.timebase import PPQ, SIXTEENTH

MAJOR, MINOR = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10, 11)
LOWEST, HIGHEST = 24, 103
HARSH = (1, 2, 6, 10, 11)
"""Semitones, octaves aside, at which a chord tone is rough under a melody."""
CHORD_LOW, CHORD_HIGH = 48, 67
"""Where the middle of a chord by rule lies."""
TRIES = 12
MOST_REPITCHED = 128
"""So many notes of a loop are varied at once: some ten milliseconds of work."""

Scale = frozenset[int]
"""Pitch classes."""


def scale(key: Key | None, notes: Notes = EMPTY) -> Scale:
    """The pitch classes of a key; without one, of the major or minor scale that holds most of the notes."""
    if key is not None:
        return frozenset((key.tonic + step) % 12 for step in (MINOR if key.minor else MAJOR))
    if not len(notes):
        return frozenset(MAJOR)
    heard = np.bincount(notes.pitch.astype(int) % 12, notes.duration, 12)
    found = [frozenset((tonic + step) % 12 for step in MAJOR) for tonic in range(12)]
    ends = int(notes.pitch[-1]) % 12
    # Of scales that hold as much, the one whose tonic is heard most, or heard last.
    best = max(
        range(12),
        key=lambda t: (sum(heard[list(found[t])]), heard[t] + heard[(t + 7) % 12], t == ends),
    )
    return found[best]


def highest(notes: Notes) -> Notes:
    """One line: of notes that begin together the highest, each ending where the next begins."""
    if not len(notes):
        return notes
    top = notes.where(np.append(np.diff(notes.onset) > 0, True))
    duration = np.minimum(top.duration[:-1], np.diff(top.onset))
    return top.with_(duration=np.append(duration, top.duration[-1]))


# --- bars -------------------------------------------------------------------------------------------


def vary(
    notes: Notes,
    length: int,
    in_scale: Scale,
    rng: np.random.Generator,
    avoid: Sequence[Notes] = (),
) -> Notes:
    """Another bar like this one, 0 ≤ onset < `length`, in the scale, none of `avoid` nor the same again.

    A bar without notes stays so.
    """
    if not len(notes):
        return notes
    rules = list(_RULES)
    varied = notes
    for attempt in range(TRIES):
        chosen = rng.permutation(len(rules))[: 1 + (attempt > len(rules))]
        varied = notes
        for k in chosen:
            varied = rules[k](varied, length, in_scale, rng)
        varied = _tidy(varied, length)
        if not any(alike(varied, other) for other in (notes, *avoid)):
            break
    return varied


def repitch(
    notes: Notes,
    chosen: Mask,
    bars: Sequence[tuple[int, int, Scale]],
    rng: np.random.Generator,
    around: Notes = EMPTY,
    avoid: Sequence[Notes] = (),
) -> Notes:
    """The notes, some of those `chosen` (MOST_REPITCHED at most) with other pitches of the scale, bar by bar: `bars`
    are [start, end) in ticks and the scale there. As many, struck when they were, none beyond the lowest and the
    highest of them all.

    A note stays as it is where its new pitch would be rough with what sounds meanwhile, in `notes` or `around`, or
    is sounding in `notes` already. None of `avoid` again if there is another; `notes` itself when nothing can change.
    """
    found = notes
    free = np.flatnonzero(chosen)
    free = np.sort(rng.permutation(free)[:MOST_REPITCHED])
    for _ in range(TRIES):
        pitch = notes.pitch.astype(int)
        for start, end, in_scale in bars:
            which = free[(notes.onset[free] >= start) & (notes.onset[free] < end)]
            if len(which):
                _move(notes, pitch, which, in_scale, rng, around)
        varied = notes.with_(pitch=pitch)
        if alike(varied, notes):
            continue
        found = varied
        if not any(alike(varied, other) for other in avoid):
            break
    return found


def _move(
    notes: Notes,
    pitch: Column,
    which: Column,
    in_scale: Scale,
    rng: np.random.Generator,
    around: Notes,
) -> None:
    """Give the notes numbered `which` the pitches of a rule in `pitch`, where they may have them."""
    rule = _PITCH_RULES[int(rng.integers(len(_PITCH_RULES)))]
    line = notes.where(which).with_(id=np.arange(len(which)))
    moved = rule(line, 0, in_scale, rng)
    low, high = notes.pitch.min(), notes.pitch.max()
    for i, wanted in zip(which, moved.pitch[np.argsort(moved.id)].astype(int), strict=True):
        new = wanted + 12 * (wanted < low) - 12 * (wanted > high)
        meanwhile = notes.sounding(notes.onset[i], notes.end[i])
        meanwhile[i] = False
        others = pitch[meanwhile]
        beside = around.pitch[around.sounding(notes.onset[i], notes.end[i])].astype(int)
        rough = np.isin((new - np.concatenate([others, beside])) % 12, HARSH).any()
        if low <= new <= high and not rough and new not in others:
            pitch[i] = new


def alike(a: Notes, b: Notes) -> bool:
    """Whether two bars sound the same."""
    return len(a) == len(b) and all(
        np.array_equal(getattr(a, name), getattr(b, name))
        for name in ("onset", "duration", "pitch")
    )


def step(pitch: int, by: int, in_scale: Scale) -> int:
    """The pitch so many steps of the scale up or down."""
    for _ in range(abs(by)):
        pitch += 1 if by > 0 else -1
        while in_scale and pitch % 12 not in in_scale:
            pitch += 1 if by > 0 else -1
    return pitch


def _neighbours(notes: Notes, length: int, in_scale: Scale, rng: np.random.Generator) -> Notes:
    """A third of the notes, off the first, go a step up or down."""
    pitch = notes.pitch.astype(int).copy()
    count = max(len(pitch) // 3, 1)
    for i in rng.permutation(len(pitch))[:count]:
        pitch[i] = step(int(pitch[i]), int(rng.choice((-1, 1))), in_scale)
    return notes.with_(pitch=np.clip(pitch, 0, 127))


def _sequence(notes: Notes, length: int, in_scale: Scale, rng: np.random.Generator) -> Notes:
    """All of it a few steps of the scale higher or lower."""
    by = int(rng.choice((-2, -1, 1, 2)))
    return notes.with_(pitch=np.clip([step(int(p), by, in_scale) for p in notes.pitch], 0, 127))


def _later(notes: Notes, length: int, in_scale: Scale, rng: np.random.Generator) -> Notes:
    """The second half goes first, or all is turned round by a beat."""
    by = int(rng.choice((length // 2, PPQ))) // SIXTEENTH * SIXTEENTH
    onset = (notes.onset + by) % length
    return notes.with_(onset=onset, duration=np.minimum(notes.duration, length - onset))


def _octave(notes: Notes, length: int, in_scale: Scale, rng: np.random.Generator) -> Notes:
    """An octave away, towards the middle of the keyboard."""
    by = 12 if np.mean(notes.pitch) < 64 else -12
    return notes.with_(pitch=np.clip(notes.pitch.astype(int) + by, 0, 127))


def _backwards(notes: Notes, length: int, in_scale: Scale, rng: np.random.Generator) -> Notes:
    """The pitches from the last to the first, in the rhythm as it was."""
    return notes.with_(pitch=notes.pitch[::-1])


def _divided(notes: Notes, length: int, in_scale: Scale, rng: np.random.Generator) -> Notes:
    """A long note gives half of itself to its neighbour in the scale."""
    long = np.flatnonzero(notes.duration >= 2 * SIXTEENTH)
    if not len(long):
        return notes
    i = int(rng.choice(long))
    half = int(notes.duration[i]) // 2 // SIXTEENTH * SIXTEENTH or int(notes.duration[i]) // 2
    duration = notes.duration.copy()
    duration[i] -= half
    new = Notes.of(
        [notes.onset[i] + duration[i]],
        half,
        [np.clip(step(int(notes.pitch[i]), int(rng.choice((-1, 1))), in_scale), 0, 127)],
        notes.velocity[i],
        first_id=int(notes.id.max()) + 1,
    )
    return Notes.concatenate([notes.with_(duration=duration), new])


_RULES: tuple[Callable[[Notes, int, Scale, np.random.Generator], Notes], ...] = (
    _neighbours,
    _sequence,
    _later,
    _octave,
    _backwards,
    _divided,
)

_PITCH_RULES = (_neighbours, _sequence, _backwards)
"""Those that leave the rhythm and the number of notes alone, and need not know how long the bar is."""


def _tidy(notes: Notes, length: int) -> Notes:
    """Inside the bar, on the keyboard, a key struck once at a time."""
    notes = notes.where(notes.onset < length)
    pitch = folded(notes.pitch.astype(int))
    notes = notes.with_(pitch=pitch, duration=np.minimum(notes.duration, length - notes.onset))
    onset, keys = notes.onset, notes.pitch
    kept = np.array(
        [not ((onset[:i] == onset[i]) & (keys[:i] == keys[i])).any() for i in range(len(notes))],
        bool,
    )
    return notes.where(kept)


def folded(pitch: Column) -> Column:
    """Pitches moved by octaves until they lie where music does."""
    low = np.where(pitch < LOWEST, LOWEST + (pitch - LOWEST) % 12, pitch)
    return np.where(low > HIGHEST, HIGHEST - 11 + (low - HIGHEST + 11) % 12, low)


def registered(notes: Notes, octaves: int) -> Notes:
    """So many octaves higher, within the keyboard."""
    if not octaves or not len(notes):
        return notes
    return notes.with_(pitch=folded(notes.pitch.astype(int) + 12 * octaves))


def denser(notes: Notes, density: float, rng: np.random.Generator) -> Notes:
    """More notes or fewer, −3…3: long ones are struck again in the middle, or those off the beat are left
    out and the note before holds on. What is on the beat stays."""
    if not density or not len(notes):
        return notes
    drawn = rng.random(len(notes)) < min(abs(density) / 3, 1)
    if density > 0:
        split = drawn & (notes.duration >= 2 * SIXTEENTH)
        half = notes.duration // 2
        again = notes.where(split)
        again = Notes.of(
            again.onset + again.duration - half[split],
            half[split],
            again.pitch,
            again.velocity,
            first_id=int(notes.id.max()) + 1,
        )
        first = notes.with_(duration=np.where(split, notes.duration - half, notes.duration))
        return Notes.concatenate([first, again])
    stays = ~(drawn & (notes.onset % PPQ != 0))
    stays[0] = True
    kept = notes.where(stays)
    # A line holds on to where the next note was; chords are left as they are.
    if len(kept) > 1 and len(np.unique(notes.onset)) == len(notes):
        ends = np.minimum(np.append(kept.onset[1:], notes.length), kept.onset + 4 * PPQ)
        return kept.with_(duration=np.maximum(ends - kept.onset, kept.duration))
    return kept


# --- chords -----------------------------------------------------------------------------------------


def harmony(melody: int, in_scale: Scale, before: Sequence[int] = ()) -> tuple[int, ...]:
    """The pitches of a chord under a melody's pitch: those before, if none is rough with it, else a triad of
    the scale that has the melody's note in it and is nearest to them. All lie below the melody."""
    clash = any((melody - p) % 12 in HARSH for p in before)
    if before and not clash and max(before) < melody:
        return tuple(before)
    middle = float(np.mean(before)) if before else (CHORD_LOW + CHORD_HIGH) / 2
    middle = min(max(middle, CHORD_LOW), CHORD_HIGH)
    best: tuple[float, tuple[int, ...]] = (np.inf, ())
    for root in sorted(in_scale):
        third, fifth = step(root, 2, in_scale), step(root, 4, in_scale)
        tones = {root % 12, third % 12, fifth % 12}
        if melody % 12 not in tones or (fifth - root) % 12 == 6:
            continue
        for low in range(CHORD_LOW - 12, CHORD_HIGH):
            if low % 12 not in tones:
                continue
            chord = [low]
            while len(chord) < 3:
                chord.append(
                    next(p for p in range(chord[-1] + 1, chord[-1] + 13) if p % 12 in tones)
                )
            if chord[-1] >= melody:
                continue
            cost = abs(np.mean(chord) - middle) - len(tones & {p % 12 for p in before})
            best = min(best, (float(cost), tuple(chord)))
    if best[1]:
        return best[1]
    # A note the scale lacks, or too low for a triad under it: its octave and fifth below.
    return tuple(p for p in (melody - 12, melody - 5) if 21 <= p < melody)


def chords(melody: Notes, in_scale: Scale) -> Notes:
    """A chord by rule under each note of a melody's highest line; the same chord again is held on."""
    rows: list[list[int]] = []  # onset, end, pitch
    before: tuple[int, ...] = ()
    for onset, end, pitch in zip(*(c.tolist() for c in _line(melody)), strict=True):
        chord = harmony(pitch, in_scale, before)
        if chord == before and rows and rows[-1][1] == onset:
            for row in rows[-len(chord) :]:
                row[1] = end
        else:
            rows += [[onset, end, p] for p in chord]
        before = chord
    table = np.array(rows, np.int64).reshape(-1, 3)
    return Notes.of(table[:, 0], table[:, 1] - table[:, 0], table[:, 2])


def _line(melody: Notes) -> tuple[Column, Column, Column]:
    line = highest(melody)
    return line.onset, line.end, line.pitch


def gridded(notes: Notes) -> Notes:
    """On the nearest sixteenths, for systems that know no others; a sixteenth long at least."""
    if not len(notes):
        return notes
    onset = (notes.onset + SIXTEENTH // 2) // SIXTEENTH * SIXTEENTH
    end = (notes.end + SIXTEENTH // 2) // SIXTEENTH * SIXTEENTH
    return notes.with_(onset=onset, duration=np.maximum(end - onset, SIXTEENTH))

"""From a score to a place in the blues form, and from units back to notes.

Finds out in which key and bar of the form the music stands, which track holds the chords and which is the
melody, what of both is there already, and writes what is new around what must stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.card import Task, Value
from models.representations import blues
from models.representations.blues import (
    BAR,
    CHORD,
    CHORDS,
    FORM,
    FORMS,
    MELODY,
    REST,
    STEP,
    Choruses,
    Flags,
    Ints,
)
from models.score import EMPTY, Key, Notes, Region, Score, Track, UserError
from models.system import Ask
from models.timebase import MeterMap
from models.tunes import Tune

KEYS = ("C", "D-flat", "D", "E-flat", "E", "F", "G-flat", "G", "A-flat", "A", "B-flat", "B")
UNKNOWN = -2
"""The melody unit of a step that is to be written."""
HEARD = 2
"""Choruses before the marked bars that are listened to."""
CHORDAL = 0.4
"""A track is one of chords when three notes or more sound in so much of its time."""
RINGS = 2 * BAR
"""Steps for which a chord counts after it has ended, while no other comes."""
PIANO, TRUMPET = 0, 56
LOWEST_TONIC = 60
COMPS: dict[str, tuple[tuple[tuple[int, int], ...], ...]] = {
    "held": (((0, BAR),),),
    "quarters": (((0, 1), (2, 1), (4, 1), (6, 1)),),
    "charleston": (((0, 3), (3, 1)),),
    "mixed": (
        ((0, 3), (3, 1)), ((0, 1), (3, 3)), ((2, 1), (5, 2)), ((0, 2), (5, 1)), ((0, 4), (6, 1)),
        ((0, 1), (2, 1), (5, 2)),
    ),
}  # fmt: skip
"""Ways to play a chord: (step, steps long) of each strike; of several, one a bar at random."""
SHORTEST = STEP // 4


@dataclass(frozen=True, eq=False)
class Stage:
    """A request, in steps from `origin`, a tick at which the form begins (it may lie before the score).

    The region covers steps `first` to `last`. `chords` and `melody` are the tracks to write, None for one
    that is not. given [last, CHORD]: chords that stand, in C, nothing on where none do. heard [last]: melody
    units that stand, UNKNOWN where one is to be written. A melody unit u is the pitch `lift` + u.
    """

    region: Region
    origin: int
    first: int
    last: int
    tonic: int
    form: int
    chords: Track | None
    melody: Track | None
    given: Flags
    heard: Ints
    lift: int


def sounding(notes: Notes, origin: int, steps: int) -> Ints:
    """[steps, 128] for how many ticks of each step every pitch sounds."""
    table = np.zeros((steps, 128), np.int64)
    for onset, end, pitch in zip(
        notes.onset - origin, notes.end - origin, notes.pitch, strict=True
    ):
        first, last = max(0, int(onset) // STEP), min(steps, -(-int(end) // STEP))
        at = np.arange(first, last) * STEP
        table[first:last, pitch] += np.minimum(at + STEP, end) - np.maximum(at, onset)
    return table


def chord_units(notes: Notes, origin: int, steps: int) -> Flags:
    """[steps, CHORD] the pitch classes that sound for most of each step, as far as they are chords: three
    or more. A chord rings on until another comes, for RINGS steps at most."""
    ticks = sounding(notes, origin, steps)
    by_class = np.zeros((steps, CHORD), np.int64)
    for pitch in range(128):
        by_class[:, pitch % CHORD] = np.maximum(by_class[:, pitch % CHORD], ticks[:, pitch])
    longest = by_class.max(-1, keepdims=True)
    on = (by_class * 2 > longest) & (longest >= SHORTEST)
    chord = on.sum(-1) >= 3
    at = np.maximum.accumulate(np.where(chord, np.arange(steps), -1))
    rings = (at >= 0) & (np.arange(steps) - at < RINGS)
    return np.asarray(np.where(rings[:, None], on[np.maximum(at, 0)], False))


def line_pitches(notes: Notes, origin: int, steps: int) -> Ints:
    """[steps] the pitch that sounds longest in each step, of equals the highest; REST for silence."""
    ticks = sounding(notes, origin, steps)
    highest = 127 - ticks[:, ::-1].argmax(-1)
    return np.where(ticks.max(-1) >= SHORTEST, highest, REST)


def folded(pitch: Ints, lift: int) -> Ints:
    """Melody units of pitches, those beyond the thirteen moved by octaves; REST stays."""
    unit = pitch - lift
    far = (unit < 0) | (unit >= MELODY)
    return np.where(pitch == REST, REST, np.where(far, unit % CHORD, unit))


def is_chordal(track: Track) -> bool:
    """Whether a track holds chords."""
    notes = track.notes
    if len(notes) < 3:
        return False
    origin = int(notes.onset.min()) // STEP * STEP
    voices = (sounding(notes, origin, -(-(notes.length - origin) // STEP)) >= SHORTEST).sum(-1)
    return bool((voices >= 3).sum() > CHORDAL * (voices > 0).sum())


def fit(chords: Flags, forms: Flags, tonic: int | None) -> tuple[int, int, int]:
    """(tonic, form, bar of the form at step 0) that suit chords [S, CHORD] best, of forms [F, FORM, CHORD].

    The tonic is found when it is None. Of what suits alike: the first bar, C, the first form.
    """
    total = np.zeros((FORM, CHORD))
    np.add.at(total, np.arange(len(chords)) % FORM, chords)
    best, found = -np.inf, (tonic or 0, 0, 0)
    keys = range(CHORD) if tonic is None else (tonic,)
    for bar in range(FORM // BAR):
        wanted = np.roll(forms, -bar * BAR, 1)
        for key in keys:
            score = (np.roll(total, -key, 1) * (2.0 * wanted - 1)).sum((1, 2))
            if score.max() > best:
                best, found = float(score.max()), (key, int(score.argmax()), bar)
    return found


def tonic_of(parts: Sequence[Notes]) -> int:
    """The tonic of the blues scale that the time of some notes is spent in; C when there are none."""
    time = np.zeros(CHORD)
    for notes in parts:
        time += np.bincount(notes.pitch % CHORD, notes.duration, CHORD)
    weight = np.zeros(CHORD)
    weight[[0, 3, 4, 5, 7, 9, 10]] = 3, 1.5, 1, 1, 2, 0.5, 1.5
    return int(np.argmax([(np.roll(time, -key) * weight).sum() for key in range(CHORD)]))


def cast(ask: Ask, name: str, both: bool) -> tuple[Track | None, Track | None]:
    """The tracks for chords and melody to be written, new ones where none are marked; UserError when what
    is marked can't be that. Without `both` only the chords are written."""
    marked = [t for t in ask.score.tracks if t.id in ask.region.tracks]
    if marked and all(t.channel == 9 for t in marked):
        raise UserError("A drum track has neither chords nor melody; mark another.")
    marked = [t for t in marked if t.channel != 9]
    if not marked:
        wanted = ["Chords", "Melody"] if both else ["Chords"]
        if ask.task in (Task.ACCOMPANY, Task.REGENERATE):
            wanted = ["Melody"]
        made = _new(ask.score, wanted)
        return made.get("Chords"), made.get("Melody")
    harmony = [t for t in marked if "chord" in t.name.casefold() or is_chordal(t)]
    if not both:
        chosen = harmony or [t for t in marked if not len(t.notes)] or marked
        if len(chosen) > 1 or (chosen == marked and len(chosen[0].notes) and not harmony):
            raise UserError(
                f"{name} writes one track of chords; mark one that has chords or is empty."
            )
        return chosen[0], None
    lines = [t for t in marked if t not in harmony]
    if len(lines) > 1:
        lines = [t for t in lines if "melody" in t.name.casefold()] or lines
    if len(lines) > 1 and ask.task is Task.CREATE and not harmony and len(lines) == 2:
        return lines[1], lines[0]
    if len(lines) > 1:
        raise UserError(f"{name} writes one melody and {len(lines)} tracks are marked; mark one.")
    if ask.task in (Task.ACCOMPANY, Task.REGENERATE):
        if not lines:
            raise UserError(f"{name} never rewrites chords; mark a track with a melody, too.")
        return None, lines[0]
    if len(harmony) > 1:
        raise UserError(
            f"{name} writes one track of chords and {len(harmony)} are marked; mark one."
        )
    return (harmony[0] if harmony else None), (lines[0] if lines else None)


def _new(score: Score, names: Sequence[str]) -> dict[str, Track]:
    """Empty tracks on channels of their own."""
    used = {t.channel for t in score.tracks} | {9}
    free = [c for c in range(16) if c not in used] or [0]
    return {
        name: Track(
            score.next_track_id + i, name, channel=free[min(i, len(free) - 1)],
            program=TRUMPET if name == "Melody" else PIANO,
        )
        for i, name in enumerate(names)
    }  # fmt: skip


def lay(ask: Ask, name: str, forms: Flags, values: dict[str, Value], both: bool) -> Stage:
    """The stage of a request to the system called `name`, whose forms are [F, FORM, CHORD]; UserError when
    the blues has no place there."""
    region, score = ask.region, ask.score
    chords, melody = cast(ask, name, both)
    source = None if chords is not None else _source(ask, melody)
    if ask.task is Task.ACCOMPANY and source is None:
        raise UserError(f"No other track has chords for {name} to play over; write some first.")
    begins = [t.notes for t in (source, chords, melody) if t is not None and len(t.notes)]
    before = min((int(n.onset.min()) for n in begins), default=region.start)
    if ask.task is Task.CONTINUE and before >= region.start:
        raise UserError("There is nothing before the marked bars to continue; mark later ones.")
    if ask.task is Task.CREATE:
        before = region.start
    meter = score.meter
    base = meter.bar_start(meter.position(min(before, region.start)).bar)
    if base < meter.pickup <= region.start:
        base = meter.bar_start(1)
    check_meter(score, base, region.end, name)
    # What the form is read from: chords that stand, or those before what is to be written.
    harmony = EMPTY
    if source is not None:
        harmony = source.notes
    elif chords is not None:
        harmony = chords.notes.where(chords.notes.end <= region.start)
    until = -(-(region.end - base) // STEP)
    table = chord_units(harmony, base, until)
    line = melody.notes if melody is not None else EMPTY
    key = score.key_at(region.start)
    tonic: int | None = None
    if values["key"] != "score":
        tonic = KEYS.index(str(values["key"]))
    elif key is not None:
        tonic = key.tonic
    elif not table.any():
        tonic = tonic_of([line] if len(line) else [t.notes for t in score.tracks if t.channel != 9])
    form, bar = list(FORMS).index(str(values["form"])), 0
    if table.any():
        found, place, at = fit(table, forms, tonic)
        tonic = found
        if ask.task is not Task.CREATE:
            form, bar = place, at
    assert tonic is not None
    origin = base - bar * BAR * STEP
    first = (region.start - origin) // STEP
    skipped = max(0, first // FORM - HEARD) * FORM
    origin, first = origin + skipped * STEP, first - skipped
    last = -(-(region.end - origin) // STEP)
    if ask.task is Task.ACCOMPANY and not table[(region.start - base) // STEP :].any():
        raise UserError("The marked bars have no chords to play over; mark those that do.")
    given = np.zeros((last, CHORD), bool)
    if source is not None:
        given = np.roll(chord_units(source.notes, origin, last), -tonic, 1)
    lift = LOWEST_TONIC + tonic
    if len(line):
        middle = float(np.average(line.pitch, weights=line.duration))
        lift += 12 * round((middle - MELODY // 2 - lift) / 12)
    heard = np.full(last, UNKNOWN)
    heard[:first] = REST
    if melody is not None and len(line):
        kept = line.where(~region.with_tracks({melody.id}).owned(melody))
        stands = folded(line_pitches(kept, origin, last), lift)
        known = (np.arange(last) < first) | (stands != REST)
        heard = np.where(known, stands, UNKNOWN)
    return Stage(region, origin, first, last, tonic, form, chords, melody, given, heard, lift)


def _source(ask: Ask, melody: Track | None) -> Track | None:
    """The track of chords that stand: the one asked for, else the first that is chordal."""
    others = [t for t in ask.score.tracks if t != melody and t.channel != 9]
    wanted = [t for t in others if t.id == ask.melody and len(t.notes)]
    return next((t for t in [*wanted, *others] if is_chordal(t)), None)


def closing(stage: Stage, ask: Ask, values: dict[str, Value]) -> int:
    """The step from which a piece made from nothing closes: the last bar's, or none."""
    ends = ask.task is Task.CREATE and values["ending"] and stage.last - stage.first > BAR
    return stage.last - BAR if ends else stage.last


def signature(stage: Stage, score: Score) -> tuple[Key, ...]:
    """The key to give to a score that has neither a key nor music."""
    blank = not score.keys and not score.length
    return (Key(0, (stage.tonic * 7 + 5) % CHORD - 5),) if blank else ()


def check_meter(score: Score, start: int, end: int, name: str) -> None:
    """UserError unless all bars from `start` to `end` are in 4/4."""
    tick = start
    while tick < end:
        if score.meter.at(tick) != (4, 4):
            shown = "{}/{}".format(*score.meter.at(tick))
            raise UserError(f"{name} knows the blues in 4/4 and not in {shown}; mark other bars.")
        tick = score.meter.bar_start(score.meter.position(tick).bar + 1)


def written_melody(stage: Stage, melody: Ints, swing: int) -> Track:
    """The melody's new notes, of units [last]."""
    assert stage.melody is not None
    track = stage.melody
    steps = np.arange(stage.first, stage.last)
    new = np.append(True, melody[steps[1:]] != melody[steps[:-1]])
    begin = steps[new]
    end = np.append(begin[1:], stage.last)
    sounds = melody[begin] != REST
    old = track.notes
    velocity = int(np.median(old.velocity)) if len(old) else 92
    rows = np.stack([begin[sounds], end[sounds], melody[begin[sounds]] + stage.lift], 1)
    return track.with_notes(_around(stage, track, rows, swing, velocity))


def written_chords(
    stage: Stage,
    chords: Flags,
    values: dict[str, Value],
    rng: np.random.Generator,
    voicing: int,
    closing: int,
) -> Track:
    """The chords' new notes, of units [last, CHORD] in C; `voicing` says how many inversions up. From step
    `closing` on they are held."""
    assert stage.chords is not None
    track = stage.chords
    lowest = int(str(values["register"])) + 3 * voicing
    rows: list[tuple[int, int, int]] = []
    t = stage.first
    while t < stage.last:
        end = t + 1
        while end < stage.last and end % BAR and (chords[end] == chords[t]).all():
            end += 1
        classes = np.flatnonzero(chords[t])
        if not values["sevenths"]:
            classes = triad(classes)
        pitches = lowest + (classes + stage.tonic - lowest) % CHORD
        comps = COMPS[str(values["comping"]) if t < closing else "held"]
        for at, steps in comps[int(rng.integers(len(comps)))]:
            if t + at < end:
                rows += [(t + at, min(t + at + steps, end), int(p)) for p in pitches]
        t = end
    old = track.notes
    velocity = int(np.median(old.velocity)) if len(old) else 68
    table = np.array(rows, np.int64).reshape(-1, 3)
    notes = _around(stage, track, table, int(str(values["swing"])), velocity)
    return track.with_notes(notes)


def triad(classes: Ints) -> Ints:
    """Pitch classes of a chord without its seventh or sixth, if it is one of the CHORDS."""
    for chord in CHORDS.values():
        if len(chord) == 4 and set(chord) == set(classes.tolist()):
            return np.array(chord[:3])
    return classes


def _around(stage: Stage, track: Track, rows: Ints, swing: int, velocity: int) -> Notes:
    """Notes of (first step, step after the last, pitch), odd steps `swing` ticks late, cut to the region and
    to what is free of notes that must stay."""
    region = stage.region
    tick = stage.origin + rows[:, :2] * STEP + swing * (rows[:, :2] % 2)
    onset = np.maximum(tick[:, 0], region.start)
    end = np.minimum(tick[:, 1], region.end)
    pitch = rows[:, 2]
    kept = track.notes.where(~region.with_tracks({track.id}).owned(track))
    kept = kept.where(kept.sounding(region.start, region.end))
    for first, last in zip(kept.onset, kept.end, strict=True):
        onset = np.where((onset >= first) & (onset < last), last, onset)
        end = np.where((onset < first) & (end > first), first, end)
    fine = end - onset >= SHORTEST
    octaves = np.where(pitch < 0, 12, np.where(pitch > 127, -12, 0))
    return Notes.of(onset[fine], (end - onset)[fine], (pitch + octaves)[fine], velocity)


def choruses(score: Score) -> list[tuple[Ints, Flags]]:
    """(melody, chords) of every time through the form, from bar 1 on, of a user's score: twelve bars each,
    moved to C. The plain form stands for chords that are missing. None of music in other metres."""
    sung = [t for t in score.tracks if len(t.notes) and t.channel != 9]
    harmony = next((t for t in sung if is_chordal(t)), None)
    lines = [t for t in sung if not is_chordal(t)]
    lines.sort(key=lambda t: ("melody" not in t.name.casefold(), -float(t.notes.pitch.mean())))
    base = score.meter.bar_start(1)
    length = score.meter.bar_start(score.meter.position(max(score.length - 1, 0)).bar + 1) - base
    try:
        check_meter(score, base, base + length, "")
    except UserError:
        return []
    steps = length // STEP // FORM * FORM
    plain = np.tile(blues.form("plain"), (steps // FORM, 1))
    key = score.key_at(base)
    tonic = key.tonic if key else None
    chords = np.zeros((steps, CHORD), bool)
    if harmony is not None and steps:
        chords = chord_units(harmony.notes, base, steps)
        tonic = fit(chords, plain[None, :FORM], tonic)[0] if tonic is None else tonic
    if tonic is None:
        tonic = tonic_of([t.notes for t in sung])
    chords = np.roll(chords, -tonic, 1)
    chords = np.where(chords.any(-1, keepdims=True), chords, plain)
    melody = np.full(steps, REST)
    if lines:
        notes = lines[0].notes
        middle = float(np.average(notes.pitch, weights=notes.duration))
        lift = tonic + 12 * round((middle - MELODY // 2 - tonic) / 12)
        melody = folded(line_pitches(notes, base, steps), lift)
    if not lines and harmony is None:
        return []
    return list(zip(melody.reshape(-1, FORM), chords.reshape(-1, FORM, CHORD), strict=True))


def of_tune(tune: Tune) -> Score:
    """A tune as a score of one track, for `choruses`."""
    notes = Notes.of(tune.onset, tune.duration, np.clip(tune.pitch, 0, 127))
    changes = np.append(True, np.diff(tune.meters) != 0)
    meter = MeterMap(
        tune.bars[:-1][changes], tune.meters[changes] // 1000, tune.meters[changes] % 1000
    )
    keys = (Key(0, tune.sharps, tune.minor == 1),) if tune.sharps or tune.minor >= 0 else ()
    return Score((Track(0, "Melody", notes),), meter=meter, keys=keys)


def gathered(scores: Sequence[Score], needs_melody: bool) -> Choruses:
    """The choruses of a user's scores, those with a melody alone if it is needed; UserError when there is
    none."""
    found = [chorus for score in scores for chorus in choruses(score)]
    if needs_melody:
        found = [(m, c) for m, c in found if (m != REST).mean() > 0.25]
    if not found:
        raise UserError("The corpus has no twelve bars of blues in 4/4 from bar 1 on; add some.")
    return Choruses(np.stack([m for m, _ in found]), np.stack([c for _, c in found]))

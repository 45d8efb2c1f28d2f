"""Comping: which melody a request is about, and chords put under it as a pianist would.

The chords themselves come from a system, as labels of `representations.chords`, one for a bar or half.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models import leadsheets
from models.leadsheets import QUALITIES
from models.representations import note_step
from models.representations.chords import MINOR_THIRD, SEVENTHS, edges, sounded, tones
from models.representations.note_step import to_white_keys
from models.score import EMPTY, Notes, Region, Score, Track, UserError
from models.system import Ask

Column = npt.NDArray[np.int64]

MIDDLE_C = 60
LOWEST, HIGHEST = 43, 76
"""Between these chords are voiced."""
BASS = 36
"""The lowest note of a bass under them."""
UPRIGHT = 2.0
"""What it costs to begin or end on an inversion, in semitones of a voice's way."""
RESTING = ("major", "minor", "major_seventh", "minor_seventh")
"""Kinds of chords that a song may end on."""


@dataclass(frozen=True, eq=False)
class Stage:
    """A melody as a system of chords sees it, and where its chords go.

    edges [bars, 3]: start, middle and end of every bar of the piece; meters [bars]; ticks [bars, 2, 12]
    of the melody, moved up by shift [bars] semitones to a signature without sharps or flats. The melody
    sings from bar `begin`, an upbeat not counted, to before bar `finish`; chords are wanted from bar
    `first` to before bar `last`, on `track`, whose notes in `kept` stay. `minor` says whether it is
    written in a minor key.
    """

    edges: Column
    meters: Column
    ticks: Column
    shift: Column
    begin: int
    finish: int
    first: int
    last: int
    track: Track
    kept: Notes
    melody: Notes
    minor: bool

    @property
    def length(self) -> Column:
        """[bars, 2]: ticks of the halves of bars."""
        return np.diff(self.edges, axis=1)

    def spans(self, per_bar: int) -> Column:
        """[units, 2]: start and end of every bar, or half bar."""
        if per_bar == 1:
            return self.edges[:, ::2]
        return np.stack([self.edges[:, :2], self.edges[:, 1:]], -1).reshape(-1, 2)


def stage(ask: Ask) -> Stage:
    """What a request to accompany is about. UserError when there is no melody, or no one track to write."""
    score, region = ask.score, ask.region
    melody = _melody(ask)
    asked = [t for t in score.tracks if t.id in region.tracks and t is not melody]
    if len(asked) > 1:
        raise UserError(f"Chords go on one track and {len(asked)} are marked; mark one.")
    if asked and asked[0].channel == 9:
        raise UserError("A drum track can't play chords; mark another.")
    onset, ends, pitch = _line(melody.notes)
    bars = score.meter.bars(0, max(melody.notes.length, region.end))
    starts = [tick for _, tick in bars]
    after = score.meter.bar_start(bars[-1][0] + 1)
    meters = [n * 1000 + d for n, d in map(score.meter.at, starts)]
    places = edges(list(zip(starts, [*starts[1:], after], meters, strict=True)))
    sharps, minor = _keys(score, places[:, 0], pitch, ends - onset)
    shift = np.array([to_white_keys(s) for s in sharps], np.int64)
    ticks = sounded(onset, ends, pitch, places, shift)
    sounds = np.flatnonzero(ticks.sum((1, 2)))
    # An upbeat has no chord: a bar cut short, or one that is silent to its middle.
    pickup = score.meter.pickup > 0 and sounds[0] == 0
    if (pickup or int(onset[0]) >= places[sounds[0], 1]) and len(sounds) > 1:
        sounds = sounds[1:]
    inside = sounds[(places[sounds, 2] > region.start) & (places[sounds, 0] < region.end)]
    if not len(inside):
        raise UserError("The melody to accompany has no notes there; choose other bars.")
    track = asked[0] if asked else _new_track(score)
    kept = track.notes.where(~region.with_tracks({track.id}).owned(track)) if asked else EMPTY
    return Stage(
        places,
        np.array(meters, np.int64),
        ticks,
        shift,
        int(sounds[0]),
        int(sounds[-1]) + 1,
        int(inside[0]),
        int(inside[-1]) + 1,
        track,
        kept,
        melody.notes,
        minor,
    )


def _line(notes: Notes) -> tuple[Column, Column, Column]:
    """Onsets, ends and pitches of the highest line of some notes: one at a time."""
    last = np.append(np.diff(notes.onset) > 0, True)  # notes are ordered by onset, then pitch
    onset, ends = notes.onset[last], notes.end[last]
    return (
        onset,
        np.minimum(ends, np.append(onset[1:], ends[-1])),
        notes.pitch[last].astype(np.int64),
    )


def _melody(ask: Ask) -> Track:
    """The track to put chords under: the one named, or else the highest of those that sing."""
    score, region = ask.score, ask.region
    heard = [
        t
        for t in score.tracks
        if t.channel != 9 and t.notes.sounding(region.start, region.end).any()
    ]
    if ask.melody is not None:
        found = next((t for t in heard if t.id == ask.melody), None)
        if found is None:
            raise UserError("The melody to accompany has no notes there; choose another track.")
        return found
    heard = [t for t in heard if t.id not in region.tracks]
    if not heard:
        raise UserError("There is no melody to accompany; draw one or open a file with one.")
    words = ("melody", "vocal", "voice", "lead", "soprano")
    named = [t for t in heard if any(word in t.name.casefold() for word in words)]
    return max(named or heard, key=lambda t: float(t.notes.pitch.mean()))


def _new_track(score: Score) -> Track:
    """An empty track for chords, played by a piano."""
    used = {t.channel for t in score.tracks} | {9}
    channel = next((c for c in range(16) if c not in used), 0)
    return Track(score.next_track_id, "Chords", channel=channel)


def _keys(score: Score, ticks: Column, pitch: Column, duration: Column) -> tuple[list[int], bool]:
    """Sharps of the signature at each tick, and whether the first key is said to be minor: as the score
    has it, or as the melody sounds where it says none, or C for want of anything better."""
    heard = note_step.signature(pitch, duration)
    written = {key.sharps for key in score.keys}
    if not written or (
        written == {0} and _fits(heard, pitch, duration) > _fits(0, pitch, duration) + 0.1
    ):
        return [heard] * len(ticks), False
    keys = [score.key_at(int(tick)) for tick in ticks]
    return [key.sharps if key else heard for key in keys], score.keys[0].minor


def _fits(sharps: int, pitch: Column, duration: Column) -> float:
    """The share of the time that is spent in the scale of a signature."""
    white = np.isin((pitch + to_white_keys(sharps)) % 12, [0, 2, 4, 5, 7, 9, 11])
    return float(duration[white].sum() / max(1, duration.sum()))


def voicings(label: int, shift: int) -> list[tuple[int, ...]]:
    """Every close position of a chord between LOWEST and HIGHEST, sounding `shift` semitones lower than
    it is called."""
    above = QUALITIES[SEVENTHS[label // 12]]
    order = [(label + step - shift) % 12 for step in above]
    found = []
    for turn in range(len(order)):
        inversion = order[turn:] + order[:turn]
        for octave in range(LOWEST // 12, HIGHEST // 12 + 1):
            pitches = [12 * octave + inversion[0]]
            for tone in inversion[1:]:
                pitches.append(pitches[-1] + (tone - pitches[-1]) % 12)
            if pitches[0] >= LOWEST and pitches[-1] <= HIGHEST:
                found.append(tuple(pitches))
    return found


def voiced(labels: Column, shift: Column, ceiling: Column) -> list[tuple[int, ...]]:
    """Chords [U] in close positions that move as little as can be from one to the next, about middle C and
    below `ceiling` [U], the lowest note of the melody there, at the ends with their root lowest if that
    is near; `shift` as in `voicings`."""
    options = [voicings(int(c), int(s)) for c, s in zip(labels, shift, strict=True)]
    cost: list[list[float]] = []
    back: list[list[int]] = []
    for u, positions in enumerate(options):
        here, via = [], []
        for pitches in positions:
            away = abs(sum(pitches) / len(pitches) - min(MIDDLE_C, ceiling[u] - 5)) / 2
            above = 4.0 * max(0, pitches[-1] - int(ceiling[u]) + 1)
            if u in (0, len(options) - 1) and (pitches[0] + int(shift[u]) - int(labels[u])) % 12:
                above += UPRIGHT
            before = [
                c + _motion(other, pitches)
                for c, other in zip(cost[-1], options[u - 1], strict=True)
            ] if u else [0.0]  # fmt: skip
            best = int(np.argmin(before))
            here.append(before[best] + away + above)
            via.append(best)
        cost.append(here)
        back.append(via)
    chosen: list[tuple[int, ...]] = []
    at = int(np.argmin(cost[-1])) if cost else 0
    for u in range(len(options) - 1, -1, -1):
        chosen.append(options[u][at])
        at = back[u][at]
    return chosen[::-1]


def _motion(a: tuple[int, ...], b: tuple[int, ...]) -> float:
    """How far voices go from one chord to another, each to the nearest note."""
    there = sum(min(abs(x - y) for y in b) for x in a) / len(a)
    return 1.5 * (there + sum(min(abs(x - y) for y in a) for x in b) / len(b))


def allowed(stage: Stage, labels: int, per_bar: int, cadence: bool) -> npt.NDArray[np.bool_]:
    """[units of the melody's bars, labels]: which chords may stand where. They have the notes that stay,
    where one has them all; with `cadence` the last is the tonic's, if the last note is in it."""
    spans = stage.spans(per_bar)[stage.begin * per_bar : stage.finish * per_bar]
    shift = np.repeat(stage.shift[stage.begin : stage.finish], per_bar)
    has = np.zeros((labels, 12), bool)
    for label in range(labels):
        has[label, list(tones(label))] = True
    may = np.ones((len(spans), labels), bool)
    if len(stage.kept):
        for u, (start, end) in enumerate(spans.tolist()):
            stays = stage.kept.where(stage.kept.sounding(start, end)).pitch.astype(np.int64)
            fits = has[:, (stays + shift[u]) % 12].all(1)
            may[u] = fits if fits.any() else may[u]
    if cadence:
        goal = int(stage.melody.pitch[int(np.argmax(stage.melody.end))] + shift[-1]) % 12
        root, minor = np.arange(labels) % 12, MINOR_THIRD[np.arange(labels) // 12]
        resting = np.isin(np.arange(labels) // 12, [SEVENTHS.index(k) for k in RESTING])
        tonic = (root == 9) & minor if stage.minor or goal == 9 else (root == 0) & ~minor
        tonic &= resting & has[:, goal] & may[-1]
        may[-1] = tonic if tonic.any() else may[-1]
    return may


def written(
    stage: Stage, labels: Column, per_bar: int, region: Region, rhythm: str, voicing: str
) -> Track:
    """Chords [units of the bars wanted] as notes in a region: cut at its edges, and left out where a note
    that stays is on the same key. A chord that goes on within a bar is struck once, or on every beat."""
    spans = stage.spans(per_bar)[stage.first * per_bar : stage.last * per_bar]
    bar = np.repeat(np.arange(stage.first, stage.last), per_bar)
    ceiling = np.array([_lowest(stage.melody, int(s), int(e)) for s, e in spans], np.int64)
    positions = voiced(labels, stage.shift[bar], ceiling)
    loud = int(np.clip(np.median(stage.melody.velocity) * 0.8, 1, 127))
    rows: list[tuple[int, int, int, int]] = []  # onset, end, pitch, velocity
    for u, pitches in enumerate(positions):
        goes_on = per_bar == 2 and u % 2 == 1 and labels[u] == labels[u - 1]
        if goes_on and rhythm == "held":
            continue
        first, last = int(spans[u, 0]), int(spans[u, 1])
        if rhythm == "held" and per_bar == 2 and u % 2 == 0 and labels[u] == labels[u + 1]:
            last = int(spans[u + 1, 1])
        root = BASS + (int(labels[u]) - int(stage.shift[bar[u]]) - BASS) % 12
        struck = (root, *pitches) if voicing == "bass" else pitches
        step = (
            leadsheets.beat_ticks(int(stage.meters[bar[u]])) if rhythm == "beats" else last - first
        )
        for onset in range(first, last, step):
            on, off = max(onset, region.start), min(onset + step, last, region.end)
            accent = loud if onset == first else max(1, loud - 12)
            rows += [(on, off, pitch, accent) for pitch in struck if off > on]
    rows = [cut for row in rows if (cut := _beside(row, stage.kept)) is not None]
    table = np.array(rows, np.int64).reshape(-1, 4)
    notes = Notes.of(table[:, 0], table[:, 1] - table[:, 0], table[:, 2], table[:, 3])
    return stage.track.with_notes(notes)


def _lowest(melody: Notes, start: int, end: int) -> int:
    """The lowest note of a melody between two ticks; of all of it where it is silent."""
    those = melody.where(melody.sounding(start, end))
    return int((those if len(those) else melody).pitch.min())


def _beside(row: tuple[int, int, int, int], kept: Notes) -> tuple[int, int, int, int] | None:
    """A note cut short before one of `kept` on the same key; None where that one sounds already."""
    onset, end, pitch, velocity = row
    same = kept.where((kept.pitch == pitch) & kept.sounding(onset, end))
    if len(same) and (same.onset <= onset).any():
        return None
    return onset, min([end, *same.onset.tolist()]), pitch, velocity

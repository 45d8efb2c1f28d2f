"""Notes as they were played, moved towards a grid; and the tempo somebody played in without a click."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models.score import Controls, Notes
from models.timebase import PPQ, MeterMap, TempoMap

Places = npt.NDArray[np.float64]

CHORD_SECONDS = 0.03
"""Keys struck within this are one chord. Pianists' chords spread over some 30 ms and less (Goebl 2001,
"Melody lead in piano performance": the melody leads by about 30 ms)."""

GRIDS: tuple[tuple[str, int], ...] = (
    ("1/4", PPQ),
    ("1/4 triplet", PPQ * 2 // 3),
    ("1/8", PPQ // 2),
    ("1/8 triplet", PPQ // 3),
    ("1/16", PPQ // 4),
    ("1/16 triplet", PPQ // 6),
    ("1/32", PPQ // 8),
)
"""Names of the grids and their widths in ticks."""


@dataclass(frozen=True)
class Quantise:
    """How far and where to: `strength` 0 (as played) to 1 (on the grid of `grid` ticks, counted from each
    barline); `swing` .5 (straight) to .75 is where in a pair of grid steps the second lies; `ends`: the
    ends of notes as well as their beginnings. ValueError for anything else."""

    grid: int = PPQ // 4
    strength: float = 1.0
    swing: float = 0.5
    ends: bool = False

    def __post_init__(self) -> None:
        if self.grid < 1 or not 0 <= self.strength <= 1 or not 0.5 <= self.swing <= 0.75:
            raise ValueError("a grid is positive, strength lies in 0–1, swing in .5–.75")


def nearest(places: Places, quantise: Quantise, meter: MeterMap) -> Places:
    """The point of the grid nearest to each place (ticks ≥ 0); barlines are points of every grid."""
    if not len(places):
        return np.zeros(0)
    low, high = int(places.min()), int(places.max())
    bars = meter.bars(meter.bar_start(meter.position(max(low, 0)).bar), high + 1)
    lines = np.array([tick for _, tick in bars], np.float64)
    lines = np.append(lines, meter.bar_start(bars[-1][0] + 1))
    bar = np.clip(np.searchsorted(lines, places, side="right") - 1, 0, len(lines) - 2)
    pair = 2 * quantise.grid
    down = lines[bar] + (places - lines[bar]) // pair * pair
    points = np.stack([down, down + np.rint(pair * quantise.swing), down + pair])
    points = np.clip(points, lines[bar], lines[bar + 1])
    best = np.abs(points - places).argmin(axis=0)
    return np.asarray(points[best, np.arange(len(places))])


def chords(onset: Places, spread: float) -> npt.NDArray[np.int64]:
    """The number of the chord each onset (ascending) belongs to: a chord begins with a note and holds
    those that follow it within `spread`."""
    found = np.zeros(len(onset), np.int64)
    first = chord = 0
    for k in range(1, len(onset)):
        if onset[k] - onset[first] > spread:
            first, chord = k, chord + 1
        found[k] = chord
    return found


def apart(notes: Notes) -> Notes:
    """The notes with none running into the next of its pitch: it ends there. Those of one pitch at one tick
    become one, as long and as loud as any of them, with the first one's id."""
    order = np.lexsort((notes.onset, notes.pitch))
    columns = (notes.onset, notes.end, notes.pitch, notes.velocity, notes.id)
    found: list[list[int]] = []
    for onset, end, pitch, velocity, note in zip(
        *(c[order].tolist() for c in columns), strict=True
    ):
        last = found[-1] if found and found[-1][2] == pitch else None
        if last is not None and last[0] == onset:
            last[1], last[3] = max(last[1], end), max(last[3], velocity)
            continue
        if last is not None:
            last[1] = min(last[1], onset)
        found.append([onset, end, pitch, velocity, note])
    rows = np.array(found, np.int64).reshape(-1, 5)
    made = Notes.of(rows[:, 0], rows[:, 1] - rows[:, 0], rows[:, 2], rows[:, 3])
    return made.with_(id=rows[made.id, 4])


class Moved(NamedTuple):
    """Notes moved towards a grid, and where the music between them went: places `before` (ascending) are
    `by` ticks later now."""

    notes: Notes
    before: Places
    by: Places


def quantised(notes: Notes, quantise: Quantise, meter: MeterMap, tempo: TempoMap) -> Moved:
    """`notes` (see `apart`) moved as asked; `tempo` says how fast they were played.

    A chord goes to one point, the nearest to its middle. Where a key was struck again before the next point,
    the strokes keep their distance. No two change order, none gets shorter than a tick.
    """
    if not len(notes) or not quantise.strength:
        return Moved(notes, np.zeros(0), np.zeros(0))
    onset, end = notes.onset.astype(np.float64), notes.end.astype(np.float64)
    first = float(onset[0])
    narrow = tempo.second(first + quantise.grid / 2) - tempo.second(first)
    chord = chords(tempo.seconds(onset), min(CHORD_SECONDS, narrow))
    middle = np.bincount(chord, onset) / np.bincount(chord)
    target = nearest(middle, quantise, meter)[chord]
    point = target.copy()
    last: dict[int, tuple[float, float, float]] = {}  # pitch → its last onset, target and point
    for k, pitch in enumerate(notes.pitch.tolist()):
        if (before := last.get(pitch)) is not None:
            if target[k] <= before[1]:
                point[k] = before[2] + max(onset[k] - before[0], 1.0)
            else:
                point[k] = max(target[k], before[2] + 1)
        last[pitch] = (float(onset[k]), float(target[k]), float(point[k]))
    moved = np.rint(onset + quantise.strength * (point - onset))
    length = end - onset
    if quantise.ends:
        edge = np.maximum(nearest(end, quantise, meter), point + quantise.grid)
        length = np.rint(end + quantise.strength * (edge - end)) - moved
    reached: dict[int, float] = {}
    for k, pitch in enumerate(notes.pitch.tolist()):  # rounding may have put two together
        moved[k] = reached[pitch] = max(moved[k], reached.get(pitch, -1.0) + 1)
    by = np.bincount(chord, moved - onset) / np.bincount(chord)
    fresh = notes.with_(
        onset=moved.astype(np.int64), duration=np.maximum(length, 1).astype(np.int64)
    )
    return Moved(fresh, middle, by)


def carried(controls: Controls, moved: Moved) -> Controls:
    """Controllers moved along with the notes around them, so that a pedal stays where it was between them."""
    if not len(controls) or not len(moved.before):
        return controls
    tick = np.rint(controls.tick + np.interp(controls.tick, moved.before, moved.by))
    tick = np.maximum.accumulate(np.maximum(tick, 0)).astype(np.int64)
    return Controls(tick, controls.status, controls.data1, controls.data2)


SLOWEST, FASTEST = 50.0, 210.0
NEIGHBOURS_SECONDS = 4.0
"""Onsets further apart say nothing of the tempo: who plays without a click drifts."""

STEADY, CHANCE = 0.1, 4.5
"""Agreement of less than STEADY, or than CHANCE divided by the number of onsets, is none: random onsets reach
.06 with 60 and .36 with 12, forty at 120 bpm that are 15 ms off (standard deviation) .12 to .26."""

FEWEST = 8


def tempo_of(seconds: Places, expected: float = 120.0) -> float | None:
    """The tempo, in beats a minute, that onsets (seconds, ascending) were played in; None when they are too
    few or keep none.

    Of all tempi the one whose beats, halves and quarters agree best with the distances between near onsets,
    the likelier the nearer to `expected` (bpm): which of 60 and 120 is meant, no distance can tell.
    """
    seconds = np.asarray(seconds, np.float64)
    if len(seconds):
        _, firsts = np.unique(chords(seconds, CHORD_SECONDS), return_index=True)
        seconds = seconds[firsts]
    if len(seconds) < FEWEST:
        return None
    gaps = np.concatenate(
        [seconds[k:] - seconds[:-k] for k in range(1, min(len(seconds), 4 * FEWEST))]
    )
    gaps = gaps[gaps < NEIGHBOURS_SECONDS]
    if len(gaps) < FEWEST:
        return None

    def agreement(bpm: Places) -> Places:
        turns = 2 * np.pi * gaps[None, :] * (bpm[:, None] / 60)
        return np.asarray(np.mean([np.cos(m * turns).mean(axis=1) for m in (1, 2, 4)], axis=0))

    bpm = np.geomspace(SLOWEST, FASTEST, 500)
    likely = np.exp(-0.5 * (np.log2(bpm / expected) / 0.4) ** 2)
    scores = agreement(bpm)
    best = bpm[int((scores * likely).argmax())]
    fine = best * np.linspace(0.994, 1.006, 61)
    heard = agreement(fine)
    if heard.max() < max(STEADY, CHANCE / len(seconds)):
        return None
    return round(float(fine[int(heard.argmax())]), 1)

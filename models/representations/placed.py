"""Note steps and where in its bar each begins: what a net must hear to keep time (Briot 4.8.1.2, 4.11).

Time advances by notes, in twelfths of a beat, so sixteenths and triplets are both exact; beside every
note stands a small vector of its place in the bar, whatever the metre.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from models.representations import note_step
from models.representations.note_step import REST, Column
from models.score import Region, Score, UserError
from models.timebase import PPQ, SIXTEENTH
from models.tunes import Tune

Vectors = npt.NDArray[np.float32]

TWELFTH = PPQ // 12
TIMES: Column = np.array(
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 16, 18, 21, 24, 30, 36, 42, 48, 60, 72, 84, 96, 144]
)  # fmt: skip
"""Durations there are, in twelfths of a beat."""
LOWEST, PITCHES = 43, 53
"""G2 to B6, after music has been moved to white keys and to the octave the corpora lie in."""
SILENT = PITCHES
"""The symbol of a rest, after those of the pitches."""
SYMBOLS = PITCHES + 1
PLACE = 16
"""Numbers that say a place in the bar."""
HEARD = 256
"""Notes of a score that are listened to before it is gone on with."""
_KEYNOTES = {False: 0, True: 9}


def places(offset: npt.ArrayLike, length: npt.ArrayLike, compound: npt.ArrayLike) -> Vectors:
    """[..., PLACE] of ticks since the barline, the bar's length, and whether its beats are dotted."""
    at, bar, dotted = (x.astype(float) for x in np.broadcast_arrays(offset, length, compound))
    turn, beat = 2 * np.pi * at / bar, 2 * np.pi * at / PPQ
    rows = [f(k * turn) for k in (1, 2, 3, 4) for f in (np.sin, np.cos)]
    rows += [f(k * beat) for k in (1, 2) for f in (np.sin, np.cos)]
    rows += [at == 0, np.minimum(bar - at, 4 * PPQ) / (4 * PPQ), bar / (4 * PPQ), dotted]
    return np.stack(rows, -1).astype(np.float32)


def _compound(numerator: npt.ArrayLike, denominator: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    n, d = np.asarray(numerator), np.asarray(denominator)
    return np.asarray((d >= 8) & (n % 3 == 0) & (n > 3))


class Bars:
    """The places of ticks of a score. The bar they lie in is looked up once, and no place is worked out
    twice."""

    def __init__(self, score: Score) -> None:
        self._meter = score.meter
        self._from = self._until = 0  # the ticks of the bar at hand
        self._zero = 0  # where it begins, or would if it were whole
        self._kind = 0, False  # its length, and whether its beats are dotted

    def at(self, tick: int) -> Vectors:
        """[PLACE] of a tick, not to be written on."""
        if not self._from <= tick < self._until:
            bar, offset, length = self._meter.position(tick)
            numerator, denominator = self._meter.at(tick)
            self._from, self._until = tick - offset, tick - offset + length
            whole = numerator * 4 * PPQ // denominator if bar == 0 else length
            self._zero = self._until - whole  # an upbeat is the end of a bar
            self._kind = whole, bool(_compound(numerator, denominator))
        return _place(tick - self._zero, *self._kind)


@lru_cache(maxsize=8192)
def _place(offset: int, length: int, compound: bool) -> Vectors:
    found = places(offset, length, compound)
    found.flags.writeable = False
    return found


def place_at(score: Score, tick: int) -> Vectors:
    """[PLACE] of a tick of a score, not to be written on."""
    return Bars(score).at(tick)


def nearest(ticks: npt.ArrayLike) -> Column:
    """Which of TIMES is nearest to each number of ticks."""
    ends = (TIMES[1:] + TIMES[:-1]) * TWELFTH / 2
    return np.asarray(np.searchsorted(ends, np.asarray(ticks)), np.int64)


def symbols(pitch: Column) -> Column:
    """The symbol of each pitch (REST: SILENT); what is out of reach moves by octaves."""
    low = np.where(pitch < LOWEST, LOWEST + (pitch - LOWEST) % 12, pitch)
    over = np.maximum(low - (LOWEST + PITCHES - 1), 0)
    return np.where(pitch == REST, SILENT, low - 12 * -(-over // 12) - LOWEST)


def pitches(symbol: npt.ArrayLike) -> Column:
    """The pitch of each symbol, REST for SILENT."""
    s = np.asarray(symbol, np.int64)
    return np.where(s == SILENT, REST, s + LOWEST)


@dataclass(frozen=True, eq=False)
class Line:
    """A melody, step by step: symbol [N], index into TIMES [N], place where each begins [N, PLACE]."""

    symbol: Column
    time: Column
    place: Vectors

    def __len__(self) -> int:
        return len(self.symbol)


NOTHING = Line(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, PLACE), np.float32))


def of_tune(tune: Tune) -> Line | None:
    """A tune in white keys; None when it is empty or has a duration that TIMES lacks."""
    rows = note_step.of_tune(tune)
    if not len(rows):
        return None
    first = int(tune.onset[0])
    ticks = np.append(first, first + np.cumsum(rows[:, 1]))
    marks = np.rint(ticks / TWELFTH).astype(np.int64)
    length = np.diff(marks)
    stays = length > 0
    length, begins, pitch = length[stays], marks[:-1][stays] * TWELFTH, rows[stays, 0]
    if not np.isin(length, TIMES).all():
        return None
    bar = np.clip(np.searchsorted(tune.bars, begins, side="right") - 1, 0, len(tune.meters) - 1)
    numerator, denominator = np.divmod(tune.meters[bar], 1000)
    whole = np.maximum(numerator * 4 * PPQ // np.maximum(denominator, 1), 1)
    upbeat = np.where(bar == 0, np.maximum(whole - (tune.bars[1] - tune.bars[0]), 0), 0)
    offset = np.minimum(begins - tune.bars[bar] + upbeat, whole)
    place = places(offset, whole, _compound(numerator, denominator))
    return Line(symbols(pitch), np.searchsorted(TIMES, length), place)


def lines(tunes: Sequence[Tune], rng: np.random.Generator | None = None) -> list[Line]:
    """The tunes that `of_tune` can read, in a random order if `rng`; UserError when there are none."""
    found = [line for line in map(of_tune, tunes) if line is not None]
    if not found:
        raise UserError("The corpus has no melodies of usual durations; add tunes.")
    return found if rng is None else [found[int(i)] for i in rng.permutation(len(found))]


def of_score(score: Score, seat: note_step.Seat, start: int) -> tuple[Line, int]:
    """The last notes of a seat's track that begin before tick `start`, HEARD at most, with the silence
    after them, and the tick to go on from: `start`, or the first sixteenth after a note that still sounds
    there. Of notes that begin together the highest is heard; breaths shorter than a sixteenth are not."""
    notes = seat.track.notes.where(seat.track.notes.onset < start)
    if not len(notes):
        return NOTHING, start
    highest = np.flatnonzero(np.append(np.diff(notes.onset) > 0, True))[-HEARD:]
    onset, pitch = notes.onset[highest], notes.pitch[highest].astype(np.int64)
    end = int(onset[-1] + notes.duration[highest][-1])
    until = max(start, start - (start - end) // SIXTEENTH * SIXTEENTH)
    following = np.append(onset[1:], until)
    duration = np.minimum(notes.duration[highest], following - onset)
    breath = following - onset - duration < SIXTEENTH
    duration = np.where(breath, following - onset, duration)
    rows = note_step.steps(np.append(onset, until), np.append(duration, PPQ), np.append(pitch, 0))
    rows = rows[:-1]  # what stood for the notes to come
    begins = int(onset[0]) + np.cumsum(rows[:, 1]) - rows[:, 1]
    pitch = np.where(rows[:, 0] == REST, REST, rows[:, 0] + seat.shift)
    bars = Bars(score)
    place = np.stack([bars.at(int(tick)) for tick in begins])
    return Line(symbols(pitch), nearest(rows[:, 1]), place), until


@dataclass(frozen=True)
class Stay:
    """A note inside a region that is not to be changed: its first tick, the sixteenth from which on there
    is room again, and its symbol."""

    onset: int
    end: int
    symbol: int


def staying(seat: note_step.Seat, region: Region, start: int) -> list[Stay]:
    """What stays of a seat's track from tick `start` on and begins in the region, one after another."""
    notes = seat.track.notes
    kept = notes.where(~region.with_tracks({seat.track.id}).owned(seat.track))
    kept = kept.where((kept.onset >= start) & (kept.onset < region.end))
    found: list[Stay] = []
    following = np.append(kept.onset, region.end)[1:]
    for onset, end, pitch, after in zip(kept.onset, kept.end, kept.pitch, following, strict=True):
        if not found or onset >= found[-1].end:
            room = start - (start - int(end)) // SIXTEENTH * SIXTEENTH
            symbol = symbols(np.array([int(pitch) + seat.shift]))[0]
            until = min(room, max(int(after), int(end)))
            found.append(Stay(int(onset), until, int(symbol)))
    return found


ROOMY = int(TIMES[-1]) * TWELFTH + PPQ
"""With so many ticks left, all durations are `fitting`."""


@lru_cache(maxsize=1024)
def fitting(rest: int) -> npt.NDArray[np.bool_]:
    """[TIMES]: durations after which nothing, or a beat at least, is left of `rest` ticks: so that the
    last note of a passage is no splinter. Not to be written on."""
    left = rest - TIMES * TWELFTH
    fits = (left <= 0) | (left >= PPQ)
    return fits if rest >= PPQ else np.asarray(left <= 0)


def keynote(score: Score, tick: int, symbol: Column, time: Column) -> int:
    """Pitch class, in white keys, of the tonic: by the score's signature where it says minor, else C, or
    A where that sounds longer than C."""
    key = score.key_at(tick)
    if key is not None and key.minor:
        return _KEYNOTES[True]
    sounds = symbol != SILENT
    classes = (symbol[sounds] + LOWEST) % 12
    weight = np.bincount(classes, TIMES[time[sounds]], 12)
    return _KEYNOTES[bool(weight[9] > weight[0])]


@dataclass(frozen=True, eq=False)
class Pages:
    """Melodies one after another, as columns: symbol, time, place as in `Line`, begins: the first of one."""

    symbol: Column
    time: Column
    place: Vectors
    begins: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, lines: Sequence[Line]) -> Pages:
        """All notes of some melodies."""
        begins = np.concatenate([np.arange(len(x)) == 0 for x in lines])
        return cls(
            np.concatenate([x.symbol for x in lines]),
            np.concatenate([x.time for x in lines]),
            np.concatenate([x.place for x in lines]),
            begins,
        )

    def __len__(self) -> int:
        return len(self.symbol)


class Reader:
    """Reads so many places of a long text at once: each goes on where it stopped, round and round."""

    def __init__(self, total: int, rows: int, shift: int = 0) -> None:
        self.total = total
        self.at = (np.arange(rows) * total // rows + shift) % total

    def take(self, steps: int) -> Column:
        """Indices [rows, steps] of what comes next."""
        index = (self.at[:, None] + np.arange(steps)) % self.total
        self.at = (self.at + steps) % self.total
        return index

"""Performance: piano playing as a stream of 388 events (Simon & Oore 2017; Oore et al. 2018, 3.2).

A key goes down, a key comes up, time passes (10 ms to 1 s), the strokes to come are so loud (32 levels).
Time is seconds, not beats: how something is played is part of what is played.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.score import Controls, Notes, Score, Track
from models.timebase import TempoMap

Events = npt.NDArray[np.uint16]
Column = npt.NDArray[Any]

ON, OFF, SHIFT, VELOCITY, EVENTS = 0, 128, 256, 356, 388
"""Where the four kinds of events begin, and how many there are: ON + pitch, OFF + pitch, SHIFT + steps − 1,
VELOCITY + level."""
KINDS = ("note_on", "note_off", "time_shift", "velocity")
BOUNDS = (ON, OFF, SHIFT, VELOCITY, EVENTS)
STEP = 0.01
"""Seconds of the shortest time shift."""
LONGEST = 100
"""Steps of the longest one."""
LEVELS = 32
DAMPER = 64
"""MIDI controller of the sustain pedal; down from half its way on."""
KEYS = 128
LOW, HIGH = 21, 108
"""The keys of a piano."""


@dataclass(frozen=True, eq=False)
class Performance:
    """Strokes in order of onset: `onset` and `end` in seconds, `pitch`, `velocity` 1–127, all [N]."""

    name: str
    onset: Column
    end: Column
    pitch: Column
    velocity: Column

    def __len__(self) -> int:
        return len(self.onset)

    def where(self, mask: Column | slice) -> Performance:
        """The strokes a mask, an index array or a slice picks."""
        columns = {n: getattr(self, n)[mask] for n in ("onset", "end", "pitch", "velocity")}
        return replace(self, **columns)


def level(velocity: npt.ArrayLike) -> Column:
    """The level 0–31 of velocities 1–127, four to a level."""
    return (np.asarray(velocity, np.int64) - 1) // 4


def velocity_of(level: npt.ArrayLike) -> Column:
    """A velocity of the middle of each level; its level is that level."""
    return np.asarray(level, np.int64) * 4 + 2


def kind(events: Column) -> Column:
    """Which of KINDS each event is."""
    return np.searchsorted(BOUNDS, events, side="right") - 1


def sustained(notes: Notes, controls: Controls, tempo: TempoMap) -> Column:
    """When each note ends, in seconds: where its key comes up, or with the pedal down where that comes up
    or the key is struck again."""
    end = tempo.seconds(notes.end)
    pedal = (controls.status == 0xB0) & (controls.data1 == DAMPER)
    if not pedal.any() or not len(notes):
        return end
    tick, down = controls.tick[pedal], controls.data2[pedal] >= 64
    last = np.searchsorted(tick, notes.end, side="right") - 1
    held = (last >= 0) & down[np.maximum(last, 0)]
    lifts = tick[~down]
    lift = np.append(lifts, max(notes.length, int(tick[-1])))
    up = lift[np.searchsorted(lifts, notes.end, side="right")]
    order = np.lexsort((notes.onset, notes.pitch))
    again = np.full(len(notes), np.iinfo(np.int64).max)
    same = np.diff(notes.pitch[order].astype(np.int64)) == 0
    again[order[:-1][same]] = notes.onset[order[1:][same]]
    until = np.maximum(notes.end, np.minimum(up, again))
    return np.where(held, tempo.seconds(until), end)


def heard(tracks: Iterable[Track], tempo: TempoMap, name: str = "") -> Performance:
    """What tracks sound together, drums left out, pedals applied."""
    tracks = [t for t in tracks if t.channel != 9]
    notes = [t.notes for t in tracks]
    end = [sustained(t.notes, t.controls, tempo) for t in tracks]
    empty = np.zeros(0)
    onset = np.concatenate([empty, *(tempo.seconds(n.onset) for n in notes)])
    pitch = np.concatenate([empty, *(n.pitch for n in notes)]).astype(np.int64)
    velocity = np.concatenate([empty, *(n.velocity for n in notes)]).astype(np.int64)
    found = Performance(name, onset, np.concatenate([empty, *end]), pitch, velocity)
    return found.where(np.lexsort((pitch, onset)))


def encode(played: Performance, begin: float | None = None, until: float | None = None) -> Events:
    """The events of a performance from `begin` seconds on, its first onset if None.

    At one moment keys come up before others go down, lowest first. A key struck while it is down comes up
    first; struck twice at once, it is struck once, by the louder. With `until` what sounds then is ended
    there, and time passes until there.
    """
    if begin is None:
        begin = float(played.onset.min()) if len(played) else 0.0
    on = np.round((played.onset - begin) / STEP).astype(np.int64)
    off = np.maximum(np.round((played.end - begin) / STEP).astype(np.int64), on + 1)
    order = np.lexsort((-played.velocity, on, played.pitch))
    on, off, pitch = on[order], off[order], played.pitch[order].astype(np.int64)
    loud = level(played.velocity[order])
    same = (np.diff(pitch) == 0) & (np.diff(on) == 0)
    once = np.append(True, ~same)[: len(on)]
    on, off, pitch, loud = on[once], off[once], pitch[once], loud[once]
    again = np.append(np.where(np.diff(pitch) == 0, on[1:], off[:-1]), off[-1:])
    off = np.minimum(off, again)
    within = on >= 0
    if until is not None:
        last = round((until - begin) / STEP)
        off = np.minimum(off, np.maximum(last, on))
        within &= on < last
    on, off, pitch, loud = on[within], off[within], pitch[within], loud[within]
    time = np.concatenate([off, on])
    symbol = np.concatenate([OFF + pitch, ON + pitch])
    louder = np.concatenate([np.full(len(off), -1), loud])
    order = np.lexsort((pitch[np.r_[0 : len(pitch), 0 : len(pitch)]], symbol < OFF, time))
    time, symbol, louder = time[order], symbol[order], louder[order]
    strokes = np.flatnonzero(louder >= 0)
    changes = np.zeros(len(time), bool)
    changes[strokes] = np.diff(louder[strokes], prepend=-1) != 0
    wait = np.diff(time, prepend=0)
    count = -(-wait // LONGEST) + changes + 1
    out = np.full(int(count.sum()), SHIFT + LONGEST - 1)
    last_of = np.cumsum(count) - 1
    out[last_of] = symbol
    out[last_of[changes] - 1] = VELOCITY + louder[changes]
    rest = wait % LONGEST
    at = (last_of - changes - 1)[rest > 0]
    out[at] = SHIFT + rest[rest > 0] - 1
    if until is not None:
        out = np.append(out, shifts(last - (int(time[-1]) if len(time) else 0)))
    return out.astype(np.uint16)


def shifts(steps: int) -> list[int]:
    """The events with which so many steps pass: whole seconds first."""
    whole, rest = divmod(max(steps, 0), LONGEST)
    return [SHIFT + LONGEST - 1] * whole + ([SHIFT + rest - 1] if rest else [])


def strikes() -> Column:
    """[EVENTS + 1, KEYS] what each event, and START, does to each key: 1 down, −1 up."""
    found = np.zeros((EVENTS + 1, KEYS), np.int8)
    key = np.arange(KEYS)
    found[ON + key, key], found[OFF + key, key] = 1, -1
    return found


def waits() -> Column:
    """[EVENTS] the seconds that pass with each event."""
    found = np.zeros(EVENTS)
    found[SHIFT:VELOCITY] = (np.arange(LONGEST) + 1) * STEP
    return found


def decode(events: Iterable[int], name: str = "") -> Performance:
    """The strokes of events, from 0 s on. A key struck again comes up first, one that never comes up does
    when the events end; one not down stays where it is, and strokes before any level are of the middle one."""
    now, loud = 0, LEVELS // 2
    down: dict[int, tuple[int, int]] = {}
    rows: list[tuple[int, int, int, int]] = []
    for event in events:
        event = int(event)
        if event >= VELOCITY:
            loud = event - VELOCITY
        elif event >= SHIFT:
            now += event - SHIFT + 1
        else:
            pitch = event % OFF
            if pitch in down:
                onset, was = down.pop(pitch)
                rows.append((onset, max(now, onset + 1), pitch, was))
            if event < OFF:
                down[pitch] = now, loud
    rows += [(onset, max(now, onset + 1), p, was) for p, (onset, was) in down.items()]
    table = np.array(sorted(rows, key=lambda r: (r[0], r[2]))).reshape(-1, 4)
    return Performance(
        name, table[:, 0] * STEP, table[:, 1] * STEP, table[:, 2], velocity_of(table[:, 3])
    )


def moved(played: Performance, semitones: int, stretch: float) -> Performance:
    """As another piano in another key at another tempo would play it."""
    return replace(
        played,
        onset=played.onset * stretch,
        end=played.end * stretch,
        pitch=played.pitch + semitones,
    )


@dataclass(frozen=True, eq=False)
class Part:
    """What to play from a score, in order: nominal onset and end in steps [N] (fractions allowed), pitch,
    velocity as written, and whether it may be played otherwise than written."""

    onset: Column
    end: Column
    pitch: Column
    velocity: Column
    free: Column


@dataclass(frozen=True, eq=False)
class Held:
    """Performances to measure on, as events, and how often each event followed each in training."""

    pieces: tuple[Events, ...]
    follows: Column

    def __len__(self) -> int:
        return len(self.pieces)


def follows(pieces: Iterable[Events]) -> Column:
    """[EVENTS, EVENTS] how often the second event came right after the first."""
    count = np.zeros(EVENTS * EVENTS, np.int64)
    for events in pieces:
        pair = events[:-1].astype(np.int64) * EVENTS + events[1:]
        count += np.bincount(pair, minlength=EVENTS * EVENTS)
    return count.reshape(EVENTS, EVENTS)


def baselines(held: Held) -> tuple[list[Column], list[Column]]:
    """Nats of each event of each piece under how often it came in training; and how often after the event
    before it, where unseen continuations are as likely as their first estimate says (Witten & Bell 1991)."""
    each = held.follows.sum(0) + 1.0
    unigram = each / each.sum()
    total = held.follows.sum(1, keepdims=True)
    kinds = np.maximum((held.follows > 0).sum(1, keepdims=True), 1)
    bigram = (held.follows + kinds * unigram) / (total + kinds)
    one = [-np.log(unigram[piece]) for piece in held.pieces]
    two = [
        np.append(-np.log(unigram[piece[:1]]), -np.log(bigram[piece[:-1], piece[1:]]))
        for piece in held.pieces
    ]
    return one, two


def _asset(name: str) -> Path:
    return Path(str(resources.files("assets"))) / name


@cache
def shipped() -> Held:
    """The held-out performances that come with the program, cut; see assets/performances_valid.txt."""
    with np.load(_asset("performances_valid.npz"), allow_pickle=False) as file:
        pieces = np.split(file["events"], np.cumsum(file["lengths"])[:-1])
        count = np.zeros(EVENTS * EVENTS, np.int64)
        count[file["pairs"]] = file["counts"]
    return Held(tuple(pieces), count.reshape(EVENTS, EVENTS))


GIANT = "GiantMIDI-Piano, 56 performances"
CREDIT = (
    "GiantMIDI-Piano (Kong, Li, Chen & Wang, ByteDance 2020), CC BY 4.0, "
    "https://github.com/bytedance/GiantMIDI-Piano; cut, transposed and stretched for training"
)

NOTICE = """performances_valid.npz holds the beginnings of nine performances of GiantMIDI-Piano
(Q. Kong, B. Li, J. Chen, Y. Wang: GiantMIDI-Piano, ByteDance 2020,
https://github.com/bytedance/GiantMIDI-Piano), which performances_split.json names, and statistics of others.
Licence of the performances and of this excerpt: CC BY 4.0, https://creativecommons.org/licenses/by/4.0/.
Changed: pedals applied to the ends of notes, cut to 6,000 events of 10 ms and 32 levels of loudness.
"""


def _split() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_asset("performances_split.json").read_text("utf-8"))
    return found


def known(names: Sequence[str]) -> bool:
    """Whether all files of these names are GiantMIDI-Piano's."""
    split = _split()
    return set(names) <= {*split["train"], *split["valid"], *split["left_out"]}


def sides(names: Sequence[str]) -> list[str]:
    """ "train", "valid" or "" (left out) for files of these names: as assets/performances_split.json says, and
    of those it does not know every tenth to validate."""
    split = _split()
    side = {name: s for s in ("train", "valid") for name in split[s]}
    side |= dict.fromkeys(split["left_out"], "")
    fresh = [name for name in names if name not in side]
    side |= {name: "train" if i % 10 else "valid" for i, name in enumerate(fresh)}
    return [side[name] for name in names]


def read(scores: Sequence[tuple[Path, Score]]) -> tuple[list[Performance], Held]:
    """Performances to learn from and to measure on. A single file is both."""
    side = sides([path.name for path, _ in scores])
    if len(scores) == 1:
        side = ["both"]
    found = [heard(score.tracks, score.tempo, path.stem) for path, score in scores]
    pairs = [(p, s) for p, s in zip(found, side, strict=True) if len(p)]
    train = [p for p, s in pairs if s in ("train", "both")]
    valid = tuple(encode(p) for p, s in pairs if s in ("valid", "both"))
    return train, Held(valid, follows(encode(p) for p in train))


START = EVENTS
"""What comes before the first event; no event itself."""
EXCERPT = 1000
"""Strokes a stream takes from a piece before it takes another."""


class Streams:
    """Batches for truncated backpropagation: each row plays excerpts of pieces, one after another, each in
    another key (up to SEMITONES away) and at another tempo (up to STRETCH), as the paper augments its data.
    """

    SEMITONES = 5
    STRETCH = 0.05
    OPENING = 0.1
    """The share of excerpts that are a piece's beginning."""

    def __init__(self, pieces: Sequence[Performance], rows: int, window: int) -> None:
        self.pieces, self.window = pieces, window
        weight = np.array([len(p) for p in pieces], float)
        self._weight = weight / weight.sum()
        self._rows = [np.zeros(1, np.int64)] * rows

    def __call__(self, rng: np.random.Generator) -> tuple[Column, Column, Column]:
        """inputs [B, T] and targets [B, T], −1 where an excerpt is over; whether each row begins one [B]"""
        T = self.window
        x = np.zeros((len(self._rows), T), np.int64)
        y = np.full((len(self._rows), T), -1)
        fresh = np.zeros(len(self._rows), bool)
        for b in range(len(self._rows)):
            if len(self._rows[b]) < 2:
                fresh[b] = True
                self._rows[b] = np.append(START, self._excerpt(rng)).astype(np.int64)
            row = self._rows[b]
            n = min(T, len(row) - 1)
            x[b, :n], y[b, :n] = row[:n], row[1 : n + 1]
            self._rows[b] = row[n:]
        return x, y, fresh

    def _excerpt(self, rng: np.random.Generator) -> Events:
        piece = self.pieces[int(rng.choice(len(self.pieces), p=self._weight))]
        first = 0 if rng.random() < self.OPENING else int(rng.integers(len(piece)))
        # Rows begin together; excerpts of unequal length keep them from ending together.
        part = piece.where(slice(first, first + int(rng.integers(EXCERPT // 2, EXCERPT))))
        least = max(-self.SEMITONES, LOW - int(part.pitch.min()))
        most = min(self.SEMITONES, HIGH - int(part.pitch.max()))
        semitones = int(rng.integers(least, most + 1)) if least <= most else 0
        return encode(moved(part, semitones, 1 + self.STRETCH * (2 * rng.random() - 1)))

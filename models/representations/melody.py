"""Melody: one voice on a grid of sixteenths, a token a step (Roberts et al. 2018, 4.1; Briot 4.9.1).

A token says what happens at its step: a note of some pitch begins, what sounds is held, or silence.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from models.timebase import SIXTEENTH

if TYPE_CHECKING:  # it brings processes, which a window that shows a map can do without
    from models.tunes import Tune

Tokens = npt.NDArray[np.uint8]
Column = npt.NDArray[np.int64]

STEPS_PER_BEAT = 4
BAR = 16
"""Steps of a bar in 4/4."""
REST, HOLD, FIRST = 0, 1, 2
"""Silence, the note before goes on, and the token of the lowest pitch."""
LOWEST, HIGHEST = 36, 96
"""Pitches that have a token (C2 to C7); music below or above is moved by octaves first."""
TOKENS = FIRST + HIGHEST - LOWEST + 1

VALID_SHARE = 12
"""One group of tunes in so many is for validation."""


def pitch(tokens: npt.ArrayLike) -> Column:
    """MIDI pitch of the tokens that begin a note, −1 elsewhere."""
    t = np.asarray(tokens, np.int64)
    return np.where(t >= FIRST, t - FIRST + LOWEST, -1)


def transposed(tokens: Tokens, semitones: npt.ArrayLike) -> Tokens:
    """Tokens of [..., T] moved by `semitones` [...]; the caller keeps them within LOWEST–HIGHEST."""
    shift = np.asarray(semitones, np.int64)[..., None]
    moved = np.where(tokens >= FIRST, tokens.astype(np.int64) + shift, tokens)
    return moved.astype(np.uint8)


def repaired(tokens: Tokens) -> Tokens:
    """[..., T] with every hold that holds nothing (at the start, after silence) turned into silence."""
    out = tokens.copy()
    silent = np.ones(out.shape[:-1], bool)
    for t in range(out.shape[-1]):
        column = out[..., t]
        column[silent & (column == HOLD)] = REST
        silent = (column == REST) | (silent & (column == HOLD))
    return out


def is_valid(tokens: Tokens) -> npt.NDArray[np.bool_]:
    """[...]: whether a phrase [..., T] has no hold that holds nothing, and at least one note."""
    ok: npt.NDArray[np.bool_] = (repaired(tokens) == tokens).all(-1) & (tokens >= FIRST).any(-1)
    return ok


def from_notes(
    onset: Column, duration: Column, pitches: Column, start: int, steps: int
) -> tuple[Tokens, int]:
    """Tokens [steps] of a line of notes (ticks, one at a time) from tick `start` on, and how many of its
    notes were lost, for they began on the same step as the next.

    Onsets and ends go to the nearest sixteenth, a note lasts one at least, and one that begins before
    `start` begins there. Pitches outside LOWEST–HIGHEST move by octaves.
    """
    out = np.full(steps, REST, np.uint8)
    first = np.maximum(np.rint((onset - start) / SIXTEENTH).astype(np.int64), 0)
    last = np.rint((onset + duration - start) / SIXTEENTH).astype(np.int64)
    last = np.minimum(np.maximum(last, first + 1), steps)
    heard = (first < steps) & (onset + duration > start)
    lost = 0
    free = 0
    for a, b, p in zip(first[heard], last[heard], pitches[heard], strict=True):
        if a < free and out[a] >= FIRST:
            lost += 1
        p = int(p)
        while p < LOWEST:
            p += 12
        while p > HIGHEST:
            p -= 12
        out[a] = FIRST + p - LOWEST
        out[a + 1 : b] = HOLD
        out[b:free] = REST
        free = max(int(b), int(a) + 1)
    return out, lost


def to_notes(tokens: Tokens, start: int) -> tuple[Column, Column, Column]:
    """Onset and duration in ticks and pitch of the notes of [T] tokens whose first step is at `start`."""
    tokens = repaired(np.asarray(tokens, np.uint8))
    at = np.flatnonzero(tokens >= FIRST)
    ends = np.flatnonzero(np.append(tokens != HOLD, True))
    until = ends[np.searchsorted(ends, at, side="right")] if len(at) else at
    onset = start + at * SIXTEENTH
    return onset, (until - at) * SIXTEENTH, pitch(tokens[at])


def shape(tokens: Tokens) -> bytes:
    """What a phrase is whatever its key: its tokens with each pitch as the step from the one before."""
    t = tokens.astype(np.int64)
    at = t >= FIRST
    steps = np.diff(t[at], prepend=t[at][:1])
    out = t.copy()
    out[at] = 128 + steps
    return out.astype(np.uint8).tobytes()


@dataclass(frozen=True, eq=False)
class Phrases:
    """Windows of tunes, each of them once whatever its key.

    tokens [N, steps] uint8; tune [N]: which tune; sharps and minor [N] as in `Tune`; names: of the tunes.
    """

    tokens: Tokens
    tune: Column
    sharps: Column
    minor: Column
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.tokens)

    def where(self, mask: Any) -> Phrases:
        """The phrases a mask or an index array picks."""
        return Phrases(
            self.tokens[mask], self.tune[mask], self.sharps[mask], self.minor[mask], self.names
        )

    @property
    def room(self) -> tuple[Column, Column]:
        """The lowest and the highest transposition [N] that keep each phrase in range."""
        sounding = self.tokens >= FIRST
        low = np.where(sounding, self.tokens, 255).min(-1).astype(np.int64)
        high = np.where(sounding, self.tokens, FIRST).max(-1).astype(np.int64)
        return FIRST - low, TOKENS - 1 - high


@dataclass(frozen=True, eq=False)
class Material:
    """Phrases to train and to validate on, and how they came about: `report` counts tunes, and what was
    dropped and why."""

    train: Phrases
    valid: Phrases
    report: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class _Stretch:
    """Consecutive bars of one tune on the grid; `doubled`: written in 2/4, read in twice the values."""

    tune: int
    tokens: Tokens
    doubled: bool


def _stretches(index: int, tune: Tune, report: Counter[str]) -> Iterator[_Stretch]:
    """Runs of bars of sixteen steps with every note on the grid.

    4/4 and 2/2 as written; 2/4 in doubled values, as the same tune is as often written. Signs of repeat
    leave short bars behind: half a bar or more is the end of a part, whose last note is held to the
    barline; less is an upbeat to the next part and left out.
    """
    length = np.diff(tune.bars)
    report["bars"] += len(length)
    scale = np.select([np.isin(tune.meters, (4004, 2002)), tune.meters == 2004], [1, 2], 0)
    step = SIXTEENTH // np.maximum(scale, 1)
    full = BAR * step
    good = (scale > 0) & (length <= full)
    report["bars_dropped_metre"] += int((~good).sum())
    bar_of = np.clip(np.searchsorted(tune.bars, tune.onset, side="right") - 1, 0, len(length) - 1)
    off = ((tune.onset - tune.bars[bar_of]) % step[bar_of] != 0) | (
        tune.duration % step[bar_of] != 0
    )
    odd = np.zeros(len(length), bool)
    odd[bar_of[off]] = True
    report["bars_dropped_tuplets"] += int((odd & good).sum())
    good &= ~odd
    report["tunes_without_a_bar"] += int(not good.any())
    run: list[Tokens] = []
    for b in range(len(length) + 1):
        if b == len(length) or not good[b] or (run and scale[b] != scale[b - 1]):
            if run:
                yield _Stretch(index, np.concatenate(run), bool(scale[b - 1] == 2))
            run = []
        if b == len(length) or not good[b] or 2 * length[b] < full[b]:
            continue
        s = int(scale[b])
        bar, _ = from_notes(
            tune.onset * s, tune.duration * s, tune.pitch, int(tune.bars[b]) * s, BAR
        )
        started = tune.onset[
            (tune.onset <= tune.bars[b]) & (tune.onset + tune.duration > tune.bars[b])
        ]
        if run and len(started) and started[-1] < tune.bars[b]:
            bar[0] = HOLD  # a note of the bar before goes on
        written = int(length[b] // step[b])
        bar[written:] = HOLD if (bar[:written] != REST)[-1] else REST
        if b == 0 and written < BAR:
            continue
        run.append(bar)


def _groups(count: int, found: Iterable[_Stretch]) -> Column:
    """A number [count] for each tune, the same for tunes that share four bars up to transposition."""
    parent = np.arange(count)

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = int(parent[i])
        return i

    first: dict[bytes, int] = {}
    for stretch in found:
        for start in range(0, len(stretch.tokens) - 4 * BAR + 1, BAR):
            window = stretch.tokens[start : start + 4 * BAR]
            if (window >= FIRST).sum() < 8:
                continue
            here, there = root(stretch.tune), root(first.setdefault(shape(window), stretch.tune))
            parent[max(here, there)] = min(here, there)
    return np.array([root(i) for i in range(count)], np.int64)


def for_validation(tunes: Sequence[Tune]) -> list[str]:
    """Names of the tunes to validate on: whole groups that share no four bars with the others, in any
    transposition, chosen by a digest of the name of the group's first tune."""
    found = [s for i, tune in enumerate(tunes) for s in _stretches(i, tune, Counter())]
    groups = _groups(len(tunes), found)

    def chosen(name: str) -> bool:
        return hashlib.sha256(name.encode()).digest()[0] % VALID_SHARE == 0

    return [t.name for t, g in zip(tunes, groups, strict=True) if chosen(tunes[g].name)]


def _split() -> dict[str, list[str]]:
    """The split that comes with the program: collections, names of tunes to validate on, and digests of
    phrases among them that collections not everybody has bring to training."""
    text = (resources.files("assets") / "tunes_split.json").read_text("utf-8")
    split: dict[str, list[str]] = json.loads(text)
    return split


def digest(tokens: Tokens) -> str:
    """A short name of a phrase [T], whatever its key."""
    return hashlib.sha256(shape(tokens)).hexdigest()[:16]


def sides(tunes: Sequence[Tune]) -> npt.NDArray[np.bool_]:
    """[tunes]: which ones are for validation: those of the split that comes with the program, and of
    tunes it does not know the groups that `for_validation` chooses among them."""
    split = _split()
    known = set(split["collections"])
    fixed = set(split["valid"])
    own = [t for t in tunes if t.collection not in known]
    if own:
        fixed.update(for_validation(own) or [own[-1].name])
    return np.array([t.name in fixed for t in tunes], bool)


def material(tunes: Sequence[Tune], bars: int) -> Material:
    """Windows of `bars` bars of the tunes, at every bar, split so that no validation phrase is in training.

    Tunes that share four bars in any transposition go to one side (`for_validation`). A window that
    occurs again in any transposition counts once; what is left in validation and occurs in training too
    (short commonplaces) is taken out of validation.
    Dropped as well: bars of other metres or with notes off the grid, runs too short for a window, and
    windows that are mostly silence (a bar of it, or fewer than two notes a bar in the mean).
    """
    report: Counter[str] = Counter(tunes=len(tunes))
    found = [s for i, tune in enumerate(tunes) for s in _stretches(i, tune, report)]
    side = sides(tunes)
    report["tunes_valid"] = int(side.sum())
    steps = bars * BAR
    seen: tuple[dict[bytes, None], dict[bytes, None]] = ({}, {})
    kept: tuple[list[tuple[int, Tokens]], list[tuple[int, Tokens]]] = ([], [])
    for stretch in found:
        v = int(side[stretch.tune])
        starts = range(0, len(stretch.tokens) - steps + 1, BAR)
        report["runs_too_short"] += not starts
        if v and stretch.doubled:  # figures are of music in common time as written
            report["windows_doubled_not_validated"] += len(starts)
            continue
        for start in starts:
            window = stretch.tokens[start : start + steps].copy()
            if window[0] == HOLD:  # the window cuts a note: what is left of it is a note
                before = stretch.tokens[:start]
                window[0] = before[before != HOLD][-1] if (before != HOLD).any() else REST
            report["windows"] += 1
            by_bar = window.reshape(bars, BAR)
            if (window >= FIRST).sum() < 2 * bars or (by_bar == REST).all(-1).any():
                report["windows_dropped_silent"] += 1
                continue
            key = shape(window)
            if key in seen[v]:
                report["windows_dropped_duplicate"] += 1
                continue
            seen[v][key] = None
            kept[v].append((stretch.tune, window))
    common = seen[0].keys() & seen[1].keys()
    report["windows_valid_also_in_train"] = len(common)
    elsewhere = set(_split()["elsewhere"])
    valid = [(i, w) for i, w in kept[1] if shape(w) not in common and digest(w) not in elsewhere]
    report["phrases_train"], report["phrases_valid"] = len(kept[0]), len(valid)
    return Material(
        _phrases(tunes, kept[0], steps),
        _phrases(tunes, valid, steps),
        dict(report),
    )


def _phrases(tunes: Sequence[Tune], windows: Sequence[tuple[int, Tokens]], steps: int) -> Phrases:
    tune = np.array([i for i, _ in windows], np.int64)
    tokens = np.stack([w for _, w in windows]) if windows else np.zeros((0, steps), np.uint8)
    return Phrases(
        tokens,
        tune,
        np.array([tunes[i].sharps for i in tune], np.int64),
        np.array([tunes[i].minor for i in tune], np.int64),
        tuple(t.name for t in tunes),
    )

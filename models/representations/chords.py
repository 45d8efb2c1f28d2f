"""Chords: what a melody sounds in each bar as twelve pitch classes, and one of a few chords for it.

Lim, Rhyu & Lee 2017: a vector of the time each pitch class sounds in a bar (Briot 4.9, a chord by its
name). Music is seen from its key signature, moved to none; halves of bars are bars half as long.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import numpy.typing as npt

from models import leadsheets
from models.leadsheets import NAMES, NO_CHORD, QUALITIES, Leadsheet
from models.representations.note_step import to_white_keys

Column = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]
Array = npt.NDArray[Any]

TRIADS = ("major", "minor")
SEVENTHS = (*TRIADS, "dominant", "major_seventh", "minor_seventh", "half_diminished",
            "diminished_seventh", "augmented")  # fmt: skip
KINDS: Mapping[str, tuple[str, ...]] = {"triads": TRIADS, "sevenths": SEVENTHS}
"""The vocabularies: a label is a root 0–11 plus twelve times the place of its kind."""
_AS_SEVENTH = {
    "diminished": "diminished_seventh",
    "suspended": "major",
    "minor_major_seventh": "minor",
    "augmented_seventh": "augmented",
    "suspended_seventh": "dominant",
    "sixth": "major",
    "minor_sixth": "minor",
}
NEAREST = np.array([SEVENTHS.index(_AS_SEVENTH.get(name, name)) for name in NAMES])
"""The kind of SEVENTHS that stands for each quality of a lead sheet."""
MINOR_THIRD = np.array([3 in QUALITIES[name] for name in SEVENTHS])


@dataclass(frozen=True, eq=False)
class Song:
    """The bars of a lead sheet, moved to a signature without sharps or flats, from the first that has a
    chord on.

    ticks [bars, 2, 12]: how long each pitch class sounds in each half of a bar; length [bars, 2]: of the
    halves, in ticks; label [bars, 2]: the chord in force where each half begins, of SEVENTHS, NO_CHORD
    where there is none.
    """

    name: str
    ticks: Column
    length: Column
    label: Column

    def __len__(self) -> int:
        return len(self.length)

    def units(self, per_bar: int) -> tuple[Vectors, Column]:
        """What is heard in every bar, or every half bar, and its label of SEVENTHS."""
        label = self.label[:, 0] if per_bar == 1 else self.label.reshape(-1)
        return vectors(self.ticks, self.length, per_bar), label


def width(per_bar: int) -> int:
    """Columns of the vectors of bars, or of half bars."""
    return 12 if per_bar == 1 else 13


def vectors(ticks: Column, length: Column, per_bar: int) -> Vectors:
    """[units, width]: the share of a bar that each pitch class sounds; of half bars, and a last column
    that tells the second half from the first."""
    if per_bar == 1:
        return np.asarray(ticks.sum(1) / length.sum(1)[:, None], np.float32)
    share = ticks / np.maximum(length, 1)[..., None]
    second = np.zeros((len(ticks), 2, 1))
    second[:, 1] = 1
    return np.concatenate([share, second], -1).reshape(-1, 13).astype(np.float32)


def triad(label: Column) -> Column:
    """Labels of SEVENTHS as labels of TRIADS: those with a minor third are minor, all others major."""
    kind = MINOR_THIRD[np.maximum(label, 0) // 12].astype(np.int64)
    return np.where(label == NO_CHORD, NO_CHORD, label % 12 + 12 * kind)


def tones(label: int) -> frozenset[int]:
    """The pitch classes of a chord; labels of TRIADS are labels of SEVENTHS as well."""
    return frozenset((label + step) % 12 for step in QUALITIES[SEVENTHS[label // 12]])


def edges(bars: Sequence[tuple[int, int, int]]) -> Column:
    """[bars, 3]: start, middle and end of each bar (start, end, metre)."""
    rows = [(s, s + leadsheets.middle(meter, e - s), e) for s, e, meter in bars]
    return np.array(rows, np.int64).reshape(-1, 3)


def sounded(onset: Column, end: Column, pitch: Column, edges: Column, shift: Column) -> Column:
    """[bars, 2, 12]: for how many ticks of each half of a bar each pitch class sounds, moved up by `shift`
    [bars] semitones. Halves are those of `edges` [bars, 3]."""
    out = np.zeros((len(edges), 2, 12), np.int64)
    for pitch_class in range(12):
        those = pitch % 12 == pitch_class
        # Time sounded up to t: t less the onset for all that have begun, less the same for their ends.
        until = np.zeros(edges.shape, np.int64)
        for sign, times in ((1, np.sort(onset[those])), (-1, np.sort(end[those]))):
            begun = np.searchsorted(times, edges, side="right")
            until += sign * (begun * edges - np.append(0, np.cumsum(times))[begun])
        rows = np.arange(len(edges))
        out[rows, :, (pitch_class + shift) % 12] += np.diff(until, axis=1)
    return out


def song(sheet: Leadsheet) -> Song | None:
    """The bars of a lead sheet; None when none has a chord."""
    tune = sheet.tune
    bars = list(
        zip(tune.bars[:-1].tolist(), tune.bars[1:].tolist(), tune.meters.tolist(), strict=True)
    )
    places = edges(bars)
    chord = sheet.at(places[:, :2])
    shift = to_white_keys(tune.sharps)
    root, kind = sheet.root[chord], NEAREST[sheet.quality[chord]]
    none = (chord < 0) | (root == NO_CHORD)
    label = np.where(none, NO_CHORD, (root + shift) % 12 + 12 * kind)
    # A chord that enters late in the first bars stands for them whole: before it nothing sounded.
    late = none[:, 0] & ~none[:, 1]
    label[late, 0] = label[late, 1]
    known = np.flatnonzero(label[:, 0] != NO_CHORD)
    if not len(known):
        return None
    kept = slice(int(known[0]), int(known[-1]) + 1)
    every = np.full(len(places), shift)
    ticks = sounded(tune.onset, tune.onset + tune.duration, tune.pitch, places, every)
    return Song(sheet.name, ticks[kept], np.diff(places, axis=1)[kept], label[kept])


def key_of(name: str) -> str:
    """What a song is called in assets/leadsheets_split.json: its file's name without folder and suffix."""
    return PurePath(name).stem


@cache
def split() -> Mapping[str, frozenset[str]]:
    """The songs kept from training: "valid" and "test"."""
    text = (resources.files("assets") / "leadsheets_split.json").read_text("utf-8")
    return {side: frozenset(names) for side, names in json.loads(text).items()}


def write(path: Path, songs: Sequence[Song]) -> None:
    """Writes songs to an .npz file, which appears whole or not at all."""
    partial = path.with_name(f"{path.stem}.{os.getpid()}.npz")
    np.savez_compressed(
        partial,
        names=np.array([s.name for s in songs], np.str_),
        bars=np.array([len(s) for s in songs], np.int32),
        ticks=np.concatenate([s.ticks for s in songs]).astype(np.int16),
        length=np.concatenate([s.length for s in songs]).astype(np.int16),
        label=np.concatenate([s.label for s in songs]).astype(np.int8),
    )
    os.replace(partial, path)


def read(path: Path) -> list[Song]:
    """The songs of a file that `write` wrote."""
    with np.load(path, allow_pickle=False) as table:
        ends = np.cumsum(table["bars"])[:-1]
        names = table["names"].tolist()
        columns = [np.split(table[c].astype(np.int64), ends) for c in ("ticks", "length", "label")]
    return [Song(*row) for row in zip(names, *columns, strict=True)]

"""Corpora: the chorales of music21's bundled corpus, and a user's own scores, as `Chorale`s.

`load` gives the training or the validation half of `assets/chorales_split.json` and nothing else;
the held-out pieces and their near duplicates have a function of their own, which nothing in training
or tuning calls.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib import resources
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import numpy as np
import platformdirs

from models.representations.chorale import (
    COLUMNS,
    MAJOR,
    METERS,
    MINOR,
    REST_PITCH,
    STEPS_PER_BEAT,
    UNKNOWN_MODE,
    Chorale,
)
from models.score import UserError

Split = Literal["train", "valid"]
CACHE_VERSION = 2


def split_names(split: Split) -> list[str]:
    """music21 paths of one half; ValueError for anything but "train" and "valid"."""
    if split not in ("train", "valid"):
        raise ValueError("training and tuning see the train and valid halves only")
    return _split_file()[split]


def _split_file() -> dict[str, list[str]]:
    text = (resources.files("assets") / "chorales_split.json").read_text("utf-8")
    table: dict[str, list[str]] = json.loads(text)
    return table


def load(split: Split, cache: Path | None = None) -> list[Chorale]:
    """The chorales of one half, parsed in parallel the first time, from `cache` afterwards."""
    for _ in prepare(split, cache):
        pass
    return _read(_cache_file(split, cache), split_names(split))


def prepare(split: Split, cache: Path | None = None) -> Iterator[float]:
    """Fills the cache for one half if need be; yields the fraction done."""
    yield from _prepare(split_names(split), _cache_file(split, cache))


def held_out(cache: Path | None = None) -> list[Chorale]:
    """The test chorales, for a final measurement only: never to train on, tune on or listen to."""
    names = _split_file()["test"]
    file = _cache_file("test", cache)
    for _ in _prepare(names, file):
        pass
    return _read(file, names)


def _cache_file(split: str, cache: Path | None) -> Path:
    folder = cache if cache is not None else Path(platformdirs.user_cache_dir("ricercar"))
    return folder / f"chorales-{split}-v{CACHE_VERSION}.npz"


def _prepare(names: list[str], file: Path) -> Iterator[float]:
    if file.is_file():
        try:
            _read(file, names)
            yield 1.0
            return
        except (OSError, EOFError, ValueError, KeyError, BadZipFile):
            pass  # a cache cut short or from another split is made again
    chorales: list[Chorale] = []
    with ProcessPoolExecutor(max(1, os.cpu_count() or 1)) as pool:
        for chorale in pool.map(parse, names, chunksize=4):
            chorales.append(chorale)
            yield len(chorales) / len(names)
    _write(file, chorales)


def _write(file: Path, chorales: Sequence[Chorale]) -> None:
    columns = {n: np.concatenate([getattr(c, n) for c in chorales]) for n in COLUMNS}
    lengths = np.array([len(c) for c in chorales], np.int64)
    names = np.array([c.name for c in chorales])
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f"{file.stem}.{os.getpid()}.npz")
    table: dict[str, Any] = {"names": names, "lengths": lengths, **columns}
    np.savez_compressed(partial, **table)
    os.replace(partial, file)


def _read(file: Path, names: Sequence[str]) -> list[Chorale]:
    with file.open("rb") as opened, np.load(opened) as table:
        stored = {n: table[n] for n in (*COLUMNS, "names", "lengths")}
    if list(stored["names"]) != list(names):
        raise ValueError("the cache holds other pieces")
    ends = np.cumsum(stored["lengths"])
    return [
        Chorale(name, **{n: stored[n][end - length : end] for n in COLUMNS})
        for name, length, end in zip(names, stored["lengths"], ends, strict=True)
    ]


def parse(name: str) -> Chorale:
    """One chorale of music21's corpus, as written (repeats not expanded).

    Ties become holds. Notes shorter than a sixteenth share their step: the first one stays. Grace
    notes are left out. UserError when it has not four parts or a metre that METERS lacks.
    """
    from music21 import converter, corpus

    stream = converter.parse(corpus.getWork(name))
    return from_music21(stream, name)


def from_music21(stream: Any, name: str) -> Chorale:
    """A chorale from a music21 score of four parts, soprano first; see `parse`."""
    parts = list(stream.parts)
    if len(parts) != 4:
        raise UserError(f"{name} has {len(parts)} parts; a chorale has four.")
    steps = round(float(max(p.duration.quarterLength for p in parts)) * STEPS_PER_BEAT)
    pitch = np.full((steps, 4), REST_PITCH, np.int64)
    attack = np.zeros((steps, 4), bool)
    fermata = np.zeros((steps, 4), bool)
    for voice, part in enumerate(parts):
        taken = -1
        sounding = REST_PITCH
        for note in part.recurse().notesAndRests:
            if note.duration.isGrace:
                continue
            start = float(note.getOffsetInHierarchy(part)) * STEPS_PER_BEAT
            end = start + float(note.duration.quarterLength) * STEPS_PER_BEAT
            first, last = int(np.floor(start + 1e-6)), int(np.ceil(end - 1e-6))
            new = REST_PITCH if note.isRest else max(p.midi for p in note.pitches)
            tied = note.tie is not None and note.tie.type in ("stop", "continue")
            if any("Fermata" in e.classes for e in note.expressions):
                fermata[first:last, voice] = True
            if first == taken:  # the second of two notes in one step
                first += 1
                if first >= last:
                    continue
                new, tied = sounding if last - first < 1 else new, False
            attack[first, voice] = not (tied and new == sounding)
            if new == REST_PITCH and sounding == REST_PITCH and first > 0:
                attack[first, voice] = False
            pitch[first:last, voice] = new
            taken, sounding = int(np.floor(start + 1e-6)), new
        attack[0, voice] = True
    position, meter = _bars(parts[0], steps, name)
    sharps, mode = _keys(parts[0], steps)
    held = np.asarray(fermata[:, 0] if fermata[:, 0].any() else fermata.any(axis=1))
    return Chorale(name, pitch, attack, held.astype(np.int64), position, meter, sharps, mode)


def _bars(part: Any, steps: int, name: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    position = np.zeros(steps, np.int64)
    meter = np.zeros(steps, np.int64)
    measures = list(part.getElementsByClass("Measure"))
    signature = (4, 4)
    before = 0  # sixteenths of the present bar already written: bars are split at repeat signs
    for i, measure in enumerate(measures):
        if measure.timeSignature is not None:
            signature = (measure.timeSignature.numerator, measure.timeSignature.denominator)
            if signature not in METERS:
                raise UserError(f"{name} is in {signature[0]}/{signature[1]}, which is not known.")
            before = 0
        start = round(float(measure.getOffsetInHierarchy(part)) * STEPS_PER_BEAT)
        length = round(float(measure.duration.quarterLength) * STEPS_PER_BEAT)
        bar = signature[0] * 4 * STEPS_PER_BEAT // signature[1]
        if i == 0 and length < bar:
            before = bar - length
        elif before + length > bar:
            before = 0
        span = np.arange(start, min(start + length, steps))
        position[span] = (before + span - start) % bar
        meter[span] = METERS[signature]
        before = (before + length) % bar
    return position, meter


def _keys(part: Any, steps: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    sharps = np.zeros(steps, np.int64)
    mode = np.full(steps, UNKNOWN_MODE, np.int64)
    for signature in part.recurse().getElementsByClass("KeySignature"):
        start = round(float(signature.getOffsetInHierarchy(part)) * STEPS_PER_BEAT)
        sharps[start:] = signature.sharps
        spoken = getattr(signature, "mode", None)
        mode[start:] = {"major": MAJOR, "minor": MINOR}.get(spoken or "", UNKNOWN_MODE)
    return sharps, mode

"""Tunes: the melodies of music21's bundled collections, and those of a folder, parsed once and cached.

Essen, O'Neill's 1850, Ryan's Mammoth and Aird's come with music21; the sopranos of Bach's chorales that
are not held out join them. A folder adds its own (OpenEWLD's lead sheets, a user's files). What
a representation makes of a tune, and what it drops, is its own affair: here is what the page says.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
import platformdirs

from models import corpora
from models.score import Score, UserError
from models.timebase import PPQ

Column = npt.NDArray[np.int64]

CACHE_VERSION = 1
COLLECTIONS: Mapping[str, str] = {
    "essen": "essenFolksong/*.abc",
    "oneills": "oneills1850/*.abc",
    "ryans": "ryansMammoth/*.abc",
    "airds": "airdsAirs/*.abc",
}
"""music21's collections of tunes: name → their files in its corpus."""
SOPRANOS = "sopranos"
BUNDLED = (*COLLECTIONS, SOPRANOS)
SUFFIXES = (".mid", ".midi", ".mxl", ".musicxml", ".xml", ".abc")
"""What a folder is searched for."""
_CHUNK = 24

_COLUMNS = ("onset", "duration", "pitch", "bars", "meters")


@dataclass(frozen=True, eq=False)
class Tune:
    """One melody as written, repeats not expanded.

    onset, duration: ticks; pitch: as in MIDI; [notes], one at a time, ordered by onset.
    bars: ticks of every barline, the end of the last bar included [bars + 1]; halves of a bar that a sign
    of repeat divides are one bar, a pickup is a short first bar.
    meters: numerator × 1000 + denominator of each bar's metre [bars].
    sharps −7…7 (0 for want of a signature), minor 0 or 1, −1 unknown, of the first signature.
    """

    name: str
    onset: Column
    duration: Column
    pitch: Column
    bars: Column
    meters: Column
    sharps: int = 0
    minor: int = -1

    @property
    def collection(self) -> str:
        """The part of the name before the first slash."""
        return self.name.partition("/")[0]


def load(cache: Path | None = None, folder: Path | None = None) -> list[Tune]:
    """Every tune of the bundled collections and, if given, of `folder`; see `prepare`."""
    for _ in prepare(cache, folder):
        pass
    found: list[Tune] = []
    for name in _sources(folder):
        found.extend(_read(_cache_file(name, cache, folder)))
    return found


def prepare(cache: Path | None = None, folder: Path | None = None) -> Iterator[tuple[float, str]]:
    """Parses what `cache` lacks, on all cores; yields (fraction done, what is read now).

    The bundled collections take a few minutes the first time. UserError when `folder` has no music.
    """
    missing = []
    for name in _sources(folder):
        try:
            _read(_cache_file(name, cache, folder))
        except (OSError, EOFError, ValueError, KeyError, BadZipFile):
            missing.append(name)
    if not missing:
        yield 1.0, "Tunes are read"
        return
    work = [(name, _tasks(name, folder)) for name in missing]
    total = sum(len(tasks) for _, tasks in work)
    done = 0
    with ProcessPoolExecutor(max(1, os.cpu_count() or 1)) as pool:
        for name, tasks in work:
            tunes: list[Tune] = []
            # A handful is read sooner than other processes are started.
            each = (
                pool.map(_parse, tasks, chunksize=_CHUNK) if total > _CHUNK else map(_parse, tasks)
            )
            for found in each:
                done += 1
                tunes.extend(found)
                yield done / total, f"Reading {name}: {len(tunes)} tunes"
            _write(_cache_file(name, cache, folder), tunes)


def _sources(folder: Path | None) -> tuple[str, ...]:
    return (*BUNDLED, *(["folder"] if folder else []))


def _cache_file(name: str, cache: Path | None, folder: Path | None) -> Path:
    place = cache if cache is not None else Path(platformdirs.user_cache_dir("ricercar"))
    if name == "folder" and folder is not None:
        # Names and sizes tell one state of a folder from another without reading it.
        state = "\n".join(f"{p.name} {p.stat().st_size}" for p in _music_in(folder))
        name = "folder-" + hashlib.sha256(f"{folder.name}\n{state}".encode()).hexdigest()[:12]
    return place / f"tunes-{name}-v{CACHE_VERSION}.npz"


def _music_in(folder: Path) -> list[Path]:
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not found:
        raise UserError(f"{folder} has no files that can be read; put MIDI, MusicXML or ABC there.")
    return found


def _tasks(name: str, folder: Path | None) -> list[tuple[str, str, str]]:
    """(tune's name, ABC text or "", path or "") for every tune of a source."""
    if name == SOPRANOS:
        paths = corpora.split_names("train") + corpora.split_names("valid")
        return [(f"{SOPRANOS}/{path}", "", path) for path in paths]
    if name == "folder" and folder is not None:
        tasks = []
        for path in _music_in(folder):
            key = f"{folder.name}/{path.name}"
            tasks += _abc(path, key) if path.suffix.lower() == ".abc" else [(key, "", str(path))]
        return tasks
    from music21 import common

    root = common.getCorpusFilePath()
    files = sorted(Path(root).glob(COLLECTIONS[name]))
    return [task for file in files for task in _abc(file, f"{name}/{file.stem}")]


def _abc(file: Path, key: str) -> list[tuple[str, str, str]]:
    """A file of ABC tunes, cut at their X: lines."""
    text = file.read_text("utf-8", errors="replace")
    parts = re.split(r"(?m)^(?=X:)", text)[1:]
    return [(f"{key}/{i}", part, "") for i, part in enumerate(parts)]


def _parse(task: tuple[str, str, str]) -> list[Tune]:
    """The tune of one task, or none when music21 can't make sense of it or it has no bars."""
    from music21 import converter, corpus
    from music21.exceptions21 import Music21Exception

    name, text, path = task
    try:
        if text:
            stream = converter.parseData(text, format="abc")
        elif name.startswith(SOPRANOS + "/"):
            stream = converter.parse(corpus.getWork(path))
        else:
            stream = converter.parse(path, forceSource=True)
    except (Music21Exception, ValueError, KeyError, IndexError, AttributeError, TypeError):
        # A few of thousands of transcriptions are beyond music21's ABC reader, each in its own way.
        return []
    tune = from_music21(stream, name)
    return [tune] if tune is not None else []


def from_music21(stream: Any, name: str) -> Tune | None:
    """The first part of a music21 score: of its chords the highest note, of voices the first; grace
    notes and chord symbols left out. None when it has no notes or no bars."""
    part = next(iter(stream.parts), None) if hasattr(stream, "parts") else None
    if part is None:
        return None
    notes: list[tuple[int, int, int]] = []
    measures: list[tuple[int, int, int, int]] = []  # tick, length, numerator, denominator
    signature = (4, 4)
    sharps, minor = 0, -1
    keyed = False
    for measure in part.getElementsByClass("Measure"):
        if measure.timeSignature is not None:
            signature = (measure.timeSignature.numerator, measure.timeSignature.denominator)
        if not keyed and measure.keySignature is not None:
            keyed, sharps = True, int(measure.keySignature.sharps or 0)
            minor = {"major": 0, "minor": 1}.get(getattr(measure.keySignature, "mode", ""), -1)
        start = float(measure.offset)
        length = float(measure.duration.quarterLength)
        if length <= 0:
            continue
        measures.append((round(start * PPQ), round(length * PPQ), *signature))
        line = next(iter(measure.voices), measure)
        for note in line.notes:
            ticks = round(float(note.duration.quarterLength) * PPQ)
            if ticks <= 0 or "ChordSymbol" in note.classes or not note.pitches:
                continue
            onset = round((start + float(note.offset)) * PPQ)
            pitch = max(int(p.midi) for p in note.pitches)
            tied = note.tie is not None and note.tie.type in ("stop", "continue")
            if tied and notes and notes[-1][2] == pitch and sum(notes[-1][:2]) == onset:
                notes[-1] = (notes[-1][0], notes[-1][1] + ticks, pitch)
            else:
                notes.append((onset, ticks, pitch))
    if not notes or not measures:
        return None
    bars, meters = _whole_bars(measures)
    columns = np.array(sorted(notes), np.int64)
    keep = np.diff(columns[:, 0], append=columns[-1, 0] + 1) > 0  # one note at a time
    onset, duration, pitches = columns[keep].T
    duration = np.minimum(duration, np.append(np.diff(onset), duration[-1]))
    return Tune(
        name,
        np.ascontiguousarray(onset),
        duration,
        np.ascontiguousarray(pitches),
        np.array(bars, np.int64),
        np.array(meters, np.int64),
        sharps,
        minor,
    )


def _whole_bars(measures: Sequence[tuple[int, int, int, int]]) -> tuple[list[int], list[int]]:
    """Barlines and metres, with the halves of divided bars put together."""
    bars, meters = [measures[0][0]], []
    held = 0  # ticks of the present bar that measures before this one have filled
    for i, (tick, length, numerator, denominator) in enumerate(measures):
        full = numerator * 4 * PPQ // denominator
        meter = numerator * 1000 + denominator
        if held and held + length <= full:
            held += length
        else:
            if held:
                bars.append(tick)
            meters.append(meter)
            held = length
        if held >= full or (i == 0 and held < full):  # a bar is full, or is the pickup
            bars.append(tick + length)
            held = 0
    if held:
        bars.append(measures[-1][0] + measures[-1][1])
    return bars, meters


def from_score(score: Score, name: str) -> Tune | None:
    """The melody of a score: the highest notes of the first track that has any; None when none has."""
    track = next((t for t in score.tracks if len(t.notes)), None)
    if track is None:
        return None
    notes = track.notes
    last = np.append(np.diff(notes.onset) > 0, True)  # notes are ordered by onset, then pitch
    onset, pitch = notes.onset[last], notes.pitch[last].astype(np.int64)
    duration = np.minimum(notes.duration[last], np.append(np.diff(onset), notes.duration[last][-1]))
    bars, meters = [0], []
    tick = 0
    while tick < score.length:
        bar = score.meter.position(tick).bar
        numerator, denominator = score.meter.at(tick)
        meters.append(numerator * 1000 + denominator)
        tick = score.meter.bar_start(bar + 1)
        bars.append(tick)
    key = score.key_at(0)
    return Tune(
        name,
        onset,
        duration,
        pitch,
        np.array(bars, np.int64),
        np.array(meters, np.int64),
        key.sharps if key else 0,
        int(key.minor) if key else -1,
    )


def _write(file: Path, tunes: Sequence[Tune]) -> None:
    table: dict[str, Any] = {
        "names": np.array([t.name for t in tunes], np.str_),
        "keys": np.array([(t.sharps, t.minor) for t in tunes], np.int8).reshape(-1, 2),
    }
    for column in _COLUMNS:
        parts = [getattr(t, column) for t in tunes]
        table[column] = np.concatenate(parts).astype(np.int32) if parts else np.zeros(0, np.int32)
        table[f"{column}_lengths"] = np.array([len(p) for p in parts], np.int64)
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f"{file.stem}.{os.getpid()}.npz")
    np.savez_compressed(partial, **table)
    os.replace(partial, file)


def _read(file: Path) -> list[Tune]:
    with file.open("rb") as opened, np.load(opened) as table:
        names, keys = table["names"], table["keys"]
        columns = {}
        for column in _COLUMNS:
            ends = np.cumsum(table[f"{column}_lengths"])
            columns[column] = (
                np.split(table[column].astype(np.int64), ends[:-1]) if len(ends) else []
            )
    return [
        Tune(
            str(name),
            **{c: columns[c][i] for c in _COLUMNS},
            sharps=int(keys[i][0]),
            minor=int(keys[i][1]),
        )
        for i, name in enumerate(names)
    ]

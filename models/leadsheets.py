"""Lead sheets: melodies with the chords above them, of a folder, parsed once and cached.

MusicXML and ABC say chords as symbols; of other music (MIDI) they are read off the notes of all tracks
but the melody's. What a representation makes of a lead sheet is its own affair: here is what the page says.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
import platformdirs

from models import tunes
from models.score import Score, UserError
from models.timebase import PPQ
from models.tunes import Tune

Column = npt.NDArray[np.int64]
Weights = npt.NDArray[np.float64]

CACHE_VERSION = 1
SUFFIXES = tunes.SUFFIXES
"""What a folder is searched for."""
WRITTEN = (".mxl", ".musicxml", ".xml", ".abc")
"""Those that may have chord symbols."""
NO_CHORD = -1
_CHUNK = 24

QUALITIES: Mapping[str, tuple[int, ...]] = {
    "major": (0, 4, 7),
    "minor": (0, 3, 7),
    "diminished": (0, 3, 6),
    "augmented": (0, 4, 8),
    "suspended": (0, 5, 7),
    "dominant": (0, 4, 7, 10),
    "major_seventh": (0, 4, 7, 11),
    "minor_seventh": (0, 3, 7, 10),
    "minor_major_seventh": (0, 3, 7, 11),
    "half_diminished": (0, 3, 6, 10),
    "diminished_seventh": (0, 3, 6, 9),
    "augmented_seventh": (0, 4, 8, 10),
    "suspended_seventh": (0, 5, 7, 10),
    "sixth": (0, 4, 7, 9),
    "minor_sixth": (0, 3, 7, 9),
}
"""What a chord is, and its notes in semitones above the root. Ninths and beyond count as sevenths."""
NAMES = tuple(QUALITIES)

_HEARD = ("major", "minor", "dominant", "minor_seventh", "major_seventh", "diminished",
          "half_diminished", "diminished_seventh", "augmented", "suspended")  # fmt: skip
"""What chords of notes are taken for, the plainer the sooner."""

_TUNE = ("onset", "duration", "pitch", "bars", "meters")
_CHORDS = ("tick", "root", "quality", "bass")


@dataclass(frozen=True, eq=False)
class Leadsheet:
    """A melody (`tune`: notes, barlines, metres, key) and its chords, ordered by `tick`, each lasting until
    the next or the end.

    tick: where a chord begins; root: pitch class, NO_CHORD for silence; quality: its place in NAMES;
    bass: pitch class of the lowest note, the root's where nothing else is said; [chords].
    """

    tune: Tune
    tick: Column
    root: Column
    quality: Column
    bass: Column

    @property
    def name(self) -> str:
        """Where it is from: folder and file."""
        return self.tune.name

    def at(self, ticks: Column) -> Column:
        """Which chord is in force at each tick: its place in the columns, −1 before the first."""
        return np.asarray(np.searchsorted(self.tick, ticks, side="right") - 1)

    def beats(self) -> Column:
        """The tick of every counted beat (the dotted one in compound metres), bar by bar."""
        found = []
        bars = zip(self.tune.bars[:-1], self.tune.bars[1:], self.tune.meters, strict=True)
        for start, end, meter in bars:
            beat = beat_ticks(int(meter))
            first = end - -(-(end - start) // beat) * beat  # a pickup's beats count from its end
            found.append(np.maximum(np.arange(first, end, beat), start))
        return np.concatenate(found) if found else np.zeros(0, np.int64)

    def tones(self, chord: int) -> frozenset[int]:
        """The pitch classes of a chord, its bass among them; none for silence."""
        if self.root[chord] == NO_CHORD:
            return frozenset()
        above = QUALITIES[NAMES[self.quality[chord]]]
        tones = {int(self.root[chord] + step) % 12 for step in above}
        return frozenset(tones | {int(self.bass[chord])})


def beat_ticks(meter: int) -> int:
    """Ticks of one counted beat of a metre (numerator × 1000 + denominator)."""
    numerator, denominator = divmod(meter, 1000)
    unit = 4 * PPQ // denominator
    return 3 * unit if denominator >= 8 and numerator % 3 == 0 and numerator > 3 else unit


def middle(meter: int, length: int) -> int:
    """Ticks from the start of a bar to its second half, which begins with a beat: after two of three,
    three of five; half the length of a bar that is not whole."""
    numerator, denominator = divmod(meter, 1000)
    whole = numerator * 4 * PPQ // denominator
    beat = beat_ticks(meter)
    beats = whole // beat
    if length != whole or beats < 2:
        return length // 2
    return (beats + 1) // 2 * beat


def load(folder: Path, cache: Path | None = None) -> list[Leadsheet]:
    """Every lead sheet of a folder; see `prepare`. UserError when it has none."""
    for _ in prepare(folder, cache):
        pass
    found = _read(_cache_file(folder, cache))
    if not found:
        raise UserError(
            f"{folder} has no lead sheets; put MusicXML with chord symbols, or MIDI with chords, there."
        )
    return found


def prepare(folder: Path, cache: Path | None = None) -> Iterator[tuple[float, str]]:
    """Parses a folder if `cache` lacks it, on all cores; yields (fraction done, what is read now).

    UserError when `folder` has no files that could be lead sheets.
    """
    file = _cache_file(folder, cache)
    try:
        _read(file)
    except (OSError, EOFError, ValueError, KeyError, BadZipFile):
        paths = _music_in(folder)
        found: list[Leadsheet] = []
        with ProcessPoolExecutor(max(1, os.cpu_count() or 1)) as pool:
            # A handful is read sooner than other processes are started.
            many = len(paths) > _CHUNK
            each = pool.map(read, paths, chunksize=_CHUNK) if many else map(read, paths)
            for done, sheet in enumerate(each, 1):
                found += [sheet] if sheet is not None else []
                yield done / len(paths), f"Reading {folder.name}: {len(found)} lead sheets"
        _write(file, found)
    yield 1.0, "Lead sheets are read"


def of_scores(scores: Sequence[tuple[Path, Score]], cache: Path | None = None) -> list[Leadsheet]:
    """The lead sheets among scores with the files they were read from; those without chords are left out.

    A Score has no chord symbols, so they are read from the files, folder by folder; where a file says
    none, or is MIDI, chords are read off the notes.
    """
    written = [path for path, _ in scores if path.suffix.lower() in WRITTEN and path.is_file()]
    found: dict[str, Leadsheet] = {}
    if len(written) == 1:
        alone = read(written[0])
        found = {alone.name: alone} if alone is not None else {}
    else:
        parents = {path.parent for path in written}
        for folder in sorted(p for p in parents if parents.isdisjoint(p.parents)):
            for _ in prepare(folder, cache):
                pass
            found |= {sheet.name: sheet for sheet in _read(_cache_file(folder, cache))}
    named = ((_name(path), score) for path, score in scores)
    sheets = (found.get(name) or from_score(score, name) for name, score in named)
    return [sheet for sheet in sheets if sheet is not None]


def read(path: Path) -> Leadsheet | None:
    """The lead sheet in a file; None when it has no melody or no chords, or can't be made sense of."""
    from music21 import converter
    from music21.exceptions21 import Music21Exception

    try:
        stream = converter.parse(path, forceSource=True)
    except (Music21Exception, OSError, ValueError, KeyError, IndexError, AttributeError, TypeError,
            BadZipFile, SyntaxError):  # fmt: skip
        # What music21 raises for files that are beyond it; malformed XML is a SyntaxError.
        return None
    return from_music21(stream, _name(path))


def from_music21(stream: Any, name: str) -> Leadsheet | None:
    """The lead sheet of a music21 score: its chord symbols, or else the chords of all parts but the
    first. None when it has no melody or no chords."""
    tune = tunes.from_music21(stream, name)
    if tune is None:
        return None
    symbols: list[tuple[int, int, int, int]] = []
    for part in stream.parts:
        for measure in part.getElementsByClass("Measure"):
            symbols += _symbols(measure)
    if symbols:
        return _leadsheet(tune, symbols)
    notes = [
        (_ticks(element.offset), _ticks(element.duration.quarterLength), int(pitch.midi))
        for part in list(stream.parts)[1:]
        if not any("Percussion" in kind for kind in _instrument(part))
        for element in part.flatten().notes
        for pitch in element.pitches
    ]
    return _leadsheet(tune, heard(tune, np.array(notes, np.int64).reshape(-1, 3)))


def from_score(score: Score, name: str) -> Leadsheet | None:
    """The lead sheet of a score whose chords are notes: the melody is the first track, or one that says
    it is; chords are read off all others but drums. None when there is no melody or no chord."""
    tracks = [t for t in score.tracks if len(t.notes) and t.channel != 9]
    if not tracks:
        return None
    words = ("melody", "vocal", "voice", "lead")
    named = [t for t in tracks if any(word in t.name.casefold() for word in words)]
    melody = (named or tracks)[0]
    tune = tunes.from_score(replace(score, tracks=(melody,)), name)
    assert tune is not None
    rest = [t.notes for t in tracks if t is not melody]
    notes = [np.stack([n.onset, n.duration, n.pitch.astype(np.int64)], 1) for n in rest]
    return _leadsheet(tune, heard(tune, np.concatenate([np.zeros((0, 3), np.int64), *notes])))


def heard(tune: Tune, notes: Column) -> list[tuple[int, int, int, int]]:
    """The chords that notes [N, 3] (onset, duration, pitch) make, one for every half of a bar of `tune`:
    (tick, root, quality, bass). Halves without notes go on with the chord before."""
    found: list[tuple[int, int, int, int]] = []
    for i, meter in enumerate(tune.meters.tolist()):
        start, end = int(tune.bars[i]), int(tune.bars[i + 1])
        half = start + middle(meter, end - start)
        for first, last in ((start, half), (half, end)):
            overlap = np.minimum(notes[:, 0] + notes[:, 1], last) - np.maximum(notes[:, 0], first)
            sounds = overlap > 0
            if not sounds.any():
                continue
            pitch = notes[sounds, 2]
            weight = np.zeros(12)
            np.add.at(weight, pitch % 12, overlap[sounds])
            root, quality = chord_of(weight, int(pitch.min()) % 12)
            if not found or found[-1][1:3] != (root, quality):
                found.append((first, root, quality, int(pitch.min()) % 12))
    return found


def chord_of(weight: Weights, bass: int) -> tuple[int, int]:
    """Root and quality of the chord that fits pitch classes [12] of those weights best."""
    best, most = (0, 0), -np.inf
    total = weight.sum()
    for name in _HEARD:
        for root in range(12):
            tones = [(root + step) % 12 for step in QUALITIES[name]]
            inside = weight[tones]
            missing = 0.25 * total * float((inside < 0.02 * total).sum())
            fit = 2 * inside.sum() - total - missing + 0.1 * total * (root == bass)
            if fit > most + 1e-9:
                best, most = (root, NAMES.index(name)), fit
    return best


def quality_of(steps: set[int]) -> int:
    """The quality of a chord that has those semitones (0–11) above its root, its place in NAMES."""
    third = 4 if 4 in steps else 3 if 3 in steps else 5 if steps & {2, 5} else 4
    seventh = next((step for step in (10, 11, 9) if step in steps), 0)
    if third == 3 and 6 in steps and 7 not in steps:
        name = {10: "half_diminished", 9: "diminished_seventh"}.get(seventh, "diminished")
    elif third == 4 and 8 in steps and 7 not in steps:
        name = "augmented_seventh" if seventh == 10 else "augmented"
    elif third == 5:
        name = "suspended_seventh" if seventh == 10 else "suspended"
    else:
        plain = ("major", "dominant", "major_seventh", "sixth")
        dark = ("minor", "minor_seventh", "minor_major_seventh", "minor_sixth")
        name = (dark if third == 3 else plain)[(0, 10, 11, 9).index(seventh)]
    return NAMES.index(name)


def _symbols(measure: Any) -> list[tuple[int, int, int, int]]:
    """The chord symbols of a music21 measure: (tick, root, quality, bass)."""
    found: list[tuple[float, int, int, int]] = []
    for symbol in measure.recurse().getElementsByClass("ChordSymbol"):
        offset = float(symbol.getOffsetInHierarchy(measure))
        root = symbol.root()
        if "NoChord" in symbol.classes or root is None:
            found.append((offset, NO_CHORD, 0, NO_CHORD))
            continue
        tonic = int(root.pitchClass)
        lowest = symbol.bass()
        steps = {(int(p.pitchClass) - tonic) % 12 for p in symbol.pitches}
        if lowest is not None:
            steps -= {(int(lowest.pitchClass) - tonic) % 12} - {0, 3, 4, 7, 10}
        bass = tonic if lowest is None else int(lowest.pitchClass)
        found.append((offset, tonic, quality_of(steps), bass))
    # Symbols over one long note all stand where it begins: they share the time until the next.
    places = sorted({row[0] for row in found})
    ends = dict(
        zip(places, [*places[1:], max(float(measure.duration.quarterLength), *places, 0)], strict=True)
    ) if places else {}  # fmt: skip
    rows = []
    for place in places:
        here = [row for row in found if row[0] == place]
        share = (ends[place] - place) / len(here)
        for i, row in enumerate(here):
            if share or i == len(here) - 1:
                rows.append((_ticks(measure.offset) + _ticks(place + i * share), *row[1:]))
    return rows


def _instrument(part: Any) -> tuple[str, ...]:
    found = part.getInstrument(returnDefault=False)
    return tuple(found.classes) if found is not None else ()


def _name(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _ticks(quarters: Any) -> int:
    return round(float(quarters) * PPQ)


def _leadsheet(tune: Tune, rows: Sequence[tuple[int, int, int, int]]) -> Leadsheet | None:
    """A lead sheet of a tune and (tick, root, quality, bass) in any order, of several at one tick the
    last; None when no row is a chord."""
    if all(row[1] == NO_CHORD for row in rows):
        return None
    table = np.array(
        [rows[i] for i in sorted(range(len(rows)), key=lambda i: rows[i][0])], np.int64
    )
    table = table[np.append(np.diff(table[:, 0]) > 0, True)]
    return Leadsheet(tune, *(np.ascontiguousarray(column) for column in table.T))


def _music_in(folder: Path) -> list[Path]:
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not found:
        raise UserError(f"{folder} has no files that can be read; put MusicXML or MIDI there.")
    return found


def _cache_file(folder: Path, cache: Path | None) -> Path:
    place = cache if cache is not None else Path(platformdirs.user_cache_dir("ricercar"))
    # Names and sizes tell one state of a folder from another without reading it.
    state = "\n".join(f"{p.name} {p.stat().st_size}" for p in _music_in(folder))
    name = hashlib.sha256(f"{folder.name}\n{state}".encode()).hexdigest()[:12]
    return place / f"leadsheets-{name}-v{CACHE_VERSION}.npz"


def _write(file: Path, sheets: Sequence[Leadsheet]) -> None:
    table: dict[str, Any] = {
        "names": np.array([s.name for s in sheets], np.str_),
        "keys": np.array([(s.tune.sharps, s.tune.minor) for s in sheets], np.int8).reshape(-1, 2),
    }
    for column in (*_TUNE, *_CHORDS):
        parts = [getattr(s.tune if column in _TUNE else s, column) for s in sheets]
        table[column] = np.concatenate(parts).astype(np.int32) if parts else np.zeros(0, np.int32)
        table[f"{column}_lengths"] = np.array([len(p) for p in parts], np.int64)
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f"{file.stem}.{os.getpid()}.npz")
    np.savez_compressed(partial, **table)
    os.replace(partial, file)


def _read(file: Path) -> list[Leadsheet]:
    with file.open("rb") as opened, np.load(opened) as table:
        names, keys = table["names"], table["keys"]
        columns: dict[str, Any] = {}
        for column in (*_TUNE, *_CHORDS):
            ends = np.cumsum(table[f"{column}_lengths"])[:-1]
            columns[column] = np.split(table[column].astype(np.int64), ends)
    return [
        Leadsheet(
            Tune(
                str(name),
                **{c: columns[c][i] for c in _TUNE},
                sharps=int(keys[i][0]),
                minor=int(keys[i][1]),
            ),
            **{c: columns[c][i] for c in _CHORDS},
        )
        for i, name in enumerate(names)
    ]

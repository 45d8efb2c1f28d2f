"""Rewriting: from tokens back to the notes of a score, as they were played where nothing changed."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np

from models.representations import melody
from models.representations.melody import Tokens
from models.representations.phrase import HALF, Line, Place, folded
from models.score import Notes, Region
from models.timebase import SIXTEENTH

Wall = tuple[int, int]
"""Ticks [from, to) in which no new note may sound."""


@dataclass(frozen=True)
class _Note:
    """One note on its way: ticks of the score; `kept`: it begins as it was played; `lasting`: it ends
    elsewhere."""

    onset: int
    end: int
    pitch: int
    velocity: int
    voice: int = 0
    kept: bool = False
    lasting: bool = False


def write(line: Line, tokens: Tokens, place: Place) -> Notes:
    """The notes that `tokens` [steps] make of a line at its place, with what comes back beside them.

    A note of the line whose token and length are unchanged comes back as it was played; if only its length
    is new it keeps its beginning. Every other note is on the grid, as loud as the nearest one of the line.
    None leaves the region or sounds with one that stays.
    """
    after = melody.repaired(np.where(line.given, line.tokens, tokens).astype(np.uint8))
    before, cells = _ends(line.tokens), _cells(line)
    played = list(_notes(line.notes))
    found: list[_Note] = list(_notes(line.under)) if line.foreign else []
    ends = _ends(after)
    following = list(ends.items())[1:]
    for k, (a, b) in enumerate(ends.items()):
        cell = cells.get(a, [])
        if cell and after[a] == line.tokens[a]:
            alike = k < len(following) and before.get(following[k][0]) == following[k][1]
            found += _again(line, played, cell, b, before.get(a) == b, alike)
            continue
        like = line.nearest(a * SIXTEENTH)
        found.append(
            _Note(
                place.start + a * SIXTEENTH,
                place.start + b * SIXTEENTH,
                int(folded(int(melody.pitch(after[a])) - line.shift)),
                int(line.notes.velocity[like]),
                int(line.notes.voice[like]),
            )
        )
    return _collected(place, found, line.foreign)


def between(a: Line, b: Line, share: float, tokens: Tokens, place: Place) -> Notes:
    """The notes of `tokens` on the way from `a` to `b`, both laid at `place`: `share` 0–1 of the way.

    As loud as what is nearest in both, by shares; where a note is one of theirs it is as early or late
    and as long as there, by shares. The octave changes half way, when they lie in different ones.
    """
    shift = a.shift if share < 0.5 else b.shift
    known = [
        (line, weight, _ends(line.tokens), _cells(line))
        for line, weight in ((a, 1 - share), (b, share))
    ]
    found = []
    for begin, until in _ends(tokens).items():
        tick = begin * SIXTEENTH
        onset, end = float(place.start + tick), float(place.start + until * SIXTEENTH)
        grid = np.array([onset, end])
        loud = 0.0
        for line, weight, ends, cells in known:
            loud += weight * line.notes.velocity[line.nearest(tick)]
            if ends.get(begin) == until and line.tokens[begin] == tokens[begin] and begin in cells:
                here = cells[begin][-1]
                off = np.array([line.notes.onset[here], line.notes.end[here]]) - grid
                if np.abs(off).max() <= SIXTEENTH:
                    onset, end = onset + weight * off[0], end + weight * off[1]
        pitch = int(folded(int(melody.pitch(tokens[begin])) - shift))
        found.append(_Note(round(onset), round(end), pitch, round(loud)))
    for k in range(len(found) - 1):
        found[k] = replace(found[k], end=min(found[k].end, found[k + 1].onset))
    return _collected(place, found, True)


def _notes(notes: Notes) -> Iterator[_Note]:
    columns = (notes.onset, notes.end, notes.pitch, notes.velocity, notes.voice)
    for onset, end, pitch, velocity, voice in zip(*(c.tolist() for c in columns), strict=True):
        yield _Note(onset, end, pitch, velocity, voice, kept=True)


def _cells(line: Line) -> Mapping[int, list[int]]:
    """Step → the notes heard there, the one that is its token last."""
    found: dict[int, list[int]] = {}
    for index, step in enumerate(line.first.tolist()):
        found.setdefault(step, []).append(index)
    return found


def _ends(tokens: Tokens) -> dict[int, int]:
    """Step at which a note begins → step at which it ends, in order."""
    onset, duration, _ = melody.to_notes(tokens, 0)
    first = onset // SIXTEENTH
    return dict(zip(first.tolist(), (first + duration // SIXTEENTH).tolist(), strict=True))


def _again(
    line: Line, played: Sequence[_Note], cell: list[int], until: int, whole: bool, alike: bool
) -> Iterator[_Note]:
    """The notes of a cell that stands, up to step `until`; `whole`: it ends where it did; `alike`: so does
    the note after it, over which it may sound on as it did."""
    barrier = line.start + until * SIXTEENTH
    for index in cell:
        if line.stays[index]:
            continue
        note = played[index]
        ended = whole and (note.end <= barrier + HALF or alike)
        yield note if ended or index != cell[-1] else replace(note, end=barrier, lasting=True)


def _collected(place: Place, found: Sequence[_Note], foreign: bool) -> Notes:
    """The notes in their region, new ones cut where something stays, with those that come back."""
    stays = [(n.onset, n.end) for n in _notes(place.stays)]
    kept = [n for n in found if n.kept and not n.lasting]
    begins = sorted([b for b, _ in stays] + [n.onset for n in kept] + [place.region.end])
    kept += [
        replace(n, end=min(n.end, begins[bisect_right(begins, n.onset)]))
        for n in found
        if n.lasting and n.onset < place.region.end
    ]
    if foreign:  # what was not there before has to make room for what is
        kept = list(_fitted(kept, place.region, stays))
    under: dict[int, list[Wall]] = {}
    for n in _notes(place.beneath):
        under.setdefault(n.pitch, []).append((n.onset, n.end))
    walls = sorted(stays + [(n.onset, n.end) for n in kept])
    new = _fitted((n for n in found if not n.kept), place.region, walls)
    new = (m for n in new for m in _fitted([n], place.region, under.get(n.pitch, [])))
    notes = [*_notes(place.back), *kept, *new]
    return Notes.of(
        np.array([n.onset for n in notes], np.int64),
        np.array([n.end - n.onset for n in notes], np.int64),
        np.array([n.pitch for n in notes], np.int64),
        np.array([n.velocity for n in notes], np.int64),
        voice=np.array([n.voice for n in notes], np.int64),
    )


def _fitted(notes: Iterable[_Note], region: Region, walls: Sequence[Wall]) -> Iterator[_Note]:
    """Notes inside the region and off the walls (in order), as far as enough of them is left.

    One that begins at a wall waits for its end if that is near, else it is left out.
    """
    begins = [begin for begin, _ in walls]
    stops = list(accumulate((stop for _, stop in walls), max))
    for note in notes:
        onset, end = max(note.onset, region.start), min(note.end, region.end)
        near = slice(bisect_right(stops, onset), bisect_left(begins, end))
        for begin, stop in walls[near]:
            if begin <= onset < stop:
                onset = stop
            elif onset < begin < end:
                end = begin
        least = min(HALF, note.end - note.onset)
        if onset - note.onset <= HALF and end - onset >= least:
            yield replace(note, onset=onset, end=end)

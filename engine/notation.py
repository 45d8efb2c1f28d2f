"""Notation: what a score looks like on paper. Bars, voices, note values, ties, tuplets, beams, spelling.

Pure functions from a Score's ticks to `Bar`s of `Glyph`s; a file format or a page takes it from there.
Music that lies on no notatable grid (a performance) is moved to the nearest for reading's sake.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from engine import spelling
from engine.spelling import Head
from models.score import Notes, Score, Track
from models.timebase import PPQ

TOLERANCE = 4
"""Ticks by which a note may miss a grid and count as on it: what coarse MIDI files round by."""
LINES = 4
"""Voices a staff can show."""

VALUES = (
    (2 * 4 * PPQ, "breve"),
    (4 * PPQ, "whole"),
    (2 * PPQ, "half"),
    (PPQ, "quarter"),
    (PPQ // 2, "eighth"),
    (PPQ // 4, "16th"),
    (PPQ // 8, "32nd"),
    (PPQ // 16, "64th"),
    (PPQ // 32, "128th"),
    (PPQ // 64, "256th"),
)
"""Note values by their length in ticks, longest first."""

_WRITTEN = {t: (name, 0, t) for t, name in VALUES}
_WRITTEN |= {t * 3 // 2: (name, 1, t) for t, name in VALUES if t >= PPQ // 32}
_FLAGS = {"eighth": 1, "16th": 2, "32nd": 3, "64th": 4, "128th": 5, "256th": 6}


@dataclass
class Glyph:
    """A note, chord or rest (no heads) as written: from tick `start` for `duration`, of value `kind`.

    `tuplet` is (actual, normal), as (3, 2); `bracket` "start" or "stop" at its ends. `beams` names what
    each beam level does here, as MusicXML does.
    """

    start: int
    duration: int
    heads: list[Head]
    kind: str
    dots: int = 0
    tuplet: tuple[int, int] | None = None
    bracket: str = ""
    beams: list[str] = field(default_factory=list)
    fermata: bool = False
    whole_bar: bool = False


@dataclass(frozen=True)
class Bar:
    """A printed bar: number 0 is a pickup. `length` is the full bar of its metre, in ticks."""

    number: int
    start: int
    end: int
    numerator: int
    denominator: int
    length: int

    @cached_property
    def origin(self) -> int:
        """Where the bar would begin if it were full: a pickup is the end of one."""
        return self.end - self.length if self.number == 0 else self.start

    @cached_property
    def compound(self) -> bool:
        """Whether beats are in threes, as in 6/8."""
        return self.denominator >= 8 and self.numerator % 3 == 0 and self.numerator > 3

    @cached_property
    def pulse(self) -> int:
        """Ticks of the unit that notes should show, and beams join."""
        if self.compound:
            return 3 * 4 * PPQ // self.denominator
        return PPQ if self.denominator <= 4 else 4 * PPQ // self.denominator

    @cached_property
    def middle(self) -> int | None:
        """The half-bar of metres in two or four, in ticks from the origin, which syncopations show."""
        return self.length // 2 if self.numerator in (2, 4) and self.length > PPQ else None


@dataclass(frozen=True)
class Staff:
    """A staff's bars, and in each the voices that sound there: (voice number from 0, glyphs)."""

    clef: str
    bars: list[list[tuple[int, list[Glyph]]]]


@dataclass(frozen=True)
class Cell:
    """A stretch of a bar in which notes are tuplets."""

    length: int
    actual: int
    normal: int


def bars(score: Score) -> list[Bar]:
    """Every bar of the score, at least one. The last is short when it completes a pickup."""
    meter, found = score.meter, []
    starts = meter.bars(0, max(score.length, 1))
    for number, start in starts:
        numerator, denominator = meter.at(meter.pickup if number == 0 else start)
        length = numerator * 4 * PPQ // denominator
        found.append(
            Bar(number, start, meter.bar_start(number + 1), numerator, denominator, length)
        )
    last = found[-1]
    complement = last.end - meter.pickup
    if meter.pickup and last.number > 0 and last.start < score.length <= complement:
        found[-1] = Bar(
            last.number, last.start, complement, last.numerator, last.denominator, last.length
        )
    return found


def staves(track: Track, score: Score, measures: Sequence[Bar]) -> list[Staff]:
    """The track as one staff, or two when it spans a keyboard."""
    notes, cells = quantised(track.notes, measures)
    tuplets = _in_bars(
        [(start, start + cell.length, cell) for start, cell in sorted(cells.items())], measures
    )
    split = _needs_two(track)
    known = bool(score.keys)
    guess = 0 if known else spelling.likely_fifths(score)
    out: list[Staff] = []
    for upper in (True, False) if split else (True,):
        mask = (notes.pitch >= 60) == upper if split else np.ones(len(notes), bool)
        mine = notes.where(mask)
        voices = [
            _in_bars([(onset, end, heads) for onset, (end, heads) in line.items()], measures)
            for line in _lines(mine) or [{}]
        ]
        rows = []
        for index, bar in enumerate(measures):
            row = []
            for number, voice in enumerate(voices):
                glyphs = _glyphs(voice[index], bar, tuplets[index], fill=number == 0)
                _beam(glyphs, bar)
                if glyphs:
                    row.append((number, glyphs))
            printed = spelling.fifths_at(score, bar.start)
            glyphs = sorted((g for _, line in row for g in line), key=lambda g: g.start)
            heads = [head for glyph in glyphs for head in glyph.heads]
            spelling.spell(heads, printed if known else guess, printed)
            rows.append(row)
        out.append(Staff(_clef(track, mine, upper if split else None), rows))
    return out


T = TypeVar("T")


def _in_bars(
    spans: Sequence[tuple[int, int, T]], measures: Sequence[Bar]
) -> list[list[tuple[int, int, T]]]:
    """For each bar the spans (start, end, what), ordered by start and not overlapping, that sound in it."""
    out: list[list[tuple[int, int, T]]] = [[] for _ in measures]
    index = 0
    for start, end, what in spans:
        while index < len(measures) - 1 and measures[index].end <= start:
            index += 1
        here = index
        while here < len(measures) and measures[here].start < end:
            out[here].append((start, end, what))
            here += 1
    return out


# --- onto a grid ---------------------------------------------------------------------------------


def quantised(notes: Notes, measures: Sequence[Bar]) -> tuple[Notes, dict[int, Cell]]:
    """The notes at notatable positions, and the cells (by their first tick) that are tuplets."""
    if not len(notes):
        return notes, {}
    ends = np.array([bar.end for bar in measures], np.int64)
    origins = np.array([bar.origin for bar in measures], np.int64)
    # A cell is a quarter where beats divide in two, an eighth where they divide in three.
    sizes = np.array([PPQ if bar.denominator <= 4 else PPQ // 2 for bar in measures], np.int64)
    points = np.unique(np.concatenate([notes.onset, notes.end]))
    at = np.minimum(np.searchsorted(ends, points, side="right"), len(measures) - 1)
    size = sizes[at]
    offset = (points - origins[at]) % size
    start = points - offset
    moved = points.copy()
    cells: dict[int, Cell] = {}
    for cell_start in np.unique(start[offset % (size // 4) != 0]).tolist():
        low, high = np.searchsorted(start, [cell_start, cell_start + 1])
        length = int(size[low])
        grid, cell = _grid(offset[low:high], length)
        moved[low:high] = cell_start + np.rint(offset[low:high] / grid).astype(np.int64) * grid
        if cell is not None:
            cells[cell_start] = cell
    starts = np.array([bar.start for bar in measures], np.int64)
    moved = np.clip(moved, starts[at], ends[at])  # a pickup of odd length has no grid of its own
    _join_triplets(cells, np.unique(moved), measures)
    onset = moved[np.searchsorted(points, notes.onset)]
    end = moved[np.searchsorted(points, notes.end)]
    tuplets = np.array(sorted(cells), np.int64)
    for index in np.flatnonzero(end <= onset).tolist():  # too short for the grid around them
        onset[index] = min(onset[index], ends[-1] - PPQ // 4)
        near = int(np.searchsorted(tuplets, onset[index], side="right")) - 1
        cell = cells[int(tuplets[near])] if near >= 0 else None
        if cell is not None and onset[index] < tuplets[near] + cell.length:
            end[index] = onset[index] + cell.length // cell.actual
        else:
            end[index] = onset[index] + PPQ // 4
    return notes.with_(onset=onset, duration=end - onset), cells


def _grid(offsets: npt.NDArray[np.int64], length: int) -> tuple[int, Cell | None]:
    """The step in ticks on which these positions in a cell lie, exactly or nearly, and its tuplet."""
    triplet = Cell(length, 3, 2)
    candidates: list[tuple[int, Cell | None, int]] = [
        (length // 4, None, 0),
        (length // 3, triplet, 25),
        (length // 8, None, 40),
        (length // 6, triplet, 50),
        (length // 5, Cell(length, 5, 4), 80),
        (length // 16, None, 90),
        (length // 12, triplet, 100),
    ]
    best, lowest = candidates[0], float("inf")
    for grid, cell, cost in candidates:
        miss = np.abs(offsets - np.rint(offsets / grid) * grid)
        if miss.max() <= TOLERANCE:
            return grid, cell
        # A performance lies on no grid: the simplest that is not far off reads best.
        if (total := float(miss.mean()) + cost) < lowest:
            best, lowest = (grid, cell, cost), total
    return best[0], best[1]


def _join_triplets(
    cells: dict[int, Cell], points: npt.NDArray[np.int64], measures: Sequence[Bar]
) -> None:
    """Two quarters whose only positions are thirds of a half note are one triplet of quarters."""
    starts = [bar.start for bar in measures]
    half, third = 2 * PPQ, 2 * PPQ // 3
    for cell_start in sorted(cells):
        cell = cells.get(cell_start)
        if cell is None or cell.length != PPQ or cell.actual != 3:
            continue
        bar = measures[max(int(np.searchsorted(starts, cell_start, side="right")) - 1, 0)]
        first = cell_start - (cell_start - bar.origin) % half
        if bar.denominator > 4 or first < bar.start or first + half > bar.end:
            continue
        low, high = np.searchsorted(points, [first + 1, first + half])
        if np.isin(points[low:high] - first, (third, 2 * third)).all():
            cells.pop(first + PPQ, None)
            cells[first] = Cell(half, 3, 2)


# --- into voices ---------------------------------------------------------------------------------

Line = dict[int, tuple[int, list[tuple[int, int]]]]
"""A voice: onset → (end, heads as (pitch, velocity)), in time order, none overlapping the next."""


def _lines(notes: Notes) -> list[Line]:
    """The notes as at most LINES voices, by the voice column first, then wherever there is room.

    With no room left, a note joins the chord that begins with it, or cuts the one that ends first.
    """
    lines: list[tuple[int, Line]] = []  # voice column, line
    free: list[int] = []  # where each line's last chord ends
    rows: defaultdict[tuple[int, int, int], list[tuple[int, int]]] = defaultdict(list)
    order = np.lexsort((-notes.pitch.astype(np.int64), notes.voice, notes.onset))
    for o, e, v, p, velocity in zip(
        notes.onset[order].tolist(),
        notes.end[order].tolist(),
        notes.voice[order].tolist(),
        notes.pitch[order].tolist(),
        notes.velocity[order].tolist(),
        strict=True,
    ):
        rows[o, v, e].append((p, velocity))
    for (onset, voice, end), heads in sorted(rows.items(), key=lambda r: (r[0][0], r[0][1])):
        fits = [i for i, (column, _) in enumerate(lines) if column == voice and free[i] <= onset]
        if not fits and len(lines) < LINES:
            lines.append((voice, {}))
            free.append(0)
            fits = [len(lines) - 1]
        if fits:
            index = fits[0]
            lines[index][1][onset] = (end, heads)
            free[index] = end
            continue
        index = next((i for i, (_, line) in enumerate(lines) if onset in line), -1)
        if index >= 0:
            stop, others = lines[index][1][onset]
            lines[index][1][onset] = (stop, others + heads)
            continue
        index = min(range(len(lines)), key=lambda i: free[i])
        line = lines[index][1]
        last = next(reversed(line))
        if free[index] > onset:
            line[last] = (onset, line[last][1])
        line[onset] = (end, heads)
        free[index] = end
    return [line for _, line in lines]


# --- into glyphs ---------------------------------------------------------------------------------


def _glyphs(
    chords: Sequence[tuple[int, int, list[tuple[int, int]]]],
    bar: Bar,
    cells: Sequence[tuple[int, int, Cell]],
    *,
    fill: bool,
) -> list[Glyph]:
    """One voice's glyphs in one bar, rests included; nothing when it is silent, unless it is to `fill`."""
    if not chords:
        if not fill:
            return []
        return [Glyph(bar.start, bar.end - bar.start, [], "whole", whole_bar=True)]
    spans: list[tuple[int, int, list[tuple[int, int]]]] = []
    now = bar.start
    for onset, end, heads in chords:
        if onset > now:
            spans.append((now, onset, []))
        spans.append((onset, end, heads))
        now = end
    if now < bar.end:
        spans.append((now, bar.end, []))
    edges = {edge for start, end, _ in spans for edge in (start, end)}
    tuplets = [t for t in cells if any(t[0] < edge < t[1] for edge in edges)]
    cuts = [cut for start, end, _ in tuplets for cut in (start, end)]
    glyphs: list[Glyph] = []
    for onset, finish, heads in spans:
        start, end = max(onset, bar.start), min(finish, bar.end)
        stops = sorted({start, end, *(cut for cut in cuts if start < cut < end)})
        pieces: list[Glyph] = []
        for a, b in pairwise(stops):
            tuplet = next((t for t in tuplets if t[0] <= a < t[1]), None)
            pieces += _tuplet(a, b, tuplet[2]) if tuplet else _plain(a, b, bar, not heads)
        for n, piece in enumerate(pieces):
            before, after = n > 0 or onset < start, n < len(pieces) - 1 or finish > end
            one_each = dict(reversed(heads))  # a pitch is in a chord once; lowest first
            piece.heads = [Head(p, v, before, after) for p, v in one_each.items()]
        glyphs += pieces
    for start, end, _ in tuplets:
        group = [g for g in glyphs if g.tuplet and start <= g.start < end]
        if len(group) > 1:
            group[0].bracket, group[-1].bracket = "start", "stop"
    return glyphs


def _tuplet(start: int, end: int, cell: Cell) -> list[Glyph]:
    """Note values from `start` to `end`, both inside a tuplet."""
    out: list[Glyph] = []
    while start < end:
        left = (end - start) * cell.actual // cell.normal
        written = next((w for w in sorted(_WRITTEN, reverse=True) if w <= left), None)
        if written is None:
            break  # what is left is shorter than any note
        kind, dots, _ = _WRITTEN[written]
        length = written * cell.normal // cell.actual
        out.append(Glyph(start, length, [], kind, dots, (cell.actual, cell.normal)))
        start += length
    return out


def _plain(start: int, end: int, bar: Bar, rest: bool) -> list[Glyph]:
    """Note values from `start` to `end` that show where the beats are."""
    out: list[Glyph] = []
    for a, b in _divided(start - bar.origin, end - bar.origin, bar, rest):
        kind, dots, _ = _WRITTEN[b - a]
        out.append(Glyph(a + bar.origin, b - a, [], kind, dots))
    return out


def _divided(start: int, end: int, bar: Bar, rest: bool) -> list[tuple[int, int]]:
    """[start, end), counted from the bar's origin, in stretches that are one written value each."""
    if end - start < VALUES[-1][0]:
        return []
    if _reads_well(start, end, bar, rest):
        return [(start, end)]
    for cut in _cuts(start, end, bar):
        # The left part is final when it reads well; what remains is divided in its turn.
        if _reads_well(start, cut, bar, rest):
            return [(start, cut), *_divided(cut, end, bar, rest)]
    middle = next(_cuts(start, end, bar), None)
    if middle is None:  # shorter than any grid: the longest value there is room for
        length = max(w for w in _WRITTEN if w <= end - start)
        return [(start, start + length), *_divided(start + length, end, bar, rest)]
    return _divided(start, middle, bar, rest) + _divided(middle, end, bar, rest)


def _cuts(start: int, end: int, bar: Bar) -> Iterator[int]:
    """Where [start, end) may be divided: at the strongest position inside it, the latest first."""
    if bar.middle is not None and start < bar.middle < end:
        yield bar.middle
        return
    unit = bar.pulse
    while unit >= VALUES[-1][0]:
        last = (end - 1) // unit * unit
        if last > start:
            yield from range(last, start, -unit)
            return
        unit //= 3 if unit == bar.pulse and bar.compound else 2


def _reads_well(start: int, end: int, bar: Bar, rest: bool) -> bool:
    """Whether a single written value may stand there without hiding the beat."""
    length = end - start
    if length not in _WRITTEN:
        return False
    _, dots, plain = _WRITTEN[length]
    if start // bar.pulse == (end - 1) // bar.pulse:
        return not rest or start % plain == 0 or end % plain == 0
    if bar.compound:
        return start % bar.pulse == 0 and length % bar.pulse == 0
    if rest:
        return dots == 0 and start % length == 0
    off_beat = start % bar.pulse != 0
    if bar.middle is not None and start < bar.middle < end and off_beat:
        return False
    if dots:
        return start % max(bar.pulse, plain // 2) == 0
    return start % (length // 2) == 0


def _beam(glyphs: Sequence[Glyph], bar: Bar) -> None:
    """Name the beams of notes shorter than a quarter that share a pulse, rests apart."""
    groups: list[list[Glyph]] = []
    last: tuple[int, Glyph] | None = None
    for glyph in glyphs:
        pulse = (glyph.start - bar.origin) // bar.pulse
        if not glyph.heads or glyph.kind not in _FLAGS:
            last = None
            continue
        if last is not None and last[0] == pulse:
            groups[-1].append(glyph)
        else:
            groups.append([glyph])
        last = (pulse, glyph)
    for group in groups:
        flags = [_FLAGS[glyph.kind] for glyph in group]
        for n, glyph in enumerate(group if len(group) > 1 else []):
            for level in range(1, flags[n] + 1):
                before = n > 0 and flags[n - 1] >= level
                after = n < len(group) - 1 and flags[n + 1] >= level
                alone = "backward hook" if n else "forward hook"
                glyph.beams.append(
                    {(True, True): "continue", (True, False): "end", (False, True): "begin"}.get(
                        (before, after), alone
                    )
                )


# --- clefs, fermatas -------------------------------------------------------------------


def _needs_two(track: Track) -> bool:
    """Whether a keyboard player would want two staves: far below and far above middle C, in chords."""
    notes = track.notes
    if track.channel == 9 or len(notes) < 8:
        return False
    low, high = np.percentile(notes.pitch, [15, 85])
    overlap = int((notes.onset[1:] < np.maximum.accumulate(notes.end)[:-1]).sum())
    return bool(low < 55 and high > 64 and overlap > len(notes) // 4)


def _clef(track: Track, notes: Notes, upper: bool | None) -> str:
    """ "treble", "bass", "alto", "tenor" (treble an octave lower) or "drums"."""
    if track.channel == 9:
        return "drums"
    if upper is not None:
        return "treble" if upper else "bass"
    name = track.name.casefold()
    if "tenor" in name or "viola" in name:
        return "tenor" if "tenor" in name else "alto"
    return "treble" if not len(notes) or float(np.median(notes.pitch)) >= 58 else "bass"


def mark_fermatas(parts: Sequence[Sequence[Staff]], fermatas: Sequence[int]) -> None:
    """Mark every note that begins at a fermata; where none begins, the highest that sounds."""
    if not fermatas:
        return
    starting: defaultdict[int, list[Glyph]] = defaultdict(list)
    sounding: list[Glyph] = []
    for staff in (staff for part in parts for staff in part):
        for _, glyphs in (voice for bar in staff.bars for voice in bar):
            for glyph in glyphs:
                if glyph.heads:
                    starting[glyph.start].append(glyph)
                    sounding.append(glyph)
    for tick in fermatas:
        here = (
            starting.get(tick) or [g for g in sounding if g.start < tick < g.start + g.duration][:1]
        )
        for glyph in here:
            glyph.fermata = True

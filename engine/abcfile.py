"""ABC out, and in through `models.representations.abc_notation`: text that folk musicians read.

What is read is what is heard: repeats are played, tunes of one file follow one another. What is written
is what would be printed, bar by bar, a voice for each line of music.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np

from engine import notation
from engine.files import read_bytes, write_bytes
from engine.notation import Bar, Glyph, Staff
from engine.spelling import Head, fifths_at
from models.representations import abc_notation
from models.representations.abc_notation import REST, Element, Meter, Note, Sheet, Tempo
from models.score import Key, Notes, Score, Track, UserError
from models.timebase import PPQ, MeterMap, TempoMap

MAX_BYTES = 8_000_000
MAX_NOTES = 500_000
MAX_TICKS = 200_000 * PPQ
WHOLE = 4 * PPQ
UNIT = PPQ // 2
"""Ticks of the unit length that is written, L:1/8."""
BARS_A_LINE = 4
_MAJOR = {-7: "Cb", -6: "Gb", -5: "Db", -4: "Ab", -3: "Eb", -2: "Bb", -1: "F", 0: "C", 1: "G", 2: "D",
          3: "A", 4: "E", 5: "B", 6: "F#", 7: "C#"}  # fmt: skip
_MINOR = {-7: "Abm", -6: "Ebm", -5: "Bbm", -4: "Fm", -3: "Cm", -2: "Gm", -1: "Dm", 0: "Am", 1: "Em",
          2: "Bm", 3: "F#m", 4: "C#m", 5: "G#m", 6: "D#m", 7: "A#m"}  # fmt: skip
_MARKS = {-2: "__", -1: "_", 0: "=", 1: "^", 2: "^^"}


# --- in ------------------------------------------------------------------------------------------


def read(path: Path) -> Score:
    """The score in an ABC file; see `from_text`."""
    data = read_bytes(path, MAX_BYTES)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    return from_text(text, str(path))


def from_text(text: str, name: str = "The ABC file") -> Score:
    """The tunes in a text, one after another, repeats played; `name` is what a UserError calls the file.

    A voice is a track; tunes after the first go on in the tracks of the first. A short first bar is a
    pickup.
    """
    sheets = [abc_notation.parse(tune, name, line) for line, tune in abc_notation.cut(text)]
    if not sheets and any(line.startswith("K:") for line in text.splitlines()):
        sheets = [abc_notation.parse(text, name)]  # the number of the tune was forgotten
    if not sheets:
        raise UserError(f"{name} holds no tune in ABC; one begins with lines X:1 and K:C.")
    page = _Page()
    for sheet in sheets:
        page.add(sheet, name)
    return page.score()


@dataclass
class _Line:
    """The notes of a track: onset, end, pitch."""

    name: str
    notes: list[tuple[int, int, int]] = field(default_factory=list)


@dataclass
class _Page:
    """Tunes laid one after another."""

    lines: list[_Line] = field(default_factory=list)
    meters: list[tuple[int, int, int]] = field(default_factory=list)
    keys: list[Key] = field(default_factory=list)
    tempos: list[tuple[int, float]] = field(default_factory=list)
    title: str = ""
    pickup: int = 0
    end: int = 0

    def add(self, sheet: Sheet, name: str) -> None:
        """One more tune, from where the last one ended."""
        start = self.end
        self.title = self.title or sheet.title
        for k, voice in enumerate(sheet.voices):
            if k == len(self.lines):
                only = "Melody" if len(sheet.voices) == 1 else f"Voice {k + 1}"
                self.lines.append(_Line(voice.name or only))
            played = list(abc_notation.played(voice.elements))
            self._sing(self.lines[k], played, start, name)
            if k == 0:
                self._measure(played, start)

    def _sing(self, line: _Line, played: Sequence[Element], start: int, name: str) -> None:
        now = Fraction(start)
        open_ties: dict[int, int] = {}  # pitch → which note a tie holds
        for e in played:
            if not isinstance(e, Note):
                continue
            begin, now = round(now), now + e.length * WHOLE
            if now > MAX_TICKS or len(line.notes) > MAX_NOTES:
                raise UserError(f"{name} goes on for too long to be edited; split it.")
            ties, open_ties = open_ties, {}
            if e.pitch == REST:
                continue
            held = e.held or ((e.pitch,) if e.tied else ())
            for pitch in (e.pitch, *e.below):
                at = ties.get(pitch)
                if at is not None:
                    line.notes[at] = (line.notes[at][0], round(now), pitch)
                else:
                    at = len(line.notes)
                    line.notes.append((begin, max(round(now), begin + 1), pitch))
                if pitch in held:
                    open_ties[pitch] = at
        self.end = max(self.end, round(now))

    def _measure(self, played: Sequence[Element], start: int) -> None:
        """Metres, keys, tempos, and where the bars of a tune are."""
        bars: list[tuple[int, Meter]] = []  # where each begins, and its metre
        now, begun = Fraction(start), start
        meter = Meter(4, 4)
        sung = False
        for e in played:
            tick = round(now)
            if isinstance(e, Note):
                now += e.length * WHOLE
                sung = True
            elif isinstance(e, Meter):
                meter = e
            elif isinstance(e, abc_notation.Key):
                self.keys.append(Key(tick, e.sharps, e.mode == "min"))
            elif isinstance(e, Tempo):
                self.tempos.append((tick, e.bpm))
            elif tick > begun or not sung:
                if tick > begun:
                    bars.append((begun, meter))
                begun = tick
        if round(now) > begun:
            bars.append((begun, meter))
        self._place(bars, round(now), first=not start)

    def _place(self, bars: Sequence[tuple[int, Meter]], end: int, first: bool) -> None:
        """Puts metre changes where bars begin that no grid of whole bars reaches."""
        edges = [*(tick for tick, _ in bars), end]
        if not bars:
            return
        origin, current = edges[0], bars[0][1]
        self.meters.append((origin, current.numerator, current.denominator))
        for k, (tick, meter) in enumerate(bars):
            full = WHOLE * meter.numerator // meter.denominator
            if k == 1 and first and edges[1] - edges[0] < full and edges[0] == 0:
                self.pickup = origin = edges[1]
            elif meter != current or ((tick - origin) % full and (edges[k + 1] - origin) % full):
                origin, current = tick, meter
                self.meters.append((tick, meter.numerator, meter.denominator))

    def score(self) -> Score:
        """All of it."""
        tracks, next_id = [], 0
        for k, line in enumerate(self.lines):
            onset, until, pitch = np.array(line.notes, np.int64).reshape(-1, 3).T
            notes = Notes.of(onset, until - onset, pitch, first_id=next_id)
            next_id += len(notes)
            tracks.append(Track(k, line.name, notes, channel=[*range(9), *range(10, 16)][k % 15]))
        tick, numerator, denominator = np.array(self.meters or [(0, 4, 4)], np.int64).T
        pickup = self.pickup if self.pickup < WHOLE * numerator[0] // denominator[0] else 0
        keys = [
            k
            for a, k in zip([None, *self.keys], self.keys, strict=False)
            if not a or a[1:] != k[1:]
        ]
        tempo = TempoMap()
        if self.tempos:
            ticks, bpm = zip(*self.tempos, strict=True)
            tempo = TempoMap(np.array(ticks), np.array([round(60e6 / b) for b in bpm]))
        meter = MeterMap(tick, numerator, denominator, pickup)
        return Score(tuple(tracks), tempo, meter, tuple(keys), title=self.title)


# --- out -----------------------------------------------------------------------------------------


def write(score: Score, path: Path) -> None:
    """Write ABC; UserError when the folder or disk won't take it, or a track can't be written."""
    write_bytes(path, to_text(score).encode("utf-8"))


def to_text(score: Score) -> str:
    """The score as one tune: a voice for each line of each track, spelled by the key, on a grid that can
    be notated. Velocities and programs have no place in it. UserError for a track of drums."""
    drums = next((t for t in score.tracks if t.channel == 9 and len(t.notes)), None)
    if drums is not None:
        raise UserError(
            f"{drums.name or 'A track'} is drums, which ABC can't write; delete it first."
        )
    measures = notation.bars(score)
    voices: list[tuple[str, list[list[Glyph]]]] = []
    for track in score.tracks or (Track(0, ""),):
        lines = [
            line for staff in notation.staves(track, score, measures) for line in _lines(staff)
        ]
        for k, line in enumerate(lines):
            voices.append((f"{track.name} {k + 1}" if k else track.name, line))
    first = measures[0]
    head = ["X:1", f"T:{_plain(score.title)}", f"M:{first.numerator}/{first.denominator}",
            "L:1/8", f"Q:1/4={score.tempo.bpm(0):.9g}"]  # fmt: skip
    if len(voices) > 1:
        head += [f'V:{k} name="{_plain(name)}"' for k, (name, _) in enumerate(voices, 1)]
    head.append(f"K:{_key(score, 0)}")
    bodies = [list(_body(score, measures, line, k == 0)) for k, (_, line) in enumerate(voices)]
    for start in range(0, len(measures), BARS_A_LINE):
        for k, body in enumerate(bodies, 1):
            head += [f"V:{k}"] * (len(bodies) > 1)
            head.append(" | ".join(body[start : start + BARS_A_LINE]) + " |")
    head[-1] += "]"
    return "\n".join(head) + "\n"


def _plain(text: str) -> str:
    return "".join(c for c in text if c.isprintable()).replace('"', "'").replace("%", "\\%").strip()


def _key(score: Score, tick: int) -> str:
    key = score.key_at(tick)
    return "C" if key is None else (_MINOR if key.minor else _MAJOR)[key.sharps]


def _lines(staff: Staff) -> Iterator[list[list[Glyph]]]:
    """Bar by bar the glyphs of each voice of a staff that has any."""
    numbers = {number for bar in staff.bars for number, _ in bar}
    for number in sorted(numbers) or [0]:
        yield [dict(bar).get(number, []) for bar in staff.bars]


def _body(
    score: Score, measures: Sequence[Bar], line: Sequence[list[Glyph]], leads: bool
) -> Iterator[str]:
    """The bars of a voice; the one that leads says the tempo."""
    before: Bar | None = None
    for bar, glyphs in zip(measures, line, strict=True):
        words = list(_changes(score, before, bar, leads))
        marks: dict[str, set[int]] = {}
        signature = fifths_at(score, bar.start)
        now, text = bar.start, ""
        for glyph in sorted(glyphs, key=lambda g: g.start):
            if glyph.start > now:  # nothing of this voice is printed there
                text += f"x{_length(glyph.start - now)} "
            if glyph.tuplet and glyph.bracket == "start":
                text += _tuplet(glyph, glyphs)
            text += _note(glyph, marks, signature)
            now = glyph.start + glyph.duration
            beat = (now - bar.origin) % bar.pulse == 0
            text += " " if beat and glyph.bracket != "start" else ""
        if now < bar.end:
            text += f"x{_length(bar.end - now)}"
        yield "".join(words) + text.strip()
        before = bar


def _changes(score: Score, before: Bar | None, bar: Bar, leads: bool) -> Iterator[str]:
    if before is None:
        return
    if (before.numerator, before.denominator) != (bar.numerator, bar.denominator):
        yield f"[M:{bar.numerator}/{bar.denominator}]"
    if any(before.start < key.tick <= bar.start for key in score.keys):
        yield f"[K:{_key(score, bar.start)}]"
    if leads and score.tempo.bpm(bar.start) != score.tempo.bpm(before.start):
        yield f"[Q:1/4={score.tempo.bpm(bar.start):.9g}]"


def _length(ticks: int) -> str:
    length = Fraction(ticks, UNIT)
    if length.denominator == 1:
        return "" if length == 1 else str(length.numerator)
    return f"{length.numerator if length.numerator > 1 else ''}/{length.denominator}"


def _tuplet(first: Glyph, glyphs: Sequence[Glyph]) -> str:
    assert first.tuplet is not None
    actual, normal = first.tuplet
    count = 0
    for glyph in sorted(glyphs, key=lambda g: g.start):
        if glyph.start >= first.start:
            count += 1
            if glyph.bracket == "stop":
                break
    return "(3" if (actual, normal, count) == (3, 2, 3) else f"({actual}:{normal}:{count}"


def _note(glyph: Glyph, marks: dict[str, set[int]], signature: int) -> str:
    ticks = glyph.duration
    if glyph.tuplet:
        base = next(t for t, kind in notation.VALUES if kind == glyph.kind)
        ticks = 2 * base - (base >> glyph.dots)
    if not glyph.heads:
        return "z" + _length(ticks)
    heads = [_head(head, marks, signature) for head in glyph.heads]
    ties = ["-" if head.tied_to else "" for head in glyph.heads]
    if len(heads) == 1:
        return heads[0] + _length(ticks) + ties[0]
    inside = "".join(text + tie for text, tie in zip(heads, ties, strict=True))
    return f"[{inside}]{_length(ticks)}"


def _head(head: Head, marks: dict[str, set[int]], signature: int) -> str:
    """A pitch; its accidental is said wherever readers could disagree on how long one holds."""
    usual = (signature + 6 - "FCGDAEB".index(head.step)) // 7
    said = marks.setdefault(head.step, set())
    mark = _MARKS[head.alter] if head.alter != usual or said - {head.alter} else ""
    if mark:
        said.add(head.alter)
    if head.octave >= 5:
        return mark + head.step.lower() + "'" * (head.octave - 5)
    return mark + head.step + "," * (4 - head.octave)

"""MusicXML in: partwise or timewise, plain or compressed, to sounding pitch and exact ticks.

Read straight from the XML: music21 takes two seconds to import and half a second for a chorale, where a
window should open a file at once. The tests hold every answer against music21's.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from fractions import Fraction
from xml.etree import ElementTree
from xml.etree.ElementTree import Element
from xml.parsers import expat

import numpy as np

from models.score import Key, Notes, Score, Track, UserError
from models.timebase import PPQ, MeterMap, TempoMap

MAX_BYTES = 64_000_000
MAX_ELEMENTS = 3_000_000
MAX_QUARTERS = 200_000
DEFAULT_VELOCITY = 80
FORTE = 90

_STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_UNITS = {
    "breve": Fraction(8), "whole": Fraction(4), "half": Fraction(2), "quarter": Fraction(1),
    "eighth": Fraction(1, 2), "16th": Fraction(1, 4), "32nd": Fraction(1, 8),
}  # fmt: skip
_NUMBER = re.compile(r"[+-]?\d{1,9}(\.\d{1,9})?")

Line = tuple[int, str]
"""staff, voice"""


@dataclass(frozen=True)
class _Note:
    offset: Fraction  # quarters from the start of its measure
    length: Fraction
    pitch: int
    velocity: int
    line: Line
    tied_from: bool
    tied_to: bool


@dataclass
class _Measure:
    """One part's share of a measure; `length` is how far its notes and rests reach, in quarters, and
    `sounding` how far its notes alone do."""

    length: Fraction = Fraction(0)
    sounding: Fraction = Fraction(0)
    metre: tuple[int, int] | None = None
    notes: list[_Note] = field(default_factory=list)
    keys: list[tuple[Fraction, int, bool]] = field(default_factory=list)
    tempos: list[tuple[Fraction, float]] = field(default_factory=list)
    fermatas: list[Fraction] = field(default_factory=list)


@dataclass
class _Part:
    name: str
    channel: int
    program: int
    volume: int
    unpitched: dict[str, int]
    measures: list[_Measure] = field(default_factory=list)
    divisions: int = 1
    transpose: int = 0


def from_bytes(data: bytes, name: str = "The MusicXML file") -> Score:
    """The score in a MusicXML file's bytes; `name` is what a UserError calls the file.

    A part is a track, at sounding pitch, its voices in the `voice` column. A part of several lines that
    all go through the piece note against note (a chorale on two staves) is a track a line; four of them
    are called soprano, alto, tenor and bass. Tied notes are one note, a short first bar is a pickup,
    grace notes and cues are left out, repeats are played once, percussion goes by its MIDI key.
    """
    if data[:2] == b"PK":
        data = _unzipped(data, name)
    root = _parsed(data, name)
    if root.tag == "score-timewise":
        root = _partwise(root)
    if root.tag != "score-partwise":
        raise UserError(
            f"{name} is XML, but its outermost element is <{str(root.tag)[:40]}> and not a score; "
            "export it as MusicXML."
        )
    parts = _parts(root, name)
    title = _text(root, "work/work-title") or _text(root, "movement-title")
    return _score(parts, title, name)


# --- the bytes -----------------------------------------------------------------------------------


def _unzipped(data: bytes, name: str) -> bytes:
    broken = UserError(f"{name} is not a whole compressed MusicXML file; export it again.")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
            inner = next((n for n in names if not n.startswith("META-INF/")), None)
            if "META-INF/container.xml" in names:
                inner = _root_file(_member(archive, "META-INF/container.xml", name), name) or inner
            if inner is None or inner not in names:
                raise broken
            return _member(archive, inner, name)
    except (
        zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError,
        ValueError, KeyError,
    ):  # fmt: skip
        # What zipfile raises for damage of one kind or another, and for encryption.
        raise broken from None


def _root_file(container: bytes, name: str) -> str | None:
    """Where the container says the score is; None when it can't be read, as names with apostrophes make
    some of them."""
    try:
        file = next(_parsed(container, name).iter("rootfile"), None)
    except UserError:
        return None
    return None if file is None else file.get("full-path")


def _member(archive: zipfile.ZipFile, member: str, name: str) -> bytes:
    with archive.open(member) as file:
        data = file.read(MAX_BYTES + 1)  # whatever size the archive claims
    if len(data) > MAX_BYTES:
        raise UserError(
            f"{name} unpacks to more than {MAX_BYTES // 1_000_000} MB, more than a piece of music takes."
        )
    return data


def _parsed(data: bytes, name: str) -> Element:
    """The XML tree, after one pass that refuses entities and counts elements."""
    count = 0

    def element(*_: object) -> None:
        nonlocal count
        count += 1
        if count > MAX_ELEMENTS:
            raise UserError(f"{name} is too large to edit ({MAX_ELEMENTS:,} elements); split it.")

    def entity(*_: object) -> None:
        raise UserError(f"{name} defines XML entities, which no score needs; it was not opened.")

    checker = expat.ParserCreate()
    checker.StartElementHandler = element
    checker.EntityDeclHandler = entity
    try:
        checker.Parse(data, True)
        return ElementTree.fromstring(data)
    except (expat.ExpatError, ElementTree.ParseError) as error:
        line = getattr(error, "lineno", None) or error.position[0]  # type: ignore[union-attr]
        raise UserError(f"{name} is damaged XML at line {line}; export it again.") from None
    except (LookupError, ValueError):
        raise UserError(f"{name} is written in an unknown encoding; export it as UTF-8.") from None


def _partwise(root: Element) -> Element:
    """A timewise score turned round: measures of parts to parts of measures."""
    parts: dict[str, Element] = {}
    for measure in root.findall("measure"):
        for share in measure.findall("part"):
            part = parts.setdefault(share.get("id", ""), Element("part", share.attrib))
            copy = Element("measure", measure.attrib)
            copy.extend(list(share))
            part.append(copy)
    score = Element("score-partwise")
    score.extend([e for e in root if e.tag != "measure"])
    score.extend(parts.values())
    return score


# --- the elements --------------------------------------------------------------------------------


def _text(element: Element, path: str, default: str = "") -> str:
    text = element.findtext(path) or default
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:200]


def _number(element: Element | None, path: str, where: str, default: str | None = None) -> Fraction:
    text = (element.findtext(path) if element is not None else None) or default or ""
    if not _NUMBER.fullmatch(text.strip()):
        raise UserError(f"{where} has {text.strip()[:30]!r} for its {path}; export it again.")
    return Fraction(text.strip())


def _whole(element: Element, path: str, low: int, high: int, default: int) -> int:
    """A whole number that only decorates (a program, a channel): the default when it is nonsense."""
    text = (element.findtext(path) or "").strip()
    number = round(Fraction(text)) if _NUMBER.fullmatch(text) else default
    return number if low <= number <= high else default


def _volume(about: Element) -> int:
    """The MIDI volume of a part that says it in percent; 100 when it says none."""
    text = (about.findtext("midi-instrument/volume") or "").strip()
    percent = Fraction(text) if _NUMBER.fullmatch(text) else Fraction(-1)
    return round(percent * 127 / 100) if 0 <= percent <= 100 else 100


def _parts(root: Element, name: str) -> list[_Part]:
    listed = {p.get("id"): p for p in root.iterfind("part-list/score-part")}
    parts: list[_Part] = []
    free = [c for c in range(16) if c != 9]
    for number, element in enumerate(root.findall("part")):
        about = listed.get(element.get("id"))
        about = Element("score-part") if about is None else about
        unpitched = {
            i.get("id", ""): _whole(i, "midi-unpitched", 1, 128, 39) - 1
            for i in about.findall("midi-instrument")
            if i.find("midi-unpitched") is not None
        }
        part = _Part(
            _text(about, "part-name") or f"Part {number + 1}",
            _whole(about, "midi-instrument/midi-channel", 1, 16, free[number % 15] + 1) - 1,
            _whole(about, "midi-instrument/midi-program", 1, 128, 1) - 1,
            _volume(about),
            unpitched,
        )
        for index, measure in enumerate(element.findall("measure")):
            where = f"{name}, {part.name}, measure {measure.get('number', str(index + 1))[:10]},"
            part.measures.append(_measure(measure, part, where))
        parts.append(part)
    names = Counter(part.name for part in parts)
    seen: Counter[str] = Counter()
    for part in parts:
        seen[part.name] += 1
        if names[part.name] > 1:
            part.name = f"{part.name} {seen[part.name]}"
    return parts


def _measure(element: Element, part: _Part, where: str) -> _Measure:
    measure = _Measure()
    now = onset = Fraction(0)
    for child in element:
        match child.tag:
            case "note":
                if child.find("grace") is not None:
                    continue
                length = _number(child, "duration", where) / part.divisions
                if length < 0:
                    raise UserError(f"{where} has a note of negative length; export it again.")
                if child.find("chord") is None:
                    onset = now
                    now += length
                if child.find("rest") is None and child.find("cue") is None:
                    _note(child, part, measure, onset, length, where)
            case "backup" | "forward":
                length = _number(child, "duration", where) / part.divisions
                now = max(now - length, Fraction(0)) if child.tag == "backup" else now + length
            case "attributes":
                _attributes(child, part, measure, now, where)
            case "direction" | "sound":
                _tempo(child, part, measure, now, where)
        measure.length = max(measure.length, now)
    if measure.length > MAX_QUARTERS:
        raise UserError(f"{where} is longer than {MAX_QUARTERS:,} beats; export it again.")
    return measure


def _note(
    child: Element, part: _Part, measure: _Measure, onset: Fraction, length: Fraction, where: str
) -> None:
    pitch_element = child.find("pitch")
    if pitch_element is not None:
        step = (pitch_element.findtext("step") or "").strip()
        if step not in _STEPS:
            raise UserError(f"{where} has a note called {step[:10]!r}; export it again.")
        octave = _number(pitch_element, "octave", where)
        alter = _number(pitch_element, "alter", where, "0")
        pitch = round(12 * (octave + 1) + _STEPS[step] + alter) + part.transpose
        if not 0 <= pitch <= 127:
            raise UserError(f"{where} has a note beyond MIDI's 0 to 127; transpose it.")
    else:
        instrument = child.find("instrument")
        key = instrument.get("id", "") if instrument is not None else ""
        pitch = part.unpitched.get(key, 38)
    loud = child.get("dynamics", "")
    velocity = DEFAULT_VELOCITY
    if _NUMBER.fullmatch(loud):
        velocity = min(max(round(Fraction(loud) * FORTE / 100), 1), 127)
    ties = {t.get("type") for t in child.findall("tie")}
    ties |= {t.get("type") for t in child.findall("notations/tied")}
    staff = (child.findtext("staff") or "1").strip()
    line = (int(staff) if staff.isdecimal() and len(staff) < 4 else 1, _text(child, "voice", "1"))
    if length:
        note = _Note(onset, length, pitch, velocity, line, "stop" in ties, "start" in ties)
        measure.notes.append(note)
        measure.sounding = max(measure.sounding, onset + length)
    if child.find("notations/fermata") is not None:
        measure.fermatas.append(onset)


def _attributes(child: Element, part: _Part, measure: _Measure, now: Fraction, where: str) -> None:
    if child.find("divisions") is not None:
        divisions = _number(child, "divisions", where)
        if divisions < 1 or divisions.denominator != 1:
            raise UserError(f"{where} has {divisions} divisions; export it again.")
        part.divisions = int(divisions)
    transpose = child.find("transpose")
    if transpose is not None:
        octaves = _number(transpose, "octave-change", where, "0")
        part.transpose = round(_number(transpose, "chromatic", where, "0") + 12 * octaves)
    for key in child.findall("key")[:1]:
        fifths = _whole(key, "fifths", -7, 7, 0)
        if part.transpose % 12:  # a transposing part's signature is as written
            fifths = (fifths + 7 * part.transpose + 5) % 12 - 5
        measure.keys.append((now, fifths, _text(key, "mode") == "minor"))
    for time in child.findall("time")[:1]:
        beats = [b.text or "" for b in time.findall("beats")]
        types = [b.text or "" for b in time.findall("beat-type")]
        if not beats or len(beats) != len(types):
            return  # without metre (senza misura)
        if not all(re.fullmatch(r"\s*\d{1,3}(\s*\+\s*\d{1,3})*\s*", b) for b in beats) or not all(
            t.strip() in ("1", "2", "4", "8", "16", "32", "64") for t in types
        ):
            raise UserError(f"{where} has a metre that can't be read; export it again.")
        unit = max(int(t) for t in types)
        total = sum(
            sum(map(int, b.split("+"))) * unit // int(t) for b, t in zip(beats, types, strict=True)
        )
        if not 1 <= total <= 255:
            raise UserError(f"{where} has a metre of {total} beats; export it again.")
        measure.metre = (total, unit)


def _tempo(child: Element, part: _Part, measure: _Measure, now: Fraction, where: str) -> None:
    """The tempo a direction sounds or, when it sounds none, shows; nonsense counts as none."""
    sound = child if child.tag == "sound" else child.find("sound")
    at = now + _number(child, "offset", where, "0") / part.divisions
    text = sound.get("tempo", "") if sound is not None else ""
    bpm = Fraction(text) if _NUMBER.fullmatch(text) else Fraction(0)
    mark = child.find("direction-type/metronome")
    if not bpm and mark is not None:
        unit = _UNITS.get((mark.findtext("beat-unit") or "").strip())
        rate = _NUMBER.search(mark.findtext("per-minute") or "")
        if unit is not None and rate is not None:
            bpm = (
                Fraction(rate.group())
                * unit
                * (2 - Fraction(1, 2 ** len(mark.findall("beat-unit-dot"))))
            )
    if 1 <= bpm <= 10_000:
        measure.tempos.append((max(at, Fraction(0)), float(bpm)))


# --- the score -----------------------------------------------------------------------------------


def _score(parts: list[_Part], title: str, name: str) -> Score:
    count = max((len(part.measures) for part in parts), default=0)
    columns = [[p.measures[i] for p in parts if i < len(p.measures)] for i in range(count)]
    starts, meter = _bars(columns)
    if starts and starts[-1] > MAX_QUARTERS:
        raise UserError(f"{name} is longer than {MAX_QUARTERS:,} beats; split it.")
    tempos: dict[int, int] = {}
    keys: dict[int, Key] = {}
    fermatas: set[int] = set()
    for start, column in zip(starts, columns, strict=True):
        for measure in column:
            for offset, bpm in measure.tempos:
                tempos.setdefault(_tick(start + offset), round(60e6 / bpm))
            for offset, fifths, minor in measure.keys:
                keys.setdefault(_tick(start + offset), Key(_tick(start + offset), fifths, minor))
            fermatas.update(_tick(start + offset) for offset in measure.fermatas)
    return Score(
        tracks=tuple(_tracks(parts, starts)),
        tempo=TempoMap(np.array(list(tempos), np.int64), np.array(list(tempos.values()), np.int64)),
        meter=meter,
        keys=tuple(keys[tick] for tick in sorted(keys)),
        fermatas=tuple(sorted(fermatas)),
        title=title,
    )


def _tick(quarters: Fraction) -> int:
    return round(quarters * PPQ)


def _bars(columns: list[list[_Measure]]) -> tuple[list[Fraction], MeterMap]:
    """Where each measure starts, in quarters, and the metre that has a barline at each that is a bar.

    A measure is as long as the longest part of it. Two that make one bar together (a repeat divides it)
    are one; any other that is not full is cut short by a change of metre.
    """
    starts: list[Fraction] = []
    changes: list[tuple[int, int, int]] = []
    now = Fraction(0)
    metre, pickup = (4, 4), 0
    filled = full = Fraction(0)  # of the bar that is open
    for index, column in enumerate(columns):
        starts.append(now)
        named = next((m.metre for m in column if m.metre is not None), None)
        metre_before, metre = metre, named or metre
        bar = Fraction(4 * metre[0], metre[1])
        # Rests of a whole bar are often written with the length of a whole note, whatever the metre.
        length = max((max(m.sounding, min(m.length, bar)) for m in column), default=bar) or bar
        if index == 0:
            changes.append((0, *metre))
            if length < bar:
                pickup = _tick(length)
                filled, full = Fraction(0), Fraction(0)
            else:
                filled, full = length, bar
        else:
            if metre == metre_before and 0 < filled < full and filled + length == full:
                filled = full
            else:
                if metre != metre_before or (full and filled != full):
                    changes.append((_tick(now), *metre))
                filled, full = length, bar
        now += length
    rows = np.array(changes, np.int64).reshape(-1, 3)
    return starts, MeterMap(rows[:, 0], rows[:, 1], rows[:, 2], pickup)


def _tracks(parts: list[_Part], starts: list[Fraction]) -> list[Track]:
    lines = [_lines(part) for part in parts]
    several = [_is_choral(part, found) for part, found in zip(parts, lines, strict=True)]
    choir = sum(len(found) for found in lines) == 4 and any(several)
    tracks: list[Track] = []
    next_id = 0
    for part, found, apart in zip(parts, lines, several, strict=True):
        groups: list[list[Line]] = [[line] for line in found] if apart else [found]
        for n, group in enumerate(groups):
            notes = _merged(part, group, starts, next_id)
            next_id += len(notes)
            name = f"{part.name} {n + 1}" if len(groups) > 1 else part.name
            if choir:
                name = ("Soprano", "Alto", "Tenor", "Bass")[len(tracks)]
            channel = part.channel
            if n and channel != 9:
                used = {t.channel for t in tracks} | {p.channel for p in parts}
                channel = next((c for c in range(16) if c != 9 and c not in used), channel)
            tracks.append(
                Track(
                    len(tracks),
                    name,
                    notes,
                    channel=channel,
                    program=part.program,
                    volume=part.volume,
                )
            )
    return tracks


def _lines(part: _Part) -> list[Line]:
    """The part's voices from the top staff down, at least one."""
    found = {note.line for measure in part.measures for note in measure.notes}
    order = sorted(found, key=lambda line: (line[0], len(line[1]), line[1]))
    return order or [(1, "1")]


def _is_choral(part: _Part, lines: list[Line]) -> bool:
    """Whether each of several voices sings one note at a time through nearly all the piece."""
    if len(lines) < 2 or part.unpitched:
        return False
    present: Counter[Line] = Counter()
    sounding = 0
    for measure in part.measures:
        at = {(note.line, note.offset) for note in measure.notes}
        if len(at) < len(measure.notes):
            return False  # a chord
        here = {note.line for note in measure.notes}
        sounding += bool(here)
        present.update(here)
    return all(present[line] >= 0.8 * sounding for line in lines)


def _merged(part: _Part, lines: list[Line], starts: list[Fraction], first_id: int) -> Notes:
    """The notes of these voices, tied ones joined, at ticks."""
    voices = {line: n for n, line in enumerate(lines)}
    onset: list[int] = []
    end: list[int] = []
    rest: list[tuple[int, int, int]] = []
    waiting: defaultdict[tuple[int, int], list[int]] = defaultdict(list)  # pitch, end → its note
    for start, measure in zip(starts, part.measures, strict=False):
        for note in sorted(measure.notes, key=lambda n: n.offset):
            if note.line not in voices:
                continue
            begin, stop = start + note.offset, start + note.offset + note.length
            a, b = _tick(begin), _tick(stop)
            voice = voices[note.line]
            open_here = waiting[note.pitch, a]
            # The one in the same voice; a tie may also cross from voice to voice, but only when this
            # end of it says so as well, for some programs write no more than where ties begin.
            same = [i for i in open_here if rest[i][2] == voice]
            if same or (open_here and note.tied_from):
                index = (same or open_here)[0]
                open_here.remove(index)
                end[index] = b
            else:
                index = len(onset)
                onset.append(a)
                end.append(max(b, a + 1))
                rest.append((note.pitch, note.velocity, min(voice, 255)))
            if note.tied_to:
                waiting[note.pitch, b].append(index)
    columns = np.array(rest, np.int64).reshape(-1, 3)
    o = np.array(onset, np.int64)
    length = np.maximum(np.array(end, np.int64) - o, 1)
    return Notes.of(o, length, columns[:, 0], columns[:, 1], voice=columns[:, 2], first_id=first_id)

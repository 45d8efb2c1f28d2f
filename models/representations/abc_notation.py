"""ABC notation (version 2.1 of the standard): what the text of a tune says, line after line of music.

Sound is all that is read: slurs, ornaments, grace notes, chord symbols and words are passed over.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cache

from models.score import UserError

REST = -1
"""The pitch of a silence."""
ONE = Fraction(1)
MODES = {"maj": 0, "ion": 0, "lyd": 1, "mix": -1, "dor": -2, "min": -3, "m": -3, "aeo": -3, "phr": -4,
         "loc": -5}  # fmt: skip
"""Sharps of a mode more than of major on the same tonic."""
LONGEST = 64
"""Whole notes in one note or rest; more is a slip of the pen."""
_NAMES = "FCGDAEB"
_STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_ALTER = {"": None, "=": 0, "^": 1, "^^": 2, "_": -1, "__": -2}

_FIELD = re.compile(r"([A-Za-z+]):(?![|:])")
_LENGTH = r"(?P<{0}>\d{{0,4}}(?:/\d{{1,4}}|/{{0,6}}))"
_NOTE = re.compile(r"(\^\^|\^|__|_|=|)([A-Ga-g])([,']{0,9})" + _LENGTH.format("length"))
_MUSIC = re.compile(
    rf"""(?P<space>[\s`\\)*$;?@y]+|\((?![2-9])) | (?P<mark>![^!|]*!|\+[^+|]*\+|"[^"]*"|\{{[^}}]*\}}|[.~H-Wh-w])
      | (?P<bar>\.?(?:\[\|[]:|]*|\|[|\]:]*|:+\|[|\]:]*|::+)) (?:\ *\[?(?P<ending>[1-9][\d,.-]*))?
      | \[(?P<again>[1-9][\d,.-]*) | \[(?P<field>[A-Za-z]):(?P<said>[^]]*)\]
      | \[(?P<chord>[^]|]*)\]{_LENGTH.format("spread")}
      | (?P<rest>[zxZX]){_LENGTH.format("silent")}
      | (?P<note>(?:\^\^|\^|__|_|=|)[A-Ga-g][,']{{0,9}}\d{{0,4}}(?:/\d{{1,4}}|/{{0,6}}))
      | \((?P<tuplet>[2-9])(?::(?P<time>\d?))?(?::(?P<over>\d?))? | (?P<broken><{{1,3}}|>{{1,3}})
      | (?P<tie>-) | (?P<overlay>&[^|]*) """,
    re.VERBOSE,
)  # fmt: skip


@dataclass(frozen=True)
class Note:
    """A note, a chord (`pitch` is its highest note, `below` has the others) or a rest.

    pitch is as in MIDI, or REST. fifths is the note's name on the line of fifths: F −1, C 0, G 1 …, a
    sharp 7 more. length is how long it sounds and `written` what is written inside a tuplet, in whole
    notes. A tuplet of `tuplet` notes in the time of `time` begins here unless it is 0. tied: it is held
    into the next; of a chord `held` are the pitches that are.
    """

    pitch: int
    fifths: int
    length: Fraction
    written: Fraction
    tuplet: int = 0
    time: int = 0
    tied: bool = False
    below: tuple[int, ...] = ()
    held: tuple[int, ...] = ()


@dataclass(frozen=True)
class Bar:
    """A barline: whether it closes or opens a repeat, the passes of the repeat in which what follows is
    played (all when empty), and whether it is a double one."""

    closes: bool = False
    opens: bool = False
    ending: tuple[int, ...] = ()
    double: bool = False


@dataclass(frozen=True)
class Meter:
    """A time signature."""

    numerator: int
    denominator: int


@dataclass(frozen=True)
class Key:
    """A key: its tonic on the line of fifths and the first three letters of its mode."""

    tonic: int
    mode: str

    @property
    def sharps(self) -> int:
        """Of the signature, flats negative."""
        return self.tonic + MODES[self.mode]


@dataclass(frozen=True)
class Tempo:
    """Quarter notes a minute."""

    bpm: float


Element = Note | Bar | Meter | Key | Tempo


@dataclass
class Voice:
    """One line of a tune."""

    name: str
    elements: list[Element] = field(default_factory=list)


@dataclass(frozen=True)
class Sheet:
    """A tune. Metre, key and tempo at the head are the first elements of every voice."""

    title: str
    voices: tuple[Voice, ...]


@dataclass
class _Pen:
    """Where the reading of a voice stands."""

    voice: Voice
    unit: Fraction
    meter: Meter
    signature: dict[str, int]
    marks: dict[str, int] = field(default_factory=dict)
    sung: dict[str, int] = field(default_factory=dict)  # alterations of the last note
    tied: dict[str, int] = field(default_factory=dict)  # those that a tie takes over a barline
    left: int = 0
    ratio: Fraction = ONE
    tuplet: tuple[int, int] = (0, 0)
    broken: Fraction = ONE


def cut(text: str) -> list[tuple[int, str]]:
    """The tunes of a file, each with the number of its first line: they begin with lines "X:"."""
    lines = text.splitlines()
    starts = [i for i, line in enumerate(lines) if line.startswith("X:")]
    bounds = [*starts, len(lines)]
    return [(a + 1, "\n".join(lines[a:b])) for a, b in itertools.pairwise(bounds)]


def parse(text: str, name: str, first_line: int = 1) -> Sheet:
    """The tune in `text`, whose first line has that number in a file called `name`.

    UserError, which names the line, for what is no ABC.
    """
    title, meter, unit, tempo = "", Meter(4, 4), None, None
    voices: dict[str, Voice] = {}
    pens: dict[str, _Pen] = {}
    pen: _Pen | None = None
    head: list[Element] = []
    for number, raw in enumerate(text.splitlines(), first_line):
        where = f"{name}, line {number},"
        line = re.split(r"(?<!\\)%", raw, maxsplit=1)[0].replace("\\%", "%").strip()
        if not line:
            if pen is not None and not raw.strip() and any(v.elements for v in voices.values()):
                break  # an empty line ends a tune
            continue
        said = _FIELD.match(line) if pen else re.match(r"([A-Za-z+]):", line)
        if said is None:
            if pen is None:
                raise UserError(f"{where} is music before any key; write a line K: first.")
            _music(line, pen, where)
            continue
        letter, value = said[1], line[2:].strip()
        if pen is None:
            if letter == "T":
                title = title or value
            elif letter == "M":
                meter = _meter(value, where)
            elif letter == "L":
                unit = _fraction(value, where)
            elif letter == "Q":
                tempo = value
            elif letter == "V":
                key_of = value.split()[0] if value.split() else "1"
                voices.setdefault(key_of, Voice(_called(value, key_of)))
            elif letter == "K":
                if unit is None:
                    unit = Fraction(1, 16 if 4 * meter.numerator < 3 * meter.denominator else 8)
                key = _key(value, where)
                head = [meter, key]
                if tempo is not None and (bpm := _tempo(tempo, unit)):
                    head.append(Tempo(bpm))
                if not voices:
                    voices["1"] = Voice("")
                for label, voice in voices.items():
                    voice.elements.extend(head)
                    pens[label] = _Pen(voice, unit, meter, _signature(key, value))
                pen = next(iter(pens.values()))
        else:
            pen = _said(letter, value, pen, pens, voices, head, where)
    if pen is None:
        raise UserError(f"{name}, line {first_line}: the tune has no key; write a line K:.")
    return Sheet(title, tuple(voices.values()))


def _sounds(element: Element) -> bool:
    return isinstance(element, Note) and element.pitch != REST


def _called(value: str, label: str) -> str:
    named = re.search(r'\b(?:name|nm)\s*=\s*(?:"([^"]*)"|(\S+))', value)
    return (named[1] or named[2] or label) if named else label


def _said(
    letter: str,
    value: str,
    pen: _Pen,
    pens: dict[str, _Pen],
    voices: dict[str, Voice],
    head: Sequence[Element],
    where: str,
) -> _Pen:
    """What an information field among the music changes; the pen that goes on."""
    elements = pen.voice.elements
    if letter == "M":
        pen.meter = _meter(value, where)
        elements.append(pen.meter)
    elif letter == "L":
        pen.unit = _fraction(value, where)
    elif letter == "K":
        if re.match(r"[A-GHn]", value):  # else it names a clef alone
            key = _key(value, where)
            pen.signature = _signature(key, value)
            elements.append(key)
    elif letter == "Q":
        if bpm := _tempo(value, pen.unit):
            elements.append(Tempo(bpm))
    elif letter == "V":
        label = value.split()[0] if value.split() else "1"
        if label not in pens:
            first = next(iter(pens.values()))
            if "1" in pens and not pens["1"].voice.name and not any(map(_sounds, elements)):
                del pens["1"], voices["1"]  # nothing was written before the first voice was named
            voices[label] = Voice(_called(value, label), list(head))
            key = next(e for e in head if isinstance(e, Key))
            pens[label] = _Pen(voices[label], first.unit, first.meter, _signature(key, ""))
        return pens[label]
    return pen


def _meter(value: str, where: str) -> Meter:
    value = value.split()[0] if value else ""
    if value in ("C", "C|"):
        return Meter(4, 4) if value == "C" else Meter(2, 2)
    if value.lower() in ("none", ""):
        return Meter(4, 4)
    found = re.fullmatch(r"\(?(\d{1,3}(?:\+\d{1,3})*)\)?/(\d{1,2})", value)
    numerator = sum(map(int, found[1].split("+"))) if found else 0
    if not found or not 0 < numerator < 256 or int(found[2]) not in (1, 2, 4, 8, 16, 32, 64):
        raise UserError(f"{where} has the metre {value[:20]!r}; write one like M:6/8.")
    return Meter(numerator, int(found[2]))


def _fraction(value: str, where: str) -> Fraction:
    found = re.match(r"(\d{1,3})(?:/(\d{1,3}))?", value)
    if not found or not int(found[1]) or found[2] == "0":
        raise UserError(f"{where} has the unit {value[:20]!r}; write one like L:1/8.")
    return Fraction(int(found[1]), int(found[2] or 1))


def _tempo(value: str, unit: Fraction) -> float | None:
    """Quarter notes a minute; None when only words are said."""
    value = re.sub(r'"[^"]*"', "", value)
    found = re.search(r"([\d/ ]*?)=?\s*(\d{1,4}(?:\.\d+)?)\s*$", value.strip())
    if not found or ("." not in found[2] and not int(found[2])):
        return None
    beats = [
        Fraction(int(a), int(b)) for a, b in re.findall(r"(\d{1,3})/(\d{1,3})", found[1]) if int(b)
    ]
    whole = sum(beats, Fraction(0)) or unit
    bpm = float(whole) * 4 * float(found[2])
    return bpm if 5 <= bpm <= 2000 else None


def _key(value: str, where: str) -> Key:
    if value.startswith(("HP", "Hp")):
        return Key(3, "mix")
    if not value or value.lower().startswith("none") or "=" in value.split()[0]:
        return Key(0, "maj")
    found = re.match(r"([A-G])([#b]?)\s*([A-Za-z]*)", value)
    mode = "maj"
    if found:
        word = found[3].lower()
        mode = "min" if word == "m" else word[:3] if word[:3] in MODES else "maj"
        mode = {"ion": "maj", "aeo": "min"}.get(mode, mode)
    tonic = _NAMES.index(found[1]) - 1 + {"#": 7, "b": -7, "": 0}[found[2]] if found else 0
    if not found or not -7 <= tonic + MODES[mode] <= 7:
        raise UserError(f"{where} has the key {value[:20]!r}; write one like K:G or K:Ador.")
    return Key(tonic, mode)


def _signature(key: Key, value: str) -> dict[str, int]:
    """Letter → alteration, with those that are written after the key."""
    table = {n: (key.sharps + 6 - i) // 7 for i, n in enumerate(_NAMES)}
    for mark, letter in re.findall(r"(?<=[\s=^_A-Za-z])(\^|_|=)([A-Ga-g])(?![A-Za-z])", value):
        table[letter.upper()] = _ALTER[mark] or 0
    return table


@cache
def _length(text: str) -> Fraction:
    number, slash, below = text.partition("/")
    if not slash:
        return Fraction(int(number or 1))
    halves = below.strip("/")
    return Fraction(int(number or 1), (int(halves) or 1) if halves else 2 ** text.count("/"))


def _passes(text: str | None) -> tuple[int, ...]:
    found: list[int] = []
    for first, last in re.findall(r"(\d{1,2})(?:-(\d{1,2}))?", text or ""):
        found.extend(range(int(first), min(int(last or first), int(first) + 9) + 1))
    return tuple(found)


def _music(line: str, pen: _Pen, where: str) -> None:
    """Reads one line of music."""
    at = 0
    elements = pen.voice.elements
    while at < len(line):
        found = _MUSIC.match(line, at)
        if found is None or found.end() == at:
            raise UserError(
                f"{where} has {line[at]!r} where a note or a barline could be; mend it."
            )
        at = found.end()
        match found.lastgroup:
            case "bar" | "ending":
                sign = found["bar"]
                ending = _passes(found["ending"])
                double = "||" in sign or "]" in sign or "[" in sign
                elements.append(Bar(sign[0] == ":", sign[-1] == ":", ending, double))
                before = next((e for e in reversed(elements) if isinstance(e, Note)), None)
                pen.tied = dict(pen.sung) if before is not None and before.tied else {}
                pen.marks = {}
            case "again":
                elements.append(Bar(ending=_passes(found["again"])))
            case "said" | "field":
                if found["field"] != "V":  # a voice that begins inside a line is taken as it comes
                    _said(found["field"], found["said"].strip(), pen, {}, {}, (), where)
            case "tuplet" | "time" | "over":
                notes = int(found["tuplet"])
                compound = pen.meter.numerator % 3 == 0 and pen.meter.denominator >= 8
                usual = {3: 2, 6: 2, 2: 3, 4: 3, 8: 3}.get(notes, 3 if compound else 2)
                time = int(found["time"] or usual) or usual
                pen.left = int(found["over"] or notes) or notes
                pen.ratio, pen.tuplet = Fraction(time, notes), (notes, time)
            case "broken":
                _break(found["broken"], pen)
            case "tie":
                last = elements[-1] if elements else None
                if isinstance(last, Note) and last.pitch != REST:
                    every = (last.pitch, *last.below)
                    elements[-1] = replace(last, tied=True, held=every if last.below else ())
            case "note" | "chord" | "spread":
                _sound(found, pen, where)
            case "rest" | "silent":
                _silence(found, pen, where)


def _break(sign: str, pen: _Pen) -> None:
    """A broken rhythm: the note before takes from the one after it, or gives to it."""
    elements = pen.voice.elements
    share = Fraction(1, 2 ** len(sign))
    first, second = (2 - share, share) if sign[0] == ">" else (share, 2 - share)
    if elements and isinstance(last := elements[-1], Note):
        elements[-1] = replace(last, length=last.length * first, written=last.written * first)
        pen.broken = second


def _timed(length: Fraction, pen: _Pen, where: str) -> tuple[Fraction, Fraction, int, int]:
    """What is written, how long it sounds, and the tuplet that begins."""
    # Fractions are slow, and most notes are in no tuplet and no broken rhythm.
    written = length * pen.unit
    if pen.broken is not ONE:
        written, pen.broken = written * pen.broken, ONE
    if not 0 < written.numerator <= LONGEST * written.denominator:
        raise UserError(f"{where} has a note of no length or too long; write one like c2 or c/2.")
    tuplet, time = pen.tuplet
    pen.tuplet = (0, 0)
    sounds = written * pen.ratio if pen.left else written
    pen.left = max(pen.left - 1, 0)
    return sounds, written, tuplet, time


def _sound(found: re.Match[str], pen: _Pen, where: str) -> None:
    text, spread = found["note"], ONE
    if text is None:
        text, spread = found["chord"], _length(found["spread"])
    found_notes = list(_NOTE.finditer(text))
    if not found_notes:
        raise UserError(f"{where} has '[{text[:20]}]', which is no chord; mend it.")
    pitches: list[tuple[int, int]] = []
    held: list[int] = []
    pen.sung = {}
    for each in found_notes:
        mark, step, octave = each[1], each[2], each[3]
        letter = step.upper()
        place = letter + str(_octave(step, octave))
        alter = _ALTER[mark]
        if alter is not None:
            pen.marks[place] = alter
        else:
            alter = pen.tied.get(place, pen.marks.get(place, pen.signature[letter]))
        pen.sung[place] = alter
        pitch = 12 * (_octave(step, octave) + 1) + _STEPS[letter] + alter
        if not 0 <= pitch <= 127:
            raise UserError(
                f"{where} has a note beyond MIDI's 0 to 127; write it an octave nearer."
            )
        pitches.append((pitch, _NAMES.index(letter) - 1 + 7 * alter))
        if text[each.end() : each.end() + 1] == "-":
            held.append(pitch)
    pen.tied = {}
    length = _length(found_notes[0]["length"])
    sounds, written, tuplet, time = _timed(length if spread is ONE else length * spread, pen, where)
    pitch, fifths = max(pitches)
    below = tuple(sorted({p for p, _ in pitches} - {pitch}))
    note = Note(pitch, fifths, sounds, written, tuplet, time, bool(held), below, tuple(held))
    pen.voice.elements.append(note)


def _octave(step: str, marks: str) -> int:
    return (4 if step.isupper() else 5) + marks.count("'") - marks.count(",")


def _silence(found: re.Match[str], pen: _Pen, where: str) -> None:
    length = _length(found["silent"])
    if found["rest"] in "zx":
        sounds, written, tuplet, time = _timed(length, pen, where)
        pen.voice.elements.append(Note(REST, 0, sounds, written, tuplet, time))
        return
    whole = Fraction(pen.meter.numerator, pen.meter.denominator)
    if not 1 <= length <= 999:
        raise UserError(f"{where} has a rest of no bars or too many; write one like Z4.")
    for k in range(int(length)):
        pen.voice.elements.extend([Bar()] * (k > 0))
        pen.voice.elements.append(Note(REST, 0, whole, whole))


@dataclass(frozen=True)
class Part:
    """A stretch of a tune, and what follows its body in each pass through it."""

    body: tuple[Element, ...]
    endings: tuple[tuple[Element, ...], ...] = ((),)

    def once(self) -> tuple[Element, ...]:
        """With its last ending only."""
        return (*self.body, *self.endings[-1])

    def whole(self) -> tuple[Element, ...]:
        """With its repeats."""
        return tuple(e for ending in self.endings for e in (*self.body, *ending))


def parts(elements: Sequence[Element]) -> list[Part]:
    """The parts of a voice. A sign that closes a repeat nothing opens goes back to the last double bar, the
    last repeat or the beginning."""
    found: list[Part] = []
    body: list[Element] = []
    endings: list[tuple[tuple[int, ...], list[Element]]] = []
    opened = False

    def finish(repeated: bool) -> None:
        nonlocal body, endings, opened
        if body or endings:
            passes = max([2 if repeated else 1, *(n for p, _ in endings for n in p)])
            after = {n: tuple(e) for p, e in endings for n in p}
            # A pass that no ending is for takes the last.
            last = tuple(endings[-1][1]) if endings else ()
            found.append(Part(tuple(body), tuple(after.get(n, last) for n in range(1, passes + 1))))
        body, endings, opened = [], [], False

    for e in elements:
        (endings[-1][1] if endings else body).append(e)
        if not isinstance(e, Bar):
            continue
        if endings and e.ending and max(e.ending) > 1:
            endings.append((e.ending, []))
        elif e.closes:
            finish(True)
            opened = e.opens
        elif e.opens:
            finish(False)
            opened = True
        elif e.ending:
            endings.append((e.ending, []))
        elif e.double and (endings or not opened):
            finish(False)
    finish(False)
    return [p for p in found if not all(isinstance(e, Bar) for e in p.whole())]


def played(elements: Sequence[Element], repeats: bool = True) -> Iterator[Element]:
    """The elements in the order in which they sound, with or without repeats."""
    for part in parts(elements):
        yield from part.whole() if repeats else part.once()

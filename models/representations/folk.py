"""Folk: a tune as the words of folk-rnn's second version (Sturm et al. 2016): a metre, a mode on C, then
barlines, signs of repeat, pitches, durations, triplets, rests and ties.

    M:6/8 K:Cmaj |: =G | =c 2 =c =c =d =e | … :| |: … :|

A pitch always says its accidental; a duration follows it, in eighths, where it is not one.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from models.representations import abc_notation
from models.representations.abc_notation import (
    REST,
    Bar,
    Element,
    Key,
    Meter,
    Note,
    Part,
    parts,
)
from models.timebase import PPQ

Column = npt.NDArray[np.int64]

EIGHTH = PPQ // 2
WHOLE = 4 * PPQ
LOWEST, HIGHEST = 53, 93
"""Pitches that have words; F below the fiddle's lowest string to the highest A of its first position."""
CENTRE = 70
"""Tunes are moved by octaves to where their mean pitch is nearest to this, as fiddle tunes are."""
METRES: dict[str, tuple[int, int]] = {
    "4/4": (4, 4), "2/2": (2, 2), "6/8": (6, 8), "2/4": (2, 4), "3/4": (3, 4), "9/8": (9, 8),
    "3/8": (3, 8),
}  # fmt: skip
MODES = ("maj", "min", "dor", "mix")
MODE_SHARPS = {mode: abc_notation.MODES[mode] for mode in MODES}
"""Sharps of a mode more than of major on the same tonic."""
_NATURAL = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_LINE = "FCGDAEB"
_NAMED = range(-6, 11)
"""Names that are used, on the line of fifths: from _G to ^A."""
LENGTHS: dict[str, int] = {
    "/8": 60, "/4": 120, "3/8": 180, "/2": 240, "3/4": 360, "": 480, "3/2": 720, "7/4": 840, "2": 960,
    "3": 1440, "7/2": 1680, "4": 1920, "6": 2880, "8": 3840,
}  # fmt: skip
"""Ticks of the durations there are words for, and of no word."""


def _pitches() -> dict[str, tuple[int, int]]:
    """Word → pitch and place on the line of fifths."""
    found: dict[str, tuple[int, int]] = {}
    for fifths in _NAMED:
        letter, alter = _LINE[(fifths + 1) % 7], (fifths + 1) // 7
        for octave in range(2, 7):
            pitch = 12 * (octave + 1) + _NATURAL[letter] + alter
            if LOWEST <= pitch <= HIGHEST:
                mark = {-1: "_", 0: "=", 1: "^"}[alter]
                name = letter if octave < 5 else letter.lower()
                found[mark + name + "," * (4 - octave) + "'" * (octave - 5)] = (pitch, fifths)
    return dict(sorted(found.items(), key=lambda item: item[1]))


PITCHES = _pitches()
WORDS: tuple[str, ...] = (
    "</s>", *(f"M:{m}" for m in METRES), *(f"K:C{m}" for m in MODES), "|", "|:", ":|", "|1", "|2",
    "(3", "-", "z", *(w for w in LENGTHS if w), *PITCHES,
)  # fmt: skip
"""Every word; the first one ends a tune."""
NUMBER = {word: i for i, word in enumerate(WORDS)}
END = 0
_BARS = {"|": Bar(), "|:": Bar(opens=True), ":|": Bar(closes=True), "|1": Bar(ending=(1,)),
         "|2": Bar(ending=(2,))}  # fmt: skip
_MOST = 8
"""Bars that do not add up, of a tune that is to be learnt from."""
_PITCH_OF = np.full(len(WORDS), -2)
for _word, (_pitch, _) in PITCHES.items():
    _PITCH_OF[NUMBER[_word]] = _pitch
_PITCH_OF[NUMBER["z"]] = REST
_LENGTH_OF = {NUMBER[word]: Fraction(ticks, 4 * PPQ) for word, ticks in LENGTHS.items() if word}
"""What words of durations say, in whole notes."""


class Unwritable(ValueError):
    """A tune that there are no words for; the text says why."""


def numbers(words: Iterable[str]) -> Column:
    """Words as numbers."""
    return np.array([NUMBER[w] for w in words], np.int64)


def text(tokens: Iterable[int]) -> str:
    """Numbers as words."""
    return " ".join(WORDS[t] for t in tokens)


# --- from what is written to words ---------------------------------------------------------------


def of_elements(elements: Sequence[Element]) -> Column:
    """The words of a tune, END last; Unwritable when it has a metre, a mode, a duration or a range they
    lack, or changes key or metre on its way."""
    meters = {(e.numerator, e.denominator) for e in elements if isinstance(e, Meter)}
    keys = {e for e in elements if isinstance(e, Key)}
    if len(meters) != 1 or len(keys) != 1:
        raise Unwritable("change")
    metre = next((name for name, value in METRES.items() if {value} == meters), None)
    key = keys.pop()
    if metre is None:
        raise Unwritable("metre")
    if key.mode not in MODES:
        raise Unwritable("mode")
    shift = _to_c(elements, key.tonic)
    out = [f"M:{metre}", f"K:C{key.mode}"]
    for part in parts(_held([e for e in elements if isinstance(e, Note | Bar)])):
        out.extend(_of_part(part, shift, key.tonic))
    return numbers([*_tidy(out), WORDS[END]])


def _held(elements: Sequence[Element]) -> list[Element]:
    """Without the ties that lead to another pitch: slurs, by their sound."""
    out = list(elements)
    sung = [i for i, e in enumerate(out) if isinstance(e, Note)]
    for i, after in zip(sung, [*sung[1:], None], strict=True):
        e, other = out[i], out[after] if after is not None else None
        if (
            isinstance(e, Note)
            and e.tied
            and not (isinstance(other, Note) and other.pitch == e.pitch)
        ):
            out[i] = replace(e, tied=False)
    return out


def _to_c(elements: Sequence[Element], tonic: int) -> int:
    """Semitones that take a tonic to C and the tune to the octave where such tunes lie."""
    sung = [(e.pitch, float(e.length)) for e in elements if isinstance(e, Note) and e.pitch != REST]
    if not sung:
        raise Unwritable("silence")
    pitch, weight = np.array(sung).T
    shift = -7 * tonic % 12
    shift += 12 * round((CENTRE - float(np.average(pitch, weights=weight)) - shift) / 12)
    low, high = pitch.min() + shift, pitch.max() + shift
    shift += 12 * (low < LOWEST) - 12 * (high > HIGHEST)
    if pitch.min() + shift < LOWEST or pitch.max() + shift > HIGHEST:
        raise Unwritable("range")
    return int(shift)


def word_of(pitch: int, fifths: int) -> str:
    """The word of a pitch called so; by another name when it has none by that."""
    alter = 12 * (fifths < _NAMED[0]) - 12 * (fifths > _NAMED[-1])
    return _WORD[pitch, fifths + alter]


_WORD = {value: word for word, value in PITCHES.items()}
_LENGTH = {ticks: word for word, ticks in LENGTHS.items()}


def _note(note: Note, shift: int, tonic: int) -> Iterator[str]:
    if note.tuplet and (note.tuplet, note.time) != (3, 2):
        raise Unwritable("tuplet")
    if note.tuplet:
        yield "(3"
    yield "z" if note.pitch == REST else word_of(note.pitch + shift, note.fifths - tonic)
    ticks, odd = divmod(note.written.numerator * WHOLE, note.written.denominator)
    if odd or ticks not in _LENGTH:
        raise Unwritable("duration")
    if ticks != EIGHTH:
        yield _LENGTH[ticks]
    if note.tied:
        yield "-"


def _run(elements: Iterable[Element], shift: int, tonic: int) -> Iterator[str]:
    for e in elements:
        if isinstance(e, Note):
            yield from _note(e, shift, tonic)
        else:
            yield "|"


def _of_part(part: Part, shift: int, tonic: int) -> Iterator[str]:
    if len(part.endings) > 2:
        raise Unwritable("endings")
    body = list(_run(part.body, shift, tonic))
    if len(part.endings) == 1:
        yield from body
        return
    yield "|:"
    yield from body
    first, second = (list(_run(e, shift, tonic)) for e in part.endings)
    if first or second:
        yield from ("|1", *first)
    yield ":|"
    if first or second:
        yield from ("|2", *second)


def _tidy(words: Sequence[str]) -> list[str]:
    """Words with one barline where several meet, and one at the end."""
    out: list[str] = []
    for word in [*words, "|"]:
        before = out[-1] if out else ""
        if word == "|" and (before in _BARS or before.startswith("K:")):
            continue
        if before == "|" and word in _BARS:
            out.pop()
        out.append(word)
    return out


# --- from notes to words -------------------------------------------------------------------------

_SPELLED = {0: 0, 1: 7, 2: 2, 3: -3, 4: 4, 5: -1, 6: 6, 7: 1, 8: 8, 9: 3, 10: -2, 11: 5}
"""Semitones above the tonic → the usual name on the line of fifths."""
_PIECES = [t for t in sorted(LENGTHS.values(), reverse=True) if t % 120 == 0]
_THIRDS = {80: 120, 160: 240, 320: 480, 640: 960}
"""How long a note of a triplet sounds → what it is written as."""


def of_line(
    onset: Column, duration: Column, pitch: Column, barlines: Sequence[int], minor: bool
) -> list[str]:
    """Words of a line of notes (ticks, one at a time; pitches with the tonic on a C) from the first barline
    to the last, on a grid of thirty-seconds and of triplets; silences shorter than that are none."""
    out: list[str] = []
    lines = [round((b - barlines[0]) / 120) * 120 for b in barlines[1:]]
    for start, ticks, height, third in _on_grid(onset - barlines[0], duration, pitch, barlines):
        fifths = -4 if minor and height % 12 == 8 else _SPELLED[height % 12]
        word = "z" if height == REST else word_of(height, fifths)
        now, end = start, start + ticks
        if third:
            while lines and lines[0] <= now:
                lines.pop(0)
                out.append("|")
            out += ["(3"] if third == 1 else []
            out += [word, *([_LENGTH[ticks]] if ticks != EIGHTH else [])]
            continue
        while now < end:
            while lines and lines[0] <= now:
                lines.pop(0)
                out.append("|")
            room = min(end, lines[0] if lines else end) - now
            piece = next(p for p in _PIECES if p <= room)
            out += [word, *([_LENGTH[piece]] if piece != EIGHTH else [])]
            now += piece
            out += ["-"] if now < end and height != REST else []
    return [*out, *("|" for _ in lines)]


def _on_grid(
    onset: Column, duration: Column, pitch: Column, barlines: Sequence[int]
) -> Iterator[tuple[int, int, int, int]]:
    """(start, ticks, pitch or REST, 0) of notes and silences on the grid; of a triplet what is written
    instead of what sounds, and 1, 2, 3."""
    end = barlines[-1] - barlines[0]
    until = np.append(onset[1:], end)
    stop = np.where(until - onset - duration < 120, until, onset + duration)
    now = i = 0
    while i < len(onset):
        at = round(int(onset[i]) / 120) * 120
        third = _third(onset, stop, i)
        if third and at >= now and at + 2 * _THIRDS[third] <= end:
            if at > now:
                yield now, at - now, REST, 0
            for k in range(3):
                yield at, _THIRDS[third], int(pitch[i + k]), k + 1
            now, i = at + 3 * third, i + 3
            continue
        after = min(max(round(int(stop[i]) / 120) * 120, at + 120), end)
        if i + 1 < len(onset):
            after = min(after, max(round(int(onset[i + 1]) / 120) * 120, at + 120))
        at = max(at, now)
        if at > now:
            yield now, at - now, REST, 0
        if after > at:
            yield at, after - at, int(pitch[i]), 0
            now = after
        i += 1
    if end - now >= 120:
        yield now, (end - now) // 120 * 120, REST, 0


def _third(onset: Column, stop: Column, i: int) -> int:
    """How long each of three notes from the i-th on sounds if they are a triplet, else 0."""
    if i + 2 >= len(onset):
        return 0
    edges = [*(int(t) for t in onset[i : i + 3]), int(stop[i + 2])]
    for ticks in _THIRDS:
        if all(abs(b - a - ticks) <= ticks // 8 for a, b in itertools.pairwise(edges)):
            return ticks
    return 0


def mode_of(sharps: int, minor: int, last: int) -> tuple[int, str]:
    """Tonic on the line of fifths and mode of a signature; where it does not say which, by the last pitch."""
    if minor >= 0:
        return (sharps + 3, "min") if minor else (sharps, "maj")
    for mode in MODES:
        tonic = sharps - MODE_SHARPS[mode]
        if 7 * tonic % 12 == last % 12:
            return tonic, mode
    return sharps, "maj"


def of_tune(tune: Any) -> Column:
    """The words of a `models.tunes.Tune`, which has no repeats; Unwritable as in `of_elements`."""
    codes = {int(m) for m in tune.meters}
    metre = next((n for n, (a, b) in METRES.items() if {1000 * a + b} == codes), None)
    if metre is None:
        raise Unwritable("metre")
    tonic, mode = mode_of(tune.sharps, tune.minor, int(tune.pitch[-1]))
    line = [
        Note(int(p), 0, Fraction(int(d)), Fraction(1))
        for p, d in zip(tune.pitch, tune.duration, strict=True)
    ]
    shift = _to_c(line, tonic)
    words = of_line(
        tune.onset, tune.duration, tune.pitch + shift, tune.bars.tolist(), mode == "min"
    )
    return numbers([f"M:{metre}", f"K:C{mode}", *_tidy(words), WORDS[END]])


# --- from words to what is written ---------------------------------------------------------------


@dataclass(frozen=True)
class Tune:
    """What words say: metre, mode, and notes and barlines as `abc_notation.parts` takes them."""

    metre: str
    mode: str
    elements: tuple[Element, ...]

    @property
    def bar(self) -> int:
        """Ticks of a bar."""
        numerator, denominator = METRES[self.metre]
        return 4 * PPQ * numerator // denominator


def read(tokens: Iterable[int]) -> Tune:
    """The tune in some words up to END. Words in places where they mean nothing are passed over."""
    metre, mode = "4/4", "maj"
    out: list[Element] = []
    left = 0
    starts = False
    for token in tokens:
        word = WORDS[token]
        before = out[-1] if out else None
        if token == END:
            break
        if word.startswith("M:"):
            metre = word[2:]
        elif word.startswith("K:"):
            mode = word[3:]
        elif word in _BARS:
            if word == "|2" and isinstance(before, Bar) and before.closes:
                out[-1] = Bar(closes=True, ending=(2,))
            else:
                out.append(_BARS[word])
            left = 0
        elif word == "(3":
            left, starts = 3, True
        elif word == "-":
            if isinstance(before, Note):
                out[-1] = replace(before, tied=True)
        elif token in _LENGTH_OF:
            if isinstance(before, Note):
                written = _LENGTH_OF[token]
                length = _sounding(before.length, before.written, written)
                out[-1] = replace(before, length=length, written=written)
        else:
            length = _IN_THREE if left else _ALONE
            fifths = 0 if word == "z" else PITCHES[word][1]
            begins = 3 if starts else 0
            out.append(
                Note(int(_PITCH_OF[token]), fifths, length, _ALONE, begins, 2 if begins else 0)
            )
            left, starts = max(left - 1, 0), False
    return Tune(metre, mode, tuple(out))


_ALONE, _IN_THREE = Fraction(1, 8), Fraction(1, 12)


def ticks_of(note: Note) -> int:
    """How long a note sounds."""
    return (note.length.numerator * WHOLE + note.length.denominator // 2) // note.length.denominator


@lru_cache(maxsize=1024)
def _sounding(length: Fraction, written: Fraction, now: Fraction) -> Fraction:
    """How long a note sounds that is written otherwise now, inside a tuplet as outside."""
    return now * (length / written)


def rows(elements: Iterable[Element]) -> Column:
    """[N, 2] (pitch or REST, ticks) of notes in the order in which they sound, ties made one note."""
    out: list[list[int]] = []
    tied = False
    for e in elements:
        if not isinstance(e, Note):
            continue
        ticks = ticks_of(e)
        if tied and out and out[-1][0] == e.pitch:
            out[-1][1] += ticks
        else:
            out.append([e.pitch, ticks])
        tied = e.tied
    return np.array(out, np.int64).reshape(-1, 2)


def bars(elements: Iterable[Element]) -> list[tuple[int, Bar]]:
    """Ticks between barlines, and the barline after them; nothing between two signs is no bar."""
    found: list[tuple[int, Bar]] = []
    ticks = 0
    for e in elements:
        if isinstance(e, Note):
            ticks += ticks_of(e)
        elif isinstance(e, Bar):
            if ticks:
                found.append((ticks, e))
            elif found and (e.opens or e.ending):
                found[-1] = (found[-1][0], Bar(closes=found[-1][1].closes, opens=True))
            ticks = 0
    return [*found, (ticks, Bar())] if ticks else found


def adding_up(tune: Tune) -> tuple[int, int]:
    """How many bars of a tune add up to its metre, and how many there are.

    A short first bar is a pickup; a short bar before a sign of repeat, a second ending or the end adds up
    when the pickup, or the bar after the sign, completes it. A bar so completed counts as one.
    """
    found = bars(tune.elements)
    full = tune.bar
    if not found:
        return 0, 0
    pickup = found[0][0] if found[0][0] < full else 0
    right = total = 0
    i = 1 if pickup else 0
    while i < len(found):
        ticks, sign = found[i]
        total += 1
        edge = sign.closes or sign.opens or bool(sign.ending) or i + 1 == len(found)
        after = found[i + 1][0] if i + 1 < len(found) else 0
        if ticks == full:
            right += 1
        elif ticks < full and ticks + after == full:  # halves of a bar, whatever sign divides them
            right += 1
            i += 1
        elif ticks < full and edge and ticks + pickup == full:
            right += 1
        i += 1
    return right, total


def form(tune: Tune) -> list[tuple[int, bool]]:
    """Bars of each part (a part without a bar's length left out), and whether it is repeated."""
    found = []
    for part in parts(tune.elements):
        length = round(int(rows(part.once())[:, 1].sum()) / tune.bar)
        if length:
            found.append((length, len(part.endings) > 1))
    return found


def is_aabb(tune: Tune) -> bool:
    """Whether a tune is two repeated parts of eight bars."""
    return form(tune) == [(8, True), (8, True)]


def sound(tokens: Iterable[int]) -> bool:
    """Whether a tune is well enough written to learn from."""
    tune = read(tokens)
    right, total = adding_up(tune)
    return total >= 4 and total - right <= total // _MOST

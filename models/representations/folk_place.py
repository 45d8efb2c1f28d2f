"""Where a folk tune goes: what a request says about metre, key and place, and the words to begin with."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from models.card import Task, Value
from models.representations import folk, note_step
from models.representations.note_step import Seat
from models.score import Key, Notes, Region, Score, UserError
from models.system import Ask
from models.timebase import PPQ, MeterMap

Column = npt.NDArray[np.int64]

FIDDLE = 40
PIECE = "as the piece"
TONICS = {"C": 0, "G": 1, "D": 2, "A": 3, "E": 4, "B": 5, "F": -1, "Bb": -2, "Eb": -3, "Ab": -4}
MODES = {"major": "maj", "minor": "min", "dorian": "dor", "mixolydian": "mix"}
USUAL = {"maj": 2, "min": 4, "dor": 3, "mix": 3}
"""Mode → the tonic of a piece made from nothing, on the line of fifths: where fiddlers like it."""
SUNG_AS = {(12, 8): (6, 8)}
"""Metres that tunes of the corpus do not have → those in whose bars they can be written."""
HEARD = 32
"""Bars before the region that are listened to."""


@dataclass(frozen=True, eq=False)
class Place:
    """What a request comes to.

    bar: ticks of a bar; bars: how many are asked for, of length ticks together; prompt: the words to
    begin with; seat: track and transposition; keys and meter: of a piece made from nothing; onward: whether music goes on, which has `offset` ticks of the
    bar in hand.
    """

    bar: int
    bars: int
    length: int
    prompt: list[int]
    seat: Seat
    keys: tuple[Key, ...]
    meter: MeterMap | None = None
    onward: bool = False
    offset: int = 0


def find(ask: Ask, values: Mapping[str, Value]) -> Place:
    """What a request for `create` or `continue` comes to; UserError when it can't be met."""
    score, region = ask.score, ask.region
    seat = note_step.seat(score, region, FIDDLE)
    onward = ask.task is Task.CONTINUE
    if onward and not len(seat.before):
        raise UserError("There is nothing before the marked bars to continue; mark later ones.")
    wanted = str(values["metre"])
    metre = _metre(score, region, wanted)
    numerator, denominator = folk.METRES[metre]
    bar = 4 * PPQ * numerator // denominator
    tonic, mode = _key(score, region, seat, str(values["tonic"]), str(values["mode"]))
    shift = _shift(score, seat, tonic)
    seat = replace(seat, shift=shift)
    head = [folk.NUMBER[f"M:{metre}"], folk.NUMBER[f"K:C{mode}"]]
    length = region.end - region.start
    key = Key(0, tonic + folk.MODE_SHARPS[mode], mode == "min")
    keys = () if score.keys or score.length else (key,)
    if not onward:
        bars = -(-length // bar)
        if bar != _bar_of(score, region.start):
            # In another metre than the empty piece says, so many bars are asked for as it has.
            bars = min(length // bar, -(-length // _bar_of(score, region.start)))
        if bars < 1:
            raise UserError("Less than a bar is marked; mark more.")
        stands = score.length or score.meter.at(region.start) == (numerator, denominator)
        meter = (
            None
            if stands
            else MeterMap(np.zeros(1, np.int64), np.array([numerator]), np.array([denominator]))
        )
        return Place(bar, bars, length, head, seat, keys, meter)
    lines = _barlines(score, region.start, bar)
    words = _heard(seat.before, lines, shift, mode == "min")
    whole = lines[-1] == region.start and (len(lines) < 2 or lines[-1] - lines[-2] == bar)
    position = score.meter.position(region.start)
    offset = (position.offset + (bar - position.length % bar) * (position.bar == 0)) % bar
    if not whole and words and words[-1] == "|" and offset:
        words.pop()
    prompt = [*head, *(folk.NUMBER[w] for w in words)]
    return Place(
        bar, -(-length // bar), length, prompt, seat, keys, None, True, offset // 120 * 120
    )


def _bar_of(score: Score, tick: int) -> int:
    numerator, denominator = SUNG_AS.get(score.meter.at(tick), score.meter.at(tick))
    return 4 * PPQ * numerator // denominator


def _metre(score: Score, region: Region, wanted: str) -> str:
    """The metre's word: that of the bars when there is music, else the one asked for."""
    if wanted != PIECE and not score.length:
        return wanted
    metres = {score.meter.at(region.start), score.meter.at(region.end - 1)}
    if len(metres) > 1:
        raise UserError("The metre changes in the marked bars; mark bars of one metre.")
    value = metres.pop()
    value = SUNG_AS.get(value, value)
    name = next((n for n, known in folk.METRES.items() if known == value), None)
    if name is None:
        known = ", ".join(folk.METRES)
        raise UserError(f"These tunes are not in {value[0]}/{value[1]}; use one of {known}.")
    return name


def _key(score: Score, region: Region, seat: Seat, tonic: str, mode: str) -> tuple[int, str]:
    """Tonic on the line of fifths and mode: as asked for, else as the key says, else as it sounds."""
    key = score.key_at(region.start)
    heard = seat.before if len(seat.before) else seat.track.notes
    if key is not None:
        found: tuple[int, str] | None = folk.mode_of(key.sharps, int(key.minor), 0)
    elif len(heard):
        pitch = heard.pitch.astype(np.int64)
        sharps = note_step.signature(pitch, heard.duration)
        found = folk.mode_of(sharps, -1, int(pitch[-1]))
    else:
        found = None
    if mode != PIECE:
        name = MODES[mode]
        if tonic != PIECE:
            return TONICS[tonic], name
        if found is None:
            return USUAL[name], name
        sharps = found[0] + folk.MODE_SHARPS[found[1]]
        return sharps - folk.MODE_SHARPS[name], name
    if found is None:
        found = USUAL["maj"], "maj"
    return (TONICS[tonic], found[1]) if tonic != PIECE else found


def _shift(score: Score, seat: Seat, tonic: int) -> int:
    """Semitones that take the score's pitches to tunes on C, in the octave where those lie."""
    shift = -7 * tonic % 12
    heard = seat.before if len(seat.before) else seat.track.notes
    if not len(heard):
        return shift if shift < 6 else shift - 12
    mean = float(np.average(heard.pitch.astype(np.int64), weights=heard.duration))
    return shift + 12 * round((folk.CENTRE - mean - shift) / 12)


def _barlines(score: Score, start: int, bar: int) -> list[int]:
    """Ticks of the last barlines before `start`, and of `start`."""
    lines = [tick for _, tick in score.meter.bars(0, start)]
    if not lines or lines[0] > 0:
        lines.insert(0, 0)
    lines.append(start)
    inner = [
        line for a, b in itertools.pairwise(lines) for line in range(a, b, bar)
    ]  # bars that are written as several
    return [*inner[-HEARD:], start]


def _heard(before: Notes, lines: list[int], shift: int, minor: bool) -> list[str]:
    """Words of the music before the region."""
    last = np.append(np.diff(before.onset) > 0, True)  # of notes that begin together the highest
    notes = before.where(last)
    notes = notes.where(notes.onset >= lines[0])
    if not len(notes):
        return []
    pitch = notes.pitch.astype(np.int64) + shift
    while (pitch < folk.LOWEST).any():
        pitch = np.where(pitch < folk.LOWEST, pitch + 12, pitch)
    while (pitch > folk.HIGHEST).any():
        pitch = np.where(pitch > folk.HIGHEST, pitch - 12, pitch)
    until = np.append(notes.onset[1:], lines[-1])
    return folk.of_line(
        notes.onset, np.minimum(notes.duration, until - notes.onset), pitch, lines, minor
    )

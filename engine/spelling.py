"""Spelling: which note name and accidental a pitch gets in a key, on the line of fifths."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from models.score import Score


@dataclass
class Head:
    """One note of a chord as written; `accidental` is the alteration to print, or None."""

    pitch: int
    velocity: int
    tied_from: bool = False
    tied_to: bool = False
    step: str = ""
    alter: int = 0
    octave: int = 0
    accidental: int | None = None


def fifths_at(score: Score, tick: int) -> int:
    """Sharps (flats negative) of the key signature printed at `tick`; 0 when the score says none."""
    key = score.key_at(tick)
    return key.sharps if key else 0


def likely_fifths(score: Score) -> int:
    """The signature whose scale holds most of the music: for spelling what has no signature."""
    counts = np.zeros(12)
    for track in score.tracks:
        if track.channel != 9:
            np.add.at(counts, track.notes.pitch % 12, track.notes.duration)
    scale = np.arange(-1, 6) * 7
    return max(range(-5, 7), key=lambda k: (counts[(scale + 7 * k) % 12].sum(), -abs(k)))


def spelled(pitch: int, fifths: int) -> tuple[str, int, int]:
    """(step, alteration, octave) of a pitch in a key: the scale, and around it what leads to its
    chords: two fifths flatwards (seventh of IV), four sharpwards (leading notes of ii, iii, V, vi)."""
    lowest = fifths - 2
    fifth = lowest + (pitch * 7 - lowest) % 12
    step, alter = "FCGDAEB"[(fifth + 1) % 7], (fifth + 1) // 7
    return step, alter, (pitch - alter) // 12 - 1


def spell(heads: Iterable[Head], fifths: int, printed: int) -> None:
    """Spell the heads of a bar of one staff, in time order, in the key of `fifths`, and print the
    accidentals that a signature of `printed` needs: a mark holds for its line to the end of the bar, and
    a tied note needs none."""
    signature = {s: (printed + 6 - n) // 7 for n, s in enumerate("FCGDAEB")}
    held: dict[tuple[str, int], int] = {}
    for head in heads:
        head.step, head.alter, head.octave = spelled(head.pitch, fifths)
        line = (head.step, head.octave)
        if head.alter != held.get(line, signature[head.step]) and not (
            head.tied_from and line not in held
        ):
            head.accidental = held[line] = head.alter

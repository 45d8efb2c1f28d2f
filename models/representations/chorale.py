"""Chorales as four voices on a sixteenth grid with holds, and the token columns networks read.

A `Chorale` says for every sixteenth what each voice sounds and whether it strikes there. Tokens are
written in a normal key: pitches are moved by `shift`, the distance of the key signature's major tonic
from C (−5…6), so that a network sees every signature as C major or A minor and learns each
progression once. The shift itself goes along as metadata, because voices have absolute ranges.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

VOICES = ("soprano", "alto", "tenor", "bass")
STEPS_PER_BEAT = 4
REST_PITCH = -1

LOW, HIGH = 28, 91
"""Shifted pitches a token can stand for, both inclusive."""
HOLD, REST, MASK, EDGE = 0, 1, 2, 3
"""Tokens that are no pitch: the note goes on; silence; not known; beyond the end of the piece."""
FIRST_PITCH = 4
TOKENS = FIRST_PITCH + HIGH - LOW + 1

RANGES = ((57, 81), (53, 74), (48, 69), (36, 64))
"""Lowest and highest MIDI pitch of each voice, soprano to bass: the corpus's own (training half)."""

METERS = {(4, 4): 0, (2, 2): 0, (3, 4): 1, (3, 2): 2}
"""Metres of the corpus (2/2 is its 4/4, counted in halves) and their class for networks."""
UNKNOWN_METER = 3
BAR_STEPS = (16, 12, 24, 16)
"""Sixteenths in a bar of each class, unknown last."""
POSITIONS = 24
"""Sixteenths in the longest bar; `Chorale.position` is below it."""
UNKNOWN_MODE, MAJOR, MINOR = 0, 1, 2
NO_FERMATA, FERMATA, UNKNOWN_FERMATA = 0, 1, 2

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Chorale:
    """Four voices over T sixteenths.

    pitch [T, 4]: the MIDI pitch sounding, −1 in silence. attack [T, 4]: the voice strikes there (a
    silence's first step counts as struck). fermata [T]: no, yes or unknown. position [T]: sixteenths since the barline,
    a pickup being the end of a bar. meter [T]: a class of METERS. sharps [T]: the key signature.
    mode [T]: unknown, major or minor.
    """

    name: str
    pitch: Ints
    attack: Flags
    fermata: Ints
    position: Ints
    meter: Ints
    sharps: Ints
    mode: Ints

    def __len__(self) -> int:
        return len(self.pitch)

    def slice(self, start: int, end: int) -> Chorale:
        """Sixteenths [start, end); a note held into `start` is struck there."""
        part = {f: getattr(self, f)[start:end] for f in COLUMNS}
        if start < end:
            part["attack"] = part["attack"].copy()
            part["attack"][0] = True
        return replace(self, **part)

    @property
    def shift(self) -> Ints:
        """[T] semitones to take off every pitch to reach the normal key."""
        return key_shift(self.sharps)

    def transposed(self, semitones: int) -> Chorale:
        """A copy `semitones` higher, its key signature with it."""
        sharps = (self.sharps + 7 * semitones + 5) % 12 - 5
        pitch = np.where(self.pitch >= 0, self.pitch + semitones, REST_PITCH)
        return replace(self, pitch=pitch, sharps=sharps)

    def transpositions(self) -> list[int]:
        """The semitones by which every voice can move and stay inside its range."""
        found = []
        for s in range(-6, 7):
            ok = True
            for voice, (low, high) in enumerate(RANGES):
                sounding = self.pitch[:, voice][self.pitch[:, voice] >= 0] + s
                ok &= not len(sounding) or bool(sounding.min() >= low and sounding.max() <= high)
            if ok or s == 0:
                found.append(s)
        return found


COLUMNS = ("pitch", "attack", "fermata", "position", "meter", "sharps", "mode")


def key_shift(sharps: Any) -> Ints:
    """Semitones from C up (or down) to the major tonic of a signature: −5…6."""
    return np.asarray((np.asarray(sharps, np.int64) * 7 + 5) % 12 - 5)


def tokens(chorale: Chorale, shift: Ints | None = None) -> Ints:
    """[T, 4] tokens; `shift` [T] instead of the key's own writes them in another key."""
    by = chorale.shift if shift is None else shift
    moved = chorale.pitch - by[:, None]
    while (moved[chorale.pitch >= 0] < LOW).any() or (moved[chorale.pitch >= 0] > HIGH).any():
        moved = np.where((chorale.pitch >= 0) & (moved < LOW), moved + 12, moved)
        moved = np.where((chorale.pitch >= 0) & (moved > HIGH), moved - 12, moved)
    struck = np.where(chorale.pitch >= 0, moved - LOW + FIRST_PITCH, REST)
    return np.asarray(np.where(chorale.attack, struck, HOLD))


def from_tokens(columns: Ints, like: Chorale) -> Chorale:
    """The chorale whose tokens, in `like`'s key and metre, are `columns` [T, 4] (no MASK, no EDGE).

    A hold with nothing before it is silence.
    """
    steps, voices = columns.shape
    struck = columns != HOLD
    last = np.maximum.accumulate(np.where(struck, np.arange(steps)[:, None], -1), axis=0)
    token = np.where(last >= 0, np.take_along_axis(columns, np.maximum(last, 0), 0), REST)
    at = np.maximum(last, 0)
    pitch = np.where(token >= FIRST_PITCH, token - FIRST_PITCH + LOW + like.shift[at], REST_PITCH)
    attack = struck.copy()
    if steps:
        attack[0] = True
    return replace(like, pitch=pitch.reshape(steps, voices), attack=attack)

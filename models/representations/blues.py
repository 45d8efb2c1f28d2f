"""The blues in eighths: twelve bars of eight steps, a unit for each note (Eck & Schmidhuber 2002).

Chords are the twelve pitch classes, melody is thirteen notes, an octave with both ends; a unit is on while its
note sounds, silence is no unit on. Everything is in C: music in another key is moved there and back.

The paper's authors composed their training melodies, a segment a bar that fits the bar's chord, and joined them
at random. Here a rule composes them (`compose`), so that nobody's melodies are needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.timebase import PPQ

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

STEP = PPQ // 2
"""Ticks of a step, an eighth."""
BAR, BARS = 8, 12
FORM = BAR * BARS
"""Steps of a bar, bars of the form, steps of the form."""
CHORD, MELODY = 12, 13
"""Units."""
REST = -1
"""The melody unit of silence."""

CHORDS = {
    "C6": (0, 4, 7, 9),
    "C7": (0, 4, 7, 10),
    "F7": (5, 9, 0, 3),
    "Fm7": (5, 8, 0, 3),
    "F#o7": (6, 9, 0, 3),
    "Cm7": (0, 3, 7, 10),
    "A7": (9, 1, 4, 7),
    "Dm7": (2, 5, 9, 0),
    "G7": (7, 11, 2, 5),
    "C": (0, 4, 7),
    "F": (5, 9, 0),
    "G": (7, 11, 2),
}
"""Pitch classes of the chords of a blues in C, root first, the seventh or sixth last."""

FORMS = {
    "bebop": "C6 | F7 | C6 | C7 | F7 | F#o7 | C6 | A7 | Dm7 | G7 | C6 A7 | Dm7 G7",
    "plain": "C7 | C7 | C7 | C7 | F7 | F7 | C7 | C7 | G7 | F7 | C7 | G7",
}
"""Two common progressions, common property both; told apart by the first chord."""

PENTATONIC = np.isin(np.arange(CHORD), (0, 3, 5, 7, 10))
"""The minor pentatonic scale of the key."""

OPEN = (
    "x-x-x-x-", "x-x-xxx-", "x-xxx-x-", "xxx-x-x-", ".xx-x-x-", "x--xx-x-", "xxxxx-x-", ".xxxx-x-",
)  # fmt: skip
"""Rhythms of a bar: x begins a note, - holds it, . is silent. The first is the authors'."""
HALF = ("x-x-x---", "xxx-x---", "x--xx---", "x-x-x-..")
CLOSE = ("x-......", "xxx-....", "x---....", "x-x-....", ".xx-....", "x--xx---")
"""Rhythms of the second and of the last bar of a phrase of four."""
AGAIN = 0.5
"""How often a bar has the rhythm of the one before, where neither ends a phrase."""
WIDEST = 7
"""Semitones from one note to the next, at most."""


def units(chord: Sequence[int]) -> Flags:
    """[CHORD] of pitch classes."""
    return np.isin(np.arange(CHORD), chord)


def progression(text: str) -> Flags:
    """[steps, CHORD] of bars of chord names; names in one bar share it evenly."""
    bars = [bar.split() for bar in text.split("|")]
    return np.stack([units(CHORDS[bar[i * len(bar) // BAR]]) for bar in bars for i in range(BAR)])


def form(name: str) -> Flags:
    """[FORM, CHORD] of one of the FORMS."""
    return progression(FORMS[name])


def scale(chords: Flags) -> Flags:
    """[..., CHORD] what may be played over chords [..., CHORD]: their own notes, and those of the key's minor
    pentatonic that are not a semitone above one of them. Over C7 and G7 that is 1 ♭3 3 5 ♭7 of each."""
    return np.asarray(chords | (PENTATONIC & ~np.roll(chords, 1, -1)))


def one_hot(melody: Ints) -> npt.NDArray[np.float32]:
    """[..., MELODY] of units [...]."""
    return np.asarray(melody[..., None] == np.arange(MELODY), np.float32)


def in_scale(melody: Ints, chords: Flags) -> Flags:
    """[...] whether each unit of a melody [...] is in the scale of its chord [..., CHORD]; silence is."""
    fits = np.take_along_axis(scale(chords), (melody % CHORD)[..., None], -1)[..., 0]
    return np.asarray(fits | (melody == REST))


def rhythm(rng: np.random.Generator, bars: int) -> Iterator[str]:
    """A rhythm for each bar, in phrases of four that open, pause in the second bar, and close."""
    last = OPEN[0]
    for bar in range(bars):
        kind = (OPEN, HALF if rng.random() < 0.5 else OPEN, OPEN, CLOSE)[bar % 4]
        again = kind is OPEN and last in OPEN and bar % 4 and rng.random() < AGAIN
        last = last if again else kind[rng.integers(len(kind))]
        yield last


def compose(rng: np.random.Generator, chords: Flags) -> Ints:
    """A melody [steps] over whole bars of chords [steps, CHORD], by rule.

    Every note is in the scale of its chord, on the first and third beat one of the chord's own; it moves on,
    rather by little and rather in the direction it has, and never repeats a pitch, which these units
    could not tell from holding it. It ends on the key's tonic or fifth where the chord has them.
    """
    melody = np.full(len(chords), REST, np.int64)
    fits = scale(chords)
    pitch, direction = int(rng.integers(4, 10)), 0
    slots = "".join(rhythm(rng, len(chords) // BAR))
    starts = [t for t, slot in enumerate(slots) if slot == "x"]
    notes = np.arange(MELODY)
    for n, t in enumerate(starts):
        strong = t % (BAR // 2) == 0
        fine = (chords if strong else fits)[t, notes % CHORD]
        if n == len(starts) - 1:
            home = np.isin(notes, (0, 7, 12)) & (notes != pitch) & fits[t, notes % CHORD]
            fine = home if home.any() else fine
        move = notes - pitch
        weight = np.exp(-np.abs(move) / 2.5 - ((notes - 6) / 8) ** 2)
        weight *= np.where(np.sign(move) == direction, 2.0, 1.0)
        weight *= fine & (move != 0)
        near = weight * (np.abs(move) <= WIDEST)
        weight = near if near.any() else weight
        chosen = int(rng.choice(notes, p=weight / weight.sum()))
        pitch, direction = chosen, int(np.sign(chosen - pitch))
        melody[t] = pitch
        for held in range(t + 1, len(chords)):
            # A note ends where the next chord has no place for it.
            if slots[held] != "-" or not fits[held, pitch % CHORD]:
                break
            melody[held] = pitch
    return melody


@dataclass(frozen=True, eq=False)
class Choruses:
    """Times through the form: melody [N, FORM] in units, chords [N, FORM, CHORD]."""

    melody: Ints
    chords: Flags

    def __len__(self) -> int:
        return len(self.melody)

    def where(self, chosen: Any) -> Choruses:
        """Those that a mask, slice or index array picks."""
        return Choruses(self.melody[chosen], self.chords[chosen])


def made(seed: int, count: int) -> Choruses:
    """So many choruses by rule, over the FORMS in turn."""
    rng = np.random.default_rng(seed)
    forms = [form(name) for name in FORMS]
    chords = np.stack([forms[i % len(forms)] for i in range(count)])
    return Choruses(np.stack([compose(rng, c) for c in chords]), chords)


def wandering(seed: int, count: int) -> Choruses:
    """So many choruses by rule over a chord a bar at random: what melodies do when the form is left."""
    rng = np.random.default_rng(seed)
    names = list(CHORDS)
    bars = [[names[i] for i in rng.integers(len(names), size=BARS)] for _ in range(count)]
    chords = np.stack([progression(" | ".join(line)) for line in bars])
    return Choruses(np.stack([compose(rng, c) for c in chords]), chords)


def joined(parts: Sequence[Choruses]) -> Choruses:
    """All of them, one after another."""
    return Choruses(
        np.concatenate([p.melody for p in parts]), np.concatenate([p.chords for p in parts])
    )


def commonest(choruses: Choruses) -> Flags:
    """[2, FORM, CHORD] the two commonest progressions of choruses, of two as common the one that is met first;
    the commonest twice where no other begins with another chord, for by that they are told apart."""
    rows = choruses.chords.reshape(len(choruses), -1)
    found, first, counts = np.unique(rows, axis=0, return_index=True, return_counts=True)
    ordered = found[np.lexsort((first, -counts))].reshape(-1, FORM, CHORD)
    other = [c for c in ordered if (c[0] != ordered[0, 0]).any()]
    return np.stack([ordered[0], other[0] if other else ordered[0]])

"""Improvising: a passage from nothing, drawn from a latent space.

Phrases drawn one by one are in many keys and have nothing to do with one another. A tune says something,
then something like it, the first again, and closes; and all of it in one key.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from models import attributes
from models.coder import Coder
from models.representations import phrase
from models.representations.melody import BAR, FIRST, HOLD, REST, TOKENS, Tokens, pitch
from models.representations.phrase import Line, Place
from models.score import Key, Score
from models.space import Space
from models.strategies.codes import Codes, encode
from models.timebase import SIXTEENTH

Real = npt.NDArray[np.float64]

SECTIONS = "AABA"
OPEN, CLOSE = 2, 3
KIN = {1: 0.7, OPEN: 0.8, CLOSE: 0.8, 4: 1.2, 5: 0.7, 6: 0.8}
"""Phrase → how far its code turns, in radians, from that of the phrase it answers."""
ANSWERS = {1: 0, OPEN: 0, CLOSE: 0, 4: 0, 5: 4, 6: 4}
"""Phrase → the phrase it answers."""
DRAWS = 16
"""Of so many drawn the first that fits best is taken; most fit, so that the choice is still the prior's."""
PARENTS = 4
"""Phrases of the map that what is drawn lies between."""
PLAIN = 3
"""A piece from nothing has no more sharps or flats."""
SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10, 11))
"""Steps above the tonic, major and minor; minor with either seventh."""
WIDE = 9
"""Semitones from which a leap is rather not wanted."""
MIDDLE = 70
"""The mean pitch of the corpus."""
ACCENTS = np.array([6, -6, -3, -6, 0, -6, -3, -6, 3, -6, -3, -6, 0, -6, -3, -6])


@dataclass(frozen=True, eq=False)
class Passage:
    """A line for a place, its codes [N, L] and, if the score has none, its key."""

    line: Line
    codes: Codes
    keys: tuple[Key, ...]


def form(windows: int) -> list[int]:
    """Which phrase each window is: sections of four, a b a with an open end and a b a with a close, and a
    middle section of its own; the last window closes."""
    found: list[int] = []
    for k in range(windows):
        section, place = divmod(k, 4)
        middle = SECTIONS[section % 4] == "B"
        if middle:
            found.append((4, 5, 4, 6)[place])
        else:
            found.append((0, 1, 0, OPEN if section % 4 == 0 else CLOSE)[place])
    return [*found[:-1], CLOSE] if windows > 1 else [0]


def turned(z: Codes, noise: Codes, angle: float) -> Codes:
    """Codes [..., L] turned by `angle` towards standard normal `noise`, as long as they were."""
    length = np.linalg.norm(z, axis=-1, keepdims=True)
    u = z / np.maximum(length, 1e-9)
    side = noise - (noise * u).sum(-1, keepdims=True) * u
    side = side / np.maximum(np.linalg.norm(side, axis=-1, keepdims=True), 1e-9)
    out: Codes = ((np.cos(angle) * u + np.sin(angle) * side) * length).astype(np.float32)
    return out


def among(coder: Coder, space: Space, rng: np.random.Generator) -> Codes:
    """Codes [DRAWS, L], each from somewhere between a few phrases of the map.

    What the prior alone draws is in no key: a code's dimensions are not as independent as it assumes.
    """
    picked = rng.integers(len(space.point_tokens), size=(DRAWS, PARENTS))
    z = encode(coder, space.point_tokens[picked.ravel()]).reshape(DRAWS, PARENTS, -1)
    weight = np.abs(rng.standard_normal((DRAWS, PARENTS, 1), np.float32))
    mixed: Codes = (weight / np.linalg.norm(weight, axis=1, keepdims=True) * z).sum(1)
    return mixed


def passage(
    coder: Coder,
    score: Score,
    place: Place,
    temperature: float,
    rng: np.random.Generator,
    space: Space | None = None,
) -> Passage:
    """A passage for a place: its codes are from among those of `space`, or else from the prior,
    `temperature` times as far out, and it is drawn at that temperature; in the score's key, or else in the
    first phrase's, and in the track's register."""
    plan = form(-(-place.steps // (coder.bars * BAR)))
    known = score.key_at(place.start)
    shape = (DRAWS, coder.latent)
    codes: dict[int, Codes] = {}
    written: dict[int, Tokens] = {}
    key = (0, 0) if known is None else (known.sharps, int(known.minor))
    for label in sorted(set(plan)):
        noise = among(coder, space, rng) if space else rng.standard_normal(shape, np.float32)
        if label == 0:
            z = noise * np.float32(temperature)
        else:
            z = turned(codes[ANSWERS[label]][None].repeat(DRAWS, 0), noise, KIN[label])
        draws = _drawn(coder, z, temperature, rng)
        if label == 0 and known is None:
            key = _clearest(draws)
        closes = label == CLOSE or len(plan) == 1
        fitted = np.stack([_in_key(d, key) for d in draws])
        if label:
            fitted = np.stack([_near(d, _mean(written[0])) for d in fitted])
        heard = place.steps if len(plan) == 1 else fitted.shape[1]
        best = int(np.argmin([_cost(d[:heard], key, closes) for d in fitted]))
        codes[label], written[label] = z[best], fitted[best]
    tokens = np.concatenate([written[label] for label in plan])[: place.steps]
    shift = -12 * round((_middle(place) - _mean(tokens)) / 12)
    loud = _loudness(place)

    def velocity(tick: int) -> int:
        return int(np.clip(loud + ACCENTS[tick // SIXTEENTH % BAR], 1, 127))

    line = phrase.laid(phrase.made(tokens, velocity, shift), place)
    keys = (Key(0, key[0], bool(key[1])),) if known is None and not score.length else ()
    return Passage(line, np.stack([codes[label] for label in plan]), keys)


def _drawn(coder: Coder, z: Codes, temperature: float, rng: np.random.Generator) -> Tokens:
    noise = torch.from_numpy(rng.random((len(z), coder.bars * BAR), np.float32))
    return coder.decode(torch.from_numpy(z), noise, temperature).numpy().astype(np.uint8)


def _clearest(draws: Tokens) -> tuple[int, int]:
    """Sharps and mode of the first draw that is clearly in a key, or of one that is easier to read."""
    keys = list(zip(*(column.tolist() for column in attributes.key(draws)), strict=True))
    costs = [_cost(d, k, False) for d, k in zip(draws, keys, strict=True)]
    sharps, minor = keys[int(np.argmin(costs))]
    return int(np.clip(sharps, -PLAIN, PLAIN)), int(minor)


def _tonic(key: tuple[int, int]) -> int:
    """Pitch class of the tonic of sharps and mode."""
    return (key[0] * 7 + (9 if key[1] else 0)) % 12


def _outside(tokens: Tokens, key: tuple[int, int]) -> Real:
    """[N] the share of the notes of phrases [N, T] outside the scale of a key; 1 when there are none."""
    sung = pitch(tokens)
    outside = ~np.isin((sung - _tonic(key)) % 12, SCALES[key[1]]) & (sung >= 0)
    count = (sung >= 0).sum(-1)
    return np.where(count, outside.sum(-1) / np.maximum(count, 1), 1.0)


def _in_key(tokens: Tokens, key: tuple[int, int]) -> Tokens:
    """Tokens [T] transposed to where they fit a key best, no further than need be."""
    shifts = np.array(sorted(range(-6, 6), key=abs))
    moved = np.where(tokens >= FIRST, tokens.astype(np.int64) + shifts[:, None], tokens)
    moved = np.where((moved < FIRST) & (tokens >= FIRST), moved + 12, moved)
    moved = np.where(moved >= TOKENS, moved - 12, moved).astype(np.uint8)
    far = attributes.measure(moved, *key)[:, attributes.NAMES.index("tension")]
    cost = _outside(moved, key) + far / 2 + 1e-3 * np.abs(shifts)
    return np.asarray(moved[int(cost.argmin())])


def _near(tokens: Tokens, centre: float) -> Tokens:
    """Tokens [T] in the octave whose mean pitch is nearest to `centre`, as far as there are tokens."""
    moved = tokens.astype(np.int64) + 12 * round((centre - _mean(tokens)) / 12)
    sung = moved[tokens >= FIRST]
    if not len(sung) or sung.min() < FIRST or sung.max() >= TOKENS:
        return tokens
    return np.where(tokens >= FIRST, moved, tokens).astype(np.uint8)


def _cost(tokens: Tokens, key: tuple[int, int], closes: bool) -> float:
    """How badly a phrase [T] fits its place: notes outside its key, two notes a bar or fewer, wide leaps, or if it
    `closes` an end that is none."""
    onset = np.flatnonzero(tokens >= FIRST)
    if len(onset) <= 2 * len(tokens) // BAR:
        return 10.0
    sung = pitch(tokens[onset])
    cost = float(_outside(tokens[None], key)[0])
    cost += 0.1 * float((np.abs(np.diff(sung)) > WIDE).sum())
    cost += 0.05 * int(tokens[0] == REST)
    if closes:
        away = int(sung[-1] - _tonic(key)) % 12
        cost += {0: 0.0, 7: 0.6, 4 - key[1]: 0.5}.get(away, 1.0)
        held = int((tokens[onset[-1] :] == HOLD).sum()) + 1
        cost += 0.0 if held >= BAR // 4 else 0.3
    return cost


def _mean(tokens: Tokens) -> float:
    sung = pitch(tokens)
    return float(sung[sung >= 0].mean()) if (sung >= 0).any() else MIDDLE


def _middle(place: Place) -> float:
    """Where the track's music lies."""
    notes = place.track.notes
    return float(np.median(notes.pitch)) if len(notes) else MIDDLE


def _loudness(place: Place) -> int:
    notes = place.track.notes
    return int(np.median(notes.velocity)) if len(notes) else 80

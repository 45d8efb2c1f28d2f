"""Attributes: nine numbers that say how a phrase of melody is, whole corpora at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.representations.melody import (
    BAR,
    FIRST,
    HIGHEST,
    HOLD,
    LOWEST,
    Tokens,
    pitch,
    repaired,
)

Column = npt.NDArray[np.int64]
Table = npt.NDArray[np.float32]
Real = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

UNITS = {
    "density": "notes a bar",
    "range": "semitones",
    "pitch": "MIDI pitch",
    "syncopation": "metrical levels a bar",
    "leaps": "semitones",
    "repetition": "share",
    "contour": "semitones a bar",
    "rhythm": "bits",
    "tension": "share",
}
"""Attribute → unit, in the order of every table of attributes."""
NAMES = tuple(UNITS)

METRE = np.array([0, -4, -3, -4, -2, -4, -3, -4, -1, -4, -3, -4, -2, -4, -3, -4])
"""Metrical weight of each sixteenth of a bar in 4/4 (Longuet-Higgins & Lee 1984)."""

# How well each of the twelve steps above the tonic fits (probe tones of Krumhansl & Kessler 1982).
_MAJOR = np.array([6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88])
_MINOR = np.array([6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17])
_SEGMENT = BAR // 2


def _strain() -> Real:
    """[24, 12]: how badly each pitch class fits each key, major then minor; 0 the tonic, 1 the worst."""
    rows = []
    for profile in (_MAJOR, _MINOR):
        bad = (profile.max() - profile) / (profile.max() - profile.min())
        rows += [np.roll(bad, tonic) for tonic in range(12)]
    return np.stack(rows)


STRAIN = _strain()


def measure(
    tokens: Tokens, sharps: npt.ArrayLike | None = None, minor: npt.ArrayLike | None = None
) -> Table:
    """The attributes [N, 9] of phrases [N, T] (T whole bars), in the order and units of UNITS.

    density: notes that begin, a bar. range: from the lowest note to the highest. pitch: the mean, by
    sounding time. leaps: the mean distance between neighbouring notes. contour: the slope of the line
    through what sounds. rhythm: entropy of the times between onsets.
    syncopation: how much metrical weight the notes of a bar give up against as many on its heaviest
    steps (metrical complexity, Toussaint 2002), and for each note held past a heavier step than its own how
    many levels heavier that is (Longuet-Higgins & Lee 1984), summed: the latter alone is 0 in nine
    phrases of ten, so that there is little to learn from.
    repetition: each half bar against the one before it that is most like it, the share of steps with the
    same rhythm (note, hold or rest) and of steps with the same pitch, half and half, averaged.
    tension: how badly the sounding pitches fit the key, 0 its tonic alone, 1 its worst note alone
    (ratings of Krumhansl & Kessler 1982), by sounding time. sharps and minor [N] name the key as `Tune` does,
    minor −1 leaving open which of the relative pair; without sharps it is the key that fits best.
    A phrase without notes measures 0, and the middle of the compass in pitch.
    """
    clean = repaired(np.asarray(tokens, np.uint8))
    count, steps = clean.shape
    bars = steps // BAR
    onset = clean >= FIRST
    sound = _sounding(clean)
    heard = sound >= 0
    low = np.where(onset, sound, 127).min(-1)
    high = np.where(onset, sound, 0).max(-1)
    seconds = np.maximum(heard.sum(-1), 1)
    mean = np.where(heard, sound, 0).sum(-1) / seconds
    silent = ~onset.any(-1)
    columns = (
        onset.sum(-1) / bars,
        np.where(silent, 0, high - low),
        np.where(silent, (LOWEST + HIGHEST) / 2, mean),
        _syncopation(onset) / bars,
        _leaps(onset, clean),
        _repetition(clean, sound),
        _slope(sound, heard) * BAR,
        _entropy(onset),
        tension(sound, sharps, minor),
    )
    out = np.empty((count, len(NAMES)), np.float32)
    for k, column in enumerate(columns):
        out[:, k] = column
    return out


def _sounding(tokens: Tokens) -> Column:
    """[N, T] the pitch that sounds at each step, −1 in silence."""
    steps = np.arange(tokens.shape[-1])
    last = np.maximum.accumulate(np.where(tokens != HOLD, steps, 0), axis=-1)
    return pitch(np.take_along_axis(tokens, last, -1))


def _syncopation(onset: Mask) -> Real:
    """[N] levels, summed over the phrase."""
    count, steps = onset.shape
    bars = onset.reshape(count, steps // BAR, BAR)
    heaviest_first = np.append(0, np.cumsum(np.sort(METRE)[::-1]))
    total = (heaviest_first[bars.sum(-1)] - (bars * METRE).sum(-1)).sum(-1).astype(np.float64)
    heaviest = np.full(count, METRE.min())  # of the steps since, that begin no note
    for t in range(steps - 1, -1, -1):
        weight = METRE[t % BAR]
        total += np.where(onset[:, t], np.maximum(heaviest - weight, 0), 0)
        heaviest = np.where(onset[:, t], METRE.min(), np.maximum(heaviest, weight))
    return np.asarray(total)


def _leaps(onset: Mask, tokens: Tokens) -> Real:
    steps = np.arange(tokens.shape[-1])
    last = np.maximum.accumulate(np.where(onset, steps, -1), axis=-1)
    before = np.concatenate([np.full((len(last), 1), -1), last[:, :-1]], -1)
    pairs = onset & (before >= 0)
    then = np.take_along_axis(tokens, np.maximum(before, 0), -1).astype(np.int64)
    moves = np.where(pairs, np.abs(tokens.astype(np.int64) - then), 0).sum(-1)
    return np.asarray(moves / np.maximum(pairs.sum(-1), 1))


def _repetition(tokens: Tokens, sound: Column) -> Real:
    kind = np.minimum(tokens, FIRST).reshape(len(tokens), tokens.shape[1] // _SEGMENT, _SEGMENT)
    pitches = sound.reshape(kind.shape)
    best = []
    for k in range(1, kind.shape[1]):
        same = (kind[:, :k] == kind[:, k : k + 1]).mean(-1)
        same += (pitches[:, :k] == pitches[:, k : k + 1]).mean(-1)
        best.append(same.max(-1) / 2)
    return np.asarray(np.where((tokens >= FIRST).any(-1), np.mean(best, axis=0), 0.0))


def _slope(sound: Column, heard: Mask) -> Real:
    """[N] semitones a step, by least squares over what sounds."""
    n = np.maximum(heard.sum(-1, keepdims=True), 1)
    time = np.where(heard, np.arange(sound.shape[-1]), 0)
    time = np.where(heard, time - time.sum(-1, keepdims=True) / n, 0.0)
    height = np.where(heard, sound, 0)
    return np.asarray((time * height).sum(-1) / np.maximum((time**2).sum(-1), 1e-9))


def _entropy(onset: Mask) -> Real:
    """[N] bits; what comes before the first note counts as no duration, the last note lasts to the end."""
    count, steps = onset.shape
    row, at = np.nonzero(onset)
    following = np.append(at[1:], steps)
    last = np.append(row[1:] != row[:-1], True)[: len(row)]
    length = np.where(last, steps, following[: len(row)]) - at
    counts = np.bincount(row * (steps + 1) + length, minlength=count * (steps + 1))
    share = counts.reshape(count, steps + 1) / np.maximum(onset.sum(-1, keepdims=True), 1)
    return np.asarray(-(share * np.log2(np.where(share > 0, share, 1))).sum(-1))


def tension(
    sound: Column, sharps: npt.ArrayLike | None = None, minor: npt.ArrayLike | None = None
) -> Real:
    """How badly [N] sounding pitches [N, T] (−1 in silence) fit their keys, or the keys that fit them best."""
    heard = sound >= 0
    rows = np.arange(len(sound))[:, None] * 12 + sound % 12
    pitch_classes = np.bincount(rows[heard], minlength=len(sound) * 12).reshape(-1, 12)
    strain = pitch_classes / np.maximum(heard.sum(-1, keepdims=True), 1) @ STRAIN.T  # N, 24
    if sharps is not None:
        strain = np.where(_keys(sharps, minor, len(sound)), strain, np.inf)
    return np.asarray(strain.min(-1))


def _keys(sharps: npt.ArrayLike, minor: npt.ArrayLike | None, count: int) -> Mask:
    """[N, 24] the keys a signature stands for."""
    signature = np.broadcast_to(np.asarray(sharps, np.int64), (count,))
    mode = np.broadcast_to(np.asarray(-1 if minor is None else minor, np.int64), (count,))
    tonic = signature * 7 % 12
    out = np.zeros((count, 24), bool)
    out[np.arange(count), tonic] = mode != 1
    out[np.arange(count), 12 + (tonic + 9) % 12] = mode != 0
    return out


def in_scale(pitches: Column) -> Column:
    """How many of the notes [N, T] (MIDI pitches, −1 for none) of each phrase the diatonic scale holds that
    holds most of them [N]."""
    rows = np.arange(len(pitches))[:, None] * 12 + pitches % 12
    classes = np.bincount(rows[pitches >= 0], minlength=len(pitches) * 12).reshape(-1, 12)
    scale = np.isin(np.arange(12), (0, 2, 4, 5, 7, 9, 11)).astype(np.int64)
    return np.asarray(np.stack([classes @ np.roll(scale, k) for k in range(12)]).max(0))


def key(tokens: Tokens) -> tuple[Column, Column]:
    """Sharps (−6…5) and minor (0 or 1) [N] of the key that fits each phrase [N, T] best."""
    sound = _sounding(repaired(np.asarray(tokens, np.uint8)))
    each = np.stack([tension(sound, s, m) for m in (0, 1) for s in range(-6, 6)])  # 24, N
    best = each.argmin(0)
    return best % 12 - 6, best // 12

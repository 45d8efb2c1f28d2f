"""How alike two bodies of chorales are: histograms of what a musician listens for, and their distances."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from itertools import pairwise

import numpy as np

from models.representations.chorale import RANGES, Chorale

Histogram = Mapping[Hashable, float]


def _struck(chorale: Chorale, voice: int) -> tuple[list[int], list[int], list[int]]:
    """(first step, pitch, length in steps) of the notes of one voice."""
    begin = np.flatnonzero(chorale.attack[:, voice])
    end = np.append(begin[1:], len(chorale))
    pitch = chorale.pitch[begin, voice]
    sung = pitch >= 0
    return (
        begin[sung].tolist(),
        pitch[sung].tolist(),
        (end - begin)[sung].tolist(),
    )


def _chord(column: Sequence[int], tonic: int) -> tuple[int, ...]:
    """Pitch classes above `tonic`, the bass's first."""
    sung = [p for p in column if p >= 0]
    if not sung:
        return ()
    classes = sorted({(p - tonic) % 12 for p in sung})
    return ((min(sung) - tonic) % 12, *classes)


def histograms(chorales: Sequence[Chorale]) -> dict[str, Counter[Hashable]]:
    """Counts over all pieces: melodic steps and durations by voice, where in the bar voices strike,
    chords on the beats (pitch classes above the key's tonic, over which bass), their successions,
    distances between neighbouring voices, pitches by voice."""
    found: dict[str, Counter[Hashable]] = {
        name: Counter()
        for name in ("steps", "rhythm", "onsets", "chords", "progressions", "spacing", "pitches")
    }
    for c in chorales:
        shift = c.shift
        for v in range(4):
            begin, pitch, length = _struck(c, v)
            found["steps"].update((v, int(np.clip(b - a, -13, 13))) for a, b in pairwise(pitch))
            found["rhythm"].update((v, min(n, 17)) for n in length)
            found["onsets"].update((v, int(c.meter[i]), int(c.position[i])) for i in begin)
            found["pitches"].update((v, p) for p in pitch)
        before: tuple[int, ...] = ()
        for i in np.flatnonzero(c.position % 4 == 0):
            column = c.pitch[i].tolist()
            chord = _chord(column, int(shift[i]))
            if not chord:
                continue
            found["chords"][chord] += 1
            if before and before != chord:
                found["progressions"][before, chord] += 1
            before = chord
            for v in range(3):
                if column[v] >= 0 and column[v + 1] >= 0:
                    found["spacing"][v, int(np.clip(column[v] - column[v + 1], -5, 25))] += 1
    return found


def rates(chorales: Sequence[Chorale]) -> dict[str, float]:
    """Parallel fifths and octaves per 100 changes of chord, crossings and notes out of the voices' usual
    ranges per 100 sixteenths, notes a beat, leaps (beyond a fifth) per 100 melodic steps, and
    augmented seconds and fourths per 100 melodic steps."""
    parallels = changes = crossed = steps = outside = notes = leaps = moves = augmented = 0
    for c in chorales:
        p = c.pitch
        steps += len(c)
        for v in range(3):
            crossed += int(((p[:, v] < p[:, v + 1]) & (p[:, v] >= 0) & (p[:, v + 1] >= 0)).sum())
        for v, (low, high) in enumerate(RANGES):
            outside += int(((p[:, v] >= 0) & ((p[:, v] < low) | (p[:, v] > high))).sum())
            _, pitch, _ = _struck(c, v)
            notes += len(pitch)
            move = np.abs(np.diff(pitch))
            moves += len(move)
            leaps += int((move > 7).sum())
            augmented += int((move == 6).sum())
        for i in 1 + np.flatnonzero(c.attack[1:].any(axis=1)):
            changes += 1
            for v in range(4):
                for u in range(v + 1, 4):
                    now, then = p[i, [v, u]], p[i - 1, [v, u]]
                    if (now < 0).any() or (then < 0).any() or (now == then).any():
                        continue
                    if not (c.attack[i, v] and c.attack[i, u]):
                        continue
                    same = (now[0] - now[1]) % 12
                    if same in (0, 7) and same == (then[0] - then[1]) % 12:
                        parallels += 1 if (now[0] - then[0]) * (now[1] - then[1]) > 0 else 0
    return {
        "parallels_per_100_changes": 100 * parallels / max(changes, 1),
        "crossings_per_100_steps": 100 * crossed / max(steps, 1),
        "out_of_range_per_100_steps": 100 * outside / max(4 * steps, 1),
        "notes_per_beat": 4 * notes / max(steps, 1),
        "leaps_per_100_moves": 100 * leaps / max(moves, 1),
        "tritones_per_100_moves": 100 * augmented / max(moves, 1),
    }


def divergence(a: Histogram, b: Histogram) -> float:
    """Jensen-Shannon divergence in bits, 0 (alike) to 1 (nothing in common)."""
    keys = list({*a, *b})
    p = np.array([a.get(k, 0) for k in keys], float)
    q = np.array([b.get(k, 0) for k in keys], float)
    if not p.sum() or not q.sum():
        return 1.0 if p.sum() or q.sum() else 0.0
    p, q = p / p.sum(), q / q.sum()
    m = (p + q) / 2

    def entropy(x: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
        positive = x[x > 0]
        return float(-(positive * np.log2(positive)).sum())

    return max(0.0, entropy(m) - (entropy(p) + entropy(q)) / 2)


def distances(chorales: Sequence[Chorale], reference: Sequence[Chorale]) -> dict[str, float]:
    """Divergence of each histogram, in bits, and the rates of `chorales`."""
    ours, theirs = histograms(chorales), histograms(reference)
    found = {f"distance_{name}_bits": divergence(ours[name], theirs[name]) for name in ours}
    return {**found, **rates(chorales)}

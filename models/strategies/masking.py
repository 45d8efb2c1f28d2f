"""What to hide: random patterns of unknown sites, so that one network learns every conditional it is
asked for: single sites given all else, blocks given the rest, and one step after another from nothing
(orderless training: Uria et al. 2014; for chorales Huang et al. 2017)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Flags = npt.NDArray[np.bool_]


class Hidden(NamedTuple):
    """Sites [B, T, 4] hidden from the past, present and future streams of a network."""

    past: Flags
    present: Flags
    future: Flags

    @property
    def nothing(self) -> Flags:
        """[B] examples that see everything."""
        return np.asarray(~(self.past | self.present | self.future).any(axis=(1, 2)))


def spans(rng: np.random.Generator, steps: int, longest: int) -> Flags:
    """[T] one to four spans of 2–`longest` steps (short ones as likely as long ones, by octaves)."""
    chosen = np.zeros(steps, bool)
    for _ in range(rng.integers(1, 5)):
        length = int(np.exp(rng.uniform(np.log(2), np.log(longest))))
        start = int(rng.integers(1 - length, steps))
        chosen[max(start, 0) : start + length] = True
    return chosen


def hidden(
    rng: np.random.Generator, batch: int, steps: int, full: float = 0.3, blocks: float = 0.3
) -> Hidden:
    """Patterns for a batch: a share `full` sees everything, a share `blocks` loses the same sites from
    every stream, the rest loses the future alone, as when writing from left to right."""
    past = np.zeros((batch, steps, 4), bool)
    present, future = past.copy(), past.copy()
    for b in range(batch):
        kind = rng.random()
        if kind < full:
            continue
        if kind < full + blocks:
            past[b] = present[b] = future[b] = _block(rng, steps)
            continue
        free = np.zeros(4, bool)
        free[rng.permutation(4)[: rng.choice([1, 2, 3, 4], p=[0.1, 0.1, 0.4, 0.4])]] = True
        where = np.ones(steps, bool) if rng.random() < 0.6 else spans(rng, steps, 64)
        site = where[:, None] & free
        future[b] = site
        # Within a step the voices come in some order: those before are known, the others not yet.
        present[b] = site & (rng.random((steps, 4)) > rng.random((steps, 1)))
    return Hidden(past, present, future)


def _block(rng: np.random.Generator, steps: int) -> Flags:
    kind = rng.integers(4)
    if kind == 0:  # sites here and there
        return np.asarray(rng.random((steps, 4)) < rng.random())
    if kind == 1:  # spans of some voices
        each = [spans(rng, steps, 48) & (rng.random() < 0.7) for _ in range(4)]
        return np.stack(each, axis=1)
    if kind == 2:  # whole voices
        voices = np.zeros(4, bool)
        voices[rng.permutation(4)[: rng.integers(1, 4)]] = True
        return np.broadcast_to(voices, (steps, 4))
    every = np.repeat(
        spans(rng, steps, 48)[:, None], 4, axis=1
    )  # bars of all voices, or nearly all
    return np.asarray(every & (rng.random(4) >= 0.15))

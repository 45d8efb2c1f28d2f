"""Chorales as tensors: the token and metadata columns networks read, and what masks leave of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.representations.chorale import (
    EDGE,
    HOLD,
    MASK,
    POSITIONS,
    UNKNOWN_FERMATA,
    UNKNOWN_MODE,
    Chorale,
    tokens,
)

META_SIZES = (POSITIONS, 4, 3, 3, 12, 12)
"""Values of each metadata column: position, metre, fermata, mode, key shift + 5, tonic; the last value
of fermata and the first of mode mean unknown. The tonic is 0 but for training examples that are
written beside their normal key."""


@dataclass(frozen=True)
class View:
    """What the networks may read, all [B, T, 4]: tokens and sounding tokens of each stream.

    A sounding token is a token whose HOLD is replaced by what is held, MASK when that is not known.
    `previous` is what every voice sounded one step before.
    """

    past: Tensor
    past_sounding: Tensor
    present: Tensor
    present_sounding: Tensor
    previous: Tensor
    future: Tensor
    future_sounding: Tensor


def sounding(tokens: Tensor, before: Tensor) -> Tensor:
    """[B, T, 4] tokens with every HOLD replaced by what it holds; `before` [B, 4] sounded at −1."""
    T = tokens.size(1)
    steps = torch.arange(T, device=tokens.device)[None, :, None]
    last = torch.where(tokens != HOLD, steps, -1).cummax(1).values
    held = torch.gather(tokens, 1, last.clamp(min=0))
    return torch.where(last >= 0, held, before[:, None])


def view(tokens: Tensor, before: Tensor, past: Tensor, present: Tensor, future: Tensor) -> View:
    """What is left of `tokens` [B, T, 4] when each stream loses the sites of its mask [B, T, 4]."""
    known = tokens == EDGE

    def hide(mask: Tensor) -> Tensor:
        return torch.where(mask & ~known, MASK, tokens)

    p, x, f = hide(past), hide(present), hide(future)
    ps, fs = sounding(p, before), sounding(f, before)
    previous = torch.cat([before[:, None], ps[:, :-1]], 1)
    return View(p, ps, x, torch.where(x == HOLD, previous, x), previous, f, fs)


@dataclass(frozen=True)
class Columns:
    """A piece as a network reads it: one column of EDGE on either side. tokens [T + 2, 4], meta [T + 2, 6]."""

    tokens: npt.NDArray[np.int64]
    meta: npt.NDArray[np.int64]


def columns(chorale: Chorale, beside: int = 0) -> Columns:
    """Token and metadata columns of a chorale, `beside` semitones below its normal key."""
    c, shift = chorale, chorale.shift
    tonic = np.full(len(c), -beside % 12)
    meta = np.stack([c.position, c.meter, c.fermata, c.mode, shift + 5, tonic], axis=1)
    meta = np.pad(meta.astype(np.int64), ((1, 1), (0, 0)), mode="edge")
    meta[[0, -1], 2] = 0
    edge = np.pad(tokens(c, shift + beside), ((1, 1), (0, 0)), constant_values=EDGE)
    return Columns(edge, meta)


@dataclass(frozen=True)
class Batch:
    """tokens [B, T, 4], meta [B, T, 6], before [B, 4]: what sounded before the first column."""

    tokens: Tensor
    meta: Tensor
    before: Tensor


def gather(pieces: Sequence[Columns], device: str) -> Batch:
    """Whole pieces side by side, filled up with EDGE."""
    T = max(len(p.tokens) for p in pieces)
    token = np.full((len(pieces), T, 4), EDGE, np.int64)
    meta = np.zeros((len(pieces), T, len(META_SIZES)), np.int64)
    for b, piece in enumerate(pieces):
        token[b, : len(piece.tokens)] = piece.tokens
        meta[b, : len(piece.meta)] = piece.meta
    before = torch.full((len(pieces), 4), MASK, device=device)
    return Batch(torch.from_numpy(token).to(device), torch.from_numpy(meta).to(device), before)


def crops(
    rng: np.random.Generator,
    corpus: Sequence[Chorale],
    count: int,
    steps: int,
    device: str,
    beside: float = 0.4,
) -> Batch:
    """Random stretches of random chorales, longer ones more often, each transposed within the ranges
    of its voices and, for a share `beside` of them, written beside the normal key, so that the same
    notes are met on other degrees; metadata is left out now and then."""
    lengths = np.array([len(c) for c in corpus], float)
    token = np.full((count, steps, 4), EDGE, np.int64)
    meta = np.zeros((count, steps, len(META_SIZES)), np.int64)
    before = np.full((count, 4), MASK, np.int64)
    for b, i in enumerate(rng.choice(len(corpus), size=count, p=lengths / lengths.sum())):
        chorale = corpus[int(i)]
        moved = chorale.transposed(int(rng.choice(chorale.transpositions())))
        piece = columns(moved, int(rng.integers(-5, 7)) if rng.random() < beside else 0)
        start = int(rng.integers(0, max(len(piece.tokens) - steps, 0) + 1))
        part = piece.tokens[start : start + steps]
        token[b, : len(part)] = part
        meta[b, : len(part)] = piece.meta[start : start + steps]
        if start:
            for u in range(4):
                struck = np.flatnonzero(piece.tokens[:start, u] != HOLD)[-1]
                before[b, u] = piece.tokens[struck, u]
        if rng.random() < 0.12:
            meta[b, :, 2] = UNKNOWN_FERMATA
        if rng.random() < 0.15:
            meta[b, :, 3] = UNKNOWN_MODE
    return Batch(*(torch.from_numpy(a).to(device) for a in (token, meta, before)))

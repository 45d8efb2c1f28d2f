"""What variational autoencoders of phrases share in training."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.representations.melody import Phrases, transposed


def batch(phrases: Phrases, size: int, rng: np.random.Generator) -> Tensor:
    """Phrases [size, T] at random, each moved by up to half an octave as its range allows."""
    picked = phrases.where(rng.integers(len(phrases), size=size))
    low, high = picked.room
    shift = np.clip(rng.integers(-6, 7, size), low, high)
    return torch.from_numpy(transposed(picked.tokens, shift).astype(np.int64))


def some(phrases: Any, most: int) -> Tensor:
    """Tokens [N, T] of at most so many phrases, evenly spaced."""
    picked = np.linspace(0, len(phrases) - 1, min(len(phrases), most)).astype(int)
    return torch.from_numpy(phrases.tokens[picked].astype(np.int64))


def divergence(mean: Tensor, spread: Tensor) -> Tensor:
    """Nats [B, L] by which normal distributions, `spread` the log of their standard deviations, are away
    from the prior in each dimension (Kingma & Welling 2013, appendix B)."""
    return 0.5 * (mean**2 + (2 * spread).exp() - 1 - 2 * spread)

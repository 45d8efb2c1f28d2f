"""Coder: what latent strategies, figures and benchmarks need of a system with a latent space."""

from __future__ import annotations

from typing import ClassVar, Protocol

from torch import Tensor

from models.card import Card


class Coder(Protocol):
    """A variational autoencoder of melodies; every VAE in models.systems is one.

    bars: of a window, whose steps are T = 16 × bars; latent: dimensions L of a code. All three methods run
    without gradients, whole batches at once, and take and return tensors on the CPU.
    """

    card: ClassVar[Card]
    bars: int
    latent: int
    device: str

    def encode(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens [B, T] int64 → mean and standard deviation [B, L] of the codes they stand for."""
        ...

    def decode(
        self, z: Tensor, noise: Tensor | None = None, temperature: float = 1.0, masked: bool = True
    ) -> Tensor:
        """Codes [B, L] → tokens [B, T] int64, step by step, each step hearing those before it.

        noise: uniform numbers [B, T], the only randomness (sampling by inverse distribution function);
        None, or temperature 0, takes the likeliest token. masked: no hold may hold nothing.
        """
        ...

    def log_probs(self, tokens: Tensor, z: Tensor) -> Tensor:
        """Log probabilities [B, T, TOKENS] of every token given the true ones before it and the code."""
        ...

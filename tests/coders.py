"""A coder without weights, for tests: a code is the bits of the tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models.card import LATENT_PARAMS, Card, Objective, Representation, Task
from models.representations.melody import BAR, FIRST, HOLD, TOKENS, repaired
from models.strategies import latent
from models.system import Ask, Context, Progress, Proposal

BITS = 6
WEIGHT = 2 ** torch.arange(BITS)

CARD = Card(
    id="bits",
    name="Bits",
    source="tests",
    objective=Objective(type="melody", destination="score", mode="interactive"),
    representation=Representation("melody", steps_per_beat=4, hold=True, encoding="bits"),
    architecture="none",
    challenges=("control",),
    strategy=("table",),
    tasks=(Task.CREATE, Task.INTERPOLATE, Task.RESHAPE, Task.REGENERATE),
    params=(*LATENT_PARAMS,),
    voices=("melody",),
    year=2018,
)


class BitCoder:
    """Each step's token as six numbers, ±1; decoding takes their signs, and with noise other ones the
    oftener the nearer they are to 0.

    wrong: a step at which whatever is heard comes back as silence, as from a real autoencoder.
    """

    card: ClassVar[Card] = CARD

    def __init__(self, bars: int = 2, wrong: int | None = None) -> None:
        self.bars = bars
        self.latent = bars * BAR * BITS
        self.device = "cpu"
        self.wrong = wrong

    def encode(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """See `models.coder.Coder`."""
        bits = (tokens[..., None] // WEIGHT % 2).float() * 2 - 1
        if self.wrong is not None:
            bits[:, self.wrong] = -1.0
        z = bits.flatten(1)
        return z, torch.full_like(z, 0.1)

    def decode(
        self, z: Tensor, noise: Tensor | None = None, temperature: float = 1.0, masked: bool = True
    ) -> Tensor:
        """See `models.coder.Coder`."""
        sharp = z.view(len(z), -1, BITS)
        if noise is not None and temperature > 0:
            moves = (noise[..., None] * 2.0 ** torch.arange(BITS)) % 1 * 2 - 1
            sharp = sharp + moves * temperature
        tokens = ((sharp > 0).long() * WEIGHT).sum(-1)
        tokens = torch.where(tokens < TOKENS, tokens, tokens - 16)
        if masked:
            tokens = torch.from_numpy(repaired(tokens.numpy().astype(np.uint8)).astype(np.int64))
        return tokens

    def log_probs(self, tokens: Tensor, z: Tensor) -> Tensor:
        """See `models.coder.Coder`."""
        likely = F.one_hot(self.decode(z, masked=False), TOKENS).float()
        return torch.log_softmax(6 * likely, -1)

    def generate(self, ask: Ask, context: Context) -> Iterator[Proposal | Progress]:
        """See `models.system.System`."""
        return latent.generate(self, ask, context)


def params(**given: Any) -> Mapping[str, Any]:
    """Every parameter of the card."""
    return replace(CARD).values(given)


def melody(*notes: tuple[int, int, int]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Two bars of tokens from notes (step, steps, pitch)."""
    out = np.zeros(2 * BAR, np.uint8)
    for at, length, pitch in notes:
        out[at] = FIRST + pitch - 36
        out[at + 1 : at + length] = HOLD
    return out

"""Choosing the next token of melodies, a column of a batch at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from models.representations.melody import HOLD, REST


class Chooser:
    """Draws a token a row and step, by inverse distribution function, and knows which rows are silent.

    noise: uniform numbers [B, T], or None for the likeliest token; masked: no hold may hold nothing.
    sounding: whether something may sound when the first step begins (it can then be held).
    """

    def __init__(
        self,
        batch: int,
        noise: Tensor | None,
        temperature: float,
        masked: bool,
        sounding: Tensor | None = None,
    ) -> None:
        self.noise = noise.double() if noise is not None and temperature > 0 else None
        self.temperature = temperature
        self.masked = masked
        self.silent = torch.ones(batch, dtype=torch.bool) if sounding is None else ~sounding

    def __call__(self, logits: Tensor, step: int) -> Tensor:
        """Tokens [B] of step `step` for logits [B, TOKENS], which may be changed."""
        if self.masked:
            logits[:, HOLD].masked_fill_(self.silent, -torch.inf)
        if self.noise is None:
            token = logits.argmax(-1)
        else:
            shares = torch.softmax(logits.double() / self.temperature, -1).cumsum_(-1)
            drawn = self.noise[:, step : step + 1] * shares[:, -1:]
            # The first token whose cumulated share exceeds the number drawn; one of no share never does.
            token = (shares <= drawn).sum(-1).clamp_(max=logits.shape[-1] - 1)
        if self.masked:
            self.silent = (token == REST) | (self.silent & (token == HOLD))
        return token

"""Choosing the next token of melodies, a column of a batch at a time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from torch import Tensor

from models.representations.melody import HOLD, REST

Ints = npt.NDArray[np.int64]


class Chooser:
    """Draws a token a row and step, by inverse distribution function, and knows which rows are silent.

    noise: uniform numbers [B, T], or None for the likeliest token; masked: no hold may hold nothing.
    sounding [B]: whether something may sound when the first step begins (it can then be held).
    """

    def __init__(
        self,
        batch: int,
        noise: Tensor | None,
        temperature: float,
        masked: bool,
        sounding: Tensor | None = None,
    ) -> None:
        self.noise: npt.NDArray[np.float64] | None = None  # T, B, 1
        if noise is not None and temperature > 0:
            # Below 1 even once it is rounded, so that the last share exceeds it.
            self.noise = np.minimum(noise.double().cpu().numpy(), 1 - 1e-12).T[:, :, None]
        self.temperature = temperature
        self.masked = masked
        self.silent = np.ones(batch, bool) if sounding is None else ~sounding.numpy()
        self._shares = np.zeros((0, 0))

    def __call__(self, logits: npt.NDArray[np.float32], step: int) -> Ints:
        """Tokens [B] of step `step` for logits [B, TOKENS], which may be changed."""
        if self.masked:
            np.copyto(logits[:, HOLD], -np.inf, where=self.silent)
        if self.noise is None:
            token: Ints = logits.argmax(-1)
        else:
            if self._shares.shape != logits.shape:
                self._shares = np.empty(logits.shape)
            shares = self._shares
            np.subtract(logits, logits.max(-1, keepdims=True), out=shares)
            if self.temperature != 1:
                np.divide(shares, self.temperature, out=shares)
            np.cumsum(np.exp(shares, out=shares), -1, out=shares)
            # The first token whose cumulated share exceeds the number drawn; one of no share never does.
            token = (shares > self.noise[step] * shares[:, -1:]).argmax(-1)
        if self.masked:
            self.silent &= token == HOLD
            self.silent |= token == REST
        return token

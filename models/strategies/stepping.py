"""Recurrent nets a step at a time, with numpy: state is kept, and a step makes no new arrays.

A step of a small net is some microseconds of arithmetic, and as many of calling for it. So what a token adds is a
row of a table, a layer is one product, one tanh does for all of its gates, and all calls write into arrays that
were made once. One row through a matrix takes numpy two thirds of torch's time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

Floats = npt.NDArray[np.float32]

HALF = np.full(1, 0.5, np.float32)

Weights = tuple[Tensor, Tensor, Tensor]
"""Of a layer, as torch has them: what input [4H, I] and its own output [4H, H] add to its gates, and bias [4H];
the gates are input, forget, cell, output."""


def weights(*lstms: nn.LSTM) -> list[Weights]:
    """Of the layers of LSTMs one above the other."""
    return [(w, u, b + c) for lstm in lstms for w, u, b, c in lstm.all_weights]


class LSTM:
    """What layers one above the other multiply by, prepared for steps.

    What is told the lowest one comes as rows of tables (`rows`), the last `heard` of its inputs as numbers.
    Steps are taken on the CPU wherever the net is: each is too small for more.
    """

    def __init__(self, layers: Sequence[Weights], heard: int = 0) -> None:
        self.heard = heard
        self.units = [u.shape[1] for _, u, _ in layers]
        self.turn: list[Floats] = []  # what is heard or below, and the own output; 4H
        self.bias: list[Floats] = []
        with torch.no_grad():
            for k, (w, u, b) in enumerate(layers):
                below = w[:, w.shape[1] - heard :] if k == 0 else w
                self.turn.append(_gates(torch.cat([below, u], 1)).T.contiguous().numpy())
                self.bias.append(_gates(b[:, None])[:, 0].contiguous().numpy())
            self._read = _gates(layers[0][0]).T.contiguous()

    def rows(self, vectors: Tensor, first: int = 0, bias: bool = True) -> Floats:
        """[..., 4H] what vectors [..., n] add to the gates of the lowest layer, n of whose inputs, from
        `first` on, they are; with its bias or without."""
        with torch.no_grad():
            read = self._read[first : first + vectors.shape[-1]]
            found: Floats = (vectors.detach().cpu().float() @ read).contiguous().numpy()
        return found + self.bias[0] if bias else found


def _gates(x: Tensor) -> Tensor:
    """torch's gates [4H, ...] in the order cell, forget, input, output, the last three halved:
    σ(x) = ½ + ½ tanh(x / 2)."""
    i, f, g, o = x.detach().cpu().float().chunk(4)
    return torch.cat([g, f / 2, i / 2, o / 2])


class Walk:
    """So many sequences side by side, as far as they have come: memories are kept, never replayed."""

    def __init__(self, lstm: LSTM, rows: int) -> None:
        self._inputs = []
        self._memories = []
        self._layers = []
        below = lstm.heard
        for turn, units in zip(lstm.turn, lstm.units, strict=True):
            inputs = np.zeros((rows, below + units), np.float32)
            # The memory stands before the gates, so that it and what is new are multiplied at once.
            room = np.zeros((rows, 5 * units), np.float32)
            memory, fresh = room[:, :units], room[:, units : 2 * units]
            self._layers.append((
                inputs, turn, room[:, units:], room[:, 2 * units :],
                room[:, : 2 * units], room[:, 2 * units : 4 * units], memory, fresh,
                room[:, 4 * units :], np.zeros((rows, units), np.float32), inputs[:, below:],
            ))  # fmt: skip
            self._inputs.append(inputs)
            self._memories.append(memory)
            below = units
        self._above = [(x[:, :-n], b) for x, n, b in
                       zip(self._inputs[1:], lstm.units[1:], lstm.bias[1:], strict=True)]  # fmt: skip
        self.heard = self._inputs[0][:, : lstm.heard]
        """[rows, heard], to be written: the numbers that the lowest layer hears next."""
        self.inputs = self._inputs[0]
        """[rows, heard + units]: those and, after a step, the lowest layer's output."""
        self.output = self._inputs[-1][:, -lstm.units[-1] :]
        """[rows, units]: the highest layer's, to be read until the next step."""
        self._own = [x[:, -n:] for x, n in zip(self._inputs, lstm.units, strict=True)]

    def step(self, told: Floats) -> Floats:
        """Takes a step, told [rows, 4H] at the lowest layer; the `output`."""
        for k, (x, turn, gates, sure, both, factors, c, fresh, show, turned, own) in enumerate(
            self._layers
        ):
            if k:
                below, bias = self._above[k - 1]
                np.copyto(below, self._own[k - 1])
                told = bias
            np.matmul(x, turn, gates)
            np.add(gates, told, gates)
            np.tanh(gates, gates)
            np.multiply(sure, HALF, sure)
            np.add(sure, HALF, sure)
            np.multiply(both, factors, both)
            np.add(c, fresh, c)
            np.tanh(c, turned)
            np.multiply(show, turned, own)
        return self.output

    def state(self, row: int | slice = slice(None)) -> list[tuple[Floats, Floats]]:
        """Copies of each layer's outputs and memories, of a row [H] or all of them [rows, H]."""
        return [(h[row].copy(), c[row].copy()) for h, c in
                zip(self._own, self._memories, strict=True)]  # fmt: skip

    def put(
        self, state: Sequence[tuple[npt.ArrayLike, npt.ArrayLike]], row: int | slice = slice(None)
    ) -> None:
        """Goes on from a state, in one row or in all, in which it may be the same."""
        for own, c, (h, memory) in zip(self._own, self._memories, state, strict=True):
            own[row], c[row] = h, memory

    def forget(self) -> None:
        """Back to where nothing has been heard."""
        for own, c in zip(self._own, self._memories, strict=True):
            own.fill(0)
            c.fill(0)


def linear(layer: nn.Linear) -> tuple[Floats, Floats]:
    """A layer's weight [inputs, outputs] and bias."""
    with torch.no_grad():
        return layer.weight.cpu().float().T.contiguous().numpy(), layer.bias.cpu().float().numpy()


def gumbel(rng: np.random.Generator, *size: int) -> npt.NDArray[np.float64]:
    """Numbers which, added to logits, leave the largest where their softmax would have it drawn."""
    noise = rng.random(size)
    np.maximum(noise, 1e-300, out=noise)
    np.log(noise, out=noise)
    np.log(np.negative(noise, out=noise), out=noise)
    return np.negative(noise, out=noise)

"""LSTM as it was in 2002: memory blocks of several cells that share their gates (Gers et al. 2000).

An ordinary LSTM is one whose blocks have a cell each. Here a gate's weights are written once a block, and
spread over its cells before torch's own LSTM runs on them.
"""

from __future__ import annotations

from copy import copy

import torch
from torch import Tensor, nn

from models.strategies import stepping
from models.strategies.stepping import Floats

State = tuple[Tensor, Tensor]

SHUT = (0.5, 2.0)
"""How far the gates of the first and the last block begin closed: the blocks come into use one after another."""
REMEMBERS = (1.0, 6.0)
"""Where their forget gates begin: to remember for some three steps, and for some 400."""
SPREAD = 0.3
"""Weights begin between −SPREAD and SPREAD."""


class BlockLSTM(nn.Module):
    """`blocks` memory blocks of `cells` cells; every cell and gate reads all inputs and all cells."""

    def __init__(self, inputs: int, blocks: int, cells: int) -> None:
        super().__init__()
        self.inputs, self.blocks, self.cells = inputs, blocks, cells
        self.units = blocks * cells
        read = inputs + self.units
        self.gate = nn.Parameter(torch.empty(3, blocks, read).uniform_(-SPREAD, SPREAD))
        shut, remembers = (torch.linspace(*ends, blocks) for ends in (SHUT, REMEMBERS))
        self.gate_bias = nn.Parameter(
            torch.stack([-shut, remembers, -shut])
        )  # input, forget, output
        self.cell = nn.Parameter(torch.empty(self.units, read).uniform_(-SPREAD, SPREAD))
        self.cell_bias = nn.Parameter(torch.zeros(self.units))

    def whole(self) -> tuple[Tensor, Tensor]:
        """Weight [4 units, inputs + units] and bias [4 units], in torch's order of gates."""
        gates = self.gate.repeat_interleave(self.cells, 1)
        bias = self.gate_bias.repeat_interleave(self.cells, 1)
        rows = (gates[0], gates[1], self.cell, gates[2])
        return torch.cat(rows), torch.cat([bias[0], bias[1], self.cell_bias, bias[2]])

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """x [B, T, inputs] → what the cells put out [B, T, units], and the state (h, c), each [1, B, units]."""
        weight, bias = self.whole()
        read, recurrent = weight[:, : self.inputs], weight[:, self.inputs :]
        if state is None:
            zero = x.new_zeros(1, len(x), self.units)
            state = zero, zero
        flat = [read.contiguous(), recurrent.contiguous(), bias, torch.zeros_like(bias)]
        out, h, c = torch.lstm(x, state, flat, True, 1, 0.0, self.training, False, True)
        return out, (h, c)


class Stepper:
    """One sequence through a BlockLSTM, a step at a time."""

    def __init__(self, lstm: BlockLSTM) -> None:
        weight, bias = lstm.whole()
        read, turn = weight[:, : lstm.inputs], weight[:, lstm.inputs :]
        self._lstm = stepping.LSTM([(read, turn, bias)], lstm.inputs)
        self._begin()

    def _begin(self) -> None:
        self._walk = stepping.Walk(self._lstm, 1)
        self.heard: Floats = self._walk.heard[0]
        """[inputs], to be written before each step."""
        self.inputs: Floats = self._walk.inputs
        """[1, inputs + units]: what was heard, and what the cells put out after a step."""
        self.output: Floats = self._walk.output[0]

    def twin(self) -> Stepper:
        """Another one that goes on from here on its own."""
        twin = copy(self)
        twin._begin()
        twin._walk.put(self._walk.state())
        return twin

    def step(self) -> Floats:
        """What the cells put out [units] after what is `heard`; to be read until the next step."""
        self._walk.step(self._lstm.bias[0])
        return self.output

"""One step at a time through DeepBach's past networks, for many stretches at once.

The four voices' LSTMs run as one batched product per layer, and whatever depends on a token alone
(embedding, input weights, the joining layer's present column) is a row of a precomputed table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from models.representations.chorale import FIRST_PITCH, HOLD, LOW, MASK, TOKENS

MOTIONS = 3 * 12 * 12
"""Ways two voices can move: the other one stays, rises or falls; its interval to this one before, its
pitch class now. See `motions`."""


def motions(sound: Tensor, previous: Tensor, voice: int) -> Tensor:
    """[..., 4] the row of a motion table for each other voice, MOTIONS where a pitch is not known.

    sound, previous [..., 4]: what the voices sound now (of `voice` it does not matter) and before.
    """
    own = previous[..., voice : voice + 1]
    turn = (sound > previous).long() + 2 * (sound < previous).long()
    row = (turn * 12 + (own - previous) % 12) * 12 + (sound + (LOW - FIRST_PITCH)) % 12
    known = (sound >= FIRST_PITCH) & (previous >= FIRST_PITCH) & (own >= FIRST_PITCH)
    row = torch.where(known, row, MOTIONS)
    row[..., voice] = MOTIONS
    return row


def _gates(weight: Tensor) -> Tensor:
    """torch's gate order (input, forget, cell, output) as (input, forget, output, cell), first axis."""
    i, f, g, o = weight.chunk(4)
    return torch.cat([i, f, o, g])


class Tables:
    """What `Stepper` reads, made once from the four voice networks (see models.systems.deep_bach)."""

    def __init__(self, voices: Sequence[Any]) -> None:
        with torch.no_grad():
            self.units = voices[0].past[0].hidden_size
            self.layers = len(voices[0].past)
            H = self.units
            E = voices[0].token.token.shape[-1]
            inputs, metas, biases = [], [], []
            for net in voices:
                W = _gates(net.past[0].weight_ih_l0)  # 4H, 4E + M
                rows = [*net.token.rows(), *net.sound.rows()]
                slots = [r @ W[:, E * (s % 4) : E * (s % 4 + 1)].T for s, r in enumerate(rows)]
                inputs.append(torch.cat(slots))  # 8 TOKENS, 4H
                metas.append(W[:, 4 * E :].T)
                biases.append(_gates(net.past[0].bias_ih_l0 + net.past[0].bias_hh_l0))
            self.input = torch.cat(inputs, 1).contiguous()  # 8 TOKENS, 4 × 4H
            self.meta, self.bias = torch.stack(metas), torch.stack(biases)
            self.first = torch.stack([_gates(n.past[0].weight_hh_l0).T for n in voices])
            self.deeper: list[tuple[Tensor, Tensor]] = []
            for layer in range(1, self.layers):
                weight, bias = [], []
                for net in voices:
                    lstm = net.past[layer]
                    both = torch.cat([lstm.weight_ih_l0, lstm.weight_hh_l0], 1)
                    weight.append(_gates(both).T)
                    bias.append(_gates(lstm.bias_ih_l0 + lstm.bias_hh_l0)[None])
                self.deeper.append((torch.stack(weight), torch.stack(bias)))
            joins = [net.join.weight for net in voices]  # J, H + H + 4E + M
            self.join_past = torch.stack([w[:, :H].T for w in joins])
            self.join_future = torch.stack([w[:, H : 2 * H].T for w in joins])
            self.join_meta = torch.stack([w[:, 2 * H + 4 * E :].T for w in joins])
            self.join_bias = torch.stack([net.join.bias for net in voices])
            self.present = []
            for net, w in zip(voices, joins, strict=True):
                part = w[:, 2 * H : 2 * H + 4 * E]
                tables = [net.present_token, net.present_sound, net.before_sound]
                rows = [row for table in tables for row in table.rows()]
                slots = [r @ part[:, E * (s % 4) : E * (s % 4 + 1)].T for s, r in enumerate(rows)]
                self.present.append(torch.cat(slots))  # 12 TOKENS, J
            self.out = [net.out.rows()[0].T.contiguous() for net in voices]
            self.out_bias = [net.bias.detach() for net in voices]
            # Rows 0…4 TOKENS: what a sounding token adds to all logits; then what a motion adds.
            self.near = []
            for net in voices:
                pair = [net.interval_rows().flatten(0, 1), net.motion_rows().flatten(0, 1)]
                self.near.append(F.pad(torch.cat(pair), (FIRST_PITCH, 0)))


class Stepper:
    """Writes stretches of sequences from left to right.

    sound [C, T, 4]: what each voice sounds, as far as it is known. future [4, C, T, H]: the future
    LSTMs' states. metadata [4, T, M]: each network's metadata vectors.
    """

    def __init__(self, tables: Tables, sound: Tensor, future: Tensor, metadata: Tensor) -> None:
        self.tables, self.sound = tables, sound
        t = tables
        device = sound.device
        at_meta = torch.einsum("vtm,vmg->tvg", metadata, t.meta) + t.bias  # T, 4, 4H
        self.at_input = at_meta.reshape(len(at_meta), -1)
        base = torch.einsum("vctj,vjk->ctvk", future, t.join_future)
        base += torch.einsum("vtm,vmk->tvk", metadata, t.join_meta) + t.join_bias
        self.base = base  # C, T, 4, J
        voices = torch.arange(4, device=device)
        self.slots = torch.arange(12, device=device) * TOKENS
        self.near_slots = torch.cat([voices * TOKENS, 4 * TOKENS + voices * (MOTIONS + 1)])

    def start(self, sequence: Tensor, first: Tensor) -> None:
        """Begins stretches at steps `first` [N] of sequences `sequence` [N]; a negative first step
        waits until the sequence begins."""
        t, n = self.tables, len(sequence)
        self.early = bool((first < 0).any())
        self.sequence, self.at = sequence, first.clone()
        before = self.sound[sequence, (first - 1).clamp(min=0)]
        self.previous = torch.where((first > 0)[:, None], before, MASK)
        zero = torch.zeros(4, n, t.units, device=sequence.device)
        self.h = [zero] * t.layers
        self.c = [zero] * t.layers
        self.joined = self._join()

    def _join(self) -> Tensor:
        """[4, N, J]: past, future and metadata in the joining layer, before the present column."""
        at = self.at.clamp(0, self.base.size(1) - 1)
        known = self.base[self.sequence, at].transpose(0, 1)
        return torch.baddbmm(known, self.h[-1], self.tables.join_past)

    def voice(self, voice: int, present: Tensor) -> Tensor:
        """Logits [N, TOKENS] of one voice; `present` [N, 4] with MASK where not yet written."""
        t = self.tables
        sound = torch.where(present == HOLD, self.previous, present)
        sound[:, voice] = self.previous[:, voice]
        token = present.clone()
        token[:, voice] = MASK
        rows = torch.cat([token, sound, self.previous], 1) + self.slots
        hidden = self.joined[voice] + F.embedding_bag(rows, t.present[voice], mode="sum")
        logits = torch.addmm(t.out_bias[voice], hidden.relu_(), t.out[voice])
        rows = torch.cat([sound, motions(sound, self.previous, voice)], 1) + self.near_slots
        return logits + F.embedding_bag(rows, t.near[voice], mode="sum")

    def advance(self, present: Tensor) -> None:
        """Takes the step: `present` [N, 4] has been written."""
        t, H = self.tables, self.tables.units
        sound = torch.where(present == HOLD, self.previous, present)
        rows = torch.cat([present, sound], 1) + self.slots[:8]
        at = self.at.clamp(0, len(self.at_input) - 1)
        x = F.embedding_bag(rows, t.input, mode="sum") + self.at_input[at]
        x = x.view(len(rows), 4, 4 * H).transpose(0, 1)
        gates = torch.baddbmm(x, self.h[0], t.first)
        for layer in range(t.layers):
            if layer:
                weight, bias = t.deeper[layer - 1]
                gates = torch.baddbmm(
                    bias, torch.cat([self.h[layer - 1], self.h[layer]], 2), weight
                )
            i, f, o = gates[..., : 3 * H].sigmoid().chunk(3, -1)
            c = f * self.c[layer] + i * gates[..., 3 * H :].tanh()
            # New objects, not in place: the layers share their zero state at the start.
            self.c[layer], self.h[layer] = c, o * c.tanh()
        self.previous = sound
        if self.early:
            begun = (self.at >= 0)[:, None]
            self.previous = torch.where(begun, sound, MASK)
            self.h = [torch.where(begun, h, 0.0) for h in self.h]
            self.c = [torch.where(begun, c, 0.0) for c in self.c]
        self.at = self.at + 1
        self.joined = self._join()

"""Stacked autoencoders: layers that were Boltzmann machines first, and codes one can turn by hand
(Hinton & Salakhutdinov 2006; Sun 2015; Briot et al. 5.6, 6.4.1 and 6.10.4).

Every layer of the encoder lends its weights, turned over, to the decoder. Sigmoids four deep learn slowly
from where chance puts them, so each layer first learns alone, in turn, to give back what it hears.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models import training

PRETRAINED = 0.1
"""Share of a training run that goes to the layers one by one."""
SELDOM = 2e-3
"""No unit is taken to be on less often than that, or off."""
SPREAD = 4.0
"""How much wider than Glorot's the first weights are, as a sigmoid is four times as flat as a line."""


class Stack(nn.Module):
    """Layers of so many units; the first of `sizes` is what is heard, the last the code.

    What is heard x is either [B, visible], each unit 0–1, or if the units come in steps of `keys` units of
    which exactly one is on, [B, steps], which one.
    """

    def __init__(self, sizes: Sequence[int], keys: int = 0) -> None:
        super().__init__()
        self.keys = keys
        pairs = list(pairwise(sizes))
        self.weight = nn.ParameterList(
            torch.randn(low, high) * SPREAD * (2 / (low + high)) ** 0.5 for low, high in pairs
        )
        self.up = nn.ParameterList(torch.zeros(high) for _, high in pairs)
        self.down = nn.ParameterList(torch.zeros(low) for low, _ in pairs)

    @property
    def depth(self) -> int:
        """Layers of the encoder."""
        return len(self.weight)

    def drive(self, k: int, v: Tensor) -> Tensor:
        """What the units v below layer k (x for the first) do to it [B, high]."""
        if v.is_floating_point():
            driven: Tensor = v @ self.weight[k] + self.up[k]
            return driven
        rows = v + torch.arange(v.shape[1], device=v.device) * self.keys
        driven = F.embedding_bag(rows, self.weight[k], mode="sum") + self.up[k]
        return driven

    def raw(self, x: Tensor, layers: int) -> Tensor:
        """x → what drives the last of so many layers [B, units]; its sigmoid is what the layer does."""
        h = self.drive(0, x)
        for k in range(1, layers):
            h = self.drive(k, torch.sigmoid(h))
        return h

    def encode(self, x: Tensor) -> Tensor:
        """x → codes [B, code], 0–1"""
        return torch.sigmoid(self.raw(x, self.depth).float())

    def decode(self, z: Tensor) -> Tensor:
        """Codes [B, code] → logits of what is heard [B, visible]"""
        for k in reversed(range(1, self.depth)):
            z = torch.sigmoid(self.below(k, z))
        return self.below(0, z).float()

    def below(self, k: int, h: Tensor) -> Tensor:
        """Units of layer k [B, high] → logits of the units below it [B, low]"""
        said: Tensor = h @ self.weight[k].T + self.down[k]
        return said

    def nats(self, said: Tensor, v: Tensor) -> Tensor:
        """Cross-entropy [B] of units v under logits [B, visible]"""
        if v.is_floating_point():
            return F.binary_cross_entropy_with_logits(said, v, reduction="none").sum(-1)
        steps = said.view(*v.shape, self.keys)
        return F.cross_entropy(steps.transpose(1, 2), v, reduction="none").sum(-1)


def settle(stack: Stack, x: Tensor) -> None:
    """Sets the biases so that the mean of x leaves every unit above half on, and half of those say the mean.

    Nearly all keys are nearly always silent: to learn that first would drive the code to one end.
    """
    v = x if x.is_floating_point() else F.one_hot(x, stack.keys).flatten(1).float()
    with torch.no_grad():
        for weight, up, down in zip(stack.weight, stack.up, stack.down, strict=True):
            mean = v.mean(0)
            up.copy_(-mean @ weight)
            down.copy_(torch.logit(mean, SELDOM) - weight.sum(1) / 2)
            v = torch.sigmoid(v @ weight + up)


def alone(stack: Stack, k: int, x: Tensor) -> Tensor:
    """Nats [B] that the units below layer k come back with, by that layer alone."""
    with torch.no_grad():
        v = torch.sigmoid(stack.raw(x, k)).float() if k else x
    return stack.nats(stack.below(k, torch.sigmoid(stack.drive(k, v))).float(), v)


def train(
    stack: Stack, draw: Callable[[], Tensor], fit: training.Fit, blur: float
) -> Iterator[Mapping[str, float]]:
    """Learns from batches x for ever: layer after layer, then all of them together. One update before each
    yield of the nats a batch comes back with, from the layer in turn (`layer` says which) or from the code.

    Codes are blurred by so much of a logit, so that near codes are near music.
    """
    if not fit.step:
        settle(stack, draw())
    while True:
        x = draw()
        turn = int(fit.fraction / PRETRAINED * stack.depth)
        with torch.autocast(x.device.type, torch.bfloat16):
            if turn < stack.depth:
                nats = alone(stack, turn, x)
            else:
                raw = stack.raw(x, stack.depth).float()
                said = stack.decode(torch.sigmoid(raw + blur * torch.randn_like(raw)))
                nats = stack.nats(said, x)
        record = {"layer": turn + 1.0} if turn < stack.depth else {}
        yield {"loss_nats": fit.update(nats.mean()), **record}

"""MusicVAE, two bars (Roberts, Engel, Raffel, Hawthorne, Eck 2018, 3 and 4.2; Briot et al. 6.12.1).

A bidirectional LSTM reads 32 sixteenths of melody into a normal distribution of codes; an LSTM that hears
its own past writes them again from a code. Between two codes there is music, too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models import latent_figures, nets, training
from models.card import LATENT_PARAMS, Card, Objective, Representation, Task
from models.representations.melody import BAR, TOKENS
from models.strategies import latent, vae
from models.strategies.choosing import Chooser
from models.system import Ask, Context, Progress, Proposal

CARD = Card(
    id="music_vae_2bar",
    name="MusicVAE, 2 bars",
    source="Roberts et al. 2018; Briot et al. 6.12.1",
    objective=Objective(type="melody", destination="score", mode="interactive"),
    representation=Representation("melody", steps_per_beat=4, hold=True, encoding="one-hot"),
    architecture="variational autoencoder (bidirectional LSTM, LSTM)",
    challenges=("control", "interactivity", "variability"),
    strategy=("iterative feedforward: decoding a code",),
    tasks=(Task.CREATE, Task.INTERPOLATE, Task.RESHAPE, Task.REGENERATE),
    params=(*LATENT_PARAMS,),
    voices=("melody",),
    listens="A melody in 4/4, two bars at a time.",
    strengths="Nearly every two bars come back from their code as they were; near codes are near melodies.",
    weaknesses="One voice in sixteenths, 4/4; each two bars know nothing of the two before.",
    year=2018,
    figure=".993 of steps right told the past, .974 on its own",
)

BARS = 2
STEPS = BARS * BAR
BATCH = 128
VALIDATED = 1500
"""Phrases `watch` looks at."""


@dataclass(frozen=True)
class Shape:
    """Dimensions of a code, of token vectors, units of the encoder (each direction) and the decoder."""

    latent: int = 128
    width: int = 96
    kept: int = 32
    read: int = 224
    write: int = 384


class Net(nn.Module):
    """Encoder and decoder."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        L, E, K = shape.latent, shape.width, shape.kept
        R, W = shape.read, shape.write
        self.heard = nn.Embedding(TOKENS, E)
        self.reader = nn.LSTM(E, R, batch_first=True, bidirectional=True)
        self.kept = nn.Linear(2 * R, K)
        self.code = nn.Linear(STEPS * K, 2 * L)
        self.past = nn.Embedding(TOKENS + 1, E)  # the last one stands for the beginning
        self.place = nn.Embedding(STEPS, E)
        self.told = nn.Linear(L, STEPS * E)
        self.start = nn.Linear(L, 2 * W)
        self.writer = nn.LSTM(E, W, batch_first=True)
        self.says = nn.Linear(W, TOKENS)

    def encode(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """tokens [B, T] → mean [B, L], log standard deviation [B, L]"""
        y, _ = self.reader(self.heard(tokens))  # B, T, 2R
        both = self.code(self.kept(y).flatten(1)).float()
        mean, spread = both.chunk(2, -1)
        return mean, spread - 1.0

    def state(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """z [B, L] → what the writer is told at each step [B, T, E], its first hidden and cell state [B, W]"""
        h, c = self.start(z).chunk(2, -1)
        return self.told(z).view(len(z), STEPS, -1), torch.tanh(h), c

    def decode(self, tokens: Tensor, z: Tensor) -> Tensor:
        """tokens [B, T], the past of each step, and codes [B, L] → logits [B, T, TOKENS]"""
        B, T = tokens.size()
        told, h, c = self.state(z)
        first = torch.full((B, 1), TOKENS, device=tokens.device)
        past = torch.cat([first, tokens[:, :-1]], 1)
        x = self.past(past) + self.place.weight[:T] + told[:, :T]
        y, _ = self.writer(x, (h[None], c[None]))
        logits: Tensor = self.says(y)
        return logits.float()


class Stepper:
    """The decoder's numbers, prepared for one step at a time: what depends on a token alone is a row of a
    table, and the rest one product.

    Steps are taken on the CPU whatever the net's device: each is too small for more.
    """

    def __init__(self, net: Net) -> None:
        writer: Any = net.writer
        with torch.no_grad():
            # torch's gates are input, forget, cell, output; here the three sigmoids come first.
            order = torch.arange(4 * net.shape.write).view(4, -1)[[0, 1, 3, 2]].flatten()
            W = writer.weight_ih_l0[order].T
            bias = (writer.bias_ih_l0 + writer.bias_hh_l0)[order]
            self.past = (net.past.weight @ W + bias).cpu()  # TOKENS + 1, 4W
            self.turn = torch.cat([writer.weight_hh_l0[order].T, W]).cpu()  # W + E, 4W
            self.says = net.says.weight.T.contiguous().cpu()
            self.bias = net.says.bias.cpu()
        self.net = net

    def decode(self, z: Tensor, choose: Chooser) -> Tensor:
        """Codes [B, L] → tokens [B, T]"""
        told, h, c = (x.cpu() for x in self.net.state(z))
        W = h.shape[1]
        told = told + self.net.place.weight.cpu()  # B, T, E
        heard = torch.empty(len(z), W + told.shape[2])
        heard[:, :W] = h
        token = torch.full((len(z),), TOKENS)
        out = torch.empty(len(z), STEPS, dtype=torch.int64)
        for t in range(STEPS):
            heard[:, W:] = told[:, t]
            gates = torch.addmm(self.past[token], heard, self.turn)
            i, f, o = gates[:, :-W].sigmoid_().chunk(3, -1)
            c = torch.addcmul(i * gates[:, -W:].tanh_(), f, c)
            h = o * c.tanh()
            said = torch.addmm(self.bias, h, self.says)
            token = torch.from_numpy(choose(said.numpy(), t))
            out[:, t] = token
            heard[:, :W] = h
        return out


class System:
    """MusicVAE for two bars, with its weights on a device."""

    card: ClassVar[Card] = CARD
    PLAN: ClassVar[dict[str, float]] = {"rate": 3e-3, "decay": 1e-2, "average": 0.999}
    WATCHED: ClassVar[str] = "objective_nats"
    BETA: ClassVar[float] = 0.5
    FREE_NATS: ClassVar[float] = 48 * math.log(2)
    RISE: ClassVar[int] = 1500
    """Weight of the KL divergence beyond the free 48 bits, and the steps it takes to reach it."""

    def __init__(self, net: Net, device: str) -> None:
        self.net = net.to(device)
        self.device = device
        self.bars = BARS
        self.latent = net.shape.latent
        self._stepper: tuple[int, Stepper] | None = None

    @staticmethod
    def corpus(source: training.Source) -> training.Corpus:
        """The two-bar phrases `source` stands for."""
        return training.phrases(source, BARS)

    @classmethod
    def fresh(cls, device: str = "cpu", shape: Shape | None = None) -> System:
        """An untrained one; torch's random numbers decide its weights."""
        return cls(Net(shape or Shape()), device)

    @classmethod
    def load(cls, path: Path | None = None, device: str = "cpu") -> System:
        """With the weights at `path`, or those shipped; UserError when they don't fit."""
        return cls(nets.load(path, CARD.id, Shape, Net), device)

    def save(self, path: Path, card: Mapping[str, Any]) -> None:
        """Writes the weights (in half precision) and `card`, to which the net's shape is added."""
        nets.save(self.net, path, card)

    def encode(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """See `models.coder.Coder`."""
        with torch.no_grad():
            mean, spread = self.net.encode(tokens.to(self.device))
        return mean.cpu(), spread.exp().cpu()

    def decode(
        self, z: Tensor, noise: Tensor | None = None, temperature: float = 1.0, masked: bool = True
    ) -> Tensor:
        """See `models.coder.Coder`."""
        choose = Chooser(len(z), noise, temperature, masked)
        with torch.no_grad():
            return self._steps().decode(z.to(self.device), choose)

    def _steps(self) -> Stepper:
        """The stepper of the weights as they are now."""
        changes = sum(p._version for p in self.net.parameters())
        if self._stepper is None or self._stepper[0] != changes:
            self._stepper = changes, Stepper(self.net)
        return self._stepper[1]

    def log_probs(self, tokens: Tensor, z: Tensor) -> Tensor:
        """See `models.coder.Coder`."""
        with torch.no_grad():
            logits = self.net.decode(tokens.to(self.device), z.to(self.device))
        return F.log_softmax(logits, -1).cpu()

    def generate(self, ask: Ask, context: Context) -> Iterator[Proposal | Progress]:
        """Creates, interpolates, reshapes and regenerates; see `models.strategies.latent`."""
        return latent.generate(self, ask, context)

    def loss(self, tokens: Tensor, z: Tensor) -> Tensor:
        """Nats [B] of phrases [B, T] given their codes."""
        logits = self.net.decode(tokens, z)
        return F.cross_entropy(logits.transpose(1, 2), tokens, reduction="none").sum(-1)

    def train(
        self, corpus: Any, context: Context, fit: training.Fit | None = None
    ) -> Iterator[Mapping[str, float]]:
        """Learns from the phrases of `corpus.train` for ever: one update before each yield. Close it to
        stop."""
        fit = fit or training.Fit(self.net, training.Plan(minutes=2.0))
        self.net.train()
        while True:
            tokens = vae.batch(corpus.train, BATCH, context.rng).to(self.device)
            # Products in bfloat16 take half the time here; the weights stay in single precision.
            with torch.autocast(torch.device(self.device).type, torch.bfloat16):
                mean, spread = self.net.encode(tokens)
                z = mean + spread.exp() * torch.randn_like(mean)
                nats = self.loss(tokens, z)
            kl = vae.divergence(mean, spread).sum(-1)
            beta = self.BETA * min(1.0, fit.step / self.RISE)
            loss = (nats + beta * (kl - self.FREE_NATS).clamp(min=0)).mean()
            record = {"nats": float(nats.detach().mean()), "kl_nats": float(kl.detach().mean())}
            yield {"loss_nats": fit.update(loss), **record}

    def watch(self, data: Any, context: Context) -> Mapping[str, float]:
        """Reconstruction and divergence in nats of up to VALIDATED phrases with codes drawn for them, what
        training minimises, and the share of tokens that come back from the mean code."""
        tokens = vae.some(data, VALIDATED).to(self.device)
        noise = torch.from_numpy(np.random.default_rng(0).normal(size=(len(tokens), self.latent)))
        with torch.no_grad():
            mean, spread = self.net.encode(tokens)
            z = mean + spread.exp() * noise.float().to(self.device)
            nats, kl = self.loss(tokens, z), vae.divergence(mean, spread).sum(-1)
            right = self.net.decode(tokens, mean).argmax(-1) == tokens
        over = (kl - self.FREE_NATS).clamp(min=0)
        return {
            "objective_nats": float((nats + self.BETA * over).mean()),
            "reconstruction_nats": float(nats.mean()),
            "kl_nats": float(kl.mean()),
            "accuracy_teacher_forced": float(right.float().mean()),
        }

    def evaluate(self, data: Any, context: Context) -> Mapping[str, float]:
        """See `models.latent_figures.evaluate`."""
        return latent_figures.evaluate(self, data, context)

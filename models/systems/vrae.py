"""VRAE (Fabius & van Amersfoort 2014, "Variational Recurrent Auto-Encoders"; Briot et al. 6.10).

A plain recurrent net reads a phrase, its last state is the code's mean and spread; a code is the first
state of another plain net, which writes the phrase and hears what it wrote. No gates: what two bars cost
with the oldest of recurrent nets is what this system shows.
"""

from __future__ import annotations

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
from models.strategies import latent, stepping, vae
from models.strategies.choosing import Chooser, Ints
from models.strategies.stepping import Floats
from models.system import Ask, Context, Progress, Proposal

CARD = Card(
    id="vrae",
    name="VRAE",
    source="Fabius & van Amersfoort 2014; Briot et al. 6.10",
    objective=Objective(type="melody", destination="score", mode="interactive"),
    representation=Representation("melody", steps_per_beat=4, hold=True, encoding="one-hot"),
    architecture="variational autoencoder (RNN, RNN)",
    challenges=("control", "variability"),
    strategy=("iterative feedforward: decoding a code",),
    tasks=(Task.CREATE, Task.INTERPOLATE, Task.RESHAPE, Task.REGENERATE),
    params=(*LATENT_PARAMS,),
    voices=("melody",),
    listens="A melody in 4/4, two bars at a time.",
    strengths="The smallest and plainest of the latent systems: two recurrent nets without a gate.",
    weaknesses="Hears the code at its first step alone and forgets: the second bar comes back worse.",
    year=2014,
    figure=".918 of steps right told the past, .774 on its own",
)

BARS = 2
STEPS = BARS * BAR
BATCH = 128
VALIDATED = 1500
"""Phrases `watch` looks at."""


@dataclass(frozen=True)
class Shape:
    """Dimensions of a code and of token vectors, units of either net."""

    latent: int = 64
    width: int = 64
    units: int = 384


class Net(nn.Module):
    """Encoder and decoder."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        L, E, H = shape.latent, shape.width, shape.units
        self.heard = nn.Embedding(TOKENS, E)
        self.reader = nn.RNN(E, H, batch_first=True)
        self.code = nn.Linear(H, 2 * L)
        self.start = nn.Linear(L, H)
        self.past = nn.Embedding(TOKENS + 1, E)  # the last one stands for the beginning
        self.writer = nn.RNN(E, H, batch_first=True)
        self.says = nn.Linear(H, TOKENS)
        # Without gates only turns, which neither shrink nor grow, carry news over 32 steps.
        for net in (self.reader, self.writer):
            nn.init.orthogonal_(net.all_weights[0][1])

    def encode(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """tokens [B, T] → mean [B, L], log standard deviation [B, L]"""
        # Read from its end, so that what is to be written first is freshest.
        _, last = self.reader(self.heard(tokens.flip(1)))  # 1, B, H
        mean, spread = self.code(last[0]).float().chunk(2, -1)
        return mean, spread - 1.0

    def decode(self, tokens: Tensor, z: Tensor) -> Tensor:
        """tokens [B, T], the past of each step, and codes [B, L] → logits [B, T, TOKENS]"""
        first = torch.full_like(tokens[:, :1], TOKENS)
        past = torch.cat([first, tokens[:, :-1]], 1)
        y, _ = self.writer(self.past(past), torch.tanh(self.start(z))[None])
        logits: Tensor = self.says(y)
        return logits.float()


class Stepper:
    """The decoder's numbers, prepared for one step at a time: what a token adds is a row of a table."""

    def __init__(self, net: Net) -> None:
        with torch.no_grad():
            take, turn, bias, more = (p.cpu() for p in net.writer.all_weights[0])
            self.past = F.linear(net.past.weight.cpu(), take, bias + more).numpy()  # TOKENS + 1, H
            self.turn = turn.T.contiguous().numpy()
        self.says, self.bias = stepping.linear(net.says)

    def decode(self, h: Floats, choose: Chooser) -> Ints:
        """States [B, H] before the first step → tokens [B, T]"""
        token = np.full(len(h), TOKENS)
        out = np.empty((len(h), STEPS), np.int64)
        h, new, told = h.copy(), np.empty_like(h), np.empty_like(h)
        said = np.empty((len(h), TOKENS), np.float32)
        for t in range(STEPS):
            np.matmul(h, self.turn, new)
            np.add(new, self.past.take(token, 0, told, "clip"), new)
            np.tanh(new, h)
            np.add(np.matmul(h, self.says, said), self.bias, said)
            out[:, t] = token = choose(said, t)
        return out


class System:
    """VRAE with its weights on a device."""

    card: ClassVar[Card] = CARD
    PLAN: ClassVar[dict[str, float]] = {"rate": 2e-3, "decay": 1e-2, "average": 0.999}
    WATCHED: ClassVar[str] = "objective_nats"
    BETA: ClassVar[float] = 0.2
    FREE_NATS: ClassVar[float] = 45.0
    RISE: ClassVar[int] = 1000
    """Weight of the KL divergence beyond what is free, and the steps it takes to reach it."""

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
            h = torch.tanh(self.net.start(z.to(self.device)))
        return torch.from_numpy(self._steps().decode(h.cpu().numpy(), choose))

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
            # Products in bfloat16 take half the time; the weights stay in single precision.
            with torch.autocast(torch.device(self.device).type, torch.bfloat16):
                mean, spread = self.net.encode(tokens)
                z = mean + spread.exp() * torch.randn_like(mean)
                nats = self.loss(tokens, z).mean()
            kl = vae.divergence(mean, spread).sum(-1).mean()
            beta = self.BETA * min(1.0, fit.step / self.RISE)
            loss = nats + beta * (kl - self.FREE_NATS).clamp(min=0)
            record = {"nats": float(nats.detach()), "kl_nats": float(kl.detach())}
            yield {"loss_nats": fit.update(loss), **record}

    def watch(self, data: Any, context: Context) -> Mapping[str, float]:
        """Reconstruction and divergence in nats of up to VALIDATED phrases with codes drawn for them, what
        training minimises, and the share of tokens right given the true past and the mean code."""
        tokens = vae.some(data, VALIDATED).to(self.device)
        noise = np.random.default_rng(0).normal(size=(len(tokens), self.latent))
        with torch.no_grad():
            mean, spread = self.net.encode(tokens)
            z = mean + spread.exp() * torch.from_numpy(noise).float().to(self.device)
            nats = float(self.loss(tokens, z).mean())
            right = (self.net.decode(tokens, mean).argmax(-1) == tokens).float()
        kl = float(vae.divergence(mean, spread).sum(-1).mean())
        return {
            "objective_nats": nats + self.BETA * max(0.0, kl - self.FREE_NATS),
            "reconstruction_nats": nats,
            "kl_nats": kl,
            "accuracy_teacher_forced": float(right.mean()),
        }

    def evaluate(self, data: Any, context: Context) -> Mapping[str, float]:
        """The figures of every latent system (`models.latent_figures`), and what is forgotten."""
        return {**latent_figures.evaluate(self, data, context), **self.forgetting(data)}

    def forgetting(self, data: Any) -> Mapping[str, float]:
        """The share of tokens that come back, bar by bar, when the likeliest are written from the mean code
        of up to VALIDATED phrases."""
        tokens = vae.some(data, VALIDATED)
        hit = (self.decode(self.encode(tokens)[0]) == tokens).float().view(-1, BARS, BAR)
        by_bar = hit.mean((0, 2))
        return {f"accuracy_greedy_bar_{i + 1}": float(share) for i, share in enumerate(by_bar)}

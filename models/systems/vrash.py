"""VRASH (Tikhonov & Yamshchikov 2017, "Music generation with variational recurrent autoencoder supported
by history"; Briot et al. 6.10).

A recurrent highway net reads a phrase into a code; another writes it and is told, at every step, the code
and its history: what it wrote just before. The code says where to go, history what fits.
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
from models.representations.melody import BAR, FIRST, TOKENS
from models.strategies import latent, stepping, vae
from models.strategies.choosing import Chooser, Ints
from models.strategies.stepping import HALF
from models.system import Ask, Context, Progress, Proposal

CARD = Card(
    id="vrash",
    name="VRASH",
    source="Tikhonov & Yamshchikov 2017; Briot et al. 6.10",
    objective=Objective(type="melody", destination="score", mode="interactive"),
    representation=Representation("melody", steps_per_beat=4, hold=True, encoding="one-hot"),
    architecture="variational autoencoder (recurrent highway, recurrent highway), history",
    challenges=("control", "variability"),
    strategy=("iterative feedforward: decoding a code",),
    tasks=(Task.CREATE, Task.INTERPOLATE, Task.RESHAPE, Task.REGENERATE),
    params=(*LATENT_PARAMS,),
    voices=("melody",),
    listens="A melody in 4/4, two bars at a time.",
    strengths="Hears at every step both its code and what it wrote, so steps follow from one another.",
    weaknesses="Its history is these two bars; taken from the paper: code and last output at every step, "
    "highway nets; not taken: its MIDI encoding and its filters of results.",
    year=2017,
    figure=".951 of steps right told the past, .835 on its own",
)

BARS = 2
STEPS = BARS * BAR
BATCH = 128
VALIDATED = 1500
"""Phrases `watch` looks at."""

BEGINNING, UNKNOWN = TOKENS, TOKENS + 1
"""What stands for the step before the first, and for a history that is not told."""


@dataclass(frozen=True)
class Shape:
    """Dimensions of a code and of token vectors, units of either net and layers a step goes through."""

    latent: int = 64
    width: int = 64
    units: int = 256
    depth: int = 2


class Highway(nn.Module):
    """A recurrent highway net (Zilly et al. 2017): each step goes through layers that turn a part of
    the state and carry the rest."""

    def __init__(self, inputs: int, units: int, depth: int) -> None:
        super().__init__()
        self.input = nn.Linear(inputs, 2 * units)
        self.turn = nn.ModuleList(nn.Linear(units, 2 * units) for _ in range(depth))
        with torch.no_grad():
            self.input.bias[units:] = -2.0  # begin by carrying

    def step(self, x: Tensor, s: Tensor) -> Tensor:
        """x [B, 2 × units], an input through `input`, and a state [B, units] → the next state"""
        for i, layer in enumerate(self.turn):
            new, gate = (layer(s) + x if i == 0 else layer(s)).chunk(2, -1)
            s = torch.lerp(s, torch.tanh(new), torch.sigmoid(gate))
        return s

    def forward(self, x: Tensor, s: Tensor) -> Tensor:
        """Inputs [B, T, inputs] and the first state → states [B, T, units]"""
        rows = self.input(x)
        states, s = [], s.to(rows.dtype)
        for row in rows.unbind(1):
            s = self.step(row, s)
            states.append(s)
        return torch.stack(states, 1)


class Net(nn.Module):
    """Encoder and decoder."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        L, E, H, D = shape.latent, shape.width, shape.units, shape.depth
        self.heard = nn.Embedding(TOKENS, E)
        self.reader = Highway(E, H, D)
        self.code = nn.Linear(H, 2 * L)
        self.past = nn.Embedding(TOKENS + 2, E)
        self.told = nn.Linear(L, E)
        self.start = nn.Linear(L, H)
        self.writer = Highway(2 * E, H, D)
        self.says = nn.Linear(H, TOKENS)

    def encode(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """tokens [B, T] → mean [B, L], log standard deviation [B, L]"""
        # Read from its end, so that what is to be written first is freshest.
        x = self.heard(tokens.flip(1))
        last = self.reader(x, x.new_zeros(len(x), self.shape.units))[:, -1]
        mean, spread = self.code(last).float().chunk(2, -1)
        return mean, spread - 1.0

    def decode(self, past: Tensor, z: Tensor) -> Tensor:
        """past [B, T], the token before each step, and codes [B, L] → logits [B, T, TOKENS]"""
        told = self.told(z)[:, None].expand(-1, past.size(1), -1)
        states = self.writer(
            torch.cat([self.past(past).to(told.dtype), told], -1), torch.tanh(self.start(z))
        )
        logits: Tensor = self.says(states)
        return logits.float()


def before(tokens: Tensor) -> Tensor:
    """[B, T]: the token before each of [B, T]."""
    return torch.cat([torch.full_like(tokens[:, :1], BEGINNING), tokens[:, :-1]], 1)


def forgotten(past: Tensor) -> Tensor:
    """`past` [B, T] with a tenth of its tokens not told, and all of them in one phrase of eight: so
    what history is worth can be measured, and the code has to do its share."""
    alone = torch.rand(len(past), 1, device=past.device) < 1 / 8
    lost = alone | (torch.rand(past.shape, device=past.device) < 1 / 10)
    return past.masked_fill(lost & (past != BEGINNING), UNKNOWN)


class Stepper:
    """The decoder's numbers, prepared for one step at a time. Token and code go through one matrix: what
    either adds is worked out beforehand."""

    def __init__(self, net: Net) -> None:
        self.net = net
        E, H = net.shape.width, net.shape.units
        with torch.no_grad():
            # Gates halved, so that one tanh does for both: σ(x) = ½ + ½ tanh(x / 2).
            half = torch.ones(2 * H)
            half[H:] = 0.5
            self.half = half
            read = net.writer.input.weight.cpu() * half[:, None]
            self.past = (net.past.weight.cpu() @ read[:, :E].T).numpy()  # TOKENS + 2, 2H
            self.told = read[:, E:].T.contiguous()
            self.turn = []
            layers: Any = net.writer.turn
            for layer in layers:
                weight, bias = layer.weight.cpu() * half[:, None], layer.bias.cpu() * half
                self.turn.append((weight.T.contiguous().numpy(), bias.numpy()))
        self.says, self.bias = stepping.linear(net.says)

    def decode(self, z: Tensor, choose: Chooser) -> Ints:
        """Codes [B, L] → tokens [B, T]"""
        net = self.net
        with torch.no_grad():
            z = z.to(net.start.weight.device)
            s = torch.tanh(net.start(z)).cpu().numpy().copy()
            bias = net.writer.input.bias.cpu() * self.half
            told = (net.told(z).cpu() @ self.told + bias).numpy() + self.turn[0][1]
        B, H = s.shape
        both, more = np.empty((B, 2 * H), np.float32), np.empty((B, 2 * H), np.float32)
        new, gate = both[:, :H], both[:, H:]
        said = np.empty((B, TOKENS), np.float32)
        token = np.full(B, BEGINNING)
        out = np.empty((B, STEPS), np.int64)
        for t in range(STEPS):
            np.add(told, self.past.take(token, 0, more, "clip"), more)
            for k, (turn, bias_) in enumerate(self.turn):
                np.matmul(s, turn, both)
                np.add(both, bias_ if k else more, both)
                np.tanh(both, both)
                np.multiply(gate, HALF, gate)
                np.add(gate, HALF, gate)
                np.subtract(new, s, new)
                np.multiply(new, gate, new)
                np.add(s, new, s)
            np.add(np.matmul(s, self.says, said), self.bias, said)
            out[:, t] = token = choose(said, t)
        return out


class System:
    """VRASH with its weights on a device."""

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
        return torch.from_numpy(self._steps().decode(z, choose))

    def _steps(self) -> Stepper:
        """The stepper of the weights as they are now."""
        changes = sum(p._version for p in self.net.parameters())
        if self._stepper is None or self._stepper[0] != changes:
            self._stepper = changes, Stepper(self.net)
        return self._stepper[1]

    def log_probs(self, tokens: Tensor, z: Tensor) -> Tensor:
        """See `models.coder.Coder`."""
        with torch.no_grad():
            logits = self.net.decode(before(tokens.to(self.device)), z.to(self.device))
        return F.log_softmax(logits, -1).cpu()

    def generate(self, ask: Ask, context: Context) -> Iterator[Proposal | Progress]:
        """Creates, interpolates, reshapes and regenerates; see `models.strategies.latent`."""
        return latent.generate(self, ask, context)

    def loss(self, tokens: Tensor, past: Tensor, z: Tensor) -> Tensor:
        """Nats [B] of phrases [B, T] given the token before each step and their codes."""
        logits = self.net.decode(past, z)
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
                nats = self.loss(tokens, forgotten(before(tokens)), z).mean()
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
            nats = float(self.loss(tokens, before(tokens), z).mean())
            right = (self.net.decode(before(tokens), mean).argmax(-1) == tokens).float()
        kl = float(vae.divergence(mean, spread).sum(-1).mean())
        return {
            "objective_nats": nats + self.BETA * max(0.0, kl - self.FREE_NATS),
            "reconstruction_nats": nats,
            "kl_nats": kl,
            "accuracy_teacher_forced": float(right.mean()),
        }

    def evaluate(self, data: Any, context: Context) -> Mapping[str, float]:
        """The figures of every latent system (`models.latent_figures`), and what history is worth: nats
        and accuracy, over all tokens and where notes begin, of the same weights with their codes' means
        and with the history blanked, as it was in an eighth of training."""
        return {**latent_figures.evaluate(self, data, context), **self.history(data)}

    def history(self, data: Any) -> Mapping[str, float]:
        """See `evaluate`; of up to VALIDATED phrases."""
        tokens = vae.some(data, VALIDATED).to(self.device)
        onsets = tokens >= FIRST
        told = before(tokens)
        out: dict[str, float] = {}
        with torch.no_grad():
            mean, _ = self.net.encode(tokens)
            blank = torch.where(told == BEGINNING, told, UNKNOWN)
            for name, past in (("with_history", told), ("without_history", blank)):
                logits = self.net.decode(past, mean)
                nats = F.cross_entropy(logits.transpose(1, 2), tokens, reduction="none").sum(-1)
                right = (logits.argmax(-1) == tokens).float()
                out[f"reconstruction_{name}_nats"] = float(nats.mean())
                out[f"accuracy_{name}"] = float(right.mean())
                out[f"accuracy_onsets_{name}"] = float(right[onsets].mean())
        return out

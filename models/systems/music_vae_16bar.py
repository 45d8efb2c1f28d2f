"""MusicVAE, sixteen bars (Roberts, Engel, Raffel, Hawthorne, Eck 2018, 3.3; Briot et al. 6.12.1).

One LSTM reads the bars, another their sequence, into a normal distribution of codes. From a code a
conductor makes a plan for each bar, from which every bar is written by itself: errors do not add up over
256 steps, and a code cannot be ignored as it can by a flat decoder, which is here to compare with.
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

from models import latent_figures, nets, training, weights
from models.card import LATENT_PARAMS, Card, Objective, Representation, Task
from models.representations.melody import BAR, FIRST, TOKENS, repaired
from models.strategies import latent, vae
from models.strategies.choosing import Chooser
from models.system import Ask, Context, Progress, Proposal

CARD = Card(
    id="music_vae_16bar",
    name="MusicVAE, 16 bars",
    source="Roberts et al. 2018; Briot et al. 6.12.1",
    objective=Objective(type="melody", destination="score", mode="interactive"),
    representation=Representation("melody", steps_per_beat=4, hold=True, encoding="one-hot"),
    architecture="variational autoencoder (bidirectional LSTM × 2, conductor LSTM + LSTM)",
    challenges=("structure", "control", "interactivity"),
    strategy=("iterative feedforward: decoding a code",),
    tasks=(Task.CREATE, Task.INTERPOLATE, Task.RESHAPE, Task.REGENERATE),
    params=(*LATENT_PARAMS,),
    voices=("melody",),
    listens="A melody in 4/4, sixteen bars at a time.",
    strengths="A whole tune is one code: it can be pushed, mixed and gone from as one thing.",
    weaknesses="One voice in sixteenths, 4/4; a fifth of the notes come back changed when drawn; its own tunes wander in key.",
    year=2018,
    figure=".960 of steps right told the past, .924 on its own",
)

BARS = 16
STEPS = BARS * BAR
BATCH = 32
VALIDATED = 400
"""Phrases `watch` looks at."""
FLAT = "music_vae_16bar_flat"
"""Weights to compare with: `ricercar train music_vae_16bar --shape decoder=flat`."""


@dataclass(frozen=True)
class Shape:
    """Dimensions of a code, of token vectors, of what is kept of every step and of every bar; units of the
    LSTMs that read a bar and the bars (each direction), of the conductor and of the one that writes.

    decoder: "hierarchical", or "flat" for one LSTM that writes all steps.
    """

    latent: int = 512
    width: int = 64
    kept: int = 24
    bar: int = 160
    read: int = 128
    review: int = 192
    conduct: int = 320
    write: int = 256
    decoder: str = "hierarchical"


class Net(nn.Module):
    """Encoder and one of two decoders."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        L, E, K, D = shape.latent, shape.width, shape.kept, shape.bar
        self.heard = nn.Embedding(TOKENS, E)
        self.reader = nn.LSTM(E, shape.read, batch_first=True, bidirectional=True)
        self.kept = nn.Linear(2 * shape.read, K)
        self.bar = nn.Linear(BAR * K, D)
        self.reviewer = nn.LSTM(D, shape.review, batch_first=True, bidirectional=True)
        self.reviewed = nn.Linear(2 * shape.review + D, D // 2)
        self.own = nn.Linear(D // 2, 2 * L // BARS)
        self.code = nn.Linear(BARS * D // 2, 2 * L)
        self.past = nn.Embedding(TOKENS + 1, E)  # the last one stands for the beginning
        self.writer = nn.LSTM(E, shape.write, batch_first=True)
        self.says = nn.Linear(shape.write, TOKENS)
        if shape.decoder == "hierarchical":
            C = shape.conduct
            self.part = nn.Linear(L // BARS, D)
            self.score = nn.Linear(L, BARS * D)
            self.baton = nn.Linear(L, 2 * C)
            self.conductor = nn.LSTM(D, C, batch_first=True)
            self.told = nn.Linear(C + D, BAR * E)
            self.start = nn.Linear(C + D, 2 * shape.write)
            self.place = nn.Embedding(BAR, E)
        else:
            self.told = nn.Linear(L, STEPS * K // 2)
            self.spread = nn.Linear(K // 2, E)
            self.start = nn.Linear(L, 2 * shape.write)
            self.place = nn.Embedding(STEPS, E)
        # torch's own beginning would let what a bar is fade on its way through seven linear layers.
        for layer in self.modules():
            if isinstance(layer, nn.Linear) and layer is not self.says:
                nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
                nn.init.zeros_(layer.bias)
        # At first a bar's own share of the code stands for it; the rest is for training to find.
        nn.init.normal_(self.code.weight, std=0.1 * self.code.in_features**-0.5)
        if shape.decoder == "hierarchical":
            nn.init.normal_(self.score.weight, std=0.1 * L**-0.5)

    def encode(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """tokens [B, T] → mean [B, L], log standard deviation [B, L]"""
        B = len(tokens)
        y, _ = self.reader(self.heard(tokens.view(B * BARS, BAR)))  # B × bars, steps, 2R
        bars = self.bar(self.kept(y).flatten(1)).view(B, BARS, -1)
        y, _ = self.reviewer(bars)
        bars = self.reviewed(torch.cat([y, bars], -1))
        both = self.code(bars.flatten(1)).view(B, 2, BARS, -1)
        both = both + self.own(bars).view(B, BARS, 2, -1).transpose(1, 2)
        mean, spread = both.float().flatten(2).unbind(1)
        return mean, 3 * torch.tanh((spread - 2) / 3)  # bounded: far codes are never that unsure

    def state(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """z [B, L] → what the writer is told at every step [N, S, E], its first hidden and cell state [N, W];
        N = B × 16 bars of S = 16 steps, or N = B phrases of S = 256 steps from the flat decoder."""
        B = len(z)
        if self.shape.decoder == "hierarchical":
            h, c = self.baton(z).chunk(2, -1)
            score = self.score(z).view(B, BARS, -1) + self.part(z.view(B, BARS, -1))
            y, _ = self.conductor(score, (torch.tanh(h)[None].contiguous(), c[None].contiguous()))
            z = torch.cat([y, score], -1).flatten(0, 1)
            told = self.told(z).view(B * BARS, BAR, -1)
        else:
            told = self.spread(self.told(z).view(B, STEPS, -1))
        h, c = self.start(z).chunk(2, -1)
        return told, torch.tanh(h), c

    def decode(self, tokens: Tensor, z: Tensor) -> Tensor:
        """tokens [B, T], the past of each step, and codes [B, L] → logits [B, T, TOKENS]"""
        B, T = tokens.size()
        told, h, c = self.state(z)
        N, S, _ = told.size()
        first = torch.full((N, 1), TOKENS, device=tokens.device)
        past = torch.cat([first, tokens.view(N, S)[:, :-1]], 1)
        x = self.past(past) + self.place.weight + told
        y, _ = self.writer(x, (h[None].contiguous(), c[None].contiguous()))
        logits: Tensor = self.says(y)
        return logits.float().view(B, T, TOKENS)


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
        """Codes [B, L] → tokens [N, S], all the bars of a hierarchical decoder side by side"""
        told, h, c = (x.cpu() for x in self.net.state(z))
        N, S, E = told.size()
        W = h.shape[1]
        told = told + self.net.place.weight.cpu()  # N, S, E
        heard = torch.empty(N, W + E)
        heard[:, :W] = h
        token = torch.full((N,), TOKENS)
        out = torch.empty(N, S, dtype=torch.int64)
        for t in range(S):
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
    """MusicVAE for sixteen bars, with its weights on a device."""

    card: ClassVar[Card] = CARD
    PLAN: ClassVar[dict[str, float]] = {"rate": 3e-3, "decay": 1e-2, "average": 0.999}
    WATCHED: ClassVar[str] = "objective_nats"
    BETA: ClassVar[float] = 0.5
    FREE_NATS: ClassVar[float] = 256 * math.log(2)
    RISE: ClassVar[int] = 1000
    """Weight of the KL divergence beyond the free 256 bits, and the steps it takes to reach it."""

    def __init__(self, net: Net, device: str) -> None:
        self.net = net.to(device)
        self.device = device
        self.bars = BARS
        self.latent = net.shape.latent
        self._stepper: tuple[int, Stepper] | None = None

    @staticmethod
    def corpus(source: training.Source) -> training.Corpus:
        """The sixteen-bar phrases `source` stands for."""
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
        N = len(z) * BARS if self.net.shape.decoder == "hierarchical" else len(z)
        if noise is not None:
            noise = noise.reshape(N, -1)
        # The bars of a hierarchical decoder don't hear one another: any but the first may begin with a hold.
        sounding = torch.arange(N) % BARS > 0 if len(z) < N else None
        choose = Chooser(N, noise, temperature, masked, sounding)
        with torch.no_grad():
            out = self._steps().decode(z.to(self.device), choose).view(len(z), STEPS)
        if masked:
            out = torch.from_numpy(repaired(out.numpy().astype(np.uint8)).astype(np.int64))
        return out

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
        """See `models.latent_figures.evaluate`; with accuracy_flat_… and accuracy_onsets_flat_…, the same of
        a flat decoder with the same encoder, trained for as long."""
        figures = dict(latent_figures.evaluate(self, data, context))
        path = weights.shipped(FLAT)
        if self.net.shape.decoder == "flat" or not path.is_file():
            return figures
        flat = System.load(path, self.device)
        tokens = latent_figures.some(data, latent_figures.MOST_STEPS).tokens
        z, _ = latent_figures.codes(flat, tokens)
        guesses = {
            "teacher_forced": flat.log_probs(torch.from_numpy(tokens.astype(np.int64)), z)
            .argmax(-1)
            .numpy(),
            "sampled": latent_figures.decoded(flat, z, context.rng),
            "greedy": latent_figures.decoded(flat, z),
        }
        for name, guess in guesses.items():
            hit = guess == tokens
            figures[f"accuracy_flat_{name}"] = float(hit.mean())
            figures[f"accuracy_onsets_flat_{name}"] = float(hit[tokens >= FIRST].mean())
        return figures

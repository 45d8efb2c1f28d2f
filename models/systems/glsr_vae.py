"""GLSR-VAE (Hadjeres, Nielsen, Pachet 2017, "Geodesic Latent Space Regularization"; Briot et al. 6.10).

A recurrent variational autoencoder with one more term in its loss: along dimension 0 of the code the
number of notes to be expected must rise at a steady rate. What a vector learnt afterwards finds by chance
lies on an axis here.
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

from models import latent_figures, nets, training, weights
from models.card import LATENT_PARAMS, Card, Objective, Representation, Task
from models.representations.melody import BAR, FIRST, TOKENS
from models.space import rank_correlations
from models.strategies import latent, stepping, vae
from models.strategies.choosing import Chooser, Ints
from models.system import Ask, Context, Progress, Proposal

CARD = Card(
    id="glsr_vae",
    name="GLSR-VAE",
    source="Hadjeres, Nielsen & Pachet 2017; Briot et al. 6.10",
    objective=Objective(type="melody", destination="score", mode="interactive"),
    representation=Representation("melody", steps_per_beat=4, hold=True, encoding="one-hot"),
    architecture="variational autoencoder (bidirectional LSTM, LSTM), geodesic regularisation",
    challenges=("control", "interactivity", "variability"),
    strategy=("iterative feedforward: decoding a code",),
    tasks=(Task.CREATE, Task.INTERPOLATE, Task.RESHAPE, Task.REGENERATE),
    params=(*LATENT_PARAMS,),
    voices=("melody",),
    listens="A melody in 4/4, two bars at a time.",
    strengths="One dimension of its code is the number of notes: more or fewer is a dial, not a search.",
    weaknesses="Only the number of notes has such a dial; a small net, two bars at a time.",
    year=2017,
    figure="its dimension goes with the number of notes: ρ .95; untaught .02",
)

BARS = 2
STEPS = BARS * BAR
BATCH = 128
VALIDATED = 1500
"""Phrases `watch` looks at."""

PLAIN = "glsr_vae_plain"
"""Weights of the same shape, trained with rate 0, to compare with."""
MOVES = (-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0)
MOVED = 250
"""How far figures move a dimension, of how many phrases."""

STEADY = 0
"""The dimension along which the number of notes rises."""
BEGINNING, UNKNOWN = TOKENS, TOKENS + 1
"""What stands for the step before the first, and for a past that is not told."""


@dataclass(frozen=True)
class Shape:
    """Dimensions of a code, of token vectors, units of the encoder (each direction) and the decoder.

    rate: by how many notes a phrase grows for each unit of the steady dimension, 0 for a plain
    variational autoencoder; tolerance: the standard deviation that rate may have.
    """

    latent: int = 48
    width: int = 64
    read: int = 96
    write: int = 192
    rate: float = 3.5
    tolerance: float = 1.0


class Net(nn.Module):
    """Encoder and decoder."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        L, E, R, W = shape.latent, shape.width, shape.read, shape.write
        self.heard = nn.Embedding(TOKENS, E)
        self.reader = nn.LSTM(E, R, batch_first=True, bidirectional=True)
        self.code = nn.Linear(2 * R, 2 * L)
        self.past = nn.Embedding(TOKENS + 2, E)
        self.place = nn.Embedding(STEPS, E)
        self.told = nn.Linear(L, E)
        self.start = nn.Linear(L, 2 * W)
        self.writer = nn.LSTM(E, W, batch_first=True)
        self.says = nn.Linear(W, TOKENS)
        with torch.no_grad():
            for name, bias in self.named_parameters():
                if "bias_ih" in name:
                    bias[len(bias) // 4 : len(bias) // 2] = 1.0  # gates begin by remembering

    def encode(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """tokens [B, T] → mean [B, L], log standard deviation [B, L]"""
        _, (last, _) = self.reader(self.heard(tokens))  # 2, B, R
        both = self.code(torch.cat([last[0], last[1]], -1)).float()
        mean, spread = both.chunk(2, -1)
        return mean, spread - 1.0

    def decode(self, past: Tensor, z: Tensor) -> Tensor:
        """past [B, T], the token before each step, and codes [B, L] → logits [B, T, TOKENS]"""
        h, c = self.start(z).chunk(2, -1)
        x = self.past(past) + self.place.weight[: past.size(1)] + self.told(z)[:, None]
        y, _ = self.writer(x, (torch.tanh(h)[None].contiguous(), c[None].contiguous()))
        logits: Tensor = self.says(y)
        return logits.float()


def before(tokens: Tensor) -> Tensor:
    """[B, T]: the token before each of [B, T]."""
    return torch.cat([torch.full_like(tokens[:, :1], BEGINNING), tokens[:, :-1]], 1)


def notes(logits: Tensor) -> Tensor:
    """[B]: how many notes are to be expected of logits [B, T, TOKENS]."""
    return logits.softmax(-1)[..., FIRST:].sum((-2, -1))


class Stepper:
    """The decoder's numbers, prepared for one step at a time: what a token or a place adds is a row of a
    table."""

    def __init__(self, net: Net) -> None:
        self.net = net
        self.lstm = stepping.LSTM(stepping.weights(net.writer))
        self.past = self.lstm.rows(net.past.weight, bias=False)  # TOKENS + 2, 4W
        self.place = self.lstm.rows(net.place.weight)  # T, 4W
        self.says, self.bias = stepping.linear(net.says)

    def decode(self, z: Tensor, choose: Chooser) -> Ints:
        """Codes [B, L] → tokens [B, T]"""
        B = len(z)
        with torch.no_grad():
            h, c = self.net.start(z).cpu().chunk(2, -1)
            told = self.lstm.rows(self.net.told(z), bias=False)  # B, 4W
        walk = stepping.Walk(self.lstm, B)
        walk.put([(torch.tanh(h), c)])
        more = np.empty_like(told)
        said = np.empty((B, TOKENS), np.float32)
        token = np.full(B, BEGINNING)
        out = np.empty((B, STEPS), np.int64)
        for t in range(STEPS):
            self.past.take(token, 0, more, "clip")
            np.add(more, told, more)
            np.add(more, self.place[t], more)
            np.matmul(walk.step(more), self.says, said)
            np.add(said, self.bias, said)
            out[:, t] = token = choose(said, t)
        return out


class System:
    """GLSR-VAE with its weights on a device."""

    card: ClassVar[Card] = CARD
    PLAN: ClassVar[dict[str, float]] = {"rate": 3e-3, "decay": 1e-2, "average": 0.999}
    WATCHED: ClassVar[str] = "objective_nats"
    AXES: ClassVar[dict[str, int]] = {"density": STEADY}
    """Sliders that are dimensions of the code."""
    BETA: ClassVar[float] = 0.2
    FREE_NATS: ClassVar[float] = 30.0
    RISE: ClassVar[int] = 1000
    """Weight of the KL divergence beyond what is free, and the steps it takes to reach it."""
    GEODESIC: ClassVar[float] = 1.0
    """Weight of the geodesic term."""
    REACH: ClassVar[tuple[float, float]] = (0.25, 1.0)
    """How far to either side the number of notes is compared, in units of the code."""

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
        return torch.from_numpy(self._steps().decode(z.to(self.device), choose))

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

    def slope(self, z: Tensor, reach: Tensor) -> Tensor:
        """Notes a unit [B]: by how much the number of notes to be expected rises along the steady dimension
        from z − reach to z + reach, codes [B, L] and distances [B].

        The sum of the notes' probabilities with no past told is that expectation: what a
        decoder expects before it hears what it wrote. A derivative would see nothing: near a code that is
        decoded without doubt the number of notes, a whole number, does not move.
        """
        step = (
            F.one_hot(torch.full_like(reach, STEADY, dtype=torch.int64), z.size(1)) * reach[:, None]
        )
        both = torch.cat([z + step, z - step])
        past = torch.full((len(both), STEPS), UNKNOWN, device=z.device)
        past[:, 0] = BEGINNING
        more, less = notes(self.net.decode(past, both)).chunk(2)
        return (more - less) / (2 * reach)

    def train(
        self, corpus: Any, context: Context, fit: training.Fit | None = None
    ) -> Iterator[Mapping[str, float]]:
        """Learns from the phrases of `corpus.train` for ever: one update before each yield. Close it to
        stop."""
        fit = fit or training.Fit(self.net, training.Plan(minutes=2.0))
        shape = self.net.shape
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
            if shape.rate:
                nearest, farthest = self.REACH
                part = z[: max(1, BATCH // 4)]
                reach = nearest + (farthest - nearest) * torch.rand(len(part), device=z.device)
                with torch.autocast(torch.device(self.device).type, torch.bfloat16):
                    slope = self.slope(part, reach)
                # The negative log of the rate's normal density, without its constant.
                stray = 0.5 * ((slope - shape.rate) / shape.tolerance) ** 2
                loss = loss + self.GEODESIC * stray.mean()
                record["notes_per_unit"] = float(slope.detach().mean())
                record["stray"] = float(stray.detach().mean())
            yield {"loss_nats": fit.update(loss), **record}

    def watch(self, data: Any, context: Context) -> Mapping[str, float]:
        """Reconstruction and divergence in nats of up to VALIDATED phrases with codes drawn for them, what
        training minimises but for the geodesic term, the share of tokens right given the true past and
        the mean code, and how dimension and notes correlate."""
        tokens = vae.some(data, VALIDATED).to(self.device)
        noise = np.random.default_rng(0).normal(size=(len(tokens), self.latent))
        with torch.no_grad():
            mean, spread = self.net.encode(tokens)
            z = mean + spread.exp() * torch.from_numpy(noise).float().to(self.device)
            nats = float(self.loss(tokens, before(tokens), z).mean())
            right = (self.net.decode(before(tokens), mean).argmax(-1) == tokens).float()
        kl = float(vae.divergence(mean, spread).sum(-1).mean())
        count = (tokens >= FIRST).sum(-1).float()
        return {
            "objective_nats": nats + self.BETA * max(0.0, kl - self.FREE_NATS),
            "reconstruction_nats": nats,
            "kl_nats": kl,
            "accuracy_teacher_forced": float(right.mean()),
            "correlation_notes_dimension": float(
                torch.corrcoef(torch.stack([mean[:, STEADY].cpu(), count.cpu()]))[0, 1]
            ),
        }

    def evaluate(self, data: Any, context: Context) -> Mapping[str, float]:
        """The figures of every latent system (`models.latent_figures`), and how dimension and number of
        notes go together (`geodesic`), beside a net of the same shape trained without the geodesic term
        (…_without; its weights lie beside those shipped)."""
        figures = {**latent_figures.evaluate(self, data, context), **self.geodesic(data)}
        plain = weights.shipped(PLAIN)
        if plain.is_file():
            found = System.load(plain, self.device).geodesic(data)
            figures |= {f"{name}_without": value for name, value in found.items()}
        return figures

    def geodesic(self, data: Any) -> Mapping[str, float]:
        """How dimension and number of notes go together, over phrases not seen.

        correlation_notes_dimension: Pearson's, of the steady dimension of the mean code and the number of
        notes. slider_notes_rho: Spearman's, of how far that dimension alone is moved (−2…2) and the
        number of notes then decoded, by the likeliest tokens, of each phrase, averaged.
        slider_notes_per_unit: the slope of the same. …_best_…: the same of whichever dimension correlates
        best with the number of notes, in the direction in which it does.
        """
        tokens = vae.some(data, VALIDATED)
        count = (tokens >= FIRST).sum(-1).double()
        mean = self.encode(tokens)[0]
        table = torch.corrcoef(torch.cat([count[:, None], mean.double()], 1).T)[0, 1:].nan_to_num()
        best = int(table.abs().argmax())
        figures = {
            "correlation_notes_dimension": float(table[STEADY]),
            "correlation_notes_best_dimension": float(table.abs()[best]),
        }
        some = mean[:: max(1, len(mean) // MOVED)]
        for name, dimension, sign in (
            ("", STEADY, 1.0),
            ("best_", best, float(table[best].sign())),
        ):
            moved = some[:, None].repeat(1, len(MOVES), 1)  # N, K, L
            moved[:, :, dimension] += sign * torch.tensor(MOVES)
            made = self.decode(moved.flatten(0, 1)).view(len(some), len(MOVES), STEPS)
            counts = (made >= FIRST).sum(-1).numpy()
            slopes = np.polyfit(MOVES, counts.T, 1)[0]
            figures[f"slider_notes_{name}rho"] = float(rank_correlations(MOVES, counts).mean())
            figures[f"slider_notes_{name}per_unit"] = float(slopes.mean())
        return figures


def forgotten(past: Tensor) -> Tensor:
    """`past` [B, T] with a quarter of its tokens not told, and all of them in one phrase of eight: so the
    decoder also knows what to expect with no past, and leans on the code."""
    alone = torch.rand(len(past), 1, device=past.device) < 1 / 8
    lost = alone | (torch.rand(past.shape, device=past.device) < 1 / 4)
    return past.masked_fill(lost & (past != BEGINNING), UNKNOWN)

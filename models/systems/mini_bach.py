"""MiniBach (Briot, Hadjeres, Pachet 2019, 6.2.2): three voices under a soprano in a single step.

Four bars of common time as 64 one-hot sixteenths go in, one hidden layer, three times 64 softmaxes come
out. It is the baseline that shows what sampling adds: its voices do not know of one another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models import evaluation, nets, training
from models.card import Card, Objective, Representation, Task
from models.representations import casting, staging
from models.representations.chorale import EDGE, MASK, RANGES, TOKENS, Chorale, tokens
from models.score import UserError
from models.system import Ask, Context, Progress, Proposal

CARD = Card(
    id="mini_bach",
    name="MiniBach",
    source="Briot, Hadjeres & Pachet 2019, 6.2.2",
    objective=Objective(type="counterpoint", destination="score", mode="autonomous"),
    representation=Representation("chorale", steps_per_beat=4, hold=True, encoding="one-hot × 4"),
    architecture="feedforward",
    challenges=("control",),
    strategy=("single-step feedforward",),
    tasks=(Task.ACCOMPANY,),
    voices=("soprano", "alto", "tenor", "bass"),
    listens="A soprano in 4/4.",
    strengths="Answers at once, and the same melody always gets the same voices.",
    weaknesses="Alto, tenor and bass do not hear one another; four bars at a time, 4/4 alone.",
    year=2019,
    figure=".85 nats a voice given the soprano, 76 % right",
)

STEPS = 64
BATCH = 64


@dataclass(frozen=True)
class Shape:
    """Units of the hidden layer and dropout in training."""

    units: int = 200
    dropout: float = 0.5


class Net(nn.Module):
    """Four bars of soprano to four bars of alto, tenor and bass."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        # One-hot vectors times a matrix are rows of a table.
        self.input = nn.Parameter(torch.randn(STEPS, TOKENS, shape.units) * 0.1)
        self.bias = nn.Parameter(torch.zeros(shape.units))
        self.output = nn.Linear(shape.units, 3 * STEPS * TOKENS)
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, soprano: Tensor) -> Tensor:
        """soprano [B, 64] tokens → logits [B, 64, 3, TOKENS]"""
        B, T = soprano.size()
        rows = self.input[torch.arange(T, device=soprano.device), soprano]  # B, 64, units
        hidden = self.dropout(F.relu(rows.sum(1) + self.bias))
        logits: Tensor = self.output(hidden).view(B, T, 3, TOKENS)
        never = torch.zeros(TOKENS, device=logits.device)
        never[MASK] = never[EDGE] = -1e9
        return logits + never


def windows(chorale: Chorale) -> list[int]:
    """First steps of the windows that cover a chorale, each at a barline; the first may be negative."""
    return list(range(-int(chorale.position[0]), len(chorale), STEPS))


def window(columns: npt.NDArray[np.int64], start: int) -> npt.NDArray[np.int64]:
    """[64, 4] token columns from step `start` on, EDGE where there are none."""
    out = np.full((STEPS, 4), EDGE, np.int64)
    first, last = max(start, 0), min(start + STEPS, len(columns))
    if first < last:
        out[first - start : last - start] = columns[first:last]
    return out


class System:
    """MiniBach with its weights on a device."""

    card: ClassVar[Card] = CARD
    PLAN: ClassVar[dict[str, float]] = {"rate": 2e-3, "decay": 3e-2, "average": 0.995}
    WATCHED: ClassVar[str] = "cross_entropy_mean_nats"

    def __init__(self, net: Net, device: str) -> None:
        self.net = net.to(device)
        self.device = device

    @staticmethod
    def corpus(source: training.Source) -> training.Corpus:
        """The chorales `source` stands for."""
        return training.chorales(source)

    @classmethod
    def fresh(cls, device: str = "cpu", shape: Shape | None = None) -> System:
        """An untrained MiniBach; torch's random numbers decide its weights."""
        return cls(Net(shape or Shape()), device)

    @classmethod
    def load(cls, path: Path | None = None, device: str = "cpu") -> System:
        """MiniBach with the weights at `path`, or those shipped; UserError when they don't fit."""
        return cls(nets.load(path, CARD.id, Shape, Net), device)

    def save(self, path: Path, card: Mapping[str, Any]) -> None:
        """Writes the weights (in 8 bits) and `card`, to which the net's shape is added."""
        nets.save(self.net, path, card, bits=8)

    def generate(self, ask: Ask, context: Context) -> Iterator[Proposal | Progress]:
        """Accompanies a soprano; one proposal, final, for every candidate (they are all the same)."""
        if ask.task is not Task.ACCOMPANY:
            raise UserError(f"MiniBach cannot {ask.task}; it can accompany.")
        CARD.values(ask.params)
        request = casting.cast(ask)
        if request.lines[0] is None or 0 in request.writable:
            raise UserError("MiniBach needs a soprano; this melody lies too low for one.")
        stage = staging.lay(ask.score, ask.region, request.lines, request.writable)
        if stage.given.meter.any():
            raise UserError("MiniBach knows 4/4 alone; mark bars in 4/4, or ask DeepBach.")
        self.net.eval()
        yield Progress(0.0, "Harmonising")
        may = staging.allowed(stage, RANGES, stage.given.shift)
        known = staging.token_columns(stage, MASK)
        columns = known.copy()
        for start in windows(stage.given):
            first, last = max(start, 0), min(start + STEPS, len(columns))
            with torch.inference_mode():
                soprano = torch.from_numpy(window(known, start)[None, :, 0]).to(self.device)
                logits = self.net(soprano)[0].cpu().numpy()
            score = np.where(
                may[first:last, 1:], logits[first - start : last - start], -np.inf
            ).argmax(-1)
            free = stage.free[first:last, 1:]
            columns[first:last, 1:] = np.where(free, score, columns[first:last, 1:])
        notes = staging.written(stage, columns, casting.velocity(request))
        for k in range(ask.count):
            yield Proposal(k, ask.region, casting.tracks(ask, request, notes), final=True)

    def train(
        self, corpus: Any, context: Context, fit: training.Fit | None = None
    ) -> Iterator[Mapping[str, float]]:
        """Learns from the pieces of `corpus.train` in 4/4 for ever: one update before each yield of the
        loss in nats. Close it to stop."""
        fit = fit or training.Fit(self.net, training.Plan(minutes=2.0))
        pieces = [c for c in corpus.train if not c.meter.any()]
        rng = context.rng
        self.net.train()
        while True:
            batch = []
            for i in rng.integers(len(pieces), size=BATCH):
                chorale = pieces[int(i)]
                moved = tokens(chorale.transposed(int(rng.choice(chorale.transpositions()))))
                # Any barline may begin a window: four bars are four bars.
                bars = range(-int(chorale.position[0]), max(1, len(chorale) - STEPS // 2), 16)
                batch.append(window(moved, int(rng.choice(bars))))
            token = torch.from_numpy(np.stack(batch)).to(self.device)
            logits = self.net(token[..., 0])
            loss = F.cross_entropy(
                logits.flatten(0, 2), token[..., 1:].flatten(), ignore_index=EDGE
            )
            yield {"loss_nats": fit.update(loss)}

    def conditionals(self, data: Sequence[Chorale]) -> Iterator[tuple[Chorale, Tensor]]:
        """For each chorale in 4/4 the log probabilities [T, 4, TOKENS] of alto, tenor and bass given the
        soprano; the soprano's own, which it does not model, are not numbers."""
        self.net.eval()
        for chorale in data:
            if chorale.meter.any():
                continue
            known = tokens(chorale)
            out = torch.full((len(chorale), 4, TOKENS), torch.nan)
            for start in windows(chorale):
                first, last = max(start, 0), min(start + STEPS, len(chorale))
                with torch.inference_mode():
                    soprano = torch.from_numpy(window(known, start)[None, :, 0]).to(self.device)
                    rows = F.log_softmax(self.net(soprano)[0], -1).cpu()
                out[first:last, 1:] = rows[first - start : last - start]
            yield chorale, out

    def watch(self, data: Any, context: Context) -> Mapping[str, float]:
        """What training is stopped by; the same as `evaluate`."""
        return self.evaluate(data, context)

    def evaluate(self, data: Any, context: Context) -> Mapping[str, float]:
        """Cross-entropy (nats) and accuracy of alto, tenor and bass given the soprano, pieces in 4/4."""
        return evaluation.note_wise(self.conditionals(data))

"""Bi-Axial LSTM (Johnson 2017): polyphony of any number of voices, in any key, one step after another.

LSTMs along time, the same for every key of the piano, then LSTMs along the keys. Briot et al. 6.9.3.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from models import nets, training
from models.card import Card, Objective, Param, Representation, Task
from models.representations import pianoroll
from models.score import UserError
from models.strategies import biaxial
from models.strategies.biaxial import Net, Shape
from models.system import Ask, Context, Progress, Proposal

CARD = Card(
    id="bi_axial",
    name="Bi-Axial LSTM",
    source="Johnson 2017; Briot et al. 6.9.3",
    objective=Objective(type="polyphony", destination="score", mode="interactive"),
    representation=Representation(
        "pianoroll", steps_per_beat=4, hold=True, encoding="many-hot, and what is struck"
    ),
    architecture="(LSTM × 2 along time, LSTM × 2 along the keys)",
    challenges=("variability", "incrementality"),
    strategy=("iterative feedforward", "sampling"),
    tasks=(Task.CREATE, Task.CONTINUE),
    params=(
        Param("temperature", 0.9, 0.1, 2, "Below 1 the usual, above 1 the unusual"),
        Param("density", 0.0, -3, 3, "More notes at once, or fewer"),
        Param(
            "attacca", False, about="Begin with a note at once, not with a rest",
            tasks=(Task.CONTINUE,),
        ),
    ),
    voices=("piano",),
    listens="The notes before the marked bars, of as many tracks as are marked.",
    strengths="Chords and lines alike, as many notes at once as it takes; goes on in your key.",
    weaknesses="It learned from chorales and thinks in steps: no phrases, and no end in sight.",
    year=2017,
    figure="1.67 nats a sixteenth on held-out chorales",
)  # fmt: skip

BATCH = 8
FRAMES = 96
"""Steps of an update, times BATCH."""
MEMORY = 128
"""Steps before the region that it listens to."""
WATCHED_FRAMES = 4000


class System:
    """A bi-axial net on a device."""

    card: ClassVar[Card] = CARD
    PLAN: ClassVar[dict[str, float]] = {"rate": 4e-3, "decay": 1e-2, "average": 0.998}
    WATCHED: ClassVar[str] = "nats_per_frame_by_frame"

    def __init__(self, net: Net, device: str) -> None:
        self.net = net.to(device)
        self.device = device

    def corpus(self, source: training.Source) -> training.Corpus:
        """The piano rolls `source` stands for."""
        return training.rolls(source, self.net.shape.per_beat)

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

    def generate(self, ask: Ask, context: Context) -> Iterator[Proposal | Progress]:
        """Goes on from the notes before the region, or from silence, to its end."""
        if ask.task not in CARD.tasks:
            raise UserError(f"Bi-Axial LSTM cannot {ask.task}; it can create and continue.")
        values: dict[str, Any] = dict(CARD.values(ask.params))
        shape = self.net.shape
        seat = pianoroll.seat(ask.score, ask.region, shape.per_beat, MEMORY)
        if ask.task is Task.CONTINUE and not seat.before.sounds.any():
            raise UserError("There is nothing before the marked bars to continue; mark later ones.")
        yield Progress(0.0, "Listening back")
        net = self.net if self.device == "cpu" else copy.deepcopy(self.net).cpu()
        heat, more = values["temperature"], values["density"]
        yield from biaxial.proposals(
            net, seat, ask.count, heat, more, context.rng, attacca=values["attacca"]
        )

    def train(
        self, corpus: Any, context: Context, fit: training.Fit | None = None
    ) -> Iterator[Mapping[str, float]]:
        """Learns from stretches of the pieces of `corpus.train` for ever: one update before each yield of
        the loss in nats a step. Close it to stop."""
        fit = fit or training.Fit(self.net, training.Plan(minutes=60.0))
        self.net.train()
        losses = biaxial.losses(self.net, corpus.train, BATCH * FRAMES, self.device, context.rng)
        for loss in losses:
            yield {"loss_nats": fit.update(loss)}

    def watch(self, data: Any, context: Context) -> Mapping[str, float]:
        """Nats a step of the first pieces that have WATCHED_FRAMES steps together."""
        lengths = np.cumsum([0, *(len(piece) for piece in data)])
        some = data[: int(np.searchsorted(lengths, WATCHED_FRAMES))]
        return pianoroll.per_frame(biaxial.nats(self.net, some, self.device))

    def evaluate(self, data: Any, context: Context) -> Mapping[str, float]:
        """Nats a step, exact, on both averages."""
        return pianoroll.per_frame(biaxial.nats(self.net, data, self.device))

"""Blues_C (Eck & Schmidhuber 2002): an LSTM that keeps the time of a twelve-bar blues.

Memory blocks of two cells predict the next eighth's chord from this one's; what they say goes back in, so that
from a first chord the whole form unrolls, chorus after chorus, and does not drift. Briot et al. 6.5.1.

The paper's four blocks learn its one form, and so do four here; two forms, one of them with a chord that stays
for six bars, take sixteen. Learnt by gradients through whole choruses, where the paper's were cut off at every
block.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models import nets, training
from models.card import Card, Objective, Param, Representation, Task
from models.representations import blues, blues_stage
from models.representations.blues import CHORD, FORM, Flags
from models.score import UserError
from models.strategies.block_lstm import BlockLSTM, State, Stepper
from models.system import Ask, Context, Progress, Proposal

CARD = Card(
    id="blues_c",
    name="Blues_C",
    source="Eck & Schmidhuber 2002; Briot et al. 6.5.1",
    objective=Objective(type="chords", destination="score", mode="autonomous"),
    representation=Representation(
        "blues", steps_per_beat=2, hold=False, encoding="many-hot, 12 chord units"
    ),
    architecture="LSTM, 16 blocks of 2 cells with shared gates",
    challenges=("structure", "length variability"),
    strategy=("iterative feedforward",),
    tasks=(Task.CREATE, Task.CONTINUE),
    params=(
        Param("form", "bebop", about="The progression, unless there are chords before to go by",
              choices=("bebop", "plain")),
        Param("key", "score", about="The score's key, or another",
              choices=("score", "C", "D-flat", "D", "E-flat", "E", "F", "G-flat", "G", "A-flat", "A",
                       "B-flat", "B")),
        Param("comping", "held", about="How the chords are struck",
              choices=("held", "quarters", "charleston", "mixed")),
        Param("sevenths", True, about="With sevenths and sixths, or plain triads"),
        Param("register", 48, 24, 84, "The lowest note of the octave the chords lie in, as in MIDI"),
        Param("swing", 0, 0, 240,
              "How late the eighths off the beat come, in ticks: 160 is a shuffle of 2 to 1"),
        Param("ending", True, about="Close on the tonic instead of turning around",
              tasks=(Task.CREATE,)),
    ),
    voices=("chords",),
    listens="The chords before the marked bars.",
    strengths="The chords of a twelve-bar blues in any key, for as many choruses as you like.",
    weaknesses="It knows two progressions and nothing else; a melody above makes no difference to it.",
    year=2002,
    figure="96 of 96 steps right from the first chord, 10 choruses in a row",
)  # fmt: skip

BATCH = 8
CHORUSES = 2
"""Times through the form between two updates."""
GOES_ON = 0.75
"""How often a training sequence goes on where the last one ended, instead of at a beginning."""
CYCLES = 10
"""Choruses that must come out right."""


@dataclass(frozen=True)
class Shape:
    """Memory blocks, and cells in each."""

    blocks: int = 16
    cells: int = 2


class Net(nn.Module):
    """One eighth after another: chord [B, T, CHORD] to the logits of the next. `form` [2, FORM, CHORD] is what
    it has learnt, kept with the weights."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.chords = BlockLSTM(CHORD, shape.blocks, shape.cells)
        self.output = nn.Linear(self.chords.units + CHORD, CHORD)
        self.form = nn.Parameter(torch.zeros(len(blues.FORMS), FORM, CHORD), requires_grad=False)

    def forward(self, chord: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """chord [B, T, CHORD] → logits [B, T, CHORD], and the blocks' state"""
        hidden, state = self.chords(chord, state)
        return self.output(torch.cat([hidden, chord], -1)), state


class Player:
    """The net, an eighth at a time."""

    def __init__(self, net: Net) -> None:
        self._chords = Stepper(net.chords)
        units = net.chords.units
        with torch.no_grad():
            weight = net.output.weight.T  # of what the cells put out, then of the chord
            self._weight = torch.cat([weight[units:], weight[:units]]).contiguous().numpy()
            self._bar = -net.output.bias.numpy()

    def __call__(self, chord: Flags) -> Flags:
        """The chord [CHORD] that follows: all units above one half."""
        np.copyto(self._chords.heard, chord)
        self._chords.step()
        follows: Flags = (self._chords.inputs @ self._weight)[0] > self._bar
        return follows


class System:
    """Blues_C with its weights."""

    card: ClassVar[Card] = CARD
    PLAN: ClassVar[dict[str, float]] = {"rate": 1e-2, "decay": 0.0, "average": 0.99}
    WATCHED: ClassVar[str] = "steps_wrong"

    def __init__(self, net: Net) -> None:
        self.net = net

    @staticmethod
    def corpus(source: training.Source) -> training.Corpus:
        """The forms, or the choruses of a user's scores; those of a folder with the forms besides."""
        if source is None:
            made = blues.made(0, len(blues.FORMS))
            return training.Corpus(
                made,
                made,
                "two common progressions",
                "none: they are learnt by heart",
                "common property",
            )
        if isinstance(source, Sequence) and not isinstance(source, str):
            found = blues_stage.gathered([score for _, score in source], needs_melody=False)
            name = "the user's own"
            return training.Corpus(found, found, name, "none: learnt by heart", name)
        raise UserError("A form is learnt from a folder of scores alone; name one.")

    @classmethod
    def fresh(cls, device: str = "cpu", shape: Shape | None = None) -> System:
        """An untrained net; torch's random numbers decide its weights."""
        return cls(Net(shape or Shape()))

    @classmethod
    def load(cls, path: Path | None = None, device: str = "cpu") -> System:
        """Blues_C with the weights at `path`, or those shipped; UserError when they don't fit."""
        return cls(nets.load(path, CARD.id, Shape, Net))

    def save(self, path: Path, card: Mapping[str, Any]) -> None:
        """Writes weights and `card`, with the net's shape."""
        nets.save(self.net, path, card)

    @property
    def forms(self) -> Flags:
        """[2, FORM, CHORD] what it has learnt."""
        return np.asarray(self.net.form.numpy() > 0.5)

    def generate(self, ask: Ask, context: Context) -> Iterator[Proposal | Progress]:
        """Unrolls the form from its first chord, or from where the music stands in it."""
        if ask.task not in CARD.tasks:
            raise UserError(f"Blues_C cannot {ask.task}; it can create and continue.")
        values = CARD.values(ask.params)
        stage = blues_stage.lay(ask, CARD.name, self.forms, values, both=False)
        yield Progress(0.0, "Counting bars")
        chords = self.unrolled(self.forms[stage.form], stage.first, stage.last)
        closing = blues_stage.closing(stage, ask, values)
        chords[closing:] = chords[0]
        keys = blues_stage.signature(stage, ask.score)
        for k in range(ask.count):
            track = blues_stage.written_chords(stage, chords, values, context.rng, k % 4, closing)
            yield Proposal(k, ask.region, (track,), final=True, keys=keys)

    def unrolled(self, form: Flags, first: int, last: int) -> Flags:
        """[last, CHORD]: a form as it stands up to step `first`, which is at least 0, and what the net makes
        of it from there."""
        player = Player(self.net)
        chords = np.zeros((last, CHORD), bool)
        chords[0] = form[0]
        for t in range(1, last):
            follows = player(chords[t - 1])
            chords[t] = form[t % FORM] if t < first else follows
        return chords

    def train(
        self, corpus: Any, context: Context, fit: training.Fit | None = None
    ) -> Iterator[Mapping[str, float]]:
        """Learns the commonest forms of `corpus.train`, for ever: one update before each yield of the loss
        in nats a step. Close it to stop."""
        fit = fit or training.Fit(self.net, training.Plan(minutes=4.0))
        with torch.no_grad():
            self.net.form.copy_(torch.from_numpy(blues.commonest(corpus.train)))
        rows = [self.net.form[k % len(self.net.form)] for k in range(BATCH)]
        chords = torch.stack(rows).repeat(1, CHORUSES + 1, 1)[:, : CHORUSES * FORM + 1]
        state: State | None = None
        while True:
            logits, state = self.net(chords[:, :-1], state)
            loss = F.binary_cross_entropy_with_logits(logits, chords[:, 1:]) * CHORD
            goes_on = torch.from_numpy(context.rng.random((1, BATCH, 1)) < GOES_ON)
            state = state[0].detach() * goes_on, state[1].detach() * goes_on
            yield {"loss_nats": fit.update(loss)}

    def watch(self, data: Any, context: Context) -> Mapping[str, float]:
        """Steps that come out wrong in CYCLES choruses from the first chord of each form."""
        return {self.WATCHED: float(sum((~right).sum() for right in self.rights()))}

    def rights(self) -> list[Flags]:
        """[CYCLES × FORM] for each form: whether each step comes out right from the first chord alone."""
        made = [self.unrolled(form, 1, CYCLES * FORM) for form in self.forms]
        return [
            (chords == np.tile(form, (CYCLES, 1))).all(-1)
            for chords, form in zip(made, self.forms, strict=True)
        ]

    def evaluate(self, data: Any, context: Context) -> Mapping[str, float]:
        """Of each form: steps right of the FORM ones, and choruses without a mistake in a row, of CYCLES; all
        from the first chord."""
        figures: dict[str, float] = {}
        for name, right in zip(blues.FORMS, self.rights(), strict=True):
            exact = right.reshape(CYCLES, FORM).all(1)
            figures[f"steps_right_of_{FORM}_{name}"] = float(right[:FORM].sum())
            figures[f"choruses_right_in_a_row_{name}"] = float(np.cumprod(exact).sum())
        figures["choruses_tried"] = float(CYCLES)
        return figures

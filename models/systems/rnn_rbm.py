"""RNN-RBM (Boulanger-Lewandowski, Bengio & Vincent 2012; Briot et al. 6.9.1), with its two successors.

A recurrent net hears the piece so far and sets, at every step, the biases of a restricted Boltzmann machine,
which says which keys go together next. RNN-DBN (Goel, Vohra & Sahoo 2014) puts a second machine on top of the
first; in LSTM-RTRBM (Lyu et al. 2015) it is what the machine itself expects, carried on by an LSTM, that
biases the next one.
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

from models import nets, training, weights
from models.card import Card, Objective, Param, Representation, Task
from models.representations import around, pianoroll
from models.representations.pianoroll import PITCHES, Roll
from models.score import UserError
from models.strategies import rbm
from models.strategies.rbm import Deep, Frames, Machine
from models.system import Ask, Context, Progress, Proposal

CARD = Card(
    id="rnn_rbm",
    name="RNN-RBM",
    source="Boulanger-Lewandowski et al. 2012; Briot et al. 6.9.1",
    objective=Objective(type="polyphony", destination="score", mode="interactive"),
    representation=Representation(
        "pianoroll", steps_per_beat=2, hold=True, encoding="many-hot, and what is struck"
    ),
    architecture="(RBM, RNN)",
    challenges=("variability", "control", "incrementality"),
    strategy=("sampling: block Gibbs", "iterative feedforward"),
    tasks=(Task.CREATE, Task.CONTINUE, Task.ACCOMPANY),
    params=(
        Param("kind", "rnn_rbm", choices=("rnn_rbm", "rnn_dbn", "lstm_rtrbm"),
              about="The paper's net, one with two machines on each other, or one with an LSTM"),
        Param("temperature", 0.7, 0.1, 2, "Below 1 the usual, above 1 the unusual"),
        Param("sweeps", 40, 5, 500, "Rounds of Gibbs sampling a step: more is nearer to what it means"),
        Param("melody", "top", choices=("top", "anywhere"), tasks=(Task.ACCOMPANY,),
              about="Whether notes may lie above what is accompanied"),
    ),
    voices=("piano",),
    listens="Any notes that sound in the marked bars on other tracks: they stay, and it adds to them.",
    strengths="Weighs all notes of a chord together, so that they fit each other and what you hold.",
    weaknesses="Nothing shorter than an eighth, four parts at most times, and no themes that come back.",
    year=2012,
    figure="4.66 ± .13 nats a step (AIS), held-out chorales, keys and strikes",
)  # fmt: skip

KINDS = ("rnn_rbm", "rnn_dbn", "lstm_rtrbm")
PER_BEAT = 2
BATCH = 16
WINDOW = 64
MEMORY = 256
"""Steps before the region that it listens to."""
SWEEPS = 2, 10
"""Of Gibbs sampling from the data to what the machine makes of them, in the beginning and in the end: more
of them are needed (CD-k) the surer the machine is."""
LOOKED_AT = 16
"""Frames whose pseudo-likelihood is the loss that training shows."""
WATCHED_FRAMES = 250
FIRST_YIELD = 8
"""Steps after which the first proposal is shown, and the next ones."""


@dataclass(frozen=True)
class Shape:
    """Which of KINDS; recurrent units, hidden units of the machine and of the one on top (RNN-DBN);
    `dropped`: the share of what was played that the net does not hear in training, and of its units off.

    Beyond the paper, each off at 0: `struck`: whether keys struck are units besides keys sounding; `bar`:
    inputs that say where in the bar a step lies; `ending`: inputs that count the last steps of a piece.
    """

    kind: str = "rnn_rbm"
    units: int = 100
    hidden: int = 150
    top: int = 88
    dropped: float = 0.3
    struck: int = 1
    bar: int = 16
    ending: int = 8

    @property
    def visible(self) -> int:
        """Visible units."""
        return PITCHES * (1 + bool(self.struck))


class Net(nn.Module):
    """What was played to the machines of every step."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        if shape.kind not in KINDS:
            raise ValueError(shape.kind)
        self.shape = shape
        V, H, U = shape.visible, shape.hidden, shape.units
        self.weight = nn.Parameter(0.01 * torch.randn(V, H))
        heard = V + shape.bar + shape.ending
        self.cell: nn.RNN | nn.LSTMCell
        if shape.kind == "lstm_rtrbm":
            self.cell = nn.LSTMCell(heard + H, U)
        else:
            self.cell = nn.RNN(heard, U, batch_first=True)
            nn.init.orthogonal_(self.cell.all_weights[0][1])
        self.visible = nn.Linear(U, V)
        self.hidden = nn.Linear(U, H)
        if shape.kind == "rnn_dbn":
            self.above = nn.Parameter(0.01 * torch.randn(H, shape.top))
            self.top = nn.Linear(U, shape.top)
        # At first the machines are nearly the same at every step, as one trained alone would be.
        with torch.no_grad():
            for layer in (self.visible, self.hidden):
                layer.weight.mul_(0.1)
                layer.bias.zero_()

    def forward(self, played: Tensor, clock: Tensor) -> Frames:
        """played [B, T, V], clock [B, T, C] → the machines [B, T] of all steps, each of which knows what was
        played before it"""
        past = F.pad(played, (0, 0, 1, 0))[:, :-1]
        heard = torch.cat([F.dropout(past, self.shape.dropped, self.training), clock], -1)
        if isinstance(self.cell, nn.RNN):
            units, _ = self.cell(heard)
            return self.machines(F.dropout(units, self.shape.dropped, self.training))
        state = self.start(len(played))
        every = []
        for t in range(played.size(1)):
            state = self.cell(torch.cat([heard[:, t], self.expected(past[:, t], state)], -1), state)
            every.append(state[0])
        return self.machines(F.dropout(torch.stack(every, 1), self.shape.dropped, self.training))

    def start(self, count: int) -> Any:
        """The state before the first step."""
        zeros = torch.zeros(count, self.shape.units)
        return zeros[None] if isinstance(self.cell, nn.RNN) else (zeros, zeros)

    def step(self, past: Tensor, clock: Tensor, state: Any) -> tuple[Frames, Any]:
        """As `forward`, one step: past [B, V] was played just before, clock [B, C] → machines [B], state"""
        heard = torch.cat([past, clock], -1)
        if isinstance(self.cell, nn.RNN):
            units, state = self.cell(heard[:, None], state)
            return self.machines(units[:, 0]), state
        state = self.cell(torch.cat([heard, self.expected(past, state)], -1), state)
        return self.machines(state[0]), state

    def expected(self, past: Tensor, state: tuple[Tensor, Tensor]) -> Tensor:
        """[B, H]: how likely the hidden units of the step before were on, given what was played"""
        return torch.sigmoid(self.hidden(state[0]) + past @ self.weight)

    def machines(self, units: Tensor) -> Frames:
        """units [..., U] → the machines they stand for"""
        lower = Machine(self.weight, self.visible(units), self.hidden(units))
        if self.shape.kind != "rnn_dbn":
            return lower
        return Deep(lower, Machine(self.above, lower.hidden, self.top(units)))


def frames(roll: Roll, shape: Shape) -> Tensor:
    """[T, V] what a roll's steps are as visible units."""
    rows = [roll.sounds, roll.begins] if shape.struck else [roll.sounds]
    return torch.from_numpy(np.concatenate(rows, 1))


def clock(position: Any, shape: Shape, ends: bool) -> Tensor:
    """[T, C] where in the bar each step lies and, if the piece `ends` with the last, how many are left."""
    T = len(position)
    rows = torch.zeros(T, shape.bar + shape.ending)
    if shape.bar:
        rows[torch.arange(T), torch.from_numpy(position) % shape.bar] = 1
    left = min(T, shape.ending)
    if ends and left:
        rows[torch.arange(T - left, T), shape.bar + torch.arange(left - 1, -1, -1)] = 1
    return rows


class System:
    """An RNN-RBM, or one of its successors."""

    card: ClassVar[Card] = CARD
    PLAN: ClassVar[dict[str, float]] = {"rate": 1e-2, "decay": 1e-2, "average": 0.995}
    WATCHED: ClassVar[str] = "nats_per_frame_by_frame"

    def __init__(self, net: Net, own: bool = False) -> None:
        self.net = net
        self.own = own  # not the shipped one
        self._others: dict[str, Net] = {}

    @staticmethod
    def corpus(source: training.Source) -> training.Corpus:
        """The piano rolls `source` stands for."""
        return training.rolls(source, PER_BEAT)

    @classmethod
    def fresh(cls, device: str = "cpu", shape: Shape | None = None) -> System:
        """An untrained one; torch's random numbers decide its weights."""
        return cls(Net(shape or Shape()), own=True)

    @classmethod
    def load(cls, path: Path | None = None, device: str = "cpu") -> System:
        """With the weights at `path`, or those shipped; UserError when they don't fit. It runs on the
        processor, whatever the device: its steps are too small for any other."""
        return cls(nets.load(path, CARD.id, Shape, Net), path is not None)

    def save(self, path: Path, card: Mapping[str, Any]) -> None:
        """Writes the weights (in half precision, an LSTM's in 8 bits) and `card`, to which the net's shape is
        added."""
        nets.save(self.net, path, card, bits=8 if self.net.shape.kind == "lstm_rtrbm" else 16)

    def _chosen(self, kind: str) -> Net:
        """The net of that kind: this one, or another that is shipped."""
        if kind == self.net.shape.kind or (self.own and kind == CARD.params[0].default):
            return self.net
        if self.own:
            raise UserError(
                f"These weights are of kind {self.net.shape.kind}; choose that, or leave them out."
            )
        if kind not in self._others:
            self._others[kind] = nets.load(weights.shipped(kind), CARD.id, Shape, Net)
        return self._others[kind]

    def generate(self, ask: Ask, context: Context) -> Iterator[Proposal | Progress]:
        """Writes step after step: from nothing, on from what was before, or around what sounds."""
        if ask.task not in CARD.tasks:
            raise UserError(f"RNN-RBM cannot {ask.task}; it can create, continue and accompany.")
        values: dict[str, Any] = dict(CARD.values(ask.params))
        net = self._chosen(values["kind"])
        if ask.task is Task.ACCOMPANY:
            top = values["melody"] == "top"
            seat, given = around.seat(
                ask.score, ask.region, ask.melody, PER_BEAT, MEMORY, top, "Piano"
            )
        else:
            seat = pianoroll.seat(ask.score, ask.region, PER_BEAT, MEMORY)
            given = around.kept(seat)
        if ask.task is Task.CONTINUE and not seat.before.sounds.any():
            raise UserError("There is nothing before the marked bars to continue; mark later ones.")
        yield Progress(0.0, "Listening back")
        later = any((t.notes.onset >= ask.region.end).any() for t in ask.score.tracks)
        for done, rows in self.write(net, seat, given, ask, values, not later, context.rng):
            final = done == len(seat)
            yield Progress(done / len(seat), "Writing")
            for k in range(ask.count):
                sounds, begins = rows[k, :done, :PITCHES], rows[k, :done, PITCHES:]
                tracks = pianoroll.written(sounds, begins, seat.until(done))
                yield Proposal(k, seat.region, tracks, final=final)

    @staticmethod
    def write(
        net: Net,
        seat: pianoroll.Seat,
        given: around.Given,
        ask: Ask,
        values: Mapping[str, Any],
        ends: bool,
        rng: np.random.Generator,
    ) -> Iterator[tuple[int, Any]]:
        """(steps done, rows [count, T, 2 × PITCHES], those of `given` left out), bar by bar."""
        shape, count, T = net.shape, ask.count, len(seat)
        state = net.start(count)
        past = torch.zeros(count, shape.visible)
        if ask.task is not Task.CREATE:
            before = frames(seat.before, shape).float()
            ticks = clock(seat.before.position, shape, False)
            for row, tick in zip(before, ticks, strict=True):
                with torch.inference_mode():
                    _, state = net.step(past, tick.expand(count, -1), state)
                past = row.expand(count, -1)
        ticks = clock(seat.position, shape, ends)
        known = frames(given.notes, shape).float()
        held = torch.from_numpy(np.concatenate([given.held] * 2, 1)[:, : shape.visible])
        rows = np.zeros((count, T, 2 * PITCHES), bool)
        gone = known.bool().numpy()
        for t in range(T):
            fixed, stays = known[t].expand(count, -1), held[t].expand(count, -1)
            with torch.inference_mode():
                machines, state = net.step(past, ticks[t].expand(count, -1), state)
                past = rbm.sampled(
                    machines, fixed, stays, values["sweeps"], rng, values["temperature"]
                )
            rows[:, t, : shape.visible] = past.numpy().astype(bool) & ~gone[t]
            if (t + 1) % FIRST_YIELD == 0 or t + 1 == T:
                yield t + 1, rows

    def train(
        self, corpus: Any, context: Context, fit: training.Fit | None = None
    ) -> Iterator[Mapping[str, float]]:
        """Learns from windows of the pieces of `corpus.train` for ever: one step of contrastive divergence
        before each yield. Close it to stop. `loss_nats` is the pseudo-likelihood of a few frames, as the
        likelihood itself takes too long to estimate."""
        fit = fit or training.Fit(self.net, training.Plan(minutes=5.0))
        net, rng = self.net, context.rng
        pieces = [frames(piece, net.shape) for piece in corpus.train]
        clocks = [
            (clock(p.position, net.shape, False), clock(p.position, net.shape, True))
            for p in corpus.train
        ]
        if not fit.step:
            often = torch.cat(pieces).float().mean(0)
            with torch.no_grad():
                net.visible.bias.copy_(torch.logit(often.clamp(1e-3, 0.5)))
        length = np.array([len(p) for p in pieces], float)
        net.train()
        while True:
            played = torch.zeros(BATCH, WINDOW, net.shape.visible)
            ticks = torch.zeros(BATCH, WINDOW, net.shape.bar + net.shape.ending)
            there = torch.zeros(BATCH, WINDOW, dtype=torch.bool)
            for b, i in enumerate(rng.choice(len(pieces), BATCH, p=length / length.sum())):
                # Every other window is an opening: else the first steps of a piece were hardly met.
                last = max(1, len(pieces[i]) - WINDOW // 2)
                start = int(rng.integers(0, last)) if b % 2 else 0
                part = slice(start, start + WINDOW)
                n = len(pieces[i][part])
                played[b, :n] = pieces[i][part].float()
                ticks[b, :n] = clocks[i][int(rng.integers(2))][part]
                there[b, :n] = True
            machines, v = net(played, ticks).flat(), played[there]
            machines = machines.rows(torch.nonzero(there.flatten())[:, 0])
            sweeps = round(SWEEPS[0] + (SWEEPS[1] - SWEEPS[0]) * fit.fraction)
            if isinstance(machines, Deep):
                loss, lower = rbm.deep_contrast(machines, v, sweeps, rng), machines.lower
            else:
                loss, lower = rbm.contrast(machines, v, sweeps, rng), machines
            some = torch.from_numpy(rng.permutation(len(v))[:LOOKED_AT])
            with torch.no_grad():
                shown = rbm.pseudo_nats(lower.rows(some), v[some])
            fit.update(loss)
            yield {"loss_nats": float(shown)}

    def machines(self, pieces: Sequence[Roll]) -> list[tuple[Frames, Tensor]]:
        """The machines [T] of each piece, as it has been played, and its frames [T, V]. That the piece will
        end is not told."""
        found = []
        self.net.eval()
        for piece in pieces:
            v = frames(piece, self.net.shape).float()
            made = self.net(v[None], clock(piece.position, self.net.shape, False)[None])
            found.append((made.flat(), v))
        return found

    def watch(self, data: Any, context: Context) -> Mapping[str, float]:
        """Nats a frame, estimated on WATCHED_FRAMES frames of all pieces."""
        with torch.no_grad():
            return rbm.likelihood(self.machines(data), np.random.default_rng(0), WATCHED_FRAMES)

    def evaluate(self, data: Any, context: Context) -> Mapping[str, float]:
        """Nats a frame on both averages, estimated by annealed importance sampling, with its error."""
        with torch.no_grad():
            return rbm.likelihood(self.machines(data), context.rng)

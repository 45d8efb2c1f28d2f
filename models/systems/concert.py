"""CONCERT (Mozer 1994): a recurrent net that composes note by note, hearing pitch as listeners do.

Notes go in and come out as vectors in which what sounds alike is near: pitch height, chroma circle and
circle of fifths, and durations by length and by what they are of a beat. A last layer turns the vector
that is expected into probabilities: the nearer a note's own vector, the likelier it is. Some units of
the context change slowly, so as to hear phrases and not only notes. Briot et al. 6.6.1.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models import nets, training, weights
from models.card import Card, Objective, Param, Representation, Task
from models.representations import concert, note_step, placed
from models.representations.placed import PLACE, SILENT, SYMBOLS, TIMES
from models.score import UserError
from models.strategies import stepping
from models.strategies.stepping import Floats
from models.system import Ask, Context, Progress, Proposal

CARD = Card(
    id="concert",
    name="CONCERT",
    source="Mozer 1994; Briot et al. 6.6.1",
    objective=Objective(type="melody", destination="score", mode="autonomous"),
    representation=Representation(
        "concert", steps_per_beat=12, hold=False,
        encoding="pitch height, chroma circle, circle of fifths; duration circles",
    ),
    architecture="RNN with slow units and an interpretation layer",
    challenges=("structure", "variability"),
    strategy=("sampling", "iterative feedforward"),
    tasks=(Task.CREATE, Task.CONTINUE),
    params=(
        Param("temperature", 0.8, 0.1, 2, "Below 1 the usual notes, above 1 the unusual"),
        Param("rhythm", 0.8, 0.1, 2, "The same for durations: low is regular"),
        Param("close", True, about="End on the keynote, held to the end of the marked bars"),
    ),
    voices=("melody",),
    listens="The notes before the marked bars.",
    strengths="Folk-like lines in any metre, triplets too, in time with the bar; goes on from yours in your key.",
    weaknesses="Draws pitch and duration apart from one another; no plan beyond a phrase, and no chords here.",
    year=1994,
    figure="2.43 nats a note (pitch 1.68; with one-hot pitches 1.70)",
)  # fmt: skip

BATCH = 128
STEPS = 48
FLUTE = 73
LONGEST_PIECE = 4000
PORTION = 256
"""Notes after which a long piece is shown as far as it is."""
_TICKS = (TIMES * placed.TWELFTH).tolist()
_PITCHES = placed.pitches(np.arange(SYMBOLS)).tolist()
ONE_HOT = "concert_one_hot"
"""Weights to compare with: `ricercar train concert --shape pitch=one_hot`."""


@dataclass(frozen=True)
class Shape:
    """Context units, what part of them is slow, and how pitch is heard and said: "psychological" or
    "one_hot"."""

    context: int = 256
    slow: float = 0.5
    pitch: str = "psychological"


class Net(nn.Module):
    """From the last note, and the place of the next, to the next."""

    pitch: Tensor
    time: Tensor
    inertia: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        if shape.pitch not in ("psychological", "one_hot"):
            raise ValueError(shape.pitch)
        self.shape = shape
        H = shape.context
        self.parts = concert.PITCH_PARTS if shape.pitch == "psychological" else (SYMBOLS,)
        pitch = concert.pitch_vectors() if len(self.parts) > 1 else concert.one_hot(SYMBOLS)
        time = concert.time_vectors()
        # One row more, of zeros: nothing has been heard yet.
        self.register_buffer("pitch", torch.from_numpy(np.pad(pitch, ((0, 1), (0, 0)))), False)
        self.register_buffer("time", torch.from_numpy(np.pad(time, ((0, 1), (0, 0)))), False)
        # Slow units keep from a half to nineteen twentieths of what they were.
        slow = round(H * shape.slow)
        inertia = 1 - 0.5 * 10 ** -torch.linspace(0, 1, max(slow, 1))[:slow]
        self.register_buffer("inertia", torch.cat([torch.zeros(H - slow), inertia]), False)
        C = pitch.shape[1] + time.shape[1]
        self.heard = nn.Linear(C + PLACE + 1, H)
        self.again = nn.Linear(H, H, bias=False)
        self.expected = nn.Linear(H, C)
        self.precision = nn.Parameter(torch.zeros(len(self.parts) + len(concert.TIME_PARTS)))
        # Between two usual durations lie unusual ones: nearness alone would make them likely, too.
        self.usual = nn.Parameter(torch.zeros(SYMBOLS + len(TIMES)))

    def hears(self, symbol: Tensor, time: Tensor, place: Tensor, begins: Tensor) -> Tensor:
        """Symbol and time of the last note [...], place of the next [..., PLACE], whether the next is the
        first [...] → what context units are told [..., H]"""
        symbol = torch.where(begins, SYMBOLS, symbol)
        time = torch.where(begins, len(TIMES), time)
        parts = [self.pitch[symbol], self.time[time], place, begins[..., None].float()]
        told: Tensor = self.heard(torch.cat(parts, -1))
        return told

    def turn(self, told: Tensor, context: Tensor) -> Tensor:
        """What they are told [B, H] and the context before [B, H] → the context now."""
        new = torch.tanh(torch.addmm(told, context, self.again.weight.T))
        return torch.lerp(new, context, self.inertia)

    def says(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """context [..., H] → logits of the next symbol [..., SYMBOLS] and time [..., TIMES]: how usual
        each is, less the squared distance of its vector from the one expected."""
        said = self.expected(context)
        parts = torch.tensor([*self.parts, *concert.TIME_PARTS])
        sharp = self.precision.exp().repeat_interleave(parts)
        C = self.pitch.shape[1]
        pitch = _nearness(self.pitch[:-1], said[..., :C], sharp[:C])
        time = _nearness(self.time[:-1], said[..., C:], sharp[C:])
        return pitch + self.usual[:SYMBOLS], time + self.usual[SYMBOLS:]

    def forward(
        self, symbol: Tensor, time: Tensor, place: Tensor, begins: Tensor, context: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """[B, T] of each → logits [B, T, SYMBOLS], [B, T, TIMES], and the context after [B, H]; a piece
        that begins on the way begins with an empty one."""
        told = self.hears(symbol, time, place, begins)
        stays = (~begins).float()[..., None]
        states = []
        for now, kept in zip(told.unbind(1), stays.unbind(1), strict=True):
            context = self.turn(now, context * kept)
            states.append(context)
        return *self.says(torch.stack(states, 1)), context


def _nearness(vectors: Tensor, expected: Tensor, precision: Tensor) -> Tensor:
    """Minus the squared distance [..., N] of vectors [N, C] from one that is expected [..., C], but for its
    own square, which is the same for all; `precision` [C] weighs the dimensions."""
    return 2 * (expected * precision) @ vectors.T - vectors**2 @ precision


class Stepper:
    """The net's numbers, prepared for one note at a time, and a context: what the last note adds is a row of a
    table; expectation and nearness, one after the other, are one matrix."""

    def __init__(self, net: Net) -> None:
        P, T, H = net.pitch.shape[1], net.time.shape[1], net.shape.context
        with torch.no_grad():
            read = net.heard.weight.T
            self.symbol = (net.pitch @ read[:P] + net.heard.bias).numpy()  # SYMBOLS + 1, H
            self.time = (net.time @ read[P : P + T]).numpy()  # TIMES + 1, H
            self.begins = read[-1].numpy()
            both = torch.cat([read[P + T : P + T + PLACE], net.again.weight.T])
            self.turn = both.contiguous().numpy()  # PLACE + H, H
            self.inertia, self.moves = net.inertia.numpy(), (1 - net.inertia).numpy()
            exact = copy.deepcopy(net).double()
            none = torch.cat(exact.says(torch.zeros(H, dtype=torch.float64)))
            each = torch.cat(exact.says(torch.eye(H, dtype=torch.float64)), 1)
            self.says = (each - none).float().numpy()  # H, SYMBOLS + TIMES
            self.usual = none.float().numpy()
        self._room(np.zeros(H, np.float32))

    def _room(self, context: Floats) -> None:
        H = len(context)
        self._inputs = np.zeros((1, PLACE + H), np.float32)
        self._place = self._inputs[0, :PLACE]
        self._context = self._inputs[:, PLACE:]
        self._context[:] = context
        self._new = np.zeros((1, H), np.float32)
        self._said = np.zeros((1, len(self.usual)), np.float32)

    def begun(self, context: Floats) -> Stepper:
        """Another one that goes on from a context [H]."""
        twin = copy.copy(self)
        twin._room(context)
        return twin

    def step(self, last: tuple[int, int] | None, place: Floats) -> Floats:
        """Logits [SYMBOLS + TIMES] of a note at a place [PLACE] after the last one, if there is one, of that
        symbol and time."""
        symbol, time = last or (SYMBOLS, len(TIMES))
        new = self._new
        np.copyto(self._place, place)
        np.matmul(self._inputs, self.turn, new)
        np.add(new, self.symbol[symbol], new)
        np.add(new, self.time[time], new)
        if last is None:
            np.add(new, self.begins, new)
        np.tanh(new, new)
        np.multiply(new, self.moves, new)
        np.multiply(self._context, self.inertia, self._context)
        np.add(self._context, new, self._context)
        np.matmul(self._context, self.says, self._said)
        np.add(self._said, self.usual, self._said)
        found: Floats = self._said[0]
        return found


class System:
    """CONCERT with its weights."""

    card: ClassVar[Card] = CARD
    PLAN: ClassVar[dict[str, float]] = {"rate": 4e-3, "decay": 1e-3, "average": 0.998}
    WATCHED: ClassVar[str] = "cross_entropy_note_nats"

    def __init__(self, net: Net) -> None:
        self.net = net
        self._stepper: tuple[int, Stepper] | None = None

    @staticmethod
    def corpus(source: training.Source) -> training.Corpus:
        """The tunes `source` stands for."""
        return training.melodies(source)

    @classmethod
    def fresh(cls, device: str = "cpu", shape: Shape | None = None) -> System:
        """An untrained net; torch's random numbers decide its weights."""
        return cls(Net(shape or Shape()))

    @classmethod
    def load(cls, path: Path | None = None, device: str = "cpu") -> System:
        """CONCERT with the weights at `path`, or those shipped; UserError when they don't fit. It runs on
        the CPU: a step is too small for more."""
        return cls(nets.load(path, CARD.id, Shape, Net))

    def save(self, path: Path, card: Mapping[str, Any]) -> None:
        """Writes the weights (in half precision) and `card`, to which the net's shape is added."""
        nets.save(self.net, path, card)

    def generate(self, ask: Ask, context: Context) -> Iterator[Proposal | Progress]:
        """Goes on from the notes before the region, or from a beginning, note by note to its end."""
        if ask.task not in CARD.tasks:
            raise UserError(f"CONCERT cannot {ask.task}; it can create and continue.")
        values: dict[str, Any] = dict(CARD.values(ask.params))
        seat = note_step.seat(ask.score, ask.region, FLUTE)
        if ask.task is Task.CONTINUE and not len(seat.before):
            raise UserError("There is nothing before the marked bars to continue; mark later ones.")
        yield Progress(0.0, "Listening back")
        before, start = placed.of_score(ask.score, seat, ask.region.start)
        if ask.task is Task.CREATE:
            before = placed.NOTHING
        stays = placed.staying(seat, ask.region, start)
        state = self._heard(before)
        for k in range(ask.count):
            for rows, final in self.compose(ask, before, start, stays, state, values, context.rng):
                track = note_step.written(rows, seat, ask.region)
                yield Proposal(k, ask.region, (track,), final=final)

    def _heard(self, line: placed.Line) -> Floats:
        """The context [H] once all but the last note of a line have been heard."""
        context = torch.zeros(1, self.net.shape.context)
        if len(line) > 1:
            pages = placed.Pages.of([line])
            batch = _batch(pages, np.arange(len(line))[None])
            with torch.inference_mode():
                _, _, context = self.net(*batch[:4], context)
        return context[0].numpy()

    def _steps(self) -> Stepper:
        """The stepper of the weights as they are now."""
        changes = sum(p._version for p in self.net.parameters())
        if self._stepper is None or self._stepper[0] != changes:
            self._stepper = changes, Stepper(self.net)
        return self._stepper[1]

    def compose(
        self,
        ask: Ask,
        before: placed.Line,
        start: int,
        stays: list[placed.Stay],
        state: Floats,
        values: Mapping[str, Any],
        rng: np.random.Generator,
    ) -> Iterator[tuple[note_step.Column, bool]]:
        """Steps [N, 2] that fill the region from tick `start` on, what stays there among them, every
        PORTION steps; and whether they are all."""
        stepper, bars = self._steps().begun(state), placed.Bars(ask.score)
        heat = np.repeat((values["temperature"], values["rhythm"]), (SYMBOLS, len(TIMES)))
        noise, shaken = np.empty((0, 0)), 0  # the last of the rows there is noise for
        odds = np.empty(SYMBOLS + len(TIMES))
        pitch, length = odds[:SYMBOLS], odds[SYMBOLS:]
        closing = bool(values["close"])
        symbol, time = before.symbol.tolist(), before.time.tolist()
        tick, end = start, ask.region.end
        rows = [(note_step.REST, start - ask.region.start)]
        stays = [*stays, placed.Stay(end, end, SILENT)]
        while tick < end and len(rows) < LONGEST_PIECE:
            last = (symbol[-1], time[-1]) if symbol else None
            said = stepper.step(last, bars.at(tick))
            rest = stays[0].onset - tick
            if not rest:
                stay = stays.pop(0)
                ticks, chosen = stay.end - stay.onset, stay.symbol
                drawn = int(placed.nearest(ticks))
            else:
                if len(rows) > shaken:
                    shaken = len(rows) + PORTION - 1
                    noise = stepping.gumbel(rng, PORTION, len(odds))
                np.divide(said, heat, odds)
                np.add(odds, noise[shaken - len(rows)], odds)
                closes = closing and len(stays) == 1
                if closes and rest < placed.ROOMY:
                    length[~placed.fitting(rest)] = -np.inf
                drawn = int(length.argmax())
                ticks = min(_TICKS[drawn], rest)
                if len(rows) == 1 or (last and last[0] == SILENT):
                    pitch[SILENT] = -np.inf
                if closes and ticks == rest:
                    heard = np.array(symbol, np.int64), np.array(time, np.int64)
                    key = placed.keynote(ask.score, tick, *heard)
                    pitch[placed.pitches(np.arange(SYMBOLS)) % 12 != key] = -np.inf
                chosen = int(pitch.argmax())
            symbol.append(chosen)
            time.append(drawn)
            rows.append((_PITCHES[chosen], ticks))
            tick += ticks
            if len(rows) % PORTION == 0 and tick < end:
                yield np.array(rows, np.int64), False
        yield np.array(rows, np.int64), True

    def train(
        self, corpus: Any, context: Context, fit: training.Fit | None = None
    ) -> Iterator[Mapping[str, float]]:
        """Reads the tunes of `corpus.train` for ever, BATCH of them side by side: one update before each
        yield of the loss in nats a note. Close it to stop."""
        fit = fit or training.Fit(self.net, training.Plan(minutes=2.0))
        pages = placed.Pages.of(placed.lines(corpus.train, context.rng))
        reader = placed.Reader(len(pages), BATCH, int(context.rng.integers(len(pages))))
        state = torch.zeros(BATCH, self.net.shape.context)
        while True:
            *given, symbol, time = _batch(pages, reader.take(STEPS))
            pitch, length, state = self.net(*given, state)
            state = state.detach()
            pitch_nats = F.cross_entropy(pitch.flatten(0, 1), symbol.flatten())
            time_nats = F.cross_entropy(length.flatten(0, 1), time.flatten())
            record = {"pitch_nats": float(pitch_nats.detach())}
            yield {"loss_nats": fit.update(pitch_nats + time_nats), **record}

    def watch(self, data: Any, context: Context) -> Mapping[str, float]:
        """Nats a note of tunes: pitch, duration and both; and how often the likeliest pitch is right."""
        pages = placed.Pages.of(placed.lines(data))
        rows = min(64, len(pages))
        steps = len(pages) // rows
        with torch.inference_mode():
            *given, symbol, time = _batch(pages, placed.Reader(len(pages), rows).take(steps))
            pitch, length, _ = self.net(*given, torch.zeros(rows, self.net.shape.context))
            nats = F.cross_entropy(pitch.flatten(0, 1), symbol.flatten())
            time_nats = F.cross_entropy(length.flatten(0, 1), time.flatten())
            right = (pitch.argmax(-1) == symbol).float().mean()
        return {
            self.WATCHED: float(nats + time_nats),
            "cross_entropy_pitch_nats": float(nats),
            "cross_entropy_duration_nats": float(time_nats),
            "accuracy_pitch": float(right),
        }

    def evaluate(self, data: Any, context: Context) -> Mapping[str, float]:
        """As `watch`; with …_one_hot_…, the same of a net whose pitches are one-hot, trained by as
        many updates."""
        figures = dict(self.watch(data, context))
        path = weights.shipped(ONE_HOT)
        if self.net.shape.pitch == "psychological" and path.is_file():
            other = System.load(path).watch(data, context)
            for name, value in other.items():
                figure, unit, _ = name.partition("_nats")
                figures[f"{figure}_one_hot{unit}"] = value
        return figures


def _batch(pages: placed.Pages, index: note_step.Column) -> tuple[Tensor, ...]:
    """[B, T] the note before each of `index`, its own place, whether it begins a piece; then itself."""
    past = index - 1
    symbol, time = torch.from_numpy(pages.symbol), torch.from_numpy(pages.time)
    place, begins = torch.from_numpy(pages.place), torch.from_numpy(pages.begins)
    return symbol[past], time[past], place[index], begins[index], symbol[index], time[index]

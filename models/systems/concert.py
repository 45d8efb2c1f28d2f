"""CONCERT (Mozer 1994): a recurrent net that composes note by note, hearing pitch as listeners do.

Notes go in and come out as vectors in which what sounds alike is near: pitch height, chroma circle and
circle of fifths, and durations by length and by what they are of a beat. A last layer turns the vector
that is expected into probabilities: the nearer a note's own vector, the likelier it is. Some units of
the context change slowly, so as to hear phrases and not only notes. Briot et al. 6.6.1.
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

from models import nets, training, weights
from models.card import Card, Objective, Param, Representation, Task
from models.representations import concert, note_step, placed
from models.representations.placed import PLACE, SILENT, SYMBOLS, TIMES
from models.score import UserError
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


class System:
    """CONCERT with its weights."""

    card: ClassVar[Card] = CARD
    PLAN: ClassVar[dict[str, float]] = {"rate": 4e-3, "decay": 1e-3, "average": 0.998}
    WATCHED: ClassVar[str] = "cross_entropy_note_nats"

    def __init__(self, net: Net) -> None:
        self.net = net

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
        with torch.inference_mode():
            state = self._heard(before)
        for k in range(ask.count):
            parts = self._compose(ask, before, start, stays, state, values, context.rng)
            final = False
            while not final:
                with torch.inference_mode():  # not around the yield: it would hold for who listens
                    rows, final = next(parts)
                track = note_step.written(rows, seat, ask.region)
                yield Proposal(k, ask.region, (track,), final=final)

    def _heard(self, line: placed.Line) -> Tensor:
        """The context [1, H] once all but the last note of a line have been heard."""
        context = torch.zeros(1, self.net.shape.context)
        if len(line) > 1:
            pages = placed.Pages.of([line])
            batch = _batch(pages, np.arange(len(line))[None])
            _, _, context = self.net(*batch[:4], context)
        return context

    def _compose(
        self,
        ask: Ask,
        before: placed.Line,
        start: int,
        stays: list[placed.Stay],
        state: Tensor,
        values: Mapping[str, Any],
        rng: np.random.Generator,
    ) -> Iterator[tuple[note_step.Column, bool]]:
        """Steps [N, 2] that fill the region from tick `start` on, what stays there among them, every
        PORTION steps; and whether they are all."""
        symbol, time = before.symbol.tolist(), before.time.tolist()
        tick, end = start, ask.region.end
        rows = [(note_step.REST, start - ask.region.start)]
        stays = [*stays, placed.Stay(end, end, SILENT)]
        while tick < end and len(rows) < LONGEST_PIECE:
            last = (symbol[-1], time[-1]) if symbol else (0, 0)
            place = torch.from_numpy(placed.place_at(ask.score, tick))[None]
            told = self.net.hears(
                torch.tensor([last[0]]), torch.tensor([last[1]]), place, torch.tensor([not symbol])
            )
            state = self.net.turn(told, state)
            rest = stays[0].onset - tick
            if not rest:
                stay = stays.pop(0)
                ticks, chosen = stay.end - stay.onset, stay.symbol
                drawn = int(placed.nearest(ticks))
            else:
                pitch, length = (x[0].double().numpy() for x in self.net.says(state))
                closes = bool(values["close"]) and len(stays) == 1
                if closes:
                    length[~placed.fitting(rest)] = -np.inf
                drawn = placed.draw(length / values["rhythm"], rng)
                ticks = min(int(TIMES[drawn]) * placed.TWELFTH, rest)
                if len(rows) == 1 or last[0] == SILENT:
                    pitch[SILENT] = -np.inf
                if closes and ticks == rest:
                    heard = np.array(symbol, np.int64), np.array(time, np.int64)
                    key = placed.keynote(ask.score, tick, *heard)
                    pitch[placed.pitches(np.arange(SYMBOLS)) % 12 != key] = -np.inf
                chosen = placed.draw(pitch / values["temperature"], rng)
            symbol.append(chosen)
            time.append(drawn)
            rows.append((int(placed.pitches(chosen)), ticks))
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

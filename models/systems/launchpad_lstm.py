"""Launchpad LSTM: the next note as pitch, step and duration, from three heads of one LSTM of 128 units.

The form of TensorFlow's tutorial "Generate music with an RNN" (2021), by which many began: a note is its
pitch, the time since the note before began, and how long it lasts; pitch is drawn from a softmax, step
and duration are numbers, learnt by squared error with a pressure to stay positive. Expected numbers play
everything alike, so beside them this net also learns the odds of steps and durations, to draw from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models import nets, training
from models.card import Card, Objective, Param, Representation, Task
from models.representations import note_step, placed
from models.representations.note_step import REST, Column
from models.representations.placed import PLACE, SILENT, TIMES, TWELFTH
from models.score import UserError
from models.strategies import stepping
from models.strategies.stepping import Floats
from models.system import Ask, Context, Progress, Proposal
from models.timebase import PPQ

CARD = Card(
    id="launchpad_lstm",
    name="Launchpad LSTM",
    source="TensorFlow tutorial 2021, Generate music with an RNN",
    objective=Objective(type="melody", destination="score", mode="autonomous"),
    representation=Representation(
        "note_step", steps_per_beat=12, hold=False, encoding="pitch one-hot, step and duration numbers"
    ),
    architecture="LSTM with three heads",
    challenges=("incrementality", "variability"),
    strategy=("iterative feedforward", "sampling"),
    tasks=(Task.CONTINUE,),
    params=(
        Param("temperature", 0.8, 0.1, 3, "Below 1 the usual notes, above 1 the unusual"),
        Param(
            "rhythm", "drawn", about="Steps and durations drawn by their odds, or the expected ones, as published",
            choices=("drawn", "expected"),
        ),
        Param(
            "grid", "sixteenth", about="Where notes may begin and end",
            choices=("sixteenth", "triplet", "off"),
        ),
        Param("close", True, about="End on the keynote, held to the end of the marked bars"),
    ),
    voices=("melody",),
    listens="The notes before the marked bars.",
    strengths="Picks up where you stopped, in your key, register and rhythm, at once.",
    weaknesses="It goes on and on: no form, and the published rhythm (expected) is one note value after another.",
    year=2021,
    figure="1.65 nats a pitch; steps off by .16, durations by .35 beats",
)  # fmt: skip

BATCH = 192
NOTES = 25
"""Notes of a sequence it learns from; the state goes on to the next."""
MIDI = 128
LONGEST = 96 * TWELFTH
"""Steps and durations are no longer than two bars."""
PRESSURE = 10.0
"""The price of a negative step or duration."""
FLUTE = 73
LONGEST_PIECE = 4000
PORTION = 256
"""Notes after which a long piece is shown as far as it is."""
_TICKS = (TIMES * TWELFTH).tolist()
_GRIDS = {"sixteenth": 3, "triplet": 4, "off": 1}


@dataclass(frozen=True)
class Shape:
    """Units of the LSTM and numbers of a pitch's vector."""

    units: int = 128
    width: int = 48


class Net(nn.Module):
    """The notes so far to the next one: pitch, step and duration."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.heard = nn.Embedding(MIDI, shape.width)
        self.lstm = nn.LSTM(shape.width + 2 + PLACE + 1, shape.units, batch_first=True)
        self.pitch = nn.Linear(shape.units, MIDI)
        self.beats = nn.Linear(shape.units, 2)
        self.odds = nn.Linear(shape.units, 2 * len(TIMES))

    def hears(self, pitch: Tensor, beats: Tensor, place: Tensor, begins: Tensor) -> Tensor:
        """Pitch [...], step and duration in beats [..., 2], place in the bar of its end [..., PLACE] of
        a note, and whether it is a piece's first [...] → what the LSTM is told [..., W]"""
        return torch.cat([self.heard(pitch), beats, place, begins[..., None].float()], -1)

    def says(self, state: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """State [..., H] → logits of the next pitch [..., MIDI], its step and duration in beats [..., 2],
        logits of its step and of its duration [..., TIMES]"""
        step, duration = self.odds(state).float().chunk(2, -1)
        return self.pitch(state).float(), self.beats(state).float(), step, duration

    def forward(
        self, told: Tensor, state: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """What it is told [B, T, W] → states [B, T, H], and the last one to go on from"""
        y, state = self.lstm(told, state)
        return y, state


@dataclass(frozen=True, eq=False)
class Notes:
    """Melodies one after another: pitch [N], beats [N, 2] (step, duration), place [N, PLACE] in the bar of
    where it ends, whether it begins one [N]; steps and durations [N] as indices into TIMES."""

    pitch: Tensor
    beats: Tensor
    place: Tensor
    begins: Tensor
    step: Tensor
    duration: Tensor

    def __len__(self) -> int:
        return len(self.pitch)

    @classmethod
    def of(cls, lines: list[placed.Line], after: placed.Vectors | None = None) -> Notes:
        """From lines with rests; `after` [PLACE] is the place where the last one ends, if it matters."""
        columns: list[list[np.ndarray[Any, Any]]] = [[], [], [], [], []]
        for line in lines:
            sounds = line.symbol != SILENT
            ticks = TIMES[line.time] * TWELFTH
            onset = (np.cumsum(ticks) - ticks)[sounds]
            step = np.minimum(np.diff(onset, prepend=onset[:1]), LONGEST)
            made = (
                placed.pitches(line.symbol[sounds]),
                step,
                np.minimum(ticks[sounds], LONGEST),
                np.append(line.place[1:], line.place[-1:] if after is None else after[None], 0)[
                    sounds
                ],
                np.arange(len(onset)) == 0,
            )
            for column, part in zip(columns, made, strict=True):
                column.append(part)
        pitch, steps, ticks, place, begins = (np.concatenate(c) for c in columns)
        beats = (np.stack([steps, ticks], -1) / PPQ).astype(np.float32)
        parts = (pitch, beats, place, begins, placed.nearest(steps), placed.nearest(ticks))
        return cls(*map(torch.from_numpy, parts))

    def told(self, net: Net, index: Any) -> Tensor:
        """What the net is told of the notes at `index`."""
        return net.hears(
            self.pitch[index], self.beats[index], self.place[index], self.begins[index]
        )


class Stepper:
    """The net's numbers, prepared for one note at a time: what a pitch adds is a row of a table, and all that
    is said one product."""

    def __init__(self, net: Net) -> None:
        self.lstm = stepping.LSTM(stepping.weights(net.lstm), 2 + PLACE + 1)
        self.table = self.lstm.rows(net.heard.weight)  # MIDI, 4H
        heads = (net.pitch, net.odds, net.beats)
        with torch.no_grad():
            self._weight = torch.cat([h.weight for h in heads]).T.contiguous().numpy()
            self._bias = torch.cat([h.bias for h in heads]).numpy()
        self.odds = MIDI + 2 * len(TIMES)
        """How many of the numbers said are logits: of pitch [MIDI], step and duration [TIMES]."""
        self._begin()

    def _begin(self) -> None:
        self._walk = stepping.Walk(self.lstm, 1)
        self._said = np.empty((1, len(self._bias)), np.float32)

    def begun(self, memory: list[tuple[Floats, Floats]]) -> Stepper:
        """Another one that goes on from an output and a memory [H]."""
        twin = copy(self)
        twin._begin()
        twin._walk.put(memory)
        return twin

    def says(self) -> Floats:
        """What is said now [odds + 2], last of it the expected step and duration in beats."""
        np.matmul(self._walk.output, self._weight, self._said)
        np.add(self._said, self._bias, self._said)
        found: Floats = self._said[0]
        return found

    def step(self, pitch: int, beats: tuple[float, float], place: Floats) -> Floats:
        """Hears a note, its step and duration in beats, and the place [PLACE] where it ends; `says`."""
        heard = self._walk.heard[0]
        heard[:2] = beats
        heard[2 : 2 + PLACE] = place
        self._walk.step(self.table[pitch])
        return self.says()


@lru_cache(maxsize=1024)
def _landing(past: int, grid: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """[TIMES]: which of them lead from so many ticks past the grid to it, and 0 for those, −∞ for others."""
    lands = (past + TIMES * TWELFTH) % grid == 0
    return lands, np.where(lands, 0, -np.inf)


class System:
    """Launchpad LSTM with its weights."""

    card: ClassVar[Card] = CARD
    PLAN: ClassVar[dict[str, float]] = {"rate": 4e-3, "decay": 1e-3, "average": 0.998}
    WATCHED: ClassVar[str] = "objective_nats"

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
        """With the weights at `path`, or those shipped; UserError when they don't fit. It runs on the CPU:
        a step is too small for more."""
        return cls(nets.load(path, CARD.id, Shape, Net))

    def save(self, path: Path, card: Mapping[str, Any]) -> None:
        """Writes the weights (in half precision) and `card`, to which the net's shape is added."""
        nets.save(self.net, path, card)

    def _empty(self, rows: int) -> tuple[Tensor, Tensor]:
        zeros = torch.zeros(1, rows, self.net.shape.units)
        return zeros, zeros

    def generate(self, ask: Ask, context: Context) -> Iterator[Proposal | Progress]:
        """Goes on from the notes before the region, note by note to its end."""
        if ask.task not in CARD.tasks:
            raise UserError(f"Launchpad LSTM cannot {ask.task}; it can continue.")
        values: dict[str, Any] = dict(CARD.values(ask.params))
        seat = note_step.seat(ask.score, ask.region, FLUTE)
        if not len(seat.before):
            raise UserError("There is nothing before the marked bars to continue; mark later ones.")
        yield Progress(0.0, "Listening back")
        line, start = placed.of_score(ask.score, seat, ask.region.start)
        notes = Notes.of([line], placed.place_at(ask.score, start))
        stays = placed.staying(seat, ask.region, start)
        with torch.inference_mode():
            _, state = self.net(notes.told(self.net, slice(None))[None], self._empty(1))
        # The first new note begins with the region, however long ago the last one did.
        onsets = seat.track.notes.onset
        since = int(start - onsets[onsets < ask.region.start].max())
        memory = [(state[0][0].numpy(), state[1][0].numpy())]
        for k in range(ask.count):
            parts = self.play(ask, line, start, stays, since, memory, values, context.rng)
            for rows, final in parts:
                track = note_step.written(rows, seat, ask.region)
                yield Proposal(k, ask.region, (track,), final=final)

    def _steps(self) -> Stepper:
        """The stepper of the weights as they are now."""
        changes = sum(p._version for p in self.net.parameters())
        if self._stepper is None or self._stepper[0] != changes:
            self._stepper = changes, Stepper(self.net)
        return self._stepper[1]

    def play(
        self,
        ask: Ask,
        line: placed.Line,
        start: int,
        stays: list[placed.Stay],
        since: int,
        memory: list[tuple[Floats, Floats]],
        values: Mapping[str, Any],
        rng: np.random.Generator,
    ) -> Iterator[tuple[Column, bool]]:
        """Steps [N, 2] that fill the region from tick `start` on, `since` ticks after the last onset, what
        stays there among them, every PORTION notes; and whether they are all."""
        end = ask.region.end
        grid = _GRIDS[values["grid"]] * TWELFTH
        wait = np.array([[REST, start - ask.region.start]])
        stays = [*stays, placed.Stay(end, end, SILENT)]
        onset: list[int] = []
        ticks: list[int] = []
        pitch: list[int] = []
        now = start
        stepper, bars = self._steps().begun(memory), placed.Bars(ask.score)
        said = stepper.says()
        odds = np.empty(stepper.odds)
        logits = odds[:MIDI]
        steps, durations = odds[MIDI:].reshape(2, -1)
        luck = np.empty(0)
        while len(onset) < LONGEST_PIECE:
            if not len(onset) % PORTION:
                luck = stepping.gumbel(rng, PORTION, len(odds))
            np.divide(said[: stepper.odds], values["temperature"], odds)
            np.add(odds, luck[len(onset) % PORTION], odds)
            expected = said[stepper.odds :].tolist()
            if onset:
                # From the note before to this one; at the first, that is known.
                step = self._ticks(expected[0], steps, values, onset[-1] - start, grid)
                now = min(onset[-1] + max(step, ticks[-1]), stays[0].onset)
                since = now - onset[-1]
            if now >= end:
                break
            if now == stays[0].onset:
                stay = stays.pop(0)
                ticks.append(stay.end - stay.onset)
                pitch.append(int(placed.pitches(stay.symbol)))
            else:
                rest = stays[0].onset - now
                last = values["close"] and len(stays) == 1 and rest < placed.ROOMY
                fits = placed.fitting(rest) if last else None
                length = self._ticks(expected[1], durations, values, now - start, grid, fits)
                ticks.append(min(length, rest))
                pitch.append(int(logits.argmax()))
            onset.append(now)
            beats = min(since, LONGEST) / PPQ, min(ticks[-1], LONGEST) / PPQ
            said = stepper.step(pitch[-1], beats, bars.at(now + ticks[-1]))
            if len(onset) % PORTION == 0:
                rows = note_step.steps(np.array(onset), np.array(ticks), np.array(pitch))
                yield np.concatenate([wait, rows]), False
        if onset and values["close"]:  # else a note from before sounds all through
            made = placed.symbols(np.array(pitch))
            heard = np.append(line.symbol, made), np.append(line.time, placed.nearest(ticks))
            key = placed.keynote(ask.score, start, *heard)
            pitch[-1] = pitch[-1] + (key - pitch[-1] + 6) % 12 - 6
            ticks[-1] = end - onset[-1]
        rows = note_step.steps(np.array(onset), np.array(ticks), np.array(pitch))
        yield np.concatenate([wait, rows]), True

    @staticmethod
    def _ticks(
        expected: float,
        odds: np.ndarray[Any, Any],
        values: Mapping[str, Any],
        at: int,
        grid: int,
        fits: Any = None,
    ) -> int:
        """A step or duration that leads from `at` ticks to the grid: the expected one, or that with the best
        `odds`, of those that fit if any does."""
        if values["rhythm"] == "expected":
            there = round((at + max(expected, 0) * PPQ) / grid) * grid
            return max(there - at, grid - at % grid)
        lands, bar = _landing(at % grid, grid)
        if fits is not None and (lands & fits).any():
            bar = np.where(lands & fits, 0, -np.inf)
        elif not lands.any():
            return grid - at % grid
        return int(_TICKS[int((odds + bar).argmax())])

    def train(
        self, corpus: Any, context: Context, fit: training.Fit | None = None
    ) -> Iterator[Mapping[str, float]]:
        """Reads the tunes of `corpus.train` for ever, BATCH of them side by side: one update before each
        yield of the loss. Close it to stop."""
        fit = fit or training.Fit(self.net, training.Plan(minutes=2.0))
        notes = Notes.of(placed.lines(corpus.train, context.rng))
        reader = placed.Reader(len(notes), BATCH, int(context.rng.integers(len(notes))))
        state = self._empty(BATCH)
        while True:
            index = reader.take(NOTES)
            with torch.autocast("cpu", torch.bfloat16):
                y, state = self.net(notes.told(self.net, index - 1), state)
                nats, errors, odds = self.losses(notes, index, y)
            state = state[0].detach().float(), state[1].detach().float()
            record = {"pitch_nats": float(nats.detach())}
            yield {"loss_nats": fit.update(nats + errors.sum() + odds), **record}

    def losses(self, notes: Notes, index: Column, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Nats of pitch; squared errors of step and duration [2], in square beats, with the pressure; nats
        of their odds; of the notes at `index` [B, T] given states [B, T, H], in the mean over the notes that
        are not a piece's first."""
        counts = ~notes.begins[index]
        pitch, beats, step, duration = (x[counts] for x in self.net.says(y))
        at = torch.from_numpy(index)[counts]
        nats = F.cross_entropy(pitch, notes.pitch[at])
        errors = F.mse_loss(beats, notes.beats[at], reduction="none").mean(0)
        errors = errors + PRESSURE * F.relu(-beats).mean(0)
        odds = F.cross_entropy(step, notes.step[at]) + F.cross_entropy(duration, notes.duration[at])
        return nats, errors, odds

    def watch(self, data: Any, context: Context) -> Mapping[str, float]:
        """What training minimises, and its parts, of tunes: nats of pitch; root mean square and mean
        absolute errors of the expected step and duration, in beats; nats of their odds."""
        notes = Notes.of(placed.lines(data))
        rows = min(64, len(notes))
        index = placed.Reader(len(notes), rows).take(len(notes) // rows)
        with torch.inference_mode():
            y, _ = self.net(notes.told(self.net, index - 1), self._empty(rows))
            nats, errors, odds = self.losses(notes, index, y)
            counts = ~notes.begins[index]
            beats = self.net.says(y)[1][counts]
            wrong = beats - notes.beats[torch.from_numpy(index)[counts]]
            right = self.net.says(y)[0].argmax(-1)[counts] == notes.pitch[index][counts]
        return {
            self.WATCHED: float(nats + errors.sum() + odds),
            "cross_entropy_pitch_nats": float(nats),
            "accuracy_pitch": float(right.float().mean()),
            "error_step_beats": float(wrong[:, 0].square().mean().sqrt()),
            "error_duration_beats": float(wrong[:, 1].square().mean().sqrt()),
            "mean_error_step_beats": float(wrong[:, 0].abs().mean()),
            "mean_error_duration_beats": float(wrong[:, 1].abs().mean()),
            "cross_entropy_rhythm_nats": float(odds),
        }

    def evaluate(self, data: Any, context: Context) -> Mapping[str, float]:
        """As `watch`; …_mean_beats are the errors of who always expects the mean step and duration."""
        notes = Notes.of(placed.lines(data))
        spread = notes.beats[~notes.begins].std(0)
        return {
            **self.watch(data, context),
            "error_step_of_the_mean_beats": float(spread[0]),
            "error_duration_of_the_mean_beats": float(spread[1]),
        }

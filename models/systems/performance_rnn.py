"""Performance RNN (Simon & Oore 2017; Oore et al. 2018, "This time with feeling"; Briot et al. 6.7).

An LSTM writes piano playing event by event: keys down and up, time passing, how loud. Timing and dynamics
are written with the notes instead of being a player's afterthought; and where the notes are given, they are
all that is written, which makes a performance of a quantised score.
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

from models import nets, training
from models.card import Card, Objective, Param, Representation, Task, Value
from models.representations import performance, recital
from models.representations.performance import EVENTS, KEYS, KINDS, START, STEP, VELOCITY, Streams
from models.representations.pianoroll import Rolls
from models.score import UserError
from models.strategies import performing
from models.strategies.performing import Keyboard, Manner, Stepper, Taste, improvise, perform
from models.system import Ask, Context, Progress, Proposal

CARD = Card(
    id="performance_rnn",
    name="Performance RNN",
    source="Simon & Oore 2017; Briot et al. 6.7",
    objective=Objective(type="performance", destination="audio", mode="interactive"),
    representation=Representation(
        "performance", steps_per_beat=0, hold=False, encoding="one-hot, 388 events"
    ),
    architecture="LSTM, told which keys are down (published: LSTM × 3)",
    challenges=("expressiveness", "incrementality", "interactivity"),
    strategy=("sampling", "iterative"),
    tasks=(Task.CREATE, Task.CONTINUE, Task.REGENERATE),
    params=(
        Param("temperature", 1.0, 0.1, 2, "Below 1 the usual, above 1 the unusual"),
        Param(
            "top_p", 0.95, 0.1, 1, "Leave out the unlikeliest events, beyond this share",
            tasks=(Task.CREATE, Task.CONTINUE),
        ),
        Param(
            "density", 0.0, -3, 3, "More notes a second, or fewer",
            tasks=(Task.CREATE, Task.CONTINUE),
        ),
        Param(
            "in_key", 1.5, 0, 10,
            "How far to keep to the key of the score (or one of its own), or to the notes heard; 0: as published",
            tasks=(Task.CREATE, Task.CONTINUE),
        ),
        Param(
            "attacca", False, about="Begin with a note at once, not with a rest",
            tasks=(Task.CREATE, Task.CONTINUE),
        ),
        Param(
            "freedom", 30, 0, 200, "How many ms before or after its time a note may be played",
            tasks=(Task.REGENERATE,),
        ),
        Param(
            "strength", 1.0, 0, 2, "How much louder and softer than written the notes are that stand out",
            tasks=(Task.REGENERATE,),
        ),
    ),
    voices=("piano",),
    listens="The last 20 seconds of the marked track, or of all; or the written notes it is to perform.",
    strengths="Plays instead of writing: timing, dynamics and pedalling come with the notes.",
    weaknesses="Keeps to no bar lines and returns to no theme; learnt from 45 performances, it noodles.",
    year=2017,
    figure="2.70 nats an event on held-out playing; a bigram table: 4.08",
)  # fmt: skip

BATCH = 16
WINDOW = 128
WATCHED_EVENTS = 2048
"""Events of each held-out piece that `watch` looks at."""

EVERY, STROKES = 48, 16
"""Events or, of what is written, strokes between two looks at what is played."""
DENSITY = 4.0
"""How much unlikelier a wait of a second is for each step of density."""

State = tuple[Tensor, Tensor, Tensor]
"""Hidden and cell state [layers, B, H], which keys are down [B, 128]."""


@dataclass(frozen=True)
class Shape:
    """Dimensions of an event's vector, units and number of layers (published: 512 and 3), dropout, and
    whether the net is told which keys are down (1; published: 0)."""

    width: int = 64
    units: int = 512
    layers: int = 1
    dropout: float = 0.1
    keys: int = 1


class Net(nn.Module):
    """Events to what comes next."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        H, E = shape.units, shape.width
        self.heard = nn.Embedding(EVENTS + 1, E)  # the last one stands for the beginning
        between = shape.dropout if shape.layers > 1 else 0.0
        told = KEYS if shape.keys else 0
        self.lstm = nn.LSTM(E + told, H, shape.layers, batch_first=True, dropout=between)
        self.drop = nn.Dropout(shape.dropout)
        self.says = nn.Linear(H, EVENTS)
        self.strikes: Tensor
        strikes = torch.from_numpy(performance.strikes()).float()
        self.register_buffer("strikes", strikes, persistent=False)  # EVENTS + 1, KEYS
        with torch.no_grad():
            for name, bias in self.lstm.named_parameters():
                if name.startswith("bias_ih"):  # gates that forget little at first learn sooner
                    bias[H : 2 * H] += 1.0

    def forward(self, events: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """events [B, T] → logits [B, T, EVENTS], state"""
        before = state[2] if state else torch.zeros(len(events), KEYS, device=events.device)
        down = before[:, None] + self.strikes[events].cumsum(1)  # B, T, KEYS
        x = self.heard(events)
        if self.shape.keys:
            x = torch.cat([x, down.clamp(0, 1)], 2)
        y, (h, c) = self.lstm(x, state and state[:2])
        logits: Tensor = self.says(self.drop(y))
        return logits.float(), (h, c, down[:, -1])


class System:
    """Performance RNN with its weights on a device."""

    card: ClassVar[Card] = CARD
    PLAN: ClassVar[dict[str, float]] = {"rate": 4e-3, "decay": 1e-2, "average": 0.998}
    WATCHED: ClassVar[str] = "nats_per_event"

    def __init__(self, net: Net, device: str) -> None:
        self.net = net.to(device)
        self.device = device
        self._stepper: tuple[int, Stepper] | None = None

    @staticmethod
    def corpus(source: training.Source) -> training.Corpus:
        """Performances: those of files with their scores. None stands for the held-out ones that come with the
        program, which are to measure on only."""
        split = "assets/performances_split.json; of other files every tenth to validate"
        if source is None:
            return training.Corpus(
                (), performance.shipped(), performance.GIANT, split, performance.CREDIT
            )
        if isinstance(source, str | Path | Rolls):
            raise UserError(
                "Performances are MIDI files, and none are bundled; name a folder of them: --corpus FOLDER."
            )
        train, held = performance.read(source)
        if not train or not len(held):
            raise UserError(
                "The corpus has too few notes to train and validate on; add MIDI files."
            )
        known = performance.known([path.name for path, _ in source])
        name = performance.GIANT if known else "the user's own performances"
        credit = performance.CREDIT if known else "the user's own"
        return training.Corpus(train, held, name, split, credit)

    @classmethod
    def fresh(cls, device: str = "cpu", shape: Shape | None = None) -> System:
        """An untrained one; torch's random numbers decide its weights."""
        return cls(Net(shape or Shape()), device)

    @classmethod
    def load(cls, path: Path | None = None, device: str = "cpu") -> System:
        """With the weights at `path`, or those shipped; UserError when they don't fit."""
        return cls(nets.load(path, CARD.id, Shape, Net), device)

    def save(self, path: Path, card: Mapping[str, Any]) -> None:
        """Writes the weights (in 8 bits) and `card`, to which the net's shape is added."""
        nets.save(self.net, path, card, bits=8)

    def train(
        self, corpus: Any, context: Context, fit: training.Fit | None = None
    ) -> Iterator[Mapping[str, float]]:
        """Learns from the performances of `corpus.train` for ever: one update before each yield. Close it to
        stop."""
        if not corpus.train:
            raise UserError("No performances are bundled; name a folder of them: --corpus FOLDER.")
        fit = fit or training.Fit(self.net, training.Plan(minutes=2.0))
        self.net.train()
        streams = Streams(corpus.train, BATCH, WINDOW)
        state: State | None = None
        while True:
            x, y, fresh = (torch.from_numpy(a).to(self.device) for a in streams(context.rng))
            if state is not None:
                h, c, down = (x.detach() for x in state)
                keep = (~fresh).float()[:, None]
                state = (h * keep, c * keep, down * keep)
            # Products in bfloat16 take half the time; the weights stay in single precision.
            with torch.autocast(torch.device(self.device).type, torch.bfloat16):
                logits, state = self.net(x, state)
            loss = F.cross_entropy(logits.flatten(0, 1), y.flatten(), ignore_index=-1)
            yield {"loss_nats": fit.update(loss)}

    def nats(self, pieces: Any, length: int) -> list[Tensor]:
        """Nats of each of the first `length` events of pieces, each given all before it."""
        found: list[Tensor] = []
        state: State | None = None
        rows = [torch.from_numpy(p[:length].astype(np.int64)) for p in pieces]
        y = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-1)
        x = torch.cat([torch.full((len(y), 1), START), y[:, :-1].clamp(min=0)], 1)
        with torch.inference_mode():
            for a in range(0, y.shape[1], 512):
                logits, state = self.net(x[:, a : a + 512].to(self.device), state)
                target = y[:, a : a + 512].to(self.device)
                cost = F.cross_entropy(
                    logits.transpose(1, 2), target, ignore_index=-1, reduction="none"
                )
                found.append(cost.cpu())
        whole = torch.cat(found, 1)
        return [whole[b, : len(row)] for b, row in enumerate(rows)]

    def watch(self, data: Any, context: Context) -> Mapping[str, float]:
        """Nats per event of the beginnings of held-out performances."""
        return {self.WATCHED: float(torch.cat(self.nats(data.pieces, WATCHED_EVENTS)).mean())}

    def evaluate(self, data: Any, context: Context) -> Mapping[str, float]:
        """Nats per event of held-out performances, in all and by kind of event, each event given all before
        it, and those of the baselines; and what `humanise` gives back of them (`performing.likeness`)."""
        if self.device == "cpu":
            torch.set_num_threads(1)  # two wait for each other at every step, and gain nothing
        rows = {"": [c.numpy() for c in self.nats(data.pieces, max(map(len, data.pieces)))]}
        rows["unigram_"], rows["bigram_"] = performance.baselines(data)
        kinds = np.concatenate([performance.kind(piece) for piece in data.pieces])
        figures: dict[str, float] = {}
        for prefix, nats in rows.items():
            every = np.concatenate(nats)
            figures[f"{prefix}nats_per_event"] = float(every.mean())
            for i, name in enumerate(KINDS):
                figures[f"{prefix}nats_per_{name}"] = float(every[kinds == i].mean())
        values = numbers()
        return figures | performing.likeness(
            self.stepper(), data.pieces, manner_of(values, 0), context.rng
        )

    def stepper(self) -> Stepper:
        """The stepper of the weights as they are now."""
        changes = sum(p._version for p in self.net.parameters())
        if self._stepper is None or self._stepper[0] != changes:
            self._stepper = changes, Stepper(self.net)
        return self._stepper[1]

    def generate(self, ask: Ask, context: Context) -> Iterator[Proposal | Progress]:
        """Plays from a beginning, goes on from what is before the region, or performs what is in it."""
        if ask.task not in CARD.tasks:
            raise UserError(
                f"Performance RNN cannot {ask.task}; it can create, continue and regenerate (humanise)."
            )
        values = numbers(ask.params)
        if self.device == "cpu":
            torch.set_num_threads(1)
        if ask.task is Task.REGENERATE:
            yield from self._perform(ask, values, context)
        else:
            yield from self._improvise(ask, values, context)

    def _improvise(
        self, ask: Ask, values: Mapping[str, float], context: Context
    ) -> Iterator[Proposal | Progress]:
        """New strokes from the region's start to its end, all candidates at once."""
        track = recital.seat(ask)
        goes_on = ask.task is Task.CONTINUE
        before = recital.before(ask) if goes_on else recital.NOTHING
        if goes_on and not len(before):
            raise UserError("There is nothing before the marked bars to continue; mark later ones.")
        yield Progress(0.0, "Listening")
        state = self.stepper().begin(before)
        loud = before[before >= VELOCITY]
        dense = values["density"] * DENSITY * performance.waits()
        keys = [recital.key(ask, context.rng) for _ in range(ask.count)]
        tastes = [
            Taste(
                values["temperature"],
                values["top_p"],
                -dense
                - values["in_key"] * (recital.unheard(before) if goes_on else recital.outside(key)),
            )
            for key in keys
        ]
        length, blocked = recital.steps(ask), recital.blocked(ask, track)
        attacca = bool(values["attacca"])
        boards = [Keyboard(length, blocked, attacca=attacca) for _ in range(ask.count)]
        for board in boards:
            board.loud = int(loud[-1]) - VELOCITY if len(loud) else board.loud
        for moved in improvise(self.stepper(), state, boards, tastes, context.rng, EVERY):
            for k in moved:
                yield Proposal(k, ask.region, (recital.free(boards[k].so_far(), ask, track),))
        for k, board in enumerate(boards):
            notes = recital.free(board.so_far(), ask, track)
            said = () if goes_on or ask.score.length or not values["in_key"] else (keys[k],)
            yield Proposal(k, ask.region, (notes,), final=True, keys=said)

    def _perform(
        self, ask: Ask, values: Mapping[str, float], context: Context
    ) -> Iterator[Proposal | Progress]:
        """The written notes, played: one candidate after the other."""
        script = recital.script(ask)
        before = recital.before(ask) if recital.is_played(ask) else recital.NOTHING
        yield Progress(0.0, "Listening")
        state = self.stepper().begin(before)
        manner = manner_of(values, recital.steps(ask))
        for k in range(ask.count):
            late: dict[int, float] = {}
            velocity: dict[int, int] = {}
            for stroke in perform(self.stepper(), state, script.part, manner, context.rng):
                late[stroke.note], velocity[stroke.note] = stroke.late, stroke.velocity
                if len(late) % STROKES == 0:
                    yield Proposal(k, ask.region, recital.performed(ask, script, late, velocity))
            tracks = recital.performed(ask, script, late, velocity)
            yield Proposal(k, ask.region, tracks, final=True)


def numbers(params: Mapping[str, Value] | None = None) -> dict[str, float]:
    """The card's parameters, all numbers; a switch is 0 or 1."""
    return {n: float(v) for n, v in CARD.values(params).items() if isinstance(v, int | float)}


def manner_of(values: Mapping[str, float], last: int) -> Manner:
    """How to perform a region of `last` steps, by the card's parameters."""
    freedom = round(values["freedom"] * 1e-3 / STEP)
    return Manner(freedom, values["strength"], values["temperature"], last)

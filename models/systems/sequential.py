"""Sequential (Todd 1989): a network that remembers melodies by their plans, slice after slice.

Plan units say which melody, context units are a fading memory of what was played; together they predict
the next slice, which goes back into the context. Plans between those learnt give melodies between them.
Briot et al. 6.8.1 (Sequential), 6.10.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models import training, weights
from models.card import Card, Objective, Param, Representation, Task
from models.representations import melody, note_step, time_slice
from models.representations.note_step import Column
from models.representations.time_slice import UNITS
from models.score import Region, Score, Track, UserError
from models.system import Ask, Context, Progress, Proposal
from models.timebase import SIXTEENTH

CARD = Card(
    id="sequential",
    name="Sequential",
    source="Todd 1989; Briot et al. 6.8.1",
    objective=Objective(type="melody", destination="score", mode="interactive"),
    representation=Representation(
        "time_slice", steps_per_beat=2, hold=False, encoding="one-hot, and one unit for note begin"
    ),
    architecture="feedforward with context and plan units",
    challenges=("control", "variability"),
    strategy=("iterative feedforward", "conditioning by plan"),
    tasks=(Task.CREATE, Task.INTERPOLATE),
    params=(
        Param("plan", 1, 1, 24, "Which of the melodies it knows", tasks=(Task.CREATE,)),
        Param("towards", 2, 1, 24, "Another one, to mix with", tasks=(Task.CREATE,)),
        Param("mix", 0.5, -1, 2, "0 the one, 1 the other; outside, further away than either",
              tasks=(Task.CREATE,)),
        Param("rest_below", 0.2, 0, 0.9,
              "How sure it must be of a note to play it (the paper's: 0.5)"),
        Param("steps", 8, 3, 32, "How many phrases the path has, both ends included",
              tasks=(Task.INTERPOLATE,)),
        Param("slice", "sixteenth", about="The grid it learns your phrases on (the paper's: eighth)",
              choices=("sixteenth", "eighth"), tasks=(Task.INTERPOLATE,)),
    ),
    voices=("melody",),
    listens="Two phrases, to learn them and go from one to the other.",
    strengths="Learns two phrases of yours in a second or two, and plays what lies between.",
    weaknesses="It knows a handful of melodies and no music besides; in between it may stumble.",
    year=1989,
    figure="24 of 24 melodies learnt exactly",
)  # fmt: skip

MELODIES = 24
BARS = 4
FIDDLE = 40
BATCH = MELODIES
ROUNDS = 1500
"""Updates for learning two phrases on the spot, at most."""
BLUR, MIX = 0.1, 0.3
"""Noise on the context, and the most of another plan mixed in, while it learns: so that it goes on where
it has never been. Without them half of what lies between two melodies is silence."""
LONGEST_BARS = 16


@dataclass(frozen=True)
class Shape:
    """Plan and hidden units, and what remains of the context from one slice to the next."""

    plans: int = MELODIES
    hidden: int = 192
    decay: float = 0.8


class Net(nn.Module):
    """One slice: plan [B, plans] and context [B, UNITS] to the activations of the next."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.hidden = nn.Linear(shape.plans + UNITS, shape.hidden)
        self.output = nn.Linear(shape.hidden, UNITS)

    def forward(self, plan: Tensor, context: Tensor) -> Tensor:
        """plan [..., plans], context [..., UNITS] → logits [..., UNITS]"""
        logits: Tensor = self.output(torch.sigmoid(self.hidden(torch.cat([plan, context], -1))))
        return logits


def contexts(played: Tensor, decay: float) -> Tensor:
    """[B, S, UNITS]: the fading memory before each slice of what was `played` [B, S, UNITS]."""
    B, S, _ = played.size()
    memory = torch.zeros(B, UNITS)
    out = []
    for s in range(S):
        out.append(memory)
        memory = decay * memory + played[:, s]
    return torch.stack(out, 1)


class System:
    """Sequential with its weights; `names` are the melodies its plans stand for."""

    card: ClassVar[Card] = CARD
    PLAN: ClassVar[dict[str, float]] = {"rate": 1e-2, "decay": 0.0, "average": 0.98}
    WATCHED: ClassVar[str] = "melodies_missed"

    def __init__(self, net: Net, names: Sequence[str] = ()) -> None:
        self.net = net
        self.names = tuple(names)
        self._learnt = np.zeros((0, 0), np.int64), np.zeros((0, 0), bool)

    @staticmethod
    def corpus(source: training.Source) -> training.Corpus:
        """Phrases of BARS bars."""
        return training.phrases(source, BARS)

    @classmethod
    def fresh(cls, device: str = "cpu", shape: Shape | None = None) -> System:
        """An untrained net; torch's random numbers decide its weights."""
        return cls(Net(shape or Shape()))

    @property
    def bars(self) -> int:
        """Bars of a melody it knows."""
        return BARS

    @classmethod
    def load(cls, path: Path | None = None, device: str = "cpu") -> System:
        """Sequential with the weights at `path`, or those shipped; UserError when they don't fit."""
        path = path or weights.shipped(CARD.id)
        tensors, card = weights.load(path, CARD.id)
        try:
            system = cls(Net(Shape(**card["shape"])), card["melodies"])
        except (KeyError, TypeError):
            raise UserError(f"{path.with_suffix('.json')} does not say the net's shape.") from None
        shapes = {n: tuple(p.shape) for n, p in system.net.named_parameters()}
        known = (len(system.names), BARS * 8)
        weights.check(path, tensors, {**shapes, "unit": known, "begins": known})
        with torch.no_grad():
            for name, parameter in system.net.named_parameters():
                parameter.copy_(torch.from_numpy(tensors[name].astype(np.float32)))
        system._learnt = tensors["unit"].astype(np.int64), tensors["begins"].astype(bool)
        return system

    def save(self, path: Path, card: Mapping[str, Any]) -> None:
        """Writes weights, the melodies learnt and `card`, with the net's shape and the melodies' names."""
        tensors: dict[str, weights.Array] = {
            n: p.detach().numpy() for n, p in self.net.named_parameters()
        }
        unit, begins = self._learnt
        tensors |= {"unit": unit.astype(np.int8), "begins": begins.astype(np.uint8)}
        more = {"shape": asdict(self.net.shape), "melodies": list(self.names)}
        weights.save(path, tensors, {**card, **more})

    def generate(self, ask: Ask, context: Context) -> Iterator[Proposal | Progress]:
        """Plays a mixture of two melodies it knows, or learns two phrases and goes from one to the other."""
        if ask.task not in CARD.tasks:
            raise UserError(f"Sequential cannot {ask.task}; it can create and interpolate.")
        values: dict[str, Any] = dict(CARD.values(ask.params))
        if ask.task is Task.INTERPOLATE:
            yield from self._path(ask, values, context)
            return
        seat = note_step.seat(ask.score, ask.region, FIDDLE)
        one, other = values["plan"], values["towards"]
        if max(one, other) > len(self.names):
            raise UserError(f"Sequential knows {len(self.names)} melodies; choose among them.")
        yield Progress(0.0, "Playing")
        length = -(-(ask.region.end - ask.region.start) // (2 * SIXTEENTH))
        for k in range(ask.count):
            # Every further candidate leans a little more to the other melody.
            mix = values["mix"] + 0.1 * k
            plan = torch.zeros(1, self.net.shape.plans)
            plan[0, one - 1] += 1 - mix
            plan[0, other - 1] += mix
            unit, begins = self.play(self.net, plan, length, values["rest_below"])
            rows = time_slice.rows(unit[0], begins[0], 2)
            track = note_step.written(rows, seat, ask.region)
            yield Proposal(k, ask.region, (track,), final=True)

    @staticmethod
    def play(
        net: Net, plan: Tensor, length: int, rest_below: float = time_slice.HALF
    ) -> tuple[Column, Any]:
        """Unit and beginning [B, length] of what plans [B, plans] make, each slice going back into the
        context as it is heard: on or off."""
        memory = torch.zeros(len(plan), UNITS)
        units, begins = [], []
        with torch.inference_mode():
            for _ in range(length):
                activations = torch.sigmoid(net(plan, memory)).numpy()
                unit, begin = time_slice.read(activations, rest_below)
                heard = torch.from_numpy(time_slice.vectors(unit, begin))
                memory = net.shape.decay * memory + heard
                units.append(unit)
                begins.append(begin)
        return np.stack(units, 1), np.stack(begins, 1)

    def _path(
        self, ask: Ask, values: Mapping[str, Any], context: Context
    ) -> Iterator[Proposal | Progress]:
        """Learns both phrases and plays the plans between them, one after another."""
        if len(ask.phrases) != 2:
            raise UserError("A path needs two phrases, A and B; set both.")
        per_slice = 2 if values["slice"] == "eighth" else 1
        a, b = (_track(phrase, name) for phrase, name in zip(ask.phrases, "AB", strict=True))
        middle = np.average(
            np.concatenate([a.notes.pitch, b.notes.pitch]),
            weights=np.concatenate([a.notes.duration, b.notes.duration]),
        )
        shift = 12 * round((note_step.MIDDLE - float(middle)) / 12)
        lines = [_tokens(t, shift, name) for t, name in zip((a, b), "AB", strict=True)]
        steps = max(map(len, lines))
        tokens = np.stack([np.resize(line, steps) for line in lines])
        unit, begins = time_slice.slices(melody.repaired(tokens), per_slice)
        seed = int(context.rng.integers(2**31))
        net = None
        # A memory as long in time, however short the slices.
        decay = Shape().decay ** (per_slice / 2)
        for fraction, net in learn(unit, begins, seed, decay):  # noqa: B007 - the last one is wanted
            yield Progress(fraction, "Learning A and B")
        assert net is not None
        count = int(values["steps"])
        mix = torch.linspace(0, 1, count)[:, None]
        made, starts = self.play(
            net, torch.cat([1 - mix, mix], 1), unit.shape[1], values["rest_below"]
        )
        wrong = (made[[0, -1]] != unit) | (starts[[0, -1]] != begins)
        rows = np.concatenate(
            [time_slice.rows(u, s, per_slice) for u, s in zip(made, starts, strict=True)]
        )
        end = ask.region.start + count * steps * SIXTEENTH
        region = Region(ask.region.start, end, ask.region.tracks)
        seat = replace(note_step.seat(ask.score, region, a.program), shift=shift)
        track = note_step.written(rows, seat, region)
        figures = {
            "steps": float(count),
            "step_ticks": float(steps * SIXTEENTH),
            "difference_a": float(wrong[0].mean()),
            "difference_b": float(wrong[1].mean()),
        }
        for k in range(ask.count):
            yield Proposal(k, region, (track,), final=True, figures=figures)

    def train(
        self, corpus: Any, context: Context, fit: training.Fit | None = None
    ) -> Iterator[Mapping[str, float]]:
        """Learns MELODIES phrases of `corpus.train` that are all eighths, for ever: one update before
        each yield of the loss in nats a slice. Close it to stop."""
        fit = fit or training.Fit(self.net, training.Plan(minutes=2.0))
        self._choose(corpus.train)
        unit, begins = self._learnt
        target = torch.from_numpy(time_slice.vectors(unit, begins))
        plan = torch.eye(self.net.shape.plans)[: len(target)]
        before = contexts(target, self.net.shape.decay)
        while True:
            yield {"loss_nats": fit.update(loss(self.net, plan, before, target, context.rng))}

    def _choose(self, phrases: melody.Phrases) -> None:
        """Takes melodies spread over the corpus, no two of one tune."""
        plain = (phrases.tokens[:, 1::2] < melody.FIRST).all(-1)
        tokens = np.stack(
            [
                melody.transposed(t, note_step.to_white_keys(int(s)))
                for t, s in zip(phrases.tokens, phrases.sharps, strict=True)
            ]
        )
        pitch = melody.pitch(tokens)
        low = np.where(pitch < 0, 127, pitch).min(-1) >= time_slice.LOWEST
        fits = plain & low & (pitch.max(-1) < time_slice.LOWEST + time_slice.PITCHES)
        chosen = np.flatnonzero(fits)
        if not len(chosen):
            raise UserError("The corpus has no phrases of four bars in eighths; add some.")
        if len(set(phrases.tune[chosen].tolist())) >= MELODIES:
            chosen = chosen[np.unique(phrases.tune[chosen], return_index=True)[1]]
        spread = np.unique(np.linspace(0, len(chosen) - 1, MELODIES).round().astype(int))
        chosen = chosen[spread]
        self.names = tuple(phrases.names[i] for i in phrases.tune[chosen])
        self._learnt = time_slice.slices(melody.repaired(tokens[chosen]), 2)

    def watch(self, data: Any, context: Context) -> Mapping[str, float]:
        """How many of its melodies it does not play exactly from their plans."""
        unit, begins = self._learnt
        plan = torch.eye(self.net.shape.plans)[: len(unit)]
        made, starts = self.play(self.net, plan, unit.shape[1])
        exact = ((made == unit) & (starts == begins)).all(-1)
        right = ((made == unit) & (starts == begins)).mean()
        return {self.WATCHED: float((~exact).sum()), "accuracy_slices": float(right)}

    def evaluate(self, data: Any, context: Context) -> Mapping[str, float]:
        """Melodies learnt exactly, of how many; and how often half way between two of them, in pairs in
        turn, a slice sounds that neither has (made_up_half_way)."""
        found = self.watch(data, context)
        unit, _ = self._learnt
        eye = torch.eye(self.net.shape.plans)[: len(unit)]
        made, _ = self.play(self.net, (eye + eye.roll(-1, 0)) / 2, unit.shape[1])
        neither = (made != unit) & (made != np.roll(unit, -1, 0))
        return {
            "melodies": float(len(unit)),
            "melodies_learnt_exactly": len(unit) - found[self.WATCHED],
            "accuracy_slices": found["accuracy_slices"],
            "made_up_half_way": float(neither.mean()),
        }


def loss(
    net: Net,
    plan: Tensor,
    before: Tensor,
    target: Tensor,
    rng: np.random.Generator,
    blur: float = 1.0,
) -> Tensor:
    """Nats a slice of targets [M, S, UNITS] given plans [M, plans] and contexts [M, S, UNITS], both of
    them blurred: `blur` 0–1 says how much."""
    M = len(plan)
    mix = torch.from_numpy(rng.uniform(0, MIX * blur, (M, 1)).astype(np.float32))
    plan = (1 - mix) * plan + mix * plan[torch.from_numpy(rng.permutation(M))]
    noise = torch.from_numpy(rng.standard_normal(before.shape, np.float32))
    logits = net(plan[:, None].expand(-1, before.size(1), -1), before + BLUR * blur * noise)
    return F.binary_cross_entropy_with_logits(logits, target) * UNITS


def learn(unit: Column, begins: Any, seed: int, decay: float) -> Iterator[tuple[float, Net]]:
    """A net that has learnt some melodies [M, S], one plan each, from nothing; yields (fraction, net) on
    the way, and stops when it plays them all."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = Net(Shape(plans=len(unit), hidden=128, decay=decay))
    target = torch.from_numpy(time_slice.vectors(unit, begins))
    plan = torch.eye(len(unit))
    before = contexts(target, decay)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    rng = np.random.default_rng(seed)
    for step in range(ROUNDS):
        optimizer.zero_grad()
        blur = max(0.0, 1 - 4 * step / ROUNDS)
        loss(net, plan, before, target, rng, blur).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if step % 50 == 49:
            made, starts = System.play(net, plan, unit.shape[1])
            yield step / ROUNDS, net
            if not blur and (made == unit).all() and (starts == begins).all():
                break
    yield 1.0, net


def _track(phrase: Score, name: str) -> Track:
    """The track of a phrase that has its notes; UserError when none has."""
    track = next((t for t in phrase.tracks if len(t.notes)), None)
    if track is None:
        raise UserError(f"Phrase {name} has no notes; choose bars with music in them.")
    return track


def _tokens(track: Track, shift: int, name: str) -> melody.Tokens:
    """The melody of a phrase, moved by `shift`, on the grid: whole bars of sixteen steps."""
    rows = note_step.line(track.notes)
    ends = int(track.notes.onset.min()) + np.cumsum(rows[:, 1])
    sounds = rows[:, 0] != note_step.REST
    bars = -(-int(ends[-1]) // (melody.BAR * SIXTEENTH))
    if bars > LONGEST_BARS:
        raise UserError(f"Phrase {name} has {bars} bars; Sequential learns {LONGEST_BARS} at most.")
    onset = (ends - rows[:, 1])[sounds]
    steps = bars * melody.BAR
    return melody.from_notes(onset, rows[sounds, 1], rows[sounds, 0] + shift, 0, steps)[0]

"""Time-Windowed (Todd 1989): a feedforward network that hears one bar and plays the next.

A bar is eight slices of an eighth, each a one-hot pitch and a unit that says whether a note begins; all
units of a bar go in, all of the next come out, and that bar goes in again. Time lies in space here, which
made Todd prefer the recurrent form, Sequential. Briot et al. 6.8.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models import training, weights
from models.card import Card, Objective, Param, Representation, Task
from models.representations import melody, note_step, time_slice
from models.representations.note_step import REST, Column
from models.representations.time_slice import LOWEST, PITCHES, SILENT, UNITS
from models.score import UserError
from models.system import Ask, Context, Progress, Proposal
from models.timebase import PPQ, SIXTEENTH

CARD = Card(
    id="time_windowed",
    name="Time-Windowed",
    source="Todd 1989; Briot et al. 6.8.1",
    objective=Objective(type="melody", destination="score", mode="autonomous"),
    representation=Representation(
        "time_slice", steps_per_beat=2, hold=False, encoding="one-hot × 8, and a unit for note begin each"
    ),
    architecture="feedforward, bar to bar",
    challenges=("incrementality",),
    strategy=("iterative feedforward, bar by bar",),
    tasks=(Task.CONTINUE, Task.CREATE),
    params=(
        Param("rest_below", 0.1, 0, 0.9, "How sure it must be of a note to play it (the paper's: 0.5)"),
        Param("stray", 0.2, 0, 1, "How inexactly it hears the first bar; at 0, as published, one bar has one answer"),
        Param("opening", 1, 1, 32, "Which of its melodies the first bar is taken from", tasks=(Task.CREATE,)),
        Param("close", True, about="End on the keynote"),
        Param(
            "attacca", False, about="Begin with a note at once, not with a rest",
            tasks=(Task.CONTINUE,),
        ),
    ),
    voices=("melody",),
    listens="The bar before the marked ones, in 4/4.",
    strengths="Answers a bar with a bar, and so on: a folk tune it knows, or something between several.",
    weaknesses="It knows 32 melodies, all in eighths, and remembers one bar only: it goes in circles.",
    year=1989,
    figure="97.7 % of its own bars answered exactly, of other tunes' 0.1 %",
)  # fmt: skip

MELODIES = 32
BARS = 8
SLICES = 8
"""Slices of a bar."""
BAR = SLICES * 2 * SIXTEENTH
FIDDLE = 40
BATCH = 192
BLUR, SWAP = 0.1, 0.4
"""Noise on the bar it hears, and the greatest share of its slices taken from another bar, while it learns:
a bar that it never heard is then taken for one that is like it. Both fade to a third by the end."""
TRIES = 8
"""How often a candidate that equals an earlier one is made again, straying further."""

Marks = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Shape:
    """Hidden units."""

    hidden: int = 320


class Net(nn.Module):
    """A bar [B, 8 × UNITS] to the activations of the next."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.hidden = nn.Linear(SLICES * UNITS, shape.hidden)
        self.output = nn.Linear(shape.hidden, SLICES * UNITS)
        # Few inputs are on at a time: torch's own beginning would hardly tell one bar from another.
        nn.init.normal_(self.hidden.weight, std=0.35)

    def forward(self, bar: Tensor) -> Tensor:
        """[..., 8 × UNITS] → logits [..., 8 × UNITS]"""
        logits: Tensor = self.output(torch.sigmoid(self.hidden(bar)))
        return logits


class System:
    """Time-Windowed with its weights; `names` are the melodies it has learnt."""

    card: ClassVar[Card] = CARD
    PLAN: ClassVar[dict[str, float]] = {"rate": 1e-2, "decay": 0.0, "average": 0.99}
    WATCHED: ClassVar[str] = "bars_missed"

    def __init__(self, net: Net, names: Sequence[str] = ()) -> None:
        self.net = net
        self.names = tuple(names)
        self.bars = BARS
        self._learnt = np.zeros((0, BARS, SLICES), np.int64), np.zeros((0, BARS, SLICES), bool)

    @staticmethod
    def corpus(source: training.Source) -> training.Corpus:
        """Phrases of BARS bars."""
        return training.phrases(source, BARS)

    @classmethod
    def fresh(cls, device: str = "cpu", shape: Shape | None = None) -> System:
        """An untrained net; torch's random numbers decide its weights."""
        return cls(Net(shape or Shape()))

    @classmethod
    def load(cls, path: Path | None = None, device: str = "cpu") -> System:
        """With the weights at `path`, or those shipped; UserError when they don't fit."""
        path = path or weights.shipped(CARD.id)
        tensors, card = weights.load(path, CARD.id)
        try:
            system = cls(Net(Shape(**card["shape"])), card["melodies"])
        except (KeyError, TypeError, RuntimeError):
            raise UserError(f"{path.with_suffix('.json')} does not say the net's shape.") from None
        shapes = {n: tuple(p.shape) for n, p in system.net.named_parameters()}
        known = (len(system.names), BARS, SLICES)
        weights.check(path, tensors, {**shapes, "unit": known, "begins": known})
        if not ((tensors["unit"] >= SILENT) & (tensors["unit"] < PITCHES)).all():
            raise UserError(f"{path} holds pitches that there are not; train the weights again.")
        with torch.no_grad():
            for name, parameter in system.net.named_parameters():
                parameter.copy_(torch.from_numpy(tensors[name].astype(np.float32)))
        system._learnt = tensors["unit"].astype(np.int64), tensors["begins"].astype(bool)
        return system

    def save(self, path: Path, card: Mapping[str, Any]) -> None:
        """Writes the weights (in half precision), the melodies learnt and `card`, with the net's shape and
        the melodies' names."""
        tensors: dict[str, weights.Array] = {
            n: p.detach().numpy().astype(np.float16) for n, p in self.net.named_parameters()
        }
        unit, begins = self._learnt
        tensors |= {"unit": unit.astype(np.int8), "begins": begins.astype(np.uint8)}
        more = {"shape": asdict(self.net.shape), "melodies": list(self.names)}
        weights.save(path, tensors, {**card, **more})

    def generate(self, ask: Ask, context: Context) -> Iterator[Proposal | Progress]:
        """Answers the bar before the region, or the first of a melody it knows, bar after bar."""
        if ask.task not in CARD.tasks:
            raise UserError(f"Time-Windowed cannot {ask.task}; it can continue and create.")
        values: dict[str, Any] = dict(CARD.values(ask.params))
        start = ask.region.start
        bar, offset, length = ask.score.meter.position(start)
        numerator, denominator = ask.score.meter.at(start)
        if bar and length != BAR:
            raise UserError(
                f"Time-Windowed knows bars of four quarters and not {numerator}/{denominator}; "
                "mark bars in 4/4."
            )
        seat = note_step.seat(ask.score, ask.region, FIDDLE)
        if ask.task is Task.CREATE:
            if values["opening"] > len(self.names):
                raise UserError(
                    f"Time-Windowed knows {len(self.names)} melodies; choose among them."
                )
            first = tuple(x[values["opening"] - 1, :1] for x in self._learnt)
            heard = first[0][0], first[1][0]
        else:
            first = np.zeros((0, SLICES), np.int64), np.zeros((0, SLICES), bool)
            heard = _bar_before(seat, start - offset)
        yield Progress(0.0, "Playing")
        # A region that begins within a bar is filled by what that bar would have been.
        count = max(0, -(-(ask.region.end - start + offset) // BAR) - len(first[0]))
        skip = offset // (2 * SIXTEENTH)
        slices = -(-(ask.region.end - start) // (2 * SIXTEENTH))
        sounds = skip if values["attacca"] and ask.task is Task.CONTINUE else None
        key = ask.score.key_at(start)
        made: list[bytes] = []
        for k in range(ask.count):
            for again in range(TRIES):
                stray = values["stray"] + 0.1 * again
                unit, begins = self._answer(
                    heard, count, stray, values["rest_below"], context.rng, sounds
                )
                unit = np.concatenate([first[0].ravel(), unit.ravel()])[skip : skip + slices]
                begins = np.concatenate([first[1].ravel(), begins.ravel()])[skip : skip + slices]
                if values["close"]:
                    unit, begins = closed(unit, begins, key is not None and key.minor)
                if unit.tobytes() not in made:
                    break
            made.append(unit.tobytes())
            track = note_step.written(time_slice.rows(unit, begins, 2), seat, ask.region)
            yield Proposal(k, ask.region, (track,), final=True)

    def _answer(
        self,
        heard: tuple[Column, Marks],
        count: int,
        stray: float,
        rest_below: float,
        rng: np.random.Generator,
        sounds: int | None = None,
    ) -> tuple[Column, Marks]:
        """Units and beginnings [count, SLICES] of the bars that follow a bar. In the slice `sounds` of the first is
        no rest, however unsure it is of every note."""
        unit, begins = heard
        units = np.full((count, SLICES), SILENT, np.int64)
        marks = np.zeros((count, SLICES), bool)
        with torch.inference_mode():
            for i in range(count):
                bar = time_slice.vectors(unit, begins).ravel()
                if i == 0:
                    bar = bar + stray * rng.standard_normal(bar.shape, np.float32)
                activations = torch.sigmoid(self.net(torch.from_numpy(bar))).numpy()
                activations = activations.reshape(SLICES, UNITS)
                unit, begins = time_slice.read(activations, rest_below)
                if i == 0 and sounds is not None and unit[sounds] == SILENT:
                    unit[sounds] = time_slice.read(activations[sounds], 0.0)[0]
                    begins[sounds] = True
                units[i], marks[i] = unit, begins
        return units, marks

    def train(
        self, corpus: Any, context: Context, fit: training.Fit | None = None
    ) -> Iterator[Mapping[str, float]]:
        """Learns MELODIES phrases of `corpus.train` that are all eighths, for ever: one update before
        each yield of the loss in nats a slice. Close it to stop."""
        fit = fit or training.Fit(self.net, training.Plan(minutes=2.0))
        self._learnt, self.names = chosen(corpus.train)
        bar, following = _pairs(self._learnt)
        rng = context.rng
        while True:
            at = torch.from_numpy(rng.integers(len(bar), size=BATCH))
            noise = torch.from_numpy(rng.standard_normal((BATCH, bar.size(1)), np.float32))
            fading = 1 - 2 / 3 * fit.fraction
            share = rng.uniform(0, SWAP * fading, (BATCH, 1))
            swapped = torch.from_numpy((rng.random((BATCH, SLICES)) < share).repeat(UNITS, 1))
            other = bar[torch.from_numpy(rng.integers(len(bar), size=BATCH))]
            heard = torch.where(swapped, other, bar[at]) + BLUR * fading * noise
            nats = F.binary_cross_entropy_with_logits(self.net(heard), following[at]) * UNITS
            yield {"loss_nats": fit.update(nats)}

    def _right(self, pieces: tuple[Column, Marks]) -> tuple[float, float]:
        """How many bars are exactly right, and how many slices, of pieces [N, bars, SLICES] told bar by
        bar, silence below a half."""
        bar, _ = _pairs(pieces)
        with torch.inference_mode():
            activations = torch.sigmoid(self.net(bar)).numpy().reshape(len(bar), SLICES, UNITS)
        unit, begins = time_slice.read(activations)
        truth, marks = (np.roll(x, -1, 1).reshape(-1, SLICES) for x in pieces)
        right = (unit == truth) & (begins == marks)
        return float(right.all(-1).mean()), float(right.mean())

    def watch(self, data: Any, context: Context) -> Mapping[str, float]:
        """The share of bars of its melodies after which it does not play the next exactly, and of slices
        that are right."""
        bars, slices = self._right(self._learnt)
        return {self.WATCHED: 1 - bars, "accuracy_slices_learnt": slices}

    def evaluate(self, data: Any, context: Context) -> Mapping[str, float]:
        """The shares of bars exactly right and of slices right, of the melodies learnt and of phrases of
        other tunes, one a tune; of these, what saying the bar again would get (…_said_again)."""
        learnt, slices = self._right(self._learnt)
        figures = {
            "melodies": float(len(self.names)),
            "accuracy_bars_learnt": learnt,
            "accuracy_slices_learnt": slices,
        }
        pieces, _ = _plain(data)
        if len(pieces[0]):
            unit, begins = pieces
            bars, slices = self._right(pieces)
            same = (unit == np.roll(unit, -1, 1)) & (begins == np.roll(begins, -1, 1))
            figures |= {
                "phrases_held_out": float(len(unit)),
                "accuracy_bars_held_out": bars,
                "accuracy_slices_held_out": slices,
                "accuracy_bars_said_again": float(same.all(-1).mean()),
                "accuracy_slices_said_again": float(same.mean()),
            }
        return figures


def _pairs(pieces: tuple[Column, Marks]) -> tuple[Tensor, Tensor]:
    """Every bar of pieces [N, bars, SLICES] and the one after it, as vectors; after the last comes the
    first."""
    vectors = time_slice.vectors(*pieces)
    following = np.roll(vectors, -1, 1)
    rows = (x.reshape(-1, SLICES * UNITS) for x in (vectors, following))
    bar, after = (torch.from_numpy(x) for x in rows)
    return bar, after


def _plain(phrases: melody.Phrases) -> tuple[tuple[Column, Marks], Column]:
    """Phrases that are all eighths in the compass of the slices, one a tune, in white keys: units and
    beginnings [N, BARS, SLICES], and the tune of each."""
    plain = np.flatnonzero((phrases.tokens[:, 1::2] < melody.FIRST).all(-1))
    _, first = np.unique(phrases.tune[plain], return_index=True)
    found = phrases.where(plain[np.sort(first)])
    if not len(found):
        none = np.zeros((0, BARS, SLICES), np.int64)
        return (none, none.astype(bool)), found.tune
    tokens = np.stack(
        [
            melody.transposed(t, note_step.to_white_keys(int(s)))
            for t, s in zip(found.tokens, found.sharps, strict=True)
        ]
    )
    unit, begins = time_slice.slices(melody.repaired(tokens), 2)
    shape = (len(found), -1, SLICES)
    return (unit.reshape(shape), begins.reshape(shape)), found.tune


def chosen(phrases: melody.Phrases) -> tuple[tuple[Column, Marks], tuple[str, ...]]:
    """Up to MELODIES phrases spread over the corpus and their names: none in which a bar goes on otherwise
    than the same bar does elsewhere, for that cannot be learnt. UserError when there is none."""
    (unit, begins), tune = _plain(phrases)
    after: dict[bytes, bytes] = {}
    taken: list[int] = []
    # In steps of a fraction of the whole, so that any number of them is spread.
    spread = np.argsort((np.arange(len(unit)) * 0.618034) % 1, kind="stable")
    if len(tune) < MELODIES:
        spread = np.arange(len(unit))
    for i in spread:
        keys = [u.tobytes() + b.tobytes() for u, b in zip(unit[i], begins[i], strict=True)]
        found = dict(zip(keys, [*keys[1:], keys[0]], strict=True))
        consistent = all(found[a] == b for a, b in zip(keys, [*keys[1:], keys[0]], strict=True))
        if consistent and all(after.get(a, b) == b for a, b in found.items()):
            after |= found
            taken.append(int(i))
        if len(taken) == MELODIES:
            break
    if not taken:
        raise UserError("The corpus has no phrases of eight bars in eighths; add some.")
    taken.sort()
    return (unit[taken], begins[taken]), tuple(phrases.names[tune[i]] for i in taken)


def _bar_before(seat: note_step.Seat, barline: int) -> tuple[Column, Marks]:
    """The last bar with notes before a barline, as a slice sequence [SLICES]; UserError when there is
    none."""
    before = seat.before.where(seat.before.onset < barline)
    if not len(before):
        raise UserError("There is nothing before the marked bars to continue; mark later ones.")
    back = (barline - 1 - int(before.onset.max())) // BAR + 1
    start = barline - back * BAR
    rows = note_step.line(before)
    ends = int(before.onset.min()) + np.cumsum(rows[:, 1])
    sounds = rows[:, 0] != REST
    onset = (ends - rows[:, 1])[sounds]
    tokens, _ = melody.from_notes(
        onset, rows[sounds, 1], rows[sounds, 0] + seat.shift, start, melody.BAR
    )
    return time_slice.slices(melody.repaired(tokens), 2)


def closed(unit: Column, begins: Marks, minor: bool = False) -> tuple[Column, Marks]:
    """Slices [S] of which the last quarter is the keynote nearest to what sounded before: C, or A in minor
    or where that sounds longer."""
    out, marks = unit.copy(), begins.copy()
    sounds = np.flatnonzero(unit != SILENT)
    if not len(sounds):
        return out, marks
    quarter = PPQ // (2 * SIXTEENTH)
    pitch = unit[sounds] + LOWEST
    weight = np.bincount(pitch % 12, minlength=12)
    key = 9 if minor or weight[9] > weight[0] else 0
    last = int(unit[sounds[-1]])
    near = last + (key - last - LOWEST + 6) % 12 - 6
    near += 12 * (near < 0) - 12 * (near >= PITCHES)
    out[-quarter:] = near
    marks[-quarter:] = [True, *[False] * (min(quarter, len(unit)) - 1)]
    return out, marks

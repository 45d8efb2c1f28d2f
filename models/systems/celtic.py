"""Celtic (Sturm, Santos, Ben-Tal, Korshunova 2016): folk-rnn, tunes as words of ABC notation.

Three LSTMs read a tune word by word (a metre, a mode, pitches, durations, barlines, signs of repeat) and
say which word comes next; drawing one word after another writes a tune. Briot et al. 6.6.1.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models import nets, training
from models.card import Card, Objective, Param, Representation, Task
from models.representations import folk, folk_books, folk_place, folk_rules, note_step, pianoroll
from models.score import UserError
from models.strategies import stepping
from models.strategies.folk_session import Draft, Logits, drawn
from models.strategies.stepping import Floats, Walk
from models.system import Ask, Context, Progress, Proposal

Column = npt.NDArray[np.int64]

CARD = Card(
    id="celtic",
    name="Celtic",
    source="Sturm et al. 2016; Briot et al. 6.6.1",
    objective=Objective(type="melody", destination="score", mode="interactive"),
    representation=Representation("folk", steps_per_beat=24, hold=False, encoding="one-hot words of ABC"),
    architecture="LSTM × 3",
    challenges=("control", "structure"),
    strategy=("iterative feedforward", "sampling"),
    tasks=(Task.CREATE, Task.CONTINUE),
    params=(
        Param("metre", "as the piece", about="Of a tune from nothing; where there is music its metre stands",
              choices=("as the piece", "4/4", "2/2", "6/8", "2/4", "3/4", "9/8", "3/8"),
              tasks=(Task.CREATE,)),
        Param("tonic", "as the piece", about="The note on which it ends",
              choices=("as the piece", "C", "G", "D", "A", "E", "B", "F", "Bb", "Eb", "Ab")),
        Param("mode", "as the piece", about="The scale on that note",
              choices=("as the piece", "major", "minor", "dorian", "mixolydian")),
        Param("temperature", 0.9, 0.1, 2, "Below 1 the usual, above 1 the unusual"),
        Param("whole_bars", True, about="Only words with which bars add up; off: the net alone"),
        Param("form", "AABB", about="Two repeated parts of eight bars; parts of 4, 8, 12 … bars; or the net's own",
              choices=("AABB", "square", "any"), tasks=(Task.CREATE,)),
        Param("cadence", True, about="The last bar is drawn again until the tune ends on its tonic",
              tasks=(Task.CREATE,)),
    ),
    voices=("melody",),
    listens="The notes before the marked bars, their metre and key.",
    strengths="Jigs, reels and waltzes whose bars add up, in two parts with repeats that end on the tonic; "
    "a whole tune in a quarter of a second.",
    weaknesses="One line, in the seven metres of Irish and Scottish dances; left to itself it has not "
    "learnt how long a part is, and some phrases wander.",
    year=2016,
    figure="1.23 nats a word; without the rules 95 % of its bars add up",
)  # fmt: skip

WORDS = len(folk.WORDS)
BATCH = 16
LONGEST = 512
"""Words of a tune that are learnt from."""
NONE = -100
"""The target of no word."""
GROWTH, FIRST = 24, 6
"""A candidate is shown once in so many words, first after a few."""
TUNES = 50
"""Tunes that are drawn to be measured."""


@dataclass(frozen=True)
class Shape:
    """Units of a layer, layers, and the share of units that is dropped between them in training."""

    units: int = 512
    layers: int = 3
    dropout: float = 0.5


class Net(nn.Module):
    """One-hot words through LSTMs to the logits of the next."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.lstm = nn.LSTM(
            WORDS, shape.units, shape.layers, batch_first=True, dropout=shape.dropout
        )
        self.drop = nn.Dropout(shape.dropout)
        self.says = nn.Linear(shape.units, WORDS)
        with torch.no_grad():
            # torch's own beginning lets so little of a one-hot word through three layers that nothing
            # but the words' frequencies is learnt for hundreds of updates.
            for name, p in self.lstm.named_parameters():
                if name == "weight_ih_l0":
                    nn.init.normal_(p, std=0.5)
                elif name.startswith("weight_hh"):
                    for gate in p.chunk(4):
                        nn.init.orthogonal_(gate)
                elif name.startswith("weight"):
                    nn.init.xavier_normal_(p, gain=2**0.5)
                else:
                    nn.init.zeros_(p)
                    if name.startswith("bias_ih"):
                        p.chunk(4)[1].fill_(1.0)  # begin by remembering

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens [B, T] → logits of the words after them [B, T, WORDS]"""
        y, _ = self.lstm(F.one_hot(tokens, WORDS).float())
        logits: Tensor = self.says(self.drop(y))
        return logits.float()

    def nats(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """Mean nats of the targets [B, T] that are not NONE"""
        return F.cross_entropy(self(tokens).transpose(1, 2), targets, ignore_index=NONE)


def batch(pieces: Sequence[Column]) -> tuple[Tensor, Tensor]:
    """Tunes [T + 1] as words and the words that follow [B, T]; what a musician says (metre and mode) and
    what lies after the end is no target."""
    longest = min(max(map(len, pieces)), LONGEST + 1) - 1
    tokens = torch.zeros(len(pieces), longest, dtype=torch.int64)
    targets = torch.full((len(pieces), longest), NONE)
    for i, piece in enumerate(pieces):
        p = torch.from_numpy(piece[: longest + 1])
        tokens[i, : len(p) - 1] = p[:-1]
        targets[i, 1 : len(p) - 1] = p[2:]
    return tokens, targets


class Stepper:
    """The net's numbers, prepared for one word at a time: what a word adds to the first layer is a row of a
    table, and each layer one product."""

    def __init__(self, net: Net) -> None:
        self.lstm = stepping.LSTM(stepping.weights(net.lstm))
        self.table = self.lstm.rows(torch.eye(WORDS))
        self.says, self.bias = stepping.linear(net.says)

    def step(self, words: Sequence[int], walk: Walk) -> Logits:
        """Hears a word a row and says [B, WORDS] what may be next."""
        logits: Logits = walk.step(self.table.take(words, 0)) @ self.says
        logits += self.bias
        return logits


class System:
    """folk-rnn, with its weights on a device."""

    card: ClassVar[Card] = CARD
    PLAN: ClassVar[dict[str, float]] = {"rate": 3e-3, "decay": 1e-2, "average": 0.997}
    WATCHED: ClassVar[str] = "cross_entropy_word_nats"

    def __init__(self, net: Net, device: str) -> None:
        self.net = net.to(device)
        self.device = device
        self._stepper: tuple[int, Stepper] | None = None

    @staticmethod
    def corpus(source: training.Source) -> training.Corpus:
        """The tunes `source` stands for, as words."""
        if source is None or isinstance(source, Path):
            return _bundled(source)
        if isinstance(source, str):
            raise UserError(
                f"{source} is not for training on; leave --corpus out or name a folder."
            )
        if isinstance(source, pianoroll.Rolls):
            raise UserError(f"{source.path} holds piano rolls; this system learns from tunes.")
        pieces = [piece for path, score in source for piece in folk_books.of_file(path, score)]
        if not pieces:
            raise UserError(
                "The corpus has no tune in a metre and a mode this system knows whose bars add up; add some."
            )
        valid = pieces[::10] if len(pieces) > 1 else pieces
        train = [p for i, p in enumerate(pieces) if i % 10] or pieces
        credit = "the user's own"
        return training.Corpus(train, valid, credit, "every tenth to validate", credit)

    @classmethod
    def fresh(cls, device: str = "cpu", shape: Shape | None = None) -> System:
        """An untrained one; torch's random numbers decide its weights."""
        return cls(Net(shape or Shape()), device)

    @classmethod
    def load(cls, path: Path | None = None, device: str = "cpu") -> System:
        """With the weights at `path`, or those shipped; UserError when they don't fit."""
        return cls(nets.load(path, CARD.id, Shape, Net), device)

    def save(self, path: Path, card: Mapping[str, Any]) -> None:
        """Writes the weights in 8 bits and `card`, to which the net's shape is added."""
        nets.save(self.net, path, card, bits=8)

    def generate(self, ask: Ask, context: Context) -> Iterator[Proposal | Progress]:
        """Writes tunes word by word and plays them so that they fill the bars, or goes on word by word from
        the notes before them."""
        if ask.task not in CARD.tasks:
            raise UserError(f"Celtic cannot {ask.task}; it can create and continue.")
        values = CARD.values(ask.params)
        place = folk_place.find(ask, values)
        yield Progress(0.0, "Writing")
        temperature = float(str(values["temperature"]))
        ruled, cadence = bool(values["whole_bars"]), bool(values["cadence"])
        form = str(values["form"])
        drafts = [Draft(place, ruled, form, cadence) for _ in range(ask.count)]
        for k in self.write(drafts, place.prompt, temperature, context.rng):
            draft = drafts[k]
            track = note_step.written(draft.rows(), place.seat, ask.region)
            yield Proposal(k, ask.region, (track,), draft.done, keys=place.keys, meter=place.meter)

    def write(
        self,
        drafts: Sequence[Draft],
        prompt: Sequence[int],
        temperature: float,
        rng: np.random.Generator,
    ) -> Iterator[int]:
        """Writes drafts, all of which begin with a prompt, word by word to their ends; yields which one there is
        more of."""
        stepper = self._steps()
        start, first = self._read(prompt)
        walk = Walk(stepper.lstm, len(drafts))
        walk.put(start)
        logits = np.repeat(first[None], len(drafts), 0)
        kept = [(start, first)] * len(drafts)
        for step in itertools.count():
            uniform = rng.random(len(drafts))
            for k, draft in enumerate(drafts):
                if draft.done:
                    continue
                draft.push(draft.choose(logits[k], temperature, uniform[k]))
                if draft.done or step % GROWTH == FIRST:
                    yield k
            if all(draft.done for draft in drafts):
                return
            logits = stepper.step([draft.last for draft in drafts], walk)
            for k, draft in enumerate(drafts):
                if draft.again:
                    state, logits[k] = kept[k]
                    walk.put(state, k)
                elif draft.last == folk.END and not draft.done:  # the next tune
                    walk.put(start, k)
                    logits[k] = first
                elif draft.fresh:
                    kept[k] = walk.state(k), logits[k].copy()

    def _read(self, words: Sequence[int]) -> tuple[list[tuple[Floats, Floats]], Logits]:
        """What is known after some words, output and memory [units] of each layer, and said [WORDS] of the
        next."""
        with torch.inference_mode():
            heard = F.one_hot(torch.tensor([words], device=self.device), WORDS).float()
            y, (h, c) = self.net.lstm(heard)
            logits: Logits = self.net.says(y[0, -1]).float().cpu().numpy()
        state = zip(h[:, 0].cpu().numpy(), c[:, 0].cpu().numpy(), strict=True)
        return list(state), logits

    def _steps(self) -> Stepper:
        """The stepper of the weights as they are now."""
        changes = sum(p._version for p in self.net.parameters())
        if self._stepper is None or self._stepper[0] != changes:
            self._stepper = changes, Stepper(self.net)
        return self._stepper[1]

    def train(
        self, corpus: Any, context: Context, fit: training.Fit | None = None
    ) -> Iterator[Mapping[str, float]]:
        """Learns from the tunes of `corpus.train` for ever: one update before each yield. Close it to
        stop."""
        fit = fit or training.Fit(self.net, training.Plan(minutes=2.0))
        pieces: list[Column] = list(corpus.train)
        length = np.array([len(p) for p in pieces])
        self.net.train()
        while True:
            # Tunes of nearly the same length share a batch, so that little of it is padding.
            order = np.argsort(length + context.rng.normal(0, 12, len(pieces)))
            starts = context.rng.permutation(np.arange(0, len(order), BATCH))
            for start in starts:
                chosen = [pieces[i] for i in order[start : start + BATCH]]
                tokens, targets = (x.to(self.device) for x in batch(chosen))
                yield {"loss_nats": fit.update(self.net.nats(tokens, targets))}

    def watch(self, data: Any, context: Context) -> Mapping[str, float]:
        """Nats per word of tunes, metre and mode given."""
        pieces = sorted(data, key=len)
        total, count = 0.0, 0
        with torch.no_grad():
            for start in range(0, len(pieces), 32):
                tokens, targets = (x.to(self.device) for x in batch(pieces[start : start + 32]))
                words = int((targets != NONE).sum())
                total += float(self.net.nats(tokens, targets)) * words
                count += words
        return {self.WATCHED: total / max(count, 1)}

    def evaluate(self, data: Any, context: Context) -> Mapping[str, float]:
        """Nats per word; and of TUNES tunes in the metres and modes of the data, drawn with the rules and
        without, how many bars add up and how many tunes are two repeated parts of eight bars, as beside
        them in the data."""
        figures = dict(self.watch(data, context))
        chosen = [data[i] for i in context.rng.permutation(len(data))[:TUNES]]
        heads = [piece[:2].tolist() for piece in (chosen * TUNES)[:TUNES]]
        sides = {
            "data": [folk.read(piece) for piece in data],
            "free": [folk.read(t) for t in self.tunes(heads, False, context.rng)],
            "ruled": [folk.read(t) for t in self.tunes(heads, True, context.rng)],
        }
        for name, found in sides.items():
            counts = np.array([folk.adding_up(t) for t in found]).sum(0)
            figures[f"bars_adding_up_{name}"] = float(counts[0] / max(counts[1], 1))
            figures[f"aabb_share_{name}"] = float(np.mean([folk.is_aabb(t) for t in found]))
        return figures

    def tunes(
        self, heads: Sequence[Sequence[int]], ruled: bool, rng: np.random.Generator
    ) -> list[list[int]]:
        """One whole tune, as words, for each metre and mode."""
        found = [list(head) for head in heads]
        rules = [folk_rules.Rules(folk.read(head).bar, folk_rules.SQUARE_PARTS) for head in heads]
        stepper = self._steps()
        walk = Walk(stepper.lstm, len(heads))
        stepper.step([head[0] for head in heads], walk)
        for _ in range(LONGEST):
            logits = stepper.step([words[-1] for words in found], walk)
            uniform = rng.random(len(heads))
            for k, words in enumerate(found):
                if words[-1] == folk.END:
                    continue
                mask = rules[k].allowed() if ruled else folk_rules.FREE
                words.append(drawn(logits[k], mask, 1.0, uniform[k]))
                if ruled:
                    rules[k].push(words[-1])
            if all(words[-1] == folk.END for words in found):
                break
        return found


def _bundled(folder: Path | None) -> training.Corpus:
    """The bundled books of tunes and those of a folder, split as all melodies are."""
    known = training.melodies(folder)
    words = folk_books.bundled()
    if folder is not None:
        both = [*known.train, *known.valid]
        words |= folk_books.folder(folder, [t for t in both if t.collection == folder.name])
    train, valid = (
        [words[tune.name] for tune in side if tune.name in words]
        for side in (known.train, known.valid)
    )
    name = "O'Neill's 1850, Ryan's Mammoth, Aird's (ABC, with music21)"
    name += f" and {folder.name}" if folder else ""
    return training.Corpus(train, valid, name, known.split, known.attribution)

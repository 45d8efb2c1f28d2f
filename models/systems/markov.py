"""A Markov chain of variable order over note steps: the baseline that every network must beat.

As old as computer music (Pinkerton 1956; Hiller & Isaacson 1957), with the longest context that has been
heard, between a least and a greatest order, as in the Continuator (Pachet 2003). Briot et al. 1.2.3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from models import training, weights
from models.card import Card, Objective, Param, Representation, Task
from models.representations import note_step
from models.representations.note_step import END, REST, Column, Vocabulary
from models.score import UserError
from models.system import Ask, Context, Progress, Proposal

CARD = Card(
    id="markov",
    name="Markov chain",
    source="Pinkerton 1956; Pachet 2003; Briot et al. 1.2.3",
    objective=Objective(type="melody", destination="score", mode="interactive"),
    representation=Representation("note_step", steps_per_beat=24, hold=False, encoding="one-hot"),
    architecture="table",
    challenges=("control", "incrementality"),
    strategy=("sampling", "iterative"),
    tasks=(Task.CREATE, Task.CONTINUE),
    params=(
        Param("max_order", 4, 1, 12, "How many notes back it looks at most: more is closer to copying"),
        Param("min_order", 1, 0, 12, "How many notes back it looks at least, while that was ever heard"),
        Param("temperature", 1.0, 0.1, 3, "Below 1 the usual, above 1 the unusual"),
        Param(
            "learn_from", "corpus", about="What it has heard: folk tunes, or this piece so far",
            choices=("corpus", "piece"),
        ),
    ),
    voices=("melody",),
    listens="The notes before the marked bars.",
    strengths="At once in the style of what it heard, your own piece included; any metre, triplets too.",
    weaknesses="It knows no further back than a few notes: no form, no bars, no end in sight.",
    year=1956,
    figure="3.01 nats a note at order 2, 3.27 at order 4, held-out tunes",
)  # fmt: skip

VIOLIN = 40
CHOICES = 2
"""A context counts as heard when it was heard to go on in so many ways; else it would only copy."""
LONGEST_PIECE = 4000


class Table:
    """What has been heard: pieces as symbols, an END before each and after the last."""

    def __init__(self, symbols: Column, tune: Column, meters: Column) -> None:
        """symbols [N]; tune [N]: the piece of each; meters [pieces]: numerator × 1000 + denominator."""
        self.symbols, self.tune, self.meters = symbols, tune, meters
        order = np.argsort(symbols[:-1], kind="stable")
        bounds = np.searchsorted(symbols[:-1][order], np.arange(symbols.max(initial=0) + 2))
        self._after = [order[a:b] + 1 for a, b in pairwise(bounds)]

    @classmethod
    def of(cls, pieces: Sequence[Column], meters: Sequence[int]) -> Table:
        """From the symbols of each piece."""
        ends = np.zeros(1, np.int64)
        symbols = np.concatenate([ends, *(np.append(p, END) for p in pieces)])
        tune = np.repeat(np.arange(len(pieces)), [len(p) + 1 for p in pieces])
        return cls(symbols, np.append(0, tune), np.asarray(meters, np.int64))

    def heard(self, context: Sequence[int], longest: int) -> Iterator[Column]:
        """Where each suffix of `context`, of 0, 1, 2 … `longest` symbols, was followed by something."""
        yield np.arange(1, len(self.symbols))
        if not context or not 0 <= context[-1] < len(self._after):
            return
        at = self._after[context[-1]]
        for k in range(1, min(longest, len(context)) + 1):
            if k > 1:
                at = at[at >= k]
                at = at[self.symbols[at - k] == context[-k]]
            if not len(at):
                return
            yield at

    def in_meter(self, at: Column, meter: int) -> Column:
        """Those of the places whose piece is in that metre; all of them when none is."""
        fits = at[self.meters[self.tune[at]] == meter]
        return fits if len(fits) else at


class System:
    """A Markov chain with its table."""

    card: ClassVar[Card] = CARD
    WATCHED: ClassVar[str] = "cross_entropy_note_nats"

    def __init__(self, vocabulary: Vocabulary, table: Table) -> None:
        self.vocabulary, self.table = vocabulary, table

    @staticmethod
    def corpus(source: training.Source) -> training.Corpus:
        """The tunes `source` stands for."""
        return training.melodies(source)

    @classmethod
    def fresh(cls, device: str = "cpu") -> System:
        """A chain that has heard nothing."""
        return cls(Vocabulary.of([]), Table.of([], []))

    @classmethod
    def load(cls, path: Path | None = None, device: str = "cpu") -> System:
        """A chain with the table at `path`, or the one shipped; UserError when it is none."""
        path = path or weights.shipped(CARD.id)
        tensors, _ = weights.load(path, CARD.id)
        n, v, t = (len(tensors.get(name, ())) for name in ("symbols", "rows", "meters"))
        weights.check(path, tensors, {"symbols": (n,), "rows": (v, 2), "meters": (t,)})
        symbols = tensors["symbols"].astype(np.int64)
        if not n or symbols.min() < 0 or symbols.max() >= v or (symbols == END).sum() != t + 1:
            raise UserError(f"{path} is no whole table; train it again.")
        tune = np.minimum(np.append(0, np.cumsum(symbols[:-1] == END) - 1), t - 1)
        table = Table(symbols, np.maximum(tune, 0), tensors["meters"].astype(np.int64))
        return cls(Vocabulary(tensors["rows"].astype(np.int64)), table)

    def save(self, path: Path, card: Mapping[str, Any]) -> None:
        """Writes the table and `card`."""
        tensors: dict[str, weights.Array] = {
            "symbols": self.table.symbols.astype(np.uint16),
            "rows": self.vocabulary.rows.astype(np.int32),
            "meters": self.table.meters.astype(np.int32),
        }
        weights.save(path, tensors, card)

    def generate(self, ask: Ask, context: Context) -> Iterator[Proposal | Progress]:
        """Goes on from the notes before the region, or from a beginning, note by note to its end."""
        if ask.task not in CARD.tasks:
            raise UserError(f"A Markov chain cannot {ask.task}; it can create and continue.")
        values = CARD.values(ask.params)
        low, high = int(str(values["min_order"])), int(str(values["max_order"]))
        if low > high:
            raise UserError(f"min_order={low} is above max_order={high}; lower it.")
        seat = note_step.seat(ask.score, ask.region, VIOLIN)
        if ask.task is Task.CONTINUE and not len(seat.before):
            raise UserError("There is nothing before the marked bars to continue; mark later ones.")
        yield Progress(0.0, "Listening back")
        before = note_step.line(seat.before)
        before[:, 0] = np.where(before[:, 0] == REST, REST, before[:, 0] + seat.shift)
        vocabulary, table = self.vocabulary, self.table
        numerator, denominator = ask.score.meter.at(ask.region.start)
        meter = numerator * 1000 + denominator
        if values["learn_from"] == "piece":
            if len(before) < 8:
                raise UserError("There are too few notes before the marked bars to learn from.")
            vocabulary = Vocabulary.of([before])
            table = Table.of([vocabulary.symbols(before)], [meter])
        start = [END] if ask.task is Task.CREATE else vocabulary.symbols(before).tolist()
        length = ask.region.end - ask.region.start
        for k in range(ask.count):
            made = list(start)
            rows: list[Column] = []
            ticks = 0
            while ticks < length and len(rows) < LONGEST_PIECE:
                symbol = self._next(table, made, meter, low, high, float(str(values["temperature"])),
                                    context.rng)  # fmt: skip
                made.append(symbol)
                if symbol == END:
                    continue  # the next piece begins where this one ended
                rows.append(vocabulary.rows[symbol])
                ticks += int(rows[-1][1])
            track = note_step.written(np.array(rows).reshape(-1, 2), seat, ask.region)
            yield Proposal(k, ask.region, (track,), final=True)

    @staticmethod
    def _next(
        table: Table,
        made: Sequence[int],
        meter: int,
        low: int,
        high: int,
        temperature: float,
        rng: np.random.Generator,
    ) -> int:
        """A symbol that followed the longest context heard; shorter ones below `low` only for want of it."""
        places = list(table.heard(made, high))
        symbols = counts = np.zeros(0, np.int64)
        for k in reversed(range(len(places))):
            at = table.in_meter(places[k], meter)
            symbols, counts = np.unique(table.symbols[at], return_counts=True)
            if k <= low or len(symbols) >= CHOICES:
                break
        weight = counts ** (1 / temperature)
        return int(rng.choice(symbols, p=weight / weight.sum()))

    def train(self, corpus: Any, context: Context) -> Iterator[Mapping[str, float]]:
        """Hears the tunes of `corpus.train`, a quarter more at each yield of the loss: nats per note of
        some tunes of `corpus.valid`, at the default order."""
        pieces = [note_step.of_tune(t) for t in corpus.train]
        meters = [int(t.meters[min(1, len(t.meters) - 1)]) for t in corpus.train]
        order = context.rng.permutation(len(pieces))
        for part in (0.25, 0.5, 0.75, 1.0):
            chosen = np.sort(order[: max(1, round(part * len(order)))])
            self.vocabulary = Vocabulary.of([pieces[i] for i in chosen])
            self.table = Table.of(
                [self.vocabulary.symbols(pieces[i]) for i in chosen], [meters[i] for i in chosen]
            )
            yield {"loss_nats": self.nats(corpus.valid[:40])[-1]}

    def nats(self, tunes: Sequence[Any], highest: int = 4) -> list[float]:
        """Mean nats per note of some tunes for each order 0 … `highest`, with unseen continuations
        estimated from the shorter context (Witten & Bell 1991)."""
        symbols = len(self.vocabulary.rows) + 1  # and one for all that were never heard
        total = np.zeros(highest + 1)
        count = 0
        every = np.bincount(self.table.symbols[1:], minlength=symbols)
        kinds_of_all = int((every > 0).sum())
        for tune in tunes:
            piece = self.vocabulary.symbols(note_step.of_tune(tune)).tolist()
            made = [END]
            for symbol in [*piece, END]:
                p = 1 / symbols
                likely = np.zeros(highest + 1)
                for k, at in enumerate(self.table.heard(made, highest)):
                    if k == 0:
                        kinds, same = kinds_of_all, int(every[symbol]) if symbol >= 0 else 0
                    else:
                        after = self.table.symbols[at]
                        kinds, same = len(np.unique(after)), int((after == symbol).sum())
                    p = (same + kinds * p) / (len(at) + kinds)
                    likely[k:] = p
                total -= np.log(likely)
                count += 1
                made.append(symbol)
        return [float(t / max(count, 1)) for t in total]

    def watch(self, data: Any, context: Context) -> Mapping[str, float]:
        """Nats per note at the default order."""
        return {self.WATCHED: self.nats(data[:100])[-1]}

    def evaluate(self, data: Any, context: Context) -> Mapping[str, float]:
        """Nats per note by order; and of melodies it makes at each order, how many notes in a row are
        copied from what it heard: the mean over melodies of the longest such run of 64 notes."""
        figures: dict[str, float] = {}
        by_order = self.nats(data[:200], 8)
        for order, nats in enumerate(by_order):
            figures[f"cross_entropy_order_{order}_nats"] = nats
        figures[self.WATCHED] = by_order[4]
        for order in range(1, 9):
            copies = [self._copied(order, context.rng) for _ in range(20)]
            figures[f"longest_copy_order_{order}_notes"] = float(np.mean(copies))
        return figures

    def _copied(self, order: int, rng: np.random.Generator, length: int = 64) -> int:
        made = [END]
        while len(made) <= length:
            made.append(self._next(self.table, made, 4004, min(1, order), order, 1.0, rng))
        longest = 0
        for end in range(1, len(made) + 1):
            suffixes = sum(1 for _ in self.table.heard(made[:end], length))
            longest = max(longest, suffixes - 1)
        return longest

"""DeepHear_M (Sun 2015, "DeepHear: Composing and harmonizing music with neural networks"; Briot et al. 6.4.1).

Four bars go through ever fewer units to sixteen, and from those sixteen the same four bars come out again.
Then the lower half is taken off: any sixteen numbers are four bars of music.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from models import attributes, nets, training, tunes
from models.card import Card, Objective, Param, Representation, Task
from models.representations import melody, note_step, phrase, rewriting
from models.representations.melody import BAR, FIRST, HOLD, REST, Phrases, Tokens
from models.representations.note_step import Column
from models.representations.phrase import Place
from models.score import Key, Notes, UserError
from models.strategies import autoencoding
from models.strategies.improvising import ACCENTS
from models.system import Ask, Context, Progress, Proposal
from models.timebase import SIXTEENTH

CARD = Card(
    id="deep_hear_m",
    name="DeepHear M",
    source="Sun 2015; Briot et al. 6.4.1",
    objective=Objective(type="melody", destination="score", mode="interactive"),
    representation=Representation("melody", steps_per_beat=4, hold=True, encoding="one-hot × 64"),
    architecture="stacked autoencoder (512, 256, 64, 16), weights tied",
    challenges=("ex nihilo", "control", "originality"),
    strategy=("decoder feedforward",),
    tasks=(Task.CREATE,),
    params=(
        Param("surprise", 1.0, 0, 1,
              "How far the dice turn the sixteen units from where you set them; 0: not at all"),
        Param("near", 0.5, 0, 1,
              "0: any code will do, as in the paper; 1: the dice fall as the codes of real tunes do"),
        Param("drift", 0.35, 0, 1, "How far each four bars wander from the first four"),
        Param("lively", True,
              about="Of a few throws of the dice take the one that repeats least; off: the first, as in the paper"),
        Param("close", True, about="Look for a last phrase that ends on the tonic"),
        Param("unit_1", 0.5, 0, 1, "Unit 1 of the code; the same seed with another value bends what it drew"),
        Param("unit_2", 0.5, 0, 1, "Unit 2 of the code"),
        Param("unit_3", 0.5, 0, 1, "Unit 3 of the code"),
        Param("unit_4", 0.5, 0, 1, "Unit 4 of the code"),
        Param("unit_5", 0.5, 0, 1, "Unit 5 of the code"),
        Param("unit_6", 0.5, 0, 1, "Unit 6 of the code"),
        Param("unit_7", 0.5, 0, 1, "Unit 7 of the code"),
        Param("unit_8", 0.5, 0, 1, "Unit 8 of the code"),
        Param("unit_9", 0.5, 0, 1, "Unit 9 of the code"),
        Param("unit_10", 0.5, 0, 1, "Unit 10 of the code"),
        Param("unit_11", 0.5, 0, 1, "Unit 11 of the code"),
        Param("unit_12", 0.5, 0, 1, "Unit 12 of the code"),
        Param("unit_13", 0.5, 0, 1, "Unit 13 of the code"),
        Param("unit_14", 0.5, 0, 1, "Unit 14 of the code"),
        Param("unit_15", 0.5, 0, 1, "Unit 15 of the code"),
        Param("unit_16", 0.5, 0, 1, "Unit 16 of the code"),
    ),
    voices=("melody",),
    listens="Nothing: a code of sixteen numbers, yours or drawn.",
    strengths="Sixteen sliders play: every setting is four bars of fiddle tune, at once.",
    weaknesses="Half of what it says one tune of its corpus says too; 4/4, and every four bars stand alone.",
    year=2015,
    figure="50 % of its notes are in one learnt phrase too (published: 59.6 %)",
)  # fmt: skip

BARS = 4
STEPS = BARS * BAR
UNITS = 16
COLLECTION = "ryans"
"""The original knew one composer; this one knows one collection, of reels, hornpipes and clogs."""
LOWEST, HIGHEST = 55, 88
"""Pitches, on white keys, that have a unit; phrases that reach beyond move by octaves or are left out."""
KEYS = FIRST + HIGHEST - LOWEST + 1
BATCH = 256
BLUR = 0.1
VALIDATED = 1500
"""Phrases that are measured, at most."""
KNOWN = 4000
"""Phrases of which the spread of codes is taken."""
RANDOM = 100
"""Random codes that are decoded to see how much of them is copied."""
THROWS = 8
"""Of so many throws of the dice the liveliest is taken."""
ENDINGS = 48
"""Codes tried for a last phrase that closes."""
NEVER = 1e-3
"""How near to 0 or 1 a unit comes before its logit counts as at the end."""


@dataclass(frozen=True)
class Shape:
    """Units of the layers above what is heard."""

    first: int = 512
    second: int = 256
    third: int = 64


class Net(nn.Module):
    """The stack, and how the codes of what it has learnt lie: the mean of their logits, and the lower
    triangle that turns white noise into noise as theirs."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        sizes = (STEPS * KEYS, shape.first, shape.second, shape.third, UNITS)
        self.stack = autoencoding.Stack(sizes, KEYS)
        self.middle = nn.Parameter(torch.zeros(UNITS), requires_grad=False)
        self.spread = nn.Parameter(torch.eye(UNITS), requires_grad=False)


def own(phrases: Phrases) -> Phrases:
    """Phrases but for those of the bundled collections it does not know."""
    others = set(tunes.BUNDLED) - {COLLECTION}
    out = np.array([name.partition("/")[0] in others for name in phrases.names], bool)
    return phrases.where(~out[phrases.tune])


def sameness(tokens: Tokens) -> npt.NDArray[np.float64]:
    """[N] the share of notes of phrases [N, T] that have the pitch of the note before; 1 where there are
    hardly any notes."""
    found = np.ones(len(tokens))
    for i, row in enumerate(tokens):
        pitch = row[row >= FIRST].astype(np.int64)
        if len(pitch) > 2 * BARS:
            found[i] = (np.diff(pitch) == 0).mean()
    return found


def white(phrases: Phrases) -> tuple[Tokens, Any]:
    """Tokens [N, 64] of phrases on white keys, numbered from LOWEST on, and which ones fit [N]."""
    shift = np.array([note_step.to_white_keys(int(s)) for s in phrases.sharps], np.int64)
    sounds = phrases.tokens >= FIRST
    pitch = melody.pitch(phrases.tokens) + shift[:, None]
    low, high = np.where(sounds, pitch, 127).min(-1), np.where(sounds, pitch, 0).max(-1)
    octave = np.zeros(len(pitch), np.int64)
    for by in (-12, 12):
        better = (low + by >= LOWEST) & (high + by <= HIGHEST)
        octave = np.where(((low < LOWEST) | (high > HIGHEST)) & better, by, octave)
    fits = (low + octave >= LOWEST) & (high + octave <= HIGHEST)
    out = np.where(sounds, pitch + octave[:, None] - LOWEST + FIRST, phrases.tokens)
    return out[fits].astype(np.uint8), fits


def copied(made: Tokens, known: Tokens) -> npt.NDArray[np.float64]:
    """[N] the share of the notes of phrases [N, T] that the one phrase of `known` [M, T] which has most of
    them has too, at the same step."""
    best = np.zeros(len(made))
    for i, tokens in enumerate(made):
        at = np.flatnonzero(tokens >= FIRST)
        if len(at):
            best[i] = (known[:, at] == tokens[at]).mean(-1).max()
    return best


class System:
    """DeepHear_M with its weights on a device."""

    card: ClassVar[Card] = CARD
    PLAN: ClassVar[dict[str, float]] = {"rate": 3e-3, "decay": 0.0, "average": 0.99}
    WATCHED: ClassVar[str] = "reconstruction_nats"

    def __init__(self, net: Net, device: str) -> None:
        self.net = net.to(device)
        self.device = device
        self.bars = BARS
        self._known: Tensor | None = None

    @staticmethod
    def corpus(source: training.Source) -> training.Corpus:
        """Four-bar phrases: of the collection, of that and a folder, or of scores alone."""
        found = training.phrases(source, BARS)
        name = found.name
        if source is None or isinstance(source, Path):
            name = "Ryan's Mammoth Collection (with music21)"
            name += f" and {source.name}" if source else ""
        return replace(found, train=own(found.train), valid=own(found.valid), name=name)

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
        if self._known is not None:
            self._survey(self._known)
        nets.save(self.net, path, card, bits=8)

    def _survey(self, known: Tensor) -> None:
        """Measures how the codes of phrases [N, T] lie."""
        with torch.no_grad():
            logits = torch.logit(self.net.stack.encode(known), NEVER).double().cpu()
            self.net.middle.copy_(logits.mean(0))
            spread = torch.cov(logits.T) + 1e-3 * torch.eye(UNITS)
            self.net.spread.copy_(torch.linalg.cholesky(spread))

    def decode(self, z: npt.NDArray[Any]) -> Tokens:
        """Codes [..., 16] → the likeliest tokens [..., 64], numbered as everywhere."""
        flat = torch.from_numpy(z.reshape(-1, UNITS).astype(np.float32)).to(self.device)
        with torch.inference_mode():
            said = self.net.stack.decode(flat).view(-1, STEPS, KEYS).argmax(-1).cpu().numpy()
        out = np.where(said >= FIRST, said + LOWEST - melody.LOWEST, said).astype(np.uint8)
        return melody.repaired(out.reshape(*z.shape[:-1], STEPS))

    def draw(self, rng: np.random.Generator, near: float, *shape: int) -> npt.NDArray[Any]:
        """Codes [*shape, 16], 0–1: anything at 0 `near`, as the corpus has them at 1."""
        anything = rng.random((*shape, UNITS))
        middle, spread = (p.double().cpu().numpy() for p in (self.net.middle, self.net.spread))
        logits = middle + rng.standard_normal((*shape, UNITS)) @ spread.T
        alike = 1 / (1 + np.exp(-logits))
        return np.asarray((1 - near) * anything + near * alike)

    def throw(
        self, rng: np.random.Generator, near: float, lively: bool, count: int
    ) -> npt.NDArray[Any]:
        """Codes [count, 16] as `draw` has them, each if `lively` the one of THROWS that repeats least."""
        if not lively:
            return self.draw(rng, near, count)
        codes = self.draw(rng, near, count * THROWS)
        cost = sameness(self.decode(codes)).reshape(count, THROWS)
        return np.asarray(codes.reshape(count, THROWS, UNITS)[np.arange(count), cost.argmin(1)])

    def generate(self, ask: Ask, context: Context) -> Iterator[Proposal | Progress]:
        """Plays the code that sliders and dice make, and others near it; one proposal, final, for every
        candidate."""
        if ask.task is not Task.CREATE:
            raise UserError(f"DeepHear M cannot {ask.task}; it can create.")
        values: dict[str, Any] = dict(CARD.values(ask.params))
        place = phrase.clear(ask.score, ask.region, CARD.name)
        yield Progress(0.0, "Decoding")
        for k in range(ask.count):
            # Sliders alone say one thing; what else they might have meant lies around it.
            least = 0.2 if k else 0.0
            turned = {**values, "surprise": max(values["surprise"], least)}
            yield self._proposal(ask, k, place, self._drawn(place, turned, context), values)

    def _drawn(self, place: Place, values: Mapping[str, Any], context: Context) -> Tokens:
        """Tokens [N − 1 + ENDINGS, 64]: every four bars of a place, and of the last ones several."""
        rng, near = context.rng, values["near"]
        slider = np.array([values[f"unit_{u + 1}"] for u in range(UNITS)])
        windows = -(-place.steps // STEPS)
        thrown = self.throw(rng, near, values["lively"], 1)[0]
        first = slider + values["surprise"] * (thrown - 0.5)
        around = values["drift"] * (self.draw(rng, near, windows - 1 + ENDINGS) - 0.5)
        around[0] = 0
        if windows == 1 and not values["surprise"]:
            around[:] = 0
        return self.decode(np.clip(first + around, 0, 1))

    def _proposal(
        self, ask: Ask, k: int, place: Place, drawn: Tokens, values: Mapping[str, Any]
    ) -> Proposal:
        """Candidate `k` from tokens as `_drawn` says, of the last ones some that close."""
        score = ask.score
        sounding = Notes.concatenate(
            t.notes.with_(id=10**9 * i + np.arange(len(t.notes)))
            for i, t in enumerate(score.tracks)
            if t.channel != phrase.DRUMS
        )
        key = score.key_at(place.start)
        if key:
            sharps, minor = key.sharps, key.minor
        else:
            pitch = sounding.pitch.astype(np.int64)
            sharps = note_step.signature(pitch, sounding.duration) if len(sounding) else 0
            minor = bool(attributes.key(drawn[:1])[1][0])
        before = len(drawn) - ENDINGS
        left = place.steps - before * STEPS
        last = 0
        if values["close"]:
            tonic = 9 if minor else 0
            last = int(np.argmin([openness(t[:left], tonic) for t in drawn[before:]]))
        tokens = np.concatenate([*drawn[:before], drawn[before + last]])[: place.steps]
        heard = melody.pitch(tokens)
        heard = heard[heard >= 0] - note_step.to_white_keys(sharps)
        own = place.track.notes
        middle = np.median(own.pitch) if len(own) else note_step.MIDDLE
        octave = 12 * round(float(middle - heard.mean()) / 12) if len(heard) else 0
        loud = int(np.median(own.velocity)) if len(own) else 80

        def velocity(tick: int) -> int:
            return int(np.clip(loud + ACCENTS[tick // SIXTEENTH % BAR], 1, 127))

        line = phrase.made(tokens, velocity, note_step.to_white_keys(sharps) - octave)
        track = place.track.with_notes(rewriting.write(phrase.laid(line, place), tokens, place))
        keys = () if score.keys or score.length else (Key(0, 0, minor),)
        return Proposal(k, place.region, (track,), final=True, keys=keys)

    def train(
        self, corpus: Any, context: Context, fit: training.Fit | None = None
    ) -> Iterator[Mapping[str, float]]:
        """Learns the phrases of `corpus.train` for ever: one update before each yield. Close it to stop."""
        fit = fit or training.Fit(self.net, training.Plan(minutes=2.0))
        tokens, _ = white(corpus.train)
        if not len(tokens):
            raise UserError("The corpus has no four bars within three octaves; add tunes.")
        known = torch.from_numpy(tokens.astype(np.int64)).to(self.device)
        self._known = known[:: -(-len(known) // KNOWN)]

        def draw() -> Tensor:
            return known[torch.from_numpy(context.rng.integers(len(known), size=BATCH))]

        yield from autoencoding.train(self.net.stack, draw, fit, BLUR)

    def watch(self, data: Any, context: Context) -> Mapping[str, float]:
        """Nats of up to VALIDATED phrases given their codes, and the shares of steps, and of notes, that come
        back."""
        tokens, _ = white(data)
        picked = np.linspace(0, len(tokens) - 1, min(len(tokens), VALIDATED)).astype(int)
        x = torch.from_numpy(tokens[picked].astype(np.int64)).to(self.device)
        with torch.no_grad():
            said = self.net.stack.decode(self.net.stack.encode(x))
            nats = float(self.net.stack.nats(said, x).mean())
        right = said.view(len(x), STEPS, KEYS).argmax(-1) == x
        return {
            "reconstruction_nats": nats,
            "accuracy_reconstruction": float(right.float().mean()),
            "accuracy_notes": float(right[x >= FIRST].float().mean()),
        }

    def evaluate(self, data: Any, context: Context) -> Mapping[str, float]:
        """What `watch` says, and of RANDOM phrases the share of notes that one phrase of the collection has
        too (copied), the share that repeats the note before, and their number: of codes as the card throws
        them, of any codes, of codes as the corpus has them, and of phrases that it has not heard."""
        learnt, _ = white(self.corpus(None).train)
        data = own(data)
        held, _ = white(data)
        some = context.rng.permutation(len(held))[:RANDOM]
        usual: dict[str, Any] = dict(CARD.values())
        shown: dict[str, Tokens] = {"held_out": held[some]}
        for name, near, lively in (
            ("usual", usual["near"], usual["lively"]),
            ("any_code", 0.0, False),
            ("near_code", 1.0, False),
        ):
            tokens = self.decode(self.throw(context.rng, near, lively, RANDOM)).astype(np.int64)
            moved = np.where(tokens >= FIRST, tokens + melody.LOWEST - LOWEST, tokens)
            shown[name] = moved.astype(np.uint8)
        figures = dict(self.watch(data, context))
        for name, phrases in shown.items():
            figures[f"copied_{name}"] = float(copied(phrases, learnt).mean())
            figures[f"repeated_{name}"] = float(sameness(phrases).mean())
            figures[f"notes_{name}"] = float((phrases >= FIRST).sum(-1).mean())
        return figures


def openness(tokens: Tokens, tonic: int) -> float:
    """How little a phrase [T] on white keys is an end: its last note is another than the tonic, is short, or
    comes by a leap."""
    at: Column = np.flatnonzero(tokens >= FIRST)
    if len(at) <= len(tokens) // BAR:
        return 10.0
    pitch = melody.pitch(tokens[at])
    away = int(pitch[-1] - tonic) % 12
    held = int((tokens[at[-1] :] == HOLD).sum()) + 1
    cost = {0: 0.0, 7: 0.6}.get(away, 1.0) + (0.0 if held >= BAR // 4 else 0.3)
    cost += 0.3 * bool((tokens[-BAR // 4 :] == REST).any())
    return cost + 0.03 * max(0, abs(int(pitch[-1] - pitch[-2])) - 5)

"""DeepHear_C (Sun 2015, "DeepHear: Composing and harmonizing music with neural networks"; Briot et al. 6.10.4).

The same stacked autoencoder, which knows four bars of polyphony, is made to harmonise a melody it was never
asked about: from some code on, gradient descent turns the sixteen units until what they decode to has the
melody's notes in it. What else it has in it is the harmony.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from models import nets, training
from models.card import Card, Objective, Param, Representation, Task
from models.representations import note_step, phrase, pianoroll
from models.representations.pianoroll import PITCHES, Keys, Roll, Seat
from models.score import Track, UserError
from models.strategies import autoencoding, harmonising
from models.strategies.harmonising import HARSH
from models.system import Ask, Context, Progress, Proposal
from models.timebase import PPQ

CARD = Card(
    id="deep_hear_c",
    name="DeepHear C",
    source="Sun 2015; Briot et al. 6.10.4",
    objective=Objective(type="counterpoint", destination="score", mode="interactive"),
    representation=Representation("pianoroll", steps_per_beat=2, hold=False, encoding="many-hot × 32"),
    architecture="stacked autoencoder (512, 256, 64, 16), weights tied",
    challenges=("control", "melody-harmony consistency"),
    strategy=("input manipulation: gradient descent on the code",),
    tasks=(Task.ACCOMPANY,),
    params=(
        Param("objective", "melody",
              about="melody: find bars that have its notes in them, as in the paper; consonance: bars that "
              "clash with none of them in any octave, too",
              choices=("melody", "consonance")),
        Param("start", "known", about="Where the descent starts: from a random code, as in the paper, or from "
              "codes of the bars it knows that fit best", choices=("known", "random")),
        Param("iterations", 60, 0, 1000, "Steps down from there"),
        Param("voices", 3, 1, 5, "The most notes at a time beside the melody"),
        Param("pace", "quarter", about="How often the harmony may change; eighth: as it is decoded",
              choices=("eighth", "quarter", "half")),
        Param("apart", 3, 1, 12, "Semitones that the harmony keeps from the melody; 1: as it is decoded"),
        Param("below", True, about="Keep under the melody"),
        Param("threshold", 0.5, 0.1, 0.9, "How sure it must be of a note to write it"),
    ),
    voices=("harmony",),
    listens="A melody in 4/4, or anything else with notes; four bars at a time.",
    strengths="Harmonises what it never learnt to harmonise: a net that remembers chorales is asked which of "
    "them your melody could be from.",
    weaknesses="No voice leading; a melody unlike any chorale gets few or strange chords.",
    year=2015,
    figure="91 % of intervals on the beats consonant; random code 79, Bach 91 %",
)  # fmt: skip

PER_BEAT = 2
"""Chorales move in eighths; the original's rags did in sixteenths."""
BAR = 4 * PER_BEAT
STEPS = 4 * BAR
STEP = PPQ // PER_BEAT
PACES = {"eighth": 1, "quarter": 2, "half": 4}
"""Steps for which the harmony stays."""
STRIDE = 2
"""Bars between windows to learn: about as many, then, as the original had."""
UNITS = 16
LOWEST, HIGHEST = 36, 81
"""Pitches, on white keys, that have a unit; those beyond sound an octave nearer."""
KEYS = HIGHEST - LOWEST + 1
BATCH = 128
BLUR = 0.1
KNOWN = 1024
"""Windows whose codes a descent may start from."""
BASS = 60 - LOWEST
"""The key below which a bass is."""
CENTRE = 70
"""Where the melodies of the corpus lie."""
STRINGS = 48
SOFTER = 12
"""How much less loud than the melody the harmony is."""
RESTARTS = 6
"""Descents side by side, of which the one that ends deepest is taken."""
SHORTLIST = 12
"""Of so many codes that fit best, those to start from are drawn."""
JITTER = 0.5
"""By how much of a logit they are moved, so that every candidate is another."""
RATE = 0.15
REPORT = 10
"""Iterations between two looks at what there is."""
MEASURED = 40
"""Windows that `evaluate` harmonises."""


@dataclass(frozen=True)
class Shape:
    """Units of the layers above what is heard."""

    first: int = 512
    second: int = 256
    third: int = 64


class Net(nn.Module):
    """The stack, and the codes of windows it knows [KNOWN, 16]."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        sizes = (STEPS * KEYS, shape.first, shape.second, shape.third, UNITS)
        self.stack = autoencoding.Stack(sizes)
        self.known = nn.Parameter(torch.full((KNOWN, UNITS), 0.5), requires_grad=False)


def narrowed(sounds: Keys) -> Keys:
    """[..., PITCHES] → [..., KEYS]: what lies beyond sounds as many octaves nearer as it must."""
    out = np.zeros((*sounds.shape[:-1], KEYS), bool)
    for key in range(PITCHES):
        at = key + pianoroll.LOWEST - LOWEST
        at = at % 12 if at < 0 else at if at < KEYS else KEYS - 12 + (at - KEYS) % 12
        out[..., at] |= sounds[..., key]
    return out


def windows(pieces: Sequence[Roll], stride: int = 1) -> Keys:
    """[N, STEPS, KEYS]: four bars in 4/4 of the pieces, beginning at every so many barlines."""
    found = []
    for piece in pieces:
        keys, count = narrowed(piece.sounds), np.arange(STEPS) % BAR
        for start in np.flatnonzero(piece.position % BAR == 0)[::stride]:
            here = slice(int(start), int(start) + STEPS)
            if len(piece) >= here.stop and (piece.position[here] % BAR == count).all():
                found.append(keys[here])
    return np.stack(found) if found else np.zeros((0, STEPS, KEYS), bool)


def top(sounds: Keys) -> Keys:
    """The highest note at each step of [..., KEYS], alone."""
    above = np.flip(np.cumsum(np.flip(sounds, -1), -1), -1)
    return np.asarray(sounds & (above == 1))


class System:
    """DeepHear_C with its weights on a device."""

    card: ClassVar[Card] = CARD
    PLAN: ClassVar[dict[str, float]] = {"rate": 4e-3, "decay": 0.0, "average": 0.99}
    WATCHED: ClassVar[str] = "reconstruction_nats"

    def __init__(self, net: Net, device: str) -> None:
        self.net = net.to(device)
        self.device = device
        self._learnt: Keys | None = None

    @staticmethod
    def corpus(source: training.Source) -> training.Corpus:
        """Piano rolls in eighths: of chorales, of the user's scores, or of a file."""
        return training.rolls(source, PER_BEAT)

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
        if self._learnt is not None:
            some = np.resize(np.linspace(0, len(self._learnt) - 1, KNOWN).astype(int), KNOWN)
            with torch.no_grad():
                self.net.known.copy_(self.net.stack.encode(self._heard(self._learnt[some])))
        nets.save(self.net, path, card, bits=8)

    def _heard(self, keys: Keys) -> Tensor:
        """[N, STEPS, KEYS] as the stack hears it."""
        return torch.from_numpy(keys.reshape(len(keys), -1).astype(np.float32)).to(self.device)

    def said(self, z: Tensor) -> Tensor:
        """Codes [..., 16] → how sure it is of each key [..., STEPS, KEYS], 0–1."""
        logits = self.net.stack.decode(z.reshape(-1, UNITS))
        return torch.sigmoid(logits).view(*z.shape[:-1], STEPS, KEYS)

    def starts(self, target: Tensor, values: Mapping[str, Any], rng: np.random.Generator) -> Tensor:
        """Codes [RESTARTS, N, 16] to start from for targets [N, STEPS, KEYS]."""
        shape = (RESTARTS, len(target), UNITS)
        if values["start"] == "random":
            return torch.from_numpy(rng.random(shape, np.float32)).to(self.device)
        jitter = torch.from_numpy(JITTER * rng.standard_normal(shape, np.float32)).to(self.device)
        with torch.inference_mode():
            said = self.said(self.net.known).flatten(1)  # KNOWN, STEPS × KEYS
            wanted, shunned = target.flatten(1), harmonising.near(target).flatten(1)
            # The paper's error, its squares multiplied out: two products serve all pairs.
            cost = (wanted + shunned) @ (said**2).T - 2 * wanted @ said.T  # N, KNOWN
            best = cost.topk(SHORTLIST, 1, largest=False).indices
        drawn = np.argsort(rng.random((len(target), SHORTLIST)), 1)[:, :RESTARTS]
        picked = best.cpu().gather(1, torch.from_numpy(drawn)).T.to(self.device)  # RESTARTS, N
        return torch.sigmoid(torch.logit(self.net.known[picked].detach(), 1e-3) + jitter)

    def descend(
        self, target: Tensor, values: Mapping[str, Any], rng: np.random.Generator
    ) -> Iterator[tuple[float, Tensor]]:
        """Turns codes until they decode to harmonies of targets [N, STEPS, KEYS]; yields how far it is and how
        sure it is of each key [N, STEPS, KEYS] now and then, at the start and at the end."""
        code = torch.logit(self.starts(target, values, rng), 1e-3).clone().requires_grad_()
        slope, square = torch.zeros_like(code), torch.zeros_like(code)
        for i in range(values["iterations"] + 1):
            said = self.said(torch.sigmoid(code))
            cost = harmonising.error(
                said, target, values["objective"], BASS, PER_BEAT
            )  # RESTARTS, N
            last = i == values["iterations"]
            if last or not i % REPORT:
                best = cost.argmin(0)
                found = said.detach()[best, torch.arange(len(target), device=said.device)]
                yield 1.0 if last else i / values["iterations"], found
            if not last:
                (grad,) = torch.autograd.grad(cost.sum(), code)
                # Adam (Kingma & Ba 2014), written out: torch's own takes a second to be imported.
                slope = torch.lerp(slope, grad, 0.1)
                square = torch.lerp(square, grad**2, 0.001)
                with torch.no_grad():
                    even = (square / (1 - 0.999 ** (i + 1))).sqrt() + 1e-8
                    code -= RATE * slope / (1 - 0.9 ** (i + 1)) / even

    def generate(self, ask: Ask, context: Context) -> Iterator[Proposal | Progress]:
        """Harmonises a melody; proposals grow while the descent goes on."""
        if ask.task is not Task.ACCOMPANY:
            raise UserError(f"DeepHear C cannot {ask.task}; it can accompany.")
        values: dict[str, Any] = dict(CARD.values(ask.params))
        melody = _melody(ask)
        start, bars = phrase.grid(ask.score.meter, ask.region.start, ask.region.end, CARD.name)
        notes = melody.notes.where(melody.notes.sounding(ask.region.start, ask.region.end))
        key = ask.score.key_at(start)
        pitch = notes.pitch.astype(np.int64)
        sharps = key.sharps if key else note_step.signature(pitch, notes.duration)
        shift = note_step.to_white_keys(sharps)
        far = CENTRE - float(np.average(pitch, weights=notes.duration)) - shift
        shift += 12 * round(far / 12)
        count = -(-bars * BAR // STEPS)
        sounds, _ = pianoroll.grid(notes, start, count * STEPS, STEP, shift)
        given = narrowed(sounds).reshape(count, STEPS, KEYS)
        target = torch.from_numpy(given.astype(np.float32)).to(self.device)
        seat = _seat(ask, melody, start, count * STEPS, shift)
        for k in range(ask.count):
            for fraction, said in self.descend(target, values, context.rng):
                keys = harmonising.chosen(said.cpu().numpy(), given, values, PACES[values["pace"]])
                tracks = _written(keys.reshape(-1, KEYS), seat, ask)
                yield Progress((k + fraction) / ask.count, "Descending")
                yield Proposal(k, ask.region, tracks, final=fraction >= 1)

    def train(
        self, corpus: Any, context: Context, fit: training.Fit | None = None
    ) -> Iterator[Mapping[str, float]]:
        """Learns the four bars of `corpus.train` for ever: one update before each yield. Close it to stop."""
        fit = fit or training.Fit(self.net, training.Plan(minutes=2.0))
        learnt = windows(corpus.train, STRIDE)
        if not len(learnt):
            raise UserError("The corpus has no four bars in 4/4; add some.")
        self._learnt = learnt

        def draw() -> Tensor:
            return self._heard(learnt[context.rng.integers(len(learnt), size=BATCH)])

        yield from autoencoding.train(self.net.stack, draw, fit, BLUR)

    def watch(self, data: Any, context: Context) -> Mapping[str, float]:
        """Nats of the windows of pieces given their codes, and how many of their cells come back wrong."""
        x = self._heard(windows(data))
        if not len(x):
            raise UserError("The music has no four bars in 4/4; choose other music.")
        with torch.no_grad():
            said = self.net.stack.decode(self.net.stack.encode(x))
            nats = float(self.net.stack.nats(said, x).mean())
        wrong = float(((said > 0) != (x > 0)).float().sum(1).mean())
        return {
            "reconstruction_nats": nats,
            "wrong_cells": wrong,
            "cells": float(STEPS * KEYS),
            "sounding_cells": float(x.sum(1).mean()),
        }

    def evaluate(self, data: Any, context: Context) -> Mapping[str, float]:
        """What `watch` says, and harmonies to the highest voice of up to MEASURED windows: the share of its
        steps found in the decoding (found), the share of intervals on the beats that are consonant
        (consonant), and notes a step (notes): as the card has it, for the other objective, all as in the paper,
        of random codes without a descent, of other windows of the data, and of the data itself."""
        found = windows(data)
        figures = dict(self.watch(data, context))
        found = found[np.linspace(0, len(found) - 1, min(len(found), MEASURED)).astype(int)]
        given = top(found)
        target = torch.from_numpy(given.astype(np.float32)).to(self.device)
        usual: dict[str, Any] = dict(CARD.values())
        paper = {"start": "random", "pace": "eighth", "apart": 1, "below": False}
        ways: dict[str, dict[str, Any]] = {
            "usual": {},
            "consonance": {"objective": "consonance"},
            "paper": paper,
            "random_code": {"start": "random", "iterations": 0},
        }
        for name, other in ways.items():
            values = {**usual, **other}
            said = np.zeros(0)
            for _, now in self.descend(target, values, context.rng):
                said = now.cpu().numpy()
            figures[f"found_{name}"] = float((said[given] > values["threshold"]).mean())
            made = harmonising.chosen(said, given, values, PACES[values["pace"]])
            figures |= _rates(made, given, name)
        shuffled = np.roll(found & ~given, len(found) // 2, 0)
        figures |= _rates(shuffled & ~given, given, "other_bars")
        return figures | _rates(found & ~given, given, "data")


def _rates(harmony: Keys, given: Keys, name: str) -> dict[str, float]:
    """Of the intervals on the beats between harmony and melody [N, STEPS, KEYS], the share that is consonant;
    and notes of the harmony a step."""
    beats = slice(None, None, PER_BEAT)
    n, t, low = np.nonzero(harmony[:, beats])
    melody: Any = given[:, beats].any(-1)
    sounds = melody[n, t]
    high = given[:, beats].argmax(-1)[n, t]
    interval = ((high - low) % 12)[sounds]
    return {
        f"consonant_{name}": float((~np.isin(interval, HARSH)).mean()) if len(interval) else 0.0,
        f"notes_{name}": float(harmony.sum(-1).mean()),
    }


def _melody(ask: Ask) -> Track:
    """The track to accompany: the one asked for, or the highest that sounds there and is not written."""
    start, end = ask.region.start, ask.region.end
    heard = [
        t
        for t in ask.score.tracks
        if t.channel != phrase.DRUMS
        and t.id not in ask.region.tracks
        and t.notes.sounding(start, end).any()
    ]
    if ask.melody is not None:
        heard = [t for t in heard if t.id == ask.melody]
    if not heard:
        raise UserError("There is no melody to accompany there; mark bars and leave its track out.")

    def height(track: Track) -> float:
        notes = track.notes.where(track.notes.sounding(start, end))
        return float(np.average(notes.pitch, weights=notes.duration))

    return max(heard, key=height)


def _seat(ask: Ask, melody: Track, start: int, steps: int, shift: int) -> Seat:
    """Where the harmony goes: the marked tracks or a new one, a little softer than the melody."""
    seat = pianoroll.seat(ask.score, ask.region, PER_BEAT, 0, name="Harmony", program=STRINGS)
    heard = melody.notes.where(melody.notes.sounding(ask.region.start, ask.region.end))
    loud = max(1, int(np.median(heard.velocity)) - SOFTER)
    nothing = np.zeros((steps, PITCHES), bool)
    empty = Roll("", nothing, nothing, np.arange(steps) % BAR)
    whole = replace(ask.region, start=start, end=start + steps * STEP)
    return replace(
        seat, region=whole, shift=shift, velocity=loud, kept=empty, position=empty.position
    )


def _written(keys: Keys, seat: Seat, ask: Ask) -> tuple[Track, ...]:
    """Keys [T, KEYS] as notes of the seat's tracks, cut at the region's edges and kept off what stays."""
    region = ask.region
    sounds = np.zeros((len(keys), PITCHES), bool)
    sounds[:, LOWEST - pianoroll.LOWEST :][:, :KEYS] = keys
    inside = np.arange(len(keys)) * STEP + seat.region.start
    sounds &= ((inside >= region.start) & (inside < region.end))[:, None]
    found = []
    for track in pianoroll.written(sounds, pianoroll.struck(sounds), seat):
        notes = track.notes
        notes = notes.with_(duration=np.minimum(notes.duration, region.end - notes.onset))
        found.append(track.with_notes(notes))
    return tuple(found)

"""BLSTM chords (Lim, Rhyu & Lee 2017): a chord for every bar of a melody, heard from both sides.

Twelve numbers a bar, the time each pitch class sounds, go through two bidirectional LSTMs to a softmax
over 24 triads. Beside it stands the hidden Markov model that it was measured against, learnt from the same
bars: its chords follow likely chords, but no bar hears more than its neighbours'. Briot et al. 6.8.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models import leadsheets, training, weights
from models.card import Card, Objective, Param, Representation, Task
from models.leadsheets import NO_CHORD, Leadsheet
from models.representations import chords
from models.representations.chords import KINDS, Song
from models.representations.pianoroll import Rolls
from models.score import UserError
from models.strategies import comping
from models.strategies.hmm import Chain, Tagger
from models.system import Ask, Context, Progress, Proposal

CARD = Card(
    id="blstm_chords",
    name="BLSTM chords",
    source="Lim, Rhyu & Lee 2017; Briot et al. 6.8",
    objective=Objective(type="chords", destination="score", mode="autonomous"),
    representation=Representation(
        "chords", steps_per_beat=1, hold=False, encoding="pitch classes of a bar; one-hot chord"
    ),
    architecture="bidirectional LSTM × 2",
    challenges=("control",),
    strategy=("single-step feedforward",),
    tasks=(Task.ACCOMPANY,),
    params=(
        Param("chords", "triads", about="Major and minor triads, as published, or sevenths too",
              choices=("triads", "sevenths")),
        Param("per_bar", 1, 1, 2, "Chords a bar: one, as published, or two"),
        Param("temperature", 0.0, 0, 2,
              "0: the likeliest chord of each bar (further candidates at 0.7); higher: bolder"),
        Param("colour", 0.0, 0, 1, "How far to prefer chords for being rare"),
        Param("cadence", True, about="End on the chord of the key, if the melody's last note allows"),
        Param("voicing", "close", about="Chords near middle C, or with their root in the bass too",
              choices=("close", "bass")),
        Param("rhythm", "held", about="Strike chords when they change, or on every beat",
              choices=("held", "beats")),
        Param("model", "blstm", about="The network, or the hidden Markov model it was to beat",
              choices=("blstm", "hmm")),
    ),
    voices=("chords",),
    listens="A melody, one note at a time, in any metre and key.",
    strengths="Harmonises a whole song at once, each chord knowing what comes before and after.",
    weaknesses="Loves the tonic and the dominant; hears no rhythm, and knows old popular songs best.",
    year=2017,
    figure="49.2 % of unseen bars' chords; the best Markov model 43.7 %",
)  # fmt: skip

BATCH = 32
WINDOWS = (8, 16, 32)
"""Bars at a time that it learns from."""
FREER = 0.7
"""The temperature of further candidates where the first is the likeliest."""
VARIANTS = tuple((kind, per_bar) for per_bar in (1, 2) for kind in KINDS)
FIRST = "triads", 1
DRAWS = {FIRST: 3.0, ("sevenths", 1): 2.0, ("triads", 2): 1.5, ("sevenths", 2): 1.5}
"""How many notes a bar, or half, counts for in the hidden Markov models; of 1, 1.5, 2 and 3 the best on
validation."""


@dataclass(frozen=True)
class Shape:
    """Units of each direction of each of the two layers, and dropout in training."""

    units: int = 128
    dropout: float = 0.4


class Reader(nn.Module):
    """Bars, or half bars, of a whole melody to a chord for each, of either vocabulary."""

    def __init__(self, width: int, shape: Shape) -> None:
        super().__init__()
        self.lstm = nn.LSTM(
            width, shape.units, 2, batch_first=True, bidirectional=True, dropout=shape.dropout
        )
        self.dropout = nn.Dropout(shape.dropout)
        self.heads = nn.ModuleDict(
            {name: nn.Linear(2 * shape.units, 12 * len(kinds)) for name, kinds in KINDS.items()}
        )

    def forward(self, heard: Tensor) -> dict[str, Tensor]:
        """heard [B, T, width] → logits [B, T, 24] and [B, T, 96] by vocabulary"""
        state = self.dropout(self.lstm(heard)[0])  # B, T, 2 × units
        return {name: head(state) for name, head in self.heads.items()}


class Net(nn.Module):
    """A reader of bars and one of half bars."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.bars = Reader(chords.width(1), shape)
        self.halves = Reader(chords.width(2), shape)

    def forward(self, heard: Tensor, per_bar: int) -> dict[str, Tensor]:
        """heard [B, T, width] → logits [B, T, labels] by vocabulary"""
        reader = self.bars if per_bar == 1 else self.halves
        found: dict[str, Tensor] = reader(heard)
        return found


def called(label: chords.Column, kind: str) -> chords.Column:
    """Labels of sevenths in a vocabulary."""
    return chords.triad(label) if kind == "triads" else label


class System:
    """The network and the hidden Markov models of every variant, and how often each chord was met."""

    card: ClassVar[Card] = CARD
    PLAN: ClassVar[dict[str, float]] = {"rate": 4e-3, "decay": 1e-2, "average": 0.99, "warm_up": 40}
    WATCHED: ClassVar[str] = "cross_entropy_blstm_nats"

    def __init__(self, net: Net, device: str = "cpu") -> None:
        self.net = net.to(device)
        self.device = device
        self.baselines: dict[tuple[str, int], Tagger] = {}

    @staticmethod
    def corpus(source: training.Source) -> training.Corpus:
        """Songs with chords; those of assets/leadsheets_split.json on their sides, of others every tenth
        to validate on. Without a source there are only the bars to test on. UserError when there are none."""
        credit = "OpenEWLD by Federico Simonetta (MIT), public-domain scores"
        if source is None:
            return training.Corpus((), held_out(), "OpenEWLD", "test", credit)
        if isinstance(source, str | Rolls):
            raise UserError("That holds no chords to learn from; name a folder of lead sheets.")
        found = (
            leadsheets.load(source) if isinstance(source, Path) else leadsheets.of_scores(source)
        )
        train, valid = _sides(found)
        if not train and not valid:
            raise UserError(
                "That music has no chords; give MusicXML with chord symbols, or a track of chords."
            )
        report = {
            "songs": len(found),
            "bars_train": sum(map(len, train)),
            "bars_valid": sum(map(len, valid)),
        }
        name = found[0].name.partition("/")[0]
        known = any(chords.key_of(sheet.name) in chords.split()["test"] for sheet in found)
        credit = credit if known else f"{name}: see its own licence"
        return training.Corpus(train, valid, name, "assets/leadsheets_split.json", credit, report)

    @classmethod
    def fresh(cls, device: str = "cpu", shape: Shape | None = None) -> System:
        """An untrained net; torch's random numbers decide its weights."""
        return cls(Net(shape or Shape()), device)

    @classmethod
    def load(cls, path: Path | None = None, device: str = "cpu") -> System:
        """The system with the weights at `path`, or those shipped; UserError when they don't fit."""
        path = path or weights.shipped(CARD.id)
        tensors, card = weights.load(path, CARD.id)
        try:
            net = Net(Shape(**card["shape"]))
        except (KeyError, TypeError, ValueError, RuntimeError):
            raise UserError(f"{path.with_suffix('.json')} does not say the net's shape.") from None
        wanted = {n: tuple(p.shape) for n, p in net.named_parameters()}
        for kind, per_bar in VARIANTS:
            tables = Tagger.shapes(12 * len(KINDS[kind]), 12)
            wanted |= {f"hmm.{kind}.{per_bar}.{n}": shape for n, shape in tables.items()}
        weights.check(path, tensors, wanted)
        system = cls(net, device)
        with torch.no_grad():
            for name, parameter in net.named_parameters():
                parameter.copy_(torch.from_numpy(tensors[name].astype(np.float32)))
        for kind, per_bar in VARIANTS:
            prefix = f"hmm.{kind}.{per_bar}."
            own = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
            system.baselines[kind, per_bar] = Tagger.of(own, DRAWS[kind, per_bar])
        net.eval()
        return system

    def save(self, path: Path, card: Mapping[str, Any]) -> None:
        """Writes the weights in half precision, the hidden Markov models, and `card` with the net's shape."""
        tensors: dict[str, weights.Array] = {
            n: p.detach().cpu().numpy().astype(np.float16) for n, p in self.net.named_parameters()
        }
        for (kind, per_bar), baseline in self.baselines.items():
            for name, table in baseline.tensors().items():
                tensors[f"hmm.{kind}.{per_bar}.{name}"] = table.astype(np.float32)
        weights.save(path, tensors, {**card, "shape": asdict(self.net.shape)})

    def generate(self, ask: Ask, context: Context) -> Iterator[Proposal | Progress]:
        """Puts chords under a melody, at once; every candidate is final."""
        if ask.task is not Task.ACCOMPANY:
            raise UserError(f"BLSTM chords cannot {ask.task}; it can accompany.")
        values: dict[str, Any] = dict(CARD.values(ask.params))
        stage = comping.stage(ask)
        yield Progress(0.0, "Listening to the melody")
        kind, per_bar = values["chords"], values["per_bar"]
        own = slice(stage.begin, stage.finish)
        heard = chords.vectors(stage.ticks[own], stage.length[own], per_bar)
        baseline = self.baselines[kind, per_bar]
        if values["model"] == "hmm":
            log = baseline.draws.log(heard[:, :12])
        else:
            log = self.log_odds(heard, kind, per_bar)
        log = log - values["colour"] * baseline.share
        log = np.where(comping.allowed(stage, log.shape[1], per_bar, values["cadence"]), log, -1e9)
        wanted = slice((stage.first - stage.begin) * per_bar, (stage.last - stage.begin) * per_bar)
        seen: set[bytes] = set()
        for k in range(ask.count):
            heat = values["temperature"] or (FREER if k else 0.0)
            for _ in range(8):  # candidates are to differ, and a sure one only does when hotter
                uniform = context.rng.random(len(log))
                chain = baseline.chain if values["model"] == "hmm" else None
                labels = chosen(log, chain, heat, uniform)[wanted]
                if labels.tobytes() not in seen:
                    break
                heat = 1.3 * heat + 0.1
            seen.add(labels.tobytes())
            track = comping.written(
                stage, labels, per_bar, ask.region, values["rhythm"], values["voicing"]
            )
            yield Proposal(k, ask.region, (track,), final=True)

    def log_odds(self, heard: chords.Vectors, kind: str, per_bar: int) -> weights.Array:
        """[T, labels]: log probabilities of the chords of a whole melody [T, width]."""
        self.net.eval()
        with torch.inference_mode():
            logits = self.net(torch.from_numpy(heard[None]).to(self.device), per_bar)[kind]
            return np.asarray(F.log_softmax(logits[0].double(), -1).cpu().numpy())

    def train(
        self, corpus: Any, context: Context, fit: training.Fit | None = None
    ) -> Iterator[Mapping[str, float]]:
        """Counts for the hidden Markov models, then learns from windows of songs for ever: one update
        before each yield of the loss in nats, a mean of all variants. Close it to stop."""
        fit = fit or training.Fit(self.net, training.Plan(minutes=2.0))
        songs: Sequence[Song] = corpus.train
        if not songs:
            raise UserError(
                "There are no lead sheets to learn from; name a folder of them with --corpus FOLDER."
            )
        for kind, per_bar in VARIANTS:
            units = [song.units(per_bar) for song in songs]
            paths = [called(label, kind) for _, label in units]
            sound = [x[:, :12] for x, _ in units]
            states = 12 * len(KINDS[kind])
            self.baselines[kind, per_bar] = Tagger.fit(sound, paths, states, DRAWS[kind, per_bar])
        rng = context.rng
        bars = np.array([len(s) for s in songs], np.float64)
        self.net.train()
        while True:
            length = int(rng.choice(WINDOWS))
            picked = rng.choice(len(songs), BATCH, p=bars / bars.sum())
            first = [int(rng.integers(max(1, len(songs[i]) - length + 1))) for i in picked]
            losses = []
            for per_bar in (1, 2):
                units = [songs[i].units(per_bar) for i in picked]
                # A song shorter than the window begins again, as songs do.
                steps = [(np.arange(length * per_bar) + per_bar * f) % len(u[1])
                         for f, u in zip(first, units, strict=True)]  # fmt: skip
                heard = np.stack([u[0][at] for u, at in zip(units, steps, strict=True)])
                label = np.stack([u[1][at] for u, at in zip(units, steps, strict=True)])
                with torch.autocast("cpu", torch.bfloat16, enabled=self.device == "cpu"):
                    logits = self.net(torch.from_numpy(heard).to(self.device), per_bar)
                losses += [cross_entropy(logits[kind], called(label, kind)) for kind in KINDS]
            loss = torch.stack(losses).sum()
            yield {"loss_nats": fit.update(loss) / len(losses)}

    def watch(self, data: Any, context: Context) -> Mapping[str, float]:
        """What training is stopped by, the net's nats a chord; and its accuracy on the paper's variant."""
        nats = {}
        right = {}
        for variant in VARIANTS:
            rows, label = self._heard(data, *variant)
            nats[variant] = -float(np.take_along_axis(rows, label[:, None], -1).mean())
            right[variant] = float((rows.argmax(-1) == label).mean())
        return {self.WATCHED: sum(nats.values()) / len(nats), "accuracy_blstm": right[FIRST]}

    def _heard(
        self, songs: Sequence[Song], kind: str, per_bar: int
    ) -> tuple[weights.Array, chords.Column]:
        """The net's log probabilities [N, S] of all chords of some songs, and which they were [N]."""
        units = [song.units(per_bar) for song in songs]
        rows = np.concatenate([self.log_odds(x, kind, per_bar) for x, _ in units])
        label = called(np.concatenate([label for _, label in units]), kind)
        return rows[label != NO_CHORD], label[label != NO_CHORD]

    def evaluate(self, data: Any, context: Context) -> Mapping[str, float]:
        """For each variant: accuracy of the net; of the hidden Markov model by its likeliest path, by its
        likeliest chord for each bar, and with normal distributions; of the commonest chord; the net's
        gain over the best and over the usual path; and nats a chord of net and chain."""
        songs: Sequence[Song] = data
        figures = {"songs": float(len(songs)), "bars": float(sum(map(len, songs)))}
        for kind, per_bar in VARIANTS:
            end = ("_sevenths" if kind == "sevenths" else "") + (
                "_two_a_bar" if per_bar == 2 else ""
            )
            rows, label = self._heard(songs, kind, per_bar)
            model = self.baselines[kind, per_bar]
            paths: list[list[weights.Array]] = [[], [], []]
            for song in songs:
                heard, told = song.units(per_bar)
                notes, normal = model.draws.log(heard[:, :12]), model.normal.log(heard[:, :12])
                known = told != NO_CHORD
                paths[0].append(model.chain.viterbi(notes)[known])
                paths[1].append(model.chain.viterbi(normal)[known])
                paths[2].append(model.chain.posterior(notes)[known])
            path, usual, likely = map(np.concatenate, paths)
            net, hmm = float((rows.argmax(-1) == label).mean()), float((path == label).mean())
            normal_hmm = float((usual == label).mean())
            nats = [
                -float(np.take_along_axis(p, label[:, None], -1).mean()) for p in (rows, likely)
            ]
            figures |= {
                f"accuracy_blstm{end}": net,
                f"accuracy_hmm{end}": hmm,
                f"accuracy_hmm_bar_by_bar{end}": float((likely.argmax(-1) == label).mean()),
                f"accuracy_hmm_normal{end}": normal_hmm,
                f"accuracy_commonest{end}": float((label == model.share.argmax()).mean()),
                f"gain_over_hmm{end}_percent": 100 * (net / max(hmm, 1e-9) - 1),
                f"gain_over_hmm_normal{end}_percent": 100 * (net / max(normal_hmm, 1e-9) - 1),
                f"cross_entropy_blstm{end}_nats": nats[0],
                f"cross_entropy_hmm{end}_nats": nats[1],
            }
        return figures


def chosen(
    log: weights.Array, chain: Chain | None, temperature: float, uniform: weights.Array
) -> chords.Column:
    """[T] labels by log probabilities [T, S], each for itself or as links of a chain: the likeliest at
    temperature 0, else drawn by uniform numbers [T]."""
    if temperature == 0:
        return log.argmax(-1) if chain is None else chain.viterbi(log)
    if chain is not None:
        cooled = Chain(chain.initial / temperature, chain.transition / temperature)
        return cooled.draw(log / temperature, uniform)
    odds = np.exp((log - log.max(-1, keepdims=True)) / temperature).cumsum(-1)
    return np.asarray((odds <= uniform[:, None] * odds[:, -1:]).sum(-1))


def cross_entropy(logits: Tensor, label: chords.Column) -> Tensor:
    """Mean nats of labels [B, T] under logits [B, T, S], unknown ones left out."""
    target = torch.from_numpy(label).to(logits.device)
    return F.cross_entropy(logits.float().flatten(0, 1), target.flatten(), ignore_index=NO_CHORD)


def held_out() -> list[Song]:
    """The bars to test on that come with the program."""
    with resources.as_file(resources.files("assets") / "leadsheets_test.npz") as path:
        return chords.read(path)


def _sides(sheets: Sequence[Leadsheet]) -> tuple[list[Song], list[Song]]:
    """Songs to train and to validate on, those to test on left out: by the split, or of music that it
    does not know every tenth."""
    songs = [song for song in map(chords.song, sheets) if song is not None]
    names = [chords.key_of(song.name) for song in songs]
    split = chords.split()
    if split["valid"].isdisjoint(names):
        split = {"valid": frozenset(names[::10]), "test": frozenset()}
    aside = split["valid"] | split["test"]
    train = [s for s, name in zip(songs, names, strict=True) if name not in aside]
    return train, [s for s, name in zip(songs, names, strict=True) if name in split["valid"]]

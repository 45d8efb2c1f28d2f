"""Blues_MC (Eck & Schmidhuber 2002): an LSTM that improvises over the twelve-bar blues whose time it keeps.

Memory blocks for the chords unroll the form; blocks for the melody hear them, and never the other way round, so
that whatever is improvised the form stays. Briot et al. 6.5.1.

Beside the paper: the chord blocks are a step ahead, so that a melody knows the chord it is to fit, one played
by somebody else too; a unit's probability is taken for a share to draw from; melodies have eighths and rests
besides quarters; learnt by gradients through whole choruses.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models import nets, training, tunes
from models.card import Card, Objective, Param, Representation, Task
from models.representations import blues, blues_stage
from models.representations.blues import BAR, CHORD, FORM, MELODY, REST, Choruses, Flags, Ints
from models.representations.blues_stage import UNKNOWN, Stage
from models.score import Track, UserError
from models.strategies.block_lstm import BlockLSTM, State, Stepper
from models.strategies.stepping import HALF
from models.system import Ask, Context, Progress, Proposal

CARD = Card(
    id="blues_mc",
    name="Blues_MC",
    source="Eck & Schmidhuber 2002; Briot et al. 6.5.1",
    objective=Objective(type="melody and chords", destination="score", mode="interactive"),
    representation=Representation(
        "blues", steps_per_beat=2, hold=False, encoding="many-hot, 12 chord and 13 melody units"
    ),
    architecture="LSTM, 16 chord blocks → 16 melody blocks of 2 cells, one way only",
    challenges=("structure", "interactivity", "incrementality"),
    strategy=("iterative feedforward", "sampling"),
    tasks=(Task.CREATE, Task.CONTINUE, Task.ACCOMPANY, Task.REGENERATE),
    params=(
        Param("temperature", 0.8, 0, 2, "How freely the melody is drawn; 0 plays the likeliest"),
        Param("swing", 0, 0, 240,
              "How late the eighths off the beat come, in ticks: 160 is a shuffle of 2 to 1"),
        Param("form", "bebop", about="The progression, unless there are chords to go by",
              choices=("bebop", "plain")),
        Param("key", "score", about="The score's key, or another",
              choices=("score", "C", "D-flat", "D", "E-flat", "E", "F", "G-flat", "G", "A-flat", "A",
                       "B-flat", "B")),
        Param("comping", "held", about="How the chords are struck",
              choices=("held", "quarters", "charleston", "mixed"),
              tasks=(Task.CREATE, Task.CONTINUE)),
        Param("sevenths", True, about="With sevenths and sixths, or plain triads",
              tasks=(Task.CREATE, Task.CONTINUE)),
        Param("register", 48, 24, 84, "The lowest note of the octave the chords lie in, as in MIDI",
              tasks=(Task.CREATE, Task.CONTINUE)),
        Param("ending", True, about="Close on the tonic instead of turning around",
              tasks=(Task.CREATE,)),
    ),
    voices=("chords", "melody"),
    listens="A track of chords, a twelve-bar blues best of all.",
    strengths="Solos in the scale of each chord, in eighths and phrases, over its form or your chords.",
    weaknesses="One octave, no triplets, no motif kept; less sure over chords that are not its forms'.",
    year=2002,
    figure="96 of 96 chord steps; 1.63 nats a step on held-out melodies",
)  # fmt: skip

BATCH = 8
CHORUSES = 2
"""Times through the form between two updates."""
GOES_ON = 0.75
"""How often a training sequence goes on where the last one ended, instead of at a beginning."""
STRAY = 0.25
"""The share of training sequences that are not on the form, as far as there are any."""
CYCLES = 10
"""Choruses that must come out right."""
_UNITS = blues.one_hot(np.append(np.arange(MELODY), REST))  # REST is the last one, −1


@dataclass(frozen=True)
class Shape:
    """Memory blocks for chords and for melody, and cells in each."""

    chord_blocks: int = 16
    melody_blocks: int = 16
    cells: int = 2


class Net(nn.Module):
    """One eighth after another: chords [B, T, CHORD] to the logits of the next; with them the melody so far
    to the logits of the melody. `form` [2, FORM, CHORD] is what it has learnt, kept with the weights."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.chords = BlockLSTM(CHORD, shape.chord_blocks, shape.cells)
        self.melody = BlockLSTM(MELODY + self.chords.units, shape.melody_blocks, shape.cells)
        self.chord_output = nn.Linear(self.chords.units + CHORD, CHORD)
        self.melody_output = nn.Linear(self.melody.units + MELODY, MELODY)
        self.form = nn.Parameter(torch.zeros(len(blues.FORMS), FORM, CHORD), requires_grad=False)

    def forward(
        self, chord: Tensor, before: Tensor, state: tuple[State | None, State | None]
    ) -> tuple[Tensor, Tensor, tuple[State, State]]:
        """chord [B, T, CHORD] and the melody a step `before` [B, T, MELODY] → logits of the next chord
        [B, T, CHORD] and of the melody now [B, T, MELODY], and the blocks' state"""
        harmony, chords = self.chords(chord, state[0])
        # As in the paper's learning, what a melody gets wrong is no business of the chords' blocks.
        hidden, melody = self.melody(torch.cat([before, harmony.detach()], -1), state[1])
        follows = self.chord_output(torch.cat([harmony, chord], -1))
        return follows, self.melody_output(torch.cat([hidden, before], -1)), (chords, melody)


class Player:
    """The net, an eighth at a time."""

    def __init__(self, net: Net) -> None:
        self._chords, self._melody = Stepper(net.chords), Stepper(net.melody)
        chords, melody = net.chords.units, net.melody.units
        with torch.no_grad():
            # What a stepper has at hand is what it heard, then what its cells put out.
            weight = net.chord_output.weight.T
            self._chord = torch.cat([weight[chords:], weight[:chords]]).contiguous().numpy()
            self._bar = -net.chord_output.bias.numpy()
            # Halved: σ(x) = ½ + ½ tanh(x / 2).
            weight = net.melody_output.weight.T / 2
            parts = [weight[melody:], torch.zeros(chords, MELODY), weight[:melody]]
            self._unit = torch.cat(parts).contiguous().numpy()
            self._bias = net.melody_output.bias.numpy() / 2

    def twin(self) -> Player:
        """Another one that goes on from here on its own."""
        twin = copy(self)
        twin._chords, twin._melody = self._chords.twin(), self._melody.twin()
        return twin

    def __call__(self, chord: Flags, before: int) -> tuple[Flags, npt.NDArray[np.float32]]:
        """The chord [CHORD] after this one, and [MELODY] how likely each unit is now, `before` having been
        the melody's unit a step ago."""
        chords, melody = self._chords, self._melody
        np.copyto(chords.heard, chord)
        melody.heard[:MELODY] = _UNITS[before]
        melody.heard[MELODY:] = chords.step()
        melody.step()
        follows = (chords.inputs @ self._chord)[0] > self._bar
        likely = (melody.inputs @ self._unit)[0]
        np.add(likely, self._bias, likely)
        np.tanh(likely, likely)
        np.multiply(likely, HALF, likely)
        np.add(likely, HALF, likely)
        return follows, likely


def drawn(likely: npt.NDArray[np.float32], temperature: float, noise: float) -> int:
    """A unit or REST: each unit as often as it is likely, silence with what is left. `noise` is uniform."""
    shares: list[float] = likely.tolist()  # so few that numpy would take longer
    shares.append(max(1e-6, 1 - sum(shares)))
    most = max(shares)
    if temperature <= 0:
        unit = shares.index(most)
    else:
        sums = list(accumulate((share / most) ** (1 / temperature) for share in shares))
        unit = min(bisect_right(sums, noise * sums[-1]), MELODY)
    return REST if unit == MELODY else unit


class System:
    """Blues_MC with its weights."""

    card: ClassVar[Card] = CARD
    PLAN: ClassVar[dict[str, float]] = {"rate": 1e-2, "decay": 0.0, "average": 0.99}
    WATCHED: ClassVar[str] = "melody_nats_and_steps_wrong"

    def __init__(self, net: Net) -> None:
        self.net = net

    @staticmethod
    def corpus(source: training.Source) -> training.Corpus:
        """Choruses composed by rule, over the forms and beside them; those of a folder with them, or those of
        a user's scores alone."""
        if isinstance(source, Sequence) and not isinstance(source, str):
            own = blues_stage.gathered([score for _, score in source], needs_melody=True)
            held = np.arange(len(own)) % 10 == 0
            learn = own.where(~held) if len(own) > 1 else own
            name = "the user's own"
            return training.Corpus(learn, own.where(held), name, "every tenth to validate", name)
        train, name = [blues.made(1, 768), blues.wandering(2, 256)], "choruses composed by rule"
        if isinstance(source, Path):
            found = [t for t in tunes.load(folder=source) if t.collection == source.name]
            scores = [blues_stage.of_tune(tune) for tune in found]
            train.append(blues_stage.gathered(scores, needs_melody=True))
            name += f", and {source.name}"
        elif source is not None:
            raise UserError("The blues is learnt from scores; name a folder of them.")
        return training.Corpus(
            blues.joined(train),
            blues.made(3, 64),
            name,
            "another seed to validate",
            "nobody's melodies",
        )

    @classmethod
    def fresh(cls, device: str = "cpu", shape: Shape | None = None) -> System:
        """An untrained net; torch's random numbers decide its weights."""
        return cls(Net(shape or Shape()))

    @classmethod
    def load(cls, path: Path | None = None, device: str = "cpu") -> System:
        """Blues_MC with the weights at `path`, or those shipped; UserError when they don't fit."""
        return cls(nets.load(path, CARD.id, Shape, Net))

    def save(self, path: Path, card: Mapping[str, Any]) -> None:
        """Writes weights and `card`, with the net's shape."""
        nets.save(self.net, path, card)

    @property
    def forms(self) -> Flags:
        """[2, FORM, CHORD] what it has learnt."""
        return np.asarray(self.net.form.numpy() > 0.5)

    def generate(self, ask: Ask, context: Context) -> Iterator[Proposal | Progress]:
        """Unrolls the form, or follows the chords that stand, and improvises over it."""
        if ask.task not in CARD.tasks:
            raise UserError(
                f"Blues_MC cannot {ask.task}; it can create, continue, accompany and regenerate."
            )
        values = CARD.values(ask.params)
        stage = blues_stage.lay(ask, CARD.name, self.forms, values, both=True)
        yield Progress(0.0, "Listening")
        keys = blues_stage.signature(stage, ask.score)
        player, chord, before = self.heard(stage)
        swing = int(str(values["swing"]))
        closing = blues_stage.closing(stage, ask, values)
        for k in range(ask.count):
            noise = context.rng.random(stage.last - stage.first)
            chords, melody = self.played(
                stage,
                player.twin(),
                chord,
                before,
                float(str(values["temperature"])),
                noise,
                closing,
            )
            tracks: list[Track] = []
            if stage.chords is not None:
                tracks.append(
                    blues_stage.written_chords(stage, chords, values, context.rng, k % 4, closing)
                )
            if stage.melody is not None:
                tracks.append(blues_stage.written_melody(stage, melody, swing))
            yield Proposal(k, ask.region, tuple(tracks), final=True, keys=keys)

    def heard(self, stage: Stage) -> tuple[Player, Flags, int]:
        """The net having heard what is before the region; the chord that it expects next; and the melody's
        last unit."""
        player, chords = Player(self.net), self._standing(stage)
        follows, before = chords[0], REST
        for t in range(stage.first):
            follows, _ = player(chords[t], before)
            before = int(stage.heard[t])
        return player, follows, before

    def _standing(self, stage: Stage) -> Flags:
        """[last, CHORD] the chords that are known: those that stand where there are any in the region, and
        the form where they leave off; else the form before the region, and nothing in it."""
        form: Flags = self.forms[stage.form][np.arange(stage.last) % FORM]
        if stage.given[stage.first :].any():
            return np.asarray(np.where(stage.given.any(-1, keepdims=True), stage.given, form))
        form[stage.first + (stage.first == 0) :] = False
        return form

    def played(
        self,
        stage: Stage,
        player: Player,
        follows: Flags,
        before: int,
        temperature: float,
        noise: npt.NDArray[np.float64],
        closing: int,
    ) -> tuple[Flags, Ints]:
        """Chords [last, CHORD] and melody units [last]: `player` goes on from the chord that `follows` what
        it has heard and the melody's unit `before`, with uniform `noise` for every step of the region; from step `closing`
        on both are the tonic's."""
        known = self._standing(stage)
        melody = stage.heard.copy()
        chords = known.copy()
        chords[closing:] = known[0]
        there = np.asarray(chords.any(-1))
        for t in range(stage.first, stage.last):
            if not there[t]:
                chords[t] = follows
            follows, likely = player(chords[t], before)
            if melody[t] == UNKNOWN and t >= closing:
                melody[t] = final(before) if t < closing + BAR // 2 else REST
            elif melody[t] == UNKNOWN:
                melody[t] = drawn(likely, temperature, float(noise[t - stage.first]))
            before = int(melody[t])
        return chords, melody

    def train(
        self, corpus: Any, context: Context, fit: training.Fit | None = None
    ) -> Iterator[Mapping[str, float]]:
        """Learns the choruses of `corpus.train`, for ever: one update before each yield of the loss in nats a
        step, of chords and melody together. Close it to stop."""
        fit = fit or training.Fit(self.net, training.Plan(minutes=5.0))
        found: Choruses = corpus.train
        forms = blues.commonest(found)
        with torch.no_grad():
            self.net.form.copy_(torch.from_numpy(forms))
        on = [np.flatnonzero((found.chords == form).all((1, 2))) for form in forms]
        stray = np.setdiff1d(np.arange(len(found)), np.concatenate(on))
        free = round(STRAY * BATCH) if len(stray) else 0
        pools = [stray if b < free else on[b % len(on)] for b in range(BATCH)]
        # Beside the form no chord can be foretold.
        weight = torch.from_numpy(np.arange(BATCH) >= free).float()[:, None, None]
        state: tuple[State | None, State | None] = None, None
        while True:
            chosen = np.stack([context.rng.choice(pool, CHORUSES) for pool in pools])
            chord, melody, before = sequences(found, chosen)
            follows, likely, reached = self.net(chord, before, state)
            off = F.binary_cross_entropy_with_logits(
                follows[:, :-1], chord[:, 1:], reduction="none"
            )
            loss = (off * weight).mean() * CHORD
            loss = loss + F.binary_cross_entropy_with_logits(likely, melody) * MELODY
            goes_on = torch.from_numpy(context.rng.random((1, BATCH, 1)) < GOES_ON)
            state = tuple(  # type: ignore[assignment]
                (h.detach() * goes_on, c.detach() * goes_on) for h, c in reached
            )
            yield {"loss_nats": fit.update(loss)}

    def watch(self, data: Any, context: Context) -> Mapping[str, float]:
        """Nats a step of the melodies, and steps of chords that come out wrong in CYCLES choruses from the
        first chord of each form; their sum is watched."""
        nats, _ = self._foretold(data)
        wrong = float(sum((~right).sum() for right in self.rights()))
        return {self.WATCHED: nats + wrong, "melody_nats": nats, "steps_wrong": wrong}

    def _foretold(self, data: Choruses) -> tuple[float, float]:
        """Nats a step of melodies whose past is told, and how often the likeliest unit is right."""
        chord, melody, before = sequences(data, np.arange(len(data))[:, None])
        with torch.inference_mode():
            _, logits, _ = self.net(chord, before, (None, None))
            nats = F.binary_cross_entropy_with_logits(logits, melody) * MELODY
            likely = logits.sigmoid()
        shares = torch.cat([likely, 1 - likely.sum(-1, keepdim=True)], -1)
        truth = torch.where(melody.any(-1), melody.argmax(-1), MELODY)
        return float(nats), float((shares.argmax(-1) == truth).double().mean())

    def rights(self) -> list[Flags]:
        """[CYCLES × FORM] for each form: whether each chord comes out right from the first one alone, with
        whatever is improvised above."""
        found = []
        for form in self.forms:
            player, chord, right = Player(self.net), form[0], np.zeros(CYCLES * FORM, bool)
            for t in range(CYCLES * FORM):
                right[t] = (chord == form[t % FORM]).all()
                chord, _ = player(chord, REST)
            found.append(right)
        return found

    def evaluate(self, data: Any, context: Context) -> Mapping[str, float]:
        """Of each form: steps right of the FORM ones, and choruses right in a row, of CYCLES, from the first
        chord. Nats a step of held-out melodies, and how often the likeliest unit is right. Of improvised
        time, at the usual temperature: the share in the scale of the chord, on the forms and over chords at
        random, and of silence."""
        figures: dict[str, float] = {}
        for name, right in zip(blues.FORMS, self.rights(), strict=True):
            exact = right.reshape(CYCLES, FORM).all(1)
            figures[f"steps_right_of_{FORM}_{name}"] = float(right[:FORM].sum())
            figures[f"choruses_right_in_a_row_{name}"] = float(np.cumprod(exact).sum())
        figures["choruses_tried"] = float(CYCLES)
        figures["melodies"] = float(len(data))
        nats, right_share = self._foretold(data)
        figures["cross_entropy_melody_nats"] = nats
        figures["accuracy_melody"] = right_share
        places = {"form": data.chords, "any_chords": blues.wandering(4, 16).chords}
        for place, chords in places.items():
            made = np.stack([self.improvised(c, context.rng) for c in chords[:16]])
            sung = made != REST
            figures[f"in_scale_{place}"] = float(blues.in_scale(made, chords[:16])[sung].mean())
            figures[f"silent_{place}"] = float(1 - sung.mean())
        return figures

    def improvised(self, chords: Flags, rng: np.random.Generator) -> Ints:
        """A melody [T] over chords [T, CHORD], from nothing, at the usual temperature."""
        temperature = float(str(CARD.values()["temperature"]))
        player, before = Player(self.net), REST
        made = np.full(len(chords), REST, np.int64)
        for t, noise in enumerate(rng.random(len(chords))):
            _, likely = player(chords[t], before)
            made[t] = before = drawn(likely, temperature, float(noise))
        return made


def final(before: int) -> int:
    """The unit of the tonic that is nearer to a unit."""
    return MELODY - 1 if before > MELODY // 2 else 0


def sequences(choruses: Choruses, chosen: Ints) -> tuple[Tensor, Tensor, Tensor]:
    """Chords [B, T, CHORD], the melody [B, T, MELODY] and that of the step before, of some choruses, each row
    of `chosen` [B, N] one after another."""
    units = choruses.melody[chosen].reshape(len(chosen), -1)
    chord = choruses.chords[chosen].reshape(*units.shape, CHORD)
    melody = torch.from_numpy(blues.one_hot(units))
    before = F.pad(melody[:, :-1], (0, 0, 1, 0))
    return torch.from_numpy(chord.astype(np.float32)), melody, before

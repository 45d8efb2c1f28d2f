"""RBM_C (Boulanger-Lewandowski, Bengio & Vincent 2012; Briot et al. 6.4.2): chords, one by one, from a
restricted Boltzmann machine.

It knows which keys of a piano go together and nothing of time. Holding some of them and sampling the rest
completes a chord; starting from one chord and sampling a little gives a neighbour of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from models import nets, training
from models.card import Card, Objective, Param, Representation, Task
from models.representations import around, pianoroll
from models.representations.pianoroll import LOWEST, PITCHES, Column, Roll, Seat
from models.score import Notes, UserError
from models.strategies import rbm
from models.strategies.rbm import Machine
from models.system import Ask, Context, Progress, Proposal

CARD = Card(
    id="rbm_c",
    name="RBM_C",
    source="Boulanger-Lewandowski et al. 2012; Briot et al. 6.4.2",
    objective=Objective(type="chords", destination="score", mode="interactive"),
    representation=Representation(
        "pianoroll", steps_per_beat=1, hold=False, encoding="many-hot"
    ),
    architecture="RBM",
    challenges=("control", "variability"),
    strategy=("sampling: block Gibbs",),
    tasks=(Task.CREATE, Task.ACCOMPANY, Task.REGENERATE),
    params=(
        Param("each", "half", about="How often there is a new chord", choices=("beat", "half", "bar"),
              tasks=(Task.CREATE, Task.ACCOMPANY)),
        Param("change", 0.5, 0, 2, "How far from one chord to the next: 0 hardly, 2 anywhere"),
        Param("sweeps", 20, 2, 500, "Rounds of Gibbs sampling a chord: more is nearer to what it learned"),
        Param("temperature", 0.6, 0.1, 2, "Below 1 the usual colours, above 1 the unusual"),
        Param("notes", (3, 5), 1, 8, "Fewest and most notes of a chord"),
        Param("melody", "top", choices=("top", "anywhere"), tasks=(Task.ACCOMPANY,),
              about="Whether notes may lie above what is accompanied"),
        Param("ties", False, about="Hold notes on that the next chord has too",
              tasks=(Task.CREATE, Task.ACCOMPANY)),
    ),
    voices=("chords",),
    listens="A melody, or any notes that sound in the marked bars; locked notes of a chord stay.",
    strengths="Completes any chord around the notes you hold, and finds colours near the ones you have.",
    weaknesses="Knows nothing of time: no progressions, no rhythm; each chord is on its own.",
    year=2012,
    figure="7.39 ± .02 nats a chord (AIS), held-out chorales",
)  # fmt: skip

PER_BEAT = 1
GRID = 4
"""Steps a quarter on which chords begin and melodies are heard; the machine itself knows no time."""
BATCH = 128
PARTICLES = 256
"""Chains that go on from one update to the next (persistent contrastive divergence, Tieleman 2008)."""
SWEEPS = 5
RESTARTS = 0.05
"""Share of the chains that begin again with the data at an update: sure machines hold chains fast, which
then unlearn the same chords for ever."""
LOOKED_AT = 16
TRIES = 16
"""Chords that are sampled side by side, to choose from."""
FIRST_YIELD = 16
TRIADS = {False: (48, 64, 67), True: (45, 60, 64)}
"""Where a piece closes on white keys, in major and in minor: its bass, and what lies above."""


@dataclass(frozen=True)
class Shape:
    """Hidden units."""

    hidden: int = 150


class Net(nn.Module):
    """One machine."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.weight = nn.Parameter(0.01 * torch.randn(PITCHES, shape.hidden))
        self.visible = nn.Parameter(torch.full((PITCHES,), -3.0))
        self.hidden = nn.Parameter(torch.zeros(shape.hidden))

    def machines(self, count: int) -> Machine:
        """The machine, for so many rows."""
        return Machine(self.weight, self.visible.expand(count, -1), self.hidden.expand(count, -1))


class System:
    """RBM_C with its weights."""

    card: ClassVar[Card] = CARD
    PLAN: ClassVar[dict[str, float]] = {"rate": 1e-2, "decay": 3e-2, "average": 0.995}
    WATCHED: ClassVar[str] = "nats_per_frame_by_frame"

    def __init__(self, net: Net) -> None:
        self.net = net

    @staticmethod
    def corpus(source: training.Source) -> training.Corpus:
        """The piano rolls `source` stands for, quarter by quarter."""
        return training.rolls(source, PER_BEAT)

    @classmethod
    def fresh(cls, device: str = "cpu", shape: Shape | None = None) -> System:
        """An untrained one; torch's random numbers decide its weights."""
        return cls(Net(shape or Shape()))

    @classmethod
    def load(cls, path: Path | None = None, device: str = "cpu") -> System:
        """With the weights at `path`, or those shipped; UserError when they don't fit. It runs on the
        processor, whatever the device: it is too small for any other."""
        return cls(nets.load(path, CARD.id, Shape, Net))

    def save(self, path: Path, card: Mapping[str, Any]) -> None:
        """Writes the weights (in half precision) and `card`, to which the net's shape is added."""
        nets.save(self.net, path, card)

    def generate(self, ask: Ask, context: Context) -> Iterator[Proposal | Progress]:
        """A series of chords, chords under and around a melody, or other colours for those there are."""
        if ask.task not in CARD.tasks:
            raise UserError(f"RBM_C cannot {ask.task}; it can create, accompany and regenerate.")
        values: dict[str, Any] = dict(CARD.values(ask.params))
        if ask.task is Task.ACCOMPANY:
            top = values["melody"] == "top"
            seat, given = around.seat(ask.score, ask.region, ask.melody, GRID, 0, top, "Chords")
        else:
            seat = pianoroll.seat(ask.score, ask.region, GRID, 0, name="Chords")
            given = around.kept(seat)
        there = present(ask, seat)
        if ask.task is Task.REGENERATE:
            starts = verticals(there)
        else:
            starts = pulses(ask, len(seat), seat.step, str(values["each"]))
        yield Progress(0.0, "Sampling")
        key = ask.score.key_at(ask.region.start)
        home = np.zeros(PITCHES, bool)
        home[np.array(TRIADS[key.minor if key else False]) - LOWEST] = True
        closes = ask.task is Task.CREATE and not any(
            (t.notes.onset >= ask.region.end).any() for t in ask.score.tracks
        )
        chords = torch.from_numpy(home).float().expand(ask.count, -1)
        sounds = np.zeros((ask.count, len(seat), PITCHES), bool)
        begins = np.zeros_like(sounds)
        ends = np.append(starts[1:], len(seat))
        for i, (a, b) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
            stays, silent = essential(given, a, b)
            if closes and b == len(seat):
                stays = stays | home
            if ask.task is Task.REGENERATE:
                chords = torch.from_numpy(there.sounds[a]).float().expand(ask.count, -1)
            if ask.task is not Task.REGENERATE or there.sounds[a].any():
                chords = self.chord(chords, stays, silent, values, context.rng)
                # A key that sounds elsewhere in the meantime is left to whoever plays it.
                free = ~given.notes.sounds[a:b].any(0)
                sounds[:, a:b] = (chords.numpy().astype(bool) & free)[:, None]
                begins[:, a] = sounds[:, a]
                if values["ties"] and ask.task is not Task.REGENERATE and a:
                    begins[:, a] &= ~sounds[:, a - 1]
            final = b == len(seat)
            if final or i % FIRST_YIELD == FIRST_YIELD - 1:
                yield Progress(b / len(seat), "Sampling")
                for k in range(ask.count):
                    tracks = pianoroll.written(sounds[k, :b], begins[k, :b], seat.until(b))
                    yield Proposal(k, seat.region, tracks, final=final)

    def chord(
        self,
        chords: Tensor,
        stays: Any,
        silent: Any,
        values: Mapping[str, Any],
        rng: np.random.Generator,
    ) -> Tensor:
        """[N, PITCHES] a chord for each of N before it, in which the keys `stays` [PITCHES] sound and those
        `silent` do not: of TRIES one with as many notes as are wanted, or nearly, and another than before
        if there is one, the likelier the sooner, as the temperature says.

        Half of the sweeps are hotter, as a machine so sure of its chords seldom leaves one otherwise."""
        N = len(chords)
        held = torch.from_numpy(stays | silent).expand(TRIES * N, -1)
        start = torch.where(held, torch.from_numpy(stays).float(), chords.repeat(TRIES, 1))
        least, most = values["notes"]
        sweeps, sharper = values["sweeps"], 1 / values["temperature"] - 1
        with torch.inference_mode():
            machines = self.net.machines(TRIES * N)
            made = rbm.gibbs_of_few(machines, start, sweeps // 2, rng, held, 1 + values["change"])
            made = rbm.gibbs_of_few(machines, made, sweeps - sweeps // 2, rng, held)
            count = made.sum(-1)
            wrong = (least - count).clamp(min=0) + (count - most).clamp(min=0)
            again = (made == start).all(-1)
            luck = -torch.log(-torch.log(rbm.uniform(rng, TRIES * N).clamp(1e-7, 1 - 1e-6)))
            fit = luck - sharper * rbm.free_energy(machines, made) - 1e4 * (2 * wrong + again)
            return made.view(TRIES, N, PITCHES)[fit.view(TRIES, N).argmax(0), torch.arange(N)]

    def train(
        self, corpus: Any, context: Context, fit: training.Fit | None = None
    ) -> Iterator[Mapping[str, float]]:
        """Learns from the frames of `corpus.train` for ever: one update before each yield. Close it to stop.
        `loss_nats` is the pseudo-likelihood of a few frames, always the same, as the likelihood takes too
        long to estimate."""
        fit = fit or training.Fit(self.net, training.Plan(minutes=2.0))
        net, rng = self.net, context.rng
        frames = torch.from_numpy(np.concatenate([p.sounds for p in corpus.train]))
        looked = frames[torch.linspace(0, len(frames) - 1, LOOKED_AT).long()].float()
        dream = frames[torch.from_numpy(rng.integers(0, len(frames), PARTICLES))].float()
        net.train()
        while True:
            v = frames[torch.from_numpy(rng.integers(0, len(frames), BATCH))].float()
            with torch.no_grad():
                shown = rbm.pseudo_nats(net.machines(LOOKED_AT), looked)
                anew = rbm.uniform(rng, PARTICLES) < RESTARTS
                dream[anew] = v[torch.arange(PARTICLES)[anew] % BATCH]
                dream = rbm.gibbs(net.machines(PARTICLES), dream, SWEEPS, rng)
            down = rbm.free_energy(net.machines(BATCH), v).mean()
            fit.update(down - rbm.free_energy(net.machines(PARTICLES), dream).mean())
            yield {"loss_nats": float(shown)}

    def watch(self, data: Any, context: Context) -> Mapping[str, float]:
        """Nats a frame, estimated by annealed importance sampling."""
        return figures(self.net, data, np.random.default_rng(0), chains=100, rungs=300)

    def evaluate(self, data: Any, context: Context) -> Mapping[str, float]:
        """Nats a frame on both averages, estimated by annealed importance sampling, and its error."""
        return figures(self.net, data, context.rng, chains=500, rungs=2000)


def figures(
    net: Net, pieces: Sequence[Roll], rng: np.random.Generator, chains: int, rungs: int
) -> dict[str, float]:
    """Nats a frame of pieces, and the standard error of log Z, which is the same for all frames."""
    with torch.no_grad():
        z = rbm.log_partition(net.machines(1), rng, chains, rungs)
        cost = []
        for piece in pieces:
            v = torch.from_numpy(piece.sounds).float()
            cost.append((rbm.free_energy(net.machines(len(v)), v) + z.value).numpy())
    return {**pianoroll.per_frame(cost), "nats_per_frame_error": float(z.error)}


def present(ask: Ask, seat: Seat) -> Roll:
    """What sounds in the marked bars of the tracks to write. UserError when that is to be recoloured and
    there is nothing."""
    named = [t for t in ask.score.tracks if t.id in seat.region.tracks]
    parts = [t.notes.where(t.notes.sounding(ask.region.start, ask.region.end)) for t in named]
    if ask.task is Task.REGENERATE and not sum(map(len, parts)):
        raise UserError("There are no chords in the marked bars to recolour; mark some.")
    notes = Notes.concatenate(parts)
    sounds, begins = pianoroll.grid(notes, ask.region.start, len(seat), seat.step, seat.shift)
    return Roll("", sounds, begins, seat.position)


def verticals(there: Roll) -> Column:
    """Steps at which a chord of a roll begins: where a key is struck, or one is let go."""
    changed = np.ones(len(there), bool)
    changed[1:] = (there.sounds[1:] != there.sounds[:-1]).any(1) | there.begins[1:].any(1)
    return np.flatnonzero(changed)


def pulses(ask: Ask, steps: int, step: int, each: str) -> Column:
    """Steps at which a new chord begins, so often in the bar."""
    meter = ask.score.meter
    found = []
    for t in range(steps):
        tick = ask.region.start + t * step
        _, offset, length = meter.position(tick)
        beat = meter.beat_ticks(tick)
        every = {"bar": length, "half": -(-length // (2 * beat)) * beat, "beat": beat}[each]
        if not t or offset % every < step:
            found.append(t)
    return np.array(found, np.int64)


def essential(given: around.Given, a: int, b: int) -> tuple[Any, Any]:
    """The keys [PITCHES] of what stays that a chord over steps a … b must have, those that sound for a third
    of it or longer than all others, and the keys that must be silent."""
    share = given.notes.sounds[a:b].mean(0)
    stays = (share >= 1 / 3) | ((share > 0) & (share == share.max()))
    silent = (given.held[a:b] & ~given.notes.sounds[a:b]).any(0) & ~stays
    return stays, silent

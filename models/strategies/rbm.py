"""Restricted Boltzmann machines: energy, block Gibbs sampling, and how likely data are under them.

A machine gives binary vectors v the unnormalised log probability −F(v), F the free energy (Smolensky 1986;
Hinton 2002). What normalises it cannot be computed but for a handful of hidden units; annealed importance
sampling (Neal 2001; Salakhutdinov & Murray 2008) estimates it, with an error that is known too. Biases may
differ from row to row: then every row is a machine of its own and the weights are shared, as in the RNN-RBM.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

Floats = npt.NDArray[np.float32]

PILOT = 30
"""Sweeps for a first idea of where each machine's mass lies."""
DEEP_SAMPLES = 100
"""Hidden vectors a frame is explained by, in a deep belief net."""
DRAWS = 16
"""Frames that are sampled side by side when the usual is preferred to the unusual."""
MOST, ROUGH_STEPS = 10_000, 1_500_000
"""Frames that are looked at, and the steps of all their chains together."""
CLOSER = 300
"""Frames that are looked at closely, with CLOSE chains and rungs. How many rungs matters more: with few of
them chains miss the mass of sure machines, and log Z comes out too small, by far more than its error says."""
CLOSE = 10, 1600
AT_ONCE = 8
"""Sweeps whose uniform numbers are drawn together."""
CHAIN_ROWS = 4000
"""Chains that are annealed side by side: about what stays in the processor's cache."""


@dataclass(frozen=True)
class Machine:
    """weight [V, H]; biases visible [..., V] and hidden [..., H], one row for each machine."""

    weight: Tensor
    visible: Tensor
    hidden: Tensor

    def flat(self) -> Machine:
        """The same machines in one dimension: biases [N, V] and [N, H]."""
        return Machine(self.weight, self.visible.flatten(0, -2), self.hidden.flatten(0, -2))

    def rows(self, which: Tensor) -> Machine:
        """Those of the machines [N] that `which` picks."""
        return Machine(self.weight, self.visible[which], self.hidden[which])

    def repeated(self, times: int) -> Machine:
        """Every machine [N] `times` over, in turn: [times × N]."""
        return Machine(self.weight, self.visible.repeat(times, 1), self.hidden.repeat(times, 1))


@dataclass(frozen=True)
class Estimate:
    """Logarithms estimated by importance weights [N], and the standard error of each [N]."""

    value: Tensor
    error: Tensor


def free_energy(machine: Machine, v: Tensor) -> Tensor:
    """F(v) [...] of v [..., V], with which log p(v) = −F(v) − log Z."""
    linear = (v * machine.visible).sum(-1)
    return -linear - F.softplus(machine.hidden + v @ machine.weight).sum(-1)


def uniform(rng: np.random.Generator, *size: int) -> Tensor:
    """Numbers in [0, 1)."""
    return torch.from_numpy(rng.random(size, np.float32))


def drawn(probability: Tensor, rng: np.random.Generator) -> Tensor:
    """Zeros and ones, each one with its probability."""
    return (uniform(rng, *probability.shape).to(probability.device) < probability).float()


def gibbs(
    machine: Machine,
    v: Tensor,
    sweeps: int,
    rng: np.random.Generator,
    held: Tensor | None = None,
    temperature: float = 1.0,
) -> Tensor:
    """v [N, V] after so many sweeps: all hidden units given the visible ones, then the reverse.

    Where `held` [N, V] is true the given value stays (clamping). The energy is divided by `temperature`.
    """
    given = v
    back = machine.weight.T.contiguous()
    for _ in range(sweeps):
        h = drawn(torch.sigmoid((machine.hidden + v @ machine.weight) / temperature), rng)
        v = drawn(torch.sigmoid((machine.visible + h @ back) / temperature), rng)
        if held is not None:
            v = torch.where(held, given, v)
    return v


def gibbs_of_few(
    machine: Machine,
    v: Tensor,
    sweeps: int,
    rng: np.random.Generator,
    held: Tensor | None = None,
    temperature: float = 1.0,
) -> Tensor:
    """As `gibbs`, with numpy: for a few rows torch's calls would take longer than what they do."""
    few = _few(machine)
    given = v.numpy()
    stays = held.numpy() if held is not None and bool(held.any()) else None
    return torch.from_numpy(_swept(*few, given, sweeps, rng, stays, temperature))


def _few(machine: Machine) -> tuple[Floats, Floats, Floats]:
    """Weight, visible and hidden biases."""
    parts = (machine.weight, machine.visible, machine.hidden)
    return tuple(part.detach().numpy() for part in parts)  # type: ignore[return-value]


def _around_zero(rng: np.random.Generator, rows: int, columns: int) -> Floats:
    """Numbers in [−1, 1) that have 23 bits, two from every 64 bits drawn: `random` takes half as long again."""
    bits = rng.integers(0, 2**64 - 1, -(-rows * columns // 2), np.uint64, True).view(np.uint32)
    bits >>= 9
    bits |= 0x40000000  # as a float: in [2, 4)
    found = bits.view(np.float32)[: rows * columns].reshape(rows, columns)
    found -= 3
    return found


def _swept(
    weight: Floats,
    visible: Floats,
    hidden: Floats,
    given: Floats,
    sweeps: int,
    rng: np.random.Generator,
    stays: npt.NDArray[np.bool_] | None,
    temperature: float = 1.0,
) -> Floats:
    N, V = given.shape
    H = hidden.shape[1]
    half = np.float32(
        0.5 / temperature
    )  # σ(x) = ½ + ½ tanh(x / 2), so u < σ(x) is 2u − 1 < tanh(x / 2)
    weight, visible, hidden = weight * half, visible * half, hidden * half
    back = weight.T
    v, h = given.copy(), np.empty((N, H), np.float32)
    for sweep in range(sweeps):
        if sweep % AT_ONCE == 0:
            luck = _around_zero(rng, min(AT_ONCE, sweeps - sweep), N * (H + V))
        row = luck[sweep % AT_ONCE]
        np.matmul(v, weight, h)
        np.add(h, hidden, h)
        np.greater(np.tanh(h, h), row[: N * H].reshape(N, H), h)
        np.matmul(h, back, v)
        np.add(v, visible, v)
        np.greater(np.tanh(v, v), row[N * H :].reshape(N, V), v)
        if stays is not None:
            np.copyto(v, given, where=stays)
    return v


def contrast(machine: Machine, v: Tensor, sweeps: int, rng: np.random.Generator) -> Tensor:
    """Mean of F(v) less F of what v [N, V] has become after some sweeps (contrastive divergence, Hinton
    2002). Its slope leads uphill in likelihood, roughly; its value says nothing about it."""
    with torch.no_grad():
        made = gibbs(machine, v, sweeps, rng)
    return (free_energy(machine, v) - free_energy(machine, made)).mean()


def pseudo_nats(machine: Machine, v: Tensor) -> Tensor:
    """Mean over v [N, V] of −Σ log p(unit | all others) (Besag 1975): exact and cheap, so fit to watch a
    training by, but no likelihood."""
    x = machine.hidden + v @ machine.weight  # N, H
    flip = (1 - 2 * v)[..., None] * machine.weight  # N, V, H
    change = F.softplus(x[:, None] + flip).sum(-1) - F.softplus(x).sum(-1)[:, None]
    return F.softplus(change + (1 - 2 * v) * machine.visible).sum(-1).mean()


def log_partition(
    machine: Machine, rng: np.random.Generator, chains: int = 50, rungs: int = 200
) -> Estimate:
    """log Z of every machine [N], by annealing from independent units to the machine in `rungs` steps.

    The units at the start are as often on as in `PILOT` sweeps that are not used again, so the importance
    weights stay unbiased.
    """
    each = max(1, CHAIN_ROWS // chains)
    parts = [
        _annealed(
            machine.rows(torch.arange(i, min(i + each, len(machine.visible)))), rng, chains, rungs
        )
        for i in range(0, len(machine.visible), each)
    ]
    return Estimate(torch.cat([p.value for p in parts]), torch.cat([p.error for p in parts]))


def _annealed(machine: Machine, rng: np.random.Generator, chains: int, rungs: int) -> Estimate:
    N, V = machine.visible.size()
    wide = machine.repeated(chains)
    back = machine.weight.T.contiguous()
    v = drawn(torch.sigmoid(wide.visible), rng)
    often = torch.zeros(N, V)
    for sweep in range(PILOT):
        v = gibbs(wide, v, 1, rng)
        if sweep >= PILOT // 2:
            often += v.view(chains, N, V).sum(0)
    base = torch.logit((often + 0.5) / (chains * (PILOT - PILOT // 2) + 1))
    start = base.repeat(chains, 1)
    towards = wide.visible - start
    v = drawn(torch.sigmoid(start), rng)
    weight = torch.zeros(chains * N, dtype=torch.float64)
    for rung in range(rungs):
        now, then = rung / rungs, (rung + 1) / rungs
        x = wide.hidden + v @ wide.weight
        rise = F.softplus(then * x).sum(-1) - F.softplus(now * x).sum(-1)
        weight += rise + (then - now) * (v * towards).sum(-1)
        h = drawn(torch.sigmoid(then * x), rng)
        v = drawn(torch.sigmoid(start + then * (towards + h @ back)), rng)
    found = mean_of_logs(weight.view(chains, N))
    independent = machine.hidden.size(1) * math.log(2) + F.softplus(base).sum(-1)
    return Estimate(found.value + independent, found.error)


def mean_of_logs(logs: Tensor) -> Estimate:
    """log of the mean of exp(logs) over the first dimension of [K, N], and its standard error, both by the
    delta method: the mean is right on average, its logarithm too small by error² / 2, which is added."""
    top = logs.max(0).values
    weight = torch.exp(logs - top)
    mean = weight.mean(0)
    error = weight.std(0) / mean / math.sqrt(len(logs))
    return Estimate(mean.log() + top + error**2 / 2, error)


def nats(
    machine: Machine, v: Tensor, rng: np.random.Generator, chains: int = 50, rungs: int = 200
) -> Estimate:
    """−log p(v) of each of v [N, V] under the machine of its row [N]."""
    z = log_partition(machine, rng, chains, rungs)
    return Estimate(free_energy(machine, v) + z.value, z.error)


@dataclass(frozen=True)
class Deep:
    """A deep belief net of two layers (Hinton, Osindero & Teh 2006): `upper` says what the hidden units of
    `lower` are like, those say, one way only, what the visible ones are. As lower machine alone it tells
    what hidden units v stands for."""

    lower: Machine
    upper: Machine

    def flat(self) -> Deep:
        """The same nets in one dimension."""
        return Deep(self.lower.flat(), self.upper.flat())

    def rows(self, which: Tensor) -> Deep:
        """Those of the nets [N] that `which` picks."""
        return Deep(self.lower.rows(which), self.upper.rows(which))


Frames = Machine | Deep
"""What says how likely frames are."""


def deep_contrast(net: Deep, v: Tensor, sweeps: int, rng: np.random.Generator) -> Tensor:
    """As `contrast`, for both layers at once: the upper one learns from the hidden units of v."""
    with torch.no_grad():
        h = drawn(torch.sigmoid(net.lower.hidden + v @ net.lower.weight), rng)
    return contrast(net.lower, v, sweeps, rng) + contrast(net.upper, h, sweeps, rng)


def deep_gibbs(
    net: Deep,
    v: Tensor,
    sweeps: int,
    rng: np.random.Generator,
    held: Tensor | None = None,
    temperature: float = 1.0,
) -> Tensor:
    """As `gibbs`: sweeps of the upper machine, then down to v [N, V].

    What is held is kept by Metropolis's rule: a sweep of the upper machine leaves its distribution as it
    is, so accepting it by how likely it makes the held units gives theirs given those.
    """
    lower, upper = net.lower, net.upper
    back, up = lower.weight.T, upper.weight.T
    v = gibbs(lower, v, sweeps, rng, held, temperature)
    h = drawn(torch.sigmoid((lower.hidden + v @ lower.weight) / temperature), rng)

    def fits(h: Tensor) -> Tensor:
        """log p(held units | h) [N]"""
        cost = F.softplus((1 - 2 * v) * (lower.visible + h @ back))
        return -torch.where(held, cost, 0).sum(-1) if held is not None else torch.zeros(len(v))

    likely = fits(h)
    for _ in range(sweeps):
        above = drawn(torch.sigmoid((upper.hidden + h @ upper.weight) / temperature), rng)
        new = drawn(torch.sigmoid((upper.visible + above @ up) / temperature), rng)
        chance = fits(new)
        better = torch.log(uniform(rng, len(v))) < (chance - likely) / temperature
        h = torch.where(better[:, None], new, h)
        likely = torch.where(better, chance, likely)
    made = drawn(torch.sigmoid((lower.visible + h @ back) / temperature), rng)
    return made if held is None else torch.where(held, v, made)


def deep_nats(
    net: Deep, v: Tensor, rng: np.random.Generator, chains: int = 50, rungs: int = 200
) -> Estimate:
    """As `nats`, by importance sampling of the hidden units besides (Burda, Grosse & Salakhutdinov 2016):
    what is too small for want of samples makes these nats too many, never too few, on average."""
    lower, upper = net.lower, net.upper
    q = lower.hidden + v @ lower.weight  # N, H
    logs = []
    for _ in range(DEEP_SAMPLES):
        h = drawn(torch.sigmoid(q), rng)
        down = -F.softplus((1 - 2 * v) * (lower.visible + h @ lower.weight.T)).sum(-1)
        known = -F.softplus((1 - 2 * h) * q).sum(-1)
        logs.append(down - free_energy(upper, h) - known)
    joint = mean_of_logs(torch.stack(logs).double())
    z = log_partition(upper, rng, chains, rungs)
    least = joint.value - joint.error**2 / 2
    return Estimate(z.value - least, torch.sqrt(z.error**2 + joint.error**2))


def sampled(
    machines: Frames,
    given: Tensor,
    held: Tensor,
    sweeps: int,
    rng: np.random.Generator,
    temperature: float,
) -> Tensor:
    """[N, V] a frame of each machine [N], in which what is `held` is as `given`.

    Of DRAWS frames one is drawn as its probability would have grown or shrunk at that temperature. Dividing
    the energy of all units by it, hidden ones too, gives other frames than either: fuller ones, say.
    """
    N = len(given)
    if isinstance(machines, Deep):
        every = torch.arange(N).repeat(DRAWS)
        wide, given, held = machines.rows(every), given[every], held[every]
        start = torch.where(held, given, drawn(torch.sigmoid(wide.lower.visible), rng))
        frames = deep_gibbs(wide, start, sweeps, rng, held)
        worth = -free_energy(wide.lower, frames).numpy()
        made = frames.numpy()
    else:
        weight, *biases = _few(machines)
        visible, hidden = (np.tile(bias, (DRAWS, 1)) for bias in biases)
        fixed, stays = (np.tile(x.numpy(), (DRAWS, 1)) for x in (given, held))
        luck = 2 * rng.random(visible.shape, np.float32) - 1
        first = np.where(stays, fixed, luck < np.tanh(visible / 2)).astype(np.float32)
        made = _swept(weight, visible, hidden, first, sweeps, rng, stays if stays.any() else None)
        x = made @ weight
        x += hidden
        plus = np.log1p(np.exp(-np.abs(x)))
        plus += np.maximum(x, 0)
        worth = (made * visible).sum(-1) + plus.sum(-1)  # −F, as in `free_energy`
    noise = rng.random((DRAWS, N), np.float32).clip(1e-7, 1 - 1e-6)
    best = (worth.reshape(DRAWS, N) * (1 / temperature - 1) - np.log(-np.log(noise))).argmax(0)
    return torch.from_numpy(made.reshape(DRAWS, N, -1)[best, np.arange(N)])


def likelihood(
    pieces: Sequence[tuple[Frames, Tensor]],
    rng: np.random.Generator,
    only: int | None = None,
) -> dict[str, float]:
    """−log p in nats a frame of pieces, each the machines [T] and frames [T, V], on both averages (over all
    frames, and over pieces of their means), and the standard errors of the estimates.

    MOST frames at most are estimated roughly, and CLOSER of them well, whose mean difference corrects the
    rest. With `only`, so many frames are estimated tolerably, of which the mean is given.
    """
    v = torch.cat([frames for _, frames in pieces])
    machines = joined([machine for machine, _ in pieces])
    N = len(v)
    length = np.array([len(frames) for _, frames in pieces])
    piece = torch.from_numpy(np.repeat(N / length / len(pieces), length))  # mean 1
    if only is not None:
        some = torch.from_numpy(rng.permutation(N)[:only])
        found = _nats(machines.rows(some), v[some], rng, 5, 400)
        return {
            "nats_per_frame_by_frame": float(found.value.mean()),
            "nats_per_frame_by_frame_error": float(found.value.std() / math.sqrt(len(some))),
        }
    some = torch.from_numpy(rng.permutation(N)[:MOST])
    machines, v, piece = machines.rows(some), v[some], piece[some]
    rungs = int(np.clip(ROUGH_STEPS / (5 * len(v)), 30, 200))
    rough = _nats(machines, v, rng, 5, rungs)
    close = _nats(machines.rows(torch.arange(min(CLOSER, len(v)))), v[:CLOSER], rng, *CLOSE)
    off = close.value - rough.value[:CLOSER]
    figures: dict[str, float] = {}
    for name, weight in (("frame", torch.ones_like(piece)), ("piece", piece)):
        each, more = rough.value * weight, off * weight[:CLOSER]
        # Unless all frames were looked at, which ones were is chance too.
        one = each.var() if len(v) < N else ((rough.error * weight) ** 2).mean()
        square = one / len(each) + more.var() / len(more)
        figures[f"nats_per_frame_by_{name}"] = float(each.mean() + more.mean())
        figures[f"nats_per_frame_by_{name}_error"] = math.sqrt(float(square))
    return {**figures, "frames": float(N), "pieces": float(len(pieces))}


def _nats(
    machines: Frames, v: Tensor, rng: np.random.Generator, chains: int, rungs: int
) -> Estimate:
    if isinstance(machines, Deep):
        return deep_nats(machines, v, rng, chains, rungs)
    return nats(machines, v, rng, chains, rungs)


def joined(machines: Sequence[Frames]) -> Frames:
    """Machines [T] of several pieces as those of one; all are of one kind."""
    if isinstance(machines[0], Deep):
        deep = [m for m in machines if isinstance(m, Deep)]
        return Deep(_joined([m.lower for m in deep]), _joined([m.upper for m in deep]))
    return _joined([m for m in machines if isinstance(m, Machine)])


def _joined(machines: Sequence[Machine]) -> Machine:
    visible = torch.cat([m.visible for m in machines])
    return Machine(machines[0].weight, visible, torch.cat([m.hidden for m in machines]))

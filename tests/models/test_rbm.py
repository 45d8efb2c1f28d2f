"""Restricted Boltzmann machines against exact enumeration, and RBM_C."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models import catalogue
from models.card import Task, Value
from models.representations import around
from models.score import Key, Notes, Region, Score, Track, UserError
from models.strategies import rbm
from models.strategies.rbm import Deep, Machine
from models.system import Ask, Context, Proposal
from models.systems import rbm_c
from models.timebase import PPQ

BAR = 4 * PPQ


def every(units: int) -> Tensor:
    """[2^units, units]: all binary vectors."""
    return torch.tensor([[i >> j & 1 for j in range(units)] for i in range(2**units)]).float()


def machines(count: int, visible: int, hidden: int, scale: float, seed: int = 0) -> Machine:
    """Machines with weights of that size."""
    rng = np.random.default_rng(seed)

    def normal(*size: int) -> Tensor:
        return torch.from_numpy(rng.standard_normal(size, np.float32))

    return Machine(
        scale * normal(visible, hidden), normal(count, visible) - 1, normal(count, hidden)
    )


def exact(machine: Machine) -> Tensor:
    """log Z of each machine, by all its hidden vectors."""
    h = every(machine.hidden.size(1))
    x = machine.visible[:, None] + h @ machine.weight.T  # N, 2^H, V
    return torch.logsumexp(F.softplus(x).sum(-1) + machine.hidden @ h.T, -1)


def distribution(machine: Machine) -> Tensor:
    """[2^V] how likely each visible vector is under one machine."""
    return torch.exp(-rbm.free_energy(machine, every(machine.visible.size(1))) - exact(machine))


def shares(made: Tensor) -> Tensor:
    """[2^V] how often each vector is among those [N, V]."""
    code = (made * 2 ** torch.arange(made.size(1))).sum(-1).long()
    return torch.bincount(code, minlength=2 ** made.size(1)) / len(made)


def test_free_energies_and_the_partition_function_make_a_distribution() -> None:
    machine = machines(1, 6, 5, 1.0)
    assert float(distribution(machine).sum()) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("scale", [0.3, 1.0, 2.0])
def test_annealing_finds_the_partition_function_within_its_error(scale: float) -> None:
    machine = machines(60, 20, 10, scale)
    found = rbm.log_partition(machine, np.random.default_rng(1), 40, 60)
    off = (found.value - exact(machine)) / found.error
    assert found.error.max() < 0.15
    assert float((off.abs() < 2).float().mean()) > 0.85  # of 95 %
    assert 0.2 < float((off.abs() < 1).float().mean()) < 0.95  # and it is not far too large
    assert float(off.abs().max()) < 6


def test_more_rungs_are_nearer() -> None:
    machine = machines(40, 20, 10, 2.0)
    off = [
        (rbm.log_partition(machine, np.random.default_rng(1), 20, rungs).value - exact(machine))
        for rungs in (5, 200)
    ]
    assert float(off[1].abs().mean()) < 0.3 * float(off[0].abs().mean())


def test_the_error_of_a_mean_of_logs_is_that_of_its_repetitions() -> None:
    rng = np.random.default_rng(0)
    logs = torch.from_numpy(rng.normal(0, 0.7, (50, 4000)))
    found = rbm.mean_of_logs(logs)
    assert float(found.error.mean()) == pytest.approx(float(found.value.std()), rel=0.1)
    # E exp(normal) is exp(variance / 2); the logarithm alone would be too small by error² / 2.
    assert float(found.value.mean()) == pytest.approx(0.7**2 / 2, abs=0.004)


@pytest.mark.parametrize("sample", [rbm.gibbs, rbm.gibbs_of_few])
def test_gibbs_sampling_reaches_the_machine(sample: Any) -> None:
    machine = machines(1, 5, 4, 1.0)
    v = torch.zeros(20_000, 5)
    made = sample(machine.repeated(len(v)), v, 40, np.random.default_rng(0))
    assert float((shares(made) - distribution(machine)).abs().sum()) < 0.05


@pytest.mark.parametrize("sample", [rbm.gibbs, rbm.gibbs_of_few])
def test_clamped_sampling_reaches_the_conditional(sample: Any) -> None:
    machine = machines(1, 5, 4, 1.0)
    v = torch.zeros(20_000, 5)
    v[:, 1] = 1
    held = torch.zeros(5, dtype=torch.bool)
    held[:2] = True
    made = sample(machine.repeated(len(v)), v, 40, np.random.default_rng(0), held.expand_as(v))
    assert (made[:, :2] == v[:, :2]).all()
    there = (every(5)[:, 0] == 0) & (every(5)[:, 1] == 1)
    wanted = torch.where(there, distribution(machine), 0)
    assert float((shares(made) - wanted / wanted.sum()).abs().sum()) < 0.05


@pytest.mark.parametrize("sample", [rbm.gibbs, rbm.gibbs_of_few])
def test_a_lower_temperature_prefers_the_likely(sample: Any) -> None:
    machine = machines(1, 5, 4, 1.0)
    likely = int(distribution(machine).argmax())
    found = []
    for temperature in (0.3, 1.0):
        v = torch.zeros(4000, 5)
        wide = machine.repeated(len(v))
        made = sample(wide, v, 40, np.random.default_rng(0), temperature=temperature)
        found.append(float(shares(made)[likely]))
    assert found[0] > found[1]


def test_the_pseudo_likelihood_is_that_of_each_unit_given_the_others() -> None:
    machine, v = machines(1, 4, 3, 1.0), every(4)
    p = distribution(machine)
    total = torch.zeros(len(v))
    for i in range(4):
        other = v.clone()
        other[:, i] = 1 - other[:, i]
        code = (other * 2 ** torch.arange(4)).sum(-1).long()
        total -= torch.log(p / (p + p[code]))
    found = rbm.pseudo_nats(machine.repeated(len(v)), v)
    assert float(found) == pytest.approx(float(total.mean()), rel=1e-4)


def test_contrastive_divergence_leads_uphill() -> None:
    machine = machines(1, 6, 4, 0.1)
    v = every(6)[torch.tensor([3, 3, 12, 12, 48])]
    parameters = [
        t.clone().requires_grad_() for t in (machine.weight, machine.visible, machine.hidden)
    ]
    rng = np.random.default_rng(0)

    def nats() -> float:
        with torch.no_grad():
            one = Machine(*parameters)
            return float((rbm.free_energy(one, v) + exact(one)).mean())

    before = nats()
    for _ in range(300):
        loss = rbm.contrast(Machine(*parameters).repeated(len(v)), v, 5, rng)
        for p, slope in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            p.data -= 0.3 * slope
    assert nats() < before - 1


def deep(scale: float = 1.0) -> Deep:
    lower = machines(1, 5, 4, scale)
    return Deep(lower, replace(machines(1, 4, 3, scale, 1), visible=lower.hidden))


def deep_distribution(net: Deep) -> Tensor:
    """[2^V] how likely each visible vector is under one deep belief net."""
    h, v = every(4), every(5)
    known = torch.exp(-rbm.free_energy(net.upper, h) - exact(net.upper))
    x = net.lower.visible + h @ net.lower.weight.T
    down = torch.exp(-F.softplus((1 - 2 * v)[:, None] * x).sum(-1))  # v, h
    return down @ known


@pytest.mark.parametrize("clamped", [False, True])
def test_a_deep_net_is_sampled_from_too(clamped: bool) -> None:
    net, v = deep(), torch.zeros(20_000, 5)
    v[:, 1] = 1
    held = torch.zeros(5, dtype=torch.bool)
    held[1] = clamped
    wide = Deep(net.lower.repeated(len(v)), net.upper.repeated(len(v)))
    made = rbm.deep_gibbs(wide, v, 40, np.random.default_rng(0), held.expand_as(v))
    wanted = deep_distribution(net)
    if clamped:
        wanted = torch.where(every(5)[:, 1] == 1, wanted, 0)
    assert float((shares(made) - wanted / wanted.sum()).abs().sum()) < 0.05


def test_the_likelihood_of_a_deep_net_is_near_and_not_too_good() -> None:
    net, v = deep(), every(5)
    wide = Deep(net.lower.repeated(len(v)), net.upper.repeated(len(v)))
    found = rbm.deep_nats(wide, v, np.random.default_rng(0), 40, 100)
    off = found.value + torch.log(deep_distribution(net))
    assert float(off.mean()) == pytest.approx(0, abs=0.03)
    assert float((off / found.error).abs().max()) < 5


def test_figures_of_pieces_average_over_frames_and_over_pieces() -> None:
    both = machines(30, 12, 8, 1.5)
    rng = np.random.default_rng(0)
    v = torch.from_numpy(rng.integers(0, 2, (30, 12)).astype(np.float32))
    first = torch.arange(30) < 20
    pieces = [
        (both.rows(first.nonzero()[:, 0]), v[first]),
        (both.rows((~first).nonzero()[:, 0]), v[~first]),
    ]
    true = rbm.free_energy(both, v) + exact(both)
    found = rbm.likelihood(pieces, rng)
    by_piece = (true[first].mean() + true[~first].mean()) / 2
    for name, wanted in (("frame", true.mean()), ("piece", by_piece)):
        error = found[f"nats_per_frame_by_{name}_error"]
        assert error < 0.05
        assert found[f"nats_per_frame_by_{name}"] == pytest.approx(float(wanted), abs=4 * error)
    assert found["frames"] == 30
    assert found["pieces"] == 2


# RBM_C


@pytest.fixture(scope="module")
def chords() -> rbm_c.System:
    torch.set_num_threads(1)
    system: Any = catalogue.load("rbm_c")
    assert isinstance(system, rbm_c.System)
    return system


def run(system: rbm_c.System, ask: Ask) -> Proposal:
    last = list(system.generate(ask, Context(np.random.default_rng(ask.seed))))[-1]
    assert isinstance(last, Proposal)
    assert last.final
    return last


def ask(task: Task, score: Score, region: Region, **params: Value) -> Ask:
    given: Mapping[str, Value] = params
    return Ask(task, score, region, rbm_c.CARD.values(given), seed=1)


def held(pitches: list[int], locked: bool = True) -> Track:
    """A chord of one bar."""
    return Track(0, "Piano", Notes.of([0] * len(pitches), BAR, pitches, locked=locked))


def test_a_held_chord_is_completed(chords: rbm_c.System) -> None:
    score = Score((held([48, 64]),), keys=(Key(0, 0),))
    region = Region(0, BAR, frozenset({0}))
    made = run(chords, ask(Task.REGENERATE, score, region)).apply(score).track(0).notes
    assert {48, 64} <= set(made.pitch.tolist())
    assert 3 <= len(made) <= 5
    assert (made.onset == 0).all()
    assert (made.duration == BAR).all()


def test_chords_are_mostly_of_the_key(chords: rbm_c.System) -> None:
    score = Score(keys=(Key(0, 3),))
    made = run(chords, ask(Task.CREATE, score, Region(0, 16 * BAR))).tracks[0].notes
    scale = {(k + 9) % 12 for k in (0, 2, 4, 5, 7, 9, 11)}
    assert np.mean([p % 12 in scale for p in made.pitch.tolist()]) > 0.8
    onsets, count = np.unique(made.onset, return_counts=True)
    assert onsets.tolist() == list(range(0, 16 * BAR, BAR // 2))
    assert count.min() >= 2
    last = {int(p) % 12 for p in made.pitch[made.onset == onsets[-1]]}
    assert {9, 1, 4} <= last  # it closes on A major


def test_a_melody_is_respected(chords: rbm_c.System) -> None:
    tune = Track(0, "Flute", Notes.of(np.arange(8) * PPQ, PPQ, [67, 65, 64, 62, 60, 62, 64, 60]))
    score = Score((tune,), keys=(Key(0, 0),))
    made = run(chords, ask(Task.ACCOMPANY, score, Region(0, 2 * BAR), each="beat"))
    notes = made.tracks[0].notes
    assert made.tracks[0].id != 0
    top = dict(zip(tune.notes.onset.tolist(), tune.notes.pitch.tolist(), strict=True))
    assert all(p < top[int(o)] for o, p in zip(notes.onset, notes.pitch, strict=True))
    assert set(notes.onset.tolist()) == set(tune.notes.onset.tolist())


def test_chords_come_as_often_as_is_asked() -> None:
    for each, wanted in (("beat", [0, 4, 8, 12]), ("half", [0, 8]), ("bar", [0])):
        found = rbm_c.pulses(ask(Task.CREATE, Score(), Region(0, BAR)), 16, PPQ // 4, each)
        assert found.tolist() == wanted


def test_what_cannot_be_is_refused(chords: rbm_c.System) -> None:
    empty = Score((Track(0, "Piano"),))
    region = Region(0, BAR, frozenset({0}))
    with pytest.raises(UserError, match="recolour"):
        run(chords, ask(Task.REGENERATE, empty, region))
    with pytest.raises(UserError, match="draw a melody"):
        run(chords, ask(Task.ACCOMPANY, empty, region))
    tune = Score((held([72]),))
    with pytest.raises(UserError, match="Only the melody"):
        run(chords, replace(ask(Task.ACCOMPANY, tune, region), melody=0))


def test_a_bass_may_have_notes_above_it() -> None:
    for pitch, free in ((40, True), (72, False)):
        score = Score((held([pitch]),), keys=(Key(0, 0),))
        _, given = around.seat(score, Region(0, BAR), 0, 4, 0, top=True, name="Chords")
        assert (~given.held[0]).sum() == (87 if free else pitch - 21)


def test_weights_of_another_system_are_refused(tmp_path: Path, chords: rbm_c.System) -> None:
    path = tmp_path / "w.safetensors"
    chords.save(path, {"system": "markov"})
    with pytest.raises(UserError, match="no weights for rbm_c"):
        rbm_c.System.load(path)

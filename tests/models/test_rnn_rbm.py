"""RNN-RBM and its successors."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mills import pianoroll as mill

from models import catalogue, training
from models.card import Task, Value
from models.representations.pianoroll import LOWEST, PITCHES, Roll
from models.score import Key, Notes, Region, Score, Track, UserError
from models.strategies import rbm
from models.strategies.rbm import Deep, Frames
from models.system import Ask, Context, Proposal
from models.systems import rnn_rbm
from models.systems.rnn_rbm import KINDS, Net, Shape
from models.timebase import PPQ

BAR = 4 * PPQ


@pytest.fixture(scope="module")
def system() -> rnn_rbm.System:
    torch.set_num_threads(1)
    found: Any = catalogue.load("rnn_rbm")
    assert isinstance(found, rnn_rbm.System)
    return found


def run(system: rnn_rbm.System, ask: Ask) -> list[Proposal]:
    steps = system.generate(ask, Context(np.random.default_rng(ask.seed)))
    return [step for step in steps if isinstance(step, Proposal)]


def ask(task: Task, score: Score, region: Region, **params: Value) -> Ask:
    return Ask(task, score, region, rnn_rbm.CARD.values(params), seed=1)


def tune() -> Track:
    pitch = [67, 65, 64, 62, 60, 64, 62, 60]
    return Track(0, "Flute", Notes.of(np.arange(8) * PPQ, PPQ, pitch))


def biases(machines: Frames) -> list[torch.Tensor]:
    every = [machines.lower, machines.upper] if isinstance(machines, Deep) else [machines]
    return [bias for m in every for bias in (m.visible, m.hidden)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_at_a_time_is_the_same_as_all_at_once(kind: str) -> None:
    torch.manual_seed(0)
    net = Net(Shape(kind=kind, units=12, hidden=10, top=8)).eval()
    roll = mill.roll(12, 1)
    played = rnn_rbm.frames(roll, net.shape).float()[None]
    ticks = rnn_rbm.clock(roll.position, net.shape, True)[None]
    with torch.no_grad():
        whole = net(played, ticks)
        past, state = torch.zeros(1, net.shape.visible), net.start(1)
        for t in range(12):
            machines, state = net.step(past, ticks[:, t], state)
            past = played[:, t]
            for one, all_ in zip(biases(machines), biases(whole), strict=True):
                assert torch.allclose(one, all_[:, t], atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_knows_the_past_alone(kind: str) -> None:
    torch.manual_seed(0)
    net = Net(Shape(kind=kind, units=12, hidden=10, top=8)).eval()
    ticks = torch.zeros(1, 6, net.shape.bar + net.shape.ending)
    played = torch.zeros(1, 6, net.shape.visible)
    other = played.clone()
    other[:, 3, 40] = 1
    with torch.no_grad():
        for one, two in zip(biases(net(played, ticks)), biases(net(other, ticks)), strict=True):
            assert torch.equal(one[:, :4], two[:, :4])
            assert not torch.equal(one[:, 4:], two[:, 4:])


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_learns(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    monkeypatch.setattr(rnn_rbm, "BATCH", 2)
    monkeypatch.setattr(rnn_rbm, "WINDOW", 24)
    monkeypatch.setattr(rnn_rbm, "SWEEPS", (2, 2))
    system = rnn_rbm.System.fresh(shape=Shape(kind=kind, units=16, hidden=16, top=16))
    pieces = [mill.roll(24, 0)]
    fit = training.Fit(system.net, training.Plan(minutes=10, rate=2e-2, warm_up=1))
    context = Context(np.random.default_rng(0))
    steps = system.train(training.Corpus(pieces, pieces), context, fit)
    losses = [next(steps)["loss_nats"] for _ in range(40)]
    steps.close()  # type: ignore[attr-defined]
    assert np.mean(losses[-4:]) < 0.7 * np.mean(losses[:4])
    assert np.isfinite(system.watch(pieces, context)["nats_per_frame_by_frame"])


def test_the_clock_counts_bars_and_the_end() -> None:
    ticks = rnn_rbm.clock(np.arange(10) % 8, Shape(bar=8, ending=3), True)
    assert ticks[:, :8].argmax(1).tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 0, 1]
    assert ticks[:, 8:].tolist() == [[0, 0, 0]] * 7 + [[0, 0, 1], [0, 1, 0], [1, 0, 0]]
    assert not rnn_rbm.clock(np.arange(10), Shape(bar=8, ending=3), False)[:, 8:].any()
    assert rnn_rbm.clock(np.arange(10), Shape(bar=0, ending=0), True).shape == (10, 0)


def test_the_estimate_is_near_the_exact_likelihood() -> None:
    torch.manual_seed(0)
    net = Net(Shape(units=8, hidden=9, struck=0)).eval()
    with torch.no_grad():
        net.weight.normal_(0, 0.8)
        net.visible.bias.fill_(-3)
    pieces = [mill.roll(24, seed) for seed in range(2)]
    system = rnn_rbm.System(net)
    hidden = torch.tensor([[i >> j & 1 for j in range(9)] for i in range(2**9)]).float()
    exact = []
    for machine, v in system.machines(pieces):
        assert not isinstance(machine, Deep)
        x = machine.visible[:, None] + hidden @ machine.weight.T
        z = torch.nn.functional.softplus(x).sum(-1) + machine.hidden @ hidden.T
        exact.append((rbm.free_energy(machine, v) + torch.logsumexp(z, -1)).detach())
    found = system.evaluate(pieces, Context(np.random.default_rng(0)))
    error = found["nats_per_frame_by_frame_error"]
    assert error < 0.1
    assert found["nats_per_frame_by_frame"] == pytest.approx(
        float(torch.cat(exact).mean()), abs=4 * error
    )


def test_what_is_written_is_music(system: rnn_rbm.System) -> None:
    """Sixteen bars in A: of the key, in several voices, with an end."""
    last = run(system, ask(Task.CREATE, Score(keys=(Key(0, 3),)), Region(0, 16 * BAR)))[-1]
    notes = last.tracks[0].notes
    scale = {(k + 9) % 12 for k in (0, 2, 4, 5, 7, 9, 11)}
    assert (
        np.average([p % 12 in scale for p in notes.pitch.tolist()], weights=notes.duration) > 0.85
    )
    sounding = notes.duration.sum() / (16 * BAR)
    assert 2.5 < sounding < 5.5
    assert len(set(notes.onset.tolist())) > 40
    assert int(notes.end.max()) == 16 * BAR


def test_a_proposal_grows(system: rnn_rbm.System) -> None:
    found = run(system, ask(Task.CREATE, Score(), Region(0, 4 * BAR)))
    assert [p.final for p in found] == [False] * 3 + [True]
    for before, after in pairwise(found):
        assert len(before.tracks[0].notes) <= len(after.tracks[0].notes)


def test_a_melody_stays_on_top(system: rnn_rbm.System) -> None:
    score = Score((tune(),), keys=(Key(0, 0),))
    made = run(system, ask(Task.ACCOMPANY, score, Region(0, 2 * BAR)))[-1]
    (track,) = made.tracks
    assert track.id != 0
    assert len(track.notes) > 6
    melody = tune().notes
    for onset, end, pitch in zip(
        track.notes.onset, track.notes.end, track.notes.pitch, strict=True
    ):
        with_ = melody.where(melody.sounding(int(onset), int(end)))
        assert int(pitch) < int(with_.pitch.max()) or int(pitch) < int(with_.pitch.min()) + 12
        at = melody.where(melody.sounding(int(onset), int(onset) + 1))
        assert int(pitch) < int(at.pitch.max())


def test_locked_notes_are_heard(system: rnn_rbm.System) -> None:
    """What is locked stays, and nothing else is written on its key while it sounds."""
    notes = Notes.of([0, BAR], [2 * BAR, BAR], [60, 76], locked=[True, False])
    score = Score((Track(0, "Piano", notes),), keys=(Key(0, 0),))
    made = run(system, ask(Task.CREATE, score, Region(0, 2 * BAR, frozenset({0}))))[-1]
    after = made.apply(score).track(0).notes
    assert after.locked.sum() == 1
    assert (made.tracks[0].notes.pitch != 60).all()


def test_other_kinds_are_there_too(system: rnn_rbm.System) -> None:
    region = Region(0, 4 * BAR)
    made = [run(system, ask(Task.CREATE, Score(), region, kind=kind))[-1] for kind in KINDS]
    lines = [tuple(m.tracks[0].notes.pitch.tolist()) for m in made]
    assert len(set(lines)) == len(KINDS)
    assert all(len(line) > 8 for line in lines)


def test_own_weights_are_what_they_are(tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = tmp_path / "own.safetensors"
    rnn_rbm.System.fresh(shape=Shape(kind="rnn_dbn", units=8)).save(path, {"system": "rnn_rbm"})
    own = rnn_rbm.System.load(path)
    request = ask(Task.CREATE, Score(), Region(0, BAR))
    assert run(own, request)[-1].final
    with pytest.raises(UserError, match="kind rnn_dbn"):
        run(own, replace(request, params=rnn_rbm.CARD.values({"kind": "lstm_rtrbm"})))


def test_what_cannot_be_is_refused(system: rnn_rbm.System) -> None:
    empty = Score((Track(0, "Piano"),))
    region = Region(BAR, 2 * BAR, frozenset({0}))
    with pytest.raises(UserError, match="nothing before"):
        run(system, ask(Task.CONTINUE, empty, region))
    with pytest.raises(UserError, match="draw a melody"):
        run(system, ask(Task.ACCOMPANY, empty, region))
    drums = Score((Track(0, "Drums", tune().notes, channel=9),))
    with pytest.raises(UserError, match="drum"):
        run(system, ask(Task.CREATE, drums, region))


def test_kinds_and_shapes_are_checked(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no 'size'"):
        training.shaped("rnn_rbm", {"size": "3"})
    path = tmp_path / "w.safetensors"
    made = rnn_rbm.System.fresh(shape=Shape(units=8))
    made.save(path, {"system": "rnn_rbm"})
    card = path.with_suffix(".json")
    card.write_text(card.read_text().replace('"kind": "rnn_rbm"', '"kind": "rnn"'))
    with pytest.raises(UserError, match="does not say the net's shape"):
        rnn_rbm.System.load(path)


def test_rolls_of_the_community_are_many_hot_alone() -> None:
    """Without `struck` a frame is what sounds, 88 keys, as in the paper."""
    sounds = np.zeros((2, PITCHES), bool)
    sounds[:, 60 - LOWEST] = True
    roll = Roll("", sounds, sounds, np.arange(2))
    assert rnn_rbm.frames(roll, Shape(struck=0)).shape == (2, PITCHES)
    assert int(rnn_rbm.frames(roll, Shape()).sum()) == 4

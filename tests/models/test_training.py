"""Training from nothing to weights on disk, stopped and gone on with."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from test_chorale import made
from torch import nn

from models import catalogue, training
from models.score import Notes, Score, Track, UserError
from models.timebase import PPQ

CORPUS = training.Corpus([made(64, s) for s in range(4)], [made(64, 9)], "made up")


def test_train_writes_weights_that_load(tmp_path: Path) -> None:
    out = tmp_path / "mini.safetensors"
    records = list(training.train("mini_bach", CORPUS, 0.02, 7, "cpu", out, threads=1))
    assert records[-1]["step"] == len(records)
    assert records[-1]["cross_entropy_alto_nats"] > 0
    card = json.loads(out.with_suffix(".json").read_text("utf-8"))
    assert card["seed"] == 7
    assert card["corpus"].startswith("made up: 4 to train, 1 to validate")
    assert not out.with_suffix(".resume").exists()
    catalogue.load("mini_bach", out)


def test_held_out_music_is_refused_as_a_corpus(tmp_path: Path) -> None:
    for word in ("test", "valid"):
        with pytest.raises(UserError, match="not for training"):
            next(training.train("mini_bach", word, 1, 0, "cpu", tmp_path / "w.safetensors"))


def fitted(state: Path) -> tuple[nn.Linear, training.Fit]:
    torch.manual_seed(1)
    net = nn.Linear(3, 1)
    ticks = count()
    return net, training.Fit(net, training.Plan(1.0, state=state, now=lambda: float(next(ticks))))


def test_a_net_of_another_shape_is_trained_for_comparisons(tmp_path: Path) -> None:
    out = tmp_path / "w.safetensors"
    for _ in training.train("mini_bach", CORPUS, 0.002, 7, "cpu", out, 1, {"units": "8"}):
        pass
    system = catalogue.load("mini_bach", out)
    assert system.net.shape.units == 8  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="has no 'colour'; it has: units, dropout"):
        training.shaped("mini_bach", {"colour": "blue"})
    with pytest.raises(UserError, match="a number like 200"):
        training.shaped("mini_bach", {"units": "many"})


def test_a_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    x = torch.arange(12.0).view(4, 3) / 12
    nets = []
    for stops in (False, True):
        net, fit = fitted(tmp_path / f"{stops}.resume")
        for step in range(6):
            if stops and step == 3:
                fit.save()
                before = fit.seconds
                net, fit = fitted(tmp_path / "True.resume")
                assert fit.step == 3
                assert fit.seconds >= before
            fit._began = fit.plan.now() - 10 - fit._before  # the same moment of the schedule
            fit._before = 0.0
            fit.update(net(x).pow(2).mean())
            fit._began = fit.plan.now() - 10
        nets.append((net.weight.detach().clone(), fit.mean["weight"]))
    assert torch.allclose(nets[0][0], nets[1][0], atol=1e-3)
    assert torch.allclose(nets[0][1], nets[1][1], atol=1e-3)


def test_averaged_weights_are_there_inside_alone() -> None:
    net, fit = fitted(Path("nowhere.resume"))
    fit.update(net(torch.ones(2, 3)).sum())
    live = net.weight.detach().clone()
    with fit.averaged():
        assert torch.equal(net.weight, fit.mean["weight"])
        assert not net.training
    assert torch.equal(net.weight, live)
    assert net.training


def own_tunes(count: int, bars: int) -> list[tuple[Path, Score]]:
    """Scores of quarters, each a line of its own."""
    found = []
    for i in range(count):
        pitches = 60 + np.random.default_rng(i).integers(0, 12, 4 * bars)
        notes = Notes.of(np.arange(4 * bars) * PPQ, PPQ, pitches)
        found.append((Path(f"{i}.mid"), Score((Track(0, "Tune", notes),))))
    return found


def test_a_users_own_tunes_become_phrases() -> None:
    corpus = training.phrases(own_tunes(30, 4), 2)
    assert corpus.report["tunes"] == 30
    assert len(corpus.train) + len(corpus.valid) == 30 * 3
    assert corpus.valid.tokens.shape[1] == 32


def test_a_corpus_too_small_for_the_windows_is_refused() -> None:
    with pytest.raises(UserError, match="too few runs of 16 bars"):
        training.phrases(own_tunes(3, 4), 16)

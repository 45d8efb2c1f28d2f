"""Figures, spaces and sliders of latent systems, with the weights that are shipped."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine import cli, exchange
from models import catalogue, latent_figures, latent_sliders, space, training, weights
from models.attributes import NAMES, measure
from models.card import Task
from models.representations import melody
from models.representations.melody import BAR, Phrases
from models.score import Notes, Score, Track, UserError
from models.space import SLIDER, Space
from models.strategies import steering
from models.strategies.codes import decode, encode
from models.system import Context
from models.timebase import PPQ, SIXTEENTH

LATENT = [card.id for card in catalogue.cards() if Task.RESHAPE in card.tasks]
ID = "music_vae_2bar"


@pytest.fixture(scope="module")
def coder() -> Any:
    torch.set_num_threads(1)
    return catalogue.load(ID)


@pytest.fixture(scope="module")
def known() -> Space:
    path = space.shipped(ID)
    assert path is not None
    return space.load(path, ID)


def some(tokens: melody.Tokens) -> Phrases:
    zeros = np.zeros(len(tokens), np.int64)
    return Phrases(tokens, np.arange(len(tokens)), zeros, zeros - 1, ("made",))


@pytest.fixture(scope="module")
def music(known: Space) -> Phrases:
    """Real phrases: those on the map."""
    return some(known.point_tokens[::33])


@pytest.mark.parametrize("system_id", LATENT)
def test_the_shipped_space_was_learnt_with_the_shipped_weights(system_id: str) -> None:
    path = space.shipped(system_id)
    assert path is not None, "run packaging/learn_space.py"
    found = space.load(path, system_id)
    card = json.loads(path.with_suffix(".json").read_text("utf-8"))
    digest = hashlib.sha256(weights.shipped(system_id).read_bytes()).hexdigest()
    assert card["weights_sha256"] == digest, "run packaging/learn_space.py"
    assert (found.latent, found.bars) == (catalogue.load(system_id).latent, found.bars)
    assert np.allclose(found.map_axes @ found.map_axes.T, np.eye(2), atol=1e-4)
    assert path.stat().st_size < 700_000


def test_every_slider_acts_on_the_two_bar_system(known: Space) -> None:
    assert known.acting == NAMES
    assert (np.diff(known.curve, axis=1) > 0).mean() > 0.9
    assert (known.drift < 0.5).all()


def test_points_lie_where_their_codes_do(coder: Any, known: Space) -> None:
    places = known.project(encode(coder, known.point_tokens[:40]))
    assert np.abs(places - known.points[:40]).max() < 0.05
    assert np.abs(measure(known.point_tokens) - known.point_attributes).max() < 0.1


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latent_figures, "PATHS_STEPS", 12 * 32)


@pytest.mark.usefixtures("few")
def test_figures_of_real_music(coder: Any, music: Phrases) -> None:
    figures = latent_figures.evaluate(coder, music, Context(np.random.default_rng(0)))
    again = latent_figures.evaluate(coder, music, Context(np.random.default_rng(0)))
    assert figures == again
    assert all(np.isfinite(v) for v in figures.values())
    assert figures["accuracy_teacher_forced"] > 0.9
    assert figures["accuracy_hold"] < figures["accuracy_sampled"] <= 1
    assert figures["elbo_nats"] == pytest.approx(
        -figures["reconstruction_nats"] - figures["kl_nats"]
    )
    assert figures["valid_reconstructed"] > 0.9
    for worse in ("cost_nats", "largest_step", "mean_step"):
        assert figures[f"path_latent_{worse}"] < figures[f"path_data_{worse}"]
    assert figures["path_latent_monotone_rho"] > figures["path_latent_raw_monotone_rho"] > 0.8


@pytest.mark.usefixtures("few")
def test_an_untrained_coder_has_poor_figures(music: Phrases) -> None:
    torch.manual_seed(0)
    from models.systems.music_vae_2bar import System

    fresh = System.fresh()
    fresh.net.eval()
    picked = music.where(slice(0, 10))
    figures = latent_figures.evaluate(fresh, picked, Context(np.random.default_rng(0)))
    assert figures["accuracy_teacher_forced"] < figures["accuracy_hold"] + 0.05


@pytest.mark.parametrize("name", ["density", "pitch", "leaps"])
def test_a_slider_moves_its_attribute(coder: Any, known: Space, music: Phrases, name: str) -> None:
    z = encode(coder, music.tokens[:6])
    at = []
    for amount in (-2.0, 0.0, 2.0):
        moved = steering.steer(coder, known, z, {name: amount})
        at.append(measure(decode(coder, moved))[:, NAMES.index(name)].mean())
        assert np.array_equal(moved, steering.steer(coder, known, z, {name: amount}))
    assert at[0] < at[1] < at[2]
    assert np.array_equal(steering.steer(coder, known, z, {name: 0.0}), z)


def test_phrases_are_steered_each_by_itself(coder: Any, known: Space, music: Phrases) -> None:
    z = encode(coder, music.tokens[:3])
    together = steering.steer(coder, known, z, {"density": 1.0, "contour": -2.0})
    alone = [
        steering.steer(coder, known, z[i : i + 1], {"density": 1.0, "contour": -2.0})[0]
        for i in range(3)
    ]
    assert np.allclose(together, np.stack(alone), atol=1e-4)


def test_the_nearest_to_what_was_wanted_is_taken(known: Space, music: Phrases) -> None:
    a, b, c = music.tokens[:3]
    before = a[None]
    wanted = ((measure(b[None]) - measure(before)) / known.scale).astype(float)
    assert steering.nearest(known, before, np.stack([a, c, b])[None], wanted)[0] == 2
    assert steering.nearest(known, before, np.stack([b, a, c])[None], wanted * 0)[0] == 1


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LEARN_STEPS", "SCALE_STEPS", "CURVE_STEPS", "POINT_BYTES"):
        most = 80 * 32 if name in ("LEARN_STEPS", "POINT_BYTES") else 2 * 32
        monkeypatch.setattr(latent_sliders, name, most)


@pytest.mark.usefixtures("quick")
def test_a_space_is_learnt(coder: Any, music: Phrases, monkeypatch: pytest.MonkeyPatch) -> None:
    def learnt() -> Space:
        return latent_sliders.learn(coder, music, music, np.random.default_rng(0))

    first, second = learnt(), learnt()
    assert all(np.array_equal(a, getattr(second, n)) for n, a in vars(first).items())
    assert first.curve.shape == (len(NAMES), len(SLIDER))
    assert (first.curve[:, 3] == 0).all()
    assert first.rho[NAMES.index("pitch")] > 0.6
    monkeypatch.setattr(type(coder), "AXES", {"density": 5}, raising=False)
    row = learnt().direction[NAMES.index("density")]
    assert row[5] != 0
    assert (np.delete(row, 5) == 0).all()


@pytest.mark.usefixtures("quick")
def test_training_leaves_a_space(tmp_path: Path, music: Phrases) -> None:
    out = tmp_path / "mine.safetensors"
    corpus = training.Corpus(music, music, "made up")
    list(training.train(ID, corpus, 0.01, 1, "cpu", out, threads=1))
    found = space.load(space.beside(out), ID)
    assert found.latent == catalogue.load(ID, out).latent


# --- by the command line --------------------------------------------------------------------------


def folder_of(tmp_path: Path, tokens: melody.Tokens) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    for i, line in enumerate(tokens):
        onset, duration, pitch = melody.to_notes(line, 0)
        score = Score((Track(0, "Melody", Notes.of(onset, duration, pitch)),))
        exchange.write(score, folder / f"{i}.mid")
    return folder


def evaluated(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, float]:
    assert cli.main(["evaluate", *words, "--json"]) == 0
    found: dict[str, float] = json.loads(capsys.readouterr().out)
    return found


def test_a_users_own_music(
    tmp_path: Path, music: Phrases, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_of(tmp_path, music.tokens[:12])
    figures = evaluated(capsys, ID, "--data", str(folder))
    assert figures["phrases"] == figures["corpus_phrases_train"] + figures["corpus_phrases_valid"]
    assert figures["phrases"] >= 10
    assert figures["accuracy_teacher_forced"] > 0.85


def test_attributes(
    tmp_path: Path,
    music: Phrases,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(latent_sliders, "CURVE_STEPS", 3 * 32)
    folder = folder_of(tmp_path, music.tokens[:6])
    figures = evaluated(capsys, ID, "--data", str(folder), "--attributes")
    assert figures["curve_phrases"] == 3
    for name in NAMES:
        assert figures[f"{name}_at_0"] == 0
        assert -1 <= figures[f"{name}_rho"] <= 1
        assert {f"{name}_at_minus_3", f"{name}_at_plus_3", f"{name}_drift"} <= figures.keys()
    assert figures["pitch_at_minus_3"] < 0 < figures["pitch_at_plus_3"]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("mini_bach", "--attributes"), "no attribute sliders"),
        ((ID, "--samples", "3"), "writes no chorales"),
        ((ID, "--data", "test"), "has no data 'test'"),
        ((ID, "--data", "waltz.mid"), "no run of 2 bars"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    words: tuple[str, ...],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli.tunes, "prepare", lambda: iter(()))
    thirds = np.arange(12) * PPQ + SIXTEENTH // 3
    waltz = Score((Track(0, "m", Notes.of(thirds, PPQ // 3, 60 + np.arange(12))),))
    exchange.write(waltz, Path("waltz.mid"))
    assert cli.main(["evaluate", *words]) == 2
    captured = capsys.readouterr()
    assert complaint in captured.err
    assert len(captured.err.splitlines()) == 1


def test_weights_without_a_space_say_so(
    tmp_path: Path, music: Phrases, coder: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bare.safetensors"
    coder.save(out, {"system": ID})
    folder = folder_of(tmp_path, music.tokens[:2])
    words = [ID, "--weights", str(out), "--data", str(folder), "--attributes"]
    assert cli.main(["evaluate", *words]) == 2
    assert "bare.space.safetensors could not be read" in capsys.readouterr().err


def test_made_up_phrases_of_the_benchmark() -> None:
    from models import bench_latent

    for bars in (2, 16):
        tokens = bench_latent.phrase(bars, 3)
        assert tokens.shape == (1, bars * BAR)
        assert melody.is_valid(tokens).all()


def test_missing_space_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="could not be read"):
        space.load(tmp_path / "none.space.safetensors", ID)

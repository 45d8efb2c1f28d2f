"""MusicVAE: its codes, its two ways of writing, and what the shipped weights bring back."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models import training
from models.representations.melody import (
    BAR,
    FIRST,
    HOLD,
    LOWEST,
    REST,
    TOKENS,
    Phrases,
    is_valid,
)
from models.score import UserError
from models.system import Context

NAMES = ("music_vae_2bar", "music_vae_16bar")
KINDS = [("music_vae_2bar", {}), ("music_vae_16bar", {}), ("music_vae_16bar", {"decoder": "flat"})]


def module(name: str) -> Any:
    return importlib.import_module(f"models.systems.{name}")


@pytest.fixture(scope="module", params=KINDS, ids=["2bar", "16bar", "16bar-flat"])
def untrained(request: pytest.FixtureRequest) -> Any:
    """A net with random weights, large enough for its logits to differ clearly."""
    torch.set_num_threads(1)
    name, sizes = request.param
    torch.manual_seed(0)
    small = {"latent": 64, "write": 48, **sizes}
    system = module(name).System.fresh(shape=module(name).Shape(**small))
    with torch.no_grad():
        for parameter in system.net.parameters():
            parameter.mul_(2)
    return system


@pytest.fixture(scope="module", params=NAMES)
def shipped(request: pytest.FixtureRequest) -> Any:
    torch.set_num_threads(1)
    return module(request.param).System.load()


def codes(system: Any, count: int) -> Tensor:
    z = np.random.default_rng(1).normal(size=(count, system.latent))
    return torch.from_numpy(z).float()


def noise(system: Any, count: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(2).random((count, system.bars * BAR)))


def melodies(bars: int) -> Tensor:
    """Plain tunes in C, G and F: scales up and down, arpeggios, a dotted rhythm with rests."""
    token = FIRST - LOWEST
    scale = [60, 62, 64, 65, 67, 69, 71, 72]
    tunes = []
    for k, shift in ((0, 0), (1, 7), (2, 5)):
        line: list[int] = []
        for bar in range(bars):
            if k == 0:  # quarters
                pitches = [scale[(bar * 3 + i) % 8] for i in range(4)]
                line += [t for p in pitches for t in (p + token, HOLD, HOLD, HOLD)]
            elif k == 1:  # eighths
                chord = [60, 64, 67, 72] if bar % 2 == 0 else [59, 62, 67, 71]
                line += [t for p in chord + chord[::-1] for t in (p + token + shift - 7, HOLD)]
            else:  # dotted quarter, eighth, half of which the end is silent
                a, b, c = scale[bar % 4], scale[bar % 4 + 1], scale[bar % 4 + 2]
                line += [a + token, *[HOLD] * 5, b + token, HOLD]
                line += [c + token, *[HOLD] * 5, REST, REST]
        tunes.append(line)
    return torch.tensor(tunes)


def test_codes_and_probabilities_have_their_shapes(untrained: Any) -> None:
    tokens = melodies(untrained.bars)
    mean, spread = untrained.encode(tokens)
    assert mean.shape == spread.shape == (3, untrained.latent)
    assert (spread > 0).all()
    rows = untrained.log_probs(tokens, mean)
    assert rows.shape == (3, untrained.bars * BAR, TOKENS)
    assert torch.allclose(rows.exp().sum(-1), torch.ones(rows.shape[:2]), atol=1e-4)


def test_writing_step_by_step_is_what_the_probabilities_say(untrained: Any) -> None:
    z = codes(untrained, 8)
    written = untrained.decode(z, masked=False)
    assert written.dtype == torch.int64
    assert (untrained.log_probs(written, z).argmax(-1) == written).all()
    assert len(written.unique(dim=0)) == 8  # codes matter


def test_drawing_follows_the_probabilities(untrained: Any) -> None:
    """The number drawn lies within its token's share of the cumulated probabilities."""
    z, numbers = codes(untrained, 8), noise(untrained, 8)
    written = untrained.decode(z, numbers, temperature=0.7, masked=False)
    shares = torch.softmax(untrained.log_probs(written, z).double() / 0.7, -1)
    upper = shares.cumsum(-1).gather(-1, written[..., None])[..., 0]
    lower = upper - shares.gather(-1, written[..., None])[..., 0]
    assert (numbers >= lower - 1e-4).all()
    assert (numbers <= upper + 1e-4).all()


def test_noise_decides_and_nothing_else(untrained: Any) -> None:
    z, numbers = codes(untrained, 4), noise(untrained, 4)
    once = untrained.decode(z, numbers)
    torch.manual_seed(5)
    assert (untrained.decode(z, numbers) == once).all()
    assert (untrained.decode(z, 1 - numbers) != once).any()
    cold = untrained.decode(z, numbers, temperature=0.0)
    assert (cold == untrained.decode(z)).all()


def test_a_past_bar_is_not_the_future(untrained: Any) -> None:
    """A token changes no probability at its own step or before."""
    tokens, z = melodies(untrained.bars)[:1], codes(untrained, 1)
    other = tokens.clone()
    other[0, 21] = REST
    before, after = untrained.log_probs(tokens, z), untrained.log_probs(other, z)
    assert torch.allclose(before[:, :22], after[:, :22], atol=1e-5)
    assert not torch.allclose(before[:, 22], after[:, 22], atol=1e-5)


def test_hierarchical_bars_do_not_hear_one_another() -> None:
    system = module("music_vae_16bar").System.fresh()
    tokens, z = melodies(16)[:1], codes(system, 1)
    other = tokens.clone()
    other[0, :BAR] = REST
    before, after = system.log_probs(tokens, z), system.log_probs(other, z)
    assert torch.allclose(before[:, BAR:], after[:, BAR:], atol=1e-5)


def test_masked_no_hold_holds_nothing(untrained: Any) -> None:
    z, numbers = codes(untrained, 32), noise(untrained, 32)
    free = untrained.decode(z, numbers, masked=False).numpy().astype(np.uint8)
    assert not is_valid(free).all()
    bound = untrained.decode(z, numbers).numpy().astype(np.uint8)
    assert is_valid(bound).all()


def test_a_batch_is_its_phrases_one_by_one(shipped: Any) -> None:
    z, numbers = codes(shipped, 16), noise(shipped, 16)
    together = shipped.decode(z, numbers)
    alone = [shipped.decode(z[i : i + 1], numbers[i : i + 1]) for i in range(16)]
    assert (together == torch.cat(alone)).all()
    mean, _ = shipped.encode(together)
    single = torch.cat([shipped.encode(together[i : i + 1])[0] for i in range(16)])
    assert torch.allclose(mean, single, atol=1e-4)


def test_shipped_weights_bring_phrases_back(shipped: Any) -> None:
    tokens = melodies(shipped.bars)
    mean, _ = shipped.encode(tokens)
    onset = tokens >= FIRST
    forced = shipped.log_probs(tokens, mean).argmax(-1)
    greedy = shipped.decode(mean)
    sampled = shipped.decode(mean, noise(shipped, 3))
    floors = {2: (0.97, 0.95, 0.9), 16: (0.9, 0.85, 0.8)}[shipped.bars]
    for guess, floor in zip((forced, greedy, sampled), floors, strict=True):
        assert (guess == tokens).float().mean() > floor
    assert (greedy == tokens)[onset].float().mean() > (0.9 if shipped.bars == 2 else 0.6)


def test_shipped_codes_are_spread_like_the_prior(shipped: Any) -> None:
    """Codes of tunes lie about as far out as numbers drawn from the prior do, none without width."""
    mean, spread = shipped.encode(melodies(shipped.bars))
    norm = (mean**2 + spread**2).sum(-1).sqrt() / shipped.latent**0.5
    assert (norm > 0.6).all()
    assert (norm < 1.6).all()
    assert (spread > 0.02).all()


def test_prior_samples_are_melodies(shipped: Any) -> None:
    z, numbers = codes(shipped, 32), noise(shipped, 32)
    free = shipped.decode(z, numbers, masked=False)
    assert is_valid(free.numpy().astype(np.uint8)).mean() > (0.9 if shipped.bars == 2 else 0.6)
    share = (free >= FIRST).float().mean()
    assert 0.15 < share < 0.45  # notes a step; the corpus has .24 to .30
    pitch = free[free >= FIRST] - FIRST + LOWEST
    assert 62 < pitch.float().mean() < 78


def test_the_flat_decoder_is_measured_beside_the_hierarchical_one() -> None:
    """On plain tunes both bring back more than holding everywhere would; bars cannot drift in one of them."""
    torch.set_num_threads(1)
    tokens = melodies(16).numpy().astype(np.uint8)
    zeros = np.zeros(3, np.int64)
    phrases = Phrases(tokens, zeros, zeros, zeros, ("made",))
    system = module("music_vae_16bar").System.load()
    figures = system.evaluate(phrases, Context(np.random.default_rng(0)))
    assert figures["accuracy_flat_teacher_forced"] > figures["accuracy_hold"]
    assert figures["accuracy_flat_greedy"] > figures["accuracy_hold"]
    for name in ("accuracy_sampled", "accuracy_onsets_sampled"):
        assert figures[name] > figures[name.replace("_sampled", "_flat_sampled")]


def test_half_precision_on_disk_costs_nothing(shipped: Any, tmp_path: Path) -> None:
    """What is loaded again is the very same, for the numbers were halves already."""
    path = tmp_path / "w.safetensors"
    shipped.save(path, {"system": shipped.card.id})
    again = type(shipped).load(path)
    tokens = melodies(shipped.bars)
    assert torch.equal(shipped.encode(tokens)[0], again.encode(tokens)[0])
    assert path.stat().st_size < 12_000_000


def test_half_precision_hardly_moves_a_code(untrained: Any, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    untrained.save(path, {"system": untrained.card.id})
    again = type(untrained).load(path)
    tokens = melodies(untrained.bars)
    mean, kept = untrained.encode(tokens)[0], again.encode(tokens)[0]
    assert (mean - kept).abs().max() < 0.02 * mean.abs().max()


def test_weights_without_a_shape_are_refused(untrained: Any, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    untrained.save(path, {"system": untrained.card.id})
    card = path.with_suffix(".json")
    card.write_text(f'{{"system": "{untrained.card.id}"}}', "utf-8")
    with pytest.raises(UserError, match="shape"):
        type(untrained).load(path)


def test_changed_weights_are_written_with_at_once(untrained: Any) -> None:
    """Tables prepared for stepping never outlive the weights they were made of."""
    z = codes(untrained, 4)
    before = untrained.decode(z, masked=False)
    with torch.no_grad():
        kept = untrained.net.says.bias.clone()
        untrained.net.says.bias[REST] += 100
        assert (untrained.decode(z, masked=False) == REST).all()
        untrained.net.says.bias.copy_(kept)
    assert (untrained.decode(z, masked=False) == before).all()


def test_training_tells_what_it_minimises() -> None:
    """One phrase, learnt by heart: its nats fall and the figures watched are consistent."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    kind = module("music_vae_2bar")
    small = kind.Shape(latent=16, width=16, kept=8, read=16, write=32)
    system = kind.System.fresh(shape=small)
    tokens = melodies(2).numpy().astype(np.uint8)
    zeros = np.zeros(3, np.int64)
    phrases = Phrases(tokens, zeros, zeros, zeros, ("made",))
    fit = training.Fit(system.net, training.Plan(10, rate=1e-2, warm_up=1))
    context = Context(np.random.default_rng(0))
    before = system.watch(phrases, context)
    steps = system.train(training.Corpus(phrases, phrases), context, fit)
    records = [next(steps) for _ in range(12)]
    steps.close()
    after = system.watch(phrases, context)
    assert records[-1]["nats"] < records[0]["nats"]
    assert after[system.WATCHED] < before[system.WATCHED]
    over = max(0.0, after["kl_nats"] - system.FREE_NATS)
    assert after["objective_nats"] >= after["reconstruction_nats"] + system.BETA * over - 1e-3

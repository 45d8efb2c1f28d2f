"""VRAE, GLSR-VAE and VRASH with the weights that come with the program."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from models import catalogue, weights
from models.representations.melody import BAR, FIRST, HOLD, REST, TOKENS, Phrases, is_valid
from models.space import rank_correlations
from models.systems import glsr_vae, vrae, vrash

NAMES = ("vrae", "glsr_vae", "vrash")
SCALE = FIRST + 24 + np.array([0, 2, 4, 5, 7, 9, 11, 12])


@pytest.fixture(scope="module", params=NAMES)
def system(request: pytest.FixtureRequest) -> Any:
    torch.set_num_threads(1)
    return catalogue.load(request.param)


def tunes(count: int = 48) -> Phrases:
    """Two-bar phrases that walk along a scale, some in quarters, some more in pairs of eighths, and end on
    a half."""
    rng = np.random.default_rng(5)
    tokens = np.full((count, 2 * BAR), HOLD, np.uint8)
    for row in tokens:
        share, degree = rng.random(), int(rng.integers(8))
        for beat in range(0, 24, 4):
            for at in (beat, beat + 2) if rng.random() < share else (beat,):
                row[at] = SCALE[degree]
                degree = int(np.clip(degree + rng.choice([-1, -1, 1, 1, 2]), 0, 7))
        row[24] = SCALE[0]
    zeros = np.zeros(count, np.int64)
    return Phrases(tokens, zeros, zeros, zeros, ("made/up",))


def long(phrases: Phrases) -> torch.Tensor:
    return torch.from_numpy(phrases.tokens.astype(np.int64))


def test_codes_and_tokens_have_the_shapes_they_should(system: Any) -> None:
    tokens = long(tunes(5))
    mean, spread = system.encode(tokens)
    assert mean.shape == spread.shape == (5, system.latent)
    assert (spread > 0).all()
    rows = system.log_probs(tokens, mean)
    assert rows.shape == (5, 2 * BAR, TOKENS)
    assert rows.exp().sum(-1).allclose(torch.ones(5, 2 * BAR), atol=1e-4)


def test_what_is_decoded_is_what_the_probabilities_say(system: Any) -> None:
    """Writing step by step and scoring a whole phrase at once are two ways through one net."""
    mean, _ = system.encode(long(tunes(16)))
    made = system.decode(mean, masked=False)
    assert torch.equal(system.log_probs(made, mean).argmax(-1), made)


def test_a_batch_is_decoded_as_one_by_one(system: Any) -> None:
    mean, _ = system.encode(long(tunes(8)))
    noise = torch.from_numpy(np.random.default_rng(0).random((8, 2 * BAR)))
    whole = system.decode(mean, noise)
    alone = torch.cat([system.decode(mean[i : i + 1], noise[i : i + 1]) for i in range(8)])
    assert (whole == alone).float().mean() > 0.99  # sums of products round differently
    assert torch.equal(whole, system.decode(mean, noise))
    assert not torch.equal(whole, system.decode(mean, noise.flip(0)))


def test_codes_from_the_prior_become_melodies(system: Any) -> None:
    rng = np.random.default_rng(2)
    z = torch.from_numpy(rng.normal(size=(64, system.latent))).float()
    made = system.decode(z, torch.from_numpy(rng.random((64, 2 * BAR)))).numpy()
    assert is_valid(made.astype(np.uint8)).mean() > 0.98
    notes = (made >= FIRST).sum(-1)
    assert 5 < notes.mean() < 15
    on_beats = (made[:, ::4] >= FIRST).sum() / notes.sum()
    assert on_beats > 0.45  # chance would be .25


def test_phrases_come_back_better_than_by_chance(system: Any) -> None:
    tokens = long(tunes())
    mean, _ = system.encode(tokens)
    made = system.decode(mean)
    onsets = tokens >= FIRST
    assert (made == tokens)[onsets].float().mean() > 0.35
    strangers = system.decode(mean.roll(1, 0))
    assert (strangers == tokens)[onsets].float().mean() < 0.25


def test_near_codes_are_near_melodies(system: Any) -> None:
    mean, _ = system.encode(long(tunes(32)))
    away = torch.from_numpy(np.random.default_rng(1).normal(size=tuple(mean.shape))).float()
    here = system.decode(mean)
    steps = [(system.decode(mean + r * away) != here).float().mean() for r in (0.1, 0.5, 2.0)]
    assert steps[0] < steps[1] < steps[2]


def test_moving_the_steady_dimension_adds_notes_at_its_rate() -> None:
    system = glsr_vae.System.load()
    figures = system.geodesic(tunes())
    plain = glsr_vae.System.load(weights.shipped(glsr_vae.PLAIN)).geodesic(tunes())
    assert figures["correlation_notes_dimension"] > 0.8
    assert figures["slider_notes_rho"] > 0.85
    rate = system.net.shape.rate
    assert 0.6 * rate < figures["slider_notes_per_unit"] < 1.3 * rate
    assert abs(plain["correlation_notes_dimension"]) < 0.6
    assert figures["slider_notes_per_unit"] > 3 * abs(plain["slider_notes_per_unit"])


def test_the_slope_is_of_notes_expected_on_either_side() -> None:
    """By its definition, with the nets' own probabilities."""
    system = glsr_vae.System.load()
    z = torch.from_numpy(np.random.default_rng(3).normal(size=(4, system.latent))).float()
    reach = torch.tensor([0.3, 0.5, 0.7, 0.9])
    past = torch.full((4, 2 * BAR), glsr_vae.UNKNOWN)
    past[:, 0] = glsr_vae.BEGINNING
    expected = []
    with torch.no_grad():
        for sign in (1, -1):
            there = z.clone()
            there[:, glsr_vae.STEADY] += sign * reach
            shares = system.net.decode(past, there).softmax(-1)
            expected.append(1 * 2 * BAR - shares[..., [REST, HOLD]].sum((-2, -1)))
        slope = system.slope(z, reach)
    assert slope.allclose((expected[0] - expected[1]) / (2 * reach), atol=1e-3)
    assert (slope > 0).all()


def test_the_term_pulls_an_untrained_net_to_its_rate() -> None:
    """With nothing but the geodesic term to obey, a net reaches the rate from none at all."""
    torch.manual_seed(0)
    system = glsr_vae.System.fresh(shape=glsr_vae.Shape(latent=4, read=8, write=16))
    adam = torch.optim.Adam(system.net.parameters(), 3e-2)
    reach = torch.full((16,), 0.5)
    for _ in range(30):
        slope = system.slope(torch.randn(16, 4), reach)
        adam.zero_grad()
        ((slope - 3.5) ** 2).mean().backward()  # type: ignore[no-untyped-call]
        adam.step()
    with torch.no_grad():
        slope = system.slope(torch.randn(16, 4), reach)
    assert abs(float(slope.mean()) - 3.5) < 1.0


def test_more_notes_slide_up_in_rank() -> None:
    """`slider_notes_rho` is 1 of a row that only grows, and 0 of one that stays."""
    grows, stays = np.arange(9), np.ones(9)
    assert rank_correlations(glsr_vae.MOVES, np.stack([grows, stays])).tolist() == [1.0, 0.0]


def test_a_net_without_gates_forgets() -> None:
    """As its card says, and its figures show by bar."""
    first, second = vrae.System.load().forgetting(tunes()).values()
    assert first > second + 0.05
    assert second > 0.5


def test_history_is_worth_something() -> None:
    figures = vrash.System.load().history(tunes())
    told, blank = "with_history", "without_history"
    assert figures[f"reconstruction_{told}_nats"] < figures[f"reconstruction_{blank}_nats"]
    assert figures[f"accuracy_{told}"] > figures[f"accuracy_{blank}"]
    assert figures[f"accuracy_{blank}"] > 0.5  # it was trained to do without

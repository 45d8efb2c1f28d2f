"""Paths between phrases and their figures: known answers for known paths."""

from __future__ import annotations

import numpy as np
import pytest

from models import latent_paths
from models.latent_paths import Language, measured, mixed, symbols
from models.representations.melody import FIRST, HOLD, REST, Tokens, repaired, transposed

C = FIRST + 24


def phrases(count: int, seed: int = 0, steps: int = 32) -> Tokens:
    rng = np.random.default_rng(seed)
    drawn = rng.choice([REST, HOLD, HOLD, HOLD, C, C + 2, C + 4, C + 5, C + 7], (count, steps))
    drawn[:, 0] = C
    return repaired(drawn.astype(np.uint8))


def test_symbols_are_the_same_in_every_key() -> None:
    tokens = phrases(20)
    assert np.array_equal(symbols(tokens), symbols(transposed(tokens, 5)))
    line = np.array([[C, HOLD, C + 2, REST, C - 3, C + 20]], np.uint8)
    assert symbols(line)[0].tolist() == [14, HOLD, 16, REST, 9, 26]  # 14: no interval; at most 12


def test_a_language_is_a_distribution() -> None:
    language = Language(phrases(50))
    start = np.array([[C]], np.uint8)
    ways = np.array([[C, t] for t in (REST, HOLD, *range(C - 12, C + 13))], np.uint8)
    first = np.exp(-language.nats(start))[0]
    both = np.exp(-2 * language.nats(ways))
    assert both.sum() == pytest.approx(first, rel=1e-9)


def test_what_was_heard_costs_less_than_noise() -> None:
    heard = np.repeat(phrases(5), 4, axis=0)
    language = Language(heard)
    noise = np.random.default_rng(1).permuted(heard, axis=1)
    assert language.nats(heard).mean() < 0.3 * language.nats(noise).mean()


def test_mixing_goes_from_one_end_to_the_other() -> None:
    a, b = phrases(3, 1), phrases(3, 2)
    path = mixed(a, b, 5, np.random.default_rng(0).random((3, 5, 32)))
    assert np.array_equal(path[:, 0], a)
    assert np.array_equal(path[:, -1], b)
    assert ((path == a[:, None]) | (path == b[:, None])).all()


def test_an_even_path_is_even_and_monotone_and_a_leap_is_neither() -> None:
    a, b = np.full((1, 30), C, np.uint8), np.full((1, 30), C + 4, np.uint8)
    language = Language(phrases(20))
    even = np.stack([np.where(np.arange(30) < 3 * k, b, a)[0] for k in range(11)])[None]
    figures = measured(even, language, "x")
    assert figures["x_mean_step"] == pytest.approx(0.1)
    assert figures["x_largest_step"] == pytest.approx(0.1)
    assert figures["x_monotone_rho"] == pytest.approx(1)
    leap = np.where(np.arange(11)[None, :, None] < 9, a[:, None], b[:, None])
    figures = measured(leap, language, "x")
    assert figures["x_largest_step"] == pytest.approx(1)
    assert figures["x_monotone_rho"] < 0.8


def test_notes_out_of_scale_are_counted() -> None:
    scale = np.array([[C + p for p in (0, 2, 4, 5, 7, 9, 11, 12)]], np.uint8)
    assert latent_paths.out_of_scale(scale) == 0
    chromatic = scale.copy()
    chromatic[0, 1] = C + 1
    assert latent_paths.out_of_scale(chromatic) == pytest.approx(1 / 8)
    assert latent_paths.out_of_scale(np.zeros((2, 8), np.uint8)) == 0

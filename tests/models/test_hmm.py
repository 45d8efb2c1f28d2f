"""Hidden Markov models, against what counting every path finds."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.strategies.hmm import Chain, Multinomial, Normal

STATES = 3


def chain(rng: np.random.Generator) -> Chain:
    rows = rng.dirichlet(np.ones(STATES), STATES + 1)
    return Chain(np.log(rows[0]), np.log(rows[1:]))


def every(model: Chain, emissions: np.ndarray) -> dict[tuple[int, ...], float]:
    """Log probability of every path with what is observed."""
    found = {}
    for path in product(range(STATES), repeat=len(emissions)):
        cost = model.initial[path[0]] + sum(emissions[t, s] for t, s in enumerate(path))
        moves = pairwise(path)
        found[path] = float(cost + sum(model.transition[a, b] for a, b in moves))
    return found


@given(st.integers(0, 10_000), st.integers(1, 5))
def test_viterbi_and_posterior_are_what_all_paths_say(seed: int, length: int) -> None:
    rng = np.random.default_rng(seed)
    model, emissions = chain(rng), rng.normal(0, 2, (length, STATES))
    paths = every(model, emissions)
    assert paths[tuple(model.viterbi(emissions).tolist())] == pytest.approx(max(paths.values()))
    weight = np.exp(np.array(list(paths.values())))
    wanted = np.zeros((length, STATES))
    for path, share in zip(paths, weight / weight.sum(), strict=True):
        wanted[np.arange(length), path] += share
    assert np.exp(model.posterior(emissions)) == pytest.approx(wanted)


def test_paths_are_drawn_as_often_as_they_are_likely() -> None:
    rng = np.random.default_rng(2)
    model, emissions = chain(rng), rng.normal(0, 1, (3, STATES))
    drawn = [tuple(model.draw(emissions, rng.random(3)).tolist()) for _ in range(4000)]
    paths = every(model, emissions)
    total = np.logaddexp.reduce(list(paths.values()))
    for path, log in paths.items():
        assert drawn.count(path) / 4000 == pytest.approx(np.exp(log - total), abs=0.03)


def test_it_learns_by_counting() -> None:
    model = Chain.fit([np.array([0, 1, 1, -1, 2]), np.array([0, 1])], STATES, prior=1)
    assert np.exp(model.initial) == pytest.approx([3 / 5, 1 / 5, 1 / 5])
    assert np.exp(model.transition[0]) == pytest.approx([1 / 5, 3 / 5, 1 / 5])
    assert np.exp(model.transition[1]) == pytest.approx([1 / 4, 2 / 4, 1 / 4])
    assert np.exp(model.transition[2]) == pytest.approx([1 / 3] * 3)  # what follows is unknown


def test_emissions_tell_states_apart() -> None:
    rng = np.random.default_rng(0)
    label = np.repeat([0, 1], 200)
    centre = np.array([[0.8, 0.1, 0.1], [0.1, 0.1, 0.8]])
    seen = np.clip(centre[label] + rng.normal(0, 0.1, (400, 3)), 0, 1)
    normal = Normal.fit(seen, label, STATES, shrink=0.5)
    assert normal.mean[:2] == pytest.approx(centre, abs=0.05)
    away = (seen[0] - normal.mean[1]) ** 2 / normal.variance[1]
    density = -0.5 * (away + np.log(2 * np.pi * normal.variance[1])).sum()
    assert normal.log(seen[:1])[0, 1] == pytest.approx(density)
    for model in (normal, Multinomial.fit(seen, label, STATES, weight=3.0)):
        assert (model.log(seen)[:, :2].argmax(1) == label).all()
        assert np.isfinite(model.log(seen)).all()  # the state never seen is not impossible

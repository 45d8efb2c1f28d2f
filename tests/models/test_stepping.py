"""Steps of recurrent nets with numpy: what torch's own do, and draws by Gumbel's noise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from models.strategies import stepping
from models.strategies.stepping import LSTM, Walk


def test_steps_are_what_torch_does() -> None:
    """Two modules, three layers: the first three inputs are a row of a table, the others heard."""
    torch.manual_seed(0)
    low, high = nn.LSTM(5, 4), nn.LSTM(4, 6, num_layers=2)
    table = torch.randn(7, 3)
    rows = torch.randint(7, (9, 2))
    heard = torch.randn(9, 2, 2)
    with torch.no_grad():
        whole = high(low(torch.cat([table[rows], heard], -1))[0])[0].numpy()
    lstm = LSTM(stepping.weights(low, high), heard=2)
    walk, told = Walk(lstm, 2), lstm.rows(table)
    for t in range(9):
        walk.heard[:] = heard[t].numpy()
        assert walk.step(told[rows[t].numpy()]) == pytest.approx(whole[t], abs=1e-5)
        assert np.array_equal(walk.inputs[:, :2], heard[t].numpy())


def test_rows_add_up_and_may_be_of_some_inputs() -> None:
    torch.manual_seed(0)
    net = nn.LSTM(5, 4)
    lstm = LSTM(stepping.weights(net))
    x = torch.randn(3, 5)
    parts = lstm.rows(x[:, :2]) + lstm.rows(x[:, 2:], first=2, bias=False)
    assert parts == pytest.approx(lstm.rows(x), abs=1e-5)


def test_a_row_goes_on_from_where_another_was() -> None:
    torch.manual_seed(0)
    lstm = LSTM(stepping.weights(nn.LSTM(3, 4, num_layers=2)))
    told = lstm.rows(torch.randn(4, 3))
    walk, other = Walk(lstm, 2), Walk(lstm, 1)
    walk.step(told[:2])
    place = walk.state(1)
    expected = walk.step(told[2:])[1].copy()
    other.put(place)
    assert np.array_equal(other.step(told[3:])[0], expected)
    walk.put(place, 0)
    assert np.array_equal(walk.step(told[[3, 0]])[0], expected)
    walk.forget()
    fresh = Walk(lstm, 2)
    assert np.array_equal(walk.step(told[:2]), fresh.step(told[:2]))


def test_the_largest_with_gumbels_noise_is_drawn_by_softmax() -> None:
    logits = np.log(np.array([0.5, 0.3, 0.15, 0.05]))
    noise = stepping.gumbel(np.random.default_rng(0), 40_000, 4)
    shares = np.bincount((logits + noise).argmax(-1), minlength=4) / 40_000
    assert shares == pytest.approx(np.exp(logits), abs=0.01)
    assert np.isfinite(noise).all()

"""Hidden Markov models: states that follow one another, each with its own idea of what is observed.

Fitted by counting, since the states are known where it learns; the likeliest path (Viterbi 1967), the
probability of each state at each moment (forward-backward), and paths drawn in proportion to theirs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Log = npt.NDArray[np.float64]
Column = npt.NDArray[np.int64]
Vectors = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Chain:
    """How states follow one another: initial [S] and transition [S, S] (from, to), log probabilities."""

    initial: Log
    transition: Log

    @classmethod
    def fit(cls, paths: Sequence[Column], states: int, prior: float = 0.1) -> Chain:
        """Counts over paths of states, −1 being unknown; `prior` is added to every count."""
        initial = np.full(states, prior)
        transition = np.full((states, states), prior)
        for path in paths:
            if len(path) and path[0] >= 0:
                initial[path[0]] += 1
            both = (path[:-1] >= 0) & (path[1:] >= 0)
            np.add.at(transition, (path[:-1][both], path[1:][both]), 1)
        return cls(
            np.log(initial / initial.sum()),
            np.log(transition / transition.sum(1, keepdims=True)),
        )

    def viterbi(self, emissions: Log) -> Column:
        """[T]: the likeliest path through log probabilities [T, S] of what is observed."""
        T, S = emissions.shape
        best = self.initial + emissions[0]
        back = np.zeros((T, S), np.int64)
        for t in range(1, T):
            through = best[:, None] + self.transition
            back[t] = through.argmax(0)
            best = through.max(0) + emissions[t]
        path = np.zeros(T, np.int64)
        path[-1] = best.argmax()
        for t in range(T - 1, 0, -1):
            path[t - 1] = back[t, path[t]]
        return path

    def posterior(self, emissions: Log) -> Log:
        """[T, S]: log probability of each state at each moment, given all that is observed."""
        backward = np.zeros_like(emissions)
        for t in range(len(emissions) - 2, -1, -1):
            backward[t] = _sum(self.transition + emissions[t + 1] + backward[t + 1], 1)
        joint = self._forward(emissions) + backward
        return np.asarray(joint - _sum(joint, 1)[:, None])

    def draw(self, emissions: Log, uniform: Log) -> Column:
        """[T]: a path drawn with its probability given all that is observed, by uniform numbers [T] in
        [0, 1): forward once, then backwards, a state at a time."""
        forward = self._forward(emissions)
        path = np.zeros(len(emissions), np.int64)
        onward = np.zeros(emissions.shape[1])
        for t in range(len(emissions) - 1, -1, -1):
            weight = forward[t] + onward
            odds = np.cumsum(np.exp(weight - weight.max()))
            path[t] = np.searchsorted(odds, uniform[t] * odds[-1], side="right")
            onward = self.transition[:, path[t]]
        return path

    def _forward(self, emissions: Log) -> Log:
        """[T, S]: log probability of what was observed so far and of being in each state now."""
        out = np.empty_like(emissions)
        out[0] = self.initial + emissions[0]
        for t in range(1, len(emissions)):
            out[t] = _sum(out[t - 1][:, None] + self.transition, 0) + emissions[t]
        return out


@dataclass(frozen=True, eq=False)
class Normal:
    """Observations of a state follow a normal distribution of mean [S, D] and variance [S, D]."""

    mean: Log
    variance: Log

    @classmethod
    def fit(cls, observed: Vectors, label: Column, states: int, shrink: float = 4.0) -> Normal:
        """Moments of observations [N, D] by their states [N]; `shrink` observations as they are on the
        whole are added to each, so that a state seldom seen is no spike."""
        x = observed.astype(np.float64)
        total, square = np.zeros((2, states, x.shape[1]))
        np.add.at(total, label, x)
        np.add.at(square, label, x**2)
        count = np.bincount(label, minlength=states)[:, None] + shrink
        mean = (total + shrink * x.mean(0)) / count
        second = (square + shrink * (x**2).mean(0)) / count
        return cls(mean, np.maximum(second - mean**2, 0.01 * x.var(0).mean() + 1e-6))

    def log(self, observed: Vectors) -> Log:
        """[T, S]: log density of each observation [T, D] in each state."""
        away = (observed[:, None].astype(np.float64) - self.mean) ** 2 / self.variance
        return np.asarray(-0.5 * (away + np.log(2 * np.pi * self.variance)).sum(-1))


@dataclass(frozen=True, eq=False)
class Multinomial:
    """Observations are shares of D things, each state with its own odds: `odds` [S, D] are logarithms.
    `weight` is how many independent draws an observation counts for."""

    odds: Log
    weight: float

    @classmethod
    def fit(
        cls, observed: Vectors, label: Column, states: int, weight: float, shrink: float = 8.0
    ) -> Multinomial:
        """Odds from observations [N, D] and their states [N]; `shrink` observations as they are on the
        whole are added to each."""
        total = np.zeros((states, observed.shape[1]))
        np.add.at(total, label, observed)
        whole = observed.sum(0) + 1e-3
        total += shrink * whole / whole.sum()
        return cls(np.log(total / total.sum(1, keepdims=True)), weight)

    def log(self, observed: Vectors) -> Log:
        """[T, S]: log probability of each observation [T, D] in each state, but for a constant."""
        return np.asarray(self.weight * (observed.astype(np.float64) @ self.odds.T))


@dataclass(frozen=True, eq=False)
class Tagger:
    """A hidden Markov model that names states: its chain, and two ideas of what is observed in a state,
    shares of independent draws and the normal distribution; `share` [S] is how often each state is met,
    as a logarithm."""

    share: Log
    chain: Chain
    draws: Multinomial
    normal: Normal

    @classmethod
    def fit(
        cls, observed: Sequence[Vectors], paths: Sequence[Column], states: int, weight: float
    ) -> Tagger:
        """From sequences of observations [T, D] and their states [T], −1 being unknown; `weight` is the
        draws'."""
        label = np.concatenate(paths)
        known = label >= 0
        x, label = np.concatenate(observed)[known], label[known]
        count = np.bincount(label, minlength=states) + 0.5
        return cls(
            np.log(count / count.sum()),
            Chain.fit(paths, states),
            Multinomial.fit(x, label, states, weight),
            Normal.fit(x, label, states),
        )

    def tensors(self) -> dict[str, Log]:
        """Its tables by name."""
        return {
            "share": self.share,
            "initial": self.chain.initial,
            "transition": self.chain.transition,
            "odds": self.draws.odds,
            "mean": self.normal.mean,
            "variance": self.normal.variance,
        }

    @staticmethod
    def shapes(S: int, D: int) -> dict[str, tuple[int, ...]]:
        """The shapes of those tables."""
        tables = dict.fromkeys(("odds", "mean", "variance"), (S, D))
        return {"share": (S,), "initial": (S,), "transition": (S, S), **tables}

    @classmethod
    def of(cls, tables: Mapping[str, Vectors], weight: float) -> Tagger:
        """From tables by name."""
        t = {name: table.astype(np.float64) for name, table in tables.items()}
        return cls(
            t["share"],
            Chain(t["initial"], t["transition"]),
            Multinomial(t["odds"], weight),
            Normal(t["mean"], t["variance"]),
        )


def _sum(log: Log, axis: int) -> Log:
    """The logarithm of the sum of exponentials."""
    most = log.max(axis, keepdims=True)
    return np.asarray(np.log(np.exp(log - most).sum(axis)) + most.squeeze(axis))

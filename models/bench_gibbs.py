"""`ricercar bench gibbs`: how fast DeepBach writes sixteen bars, and how good they are by its own lights."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from models import catalogue
from models.card import Task, Value
from models.device import settle
from models.score import Region, Score
from models.strategies import gibbs
from models.system import Ask, Context, Proposal
from models.timebase import PPQ

TICKS = 16 * 4 * PPQ
SEEDS = range(8)
PAIRS = range(5)
LONG_SWEEPS = 25
LONG_CHAINS = 4
WINDOW = 16
PUBLISHED_ITERATIONS, PUBLISHED_UPDATES = 500, 32


def _made(
    system: Any, values: Mapping[str, Value], seed: int, count: int, device: str
) -> tuple[float, float, list[float]]:
    """(seconds to the first proposal, seconds in all, nats of each candidate) of sixteen bars."""
    ask = Ask(Task.CREATE, Score(), Region(0, TICKS), values, seed, count)
    began = time.perf_counter()
    first = 0.0
    nats: dict[int, float] = {}
    for step in system.generate(ask, Context(np.random.default_rng(seed), device)):
        if isinstance(step, Proposal):
            first = first or time.perf_counter() - began
            if step.final:
                nats[step.candidate] = step.figures["nats_per_site"]
    return first, time.perf_counter() - began, list(nats.values())


def run(device: str = "cpu") -> Mapping[str, float]:
    """Sixteen bars of four voices from nothing, with the shipped weights and default parameters; the
    likelihoods without the rule against parallels, which is no part of the networks'. The first request
    of a session also imports torch and reads the weights, which these times leave out.

    seconds_16_bars and first_note_s: medians over seeds. updates_per_s: sites drawn a second.
    candidates_8_ratio: the time of eight candidates at once over that of one, the median of pairs.
    pseudo_nll: mean −log p (nats, temperature 1) of every site given all others, over seeds;
    pseudo_nll_long_run: the same after LONG_SWEEPS sweeps of the exact sampler from random notes at the
    sampling temperature the fast one starts at.
    published_seconds_16_bars: 500 iterations of 32 updates, each with a window of 16 steps on either side
    of its note, as the published implementation works, with the same weights (from a shorter run).
    """
    settle(device)
    system: Any = catalogue.load("deep_bach", None, device)
    usual = system.card.values()
    values = system.card.values({"strictness": 0.0})
    _made(system, usual, 99, 1, device)  # the first request also fills torch's caches
    runs = [_made(system, usual, seed, 1, device) for seed in SEEDS]
    plain = [_made(system, values, seed, 1, device)[2] for seed in SEEDS]
    # Pair by pair, one right after the other: the machine's speed drifts.
    ratios = []
    for seed in PAIRS:
        one = _made(system, usual, seed, 1, device)[1]
        ratios.append(_made(system, usual, seed, 8, device)[1] / one)
    canvas = system.canvas(Ask(Task.CREATE, Score(), Region(0, TICKS), values, 0, 1), 0)
    began = time.perf_counter()
    canvas.fill(values["temperature"])
    for _ in gibbs.anneal(canvas, values["iterations"], values["temperature"], 0.0):
        pass
    rate = canvas.updates / (time.perf_counter() - began)
    ask = Ask(Task.CREATE, Score(), Region(0, TICKS), values, 1, LONG_CHAINS)
    long = system.canvas(ask, 1)
    long.scatter()
    began = time.perf_counter()
    for _ in gibbs.exact(long, LONG_SWEEPS, values["temperature"]):
        pass
    long_seconds = time.perf_counter() - began
    long_nats = float(long.nats().mean())
    return {
        "seconds_16_bars": float(np.median([s for _, s, _ in runs])),
        "first_note_s": float(np.median([f for f, _, _ in runs])),
        "updates_per_s": rate,
        "candidates_8_ratio": float(np.median(ratios)),
        "pseudo_nll": float(np.mean([n for nats in plain for n in nats])),
        "pseudo_nll_long_run": long_nats,
        "long_run_seconds": long_seconds,
        "long_run_updates_per_s": long.updates / long_seconds,
        "published_seconds_16_bars": _published(system, long),
        "torch_threads": float(torch.get_num_threads()),
    }


def _published(system: Any, canvas: gibbs.Canvas, iterations: int = 20) -> float:
    """Seconds 500 iterations of 32 windowed updates would take, from `iterations` of them."""
    rng = np.random.default_rng(0)
    span = np.arange(-WINDOW, WINDOW + 1)
    began = time.perf_counter()
    for i in range(iterations):
        at = rng.integers(WINDOW, canvas.steps - WINDOW, PUBLISHED_UPDATES)
        around = torch.from_numpy(at[:, None] + span)
        with torch.inference_mode():
            logits = system.voice_logits(i % 4, canvas.tokens[0, around], canvas.meta[around])
            canvas.tokens[0, at, i % 4] = gibbs.draw(
                logits[:, WINDOW],
                canvas.allowed[at, i % 4],
                1.0,
                torch.from_numpy(rng.random(PUBLISHED_UPDATES, np.float32)),
            )
    return (time.perf_counter() - began) * PUBLISHED_ITERATIONS / iterations

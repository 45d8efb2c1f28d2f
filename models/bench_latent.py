"""`ricercar bench latent`: how fast phrases become codes and codes phrases."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from models import catalogue
from models.card import Task
from models.coder import Coder
from models.representations import melody
from models.representations.melody import BAR, HOLD
from models.score import Notes, Region, Score, Track
from models.strategies.codes import decode, encode, slerp
from models.system import Ask, Context
from models.timebase import SIXTEENTH

TIMES = 25
PATH = 16


def run(device: str = "cpu") -> Mapping[str, float]:
    """Milliseconds with the shipped weights, medians over TIMES, on one thread; reading the
    weights and first calls are left out.

    two_bar_ms, sixteen_bar_ms: one phrase encoded and decoded. interpolate_16_ratio: of two bars, both ends
    encoded and a path of 16 decoded in one batch, over encoding and decoding one phrase right before it;
    interpolate_16_sixteen_bar_ratio: the same of sixteen bars. reshape_ms: a whole request of two bars with a
    slider, from notes to notes; reshape_sixteen_bar_ms likewise.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        two: Any = catalogue.load("music_vae_2bar", None, device)
        sixteen: Any = catalogue.load("music_vae_16bar", None, device)
        two_ms, two_ratio = _coding(two)
        sixteen_ms, sixteen_ratio = _coding(sixteen)
        return {
            "two_bar_ms": two_ms,
            "sixteen_bar_ms": sixteen_ms,
            "interpolate_16_ratio": two_ratio,
            "interpolate_16_sixteen_bar_ratio": sixteen_ratio,
            "reshape_ms": _median(lambda: _reshape(two, device)),
            "reshape_sixteen_bar_ms": _median(lambda: _reshape(sixteen, device)),
        }
    finally:
        torch.set_num_threads(threads)


def phrase(bars: int, seed: int) -> melody.Tokens:
    """A made-up phrase [1, 16 × bars] of eighths and quarters."""
    rng = np.random.default_rng(seed)
    out = np.full(bars * BAR, HOLD, np.uint8)
    onset = np.unique(np.append(0, rng.choice(len(out) // 2, 5 * bars) * 2))
    out[onset] = melody.FIRST + 24 + rng.choice([0, 2, 4, 5, 7, 9, 11, 12], len(onset))
    return out[None]


def _coding(coder: Coder) -> tuple[float, float]:
    """(ms of one phrase there and back, a path's time over that, pair by pair: the machine's speed drifts)"""
    ends = [phrase(coder.bars, seed) for seed in (0, 1)]

    def once() -> None:
        decode(coder, encode(coder, ends[0]))

    def path() -> None:
        z = encode(coder, np.concatenate(ends))
        decode(coder, np.stack([slerp(z[0], z[1], float(t)) for t in np.linspace(0, 1, PATH)]))

    once()
    path()
    pairs = np.array([(_ms(once), _ms(path)) for _ in range(TIMES)])
    return float(np.median(pairs[:, 0])), float(np.median(pairs[:, 1] / pairs[:, 0]))


def _reshape(system: Any, device: str) -> None:
    """One request of the slider that makes a phrase denser."""
    onset, duration, pitch = melody.to_notes(phrase(system.bars, 2)[0], 0)
    score = Score((Track(0, "Melody", Notes.of(onset, duration, pitch)),))
    region = Region(0, system.bars * BAR * SIXTEENTH, frozenset({0}))
    ask = Ask(Task.RESHAPE, score, region, system.card.values({"density": 1.0}))
    for _ in system.generate(ask, Context(np.random.default_rng(0), device)):
        pass


def _ms(call: Callable[[], None]) -> float:
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1000


def _median(call: Callable[[], None]) -> float:
    call()
    return float(np.median([_ms(call) for _ in range(TIMES)]))

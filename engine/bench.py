"""`ricercar bench`: which function takes which figures. A benchmark measures and prints; it asserts nothing."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping

from models.score import UserError

BENCHMARKS = {
    "gibbs": "models.bench_gibbs:run",
    "latent": "models.bench_latent:run",
    "midi": "engine.bench_midi:run",
    "sync": "engine.bench_sync:run",
    "soak": "engine.bench_soak:run",
    "live": "engine.bench_live:run",
    "answers": "engine.bench_answers:run",
    "roll": "app.bench_roll:run",
    "systems": "models.bench_systems:run",
    "start": "app.bench_start:run",
    "map": "app.bench_map:run",
    "performance": "app.bench_performance:run",
    "score": "engine.bench_score:run",
    "durability": "engine.bench_durability:run",
}
"""Name → module:function, which takes nothing and returns figure name → number."""


def run(name: str) -> Mapping[str, float]:
    """Take the figures of one benchmark; UserError when there is none of that name."""
    if name not in BENCHMARKS:
        raise UserError(f"There is no benchmark {name!r}; choose one of {', '.join(BENCHMARKS)}.")
    module, _, function = BENCHMARKS[name].partition(":")
    # By name, because some of them lie in `app` or bring torch, and the engine imports neither.
    take: Callable[[], Mapping[str, float]] = getattr(importlib.import_module(module), function)
    return take()

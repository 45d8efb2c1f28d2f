"""Sliders of a latent space: learning which way attributes lie, and measuring what moving one does."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models import catalogue
from models import space as spaces
from models.attributes import NAMES, measure
from models.coder import Coder
from models.representations.melody import Phrases
from models.space import ACTS, SLIDER, Space
from models.strategies.codes import Codes, decode, encode
from models.strategies.steering import REACH, steer_each

Real = npt.NDArray[np.float64]

LEARN_STEPS = 640_000
"""Steps of music directions and map are learnt from: 20,000 phrases of two bars."""
SCALE_STEPS = 800
CURVE_STEPS = 2_048
"""Steps of held-out music response curves are taken over: 64 phrases of two bars."""
POINT_BYTES = 256_000
MOST_POINTS = 2_000


@dataclass(frozen=True, eq=False)
class Curves:
    """What sliders do. mean [9, 7]: change of each attribute at each of SLIDER, in the corpus's standard
    deviations; rho [9]: Spearman's ρ of slider and attribute over the seven decodings of a phrase, averaged over
    phrases (0 where nothing changes); drift [9]: how far each other attribute goes, either way, for a slider
    unit, averaged over phrases and over sliders −1 and +1; shift [9]: the same of the mean over phrases."""

    mean: Real
    rho: Real
    drift: Real
    shift: Real


def curves(coder: Coder, space: Space, z: Codes, choosing: bool = True) -> Curves:
    """The sliders' curves from codes z [N, L], decoded greedily: as `strategies.steering` moves them, or
    without `choosing` by the directions alone."""
    count, middle = len(NAMES), SLIDER.index(0)
    others = [s for s in SLIDER if s]
    mean, rho = np.zeros((count, len(SLIDER))), np.zeros(count)
    drift, shift = np.zeros(count), np.zeros(count)
    before = measure(decode(coder, z))
    for k in range(count):
        wanted = np.zeros((len(z), len(others), count))
        wanted[..., k] = others
        rows, flat = np.repeat(z, len(others), 0), wanted.reshape(-1, count)
        if choosing:
            tokens = steer_each(coder, space, rows, flat)[2]
        else:
            tokens = decode(coder, (rows + flat @ space.direction).astype(np.float32))
        found = measure(tokens).reshape(len(z), len(others), count)
        change = (found - before[:, None]).astype(np.float64) / space.scale
        change = np.insert(change, middle, 0.0, axis=1)
        mean[k] = change[..., k].mean(0)
        rho[k] = spaces.rank_correlations(SLIDER, change[..., k].round(4)).mean()
        rest = np.delete(change[:, [middle - 1, middle + 1]], k, -1)  # N, 2, 8
        drift[k] = np.abs(rest).mean()
        shift[k] = np.abs(rest.mean(0)).mean()
    return Curves(mean, rho, drift, shift)


def figures(coder: Coder, space: Space, data: Phrases) -> dict[str, float]:
    """The response of each attribute to its slider over phrases of `data`; see `Curves`.

    NAME_at_minus_2 …, NAME_rho, NAME_drift, NAME_drift_mean; NAME_rho_vector, NAME_drift_vector: the same
    of the learnt direction alone, without choosing among points along it.
    """
    picked = data.where(_spaced(len(data), CURVE_STEPS // data.tokens.shape[1]))
    z = encode(coder, picked.tokens)
    found, plain = curves(coder, space, z), curves(coder, space, z, choosing=False)
    table: dict[str, float] = {"curve_phrases": len(picked)}
    for k, name in enumerate(NAMES):
        for s, value in zip(SLIDER, found.mean[k], strict=True):
            place = f"minus_{-s}" if s < 0 else f"plus_{s}" if s else "0"
            table[f"{name}_at_{place}"] = float(value)
        table[f"{name}_rho"] = float(found.rho[k])
        table[f"{name}_drift"] = float(found.drift[k])
        table[f"{name}_drift_mean"] = float(found.shift[k])
        table[f"{name}_rho_vector"] = float(plain.rho[k])
        table[f"{name}_drift_vector"] = float(plain.drift[k])
    table["rho_mean"] = float(found.rho.mean())
    table["rho_vector_mean"] = float(plain.rho.mean())
    table["sliders_acting"] = int((found.rho >= ACTS).sum())
    return table


def learn(
    coder: Coder,
    train: Phrases,
    held_out: Phrases,
    rng: np.random.Generator,
    way: Any = spaces.directions,
) -> Space:
    """The space of a coder: directions (by `way`, from codes and attributes) and map from phrases of `train`,
    curves from `held_out`. A coder's AXES (attribute → dimension) name directions it was trained to have."""
    steps = train.tokens.shape[1]
    picked = train.where(rng.permutation(len(train))[: LEARN_STEPS // steps])
    z, measured = encode(coder, picked.tokens), measure(picked.tokens)
    _, mean, scale = spaces.standard(measured)
    direction = way(z, measured)
    for name, axis in getattr(coder, "AXES", {}).items():
        slope = np.polyfit(z[:, axis], measured[:, NAMES.index(name)], 1)[0] if len(z) > 1 else 0
        row = np.zeros(z.shape[1])
        row[axis] = (-1 if slope < 0 else 1) * z[:, axis].std()
        direction[NAMES.index(name)] = row
    center, axes = spaces.chart(z, measured)
    places = (z - center) @ axes.T
    shown = spaces.spread_out(places, min(MOST_POINTS, POINT_BYTES // steps), rng)
    none = np.zeros(len(NAMES), np.float32)
    space = Space(
        direction.astype(np.float32),
        mean.astype(np.float32),
        scale.astype(np.float32),
        np.zeros((len(NAMES), len(SLIDER)), np.float32),
        none,
        none,
        z.std(0),
        center,
        axes,
        places[shown].astype(np.float16),
        measured[shown].astype(np.float16),
        picked.tokens[shown],
    )
    space = scaled(coder, space, z[: max(1, SCALE_STEPS // steps)])
    seen = held_out.where(_spaced(len(held_out), CURVE_STEPS // steps))
    found = curves(coder, space, encode(coder, seen.tokens))
    return replace(
        space,
        curve=found.mean.astype(np.float32),
        rho=found.rho.astype(np.float32),
        drift=found.drift.astype(np.float32),
    )


def write(system_id: str, path: Path, corpus: Any, seed: int, device: str) -> Path:
    """Learns the space of the weights at `path` from a `training.Corpus` of phrases and writes it beside them;
    returns where."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    coder: Any = catalogue.load(system_id, path, device)
    found = learn(coder, corpus.train, corpus.valid, np.random.default_rng(seed))
    card = {
        "system": system_id,
        "weights_sha256": digest,
        "corpus": f"{corpus.name}: {len(corpus.train)} to learn from, {len(corpus.valid)} for curves",
        "attribution": corpus.attribution,
        "license": "MIT",
        "seed": seed,
        "rho": {n: round(float(r), 3) for n, r in zip(NAMES, found.rho, strict=True)},
    }
    out = spaces.beside(path)
    spaces.save(out, found, card)
    return out


def scaled(coder: Coder, space: Space, z: Codes) -> Space:
    """The space with each direction as long as moves its attribute by one deviation a slider unit: the median
    over codes z [N, L], sliders −2 and +2, of how far along it the best point lies."""
    direction = space.direction.copy()
    for k in range(len(NAMES)):
        wanted = np.zeros((2 * len(z), len(NAMES)))
        wanted[:, k] = np.repeat((-2.0, 2.0), len(z))
        far = steer_each(coder, space, np.concatenate([z, z]), wanted)[1]
        direction[k] *= np.median(REACH[far])
    return replace(space, direction=direction)


def _spaced(length: int, most: int) -> npt.NDArray[np.int64]:
    return np.linspace(0, length - 1, min(length, max(1, most))).astype(np.int64)

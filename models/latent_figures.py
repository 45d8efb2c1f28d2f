"""Figures of systems with a latent space: what comes back from a code, and what a code costs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models import latent_paths
from models.attributes import measure
from models.coder import Coder
from models.representations.melody import BAR, FIRST, HOLD, Phrases, Tokens, is_valid
from models.system import Context

Real = npt.NDArray[np.float64]

MOST_STEPS = 80_000
"""Steps of music looked at, so that figures take minutes at most: 2500 phrases of two bars."""
PATHS_STEPS = 6_400
BATCH = 512


def some(data: Phrases, steps: int) -> Phrases:
    """At most so many steps' worth of phrases, evenly spaced."""
    most = max(1, steps // data.tokens.shape[1])
    return data.where(np.linspace(0, len(data) - 1, min(len(data), most)).astype(np.int64))


def codes(coder: Coder, tokens: Tokens) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [N, L] of the codes of phrases [N, T]."""
    parts = [coder.encode(part) for part in torch.split(_long(tokens), BATCH)]
    return torch.cat([m for m, _ in parts]), torch.cat([s for _, s in parts])


def decoded(
    coder: Coder, z: Tensor, rng: np.random.Generator | None = None, masked: bool = True
) -> Tokens:
    """Phrases [N, T] of codes [N, L], the likeliest tokens, or drawn at temperature 1 if `rng` is given."""
    out = []
    for part in torch.split(z, BATCH):
        noise = None
        if rng is not None:
            noise = torch.from_numpy(rng.random((len(part), coder.bars * BAR), np.float32))
        out.append(coder.decode(part, noise, masked=masked).numpy().astype(np.uint8))
    return np.concatenate(out)


def evaluate(coder: Coder, data: Phrases, context: Context) -> Mapping[str, float]:
    """What a coder makes of phrases it has not seen; counts of steps are shares.

    accuracy: tokens that come back from the mean code: given the true past (teacher_forced), written freely
    by the likeliest tokens (greedy) or drawn at temperature 1 (sampled), masked; the same on steps where a
    note begins (onsets). accuracy_hold: what holding everywhere would get right.
    reconstruction_nats, kl_nats, elbo_nats: a phrase, with codes drawn once for each; bits a phrase is known
    by. active_dimensions: of the code, those that cost over .02 nats on average.
    valid_…: phrases without a hold that holds nothing, drawn unmasked; prior: from codes drawn from the
    prior. prior_…_deviations: how far the prior's phrases are from the data's, in each attribute's standard
    deviations, averaged. path_…: see `latent_paths`.
    """
    rng = context.rng
    picked = some(data, MOST_STEPS)
    truth = picked.tokens
    mean, spread = codes(coder, truth)
    onset = truth >= FIRST
    figures: dict[str, float] = {"phrases": len(truth)}

    def right(name: str, guess: Tokens) -> None:
        hit = guess == truth
        figures[f"accuracy_{name}"] = float(hit.mean())
        figures[f"accuracy_onsets_{name}"] = float(hit[onset].mean())

    forced, _ = _forced(coder, truth, mean)
    right("teacher_forced", forced)
    right("sampled", decoded(coder, mean, rng))
    right("greedy", decoded(coder, mean))
    figures["accuracy_hold"] = float((truth == HOLD).mean())
    drawn = mean + spread * torch.from_numpy(rng.normal(size=tuple(mean.shape))).float()
    nats = float(_forced(coder, truth, drawn)[1].mean())
    kl = (0.5 * (mean**2 + spread**2 - 1) - spread.log()).mean(0)
    figures["reconstruction_nats"] = nats
    figures["kl_nats"] = float(kl.sum())
    figures["elbo_nats"] = -nats - float(kl.sum())
    figures["active_dimensions"] = int((kl > 0.02).sum())
    figures["valid_reconstructed"] = float(
        is_valid(decoded(coder, drawn, rng, masked=False)).mean()
    )
    dreamt = torch.from_numpy(rng.normal(size=tuple(mean.shape))).float()
    made = decoded(coder, dreamt, rng, masked=False)
    figures["valid_prior"] = float(is_valid(made).mean())
    figures["prior_out_of_scale"] = latent_paths.out_of_scale(made)
    figures["data_out_of_scale"] = latent_paths.out_of_scale(truth)
    here, there = measure(truth), measure(made)
    scale = np.maximum(here.std(0), 1e-6)
    figures["prior_mean_deviations"] = float(np.abs((there.mean(0) - here.mean(0)) / scale).mean())
    figures["prior_spread_ratio"] = float((there.std(0) / scale).mean())
    pairs = PATHS_STEPS // truth.shape[1]
    return figures | latent_paths.figures(coder, picked, pairs, rng)


def _forced(coder: Coder, tokens: Tokens, z: Tensor) -> tuple[Tokens, Real]:
    """Likeliest tokens [N, T] given the true past and codes, and nats [N] of the true ones."""
    guesses, nats = [], []
    for part, code in zip(torch.split(_long(tokens), BATCH), torch.split(z, BATCH), strict=True):
        rows = coder.log_probs(part, code)
        guesses.append(rows.argmax(-1).numpy().astype(np.uint8))
        nats.append(-rows.gather(-1, part[..., None])[..., 0].sum(-1).double().numpy())
    return np.concatenate(guesses), np.concatenate(nats)


def _long(tokens: Tokens) -> Tensor:
    return torch.from_numpy(tokens.astype(np.int64))

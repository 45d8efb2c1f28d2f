"""Figures: how likely a model finds real music, and how alike sampled and real music are."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from torch import Tensor

from models.representations.chorale import HOLD, VOICES, Chorale, tokens


def note_wise(pieces: Iterable[tuple[Chorale, Tensor]], prefix: str = "") -> dict[str, float]:
    """Cross-entropy in nats and accuracy per voice of log probabilities [T, 4, TOKENS] against the
    chorales they are for, over all sixteenths and over onsets alone, and their means."""
    nats = np.zeros((2, 4))
    right = np.zeros((2, 4))
    count = np.zeros((2, 4))
    for chorale, log_probability in pieces:
        truth = tokens(chorale)
        rows = log_probability.float().numpy()
        cost = -np.take_along_axis(rows, truth[..., None], -1)[..., 0]
        hit = rows.argmax(-1) == truth
        for kind, sites in enumerate((np.ones_like(hit), truth != HOLD)):
            nats[kind] += np.where(sites, cost, 0).sum(0)
            right[kind] += (hit & sites).sum(0)
            count[kind] += sites.sum(0)
    figures: dict[str, float] = {}
    for kind, word in enumerate(("", "onsets_")):
        for v, voice in enumerate(VOICES):
            figures[f"{prefix}cross_entropy_{word}{voice}_nats"] = nats[kind, v] / count[kind, v]
            figures[f"{prefix}accuracy_{word}{voice}"] = right[kind, v] / count[kind, v]
        figures[f"{prefix}cross_entropy_{word}mean_nats"] = float((nats[kind] / count[kind]).mean())
        figures[f"{prefix}accuracy_{word}mean"] = float((right[kind] / count[kind]).mean())
    return {name: float(value) for name, value in figures.items()}

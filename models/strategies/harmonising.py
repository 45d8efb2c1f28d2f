"""Harmonising: how well a piano roll somebody is more or less sure of goes with notes that are given, and
which of its keys are the harmony (Sun 2015; Briot et al. 6.10.4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from models.representations.pianoroll import Keys

CLASH = 2
"""Semitones: what is as near as that to a note of the melody, and is not it, clashes with it."""
HARSH = (1, 2, 6, 10, 11)
"""Semitones, octaves aside, at which two notes do not sound well together."""
BEAT, ELSEWHERE = 2.0, 0.5
"""What a harsh note costs on a beat and off it."""
UNSURE = 0.2
"""What it costs to be half sure of a note, of four times that."""


def near(target: Tensor) -> Tensor:
    """[..., keys] 1 where a key clashes with a note of the target [..., keys] and is none of them."""
    flat = target.reshape(1, -1, target.shape[-1])
    wide = F.max_pool1d(flat, 2 * CLASH + 1, stride=1, padding=CLASH).view_as(target)
    return wide * (1 - target)


def harsh(target: Tensor) -> Tensor:
    """[..., keys] 1 where a key, in whatever octave, is harsh with a note of the target [..., keys]."""
    key = torch.arange(target.shape[-1], device=target.device)
    bad = torch.isin((key[:, None] - key) % 12, torch.tensor(HARSH, device=target.device))
    return (target @ bad.float()).clamp(max=1) * (1 - target)


def error(said: Tensor, target: Tensor, objective: str, low: int, per_beat: int) -> Tensor:
    """How far outputs [..., steps, keys], 0–1, are from harmonising targets of that shape.

    The paper's ("melody"): the squares of notes of the melody that are missing, and of those that clash
    with them. "consonance": besides, of harsh notes in other octaves, of a bass, below the key `low`, that is
    missing where the melody sounds, and of half-heartedness.
    """
    missing = (target * (1 - said) ** 2).sum((-1, -2))
    clash = (near(target) * said**2).sum((-1, -2))
    if objective == "melody":
        return missing + clash
    weight = torch.full((said.shape[-2], 1), ELSEWHERE, device=said.device)
    weight[::per_beat] = BEAT
    rough = (harsh(target) * weight * said**2).sum((-1, -2))
    silent = (target.amax(-1) * (1 - said[..., :low].amax(-1)) ** 2).sum(-1)
    unsure = (said * (1 - said)).sum((-1, -2))
    return missing + clash + rough + silent + UNSURE * unsure


def chosen(said: npt.NDArray[Any], given: Keys, values: Mapping[str, Any], pace: int = 1) -> Keys:
    """The keys of a harmony [N, steps, keys] to what is given, of how sure a decoder is of each, 0–1.

    Of those it is surer of than `threshold`, so many `voices` at most, `apart` semitones or more from what is
    given, and `below` it; none where nothing is given in a whole window. They may change every `pace`
    steps; gaps of a step are closed.
    """
    N, T, K = said.shape
    sure = said.reshape(N, T // pace, pace, K).mean(2)
    there: Any = given.reshape(N, T // pace, pace, K).any(2)
    shunned: Any = there.copy()
    for by in range(1, values["apart"]):
        shunned[..., by:] |= there[..., :-by]
        shunned[..., :-by] |= there[..., by:]
    if values["below"]:
        lowest = np.where(there.any(-1), there.argmax(-1), K)
        shunned |= np.arange(K) >= lowest[..., None]
    sure = np.where(shunned, 0, sure)
    rank = np.argsort(np.argsort(-sure, -1), -1)
    asked: Any = given.any((-1, -2))
    surest: Any = (sure > values["threshold"]) & (rank < values["voices"])
    on: Keys = (surest & asked[:, None, None]).repeat(pace, 1).reshape(-1, K)
    may = (sure > 0).repeat(pace, 1).reshape(on.shape)
    on[1:-1] |= on[:-2] & on[2:] & may[1:-1]
    return on.reshape(given.shape)

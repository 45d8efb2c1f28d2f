"""Nets on disk: the weights of a torch module, and its shape, to and from safetensors and a card."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from models import weights
from models.score import UserError

SCALE = ".scale"
"""Added to a tensor's name, it names the scales of its rows."""
ROW = 32
"""Columns from which on a matrix is worth writing in 8 bits."""

Shape = TypeVar("Shape")
Net = TypeVar("Net", bound=nn.Module)


def load(
    path: Path | None, system_id: str, shape: type[Shape], make: Callable[[Shape], Net]
) -> Net:
    """The net with the weights at `path`, or those shipped, ready to evaluate; `shape` is the dataclass
    its card describes it by. UserError when file and card do not fit each other or the system."""
    path = path or weights.shipped(system_id)
    tensors, card = weights.load(path, system_id)
    try:
        net = make(shape(**card["shape"]))
    except (KeyError, TypeError, ValueError, RuntimeError):
        raise UserError(f"{path.with_suffix('.json')} does not say the net's shape.") from None
    tensors = _whole(tensors)
    weights.check(path, tensors, {n: tuple(p.shape) for n, p in net.named_parameters()})
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            parameter.copy_(torch.from_numpy(tensors[name].astype(np.float32)))
    return net.eval()


def save(net: nn.Module, path: Path, card: Mapping[str, Any], bits: int = 16) -> None:
    """Writes the weights in half precision and `card`, to which `net.shape`, a dataclass, is added.

    With 8 bits, matrices are written as whole numbers −127…127 and one scale a row: half the bytes, and a
    rounding error of at most 1/254 of the largest weight of the row.
    """
    tensors: dict[str, weights.Array] = {}
    for name, parameter in net.named_parameters():
        value = parameter.detach().cpu().numpy()
        if bits == 8 and value.ndim >= 2 and value.shape[-1] >= ROW:
            scale = (np.abs(value).max(-1) / 127).astype(np.float32)
            rows = value / np.where(scale, scale, 1)[..., None]
            tensors[name] = np.round(rows).clip(-127, 127).astype(np.int8)
            tensors[name + SCALE] = scale
        else:
            tensors[name] = value.astype(np.float16)
    shape: Any = net.shape
    weights.save(path, tensors, {**card, "shape": asdict(shape)})


def _whole(tensors: Mapping[str, weights.Array]) -> dict[str, weights.Array]:
    """Tensors as they were before `save` rounded them to 8 bits; a scale without its rows stays, for
    `weights.check` to find."""
    found = dict(tensors)
    for name, scale in tensors.items():
        whole = name.removesuffix(SCALE)
        rows = found.get(whole)
        if whole != name and rows is not None and rows.ndim and scale.shape == rows.shape[:-1]:
            found[whole] = rows * scale[..., None]
            del found[name]
    return found

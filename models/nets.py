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
    weights.check(path, tensors, {n: tuple(p.shape) for n, p in net.named_parameters()})
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            parameter.copy_(torch.from_numpy(tensors[name].astype(np.float32)))
    return net.eval()


def save(net: nn.Module, path: Path, card: Mapping[str, Any]) -> None:
    """Writes the weights in half precision and `card`, to which `net.shape`, a dataclass, is added."""
    tensors = {n: p.detach().cpu().numpy().astype(np.float16) for n, p in net.named_parameters()}
    shape: Any = net.shape
    weights.save(path, tensors, {**card, "shape": asdict(shape)})

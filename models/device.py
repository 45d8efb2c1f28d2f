"""Which device the networks run on: the only place that asks torch what this machine has."""

from __future__ import annotations

import torch

from models.score import UserError

NAMES = ("auto", "cpu", "cuda", "mps")


def choose(wanted: str = "auto") -> str:
    """The device's torch name: "cuda" before "mps" before "cpu" for "auto", else the one `wanted`.

    UserError when this machine does not have it.
    """
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if wanted == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if available[name])
    if not available.get(wanted, False):
        here = ", ".join(name for name, there in available.items() if there)
        raise UserError(f"There is no device {wanted!r} on this machine; choose auto or {here}.")
    return wanted


def label(device: str) -> str:
    """What to show a user: "CPU", "CUDA: <name of the card>", "MPS"."""
    if device == "cuda":
        return f"CUDA: {torch.cuda.get_device_name()}"
    return device.upper()


def settle(device: str) -> None:
    """Make ready for sampling: on the CPU one thread of torch, as steps are small, two gain a fifth on idle
    cores, and on busy ones they wait for each other for most of the time."""
    if device == "cpu":
        torch.set_num_threads(1)


def release(device: str) -> None:
    """Give memory that torch holds in reserve back, as after a request that ran out of it."""
    if device == "cuda":
        torch.cuda.empty_cache()
    elif device == "mps":
        torch.mps.empty_cache()

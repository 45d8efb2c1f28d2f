"""Nets on disk, in half precision and in 8 bits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from torch import nn

from models import nets
from models.score import UserError


@dataclass(frozen=True)
class Shape:
    wide: int = 64


class Net(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.big = nn.Linear(shape.wide, 8)
        self.small = nn.Linear(8, 3)


@pytest.fixture
def net() -> Net:
    torch.manual_seed(1)
    return Net(Shape())


@pytest.mark.parametrize("bits", [16, 8])
def test_what_was_saved_comes_back_nearly(net: Net, tmp_path: Path, bits: int) -> None:
    path = tmp_path / "w.safetensors"
    nets.save(net, path, {"system": "toy"}, bits)
    again = nets.load(path, "toy", Shape, Net)
    for name, parameter in net.named_parameters():
        now = dict(again.named_parameters())[name]
        bound = parameter.detach().abs().amax(-1, keepdim=True) / (250 if bits == 8 else 1000)
        assert ((now - parameter).abs() <= bound).all(), name


def test_eight_bits_are_half_the_bytes_of_a_matrix(net: Net, tmp_path: Path) -> None:
    nets.save(net, tmp_path / "w.safetensors", {"system": "toy"}, 8)
    kept = load_file(tmp_path / "w.safetensors")
    assert kept["big.weight"].dtype == np.int8
    assert kept["small.weight"].dtype == np.float16


def test_a_row_of_zeros_stays(net: Net, tmp_path: Path) -> None:
    with torch.no_grad():
        net.big.weight[2] = 0
    path = tmp_path / "w.safetensors"
    nets.save(net, path, {"system": "toy"}, 8)
    assert not nets.load(path, "toy", Shape, Net).big.weight[2].any()


@pytest.mark.parametrize("scale", [np.ones(7, np.float32), np.ones((8, 2), np.float32)])
def test_scales_that_do_not_fit_are_refused(net: Net, tmp_path: Path, scale: np.ndarray) -> None:
    path = tmp_path / "w.safetensors"
    nets.save(net, path, {"system": "toy"}, 8)
    tensors = load_file(path)
    tensors["big.weight.scale"] = scale
    save_file(tensors, path)
    with pytest.raises(UserError, match="unknown tensor"):
        nets.load(path, "toy", Shape, Net)

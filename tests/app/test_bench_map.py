"""The map's benchmark takes every figure it promises, over JACK and with the real weights."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from pytestqt.qtbot import QtBot

from app import bench_map
from app.shaping import shipped

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere MIDI does not go through JACK"),
    pytest.mark.skipif(shipped(bench_map.SYSTEM) is None, reason="the space is not here yet"),
]


def test_the_benchmark_takes_every_figure_it_promises(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_map, "MOVES", 2)
    monkeypatch.setattr(bench_map, "WARM_UP", 1)
    monkeypatch.setattr(bench_map, "HAND_SECONDS", 0.5)
    figures = bench_map.run()
    assert all(f"`{name}`" in str(bench_map.run.__doc__) for name in figures)
    assert np.isfinite(list(figures.values())).all()
    assert 0 < figures["drag_to_answer_ms"] <= figures["drag_to_sound_ms"] * 1.01
    assert figures["drag_to_sound_ms"] <= figures["drag_to_sound_max_ms"]
    assert figures["answers_per_s"] > 0

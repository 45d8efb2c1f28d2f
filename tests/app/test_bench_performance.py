"""The benchmark of the performance view takes its figures."""

from __future__ import annotations

import math

from pytestqt.qtbot import QtBot

from app import bench_performance


def test_the_benchmark_takes_its_figures(qtbot: QtBot) -> None:
    figures = bench_performance.run(count=40)
    assert set(figures) == {"frame_p50_ms", "frame_p99_ms", "frame_max_ms", "beat_p99_ms"}
    assert all(math.isfinite(v) and v > 0 for v in figures.values())
    assert figures["frame_p50_ms"] <= figures["frame_p99_ms"] <= figures["frame_max_ms"]

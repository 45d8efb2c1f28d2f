"""The roll's benchmark takes every figure it promises, and says NaN where it could not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from fakes import ToySystem
from PySide6.QtWidgets import QApplication

from app import bench_roll
from app.pianoroll.scene import CROWD
from models.score import UserError
from models.system import Ask, Context, Progress, Proposal


class Willing(ToySystem):
    """A toy that lets itself be asked what DeepBach is asked."""

    def generate(self, ask: Ask, context: Context) -> Iterator[Proposal | Progress]:
        return super().generate(replace(ask, params={}), context)


def test_every_figure_is_taken(qapp: QApplication) -> None:
    figures = bench_roll.run(3, load=lambda system, device: Willing())
    names = ("scroll_10k", "scroll_100k", "zoom_100k", "play_100k", "sampling_100k")
    for name in names:
        assert 0 < figures[f"{name}_p50_ms"] <= figures[f"{name}_p99_ms"] < 10_000


def test_without_weights_the_figure_is_missing_not_wrong(qapp: QApplication) -> None:
    def load(system: str, device: str) -> ToySystem:
        raise UserError("There are no weights.")

    stage = bench_roll.Stage(qapp, 400)
    assert np.isnan(bench_roll.sampling(qapp, stage, 2, load)).all()
    stage.close()


def test_the_benchmarks_do_what_they_are_called(qapp: QApplication) -> None:
    stage = bench_roll.Stage(qapp, 100_000)
    view = stage.roll.view
    assert sum(len(t.notes) for t in stage.session.score.tracks) == 100_000

    def visible() -> int:
        spans = [
            layer.span(view.viewport.left_tick, view.viewport.right_tick)
            for layer in stage.roll.canvas.layers
        ]
        return sum(span.stop - span.start for span in spans)

    few = visible()
    assert 0 < few < CROWD
    before = view.viewport.left_tick
    stage.scroll(0)
    assert view.viewport.left_tick > before
    most = 0
    for frame in range(240):
        stage.zoom(frame)
        most = max(most, visible())
    assert most == 100_000
    stage.play(0)
    assert stage.session.playing
    assert stage.session.playhead_tick() > 0
    stage.close()

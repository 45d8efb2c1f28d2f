"""The benchmark of systems: what it asks of them, and that it sees their matrix products."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from fakes import ToySystem
from torch import nn

from models import bench_systems, catalogue
from models.bench_systems import BARS, TICKS, Operand, Recorder, asked, timed
from models.card import Card, Task
from models.score import Notes, Region, Track, UserError
from models.system import Ask, Context, Progress, Proposal


class Stepping(ToySystem):
    """Takes three steps of an LSTM cell for every bar, and says nothing of it."""

    card = replace(ToySystem.card, id="stepping", architecture="LSTM")

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(8, 16)

    def generate(self, ask: Ask, context: Context) -> Iterator[Proposal | Progress]:
        with torch.inference_mode():
            state = torch.zeros(1, 16), torch.zeros(1, 16)
            for _ in range(3 * BARS):
                state = self.cell(torch.zeros(1, 8), state)
        yield from super().generate(ask, context)


class Writing(ToySystem):
    """Prepares, takes three steps, and shows each."""

    card = replace(ToySystem.card, id="writing", architecture="RNN")

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.full((3, 4), 0.5)

    def write(self) -> Iterator[int]:
        for step in range(3):
            torch.ones(1, 3) @ self.weight
            yield step

    def generate(self, ask: Ask, context: Context) -> Iterator[Proposal | Progress]:
        torch.ones(5, 3) @ self.weight
        for _ in self.write():
            torch.ones(2, 3) @ self.weight
            yield Proposal(0, ask.region, (Track(0, "A", Notes.of([0], 960, [60])),), final=True)


def shapes(recorder: Recorder) -> list[tuple[tuple[int, ...], ...]]:
    """The operands of each product, biases left out."""
    return [
        tuple(a.shape for a in args if isinstance(a, Operand))[-2:] for _, args, _ in recorder.calls
    ]


def test_products_are_seen_however_they_are_called() -> None:
    a, b, weight = torch.ones(5, 3), torch.ones(3, 4), nn.Linear(3, 4)
    recorder = Recorder()
    with recorder, torch.inference_mode():
        a @ b
        weight(a)
        torch.einsum("ij,jk->ik", a, b)
        torch.bmm(a[None], b[None])
        torch.addmm(torch.ones(4), a, b)
        a.tanh() * 2 + a
    assert shapes(recorder) == [
        ((5, 3), (3, 4)),
        ((5, 3), (3, 4)),
        ((1, 5, 3), (1, 3, 4)),
        ((1, 5, 3), (1, 3, 4)),
        ((5, 3), (3, 4)),
    ]
    recorder.replay()()


def test_a_layer_of_an_lstm_is_its_products() -> None:
    net, x = nn.LSTM(6, 8, batch_first=True), torch.ones(2, 5, 6)
    recorder = Recorder()
    with recorder, torch.inference_mode():
        net(x)
    found = shapes(recorder)
    assert found.count(((2, 8), (8, 32))) == 5, "one step after another"
    multiplied = sum(a[0] * a[1] * b[1] for a, b in found)
    assert multiplied == 5 * 2 * (6 + 8) * 32
    recorder.replay()()


def test_products_of_numpy_are_seen() -> None:
    recorder = Recorder()
    plain = torch.Tensor.numpy
    with recorder, recorder.numpy():
        weight = torch.full((3, 4), 0.5).numpy() * 2
        out = np.zeros((2, 4), np.float32)
        for _ in range(3):
            np.add(np.ones((2, 3), np.float32) @ weight, 1, out=out)
        halves = weight[:, :2].T @ np.ones(3, np.float32)
        np.tanh(weight, out=weight)
    assert out.tolist() == [[4.0] * 4] * 2
    assert halves.tolist() == [3.0, 3.0]
    into = np.zeros((1, 4), np.float32)
    np.matmul(np.ones((1, 3), np.float32), np.abs(weight), into)
    assert recorder.calls.pop()[2]["out"].shape == into.shape
    assert into == pytest.approx(3 * np.tanh(1))
    products = [(args[0].shape, args[1].shape) for _, args, _ in recorder.calls]
    assert products == [((2, 3), (3, 4))] * 3 + [((2, 3), (3,))]
    assert len({args[1] for _, args, _ in recorder.calls[:3]}) == 1
    assert all(a.of_numpy for _, args, _ in recorder.calls for a in args)
    recorder.replay()()
    assert torch.Tensor.numpy is plain
    assert type(torch.ones(1).numpy()) is np.ndarray


def test_what_lay_in_one_place_lies_in_one_place_again() -> None:
    weight = torch.ones(3, 3)
    recorder = Recorder()
    with recorder, torch.inference_mode():
        x = torch.ones(1, 3)
        for _ in range(4):
            x = x @ weight.T
        x.bfloat16() @ weight.bfloat16()
    used = [args[1] for _, args, _ in recorder.calls]
    assert used[:4] == [used[0]] * 4
    assert used[0] == Operand(weight.data_ptr(), (3, 3), (1, 3), torch.float32, False)
    made = used[0].made(torch.arange(20.0))
    assert made.tolist() == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]
    assert used[4].made(torch.full((used[4].floats,), 0.01)).dtype == torch.bfloat16
    recorder.replay()()


def test_operands_of_every_kind_have_room() -> None:
    for kind in (torch.float64, torch.float32, torch.bfloat16, torch.int8):
        for shape, stride in (((2, 3), (3, 1)), ((4,), (2,)), ((), ()), ((0, 3), (3, 1))):
            operand = Operand(0, shape, stride, kind, False)
            assert operand.made(torch.full((operand.floats,), 0.01)).shape == shape


@pytest.mark.parametrize("card", catalogue.cards(), ids=lambda c: c.id)
def test_every_system_is_asked_for_something_it_can(card: Card) -> None:
    ask = asked(card)
    assert ask.task in card.tasks
    assert ask.region.end - ask.region.start == TICKS
    assert ask.params == card.values()


def test_what_cannot_create_hears_a_melody() -> None:
    def of(*tasks: Task) -> Ask:
        return asked(replace(ToySystem.card, tasks=tasks))

    assert not of(Task.RESHAPE, Task.CREATE).score.length
    goes_on = of(Task.ACCOMPANY, Task.CONTINUE)
    assert goes_on.score.length <= goes_on.region.start == TICKS
    assert goes_on.region.tracks == {0}
    under = of(Task.REGENERATE, Task.ACCOMPANY)
    assert (under.melody, under.region) == (0, Region(0, TICKS))
    assert of(Task.REGENERATE).region == Region(0, TICKS, frozenset({0}))
    notes = under.score.tracks[0].notes
    assert len(notes) > 2 * BARS
    assert (notes.onset[1:] >= notes.end[:-1]).all()


def test_the_first_proposal_is_timed_apart() -> None:
    class Slow(ToySystem):
        def generate(self, ask: Ask, context: Context) -> Iterator[Proposal | Progress]:
            track = Track(0, "A", Notes.of([0], 960, [60]))
            yield Progress(0.0)
            yield Proposal(0, ask.region, (track,))
            torch.ones(400, 400) @ torch.ones(400, 400)
            yield Proposal(0, ask.region, (track,), final=True)

    first, whole = timed(Slow(), asked(ToySystem.card))
    assert 0 < first < whole


def test_figures_are_named_by_system(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    systems: dict[str, Any] = {"toy": ToySystem(), "stepping": Stepping()}
    lost = replace(ToySystem.card, id="lost")

    def load(name: str, *_: object) -> Any:
        if name == "lost":
            raise UserError("There are no weights; train some.")
        return systems[name]

    monkeypatch.setattr(catalogue, "cards", lambda: (Stepping.card, lost, ToySystem.card))
    monkeypatch.setattr(catalogue, "load", load)
    threads = torch.get_num_threads()
    with caplog.at_level(logging.WARNING):
        figures = bench_systems.run()
    assert list(figures) == [
        "empty_product_us", "stepping_first_s", "stepping_bar_s", "stepping_step_ratio",
        "stepping_product_us", "toy_first_s", "toy_bar_s",
    ]  # fmt: skip
    assert figures["stepping_step_ratio"] > 1, "the toy's own work comes on top"
    assert all(np.isfinite(v) and v > 0 for v in figures.values())
    assert figures["toy_first_s"] <= figures["toy_bar_s"] * BARS * 1.5
    assert "lost is left out: There are no weights; train some." in caplog.text
    assert torch.get_num_threads() == threads
    assert list(bench_systems.run(ids=["toy"])) == ["empty_product_us", "toy_first_s", "toy_bar_s"]


def test_only_steps_are_timed_and_their_products_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A product before the steps, one that shows what there is, and three steps in between."""
    system = Writing()
    place = f"{__name__}:Writing.write"
    recorder = bench_systems.recorded(system, asked(Writing.card), place)
    assert shapes(recorder) == [((1, 3), (3, 4))] * 3
    whole = bench_systems.recorded(system, asked(Writing.card), f"{__name__}:Writing.generate")
    assert len(whole.calls) == 3 + 1 + 3
    watched: list[str] = []
    with bench_systems.within(place, lambda: watched.append("on"), lambda: watched.append("off")):
        timed(system, asked(Writing.card))
    assert watched == ["on", "off"] * (1 + 3 + 1), "when it is called, three times, and at its end"
    assert Writing.write is vars(Writing)["write"]


@pytest.mark.parametrize("id", bench_systems.STEPS)
def test_steps_are_where_they_are_said_to_be(id: str) -> None:
    class Reached(Exception):
        pass

    def start() -> None:
        raise Reached

    system, ask = catalogue.load(id), asked(catalogue.card(id))
    with (
        bench_systems.within(bench_systems.STEPS[id], start, lambda: None),
        pytest.raises(Reached),
    ):
        timed(system, ask)

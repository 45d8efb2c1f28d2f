"""The engine thread, run for real with a system that can be made to wait, raise or run out of memory."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from fakes import ToySystem

from engine.messages import (
    Cancel,
    Failed,
    Finished,
    Generate,
    Outbound,
    Progressed,
    Proposed,
    Started,
)
from engine.worker import INTERVAL_SECONDS, Engine, Load
from models.card import Task
from models.score import Region, Score, UserError
from models.system import Ask, Context, Progress, Proposal

PATIENCE_SECONDS = 60  # the first request of a process imports torch


def generate(request: int, task: Task = Task.CREATE, **more: object) -> Generate:
    ask = Ask(task, Score(), Region(0, 3840), **more)  # type: ignore[arg-type]
    return Generate(request, "toy", ask)


class Listener:
    """Collects what an engine says."""

    def __init__(self) -> None:
        self.heard: list[Outbound] = []
        self._queue: queue.SimpleQueue[Outbound] = queue.SimpleQueue()

    def __call__(self, message: Outbound) -> None:
        self._queue.put(message)

    def until_end(self, request: int) -> Finished | Failed:
        while True:
            message = self._queue.get(timeout=PATIENCE_SECONDS)
            self.heard.append(message)
            if isinstance(message, Finished | Failed) and message.request == request:
                return message

    def until(self, kind: type[Outbound], request: int) -> Outbound:
        while True:
            message = self._queue.get(timeout=PATIENCE_SECONDS)
            self.heard.append(message)
            if isinstance(message, kind) and message.request == request:
                return message

    def proposals(self, request: int) -> list[Proposed]:
        return [m for m in self.heard if isinstance(m, Proposed) and m.request == request]


@contextmanager
def engine_with(load: Load) -> Iterator[tuple[Engine, Listener]]:
    listener = Listener()
    engine = Engine(listener, load=load, device="cpu")
    engine.start()
    try:
        yield engine, listener
    finally:
        assert engine.close(PATIENCE_SECONDS)


@contextmanager
def running(system: ToySystem) -> Iterator[tuple[Engine, Listener]]:
    with engine_with(lambda name, device: system) as pair:
        yield pair


def test_a_request_starts_streams_and_finishes() -> None:
    with running(ToySystem()) as (engine, listener):
        engine.inbox.put(generate(7, count=2))
        assert listener.until_end(7) == Finished(7)
    kinds = [type(m) for m in listener.heard]
    assert kinds[0] is Progressed
    assert kinds.count(Started) == 1
    assert next(m for m in listener.heard if isinstance(m, Started)).device == "CPU"
    finals = [m.proposal for m in listener.proposals(7) if m.proposal.final]
    assert sorted(p.candidate for p in finals) == [0, 1]


def test_on_the_processor_torch_keeps_to_one_thread() -> None:
    torch = pytest.importorskip("torch")
    threads: list[int] = []

    class Counting(ToySystem):
        def generate(self, ask: Ask, context: Context) -> Iterator[Proposal | Progress]:
            threads.append(torch.get_num_threads())
            yield from super().generate(ask, context)

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with running(Counting()) as (engine, listener):
            engine.inbox.put(generate(7))
            listener.until_end(7)
        assert threads == [1]
    finally:
        torch.set_num_threads(before)


def test_the_same_seed_gives_the_same_notes_and_another_seed_others() -> None:
    with running(ToySystem()) as (engine, listener):
        for request, seed in enumerate((3, 3, 4)):
            engine.inbox.put(generate(request, seed=seed))
        listener.until_end(2)
    first, again, other = (
        listener.proposals(r)[-1].proposal.tracks[0].notes.pitch for r in range(3)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_system_is_loaded_once() -> None:
    loads: list[str] = []

    def load(name: str, device: str) -> ToySystem:
        loads.append(name)
        return ToySystem()

    with engine_with(load) as (engine, listener):
        engine.inbox.put(generate(0))
        engine.inbox.put(generate(1))
        listener.until_end(1)
    assert loads == ["toy"]


def test_cancel_closes_the_generator_between_yields_and_keeps_the_last_proposal() -> None:
    reached, go = threading.Event(), threading.Event()

    def before(step: int) -> None:
        if step == 3:
            reached.set()
            assert go.wait(PATIENCE_SECONDS)

    system = ToySystem(before)
    with running(system) as (engine, listener):
        engine.inbox.put(generate(1, params={"steps": 1000}))
        assert reached.wait(PATIENCE_SECONDS)
        engine.inbox.put(Cancel(1))
        go.set()
        assert listener.until_end(1) == Finished(1, cancelled=True)
        assert system.closed == 1
        assert len(listener.proposals(1)) >= 1
        engine.inbox.put(generate(2))
        assert listener.until_end(2) == Finished(2)


def test_cancel_of_a_waiting_job_is_answered_and_the_job_never_starts() -> None:
    reached, go = threading.Event(), threading.Event()

    def before(step: int) -> None:
        if step == 0:
            reached.set()
            assert go.wait(PATIENCE_SECONDS)

    with running(ToySystem(before)) as (engine, listener):
        engine.inbox.put(generate(1))
        assert reached.wait(PATIENCE_SECONDS)
        engine.inbox.put(generate(2))
        engine.inbox.put(Cancel(2))
        go.set()
        assert listener.until_end(2) == Finished(2, cancelled=True)
        assert listener.until_end(1) == Finished(1)
    assert not any(isinstance(m, Started) and m.request == 2 for m in listener.heard)


def test_cancel_while_loading_means_nothing_is_generated() -> None:
    loading, go = threading.Event(), threading.Event()
    system = ToySystem()

    def load(name: str, device: str) -> ToySystem:
        loading.set()
        assert go.wait(PATIENCE_SECONDS)
        return system

    with engine_with(load) as (engine, listener):
        engine.inbox.put(generate(1))
        assert loading.wait(PATIENCE_SECONDS)
        engine.inbox.put(Cancel(1))
        go.set()
        assert listener.until_end(1) == Finished(1, cancelled=True)
    assert not listener.proposals(1)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (UserError("The melody has no notes; draw some."), "The melody has no notes; draw some."),
        (MemoryError(), "out of memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate 9 GiB"), "fewer bars"),
        (ValueError("shape\nmismatch"), "Toy failed|toy failed"),
    ],
)
def test_a_failing_system_fails_its_own_request_and_nothing_else(
    error: Exception, words: str
) -> None:
    fail = True

    def before(step: int) -> None:
        if fail and step == 1:
            raise error

    with running(ToySystem(before)) as (engine, listener):
        engine.inbox.put(generate(1))
        end = listener.until_end(1)
        assert isinstance(end, Failed)
        assert any(word in end.sentence for word in words.split("|"))
        assert "\n" not in end.sentence
        fail = False
        engine.inbox.put(generate(2))
        assert listener.until_end(2) == Finished(2)


def test_what_cannot_be_met_is_refused_with_the_systems_own_sentence() -> None:
    with running(ToySystem()) as (engine, listener):
        engine.inbox.put(generate(1, Task.INTERPOLATE))
        end = listener.until_end(1)
    assert end == Failed(1, "Toy cannot interpolate; ask it to create or regenerate.")


def test_an_unknown_system_is_refused_by_the_catalogue() -> None:
    listener = Listener()
    engine = Engine(listener, device="cpu")
    engine.start()
    engine.inbox.put(Generate(1, "no_such_system", generate(1).ask))
    end = listener.until_end(1)
    assert engine.close(PATIENCE_SECONDS)
    assert isinstance(end, Failed)
    assert "no_such_system" in end.sentence


def test_unfinished_proposals_are_told_no_oftener_than_the_interval() -> None:
    time = [0.0]

    def before(step: int) -> None:
        time[0] += INTERVAL_SECONDS / 10

    listener = Listener()
    engine = Engine(
        listener, load=lambda n, d: ToySystem(before), device="cpu", now=lambda: time[0]
    )
    engine.inbox.put(generate(1, params={"steps": 100}))
    thread = threading.Thread(target=engine.run)
    thread.start()
    listener.until_end(1)
    assert engine.close(0)  # the engine's own thread was never started
    thread.join(PATIENCE_SECONDS)
    told = listener.proposals(1)
    assert 10 <= len(told) <= 12
    assert told[-1].proposal.final


def test_closing_ends_the_job_at_hand() -> None:
    reached = threading.Event()
    system = ToySystem(lambda step: reached.set())
    with running(system) as (engine, _):
        engine.inbox.put(generate(1, params={"steps": 1000}, count=50))
        assert reached.wait(PATIENCE_SECONDS)
        assert engine.close(PATIENCE_SECONDS)
    assert system.closed == 1


def test_the_command_line_and_the_worker_do_not_import_torch() -> None:
    code = "import sys, engine.worker, engine.cli; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

"""The engine thread: an inbox, one job at a time, and an answer for everything that happens to a job."""

from __future__ import annotations

import importlib
import logging
import os
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable

import numpy as np

from engine.messages import (
    Cancel,
    Failed,
    Finished,
    Generate,
    Inbound,
    Outbound,
    Progressed,
    Proposed,
    Quit,
    Started,
)
from models import catalogue
from models.score import UserError
from models.system import Context, Progress, Proposal, System

log = logging.getLogger(__name__)

INTERVAL_SECONDS = 0.05
"""Unfinished proposals of one candidate, and progress, are told no more often than this."""

NICENESS = 5
"""How much the engine thread steps back behind the window and the MIDI process, where threads have a
priority of their own (Linux); torch's helper threads inherit it."""

Load = Callable[[str, str], System]
"""(system id, device name) → the system, ready to use; UserError when it can't be had."""


class Engine:
    """Runs requests for music on a thread of its own.

    `inbox` takes `Generate`, `Cancel` and `Quit` from any thread; `emit` gets every answer, called on
    the engine thread. A request is answered by a Progressed when its system has to be loaded first, one
    Started, any number of Progressed and Proposed, and at last one Finished or Failed, after which
    nothing more is said about it. A cancelled request ends at its generator's next yield, one that is
    still loading when loading is done, one that still waits at once.

    Systems stay loaded. torch is imported by the first request, on the engine thread. `load`, `device`
    ("auto" or a torch name) and `now` (seconds) are handed in by tests.
    """

    def __init__(
        self,
        emit: Callable[[Outbound], None],
        *,
        load: Load | None = None,
        device: str = "auto",
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.inbox: queue.SimpleQueue[Inbound] = queue.SimpleQueue()
        self._emit = emit
        self._load: Load = load or (lambda system, name: catalogue.load(system, None, name))
        self._device = device
        self._now = now
        self._waiting: deque[Generate] = deque()
        self._cancelled: set[int] = set()
        self._quit = False
        self._systems: dict[tuple[str, str], System] = {}
        self._thread = threading.Thread(target=self.run, name="engine", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self, timeout_seconds: float = 2.0) -> bool:
        """Close the job at hand and end the thread; False when it has not ended within the time."""
        self.inbox.put(Quit())
        if self._thread.is_alive():
            self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def run(self) -> None:
        """Work until Quit; the thread's body, which may also be run inline."""
        _step_back()
        while not self._quit:
            self._read_inbox(wait=not self._waiting)
            if self._waiting and not self._quit:
                job = self._waiting.popleft()
                self._work(job)
                self._cancelled.discard(job.request)

    def _read_inbox(self, *, wait: bool = False) -> None:
        """Take in what has arrived; with `wait`, block until something does."""
        while True:
            try:
                message = self.inbox.get(block=wait)
            except queue.Empty:
                return
            wait = False
            match message:
                case Quit():
                    self._quit = True
                case Generate():
                    self._waiting.append(message)
                case Cancel(request):
                    waiting = [job for job in self._waiting if job.request == request]
                    for job in waiting:
                        self._waiting.remove(job)
                        self._emit(Finished(request, cancelled=True))
                    if not waiting:
                        self._cancelled.add(request)

    def _stopped(self, request: int) -> bool:
        self._read_inbox()
        return self._quit or request in self._cancelled

    def _work(self, job: Generate) -> None:
        # Cancels of jobs that have ended since would otherwise be kept for ever.
        self._cancelled &= {job.request}
        try:
            if self._run_job(job):
                self._emit(Finished(job.request))
            else:
                self._emit(Finished(job.request, cancelled=True))
        except UserError as error:
            self._emit(Failed(job.request, str(error)))
        except Exception as error:  # a system's fault must cost its own request and nothing else
            log.warning("%s failed", job.system, exc_info=error)
            self._emit(Failed(job.request, self._sentence(job.system, error)))

    def _run_job(self, job: Generate) -> bool:
        """Run one job to its end; False when it was cancelled."""
        voice = _Voice(job.request, self._emit, self._now)
        if not any(name == job.system for name, _ in self._systems):
            voice.progress(Progress(0.0, f"Loading {_name_of(job.system)}"))
        hardware = importlib.import_module("models.device")  # brings torch
        device: str = hardware.choose(self._device)
        hardware.settle(device)
        system = self._systems.get((job.system, device))
        if system is None:
            system = self._systems[job.system, device] = self._load(job.system, device)
        self._emit(Started(job.request, hardware.label(device)))
        context = Context(np.random.default_rng(job.ask.seed), device)
        if self._stopped(job.request):
            return False
        steps = system.generate(job.ask, context)
        try:
            for step in steps:
                voice.say(step)
                if self._stopped(job.request):
                    return False
            return True
        finally:
            close = getattr(steps, "close", None)
            if close is not None:
                close()
            voice.flush()

    def _sentence(self, system: str, error: Exception) -> str:
        name = _name_of(system)
        # torch's own error for a full GPU is a RuntimeError, on the CPU as well.
        text = str(error).strip().splitlines()
        first = text[0] if text else type(error).__name__
        if isinstance(error, MemoryError) or "out of memory" in first or "can't allocate" in first:
            hardware = importlib.import_module("models.device")
            hardware.release(hardware.choose(self._device))
            return f"{name} ran out of memory; ask for fewer bars or fewer candidates at once."
        return f"{name} failed, and your music is as it was ({type(error).__name__}: {first})."


class _Voice:
    """Tells the world about one job, not too often, and never keeps its last word back."""

    def __init__(
        self, request: int, emit: Callable[[Outbound], None], now: Callable[[], float]
    ) -> None:
        self._request = request
        self._emit = emit
        self._now = now
        self._said: dict[int, float] = {}  # candidate → when; -1 for progress
        self._pending: dict[int, Proposal] = {}

    def say(self, step: Proposal | Progress) -> None:
        if isinstance(step, Progress):
            self.progress(step)
        elif step.final or self._due(step.candidate):
            self._propose(step)
        else:
            self._pending[step.candidate] = step
        for late in [p for c, p in self._pending.items() if self._due(c)]:
            self._propose(late)

    def progress(self, progress: Progress) -> None:
        if self._due(-1) or progress.fraction >= 1:
            self._said[-1] = self._now()
            self._emit(Progressed(self._request, progress))

    def flush(self) -> None:
        for proposal in list(self._pending.values()):
            self._propose(proposal)

    def _due(self, candidate: int) -> bool:
        said = self._said.get(candidate)
        return said is None or self._now() - said >= INTERVAL_SECONDS

    def _propose(self, proposal: Proposal) -> None:
        self._pending.pop(proposal.candidate, None)
        self._said[proposal.candidate] = self._now()
        self._emit(Proposed(self._request, proposal))


def _name_of(system: str) -> str:
    """A system's name for the user: its card's, or the id when there is no card."""
    return next((card.name for card in catalogue.cards() if card.id == system), system)


def _step_back() -> None:
    """Lower this thread's priority, where threads have one."""
    if sys.platform == "linux" and threading.current_thread() is not threading.main_thread():
        try:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        except OSError as error:  # a sandbox may forbid it; the work is the same
            log.debug("the engine thread keeps its priority: %s", error)

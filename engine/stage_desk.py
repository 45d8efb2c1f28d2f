"""The desk between a performance and its engine thread: which request is whose, and what to try when one is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from engine.messages import (
    Cancel,
    Failed,
    Finished,
    Generate,
    Inbound,
    Outbound,
    Progressed,
    Proposed,
    Started,
)
from engine.stage_asks import Order, Passage
from models.system import Ask, Proposal

MOST_SILENT = 2
"""Answers without a note after which an order counts as failed: each costs as much time as one with notes."""


@dataclass(frozen=True, eq=False)
class Reply:
    """What has come of the job number `job`: a passage so far, or with `final` for good.

    No passage and `final`: it failed, and `sentence` says why. `proposal` is an answer to `ask`.
    """

    job: int
    order: Order
    final: bool
    passage: Passage | None = None
    proposal: Proposal | None = None
    ask: Ask | None = None
    sentence: str = ""


@dataclass
class _Job:
    number: int
    order: Order
    asked_at: int
    empty: bool
    attempt: int = 0
    silent: int = 0
    request: int = 0
    proposal: Proposal | None = None


class Desk:
    """Puts orders to an engine (`put` its inbox's) and reads its answers.

    An order's asks are tried in turn until one is met with music. `seconds` is how long each system was at it
    last, by its id; `loading` the text of one that is being loaded, else "".
    """

    def __init__(self, put: Callable[[Inbound], None]) -> None:
        self._put = put
        self._numbers = 0
        self._jobs: dict[int, _Job] = {}  # by the request under way
        self.seconds: dict[str, float] = {}
        self.loading = ""

    def want(self, order: Order, now: int, *, empty: bool = False) -> int:
        """Ask for it; the job's number. With `empty`, silence is an answer too."""
        self._numbers += 1
        job = _Job(self._numbers, order, now, empty)
        self._ask(job)
        return job.number

    def drop(self, job: int) -> None:
        """Forget a job, whatever becomes of it."""
        for request, found in list(self._jobs.items()):
            if found.number == job:
                del self._jobs[request]
                self._put(Cancel(request))

    def drop_all(self) -> None:
        """Forget all jobs."""
        for found in list(self._jobs.values()):
            self.drop(found.number)

    def answered(self, message: Outbound, now: int) -> Reply | None:
        """What an answer of the engine means to whoever ordered, if anything."""
        if isinstance(message, Progressed) and message.progress.text.startswith("Loading"):
            self.loading = message.progress.text
        elif not isinstance(message, Progressed):
            self.loading = ""  # whoever it was loaded for
        job = self._jobs.get(message.request)
        if job is None:
            return None
        match message:
            case Started():
                job.asked_at = now
            case Proposed(proposal=proposal) if proposal.candidate == 0:
                job.proposal = proposal
                return self._reply(job, final=False)
            case Failed(sentence=sentence):
                return self._next(job, sentence)
            case Finished():
                self.seconds[job.order.system] = (now - job.asked_at) * 1e-9
                if job.proposal is None:
                    return self._next(job, "")
                reply = self._reply(job, final=True)
                if reply.passage is not None and not reply.passage.count and not job.empty:
                    job.silent += 1
                    if job.silent < MOST_SILENT:
                        return self._next(job, "")
                    del self._jobs[message.request]
                    return Reply(job.number, job.order, True)
                del self._jobs[message.request]
                return reply
        return None

    def _ask(self, job: _Job) -> None:
        self._numbers += 1
        job.request, job.proposal = self._numbers, None
        self._jobs[job.request] = job
        self._put(Generate(job.request, job.order.system, job.order.asks[job.attempt][0]))

    def _next(self, job: _Job, sentence: str) -> Reply | None:
        del self._jobs[job.request]
        job.attempt += 1
        if job.attempt < len(job.order.asks):
            self._ask(job)
            return None
        return Reply(job.number, job.order, True, sentence=sentence)

    def _reply(self, job: _Job, *, final: bool) -> Reply:
        assert job.proposal is not None
        passage = job.order.read(job.proposal, job.attempt)
        ask = job.order.asks[job.attempt][0]
        return Reply(job.number, job.order, final, passage, job.proposal, ask)

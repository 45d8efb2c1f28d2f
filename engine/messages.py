"""Frozen dataclasses that cross threads: what the window asks of the engine thread, and its answers."""

from __future__ import annotations

from dataclasses import dataclass

from models.system import Ask, Progress, Proposal


@dataclass(frozen=True)
class Generate:
    """Ask `system` for music. `request` is the caller's number for this job, quoted in every answer."""

    request: int
    system: str
    ask: Ask


@dataclass(frozen=True)
class Cancel:
    """Stop that job: at its next yield when it runs, at once when it still waits."""

    request: int


@dataclass(frozen=True)
class Quit:
    """End the engine thread after closing the job at hand."""


Inbound = Generate | Cancel | Quit


@dataclass(frozen=True)
class Started:
    """The job has left the queue and runs on `device` ("CPU", "CUDA: <name>", "MPS")."""

    request: int
    device: str


@dataclass(frozen=True)
class Progressed:
    """How far the job is."""

    request: int
    progress: Progress


@dataclass(frozen=True)
class Proposed:
    """A candidate, new or improved; the newest of each candidate number stands."""

    request: int
    proposal: Proposal


@dataclass(frozen=True)
class Finished:
    """The job has ended: completed, or `cancelled`. Proposals made before stay valid."""

    request: int
    cancelled: bool = False


@dataclass(frozen=True)
class Failed:
    """The job has ended without completing; `sentence` tells the user why. Nothing else is affected."""

    request: int
    sentence: str


Outbound = Started | Progressed | Proposed | Finished | Failed

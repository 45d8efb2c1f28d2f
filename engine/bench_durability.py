"""`ricercar bench durability`: kill a process that edits a project, again and again, and see what is left.

A process of its own carries out a script of edits, undos and redos on a project file and reports each
one after the call has returned. At a random moment it is killed (SIGKILL; TerminateProcess on Windows).
The file must then open, stand where the last report left it or one act further, with all its history.
The next process goes on with the same file, so that later kills hit recovered files with long histories.

A kill leaves what the system has in memory; that a power cut would lose nothing either rests on SQLite's
synchronous = FULL, whose cost is in the commit times.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import struct
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from engine import edits
from engine.document import Document, Step
from engine.project import Project, project_of
from models.score import Notes, Score, Track, UserError
from models.timebase import PPQ, SIXTEENTH

SCRIPT_ACTS = 1000
_REPORT = struct.Struct("<d")

State = tuple[int, int, tuple[Step, ...], Score]


@dataclass
class Tally:
    """What the kills did: `lost` counts acts that had returned and are missing, `unreadable` files that
    did not open or held something that never was, `stuck` histories that did not undo and redo."""

    kills: int = 0
    acts: int = 0
    lost: int = 0
    unreadable: int = 0
    stuck: int = 0
    act_seconds: list[float] = field(default_factory=list)
    reopen_seconds: list[float] = field(default_factory=list)


def run(kills: int = 100, seed: int = 1) -> dict[str, float]:
    """The figures: kills and what they did, and what commits and reopening cost."""
    with tempfile.TemporaryDirectory() as folder:
        tally = kill_often(Path(folder) / "killed.ricercar", kills, seed)
        commit_ms, large_reopen_ms = _large(Path(folder) / "large.ricercar")
    act_ms = np.array(tally.act_seconds) * 1e3
    return {
        "kills": tally.kills,
        "lost_commits": tally.lost,
        "unreadable": tally.unreadable,
        "undo_failures": tally.stuck,
        "acknowledged": tally.acts,
        "commit_p50_ms": float(np.percentile(act_ms, 50)),
        "commit_p99_ms": float(np.percentile(act_ms, 99)),
        "reopen_ms": float(np.median(tally.reopen_seconds) * 1e3),
        "commit_100k_p50_ms": float(np.percentile(commit_ms, 50)),
        "commit_100k_p99_ms": float(np.percentile(commit_ms, 99)),
        "reopen_100k_ms": large_reopen_ms,
    }


def music(notes: int, seed: int = 0) -> Score:
    """A four-track score of so many random notes."""
    rng = np.random.default_rng(seed)
    every = Notes.of(
        np.sort(rng.integers(0, notes * SIXTEENTH, notes)),
        rng.integers(SIXTEENTH, PPQ, notes),
        rng.integers(40, 80, notes),
    )
    return Score(tuple(Track(i, f"Voice {i}", every.where(every.id % 4 == i)) for i in range(4)))


def script(document: Document, seed: int, acts: int = SCRIPT_ACTS) -> Iterator[None]:
    """Carry out `acts` commits, undos and redos on `document`, yielding after each; the same for one seed."""
    rng = np.random.default_rng(seed)
    for number in range(acts):
        score, kind = document.score, rng.integers(10)
        ids = np.concatenate([t.notes.id for t in score.tracks])
        chosen = rng.choice(ids, min(len(ids), int(rng.integers(1, 20))), replace=False)
        if kind == 0:
            document.undo()
        elif kind == 1:
            document.redo()
        elif kind == 2 and len(ids) > 100:
            document.commit(f"Delete {number}", edits.delete(score, chosen))
        elif kind < 5:
            new = Notes.of(rng.integers(0, 64 * PPQ, 12), SIXTEENTH, rng.integers(40, 80, 12))
            document.commit(f"Add {number}", edits.add(score, int(rng.integers(4)), new))
        else:
            moved = edits.move(
                score, chosen, int(rng.integers(-PPQ, PPQ)), int(rng.integers(-3, 4))
            )
            document.commit(f"Move {number}", moved)
        yield


def victim(path: Path, seed: int, reports: Connection) -> None:
    """The process to be killed: carries out the script on the project, reports each act's seconds, and
    then waits for its end."""
    begun = time.perf_counter()
    for _ in script(Project.open(path), seed):
        reports.send_bytes(_REPORT.pack(time.perf_counter() - begun))
        begun = time.perf_counter()
    while True:
        signal.pause() if hasattr(signal, "pause") else time.sleep(1)


def kill_often(path: Path, kills: int, seed: int, most_acts: int = 120) -> Tally:
    """Make a project at `path` and kill so many processes that edit it, one after the other, each before
    or a little after it has reported `most_acts` acts."""
    chance = random.Random(seed)
    tally = Tally()
    document = Project.create(path, music(200))
    for round_number in range(kills):
        _let_go(document)
        seconds = _kill_one(path, seed + round_number, chance, most_acts)
        tally.kills += 1
        tally.acts += len(seconds)
        tally.act_seconds += seconds
        expected = _states(document, seed + round_number, len(seconds) + 1)
        begun = time.perf_counter()
        try:
            document = Project.open(path)
        except UserError:
            tally.unreadable += 1
            document = Project.create(path, music(200))
            continue
        tally.reopen_seconds.append(time.perf_counter() - begun)
        found = _state(document)
        if found not in expected:
            tally.unreadable += 1
        else:
            reached = len(expected) - 1 - expected[::-1].index(found)
            tally.lost += max(len(seconds) - reached, 0)
        tally.stuck += not _undoes(document)
    _let_go(document)
    return tally


def _kill_one(path: Path, seed: int, chance: random.Random, most_acts: int) -> list[float]:
    """Start a victim and kill it after a random number of reports and moments more; the reports."""
    context = multiprocessing.get_context("spawn")
    reports, theirs = context.Pipe(duplex=False)
    process = context.Process(target=victim, args=(path, seed, theirs), daemon=True)
    process.start()
    theirs.close()
    enough, more_seconds = chance.randrange(most_acts), chance.random() * 0.01
    seconds: list[float] = []
    with reports:
        try:
            while len(seconds) < enough:
                seconds += _REPORT.unpack(reports.recv_bytes())
            time.sleep(more_seconds)
            process.kill()
            while True:  # what it reported before it died, it had kept
                seconds += _REPORT.unpack(reports.recv_bytes())
        except EOFError:
            process.join()
    if os.name == "posix" and process.exitcode != -signal.SIGKILL:
        raise RuntimeError(f"the process ended by itself, with status {process.exitcode}")
    return seconds


def _state(document: Document) -> State:
    return document.position, document.first, document.steps, document.score


def _states(document: Document, seed: int, acts: int) -> list[State]:
    """The states a document passes when the script is carried out on it, in memory, the first included."""
    position, first, steps, score = _state(document)
    twin = Document(score, steps=steps, position=position, first=first)
    return [_state(twin), *(_state(twin) for _ in script(twin, seed, acts))]


def _undoes(document: Document, steps: int = 20) -> bool:
    """Whether the last steps can be taken back and done again, and lead to the same music."""
    position, first, kept, score = _state(document)
    twin = Document(score, steps=kept, position=position, first=first)
    steps = min(steps, position - first)
    try:
        for _ in range(steps):
            twin.undo()
        for _ in range(steps):
            twin.redo()
    except UserError:
        return False
    return twin.score == score and twin.position == position


def _let_go(document: Document) -> None:
    project = project_of(document)
    if project is not None:
        project.release()


def _large(path: Path) -> tuple[np.ndarray[tuple[int], np.dtype[np.float64]], float]:
    """Milliseconds of each of 300 commits of ten notes among 100,000, and of opening what a killed
    process would leave after them."""
    document = Project.create(path, music(100_000))
    rng = np.random.default_rng(0)
    seconds = []
    for _ in range(300):
        new = edits.move(document.score, rng.choice(100_000, 10, replace=False), 60, 0)
        begun = time.perf_counter()
        document.commit("Move notes", new)
        seconds.append(time.perf_counter() - begun)
    _let_go(document)
    begun = time.perf_counter()
    document = Project.open(path)
    reopen = time.perf_counter() - begun
    _let_go(document)
    return np.array(seconds) * 1e3, reopen * 1e3

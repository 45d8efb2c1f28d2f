"""`ricercar bench score`: what a large score costs: compiling it for the transport, edits of ten notes in
100,000, a commit with its undo and redo, and a chorale written as MusicXML.

Each figure is the median of its repetitions, in milliseconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib import resources

import numpy as np

from engine import edits, exchange, musicxml, schedule
from engine.document import Document
from models.score import Notes, Score, Track
from models.timebase import PPQ, SIXTEENTH

NOTES = 100_000
EDITED = 10
REPEATS = 9
CHORALE = "gloria_sei_dir_gesungen.musicxml"


def large(notes: int = NOTES) -> Score:
    """Four tracks, about four notes a beat between them."""
    rng = np.random.default_rng(0)
    every = Notes.of(
        np.sort(rng.integers(0, notes * SIXTEENTH, notes)),
        rng.integers(1, 2 * PPQ, notes),
        rng.integers(36, 84, notes),
        rng.integers(1, 128, notes),
    )
    return Score(tuple(Track(i, f"Track {i}", every.where(every.id % 4 == i)) for i in range(4)))


def run() -> dict[str, float]:
    """Milliseconds of each."""
    score = large()
    ids = list(range(0, NOTES, NOTES // EDITED))
    changes: dict[str, Callable[[], object]] = {
        "compile_100k_ms": lambda: [schedule.compile(t).tobytes() for t in score.tracks],
        "move_10_of_100k_ms": lambda: edits.move(score, ids, 240, 1),
        "resize_10_of_100k_ms": lambda: edits.resize(score, ids, 0, 120),
        "delete_10_of_100k_ms": lambda: edits.delete(score, ids),
        "velocity_10_of_100k_ms": lambda: edits.set_velocity(score, ids, 90),
        "duplicate_10_of_100k_ms": lambda: edits.duplicate(score, ids, 960),
    }
    found = {name: _median(change) for name, change in changes.items()}
    document = Document(score)

    def there_and_back() -> None:
        document.commit("Move", edits.move(document.score, ids, 240))
        document.undo()
        document.redo()

    found["commit_undo_redo_100k_ms"] = _median(there_and_back)
    with resources.as_file(resources.files("assets") / "scores" / CHORALE) as path:
        chorale = exchange.read(path)
    found["chorale_to_musicxml_ms"] = _median(lambda: musicxml.to_text(chorale))
    return found


def _median(work: Callable[[], object]) -> float:
    taken = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return float(np.median(taken)) * 1e3

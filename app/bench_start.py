"""`ricercar bench start`: how long from starting the process to a window with the demonstration's notes in it."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping

from models.score import UserError

RUNS = 5
TIMEOUT_SECONDS = 60
CHILD = "from app.bench_start import child; child()"


def run() -> Mapping[str, float]:
    """Start the program RUNS times, after one start that warms the disk's cache.

    `window_s`: the median; `window_slowest_s`; `cpu_s`: the median of the processor time it took, which
    other work on the machine does not lengthen; `notes`: how many the first frame showed;
    `heavy_modules`: how many of torch, music21 and verovio were loaded by then. UserError when no
    window came.
    """
    shown = [_start() for _ in range(RUNS + 1)][1:]
    seconds = [each["seconds"] for each in shown]
    return {
        "window_s": statistics.median(seconds),
        "window_slowest_s": max(seconds),
        "cpu_s": statistics.median(each["cpu"] for each in shown),
        "notes": shown[-1]["notes"],
        "heavy_modules": max(each["heavy"] for each in shown),
    }


def _start() -> dict[str, float]:
    with tempfile.TemporaryDirectory() as home:
        folders = {f"XDG_{kind}_HOME": home for kind in ("CONFIG", "DATA", "STATE")}
        environment = {**os.environ, **folders}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # a warm disk has the compiled modules
        if sys.platform.startswith("linux") and not (
            environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY")
        ):
            environment.setdefault("QT_QPA_PLATFORM", "offscreen")
        begun = time.perf_counter()
        try:
            done = subprocess.run(
                [sys.executable, "-c", CHILD],
                env=environment,
                capture_output=True,
                text=True,
                timeout=TIMEOUT_SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            raise UserError(f"No window came within {TIMEOUT_SECONDS} s.") from error
    answers = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not answers:
        last = (done.stderr.strip().splitlines() or ["no word why"])[-1]
        raise UserError(f"The window did not open ({last}).")
    answer: dict[str, float] = json.loads(answers[-1])
    return {**answer, "seconds": answer["at"] - begun}


def child() -> None:
    """The program as `ricercar` starts it; prints what its first frame showed, and when, and ends."""
    from engine import cli

    arguments: list[str] = []
    assert not cli.is_command(arguments)
    from app import startup, window

    def painted(shown: window.Window) -> None:
        at = time.perf_counter()
        notes = sum(len(track.notes) for track in shown.session.score.tracks)
        heavy = sum(name in sys.modules for name in ("torch", "music21", "verovio"))
        figures = {"at": at, "cpu": time.process_time(), "notes": notes, "heavy": heavy}
        print(json.dumps(figures), flush=True)
        shown.close()

    sys.exit(startup.run(arguments, painted=painted))

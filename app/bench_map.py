"""`ricercar bench map`: how long from a hand's move on the latent map until it is heard.

The whole way is real: the window with its map, the engine thread with the shipped system, the MIDI process,
python-rtmidi, a JACK server (dummy driver) and an input that hears the notes.
"""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from PySide6.QtCore import QEventLoop, QSettings, QTimer
from PySide6.QtWidgets import QApplication

from app import theme
from app.session import Session
from app.shaping import shipped
from app.window import Window, open_link
from engine import jackd, playback
from engine.document import Document
from engine.playback import Event
from models import catalogue
from models.score import Notes, Score, Track, UserError
from models.timebase import PPQ

SYSTEM = "music_vae_2bar"
MOVES, WARM_UP = 30, 5
GEAR = "Ricercar map gear"
PERIOD = 128
PATIENCE_SECONDS = 120.0
SHORT_SECONDS, HAND_SECONDS = 10.0, 2.0
LOOK_MS, FRAME_MS = 1, 16

_EIGHTHS = (67, 69, 71, 72, 74, 72, 71, 69, 67, 71, 74, 79, 78, 74, 72, 71)


class _Wire:
    """The link to the transport, which remembers when the last score was sent through it."""

    def __init__(self, emit: Callable[[Event], None]) -> None:
        self._link = open_link(emit)
        self.shown = 0.0

    def send(self, command: playback.Request) -> None:
        if isinstance(command, playback.Show):
            self.shown = time.perf_counter()
        self._link.send(command)

    def close(self, seconds: float = 2.0) -> None:
        self._link.close(seconds)


def run() -> Mapping[str, float]:
    """Drag the dot MOVES times while the transport rests, and as often while it plays.

    `drag_to_sound_ms`, `drag_to_sound_p90_ms`, `drag_to_sound_max_ms`: from the move to the phrase's first note at
    the receiver, the transport resting (median, 90th percentile, longest). `drag_to_answer_ms`: to the
    candidate in the roll. `drag_cpu_ms`: processor time of the window's process for one of them, to the
    first note and to the last pixel, which other work on the machine does not lengthen much. `playing_drag_ms`: while it plays, to the moment the new notes are handed to the
    MIDI process, from when on they are played (median); `answers_per_s` under a hand that never rests.
    `jack_period_ms` and `loadavg_before` say what of it is JACK's, and how busy the machine was.
    UserError when JACK, the system or its space is not there.
    """
    load_before = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if sys.platform == "linux" and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    instance = QApplication.instance()
    application = instance if isinstance(instance, QApplication) else QApplication([])
    theme.apply(application)
    catalogue.card(SYSTEM)
    if shipped(SYSTEM) is None:
        raise UserError(f"{SYSTEM} has no latent space; learn it first.")
    with ExitStack() as stack:
        stack.enter_context(jackd.dummy_server("ricercar-map", PERIOD))
        gear = jackd.Gear(GEAR)
        stack.callback(gear.close)
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        stage = _Stage(gear, Path(folder))
        stack.callback(stage.window.close)
        stage.begin()
        for k in range(WARM_UP):
            stage.drag_at_rest(k)
        cpu = time.process_time()
        resting = [stage.drag_at_rest(k) for k in range(MOVES)]
        cpu = time.process_time() - cpu
        sound, answer = (np.array(each) * 1e3 for each in zip(*resting, strict=True))
        stage.play()
        playing = np.array([stage.drag_playing(k) for k in range(MOVES)]) * 1e3
        rate = stage.answers_per_second()
    return {
        "drag_to_sound_ms": float(np.median(sound)),
        "drag_to_sound_p90_ms": float(np.quantile(sound, 0.9)),
        "drag_to_sound_max_ms": float(sound.max()),
        "drag_to_answer_ms": float(np.median(answer)),
        "drag_cpu_ms": cpu / MOVES * 1e3,
        "playing_drag_ms": float(np.median(playing)),
        "answers_per_s": rate,
        "jack_period_ms": PERIOD / 48,
        "loadavg_before": load_before,
    }


class _Stage:
    """A window with two bars of eighths, the Shape panel open."""

    def __init__(self, gear: jackd.Gear, folder: Path) -> None:
        self._gear = gear
        onset = np.arange(len(_EIGHTHS)) * PPQ // 2
        tune = Notes.of(onset, PPQ // 2, np.array(_EIGHTHS))
        score = Score((Track(0, "Melody", tune, port=GEAR),))
        settings = QSettings(str(folder / "settings.ini"), QSettings.Format.IniFormat)
        wires: list[_Wire] = []

        def wire(emit: Callable[[Event], None]) -> _Wire:
            wires.append(_Wire(emit))
            return wires[-1]

        self.window = Window(
            Session(Document(score)), settings, link=wire, rng=np.random.default_rng(0)
        )
        self._wires = wires
        self._answered = 0
        self.window.session.proposals_changed.connect(self._note_answer)
        self.window.show()

    def begin(self) -> None:
        """Once everything is loaded and the phrase has been found on the map."""
        self.window.show_shape()
        self.window.shape.choose(SYSTEM)
        self._until(lambda: self.window.shaper.home is not None, PATIENCE_SECONDS)
        self.window.shaper.sounding = True

    def _until(self, condition: Callable[[], bool], seconds: float = SHORT_SECONDS) -> None:
        """Let Qt run, as it does for a user, until `condition` holds."""
        deadline = time.perf_counter() + seconds
        loop, look = QEventLoop(), QTimer(interval=LOOK_MS)

        def leave() -> None:
            if condition() or time.perf_counter() > deadline:
                loop.quit()

        look.timeout.connect(leave)
        look.start()
        if not condition():
            loop.exec()
        if not condition():
            raise UserError(
                f"The map did not answer within {seconds:g} s ({self.window.shaper.status})."
            )

    def _drag(self, k: int) -> None:
        """The hand's move: around the phrase's own place."""
        home, shown = self.window.shaper.home, self.window.shape.map
        assert home is not None
        assert shown is not None
        angle = 0.7 * k
        x, y = home[0] + np.cos(angle), home[1] + np.sin(angle)
        shown.plot.dragged.emit(x, y, False)

    def _struck(self) -> list[int]:
        return [at for at, m in list(self._gear.got) if m[0] >> 4 == 9 and m[2]]

    def drag_at_rest(self, k: int) -> tuple[float, float]:
        """Seconds from the move to the first note heard, and to the candidate shown."""
        session = self.window.session
        self.window.player.stop()
        self._until(lambda: not session.playing and not self.window.shaper.busy)
        self._gear.got.clear()
        self._answered = 0
        begun = time.perf_counter_ns()
        self._drag(k)
        self._until(lambda: bool(self._answered and self._struck()))
        return (self._struck()[0] - begun) / 1e9, (self._answered - begun) / 1e9

    def _note_answer(self) -> None:
        self._answered = self._answered or time.perf_counter_ns()

    def play(self) -> None:
        """Play the two bars round and round."""
        self.window.player.stop()
        self._until(lambda: not self.window.session.playing)
        self.window.session.set_loop((0, 8 * PPQ))
        self.window.toggle()
        self._until(lambda: self.window.session.playing)

    def drag_playing(self, k: int) -> float:
        """Seconds from the move until the new notes are with the transport."""
        self._until(lambda: not self.window.shaper.busy)
        heard, (wire,) = self.window.session.heard, self._wires
        begun = time.perf_counter()
        self._drag(k)
        self._until(lambda: self.window.session.heard is not heard and wire.shown > begun)
        return wire.shown - begun

    def answers_per_second(self) -> float:
        """How many phrases come under a hand that moves sixty times a second."""
        answers = 0
        seen: object = None

        def count_answer() -> None:
            nonlocal answers, seen
            shown = self.window.session.shown_candidate
            if shown is not None and shown.proposal is not seen:
                answers, seen = answers + 1, shown.proposal

        self.window.session.proposals_changed.connect(count_answer)
        moves = itertools.count()
        hand = QTimer(interval=FRAME_MS)
        hand.timeout.connect(lambda: self._drag(next(moves)))
        hand.start()
        until = time.perf_counter() + HAND_SECONDS
        self._until(lambda: time.perf_counter() > until)
        hand.stop()
        return answers / HAND_SECONDS

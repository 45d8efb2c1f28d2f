"""`ricercar bench roll`: how long the piano roll takes for a frame, in a window that is shown.

A frame is counted from the moment it was due, sixty a second, until its pixels are flushed: waiting for
the interpreter's lock or for a processor counts. Where there is no display Qt's offscreen one is used.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QCoreApplication, QEvent
from PySide6.QtWidgets import QApplication

from app import theme
from app.bridge import Bridge
from app.pianoroll.roll import PianoRoll
from app.session import Playhead, Session
from engine import messages
from engine.document import Document
from engine.worker import Engine, Load
from models import catalogue
from models.card import Task
from models.score import Notes, Region, Score, Track
from models.system import Ask
from models.timebase import PPQ, SIXTEENTH, MeterMap

Times = npt.NDArray[np.float64]
FRAME_SECONDS = 1 / 60
FRAMES = 300
WARM_UP = 20
WINDOW = (1280, 720)
VOICES = (("Soprano", 69), ("Alto", 64), ("Tenor", 57), ("Bass", 48))
"""Track names and the pitch in the middle of each."""
REQUEST_BARS = 16
LOADING_SECONDS = 60.0


def score_of(count: int, seed: int = 0) -> Score:
    """Four voices of `count` notes together, in eighths and quarters that wander about their middles."""
    rng = np.random.default_rng(seed)
    tracks = []
    each = count // len(VOICES)
    for index, (name, middle) in enumerate(VOICES):
        duration = rng.choice((2 * SIXTEENTH, 2 * SIXTEENTH, PPQ), each)
        onset = np.cumsum(duration) - duration
        pitch = np.clip(middle + np.rint(rng.normal(0, 3.5, each)), 36, 84).astype(np.int64)
        velocity = rng.integers(50, 110, each)
        notes = Notes.of(onset, duration, pitch, velocity, first_id=index * each)
        tracks.append(Track(index, name, notes, channel=index))
    return Score(tuple(tracks), meter=MeterMap())


class Stage:
    """A roll in a shown window, with a clock of its own for the playhead."""

    def __init__(self, application: QApplication, count: int) -> None:
        self._application = application
        self.clock = 0.0
        self.session = Session(Document(score_of(count)), now=lambda: self.clock)
        self.roll = PianoRoll(self.session)
        self.roll.resize(*WINDOW)
        self.roll.show()
        self.roll.activateWindow()
        for _ in range(5):
            application.processEvents()
            time.sleep(0.02)
        self.roll.fit()

    def close(self) -> None:
        """Close the window."""
        self.roll.close()
        self.roll.deleteLater()
        self._application.processEvents()

    def frames(self, step: Callable[[int], None], count: int = FRAMES) -> Times:
        """Milliseconds of each frame, `step(i)` changing what is shown before it."""
        update = QEvent(QEvent.Type.UpdateRequest)
        warm_up = min(WARM_UP, count)
        taken = np.zeros(count + warm_up)
        due = time.perf_counter()
        for i in range(len(taken)):
            due = max(due + FRAME_SECONDS, time.perf_counter())
            self._idle_until(due)
            step(i)
            # What the platform sends when it wants a frame: paints all that is dirty, and flushes.
            QCoreApplication.sendEvent(self.roll, update)
            taken[i] = (time.perf_counter() - due) * 1e3
        return taken[warm_up:]

    def _idle_until(self, due: float) -> None:
        """Handle events, as an application does between frames."""
        while (rest := due - time.perf_counter()) > 0.001:
            self._application.processEvents()
            time.sleep(min(rest, 0.002) / 2)
        if rest > 0:
            time.sleep(rest)

    def scroll(self, frame: int) -> None:
        """Two bars a second, to and fro, as by wheel."""
        view = self.roll.view.viewport
        self.roll.view.show(view.scrolled(dx=24 if frame % 240 < 180 else -24))

    def zoom(self, frame: int) -> None:
        """From a bar to the whole piece and back, in four seconds."""
        self.roll.view.zoom_time(0.93 if frame % 240 < 120 else 1 / 0.93, 500)

    def play(self, frame: int) -> None:
        """The playhead goes on by a frame; the page turns when it must."""
        if frame == 0:
            self.clock = 0.0
            self.session.set_playhead(Playhead(0.0, 0.0, True))
        self.clock += FRAME_SECONDS
        self.session.playhead_changed.emit()


def run(count: int = FRAMES, load: Load | None = None) -> dict[str, float]:
    """Frame times in ms over `count` frames each; those while DeepBach samples are NaN where its weights
    are not installed. `load` is handed to the engine."""
    if sys.platform == "linux" and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    instance = QApplication.instance()
    application = instance if isinstance(instance, QApplication) else QApplication([])
    theme.apply(application)
    figures: dict[str, float] = {}

    def note(name: str, taken: Times) -> None:
        figures[f"{name}_p50_ms"] = float(np.percentile(taken, 50))
        figures[f"{name}_p99_ms"] = float(np.percentile(taken, 99))

    for size, name in ((10_000, "10k"), (100_000, "100k")):
        stage = Stage(application, size)
        note(f"scroll_{name}", stage.frames(stage.scroll, count))
        stage.roll.fit()
        note(f"zoom_{name}", stage.frames(stage.zoom, count))
        stage.roll.fit()
        note(f"play_{name}", stage.frames(stage.play, count))
        stage.session.set_playhead(Playhead())
        stage.close()
    stage = Stage(application, 100_000)
    note("sampling_100k", sampling(application, stage, count, load))
    stage.close()
    return figures


class Sampler:
    """Has DeepBach write sixteen bars, again and again, on the engine's thread, into a session's tray.

    It is asked about a piece of sixteen bars, whatever the roll shows: how long it takes over a long one
    is not what is measured here.
    """

    def __init__(self, session: Session, load: Load | None = None) -> None:
        self._session = session
        self._card = catalogue.card("deep_bach")
        self.failed = False
        self._bridge = Bridge(self._receive)
        self._engine = Engine(self._bridge, load=load)
        self._engine.start()
        self._score = score_of(REQUEST_BARS * 6 * len(VOICES))

    def ask(self) -> None:
        """Ask for music, unless a request is at work or the last one failed."""
        session = self._session
        if session.job is not None or self.failed:
            return
        session.drop([c.key for c in session.candidates])
        end = self._score.meter.bar_start(REQUEST_BARS + 1)
        region = Region(0, end, frozenset(t.id for t in self._score.tracks))
        params = self._card.values({})
        ask = Ask(Task.REGENERATE, self._score, region, params)
        self._engine.inbox.put(
            messages.Generate(session.begin(self._card, ask), self._card.id, ask)
        )

    def _receive(self, message: object) -> None:
        match message:
            case messages.Proposed(request, proposal):
                self._session.propose(request, proposal)
            case messages.Finished(request):
                self._session.ended(request)
            case messages.Failed(request, sentence):
                self.failed = True
                self._session.ended(request, sentence)

    def close(self) -> None:
        """Stop the thread, and wait until it has ended: one that is inside torch when the interpreter
        goes would take the process down with an abort."""
        self._bridge.close()
        self._engine.close(timeout_seconds=LOADING_SECONDS)


def sampling(
    application: QApplication, stage: Stage, count: int = FRAMES, load: Load | None = None
) -> Times:
    """Frame times of scrolling while DeepBach samples; one NaN where it can't (no weights)."""
    sampler = Sampler(stage.session, load)
    try:
        sampler.ask()
        patience = time.monotonic() + LOADING_SECONDS
        while not stage.session.candidates and not sampler.failed and time.monotonic() < patience:
            application.processEvents()
            time.sleep(0.005)

        def step(frame: int) -> None:
            sampler.ask()
            stage.scroll(frame)

        taken = stage.frames(step, count)
        return np.full(1, np.nan) if sampler.failed else taken
    finally:
        sampler.close()

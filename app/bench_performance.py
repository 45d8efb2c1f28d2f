"""`ricercar bench performance`: how long the performance view takes for a frame while the music plays.

A frame is counted from the moment it was due, sixty a second, until its pixels are flushed. Where there is no
display Qt's offscreen one is used.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from PySide6.QtCore import QCoreApplication, QEvent, QSettings
from PySide6.QtWidgets import QApplication

from app import theme
from app.bench_roll import FRAME_SECONDS, score_of
from app.panels.performance import PerformanceView
from app.performing import Performance
from app.player import Player
from app.rig import Rig
from app.session import Playhead, Session
from engine import playback
from engine.document import Document
from engine.schedule import NOTE_OFF, NOTE_ON
from engine.staging import LIVE, Scene, Setting, View
from models import catalogue
from models.score import Notes, Track
from models.timebase import PPQ

FRAMES, WARM_UP = 600, 30
SIZE = (1920, 1080)
NOTES = 10_000
CHORD_FRAMES = 10


class _NoLink:
    """A transport that takes everything and tells nothing."""

    def send(self, command: object) -> None:
        pass

    def close(self, seconds: float = 0) -> None:
        pass


class _NoStage:
    """A core that takes everything and tells nothing."""

    def set(self, setting: Setting) -> None:
        pass

    def scene(self, scene: Scene) -> None:
        pass

    def go(self) -> None:
        pass

    halt = pad = restarted = go

    def heard(self, played: playback.Played) -> None:
        pass

    def anchored(self, anchor: playback.Anchor) -> None:
        pass

    def close(self, timeout_seconds: float) -> bool:
        return True


def run(count: int = FRAMES) -> dict[str, float]:
    """`frame_p50_ms`, `frame_p99_ms`, `frame_max_ms` over `count` frames at 1920 × 1080, in each of which the
    playhead moves; twice a second the beat changes, every two seconds the bars, and the core tells something. Six
    times a second the performer lets a chord of three go and strikes another.
    `beat_p99_ms`: of the frames in which the beat changes."""
    if sys.platform == "linux" and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    instance = QApplication.instance()
    application = instance if isinstance(instance, QApplication) else QApplication([])
    theme.apply(application)
    clock = [0.0]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        settings = QSettings(str(folder / "settings.ini"), QSettings.Format.IniFormat)
        session = Session(Document(score_of(NOTES)), now=lambda: clock[0])
        player = Player(session, lambda _emit: _NoLink())
        rig = Rig(session, player, settings)
        cards = catalogue.cards()
        performance = Performance(
            session, player, rig, cards, settings, open_stage=lambda _send, _emit: _NoStage()
        )
        stack.callback(performance.close)
        view = PerformanceView(performance)
        stack.callback(view.close)
        view.resize(*SIZE)
        view.open()
        application.processEvents()
        session.set_playhead(Playhead(0.0, 0.0, True))
        view.stop_frames()
        update = QEvent(QEvent.Type.UpdateRequest)
        taken, changed = np.zeros(count + WARM_UP), np.zeros(count + WARM_UP, bool)
        due = time.perf_counter()
        for i in range(len(taken)):
            due = max(due + FRAME_SECONDS, time.perf_counter())
            application.processEvents()
            time.sleep(max(due - time.perf_counter(), 0))
            clock[0] += FRAME_SECONDS
            if i % CHORD_FRAMES == 0:
                for kind in (NOTE_OFF, NOTE_ON):
                    for third in range(0, 12, 4):
                        key = 60 + (i // CHORD_FRAMES - (kind == NOTE_OFF)) % 12 + third
                        message = bytes((kind, key, 90))
                        player.played.emit(playback.Played(time.perf_counter_ns(), message))
            beat, bars = view.beat.place, view.bars
            view.frame()
            changed[i] = view.beat.place[:2] != beat[:2]
            if view.bars != bars:
                onset = view.bars[0][0] + np.arange(16) * PPQ
                performance.laid = (Track(LIVE, "", Notes.of(onset, PPQ, 60 + onset % 13)),)
                told = View(True, state="playing", coming=f"{i % 7} bars ready", ahead=3.0)
                performance.view_changed.emit(told)
            QCoreApplication.sendEvent(view, update)
            taken[i] = (time.perf_counter() - due) * 1e3
        taken, changed = taken[WARM_UP:], changed[WARM_UP:]
    return {
        "frame_p50_ms": float(np.percentile(taken, 50)),
        "frame_p99_ms": float(np.percentile(taken, 99)),
        "frame_max_ms": float(taken.max()),
        "beat_p99_ms": float(np.percentile(taken[changed], 99)) if changed.any() else float("nan"),
    }

"""What the window's tests share: a toy catalogue, a window on a folder of its own, a link that records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from fakes import ToySystem
from PySide6.QtCore import QSettings
from pytestqt.qtbot import QtBot

from app import theme
from app.player import Link
from app.session import Session
from app.shaping import Spaces, shipped
from app.window import Window
from engine import playback
from engine.document import Document
from models.card import Card, Param, Task
from models.score import Key, Notes, Score, Track
from models.timebase import PPQ, MeterMap, TempoMap

BAR = 4 * PPQ

TOY = replace(
    ToySystem.card,
    year=2020,
    params=(
        Param("steps", 5, 1, 1000, "How long it works"),
        Param("temperature", 1.0, 0.1, 2.0, "How bold it is"),
        Param("keep_rhythm", False, about="Only pitches change"),
        Param("range", (60, 72), 36, 96, "Lowest and highest pitch"),
        Param("mode", "fast", choices=("fast", "exact")),
        Param("words", "none"),
    ),
)
OTHER = replace(TOY, id="other", name="Other", tasks=(Task.CONTINUE, Task.ACCOMPANY), params=())
CARDS: tuple[Card, ...] = (TOY, OTHER)


class Toy(ToySystem):
    """ToySystem with the parameters above, of which it heeds the steps."""

    card = TOY


class RecordingLink:
    """Remembers what the transport is told, and answers as it would to what moves the playhead."""

    def __init__(self, emit: Callable[[playback.Event], None]) -> None:
        self.emit = emit
        self.sent: list[playback.Request] = []
        self.closed = False

    def send(self, command: playback.Request) -> None:
        self.sent.append(command)
        match command:
            case playback.Play(tick):
                self.emit(playback.Anchor(tick or 0, 0, True))
            case playback.Seek(tick):
                self.emit(playback.Anchor(tick, 0, False))
            case playback.Stop():
                self.emit(playback.Anchor(0, 0, False))

    def close(self, seconds: float = 0) -> None:
        self.closed = True

    def of(self, kind: type) -> list[playback.Request]:
        return [command for command in self.sent if isinstance(command, kind)]


def quartet() -> Score:
    """Four voices of quarter notes over four bars of 4/4 after a pickup of one beat, in G."""
    onset = np.arange(17) * PPQ
    tracks = tuple(
        Track(i, name, Notes.of(onset, PPQ, pitch, first_id=17 * i), channel=i, program=52)
        for i, (name, pitch) in enumerate(
            (("Soprano", 71), ("Alto", 67), ("Tenor", 62), ("Bass", 55))
        )
    )
    return Score(tracks, TempoMap.constant(90), MeterMap(pickup=PPQ), (Key(0, 1),), title="Quartet")


def settings_in(folder: Path) -> QSettings:
    return QSettings(str(folder / "settings.ini"), QSettings.Format.IniFormat)


def open_window(
    qtbot: QtBot,
    folder: Path,
    *,
    score: Score | None = None,
    toy: ToySystem | None = None,
    cards: tuple[Card, ...] = CARDS,
    link: Callable[[Callable[[playback.Event], None]], Link] = RecordingLink,
    spaces: Spaces = shipped,
    width: int = 1280,
    height: int = 720,
) -> Window:
    """A shown window on `score` (the quartet when None) whose system is a toy."""
    from PySide6.QtWidgets import QApplication

    application = QApplication.instance()
    assert isinstance(application, QApplication)
    theme.apply(application)
    system = toy or Toy()
    window = Window(
        Session(Document(score or quartet())),
        settings_in(folder),
        cards=cards,
        load=lambda _name, _device: system,
        link=link,
        spaces=spaces,
        rng=np.random.default_rng(0),
    )
    window.resize(width, height)
    qtbot.addWidget(window)
    window.show()
    window.activateWindow()  # shortcuts need it
    qtbot.waitUntil(window.isActiveWindow)
    return window

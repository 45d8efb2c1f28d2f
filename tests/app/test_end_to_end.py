"""The whole road with the mouse: a melody in, bars marked, voices asked for, heard, kept, undone, exported.

With the environment variable RICERCAR_RECORD naming a folder, every step leaves a picture there.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from mouse import click, drag
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QApplication, QFileDialog, QWidget
from pytestqt.qtbot import QtBot
from stage import TOY, Toy, settings_in

from app import theme
from app.session import Session
from app.window import Window, open_link
from engine import exchange
from engine.document import Document
from engine.worker import Load
from models import catalogue
from models.card import Card, Task
from models.score import Score, Track

MELODY = "wer_hat_dich_so_geschlagen_melody.musicxml"
WEIGHTS = resources.files("assets") / "weights" / "deep_bach.safetensors"
FIRST_REQUEST_MS = 120_000
"""Importing torch on a busy machine takes its time."""

Picture = Callable[[str], None]


@pytest.fixture
def melody(tmp_path: Path) -> Path:
    """The demonstration's melody, copied as a user's own file."""
    path = tmp_path / "melody.musicxml"
    path.write_bytes((resources.files("assets") / "scores" / MELODY).read_bytes())
    return path


def start(
    qtbot: QtBot, folder: Path, cards: tuple[Card, ...], load: Load | None
) -> tuple[Window, Picture]:
    """The program as `run` builds it, with its real transport process, and a camera."""
    application = QApplication.instance()
    assert isinstance(application, QApplication)
    theme.apply(application)
    window = Window(
        Session(Document(Score((Track(0, "Melody"),)))),
        settings_in(folder),
        cards=cards,
        load=load,
        link=open_link,
        rng=np.random.default_rng(7),
    )
    qtbot.addWidget(window)
    window.show()
    window.activateWindow()
    qtbot.waitUntil(window.isActiveWindow)
    album = os.environ.get("RICERCAR_RECORD")
    taken: list[str] = []

    def picture(name: str) -> None:
        if album:
            qtbot.wait(700)  # so that the score view has followed
            taken.append(name)
            window.grab().save(str(Path(album) / f"{len(taken):02d}-{name}.png"))

    return window, picture


def drop(window: QWidget, path: Path) -> None:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path))])
    copy, left = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton
    none = Qt.KeyboardModifier.NoModifier
    QApplication.sendEvent(window, QDragEnterEvent(QPoint(300, 300), copy, data, left, none))
    QApplication.sendEvent(window, QDropEvent(QPointF(300, 300), copy, data, left, none))


def press(button: QWidget) -> None:
    click(button, (button.width() / 2, button.height() / 2))


def choose(window: Window, system: str, task: Task) -> None:
    view = window.compose.browser.list
    row = next(i for i, c in enumerate(window.compose.browser.model.shown) if c.id == system)
    at = view.visualRect(window.compose.browser.model.index(row)).center()
    click(view.viewport(), (at.x(), at.y()))
    press(window.compose.tasks[task])


def mark_bars(window: Window, first: int, last: int) -> None:
    """Show the whole piece, then drag in the ruler from inside the first bar to inside the last."""
    window.roll.fit_all()
    meter, viewport = window.session.score.meter, window.roll.view.viewport
    start, end = meter.bar_start(first), meter.bar_start(last + 1)
    y = window.roll.ruler.height() - 14
    x1, x2 = viewport.x(start) + 8, viewport.x(end) - 8
    drag(window.roll.ruler, [(x1, y), ((x1 + x2) / 2, y), (x2, y)])
    assert window.session.span == (start, end)


def test_a_system_changes_marked_bars_of_ticked_voices(
    qtbot: QtBot, tmp_path: Path, melody: Path
) -> None:
    toy = Toy()
    window, picture = start(qtbot, tmp_path, (TOY,), lambda _name, _device: toy)
    session = window.session
    drop(window, melody)
    qtbot.waitUntil(lambda: window.windowTitle().startswith("melody"))
    before = session.score
    choose(window, "toy", Task.REGENERATE)
    mark_bars(window, 2, 3)
    header = window.tracks.headers[session.score.tracks[0].id]
    press(header.tick)
    press(window.compose.generate_button)
    qtbot.waitUntil(
        lambda: bool(session.candidates) and session.candidates[-1].final,
        timeout=FIRST_REQUEST_MS,
    )
    assert session.score is before, "ghosts change nothing"
    assert len(session.candidates) == 3
    key = session.candidates[1].key
    press(window.proposals.rows[key].keep)
    start_tick, end_tick = session.span or (0, 0)
    track = session.score.tracks[0]
    old = before.tracks[0].notes
    outside = ~old.inside(start_tick, end_tick)
    kept = track.notes.having(old.id[outside])
    assert track.notes.where(kept) == old.where(outside), "outside, every byte is as it was"
    assert track.notes.where(~kept).inside(start_tick, end_tick).all()
    picture("toy-kept")


@pytest.mark.skipif(not WEIGHTS.is_file(), reason="DeepBach's weights are not here yet")
def test_a_melody_becomes_a_chorale(
    qtbot: QtBot, tmp_path: Path, melody: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window, picture = start(qtbot, tmp_path, catalogue.cards(), None)
    session, compose = window.session, window.compose
    picture("empty")
    drop(window, melody)
    qtbot.waitUntil(lambda: window.windowTitle().startswith("melody"))
    given = session.score
    (soprano,) = given.tracks
    picture("melody")

    # The other voices to all of it.
    choose(window, "deep_bach", Task.ACCOMPANY)
    picture("chosen")
    press(compose.generate_button)
    assert compose.stop_button.isVisible()
    qtbot.waitUntil(lambda: bool(session.ghosts), timeout=FIRST_REQUEST_MS)
    first = session.ghosts
    assert sum(len(g.notes) for g in first) > 60
    lowest = min(int(g.notes.pitch.min()) for g in first)
    viewport = window.roll.view.viewport
    assert viewport.y(lowest) <= viewport.height, "the roll makes room for the bass"
    picture("first-ghosts")
    versions: set[int] = {id(first)}

    def finished() -> bool:
        shown = session.shown_candidate
        versions.add(id(shown.proposal) if shown else 0)
        return session.job is None and all(c.final for c in session.candidates)

    qtbot.waitUntil(finished, timeout=60_000)
    assert len(versions) > 2, "the ghosts change while the sampler goes"
    assert window.device.text()
    assert session.score is given
    picture("final-ghosts")

    # Hear one in its place, while it plays.
    second = session.candidates[1]
    row = window.proposals.rows[second.key]
    press(row.hear)
    assert session.hearing
    assert len(session.heard.tracks) == 4
    qtbot.waitUntil(lambda: session.playing and session.playhead_tick() > 200, timeout=20_000)
    picture("heard")
    window.roll.canvas.setFocus()
    qtbot.keyClick(window.roll.canvas, Qt.Key.Key_Space)
    qtbot.waitUntil(lambda: not session.playing, timeout=10_000)

    # Keep it: one step, and the melody's own bytes.
    press(row.keep)
    chorale = session.score
    assert [t.name for t in chorale.tracks[1:]] == ["Alto", "Tenor", "Bass"]
    assert chorale.track(soprano.id).notes == soprano.notes
    ends = [t.notes.length for t in chorale.tracks]
    assert max(ends) - min(ends) < 960 * 4
    picture("kept")

    # Two inner voices of two bars anew.
    choose(window, "deep_bach", Task.REGENERATE)
    mark_bars(window, 1, 2)
    inner = [t.id for t in chorale.tracks if t.name in ("Alto", "Tenor")]
    for track_id in inner:
        press(window.tracks.headers[track_id].tick)
    assert compose.sentence.text() == "Rewrite Alto and Tenor in bars 1–2."
    known = len(session.candidates)
    press(compose.generate_button)
    qtbot.waitUntil(lambda: len(session.candidates) > known and finished(), timeout=60_000)
    picture("regenerated")
    newest = session.candidates[-1]
    press(window.proposals.rows[newest.key].keep)
    span = session.span
    assert span is not None
    for track in session.score.tracks:
        old = chorale.track(track.id).notes
        if track.id in inner:
            outside = ~old.inside(*span)
            same = track.notes.having(old.id[outside])
            assert track.notes.where(same) == old.where(outside)
            assert track.notes.where(~same).inside(*span).all()
        else:
            assert track.notes is old
    qtbot.keyClick(window, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert session.score == chorale
    picture("undone")

    # Out to the DAW.
    out = tmp_path / "out.mid"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(out), "MIDI file (*.mid)"))
    qtbot.keyClick(window, Qt.Key.Key_E, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: out.exists() and not window.errands.busy, timeout=20_000)
    back = exchange.read(out)
    assert [t.notes.pitch.tolist() for t in back.tracks] == [
        t.notes.pitch.tolist() for t in chorale.tracks
    ]
    press(window.proposals.drop_all)
    assert session.candidates == ()
    picture("exported")

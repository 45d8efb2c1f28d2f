"""The window: its actions, files in and out, playing, and that it starts light and ends cleanly."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QAction, QContextMenuEvent, QDragEnterEvent, QDropEvent, QKeySequence
from PySide6.QtWidgets import QApplication, QMenu, QTreeWidget
from pytestqt.qtbot import QtBot
from stage import BAR, TOY, RecordingLink, Toy, open_window, quartet, settings_in

from app import bench_start, dialogs
from app.actions import ACTIONS
from app.composer import Wishes
from app.files import excerpt
from app.pianoroll.commands import COMMANDS
from app.window import Window
from engine import edits, exchange, playback, project
from engine.staging import Mode
from models.card import Task
from models.score import Key, Score, Track
from models.timebase import PPQ, MeterMap, TempoMap


@pytest.fixture
def window(qtbot: QtBot, tmp_path: Path) -> Window:
    return open_window(qtbot, tmp_path)


def link_of(qtbot: QtBot, window: Window) -> RecordingLink:
    qtbot.waitUntil(lambda: window.player._link is not None)
    link = window.player._link
    assert isinstance(link, RecordingLink)
    return link


# --- actions -----------------------------------------------------------------------------------------


def test_every_action_has_a_tip_and_a_shortcut_of_its_own() -> None:
    shortcuts = [QKeySequence(s).toString() for a in ACTIONS for s in a.shortcuts]
    assert all(shortcuts)
    assert len(shortcuts) == len(set(shortcuts))
    rolls = {QKeySequence(k).toString() for c in COMMANDS for k in c.keys}
    assert not rolls & set(shortcuts), "the window would take these keys from the roll"
    for action in ACTIONS:
        assert action.shortcuts, action.name
        assert len(action.tip) > 3, action.name
        assert not action.tip.endswith("."), action.name


def test_every_action_is_in_its_menu(window: Window) -> None:
    for entry in ACTIONS:
        action = window.findChild(QAction, entry.name)
        assert action is not None, entry.name
        assert action.toolTip() == entry.tip
        assert [s.toString() for s in action.shortcuts()] == [
            QKeySequence(s).toString() for s in entry.shortcuts
        ]


def test_the_list_of_keys_names_them_all(qtbot: QtBot, window: Window) -> None:
    window.show_keys()
    tree = window.findChild(QTreeWidget)
    assert tree is not None
    rows = [tree.topLevelItem(i) for i in range(tree.topLevelItemCount())]
    assert sum(row.childCount() for row in rows) == (
        len(ACTIONS) + len(COMMANDS) + len(dialogs.MOUSE)
    )


def test_undo_names_what_it_takes_back(qtbot: QtBot, window: Window) -> None:
    undo = window.findChild(QAction, "undo")
    assert undo is not None
    assert not undo.isEnabled()
    window.session.commit("Move notes", edits.move(window.session.score, [0], 0, 1))
    assert undo.text() == "Undo Move notes"
    qtbot.keyClick(window, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert window.session.score == quartet()
    qtbot.keyClick(
        window,
        Qt.Key.Key_Z,
        Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier,
    )
    assert window.session.score != quartet()


def test_docks_open_and_close_by_key(qtbot: QtBot, window: Window) -> None:
    for key, name in (
        (Qt.Key.Key_F2, "tracks"),
        (Qt.Key.Key_F3, "compose"),
        (Qt.Key.Key_F4, "score"),
    ):
        assert window.dock_shown(name)
        qtbot.keyClick(window, key)
        assert not window.dock_shown(name)
        qtbot.keyClick(window, key)
        assert window.dock_shown(name)


def test_metre_and_key_change_from_a_bar_on() -> None:
    score = quartet()
    other = dialogs.with_meter(score, PPQ + BAR + 100, 3, 4)
    assert other.meter.at(PPQ + BAR - 1) == (4, 4)
    assert other.meter.at(PPQ + BAR) == (3, 4)
    assert dialogs.with_meter(other, PPQ + BAR, 6, 8).meter.at(PPQ + BAR) == (6, 8)
    whole = dialogs.with_meter(score, 0, 3, 4)
    assert (whole.meter.at(0), whole.meter.pickup) == ((3, 4), 0)
    keyed = dialogs.with_key(score, PPQ + 5, -2, True)
    assert keyed.keys == (Key(0, 1), Key(PPQ, -2, True))
    assert dialogs.with_key(keyed, PPQ, 3, False).keys == (Key(0, 1), Key(PPQ, 3))


# --- files -------------------------------------------------------------------------------------------


def test_a_midi_file_opens_as_an_untitled_project(
    qtbot: QtBot, window: Window, tmp_path: Path
) -> None:
    path = tmp_path / "chorale.mid"
    exchange.write(quartet(), path)
    window.files.open_path(path)
    qtbot.waitUntil(lambda: window.windowTitle() == "chorale – Ricercar")
    assert [len(t.notes) for t in window.session.score.tracks] == [17] * 4
    kept = project.project_of(window.session.document)
    assert kept is not None
    assert kept.untitled
    assert window.files.recent == [path]


@pytest.mark.parametrize("name", ["broken.mid", "broken.musicxml", "broken.ricercar", "notes.txt"])
def test_a_file_that_is_none_leaves_the_document_alone(
    qtbot: QtBot, window: Window, tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    path.write_bytes(b"MThd\x00 this is no music")
    before = window.session.document
    window.files.open_path(path)
    qtbot.waitUntil(lambda: not window.errands.busy)
    assert window.banner.isVisible()
    assert name in window.banner.text()
    assert "\n" not in window.banner.text()
    assert window.session.document is before


def test_save_as_goes_on_in_the_new_file(qtbot: QtBot, window: Window, tmp_path: Path) -> None:
    window.session.commit("One", edits.move(window.session.score, [0], 0, 1))
    window.files.save_path(tmp_path / "mine")
    path = tmp_path / "mine.ricercar"
    assert window.windowTitle() == "mine – Ricercar"
    assert window.session.document.undo_label == "One"
    window.session.commit("Two", edits.move(window.session.score, [0], 0, 1))
    window.close()
    reopened = project.load(path)
    assert reopened.undo_label == "Two"
    assert reopened.score == edits.move(quartet(), [0], 0, 2)


def test_a_project_opens_with_its_history(qtbot: QtBot, window: Window, tmp_path: Path) -> None:
    path = tmp_path / "piece.ricercar"
    document = project.Project.create(path, quartet())
    document.commit("Drop", edits.delete(document.score, [3]))
    project.close(document)
    window.files.open_path(path)
    assert window.files.named
    assert window.session.document.undo_label == "Drop"
    assert window.files.recent == [path]
    window.files.open_path(path)
    assert "piece.ricercar" in window.banner.text(), "it is open in this very window"


@pytest.mark.parametrize("suffix", [".mid", ".musicxml", ".ricercar"])
def test_export_writes_what_the_suffix_says(
    qtbot: QtBot, window: Window, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"out{suffix}"
    window.files.export_path(path)
    qtbot.waitUntil(lambda: not window.errands.busy, timeout=20_000)
    assert window.banner.text() == f"Wrote {path}."
    back = exchange.read(path)
    assert [t.notes.pitch.tolist() for t in back.tracks] == [
        t.notes.pitch.tolist() for t in quartet().tracks
    ]


def test_a_folder_that_is_missing_is_said(qtbot: QtBot, window: Window, tmp_path: Path) -> None:
    window.files.export_path(tmp_path / "nowhere" / "out.mid")
    qtbot.waitUntil(lambda: not window.errands.busy)
    assert "nowhere" in window.banner.text()
    window.files.save_path(tmp_path / "nowhere" / "out.ricercar")
    assert "nowhere" in window.banner.text()


def test_a_file_dropped_on_the_window_opens(qtbot: QtBot, window: Window, tmp_path: Path) -> None:
    good, bad = tmp_path / "in.mid", tmp_path / "in.pdf"
    exchange.write(quartet(), good)
    bad.write_bytes(b"%PDF")

    def dropped(path: Path) -> bool:
        data = QMimeData()
        data.setUrls([QUrl.fromLocalFile(str(path))])
        copy, left = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton
        none = Qt.KeyboardModifier.NoModifier
        enter = QDragEnterEvent(QPoint(9, 9), copy, data, left, none)
        enter.ignore()
        QApplication.sendEvent(window, enter)
        if enter.isAccepted():
            drop = QDropEvent(QPointF(9, 9), copy, data, left, none)
            QApplication.sendEvent(window, drop)
        return enter.isAccepted()

    assert not dropped(bad)
    assert dropped(good)
    qtbot.waitUntil(lambda: window.windowTitle() == "in – Ricercar")


def test_an_excerpt_begins_in_its_first_bar() -> None:
    score = edits.set_tempo(quartet(), TempoMap([0, BAR], [500_000, 750_000]))
    ids = np.array([6, 7, 23])  # two of the soprano's, one of the alto's, in bar 2
    out = excerpt(score, ids)
    assert [t.name for t in out.tracks] == ["Soprano", "Alto"]
    assert out.tracks[0].notes.onset.tolist() == [PPQ, 2 * PPQ]
    assert out.tracks[1].notes.onset.tolist() == [PPQ]
    assert out.tempo == TempoMap.constant(80)
    assert out.meter == MeterMap()
    assert out.keys == (Key(0, 1),)


def test_what_is_dragged_out_is_a_midi_file(window: Window) -> None:
    score = excerpt(quartet(), np.arange(3))
    path = window.files.midi_for_drag(score, "Soprano: ../line")
    assert path.suffix == ".mid"
    assert exchange.read(path).tracks[0].notes.pitch.tolist() == [71, 71, 71]
    window.close()
    assert not path.exists(), "files for dragging go with the window"


# --- playing -----------------------------------------------------------------------------------------


def test_playing_follows_the_playhead_the_loop_and_the_proposal(
    qtbot: QtBot, window: Window
) -> None:
    link, session = link_of(qtbot, window), window.session
    window.roll.setFocus()
    qtbot.keyClick(window.roll.canvas, Qt.Key.Key_Space)
    assert link.of(playback.Play) == [playback.Play(0, PPQ + 4 * BAR)]
    assert isinstance(link.sent[-2], playback.Show), "what is played is what stands"
    qtbot.waitUntil(lambda: session.playing)
    qtbot.keyClick(window.roll.canvas, Qt.Key.Key_Space)
    qtbot.waitUntil(lambda: not session.playing)
    session.set_span((PPQ, PPQ + BAR))
    qtbot.keyClick(window.roll.canvas, Qt.Key.Key_L)
    assert link.of(playback.Loop) == [playback.Loop(PPQ, PPQ + BAR)]
    window.toggle()
    assert link.of(playback.Play)[-1] == playback.Play(PPQ, PPQ + 4 * BAR)
    before = len(link.of(playback.Show))
    session.preview(edits.move(session.score, [0], 0, 1))
    qtbot.waitUntil(lambda: len(link.of(playback.Show)) > before)
    shown = link.of(playback.Show)[-1]
    assert isinstance(shown, playback.Show)
    assert shown.score is session.heard


def test_another_document_stops_the_music(qtbot: QtBot, window: Window) -> None:
    link = link_of(qtbot, window)
    window.toggle()
    qtbot.waitUntil(lambda: window.session.playing)
    window.files.new()
    assert link.of(playback.Stop)
    assert link.sent.index(link.of(playback.Stop)[0]) < link.sent.index(link.of(playback.Loop)[0])
    qtbot.waitUntil(lambda: not window.session.playing)
    assert window.session.playhead_tick() == 0


def test_a_key_of_the_roll_sounds_as_its_track(qtbot: QtBot, window: Window) -> None:
    link = link_of(qtbot, window)
    window.session.audition(64, 90, 2)
    window.session.audition(64, 0, 2)
    assert [c.message for c in link.of(playback.Live)] == [  # type: ignore[union-attr]
        bytes((0xC2, 52)),
        bytes((0x92, 64, 90)),
        bytes((0x82, 64, 0)),
    ]


def test_a_lost_port_is_said_and_its_return_too(qtbot: QtBot, window: Window) -> None:
    link = link_of(qtbot, window)
    link.emit(playback.PortBack(""))
    link.emit(playback.PortLost("Piano"))
    qtbot.waitUntil(lambda: "Piano is not there" in window.banner.text())
    link.emit(playback.PortBack("Piano"))
    qtbot.waitUntil(lambda: window.banner.text() == "Piano is back.")


def test_what_is_set_on_stage_is_taught_by_a_right_click(qtbot: QtBot, window: Window) -> None:
    # A core that does nothing: the view alone is looked at.
    window.performance.open = lambda: None  # type: ignore[method-assign]
    window.show_stage()
    view, controllers = window._stage, window.hands.controllers
    assert view is not None
    qtbot.addWidget(view)
    for widget, target in (
        (view.tiles["density"], "density"),
        (view.modes[Mode.STREAM], "stream"),
        (view.panic_key, "panic"),
    ):
        at = widget.rect().center()
        event = QContextMenuEvent(QContextMenuEvent.Reason.Mouse, at, widget.mapToGlobal(at))
        QApplication.sendEvent(widget, event)
        menu = QApplication.activePopupWidget()
        assert isinstance(menu, QMenu)
        menu.close()
        (teach,) = menu.actions()
        teach.trigger()
        assert controllers.learning == f"stage/{target}"
        popup = QApplication.activePopupWidget()
        assert popup is not None
        popup.close()


def test_whose_tempo_rules_is_said_beside_the_score_s(qtbot: QtBot, window: Window) -> None:
    link, followed = link_of(qtbot, window), window.transport.followed
    assert followed.isHidden()
    for state, text in (("waiting", "awaited"), ("locked", "120.0"), ("lost", "gone, 120.0")):
        link.emit(playback.Synced("clock:Drums", state, 119.98))
        qtbot.waitUntil(lambda words=f"Clock {text}": followed.text() == words)
    assert not followed.isHidden()
    link.emit(playback.Synced("", "own", 119.98))
    qtbot.waitUntil(followed.isHidden)


@pytest.mark.parametrize(("again", "words"), [(True, "started again."), (False, "keeps ending")])
def test_the_end_of_the_midi_process_is_said(
    qtbot: QtBot, window: Window, again: bool, words: str
) -> None:
    link_of(qtbot, window).emit(playback.Ended(again))
    qtbot.waitUntil(lambda: words in window.banner.text())


def test_silence_is_said(qtbot: QtBot, window: Window) -> None:
    link = link_of(qtbot, window)
    window.performance.panic()
    assert link.of(playback.Panic) == [playback.Panic()]
    assert window.banner.text() == "All notes are off, on every port."


def test_nothing_to_play_is_said(qtbot: QtBot, tmp_path: Path) -> None:
    window = open_window(qtbot, tmp_path, score=Score((Track(0, "Melody"),)))
    window.toggle()
    assert "nothing to play" in window.banner.text()


# --- generating --------------------------------------------------------------------------------------


def test_escape_stops_the_request_and_keeps_what_came(qtbot: QtBot, tmp_path: Path) -> None:
    toy = Toy(lambda _: time.sleep(0.02))
    window = open_window(qtbot, tmp_path, toy=toy)
    session = window.session
    session.set_ticked([1])
    window.compose.choose("toy", Task.REGENERATE)
    form = window.compose._form
    assert form is not None
    form.set_values({"steps": 1000})
    qtbot.keyClick(window, Qt.Key.Key_G, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: bool(session.candidates), timeout=30_000)
    qtbot.keyClick(window.roll.canvas, Qt.Key.Key_Escape)
    assert session.job is None
    qtbot.waitUntil(lambda: toy.closed == 1)
    assert not session.candidates[0].final


def test_a_missing_region_is_said(window: Window) -> None:
    window.compose.choose("toy", Task.REGENERATE)
    window.session.set_ticked([])
    window.compose.generate()
    assert "Tick the voices" in window.banner.text()


def test_a_parameter_out_of_range_is_said(window: Window) -> None:
    window.session.set_ticked([1])
    window.composer.generate(TOY, Task.REGENERATE, Wishes({"steps": 0}))
    assert "steps=0" in window.banner.text()
    assert window.session.job is None


def test_closing_while_a_request_runs_is_quick_and_ends_everything(
    qtbot: QtBot, tmp_path: Path
) -> None:
    toy = Toy(lambda _: time.sleep(0.02))
    window = open_window(qtbot, tmp_path, toy=toy)
    window.session.set_ticked([1])
    window.compose.choose("toy", Task.REGENERATE)
    form = window.compose._form
    assert form is not None
    form.set_values({"steps": 1000})
    window.compose.generate()
    qtbot.waitUntil(lambda: bool(window.session.candidates), timeout=30_000)
    link = link_of(qtbot, window)
    begun = time.perf_counter()
    window.close()
    assert time.perf_counter() - begun < 1.5
    assert link.closed
    qtbot.waitUntil(lambda: toy.closed == 1)


def test_opening_a_file_stops_the_request(qtbot: QtBot, tmp_path: Path) -> None:
    toy = Toy(lambda _: time.sleep(0.02))
    window = open_window(qtbot, tmp_path, toy=toy)
    window.session.set_ticked([1])
    window.compose.choose("toy", Task.REGENERATE)
    form = window.compose._form
    assert form is not None
    form.set_values({"steps": 1000})
    window.compose.generate()
    qtbot.waitUntil(lambda: bool(window.session.candidates), timeout=30_000)
    window.files.new()
    assert window.session.candidates == ()
    qtbot.waitUntil(lambda: toy.closed == 1)
    assert window.session.candidates == ()


# --- starting ----------------------------------------------------------------------------------------


def test_the_demonstration_is_ready_to_generate(qtbot: QtBot, window: Window) -> None:
    window.open_demo()
    session = window.session
    assert [t.name for t in session.score.tracks] == ["Soprano", "Alto", "Tenor", "Bass"]
    assert session.span is not None
    assert session.ticked == {t.id for t in session.score.tracks[1:]}
    assert window.compose.generate_button.isEnabled()
    assert window.windowTitle().endswith(" – Ricercar")


def test_geometry_is_remembered(qtbot: QtBot, tmp_path: Path) -> None:
    first = open_window(qtbot, tmp_path)
    first.toggle_dock("score")
    first.resize(1000, 640)
    first.close()
    settings = settings_in(tmp_path)
    assert settings.value("geometry") is not None
    second = open_window(qtbot, tmp_path, width=1000, height=640)
    assert not second.dock_shown("score")
    assert second.dock_shown("tracks")


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (1024, 640)])
def test_nothing_is_cut_off(qtbot: QtBot, tmp_path: Path, width: int, height: int) -> None:
    window = open_window(qtbot, tmp_path, width=width, height=height)
    assert (window.width(), window.height()) == (width, height), "the panels ask for more room"
    compose = window.compose
    for task in (Task.REGENERATE, Task.CREATE):
        compose.choose_task(task)
        QApplication.processEvents()
        assert compose.width() <= 310, "the panel grows with the task"
    for button in (*compose.tasks.values(), compose.generate_button):
        assert button.width() >= button.sizeHint().width(), button.text()
    for widget in (window.transport.position, window.transport.tempo, window.transport.snap):
        assert widget.width() >= widget.minimumSizeHint().width()
    assert window.roll.canvas.width() > 350
    assert window.roll.canvas.height() > 180


def test_a_start_shows_the_demonstration_and_loads_nothing_heavy() -> None:
    shown = bench_start._start()
    assert shown["notes"] > 100
    assert shown["heavy"] == 0
    assert shown["cpu"] < 3


def test_importing_the_window_brings_no_network_code() -> None:
    code = (
        "import app.startup, sys;"
        "print([m for m in ('torch', 'music21', 'verovio', 'rtmidi', 'pyqtgraph') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


CLOSED_WHILE_LOADING = """
from PySide6.QtCore import QTimer
from app import startup

def painted(window):
    window.compose.generate()
    QTimer.singleShot(200, window.close)

raise SystemExit(startup.run([], painted=painted))
"""


def test_closing_while_a_system_loads_ends_the_process_cleanly() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CLOSED_WHILE_LOADING], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "terminate" not in done.stderr

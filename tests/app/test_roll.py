"""The piano roll used as a musician would: with the mouse and the keyboard."""

from __future__ import annotations

import json

import mouse
import numpy as np
import pytest
from mouse import ALT, CONTROL, RIGHT, SHIFT, Place
from PySide6.QtCore import QMimeData, Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

from app.pianoroll import clipboard, commands
from app.pianoroll.roll import PianoRoll
from app.pianoroll.ruler import LOOP_PX
from app.session import Playhead, Session
from engine import edits, midifile
from engine.document import Document
from models.score import Notes, Score, Track, UserError
from models.timebase import PPQ, SIXTEENTH, MeterMap

BAR = 4 * PPQ


class Desk:
    """A roll of two tracks in a shown window, with a clock that stands still until it is set."""

    def __init__(self, qtbot: QtBot, score: Score) -> None:
        self.clock = 0.0
        self.session = Session(Document(score), now=lambda: self.clock)
        self.roll = PianoRoll(self.session)
        qtbot.addWidget(self.roll)
        self.roll.resize(1000, 600)
        self.roll.show()
        qtbot.waitExposed(self.roll)
        self.roll.fit()
        self.canvas = self.roll.canvas
        self.canvas.setFocus()
        self.heard: list[tuple[int, int, int]] = []
        self.session.auditioned.connect(lambda *note: self.heard.append(note))
        self.sought: list[int] = []
        self.session.sought.connect(self.sought.append)
        self.messages: list[str] = []
        self.session.message.connect(self.messages.append)

    def at(self, tick: float, pitch: int) -> Place:
        """The middle of a row at a tick, on the canvas."""
        view = self.roll.view.viewport
        return view.x(tick), view.y(pitch) - view.row / 2

    def x(self, tick: float) -> float:
        return self.roll.view.viewport.x(tick)

    def note(self, note: int) -> tuple[int, int, int]:
        """(onset, duration, pitch)"""
        n = edits.select(self.session.score, [note])
        return int(n.onset[0]), int(n.duration[0]), int(n.pitch[0])

    def ids(self, track: int) -> list[int]:
        return self.session.score.track(track).notes.id.tolist()

    def key(self, key: Qt.Key, keys: Qt.KeyboardModifier = mouse.NONE) -> None:
        QTest.keyClick(self.canvas, key, keys)

    def settle(self) -> None:
        """Make sure a second click is not taken for a double one."""
        QTest.qWait(QGuiApplication.styleHints().mouseDoubleClickInterval() + 20)


@pytest.fixture
def desk(qtbot: QtBot) -> Desk:
    high = Notes.of([0, PPQ, 2 * PPQ, 3 * PPQ], PPQ, [72, 74, 76, 77], [60, 70, 80, 90])
    low = Notes.of([0, 2 * PPQ], 2 * PPQ, [60, 55], 64, first_id=4)
    tracks = (Track(1, "High", high), Track(2, "Low", low, channel=1))
    return Desk(qtbot, Score(tracks, fermatas=(3 * PPQ,)))


def test_everything_is_in_sight_at_first(desk: Desk) -> None:
    view = desk.roll.view.viewport
    assert view.x(0) > 0
    assert view.x(4 * PPQ) < view.width
    for pitch in (55, 77):
        assert 0 < view.y(pitch) < view.height


def test_dragging_a_note_moves_it_on_the_grid_in_one_step(desk: Desk) -> None:
    start, end = desk.at(PPQ + 400, 74), desk.at(2 * PPQ + 440, 79)
    mouse.press(desk.canvas, start)
    mouse.move(desk.canvas, desk.at(PPQ + 900, 76))
    assert desk.note(1)[2] == 76  # previewed
    assert desk.session.document.undo_label is None
    mouse.move(desk.canvas, end)
    mouse.release(desk.canvas, end)
    assert desk.note(1) == (2 * PPQ, PPQ, 79)
    assert desk.session.document.undo_label == "Move notes"
    desk.session.undo()
    assert desk.note(1) == (PPQ, PPQ, 74)
    assert desk.session.document.undo_label is None


def test_a_press_sounds_the_note_and_the_release_ends_it(desk: Desk) -> None:
    mouse.press(desk.canvas, desk.at(400, 60))
    assert desk.heard == [(2, 60, 64)]
    mouse.release(desk.canvas, desk.at(400, 60))
    assert desk.heard == [(2, 60, 64), (2, 60, 0)]
    assert desk.session.active_track == 2
    assert desk.session.selection == {4}


def test_a_shaky_click_moves_nothing(desk: Desk) -> None:
    x, y = desk.at(PPQ + 400, 74)
    mouse.drag(desk.canvas, [(x, y), (x + 1, y + 1), (x + 2, y)])
    assert desk.session.document.undo_label is None
    assert desk.session.selection == {1}


def test_both_edges_resize_and_show_it_by_the_pointer(desk: Desk) -> None:
    x, y = desk.at(2 * PPQ, 74)
    mouse.hover(desk.canvas, (x - 2, y))
    assert desk.canvas.cursor().shape() == Qt.CursorShape.SizeHorCursor
    mouse.drag(desk.canvas, [(x - 2, y), (x + 20, y), desk.at(2 * PPQ + 500, 74)])
    assert desk.note(1) == (PPQ, PPQ + 480, 74)
    x, y = desk.at(PPQ, 74)
    mouse.drag(desk.canvas, [(x + 2, y), (x + 20, y), desk.at(PPQ + 250, 74)])
    assert desk.note(1) == (PPQ + SIXTEENTH, PPQ + SIXTEENTH, 74)
    assert desk.session.document.undo_label == "Resize notes"
    mouse.hover(desk.canvas, desk.at(PPQ + 700, 74))
    assert desk.canvas.cursor().shape() == Qt.CursorShape.PointingHandCursor
    mouse.hover(desk.canvas, desk.at(PPQ + 700, 65))
    assert desk.canvas.cursor().shape() == Qt.CursorShape.ArrowCursor


def test_control_drags_copies_and_control_click_toggles(desk: Desk) -> None:
    mouse.drag(desk.canvas, [desk.at(400, 72), desk.at(900, 72), desk.at(BAR + 400, 72)], CONTROL)
    assert desk.note(0) == (0, PPQ, 72)
    assert desk.note(6) == (BAR, PPQ, 72)
    assert desk.session.selection == {6}
    mouse.click(desk.canvas, desk.at(PPQ + 400, 74), CONTROL)
    assert desk.session.selection == {1, 6}
    mouse.click(desk.canvas, desk.at(PPQ + 400, 74), CONTROL)
    assert desk.session.selection == {6}


def test_shift_adds_and_takes_away(desk: Desk) -> None:
    mouse.click(desk.canvas, desk.at(400, 72))
    mouse.click(desk.canvas, desk.at(PPQ + 400, 74), SHIFT)
    assert desk.session.selection == {0, 1}
    mouse.click(desk.canvas, desk.at(400, 72), SHIFT)
    assert desk.session.selection == {1}


def test_dragging_one_of_several_moves_all_and_a_click_chooses_it(desk: Desk) -> None:
    desk.session.select([0, 1])
    mouse.drag(desk.canvas, [desk.at(400, 72), desk.at(400, 74), desk.at(400, 75)])
    assert (desk.note(0)[2], desk.note(1)[2]) == (75, 77)
    assert desk.session.selection == {0, 1}
    mouse.click(desk.canvas, desk.at(PPQ + 400, 77))
    assert desk.session.selection == {1}


def test_rubber_band(desk: Desk) -> None:
    path = [desk.at(PPQ + 100, 79), desk.at(2 * PPQ, 75), desk.at(3 * PPQ + 50, 73)]
    mouse.press(desk.canvas, path[0])
    mouse.move(desk.canvas, path[1])
    mouse.move(desk.canvas, path[2])
    picture = desk.canvas.grab().toImage()
    inside = picture.pixelColor(*(round(c) for c in desk.at(PPQ + 500, 78)))
    outside = picture.pixelColor(*(round(c) for c in desk.at(5 * PPQ + 500, 78)))
    assert inside.blue() > outside.blue() + 10
    mouse.release(desk.canvas, path[2])
    assert desk.session.selection == {1, 2, 3}
    mouse.click(desk.canvas, desk.at(6 * PPQ, 65))
    assert desk.session.selection == frozenset()


def test_double_click_draws_and_deletes(desk: Desk) -> None:
    desk.session.set_active_track(2)
    mouse.double_click(desk.canvas, desk.at(4 * PPQ + 300, 64))
    new = desk.ids(2)[-1]
    assert desk.note(new) == (4 * PPQ + SIXTEENTH, SIXTEENTH, 64)
    assert desk.session.selection == {new}
    desk.settle()
    mouse.double_click(desk.canvas, desk.at(4 * PPQ + 300, 64))
    assert new not in desk.ids(2)
    desk.session.undo()
    desk.session.undo()
    assert desk.ids(2) == [4, 5]


def test_drawing_by_single_drags(desk: Desk) -> None:
    desk.roll.set_drawing(True)
    mouse.drag(
        desk.canvas, [desk.at(BAR + 10, 70), desk.at(BAR + 500, 70), desk.at(BAR + PPQ - 50, 70)]
    )
    mouse.click(desk.canvas, desk.at(BAR + 2 * PPQ + 10, 71))
    assert [desk.note(i) for i in desk.ids(1)[4:]] == [
        (BAR, PPQ, 70),
        (BAR + 2 * PPQ, SIXTEENTH, 71),
    ]


def test_right_drag_erases(desk: Desk) -> None:
    mouse.drag(desk.canvas, [desk.at(100, 72), desk.at(PPQ + 100, 74)], button=RIGHT)
    assert desk.ids(1) == [2, 3]
    assert desk.session.document.undo_label == "Erase notes"


def test_alt_leaves_the_grid(desk: Desk) -> None:
    x, y = desk.at(PPQ + 400, 74)
    mouse.drag(desk.canvas, [(x, y), (x + 4, y), (x + 7, y)], ALT)
    assert desk.note(1)[0] == pytest.approx(PPQ + 7 / desk.roll.view.viewport.scale, abs=1)


def test_escape_and_a_second_button_let_go_of_a_drag(desk: Desk) -> None:
    score = desk.session.score
    for how in ("escape", "button"):
        mouse.press(desk.canvas, desk.at(PPQ + 400, 74))
        mouse.move(desk.canvas, desk.at(3 * PPQ, 80))
        assert desk.session.score is not score
        if how == "escape":
            desk.key(Qt.Key.Key_Escape)
        else:
            mouse.press(desk.canvas, desk.at(3 * PPQ, 80), button=RIGHT)
        assert desk.session.score is score
        mouse.move(desk.canvas, desk.at(4 * PPQ, 80))
        mouse.release(desk.canvas, desk.at(4 * PPQ, 80))
        assert desk.session.score is score
        assert desk.heard[-1][2] == 0
    desk.key(Qt.Key.Key_Escape)
    assert desk.session.selection == frozenset()


def test_undo_in_the_middle_of_a_drag_ends_it(desk: Desk) -> None:
    desk.session.commit("x", edits.move(desk.session.score, [0], semitones=3))
    mouse.press(desk.canvas, desk.at(PPQ + 400, 74))
    mouse.move(desk.canvas, desk.at(3 * PPQ, 80))
    desk.session.undo()
    mouse.move(desk.canvas, desk.at(4 * PPQ, 81))
    mouse.release(desk.canvas, desk.at(4 * PPQ, 81))
    assert [desk.note(i)[2] for i in (0, 1)] == [72, 74]
    assert desk.session.document.redo_label == "x"


def test_dragging_beyond_the_edge_scrolls_on(desk: Desk, qtbot: QtBot) -> None:
    left = desk.roll.view.viewport.left_tick
    mouse.press(desk.canvas, desk.at(PPQ + 400, 74))
    mouse.move(desk.canvas, (desk.canvas.width() + 60.0, desk.at(0, 74)[1]))
    qtbot.waitUntil(lambda: desk.roll.view.viewport.left_tick > left + PPQ)
    onset = desk.note(1)[0]
    qtbot.waitUntil(lambda: desk.note(1)[0] > onset)
    mouse.release(desk.canvas, (desk.canvas.width() + 60.0, desk.at(0, 74)[1]))
    stopped = desk.roll.view.viewport
    qtbot.wait(80)
    assert desk.roll.view.viewport == stopped


# --- the keyboard --------------------------------------------------------------------------------


def test_keys_move_the_selection(desk: Desk) -> None:
    desk.session.select([1])
    desk.key(Qt.Key.Key_Up)
    desk.key(Qt.Key.Key_Up, SHIFT)
    desk.key(Qt.Key.Key_Down)
    desk.key(Qt.Key.Key_Right)
    desk.key(Qt.Key.Key_Right, SHIFT)
    assert desk.note(1) == (PPQ + SIXTEENTH, PPQ + SIXTEENTH, 86)
    desk.key(Qt.Key.Key_Left)
    desk.key(Qt.Key.Key_Left, SHIFT)
    desk.key(Qt.Key.Key_Up, CONTROL)
    assert desk.note(1) == (PPQ, PPQ, 86)
    assert edits.select(desk.session.score, [1]).velocity[0] == 70 + commands.LOUDER
    for _ in range(8):
        desk.session.undo()
    assert desk.note(1) == (PPQ, PPQ, 74)
    assert desk.session.document.undo_label is None


def test_tab_walks_from_note_to_note_and_sounds_it(desk: Desk) -> None:
    for expected in (0, 1, 2):
        desk.key(Qt.Key.Key_Tab)
        assert desk.session.selection == {expected}
    desk.key(Qt.Key.Key_Backtab, SHIFT)
    assert desk.session.selection == {1}
    assert [pitch for _, pitch, velocity in desk.heard if velocity] == [72, 74, 76, 74]
    assert desk.canvas.hasFocus()


def test_tab_scrolls_the_note_into_sight(desk: Desk) -> None:
    far = Notes.of([100 * BAR], [PPQ], [110])
    desk.session.commit("far", edits.add(desk.session.score, 1, far))
    for _ in range(5):
        desk.key(Qt.Key.Key_Tab)
    view = desk.roll.view.viewport
    assert 0 <= view.x(100 * BAR) <= view.width
    assert 0 <= view.y(110) <= view.height


def test_delete_insert_lock_and_quantize(desk: Desk) -> None:
    desk.session.select([1])
    desk.key(Qt.Key.Key_Delete)
    assert desk.ids(1) == [0, 2, 3]
    desk.key(Qt.Key.Key_Insert)
    assert desk.note(6) == (0, SIXTEENTH, 60)  # nothing selected: at the playhead
    desk.key(Qt.Key.Key_Insert)
    assert desk.note(7) == (SIXTEENTH, SIXTEENTH, 60)  # after the one before
    desk.key(Qt.Key.Key_K)
    assert edits.select(desk.session.score, [7]).locked.all()
    desk.key(Qt.Key.Key_K)
    assert not edits.select(desk.session.score, [7]).locked.any()
    desk.session.commit("x", edits.move(desk.session.score, [7], 57))
    desk.key(Qt.Key.Key_Q)
    assert desk.note(7)[0] == SIXTEENTH


def test_every_command_does_nothing_gracefully_without_a_selection(qtbot: QtBot) -> None:
    desk = Desk(qtbot, Score())
    QGuiApplication.clipboard().clear()
    for command in commands.COMMANDS:
        if command.run is not commands.fermata:  # that goes to the playhead
            command.run(desk.session)
    assert desk.session.document.undo_label is None
    assert len(desk.messages) == 2  # insert and paste say what is missing
    mouse.double_click(desk.canvas, (300, 200))
    assert len(desk.messages) == 3


def test_no_key_has_two_meanings() -> None:
    keys = [key for command in commands.COMMANDS for key in command.keys]
    assert len(keys) == len(set(keys))
    assert all(command.tip for command in commands.COMMANDS)


def test_select_all_goes_by_track_first(desk: Desk) -> None:
    desk.key(Qt.Key.Key_A, CONTROL)
    assert desk.session.selection == {0, 1, 2, 3}
    desk.key(Qt.Key.Key_A, CONTROL)
    assert desk.session.selection == {0, 1, 2, 3, 4, 5}


# --- the clipboard -------------------------------------------------------------------------------


def test_copy_and_paste_at_the_playhead(desk: Desk) -> None:
    desk.session.commit("Lock", edits.set_locked(desk.session.score, [2], True))
    desk.session.select([1, 2, 5])
    desk.key(Qt.Key.Key_C, CONTROL)
    desk.session.set_playhead(Playhead(BAR + 50.0))
    desk.key(Qt.Key.Key_V, CONTROL)
    new = sorted(desk.note(i) for i in desk.session.selection)
    assert new == [
        (BAR, PPQ, 74),
        (BAR + PPQ, PPQ, 76),
        (BAR + PPQ, 2 * PPQ, 55),
    ]
    assert len(desk.ids(1)) == 6
    assert len(desk.ids(2)) == 3
    assert edits.select(desk.session.score, desk.session.selected).locked.sum() == 1
    assert desk.session.document.undo_label == "Paste notes"


def test_a_single_track_goes_to_the_active_one(desk: Desk) -> None:
    desk.session.select([0])
    desk.key(Qt.Key.Key_X, CONTROL)
    assert desk.ids(1) == [1, 2, 3]
    desk.session.set_active_track(2)
    desk.session.set_playhead(Playhead(float(BAR)))
    desk.key(Qt.Key.Key_V, CONTROL)
    assert len(desk.ids(2)) == 3


def test_duplicate_goes_right_behind(desk: Desk) -> None:
    desk.session.select([0, 1])
    desk.key(Qt.Key.Key_D, CONTROL)
    assert sorted(desk.note(i) for i in desk.session.selection) == [
        (2 * PPQ, PPQ, 72),
        (3 * PPQ, PPQ, 74),
    ]


def test_other_programs_get_and_give_midi(desk: Desk) -> None:
    mime = clipboard.to_mime(desk.session.score, np.array([0, 1]))
    score = midifile.from_bytes(bytes(mime.data("audio/midi").data()))
    assert score.tracks[0].notes.pitch.tolist() == [72, 74]
    foreign = QMimeData()
    foreign.setData("audio/midi", mime.data("audio/midi"))
    clip = clipboard.from_mime(foreign)
    assert clip is not None
    assert clip.length == 2 * PPQ
    assert clip.tracks[0][1].pitch.tolist() == [72, 74]


GOOD = {
    "track": 1,
    "onset": [0],
    "duration": [1],
    "pitch": [60],
    "velocity": [80],
    "voice": [0],
    "locked": [False],
}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"tracks": 3}',
        b'{"tracks": [{}]}',
        b"[" * 100_000,
        json.dumps({"tracks": [GOOD | {"pitch": [300]}]}).encode(),
        json.dumps({"tracks": [GOOD | {"onset": [-5]}]}).encode(),
        json.dumps({"tracks": [GOOD | {"onset": [2**70]}]}).encode(),
        json.dumps({"tracks": [GOOD | {"onset": [2**62]}]}).encode(),
        json.dumps({"tracks": [GOOD | {"duration": [0]}]}).encode(),
        json.dumps({"tracks": [GOOD | {"duration": [1.5]}]}).encode(),
        json.dumps({"tracks": [GOOD | {"duration": [1, 2]}]}).encode(),
        json.dumps({"tracks": [GOOD | {"pitch": ["60"]}]}).encode(),
        json.dumps({"tracks": [GOOD | {"pitch": [[60]]}]}).encode(),
        json.dumps({"tracks": [GOOD | {"track": "x"}]}).encode(),
    ],
)
def test_a_damaged_clipboard_changes_nothing(desk: Desk, body: bytes) -> None:
    mime = QMimeData()
    mime.setData(clipboard.MIME, body)
    with pytest.raises(UserError, match="clipboard"):
        clipboard.from_mime(mime)
    QGuiApplication.clipboard().setMimeData(mime)
    commands.paste(desk.session)
    assert len(desk.messages) == 1
    assert desk.session.document.undo_label is None


# --- ruler, keyboard, velocity lane --------------------------------------------------------------


def test_the_ruler_seeks_marks_and_loops(desk: Desk) -> None:
    ruler = desk.roll.ruler
    y = LOOP_PX + 12.0
    mouse.click(ruler, (desk.x(2 * PPQ + 30), y))
    assert desk.sought == [2 * PPQ]
    mouse.drag(ruler, [(desk.x(50), y), (desk.x(500), y), (desk.x(BAR + 50), y)])
    assert desk.session.span == (0, 2 * BAR)
    assert desk.sought == [2 * PPQ]
    mouse.drag(ruler, [(desk.x(2 * BAR), y), (desk.x(BAR + 300), y), (desk.x(BAR + 90), y)])
    assert desk.session.span == (0, BAR)
    mouse.drag(ruler, [(desk.x(PPQ), 4.0), (desk.x(2 * PPQ), 4.0), (desk.x(3 * PPQ), 4.0)])
    assert desk.session.loop == (PPQ, 3 * PPQ)
    mouse.drag(ruler, [(desk.x(0), y), (desk.x(PPQ), y), (desk.x(2 * PPQ), y)], SHIFT)
    assert desk.session.loop == (PPQ, 3 * PPQ)  # began on the marked bars' edge: that was dragged
    mouse.drag(ruler, [(desk.x(300), y), (desk.x(PPQ), y), (desk.x(2 * PPQ), y)], SHIFT)
    assert desk.session.loop == (0, 2 * PPQ)
    mouse.double_click(ruler, (desk.x(PPQ), 4.0))
    assert desk.session.loop is None
    desk.settle()
    mouse.double_click(ruler, (desk.x(3 * PPQ + 100), y))
    assert desk.session.span is None


def test_fermatas_come_and_go(desk: Desk) -> None:
    ruler = desk.roll.ruler
    mouse.click(ruler, (desk.x(PPQ + 90), 30.0), button=RIGHT)
    assert desk.session.score.fermatas == (PPQ, 3 * PPQ)
    mouse.click(ruler, (desk.x(3 * PPQ - 30), 30.0), button=RIGHT)
    assert desk.session.score.fermatas == (PPQ,)
    desk.session.select([1, 2])
    desk.key(Qt.Key.Key_U)
    assert desk.session.score.fermatas == (PPQ, 2 * PPQ)
    desk.key(Qt.Key.Key_U)
    assert desk.session.score.fermatas == ()
    desk.session.select([])
    desk.session.set_playhead(Playhead(BAR + 100.0))
    desk.key(Qt.Key.Key_U)
    assert desk.session.score.fermatas == (BAR,)
    assert desk.session.document.undo_label == "Change fermata"


def test_the_notes_keep_the_keys_after_a_click_elsewhere(desk: Desk) -> None:
    desk.session.select([1])
    for widget in (desk.roll.ruler, desk.roll.velocity, desk.roll.keys):
        QTest.mouseClick(widget, Qt.MouseButton.LeftButton)
        assert desk.canvas.hasFocus()


def test_the_notes_that_may_change(desk: Desk) -> None:
    desk.session.commit("Lock", edits.set_locked(desk.session.score, [1], True))
    desk.session.set_span((PPQ, BAR))
    desk.session.set_ticked([1])
    desk.key(Qt.Key.Key_A, SHIFT)
    assert desk.session.selection == {2, 3}


def test_escape_takes_a_mark_back(desk: Desk) -> None:
    ruler = desk.roll.ruler
    mouse.press(ruler, (desk.x(50), 30.0))
    mouse.move(ruler, (desk.x(BAR), 30.0))
    assert desk.session.span is not None
    desk.key(Qt.Key.Key_Escape)
    mouse.release(ruler, (desk.x(BAR), 30.0))
    assert desk.session.span is None
    assert desk.sought == []


def test_the_keyboard_sounds_and_slides(desk: Desk) -> None:
    keys = desk.roll.keys
    y = [desk.at(0, p)[1] for p in (60, 62)]
    mouse.press(keys, (50.0, y[0]))
    mouse.move(keys, (50.0, y[1]))
    mouse.release(keys, (50.0, y[1]))
    track, pitch, velocity = desk.heard[0]
    assert (track, pitch) == (1, 60)
    assert 40 < velocity < 127
    assert [(p, bool(v)) for _, p, v in desk.heard] == [
        (60, True),
        (60, False),
        (62, True),
        (62, False),
    ]


def test_the_velocity_lane_sweeps_and_shifts(desk: Desk) -> None:
    lane = desk.roll.velocity

    def velocities() -> list[int]:
        return desk.session.score.track(1).notes.velocity.tolist()

    top, low = lane._y(120), lane._y(30)
    mouse.drag(lane, [(desk.x(0), low), (desk.x(2 * PPQ), top), (desk.x(3 * PPQ), top)])
    assert velocities() == pytest.approx([30, 75, 120, 120], abs=2)
    assert desk.session.document.undo_label == "Change velocity"
    desk.session.undo()
    assert velocities() == [60, 70, 80, 90]
    desk.session.select([0, 1])
    mouse.drag(lane, [(desk.x(0), lane._y(60)), (desk.x(0), lane._y(80))])
    assert velocities() == pytest.approx([80, 90, 80, 90], abs=2)


def test_one_note_of_a_chord_changes_alone_when_selected(desk: Desk) -> None:
    chord = Notes.of([BAR, BAR], PPQ, [60, 64], 50)
    desk.session.commit("chord", edits.add(desk.session.score, 1, chord))
    desk.session.select([7])
    lane = desk.roll.velocity
    mouse.drag(lane, [(desk.x(BAR), lane._y(50)), (desk.x(BAR), lane._y(100))])
    assert edits.select(desk.session.score, [6]).velocity[0] == 50
    assert edits.select(desk.session.score, [7]).velocity[0] == pytest.approx(100, abs=1)


# --- looking around ------------------------------------------------------------------------------


def test_the_wheel_scrolls_and_zooms_at_the_pointer(desk: Desk) -> None:
    view = desk.roll.view
    at = desk.at(PPQ, 70)
    before = view.viewport
    mouse.wheel(desk.canvas, at, 2, CONTROL)
    assert view.viewport.scale > before.scale * 1.4
    assert view.viewport.x(PPQ) == pytest.approx(at[0], abs=1)
    mouse.wheel(desk.canvas, at, 3, CONTROL | SHIFT)
    assert view.viewport.row > before.row
    assert view.viewport.pitch(at[1]) == 70
    top = view.viewport.scroll_y
    mouse.wheel(desk.canvas, at, -1)
    assert view.viewport.scroll_y > top
    left = view.viewport.left_tick
    mouse.wheel(desk.canvas, at, -1, SHIFT)
    assert view.viewport.left_tick > left
    for _ in range(60):
        mouse.wheel(desk.canvas, at, -3, CONTROL)
    assert view.viewport.x(4 * PPQ) - view.viewport.x(0) > 20  # never lost in the distance


def test_the_middle_button_pans(desk: Desk) -> None:
    before = desk.roll.view.viewport
    mouse.drag(desk.canvas, [(400, 200), (300, 220), (200, 240)], button=mouse.MIDDLE)
    after = desk.roll.view.viewport
    assert after.x(0) == pytest.approx(before.x(0) - 200)
    assert desk.session.document.undo_label is None


def test_the_roll_follows_the_playhead_by_pages(desk: Desk, qtbot: QtBot) -> None:
    session, view = desk.session, desk.roll.view
    session.set_playhead(Playhead(0.0, 0.0, True))
    left = view.viewport.left_tick
    desk.clock = 1.0  # two quarters at 120
    qtbot.waitUntil(lambda: desk.canvas._playhead_x == round(view.viewport.x(2 * PPQ)))
    assert view.viewport.left_tick == left
    desk.clock = 60.0
    qtbot.waitUntil(lambda: view.viewport.left_tick > left)
    assert 0 < view.viewport.x(120 * PPQ) < view.viewport.width * 0.1
    desk.roll.set_following(False)
    page = view.viewport
    desk.clock = 200.0
    qtbot.wait(50)
    assert view.viewport == page
    session.set_playhead(Playhead(0.0))
    assert not desk.roll._frames.isActive()


def test_scroll_bars_and_view_agree(desk: Desk) -> None:
    roll = desk.roll
    roll._across.setValue(roll._across.value() + 25)
    left = roll.view.viewport.left_tick
    assert roll._across.value() == round(left * roll.view.viewport.scale / 4)
    roll._down.setValue(roll._down.value() - 30)
    assert roll.view.viewport.scroll_y == roll._down.value()
    roll.fit_all()
    assert roll._down.value() == roll.view.viewport.scroll_y


def test_another_document_is_shown_from_its_beginning(desk: Desk) -> None:
    desk.roll.view.show(desk.roll.view.viewport.at(90 * BAR))
    notes = Notes.of([0, PPQ], PPQ, [30, 33])
    desk.session.replace_document(
        Document(Score((Track(0, "Bass", notes),), meter=MeterMap(pickup=PPQ)))
    )
    view = desk.roll.view.viewport
    assert 0 < view.x(0) < 60
    assert 0 < view.y(30) < view.height


def test_hints_name_what_is_under_the_mouse(desk: Desk) -> None:
    hints: list[str] = []
    desk.roll.hinted.connect(hints.append)
    mouse.hover(desk.canvas, desk.at(2 * PPQ + 300, 76))
    assert hints[-1] == "E5   bar 1, beat 3   High, velocity 80"
    mouse.hover(desk.canvas, desk.at(BAR + PPQ, 61))
    assert hints[-1] == "C♯4   bar 2, beat 2"

"""MIDI learn: what is taught, how a control takes hold, what floods and damage do, what is remembered."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from desk import KNOBS, PADS, Desk, cc, desk_in, key, program
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtCore import Qt
from PySide6.QtGui import QContextMenuEvent
from PySide6.QtWidgets import QApplication, QComboBox, QMenu, QWidget
from pytestqt.qtbot import QtBot
from stage import CARDS, TOY, settings_in

from app import targets
from app.actions import ACTIONS
from app.controllers import KEY, UNREADABLE, Controllers
from app.controls import MODES, Control, Grip, Kind, Mapping, Mode, Source, Sweep, detents, read
from app.panels.learn import LearnDialog, LearnPopup, learnable_form, pick_up_words
from app.panels.parameters import NumberEdit, ParameterForm, RangeEdit
from app.targets import Target
from models.card import Value
from models.score import UserError


@pytest.fixture
def desk(tmp_path: Path, qtbot: QtBot) -> Desk:
    return desk_in(tmp_path, qtbot)


# --- what a message says -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "source", "number", "share"),
    [
        (cc(20, 127, 3), Source.CC, 20, 1.0),
        (key(60), Source.NOTE, 60, 1.0),
        (key(60, 0), Source.NOTE, 60, 0.0),
        (bytes((0x83, 60, 64)), Source.NOTE, 60, 0.0),
        (program(5), Source.PROGRAM, 5, 1.0),
        (bytes((0xE0, 0x7F, 0x7F)), Source.BEND, 0, 1.0),
        (bytes((0xD0, 0)), Source.PRESSURE, 0, 0.0),
    ],
)
def test_messages_are_gestures(message: bytes, source: Source, number: int, share: float) -> None:
    gesture = read(message, PADS)
    assert gesture is not None
    assert gesture.control == Control(source, number, message[0] & 15, PADS)
    assert gesture.share == share


@given(st.binary(max_size=5))
def test_no_bytes_do_harm(message: bytes) -> None:
    gesture = read(message)
    if gesture is not None:
        assert 0 <= gesture.share <= 1
        assert 0 <= gesture.control.number <= 127
    if len(message) not in (2, 3) or any(byte > 127 for byte in message[1:]):
        assert gesture is None


def test_orders_to_a_channel_are_no_knobs() -> None:
    assert [read(cc(number, 127)) is None for number in (119, 120, 123, 127)] == [
        False,
        True,
        True,
        True,
    ]


# --- learning ----------------------------------------------------------------------------------------


def test_learning_triggers_nothing_and_can_be_let_go(desk: Desk) -> None:
    desk.teach("panic", key(36), PADS)
    desk.teach("tempo", cc(20, 127))
    assert desk.taken() == []
    desk.controllers.learn("depth")
    desk.controllers.receive(cc(20, 3), KNOBS)
    assert desk.taken() == [], "nor does what the control moved before"
    desk.controllers.learn("tempo")
    desk.controllers.cancel()
    assert desk.controllers.learning is None
    desk.controllers.receive(key(36), PADS)
    assert desk.taken() == [("panic", 1.0)]


def test_what_is_taught_is_no_music_any_more_but_no_key_hangs(desk: Desk) -> None:
    desk.teach("panic", key(36), PADS)
    assert desk.controllers.receive(key(36), PADS) is True
    assert desk.controllers.receive(key(36, 0), PADS) is False
    assert desk.controllers.receive(key(37), PADS) is False
    assert desk.controllers.receive(b"\xf8", PADS) is False
    desk.controllers.learn("answer")
    assert desk.controllers.receive(key(36), PADS) is False, "thru goes on while learning"


def test_a_control_that_is_taught_again_moves_over_and_this_is_said(desk: Desk) -> None:
    desk.teach("tempo", cc(20, 0))
    desk.teach("depth", cc(20, 127))
    assert desk.controllers.of("tempo") == ()
    assert [m.control.number for m in desk.controllers.of("depth")] == [20]
    assert desk.said[-1] == f"CC 20 of {KNOBS} now moves Depth, and Tempo no more."
    desk.controllers.change(desk.controllers.of("depth")[0], mode=Mode.JUMP)
    desk.teach("depth", cc(20, 5))
    assert desk.controllers.of("depth")[0].mode is Mode.JUMP, (
        "taught the same again, it stays as set"
    )
    desk.teach("depth", cc(21, 5))
    assert len(desk.controllers.of("depth")) == 2, "one target, several controls"


def test_a_key_cannot_move_a_number_and_this_is_said(desk: Desk) -> None:
    desk.controllers.learn("tempo")
    desk.controllers.receive(key(60), PADS)
    assert desk.controllers.learning == "tempo"
    assert desk.said == ["Tempo needs a knob, a fader or a wheel; Key C4 cannot move it."]
    desk.controllers.receive(bytes((0xE0, 0, 0x40)), PADS)
    assert desk.controllers.of("tempo")[0].control == Control(Source.BEND, 0, 0, PADS)


def test_an_action_is_taught_by_a_press_not_by_letting_go(desk: Desk) -> None:
    desk.controllers.learn("panic")
    for message in (key(40, 0), cc(0, 0), cc(64, 63)):
        desk.controllers.receive(message, PADS)
    assert desk.controllers.learning == "panic"
    desk.controllers.receive(program(7), PADS)
    assert desk.controllers.of("panic")[0].control == Control(Source.PROGRAM, 7, 0, PADS)


# --- taking hold -------------------------------------------------------------------------------------


def test_a_control_takes_hold_from_below_and_from_above(desk: Desk) -> None:
    desk.teach("tempo", cc(20, 0))
    desk.turn(10, 40)
    assert desk.taken() == []
    assert desk.waits == [("tempo", 1)]
    desk.turn(63, 70)
    assert desk.taken() == [("tempo", 63 / 127), ("tempo", 70 / 127)]
    assert desk.waits[1:] == [("tempo", 0)]
    desk.put("tempo", 0.1)
    desk.taken()
    desk.turn(69, 30)
    assert desk.taken() == []
    assert desk.waits[2:] == [("tempo", -1)]
    desk.turn(13, 20)
    assert desk.taken() == [("tempo", 13 / 127), ("tempo", 20 / 127)]


def test_a_control_takes_hold_where_it_passes_between_two_of_its_values(desk: Desk) -> None:
    desk.teach("tempo", cc(20, 100))
    desk.turn(10)
    assert desk.taken() == [("tempo", 10 / 127)]
    desk.put("tempo", 0.9)
    desk.taken()
    # Within one window it passes the value and comes back.
    for value in (12, 125, 30):
        desk.controllers.receive(cc(20, value), KNOBS)
    desk.wait()
    assert desk.taken() == [("tempo", 30 / 127)]


def test_a_target_that_rounds_keeps_being_held(desk: Desk) -> None:
    values = {"bars": 4.0}
    bars = targets.number(
        "bars", "Bars", 1, 8, lambda: values["bars"], lambda v: values.update(bars=v), whole=True
    )
    desk.controllers.add(bars)
    desk.teach("bars", cc(20, 0))
    seen = []
    for value in range(0, 128, 8):
        desk.turn(value)
        seen.append(values["bars"])
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (4, 8)
    assert set(seen) == {4, 5, 6, 7, 8}


def test_a_target_out_of_reach_is_held_at_its_end(desk: Desk) -> None:
    desk.teach("tempo", cc(20, 64))
    desk.values["tempo"] = 1.4
    desk.turn(100, 127, 120)
    assert desk.taken() == [("tempo", 1.0), ("tempo", 120 / 127)]


def test_a_control_that_jumps_waits_for_nothing(desk: Desk) -> None:
    mapping = desk.teach("tempo", cc(20, 0))
    desk.controllers.change(mapping, mode=Mode.JUMP)
    desk.turn(100)
    assert desk.taken() == [("tempo", 100 / 127)]
    assert desk.waits == []


def test_what_stands_nowhere_yet_is_not_waited_for(desk: Desk) -> None:
    moved: list[tuple[str, float]] = []
    desk.controllers.moved.connect(lambda target, share: moved.append((target, share)))
    desk.teach("elsewhere", cc(20, 0))
    desk.turn(127)
    assert moved == [("elsewhere", 1.0)]


@given(
    st.lists(st.integers(0, 127), min_size=1, max_size=30),
    st.floats(0, 1),
)
def test_no_value_ever_jumps_by_more_than_the_control_went(turns: list[int], value: float) -> None:
    """Whatever the hand does, a value is only ever moved to or across where it was."""
    grip, hand, at = Grip(), (KNOBS, 0), turns[0] / 127
    grip.at[hand] = at
    for turn in turns:
        share = turn / 127
        if grip.catches(hand, Sweep(share, share, share), value):
            low, high = min(at, share) - 1 / 127, max(at, share) + 1 / 127
            assert low <= value <= high
            value = share
            grip.keep(hand, share, value)
        grip.at[hand] = at = share


@pytest.mark.parametrize(
    ("mode", "up", "down"), [(Mode.TWOS, 1, 127), (Mode.OFFSET, 65, 63), (Mode.SIGN, 1, 65)]
)
def test_endless_knobs_move_from_where_the_target_is(
    desk: Desk, mode: Mode, up: int, down: int
) -> None:
    assert (detents(mode, up), detents(mode, down)) == (1, -1)
    mapping = desk.teach("tempo", cc(20, 64))
    desk.controllers.change(mapping, mode=mode)
    desk.turn(up, up, down)
    assert [value for _, value in desk.taken()] == pytest.approx(
        [0.5 + 1 / 127, 0.5 + 2 / 127, 0.5 + 1 / 127]
    )
    desk.put("tempo", 0.0)
    desk.taken()
    desk.turn(down, up)
    assert [value for _, value in desk.taken()] == pytest.approx([0.0, 1 / 127])
    for _ in range(50):
        desk.controllers.receive(cc(20, up), KNOBS)
    desk.wait()
    assert desk.values["tempo"] == pytest.approx(51 / 127), "no click is lost in a flood"


def test_an_endless_knob_reaches_every_value_though_one_click_does_not(desk: Desk) -> None:
    values = {"steps": 1.0}
    steps = targets.number(
        "steps", "Steps", 1, 5000, lambda: values["steps"], lambda v: values.update(steps=v),
        whole=True,
    )  # fmt: skip
    desk.controllers.add(steps)
    mapping = desk.teach("steps", cc(20, 64))
    desk.controllers.change(mapping, mode=Mode.TWOS)
    seen = []
    for _ in range(12):
        desk.turn(1)
        seen.append(values["steps"])
    assert seen[0] == 1
    assert seen[-1] > 1
    desk.controllers.change(desk.controllers.mappings[0], mode=Mode.TWOS)
    system = desk.teach("system", cc(21, 64))
    desk.controllers.change(system, mode=Mode.TWOS)
    desk.turn(1, number=21)
    assert desk.values["system"] == 0.5, "one click, one of a list"


# --- several devices ---------------------------------------------------------------------------------


def test_two_devices_that_send_the_same_controller_are_kept_apart(desk: Desk) -> None:
    desk.teach("tempo", cc(20, 64), KNOBS)
    desk.teach("depth", cc(20, 0), PADS)
    desk.turn(70, device=KNOBS)
    desk.turn(30, device=PADS)
    desk.turn(80, device="Another")
    assert desk.taken() == [("tempo", 70 / 127), ("depth", 30 / 127)]


def test_channels_are_kept_apart_until_any_is_meant(desk: Desk) -> None:
    mapping = desk.teach("tempo", cc(20, 64, channel=2))
    assert not desk.controllers.receive(cc(20, 64, channel=3), KNOBS)
    desk.controllers.change(mapping, control=Control(Source.CC, 20, None, KNOBS))
    assert desk.controllers.receive(cc(20, 64, channel=3), KNOBS)


def test_of_two_mappings_the_one_that_names_its_device_counts(desk: Desk) -> None:
    anywhere = desk.teach("tempo", cc(20, 64), KNOBS)
    desk.controllers.change(anywhere, control=Control(Source.CC, 20))
    desk.teach("depth", cc(20, 0), PADS)
    desk.turn(64, device="Another")
    desk.turn(1, device=PADS)
    assert desk.taken() == [("tempo", 64 / 127), ("depth", 1 / 127)]
    desk.controllers.change(desk.controllers.of("depth")[0], control=Control(Source.CC, 20))
    assert desk.controllers.of("tempo") == (), "the same control twice means nothing"
    assert desk.said[-1] == "CC 20 now moves Depth, and Tempo no more."


def test_of_two_devices_on_one_mapping_the_other_must_pick_up(desk: Desk) -> None:
    mapping = desk.teach("tempo", cc(20, 64), KNOBS)
    desk.controllers.change(mapping, control=Control(Source.CC, 20), mode=Mode.PICK_UP)
    desk.turn(60, 70, device=KNOBS)
    desk.turn(10, 20, device=PADS)
    desk.turn(75, device=KNOBS)
    assert [round(value * 127) for _, value in desk.taken()] == [70, 75]
    desk.turn(76, device=PADS)
    assert desk.taken() == [("tempo", 76 / 127)]
    desk.turn(100, device=PADS)
    desk.taken()
    desk.turn(80, device=KNOBS)
    assert desk.taken() == []
    assert desk.controllers.direction("tempo") == 1


# --- buttons -----------------------------------------------------------------------------------------


def test_notes_programs_and_buttons_do_actions(desk: Desk) -> None:
    desk.teach("panic", key(36), PADS)
    desk.teach("panic", program(3), PADS)
    desk.teach("answer", cc(64, 127), PADS)
    for message in (key(36, 1), key(36, 0), key(36), program(3), program(4)):
        desk.controllers.receive(message, PADS)
        desk.wait()
    assert desk.taken() == [("panic", 1.0)] * 3
    for value in (127, 127, 64, 63, 64, 100, 0, 20, 90):  # still down from learning, then up
        desk.controllers.receive(cc(64, value), PADS)
        desk.wait()
    assert desk.taken() == [("answer", 1.0)] * 2


def test_switches_and_lists(desk: Desk) -> None:
    desk.teach("loop", key(36), PADS)
    desk.teach("system", key(37), PADS)
    for pitch in (36, 36, 37, 37, 37):
        desk.controllers.receive(key(pitch), PADS)
        desk.wait()
    assert desk.taken() == [
        ("loop", 1.0),
        ("loop", 0.0),
        ("system", 0.5),
        ("system", 1.0),
        ("system", 0.0),
    ]
    desk.teach("loop", cc(64, 127))
    desk.turn(127, 0, 10, 64, number=64)
    assert desk.taken() == [("loop", 0.0), ("loop", 1.0)]
    held = desk.controllers.of("loop")[0]
    desk.controllers.change(held, mode=Mode.HOLD)
    for velocity in (90, 0):
        desk.controllers.receive(key(36, velocity), PADS)
        desk.wait()
    assert desk.taken() == [("loop", 1.0), ("loop", 0.0)]


# --- floods ------------------------------------------------------------------------------------------


def test_a_flood_sets_a_target_once_a_window_and_ends_with_the_newest(desk: Desk) -> None:
    desk.teach("tempo", cc(20, 64))
    desk.teach("depth", cc(21, 0))
    for k in range(5000):
        desk.controllers.receive(cc(20, 64 + k % 60), KNOBS)
        desk.controllers.receive(cc(21, k % 128), KNOBS)
    desk.wait()
    taken = desk.taken()
    assert [v for name, v in taken if name == "tempo"][-1] == (64 + 4999 % 60) / 127
    assert [v for name, v in taken if name == "depth"][-1] == (4999 % 128) / 127
    assert len(taken) <= 4, "no event came between"


def test_presses_come_after_what_was_moved_before_them(desk: Desk) -> None:
    desk.teach("tempo", cc(20, 64))
    desk.teach("panic", key(36))
    desk.teach("answer", key(37))
    for message in (cc(20, 60), cc(20, 70), key(37), cc(20, 80), key(36), cc(20, 90)):
        desk.controllers.receive(message, KNOBS)
    desk.wait()
    assert [(name, round(value * 127)) for name, value in desk.taken()] == [
        ("tempo", 60),
        ("tempo", 70),
        ("answer", 127),
        ("tempo", 80),
        ("panic", 127),
        ("tempo", 90),
    ]
    assert desk.settled[-2:] == ["tempo", "tempo"], "what was moved is made up before an action"


def test_a_flood_of_presses_is_named_and_held_back(desk: Desk) -> None:
    desk.teach("answer", key(37), PADS)
    desk.said.clear()
    for _ in range(3000):
        desk.controllers.receive(key(37), PADS)
    desk.wait()
    assert desk.taken() == [("answer", 1.0)]
    assert desk.said == [
        f"Key C♯2 of {PADS} sends more presses than anyone could mean; Answer follows 62 a second."
    ]
    desk.controllers.receive(key(37), PADS)
    assert desk.taken() == [("answer", 1.0)]


def test_a_hand_that_rests_settles_what_it_moved(desk: Desk) -> None:
    desk.teach("tempo", cc(20, 64))
    desk.turn(64, 70, 80)
    assert desk.settled == []
    desk.qtbot.waitUntil(lambda: desk.settled == ["tempo"])


def test_a_target_that_refuses_is_heard_and_the_rest_goes_on(desk: Desk) -> None:
    def refuse(share: float) -> None:
        raise UserError("Not now.")

    desk.controllers.add(Target("stubborn", "Stubborn", Kind.NUMBER, refuse))
    desk.teach("stubborn", cc(19, 0))
    desk.teach("tempo", cc(20, 64))
    for message in (cc(20, 64), cc(19, 1), cc(20, 66)):
        desk.controllers.receive(message, KNOBS)
    desk.wait()
    assert desk.said[-1] == "Not now."
    assert desk.values["tempo"] == 66 / 127


# --- remembering -------------------------------------------------------------------------------------


def test_mappings_are_remembered(desk: Desk, tmp_path: Path, qtbot: QtBot) -> None:
    desk.teach("tempo", cc(20, 64))
    desk.teach("panic", key(36), PADS)
    desk.controllers.change(desk.controllers.of("tempo")[0], mode=Mode.OFFSET)
    desk.controllers._settings.sync()
    again = desk_in(tmp_path, qtbot)
    assert again.controllers.mappings == desk.controllers.mappings
    again.controllers.receive(key(36), PADS)
    assert again.taken() == [("panic", 1.0)]
    again.controllers.forget("panic")
    again.controllers._settings.sync()
    assert [m.target for m in desk_in(tmp_path, qtbot).controllers.mappings] == ["tempo"]


def test_controllers_of_former_days_move_over(tmp_path: Path, qtbot: QtBot) -> None:
    settings = settings_in(tmp_path)
    for name, number in (("map_x", "20"), ("map_y", "999"), ("path", "21")):
        settings.setValue(f"controller_{name}", number)
    settings.sync()
    for _ in range(2):
        mappings = Controllers(settings_in(tmp_path)).mappings
        assert [(m.target, m.control) for m in mappings] == [
            ("map_x", Control(Source.CC, 20)),
            ("path", Control(Source.CC, 21)),
        ]
    assert settings_in(tmp_path).value("controller_map_x") is None


GOOD = {
    "target": "tempo",
    "control": {"source": "cc", "number": 20, "channel": None, "device": ""},
    "mode": "pick-up",
}


@pytest.mark.parametrize(
    "bad",
    [
        7,
        {},
        {**GOOD, "mode": "wish"},
        {**GOOD, "mode": "hold", "control": {**GOOD["control"], "source": "bend"}},  # type: ignore[dict-item]
        {**GOOD, "target": None},
        {**GOOD, "control": {**GOOD["control"], "number": 128}},  # type: ignore[dict-item]
        {**GOOD, "control": {**GOOD["control"], "channel": True}},  # type: ignore[dict-item]
        {**GOOD, "control": {"source": []}},
    ],
)
def test_what_cannot_be_read_is_left_alone_and_kept(
    bad: object, tmp_path: Path, qtbot: QtBot
) -> None:
    settings = settings_in(tmp_path)
    settings.setValue(KEY, json.dumps([bad, GOOD]))
    settings.sync()
    desk = desk_in(tmp_path, qtbot)
    assert [m.target for m in desk.controllers.mappings] == ["tempo"]
    desk.teach("panic", key(36))
    desk.controllers._settings.sync()
    kept = json.loads(str(settings_in(tmp_path).value(KEY)))
    assert bad in kept
    assert len(kept) == 3


@pytest.mark.parametrize("text", ["{", '"words"', "[" * 100_000])
def test_settings_that_are_no_list_are_set_aside(text: str, tmp_path: Path, qtbot: QtBot) -> None:
    settings = settings_in(tmp_path)
    settings.setValue(KEY, text)
    settings.sync()
    desk = desk_in(tmp_path, qtbot)
    assert desk.controllers.mappings == ()
    desk.teach("panic", key(36))
    desk.controllers._settings.sync()
    assert settings_in(tmp_path).value(UNREADABLE) == text


# --- targets of parameters and actions -----------------------------------------------------------------


def test_every_parameter_is_a_target(desk: Desk) -> None:
    values: dict[str, Value] = {p.name: p.default for p in TOY.params}
    made = targets.parameter_targets(TOY, values.__getitem__, values.__setitem__)
    assert {t.id.removeprefix("param/toy/"): t.kind for t in made} == {
        "steps": Kind.NUMBER,
        "temperature": Kind.NUMBER,
        "keep_rhythm": Kind.SWITCH,
        "range/low": Kind.NUMBER,
        "range/high": Kind.NUMBER,
        "mode": Kind.CHOICE,
    }
    for target in made:
        for share in (1.0, 0.0, 0.4, 1.0):
            target.set(share)
            now = target.get()
            assert now is not None
            target.set(now)
            assert target.get() == pytest.approx(now), "what it says is what it takes"
            for param in TOY.params:
                assert param.check(values[param.name]) == values[param.name]
    assert values == {
        "steps": 1000,
        "temperature": 2.0,
        "keep_rhythm": True,
        "range": (36, 96),
        "mode": "exact",
        "words": "none",
    }
    by_id = {t.id: t for t in made}
    assert by_id["param/toy/temperature"].say(0.5) == "1.05"
    assert by_id["param/toy/mode"].say(0.2) == "fast"
    by_id["param/toy/range/high"].set(0.0)
    assert values["range"] == (36, 36)
    assert targets.parameter_targets(CARDS[1], values.__getitem__, values.__setitem__) == ()


def test_a_switch_and_a_list_follow_a_knob(desk: Desk) -> None:
    values: dict[str, Value] = {p.name: p.default for p in TOY.params}
    desk.controllers.add(*targets.parameter_targets(TOY, values.__getitem__, values.__setitem__))
    desk.teach("param/toy/keep_rhythm", cc(30, 127))
    desk.turn(0, 100, number=30)
    assert values["keep_rhythm"] is True
    desk.turn(20, number=30)
    assert values["keep_rhythm"] is False
    desk.teach("param/toy/mode", cc(31, 127))
    desk.turn(0, 60, 70, number=31)
    assert values["mode"] == "exact"


def test_every_action_is_a_target(desk: Desk) -> None:
    done: list[str] = []
    made = targets.action_targets(ACTIONS, done.append)
    assert len({t.id for t in made}) == len(ACTIONS)
    desk.controllers.add(*made)
    desk.teach("action/panic", key(36), PADS)
    desk.controllers.receive(key(36), PADS)
    assert done == ["panic"]
    assert desk.controllers.title("action/panic") == "Play: Silence everything"


def test_every_kind_of_thing_can_be_moved_by_a_controller() -> None:
    assert all(MODES[kind, Source.CC] for kind in Kind)
    every: Callable[[Mode], bool] = lambda mode: any(mode in modes for modes in MODES.values())  # noqa: E731
    assert all(every(mode) for mode in Mode)


# --- the dialog and the menus ------------------------------------------------------------------------


@pytest.fixture
def dialog(desk: Desk, qtbot: QtBot) -> LearnDialog:
    made = LearnDialog(desk.controllers, lambda: (KNOBS, PADS))
    qtbot.addWidget(made)
    made.show()
    made.activateWindow()
    qtbot.waitUntil(made.isActiveWindow)
    made.search.setFocus()
    return made


def test_everything_is_taught_by_keyboard(dialog: LearnDialog, desk: Desk, qtbot: QtBot) -> None:
    qtbot.keyClicks(dialog.search, "depth")
    assert dialog.chosen() == "depth"
    qtbot.keyClick(dialog.search, Qt.Key.Key_Return)
    assert desk.controllers.learning == "depth"
    assert dialog.prompt.text() == "Depth: move a knob, a fader or a wheel now (Esc: leave it)."
    qtbot.keyClick(dialog.search, Qt.Key.Key_Escape)
    assert desk.controllers.learning is None
    assert dialog.isVisible()
    dialog.search.clear()
    dialog.choose("tempo")
    qtbot.keyClick(dialog.search, Qt.Key.Key_Down)
    qtbot.keyClick(dialog.search, Qt.Key.Key_Down)
    qtbot.keyClick(dialog.search, Qt.Key.Key_Up)
    qtbot.keyClick(dialog.search, Qt.Key.Key_Return)
    desk.controllers.receive(cc(20, 64), KNOBS)
    assert [m.target for m in desk.controllers.mappings] == ["depth"]
    assert dialog.echo.whole() == f"CC 20 · 64 · channel 1 · {KNOBS}"
    assert dialog.prompt.text() == f"CC 20 of {KNOBS} now moves Depth."
    (row,) = dialog.rows
    assert dialog.empty.isHidden()
    row.remove.setFocus()
    qtbot.keyClick(row.remove, Qt.Key.Key_Space)
    assert desk.controllers.mappings == ()
    assert not dialog.empty.isHidden()
    dialog.search.setText("no such thing")
    assert dialog.chosen() is None
    assert not dialog.learn_button.isEnabled()
    dialog.search.setFocus()
    qtbot.keyClick(dialog.search, Qt.Key.Key_Escape)
    assert dialog.isHidden()


def test_mappings_are_changed_in_their_row(dialog: LearnDialog, desk: Desk, qtbot: QtBot) -> None:
    desk.teach("tempo", cc(20, 64))
    (row,) = dialog.rows

    def choose(combo: QComboBox, text: str) -> None:
        combo.setCurrentIndex(combo.findText(text))
        combo.activated.emit(combo.currentIndex())

    choose(row.device, "Any device")
    choose(row.channel, "Any")
    choose(row.mode, "Jump")
    assert desk.controllers.mappings == (Mapping("tempo", Control(Source.CC, 20), Mode.JUMP),)
    choose(row.device, PADS)
    choose(row.channel, "16")
    assert desk.controllers.mappings[0].control == Control(Source.CC, 20, 15, PADS)
    choose(row.channel, "1")
    choose(row.mode, "Pick up")
    desk.turn(1, device=PADS)
    qtbot.waitUntil(lambda: row.now.text() == "50 %  ▲ turn up")
    assert pick_up_words(desk.controllers, "tempo", 1) == "Tempo: turn it up to pick it up."
    desk.turn(70, device=PADS)
    qtbot.waitUntil(lambda: row.now.text() == "55 %")
    desk.controllers.change(
        desk.controllers.mappings[0], control=Control(Source.CC, 20, 0, "Unplugged")
    )
    assert row.device.currentText() == "Unplugged", "what is not there can be meant, too"


def test_closing_the_dialog_leaves_what_was_being_taught(dialog: LearnDialog, desk: Desk) -> None:
    dialog.choose("panic")
    dialog.learn()
    assert desk.controllers.learning == "panic"
    dialog.close()
    assert desk.controllers.learning is None


def menu_of(widget: QWidget) -> dict[str, Callable[[], None]]:
    """The context menu of a widget, as a right click brings it: text → what it does."""
    at = widget.rect().center()
    event = QContextMenuEvent(QContextMenuEvent.Reason.Mouse, at, widget.mapToGlobal(at))
    QApplication.sendEvent(widget, event)
    menu = QApplication.activePopupWidget()
    assert isinstance(menu, QMenu)
    menu.close()
    return {a.text().replace("&", ""): a.trigger for a in menu.actions()}


def test_every_editor_of_a_form_can_be_taught_in_place(desk: Desk, qtbot: QtBot) -> None:
    form = ParameterForm(TOY)
    qtbot.addWidget(form)
    form.show()
    learnable_form(form, TOY, desk.controllers)
    values: dict[str, Value] = {p.name: p.default for p in TOY.params}
    desk.controllers.add(*targets.parameter_targets(TOY, values.__getitem__, values.__setitem__))
    edit = form.findChild(NumberEdit, "param_temperature")
    assert isinstance(edit, NumberEdit)
    assert list(menu_of(edit.slider)) == ["MIDI learn…"]
    text = menu_of(edit.spin)
    assert len(text) > 4, "what a text field offers, it still does"
    text["MIDI learn…"]()
    popup = QApplication.activePopupWidget()
    assert isinstance(popup, LearnPopup)
    assert desk.controllers.learning == "param/toy/temperature"
    assert popup.words.text() == "Toy: Temperature: move a knob, a fader or a wheel now"
    desk.controllers.receive(cc(20, 64), KNOBS)
    assert QApplication.activePopupWidget() is None
    menu_of(edit.slider)[f"Forget CC 20 of {KNOBS}"]()
    assert desk.controllers.mappings == ()
    menu_of(edit.slider)["MIDI learn…"]()
    popup = QApplication.activePopupWidget()
    assert isinstance(popup, LearnPopup)
    qtbot.keyClick(popup, Qt.Key.Key_Escape)
    assert desk.controllers.learning is None
    range_edit = form.findChild(RangeEdit, "param_range")
    assert isinstance(range_edit, RangeEdit)
    menu_of(range_edit.high)["MIDI learn…"]()
    assert desk.controllers.learning == "param/toy/range/high"

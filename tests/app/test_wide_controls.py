"""MIDI learn beyond 7 bits: pairs of controllers, NRPN, wheels and steps; and what is cut off moves nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from desk import KNOBS, PADS, Desk, cc, desk_in, key
from hypothesis import given
from hypothesis import strategies as st
from pytestqt.qtbot import QtBot
from stage import TOY, RecordingLink, open_window

from app import targets
from app.controllers import PAIR_NS
from app.controls import PAIRED, Control, Gesture, Mapping, Mode, Source, restored
from app.hands import messages
from app.panels.learn import LearnDialog
from app.reading import Reader
from engine import playback, schedule
from models.card import Value

FULL = 16383
PAIR = Control(Source.CC14, 7, 0, KNOBS)
PARAMETER = Control(Source.NRPN, 133, 0, KNOBS)


def pair(value: int, number: int = 7) -> tuple[bytes, ...]:
    return cc(number, value >> 7), cc(number + PAIRED, value & 127)


def select(number: int) -> tuple[bytes, ...]:
    return cc(99, number >> 7), cc(98, number & 127)


def nrpn(value: int, number: int = 133) -> tuple[bytes, ...]:
    return (*select(number), cc(6, value >> 7), cc(38, value & 127))


NULL = (cc(101, 127), cc(100, 127))


@pytest.fixture
def desk(tmp_path: Path, qtbot: QtBot) -> Desk:
    return desk_in(tmp_path, qtbot)


def send(desk: Desk, *messages: bytes, device: str = KNOBS) -> None:
    for message in messages:
        desk.controllers.receive(message, device)
    desk.wait()


def teach(desk: Desk, target: str, *messages: bytes, mode: Mode | None = None) -> Mapping:
    desk.controllers.learn(target)
    send(desk, *messages)
    (mapping,) = desk.controllers.of(target)
    if mode is not None:
        desk.controllers.change(mapping, mode=mode)
    return desk.controllers.of(target)[0]


def wholes(reader: Reader, *messages: bytes) -> list[Gesture]:
    """What is read, each message as the widest that it may mean."""
    read = (reader.read(message, KNOBS) for message in messages)
    return [readings[0] for readings in read if readings and readings[0].whole]


# --- pairs -------------------------------------------------------------------------------------------


def test_a_pair_is_known_by_its_second_half_and_is_one_control(desk: Desk) -> None:
    assert teach(desk, "tempo", *pair(5000)) == Mapping("tempo", PAIR, Mode.PICK_UP)
    assert desk.controllers.learning is None
    assert desk.said == [
        f"CC 7 of {KNOBS} now moves Tempo.",
        f"CC 7 + 39 of {KNOBS} now moves Tempo.",
    ]
    assert desk.taken() == []
    assert all(desk.controllers.receive(message, KNOBS) for message in pair(5001))


def test_a_pair_taught_again_moves_over_and_a_mode_stays(desk: Desk) -> None:
    teach(desk, "tempo", *pair(5000), mode=Mode.JUMP)
    assert teach(desk, "tempo", *pair(5100)).mode is Mode.JUMP
    teach(desk, "depth", *pair(5200))
    assert [m.target for m in desk.controllers.mappings] == ["depth"]
    assert f"CC 7 of {KNOBS} now moves Depth, and Tempo no more." in desk.said
    # The fader has been set to 7 bits: what it sends now must not be waited for in vain.
    assert teach(desk, "tempo", cc(7, 64)).control.source is Source.CC
    assert desk.controllers.of("depth") == ()


def test_every_one_of_16384_places_reaches_the_target(desk: Desk) -> None:
    teach(desk, "tempo", *pair(8000), mode=Mode.JUMP)
    for value in (0, 1, 8191, 8192, 8193, FULL - 1, FULL):
        send(desk, *pair(value))
    places = [round(value * FULL, 6) for _, value in desk.taken()]
    assert places == [0, 1, 8191, 8192, 8193, FULL - 1, FULL]


def test_a_parameter_of_a_card_gets_what_lies_between_two_7_bit_places(desk: Desk) -> None:
    values: dict[str, Value] = {p.name: p.default for p in TOY.params}
    desk.controllers.add(*targets.parameter_targets(TOY, values.__getitem__, values.__setitem__))
    teach(desk, "param/toy/temperature", *nrpn(8000), mode=Mode.JUMP)
    for value in (8192, 8193):
        send(desk, *nrpn(value))
        assert values["temperature"] == pytest.approx(0.1 + 1.9 * value / FULL, abs=1e-9)


@given(st.lists(st.integers(0, FULL), min_size=1, max_size=40), st.booleans())
def test_a_pair_never_leaps_between_its_halves(values: list[int], every_half: bool) -> None:
    """Values come out as they went in, and no others, whether or not a coarse half that stays is sent again."""
    reader, sent, coarse = Reader(), [], -1
    for value in values:
        first, second = pair(value)
        sent += [second] if coarse == value >> 7 and not every_half else [first, second]
        coarse = value >> 7
    assert [gesture.raw for gesture in wholes(reader, *sent)] == values


def test_a_pair_whose_fine_half_stays_away_moves_after_a_moment(desk: Desk) -> None:
    teach(desk, "tempo", *pair(8000), mode=Mode.JUMP)
    for coarse in (100, 101, 102):
        desk.controllers.receive(cc(7, coarse), KNOBS)
    assert desk.taken() == []
    desk.wait()
    assert desk.taken() == [("tempo", pytest.approx((102 << 7) / FULL))]


def test_a_pair_never_heard_before_is_7_bits_until_its_fine_half_comes(
    desk: Desk, tmp_path: Path, qtbot: QtBot
) -> None:
    teach(desk, "tempo", *pair(8000), mode=Mode.JUMP)
    desk.controllers._settings.sync()
    again = desk_in(tmp_path, qtbot)
    send(again, cc(39, 90))
    assert again.taken() == [], "a fine half alone is nowhere"
    again = desk_in(tmp_path, qtbot)
    send(again, cc(7, 127))
    assert again.taken() == [("tempo", 1.0)]


def test_controls_that_only_look_like_a_pair_stay_apart(desk: Desk) -> None:
    fader, button = cc(0, 64), cc(32, 127)
    desk.controllers.learn("tempo")
    desk.controllers.receive(fader, KNOBS, 0)
    desk.controllers.receive(button, KNOBS, PAIR_NS + 1)
    assert desk.controllers.of("tempo")[0].control.source is Source.CC, "too late for a half"
    teach(desk, "panic", button)
    desk.wait()
    desk.controllers.learn("depth")
    for message in (fader, button):
        desk.controllers.receive(message, KNOBS)
    assert [m.control.title() for m in desk.controllers.mappings] == ["CC 32", "CC 0"]
    desk.controllers.learn("tempo")
    for message in (cc(1, 64), cc(2, 64), cc(33, 1)):
        desk.controllers.receive(message, KNOBS)
    assert desk.controllers.of("tempo")[0].control == Control(Source.CC, 1, 0, KNOBS)


def test_the_halves_of_two_devices_do_not_mix(desk: Desk) -> None:
    teach(desk, "tempo", *pair(8000), mode=Mode.JUMP)
    desk.controllers.change(
        desk.controllers.of("tempo")[0], control=Control(Source.CC14, 7), mode=Mode.JUMP
    )
    send(desk, cc(39, 5), device=PADS)
    assert desk.taken() == []
    send(desk, *pair(8001))
    send(desk, *pair(200), device=PADS)
    assert [round(value * FULL) for _, value in desk.taken()] == [8001, 200]


def test_of_a_pair_and_a_controller_the_one_that_names_its_device_counts(desk: Desk) -> None:
    teach(desk, "tempo", *pair(8000), mode=Mode.JUMP)
    desk.controllers.change(desk.controllers.of("tempo")[0], control=Control(Source.CC14, 7))
    teach(desk, "depth", cc(7, 0), mode=Mode.JUMP)
    send(desk, *pair(FULL))
    assert desk.taken() == [("depth", 1.0)]
    desk.said.clear()
    desk.controllers.change(desk.controllers.of("depth")[0], control=Control(Source.CC, 7))
    assert desk.said == ["CC 7 now moves Depth, and Tempo no more."]
    assert [m.target for m in desk.controllers.mappings] == ["depth"]


def test_a_pair_takes_hold_where_it_passes_the_value(desk: Desk) -> None:
    teach(desk, "tempo", *pair(0))
    send(desk, *pair(4000))
    assert desk.taken() == []
    assert desk.controllers.direction("tempo") == 1
    send(desk, *pair(8192))
    assert desk.taken() == [("tempo", 8192 / FULL)]


# --- parameters --------------------------------------------------------------------------------------


def test_a_parameter_is_known_by_its_number(desk: Desk) -> None:
    teach(desk, "tempo", *nrpn(8000), mode=Mode.JUMP)
    assert desk.controllers.mappings == (Mapping("tempo", PARAMETER, Mode.JUMP),)
    teach(desk, "depth", *nrpn(8000, number=134), mode=Mode.JUMP)
    desk.taken()
    send(desk, *nrpn(1), *nrpn(2, number=134), *nrpn(FULL, number=135))
    assert [(name, round(value * FULL)) for name, value in desk.taken()] == [
        ("tempo", 1),
        ("depth", 2),
    ]
    send(desk, *select(133), cc(6, 64), cc(38, 0), cc(38, 5))
    assert round(desk.values["tempo"] * FULL) == (64 << 7) + 5, "the number stands"
    assert desk.controllers.receive(cc(98, 3), KNOBS), "numbers are no music"
    assert not desk.controllers.receive(cc(98, 3), PADS)


def test_a_parameter_of_7_bits_reaches_both_ends(desk: Desk) -> None:
    teach(desk, "tempo", *select(5), cc(6, 60), mode=Mode.JUMP)
    send(desk, *select(5), cc(6, 127))
    send(desk, *select(5), cc(6, 0))
    assert desk.taken() == [("tempo", 1.0), ("tempo", 0.0)]


def test_a_parameter_can_be_a_button(desk: Desk) -> None:
    teach(desk, "panic", *select(5), cc(6, 127))
    for value in (0, 127, 127, 0, 127):
        send(desk, *select(5), cc(6, value))
    assert desk.taken() == [("panic", 1.0)] * 2


@pytest.mark.parametrize(
    "cut",
    [
        (cc(99, 1), cc(6, 127)),
        (cc(98, 7), cc(99, 1), cc(6, 1), cc(99, 2), cc(6, 127)),
        (*select(133), *NULL, cc(6, 127), cc(38, 127)),
        (*select(133), cc(99, 127), cc(98, 127), cc(6, 127)),
        (cc(101, 0), cc(100, 0), cc(6, 127), cc(38, 127), cc(96, 0)),
        (cc(6, 127), cc(38, 127), cc(97, 127)),
        (*select(133), cc(38, 127), cc(99, 1), cc(6, 127)),
    ],
)
def test_what_is_cut_off_moves_nothing(
    cut: tuple[bytes, ...], desk: Desk, tmp_path: Path, qtbot: QtBot
) -> None:
    teach(desk, "tempo", *nrpn(8000), mode=Mode.JUMP)
    desk.controllers._settings.sync()
    again = desk_in(tmp_path, qtbot)
    send(again, *cut)
    assert again.taken() == []
    send(again, *nrpn(FULL))
    assert again.taken()[-1] == ("tempo", 1.0)


def test_a_controller_that_happens_to_be_one_of_numbers_can_be_taught(desk: Desk) -> None:
    desk.controllers.learn("tempo")
    send(desk, cc(99, 1), cc(98, 5))
    assert desk.controllers.learning == "tempo", "half a number is no knob"
    send(desk, cc(99, 2), cc(99, 3))
    assert desk.controllers.of("tempo")[0].control == Control(Source.CC, 99, 0, KNOBS)
    teach(desk, "depth", cc(6, 5), mode=Mode.JUMP)
    send(desk, cc(6, 100))
    assert desk.taken() == [("depth", 100 / 127)], "a knob chooses no parameter"


def test_steps_of_a_parameter_are_an_endless_knob(desk: Desk) -> None:
    up, down = cc(96, 0), cc(97, 0)
    mapping = teach(desk, "tempo", *select(133), up)
    assert mapping.mode is Mode.STEPS
    send(desk, up)
    send(desk, *select(133), up, up, down)
    assert desk.values["tempo"] == pytest.approx(0.5 + 2 / 127)
    desk.taken()
    send(desk, *nrpn(0))
    desk.controllers.change(mapping, mode=Mode.PICK_UP)
    send(desk, *select(133), up)
    assert desk.taken() == [], "neither is a place a step, nor a step a place"
    desk.controllers.learn("panic")
    send(desk, up)
    assert desk.said[-1].startswith("Panic needs a button")


# --- whatever comes ----------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 127), st.integers(0, 127)), max_size=60))
def test_no_sequence_makes_a_gesture_out_of_bounds(sent: list[tuple[int, int]]) -> None:
    reader = Reader()
    for controller, value in sent:
        for gesture in (*reader.read(cc(controller, value), KNOBS), *reader.rest()):
            reader.hold(gesture.control)
            assert 0 <= gesture.share <= 1
            assert gesture.control.source in (Source.CC, Source.CC14, Source.NRPN)
    reader.rest()
    reader.rest()
    assert not reader.holding


def test_wheels_and_pressure_are_taught_as_they_are(desk: Desk) -> None:
    wheel, pressure = bytes((0xE0, 1, 64)), bytes((0xD0, 99))
    assert teach(desk, "tempo", wheel, mode=Mode.JUMP).control.source is Source.BEND
    send(desk, bytes((0xE0, 2, 64)))
    assert desk.taken() == [("tempo", 8194 / FULL)]
    assert teach(desk, "depth", pressure).control.source is Source.PRESSURE
    assert teach(desk, "system", bytes((0xE1, 0, 0))).mode is Mode.PICK_UP


# --- remembered, silent, shown -----------------------------------------------------------------------


def test_pairs_and_parameters_are_remembered(desk: Desk, tmp_path: Path, qtbot: QtBot) -> None:
    teach(desk, "tempo", *pair(8000))
    teach(desk, "depth", *nrpn(8000, number=16000))
    desk.controllers._settings.sync()
    assert desk_in(tmp_path, qtbot).controllers.mappings == desk.controllers.mappings


@pytest.mark.parametrize(("source", "number"), [("cc14", 32), ("nrpn", 16384), ("cc", 128)])
def test_numbers_out_of_range_are_not_read(source: str, number: int) -> None:
    control = {"source": source, "number": number, "channel": None, "device": ""}
    entry = {"target": "tempo", "control": control, "mode": "pick-up"}
    assert restored(json.dumps([entry])) == ([], [entry])


def test_what_a_control_sends_makes_no_sound() -> None:
    taught, on = playback.Taught, schedule.CONTROL
    assert set(messages(PAIR)) == {taught(on, 7, 0, KNOBS), taught(on, 39, 0, KNOBS)}
    assert list(messages(PARAMETER)) == [taught(on, 133, 0, KNOBS, nrpn=True)]
    assert list(messages(Control(Source.BEND, 0, 3))) == [taught(schedule.BEND, -1, 3)]
    assert list(messages(Control(Source.NOTE, 36))) == [taught(schedule.NOTE_ON, 36)]


def test_the_dialog_shows_both_controllers_and_offers_what_they_can(
    desk: Desk, qtbot: QtBot
) -> None:
    dialog = LearnDialog(desk.controllers, lambda: (KNOBS,))
    qtbot.addWidget(dialog)
    teach(desk, "tempo", *pair(8000))
    teach(desk, "depth", *nrpn(8000))
    first, second = dialog.rows
    assert (first.control.text(), second.control.text()) == ("CC 7 + 39", "NRPN 133")
    ways = [[row.mode.itemText(k) for k in range(row.mode.count())] for row in dialog.rows]
    assert ways == [["Pick up", "Jump"], ["Pick up", "Jump", "Relative (+/−)"]]
    send(desk, *nrpn(8001))
    assert dialog.echo.whole() == f"NRPN 133 · 8001 · channel 1 · {KNOBS}"


def test_keys_never_join_a_pair(desk: Desk) -> None:
    desk.controllers.learn("tempo")
    for message in (cc(7, 64), key(40), cc(39, 1)):
        desk.controllers.receive(message, KNOBS)
    assert desk.controllers.of("tempo")[0].control.source is Source.CC


def test_in_the_window_a_pair_is_silent_and_moves_a_parameter(tmp_path: Path, qtbot: QtBot) -> None:
    links: list[RecordingLink] = []

    def link(emit: Callable[[playback.Event], None]) -> RecordingLink:
        links.append(RecordingLink(emit))
        return links[-1]

    window = open_window(qtbot, tmp_path, link=link)
    window.player.start()
    controllers, music = window.controllers, list[playback.Played]()
    window.player.played.connect(music.append)

    def play(at_ns: int, *sent: bytes) -> None:
        for message in sent:
            links[0].emit(playback.Played(at_ns, message, KNOBS))

    controllers.learn("param/toy/temperature")
    first, second = pair(8000)
    play(0, first)
    play(PAIR_NS // 2, second)
    qtbot.waitUntil(lambda: bool(controllers.mappings) and controllers.mappings[0].control == PAIR)
    controllers.change(controllers.mappings[0], mode=Mode.JUMP)
    (*_, thru) = (r for r in links[0].sent if isinstance(r, playback.Thru))
    assert thru.taught == set(messages(PAIR))
    music.clear()
    play(0, *pair(12000))
    expected = 0.1 + 1.9 * 12000 / FULL
    qtbot.waitUntil(
        lambda: window.compose.value(TOY, "temperature") == pytest.approx(expected, abs=0.006)
    )
    assert music == []

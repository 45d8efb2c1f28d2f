"""What is played in and passed on: where it goes, and that nothing is left sounding."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.nrpn import HALVES, NRPN_HALVES, Selection
from engine.playback import Live, Route, Taught
from engine.thru import Flood, Router, whole

ALL = Route("", "synth")


def on(key: int, channel: int = 0, velocity: int = 90) -> bytes:
    return bytes((0x90 | channel, key, velocity))


def off(key: int, channel: int = 0) -> bytes:
    return bytes((0x80 | channel, key, 64))


def sent(lives: list[Live]) -> list[tuple[str, bytes]]:
    return [(live.port, live.message) for live in lives]


@pytest.fixture
def router() -> Router:
    router = Router()
    router.route((ALL,))
    return router


# What is a message


@pytest.mark.parametrize(
    "data",
    [
        (),
        (60, 90),  # data without a status: running status cut off
        (0x90,),
        (0x90, 60),
        (0x90, 60, 90, 62, 90),  # running status within
        (0x90, 60, 0x90),
        (0x90, 60, 200),
        (0x90, 60, -1),
        (0xC0, 1, 2),
        (0xF0, 1, 2),
        (0xF0, 0x90, 0xF7),
        (0xF0, 0xF7),
        (0xF4,),
        (0xF2, 1),
        (300, 1, 2),
    ],
)
def test_what_is_no_whole_message_is_none(data: tuple[int, ...]):
    assert whole(data) is None


@pytest.mark.parametrize(
    "data",
    [(0x90, 60, 90), (0xC5, 7), (0xDF, 1), (0xF8,), (0xF1, 3), (0xF2, 0, 1), (0xF0, 1, 0xF7)],
)
def test_whole_messages_pass(data: tuple[int, ...]):
    assert whole(data) == bytes(data)


# Where it goes


def test_keys_are_cut_moved_and_put_on_a_channel(router: Router):
    router.route((Route("left", "organ", channel=4, low=40, high=59, transpose=-12), ALL))
    assert sent(router.message("left", on(48, 1))) == [
        ("organ", on(36, 4)),
        ("synth", on(48, 1)),
    ]
    assert sent(router.message("left", on(60, 1))) == [("synth", on(60, 1))]
    assert sent(router.message("right", on(48, 1))) == [("synth", on(48, 1))]
    assert sent(router.message("left", off(48, 1))) == [
        ("organ", off(36, 4)),
        ("synth", off(48, 1)),
    ]


def test_a_key_moved_off_the_keyboard_is_left_out(router: Router):
    router.route((Route("", "synth", transpose=24),))
    assert router.message("keys", on(110)) == []
    assert router.message("keys", off(110)) == []


def test_controls_programs_and_bends_follow_the_channel(router: Router):
    router.route((Route("", "synth", channel=2, low=60),))
    for data in (bytes((0xB1, 7, 100)), bytes((0xC1, 5)), bytes((0xE1, 3, 70))):
        assert sent(router.message("keys", data)) == [
            ("synth", bytes((data[0] & 0xF0 | 2,)) + data[1:])
        ]


def test_pressure_of_a_key_goes_where_its_note_went(router: Router):
    router.route((Route("", "synth", channel=2, transpose=5),))
    router.message("keys", on(60))
    router.route(())
    assert sent(router.message("keys", bytes((0xA0, 60, 33)))) == [("synth", bytes((0xA2, 65, 33)))]
    assert router.message("keys", bytes((0xA0, 61, 33))) == []


# What is held


def test_a_note_ends_where_it_began_whatever_the_routes(router: Router):
    router.message("keys", on(60))
    assert router.route((Route("", "other", transpose=1),)) == []
    assert sent(router.message("keys", off(60))) == [("synth", off(60))]
    assert sent(router.message("keys", on(60))) == [("other", on(61))]


def test_two_keys_that_lead_to_one_hold_it_together(router: Router):
    router.route((ALL, Route("", "synth", transpose=12)))
    router.message("keys", on(48))  # 48 and 60
    router.message("keys", on(60))  # 60 and 72
    assert sent(router.message("keys", off(48))) == [("synth", off(48))]
    assert sent(router.message("keys", off(60))) == [("synth", off(60)), ("synth", off(72))]


def test_a_pedal_is_raised_where_it_is_no_longer_reached(router: Router):
    router.message("keys", bytes((0xB0, 64, 127)))
    assert sent(router.route((Route("", "other"),))) == [("synth", bytes((0xB0, 64, 0)))]
    assert router.release("keys") == []


def test_what_vanishes_lets_go_of_keys_pedals_and_bends(router: Router):
    for data in (on(60), bytes((0xB0, 64, 127)), bytes((0xE0, 0, 100)), bytes((0xB0, 1, 9))):
        router.message("keys", data)
    router.message("other", on(62))
    assert sorted(sent(router.release("keys"))) == sorted(
        [
            ("synth", off(60)),
            ("synth", bytes((0xB0, 64, 0))),
            ("synth", bytes((0xE0, 0, 64))),
            ("synth", bytes((0xB0, 1, 0))),
        ]
    )
    assert router.release("keys") == []
    assert sent(router.release_all()) == [("synth", off(62))]


def test_a_pedal_somebody_else_holds_stays_down(router: Router):
    router.message("a", bytes((0xB0, 64, 127)))
    router.message("b", bytes((0xB0, 64, 127)))
    assert router.release("a") == []
    assert sent(router.release("b")) == [("synth", bytes((0xB0, 64, 0)))]


@pytest.mark.parametrize("controller", [120, 123, 124, 127])
def test_an_order_to_a_channel_ends_what_this_input_holds_there(router: Router, controller: int):
    router.message("keys", on(60))
    router.message("keys", on(61, 1))
    router.message("other", on(62))
    assert sent(router.message("keys", bytes((0xB0, controller, 0)))) == [("synth", off(60))]


def test_after_a_panic_nothing_is_held(router: Router):
    router.message("keys", on(60))
    router.forget()
    assert router.message("keys", off(60)) == []
    assert sent(router.message("keys", on(60))) == [("synth", on(60))]


# Whatever comes

routes = st.lists(
    st.builds(
        Route,
        st.sampled_from(["", "a", "b"]),
        st.sampled_from(["synth", "organ"]),
        st.none() | st.integers(0, 1),
        st.integers(0, 70),
        st.integers(50, 127),
        st.integers(-24, 24),
    ),
    max_size=3,
).map(tuple)
likely = st.tuples(
    st.sampled_from([0x80, 0x90, 0x91, 0xA0, 0xB0]),
    st.sampled_from([60, 64, 72, 123]),
    st.integers(0, 127),
)
anything = st.lists(st.integers(0, 255), max_size=5).map(tuple)
sources = st.sampled_from(["a", "b"])
steps = st.lists(
    st.one_of(
        st.tuples(sources, likely | anything), st.tuples(st.just("release"), sources), routes
    ),
    max_size=60,
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(routes, steps)
def test_whatever_comes_in_every_note_on_gets_its_note_off(first, steps):
    router = Router()
    lives = router.route(first)
    for step in steps:
        if step and step[0] == "release":
            lives += router.release(step[1])
        elif step and isinstance(step[0], str):
            message = whole(step[1])
            if message is not None and message[0] < 0xF0:
                lives += router.message(step[0], message)
        else:
            lives += router.route(step)
    lives += router.release_all()
    sounding: Counter[tuple[str, str, int, int]] = Counter()
    lasting: dict[tuple[str, int, int], bool] = {}
    for live in lives:
        status, data = live.message[0], live.message[1]
        key = (live.source, live.port, status & 0x0F, data)
        if status & 0xF0 == 0x90:
            sounding[key] = 1
        elif status & 0xF0 == 0x80:
            assert sounding[key], "lifted in silence"
            sounding[key] = 0
        elif status & 0xF0 == 0xB0 and data in (64, 66, 67):
            lasting[(live.port, status, data)] = live.message[2] > 0
    assert not +sounding
    assert not any(lasting.values())


# Floods


def test_a_flood_is_named_once_until_it_is_over():
    flood = Flood(10)
    second = 1_000_000_000
    named = [at for at in range(0, 3 * second, second // 100) if flood.heard(at)]
    assert named == [second // 10]
    assert not any(flood.heard(5 * second + n * second // 5) for n in range(20))
    assert any(flood.heard(20 * second + n) for n in range(20))
    assert not Flood(10).heard(0)


def test_what_is_taught_is_no_music(router: Router):
    pad, any_knob = Taught(0x90, 36, 9, "left"), Taught(0xB0, 20)
    assert router.message("left", bytes((0x99, 36, 90)))
    router.route((ALL,), frozenset({pad, any_knob}))
    assert router.message("left", bytes((0x89, 36, 0))), "what sounded before it was taught ends"
    assert router.message("left", bytes((0x99, 36, 90))) == []
    assert router.message("left", bytes((0x89, 36, 0))) == []
    assert router.message("right", bytes((0x99, 36, 90))), "another device's pad sounds"
    assert router.message("left", bytes((0x90, 36, 90))), "so does the key on another channel"
    for source in ("left", "right"):
        assert router.message(source, bytes((0xB3, 20, 5))) == []
        assert router.message(source, bytes((0xB3, 21, 5)))


# Parameters


def bytes_of(lives: list[Live]) -> list[tuple[int, int]]:
    return [(live.message[1], live.message[2]) for live in lives]


def heard(router: Router, *data: tuple[int, int], source: str = "left") -> list[tuple[int, int]]:
    """What goes out for these controllers."""
    sent = [router.message(source, bytes((0xB0, *pair))) for pair in data]
    return bytes_of([live for lives in sent for live in lives])


def test_parameters_pass_as_they_are_where_none_is_taught(router: Router):
    sent = [(99, 1), (98, 5), (6, 64), (38, 1), (101, 127), (100, 127), (6, 3), (99, 2), (99, 3)]
    router.route((ALL,), frozenset({Taught(0xB0, 20)}))
    assert heard(router, *sent) == sent


def test_a_parameter_that_is_taught_is_no_music_and_others_keep_their_number(router: Router):
    router.route((ALL,), frozenset({Taught(0xB0, 133, None, "left", nrpn=True)}))
    mine, other = [(99, 1), (98, 5)], [(99, 1), (98, 6)]
    assert heard(router, *mine, (6, 64), (38, 1), (96, 0)) == []
    assert heard(router, *other, (6, 64), (38, 1)) == [*other, (6, 64), (38, 1)]
    assert heard(router, (98, 5), (6, 1)) == []
    assert heard(router, (98, 6), (6, 1)) == [(6, 1)], "its number is known outside"
    assert heard(router, (99, 2), (6, 1)) == [], "half a number is nobody's"
    bend_range = [(101, 0), (100, 0), (6, 12), (101, 127), (100, 127)]
    assert heard(router, *bend_range) == bend_range
    assert heard(router, *other, (6, 1)) == [*other, (6, 1)], "RPN came between"
    assert heard(router, (99, 127), (98, 127)) == [(99, 127), (98, 127)]
    assert heard(router, *mine, (6, 64), source="right") == [*mine, (6, 64)]


def test_a_parameter_number_is_told_where_routes_lead_now(router: Router):
    taught = frozenset({Taught(0xB0, 133, nrpn=True)})
    router.route((ALL,), taught)
    assert heard(router, (99, 1), (98, 6), (6, 1))
    router.route((replace(ALL, port="elsewhere"),), taught)
    assert heard(router, (6, 2)) == [(99, 1), (98, 6), (6, 2)]
    router.release("left")
    assert heard(router, (6, 3)) == [(6, 3)], "an input that comes back has chosen nothing"


def test_a_controller_6_that_is_taught_is_not_the_data_of_a_parameter(router: Router):
    router.route((ALL,), frozenset({Taught(0xB0, 6), Taught(0xB0, 99)}))
    assert heard(router, (6, 1), (99, 1), (99, 2), (6, 3)) == []
    assert heard(router, (98, 1), (99, 2), (6, 3)) == [(98, 1), (6, 3)]


@given(
    st.lists(
        st.tuples(st.sampled_from([6, 38, 96, 97, 98, 99, 100, 101]), st.sampled_from([1, 5, 127]))
    )
)
def test_outside_data_always_meet_the_number_they_were_sent_for(sent: list[tuple[int, int]]):
    router, inside = Router(), Selection()
    router.route((ALL,), frozenset({Taught(0xB0, (1 << 7) + 5, nrpn=True)}))
    outside: dict[int, int] = {}
    for controller, value in sent:
        plain = inside.hear(controller, value)
        for number, data in heard(router, (controller, value)):
            if number in NRPN_HALVES and outside.keys() - NRPN_HALVES:
                outside.clear()
            if number in HALVES:
                outside[number] = data
            elif not plain and not inside.registered:
                assert inside.number not in (None, 133)
                assert outside == {99: inside.number >> 7, 98: inside.number & 127}

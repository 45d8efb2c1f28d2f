"""MIDI inputs without a MIDI system: what becomes of what they bring, and which device is which."""

from __future__ import annotations

from queue import SimpleQueue

import pytest
import rtmidi
from fakes import FakeClock

from engine import inputs
from engine.inputs import Hearing, Waiting, followed, tells_time
from engine.playback import LetGo, Live, Notice, Played, Route, Thru, Timing
from engine.ports import Seen

ON, OFF = bytes((0x90, 60, 90)), bytes((0x80, 60, 64))
FULL_FRAME = bytes((0xF0, 0x7F, 0x7F, 1, 1, 0x21, 2, 3, 4, 0xF7))


class Desk:
    """A Hearing, and what it put where."""

    def __init__(self, *listened: str) -> None:
        self.clock = FakeClock()
        self.inbox: SimpleQueue = SimpleQueue()
        self.outbox: SimpleQueue = SimpleQueue()
        self.hearing = Hearing(self.clock, self.inbox, self.outbox)
        self.hearing.listen(frozenset(listened))
        self.hearing.thru(Thru((Route("", "synth"),)))
        self.asked()

    def asked(self) -> list:
        return [self.inbox.get() for _ in range(self.inbox.qsize())]

    def told(self) -> list:
        events = [self.outbox.get() for _ in range(self.outbox.qsize())]
        return [self.hearing.waiting.get() if isinstance(e, Played) else e for e in events]


def test_what_is_played_is_passed_on_and_told():
    desk = Desk("keys")
    desk.clock.time = 7
    desk.hearing.heard("keys", [*ON])
    desk.hearing.heard("keys", [*OFF], at=9)
    assert desk.asked() == [Live("synth", ON, source="keys"), Live("synth", OFF, source="keys")]
    assert desk.told() == [Played(7, ON, "keys"), Played(9, OFF, "keys")]


def test_routes_have_their_ports_opened_before_the_first_note():
    desk = Desk()
    desk.hearing.thru(Thru((Route("", "organ"), Route("keys", "organ", 3))))
    (live,) = desk.asked()
    assert (live.port, live.message[0] & 0xF0) == ("organ", 0x80)


def test_nothing_malformed_gets_through_and_nobody_else_is_heard():
    desk = Desk("keys")
    for data in ([], [60, 90], [0x90], [0x90, 60, 255], [0xF8], [0xFE], [*FULL_FRAME], [0xF0] * 9):
        desk.hearing.heard("keys", data)
    desk.hearing.heard("other", [*ON])
    assert desk.asked() == []
    assert desk.told() == []


@pytest.mark.parametrize("leave", [lambda h: h.lost("keys"), lambda h: h.listen(frozenset())])
def test_an_input_that_goes_lets_go_of_what_it_holds(leave):
    desk = Desk("keys")
    desk.hearing.heard("keys", ON)
    desk.asked()
    leave(desk.hearing)
    assert desk.asked() == [Live("synth", OFF, source="keys"), LetGo("keys")]


@pytest.mark.parametrize("leave", [lambda h: h.lost("keys"), lambda h: h.listen(frozenset())])
def test_of_an_input_that_goes_what_was_down_is_told_as_let_go(leave):
    desk = Desk("keys")
    desk.hearing.thru(Thru())
    for message in (ON, bytes((0x92, 64, 1)), bytes((0x92, 65, 1)), bytes((0x92, 65, 0))):
        desk.hearing.heard("keys", message)
    desk.hearing.heard("keys", bytes((0xB0, 64, 127)))
    desk.hearing.heard("keys", bytes((0xB1, 64, 127)))
    desk.hearing.heard("keys", bytes((0xB1, 64, 0)))
    desk.told()
    desk.clock.time = 9
    leave(desk.hearing)
    ends = (OFF, bytes((0x82, 64, 64)), bytes((0xB0, 64, 0)))
    assert desk.told() == [Played(9, message, "keys") for message in ends]
    desk.hearing.lost("keys")
    assert desk.told() == [], "once"


def test_after_a_panic_a_key_let_go_says_nothing():
    desk = Desk("keys")
    desk.hearing.heard("keys", ON)
    desk.hearing.panic()
    desk.asked()
    desk.hearing.heard("keys", OFF)
    assert desk.asked() == []


# Time


def test_only_the_time_that_is_followed_is_handed_on():
    desk = Desk("keys")
    desk.hearing.follow("clock:drums")
    for source in ("keys", "drums"):
        for data in (b"\xf8", b"\xf2\x01\x02", b"\xf1\x03", FULL_FRAME, b"\xfe"):
            desk.hearing.heard(source, data, at=5)
    assert desk.asked() == [Timing(5, b"\xf8", "drums"), Timing(5, b"\xf2\x01\x02", "drums")]
    desk.hearing.follow("mtc:keys")
    for data in (b"\xf8", b"\xf1\x03", FULL_FRAME, FULL_FRAME[:-2] + b"\xf7"):
        desk.hearing.heard("keys", data, at=6)
    assert desk.asked() == [Timing(6, b"\xf1\x03", "keys"), Timing(6, FULL_FRAME, "keys")]
    desk.hearing.follow("")
    desk.hearing.heard("keys", b"\xf1\x03")
    assert desk.asked() == []


def test_what_is_followed():
    assert followed("clock:USB: in") == ("clock", "USB: in")
    assert followed("mtc:x") == ("mtc", "x")
    assert followed("link") == followed("") == followed("clock:") == ("", "")
    assert not tells_time("", b"\xf8")


# Too much


def test_a_flood_is_named_once_and_ends_what_it_began(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(inputs, "FLOOD", 100)
    monkeypatch.setattr(inputs, "MOST_WAITING", 50)
    desk = Desk("virtual:keys")
    for key in range(128):
        desk.hearing.heard("virtual:keys", bytes((0x90, key, 1)))
    for key in range(128):
        desk.hearing.heard("virtual:keys", bytes((0x80, key, 1)))
    asked = [live.message for live in desk.asked()]
    assert len([m for m in asked if m[0] == 0x90]) == 50
    assert len([m for m in asked if m[0] == 0x80]) == 128
    (notice,) = [e for e in desk.told() if isinstance(e, Notice)]
    assert notice.sentence.startswith("keys sends more than 100 messages a second")


def test_a_flood_of_nonsense_is_named_too(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(inputs, "FLOOD", 10)
    desk = Desk("keys")
    for _ in range(50):
        desk.hearing.heard("keys", [0xF0] * 9)
    assert [type(e) for e in desk.told()] == [Notice]


def test_of_what_waits_to_be_told_the_oldest_is_dropped():
    waiting = Waiting(most=3)
    events = [Played(n, ON) for n in range(5)]
    tokens = [waiting.put(event) for event in events]
    assert tokens == [True, True, True, False, False]
    assert [waiting.get() for _ in range(3)] == events[2:]
    assert waiting.put(events[0])


# Which device is which


def seen(*numbers: int) -> Seen:
    return Seen.of([f"Keys:Keys MIDI 1 {n}:0" for n in numbers], rtmidi.API_LINUX_ALSA)


def test_equal_devices_keep_apart():
    first, second = "Keys:Keys MIDI 1", "Keys:Keys MIDI 1 #2"
    both = seen(20, 24)
    assert both.names == (first, second)
    assert (both.locate(first, {}), both.locate(second, {})) == (0, 1)
    # The first is pulled out: the second, open under its name, is not taken for it.
    taken = {both.marks[1]: second}
    assert seen(24).locate(first, taken) is None
    # Plugged in again it gets another number, and comes after the other in the list.
    assert seen(24, 28).locate(first, taken) == 1
    assert seen(24).locate(second, {}) is None


def test_our_own_ends_of_connections_are_no_devices():
    raw = ["Ricercar:from left out", "Ricercar-01:to gear in", "Ricercar:Stage", "left:in"]
    devices = Seen.of(raw, rtmidi.API_UNIX_JACK)
    assert devices.names == ("Ricercar:Stage", "left:in")
    assert devices.numbers == (2, 3)  # as the system counts them


def test_a_device_may_be_opened_under_two_names():
    names = Seen(("Keys:in",), ("Keys:in",))
    assert names.locate("keys", {"Keys:in": "Keys:in"}) == 0

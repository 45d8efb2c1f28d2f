"""Outputs on JACK without JACK: which frame of which period each message gets."""

from __future__ import annotations

import sys
from typing import Any

import pytest

if sys.platform != "linux":
    pytest.skip("elsewhere MIDI does not go through JACK", allow_module_level=True)
jack = pytest.importorskip("jack", exc_type=ImportError)

from engine.jackport import JackPort  # noqa: E402

FRAMES = 100
FRAME_NS = 10
PERIOD_NS = FRAMES * FRAME_NS


class Client:
    alive = True
    period_ns = PERIOD_NS
    counted = 0

    def count(self) -> None:
        self.counted += 1


class Own:
    """JACK's side of a port: what was written in the period, and room for so many messages."""

    def __init__(self) -> None:
        self.period: list[tuple[int, bytes]] = []
        self.room = 99

    def clear_buffer(self) -> None:
        self.period = []

    def write_midi_event(self, offset: int, message: bytes) -> None:
        if len(self.period) == self.room:
            raise jack.JackError("full")
        assert not self.period or self.period[-1][0] <= offset < FRAMES
        self.period.append((offset, message))


class Out:
    def __init__(self) -> None:
        self.client, self.own = Client(), Own()
        client: Any = self.client
        self.port = JackPort(client, "gear", self.own)

    def period(self, number: int) -> list[tuple[int, bytes]]:
        self.port.write(float(number * PERIOD_NS), FRAMES, FRAME_NS)
        return self.own.period


def on(key: int) -> bytes:
    return bytes((0x90, key, 90))


def off(key: int) -> bytes:
    return bytes((0x80, key, 64))


def test_each_message_leaves_at_its_frame_in_its_period():
    out = Out()
    out.port.send_at(on(62), 2 * PERIOD_NS + 994)  # nearest to the first frame of the period after
    out.port.send_at(on(60), PERIOD_NS + 50)
    out.port.send_at(on(61), PERIOD_NS + 996)
    assert out.period(0) == []
    assert out.period(1) == [(5, on(60))]
    assert out.period(2) == [(0, on(61)), (99, on(62))]
    assert out.period(3) == []
    assert out.client.counted == 3


def test_what_comes_late_leaves_with_the_next_period_in_order():
    out = Out()
    out.port.send_at(on(60), 10)
    out.port.send_at(on(61), 5)
    out.port.send_at(on(62), 3 * PERIOD_NS + 10)
    assert out.period(3) == [(0, on(61)), (0, on(60)), (1, on(62))]


def test_an_end_does_not_overtake_its_beginning(monkeypatch: pytest.MonkeyPatch):
    out = Out()
    monkeypatch.setattr("engine.jackport.time.perf_counter_ns", lambda: 0)
    out.port.send_at(on(60), PERIOD_NS + 500)
    out.port.send_at(bytes((0xB0, 64, 127)), PERIOD_NS + 500)
    out.port.send(off(60))
    out.port.send(bytes((0xB0, 64, 0)))
    out.port.send(off(61))
    assert out.period(0) == [(0, off(61))]
    assert [m for _, m in out.period(1)] == [
        on(60),
        bytes((0xB0, 64, 127)),
        off(60),
        bytes((0xB0, 64, 0)),
    ]


def test_what_answers_an_input_leaves_at_the_frame_of_the_question():
    out = Out()
    for message, moment in ((on(60), 200), (off(60), 300), (on(60), 400)):
        out.port.expect(message, moment)
    for message in (on(60), off(60), on(60)):
        out.port.send_at(message, 777)
    out.port.expect_nothing()
    out.port.send_at(on(61), 777)
    assert out.period(0) == [(20, on(60)), (30, off(60)), (40, on(60)), (78, on(61))]


def test_what_finds_no_room_leaves_with_the_next_period():
    out = Out()
    out.own.room = 2
    for key in range(5):
        out.port.send_at(on(key), 10)
    sent = [out.period(n) for n in range(3)]
    assert [[m[1] for _, m in period] for period in sent] == [[0, 1], [2, 3], [4]]


def test_a_port_of_a_dead_server_is_gone():
    out = Out()
    out.client.alive = False
    with pytest.raises(OSError, match="gone"):
        out.port.send(on(60))

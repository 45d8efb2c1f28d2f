"""transport: notes in = notes out, whatever is asked, in whatever order; and nobody ends another's note."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from queue import SimpleQueue

from fakes import EarlyPort, FakeClock, RecordingPort, RecordingPorts
from hypothesis import given, settings
from hypothesis import strategies as st
from rehearsal import MS

from engine import schedule
from engine.playback import (
    Follow,
    LetGo,
    Linked,
    Live,
    Load,
    Loop,
    Panic,
    Play,
    PortLost,
    PortOpened,
    Quit,
    Report,
    Seek,
    SendClock,
    Stop,
    Tempo,
    Timing,
    Unload,
)
from engine.transport import run
from models.score import NO_CONTROLS, Controls, Notes, Track
from models.timebase import TempoMap

PORTS = ("", "A", "J")  # J wants messages 12 ms early
SOURCES = ("", "keys", "pads")

note_rows = st.lists(
    st.tuples(st.integers(0, 3000), st.integers(1, 3000), st.integers(60, 62)),
    min_size=1,
    max_size=8,
)
pedals = st.lists(
    st.tuples(st.integers(0, 3000), st.just(0xB0), st.just(64), st.sampled_from([0, 127])),
    max_size=3,
)
tables = st.builds(
    lambda rows, channel, pedal: schedule.compile(
        Track(
            0,
            "t",
            Notes.of(*zip(*rows, strict=True)),
            Controls(*zip(*pedal, strict=True)) if pedal else NO_CONTROLS,
            channel=channel,
        )
    ),
    note_rows,
    st.integers(0, 1),
    pedals,
)
ports = st.sampled_from(PORTS)
sources = st.sampled_from(SOURCES)
ticks = st.integers(0, 4000)
loads = st.builds(
    Load, st.integers(0, 2), ports, tables, st.sampled_from([0, 0, -200, -30, 20, 90, 200])
)
live_notes = st.builds(
    lambda status, pitch, velocity: bytes((status, pitch, velocity)),
    st.sampled_from([0x80, 0x90, 0x90, 0x91]),
    st.integers(60, 62),
    st.sampled_from([0, 1, 64, 127]),
)
live_orders = st.sampled_from([(0xB0, 64, 127), (0xB0, 64, 0), (0xB0, 123, 0)]).map(bytes)
malformed = st.sampled_from(
    [b"", b"\x90", b"\x90\x3c", b"<@@", b"\x90\x3c\xff", b"\xf0\x01\xf7", b"\xf8", b"\xc0\x01\x02"]
)
timings = st.builds(
    lambda message, source: Timing(0, message, source),
    st.sampled_from([b"\xf8", b"\xfa", b"\xfb", b"\xfc", b"\xf2\x02\x00", b"\xf8x"]),
    st.sampled_from(["M", "M", "M", "X"]),
)
moves = st.one_of(
    st.builds(Play, st.none() | ticks, st.none() | ticks),
    st.builds(Play, ticks, st.none()),
    st.builds(Stop),
    st.builds(Seek, ticks),
    st.builds(lambda start, length: Loop(start, start + length), ticks, st.integers(60, 2000)),
    st.just(Loop()),
    st.builds(lambda bpm: Tempo(TempoMap.constant(bpm)), st.integers(20, 400)),
)
lives = st.one_of(
    st.builds(Live, ports, live_notes, st.none(), sources),
    st.builds(Live, ports, live_notes, st.none(), sources),
    st.builds(Live, ports, live_notes, st.sampled_from([0.0, 0.1, 1.0]), sources),
    st.builds(Live, ports, live_orders, st.none(), sources),
    st.builds(Live, ports, malformed, st.none(), sources),
)
events = st.one_of(
    st.builds(Unload, st.integers(0, 2)),
    st.builds(SendClock, st.booleans()),
    st.builds(LetGo, sources),
    st.just(Panic()),
    st.just(Report()),
    st.builds(PortLost, ports),
    st.builds(PortOpened, ports, st.none(), st.just(True)),  # its port is put in when it is played
)
following = st.one_of(
    st.builds(Follow, st.sampled_from(["", "clock:M", "mtc:M", "link"])),
    timings,
    st.builds(
        Linked, st.just(0), st.floats(0, 100), st.floats(20, 400), st.booleans(), st.integers(0, 2)
    ),
)
commands = st.one_of(loads, moves, moves, lives, lives, events, following)
delays = st.sampled_from([0, 1, 5, 20, 21, 100, 400])
pulse = (20, Timing(0, b"\xf8", "M"))
steps = st.lists(st.tuples(delays, commands), min_size=10, max_size=40) | st.lists(
    # Under a clock: a pulse goes before each.
    st.tuples(delays, commands).map(lambda step: [pulse, step]),
    min_size=10,
    max_size=30,
).map(lambda pairs: [*([pulse] * 8), (1, Timing(0, b"\xfa", "M")), *chain.from_iterable(pairs)])
scripts = st.builds(
    lambda first, source, rest: [
        (0, first),
        (0, Live("A", b"\x90\x3c\x40", None, "keys")),
        (0, Follow(source)),
        (0, Play(0)),
        *rest,
    ],
    loads,
    st.sampled_from(["", "", "clock:M"]),
    steps,
)


def performed(
    steps: list[tuple[int, object]],
) -> tuple[RecordingPorts, list[tuple[int, object]], int]:
    """Play a script that ends with a stop at which everybody lets go; when that was, too."""
    clock = FakeClock()
    inbox: SimpleQueue = SimpleQueue()
    keeper = RecordingPorts(clock, inbox)
    keeper.ports = {name: RecordingPort(clock) for name in PORTS}
    keeper.ports["J"] = EarlyPort(clock, 12 * MS)
    script: list[tuple[int, object]] = [(0, Live(name, bytes((0xB0, 1, 0)))) for name in PORTS]
    moment = 1 * MS
    for delay, command in steps:
        moment += delay * MS
        if isinstance(command, PortOpened):
            command = PortOpened(command.name, keeper.ports[command.name], again=True)
        elif isinstance(command, Timing):
            command = Timing(moment, command.message, command.source)
        elif isinstance(command, Linked):
            command = Linked(moment, command.beat, command.bpm, command.playing, command.peers)
        script.append((moment, command))
    script += [(moment, Follow("")), (moment, Stop()), *((moment, LetGo(s)) for s in SOURCES)]
    quiet = moment + 1100 * MS  # auditions have ended by then
    clock.script = [*script, (quiet + MS, Quit())]
    run(clock, inbox, keeper, SimpleQueue())
    return keeper, script, quiet


def in_order(port: RecordingPort) -> list[tuple[int, bytes]]:
    return sorted(port.sent, key=lambda sent: sent[0])


@settings(max_examples=120, deadline=None, derandomize=True)
@given(scripts)
def test_every_note_on_gets_its_note_off_and_a_stop_leaves_silence(steps):
    keeper, _, quiet = performed(steps)
    for port in keeper.ports.values():
        sounding: set[tuple[int, int]] = set()
        pedals: set[int] = set()
        clocked = False
        for moment, m in in_order(port):
            if m == b"\xf8":  # goes on while nothing plays
                continue
            assert moment <= quiet, "Stop and letting go left something to Quit"
            kind = m[0] & 0xF0
            if kind == 0x90:
                assert (m[0] & 15, m[1]) not in sounding, "struck while it sounds"
                sounding.add((m[0] & 15, m[1]))
            elif kind == 0x80 and m[2]:  # of release velocity 0: panic, to gear that may know more
                assert (m[0] & 15, m[1]) in sounding, "lifted in silence"
                sounding.discard((m[0] & 15, m[1]))
            elif kind == 0xB0 and m[1] == 64:
                (pedals.add if m[2] else pedals.discard)(m[0])
            elif m in (b"\xfa", b"\xfb"):
                assert not clocked
                clocked = True
            elif m == b"\xfc":
                clocked = False
        assert not sounding
        assert not pedals


def holds(script: list[tuple[int, object]]) -> Iterator[tuple[str, int, int, int, int]]:
    """(port, channel, pitch, from, until) of each key that somebody held."""
    held: dict[tuple[str, str, int, int], int] = {}
    closed: set[str] = set()

    def released(moment: int, chosen: object) -> Iterator[tuple[str, int, int, int, int]]:
        for key in [k for k in held if chosen(k)]:  # type: ignore[operator]
            yield (*key[1:], held.pop(key), moment)

    for moment, command in script:
        match command:
            case PortLost(name):
                closed.add(name)
                yield from released(moment, lambda k, name=name: k[1] == name)
            case PortOpened(name):
                closed.discard(name)
                yield from released(moment, lambda k, name=name: k[1] == name)
            case Panic():
                yield from released(moment, lambda k: True)
            case LetGo(source):
                yield from released(moment, lambda k, source=source: k[0] == source)
            case Live(port, message, seconds, source) if port not in closed and len(message) == 3:
                key = (source, port, message[0] & 15, message[1])
                kind = message[0] & 0xF0 if max(message[1:]) < 0x80 else 0
                if kind == 0x90 and message[2] and seconds is None:
                    held.setdefault(key, moment)
                elif kind in (0x80, 0x90) and (kind == 0x80 or not message[2]):
                    yield from released(moment, lambda k, key=key: k == key)
                elif message == bytes((0xB0, 123, 0)):
                    yield from released(
                        moment, lambda k, key=key: k[0] == key[0] and k[1:3] == (key[1], 0)
                    )


@settings(max_examples=100, deadline=None, derandomize=True)
@given(scripts)
def test_a_key_that_is_held_sounds_until_it_is_let_go(steps):
    keeper, script, _ = performed(steps)
    for name, channel, pitch, begin, end in holds(script):
        if name == "J":
            continue  # its messages are on their way for 12 ms
        sounds = False
        states: dict[int, bool] = {}  # once all that was sent at a moment has arrived
        for moment, m in in_order(keeper.ports[name]):
            if m[0] & 0xE0 == 0x80 and (m[0] & 15, m[1]) == (channel, pitch):
                if moment >= end:
                    break
                sounds = m[0] & 0x10 != 0
                states[moment] = sounds
        assert all(state for moment, state in states.items() if begin <= moment < end)

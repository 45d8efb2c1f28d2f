"""The whole way to a real peer: our process, python-rtmidi, a JACK server, and gear at the other end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, SimpleQueue

import pytest
import rtmidi

from engine import bench_midi, jackd, midi, ports
from engine.clock import SystemClock
from engine.playback import (
    Anchor,
    Command,
    Ended,
    Event,
    InputBack,
    InputLost,
    LetGo,
    Listen,
    Live,
    Loop,
    Play,
    Played,
    PortBack,
    PortLost,
    PortNames,
    PortOpened,
    Ready,
    Route,
    Seek,
    Show,
    Stop,
    Tempo,
    Thru,
)
from models.score import Notes, Score, Track
from models.timebase import PPQ, TempoMap

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere MIDI does not go through JACK"
)
ROOT = Path(__file__).resolve().parent.parent.parent
MS = 1_000_000
FAST = TempoMap.constant(600)  # a quarter note lasts 100 ms
LATE_MS = 250
"""Allowed to a busy test machine; `ricercar bench midi` is where lateness is measured."""
PERIOD = 1024
"""Frames. JACK loses MIDI when a client stalls for more than a period: a busy machine needs long ones."""


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[None]:
    with jackd.dummy_server(f"ricercar-test-{os.getpid()}", PERIOD):
        yield


@pytest.fixture
def gear() -> Iterator[jackd.Gear]:
    gear = jackd.Gear("gear")
    yield gear
    gear.close()


class Link:
    """A MidiLink whose events can be waited for."""

    def __init__(self) -> None:
        self.events: SimpleQueue[Event] = SimpleQueue()
        self.link = midi.MidiLink(self.events.put)
        self.send = self.link.send

    def until(self, wanted: Callable[[Event], bool], seconds: float = 15) -> Event:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with contextlib.suppress(Empty):
                if wanted(event := self.events.get(timeout=0.1)):
                    return event
        raise AssertionError("it never came")


@pytest.fixture
def link() -> Iterator[Link]:
    link = Link()
    yield link
    link.link.close()


def piece(*pitches: int, port: str = "gear", length: int = PPQ, tempo: TempoMap = FAST) -> Score:
    notes = Notes.of([PPQ * i for i in range(len(pitches))], length, list(pitches))
    return Score((Track(0, "t", notes, port=port),), tempo=tempo)


def show(link: Link, score: Score) -> None:
    link.send(Show(score))
    link.until(lambda e: isinstance(e, PortBack))


def notes(gear: jackd.Gear) -> list[tuple[str, int]]:
    return [
        ("on" if m[0] & 0x10 else "off", m[1]) for _, m in list(gear.got) if m[0] & 0xE0 == 0x80
    ]


def wait_for(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


def assert_silent(gear: jackd.Gear) -> None:
    sounding: Counter[int] = Counter()
    for kind, pitch in notes(gear):
        sounding[pitch] += 1 if kind == "on" else -1
        assert sounding[pitch] in (0, 1)
    assert not +sounding


def test_notes_arrive_in_order_and_in_time(link: Link, gear: jackd.Gear):
    show(link, piece(60, 62, 64, 65))
    link.send(Play(0, 4 * PPQ))
    anchor = link.until(lambda e: isinstance(e, Anchor) and e.playing)
    link.until(lambda e: isinstance(e, Anchor) and not e.playing)
    wait_for(lambda: len(notes(gear)) == 8)
    pitches = (60, 62, 64, 65)
    assert notes(gear) == [(kind, p) for p in pitches for kind in ("on", "off")]
    ons = [at for at, m in gear.got if m[0] & 0xF0 == 0x90]
    for i, at in enumerate(ons):
        # It hears all of a period at its beginning, whatever frame each message is for.
        assert -PERIOD / 48 <= (at - anchor.moment(FAST, i * PPQ)) / MS < LATE_MS


def test_loop_seek_tempo_and_stop(link: Link, gear: jackd.Gear):
    show(link, piece(60, 62, 64, 65))
    link.send(Loop(PPQ, 2 * PPQ))
    link.send(Play(0))
    wait_for(lambda: notes(gear).count(("on", 62)) >= 3)
    assert ("on", 64) not in notes(gear)
    link.send(Loop())
    link.send(Tempo(TempoMap.constant(30)))  # two seconds a quarter note
    link.send(Seek(3 * PPQ))
    wait_for(lambda: ("on", 65) in notes(gear))
    begun = time.monotonic()
    link.send(Stop())
    wait_for(lambda: ("off", 65) in notes(gear))
    assert time.monotonic() - begun < 1  # it was not its own end that came
    assert_silent(gear)


def test_an_edit_while_playing_ends_what_vanished(link: Link, gear: jackd.Gear):
    slow = TempoMap.constant(30)
    show(link, piece(60, tempo=slow))
    link.send(Play(0))
    wait_for(lambda: ("on", 60) in notes(gear))
    link.send(Show(piece(67, tempo=slow)))
    wait_for(lambda: ("off", 60) in notes(gear), 1)
    assert notes(gear) == [("on", 60), ("off", 60)]


def test_closing_the_link_ends_notes(link: Link, gear: jackd.Gear):
    show(link, piece(60, tempo=TempoMap.constant(10)))
    link.send(Play(0))
    wait_for(lambda: ("on", 60) in notes(gear))
    link.link.close()
    wait_for(lambda: ("off", 60) in notes(gear), 1)


def test_a_port_lost_and_back(link: Link, gear: jackd.Gear):
    device = jackd.Gear("device")
    score = piece(60, 62, port="device:in", tempo=TempoMap.constant(120))
    show(link, score)
    link.send(Loop(0, 2 * PPQ))
    link.send(Play(0))
    wait_for(lambda: ("on", 60) in notes(device))
    device.close()
    link.until(lambda e: e == PortLost("device:in"))
    time.sleep(0.2)  # it plays on silently
    device = jackd.Gear("device")
    link.until(lambda e: e == PortBack("device:in"))
    wait_for(lambda: ("on", 60) in notes(device))
    link.send(Stop())
    link.until(lambda e: isinstance(e, Anchor) and not e.playing)
    wait_for(lambda: len(notes(device)) % 2 == 0)
    assert_silent(device)
    device.close()


def test_input_and_a_virtual_port(link: Link):
    link.send(Live("virtual:Organ", bytes((0xB0, 1, 1))))
    link.until(lambda e: e == PortBack("virtual:Organ"))
    name = next(n for n in midi.list_ports()["inputs"] if "Organ" in n)
    link.send(Listen((name,)))  # what goes out there comes in again
    link.until(lambda e: isinstance(e, PortNames) and name in e.inputs)
    note = bytes((0x90, 60, 99))
    heard: list[Event] = []
    deadline = time.monotonic() + 10
    while not heard and time.monotonic() < deadline:  # the input needs a moment to open
        link.send(Live("virtual:Organ", note, 0.01))
        with contextlib.suppress(AssertionError):
            heard.append(link.until(lambda e: isinstance(e, Played) and e.message == note, 0.3))
    assert isinstance(heard[0], Played)
    assert abs(time.perf_counter_ns() - heard[0].at) < 5000 * MS


class Keyboard:
    """An instrument on JACK to be played from here."""

    def __init__(self, name: str, into: str | None = None) -> None:
        self._out = rtmidi.MidiOut(rtmidi.API_UNIX_JACK, name=name)
        if into is None:
            self._out.open_virtual_port("out")
        else:
            self._out.open_port(next(i for i, n in enumerate(self._out.get_ports()) if into in n))

    def play(self, *message: int) -> None:
        self._out.send_message(message)

    def close(self) -> None:
        self._out.close_port()
        self._out.delete()


def test_what_two_inputs_play_goes_through_and_one_that_is_unplugged_lets_go(
    link: Link, gear: jackd.Gear
):
    left, right = Keyboard("left"), Keyboard("right")
    link.send(Listen(("left:out", "right:out")))
    link.send(Thru((Route("", "gear", channel=3), Route("left:out", "gear", 4, high=60))))
    waiting: set[Event] = {InputBack("left:out"), InputBack("right:out"), PortBack("gear")}
    while waiting:
        waiting.discard(link.until(lambda e: e in waiting))
    left.play(0xB0, 64, 127)
    left.play(0x90, 60, 90)
    right.play(0x90, 64, 90)
    told = [link.until(lambda e: isinstance(e, Played)) for _ in range(3)]
    assert {e.source for e in told if isinstance(e, Played)} == {"left:out", "right:out"}
    wait_for(lambda: len(notes(gear)) == 3)
    assert sorted(m[:2] for _, m in gear.got if m[0] & 0xF0 == 0x90) == [
        bytes((0x93, 60)),
        bytes((0x93, 64)),
        bytes((0x94, 60)),
    ]
    left.close()
    assert link.until(lambda e: isinstance(e, InputLost)) == InputLost("left:out")
    wait_for(lambda: len(notes(gear)) == 5)
    assert [m[1] for _, m in gear.got if m[0] & 0xF0 == 0x80] == [60, 60]
    pedals = {m[0]: m[2] for _, m in gear.got if m[0] & 0xF0 == 0xB0 and m[1] == 64}
    assert pedals == {0xB3: 0, 0xB4: 0}
    left = Keyboard("left")
    link.until(lambda e: e == InputBack("left:out"))
    left.play(0x90, 61, 90)
    left.play(0x80, 61, 0)
    right.play(0x80, 64, 0)
    wait_for(lambda: len(notes(gear)) == 8)
    assert_silent_on_each_channel(gear)
    left.close()
    right.close()


def assert_silent_on_each_channel(gear: jackd.Gear) -> None:
    down: Counter[tuple[int, int]] = Counter()
    for _, m in list(gear.got):
        if m[0] & 0xE0 == 0x80:
            down[(m[0] & 0x0F, m[1])] += 1 if m[0] & 0x10 else -1
    assert not any(down.values())


def test_an_input_of_ours_is_heard(link: Link):
    link.send(Listen(("virtual:Stage",)))
    link.until(lambda e: e == InputBack("virtual:Stage"))
    desk = Keyboard("desk", into="Stage")
    desk.play(0x90, 60, 90)
    played = link.until(lambda e: isinstance(e, Played))
    assert isinstance(played, Played)
    assert (played.message, played.source) == (bytes((0x90, 60, 90)), "virtual:Stage")
    desk.close()


def test_a_killed_process_is_started_again_and_plays_on(link: Link, gear: jackd.Gear, monkeypatch):
    monkeypatch.setattr(midi, "RESTART_SECONDS", 0.0)
    ready = link.until(lambda e: isinstance(e, Ready))
    link.send(Listen(("virtual:Stage",)))
    link.until(lambda e: e == InputBack("virtual:Stage"))
    show(link, piece(60))
    link.send(Live("gear", bytes((0x92, 48, 90))))
    wait_for(lambda: ("on", 48) in notes(gear))
    os.kill(ready.pid, signal.SIGKILL)
    link.until(lambda e: e == Ended(again=True))
    waiting: set[Event] = {InputBack("virtual:Stage"), PortBack("gear")}
    while waiting:
        waiting.discard(link.until(lambda e: e in waiting))
    wait_for(lambda: bytes((0xB2, 123, 0)) in [m for _, m in gear.got])  # what it left sounding
    link.send(Play(0, PPQ))
    wait_for(lambda: ("off", 60) in notes(gear))


PARENT = """
    import sys, time
    from queue import SimpleQueue
    sys.path.insert(0, {root!r})

    if __name__ == "__main__":
        from engine.midi import MidiLink
        from engine.playback import Play, PortBack, Show
        from models.score import Notes, Score, Track
        from models.timebase import TempoMap
        events = SimpleQueue()
        link = MidiLink(events.put)
        track = Track(0, "t", Notes.of([0, 0], 96000, [60, 67]), port="gear")
        link.send(Show(Score((track,), tempo=TempoMap.constant(10))))
        while not isinstance(events.get(), PortBack):
            pass
        link.send(Play(0))
        time.sleep(60)
"""


def test_notes_end_when_the_program_is_killed(gear: jackd.Gear, tmp_path: Path):
    script = tmp_path / "parent.py"
    script.write_text(textwrap.dedent(PARENT.format(root=str(ROOT))))
    parent = subprocess.Popen([sys.executable, str(script)], cwd=ROOT)
    try:
        wait_for(lambda: len(notes(gear)) == 2)
    finally:
        parent.kill()
        parent.wait()
    wait_for(lambda: len(notes(gear)) == 4, 3)
    assert_silent(gear)


@pytest.mark.parametrize("how", [signal.SIGINT, None])
def test_play_from_the_command_line(gear: jackd.Gear, tmp_path: Path, how):
    import mido

    path = tmp_path / "melody.mid"
    file = mido.MidiFile(ticks_per_beat=480)
    track = mido.MidiTrack()
    file.tracks.append(track)
    track.append(mido.MetaMessage("set_tempo", tempo=300_000 if how is None else 10_000_000))
    track.append(mido.Message("note_on", note=60, velocity=80))
    track.append(mido.Message("note_off", note=60, time=480))
    file.save(path)
    command = [sys.executable, "-m", "engine", "play", str(path), "--port", "gear", "--clock"]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # As a terminal starts it: tests run in the background of a shell would hand on "ignore".
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as run:
        try:
            wait_for(lambda: ("on", 60) in notes(gear), 20)
            if how is not None:
                os.killpg(run.pid, how)  # as a terminal does: all processes get it
            assert run.communicate(timeout=10)[1].strip() == ""
        finally:
            run.kill()
    assert run.returncode in ((0, 130) if how else (0,))
    wait_for(lambda: ("off", 60) in notes(gear), 2)
    assert_silent(gear)
    system = [m for _, m in gear.got if m[0] >= 0xF0]
    assert [m for m in system if m != b"\xf8"] == [b"\xfc", b"\xfa", b"\xfc"]
    assert b"\xf8" in system


def test_a_jack_server_that_ends_and_comes_back():
    name = f"ricercar-test-again-{os.getpid()}"
    with jackd.dummy_server(name, PERIOD):
        device = jackd.Gear("device")
        link = Link()
        show(link, piece(60, 62, port="device:in"))
        link.send(Loop(0, 2 * PPQ))
        link.send(Play(0))
        wait_for(lambda: ("on", 60) in notes(device))
        device.close()
    link.until(lambda e: e == PortLost("device:in"))
    with jackd.dummy_server(name, PERIOD):
        device = jackd.Gear("device")
        link.until(lambda e: e == PortBack("device:in"))
        wait_for(lambda: ("on", 60) in notes(device))
        link.link.close()
        wait_for(lambda: len(notes(device)) % 2 == 0)
        assert_silent(device)
        device.close()


def test_the_benchmark_loses_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bench_midi, "EVENTS", 400)
    monkeypatch.setattr(bench_midi, "SECONDS", 1)
    with jackd.dummy_server(f"ricercar-test-bench-{os.getpid()}", 64, patient=True):
        sent, received, lost = bench_midi._play()
    assert lost == 0
    assert len(received) == 400
    assert len(sent) == 400 + 4 * 2  # each track's volume and program, too
    assert sent.min() >= 0
    assert received.min() > -2 * MS  # JACK's stamps and our clock differ by microseconds


def test_without_jack_client_rtmidi_carries_both_ways(
    gear: jackd.Gear, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "engine.jackport", None)  # as if it could not be imported
    inbox: SimpleQueue[Command] = SimpleQueue()
    outbox: SimpleQueue[Event] = SimpleQueue()
    keeper = ports.Keeper(SystemClock(), inbox, outbox, poll_seconds=0.05)
    keeper.start()
    keeper.want(frozenset({"gear"}))
    opened = inbox.get(timeout=5)
    assert isinstance(opened, PortOpened)
    assert isinstance(opened.port, ports.RtMidiPort)
    opened.port.send(bytes((0x90, 60, 90)))
    wait_for(lambda: notes(gear) == [("on", 60)])
    left = Keyboard("left")
    keeper.listen(("left:out", "virtual:Stage"))
    waiting: set[Event] = {InputBack("left:out"), InputBack("virtual:Stage")}
    while waiting:
        waiting.discard(outbox.get(timeout=5))
    desk = Keyboard("desk", into="Stage")
    keeper.thru(Thru((Route("", "gear"),)))
    assert isinstance(inbox.get(timeout=5), Live)
    for keyboard, source in ((left, "left:out"), (desk, "virtual:Stage")):
        keyboard.play(0x90, 62, 90)
        assert inbox.get(timeout=5) == Live("gear", bytes((0x90, 62, 90)), source=source)
    left.close()
    assert inbox.get(timeout=5) == Live("gear", bytes((0x80, 62, 64)), source="left:out")
    assert inbox.get(timeout=5) == LetGo("left:out")
    desk.close()
    keeper.close()


def test_a_server_that_had_to_be_killed_leaves_its_place(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(jackd, "END_SECONDS", 2.0)
    name = f"ricercar-test-stuck-{os.getpid()}"
    with jackd.dummy_server(name, PERIOD):
        stuck = subprocess.run(["pgrep", "-f", f"jackd.*{name}"], capture_output=True, text=True)
        os.kill(int(stuck.stdout.split()[0]), signal.SIGSTOP)
    assert name.encode() not in Path("/dev/shm/jack-shm-registry").read_bytes()

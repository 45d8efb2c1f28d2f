"""ports and midi without a MIDI system: names, what is sent for a score, and the process's manners."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue

import pytest
import rtmidi

from engine import midi, ports, schedule
from engine.clock import SystemClock
from engine.playback import (
    Anchor,
    Ended,
    Load,
    Loop,
    Notice,
    Play,
    PortBack,
    PortLost,
    PortNames,
    PortOpened,
    Quit,
    Ready,
    Show,
    Tempo,
    Unload,
)
from models.score import Notes, Score, Track, UserError
from models.timebase import PPQ, TempoMap

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever runs on this machine, here there is no JACK."""
    monkeypatch.setenv("JACK_DEFAULT_SERVER", f"ricercar-none-{os.getpid()}")


def wait_for_end(pid: int, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline, "it lives on"
        time.sleep(0.02)


def track(number: int = 0, pitch: int = 60, **fields) -> Track:
    return Track(number, "t", Notes.of([0], [PPQ], [pitch]), **{"port": "A", **fields})


# Names


def test_names_lose_the_numbers_that_change():
    alsa = ["Midi Through:Midi Through Port-0 14:0", "Organ:Organ 128:0", "Organ:Organ 129:0"]
    assert ports.stable_names(alsa, rtmidi.API_LINUX_ALSA) == [
        "Midi Through:Midi Through Port-0",
        "Organ:Organ",
        "Organ:Organ #2",
    ]
    assert ports.stable_names(["USB 2 1", "Synth 0"], rtmidi.API_WINDOWS_MM) == ["USB 2", "Synth"]
    assert ports.stable_names(["USB 2 1"], rtmidi.API_MACOSX_CORE) == ["USB 2 1"]


def test_a_port_is_found_by_name_or_by_a_part_that_fits_one():
    names = ["fluid:in", "Fluid:in 2", "Organ:Manual"]
    assert ports.find("fluid:in", names) == 0
    assert ports.find("manual", names) == 2
    assert ports.find("fluid", names) is None
    assert ports.find("piano", names) is None


# What a score becomes


def test_only_what_changed_is_sent():
    shown = midi._Shown()
    a, b = track(0), track(1, 64)
    first = shown.changes(Score((a, b)))
    assert [type(c) for c in first] == [Tempo, Load, Load]
    score = Score((a, replace(b, volume=90)))
    second = shown.changes(replace(score, tempo=TempoMap.constant(60)))
    assert [type(c) for c in second] == [Tempo, Load]
    assert second[1].track == 1
    third = shown.changes(Score((replace(a, soloed=True), b)))
    # The tempo is back, one track is soloed, so the other falls silent.
    assert [type(c) for c in third] == [Tempo, Load, Load]
    assert [len(c.table) for c in third[1:]] == [4, 0]
    assert shown.changes(Score((b,)))[1] == Unload(0)


# The keeper of ports


class Synth:
    """Stands where the built-in synth would, and needs no sound device."""

    problem = "No sound device."

    def __init__(self) -> None:
        self.closed = threading.Event()

    def send(self, message: bytes) -> None:
        pass

    def close(self) -> None:
        self.closed.set()


def test_the_keeper_opens_tells_and_closes():
    inbox: SimpleQueue = SimpleQueue()
    outbox: SimpleQueue = SimpleQueue()
    synth = Synth()
    keeper = ports.Keeper(SystemClock(), inbox, outbox, lambda: synth, poll_seconds=0.05)
    keeper.start()
    assert outbox.get(timeout=5) == PortNames((), ())
    keeper.want(frozenset({"", "nowhere"}))
    opened, lost = inbox.get(timeout=5), inbox.get(timeout=5)
    assert isinstance(opened, PortOpened)
    assert (opened.name, opened.port, opened.again) == ("", synth, False)
    assert lost == PortLost("nowhere")
    assert outbox.get(timeout=5) == Notice("No sound device.")
    keeper.want(frozenset())
    assert synth.closed.wait(5)
    keeper.close()
    assert inbox.empty()  # what is missing is said once


def test_a_keeper_that_takes_over_says_that_notes_may_sound():
    inbox: SimpleQueue = SimpleQueue()
    keeper = ports.Keeper(SystemClock(), inbox, SimpleQueue(), Synth, again=True)
    keeper.start()
    keeper.want(frozenset({""}))
    assert inbox.get(timeout=5).again
    keeper.close()


# The process


class Link:
    def __init__(self) -> None:
        self.events: SimpleQueue = SimpleQueue()
        self.link = midi.MidiLink(self.events.put)

    def until(self, kind: type, seconds: float = 15):
        deadline = time.monotonic() + seconds
        while not isinstance(event := self.events.get(timeout=seconds), kind):
            assert time.monotonic() < deadline
        return event


@pytest.fixture
def link() -> Iterator[Link]:
    link = Link()
    yield link
    link.link.close()


def test_a_score_plays_to_its_end_though_nobody_can_hear_it(link: Link):
    link.link.send(Show(Score((track(port="nowhere"),), tempo=TempoMap.constant(600))))
    assert link.until(PortLost) == PortLost("nowhere")
    link.link.send(Play(0, PPQ))
    begun = link.until(Anchor)
    while not begun.playing:
        begun = link.until(Anchor)
    ended = link.until(Anchor)
    assert (ended.tick, ended.playing) == (PPQ, False)
    assert 100e6 <= ended.at - begun.at < 2000e6


def test_the_process_has_neither_torch_nor_qt(link: Link):
    ready = link.until(Ready)
    link.link.send(Show(Score((track(port=""),))))
    link.until(PortBack)  # now it has what the built-in synth brings, too
    if sys.platform == "linux":
        maps = Path(f"/proc/{ready.pid}/maps").read_text()
        assert "rtmidi" in maps
        assert not [word for word in ("libtorch", "libQt", "PySide") if word in maps]
    code = "import sys, engine.midi, engine.audio; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    modules = run.stdout.split()
    assert "engine.transport" in modules
    assert not [m for m in modules if m.partition(".")[0] in ("torch", "PySide6", "app")]


def test_closing_ends_the_process(link: Link):
    pid = link.until(Ready).pid
    begun = time.monotonic()
    link.link.close()
    assert time.monotonic() - begun < 2
    wait_for_end(pid)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot stop a process")
def test_closing_ends_a_process_that_is_stuck(link: Link):
    pid = link.until(Ready).pid
    os.kill(pid, signal.SIGSTOP)  # as in a driver that never returns: SIGTERM does not get through
    link.link.close(0.2)
    wait_for_end(pid)


def test_a_process_that_dies_at_once_is_not_started_again_and_again(link: Link):
    pid = link.until(Ready).pid
    os.kill(pid, signal.SIGTERM)
    assert not link.until(Ended).again
    wait_for_end(pid)
    link.link.send(Loop(0, PPQ))  # goes nowhere, and does not raise
    link.link.close()


PARENT = """
    import os, sys, time
    from queue import SimpleQueue
    sys.path.insert(0, {root!r})

    if __name__ == "__main__":
        from engine.midi import MidiLink
        from engine.playback import Ready
        events = SimpleQueue()
        link = MidiLink(events.put)
        while not isinstance(ready := events.get(), Ready):
            pass
        # A fork holds the pipe open after its parent was killed.
        fork = os.fork()
        if fork:
            print(ready.pid, fork, flush=True)
        time.sleep(60)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="only where processes fork")
def test_the_process_ends_when_its_parent_is_killed_even_if_the_pipe_stays_open(tmp_path: Path):
    script = tmp_path / "parent.py"
    script.write_text(textwrap.dedent(PARENT.format(root=str(ROOT))))
    with subprocess.Popen(
        [sys.executable, str(script)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid, fork = map(int, parent.stdout.readline().split())
        parent.kill()
        try:
            wait_for_end(pid, 5)
        finally:
            os.kill(fork, signal.SIGKILL)


# play, for the command line


def test_play_refuses_what_it_cannot_play():
    with pytest.raises(UserError, match="no notes"):
        midi.play(Score())
    with pytest.raises(UserError, match="no MIDI output 'nowhere'; there are: none"):
        midi.play(Score((track(),)), port="nowhere")


def test_list_ports_without_a_midi_system(capfd: pytest.CaptureFixture[str]):
    assert midi.list_ports() == {"outputs": [], "inputs": []}
    assert capfd.readouterr().err == ""


def test_tables_cross_the_pipe_whole():
    ours, theirs = multiprocessing.Pipe()
    inbox: SimpleQueue = SimpleQueue()
    outbox: SimpleQueue = SimpleQueue()
    keeper = ports.Keeper(SystemClock(), inbox, outbox)
    receiver = threading.Thread(target=midi._receive, args=(theirs, os.getppid(), inbox, keeper))
    receiver.start()
    load = Load(7, "virtual:X", schedule.compile(track()))
    midi._put(ours, load)
    got = inbox.get(timeout=5)
    assert (got.track, got.port) == (7, "virtual:X")
    assert got.table.tobytes() == load.table.tobytes()
    ours.close()
    assert inbox.get(timeout=5) == Quit()
    receiver.join()

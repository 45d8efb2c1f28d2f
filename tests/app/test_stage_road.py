"""On stage with the real thing: a keyboard and gear over JACK, the window, the core, a system's real weights."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import rtmidi
from pytestqt.qtbot import QtBot
from test_end_to_end import FIRST_REQUEST_MS, start

from engine import edits, jackd
from engine.staging import LIVE, Mode
from models import catalogue
from models.score import Track
from models.timebase import TempoMap

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere MIDI does not go through JACK"
)

PHRASE = (60, 62, 64, 65, 67, 65, 64, 62)
ANSWERS = 5
"""The channel the answers sound on; what is played goes through on another."""


class Keyboard:
    """A MIDI keyboard, as JACK shows it."""

    def __init__(self, name: str) -> None:
        self.out = rtmidi.MidiOut(rtmidi.API_UNIX_JACK, name=name)
        self.out.open_virtual_port("out")

    def strike(self, key: int) -> None:
        self.out.send_message([0x90, key, 90])

    def lift(self, key: int) -> None:
        self.out.send_message([0x80, key, 64])

    def close(self) -> None:
        self.out.close_port()
        self.out.delete()


@pytest.fixture
def devices() -> Iterator[tuple[jackd.Gear, Keyboard]]:
    with jackd.dummy_server(f"ricercar-stage-{os.getpid()}", 1024, patient=True):
        gear, keyboard = jackd.Gear("gear"), Keyboard("keys")
        yield gear, keyboard
        keyboard.close()
        gear.close()


def test_a_phrase_is_answered_heard_kept_and_taken_back(
    qtbot: QtBot, tmp_path: Path, devices: tuple[jackd.Gear, Keyboard]
) -> None:
    gear, keyboard = devices
    window, picture = start(qtbot, tmp_path, catalogue.cards(), None)
    session, stage = window.session, window.performance
    track = session.score.tracks[0]
    score = edits.set_tempo(session.score, TempoMap.constant(240))
    session.commit("Prepare", edits.set_track(score, track.id, port="gear", channel=0))

    def heard(channel: int) -> list[int]:
        """Keys struck on a channel of the gear."""
        return [m[1] for _, m in list(gear.got) if m[0] == 0x90 | channel and m[2]]

    def sounding() -> dict[tuple[int, int], int]:
        keys: Counter[tuple[int, int]] = Counter()
        for _, m in list(gear.got):
            if m[0] & 0xE0 == 0x80:
                on = m[0] & 0xF0 == 0x90 and m[2]
                keys[m[0] & 0x0F, m[1]] = 1 if on else 0
        return {key: n for key, n in keys.items() if n}

    def inputs() -> list[str]:
        return [name for name in window.player.inputs if "keys" in name]

    qtbot.waitUntil(lambda: bool(inputs()), timeout=20_000)
    window.rig.listen((inputs()[0],))
    stage.set_mode(Mode.ANSWER)
    stage.set_system("markov")
    stage.set_parts([Track(LIVE, "Answer", channel=ANSWERS, port="gear")])
    stage.turn("bars", 2)
    window.show_stage()
    assert window._stage is not None
    stage.go()

    # What is played goes through at once; a rest ends the phrase, and the answer comes.
    def through() -> bool:
        keyboard.strike(PHRASE[0])
        qtbot.wait(60)
        keyboard.lift(PHRASE[0])
        return bool(heard(0))

    qtbot.waitUntil(through, timeout=20_000)  # the input needs a moment to open
    for key in PHRASE[1:]:
        keyboard.strike(key)
        qtbot.wait(125)
        keyboard.lift(key)
    qtbot.waitUntil(lambda: heard(0)[-7:] == list(PHRASE[1:]), timeout=5_000)
    stage.pad()
    qtbot.waitUntil(lambda: len(heard(ANSWERS)) >= 4, timeout=FIRST_REQUEST_MS)
    picture("answering")
    assert window.capture.recorder.notes >= len(PHRASE), "all that is played is recorded"
    qtbot.waitUntil(lambda: stage.view.coming == "play a phrase", timeout=30_000)

    # Halted, nothing sounds; kept, it is one step that undo takes back.
    stage.halt()
    qtbot.waitUntil(lambda: not stage.view.running and not sounding(), timeout=20_000)
    before = session.document.score
    assert stage.keep()
    (made,) = [t for t in session.score.tracks if t.id not in {b.id for b in before.tracks}]
    assert made.channel == ANSWERS
    assert set(made.notes.pitch.tolist()) <= set(heard(ANSWERS))
    session.undo()
    assert session.score == before
    window.close()

"""The Shape panel's road with the real weights: sliders and the dot dragged with the mouse and by two MIDI
controllers over JACK, heard by real gear, kept, undone."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rtmidi
from mouse import move, press, release
from PySide6.QtCore import QPointF
from pytestqt.qtbot import QtBot
from test_end_to_end import FIRST_REQUEST_MS, drop, mark_bars, start
from test_end_to_end import press as press_button

from app.shaping import shipped
from engine import edits, exchange, jackd
from models import catalogue
from models.score import Notes, Score, Track
from models.timebase import PPQ

SYSTEM = "music_vae_2bar"
BAR = 4 * PPQ

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere MIDI does not go through JACK"),
    pytest.mark.skipif(shipped(SYSTEM) is None, reason="MusicVAE's space is not here yet"),
]


class Knobs:
    """A MIDI device with knobs, as JACK shows it."""

    def __init__(self, name: str) -> None:
        self.out = rtmidi.MidiOut(rtmidi.API_UNIX_JACK, name=name)
        self.out.open_virtual_port("out")

    def turn(self, number: int, value: int) -> None:
        self.out.send_message([0xB0, number, value])

    def close(self) -> None:
        self.out.close_port()
        self.out.delete()


@pytest.fixture
def devices() -> Iterator[tuple[jackd.Gear, Knobs]]:
    with jackd.dummy_server(f"ricercar-shape-{os.getpid()}", 1024, patient=True):
        gear, knobs = jackd.Gear("gear"), Knobs("knobs")
        yield gear, knobs
        knobs.close()
        gear.close()


def tune() -> Score:
    """Two bars of a reel, played by hand, and two that follow."""
    pitch = [67, 69, 71, 74, 72, 71, 69, 67, 66, 67, 69, 66, 67, 71, 69, 67]
    onset = np.arange(32) * PPQ // 2 + np.tile([0, 11, 4, 7], 8)
    velocity = 60 + np.arange(32)
    return Score((Track(0, "Melody", Notes.of(onset, 440, pitch * 2, velocity)),))


def test_a_phrase_is_pushed_dragged_turned_kept_and_taken_back(
    qtbot: QtBot, tmp_path: Path, devices: tuple[jackd.Gear, Knobs]
) -> None:
    gear, knobs = devices
    file = tmp_path / "tune.mid"
    exchange.write(tune(), file)
    window, picture = start(qtbot, tmp_path, catalogue.cards(), None)
    window.resize(1280, 800)
    session, shaper, shape = window.session, window.shaper, window.shape
    drop(window, file)
    qtbot.waitUntil(lambda: window.windowTitle().startswith("tune"))
    track_id = session.score.tracks[0].id
    session.commit("Choose port", edits.set_track(session.score, track_id, port="gear"))
    given = session.score
    window.compose.choose(SYSTEM)
    mark_bars(window, 1, 2)
    window.toggle_dock("shape")
    qtbot.waitUntil(lambda: shaper.home is not None, timeout=FIRST_REQUEST_MS)
    assert shaper.card is not None
    assert shaper.card.id == SYSTEM
    assert shape.map is not None
    assert session.candidates == ()
    assert len(shape.sliders.sliders) >= 4
    picture("found")

    def struck() -> list[bytes]:
        return [m for _, m in list(gear.got) if m[0] >> 4 == 9 and m[2]]

    def sounding() -> int:
        messages = [m for _, m in list(gear.got)]
        on = sum(m[0] >> 4 == 9 and m[2] > 0 for m in messages)
        return on - sum(m[0] >> 4 == 8 or (m[0] >> 4 == 9 and m[2] == 0) for m in messages)

    # A slider, dragged: heard before it is let go.
    slider = shape.sliders.sliders["pitch"]
    y = slider.height() / 2
    press(slider, (slider.width() / 2, y))
    for x in np.linspace(slider.width() / 2, slider.width() - 9, 8):
        move(slider, (float(x), y))
        qtbot.wait(10)
    qtbot.waitUntil(lambda: bool(struck()), timeout=20_000)
    release(slider, (slider.width() - 9, y))
    qtbot.waitUntil(lambda: not shaper.busy, timeout=20_000)
    (candidate,) = session.candidates
    assert candidate.proposal.figures["pitch"] > shaper.own["pitch"] + 1, "it went up"
    picture("pushed")

    # The dot, dragged, once the last answer to the slider has moved it.
    qtbot.waitUntil(lambda: not shaper.busy, timeout=20_000)
    plot, place = shape.map.plot, shaper.place
    assert place is not None
    there = plot.pixel(place)
    press(plot.viewport(), (there.x(), there.y()))
    for k in range(1, 9):
        move(plot.viewport(), (there.x() - 6 * k, there.y() + 3 * k))
        qtbot.wait(10)
    there = QPointF(there.x() - 48, there.y() + 24)
    release(plot.viewport(), (there.x(), there.y()))
    qtbot.waitUntil(lambda: not shaper.busy, timeout=20_000)
    assert shaper.place == pytest.approx(plot.place(there)), "the dot stays under the hand"
    assert len(session.candidates) == 1
    picture("dragged")

    # Two controllers, taught and turned.
    def inputs() -> list[str]:
        return [name for name in window.player.inputs if "knobs" in name]

    qtbot.waitUntil(lambda: bool(inputs()), timeout=20_000)
    window.rig.listen((inputs()[0],))
    controllers = window.controllers
    echoed: list[str] = []
    controllers.echoed.connect(echoed.append)
    for target, number in (("map_x", 70), ("map_y", 71)):
        controllers.learn(target)
        deadline = time.monotonic() + 20
        while not controllers.of(target) and time.monotonic() < deadline:
            knobs.turn(number, 64)  # the input needs a moment to open
            qtbot.wait(50)
        assert [m.control.number for m in controllers.of(target)] == [number]
        knobs.turn(102, number)  # once this is heard, nothing of that knob is still under way
        qtbot.waitUntil(
            lambda n=number: any(f"CC 102 · {n} " in words for words in echoed), timeout=20_000
        )
    for value in (0, 127):  # on its way a control takes hold of what it moves
        knobs.turn(70, value)
        knobs.turn(71, value)
    knobs.turn(71, 100)
    points = plot._points
    right = float(points[:, 0].max())
    qtbot.waitUntil(
        lambda: shaper.place is not None and abs(shaper.place[0] - right) < 0.01, timeout=20_000
    )
    qtbot.waitUntil(lambda: not shaper.busy, timeout=20_000)
    picture("turned")

    # Keep, undo; nothing outside was touched, nothing goes on sounding.
    press_button(shape.keep)
    kept = session.score.track(track_id).notes
    old = given.track(track_id).notes
    inside, now = old.inside(0, 2 * BAR), kept.inside(0, 2 * BAR)
    assert kept.where(~now) == old.where(~inside)
    assert kept.where(now) != old.where(inside)
    assert kept.velocity[now].min() >= 60
    assert shaper.sliders == {}
    session.undo()
    assert session.score == given
    picture("undone")
    window.close()
    qtbot.waitUntil(lambda: sounding() == 0, timeout=10_000)

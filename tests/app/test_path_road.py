"""The whole road of a path with the real weights: A and B marked with the mouse, ten steps, scrubbed while
real gear listens over JACK, kept, undone, and rendered to sound."""

from __future__ import annotations

import os
import sys
import wave
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from mouse import click
from pytestqt.qtbot import QtBot
from test_end_to_end import FIRST_REQUEST_MS, drop, mark_bars, press, start

from engine import edits, exchange, jackd
from models import catalogue
from models.score import Key, Notes, Score, Track
from models.timebase import PPQ, TempoMap

WEIGHTS = resources.files("assets") / "weights" / "music_vae_2bar.safetensors"

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere MIDI does not go through JACK"),
    pytest.mark.skipif(not WEIGHTS.is_file(), reason="MusicVAE's weights are not here yet"),
]

BAR = 4 * PPQ
BPM = 90
BAR_SECONDS = 4 * 60 / BPM
STEPS = 10
LATE_SECONDS = 0.4
"""Allowed to a busy test machine; test_scrub measures with a clock of its own."""
QUIET, SILENT = 10 ** (-40 / 20), 10 ** (-70 / 20)


@pytest.fixture
def gear() -> Iterator[jackd.Gear]:
    with jackd.dummy_server(f"ricercar-path-{os.getpid()}", 1024, patient=True):
        gear = jackd.Gear("gear")
        yield gear
        gear.close()


def tune() -> Score:
    """Two bars of an ode and, after two bars of rest, two of a reel."""
    ode = [64, 64, 65, 67, 67, 65, 64, 62]
    reel = [67, 69, 71, 74, 72, 71, 69, 67, 66, 67, 69, 66, 67]
    onset = np.concatenate([np.arange(8) * PPQ, 4 * BAR + np.arange(13) * PPQ // 2])
    duration = np.array([PPQ] * 8 + [PPQ // 2] * 12 + [2 * PPQ]) - 30
    notes = Notes.of(onset, duration, ode + reel, 96)
    return Score((Track(0, "Melody", notes),), TempoMap.constant(BPM), keys=(Key(0, 0),))


def test_a_path_is_made_scrubbed_kept_and_rendered(
    qtbot: QtBot, tmp_path: Path, gear: jackd.Gear
) -> None:
    file = tmp_path / "tune.mid"
    exchange.write(tune(), file)
    window, picture = start(qtbot, tmp_path, catalogue.cards(), None)
    session, panel = window.session, window.path
    drop(window, file)
    qtbot.waitUntil(lambda: window.windowTitle().startswith("tune"))
    track = session.score.tracks[0]
    session.set_active_track(track.id)
    session.commit("Choose port", edits.set_track(session.score, track.id, port="gear"))
    given = session.score
    window.toggle_dock("path")
    for card, first in ((panel.cards[0], 1), (panel.cards[1], 5)):
        mark_bars(window, first, first + 1)
        press(card.set_button)
    panel.form.count.setValue(STEPS)
    press(panel.form.make_button)
    qtbot.waitUntil(
        lambda: panel.path is not None and session.job is None, timeout=FIRST_REQUEST_MS
    )
    assert panel.path is not None
    steps = panel.path.steps
    assert len(steps) == STEPS
    melody = given.track(track.id).notes
    for step, start_bar in ((steps[0], 0), (steps[-1], 4)):
        own = melody.where(melody.inside(start_bar * BAR, (start_bar + 2) * BAR))
        assert step.onset.tolist() == (own.onset - start_bar * BAR).tolist()
        for column in ("pitch", "duration", "velocity"):
            assert getattr(step, column).tolist() == getattr(own, column).tolist(), "note for note"
    assert all(len(step) >= 4 for step in steps)
    picture("path")

    # Scrub from A to B inside the first bar that sounds.
    qtbot.waitUntil(
        lambda: bool(gear.got), timeout=20_000
    )  # its port is open: it knows its program
    gear.got.clear()
    click(panel.strip, (panel.strip.cell(0).center().x(), 30))
    qtbot.waitUntil(lambda: session.playing and session.playhead_tick() > 500, timeout=20_000)
    assert session.playhead_tick() < BAR - PPQ, "this machine is too slow to say anything"
    panel.set_position(1.0)

    def struck() -> list[tuple[float, int]]:
        return [(at / 1e9, m[1]) for at, m in list(gear.got) if m[0] >> 4 == 9 and m[2]]

    a, b = steps[0], steps[-1]
    expected = [
        *a.pitch[a.onset < BAR].tolist(),
        *b.pitch[b.onset >= BAR].tolist(),
        *b.pitch.tolist(),
    ]
    qtbot.waitUntil(lambda: len(struck()) > len(expected), timeout=20_000)
    picture("scrubbed")
    got = struck()
    assert [p for _, p in got[: len(expected)]] == expected
    first_of_b = int((a.onset < BAR).sum())
    change = got[first_of_b][0] - got[0][0]
    assert abs(change - BAR_SECONDS) < LATE_SECONDS
    assert session.score is given
    press(panel.play_button)
    assert session.heard is given

    def sounding() -> dict[int, int]:
        held: dict[int, int] = {}
        for _, m in list(gear.got):
            on = m[0] >> 4 == 9 and m[2] > 0
            if on or m[0] >> 4 in (8, 9):
                held[m[1]] = held.get(m[1], 0) + (1 if on else -1)
        return {pitch: n for pitch, n in held.items() if n}

    qtbot.waitUntil(lambda: not sounding() and not session.playing, timeout=10_000)

    # Kept in order: one step; back: one step.
    press(panel.keep_all)
    kept = session.document.score
    new = kept.track(track.id).notes
    assert new.where(new.inside(0, 6 * BAR)) == melody
    assert new.length <= (6 + 2 * STEPS) * BAR
    picture("kept")
    session.undo()
    assert session.document.score == given
    session.redo()

    # What a listener gets: every step sounds, and nothing goes on after the last.
    path_alone = kept.with_track(kept.track(track.id).with_notes(new.where(new.onset >= 6 * BAR)))
    sound = tmp_path / "path.wav"
    exchange.write(path_alone, sound)
    with wave.open(str(sound)) as file_:
        rate = file_.getframerate()
        frames = np.frombuffer(file_.readframes(file_.getnframes()), "<i2")
    level = frames.reshape(-1, 2).astype(float).mean(1) / 32768
    assert np.abs(level).max() < 1
    for k in range(STEPS):
        begin = (6 + 2 * k) * BAR_SECONDS
        part = level[int(begin * rate) : int((begin + 2 * BAR_SECONDS) * rate)]
        assert np.sqrt((part**2).mean()) > QUIET, f"step {k + 1} is silent"
    assert np.abs(level[-rate // 20 :]).max() < SILENT, "something hangs at the end"
    assert np.abs(level[: int(5.9 * BAR_SECONDS * rate)]).max() < SILENT
    window.close()

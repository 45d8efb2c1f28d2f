"""The whole road to real gear: a proposal asked for and heard with the mouse, received over JACK."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot
from test_end_to_end import FIRST_REQUEST_MS, choose, drop, melody, press, start

from engine import edits, jackd
from models import catalogue
from models.card import Task

__all__ = ["melody"]

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere MIDI does not go through JACK"
)
LATE_SECONDS = 0.25
"""Allowed to a busy test machine; `ricercar bench midi` is where lateness is measured."""


@pytest.fixture
def gear() -> Iterator[jackd.Gear]:
    with jackd.dummy_server(f"ricercar-road-{os.getpid()}", 1024):
        gear = jackd.Gear("gear")
        yield gear
        gear.close()


def test_a_proposal_is_heard_on_gear_in_time(
    qtbot: QtBot, tmp_path: Path, melody: Path, gear: jackd.Gear
) -> None:
    window, _ = start(qtbot, tmp_path, catalogue.cards(), None)
    session = window.session
    drop(window, melody)
    qtbot.waitUntil(lambda: window.windowTitle().startswith("melody"))
    (soprano,) = session.score.tracks
    session.commit("Choose port", edits.set_track(session.score, soprano.id, port="gear"))
    choose(window, "deep_bach", Task.ACCOMPANY)
    press(window.compose.generate_button)
    qtbot.waitUntil(
        lambda: bool(session.candidates) and session.job is None, timeout=FIRST_REQUEST_MS
    )
    candidate = session.candidates[0]
    press(window.proposals.rows[candidate.key].hear)
    heard = session.heard
    assert {t.port for t in heard.tracks} == {"gear"}, "new voices go where the melody goes"

    def struck() -> list[tuple[int, bytes]]:
        return [(at, m) for at, m in list(gear.got) if m[0] >> 4 == 9 and m[2]]

    wanted = sorted(
        (heard.tempo.second(int(onset)), track.channel, int(pitch))
        for track in heard.tracks
        for onset, pitch in zip(track.notes.onset, track.notes.pitch, strict=True)
        if onset < 5 * 960
    )
    qtbot.waitUntil(lambda: len(struck()) > len(wanted), timeout=30_000)
    got = struck()
    assert sorted((m[0] & 15, m[1]) for _, m in got[: len(wanted)]) == sorted(
        (channel, pitch) for _, channel, pitch in wanted
    )
    begun = got[0][0] / 1e9 - wanted[0][0]
    for (at, _), (second, _, _) in zip(got, wanted, strict=False):
        assert abs(at / 1e9 - begun - second) < LATE_SECONDS
    press(window.proposals.rows[candidate.key].keep)
    assert len(session.score.tracks) == 4
    session.undo()
    assert len(session.score.tracks) == 1
    window.close()

    def sounding() -> int:
        messages = [m for _, m in list(gear.got)]
        on = sum(m[0] >> 4 == 9 and m[2] > 0 for m in messages)
        off = sum(m[0] >> 4 == 8 or (m[0] >> 4 == 9 and m[2] == 0) for m in messages)
        return on - off

    qtbot.waitUntil(lambda: sounding() == 0, timeout=10_000)

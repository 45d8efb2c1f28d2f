"""The whole way: what goes out to a JACK port and comes in again is recorded where the transport played it."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from queue import Empty, SimpleQueue

import pytest

from engine import jackd, midi
from engine.capture import Recorder, take
from engine.capture_bars import Passes, Wish
from engine.playback import (
    Anchor,
    Event,
    InputBack,
    Listen,
    Loop,
    Play,
    Played,
    PortNames,
    Show,
    Stop,
)
from engine.quantising import Quantise
from models.score import Notes, Score, Track
from models.timebase import PPQ, TempoMap

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere MIDI does not go through JACK"
)
BAR = 4 * PPQ
PITCHES = [60, 62, 64, 65]
SECONDS = 20
"""What a busy machine may take for three seconds of music."""


def test_two_passes_of_a_loop_come_back_on_their_beats() -> None:
    """Half a beat (200 ms) of lateness is borne: how late messages are is measured elsewhere."""
    notes = Notes.of([PPQ * k + PPQ // 4 for k in range(4)], PPQ // 2, PITCHES)
    score = Score((Track(0, "t", notes, port="virtual:Back"),), tempo=TempoMap.constant(150))
    recorder, events = Recorder(), SimpleQueue[Event]()
    heard, listened = 0, False
    with jackd.dummy_server(f"ricercar-capture-{os.getpid()}", 1024):
        link = midi.MidiLink(events.put)
        try:
            link.send(Show(score))
            deadline = time.monotonic() + SECONDS
            while heard < 2 * 2 * len(PITCHES) and time.monotonic() < deadline:
                try:
                    event = events.get(timeout=0.1)
                except Empty:
                    continue
                match event:
                    case PortNames(_, inputs) if not listened:
                        found = tuple(name for name in inputs if "Back" in name)
                        listened = bool(found)
                        link.send(Listen(found))  # what goes out there comes in again
                    case InputBack():
                        link.send(Loop(0, BAR))
                        link.send(Play(0))
                    case Anchor():
                        recorder.anchored(event, score.tempo, (0, BAR))
                    case Played():
                        recorder.heard(event)
                        heard += event.message[0] & 0xE0 == 0x80
            link.send(Stop())
        finally:
            link.close()
    now = time.perf_counter_ns()
    (stretch, *_) = recorder.stretches(score, 0, now)
    assert (stretch.playing, stretch.passes) == (True, 2)
    beats = [PPQ * k for k in range(4)]
    for back in range(2):
        made = take(recorder.passage(Wish(back=back), score, 0, now), Quantise(PPQ))
        assert (made.start, made.length) == (0, BAR)
        assert made.quantised.pitch.tolist() == PITCHES
        assert made.quantised.onset.tolist() == beats
    wish = replace(Wish(), passes=Passes.UNROLLED)
    both = take(recorder.passage(wish, score, 0, now), Quantise(PPQ)).quantised
    assert both.onset.tolist() == [PPQ * k for k in range(8)]

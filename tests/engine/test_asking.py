"""What a command line leaves unsaid: which tracks a task means."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from fakes import ToySystem

from engine.asking import ask
from models.card import Task
from models.score import Notes, Score, Track
from models.timebase import PPQ

CARD = replace(ToySystem.card, tasks=tuple(Task), voices=("chords",))
NOTES = Notes.of(np.arange(4) * PPQ, PPQ, 60)


def test_continue_goes_on_in_the_tracks_with_pitches() -> None:
    score = Score((Track(0, "A", NOTES), Track(1, "Kit", NOTES, channel=9), Track(2, "Empty")))
    assert ask(CARD, Task.CONTINUE, score, "a.mid").region.tracks == {0}
    assert ask(CARD, Task.CONTINUE, score, "a.mid", voices=["Kit"]).region.tracks == {1}
    assert ask(CARD, Task.REGENERATE, score, "a.mid").region.tracks == {0, 1, 2}
    drums = Score(score.tracks[1:])
    assert ask(CARD, Task.CONTINUE, drums, "a.mid").region.tracks == {1, 2}, "which is refused"


def test_chords_go_under_a_melody_on_a_new_track_or_a_named_one() -> None:
    score = Score((Track(0, "A", NOTES),))
    assert ask(CARD, Task.ACCOMPANY, score, "a.mid").region.tracks == frozenset()
    named = ask(CARD, Task.ACCOMPANY, score, "a.mid", voices=["chords"])
    assert named.score.track(1).name == "Chords"
    assert (named.melody, named.region.tracks) == (0, {1})

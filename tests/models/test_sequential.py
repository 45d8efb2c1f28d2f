"""Sequential: melodies kept by plan, what lies between them, and time slices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from models import catalogue
from models.card import Task
from models.representations import note_step, time_slice
from models.representations.melody import FIRST, HOLD, REST
from models.representations.time_slice import PITCHES, SILENT
from models.score import Notes, Region, Score, Track, UserError
from models.system import Ask, Context, Progress, Proposal
from models.systems import sequential
from models.systems.sequential import BARS, CARD, MELODIES, learn
from models.timebase import PPQ

BAR = 4 * PPQ


@pytest.fixture(scope="module")
def system() -> Any:
    torch.set_num_threads(1)
    return catalogue.load("sequential")


def made(system: Any, ask: Ask) -> Proposal:
    steps = system.generate(ask, Context(np.random.default_rng(ask.seed)))
    (proposal,) = [s for s in steps if not isinstance(s, Progress)]
    assert isinstance(proposal, Proposal)
    return proposal


def create(bars: int = BARS, **values: Any) -> Ask:
    return Ask(Task.CREATE, Score(), Region(0, bars * BAR), CARD.values(values), 1)


def phrase(pitches: list[int], duration: int = PPQ) -> Score:
    onset = np.arange(len(pitches)) * duration
    return Score((Track(0, "Line", Notes.of(onset, duration, pitches)),))


def test_slices_tell_a_repeated_note_from_a_long_one() -> None:
    tokens = np.array([40, HOLD, 40, HOLD, HOLD, HOLD, REST, 41, HOLD, HOLD], np.uint8)
    unit, begins = time_slice.slices(tokens, 2)
    pitch = 36 + 40 - FIRST - time_slice.LOWEST
    assert unit.tolist() == [pitch, pitch, pitch, SILENT, pitch + 1]
    assert begins.tolist() == [True, True, False, False, True]
    back = time_slice.read(time_slice.vectors(unit, begins))
    assert back[0].tolist() == unit.tolist()
    assert back[1].tolist() == begins.tolist()
    rows = time_slice.rows(unit, begins, 2)
    assert rows[:, 1].tolist() == [480, 960, 480, 480]
    assert (rows[:, 0] == note_step.REST).tolist() == [False, False, True, False]


def test_far_pitches_come_to_the_units_by_octaves() -> None:
    tokens = np.array([FIRST, HOLD, FIRST + 60, HOLD], np.uint8)
    unit, _ = time_slice.slices(tokens, 2)
    assert ((unit >= 0) & (unit < PITCHES)).all()
    assert ((unit + time_slice.LOWEST - np.array([36, 96])) % 12 == 0).all()


def test_every_melody_comes_back_from_its_plan(system: Any) -> None:
    assert len(system.names) == MELODIES
    assert len(set(system.names)) == MELODIES
    unit, begins = system._learnt
    found, starts = system.play(system.net, torch.eye(MELODIES), unit.shape[1])
    assert (found == unit).all()
    assert (starts == begins).all()
    tracks = made(system, create(plan=3, mix=0.0)).tracks
    rows = time_slice.rows(unit[2], begins[2], 2)
    assert tracks[0].notes.pitch.tolist() == rows[rows[:, 0] != note_step.REST, 0].tolist()


def test_half_way_is_music_and_neither_melody(system: Any) -> None:
    sounding, kinds = [], []
    for plan in range(1, MELODIES):
        notes = made(system, create(plan=plan, towards=plan + 1, mix=0.5)).tracks[0].notes
        sounding.append(notes.duration.sum() / (BARS * BAR))
        kinds.append(len(set(notes.pitch.tolist())))
    assert np.mean(sounding) > 0.6
    assert np.mean(kinds) > 3
    figures = system.evaluate(None, Context(np.random.default_rng(0)))
    assert figures["made_up_half_way"] > 0.2


def test_two_phrases_are_learnt_on_the_spot_and_joined(system: Any) -> None:
    a = phrase([60, 64, 67, 64, 65, 62, 59, 60])
    b = phrase([72, 72, 71, 69, 67, 67, 65, 67, 69, 69, 71, 71, 72, 71, 72, 72], PPQ // 2)
    ask = Ask(
        Task.INTERPOLATE, Score(), Region(0, 10 * BAR), CARD.values({"steps": 5}), 3, phrases=(a, b)
    )
    proposal = made(system, ask)
    assert proposal.figures["difference_a"] == proposal.figures["difference_b"] == 0
    assert proposal.figures["step_ticks"] == 2 * BAR
    notes = proposal.tracks[0].notes
    first, last = notes.where(notes.onset < 2 * BAR), notes.where(notes.onset >= 8 * BAR)
    assert first.pitch.tolist() == a.tracks[0].notes.pitch.tolist()
    assert last.pitch.tolist() == b.tracks[0].notes.pitch.tolist()
    assert (last.onset - 8 * BAR).tolist() == b.tracks[0].notes.onset.tolist()


def test_learning_leaves_torchs_random_numbers_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequential, "ROUNDS", 50)
    unit = np.array([[3, 4, 5, 6], [6, 5, 4, 3]])
    torch.manual_seed(5)
    before = torch.rand(1)
    torch.manual_seed(5)
    nets = [list(learn(unit, np.ones((2, 4), bool), 7, 0.8))[-1][1] for _ in range(2)]
    assert torch.equal(torch.rand(1), before)
    assert torch.equal(nets[0].output.weight, nets[1].output.weight)


@pytest.mark.parametrize(
    ("phrases", "sentence"),
    [
        ((), "needs two phrases"),
        ((phrase([60]), Score()), "Phrase B has no notes"),
        ((phrase([60] * 68), phrase([60])), "Phrase A has 17 bars"),
    ],
)
def test_what_it_cannot_learn_is_refused(
    system: Any, phrases: tuple[Score, ...], sentence: str
) -> None:
    ask = Ask(Task.INTERPOLATE, Score(), Region(0, BAR), CARD.values(), phrases=phrases)
    with pytest.raises(UserError, match=sentence):
        made(system, ask)

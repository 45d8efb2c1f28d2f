"""Launchpad LSTM: notes as pitch, step and duration; its two rhythms, its grids, and how it goes on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from test_melody import tune, walk

from models import catalogue, training
from models.card import Task
from models.representations import placed
from models.score import Key, Notes, Region, Score, Track, UserError
from models.system import Ask, Context, Proposal
from models.systems import launchpad_lstm
from models.systems.launchpad_lstm import CARD, System
from models.timebase import PPQ, SIXTEENTH

BAR = 4 * PPQ
TUNE = [60, 62, 64, 65, 67, 67, 69, 67, 65, 64, 62, 64, 60, 62, 64, 60]


@pytest.fixture(scope="module")
def system() -> Any:
    torch.set_num_threads(1)
    return catalogue.load("launchpad_lstm")


def made(system: Any, ask: Ask) -> list[Notes]:
    context = Context(np.random.default_rng(ask.seed))
    found = [p for p in system.generate(ask, context) if isinstance(p, Proposal)]
    return [p.tracks[0].notes for p in found if p.final]


def seeded(
    pitches: list[int], bars: int = 4, count: int = 1, keys: tuple[Key, ...] = (), **values: Any
) -> Ask:
    """A request to go on from quarters of those pitches."""
    notes = Notes.of(np.arange(len(pitches)) * PPQ, PPQ, pitches)
    start = -(-len(pitches) // 4) * BAR
    score = Score((Track(0, "Line", notes),), keys=keys)
    region = Region(start, start + bars * BAR, frozenset({0}))
    return Ask(Task.CONTINUE, score, region, CARD.values(values), 1, count)


def test_notes_are_pitch_step_and_duration() -> None:
    line = placed.Line(
        placed.symbols(np.array([60, -1, 64, 65])),
        placed.nearest(np.array([PPQ, PPQ // 2, PPQ // 2, 2 * PPQ])),
        np.zeros((4, placed.PLACE), np.float32),
    )
    notes = launchpad_lstm.Notes.of([line, line])
    assert notes.pitch.tolist() == [60, 64, 65] * 2
    assert notes.beats.tolist() == [[0, 1], [1.5, 0.5], [0.5, 2]] * 2
    assert notes.begins.tolist() == [True, False, False] * 2


def test_steps_are_what_the_net_says_of_a_whole_melody() -> None:
    torch.manual_seed(0)
    net = System.fresh().net
    notes = launchpad_lstm.Notes.of(placed.lines([tune("a/1", walk(1, 8))]))
    with torch.no_grad():
        told = net.hears(notes.pitch, notes.beats, notes.place, torch.zeros(8))
        y, _ = net(told[None], (torch.zeros(1, 1, 128), torch.zeros(1, 1, 128)))
        pitch, beats, step, duration = net.says(y[0])
    stepper = launchpad_lstm.Stepper(net)
    for t in range(8):
        heard = int(notes.pitch[t]), tuple(notes.beats[t].tolist()), notes.place[t].numpy()
        said = stepper.step(*heard)
        whole = torch.cat([x[t] for x in (pitch, step, duration, beats)])
        assert said == pytest.approx(whole.numpy(), abs=1e-4)
    assert stepper.odds == len(said) - 2


def test_losses_are_cross_entropy_and_squared_error_with_pressure() -> None:
    torch.manual_seed(0)
    system = System.fresh()
    notes = launchpad_lstm.Notes.of(placed.lines([tune("a/1", walk(1, 8))]))
    net = system.net
    with torch.no_grad():
        for layer in (net.pitch, net.beats, net.odds):
            layer.weight.zero_()
            layer.bias.zero_()
        net.beats.bias.copy_(torch.tensor([-1.0, 3.0]))
    index = np.arange(8)[None]
    nats, errors, odds = system.losses(notes, index, torch.zeros(1, 8, 128))
    assert nats.item() == pytest.approx(np.log(128))
    assert odds.item() == pytest.approx(2 * np.log(len(placed.TIMES)))
    # Steps and durations are all 1 beat: 2² and the pressure on −1; (3 − 1)² and none.
    assert errors.tolist() == pytest.approx([4 + launchpad_lstm.PRESSURE, 4])


def test_it_learns_a_pattern(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launchpad_lstm, "BATCH", 8)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    tunes = [tune(f"a/{i}", [60, 64, 67, 64] * 12) for i in range(3)]
    system = System.fresh()
    fit = training.Fit(system.net, training.Plan(minutes=1, rate=1e-2, warm_up=1))
    steps = system.train(training.Corpus(tunes, tunes), Context(np.random.default_rng(0)), fit)
    for _ in range(30):
        next(steps)
    figures = system.evaluate(tunes, Context(np.random.default_rng(0)))
    assert figures["accuracy_pitch"] > 0.8
    assert figures["cross_entropy_pitch_nats"] < 1
    assert figures["error_step_beats"] < 0.5
    assert figures["error_step_of_the_mean_beats"] == 0


def test_it_goes_on_in_the_key_on_the_grid_and_ends_on_the_keynote(system: Any) -> None:
    for semitones, sharps in ((0, 0), (3, -3), (-5, 1)):
        pitches = [p + semitones for p in TUNE]
        ask = seeded(pitches, 8, 2, (Key(0, sharps),))
        one, two = made(system, ask)
        assert one != two
        for notes in (one, two):
            scale = (np.array([0, 2, 4, 5, 7, 9, 11]) + semitones) % 12
            assert np.isin(notes.pitch % 12, scale).mean() > 0.85
            assert abs(float(notes.pitch.mean()) - 64 - semitones) < 10
            assert (notes.onset % SIXTEENTH == 0).all()
            assert int(notes.onset[0]) == ask.region.start
            assert int(notes.end.max()) == ask.region.end
            assert (int(notes.pitch[-1]) - semitones) % 12 in (0, 9)
            assert np.isin(ask.region.start + np.arange(8) * BAR, notes.onset).mean() > 0.5


@pytest.mark.parametrize(("grid", "unit"), [("sixteenth", SIXTEENTH), ("triplet", PPQ // 3)])
def test_both_rhythms_keep_to_the_grid(system: Any, grid: str, unit: int) -> None:
    for rhythm in ("drawn", "expected"):
        (notes,) = made(system, seeded(TUNE, grid=grid, rhythm=rhythm, close=False))
        assert (notes.onset % unit == 0).all()
        assert len(notes) > 4
    (free,) = made(system, seeded(TUNE, grid="off", rhythm="expected"))
    assert (free.onset % SIXTEENTH != 0).any()


def test_expected_numbers_are_rounded_to_where_they_lead() -> None:
    values = {"rhythm": "expected", "grid": "sixteenth", "temperature": 1.0}
    args = np.zeros(len(placed.TIMES)), values, 80, SIXTEENTH
    assert System._ticks(0.9, *args) == 4 * SIXTEENTH - 80
    assert System._ticks(-3.0, *args) == SIXTEENTH - 80  # never nothing


def test_what_is_locked_is_played_around(system: Any) -> None:
    notes = Notes.of(
        [0, PPQ, 2 * BAR + 100], [PPQ, 3 * PPQ, PPQ], [60, 62, 67], locked=[False, False, True]
    )
    score = Score((Track(0, "Line", notes),))
    ask = Ask(Task.CONTINUE, score, Region(BAR, 4 * BAR, frozenset({0})), CARD.values(), 5)
    (new,) = made(system, ask)
    assert not ((new.onset < 2 * BAR + 100 + PPQ) & (new.end > 2 * BAR + 100)).any()
    assert (new.onset < 2 * BAR).any()
    assert (new.onset > 2 * BAR + PPQ).sum() > 2


def test_a_note_that_fills_the_region_leaves_nothing_to_write(system: Any) -> None:
    score = Score((Track(0, "Line", Notes.of([0, PPQ], [PPQ, 4 * BAR], [60, 62])),))
    ask = Ask(Task.CONTINUE, score, Region(BAR, 2 * BAR, frozenset({0})), CARD.values(), 5)
    (new,) = made(system, ask)
    assert len(new) == 0


@pytest.mark.parametrize(
    ("ask", "sentence"),
    [
        (Ask(Task.CREATE, Score(), Region(0, BAR), CARD.values()), "cannot"),
        (Ask(Task.CONTINUE, Score((Track(0, ""),)), Region(0, BAR, frozenset({0})), CARD.values()), "nothing before"),
        (
            Ask(
                Task.CONTINUE,
                Score((Track(0, "", Notes.of([0, 0, PPQ, PPQ], PPQ, [60, 64, 60, 64])),)),
                Region(2 * PPQ, BAR, frozenset({0})),
                CARD.values(),
            ),
            "holds chords",
        ),
    ],
)  # fmt: skip
def test_bad_requests_get_a_sentence(system: Any, ask: Ask, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        made(system, ask)


def test_a_long_piece_grows(system: Any) -> None:
    ask = seeded(TUNE, 120)
    steps = system.generate(ask, Context(np.random.default_rng(2)))
    proposals = [s for s in steps if isinstance(s, Proposal)]
    assert [p.final for p in proposals] == [False] * (len(proposals) - 1) + [True]
    assert len(proposals) > 1
    early, whole = proposals[0].tracks[0].notes, proposals[-1].tracks[0].notes
    assert 200 < len(early) <= 256
    assert whole.onset[:200].tolist() == early.onset[:200].tolist()
    assert whole.pitch[:200].tolist() == early.pitch[:200].tolist()

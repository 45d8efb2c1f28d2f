"""DeepHear: the stack both share, sliders that write melodies, and descents that find harmonies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mills.melody import phrases

from models import catalogue, training
from models.card import Task
from models.representations import melody
from models.representations.melody import FIRST, HOLD, REST, Phrases
from models.representations.pianoroll import PITCHES, Roll, struck
from models.score import Key, Notes, Region, Score, Track, UserError
from models.strategies import autoencoding, harmonising
from models.system import Ask, Context, Proposal
from models.systems import deep_hear_c, deep_hear_m
from models.timebase import PPQ, MeterMap

BAR = 4 * PPQ
NOTHING = Score()
ODE = [64, 64, 65, 67, 67, 65, 64, 62, 60, 60, 62, 64, 64, 62, 62, 62]


@pytest.fixture(scope="module")
def m() -> Any:
    torch.set_num_threads(1)
    return catalogue.load("deep_hear_m")


@pytest.fixture(scope="module")
def c() -> Any:
    torch.set_num_threads(1)
    return catalogue.load("deep_hear_c")


def made(system: Any, ask: Ask) -> list[Notes]:
    """The notes of every candidate's first track."""
    found = {}
    for step in system.generate(ask, Context(np.random.default_rng(ask.seed))):
        if isinstance(step, Proposal):
            found[step.candidate] = step.tracks[0].notes
    return [found[k] for k in sorted(found)]


def create(
    score: Score = NOTHING, bars: int = 4, seed: int = 1, count: int = 1, **values: Any
) -> Ask:
    region = Region(0, bars * BAR, frozenset(t.id for t in score.tracks))
    return Ask(Task.CREATE, score, region, deep_hear_m.CARD.values(values), seed, count)


def accompany(score: Score, bars: int = 4, **values: Any) -> Ask:
    """A request for a new track under the first one."""
    return Ask(
        Task.ACCOMPANY, score, Region(0, bars * BAR), deep_hear_c.CARD.values(values), 1, melody=0
    )


def sung(pitches: list[int], sharps: int = 0) -> Score:
    """A tune of quarters."""
    notes = Notes.of(np.arange(len(pitches)) * PPQ, PPQ, pitches)
    return Score((Track(0, "Tune", notes),), keys=(Key(0, sharps),))


# --- the stack ------------------------------------------------------------------------------------


def test_a_step_of_one_key_is_heard_as_its_units_would_be() -> None:
    torch.manual_seed(0)
    stack = autoencoding.Stack((12, 7, 3), keys=4)
    x = torch.tensor([[0, 3, 1], [2, 2, 2]])
    units = torch.nn.functional.one_hot(x, 4).flatten(1).float()
    assert torch.allclose(stack.encode(x), stack.encode(units), atol=1e-6)
    said = torch.zeros(2, 12)
    said[:, 0] = 2.0
    each = -torch.log_softmax(torch.tensor([2.0, 0, 0, 0]), 0)[x[:, 0]] + 2 * np.log(4)
    assert torch.allclose(stack.nats(said, x), each.float())


def test_settled_the_mean_leaves_every_unit_half_on_and_comes_back() -> None:
    torch.manual_seed(0)
    stack = autoencoding.Stack((40, 20, 8))
    x = (torch.rand(64, 40) < 0.1).float()
    autoencoding.settle(stack, x)
    mean = x.mean(0, keepdim=True)
    half = torch.sigmoid(stack.drive(0, mean))
    assert torch.allclose(half, torch.full_like(half, 0.5), atol=1e-5)
    back = torch.sigmoid(stack.below(0, half))
    assert torch.allclose(back, mean.clamp(autoencoding.SELDOM, 1), atol=1e-3)


def test_sixteen_units_learn_a_handful_of_phrases_by_heart() -> None:
    torch.manual_seed(0)
    known = phrases(6, 4)
    system = deep_hear_m.System.fresh(shape=deep_hear_m.Shape(64, 48, 32))
    fit = training.Fit(system.net, training.Plan(1e9, rate=1e-2, warm_up=1))
    steps = system.train(training.Corpus(known, known), Context(np.random.default_rng(0)), fit)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deep_hear_m, "BATCH", 12)
        patch.setattr(autoencoding, "PRETRAINED", 1e-30)
        for _ in range(150):
            next(steps)
    tokens, fits = deep_hear_m.white(known)
    assert fits.all()
    with torch.no_grad():
        codes = system.net.stack.encode(torch.from_numpy(tokens.astype(np.int64))).numpy()
    assert (system.decode(codes) == known.tokens).mean() > 0.97


# --- melodies -------------------------------------------------------------------------------------


def test_phrases_are_heard_on_white_keys_and_within_three_octaves() -> None:
    tokens = np.full((3, 64), HOLD, np.uint8)
    tokens[:, 0] = FIRST + 62 - melody.LOWEST  # D
    tokens[1, 0] = FIRST + 40 - melody.LOWEST  # too low by more than an octave moves to
    tokens[2, 0] = FIRST + 91 - melody.LOWEST
    zeros = np.zeros(3, np.int64)
    found, fits = deep_hear_m.white(Phrases(tokens, zeros, zeros + 2, zeros, ("a/b",)))
    assert fits.tolist() == [True, False, True]
    assert (found[:, 0] - FIRST + deep_hear_m.LOWEST).tolist() == [60, 77]


def test_copied_is_what_the_likest_phrase_has_of_it() -> None:
    known = np.full((2, 64), HOLD, np.uint8)
    known[0, [0, 4, 8]] = 10, 11, 12
    known[1, [0, 4, 8]] = 10, 20, 20
    one = known[:1].copy()
    one[0, 12] = 13
    assert deep_hear_m.copied(np.stack([known[1], one[0]]), known).tolist() == [1.0, 0.75]
    assert deep_hear_m.copied(np.full((1, 64), REST, np.uint8), known).tolist() == [0.0]


def test_openness_prefers_a_held_tonic() -> None:
    tokens = np.full(64, HOLD, np.uint8)
    tokens[:56:4] = FIRST + 67 - melody.LOWEST
    ends = {}
    for name, pitch, at in (
        ("tonic", 72, 56),
        ("fifth", 67, 56),
        ("other", 74, 56),
        ("short", 72, 62),
    ):
        ended = tokens.copy()
        ended[at] = FIRST + pitch - melody.LOWEST
        ends[name] = deep_hear_m.openness(ended, 0)
    assert ends["tonic"] < ends["short"] < ends["other"]
    assert ends["tonic"] < ends["fifth"] < ends["other"]


def test_sliders_alone_always_play_the_same(m: Any) -> None:
    sliders: dict[str, Any] = {f"unit_{u}": (u % 3) / 2 for u in range(1, 17)}
    (one,) = made(m, create(seed=1, surprise=0.0, **sliders))
    (two,) = made(m, create(seed=2, surprise=0.0, **sliders))
    assert one == two
    sliders["unit_1"], sliders["unit_2"] = 1.0, 0.0
    (bent,) = made(m, create(seed=1, surprise=0.0, **sliders))
    assert bent != one


def test_the_liveliest_of_a_few_draws_repeats_less(m: Any) -> None:
    mean = {}
    for lively in (True, False):
        found = [made(m, create(seed=s, lively=lively))[0].pitch for s in range(12)]
        mean[lively] = np.mean([(np.diff(p.astype(int)) == 0).mean() for p in found])
    assert mean[True] < mean[False]


def test_candidates_differ_even_when_the_dice_are_off(m: Any) -> None:
    found = made(m, create(count=4, surprise=0.0))
    assert len({n.pitch.tobytes() + n.onset.tobytes() for n in found}) == 4


def test_a_melody_is_in_the_key_of_the_score_and_ends_there(m: Any) -> None:
    closes = 0
    for sharps, scale in ((3, {9, 11, 1, 2, 4, 6, 8}), (-2, {10, 0, 2, 3, 5, 7, 9})):
        score = Score((), keys=(Key(0, sharps),))
        tonic = sharps * 7 % 12
        for notes in made(m, create(score, bars=16, count=6)):
            assert np.isin(notes.pitch % 12, list(scale)).mean() > 0.9
            assert 30 < len(notes) < 250
            assert notes.end.max() > 15.5 * BAR
            closes += int(notes.pitch[-1] % 12 == tonic)
    assert closes >= 8


def test_it_goes_to_the_octave_of_its_track(m: Any) -> None:
    bass = Track(0, "Bass", Notes.of([4 * BAR], BAR, [43]))
    (notes,) = made(m, create(Score((bass,))))
    assert 34 < notes.pitch.mean() < 52


def test_other_metres_are_refused(m: Any, c: Any) -> None:
    waltz = MeterMap(numerator=np.array([3]), denominator=np.array([4]))
    with pytest.raises(UserError, match="3/4"):
        made(m, create(Score((Track(0, ""),), meter=waltz)))
    tune = sung(ODE)
    with pytest.raises(UserError, match="3/4"):
        made(c, accompany(Score(tune.tracks, meter=waltz)))


# --- harmonies ------------------------------------------------------------------------------------


def test_near_and_harsh_know_what_clashes() -> None:
    target = torch.zeros(1, 1, 30)
    target[0, 0, 14] = 1
    assert torch.nonzero(harmonising.near(target)[0, 0]).flatten().tolist() == [12, 13, 15, 16]
    bad = set(torch.nonzero(harmonising.harsh(target)[0, 0]).flatten().tolist())
    assert bad == {k for k in range(30) if (k - 14) % 12 in harmonising.HARSH}


def test_nothing_is_wrong_with_the_melody_and_thirds_below() -> None:
    target = torch.zeros(1, 4, 30)
    target[..., 14] = 1
    said = target.clone()
    said[..., 10] = 1
    found = harmonising.error(said, target, "melody", 12, 2)
    assert found.tolist() == [0.0]
    assert harmonising.error(said, target, "consonance", 12, 2).tolist() == [0.0]
    said[..., 10], said[..., 13] = 0, 1
    assert harmonising.error(said, target, "melody", 12, 2).tolist() == [4.0]
    assert float(harmonising.error(said, target, "consonance", 12, 2)) > 8.0  # and no bass


def test_of_what_it_is_sure_of_the_surest_are_chosen() -> None:
    said = np.zeros((1, 4, 8))
    given = np.zeros((1, 4, 8), bool)
    given[0, :, 5] = True
    said[0, :, :] = [0.6, 0.9, 0.4, 0.8, 0.1, 0.7, 0.2, 0.95]
    said[0, 2, 1] = 0.1  # a gap
    values = {"threshold": 0.5, "voices": 2, "below": True, "apart": 2}
    found = harmonising.chosen(said, given, values)
    assert np.flatnonzero(found[0, 0]).tolist() == [1, 3]
    assert found[0, :, 1].all()
    above = harmonising.chosen(said, given, {**values, "below": False})
    assert np.flatnonzero(above[0, 0]).tolist() == [1, 7]
    close = harmonising.chosen(said, given, {**values, "apart": 3}, 4)
    assert np.flatnonzero(close[0, 0]).tolist() == [0, 1]
    assert (close == close[:, :1]).all()
    assert not harmonising.chosen(said, np.zeros_like(given), values).any()


def test_what_lies_beyond_the_keys_sounds_an_octave_nearer() -> None:
    sounds = np.zeros((1, PITCHES), bool)
    sounds[0, [26 - 21, 60 - 21, 95 - 21]] = True
    assert (np.flatnonzero(deep_hear_c.narrowed(sounds)[0]) + deep_hear_c.LOWEST).tolist() == [
        38, 60, 71,
    ]  # fmt: skip


def test_windows_are_four_bars_from_barlines() -> None:
    sounds = np.zeros((45, PITCHES), bool)
    sounds[:, 39] = True
    upbeat = Roll("", sounds, struck(sounds), (np.arange(45) + 6) % 8)
    assert len(deep_hear_c.windows([upbeat])) == 2
    waltz = Roll("", sounds, struck(sounds), np.arange(45) % 6)
    assert not len(deep_hear_c.windows([waltz]))


def test_descending_lowers_the_error(c: Any) -> None:
    rng = np.random.default_rng(0)
    known = c.said(c.net.known[[3, 40]].detach()).detach().numpy() > 0.5
    given = deep_hear_c.top(known)
    target = torch.from_numpy(given.astype(np.float32))
    values = deep_hear_c.CARD.values({"start": "random"})
    said = [s for _, s in c.descend(target, values, rng)]
    cost = [float(harmonising.error(s, target, "melody", deep_hear_c.BASS, 2).sum()) for s in said]
    assert cost[-1] < 0.8 * cost[0]


def test_a_tune_is_harmonised_in_its_key_beneath_it(c: Any) -> None:
    (plain,) = made(c, accompany(sung(ODE)))
    assert len(plain) > 8
    assert plain.pitch.max() < 67
    assert np.isin(plain.pitch % 12, [0, 2, 4, 5, 7, 9, 11]).mean() > 0.8
    (higher,) = made(c, accompany(sung([p + 2 for p in ODE], 2)))
    assert higher == plain.with_(pitch=plain.pitch + 2)


def test_chords_come_under_the_bars_that_are_played_alone(c: Any) -> None:
    (notes,) = made(c, accompany(sung(ODE), bars=12))
    assert notes.end.max() <= 4 * BAR


def test_there_has_to_be_a_melody(c: Any) -> None:
    score = Score((Track(0, "Empty"), Track(1, "Drums", Notes.of([0], PPQ, [36]), channel=9)))
    with pytest.raises(UserError, match="no melody to accompany"):
        made(c, accompany(score))


def test_a_folder_of_waltzes_is_refused_to_learn_from(tmp_path: Path) -> None:
    notes = Notes.of(np.arange(60) * PPQ, PPQ, 60)
    waltz = MeterMap(numerator=np.array([3]), denominator=np.array([4]))
    score = Score((Track(0, "", notes),), meter=waltz)
    system = deep_hear_c.System.fresh(shape=deep_hear_c.Shape(8, 8, 8))
    corpus = system.corpus([(tmp_path / "waltz.mid", score)])
    with pytest.raises(UserError, match="4/4"):
        next(system.train(corpus, Context(np.random.default_rng(0))))

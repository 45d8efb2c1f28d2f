"""DeepBach: no network sees its own site, every way to evaluate agrees, and constraints hold."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from test_chorale import made

from models import catalogue, weights
from models.card import Task
from models.representations import staging
from models.representations.chorale import EDGE, FIRST_PITCH, HOLD, MASK, TOKENS
from models.representations.columns import columns, gather, view
from models.score import Key, Notes, Region, Score, Track
from models.strategies import gibbs, masking
from models.system import Ask, Context, Proposal
from models.systems import deep_bach
from models.timebase import PPQ, MeterMap

BAR = 4 * PPQ
SMALL = deep_bach.Shape(units=12, voice_width=6, meta_width=5, joined=10)


@pytest.fixture(scope="module")
def system() -> Any:
    torch.set_num_threads(1)
    return catalogue.load("deep_bach")


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> deep_bach.System:
    """Small, random, and in full precision."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    monkeypatch.setattr(deep_bach, "_BFLOAT16", False)
    found = deep_bach.System.fresh(shape=SMALL)
    with torch.no_grad():
        for parameter in found.net.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    found.net.eval()
    return found


def last(system: Any, ask: Ask) -> Proposal:
    found = None
    for step in system.generate(ask, Context(np.random.default_rng(ask.seed))):
        found = step if isinstance(step, Proposal) else found
    assert found is not None
    return found


def test_no_network_sees_its_own_site(untrained: deep_bach.System) -> None:
    batch = gather([columns(made(40))], "cpu")
    nothing = torch.zeros_like(batch.tokens, dtype=torch.bool)
    rng = np.random.default_rng(0)
    with torch.inference_mode():
        before = untrained.logits(batch.tokens, nothing, batch.meta)
        for _ in range(12):
            t, v = int(rng.integers(1, 41)), int(rng.integers(4))
            for token in (HOLD, 1, 20, 40):
                other = batch.tokens.clone()
                other[0, t, v] = token
                after = untrained.logits(other, nothing, batch.meta)
                assert torch.equal(after[0, t, v], before[0, t, v])
                assert not torch.equal(after, before) or bool((other == batch.tokens).all())


def test_a_hidden_site_tells_nothing(untrained: deep_bach.System) -> None:
    batch = gather([columns(made(40))], "cpu")
    hide = torch.from_numpy(masking.hidden(np.random.default_rng(1), 1, 42, 0, 1).past)
    other = torch.where(hide & (batch.tokens != EDGE), 30, batch.tokens)
    with torch.inference_mode():
        a = untrained.logits(batch.tokens, hide, batch.meta)
        b = untrained.logits(other, hide, batch.meta)
    assert hide.any()
    assert torch.equal(a, b)


def test_step_by_step_is_the_same_as_all_at_once(untrained: deep_bach.System) -> None:
    batch = gather([columns(made(30)), columns(made(30, seed=1))], "cpu")
    hide = torch.ones_like(batch.tokens, dtype=torch.bool)
    never = torch.zeros_like(hide)
    before = torch.full((2, 4), MASK)
    possible = [t for t in range(TOKENS) if t not in (MASK, EDGE)]
    with torch.inference_mode():
        whole = untrained.net(view(batch.tokens, before, never, never, hide), batch.meta)
        writer = untrained.writer(batch.tokens, hide, batch.meta[:1].expand(2, -1, -1))
        writer.start(torch.tensor([0, 1]), torch.tensor([0, 0]))
        for t in range(32):
            for v in range(4):
                step = writer.voice(v, batch.tokens[:, t])
                assert torch.allclose(step[:, possible], whole[:, t, v][:, possible], atol=1e-4)
            writer.advance(batch.tokens[:, t])


def test_draw_never_leaves_what_is_allowed() -> None:
    logits = torch.randn(500, TOKENS) * 5
    allowed = torch.rand(500, TOKENS) < 0.1
    allowed[:, 7] = True
    for uniform in (torch.zeros(500), torch.rand(500), torch.full((500,), 1 - 2**-24)):
        token = gibbs.draw(logits, allowed, 0.7, uniform)
        assert allowed[torch.arange(500), token].all()


def test_draw_follows_the_distribution() -> None:
    p = torch.tensor([0.5, 0.0, 0.2, 0.3]).log()
    logits = torch.full((1, TOKENS), -torch.inf)
    logits[0, 4:8] = p
    uniform = (torch.arange(1000) + 0.5) / 1000
    ones = torch.ones(1000, TOKENS, dtype=torch.bool)
    token = gibbs.draw(logits.expand(1000, -1), ones, 1.0, uniform)
    assert torch.bincount(token, minlength=8)[4:8].tolist() == [500, 0, 200, 300]


@pytest.mark.parametrize("sampler", ["fast", "exact"])
def test_ranges_and_rhythm_are_kept(system: Any, sampler: str) -> None:
    notes = Notes.of(np.arange(8) * PPQ, np.where(np.arange(8) == 5, PPQ // 2, PPQ), 58)
    score = Score((Track(0, "Tenor", notes), Track(1, "Soprano", notes.with_(pitch=74))))
    params = system.card.values(
        {"tenor": (55, 60), "keep_rhythm": True, "iterations": 1, "sampler": sampler}
    )
    ask = Ask(Task.REGENERATE, score, Region(0, 2 * BAR, frozenset({0})), params)
    (tenor,) = last(system, ask).tracks
    assert tenor.notes.onset.tolist() == notes.onset.tolist()
    assert tenor.notes.duration.tolist() == notes.duration.tolist()
    assert tenor.notes.pitch.min() >= 55
    assert tenor.notes.pitch.max() <= 60


@pytest.mark.parametrize(("top", "bottom", "bars"), [(4, 4, 1), (3, 4, 5), (3, 2, 2), (4, 4, 70)])
def test_created_music_fills_its_bars(system: Any, top: int, bottom: int, bars: int) -> None:
    meter = MeterMap(np.array([0]), np.array([top]), np.array([bottom]))
    end = bars * top * 4 * PPQ // bottom
    ask = Ask(
        Task.CREATE, Score(meter=meter), Region(0, end), system.card.values({"iterations": 1})
    )
    proposal = last(system, ask)
    assert [t.name for t in proposal.tracks] == ["Soprano", "Alto", "Tenor", "Bass"]
    assert proposal.fermatas
    assert len(proposal.keys) == 1
    for track in proposal.tracks:
        assert track.notes.duration.sum() == end  # no gap, no overlap
        assert track.notes.length == end


@pytest.mark.parametrize("key", [Key(0, 2, False), Key(0, -1, True), None])
@pytest.mark.parametrize("phrase", [0, 2])
def test_created_music_ends_on_its_tonic(system: Any, key: Key | None, phrase: int) -> None:
    score = Score(keys=(key,) if key else ())
    params = deep_bach.CARD.values({"iterations": 2, "phrase": phrase})
    proposal = last(system, Ask(Task.CREATE, score, Region(0, 4 * BAR), params, seed=5))
    made_here = proposal.apply(score)
    for voice in (0, 3):
        notes = made_here.tracks[voice].notes
        assert notes.end[-1] == 4 * BAR
        assert notes.pitch[-1] % 12 == made_here.keys[0].tonic


def test_the_first_proposal_is_a_whole_piece(system: Any) -> None:
    ask = Ask(Task.CREATE, Score(), Region(0, 4 * BAR), system.card.values(), count=2)
    steps = system.generate(ask, Context(np.random.default_rng(0)))
    first = next(s for s in steps if isinstance(s, Proposal))
    assert not first.final
    assert all(t.notes.duration.sum() == 4 * BAR for t in first.tracks)
    steps.close()


def test_an_odd_melody_comes_back_as_it_was(system: Any) -> None:
    rng = np.random.default_rng(0)
    onset = np.sort(rng.integers(0, 4 * BAR, 40))
    notes = Notes.of(onset, rng.integers(1, 2000, 40), rng.integers(85, 100, 40))
    melody = Track(4, "Flute", notes)
    ask = Ask(
        Task.ACCOMPANY, Score((melody,)), Region(0, 5 * BAR), system.card.values({"iterations": 1})
    )
    proposal = last(system, ask)
    after = proposal.apply(ask.score)
    assert after.track(4) is melody
    assert [t.name for t in proposal.tracks] == ["Alto", "Tenor", "Bass"]


def test_the_key_of_a_melody_is_heard(system: Any) -> None:
    """The Old Hundredth (Genevan psalter, 1551) in A, in a score that says C."""
    pitch = [69, 69, 68, 66, 64, 69, 71, 73, 73, 73, 73, 71, 69, 74, 73, 71]
    notes = Notes.of(np.arange(16) * PPQ, PPQ, np.array(pitch))
    score = Score((Track(0, "Soprano", notes),), keys=(Key(0, 0),))
    ask = Ask(Task.ACCOMPANY, score, Region(0, 4 * BAR), system.card.values({"iterations": 2}))
    stage = system._set(ask, np.random.default_rng(0)).stage
    assert set(stage.given.sharps.tolist()) == {3}
    classes = [int(p) % 12 for t in last(system, ask).tracks for p in t.notes.pitch]
    assert classes.count(6) > classes.count(5)  # F sharp rather than F


def test_shipped_figures_are_better_than_the_published_ones(system: Any) -> None:
    """On validation chorales: 0.62 to 0.87 nats and 80 to 84 % of a voice's sixteenths."""
    card = json.loads((weights.shipped("deep_bach").with_suffix(".json")).read_text("utf-8"))
    for voice in system.card.voices:
        assert card["figures_valid"][f"cross_entropy_{voice}_nats"] < 0.5
        assert card["figures_valid"][f"accuracy_{voice}"] > 0.85


def test_a_chorale_voice_is_found_again_from_the_others(system: Any) -> None:
    """Shipped weights know more of a real bar than its holds: the tonic chord that ends a cadence."""
    tune = np.array([72, 71, 72])
    parts = {"Soprano": tune, "Alto": [67, 67, 67], "Tenor": [64, 62, 64], "Bass": [60, 55, 48]}
    at = np.array([0, PPQ, 2 * PPQ])
    length = np.array([PPQ, PPQ, 2 * PPQ])
    tracks = tuple(
        Track(i, name, Notes.of(at, length, np.array(p)))
        for i, (name, p) in enumerate(parts.items())
    )
    score = Score(tracks, keys=(Key(0, 0),), fermatas=(2 * PPQ,))
    stage = staging.lay(score, Region(0, BAR), tracks, ())
    ((_, rows),) = system.conditionals([stage.given])
    best = rows[8, :, FIRST_PITCH:].argmax(-1) + 28
    assert [int(p) % 12 for p in best] == [0, 7, 4, 0]

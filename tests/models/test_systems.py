"""The mill: what every system must do, whatever it is; parametrised over the cards."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from models import catalogue, training
from models.card import Card, Task
from models.score import UserError
from models.system import Ask, Context, Progress, Proposal
from models.timebase import PPQ

BAR = 4 * PPQ
CARDS = catalogue.cards()
CASES = [pytest.param(card, task, id=f"{card.id}-{task}") for card in CARDS for task in card.tasks]


@pytest.fixture(scope="module", params=CARDS, ids=lambda card: card.id)
def card(request: pytest.FixtureRequest) -> Card:
    found: Card = request.param
    return found


def mill(card: Card) -> ModuleType:
    """What to feed the system: see mills."""
    own = importlib.util.find_spec(f"mills.{card.id}") is not None
    return importlib.import_module(f"mills.{card.id if own else card.representation.name}")


def asked(card: Card, task: Task, count: int = 1, seed: int = 3) -> Ask:
    """A request with a locked note and one that crosses the region's edge."""
    ask: Ask = mill(card).asked(card, task, count, seed)
    return ask


def run(system: Any, ask: Ask) -> list[Proposal]:
    context = Context(np.random.default_rng(ask.seed))
    found: dict[int, Proposal] = {}
    for step in system.generate(ask, context):
        if isinstance(step, Proposal):
            step.apply(ask.score)  # every one of them fits the score
            found[step.candidate] = step
        else:
            assert isinstance(step, Progress)
            assert 0 <= step.fraction <= 1
    assert sorted(found) == list(range(ask.count))
    assert all(p.final for p in found.values())
    return [found[k] for k in sorted(found)]


def same(a: Proposal, b: Proposal) -> bool:
    return all(
        x.id == y.id and x.name == y.name and x.notes == y.notes
        for x, y in zip(a.tracks, b.tracks, strict=True)
    )


class Loaded(dict[str, Any]):
    """Systems with their shipped weights, each loaded when it is first asked for."""

    def __missing__(self, system_id: str) -> Any:
        self[system_id] = catalogue.load(system_id)
        return self[system_id]


@pytest.fixture(scope="module")
def loaded() -> Iterator[dict[str, Any]]:
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        # What learns on the spot need not learn to the end here.
        patch.setattr("models.systems.sequential.ROUNDS", 100)
        yield Loaded()


def test_the_card_is_complete(card: Card) -> None:
    for field in ("name", "source", "architecture", "voices", "listens", "strengths", "weaknesses"):
        assert getattr(card, field), field
    assert card.year > 1950
    assert card.tasks
    assert card.challenges
    assert card.strategy
    assert all(p.about or p.choices for p in card.params)
    importlib.import_module(f"models.representations.{card.representation.name}")
    module = importlib.import_module(f"models.systems.{card.id}")
    assert card == module.CARD == module.System.card


def test_a_tiny_training_run_lowers_the_loss(card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    module = importlib.import_module(f"models.systems.{card.id}")
    system = module.System.fresh()
    context = Context(np.random.default_rng(0))
    if hasattr(system, "net"):
        monkeypatch.setattr(module, "BATCH", 4)
        fit = training.Fit(system.net, training.Plan(minutes=10, rate=5e-3, warm_up=1))
        steps: Iterator[Any] = system.train(mill(card).corpus(system), context, fit)
    else:  # a table: it has learned when it has counted
        steps = system.train(mill(card).corpus(system), context)
    losses = [next(steps)["loss_nats"] for _ in range(4)]
    steps.close()  # type: ignore[attr-defined]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(("card", "task"), CASES)
def test_the_same_seed_gives_the_same_notes(loaded: dict[str, Any], card: Card, task: Task) -> None:
    ask = asked(card, task)
    (first,), (second,) = run(loaded[card.id], ask), run(loaded[card.id], ask)
    assert same(first, second)
    assert sum(len(t.notes) for t in first.tracks) > 4


@pytest.mark.parametrize(("card", "task"), CASES)
def test_notes_stay_inside_and_all_else_comes_back(
    loaded: dict[str, Any], card: Card, task: Task
) -> None:
    ask = asked(card, task, count=2)
    low, high = mill(card).RANGE
    for proposal in run(loaded[card.id], ask):
        after = proposal.apply(ask.score)
        for new in proposal.tracks:
            assert new.notes.inside(ask.region.start, ask.region.end).all()
            assert (new.notes.pitch >= low).all()
            assert (new.notes.pitch <= high).all()
            if ask.region.tracks:
                assert new.id in ask.region.tracks
        for before in ask.score.tracks:
            kept = before.notes.where(~ask.region.owned(before))
            now = after.track(before.id).notes
            assert now.where(now.having(kept.id)) == kept
            if before.id not in ask.region.tracks:
                assert after.track(before.id) is before
            else:
                lines = now.where(now.sounding(ask.region.start, ask.region.end))
                pitches = [128] if mill(card).ONE_AT_A_TIME else np.unique(lines.pitch)
                for pitch in pitches:
                    key = lines.where((lines.pitch == pitch) | (pitch == 128))
                    assert (key.end[:-1] <= key.onset[1:]).all()  # a key is struck once at a time


@pytest.mark.parametrize(("card", "task"), CASES)
def test_closing_at_the_first_yield_is_clean(
    loaded: dict[str, Any], card: Card, task: Task
) -> None:
    system = loaded[card.id]
    whole = run(system, asked(card, task))
    steps = system.generate(asked(card, task), Context(np.random.default_rng(3)))
    next(steps)
    steps.close()
    assert same(run(system, asked(card, task))[0], whole[0])


def test_saved_and_loaded_it_writes_the_same(
    loaded: dict[str, Any], card: Card, tmp_path: Path
) -> None:
    system, path = loaded[card.id], tmp_path / "w.safetensors"
    system.save(path, {"system": card.id})
    again = catalogue.load(card.id, path)
    ask = asked(card, card.tasks[0])
    assert same(run(system, ask)[0], run(again, ask)[0])


def test_what_it_cannot_do_is_refused_at_once(loaded: dict[str, Any], card: Card) -> None:
    task = next(t for t in Task if t not in card.tasks)
    with pytest.raises(UserError, match="cannot"):
        next(loaded[card.id].generate(asked(card, task), Context(np.random.default_rng(0))))

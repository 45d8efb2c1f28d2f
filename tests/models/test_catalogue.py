"""The catalogue: cards as data, and systems loaded by name."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from importlib import resources

import pytest

from models import catalogue
from models.card import Task
from models.score import UserError

FILES = sorted(
    file.name[:-3]
    for file in resources.files("models.systems").iterdir()
    if file.name.endswith(".py") and not file.name.startswith("_")
)


def test_every_file_of_models_systems_has_its_card() -> None:
    assert sorted(card.id for card in catalogue.cards()) == FILES
    assert len(FILES) >= 1


@pytest.mark.parametrize("name", FILES)
def test_a_card_read_as_syntax_is_the_card_that_runs(name: str) -> None:
    module = importlib.import_module(f"models.systems.{name}")
    assert catalogue.card(name) == module.CARD
    assert module.System.card == module.CARD


@pytest.mark.parametrize("card", catalogue.cards(), ids=lambda card: card.id)
def test_a_card_is_complete(card: catalogue.Card) -> None:
    for text in (
        card.name,
        card.source,
        card.architecture,
        card.objective.type,
        card.objective.destination,
        card.objective.mode,
        card.representation.encoding,
    ):
        assert text.strip()
    assert card.strategy
    assert card.tasks
    assert set(card.tasks) <= set(Task)
    assert list(card.values()) == [p.name for p in card.params]  # defaults lie within bounds
    assert len({p.name for p in card.params}) == len(card.params)
    assert all(p.about for p in card.params)
    assert importlib.util.find_spec(f"models.representations.{card.representation.name}")


def test_cards_are_read_without_torch() -> None:
    code = (
        "import sys; from models import catalogue; catalogue.cards(); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    "source",
    [
        "__import__('os').getcwd()",
        "open('x')",
        "[1]",
        "Card",
        "Card.x",
        "Task(1)",
        "f'{1}'",
        "1 + 1",
    ],
)
def test_a_card_that_would_run_code_is_not_a_card(source: str) -> None:
    with pytest.raises(ValueError, match="literals and the words"):
        catalogue._value(ast.parse(source, mode="eval").body)


def test_an_unknown_system_is_answered_with_those_there_are() -> None:
    for ask in (catalogue.card, catalogue.load):
        with pytest.raises(UserError, match=r"no system 'muzak'; there are: .*deep_bach"):
            ask("muzak")

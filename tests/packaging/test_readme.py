"""The README says what the code says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from fakes import ToySystem

from models import catalogue

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def script(load: Callable[[Path], ModuleType]) -> ModuleType:
    return load(CHECKOUT / "packaging/systems_table.py")


def test_the_table_of_systems_is_the_cards(script: ModuleType) -> None:
    readme = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    current = script.renewed(readme, catalogue.cards())
    assert readme == current, "run: python packaging/systems_table.py"
    for card in catalogue.cards():
        assert f"`{card.id}`" in readme


def test_a_row_says_who_when_and_how_well(script: ModuleType) -> None:
    card = replace(ToySystem.card, source="Somebody & al.", year=1999, figure="2 | 3 nats a note")
    row = script.table([card]).splitlines()[-1]
    assert row.startswith("| **Toy** `toy` (Somebody & al.; 1999) | melody, score, autonomous |")
    assert row.endswith(r"| create, regenerate | 2 \| 3 nats a note |")
    assert "(Somebody 1999)" in script.table([replace(card, source="Somebody 1999")])
    assert (
        len({line.replace(r"\|", "").count("|") for line in script.table([card]).splitlines()}) == 1
    )


def test_a_readme_without_the_marks_is_left_alone(script: ModuleType) -> None:
    with pytest.raises(ValueError, match="lost the marks"):
        script.renewed("# Ricercar\n", catalogue.cards())

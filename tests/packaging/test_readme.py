"""The README says what the code says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

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


def test_a_readme_without_the_marks_is_left_alone(script: ModuleType) -> None:
    with pytest.raises(ValueError, match="lost the marks"):
        script.renewed("# Ricercar\n", catalogue.cards())

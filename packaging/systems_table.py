"""Writes the README's table of systems from their cards: python packaging/systems_table.py."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))

from models import catalogue  # noqa: E402 - found through the line above
from models.card import Card  # noqa: E402

BEGIN, END = "<!-- systems: packaging/systems_table.py -->", "<!-- end of systems -->"
HEAD = (
    "System (source)", "Makes", "Representation", "Architecture", "Challenges", "Strategy", "Tasks",
    "Measured",
)  # fmt: skip


def row(card: Card) -> tuple[str, ...]:
    """One system: who made it and when, the survey's five dimensions, what it can be asked for, and how well
    it does."""
    objective, representation = card.objective, card.representation
    dated = str(card.year) in card.source or not card.year
    return (
        f"**{card.name}** `{card.id}` ({card.source if dated else f'{card.source}; {card.year}'})",
        f"{objective.type}, {objective.destination}, {objective.mode}",
        f"{representation.name}, {representation.encoding}",
        card.architecture,
        ", ".join(card.challenges),
        ", ".join(card.strategy),
        ", ".join(card.tasks),
        card.figure,
    )


def table(cards: Iterable[Card]) -> str:
    """The table in Markdown."""
    rows = [HEAD, ("---",) * len(HEAD), *map(row, cards)]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in r) + " |" for r in rows)


def renewed(readme: str, cards: Iterable[Card]) -> str:
    """`readme` with the table between its two marks made anew. ValueError without the marks."""
    before, _, rest = readme.partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise ValueError(f"README.md has lost the marks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{table(cards)}\n{END}{after}"


if __name__ == "__main__":
    path = CHECKOUT / "README.md"
    path.write_text(renewed(path.read_text(encoding="utf-8"), catalogue.cards()), encoding="utf-8")

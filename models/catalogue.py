"""Finds the systems: their cards without running them, the systems themselves when one is wanted.

Cards are read from the source of `models/systems/*.py` as syntax (the `CARD = Card(…)` assignment, whose
words may only be those of `models.card`), so a browser can list them all without importing torch.
"""

from __future__ import annotations

import ast
import importlib
from functools import cache
from importlib import resources
from typing import Any

from models import card as vocabulary
from models.card import Card
from models.score import UserError
from models.system import System

_WORDS = {
    "Card": vocabulary.Card,
    "Objective": vocabulary.Objective,
    "Param": vocabulary.Param,
    "Representation": vocabulary.Representation,
}
_TABLES = {"LATENT_PARAMS": vocabulary.LATENT_PARAMS}


def _value(node: ast.expr) -> Any:
    """What a literal, a tuple, `Task.X`, or a call of a word of models.card stands for."""
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Tuple(elts=elts):
            return tuple(v for e in elts for v in _values(e))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.Attribute(value=ast.Name(id="Task"), attr=name):
            return vocabulary.Task[name]
        case ast.Call(func=ast.Name(id=word), args=args, keywords=keywords) if word in _WORDS:
            return _WORDS[word](
                *[_value(a) for a in args], **{str(k.arg): _value(k.value) for k in keywords}
            )
    raise ValueError(f"line {node.lineno}: a card holds literals and the words of models.card only")


def _values(node: ast.expr) -> tuple[Any, ...]:
    """What an element of a tuple adds to it: itself, or with a star the rows of a table."""
    match node:
        case ast.Starred(value=ast.Name(id=name)) if name in _TABLES:
            return _TABLES[name]
    return (_value(node),)


@cache
def cards() -> tuple[Card, ...]:
    """Every system's card, by name. Cached: the files do not change while the program runs."""
    found: list[Card] = []
    for file in resources.files("models.systems").iterdir():
        if not file.name.endswith(".py") or file.name.startswith("_"):
            continue
        try:
            found.extend(
                _value(node.value)
                for node in ast.parse(file.read_text("utf-8")).body
                if isinstance(node, ast.Assign)
                and any(isinstance(t, ast.Name) and t.id == "CARD" for t in node.targets)
            )
        except ValueError as error:
            raise ValueError(f"{file.name}, {error}") from None
    return tuple(sorted(found, key=lambda c: (c.name.casefold(), c.id)))


def card(system_id: str) -> Card:
    """The card with that id; UserError when there is none."""
    for found in cards():
        if found.id == system_id:
            return found
    known = ", ".join(c.id for c in cards())
    raise UserError(f"There is no system {system_id!r}; there are: {known}.")


def load(system_id: str, weights: Any = None, device: str = "cpu") -> System:
    """The system, with its shipped weights or those at `weights` (a path), on `device`.

    This is where torch is imported. UserError when the id is unknown or the weights can't be read.
    """
    card(system_id)
    module = importlib.import_module(f"models.systems.{system_id}")
    system: System = module.System.load(weights, device)
    return system

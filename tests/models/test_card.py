"""Parameters: what a card lets through, and what it says about the rest."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes import ToySystem

from models.card import Card, Param, Value
from models.score import UserError

WHOLE = Param("iterations", 500, 1, 5000)
REAL = Param("temperature", 1.0, 0.1, 2.0)
SWITCH = Param("strict", True)
CHOICE = Param("mood", "calm", choices=("calm", "wild"))
RANGE = Param("range", (53, 74), 0, 127)
CARD: Card = replace(ToySystem.card, params=(WHOLE, REAL, SWITCH, CHOICE, RANGE))


@pytest.mark.parametrize(
    ("param", "text", "value"),
    [
        (WHOLE, "1", 1),
        (WHOLE, "5000", 5000),
        (REAL, "0.1", 0.1),
        (REAL, "2", 2.0),
        (SWITCH, "off", False),
        (SWITCH, "YES", True),
        (CHOICE, "wild", "wild"),
        (RANGE, "60:60", (60, 60)),
    ],
)
def test_what_a_command_line_may_write(param: Param, text: str, value: Value) -> None:
    parsed = param.parse(text)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("param", "text", "remedy"),
    [
        (WHOLE, "0", "a whole number from 1 to 5000"),
        (WHOLE, "5001", "a whole number"),
        (WHOLE, "1.5", "a whole number"),
        (WHOLE, "many", "a whole number"),
        (REAL, "nan", "a number from 0.1 to 2"),
        (REAL, "inf", "a number"),
        (REAL, "", "a number"),
        (SWITCH, "maybe", "say on or off"),
        (CHOICE, "sad", "one of calm, wild"),
        (RANGE, "60", "LOW:HIGH between 0 and 127"),
        (RANGE, "70:60", "LOW:HIGH"),
        (RANGE, "0:128", "LOW:HIGH"),
    ],
)
def test_what_it_may_not_and_the_remedy(param: Param, text: str, remedy: str) -> None:
    with pytest.raises(UserError, match=remedy) as refusal:
        param.parse(text)
    assert str(refusal.value).startswith(f"{param.name}={text}")


@pytest.mark.parametrize(
    ("param", "value"), [(WHOLE, True), (WHOLE, 2.0), (SWITCH, 1), (CHOICE, 3), (RANGE, "1:2")]
)
def test_types_are_not_confused(param: Param, value: Value) -> None:
    with pytest.raises(UserError):
        param.check(value)


def test_a_card_fills_in_what_is_not_given() -> None:
    values = CARD.values({"iterations": 9, "temperature": 1})
    assert values == {
        "iterations": 9,
        "temperature": 1.0,
        "strict": True,
        "mood": "calm",
        "range": (53, 74),
    }
    assert isinstance(values["temperature"], float)
    assert CARD.parse({"strict": "no"})["strict"] is False


def test_an_unknown_parameter_is_answered_with_those_there_are() -> None:
    for ask in (CARD.values, CARD.parse):
        with pytest.raises(UserError, match="no parameter 'speed'; it has: iterations, temp"):
            ask({"speed": "9"})  # type: ignore[operator]

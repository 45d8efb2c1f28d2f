"""What MIDI controls can move: targets, as data, and how they are made of parameters, numbers and actions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from app.actions import Action
from app.controls import MIDDLE, Kind
from app.panels.parameters import LOGARITHMIC_FROM
from models.card import Card, Param, Value


def percent(share: float) -> str:
    """A share for the user."""
    return f"{share * 100:.0f} %"


def _unknown() -> float | None:
    return None


@dataclass(frozen=True)
class Target:
    """Something to be moved. `group` and `title` say what it is, `say` how a share of it reads.

    get: where it stands, 0–1, as `set` has left it at once even where it takes effect later; None when that
    is not known, and then nothing is waited for. set: move it to a share; an action is done whatever the
    share. UserError of it is told. places: how many values there are, 0 for any. settle: the hand rests.
    """

    id: str
    title: str
    kind: Kind
    set: Callable[[float], object]
    get: Callable[[], float | None] = _unknown
    group: str = ""
    places: int = 0
    say: Callable[[float], str] = percent
    settle: Callable[[], object] | None = None

    @property
    def whole_title(self) -> str:
        """Its title with its group."""
        return f"{self.group}: {self.title}" if self.group else self.title


def number(
    id: str,
    title: str,
    low: float,
    high: float,
    get: Callable[[], float | None],
    set: Callable[[float], object],
    *,
    whole: bool = False,
    group: str = "",
    unit: str = "",
    settle: Callable[[], object] | None = None,
) -> Target:
    """A number from `low` to `high`, by ratios where the parameter form's sliders go by ratios."""

    def place() -> float | None:
        value = get()
        return None if value is None else share_of(value, low, high)

    def value_at(share: float) -> float:
        value = number_at(share, low, high)
        return round(value) if whole else value

    def say(share: float) -> str:
        value = value_at(share)
        return f"{value if whole else round(value, 2):g}{unit}"

    places = round(high - low) + 1 if whole else 0
    return Target(
        id,
        title,
        Kind.NUMBER,
        lambda share: set(value_at(share)),
        place,
        group,
        places,
        say,
        settle,
    )


def choice(
    id: str,
    title: str,
    choices: Sequence[str],
    get: Callable[[], str | None],
    set: Callable[[str], object],
    *,
    group: str = "",
) -> Target:
    """One of a list."""
    last = max(len(choices) - 1, 1)

    def place() -> float | None:
        chosen = get()
        return choices.index(chosen) / last if chosen in choices else None

    def at(share: float) -> str:
        return choices[min(round(share * last), len(choices) - 1)]

    return Target(
        id, title, Kind.CHOICE, lambda share: set(at(share)), place, group, len(choices), at
    )


def switch(
    id: str,
    title: str,
    get: Callable[[], bool],
    set: Callable[[bool], object],
    *,
    group: str = "",
) -> Target:
    """Something on or off."""
    return Target(
        id,
        title,
        Kind.SWITCH,
        lambda share: set(share >= MIDDLE),
        lambda: float(get()),
        group,
        2,
        lambda share: "on" if share >= MIDDLE else "off",
    )


def action(id: str, title: str, run: Callable[[], object], *, group: str = "") -> Target:
    """Something that is done."""
    return Target(id, title, Kind.ACTION, lambda _: run(), group=group, say=lambda _: "")


def action_targets(
    actions: Iterable[Action], trigger: Callable[[str], object]
) -> tuple[Target, ...]:
    """A target "action/NAME" of each action; `trigger(name)` does it."""
    return tuple(
        action(f"action/{a.name}", a.text.rstrip("…"), partial(trigger, a.name), group=a.menu)
        for a in actions
    )


def parameter_id(card_id: str, name: str, end: str = "") -> str:
    """The target of a parameter; `end` is "low" or "high" where it is a range."""
    return f"param/{card_id}/{name}" + (f"/{end}" if end else "")


def parameter_targets(
    card: Card, get: Callable[[str], Value], set: Callable[[str, Value], object]
) -> tuple[Target, ...]:
    """The targets of a card's parameters, two of a range, none of a free text.

    get, set: a parameter's value by its name; both may be called whether or not its form is shown.
    """
    return tuple(t for param in card.params for t in _of_parameter(card, param, get, set))


def _of_parameter(
    card: Card, param: Param, get: Callable[[str], Value], set: Callable[[str, Value], object]
) -> Iterable[Target]:
    name, title = param.name, param.name.replace("_", " ").capitalize()
    id, group, default = parameter_id(card.id, name), card.name, param.default
    if isinstance(default, bool):
        yield switch(id, title, lambda: bool(get(name)), lambda on: set(name, on), group=group)
    elif isinstance(default, str):
        if param.choices:
            yield choice(
                id,
                title,
                param.choices,
                lambda: str(get(name)),
                lambda chosen: set(name, chosen),
                group=group,
            )
    elif isinstance(default, tuple):

        def at(end: int) -> float:
            return _number(get(name), end)

        def put(end: int, value: float) -> None:
            """Move an end, and the other along where it would be passed."""
            there = get(name)
            assert isinstance(there, tuple)
            now, key = list(there), round(value)
            now[end] = key
            now[1 - end] = max(now[1], key) if end == 0 else min(now[0], key)
            set(name, (now[0], now[1]))

        for end, word in enumerate(("low", "high")):
            yield number(
                parameter_id(card.id, name, word),
                f"{title}, {word}est",
                param.minimum,
                param.maximum,
                partial(at, end),
                partial(put, end),
                whole=True,
                group=group,
            )
    else:
        yield number(
            id,
            title,
            param.minimum,
            param.maximum,
            lambda: _number(get(name)),
            lambda value: set(name, value),
            whole=isinstance(default, int),
            group=group,
        )


def _number(value: Value, end: int = 0) -> float:
    if isinstance(value, tuple):
        return value[end]
    assert not isinstance(value, str)
    return value


def by_ratios(low: float, high: float) -> bool:
    """Whether a number in these bounds is moved by ratios rather than differences."""
    return low > 0 and high / low > LOGARITHMIC_FROM


def share_of(value: float, low: float, high: float) -> float:
    """Where `value` lies from `low` to `high`, 0–1."""
    value = min(max(value, low), high)
    if by_ratios(low, high):
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low) if high > low else 0.0


def number_at(share: float, low: float, high: float) -> float:
    """The number at a share of the way from `low` to `high`: the inverse of `share_of`."""
    if by_ratios(low, high):
        return min(float(low * (high / low) ** share), high)
    return low + (high - low) * share

"""What is turned on stage, and where in the bar one is: tables and arithmetic, no Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from engine.staging import Mode
from models.card import Card, Param, Task
from models.score import Score
from models.timebase import PPQ

MODES = tuple(Mode)

_TASKS: dict[Mode, tuple[Task, ...]] = {
    Mode.ANSWER: (Task.CONTINUE, Task.RESHAPE, Task.REGENERATE),
    Mode.HARMONISE: (Task.ACCOMPANY,),
    Mode.STREAM: (Task.CONTINUE,),
    Mode.MUTATE: (Task.REGENERATE,),
}


@dataclass(frozen=True)
class Dial:
    """A number turned on stage, from `low` to `high` in `step`s; it matters in `modes`."""

    name: str
    title: str
    low: float
    high: float
    step: float
    modes: tuple[Mode, ...] = MODES

    @property
    def whole(self) -> bool:
        """Whether it holds whole numbers alone."""
        return self.step == 1

    def share(self, number: float) -> float:
        """How far a number is of the way from `low` to `high`, 0–1."""
        return (number - self.low) / (self.high - self.low)

    def fit(self, number: float) -> float:
        """The nearest number it can hold."""
        number = min(max(number, self.low), self.high)
        return round(number) if self.whole else round(number, 2)


DIALS: dict[str, Dial] = {
    d.name: d
    for d in (
        Dial("density", "Density", -3, 3, 0.5),
        Dial("register", "Register", -2, 2, 1),
        Dial("bars", "Bars", 1, 16, 1, (Mode.ANSWER, Mode.STREAM)),
        Dial("rest", "Rest", 0.5, 4, 0.5, (Mode.ANSWER,)),
        Dial("passes", "Passes", 1, 16, 1, (Mode.MUTATE,)),
        Dial("share", "Share", 0.05, 1, 0.05, (Mode.MUTATE,)),
    )
}
"""The numbers that are fields of a Setting; the temperature is the system's (see `Performance.heat`)."""


class Place(NamedTuple):
    """Where a tick lies, as musicians count: bar (a pickup is 0) and beat from 1, of `beats`; `progress` is how
    far the beat is, 0–1."""

    bar: int
    beat: int
    beats: int
    progress: float


def place(score: Score, tick: float) -> Place:
    """The bar and the beat of a tick."""
    position = score.meter.position(int(tick))
    beat_ticks = score.meter.beat_ticks(tick)
    numerator, denominator = score.meter.at(tick)
    whole = numerator * 4 * PPQ // denominator
    missing = (
        whole - position.length if position.bar == 0 else 0
    )  # a pickup holds a bar's last beats
    beat, rest = divmod(position.offset + missing, beat_ticks)
    return Place(
        position.bar, beat + 1, -(-whole // beat_ticks), (rest + tick - int(tick)) / beat_ticks
    )


HEAT = "temperature"
HEATS = (HEAT, "radius")
"""The parameters that say how bold a system is, the first that it has for a mode's tasks."""


def heat(card: Card | None, mode: Mode) -> Param | None:
    """The parameter that says how bold a system is in a mode, if it has one."""
    for name in HEATS:
        for param in card.params if card is not None else ():
            fits = not param.tasks or any(t in _TASKS[mode] for t in param.tasks)
            if param.name == name and fits and not isinstance(param.default, bool | str | tuple):
                return param
    return None

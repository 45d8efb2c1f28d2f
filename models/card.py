"""Card: what a system is, as data, by the survey's five dimensions (Briot, Hadjeres & Pachet, ch. 3–7).

The browser, the parameter form, `ricercar systems`, the README's table and the tests read cards; none
of them needs the system's code, so none of them waits for torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from models.score import UserError

Value = bool | int | float | str | tuple[int, int]
"""What a parameter can hold; a pair of ints is a range, as of pitches."""


class Task(StrEnum):
    """What a musician can ask for."""

    CREATE = "create"
    CONTINUE = "continue"
    ACCOMPANY = "accompany"
    REGENERATE = "regenerate"
    INTERPOLATE = "interpolate"
    RESHAPE = "reshape"


@dataclass(frozen=True)
class Objective:
    """Dimension one: what is made (melody, polyphony, chords, …), for whom, with how much of the user in it."""

    type: str
    destination: str
    mode: str


@dataclass(frozen=True)
class Representation:
    """Dimension two: how music meets the network; `name` is a module of models.representations."""

    name: str
    steps_per_beat: int
    hold: bool
    encoding: str


@dataclass(frozen=True)
class Param:
    """One knob. The default's type is the parameter's type; `choices` makes it a list to pick from.

    minimum and maximum bound numbers, and both ends of a range. `about` is the tooltip. `tasks` are
    those it matters to, all when empty.
    """

    name: str
    default: Value
    minimum: float = 0
    maximum: float = 1
    about: str = ""
    choices: tuple[str, ...] = ()
    tasks: tuple[Task, ...] = ()

    def parse(self, text: str) -> Value:
        """The value a command line wrote, e.g. "0.8", "on", "53:74"; UserError when it is none."""
        try:
            if isinstance(self.default, bool):
                if text.lower() not in ("on", "off", "true", "false", "yes", "no", "1", "0"):
                    raise ValueError
                return self.check(text.lower() in ("on", "true", "yes", "1"))
            if isinstance(self.default, tuple):
                low, high = text.split(":")
                return self.check((int(low), int(high)))
            return self.check(type(self.default)(text))
        except ValueError:
            raise UserError(f"{self.name}={text}: {self._remedy()}.") from None

    def check(self, value: Value) -> Value:
        """`value`, once it is known to be of the right type and within bounds; else UserError."""
        ok = isinstance(value, type(self.default)) or (
            isinstance(self.default, float) and type(value) is int
        )
        if isinstance(self.default, int) and not isinstance(self.default, bool):
            ok = ok and not isinstance(value, bool)
        if ok and isinstance(value, str):
            ok = value in self.choices if self.choices else True
        elif ok and isinstance(value, tuple):
            ok = self.minimum <= value[0] <= value[1] <= self.maximum
        elif ok and not isinstance(value, bool):
            assert isinstance(value, int | float)
            ok = self.minimum <= value <= self.maximum
        if not ok:
            shown = ":".join(map(str, value)) if isinstance(value, tuple) else value
            raise UserError(f"{self.name}={shown}: {self._remedy()}.")
        return float(value) if isinstance(self.default, float) and isinstance(value, int) else value

    def _remedy(self) -> str:
        if self.choices:
            return "choose one of " + ", ".join(self.choices)
        if isinstance(self.default, bool):
            return "say on or off"
        if isinstance(self.default, tuple):
            return f"give LOW:HIGH between {self.minimum:g} and {self.maximum:g}"
        if isinstance(self.default, str):
            return "give a text"
        kind = "whole number" if isinstance(self.default, int) else "number"
        return f"give a {kind} from {self.minimum:g} to {self.maximum:g}"


_PUSH = (Task.RESHAPE,)

LATENT_PARAMS: tuple[Param, ...] = (
    Param(
        "steps",
        8,
        3,
        32,
        "How many phrases the path has, both ends included",
        tasks=(Task.INTERPOLATE,),
    ),
    Param(
        "path",
        "spherical",
        about="How to go from one code to the other",
        choices=("spherical", "linear"),
        tasks=(Task.INTERPOLATE,),
    ),
    Param(
        "ends",
        "exact",
        about="Begin and end with the phrases themselves, or as they are decoded",
        choices=("exact", "decoded"),
        tasks=(Task.INTERPOLATE,),
    ),
    Param(
        "radius",
        0.5,
        0,
        3,
        "How far from the phrase to look, in the codes' standard deviations",
        tasks=(Task.REGENERATE,),
    ),
    Param(
        "temperature",
        1.0,
        0,
        2,
        "How far from the middle of the corpus, and how freely drawn",
        tasks=(Task.CREATE,),
    ),
    Param("density", 0.0, -3, 3, "More notes or fewer", tasks=_PUSH),
    Param("range", 0.0, -3, 3, "A wider or a narrower compass", tasks=_PUSH),
    Param("pitch", 0.0, -3, 3, "Higher or lower", tasks=_PUSH),
    Param("syncopation", 0.0, -3, 3, "Off the beat or on it", tasks=_PUSH),
    Param("leaps", 0.0, -3, 3, "Leaps or steps", tasks=_PUSH),
    Param("repetition", 0.0, -3, 3, "More of the same, or less", tasks=_PUSH),
    Param("contour", 0.0, -3, 3, "Rising or falling", tasks=_PUSH),
    Param("rhythm", 0.0, -3, 3, "More kinds of durations, or fewer", tasks=_PUSH),
    Param("tension", 0.0, -3, 3, "Away from the key or in it", tasks=_PUSH),
    Param("map_x", 0.0, -20, 20, "How far to move on the latent map, to the right", tasks=_PUSH),
    Param("map_y", 0.0, -20, 20, "How far to move on the latent map, upwards", tasks=_PUSH),
)
"""What every system with a latent space of melodies takes; the sliders are in standard deviations of the
corpus. A card names it with a star."""


@dataclass(frozen=True)
class Card:
    """One system of the survey. `voices` are the parts it writes, highest first; `listens` says what
    `accompany` needs; `strengths` and `weaknesses` are honest sentences for the browser, and `figure` is
    what was measured of it, as `ricercar evaluate` prints it, in a few words."""

    id: str
    name: str
    source: str
    objective: Objective
    representation: Representation
    architecture: str
    challenges: tuple[str, ...]
    strategy: tuple[str, ...]
    tasks: tuple[Task, ...]
    params: tuple[Param, ...] = ()
    voices: tuple[str, ...] = ()
    listens: str = ""
    strengths: str = ""
    weaknesses: str = ""
    year: int = 0
    figure: str = ""

    def values(self, given: Mapping[str, Value] | None = None) -> dict[str, Value]:
        """Every parameter's value: the default unless `given` names another. UserError for unknown
        names and values out of range."""
        given = dict(given or {})
        values = {p.name: p.check(given.pop(p.name, p.default)) for p in self.params}
        if given:
            unknown = next(iter(given))
            known = ", ".join(p.name for p in self.params) or "none"
            raise UserError(f"{self.name} has no parameter {unknown!r}; it has: {known}.")
        return values

    def parse(self, text: Mapping[str, str]) -> dict[str, Value]:
        """As `values`, from what a command line wrote."""
        by_name = {p.name: p for p in self.params}
        known = {k: by_name[k].parse(v) for k, v in text.items() if k in by_name}
        return self.values({**known, **{k: v for k, v in text.items() if k not in by_name}})

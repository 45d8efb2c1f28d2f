"""What MIDI controls can be taught to move of a performance."""

from __future__ import annotations

from collections.abc import Callable

from app import targets
from app.controls import Kind
from app.dials import DIALS, HEAT, MODES
from app.performing import TITLES, Performance
from app.targets import Target
from engine.staging import Mode, Quantum

GROUP = "Stage"
"""What MIDI learning calls all this."""
PREFIX = "stage/"
LATE = ("vary", "repeat")


def of(performance: Performance) -> tuple[Target, ...]:
    """Dials (those that mean nothing now stand nowhere and stay), what is chosen from a list, and all that is done
    with one press."""

    def deed(name: str, title: str, run: Callable[[], object]) -> Target:
        return targets.action(PREFIX + name, title, run, group=GROUP)

    titles = {HEAT: "Temperature"} | {d.name: d.title for d in DIALS.values()}
    return (
        *(_dial(performance, name, title) for name, title in titles.items()),
        targets.choice(
            f"{PREFIX}mode",
            "Mode",
            MODES,
            lambda: performance.mode,
            lambda m: performance.set_mode(Mode(m)),
            group=GROUP,
        ),
        targets.choice(
            f"{PREFIX}quantum",
            "Changes at",
            tuple(Quantum),
            lambda: performance.setting.quantum,
            lambda q: performance.set_quantum(Quantum(q)),
            group=GROUP,
        ),
        targets.choice(
            f"{PREFIX}late",
            "If late",
            LATE,
            lambda: LATE[performance.setting.repeat],
            lambda word: performance.set_repeat(word == "repeat"),
            group=GROUP,
        ),
        deed("pad", "Pad (answer now)", performance.pad),
        deed("go", "Go", performance.go),
        deed("halt", "Halt", performance.halt),
        deed("panic", "Panic", performance.panic),
        deed("next", "Next system", lambda: performance.step_system(1)),
        deed("previous", "System before", lambda: performance.step_system(-1)),
        deed("voice", "Next voice to mutate", lambda: performance.step_voice(1)),
        deed("input", "Next MIDI input", lambda: performance.step_input(1)),
        deed("keep", "Keep", performance.keep),
        *(deed(m, TITLES[m], lambda m=m: performance.set_mode(m)) for m in MODES),  # type: ignore[misc]
    )


def _dial(performance: Performance, name: str, title: str) -> Target:
    def at(share: float) -> float:
        dial = performance.dials[name]
        return dial.fit(dial.low + share * (dial.high - dial.low))

    def place() -> float | None:
        dial = performance.dials.get(name)
        return None if dial is None else dial.share(performance.value(name))

    def put(share: float) -> None:
        if name in performance.dials:
            performance.turn(name, at(share))

    def say(share: float) -> str:
        return f"{at(share):g}" if name in performance.dials else ""

    return Target(PREFIX + name, title, Kind.NUMBER, put, place, group=GROUP, say=say)

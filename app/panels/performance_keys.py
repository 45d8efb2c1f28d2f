"""Every key of the performance view, as a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.dials import HEAT, MODES
from app.performing import TITLES

if TYPE_CHECKING:
    from app.panels.performance import PerformanceView


@dataclass(frozen=True)
class Command:
    """What some keys do. `again`: while they are held down it is done again and again."""

    keys: tuple[str, ...]
    text: str
    run: Callable[[PerformanceView], object]
    again: bool = False


def _turn(name: str, by: int) -> Callable[[PerformanceView], object]:
    return lambda v: v.performance.step(name, by)


COMMANDS: tuple[Command, ...] = (
    *(
        Command((str(i + 1),), TITLES[m], lambda v, m=m: v.performance.set_mode(m))  # type: ignore[misc]
        for i, m in enumerate(MODES)
    ),
    Command(("G",), "Go", lambda v: v.performance.go()),
    Command(("H",), "Halt", lambda v: v.performance.halt()),
    Command(("Space", "Return", "Enter"), "Pad: answer now", lambda v: v.performance.pad()),
    Command(("K",), "Keep what was made", lambda v: v.performance.keep()),
    Command(
        ("Backspace", "Ctrl+."),
        "Panic: all silent",
        lambda v: v.performance.panic(),
    ),
    Command(("Ctrl+Z",), "Undo the last edit", lambda v: v.performance.session.undo()),
    Command(("P",), "Play or stop the music", lambda v: v.performance.player.toggle()),
    Command(("Home",), "To the beginning", lambda v: v.performance.session.seek(0)),
    Command(("]",), "Next system", lambda v: v.performance.step_system(1)),
    Command(("[",), "System before", lambda v: v.performance.step_system(-1)),
    Command(("Up",), "Bolder", _turn(HEAT, 1), True),
    Command(("Down",), "Tamer", _turn(HEAT, -1), True),
    Command(("Right",), "Denser", _turn("density", 1), True),
    Command(("Left",), "Sparser", _turn("density", -1), True),
    Command(("PgUp",), "An octave higher", _turn("register", 1)),
    Command(("PgDown",), "An octave lower", _turn("register", -1)),
    Command(("+", "="), "More bars", _turn("bars", 1), True),
    Command(("-",), "Fewer bars", _turn("bars", -1), True),
    Command(("Q",), "By the bar, or the beat", lambda v: v.switch_quantum()),
    Command(("R",), "Longer rest", _turn("rest", 1), True),
    Command(("Shift+R",), "Shorter rest", _turn("rest", -1), True),
    Command(("L",), "If late: vary, or repeat", lambda v: v.switch_late()),
    Command(("N",), "More passes", _turn("passes", 1), True),
    Command(("Shift+N",), "Fewer passes", _turn("passes", -1), True),
    Command(("S",), "Larger share", _turn("share", 1), True),
    Command(("Shift+S",), "Smaller share", _turn("share", -1), True),
    Command(("V",), "Next voice to mutate", lambda v: v.performance.step_voice(1)),
    Command(("Shift+V",), "Voice before", lambda v: v.performance.step_voice(-1)),
    Command(("I",), "Next MIDI input", lambda v: v.performance.step_input(1)),
    Command(("Shift+I",), "MIDI input before", lambda v: v.performance.step_input(-1)),
    Command(("O",), "Where it sounds…", lambda v: v.show_sounds()),
    Command(("E",), "Every knob…", lambda v: v.show_knobs()),
    Command(("Tab", "Shift+Tab"), "Next control: ← → turn it", lambda v: None),
    Command(("F11", "F"), "Full screen", lambda v: v.toggle_full_screen()),
    Command(("?", "F1"), "These keys", lambda v: v.show_keys()),
    Command(("Esc",), "Back; what runs goes on", lambda v: v.back()),
    Command(("F8",), "To the window", lambda v: v.close()),
)
"""Every key of the view."""

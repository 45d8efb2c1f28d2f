"""Controllers: knobs and faders of a MIDI input that move things of ours, and how they are taught to."""

from __future__ import annotations

from PySide6.QtCore import QObject, QSettings, Signal

TARGETS: dict[str, str] = {
    "map_x": "Map, left and right",
    "map_y": "Map, down and up",
    "path": "Path from A to B",
}
"""What a controller can move, and what to call it."""

FULL = 127


class Controllers(QObject):
    """Which controller moves what; `moved(target, share)` when one goes to `share` (0–1) of its way.

    A controller is taught by moving it while `learning`; it is remembered in `settings`.
    """

    moved = Signal(str, float)
    learnt = Signal(str)

    def __init__(self, settings: QSettings, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._settings = settings
        self.learning: str | None = None
        self._number: dict[str, int] = {}
        for target in TARGETS:
            stored = str(settings.value(f"controller_{target}", ""))
            if stored.isdigit() and int(stored) <= FULL:
                self._number[target] = int(stored)

    def number(self, target: str) -> int | None:
        """The controller that moves the target, or None."""
        return self._number.get(target)

    def learn(self, target: str) -> None:
        """The next controller that moves is to move the target."""
        self.learning = target

    def forget(self) -> None:
        """No controller moves anything any more."""
        self.learning = None
        self._number.clear()
        for target in TARGETS:
            self._settings.remove(f"controller_{target}")

    def heard(self, number: int, value: int) -> None:
        """A controller has been moved to a value, both 0–127."""
        if self.learning is not None:
            target, self.learning = self.learning, None
            self._number = {t: n for t, n in self._number.items() if n != number}
            self._number[target] = number
            for each in TARGETS:
                self._settings.setValue(f"controller_{each}", str(self._number.get(each, "")))
            self.learnt.emit(target)
        for target, own in self._number.items():
            if own == number:
                self.moved.emit(target, value / FULL)

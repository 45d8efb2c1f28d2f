"""Errands: slow work with files, off the GUI thread, one sentence when it fails."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from PySide6.QtCore import QObject, Signal

from app.bridge import Bridge
from models.score import UserError

T = TypeVar("T")


class Errands(QObject):
    """Runs functions on threads of their own and hands their results to the GUI thread.

    `failed(sentence)` when one raises UserError; `busy_changed(what)` names what is being done, or "".
    """

    failed = Signal(str)
    busy_changed = Signal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._bridge = Bridge(self._back, self)
        self._under_way: list[str] = []

    @property
    def busy(self) -> bool:
        """Whether anything is being done."""
        return bool(self._under_way)

    def run(self, what: str, work: Callable[[], T], done: Callable[[T], None]) -> None:
        """Do `work` on a thread, then call `done` with its result here. `what` is for the status line."""

        def body() -> None:
            try:
                result = work()
            except UserError as error:
                sentence = str(error)
                self._bridge(lambda: self.failed.emit(sentence))
            except Exception as error:  # the fault of one file must not cost the window
                sentence = f"{what} failed ({type(error).__name__}: {error})."
                self._bridge(lambda: self.failed.emit(sentence))
            else:
                self._bridge(lambda: done(result))
            self._bridge(lambda: self._ended(what))

        self._under_way.append(what)
        self.busy_changed.emit(what)
        threading.Thread(target=body, name="errand", daemon=True).start()

    def close(self) -> None:
        """Results that come from now on are forgotten."""
        self._bridge.close()

    def _ended(self, what: str) -> None:
        self._under_way.remove(what)
        self.busy_changed.emit(self._under_way[-1] if self._under_way else "")

    def _back(self, call: object) -> None:
        assert callable(call)
        call()

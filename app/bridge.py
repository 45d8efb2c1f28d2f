"""The only door between threads: what another thread calls becomes a queued Qt signal."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QObject, Qt, Signal


class Bridge(QObject):
    """A callable for other threads; `receive(message)` then runs in the thread this object lives in.

    After `close` messages go nowhere, so that a thread that is still ending may go on calling.
    """

    _sent = Signal(object)

    def __init__(self, receive: Callable[[object], None], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._receive: Callable[[object], None] | None = receive
        self._sent.connect(self._deliver, Qt.ConnectionType.QueuedConnection)

    def __call__(self, message: object) -> None:
        if self._receive is not None:
            try:
                self._sent.emit(message)
            except RuntimeError:  # Qt has gone without closing, as when the display is lost
                self._receive = None

    def close(self) -> None:
        """Deliver nothing more, not even what is on its way."""
        self._receive = None

    def _deliver(self, message: object) -> None:
        if self._receive is not None:
            self._receive(message)

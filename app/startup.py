"""Starting the window and ending the process after it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from PySide6.QtCore import QEvent, QObject, QSettings, QTimer
from PySide6.QtWidgets import QApplication

from app import theme
from app.files import blank
from app.session import Session
from app.window import Window
from engine.document import Document

LAST_SECONDS = 2.0
"""How long the process outlives its closed window for the engine's sake."""


class FirstFrame(QObject):
    """Calls back once, when the canvas has painted its first frame."""

    def __init__(self, window: Window, then: Callable[[Window], None]) -> None:
        super().__init__(window)
        self._window, self._then = window, then
        window.roll.canvas.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Paint:
            watched.removeEventFilter(self)
            QTimer.singleShot(0, lambda: self._then(self._window))
        return False


def run(arguments: Sequence[str], *, painted: Callable[[Window], None] | None = None) -> int:
    """Open the window, with a file when one is named, and work until it is closed.

    `painted` is called when the first frame of the roll is on the screen.
    """
    application = QApplication([sys.argv[0], *arguments])
    application.setApplicationName("Ricercar")
    application.setDesktopFileName("ricercar")
    theme.apply(application)
    settings = QSettings(
        QSettings.Format.IniFormat, QSettings.Scope.UserScope, "Ricercar", "Ricercar"
    )
    window = Window(Session(Document(blank())), settings)
    last = Path(str(settings.value("last", "")))
    if arguments:
        window.files.adopt(blank(), "")
        QTimer.singleShot(0, lambda: window.files.open_path(Path(arguments[0])))
    elif last.is_file():
        window.files.open_path(last)
    if window.session.document.journal is None:
        window.open_demo()
    if painted is not None:
        FirstFrame(window, painted)
    window.show()
    status = application.exec()
    # Both are asked, one after the other, as each waits for its own thread.
    ended = [window.composer.ended(LAST_SECONDS), window.performance.ended(LAST_SECONDS)]
    if not all(ended):
        # Inside an import or a long step of torch; Python would tear both down and abort. Nothing is
        # lost: every commit is on the disk, ports and files are closed.
        sys.stdout.flush()
        os._exit(status)
    return status

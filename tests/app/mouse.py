"""A mouse for tests: real Qt events with buttons and modifiers, sent where a user's would arrive."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QMouseEvent, QWheelEvent
from PySide6.QtWidgets import QApplication, QWidget

NONE = Qt.KeyboardModifier.NoModifier
SHIFT = Qt.KeyboardModifier.ShiftModifier
CONTROL = Qt.KeyboardModifier.ControlModifier
ALT = Qt.KeyboardModifier.AltModifier
LEFT, RIGHT = Qt.MouseButton.LeftButton, Qt.MouseButton.RightButton
MIDDLE = Qt.MouseButton.MiddleButton

Place = tuple[float, float]


def _send(
    widget: QWidget,
    kind: QEvent.Type,
    at: Place,
    button: Qt.MouseButton,
    held: Qt.MouseButton,
    keys: Qt.KeyboardModifier,
) -> None:
    where = QPointF(*at)
    event = QMouseEvent(kind, where, QPointF(widget.mapToGlobal(where)), button, held, keys)
    QApplication.sendEvent(widget, event)


def press(
    widget: QWidget, at: Place, keys: Qt.KeyboardModifier = NONE, button: Qt.MouseButton = LEFT
) -> None:
    _send(widget, QEvent.Type.MouseButtonPress, at, button, button, keys)


def move(
    widget: QWidget, at: Place, keys: Qt.KeyboardModifier = NONE, button: Qt.MouseButton = LEFT
) -> None:
    _send(widget, QEvent.Type.MouseMove, at, Qt.MouseButton.NoButton, button, keys)


def release(
    widget: QWidget, at: Place, keys: Qt.KeyboardModifier = NONE, button: Qt.MouseButton = LEFT
) -> None:
    _send(widget, QEvent.Type.MouseButtonRelease, at, button, Qt.MouseButton.NoButton, keys)


def hover(widget: QWidget, at: Place) -> None:
    move(widget, at, button=Qt.MouseButton.NoButton)


def click(
    widget: QWidget, at: Place, keys: Qt.KeyboardModifier = NONE, button: Qt.MouseButton = LEFT
) -> None:
    press(widget, at, keys, button)
    release(widget, at, keys, button)


def double_click(widget: QWidget, at: Place) -> None:
    click(widget, at)
    _send(widget, QEvent.Type.MouseButtonDblClick, at, LEFT, LEFT, NONE)
    release(widget, at)


def drag(
    widget: QWidget,
    path: list[Place],
    keys: Qt.KeyboardModifier = NONE,
    button: Qt.MouseButton = LEFT,
) -> None:
    """Press at the first place, move through the others, release at the last."""
    press(widget, path[0], keys, button)
    for at in path[1:]:
        move(widget, at, keys, button)
    release(widget, path[-1], keys, button)


def wheel(widget: QWidget, at: Place, notches: float, keys: Qt.KeyboardModifier = NONE) -> None:
    where = QPointF(*at)
    event = QWheelEvent(
        where,
        QPointF(widget.mapToGlobal(where)),
        QPoint(),
        QPoint(0, round(120 * notches)),
        Qt.MouseButton.NoButton,
        keys,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(widget, event)

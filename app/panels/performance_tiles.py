"""The performance view's controls: tiles that are stepped through, and big keys."""

from __future__ import annotations

from PySide6.QtCore import QRectF, Qt, Signal
from PySide6.QtGui import QFont, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen, QWheelEvent

from app import theme
from app.panels.performance_text import FOCUS_PX, LARGE, SMALL, Painted

ENTER = (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Select)
NOTCH = 120
"""What Qt calls one step of a wheel, in eighths of a degree."""
LINE = 0.04
"""How high a line of a tile is, as a share of the unit."""
LEAST = 0.02
"""How low a value's letters may become, as a share of the unit."""
SHARE_PX = 5
"""The room of the line that says how far a value is of its way."""


class Touched(Painted):
    """Something painted that is reached by Tab, and shows that it is."""

    def __init__(self, name: str, tip: str) -> None:
        super().__init__(name)
        self.setToolTip(tip)
        # A click leaves the focus where it is, so that Return goes on being the pad.
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setAttribute(Qt.WidgetAttribute.WA_Hover)

    def ground(self, painter: QPainter, shade: str, rim: str = "") -> QRectF:
        """Paint what lies under the words; returns the room for them."""
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        box = QRectF(self.rect()).adjusted(1.5, 1.5, -1.5, -1.5)
        if self.hasFocus():
            painter.setPen(QPen(theme.colour("selected"), FOCUS_PX))
        elif rim:
            painter.setPen(QPen(theme.colour(rim), 2))
        else:
            painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.colour(shade))
        painter.drawRoundedRect(box, 8, 8)
        edge = 0.014 * self.unit
        return box.adjusted(edge, 0, -edge, 0)


class Tile(Touched):
    """A setting: its name and keys above, its value below. `stepped(by)`: the user wants it so many steps on.

    It is stepped by ← and →, by Return, by a click on its left or right half and by the wheel.
    """

    stepped = Signal(int)

    def __init__(self, name: str, title: str, keys: str, tip: str) -> None:
        super().__init__(name, tip)
        self.title, self.keys = title, keys
        self.value, self.share = "", -1.0
        self._turned = 0

    def show_value(self, value: str | None, share: float = -1.0, title: str = "") -> None:
        """Show a value, and how far it is of its way (0–1); None where the setting means nothing now."""
        new = (value or "–", share, title or self.title)
        if new != (self.value, self.share, self.title) or self.isEnabled() != (value is not None):
            self.value, self.share, self.title = new
            self.setEnabled(value is not None)
            self.setAccessibleName(self.title)
            self.setAccessibleDescription(self.value)
            self.update()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key = Qt.Key(event.key())
        steps = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1} | dict.fromkeys(ENTER, 1)
        if key in steps and not event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier:
            self.stepped.emit(steps[key])
        else:
            super().keyPressEvent(event)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self.stepped.emit(1 if event.position().x() >= self.width() / 2 else -1)

    def wheelEvent(self, event: QWheelEvent) -> None:
        self._turned += event.angleDelta().y()
        steps, self._turned = int(self._turned / NOTCH), self._turned % NOTCH
        if steps:
            self.stepped.emit(steps)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        on = self.isEnabled()
        box = self.ground(painter, "panel" if on else "field")
        dim, medium = "text_dim" if on else "text_faint", QFont.Weight.Medium
        right = Qt.AlignmentFlag.AlignRight
        if self.height() < 2 * LINE * self.unit:  # room for one line: the value says enough
            below = box
        else:
            half = (box.height() - SHARE_PX) / 2
            above = QRectF(box.left(), box.top(), box.width(), half)
            below = above.translated(0, half)
            self.write(painter, above, self.title, SMALL, dim, weight=medium)
        taken = self.write(painter, below, self.keys, SMALL, dim, right, medium)
        rest = below.adjusted(0, 0, -taken - 0.01 * self.unit, 0)
        shade = "selected" if on else "text_faint"
        if on and self.share >= 0:
            painter.setPen(Qt.PenStyle.NoPen)
            line = QRectF(box.left(), box.bottom() - SHARE_PX, box.width(), 3)
            painter.setBrush(theme.colour("line"))
            painter.drawRoundedRect(line, 1.5, 1.5)
            line.setWidth(max(line.width() * self.share, 3))
            painter.setBrush(theme.colour("accent"))
            painter.drawRoundedRect(line, 1.5, 1.5)
        self.write(painter, rest, self.value, SMALL * 1.1, shade, least=LEAST)


class Choice(Touched):
    """One of several: a mode. `pressed` when it is chosen."""

    pressed = Signal()

    def __init__(self, name: str, title: str, keys: str, tip: str) -> None:
        super().__init__(name, tip)
        self.title, self.keys = title, keys
        self.chosen = False
        self.setAccessibleName(title)

    def choose(self, chosen: bool) -> None:
        """Show whether it is the one."""
        if chosen != self.chosen:
            self.chosen = chosen
            self.setAccessibleDescription("chosen" if chosen else "")
            self.update()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if Qt.Key(event.key()) in ENTER:
            self.pressed.emit()
        else:
            super().keyPressEvent(event)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self.pressed.emit()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        chosen = self.chosen
        box = self.ground(painter, "accent_deep" if chosen else "panel", "accent" if chosen else "")
        taken = self.write(painter, box, self.keys, SMALL, "selected" if chosen else "text_dim")
        rest = box.adjusted(taken + 0.012 * self.unit, 0, 0, 0)
        self.write(painter, rest, self.title, SMALL * 1.1, "selected" if chosen else "text")


class BigKey(Touched):
    """Something to do at once: a word as large as what is read from afar, and its key."""

    pressed = Signal()

    def __init__(self, name: str, title: str, keys: str, tip: str, kind: str = "text") -> None:
        super().__init__(name, tip)
        self.title, self.keys, self.kind = title, keys, kind
        self.setAccessibleName(title)

    def show_title(self, title: str, keys: str, kind: str) -> None:
        """Show another word and its key, in another colour."""
        if (title, keys, kind) != (self.title, self.keys, self.kind):
            self.title, self.keys, self.kind = title, keys, kind
            self.setAccessibleName(title)
            self.update()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if Qt.Key(event.key()) in ENTER:
            if not event.isAutoRepeat():
                self.pressed.emit()
        else:
            super().keyPressEvent(event)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self.pressed.emit()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        full = self.kind == "danger"
        box = self.ground(painter, self.kind if full else "raised")
        shade = "ink" if full else self.kind
        taken = self.write(
            painter,
            box,
            self.keys,
            SMALL,
            "ink" if full else "text_dim",
            Qt.AlignmentFlag.AlignRight,
        )
        rest = box.adjusted(0, 0, -taken - 6, 0)
        self.write(painter, rest, self.title, LARGE, shade, weight=QFont.Weight.Bold)

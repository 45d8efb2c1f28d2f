"""View: the one viewport that canvas, ruler, keys and velocity lane share, and how the wheel moves it."""

from __future__ import annotations

from PySide6.QtCore import QObject, QPointF, Qt, Signal
from PySide6.QtGui import QWheelEvent

from app.pianoroll.viewport import Viewport
from models.timebase import PPQ

NOTCH = 120
"""What Qt calls one notch of a wheel, in eighths of a degree."""
LINE_PX = 56.0
"""Pixels scrolled a notch."""
ZOOM = 1.22
"""Magnification a notch."""
LEAST_TICKS = 64 * PPQ
"""Even an empty piece can be zoomed out to this much."""


class View(QObject):
    """Holds the viewport; `changed` follows every change of it.

    `length` is the piece's in ticks: one can't zoom out much further than to see it whole.
    """

    changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewport = Viewport()
        self._zoom_rest = 0.0
        self.length = 0

    @property
    def viewport(self) -> Viewport:
        """What is shown now."""
        return self._viewport

    def show(self, viewport: Viewport) -> None:
        """Show something else."""
        if viewport != self._viewport:
            self._viewport = viewport
            self.changed.emit()

    def resize(self, width: int | None = None, height: int | None = None) -> None:
        """The canvas has another size now."""
        old = self._viewport
        self.show(
            old.resized(
                old.width if width is None else width, old.height if height is None else height
            )
        )

    def zoom_time(self, factor: float, x: float) -> None:
        """Magnify in time about x."""
        old = self._viewport
        least = old.width / (1.25 * max(self.length, LEAST_TICKS))
        if factor < 1:
            factor = min(max(factor, least / old.scale), 1.0)
        self.show(old.zoomed_time(factor, x))

    def wheel(self, event: QWheelEvent, at: QPointF, *, sideways: bool = False) -> None:
        """Scroll, or zoom about `at` (canvas coordinates): with Ctrl in time, with Ctrl+Shift in pitch.

        Shift scrolls sideways; so does every plain turn where `sideways`, over the ruler.
        """
        event.accept()
        keys = event.modifiers()
        pixels, angle = event.pixelDelta(), event.angleDelta()
        if keys & Qt.KeyboardModifier.ControlModifier:
            turn = (angle.y() or angle.x()) / NOTCH
            if keys & Qt.KeyboardModifier.ShiftModifier:
                self._zoom_rest += turn * max(self._viewport.row / 8, 1)
                steps = int(self._zoom_rest)
                self._zoom_rest -= steps
                self.show(self._viewport.zoomed_pitch(steps, at.y()))
            else:
                self.zoom_time(ZOOM**turn, at.x())
            return
        if not pixels.isNull():
            dx, dy = -float(pixels.x()), -float(pixels.y())
        else:
            dx, dy = -angle.x() / NOTCH * LINE_PX, -angle.y() / NOTCH * LINE_PX
        if (sideways or keys & Qt.KeyboardModifier.ShiftModifier) and not dx:
            dx, dy = dy, 0.0
        self.show(self._viewport.scrolled(dx, dy))

"""The performance view's letters: how high they are, and the base of what is painted with them.

Heights are of capitals and figures, as shares of the view's height. A letter is read with ease at 20 minutes of arc
and still read at 16 (ISO 9241-303); normal sight resolves one of 5. At two metres those are 11.6, 9.3 and
2.9 mm (2 m × tan of the angle). The picture of a 14″ laptop at 16:10 is 188 mm high, so that

    HUGE .205 is 39 mm, 66 minutes: bar and beat, from the corner of an eye;
    LARGE .052 is 9.8 mm, 17 minutes, and STATE .06: what is read while one plays;
    MIDDLE .038 is 7.1 mm, 12 minutes: how often it was late, and long words;
    SMALL .026 is 4.9 mm, 8 minutes: what is set between pieces, legible without leaning forward.
"""

from __future__ import annotations

from functools import cache

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QPainter
from PySide6.QtWidgets import QSizePolicy, QWidget

from app import theme

HUGE, STATE, LARGE, MIDDLE, SMALL = 0.205, 0.06, 0.052, 0.038, 0.026

FOCUS_PX = 3
FITTING, SPARE_PX = 0.98, 1
"""How much of its room a line that is made smaller takes."""


@cache
def _capital(weight: int) -> float:
    """How high a capital is, as a share of the font's size."""
    font = QFont()
    font.setPixelSize(200)
    font.setWeight(QFont.Weight(weight))
    return QFontMetricsF(font).capHeight() / 200


def font_of(height_px: float, weight: QFont.Weight = QFont.Weight.DemiBold) -> QFont:
    """The application's font, its capitals at least so many pixels high."""
    font = QFont()
    font.setWeight(weight)
    font.setPixelSize(max(-int(-height_px // _capital(int(weight.value))), 6))
    return font


class Painted(QWidget):
    """Something painted whose letters follow `unit`, the height of the view in pixels."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.unit = 800.0
        self.setObjectName(name)
        self.setAccessibleName(name.replace("_", " "))
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)

    def fit(self, unit: float) -> None:
        """The view is so many pixels high now."""
        if unit != self.unit:
            self.unit = unit
            self.update()

    def write(
        self,
        painter: QPainter,
        box: QRectF,
        text: str,
        height: float,
        shade: QColor | str,
        align: Qt.AlignmentFlag = Qt.AlignmentFlag.AlignLeft,
        weight: QFont.Weight = QFont.Weight.DemiBold,
        least: float = 0.0,
    ) -> float:
        """One line of text in the middle of a box, `height` of the unit high; where it does not fit so as high as
        fits, but no lower than `least`, and then ended by "…". Returns how wide it is, in pixels."""
        font = font_of(height * self.unit, weight)
        metrics = QFontMetricsF(font)
        wide = metrics.horizontalAdvance(text)
        if least and wide > box.width():
            # Rounding a font's size up may make it a pixel wider than it was to be.
            fitting = height * max(box.width() - SPARE_PX, 0) / wide * FITTING
            font = font_of(max(fitting, least) * self.unit, weight)
            metrics = QFontMetricsF(font)
        shown = metrics.elidedText(text, Qt.TextElideMode.ElideRight, box.width())
        painter.setFont(font)
        painter.setPen(theme.colour(shade) if isinstance(shade, str) else shade)
        wide = metrics.horizontalAdvance(shown)
        x = box.left()
        if align & Qt.AlignmentFlag.AlignRight:
            x = box.right() - wide
        elif align & Qt.AlignmentFlag.AlignHCenter:
            x = box.center().x() - wide / 2
        painter.drawText(QRectF(x, box.top(), wide + 2, box.height()), PLAIN, shown)
        return wide


PLAIN = Qt.AlignmentFlag.AlignVCenter | Qt.TextFlag.TextDontClip | Qt.TextFlag.TextSingleLine

"""The program's icons, drawn: each is a few lines on a 24 × 24 grid, crisp at every scale and in any colour."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QPointF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import (
    QColor,
    QIcon,
    QIconEngine,
    QPainter,
    QPainterPath,
    QPen,
    QPixmap,
    QPolygonF,
)


def _polygon(*points: tuple[float, float]) -> QPainterPath:
    path = QPainterPath()
    path.addPolygon(QPolygonF([QPointF(x, y) for x, y in points]))
    path.closeSubpath()
    return path


def _fill(path: QPainterPath) -> Callable[[QPainter, QColor], None]:
    return lambda painter, colour: painter.fillPath(path, colour)


def _stroke(*paths: QPainterPath, width: float = 2.0) -> Callable[[QPainter, QColor], None]:
    def draw(painter: QPainter, colour: QColor) -> None:
        cap, join = Qt.PenCapStyle.RoundCap, Qt.PenJoinStyle.RoundJoin
        painter.setPen(QPen(colour, width, Qt.PenStyle.SolidLine, cap, join))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for path in paths:
            painter.drawPath(path)

    return draw


def _lines(*runs: tuple[tuple[float, float], ...]) -> QPainterPath:
    path = QPainterPath()
    for (x, y), *rest in runs:
        path.moveTo(x, y)
        for x2, y2 in rest:
            path.lineTo(x2, y2)
    return path


def _box(x: float, y: float, w: float, h: float, r: float = 0) -> QPainterPath:
    path = QPainterPath()
    path.addRoundedRect(QRectF(x, y, w, h), r, r)
    return path


def _arc(x: float, y: float, w: float, h: float, start: float, sweep: float) -> QPainterPath:
    path = QPainterPath()
    path.arcMoveTo(QRectF(x, y, w, h), start)
    path.arcTo(QRectF(x, y, w, h), start, sweep)
    return path


_SPEAKER = _polygon((4, 9.5), (7.5, 9.5), (12, 5.5), (12, 18.5), (7.5, 14.5), (4, 14.5))
_DICE = _box(5, 5, 14, 14, 3)
_PIPS = QPainterPath()
for _x, _y in ((9.2, 9.2), (14.8, 9.2), (12, 12), (9.2, 14.8), (14.8, 14.8)):
    _PIPS.addEllipse(QPointF(_x, _y), 1.25, 1.25)


def _both(
    one: Callable[[QPainter, QColor], None], two: Callable[[QPainter, QColor], None]
) -> Callable[[QPainter, QColor], None]:
    def draw(painter: QPainter, colour: QColor) -> None:
        one(painter, colour)
        two(painter, colour)

    return draw


DRAWINGS: dict[str, Callable[[QPainter, QColor], None]] = {
    "play": _fill(_polygon((7, 4.5), (19.5, 12), (7, 19.5))),
    "stop": _fill(_box(6, 6, 12, 12, 1.5)),
    "rewind": _fill(_box(5, 5.5, 2.4, 13) + _polygon((19, 5.5), (19, 18.5), (9, 12))),
    "loop": _stroke(
        _arc(4, 6.5, 11, 11, 90, 180) + _lines(((9.5, 6.5), (14.5, 6.5))),
        _arc(9, 6.5, 11, 11, 270, 180) + _lines(((14.5, 17.5), (9.5, 17.5))),
        _lines(((12.2, 3.8), (15, 6.5), (12.2, 9.2))),
        _lines(((11.8, 14.8), (9, 17.5), (11.8, 20.2))),
        width=1.8,
    ),
    "hear": _both(
        _fill(_SPEAKER),
        _stroke(_arc(10, 8, 8, 8, -45, 90), _arc(7.5, 4.5, 15, 15, -45, 90), width=1.8),
    ),
    "keep": _stroke(_lines(((5, 12.5), (10, 17.5), (19.5, 7))), width=2.4),
    "drop": _stroke(_lines(((6.5, 6.5), (17.5, 17.5)), ((17.5, 6.5), (6.5, 17.5))), width=2.2),
    "dice": _both(_stroke(_DICE, width=1.8), _fill(_PIPS)),
    "add": _stroke(_lines(((12, 5), (12, 19)), ((5, 12), (19, 12))), width=2.2),
    "less": _stroke(_lines(((5, 12), (19, 12))), width=2.2),
    "lock": _both(_fill(_box(5.5, 10.5, 13, 9.5, 2)), _stroke(_arc(8, 4, 8, 12, 0, 180))),
    "magnet": _stroke(
        _lines(((6, 4.5), (6, 12))) + _arc(6, 6, 12, 12, 180, 180) + _lines(((18, 12), (18, 4.5))),
        _lines(((4.2, 8), (7.8, 8)), ((16.2, 8), (19.8, 8))),
        width=2.4,
    ),
    "reset": _stroke(_arc(5, 5, 14, 14, 130, -300), _lines(((5, 4.5), (6.2, 9.2), (10.8, 8)))),
    "drag": _fill(
        _box(8, 5, 2.4, 2.4, 1.2)
        + _box(13.6, 5, 2.4, 2.4, 1.2)
        + _box(8, 10.8, 2.4, 2.4, 1.2)
        + _box(13.6, 10.8, 2.4, 2.4, 1.2)
        + _box(8, 16.6, 2.4, 2.4, 1.2)
        + _box(13.6, 16.6, 2.4, 2.4, 1.2)
    ),
    "knob": _stroke(
        _arc(5, 5, 14, 14, 0, 360) + _lines(((12, 12), (15.5, 7.5))),
        width=2.0,
    ),
    "export": _stroke(
        _lines(((12, 14.5), (12, 4.5)), ((8, 8.3), (12, 4.3), (16, 8.3))),
        _lines(((5, 13), (5, 19.5), (19, 19.5), (19, 13))),
    ),
}


class _Engine(QIconEngine):
    def __init__(self, name: str, colour: QColor) -> None:
        super().__init__()
        self._name, self._colour = name, colour

    def paint(self, painter: QPainter, rect: QRect, mode: QIcon.Mode, state: QIcon.State) -> None:
        colour = QColor(self._colour)
        if mode == QIcon.Mode.Disabled:
            colour.setAlphaF(0.35)
        side = min(rect.width(), rect.height())
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.translate(
            rect.x() + (rect.width() - side) / 2, rect.y() + (rect.height() - side) / 2
        )
        painter.scale(side / 24, side / 24)
        painter.setPen(Qt.PenStyle.NoPen)
        DRAWINGS[self._name](painter, colour)
        painter.restore()

    def pixmap(self, size: QSize, mode: QIcon.Mode, state: QIcon.State) -> QPixmap:
        pixmap = QPixmap(size)
        pixmap.fill(Qt.GlobalColor.transparent)
        painter = QPainter(pixmap)
        self.paint(painter, QRect(0, 0, size.width(), size.height()), mode, state)
        painter.end()
        return pixmap

    def clone(self) -> QIconEngine:
        return _Engine(self._name, self._colour)


def icon(name: str, colour: QColor | str) -> QIcon:
    """The icon of that name in that colour; dimmed when disabled. KeyError for an unknown name."""
    DRAWINGS[name]
    return QIcon(_Engine(name, QColor(colour)))

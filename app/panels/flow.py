"""A layout in rows, as words in a paragraph."""

from __future__ import annotations

from PySide6.QtCore import QPoint, QRect, QSize
from PySide6.QtWidgets import QLayout, QLayoutItem, QWidget


class Flow(QLayout):
    """Widgets side by side, in as many rows as it takes; with `fill`, each row is as wide as there is room."""

    SPACING = 4

    def __init__(self, parent: QWidget, *, fill: bool = False) -> None:
        super().__init__(parent)
        self._items: list[QLayoutItem] = []
        self._fill = fill
        self.setContentsMargins(0, 0, 0, 0)

    def addItem(self, item: QLayoutItem) -> None:
        self._items.append(item)

    def count(self) -> int:
        return len(self._items)

    def itemAt(self, index: int) -> QLayoutItem | None:
        return self._items[index] if 0 <= index < len(self._items) else None

    def takeAt(self, index: int) -> QLayoutItem | None:
        return self._items.pop(index) if 0 <= index < len(self._items) else None

    def hasHeightForWidth(self) -> bool:
        return True

    def heightForWidth(self, width: int) -> int:
        rows = self._rows(width)
        return sum(map(self._height, rows)) + self.SPACING * max(len(rows) - 1, 0)

    def sizeHint(self) -> QSize:
        return self.minimumSize()

    def minimumSize(self) -> QSize:
        """Room for the widest; how high it gets depends on the width."""
        sizes = [item.sizeHint() for item in self._items]
        return QSize(
            max((s.width() for s in sizes), default=0), max((s.height() for s in sizes), default=0)
        )

    def setGeometry(self, rect: QRect) -> None:
        super().setGeometry(rect)
        y = rect.y()
        for row in self._rows(rect.width()):
            slack = rect.width() - self._width(row) if self._fill else 0
            x = rect.x()
            for i, item in enumerate(row):
                wider = (i + 1) * slack // len(row) - i * slack // len(row)
                size = QSize(item.sizeHint().width() + wider, item.sizeHint().height())
                item.setGeometry(QRect(QPoint(x, y), size))
                x += size.width() + self.SPACING
            y += self._height(row) + self.SPACING

    def _rows(self, width: int) -> list[list[QLayoutItem]]:
        """The items of each row; one that is wider than all the room has a row of its own."""
        rows: list[list[QLayoutItem]] = []
        for item in self._items:
            if rows and self._width([*rows[-1], item]) <= width:
                rows[-1].append(item)
            else:
                rows.append([item])
        return rows

    def _width(self, row: list[QLayoutItem]) -> int:
        return sum(i.sizeHint().width() for i in row) + self.SPACING * (len(row) - 1)

    @staticmethod
    def _height(row: list[QLayoutItem]) -> int:
        return max(i.sizeHint().height() for i in row)

"""The score view: the music as notation, a system a line, following the playhead; a click seeks.

A process engraves (`engine.engrave`); here pages of SVG become pixmaps when they come into sight.
"""

from __future__ import annotations

import bisect
import threading
from collections import OrderedDict
from queue import SimpleQueue
from typing import TYPE_CHECKING

from PySide6.QtCore import QByteArray, QObject, QPointF, QRectF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QMouseEvent, QPainter, QPaintEvent, QPixmap, QResizeEvent, QWheelEvent
from PySide6.QtSvg import QSvgRenderer
from PySide6.QtWidgets import QScrollBar, QWidget

from app import theme
from app.bridge import Bridge
from app.composer import whole_bars
from app.panels.common import header, label, tool
from app.session import Session
from engine import engrave
from models.score import Score

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

DEBOUNCE_MS = 250
FOLLOW_MS = 60
ZOOMS = (20, 24, 28, 33, 38, 44, 52, 62, 75, 90)
"""Sizes offered, in verovio's percent."""
KEPT_PIXMAPS = 16


class Engraver(QObject):
    """The engraving process and its one unanswered job; the newest job wins.

    `laid(Laid)`, `page(Page)` and `refused(str)` follow a job. Starts at the first job.
    """

    laid = Signal(object)
    page = Signal(object)
    refused = Signal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._bridge = Bridge(self._receive, self)
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None
        self._jobs: SimpleQueue[engrave.Job | None] = SimpleQueue()
        self._serial = 0

    def ask(self, score: Score, layout: engrave.Layout, tick: int) -> None:
        """Engrave `score`, beginning with the line that holds `tick`."""
        if self._connection is None:
            self._start()
        self._serial += 1
        self._jobs.put(engrave.Job(self._serial, score, layout, tick))

    def close(self) -> None:
        """End the process."""
        self._bridge.close()
        self._jobs.put(None)
        if self._process is not None:
            self._process.terminate()
            self._process.join(0.5)
            self._process = None

    def _start(self) -> None:
        import multiprocessing  # slow to load, and the window need not wait for it

        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        self._process = context.Process(
            target=engrave.serve, args=(theirs,), name="engraver", daemon=True
        )
        self._process.start()
        theirs.close()
        self._connection = ours
        for body in (self._write, self._listen):
            threading.Thread(target=body, args=(ours,), name="engraver", daemon=True).start()

    def _write(self, connection: Connection) -> None:
        """Send the newest job. A thread, for the pipe is full while the process is at work."""
        while (job := self._jobs.get()) is not None:
            while not self._jobs.empty():
                job = self._jobs.get()
            if job is None:
                return
            try:
                connection.send(job)
            except OSError:
                return

    def _listen(self, connection: Connection) -> None:
        while True:
            try:
                answer = connection.recv()
            except (EOFError, OSError):
                self._bridge(None)
                return
            self._bridge(answer)

    def _receive(self, answer: object) -> None:
        if answer is None:  # the process has died; the next job starts another
            self._jobs.put(None)
            self._jobs, self._connection, self._process = SimpleQueue(), None, None
        if getattr(answer, "serial", -1) != self._serial:
            return
        match answer:
            case engrave.Laid():
                self.laid.emit(answer)
            case engrave.Page():
                self.page.emit(answer)
            case engrave.Refused(_, sentence):
                self.refused.emit(sentence)


class Line:
    """One page of the engraving: its renderer, its size in pixels, its place in the column."""

    def __init__(self, svg: bytes) -> None:
        self.renderer = QSvgRenderer(QByteArray(svg))
        self.renderer.setAspectRatioMode(Qt.AspectRatioMode.KeepAspectRatio)
        self.size = self.renderer.defaultSize()
        self.top = 0

    def box(self, element: str) -> QRectF:
        """Where an element of the SVG lies, in pixels of the page; empty when it is not there, as while
        a new layout is known and its page not yet."""
        if not self.renderer.elementExists(element):
            return QRectF()
        bounds = self.renderer.boundsOnElement(element)
        return self.renderer.transformForElement(element).mapRect(bounds)


class ScoreView(QWidget):
    """The score as notation. `header` is the dock's title bar."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = session
        self._engraver = Engraver(self)
        self._lines: dict[int, Line] = {}
        self._pixmaps: OrderedDict[int, QPixmap] = OrderedDict()
        self._bars: tuple[tuple[int, str, int], ...] = ()
        self._pages = 0
        self._part: tuple[int, int] | None = None
        self._zoom = 2
        self._bar = -1
        self._sentence = ""
        self._stale = True
        self.setObjectName("score_view")
        self.setMinimumHeight(90)
        self.setToolTip("Click a bar: go there. Ctrl+wheel: larger or smaller")

        larger, smaller = tool("add", "larger", "Larger notes", side=12), label("Size", "dim")
        less = tool("less", "smaller", "Smaller notes", side=12)
        for made in (larger, less):
            made.setAutoRaise(True)
            made.setFixedSize(24, 20)
        larger.clicked.connect(lambda: self.zoom(1))
        less.clicked.connect(lambda: self.zoom(-1))
        self.header = header("Score", smaller, less, larger)
        self.header.setMinimumHeight(26)
        self._scroll = QScrollBar(Qt.Orientation.Vertical, self)
        self._scroll.valueChanged.connect(lambda _: self.update())
        self._wait = QTimer(self, interval=DEBOUNCE_MS, singleShot=True)
        self._wait.timeout.connect(self._engrave)
        self._follow = QTimer(self, interval=FOLLOW_MS)
        self._follow.timeout.connect(self._follow_playhead)

        self._engraver.laid.connect(self._laid)
        self._engraver.page.connect(self._page)
        self._engraver.refused.connect(self._refused)
        session.changed.connect(self._changed)
        session.playhead_changed.connect(self._playhead)

    def sizeHint(self) -> QSize:
        return QSize(600, 168)

    @property
    def pages(self) -> int:
        """How many lines the score has; 0 before it is engraved."""
        return self._pages

    @property
    def current_page(self) -> int:
        """The line of the bar at the playhead, counted from 0."""
        return self._bars[self._bar][2] if 0 <= self._bar < len(self._bars) else 0

    def zoom(self, steps: int) -> None:
        """Make the notes larger (or smaller)."""
        zoom = min(max(self._zoom + steps, 0), len(ZOOMS) - 1)
        if zoom != self._zoom:
            self._zoom = zoom
            self._later()

    def close_engraver(self) -> None:
        """End the engraving process."""
        self._wait.stop()
        self._engraver.close()

    # --- asking ------------------------------------------------------------------------------------

    def _changed(self, change: object) -> None:
        self._later()

    def _later(self) -> None:
        self._stale = True
        if self.isVisible():
            self._wait.start()

    def showEvent(self, event: object) -> None:
        if self._stale:
            self._wait.start()

    def _engrave(self) -> None:
        self._stale = False
        scale = ZOOMS[self._zoom]
        layout = engrave.Layout(max(self._page_width(), 200), scale, theme.COLOURS["text"])
        tick = int(self.session.playhead_tick())
        self._engraver.ask(self.session.heard, layout, tick)

    def _page_width(self) -> int:
        return self.width() - self._scroll.sizeHint().width()

    def resizeEvent(self, event: QResizeEvent) -> None:
        width = self._scroll.sizeHint().width()
        self._scroll.setGeometry(self.width() - width, 0, width, self.height())
        if event.oldSize().width() != self.width():
            self._later()
        self._arrange()

    # --- answers -----------------------------------------------------------------------------------

    def _laid(self, laid: engrave.Laid) -> None:
        # The old picture stays until its page comes anew: nothing flickers.
        self._pages, self._bars, self._sentence = laid.pages, laid.bars, ""
        self._part = laid.start, laid.end
        self._lines = {page: line for page, line in self._lines.items() if page < laid.pages}
        self._bar = -1
        self._follow_playhead()

    def _page(self, page: engrave.Page) -> None:
        self._lines[page.page] = Line(page.svg)
        self._pixmaps.pop(page.page, None)
        self._arrange()
        if page.page == self.current_page:
            self._bring_into_sight()
        self.update()

    def _refused(self, sentence: str) -> None:
        self._sentence, self._lines, self._pages, self._bars = sentence, {}, 0, ()
        self._pixmaps.clear()
        self.update()

    def _arrange(self) -> None:
        top = 0
        usual = next(iter(self._lines.values())).size.height() if self._lines else 0
        for page in range(self._pages):
            line = self._lines.get(page)
            if line is not None:
                line.top = top
            top += line.size.height() if line is not None else usual
        self._scroll.setPageStep(self.height())
        self._scroll.setSingleStep(24)
        self._scroll.setRange(0, max(top - self.height(), 0))
        self._scroll.setVisible(top > self.height())

    # --- following and painting ----------------------------------------------------------------------

    def _playhead(self) -> None:
        if self.session.playing and not self._follow.isActive():
            self._follow.start()
        elif not self.session.playing:
            self._follow.stop()
        self._follow_playhead()

    def _follow_playhead(self) -> None:
        tick = self.session.playhead_tick()
        if self._part is not None and not self._part[0] <= tick < self._part[1]:
            self._elsewhere(tick)
        bar = bisect.bisect_right(self._bars, tick, key=lambda b: b[0]) - 1
        if bar != self._bar:
            page = self.current_page
            self._bar = bar
            if self.current_page != page:
                self._bring_into_sight()
            self.update()

    def _elsewhere(self, tick: float) -> None:
        """Of a long score another part is wanted."""
        music = whole_bars(self.session.heard)
        if music is not None and music[0] <= tick < music[1] and not self._wait.isActive():
            self._part = None
            self._later()

    def _bring_into_sight(self) -> None:
        line = self._lines.get(self.current_page)
        if line is None:
            return
        top, bottom = self._scroll.value(), self._scroll.value() + self.height()
        if line.top < top or line.top + line.size.height() > bottom:
            self._scroll.setValue(line.top)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.fillRect(self.rect(), theme.colour("panel"))
        if not self._lines:
            painter.setPen(theme.colour("text_dim"))
            flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(self.rect(), flags, self._sentence or "The score appears here.")
            return
        offset = self._scroll.value()
        for page, line in self._lines.items():
            y = line.top - offset
            if y < self.height() and y + line.size.height() > 0:
                if page == self.current_page and 0 <= self._bar < len(self._bars):
                    self._paint_bar(painter, line, y)
                painter.drawPixmap(0, y, self._pixmap(page, line))

    def _paint_bar(self, painter: QPainter, line: Line, y: int) -> None:
        box = line.box(self._bars[self._bar][1])
        if box.isValid():
            tint = theme.blend(theme.COLOURS["panel"], theme.COLOURS["accent"], 0.22)
            painter.fillRect(box.translated(QPointF(0, y)).adjusted(-2, -6, 2, 6), tint)

    def _pixmap(self, page: int, line: Line) -> QPixmap:
        ratio = self.devicePixelRatioF()
        made = self._pixmaps.get(page)
        if made is None or made.devicePixelRatio() != ratio:
            made = QPixmap(line.size * ratio)
            made.setDevicePixelRatio(ratio)
            made.fill(Qt.GlobalColor.transparent)
            painter = QPainter(made)
            line.renderer.render(painter, QRectF(0, 0, line.size.width(), line.size.height()))
            painter.end()
            self._pixmaps[page] = made
            if len(self._pixmaps) > KEPT_PIXMAPS:
                self._pixmaps.popitem(last=False)
        return made

    def wheelEvent(self, event: QWheelEvent) -> None:
        steps = event.angleDelta().y()
        if event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self.zoom(1 if steps > 0 else -1)
        else:
            self._scroll.setValue(self._scroll.value() - steps)
        event.accept()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        spot = event.position() + QPointF(0, self._scroll.value())
        for tick, element, page in self._bars:
            line = self._lines.get(page)
            if line is not None and line.top <= spot.y() < line.top + line.size.height():
                box = line.box(element).translated(0, line.top)
                if box.left() <= spot.x() < box.right():
                    self.session.seek(tick)
                    return

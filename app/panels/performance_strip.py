"""The strip of the performance view: the bars that have just sounded, the sounding one, and those that are coming."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen

from app import theme
from app.panels.performance_text import SMALL, Painted
from engine.staging import LIVE
from models.score import EMPTY, Column, Notes, Score, Track
from models.timebase import PPQ

BEHIND_BARS = 2
"""Bars that have sounded stay in sight: a phrase while it is answered."""
SHOWN_BARS, MOST_BARS = 4, 6
"""How many bars are shown from the sounding one on."""
NEAR = PPQ // 4
"""Bars whose beginnings are told so near to one another are the same."""
FEWEST_PITCHES = 12
MOST_PLAYED = 512
"""Of a flood so many notes are drawn, the newest."""
SLIMMEST, SLIMMEST_PLAYED = 0.008, 0.016
"""How high a note is drawn at least, as a share of the unit; what is played has a rim to be seen besides."""
RIM = 0.0035
"""How thick that rim is."""
THROUGH = 0.6
"""How little is seen of the machine's notes through a hollow one."""
HEADS_PX = 5
"""How much is painted anew on either side of the playhead."""
BEFORE = -(1 << 60)
"""The u of a bar that nobody has heard."""

Drawn = tuple[Notes, QColor]
"""Notes, in ticks, and the colour they are drawn in."""


def coming_bars(
    score: Score, tick: float, loop: tuple[int, int] | None, count: int
) -> list[tuple[int, int]]:
    """The bar a tick lies in and those played after it, as ticks [start, end), through the loop."""
    inside = loop is not None and loop[0] <= tick < loop[1]
    at = int(tick)
    bars: list[tuple[int, int]] = []
    while len(bars) < count:
        where = score.meter.position(at)
        start = at - where.offset
        end = start + where.length
        if inside and loop is not None:
            start, end = max(start, loop[0]), min(end, loop[1])
        bars.append((start, end))
        at = loop[0] if inside and loop is not None and end >= loop[1] else end
    return bars


@dataclass(frozen=True, eq=False)
class Bar:
    """A bar of the strip: ticks [start, end), where it begins in performance time, and what sounds in it."""

    start: int
    end: int
    u: int
    beat: int
    drawn: tuple[Drawn, ...] = ()

    @property
    def length(self) -> int:
        """In ticks."""
        return self.end - self.start


class ComingBars(Painted):
    """Small piano rolls of BEHIND_BARS bars that have sounded, the sounding one with the playhead, and the next ones.

    What the machine plays is filled, in the colours of its voices. What the performer plays is white and hollow, and
    filled as long as its key is down: so the two are told apart by shape as well.
    """

    def __init__(self) -> None:
        super().__init__("coming_bars")
        self.setToolTip("Filled: what Ricercar plays. White and hollow: what you play.")
        self._past: deque[Bar] = deque(maxlen=BEHIND_BARS)
        self._bars: list[Bar] = []
        self._told: tuple[object, ...] = ()
        self._blocks: list[tuple[QColor, list[QRectF]]] = []
        self._played, self._held = EMPTY, np.zeros(0, bool)
        self._down: tuple[int, ...] = ()
        self._hollow: list[QRectF] = []
        self._lit: list[QRectF] = []
        self._axis = (60, FEWEST_PITCHES)
        self._ready = 0.0
        self._tick = 0.0
        self._playing = False

    @property
    def bars(self) -> list[tuple[int, int]]:
        """The bars from the sounding one on, as ticks [start, end)."""
        return [(bar.start, bar.end) for bar in self._bars]

    @property
    def since(self) -> int:
        """The u from which on what is played can be seen."""
        return min([bar.u for bar in (*self._past, *self._bars[:1])], default=0)

    @property
    def notes_shown(self) -> int:
        """How many notes of the machine are drawn."""
        return sum(len(boxes) for _, boxes in self._blocks)

    @property
    def played_shown(self) -> tuple[int, int]:
        """How many boxes are drawn of what was played, and of what is held."""
        return len(self._hollow), len(self._lit)

    # --- what is told ------------------------------------------------------------------------------

    def show_bars(
        self,
        score: Score,
        bars: Sequence[tuple[int, int]],
        laid: tuple[Track, ...],
        ready: float,
        u: int,
    ) -> None:
        """Show these bars of what sounds, the first of which begins at `u`: the document's tracks, and over them
        what the stage has laid, of which `ready` bars are there."""
        now = self._bars[0] if self._bars else None
        same = now is not None and (now.start, now.end) == bars[0] and abs(now.u - u) < NEAR
        old = self._told
        if same and old[0] is score and old[1] is laid and old[2:] == (tuple(bars), ready):
            return
        if now is not None and not same:
            follows = len(self._bars) > 1 and self.bars[1] == bars[0]
            if self._playing and follows and abs(now.u + now.length - u) < NEAR:
                self._past.append(now)
            else:
                self._past.clear()
        self._told = (score, laid, tuple(bars), ready)
        self._ready = ready
        begins = accumulate(
            (end - start for start, end in bars), initial=now.u if same and now else u
        )
        beat = score.meter.beat_ticks(bars[0][0])
        voices = sounding(score, laid)
        self._bars = [
            Bar(start, end, at, beat, tuple(_within(voices, start, end)))
            for (start, end), at in zip(bars, begins, strict=False)
        ]
        self._arrange()
        self.update()

    def show_tick(self, tick: float, playing: bool) -> None:
        """Move the playhead."""
        before, self._tick = self._head(), tick
        after = self._head()
        if playing != self._playing:
            self._playing = playing
            self._arrange_played()
            self.update()
        elif abs(after - before) >= 0.5:
            for x in (before, after):
                self.update(int(x) - HEADS_PX, 0, 2 * HEADS_PX + 1, self.height())

    def show_played(self, notes: Notes, u: float, down: tuple[int, ...]) -> None:
        """Show what has been played up to `u`, in performance time, and the keys that are `down`."""
        notes = notes.where(np.arange(len(notes)) >= len(notes) - MOST_PLAYED)
        held = (notes.end >= round(u)) & np.isin(notes.pitch, down)
        if notes == self._played and down == self._down and np.array_equal(held, self._held):
            return
        grown = len(notes) == len(self._played) and np.array_equal(held, self._held)
        before = list(self._lit)
        self._played, self._held, self._down = notes, held, down
        if not self._fits(notes.pitch) or not self._fits(np.array(down, int)):
            self._arrange()
            self.update()
            return
        self._arrange_played()
        if not grown:
            self.update()
        for box in (*before, *self._lit):
            self.update(box.adjusted(-4, -4, 4, 4).toAlignedRect())

    # --- where it is -------------------------------------------------------------------------------

    def resizeEvent(self, event: object) -> None:
        self._arrange()

    def _cells(self) -> list[Bar]:
        """The bars in all places, those that nobody has heard empty."""
        if not self._bars:
            return []
        first = self._bars[0]
        nothing = Bar(0, first.length, BEFORE, first.beat)
        return [nothing] * (BEHIND_BARS - len(self._past)) + [*self._past, *self._bars]

    def _boxes(self, cells: Sequence[Bar]) -> list[QRectF]:
        gap = 0.006 * self.unit
        scale = (self.width() + gap) / max(sum(bar.length for bar in cells), 1)
        left = accumulate((bar.length * scale for bar in cells), initial=0.0)
        return [
            QRectF(x, 0, bar.length * scale - gap, self.height())
            for x, bar in zip(left, cells, strict=False)
        ]

    def _head(self) -> float:
        if not self._bars:
            return 0.0
        bar, box = self._bars[0], self._boxes(self._cells())[BEHIND_BARS]
        return box.left() + min(max((self._tick - bar.start) / bar.length, 0.0), 1.0) * box.width()

    def _fits(self, pitches: Column) -> bool:
        low, rows = self._axis
        return not len(pitches) or bool(pitches.min() >= low and pitches.max() < low + rows)

    def _arrange(self) -> None:
        """Work out where every note is drawn."""
        cells = self._cells()
        found = [n.pitch for bar in cells for n, _ in bar.drawn]
        found += [self._played.pitch, np.array(self._down, int)]
        pitches = np.concatenate(found)
        self._blocks = []
        if len(pitches):
            low, high = int(pitches.min()), int(pitches.max())
            spare = max(FEWEST_PITCHES - (high - low + 1), 0)
            self._axis = low - spare // 2, high - low + 1 + spare
        for bar, box in zip(cells, self._boxes(cells), strict=True):
            for notes, shade in bar.drawn:
                onset = np.maximum(notes.onset - bar.start, 0)
                end = np.minimum(notes.end - bar.start, bar.length)
                boxes = self._rects(onset, end, notes.pitch, bar, box, SLIMMEST)
                self._blocks.append((shade, boxes))
        self._arrange_played()

    def _arrange_played(self) -> None:
        """The same of what the performer plays."""
        self._hollow, self._lit = [], []
        cells = self._cells()
        boxes = self._boxes(cells)
        notes, held = self._played, self._held & self._playing
        for bar, box in list(zip(cells, boxes, strict=True))[: BEHIND_BARS + 1]:
            there = notes.sounding(bar.u, bar.u + bar.length)
            onset = np.maximum(notes.onset - bar.u, 0)
            end = np.minimum(notes.end - bar.u, bar.length)
            for mask, into in ((there & ~held, self._hollow), (there & held, self._lit)):
                columns = onset[mask], end[mask], notes.pitch[mask]
                into += self._rects(*columns, bar, box, SLIMMEST_PLAYED)
        if not self._playing and cells:  # time rests: the keys are seen at the playhead
            bar, box = cells[BEHIND_BARS], boxes[BEHIND_BARS]
            pitch = np.array(self._down, int)
            onset = np.full(len(pitch), min(max(int(self._tick) - bar.start, 0), bar.length))
            self._lit += self._rects(onset, onset + bar.beat // 4, pitch, bar, box, SLIMMEST_PLAYED)

    def _rects(
        self,
        onset: Column,
        end: Column,
        pitch: Column,
        bar: Bar,
        cell: QRectF,
        slimmest: float,
    ) -> list[QRectF]:
        """The rectangles of notes in a bar's cell; onset and end from the bar's beginning, in ticks."""
        box = cell.adjusted(2, 6, -2, -6)
        low, rows = self._axis
        scale, row = box.width() / bar.length, box.height() / rows
        left, right = onset * scale + box.left(), end * scale + box.left()
        top = box.bottom() - (pitch.astype(np.int64) - low + 1) * row
        tall = max(row - 1, slimmest * self.unit)
        least = max(2.0, slimmest * self.unit / 2)
        return [
            QRectF(x, y + (row - tall) / 2, max(x2 - x - 1.5, least), tall)
            for x, x2, y in zip(left.tolist(), right.tolist(), top.tolist(), strict=True)
        ]

    # --- painting ----------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        cells = self._cells()
        boxes = self._boxes(cells)
        for index, (bar, box) in enumerate(zip(cells, boxes, strict=True)):
            there = bar.u != BEFORE and index - BEHIND_BARS <= self._ready
            painter.setBrush(theme.colour("panel" if there else "row_line"))
            painter.drawRoundedRect(box, 6, 6)
            painter.setBrush(theme.colour("grid_sub"))
            for tick in range(bar.beat, bar.length, bar.beat):
                x = box.left() + tick / bar.length * box.width()
                painter.drawRect(QRectF(x, box.top() + 5, 1, box.height() - 10))
        for shade, blocks in self._blocks:
            painter.setBrush(shade)
            painter.drawRects(blocks)
        if not self._blocks and not self._hollow and boxes:
            room = boxes[BEHIND_BARS].united(boxes[-1])
            centre = Qt.AlignmentFlag.AlignHCenter
            self.write(painter, room, "What is coming appears here", SMALL, "text_dim", centre)
        if self._playing:
            painter.setPen(QPen(theme.colour("playhead"), 3))
            x = self._head()
            painter.drawLine(QPointF(x, 0), QPointF(x, self.height()))
        self._paint_played(painter)

    def _paint_played(self, painter: QPainter) -> None:
        rim = max(RIM * self.unit, 2.0)
        painter.setPen(QPen(theme.colour("selected"), rim))
        through = QColor(theme.colour("field"))
        through.setAlphaF(THROUGH)
        painter.setBrush(through)
        inner = rim / 2
        painter.drawRects([b.adjusted(inner, inner, -inner, -inner) for b in self._hollow])
        painter.setBrush(theme.colour("selected"))
        painter.drawRects([b.adjusted(inner, inner, -inner, -inner) for b in self._lit])


def sounding(score: Score, laid: Iterable[Track]) -> list[Drawn]:
    """What sounds and its colours: the document's tracks, pale, and over them what the stage has laid."""
    laid = tuple(laid)
    own = {t.id for t in laid}
    field = theme.COLOURS["field"]
    soloed = any(t.soloed for t in score.tracks)
    rows = {t.id: i for i, t in enumerate(score.tracks)}
    return [
        *(
            (t.notes, theme.blend(field, theme.voice(i).name(), 0.45))
            for i, t in enumerate(score.tracks)
            if t.id not in own and not t.muted and (t.soloed or not soloed)
        ),
        *((t.notes, theme.voice(t.id - LIVE if t.id >= LIVE else rows.get(t.id, 0))) for t in laid),
    ]


def _within(voices: Iterable[Drawn], start: int, end: int) -> Iterable[Drawn]:
    for notes, shade in voices:
        there = notes.where(notes.sounding(start, end))
        if len(there):
            yield there, shade

"""What the performance view shows and nobody touches: bar and beat, lamps, state, the bars that are coming."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QPainter, QPaintEvent, QPen

from app import theme
from app.dials import Place
from app.panels.performance_text import HUGE, LARGE, MIDDLE, SMALL, STATE, Painted, font_of
from engine.playback import Synced
from engine.staging import LIVE, View
from models.card import Card
from models.score import Score, Track

STATES: dict[str, str] = {
    "ready": "text_dim",
    "listening": "accent",
    "thinking": "accent",
    "answering": "good",
    "playing": "good",
    "falling back": "warning",
}
"""The colour of each state's word."""

GLOW_STEPS = 8
"""Shades a lamp goes through in a beat; no more repaints than that."""
DIMMEST = 0.45
SHOWN_BARS, MOST_BARS = 4, 8
FEWEST_PITCHES = 12
BEAT_SHARE = 0.755
"""Where the beat begins in its room, so that three figures of a bar's number go before it."""
SLIMMEST = 0.006
"""How high a note is drawn at least, as a share of the unit."""
HEADS_PX = 5
"""How much is painted anew on either side of the playhead."""


def tempo_text(bpm: float) -> tuple[str, str]:
    """The whole beats a minute, and the rest with its unit: ("120", " bpm"), ("127", ".9")."""
    whole, tenths = divmod(round(bpm * 10), 10)
    return str(whole), f".{tenths}" if tenths else " bpm"


def sync_text(synced: Synced) -> str:
    """E.g. "own clock", "clock locked", "Link waiting"."""
    if not synced.source:
        return "own clock"
    kind = synced.source.partition(":")[0]
    name = {"clock": "clock", "mtc": "MTC", "link": "Link"}.get(kind, kind)
    return f"{name} {synced.state}"


def late_text(late: int) -> str:
    """E.g. "late 3 ×"; "" when never."""
    return f"late {late} ×" if late else ""


class BeatDisplay(Painted):
    """Bar and beat, as large as can be."""

    def __init__(self) -> None:
        super().__init__("bar_and_beat")
        self.place = Place(1, 1, 4, 0.0)
        self.lit = False

    def show_place(self, place: Place, lit: bool) -> None:
        """Show another place; `lit` while the music plays."""
        changed = place[:3] != self.place[:3] or lit != self.lit
        self.place, self.lit = place, lit
        if changed:
            self.setAccessibleDescription(f"bar {place.bar}, beat {place.beat}")
            self.update()

    def digits(self) -> QFont:
        """The font of the figures: lower than HUGE only where a bar's number is longer than three."""
        font = font_of(HUGE * self.unit, QFont.Weight.Bold)
        wide = QFontMetricsF(font).horizontalAdvance(str(self.place.bar))
        room = self._beat_x() - 0.03 * self.unit
        if wide > room:
            font.setPixelSize(max(int(font.pixelSize() * room / wide), 6))
        return font

    def _beat_x(self) -> float:
        return self.width() * BEAT_SHARE

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        caption = QRectF(0, 0, self.width(), SMALL * self.unit * 1.7)
        x = self._beat_x()
        self.write(painter, caption, "bar", SMALL, "text_dim")
        self.write(painter, caption.adjusted(x, 0, 0, 0), "beat", SMALL, "text_dim")
        base = self.height() - 0.012 * self.unit
        painter.setFont(self.digits())
        painter.setPen(theme.colour("selected" if self.lit else "text_dim"))
        painter.drawText(QPointF(-0.01 * self.unit, base), str(self.place.bar))
        painter.setPen(theme.colour("accent" if self.lit else "text_dim"))
        painter.drawText(QPointF(x - 0.01 * self.unit, base), str(self.place.beat))


class Headline(Painted):
    """The mode, the tempo, the system and whose clock it is."""

    def __init__(self) -> None:
        super().__init__("headline")
        self.words = ("", "", "", "", "")
        self._calm = True

    def say(self, mode: str, card: Card | None, bpm: float, synced: Synced, late: int) -> None:
        """Show these; `late`: how often the fallback stepped in."""
        words = (
            mode,
            "".join(tempo_text(bpm)),
            card.name if card is not None else "no system",
            sync_text(synced),
            late_text(late),
        )
        calm = synced.state in ("own", "locked")
        if (words, calm) != (self.words, self._calm):
            self.words, self._calm = words, calm
            self.setAccessibleDescription(", ".join(w for w in words if w))
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        mode, tempo, system, sync, late = self.words
        line = self.height() / 3
        rows = [QRectF(0, i * line, self.width(), line) for i in range(3)]
        right = Qt.AlignmentFlag.AlignRight
        whole, dot, rest = tempo.partition("." if "." in tempo else " ")
        down = (LARGE - SMALL) / 2 * self.unit  # letters of two heights on one line
        low = rows[0].translated(0, down)
        taken = self.write(painter, low, dot + rest, SMALL, "text_dim", right)
        number = rows[0].adjusted(0, 0, -taken, 0)
        taken += self.write(painter, number, whole, LARGE, "text", right)
        mode_room = rows[0].adjusted(0, 0, -taken - 12, 0)
        self.write(painter, mode_room, mode, LARGE, "selected", weight=QFont.Weight.Bold)
        medium = QFont.Weight.Medium
        self.write(painter, rows[1], system, LARGE, "accent", weight=medium, least=MIDDLE)
        self.write(painter, rows[2], sync, LARGE, "text_dim" if self._calm else "warning")
        self.write(painter, rows[2], late, MIDDLE, "warning", right)


class Lamps(Painted):
    """One lamp a beat, the sounding one lit and fading until the next."""

    def __init__(self) -> None:
        super().__init__("beat_lamps")
        self._shown = (0, 4, 0)

    def show_place(self, place: Place, lit: bool) -> None:
        """Light the beat's lamp; none while the music rests."""
        glow = GLOW_STEPS - int(min(place.progress, 0.999) * GLOW_STEPS) if lit else 0
        shown = (place.beat if lit else 0, place.beats, glow)
        if shown != self._shown:
            old, self._shown = self._shown, shown
            if old[1] != place.beats:
                self.update()
            else:
                for beat in {old[0], place.beat} - {0}:
                    self.update(self._lamp(beat).toAlignedRect())

    def _lamp(self, beat: int) -> QRectF:
        beats = self._shown[1]
        gap = 0.008 * self.unit
        wide = (self.width() + gap) / beats
        return QRectF((beat - 1) * wide, 0, wide - gap, self.height())

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        beat, beats, glow = self._shown
        for number in range(1, beats + 1):
            shade = theme.colour("raised")
            if number == beat:
                share = DIMMEST + (1 - DIMMEST) * glow / GLOW_STEPS
                full = "good" if number == 1 else "accent"
                shade = theme.blend(theme.COLOURS["raised"], theme.COLOURS[full], round(share, 3))
            painter.setBrush(shade)
            box = self._lamp(number)
            painter.drawRoundedRect(box, box.height() / 3, box.height() / 3)


class Band(Painted):
    """The state in a word, and what is coming."""

    def __init__(self) -> None:
        super().__init__("state")
        self.view = View()

    def show_view(self, view: View) -> None:
        """Show what the core tells."""
        old, self.view = self.view, view
        if (old.state, old.coming, old.running) != (view.state, view.coming, view.running):
            self.setAccessibleDescription(", ".join(t for t in (view.state, view.coming) if t))
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        view = self.view
        shade = theme.colour(STATES.get(view.state, "text"))
        ground = theme.blend(theme.COLOURS["field"], shade.name(), 0.16 if view.running else 0.0)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(ground)
        painter.drawRoundedRect(QRectF(self.rect()), 8, 8)
        edge = 0.02 * self.unit
        painter.setBrush(shade)
        mark = QRectF(0, 0, edge * 0.6, self.height())
        painter.drawRoundedRect(mark, 4, 4)
        box = QRectF(self.rect()).adjusted(1.5 * edge, 0, -edge, 0)
        wide = self.write(painter, box, view.state, STATE, shade, weight=QFont.Weight.Bold)
        rest = box.adjusted(wide + 1.5 * edge, 0, 0, 0)
        right = Qt.AlignmentFlag.AlignRight
        self.write(painter, rest, view.coming, LARGE, "text", right, least=MIDDLE)


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


class ComingBars(Painted):
    """The sounding bar and the next ones, as small piano rolls; the playhead goes through the first."""

    def __init__(self) -> None:
        super().__init__("coming_bars")
        self._bars: list[tuple[int, int]] = []
        self._beat = 1
        self._blocks: list[tuple[QColor, list[QRectF]]] = []
        self._ready = 0.0
        self._tick = 0.0
        self._playing = False
        self._tracks: tuple[tuple[Track, QColor], ...] = ()

    @property
    def notes_shown(self) -> int:
        """How many notes are drawn."""
        return sum(len(boxes) for _, boxes in self._blocks)

    def show_bars(
        self, score: Score, bars: list[tuple[int, int]], laid: Iterable[Track], ready: float
    ) -> None:
        """Show these bars of what sounds: the document's tracks, and over them what the stage has laid, of which
        `ready` bars are there."""
        laid = tuple(laid)
        own = {t.id for t in laid}
        field = theme.COLOURS["field"]
        soloed = any(t.soloed for t in score.tracks)
        self._tracks = (
            *(
                (t, theme.blend(field, theme.voice(i).name(), 0.45))
                for i, t in enumerate(score.tracks)
                if t.id not in own and not t.muted and (t.soloed or not soloed)
            ),
            *((t, theme.voice(t.id - LIVE if t.id >= LIVE else _row(score, t.id))) for t in laid),
        )
        self._bars, self._ready = bars, ready
        self._beat = score.meter.beat_ticks(bars[0][0])
        self._arrange()
        self.update()

    def show_tick(self, tick: float, playing: bool) -> None:
        """Move the playhead."""
        before, self._tick = self._head(), tick
        after = self._head()
        if playing != self._playing:
            self._playing = playing
            self.update()
        elif abs(after - before) >= 0.5:
            for x in (before, after):
                self.update(int(x) - HEADS_PX, 0, 2 * HEADS_PX + 1, self.height())

    def resizeEvent(self, event: object) -> None:
        self._arrange()

    def _cell(self, index: int) -> QRectF:
        gap = 0.006 * self.unit
        total = sum(end - start for start, end in self._bars)
        before = sum(end - start for start, end in self._bars[:index])
        scale = (self.width() + gap) / max(total, 1)
        start, end = self._bars[index]
        return QRectF(before * scale, 0, (end - start) * scale - gap, self.height())

    def _head(self) -> float:
        if not self._bars:
            return 0.0
        (start, end), box = self._bars[0], self._cell(0)
        return box.left() + min(max((self._tick - start) / (end - start), 0.0), 1.0) * box.width()

    def _arrange(self) -> None:
        """Work out where every note is drawn."""
        found = []
        for track, shade in self._tracks:
            for index, (start, end) in enumerate(self._bars):
                notes = track.notes.where(track.notes.sounding(start, end))
                if len(notes):
                    found.append((shade, index, notes))
        self._blocks = []
        if not found:
            return
        low = min(int(n.pitch.min()) for _, _, n in found)
        high = max(int(n.pitch.max()) for _, _, n in found)
        spare = max(FEWEST_PITCHES - (high - low + 1), 0)
        low, rows = low - spare // 2, high - low + 1 + spare
        for shade, index, notes in found:
            start, end = self._bars[index]
            box = self._cell(index).adjusted(2, 6, -2, -6)
            scale, row = box.width() / (end - start), box.height() / rows
            left = (np.maximum(notes.onset, start) - start) * scale + box.left()
            right = (np.minimum(notes.end, end) - start) * scale + box.left()
            top = box.bottom() - (notes.pitch.astype(np.int64) - low + 1) * row
            tall = max(row - 1, SLIMMEST * self.unit)
            boxes = [
                QRectF(x, y + (row - tall) / 2, max(x2 - x - 1.5, 2.0), tall)
                for x, x2, y in zip(left.tolist(), right.tolist(), top.tolist(), strict=True)
            ]
            self._blocks.append((shade, boxes))

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        for index, (start, end) in enumerate(self._bars):
            box = self._cell(index)
            painter.setBrush(theme.colour("panel" if index <= self._ready else "row_line"))
            painter.drawRoundedRect(box, 6, 6)
            painter.setBrush(theme.colour("grid_sub"))
            for tick in range(start + self._beat, end, self._beat):
                x = box.left() + (tick - start) / (end - start) * box.width()
                painter.drawRect(QRectF(x, box.top() + 5, 1, box.height() - 10))
        for shade, boxes in self._blocks:
            painter.setBrush(shade)
            painter.drawRects(boxes)
        if not self._blocks and self._bars:
            room = self._cell(0).united(self._cell(len(self._bars) - 1))
            centre = Qt.AlignmentFlag.AlignHCenter
            self.write(painter, room, "What is coming appears here", SMALL, "text_dim", centre)
        if self._playing:
            painter.setPen(QPen(theme.colour("playhead"), 3))
            x = self._head()
            painter.drawLine(QPointF(x, 0), QPointF(x, self.height()))


def _row(score: Score, track_id: int) -> int:
    return next((i for i, t in enumerate(score.tracks) if t.id == track_id), 0)


class Sentence(Painted):
    """What the performer must know, in a line or two."""

    def __init__(self) -> None:
        super().__init__("sentence")
        self.text, self.urgent = "", False

    def say(self, text: str, urgent: bool) -> None:
        """Show another sentence; what is not urgent is there for whoever looks for it."""
        if (text, urgent) != (self.text, self.urgent):
            self.text, self.urgent = text, urgent
            self.setAccessibleDescription(text)
            self.setToolTip(text)
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setFont(font_of(SMALL * self.unit, QFont.Weight.Medium))
        painter.setPen(theme.colour("selected" if self.urgent else "text_dim"))
        wrap = Qt.AlignmentFlag.AlignVCenter | Qt.TextFlag.TextWordWrap
        painter.drawText(self.rect(), wrap, self.text)

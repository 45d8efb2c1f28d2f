"""What the performance view shows and nobody touches: bar and beat, lamps, state, what is to be known."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QFont, QFontMetricsF, QPainter, QPaintEvent

from app import theme
from app.dials import Place
from app.panels.performance_text import HUGE, LARGE, MIDDLE, SMALL, STATE, Painted, font_of
from engine.playback import Synced
from engine.staging import View
from models.card import Card

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
BEAT_SHARE = 0.755
"""Where the beat begins in its room, so that three figures of a bar's number go before it."""


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
        self.write(painter, rest, view.coming, LARGE, "text", right, least=SMALL)


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

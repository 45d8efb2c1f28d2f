"""The tray: every candidate with a small picture, to look at, hear in context, keep or drop."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QLineF, QSize, Qt, Signal
from PySide6.QtGui import QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QScrollArea,
    QSizePolicy,
    QStackedLayout,
    QVBoxLayout,
    QWidget,
)

from app import theme
from app.candidates import Candidate
from app.composer import bars_text
from app.panels.common import Elided, button, header, label, tool
from app.session import Session
from models.system import Proposal

Key = tuple[int, int]


class Preview(QWidget):
    """A proposal as a picture: time across, pitch up, a line a note in its track's colour."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[tuple[int, npt.NDArray[np.float64]]] = []
        self._faint = False
        self.setFixedWidth(76)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)

    def show_candidate(self, candidate: Candidate, order: dict[int, int]) -> None:
        """Draw that candidate; `order` maps track ids to colours."""
        region = candidate.proposal.region
        tracks = [t for t in candidate.proposal.tracks if len(t.notes)]
        fresh = len(order)
        pitches = np.concatenate([t.notes.pitch for t in tracks] or [np.zeros(1)])
        low, high = float(pitches.min()) - 1, float(pitches.max()) + 1
        self._lines = []
        for track in tracks:
            notes = track.notes
            colour = order.get(track.id, fresh)
            fresh += track.id not in order
            length = region.end - region.start
            x1 = (notes.onset - region.start) / length
            x2 = (notes.end - region.start) / length
            y = (high - notes.pitch) / (high - low)
            self._lines.append((colour, np.stack([x1, x2, y], axis=1)))
        self._faint = candidate.stale
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(76, 44)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.colour("field"))
        painter.drawRoundedRect(self.rect(), 4, 4)
        w, h = self.width() - 8, self.height() - 8
        painter.setOpacity(0.4 if self._faint else 1.0)
        for colour, lines in self._lines:
            painter.setPen(
                QPen(theme.voice(colour), 2, Qt.PenStyle.SolidLine, Qt.PenCapStyle.FlatCap)
            )
            painter.drawLines(
                [
                    QLineF(4 + a * w, 4 + y * h, 4 + max(b * w - 1, a * w + 1), 4 + y * h)
                    for a, b, y in lines.tolist()
                ]
            )


def figures_text(candidate: Candidate) -> str:
    """What the system thinks of its candidate, e.g. "0.41 nats/note"."""
    figures = candidate.proposal.figures
    if "changed" in figures:  # of a latent system, whose other figures the Shape panel shows
        return f"{figures['changed']:.0%} changed"
    if "step_ticks" in figures:  # of a path, whose other figures the Path panel shows
        return f"{figures['steps']:.0f} steps"
    return " · ".join(
        f"{value:.2f} {name.replace('_per_', '/').replace('_', ' ')}"
        for name, value in figures.items()
    )


class CandidateRow(QFrame):
    """One candidate of the tray."""

    pressed = Signal(object)

    def __init__(self, session: Session, key: Key) -> None:
        super().__init__()
        self.session, self.key = session, key
        self._chosen = False
        self._proposal: Proposal | None = None
        self._seen: tuple[object, ...] = ()
        self.setObjectName(f"candidate_{key[0]}_{key[1]}")
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.preview = Preview()
        self.title, self.state = Elided("", "title"), Elided("", "dim")
        self.hear = tool("hear", "hear", "Hear it in its place (H)", side=16)
        self.hear.setCheckable(True)
        self.keep = tool(
            "keep", "keep", "Keep it: one step in the history (Ctrl+Return)", colour="good"
        )
        self.drop = tool("drop", "drop", "Drop it (Ctrl+Backspace)", colour="danger")
        for made in (self.hear, self.keep, self.drop):
            made.setFixedSize(28, 24)
        self.hear.clicked.connect(self._hear)
        self.keep.clicked.connect(lambda: session.keep(key))
        self.drop.clicked.connect(lambda: session.drop([key]))
        buttons = QHBoxLayout()
        buttons.setSpacing(4)
        buttons.addWidget(self.state, 1)
        for made in (self.hear, self.keep, self.drop):
            buttons.addWidget(made)
        words = QVBoxLayout()
        words.setSpacing(3)
        words.addWidget(self.title)
        words.addLayout(buttons)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(8, 6, 8, 6)
        layout.setSpacing(8)
        layout.addWidget(self.preview)
        layout.addLayout(words, 1)

    def show_candidate(self, candidate: Candidate, working: bool) -> None:
        """Show what the candidate is now."""
        session = self.session
        ids = tuple(t.id for t in session.document.score.tracks)
        self._chosen = session.shown_candidate is candidate
        seen = (candidate.stale, working, self._chosen, session.hearing, ids)
        if candidate.proposal is self._proposal and seen == self._seen:
            return  # sampling changes one candidate of many, many times a second
        self._proposal, self._seen = candidate.proposal, seen
        order = {track_id: i for i, track_id in enumerate(ids)}
        self.preview.show_candidate(candidate, order)
        region = candidate.proposal.region
        where = bars_text(candidate.ask.score, region.start, region.end)
        self.title.say(f"{candidate.title} · {where}")
        figures = figures_text(candidate)
        if candidate.stale:
            state = "out of date"
        elif candidate.final:
            state = figures or "ready"
        else:
            state = "working…" if working else "stopped early"
        self.state.say(state)
        tip = f"{candidate.title}, {where}, seed {candidate.ask.seed}"
        if figures:
            tip += f"\n{figures}"
        if candidate.stale:
            tip += "\nThe music in these bars has changed since this was asked for"
        self.setToolTip(tip)
        self.hear.setChecked(self._chosen and session.hearing)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        box = self.rect().adjusted(3, 1, -3, -1)
        painter.setPen(theme.colour("accent") if self._chosen else Qt.PenStyle.NoPen)
        painter.setBrush(theme.colour("raised" if self._chosen else "panel"))
        painter.drawRoundedRect(box, 6, 6)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self.pressed.emit(self.key)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        self.session.hear(self.key)

    def _hear(self, on: bool) -> None:
        if on:
            self.session.hear(self.key)
        else:
            self.session.revert()


class ProposalsPanel(QWidget):
    """The candidates, newest request first."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = session
        self.rows: dict[Key, CandidateRow] = {}
        body = QWidget()
        self._column = QVBoxLayout(body)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(2)
        self._column.addStretch(1)
        self._scroll = QScrollArea()
        self._scroll.setWidgetResizable(True)
        self._scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._scroll.setWidget(body)
        empty = label("What you generate appears here:\nhear it, keep it, or drop it.", "dim")
        empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._stack = QStackedLayout()
        self._stack.addWidget(empty)
        self._stack.addWidget(self._scroll)
        self.drop_all = button("Drop all", "drop_all", "Forget every candidate")
        self.header = header("Proposals", self.drop_all)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 4)
        layout.setSpacing(2)
        layout.addLayout(self._stack, 1)
        self.drop_all.clicked.connect(lambda: session.drop([c.key for c in session.candidates]))
        session.proposals_changed.connect(self.refresh)
        session.job_changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Show the candidates as they are now."""
        candidates = self.session.candidates
        keys = {c.key for c in candidates}
        for key in set(self.rows) - keys:
            row = self.rows.pop(key)
            self._column.removeWidget(row)
            row.deleteLater()
        job = self.session.job
        ordered = sorted(candidates, key=lambda c: (-c.request, c.proposal.candidate))
        for index, candidate in enumerate(ordered):
            row = self.rows.get(candidate.key) or self._new(candidate.key, index)
            row.show_candidate(candidate, job is not None and job.request == candidate.request)
        self._stack.setCurrentIndex(1 if candidates else 0)
        self.drop_all.setVisible(bool(candidates))

    def _new(self, key: Key, index: int) -> CandidateRow:
        row = CandidateRow(self.session, key)
        row.pressed.connect(self.session.show_candidate)
        self.rows[key] = row
        self._column.insertWidget(index, row)
        return row

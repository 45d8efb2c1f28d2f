"""The path between two phrases: set A and B, make it, hear its steps, scrub through them, keep them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path as File

from PySide6.QtCore import QEvent, QObject, QSignalBlocker, Qt, QTimer
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import (
    QCheckBox,
    QFrame,
    QHBoxLayout,
    QScrollArea,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from app.composer import Composer, Wishes, bars_text, phrase_of
from app.errands import Errands
from app.listening import Listener, Stand
from app.panels.common import button, header, label, tool
from app.panels.ends import EndCard
from app.panels.pathform import PathForm, choice
from app.panels.strip import END, START, Strip, name_of
from app.phrases import Path, Phrase, after_music, kept, of_bars, of_piece, passage, path_of
from app.session import Session
from engine import exchange
from models.card import Card, Task
from models.score import Notes, UserError

FRAME_MS = 33
HANDLE_PX = 14

AFTER, AT_A, MARKED = "after", "at_a", "marked"
PLACES = (("After the music", AFTER), ("Where A is", AT_A), ("At the marked bars", MARKED))
OWN, NEW = "own", "new"
TRACKS = (("A's track", OWN), ("New track", NEW))


def ends_text(path: Path) -> str:
    """How well a system knows A and B, and how even its path is, as far as it says."""
    figures = path.figures
    parts = []
    for name in ("a", "b"):
        differs = figures.get(f"difference_{name}", 0.0)
        if differs > 0:
            parts.append(f"{name.upper()} comes back {100 * (1 - differs):.0f} %")
    if "largest_hamming_step" in figures:
        parts.append(f"largest step {100 * figures['largest_hamming_step']:.0f} %")
    return " · ".join(parts)


def about_steps(path: Path) -> tuple[str, ...]:
    """A sentence on each step."""
    count = len(path.steps)
    found = []
    for k, step in enumerate(path.steps):
        notes = f"{len(step)} note{'s' * (len(step) != 1)}"
        found.append(f"{name_of(k, count)}: step {k + 1} of {count}, {notes}")
    return tuple(found)


class PathPanel(QWidget):
    """Everything about a path. `listener` says what it wants of the transport."""

    def __init__(
        self,
        session: Session,
        composer: Composer,
        errands: Errands,
        cards: Sequence[Card],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.session, self._composer, self._errands = session, composer, errands
        self._cards = [c for c in cards if Task.INTERPOLATE in c.tasks]
        self.listener = Listener(session)
        self.path: Path | None = None
        self._origin: Phrase | None = None
        self._request = 0
        self._build()
        self._connect()
        self._show_ends()
        self._show_path()
        self._job()

    # --- building ------------------------------------------------------------------------------------

    def _build(self) -> None:
        self.cards = (EndCard("A", START), EndCard("B", END))
        self.form = PathForm(self._cards)
        top = QHBoxLayout()
        top.setSpacing(10)
        top.addWidget(self.cards[0], 1)
        top.addWidget(self.cards[1], 1)
        top.addWidget(self.form)

        self.strip = Strip()
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setObjectName("scrub")
        self.slider.setAccessibleName("From A to B")
        self.slider.setToolTip(
            "From A to B; while it plays, the change is heard from the next bar on"
        )
        self.slider.setPageStep(1)
        still = self.slider.sizePolicy()
        still.setRetainSizeWhenHidden(True)
        self.slider.setSizePolicy(still)
        self._rail = QHBoxLayout()
        self._rail.setContentsMargins(0, 0, 0, 0)
        self._rail.addWidget(self.slider)
        lane = QWidget()
        column = QVBoxLayout(lane)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addWidget(self.strip, 1)
        column.addLayout(self._rail)
        self._scroll = QScrollArea()
        self._scroll.setWidgetResizable(True)
        self._scroll.setFrameShape(QFrame.Shape.NoFrame)
        self._scroll.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._scroll.setWidget(lane)
        self._scroll.setMinimumHeight(98)

        self.play_button = tool(
            "play", "play_path", "Play the step at the slider, and follow it", colour="good"
        )
        self.play_button.setCheckable(True)
        self.loop_button = tool("loop", "loop_path", "Play round and round, or once", side=16)
        self.loop_button.setCheckable(True)
        self.loop_button.setChecked(True)
        for made in (self.play_button, self.loop_button):
            made.setFixedSize(32, 26)
        self.alone = QCheckBox("Alone")
        self.alone.setObjectName("path_alone")
        self.alone.setChecked(True)
        self.alone.setToolTip("Hear the steps without the other voices")
        self.figures = label("", "dim")
        self.figures.setObjectName("path_figures")
        self.place = choice(PLACES, "Where the steps go when they are kept")
        self.track = choice(TRACKS, "What they go to; no note that is there is touched")
        self.keep_some = button(
            "Keep some", "keep_steps", "Put the selected steps, in order, into the piece"
        )
        self.keep_all = button(
            "Keep path", "keep_path", "Put the whole path, in order, into the piece"
        )
        bottom = QHBoxLayout()
        bottom.setSpacing(6)
        hearing: tuple[QWidget, ...] = (self.play_button, self.loop_button, self.alone)
        keeping: tuple[QWidget, ...] = (self.place, self.track, self.keep_some, self.keep_all)
        for widget in hearing:
            bottom.addWidget(widget)
        bottom.addStretch(1)
        for widget in keeping:
            bottom.addWidget(widget)

        self.header = header("Path", self.figures)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(10, 2, 10, 6)
        layout.setSpacing(6)
        layout.addLayout(top)
        layout.addWidget(self._scroll, 1)
        layout.addLayout(bottom)
        self._frame = QTimer(self, interval=FRAME_MS)

    def _connect(self) -> None:
        session, listener = self.session, self.listener
        for index, card in enumerate(self.cards):
            card.set_asked.connect(partial(self.set_end, index))
            card.dropped.connect(partial(self.drop_file, index))
            card.hear_asked.connect(partial(self.hear_end, index))
        self.form.make_button.clicked.connect(self.make)
        self.form.stop_button.clicked.connect(self._composer.stop)
        self.slider.valueChanged.connect(self.go)
        self.strip.chosen.connect(self._chosen)
        self.strip.heard.connect(self._once)
        self.strip.selection_changed.connect(self._buttons)
        self.play_button.clicked.connect(self.toggle)
        self.keep_all.clicked.connect(self.keep_path)
        self.keep_some.clicked.connect(lambda: self.keep(sorted(self.strip.selected)))
        self.alone.toggled.connect(self._restand)
        self._frame.timeout.connect(self._tell_sounding)
        self._scroll.viewport().installEventFilter(self)
        listener.changed.connect(self._heard)
        session.ends_changed.connect(self._show_ends)
        session.proposals_changed.connect(self._proposals)
        session.job_changed.connect(self._job)

    # --- A and B -------------------------------------------------------------------------------------

    def set_end(self, index: int) -> None:
        """Take what is selected (the bars of the notes; else the marked bars) as A (0) or B (1)."""
        session = self.session
        try:
            if not session.selection and session.span is None:
                raise UserError(
                    "Select the notes of a phrase, or mark its bars in the ruler, "
                    f"then set {'AB'[index]}."
                )
            found = phrase_of(session)
            if found is None:
                raise UserError(
                    "The active voice is silent in the marked bars: pick another voice."
                )
            score = session.document.score
            (track_id,) = found.tracks
            name = score.track(track_id).name or f"Track {track_id + 1}"
            source = f"{name}, {bars_text(score, found.start, found.end)}"
            session.set_end(index, of_bars(score, track_id, found.start, found.end, source))
        except UserError as error:
            session.message.emit(str(error))

    def drop_file(self, index: int, path: File) -> None:
        """Take the first voice of a file as A (0) or B (1)."""

        def read() -> Phrase:
            return of_piece(exchange.read(path), path.name)

        self._errands.run(f"Reading {path.name}", read, partial(self.session.set_end, index))

    def hear_end(self, index: int) -> None:
        """Play A or B once."""
        phrase = self.session.ends[index]
        if phrase is not None:
            self.listener.once(phrase.notes, phrase.length, self._stand(phrase))

    def _show_ends(self) -> None:
        for card, phrase in zip(self.cards, self.session.ends, strict=True):
            card.show_phrase(phrase)
        self._buttons()

    # --- making --------------------------------------------------------------------------------------

    def make(self) -> None:
        """Ask for the path; what is missing is said."""
        card = self.form.card
        if card is None:
            self.session.message.emit("No system is installed that can lead from A to B.")
            return
        self._composer.generate(card, Task.INTERPOLATE, Wishes(self.form.values()))

    def _job(self) -> None:
        job = self.session.job
        working = job is not None and job.ask.task is Task.INTERPOLATE
        self.form.show_work(job.fraction if job is not None and working else None)
        if job is not None and working:
            self.figures.setText(job.text)
        else:
            self.figures.setText(ends_text(self.path) if self.path is not None else "")

    def _proposals(self) -> None:
        """Show the newest path, or the one the tray shows."""
        session = self.session
        paths = [c for c in session.candidates if c.ask.task is Task.INTERPOLATE]
        shown = session.shown_candidate
        newest = shown if shown in paths else paths[-1] if paths else None
        if newest is None or (newest is not shown and newest.request <= self._request):
            return  # nothing new, and what was left in the tray is not what is looked at
        self._request = max(self._request, newest.request)
        if self.path is not None and newest.proposal is self.path.proposal:
            return
        found = path_of(newest.proposal)
        if found is None:
            return
        listening = self.listener.looping
        self.path = found
        a = session.ends[0]
        self._origin = a if a is not None and newest.ask.phrases[:1] == (a.score,) else None
        session.set_path(newest.card.id, found.points)
        self._show_path()
        if listening:
            self._loop()

    def _show_path(self) -> None:
        path = self.path
        steps: tuple[Notes, ...] = () if path is None else path.steps
        with QSignalBlocker(self.slider):
            self.slider.setRange(0, max(len(steps) - 1, 0))
        if path is not None:
            meter = self.session.document.score.meter
            start = self._stand(self._origin).start
            bars = [t - start for _, t in meter.bars(start + 1, start + path.length)]
            self.strip.show_steps(steps, path.length, bars, about_steps(path))
            self.figures.setText(ends_text(path))
        with QSignalBlocker(self.slider):
            self.slider.setValue(self.strip.current)
        self._fit_slider()
        self._buttons()

    def _buttons(self) -> None:
        has, some = self.path is not None, len(self.strip.selected)
        a, b = self.session.ends
        self.form.make_button.setEnabled(bool(self._cards) and a is not None and b is not None)
        self.slider.setVisible(has)
        for widget in (self.slider, self.play_button, self.keep_all, self.place, self.track):
            widget.setEnabled(has)
        self.keep_some.setEnabled(has and some > 0)
        self.keep_some.setText(f"Keep {some}" if some else "Keep some")

    # --- hearing -------------------------------------------------------------------------------------

    def position(self) -> float:
        """How far from A to B the slider stands, 0–1."""
        return self.slider.value() / max(self.slider.maximum(), 1)

    def set_position(self, share: float) -> None:
        """Put the slider `share` (0–1) of the way from A to B, as a MIDI controller does."""
        self.slider.setValue(round(min(max(share, 0.0), 1.0) * self.slider.maximum()))

    def go(self, step: int) -> None:
        """Make a step the current one; what plays follows it from the next bar on."""
        self.strip.set_current(step)
        if not self.slider.isSliderDown():  # else it would move away under the mouse
            box = self.strip.cell(step)
            self._scroll.ensureVisible(round(box.center().x()), 0, round(box.width()), 0)
        if self.listener.looping:
            self.listener.want(step)

    def toggle(self) -> None:
        """Play the step at the slider, or stop."""
        if self.listener.listening:
            self.listener.stop()
        elif self.path is not None and self.loop_button.isChecked():
            self._loop()
        elif self.path is not None:
            self._once(self.strip.current)
        self._heard()

    def _chosen(self, step: int) -> None:
        """A step was clicked: the slider goes there, and it is heard."""
        looping = self.listener.looping
        self.slider.setValue(step)
        if not looping and self.loop_button.isChecked():
            self._loop()
        elif not looping:
            self._once(step)

    def _loop(self) -> None:
        if self.path is not None:
            path = self.path
            self.listener.loop(
                path.steps, path.length, self._stand(self._origin), self.strip.current
            )

    def _once(self, step: int) -> None:
        if self.path is not None:
            stand = self._stand(self._origin)
            self.listener.once(self.path.steps[step], self.path.length, stand, step)

    def _restand(self) -> None:
        """With or without the other voices from now on."""
        if self.listener.looping:
            self._loop()

    def _stand(self, phrase: Phrase | None) -> Stand:
        """Where `phrase` is at home; music from elsewhere is heard at the marked bars or the beginning."""
        session = self.session
        score = session.document.score
        alone = self.alone.isChecked()
        if phrase is not None and phrase.start is not None:
            for track in score.tracks:
                if track.id == phrase.track:
                    return Stand(phrase.start, track, alone)
        start = session.span[0] if session.span is not None else 0
        if phrase is None:
            assert self.path is not None
            sound = self.path.proposal.tracks[0]
        else:
            sound = phrase.score.tracks[0]
        return Stand(start, replace(sound, id=score.next_track_id, name="Path"), alone)

    def _heard(self) -> None:
        listening = self.listener.listening
        self.play_button.setChecked(listening)
        if listening and not self._frame.isActive():
            self._frame.start()
        elif not listening:
            self._frame.stop()
        self._tell_sounding()

    def _tell_sounding(self) -> None:
        step, trial = self.listener.step, self.session.trial
        if step is None or trial is None or self.path is None or not self.session.playing:
            self.strip.set_sounding(None)
            return
        since = self.session.playhead_tick() - trial.region.start
        self.strip.set_sounding((step, since % self.path.length / self.path.length))

    # --- keeping -------------------------------------------------------------------------------------

    def keep_path(self) -> None:
        """Put the whole path into the piece, one step in the history."""
        if self.path is not None:
            self.keep(range(len(self.path.steps)))

    def keep(self, steps: Sequence[int]) -> None:
        """Put these steps, one after the other, where the panel says; one step in the history."""
        path, session = self.path, self.session
        if path is None or not steps:
            return
        score = session.document.score
        end = self._origin
        if end is None:  # the phrases were set anew since
            stand = self._stand(None)
            piece = replace(score, tracks=(stand.track,))
            end = Phrase(piece, path.length, "")
        start = after_music(score)
        if self.place.currentData() == AT_A:
            start = end.start or 0
        elif self.place.currentData() == MARKED:
            head = int(session.playhead_tick())
            bar = score.meter.bar_start(score.meter.position(head).bar)
            start = session.span[0] if session.span is not None else bar
        notes = passage([path.steps[k] for k in steps], path.length)
        own = self.track.currentData() == OWN
        try:
            made = kept(score, notes, len(steps) * path.length, start, end, own)
        except UserError as error:
            session.message.emit(str(error))
            return
        if session.commit("Keep path" if len(steps) > 1 else "Keep a step", made):
            # The ghosts of the whole would lie over what was kept, or tell of music that moved on.
            session.show_candidate(None)
            if len(steps) == len(path.steps):
                session.drop(c.key for c in session.candidates if c.proposal is path.proposal)

    # --- looks ---------------------------------------------------------------------------------------

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Resize:
            QTimer.singleShot(0, self, self._fit_slider)
        return super().eventFilter(watched, event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit_slider()

    def _fit_slider(self) -> None:
        """Put each of the slider's places under the middle of its step."""
        wide = self.strip.width() / max(self.strip.count, 1)
        margin = max(round((wide - HANDLE_PX) / 2), 0)
        self._rail.setContentsMargins(margin, 0, margin, 0)

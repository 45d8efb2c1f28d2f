"""Listening: steps of a path heard in place of the document's music, in a loop under one slider, or one once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from PySide6.QtCore import QObject, QTimer, Signal

from app.phrases import clipped, joined
from app.scrub import Scrub, laid, loop_lines
from app.session import Session, Trial
from engine.document import Document
from models.score import NO_CONTROLS, Notes, Region, Score, Track

FOLLOW_MS = 40
"""How often it looks where the loop is."""


@dataclass(frozen=True)
class Stand:
    """Where steps are heard: from tick `start` on with the sound of `track`, which takes the place of the
    document's track of that id if it has one; `alone`: without the other tracks."""

    start: int
    track: Track
    alone: bool = True

    def trial(self, score: Score, notes: Notes, length: int) -> Trial:
        """`score` with `notes` (at the document's ticks) in place of that track's music there."""
        end = self.start + length
        there = next((t for t in score.tracks if t.id == self.track.id), None)
        track = there or replace(self.track, controls=NO_CONTROLS)
        outside = track.notes.where(~track.notes.sounding(self.start, end))
        fresh = joined([notes]).with_(locked=False)
        fresh = fresh.with_(id=fresh.id + score.next_id)
        heard = replace(
            track,
            notes=Notes.concatenate([outside, fresh]) if there else fresh,
            muted=False,
            soloed=self.alone or track.soloed,
        )
        if self.alone:
            score = replace(score, tracks=tuple(replace(t, soloed=False) for t in score.tracks))
        region = Region(self.start, end, frozenset({track.id}))
        return Trial(score.with_track(heard), region, (replace(track, notes=fresh),))


@dataclass(frozen=True)
class _Borrowed:
    """The loop of a document before listening took its place with `ours`."""

    document: Document
    loop: tuple[int, int] | None
    ours: tuple[int, int] | None = None


class Listener(QObject):
    """Lets the transport play steps, and ends that when it stops or something else is tried.

    `play_asked(tick, until)` and `stop_asked()` are for the transport. `changed` follows `listening` and
    `step`, the one that sounds.
    """

    play_asked = Signal(int, int)
    stop_asked = Signal()
    changed = Signal()

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self._stand: Stand | None = None
        self._steps: tuple[Notes, ...] = ()
        self._length = 0
        self._scrub: Scrub | None = None
        self._wanted = 0
        self._ran = False
        self._borrowed: _Borrowed | None = None
        self._timer = QTimer(self, interval=FOLLOW_MS)
        self._timer.timeout.connect(self._follow)
        self._step: int | None = None
        session.playhead_changed.connect(self._playhead)
        session.trial_ended.connect(self._ended)

    @property
    def listening(self) -> bool:
        """Whether steps are heard now."""
        return self._stand is not None

    @property
    def looping(self) -> bool:
        """Whether they are heard in a loop."""
        return self._scrub is not None

    @property
    def step(self) -> int | None:
        """The step that sounds, None when none does."""
        return self._step

    def loop(self, steps: Sequence[Notes], length: int, stand: Stand, step: int) -> None:
        """Play steps[step], from tick 0 to `length`, round and round until `stop`; see `want`."""
        self._begin(stand)
        self._steps, self._length, self._wanted = tuple(steps), length, step
        lines = loop_lines(self._session.document.score.meter, stand.start, length)
        self._scrub = Scrub.of(lines, step)
        self._show()
        self._borrow((lines[0], lines[-1]))
        self._start(lines[0], lines[-1])

    def once(self, notes: Notes, length: int, stand: Stand, step: int = 0) -> None:
        """Play `notes`, from tick 0 to `length`, once."""
        self._begin(stand)
        self._scrub, self._wanted = None, step
        placed = clipped(notes, 0, length)
        placed = placed.with_(onset=placed.onset + stand.start)
        self._session.try_out(stand.trial(self._session.document.score, placed, length))
        self._borrow(None)
        self._start(stand.start, stand.start + length)

    def want(self, step: int) -> None:
        """Play another step from the next bar on."""
        self._wanted = step
        self._follow()

    def stop(self) -> None:
        """Stop, and let the document be heard again."""
        if self.listening:
            self.stop_asked.emit()
            self._session.revert()

    def _begin(self, stand: Stand) -> None:
        self._stand, self._ran = stand, False

    def _borrow(self, loop: tuple[int, int] | None) -> None:
        session = self._session
        if self._borrowed is None:
            self._borrowed = _Borrowed(session.document, session.loop)
        self._borrowed = replace(self._borrowed, ours=loop)
        session.set_loop(loop)

    def _start(self, start: int, end: int) -> None:
        self._step = self._wanted
        self._timer.start()
        self.play_asked.emit(start, end)
        self.changed.emit()

    def _show(self) -> None:
        assert self._stand is not None
        assert self._scrub is not None
        lines = self._scrub.lines
        notes = laid(self._steps, self._length, lines, self._scrub.which)
        trial = self._stand.trial(self._session.document.score, notes, lines[-1] - lines[0])
        self._session.try_out(trial)

    def _follow(self) -> None:
        """Fill the bars that may change with what is wanted, and tell which step sounds."""
        session = self._session
        if self._scrub is None or not session.playing:
            return
        tick = session.playhead_tick()
        filled = self._scrub.changed(session.heard.tempo, tick, self._wanted)
        if filled is not self._scrub:
            self._scrub = filled
            self._show()
        sounding = filled.step(tick)
        if sounding != self._step:
            self._step = sounding
            self.changed.emit()

    def _playhead(self) -> None:
        if not self.listening:
            return
        if self._session.playing:
            self._ran = True
        elif self._ran:
            self._session.revert()

    def _ended(self) -> None:
        """The trial is over, by whatever way."""
        self._timer.stop()
        self._stand = self._scrub = self._step = None
        session, borrowed, self._borrowed = self._session, self._borrowed, None
        # Unless another document was opened, or the loop was set by hand meanwhile.
        if (
            borrowed is not None
            and session.document is borrowed.document
            and session.loop == borrowed.ours
        ):
            session.set_loop(borrowed.loop)
        self.changed.emit()

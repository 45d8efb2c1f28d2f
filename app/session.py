"""Session: the open document as Qt sees it, with what is selected, marked, proposed and playing.

Everything here lives in the GUI thread. Views read properties and connect to signals; gestures end in
`commit`. Nothing here draws, opens a port or waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QObject, Signal

from app.candidates import Candidate, received
from app.phrases import Phrase
from engine.document import Change, Document
from models.card import Card
from models.score import Mask, Notes, Region, Score, Track, UserError
from models.system import Ask, Progress, Proposal
from models.timebase import PPQ, SIXTEENTH, TempoMap

SNAPS: tuple[tuple[str, int], ...] = (
    ("off", 1),
    ("1/1", 4 * PPQ),
    ("1/2", 2 * PPQ),
    ("1/4", PPQ),
    ("1/4 triplet", PPQ * 2 // 3),
    ("1/8", PPQ // 2),
    ("1/8 triplet", PPQ // 3),
    ("1/16", SIXTEENTH),
    ("1/16 triplet", PPQ // 6),
    ("1/32", PPQ // 8),
    ("1/64", PPQ // 16),
)
"""Names of the snap grids and their widths in ticks."""

EVERYTHING = Change(
    tempo=True, meter=True, keys=True, fermatas=True, title=True, structure=True, committed=True
)


@dataclass(frozen=True)
class Playhead:
    """Where the transport was at a moment: `tick` at `at` seconds of the session's clock; `bpm` and `rate` as
    `engine.playback.Anchor` has them."""

    tick: float = 0.0
    at: float = 0.0
    playing: bool = False
    bpm: float = 0.0
    rate: float = 1.0


@dataclass(frozen=True)
class Ghost:
    """Proposed notes of one track. `colour` is the track's index for the palette; `name` as the track's."""

    track: int
    colour: int
    name: str
    notes: Notes


@dataclass(frozen=True)
class Job:
    """A request at work: how far it is, what it says, and the device it runs on ("" while it waits)."""

    request: int
    card: Card
    ask: Ask
    device: str = ""
    fraction: float = 0.0
    text: str = "waiting"


@dataclass(frozen=True)
class Trial:
    """Music heard in place of the document's for as long as one likes: `score` is all that sounds,
    `tracks` those of its notes that are drawn as ghosts, which take the place of what `region` owns."""

    score: Score
    region: Region
    tracks: tuple[Track, ...]


class Session(QObject):
    """The document and everything about it that is not in the file.

    `changed(Change)` follows every change of the document, previews included (`Change.committed`);
    after `replace_document` every field of the Change is set. `auditioned(track, pitch, velocity)`
    asks for a sound, velocity 0 for its end. `sought(tick)` asks the transport to go there.
    `hearing_started(tick)` comes when a candidate that begins at `tick` is to be heard,
    `phrase_started(start, end, again)` when one is to be heard from `start` to `end` and no further,
    from its beginning once more if `again`.
    `ends_changed` follows `ends`, the two phrases a path leads between; `path_changed` follows `path`,
    the path's points on the latent map; `trial_ended` says that something took a trial's place.
    """

    changed = Signal(object)
    selection_changed = Signal()
    region_changed = Signal()
    active_track_changed = Signal()
    snap_changed = Signal()
    loop_changed = Signal()
    playhead_changed = Signal()
    proposals_changed = Signal()
    job_changed = Signal()
    hearing_started = Signal(int)
    phrase_started = Signal(int, int, bool)
    auditioned = Signal(int, int, int)
    sought = Signal(int)
    message = Signal(str)
    ends_changed = Signal()
    path_changed = Signal()
    trial_ended = Signal()

    def __init__(
        self,
        document: Document | None = None,
        *,
        now: Callable[[], float] = time.perf_counter,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._now = now
        self._requests = count(1)
        self._snap = SIXTEENTH
        self._ends: tuple[Phrase | None, Phrase | None] = (None, None)
        self._path: tuple[str, tuple[tuple[float, float], ...]] = ("", ())
        self._adopt(document or Document())

    def _adopt(self, document: Document) -> None:
        self.document = document
        self._unlisten = document.listen(self._on_change)
        self._selection: frozenset[int] = frozenset()
        self._selected: npt.NDArray[np.int64] | None = None
        self._span: tuple[int, int] | None = None
        self._ticked: frozenset[int] = frozenset()
        self._active = document.score.tracks[0].id if document.score.tracks else -1
        self._loop: tuple[int, int] | None = None
        self._playhead = Playhead()
        self._candidates: tuple[Candidate, ...] = ()
        self._shown: tuple[int, int] | None = None
        self._hearing = False
        self._trial: Trial | None = None
        self._job: Job | None = None

    # --- the document ----------------------------------------------------------------------------

    @property
    def score(self) -> Score:
        """What views draw and gestures start from: the score, or a gesture's preview of it.

        While a candidate is heard this is still the score without it; the candidate is in `ghosts`.
        """
        tried = self._hearing or self._trial is not None
        return self.document.score if tried else self.document.shown

    @property
    def heard(self) -> Score:
        """What the transport plays: `score`, or a candidate or a trial in its place."""
        return self.document.shown

    def commit(self, label: str, score: Score) -> bool:
        """Make `score` the document as one undo step; False (and a message) when it can't be written."""
        self._end_hearing()
        try:
            self.document.commit(label, score)
        except UserError as error:
            self.document.revert()
            self.message.emit(str(error))
            return False
        return True

    def preview(self, score: Score) -> None:
        """Show a tentative edit; `commit` or `revert` must follow."""
        self._end_hearing()
        self.document.preview(score)

    def revert(self) -> None:
        """Drop the tentative edit (or stop hearing a candidate or a trial)."""
        self._end_hearing()
        self.document.revert()

    def undo(self) -> None:
        """One step back."""
        self._step(self.document.undo)

    def redo(self) -> None:
        """One step forward again."""
        self._step(self.document.redo)

    def _step(self, step: Callable[[], None]) -> None:
        self._end_hearing()
        try:
            step()
        except UserError as error:
            self.message.emit(str(error))

    def replace_document(self, document: Document) -> None:
        """Open another document in place of this one; selection, region and proposals go."""
        self._unlisten()
        tried = self._trial is not None
        self._adopt(document)
        self._ends = tuple(p and p.elsewhere() for p in self._ends)  # type: ignore[assignment]
        if tried:
            self.trial_ended.emit()
        ids = frozenset(t.id for t in document.score.tracks)
        self.changed.emit(replace(EVERYTHING, tracks=ids))
        for signal in (
            self.selection_changed,
            self.region_changed,
            self.active_track_changed,
            self.loop_changed,
            self.proposals_changed,
            self.job_changed,
            self.playhead_changed,
            self.ends_changed,
        ):
            signal.emit()

    def _on_change(self, change: Change) -> None:
        if change.committed and change.tracks:
            self._forget_missing(change)
        self.changed.emit(change)
        if change.committed and change.tracks and self._candidates:
            self._mark_stale()

    def _forget_missing(self, change: Change) -> None:
        score = self.document.score
        if self._selection:
            there = np.concatenate([t.notes.id for t in score.tracks] or [np.zeros(0, np.int64)])
            kept = self.selected[np.isin(self.selected, there)]
            if len(kept) < len(self._selection):
                self.select(kept)
        if change.structure:
            ids = {t.id for t in score.tracks}
            if self._active not in ids:
                self.set_active_track(next((t.id for t in score.tracks), -1))
            if not self._ticked <= ids:
                self._ticked = self._ticked & ids
                self.region_changed.emit()

    # --- what is chosen --------------------------------------------------------------------------

    @property
    def selection(self) -> frozenset[int]:
        """Ids of the selected notes."""
        return self._selection

    @property
    def selected(self) -> npt.NDArray[np.int64]:
        """The same ids as a sorted array."""
        if self._selected is None:
            self._selected = np.array(sorted(self._selection), np.int64)
        return self._selected

    def select(self, ids: Iterable[int] | npt.NDArray[np.int64]) -> None:
        """Select exactly these notes."""
        new = frozenset(ids.tolist() if isinstance(ids, np.ndarray) else ids)
        if new != self._selection:
            self._selection, self._selected = new, None
            self.selection_changed.emit()

    @property
    def active_track(self) -> int:
        """Id of the track that new notes go to; −1 when there is no track."""
        return self._active

    def set_active_track(self, track_id: int) -> None:
        """Make a track the active one."""
        if track_id != self._active:
            self._active = track_id
            self.active_track_changed.emit()

    @property
    def snap(self) -> int:
        """Width of the snap grid in ticks; 1 when snapping is off."""
        return self._snap

    def set_snap(self, ticks: int) -> None:
        """Set the snap grid."""
        if ticks != self._snap:
            self._snap = ticks
            self.snap_changed.emit()

    @property
    def span(self) -> tuple[int, int] | None:
        """The bars marked in the ruler, as ticks [start, end)."""
        return self._span

    @property
    def ticked(self) -> frozenset[int]:
        """Ids of the tracks that may change."""
        return self._ticked

    @property
    def region(self) -> Region | None:
        """The bars marked × the tracks ticked (which may be none); None while no bars are marked."""
        return None if self._span is None else Region(*self._span, self._ticked)

    def set_span(self, span: tuple[int, int] | None) -> None:
        """Mark bars, in ticks [start, end), start < end."""
        if span != self._span:
            self._span = span
            self.region_changed.emit()

    def set_ticked(self, tracks: Iterable[int]) -> None:
        """Say which tracks may change."""
        ticked = frozenset(tracks)
        if ticked != self._ticked:
            self._ticked = ticked
            self.region_changed.emit()

    @property
    def loop(self) -> tuple[int, int] | None:
        """The loop in ticks [start, end), or None when it is off."""
        return self._loop

    def set_loop(self, loop: tuple[int, int] | None) -> None:
        """Set or end the loop."""
        if loop != self._loop:
            self._loop = loop
            self.loop_changed.emit()

    # --- playing ---------------------------------------------------------------------------------

    @property
    def playing(self) -> bool:
        """Whether the transport runs."""
        return self._playhead.playing

    def now(self) -> float:
        """The session's clock, in seconds."""
        return self._now()

    def playhead_tick(self, now: float | None = None) -> float:
        """The tick sounding at `now` seconds of the session's clock (this moment when None)."""
        head = self._playhead
        if not head.playing:
            return head.tick
        tempo = TempoMap.constant(head.bpm) if head.bpm else self.heard.tempo
        since = max((self._now() if now is None else now) - head.at, 0.0) * head.rate
        second = tempo.second(head.tick) + since
        if self._loop is not None and head.tick < self._loop[1]:
            start, end = (tempo.second(t) for t in self._loop)
            if second >= end > start:
                second = start + (second - end) % (end - start)
        return float(tempo.ticks(second))

    def set_playhead(self, playhead: Playhead) -> None:
        """The transport's word on where it is."""
        self._playhead = playhead
        self.playhead_changed.emit()

    def seek(self, tick: int) -> None:
        """Ask the transport to go to `tick`."""
        self.sought.emit(max(tick, 0))

    def audition(self, pitch: int, velocity: int = 80, track_id: int | None = None) -> None:
        """Sound a note with a track's instrument (the active one's when None); velocity 0 ends it."""
        self.auditioned.emit(self._active if track_id is None else track_id, pitch, velocity)

    # --- proposals -------------------------------------------------------------------------------

    @property
    def job(self) -> Job | None:
        """The request at work, or None."""
        return self._job

    def number(self) -> int:
        """A request's number that no other has."""
        return next(self._requests)

    def begin(self, card: Card, ask: Ask) -> int:
        """Open a request; returns its number, which later calls quote."""
        request = self.number()
        self._job = Job(request, card, ask)
        self.job_changed.emit()
        return request

    def started(self, request: int, device: str) -> None:
        """The engine has taken the request up on that device."""
        self._work(request, device=device, text="")

    def progressed(self, request: int, progress: Progress) -> None:
        """The engine says how far it is."""
        self._work(request, fraction=progress.fraction, text=progress.text)

    def ended(self, request: int, sentence: str = "") -> None:
        """The request is over; `sentence` says why when it failed."""
        if self._job is not None and self._job.request == request:
            self._job = None
            self.job_changed.emit()
        if sentence:
            self.message.emit(sentence)

    def _work(self, request: int, **changes: object) -> None:
        if self._job is not None and self._job.request == request:
            self._job = replace(self._job, **changes)  # type: ignore[arg-type]
            self.job_changed.emit()

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """The tray, oldest request first."""
        return self._candidates

    @property
    def shown_candidate(self) -> Candidate | None:
        """The candidate drawn as ghosts (and perhaps heard)."""
        return next((c for c in self._candidates if c.key == self._shown), None)

    @property
    def hearing(self) -> bool:
        """Whether the shown candidate is heard in place of the notes it would replace."""
        return self._hearing

    @property
    def ghosts(self) -> tuple[Ghost, ...]:
        """The notes of the trial, else of the shown candidate, by track; empty when there are none."""
        if self._trial is None and self.shown_candidate is None:
            return ()
        order = {t.id: i for i, t in enumerate(self.document.score.tracks)}
        fresh = len(order)
        found = []
        for track in self._drawn()[1]:
            if track.id not in order:
                order[track.id], fresh = fresh, fresh + 1
            found.append(Ghost(track.id, order[track.id], track.name, track.notes))
        return tuple(found)

    def replaced(self, track: Track) -> Mask:
        """A mask of the track's notes that the ghosts take the place of: views draw them faint."""
        region, tracks = self._drawn()
        if region is None or all(t.id != track.id for t in tracks):
            return np.zeros(len(track.notes), bool)
        return region.with_tracks({track.id}).owned(track)

    def _drawn(self) -> tuple[Region | None, tuple[Track, ...]]:
        """Where ghosts are drawn, and what they are."""
        if self._trial is not None:
            return self._trial.region, self._trial.tracks
        shown = self.shown_candidate
        return (None, ()) if shown is None else (shown.proposal.region, shown.proposal.tracks)

    def propose(self, request: int, proposal: Proposal) -> None:
        """The engine has sent a candidate, new or improved. The first of a request is shown."""
        job = self._job
        known = next((c for c in self._candidates if c.request == request), None)
        if job is not None and job.request == request:
            card, ask = job.card, job.ask
        elif known is not None:
            card, ask = known.card, known.ask
        else:
            return  # dropped, or of a document since closed
        self._candidates = received(self._candidates, request, card, ask, proposal)
        if known is None:
            self._shown = (request, proposal.candidate)
            self._stop_hearing()
        self._mark_stale(tell=False)
        if self._hearing and self._shown == (request, proposal.candidate):
            self._play_shown()
        self.proposals_changed.emit()

    def show_candidate(self, key: tuple[int, int] | None) -> None:
        """Draw another candidate as ghosts, or none; what was heard is heard no more."""
        if key == self._shown and not self._hearing:
            return
        self._stop_hearing()
        self._shown = key
        self.proposals_changed.emit()

    def hear(self, key: tuple[int, int]) -> None:
        """Show that candidate and let the transport play it in place of what it would replace."""
        started = not self._hearing
        self._shown = key
        self._play_shown()
        self.proposals_changed.emit()
        shown = self.shown_candidate
        if started and shown is not None:
            self.hearing_started.emit(shown.proposal.region.start)

    def offer(self, number: int, card: Card, ask: Ask, proposal: Proposal) -> None:
        """Put a candidate into the tray, in place of the one of that number, and show it.

        For candidates that follow a hand: what is heard of the one before is heard of this one at once.
        """
        self._candidates = received(self._candidates, number, card, ask, proposal)
        key = (number, proposal.candidate)
        if self._shown != key:
            self._stop_hearing()
            self._shown = key
        self._mark_stale(tell=False)
        if self._hearing:
            self._play_shown()
        self.proposals_changed.emit()

    def hear_phrase(self, key: tuple[int, int], again: bool = True) -> None:
        """As `hear`, but what rests plays the candidate's bars only; `again`: from their beginning even
        when they are playing so already."""
        if not self._hearing or self._shown != key:
            self._shown = key
            self._play_shown()
            self.proposals_changed.emit()
        shown = self.shown_candidate
        if shown is not None:
            region = shown.proposal.region
            self.phrase_started.emit(region.start, region.end, again)

    def keep(self, key: tuple[int, int]) -> bool:
        """Make that candidate part of the document: one undo step. It leaves the tray."""
        chosen = next((c for c in self._candidates if c.key == key), None)
        if chosen is None:
            return False
        self._candidates = tuple(c for c in self._candidates if c.key != key)
        shown, self._shown = self._shown, None
        if not self.commit(f"Keep {chosen.title}", chosen.applied(self.document.score)):
            self._candidates = tuple(sorted([*self._candidates, chosen], key=lambda c: c.key))
            self._shown = shown
            self.proposals_changed.emit()
            return False
        self.proposals_changed.emit()
        return True

    def drop(self, keys: Iterable[tuple[int, int]]) -> None:
        """Forget candidates."""
        gone = set(keys)
        if self._shown in gone:
            self._stop_hearing()
            rest = [c.key for c in self._candidates if c.key not in gone]
            later = [k for k in rest if k > self._shown]
            self._shown = later[0] if later else (rest[-1] if rest else None)
        self._candidates = tuple(c for c in self._candidates if c.key not in gone)
        self.proposals_changed.emit()

    # --- paths -----------------------------------------------------------------------------------

    @property
    def ends(self) -> tuple[Phrase | None, Phrase | None]:
        """The phrases A and B that a path leads between, as far as they are set."""
        return self._ends

    def set_end(self, index: int, phrase: Phrase | None) -> None:
        """Set A (0) or B (1)."""
        a, b = self._ends
        self._ends = (phrase, b) if index == 0 else (a, phrase)
        self.ends_changed.emit()

    def path(self, system_id: str) -> tuple[tuple[float, float], ...]:
        """The newest path's points, from A to B, on that system's latent map; empty when there is none."""
        return self._path[1] if self._path[0] == system_id else ()

    def set_path(self, system_id: str, points: Iterable[tuple[float, float]]) -> None:
        """Say where the newest path lies on a system's map."""
        self._path = system_id, tuple(points)
        self.path_changed.emit()

    @property
    def trial(self) -> Trial | None:
        """What is heard in place of the document without being a candidate, or None."""
        return self._trial

    def try_out(self, trial: Trial) -> None:
        """Let the transport play `trial` until `revert`, an edit, or the hearing of a candidate."""
        self._hearing = False
        self._trial = trial
        self.document.preview(trial.score)
        self.proposals_changed.emit()

    def _play_shown(self) -> None:
        shown = self.shown_candidate
        if shown is not None:
            self._drop_trial()
            self._hearing = True
            self.document.preview(shown.applied(self.document.score))

    def _stop_hearing(self) -> None:
        if self._hearing:
            self._hearing = False
            self.document.revert()

    def _end_hearing(self) -> None:
        """An edit is about to take the place of the preview that is heard."""
        if self._hearing or self._trial is not None:
            self._hearing = False
            self._drop_trial()
            self.proposals_changed.emit()

    def _drop_trial(self) -> None:
        if self._trial is not None:
            self._trial = None
            self.trial_ended.emit()

    def _mark_stale(self, tell: bool = True) -> None:
        score = self.document.score
        marked = tuple(replace(c, stale=c.is_stale(score)) for c in self._candidates)
        if [c.stale for c in marked] != [c.stale for c in self._candidates]:
            self._candidates = marked
            if tell:
                self.proposals_changed.emit()

"""Capture: the record of everything played in, what is caught of it, and how that is heard and kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from PySide6.QtCore import QObject, QSettings, QTimer, Signal

from app.composer import bars_text
from app.session import Session, Trial
from engine import edits
from engine.capture import Recorder, Stretch, Take, take
from engine.capture_bars import Place, Wish
from engine.document import Change, Document
from engine.playback import Anchor, Played
from engine.quantising import GRIDS, Quantise
from models.score import Controls, Notes, Region, Score, Track, UserError
from models.timebase import TempoMap

TELL_MS = 150
"""What is played in is shown this long after the first of it."""

DRUMS = 9


class Version(StrEnum):
    """Which of a take's two: as it was played, quantised, or each on a track of its own."""

    PLAYED = "played"
    QUANTISED = "quantised"
    BOTH = "both"


@dataclass(frozen=True)
class Target:
    """What a take goes into: the track of that id (None: a new one), beside what is there or, with
    `over`, in place of it. `sound`: the track whose sound a new one has."""

    track: int | None = None
    over: bool = False
    sound: int = -1


def music(made: Take, version: Version) -> tuple[Notes, Controls]:
    """The notes and controllers of a take, as played or quantised."""
    if version is Version.PLAYED:
        return made.untouched, made.controls
    return made.quantised, made.quantised_controls


def kept(score: Score, made: Take, version: Version, target: Target) -> Score:
    """`score` with the take in it. Both versions are two new tracks, what was played muted.

    A score without notes takes on the player's tempo where the take has one. Locked notes always stay.
    """
    if made.bpm is not None and not score.length:
        score = edits.set_tempo(score, TempoMap.constant(made.bpm))
    if version is Version.BOTH:
        name = _fresh_name(score)
        score = _on_new(score, made, Version.QUANTISED, target.sound, name)
        return _on_new(score, made, Version.PLAYED, target.sound, f"{name} as played", muted=True)
    if target.track is None:
        return _on_new(score, made, version, target.sound, _fresh_name(score))
    if target.over:
        score = edits.clear(score, Region(made.start, made.end, frozenset({target.track})))
    notes, controls = music(made, version)
    score = edits.add(score, target.track, notes)
    track = score.track(target.track)
    there = track.controls
    stays = np.ones(len(there), bool)
    if target.over:
        stays = (there.tick < made.start) | (there.tick >= made.end)
    columns = {
        name: np.concatenate([getattr(there, name)[stays], getattr(controls, name)])
        for name in ("tick", "status", "data1", "data2")
    }
    return score.with_track(replace(track, controls=Controls(**columns)))


def _fresh_name(score: Score) -> str:
    number = 1
    while score.named(f"Capture {number}") is not None:
        number += 1
    return f"Capture {number}"


def _on_new(
    score: Score, made: Take, version: Version, sound: int, name: str, *, muted: bool = False
) -> Score:
    used = {t.channel for t in score.tracks}
    like = next((t for t in score.tracks if t.id == sound), Track(0, ""))
    free = next((c for c in range(16) if c != DRUMS and c not in used), like.channel)
    notes, controls = music(made, version)
    track = replace(
        like,
        id=score.next_track_id,
        name=name,
        channel=DRUMS if like.channel == DRUMS else free,
        notes=notes.with_(id=score.next_id + np.arange(len(notes))),
        controls=controls,
        muted=muted,
        soloed=False,
    )
    return score.with_track(track)


class Capture(QObject):
    """Records what comes in, shows the last bars of it as `made`, lets them be heard and keeps them.

    `changed` follows everything that can be read here; `have(seconds, notes)` tells how much is remembered.
    While it is `following`, `made` is what was played last; to hear it or to `catch` it holds it still.
    `kept(sentence)` says what was kept and where. `stop_asked` is for the transport.
    """

    changed = Signal()
    have = Signal(float, int)
    kept = Signal(str)
    stop_asked = Signal()

    def __init__(
        self,
        session: Session,
        settings: QSettings | None = None,
        *,
        now: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        super().__init__(session)
        self._session, self._settings, self._now = session, settings, now
        self.recorder = Recorder()
        self.wish, self.quantise = Wish(), Quantise(strength=0.6)
        self.new_track, self.over = False, False
        self.made: Take | None = None
        self.stretches: tuple[Stretch, ...] = ()
        self.sentence = ""
        self._watched = False
        self._caught: tuple[int, int] | None = None  # the moment, and the playhead then
        self._trial: Trial | None = None
        self._version = Version.PLAYED
        self._ran = False
        self._loop: tuple[Document, tuple[int, int] | None] | None = None
        self._later = QTimer(self, singleShot=True, interval=TELL_MS)
        self._later.timeout.connect(self._tell)
        session.playhead_changed.connect(self._playhead)
        session.trial_ended.connect(self._ended)
        session.changed.connect(self._document)
        self._restore()

    # --- what comes in -----------------------------------------------------------------------------

    def heard(self, played: Played) -> None:
        """A message came in from a MIDI input."""
        self.recorder.heard(played)
        if not self._later.isActive():
            self._later.start()

    def anchored(self, anchor: Anchor) -> None:
        """The transport says where it is."""
        session = self._session
        self.recorder.anchored(anchor, session.heard.tempo, session.loop)

    def lost(self, source: str) -> None:
        """A MIDI input is gone."""
        self.recorder.lost(source, self._now())

    def restarted(self) -> None:
        """The MIDI process was started again: nothing plays, and no key's end will be told."""
        for source in self.recorder.sources:
            self.lost(source)
        self.anchored(Anchor(self._session.playhead_tick(), self._now(), False))

    def watch(self, watched: bool) -> None:
        """Say whether anybody looks at `made`; if not, it is worked out only when asked for."""
        self._watched = watched
        if watched:
            self._tell()

    def _tell(self) -> None:
        self.have.emit(self.recorder.seconds, self.recorder.notes)
        if self._watched and self.following:
            self.refresh()

    # --- what is wished ------------------------------------------------------------------------------

    def set_wish(self, **changes: object) -> None:
        """Change what is taken out of the record; see Wish. What lies further back is held still."""
        self.wish = replace(self.wish, **changes)  # type: ignore[arg-type]
        if (changes.get("stretch") or changes.get("back")) and self.following:
            self._hold()
        if self._settings is not None:
            self._settings.setValue("capture/bars", self.wish.bars)
            self._settings.setValue("capture/latency_ms", self.wish.latency_ms)
        self.refresh()

    def set_quantise(self, **changes: object) -> None:
        """Change how it is quantised; see Quantise."""
        self.quantise = replace(self.quantise, **changes)  # type: ignore[arg-type]
        if self._settings is not None:
            for name in ("grid", "strength", "swing", "ends"):
                self._settings.setValue(f"capture/{name}", getattr(self.quantise, name))
        self.refresh()

    def set_target(self, *, new_track: bool | None = None, over: bool | None = None) -> None:
        """Say whether a take goes to a new track, and whether it replaces what is in its bars."""
        self.new_track = self.new_track if new_track is None else new_track
        self.over = self.over if over is None else over
        self._again()
        self.changed.emit()

    def _restore(self) -> None:
        if self._settings is None:
            return

        def number(name: str, usual: float, low: float, high: float) -> float:
            assert self._settings is not None
            try:
                value = float(str(self._settings.value(f"capture/{name}", usual)))
            except ValueError:
                return usual
            return value if low <= value <= high else usual

        grid = int(number("grid", self.quantise.grid, 1, 1e6))
        self.wish = replace(
            self.wish,
            bars=int(number("bars", 8, 1, 999)),
            latency_ms=number("latency_ms", 0.0, 0.0, 200.0),
        )
        self.quantise = Quantise(
            grid if grid in {width for _, width in GRIDS} else self.quantise.grid,
            number("strength", 0.6, 0.0, 1.0),
            number("swing", 0.5, 0.5, 0.75),
            str(self._settings.value("capture/ends", "false")).lower() == "true",
        )

    # --- what is caught ------------------------------------------------------------------------------

    @property
    def following(self) -> bool:
        """Whether `made` follows what is played."""
        return self._caught is None

    @property
    def moment(self) -> int:
        """The moment up to which `made` was played: now, or when it was caught."""
        return self._now() if self._caught is None else self._caught[0]

    def catch(self) -> None:
        """Hold still what was played last, as of now."""
        self._hold()
        self.refresh()

    def _hold(self) -> None:
        self._caught = (self._now(), int(self._session.playhead_tick()))

    def follow(self) -> None:
        """Show what is played last again, whatever was caught."""
        self.stop()
        self._caught = None
        self.wish = replace(self.wish, stretch=0, back=0)
        self.refresh()

    def refresh(self) -> None:
        """Work out anew what is caught."""
        score = self._session.document.score
        now, playhead = self._caught or (self._now(), int(self._session.playhead_tick()))
        self.stretches = self.recorder.stretches(score, playhead, now)
        try:
            passage = self.recorder.passage(self.wish, score, playhead, now)
            self.made, self.sentence = take(passage, self.quantise), ""
        except UserError as error:
            self.made, self.sentence = None, str(error)
        self._again()
        self.changed.emit()

    def _document(self, change: Change) -> None:
        moved = change.tempo or change.meter or self.wish.place is Place.END
        if self._watched and change.committed and moved:
            self.refresh()

    # --- hearing -------------------------------------------------------------------------------------

    @property
    def hearing(self) -> Version | None:
        """Which version is heard now, None for none."""
        ours = self._trial is not None and self._session.trial is self._trial
        return self._version if ours else None

    def hear(self, version: Version) -> None:
        """Play the take among the document's other music, or stop if that is what is heard.

        What rests goes back to where it was; what plays goes on, from the take's first bar unless a
        loop around it brings it anyway.
        """
        session = self._session
        if self.hearing is version:
            self.stop()
            return
        if self.following:
            self.catch()
        made = self.made
        if made is None:
            session.message.emit(self.sentence)
            return
        switched = self.hearing is not None
        if not switched:
            session.revert()  # whatever else is tried
        self._version = version
        self._try(made)
        if switched:
            self.changed.emit()
            return
        self._ran = session.playing
        start = min(made.start, int(made.untouched.onset.min()))
        loop = session.loop
        if not (session.playing and loop and loop[0] <= start and made.end <= loop[1]):
            self._loop = (session.document, loop)
            session.set_loop(None)
            if session.playing:
                session.seek(start)
            else:
                session.phrase_started.emit(start, made.end, True)
        self.changed.emit()

    def stop(self) -> None:
        """Hear the take no more."""
        if self.hearing is not None:
            if self._loop is not None:  # else it is the loop that plays on
                self.stop_asked.emit()
            self._session.revert()

    def _try(self, made: Take) -> None:
        score = self._session.document.score
        target = self._target()
        heard = kept(score, made, self._version, target)
        region = Region(made.start, made.end)
        notes, _ = music(made, self._version)
        fresh = notes.with_(id=score.next_id + np.arange(len(notes)))
        # Only a track that something is taken out of is drawn as if something were.
        track_id = target.track if target.over and target.track is not None else None
        ghost = Track(score.next_track_id if track_id is None else track_id, "Capture", fresh)
        self._trial = Trial(heard, region, (ghost,))
        self._session.try_out(self._trial)

    def _again(self) -> None:
        """What is heard is heard as it now is."""
        if self.hearing is None:
            return
        if self.made is None:
            self.stop()
        else:
            self._try(self.made)

    def _playhead(self) -> None:
        if self.hearing is None:
            return
        if self._session.playing:
            self._ran = True
        elif self._ran:
            self._session.revert()

    def _ended(self) -> None:
        """The trial is over, by whatever way."""
        if self._trial is None:
            return
        self._trial = None
        session, borrowed, self._loop = self._session, self._loop, None
        if borrowed is not None and session.document is borrowed[0] and session.loop is None:
            session.set_loop(borrowed[1])
        self.changed.emit()

    # --- keeping -------------------------------------------------------------------------------------

    def _target(self) -> Target:
        active = self._session.active_track
        there = any(t.id == active for t in self._session.document.score.tracks)
        track = active if there and not self.new_track else None
        return Target(track, self.over and track is not None, active)

    def keep(self, version: Version = Version.PLAYED) -> bool:
        """Put the take into the document, one step in the history; False (and a message) when it can't be."""
        session = self._session
        if self.made is None or not self._watched:
            self.refresh()
        made = self.made
        if made is None:
            session.message.emit(self.sentence)
            return False
        score = kept(session.document.score, made, version, self._target())
        meter = score.meter
        bars = meter.position(made.end - 1).bar - meter.position(made.start).bar + 1
        how = {
            Version.PLAYED: "as played",
            Version.QUANTISED: f"quantised {self.quantise.strength:.0%}".replace("%", " %"),
            Version.BOTH: "as played and quantised",
        }[version]
        if not session.commit(f"Keep {bars} bar{'s' * (bars != 1)} {how}", score):
            return False
        self.follow()
        notes = len(music(made, version)[0])
        where = bars_text(score, made.start, made.end)
        self.kept.emit(f"Kept {notes} note{'s' * (notes != 1)} in {where}.")
        return True

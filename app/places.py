"""Places on the latent map: phrases of the corpus and music put there, to be heard where the phrase is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PySide6.QtCore import QObject, Signal

from app.composer import Composer, whole_bars
from app.errands import Errands
from app.session import Session
from app.shaping import Shaper, excerpt_of
from engine import exchange, messages
from models.card import Task
from models.representations import melody
from models.score import Notes, Region, Score, Track
from models.system import Ask, Proposal
from models.timebase import SIXTEENTH


@dataclass(frozen=True)
class Placed:
    """Music put on the map to see where it lies: its name, its place, and its notes from tick 0 on."""

    name: str
    x: float
    y: float
    notes: Notes
    length: int


def laid(notes: Notes, length: int, region: Region, track: Track) -> Track:
    """`track` with `notes` (from tick 0 on, `length` ticks in all) in `region`, and no others of its own:
    repeated as often as they fit, cut at the end, and left out where locked notes or such as cross the
    region's edges sound. They are as loud as what the region holds."""
    times = -(-(region.end - region.start) // length)
    onset = np.concatenate([notes.onset + region.start + k * length for k in range(times)])
    end = np.minimum(onset + np.tile(notes.duration, times), region.end)
    pitch = np.tile(notes.pitch, times)
    given = track.notes.where(track.notes.sounding(region.start, region.end))
    loud = round(float(given.velocity.mean())) if len(given) else 80
    stays = given.where(~region.with_tracks({track.id}).owned(track.with_notes(given)))
    free = onset < end
    for a, b in zip(stays.onset, stays.end, strict=True):
        free &= (end <= a) | (onset >= b)
    made = Notes.of(onset[free], (end - onset)[free], pitch[free], loud)
    return track.with_notes(made)


class Places(QObject):
    """Lets points of the map be heard as one candidate of the tray that the next replaces, and puts music
    on the map; `changed` follows `placed`."""

    changed = Signal()

    def __init__(
        self, session: Session, composer: Composer, errands: Errands, shaper: Shaper
    ) -> None:
        super().__init__(session)
        self._session, self._composer = session, composer
        self._errands, self._shaper = errands, shaper
        self.placed: tuple[Placed, ...] = ()
        self._point: int | None = None
        session.proposals_changed.connect(self._tray_changed)
        shaper.system_changed.connect(self.clear)

    def hear_point(self, index: int, *, keep: bool = False) -> None:
        """Hear a phrase of the corpus in the place of the phrase, as one candidate that the next replaces,
        unless it is to `keep` its place in the tray."""
        if self._shaper.space is not None:
            tokens = self._shaper.space.point_tokens[index]
            onset, duration, pitch = melody.to_notes(tokens, 0)
            self._hear_music(Notes.of(onset, duration, pitch), len(tokens) * SIXTEENTH, keep)

    def hear_placed(self, index: int, *, keep: bool = False) -> None:
        """The same with music that was put on the map."""
        self._hear_music(self.placed[index].notes, self.placed[index].length, keep)

    def _hear_music(self, notes: Notes, length: int, keep: bool) -> None:
        self._shaper.look()
        score = self._session.document.score
        region, track = self._room(length)
        ask = Ask(Task.CREATE, score, region)
        assert self._shaper.card is not None
        if self._point is None:
            self._point = self._session.number()
        proposal = Proposal(0, region, (laid(notes, length, region, track),), final=True)
        number = self._point
        self._session.offer(number, self._shaper.card, ask, proposal)
        if keep:
            self._point = None
        if self._shaper.sounding:
            self._session.hear_phrase((number, 0))

    def _room(self, length: int) -> tuple[Region, Track]:
        """Where music from the map goes: where the phrase is; else into the marked bars, or from the first
        bar on, of the active track or a new one."""
        session, score = self._session, self._session.document.score
        if self._shaper.phrase is not None:
            (track_id,) = self._shaper.phrase.tracks
            return self._shaper.phrase, score.track(track_id)
        start, end = session.span or (0, length)
        track = next((t for t in score.tracks if t.id == session.active_track), None)
        if track is None:
            track = Track(score.next_track_id, "Melody")
        return Region(start, end, frozenset({track.id})), track

    def place_phrase(self) -> None:
        """Put the phrase on the map, to stay there and be seen."""
        if (shaped := self._shaper.here()) is None:
            return
        assert self._shaper.phrase is not None
        score = (
            shaped[0] if shaped else excerpt_of(self._session.document.score, self._shaper.phrase)
        )
        length = self._shaper.phrase.end - self._shaper.phrase.start
        self._locate(
            self._shaper.title(), score, Region(0, length, frozenset({score.tracks[0].id}))
        )

    def place_file(self, path: Path) -> None:
        """Put the first line of a file on the map."""

        def put(score: Score) -> None:
            track = next((t for t in score.tracks if len(t.notes)), None)
            music = whole_bars(score)
            if track is None or music is None:
                self._session.message.emit(f"{path.name} has no notes; drop a file with a melody.")
                return
            self._locate(path.stem, score, Region(*music, frozenset({track.id})))

        self._errands.run(f"Reading {path.name}", lambda: exchange.read(path), put)

    def clear(self) -> None:
        """Take off the map what was put there."""
        self.placed = ()
        self.changed.emit()

    def _locate(self, name: str, score: Score, region: Region) -> None:
        if self._shaper.card is None or self._shaper.space is None:
            return
        ask = Ask(Task.RESHAPE, score, region, self._shaper.card.values())
        (track_id,) = region.tracks
        notes = score.track(track_id).notes
        notes = notes.where(notes.sounding(region.start, region.end))

        def answer(message: messages.Outbound) -> None:
            match message:
                case messages.Proposed(_, proposal) if "map_x" in proposal.figures:
                    x, y = proposal.figures["map_x"], proposal.figures["map_y"]
                    made = Placed(name, x, y, notes, region.end - region.start)
                    kept = [p for p in self.placed if p.name != name]
                    self.placed = (*kept, made)
                    self.changed.emit()
                case messages.Failed(_, sentence):
                    self._session.message.emit(sentence)

        self._composer.ask(self._shaper.card, ask, answer)

    def _tray_changed(self) -> None:
        if all(c.request != self._point for c in self._session.candidates):
            self._point = None

"""What the performer plays, as notes in performance time, while it is played. No Qt."""

from __future__ import annotations

from engine.playback import Anchor, Played
from engine.schedule import CONTROL, NOTE_OFF, NOTE_ON
from engine.stage_ear import Ear
from engine.stage_time import Timeline
from engine.staging import Scene
from models.score import Notes, Region, Score

MODES = 120
"""Controllers from here on are channel modes; all of them but OTHER_MODES end notes."""
OTHER_MODES = (121, 122)


class PlayedIn:
    """Follows the transport as the live core does (`engine.stage_time`: u only goes on, round a loop too), and
    says which notes have been played and which keys are down. Moments are in nanoseconds of one clock."""

    def __init__(self) -> None:
        scene = Scene()
        self._timeline = Timeline(scene.score.tempo, scene.score.meter)
        self._ear = Ear()
        self._down: dict[tuple[str, int, int], None] = {}  # source, channel, pitch

    # --- what is told ------------------------------------------------------------------------------

    def heard(self, played: Played) -> None:
        """A message came in."""
        message = played.message
        if len(message) < 3:
            return
        kind, channel = message[0] & 0xF0, message[0] & 0x0F
        if kind == CONTROL and message[1] >= MODES and message[1] not in OTHER_MODES:
            self._lift(played.source, played.at, channel)
        elif kind in (NOTE_ON, NOTE_OFF):
            key = (played.source, channel, message[1] & 127)
            self._down.pop(key, None)
            if kind == NOTE_ON and message[2]:
                self._down[key] = None
            self._ear.heard(played, self._timeline)

    def lost(self, source: str, now: int) -> None:
        """An input is gone; what was held on it ends."""
        self._lift(source, now)

    def anchored(self, anchor: Anchor) -> None:
        """The transport says where it is."""
        rested = not self._timeline.playing
        self._timeline, _ = self._timeline.anchored(anchor)
        if rested and self._timeline.playing:
            self._ear.anchored(self._timeline)

    def staged(self, score: Score, loop: tuple[int, int] | None, now: int) -> None:
        """The transport plays this score and goes round this loop."""
        region = Region(*loop) if loop is not None else None
        self._timeline = self._timeline.staged(Scene(score, region), now)

    def restarted(self, now: int) -> None:
        """The transport's process is a new one: nothing plays, and no key's end will be told."""
        for source in {key[0] for key in self._down}:
            self._lift(source, now)
        self._timeline = self._timeline.resting(now)

    def _lift(self, source: str, at: int, channel: int | None = None) -> None:
        """End what is held on an input (of a channel)."""
        for key in [k for k in self._down if k[0] == source and channel in (None, k[1])]:
            self.heard(Played(at, bytes((NOTE_OFF | key[1], key[2], 0)), source))

    # --- what is there -----------------------------------------------------------------------------

    @property
    def down(self) -> tuple[int, ...]:
        """The pitches of the keys that are down, lowest first."""
        return tuple(sorted({pitch for _, _, pitch in self._down}))

    def place(self, now: int) -> float:
        """The u of a moment."""
        return self._timeline.position(now)

    def notes(self, since: float, now: int) -> Notes:
        """The notes that began at or after the u `since`; keys that are down last until `now`."""
        return self._ear.notes(since, self.place(now))

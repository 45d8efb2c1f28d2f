"""What a performer plays: from MIDI messages at their moments to notes in performance time."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from engine.playback import Played
from engine.schedule import NOTE_OFF, NOTE_ON
from engine.stage_time import Timeline
from models.score import EMPTY, Notes

GRACE_NS = 500_000_000
"""Notes that ended longer ago than this when the playhead starts are forgotten."""

KEPT = 2048
"""The newest notes remembered: more than a phrase has, less than a flood."""


@dataclass
class _Key:
    onset: float
    velocity: int


class Ear:
    """Notes played in, in u. While the playhead rests nobody knows where they lie: they wait for `anchored`."""

    def __init__(self) -> None:
        self._down: dict[tuple[str, int, int], _Key] = {}
        self._rows: deque[tuple[float, float, int, int]] = deque(maxlen=KEPT)
        self._waiting: deque[Played] = deque(maxlen=2 * KEPT)

    @property
    def held(self) -> tuple[int, ...]:
        """The pitches of the keys that are down, lowest first."""
        return tuple(sorted({pitch for _, _, pitch in self._down}))

    def down(self, since: float) -> bool:
        """Whether a key is down that was struck at or after `since`."""
        return any(key.onset >= since for key in self._down.values())

    def heard(self, played: Played, timeline: Timeline) -> bool:
        """Take in a message; whether it began a note."""
        message = played.message
        if len(message) < 3 or message[0] & 0xF0 not in (NOTE_ON, NOTE_OFF):
            return False
        if not timeline.playing:
            self._waiting.append(played)
            return _begins(played)
        return self._take(played, timeline.position(played.at))

    def anchored(self, timeline: Timeline) -> None:
        """The playhead moves: what was played just before it did begins where it began to."""
        anchor = timeline.anchor
        waiting = list(self._waiting)
        self._waiting.clear()
        # What was over long before is no part of this.
        fresh = [p.at >= anchor.at - GRACE_NS for p in waiting]
        kept = {_key(p) for p, recent in zip(waiting, fresh, strict=True) if recent}
        begun = {_key(p): i for i, p in enumerate(waiting) if _begins(p)}
        ended = {_key(p): i for i, p in enumerate(waiting) if not _begins(p)}
        down = {key for key, i in begun.items() if ended.get(key, -1) < i}
        for p, recent in zip(waiting, fresh, strict=True):
            if recent or (_key(p) in kept | down and _begins(p)):
                self._take(p, max(timeline.position(p.at), anchor.tick + timeline.shift))

    def _take(self, played: Played, u: float) -> bool:
        message = played.message
        key, begins = _key(played), _begins(played)
        down = self._down.pop(key, None)
        if down is not None:
            self._rows.append((down.onset, max(u, down.onset + 1), key[2], down.velocity))
        if begins:
            self._down[key] = _Key(u, message[2] & 127)
        return begins

    def notes(self, since: float, now: float) -> Notes:
        """The notes that began at or after `since`; keys that are down last until `now`."""
        rows = [r for r in self._rows if r[0] >= since]
        rows += [
            (k.onset, max(now, k.onset + 1), pitch, k.velocity)
            for (_, _, pitch), k in self._down.items()
            if k.onset >= since
        ]
        if not rows:
            return EMPTY
        table = np.array(rows)
        onset = np.maximum(np.rint(table[:, 0]), 0).astype(np.int64)
        end = np.maximum(np.rint(table[:, 1]).astype(np.int64), onset + 1)
        return Notes.of(
            onset, end - onset, table[:, 2].astype(int), np.maximum(table[:, 3], 1).astype(int)
        )

    def last_end(self) -> float | None:
        """When the last note that is over ended; None before any."""
        return max((r[1] for r in self._rows), default=None)

    def forget(self) -> None:
        """Forget the notes that are over, and what waits."""
        self._rows.clear()
        self._waiting.clear()

    def release(self) -> None:
        """Take no key for held any more, as its input may be gone."""
        self._down.clear()


def _key(played: Played) -> tuple[str, int, int]:
    """Which key of which input a note message is about."""
    return played.source, played.message[0] & 0x0F, played.message[1] & 127


def _begins(played: Played) -> bool:
    return played.message[0] & 0xF0 == NOTE_ON and played.message[2] > 0

"""What all modes of a performance share: its place in time, how it is set, its parts, the desk and the ear."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from engine import fallback
from engine.playback import Command
from engine.stage_asks import Lines, Passage, own, task_for
from engine.stage_desk import Desk, Reply
from engine.stage_ear import Ear
from engine.stage_parts import Parts
from engine.stage_time import Timeline
from engine.staging import Scene, Setting
from models.card import Card
from models.score import EMPTY, Notes, Track
from models.timebase import PPQ


@dataclass
class Deck:
    """The shared state of one performance; whoever holds it may read all and change what its own job is."""

    send: Callable[[Command], None]
    desk: Desk
    parts: Parts
    ear: Ear
    rng: np.random.Generator
    timeline: Timeline
    scene: Scene
    setting: Setting
    card: Card
    late: int = 0
    sentence: str = ""
    in_time: bool = field(default=True)

    def seed(self) -> int:
        """A new seed for a request."""
        return int(self.rng.integers(1 << 31))

    def margin(self, u: float) -> int:
        """What begins sooner is never changed: half a beat, and more for parts that are sent ahead of time."""
        return self.timeline.beat_length(u) // 2 + self.early(u)

    def early(self, u: float) -> int:
        """Ticks by which the part with the most negative offset is sent ahead of time."""
        first = -min((t.offset for t in self.setting.parts), default=0)
        return max(round(first * 1e-3 * self.timeline.bpm(u) / 60 * PPQ), 0)

    def scale(self, u: float, notes: Notes = EMPTY) -> fallback.Scale:
        """The scale of the score's key at `u`, or the one that fits the notes."""
        return fallback.scale(self.scene.score.key_at(self.timeline.place(u)), notes)

    def sounding(self, passage: Passage) -> Lines:
        """The passage as it is to sound: in the density and register set, where the system has no knob for them."""
        task = task_for(self.card, self.setting)
        lines: dict[str, Notes] = {}
        for name, notes in passage.lines.items():
            if own(self.card, "density", task) is None:
                notes = fallback.denser(notes, self.setting.density, self.rng)
            if own(self.card, "register", task) is None:
                notes = fallback.registered(notes, self.setting.register)
            lines[name] = notes
        return lines

    def missed(self, sentence: str) -> None:
        """The fallback steps in."""
        self.late += 1
        self.in_time = False
        self.sentence = sentence

    def kept_up(self) -> None:
        """A model was in time."""
        self.in_time = True
        self.sentence = ""


@dataclass(frozen=True)
class Look:
    """What a mode shows of itself: see `staging.View`."""

    state: str
    coming: str = ""
    ahead: float = 0.0


class Playing(Protocol):
    """A mode at work. All is called on one thread, with the deck up to date; `u` is where the performance is."""

    def begin(self, u: float, now: int) -> None:
        """The performance begins, whether the playhead moves or rests."""

    def played(self, u: float, now: int, *, began: bool) -> None:
        """The ear has heard something; `began`: a note began."""

    def pad(self, u: float, now: int) -> None:
        """The performer wants the answer now."""

    def replied(self, reply: Reply, u: float, now: int) -> None:
        """One of the mode's orders has come to something."""

    def changed(self, u: float, now: int) -> None:
        """The setting is another, for the same mode."""

    def staged(self, before: Scene, u: float, now: int) -> None:
        """The scene is another."""

    def moved(self, u: float, now: int, *, left: float | None) -> None:
        """The playhead has started, stopped, keeps another tempo, or is elsewhere, having left `left`."""

    def due(self, u: float) -> float | None:
        """The u from which there is something to do, or None."""

    def advance(self, u: float, now: int) -> None:
        """Do what is due at `u`."""

    def restore(self) -> None:
        """Tell a transport that has forgotten everything what it must know."""

    def end(self, u: float) -> None:
        """The performance ends."""

    def look(self, u: float) -> Look:
        """What is to be seen."""

    def take(self) -> tuple[Track, ...]:
        """What has been made."""

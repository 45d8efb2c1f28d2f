"""What a performance is made of: its modes, how one is set, and what is to be seen of it. Values alone.

`engine.stage` plays them; the window shows them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from models.card import Card, Task, Value
from models.score import Region, Score, Track


class Mode(StrEnum):
    """What Ricercar does on stage."""

    ANSWER = "answer"
    HARMONISE = "harmonise"
    STREAM = "stream"
    MUTATE = "mutate"


def modes(card: Card) -> tuple[Mode, ...]:
    """The modes a system can be chosen for, by the tasks on its card."""
    wanted = {
        Mode.ANSWER: (Task.CONTINUE, Task.RESHAPE),
        Mode.HARMONISE: (Task.ACCOMPANY,),
        Mode.STREAM: (Task.CONTINUE,),
        Mode.MUTATE: (Task.REGENERATE,),
    }
    return tuple(m for m, tasks in wanted.items() if any(t in card.tasks for t in tasks))


class Quantum(StrEnum):
    """Where a change may come: at the next bar or the next beat."""

    BAR = "bar"
    BEAT = "beat"


@dataclass(frozen=True)
class Setting:
    """How a mode is set; any field may change while it plays, taking effect from the next `quantum`.

    system: a card's id. params: its parameters (temperature …). parts: tracks without notes that say where it
    sounds (port, channel, program, offset), highest first; their ids are LIVE and above. bars: of an answer,
    or how far a stream is kept ahead. density: −3…3, register: octaves −2…2, by the system's own parameter
    where it has one, else by rule. For MUTATE: every `passes` of the loop, `share` (0–1) of the notes of
    `voice` (a track id; None: of any) are written anew. rest: beats of silence that end a phrase.
    repeat: while a model is late the last good bar is repeated, else varied by rule.
    """

    mode: Mode
    system: str
    params: Mapping[str, Value] = field(default_factory=dict)
    parts: tuple[Track, ...] = ()
    quantum: Quantum = Quantum.BAR
    bars: int = 4
    density: float = 0.0
    register: int = 0
    passes: int = 2
    share: float = 0.25
    voice: int | None = None
    rest: float = 1.0
    repeat: bool = False


LIVE = 1_000_000
"""Track ids from here on are of what is made on stage, none of the document's."""


@dataclass(frozen=True)
class Scene:
    """What the performance plays beside: the document's score (tempo, metre, key, and for MUTATE the notes)
    and the loop region."""

    score: Score = field(default_factory=Score)
    loop: Region | None = None


@dataclass(frozen=True)
class View:
    """What is to be seen of a performance, told at every beat and whenever something changes.

    bar and beat count from 1. state: one word ("ready", "listening", "thinking", "answering", "playing",
    "falling back"). coming: a few words about what comes next ("answer in 2 beats"). ahead: bars that are ready.
    late: how often the fallback stepped in. sentence: what the performer must know, else "". take: what has
    been made so far, to be kept: tracks of ids LIVE and above; of MUTATE the document's own tracks that
    have changed, by their own ids. system: the name of the one that plays.
    """

    running: bool = False
    mode: Mode = Mode.ANSWER
    bar: int = 1
    beat: int = 1
    beats: int = 4
    bpm: float = 120.0
    state: str = "ready"
    coming: str = ""
    ahead: float = 0.0
    late: int = 0
    sentence: str = ""
    take: tuple[Track, ...] = ()
    system: str = ""

"""Composer: turns what is marked in the session into requests to the engine, and answers into candidates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from PySide6.QtCore import QObject, Signal

from app.bridge import Bridge
from app.phrases import after_music
from app.session import Session
from engine import messages
from engine.worker import Engine, Load
from models.card import Card, Task, Value
from models.score import Region, Score, UserError
from models.system import Ask
from models.timebase import PPQ

VERBS: dict[Task, tuple[str, str]] = {
    Task.CREATE: ("Create", "Write new music from nothing"),
    Task.CONTINUE: ("Continue", "Go on where the music ends"),
    Task.ACCOMPANY: ("Accompany", "Write the other voices to the active track"),
    Task.REGENERATE: ("Regenerate", "Write the ticked voices anew in the marked bars"),
    Task.INTERPOLATE: ("Interpolate", "Lead from one phrase to another, as set in the Path panel"),
    Task.RESHAPE: (
        "Reshape",
        "Push a phrase towards denser, higher, calmer …, with the Shape panel",
    ),
}
"""The tasks the window can put together a request for: their names and what they mean to a musician."""

LONG_BAR = 4 * PPQ
"""A bar of 4/4, which systems may make of shorter ones."""

DRUMS = 9
"""The channel without pitches."""

ONE_PART = ("melody", "chords")
"""Objectives of systems that write one track."""

MOST_NAMES = 4
"""More tracks than these are counted, not named."""


@dataclass(frozen=True)
class Wishes:
    """What the form says: parameters, how many candidates, the seed, and how many bars to create."""

    params: Mapping[str, Value] = field(default_factory=dict)
    count: int = 1
    seed: int = 0
    bars: int = 8


@dataclass(frozen=True)
class Plan:
    """What a request would do. `sentence` says it, or says what is missing when `region` is None."""

    sentence: str
    region: Region | None = None
    melody: int | None = None
    phrases: tuple[Score, ...] = ()


def whole_bars(score: Score) -> tuple[int, int] | None:
    """All bars of the score that hold music, as ticks; None for an empty score."""
    if not score.length:
        return None
    return 0, after_music(score)


def bars_text(score: Score, start: int, end: int) -> str:
    """E.g. "bars 3–6"."""
    first, last = score.meter.position(start).bar, score.meter.position(end - 1).bar
    return f"bar {first}" if first == last else f"bars {first}–{last}"


def phrase_of(session: Session) -> Region | None:
    """The phrase meant by what is chosen: bars of one track, None when that track has no notes there.

    The bars and the track of the selected notes (of the track that has most of them); else the marked
    bars, or all, of the one ticked track, or the active one.
    """
    score = session.document.score
    span = session.span or whole_bars(score)
    if span is None:
        return None
    chosen, most = session.active_track, 0
    if len(session.ticked) == 1:
        (chosen,) = session.ticked
    for track in score.tracks if session.selection else ():
        notes = track.notes.where(track.notes.having(session.selected))
        if len(notes) > most:
            chosen, most = track.id, len(notes)
            first = score.meter.position(int(notes.onset.min())).bar
            last = score.meter.position(notes.length - 1).bar
            span = score.meter.bar_start(first), score.meter.bar_start(last + 1)
    found = next((t for t in score.tracks if t.id == chosen), None)
    if found is None or not found.notes.sounding(*span).any():
        return None
    return Region(*span, frozenset({chosen}))


def _names(score: Score, tracks: frozenset[int]) -> str:
    if len(tracks) > MOST_NAMES:
        return f"{len(tracks)} voices"
    names = [t.name or f"track {t.id + 1}" for t in score.tracks if t.id in tracks]
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def _own(score: Score, card: Card, span: tuple[int, int], melody: int | None) -> frozenset[int]:
    """The tracks named as the system's voices, when every voice (but the melody's) has one and all of
    them are silent in `span`: new music goes there rather than on tracks of the same names beside them."""
    found = set()
    for voice in card.voices:
        track = score.named(voice)
        if track is None or (track.id != melody and track.notes.sounding(*span).any()):
            return frozenset()
        found.add(track.id)
    return frozenset(found - {melody})


def _continued(
    session: Session, card: Card, free: tuple[int, int]
) -> tuple[tuple[int, int], frozenset[int]]:
    """Which bars are written in which tracks to go on.

    The bars are the marked ones, where the tracks are silent and have notes before; else `free`, those
    after the music. The tracks are the ticked ones; or the system's own; or the active one for a system
    that writes one part, and all that have notes for any other.
    """
    score = session.document.score

    def begun(tracks: frozenset[int], tick: int) -> bool:
        return any((t.notes.end <= tick).any() for t in score.tracks if t.id in tracks)

    def going(span: tuple[int, int]) -> frozenset[int]:
        own = _own(score, card, span, None)
        if session.ticked or begun(own, span[0]):
            return session.ticked or own
        heard = {
            t.id for t in score.tracks if t.channel != DRUMS and begun(frozenset({t.id}), span[0])
        }
        if card.objective.type in ONE_PART and session.active_track in heard:
            return frozenset({session.active_track})
        return frozenset(sorted(heard)[:1] if card.objective.type in ONE_PART else heard)

    marked = session.span
    if marked is not None and begun(tracks := going(marked), marked[0]):
        silent = (not t.notes.sounding(*marked).any() for t in score.tracks if t.id in tracks)
        if all(silent):
            return marked, tracks
    return free, going(free)


def plan(session: Session, card: Card, task: Task, bars: int) -> Plan:
    """What `task` would do with what is marked now."""
    score, ticked = session.document.score, session.ticked
    if task is Task.INTERPOLATE:
        return _plan_path(session, card)
    music = whole_bars(score)
    span = session.span or music
    if task in (Task.CREATE, Task.CONTINUE):
        if task is Task.CONTINUE and music is None:
            return Plan("Draw or open some music to continue first.")
        start = music[1] if music else 0
        first = score.meter.position(start).bar
        free = start, score.meter.bar_start(max(first, 1) + bars)
        if task is Task.CREATE:
            start, end = session.span or free
            voices = ticked or _own(score, card, (start, end), None)
        else:
            (start, end), voices = _continued(session, card, free)
        where = bars_text(score, start, end)
        into = f" in {_names(score, voices)}" if voices else ""
        return Plan(f"{VERBS[task][0]} {where}{into}.", Region(start, end, voices))
    if music is None or span is None:
        return Plan("Draw a melody or open a file first.")
    if task is Task.RESHAPE:
        phrase = phrase_of(session)
        if phrase is None:
            return Plan("Select some notes, or mark bars of a voice that has some.")
        where = bars_text(score, phrase.start, phrase.end)
        return Plan(f"Reshape {_names(score, phrase.tracks)} in {where}.", phrase)
    where = bars_text(score, *span)
    if task is Task.ACCOMPANY:
        melody = score.track(session.active_track)
        if not melody.notes.sounding(*span).any():
            return Plan(
                f"{melody.name or 'The active track'} has no notes in {where}: pick another."
            )
        rest = ticked - {melody.id} or _own(score, card, span, melody.id)
        new = ", on a new track" if len(card.voices) == 1 else ", on new tracks"
        into = f", into {_names(score, rest)}" if rest else new
        return Plan(f"Accompany {melody.name} in {where}{into}.", Region(*span, rest), melody.id)
    if not ticked:
        return Plan("Tick the voices that may change, at the left.")
    return Plan(f"Rewrite {_names(score, ticked)} in {where}.", Region(*span, ticked))


def _plan_path(session: Session, card: Card) -> Plan:
    """From A to B, after the music, on A's track (the active one when A comes from elsewhere).

    The region has room for the longest path there may be: the proposal says how much of it it takes.
    """
    score = session.document.score
    a, b = session.ends
    if a is None or b is None:
        missing = " and ".join(n for n, end in (("A", a), ("B", b)) if end is None)
        return Plan(f"Set {missing} in the Path panel (F6) first.")
    ids = {t.id for t in score.tracks}
    track = a.track if a.track in ids else session.active_track
    start = after_music(score)
    steps = next((int(p.maximum) for p in card.params if p.name == "steps"), 1)
    bars = -(-max(a.length, b.length) // LONG_BAR)
    return Plan(
        f"Lead from A ({a.source}) to B ({b.source}).",
        Region(start, start + steps * bars * LONG_BAR, frozenset({track} & ids)),
        phrases=(a.score, b.score),
    )


class Composer(QObject):
    """Sends requests to the engine thread and puts its answers into the session.

    One request at a time: asking again stops the one before. `device_changed(str)` tells the device
    of the last request. `load` is handed to the engine (tests bring their own systems).
    """

    device_changed = Signal(str)

    def __init__(self, session: Session, *, load: Load | None = None) -> None:
        super().__init__(session)
        self._session = session
        self._bridge = Bridge(self._receive, self)
        self._engine = Engine(self._bridge, load=load)
        self._running = False
        self._answers: dict[int, Callable[[messages.Outbound], None]] = {}

    def generate(self, card: Card, task: Task, wishes: Wishes) -> None:
        """Ask for music; what is missing is said as a message."""
        session = self._session
        found = plan(session, card, task, wishes.bars)
        if found.region is None:
            session.message.emit(found.sentence)
            return
        try:
            params = card.values(wishes.params)
        except UserError as error:
            session.message.emit(str(error))
            return
        self.request(
            card,
            Ask(
                task,
                session.document.score,
                found.region,
                params,
                wishes.seed,
                wishes.count,
                found.melody,
                found.phrases,
            ),
        )

    def request(self, card: Card, ask: Ask) -> int:
        """Ask for candidates for the tray, in place of a request at work; returns the request's number."""
        self.stop()
        return self._put(self._session.begin(card, ask), card, ask)

    def ask(self, card: Card, ask: Ask, answer: Callable[[messages.Outbound], None]) -> int:
        """Ask for something that does not go to the tray; returns the request's number, for `cancel`.

        `answer` gets what the engine says of it, the last being Finished or Failed. It waits for
        whatever is at work, and stops nothing.
        """
        number = self._session.number()
        self._answers[number] = answer
        return self._put(number, card, ask)

    def cancel(self, request: int) -> None:
        """Stop a request of `ask`; its `answer` hears no more of it."""
        if self._answers.pop(request, None) is not None:
            self._engine.inbox.put(messages.Cancel(request))

    def _put(self, request: int, card: Card, ask: Ask) -> int:
        if not self._running:
            self._engine.start()
            self._running = True
        self._engine.inbox.put(messages.Generate(request, card.id, ask))
        return request

    def stop(self) -> None:
        """Stop the request at work; its proposals stay."""
        job = self._session.job
        if job is not None:
            self._engine.inbox.put(messages.Cancel(job.request))
            self._session.ended(job.request)

    def close(self) -> None:
        """Stop everything; waits a moment for the thread, never for a whole request."""
        self.stop()
        self._bridge.close()
        self.ended(0.3)

    def ended(self, seconds: float) -> bool:
        """Whether the engine thread has ended, or does so within `seconds`."""
        return not self._running or self._engine.close(timeout_seconds=seconds)

    def _receive(self, message: object) -> None:
        session = self._session
        if isinstance(message, messages.Started):
            self.device_changed.emit(message.device)
        if isinstance(message, messages.Outbound) and message.request in self._answers:
            ended = isinstance(message, messages.Finished | messages.Failed)
            answer = self._answers[message.request]
            if ended:
                del self._answers[message.request]
            answer(message)
            return
        match message:
            case messages.Started(request, device):
                session.started(request, device)
            case messages.Progressed(request, progress):
                session.progressed(request, progress)
            case messages.Proposed(request, proposal):
                session.propose(request, proposal)
            case messages.Finished(request):
                session.ended(request)
            case messages.Failed(request, sentence):
                session.ended(request, sentence)

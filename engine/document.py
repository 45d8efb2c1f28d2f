"""Document: the score being edited, its history, and the tentative edit that has two exits."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from engine.delta import Delta, between
from engine.edits import distinct
from engine.packed import DamagedError, label_of, pack, unpack
from models.score import Score, UserError


@dataclass(frozen=True)
class Change:
    """What differs between two scores, by identity; views decide from it what to repaint.

    `tracks` are ids of tracks changed, added or removed; `structure` says that tracks were added,
    removed, reordered; `committed` is False for a preview (and for its revert).
    """

    tracks: frozenset[int] = frozenset()
    tempo: bool = False
    meter: bool = False
    keys: bool = False
    fermatas: bool = False
    title: bool = False
    structure: bool = False
    committed: bool = True

    def __bool__(self) -> bool:
        return bool(
            self.tracks
            or self.tempo
            or self.meter
            or self.keys
            or self.fermatas
            or self.title
            or self.structure
        )


def difference(old: Score, new: Score, *, committed: bool = True) -> Change:
    """The Change from `old` to `new`."""
    before = {t.id: t for t in old.tracks}
    after = {t.id: t for t in new.tracks}
    changed = {i for i in before.keys() | after.keys() if before.get(i) is not after.get(i)}
    return Change(
        tracks=frozenset(changed),
        tempo=old.tempo is not new.tempo,
        meter=old.meter is not new.meter,
        keys=old.keys is not new.keys,
        fermatas=old.fermatas is not new.fermatas,
        title=old.title != new.title,
        structure=[t.id for t in old.tracks] != [t.id for t in new.tracks],
        committed=committed,
    )


def _either(a: Change, b: Change) -> Change:
    """What differs in one, the other or both."""
    return Change(
        tracks=a.tracks | b.tracks,
        tempo=a.tempo or b.tempo,
        meter=a.meter or b.meter,
        keys=a.keys or b.keys,
        fermatas=a.fermatas or b.fermatas,
        title=a.title or b.title,
        structure=a.structure or b.structure,
        committed=a.committed or b.committed,
    )


HISTORY_STEPS = 1000
HISTORY_BYTES = 64 * 2**20
"""A document remembers so many steps, or fewer when they hold more than so much; always the last one."""


@dataclass(frozen=True)
class Step:
    """One commit in the history, as `packed` bytes: what the Edit menu calls it, and what it changed."""

    data: bytes

    @classmethod
    def of(cls, label: str, old: Score, new: Score) -> Step:
        """The step between two scores; UserError when it could not be read again."""
        try:
            return cls(pack(between(old, new), label))
        except DamagedError as error:
            raise UserError(f"“{label}” can't be kept: {error}.") from error

    @property
    def label(self) -> str:
        return label_of(self.data)

    @property
    def delta(self) -> Delta:
        return unpack(self.data)


class Journal(Protocol):
    """Where a document's commits become durable (engine.project keeps them in SQLite).

    Positions count commits from the document's beginning: 0 is the opening state, step n leads from
    position n − 1 to n. Both methods raise UserError, and then have changed nothing.
    """

    def commit(self, position: int, step: Step, score: Score, first: int) -> None:
        """Record step `position`, which led to `score`, forget those from there on and those up to `first`."""

    def move(self, position: int, score: Score) -> None:
        """Record that undo or redo went to `position`, where the document is `score`."""


class Document:
    """Holds one score and how it came about.

    `commit` alone changes it. `preview` shows a tentative score (a drag, a proposal heard in place) that
    ends in `commit` or `revert`. Listeners get a Change after the fact and must not edit from inside
    the call. History is bounded by HISTORY_STEPS and HISTORY_BYTES; the oldest steps go first.
    """

    def __init__(
        self,
        score: Score | None = None,
        *,
        journal: Journal | None = None,
        steps: Iterable[Step] = (),
        position: int = 0,
        first: int = 0,
    ) -> None:
        """A new document of `score`, or a reopened one that stands at `position` of its history.

        `steps` are those still remembered, the earliest being step `first` + 1. Notes whose ids are not
        unique in the score get new ones.
        """
        self._score = distinct(score or Score())
        self._steps = list(steps)
        self._first = first
        self._position = position
        self._preview: Score | None = None
        self._listeners: list[Callable[[Change], None]] = []
        self.journal = journal

    @property
    def score(self) -> Score:
        """The committed score."""
        return self._score

    @property
    def steps(self) -> tuple[Step, ...]:
        """The history still remembered, what was undone included; the earliest is step `first` + 1."""
        return tuple(self._steps)

    @property
    def first(self) -> int:
        """The earliest position undo can reach."""
        return self._first

    @property
    def position(self) -> int:
        """How many commits led here from the document's beginning."""
        return self._position

    @property
    def shown(self) -> Score:
        """What views draw and the transport plays: the preview while there is one."""
        return self.score if self._preview is None else self._preview

    def listen(self, listener: Callable[[Change], None]) -> Callable[[], None]:
        """Call `listener(Change)` on every change; returns the function that ends it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def commit(self, label: str, score: Score) -> None:
        """Make `score` the document, as one undo step; when it equals what stands, only drop the preview.

        Durable when this returns. When the journal can't be written, its UserError is raised and the
        document, a preview included, stays as it was.
        """
        shown, old = self.shown, self._score
        if score == old:
            self.revert()
            return
        step = Step.of(label, old, score)
        kept = [*self._steps[: self._position - self._first], step]
        nbytes = sum(len(each.data) for each in kept)
        first = self._first
        while len(kept) > HISTORY_STEPS or (len(kept) > 1 and nbytes > HISTORY_BYTES):
            nbytes -= len(kept.pop(0).data)
            first += 1
        if self.journal is not None:
            self.journal.commit(self._position + 1, step, score, first)
        self._steps, self._first = kept, first
        self._position += 1
        self._score, self._preview = score, None
        self._tell(_either(difference(old, score), difference(shown, score)))

    def preview(self, score: Score) -> None:
        """Show `score` without committing to it."""
        shown, self._preview = self.shown, score
        self._tell(difference(shown, score, committed=False))

    def revert(self) -> None:
        """Drop the preview, if there is one."""
        if self._preview is not None:
            shown, self._preview = self._preview, None
            self._tell(difference(shown, self.score, committed=False))

    @property
    def undo_label(self) -> str | None:
        """What undo would take back, or None."""
        done = self._position - self._first
        return self._steps[done - 1].label if done else None

    @property
    def redo_label(self) -> str | None:
        """What redo would bring back, or None."""
        done = self._position - self._first
        return self._steps[done].label if done < len(self._steps) else None

    def undo(self) -> None:
        """Go one step back; a preview is dropped first. Nothing happens at the beginning."""
        done = self._position - self._first
        if done:
            self._move(self._position - 1, self._steps[done - 1], back=True)

    def redo(self) -> None:
        """Go one step forward again; a preview is dropped first. Nothing happens at the end."""
        done = self._position - self._first
        if done < len(self._steps):
            self._move(self._position + 1, self._steps[done])

    def _move(self, position: int, step: Step, *, back: bool = False) -> None:
        shown, old = self.shown, self._score
        try:
            score = (step.delta.inverse() if back else step.delta).apply(old)
        except ValueError as error:
            raise UserError(
                f"This step of the history is damaged ({error}); the music as it stands is intact."
            ) from error
        if self.journal is not None:
            self.journal.move(position, score)
        self._position = position
        self._score, self._preview = score, None
        self._tell(_either(difference(old, score), difference(shown, score)))

    def _tell(self, change: Change) -> None:
        if change:
            for listener in list(self._listeners):
                listener(change)

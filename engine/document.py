"""Document: the score being edited, its history, and the tentative edit that has two exits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from models.score import Score


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


@dataclass(frozen=True)
class Step:
    """One commit in the history: what the user sees in the Edit menu, and the score after it."""

    label: str
    score: Score


class Journal(Protocol):
    """Where commits become durable before `Document.commit` returns (engine.project keeps them in SQLite)."""

    def commit(self, label: str, old: Score, new: Score, position: int) -> None:
        """Record step `position`, forgetting any steps from there on."""

    def move(self, position: int) -> None:
        """Record that undo or redo went to step `position`."""


class Document:
    """Holds one score and how it came about.

    `commit` alone changes it. `preview` shows a tentative score (a drag, a proposal heard in place) that
    ends in `commit` or `revert`. Listeners get a Change after the fact and must not edit from inside
    the call.
    """

    def __init__(
        self,
        score: Score | None = None,
        *,
        journal: Journal | None = None,
        steps: list[Step] | None = None,
        position: int = 0,
    ) -> None:
        """A new document of `score`, or a reopened one of `steps` (the first is the opening state)."""
        self._steps = steps or [Step("", score or Score())]
        self._position = position
        self._journal = journal
        self._preview: Score | None = None
        self._listeners: list[Callable[[Change], None]] = []

    @property
    def score(self) -> Score:
        """The committed score."""
        return self._steps[self._position].score

    @property
    def shown(self) -> Score:
        """What views draw and the transport plays: the preview while there is one."""
        return self.score if self._preview is None else self._preview

    def listen(self, listener: Callable[[Change], None]) -> Callable[[], None]:
        """Call `listener(Change)` on every change; returns the function that ends it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def commit(self, label: str, score: Score) -> None:
        """Make `score` the document, as one undo step. Nothing happens when it equals what stands.

        Durable when this returns. When the journal can't be written, its UserError is raised and the
        document stays as it was.
        """
        shown, old = self.shown, self.score
        if difference(old, score):
            if self._journal is not None:
                self._journal.commit(label, old, score, self._position + 1)
            del self._steps[self._position + 1 :]
            self._steps.append(Step(label, score))
            self._position += 1
        self._preview = None
        self._tell(difference(shown, self.score))

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
        return self._steps[self._position].label if self._position else None

    @property
    def redo_label(self) -> str | None:
        """What redo would bring back, or None."""
        return (
            self._steps[self._position + 1].label if self._position + 1 < len(self._steps) else None
        )

    def undo(self) -> None:
        """Go one step back; a preview is dropped first. Nothing happens at the beginning."""
        self._move(self._position - 1)

    def redo(self) -> None:
        """Go one step forward again. Nothing happens at the end."""
        self._move(self._position + 1)

    def _move(self, position: int) -> None:
        if not 0 <= position < len(self._steps):
            return
        shown = self.shown
        if self._journal is not None:
            self._journal.move(position)
        self._position = position
        self._preview = None
        self._tell(difference(shown, self.score))

    def _tell(self, change: Change) -> None:
        if change:
            for listener in list(self._listeners):
                listener(change)

"""Gestures: what the mouse does between press and release, one class each.

A gesture previews while it is dragged and has two exits: `finish`, which commits at most one undo step, and
`cancel`, which leaves everything as it was. It starts from the score that stood at the press and never
accumulates. Positions are musical (`Spot`), so gestures know no pixels and no widgets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from app.pianoroll import grid
from app.session import Session
from engine import edits
from models.score import Notes, Score
from models.timebase import PPQ, SIXTEENTH

Ids = npt.NDArray[np.int64]
SWEEP_SAMPLES = 64
"""Points tested between two mouse events of an erasing sweep."""


@dataclass(frozen=True)
class Spot:
    """Where the mouse is, musically. `free` bypasses the grid, `level` keeps to one axis; `velocity` is
    meant in the velocity lane alone."""

    tick: float
    pitch: int = 0
    free: bool = False
    level: bool = False
    velocity: int = 0


@dataclass(frozen=True)
class Box:
    """A rubber band: ticks [start, end), pitches low … high."""

    start: float
    end: float
    low: int
    high: int


class Gesture(Protocol):
    """One drag. `cursor` names the mouse pointer meanwhile; `box` is a rubber band to draw, if any."""

    cursor: str
    box: Box | None

    def drag(self, to: Spot) -> None:
        """The mouse is at `to` now."""

    def finish(self) -> None:
        """The button was released: commit."""

    def cancel(self) -> None:
        """Escape: as if nothing had been."""


class Sound:
    """The one note a gesture sounds: a new pitch ends the old one."""

    def __init__(self, session: Session, track_id: int, velocity: int = 80) -> None:
        self._session, self._track, self._velocity = session, track_id, velocity
        self._pitch: int | None = None

    def play(self, pitch: int) -> None:
        """Sound this pitch, unless it sounds already."""
        if pitch != self._pitch:
            self.stop()
            self._pitch = pitch
            self._session.audition(pitch, self._velocity, self._track)

    def stop(self) -> None:
        """End the note."""
        if self._pitch is not None:
            self._session.audition(self._pitch, 0, self._track)
            self._pitch = None


@dataclass(frozen=True)
class Grab:
    """The note under the mouse at the press."""

    id: int
    track: int
    onset: int
    end: int
    pitch: int
    velocity: int


def _nearest(session: Session, score: Score, tick: float, free: bool) -> int:
    return grid.nearest(score.meter, tick, 0 if free else session.snap)


class Move:
    """Drag the selected notes in time and pitch; the note taken lands on the grid."""

    cursor = "move"
    box: Box | None = None
    label = "Move notes"

    def __init__(self, session: Session, grab: Grab, start: Spot) -> None:
        self._session, self._grab, self._start = session, grab, start
        self._base = session.score
        self._ids = session.selected
        self._shown: Score | None = None
        self._sound = Sound(session, grab.track, grab.velocity)
        self._sound.play(grab.pitch)

    def _shift(self, to: Spot) -> tuple[int, int]:
        aimed = self._grab.onset + to.tick - self._start.tick
        ticks = _nearest(self._session, self._base, aimed, to.free) - self._grab.onset
        semitones = to.pitch - self._start.pitch
        if to.level:
            sideways = abs(to.tick - self._start.tick) > abs(semitones) * PPQ / 4
            ticks, semitones = (ticks, 0) if sideways else (0, semitones)
        return ticks, semitones

    def drag(self, to: Spot) -> None:
        ticks, semitones = self._shift(to)
        self._show(self._base, ticks, semitones)
        self._sound.play(min(max(self._grab.pitch + semitones, 0), 127))

    def _show(self, base: Score, ticks: int, semitones: int) -> None:
        self._shown = edits.move(base, self._ids, ticks, semitones)
        self._session.preview(self._shown)

    def finish(self) -> None:
        self._sound.stop()
        if self._shown is not None:
            self._session.commit(self.label, self._shown)

    def cancel(self) -> None:
        self._sound.stop()
        self._session.revert()


class Duplicate(Move):
    """Drag copies of the selected notes away; the originals stay and the copies end up selected."""

    cursor = "copy"
    label = "Duplicate notes"

    def __init__(self, session: Session, grab: Grab, start: Spot) -> None:
        super().__init__(session, grab, start)
        self._new: Ids = np.zeros(0, np.int64)

    def _show(self, base: Score, ticks: int, semitones: int) -> None:
        chosen = edits.select(base, self._ids)
        ticks = max(ticks, -int(chosen.onset.min()))
        low, high = int(chosen.pitch.min()), int(chosen.pitch.max())
        semitones = min(max(semitones, -low), 127 - high)
        if ticks or semitones:
            self._shown, self._new = edits.duplicate(base, self._ids, ticks, semitones)
        else:
            self._shown, self._new = base, np.zeros(0, np.int64)
        self._session.preview(self._shown)

    def finish(self) -> None:
        super().finish()
        if len(self._new):
            self._session.select(self._new)


class Resize:
    """Drag the selected notes' beginnings or ends; the edge taken lands on the grid."""

    box: Box | None = None

    def __init__(self, session: Session, grab: Grab, edge: str, start: Spot) -> None:
        """`edge` is "start" or "end"."""
        self.cursor = "resize"
        self._session, self._grab, self._edge, self._start = session, grab, edge, start
        self._base = session.score
        self._ids = session.selected
        self._shown: Score | None = None

    def drag(self, to: Spot) -> None:
        taken = self._grab.onset if self._edge == "start" else self._grab.end
        aimed = taken + to.tick - self._start.tick
        ticks = _nearest(self._session, self._base, aimed, to.free) - taken
        shortest = 1 if to.free else min(max(self._session.snap, 1), SIXTEENTH)
        shift = {self._edge: ticks}
        self._shown = edits.resize(self._base, self._ids, shortest=shortest, **shift)
        self._session.preview(self._shown)

    def finish(self) -> None:
        if self._shown is not None:
            self._session.commit("Resize notes", self._shown)

    def cancel(self) -> None:
        self._session.revert()


class Draw:
    """Put a note where the mouse is; dragging sideways lengthens it, up and down changes its pitch."""

    cursor = "draw"
    box: Box | None = None

    def __init__(self, session: Session, start: Spot, *, velocity: int = 80) -> None:
        """On the active track; KeyError when there is none."""
        self._session, self._start, self._velocity = session, start, velocity
        self._base = session.score
        self._track = self._base.track(session.active_track)
        step = 1 if start.free else session.snap
        self._onset = grid.floor(self._base.meter, start.tick, step)
        self._least = session.snap if session.snap > 1 else SIXTEENTH
        self._sound = Sound(session, self._track.id, velocity)
        self._show(start)

    def drag(self, to: Spot) -> None:
        self._show(to)

    def _show(self, to: Spot) -> None:
        end = self._onset + self._least
        if to.tick > end:
            step = 1 if to.free else self._session.snap
            end = max(grid.after(self._base.meter, to.tick, step), end)
        note = Notes.of([self._onset], [end - self._onset], [to.pitch], [self._velocity])
        self._id = self._base.next_id
        self._shown = edits.add(self._base, self._track.id, note)
        self._session.preview(self._shown)
        self._sound.play(to.pitch)

    def finish(self) -> None:
        self._sound.stop()
        if self._session.commit("Draw note", self._shown):
            self._session.select([self._id])

    def cancel(self) -> None:
        self._sound.stop()
        self._session.revert()


class BoxSelect:
    """Drag a rubber band; what it touches is selected, in addition to `kept`."""

    cursor = "cross"

    def __init__(self, session: Session, start: Spot, kept: frozenset[int] = frozenset()) -> None:
        self._session, self._start, self._kept = session, start, kept
        self._before = session.selection
        self.box: Box | None = None

    def drag(self, to: Spot) -> None:
        a, b = self._start, to
        self.box = Box(
            min(a.tick, b.tick), max(a.tick, b.tick), min(a.pitch, b.pitch), max(a.pitch, b.pitch)
        )
        self._session.select(self._kept | frozenset(touched(self._session.score, self.box)))

    def finish(self) -> None:
        if self.box is None:
            self._session.select(self._kept)

    def cancel(self) -> None:
        self._session.select(self._before)


def touched(score: Score, box: Box) -> list[int]:
    """Ids of the notes a box touches, in all tracks that are not muted."""
    found: list[int] = []
    for track in score.tracks:
        notes = track.notes
        if not track.muted:
            hit = notes.sounding(int(box.start), int(np.ceil(box.end)))
            hit &= (notes.pitch >= box.low) & (notes.pitch <= box.high)
            found.extend(notes.id[hit].tolist())
    return found


class Erase:
    """Sweep over notes to delete them."""

    cursor = "erase"
    box: Box | None = None

    def __init__(self, session: Session, start: Spot) -> None:
        self._session, self._last = session, start
        self._base = session.score
        self._gone: set[int] = set()
        self._sweep(start)

    def drag(self, to: Spot) -> None:
        self._sweep(to)

    def _sweep(self, to: Spot) -> None:
        ticks = np.linspace(self._last.tick, to.tick, SWEEP_SAMPLES)
        pitches = np.rint(np.linspace(self._last.pitch, to.pitch, SWEEP_SAMPLES))
        before = len(self._gone)
        low, high = int(ticks.min()), int(np.ceil(ticks.max())) + 1
        for track in self._base.tracks:
            if track.muted:
                continue
            near = track.notes.where(track.notes.sounding(low, high))
            under = (
                (near.onset[:, None] <= ticks)
                & (near.end[:, None] > ticks)
                & (near.pitch[:, None] == pitches)
            ).any(axis=1)
            self._gone.update(near.id[under].tolist())
        self._last = to
        if len(self._gone) > before:
            self._session.preview(edits.delete(self._base, self._gone))

    def finish(self) -> None:
        if self._gone:
            self._session.commit("Erase notes", edits.delete(self._base, self._gone))

    def cancel(self) -> None:
        self._session.revert()


class MarkBars:
    """Drag in the ruler: marks whole bars, or steps of the grid when `free`."""

    cursor = "mark"
    box: Box | None = None

    def __init__(self, session: Session, start: Spot) -> None:
        self._session, self._start, self._before = session, start, session.span

    def drag(self, to: Spot) -> None:
        self._session.set_span(bars_between(self._session, self._start, to))

    def finish(self) -> None:
        """The marks stand as they are."""

    def cancel(self) -> None:
        self._session.set_span(self._before)


class MarkLoop:
    """Drag in the loop strip: sets the loop, to beats, or to steps of the grid when `free`."""

    cursor = "mark"
    box: Box | None = None

    def __init__(self, session: Session, start: Spot) -> None:
        self._session, self._start, self._before = session, start, session.loop

    def drag(self, to: Spot) -> None:
        meter = self._session.score.meter
        low, high = sorted((self._start.tick, to.tick))
        step = self._session.snap if to.free else meter.beat_ticks(max(low, 0))
        start, end = grid.nearest(meter, low, step), grid.nearest(meter, high, step)
        self._session.set_loop((start, max(end, grid.after(meter, start, step))))

    def finish(self) -> None:
        """The loop stands as it is."""

    def cancel(self) -> None:
        self._session.set_loop(self._before)


class MoveEdge:
    """Drag one end of the marked bars or of the loop."""

    cursor = "resize"
    box: Box | None = None

    def __init__(self, session: Session, what: str, edge: int) -> None:
        """`what` is "span" or "loop"; `edge` 0 for its beginning, 1 for its end."""
        self._session, self._what, self._edge = session, what, edge
        before = session.span if what == "span" else session.loop
        if before is None:
            raise ValueError(f"there is no {what} to change")
        self._before = before

    def _set(self, span: tuple[int, int]) -> None:
        (self._session.set_span if self._what == "span" else self._session.set_loop)(span)

    def drag(self, to: Spot) -> None:
        meter = self._session.score.meter
        if to.free:
            tick = grid.nearest(meter, to.tick, self._session.snap)
        elif self._what == "span":
            tick = grid.nearest_bar(meter, to.tick)
        else:
            tick = grid.nearest(meter, to.tick, meter.beat_ticks(max(to.tick, 0)))
        start, end = self._before
        start, end = (tick, end) if self._edge == 0 else (start, tick)
        if start < end:
            self._set((start, end))

    def finish(self) -> None:
        """What is marked stands."""

    def cancel(self) -> None:
        self._set(self._before)


def bars_between(session: Session, a: Spot, b: Spot) -> tuple[int, int]:
    """The whole bars two spots of the ruler lie in, as ticks; finer, by the grid, when the second is `free`."""
    meter = session.score.meter
    low, high = sorted((max(a.tick, 0), max(b.tick, 0)))
    if b.free:
        start = grid.nearest(meter, low, session.snap)
        return start, max(
            grid.nearest(meter, high, session.snap), grid.after(meter, start, session.snap)
        )
    first, last = meter.position(int(low)), meter.position(int(high))
    return int(low) - first.offset, int(high) - last.offset + last.length


class SweepVelocity:
    """Drag across the velocity lane: notes passed over take the height of the mouse."""

    cursor = "draw"
    box: Box | None = None

    def __init__(self, session: Session, notes: Notes, start: Spot, reach: float) -> None:
        """Over `notes` (one track's, ordered by onset); `reach` ticks to either side count."""
        self._session, self._notes, self._reach = session, notes, reach
        self._base = session.score
        self._new: dict[int, int] = {}
        self._last = start
        self.drag(start)

    def drag(self, to: Spot) -> None:
        (t0, v0), (t1, v1) = sorted(
            [(self._last.tick, self._last.velocity), (to.tick, to.velocity)]
        )
        onset = self._notes.onset
        over = slice(*np.searchsorted(onset, [t0 - self._reach, t1 + self._reach]))
        heights = np.interp(onset[over], [t0, t1], [v0, v1]) if t1 > t0 else to.velocity
        values = np.broadcast_to(np.rint(heights), onset[over].shape).astype(np.int64)
        if self._last.tick <= to.tick and len(values):  # where the mouse is now, its height counts
            values = np.where(abs(onset[over] - to.tick) <= self._reach, to.velocity, values)
        self._new.update(zip(self._notes.id[over].tolist(), values.tolist(), strict=True))
        self._last = to
        if self._new:
            self._session.preview(self._edited())

    def _edited(self) -> Score:
        return edits.set_velocity(self._base, list(self._new), list(self._new.values()))

    def finish(self) -> None:
        if self._new:
            self._session.commit("Change velocity", self._edited())

    def cancel(self) -> None:
        self._session.revert()


class ShiftVelocity:
    """Drag a selected note's bar: all selected notes get louder or softer by the same amount."""

    cursor = "resize_v"
    box: Box | None = None

    def __init__(self, session: Session, start: Spot) -> None:
        self._session, self._start = session, start
        self._base = session.score
        self._chosen = edits.select(self._base, session.selected)
        self._shown: Score | None = None

    def drag(self, to: Spot) -> None:
        new = self._chosen.velocity.astype(np.int64) + to.velocity - self._start.velocity
        self._shown = edits.set_velocity(self._base, self._chosen.id, new)
        self._session.preview(self._shown)

    def finish(self) -> None:
        if self._shown is not None:
            self._session.commit("Change velocity", self._shown)

    def cancel(self) -> None:
        self._session.revert()

"""What the keyboard and the Edit menu do to the selection: one function each, every one an undo step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PySide6.QtGui import QClipboard, QGuiApplication

from app.pianoroll import clipboard, grid
from app.session import Session
from engine import edits
from models.score import Notes, UserError
from models.timebase import SIXTEENTH

LOUDER = 8
"""Velocity added by one press."""


def _step(session: Session) -> int:
    return session.snap if session.snap > 1 else SIXTEENTH


def delete(session: Session) -> None:
    """Delete the selected notes."""
    if session.selection:
        session.commit("Delete notes", edits.delete(session.score, session.selected))


def transpose(session: Session, semitones: int) -> None:
    """Move the selected notes up or down; a single one is heard."""
    _move(session, 0, semitones, "Transpose notes")


def nudge(session: Session, steps: int) -> None:
    """Move the selected notes by steps of the grid."""
    _move(session, steps * _step(session), 0, "Move notes")


def _move(session: Session, ticks: int, semitones: int, label: str) -> None:
    if session.selection:
        session.commit(label, edits.move(session.score, session.selected, ticks, semitones))


def lengthen(session: Session, steps: int) -> None:
    """Make the selected notes longer or shorter by steps of the grid."""
    if session.selection:
        step = _step(session)
        longer = edits.resize(
            session.score, session.selected, end=steps * step, shortest=min(step, SIXTEENTH)
        )
        session.commit("Resize notes", longer)


def louder(session: Session, amount: int) -> None:
    """Make the selected notes louder or softer."""
    chosen = edits.select(session.score, session.selected)
    if len(chosen):
        new = chosen.velocity.astype(np.int64) + amount
        session.commit("Change velocity", edits.set_velocity(session.score, chosen.id, new))


def duplicate(session: Session) -> None:
    """Put a copy of the selected notes right after them, on the grid, and select it."""
    chosen = edits.select(session.score, session.selected)
    if not len(chosen):
        return
    start, end = int(chosen.onset.min()), chosen.length
    meter, step = session.score.meter, _step(session)
    length = end - start
    on_grid = grid.nearest(meter, end, step)
    if on_grid < end:
        on_grid = grid.after(meter, on_grid, step)
    if grid.nearest(meter, start, step) == start:
        length = on_grid - start
    score, new = edits.duplicate(session.score, session.selected, length)
    if session.commit("Duplicate notes", score):
        session.select(new)


def quantize(session: Session) -> None:
    """Move the selected notes' beginnings to the grid."""
    if session.selection:
        new = edits.quantize(session.score, session.selected, _step(session))
        session.commit("Quantize notes", new)


def toggle_lock(session: Session) -> None:
    """Lock the selected notes against generation; unlock them when all are locked."""
    chosen = edits.select(session.score, session.selected)
    if len(chosen):
        lock = not bool(chosen.locked.all())
        label = "Lock notes" if lock else "Unlock notes"
        session.commit(label, edits.set_locked(session.score, chosen.id, lock))


def fermata(session: Session) -> None:
    """Put a fermata on the selected notes' beginnings (the playhead's beat when none is selected), or
    take it away where all have one."""
    score = session.score
    chosen = edits.select(score, session.selected)
    if len(chosen):
        ticks = set(chosen.onset.tolist())
    else:
        at = int(session.playhead_tick())
        ticks = {grid.floor(score.meter, at, score.meter.beat_ticks(at))}
    toggled = ticks if ticks <= set(score.fermatas) else ticks - set(score.fermatas)
    for tick in toggled:
        score = edits.toggle_fermata(score, tick)
    session.commit("Change fermata", score)


def select_all(session: Session) -> None:
    """Select the active track's notes; a second time, those of every track."""
    tracks = [t for t in session.score.tracks if t.id == session.active_track]
    if tracks and session.selection >= frozenset(tracks[0].notes.id.tolist()):
        tracks = list(session.score.tracks)
    session.select(frozenset().union(*(t.notes.id.tolist() for t in tracks)))


def select_in_region(session: Session) -> None:
    """Select the notes that Generate may replace."""
    region = session.region
    if region is not None:
        found = [t.notes.id[region.owned(t)].tolist() for t in session.score.tracks]
        session.select(frozenset().union(*found))


def deselect(session: Session) -> None:
    """Select nothing."""
    session.select(())


def neighbour(session: Session, step: int) -> None:
    """Select and sound the active track's next (1) or previous (−1) note; from the playhead at first."""
    track = next((t for t in session.score.tracks if t.id == session.active_track), None)
    if track is None or not len(track.notes):
        return
    notes = track.notes
    chosen = np.flatnonzero(notes.having(session.selected))
    if len(chosen):
        index = int(chosen[-1 if step > 0 else 0]) + step
    else:
        index = int(np.searchsorted(notes.onset, session.playhead_tick())) - (step < 0)
    index = min(max(index, 0), len(notes) - 1)
    session.select([int(notes.id[index])])
    session.audition(int(notes.pitch[index]), int(notes.velocity[index]), track.id)


def insert(session: Session) -> None:
    """Put a note after the last selected one, as long and as high; at the playhead when none is selected."""
    if session.active_track < 0:
        session.message.emit("There is no track to draw on; add one first.")
        return
    chosen = edits.select(session.score, session.selected)
    onset = grid.floor(session.score.meter, session.playhead_tick(), _step(session))
    length, pitch, velocity = _step(session), 60, 80
    if len(chosen):
        last = int(np.argmax(chosen.end))
        onset, length = int(chosen.end[last]), int(chosen.duration[last])
        pitch, velocity = int(chosen.pitch[last]), int(chosen.velocity[last])
    note = Notes.of([onset], [length], [pitch], [velocity])
    new = session.score.next_id
    if session.commit("Draw note", edits.add(session.score, session.active_track, note)):
        session.select([new])


def _clipboard() -> QClipboard:
    return QGuiApplication.clipboard()


def copy(session: Session) -> None:
    """Put the selected notes on the clipboard, as MIDI too."""
    if session.selection:
        _clipboard().setMimeData(clipboard.to_mime(session.score, session.selected))


def cut(session: Session) -> None:
    """Copy the selected notes and delete them."""
    if session.selection:
        copy(session)
        session.commit("Cut notes", edits.delete(session.score, session.selected))


def paste(session: Session) -> None:
    """Put the clipboard's notes at the playhead, on the grid, and select them."""
    try:
        clip = clipboard.from_mime(_clipboard().mimeData())
    except UserError as error:
        session.message.emit(str(error))
        return
    if clip is None or not clip.tracks:
        session.message.emit("There are no notes on the clipboard; copy some first.")
        return
    if session.active_track < 0:
        session.message.emit("There is no track to paste into; add one first.")
        return
    at = grid.nearest(session.score.meter, session.playhead_tick(), session.snap)
    score, new = clipboard.paste(session.score, clip, at, session.active_track)
    if session.commit("Paste notes", score):
        session.select(new)


@dataclass(frozen=True)
class Command:
    """A key of the roll: its sequence, what it does in words, and what it does."""

    keys: tuple[str, ...]
    tip: str
    run: Callable[[Session], None]


COMMANDS: tuple[Command, ...] = (
    Command(("Del", "Backspace"), "Delete the selected notes", delete),
    Command(("Up",), "Transpose up a semitone", lambda s: transpose(s, 1)),
    Command(("Down",), "Transpose down a semitone", lambda s: transpose(s, -1)),
    Command(("Shift+Up",), "Transpose up an octave", lambda s: transpose(s, 12)),
    Command(("Shift+Down",), "Transpose down an octave", lambda s: transpose(s, -12)),
    Command(("Right",), "Move later by a step", lambda s: nudge(s, 1)),
    Command(("Left",), "Move earlier by a step", lambda s: nudge(s, -1)),
    Command(("Shift+Right",), "Lengthen by a step", lambda s: lengthen(s, 1)),
    Command(("Shift+Left",), "Shorten by a step", lambda s: lengthen(s, -1)),
    Command(("Ctrl+Up",), "Louder", lambda s: louder(s, LOUDER)),
    Command(("Ctrl+Down",), "Softer", lambda s: louder(s, -LOUDER)),
    Command(("Tab",), "Select the next note", lambda s: neighbour(s, 1)),
    Command(("Shift+Tab", "Shift+Backtab"), "Select the previous note", lambda s: neighbour(s, -1)),
    Command(("Insert", "N"), "Add a note after the selected one", insert),
    Command(("Ctrl+C",), "Copy", copy),
    Command(("Ctrl+X",), "Cut", cut),
    Command(("Ctrl+V",), "Paste at the playhead", paste),
    Command(("Ctrl+D",), "Duplicate", duplicate),
    Command(("Ctrl+A",), "Select the track, then everything", select_all),
    Command(("Q",), "Quantize to the grid", quantize),
    Command(("Shift+A",), "Select the notes that may change", select_in_region),
    Command(("U",), "Fermata on or off", fermata),
    Command(("K",), "Lock or unlock the selected notes", toggle_lock),
)
"""The keys the canvas answers to while it has the focus. A window's shortcut of the same keys goes first."""

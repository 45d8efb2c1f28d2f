"""Notes on the clipboard: our own JSON, which keeps tracks, voices and locks, beside plain MIDI bytes for
other programs. What comes from a clipboard is data like any other: checked, never trusted."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QMimeData

from engine import edits, midifile
from models.score import Notes, Score, UserError

MIME = "application/x-ricercar-notes"
MIDI_MIMES = ("audio/midi", "audio/x-midi", "audio/mid")
MOST_NOTES = 1_000_000
LAST_TICK = 1 << 40
FIELDS = ("onset", "duration", "pitch", "velocity", "voice", "locked")


@dataclass(frozen=True)
class Clip:
    """Notes by the id of the track they came from, in ticks from the clip's beginning; `length` to the
    end of the last."""

    tracks: tuple[tuple[int, Notes], ...]

    @property
    def length(self) -> int:
        """Ticks to the end of the last note."""
        return max((notes.length for _, notes in self.tracks), default=0)


def cut_out(score: Score, ids: npt.NDArray[np.int64]) -> Clip:
    """The notes with these ids, by track, counted from the first one's onset."""
    start = int(edits.select(score, ids).onset.min(initial=LAST_TICK))
    found = []
    for track in score.tracks:
        mask = track.notes.having(ids)
        if mask.any():
            notes = track.notes.where(mask)
            found.append((track.id, notes.with_(onset=notes.onset - start)))
    return Clip(tuple(found))


def to_mime(score: Score, ids: npt.NDArray[np.int64]) -> QMimeData:
    """These notes for the clipboard, or for dragging into another program."""
    clip = cut_out(score, ids)
    body = [
        {"track": track, **{name: getattr(notes, name).tolist() for name in FIELDS}}
        for track, notes in clip.tracks
    ]
    mime = QMimeData()
    mime.setData(MIME, json.dumps({"version": 1, "tracks": body}).encode())
    alone = tuple(replace(score.track(track), notes=notes) for track, notes in clip.tracks)
    piece = Score(tracks=alone, tempo=score.tempo, title=score.title)
    mime.setData(MIDI_MIMES[0], midifile.to_bytes(piece))
    return mime


def from_mime(mime: QMimeData | None) -> Clip | None:
    """The notes on a clipboard, or None when it holds none. Raises UserError for ones that are damaged."""
    if mime is None:  # some platforms have no clipboard at all
        return None
    if mime.hasFormat(MIME):
        return _parsed(bytes(mime.data(MIME).data()))
    for kind in MIDI_MIMES:
        if mime.hasFormat(kind):
            score = midifile.from_bytes(bytes(mime.data(kind).data()), "The clipboard's MIDI data")
            found = [(t.id, t.notes) for t in score.tracks if len(t.notes)]
            start = min((int(n.onset.min()) for _, n in found), default=0)
            return Clip(tuple((i, n.with_(onset=n.onset - start)) for i, n in found))
    return None


def _parsed(data: bytes) -> Clip:
    damaged = UserError("The notes on the clipboard are damaged; copy them again.")
    try:
        body = json.loads(data)
        parts = []
        for entry in body["tracks"]:
            columns = {name: np.array(entry[name]) for name in FIELDS}
            wide = any(c.dtype.kind not in "ib" or c.ndim != 1 for c in columns.values() if len(c))
            if wide or len(columns["onset"]) > MOST_NOTES:
                raise damaged
            if any(len(c) and abs(c.astype(np.int64)).max() > LAST_TICK for c in columns.values()):
                raise damaged
            voice, locked = columns["voice"], columns["locked"]
            notes = Notes.of(*(columns[name] for name in FIELDS[:4]), voice=voice, locked=locked)
            parts.append((int(entry["track"]), notes))
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise damaged from error
    return Clip(tuple(parts))


def paste(score: Score, clip: Clip, tick: int, active: int) -> tuple[Score, list[int]]:
    """`score` with the clip at `tick`, and the new notes' ids.

    A clip of one track goes to the active track; of several, each to the track it came from, or to
    the active one where that is gone.
    """
    there = {t.id for t in score.tracks}
    new: list[int] = []
    for track, notes in clip.tracks:
        alone = len(clip.tracks) == 1
        target = active if alone or track not in there else track
        first = score.next_id
        score = edits.add(score, target, notes.with_(onset=notes.onset + tick))
        new.extend(range(first, first + len(notes)))
    return score, new

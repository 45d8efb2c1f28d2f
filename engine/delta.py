"""Delta: what one commit changed, small, and applicable both ways.

The history of a document is a list of these rather than of scores: moving ten notes among a hundred
thousand costs a few hundred bytes, in memory and on disk. A whole score is the delta from nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from models.score import EMPTY, NO_CONTROLS, NOTE_DTYPES, Controls, Mask, Notes, Score, Track

_MANY_IDS = 4
"""Ids are looked up in a table while the largest is below so many times the number of notes, plus a little."""


@dataclass(frozen=True)
class TrackDelta:
    """What changed in the track `id`, as (before, after) where both are kept.

    `removed` are the rows (whole, so that the way back is known) of notes that went or changed, `added`
    those that came or changed. `settings` is the track without notes and controls, None on the side
    where the track does not exist; `controls` is None when they stayed.
    """

    id: int
    settings: tuple[Track | None, Track | None]
    removed: Notes = EMPTY
    added: Notes = EMPTY
    controls: tuple[Controls, Controls] | None = None


@dataclass(frozen=True)
class Delta:
    """The way from one score to another and back.

    `order` holds the track ids (before, after) when tracks came, went or changed places; `frame` the
    scores without tracks when anything beside the tracks changed.
    """

    tracks: tuple[TrackDelta, ...] = ()
    order: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    frame: tuple[Score, Score] | None = None

    def inverse(self) -> Delta:
        """The way back."""
        return Delta(
            tuple(
                TrackDelta(
                    t.id,
                    (t.settings[1], t.settings[0]),
                    t.added,
                    t.removed,
                    None if t.controls is None else (t.controls[1], t.controls[0]),
                )
                for t in self.tracks
            ),
            None if self.order is None else (self.order[1], self.order[0]),
            None if self.frame is None else (self.frame[1], self.frame[0]),
        )

    def apply(self, score: Score) -> Score:
        """The score after it, sharing what did not change; ValueError when `score` is not the one before."""
        if self.order is not None and self.order[0] != tuple(t.id for t in score.tracks):
            raise ValueError("the tracks are not those the change was made on")
        by_id = {track.id: track for track in score.tracks}
        for change in self.tracks:
            track = _apply_track(change, by_id.pop(change.id, None))
            if track is not None:
                by_id[change.id] = track
        order = tuple(t.id for t in score.tracks) if self.order is None else self.order[1]
        if by_id.keys() != set(order) or len(by_id) != len(order):
            raise ValueError("the change names tracks the score lacks")
        tracks = tuple(by_id[i] for i in order)
        if self.frame is None:
            return replace(score, tracks=tracks)
        if not _same_frame(score, self.frame[0]):
            raise ValueError(
                "tempo, metre, keys, fermatas or title are not those before the change"
            )
        frame = self.frame[1]
        # What is equal stays the object it was, so that `difference` does not call it changed.
        return Score(
            tracks,
            score.tempo if score.tempo == frame.tempo else frame.tempo,
            score.meter if score.meter == frame.meter else frame.meter,
            score.keys if score.keys == frame.keys else frame.keys,
            score.fermatas if score.fermatas == frame.fermatas else frame.fermatas,
            frame.title,
            frame.division,
        )


def between(old: Score, new: Score) -> Delta:
    """The Delta with `between(old, new).apply(old) == new`, and back by its inverse."""
    before = {t.id: t for t in old.tracks}
    after = {t.id: t for t in new.tracks}
    order = (tuple(t.id for t in old.tracks), tuple(t.id for t in new.tracks))
    changed = (i for i in dict.fromkeys(order[0] + order[1]) if before.get(i) is not after.get(i))
    tracks = (_track_between(i, before.get(i), after.get(i)) for i in changed)
    return Delta(
        tuple(t for t in tracks if t is not None),
        None if order[0] == order[1] else order,
        None if _same_frame(old, new) else (replace(old, tracks=()), replace(new, tracks=())),
    )


def _same_frame(a: Score, b: Score) -> bool:
    return (
        a.tempo == b.tempo
        and a.meter == b.meter
        and a.keys == b.keys
        and a.fermatas == b.fermatas
        and a.title == b.title
        and a.division == b.division
    )


def _settings(track: Track | None) -> Track | None:
    return None if track is None else replace(track, notes=EMPTY, controls=NO_CONTROLS)


def _track_between(track_id: int, old: Track | None, new: Track | None) -> TrackDelta | None:
    settings = (_settings(old), _settings(new))
    notes = (EMPTY if old is None else old.notes, EMPTY if new is None else new.notes)
    controls = (
        NO_CONTROLS if old is None else old.controls,
        NO_CONTROLS if new is None else new.controls,
    )
    removed, added = _rows_between(*notes)
    same = controls[0] is controls[1] or controls[0] == controls[1]
    if same and not len(removed) and not len(added) and settings[0] == settings[1]:
        return None
    return TrackDelta(track_id, settings, removed, added, None if same else controls)


def _rows_between(old: Notes, new: Notes) -> tuple[Notes, Notes]:
    """The rows of `old` that `new` lacks, and the reverse; matched by id."""
    if old is new:
        return EMPTY, EMPTY
    at = _positions(old.id, new.id)
    if at is None:  # ids not unique: no row can be told from another
        return (EMPTY, EMPTY) if old == new else (old, new)
    same = at >= 0
    for name in NOTE_DTYPES:
        before, after = getattr(old, name), getattr(new, name)
        if len(old):
            same &= before[at] == after
    gone: Mask = np.ones(len(old), bool)
    gone[at[same]] = False
    return old.where(gone), new.where(~same)


def _positions(
    ids: npt.NDArray[np.int64], wanted: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64] | None:
    """Where each of `wanted` lies in `ids` (−1: nowhere); None when ids repeat in either."""
    if not len(ids) or not len(wanted):
        return np.full(len(wanted), -1, np.int64) if _unique(ids) and _unique(wanted) else None
    top = int(max(ids.max(), wanted.max()))
    if min(ids.min(), wanted.min()) < 0 or top > _MANY_IDS * (len(ids) + len(wanted)) + 4096:
        if not (_unique(ids) and _unique(wanted)):
            return None
        order = np.argsort(ids, kind="stable")
        at = order[np.clip(np.searchsorted(ids, wanted, sorter=order), 0, len(ids) - 1)]
        return np.where(ids[at] == wanted, at, -1)
    table = np.full(top + 1, -1, np.int64)
    table[wanted] = np.arange(len(wanted))
    if not np.array_equal(table[wanted], np.arange(len(wanted))):
        return None
    table[:] = -1
    table[ids] = np.arange(len(ids))
    if not np.array_equal(table[ids], np.arange(len(ids))):
        return None
    return table[wanted]


def _unique(ids: npt.NDArray[np.int64]) -> bool:
    return len(ids) == 0 or not bool((np.diff(np.sort(ids)) == 0).any())


def _apply_track(change: TrackDelta, track: Track | None) -> Track | None:
    before, after = change.settings
    if _settings(track) != before:
        raise ValueError(f"track {change.id} is not as it was before the change")
    notes = EMPTY if track is None else track.notes
    controls = NO_CONTROLS if track is None else track.controls
    if change.controls is not None:
        if controls != change.controls[0]:
            raise ValueError(f"track {change.id} has other controls than before the change")
        controls = change.controls[1]
    if len(change.removed) or len(change.added):
        kept = notes.where(~notes.having(change.removed.id)) if len(change.removed) else notes
        if len(kept) != len(notes) - len(change.removed):
            raise ValueError(f"track {change.id} lacks notes the change removes")
        if len(change.added) and kept.having(change.added.id).any():
            raise ValueError(f"track {change.id} has notes already that the change adds")
        notes = Notes.concatenate([kept, change.added]) if len(change.added) else kept
    if after is None:
        if len(notes) or len(controls):
            raise ValueError(f"track {change.id} goes, yet notes of it stay")
        return None
    return replace(after, notes=notes, controls=controls)

"""What a performance has made becomes part of the document: new tracks, or the notes of a mutated loop."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from engine.schedule import NOTE_ON, Table
from engine.staging import LIVE
from models.score import Notes, Region, Score, Track, splice

Struck = npt.NDArray[np.int64]
"""Which keys are struck when: onset × 128 + pitch, one number a note."""


@dataclass(frozen=True)
class Kept:
    """What has been kept already: of each live track, the document's track it went to and its notes."""

    tracks: Mapping[int, tuple[int, Struck]] = field(default_factory=dict)


def _struck(notes: Notes) -> Struck:
    return np.asarray(notes.onset * 128 + notes.pitch, np.int64)


def added(score: Score, take: Iterable[Track], kept: Kept) -> tuple[Score, Kept]:
    """`score` with what the live tracks of `take` hold, each in a track of its own: the one it was kept in
    before, where that still holds some of it, else a new one. Notes kept before are not added again, whatever
    has become of them. `score` itself when there is nothing new.
    """
    tracks = dict(kept.tracks)
    for live in take:
        if live.id < LIVE or not len(live.notes):
            continue
        home, known = tracks.get(live.id, (-1, np.zeros(0, np.int64)))
        there = next((t for t in score.tracks if t.id == home), None)
        if there is None or not np.isin(_struck(there.notes), known).any():
            there, known = None, np.zeros(0, np.int64)
        fresh = live.notes.where(~np.isin(_struck(live.notes), known))
        if not len(fresh):
            continue
        notes = fresh.with_(id=score.next_id + np.arange(len(fresh)))
        if there is None:
            there = replace(live, id=score.next_track_id, notes=notes, muted=False, soloed=False)
        else:
            there = there.with_notes(Notes.concatenate([there.notes, notes]))
        score = score.with_track(there)
        tracks[live.id] = there.id, np.concatenate([known, _struck(fresh)])
    return score, Kept(tracks)


def evolved(score: Score, base: Score, take: Iterable[Track], region: Region | None) -> Score:
    """`score` with its own tracks' notes inside `region` as `take` has them, the locked ones as they are.

    `base` is the score the take certainly knows of: bars in which a track has changed since stay as they are
    in `score`, for an edit wins over a mutation. `score` itself when nothing differs.
    """
    if region is None:
        return score
    for live in take:
        own = next((t for t in score.tracks if t.id == live.id), None)
        if own is None or live.id >= LIVE:
            continue
        before = next((t for t in base.tracks if t.id == live.id), None)
        for start, end in _untouched(score, region, own, before):
            part = Region(start, end, frozenset({own.id}))
            owned = part.owned(own)
            new = live.notes.where(
                live.notes.inside(start, end)
                & ~live.notes.locked
                & ~np.isin(_struck(live.notes), _struck(own.notes.where(~owned)))
            )
            if not _same(own.notes.where(owned), new):
                score = splice(score, part, [own.with_notes(new)])
                own = score.track(own.id)
    return score


def notes_of(table: Table) -> Notes:
    """The notes a table plays."""
    rows = np.flatnonzero((table.message[:, 0] & 0xF0) == NOTE_ON)
    onset, message = table.tick[rows], table.message[rows]
    return Notes.of(onset, table.end[rows] - onset, message[:, 1], message[:, 2])


def shown(notes: Notes, before: Notes, begun: float, tick: float) -> Notes:
    """`notes`, and those of `before` that the bar begun at `begun` has heard already, up to `tick`: tables leave
    out what is past, but nothing vanishes from a bar under the performer's eyes."""
    heard = before.where((before.onset >= begun) & (before.end <= tick))
    past = heard.where(~np.isin(_struck(heard), _struck(notes)))
    first = int(notes.id.max()) + 1 if len(notes) else 0
    return Notes.concatenate([notes, past.with_(id=first + np.arange(len(past)))])


def _same(a: Notes, b: Notes) -> bool:
    return all(
        np.array_equal(getattr(a, name), getattr(b, name))
        for name in ("onset", "duration", "pitch", "velocity")
    )


def _untouched(
    score: Score, region: Region, own: Track, before: Track | None
) -> Sequence[tuple[int, int]]:
    """The longest stretches of bars in the region in which the track is as it was before."""
    if before is not None and before.notes is own.notes:
        return [(region.start, region.end)]
    lines = [tick for _, tick in score.meter.bars(region.start + 1, region.end)]
    bars = list(zip([region.start, *lines], [*lines, region.end], strict=True))
    stretches: list[tuple[int, int]] = []
    for start, end in bars:
        if before is None or not _same(
            own.notes.where(own.notes.sounding(start, end)),
            before.notes.where(before.notes.sounding(start, end)),
        ):
            continue
        if stretches and stretches[-1][1] == start:
            stretches[-1] = stretches[-1][0], end
        else:
            stretches.append((start, end))
    return stretches

"""Edits: pure functions Score → Score. They change notes by id, in whatever tracks the ids lie, and share
every track they did not touch. Values stay in range: a move that would leave it is shortened as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from models.score import Key, Mask, Notes, Region, Score, Track
from models.timebase import MeterMap, TempoMap

Ids = npt.NDArray[np.int64] | Iterable[int]


def _ids(ids: Ids) -> npt.NDArray[np.int64]:
    return np.asarray(ids if isinstance(ids, np.ndarray) else list(ids), np.int64)


def _each(score: Score, ids: Ids, change: Callable[[Notes, Mask], Notes]) -> Score:
    wanted = _ids(ids)
    tracks = []
    for track in score.tracks:
        mask = track.notes.having(wanted)
        tracks.append(track.with_notes(change(track.notes, mask)) if mask.any() else track)
    return replace(score, tracks=tuple(tracks))


def distinct(score: Score) -> Score:
    """The score itself when its notes' ids are unique and not negative, else with new ids throughout."""
    ids = np.concatenate([t.notes.id for t in score.tracks]) if score.tracks else np.zeros(0)
    if not len(ids) or (ids.min() >= 0 and (np.diff(np.sort(ids)) > 0).all()):
        return score
    tracks, first = [], 0
    for track in score.tracks:
        fresh = first + np.arange(len(track.notes))
        first += len(fresh)
        tracks.append(track.with_notes(track.notes.with_(id=fresh)))
    return replace(score, tracks=tuple(tracks))


def select(score: Score, ids: Ids) -> Notes:
    """The notes with these ids, of all tracks."""
    wanted = _ids(ids)
    return Notes.concatenate(t.notes.where(t.notes.having(wanted)) for t in score.tracks)


def add(score: Score, track_id: int, notes: Notes) -> Score:
    """Put `notes` into a track, with fresh ids counted up from `score.next_id`."""
    track = score.track(track_id)
    fresh = notes.with_(id=score.next_id + np.arange(len(notes)))
    return score.with_track(track.with_notes(Notes.concatenate([track.notes, fresh])))


def delete(score: Score, ids: Ids) -> Score:
    """Without the notes of these ids."""
    return _each(score, ids, lambda notes, mask: notes.where(~mask))


def _within(notes: Notes, ticks: int, semitones: int) -> tuple[int, int]:
    """The part of a move of `notes` that none of them stops."""
    ticks = max(ticks, -int(notes.onset.min()))
    return ticks, min(max(semitones, -int(notes.pitch.min())), 127 - int(notes.pitch.max()))


def move(score: Score, ids: Ids, ticks: int = 0, semitones: int = 0) -> Score:
    """Moved in time and pitch, together: no further than the first note that meets tick 0, pitch 0 or 127."""
    chosen = select(score, ids)
    if not len(chosen):
        return score
    ticks, semitones = _within(chosen, ticks, semitones)
    if not ticks and not semitones:
        return score
    return _each(
        score,
        ids,
        lambda n, m: n.with_(
            onset=n.onset + ticks * m, pitch=n.pitch.astype(np.int64) + semitones * m
        ),
    )


def resize(score: Score, ids: Ids, start: int = 0, end: int = 0, shortest: int = 1) -> Score:
    """Move the notes' beginnings by `start` ticks and ends by `end`; none gets shorter than `shortest`
    (or than it was, if it was shorter already)."""

    def change(n: Notes, m: Mask) -> Notes:
        least = np.minimum(n.duration, shortest)
        onset = np.maximum(np.minimum(n.onset + start, n.end - least), 0)
        stop = np.maximum(n.end + end, onset + least)
        return n.with_(
            onset=np.where(m, onset, n.onset), duration=np.where(m, stop - onset, n.duration)
        )

    return _each(score, ids, change)


def set_velocity(score: Score, ids: Ids, velocity: npt.ArrayLike) -> Score:
    """Set velocities: one value, or one an id in the order of `ids`; clipped to 1–127."""
    wanted = _ids(ids)
    values = np.broadcast_to(np.clip(np.asarray(velocity, np.int64), 1, 127), wanted.shape)
    order = np.argsort(wanted)

    def change(n: Notes, m: Mask) -> Notes:
        at = order[np.clip(np.searchsorted(wanted, n.id, sorter=order), 0, len(order) - 1)]
        return n.with_(velocity=np.where(m, values[at], n.velocity))

    return _each(score, wanted, change)


def set_locked(score: Score, ids: Ids, locked: bool) -> Score:
    """Lock notes against generation, or unlock them."""
    return _each(score, ids, lambda n, m: n.with_(locked=np.where(m, locked, n.locked)))


def duplicate(
    score: Score, ids: Ids, ticks: int, semitones: int = 0
) -> tuple[Score, npt.NDArray[np.int64]]:
    """Copies `ticks` later and transposed, as far as `move` would go, unlocked, in the same tracks; and
    the new notes' ids."""
    chosen = select(score, ids)
    if not len(chosen):
        return score, np.zeros(0, np.int64)
    ticks, semitones = _within(chosen, ticks, semitones)
    first = score.next_id
    wanted, free, tracks = chosen.id, first, []
    for track in score.tracks:
        copy = track.notes.where(track.notes.having(wanted))
        if len(copy):
            copy = copy.with_(
                onset=copy.onset + ticks,
                pitch=copy.pitch.astype(np.int64) + semitones,
                locked=False,
                id=free + np.arange(len(copy)),
            )
            free += len(copy)
            track = track.with_notes(Notes.concatenate([track.notes, copy]))
        tracks.append(track)
    return replace(score, tracks=tuple(tracks)), np.arange(first, free)


def quantize(score: Score, ids: Ids, grid: int, strength: float = 1.0) -> Score:
    """Move onsets towards the nearest multiple of `grid` ticks by `strength` (0–1); durations stay."""

    def change(n: Notes, m: Mask) -> Notes:
        target = (n.onset + grid // 2) // grid * grid
        onset = np.rint(n.onset + strength * (target - n.onset)).astype(np.int64)
        return n.with_(onset=np.where(m, onset, n.onset))

    return _each(score, ids, change)


def clear(score: Score, region: Region) -> Score:
    """Without the notes the region owns (locked ones and those crossing its edges stay)."""
    tracks = tuple(
        t.with_notes(t.notes.where(~owned)) if (owned := region.owned(t)).any() else t
        for t in score.tracks
    )
    return replace(score, tracks=tracks)


def set_track(score: Score, track_id: int, **changes: object) -> Score:
    """A track with other settings (name, channel, program, port, muted, soloed, volume, offset)."""
    return score.with_track(replace(score.track(track_id), **changes))  # type: ignore[arg-type]


def add_track(score: Score, name: str, *, program: int = 0) -> Score:
    """A new empty track at the end, on the first MIDI channel no track uses (9 is left to drums)."""
    used = {t.channel for t in score.tracks}
    channel = next((c for c in range(16) if c != 9 and c not in used), 0)
    return score.with_track(Track(score.next_track_id, name, channel=channel, program=program))


def remove_track(score: Score, track_id: int) -> Score:
    """Without that track."""
    return replace(score, tracks=tuple(t for t in score.tracks if t.id != track_id))


def set_tempo(score: Score, tempo: TempoMap) -> Score:
    """With another tempo map."""
    return replace(score, tempo=tempo)


def set_meter(score: Score, meter: MeterMap) -> Score:
    """With another metre map; notes stay at their ticks."""
    return replace(score, meter=meter)


def set_keys(score: Score, keys: Iterable[Key]) -> Score:
    """With other key signatures."""
    return replace(score, keys=tuple(sorted(keys)))


def toggle_fermata(score: Score, tick: int) -> Score:
    """Put a fermata at a tick, or take it away."""
    fermatas = set(score.fermatas) ^ {tick}
    return replace(score, fermatas=tuple(sorted(fermatas)))

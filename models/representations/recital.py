"""Recital: which tracks of a score a pianist hears and plays, and what was played as notes of the score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.representations.performance import (
    EVENTS,
    KEYS,
    OFF,
    ON,
    STEP,
    Events,
    Part,
    encode,
    heard,
)
from models.score import Key, Notes, Region, Score, Track, UserError
from models.system import Ask

Column = npt.NDArray[Any]

MEMORY = 20.0
"""Seconds before the region that are heard."""
BREATH = 1.0
"""Seconds of silence before the region that are heard, however long it is."""
SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 9, 10, 11))
"""Steps above the tonic, major and minor (with what melodic minor adds)."""
PLAIN = 4
"""A piece from nothing has no more sharps or flats."""
RARE, ENOUGH = 0.03, 24
"""The share of strokes below which a pitch class is foreign to them, and how many strokes tell."""
NOTHING = np.zeros(0, np.uint16)


def _pitched(score: Score, region: Region) -> list[Track]:
    """The marked tracks; UserError when one is of drums."""
    marked = [t for t in score.tracks if t.id in region.tracks]
    for track in marked:
        if track.channel == 9:
            raise UserError(f"{track.name or 'The drum track'} holds drums, not keys; unmark it.")
    return marked


def seat(ask: Ask) -> Track:
    """The track to play freely on: the marked one, or a new one. UserError when several are marked."""
    marked = _pitched(ask.score, ask.region)
    if len(marked) > 1:
        raise UserError(f"A pianist plays one track and {len(marked)} are marked; mark one.")
    if marked:
        return marked[0]
    used = {t.channel for t in ask.score.tracks} | {9}
    channel = next((c for c in range(16) if c not in used), 0)
    return Track(ask.score.next_track_id, "Piano", channel=channel)


def before(ask: Ask) -> Events:
    """What led up to the region: the last MEMORY seconds of the marked tracks or, if they are silent until
    then, of all. Time passes until the region begins, but long silences are passed over."""
    score, start = ask.score, ask.region.start
    marked = [t for t in score.tracks if t.id in ask.region.tracks]
    if not any((t.notes.onset < start).any() for t in marked):
        marked = list(score.tracks)
    played = heard(marked, score.tempo)
    now = score.tempo.second(start)
    played = played.where(played.onset < now - STEP / 2)
    if not len(played):
        return NOTHING
    until = min(now, float(played.end.max()) + BREATH)
    played = played.where(played.onset >= until - MEMORY)
    return encode(played, until=until)


def blocked(ask: Ask, track: Track) -> list[tuple[int, int, int]]:
    """The keys of the track that notes which stay hold in the region: pitch, from step, to step."""
    kept = _kept(ask.region.with_tracks({track.id}), track)
    tempo = ask.score.tempo
    now = tempo.second(ask.region.start)
    a = np.floor((tempo.seconds(kept.onset) - now) / STEP).astype(int)
    b = np.ceil((tempo.seconds(kept.end) - now) / STEP).astype(int)
    return list(zip(kept.pitch.tolist(), a.tolist(), b.tolist(), strict=True))


def _kept(region: Region, track: Track) -> Notes:
    """The notes of a track that sound in the region and stay as they are."""
    stays = track.notes.sounding(region.start, region.end) & ~region.owned(track)
    return track.notes.where(stays)


def steps(ask: Ask) -> int:
    """How many whole steps the region lasts, at least one."""
    tempo = ask.score.tempo
    return max(1, int((tempo.second(ask.region.end) - tempo.second(ask.region.start)) / STEP))


def key(ask: Ask, rng: np.random.Generator) -> Key:
    """The key of the score at the region or, where it says none, one of few sharps or flats."""
    sharps, minor = int(rng.integers(-PLAIN, PLAIN + 1)), bool(rng.random() < 0.5)
    return ask.score.key_at(ask.region.start) or Key(0, sharps, minor)


def outside(key: Key) -> Column:
    """[EVENTS] 1 for the strokes of keys outside a scale, else 0."""
    found = np.zeros(EVENTS)
    pitch = np.arange(KEYS)
    found[ON + pitch] = ~np.isin((pitch - key.tonic) % 12, SCALES[key.minor])
    return found


def unheard(before: Events) -> Column:
    """[EVENTS] 1 for the strokes of pitch classes that are rare among those before, if there were enough."""
    found = np.zeros(EVENTS)
    heard = before[before < OFF]
    share = np.bincount(heard % 12, minlength=12) / max(len(heard), 1)
    pitch = np.arange(KEYS)
    found[ON + pitch] = (share[pitch % 12] < RARE) & (len(heard) >= ENOUGH)
    return found


def free(strokes: Sequence[tuple[int, int, int, int]], ask: Ask, track: Track) -> Track:
    """Strokes (steps of onset and end since the region's start, pitch, velocity) as notes of a track."""
    table = np.array(strokes, np.int64).reshape(-1, 4)
    tempo, region = ask.score.tempo, ask.region
    now = tempo.second(region.start)
    onset, end = (np.round(tempo.ticks(now + table[:, i] * STEP)) for i in (0, 1))
    onset = np.clip(onset.astype(np.int64), region.start, region.end)
    end = np.minimum(end.astype(np.int64), region.end)
    kept = _kept(region.with_tracks({track.id}), track)
    onset, end, fits = _apart(onset, end, table[:, 2], kept)
    notes = Notes.of(onset[fits], (end - onset)[fits], table[fits, 2], table[fits, 3])
    return track.with_notes(notes)


def _apart(onset: Column, end: Column, pitch: Column, kept: Notes) -> tuple[Column, Column, Column]:
    """Onsets and ends of notes such that no key is struck while it is down, by them or by notes that are
    kept; and which are still notes then."""
    onset, end = onset.copy(), end.copy()
    for p in np.unique(pitch):
        at = np.flatnonzero(pitch == p)
        at = at[np.argsort(onset[at], kind="stable")]
        for k in np.flatnonzero(kept.pitch == p):
            first, last = kept.onset[k], kept.end[k]
            early = onset[at] < first
            end[at] = np.where(early, np.minimum(end[at], first), end[at])
            onset[at] = np.where(early, onset[at], np.maximum(onset[at], last))
        end[at[:-1]] = np.minimum(end[at[:-1]], onset[at[1:]])
    return onset, end, end > onset


@dataclass(frozen=True, eq=False)
class Script:
    """Written notes to be performed, as steps since the region's start; `track` and `at` say which note of
    which marked track each is."""

    part: Part
    track: Column
    at: Column


def script(ask: Ask) -> Script:
    """The notes of the marked tracks that begin in the region; UserError when none may be played anew."""
    marked = _pitched(ask.score, ask.region)
    if not marked:
        raise UserError(
            "No track is marked to be performed; mark those whose notes are to be played."
        )
    if not any(ask.region.owned(t).any() for t in marked):
        raise UserError(
            "There are no notes to perform in the marked bars (locked ones stay); mark others."
        )
    tempo, region = ask.score.tempo, ask.region
    now = tempo.second(region.start)
    rows = []
    for i, track in enumerate(marked):
        notes = track.notes
        at = np.flatnonzero((notes.onset >= region.start) & (notes.onset < region.end))
        rows.append(
            (
                (tempo.seconds(notes.onset[at]) - now) / STEP,
                (tempo.seconds(notes.end[at]) - now) / STEP,
                notes.pitch[at].astype(np.int64),
                notes.velocity[at].astype(np.int64),
                region.owned(track)[at],
                np.full(len(at), i),
                at,
            )
        )
    columns = [np.concatenate(parts) for parts in zip(*rows, strict=True)]
    order = np.lexsort((columns[2], columns[0]))
    columns = [column[order] for column in columns]
    return Script(Part(*columns[:5]), *columns[5:])


def is_played(ask: Ask) -> bool:
    """Whether what the marked tracks play before the region is a performance, not a flat score."""
    loud = [
        t.notes.velocity[t.notes.onset < ask.region.start]
        for t in ask.score.tracks
        if t.id in ask.region.tracks
    ]
    return len(np.unique(np.concatenate(loud))) > 4


def performed(
    ask: Ask, script: Script, late: Mapping[int, float], velocity: Mapping[int, int]
) -> tuple[Track, ...]:
    """The marked tracks' notes that may change, as played: those of the script that are in `late` begin so
    many steps after what is written, and end so much later; the others are as written."""
    tempo, region = ask.score.tempo, ask.region
    found = []
    for i, track in enumerate(t for t in ask.score.tracks if t.id in region.tracks):
        rows = np.flatnonzero((script.track == i) & script.part.free)
        notes = track.notes.where(script.at[rows])
        rows = rows[np.argsort(script.at[rows])]
        delay = np.array([late.get(int(r), 0.0) for r in rows]) * STEP
        onset, end = (
            np.where(delay == 0, t, np.round(tempo.ticks(tempo.seconds(t) + delay))).astype(
                np.int64
            )
            for t in (notes.onset, notes.end)
        )
        onset = np.clip(onset, region.start, region.end - 1)
        end = np.clip(end, onset + 1, region.end)
        loud = np.array(
            [velocity.get(int(r), int(script.part.velocity[r])) for r in rows], np.int64
        )
        onset, end, fits = _apart(onset, end, notes.pitch, _kept(region, track))
        onset = np.where(fits, onset, notes.onset)
        end = np.where(fits, end, notes.end)
        found.append(
            track.with_notes(
                notes.with_(onset=onset, duration=end - onset, velocity=np.clip(loud, 1, 127))
            )
        )
    return tuple(found)

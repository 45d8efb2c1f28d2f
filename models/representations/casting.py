"""Who sings what: which tracks of a score are the voices of a chorale, and which of them are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from models.card import Task
from models.representations.chorale import RANGES, VOICES
from models.score import Notes, Region, Track, UserError
from models.system import Ask
from models.timebase import SIXTEENTH

CHURCH_ORGAN = 19
CHORDS = 0.25
"""Share of a track's notes that may sound into the next before it is not one line any more."""


def match(tracks: Sequence[Track], region: Region) -> tuple[Track | None, ...]:
    """Which of up to four tracks is soprano, alto, tenor, bass: by name, else by where its notes lie."""
    free = set(range(4))
    found: dict[int, Track] = {}
    rest: list[Track] = []
    for track in tracks:
        name = track.name.casefold().strip()
        voice = next((v for v in sorted(free) if name and VOICES[v].startswith(name)), None)
        if voice is None:
            voice = next((v for v in sorted(free) if VOICES[v] in name), None)
        if voice is None:
            rest.append(track)
        else:
            found[voice] = track
            free.discard(voice)
    centre = [(low + high) / 2 for low, high in RANGES]

    def height(track: Track) -> float | None:
        near = track.notes.sounding(region.start, region.end)
        notes = track.notes.where(near) if near.any() else track.notes
        return float(np.average(notes.pitch, weights=notes.duration)) if len(notes) else None

    placed = [(t, height(t)) for t in rest]
    best, least = None, np.inf
    for order in permutations(sorted(free), len(rest)):
        cost = 0.0
        for (_, h), v in zip(placed, order, strict=True):
            cost += 1e-3 * v if h is None else abs(h - centre[v])
        if cost < least:
            best, least = order, cost
    for (track, _), v in zip(placed, best or (), strict=True):
        found[v] = track
    return tuple(found.get(v) for v in range(4))


def melody_voice(track: Track, start: int, end: int) -> int:
    """The voice a melody fits best: the soprano unless it lies mostly outside its range."""
    notes = track.notes.where(track.notes.sounding(start, end))
    pitch = notes.pitch.astype(int)
    if not len(pitch):
        return 0
    outside = [float(((pitch < low) | (pitch > high)).mean()) for low, high in RANGES]
    named = match([track], Region(start, end)).index(track)
    said = any(v in track.name.casefold() for v in VOICES)
    if said and outside[named] <= 0.2:
        return named
    if outside[0] <= 0.2 or min(outside) > 0.2:
        return 0
    return int(np.argmin(outside))


@dataclass(frozen=True)
class Request:
    """Who sings what: the voices' tracks (None: no track yet) and the voices to write."""

    lines: tuple[Track | None, ...]
    writable: tuple[int, ...]


def cast(ask: Ask) -> Request:
    """The voices of a request to create, accompany or regenerate chorales. UserError when the tracks
    asked for are not to be had or too many."""
    score, region = ask.score, ask.region
    asked = [t for t in score.tracks if t.id in region.tracks]
    if len(asked) > 4:
        raise UserError(f"A chorale has four voices and {len(asked)} tracks are marked; mark four.")
    if any(t.channel == 9 for t in asked):
        raise UserError("A drum track can't sing; unmark it.")
    others = [
        t
        for t in score.tracks
        if t.id not in region.tracks
        and t.channel != 9
        and t.notes.sounding(region.start, region.end).any()
    ]
    for track in asked:
        if _chordal(track.notes.where(region.owned(track))):
            raise UserError(
                f"{track.name or 'A marked track'} holds chords there, and a chorale has one "
                "note at a time in each voice; mark single lines, or clear those bars first."
            )
    if ask.task is Task.CREATE and not asked:
        return Request((None,) * 4, (0, 1, 2, 3))
    if ask.task is Task.ACCOMPANY:
        return _accompany(ask, asked, others)
    if not asked:
        raise UserError("No voice is marked to be written; mark at least one track.")
    lines = match([*asked, *_fitting(others, 4 - len(asked))], region)
    return Request(lines, tuple(v for v, t in enumerate(lines) if t in asked))


def _fitting(tracks: Sequence[Track], room: int) -> list[Track]:
    """Up to `room` of the tracks, those named like voices first, then the longest lines."""

    def rank(track: Track) -> tuple[bool, int]:
        return not any(v in track.name.casefold() for v in VOICES), -len(track.notes)

    return sorted(tracks, key=rank)[:room]


def _accompany(ask: Ask, asked: list[Track], others: list[Track]) -> Request:
    region = ask.region
    melody = None
    if ask.melody is not None:
        melody = next((t for t in ask.score.tracks if t.id == ask.melody), None)
        if melody is None or not melody.notes.sounding(region.start, region.end).any():
            raise UserError("The melody to accompany has no notes there; choose another track.")
    elif others:
        melody = max(others, key=lambda t: (t.name.casefold() in VOICES[:1], _height(t)))
    if melody is None:
        raise UserError("There is no melody to accompany; draw one or open a file with one.")
    asked = [t for t in asked if t is not melody]
    if len(asked) > 3:
        raise UserError("Beside the melody a chorale has three voices; mark three at most.")
    voice = melody_voice(melody, region.start, region.end)
    if not asked:
        lines = [None if v != voice else melody for v in range(4)]
        return Request(tuple(lines), tuple(v for v in range(4) if v != voice))
    # The melody keeps its voice; the other tracks share those left, by name or by height.
    known = match(asked, region)
    free = [v for v in range(4) if v != voice]
    placed: list[Track | None] = [None] * 4
    placed[voice] = melody
    for v, track in enumerate(known):
        if track is not None:
            seat = v if v in free else free[0]
            free.remove(seat)
            placed[seat] = track
    return Request(tuple(placed), tuple(v for v, t in enumerate(placed) if t in asked))


def _chordal(notes: Notes) -> bool:
    """Whether more than a share CHORDS of the notes begin while another still sounds."""
    if len(notes) < 2:
        return False
    sounding = np.maximum.accumulate(notes.end)[:-1]
    return float((notes.onset[1:] < sounding - SIXTEENTH).mean()) > CHORDS


def _height(track: Track) -> float:
    return float(np.mean(track.notes.pitch)) if len(track.notes) else 0.0


def tracks(ask: Ask, request: Request, notes: Sequence[Notes]) -> tuple[Track, ...]:
    """The new notes of the writable voices on their tracks; voices without one get a new track."""
    next_id = ask.score.next_track_id
    used = {t.channel for t in ask.score.tracks} | {9}
    known = [t for t in request.lines if t is not None]
    # New voices sound like the music they join, and where it sounds.
    program, port = (known[0].program, known[0].port) if known else (CHURCH_ORGAN, "")
    out = []
    for v in request.writable:
        track = request.lines[v]
        if track is None:
            channel = next((c for c in range(16) if c not in used), v)
            used.add(channel)
            track = Track(
                next_id, VOICES[v].capitalize(), channel=channel, program=program, port=port
            )
            next_id += 1
        out.append(track.with_notes(notes[v]))
    return tuple(out)


def velocity(request: Request) -> int:
    """How loud new notes are: as the music they belong to."""
    heard = [t.notes.velocity for t in request.lines if t is not None and len(t.notes)]
    return int(np.median(np.concatenate(heard))) if heard else 80

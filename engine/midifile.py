"""Standard MIDI files: type 0 and 1 in, type 1 out (Standard MIDI Files 1.0, MMA RP-001).

What a Score has no place for is left behind: system exclusive, lyrics, release velocities, the port and
channel prefixes. Fermatas travel as markers named "fermata". Locks and voices stay in the project.
"""

from __future__ import annotations

import struct
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engine.files import read_bytes, write_bytes
from models.score import Controls, Key, Notes, Score, Track, UserError
from models.timebase import PPQ, MeterMap, TempoMap

MAX_BYTES = 64_000_000
MAX_EVENTS = 2_500_000
MAX_QUARTERS = 200_000
"""No longer than 27 hours at 120 bpm: a mutilated delta time must not make a billion bars to draw."""

FERMATA = "fermata"

_NOTE_OFF, _NOTE_ON, _CONTROL, _PROGRAM, _META = 0x80, 0x90, 0xB0, 0xC0, 0xFF
_BANK_HIGH, _BANK_LOW, _VOLUME = 0, 32, 7
_DATA_BYTES = {0x80: 2, 0x90: 2, 0xA0: 2, 0xB0: 2, 0xC0: 1, 0xD0: 1, 0xE0: 2}


def read(path: Path) -> Score:
    """The score in a MIDI file; UserError when it is none, is damaged, or is too large."""
    return from_bytes(read_bytes(path, MAX_BYTES), str(path))


def write(score: Score, path: Path) -> None:
    """Write a type 1 MIDI file; UserError when the folder or the disk won't take it."""
    write_bytes(path, to_bytes(score))


# --- reading -------------------------------------------------------------------------------------

Control = tuple[int, int, int, int, int]
"""tick, channel, status, first and second data byte"""


@dataclass
class _Chunk:
    """One track chunk's events, at ticks of the file's own division, in file order."""

    name: str = ""
    instrument: str = ""
    length: int = 0
    onset: list[int] = field(default_factory=list)
    key: list[int] = field(default_factory=list)  # channel << 7 | pitch
    velocity: list[int] = field(default_factory=list)
    end: list[int] = field(default_factory=list)
    controls: list[Control] = field(default_factory=list)
    tempos: list[tuple[int, int]] = field(default_factory=list)
    meters: list[tuple[int, int, int]] = field(default_factory=list)
    keys: list[tuple[int, int, bool]] = field(default_factory=list)
    fermatas: list[int] = field(default_factory=list)


def from_bytes(data: bytes, name: str = "The MIDI file") -> Score:
    """The score in a MIDI file's bytes; `name` is what a UserError calls the file.

    A type 0 file gives a track a channel, a track with several channels is split in the same way.
    Notes of one pitch that overlap are ended first in, first out; a note never ended lasts to the end
    of its track. Ticks become `PPQ` to the quarter: exactly invertible up to that division, to the
    nearest tick above it.
    """
    if data[:4] == b"RIFF" and data[8:12] == b"RMID":
        data = data[data.find(b"MThd") :]
    if data[:4] != b"MThd":
        what = "is empty" if not data else "is not a MIDI file"
        raise UserError(f"{name} {what}; choose a file that ends in .mid and plays elsewhere.")
    if len(data) < 14:
        raise _damaged(name, "its header", len(data), "ends early")
    header, kind, count, division = struct.unpack(">IHHH", data[4:14])
    if division & 0x8000:
        raise UserError(
            f"{name} counts time in film frames (SMPTE), which has no beats or bars; export it again "
            "with ticks per quarter note."
        )
    if division == 0:
        raise _damaged(name, "its header", 12, "says 0 ticks per quarter note")
    if kind not in (0, 1) and not (kind == 2 and count == 1):
        raise UserError(
            f"{name} is of MIDI type {kind}, a collection of separate patterns; export it again as "
            "type 1."
        )
    chunks = _chunks(data, 8 + header, count, division, name)
    return _score(chunks, division)


def _damaged(name: str, part: str, at: int, what: str) -> UserError:
    return UserError(f"{name} is damaged: {part} {what} at byte {at}; export it again.")


def _chunks(data: bytes, start: int, count: int, division: int, name: str) -> list[_Chunk]:
    chunks: list[_Chunk] = []
    at = start
    room = MAX_EVENTS
    while at < len(data) and len(chunks) < count:
        part = f"track {len(chunks) + 1}"
        if at + 8 > len(data):
            raise _damaged(name, part, at, "ends early")
        kind, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "big")
        at += 8
        if at + length > len(data):
            raise _damaged(name, part, len(data), "ends early")
        if kind == b"MTrk":  # others are for other programs, and skipped as the standard asks
            chunk, used = _chunk(data, at, at + length, division, room, name, part)
            chunks.append(chunk)
            room -= used
        at += length
    if len(chunks) < count:
        raise _damaged(name, f"track {len(chunks) + 1} of {count}", len(data), "is missing")
    return chunks


def _chunk(
    data: bytes, at: int, end: int, division: int, room: int, name: str, part: str
) -> tuple[_Chunk, int]:
    """The track chunk in data[at:end], and how many events it held (no more than `room`)."""
    chunk = _Chunk()
    onset, keys, velocities, ends = chunk.onset, chunk.key, chunk.velocity, chunk.end
    sounding: defaultdict[int, deque[int]] = defaultdict(deque)  # key → indices of its open notes
    limit = MAX_QUARTERS * division
    tick = status = events = 0
    try:
        while 0 <= at < end:
            byte = data[at]
            at += 1
            delta = byte & 0x7F
            while byte >= 0x80:
                byte = data[at]
                at += 1
                delta = delta << 7 | byte & 0x7F
                if delta > 0xFFFFFFF:
                    raise _damaged(name, part, at, "has a time that is too long")
            tick += delta
            events += 1
            if tick > limit:
                raise _damaged(name, part, at, f"goes on for over {MAX_QUARTERS:,} beats")
            if events > room:
                raise UserError(
                    f"{name} has more than {MAX_EVENTS:,} events, too many to edit; split it."
                )
            byte = data[at]
            if byte >= 0xF0:
                chunk.length = tick
                at = _system(data, at + 1, end, byte, tick, chunk, name, part)
                status = 0  # these cancel running status
                continue
            if byte >= 0x80:
                status = byte
                at += 1
            kind = status & 0xF0
            size = _DATA_BYTES.get(kind)
            if size is None:
                raise _damaged(name, part, at, "has data without a command")
            first = data[at]
            second = data[at + 1] if size == 2 else 0
            at += size
            if first > 127 or second > 127:
                raise _damaged(name, part, at, "has a value above 127")
            if kind > _NOTE_ON:
                chunk.controls.append((tick, status & 15, kind, first, second))
                continue
            key = (status & 15) << 7 | first
            if kind == _NOTE_ON and second:
                sounding[key].append(len(onset))
                onset.append(tick)
                keys.append(key)
                velocities.append(second)
                ends.append(-1)
            elif sounding[key]:
                ends[sounding[key].popleft()] = tick
    except IndexError:
        raise _damaged(name, part, len(data), "ends early") from None
    if at > end:
        raise _damaged(name, part, end, "ends inside an event")
    chunk.length = max(chunk.length, tick)
    for queue in sounding.values():
        for index in queue:
            ends[index] = chunk.length
    return chunk, events


def _system(
    data: bytes, at: int, end: int, status: int, tick: int, chunk: _Chunk, name: str, part: str
) -> int:
    """Take in the meta or exclusive event whose status byte lies before `at`; returns where the next
    event begins, −1 at the end of the track."""
    kind = -1
    if status == _META:
        kind = data[at]
        at += 1
    elif status not in (0xF0, 0xF7):
        raise _damaged(name, part, at, f"has a command 0x{status:02X} that no MIDI file may hold")
    size, byte = 0, 0x80
    while byte >= 0x80:
        byte = data[at]
        at += 1
        size = size << 7 | byte & 0x7F
        if size > end - at:
            raise _damaged(name, part, at, "has an event longer than the track")
    body = data[at : at + size]
    match kind:
        case 0x2F:
            return -1
        case 0x03 if not chunk.name:
            chunk.name = _text(body)
        case 0x04 if not chunk.instrument:
            chunk.instrument = _text(body)
        case 0x06 if _text(body).casefold() == FERMATA:
            chunk.fermatas.append(tick)
        case 0x51:
            tempo = int.from_bytes(body[:3], "big")
            if size < 3 or tempo == 0:
                raise _damaged(name, part, at, "has a tempo of 0")
            chunk.tempos.append((tick, tempo))
        case 0x58:
            if size < 2 or body[0] == 0 or body[1] > 6:
                raise _damaged(name, part, at, "has a metre that cannot be written")
            chunk.meters.append((tick, body[0], 1 << body[1]))
        case 0x59 if size >= 2:
            sharps = body[0] - 256 if body[0] > 127 else body[0]
            # Out of range they are common (some programs write 0xFF for "none") and harmless.
            if -7 <= sharps <= 7 and body[1] <= 1:
                chunk.keys.append((tick, sharps, bool(body[1])))
    return at + size


def _text(body: bytes) -> str:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        text = body.decode("latin-1")
    return "".join(c for c in text if c.isprintable()).strip()[:200]


def _scaled(ticks: Iterable[int], division: int) -> npt.NDArray[np.int64]:
    """File ticks as ours, to the nearest; injective for divisions up to PPQ."""
    t = np.array(list(ticks), np.int64)
    return np.asarray((2 * t * PPQ + division) // (2 * division), np.int64)


def _score(chunks: list[_Chunk], division: int) -> Score:
    tempos = [event for chunk in chunks for event in chunk.tempos]
    keys = [event for chunk in chunks for event in chunk.keys]
    key_ticks = _scaled((k[0] for k in keys), division).tolist()
    signatures = {t: Key(t, k[1], k[2]) for t, k in zip(key_ticks, keys, strict=True)}
    fermatas = _scaled((t for chunk in chunks for t in chunk.fermatas), division)
    return Score(
        tracks=tuple(_tracks(chunks, division)),
        tempo=TempoMap(
            _scaled((t for t, _ in tempos), division), np.array([u for _, u in tempos], np.int64)
        ),
        meter=_meter_map([event for chunk in chunks for event in chunk.meters], division),
        keys=tuple(signatures[t] for t in sorted(signatures)),
        fermatas=tuple(np.unique(fermatas).tolist()),
        title=chunks[0].name if chunks and (len(chunks) == 1 or not chunks[0].onset) else "",
        division=min(division, PPQ),
    )


def _tracks(chunks: list[_Chunk], division: int) -> list[Track]:
    """A track for every channel that plays in a chunk, and for a chunk that is only named and set up."""
    controls: defaultdict[tuple[int, int], list[Control]] = defaultdict(list)
    plays: list[tuple[int, int]] = []  # chunk, channel
    columns = []
    for index, chunk in enumerate(chunks):
        keys = np.array(chunk.key, np.int64)
        columns.append((chunk, keys >> 7, keys & 127))
        plays += [(index, int(channel)) for channel in np.unique(keys >> 7)]
        for control in chunk.controls:
            controls[index, control[1]].append(control)
    for index, channel in list(controls):
        if (index, channel) in plays:
            continue
        # Some programs set all instruments up in the first track: the settings go where notes are.
        elsewhere = next((p for p in plays if p[1] == channel), None)
        if elsewhere is not None:
            controls[elsewhere] = sorted(
                controls.pop((index, channel)) + controls[elsewhere], key=lambda c: c[0]
            )
        elif chunks[index].name and not chunks[index].onset:
            plays.append((index, channel))
    tracks: list[Track] = []
    next_id = 0
    for index, channel in sorted(plays):
        chunk, channels, pitches = columns[index]
        here = np.flatnonzero(channels == channel)
        onset = _scaled(np.array(chunk.onset, np.int64)[here], division)
        end = _scaled(np.array(chunk.end, np.int64)[here], division)
        notes = Notes.of(
            onset,
            np.maximum(end - onset, 1),
            pitches[here],
            np.array(chunk.velocity, np.int64)[here],
            first_id=next_id,
        )
        next_id += len(notes)
        several = sum(i == index for i, _ in plays) > 1
        name = chunk.name or chunk.instrument
        if several:
            base = f"{name}, " if name and len(chunks) > 1 else ""
            name = f"{base}channel {channel + 1}".capitalize()
        name = name or f"Track {len(tracks) + 1}"
        tracks.append(_track(len(tracks), name, channel, notes, controls[index, channel], division))
    return tracks


def _track(
    track_id: int,
    name: str,
    channel: int,
    notes: Notes,
    events: list[Control],
    division: int,
) -> Track:
    """A track whose first program and volume, when they come before its notes, are settings of its own."""
    ticks = _scaled((e[0] for e in events), division)
    rows = np.array([e[2:] for e in events], np.int64).reshape(-1, 3)
    keep = np.ones(len(rows), bool)
    first_note = int(notes.onset[0]) if len(notes) else None
    program, volume = 0, 100
    early = np.ones(len(rows), bool) if first_note is None else ticks <= first_note
    bank = (rows[:, 0] == _CONTROL) & np.isin(rows[:, 1], (_BANK_HIGH, _BANK_LOW))
    programs = np.flatnonzero(early & (rows[:, 0] == _PROGRAM))
    if len(programs):
        at = int(programs[0])
        program = int(rows[at, 1])
        # A bank select means nothing without the program change that comes after it: such a pair stays.
        keep[at] = bool(bank[:at].any())
    volumes = np.flatnonzero(early & (rows[:, 0] == _CONTROL) & (rows[:, 1] == _VOLUME))
    if len(volumes):
        volume = int(rows[volumes[0], 2])
        keep[volumes[0]] = False
    controls = Controls(ticks[keep], *(rows[keep, column] for column in range(3)))
    return Track(track_id, name, notes, controls, channel, program, volume=volume)


def _meter_map(events: list[tuple[int, int, int]], division: int) -> MeterMap:
    """The metre map; a short bar at the start, written as a metre of its own, is a pickup."""
    ticks = _scaled((e[0] for e in events), division)
    at = {int(t): (e[1], e[2]) for t, e in zip(ticks, events, strict=True)}  # the last one stands
    changes = [(t, *at[t]) for t in sorted(at)]
    pickup = 0
    if len(changes) > 1 and changes[0][0] == 0:
        (_, *first), (tick, *second) = changes[:2]
        if tick < _bar(second[0], second[1]) and tuple(first) == _pickup_metre(tick, *second):
            pickup = tick
            changes = [(0, second[0], second[1]), *changes[2:]]
    rows = np.array(changes, np.int64).reshape(-1, 3)
    return MeterMap(rows[:, 0], rows[:, 1], rows[:, 2], pickup)


def _bar(numerator: int, denominator: int) -> int:
    return numerator * 4 * PPQ // denominator


def _pickup_metre(ticks: int, numerator: int, denominator: int) -> tuple[int, int]:
    """The metre in which a pickup of `ticks` is one whole bar: in the unit of the metre to come, or a
    finer one. When there is none, the metre to come, whose bar the next change of metre cuts short."""
    for unit in (d for d in (1, 2, 4, 8, 16, 32, 64) if d >= denominator):
        if ticks * unit % (4 * PPQ) == 0:
            return ticks * unit // (4 * PPQ), unit
    return numerator, denominator


# --- writing -------------------------------------------------------------------------------------


def to_bytes(score: Score) -> bytes:
    """A type 1 MIDI file of the score: tempo, metre, keys and fermatas in the first track, then its tracks.

    On the division of the file the score came from when every event still lies on its grid, else on
    ours (PPQ). Muted tracks are written too.
    """
    division = score.division if _on_grid(score, score.division) else PPQ
    chunks = [_conductor(score, division), *(_track_chunk(t, division) for t in score.tracks)]
    header = struct.pack(">4sIHHH", b"MThd", 6, 1, len(chunks), division)
    return header + b"".join(struct.pack(">4sI", b"MTrk", len(c)) + c for c in chunks)


def _file_ticks(ticks: npt.ArrayLike, division: int) -> npt.NDArray[np.int64]:
    """Our ticks as the file's, to the nearest, halves down: the inverse of `_scaled`."""
    t = np.asarray(ticks, np.int64)
    return np.asarray((2 * t * division + PPQ - 1) // (2 * PPQ), np.int64)


def _on_grid(score: Score, division: int) -> bool:
    """Whether every event would come back to its own tick from a file of that division."""
    if not 1 <= division < PPQ:
        return False
    ticks = [score.tempo.tick, score.meter.tick, [score.meter.pickup]]
    for track in score.tracks:
        notes = track.notes
        # The shortest note there is stands for one that was empty in the file.
        ends = notes.end[notes.duration > 1]
        ticks += [notes.onset, ends, track.controls.tick]
    every = np.unique(np.concatenate([np.asarray(t, np.int64) for t in ticks]))
    back = (2 * _file_ticks(every, division) * PPQ + division) // (2 * division)
    return bool(np.array_equal(back, every))


def _conductor(score: Score, division: int) -> bytes:
    meter = score.meter
    metres = list(
        zip(meter.tick.tolist(), meter.numerator.tolist(), meter.denominator.tolist(), strict=True)
    )
    if meter.pickup:
        _, numerator, denominator = metres[0]
        start = (0, *_pickup_metre(meter.pickup, numerator, denominator))
        # Without the second one no program would begin its first bar after the pickup.
        metres = [start, (meter.pickup, numerator, denominator), *metres[1:]]
    events: list[tuple[int, bytes]] = [(0, _meta(0x03, _name(score.title)))] if score.title else []
    for tick, numerator, denominator in metres:
        clocks = 36 if denominator == 8 and numerator % 3 == 0 else 96 // denominator
        body = bytes([numerator, denominator.bit_length() - 1, clocks, 8])
        events.append((tick, _meta(0x58, body)))
    events += [(k.tick, _meta(0x59, bytes([k.sharps & 0xFF, k.minor]))) for k in score.keys]
    for tick, us in zip(
        score.tempo.tick.tolist(), score.tempo.us_per_quarter.tolist(), strict=True
    ):
        events.append((tick, _meta(0x51, min(us, 0xFFFFFF).to_bytes(3, "big"))))
    events += [(tick, _meta(0x06, FERMATA.encode())) for tick in score.fermatas]
    events.sort(key=lambda event: event[0])
    ticks = _file_ticks([tick for tick, _ in events], division).tolist()
    return _chunk_bytes(ticks, [body for _, body in events])


def _track_chunk(track: Track, division: int) -> bytes:
    channel, notes, controls = track.channel, track.notes, track.controls
    setup = [_meta(0x03, _name(track.name))]
    if not _begins_with_a_bank(track):
        setup.append(bytes([_PROGRAM | channel, track.program]))
    if track.volume != 100:
        setup.append(bytes([_CONTROL | channel, _VOLUME, track.volume]))
    onset, end = _file_ticks(notes.onset, division), _file_ticks(notes.end, division)
    order = np.lexsort((end, notes.pitch, onset))  # first in, first out, when read again
    onset, end = onset[order], end[order]
    pitch, velocity = notes.pitch[order], notes.velocity[order]
    n, m = len(notes), len(controls)
    tick = np.concatenate([onset, end, _file_ticks(controls.tick, division)])
    status = np.concatenate(
        [np.full(n, _NOTE_ON | channel), np.full(n, _NOTE_OFF | channel), controls.status | channel]
    )
    data1 = np.concatenate([pitch, pitch, controls.data1])
    data2 = np.concatenate([velocity, np.full(n, 64), controls.data2])
    # At one tick: ends of notes, then controls, then beginnings, then ends of notes that begin there.
    rank = np.concatenate([np.full(n, 2), np.where(end > onset, 0, 3), np.full(m, 1)])
    order = np.lexsort((rank, tick))
    messages = [
        bytes((s, a) if s & 0xF0 in (0xC0, 0xD0) else (s, a, b))
        for s, a, b in zip(
            status[order].tolist(), data1[order].tolist(), data2[order].tolist(), strict=True
        )
    ]
    return _chunk_bytes([0] * len(setup) + tick[order].tolist(), setup + messages)


def _begins_with_a_bank(track: Track) -> bool:
    """Whether the track's own controls choose a bank and a program before its first note."""
    controls = track.controls
    programs = np.flatnonzero(controls.status == _PROGRAM)
    if not len(programs) or (
        len(track.notes) and controls.tick[programs[0]] > track.notes.onset[0]
    ):
        return False
    banks = (controls.status == _CONTROL) & np.isin(controls.data1, (_BANK_HIGH, _BANK_LOW))
    return bool(banks[: int(programs[0])].any())


def _name(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _meta(kind: int, body: bytes) -> bytes:
    return bytes([_META, kind]) + _variable(len(body)) + body


def _variable(value: int) -> bytes:
    """A variable-length quantity: seven bits a byte, the high bit set on all but the last."""
    out = bytes([value & 0x7F])
    while value := value >> 7:
        out = bytes([value & 0x7F | 0x80]) + out
    return out


def _chunk_bytes(ticks: Sequence[int], events: Sequence[bytes]) -> bytes:
    out = bytearray()
    last = 0
    for tick, event in zip(ticks, events, strict=True):
        delta = tick - last
        last = tick
        if delta < 128:
            out.append(delta)
        else:
            out += _variable(delta)
        out += event
    return bytes(out + b"\0\xff\x2f\0")

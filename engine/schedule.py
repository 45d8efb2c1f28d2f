"""What a score sounds like, as flat columns of MIDI messages in time order.

`compile` makes one track's `Table` for the transport (which gets it as bytes); `timed` makes a whole
score's messages in seconds for rendering to audio. Both are vectorised: 100,000 notes take about 20 ms.

At one tick, controls come first, then note-offs, then note-ons. A note-on always finds its key silent:
where two notes of one key overlap, the later onset ends the earlier note and sounds for as long as any
of them says; of notes of one key that begin together the loudest sounds. So every note-on has exactly
one note-off after it, and no note-off cuts a note that should still sound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import numpy.typing as npt

from models.score import Column, Score, Track
from models.timebase import PPQ

NOTE_OFF, NOTE_ON, CONTROL, PROGRAM, PRESSURE, BEND = 0x80, 0x90, 0xB0, 0xC0, 0xD0, 0xE0
VOLUME_CC, SUSTAIN_CC = 7, 64

RESET: dict[int, int] = {1: 0, 2: 0, 10: 64, 11: 127, 64: 0, 65: 0, 66: 0, 67: 0, 68: 0}
"""Controllers that a jump to before their first use puts back, and the value they go to."""

SHORTEST_CHASED = PPQ // 4
"""A note already sounding where playback begins is struck there if at least this many ticks of it remain."""


@dataclass(frozen=True, eq=False)
class Table:
    """Channel messages in time order, as parallel columns of equal length.

    tick (int64); end (int64: for a note-on the tick of its note-off, for anything else its own tick);
    message (n × 4 uint8: status with channel, data 1, data 2, number of bytes to send: 2 or 3).
    `controls` indexes the rows that are neither note-on nor note-off.
    """

    tick: Column
    end: Column
    message: Column
    controls: Column = field(init=False, repr=False)

    def __post_init__(self) -> None:
        kind = self.message[:, 0] & 0xF0
        is_control = (kind != NOTE_ON) & (kind != NOTE_OFF)
        object.__setattr__(self, "controls", np.flatnonzero(is_control))

    def __len__(self) -> int:
        return len(self.tick)

    def tobytes(self) -> bytes:
        """Flat little-endian bytes: all ticks, all ends, all messages."""
        return b"".join(
            (
                self.tick.astype("<i8").tobytes(),
                self.end.astype("<i8").tobytes(),
                np.ascontiguousarray(self.message).tobytes(),
            )
        )

    @classmethod
    def frombytes(cls, data: bytes) -> Self:
        """The table `tobytes` made, without copying. ValueError when the length can't be one."""
        n, rest = divmod(len(data), 20)
        if rest:
            raise ValueError("not a table of messages")
        return cls(
            np.frombuffer(data, "<i8", n),
            np.frombuffer(data, "<i8", n, 8 * n),
            np.frombuffer(data, np.uint8, 4 * n, 16 * n).reshape(n, 4),
        )

    def held(self, tick: float) -> npt.NDArray[np.int64]:
        """The rows of the note-ons that are before `tick` and whose notes end after it."""
        before = int(np.searchsorted(self.tick, tick, side="left"))
        rows = np.flatnonzero(self.end[:before] > tick)
        return np.asarray(rows[(self.message[rows, 0] & 0xF0) == NOTE_ON])

    def bytes_at(self, row: int) -> bytes:
        """The message of one row, as it goes over the wire."""
        message = self.message[row]
        return bytes(message[: message[3]])


NOTHING = Table(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 4), np.uint8))


def audible(score: Score) -> frozenset[int]:
    """The ids of the tracks to be heard: the soloed ones if there are any, else those not muted."""
    soloed = frozenset(t.id for t in score.tracks if t.soloed)
    return soloed or frozenset(t.id for t in score.tracks if not t.muted)


def compile(track: Track, *, audible: bool = True) -> Table:
    """A track's messages on its own channel; none at all when it is not `audible`.

    (A silent track must not set the program of a channel it shares with one that is heard.)
    """
    return _table([track]) if audible else NOTHING


def flatten(score: Score) -> Table:
    """All audible tracks in one table, as if they shared one output."""
    heard = audible(score)
    return _table([t for t in score.tracks if t.id in heard])


def timed(score: Score) -> list[tuple[float, bytes]]:
    """Every message of all audible tracks with its moment, in seconds from the start, in order.

    Ready to be fed to one synth: programs and volumes come first, every note-on gets its note-off.
    """
    table = flatten(score)
    seconds = score.tempo.seconds(table.tick).tolist()
    raw = table.message.tobytes()
    sizes = table.message[:, 3].tolist()
    return [
        (s, raw[4 * i : 4 * i + n]) for i, (s, n) in enumerate(zip(seconds, sizes, strict=True))
    ]


def chase(table: Table, tick: float) -> list[bytes]:
    """The messages that set up what is in force at `tick`: the last program, pressure, bend and value of
    each controller up to and including it, and the rest value of those that are only used later."""
    rows = table.controls
    if not len(rows):
        return []
    status, data1 = table.message[rows, 0], table.message[rows, 1]
    kind = status & 0xF0
    # Aftertouch of single keys means nothing before its note sounds; from 120 on, controllers are orders.
    lasting = (kind != 0xA0) & ((kind != CONTROL) | (data1 < 120))
    slot = np.where(
        kind == CONTROL, status.astype(np.int64) * 128 + data1, status.astype(np.int64) * 128
    )
    past = (table.tick[rows] <= tick) & lasting
    last = len(rows) - 1 - np.unique(slot[past][::-1], return_index=True)[1]
    last -= len(rows) - int(past.sum())
    found = [table.bytes_at(int(r)) for r in rows[past][np.sort(last)]]
    later = np.setdiff1d(slot[~past & lasting], slot[past])
    resets: list[bytes] = []
    for code in later.tolist():
        state, controller = divmod(code, 128)
        match state & 0xF0:
            case 0xE0:
                resets.append(bytes((state, 0, 64)))
            case 0xD0:
                resets.append(bytes((state, 0)))
            case 0xB0 if controller in RESET:
                resets.append(bytes((state, controller, RESET[controller])))
    return resets + found


def _table(tracks: Sequence[Track]) -> Table:
    """One table of several tracks."""
    if not tracks:
        return NOTHING
    onset, end, pitch, velocity, channel = [], [], [], [], []
    control_tick, control = [], []
    for track in tracks:
        ch = track.channel
        setup = [(CONTROL | ch, VOLUME_CC, track.volume, 3), (PROGRAM | ch, track.program, 0, 2)]
        control_tick.append(np.zeros(2, np.int64))
        control.append(np.array(setup, np.uint8))
        c = track.controls
        size = np.where((c.status == PROGRAM) | (c.status == PRESSURE), 2, 3)
        control_tick.append(c.tick)
        control.append(np.stack([c.status | ch, c.data1, c.data2, size], axis=1).astype(np.uint8))
        notes = track.notes
        onset.append(notes.onset)
        end.append(notes.end)
        pitch.append(notes.pitch)
        velocity.append(notes.velocity)
        channel.append(np.full(len(notes), ch))
    controls_tick, controls = np.concatenate(control_tick), np.concatenate(control)
    on, off, key, loud = _one_at_a_time(
        np.concatenate(onset),
        np.concatenate(end),
        np.concatenate(channel) * 128 + np.concatenate(pitch),
        np.concatenate(velocity),
    )
    n, m = len(on), len(controls)
    tick = np.concatenate([controls_tick, off, on])
    until = np.concatenate([controls_tick, off, off])
    message = np.empty((m + 2 * n, 4), np.uint8)
    message[:m] = controls
    message[m : m + n, 0] = NOTE_OFF | (key >> 7)
    message[m + n :, 0] = NOTE_ON | (key >> 7)
    message[m : m + n, 1] = message[m + n :, 1] = key & 127
    message[m : m + n, 2] = 64
    message[m + n :, 2] = loud
    message[m:, 3] = 3
    # They were laid down as controls, offs, ons: a stable sort keeps them so at each tick.
    order = np.argsort(tick, kind="stable")
    return Table(tick[order], until[order], message[order])


def _one_at_a_time(
    onset: Column, end: Column, key: Column, velocity: Column
) -> tuple[Column, Column, Column, Column]:
    """Notes so trimmed that no two of one key overlap: (onset, end, key, velocity).

    Sorted by key, then onset. See the head of this file for the rule.
    """
    order = np.lexsort((255 - velocity, onset, key))
    onset, end, key, velocity = onset[order], end[order], key[order], velocity[order]
    if not len(onset):
        return onset, end, key, velocity
    # The furthest end so far within each key: keys are lifted above one another for one running maximum.
    lift = key * (int(end.max()) + 1)
    reach = np.maximum.accumulate(end + lift) - lift
    first = np.append(True, (key[1:] != key[:-1]) | (onset[1:] != onset[:-1]))
    starts = np.flatnonzero(first)
    # Of notes that begin together the last row's reach covers them all.
    lasts = np.append(starts[1:], len(onset)) - 1
    onset, key, velocity, reach = onset[starts], key[starts], velocity[starts], reach[lasts]
    following = np.append(onset[1:], np.iinfo(np.int64).max)
    following[:-1][key[1:] != key[:-1]] = np.iinfo(np.int64).max
    return onset, np.minimum(reach, following), key, velocity

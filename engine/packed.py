"""Deltas as bytes: what the project file keeps of a commit, and (a delta from nothing) of a whole score.

    4 bytes  b"RCR1"
    4 bytes  CRC-32 of everything after it
    4 bytes  length of the label
    4 bytes  length of the text
    label    UTF-8: what the step is called
    text     JSON: names, settings, tempo, and the number of rows of each set of notes and controls
    rows     the columns of those sets one after the other, little-endian, in the text's order

Nothing is compressed: a row is 28 bytes, and bytes whose length must match what the text announces
can't make a reader allocate more than the file holds.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from engine.delta import Delta, TrackDelta
from models.score import (
    CONTROL_DTYPES,
    LAST_TICK,
    MOST_OFFSET,
    NOTE_DTYPES,
    Column,
    Controls,
    Key,
    Notes,
    Score,
    Track,
)
from models.timebase import MeterMap, TempoMap

_MAGIC = b"RCR1"
_HEAD = struct.Struct("<4sIII")
_MOST_ROWS = 2**28
_MOST_TEXT = 2**26
_MOST_LABEL = 2**12
_CONTROLS = (0xA0, 0xB0, 0xC0, 0xD0, 0xE0)

T = TypeVar("T")


class DamagedError(ValueError):
    """These bytes are not what `pack` wrote."""


def pack(delta: Delta, label: str = "") -> bytes:
    """`delta` and the step's label as bytes. Raises DamagedError for what `unpack` would refuse, so that
    nothing is ever written that can't be read again."""
    columns: list[Column] = []
    text = json.dumps(
        {
            "tracks": [_track_out(change, columns) for change in delta.tracks],
            "order": None if delta.order is None else [list(map(int, ids)) for ids in delta.order],
            "frame": None if delta.frame is None else [_frame_out(score) for score in delta.frame],
        },
        separators=(",", ":"),
    ).encode("ascii")
    # A lone surrogate (from a file's badly encoded name) is no UTF-8, yet must come back as it was.
    name = label.encode("utf-8", "surrogatepass")
    body = b"".join(
        [
            struct.pack("<II", len(name), len(text)),
            name,
            text,
            *(c.astype(c.dtype.newbyteorder("<"), copy=False).tobytes() for c in columns),
        ]
    )
    data = _MAGIC + struct.pack("<I", zlib.crc32(body)) + body
    unpack(data)
    return data


def label_of(data: bytes) -> str:
    """The label alone, without a look at the rest; DamagedError when a bit of `data` is wrong."""
    start, end, _ = _parts(data)
    try:
        return data[start:end].decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise DamagedError("its label is no text") from error


def _parts(data: bytes) -> tuple[int, int, int]:
    """Where the label begins, the text, and the rows."""
    if len(data) < _HEAD.size:
        raise DamagedError("it is too short")
    magic, crc, label, text = _HEAD.unpack_from(data)
    if magic != _MAGIC or zlib.crc32(memoryview(data)[8:]) != crc:
        raise DamagedError("its checksum does not match")
    if label > _MOST_LABEL or text > _MOST_TEXT or _HEAD.size + label + text > len(data):
        raise DamagedError("its text is too long")
    return _HEAD.size, _HEAD.size + label, _HEAD.size + label + text


def unpack(data: bytes) -> Delta:
    """The delta; DamagedError when a bit is wrong or a value out of its range."""
    _, start, end = _parts(data)
    rows = _Rows(data, end)
    try:
        text = _table(json.loads(data[start:end]))
        tracks = tuple(_track_in(entry, rows) for entry in _list(text["tracks"]))
        order = None if text["order"] is None else _pair(text["order"], _ids)
        frame = None if text["frame"] is None else _pair(text["frame"], _frame_in)
    except DamagedError:
        raise
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise DamagedError(f"it holds something impossible ({error})") from error
    if rows.at != len(data):
        raise DamagedError("it is longer than it says")
    return Delta(tracks, order, frame)


class _Rows:
    """The columns after the text, taken one after the other."""

    def __init__(self, data: bytes, at: int) -> None:
        self.data, self.at = data, at

    def take(self, count: object, dtypes: dict[str, str]) -> dict[str, Column]:
        n = _whole(count, 0, _MOST_ROWS)
        columns: dict[str, Column] = {}
        for name, kind in dtypes.items():
            dtype = np.dtype("uint8" if kind == "bool" else kind).newbyteorder("<")
            if self.at + n * dtype.itemsize > len(self.data):
                raise DamagedError("it is shorter than it says")
            column = np.frombuffer(self.data, dtype, n, self.at)
            if kind == "bool" and n and column.max() > 1:
                raise DamagedError("a yes or no is neither")
            columns[name] = column.astype(kind)
            self.at += n * dtype.itemsize
        return columns


def _track_out(change: TrackDelta, columns: list[Column]) -> dict[str, Any]:
    for notes in (change.removed, change.added):
        columns.extend(getattr(notes, name) for name in NOTE_DTYPES)
    for controls in change.controls or ():
        columns.extend(getattr(controls, name) for name in CONTROL_DTYPES)
    return {
        "id": int(change.id),
        "settings": [_settings_out(track) for track in change.settings],
        "notes": [len(change.removed), len(change.added)],
        "controls": None if change.controls is None else [len(c) for c in change.controls],
    }


def _track_in(entry: object, rows: _Rows) -> TrackDelta:
    table = _table(entry)
    track_id = _whole(table["id"], 0, LAST_TICK)
    settings = _pair(table["settings"], lambda s: _settings_in(s, track_id))
    removed, added = _pair(table["notes"], lambda n: _notes(rows.take(n, NOTE_DTYPES)))
    controls = None
    if table["controls"] is not None:
        controls = _pair(table["controls"], lambda n: _controls(rows.take(n, CONTROL_DTYPES)))
    return TrackDelta(track_id, settings, removed, added, controls)


def _notes(columns: dict[str, Column]) -> Notes:
    ids = columns["id"]
    if len(ids) and not (ids.min() >= 0 and ids.max() <= LAST_TICK):
        raise DamagedError("a note's id is out of range")
    if (np.diff(np.sort(ids)) == 0).any():
        raise DamagedError("two notes have one id")
    return Notes(**columns)


def _controls(columns: dict[str, Column]) -> Controls:
    tick = columns["tick"]
    if (
        not np.isin(columns["status"], _CONTROLS).all()
        or (columns["data1"] > 127).any()
        or (columns["data2"] > 127).any()
        or (len(tick) and not (tick.min() >= 0 and tick.max() <= LAST_TICK))
    ):
        raise DamagedError("a controller is out of range")
    return Controls(**columns)


def _settings_out(track: Track | None) -> dict[str, Any] | None:
    if track is None:
        return None
    return {
        "name": track.name,
        "channel": int(track.channel),
        "program": int(track.program),
        "port": track.port,
        "muted": bool(track.muted),
        "soloed": bool(track.soloed),
        "volume": int(track.volume),
        "offset": int(track.offset),
    }


def _settings_in(entry: object, track_id: int) -> Track | None:
    if entry is None:
        return None
    table = _table(entry)
    return Track(
        track_id,
        _text(table["name"]),
        channel=_whole(table["channel"], 0, 15),
        program=_whole(table["program"], 0, 127),
        port=_text(table["port"]),
        muted=_flag(table["muted"]),
        soloed=_flag(table["soloed"]),
        volume=_whole(table["volume"], 0, 127),
        offset=_whole(table.get("offset", 0), -MOST_OFFSET, MOST_OFFSET),  # older files have none
    )


def _frame_out(score: Score) -> dict[str, Any]:
    tempo, meter = score.tempo, score.meter
    return {
        "tempo": [tempo.tick.tolist(), tempo.us_per_quarter.tolist()],
        "meter": [meter.tick.tolist(), meter.numerator.tolist(), meter.denominator.tolist()],
        "pickup": int(meter.pickup),
        "keys": [[int(key.tick), int(key.sharps), bool(key.minor)] for key in score.keys],
        "fermatas": [int(tick) for tick in score.fermatas],
        "title": score.title,
        "division": int(score.division),
    }


def _frame_in(entry: object) -> Score:
    table = _table(entry)
    tempo, us = (_numbers(column, LAST_TICK) for column in _list(table["tempo"], 2))
    tick, numerator, denominator = (_numbers(c, LAST_TICK) for c in _list(table["meter"], 3))
    keys = (_list(key, 3) for key in _list(table["keys"]))
    return Score(
        tempo=TempoMap(np.array(tempo, np.int64), np.array(us, np.int64)),
        meter=MeterMap(
            np.array(tick, np.int64),
            np.array(numerator, np.int64),
            np.array(denominator, np.int64),
            _whole(table["pickup"], 0, LAST_TICK),
        ),
        keys=tuple(
            Key(_whole(t, 0, LAST_TICK), _whole(sharps, -7, 7), _flag(minor))
            for t, sharps, minor in keys
        ),
        fermatas=tuple(_numbers(table["fermatas"], LAST_TICK)),
        title=_text(table["title"]),
        division=_whole(table["division"], 1, 2**31),
    )


def _table(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DamagedError("a table is missing")
    return value


def _list(value: object, length: int | None = None) -> list[Any]:
    if not isinstance(value, list) or length not in (None, len(value)):
        raise DamagedError("a list is missing or has the wrong length")
    return value


def _pair(value: object, read: Callable[[Any], T]) -> tuple[T, T]:
    before, after = _list(value, 2)
    return read(before), read(after)


def _ids(value: object) -> tuple[int, ...]:
    return tuple(_numbers(value, LAST_TICK))


def _numbers(value: object, most: int) -> list[int]:
    return [_whole(number, 0, most) for number in _list(value)]


def _whole(value: object, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise DamagedError("a number is out of range")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise DamagedError("a yes or no is neither")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise DamagedError("a text is missing")
    return value

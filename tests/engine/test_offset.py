"""A track's offset: saved, undone, read from older files, and told to the transport."""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import replace

import pytest

from engine import delta, edits, midi, packed
from engine.playback import Load
from models.score import Notes, Score, Track
from models.timebase import PPQ


def score(**fields: int) -> Score:
    return Score((Track(3, "Organ", Notes.of([0], [PPQ], [60]), **fields),))


def rewritten(data: bytes, **settings: object) -> bytes:
    """A packed delta from nothing whose track has other settings; None takes one away."""
    label, text = struct.unpack_from("<II", data, 8)
    start = 16 + label
    table = json.loads(data[start : start + text])
    for name, value in settings.items():
        after = table["tracks"][0]["settings"][1]
        after.pop(name) if value is None else after.update({name: value})
    new = json.dumps(table, separators=(",", ":")).encode()
    body = struct.pack("<II", label, len(new)) + data[16:start] + new + data[start + text :]
    return data[:4] + struct.pack("<I", zlib.crc32(body)) + body


def test_an_offset_is_saved_and_undone():
    old, new = score(), edits.set_track(score(), 3, offset=-200)
    change = packed.unpack(packed.pack(delta.between(old, new)))
    assert change.apply(old).track(3).offset == -200
    assert change.inverse().apply(new) == old


def test_a_file_from_before_offsets_still_opens():
    data = rewritten(packed.pack(delta.between(Score(), score(offset=35))), offset=None)
    assert packed.unpack(data).apply(Score()) == score()


def test_an_impossible_offset_is_damage():
    data = packed.pack(delta.between(Score(), score()))
    with pytest.raises(packed.DamagedError):
        packed.unpack(rewritten(data, offset=201))


def test_a_change_of_offset_alone_reaches_the_transport():
    shown = midi._Shown()
    before = score()
    shown.changes(before)
    after = replace(before, tracks=(replace(before.tracks[0], offset=35),))
    (load,) = shown.changes(after)
    assert isinstance(load, Load)
    assert (load.track, load.offset) == (3, 35)

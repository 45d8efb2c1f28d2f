"""Damaged files of every kind: a Score or one sentence, nothing else, and soon."""

from __future__ import annotations

import copy
import io
import time
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine import exchange, midifile, musicxml, musicxml_reader, project
from engine.musicxml import to_text
from models.score import Controls, Key, Notes, Score, Track, UserError
from models.timebase import MeterMap, TempoMap

Reader = Callable[[bytes], Score]
PATIENCE_SECONDS = 5
"""For files of a few kB on a busy machine; hypothesis's own deadline would count its first, cold run."""

FUZZ = settings(
    max_examples=150,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@cache
def piece() -> Score:
    """Something of everything the files can hold, and small."""
    controls = Controls(np.array([0, 9, 9]), [0xB0, 0xE0, 0xC0], [64, 0, 5], [127, 64, 0])
    return Score(
        (
            Track(0, "Flöte", Notes.of([0, 480, 960], [480, 480, 2880], [60, 64, 67]), controls),
            Track(1, "Bass", Notes.of([0, 320, 640], 320, 40, first_id=3), channel=1, program=33),
            Track(2, "Drums", Notes.of([0], 240, 36, first_id=6), channel=9),
        ),
        TempoMap(np.array([0, 960]), np.array([500_000, 400_000])),
        MeterMap([0, 960 + 3840], [4, 3], [4, 4], pickup=960),
        (Key(0, 2), Key(4800, -3, True)),
        (960,),
        "Piece",
    )


@cache
def midi_file() -> bytes:
    return midifile.to_bytes(piece())


@cache
def xml_file() -> bytes:
    return to_text(piece()).encode()


@cache
def mxl_file() -> bytes:
    return musicxml._zipped(xml_file())


@st.composite
def damaged(draw: st.DrawFn, original: bytes) -> bytes:
    """`original` with some bytes changed, cut out, repeated or put in, and perhaps its end cut off."""
    data = bytearray(original)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        match draw(st.sampled_from(("change", "cut", "repeat", "insert", "truncate"))):
            case "change":
                data[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
            case "cut":
                del data[at : at + draw(st.integers(1, 40))]
            case "repeat":
                data[at:at] = data[at : at + draw(st.integers(1, 60))] * draw(st.integers(1, 4))
            case "insert":
                data[at:at] = draw(st.binary(min_size=1, max_size=8))
            case "truncate":
                del data[at:]
    return bytes(data)


def read(reader: Reader, data: bytes) -> Score | None:
    """What the reader made of it, None when it refused in one sentence; fails for anything else."""
    began = time.perf_counter()
    try:
        score = reader(data)
    except UserError as refusal:
        sentence = str(refusal)
        assert sentence.endswith((".", "?"))
        assert "\n" not in sentence
        assert len(sentence) < 400
        return None
    finally:
        assert time.perf_counter() - began < PATIENCE_SECONDS
    return score


def works(score: Score | None) -> None:
    """A score that was read can be used: placed in bars, written, and read again."""
    if score is None:
        return
    began = time.perf_counter()
    for track in score.tracks:
        assert len(track.notes) == 0 or (track.notes.duration >= 1).all()
        assert 0 <= track.channel <= 15
    score.meter.position(score.length)
    assert midifile.from_bytes(midifile.to_bytes(score)).length == pytest.approx(
        score.length, abs=2
    )
    if score.length < 10**6:
        musicxml_reader.from_bytes(to_text(score).encode())
    assert time.perf_counter() - began < 4 * PATIENCE_SECONDS


@FUZZ
@given(damaged(midi_file()))
def test_damaged_midi_files(data: bytes) -> None:
    works(read(midifile.from_bytes, data))


@FUZZ
@given(st.binary(max_size=200))
def test_rubbish_in_a_midi_track(events: bytes) -> None:
    body = len(events).to_bytes(4, "big") + events
    works(read(midifile.from_bytes, b"MThd\0\0\0\x06\0\0\0\x01\x01\xe0MTrk" + body))


@settings(FUZZ, max_examples=80)
@given(damaged(xml_file()))
def test_damaged_musicxml_files(data: bytes) -> None:
    works(read(musicxml_reader.from_bytes, data))


@FUZZ
@given(st.lists(st.tuples(st.integers(0, 999), st.integers(0, 999)), min_size=1, max_size=6))
def test_musicxml_files_with_elements_missing_twice_or_elsewhere(
    changes: list[tuple[int, int]],
) -> None:
    root = ElementTree.fromstring(xml_file())
    for kind, (one, other) in enumerate(changes):
        parents = [e for e in root.iter() if len(e)]
        source = parents[one % len(parents)]
        target = parents[other % len(parents)]
        child = source[one % len(source)]
        if (one + kind) % 3:
            target.insert(other % (len(target) + 1), copy.deepcopy(child))
        if (one + kind) % 2:
            source.remove(child)
    works(read(musicxml_reader.from_bytes, ElementTree.tostring(root)))


NUMBERS = st.sampled_from(
    ("0", "-1", "1", "3", "7", "0.5", "1e9", "99999999", "nan", "inf", "", "x", "²", " 2 ", "1/3")
)


@settings(FUZZ, max_examples=80)
@given(st.lists(st.tuples(st.integers(0, 400), NUMBERS), min_size=1, max_size=5))
def test_odd_numbers_in_a_musicxml_file(changes: list[tuple[int, str]]) -> None:
    pieces = xml_file().decode().replace("</", "\0</").split("\0")
    for at, number in changes:
        head, _, _ = pieces[at % len(pieces)].rpartition(">")
        pieces[at % len(pieces)] = f"{head}>{number}"
    works(read(musicxml_reader.from_bytes, "".join(pieces).encode()))


@FUZZ
@given(damaged(mxl_file()))
def test_damaged_compressed_musicxml_files(data: bytes) -> None:
    works(read(musicxml_reader.from_bytes, data))


@settings(FUZZ, max_examples=60)
@given(data=st.data())
def test_damaged_project_files(data: st.DataObject, tmp_path: Path) -> None:
    whole = tmp_path / "whole.ricercar"
    if not whole.exists():
        exchange.write(piece(), whole)
    path = tmp_path / "damaged.ricercar"
    path.write_bytes(data.draw(damaged(whole.read_bytes())))
    score = read(lambda _: project.read_score(path), b"")
    if score is not None:
        assert score.next_id >= 0


@pytest.mark.parametrize("suffix", sorted(exchange.READERS))
def test_a_file_of_another_kind_is_refused_by_every_reader(tmp_path: Path, suffix: str) -> None:
    pictures = {"png": b"\x89PNG\r\n\x1a\n" + bytes(500), "text": b"To be or not to be.\n" * 20}
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("holiday.jpg", b"\xff\xd8\xff\xe0")
    for name, data in {**pictures, "zip": archive.getvalue(), "nothing": b""}.items():
        path = tmp_path / f"{name}{suffix}"
        path.write_bytes(data)
        with pytest.raises(UserError, match=name) as refusal:
            exchange.read(path)
        assert "\n" not in str(refusal.value)

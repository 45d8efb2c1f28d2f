"""MIDI files, byte by byte, and against mido and symusic as readers of their own."""

from __future__ import annotations

import io
import struct
import time
from pathlib import Path

import mido
import numpy as np
import pytest
import symusic
from hypothesis import given, settings
from music import scores as any_score

from engine import midifile
from engine.midifile import from_bytes, to_bytes
from models.score import Controls, Key, Notes, Score, Track, UserError
from models.timebase import PPQ, MeterMap, TempoMap


def chunk(events: bytes, end: bytes = b"\x00\xff\x2f\x00") -> bytes:
    body = events + end
    return b"MTrk" + struct.pack(">I", len(body)) + body


def midi(*chunks: bytes, kind: int = 1, division: int = 480, count: int | None = None) -> bytes:
    n = len(chunks) if count is None else count
    return b"MThd" + struct.pack(">IHHH", 6, kind, n, division) + b"".join(chunks)


Row = tuple[int, int, int, int, int]
"""onset, end, channel, pitch, velocity, in the file's own ticks"""


def by_mido(
    data: bytes,
) -> tuple[int, list[Row], list[tuple[int, int]], list[tuple[int, int, int]]]:
    """Division, notes (first in, first out), tempos and metres as mido reads them."""
    file = mido.MidiFile(file=io.BytesIO(data))
    notes: list[Row] = []
    tempos: list[tuple[int, int]] = []
    metres: list[tuple[int, int, int]] = []
    for track in file.tracks:
        now = 0
        sounding: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for message in track:
            now += message.time
            match message.type:
                case "note_on" if message.velocity:
                    key = (message.channel, message.note)
                    sounding.setdefault(key, []).append((now, message.velocity))
                case "note_on" | "note_off":
                    key = (message.channel, message.note)
                    if sounding.get(key):
                        onset, velocity = sounding[key].pop(0)
                        notes.append((onset, now, *key, velocity))
                case "set_tempo":
                    tempos.append((now, message.tempo))
                case "time_signature":
                    metres.append((now, message.numerator, message.denominator))
        for key, rest in sounding.items():
            notes += [(onset, now, *key, velocity) for onset, velocity in rest]
    return file.ticks_per_beat, sorted(notes), sorted(tempos), sorted(metres)


# --- in ------------------------------------------------------------------------------------------


def test_running_status_and_note_on_with_velocity_0() -> None:
    events = b"\x00\x90\x3c\x40\x60\x3e\x41\x60\x3c\x00\x00\x3e\x00"
    (track,) = from_bytes(midi(chunk(events), kind=0, division=96)).tracks
    assert track.notes.onset.tolist() == [0, 960]
    assert track.notes.end.tolist() == [1920, 1920]
    assert track.notes.pitch.tolist() == [60, 62]
    assert track.notes.velocity.tolist() == [64, 65]


def test_overlapping_notes_of_one_pitch_end_first_in_first_out() -> None:
    events = b"\x00\x90\x3c\x40\x0a\x90\x3c\x50\x0a\x80\x3c\x00\x0a\x80\x3c\x00"
    notes = from_bytes(midi(chunk(events), division=960)).tracks[0].notes
    assert list(zip(notes.onset, notes.end, notes.velocity, strict=True)) == [
        (0, 20, 64),
        (10, 30, 80),
    ]


def test_a_note_without_end_lasts_to_the_end_of_its_track() -> None:
    data = midi(chunk(b"\x00\x90\x3c\x40", b"\x81\x00\xff\x2f\x00"), division=96)
    assert from_bytes(data).tracks[0].notes.duration.tolist() == [128 * 10]


def test_an_end_without_a_note_is_passed_over() -> None:
    data = midi(chunk(b"\x00\x80\x3c\x40\x00\x90\x40\x40\x60\x80\x40\x40"), division=96)
    assert len(from_bytes(data).tracks[0].notes) == 1


def test_tempo_metre_and_key_changes_count_wherever_they_are() -> None:
    first = b"\x00\xff\x51\x03\x07\xa1\x20\x00\xff\x58\x04\x03\x02\x18\x08"
    second = (
        b"\x00\xff\x03\x04Oboe\x00\x90\x3c\x40\x60\x80\x3c\x40"
        b"\x00\xff\x51\x03\x0f\x42\x40"
        b"\x00\xff\x59\x02\xfd\x01"
    )
    score = from_bytes(midi(chunk(first), chunk(second), division=96))
    assert score.tempo == TempoMap(np.array([0, 960]), np.array([500_000, 1_000_000]))
    assert score.meter == MeterMap(np.array([0]), np.array([3]), np.array([4]))
    assert score.keys == (Key(960, -3, True),)
    assert [t.name for t in score.tracks] == ["Oboe"]


def test_type_0_gives_a_track_a_channel() -> None:
    events = b"\x00\xc1\x0d\x00\x90\x3c\x40\x00\x91\x40\x40\x60\x80\x3c\x00\x00\x81\x40\x00"
    score = from_bytes(midi(chunk(events), kind=0))
    assert [(t.channel, t.program, t.notes.pitch.tolist()) for t in score.tracks] == [
        (0, 0, [60]),
        (1, 13, [64]),
    ]


def test_a_type_1_track_of_two_channels_is_split_and_keeps_its_name() -> None:
    events = b"\x00\xff\x03\x04Duet\x00\x90\x3c\x40\x00\x91\x40\x40\x60\x80\x3c\x00\x00\x81\x40\x00"
    score = from_bytes(midi(chunk(b""), chunk(events)))
    assert [t.name for t in score.tracks] == ["Duet, channel 1", "Duet, channel 2"]


def test_settings_made_in_the_first_track_reach_the_tracks_that_play() -> None:
    setup = b"\x00\xc0\x28\x00\xb0\x07\x5a\x00\xb0\x0a\x20"
    play = b"\x00\x90\x3c\x40\x60\x80\x3c\x00"
    (track,) = from_bytes(midi(chunk(setup), chunk(play))).tracks
    assert (track.program, track.volume) == (40, 90)
    assert track.controls.data1.tolist() == [10]


def test_controls_keep_their_order_at_one_tick() -> None:
    rpn = b"\x00\xb0\x65\x00\x00\xb0\x64\x00\x00\xb0\x06\x0c\x00\xe0\x00\x50\x00\xd0\x30\x00\xa0\x3c\x11"
    play = b"\x00\x90\x3c\x40\x60\x80\x3c\x00"
    data = midi(chunk(rpn + play))
    controls = from_bytes(data).tracks[0].controls
    rows = list(zip(controls.status, controls.data1, controls.data2, strict=True))
    assert rows == [
        (0xB0, 0x65, 0),
        (0xB0, 0x64, 0),
        (0xB0, 6, 12),
        (0xE0, 0, 0x50),
        (0xD0, 0x30, 0),
        (0xA0, 0x3C, 0x11),
    ]
    assert from_bytes(to_bytes(from_bytes(data))).tracks[0].controls == controls


def test_a_bank_select_stays_ahead_of_its_program_change() -> None:
    bank = b"\x00\xb0\x00\x08\x00\xc0\x10\x00\x90\x3c\x40\x60\x80\x3c\x00"
    out = mido.MidiFile(file=io.BytesIO(to_bytes(from_bytes(midi(chunk(bank))))))
    kinds = [m.type for m in out.tracks[1] if not m.is_meta]
    assert kinds[:2] == ["control_change", "program_change"]
    assert kinds.count("program_change") == 1


def test_sysex_and_unknown_chunks_are_passed_over() -> None:
    events = b"\x00\xf0\x05\x7e\x7f\x09\x01\xf7\x00\x90\x3c\x40\x60\x80\x3c\x00"
    odd = b"XFIH" + struct.pack(">I", 3) + b"abc"
    data = midi(odd, chunk(events), count=1)
    assert len(from_bytes(data).tracks[0].notes) == 1


def test_rmi_is_midi_in_a_riff_wrapper() -> None:
    inner = midi(chunk(b"\x00\x90\x3c\x40\x60\x80\x3c\x00"))
    body = b"RMIDdata" + struct.pack("<I", len(inner)) + inner
    assert len(from_bytes(b"RIFF" + struct.pack("<I", len(body)) + body).tracks[0].notes) == 1


@pytest.mark.parametrize("name", ["Flöte", "オルガン"])
def test_names_are_read_as_utf_8_and_else_as_latin_1(name: str) -> None:
    body = name.encode()
    events = bytes([0, 0xFF, 3, len(body)]) + body + b"\x00\x90\x3c\x40\x60\x80\x3c\x00"
    assert from_bytes(midi(chunk(b""), chunk(events))).tracks[0].name == name
    latin = bytes([0, 0xFF, 3, 5]) + "Flöte".encode("latin-1") + b"\x00\x90\x3c\x40\x60\x80\x3c\x00"
    assert from_bytes(midi(chunk(b""), chunk(latin))).tracks[0].name == "Flöte"


NOTE = b"\x00\x90\x3c\x40\x60\x80\x3c\x00"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"hello, world", "is not a MIDI file"),
        (b"MThd\x00\x00", "its header ends early"),
        (midi(chunk(NOTE), division=0xE728), "SMPTE"),
        (midi(chunk(NOTE), division=0), "0 ticks per quarter"),
        (midi(chunk(NOTE), chunk(NOTE), kind=2), "type 2"),
        (midi(chunk(NOTE), kind=7), "type 7"),
        (midi(chunk(NOTE), count=3), "track 2 of 3 is missing"),
        (midi(chunk(NOTE))[:-6], "track 1 ends early"),
        (midi(chunk(b"\x00\x90\x3c")), "ends early"),
        (midi(chunk(b"\x00\x3c\x40")), "without a command"),
        (midi(chunk(b"\x00\x90\x3c\xc0")), "above 127"),
        (midi(chunk(b"\x00\xf4")), "0xF4"),
        (midi(chunk(b"\x00\xff\x51\x03\x00\x00\x00")), "tempo of 0"),
        (midi(chunk(b"\x00\xff\x58\x04\x00\x02\x18\x08")), "metre"),
        (midi(chunk(b"\x00\xff\x58\x04\x04\x09\x18\x08")), "metre"),
        (midi(chunk(b"\x00\xff\x01\xff\xff\x7fhello")), "longer than the track"),
        (midi(chunk(b"\xff\xff\xff\xff\x7f" + NOTE)), "time that is too long"),
        (midi(chunk(b"\xff\xff\xff\x7f" + NOTE), division=1), "over 200,000 beats"),
    ],
)
def test_what_is_no_sound_midi_file_is_refused_in_one_sentence(data: bytes, words: str) -> None:
    with pytest.raises(UserError, match=words) as refusal:
        from_bytes(data, "odd.mid")
    assert str(refusal.value).startswith("odd.mid")
    assert "\n" not in str(refusal.value)


def test_a_file_of_too_many_events_or_bytes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "huge.mid"
    with path.open("wb") as file:
        file.truncate(500_000_000)
    with pytest.raises(UserError, match="larger than 64 MB"):
        midifile.read(path)
    monkeypatch.setattr(midifile, "MAX_EVENTS", 99)
    with pytest.raises(UserError, match="more than 99 events"):
        from_bytes(midi(chunk(NOTE * 30), chunk(NOTE * 30)))


# --- there and back ------------------------------------------------------------------------------


@pytest.mark.parametrize("division", [1, 24, 96, 100, 120, 127, 192, 220, 384, 480, 500, 768, 960])
def test_every_tick_survives_the_round_trip_on_any_division_up_to_ours(division: int) -> None:
    rng = np.random.default_rng(division)
    events = bytearray(b"\x00\xff\x58\x04\x05\x03\x0c\x08")
    for _ in range(300):
        pitch = int(rng.integers(30, 90))
        kind = 0x90 if rng.random() < 0.55 else 0x80
        events += bytes([int(rng.integers(0, 128)), kind, pitch, int(rng.integers(1, 128))])
        if rng.random() < 0.1:
            events += bytes([int(rng.integers(0, 100))]) + b"\xff\x51\x03" + rng.bytes(2) + b"\x01"
    data = midi(chunk(bytes(events)), kind=0, division=division)
    ours = by_mido(to_bytes(from_bytes(data)))
    theirs = by_mido(data)
    exact = [(a, b, *rest) for a, b, *rest in theirs[1]]
    assert ours[0] == division
    assert ours[1] == exact
    assert dict(ours[2]) == {0: 500_000} | dict(theirs[2])
    assert ours[3] == theirs[3]


def test_finer_divisions_keep_their_place_to_half_a_tick_of_ours() -> None:
    data = midi(chunk(b"\x87\x69\x90\x3c\x40\x83\x11\x80\x3c\x00"), division=1920)
    score = from_bytes(data)
    assert score.division == PPQ
    division, [note], *_ = by_mido(to_bytes(score))
    assert division == PPQ
    assert abs(note[0] / 960 - 1001 / 1920) <= 0.5 / 960


def test_empty_notes_stay_empty() -> None:
    data = midi(chunk(b"\x0a\x90\x3c\x40\x00\x80\x3c\x00"), division=96)
    assert by_mido(to_bytes(from_bytes(data)))[1] == [(10, 10, 0, 60, 64)]


def test_an_edit_off_the_files_grid_is_written_on_ours() -> None:
    score = from_bytes(midi(chunk(NOTE), division=96))
    track = score.tracks[0]
    moved = score.with_track(track.with_notes(track.notes.with_(onset=track.notes.onset + 7)))
    assert by_mido(to_bytes(moved))[:2] == (960, [(7, 967, 0, 60, 64)])


def test_a_score_comes_back_with_names_sounds_and_signatures() -> None:
    controls = Controls(
        np.array([0, 480]), np.full(2, 0xB0), np.array([64, 64]), np.array([127, 0])
    )
    score = Score(
        (
            Track(0, "Soprano", Notes.of([960, 1920], 960, [72, 74], [70, 80]), controls, 3, 52),
            Track(1, "Drums", Notes.of([960], 240, [36], first_id=2), channel=9, volume=64),
            Track(2, "Empty", program=40, channel=5),
        ),
        TempoMap(np.array([0, 1920]), np.array([600_000, 1])),
        MeterMap(np.array([0, 4800]), np.array([4, 6]), np.array([4, 8]), pickup=960),
        (Key(0, -7, True), Key(4800, 7)),
        (1920,),
        "Étude",
    )
    assert from_bytes(to_bytes(score)) == score


@pytest.mark.parametrize(
    ("meter", "written"),
    [
        (MeterMap(pickup=960), [(0, 1, 4), (960, 4, 4)]),
        (MeterMap(pickup=1440), [(0, 3, 8), (1440, 4, 4)]),
        (MeterMap([0], [6], [8], pickup=480), [(0, 1, 8), (480, 6, 8)]),
        (MeterMap([0], [3], [2], pickup=1920), [(0, 1, 2), (1920, 3, 2)]),
        (MeterMap(pickup=961), [(0, 4, 4), (961, 4, 4)]),
        (MeterMap([0, 960], [3, 4], [8, 4]), [(0, 3, 8), (960, 4, 4)]),
    ],
)
def test_a_pickup_is_a_short_bar_for_other_programs_and_a_pickup_again_for_us(
    meter: MeterMap, written: list[tuple[int, int, int]]
) -> None:
    data = to_bytes(Score((Track(0, "A", Notes.of([0], 960, [60])),), meter=meter))
    assert by_mido(data)[3] == written
    assert from_bytes(data).meter == meter


@settings(max_examples=60, deadline=None)
@given(any_score())
def test_writing_what_was_read_changes_nothing(score: Score) -> None:
    once = to_bytes(score)
    again = to_bytes(from_bytes(once))
    assert to_bytes(from_bytes(again)) == again
    assert by_mido(once)[1] == by_mido(again)[1]


def test_symusic_hears_the_same_notes(scores: Path) -> None:
    from engine import musicxml

    score = musicxml.read(scores / "gloria_sei_dir_gesungen.musicxml")
    heard = symusic.Score.from_midi(to_bytes(score))
    assert [t.name for t in heard.tracks] == [t.name for t in score.tracks]
    for ours, theirs in zip(score.tracks, heard.tracks, strict=True):
        rows = sorted((n.time, n.duration, n.pitch, n.velocity) for n in theirs.notes)
        n = ours.notes
        assert rows == sorted(
            zip(
                n.onset.tolist(),
                n.duration.tolist(),
                n.pitch.tolist(),
                n.velocity.tolist(),
                strict=True,
            )
        )


def test_a_hundred_thousand_notes_take_little_time() -> None:
    rng = np.random.default_rng(1)
    n = 100_000
    notes = Notes.of(np.sort(rng.integers(0, n * 60, n)), 480, rng.integers(30, 90, n))
    score = Score((Track(0, "A", notes),))
    began = time.perf_counter()
    data = to_bytes(score)
    written = time.perf_counter()
    assert len(from_bytes(data).tracks[0].notes) == n
    read = time.perf_counter()
    # Alone it takes 0.15 s each way; the bound is wide for a busy machine.
    assert written - began < 2
    assert read - written < 2

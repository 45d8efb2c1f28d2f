"""MusicXML in against music21's reading, out against our own reading, music21's and verovio's."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import verovio
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import musicxml, musicxml_reader
from engine.musicxml import to_text
from engine.musicxml_reader import from_bytes
from models.score import Key, Notes, Score, Track, UserError
from models.timebase import PPQ, MeterMap, TempoMap

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import music21

CORPUS = Path(music21.__file__).parent / "corpus"
SPLIT = Path(__file__).resolve().parents[2] / "assets" / "chorales_split.json"


def chorale(name: str) -> Path:
    """A chorale of the training half, never another."""
    path = f"bach/{name}.mxl"
    assert path in json.loads(SPLIT.read_text("utf-8"))["train"]
    return CORPUS / path


def xml(*measures: str, parts: int = 1, divisions: int = 4, time: str = "4/4") -> bytes:
    beats, kind = time.split("/")
    listed = "".join(
        f'<score-part id="P{n}"><part-name>Part {n}</part-name></score-part>' for n in range(parts)
    )
    start = (
        f"<attributes><divisions>{divisions}</divisions>"
        f"<time><beats>{beats}</beats><beat-type>{kind}</beat-type></time></attributes>"
    )
    body = "".join(
        f'<measure number="{n}">{start if n == 1 else ""}{m}</measure>'
        for n, m in enumerate(measures, 1)
    )
    content = "".join(f'<part id="P{n}">{body}</part>' for n in range(parts))
    return (
        f'<score-partwise version="4.0"><part-list>{listed}</part-list>{content}</score-partwise>'
    ).encode()


def note(step: str = "C", length: int = 4, more: str = "", octave: int = 5) -> str:
    pitch = f"<pitch><step>{step}</step><octave>{octave}</octave></pitch>"
    return f"<note>{pitch}<duration>{length}</duration>{more}</note>"


Row = tuple[int, int, int]
"""onset and duration in ticks, pitch"""


def rows(score: Score) -> Counter[Row]:
    return Counter(
        row
        for t in score.tracks
        for row in zip(
            t.notes.onset.tolist(), t.notes.duration.tolist(), t.notes.pitch.tolist(), strict=True
        )
    )


def rows_by_music21(stream: Any) -> Counter[Row]:
    found: Counter[Row] = Counter()
    for part in stream.parts:
        for element in part.stripTies().flatten().notes:
            if element.duration.isGrace or isinstance(element, music21.harmony.Harmony):
                continue
            for pitch in element.pitches:
                onset, length = float(element.offset), float(element.duration.quarterLength)
                found[round(onset * PPQ), round(length * PPQ), pitch.midi] += 1
    return found


def parsed_by_music21(source: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if isinstance(source, Path):
            stream = music21.converter.parse(source, forceSource=True)
        else:
            stream = music21.converter.parseData(source, format="musicxml")
        return stream.toSoundingPitch()


# --- in, beside music21 --------------------------------------------------------------------------

REAL = (
    "bach/bwv66.6.mxl",  # a pickup, fermatas
    "bach/bwv108.6.mxl",  # bars that repeats divide
    "bach/bwv4.8.mxl",  # a change of metre
    "schoenberg/opus19/movement2.mxl",  # piano, two staves, many voices
    "monteverdi/madrigal.3.16.mxl",  # UTF-16, ties that are only begun
    "mozart/k155/movement2.mxl",  # grace notes
    "webern/webern_dormi_jesu_op_16_no_2.mxl",  # a clarinet in B flat, tuplets
)


@pytest.mark.parametrize("name", REAL)
def test_real_scores_hold_the_notes_music21_finds(name: str) -> None:
    if name.startswith("bach"):
        chorale(name[5:-4])
    path = CORPUS / name
    ours = rows(musicxml.read(path))
    theirs = rows_by_music21(parsed_by_music21(path))
    assert sum(ours.values()) > 80
    assert ours == theirs


def test_what_a_chorale_says_besides_its_notes() -> None:
    score = musicxml.read(chorale("bwv66.6"))
    assert [t.name for t in score.tracks] == ["Soprano", "Alto", "Tenor", "Bass"]
    assert score.meter.pickup == PPQ
    assert score.keys[0].sharps == 3
    stream = parsed_by_music21(chorale("bwv66.6"))
    held = {
        round(float(n.getOffsetInHierarchy(part)) * PPQ)
        for part in stream.parts
        for n in part.recurse().notes
        if any(isinstance(e, music21.expressions.Fermata) for e in n.expressions)
    }
    assert set(score.fermatas) == held
    assert len(held) > 3


def test_bars_are_where_music21_has_them() -> None:
    path = chorale("bwv66.6")
    score = musicxml.read(path)
    measures = parsed_by_music21(path).parts[0].getElementsByClass("Measure")
    theirs = [(m.number, round(float(m.offset) * PPQ)) for m in measures]
    assert score.meter.bars(0, score.length) == theirs


# --- in, by hand ---------------------------------------------------------------------------------


def test_a_closed_score_of_two_staves_is_four_tracks() -> None:
    def voice(step: str, octave: int, number: int, staff: int) -> str:
        more = f"<voice>{number}</voice><staff>{staff}</staff>"
        return note(step, 8, more, octave) * 2 + "<backup><duration>16</duration></backup>"

    measure = voice("C", 5, 1, 1) + voice("E", 4, 2, 1) + voice("G", 3, 5, 2) + voice("C", 3, 6, 2)
    score = from_bytes(xml(measure, measure))
    assert [t.name for t in score.tracks] == ["Soprano", "Alto", "Tenor", "Bass"]
    assert [set(t.notes.pitch.tolist()) for t in score.tracks] == [{72}, {64}, {55}, {48}]
    assert len({t.channel for t in score.tracks}) == 4
    assert [t.notes.voice.tolist() for t in score.tracks] == [[0] * 4] * 4


def test_two_parts_of_two_voices_are_four_tracks() -> None:
    def voice(step: str, number: int) -> str:
        return (
            note(step, 16, f"<voice>{number}</voice>") + "<backup><duration>16</duration></backup>"
        )

    score = from_bytes(xml(voice("E", 1) + voice("C", 2), parts=2))
    assert [t.name for t in score.tracks] == ["Soprano", "Alto", "Tenor", "Bass"]


def test_a_pianists_voices_stay_in_one_track() -> None:
    chord = note("C", 16) + note("E", 16, "<chord/>").replace(
        "<note><pitch>", "<note><chord/><pitch>"
    )
    measure = chord.replace("<chord/></note>", "</note>")
    measure += "<backup><duration>16</duration></backup>"
    measure += note("C", 16, "<voice>2</voice>", 3)
    (track,) = from_bytes(xml(measure)).tracks
    assert track.notes.pitch.tolist() == [48, 72, 76]
    assert track.notes.voice.tolist() == [1, 0, 0]


@pytest.mark.parametrize("voices", [1, 9])
def test_one_voice_or_nine_are_read(voices: int) -> None:
    score = from_bytes(xml(note("C", 16), note("D", 16), parts=voices))
    assert len(score.tracks) == voices
    assert sum(len(t.notes) for t in score.tracks) == 2 * voices


def test_tied_notes_are_one_even_across_voices() -> None:
    start, stop = '<tie type="start"/>', '<tie type="stop"/>'
    first = note("C", 16, start + "<voice>1</voice>")
    second = "<forward><duration>0</duration></forward>" + note("C", 8, stop + "<voice>2</voice>")
    (track,) = from_bytes(xml(first, second)).tracks
    assert track.notes.duration.tolist() == [6 * PPQ]


def test_a_repeated_note_is_not_a_tied_one() -> None:
    (track,) = from_bytes(xml(note("C", 16), note("C", 16, '<tie type="stop"/>'))).tracks
    assert len(track.notes) == 2


def test_tuplets_fall_on_the_nearest_tick() -> None:
    (track,) = from_bytes(xml(note("C", 1) * 7, divisions=7, time="1/4")).tracks
    assert track.notes.onset.tolist() == [round(PPQ * n / 7) for n in range(7)]


def test_transposing_instruments_sound_where_they_sound() -> None:
    attributes = (
        "<attributes><key><fifths>2</fifths></key>"
        "<transpose><diatonic>-1</diatonic><chromatic>-2</chromatic></transpose></attributes>"
    )
    score = from_bytes(xml(attributes + note("D", 16)))
    assert score.tracks[0].notes.pitch.tolist() == [72]


def test_grace_notes_and_cues_are_left_out() -> None:
    grace = note("D").replace("<note>", "<note><grace/>").replace("<duration>4</duration>", "")
    cue = note("E").replace("<note>", "<note><cue/>")
    (track,) = from_bytes(xml(grace + cue + note("C", 12))).tracks
    assert list(zip(track.notes.onset, track.notes.pitch, strict=True)) == [(PPQ, 72)]


def test_a_whole_rest_too_long_for_its_bar_does_not_stretch_it() -> None:
    rest = "<note><rest/><duration>16</duration></note>"
    score = from_bytes(xml(rest, note("C", 12), time="3/4"))
    assert score.tracks[0].notes.onset.tolist() == [3 * PPQ]
    assert score.meter.bars(0, 6 * PPQ) == [(1, 0), (2, 3 * PPQ)]


def test_a_bar_cut_short_is_followed_by_a_barline() -> None:
    score = from_bytes(xml(note("C", 16), note("C", 8), note("C", 16), note("C", 16)))
    assert [tick for _, tick in score.meter.bars(0, score.length)] == [0, 3840, 5760, 9600]


@pytest.mark.parametrize(
    ("mark", "bpm"),
    [
        ('<direction><sound tempo="72.5"/></direction>', 72.5),
        ('<sound tempo="50"/>', 50),
        (
            "<direction><direction-type><metronome><beat-unit>quarter</beat-unit><beat-unit-dot/>"
            "<per-minute>c. 60</per-minute></metronome></direction-type></direction>",
            90,
        ),
        ('<sound tempo="0"/>', 120),
        ('<sound tempo="fast"/>', 120),
    ],
)
def test_tempo_is_what_is_sounded_or_else_what_is_shown(mark: str, bpm: float) -> None:
    assert from_bytes(xml(mark + note("C", 16))).tempo.bpm(0) == pytest.approx(bpm, abs=0.01)


def test_timewise_is_partwise_turned_round() -> None:
    text = (
        '<score-timewise><part-list><score-part id="A"><part-name>A</part-name></score-part>'
        '<score-part id="B"><part-name>B</part-name></score-part></part-list>'
        f'<measure number="1"><part id="A"><attributes><divisions>4</divisions></attributes>{note("C", 16)}'
        f'</part><part id="B"><attributes><divisions>4</divisions></attributes>{note("E", 16)}</part></measure>'
        f'<measure number="2"><part id="A">{note("D", 16)}</part><part id="B">{note("F", 16)}</part>'
        "</measure></score-timewise>"
    )
    score = from_bytes(text.encode())
    assert [t.notes.pitch.tolist() for t in score.tracks] == [[72, 74], [76, 77]]


BOMB = (
    '<!DOCTYPE score-partwise [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    "<score-partwise><work><work-title>&b;</work-title></work></score-partwise>"
)
FILE = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><score-partwise>&a;</score-partwise>'


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "damaged XML at line 1"),
        (b"<score-partwise><part>", "damaged XML"),
        (b"<html/>", "outermost element is <html>"),
        (b"<?xml version='1.0' encoding='klingon'?><a/>", "encoding|damaged"),
        (BOMB.encode(), "defines XML entities"),
        (FILE.encode(), "defines XML entities"),
        (b"PK\x03\x04rubbish", "not a whole compressed"),
        (xml(note("H")), "measure 1, has a note called 'H'"),
        (xml(note("C", octave=12)), "beyond MIDI"),
        (xml(note().replace(">4<", ">four<")), "'four' for its duration"),
        (xml(note().replace(">4<", ">1e9999<")), "for its duration"),
        (xml(note(), divisions=0), "0 divisions"),
        (xml(note(), time="4/5"), "metre"),
        (xml(note("C", 999_999_999)), "longer than 200,000 beats"),
    ],
)
def test_what_is_no_sound_score_is_refused_in_one_sentence(data: bytes, words: str) -> None:
    with pytest.raises(UserError, match=words) as refusal:
        from_bytes(data, "odd.musicxml")
    assert str(refusal.value).startswith("odd.musicxml")
    assert "\n" not in str(refusal.value)


def zipped(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def test_a_zip_bomb_is_refused_before_it_unpacks() -> None:
    bomb = zipped({"score.xml": b" " * (musicxml_reader.MAX_BYTES + 10)})
    assert len(bomb) < 100_000
    with pytest.raises(UserError, match="unpacks to more than 64 MB"):
        from_bytes(bomb)


def test_too_many_elements_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(musicxml_reader, "MAX_ELEMENTS", 1000)
    with pytest.raises(UserError, match="1,000 elements"):
        from_bytes(b"<score-partwise>" + b"<a>" * 2000)


def test_a_compressed_file_with_a_broken_container_is_still_read() -> None:
    data = zipped(
        {
            "META-INF/container.xml": b"<container><rootfile full-path='I Won't Dance.xml'/>",
            "I Won't Dance.xml": xml(note("C", 16)),
        }
    )
    assert len(from_bytes(data).tracks[0].notes) == 1


# --- out -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bwv66.6", "bwv108.6", "bwv4.8", "bwv140.7"])
def test_a_chorale_survives_the_round_trip_whole(name: str) -> None:
    score = musicxml.read(chorale(name))
    assert from_bytes(to_text(score).encode()) == score


def test_other_programs_read_what_we_write(scores: Path) -> None:
    score = musicxml.read(scores / "wenn_ich_einmal_soll_scheiden.musicxml")
    text = to_text(score)
    assert rows_by_music21(parsed_by_music21(text)) == rows(score)
    toolkit = verovio.toolkit()
    assert toolkit.loadData(text)
    toolkit.setOptions({"pageHeight": 60000})
    toolkit.redoLayout()
    svg = toolkit.renderToSVG(1)
    heads = sum(len(t.notes) for t in score.tracks)
    assert svg.count('class="note"') >= heads
    assert svg.count('class="fermata"') == sum(
        np.isin(t.notes.onset, score.fermatas).sum() for t in score.tracks
    )
    assert svg.count('class="clef"') >= 4


def test_the_same_score_gives_the_same_bytes(tmp_path: Path, scores: Path) -> None:
    score = musicxml.read(scores / "gloria_sei_dir_gesungen.musicxml")
    for name in ("a.mxl", "b.mxl"):
        musicxml.write(score, tmp_path / name)
    assert (tmp_path / "a.mxl").read_bytes() == (tmp_path / "b.mxl").read_bytes()
    assert musicxml.read(tmp_path / "a.mxl") == score


def test_drums_keep_their_keys() -> None:
    score = Score((Track(0, "Drums", Notes.of([0, 0, 960], 480, [36, 42, 38]), channel=9),))
    back = from_bytes(to_text(score).encode())
    assert rows(back) == rows(score)
    assert back.tracks[0].channel == 9
    assert to_text(score).count("<unpitched>") == 3


def test_velocities_programs_volumes_and_tempos_come_back() -> None:
    velocities = np.arange(1, 128)
    notes = Notes.of(np.arange(127) * PPQ, PPQ, 60, velocities)
    tempo = TempoMap(np.array([0, 1200, 9600]), np.array([499_999, 1_234_567, 300_001]))
    score = Score((Track(0, "A & B <c>", notes, channel=4, program=77, volume=64),), tempo)
    assert from_bytes(to_text(score).encode()) == score


@pytest.mark.parametrize(
    ("meter", "keys"),
    [
        (MeterMap([0], [6], [8], pickup=480), (Key(0, -3, True),)),
        (MeterMap([0], [3], [2]), (Key(0, 5),)),
        (MeterMap([0, 2880, 8640], [3, 6, 5], [4, 8, 4]), (Key(0, 0), Key(2880, 2))),
        (MeterMap([0, 4800], [4, 4], [4, 4]), ()),
        (MeterMap(pickup=2880), (Key(0, -1),)),
    ],
)
def test_metres_pickups_and_keys_come_back(meter: MeterMap, keys: tuple[Key, ...]) -> None:
    length = meter.bar_start(meter.position(14000).bar + 1)
    notes = Notes.of(np.arange(0, length, 480), 480, 60)
    score = Score((Track(0, "A", notes),), meter=meter, keys=keys)
    back = from_bytes(to_text(score).encode())
    assert back.meter.bars(0, length) == meter.bars(0, length)
    assert back.meter == meter
    assert [k for k in back.keys if keys] == list(keys)
    assert rows(back) == rows(score)


GRID = st.sampled_from((240, 480, 720, 960, 1440, 1920, 320, 640, 160, 120, 2400))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), GRID, st.integers(40, 90)), min_size=1, max_size=40),
    st.sampled_from(("4/4", "3/4", "6/8", "2/2", "5/8", "12/8")),
    st.integers(-7, 7),
)
def test_any_line_on_the_sixteenth_grid_comes_back_exactly(
    line: list[tuple[bool, int, int]], time: str, sharps: int
) -> None:
    numerator, denominator = map(int, time.split("/"))
    now, found = 0, []
    for sounds, length, pitch in line:
        length = length // 240 * 240 or 240
        if sounds:
            found.append((now, length, pitch))
        now += length
    onset, duration, pitch = (np.array([f[i] for f in found], np.int64) for i in range(3))
    score = Score(
        (Track(0, "A", Notes.of(onset, duration, pitch)),),
        meter=MeterMap([0], [numerator], [denominator]),
        keys=(Key(0, sharps),),
    )
    text = to_text(score)
    assert rows(from_bytes(text.encode())) == rows(score)


def test_triplets_and_quarter_triplets_are_written_as_such() -> None:
    eighths = Notes.of(np.arange(3) * 320, 320, 60)
    quarters = Notes.of(1920 + np.arange(3) * 640, 640, 60, first_id=3)
    score = Score((Track(0, "A", Notes.concatenate([eighths, quarters])),))
    text = to_text(score)
    assert text.count("<actual-notes>3</actual-notes><normal-notes>2</normal-notes>") == 6
    assert text.count('<tuplet type="start"/>') == 2
    assert text.count("<type>quarter</type>") == 3 + 1  # and the rest on the second beat
    assert "<tie " not in text
    assert rows(from_bytes(text.encode())) == rows(score)


def test_a_performance_is_moved_to_what_can_be_read_and_loses_no_note() -> None:
    rng = np.random.default_rng(3)
    onset = np.arange(200) * 480 + rng.integers(0, 40, 200)
    notes = Notes.of(onset, rng.integers(300, 520, 200), rng.integers(40, 90, 200))
    score = Score((Track(0, "Played", notes),))
    back = from_bytes(to_text(score).encode())
    assert len(back.tracks[0].notes) == 200
    late = np.sort(back.tracks[0].notes.onset) - np.arange(200) * 480
    assert np.abs(late).max() <= 240


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(("4/4", "6/8", "7/16", "3/2")))
def test_anything_at_all_is_written_so_that_it_reads(seed: int, time: str) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 60))
    numerator, denominator = map(int, time.split("/"))
    notes = Notes.of(
        rng.integers(0, 8000, n),
        rng.integers(1, 4000, n),
        rng.integers(0, 128, n),
        rng.integers(1, 128, n),
        voice=rng.integers(0, 3, n),
    )
    meter = MeterMap([0, 5000], [numerator, 3], [denominator, 4], pickup=int(rng.integers(0, 800)))
    score = Score((Track(0, "X", notes), Track(1, "Y")), meter=meter, fermatas=(0, 333))
    back = from_bytes(to_text(score).encode())
    assert len(back.tracks) == 2
    assert 0 < back.tracks[0].notes.length <= score.length + 3840
    assert set(back.tracks[0].notes.pitch.tolist()) <= set(notes.pitch.tolist())

"""ABC in and out: what is heard of it, what is written, and music21 as the other reader."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_fuzz import FUZZ, damaged, read, works

from engine import abcfile, exchange
from models.representations import abc_notation
from models.score import Key, Notes, Score, Track, UserError
from models.timebase import PPQ, MeterMap, TempoMap

BAR = 4 * PPQ
JIG = """X:7
T:The 100\\% Jig
R:jig
M:6/8
L:1/8
Q:3/8=100
K:Ador
|:E|"Am"A2B {d}c2^c|(3ABc d e-e2-|1e2f g2:|2 e3- e2|]
"""
DUET = """X:1
M:3/4
L:1/4
V:1 name="Flute"
V:2 name="Bass" clef=bass
K:F
V:1
f g a | b2 c' |
V:2
F,3 | [F,A,]2 z |
"""


def columns(notes: Notes) -> list[tuple[int, int, int]]:
    return list(
        zip(notes.onset.tolist(), notes.duration.tolist(), notes.pitch.tolist(), strict=True)
    )


def test_a_jig_is_read_as_it_sounds() -> None:
    score = abcfile.from_text(JIG)
    (track,) = score.tracks
    assert score.title == "The 100% Jig"
    assert score.meter == MeterMap([0], [6], [8], pickup=480)
    assert score.keys == (Key(0, 1, False),)
    assert score.tempo.bpm(0) == pytest.approx(150)
    first, second = columns(track.notes)[:11], columns(track.notes)[11:]
    assert [p for *_, p in first] == [64, 69, 71, 72, 73, 69, 71, 72, 74, 76, 78]
    assert first[4:8] == [(2880, 480, 73), (3360, 320, 69), (3680, 320, 71), (4000, 320, 72)]
    assert first[9] == (4800, 480 + 960 + 960, 76)  # a note tied twice is one
    assert [p for *_, p in second] == [79, 64, 69, 71, 72, 73, 69, 71, 72, 74, 76]
    assert second[-1][1] == 480 + 960 + 1440 + 960


def test_voices_are_tracks() -> None:
    score = abcfile.from_text(DUET)
    assert [t.name for t in score.tracks] == ["Flute", "Bass"]
    assert columns(score.tracks[1].notes) == [(0, 2880, 53), (2880, 1920, 53), (2880, 1920, 57)]
    assert score.tracks[0].notes.pitch.tolist() == [77, 79, 81, 82, 84]
    assert [t.channel for t in score.tracks] == [0, 1]


def test_the_tunes_of_a_book_follow_one_another_each_with_its_bars() -> None:
    one = "X:1\nT:One\nM:3/4\nL:1/4\nK:G\nB|GBd|GB|]\n"
    two = "X:2\nT:Two\nM:2/4\nL:1/4\nK:Em\nB|EG|E|]\n"
    score = abcfile.from_text(one + "\n" + two)
    (track,) = score.tracks
    assert score.title == "One"
    assert len(track.notes) == 10
    begins = 6 * PPQ
    assert score.keys == (Key(0, 1, False), Key(begins, 1, True))
    assert score.meter.pickup == PPQ
    assert [t for _, t in score.meter.bars(0, score.length)] == [
        0, PPQ, 4 * PPQ, begins, begins + PPQ, begins + 3 * PPQ,
    ]  # fmt: skip


def test_what_has_no_number_is_a_tune_all_the_same() -> None:
    assert len(abcfile.from_text("M:4/4\nK:C\nCDEF|").tracks[0].notes) == 4


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "holds no tune"),
        ("To be or not to be.", "holds no tune"),
        (JIG + "\nX:8\nK:C\nCDE|\n; #", "line 13, has '#'"),
        ("X:1\nM:4/4\nL:1/8\nK:C\n" + "C512" * 900, "too long to be edited"),
    ],
)
def test_bad_files_get_a_sentence(text: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.abc"
    path.write_text(text)
    with pytest.raises(UserError, match=sentence) as refusal:
        exchange.read(path)
    assert "bad.abc" in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("text", [JIG, DUET])
def test_what_is_written_reads_the_same(text: str, tmp_path: Path) -> None:
    score = abcfile.from_text(text)
    path = tmp_path / "out.abc"
    exchange.write(score, path)
    back = exchange.read(path)
    assert [t.name for t in back.tracks] == [t.name for t in score.tracks]
    assert [columns(t.notes) for t in back.tracks] == [columns(t.notes) for t in score.tracks]
    assert (back.meter, back.keys, back.tempo) == (score.meter, score.keys, score.tempo)
    assert back.title == score.title
    assert abcfile.to_text(back) == abcfile.to_text(score)


def test_changes_on_the_way_are_written() -> None:
    notes = Notes.of(np.arange(14) * PPQ, PPQ, 60 + np.arange(14) % 7)
    score = Score(
        (Track(0, "Line", notes), Track(1, "Other", notes.with_(id=notes.id + 50))),
        TempoMap([0, 2 * BAR], [500_000, 400_000]),
        MeterMap([0, 2 * BAR], [4, 3], [4, 4]),
        (Key(0, 0), Key(2 * BAR, -3, True)),
    )
    back = abcfile.from_text(abcfile.to_text(score))
    assert (back.meter, back.keys, back.tempo) == (score.meter, score.keys, score.tempo)
    assert [columns(t.notes) for t in back.tracks] == [columns(t.notes) for t in score.tracks]


def test_lines_that_overlap_are_voices_of_their_own() -> None:
    held = Notes.of([0, 0, 960, 1920], [2880, 960, 960, 960], [60, 76, 77, 79])
    text = abcfile.to_text(Score((Track(0, "Two", held),)))
    back = abcfile.from_text(text)
    assert [t.name for t in back.tracks] == ["Two", "Two 2"]
    assert sorted(n for t in back.tracks for n in columns(t.notes)) == sorted(columns(held))


def test_accidentals_are_written_so_that_all_readers_agree() -> None:
    pitches = [66, 77, 65, 66, 66]
    notes = Notes.of(np.arange(5) * 480, 480, pitches)
    text = abcfile.to_text(Score((Track(0, "a", notes),), keys=(Key(0, 1),)))
    music = text.splitlines()[-1]
    assert "=f" in music
    assert "=F" in music
    assert music.count("^F") == 2  # no reader forgets it, none holds what is over
    back = abcfile.from_text(text)
    assert back.tracks[0].notes.pitch.tolist() == pitches


def test_drums_are_refused(tmp_path: Path) -> None:
    drums = Score((Track(0, "Kit", Notes.of([0], 960, 36), channel=9),))
    with pytest.raises(UserError, match="Kit is drums"):
        exchange.write(drums, tmp_path / "a.abc")
    assert not (tmp_path / "a.abc").exists()


def test_an_empty_piece_can_be_written_and_read() -> None:
    for score in (Score(), Score((Track(0, "Nothing"),))):
        back = abcfile.from_text(abcfile.to_text(score))
        assert sum(len(t.notes) for t in back.tracks) == 0


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.lists(
        st.tuples(st.sampled_from([120, 240, 480, 720, 960, 1440, 3840]), st.integers(40, 90), st.booleans()),
        min_size=1,
        max_size=24,
    ),
    st.integers(-6, 6),
    st.sampled_from([(4, 4), (6, 8), (3, 4), (9, 8)]),
)  # fmt: skip
def test_any_line_on_the_grid_comes_back(
    line: list[tuple[int, int, bool]], sharps: int, metre: tuple[int, int]
) -> None:
    durations = np.array([d for d, *_ in line])
    onset = np.cumsum(durations) - durations
    sung = np.array([not rest for *_, rest in line]) | (np.arange(len(line)) == 0)
    notes = Notes.of(onset[sung], durations[sung], np.array([p for _, p, _ in line])[sung])
    score = Score(
        (Track(0, "Line", notes),),
        meter=MeterMap([0], [metre[0]], [metre[1]]),
        keys=(Key(0, sharps),),
    )
    back = abcfile.from_text(abcfile.to_text(score))
    assert columns(back.tracks[0].notes) == columns(notes)
    assert (back.meter, back.keys) == (score.meter, score.keys)


@pytest.mark.parametrize(
    "name", ["ryansMammoth/SailorsHornpipeHornpipe", "ryansMammoth/LanigansBallJig"]
)
def test_music21_reads_tunes_and_what_is_written_of_them_alike(name: str) -> None:
    from music21 import common, converter

    files = Path(common.getCorpusFilePath())
    path = files / f"{name}.abc"
    if not path.exists():
        path = sorted((files / "ryansMammoth").glob("S*Hornpipe.abc"))[0]
    (_, text), *_ = abc_notation.cut(path.read_text())
    text = text.replace("u", "").replace("v", "")  # bowings, which music21 takes for notes' ends

    def theirs(abc: str) -> list[tuple[float, int]]:
        notes = converter.parseData(abc, format="abc").stripTies().flatten().notes
        return [
            (float(n.quarterLength), n.pitches[-1].midi) for n in notes if not n.duration.isGrace
        ]

    score = abcfile.from_text(text)
    (voice,) = abc_notation.parse(text, name).voices
    written = [e for e in voice.elements if isinstance(e, abc_notation.Note) and e.pitch >= 0]
    assert [p for _, p in theirs(text)] == [e.pitch for e in written]
    found = theirs(abcfile.to_text(score))
    ours = columns(score.tracks[0].notes)
    assert [p for _, p in found] == [p for *_, p in ours]
    assert [q for q, _ in found] == pytest.approx([d / PPQ for _, d, _ in ours], abs=1e-3)


@settings(FUZZ, max_examples=60)
@given(damaged((JIG + DUET).encode()))
def test_damaged_abc_files(data: bytes) -> None:
    works(read(lambda d: abcfile.from_text(d.decode("latin-1"), "a.abc"), data))

"""Lead sheets: what the page says, and chords of notes by their names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from music21 import converter, harmony
from test_melody import tune

from models import leadsheets
from models.leadsheets import NAMES, NO_CHORD, QUALITIES, Leadsheet
from models.score import Notes, Score, Track, UserError
from models.timebase import PPQ

BAR = 4 * PPQ

MEASURE = """<measure number="{number}">{head}{body}</measure>"""
HEAD = """<attributes><divisions>2</divisions><key><fifths>-1</fifths><mode>major</mode></key>
<time><beats>4</beats><beat-type>4</beat-type></time></attributes>"""
NOTE = """<note><pitch><step>{step}</step><octave>4</octave></pitch>
<duration>{duration}</duration><type>half</type></note>"""
HARMONY = """<harmony><root><root-step>{root}</root-step>{alter}</root><kind>{kind}</kind>{bass}</harmony>"""


def symbol(root: str, kind: str = "major", bass: str = "") -> str:
    alter = "<root-alter>-1</root-alter>" if root.endswith("b") else ""
    lowest = f"<bass><bass-step>{bass}</bass-step></bass>" if bass else ""
    return HARMONY.format(root=root[0], alter=alter, kind=kind, bass=lowest)


def page(*bars: str) -> str:
    rows = (
        MEASURE.format(number=i + 1, head="" if i else HEAD, body=b) for i, b in enumerate(bars)
    )
    return (
        '<?xml version="1.0"?><score-partwise version="3.1"><part-list><score-part id="P1">'
        f'<part-name>Voice</part-name></score-part></part-list><part id="P1">{"".join(rows)}</part>'
        "</score-partwise>"
    )


half = NOTE.format(step="A", duration=4)
long = NOTE.format(step="C", duration=8)
SONG = page(
    symbol("F") + half + symbol("C", "dominant", "G") + half,
    symbol("Bb", "minor-seventh") + symbol("D", "half-diminished") + long,
    long,
    symbol("F", "none") + long,
)


def names(sheet: Leadsheet) -> list[tuple[int, int, str, int]]:
    return [
        (int(t), int(r), NAMES[q], int(b))
        for t, r, q, b in zip(sheet.tick, sheet.root, sheet.quality, sheet.bass, strict=True)
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "sheets"
    place.mkdir()
    (place / "song.musicxml").write_text(SONG)
    (place / "bare.musicxml").write_text(page(long))
    (place / "broken.musicxml").write_text(SONG[:400])
    return place


def test_a_page_is_read_as_it_stands(folder: Path, tmp_path: Path) -> None:
    for _ in range(2):  # parsed, then from the cache
        (sheet,) = leadsheets.load(folder, tmp_path / "cache")
        assert sheet.name == "sheets/song.musicxml"
        assert sheet.tune.sharps == -1
        assert sheet.tune.pitch.tolist() == [69, 69, 60, 60, 60]
        assert sheet.tune.bars.tolist() == [0, BAR, 2 * BAR, 3 * BAR, 4 * BAR]
        # Two symbols over one long note share it.
        assert names(sheet)[:4] == [
            (0, 5, "major", 5),
            (BAR // 2, 0, "dominant", 7),
            (BAR, 10, "minor_seventh", 10),
            (BAR * 3 // 2, 2, "half_diminished", 2),
        ]
        assert sheet.root[4] == NO_CHORD
        assert sheet.tones(1) == {0, 4, 7, 10}
        assert sheet.tones(4) == frozenset()
        assert sheet.at(np.array([0, BAR // 2 - 1, BAR // 2, 3 * BAR])).tolist() == [0, 0, 1, 4]
        assert sheet.beats().tolist() == [PPQ * i for i in range(16)]
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_a_folder_without_chords_gets_a_sentence(folder: Path, tmp_path: Path) -> None:
    (folder / "song.musicxml").unlink()
    with pytest.raises(UserError, match="no lead sheets; put MusicXML with chord symbols"):
        leadsheets.load(folder, tmp_path / "cache")
    with pytest.raises(UserError, match="no files that can be read"):
        leadsheets.load(tmp_path / "cache", tmp_path / "cache")


def test_abc_says_chords_too() -> None:
    abc = 'X:1\nT:t\nM:4/4\nL:1/4\nK:G\n"G"GABc|"Am7"d2"D7"c2|"G"B4|]\n'
    sheet = leadsheets.from_music21(converter.parseData(abc, format="abc"), "a/b")
    assert sheet is not None
    assert [row[:3] for row in names(sheet)] == [
        (0, 7, "major"),
        (BAR, 9, "minor_seventh"),
        (BAR * 3 // 2, 2, "dominant"),
        (2 * BAR, 7, "major"),
    ]


@pytest.mark.parametrize(
    ("figure", "name"),
    [
        ("C", "major"), ("Cm", "minor"), ("C7", "dominant"), ("Cmaj7", "major_seventh"),
        ("Cm7", "minor_seventh"), ("Cdim", "diminished"), ("Cdim7", "diminished_seventh"),
        ("Cm7b5", "half_diminished"), ("C+", "augmented"), ("C7+", "augmented_seventh"),
        ("C6", "sixth"), ("Cm6", "minor_sixth"), ("C9", "dominant"), ("C13", "dominant"),
        ("Cm9", "minor_seventh"), ("CmM7", "minor_major_seventh"), ("Csus4", "suspended"),
        ("C7sus4", "suspended_seventh"),
    ],
)  # fmt: skip
def test_symbols_have_the_quality_they_say(figure: str, name: str) -> None:
    tones = {p.pitchClass for p in harmony.ChordSymbol(figure).pitches}
    assert NAMES[leadsheets.quality_of(tones)] == name


@given(
    st.sampled_from(["major", "minor", "dominant", "minor_seventh", "major_seventh"]),
    st.integers(0, 11),
    st.integers(1, 1000),
)
def test_chords_of_notes_are_known_by_what_sounds(name: str, root: int, ticks: int) -> None:
    weight = np.zeros(12)
    weight[[(root + step) % 12 for step in QUALITIES[name]]] = ticks
    assert leadsheets.chord_of(weight, root) == (root, NAMES.index(name))
    weight[(root + 1) % 12] += ticks / 8  # a passing note
    assert leadsheets.chord_of(weight, root) == (root, NAMES.index(name))


def keys(*chords: tuple[int, tuple[int, ...]]) -> Notes:
    rows = [(bar * BAR, pitch) for bar, pitches in chords for pitch in pitches]
    return Notes.of([r[0] for r in rows], BAR, [r[1] for r in rows])


def test_a_score_has_its_chords_in_other_tracks() -> None:
    piano = Track(0, "Piano", keys((0, (48, 52, 55)), (1, (45, 48, 52)), (2, (45, 48, 52))))
    voice = Track(1, "Melody", Notes.of(np.arange(12) * PPQ, PPQ, 72), channel=1)
    drums = Track(2, "Drums", keys((0, (38, 42, 61))), channel=9)
    sheet = leadsheets.from_score(Score((piano, voice, drums)), "x.mid")
    assert sheet is not None
    assert set(sheet.tune.pitch.tolist()) == {72}
    assert names(sheet) == [(0, 0, "major", 0), (BAR, 9, "minor", 9)]
    assert leadsheets.from_score(Score((voice,)), "x.mid") is None
    assert leadsheets.from_score(Score((drums,)), "x.mid") is None


@pytest.mark.parametrize(
    ("meter", "beats"),
    [(4004, 2), (3004, 2), (2002, 1), (2004, 1), (5004, 3), (6008, 1), (9008, 2), (12008, 2)],
)
def test_bars_are_halved_at_a_beat(meter: int, beats: int) -> None:
    numerator, denominator = divmod(meter, 1000)
    length = numerator * 4 * PPQ // denominator
    assert leadsheets.middle(meter, length) == beats * leadsheets.beat_ticks(meter)
    assert leadsheets.middle(meter, PPQ) == PPQ // 2  # a pickup


def test_a_pickup_has_the_last_beats_of_a_bar() -> None:
    rows: Any = [60, 62, 64, 65, 67]
    made = tune("a/b", rows)
    pickup = type(made)(
        "a/b", made.onset, made.duration, made.pitch,
        np.array([0, PPQ * 3 // 2, PPQ * 3 // 2 + BAR]), np.array([4004, 4004]),
    )  # fmt: skip
    sheet = Leadsheet(pickup, *(np.zeros(1, np.int64) for _ in range(4)))
    wanted = [0, PPQ // 2, *(PPQ * 3 // 2 + PPQ * i for i in range(4))]
    assert sheet.beats().tolist() == wanted

"""Chords by the bar: what a melody sounds, what a chord is called, and how it is put under a melody."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.card import Task
from models.leadsheets import NAMES, NO_CHORD, QUALITIES, Leadsheet
from models.representations import chords
from models.representations.chords import SEVENTHS, TRIADS
from models.score import Key, Notes, Region, Score, Track, UserError
from models.strategies import comping
from models.system import Ask
from models.timebase import PPQ, MeterMap
from models.tunes import Tune

BAR = 4 * PPQ


def sheet(*symbols: tuple[int, int, str], sharps: int = 0, bars: tuple[int, ...] = ()) -> Leadsheet:
    """Quarters on the notes of a scale, and chords (tick, root, quality)."""
    edges = np.array(bars or [BAR * i for i in range(5)], np.int64)
    onset = np.arange(0, edges[-1], PPQ)
    pitch = np.resize(np.array([60, 64, 67, 72]), len(onset))
    meters = np.full(len(edges) - 1, 4004)
    tune = Tune("a/b.mxl", onset, np.full(len(onset), PPQ), pitch, edges, meters, sharps)
    rows = [(t, r, NAMES.index(q), r) for t, r, q in symbols]
    return Leadsheet(tune, *np.array(rows, np.int64).T)


@given(st.data())
def test_what_sounds_in_a_bar_is_what_counting_ticks_finds(data: Any) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 10_000)))
    onset = rng.integers(0, 50, 12)
    end = onset + rng.integers(1, 20, 12)
    pitch = rng.integers(40, 90, 12)
    edges = np.array([[0, 10, 24], [24, 30, 31], [31, 50, 60]])
    shift = np.array([0, 3, -5])
    wanted = np.zeros((3, 2, 12), np.int64)
    for b, half in np.ndindex(3, 2):
        for tick in range(edges[b, half], edges[b, half + 1]):
            for p in pitch[(onset <= tick) & (end > tick)]:
                wanted[b, half, (p + shift[b]) % 12] += 1
    assert (chords.sounded(onset, end, pitch, edges, shift) == wanted).all()


def test_a_song_is_seen_from_its_key() -> None:
    made = chords.song(
        sheet(
            (BAR, 2, "major"), (BAR * 5 // 2, 9, "dominant"), (3 * BAR, 4, "minor_sixth"), sharps=2
        )
    )
    assert made is not None
    assert len(made) == 3  # the first bar has no chord
    seventh = 12 * SEVENTHS.index("dominant")
    assert made.label.tolist() == [[0, 0], [0, 7 + seventh], [2 + 12, 2 + 12]]
    assert chords.triad(made.label[1]).tolist() == [0, 7]
    heard, label = made.units(1)
    assert heard.shape == (3, 12)
    assert heard[0, [10, 2, 5]].tolist() == [0.5, 0.25, 0.25]  # C, C, E and G, a tone lower
    assert label.tolist() == [0, 0, 14]
    heard, label = made.units(2)
    assert heard.shape == (6, 13)
    assert heard[:, 12].tolist() == [0, 1] * 3
    assert heard[0, [10, 2]].tolist() == [0.5, 0.5]
    assert label.tolist() == [0, 0, 0, 7 + seventh, 14, 14]


def test_a_song_without_chords_is_none() -> None:
    silent = sheet((0, 0, "major"))
    assert chords.song(replace(silent, root=np.array([NO_CHORD]))) is None


def test_songs_come_back_from_a_file(tmp_path: Path) -> None:
    made = [chords.song(sheet((0, r, "minor"))) for r in (0, 5)]
    songs = [s for s in made if s is not None]
    chords.write(tmp_path / "songs.npz", songs)
    for a, b in zip(songs, chords.read(tmp_path / "songs.npz"), strict=True):
        assert a.name == b.name
        assert all(
            np.array_equal(getattr(a, c), getattr(b, c)) for c in ("ticks", "length", "label")
        )


def test_every_quality_has_its_nearest_kinds() -> None:
    for quality, kind in zip(NAMES, chords.NEAREST, strict=True):
        label = np.array([5 + 12 * int(kind)])
        triad = TRIADS[int(chords.triad(label)[0]) // 12]
        assert (3 in QUALITIES[quality]) == (triad == "minor")
        assert 5 in chords.tones(int(label[0]))
    assert chords.triad(np.array([NO_CHORD])).tolist() == [NO_CHORD]


def test_the_split_keeps_sides_apart() -> None:
    split = chords.split()
    assert not split["valid"] & split["test"]
    assert len(split["test"]) == 89


# --- under a melody ------------------------------------------------------------------------------


def melody(pitches: list[int], step: int = PPQ, first: int = 0, **columns: Any) -> Track:
    onset = first + step * np.arange(len(pitches))
    return Track(0, "Tune", Notes.of(onset, step, pitches, **columns))


def asked(score: Score, bars: int = 4, tracks: tuple[int, ...] = (), **more: Any) -> Ask:
    return Ask(Task.ACCOMPANY, score, Region(0, bars * BAR, frozenset(tracks)), **more)


def test_keys_are_written_or_heard() -> None:
    in_a = [69, 71, 73, 74, 76, 78, 80, 81] * 2
    for keys, shift in (
        ((Key(0, 3),), 3),
        ((), 3),
        ((Key(0, 0),), 3),  # C for want of anything better
        ((Key(0, 2),), -2),
    ):
        stage = comping.stage(asked(Score((melody(in_a),), keys=keys)))
        assert (stage.shift == shift).all()
    change = Score((melody(in_a),), keys=(Key(0, 3), Key(2 * BAR, -1)))
    assert comping.stage(asked(change)).shift.tolist() == [3, 3, -5, -5]


def test_an_upbeat_has_no_chord() -> None:
    late = comping.stage(asked(Score((melody([60] * 9, first=3 * PPQ),)), 3))
    assert (late.begin, late.first, late.last) == (1, 1, 3)
    pickup = Score((melody([60] * 9),), meter=MeterMap(pickup=PPQ))
    stage = comping.stage(asked(pickup, 3))
    assert (stage.first, stage.last) == (1, 3)
    assert stage.edges[:2].tolist() == [[0, PPQ // 2, PPQ], [PPQ, 3 * PPQ, 5 * PPQ]]
    short = comping.stage(asked(Score((melody([60], first=3 * PPQ),)), 1))
    assert (short.first, short.last) == (0, 1)  # nothing but an upbeat gets its chord


def test_a_melody_as_it_was_played_does_not_drift() -> None:
    track = melody([60, 62, 64, 65] * 64)
    played = track.with_notes(track.notes.with_(duration=PPQ - 20, velocity=90))
    stage = comping.stage(asked(Score((played,)), 64))
    assert (stage.ticks[:, 0, [0, 2]] == PPQ - 20).all()
    assert (stage.ticks[:, 1, [4, 5]] == PPQ - 20).all()
    assert stage.ticks.sum() == 256 * (PPQ - 20)


def test_metres_change_and_bars_are_theirs() -> None:
    meter = MeterMap(np.array([0, 3 * PPQ]), np.array([3, 6]), np.array([4, 8]))
    stage = comping.stage(asked(Score((melody([60] * 9),), meter=meter), 2))
    assert stage.edges.tolist()[:3] == [
        [0, 2 * PPQ, 3 * PPQ],
        [3 * PPQ, 4.5 * PPQ, 6 * PPQ],
        [6 * PPQ, 7.5 * PPQ, 9 * PPQ],
    ]


@pytest.mark.parametrize(
    ("ask", "sentence"),
    [
        (asked(Score()), "no melody to accompany"),
        (asked(Score((melody([60]),)), melody=7), "no notes there; choose another track"),
        (asked(Score((melody([60], first=5 * BAR),)), melody=0), "no notes there"),
        (
            asked(Score((melody([60]), Track(1, ""), Track(2, ""))), tracks=(1, 2)),
            "2 are marked; mark one",
        ),
        (asked(Score((melody([60]), Track(1, "", channel=9))), tracks=(1,)), "drum track"),
    ],
)
def test_bad_requests_get_a_sentence(ask: Ask, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        comping.stage(ask)


def test_the_melody_is_the_one_named_or_the_highest() -> None:
    low, high = melody([48] * 8), replace(melody([72] * 8), id=1, name="Flute")
    assert comping.stage(asked(Score((low, high)))).melody is high.notes
    assert comping.stage(asked(Score((low, high)), melody=0)).melody is low.notes
    said = replace(low, name="Lead vocal")
    assert comping.stage(asked(Score((said, high)))).melody is said.notes
    chordal = melody([60, 64, 67] * 4, velocity=50)
    doubled = chordal.with_notes(chordal.notes.with_(onset=np.repeat(np.arange(4) * PPQ, 3)))
    stage = comping.stage(asked(Score((doubled,))))
    assert np.flatnonzero(stage.ticks.sum((0, 1))).tolist() == [7]  # its highest line is heard


@given(
    st.lists(st.integers(0, 95), min_size=1, max_size=12), st.integers(-6, 5), st.integers(52, 90)
)
def test_voicings_have_the_chords_notes_in_close_position(
    labels: list[int], shift: int, ceiling: int
) -> None:
    units = np.array(labels)
    made = comping.voiced(units, np.full(len(units), shift), np.full(len(units), ceiling))
    for label, pitches in zip(labels, made, strict=True):
        wanted = {(tone - shift) % 12 for tone in chords.tones(label)}
        assert {p % 12 for p in pitches} == wanted
        assert len(pitches) == len(wanted)
        assert max(pitches) - min(pitches) < 12
        assert min(pitches) >= comping.LOWEST
        assert max(pitches) <= comping.HIGHEST


def test_voices_move_little_and_stay_below_the_melody() -> None:
    made = comping.voiced(np.array([0, 5, 7, 0]), np.zeros(4, int), np.full(4, 72))
    for a, b in itertools.pairwise(made):
        assert sum(abs(x - y) for x, y in zip(a, b, strict=True)) <= 7
    assert max(map(max, made)) < 72
    low = comping.voiced(np.array([0, 5, 7, 0]), np.zeros(4, int), np.full(4, 60))
    assert max(map(max, low)) < 60


def notes(stage: comping.Stage, labels: list[int], per_bar: int = 1, **how: str) -> Notes:
    settings = {"rhythm": "held", "voicing": "close"} | how
    region = Region(0, 4 * BAR)
    return comping.written(stage, np.array(labels), per_bar, region, **settings).notes


def test_chords_are_held_or_struck_on_beats() -> None:
    stage = comping.stage(asked(Score((melody([76] * 8),)), 2))
    held = notes(stage, [0, 7])
    assert held.onset.tolist() == [0] * 3 + [BAR] * 3
    assert (held.duration == BAR).all()
    assert len(notes(stage, [0, 7], rhythm="beats")) == 8 * 3
    two = notes(stage, [0, 0, 7, 5], per_bar=2)
    assert sorted(set(zip(two.onset.tolist(), two.duration.tolist(), strict=True))) == [
        (0, BAR), (BAR, BAR // 2), (BAR * 3 // 2, BAR // 2),
    ]  # fmt: skip
    bass = notes(stage, [0, 7], voicing="bass")
    assert bass.pitch.reshape(2, 4)[:, 0].tolist() == [36, 43]


def test_notes_that_stay_are_played_around() -> None:
    piano = Track(1, "Piano", Notes.of([100, BAR], [PPQ, BAR], [60, 62], locked=True, first_id=50))
    stage = comping.stage(asked(Score((melody([76] * 8), piano)), 2, (1,)))
    may = comping.allowed(stage, 24, 1, False)
    assert may[0].sum() == 6  # the triads that have a C
    assert all(2 in chords.tones(int(label)) for label in np.flatnonzero(may[1]))
    made = notes(stage, [0, 7])
    same = made.where(made.pitch == 60)
    assert not same.sounding(100, 100 + PPQ).any()


def test_a_cadence_is_on_the_tonic_if_the_melody_lets_it() -> None:
    def last(pitch: int, *keys: Key) -> list[int]:
        score = Score((melody([60, 62, 64, 65, 67, 69, 71, pitch]),), keys=keys)
        may = comping.allowed(comping.stage(asked(score, 2)), 24, 1, True)
        assert may[0].all()
        return [int(i) for i in np.flatnonzero(may[1])]

    assert last(72, Key(0, 0)) == last(64, Key(0, 0)) == [0]
    assert last(69, Key(0, 0)) == [21]
    assert last(67, Key(0, 0)) == [0]
    assert last(69, Key(0, 0, True)) == [21]
    assert len(last(62, Key(0, 0))) == 24

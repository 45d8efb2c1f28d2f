"""Chorales on the grid, as tokens, and from and to scores."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.card import Task
from models.representations import casting, staging
from models.representations.chorale import (
    FIRST_PITCH,
    HOLD,
    LOW,
    REST,
    TOKENS,
    Chorale,
    from_tokens,
    tokens,
)
from models.score import Key, Notes, Region, Score, Track, UserError
from models.system import Ask
from models.timebase import PPQ, SIXTEENTH, MeterMap

BAR = 4 * PPQ


def made(steps: int = 32, seed: int = 0, sharps: int = 2) -> Chorale:
    """A random chorale in range, with holds and silence."""
    rng = np.random.default_rng(seed)
    attack = rng.random((steps, 4)) < 0.4
    attack[0] = True
    pitch = np.zeros((steps, 4), np.int64)
    for v, (low, high) in enumerate(((60, 81), (53, 74), (48, 69), (36, 64))):
        for i in range(steps):
            new = -1 if rng.random() < 0.1 else int(rng.integers(low, high + 1))
            pitch[i, v] = new if attack[i, v] else pitch[i - 1, v]
    column = np.zeros(steps, np.int64)
    return Chorale(
        "made", pitch, attack, column, np.arange(steps) % 16, column, column + sharps, column + 1
    )


@pytest.mark.parametrize("sharps", range(-7, 8))
def test_tokens_and_back(sharps: int) -> None:
    chorale = made(sharps=sharps)
    back = from_tokens(tokens(chorale), chorale)
    assert np.array_equal(back.pitch, chorale.pitch)
    assert np.array_equal(back.attack, chorale.attack)


def test_the_tonic_of_every_signature_is_one_token() -> None:
    chorale = replace(made(15), sharps=np.arange(-7, 8))
    tonic = (chorale.sharps * 7) % 12 + 60
    chorale = replace(chorale, pitch=np.repeat(tonic[:, None], 4, 1), attack=np.ones((15, 4), bool))
    assert {(t - FIRST_PITCH + LOW) % 12 for t in tokens(chorale).ravel()} == {0}


def test_a_score_of_a_chorale_lies_on_the_same_grid() -> None:
    chorale = made(64)
    score = staging.score_of(chorale)
    region = Region(0, 64 * SIXTEENTH)
    stage = staging.lay(score, region, casting.match(score.tracks, region), ())
    assert np.array_equal(stage.given.pitch, chorale.pitch)
    assert np.array_equal(stage.given.position, chorale.position)
    assert np.array_equal(stage.given.sharps, chorale.sharps)
    sounding = chorale.pitch >= 0
    assert np.array_equal(stage.given.attack & sounding, chorale.attack & sounding)


def test_a_pickup_and_triple_time() -> None:
    meter = MeterMap(np.array([0]), np.array([3]), np.array([4]), pickup=PPQ)
    score = Score((Track(0, "Soprano", Notes.of([0, PPQ], PPQ, 70)),), meter=meter)
    stage = staging.lay(score, Region(0, 4 * PPQ), (score.tracks[0], None, None, None), (1,))
    assert stage.given.position.tolist() == [8, 9, 10, 11, *range(12)]
    assert set(stage.given.meter.tolist()) == {1}


@pytest.mark.parametrize(("top", "bottom"), [(5, 4), (6, 8), (7, 8), (2, 4), (12, 8)])
def test_other_metres_are_refused_with_the_bar(top: int, bottom: int) -> None:
    meter = MeterMap(np.array([0, 2 * BAR]), np.array([4, top]), np.array([4, bottom]))
    score = Score((Track(0, "Soprano", Notes.of([0], BAR, 70)),), meter=meter)
    lines = (score.tracks[0], None, None, None)
    with pytest.raises(UserError, match=rf"Bar 3 is in {top}/{bottom}.*4/4"):
        staging.lay(score, Region(0, 4 * BAR), lines, (1,))
    staging.lay(score, Region(0, 2 * BAR), lines, (1,))  # elsewhere it does not matter


def test_what_a_region_does_not_own_stands() -> None:
    notes = Notes.of(
        np.array([0, BAR - PPQ, BAR + PPQ, 2 * BAR - 100]),
        np.array([PPQ, 2 * PPQ, PPQ, 200]),
        np.array([60, 62, 64, 65]),
        locked=np.array([False, False, True, False]),
    )
    track = Track(0, "Alto", notes)
    score = Score((track,))
    region = Region(BAR, 2 * BAR, frozenset({0}))
    stage = staging.lay(score, region, (None, track, None, None), (1,))
    first, last = stage.inside
    free = stage.free[first:last, 1]
    assert not free[:4].any()  # a note crosses the edge
    assert not free[4:8].any()  # a locked note
    assert free[8:15].all()
    assert not free[15]  # an off-grid note crosses the end and covers the whole step
    may = staging.allowed(stage, [(36, 84)] * 4, stage.given.shift)
    assert not may[first + 8, 1, HOLD]  # a new note must not prolong the locked one
    assert may[first + 9, 1, HOLD]


def test_everything_locked_is_refused() -> None:
    track = Track(0, "Alto", Notes.of([0], BAR, 60, locked=True))
    with pytest.raises(UserError, match="locked"):
        staging.lay(
            Score((track,)), Region(0, BAR, frozenset({0})), (None, track, None, None), (1,)
        )


def test_ranges_and_fixed_rhythm() -> None:
    notes = Notes.of(np.arange(4) * PPQ, np.array([PPQ, PPQ, PPQ, PPQ // 2]), 60)
    track = Track(0, "Alto", notes)
    region = Region(0, BAR, frozenset({0}))
    stage = staging.lay(Score((track,)), region, (None, track, None, None), (1,))
    may = staging.allowed(stage, [(60, 64)] * 4, stage.given.shift, (None, notes, None, None))
    pitches = np.flatnonzero(may[0, 1]) - FIRST_PITCH + LOW
    assert pitches.tolist() == [60, 61, 62, 63, 64]
    assert np.flatnonzero(may[1, 1]).tolist() == [HOLD]
    assert np.flatnonzero(may[15, 1]).tolist() == [REST]
    assert may.shape == (16, 4, TOKENS)
    with pytest.raises(UserError, match="range of the alto"):
        staging.allowed(stage, [(60, 64), (1, 2), (1, 90), (1, 90)], stage.given.shift)


def test_a_melody_off_the_grid_is_heard_on_it() -> None:
    notes = Notes.of(
        np.array([0, PPQ // 3, 2 * PPQ // 3, PPQ + 7, PPQ + 7, 2 * PPQ + 110]),
        np.array([PPQ // 3, PPQ // 3, PPQ // 3, PPQ, PPQ, SIXTEENTH // 2]),
        np.array([72, 74, 76, 60, 77, 79]),
    )
    track = Track(0, "Melody", notes)
    stage = staging.lay(Score((track,)), Region(0, BAR), (track, None, None, None), (1, 2, 3))
    pitch = stage.given.pitch[:, 0]
    assert pitch[0] == 72
    assert pitch[4] == 77  # the upper of two
    assert 79 in pitch
    assert not stage.free[:, 0].any()


def test_a_low_melody_is_another_voice_or_another_octave() -> None:
    bass = Track(0, "", Notes.of(np.arange(8) * PPQ, PPQ, 45))
    assert casting.melody_voice(bass, 0, 2 * BAR) == 3
    flute = Track(0, "", Notes.of(np.arange(8) * PPQ, PPQ, 96))
    assert casting.melody_voice(flute, 0, 2 * BAR) == 0
    stage = staging.lay(Score((flute,)), Region(0, 2 * BAR), (flute, None, None, None), (1, 2, 3))
    assert stage.given.pitch[0, 0] in (72, 84 - 12)


def test_tracks_find_their_voices_by_name_and_by_height() -> None:
    low, high = Track(5, "x", Notes.of([0], PPQ, 45)), Track(6, "y", Notes.of([0], PPQ, 75))
    named = Track(7, "Tenor", Notes.of([0], PPQ, 90))
    region = Region(0, BAR)
    assert casting.match([low, named, high], region) == (high, None, named, low)


def test_casting() -> None:
    track = Track(0, "Melody", Notes.of(np.arange(8) * PPQ, PPQ, 70))
    drums = Track(1, "Drums", Notes.of([0], PPQ, 40), channel=9)
    score = Score((track, drums), keys=(Key(0, 1),))
    region = Region(0, 2 * BAR)
    found = casting.cast(Ask(Task.ACCOMPANY, score, region))
    assert found.lines == (track, None, None, None)
    assert found.writable == (1, 2, 3)
    with pytest.raises(UserError, match="No voice is marked"):
        casting.cast(Ask(Task.REGENERATE, score, region))
    with pytest.raises(UserError, match="no melody"):
        casting.cast(Ask(Task.ACCOMPANY, Score(), region))
    with pytest.raises(UserError, match="drum"):
        casting.cast(Ask(Task.REGENERATE, score, region.with_tracks({1})))
    five = Score(tuple(Track(i, str(i)) for i in range(5)))
    with pytest.raises(UserError, match="four"):
        casting.cast(Ask(Task.REGENERATE, five, region.with_tracks(range(5))))


def test_phrases_end_in_fermatas() -> None:
    stage = staging.lay(Score(), Region(0, 4 * BAR), (None,) * 4, (0, 1, 2, 3))
    stage, ticks = staging.phrased(stage, 2)
    assert ticks == (BAR + 2 * PPQ, 3 * BAR + 2 * PPQ)
    assert stage.given.fermata[-8:].all()
    assert not stage.given.fermata[:24].any()


def test_a_track_of_chords_is_left_alone() -> None:
    chords = Track(0, "Piano", Notes.of([0, 0, 960, 960], [960] * 4, [60, 64, 62, 65]))
    score = Score((chords,))
    with pytest.raises(UserError, match="Piano holds chords"):
        casting.cast(Ask(Task.REGENERATE, score, Region(0, BAR, frozenset({0}))))
    later = Region(4 * BAR, 5 * BAR, frozenset({0}))  # where the track is silent it may be written
    assert chords in casting.cast(Ask(Task.CREATE, score, later)).lines
    legato = Track(0, "Flute", Notes.of([0, 900, 1920], [960] * 3, [60, 64, 62]))
    assert casting.cast(Ask(Task.REGENERATE, Score((legato,)), Region(0, BAR, frozenset({0}))))

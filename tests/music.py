"""Music made up for tests: scores and edits for hypothesis to draw, and long scripts of edits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from engine import edits
from models.score import Controls, Key, Notes, Region, Score, Track, splice
from models.timebase import PPQ, SIXTEENTH, MeterMap, TempoMap

NAMES = ("Soprano", "Alto", "Tenor", "Bass")


def ordinary(notes: int, tracks: int = 4, seed: int = 0) -> Score:
    """A score of so many notes, dealt out to the tracks, about four a beat."""
    rng = np.random.default_rng(seed)
    onset = np.sort(rng.integers(0, max(notes, 1) * SIXTEENTH, notes))
    every = Notes.of(
        onset,
        rng.integers(1, 2 * PPQ, notes),
        rng.integers(36, 84, notes),
        rng.integers(1, 128, notes),
    )
    return Score(
        tuple(
            Track(i, NAMES[i % 4], every.where(every.id % tracks == i), channel=i)
            for i in range(tracks)
        ),
        title="Ordinary",
    )


@st.composite
def scores(draw: st.DrawFn) -> Score:
    """Any small score: up to three tracks, changes of tempo, metre and key, controllers, odd names."""
    tracks = []
    free = draw(st.integers(0, 5))
    for track_id in draw(st.lists(st.integers(0, 9), max_size=3, unique=True)):
        n = draw(st.integers(0, 6))
        low = st.lists(st.integers(0, 8), min_size=n, max_size=n)
        notes = Notes.of(
            np.array(draw(low)) * SIXTEENTH,
            np.array(draw(low)) * 100 + 1,
            np.array(draw(low)) + 60,
            np.array(draw(low)) + 1,
            voice=np.array(draw(low)),
            locked=np.array(draw(low)) > 6,
            first_id=free,
        )
        free += n
        ticks = sorted(draw(st.lists(st.integers(0, 5000), max_size=3)))
        controls = Controls(
            np.array(ticks, np.int64),
            np.full(len(ticks), 0xB0, np.uint8),
            np.arange(len(ticks), dtype=np.uint8),
            np.full(len(ticks), 64, np.uint8),
        )
        name = draw(st.text(max_size=4) | st.just("\udcff"))
        tracks.append(Track(track_id, name, notes, controls, muted=draw(st.booleans())))
    return Score(
        tuple(tracks),
        TempoMap(np.array([0, 960]), np.array([500_000, draw(st.integers(1, 10**6))])),
        MeterMap(np.array([0]), np.array([draw(st.integers(1, 9))]), np.array([4]), pickup=240),
        tuple(Key(t, draw(st.integers(-7, 7)), draw(st.booleans())) for t in (0, 3840)),
        tuple(sorted(draw(st.sets(st.integers(0, 4000), max_size=3)))),
        draw(st.text(max_size=5)),
        draw(st.sampled_from((96, 480, 960))),
    )


def edit(score: Score, rng: np.random.Generator) -> Score:
    """`score` after one edit that `rng` picks among all kinds, on a few of its notes."""
    every = np.concatenate([t.notes.id for t in score.tracks]) if score.tracks else np.zeros(0, int)
    ids = rng.choice(every, min(len(every), int(rng.integers(1, 6))), replace=False)
    first = score.tracks[0].id if score.tracks else None
    ticks, semitones = int(rng.integers(-960, 961)), int(rng.integers(-12, 13))
    kinds: list[Callable[[], Score]] = [
        lambda: edits.move(score, ids, ticks, semitones),
        lambda: edits.resize(score, ids, ticks // 4, ticks // 2, 60),
        lambda: edits.delete(score, ids[:2]),
        lambda: edits.set_velocity(score, ids, rng.integers(-5, 140, len(ids))),
        lambda: edits.set_locked(score, ids, bool(rng.integers(2))),
        lambda: edits.duplicate(score, ids, ticks, semitones)[0],
        lambda: edits.quantize(score, ids, SIXTEENTH, float(rng.random())),
        lambda: edits.set_tempo(score, TempoMap.constant(float(rng.integers(30, 240)))),
        lambda: edits.set_meter(score, MeterMap(numerator=[int(rng.integers(1, 9))])),
        lambda: edits.set_keys(score, [Key(0, int(rng.integers(-7, 8)), bool(rng.integers(2)))]),
        lambda: edits.toggle_fermata(score, int(rng.integers(0, 8)) * 960),
        lambda: replace(score, title=f"Title {rng.integers(9)}"),
    ]
    if first is None or len(score.tracks) < 3:
        kinds.append(lambda: edits.add_track(score, "New", program=int(rng.integers(128))))
    if first is not None:
        new = Notes.of(rng.integers(0, 3721, 3), 120, rng.integers(40, 80, 3))
        region = Region(0, 3840, frozenset({first}))
        kinds += [
            lambda: edits.add(score, first, new),
            lambda: edits.clear(score, region),
            lambda: edits.set_track(score, first, muted=bool(rng.integers(2)), volume=64),
            lambda: splice(score, region, [Track(first, "", new)]),
            lambda: replace(score, tracks=score.tracks[::-1]),
        ]
        if len(score.tracks) > 1:
            kinds.append(lambda: edits.remove_track(score, first))
    return kinds[int(rng.integers(len(kinds)))]()

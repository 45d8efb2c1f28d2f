"""A loop whose system is late: what the rule may change of it, what it leaves, and what is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stagehand import Counting, World, setting

from engine import fallback, schedule, stage
from engine.playback import Load
from engine.stage_mutate import by_rule
from engine.staging import Mode, Scene
from models.card import Card, Objective, Task
from models.score import Key, Notes, Region, Score, Track
from models.system import Ask
from models.timebase import PPQ

TUNE = (67, 69, 71, 72, 74, 76, 74, 71)
LOW = (43, 43, 48, 48, 50, 50, 55, 43)
LOCKED = (0, 5)
LOOP = Region(0, 8 * PPQ)
NEVER = 1e6


def document() -> Score:
    """Two bars of quarters in G: a melody, some of whose notes are locked, a bass, and drums."""
    locked = np.isin(np.arange(8), LOCKED)
    melody = Notes.of(np.arange(8) * PPQ, PPQ // 2, TUNE, locked=locked)
    bass = Notes.of(np.arange(8) * PPQ, PPQ // 2, LOW, first_id=100)
    drums = Notes.of(np.arange(8) * PPQ, PPQ // 4, 36, first_id=200)
    return Score(
        (
            Track(0, "Melody", melody, port="x"),
            Track(1, "Bass", bass, channel=1, port="y"),
            Track(2, "Drums", drums, channel=9, port="z"),
        ),
        keys=(Key(0, 1),),
    )


class Of(Counting):
    """A counting system whose card says another kind of music."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.card: Card = replace(Counting.card, objective=Objective(kind, "score", "autonomous"))  # type: ignore[misc]


Perform = Callable[..., World]


@pytest.fixture
def perform() -> Iterator[Perform]:
    """Worlds that mutate the document's loop; closed at the end, when no key may be down."""
    worlds: list[World] = []

    def make(seconds: float = NEVER, kind: str = "polyphony", **more: object) -> World:
        world = World({"counting": Of(kind)}, lambda ask: seconds)
        worlds.append(world)
        score = document()
        world.scene(Scene(score, LOOP))
        for track in score.tracks:
            world.transport(Load(track.id, track.port, schedule.compile(track)))
        world.stage(setting(Mode.MUTATE, **{"passes": 1, "share": 1.0, **more}))
        world.at(1, lambda: world.stage(stage.Go()))
        return world

    yield make
    for world in worlds:
        world.close()
        for port in "xyz":
            world.notes(port)


def passes(world: World, port: str, count: int) -> list[list[int]]:
    """The pitches of each pass; there is one on every beat, or it fails."""
    notes = [n for n in world.notes(port) if n[0] < 8 * count]
    assert [n[0] for n in notes] == [float(i) for i in range(8 * count)]
    assert {n[2] for n in notes} <= {0.5, 0.25}
    return [[p for _, p, _ in notes[8 * i : 8 * i + 8]] for i in range(count)]


def test_a_late_version_is_one_by_rule(perform: Perform) -> None:
    world = perform(voice=0)
    world.run(1 + 8 * 6 + 0.2)
    assert world.view.state == "falling back"
    assert world.view.late == 6
    assert world.view.sentence == "Counting is late: the loop is varied by rule until it answers."
    assert [t.id for t in world.view.take] == [0]
    assert world.view.take[0].notes.locked.tolist() == document().track(0).notes.locked.tolist()
    world.stage(stage.Halt())
    world.run(50)
    heard = passes(world, "x", 6)
    assert heard[0] == list(TUNE)
    assert all(a != b for a, b in pairwise(heard))
    assert len({tuple(p) for p in heard}) >= 5
    for pitches in heard:
        assert [pitches[i] for i in LOCKED] == [TUNE[i] for i in LOCKED]
        assert min(TUNE) <= min(pitches) <= max(pitches) <= max(TUNE)
        assert all((p - 67) % 12 in fallback.MAJOR for p in pitches)
    assert passes(world, "y", 6) == [list(LOW)] * 6
    assert passes(world, "z", 6) == [[36] * 8] * 6


def test_it_changes_as_often_as_is_set(perform: Perform) -> None:
    world = perform(passes=2)
    world.run(1 + 8 * 6 + 0.2)
    assert world.view.late == 3
    world.stage(stage.Halt())
    world.run(50)
    heard = passes(world, "x", 6)
    assert heard[0] == heard[1] != heard[2] == heard[3] != heard[4] == heard[5]


def test_what_comes_late_goes_on_from_the_last_good_version(perform: Perform) -> None:
    world = perform(seconds=0.5 * (8 * 2 + 2), voice=0, passes=1)  # two passes and a bit
    world.run(1 + 8 * 3.5)
    assert world.view.state == "playing"
    assert world.view.sentence == ""
    world.stage(stage.Halt())
    world.run(30)
    heard = passes(world, "x", 3)
    assert heard[1] != heard[2]
    now = [n[1] for n in world.notes("x") if 24 <= n[0] < 28]
    assert now == [TUNE[0], *(p + 1 for p in TUNE[1:4])], "of the model, not of the variation"


@pytest.mark.parametrize(
    ("kind", "more"),
    [("polyphony", {"repeat": True}), ("performance", {})],
    ids=["wished so", "a system that leaves pitches alone"],
)
def test_repeated_as_it_is(perform: Perform, kind: str, more: dict[str, object]) -> None:
    world = perform(kind=kind, **more)
    world.run(1 + 8 * 3 + 0.2)
    assert world.view.late == 3
    assert world.view.sentence == "Counting is late: the loop is repeated until it answers."
    world.stage(stage.Halt())
    world.run(26)
    assert passes(world, "x", 3) == [list(TUNE)] * 3


def test_a_system_of_melodies_leaves_all_voices_but_one(perform: Perform) -> None:
    both, one = perform(kind="polyphony"), perform(kind="melody")
    for world in (both, one):
        world.run(1 + 8 * 2 + 0.2)
    assert [t.id for t in both.view.take] == [0, 1]
    assert len(one.view.take) == 1


def test_an_edit_is_heard_and_the_next_variation_is_of_it(perform: Perform) -> None:
    world = perform(voice=0)
    world.run(1 + 8 + 2)
    score = document()
    melody = score.track(0)
    pitch = melody.notes.pitch.copy()
    pitch[5] = 79  # a locked one
    edited = score.with_track(melody.with_notes(melody.notes.with_(pitch=pitch)))
    world.stage(Scene(edited, LOOP))
    world.run(1 + 8 + 2.1)
    (now,) = world.view.take
    assert now.notes.pitch[4:].tolist() == [74, 79, 74, 71], "the bar edited is the document's"
    assert now.notes.pitch[:4].tolist() != list(TUNE[:4]), "the other one sounds as it did"
    world.run(1 + 8 * 3 + 0.2)
    assert world.view.take[0].notes.pitch[5] == 79


# --- the rule itself --------------------------------------------------------------------------------

rows = st.lists(
    st.tuples(st.integers(0, 31), st.integers(1, 6), st.integers(40, 80), st.booleans()),
    min_size=1,
    max_size=24,
)


def struck_apart(notes: Notes) -> bool:
    """Whether no key is struck while it is down."""
    order = np.lexsort((notes.onset, notes.pitch))
    same = np.diff(notes.pitch[order].astype(int)) == 0
    return not (same & (notes.end[order][:-1] > notes.onset[order][1:])).any()


@settings(max_examples=60, deadline=None)
@given(rows, rows, st.integers(0, 2**32 - 1))
def test_the_rule_keeps_all_but_the_pitches_it_may_change(
    first: list[tuple[int, int, int, bool]], second: list[tuple[int, int, int, bool]], seed: int
) -> None:
    def track(number: int, rows: list[tuple[int, int, int, bool]]) -> Track:
        onset, duration, pitch, locked = (np.array(c) for c in zip(*rows, strict=True))
        made = Notes.of(
            onset * PPQ // 4, duration * PPQ // 4, pitch, locked=locked, first_id=100 * number
        )
        playable = max(n for n in range(1, len(made) + 1) if struck_apart(made.where(np.arange(n))))
        return Track(number, "Voice", made.where(np.arange(playable)), channel=number)

    score = Score((track(0, first), track(1, second)), keys=(Key(0, 0),))
    region = Region(PPQ, 7 * PPQ, frozenset({0}))
    ask = Ask(Task.REGENERATE, score, region, {}, 0)
    varied = by_rule(ask, np.random.default_rng(seed))
    again = by_rule(ask, np.random.default_rng(seed))
    assert varied == again
    if varied is None:
        return
    assert varied.track(1) is score.track(1)
    was, now = (s.track(0).notes for s in (score, varied))
    assert sorted(now.id) == sorted(was.id)
    which = np.argsort(now.id)[np.searchsorted(np.sort(now.id), was.id)]
    for name in ("onset", "duration", "velocity", "locked", "voice"):
        assert np.array_equal(getattr(now, name)[which], getattr(was, name))
    changed = now.pitch[which] != was.pitch
    assert changed.any()
    assert not (changed & ~region.owned(score.track(0))).any()
    sounding = was.sounding(region.start, region.end)
    low, high = was.pitch[sounding].min(), was.pitch[sounding].max()
    assert ((now.pitch[which][changed] >= low) & (now.pitch[which][changed] <= high)).all()
    assert struck_apart(now)


def test_where_no_other_pitch_fits_nothing_is_varied() -> None:
    one = Score((Track(0, "One", Notes.of(np.arange(8) * PPQ, PPQ, 60)),))
    ask = Ask(Task.REGENERATE, one, LOOP.with_tracks({0}), {}, 0)
    assert by_rule(ask, np.random.default_rng(0)) is None

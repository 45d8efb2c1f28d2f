"""The performance, mode by mode, on the real transport in made-up time: what is heard, when, and what is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from stagehand import BEAT, SECOND, Counting, World, setting

from engine import stage
from engine.playback import Panic, Play, Seek, Stop
from engine.staging import LIVE, Mode, Quantum, Scene
from models.card import Task
from models.score import Key, Notes, Region, Score, Track
from models.timebase import PPQ, MeterMap, TempoMap

Perform = Callable[..., World]


@pytest.fixture
def perform() -> Iterator[Perform]:
    """Worlds that are closed at the end, when no key may be down."""
    worlds: list[World] = []

    def make(*, seconds: Any = 0.05, seed: int = 0) -> World:
        wait = seconds if callable(seconds) else lambda ask: seconds
        worlds.append(World({"counting": Counting()}, wait, seed))
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()
        world.notes()


def bar_of(world: World, number: int) -> list[tuple[float, int, float]]:
    """The notes that began in a bar of four beats, counted from 0 where the music began."""
    return [n for n in world.notes() if 4 * number <= n[0] < 4 * number + 4]


# --- stream -----------------------------------------------------------------------------------------


def test_a_stream_has_no_gap_and_every_beat_is_at_its_moment(perform: Perform) -> None:
    world = perform()
    world.stage(setting(Mode.STREAM, bars=2))
    world.at(1, lambda: world.stage(stage.Go()))
    world.run(50)
    assert world.view.state == "playing"
    assert world.view.late == 0
    assert world.view.ahead >= 2
    world.at(50, lambda: world.stage(stage.Halt()))
    world.run(52)
    assert [n[0] for n in world.notes()] == [float(i) for i in range(len(world.notes()))]
    assert len(world.notes()) >= 44
    assert not world.view.running
    # Every bar is another request's, each asked with what came before.
    assert [n[1] for n in world.notes()][::4] == [61 + i for i in range(len(world.notes()[::4]))]


def test_a_model_that_is_too_slow_costs_no_beat(perform: Perform) -> None:
    world = perform(seconds=3.0)  # a bar lasts two seconds
    world.stage(setting(Mode.STREAM, bars=2))
    world.at(1, lambda: world.stage(stage.Go()))
    world.run(90)
    states = {v.state for v in world.views}
    assert "falling back" in states
    assert world.view.late >= 4
    assert any("late" in v.sentence for v in world.views)
    world.stage(stage.Halt())
    world.run(91)
    beats = {n[0] for n in world.notes()}
    made = {n[1] for n in world.notes()}
    assert {float(4 * i) for i in range(15)} <= {b // 4 * 4 for b in beats}  # no bar is silent
    assert all((4 * b) % 1 == 0 for b in beats)  # on the sixteenths, to the nanosecond
    assert {62, 63, 64} <= made  # what came late was used when it came


def test_repeating_instead_of_varying(perform: Perform) -> None:
    world = perform(seconds=lambda ask: 0.05 if ask.region.start < 16 * PPQ else 1e6)
    world.stage(setting(Mode.STREAM, bars=1, repeat=True))
    world.at(1, lambda: world.stage(stage.Go()))
    world.run(60)
    world.stage(stage.Halt())
    world.run(61)
    last, before = bar_of(world, 8), bar_of(world, 7)
    assert [(b - 4, p, d) for b, p, d in last] == before
    assert world.views[-2].late >= 5


def test_varied_bars_differ_and_stay_in_key(perform: Perform) -> None:
    world = perform(seconds=lambda ask: 0.05 if ask.region.start < 12 * PPQ else 1e6)
    world.scene(Scene(Score(keys=(Key(0, 0),))))
    world.stage(setting(Mode.STREAM, bars=1))
    world.at(1, lambda: world.stage(stage.Go()))
    world.run(60)
    world.stage(stage.Halt())
    world.run(61)
    late = [bar_of(world, i) for i in range(6, 12)]
    shapes = [tuple((b % 4, p, d) for b, p, d in bar) for bar in late]
    assert all(a != b for a, b in pairwise(shapes))
    assert len(set(shapes)) >= 4


def test_a_setting_takes_effect_from_the_next_bar(perform: Perform) -> None:
    world = perform(seconds=0.2)
    world.stage(setting(Mode.STREAM, bars=4))
    world.at(1, lambda: world.stage(stage.Go()))
    world.run(22.6)
    heard = world.view.bar
    ahead = world.view.ahead
    assert ahead >= 3
    world.stage(setting(Mode.STREAM, bars=4, register=1, params={"temperature": 0.5}))
    world.run(40)
    world.stage(stage.Halt())
    world.run(41)
    first = next(i for i, n in enumerate(world.notes()) if n[1] >= 73)
    assert world.notes()[first][0] == 4 * heard  # the bar after the one that was heard
    assert all(n[1] >= 73 for n in world.notes()[first:])
    assert world.notes()[first][0] % 4 == 0
    assert any(a.params["temperature"] == 0.5 for a in world.asked)
    assert [n[0] for n in world.notes()] == [float(i) for i in range(len(world.notes()))]
    assert world.views[-2].late == 0


def test_a_setting_may_come_on_the_next_beat(perform: Perform) -> None:
    world = perform(seconds=0.1)
    world.stage(setting(Mode.STREAM, bars=4))
    world.at(1, lambda: world.stage(stage.Go()))
    world.run(20)
    world.stage(setting(Mode.STREAM, bars=4, register=1, quantum=Quantum.BEAT))
    world.run(40)
    world.stage(stage.Halt())
    world.run(41)
    notes = world.notes()
    first = next(n[0] for n in notes if n[1] >= 73)
    began = (next(a for a in world.anchors if a.playing).at - SECOND) / BEAT
    assert 20 < first + began <= 22
    assert [n[0] for n in notes] == [float(i) for i in range(len(notes))]


def test_changes_that_no_model_follows_never_run_dry(perform: Perform) -> None:
    """What was ready is played when nothing newer is."""
    world = perform(seconds=lambda ask: 0.05 if ask.params["temperature"] == 1.0 else 1e6)
    world.stage(setting(Mode.STREAM, bars=4))
    world.at(1, lambda: world.stage(stage.Go()))
    for i in range(10):
        change = setting(Mode.STREAM, bars=4, params={"temperature": 0.1 + i / 10})
        world.at(20 + i / 3, lambda change=change: world.stage(change))  # type: ignore[misc]
    world.run(60)
    world.stage(stage.Halt())
    world.run(61)
    bars = {int(n[0] // 4) for n in world.notes()}
    assert set(range(13)) <= bars


def test_a_stream_joins_a_transport_that_plays_at_the_next_bar(perform: Perform) -> None:
    world = perform()
    world.transport(Play(0))
    world.stage(setting(Mode.STREAM))
    world.at(5.3, lambda: world.stage(stage.Go()))
    world.run(20)
    world.stage(stage.Halt())
    world.run(22)
    assert world.notes()[0][0] == 8.0
    assert not any(isinstance(c, Stop) for c in world.told)  # it was not ours to stop


def test_a_jump_of_the_playhead_costs_a_beat_at_most(perform: Perform) -> None:
    world = perform()
    world.stage(setting(Mode.STREAM, bars=2))
    world.at(1, lambda: world.stage(stage.Go()))
    world.at(12, lambda: world.transport(Seek(40 * PPQ)))
    world.run(30)
    world.stage(stage.Halt())
    world.run(31)
    onsets = np.array([n[0] for n in world.notes()])
    assert np.diff(onsets).max() <= 2
    assert world.view.late == 0
    assert len(onsets) > 24


def test_a_loop_of_the_window_plays_the_stream_on(perform: Perform) -> None:
    world = perform()
    loop = Region(0, 8 * PPQ)
    world.scene(Scene(Score(), loop))
    world.stage(setting(Mode.STREAM, bars=4))
    world.at(1, lambda: world.stage(stage.Go()))
    world.run(50)
    world.stage(stage.Halt())
    world.run(51)
    notes = world.notes()
    assert [n[0] for n in notes] == [float(i) for i in range(len(notes))]
    assert [n[1] for n in notes][::4] == [61 + i for i in range(len(notes[::4]))]


def test_stop_and_play_go_on(perform: Perform) -> None:
    world = perform()
    world.stage(setting(Mode.STREAM, bars=2))
    world.at(1, lambda: world.stage(stage.Go()))
    world.at(12.5, lambda: world.transport(Stop()))
    world.run(16)
    assert "play" in world.view.coming
    world.transport(Play())
    world.run(30)
    assert world.view.state == "playing"
    assert world.view.late == 0
    world.stage(stage.Halt())


def test_a_new_midi_process_plays_on(perform: Perform) -> None:
    world = perform()
    world.stage(setting(Mode.STREAM, bars=2))
    world.at(1, lambda: world.stage(stage.Go()))
    world.run(12.5)
    world.transport(Stop())  # what a process that has ended leaves behind
    count = len(world.told)
    world.stage(stage.Restarted())
    world.run(12.6)
    names = [type(c).__name__ for c in world.told[count:]]
    assert "Load" in names
    assert names.index("Load") < names.index("Play")
    world.run(24)
    assert len(world.view.take[0].notes) > 14


def test_a_long_stream_keeps_small_tables(perform: Perform) -> None:
    world = perform(seconds=0.01)
    world.stage(setting(Mode.STREAM, bars=2))
    world.at(1, lambda: world.stage(stage.Go()))
    world.run(160)
    loads = [c for c in world.told if type(c).__name__ == "Load"]
    assert max(len(c.table) for c in loads) < 60  # type: ignore[union-attr]
    assert len(world.view.take[0].notes) > 150
    assert max(a.score.length for a in world.asked) < 12 * 4 * PPQ
    world.stage(stage.Halt())


# --- answer -----------------------------------------------------------------------------------------


def phrase(world: World, beat: float) -> None:
    """Four quarters, legato."""
    for i, pitch in enumerate((48, 50, 52, 53)):
        world.play(beat + i, pitch, 0.9)


def test_a_phrase_is_answered_on_the_next_bar_and_handed_back(perform: Perform) -> None:
    world = perform()
    world.stage(setting(Mode.ANSWER, bars=2))
    world.stage(stage.Go())
    world.run(2)
    assert world.view.state == "ready"
    phrase(world, 3.3)
    world.run(6)
    assert world.view.state == "listening"
    # The first note starts the transport: it is the first beat of bar 1.
    assert world.anchors[0].tick == 0
    assert abs(world.anchors[0].at - SECOND - 3.3 * BEAT) < 10_000_000
    world.run(13)
    assert world.view.state == "answering"
    world.run(30)
    assert world.view.state == "ready"
    assert world.view.late == 0
    assert [n[0] for n in world.notes()] == [float(i) for i in range(8, 16)]  # bars 3 and 4
    ask = world.asked[-1]
    assert ask.task is Task.CONTINUE
    assert ask.score.tracks[0].notes.onset.tolist() == [0, 960, 1920, 2880]
    # The rest that ended it, a whole bar, is not in it.
    assert ask.score.tracks[0].notes.length == 4 * PPQ
    assert (ask.region.start, ask.region.end) == (4 * PPQ, 12 * PPQ)
    phrase(world, 33.3)  # and once more
    world.run(48)
    assert len(world.notes()) >= 12
    world.stage(stage.Halt())


def test_the_pad_asks_for_the_answer_now(perform: Perform) -> None:
    world = perform()
    world.stage(setting(Mode.ANSWER, bars=1, quantum=Quantum.BEAT))
    world.stage(stage.Go())
    world.run(1)
    world.stage(stage.Pad())
    world.run(1.1)
    assert "phrase first" in world.view.sentence
    phrase(world, 2)
    world.at(5.2, lambda: world.stage(stage.Pad()))  # while the last note is held
    world.run(16)
    assert world.notes()[0][0] == 4.0
    assert len(world.notes()) == 4
    world.stage(stage.Halt())


def test_a_late_answer_begins_by_rule_and_goes_on_as_asked(perform: Perform) -> None:
    world = perform(seconds=5.0)
    world.stage(setting(Mode.ANSWER, bars=4))
    world.stage(stage.Go())
    world.run(14)  # the system is loaded
    phrase(world, 15)
    world.run(25)
    assert world.view.state == "falling back"
    assert "late" in world.view.sentence
    world.run(60)
    notes = world.notes()
    assert notes[0][0] == 8.0
    assert any(n[1] >= 60 for n in notes if n[0] >= 12)  # the model's, from a later bar on
    assert max(n[0] for n in notes) < 24  # four bars, no more
    assert world.view.late >= 1
    assert world.view.state == "ready"
    world.stage(stage.Halt())


def test_a_phrase_that_goes_on_is_not_answered(perform: Perform) -> None:
    world = perform()
    world.stage(setting(Mode.ANSWER, bars=1))
    world.stage(stage.Go())
    for i in range(8):
        world.play(2 + 1.6 * i, 50 + i, 0.9)  # rests shorter than a beat
    world.run(15)
    assert world.view.state == "listening"
    assert not world.notes()
    world.run(24)
    assert len(world.asked[-1].score.tracks[0].notes) == 8
    world.stage(stage.Halt())


# --- harmonise --------------------------------------------------------------------------------------


def test_chords_follow_on_the_next_beat(perform: Perform) -> None:
    world = perform()
    world.stage(setting(Mode.HARMONISE, quantum=Quantum.BEAT))
    world.stage(stage.Go())
    world.run(2)
    world.play(3, 72, 3.9)
    world.play(7, 74, 3.9)
    world.run(20)
    notes = world.notes()
    # The first note is the first beat; its chord comes on the second and is held, not struck again.
    assert [n for n in notes if n[0] < 4] == [(1.0, p, 4.0) for p in (60, 64, 67)]
    # The second comes on beat 5; its chord on the sixth, and ends when the melody has rested for more than a beat.
    later = [n for n in notes if n[0] >= 4]
    assert [n[:2] for n in later] == [(5.0, p) for p in (62, 66, 69)]
    assert {n[2] for n in later} <= {4.0, 5.0}
    assert world.view.state == "ready"
    assert world.view.late == 0
    world.stage(stage.Halt())


def test_a_late_harmony_fits_by_rule(perform: Perform) -> None:
    world = perform(seconds=lambda ask: 0.05 if ask.region.start < 8 * PPQ else 1e6)
    world.scene(Scene(Score(keys=(Key(0, 0),))))
    world.stage(setting(Mode.HARMONISE, quantum=Quantum.BEAT))
    world.stage(stage.Go())
    world.run(2)
    for i, pitch in enumerate((72, 74, 76, 77, 79, 77, 76, 74, 72)):
        world.play(3 + 2 * i, pitch, 1.9)
    world.run(30)
    assert any(v.state == "falling back" for v in world.views)
    melody = {2 * i: p for i, p in enumerate((72, 74, 76, 77, 79, 77, 76, 74, 72))}
    for beat in range(9, 18):
        sounding = [p for b, p, d in world.notes() if b <= beat < b + d]
        assert sounding
        assert all(
            (melody[(beat - 1) // 2 * 2] - p) % 12 not in (1, 2, 6, 10, 11) for p in sounding
        )
        assert all(p % 12 in (0, 2, 4, 5, 7, 9, 11) for p in sounding)
    assert {round(b % 1, 3) for b, _, _ in world.notes()} == {0.0}
    world.stage(stage.Halt())


def test_a_slow_harmoniser_is_used_for_later_beats(perform: Perform) -> None:
    world = perform(seconds=1.2)
    world.stage(setting(Mode.HARMONISE, quantum=Quantum.BEAT))
    world.stage(stage.Go())
    world.run(5)
    world.play(6, 72, 20)
    world.run(30)
    last = [n for n in world.notes() if n[0] + n[2] > 12]
    assert {n[1] for n in last} == {60, 64, 67}  # the system's chord, once it was there
    assert world.view.late <= 6
    world.stage(stage.Halt())


# --- loop and mutate --------------------------------------------------------------------------------


def document() -> Score:
    """Two bars of quarters: a melody, whose first note is locked, and a bass."""
    locked = np.arange(8) == 0
    melody = Notes.of(np.arange(8) * PPQ, PPQ // 2, 72, locked=locked)
    bass = Notes.of(np.arange(8) * PPQ, PPQ // 2, 40, first_id=100)
    return Score((Track(0, "Melody", melody, port="x"), Track(1, "Bass", bass, channel=1)))


def looped(world: World, score: Score, loop: Region | None = None) -> None:
    from engine import schedule
    from engine.playback import Load

    world.scene(Scene(score, loop or Region(0, 8 * PPQ)))
    for track in score.tracks:
        world.transport(Load(track.id, track.port, schedule.compile(track)))


def test_the_loop_changes_every_few_passes_and_locked_notes_stay(perform: Perform) -> None:
    world = perform()
    looped(world, document())
    world.stage(setting(Mode.MUTATE, passes=2, share=1.0, voice=0))
    world.at(1, lambda: world.stage(stage.Go()))
    world.run(1 + 8 * 6 + 0.3)
    take = world.view.take
    assert [t.id for t in take] == [0]
    assert take[0].notes.locked.tolist() == [True] + [False] * 7
    assert len(np.unique(take[0].notes.id)) == 8
    world.stage(stage.Halt())
    world.stage(stage.Go())
    world.run(60)
    world.stage(stage.Halt())
    world.run(61)
    notes = [n[:2] for n in world.notes("x") if n[0] < 48]
    passes = [[p for b, p in notes if 8 * i <= b < 8 * i + 8] for i in range(6)]
    assert passes[0] == passes[1] == [72] * 8
    assert passes[2] == passes[3] == [72] + [73] * 7
    assert passes[4] == passes[5] == [72] + [74] * 7
    assert [n[1] for n in world.notes()] == [40] * len(world.notes())


def test_after_halt_the_document_is_as_it_was(perform: Perform) -> None:
    world = perform()
    looped(world, document())
    world.stage(setting(Mode.MUTATE, passes=1, share=1.0, voice=0))
    world.at(1, lambda: world.stage(stage.Go()))
    world.at(1 + 8 * 3 + 2, lambda: world.stage(stage.Halt()))
    world.run(1 + 8 * 3 + 3)
    assert world.view.take[0].notes.pitch.max() == 75
    world.transport(Play(0))
    world.run(40)
    world.transport(Stop())
    world.run(41)
    after = [n[1] for n in world.notes("x")][-8:]
    assert after == [72] * 8


def test_edits_win_over_mutations_in_their_bars(perform: Perform) -> None:
    world = perform()
    score = document()
    looped(world, score)
    world.stage(setting(Mode.MUTATE, passes=1, share=1.0, voice=0))
    world.at(1, lambda: world.stage(stage.Go()))
    world.run(1 + 8 + 5)
    melody = score.tracks[0]
    pitch = melody.notes.pitch.copy()
    pitch[6] = 60
    edited = score.with_track(melody.with_notes(melody.notes.with_(pitch=pitch)))
    world.stage(replace(Scene(edited), loop=Region(0, 8 * PPQ)))
    world.run(1 + 8 + 5.1)
    now = next(t for t in world.view.take if t.id == 0).notes.pitch.tolist()
    assert now == [72, 73, 73, 73, 72, 72, 60, 72]
    world.stage(stage.Halt())


def test_a_loop_that_leaves_no_choice_is_repeated_while_its_version_is_late(
    perform: Perform,
) -> None:
    world = perform(seconds=12.0)
    looped(world, document())
    world.stage(setting(Mode.MUTATE, passes=1, share=1.0, voice=0))
    world.at(1, lambda: world.stage(stage.Go()))
    world.run(1 + 8 * 8)
    assert any(v.state == "falling back" for v in world.views)
    world.stage(stage.Halt())
    world.run(70)
    notes = world.notes("x")
    assert [n[0] for n in notes] == [float(i) for i in range(len(notes))]
    assert {72, 73} <= {n[1] for n in notes}


def test_without_a_loop_it_says_so(perform: Perform) -> None:
    world = perform()
    world.stage(setting(Mode.MUTATE))
    world.stage(stage.Go())
    world.run(1)
    assert "loop" in world.view.sentence


# --- whatever the mode ------------------------------------------------------------------------------


def test_a_mode_or_system_that_cannot_is_refused_in_a_sentence(perform: Perform) -> None:
    world = perform()
    world.stage(stage.Go())
    world.run(0.1)
    assert "first" in world.view.sentence
    assert not world.view.running


@pytest.mark.parametrize("mode", list(Mode))
def test_in_three_four(perform: Perform, mode: Mode) -> None:
    """Bars are bars of the document's metre; what begins begins on them."""
    world = perform()
    meter = MeterMap(np.zeros(1, np.int64), np.array([3]), np.array([4]))
    score = replace(document(), meter=meter, tempo=TempoMap.constant(120))
    looped(world, score, Region(0, 6 * PPQ))
    world.transport(Play(0))
    world.stage(setting(mode, bars=1, passes=1))
    world.stage(stage.Go())
    for i in range(3):
        world.play(3 + i, 70, 0.8)
    world.run(26)
    assert world.view.beats == 3
    assert world.view.running
    if mode is not Mode.MUTATE:
        live = [n for n in world.notes() if n[1] != 40]
        assert live
        if mode is not Mode.HARMONISE:
            assert live[0][0] % 3 == 0
    world.stage(stage.Halt())


def test_from_one_mode_to_another_while_it_plays(perform: Perform) -> None:
    world = perform()
    looped(world, document())
    world.stage(setting(Mode.STREAM))
    world.stage(stage.Go())
    order = [Mode.ANSWER, Mode.HARMONISE, Mode.STREAM, Mode.MUTATE, Mode.STREAM, Mode.ANSWER]
    for i, mode in enumerate(order):
        world.at(10 + 9.7 * i, lambda mode=mode: world.stage(setting(mode, passes=1)))  # type: ignore[misc]
        phrase(world, 11 + 9.7 * i)
    world.run(80)
    assert world.view.running
    assert "ended" not in world.view.sentence
    world.stage(stage.Halt())


def test_panic_and_floods_leave_it_playing(perform: Perform) -> None:
    world = perform()
    world.stage(setting(Mode.HARMONISE))
    world.stage(stage.Go())
    rng = np.random.default_rng(2)
    for beat in rng.uniform(2, 6, 400):
        world.play(float(beat), int(rng.integers(30, 100)), 0.01)
    world.at(5, lambda: world.transport(Panic()))
    world.run(20)
    assert world.view.running
    assert "ended" not in world.view.sentence
    assert len(world.asked) < 60
    world.stage(stage.Halt())


def test_parts_sent_ahead_of_time_are_laid_ahead_of_time(perform: Perform) -> None:
    world = perform()
    part = Track(LIVE, "Lead", port="a", offset=-200)
    world.transport(Play(0))
    world.stage(setting(Mode.HARMONISE, quantum=Quantum.BEAT, parts=(part,)))
    world.stage(stage.Go())
    for i in range(8):
        world.play(4 + i, 72 + 2 * (i % 2), 0.9)
    world.run(20)
    onsets = [n[0] for n in world.notes("a")]
    assert {round(b % 1, 2) for b in onsets} == {0.6}  # 200 ms before the beat, each of them
    world.stage(stage.Halt())


def test_a_key_that_lost_its_input_does_not_hold_up_the_next_phrase(perform: Perform) -> None:
    world = perform()
    world.stage(setting(Mode.ANSWER, bars=1))
    world.stage(stage.Go())
    world.play(2, 40, 1000)
    world.at(4, lambda: world.stage(stage.Pad()))
    world.run(20)
    assert world.view.state == "ready"
    before = len(world.notes())
    phrase(world, 21)
    world.run(36)
    assert len(world.notes()) > before
    world.stage(stage.Halt())


def test_the_same_seed_plays_the_same(perform: Perform) -> None:
    def once() -> list[tuple[float, int, float]]:
        world = perform(seconds=3.0, seed=5)
        world.stage(setting(Mode.STREAM, bars=2, density=1.5))
        world.stage(stage.Go())
        world.run(40)
        world.stage(stage.Halt())
        world.run(41)
        return world.notes()

    assert once() == once()


def test_parts_play_where_they_are_told(perform: Perform) -> None:
    world = perform()
    parts = (Track(LIVE, "Lead", port="a", channel=3), Track(LIVE + 1, "Low", port="b", channel=4))
    world.stage(setting(Mode.STREAM, parts=parts))
    world.stage(stage.Go())
    world.run(20)
    assert {m[0] & 0x0F for _, m in world.ports.ports["a"].sent if m[0] & 0xE0 == 0x80} == {3}
    world.stage(stage.Halt())
    world.run(21)
    assert world.notes("a")
    assert {t.id for t in world.view.take} == {LIVE, LIVE + 1}

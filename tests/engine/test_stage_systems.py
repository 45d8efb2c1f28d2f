"""Every system in every mode its card offers: what can be asked of all of them, and what some of them play."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from stagehand import World

from engine import schedule, stage
from engine.playback import Load
from engine.stage_asks import Passage, accompanying, continuing, mutating, task_for, values, varying
from engine.stage_time import Timeline
from engine.staging import Mode, Scene, Setting, modes
from models import catalogue
from models.card import Card, Task
from models.score import Key, Notes, Region, Score, Track, UserError
from models.timebase import PPQ, MeterMap, TempoMap

CASES = [pytest.param(c, m, id=f"{c.id}-{m}") for c in catalogue.cards() for m in modes(c)]
HEARD = (
    ("markov", Mode.STREAM),
    ("launchpad_lstm", Mode.ANSWER),
    ("celtic", Mode.STREAM),
    ("blues_c", Mode.STREAM),
    ("time_windowed", Mode.ANSWER),
    ("music_vae_2bar", Mode.ANSWER),
    ("music_vae_2bar", Mode.MUTATE),
    ("performance_rnn", Mode.ANSWER),
    ("blstm_chords", Mode.HARMONISE),
    ("mini_bach", Mode.HARMONISE),
    ("rbm_c", Mode.HARMONISE),
    ("blues_mc", Mode.HARMONISE),
    ("deep_bach", Mode.MUTATE),
)
BAR = 4 * PPQ


def timeline(numerator: int = 4) -> tuple[Timeline, Scene]:
    meter = MeterMap(np.zeros(1, np.int64), np.array([numerator]), np.array([4]))
    score = Score(tempo=TempoMap.constant(120), meter=meter, keys=(Key(0, 1),))
    return Timeline(score.tempo, score.meter), Scene(score)


def melody(first: int = 0) -> Notes:
    return Notes.of(first + np.arange(8) * PPQ, PPQ, (67, 69, 71, 72, 74, 72, 71, 69))


@pytest.mark.parametrize("numerator", [4, 3])
@pytest.mark.parametrize(("card", "mode"), CASES)
def test_what_is_asked_is_a_short_piece_that_starts_with_a_bar(
    card: Card, mode: Mode, numerator: int
) -> None:
    line, scene = timeline(numerator)
    setting = Setting(mode, card.id, density=1.0, register=1)
    bar = numerator * PPQ
    start = 40 * bar
    phrase = melody(start - 8 * PPQ)
    task = task_for(card, setting)
    assert task in card.tasks
    if mode is Mode.MUTATE:
        score = replace(scene.score, tracks=(Track(0, "Melody", melody()),))
        rng = np.random.default_rng(0)
        order = mutating(card, setting, score, Region(0, 8 * PPQ), rng)
        locked = order.asks[0][0].score.tracks[0].notes.locked
        assert locked.sum() == 6  # a quarter of the notes may change
        return
    if task is Task.CONTINUE:
        order = continuing(card, setting, line, scene, {"Phrase": phrase}, start, start + bar, 1)
    elif task is Task.ACCOMPANY:
        order = accompanying(card, setting, line, scene, phrase, {}, start, start + PPQ, 1)
    else:
        order = varying(card, setting, line, scene, phrase, start, start + bar, 1)
    metres = set()
    for ask, origin in order.asks:
        assert ask.task in card.tasks
        assert ask.score.length <= 26 * BAR
        assert ask.region.end > ask.region.start >= 0
        assert origin + ask.region.start <= start < origin + ask.region.end
        assert ask.params == card.values(ask.params)
        ids = np.concatenate([t.notes.id for t in ask.score.tracks])
        assert len(np.unique(ids)) == len(ids)
        metres.add(ask.score.meter.at(0))
    assert (4, 4) in metres  # as a last resort at least, for those who know no other


def test_density_and_register_are_the_systems_own_where_it_has_them() -> None:
    setting = Setting(Mode.STREAM, "hexahedria", density=2.0, register=-1)
    assert values(catalogue.card("hexahedria"), setting, Task.CONTINUE)["density"] == 2.0
    blues = values(catalogue.card("blues_c"), replace(setting, system="blues_c"), Task.CONTINUE)
    assert blues["register"] == 36


def test_a_knob_out_of_range_stops_nothing() -> None:
    setting = Setting(Mode.STREAM, "markov", params={"temperature": 99.0, "nonsense": 1})
    card = catalogue.card("markov")
    assert values(card, setting, Task.CONTINUE) == card.values()


def test_nothing_to_mutate_is_said() -> None:
    card = catalogue.card("deep_bach")
    with pytest.raises(UserError, match="loop"):
        mutating(
            card,
            Setting(Mode.MUTATE, "deep_bach"),
            Score(),
            Region(0, BAR),
            np.random.default_rng(0),
        )


def test_a_passage_is_cut_and_moved() -> None:
    passage = Passage(0, 2 * BAR, {"a": Notes.of([0, BAR - PPQ], [PPQ, 2 * PPQ], [60, 62])})
    second = passage.cut(BAR, 2 * BAR)
    assert second.lines["a"].onset.tolist() == [BAR]
    assert second.lines["a"].duration.tolist() == [PPQ]
    assert second.moved(BAR).lines["a"].onset.tolist() == [2 * BAR]


# --- with their weights -----------------------------------------------------------------------------


class Loaded(dict[str, Any]):
    """Systems with their shipped weights, each loaded when it is first asked for."""

    def __missing__(self, system_id: str) -> Any:
        self[system_id] = catalogue.load(system_id)
        return self[system_id]


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    import torch

    torch.set_num_threads(1)
    return Loaded()


@pytest.mark.parametrize(("system", "mode"), HEARD)
def test_it_plays_its_mode(loaded: Loaded, system: str, mode: Mode) -> None:
    world = World(loaded, lambda ask: 0.05)
    lines = (
        Track(0, "Soprano", melody()),
        Track(1, "Bass", Notes.of(np.arange(8) * PPQ, PPQ, 43, first_id=50), channel=1),
    )
    tracks = lines if mode is Mode.MUTATE else ()
    score = Score(tracks, keys=(Key(0, 1),))
    world.scene(Scene(score, Region(0, 2 * BAR) if tracks else None))
    for track in tracks:
        world.transport(Load(track.id, "document", schedule.compile(track)))
    params = {"iterations": 1} if system == "deep_bach" else {}
    world.stage(Setting(mode, system, params, bars=2, passes=1, share=0.5))
    world.stage(stage.Go())
    for i, pitch in enumerate((67, 69, 71, 72, 74, 72, 71)):
        world.play(2 + i, pitch, 0.95)
    world.run(22)
    assert world.view.late == 0
    assert world.view.running
    assert world.view.sentence == ""
    take = world.view.take
    world.stage(stage.Halt())
    world.run(23)
    made = world.notes()
    world.close()
    world.notes()
    if mode is Mode.MUTATE:
        assert take
        before = {t.id: t.notes for t in tracks}
        changed = [n for t in take for n in t.notes.id if n not in before[t.id].id]
        assert changed or any((t.notes.pitch != before[t.id].pitch).any() for t in take)
        return
    assert made
    assert all(0 <= p < 128 for _, p, _ in made)
    if mode is Mode.ANSWER:
        assert made[0][0] >= 8
        assert max(b + d for b, _, d in made) <= 20 + 1e-6  # two bars, cut there

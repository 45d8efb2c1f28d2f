"""Answers that sound: what a system goes on from after the rest that ends a phrase, and that it comes in at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from stagehand import Counting, World, setting

from engine import bench_answers, stage
from engine.playback import Play
from engine.stage_asks import answering, continuing, led_up
from engine.stage_time import Timeline
from engine.staging import Mode, Scene, Setting
from models import catalogue
from models.card import Card
from models.score import EMPTY, Notes, Score, Track
from models.system import Ask, Context, Proposal
from models.timebase import PPQ

BAR = 4 * PPQ
LINE = Notes.of([0, PPQ, 3 * PPQ], [PPQ, PPQ // 2, PPQ // 2], [60, 62, 64])
"""Ends half a beat before the bar does, and has a rest inside."""


@pytest.mark.parametrize(
    ("start", "bar", "moved", "last"),
    [
        (3 * PPQ + PPQ // 2, BAR, 0, PPQ // 2),  # at once
        (4 * PPQ, BAR, 0, PPQ),
        (7 * PPQ, BAR, 0, 4 * PPQ),
        (8 * PPQ, BAR, BAR, PPQ),
        (17 * PPQ, BAR, 3 * BAR, 2 * PPQ),
        (12 * PPQ, 3 * PPQ, 6 * PPQ, 3 * PPQ),
    ],
)
def test_a_phrase_leads_up_to_its_answer(start: int, bar: int, moved: int, last: int) -> None:
    led = led_up(LINE, start, bar)
    assert led.onset.tolist() == (LINE.onset + moved).tolist()  # as far on in its bars as before
    assert led.duration.tolist() == [PPQ, PPQ // 2, last]
    assert led.length == start


def test_of_a_chord_that_ends_a_phrase_all_notes_are_held() -> None:
    chords = Notes.of([0, 0, PPQ, PPQ], [PPQ, 2 * PPQ, PPQ, PPQ // 2], [60, 64, 62, 65])
    assert led_up(chords, 3 * PPQ, BAR).end.tolist() == [PPQ, 3 * PPQ, 3 * PPQ, PPQ + PPQ // 2]
    assert not len(led_up(EMPTY, 3 * PPQ, BAR))


@pytest.mark.parametrize(
    "system", ["performance_rnn", "bi_axial", "hexahedria", "time_windowed", "markov"]
)
def test_an_answer_is_asked_for_without_the_rest_and_at_once(system: str) -> None:
    card, score = catalogue.card(system), Score()
    timeline, scene = Timeline(score.tempo, score.meter), Scene(score)
    setup = card, Setting(Mode.ANSWER, system), timeline, scene
    order = answering(*setup, LINE, 4 * BAR, 5 * BAR, 0)
    ask = order.asks[0][0]
    assert ask.score.length == ask.region.start == BAR
    assert (ask.params.get("attacca") is True) == (system != "markov")
    stream = continuing(*setup, {"Phrase": LINE}, BAR, 2 * BAR, 0)
    assert stream.asks[0][0].params == card.values()


def test_a_stream_goes_on_without_the_rest_before_it() -> None:
    world = World({"counting": Counting()})
    world.transport(Play(0))
    for i in range(3):
        world.play(i, 67 + i, 0.9)
    world.at(9, lambda: world.stage(setting(Mode.STREAM)))
    world.at(9.1, lambda: world.stage(stage.Go()))
    world.run(14)
    world.stage(stage.Halt())
    world.run(15)
    world.close()
    ask = next(a for a in world.asked if a.score.tracks[0].notes.pitch[0] == 67)
    before = ask.score.tracks[0].notes
    assert (ask.region.start - before.onset).tolist() == [4 * PPQ, 3 * PPQ, 2 * PPQ]
    assert before.length == ask.region.start


class Resting:
    """A system that rests so many ticks at the start of what it is asked for, then plays to the end."""

    card: ClassVar[Card] = Counting.card

    def __init__(self, rest: int) -> None:
        self._rest = rest

    def generate(self, ask: Ask, context: Context) -> Iterator[Proposal]:
        start, end = ask.region.start + self._rest, ask.region.end
        notes = Notes.of(start, end - start, 60) if start < end else EMPTY
        yield Proposal(0, ask.region, (Track(0, "Phrase", notes),), final=True)


@pytest.mark.parametrize(
    ("rest", "silent", "entry"), [(0, 0, 100), (PPQ - 1, 0, 100), (PPQ, 0, 0), (BAR, 100, 0)]
)
def test_silence_and_late_entries_are_counted(rest: int, silent: float, entry: float) -> None:
    resting: Any = Resting(rest)
    tally = bench_answers.answered(resting, [LINE], (0, PPQ), 2)
    assert len(tally.entries) == 4
    figures = tally.figures()
    assert (figures["silent_percent"], figures["entry_percent"]) == (silent, entry)


def test_the_phrases_of_the_figure() -> None:
    heard = bench_answers.phrases()
    assert len(heard) == 20
    assert all(0 <= p.onset.min() < BAR and p.length <= 2 * BAR for p in heard)


@pytest.mark.parametrize("system", ["performance_rnn", "bi_axial", "time_windowed"])
def test_answers_come_in_at_once_however_long_the_rest(system: str) -> None:
    loaded = catalogue.load(system)
    heard = bench_answers.phrases()[::4]
    tally = bench_answers.answered(loaded, heard, (2 * PPQ, BAR + PPQ), 1)
    assert tally.entries == [0.0] * 10

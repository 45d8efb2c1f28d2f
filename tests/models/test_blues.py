"""The blues: its units, the rule that composes, where a score stands in the form, and both systems."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models import catalogue
from models.card import Task
from models.representations import blues, blues_stage
from models.representations.blues import BAR, FORM, FORMS, REST, STEP
from models.score import Key, Notes, Region, Score, Track, UserError
from models.strategies.block_lstm import BlockLSTM, Stepper
from models.system import Ask, Context, Proposal
from models.timebase import MeterMap

TICKS = BAR * STEP


@pytest.fixture(scope="module")
def blues_c() -> Any:
    torch.set_num_threads(1)
    return catalogue.load("blues_c")


def made(system: Any, ask: Ask) -> Score:
    steps = system.generate(ask, Context(np.random.default_rng(ask.seed)))
    (proposal,) = [s for s in steps if isinstance(s, Proposal)]
    return proposal.apply(ask.score)


def ask(
    system: Any, task: Task, score: Score, start: int, end: int, *ids: int, **values: Any
) -> Ask:
    """From bar `start` to bar `end`, both counted from 0, the last left out."""
    region = Region(start * TICKS, end * TICKS, frozenset(ids))
    return Ask(task, score, region, system.card.values(values), 1)


def chords(table: Any, tonic: int, late: int = 0, track: int = 7) -> Track:
    """A chord struck on every eighth, those off the beat `late` ticks late."""
    rows = [
        (t * STEP + late * (t % 2), 50 + (int(p) + tonic - 50) % 12)
        for t, chord in enumerate(table)
        for p in np.flatnonzero(chord)
    ]
    onset, pitch = np.array(rows).T
    return Track(track, "Piano", Notes.of(onset, STEP - late, pitch))


def units(score: Score, track: int, tonic: int) -> Any:
    notes = score.track(track).notes
    steps = -(-notes.length // TICKS) * BAR
    return np.roll(blues_stage.chord_units(notes, 0, steps), -tonic, 1)


# --- units and the rule --------------------------------------------------------------------------


def test_the_scales_of_the_blues() -> None:
    def names(chord: str) -> list[int]:
        return np.flatnonzero(blues.scale(blues.units(blues.CHORDS[chord]))).tolist()

    assert names("C7") == [0, 3, 4, 7, 10]
    assert names("F7") == [0, 3, 5, 7, 9]
    assert names("G7") == [2, 5, 7, 10, 11]


@pytest.mark.parametrize("name", FORMS)
def test_forms_have_twelve_bars_and_are_told_apart_by_their_first_chord(name: str) -> None:
    assert blues.form(name).shape == (FORM, 12)
    starts = {blues.form(other)[0].tobytes() for other in FORMS}
    assert len(starts) == len(FORMS)


def test_the_rule_keeps_to_the_scale_the_beat_and_the_phrase() -> None:
    choruses = blues.joined([blues.made(5, 12), blues.wandering(6, 12)])
    assert blues.in_scale(choruses.melody, choruses.chords).all()
    begins = np.diff(choruses.melody, prepend=-9) != 0
    strong = begins & (np.arange(FORM) % 4 == 0) & (choruses.melody != REST)
    strong[:, -BAR:] = False  # but for the last note, which goes home
    row, step = np.nonzero(strong)
    assert choruses.chords[row, step, choruses.melody[row, step] % 12].all()
    assert 0.05 < (choruses.melody == REST).mean() < 0.35
    assert len(np.unique(choruses.melody, axis=0)) == len(choruses)


def test_the_commonest_forms_are_found_in_order() -> None:
    forms = np.stack([blues.form(name) for name in FORMS])
    mixed = blues.joined([blues.wandering(1, 5), blues.made(1, 6)])
    assert (blues.commonest(mixed) == forms).all()
    alone = blues.made(1, 1)
    assert (blues.commonest(alone) == forms[:1]).all()


# --- blocks --------------------------------------------------------------------------------------


def test_cells_of_a_block_share_its_gates_and_steps_are_what_torch_does() -> None:
    torch.manual_seed(3)
    lstm = BlockLSTM(5, blocks=3, cells=2)
    weight, bias = lstm.whole()
    for gate in (0, 1, 3):
        rows = weight.detach().numpy()[gate * 6 : gate * 6 + 6]
        assert (rows[::2] == rows[1::2]).all()
    assert bias.shape == (24,)
    x = np.random.default_rng(0).standard_normal((9, 5)).astype(np.float32)
    whole, _ = lstm(torch.from_numpy(x)[None])
    step = Stepper(lstm)
    assert np.allclose(np.stack([step(row) for row in x]), whole[0].detach().numpy(), atol=1e-5)


# --- where a score stands ------------------------------------------------------------------------


@pytest.mark.parametrize(("late", "tonic", "bar"), [(0, 0, 0), (160, 5, 0), (160, 10, 7)])
def test_key_form_and_bar_are_heard_swung_or_not(late: int, tonic: int, bar: int) -> None:
    forms = np.stack([blues.form(name) for name in FORMS])
    played = np.roll(forms[1], -bar * BAR, 0)
    heard = blues_stage.chord_units(chords(played, tonic, late).notes, 0, FORM)
    assert (np.roll(heard, -tonic, 1) == played).all()
    assert blues_stage.fit(heard, forms, None) == (tonic, 1, bar)


def test_a_short_chord_rings_until_the_next_and_a_line_is_no_chord() -> None:
    notes = Notes.of([0, 0, 0, 4 * STEP], 200, [60, 64, 67, 62])
    heard = blues_stage.chord_units(notes, 0, 6)
    assert np.flatnonzero(heard.all(0)).tolist() == [0, 4, 7]
    line = Notes.of([STEP // 8, 2 * STEP], STEP, [61, 62])
    assert blues_stage.line_pitches(line, 0, 4).tolist() == [61, REST, 62, REST]


def test_a_users_choruses_come_back_from_a_score_in_another_key() -> None:
    chorus = blues.made(4, 2)
    tonic = 2
    line = np.concatenate(chorus.melody)
    first = np.flatnonzero(np.diff(line, prepend=-9))
    length = np.diff(np.append(first, len(line)))
    sounds = line[first] != REST
    melody = Track(
        1,
        "Sax",
        Notes.of(first[sounds] * STEP, length[sounds] * STEP, line[first][sounds] + 60 + tonic),
    )
    score = Score((melody, chords(np.concatenate(chorus.chords), tonic)), keys=(Key(0, 2),))
    found = blues_stage.gathered([score], needs_melody=True)
    assert (found.chords == chorus.chords).all()
    assert (found.melody == chorus.melody).all()


def test_a_corpus_without_twelve_bars_is_refused(blues_c: Any) -> None:
    short = Score((chords(blues.form("plain")[:BAR], 0),))
    waltz = Score(
        (chords(blues.form("plain"), 0),), meter=MeterMap(np.zeros(1), np.array([3]), np.array([4]))
    )
    with pytest.raises(UserError, match="twelve bars"):
        blues_c.corpus([(Path("short.mid"), short), (Path("waltz.mid"), waltz)])


# --- Blues_C -------------------------------------------------------------------------------------


def test_blues_c_regenerates_both_forms_from_their_first_chord(blues_c: Any) -> None:
    assert all(right.all() for right in blues_c.rights())
    figures = blues_c.evaluate(None, Context(np.random.default_rng(0)))
    assert figures["steps_right_of_96_bebop"] == figures["steps_right_of_96_plain"] == FORM


def test_blues_c_writes_the_form_asked_for_in_the_key_asked_for(blues_c: Any) -> None:
    wanted = ask(blues_c, Task.CREATE, Score(), 0, 12, form="plain", key="G", ending=False)
    score = made(blues_c, wanted)
    assert (units(score, 0, 7) == blues.form("plain")).all()
    assert score.keys[0].tonic == 7
    closed = made(blues_c, replace(wanted, params={**wanted.params, "ending": True}))
    last = closed.tracks[0].notes.where(closed.tracks[0].notes.onset >= 11 * TICKS)
    assert sorted(set((last.pitch % 12).tolist())) == [2, 5, 7, 11]  # G7
    assert (last.duration == TICKS).all()


def test_blues_c_goes_on_from_the_bar_where_the_music_stands(blues_c: Any) -> None:
    played = np.roll(blues.form("bebop"), -4 * BAR, 0)[
        : 6 * BAR
    ]  # bars 5 to 10 of the form, in E-flat
    score = Score((chords(played, 3),))
    after = made(blues_c, ask(blues_c, Task.CONTINUE, score, 6, 20, 7))
    wanted = np.roll(np.tile(blues.form("bebop"), (2, 1)), -4 * BAR, 0)[: 20 * BAR]
    assert (units(after, 7, 3) == wanted).all()


def test_swing_is_late_off_the_beat_alone_and_comping_strikes(blues_c: Any) -> None:
    wanted = ask(
        blues_c, Task.CREATE, Score(), 0, 12, swing=160, comping="charleston", sevenths=False
    )
    notes = made(blues_c, wanted).tracks[0].notes
    late = notes.onset % (2 * STEP)
    assert set(late.tolist()) == {0, STEP + 160}
    assert (np.unique(notes.onset, return_counts=True)[1] <= 4).all()
    triads = [notes.pitch[notes.onset == 0], notes.pitch[notes.onset == TICKS]]
    assert [sorted((t % 12).tolist()) for t in triads] == [[0, 4, 7], [0, 5, 9]]


@pytest.mark.parametrize(
    ("task", "score", "ids", "text"),
    [
        (Task.CONTINUE, Score(), (), "nothing before"),
        (Task.CREATE, Score(meter=MeterMap(np.zeros(1), np.array([3]), np.array([4]))), (), "4/4"),
        (Task.CREATE, Score((Track(0, "Drums", channel=9),)), (0,), "drum"),
        (Task.CREATE, Score((Track(0, "A"), Track(1, "B"))), (0, 1), "mark one"),
        (
            Task.CREATE,
            Score((Track(0, "Flute", Notes.of(np.arange(8) * STEP, STEP, 72)),)),
            (0,),
            "is empty",
        ),
    ],
)
def test_what_has_no_place_in_the_form_is_refused(
    blues_c: Any, task: Task, score: Score, ids: tuple[int, ...], text: str
) -> None:
    with pytest.raises(UserError, match=text):
        made(blues_c, ask(blues_c, task, score, 4, 8, *ids))

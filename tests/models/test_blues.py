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
from models.tunes import Tune

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
    stepper = Stepper(lstm)
    made = []
    for t, row in enumerate(x):
        stepper = stepper.twin() if t == 4 else stepper
        stepper.heard[:] = row
        made.append(stepper.step().copy())
    assert np.allclose(np.stack(made), whole[0].detach().numpy(), atol=1e-5)


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


def test_a_tune_without_chords_stands_over_the_plain_form() -> None:
    quarters = 2 * STEP * np.arange(48)
    pitch = 62 + np.resize([0, 3, 5, 7], 48)
    bars = np.arange(13) * TICKS
    tune = Tune("own/a", quarters, np.full(48, 2 * STEP), pitch, bars, np.full(12, 4004), 2, 0)
    (chorus,) = blues_stage.choruses(blues_stage.of_tune(tune))
    assert (chorus[0] == np.repeat(np.resize([0, 3, 5, 7], 48), 2)).all()
    assert (chorus[1] == blues.form("plain")).all()


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


# --- Blues_MC ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def blues_mc() -> Any:
    torch.set_num_threads(1)
    return catalogue.load("blues_mc")


def sung(score: Score, track: int, chords: Any, tonic: int, start: int = 0) -> tuple[Any, Any]:
    """Melody units from bar `start` on, and which of them are in the scale of their chord [steps, 12]."""
    pitch = blues_stage.line_pitches(score.track(track).notes, 0, len(chords))[start * BAR :]
    unit = np.where(pitch == REST, REST, (pitch - tonic) % 12)
    return unit, blues.in_scale(unit, chords[start * BAR :])[unit != REST]


def test_blues_mc_keeps_the_form_and_learnt_the_scales(blues_mc: Any) -> None:
    assert all(right.all() for right in blues_mc.rights())
    figures = blues_mc.evaluate(blues.made(9, 16), Context(np.random.default_rng(0)))
    assert figures["steps_right_of_96_bebop"] == figures["steps_right_of_96_plain"] == FORM
    assert figures["cross_entropy_melody_nats"] < 1.8
    assert figures["in_scale_form"] > 0.95
    assert figures["in_scale_any_chords"] > 0.85


def test_two_choruses_from_nothing_have_a_melody_with_breaths_and_an_end(blues_mc: Any) -> None:
    score = made(blues_mc, ask(blues_mc, Task.CREATE, Score(), 0, 24, key="A"))
    assert [t.name for t in score.tracks] == ["Chords", "Melody"]
    wanted = np.tile(blues.form("bebop"), (2, 1))
    wanted[-BAR:] = wanted[0]
    assert (units(score, 0, 9) == wanted).all()
    unit, fits = sung(score, 1, wanted, 9)
    assert fits.mean() > 0.9
    assert 0.05 < (unit == REST).mean() < 0.5
    assert len(set(unit.tolist())) > 5
    assert unit[-BAR] == 0  # the tonic, at the beginning of the last bar
    assert score.track(1).notes.length < 24 * TICKS


def test_a_melody_fits_chords_beside_the_form_in_another_key_and_leaves_them(blues_mc: Any) -> None:
    names = ["G7", "Dm7", "F7", "C7"] * 3
    table = blues.progression(" | ".join(names))
    piano = chords(table, 4)
    score = Score((piano, Track(3, "Bass", Notes.of([0], TICKS, 40))), keys=(Key(0, 4),))
    after = made(blues_mc, ask(blues_mc, Task.ACCOMPANY, score, 0, 12))
    assert after.track(7) is piano
    _, fits = sung(after, 8, table, 4)
    assert len(fits) > 40
    assert fits.mean() > 0.85


def test_a_melody_is_rewritten_between_bars_that_stand(blues_mc: Any) -> None:
    score = made(blues_mc, ask(blues_mc, Task.CREATE, Score(), 0, 12))
    wanted = ask(blues_mc, Task.REGENERATE, score, 4, 8, 0, 1)
    after = made(blues_mc, wanted)
    assert after.track(0) is score.track(0)
    old, new = score.track(1).notes, after.track(1).notes
    outside = ~old.inside(4 * TICKS, 8 * TICKS)
    assert new.where(new.having(old.id[outside])) == old.where(outside)
    assert new != old


def test_it_goes_on_in_time_with_what_it_heard(blues_mc: Any) -> None:
    score = made(blues_mc, ask(blues_mc, Task.CREATE, Score(), 0, 12, ending=False))
    after = made(blues_mc, ask(blues_mc, Task.CONTINUE, score, 12, 18, 0, 1))
    assert (units(after, 0, 0) == np.tile(blues.form("bebop"), (2, 1))[: 18 * BAR]).all()
    assert after.track(1).notes.length > 15 * TICKS
    alone = made(blues_mc, ask(blues_mc, Task.CONTINUE, score, 12, 18, 1))
    assert alone.track(0) is score.track(0)
    assert alone.track(1).notes.length > 15 * TICKS


def test_candidates_differ_and_zero_is_the_likeliest(blues_mc: Any) -> None:
    wanted = replace(ask(blues_mc, Task.CREATE, Score(), 0, 12), count=3)
    found = [
        s
        for s in blues_mc.generate(wanted, Context(np.random.default_rng(1)))
        if isinstance(s, Proposal)
    ]
    lines = {p.tracks[1].notes.pitch.tobytes() for p in found}
    assert len(lines) == len({p.tracks[0].notes.pitch.tobytes() for p in found}) == 3
    cold = [
        made(blues_mc, ask(blues_mc, Task.CREATE, Score(), 0, 12, temperature=0.0)) for _ in "ab"
    ]
    assert cold[0].track(1).notes == cold[1].track(1).notes


def test_each_unit_is_drawn_as_often_as_it_is_likely() -> None:
    from models.systems.blues_mc import drawn

    likely = np.zeros(blues.MELODY, np.float32)
    likely[[2, 5]] = 0.5, 0.3
    noise = (np.arange(1000) + 0.5) / 1000
    made = [drawn(likely, 1.0, float(n)) for n in noise]
    assert [made.count(u) for u in (2, 5, REST)] == pytest.approx([500, 300, 200], abs=2)
    assert drawn(likely, 0.0, 0.99) == 2


@pytest.mark.parametrize(
    ("task", "tracks", "ids", "text"),
    [
        (
            Task.ACCOMPANY,
            (Track(0, "Flute", Notes.of([0], 9, 72)),),
            (),
            "No other track has chords",
        ),
        (Task.REGENERATE, (chords(blues.form("plain"), 0),), (7,), "never rewrites chords"),
        (Task.REGENERATE, (Track(0, "A"), Track(1, "B")), (0, 1), "one melody"),
        (Task.CONTINUE, (Track(0, "Melody"),), (0,), "nothing before"),
    ],
)
def test_what_blues_mc_cannot_is_refused(
    blues_mc: Any, task: Task, tracks: tuple[Track, ...], ids: tuple[int, ...], text: str
) -> None:
    with pytest.raises(UserError, match=text):
        made(blues_mc, ask(blues_mc, task, Score(tracks), 4, 8, *ids))

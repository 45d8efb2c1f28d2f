"""CONCERT: vectors in which notes that sound alike are near, places in the bar, and what it composes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_melody import tune, walk

from models import catalogue, training
from models.card import Task
from models.representations import concert, note_step, placed
from models.representations.placed import LOWEST, PITCHES, SILENT, SYMBOLS, TIMES, TWELFTH
from models.score import Key, Notes, Region, Score, Track, UserError
from models.system import Ask, Context, Proposal
from models.systems.concert import CARD, Net, Shape, Stepper, System
from models.timebase import PPQ, SIXTEENTH, MeterMap

BAR = 4 * PPQ
VECTORS = concert.pitch_vectors()


@pytest.fixture(scope="module")
def system() -> Any:
    torch.set_num_threads(1)
    return catalogue.load("concert")


def made(system: Any, ask: Ask) -> list[Notes]:
    context = Context(np.random.default_rng(ask.seed))
    found = [p for p in system.generate(ask, context) if isinstance(p, Proposal)]
    return [p.tracks[0].notes for p in found if p.final]


def seeded(pitches: list[int], bars: int = 4, **values: Any) -> Ask:
    """A request to go on from quarters of those pitches."""
    notes = Notes.of(np.arange(len(pitches)) * PPQ, PPQ, pitches)
    start = -(-len(pitches) // 4) * BAR
    region = Region(start, start + bars * BAR, frozenset({0}))
    return Ask(Task.CONTINUE, Score((Track(0, "Line", notes),)), region, CARD.values(values), 1)


def test_the_table_of_the_paper() -> None:
    vectors = concert.pitch_vectors()
    c, g, f_sharp = (vectors[p - LOWEST] for p in (60, 67, 66))
    assert c[1:].tolist() == [1, 1, 1, -1, -1, -1, -1, -1, -1, 1, 1, 1]
    assert f_sharp[1:].tolist() == [-1, -1, -1, 1, 1, 1, 1, 1, 1, -1, -1, -1]
    assert g[1:].tolist() == [-1, -1, -1, -1, 1, 1, -1, -1, -1, -1, 1, 1]
    assert (vectors[84 - LOWEST, 0] - vectors[36 + 12 - LOWEST, 0]) * 48 / 36 == pytest.approx(
        19.596
    )


@given(st.integers(LOWEST, LOWEST + PITCHES - 1), st.integers(LOWEST, LOWEST + PITCHES - 1))
def test_circles_count_semitones_and_fifths(a: int, b: int) -> None:
    differ = VECTORS[a - LOWEST, 1:] != VECTORS[b - LOWEST, 1:]
    steps, fifths = (a - b) % 12, 7 * (a - b) % 12
    assert differ[:6].sum() == min(steps, 12 - steps)
    assert differ[6:].sum() == min(fifths, 12 - fifths)


def test_no_two_notes_have_one_vector() -> None:
    for vectors in (concert.pitch_vectors(), concert.time_vectors()):
        apart = np.abs(vectors[:, None] - vectors[None]).max(-1) + np.eye(len(vectors))
        assert apart.min() > 0.05


def test_a_tune_is_placed_in_its_bars() -> None:
    line = placed.of_tune(tune("a/1", [60, 62, 64, 65, 67, 69], meter=3004))
    assert line is not None
    assert placed.pitches(line.symbol).tolist() == [60, 62, 64, 65, 67, 69]
    assert TIMES[line.time].tolist() == [12] * 6
    again = placed.places(np.array([0, PPQ, 2 * PPQ] * 2), 3 * PPQ, False)
    assert np.allclose(line.place, again)
    score = Score(
        (), meter=MeterMap(numerator=np.array([3]), denominator=np.array([4]), tick=np.array([0]))
    )
    assert np.allclose(placed.place_at(score, 7 * PPQ), again[1])
    bars = placed.Bars(score)
    for beat in (0, 1, 2, 3, 7, 4, 12, 2):
        assert np.allclose(bars.at(beat * PPQ), again[beat % 3])


def test_an_upbeat_is_the_end_of_a_bar() -> None:
    meter = MeterMap(pickup=PPQ)
    bars = placed.Bars(Score((), meter=meter))
    for tick, offset in ((0, 3 * PPQ), (PPQ // 2, 7 * PPQ // 2), (PPQ, 0), (BAR, 3 * PPQ)):
        assert np.allclose(bars.at(tick), placed.places(offset, BAR, False))


@given(st.integers(0, 127))
def test_far_pitches_come_near_by_octaves(pitch: int) -> None:
    (symbol,) = placed.symbols(np.array([pitch]))
    assert 0 <= symbol < PITCHES
    assert (placed.pitches(symbol) - pitch) % 12 == 0
    if LOWEST <= pitch < LOWEST + PITCHES:
        assert placed.pitches(symbol) == pitch
    assert placed.symbols(np.array([note_step.REST])).tolist() == [SILENT]


def test_nearest_durations_and_what_fits() -> None:
    assert placed.nearest(TIMES * TWELFTH).tolist() == list(range(len(TIMES)))
    assert TIMES[placed.nearest([953, 321, 10**6])].tolist() == [12, 4, 144]
    for rest in (SIXTEENTH, PPQ, 5 * PPQ):
        left = rest - TIMES[placed.fitting(rest)] * TWELFTH
        assert len(left)
        assert ((left <= 0) | (left >= PPQ)).all()


def test_what_is_heard_of_a_score() -> None:
    notes = Notes.of([0, 0, 950, 3 * PPQ], [900, 900, 500, BAR], [48, 60, 62, 64])
    score = Score((Track(0, "", notes),))
    seat = note_step.seat(Score(()), Region(0, BAR), 0)
    seat = note_step.Seat(score.tracks[0], 0, 80, seat.before)
    line, start = placed.of_score(score, seat, BAR)
    assert placed.pitches(line.symbol).tolist() == [60, 62, -1, 64]
    assert start == 7 * PPQ  # the last note still sounds
    locked = Notes.of([BAR, BAR + PPQ], [PPQ, 953], [60, 65], locked=[False, True])
    seat = note_step.Seat(Track(0, "", locked), 2, 80, notes)
    (stay,) = placed.staying(seat, Region(BAR, 2 * BAR), BAR)
    assert (stay.onset, stay.end) == (BAR + PPQ, BAR + 2 * PPQ)
    assert placed.pitches(stay.symbol) == 67


def test_readers_go_on_where_they_stopped() -> None:
    reader = placed.Reader(10, 2)
    assert reader.take(3).tolist() == [[0, 1, 2], [5, 6, 7]]
    assert reader.take(3).tolist() == [[3, 4, 5], [8, 9, 0]]


def test_a_piece_begins_with_an_empty_context() -> None:
    torch.manual_seed(0)
    net = Net(Shape(context=8))
    symbol, time = torch.tensor([[5, 6, 7]]), torch.tensor([[1, 2, 3]])
    place = torch.zeros(1, 3, placed.PLACE)
    begins = torch.tensor([[False, False, True]])
    one = net(symbol, time, place, begins, torch.zeros(1, 8))
    other = net(symbol + 1, time, place, begins, torch.ones(1, 8))
    assert torch.equal(one[0][:, 2], other[0][:, 2])
    assert not torch.allclose(one[0][:, 1], other[0][:, 1])


@pytest.mark.parametrize("pitch", ["psychological", "one_hot"])
def test_steps_are_what_the_net_says_of_a_whole_melody(pitch: str) -> None:
    torch.manual_seed(0)
    net = Net(Shape(context=12, pitch=pitch))
    with torch.no_grad():
        net.usual.normal_()
        net.precision.normal_()
    line = placed.of_tune(tune("a/1", walk(1, 9), meter=3004))
    assert line is not None
    symbol, time = line.symbol.tolist(), line.time.tolist()
    past = [torch.tensor([[0, *column[:-1]]]) for column in (symbol, time)]
    begins = torch.arange(9)[None] == 0
    with torch.no_grad():
        said = net(*past, torch.from_numpy(line.place)[None], begins, torch.zeros(1, 12))
    whole = torch.cat(said[:2], -1)[0].numpy()
    stepper = Stepper(net)
    for t in range(9):
        last = (symbol[t - 1], time[t - 1]) if t else None
        assert stepper.step(last, line.place[t]) == pytest.approx(whole[t], abs=1e-4)


def test_the_interpretation_layer_prefers_what_is_near() -> None:
    net = Net(Shape(context=13 + 5))
    with torch.no_grad():
        net.expected.weight.copy_(torch.eye(18))
        net.expected.bias.zero_()
    for symbol in (0, 20, SILENT):
        said = torch.cat([net.pitch[symbol], net.time[5]])
        pitch, time = net.says(said)
        assert int(pitch.argmax()) == symbol
        assert int(time.argmax()) == 5


def test_a_scale_is_learnt_from_a_few_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.systems.concert.BATCH", 8)
    monkeypatch.setattr("models.systems.concert.STEPS", 16)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    scale = [60, 62, 64, 65, 67, 69, 71, 72]
    tunes = [tune(f"a/{i}", (scale + scale[::-1]) * 2) for i in range(4)]
    system = System.fresh(shape=Shape(context=32))
    fit = training.Fit(system.net, training.Plan(minutes=1, rate=1e-2, warm_up=1))
    steps = system.train(training.Corpus(tunes, tunes), Context(np.random.default_rng(0)), fit)
    for _ in range(40):
        next(steps)
    assert system.watch(tunes, Context(np.random.default_rng(0)))["accuracy_pitch"] > 0.6


def test_what_it_writes_is_in_the_key_on_the_beat_and_ends_on_the_keynote(system: Any) -> None:
    for sharps, scale in ((3, {9, 11, 1, 2, 4, 6, 8}), (-4, {8, 10, 0, 1, 3, 5, 7})):
        score = Score((), keys=(Key(0, sharps),))
        ask = Ask(Task.CREATE, score, Region(0, 16 * BAR), CARD.values(), 2, 2)
        one, two = made(system, ask)
        assert one != two
        for notes in (one, two):
            assert np.isin(notes.pitch % 12, list(scale)).mean() > 0.85
            assert int(notes.end.max()) == 16 * BAR
            tonic = 7 * sharps % 12
            assert int(notes.pitch[-1]) % 12 in (tonic, (tonic + 9) % 12)
            assert notes.duration[-1] >= PPQ
            assert np.isin(np.arange(16) * BAR, notes.onset).mean() > 0.6


def test_a_bass_is_gone_on_with_in_its_own_octave(system: Any) -> None:
    (notes,) = made(system, seeded([36, 38, 40, 41, 43, 41, 40, 38]))
    assert 26 < notes.pitch.mean() < 50


def test_a_jig_has_its_beats(system: Any) -> None:
    meter = MeterMap(numerator=np.array([6]), denominator=np.array([8]), tick=np.array([0]))
    ask = Ask(Task.CREATE, Score((), meter=meter), Region(0, 48 * PPQ), CARD.values(), 3)
    (notes,) = made(system, ask)
    assert (notes.onset % (PPQ // 2) == 0).mean() > 0.7
    assert np.isin(np.arange(16) * 3 * PPQ, notes.onset).mean() > 0.5


def test_figures_stand_beside_those_of_the_one_hot_net(system: Any) -> None:
    figures = system.evaluate(
        [tune(f"a/{i}", walk(i, 40)) for i in range(3)], Context(np.random.default_rng(0))
    )
    assert {
        "cross_entropy_note_nats",
        "cross_entropy_note_one_hot_nats",
        "accuracy_pitch_one_hot",
    } <= set(figures)
    assert all(np.isfinite(list(figures.values())))


@pytest.mark.parametrize(
    ("ask", "sentence"),
    [
        (Ask(Task.REGENERATE, Score(), Region(0, BAR), CARD.values()), "cannot"),
        (Ask(Task.CONTINUE, Score((Track(0, ""),)), Region(0, BAR, frozenset({0})), CARD.values()), "nothing before"),
    ],
)  # fmt: skip
def test_bad_requests_get_a_sentence(system: Any, ask: Ask, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        made(system, ask)


def test_a_corpus_without_usual_durations_is_refused() -> None:
    odd = tune("a/1", [60, 62], step=17 * TWELFTH)
    with pytest.raises(UserError, match="usual durations"):
        placed.lines([odd])
    assert SYMBOLS == PITCHES + 1


def test_a_long_piece_grows(system: Any) -> None:
    ask = Ask(Task.CREATE, Score(), Region(0, 120 * BAR), CARD.values(), 2)
    steps = system.generate(ask, Context(np.random.default_rng(2)))
    proposals = [s for s in steps if isinstance(s, Proposal)]
    assert [p.final for p in proposals] == [False] * (len(proposals) - 1) + [True]
    assert len(proposals) > 1
    early, whole = proposals[0].tracks[0].notes, proposals[-1].tracks[0].notes
    assert 200 < len(early) <= 256
    assert whole.onset[:200].tolist() == early.onset[:200].tolist()
    assert whole.pitch[:200].tolist() == early.pitch[:200].tolist()

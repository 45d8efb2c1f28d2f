"""Performance RNN: playing freely, going on, and performing what is written."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from mills.performance import played

from models.card import Task
from models.representations import performance, recital
from models.representations.performance import HIGH, LOW, OFF, ON, SHIFT, STEP, VELOCITY
from models.score import Controls, Key, Notes, Region, Score, Track, UserError
from models.strategies import performing
from models.strategies.performing import Keyboard, Taste
from models.system import Ask, Context, Progress, Proposal
from models.systems.performance_rnn import CARD, Shape, System
from models.timebase import PPQ, TempoMap

BAR = 4 * PPQ


@pytest.fixture(scope="module")
def system() -> Any:
    torch.set_num_threads(1)
    return System.load()


def steps(system: Any, ask: Ask) -> list[Proposal]:
    found = system.generate(ask, Context(np.random.default_rng(ask.seed)))
    return [step for step in found if isinstance(step, Proposal)]


def made(system: Any, ask: Ask) -> list[Notes]:
    return [p.tracks[0].notes for p in steps(system, ask) if p.final]


def created(
    bars: int = 4, seed: int = 1, count: int = 1, score: Score | None = None, **values: Any
) -> Ask:
    return Ask(
        Task.CREATE, score or Score(), Region(0, bars * BAR), CARD.values(values), seed, count
    )


def written(**values: Any) -> Ask:
    """Eight bars of quantised chords in eighths, all of one loudness; bars 3 to 6 are to be performed."""
    at = np.repeat(np.arange(64), 3)
    pitch = 48 + np.tile([0, 7, 16], 64) + np.repeat([0, 5, 7, 0] * 16, 3)
    notes = Notes.of(at * PPQ // 2, PPQ // 2, pitch, 80, locked=at == 24)
    score = Score((Track(3, "Piano", notes), Track(5, "Other", notes.with_(id=notes.id + 999))))
    region = Region(2 * BAR, 6 * BAR, frozenset({3}))
    return Ask(Task.REGENERATE, score, region, CARD.values(values), 7)


@pytest.mark.parametrize("shape", [Shape(units=24), Shape(units=16, layers=2, keys=0)])
def test_stepping_is_the_net_event_by_event(shape: Shape) -> None:
    torch.manual_seed(0)
    system = System.fresh(shape=shape)
    system.net.eval()
    events = performance.encode(played(1, 30))
    stepper = system.stepper()
    stepped = stepper.play(events.tolist(), stepper.begin(recital.NOTHING))
    whole = stepper.begin(events)
    assert stepped.logits == pytest.approx(whole.logits, abs=1e-5)
    assert np.array_equal(stepped.down, whole.down)
    assert whole.rows(3).logits.shape == (3, performance.EVENTS)


def test_nats_are_those_of_each_event_given_all_before(system: Any) -> None:
    pieces = [performance.encode(played(1, 20)), performance.encode(played(2, 40))]
    together = system.nats(pieces, 1000)
    for piece, nats in zip(pieces, together, strict=True):
        assert len(nats) == len(piece)
        assert torch.allclose(system.nats([piece], 1000)[0], nats, atol=1e-4)
        expected = system.stepper().begin(recital.NOTHING).logits[0]
        first = torch.log_softmax(torch.from_numpy(expected), 0)
        assert float(nats[0]) == pytest.approx(-float(first[int(piece[0])]), abs=1e-4)


def test_it_has_learnt_to_play(system: Any) -> None:
    held = performance.shipped()
    pieces = tuple(piece[:400] for piece in held.pieces[:4])
    nats = torch.cat(system.nats(pieces, 400)).mean()
    _, bigram = performance.baselines(performance.Held(pieces, held.follows))
    assert float(nats) < 0.75 * np.concatenate(bigram).mean()


def test_a_piece_from_nothing_fills_its_bars_and_ends_with_them(system: Any) -> None:
    proposals = steps(system, created(8, count=2))
    for k in range(2):
        own = [p for p in proposals if p.candidate == k]
        assert [p.final for p in own] == [False] * (len(own) - 1) + [True]
        (track,) = own[-1].tracks
        notes = track.notes
        assert track.name == "Piano"
        assert len(notes) > 16
        assert notes.onset.min() < BAR
        assert 7 * BAR < notes.end.max() <= 8 * BAR
        assert notes.pitch.min() >= LOW
        assert notes.pitch.max() <= HIGH
        assert len(np.unique(notes.velocity)) > 3
        grown = [len(p.tracks[0].notes) for p in own]
        assert grown[0] < grown[-1]
    first, second = (p.tracks[0].notes for p in proposals if p.final)
    assert first != second


def test_density_and_key_are_heeded(system: Any) -> None:
    few, many = (sum(map(len, made(system, created(2, density=d, count=2)))) for d in (-2.0, 2.0))
    assert few < many
    score = Score((), keys=(Key(0, 4),))
    shares = []
    for strictness in (0.0, 8.0):
        ask = created(2, score=score, count=2, in_key=strictness)
        pitch = np.concatenate([notes.pitch for notes in made(system, ask)])
        shares.append(np.isin((pitch - 4) % 12, recital.SCALES[0]).mean())
    assert shares[0] < shares[1] > 0.97


def test_what_came_before_is_heard_whatever_the_silence_between(system: Any) -> None:
    def ask(pitch: int, start: int) -> Ask:
        notes = Notes.of(np.arange(16) * PPQ // 2, PPQ // 2, pitch + np.arange(16) % 5, 100)
        score = Score((Track(0, "Left", notes),))
        region = Region(start, start + 2 * BAR)
        return Ask(Task.CONTINUE, score, region, CARD.values(), 2)

    low, high = (made(system, ask(pitch, 2 * BAR))[0] for pitch in (36, 84))
    assert np.median(low.pitch) < np.median(high.pitch)
    late = ask(36, 40 * BAR)
    assert len(made(system, late)[0])
    assert performance.waits()[recital.before(late)].sum() == pytest.approx(4 + recital.BREATH)


def test_the_marked_track_is_heard_or_all_if_it_is_silent() -> None:
    low = Track(0, "Low", Notes.of([0], BAR, 40))
    high = Track(1, "High", Notes.of([0], BAR, 80))
    silent = Track(2, "New")
    drums = Track(3, "Drums", Notes.of([0], BAR, 50), channel=9)
    score = Score((low, high, silent, drums))

    def keys(*tracks: int) -> set[int]:
        region = Region(BAR, 2 * BAR, frozenset(tracks))
        events = recital.before(Ask(Task.CONTINUE, score, region))
        return set(events[events < OFF].tolist())

    assert keys(0) == {40}
    assert keys(1) == {80}
    assert keys(2) == keys() == {40, 80}


def test_performing_keeps_the_notes_and_moves_them_a_little(system: Any) -> None:
    ask = written(freedom=40)
    (final,) = [p for p in steps(system, ask) if p.final]
    before = ask.score.tracks[0].notes.where(ask.region.owned(ask.score.tracks[0]))
    (track,) = final.tracks
    assert track.id == 3
    after = track.notes
    a, b = (notes.where(np.argsort(notes.id)) for notes in (before, after))
    assert a.pitch.tolist() == b.pitch.tolist()
    moved = TempoMap().seconds(b.onset) - TempoMap().seconds(a.onset)
    assert 0.005 < np.abs(moved).mean() < 0.04
    assert np.abs(moved).max() < 0.0405
    assert b.velocity.std() > 3
    assert abs(b.velocity.mean() - 80) < 6  # as loud as written in the long run
    order = np.argsort(b.onset, kind="stable")
    assert (np.diff(a.onset[order]) >= 0).all()  # what is written later is played later
    assert b.onset.min() >= ask.region.start
    assert b.end.max() <= ask.region.end


def test_performing_can_leave_time_or_loudness_alone(system: Any) -> None:
    owned = written().score.tracks[0].notes.where(written().region.owned(written().score.tracks[0]))
    (loud,) = made(system, written(freedom=0))
    assert (loud.onset == owned.onset).all()
    assert (loud.duration == owned.duration).all()
    assert loud.velocity.std() > 3
    (timed,) = made(system, written(strength=0.0))
    assert (timed.velocity == 80).all()
    assert (timed.onset != owned.onset).any()
    (half,) = made(system, written(freedom=0, strength=0.5))
    assert np.abs(half.velocity.astype(int) - 80).max() <= 40


def test_performing_grows_from_what_is_written(system: Any) -> None:
    proposals = steps(system, written())
    assert len(proposals) > 2
    assert {len(p.tracks[0].notes) for p in proposals} == {93}
    flat = [int((p.tracks[0].notes.velocity == 80).sum()) for p in proposals]
    assert flat[0] > flat[-1]


def test_several_tracks_are_performed_together(system: Any) -> None:
    ask = written()
    region = ask.region.with_tracks({3, 5})
    (final,) = [
        p for p in steps(system, Ask(ask.task, ask.score, region, ask.params, 1)) if p.final
    ]
    assert [t.id for t in final.tracks] == [3, 5]
    assert [len(t.notes) for t in final.tracks] == [93, 93]


def test_a_flat_score_before_is_no_example_of_playing() -> None:
    assert not recital.is_played(written())
    ask = written()
    loud = np.arange(192) % 60 + 40
    track = ask.score.tracks[0].with_notes(ask.score.tracks[0].notes.with_(velocity=loud))
    assert recital.is_played(Ask(ask.task, ask.score.with_track(track), ask.region))


def test_the_pedal_is_heard_in_what_came_before() -> None:
    pedal = Controls(np.array([0, BAR]), np.full(2, 0xB0), np.full(2, 64), np.array([127, 0]))
    track = Track(0, "", Notes.of([0, PPQ], PPQ // 2, [60, 64]), pedal)
    ask = Ask(Task.CONTINUE, Score((track,)), Region(BAR, 2 * BAR))
    heard = performance.decode(recital.before(ask))
    assert heard.end.tolist() == [2.0, 2.0]


def test_a_key_held_by_a_locked_note_is_not_struck() -> None:
    board = Keyboard(500, [(60, 100, 200)])
    assert board.allowed()[ON + 60]
    board.play(ON + 60)
    assert not board.allowed()[ON + 60]
    board.play(SHIFT + 99)
    assert board.forced() == OFF + 60
    board.play(OFF + 60)
    assert not board.allowed()[ON + 60]
    assert board.forced() is None
    board.play(SHIFT + 99)
    assert board.allowed()[ON + 60]
    assert board.strokes == [(0, 100, 60, 66)]


def test_the_impossible_is_never_drawn_and_its_mass_stays_with_its_kind() -> None:
    logits = np.zeros(performance.EVENTS)
    allowed = np.zeros(performance.EVENTS, bool)
    allowed[[OFF + 60, SHIFT + 9]] = True
    taste = Taste(1.0, 1.0, np.zeros(performance.EVENTS))
    drawn = [taste.draw(logits, allowed, u) for u in np.linspace(0, 0.999, 457)]
    assert set(drawn) == {OFF + 60, SHIFT + 9}
    share = drawn.count(OFF + 60) / len(drawn)
    assert share == pytest.approx(128 / 228, abs=0.01)
    sure = Taste(1.0, 0.1, np.eye(performance.EVENTS)[SHIFT + 9] * 3)
    assert {sure.draw(logits, allowed, u) for u in np.linspace(0, 0.999, 50)} == {OFF + 60}


def test_silence_and_crowds_come_to_an_end() -> None:
    board = Keyboard(1000)
    board.play(SHIFT + 99)
    board.play(SHIFT + 99)
    assert not board.allowed()[SHIFT:VELOCITY].any()
    for pitch in range(LOW, LOW + performing.STRIKES):
        assert board.allowed()[ON + pitch]
        board.play(ON + pitch)
    assert not board.allowed()[ON:OFF].any()
    assert board.allowed()[SHIFT]
    assert not Keyboard(5, now=1, last=1).allowed()[ON:OFF].any()  # too late to begin


def test_attacca_has_no_time_pass_before_the_first_stroke() -> None:
    board = Keyboard(500, attacca=True)
    board.play(VELOCITY + 3)
    assert not board.allowed()[SHIFT:].any()
    assert board.allowed()[ON + 60]
    board.play(ON + 60)
    assert board.allowed()[SHIFT]
    board.play(SHIFT + 9)
    board.play(OFF + 60)
    assert board.allowed()[SHIFT]


@pytest.mark.parametrize(
    ("task", "tracks", "start", "sentence"),
    [
        (Task.CREATE, {0, 1}, BAR, "2 are marked"),
        (Task.CONTINUE, {2}, BAR, "holds drums"),
        (Task.CONTINUE, {0}, 0, "nothing before"),
        (Task.REGENERATE, (), BAR, "No track is marked"),
        (Task.REGENERATE, {0}, 8 * BAR, "no notes to perform"),
        (Task.REGENERATE, {0, 2}, 0, "holds drums"),
        (Task.ACCOMPANY, {0}, BAR, "cannot accompany"),
    ],
)
def test_bad_requests_get_a_sentence(
    system: Any, task: Task, tracks: Any, start: int, sentence: str
) -> None:
    notes = Notes.of(np.arange(8) * PPQ, PPQ, 60)
    score = Score((Track(0, "A", notes), Track(1, "B"), Track(2, "D", notes, channel=9)))
    region = Region(start, start + BAR, frozenset(tracks))
    with pytest.raises(UserError, match=sentence):
        next(
            system.generate(
                Ask(task, score, region, CARD.values()), Context(np.random.default_rng())
            )
        )


def test_without_a_folder_there_is_only_something_to_measure_on() -> None:
    corpus = System.corpus(None)
    assert len(corpus.valid) == 9
    assert "CC BY" in corpus.attribution
    system = System.fresh(shape=Shape(units=8))
    with pytest.raises(UserError, match="--corpus FOLDER"):
        next(system.train(corpus, Context(np.random.default_rng(0))))
    with pytest.raises(UserError, match="name a folder"):
        System.corpus("test")
    with pytest.raises(UserError, match="too few notes"):
        System.corpus([])


def test_figures_have_baselines_beside(system: Any) -> None:
    held = performance.shipped()
    few = performance.Held(tuple(piece[:120] for piece in held.pieces[:2]), held.follows)
    found = system.evaluate(few, Context(np.random.default_rng(0)))
    assert (
        found["nats_per_event"] < found["bigram_nats_per_event"] < found["unigram_nats_per_event"]
    )
    assert {"nats_per_velocity", "humanised_velocity_correlation", "humanised_late_ms"} <= set(
        found
    )
    assert all(np.isfinite(list(found.values())))
    assert found["humanised_late_ms"] <= 30


def test_first_comes_word_that_it_listens(system: Any) -> None:
    found = system.generate(created(1), Context(np.random.default_rng(0)))
    assert isinstance(next(found), Progress)
    assert STEP == 0.01

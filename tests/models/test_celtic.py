"""Celtic: metre, key and place of what it writes, the rules, its steps, and whom it refuses."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine import exchange
from models import catalogue, training
from models.card import Task
from models.representations import folk, folk_rules
from models.score import Key, Notes, Region, Score, Track, UserError
from models.strategies.stepping import Walk
from models.system import Ask, Context, Proposal
from models.systems.celtic import CARD, NONE, Net, Shape, Stepper, System, batch
from models.timebase import PPQ, MeterMap

BAR = 4 * PPQ


@pytest.fixture(scope="module")
def system() -> Any:
    torch.set_num_threads(1)
    return catalogue.load("celtic")


def proposals(system: Any, ask: Ask) -> list[Proposal]:
    context = Context(np.random.default_rng(ask.seed))
    return [p for p in system.generate(ask, context) if isinstance(p, Proposal)]


def made(system: Any, ask: Ask) -> list[Proposal]:
    return [p for p in proposals(system, ask) if p.final]


def create(score: Score, bars: int, count: int = 1, seed: int = 1, **values: Any) -> Ask:
    length = score.meter.bar_start(bars + 1)
    return Ask(Task.CREATE, score, Region(0, length), CARD.values(values), seed, count)


def seeded(pitches: list[int], bars: int, key: Key | None = None, **values: Any) -> Ask:
    notes = Notes.of(np.arange(len(pitches)) * PPQ, PPQ, pitches)
    start = -(-len(pitches) // 4) * BAR
    score = Score((Track(0, "Line", notes),), keys=(key,) if key else ())
    region = Region(start, start + bars * BAR, frozenset({0}))
    return Ask(Task.CONTINUE, score, region, CARD.values(values), 1)


def test_an_empty_piece_takes_the_metre_of_its_tune_over(system: Any) -> None:
    (jig,) = made(system, create(Score(), 8, metre="6/8"))
    assert jig.apply(Score()).meter.at(0) == (6, 8)
    begun = Score((Track(5, "Bass", Notes.of(0, PPQ, 40)),))
    assert jig.apply(begun).meter.at(0) == (4, 4)


def test_one_step_at_a_time_is_what_the_net_says_at_once() -> None:
    torch.manual_seed(1)
    net = Net(Shape(32, 3, 0.0)).eval()
    tokens = torch.randint(len(folk.WORDS), (2, 9))
    stepper = Stepper(net)
    walk = Walk(stepper.lstm, 2)
    with torch.inference_mode():
        at_once = net(tokens).numpy()
        for t in range(9):
            said = stepper.step(tokens[:, t].tolist(), walk)
            assert said == pytest.approx(at_once[:, t], abs=1e-5)


def test_what_a_musician_says_is_no_target() -> None:
    pieces = [folk.numbers(["M:4/4", "K:Cmaj", "=C", "8", "|", "</s>"]), np.arange(1, 4)]
    tokens, targets = batch(pieces)
    assert tokens.tolist()[0] == pieces[0][:-1].tolist()
    assert targets.tolist()[0] == [NONE, *pieces[0][2:].tolist()]
    assert targets.tolist()[1] == [NONE, 3, NONE, NONE, NONE]


def test_a_tune_from_nothing_has_two_parts_with_repeats_and_ends_on_its_tonic(system: Any) -> None:
    ends = []
    for proposal in made(system, create(Score(), 32, count=4)):
        notes = proposal.tracks[0].notes
        rows = list(zip(notes.onset, notes.duration, notes.pitch, strict=True))
        assert proposal.keys == (Key(0, 2, False),)
        assert 31 * BAR < notes.length <= 32 * BAR
        inside = [
            [(o % (8 * BAR), p) for o, _, p in rows if k <= o // (8 * BAR) < k + 1]
            for k in range(4)
        ]
        for first, second in ((0, 1), (2, 3)):
            late = [row for row in inside[first] if row[0] < 7 * BAR]
            again = [row for row in inside[second] if row[0] < 7 * BAR]
            assert late == again
        ends.append(int(notes.pitch[-1]) % 12)
    assert ends == [2] * 4


@pytest.mark.parametrize(
    ("values", "sharps"),
    [
        ({"tonic": "G"}, 1),
        ({"tonic": "G", "mode": "minor"}, -2),
        ({"mode": "dorian"}, 1),
        ({"tonic": "Eb", "mode": "mixolydian"}, -4),
    ],
)
def test_it_is_in_the_key_asked_for(system: Any, values: dict[str, str], sharps: int) -> None:
    for proposal in made(system, create(Score(), 16, count=2, **values)):
        assert proposal.keys[0].sharps == sharps
        scale = (np.arange(-1, 6) + sharps) * 7 % 12
        assert np.isin(proposal.tracks[0].notes.pitch % 12, scale).mean() > 0.8


def test_it_keeps_to_the_key_the_metre_and_the_octave_of_the_score(system: Any) -> None:
    waltz = MeterMap(np.zeros(1, np.int64), np.array([3]), np.array([4]))
    score = Score((), meter=waltz, keys=(Key(0, -3),))
    (proposal,) = made(system, create(score, 16, metre="as the piece"))
    notes = proposal.tracks[0].notes
    assert proposal.keys == ()
    assert 15 * 3 * PPQ < notes.length <= 16 * 3 * PPQ
    assert np.isin(notes.pitch % 12, [0, 2, 3, 5, 7, 8, 10]).mean() > 0.8
    (low,) = made(system, seeded([48, 50, 52, 53, 55, 53, 52, 48], 4))
    assert 40 < low.tracks[0].notes.pitch.mean() < 60


def test_a_metre_asked_for_is_for_pieces_without_music(system: Any) -> None:
    (jig,) = made(system, create(Score(), 8, metre="6/8"))
    assert 7 * 3 * PPQ < jig.tracks[0].notes.length <= 8 * 3 * PPQ
    notes = Notes.of([0], BAR, [60])
    score = Score((Track(0, "Bass", notes),))
    (reel,) = made(system, create(score, 8, metre="6/8"))
    assert reel.tracks[0].notes.length > 7 * BAR


def test_what_goes_on_fills_the_bars_asked_for(system: Any) -> None:
    ask = seeded([62, 64, 66, 67, 69, 71, 73, 74] * 4, 4, Key(0, 2))
    (proposal,) = made(system, ask)
    notes = proposal.tracks[0].notes
    assert notes.onset[0] < ask.region.start + BAR
    assert notes.length > ask.region.end - BAR
    assert np.isin(notes.pitch % 12, [1, 2, 4, 6, 7, 9, 11]).mean() > 0.7


@pytest.mark.parametrize("bars", [1, 3, 12, 40])
def test_any_number_of_bars_is_filled(system: Any, bars: int) -> None:
    (proposal,) = made(system, create(Score(), bars))
    assert (bars - 1) * BAR < proposal.tracks[0].notes.length <= bars * BAR


def test_candidates_differ_and_grow(system: Any) -> None:
    found = proposals(system, create(Score(), 16, count=3))
    last = [p.tracks[0].notes for p in found if p.final]
    assert len(last) == 3
    assert last[0] != last[1]
    assert last[1] != last[2]
    sizes = [len(p.tracks[0].notes) for p in found if p.candidate == 0]
    assert len(sizes) > 3
    assert sizes[0] < 8
    shrinks = [a - b for a, b in pairwise(sizes)]
    assert max(shrinks) < 12  # no more than a last bar that is drawn again


def test_the_net_alone_may_do_what_the_rules_forbid(system: Any) -> None:
    rng = np.random.default_rng(1)
    heads = [folk.numbers(["M:6/8", "K:Cmaj"]).tolist()] * 4
    ruled = system.tunes(heads, True, rng)
    for words in ruled:
        right, total = folk.adding_up(folk.read(words))
        assert right >= total - 1  # all of them, but for a tune that has not ended yet
    assert all(folk_rules.FREE[w] for words in system.tunes(heads, False, rng) for w in words[2:])
    (proposal,) = made(system, create(Score(), 8, whole_bars=False))
    assert len(proposal.tracks[0].notes) > 8


@pytest.mark.parametrize(
    ("ask", "sentence"),
    [
        (create(Score(meter=MeterMap(numerator=np.array([5]))), 4), "not in 5/4"),
        (seeded([], 1), "nothing before"),
        (
            Ask(
                Task.CREATE,
                Score(
                    (Track(0, ""),),
                    meter=MeterMap(np.array([0, BAR]), np.array([4, 3]), np.array([4, 4])),
                ),
                Region(0, 3 * BAR, frozenset({0})),
                CARD.values(),
            ),
            "metre changes",
        ),
        (
            Ask(
                Task.CREATE,
                Score((Track(0, ""), Track(1, ""))),
                Region(0, BAR, frozenset({0, 1})),
                CARD.values(),
            ),
            "2 tracks are marked",
        ),
    ],
)
def test_bad_requests_get_a_sentence(system: Any, ask: Ask, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        made(system, ask)


def test_a_corpus_of_ones_own(tmp_path: Path) -> None:
    book = tmp_path / "mine.abc"
    tune = "X:{0}\nT:{0}\nM:6/8\nL:1/8\nK:D\n|:DED F2A|d2B A2F|DED FGA|B2E E3:|\n\n"
    book.write_text("".join(tune.format(i) for i in range(12)))
    corpus = System.corpus([(book, exchange.read(book))])
    assert (len(corpus.train), len(corpus.valid)) == (10, 2)
    with pytest.raises(UserError, match="no tune"):
        System.corpus([(tmp_path / "a.mid", Score())])
    with pytest.raises(UserError, match="not for training"):
        System.corpus("valid")


def test_it_learns_a_tune_by_heart() -> None:
    torch.manual_seed(0)
    words = "M:4/4 K:Cmaj |: =C =D =E =F =G 4 | =c 4 =C 4 :| </s>"
    piece = folk.numbers(words.split())
    system = System.fresh(shape=Shape(48, 1, 0.0))
    corpus = training.Corpus([piece] * 4, [piece])
    fit = training.Fit(system.net, training.Plan(minutes=10, rate=2e-2, warm_up=1))
    steps = system.train(corpus, Context(np.random.default_rng(0)), fit)
    for _ in range(50):
        next(steps)
    steps.close()  # type: ignore[attr-defined]
    system.net.eval()
    assert system.watch(corpus.valid, Context(np.random.default_rng(0)))[System.WATCHED] < 0.1

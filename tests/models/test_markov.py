"""The Markov chain: what it has heard, how far back it looks, and when it copies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_melody import tune

from models import catalogue, weights
from models.card import Task
from models.representations import note_step
from models.representations.note_step import END, REST
from models.score import Key, Notes, Region, Score, Track, UserError
from models.system import Ask, Context, Proposal
from models.systems.markov import CARD, System, Table
from models.timebase import PPQ

BAR = 4 * PPQ


@pytest.fixture(scope="module")
def system() -> Any:
    return catalogue.load("markov")


def made(system: Any, ask: Ask) -> list[Notes]:
    context = Context(np.random.default_rng(ask.seed))
    found = [p for p in system.generate(ask, context) if isinstance(p, Proposal)]
    return [p.tracks[0].notes for p in found]


def seeded(pitches: list[int], **values: Any) -> Ask:
    """A request to go on for four bars from quarters of those pitches."""
    notes = Notes.of(np.arange(len(pitches)) * PPQ, PPQ, pitches)
    start = -(-len(pitches) // 4) * BAR
    score = Score((Track(0, "Line", notes),))
    region = Region(start, start + 4 * BAR, frozenset({0}))
    return Ask(Task.CONTINUE, score, region, CARD.values(values), 1)


@given(st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=9), min_size=1, max_size=4))
def test_heard_is_a_search_for_every_suffix(pieces: list[list[int]]) -> None:
    table = Table.of([np.array(p) for p in pieces], [4004] * len(pieces))
    text = table.symbols.tolist()
    context = pieces[0][-3:]
    for k, at in enumerate(table.heard(context, 3)):
        suffix = context[len(context) - k :]
        wanted = [i for i in range(max(k, 1), len(text)) if text[i - k : i] == suffix]
        assert at.tolist() == wanted


def test_a_line_learnt_from_the_piece_is_gone_on_with(system: Any) -> None:
    (notes,) = made(system, seeded([60, 62, 64, 65] * 4, learn_from="piece", max_order=2))
    assert notes.pitch.tolist() == [60, 62, 64, 65] * 4
    assert (notes.duration == PPQ).all()


def test_a_higher_order_copies_longer() -> None:
    rng = np.random.default_rng(4)
    tunes = [tune(f"a/{i}", (67 + rng.integers(0, 6, 200)).tolist()) for i in range(6)]
    system = System.fresh()
    for _ in system.train(type("C", (), {"train": tunes, "valid": tunes}), Context(rng)):
        pass
    copies = [np.mean([system._copied(k, rng) for _ in range(5)]) for k in (1, 3)]
    assert copies[0] + 1 < copies[1]
    nats = system.nats(tunes[:2])
    assert nats[0] > nats[2] > nats[4]


def test_what_it_writes_is_in_the_key_of_the_score(system: Any) -> None:
    for sharps, scale in ((3, {9, 11, 1, 2, 4, 6, 8}), (-4, {8, 10, 0, 1, 3, 5, 7})):
        score = Score((), keys=(Key(0, sharps),))
        ask = Ask(Task.CREATE, score, Region(0, 16 * BAR), CARD.values(), 2, 4)
        for notes in made(system, ask):
            assert np.isin(notes.pitch % 12, list(scale)).mean() > 0.8
            assert notes.end.max() == 16 * BAR or notes.end.max() > 15 * BAR


def test_a_bass_is_gone_on_with_in_its_own_octave(system: Any) -> None:
    (notes,) = made(system, seeded([36, 38, 40, 41, 43, 41, 40, 38]))
    assert 28 < notes.pitch.mean() < 48


def test_metre_decides_which_tunes_it_goes_by(system: Any) -> None:
    every = np.arange(1, len(system.table.symbols))
    jigs = system.table.in_meter(every, 6008)
    assert 0.05 < len(jigs) / len(every) < 0.4
    assert len(system.table.in_meter(every, 15016)) == len(every)


def test_locked_notes_stay_and_are_written_around(system: Any) -> None:
    notes = Notes.of([0, 2 * BAR + 100], [BAR, PPQ], [60, 67], locked=[False, True])
    score = Score((Track(0, "Line", notes),))
    ask = Ask(Task.CONTINUE, score, Region(BAR, 4 * BAR, frozenset({0})), CARD.values(), 5)
    (new,) = made(system, ask)
    assert len(new) > 4
    assert not ((new.onset < 2 * BAR + 100 + PPQ) & (new.end > 2 * BAR + 100)).any()


@pytest.mark.parametrize(
    ("ask", "sentence"),
    [
        (seeded([60, 62], learn_from="piece"), "too few notes"),
        (seeded([60, 62], max_order=1, min_order=3), "above max_order"),
        (
            Ask(Task.CONTINUE, Score((Track(0, ""),)), Region(0, 5, frozenset({0})), CARD.values()),
            "nothing before",
        ),
        (
            Ask(
                Task.CREATE,
                Score((Track(0, ""), Track(1, ""))),
                Region(0, 5, frozenset({0, 1})),
                CARD.values(),
            ),
            "2 tracks are marked",
        ),
        (
            Ask(
                Task.CONTINUE,
                Score((Track(0, "", Notes.of([0, 0, PPQ, PPQ], PPQ, [60, 64, 60, 64])),)),
                Region(2 * PPQ, BAR, frozenset({0})),
                CARD.values(),
            ),
            "holds chords",
        ),
    ],
)
def test_bad_requests_get_a_sentence(system: Any, ask: Ask, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        made(system, ask)


def test_a_broken_table_is_refused(tmp_path: Path) -> None:
    tensors = {
        "symbols": np.array([0, 1, 9, 0], np.uint16),
        "rows": np.zeros((2, 2), np.int32),
        "meters": np.array([4004], np.int32),
    }
    weights.save(tmp_path / "w.safetensors", tensors, {"system": "markov"})
    with pytest.raises(UserError, match="no whole table"):
        System.load(tmp_path / "w.safetensors")


def test_steps_spell_rests_and_white_keys() -> None:
    rows = note_step.steps(
        np.array([0, 960, 2400]), np.array([960, 480, 960]), np.array([60, 62, 64])
    )
    assert rows.tolist() == [[60, 960], [62, 480], [REST, 960], [64, 960]]
    assert [note_step.to_white_keys(s) for s in (0, 1, 2, 3, -1, -4)] == [0, 5, -2, 3, -5, 4]
    scale = np.array([0, 2, 4, 5, 7, 9, 11])
    for sharps in range(-5, 7):
        assert note_step.signature(60 + (scale + 7 * sharps) % 12, np.ones(7)) == sharps
    vocabulary = note_step.Vocabulary.of([rows])
    assert vocabulary.rows[vocabulary.symbols(rows)].tolist() == rows.tolist()
    assert vocabulary.symbols(np.array([[61, 960]])).tolist() == [-1]
    assert END == 0

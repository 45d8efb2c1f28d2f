"""BLSTM chords: what it hears, what it is asked for, and what it is measured against."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mills.chords import song
from safetensors.numpy import load_file, save_file
from test_leadsheets import SONG, page

from models import catalogue, training
from models.card import Task
from models.leadsheets import NO_CHORD
from models.representations import chords
from models.score import Key, Notes, Region, Score, Track, UserError
from models.system import Ask, Context, Proposal
from models.systems.blstm_chords import CARD, FIRST, VARIANTS, System, chosen, held_out
from models.timebase import PPQ, MeterMap

BAR = 4 * PPQ
TUNE = [67, 64, 60, 64, 67, 64, 60, 64, 69, 65, 72, 69, 67, 71, 74, 71, 67, 64, 60, 64, 65, 69, 67, 65,
        64, 62, 62, 59, 60, 60, 60, 60]  # fmt: skip
"""Eight bars of quarters in C."""


@pytest.fixture(scope="module")
def system() -> Any:
    return catalogue.load("blstm_chords")


def asked(pitches: list[int] = TUNE, count: int = 1, **values: Any) -> Ask:
    notes = Notes.of(np.arange(len(pitches)) * PPQ, PPQ, pitches)
    score = Score((Track(0, "Tune", notes),), keys=values.pop("keys", ()))
    region = Region(0, len(pitches) * PPQ)
    return Ask(Task.ACCOMPANY, score, region, CARD.values(values), 1, count)


def made(system: Any, ask: Ask) -> list[Track]:
    context = Context(np.random.default_rng(ask.seed))
    found = [p for p in system.generate(ask, context) if isinstance(p, Proposal)]
    assert all(p.final for p in found)
    return [p.tracks[0] for p in found]


def bars(track: Track, length: int = BAR) -> list[frozenset[int]]:
    """The pitch classes of the chord that begins each bar."""
    notes = track.notes
    starts = range(0, notes.length, length)
    return [frozenset((notes.pitch[notes.onset == s] % 12).tolist()) for s in starts]


def test_every_bar_has_a_triad_and_the_last_is_the_tonics(system: Any) -> None:
    (track,) = made(system, asked())
    found = bars(track)
    assert len(found) == 8
    assert all(len(chord) == 3 for chord in found)
    assert found[0] == found[-1] == {0, 4, 7}
    assert len(set(found)) > 2
    assert track.name == "Chords"
    assert track.notes.pitch.max() < 72


def test_a_song_in_another_key_has_the_same_chords_there(system: Any) -> None:
    (plain,) = made(system, asked(keys=(Key(0, 0),)))
    for sharps, up in ((-3, 3), (2, 2), (5, -1)):
        (moved,) = made(system, asked([p + up for p in TUNE], keys=(Key(0, sharps),)))
        assert bars(moved) == [frozenset((t + up) % 12 for t in c) for c in bars(plain)]


def test_each_bar_hears_what_comes_after(system: Any) -> None:
    heard = np.zeros((6, 12), np.float32)
    heard[:, 0] = 1
    later = heard.copy()
    later[5] = np.roll(heard[5], 6)
    before = system.log_odds(heard, "triads", 1)
    assert np.exp(before).sum(1) == pytest.approx(1)
    assert np.abs(before - system.log_odds(later, "triads", 1))[:4].max() > 1e-4


@pytest.mark.parametrize("model", ["blstm", "hmm"])
def test_candidates_differ_and_heat_makes_bolder(system: Any, model: str) -> None:
    found = made(system, asked(count=4, model=model))
    assert len({tuple(bars(t)) for t in found}) == 4
    assert bars(found[0]) == bars(made(system, asked(model=model))[0])
    kinds = [
        len(
            {
                c
                for t in made(system, asked(count=3, temperature=heat, model=model))
                for c in bars(t)
            }
        )
        for heat in (0.3, 2.0)
    ]
    assert kinds[0] < kinds[1]


def test_sevenths_and_two_a_bar_are_to_be_had(system: Any) -> None:
    (track,) = made(system, asked(chords="sevenths"))
    assert max(map(len, bars(track))) == 4
    (track,) = made(system, asked(per_bar=2, temperature=1.0))
    assert (track.notes.onset % BAR == BAR // 2).any()
    (track,) = made(system, asked(chords="sevenths", per_bar=2, model="hmm", voicing="bass"))
    assert track.notes.pitch.min() < 48


@pytest.mark.parametrize(("numerator", "denominator"), [(3, 4), (6, 8), (5, 4), (7, 8)])
def test_metre_is_no_matter(system: Any, numerator: int, denominator: int) -> None:
    length = numerator * 4 * PPQ // denominator
    ask = asked()
    meter = MeterMap(np.zeros(1, np.int64), np.array([numerator]), np.array([denominator]))
    score = Score(ask.score.tracks, meter=meter)
    whole = Ask(Task.ACCOMPANY, score, Region(0, 32 * PPQ), CARD.values(), 1)
    (track,) = made(system, whole)
    assert set((track.notes.onset % length).tolist()) == {0}
    assert len(set(track.notes.onset.tolist())) == -(-32 * PPQ // length)


def test_rare_chords_can_be_preferred(system: Any) -> None:
    rows = np.log([[0.6, 0.4], [0.1, 0.9]])
    assert chosen(rows, None, 0.0, np.zeros(2)).tolist() == [0, 1]
    assert chosen(rows, None, 1.0, np.array([0.59, 0.05])).tolist() == [0, 0]
    assert chosen(rows, None, 1.0, np.array([0.61, 0.11])).tolist() == [1, 1]
    triads = [frozenset(chords.tones(label)) for label in range(24)]
    share = system.baselines[FIRST].share

    def common(colour: float) -> float:
        found = made(system, asked(count=8, temperature=1.0, colour=colour))
        return float(np.mean([share[triads.index(c)] for t in found for c in bars(t)]))

    assert common(1.0) < common(0.0) - 0.1


def test_it_is_measured_on_bars_nobody_learnt_from(system: Any) -> None:
    songs = held_out()
    assert {chords.key_of(s.name) for s in songs} == chords.split()["test"]
    assert System.corpus(None).valid[0].name == songs[0].name
    few = songs[:24]
    found = system.evaluate(few, Context(np.random.default_rng(0)))
    right = count = 0
    for piece in few:
        heard, label = piece.units(1)
        guess = system.log_odds(heard, "triads", 1).argmax(1)
        right += int((guess == chords.triad(label))[label != NO_CHORD].sum())
        count += int((label != NO_CHORD).sum())
    assert found["accuracy_blstm"] == pytest.approx(right / count)
    assert found["accuracy_blstm"] > found["accuracy_hmm"] > found["accuracy_commonest"]
    assert found["gain_over_hmm_percent"] == pytest.approx(
        100 * (found["accuracy_blstm"] / found["accuracy_hmm"] - 1)
    )


def test_without_lead_sheets_training_says_what_is_missing() -> None:
    system = System.fresh()
    steps = system.train(System.corpus(None), Context(np.random.default_rng(0)))
    with pytest.raises(UserError, match="--corpus FOLDER"):
        next(steps)


def test_a_folder_is_a_corpus(tmp_path: Path) -> None:
    empty = Score()
    (tmp_path / "a.musicxml").write_text(SONG)
    chordal = Score(
        (
            Track(0, "Tune", Notes.of([0, BAR], BAR, [72, 74])),
            Track(1, "Keys", Notes.of([0, 0, 0, BAR, BAR, BAR], BAR, [48, 52, 55, 47, 50, 55])),
        )
    )
    found = System.corpus([(tmp_path / "a.musicxml", empty), (tmp_path / "b.mid", chordal)])
    assert [s.name.partition("/")[2] for s in found.valid] == ["a.musicxml"]
    (piece,) = found.train
    assert piece.label.tolist() == [[0, 0], [7, 7]]
    (tmp_path / "a.musicxml").write_text(page(""))
    with pytest.raises(UserError, match="no chords; give MusicXML"):
        System.corpus([(tmp_path / "a.musicxml", empty)])


def test_splits_are_kept_whatever_the_folder(tmp_path: Path) -> None:
    names = sorted(chords.split()["test"])[:2] + sorted(chords.split()["valid"])[:2] + ["Mine"]
    for name in names:
        (tmp_path / f"{name}.musicxml").write_text(SONG)
    found = System.corpus([(tmp_path / f"{name}.musicxml", Score()) for name in names])
    assert [chords.key_of(s.name) for s in found.train] == ["Mine"]
    assert {chords.key_of(s.name) for s in found.valid} == set(names[2:4])


def test_broken_weights_are_refused(system: Any, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    system.save(path, {"system": CARD.id})
    tensors = load_file(path)
    name = f"hmm.{VARIANTS[0][0]}.{VARIANTS[0][1]}.transition"
    save_file({n: t for n, t in tensors.items() if n != name}, path)
    with pytest.raises(UserError, match=f"lacks the tensor {name}"):
        System.load(path)
    path.with_suffix(".json").write_text('{"system": "blstm_chords", "shape": {"units": "many"}}')
    with pytest.raises(UserError, match="net's shape"):
        System.load(path)


def test_songs_shorter_than_a_window_are_learnt_from() -> None:
    corpus = training.Corpus([song(1, 3)], [song(1, 3)])
    system = System.fresh()
    assert next(system.train(corpus, Context(np.random.default_rng(0))))["loss_nats"] > 0
    assert system.watch(corpus.valid, Context(np.random.default_rng(0)))["accuracy_blstm"] >= 0

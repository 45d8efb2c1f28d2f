"""Time-Windowed: bars learnt, bars answered, and where a melody stands in its bar."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models import catalogue
from models.card import Task
from models.representations import melody, note_step, time_slice
from models.representations.melody import FIRST, HOLD, Phrases
from models.representations.time_slice import LOWEST, SILENT
from models.score import Key, Notes, Region, Score, Track, UserError
from models.system import Ask, Context, Proposal
from models.systems import time_windowed
from models.systems.time_windowed import BARS, CARD, MELODIES, SLICES, chosen, closed
from models.timebase import PPQ, MeterMap

BAR = 4 * PPQ
ANY = Context(np.random.default_rng(0))


@pytest.fixture(scope="module")
def system() -> Any:
    torch.set_num_threads(1)
    return catalogue.load("time_windowed")


def made(system: Any, ask: Ask) -> list[Notes]:
    context = Context(np.random.default_rng(ask.seed))
    return [p.tracks[0].notes for p in system.generate(ask, context) if isinstance(p, Proposal)]


def eighths(pitches: list[int], count: int = 1, bars: int = 4, **values: Any) -> Ask:
    """A request to go on from eighths of those pitches."""
    notes = Notes.of(np.arange(len(pitches)) * (PPQ // 2), PPQ // 2, pitches)
    start = -(-len(pitches) // 8) * BAR
    region = Region(start, start + bars * BAR, frozenset({0}))
    score = Score((Track(0, "Line", notes),))
    return Ask(Task.CONTINUE, score, region, CARD.values(values), 1, count)


def phrases(*lines: list[int]) -> Phrases:
    """Phrases of eight bars, a half note for every pitch."""
    tokens = np.full((len(lines), BARS * melody.BAR), HOLD, np.uint8)
    tokens[:, ::8] = np.array(lines) - melody.LOWEST + FIRST
    n, zeros = np.arange(len(lines)), np.zeros(len(lines), np.int64)
    return Phrases(tokens, n, zeros, zeros, tuple(f"a/{i}" for i in n))


def test_a_melody_that_contradicts_another_is_left_out() -> None:
    rng = np.random.default_rng(0)
    one = (60 + rng.permutation(16)).tolist()
    same_bar_goes_on_otherwise = [*one[:2], *(76 + np.arange(14) % 5).tolist()]
    two = (62 + rng.permutation(16)).tolist()
    (unit, begins), names = chosen(phrases(one, same_bar_goes_on_otherwise, two))
    assert names == ("a/0", "a/2")
    assert unit.shape == begins.shape == (2, BARS, SLICES)
    assert unit[0, 0].tolist() == [one[0] - LOWEST] * 4 + [one[1] - LOWEST] * 4
    assert begins[0, 0].tolist() == [True, False, False, False] * 2


def test_a_corpus_without_eighths_is_refused() -> None:
    odd = phrases(list(range(60, 76)))
    odd.tokens[:, 1] = FIRST + 24
    with pytest.raises(UserError, match="in eighths"):
        chosen(odd)


def test_nearly_every_bar_it_learnt_is_answered_as_it_was(system: Any) -> None:
    assert len(system.names) == MELODIES
    figures = system.evaluate(phrases(list(range(60, 76))), ANY)
    assert figures["accuracy_bars_learnt"] > 0.9
    assert figures["accuracy_slices_learnt"] > 0.98
    assert figures["phrases_held_out"] == 1
    # The last tone of a bar is not the first of the next: nothing would be right by saying it again.
    assert figures["accuracy_bars_said_again"] == 0


def test_a_melody_it_knows_comes_back_from_its_first_bar(system: Any) -> None:
    unit, begins = system._learnt
    right = 0
    for k in range(MELODIES):
        values = {"opening": k + 1, "stray": 0.0, "close": False, "rest_below": 0.5}
        ask = Ask(Task.CREATE, Score(), Region(0, BARS * BAR), CARD.values(values), 1)
        (notes,) = made(system, ask)
        rows = time_slice.rows(unit[k].ravel(), begins[k].ravel(), 2)
        right += notes.pitch.tolist() == rows[rows[:, 0] != note_step.REST, 0].tolist()
    assert right > 0.6 * MELODIES


def test_a_bar_in_another_key_is_answered_in_it(system: Any) -> None:
    line = [60, 62, 64, 65, 67, 67, 69, 67]
    plain = eighths(line, stray=0.0)
    (here,) = made(system, plain)
    moved = eighths([p + 2 for p in line], stray=0.0)
    score = moved.score.__class__(moved.score.tracks, keys=(Key(0, 2),))
    (there,) = made(system, Ask(Task.CONTINUE, score, moved.region, moved.params, 1))
    assert (there.pitch.astype(int) - 2).tolist() == here.pitch.tolist()
    assert there.onset.tolist() == here.onset.tolist()


def test_candidates_differ_and_end_on_the_keynote(system: Any) -> None:
    for stray in (0.0, 0.2):
        found = made(system, eighths([60, 62, 64, 65, 67, 67, 69, 67], 4, 8, stray=stray))
        for i, notes in enumerate(found):
            assert all(notes != other for other in found[:i])
            assert int(notes.pitch[-1]) % 12 in (0, 9)
            assert notes.duration[-1] >= PPQ
            assert notes.end.max() == 9 * BAR
            assert len(notes) > 12


def test_a_region_within_a_bar_goes_on_with_that_bar(system: Any) -> None:
    whole = eighths([60, 62, 64, 65, 67, 67, 69, 67], stray=0.0, close=False)
    (all_of_it,) = made(system, whole)
    late = Region(whole.region.start + BAR // 2, whole.region.end, frozenset({0}))
    (part,) = made(system, Ask(Task.CONTINUE, whole.score, late, whole.params, 1))
    later = all_of_it.where(all_of_it.onset > late.start)
    assert part.where(part.onset > late.start).onset.tolist() == later.onset.tolist()
    assert part.onset.min() >= late.start


def test_the_last_quarter_is_the_keynote() -> None:
    unit = np.array([62, 64, SILENT + LOWEST, 71]) - LOWEST
    made_unit, begins = closed(unit, np.array([True, True, False, True]))
    assert (made_unit + LOWEST).tolist() == [62, 64, 72, 72]
    assert begins.tolist() == [True, True, True, False]
    assert (closed(unit, begins, minor=True)[0][-2:] + LOWEST).tolist() == [69, 69]
    silence = np.full(4, SILENT)
    assert closed(silence, np.zeros(4, bool))[0].tolist() == silence.tolist()


@pytest.mark.parametrize(
    ("ask", "sentence"),
    [
        (Ask(Task.RESHAPE, Score(), Region(0, BAR), CARD.values()), "cannot"),
        (Ask(Task.CONTINUE, Score((Track(0, ""),)), Region(BAR, 2 * BAR, frozenset({0})), CARD.values()), "nothing before"),
        (
            Ask(
                Task.CREATE,
                Score((), meter=MeterMap(np.array([0]), np.array([3]), np.array([4]))),
                Region(0, BAR),
                CARD.values(),
            ),
            "not 3/4",
        ),
    ],
)  # fmt: skip
def test_bad_requests_get_a_sentence(system: Any, ask: Ask, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        made(system, ask)


def test_it_learns_from_bars_blurred_and_swapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_windowed, "BATCH", 8)
    torch.manual_seed(0)
    corpus = type(
        "C", (), {"train": phrases((60 + np.random.default_rng(1).permutation(16)).tolist())}
    )
    system = time_windowed.System.fresh()
    steps = system.train(corpus, ANY)
    first = next(steps)["loss_nats"]
    for _ in range(20):
        last = next(steps)["loss_nats"]
    assert last < 0.75 * first


def test_broken_weights_are_refused(system: Any, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    unit, begins = system._learnt
    broken = time_windowed.System(system.net, system.names)
    broken._learnt = unit + 60, begins
    broken.save(path, {"system": "time_windowed"})
    with pytest.raises(UserError, match="pitches that there are not"):
        time_windowed.System.load(path)
    system.save(path, {"system": "time_windowed"})
    card = path.with_suffix(".json")
    card.write_text(card.read_text("utf-8").replace('"hidden": 320', '"hidden": -1'), "utf-8")
    with pytest.raises(UserError, match="net's shape"):
        time_windowed.System.load(path)

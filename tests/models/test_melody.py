"""The melody representation: notes ↔ tokens, and phrases split so that validation is no training."""

from __future__ import annotations

import json
from importlib import resources

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.representations import melody
from models.representations.melody import BAR, FIRST, HIGHEST, HOLD, LOWEST, REST, TOKENS
from models.timebase import PPQ, SIXTEENTH
from models.tunes import Tune


def tune(
    name: str, pitches: list[int], *, meter: int = 4004, step: int = PPQ, shift: int = 0
) -> Tune:
    """A tune of equal notes that fill whole bars."""
    n = len(pitches)
    bar = meter // 1000 * 4 * PPQ // (meter % 1000)
    bars = np.arange(0, n * step + 1, bar)
    return Tune(
        name,
        np.arange(n) * step,
        np.full(n, step),
        np.array(pitches) + shift,
        bars,
        np.full(len(bars) - 1, meter),
    )


def walk(seed: int, notes: int) -> list[int]:
    """A random line of `notes` pitches."""
    rng = np.random.default_rng(seed)
    return (67 + np.clip(np.cumsum(rng.integers(-2, 3, notes)), -9, 9)).tolist()


@given(st.lists(st.sampled_from([REST, HOLD, FIRST, 30, 31, TOKENS - 1]), min_size=4, max_size=40))
def test_notes_and_tokens_are_two_spellings_of_one_thing(raw: list[int]) -> None:
    tokens = melody.repaired(np.array(raw, np.uint8))
    onset, duration, pitch = melody.to_notes(tokens, 7 * PPQ)
    back, lost = melody.from_notes(onset, duration, pitch, 7 * PPQ, len(tokens))
    assert back.tolist() == tokens.tolist()
    assert lost == 0
    assert (onset[:-1] + duration[:-1] <= onset[1:]).all()


def test_repair_silences_holds_that_hold_nothing() -> None:
    tokens = np.array(
        [[HOLD, 30, HOLD, REST, HOLD, HOLD], [30, HOLD, 31, HOLD, HOLD, REST]], np.uint8
    )
    assert melody.repaired(tokens)[0].tolist() == [REST, 30, HOLD, REST, REST, REST]
    assert melody.is_valid(tokens).tolist() == [False, True]
    assert not melody.is_valid(np.zeros(8, np.uint8))


def test_notes_off_the_grid_go_to_the_nearest_step_and_far_ones_to_their_octave() -> None:
    onset = np.array([20, PPQ - 30, PPQ + 10])
    tokens, lost = melody.from_notes(
        onset, np.array([400, 30, PPQ]), np.array([HIGHEST + 1, 60, LOWEST - 1]), 0, 8
    )
    assert lost == 1  # two notes on one step: the later one stays
    assert melody.pitch(tokens).tolist() == [85, -1, -1, -1, 47, -1, -1, -1]
    assert tokens[1:4].tolist() == [HOLD, REST, REST]


def test_shape_forgets_the_key_and_nothing_else() -> None:
    a = np.array([30, HOLD, 33, REST, 28, HOLD], np.uint8)
    assert melody.shape(a) == melody.shape(melody.transposed(a, 5))
    assert melody.shape(a) != melody.shape(np.array([30, HOLD, 34, REST, 28, HOLD], np.uint8))
    assert melody.shape(a) != melody.shape(np.array([30, HOLD, 33, HOLD, 28, HOLD], np.uint8))


def stretches(*tunes: Tune) -> list[melody._Stretch]:
    return [s for i, t in enumerate(tunes) for s in melody._stretches(i, t, melody.Counter())]


def test_two_four_is_read_in_doubled_values_and_other_metres_are_left_out() -> None:
    plain = tune("a/1", walk(1, 16), step=PPQ)
    short = tune("a/2", walk(1, 16), meter=2004, step=PPQ // 2)
    (one, two) = stretches(plain, short, tune("a/3", walk(1, 12), meter=3004))
    assert one.tokens.tolist() == two.tokens.tolist()
    assert (one.doubled, two.doubled) == (False, True)


def test_short_bars_at_repeats_are_filled_and_upbeats_left_out() -> None:
    # An upbeat, a bar, a bar of three beats that ends a part, an upbeat to the next part, a bar.
    lengths = np.array([1, 4, 3, 1, 4])
    bars = np.append(0, np.cumsum(lengths)) * PPQ
    onset = np.arange(13) * PPQ
    pitches = np.arange(60, 73)
    ragged = Tune("a/1", onset, np.full(13, PPQ), pitches, bars, np.full(5, 4004))
    (found,) = stretches(ragged)
    sounding = melody.pitch(found.tokens)
    assert sounding[sounding >= 0].tolist() == [61, 62, 63, 64, 65, 66, 67, 69, 70, 71, 72]
    assert found.tokens[BAR + 9 : 2 * BAR].tolist() == [HOLD] * 7


def test_a_triplet_drops_its_bar_alone() -> None:
    even = tune("a/1", walk(2, 32))
    onset = even.onset.copy()
    onset[17] += PPQ // 3
    broken = Tune("a/2", onset, even.duration, even.pitch, even.bars, even.meters)
    assert [len(s.tokens) // BAR for s in stretches(even)] == [8]
    assert [len(s.tokens) // BAR for s in stretches(broken)] == [4, 3]


def test_transposed_tunes_are_one_group_and_phrases_of_validation_are_not_in_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tunes = [tune(f"a/{i}", walk(i, 64), shift=i % 3) for i in range(60)]
    tunes += [tune(f"b/{i}", walk(i, 64), shift=5) for i in range(60)]  # each again, transposed
    valid = set(melody.for_validation(tunes))
    assert 0 < len(valid) < 60
    assert {n.replace("a/", "b/") for n in valid if n[0] == "a"} == {
        n for n in valid if n[0] == "b"
    }
    made = melody.material(tunes, 2)
    train = {melody.shape(t) for t in made.train.tokens}
    held = {melody.shape(t) for t in made.valid.tokens}
    assert held
    assert not train & held
    assert len(train) == len(made.train)
    assert made.report["windows_dropped_duplicate"] >= len(train)


def test_the_split_that_comes_with_the_program_is_used() -> None:
    split = json.loads((resources.files("assets") / "tunes_split.json").read_text("utf-8"))
    assert 0.05 < len(split["valid"]) / 13381 < 0.12
    name = next(n for n in split["valid"] if n.startswith("essen/"))
    other = "essen/altdeu10/0"
    assert other not in split["valid"]
    made = melody.material([tune(name, walk(1, 32)), tune(other, walk(2, 32))], 2)
    assert set(made.valid.tune.tolist()) == {0}
    assert set(made.train.tune.tolist()) == {1}


def test_room_is_how_far_a_phrase_can_move() -> None:
    made = melody.material(
        [tune("a/1", [LOWEST + 2, HIGHEST - 5] * 32), tune("a/2", walk(3, 64))], 2
    )
    assert len(made.train)
    for phrases in (made.train, made.valid):
        low, high = phrases.room
        for tokens, a, b in zip(phrases.tokens, low, high, strict=True):
            sounding = melody.pitch(tokens)
            sounding = sounding[sounding >= 0]
            assert (sounding.min() + a, sounding.max() + b) == (LOWEST, HIGHEST)


def test_windows_are_sixteen_steps_a_bar() -> None:
    made = melody.material([tune(f"a/{i}", walk(i, 64)) for i in range(40)], 16)
    assert made.train.tokens.shape[1] == 16 * BAR
    assert SIXTEENTH * BAR == 4 * PPQ

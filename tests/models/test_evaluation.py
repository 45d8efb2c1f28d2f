"""Figures: known answers for known inputs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_chorale import made

from models import evaluation, likeness
from models.representations import staging
from models.representations.chorale import HOLD, TOKENS, Chorale, tokens
from models.score import Notes, Score, Track, UserError
from models.timebase import PPQ


def test_an_even_guess_costs_the_logarithm_of_the_tokens() -> None:
    chorale = made()
    even = torch.full((len(chorale), 4, TOKENS), -float(np.log(TOKENS)))
    figures = evaluation.note_wise([(chorale, even)])
    for voice in ("soprano", "alto", "tenor", "bass"):
        assert figures[f"cross_entropy_{voice}_nats"] == pytest.approx(np.log(TOKENS), abs=1e-5)


def test_a_sure_and_right_guess_costs_nothing_and_onsets_count_alone() -> None:
    chorale = made()
    truth = torch.from_numpy(tokens(chorale))
    rows = torch.full((len(chorale), 4, TOKENS), -20.0)
    rows.scatter_(-1, truth[..., None], 0.0)
    rows[..., HOLD] = torch.where(truth == HOLD, 0.0, 1.0)  # right on holds alone
    figures = evaluation.note_wise([(chorale, rows)], "x_")
    holds = (tokens(chorale)[:, 0] == HOLD).mean()
    assert figures["x_accuracy_soprano"] == pytest.approx(holds)
    assert figures["x_accuracy_onsets_soprano"] == 0
    assert figures["x_cross_entropy_soprano_nats"] == pytest.approx(0, abs=1e-5)


def test_baselines_are_distributions_and_rank_as_they_should() -> None:
    pieces = [made(200, seed) for seed in range(6)]
    for baseline in (evaluation.unigram, evaluation.hold_previous):
        for _, rows in baseline(pieces[:5], pieces[5:]):
            assert torch.allclose(rows.exp().sum(-1), torch.ones(200, 4, dtype=rows.dtype))
    uni = evaluation.note_wise(evaluation.unigram(pieces[:5], pieces[5:]))
    assert 0.3 < uni["accuracy_mean"] < 0.8


def test_divergence() -> None:
    assert likeness.divergence({"a": 2, "b": 2}, {"a": 1, "b": 1}) == pytest.approx(0)
    assert likeness.divergence({"a": 1}, {"b": 1}) == pytest.approx(1)


def fifths(second: tuple[int, int, int, int]) -> Chorale:
    chorale = made(8)
    pitch = np.repeat([[72, 67, 60, 48], list(second)], 4, axis=0)
    attack = np.zeros((8, 4), bool)
    attack[[0, 4]] = True
    return replace(chorale, pitch=pitch, attack=attack)


def test_parallels_are_counted_and_contrary_motion_is_not() -> None:
    # Alto and tenor stay a fifth apart and rise together; tenor and bass stay an octave apart.
    both = likeness.rates([fifths((72, 69, 62, 50))])
    assert both["parallels_per_100_changes"] == pytest.approx(300)
    none = likeness.rates([fifths((71, 67, 62, 43))])
    assert none["parallels_per_100_changes"] == 0


def test_crossings_leaps_and_ranges() -> None:
    rates = likeness.rates([fifths((64, 67, 60, 30))])
    assert rates["crossings_per_100_steps"] == pytest.approx(50)
    assert rates["leaps_per_100_moves"] == pytest.approx(50)
    assert rates["out_of_range_per_100_steps"] == pytest.approx(12.5)


def test_a_body_of_music_is_like_itself() -> None:
    pieces = [made(64, seed) for seed in range(3)]
    figures = likeness.distances(pieces, pieces)
    assert all(v == pytest.approx(0) for k, v in figures.items() if k.startswith("distance_"))
    other = likeness.distances([made(64, 9)], pieces)
    assert all(v > 0 for k, v in other.items() if k.startswith("distance_"))


def test_a_users_score_is_a_chorale_when_it_has_four_voices() -> None:
    chorale = made(32)
    back = evaluation.from_score(staging.score_of(chorale), "mine.mid")
    assert np.array_equal(back.pitch, chorale.pitch)
    duo = Score((Track(0, "a", Notes.of([0], PPQ, 60)), Track(1, "b", Notes.of([0], PPQ, 50))))
    with pytest.raises(UserError, match=r"duo\.mid has 2 tracks"):
        evaluation.chorales([(Path("duo.mid"), duo)])


def test_data_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UserError, match="say valid, test"):
        evaluation.held("everything")

"""Attributes: phrases made so that each measures what it must."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import attributes
from models.attributes import NAMES, UNITS, measure
from models.representations.melody import FIRST, HOLD, LOWEST, REST, TOKENS, repaired, transposed


def phrase(*notes: tuple[int, int, int], steps: int = 32) -> np.ndarray:
    """[1, steps] tokens of notes (step, length, pitch)."""
    out = np.zeros((1, steps), np.uint8)
    for at, length, pitch in notes:
        out[0, at] = FIRST + pitch - LOWEST
        out[0, at + 1 : at + length] = HOLD
    return out


def of(name: str, tokens: np.ndarray, **key: int) -> float:
    return float(measure(tokens, **key)[0, NAMES.index(name)])


QUARTERS = phrase(*((4 * k, 4, 60 + k) for k in range(8)))
EIGHTHS = phrase(*((2 * k, 2, 60) for k in range(16)))


def test_counts_compass_and_steps() -> None:
    assert of("density", QUARTERS) == 4
    assert of("density", EIGHTHS) == 8
    assert of("range", QUARTERS) == 7
    assert of("pitch", QUARTERS) == 63.5
    assert of("leaps", QUARTERS) == 1
    assert of("leaps", phrase((0, 8, 60), (8, 8, 72), (24, 8, 67))) == 8.5  # across the rest, too


def test_pitch_is_weighed_by_how_long_it_sounds() -> None:
    assert of("pitch", phrase((0, 24, 60), (24, 8, 72))) == 63


def test_a_straight_line_has_its_slope() -> None:
    rising = of("contour", QUARTERS)
    assert rising == pytest.approx(4, abs=0.1)  # four quarters a bar, a semitone each
    falling = phrase(*((4 * k, 4, 67 - k) for k in range(8)))
    assert of("contour", falling) == pytest.approx(-rising, abs=1e-4)
    assert of("contour", EIGHTHS) == pytest.approx(0, abs=1e-5)


def test_rhythm_is_the_entropy_of_durations() -> None:
    assert of("rhythm", EIGHTHS) == 0
    halves = phrase(*((16 * b + at, n, 60) for b in (0, 1) for at, n in ((0, 4), (4, 12))))
    assert of("rhythm", halves) == pytest.approx(1)


def test_syncopation_is_off_the_beat() -> None:
    assert of("syncopation", QUARTERS) == 0
    assert of("syncopation", EIGHTHS) == 0
    late = phrase(*((16 * b + at, n, 60) for b in (0, 1) for at, n in ((0, 2), (2, 4), (6, 10))))
    # A bar of eighth, quarter, held eighth: 3 levels given up, 1 held past beat two, 2 past beat three.
    assert of("syncopation", late) == pytest.approx(6)
    tied = phrase((0, 14, 60), (14, 18, 62))
    assert of("syncopation", tied) > of("syncopation", phrase((0, 16, 60), (16, 16, 62)))


def test_repetition_sees_what_comes_again() -> None:
    figure = [(0, 2, 60), (2, 2, 64), (4, 4, 62)]
    again = phrase(*((at + 8 * k, n, p) for k in range(4) for at, n, p in figure))
    assert of("repetition", again) == 1
    moved = phrase(*((at + 8 * k, n, p + 3 * k) for k in range(4) for at, n, p in figure))
    assert of("repetition", again) > of("repetition", moved) >= 0.5
    rng = np.random.default_rng(0)
    noise = rng.integers(0, TOKENS, (1, 32)).astype(np.uint8)
    assert of("repetition", noise) < of("repetition", moved)


def test_tension_rises_away_from_the_key() -> None:
    tonic, scale, foreign = (
        phrase(*((4 * k, 4, p) for k, p in enumerate(pitches)))
        for pitches in (
            (60, 64, 67, 64, 60, 64, 67, 60),
            (60, 62, 64, 65, 67, 69, 71, 72),
            (61, 63, 66, 68, 70, 61, 63, 66),
        )
    )
    known = [of("tension", t, sharps=0, minor=0) for t in (tonic, scale, foreign)]
    assert known[0] < known[1] < known[2]
    assert of("tension", foreign) < known[2]  # in a key of its own it is at home
    assert of("tension", scale, sharps=0) == pytest.approx(known[1])  # C major or A minor: C fits


def test_the_key_that_fits_is_found() -> None:
    scale = (0, 2, 4, 5, 7, 4, 2, 0)
    for sharps in range(-5, 6):
        tonic = 60 + sharps * 7 % 12
        tokens = phrase(*((4 * k, 4, tonic + p) for k, p in enumerate(scale)))
        found, minor = attributes.key(tokens)
        assert (found[0] - sharps) % 12 == 0
        assert minor[0] == 0


def test_silence_measures_nothing() -> None:
    measured = measure(np.full((2, 32), REST, np.uint8))
    assert measured.shape == (2, len(UNITS))
    assert measured[0, NAMES.index("pitch")] == 66
    assert (np.delete(measured, NAMES.index("pitch"), 1) == 0).all()
    assert measure(np.zeros((0, 32), np.uint8)).shape == (0, len(UNITS))


tokens_of = st.lists(st.integers(10, 40) | st.just(HOLD) | st.just(REST), min_size=32, max_size=32)


@given(tokens_of, st.integers(-8, 8))
def test_only_the_pitch_hears_a_transposition(line: list[int], semitones: int) -> None:
    tokens = repaired(np.array([line], np.uint8))
    here, there = measure(tokens), measure(transposed(tokens, semitones))
    assert np.isfinite(here).all()
    heard = there - here
    pitch = NAMES.index("pitch")
    expected = semitones if (tokens >= FIRST).any() else 0
    assert heard[0, pitch] == pytest.approx(expected, abs=1e-3)
    assert np.abs(np.delete(heard, pitch, 1)).max() < 1e-3


def test_a_batch_is_its_phrases_one_by_one() -> None:
    rng = np.random.default_rng(1)
    tokens = repaired(rng.choice([REST, HOLD, HOLD, 26, 30, 33, 38], (20, 64)).astype(np.uint8))
    together = measure(tokens)
    alone = np.concatenate([measure(tokens[i : i + 1]) for i in range(20)])
    assert np.allclose(together, alone, atol=1e-5)

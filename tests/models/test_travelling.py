"""Travelling over the map with the real weights: a place is heard, and is exactly where it was asked for."""

from __future__ import annotations

import numpy as np
import pytest

from models import catalogue, space
from models.coder import Coder
from models.space import Space
from models.strategies.codes import Codes, decode, encode
from models.strategies.travelling import travel

SYSTEM = "music_vae_2bar"
PHRASES = 24

Found = tuple[Coder, Space, Codes]


@pytest.fixture(scope="module")
def found() -> Found:
    """The system, its space, and codes of some phrases of the map."""
    path = space.shipped(SYSTEM)
    assert path is not None
    coder, known = catalogue.load(SYSTEM), space.load(path, SYSTEM)
    some = np.linspace(0, len(known.points) - 1, PHRASES).astype(int)
    return coder, known, encode(coder, known.point_tokens[some])  # type: ignore[return-value, arg-type]


def test_a_phrase_that_goes_nowhere_is_what_it_was(found: Found) -> None:
    coder, known, z = found
    assert np.array_equal(travel(coder, known, z, 0, 0), z)


@pytest.mark.parametrize(("dx", "dy"), [(0.3, 0.0), (-1.5, 2.0), (6.0, -9.0)])
def test_it_lies_where_it_was_sent(found: Found, dx: float, dy: float) -> None:
    coder, known, z = found
    moved = travel(coder, known, z, dx, dy)
    assert known.project(moved) - known.project(z) == pytest.approx(
        np.tile([dx, dy], (PHRASES, 1)), abs=1e-3
    )
    assert np.array_equal(moved, travel(coder, known, z, dx, dy))


def test_the_further_it_goes_the_more_of_it_changes(found: Found) -> None:
    coder, known, z = found
    spread = float(known.points.astype(np.float32).std(0).mean())
    before = decode(coder, z)

    def changed(codes: Codes) -> float:
        return float((decode(coder, codes) != before).mean())

    shares = [changed(travel(coder, known, z, r * spread, 0)) for r in (0.1, 0.5, 1.0, 2.0)]
    assert shares == sorted(shares)
    assert shares[0] < 0.05, "a small step leaves it what it is"
    assert shares[2] > 0.15, "one deviation is heard"
    assert shares[2] > 2 * changed(known.shift(z, spread, 0)), "which the map's own ways are not"


def test_it_takes_on_what_lies_there(found: Found) -> None:
    coder, known, z = found
    own = known.project(z)
    goal = len(known.points) // 3
    there = known.points[goal].astype(np.float32)
    far = np.linalg.norm(own - there, axis=-1).argmax()
    dx, dy = (there - own[far]).tolist()
    theirs = encode(coder, known.point_tokens[[goal]])[0]
    away = np.linalg.norm(travel(coder, known, z[[far]], dx, dy)[0] - theirs)
    assert away < 0.8 * np.linalg.norm(known.shift(z[[far]], dx, dy)[0] - theirs)

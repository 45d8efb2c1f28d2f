"""Space: its arithmetic, its file, and what is learnt without a network."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from models import space
from models.attributes import NAMES
from models.score import UserError
from models.space import Space

K, L = len(NAMES), 12


def some(seed: int = 0, steps: int = 32) -> Space:
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(rng.normal(size=(L, 2)))[0].T
    return Space(
        direction=rng.normal(size=(K, L)).astype(np.float32),
        mean=np.arange(K, dtype=np.float32),
        scale=np.ones(K, np.float32),
        curve=np.zeros((K, 7), np.float32),
        rho=np.linspace(0.2, 1, K).astype(np.float32),
        drift=np.zeros(K, np.float32),
        code_scale=np.ones(L, np.float32),
        map_mean=rng.normal(size=L).astype(np.float32),
        map_axes=axes.astype(np.float32),
        points=rng.normal(size=(5, 2)).astype(np.float16),
        point_attributes=rng.normal(size=(5, K)).astype(np.float16),
        point_tokens=rng.integers(0, 60, (5, steps)).astype(np.uint8),
    )


def test_sliders_add_up_and_zero_is_nothing() -> None:
    s, z = some(), np.random.default_rng(1).normal(size=(4, L)).astype(np.float32)
    assert np.array_equal(s.push(z, {}), z)
    moved = s.push(z, {"density": 2.0, "tension": -1.0})
    assert np.allclose(moved - z, 2 * s.direction[0] - s.direction[-1], atol=1e-5)


def test_a_shift_on_the_map_is_that_and_nothing_else() -> None:
    s, z = some(), np.random.default_rng(1).normal(size=(4, L)).astype(np.float32)
    moved = s.shift(z, 1.5, -0.5)
    assert np.allclose(s.project(moved) - s.project(z), [1.5, -0.5], atol=1e-5)
    beside_the_map = np.eye(L) - s.map_axes.T @ s.map_axes
    assert np.allclose((moved - z) @ beside_the_map, 0, atol=1e-5)


def test_sliders_that_act_are_named() -> None:
    s = some()
    assert not s.acts("density")
    assert s.acts("tension")
    assert s.acting == NAMES[4:]


def test_a_space_comes_back_from_disk(tmp_path: Path) -> None:
    path = space.beside(tmp_path / "vae.safetensors")
    assert path.name == "vae.space.safetensors"
    space.save(path, some(), {"system": "vae"})
    back = space.load(path, "vae")
    assert all(np.array_equal(getattr(back, n), a) for n, a in vars(some()).items())
    assert (back.latent, back.bars) == (L, 2)
    with pytest.raises(UserError, match="holds no weights for other"):
        space.load(path, "other")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"rho": None}, "lacks the tensor rho"),
        ({"direction": None}, "lacks the tensor direction"),
        ({"direction": np.full((K, L), np.nan, np.float32)}, "no numbers"),
        ({"map_axes": np.zeros((2, L + 1), np.float32)}, "has shape"),
        ({"point_tokens": np.full((5, 32), 200, np.uint8)}, "no melodies"),
        ({"point_tokens": np.zeros((5, 31), np.uint8)}, "no melodies"),
        ({"point_tokens": np.zeros(5, np.uint8)}, "has shape"),
        ({"extra": np.zeros(1, np.float32)}, "unknown tensor extra"),
    ],
)
def test_a_broken_space_is_refused(tmp_path: Path, change: dict, complaint: str) -> None:
    path = tmp_path / "vae.space.safetensors"
    space.save(path, some(), {"system": "vae"})
    tensors = {**load_file(path), **change}
    save_file({n: t for n, t in tensors.items() if t is not None}, path)
    with pytest.raises(UserError, match=complaint):
        space.load(path, "vae")


def test_a_truncated_file_and_a_missing_card_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "vae.space.safetensors"
    with pytest.raises(UserError, match="could not be read"):
        space.load(path, "vae")
    space.save(path, some(), {"system": "vae"})
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="not a whole"):
        space.load(path, "vae")
    path.write_bytes(whole)
    path.with_suffix(".json").write_text(json.dumps([]), "utf-8")
    with pytest.raises(UserError, match="no weights for vae"):
        space.load(path, "vae")


def linear_world(count: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Codes whose first nine coordinates are, after a mixing, the attributes, two of which go together."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=(count, K))
    a[:, 1] = 0.8 * a[:, 0] + 0.6 * a[:, 1]
    mixing = rng.normal(size=(K, L))
    return a @ mixing + 0.05 * rng.normal(size=(count, L)), a


def test_directions_move_one_attribute_and_leave_the_others() -> None:
    codes, a = linear_world()
    reading = np.linalg.lstsq(codes, (a - a.mean(0)) / a.std(0), rcond=None)[0]
    moved = space.directions(codes, a) @ reading
    assert np.allclose(moved, np.eye(K), atol=0.05)
    # The plain difference of means drags along what goes together in the corpus.
    low, high = np.quantile(a[:, 0], [0.25, 0.75])
    plain = (codes[a[:, 0] >= high].mean(0) - codes[a[:, 0] <= low].mean(0)) @ reading
    assert plain[1] / plain[0] == pytest.approx(0.8, abs=0.08)


def test_directions_survive_what_never_changes() -> None:
    codes = np.zeros((4, L))
    found = space.directions(codes, np.ones((4, K)))
    assert np.isfinite(found).all()


def test_the_map_shows_where_codes_differ_most_and_points_up() -> None:
    codes, a = linear_world()
    codes = codes * 0.01
    codes[:, 3] += 5 * a[:, 2]
    codes[:, 7] -= 3 * a[:, 5]
    mean, axes = space.chart(codes, a)
    assert np.allclose(axes @ axes.T, np.eye(2), atol=1e-5)
    assert abs(axes[0, 3]) > 0.9
    assert abs(axes[1, 7]) > 0.9
    places = (codes - mean) @ axes.T
    assert np.corrcoef(places[:, 0], a[:, 2])[0, 1] > 0.9
    assert np.corrcoef(places[:, 1], a[:, 5])[0, 1] > 0.9


def test_points_are_spread_out() -> None:
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(size=(2000, 2)) * 0.1, rng.uniform(-5, 5, (50, 2))])
    chosen = space.spread_out(points, 200, np.random.default_rng(1))
    assert len(set(chosen)) == 200
    assert (chosen >= 2000).sum() >= 45  # the few far out are nearly all there
    assert len(space.spread_out(points[:7], 200, rng)) == 7


def test_rank_correlations() -> None:
    x = np.arange(5.0)
    y = np.array([[1, 2, 3, 4, 50], [5, 4, 3, 2, 1], [1, 1, 1, 1, 1], [0, 0, 1, 1, 1]])
    found = space.rank_correlations(x, y)
    assert found[:3] == pytest.approx([1, -1, 0])
    assert found[3] == pytest.approx(0.866, abs=1e-3)  # scipy.stats.spearmanr says so


def test_values_change_by_copy() -> None:
    assert replace(some(), rho=np.ones(K, np.float32)).acting == NAMES

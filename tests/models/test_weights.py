"""Weights on disk: what is written comes back, and what is broken is refused in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from models import weights
from models.score import UserError
from models.systems import deep_bach, mini_bach

SMALL = deep_bach.Shape(units=8, voice_width=4, meta_width=4, joined=8)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "deep_bach.safetensors"
    deep_bach.System.fresh(shape=SMALL).save(path, {"system": "deep_bach"})
    return path


def refused(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        deep_bach.System.load(path)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert path.stem in sentence
    return sentence


def test_truncated(saved: Path) -> None:
    whole = saved.read_bytes()
    for size in (0, 7, 50, len(whole) - 1):
        saved.write_bytes(whole[:size])
        refused(saved)


def test_missing_or_without_a_card(saved: Path) -> None:
    saved.with_suffix(".json").unlink()
    assert "card" in refused(saved)
    saved.unlink()
    assert "could not be read" in refused(saved)


def test_a_card_that_is_no_json_or_lacks_the_shape(saved: Path) -> None:
    saved.with_suffix(".json").write_text("{")
    assert "JSON" in refused(saved)
    saved.with_suffix(".json").write_text('{"system": "deep_bach"}')
    assert "shape" in refused(saved)


def test_another_systems(saved: Path) -> None:
    with pytest.raises(UserError, match="no weights for mini_bach"):
        mini_bach.System.load(saved)


def test_another_shape_and_values_that_are_no_numbers(saved: Path) -> None:
    card = json.loads(saved.with_suffix(".json").read_text())
    card["shape"]["units"] = 16
    saved.with_suffix(".json").write_text(json.dumps(card))
    assert "has shape" in refused(saved)
    tensors, card = weights.load(saved, "deep_bach")
    card["shape"]["units"] = 8
    name = next(iter(tensors))
    tensors[name] = np.full_like(tensors[name], np.nan)
    weights.save(saved, tensors, card)
    assert "no numbers" in refused(saved)


def test_shipped_weights_have_complete_cards() -> None:
    for system_id in ("deep_bach", "mini_bach"):
        path = weights.shipped(system_id)
        _, card = weights.load(path, system_id)
        for key in ("corpus", "split", "seed", "minutes", "license", "attribution"):
            assert card[key] not in ("", None), key
        assert card["figures_valid"]["cross_entropy_alto_nats"] > 0
        assert path.stat().st_size < 15e6

"""The corpus: what is read from music21's files, and what can't be reached for training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models import corpora
from models.representations.chorale import METERS, MINOR, tokens
from models.score import UserError


@pytest.fixture(scope="module")
def several() -> dict[str, corpora.Chorale]:
    """A few training chorales that between them have every trap."""
    return {n: corpora.parse(f"bach/{n}.mxl") for n in ("bwv108.6", "bwv117.4", "bwv299")}


def test_a_pickup_is_the_end_of_a_bar(several: dict[str, corpora.Chorale]) -> None:
    chorale = several["bwv108.6"]
    assert chorale.position[:6].tolist() == [12, 13, 14, 15, 0, 1]
    assert chorale.position[-1] == 11
    assert set(chorale.meter.tolist()) == {METERS[4, 4]}


def test_key_mode_and_fermatas(several: dict[str, corpora.Chorale]) -> None:
    chorale = several["bwv108.6"]
    assert chorale.sharps[0] == 2
    assert chorale.mode[0] == MINOR
    begins = np.flatnonzero(np.diff(chorale.fermata) == 1) + 1
    assert len(begins) == 6
    assert chorale.attack[begins, 0].all()


def test_ties_are_holds_and_grace_notes_are_left_out(
    several: dict[str, corpora.Chorale],
) -> None:
    from music21 import corpus

    for name, chorale in several.items():
        stream = corpus.parse(f"bach/{name}.mxl")
        for voice, part in enumerate(stream.parts):
            whole = part.stripTies()
            notes = [n for n in whole.recurse().notes if not n.duration.isGrace]
            struck = chorale.attack[:, voice] & (chorale.pitch[:, voice] >= 0)
            assert struck.sum() == len(notes), (name, voice)
            onsets = [round(float(n.getOffsetInHierarchy(whole)) * 4) for n in notes]
            assert np.flatnonzero(struck).tolist() == onsets
            pitches = chorale.pitch[onsets, voice].tolist()
            assert pitches == [n.pitch.midi for n in notes]


def test_transposing_keeps_the_normal_key(several: dict[str, corpora.Chorale]) -> None:
    chorale = several["bwv108.6"]
    for semitones in chorale.transpositions():
        moved = chorale.transposed(semitones)
        same = (tokens(moved) - tokens(chorale))[tokens(chorale) > 3]
        # Whole octaves when the signature's tonic passes the middle, nothing otherwise.
        assert set(np.unique(same).tolist()) <= {-12, 0, 12}
        assert len(np.unique(same)) == 1


def test_held_out_music_is_no_split() -> None:
    for word in ("test", "near_duplicates_of_test", "near_duplicates_of_valid"):
        with pytest.raises(ValueError, match="train and valid"):
            corpora.load(word)  # type: ignore[arg-type]
    table = corpora._split_file()
    seen = set(corpora.split_names("train")) | set(corpora.split_names("valid"))
    hidden = set(table["test"]) | set(table["near_duplicates_of_test"])
    assert not seen & (hidden | set(table["near_duplicates_of_valid"]))
    assert not set(corpora.split_names("train")) & set(corpora.split_names("valid"))


def test_a_cache_that_was_cut_short_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["bach/bwv108.6.mxl", "bach/bwv117.4.mxl"]
    monkeypatch.setattr(corpora, "split_names", lambda split: names)
    first = corpora.load("valid", tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:100])
    again = corpora.load("valid", tmp_path)
    assert [c.name for c in again] == names
    assert all(np.array_equal(a.pitch, b.pitch) for a, b in zip(first, again, strict=True))


def test_a_piece_that_has_not_four_parts_is_refused() -> None:
    from music21 import stream

    with pytest.raises(UserError, match="has 1 parts"):
        corpora.from_music21(stream.Score([stream.Part()]), "solo")

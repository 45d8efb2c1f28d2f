"""Tunes: what the page says, bar by bar, and the cache that keeps it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models import tunes
from models.score import Key, Notes, Score, Track, UserError
from models.timebase import PPQ, MeterMap
from models.tunes import Tune

REEL = """X:1
T:Divided bars
M:C
L:1/8
K:Ador
AG|:A2B2 c2d2|e2-ef g4|a2 (3efg a2 b2|A4 A2:|
|:Bc|d2B2 G2B2|A4 {g}A2:|
"""


@pytest.fixture(scope="module")
def reel(tmp_path_factory: pytest.TempPathFactory) -> Tune:
    """The tune above, from a folder of its own."""
    folder = tmp_path_factory.mktemp("abc") / "session"
    folder.mkdir()
    (folder / "a.abc").write_text(REEL, "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tunes, "BUNDLED", ())
        (found,) = tunes.load(folder.parent / "cache", folder)
    return found


def test_halves_of_a_bar_at_a_repeat_are_one_bar(reel: Tune) -> None:
    assert (np.diff(reel.bars) / PPQ).tolist() == [1, 4, 4, 4, 4, 4, 3]
    assert set(reel.meters.tolist()) == {4004}


def test_notes_are_as_written(reel: Tune) -> None:
    assert reel.pitch[:6].tolist() == [69, 67, 69, 71, 72, 74]
    tied = np.flatnonzero(reel.onset == 5 * PPQ)[0]
    assert reel.duration[tied] == PPQ * 3 // 2
    triplet = (reel.onset >= 10 * PPQ) & (reel.onset < 11 * PPQ)
    assert reel.duration[triplet].tolist() == [PPQ // 3] * 3
    assert reel.onset[-1] + reel.duration[-1] == reel.bars[-1]
    assert (reel.onset[:-1] + reel.duration[:-1] <= reel.onset[1:]).all()
    assert (reel.sharps, reel.collection) == (1, "session")


def test_a_folder_is_parsed_once_and_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "two.abc").write_text(REEL + "\n" + REEL.replace("X:1", "X:2"), "utf-8")
    (folder / "broken.abc").write_text("X:1\nK:\n|||", "utf-8")
    monkeypatch.setattr(tunes, "BUNDLED", ())
    first = tunes.load(tmp_path / "cache", folder)
    assert [t.name for t in first] == ["mine/two.abc/0", "mine/two.abc/1"]
    monkeypatch.setattr(tunes, "_parse", None)  # nothing is parsed a second time
    again = tunes.load(tmp_path / "cache", folder)
    for a, b in zip(first, again, strict=True):
        assert (a.name, a.sharps, a.minor) == (b.name, b.sharps, b.minor)
        for column in ("onset", "duration", "pitch", "bars", "meters"):
            assert np.array_equal(getattr(a, column), getattr(b, column))


def test_a_folder_without_music_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("la la")
    with pytest.raises(UserError, match="has no files"):
        tunes.load(tmp_path / "cache", tmp_path)


def test_the_bundled_collections_are_there() -> None:
    counts = {name: len(tunes._tasks(name, None)) for name in tunes.BUNDLED}
    assert counts["oneills"] == 2009
    assert counts["ryans"] == 1059
    assert counts["essen"] > 8000
    assert counts["airds"] > 1100
    assert counts["sopranos"] == 256


def test_a_score_is_read_as_its_skyline() -> None:
    notes = Notes.of([PPQ, PPQ, 2 * PPQ, 4 * PPQ], [PPQ, PPQ, 4 * PPQ, PPQ], [60, 64, 67, 65])
    score = Score(
        (Track(0, "empty"), Track(1, "line", notes)),
        meter=MeterMap(np.zeros(1), np.array([3]), np.array([4])),
        keys=(Key(0, -3, True),),
    )
    tune = tunes.from_score(score, "own/x")
    assert tune is not None
    assert tune.pitch.tolist() == [64, 67, 65]
    assert tune.duration.tolist() == [PPQ, 2 * PPQ, PPQ]
    assert tune.bars.tolist() == [0, 3 * PPQ, 6 * PPQ]
    assert tune.meters.tolist() == [3004, 3004]
    assert (tune.sharps, tune.minor) == (-3, 1)
    assert tunes.from_score(Score(), "own/none") is None

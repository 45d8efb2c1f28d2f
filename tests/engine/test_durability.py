"""Nothing committed is lost when the process is killed: a short run of `ricercar bench durability`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine import bench_durability, project
from engine.bench_durability import Tally, kill_often, music, script
from engine.document import Document


def test_eight_kills_lose_nothing(tmp_path: Path) -> None:
    tally = kill_often(tmp_path / "killed.ricercar", kills=8, seed=3, most_acts=100)
    assert tally.kills == 8
    assert tally.acts > 200
    assert (tally.lost, tally.unreadable, tally.stuck) == (0, 0, 0)
    assert len(project.load(tmp_path / "killed.ricercar").steps) > 100


def test_the_script_is_the_same_every_time_and_does_all_it_should() -> None:
    documents = [Document(music(200)) for _ in range(2)]
    for document in documents:
        went = np.diff([document.position for _ in script(document, seed=1, acts=200)])
    assert documents[0].score == documents[1].score
    assert documents[0].steps == documents[1].steps
    assert {step.label.split()[0] for step in documents[0].steps} == {"Add", "Delete", "Move"}
    assert (went == -1).sum() > 10


@pytest.mark.parametrize("lost_acts", [1, 7])
def test_a_lost_commit_would_be_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost_acts: int
) -> None:
    """The measure is no measure unless it can fail: put back the file of some acts ago."""
    path = tmp_path / "killed.ricercar"
    log = path.with_name(path.name + "-wal")

    def kill_and_put_back(path: Path, seed: int, chance: object, most: int) -> list[float]:
        document = project.Project.open(path)
        for number, _ in enumerate(script(document, seed, 30), 1):
            if number == 30 - lost_acts:
                earlier = path.read_bytes(), log.read_bytes()
        bench_durability._let_go(document)
        path.write_bytes(earlier[0])
        log.write_bytes(earlier[1])
        return [0.001] * 30

    monkeypatch.setattr(bench_durability, "_kill_one", kill_and_put_back)
    seed = next(s for s in range(999) if _each_of_the_last_acts_counts(s))
    tally = kill_often(path, kills=1, seed=seed)
    assert (tally.lost, tally.unreadable, tally.stuck) == (lost_acts, 0, 0)


def _each_of_the_last_acts_counts(seed: int) -> bool:
    document = Document(music(200))
    positions = [document.position for _ in script(document, seed, 30)]
    return positions[-8:] == list(range(positions[-8], positions[-8] + 8))


def test_an_unreadable_file_would_be_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill_and_spoil(path: Path, seed: int, chance: object, most: int) -> list[float]:
        path.write_bytes(b"nothing")
        return [0.001]

    monkeypatch.setattr(bench_durability, "_kill_one", kill_and_spoil)
    tally = kill_often(tmp_path / "killed.ricercar", kills=2, seed=1)
    assert tally == Tally(2, 2, 0, 2, 0, [0.001, 0.001], [])

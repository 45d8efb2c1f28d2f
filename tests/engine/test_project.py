"""The project file: durable commits, history across restarts, and everything a file can be instead."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from music import edit, ordinary, scores

from engine import database, edits, project
from engine import document as document_module
from engine.document import Document
from engine.project import Project
from models.score import Score, UserError

NOBODY = 65534


def history(document: Document) -> tuple[list[Score], list[str], int, int]:
    """Every score undo and redo can reach, the labels, and where the document stands. Walks it all."""
    position = document.position
    while document.undo_label is not None:
        document.undo()
    reached = [document.score]
    while document.redo_label is not None:
        document.redo()
        reached.append(document.score)
    while document.position > position:
        document.undo()
    return reached, [step.label for step in document.steps], position, document.first


def killed(document: Document) -> Path:
    """What a killed process leaves: a copy of its file and the log beside it, in a folder of their own."""
    kept = project.project_of(document)
    assert kept is not None
    folder = Path(tempfile.mkdtemp(dir=kept.path.parent))
    for path in kept.path.parent.glob(f"{kept.path.name}*"):
        if path.is_file():
            shutil.copyfile(path, folder / path.name)
    return folder / kept.path.name


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Document]:
    document = Project.open(path)
    try:
        yield document
    finally:
        project.close(document)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "Song.ricercar"


def edited(path: Path, steps: int = 6) -> Document:
    document = Project.create(path, ordinary(40))
    for k in range(steps):
        document.commit(f"Step {k}", edits.move(document.score, [k % 40], 240))
    return document


# --- keeping --------------------------------------------------------------------------------------


def test_history_survives_a_restart(path: Path) -> None:
    document = edited(path)
    document.undo()
    document.undo()
    before = history(document)
    project.close(document)
    assert sorted(p.name for p in path.parent.iterdir()) == [path.name]
    with opened(path) as again:
        assert history(again) == before
        assert (again.undo_label, again.redo_label) == ("Step 3", "Step 4")
        again.commit("After", edits.delete(again.score, [1]))
        after = history(again)
    with opened(path) as once_more:
        assert history(once_more) == after
        assert once_more.redo_label is None


def test_a_commit_is_in_the_file_when_it_returns(path: Path) -> None:
    document = Project.create(path, ordinary(40))
    for k in range(3):
        document.commit(f"Step {k}", edits.move(document.score, [k], 240))
        with opened(killed(document)) as left:
            assert left.score == document.score
            assert left.undo_label == f"Step {k}"
    document.undo()
    with opened(killed(document)) as left:
        assert left.score == document.score
        assert left.redo_label == "Step 2"
    project.close(document)


def test_every_commit_is_synchronised_to_the_disk(path: Path) -> None:
    """What a power cut would ask for, and no kill can test: that SQLite is told to wait for the disk."""
    document = edited(path)
    connection = document.journal._connection  # type: ignore[union-attr]
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    project.close(document)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    scores(),
    st.integers(0, 2**32 - 1),
    st.lists(
        st.sampled_from(
            ("commit", "commit", "undo", "redo", "preview", "revert", "reopen", "kill")
        ),
        max_size=25,
    ),
    st.sampled_from((2, 4, 1000)),
)
def test_any_sequence_reopens_as_it_was(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    score: Score,
    seed: int,
    acts: list[str],
    many: int,
) -> None:
    """The document, its history and its place in it, whatever was done and however it ended; with
    snapshots and bounds so close that they fall anywhere."""
    monkeypatch.setattr(project, "SNAPSHOT_STEPS", many)
    monkeypatch.setattr(project, "CLOSING_STEPS", many)
    monkeypatch.setattr(document_module, "HISTORY_STEPS", 3 * many)
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    rng = np.random.default_rng(seed)
    document = Project.create(folder / "a.ricercar", score)
    twin = Document(score)  # in memory only: what should have been kept
    for number, act in enumerate([*acts, "kill"]):
        match act:
            case "commit":
                new = edit(document.score, rng)
                document.commit(f"Step {number}", new)
                twin.commit(f"Step {number}", new)
            case "undo" | "redo":
                getattr(document, act)()
                getattr(twin, act)()
            case "preview":
                document.preview(edit(document.score, rng))
            case "revert":
                document.revert()
            case "reopen" | "kill":
                if act == "reopen":
                    left = project.project_of(document).path
                    project.close(document)
                else:
                    left = killed(document)
                    project.project_of(document).release()
                document = Project.open(left)
                assert document.score == twin.score
                assert document.position == twin.position
    assert history(document) == history(twin)
    project.close(document)


def test_bounded_history_is_bounded_in_the_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(document_module, "HISTORY_STEPS", 10)
    document = edited(path, 50)
    before = history(document)
    assert len(before[0]) == 11
    project.close(document)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*), min(position) FROM step").fetchone() == (10, 41)
    with opened(path) as again:
        assert history(again) == before


def test_a_hundred_thousand_notes_take_a_small_commit(path: Path) -> None:
    document = Project.create(path, ordinary(100_000))
    size = path.stat().st_size
    for k in range(20):
        document.commit("Move", edits.move(document.score, range(k, 100_000, 10_000), 240))
    written = path.with_name("Song.ricercar-wal").stat().st_size
    assert written < 20 * 5 * 4096 + 4096  # a few pages each, and not the score's
    assert size > 2_800_000
    project.close(document)


# --- naming, copying, leaving ---------------------------------------------------------------------


def test_save_as_goes_on_in_the_new_file(path: Path) -> None:
    document = edited(path)
    document.undo()
    before = history(document)
    other = path.with_name("Other.ricercar")
    project.save_as(document, other)
    document.commit("Later", edits.delete(document.score, [3]))
    project.close(document)
    with opened(path) as old:
        assert history(old) == before
    with opened(other) as new:
        assert new.undo_label == "Later"
        new.undo()
        assert new.score == before[0][before[2]]


def test_save_as_over_an_old_project_leaves_none_of_its_log(path: Path) -> None:
    """A log left by a killed process must not be replayed into the file that takes the old one's place."""
    crashed = killed(edited(path))
    assert crashed.with_name(crashed.name + "-wal").stat().st_size
    document = Document(ordinary(5, seed=9))
    project.save_as(document, crashed)
    project.close(document)
    assert project.load(crashed).score == ordinary(5, seed=9)


def test_saving_where_it_is_changes_nothing(path: Path) -> None:
    document = edited(path)
    inode = path.stat().st_ino
    project.save_as(document, path)
    assert path.stat().st_ino == inode
    document.commit("Still writable", edits.delete(document.score, [0]))
    project.close(document)


def test_a_failed_save_as_changes_nothing(path: Path) -> None:
    document = edited(path)
    kept = document.journal
    with pytest.raises(UserError, match="There is no folder"):
        project.save_as(document, path.parent / "no" / "where.ricercar")
    assert document.journal is kept
    document.commit("Still here", edits.delete(document.score, [0]))
    project.close(document)
    assert project.load(path).undo_label == "Still here"


def test_a_score_alone_is_written_and_read(path: Path) -> None:
    project.save_score(ordinary(40), path)
    assert project.read_score(path) == ordinary(40)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_load_lets_go_of_the_file(path: Path) -> None:
    project.close(edited(path))
    before = path.stat()
    document = project.load(path)
    document.commit("Nowhere", edits.delete(document.score, [0]))
    assert project.project_of(document) is None
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert project.load(path).undo_label == "Step 5"


def test_untitled_projects(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    assert project.unsaved(folder) == []
    first = Project.create_untitled(ordinary(5), folder)
    second = Project.create_untitled(ordinary(5), folder)
    assert [p.name for p in project.unsaved(folder)] == [
        "Untitled 1.ricercar",
        "Untitled 2.ricercar",
    ]
    first.commit("Move", edits.move(first.score, [0], 240))
    assert project.unsaved(folder)[-1].name == "Untitled 1.ricercar"
    project.close(second)  # never edited: nothing to keep
    project.close(first)
    assert [p.name for p in project.unsaved(folder)] == ["Untitled 1.ricercar"]
    with opened(project.unsaved(folder)[0]) as again:
        assert project.project_of(again).untitled
        assert again.undo_label == "Move"
        project.save_as(again, tmp_path / "Named.ricercar")
        assert not project.project_of(again).untitled
    assert list(folder.iterdir()) == []
    assert project.load(tmp_path / "Named.ricercar").undo_label == "Move"


def test_untitled_projects_lie_in_the_users_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    document = Project.create_untitled(ordinary(3))
    kept = project.project_of(document)
    assert str(kept.path).startswith(os.environ["XDG_DATA_HOME"] if os.name == "posix" else "")
    kept.remove()


def test_a_closed_project_takes_no_commit(path: Path) -> None:
    document = edited(path)
    project.close(document)
    project.close(document)
    before = document.score
    with pytest.raises(UserError, match=r"Song.ricercar is closed: use Save As"):
        document.commit("Late", edits.delete(document.score, [0]))
    assert document.score is before


def test_a_file_moved_away_while_open_is_noticed(path: Path) -> None:
    document = edited(path)
    path.rename(path.with_name("Elsewhere.ricercar"))
    with pytest.raises(UserError, match="was moved, replaced or deleted while open: use Save As"):
        document.commit("Lost", edits.delete(document.score, [0]))
    project.save_as(document, path.with_name("Rescued.ricercar"))
    document.commit("Kept", edits.delete(document.score, [0]))
    project.close(document)
    assert project.load(path.with_name("Rescued.ricercar")).undo_label == "Kept"


# --- more than one --------------------------------------------------------------------------------


def test_a_project_open_here_is_not_opened_twice(path: Path) -> None:
    document = edited(path)
    for attempt in (Project.open, project.load, lambda p: Project.create(p, Score())):
        with pytest.raises(UserError, match=r"^Song.ricercar is open already"):
            attempt(path)
    document.commit("Unimpressed", edits.delete(document.score, [0]))
    project.close(document)
    assert project.load(path).undo_label == "Unimpressed"


def test_a_project_open_in_another_process_is_not_opened(path: Path) -> None:
    project.close(edited(path))
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, pathlib; from engine.project import Project\n"
            "d = Project.open(pathlib.Path(sys.argv[1])); print('open', flush=True); input()",
            str(path),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(UserError, match="open already, here or in another Ricercar"):
            Project.open(path)
        holder.kill()
    with opened(path) as document:  # the lock goes with its holder, however it ends
        assert document.undo_label == "Step 5"


# --- protected, full ------------------------------------------------------------------------------


@contextlib.contextmanager
def ordinary_user() -> Iterator[None]:
    """Permissions count for nothing to root: give them up for a while."""
    if os.name != "posix" or os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that another user can reach (pytest's own is private)."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        folder.chmod(0o755)


def protect(folder: Path) -> None:
    for path in folder.iterdir():
        path.chmod(stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH)
    folder.chmod(0o555)


@pytest.mark.skipif(os.name != "posix", reason="uses POSIX permissions")
@pytest.mark.parametrize("crashed", [False, True])
def test_a_protected_file_opens_read_only(open_folder: Path, crashed: bool) -> None:
    path = open_folder / "Song.ricercar"
    document = edited(path)
    expected = document.score
    if crashed:
        left = killed(document)
        project.close(document)
        shutil.copy(left, path)
        shutil.copy(left.with_name(left.name + "-wal"), open_folder)
        shutil.rmtree(left.parent)
    else:
        project.close(document)
    protect(open_folder)
    with ordinary_user():
        document = Project.open(path)
        assert project.project_of(document).read_only
        assert document.score == expected
        with pytest.raises(UserError, match=r"Song.ricercar is write-protected: use Save As"):
            document.commit("No", edits.delete(expected, [0]))
        assert document.score == expected
        assert project.read_score(path) == expected
        with pytest.raises(UserError, match="may not be written to"):
            project.save_as(document, open_folder / "Copy.ricercar")
        with tempfile.TemporaryDirectory() as elsewhere:
            copy = Path(elsewhere) / "Copy.ricercar"
            project.save_as(document, copy)
            document.commit("Yes", edits.delete(expected, [0]))
            project.close(document)
            assert project.load(copy).undo_label == "Yes"


@pytest.mark.skipif(os.name != "posix", reason="uses POSIX permissions")
@pytest.mark.parametrize("folder", [False, True])
@pytest.mark.parametrize("file", [False, True])
def test_protection_the_system_does_not_foretell(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch, folder: bool, file: bool
) -> None:
    path = open_folder / "Song.ricercar"
    project.close(edited(path))
    path.chmod(0o444 if file else 0o666)
    open_folder.chmod(0o555 if folder else 0o777)
    monkeypatch.setattr(database, "_writable", lambda path: True)
    with ordinary_user(), opened(path) as document:
        assert project.project_of(document).read_only == (file or folder)
        assert document.undo_label == "Step 5"


@pytest.mark.skipif(os.name != "posix", reason="uses POSIX permissions")
def test_a_protected_folder_takes_no_new_project(open_folder: Path) -> None:
    protect(open_folder)
    with ordinary_user():
        with pytest.raises(UserError, match="may not be written to; choose another folder"):
            Project.create(open_folder / "New.ricercar", ordinary(3))
        with pytest.raises(UserError, match="may not be written to; choose another folder"):
            Project.create_untitled(ordinary(3), open_folder)


def test_a_full_disk_leaves_document_and_file_as_they_were(path: Path) -> None:
    document = edited(path)
    connection = document.journal._connection  # type: ignore[union-attr]
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(
        f"PRAGMA max_page_count = {pages}"
    )  # SQLite then says what a full disk makes it say
    before = document.score
    much = edits.add(before, 0, ordinary(5000).tracks[0].notes)
    with pytest.raises(
        UserError, match=r"The disk is full, so nothing was written to Song.ricercar"
    ):
        document.commit("Add", much)
    assert document.score is before
    assert (document.undo_label, document.redo_label) == ("Step 5", None)
    connection.execute(f"PRAGMA max_page_count = {10 * pages + 1000}")
    document.commit("Add", much)
    project.close(document)
    assert project.load(path).score == much


FULL = """
import resource, signal, sys
from pathlib import Path
from engine import edits, project
from models.score import UserError
from tests.music import ordinary

document = project.Project.create(Path(sys.argv[1]), ordinary(40))
document.commit("Before", edits.move(document.score, [0], 240))
before = document.score
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
for attempt in range(3):
    try:
        document.commit("Much", edits.add(before, 0, ordinary(20_000).tracks[0].notes))
    except UserError as error:
        print(error)
assert document.score is before
for attempt in range(2):
    document.commit(f"After {attempt}", edits.move(document.score, [attempt], 240))
    try:
        project.save_as(document, Path(sys.argv[1]).with_name("Copy.ricercar"))
    except UserError as error:
        print(error)
"""


@pytest.mark.skipif(os.name != "posix", reason="uses a POSIX file size limit")
def test_writes_that_fail_leave_document_and_file_as_they_were(path: Path) -> None:
    """Real write calls that fail, in a process that is not allowed longer files."""
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Song.ricercar could not be written (disk I/O error)") == 3
    assert "Copy.ricercar" not in done.stdout
    with opened(path) as document:
        assert [step.label for step in document.steps] == ["Before", "After 0"]
    assert project.load(path.with_name("Copy.ricercar")).undo_label == "After 1"


# --- everything else a file can be ----------------------------------------------------------------


def sql(path: Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda p: p.unlink(), "There is no file"),
        (lambda p: (p.unlink(), p.mkdir()), "is a folder"),
        (lambda p: p.write_bytes(b""), "is not a Ricercar project"),
        (lambda p: p.write_bytes(b"MThd" * 1000), "is not a Ricercar project"),
        (lambda p: p.write_bytes(p.read_bytes()[:50]), "is not a Ricercar project"),
        (lambda p: p.write_bytes(p.read_bytes()[:5000]), "is damaged"),
        (lambda p: p.write_bytes(p.read_bytes()[:-4096]), "is damaged"),
        (lambda p: sql(p, "PRAGMA application_id = 7"), "is not a Ricercar project"),
        (lambda p: sql(p, "PRAGMA user_version = 2"), "comes from a newer Ricercar (format 2"),
        (lambda p: sql(p, "PRAGMA user_version = 0"), "is damaged"),
        (lambda p: sql(p, "DROP TABLE snapshot"), "is damaged"),
        (lambda p: sql(p, "DELETE FROM snapshot"), "is damaged"),
        (lambda p: sql(p, "DELETE FROM state"), "is damaged"),
        (lambda p: sql(p, "INSERT INTO state VALUES (1, 0)"), "is damaged"),
        (lambda p: sql(p, "UPDATE state SET cursor = 'x'"), "is damaged"),
        (lambda p: sql(p, "UPDATE state SET cursor = -1"), "is damaged"),
        (lambda p: sql(p, "UPDATE state SET cursor = 99"), "is damaged (step 7 of its history"),
        (lambda p: sql(p, f"UPDATE state SET cursor = {2**60}"), "is damaged"),
        (lambda p: sql(p, "UPDATE snapshot SET score = 5"), "is damaged"),
        (lambda p: sql(p, "UPDATE snapshot SET score = zeroblob(100000000)"), "is damaged"),
        (lambda p: sql(p, "DELETE FROM step WHERE position = 3"), "is damaged (step 3"),
        (lambda p: sql(p, "UPDATE step SET delta = 'text' WHERE position = 3"), "is damaged"),
        (lambda p: sql(p, "CREATE VIEW v AS SELECT 1"), "is damaged"),
        (
            lambda p: sql(
                p, "CREATE TRIGGER t AFTER INSERT ON step BEGIN DELETE FROM snapshot; END"
            ),
            "is damaged",
        ),
    ],
)
def test_other_files_are_refused_in_a_sentence(
    path: Path, spoil: Callable[[Path], object], sentence: str
) -> None:
    project.close(edited(path))
    spoil(path)
    for attempt in (Project.open, project.load):
        with pytest.raises(UserError) as raised:
            attempt(path)
        text = str(raised.value)
        assert sentence in text
        assert path.name in text
        assert "\n" not in text
    # Whoever chooses to replace it may.
    if path.is_file():
        project.save_score(ordinary(3), path)
        assert project.read_score(path) == ordinary(3)


def test_damage_the_music_can_do_without_cuts_history_short(path: Path) -> None:
    document = edited(path, 30)  # closing takes a snapshot at 30
    score = document.score
    project.close(document)
    sql(path, "UPDATE step SET delta = substr(delta, 2) WHERE position = 12")
    with opened(path) as again:
        assert again.score == score
        assert (again.first, again.position) == (12, 30)
        again.commit("On", edits.delete(again.score, [0]))
    with opened(path) as again:
        assert len(history(again)[0]) == 20


def test_a_forged_history_is_too_long(path: Path) -> None:
    project.close(edited(path))
    sql(
        path,
        "WITH RECURSIVE n(i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)"
        " INSERT INTO step SELECT i, x'00' FROM n",
    )
    with pytest.raises(UserError, match="its history is too long"):
        Project.open(path)


def test_mutated_files_are_read_or_refused(path: Path) -> None:
    """Bytes changed anywhere in the file: never another error, never music that was not there."""
    document = edited(path, 30)
    scores_reached = history(document)[0]
    project.close(document)
    whole = path.read_bytes()
    rng = np.random.default_rng(5)
    read = 0
    for _ in range(150):
        data = bytearray(whole)
        for at in rng.integers(0, len(data), int(rng.integers(1, 8))):
            data[at] = rng.integers(256)
        if rng.random() < 0.2:
            del data[int(rng.integers(len(data))) :]
        path.write_bytes(data)
        try:
            found = project.load(path).score
        except UserError:
            continue
        read += 1
        assert found in scores_reached
    assert read > 10


def test_a_project_is_known_by_its_application_id(path: Path) -> None:
    project.close(edited(path))
    assert path.read_bytes()[68:72] == b"RICR"
    assert path.read_bytes()[60:64] == database.VERSION.to_bytes(4, "big")

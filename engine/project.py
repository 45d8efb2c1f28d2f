"""The project file: one SQLite database that a document's commits go to before `commit` returns.

Opening applies the steps between its snapshot and its cursor (see `database`); undo and redo survive a
restart. The write-ahead log is synchronised to the disk at every commit (one sync, where a rollback
journal needs four), so neither a killed process nor a power cut takes back what was committed. The file
is locked for as long as it is open; meanwhile its latest commits lie in `NAME-wal` beside it.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import platformdirs

from engine import database
from engine.document import Document, Step
from engine.files import reason
from models.score import Score, UserError

SUFFIX = ".ricercar"
SNAPSHOT_STEPS = 256
SNAPSHOT_BYTES = 2**14
"""A new snapshot is due when the cursor is so many steps from the last one, or when the deltas since
have come to more bytes than it and than this."""
CLOSING_STEPS = 16
"""Closing takes a snapshot when reopening would have to apply more steps than this."""


class Project:
    """The file a document is kept in: its Journal, and what the window shows of it.

    `path` is where it lies; `untitled` says that the user has not named it yet; `read_only` that it can't
    be written to, when every commit raises UserError.
    """

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection | None,
        *,
        snapshot: int = 0,
        snapshot_bytes: int = 0,
        untitled: bool = False,
    ) -> None:
        """For `create` and `open`; a connection of None means read-only."""
        self.path = path
        self.untitled = untitled
        self.read_only = connection is None
        self._connection = connection
        self._identity = _identity(path)
        self._snapshot = snapshot
        self._snapshot_bytes = snapshot_bytes
        self._bytes_since = 0

    @classmethod
    def create(cls, path: Path, score: Score, *, untitled: bool = False) -> Document:
        """A new document of `score`, kept in a new file at `path`; a file there already is replaced whole.

        UserError when the folder or the disk won't take it, or when the file there is open.
        """
        document = Document(score)
        document.journal = cls._written(path, document, untitled)
        return document

    @classmethod
    def create_untitled(cls, score: Score, folder: Path | None = None) -> Document:
        """A new document in a file of its own among the untitled ones; see `untitled_path`."""
        while True:
            path = untitled_path(folder)
            try:
                path.open("x").close()  # so that no other process takes the same name
            except FileExistsError:
                continue
            except OSError as error:
                raise UserError(reason(path, error, "write")) from error
            return cls.create(path, score, untitled=True)

    @classmethod
    def open(cls, path: Path) -> Document:
        """The document in `path`, with its history; read-only when file or folder are write-protected.

        UserError when there is none, it is no project or a newer version's, damaged, or open elsewhere.
        A damaged step that the music can do without cuts the history short.
        """
        path = database.existing(path)
        content, connection = database.read(path)
        project = cls(
            path,
            connection,
            snapshot=content.snapshot,
            snapshot_bytes=content.snapshot_bytes,
            untitled=content.untitled,
        )
        return content.document(project)

    @classmethod
    def _written(cls, path: Path, document: Document, untitled: bool) -> Project:
        path = Path(os.path.realpath(path))
        size = database.write(path, document, untitled)
        with database.sentences(path, "write"):
            connection = database.connect(path)
        return cls(
            path,
            connection,
            snapshot=document.position,
            snapshot_bytes=size,
            untitled=untitled,
        )

    def keeps(self, path: Path) -> bool:
        """Whether `path`, whatever its spelling, is the file this writes to."""
        return not self.read_only and self._identity == _identity(path)

    def commit(self, position: int, step: Step, score: Score, first: int) -> None:
        """See `document.Journal`."""
        with self._transaction() as connection:
            connection.execute(
                "DELETE FROM step WHERE position >= ? OR position <= ?", (position, first)
            )
            connection.execute("INSERT INTO step VALUES (?, ?)", (position, step.data))
            connection.execute("UPDATE state SET cursor = ?", (position,))
            lost = not first <= self._snapshot < position
            size = self._take_snapshot(connection, position, score, lost, len(step.data))
        self._count(position, size, len(step.data))

    def move(self, position: int, score: Score) -> None:
        """See `document.Journal`."""
        with self._transaction() as connection:
            connection.execute("UPDATE state SET cursor = ?", (position,))
            size = self._take_snapshot(connection, position, score)
        self._count(position, size, 0)

    def close(self, document: Document) -> None:
        """Let go of the file that keeps `document`. One that was never edited nor named is removed."""
        if self._connection is None:
            return
        unedited = self.untitled and not document.steps
        if not unedited and abs(document.position - self._snapshot) > CLOSING_STEPS:
            # Only reopening gains by this snapshot; when it can't be written nothing is missing.
            with contextlib.suppress(UserError), self._transaction() as connection:
                self._take_snapshot(connection, document.position, document.score, True)
        self.release()
        if unedited:
            self.remove()

    def release(self) -> None:
        """Let go of the file as it is; commits raise UserError from then on."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def remove(self) -> None:
        """Let go of the file and take it away; one that can't be taken away stays."""
        self.release()
        for suffix in ("", *database.BESIDE):
            with contextlib.suppress(OSError):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

    def _take_snapshot(
        self,
        connection: sqlite3.Connection,
        position: int,
        score: Score,
        needed: bool = False,
        more_bytes: int = 0,
    ) -> int:
        """Write one when it is `needed` or due; its length in bytes, 0 when it was not written."""
        due = abs(
            position - self._snapshot
        ) >= SNAPSHOT_STEPS or self._bytes_since + more_bytes > max(
            SNAPSHOT_BYTES, self._snapshot_bytes
        )
        if not needed and not due:
            return 0
        data = database.packed_score(score)
        connection.execute("DELETE FROM snapshot")
        connection.execute("INSERT INTO snapshot VALUES (?, ?)", (position, data))
        return len(data)

    def _count(self, position: int, snapshot_bytes: int, step_bytes: int) -> None:
        if snapshot_bytes:
            self._snapshot, self._snapshot_bytes, self._bytes_since = position, snapshot_bytes, 0
        else:
            self._bytes_since += step_bytes

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self._connection
        if connection is None:
            why = "is write-protected" if self.read_only else "is closed"
            raise UserError(f"{self.path.name} {why}: use Save As to go on in another file.")
        if _identity(self.path) != self._identity:
            raise UserError(
                f"{self.path.name} was moved, replaced or deleted while open: use Save As to keep it."
            )
        with database.sentences(self.path, "write"):
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")


def load(path: Path) -> Document:
    """The document in `path`, in memory only: the file is let go and later commits go nowhere.

    Raises what `Project.open` does.
    """
    content, connection = database.read(database.existing(path))
    if connection is not None:
        connection.close()
    return content.document(None)


def read_score(path: Path) -> Score:
    """The score in `path`; see `load`."""
    return load(path).score


def save_score(score: Score, path: Path) -> None:
    """Write a new project of `score` to `path`, whole or not at all, and let it go; UserError as `create`."""
    database.write(Path(os.path.realpath(path)), Document(score), False)


def save_as(document: Document, path: Path) -> None:
    """Write a document with its history to `path`, whole or not at all, and keep it there from now on.

    An untitled file it was in before is removed, a named one stays as it is. UserError when `path` can't
    be written, and then nothing has changed.
    """
    old = project_of(document)
    if old is not None and old.keeps(path):
        return  # every commit is there already
    document.journal = Project._written(path, document, False)
    if old is not None and old.untitled:
        old.remove()
    elif old is not None:
        old.release()


def close(document: Document) -> None:
    """Let go of the document's file, if it has one; commits raise UserError from then on."""
    project = project_of(document)
    if project is not None:
        project.close(document)


def project_of(document: Document) -> Project | None:
    """Where the document is kept; None when it is in memory only."""
    return document.journal if isinstance(document.journal, Project) else None


def untitled_path(folder: Path | None = None) -> Path:
    """A free name among the untitled projects, in `folder` (None: in the user's data folder)."""
    folder = _untitled_folder(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        taken = {path.name.split(SUFFIX)[0] for path in folder.iterdir()}
    except OSError as error:
        raise UserError(reason(folder / "untitled", error, "write")) from error
    number = 1
    while f"Untitled {number}" in taken:
        number += 1
    return folder / f"Untitled {number}{SUFFIX}"


def unsaved(folder: Path | None = None) -> list[Path]:
    """The untitled projects there are, the one changed last at the end: what a crash left, or a user
    who did not name it. Some may be open in another window: `Project.open` says so."""
    folder = _untitled_folder(folder)
    found: list[tuple[float, str]] = []
    for path in folder.glob(f"*{SUFFIX}") if folder.is_dir() else ():
        with contextlib.suppress(FileNotFoundError):  # another window has just named or closed it
            if path.stat().st_size:
                found.append((_changed(path), path.name))
    return [folder / name for _, name in sorted(found)]


def _untitled_folder(folder: Path | None) -> Path:
    return folder or platformdirs.user_data_path("ricercar", appauthor=False) / "untitled"


def _changed(path: Path) -> float:
    """When it was last written to; the log beside it counts."""
    log = path.with_name(f"{path.name}-wal")
    return max(p.stat().st_mtime for p in (path, log) if p.exists())


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file it is, whatever its name; None when there is none."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino

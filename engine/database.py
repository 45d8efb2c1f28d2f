"""The project file's format: its tables, and reading and writing it whole, every byte checked.

    state     one row: the cursor (how many commits led to the score), whether the user has named it
    snapshot  one row: the score at one position of the history, as the delta from nothing
    step      the remembered commits, as packed deltas: step n leads from position n - 1 to n

What a file holds is never executed: it may have these tables, no trigger, no view, no other schema.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.delta import between
from engine.document import HISTORY_BYTES, HISTORY_STEPS, Document, Journal, Step
from engine.files import reason, replacing
from engine.packed import DamagedError, label_of, pack, unpack
from models.score import Score, UserError

APPLICATION_ID = 0x52494352
"""What `file` and others know the format by: "RICR"."""
VERSION = 1
MOST_BYTES = 2**29
"""No row may be longer: about 19 million notes."""
BUSY_SECONDS = 0.5

_SCHEMA: dict[str, str] = {
    "state": "CREATE TABLE state (cursor INTEGER NOT NULL, untitled INTEGER NOT NULL)",
    "step": "CREATE TABLE step (position INTEGER PRIMARY KEY, delta BLOB NOT NULL)",
    "snapshot": "CREATE TABLE snapshot (position INTEGER PRIMARY KEY, score BLOB NOT NULL)",
}
BESIDE = ("-wal", "-shm", "-journal")


@contextlib.contextmanager
def sentences(path: Path, verb: str) -> Iterator[None]:
    """Turns what SQLite and the system raise into one sentence for the user."""
    try:
        yield
    except DamagedError as error:
        raise _damaged(path, str(error)) from error
    except sqlite3.Error as error:
        raise UserError(_sentence(error, path, verb)) from error
    except OSError as error:
        raise UserError(reason(path, error, verb)) from error


def _primary(error: sqlite3.Error) -> int:
    """SQLite's own code of what went wrong, without its finer points; −1 when the wrapper complained."""
    code = getattr(error, "sqlite_errorcode", None)
    return -1 if code is None else code & 0xFF


def _damaged(path: Path, why: str) -> UserError:
    return UserError(f"{path.name} is damaged ({why}): restore it from a backup.")


def _sentence(error: sqlite3.Error, path: Path, verb: str) -> str:
    name = path.name
    match _primary(error):
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return f"{name} is open already, here or in another Ricercar: close it there first."
        case sqlite3.SQLITE_FULL:
            return f"The disk is full, so nothing was written to {name}: make room and repeat it."
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH:
            return f"{name} is write-protected: use Save As to go on in another file."
        case sqlite3.SQLITE_CANTOPEN if verb == "write":
            return f"{name} can't be written to where it is: use Save As to go on in another file."
        case sqlite3.SQLITE_CANTOPEN:
            return f"{name} can't be opened: check its permissions and those of its folder."
        case sqlite3.SQLITE_NOTADB:
            return f"{name} is not a Ricercar project; open or import another file."
        case sqlite3.SQLITE_CORRUPT:
            return str(_damaged(path, str(error)))
        case sqlite3.SQLITE_TOOBIG:
            return f"{name} would get too large: leave notes out, or split the piece."
        case _:
            done = "read" if verb == "read" else "written"
            return f"{name} could not be {done} ({error}): check the disk, or use Save As."


# --- reading --------------------------------------------------------------------------------------


def existing(path: Path) -> Path:
    """Where the file lies, links followed; UserError when there is none or it is none."""
    path = Path(os.path.realpath(path))
    if path.is_dir():
        raise UserError(f"{path} is a folder; name a project in it.")
    if not path.is_file():
        raise UserError(f"There is no file {path}; check its name.")
    return path


@dataclass(frozen=True)
class Content:
    """What a project file holds, checked and put together."""

    score: Score
    steps: tuple[Step, ...]
    position: int
    first: int
    snapshot: int
    snapshot_bytes: int
    untitled: bool

    def document(self, journal: Journal | None) -> Document:
        """A document of it, kept by `journal`."""
        return Document(
            self.score,
            journal=journal,
            steps=self.steps,
            position=self.position,
            first=self.first,
        )


def connect(path: Path, query: str = "mode=rw") -> sqlite3.Connection:
    """A connection that holds the file alone, to a project this version reads; it is closed on failure."""
    connection = sqlite3.connect(
        f"{path.as_uri()}?{query}", uri=True, timeout=BUSY_SECONDS, isolation_level=None
    )
    with contextlib.ExitStack() as stack:
        stack.callback(connection.close)
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MOST_BYTES)
        for pragma in (
            "trusted_schema = OFF",  # no function runs because a file's schema names it
            "cell_size_check = ON",
            "temp_store = MEMORY",
            "locking_mode = EXCLUSIVE",
        ):
            connection.execute(f"PRAGMA {pragma}")
        _recognise(connection, path)
        if query == "mode=rw":
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA fullfsync = ON")  # macOS: through the drive's cache as well
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("COMMIT")
        stack.pop_all()
    return connection


def _recognise(connection: sqlite3.Connection, path: Path) -> None:
    """UserError unless the database is a project of this version, with these tables and nothing else."""
    if connection.execute("PRAGMA application_id").fetchone() != (APPLICATION_ID,):
        raise UserError(f"{path.name} is not a Ricercar project; open or import another file.")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise UserError(
            f"{path.name} comes from a newer Ricercar (format {version}, this one reads {VERSION}): "
            "update Ricercar to open it."
        )
    tables = connection.execute("SELECT type, name, sql FROM sqlite_master LIMIT 9").fetchall()
    if version < 1 or sorted(tables) != sorted(("table", n, sql) for n, sql in _SCHEMA.items()):
        raise _damaged(path, "its tables are not a project's")


def read(path: Path) -> tuple[Content, sqlite3.Connection | None]:
    """What a project holds, and the connection that keeps others out of it: None when file or folder
    are write-protected. UserError as `Project.open`."""
    with sentences(path, "read"):
        if _writable(path) and _writable(path.parent):
            try:
                with contextlib.ExitStack() as stack:
                    connection = stack.enter_context(contextlib.closing(connect(path)))
                    content = _read(connection)
                    stack.pop_all()
                return content, connection
            except sqlite3.OperationalError as error:
                # Not every system says beforehand (Windows: folders) what may be written to, and some
                # network disks can't lock.
                refused = _primary(error) in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
                if not refused and error.sqlite_errorcode != sqlite3.SQLITE_IOERR_LOCK:
                    raise
        return _read_protected(path), None


def _writable(path: Path) -> bool:
    return os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def _read(connection: sqlite3.Connection) -> Content:
    """Everything in the file; DamagedError when the score can't be put together from it."""
    if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
        raise DamagedError("its pages do not fit together")
    cursor, untitled = _only_row(connection, "SELECT cursor, untitled FROM state LIMIT 2")
    at, data = _only_row(connection, "SELECT position, score FROM snapshot LIMIT 2")
    position, snapshot, snapshot_data = _position(cursor), _position(at), _bytes(data)
    count, nbytes = connection.execute("SELECT count(*), total(length(delta)) FROM step").fetchone()
    if count > HISTORY_STEPS or nbytes > 2 * HISTORY_BYTES + MOST_BYTES:
        raise DamagedError("its history is too long")
    steps: dict[int, Step] = {}
    for number, blob in connection.execute("SELECT position, delta FROM step"):
        # A step that can't be read matters only where the music can't do without it: see below.
        with contextlib.suppress(DamagedError):
            label_of(_bytes(blob))
            steps[number] = Step(blob)
    try:
        score = unpack(snapshot_data).apply(Score())
        for number in range(snapshot + 1, position + 1):
            score = steps[number].delta.apply(score)
        for number in range(snapshot, position, -1):
            score = steps[number].delta.inverse().apply(score)
    except KeyError as error:
        raise DamagedError(f"step {error} of its history is missing or unreadable") from error
    except ValueError as error:
        raise DamagedError(str(error)) from error
    first, last = min(snapshot, position), max(snapshot, position)
    while first in steps:
        first -= 1
    while last + 1 in steps:
        last += 1
    kept = tuple(steps[number] for number in range(first + 1, last + 1))
    return Content(score, kept, position, first, snapshot, len(snapshot_data), bool(untitled))


def _position(value: object) -> int:
    if not isinstance(value, int) or not 0 <= value < 2**53:
        raise DamagedError("its place in the history is unknown")
    return value


def _only_row(connection: sqlite3.Connection, query: str) -> tuple[object, object]:
    rows = connection.execute(query).fetchall()
    if len(rows) != 1:
        raise DamagedError("a row it needs is missing, or there are several")
    return rows[0][0], rows[0][1]


def _bytes(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise DamagedError("it holds something else where music should be")
    return value


def _read_protected(path: Path) -> Content:
    """What a file holds that can't be written to, without the locks and the log that would need it.

    When a killed process left a log beside it, the two are put together in a copy.
    """
    log = path.with_name(f"{path.name}-wal")
    with tempfile.TemporaryDirectory() as folder:
        if not (log.exists() and log.stat().st_size):
            with contextlib.closing(connect(path, "mode=ro&immutable=1")) as connection:
                return _read(connection)
        copy = Path(folder) / path.name
        shutil.copyfile(path, copy)
        shutil.copyfile(log, copy.with_name(log.name))
        with contextlib.closing(connect(copy)) as connection:
            return _read(connection)


# --- writing --------------------------------------------------------------------------------------


def write(path: Path, document: Document, untitled: bool) -> int:
    """A new file of the whole document at `path`, in place of any there; the bytes of its snapshot."""
    _refuse_open(path)
    score = packed_score(document.score)
    with replacing(path) as temporary, sentences(path, "write"):
        with contextlib.closing(sqlite3.connect(temporary, isolation_level=None)) as connection:
            # Nothing reads this file before it is complete, synchronised and renamed.
            connection.execute("PRAGMA journal_mode = MEMORY")
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("BEGIN")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {VERSION}")
            for statement in _SCHEMA.values():
                connection.execute(statement)
            connection.execute("INSERT INTO state VALUES (?, ?)", (document.position, untitled))
            connection.execute("INSERT INTO snapshot VALUES (?, ?)", (document.position, score))
            connection.executemany(
                "INSERT INTO step VALUES (?, ?)",
                (
                    (number, step.data)
                    for number, step in enumerate(document.steps, document.first + 1)
                ),
            )
            connection.execute("COMMIT")
        for suffix in BESIDE:  # a log left by the file that was here belongs to it alone
            path.with_name(path.name + suffix).unlink(missing_ok=True)
    with sentences(path, "write"):
        _sync_folder(path.parent)
    return len(score)


def packed_score(score: Score) -> bytes:
    """A score as the table keeps it; UserError for one that could not be read again."""
    try:
        return pack(between(Score(), score))
    except DamagedError as error:
        raise UserError(f"This score can't be kept in a project: {error}.") from error


def _refuse_open(path: Path) -> None:
    """UserError when `path` is a project that someone has open; anything else may be replaced."""
    if not path.is_file() or not path.stat().st_size:
        return
    try:
        connect(path).close()
    except sqlite3.Error as error:
        if _primary(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise UserError(_sentence(error, path, "write")) from error
        # Anything else it complains of goes away with the file that the user has chosen to replace.
    except UserError:
        pass  # no project of ours: the same


def _sync_folder(folder: Path) -> None:
    """Make a rename in it durable, where the system can (Windows does so by itself)."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

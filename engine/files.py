"""Reading with a limit and writing without half-written files; every OSError becomes a sentence."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from models.score import UserError


def read_bytes(path: Path, limit_bytes: int) -> bytes:
    """The file's content; UserError when it can't be read or is larger than `limit_bytes`."""
    try:
        if path.is_dir():
            raise UserError(f"{path} is a folder; name a file in it.")
        with path.open("rb") as file:
            # Reads no more than the limit even of a device or a file that grows meanwhile.
            data = file.read(limit_bytes + 1)
    except OSError as error:
        raise UserError(reason(path, error, "read")) from error
    if len(data) > limit_bytes:
        raise UserError(
            f"{path} is larger than {limit_bytes // 1_000_000} MB, more than a piece of music takes; "
            "is it the right file?"
        )
    return data


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well, and is removed
    when it does not: whoever reads `path` sees the old file or the whole new one.

    UserError when the folder or the disk won't take it, or `path` is a device or a write-protected file.
    """
    path = Path(os.path.realpath(path))  # a link stays one, and its target is replaced
    if path.is_dir():
        raise UserError(f"{path} is a folder; name a file in it.")
    if path.exists() and not (path.is_file() and os.access(path, os.W_OK)):
        raise UserError(f"{path} may not be written to; choose another name.")
    try:
        handle, name = tempfile.mkstemp(
            prefix=f".{path.stem[:40]}-", suffix=path.suffix, dir=path.parent
        )
        os.close(handle)
    except OSError as error:
        raise UserError(reason(path, error, "write")) from error
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        # mkstemp keeps its file private; an export is as open as any other file the user makes.
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        temporary.replace(path)
    except OSError as error:
        raise UserError(reason(path, error, "write")) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a whole file at once; see `replacing`."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def reason(path: Path, error: OSError, verb: str) -> str:
    """One sentence for the user on why `path` could not be read or written ("read", "write")."""
    match error.errno:
        case errno.ENOENT if verb == "read":
            return f"There is no file {path}; check its name."
        case errno.ENOENT if not path.parent.is_dir():
            return f"There is no folder {path.parent}; make it or choose another."
        case errno.EACCES | errno.EPERM | errno.EROFS if verb == "read":
            return f"{path} may not be read; change its permissions."
        case errno.EACCES | errno.EPERM | errno.EROFS | errno.ENOENT:
            return f"{path.parent} may not be written to; choose another folder."
        case errno.ENOSPC | errno.EDQUOT:
            return f"The disk is full, so {path} was not written; make room or choose another disk."
        case errno.EISDIR:
            return f"{path} is a folder; name a file in it."
        case _:
            return (
                f"{path} could not be {'read' if verb == 'read' else 'written'}: {error.strerror}."
            )

"""Files in and out, by suffix: one table of what can be read and one of what can be written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from models.score import Score, UserError

T = TypeVar("T")


def _read_midi(path: Path) -> Score:
    from engine import midifile

    return midifile.read(path)


def _read_musicxml(path: Path) -> Score:
    from engine import musicxml

    return musicxml.read(path)


def _read_abc(path: Path) -> Score:
    from engine import abcfile

    return abcfile.read(path)


def _read_project(path: Path) -> Score:
    from engine import project

    return project.read_score(path)


def _write_midi(score: Score, path: Path) -> None:
    from engine import midifile

    midifile.write(score, path)


def _write_musicxml(score: Score, path: Path) -> None:
    from engine import musicxml

    musicxml.write(score, path)


def _write_abc(score: Score, path: Path) -> None:
    from engine import abcfile

    abcfile.write(score, path)


def _write_wav(score: Score, path: Path) -> None:
    from engine import audio

    audio.render_wav(score, path)


def _write_project(score: Score, path: Path) -> None:
    from engine import project

    project.save_score(score, path)


# The modules are imported when they are needed: a window that opens a MIDI file waits for no other.
READERS: dict[str, Callable[[Path], Score]] = {
    ".mid": _read_midi,
    ".midi": _read_midi,
    ".smf": _read_midi,
    ".rmi": _read_midi,
    ".kar": _read_midi,
    ".musicxml": _read_musicxml,
    ".xml": _read_musicxml,
    ".mxl": _read_musicxml,
    ".abc": _read_abc,
    ".ricercar": _read_project,
}
WRITERS: dict[str, Callable[[Score, Path], None]] = {
    ".mid": _write_midi,
    ".midi": _write_midi,
    ".musicxml": _write_musicxml,
    ".xml": _write_musicxml,
    ".mxl": _write_musicxml,
    ".abc": _write_abc,
    ".wav": _write_wav,
    ".ricercar": _write_project,
}


def read(path: Path) -> Score:
    """The score in a file of any kind in READERS; UserError when it is of none or can't be read."""
    return _by_suffix(READERS, path, "read")(path)


def write(score: Score, path: Path) -> None:
    """Write a score as the suffix says; the file appears whole or not at all. UserError when it can't be."""
    _by_suffix(WRITERS, path, "written")(score, path)


def check_writable(path: Path) -> None:
    """UserError now for what `write` would refuse after long work: the suffix, or a missing folder."""
    _by_suffix(WRITERS, path, "written")
    if not path.parent.is_dir():
        raise UserError(f"There is no folder {path.parent}; make it or choose another.")


def _by_suffix(table: dict[str, T], path: Path, done: str) -> T:
    try:
        return table[path.suffix.lower()]
    except KeyError:
        known = ", ".join(table)
        raise UserError(
            f"{path} has no suffix of a kind that can be {done}; use one of {known}."
        ) from None

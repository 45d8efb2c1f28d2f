"""Books of folk tunes as words: those that come with music21, a folder's, a file's."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from models import tunes
from models.representations import folk
from models.representations.abc_notation import cut, parse
from models.representations.folk import Column, Unwritable
from models.score import Score, UserError

BOOKS = ("oneills", "ryans", "airds")
"""The collections of `models.tunes` that are written in ABC by and for players of dance tunes."""


def tunebook(text: str, key: str) -> dict[str, Column]:
    """The words of the tunes in a file of ABC, called KEY/0, KEY/1 … as in `models.tunes`; those that can't
    be read, that there are no words for, or whose bars do not add up, are left out."""
    found: dict[str, Column] = {}
    for i, (line, tune) in enumerate(cut(text)):
        try:
            tokens = folk.of_elements(parse(tune, key, line).voices[0].elements)
        except (UserError, Unwritable):
            continue
        if folk.sound(tokens):
            found[f"{key}/{i}"] = tokens
    return found


def of_tune(tune: tunes.Tune) -> list[Column]:
    """The words of a tune that was not written in ABC, if there are any and its bars add up."""
    try:
        tokens = folk.of_tune(tune)
    except Unwritable:
        return []
    return [tokens] if folk.sound(tokens) else []


def bundled() -> dict[str, Column]:
    """Name → words of the tunes of BOOKS."""
    from music21 import common

    root = Path(common.getCorpusFilePath())
    found: dict[str, Column] = {}
    for name in BOOKS:
        for file in sorted(root.glob(tunes.COLLECTIONS[name])):
            found |= tunebook(_read(file), f"{name}/{file.stem}")
    return found


def folder(path: Path, known: Iterable[tunes.Tune]) -> dict[str, Column]:
    """Name → words of the tunes of a folder; `known` are all of them, as other formats tell them."""
    found: dict[str, Column] = {}
    for file in sorted(path.rglob("*.abc")):
        found |= tunebook(_read(file), f"{path.name}/{file.name}")
    for tune in known:
        if tune.name not in found:
            for tokens in of_tune(tune):
                found[tune.name] = tokens
    return found


def of_file(path: Path, score: Score) -> list[Column]:
    """The tunes of a user's file: all of a file of ABC, or the melody of the score."""
    if path.suffix.lower() == ".abc" and path.is_file():
        return list(tunebook(_read(path), path.name).values())
    tune = tunes.from_score(score, path.name)
    return of_tune(tune) if tune is not None else []


def _read(file: Path) -> str:
    return file.read_text("utf-8", errors="replace")

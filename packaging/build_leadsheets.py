"""Makes assets/leadsheets_split.json, which lead sheets are to validate and to test on, fixed before
anything is trained; and assets/leadsheets_test.npz, the bars to test on, so that figures can be reprinted.

    python packaging/build_leadsheets.py FOLDER

FOLDER holds OpenEWLD's lead sheets. Songs that share a dozen notes in a row in any transposition go to one
side. Run in the project's environment; the same folder gives the same files.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))

from models import leadsheets  # noqa: E402 - after the path is set
from models.leadsheets import Leadsheet  # noqa: E402
from models.representations import chords, note_step  # noqa: E402
from models.training import RUN  # noqa: E402

VALID, TEST = 0.1, 0.2
"""Shares of the songs."""
CREDIT = """leadsheets_test.npz: how long each pitch class sounds in each half of a bar, and the chord there, of
songs of OpenEWLD by Federico Simonetta (MIT licence; the scores are in the public domain).
leadsheets_split.json: which of its songs are to validate and to test on.
Both are made by packaging/build_leadsheets.py.
"""


def main(folder: Path) -> None:
    """Writes both files."""
    sheets = leadsheets.load(folder)
    groups = families(sheets)
    # In an order of chance that stays the same when songs are added.
    groups.sort(key=lambda group: hashlib.sha256(min(group).encode()).digest())
    sides: dict[str, list[str]] = {"test": [], "valid": []}
    for side, share in (("test", TEST), ("valid", VALID)):
        while len(sides[side]) < share * len(sheets):
            sides[side] += groups.pop()
    split = {side: sorted(names) for side, names in sides.items()}
    text = json.dumps(split, ensure_ascii=False, indent=0) + "\n"
    (CHECKOUT / "assets" / "leadsheets_split.json").write_text(text, "utf-8")
    held = [s for s in sheets if chords.key_of(s.name) in split["test"]]
    songs = [song for song in map(chords.song, held) if song is not None]
    chords.write(CHECKOUT / "assets" / "leadsheets_test.npz", songs)
    (CHECKOUT / "assets" / "leadsheets_test.txt").write_text(CREDIT, "utf-8")
    print(
        f"{len(sheets)} songs, {len(split['valid'])} to validate, {len(split['test'])} to test on"
    )


def families(sheets: Sequence[Leadsheet]) -> list[list[str]]:
    """Names of songs, together where they share RUN notes."""
    group = list(range(len(sheets)))

    def head(i: int) -> int:
        while group[i] != i:
            i = group[i]
        return i

    first: dict[bytes, int] = {}
    for i, sheet in enumerate(sheets):
        for run in note_step.runs(sheet.tune, RUN):
            group[head(i)] = head(first.setdefault(run, i))
    found: dict[int, list[str]] = {}
    for i, sheet in enumerate(sheets):
        found.setdefault(head(i), []).append(chords.key_of(sheet.name))
    return list(found.values())


if __name__ == "__main__":
    main(Path(sys.argv[1]))

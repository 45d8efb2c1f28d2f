"""Makes assets/tunes_split.json: which tunes are for validation, fixed before anything is trained.

    python packaging/build_split.py FOLDER

FOLDER holds OpenEWLD's lead sheets. Tunes that share four bars in any transposition go to one side.
Run in the project's environment; the same music21 and folder give the same file.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))

from models import tunes  # noqa: E402 - after the path is set
from models.representations import melody  # noqa: E402


def main(folder: Path) -> None:
    """Writes the split."""
    found = tunes.load(folder=folder)
    valid = melody.for_validation(found)
    split = {"collections": sorted({t.collection for t in found}), "valid": valid}
    text = json.dumps(split, ensure_ascii=False, indent=0) + "\n"
    (CHECKOUT / "assets" / "tunes_split.json").write_text(text, "utf-8")
    print(f"{len(found)} tunes, {len(valid)} of them for validation")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

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

BARS = (2, 4, 16)
"""The windows systems are trained on."""


def main(folder: Path) -> None:
    """Writes the split."""
    found = tunes.load(folder=folder)
    valid = melody.for_validation(found)
    split = {"collections": sorted({t.collection for t in found}), "valid": valid, "elsewhere": []}
    _write(split)
    bundled = [t for t in found if t.collection in tunes.BUNDLED]
    for bars in BARS:
        # Who lacks the folder can't see that its tunes bring these phrases to training.
        alone, whole = (melody.material(some, bars).valid.tokens for some in (bundled, found))
        kept = {melody.digest(t) for t in whole}
        split["elsewhere"] += sorted({melody.digest(t) for t in alone} - kept)
    _write(split)
    print(f"{len(found)} tunes, {len(valid)} of them for validation", end="; ")
    print(f"{len(split['elsewhere'])} phrases of those occur in {folder.name} only")


def _write(split: dict[str, list[str]]) -> None:
    text = json.dumps(split, ensure_ascii=False, indent=0) + "\n"
    (CHECKOUT / "assets" / "tunes_split.json").write_text(text, "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""Makes assets/performances_valid.npz from the folder of GiantMIDI-Piano's files:

    .venv/bin/python packaging/build_performances.py FOLDER

The beginnings of the performances that assets/performances_split.json holds out, as events, and how often
each event follows each in those to train on: what the figures of Performance RNN need.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from engine import midifile  # noqa: E402
from models.representations import performance  # noqa: E402

EVENTS_OF_EACH = 6000
"""Enough for the figures, few enough for 150 kB in all."""


def main(folder: Path) -> None:
    """Writes the file."""
    files = sorted(folder.glob("*.mid"))
    if not files or not performance.known([path.name for path in files]):
        raise SystemExit(
            f"{folder} is not the folder of GiantMIDI-Piano's files that the split names."
        )
    _, held = performance.read([(path, midifile.read(path)) for path in files])
    pieces = [events[:EVENTS_OF_EACH] for events in held.pieces]
    count = held.follows.reshape(-1)
    pairs = np.flatnonzero(count)
    out = ROOT / "assets" / "performances_valid.npz"
    np.savez_compressed(
        out,
        events=np.concatenate(pieces),
        lengths=np.array([len(events) for events in pieces], np.uint16),
        pairs=pairs.astype(np.uint32),
        counts=count[pairs].astype(np.uint16),
    )
    out.with_suffix(".txt").write_text(performance.NOTICE, "utf-8")
    print(f"{len(pieces)} performances, {out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

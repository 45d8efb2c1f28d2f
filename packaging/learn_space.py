"""Learns the spaces (attribute vectors, latent map) of shipped weights again:

    .venv/bin/python packaging/learn_space.py [SYSTEM …] [--corpus FOLDER]

All latent systems unless some are named. --corpus: the folder besides the bundled tunes that the weights
were trained with.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import cast

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from models import catalogue, latent_sliders, training, weights
from models.card import Task
from models.coder import Coder


def main() -> None:
    """Writes assets/weights/SYSTEM.space.safetensors and its card for each system."""
    latent = [c.id for c in catalogue.cards() if Task.RESHAPE in c.tasks]
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("systems", nargs="*", metavar="SYSTEM", help="all unless named")
    parser.add_argument("--corpus", type=Path, metavar="FOLDER")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    corpora: dict[int, training.Corpus] = {}
    for system_id in arguments.systems or latent:
        path = weights.shipped(system_id)
        if not path.is_file():
            print(f"{system_id} has no weights")
            continue
        began = time.monotonic()
        bars = cast(Coder, catalogue.load(system_id)).bars
        if bars not in corpora:
            corpora[bars] = training.phrases(arguments.corpus, bars)
        out = latent_sliders.write(system_id, path, corpora[bars], 0, "cpu")
        print(f"{out.name}: {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()

"""Makes assets/scores: chorales of the training half of music21's corpus, and melodies alone.

    python packaging/build_scores.py

Run in the project's environment. The same music21 gives the same files.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))

from engine import musicxml  # noqa: E402 - after the path is set
from models.score import Key, Notes, Score, Track  # noqa: E402
from models.timebase import PPQ, TempoMap  # noqa: E402

SCORES = CHECKOUT / "assets" / "scores"
CHURCH_ORGAN = 19

PIECES = (
    # name of the file, chorale, its first line, quarters a minute, how many voices
    ("wenn_ich_einmal_soll_scheiden", "bwv244.62", "Wenn ich einmal soll scheiden", 66, 4),
    ("gloria_sei_dir_gesungen", "bwv140.7", "Gloria sei dir gesungen", 92, 4),
    ("wer_hat_dich_so_geschlagen_melody", "bwv245.11", "Wer hat dich so geschlagen", 72, 1),
)

ODE = "ode_an_die_freude_melody"
# Beethoven 1824, in G, as hymnals print it. Each phrase: pitches, and lengths in eighths.
_QUARTERS = [2] * 12
_RISE = [71, 71, 72, 74, 74, 72, 71, 69, 67, 67, 69, 71]
ODE_PHRASES = (
    ([*_RISE, 71, 69, 69], [*_QUARTERS, 3, 1, 4]),
    ([*_RISE, 69, 67, 67], [*_QUARTERS, 3, 1, 4]),
    (
        [69, 69, 71, 67, 69, 71, 72, 71, 67, 69, 71, 72, 71, 69, 67, 69, 62],
        [2, 2, 2, 2, 2, 1, 1, 2, 2, 2, 1, 1, 2, 2, 2, 2, 4],
    ),
    ([*_RISE, 69, 67, 67], [*_QUARTERS, 3, 1, 4]),
)


def ode() -> Score:
    """A melody that no chorale in the corpus has, its phrases ended by fermatas."""
    pitch = [p for pitches, _ in ODE_PHRASES for p in pitches]
    length = np.array([n for _, lengths in ODE_PHRASES for n in lengths]) * PPQ // 2
    onset = np.cumsum(length) - length
    last = np.cumsum([len(pitches) for pitches, _ in ODE_PHRASES]) - 1
    return Score(
        (Track(0, "Soprano", Notes.of(onset, length, pitch)),),
        keys=(Key(0, 1),),
        fermatas=tuple(onset[last].tolist()),
    )


def main() -> None:
    """Write every piece and the licence beside them."""
    spec = find_spec("music21")
    assert spec is not None
    assert spec.origin is not None
    corpus = Path(spec.origin).parent / "corpus"
    training = json.loads((CHECKOUT / "assets/chorales_split.json").read_text("utf-8"))["train"]
    lines = []
    for name, chorale, title, bpm, voices in PIECES:
        path = f"bach/{chorale}.mxl"
        assert path in training, f"{path} is not for us to look at"
        score = dressed(musicxml.read(corpus / path), title, bpm, voices)
        musicxml.write(score, SCORES / f"{name}.musicxml")
        lines.append(f"{name}.musicxml\n    {title}, {chorale.upper().replace('BWV', 'BWV ')}")
    musicxml.write(dressed(ode(), "Ode an die Freude", 112, 1), SCORES / f"{ODE}.musicxml")
    lines.append(
        f"{ODE}.musicxml\n    Ode an die Freude, Ludwig van Beethoven (1770-1827), op. 125"
    )
    (SCORES / "LICENCE").write_text(
        "Johann Sebastian Bach (1685-1750), chorales; all the music here is in the public domain.\n"
        "Made by packaging/build_scores.py, the chorales from the encodings that music21 distributes\n"
        "(cuthbertLab/music21, BSD 3-Clause, corpus files by their encoders).\n\n"
        + "\n".join(lines)
        + "\n",
        "utf-8",
    )


def dressed(score: Score, title: str, bpm: float, voices: int) -> Score:
    """The first `voices` tracks of the score on an organ, each on a channel of its own."""
    tracks = tuple(
        replace(track, program=CHURCH_ORGAN, channel=n, volume=100)
        for n, track in enumerate(score.tracks[:voices])
    )
    return replace(score, tracks=tracks, title=title, tempo=TempoMap.constant(bpm))


if __name__ == "__main__":
    main()

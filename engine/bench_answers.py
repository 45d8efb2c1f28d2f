"""`ricercar bench answers`: how often an answer on stage stays silent, or keeps one waiting.

Each system that can answer is asked as the performance asks it: for a bar after each of twenty phrases of the bundled
scores (seventeen lines, three of four voices), which end so long before the answer begins as PAUSES say, with
SEEDS seeds. Those that know single notes only refuse chords: that is no answer, and does not count.

- `ID_silent_percent`: answers of the system with that id in which there is no note.
- `ID_entry_percent`: answers whose first note comes in the first beat.
- `ID_answer_ms`: how long a bar took the system, at the median, of one thread.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources

import numpy as np

from engine import exchange, fallback
from engine.stage_asks import Passage, answering, clipped, merged, shifted
from engine.stage_time import Timeline
from engine.staging import Mode, Scene, Setting, modes
from models import catalogue
from models.score import Notes, Score, UserError
from models.system import Context, Proposal, System
from models.timebase import PPQ

BAR = 4 * PPQ
PHRASE_BARS = 2
PHRASES: tuple[tuple[str, tuple[str, ...], tuple[int, ...]], ...] = (
    ("ode_an_die_freude_melody", ("Soprano",), (1, 3, 9, 13)),
    ("wer_hat_dich_so_geschlagen_melody", ("Soprano",), (1, 4, 7, 9)),
    ("gloria_sei_dir_gesungen", ("Soprano",), (1, 4, 10, 14)),
    ("wenn_ich_einmal_soll_scheiden", ("Soprano",), (1, 5, 9)),
    ("gloria_sei_dir_gesungen", ("Bass",), (2,)),
    ("wenn_ich_einmal_soll_scheiden", ("Tenor",), (3,)),
    ("gloria_sei_dir_gesungen", ("Soprano", "Alto", "Tenor", "Bass"), (1, 7)),
    ("wenn_ich_einmal_soll_scheiden", ("Soprano", "Alto", "Tenor", "Bass"), (1,)),
)
"""Scores in 4/4, voices, and the bars in which phrases begin."""
PAUSES = (0, 2 * PPQ, BAR, BAR + PPQ, 2 * BAR)
"""Ticks of rest before the answer."""
SEEDS = 3


def run() -> dict[str, float]:
    """The figures; see above."""
    importlib.import_module("models.device").settle("cpu")  # brings torch
    heard = phrases()
    figures: dict[str, float] = {}
    for card in catalogue.cards():
        if Mode.ANSWER in modes(card):
            tally = answered(catalogue.load(card.id, None, "cpu"), heard, PAUSES, SEEDS)
            figures |= {f"{card.id}_{name}": value for name, value in tally.figures().items()}
    return figures


def phrases() -> list[Notes]:
    """Those of PHRASES, each from tick 0 on."""
    found: list[Notes] = []
    for name, voices, bars in PHRASES:
        scores = resources.files("assets") / "scores"
        with resources.as_file(scores / f"{name}.musicxml") as path:
            score = exchange.read(path)
        lines = merged([t.notes for t in score.tracks if t.name in voices])
        for bar in bars:
            start = score.meter.bar_start(bar)
            found.append(shifted(clipped(lines, start, start + PHRASE_BARS * BAR), -start))
    return found


@dataclass
class Tally:
    """Of each answer when its first note came, in beats (None: never), and how long it took."""

    entries: list[float | None] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def figures(self) -> dict[str, float]:
        """See the head of this file; without any answer they are no numbers."""
        count = len(self.entries) or float("nan")
        silent = sum(e is None for e in self.entries)
        soon = sum(e is not None and e < 1 for e in self.entries)
        return {
            "silent_percent": 100 * silent / count,
            "entry_percent": 100 * soon / count,
            "answer_ms": 1e3 * float(np.median(self.seconds or float("nan"))),
        }


def answered(
    system: System, heard: Sequence[Notes], pauses: Sequence[int], seeds: int, bars: int = 1
) -> Tally:
    """What came of asking it for so many bars after each phrase, pause (ticks) and seed. A phrase has notes in its
    first bar, and PHRASE_BARS bars at most."""
    tally = Tally()
    setting = Setting(Mode.ANSWER, system.card.id, bars=bars)
    for notes in heard:
        for pause in pauses:
            # It loses its end, so that the bars stay where they are.
            end = PHRASE_BARS * BAR - pause % BAR
            phrase = fallback.gridded(clipped(notes, 0, end))
            for seed in range(seeds):
                began = time.perf_counter()
                answer = _answer(system, setting, phrase, end + pause, seed)
                if answer is not None:
                    tally.seconds.append((time.perf_counter() - began) / bars)
                    onset = answer.joined().onset
                    first = (int(onset.min()) - answer.start) / PPQ if len(onset) else None
                    tally.entries.append(first)
    return tally


def _answer(
    system: System, setting: Setting, phrase: Notes, start: int, seed: int
) -> Passage | None:
    """What it answers at `start`; None when it refuses."""
    score = Score()
    timeline = Timeline(score.tempo, score.meter)
    end = start + setting.bars * BAR
    order = answering(system.card, setting, timeline, Scene(score), phrase, start, end, seed)
    for attempt, (ask, _) in enumerate(order.asks):
        try:
            steps = list(system.generate(ask, Context(np.random.default_rng(seed))))
        except UserError:
            continue
        made = [s for s in steps if isinstance(s, Proposal)]
        return order.read(made[-1], attempt)
    return None

"""Four-part chorales."""

from __future__ import annotations

from typing import Any

from test_chorale import made

from mills.lines import BAR, line
from models import training
from models.card import Card, Task
from models.score import Region, Score
from models.system import Ask

RANGE = (36, 81)
ONE_AT_A_TIME = True


def corpus(system: Any) -> training.Corpus:
    return training.Corpus([made(32)], [made(32)])


def asked(card: Card, task: Task, count: int, seed: int) -> Ask:
    """Two bars of a piece of four."""
    voices = zip(("Soprano", "Alto", "Tenor", "Bass"), (72, 65, 58, 48), strict=True)
    score = Score(tuple(line(v, name, centre) for v, (name, centre) in enumerate(voices)))
    written = {1, 2, 3} if task is Task.ACCOMPANY else {1, 2}
    region = Region(BAR, 3 * BAR, frozenset(written))
    if task is Task.CREATE:
        score, region = Score(), Region(0, 2 * BAR)
    melody = 0 if task is Task.ACCOMPANY else None
    params = {"iterations": 2} if any(p.name == "iterations" for p in card.params) else {}
    return Ask(task, score, region, card.values(params), seed, count, melody)

"""The desk between a performance and its engine: whose answer is whose, and what is said meanwhile."""

from __future__ import annotations

import pytest

from engine.messages import Cancel, Finished, Generate, Progressed, Started
from engine.stage_answer import counted
from engine.stage_asks import Order
from engine.stage_desk import Desk
from models.card import Task
from models.score import Region, Score
from models.system import Ask, Progress
from models.timebase import PPQ

ASK = Ask(Task.CONTINUE, Score(), Region(0, 4 * PPQ))


def test_loading_is_said_until_it_is_done_whoever_wanted_it():
    put: list[object] = []
    desk = Desk(put.append)
    job = desk.want(Order("toy", ((ASK, 0),), 0, 4 * PPQ), 0)
    (asked,) = put
    assert isinstance(asked, Generate)
    desk.answered(Progressed(asked.request, Progress(0.0, "Loading Toy")), 1)
    assert desk.loading == "Loading Toy"
    desk.drop(job)
    assert put[-1] == Cancel(asked.request)
    assert desk.answered(Started(asked.request, "CPU"), 2) is None
    assert desk.loading == ""
    desk.answered(Progressed(asked.request, Progress(0.0, "Loading Toy")), 3)
    assert desk.answered(Finished(asked.request, cancelled=True), 4) is None
    assert desk.loading == ""


@pytest.mark.parametrize(
    ("number", "words"), [(0.0, "1 beat"), (0.2, "1 beat"), (1.0, "1 beat"), (1.1, "2 beats")]
)
def test_what_has_begun_is_counted(number: float, words: str):
    assert counted(number, "beat") == words

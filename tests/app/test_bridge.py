"""The bridge and the errands: other threads' words arrive in the GUI thread, and nothing else does."""

from __future__ import annotations

import threading

from PySide6.QtCore import QCoreApplication
from pytestqt.qtbot import QtBot
from shiboken6 import delete

from app.bridge import Bridge
from app.errands import Errands
from models.score import UserError


def test_messages_arrive_in_order_in_the_thread_that_owns_the_bridge(qtbot: QtBot) -> None:
    got: list[tuple[object, threading.Thread]] = []
    bridge = Bridge(lambda m: got.append((m, threading.current_thread())))
    threads = [
        threading.Thread(target=lambda base=base: [bridge((base, i)) for i in range(200)])
        for base in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [], "nothing may run in the other threads"
    qtbot.waitUntil(lambda: len(got) == 600)
    assert {thread for _, thread in got} == {threading.current_thread()}
    for base in range(3):
        assert [m for m, _ in got if m[0] == base] == [(base, i) for i in range(200)]  # type: ignore[index]


def test_a_closed_bridge_swallows_what_is_on_its_way(qtbot: QtBot) -> None:
    got: list[object] = []
    bridge = Bridge(got.append)
    bridge("early")
    bridge.close()
    bridge("late")
    QCoreApplication.processEvents()
    assert got == []


def test_an_errand_brings_its_result_or_its_sentence(qtbot: QtBot) -> None:
    errands = Errands()
    results: list[object] = []
    sentences: list[str] = []
    busy: list[str] = []
    errands.failed.connect(sentences.append)
    errands.busy_changed.connect(busy.append)
    where: list[threading.Thread] = []

    def work() -> int:
        where.append(threading.current_thread())
        return 7

    def refuse() -> int:
        raise UserError("a.mid is empty.")

    def break_down() -> int:
        raise ZeroDivisionError("oh")

    errands.run("Counting", work, results.append)
    assert errands.busy
    qtbot.waitUntil(lambda: not errands.busy)
    errands.run("Opening a.mid", refuse, results.append)
    qtbot.waitUntil(lambda: not errands.busy)
    errands.run("Dividing", break_down, results.append)
    qtbot.waitUntil(lambda: not errands.busy)
    assert results == [7]
    assert where[0] is not threading.current_thread()
    assert sentences == ["a.mid is empty.", "Dividing failed (ZeroDivisionError: oh)."]
    assert busy == ["Counting", "", "Opening a.mid", "", "Dividing", ""]


def test_a_thread_may_outlive_a_bridge_that_qt_deleted(qtbot: QtBot) -> None:
    got: list[object] = []
    bridge = Bridge(got.append)
    delete(bridge)
    bridge("late")
    bridge("later")
    assert got == []

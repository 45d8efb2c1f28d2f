"""link: the real session, where aalink is installed; and what is said where it is not."""

from __future__ import annotations

import sys
import time
from queue import Empty, SimpleQueue

import pytest

from engine.clock import SystemClock
from engine.link import MISSING, Linker
from engine.playback import Linked, Notice


def test_without_the_package_a_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "aalink", None)
    inbox: SimpleQueue = SimpleQueue()
    outbox: SimpleQueue = SimpleQueue()
    linker = Linker(SystemClock(), inbox, outbox)
    linker.lead(bpm=120)  # nobody is there: nothing happens
    linker.want(True)
    assert outbox.get(timeout=10) == Notice(MISSING)
    linker.want(False)
    assert inbox.empty()


def test_a_session_is_told_and_tells():
    pytest.importorskip("aalink")
    inbox: SimpleQueue = SimpleQueue()
    linker = Linker(SystemClock(), inbox, SimpleQueue())
    linker.want(True)
    first = inbox.get(timeout=20)
    assert isinstance(first, Linked)
    linker.lead(bpm=97, playing=True)
    until = time.monotonic() + 20
    while not ((heard := inbox.get(timeout=20)).playing and heard.bpm == pytest.approx(97)):
        assert time.monotonic() < until
    later = inbox.get(timeout=20)
    # Its beat goes on by its tempo: moments and beats belong together.
    assert (later.at - heard.at) * 97 / 60e9 == pytest.approx(later.beat - heard.beat, abs=0.01)
    linker.want(False)
    time.sleep(0.3)  # it has heard by then
    while not inbox.empty():
        inbox.get()
    with pytest.raises(Empty):
        inbox.get(timeout=0.3)

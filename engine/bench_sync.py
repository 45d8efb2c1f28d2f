"""`ricercar bench sync`: how closely another's time is followed.

- `clock_…`: the follower alone, against a simulated master whose pulses jitter by ±3 ms (`engine.sync_figures`).
  `slips_…`: of minutes with lost pulses, those that end off by half a pulse or more.
- `loop_…`: two of our MIDI processes over JACK (dummy driver, 64 frames), the second following the first one's MIDI
  clock, both playing the same notes to gear that knows to the frame when each came: by how much they came apart,
  regardless of sign, `loop_apart_…`, and without what is constant, `loop_jitter_…`.
- `link_…`: two processes that take part in Ableton Link on this machine: how far apart in time they take the beat to
  be. Only where aalink is installed.
"""

from __future__ import annotations

import contextlib
import importlib.util
import multiprocessing
import queue
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection

import numpy as np

from engine import jackd, sync_figures
from engine.bench_onsets import Arrival, Nanoseconds, Receiver, added, percentiles, struck
from engine.bench_peers import piece, until
from engine.clock import SystemClock
from engine.link import Linker
from engine.midi import MidiLink
from engine.playback import (
    Anchor,
    Command,
    Event,
    Follow,
    InputBack,
    Linked,
    Live,
    Play,
    PortBack,
    SendClock,
    Show,
    Stop,
)

SERVER, PERIOD = "ricercar-sync", 64
GEAR, LINE = "Ricercar bench sync", "Ricercar bench clock"
NOTES, SECONDS = 600, 20.0
SETTLE_SECONDS = 2.0
"""What comes so soon after the start is not counted: the follower is still finding out the tempo."""
LINK_SECONDS = 8.0
LINK_TEMPO, SAME_BPM = 127.0, 0.01


def run() -> dict[str, float]:
    """The figures, in milliseconds but for the counts of notes lost. UserError when JACK is not there."""
    figures = dict(sync_figures.clock_figures())
    with jackd.dummy_server(SERVER, PERIOD, patient=True):
        figures |= follow_over_jack(NOTES, SECONDS)
    if importlib.util.find_spec("aalink") is not None:
        figures |= percentiles("link_apart", link_apart(LINK_SECONDS))
    return figures


def follow_over_jack(notes: int, seconds: float) -> dict[str, float]:
    """loop_apart_…, loop_jitter_… and loop_lost, on the JACK server that runs."""
    first, second = SimpleLink(), SimpleLink()
    try:
        with Receiver(GEAR, ("leads", "follows")) as receiver:
            for link, port in ((first, "leads"), (second, "follows")):
                link.send(Show(piece(notes, seconds, f"{GEAR}:{port}")))
                link.until(PortBack(f"{GEAR}:{port}"))
            first.send(Live(f"virtual:{LINE}", bytes((0xB0, 1, 0))))
            first.until(PortBack(f"virtual:{LINE}"))
            second.send(Follow(f"clock:{LINE}"))
            second.until(InputBack(LINE))
            second.send(Play(0))  # once the other begins
            receiver.collect()
            first.send(SendClock(True))
            first.send(Play(0, piece(notes, seconds).length))
            first.until_playing(True)
            first.until_playing(False)
            second.send(Stop())
            time.sleep(SETTLE_SECONDS)
            came = receiver.collect()
    finally:
        first.close()
        second.close()
    begun = min((at for at, _ in came["leads"]), default=0)
    leads = onsets(came["leads"], begun + round(SETTLE_SECONDS * 1e9))
    later, lost = added(leads, onsets(came["follows"], 0))
    return {
        **percentiles("loop_apart", np.abs(later)),
        **percentiles("loop_jitter", np.abs(later - np.median(later)) if len(later) else later),
        "loop_lost": float(lost),
    }


def onsets(arrivals: Sequence[Arrival], since: int) -> list[Arrival]:
    """The note-ons that came from that moment on."""
    return [(at, message) for at, message in arrivals if at >= since and struck(message)]


class SimpleLink:
    """A MidiLink whose events can be waited for."""

    def __init__(self) -> None:
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._link = MidiLink(self._events.put)
        self.send = self._link.send
        self.close = self._link.close

    def until(self, wanted: Event) -> None:
        """Wait for an event; UserError when it does not come."""
        until(self._events, lambda event: event == wanted)

    def until_playing(self, playing: bool) -> None:
        """Wait for the transport to begin or to end."""
        until(self._events, lambda event: isinstance(event, Anchor) and event.playing == playing)


def link_apart(seconds: float) -> Nanoseconds:
    """How far apart, in nanoseconds and regardless of sign, two processes take Link's beat to be, once they have met
    and one has set the tempo."""
    context = multiprocessing.get_context("spawn")
    pipes = []
    processes = []
    for leads in (True, False):
        pipe, theirs = context.Pipe()
        process = context.Process(target=_join, args=(theirs, seconds, leads), daemon=True)
        process.start()
        theirs.close()
        pipes.append(pipe)
        processes.append(process)
    one, other = (pipe.recv() for pipe in pipes)
    for process in processes:
        process.join()
    return apart(one, other)


def apart(one: Sequence[Linked], other: Sequence[Linked]) -> Nanoseconds:
    """How far apart two readings of one beat are, in nanoseconds and regardless of sign, at the moments of the first.

    The second is read between its moments along a line; where the tempos differ nothing is compared.
    """
    moments = np.array([linked.at for linked in other])
    beats = np.array([linked.beat for linked in other])
    found = []
    for linked in one:
        after = int(np.searchsorted(moments, linked.at))
        if 0 < after < len(other) and _steady(linked, *other[after - 1 : after + 1]):
            beat = np.interp(
                linked.at, moments[after - 1 : after + 1], beats[after - 1 : after + 1]
            )
            found.append(abs(beat - linked.beat) * 60e9 / linked.bpm)
    return np.array(found).astype(np.int64)


def _steady(first: Linked, *others: Linked) -> bool:
    return all(abs(linked.bpm - first.bpm) < SAME_BPM for linked in others)


def _join(pipe: Connection, seconds: float, leads: bool) -> None:
    """A process that takes part in Link and tells what it heard while it had company."""
    inbox: queue.SimpleQueue[Command] = queue.SimpleQueue()
    linker = Linker(SystemClock(), inbox, queue.SimpleQueue())
    linker.want(True)
    time.sleep(SETTLE_SECONDS)
    if leads:
        linker.lead(bpm=LINK_TEMPO)
    time.sleep(seconds)
    heard = []
    with contextlib.suppress(queue.Empty):
        while True:
            heard.append(inbox.get_nowait())
    pipe.send(
        [
            h
            for h in heard
            if isinstance(h, Linked) and h.peers and abs(h.bpm - LINK_TEMPO) < SAME_BPM
        ]
    )

"""MIDI inputs: what they bring is checked, passed on, told to the program, and handed to who follows its time.

`Hearing.heard` runs in the threads of the system's MIDI. It waits for nobody: what goes through reaches
the transport's inbox first, and what the program is too slow to be told is dropped, the oldest first.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from queue import SimpleQueue
from typing import Any

import rtmidi

from engine.clock import Clock
from engine.playback import Command, Event, LetGo, Live, Notice, Played, Thru, Timing
from engine.schedule import CONTROL, NOTE_OFF, NOTE_ON, SUSTAIN_CC
from engine.thru import RELEASE_VELOCITY, Flood, Router, whole

FLOOD = 5000
"""Messages a second from one input that are worth a word. A MIDI cable carries 1,500, a dense USB device 3,000."""

MOST_WAITING = 8192
"""Messages that may wait for the transport, and as many for the program, before some are left out."""

CLOCK, MTC = "clock", "mtc"
CLOCK_STATUS = frozenset((0xF2, 0xF8, 0xFA, 0xFB, 0xFC))
QUARTER_FRAME = 0xF1


def followed(source: str) -> tuple[str, str]:
    """What kind of time a `Follow.source` names ("clock" or "mtc"), and the input; empty for any other."""
    kind, _, name = source.partition(":")
    return (kind, name) if kind in (CLOCK, MTC) and name else ("", "")


def tells_time(kind: str, message: bytes) -> bool:
    """Whether a whole message belongs to that kind of time."""
    if kind == CLOCK:
        return message[0] in CLOCK_STATUS
    full_frame = len(message) == 10 and message[:2] == b"\xf0\x7f" and message[3:5] == b"\x01\x01"
    return kind == MTC and (message[0] == QUARTER_FRAME or full_frame)


class Waiting:
    """What was played and has not been told yet: the newest so many.

    Of those that `put` it, whoever reads the events gets each under a token that travels with the others.
    """

    def __init__(self, most: int = MOST_WAITING) -> None:
        self._events: deque[Played] = deque()
        self._most = most
        self._lock = threading.Lock()

    def put(self, event: Played) -> bool:
        """Add one; True when it needs a token of its own (else it took the place of the oldest)."""
        with self._lock:
            self._events.append(event)
            if len(self._events) <= self._most:
                return True
            self._events.popleft()
            return False

    def get(self) -> Played:
        """The oldest there is, for one token."""
        with self._lock:
            return self._events.popleft()


class Hearing:
    """What happens to what comes in. Its methods may be called from any thread, and return at once.

    The transport's `inbox` gets Live, LetGo and Timing, `outbox` Notices and a Played for each message.
    The event that a Played in `outbox` stands for is to be taken from `waiting`. Of an input that is heard no more
    the keys and pedals that are down are told as let go, so that nobody waits for their ends.
    """

    def __init__(
        self, clock: Clock, inbox: SimpleQueue[Command], outbox: SimpleQueue[Event]
    ) -> None:
        self._clock, self._inbox, self._outbox = clock, inbox, outbox
        self._router = Router()
        self._floods: dict[str, Flood] = {}
        self._listened: frozenset[str] = frozenset()
        self._owed: dict[str, set[bytes]] = {}  # of each input: what will end what is down
        self._follow = ("", "")
        self._lock = threading.Lock()
        self.waiting = Waiting()

    def listen(self, names: frozenset[str]) -> None:
        """Pass on and tell what these inputs bring, and nothing else."""
        with self._lock:
            dropped = self._listened - names
            self._listened = names
            for source in sorted(dropped):
                self._release(source)

    def thru(self, thru: Thru) -> None:
        """Pass on in this way from now on; notes that sound end where they are."""
        with self._lock:
            for port in dict.fromkeys(route.port for route in thru.routes):
                # A note-off of nothing: it only has the port opened before the first note.
                self._inbox.put(Live(port, bytes((NOTE_OFF, 0, 0)), source="thru"))
            self._send(self._router.route(thru.routes, thru.taught))

    def follow(self, source: str) -> None:
        """Hand on the time that this `Follow.source` names, and no other."""
        self._follow = followed(source)

    def lost(self, source: str) -> None:
        """This input has gone: let go of all it holds."""
        with self._lock:
            self._release(source)

    def panic(self) -> None:
        """Everything is being silenced; whatever is held is held no more."""
        with self._lock:
            self._router.forget()

    def heard(self, source: str, data: Sequence[int], at: int | None = None) -> list[Live]:
        """`data` came in from `source`, at the moment `at` (None: now). Whatever it is, nothing is raised.

        What comes back has been put into the transport's inbox.
        """
        now = self._clock.now() if at is None else at
        message = whole(data)
        lives: list[Live] = []
        if message is not None:
            if message[0] >= 0xF0:
                kind, name = self._follow
                if (
                    source == name
                    and tells_time(kind, message)
                    and self._inbox.qsize() < MOST_WAITING
                ):
                    self._inbox.put(Timing(now, message, source))
            elif source in self._listened:
                with self._lock:
                    lives = self._send(self._router.message(source, message))
                    self._owe(source, message)
                self._tell(Played(now, message, source))
        flood = self._floods.setdefault(source, Flood(FLOOD))
        if flood.heard(now):
            name = source.removeprefix("virtual:")
            self._outbox.put(
                Notice(
                    f"{name} sends more than {FLOOD:,} messages a second; what cannot be kept up"
                    " with is left out, until it calms down."
                )
            )
        return lives

    def _send(self, lives: Iterable[Live]) -> list[Live]:
        sent: list[Live] = []
        for live in lives:
            # Never a note-off: what has begun must end.
            if live.message[0] & 0xF0 == NOTE_OFF or self._inbox.qsize() < MOST_WAITING:
                self._inbox.put(live)
                sent.append(live)
        return sent

    def _owe(self, source: str, message: bytes) -> None:
        kind, channel = message[0] & 0xF0, message[0] & 0x0F
        if kind in (NOTE_ON, NOTE_OFF):
            end = bytes((NOTE_OFF | channel, message[1], RELEASE_VELOCITY))
            begins = kind == NOTE_ON and message[2] > 0
        elif kind == CONTROL and message[1] == SUSTAIN_CC:
            end = bytes((CONTROL | channel, SUSTAIN_CC, 0))
            begins = message[2] >= 64
        else:
            return
        owed = self._owed.setdefault(source, set())
        if begins:
            owed.add(end)
        else:
            owed.discard(end)

    def _tell(self, played: Played) -> None:
        if self.waiting.put(played):
            self._outbox.put(played)

    def _release(self, source: str) -> None:
        self._send(self._router.release(source))
        self._inbox.put(LetGo(source))
        now = self._clock.now()
        for message in sorted(self._owed.pop(source, ())):
            self._tell(Played(now, message, source))


class Input:
    """An input opened with python-rtmidi; `heard(bytes)` is called in a thread of the system's MIDI."""

    def __init__(
        self, api: int, client: str, name: str, index: int | None, heard: Callable[[Any], object]
    ) -> None:
        """Connect to the input at `index`, or offer a virtual port when it is None. OSError on failure."""
        self._in = rtmidi.MidiIn(api, name=client)
        self.tell_time(False)
        self._in.set_callback(lambda event, _data=None: heard(event[0]))
        if index is None:
            self._in.open_virtual_port(name)
        else:
            self._in.open_port(index, "in")

    def tell_time(self, on: bool) -> None:
        """Also hear messages about time (clock, MTC): left out by the system's side otherwise."""
        self._in.ignore_types(sysex=not on, timing=not on, active_sense=True)

    def close(self) -> None:
        """Hear no more."""
        self._in.cancel_callback()
        self._in.close_port()
        self._in.delete()

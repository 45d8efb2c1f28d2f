"""MIDI on JACK that keeps each message's moment to the frame, in and out, and goes through within one period.

python-rtmidi hands JACK what it has at the beginning of a period, so a message may be a whole period off. Here
a message waits in a heap until the period that holds its moment, and is written at its frame. The price is that
it must be handed over `lead_ns` before; one that comes later leaves with the next period, as with rtmidi.

What is played in and passed on is not later at all: inputs and outputs belong to one client, which reads, lets
the transport answer (some tenths of a millisecond), and writes the answer at the frame of the question.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import Any

import jack

from engine.periods import PeriodClock
from engine.playback import Live

MARGIN_NS = 6_000_000
"""Beyond one period: how late the transport may hand something over and still be exact."""

DRAIN_SECONDS = 1.0

ANSWER_NS, ANSWER_EACH_NS = 300_000, 150_000
ANSWER_SHARE = 3
"""How long JACK waits for what goes through: so long, and so much longer for each message, but no more than a third
of a period. What is not there by then leaves with the next."""

LONGEST = 16
"""Bytes of a message worth reading; anything longer is a system exclusive message nobody here understands."""

Heard = Callable[[Sequence[int], int], list[Live]]
"""Takes what came in and its moment; tells what the transport has been asked to send for it."""


class JackClient:
    """One client of the JACK server, for all our ports. OSError when there is no server.

    Its process callback is all that runs in JACK's time: it waits for nobody, but for the transport to answer
    what goes through.
    """

    def __init__(self, name: str) -> None:
        jack.set_error_function(lambda _text: None)
        jack.set_info_function(lambda _text: None)
        try:
            self._client = jack.Client(name, no_start_server=True)
        except jack.JackError as error:
            raise OSError(str(error)) from error
        self.alive = True
        self._sent = 0  # messages handed to all outputs
        self._wanted = 0  # how many of them JACK waits for
        self._answered = threading.Lock()  # held until there are so many
        self._answered.acquire()
        self._outputs: dict[str, JackPort] = {}
        self._inputs: dict[str, tuple[Any, Heard]] = {}
        self._frame_ns = 1e9 / self._client.samplerate
        self._periods = PeriodClock(self._frame_ns)
        self._client.set_shutdown_callback(self._ended)
        self._client.set_process_callback(self._process)
        self._client.activate()

    @property
    def period_ns(self) -> int:
        """The length of a period."""
        return int(self._client.blocksize * self._frame_ns)

    def open(self, name: str, title: str, destination: str | None) -> JackPort:
        """The output of which `Live`s speak as `name`, called `title`, connected to `destination` if given.

        OSError on failure.
        """
        own = self._register(self._client.midi_outports, f"to {title}" if destination else title)
        port = JackPort(self, name, own)
        self._outputs = {**self._outputs, name: port}
        try:
            if destination is not None:
                self._client.connect(own, destination)
        except jack.JackError as error:
            self.drop_output(name)
            raise OSError(str(error)) from error
        return port

    def listen(self, title: str, source: str | None, heard: Heard) -> JackInput:
        """An input called `title`, connected to `source` if given. OSError on failure.

        `heard` is called in JACK's time, with whatever comes.
        """
        own = self._register(self._client.midi_inports, f"from {title}" if source else title)
        self._inputs = {**self._inputs, own.name: (own, heard)}
        try:
            if source is not None:
                self._client.connect(source, own)
        except jack.JackError as error:
            self.drop_input(own.name)
            raise OSError(str(error)) from error
        return JackInput(self, own.name)

    @staticmethod
    def _register(ports: Any, title: str) -> Any:
        try:
            return ports.register(title.replace(":", " "))
        except jack.JackError as error:
            raise OSError(str(error)) from error

    def drop_output(self, name: str) -> None:
        """Close the output of that name."""
        own = self._outputs[name].own
        self._outputs = {n: port for n, port in self._outputs.items() if n != name}
        self._unregister(own)

    def drop_input(self, name: str) -> None:
        """Close the input of that name."""
        own = self._inputs[name][0]
        self._inputs = {n: entry for n, entry in self._inputs.items() if n != name}
        self._unregister(own)

    def _unregister(self, own: Any) -> None:
        if self.alive:
            time.sleep(2e-9 * self.period_ns)  # until the callback has surely let go of it
            own.unregister()

    def close(self) -> None:
        """Leave the server, if it is still there."""
        if self.alive:
            self.alive = False
            self._client.deactivate()
            self._client.close()

    def _process(self, frames: int) -> None:
        called = time.perf_counter_ns()
        begins = self._periods.begins(self._client.last_frame_time, called)
        if self._inputs:
            self._hear(begins, frames * self._frame_ns / ANSWER_SHARE)
        for port in self._outputs.values():
            port.write(begins, frames, self._frame_ns)

    def count(self) -> None:
        """One more message has been handed to an output."""
        self._sent += 1
        if self._sent == self._wanted and self._answered.locked():
            self._answered.release()

    def _hear(self, begins: float, most_ns: float) -> None:
        """Take in what came, and give the transport a moment to answer."""
        before = wanted = self._sent
        for own, heard in self._inputs.values():
            for offset, data in own.incoming_midi_events():
                moment = int(begins + offset * self._frame_ns)
                for live in heard(bytes(data[:LONGEST]), moment):
                    port = self._outputs.get(live.port)
                    if port is not None:
                        port.expect(live.message, moment)
                        wanted += 1
        if wanted == before:
            return
        self._answered.acquire(blocking=False)  # an answer that came too late last time
        self._wanted = wanted
        if self._sent < wanted:
            patience = min(ANSWER_NS + ANSWER_EACH_NS * (wanted - before), most_ns)
            self._answered.acquire(timeout=1e-9 * patience)
        self._wanted = 0
        for port in self._outputs.values():
            port.expect_nothing()

    def _ended(self, _status: Any, _reason: str) -> None:
        self.alive = False


class JackPort:
    """One output of a JackClient."""

    def __init__(self, client: JackClient, name: str, own: Any) -> None:
        self._client, self._name, self.own = client, name, own
        self._waiting: list[tuple[int, int, bytes]] = []  # a heap: moment, number, message
        self._number = 0
        self._expected: dict[bytes, deque[int]] = {}
        self._last: dict[
            tuple[int, int], int
        ] = {}  # of each key and control: the moment of the last

    @property
    def lead_ns(self) -> int:
        """How long before its moment a message must be handed over to leave exactly then."""
        return self._client.period_ns + MARGIN_NS

    def send(self, message: bytes) -> None:
        """Send as soon as possible; OSError when the port is gone."""
        self.send_at(message, time.perf_counter_ns())

    def send_at(self, message: bytes, moment: int) -> None:
        """Send at that moment, or as soon as possible after; OSError when the port is gone.

        Messages for one key, or one controller, never overtake one another: what is sent now ends what was
        to begin a little later.
        """
        if not self._client.alive:
            raise OSError("the JACK server has gone")
        slot = _slot(message)
        if self._expected and (expected := self._expected.get(message[:2])):
            moment = expected.popleft()
        moment = max(moment, self._last.get(slot, 0))
        self._last[slot] = moment
        self._number += 1
        heappush(self._waiting, (moment, self._number, message))
        self._client.count()

    def expect(self, message: bytes, moment: int) -> None:
        """Such a message is about to be sent as an answer to something of that moment, and belongs there."""
        self._expected.setdefault(message[:2], deque()).append(moment)

    def expect_nothing(self) -> None:
        """What is sent from now on answers nothing."""
        self._expected.clear()

    def write(self, begins: float, frames: int, frame_ns: float) -> None:
        """In JACK's time: write what belongs into the period of `frames` that begins at that moment."""
        own, waiting = self.own, self._waiting
        own.clear_buffer()
        after = begins + (frames - 0.5) * frame_ns
        offset = 0
        while waiting and waiting[0][0] < after:
            moment, number, message = heappop(waiting)
            offset = max(offset, round((moment - begins) / frame_ns))
            try:
                own.write_midi_event(offset, message)
            except jack.JackError:  # the period is full; the rest goes into the next
                heappush(waiting, (moment, number, message))
                return

    def close(self) -> None:
        """Close after what is to be sent has left."""
        deadline = time.monotonic() + DRAIN_SECONDS
        while self._client.alive and self._waiting and time.monotonic() < deadline:
            time.sleep(1e-9 * self._client.period_ns)
        if self._client.alive:
            time.sleep(2e-9 * self._client.period_ns)
        self._client.drop_output(self._name)


class JackInput:
    """One input of a JackClient."""

    def __init__(self, client: JackClient, name: str) -> None:
        self._client, self._name = client, name

    def tell_time(self, on: bool) -> None:
        """Messages about time are always heard."""

    def close(self) -> None:
        """Hear no more."""
        self._client.drop_input(self._name)


def _slot(message: bytes) -> tuple[int, int]:
    """What a message is about: a key, a controller, or what its status says alone."""
    status = message[0]
    if status & 0xE0 == 0x80:
        return (0x80 | status & 0x0F, message[1])
    return (status, message[1] if status & 0xF0 in (0xA0, 0xB0) else -1)

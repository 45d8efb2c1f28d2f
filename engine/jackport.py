"""MIDI outputs on JACK that keep each message's moment to the frame.

python-rtmidi hands JACK what it has at the beginning of a period, so a message may be a whole period off. Here
a message waits in a heap until the period that holds its moment, and is written at its frame. The price is that
it must be handed over `lead_ns` before; one that comes later leaves with the next period, as with rtmidi.
"""

from __future__ import annotations

import time
from heapq import heappop, heappush
from typing import Any

import jack

MARGIN_NS = 2_000_000
"""Beyond one period: how late the transport may hand something over and still be exact."""

SMOOTHING = 1 / 16
ASTRAY_NS = 50_000_000
"""JACK's frames have jumped (it skipped periods, or its counter began anew): follow at once."""

DRAIN_SECONDS = 1.0


class JackClient:
    """One client of the JACK server, for all our outputs. OSError when there is no server.

    Its process callback is all that runs in JACK's time: it takes the interpreter for some 10 µs a period.
    """

    def __init__(self, name: str) -> None:
        jack.set_error_function(lambda _text: None)
        jack.set_info_function(lambda _text: None)
        try:
            self._client = jack.Client(name, no_start_server=True)
        except jack.JackError as error:
            raise OSError(str(error)) from error
        self.alive = True
        self.xruns = 0
        self._ports: tuple[JackPort, ...] = ()
        self._frame_ns = 1e9 / self._client.samplerate
        self._zero = 0.0  # the moment of frame 0
        self._client.set_shutdown_callback(self._ended)
        self._client.set_xrun_callback(self._stumbled)
        self._client.set_process_callback(self._process)
        self._client.activate()

    @property
    def period_ns(self) -> int:
        """The length of a period."""
        return int(self._client.blocksize * self._frame_ns)

    def open(self, name: str, destination: str | None) -> JackPort:
        """An output called `name`, connected to the input `destination` if given. OSError on failure."""
        own = None
        try:
            own = self._client.midi_outports.register(name.replace(":", " "))
            port = JackPort(self, own)
            self._ports = (*self._ports, port)
            if destination is not None:
                self._client.connect(own, destination)
        except jack.JackError as error:
            if own is not None:
                self.drop(port)
            raise OSError(str(error)) from error
        return port

    def drop(self, port: JackPort) -> None:
        """Close one of the outputs."""
        self._ports = tuple(p for p in self._ports if p is not port)
        if self.alive:
            time.sleep(2e-9 * self.period_ns)  # until the callback has surely let go of it
            port.unregister()

    def close(self) -> None:
        """Leave the server, if it is still there."""
        if self.alive:
            self.alive = False
            self._client.deactivate()
            self._client.close()

    def _process(self, frames: int) -> None:
        client = self._client
        now = time.perf_counter_ns()
        zero = now - client.frame_time * self._frame_ns
        error = zero - self._zero
        self._zero = zero if abs(error) > ASTRAY_NS else self._zero + SMOOTHING * error
        begins = self._zero + client.last_frame_time * self._frame_ns
        for port in self._ports:
            port.write(begins, frames, self._frame_ns)

    def _ended(self, _status: Any, _reason: str) -> None:
        self.alive = False

    def _stumbled(self, _delayed_us: float) -> None:
        self.xruns += 1


class JackPort:
    """One output of a JackClient."""

    def __init__(self, client: JackClient, own: Any) -> None:
        self._client = client
        self._own = own
        self._waiting: list[tuple[int, int, bytes]] = []  # a heap: moment, number, message
        self._number = 0
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
        moment = max(moment, self._last.get(slot, 0))
        self._last[slot] = moment
        self._number += 1
        heappush(self._waiting, (moment, self._number, message))

    def write(self, begins: float, frames: int, frame_ns: float) -> None:
        """In JACK's time: write what belongs into the period of `frames` that begins at that moment."""
        own, waiting = self._own, self._waiting
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
        self._client.drop(self)

    def unregister(self) -> None:
        """Give the port back to JACK."""
        self._own.unregister()


def _slot(message: bytes) -> tuple[int, int]:
    """What a message is about: a key, a controller, or what its status says alone."""
    status = message[0]
    if status & 0xE0 == 0x80:
        return (0x80 | status & 0x0F, message[1])
    return (status, message[1] if status & 0xF0 in (0xA0, 0xB0) else -1)

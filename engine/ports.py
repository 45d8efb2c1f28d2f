"""MIDI ports: their names, and the thread that opens them and brings them back.

A port is named by a string that stays the same from day to day: "" is the built-in synth, "virtual:NAME" a
port this program offers to others, anything else an output of the system, under its name without the
numbers that change whenever a device is plugged in again.
"""

from __future__ import annotations

import importlib
import os
import queue
import re
import sys
import threading
from collections.abc import Callable
from typing import Any

import rtmidi

from engine import jackserver
from engine.clock import Clock
from engine.playback import Command, Event, Notice, Played, Port, PortLost, PortNames, PortOpened
from models.score import UserError

BUILT_IN = ""
VIRTUAL = "virtual:"
CLIENT = "Ricercar"
POLL_SECONDS = 0.5

NUMBERS = {
    # What each system appends to a port's name; it changes with every connection.
    rtmidi.API_LINUX_ALSA: re.compile(r"(?<=.) \d+:\d+$"),
    rtmidi.API_WINDOWS_MM: re.compile(r"(?<=.) \d+$"),
}


def stable_names(raw: list[str], api: int) -> list[str]:
    """Names that survive unplugging; the second of two equal ones gets " #2" and so on."""
    pattern = NUMBERS.get(api)
    names = [pattern.sub("", name) if pattern else name for name in raw]
    seen: dict[str, int] = {}
    for i, name in enumerate(names):
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:
            names[i] = f"{name} #{seen[name]}"
    return names


def find(name: str, names: list[str]) -> int | None:
    """The index of the port meant by `name`: its own name, else the only one that contains it."""
    if name in names:
        return names.index(name)
    close = [i for i, full in enumerate(names) if name.casefold() in full.casefold()]
    return close[0] if len(close) == 1 else None


def choose_api() -> int | None:
    """How to reach MIDI here: the system's own way; on Linux ALSA, else a running JACK; or None."""
    quieten()
    if not sys.platform.startswith("linux"):
        own = [a for a in rtmidi.get_compiled_api() if a != rtmidi.API_UNIX_JACK]
        return own[0] if own else None
    if os.access("/dev/snd/seq", os.R_OK | os.W_OK):
        return int(rtmidi.API_LINUX_ALSA)
    try:
        jackserver.Watch(f"{CLIENT} probe").close()
    except OSError:
        return None
    return int(rtmidi.API_UNIX_JACK)


def quieten() -> None:
    """Keep the system's libraries from writing to standard error when something is not there."""
    if sys.platform.startswith("linux"):
        jackserver.quieten()


class Listing:
    """Sees which ports there are. Raises OSError when the system's MIDI can't be reached."""

    def __init__(self, api: int) -> None:
        self.api = api
        self._watch: jackserver.Watch | None = None
        if api == rtmidi.API_UNIX_JACK:
            self._watch = jackserver.Watch(f"{CLIENT} watch")
        self._out = rtmidi.MidiOut(api, name=f"{CLIENT} list")
        self._in = rtmidi.MidiIn(api, name=f"{CLIENT} list")

    @property
    def alive(self) -> bool:
        """False once the system's MIDI server has gone; nothing of it may be touched then."""
        return self._watch is None or self._watch.alive

    def outputs(self) -> list[str]:
        """Names of ports to send to."""
        return stable_names(self._out.get_ports(), self.api)

    def inputs(self) -> list[str]:
        """Names of ports to hear from."""
        return stable_names(self._in.get_ports(), self.api)

    def close(self) -> None:
        """Let go of the system's MIDI."""
        if self.alive:
            self._out.delete()
            self._in.delete()
            if self._watch is not None:
                self._watch.close()


def list_ports() -> dict[str, list[str]]:
    """{"outputs": names, "inputs": names} as they are now; the built-in synth always exists besides."""
    api = choose_api()
    if api is None:
        return {"outputs": [], "inputs": []}
    listing = Listing(api)
    try:
        return {"outputs": listing.outputs(), "inputs": listing.inputs()}
    finally:
        listing.close()


class RtMidiPort:
    """An output opened with python-rtmidi."""

    def __init__(self, api: int, name: str, index: int | None) -> None:
        """Connect to the output at `index`, or offer a virtual port when it is None. OSError on failure."""
        self.broken = False
        out = rtmidi.MidiOut(api, name=CLIENT)
        if index is None:
            out.open_virtual_port(name)
        else:
            out.open_port(index, "out")
        self._out: Any = out

    def send(self, message: bytes) -> None:
        """Hand over one message; OSError when the port is gone."""
        if self._out is None:  # to call rtmidi now would crash
            raise OSError("the port is closed")
        try:
            self._out.send_message(message)
        except OSError:
            self.broken = True
            raise

    def close(self) -> None:
        """Close after what was sent has left (rtmidi waits for that)."""
        out, self._out = self._out, None
        out.close_port()
        out.delete()


def built_in() -> Port:
    """The built-in synth on the sound device. UserError when its sounds can't be read."""
    # By name: it brings libraries that only those who listen need.
    port: Port = importlib.import_module("engine.audio").BuiltInPort()
    return port


class Keeper:
    """Opens, watches and closes ports on a thread of its own, so that the transport never waits.

    It answers `want` in the transport's inbox. A port that is not there, or vanishes, is waited for: it
    is opened when its name appears. What is to be told besides goes to `outbox`.
    """

    def __init__(
        self,
        clock: Clock,
        inbox: queue.SimpleQueue[Command],
        outbox: queue.SimpleQueue[Event],
        synth: Callable[[], Port] = built_in,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._clock = clock
        self._inbox = inbox
        self._outbox = outbox
        self._synth = synth
        self._poll_seconds = poll_seconds
        self._requests: queue.SimpleQueue[frozenset[str] | str | None] = queue.SimpleQueue()
        self._wanted: frozenset[str] = frozenset()
        self._open: dict[str, Any] = {}
        self._full: dict[str, str] = {}  # wanted name → the name in the list it was opened by
        self._lost: set[str] = set()
        self._names: tuple[tuple[str, ...], tuple[str, ...]] | None = None
        self._listing: Listing | None = None
        self._orphans: list[Any] = []  # of a server that died: closing them would freeze us
        self._input: Any = None
        self._input_name = ""
        self._thread = threading.Thread(target=self._run, name="ports", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def want(self, names: frozenset[str]) -> None:
        """Have exactly these ports open. Returns at once."""
        self._requests.put(names)

    def listen(self, name: str) -> None:
        """Hear the MIDI input of that name, "" for none. Returns at once."""
        self._requests.put(name)

    def close(self, seconds: float = 2.0) -> None:
        """Close all ports once what was sent has left; gives up waiting after `seconds`."""
        self._requests.put(None)
        self._thread.join(seconds)

    def _run(self) -> None:
        while True:
            self._look()
            try:
                request = self._requests.get(timeout=self._poll_seconds)
            except queue.Empty:
                continue
            if request is None:
                break
            if isinstance(request, str):
                self._close_input()
                self._input_name = request
            else:
                self._wanted = request
        self._close_input()
        for name in list(self._open):
            self._close(name)
        if self._listing is not None:
            self._listing.close()

    def _look(self) -> None:
        """Compare what there is with what is wanted."""
        if self._listing is not None and not self._listing.alive:
            self._orphans += [p for n, p in self._open.items() if n != BUILT_IN]
            self._orphans += [self._input, self._listing]
            self._input = None
            for name in [n for n in self._open if n != BUILT_IN]:
                self._lose(name)
            self._listing = None
        if self._listing is None:
            api = choose_api()
            try:
                self._listing = None if api is None else Listing(api)
            except OSError:
                self._listing = None
        outputs = self._listing.outputs() if self._listing is not None else []
        inputs = self._listing.inputs() if self._listing is not None else []
        if self._names != (names := (tuple(outputs), tuple(inputs))):
            self._names = names
            self._outbox.put(PortNames(*names))
        for name in list(self._open):
            if name not in self._wanted:
                self._close(name)
            elif self._full.get(name, "") not in ("", *outputs) or getattr(
                self._open[name], "broken", False
            ):
                self._close(name)
                self._lose(name)
        for name in sorted(self._wanted - self._open.keys()):
            self._try(name, outputs)
        if self._input is not None and self._input_name not in inputs:
            self._close_input()
        if self._input is None and self._input_name:
            self._open_input(inputs)

    def _try(self, name: str, outputs: list[str]) -> None:
        """Open a port if it is there."""
        port: Any = None
        try:
            if name == BUILT_IN:
                port = self._synth()
                if problem := getattr(port, "problem", None):
                    self._outbox.put(Notice(problem))
            elif self._listing is not None and name.startswith(VIRTUAL):
                if sys.platform != "win32":  # it knows no virtual ports
                    port = RtMidiPort(self._listing.api, name.removeprefix(VIRTUAL), None)
            elif self._listing is not None and (index := find(name, outputs)) is not None:
                port = RtMidiPort(self._listing.api, name, index)
                self._full[name] = outputs[index]
        except OSError:
            port = None
        except UserError as error:
            self._outbox.put(Notice(str(error)))
        if port is not None:
            self._open[name] = port
            self._inbox.put(PortOpened(name, port, again=name in self._lost))
            self._lost.discard(name)
        elif name not in self._lost:
            self._lose(name)

    def _lose(self, name: str) -> None:
        self._open.pop(name, None)
        self._full.pop(name, None)
        self._lost.add(name)
        self._inbox.put(PortLost(name))

    def _close(self, name: str) -> None:
        self._full.pop(name, None)
        self._open.pop(name).close()

    def _open_input(self, inputs: list[str]) -> None:
        index = find(self._input_name, inputs)
        if index is None or self._listing is None:
            return
        try:
            self._input = rtmidi.MidiIn(self._listing.api, name=f"{CLIENT} in")
            self._input.open_port(index, "in")
        except OSError:
            self._input = None
            return
        self._input_name = inputs[index]
        self._input.set_callback(self._heard)

    def _heard(self, event: tuple[list[int], float], _data: object = None) -> None:
        self._outbox.put(Played(self._clock.now(), bytes(event[0])))

    def _close_input(self) -> None:
        if self._input is not None:
            self._input.cancel_callback()
            self._input.close_port()
            self._input.delete()
            self._input = None

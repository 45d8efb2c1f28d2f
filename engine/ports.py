"""MIDI ports: their names, and the thread that opens them and brings them back.

A port is named by a string that stays the same from day to day: "" is the built-in synth, "virtual:NAME" a
port this program offers to others, anything else an output of the system, under its name without the
numbers that change whenever a device is plugged in again.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import queue
import re
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import rtmidi

from engine import jackserver
from engine.clock import Clock
from engine.inputs import Hearing, Input, followed
from engine.playback import (
    Command,
    Event,
    InputBack,
    InputLost,
    Notice,
    Port,
    PortLost,
    PortNames,
    PortOpened,
    Thru,
)
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


OWN = re.compile(rf"{CLIENT}(-\d+)?:(to|from) ")
"""Our own ends of connections (see `engine.jackport`): none of them is a device."""


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


def find(name: str, names: Sequence[str]) -> int | None:
    """The index of the port meant by `name`: its own name, else the only one that contains it."""
    if name in names:
        return names.index(name)
    close = [i for i, full in enumerate(names) if name.casefold() in full.casefold()]
    return close[0] if len(close) == 1 else None


@dataclass(frozen=True)
class Seen:
    """The ports there are: their stable names, what tells each from its twins as long as it stays plugged in, and
    the numbers the system opens them by."""

    names: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()

    @classmethod
    def of(cls, raw: list[str], api: int) -> Seen:
        """From the names the system tells."""
        devices = {i: name for i, name in enumerate(raw) if not OWN.match(name)}
        names = tuple(stable_names(list(devices.values()), api))
        # Windows numbers ports anew whenever one goes; JACK's and CoreMIDI's names tell enough.
        marks = tuple(devices.values()) if api == rtmidi.API_LINUX_ALSA else names
        return cls(names, marks, tuple(devices))

    def locate(self, name: str, taken: Mapping[str, str]) -> int | None:
        """Where the port meant by `name` is among these; `taken` says under which name each mark is open already.

        Of two equal devices the one that stayed keeps its name, and the one that is plugged in again its own.
        """
        index = find(name, self.names)
        if index is None or not self._is_twin(taken.get(self.marks[index]), name):
            return index
        for i, other in enumerate(self.names):
            if _base(other) == _base(name) and self.marks[i] not in taken:
                return i
        return None

    @staticmethod
    def _is_twin(holder: str | None, name: str) -> bool:
        return holder is not None and holder != name and _base(holder) == _base(name)


def _base(name: str) -> str:
    return re.sub(r" #\d+$", "", name)


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

    def outputs(self) -> Seen:
        """Ports to send to."""
        return Seen.of(self._out.get_ports(), self.api)

    def inputs(self) -> Seen:
        """Ports to hear from."""
        return Seen.of(self._in.get_ports(), self.api)

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
        return {"outputs": list(listing.outputs().names), "inputs": list(listing.inputs().names)}
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


def jack_client() -> Any:
    """A client of JACK that keeps moments to the frame (`engine.jackport.JackClient`), or None without JACK-Client.

    OSError when there is no server.
    """
    try:
        # By name: it needs a package, and the system's JACK library, that only Linux may have.
        module = importlib.import_module("engine.jackport")
    except (ImportError, OSError):
        return None
    return module.JackClient(CLIENT)


class Keeper:
    """Opens, watches and closes ports on a thread of its own, so that the transport never waits.

    It answers `want` in the transport's inbox. A port that is not there, or vanishes, is waited for: it
    is opened when its name appears. What is to be told besides goes to `outbox`. Inputs are opened for
    `listen` and `follow`; what they bring is `hearing`'s business.
    """

    def __init__(
        self,
        clock: Clock,
        inbox: queue.SimpleQueue[Command],
        outbox: queue.SimpleQueue[Event],
        synth: Callable[[], Port] = built_in,
        poll_seconds: float = POLL_SECONDS,
        *,
        again: bool = False,
    ) -> None:
        """`again`: somebody had ports open before, and may have left notes sounding there."""
        self._again = again
        self.hearing = Hearing(clock, inbox, outbox)
        self._inbox = inbox
        self._outbox = outbox
        self._synth = synth
        self._poll_seconds = poll_seconds
        self._requests: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._wanted: frozenset[str] = frozenset()
        self._open: dict[str, Any] = {}
        self._marks: dict[str, str] = {}  # of what is open: what tells it from its twins
        self._lost: set[str] = set()
        self._listened: frozenset[str] = frozenset()
        self._followed = ""
        self._inputs: dict[str, Any] = {}
        self._input_marks: dict[str, str] = {}
        self._inputs_lost: set[str] = set()
        self._names: tuple[tuple[str, ...], tuple[str, ...]] | None = None
        self._listing: Listing | None = None
        self._jack: Any = None  # a JackClient, where there is one
        self._orphans: list[Any] = []  # of a server that died: closing them would freeze us
        self._thread = threading.Thread(target=self._run, name="ports", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def want(self, names: frozenset[str]) -> None:
        """Have exactly these ports open. Returns at once."""

        def obey() -> None:
            self._wanted = names

        self._requests.put(obey)

    def listen(self, names: tuple[str, ...]) -> None:
        """Hear exactly these MIDI inputs. Returns at once."""

        def obey() -> None:
            self._listened = frozenset(names) - {""}
            self.hearing.listen(self._listened)

        self._requests.put(obey)

    def thru(self, thru: Thru) -> None:
        """Pass on what is heard in this way, from now on."""
        self.hearing.thru(thru)

    def follow(self, source: str) -> None:
        """Hear the input that a `Follow.source` names, if it names one. Returns at once."""

        def obey() -> None:
            self._followed = followed(source)[1]
            self.hearing.follow(source)
            for name, port in self._inputs.items():
                port.tell_time(name == self._followed)

        self._requests.put(obey)

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
            request()
        if self._listing is not None and not self._listing.alive:
            self._orphan()
        for source in list(self._inputs):
            self._close_input(source)
        for name in list(self._open):
            self._close(name)
        if self._jack is not None:
            self._jack.close()
        if self._listing is not None:
            self._listing.close()

    def _orphan(self) -> None:
        """Let go of what belonged to a server that died, without touching it."""
        self._orphans += [p for n, p in self._open.items() if n != BUILT_IN]
        self._orphans += [*self._inputs.values(), self._listing, self._jack]
        self._jack = None
        for name in [n for n in self._open if n != BUILT_IN]:
            self._lose(name)
        for source in list(self._inputs):
            self._lose_input(source)
        self._listing = None

    def _look(self) -> None:
        """Compare what there is with what is wanted."""
        if self._listing is not None and not self._listing.alive:
            self._orphan()
        if self._listing is None:
            api = choose_api()
            with contextlib.suppress(OSError):
                listing = None if api is None else Listing(api)
                self._jack = jack_client() if api == rtmidi.API_UNIX_JACK else None
                self._listing = listing
        outputs = self._listing.outputs() if self._listing is not None else Seen()
        inputs = self._listing.inputs() if self._listing is not None else Seen()
        if self._names != (names := (outputs.names, inputs.names)):
            self._names = names
            self._outbox.put(PortNames(*names))
        self._look_at_outputs(outputs)
        self._look_at_inputs(inputs)

    def _look_at_outputs(self, seen: Seen) -> None:
        for name in list(self._open):
            if name not in self._wanted:
                self._close(name)
            elif self._marks.get(name, "") not in ("", *seen.marks) or getattr(
                self._open[name], "broken", False
            ):
                self._close(name)
                self._lose(name)
        for name in sorted(self._wanted - self._open.keys()):
            self._try(name, seen)

    def _try(self, name: str, seen: Seen) -> None:
        """Open a port if it is there."""
        port: Any = None
        try:
            if name == BUILT_IN:
                port = self._synth()
                if problem := getattr(port, "problem", None):
                    self._outbox.put(Notice(problem))
            elif self._listing is not None and name.startswith(VIRTUAL):
                if sys.platform != "win32":  # it knows no virtual ports
                    port = self._new(name, name.removeprefix(VIRTUAL), None)
            elif self._listing is not None:
                index = seen.locate(name, {mark: n for n, mark in self._marks.items()})
                if index is not None:
                    port = self._new(name, seen.names[index], seen.numbers[index])
                    self._marks[name] = seen.marks[index]
        except OSError:
            port = None
        except UserError as error:
            self._outbox.put(Notice(str(error)))
        if port is not None:
            self._open[name] = port
            again = self._again or name in self._lost
            self._inbox.put(PortOpened(name, port, again))
            self._lost.discard(name)
        elif name not in self._lost:
            self._lose(name)

    def _new(self, name: str, title: str, index: int | None) -> Any:
        """The output that the system numbers `index`, called `title`, or a virtual port of that title."""
        if self._jack is not None:
            return self._jack.open(name, title, None if index is None else title)
        assert self._listing is not None
        return RtMidiPort(self._listing.api, title, index)

    def _lose(self, name: str) -> None:
        self._open.pop(name, None)
        self._marks.pop(name, None)
        self._lost.add(name)
        self._inbox.put(PortLost(name))

    def _close(self, name: str) -> None:
        self._marks.pop(name, None)
        self._open.pop(name).close()

    def _look_at_inputs(self, seen: Seen) -> None:
        wanted = self._listened | ({self._followed} - {""})
        self._inputs_lost &= wanted
        for name in list(self._inputs):
            if name not in wanted:
                self._close_input(name)
            elif self._input_marks.get(name, "") not in ("", *seen.marks):
                self._close_input(name)
                self._lose_input(name)
        for name in sorted(wanted - self._inputs.keys()):
            self._try_input(name, seen)

    def _try_input(self, name: str, seen: Seen) -> None:
        """Open an input if it is there."""
        port: Any = None
        with contextlib.suppress(OSError):
            if self._listing is not None and name.startswith(VIRTUAL):
                if sys.platform != "win32":
                    port = self._new_input(name, name.removeprefix(VIRTUAL), None)
            elif self._listing is not None:
                index = seen.locate(name, {mark: n for n, mark in self._input_marks.items()})
                if index is not None:
                    port = self._new_input(name, seen.names[index], seen.numbers[index])
                    self._input_marks[name] = seen.marks[index]
        if port is not None:
            port.tell_time(name == self._followed)
            self._inputs[name] = port
            self._inputs_lost.discard(name)
            self._outbox.put(InputBack(name))
        elif name not in self._inputs_lost:
            self._lose_input(name)

    def _new_input(self, name: str, title: str, index: int | None) -> Any:
        """The input that the system numbers `index`, called `title`, or a virtual port of that title."""
        heard = partial(self.hearing.heard, name)
        if self._jack is not None:
            return self._jack.listen(title, None if index is None else title, heard)
        assert self._listing is not None
        client = CLIENT if index is None else f"{CLIENT} in"
        return Input(self._listing.api, client, title, index, heard)

    def _lose_input(self, name: str) -> None:
        self._inputs.pop(name, None)
        self._input_marks.pop(name, None)
        self._inputs_lost.add(name)
        self.hearing.lost(name)
        self._outbox.put(InputLost(name))

    def _close_input(self, name: str) -> None:
        self._input_marks.pop(name, None)
        self._inputs.pop(name).close()

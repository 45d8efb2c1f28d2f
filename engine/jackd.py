"""A JACK server without a sound device, for benchmarks and tests of MIDI in time."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import rtmidi

from engine import jackserver
from models.score import UserError

SERVER_VARIABLE = "JACK_DEFAULT_SERVER"
START_SECONDS = 10.0
END_SECONDS = 5.0


@contextmanager
def dummy_server(name: str, period: int, *, patient: bool = False) -> Iterator[None]:
    """Run `jackd` with its dummy driver under a server name of its own, and make it everybody's default.

    JACK carries MIDI in periods: `period` frames of 1/48,000 s. A `patient` server ends no period before all
    clients have, so that a machine that stalls delays messages but loses none (and a client that is killed
    holds up the others for seconds). UserError when there is no jackd.
    """
    program = shutil.which("jackd")
    if program is None:
        raise UserError("jackd is not installed; install it (Debian, Ubuntu: apt install jackd2).")
    before = os.environ.get(SERVER_VARIABLE)
    os.environ[SERVER_VARIABLE] = name
    real_time = ["-R", "-P", "30"] if _may_run_real_time() else ["-r"]
    driver = ["-d", "dummy", "-r", "48000", "-p", str(period)]
    patience = ["-S", "-t", "5000"] if patient else []
    server = subprocess.Popen(
        [program, *real_time, *patience, "-n", name, *driver],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(server)
        yield
    finally:
        server.terminate()
        try:
            server.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
            _strike_off(program, name)
        if before is None:
            os.environ.pop(SERVER_VARIABLE, None)
        else:
            os.environ[SERVER_VARIABLE] = before


def _strike_off(program: str, name: str) -> None:
    """Free the place of a server that was killed.

    JACK knows of eight servers, and one that did not end by itself keeps its place until another of its name has.
    """
    server = subprocess.Popen(
        [program, "-r", "-n", name, "-d", "dummy"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with suppress(UserError):
        _wait_for(server)
    server.terminate()
    try:
        server.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _may_run_real_time() -> bool:
    """Whether this user may run threads at JACK's priority."""
    import resource

    return os.geteuid() == 0 or resource.getrlimit(resource.RLIMIT_RTPRIO)[0] >= 30


def _wait_for(server: subprocess.Popen[bytes]) -> None:
    jackserver.quieten()
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            jackserver.Watch("Ricercar probe").close()
            return
        except OSError:
            time.sleep(0.05)
    raise UserError("jackd did not start; see whether `jackd -r -d dummy` does.")


class Gear:
    """A MIDI input on JACK that remembers what it gets, as (nanoseconds of engine.clock, message).

    `heard(at, seconds since the message before by JACK's clock, message)` is called in JACK's thread.
    """

    def __init__(self, name: str, heard: Callable[[int, float, bytes], None] | None = None) -> None:
        jackserver.quieten()
        self.got: list[tuple[int, bytes]] = []
        self._tell = heard
        self._in = rtmidi.MidiIn(rtmidi.API_UNIX_JACK, name=name)
        self._in.ignore_types(sysex=False, timing=False, active_sense=False)
        self._in.open_virtual_port("in")
        self._in.set_callback(self._heard)

    def _heard(self, event: tuple[list[int], float], _data: object = None) -> None:
        now = time.perf_counter_ns()
        self.got.append((now, bytes(event[0])))
        if self._tell is not None:
            self._tell(now, event[1], bytes(event[0]))

    def close(self) -> None:
        """Unplug it."""
        self._in.cancel_callback()
        self._in.close_port()
        self._in.delete()

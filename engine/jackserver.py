"""Whether the JACK server lives, asked of the JACK library that python-rtmidi has loaded.

rtmidi tells nobody when the server has gone, and freezes for a second when a port of a dead server is
closed; so one small client of our own watches.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

NO_START_SERVER = 0x01

_SHUTDOWN = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_MESSAGE = ctypes.CFUNCTYPE(None, ctypes.c_char_p)


def _library() -> Any:
    """The JACK library in this process, or None. A wheel of rtmidi brings a copy under another name."""
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return None  # not Linux: JACK is not what MIDI goes through
    names = {line.split(maxsplit=5)[-1] for line in lines if "/libjack" in line}
    return ctypes.CDLL(names.pop()) if names else None


_QUIET = _MESSAGE(lambda _text: None)
"""Takes the place of the library's printing to standard error."""


def quieten() -> None:
    """Keep the JACK library from printing where no server runs; its callers get errors anyway."""
    library = _library()
    if library is not None:
        library.jack_set_error_function(_QUIET)
        library.jack_set_info_function(_QUIET)


class Watch:
    """A client of the JACK server that learns when the server ends. OSError when there is none."""

    def __init__(self, name: str) -> None:
        self.alive = True
        library = _library()
        if library is None:
            raise OSError("no JACK library")
        library.jack_client_open.restype = ctypes.c_void_p
        library.jack_on_shutdown.argtypes = [ctypes.c_void_p, _SHUTDOWN, ctypes.c_void_p]
        library.jack_client_close.argtypes = [ctypes.c_void_p]
        self._library = library
        self._callback = _SHUTDOWN(self._ended)  # the library holds a bare pointer to it
        self._client = library.jack_client_open(name.encode(), NO_START_SERVER, None)
        if not self._client:
            raise OSError("no JACK server")
        library.jack_on_shutdown(self._client, self._callback, None)

    def _ended(self, _argument: int | None) -> None:
        self.alive = False

    def close(self) -> None:
        """Leave the server, if it is still there."""
        if self.alive:
            self._library.jack_client_close(self._client)

"""What is played in and goes out again: which messages are whole, where each goes, and what it holds there.

Pure: no ports, no threads, no clock. `engine.inputs` feeds it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from engine import nrpn
from engine.playback import Live, Route, Taught
from engine.schedule import BEND, CONTROL, NOTE_OFF, NOTE_ON, PRESSURE, PROGRAM

KEY_PRESSURE = 0xA0
ALL_SOUND_OFF_CC, ALL_NOTES_OFF_CC = 120, 123
RELEASE_VELOCITY = 64

REST: dict[tuple[int, int], bytes] = {
    # What would last if its cable were pulled, by kind of status and controller, and its value at rest.
    **{(CONTROL, controller): bytes((controller, 0)) for controller in (1, 64, 66, 67)},
    (PRESSURE, -1): bytes((0,)),
    (BEND, -1): bytes((0, 64)),
}

_LENGTHS = {0xF1: 2, 0xF2: 3, 0xF3: 2, 0xF6: 1, 0xF8: 1, 0xFA: 1, 0xFB: 1, 0xFC: 1, 0xFE: 1}

Destination = tuple[str, int, int]
"""Port, channel, pitch."""


def whole(data: Sequence[int]) -> bytes | None:
    """One complete, well-formed MIDI message, or None for anything else."""
    if not data or not 0x80 <= data[0] <= 0xFF:
        return None
    status = data[0]
    if status == 0xF0:
        if len(data) < 3 or data[-1] != 0xF7 or max(data[1:-1]) > 0x7F or min(data[1:-1]) < 0:
            return None
        return bytes(data)
    length = _LENGTHS.get(status, 0) if status > 0xF0 else 2 if status & 0xE0 == 0xC0 else 3
    if len(data) != length or any(not 0 <= value <= 0x7F for value in data[1:]):
        return None
    return bytes(data)


def _any_covers(controls: Iterable[Taught], source: str, channel: int) -> bool:
    """Whether one of these is on that channel of that input."""
    return any(t.channel in (None, channel) and t.source in ("", source) for t in controls)


class Router:
    """Where the messages of each input go, along `Route`s.

    A note ends where it began, whatever has become of the routes. Keys of one input that lead to one key
    outside hold it until the last is let go. What comes back is in the order to be sent.
    """

    def __init__(self) -> None:
        self._routes: tuple[Route, ...] = ()
        self._taught: dict[tuple[int, int], list[Taught]] = {}
        self._parameters: dict[int, list[Taught]] = {}
        self._selections: dict[tuple[str, int], nrpn.Selection] = {}
        self._told: dict[
            tuple[str, int], int | None
        ] = {}  # the parameter number that was passed on
        self._struck: dict[tuple[str, int, int], tuple[Destination, ...]] = {}
        self._holders: dict[tuple[str, Destination], int] = {}
        self._lasting: dict[tuple[str, int, int, int], frozenset[tuple[str, int]]] = {}

    def route(
        self, routes: tuple[Route, ...], taught: frozenset[Taught] = frozenset()
    ) -> list[Live]:
        """Follow these routes from now on, and pass on nothing of the controls `taught` (but their ends);
        what comes back puts to rest what is no longer reached."""
        self._routes = routes
        self._taught, self._parameters = {}, {}
        for control in taught:
            if control.nrpn:
                self._parameters.setdefault(control.number, []).append(control)
            else:
                self._taught.setdefault((control.kind, control.number), []).append(control)
        self._told.clear()  # what is reached now may not have been told
        found: list[Live] = []
        for slot, places in list(self._lasting.items()):
            source, channel, *_ = slot
            gone = places - {(port, out) for port, out, _ in self._ways(source, channel)}
            if gone:
                found += self._rest(slot, gone)
        return found

    def message(self, source: str, message: bytes) -> list[Live]:
        """What is to be sent for a channel message (a whole one) that came from `source`."""
        kind, channel = message[0] & 0xF0, message[0] & 0x0F
        if kind == CONTROL and message[1] in nrpn.CONTROLLERS:
            return self._parameter(source, channel, message[1:])
        if self._taught and self._moves(source, kind, channel, message):
            return []
        if kind == NOTE_ON and message[2]:
            return self._strike(source, channel, message[1], message[2])
        if kind in (NOTE_ON, NOTE_OFF):
            return self._lift((source, channel, message[1]))
        if kind == KEY_PRESSURE:
            held = self._struck.get((source, channel, message[1]), ())
            return [
                Live(port, bytes((kind | out, pitch, message[2])), source=source)
                for port, out, pitch in held
            ]
        if kind == CONTROL and (message[1] == ALL_SOUND_OFF_CC or message[1] >= ALL_NOTES_OFF_CC):
            # On the same channel outside others may play; so end what came from here, and that alone.
            return self._lift_all(k for k in self._struck if k[:2] == (source, channel))
        return self._control(source, kind, channel, message[1:])

    def release(self, source: str) -> list[Live]:
        """End all that this input holds: keys, pedals, bends."""
        for place in [place for place in self._selections if place[0] == source]:
            del self._selections[place]
            self._told.pop(place, None)
        found = self._lift_all(key for key in self._struck if key[0] == source)
        for slot, places in list(self._lasting.items()):
            if slot[0] == source:
                found += self._rest(slot, places)
        return found

    def release_all(self) -> list[Live]:
        """End all that any input holds."""
        sources = {key[0] for key in self._struck} | {slot[0] for slot in self._lasting}
        return [live for source in sorted(sources) for live in self.release(source)]

    def forget(self) -> None:
        """Everything has been silenced by other means."""
        self._struck.clear()
        self._holders.clear()
        self._lasting.clear()

    def _moves(self, source: str, kind: int, channel: int, message: bytes) -> bool:
        """Whether this comes from a control that is taught. A key that is let go is always passed on: it may
        have been struck before."""
        if kind == NOTE_OFF or (kind == NOTE_ON and not message[2]):
            return False
        number = message[1] if kind in (NOTE_ON, CONTROL, PROGRAM) else -1
        return _any_covers(self._taught.get((kind, number), ()), source, channel)

    def _parameter(self, source: str, channel: int, data: bytes) -> list[Live]:
        """Pass on a parameter number, or data for one. Where a number is taught, none is passed on before the
        data that shows whose it is."""
        place, controller = (source, channel), data[0]
        chosen = self._selections.setdefault(place, nrpn.Selection())
        taught = self._taught.get((CONTROL, controller), ())
        if chosen.hear(controller, data[1]):
            self._told.pop(place, None)
            moves = _any_covers(taught, source, channel)
            return [] if moves else self._control(source, CONTROL, channel, data)
        among = (t for controls in self._parameters.values() for t in controls)
        withheld = _any_covers(among, source, channel)
        number = chosen.number
        if controller in nrpn.HALVES:
            if _any_covers(taught, source, channel):
                return []
            if withheld and controller in nrpn.NRPN_HALVES:
                return self._tell(place, nrpn.NONE) if chosen.free else []
            self._told[place] = number
        elif withheld and not chosen.registered:
            if number is None or _any_covers(self._parameters.get(number, ()), source, channel):
                return []
            if self._told.get(place) != number:
                lives = self._tell(place, (number >> 7, number & 0x7F))
                self._told[place] = number
                return lives + self._control(source, CONTROL, channel, data)
        return self._control(source, CONTROL, channel, data)

    def _tell(self, place: tuple[str, int], halves: tuple[int, int]) -> list[Live]:
        """Pass on both halves of the number of a non-registered parameter."""
        source, channel = place
        self._told.pop(place, None)
        return [
            live
            for half, value in zip((nrpn.NRPN_MSB, nrpn.NRPN_LSB), halves, strict=True)
            for live in self._control(source, CONTROL, channel, bytes((half, value)))
        ]

    def _ways(self, source: str, channel: int) -> Iterable[tuple[str, int, Route]]:
        """The port and the channel of each route that is open to this input."""
        for route in self._routes:
            if route.source in ("", source):
                yield route.port, channel if route.channel is None else route.channel, route

    def _strike(self, source: str, channel: int, key: int, velocity: int) -> list[Live]:
        found: dict[Destination, None] = {}
        for port, out, route in self._ways(source, channel):
            pitch = key + route.transpose
            if route.low <= key <= route.high and 0 <= pitch <= 127:
                found[(port, out, pitch)] = None
        # A key that is struck again without having been let go goes where routes lead now.
        lives = self._lift((source, channel, key))
        if found:
            self._struck[(source, channel, key)] = tuple(found)
        for place in found:
            self._holders[(source, place)] = self._holders.get((source, place), 0) + 1
            port, out, pitch = place
            lives.append(Live(port, bytes((NOTE_ON | out, pitch, velocity)), source=source))
        return lives

    def _lift(self, key: tuple[str, int, int]) -> list[Live]:
        lives: list[Live] = []
        for place in self._struck.pop(key, ()):
            held = self._holders.pop((key[0], place)) - 1
            if held:
                self._holders[(key[0], place)] = held
            else:
                port, out, pitch = place
                message = bytes((NOTE_OFF | out, pitch, RELEASE_VELOCITY))
                lives.append(Live(port, message, source=key[0]))
        return lives

    def _lift_all(self, keys: Iterable[tuple[str, int, int]]) -> list[Live]:
        return [live for key in list(keys) for live in self._lift(key)]

    def _control(self, source: str, kind: int, channel: int, data: bytes) -> list[Live]:
        controller = data[0] if kind == CONTROL else -1
        places = dict.fromkeys((port, out) for port, out, _ in self._ways(source, channel))
        rest = REST.get((kind, controller))
        if rest is not None:
            slot = (source, channel, kind, controller)
            lasting = self._lasting.get(slot, frozenset())
            lasting = lasting - places.keys() if data == rest else lasting | places.keys()
            if lasting:
                self._lasting[slot] = lasting
            else:
                self._lasting.pop(slot, None)
        return [Live(port, bytes((kind | out,)) + data, source=source) for port, out in places]

    def _rest(
        self, slot: tuple[str, int, int, int], places: frozenset[tuple[str, int]]
    ) -> list[Live]:
        """Put one control back, but where another input has it in use."""
        source, _, kind, controller = slot
        left = self._lasting.pop(slot) - places
        if left:
            self._lasting[slot] = left
        in_use = {
            place
            for (_, _, k, c), others in self._lasting.items()
            if (k, c) == (kind, controller)
            for place in others
        }
        return [
            Live(port, bytes((kind | out,)) + REST[(kind, controller)], source=source)
            for port, out in sorted(places - in_use)
        ]


class Flood:
    """Sees when more than `limit` messages come within a second; says so once a flood."""

    WINDOW_NS = 1_000_000_000

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._begun, self._count, self._named = 0, 0, False

    def heard(self, now: int) -> bool:
        """One more message at the moment `now`: True when a flood is to be named."""
        if now - self._begun >= self.WINDOW_NS:
            # A whole window that was quiet, or in which nothing came, ends the flood.
            quiet = self._count <= self._limit or now - self._begun >= 2 * self.WINDOW_NS
            self._named = self._named and not quiet
            self._begun, self._count = now, 0
        self._count += 1
        if self._named or self._count <= self._limit:
            return False
        self._named = True
        return True

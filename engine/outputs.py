"""The open ports, what sounds on them and what they were last sent.

Whoever starts a note owns it until it ends: a track, the keyboard, one audition. A key several owners
hold sounds until the last lets go. That is why every note-on gets its note-off however tracks overlap,
change, jump or vanish.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from engine.playback import Port
from engine.schedule import BEND, CONTROL, NOTE_OFF, PRESSURE, PROGRAM, SUSTAIN_CC

SOSTENUTO_CC, SOFT_CC, ALL_SOUND_OFF_CC, ALL_NOTES_OFF_CC = 66, 67, 120, 123
SILENCING_CCS = (SUSTAIN_CC, SOSTENUTO_CC, SOFT_CC, ALL_SOUND_OFF_CC, ALL_NOTES_OFF_CC)

KEYBOARD = -1
"""The owner of what is played in the window. Tracks own by their ids, from 0; MIDI inputs and auditions by numbers
below."""

Key = tuple[str, int, int]
"""A key that can sound: port, channel, pitch."""
Slot = tuple[str, int, int]
"""A thing to control: port, status, controller (−1 where the status says it all)."""


class Outputs:
    """Sends messages, and remembers enough to end and restore what they did.

    A message for a port that is not open goes nowhere. `lost(name)` is called when sending fails.
    """

    def __init__(self, lost: Callable[[str], None]) -> None:
        self._lost = lost
        self._ports: dict[str, Port] = {}
        self._sounding: dict[Key, tuple[int, set[int]]] = {}  # when it was struck, its owners
        self._state: dict[Slot, bytes] = {}  # the last of each kind of control sent
        self._used: dict[
            str, set[int]
        ] = {}  # the channels that had notes since each port was opened

    @property
    def names(self) -> list[str]:
        """The ports that are open."""
        return list(self._ports)

    @property
    def sounding(self) -> list[Key]:
        """The keys that sound."""
        return list(self._sounding)

    def add(self, name: str, port: Port) -> None:
        """A port has been opened; one of that name is left first."""
        self.leave(name)
        self._ports[name] = port
        self._used[name] = set()

    def leave(self, name: str) -> None:
        """End what sounds on a port, and send nothing there any more."""
        for key in [k for k in self._sounding if k[0] == name]:
            self._release(key)
        slots = [slot for slot in self._state if slot[0] == name]
        self.raise_pedals(slots)
        for slot in slots:
            self._state.pop(slot, None)
        self._ports.pop(name, None)

    def lead_ns(self, name: str) -> int:
        """How much earlier than its moment this port wants a message; 0 for most, and for closed ones."""
        return int(getattr(self._ports.get(name), "lead_ns", 0))

    def send(self, name: str, message: bytes, moment: int | None = None) -> None:
        """Send something that need not be remembered, for that moment where a port can be told one."""
        port = self._ports.get(name)
        if port is None:
            return
        try:
            if moment is not None and hasattr(port, "send_at"):
                port.send_at(message, moment)
            else:
                port.send(message)
        except OSError:
            del self._ports[name]
            self._lost(name)

    # Notes

    def strike(self, owner: int, port: str, message: bytes, moment: int) -> None:
        """Let a key sound for `owner`; if it sounds already it is lifted first.

        A key struck twice at one `moment` is a unison of two tracks, and sounds once.
        """
        if port not in self._ports:
            return
        key = (port, message[0] & 0x0F, message[1])
        struck, owners = self._sounding.get(key, (moment, set()))
        if owners:
            if struck == moment:
                owners.add(owner)
                return
            self._end(key, moment)
        owners.add(owner)
        self._sounding[key] = (moment, owners)
        self._used[port].add(key[1])
        self.send(port, message, moment)

    def lift(self, owner: int, key: Key, moment: int | None = None) -> None:
        """`owner` lets go of a key; nothing happens if it did not hold it."""
        _, owners = self._sounding.get(key, (0, set()))
        if owner in owners:
            owners.discard(owner)
            if not owners:
                self._release(key, moment)

    def end_notes_of(
        self, track: int, keep: frozenset[Key] = frozenset(), moment: int | None = None
    ) -> None:
        """A track lets go of all its keys but those in `keep`."""
        for key in [k for k, (_, owners) in self._sounding.items() if track in owners]:
            if key not in keep:
                self.lift(track, key, moment)

    def end_all_notes(self) -> None:
        """Nothing sounds any more."""
        for key in list(self._sounding):
            self._release(key)
        self.raise_pedals(self._state)

    def panic(self) -> None:
        """Silence everything on every open port, whatever is known to sound.

        What a slow cable should carry first goes first: the notes that are known to sound, then orders to all
        channels, then, for gear that knows no such orders, a note-off (of release velocity 0, to tell it from
        others) for each key of the channels that had notes.
        """
        self.end_all_notes()
        self._state.clear()
        for name in self.names:
            self.silence(name)
        for name in self.names:
            for channel in sorted(self._used[name]):
                for pitch in range(128):
                    self.send(name, bytes((NOTE_OFF | channel, pitch, 0)))

    def silence(self, name: str) -> None:
        """Tell a port to end whatever sounds there, by controllers, and to bend no more."""
        for channel in range(16):
            for controller in SILENCING_CCS:
                self.send(name, bytes((CONTROL | channel, controller, 0)))
            self.send(name, bytes((BEND | channel, 0, 64)))

    def _release(self, key: Key, moment: int | None = None) -> None:
        del self._sounding[key]
        self._end(key, moment)

    def _end(self, key: Key, moment: int | None = None) -> None:
        self.send(key[0], bytes((NOTE_OFF | key[1], key[2], 64)), moment)

    # Controls

    def control(self, port: str, message: bytes, moment: int | None = None) -> None:
        """Send a control and remember it."""
        if port in self._ports:
            self._state[slot(port, message)] = message
            self.send(port, message, moment)

    def has(self, port: str, message: bytes) -> bool:
        """Whether this control is the last of its kind that was sent."""
        return self._state.get(slot(port, message)) == message

    def chase(
        self, port: str, controls: Iterable[bytes], *, pedals: bool, moment: int | None = None
    ) -> None:
        """Send those controls that differ from what the port has; sustain pedals only with `pedals`."""
        for message in controls:
            pedal = message[0] & 0xF0 == CONTROL and message[1] == SUSTAIN_CC
            if (pedals or not pedal) and not self.has(port, message):
                self.control(port, message, moment)

    def raise_pedals(self, slots: Iterable[Slot], moment: int | None = None) -> None:
        """Raise the sustain pedals among these that are down."""
        for port, status, controller in list(slots):
            if status & 0xF0 == CONTROL and controller == SUSTAIN_CC:
                last = self._state.get((port, status, controller))
                if last is not None and last[2]:
                    self.control(port, bytes((status, SUSTAIN_CC, 0)), moment)


def slot(port: str, message: bytes) -> Slot:
    """What a control message sets."""
    alone = message[0] & 0xF0 in (PROGRAM, PRESSURE, BEND)
    return (port, message[0], -1 if alone else message[1])

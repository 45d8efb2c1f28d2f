"""What is played live, from the window and from MIDI inputs: who holds which key and pedal.

Every source holds its own keys, an audition (a note that ends by itself) too, so nobody's note-off ends what
somebody else holds.
"""

from __future__ import annotations

from heapq import heappop, heappush

from engine.outputs import KEYBOARD, Key, Outputs, Slot, slot
from engine.playback import Live
from engine.schedule import CONTROL, NOTE_OFF, NOTE_ON, PRESSURE, PROGRAM, SUSTAIN_CC

CHANNEL_MODE = frozenset({120, 121, 123, 124, 125, 126, 127})
"""Controllers that end notes or reset the whole channel."""
NEVER = 1 << 62


def is_channel_message(message: bytes) -> bool:
    """Whether these bytes are one whole channel message."""
    if not message or not 0x80 <= message[0] < 0xF0:
        return False
    size = 2 if message[0] & 0xF0 in (PROGRAM, PRESSURE) else 3
    return len(message) == size and max(message[1:]) < 0x80


class Hands:
    """Plays live messages on the outputs. `due`: when an audition ends, NEVER if none sounds."""

    def __init__(self, out: Outputs) -> None:
        self._out = out
        self._owners: dict[str, int] = {"": KEYBOARD}
        self._last = KEYBOARD  # the last number given to an owner
        self._lifts: list[tuple[int, int, Key]] = []  # auditions: when to lift, owner, key
        self._pedals: dict[str, set[Slot]] = {}  # sustain pedals that are down, by source
        self.due = NEVER

    @property
    def pedals(self) -> set[Slot]:
        """The sustain pedals somebody holds."""
        return set().union(*self._pedals.values())

    def play(self, live: Live, now: int) -> None:
        """Send it; what is no channel message is ignored."""
        port, message = live.port, live.message
        if not is_channel_message(message):
            return
        status, kind = message[0], message[0] & 0xF0
        key = (port, status & 0x0F, message[1])
        owner = self._owner(live.source)
        if kind == NOTE_OFF or (kind == NOTE_ON and not message[2]):
            self._out.lift(owner, key)
        elif kind == NOTE_ON and live.seconds is None:
            self._out.strike(owner, port, message, now)
        elif kind == NOTE_ON:
            self._last -= 1
            heappush(self._lifts, (now + round((live.seconds or 0) * 1e9), self._last, key))
            self.due = self._lifts[0][0]
            self._out.strike(self._last, port, message, now)
        elif kind == CONTROL and message[1] == SUSTAIN_CC:
            self._pedal(live, slot(port, message))
        elif kind == CONTROL and message[1] in CHANNEL_MODE:
            # An order to the whole channel, on which others play too: it is obeyed for this source alone.
            self._out.end_notes_of(owner, self._elsewhere(port, status & 0x0F))
        else:
            self._out.control(port, message)

    def lift(self, deadline: int) -> None:
        """End the auditions that are due by then."""
        while self._lifts and self._lifts[0][0] <= deadline:
            _, owner, key = heappop(self._lifts)
            self._out.lift(owner, key)
        self.due = self._lifts[0][0] if self._lifts else NEVER

    def let_go(self, source: str) -> None:
        """End what a source holds."""
        if source in self._owners:
            self._out.end_notes_of(self._owners[source])
        mine = self._pedals.pop(source, set())
        self._out.raise_pedals(mine - self.pedals)

    def forget(self) -> None:
        """Everything has been silenced."""
        self._lifts.clear()
        self._pedals.clear()
        self.due = NEVER

    def _owner(self, source: str) -> int:
        if source not in self._owners:
            self._last -= 1
            self._owners[source] = self._last
        return self._owners[source]

    def _pedal(self, live: Live, pedal: Slot) -> None:
        mine = self._pedals.setdefault(live.source, set())
        if live.message[2]:
            mine.add(pedal)
            self._out.control(live.port, live.message)
        else:
            mine.discard(pedal)
            if pedal not in self.pedals:  # else somebody else still holds it
                self._out.control(live.port, live.message)

    def _elsewhere(self, port: str, channel: int) -> frozenset[Key]:
        """Every key but those of one channel."""
        return frozenset(k for k in self._out.sounding if k[:2] != (port, channel))

"""Following MIDI time code: quarter frames while the source plays, full frames while it winds.

Time code counts frames; a song begins at any full hour (01:00:00:00 by custom), so whole hours are left out. There
is no word for stop in it: a source that falls silent for SILENT_NS has stopped, a shorter gap is bridged.
"""

from __future__ import annotations

from engine.counting import SETTLED, Tracker
from engine.sync import NEVER, Begin, Halt, Locate, Order, Steer

SILENT_NS = 250_000_000
FRAMES_PER_SECOND = {0: 24.0, 1: 25.0, 2: 30_000 / 1001, 3: 30.0}
"""By the rate's code in time code; 2 is 29.97 with drop frames."""

FULL_FRAME = b"\xf0\x7f"
QUARTER_FRAME = 0xF1


def seconds(rate: int, hours: int, minutes: int, seconds: int, frames: int) -> float:
    """The time a code stands for, hours left out. With drop frames 0 and 1 are skipped in each minute that ten
    does not divide."""
    per_second = round(FRAMES_PER_SECOND[rate])
    count = (minutes * 60 + seconds) * per_second + frames
    if rate == 2:
        count -= 2 * (minutes - minutes // 10)
    return count / FRAMES_PER_SECOND[rate]


class TimeCodeFollower:
    """Follows MIDI time code; places are seconds of the score."""

    in_seconds = True
    anywhere = False
    quantum = 0

    def __init__(self) -> None:
        self._tracker = Tracker(1e9 / 120)  # of quarter frames
        self._nibbles: list[int | None] = [None] * 8
        self._piece = 0  # of the quarter frame heard last
        self._rate = 3
        self._arrived = 0
        self._playing = False
        self._begun = False
        self._origin: float | None = None  # seconds at index 0

    @property
    def state(self) -> str:
        return "locked" if self._begun else "waiting"

    @property
    def bpm(self) -> float:
        return 0.0

    @property
    def due(self) -> int:
        return self._arrived + SILENT_NS if self._playing else NEVER

    def hear(self, at: int, message: object) -> list[Order]:
        if not isinstance(message, bytes):
            return []
        if len(message) == 2 and message[0] == QUARTER_FRAME and message[1] < 0x80:
            return self._quarter(at, message[1] >> 4, message[1] & 0x0F)
        if len(message) == 10 and message[:2] == FULL_FRAME and message[3:5] == b"\x01\x01":
            hour, minute, second, frame = message[5:9]
            if max(minute, second) < 60 and frame < 30:
                stopped: list[Order] = self.poll(NEVER)
                return [*stopped, Locate(seconds(hour >> 5 & 3, hour & 31, minute, second, frame))]
        return []

    def poll(self, now: int) -> list[Order]:
        if now < self.due:
            return []
        halted = self._begun
        self._playing = self._begun = False
        self._nibbles, self._origin = [None] * 8, None
        return [Halt()] if halted else []

    def join(self, tick: float, now: int) -> Begin | None:
        if not self._begun or self._origin is None:
            return None
        return Begin(*self._place(), self._speed)

    @property
    def _quarter_seconds(self) -> float:
        return 0.25 / FRAMES_PER_SECOND[self._rate]

    @property
    def _speed(self) -> float:
        return self._quarter_seconds * 1e9 / self._tracker.period

    def _place(self) -> tuple[float, int]:
        tracker = self._tracker
        return (self._origin or 0.0) + tracker.index * self._quarter_seconds, round(tracker.at)

    def _quarter(self, at: int, piece: int, nibble: int) -> list[Order]:
        tracker = self._tracker
        if not self._playing:
            self._playing = True
            tracker.period = self._quarter_seconds * 1e9
            tracker.restart(0, at, confidence=2)
        else:
            steps = (piece - self._piece) % 8
            if not 0 < steps < 6:  # it winds backwards, or says one thing twice
                self._nibbles, self._origin = [None] * 8, None
                tracker.restart(tracker.index + 1, at, confidence=2)
            else:
                tracker.feed(tracker.index + steps, at)
                if steps > 1:
                    self._nibbles = [None] * 8
        self._piece, self._arrived = piece, at
        self._nibbles[piece] = nibble
        if piece == 7:
            self._decode()
            self._nibbles = [None] * 8
        if self._origin is None or tracker.count < SETTLED:
            return []
        place, moment = self._place()
        if not self._begun:
            self._begun = True
            return [Begin(place, moment, self._speed)]
        return [Steer(place, moment, self._speed)]

    def _decode(self) -> None:
        """All eight pieces are there: the code of the frame at whose start the first one was sent."""
        n = [nibble for nibble in self._nibbles if nibble is not None]
        if len(n) < 8:
            return
        rate = n[7] >> 1 & 3
        if rate != self._rate:
            self._rate = rate
            self._tracker.period = self._quarter_seconds * 1e9
        time = seconds(
            rate, n[6] | (n[7] & 1) << 4, n[4] | n[5] << 4, n[2] | n[3] << 4, n[0] | n[1] << 4
        )
        self._origin = time - (self._tracker.index - 7) * self._quarter_seconds

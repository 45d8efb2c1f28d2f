"""Parameter numbers: which parameter the data on a channel is for. Pure.

MIDI 1.0, "Registered and Non-Registered Parameter Numbers": a number is chosen by its two halves and stands until
another is; data and steps follow. The number 127 127 is none.
"""

from __future__ import annotations

DATA_MSB, DATA_LSB = 6, 38
STEPS = {96: 1, 97: -1}
DATA = frozenset({DATA_MSB, DATA_LSB, *STEPS})
NRPN_LSB, NRPN_MSB = 98, 99
RPN_LSB, RPN_MSB = 100, 101
NRPN_HALVES = frozenset({NRPN_LSB, NRPN_MSB})
HALVES = NRPN_HALVES | {RPN_LSB, RPN_MSB}
CONTROLLERS = DATA | HALVES

NONE = (127, 127)


class Selection:
    """What one channel of one device has chosen; feed it every one of CONTROLLERS that comes there.

    A new first half (99, 101) needs a new second one, from before it or after, so that a sequence that was cut
    off chooses nothing; a second half (98, 100) alone keeps the first.
    """

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._registered = False
        self._msb: int | None = None
        self._lsb: int | None = None
        self._last = -1  # the half that came last, since data did
        self._second_is_new = False

    @property
    def number(self) -> int | None:
        """The non-registered parameter that is chosen, 0–16382; None when there is no such."""
        if self._registered or self._msb is None or self._lsb is None or self.free:
            return None
        return self._msb << 7 | self._lsb

    @property
    def registered(self) -> bool:
        """Whether a registered parameter is chosen, or half of it."""
        return self._registered and not self.free

    @property
    def free(self) -> bool:
        """Whether nothing is chosen, nor half of it: data are controllers like any other then."""
        return (self._msb, self._lsb) in ((None, None), NONE)

    def hear(self, controller: int, value: int) -> bool:
        """One of CONTROLLERS came. True when it is a controller like any other: data for no number, or a half
        that comes again before anything else of this kind, as from a knob; what was chosen is forgotten then.
        """
        if controller in DATA:
            self._last, self._second_is_new = -1, False
            return self.free
        if controller == self._last:
            self._forget()
            self._last = controller
            return True
        if self._registered is (controller in NRPN_HALVES):
            self._forget()
            self._registered = controller not in NRPN_HALVES
        self._last = controller
        if controller in (NRPN_MSB, RPN_MSB):
            self._msb = value
            self._lsb = self._lsb if self._second_is_new else None
        else:
            self._lsb, self._second_is_new = value, True
        return False

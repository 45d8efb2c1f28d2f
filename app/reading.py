"""What messages from MIDI inputs mean where several make one gesture: pairs of controllers, and NRPN. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from app.controls import FULL, PAIRED, WIDE_FULL, Control, Gesture, Source, read
from engine import nrpn


@dataclass
class _Halves:
    """A value that comes in two halves of 7 bits; None: not heard yet."""

    coarse: int | None = None
    fine: int | None = None


class Reader:
    """Reads the messages of every input. It remembers what came before on each channel of each device.

    MIDI 1.0: the coarse half comes first, and until the fine one comes that counts as 0; while the coarse one
    stays, the fine one may come alone. So a coarse half moves nothing until its fine one is there (or `rest`
    says that it stays away), lest the value leap back at every 128th. Where none was ever heard, the coarse
    half is all there is: 0–127.
    """

    def __init__(self) -> None:
        self._selections: dict[tuple[str, int | None], nrpn.Selection] = {}
        self._halves: dict[Control, _Halves] = {}
        self._held: dict[Control, bool] = {}

    def read(self, message: bytes, device: str = "") -> tuple[Gesture, ...]:
        """What a message may mean, depending on what is taught; of 14 bits before of 7. Nothing for damaged
        messages, and for data where half a number, or a registered one, is chosen."""
        gesture = read(message, device)
        if gesture is None:
            return ()
        control, raw = gesture.control, gesture.raw
        if control.source is not Source.CC:
            return (gesture,)
        if control.number in nrpn.CONTROLLERS:
            place = control.device, control.channel
            chosen = self._selections.setdefault(place, nrpn.Selection())
            plain = chosen.hear(control.number, raw)
            if control.number in nrpn.HALVES:
                return (replace(gesture, whole=plain),)
            if not plain:
                number = chosen.number
                if number is None:
                    return ()
                parameter = replace(control, source=Source.NRPN, number=number)
                if control.number in nrpn.STEPS:
                    step = nrpn.STEPS[control.number]
                    return (Gesture(parameter, float(step > 0), step, step=step),)
                return (self._half(parameter, control.number == nrpn.DATA_LSB, raw),)
        if control.number < 2 * PAIRED:
            pair = replace(control, source=Source.CC14, number=control.number % PAIRED)
            return (self._half(pair, control.number >= PAIRED, raw), gesture)
        return (gesture,)

    def _half(self, control: Control, is_fine: bool, raw: int) -> Gesture:
        halves = self._halves.setdefault(control, _Halves())
        if is_fine:
            halves.fine = raw
            self._held.pop(control, None)
            return self._gesture(control, halves.coarse is not None)
        halves.coarse = raw
        if halves.fine is None:
            return self._gesture(control, control.source is Source.NRPN)
        halves.fine = 0
        return self._gesture(control, False)

    def _gesture(self, control: Control, whole: bool) -> Gesture:
        halves = self._halves[control]
        coarse = halves.coarse or 0
        if halves.fine is None:
            return Gesture(control, coarse / FULL, coarse, whole)
        value = coarse << 7 | halves.fine
        return Gesture(control, value / WIDE_FULL, value, whole)

    # --- halves that are waited for ------------------------------------------------------------------

    def hold(self, control: Control) -> None:
        """Wait for the fine half of what that control has begun."""
        if control in self._halves and self._halves[control].coarse is not None:
            self._held.setdefault(control, False)

    @property
    def holding(self) -> bool:
        """Whether a fine half is waited for."""
        return bool(self._held)

    def rest(self) -> tuple[Gesture, ...]:
        """Time has passed: the gestures whose fine half has not come since the call before this one."""
        late = [control for control, waited in self._held.items() if waited]
        self._held = {control: True for control, waited in self._held.items() if not waited}
        return tuple(self._gesture(control, True) for control in late)

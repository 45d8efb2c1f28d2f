"""Controls of MIDI devices, what they may do to what, and how one takes hold of a value. Pure.

A share is a place between the lowest (0) and the highest (1) value of something.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum

from app.pianoroll.scene import pitch_name
from engine import schedule

FULL = 127
WIDE_FULL = 0x3FFF
"""The highest value of 14 bits: of the pitch wheel, of a pair of controllers, of a parameter."""

PAIRED = 32
"""Controllers below this are the coarse halves of pairs; this much above each is its fine half."""

CHANNELS = 16
FIRST_MODE_MESSAGE = 120
"""Controllers from here on are orders to a channel (all notes off …), which no knob sends."""

MIDDLE = 0.5
"""A button is down from here on: a controller at 64 or more."""

DETENT = 1 / FULL
"""How far one click of an endless knob moves a value with more than 127 places."""

SAME = 1e-6
"""Shares closer than this are the same."""


class Source(StrEnum):
    """What kind of message a control sends. CC14: a pair of controllers, one value of 14 bits; NRPN: data for a
    non-registered parameter, of 7 or 14 bits."""

    CC = "cc"
    CC14 = "cc14"
    NRPN = "nrpn"
    NOTE = "note"
    PROGRAM = "program"
    BEND = "bend"
    PRESSURE = "pressure"


class Kind(StrEnum):
    """What kind of thing is moved: a number, one of a list, something on or off, something that is done."""

    NUMBER = "number"
    CHOICE = "choice"
    SWITCH = "switch"
    ACTION = "action"


class Mode(StrEnum):
    """How a control moves a target."""

    PICK_UP = "pick-up"
    JUMP = "jump"
    TWOS = "relative"
    OFFSET = "relative-64"
    SIGN = "relative-sign"
    STEPS = "relative-steps"
    PRESS = "press"
    HOLD = "hold"


MODE_TITLES: dict[Mode, tuple[str, str]] = {
    Mode.PICK_UP: ("Pick up", "Moves nothing before it has reached the present value"),
    Mode.JUMP: ("Jump", "The value goes at once where the control is"),
    Mode.TWOS: (
        "Relative (2's comp.)",
        "An endless knob, two's complement: it sends 1, 2 … upwards and 127, 126 … down",
    ),
    Mode.OFFSET: (
        "Relative (64 ±)",
        "An endless knob, binary offset: it sends 65, 66 … upwards and 63, 62 … down",
    ),
    Mode.SIGN: (
        "Relative (sign bit)",
        "An endless knob, sign and magnitude: it sends 1, 2 … upwards and 65, 66 … down",
    ),
    Mode.STEPS: ("Relative (+/−)", "An endless knob that sends data increments and decrements"),
    Mode.PRESS: ("Each press", "Every press does it, switches over or goes on to the next"),
    Mode.HOLD: ("While held", "On while the control is held or above its middle, else off"),
}
"""Mode → its name and what it does."""

_ABSOLUTE = (Mode.PICK_UP, Mode.JUMP)
_CODED = (Mode.TWOS, Mode.OFFSET, Mode.SIGN)
RELATIVE = (*_CODED, Mode.STEPS)

MODES: dict[tuple[Kind, Source], tuple[Mode, ...]] = {
    (Kind.NUMBER, Source.CC): (*_ABSOLUTE, *_CODED),
    (Kind.NUMBER, Source.CC14): _ABSOLUTE,
    (Kind.NUMBER, Source.NRPN): (*_ABSOLUTE, Mode.STEPS),
    (Kind.NUMBER, Source.BEND): _ABSOLUTE,
    (Kind.NUMBER, Source.PRESSURE): _ABSOLUTE,
    (Kind.CHOICE, Source.CC): (*_ABSOLUTE, *_CODED, Mode.PRESS),
    (Kind.CHOICE, Source.CC14): _ABSOLUTE,
    (Kind.CHOICE, Source.NRPN): (*_ABSOLUTE, Mode.STEPS, Mode.PRESS),
    (Kind.CHOICE, Source.BEND): _ABSOLUTE,
    (Kind.CHOICE, Source.NOTE): (Mode.PRESS,),
    (Kind.CHOICE, Source.PROGRAM): (Mode.PRESS,),
    (Kind.SWITCH, Source.CC): (Mode.HOLD, Mode.PRESS),
    (Kind.SWITCH, Source.NRPN): (Mode.HOLD, Mode.PRESS),
    (Kind.SWITCH, Source.NOTE): (Mode.PRESS, Mode.HOLD),
    (Kind.SWITCH, Source.PROGRAM): (Mode.PRESS,),
    (Kind.ACTION, Source.CC): (Mode.PRESS,),
    (Kind.ACTION, Source.NRPN): (Mode.PRESS,),
    (Kind.ACTION, Source.NOTE): (Mode.PRESS,),
    (Kind.ACTION, Source.PROGRAM): (Mode.PRESS,),
}
"""How a control may move a target, the usual way first. What is not here cannot be taught."""

NEEDS: dict[Kind, str] = {
    Kind.NUMBER: "a knob, a fader or a wheel",
    Kind.CHOICE: "a knob, a key, a pad or a program change",
    Kind.SWITCH: "a button, a key, a pad or a program change",
    Kind.ACTION: "a button, a key, a pad or a program change",
}
"""What kind of control moves such a thing."""


@dataclass(frozen=True)
class Control:
    """A knob, key, pad or wheel: of the input `device` ("" any) on `channel` (0–15, None any).

    number: of the controller, key or program, 0–127; of a pair its lower controller; of a parameter 0–16383;
    0 for bend and pressure.
    """

    source: Source
    number: int = 0
    channel: int | None = None
    device: str = ""

    def title(self) -> str:
        """What to call it, its device and channel left out."""
        match self.source:
            case Source.CC:
                return f"CC {self.number}"
            case Source.CC14:
                return f"CC {self.number} + {self.number + PAIRED}"
            case Source.NRPN:
                return f"NRPN {self.number}"
            case Source.NOTE:
                return f"Key {pitch_name(self.number)}"
            case Source.PROGRAM:
                return f"Program {self.number + 1}"
            case Source.BEND:
                return "Pitch wheel"
            case Source.PRESSURE:
                return "Pressure"

    def whole_title(self) -> str:
        """What to call it, with its device."""
        return f"{self.title()} of {self.device}" if self.device else self.title()

    def covers(self, other: Control) -> bool:
        """Whether what `other` sends is from this control; `other` knows its device and channel."""
        return (
            (self.source, self.number) == (other.source, other.number)
            and self.channel in (None, other.channel)
            and self.device in ("", other.device)
        )

    def controllers(self) -> frozenset[int]:
        """The numbers of the controllers it sends, unless they are only data for a parameter."""
        match self.source:
            case Source.CC:
                return frozenset({self.number})
            case Source.CC14:
                return frozenset({self.number, self.number + PAIRED})
            case _:
                return frozenset()

    def clashes(self, other: Control) -> bool:
        """Whether both mean the same messages of the same device and channel."""
        if (self.channel, self.device) != (other.channel, other.device):
            return False
        return self == other or bool(self.controllers() & other.controllers())


@dataclass(frozen=True)
class Gesture:
    """A control was moved to `share`, or pressed (1) or let go (0). raw: 0–127, of 14 bits 0–16383.

    whole: that is all of it; else the message is only a part, and the rest is to follow. step: 1 or −1 for a
    data increment or decrement, which says nothing of a share; else 0.
    """

    control: Control
    share: float
    raw: int
    whole: bool = True
    step: int = 0


def read(message: bytes, device: str = "") -> Gesture | None:
    """The gesture a MIDI message alone tells of; None for any other, and for damaged ones."""
    if not 2 <= len(message) <= 3 or any(byte > FULL for byte in message[1:]):
        return None
    status, channel = message[0] & 0xF0, message[0] & 0x0F
    first, second = message[1], message[-1]
    if status in (schedule.PROGRAM, schedule.PRESSURE):
        if len(message) != 2:
            return None
        if status == schedule.PROGRAM:
            return Gesture(Control(Source.PROGRAM, first, channel, device), 1.0, FULL)
        return Gesture(Control(Source.PRESSURE, 0, channel, device), first / FULL, first)
    if len(message) != 3:
        return None
    match status:
        case schedule.CONTROL if first < FIRST_MODE_MESSAGE:
            return Gesture(Control(Source.CC, first, channel, device), second / FULL, second)
        case schedule.NOTE_ON:
            return Gesture(Control(Source.NOTE, first, channel, device), float(second > 0), second)
        case schedule.NOTE_OFF:
            return Gesture(Control(Source.NOTE, first, channel, device), 0.0, 0)
        case schedule.BEND:
            raw = first | second << 7
            return Gesture(Control(Source.BEND, 0, channel, device), raw / WIDE_FULL, raw)
    return None


def detents(mode: Mode, raw: int) -> int:
    """How many clicks up (or down, below 0) an endless knob tells of by a controller's value, or by steps."""
    match mode:
        case Mode.STEPS:
            return raw
        case Mode.OFFSET:
            return raw - 64
        case Mode.SIGN:
            return raw if raw < 64 else 64 - raw
        case _:
            return raw if raw < 64 else raw - 128


# --- what is remembered ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mapping:
    """A control moves the target of that id."""

    target: str
    control: Control
    mode: Mode


def stored(mappings: Sequence[Mapping], foreign: Sequence[object] = ()) -> str:
    """Mappings as JSON, with what `restored` could not read but is to be kept."""
    return json.dumps([*(asdict(mapping) for mapping in mappings), *foreign])


def restored(text: str) -> tuple[list[Mapping], list[object]]:
    """The mappings in JSON, and the entries that are none. ValueError when it is not a list in JSON."""
    try:
        entries = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not isinstance(entries, list):
        raise ValueError("no list")
    mappings: dict[Control, Mapping] = {}
    foreign: list[object] = []
    for entry in entries:
        try:
            mapping = _mapping(entry)
        except (KeyError, TypeError, ValueError):
            foreign.append(entry)
            continue
        mappings[mapping.control] = mapping
    return list(mappings.values()), foreign


def _mapping(entry: dict[str, object]) -> Mapping:
    """One entry of JSON; KeyError, TypeError or ValueError when it is no mapping."""
    control = entry["control"]
    if not isinstance(control, dict) or set(control) != set(Control.__dataclass_fields__):
        raise TypeError
    number, channel = control["number"], control["channel"]
    source, mode = Source(control["source"]), Mode(str(entry["mode"]))
    highest = {Source.NRPN: WIDE_FULL, Source.CC14: PAIRED - 1}.get(source, FULL)
    if type(number) is not int or not 0 <= number <= highest:
        raise ValueError
    if channel is not None and (type(channel) is not int or not 0 <= channel < CHANNELS):
        raise ValueError
    if not isinstance(control["device"], str) or not isinstance(entry["target"], str):
        raise TypeError
    if not any(s is source and mode in modes for (_, s), modes in MODES.items()):
        raise ValueError
    return Mapping(entry["target"], Control(source, number, channel, control["device"]), mode)


# --- taking hold -------------------------------------------------------------------------------------


@dataclass
class Sweep:
    """The way a control has gone: the lowest and highest share on it, where it is now, and clicks summed."""

    low: float
    high: float
    share: float
    turns: int = 0

    def go(self, share: float, turns: int = 0) -> None:
        """Go on to `share`."""
        self.low, self.high = min(self.low, share), max(self.high, share)
        self.share, self.turns = share, self.turns + turns


Hand = tuple[str, int | None]
"""The device and channel a mapping was moved from; a mapping of any device may be moved from several."""


@dataclass
class Grip:
    """What a mapping knows of its target: where its controls stand, and which of them has hold of it.

    at: hand → share. holder: the hand that moved the target last. sent, held: the share that was set then,
    and what the target made of it; a target that stands elsewhere has been moved by something else.
    """

    at: dict[Hand, float] = field(default_factory=dict)
    holder: Hand | None = None
    sent: float = 0.0
    held: float | None = None

    def has(self, now: float) -> bool:
        """Whether the target still stands where it was left."""
        return self.held is not None and min(abs(now - self.held), abs(now - self.sent)) < SAME

    def catches(self, hand: Hand, sweep: Sweep, now: float | None) -> bool:
        """Whether a control that has gone this way has hold of a target that stands at `now`."""
        if now is None or (self.holder == hand and self.has(now)):
            return True
        before = self.at.get(hand, sweep.low)
        low, high = min(before, sweep.low), max(before, sweep.high)
        return low - DETENT <= now <= high + DETENT

    def turned(self, sweep: Sweep, now: float, places: int) -> float:
        """Where an endless knob moves a target with that many places (0: any) that stands at `now`.

        Clicks add up even where one alone does not reach the next place.
        """
        start = self.sent if self.has(now) else now
        step = 1 / (places - 1) if 1 < places <= FULL else DETENT
        return min(max(start + sweep.turns * step, 0.0), 1.0)

    def keep(self, hand: Hand, share: float, held: float | None) -> None:
        """`hand` has set the target to `share`, which made `held` of it."""
        self.holder, self.sent, self.held = hand, share, held

"""What the tests of MIDI controls share: controllers that move things, with what was done to these written down."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pytestqt.qtbot import QtBot
from stage import settings_in

from app.controllers import Controllers
from app.controls import Kind, Mapping
from app.targets import Target

KNOBS, PADS = "Knobs MIDI 1", "Pads MIDI 1"


def cc(number: int, value: int, channel: int = 0) -> bytes:
    return bytes((0xB0 | channel, number, value))


def key(pitch: int, velocity: int = 100) -> bytes:
    return bytes((0x90, pitch, velocity))


def program(number: int) -> bytes:
    return bytes((0xC0, number))


@dataclass
class Desk:
    """Controllers with a number, a list, a switch and two actions; what is done to them is written down."""

    controllers: Controllers
    qtbot: QtBot
    values: dict[str, float] = field(default_factory=dict)
    set: list[tuple[str, float]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    waits: list[tuple[str, int]] = field(default_factory=list)
    settled: list[str] = field(default_factory=list)

    def put(self, name: str, value: float) -> None:
        self.values[name] = value
        self.set.append((name, value))

    def target(self, name: str, kind: Kind, value: float = 0.0, places: int = 0) -> Target:
        self.values[name] = value
        return Target(
            name,
            name.capitalize(),
            kind,
            lambda share: self.put(name, share),
            lambda: self.values[name],
            places=places,
            settle=(lambda: self.settled.append(name)) if kind is Kind.NUMBER else None,
        )

    def teach(self, target: str, message: bytes, device: str = KNOBS) -> Mapping:
        self.controllers.learn(target)
        assert self.controllers.receive(message, device) is False, "it is heard, too"
        self.wait()
        assert self.controllers.learning is None
        return self.controllers.mappings[-1]

    def turn(self, *values: int, number: int = 20, device: str = KNOBS) -> None:
        """Turn a knob slowly, so that each value is one window's."""
        for value in values:
            self.controllers.receive(cc(number, value), device)
            self.wait()

    def wait(self) -> None:
        """Until nothing that came in is still to be done."""
        self.qtbot.waitUntil(lambda: not self.controllers._window.isActive(), timeout=5000)

    def taken(self) -> list[tuple[str, float]]:
        """What has been set since it was last asked."""
        taken, self.set[:] = list(self.set), []
        return taken


def desk_in(folder: Path, qtbot: QtBot) -> Desk:
    desk = Desk(Controllers(settings_in(folder)), qtbot)
    desk.controllers.add(
        desk.target("tempo", Kind.NUMBER, 0.5),
        desk.target("depth", Kind.NUMBER, 0.0),
        desk.target("system", Kind.CHOICE, 0.0, places=3),
        desk.target("loop", Kind.SWITCH, 0.0, places=2),
        desk.target("panic", Kind.ACTION),
        desk.target("answer", Kind.ACTION),
    )
    desk.controllers.said.connect(desk.said.append)
    desk.controllers.waiting.connect(lambda target, way: desk.waits.append((target, way)))
    return desk

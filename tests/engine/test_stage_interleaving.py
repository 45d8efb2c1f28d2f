"""Whatever happens in whatever order, a performance never ends by itself and leaves no key down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from stagehand import Counting, World, setting

from engine import schedule, stage
from engine.playback import Load, Panic, Play, Played, Seek, Stop
from engine.staging import LIVE, Mode, Quantum, Scene, Setting
from models.score import Notes, Region, Score, Track
from models.timebase import PPQ, MeterMap, TempoMap

BEATS, EVENTS = 30, 24


def anything(rng: np.random.Generator) -> Setting:
    """Any setting, with knobs beyond their ends, on up to three parts with offsets."""
    parts = tuple(
        Track(LIVE + i, "Part", port="ab"[i % 2], channel=i, offset=int(rng.integers(-200, 201)))
        for i in range(int(rng.integers(0, 4)))
    )
    return setting(
        list(Mode)[int(rng.integers(4))],
        quantum=list(Quantum)[int(rng.integers(2))],
        parts=parts,
        bars=int(rng.integers(0, 5)),
        passes=int(rng.integers(0, 3)),
        share=float(rng.uniform(-0.5, 1.5)),
        density=float(rng.uniform(-4, 4)),
        register=int(rng.integers(-3, 4)),
        rest=float(rng.uniform(-0.5, 2)),
        repeat=bool(rng.integers(2)),
    )


def anywhere(world: World, rng: np.random.Generator) -> None:
    """Another document: its tempo, its metre, its loop, which may lie across bar lines."""
    start = int(rng.integers(0, 8)) * PPQ // 2
    loop = Region(start, start + int(rng.integers(1, 12)) * PPQ // 2)
    meter = MeterMap(
        np.zeros(1, np.int64),
        np.array([int(rng.integers(2, 8))]),
        np.array([int(rng.choice([4, 8]))]),
    )
    notes = Notes.of(np.arange(8) * PPQ, PPQ // 2, rng.integers(40, 80, 8))
    track = Track(0, "Melody", notes)
    tempo = TempoMap.constant(float(rng.integers(40, 240)))
    world.scene(Scene(Score((track,), tempo, meter), loop if rng.random() < 0.7 else None))
    world.transport(Load(0, "", schedule.compile(track)))


def happenings(world: World, rng: np.random.Generator) -> list[Callable[[], None]]:
    """Everything that can happen."""
    message = (0x90, int(rng.integers(30, 90)), int(rng.integers(0, 127)))
    settings = (anything(rng), anything(rng))
    tick = int(rng.integers(0, 80)) * PPQ // 4
    return [
        lambda: world.stage(stage.Go()),
        lambda: world.stage(stage.Pad()),
        lambda: world.stage(settings[0]),
        lambda: world.stage(settings[1]),
        lambda: world.transport(Stop()),
        lambda: world.transport(Play(tick)),
        lambda: world.transport(Seek(tick)),
        lambda: anywhere(world, rng),
        lambda: world.transport(Panic()),
        lambda: world.stage(stage.Restarted()),
        lambda: world.stage(Played(world.time, bytes(message), "keys")),
        lambda: world.stage(stage.Halt()),
    ]


@pytest.mark.parametrize("seed", range(8))
def test_any_interleaving_leaves_no_key_down(seed: int) -> None:
    rng = np.random.default_rng(seed)
    slowness = (0.02, 0.3, 1.0, 4.0)[seed % 4]
    world = World({"counting": Counting()}, lambda ask: slowness * float(rng.uniform(0.2, 2)), seed)
    world.at(0, lambda: world.stage(setting(Mode.STREAM)))
    world.at(0.5, lambda: world.stage(stage.Go()))
    for _ in range(EVENTS):
        kinds = happenings(world, rng)
        # Halting is the rarest, or there would be no performance to disturb.
        kind = int(rng.integers(len(kinds) - int(rng.random() < 0.7)))
        world.at(float(rng.uniform(1, BEATS)), kinds[kind])
        world.play(
            float(rng.uniform(0, BEATS)), int(rng.integers(40, 80)), float(rng.uniform(0.1, 2))
        )
    world.run(BEATS + 4)
    world.stage(stage.Halt())
    world.transport(Stop())
    world.run(BEATS + 6)
    assert not any("has ended" in view.sentence for view in world.views)
    assert world.asked
    world.close()
    sent = [(name, m) for name, port in world.ports.ports.items() for _, m in port.sent]
    assert sent
    down: set[tuple[str, int, int]] = set()
    for name, message in sent:
        key = (name, message[0] & 0x0F, message[1] if len(message) > 1 else 0)
        if message[0] & 0xF0 == 0x90 and message[2]:
            down.add(key)
        elif message[0] & 0xF0 in (0x80, 0x90):
            down.discard(key)
    assert not down


def test_knobs_beyond_their_ends_are_brought_back() -> None:
    world = World({"counting": Counting()})
    world.stage(replace(setting(Mode.ANSWER), bars=0, rest=-1.0))
    world.stage(stage.Go())
    world.play(1, 60, 0.5)
    world.run(12)
    assert world.view.running
    assert len(world.notes()) == 4  # a bar is the least
    world.close()

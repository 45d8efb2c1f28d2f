"""Four players of one MIDI file, each in a process of its own: ours, mido's, isobar's and FluidSynth's.

Each peer plays as its own documentation shows, at the priority it gives itself, unless it is started with the
one our process asks for. All send through python-rtmidi to JACK, the way mido and isobar know; FluidSynth's
player, which knows only its own synth, hands each event to such a port from its playback callback, driven
by its JACK audio driver (its default timing, counted in samples).
"""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import importlib
import importlib.util
import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
import rtmidi

from engine import jackserver, schedule
from engine.clock import REAL_TIME_PRIORITY
from engine.midi import MidiLink
from engine.playback import Anchor, Event, Play, PortBack, Show
from engine.schedule import NOTE_OFF, NOTE_ON
from models.score import Notes, Score, Track, UserError
from models.timebase import PPQ, TempoMap

VOICES = 4
BEATS_PER_MINUTE = 120
LOWEST, KEYS = 36, 15
"""Of the first voice, and how many each voice has to itself."""
VELOCITIES, LOUDEST = 120, 127
FILE_PPQ = 480
"""What isobar's timeline resolves by default; every onset and every end lies on it."""
PATIENCE_SECONDS = 60.0
SETTLE_SECONDS = 0.3
"""For ports to be connected before the first note, and for the last to have left."""
BACKEND = "mido.backends.rtmidi/UNIX_JACK"


def piece(notes: int, seconds: float, port: str = "") -> Score:
    """Notes in four voices at irregular moments, no two at once, each with a channel, pitch and velocity of its
    own, no pitch in two voices: isobar matches note-offs by pitch alone, and plays the first track of a file."""
    rng = np.random.default_rng(2)
    unit = PPQ // FILE_PPQ
    span = round(seconds * BEATS_PER_MINUTE / 60 * FILE_PPQ)
    slot = span // notes
    onset = np.arange(notes) * slot + rng.integers(0, slot, notes)
    # Each ends before the next of its voice begins.
    duration = rng.integers(slot, (VOICES - 1) * slot, notes)
    tracks = []
    for voice in range(VOICES):
        mine = slice(voice, None, VOICES)
        count = len(onset[mine])
        label = rng.permutation(KEYS * VELOCITIES)[:count]
        columns = Notes.of(
            onset[mine] * unit,
            duration[mine] * unit,
            LOWEST + KEYS * voice + label % KEYS,
            LOUDEST - label // KEYS,
        )
        tracks.append(Track(voice, f"Voice {voice + 1}", columns, channel=voice, port=port))
    return Score(tuple(tracks), tempo=TempoMap.constant(BEATS_PER_MINUTE))


def messages(score: Score) -> list[tuple[int, bytes]]:
    """The note messages of a piece, as (nanoseconds from its beginning, message)."""
    table = schedule.flatten(score)
    rows = [i for i in range(len(table)) if table.message[i, 0] & 0xE0 == 0x80]
    seconds = score.tempo.seconds(table.tick[rows])
    return [
        (round(float(second) * 1e9), table.bytes_at(row))
        for second, row in zip(seconds, rows, strict=True)
    ]


def write_file(score: Score, path: Path) -> None:
    """The piece as a MIDI file of one track, for those that read only one."""
    mido = needed("mido")
    track = mido.MidiTrack()
    track.append(mido.MetaMessage("set_tempo", tempo=60_000_000 // BEATS_PER_MINUTE))
    table = schedule.flatten(score)
    before = 0
    for row in range(len(table)):
        message = table.bytes_at(row)
        if message[0] & 0xE0 == 0x80:
            tick = int(table.tick[row]) * FILE_PPQ // PPQ
            track.append(mido.Message.from_bytes(message, time=tick - before))
            before = tick
    mido.MidiFile(type=0, ticks_per_beat=FILE_PPQ, tracks=[track]).save(path)


def needed(package: str) -> Any:
    """A package only benchmarks need; UserError when it is not there."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise UserError(
            f"{package} is not there to be compared with; install it (pip install {package})."
        ) from error


def check() -> None:
    """UserError when one of the peers is not installed."""
    for package in ("mido", "isobar"):
        if importlib.util.find_spec(package) is None:
            raise UserError(
                f"{package} is not there to be compared with; install it (pip install {package})."
            )
    if ctypes.util.find_library("fluidsynth") is None:
        raise UserError(
            "FluidSynth is not there to be compared with; install it (Debian, Ubuntu: apt install libfluidsynth3)."
        )


# --- in processes of their own ---------------------------------------------------------------------


def play_mido(path: str, gear: str) -> None:
    """mido's way: `for message in MidiFile.play(): port.send(message)`."""
    mido = importlib.import_module("mido")
    with mido.open_output(_full_name(gear)) as port:
        time.sleep(SETTLE_SECONDS)
        for message in mido.MidiFile(path).play():
            port.send(message)
        time.sleep(SETTLE_SECONDS)


def play_isobar(path: str, gear: str) -> None:
    """isobar's way: a timeline with its own clock, the file's notes scheduled on it."""
    isobar = importlib.import_module("isobar")
    device = isobar.MidiOutputDevice(_full_name(gear))
    timeline = isobar.Timeline(BEATS_PER_MINUTE, output_device=device)
    timeline.stop_when_done = True
    notes = isobar.MidiFileInputDevice(path).read()
    time.sleep(SETTLE_SECONDS)
    timeline.schedule(notes)
    with contextlib.suppress(StopIteration):
        timeline.run()
    time.sleep(SETTLE_SECONDS)
    device.midi.close()


def play_fluidsynth(path: str, gear: str) -> None:
    """FluidSynth's player, whose playback callback sends each event to a port."""
    port = rtmidi.MidiOut(rtmidi.API_UNIX_JACK)
    port.open_port(next(i for i, name in enumerate(port.get_ports()) if gear in name))
    fluid = ctypes.CDLL(ctypes.util.find_library("fluidsynth"))
    pointer = ctypes.c_void_p
    handler = ctypes.CFUNCTYPE(ctypes.c_int, pointer, pointer)
    for make in ("settings", "synth", "player", "audio_driver"):
        getattr(fluid, f"new_fluid_{make}").restype = pointer
    of_event = {}
    for part in ("type", "channel", "key", "velocity"):
        of_event[part] = getattr(fluid, f"fluid_midi_event_get_{part}")
        of_event[part].argtypes = [pointer]

    def heard(_data: object, event: int) -> int:
        kind = of_event["type"](event)
        if kind in (NOTE_ON, NOTE_OFF):
            rest = (of_event["key"](event), of_event["velocity"](event))
            port.send_message((kind | of_event["channel"](event), *rest))
        return 0

    callback = handler(heard)
    fluid.fluid_set_log_function.argtypes = [ctypes.c_int, pointer, pointer]
    for level in range(5):
        fluid.fluid_set_log_function(level, None, None)
    settings = pointer(fluid.new_fluid_settings())
    for name, word in (("audio.driver", "jack"), ("audio.jack.id", "Ricercar bench fluid")):
        fluid.fluid_settings_setstr(settings, name.encode(), word.encode())
    fluid.fluid_settings_setnum(settings, b"synth.sample-rate", ctypes.c_double(48_000))
    synth = pointer(fluid.new_fluid_synth(settings))
    player = pointer(fluid.new_fluid_player(synth))
    fluid.fluid_player_set_playback_callback(player, callback, None)
    fluid.fluid_player_add(player, path.encode())
    driver = pointer(fluid.new_fluid_audio_driver(settings, synth))
    if not driver:
        raise UserError("FluidSynth could not reach JACK.")
    time.sleep(SETTLE_SECONDS)
    fluid.fluid_player_play(player)
    fluid.fluid_player_join(player)
    time.sleep(SETTLE_SECONDS)
    # A client that only vanishes would hold up JACK.
    fluid.delete_fluid_audio_driver(driver)
    port.close_port()
    port.delete()


PEERS: dict[str, Callable[[str, str], None]] = {
    "mido": play_mido,
    "isobar": play_isobar,
    "fluidsynth": play_fluidsynth,
}


def _peer(name: str, path: str, gear: str, ahead: bool) -> None:
    """The process of a peer; `ahead` of others, as ours, if asked."""
    jackserver.quieten()
    os.environ["MIDO_BACKEND"] = BACKEND
    importlib.import_module("mido").set_backend(BACKEND)
    if ahead:
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(REAL_TIME_PRIORITY))
    PEERS[name](path, gear)


def _full_name(gear: str) -> str:
    names: list[str] = importlib.import_module("mido").get_output_names()
    return next(name for name in names if gear in name)


# --- in the bench ----------------------------------------------------------------------------------


def play_peer(name: str, path: Path, gear: str, *, ahead: bool = False) -> None:
    """Have one of PEERS play the file to the gear; returns when it has. UserError when it fails."""
    process = multiprocessing.get_context("spawn").Process(
        target=_peer, args=(name, str(path), gear, ahead), name=f"bench {name}", daemon=True
    )
    process.start()
    process.join(PATIENCE_SECONDS)
    if process.is_alive():
        process.kill()
        process.join()
        raise UserError(f"{name} did not come to its end in {PATIENCE_SECONDS:.0f} s.")
    if process.exitcode:
        raise UserError(f"{name} could not play; it ended with status {process.exitcode}.")


def play_ours(score: Score) -> None:
    """Have the program's own MIDI process play the score, to the ports its tracks name."""
    events: SimpleQueue[Event] = SimpleQueue()
    link = MidiLink(events.put)
    try:
        link.send(Show(score))
        until(events, lambda e: isinstance(e, PortBack))
        time.sleep(SETTLE_SECONDS)
        link.send(Play(0, score.length + PPQ // 4))
        until(events, lambda e: isinstance(e, Anchor) and e.playing)
        until(events, lambda e: isinstance(e, Anchor) and not e.playing)
        time.sleep(SETTLE_SECONDS)
    finally:
        link.close()


def until(events: SimpleQueue[Event], wanted: Callable[[Event], bool]) -> Event:
    """The next event that is wanted; UserError when it does not come."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(Empty):
            if wanted(event := events.get(timeout=1.0)):
                return event
    raise UserError("The MIDI process does not answer; try again when the machine is less busy.")

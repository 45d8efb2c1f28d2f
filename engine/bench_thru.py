"""What going through our MIDI process costs a note that is played in: the same message straight and roundabout.

A keyboard (a JACK client of its own process) writes each message to a frame of its choice; JACK carries it to
the receiver both directly and by way of the MIDI process. The difference of the two frames is what is added.
"""

from __future__ import annotations

import multiprocessing
import queue
import time
from multiprocessing.connection import Connection

import numpy as np

from engine.bench_onsets import Receiver, added, jack_client, percentiles
from engine.bench_peers import until
from engine.midi import MidiLink
from engine.playback import Event, InputBack, Listen, PortBack, Route, Thru
from engine.schedule import NOTE_OFF, NOTE_ON
from models.score import UserError

KEYBOARD = "Ricercar bench keyboard"
GEAR = "Ricercar bench rig"
NOTES = 500
SPACING_SECONDS = 0.005
"""Between one message and the next, on average."""
SETTLE_SECONDS = 0.3
PATIENCE_SECONDS = 30.0


def measure(name: str, notes: int = NOTES) -> dict[str, float]:
    """NAME_added_p50_ms, p99 and max, and NAME_lost, on the JACK server that runs."""
    context = multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe()
    keyboard = context.Process(target=_keyboard, args=(theirs, notes), daemon=True)
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    link = MidiLink(events.put)
    try:
        with Receiver(GEAR, ("direct", "through")) as receiver:
            keyboard.start()
            theirs.close()
            _hear(pipe)
            link.send(Listen((f"{KEYBOARD}:out",)))
            link.send(Thru((Route("", f"{GEAR}:through"),)))
            waiting = {PortBack(f"{GEAR}:through"), InputBack(f"{KEYBOARD}:out")}
            while waiting:
                waiting.discard(until(events, lambda e: e in waiting))
            time.sleep(SETTLE_SECONDS)
            receiver.collect()
            pipe.send("play")
            _hear(pipe)
            time.sleep(SETTLE_SECONDS)
            came = receiver.collect()
    finally:
        link.close()
        pipe.close()
        if keyboard.pid is not None:
            keyboard.join(5)
    later, lost = added(came["direct"], came["through"])
    return {**percentiles(f"{name}_added", later), f"{name}_lost": float(lost)}


def _hear(pipe: Connection) -> None:
    if not pipe.poll(PATIENCE_SECONDS):
        raise UserError("The measuring keyboard does not answer; is the machine very busy?")
    try:
        answer = pipe.recv()
    except EOFError:
        raise UserError("The measuring keyboard ended unexpectedly; try again.") from None
    if answer:
        raise UserError(answer)


def _keyboard(pipe: Connection, notes: int) -> None:
    """The process of the keyboard: tells when it is there, plays when told to, and tells when it has."""
    try:
        client = jack_client(KEYBOARD)
    except UserError as error:
        pipe.send(str(error))
        return
    port = client.midi_outports.register("out")
    rng = np.random.default_rng(3)
    gaps = rng.exponential(SPACING_SECONDS, 2 * notes) * client.samplerate
    frames = np.cumsum(np.maximum(gaps, 2)).astype(int).tolist()
    score = _messages(notes)
    played = 0
    elapsed = -1  # frames since it was told to play; -1 before

    def process(size: int) -> None:
        nonlocal played, elapsed
        port.clear_buffer()
        if elapsed < 0:
            return
        while played < len(score) and frames[played] < elapsed + size:
            port.write_midi_event(max(frames[played] - elapsed, 0), score[played])
            played += 1
        elapsed += size

    client.set_process_callback(process)
    client.activate()
    client.connect(port, f"{GEAR}:direct")
    try:
        pipe.send("")
        pipe.recv()
        elapsed = 0
        while played < len(score):
            time.sleep(0.05)
        pipe.send("")
        pipe.recv()  # until the other end has closed
    except (EOFError, OSError):
        pass
    finally:
        client.deactivate()
        client.close()


def _messages(notes: int) -> list[bytes]:
    """Notes one after the other, each with a channel and pitch of its own as far as there are so many."""
    found = []
    for i in range(notes):
        channel, pitch = i % 16, i // 16 % 128
        found.append(bytes((NOTE_ON | channel, pitch, 1 + i % 127)))
        found.append(bytes((NOTE_OFF | channel, pitch, 64)))
    return found

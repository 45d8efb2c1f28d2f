"""The built-in synth: MIDI bytes in, sound out, live through the sound device or offline into a WAV file.

`Synth` renders (TinySoundFont, with the SoundFont in assets); `BuiltInPort` plays it on the sound
device (miniaudio) and has a MIDI port's face, so that the transport cannot tell it from one;
`render_wav` writes a score. TinySoundFont lets go of the interpreter lock while it renders and is not
made for two threads, so a port's messages go through a queue to the device's thread.
"""

from __future__ import annotations

import ctypes
import sys
import tempfile
import wave
import weakref
from bisect import bisect_right
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import IO, Final

import miniaudio
import numpy as np
import numpy.typing as npt
import tinysoundfont

from engine import schedule
from models.score import Score, UserError

Audio = npt.NDArray[np.float32]
"""Frames × 2 (left, right), full scale −1…1."""

SAMPLE_RATE: Final = 44_100
CHANNELS: Final = 2
GAIN_DB: Final = -2.0
"""Headroom: four voices at velocity 80 then peak at 0.4 of full scale."""
PERIOD_MS: Final = 10
"""The sound device asks for this much at a time: the synth's timing grain."""
DRUM_CHANNEL: Final = 9

PROGRAMS: Final = (
    # First General MIDI program (from 0) of a range, and the SoundFont's preset that stands for it.
    (0, 0),  # pianos
    (6, 6),  # harpsichord, clavinet
    (8, 0),  # celesta to dulcimer
    (16, 19),  # organs, accordion
    (24, 6),  # guitars
    (32, 32),  # basses
    (40, 48),  # bowed strings
    (45, 6),  # pizzicato, harp
    (47, 32),  # timpani
    (48, 48),  # string ensembles
    (52, 52),  # voices
    (55, 56),  # orchestra hit, trumpet
    (57, 57),  # trombone, tuba
    (59, 56),  # muted trumpet
    (60, 57),  # horn
    (61, 56),  # brass sections
    (64, 71),  # saxophones
    (68, 68),  # oboe, cor anglais
    (70, 70),  # bassoon
    (71, 71),  # clarinet
    (72, 73),  # flutes
    (80, 71),  # synth leads
    (88, 48),  # synth pads
    (96, 0),  # effects, plucked strings of the world
    (109, 68),  # bagpipe, fiddle, shanai
    (112, 0),  # percussion
)
DATA_BYTES: Final = {0x80: 2, 0x90: 2, 0xA0: 2, 0xB0: 2, 0xC0: 1, 0xD0: 1, 0xE0: 2}
BANK_CC, BANK_FINE_CC, VOLUME_CC, SUSTAIN_CC = 0, 32, 7, 64
SOUNDS_OFF_CC, RESET_CC, NOTES_OFF_CC = 120, 121, 123
PANIC: Final = b"".join(
    bytes((0xB0 | channel, controller, 0))
    for channel in range(16)
    for controller in (SUSTAIN_CC, NOTES_OFF_CC, SOUNDS_OFF_CC)
)


def messages(data: bytes) -> Iterator[tuple[int, int, int]]:
    """The channel messages in raw MIDI `data` as (status, data 1, data 2 or 0).

    Understands running status; skips system messages and whatever is incomplete.
    """
    status, need, got = 0, 0, [0, 0]
    count = 0
    for byte in data:
        if byte >= 0xF8:  # real-time messages may stand anywhere
            continue
        if byte >= 0x80:
            status, count = byte, 0
            need = DATA_BYTES.get(byte & 0xF0, 0)
        elif need:
            got[count] = byte
            count += 1
            if count == need:
                yield status, got[0], got[1] if need == 2 else 0
                count = 0


class Synth:
    """A General MIDI synth of sixteen channels, for one thread at a time.

    Programs that the SoundFont lacks play the nearest one it has (`PROGRAMS`); channel 9 is the drum
    kit; bank changes are ignored. Raises UserError when the SoundFont cannot be read.
    """

    def __init__(self, soundfont: Path | None = None, gain_db: float = GAIN_DB) -> None:
        path = soundfont or Path(str(resources.files("assets"))) / "soundfont" / "ricercar.sf3"
        self._synth = tinysoundfont.Synth(gain=gain_db, samplerate=SAMPLE_RATE)
        try:
            self._font = self._synth.sfload(path.read_bytes())
        except (OSError, RuntimeError) as error:
            raise UserError(
                f"{path}: the SoundFont cannot be read ({error}); restore it from Ricercar's sources."
            ) from error
        self._pedal: set[int] = set()
        self._held: set[tuple[int, int]] = set()
        for channel in range(16):
            self.program(channel, 0)
            self.control(channel, VOLUME_CC, 100)

    def send(self, data: bytes) -> None:
        """Take raw MIDI: any number of messages, running status allowed; unknown ones do nothing."""
        for status, data1, data2 in messages(data):
            channel = status & 0x0F
            match status & 0xF0:
                case 0x90 if data2:
                    self.note_on(channel, data1, data2)
                case 0x80 | 0x90:
                    self.note_off(channel, data1)
                case 0xB0:
                    self.control(channel, data1, data2)
                case 0xC0:
                    self.program(channel, data1)
                case 0xE0:
                    self._synth.pitchbend(channel, data1 | data2 << 7)

    def note_on(self, channel: int, pitch: int, velocity: int) -> None:
        """Strike a key; one that the pedal still holds is released first."""
        if (channel, pitch) in self._held:
            self._held.discard((channel, pitch))
            self._synth.noteoff(channel, pitch)
        self._synth.noteon(channel, pitch, velocity)

    def note_off(self, channel: int, pitch: int) -> None:
        """Let a key go; with the pedal down it sounds on."""
        if channel in self._pedal:
            self._held.add((channel, pitch))
        else:
            self._synth.noteoff(channel, pitch)

    def program(self, channel: int, program: int) -> None:
        """Choose the sound of a channel by its General MIDI program, 0–127."""
        if channel == DRUM_CHANNEL:
            self._synth.program_select(channel, self._font, 0, 0, True)
            return
        row = bisect_right(PROGRAMS, program, key=lambda pair: pair[0]) - 1
        self._synth.program_select(channel, self._font, 0, PROGRAMS[row][1])

    def control(self, channel: int, controller: int, value: int) -> None:
        """Change a controller. TinySoundFont knows no sustain pedal, so that is done here."""
        if controller in (BANK_CC, BANK_FINE_CC):
            return
        if controller == SUSTAIN_CC:
            if value >= 64:
                self._pedal.add(channel)
            else:
                self._release(channel)
            return
        if controller in (SOUNDS_OFF_CC, RESET_CC, NOTES_OFF_CC):
            self._release(channel)
        self._synth.control_change(channel, controller, value)

    def _release(self, channel: int) -> None:
        """Raise a channel's pedal: the keys that only it held end."""
        self._pedal.discard(channel)
        for key in [k for k in self._held if k[0] == channel]:
            self._held.discard(key)
            self._synth.noteoff(*key)

    def panic(self) -> None:
        """Silence everything at once."""
        self.send(PANIC)

    def render(self, frames: int) -> Audio:
        """The next `frames` frames of sound; may exceed full scale."""
        if not frames:
            return np.zeros((0, CHANNELS), np.float32)
        sound = np.frombuffer(self._synth.generate(frames), np.float32)
        return sound.reshape(frames, CHANNELS)


def limited(sound: Audio, threshold: float = 0.8) -> Audio:
    """`sound` bent smoothly into −1…1 above `threshold`, unchanged below."""
    over = np.abs(sound) > threshold
    if not over.any():
        return sound
    room = 1 - threshold
    bent = np.sign(sound) * (threshold + room * np.tanh((np.abs(sound) - threshold) / room))
    return np.where(over, bent, sound).astype(np.float32)


# --- live ----------------------------------------------------------------------------------------


class BuiltInPort:
    """A MIDI output that is the built-in synth on this machine's sound device.

    `problem` is None, or one sentence saying why nothing is heard; the port then takes messages and
    drops them. `backends` chooses how miniaudio reaches the device (its own order by default).
    """

    name: Final = "Built-in"

    def __init__(
        self, synth: Synth | None = None, backends: Sequence[miniaudio.Backend] | None = None
    ) -> None:
        self.problem: str | None = None
        self._synth = synth or Synth()
        self._inbox: deque[bytes] = deque()
        self._device: miniaudio.PlaybackDevice | None = None
        try:
            self._device = device = open_device(backends)
            # Also at exit: the device's thread would wait for an interpreter that waits for it.
            weakref.finalize(self, device.close)
            sound = self._play()
            next(sound)
            device.start(sound)
        except miniaudio.MiniaudioError:
            self.close()
            self.problem = (
                "No sound device was found, so the built-in synth is silent; connect one and choose "
                "the synth again, or choose a MIDI port."
            )

    def _play(self) -> Generator[bytes, int, None]:
        """Miniaudio's side: it sends the number of frames that it wants, in the device's thread."""
        frames = yield b""
        while True:
            while self._inbox:
                self._synth.send(self._inbox.popleft())
            frames = yield limited(self._synth.render(frames)).tobytes()

    def send(self, data: bytes) -> None:
        """Play raw MIDI `data` with the next period; returns at once."""
        if self._device is not None:
            self._inbox.append(data)

    def panic(self) -> None:
        """Silence everything, messages not yet played included."""
        self._inbox.clear()
        self.send(PANIC)

    def close(self) -> None:
        """Let the sound device go; harmless when repeated."""
        device, self._device = self._device, None
        if device is not None:
            device.close()


def open_device(backends: Sequence[miniaudio.Backend] | None = None) -> miniaudio.PlaybackDevice:
    """The sound device, through JACK where the usual way has none. Raises miniaudio.MiniaudioError."""
    if sys.platform.startswith("linux"):
        quieten()

    def attempt(chosen: Sequence[miniaudio.Backend]) -> miniaudio.PlaybackDevice:
        device = miniaudio.PlaybackDevice(
            output_format=miniaudio.SampleFormat.FLOAT32,
            nchannels=CHANNELS,
            sample_rate=SAMPLE_RATE,
            buffersize_msec=PERIOD_MS,
            backends=list(chosen),
            app_name="Ricercar",
        )
        if device.backend == "Null" and miniaudio.Backend.NULL not in chosen:
            device.close()
            raise miniaudio.MiniaudioError("only the null device is there")
        return device

    if backends is not None:
        return attempt(backends)
    try:
        return attempt(())
    except miniaudio.MiniaudioError:
        if not sys.platform.startswith("linux"):
            raise
        return attempt((miniaudio.Backend.JACK,))


def _ignore(*_message: object) -> None:
    """Takes the place of a library's own printing; the caller gets the error as a status anyway."""


# Kept here for good: the libraries hold bare pointers to these.
_ALSA_HANDLER = ctypes.CFUNCTYPE(
    None, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p
)(_ignore)
_JACK_HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_char_p)(_ignore)


def quieten() -> None:
    """Keep ALSA and JACK from writing screens full to standard error where no device is."""
    for library, function, handler in (
        ("libasound.so.2", "snd_lib_error_set_handler", _ALSA_HANDLER),
        ("libjack.so.0", "jack_set_error_function", _JACK_HANDLER),
        ("libjack.so.0", "jack_set_info_function", _JACK_HANDLER),
    ):
        try:
            getattr(ctypes.CDLL(library), function)(handler)
        except (OSError, AttributeError):
            continue  # not on this system, so it cannot write either


# --- offline -------------------------------------------------------------------------------------

BLOCK: Final = SAMPLE_RATE // 10
TAIL_S: Final = 8.0
"""How long at most the last sounds may ring."""
SILENCE: Final = 2e-4
PEAK: Final = 0.97
LONGEST_S: Final = 6 * 3600
"""A WAV file ends at 4 GB: 6.7 hours."""


def render(events: Iterable[tuple[float, bytes]], synth: Synth) -> Iterator[Audio]:
    """The sound of `events` ((second, MIDI bytes) in order) and of their decay, block by block.

    Events fall on exact frames. Ends when all is silent, at most `TAIL_S` seconds after the last event.
    """
    now = 0
    for second, data in events:
        frame = round(second * SAMPLE_RATE)
        while now < frame:
            count = min(BLOCK, frame - now)
            yield synth.render(count)
            now += count
        synth.send(data)
    for _ in range(round(TAIL_S * SAMPLE_RATE / BLOCK)):
        block = synth.render(BLOCK)
        yield block
        if not np.abs(block).max() > SILENCE:
            return


def render_wav(score: Score, path: Path, synth: Synth | None = None) -> None:
    """Write `score` as it sounds: 44.1 kHz, 16 bits, stereo, the same bytes every time.

    Softened as a whole where it would clip. The file appears complete or not at all. Raises UserError
    when it cannot be written.
    """
    for _ in wav_steps(score, path, synth):
        pass


def wav_steps(score: Score, path: Path, synth: Synth | None = None) -> Generator[float, None, None]:
    """`render_wav` in steps: yields the seconds of music done. Closing it leaves no file behind."""
    events = schedule.timed(score)
    if events and events[-1][0] > LONGEST_S:
        raise UserError(
            f"{path} would last {events[-1][0] / 3600:.0f} hours; a WAV file holds 6, so export less."
        )
    synth = synth or Synth()
    done, peak = 0, 0.0
    partial = path.with_name(f".{path.name}.part")
    try:
        # Levels are known only at the end; on disk an hour of floats is no burden.
        with tempfile.TemporaryFile(dir=path.parent) as raw:
            for block in render(events, synth):
                raw.write(block.tobytes())
                peak = max(peak, float(np.abs(block).max()))
                done += len(block)
                yield done / SAMPLE_RATE
            raw.seek(0)
            write_wav(partial, raw, min(1.0, PEAK / peak) if peak else 1.0)
        partial.replace(path)
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror or error}); choose another folder or make room."
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def write_wav(path: Path, raw: IO[bytes], gain: float) -> None:
    """Turn a file of 32-bit float frames into a 16-bit WAV file, `gain` times as loud."""
    with wave.open(str(path), "wb") as wav:
        wav.setnchannels(CHANNELS)
        wav.setsampwidth(2)
        wav.setframerate(SAMPLE_RATE)
        while data := raw.read(4 * CHANNELS * BLOCK):
            sound = np.frombuffer(data, np.float32) * gain
            wav.writeframes(np.round(sound * 32767).astype("<i2").tobytes())

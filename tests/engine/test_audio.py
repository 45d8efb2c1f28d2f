"""The built-in synth, listened to by numbers: what pitch sounds, how loud, when it begins and ends."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import wave
from collections.abc import Callable, Iterator
from pathlib import Path

import miniaudio
import numpy as np
import pytest

from engine.audio import (
    PANIC,
    PROGRAMS,
    SAMPLE_RATE,
    Audio,
    BuiltInPort,
    Synth,
    limited,
    messages,
    render_wav,
    wav_steps,
)
from models.score import Notes, Score, Track, UserError
from models.timebase import PPQ, TempoMap


@pytest.fixture(scope="module")
def shared() -> Synth:
    return Synth()


@pytest.fixture
def synth(shared: Synth) -> Synth:
    """A synth as if new: loading the SoundFont takes a third of a second."""
    shared.panic()
    for channel in range(16):
        shared.send(bytes((0xB0 | channel, 121, 0, 0xC0 | channel, 0, 0xE0 | channel, 0, 64)))
        shared.send(bytes((0xB0 | channel, 7, 100)))
    while rms(shared.render(4410)) > 0:
        pass
    return shared


def rms(sound: Audio) -> float:
    return float(np.sqrt(np.mean(np.square(sound, dtype=np.float64))))


def cents_off(sound: Audio, pitch: float) -> float:
    """How far the strongest of the first three partials lies from where `pitch` puts it."""
    mono = sound.mean(axis=1)
    spectrum = np.abs(np.fft.rfft(mono * np.hanning(len(mono)), 1 << 19))
    hertz = np.fft.rfftfreq(1 << 19, 1 / SAMPLE_RATE)
    fundamental = 440 * 2 ** ((pitch - 69) / 12)
    peaks = []
    for partial in (1, 2, 3):
        near = np.abs(hertz / (fundamental * partial) - 1) < 0.03
        at = int(np.argmax(spectrum[near]))
        peaks.append((spectrum[near][at], 1200 * np.log2(hertz[near][at] / fundamental / partial)))
    loudest = max(peaks)
    assert loudest[0] > 0.2 * spectrum.max(), "the pitch is not what sounds loudest"
    return float(loudest[1])


def played(synth: Synth, *data: bytes, seconds: float = 1.0) -> Audio:
    for message in data:
        synth.send(message)
    return synth.render(round(seconds * SAMPLE_RATE))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\x90\x3c\x40\x80\x3c\x00", [(0x90, 60, 64), (0x80, 60, 0)]),
        (b"\x93\x3c\x40\x3e\x41", [(0x93, 60, 64), (0x93, 62, 65)]),
        (b"\xc2\x13\x30", [(0xC2, 19, 0), (0xC2, 48, 0)]),
        (b"\x90\x3c\xf8\x40", [(0x90, 60, 64)]),
        (b"\xf0\x7e\x7f\x09\x01\xf7\x90\x3c\x40", [(0x90, 60, 64)]),
        (b"\x90\x3c", []),
        (b"\x3c\x40", []),
        (b"", []),
    ],
    ids=["two", "running", "one byte", "clock inside", "sysex", "cut off", "no status", "nothing"],
)
def test_messages(data: bytes, expected: list[tuple[int, int, int]]) -> None:
    assert list(messages(data)) == expected


@pytest.mark.parametrize(
    ("program", "pitches", "tolerance"),
    # The tolerance is the instrument's own: the choir's samples drift and beat.
    [
        (0, (28, 48, 60, 72), 8),
        (6, (40, 60, 80), 5),
        (19, (36, 60, 84), 8),
        (32, (28, 40, 55), 5),
        (48, (48, 60, 72, 84), 22),
        (52, (55, 60, 67, 79), 25),
        (56, (55, 67, 80), 5),
        (57, (40, 52, 65), 5),
        (68, (60, 72, 84), 10),
        (70, (48, 60), 5),
        (71, (52, 65, 80), 5),
        (73, (62, 74, 88), 8),
    ],
)
def test_every_preset_sounds_in_tune(
    synth: Synth, program: int, pitches: tuple[int, ...], tolerance: float
) -> None:
    for pitch in pitches:
        sound = played(synth, bytes((0xC0, program, 0x90, pitch, 90)), seconds=1.5)
        level = rms(sound)
        assert 0.01 < level < 0.3
        assert abs(cents_off(sound[SAMPLE_RATE // 4 :], pitch)) < tolerance
        synth.panic()
        synth.render(SAMPLE_RATE // 10)


def test_every_general_midi_program_sounds(synth: Synth) -> None:
    for program in range(128):
        assert rms(played(synth, bytes((0xC0, program, 0x90, 60, 90)), seconds=0.3)) > 0.005
        synth.panic()
        synth.render(441)


def test_the_nearest_preset_stands_in_for_a_missing_one(synth: Synth) -> None:
    assert dict(PROGRAMS)[40] == 48
    strings = played(synth, b"\xc0\x30\x90\x3c\x5a", seconds=0.5)
    synth.panic()
    synth.render(SAMPLE_RATE)
    violin = played(synth, b"\xc0\x28\x90\x3c\x5a", seconds=0.5)
    np.testing.assert_array_equal(strings, violin)


def test_the_drum_channel_plays_the_kit(synth: Synth) -> None:
    kick = played(synth, b"\xc9\x00\x99\x24\x64", seconds=0.3)
    hertz = np.fft.rfftfreq(len(kick), 1 / SAMPLE_RATE)
    low = hertz < 200
    synth.panic()
    synth.render(4410)
    hat = played(synth, b"\xc9\x08\x99\x2a\x64", seconds=0.3)

    def share_below_200(sound: Audio) -> float:
        power = np.abs(np.fft.rfft(sound.mean(axis=1))) ** 2
        return float(power[low].sum() / power.sum())

    assert share_below_200(kick) > 0.8
    assert rms(hat) > 0.0005
    assert share_below_200(hat) < 0.1


def test_a_note_off_ends_the_note(synth: Synth) -> None:
    sounding = rms(played(synth, b"\xc0\x44\x90\x3c\x5a", seconds=0.5))
    synth.send(b"\x90\x3c\x00")  # a note-on of velocity 0 is a note-off
    synth.render(SAMPLE_RATE)
    assert rms(synth.render(4410)) < sounding / 1000


def test_the_pedal_holds_and_lets_go(synth: Synth) -> None:
    synth.send(b"\xc0\x44\xb0\x40\x7f\x90\x3c\x5a")
    sounding = rms(synth.render(SAMPLE_RATE // 2))
    synth.send(b"\x80\x3c\x40")
    synth.render(SAMPLE_RATE)
    assert rms(synth.render(4410)) > sounding / 2
    synth.send(b"\xb0\x40\x00")
    synth.render(SAMPLE_RATE)
    assert rms(synth.render(4410)) < sounding / 1000


def test_a_key_struck_again_under_the_pedal_ends_with_it(synth: Synth) -> None:
    synth.send(b"\xc0\x44\xb0\x40\x7f")
    for _ in range(3):
        synth.send(b"\x90\x3c\x5a")
        synth.render(4410)
        synth.send(b"\x80\x3c\x40")
        synth.render(4410)
    synth.send(b"\xb0\x40\x00")
    synth.render(SAMPLE_RATE)
    assert rms(synth.render(4410)) < 1e-4


def test_panic_silences_held_notes_on_every_channel(synth: Synth) -> None:
    for channel in range(16):
        synth.send(bytes((0xB0 | channel, 64, 127, 0xC0 | channel, 19, 0x90 | channel, 60, 90)))
    assert rms(synth.render(SAMPLE_RATE // 2)) > 0.05
    synth.send(PANIC)
    synth.render(SAMPLE_RATE // 4)
    assert rms(synth.render(4410)) < 1e-4


def test_bend_and_volume(synth: Synth) -> None:
    bent = played(synth, b"\xc0\x13\xe0\x7f\x7f\x90\x3c\x5a")
    assert abs(cents_off(bent[4410:], 62)) < 10
    synth.panic()
    synth.render(SAMPLE_RATE)
    loud = rms(played(synth, b"\xe0\x00\x40\xb0\x07\x7f\x90\x3c\x5a"))
    synth.panic()
    synth.render(SAMPLE_RATE)
    soft = rms(played(synth, b"\xb0\x07\x28\x90\x3c\x5a"))
    assert loud > 4 * soft > 0


def test_no_bytes_upset_the_synth() -> None:
    synth = Synth()  # its own, for the bytes may retune it
    rng = np.random.default_rng(1)
    for _ in range(200):
        synth.send(rng.integers(0, 256, 500, np.uint8).tobytes())
        assert np.isfinite(synth.render(64)).all()
    for status in (0x80, 0x90, 0xA0, 0xB0, 0xD0, 0xE0):
        for data1 in range(128):
            synth.send(bytes((status, data1, 127)))
    synth.panic()
    synth.render(SAMPLE_RATE)
    assert rms(synth.render(4410)) < 1e-4


def test_the_limiter_bends_only_what_is_loud() -> None:
    line = np.linspace(-3, 3, 601, dtype=np.float32)
    bent = limited(np.stack([line, line], axis=1))[:, 0]
    assert np.abs(bent).max() <= 1
    assert (np.diff(bent) >= 0).all()
    quiet = np.abs(line) <= 0.8
    np.testing.assert_array_equal(bent[quiet], line[quiet])


class Recorded(Synth):
    """A synth that keeps what it renders."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks: list[Audio] = []

    def render(self, frames: int) -> Audio:
        block = super().render(frames)
        self.blocks.append(block.copy())
        return block

    def until(self, wanted: Callable[[float], bool], seconds: float = 5.0) -> bool:
        """Whether the newest half second comes to have a loudness that is `wanted`."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.blocks and wanted(rms(self.newest())):
                return True
            time.sleep(0.02)
        return False

    def newest(self, seconds: float = 0.5) -> Audio:
        return np.concatenate(list(self.blocks))[-round(seconds * SAMPLE_RATE) :]


def test_the_port_plays_on_a_device_until_closed() -> None:
    synth = Recorded()
    port = BuiltInPort(synth, [miniaudio.Backend.NULL])
    try:
        assert port.problem is None
        port.send(b"\xc0\x44")
        port.send(b"\x90\x45\x5a")
        assert synth.until(lambda level: level > 0.02)
        time.sleep(0.5)
        assert abs(cents_off(synth.newest(), 69)) < 15
        port.panic()
        assert synth.until(lambda level: level < 1e-4)
    finally:
        port.close()
    count = len(synth.blocks)
    port.send(b"\x90\x45\x5a")
    port.close()
    time.sleep(0.05)
    assert len(synth.blocks) == count


def test_a_program_that_forgets_the_port_still_ends() -> None:
    script = (
        "import miniaudio; from engine.audio import BuiltInPort;"
        "p = BuiltInPort(backends=[miniaudio.Backend.NULL]); p.send(b'\\x90\\x45\\x5a')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, b"")


def test_without_a_sound_device_the_port_says_so_and_works() -> None:
    port = BuiltInPort(Synth(), [miniaudio.Backend.AAUDIO])  # Android's
    assert port.problem is not None
    assert "No sound device" in port.problem
    port.send(b"\x90\x45\x5a")
    port.panic()
    port.close()


def test_looking_for_a_device_writes_nothing_to_standard_error() -> None:
    script = "from engine.audio import BuiltInPort; p = BuiltInPort(); p.close(); print(p.problem)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr == ""


def read_wav(path: Path) -> Audio:
    with wave.open(str(path)) as wav:
        assert (wav.getframerate(), wav.getsampwidth(), wav.getnchannels()) == (44100, 2, 2)
        data = np.frombuffer(wav.readframes(wav.getnframes()), "<i2")
    return (data.reshape(-1, 2) / 32767).astype(np.float32)


def oboe(notes: Notes, **more: object) -> Track:
    return Track(1, "Oboe", notes, program=68, **more)  # type: ignore[arg-type]


def test_a_score_sounds_where_and_as_it_is_written(tmp_path: Path) -> None:
    # Quarter notes with quarter rests between, the tempo halved after two: onsets at 0, 1, 2 and 4 s.
    notes = Notes.of(np.arange(4) * 2 * PPQ, PPQ, [60, 64, 67, 72])
    tempo = TempoMap(np.array([0, 4 * PPQ]), np.array([500_000, 1_000_000]))
    path = tmp_path / "oboe.wav"
    render_wav(Score((oboe(notes),), tempo), path)
    sound = read_wav(path)
    loud = np.array([rms(sound[i : i + 441]) for i in range(0, len(sound) - 441, 441)]) > 0.01
    starts = np.flatnonzero(loud & ~np.append(False, loud[:-1])) / 100
    np.testing.assert_allclose(starts, [0, 1, 2, 4], atol=0.05)
    for second, pitch in zip((0.1, 1.1, 2.1, 4.1), (60, 64, 67, 72), strict=True):
        at = round(second * SAMPLE_RATE)
        assert abs(cents_off(sound[at : at + round(0.35 * SAMPLE_RATE)], pitch)) < 15
    assert 5 < len(sound) / SAMPLE_RATE < 9
    assert rms(sound[-441:]) < 1e-3


def test_the_same_score_gives_the_same_bytes(tmp_path: Path) -> None:
    score = Score((oboe(Notes.of([0, 0, PPQ], PPQ, [60, 64, 67])),))
    for name in ("a.wav", "b.wav"):
        render_wav(score, tmp_path / name)
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    assert {p.name for p in tmp_path.iterdir()} == {"a.wav", "b.wav"}


def test_a_cluster_is_softened_as_a_whole_and_not_clipped(tmp_path: Path) -> None:
    cluster = Notes.of(np.zeros(40), PPQ, np.arange(40, 80), 127)
    soft = Notes.of([4 * PPQ], PPQ, [60], 40)
    path = tmp_path / "loud.wav"
    render_wav(Score((oboe(Notes.concatenate([cluster, soft.with_(id=99)]), volume=127),)), path)
    sound = read_wav(path)
    assert 0.96 < np.abs(sound).max() < 0.975
    flat = np.diff(sound[:, 0]) == 0
    at_top = np.abs(sound[:-1, 0]) > 0.9
    assert (flat & at_top).sum() < 20


def test_a_muted_track_is_not_heard(tmp_path: Path) -> None:
    silent = oboe(Notes.of([0], PPQ, [60]), muted=True)
    path = tmp_path / "silence.wav"
    render_wav(Score((silent,)), path)
    assert rms(read_wav(path)) == 0


def test_an_empty_score_makes_an_empty_recording(tmp_path: Path) -> None:
    render_wav(Score(), tmp_path / "empty.wav")
    assert rms(read_wav(tmp_path / "empty.wav")) == 0


def test_stopping_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "old.wav"
    path.write_bytes(b"mine")
    steps = wav_steps(Score((oboe(Notes.of([0], 8 * PPQ, [60])),)), path)
    assert 0 < next(steps) < next(steps)
    steps.close()
    assert path.read_bytes() == b"mine"
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_is_said_in_a_sentence(tmp_path: Path) -> None:
    score = Score((oboe(Notes.of([0], PPQ, [60])),))
    with pytest.raises(UserError, match=r"nowhere.*cannot be written"):
        render_wav(score, tmp_path / "nowhere" / "a.wav")
    (tmp_path / "folder.wav").mkdir()
    with pytest.raises(UserError, match=r"folder\.wav.*cannot be written"):
        render_wav(score, tmp_path / "folder.wav")
    endless = Score((oboe(Notes.of([2 * 60 * 60 * 24 * PPQ], PPQ, [60])),))
    with pytest.raises(UserError, match=r"24 hours"):
        render_wav(endless, tmp_path / "endless.wav")
    assert [p.name for p in tmp_path.iterdir()] == ["folder.wav"]


def test_a_broken_soundfont_is_said_in_a_sentence(tmp_path: Path) -> None:
    for content in (b"", b"RIFF\x04\0\0\0sfbk", b"nonsense"):
        (tmp_path / "broken.sf2").write_bytes(content)
        with pytest.raises(UserError, match=r"broken\.sf2: the SoundFont cannot be read"):
            Synth(tmp_path / "broken.sf2")
    with pytest.raises(UserError, match=r"absent\.sf2"):
        Synth(tmp_path / "absent.sf2")


@pytest.fixture
def jack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A JACK server of this test's own, with the dummy driver, which the environment points to."""
    name = f"ricercar-audio-{os.getpid()}"
    monkeypatch.setenv("JACK_DEFAULT_SERVER", name)
    command = ["jackd", "-n", name, "--no-realtime", "-d", "dummy", "-r", "48000", "-p", "256"]
    with (tmp_path / "jackd.txt").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            ready = ["jack_wait", "-s", name, "-w", "-t", "10"]
            assert subprocess.run(ready, stdout=log, stderr=log).returncode == 0
            yield
        finally:
            server.terminate()
            server.wait(10)


@pytest.mark.skipif(shutil.which("jack_rec") is None, reason="JACK is not installed")
@pytest.mark.usefixtures("jack")
def test_a_jack_server_hears_the_port(tmp_path: Path) -> None:
    port = BuiltInPort(backends=[miniaudio.Backend.JACK])
    try:
        assert port.problem is None
        port.send(b"\xc0\x44\x90\x45\x5a")
        time.sleep(0.2)
        file = str(tmp_path / "heard.wav")
        options = ["-f", file, "-d", "1", "-b", "16", "Ricercar:playback0", "Ricercar:playback1"]
        subprocess.run(["jack_rec", *options], check=True, capture_output=True, timeout=20)
    finally:
        port.close()
    with wave.open(file) as wav:
        assert wav.getframerate() == 48_000
        data = np.frombuffer(wav.readframes(wav.getnframes()), "<i2").reshape(-1, 2)
    heard = (data / 32767).astype(np.float32)
    assert rms(heard) > 0.02
    # The same frames at 48,000 a second, read as if at 44,100, sound lower by this much.
    assert abs(cents_off(heard, 69 - 12 * np.log2(48_000 / SAMPLE_RATE))) < 15

"""The shipped SoundFont in the players that read it, and the script that cuts it, on a font made here."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import mido
import numpy as np
import numpy.typing as npt
import pytest
import soundfile
import tinysoundfont

CHECKOUT = Path(__file__).resolve().parents[2]
FONT = CHECKOUT / "assets/soundfont/ricercar.sf3"
RATE = 44_100


@pytest.fixture(scope="module")
def script(load: Callable[[Path], ModuleType]) -> ModuleType:
    return load(CHECKOUT / "packaging/build_soundfont.py")


def hertz(sound: npt.NDArray[np.float32]) -> float:
    """The strongest frequency."""
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 1 << 18))
    return float(np.argmax(spectrum) * RATE / (1 << 18))


def played(font: Path, channel: int, bank: int, program: int, key: int) -> npt.NDArray[np.float32]:
    synth = tinysoundfont.Synth(samplerate=RATE)
    number = synth.sfload(str(font))
    synth.program_select(channel, number, bank, program, channel == 9)
    synth.noteon(channel, key, 100)
    return np.frombuffer(synth.generate(RATE), np.float32).reshape(-1, 2).copy()


def test_the_shipped_font_is_small_and_holds_what_the_script_says(script: ModuleType) -> None:
    assert FONT.stat().st_size < 6e6
    assert "MIT license" in (FONT.parent / "LICENSE").read_text(encoding="utf-8")
    chunks = dict(script.walk(FONT.read_bytes(), 12, FONT.stat().st_size))
    heads = np.frombuffer(chunks["phdr"], script.TABLES["phdr"])[:-1]
    found = [(int(h["bank"]), int(h["program"])) for h in heads]
    assert found == [(w.bank, w.program) for w in script.WANTED]


@pytest.mark.skipif(shutil.which("fluidsynth") is None, reason="fluidsynth is not installed")
def test_fluidsynth_plays_every_preset_of_the_shipped_font_in_tune(
    script: ModuleType, tmp_path: Path
) -> None:
    programs = [w.program for w in script.WANTED if w.bank == 0]
    track = mido.MidiTrack()
    for program in programs:  # 960 ticks of 480 a quarter: a second each
        track.append(mido.Message("program_change", program=program))
        track.append(mido.Message("note_on", note=60, velocity=90))
        track.append(mido.Message("note_off", note=60, time=480))
        track.append(mido.Message("control_change", control=120, time=480))
    mido.MidiFile(tracks=[track]).save(tmp_path / "all.mid")
    files = ["-F", str(tmp_path / "all.wav"), str(FONT), str(tmp_path / "all.mid")]
    quiet = ["-ni", "-R", "0", "-C", "0", "-r", str(RATE), "-g", "1"]
    done = subprocess.run(["fluidsynth", *quiet, *files], capture_output=True, text=True)
    assert done.returncode == 0
    assert "error" not in done.stderr.lower()
    sound, _ = soundfile.read(tmp_path / "all.wav")
    for i, program in enumerate(programs):
        part = sound[round((i + 0.1) * RATE) : round((i + 0.5) * RATE)].mean(axis=1)
        assert np.sqrt(np.mean(part**2)) > 0.003, program
        partial = hertz(part) / 261.63
        cents = 1200 * np.log2(partial / max(round(partial), 1))
        assert abs(cents) < 30, program


def sine(frequency: float, frames: int) -> npt.NDArray[np.int16]:
    return np.round(16000 * np.sin(2 * np.pi * frequency * np.arange(frames) / RATE)).astype("<i2")


@pytest.fixture
def source(script: ModuleType, tmp_path: Path) -> Path:
    """An SF2 file: presets 0 and 5 with a sine each (220 and 300 Hz), and a kit of a stereo pair of drums."""
    frames, pause = 22_050, np.zeros(46, "<i2")
    waves = [sine(f, frames) for f in (220.0, 300.0, 100.0, 150.0)]
    tables = script.TABLES
    headers = np.zeros(5, tables["shdr"])
    for i, (name, key, link, kind) in enumerate(
        ((b"220", 57, 0, 1), (b"300", 62, 0, 1), (b"drum L", 36, 3, 4), (b"drum R", 36, 2, 2))
    ):
        start = i * (frames + len(pause))
        loop = (start + 1000, start + 1000 + 2205)  # whole periods of every one
        headers[i] = (name, start, start + frames, *loop, RATE, key, 0, link, kind)
    samples = np.concatenate([part for wave in waves for part in (wave, pause)])

    def generators(*pairs: tuple[int, int]) -> npt.NDArray[np.void]:
        return np.array(list(pairs), tables["pgen"])

    def heads(name: str, *rows: tuple[object, ...]) -> npt.NDArray[np.void]:
        return np.array([(*row, *([0] * (name == "phdr"))) for row in rows], tables[name])

    none = np.zeros(0, tables["pmod"])
    zone = script.Zone
    instruments, presets = script.Side(), script.Side()
    for head, sample in zip(heads("inst", (b"A", 0), (b"D", 0)), (0, 1), strict=True):
        # 20 dB of attenuation as written, to be scaled; a loop; the sample.
        instruments.add(head, [zone(generators((48, 200), (54, 1), (53, sample)), none)])
    kit = [
        zone(generators((43, 36 | 36 << 8), (17, pan), (53, s)), none)
        for pan, s in ((0xFE0C, 2), (500, 3))
    ]
    kit.append(zone(generators((43, 70 | 80 << 8), (53, 0)), none))
    instruments.add(heads("inst", (b"Kit", 0))[0], kit)
    rows = ((b"A", 0, 0, 0), (b"D", 5, 0, 0), (b"Kit", 0, 128, 0))
    for instrument, head in enumerate(heads("phdr", *rows)):
        presets.add(head, [zone(generators((41, instrument)), none)])
    index = {**script.finish(presets, "p", b"EOP"), **script.finish(instruments, "i", b"EOI")}
    index["shdr"] = headers.tobytes()
    lists = {
        "INFO": {"ifil": b"\x02\x00\x01\x00", "isng": b"EMU8000\0", "INAM": b"Test"},
        "sdta": {"smpl": samples.tobytes()},
        "pdta": {name: index[name] for name in tables},
    }
    body = b"sfbk"
    for label, chunks in lists.items():
        content = b"".join(script.chunk(n, c) for n, c in chunks.items())
        body += script.chunk("LIST", label.encode() + content)
    path = tmp_path / "source.sf2"
    path.write_bytes(script.chunk("RIFF", body))
    return path


def test_a_cut_font_plays_what_was_kept_and_nothing_else(
    script: ModuleType, source: Path, tmp_path: Path
) -> None:
    wanted = (script.Wanted(0, 5), script.Wanted(128, 0, keys=(35, 59), mono=True))
    made = script.build(script.read(source), wanted)
    cut = tmp_path / "cut.sf3"
    cut.write_bytes(made)
    names = tinysoundfont.Synth()
    number = names.sfload(str(cut))
    assert names.sfpreset_name(number, 0, 5) == "D"
    assert names.sfpreset_name(number, 0, 0) is None

    # The note sounds for longer than its half second of samples: the loop has survived.
    note = played(cut, 0, 0, 5, 62)
    assert hertz(note[:, 0]) == pytest.approx(300.0, abs=0.5)
    assert np.abs(note[-4410:]).max() > 0.5 * np.abs(note).max()
    octave = played(cut, 0, 0, 5, 74)
    assert hertz(octave[:, 0]) == pytest.approx(600, abs=1)

    # The attenuation of 20 dB is taken at 0.4: 8 dB, so 12 dB louder than in the source.
    before = np.abs(played(source, 0, 0, 5, 62)).max()
    assert 20 * np.log10(np.abs(note).max() / before) == pytest.approx(12, abs=0.5)

    # The drum is the left one of the pair, in the middle; the zone above the keys is gone.
    drum = played(cut, 9, 128, 0, 36)
    assert hertz(drum[:, 0]) == pytest.approx(100, abs=0.5)
    np.testing.assert_allclose(drum[:, 0], drum[:, 1], atol=1e-6)
    assert np.abs(played(cut, 9, 128, 0, 75)).max() == 0


def test_the_same_source_gives_the_same_font(script: ModuleType, source: Path) -> None:
    font = script.read(source)
    wanted = (script.Wanted(0, 0), script.Wanted(0, 5))
    assert script.build(font, wanted) == script.build(font, wanted)


def test_a_stream_keeps_its_sound_under_a_new_number(script: ModuleType, tmp_path: Path) -> None:
    stream = script.encode(sine(440, RATE), RATE, 7)
    (tmp_path / "a.ogg").write_bytes(stream)
    sound, rate = soundfile.read(tmp_path / "a.ogg", dtype="float32")  # checks every page's sum
    assert rate == RATE
    assert len(sound) == RATE
    assert hertz(sound) == pytest.approx(440, abs=0.5)
    assert stream[14:18] == b"\x07\0\0\0"


def test_what_is_no_soundfont_is_refused(script: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "no.sf2").write_bytes(b"RIFF\0\0\0\0WAVE")
    with pytest.raises(ValueError, match=r"no\.sf2 is not a SoundFont 2 file"):
        script.read(tmp_path / "no.sf2")

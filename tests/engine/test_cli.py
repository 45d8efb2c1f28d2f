"""The command line as a contract: words, files, figures, exit status, and one line of complaint."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import wave
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import ToySystem

from app.__main__ import main as program
from engine import cli, exchange, files, midifile
from engine.asking import ask, bars, span
from engine.bench import BENCHMARKS
from models import catalogue
from models.card import Card, Param, Task
from models.score import Key, Notes, Score, Track, UserError
from models.timebase import PPQ, MeterMap, TempoMap

ODE = "ode_an_die_freude_melody.musicxml"
MELODY = "wer_hat_dich_so_geschlagen_melody.musicxml"
CHORALE = "wenn_ich_einmal_soll_scheiden.musicxml"


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> ToySystem:
    """A system that needs no weights, in place of every other."""
    system = ToySystem()
    monkeypatch.setattr(catalogue, "cards", lambda: (system.card,))
    monkeypatch.setattr(catalogue, "load", lambda *_: system)
    return system


def complaint(capsys: pytest.CaptureFixture[str], *argv: str | Path) -> str:
    """What a command that must fail says: one line, and status 2."""
    status = cli.main([str(word) for word in argv])
    out, err = capsys.readouterr()
    assert status == 2, err
    assert out == ""
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert err.startswith("ricercar: ")
    return err


# --- which door ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        ([], False),
        (["piece.mid"], False),
        (["/some/where/piece.ricercar"], False),
        (["generate"], True),
        (["--help"], True),
        (["--version"], True),
        (["generte"], True),
    ],
)
def test_a_path_opens_the_window_and_a_word_is_a_command(argv: list[str], command: bool) -> None:
    assert cli.is_command(argv) is command


def test_an_existing_file_without_suffix_is_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("piece").touch()
    assert not cli.is_command(["piece"])


def test_a_mistyped_command_is_answered_where_it_was_made(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert program(["generte"]) == 2
    assert "generte" in capsys.readouterr().err


def test_help_and_version_succeed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("ricercar ")
    for command in cli.COMMANDS:
        assert cli.main([command, "--help"]) == 0
        assert command in capsys.readouterr().out


def test_the_command_runs_as_a_process_without_the_window_or_torch(
    tmp_path: Path, scores: Path
) -> None:
    code = (
        "import sys; from app.__main__ import main; status = main(sys.argv[1:]);"
        "print(status, [m for m in ('torch', 'PySide6', 'music21', 'rtmidi') if m in sys.modules])"
    )
    out = tmp_path / "out.mid"
    done = subprocess.run(
        [sys.executable, "-c", code, "export", str(scores / CHORALE), "-o", str(out)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "0 []"
    assert out.stat().st_size > 1000


# --- systems, bench, ports -----------------------------------------------------------------------


def test_systems_shows_every_card(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["systems"]) == 0
    text = capsys.readouterr().out
    for card in catalogue.cards():
        assert f"{card.id}  {card.name} ({card.source})" in text
        for param in card.params:
            assert f"--param {param.name}=" in text
    assert cli.main(["systems", "--json"]) == 0
    cards = json.loads(capsys.readouterr().out)
    assert [c["id"] for c in cards] == [c.id for c in catalogue.cards()]


def test_every_benchmark_named_is_there() -> None:
    for place in BENCHMARKS.values():
        module, _, function = place.partition(":")
        file = Path(*module.split(".")).with_suffix(".py")
        text = (Path(__file__).resolve().parents[2] / file).read_text("utf-8")
        assert f"def {function}(" in text


def test_an_unknown_benchmark_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert "'speed'" in complaint(capsys, "bench", "speed")


def test_figures_are_printed_with_units_or_as_one_flat_object(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = {"seconds_16_bars": 0.8765, "first_note_s": 0.2, "updates_per_s": 12345.6, "kills": 3}
    monkeypatch.setattr("engine.bench.run", lambda name: figures)
    assert cli.main(["bench", "gibbs"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "seconds_16_bars  0.8765 s",
        "first_note_s     0.2 s",
        "updates_per_s    1.235e+04 a second",
        "kills            3",
    ]
    assert cli.main(["bench", "gibbs", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == figures


def test_ports_answers_with_or_without_any(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ports", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"inputs", "outputs"}


# --- export --------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".mid", ".midi", ".musicxml", ".mxl", ".ricercar", ".MID"])
def test_export_by_suffix_keeps_the_notes(tmp_path: Path, scores: Path, suffix: str) -> None:
    out = tmp_path / f"out{suffix}"
    assert cli.main(["export", str(scores / CHORALE), "-o", str(out)]) == 0
    before, after = exchange.read(scores / CHORALE), exchange.read(out)
    assert [t.name for t in after.tracks] == [t.name for t in before.tracks]
    assert [t.notes for t in after.tracks] == [t.notes for t in before.tracks]
    assert after.fermatas == before.fermatas
    assert after.meter == before.meter


def test_export_to_wav_sounds(tmp_path: Path, scores: Path) -> None:
    out = tmp_path / "out.wav"
    assert cli.main(["export", str(scores / MELODY), "-o", str(out)]) == 0
    samples = np.frombuffer(out.read_bytes()[44:], np.int16)
    assert len(samples) > 44_100
    assert np.abs(samples.astype(int)).max() > 3000


def test_export_over_a_file_replaces_it_whole_or_not_at_all(
    tmp_path: Path, scores: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.mid"
    out.write_bytes(b"precious")
    bad = tmp_path / "bad.mid"
    bad.write_bytes(b"MThd")
    complaint(capsys, "export", bad, "-o", out)
    assert out.read_bytes() == b"precious"
    assert cli.main(["export", str(scores / MELODY), "-o", str(out)]) == 0
    assert out.read_bytes().startswith(b"MThd")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.mid", "out.mid"]


def test_a_link_is_written_through(tmp_path: Path, scores: Path) -> None:
    (tmp_path / "real.mid").write_bytes(b"old")
    (tmp_path / "link.mid").symlink_to(tmp_path / "real.mid")
    assert cli.main(["export", str(scores / MELODY), "-o", str(tmp_path / "link.mid")]) == 0
    assert (tmp_path / "link.mid").is_symlink()
    assert (tmp_path / "real.mid").read_bytes().startswith(b"MThd")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ((), "required: COMMAND"),
        (("export",), "required: FILE, -o"),
        (("export", "none.mid", "-o", "out.mid"), "no file none.mid"),
        (("export", "{melody}", "-o", "{tmp}/none/out.mid"), "no folder"),
        (("export", "{melody}", "-o", "{tmp}/out.pdf"), "no suffix of a kind that can be written"),
        (("export", "{melody}", "-o", "{tmp}/out"), "no suffix"),
        (("export", "{tmp}/notes.txt", "-o", "{tmp}/out.mid"), "no suffix of a kind"),
        (("export", "{tmp}", "-o", "{tmp}/out.mid"), "no suffix"),
        (("export", "{tmp}/folder.mid", "-o", "{tmp}/out.mid"), "is a folder"),
        (("export", "{melody}", "-o", "{tmp}/folder.mid"), "is a folder"),
        (("export", "{tmp}/empty.mid", "-o", "{tmp}/out.mid"), "empty.mid is empty"),
        (("export", "{tmp}/empty.xml", "-o", "{tmp}/out.mid"), "empty.xml is damaged"),
        (("export", "{tmp}/empty.ricercar", "-o", "{tmp}/out.mid"), "empty.ricercar"),
        (("generate", "nothing", "create", "-o", "{tmp}/out.mid"), "no system 'nothing'"),
        (("generate", "toy", "dance", "-o", "{tmp}/out.mid"), "'dance'"),
        (("generate", "toy", "create"), "-o/--output"),
        (("generate", "toy", "interpolate", "-o", "{tmp}/out.mid"), "Toy cannot interpolate"),
        (("generate", "toy", "regenerate", "-o", "{tmp}/out.mid"), "name a file with --input"),
        (("generate", "toy", "create", "-o", "{tmp}/o.mid", "--bars", "0"), "--bars 0"),
        (("generate", "toy", "create", "-o", "{tmp}/o.mid", "--bars", "two"), "'two'"),
        (("generate", "toy", "create", "-o", "{tmp}/o.mid", "--bars", "99999"), "1 to 2000"),
        (("generate", "toy", "create", "-o", "{tmp}/o.mid", "--count", "0"), "--count 0"),
        (("generate", "toy", "create", "-o", "{tmp}/o.mid", "--seed", "-1"), "--seed -1"),
        (("generate", "toy", "create", "-o", "{tmp}/o.mid", "--device", "abacus"), "'abacus'"),
        (("generate", "toy", "create", "-o", "{tmp}/o.mid", "--param", "steps"), "name=value"),
        (("generate", "toy", "create", "-o", "{tmp}/o.mid", "--param", "steps=0"), "1 to 1000"),
        (("generate", "toy", "create", "-o", "{tmp}/o.mid", "--param", "x=1"), "no parameter 'x'"),
        (("generate", "toy", "create", "-o", "{tmp}/o.mid", "--voices", "kazoo"), "'kazoo'"),
        (("train", "nothing", "-o", "{tmp}/w.safetensors"), "no system 'nothing'"),
        (("train", "toy", "-o", "{tmp}/w.pt"), ".safetensors"),
        (("train", "toy", "-o", "{tmp}/w.safetensors", "--minutes", "-3"), "--minutes -3"),
        (("evaluate", "nothing"), "no system 'nothing'"),
        (("evaluate", "toy", "--data", "nowhere"), "no data 'nowhere'"),
        (("play", "{melody}", "--loop", "3:99"), "no bar 99"),
        (("play", "{melody}", "--port", "no such port"), "no such port"),
        (("play", "{melody}", "--frobnicate"), "--frobnicate"),
    ],
)
def test_wrong_words_get_one_line_and_status_2(
    toy: ToySystem,
    tmp_path: Path,
    scores: Path,
    capsys: pytest.CaptureFixture[str],
    argv: tuple[str, ...],
    words: str,
) -> None:
    (tmp_path / "folder.mid").mkdir()
    for name in ("empty.mid", "empty.xml", "empty.ricercar", "notes.txt"):
        (tmp_path / name).touch()
    filled = [word.format(tmp=tmp_path, melody=scores / MELODY) for word in argv]
    assert words in complaint(capsys, *filled)
    assert not list(tmp_path.glob("o*.mid"))


@pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full and /sys")
def test_a_read_only_folder_and_a_full_disk_get_a_sentence(
    scores: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert "may not be written" in complaint(
        capsys, "export", scores / MELODY, "-o", "/sys/kernel/out.mid"
    )
    (tmp_path / "full.mid").symlink_to("/dev/full")
    assert "may not be written" in complaint(
        capsys, "export", scores / MELODY, "-o", tmp_path / "full.mid"
    )
    with pytest.raises(OSError, match="No space") as full, open("/dev/full", "wb") as device:
        device.write(b"x" * 100_000)
    assert "The disk is full" in files.reason(tmp_path / "out.mid", full.value, "write")


def test_a_fault_of_ours_is_one_line_and_status_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(name: str) -> dict[str, float]:
        raise ZeroDivisionError("somewhere\ndeep")

    monkeypatch.setattr("engine.bench.run", broken)
    assert cli.main(["bench", "gibbs"]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "ZeroDivisionError: somewhere" in err


# --- generate ------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bytes(toy: ToySystem, tmp_path: Path) -> None:
    for name, seed in (("a.mid", 5), ("b.mid", 5), ("c.mid", 6)):
        words = ["generate", "toy", "create", "-o", str(tmp_path / name), "--seed", str(seed)]
        assert cli.main(words) == 0
    a, b, c = ((tmp_path / name).read_bytes() for name in ("a.mid", "b.mid", "c.mid"))
    assert a == b
    assert a != c


def test_several_candidates_are_numbered_and_counted(
    toy: ToySystem, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["generate", "toy", "create", "-o", str(tmp_path / "out.mid"), "--bars", "2"]
    assert cli.main([*words, "--count", "3", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert {"seconds", "first_proposal_s", "notes_1", "notes_2", "notes_3"} <= set(figures)
    assert figures["notes_2"] == 8
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out-1.mid", "out-2.mid", "out-3.mid"]
    assert midifile.read(tmp_path / "out-3.mid").length == 2 * 4 * PPQ


def test_regenerate_changes_only_the_bars_and_voices_named(
    toy: ToySystem, tmp_path: Path, scores: Path
) -> None:
    source, out = scores / CHORALE, tmp_path / "out.musicxml"
    words = ["generate", "toy", "regenerate", "--input", str(source), "-o", str(out)]
    assert cli.main([*words, "--region", "3:4", "--voices", "Alto,tenor"]) == 0
    before, after = exchange.read(source), exchange.read(out)
    start, end = before.meter.bar_start(3), before.meter.bar_start(5)
    for old, new in zip(before.tracks, after.tracks, strict=True):
        same = old.notes.pitch.tolist() == new.notes.pitch.tolist()
        assert same is (old.name not in ("Alto", "Tenor"))
        outside = [
            [
                (o, d, p)
                for o, d, p in zip(n.onset, n.duration, n.pitch, strict=True)
                if o + d <= start or o >= end
            ]
            for n in (old.notes, new.notes)
        ]
        assert outside[0] == outside[1]


def test_deep_bach_harmonises_a_melody_and_leaves_it_alone(tmp_path: Path, scores: Path) -> None:
    melody = tmp_path / "melody.mid"
    assert cli.main(["export", str(scores / MELODY), "-o", str(melody)]) == 0
    words = ["generate", "deep_bach", "accompany", "--input", str(melody), "--device", "cpu"]
    words += ["--param", "iterations=1", "--seed", "7", "-o"]
    for name in ("a.mid", "b.mid"):
        assert cli.main([*words, str(tmp_path / name)]) == 0
    assert (tmp_path / "a.mid").read_bytes() == (tmp_path / "b.mid").read_bytes()
    before, after = exchange.read(melody), exchange.read(tmp_path / "a.mid")
    assert [t.name for t in after.tracks] == ["Soprano", "Alto", "Tenor", "Bass"]
    assert after.tracks[0].notes == before.tracks[0].notes
    assert (after.meter, after.keys, after.fermatas) == (before.meter, before.keys, before.fermatas)
    for track in after.tracks[1:]:
        assert len(track.notes) > 20
        assert track.notes.length <= before.meter.bar_start(13)
    heights = [float(t.notes.pitch.mean()) for t in after.tracks]
    assert heights == sorted(heights, reverse=True)


@pytest.fixture
def odes(tmp_path: Path, scores: Path) -> tuple[Path, Path]:
    """Two melodies as MIDI files."""
    a, b = tmp_path / "a.mid", tmp_path / "b.mid"
    assert cli.main(["export", str(scores / ODE), "-o", str(a)]) == 0
    assert cli.main(["export", str(scores / MELODY), "-o", str(b)]) == 0
    return a, b


def test_a_path_is_written_as_one_passage(
    odes: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = odes
    words = ["generate", "music_vae_2bar", "interpolate", "--input", str(a), "--region", "1:2"]
    words += ["--input-b", str(b), "--param", "steps=+4", "--device", "cpu", "--json", "-o"]
    for name in ("one.mid", "two.mid"):
        assert cli.main([*words, str(tmp_path / name)]) == 0
    assert (tmp_path / "one.mid").read_bytes() == (tmp_path / "two.mid").read_bytes()
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    before, end, after = (exchange.read(p) for p in (a, b, tmp_path / "one.mid"))
    length = int(figures["step_ticks"])
    assert length == end.meter.bar_start(13) - end.meter.pickup
    assert (figures["steps"], len(after.tracks)) == (4, 1)
    assert after.tracks[0].program == before.tracks[0].program
    notes, last = after.tracks[0].notes, end.tracks[0].notes
    first = before.tracks[0].notes.where(before.tracks[0].notes.onset < 7680)
    assert notes.pitch[: len(first)].tolist() == first.pitch.tolist()
    last = last.where(last.onset >= end.meter.pickup)
    close = notes.where(notes.onset >= 3 * length)
    assert close.pitch.tolist() == last.pitch.tolist()
    assert (close.onset - 3 * length).tolist() == (last.onset - end.meter.pickup).tolist()


def test_reshape_without_a_push_gives_the_same_bytes_and_regenerate_does_not(
    odes: tuple[Path, Path], tmp_path: Path
) -> None:
    a, out = odes[0], tmp_path / "out.mid"
    words = ["generate", "music_vae_2bar", "--device", "cpu", "--input", str(a), "-o", str(out)]
    assert cli.main([*words[:2], "reshape", *words[2:]]) == 0
    assert out.read_bytes() == a.read_bytes()
    assert cli.main([*words[:2], "regenerate", *words[2:], "--region", "5:6"]) == 0
    before, after = exchange.read(a).tracks[0].notes, exchange.read(out).tracks[0].notes
    outside = [
        n.where((n.end <= 4 * 3840) | (n.onset >= 6 * 3840)).with_(id=0) for n in (before, after)
    ]
    assert outside[0] == outside[1]
    assert before.with_(id=0) != after.with_(id=0)


def test_the_average_of_two_pieces_is_neither(odes: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out.musicxml"
    words = ["generate", "music_vae_2bar", "reshape", "--input", str(odes[0]), "--device", "cpu"]
    assert cli.main([*words, "--input-b", str(odes[1]), "--region", "1:2", "-o", str(out)]) == 0
    notes = exchange.read(out).tracks[0].notes
    notes = notes.where(notes.onset < 7680)
    for path in odes:
        score = exchange.read(path)
        onset = score.tracks[0].notes.onset - score.meter.pickup
        there = score.tracks[0].notes.where((onset >= 0) & (onset < 7680))
        assert notes.pitch.tolist() != there.pitch.tolist()
    assert 4 <= len(notes) <= 32


def test_a_clip_of_a_passage_and_of_a_path_sounds_throughout_and_ends(
    odes: tuple[Path, Path], tmp_path: Path
) -> None:
    words = ["generate", "music_vae_2bar", "--device", "cpu", "-o"]
    path = ["--input", str(odes[0]), "--region", "1:1", "--input-b", str(tmp_path / "bar.mid")]
    assert (
        cli.main([*words[:2], "create", *words[2:], str(tmp_path / "bar.mid"), "--bars", "1"]) == 0
    )
    for name, more in (
        ("passage.wav", ["create", "--bars", "4"]),
        ("path.wav", ["interpolate", *path, "--param", "steps=3"]),
    ):
        out = tmp_path / name
        assert cli.main([*words[:2], more[0], *more[1:], *words[2:], str(out)]) == 0
        with wave.open(str(out)) as file:
            rate = file.getframerate()
            samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
        sound = samples.reshape(-1, 2).astype(float).mean(1)
        seconds = sound[: len(sound) // rate * rate].reshape(-1, rate)
        assert len(seconds) >= 6
        assert (np.sqrt((seconds**2).mean(1)) > 100).all()
        assert np.abs(sound[-rate // 50 :]).max() < 0.1 * np.abs(sound).max()  # nothing is stuck


@pytest.mark.parametrize("task", ["reshape", "regenerate", "interpolate", "create"])
def test_a_waltz_is_refused_with_what_would_do(
    odes: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], task: str
) -> None:
    waltz, out = tmp_path / "waltz.mid", tmp_path / "out.mid"
    exchange.write(music(2, MeterMap(numerator=np.array([3]))), waltz)
    words: list[str | Path] = ["generate", "music_vae_2bar", task, "--input", waltz, "-o", out]
    words += ["--input-b", odes[0]] if task == "interpolate" else []
    assert "knows 4/4, 2/2 and 2/4, and bar 1" in complaint(capsys, *words)
    assert not out.exists()


def test_an_interrupted_command_ends_quietly(
    toy: ToySystem, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(step: int) -> None:
        if step == 2:
            raise KeyboardInterrupt

    toy.before = interrupt
    assert cli.main(["generate", "toy", "create", "-o", str(tmp_path / "out.mid")]) == 130
    assert "Traceback" not in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_closed_pipe_is_no_mistake(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as closed:
        done = subprocess.run(
            [sys.executable, "-m", "engine", "systems"], stdout=closed, stderr=subprocess.PIPE
        )
    assert done.returncode == 0
    assert done.stderr == b""


# --- regions and requests ------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "3", ":", "a:b", "4:3", "-1:2", "1:2:3", "²:³", "1.5:2"])
def test_a_region_is_two_bars_in_order(text: str) -> None:
    if text == "3":
        assert bars(text) == (3, 3)
    else:
        with pytest.raises(UserError, match="two bar numbers"):
            bars(text)


def music(bars: int, meter: MeterMap | None = None) -> Score:
    meter = meter or MeterMap()
    end = meter.bar_start(bars + 1)
    tracks = tuple(
        Track(n, name, Notes.of(np.arange(0, end, PPQ), PPQ, 60 + n, first_id=1000 * n))
        for n, name in enumerate(("Melody", "Other"))
    )
    return Score(tracks, meter=meter)


def test_bars_are_counted_as_printed() -> None:
    plain, picked_up = music(4), music(4, MeterMap(pickup=PPQ))
    assert span(plain, "2:3") == (3840, 11520)
    assert span(picked_up, "0:1") == (0, 4800)
    assert span(picked_up, "1:1") == (960, 4800)
    with pytest.raises(UserError, match="no bar 0"):
        span(plain, "0:1")
    with pytest.raises(UserError, match="no bar 5; the music ends in bar 4"):
        span(plain, "4:5")
    assert span(plain, "5:6", beyond=True) == (15360, 23040)


CARD = ToySystem.card


def every_task() -> Card:
    return replace(CARD, tasks=tuple(Task), voices=("soprano", "alto"))


@pytest.mark.parametrize(
    ("task", "more", "region", "tracks"),
    [
        (Task.CREATE, {"bar_count": 2}, (0, 7680), set()),
        (Task.CREATE, {"region": "2:3"}, (3840, 11520), set()),
        (Task.CREATE, {"bar_count": 1, "voices": ["Alto"]}, (0, 3840), {2}),
        (Task.CONTINUE, {}, (15360, 30720), {0, 1}),
        (Task.CONTINUE, {"bar_count": 1, "voices": ["other"]}, (15360, 19200), {1}),
        (Task.ACCOMPANY, {}, (0, 15360), set()),
        (Task.ACCOMPANY, {"voices": ["Other"], "region": "1:2"}, (0, 7680), {1}),
        (Task.REGENERATE, {}, (0, 15360), {0, 1}),
        (Task.RESHAPE, {"region": "4:4"}, (11520, 15360), {0, 1}),
    ],
)
def test_what_each_task_takes_for_granted(
    task: Task, more: dict[str, Any], region: tuple[int, int], tracks: set[int]
) -> None:
    request = ask(every_task(), task, music(4), "a.mid", **more)
    assert (request.region.start, request.region.end) == region
    assert request.region.tracks == tracks
    assert all(request.score.track(i) for i in tracks)


def test_an_interpolation_is_a_piece_of_its_own_that_sounds_like_the_first() -> None:
    card = replace(every_task(), params=(Param("steps", 8, 3, 32),))
    first, second = music(4), music(3)
    first = replace(first, tempo=TempoMap.constant(90), keys=(Key(0, 2),))
    first = first.with_track(replace(first.tracks[1], program=40))
    words: dict[str, Any] = {"second": second, "second_name": "b.mid", "params": {"steps": 5}}
    request = ask(card, Task.INTERPOLATE, first, "a.mid", region="2:2", voices=["Other"], **words)
    a, b = request.phrases
    assert [n.tolist() for n in (a.tracks[0].notes.onset, a.tracks[0].notes.pitch)] == [
        [0, 960, 1920, 2880],
        [61] * 4,
    ]
    assert (b.tracks[0].name, len(b.tracks[0].notes)) == ("Melody", 12)
    assert (request.region.start, request.region.end) == (0, 5 * 3 * 3840)
    assert request.region.tracks == {1}
    (track,) = request.score.tracks
    assert (track.name, track.program, len(track.notes)) == ("Other", 40, 0)
    assert request.score.tempo.bpm(0) == pytest.approx(90, rel=1e-4)
    assert request.score.keys == (Key(0, 2),)


def test_a_second_piece_joins_the_average_that_reshape_starts_from() -> None:
    request = ask(every_task(), Task.RESHAPE, music(4), "a.mid", second=music(2), region="1:2")
    assert [p.tracks[0].notes.length for p in request.phrases] == [7680, 7680]
    assert (request.region.start, request.region.end) == (0, 7680)
    assert ask(every_task(), Task.RESHAPE, music(4), "a.mid").phrases == ()


@pytest.mark.parametrize(
    ("task", "more", "words"),
    [
        (Task.INTERPOLATE, {}, "name the second with --input-b"),
        (Task.ACCOMPANY, {"second": Score()}, "accompany takes one piece"),
        (Task.INTERPOLATE, {"second": Score()}, r"b\.mid has no notes there"),
        (Task.RESHAPE, {"second": Score()}, r"b\.mid has no notes there"),
    ],
)
def test_a_second_piece_is_asked_for_where_it_means_something(
    task: Task, more: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        ask(every_task(), task, music(2), "a.mid", second_name="b.mid", **more)


def test_a_second_piece_in_another_metre_is_named() -> None:
    waltz = music(2, MeterMap(numerator=np.array([3])))
    with pytest.raises(UserError, match=r"bar 1 of b\.mid is in 3/4"):
        ask(every_task(), Task.INTERPOLATE, music(2), "a.mid", second=waltz, second_name="b.mid")


def test_accompany_listens_to_the_one_track_left() -> None:
    card = every_task()
    one = ask(card, Task.ACCOMPANY, music(4), "a.mid", voices=["Other"])
    assert one.melody == 0
    assert ask(card, Task.ACCOMPANY, music(4), "a.mid").melody is None
    with pytest.raises(UserError, match="no notes to accompany"):
        ask(card, Task.ACCOMPANY, music(4), "a.mid", voices=["Other", "Melody"])


def test_continue_begins_at_the_next_beat_of_an_unfinished_bar() -> None:
    score = Score((Track(0, "A", Notes.of([0], 1000, [60])),))
    request = ask(every_task(), Task.CONTINUE, score, "a.mid", bar_count=2)
    assert (request.region.start, request.region.end) == (1920, 7680)


def test_an_input_without_notes_is_named() -> None:
    with pytest.raises(UserError, match=r"empty\.mid has no notes"):
        ask(every_task(), Task.REGENERATE, Score(), "empty.mid")

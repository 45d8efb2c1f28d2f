"""Piano rolls: from scores, chorales and files, and back to notes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_chorale import made

from engine import cli
from models import training
from models.representations import pianoroll
from models.representations.pianoroll import LOWEST, PITCHES, Roll, Seat, struck
from models.score import Key, Notes, Region, Score, Track, UserError
from models.timebase import PPQ

STEP = PPQ // 4


def sung(*notes: tuple[int, int, int], **more: object) -> Track:
    """A track of (step, steps, pitch)."""
    onset, duration, pitch = np.array(notes).T
    return Track(0, "Piano", Notes.of(onset * STEP, duration * STEP, pitch, **more))  # type: ignore[arg-type]


def blank(steps: int, *tracks: Track, locked: Roll | None = None) -> Seat:
    empty = np.zeros((steps, PITCHES), bool)
    kept = locked or Roll("", empty, empty, np.arange(steps))
    past = Roll("", empty[:0], empty[:0], np.arange(0))
    region = Region(0, steps * STEP, frozenset(t.id for t in tracks))
    return Seat(region, tracks, 0, STEP, 80, past, kept, np.arange(steps) % 16)


def test_a_repeated_note_is_told_from_a_long_one() -> None:
    score = Score((sung((0, 2, 60), (2, 2, 60), (0, 4, 64)),))
    roll = pianoroll.of_score(score, "x", 4)
    assert len(roll) == 4
    assert roll.sounds[:, [60 - LOWEST, 64 - LOWEST]].all()
    assert roll.begins[:, 60 - LOWEST].tolist() == [True, False, True, False]
    assert roll.begins[:, 64 - LOWEST].tolist() == [True, False, False, False]


def test_music_in_any_key_is_read_on_white_keys() -> None:
    in_d = Score((sung((0, 4, 62), (4, 4, 66)),), keys=(Key(0, 2),))
    roll = pianoroll.of_score(in_d, "x", 4)
    assert np.flatnonzero(roll.sounds.any(0)).tolist() == [60 - LOWEST, 64 - LOWEST]


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_what_is_written_reads_back(data: st.DataObject) -> None:
    steps = data.draw(st.integers(1, 12))
    bits = data.draw(st.lists(st.booleans(), min_size=steps * 8, max_size=steps * 8))
    sounds = np.zeros((steps, PITCHES), bool)
    sounds[:, 40:44] = np.array(bits[: steps * 4]).reshape(steps, 4)
    begins = np.zeros_like(sounds)
    begins[:, 40:44] = np.array(bits[steps * 4 :]).reshape(steps, 4)
    begins = (begins & sounds) | struck(sounds)
    (track,) = pianoroll.written(sounds, begins, blank(steps, Track(3, "Piano")))
    again = pianoroll.grid(track.notes, 0, steps, STEP, 0)
    assert (again[0] == sounds).all()
    assert (again[1] == begins).all()


def test_of_several_tracks_the_first_takes_the_highest_notes() -> None:
    score = Score(
        (
            Track(0, "Low", Notes.of(0, STEP, 48)),
            Track(1, "High", Notes.of(0, STEP, 72, first_id=9)),
        )
    )
    seat = pianoroll.seat(score, Region(STEP, 5 * STEP, frozenset({0, 1})), 4, 8)
    assert [t.name for t in seat.tracks] == ["High", "Low"]
    sounds = np.zeros((4, PITCHES), bool)
    sounds[:, [30, 35, 50]] = True
    high, low = pianoroll.written(sounds, struck(sounds), seat)
    assert high.notes.pitch.tolist() == [50 + LOWEST - seat.shift]
    assert low.notes.pitch.tolist() == [30 + LOWEST - seat.shift, 35 + LOWEST - seat.shift]


def test_a_note_that_stays_keeps_its_key_to_itself() -> None:
    track = sung((1, 2, 60), locked=True)
    seat = pianoroll.seat(Score((track,)), Region(0, 4 * STEP, frozenset({0})), 4, 8)
    sounds = np.zeros((4, PITCHES), bool)
    sounds[:, [60 + seat.shift - LOWEST, 64 + seat.shift - LOWEST]] = True
    (new,) = pianoroll.written(sounds, struck(sounds), seat)
    both = [(n, m) for n, m in zip(new.notes.onset, new.notes.pitch, strict=True)]
    assert (0, 64) in both
    assert all(
        m != 60 or n + d <= STEP or n >= 3 * STEP
        for n, m, d in zip(new.notes.onset, new.notes.pitch, new.notes.duration, strict=True)
    )


def test_drums_are_no_pitches() -> None:
    drums = Track(0, "Drums", Notes.of(0, STEP, 40), channel=9)
    with pytest.raises(UserError, match="drum"):
        pianoroll.seat(Score((drums,)), Region(0, STEP, frozenset({0})), 4, 8)


@pytest.mark.parametrize("per_beat", [1, 2, 4])
def test_a_chorale_keeps_its_chords_on_every_grid(per_beat: int) -> None:
    chorale = made(32)
    roll = pianoroll.of_chorale(chorale, per_beat)
    each = 4 // per_beat
    first = int(np.argmax(chorale.position % each == 0))
    assert len(roll) == len(range(first, 32, each))
    for t in range(len(roll)):
        at = first + t * each
        sung_now = chorale.pitch[at][chorale.pitch[at] >= 0] - chorale.shift[at]
        assert np.flatnonzero(roll.sounds[t]).tolist() == sorted(set(sung_now - LOWEST))
    assert (roll.begins <= roll.sounds).all()


def saved(path: Path, **table: object) -> Path:
    np.savez(path, **table)  # type: ignore[arg-type]
    return path


def test_a_file_of_rolls_brings_those_to_validate_on(tmp_path: Path) -> None:
    rows = np.zeros((5, PITCHES), bool)
    rows[:, 40] = True
    for half, lengths in (("train", [2, 3]), ("valid", [5])):
        saved(
            tmp_path / f"x_{half}.npz", rolls=rows, lengths=np.array(lengths), lowest_pitch=LOWEST
        )
    found = pianoroll.read(tmp_path / "x_train.npz")
    assert [len(p) for p in found.pieces] == [2, 3]
    assert found.pieces[1].begins[:, 40].tolist() == [True, False, False]
    corpus = training.rolls(found, 4)
    assert [len(p) for p in corpus.valid] == [5]


def test_voices_become_keys(tmp_path: Path) -> None:
    path = saved(
        tmp_path / "v.npz", voices=np.array([[60, 55, -1, 48]], np.int16), lengths=np.array([1])
    )
    (piece,) = pianoroll.read(path).pieces
    assert np.flatnonzero(piece.sounds[0]).tolist() == [48 - LOWEST, 55 - LOWEST, 60 - LOWEST]


@pytest.mark.parametrize(
    "table",
    [
        {"rolls": np.zeros((4, 10), bool), "lengths": np.array([4])},
        {"rolls": np.zeros((4, PITCHES), bool), "lengths": np.array([3])},
        {"rolls": np.zeros((4, PITCHES), bool), "lengths": np.array([0, 4])},
        {"rolls": np.zeros((4, PITCHES), bool)},
        {"rolls": np.array([{"a": 1}], dtype=object), "lengths": np.array([1])},
    ],
)
def test_other_files_are_refused_in_a_sentence(tmp_path: Path, table: dict[str, object]) -> None:
    path = saved(tmp_path / "bad.npz", **table)
    with pytest.raises(UserError, match=r"bad\.npz"):
        pianoroll.read(path)
    (tmp_path / "cut.npz").write_bytes(path.read_bytes()[:40])
    with pytest.raises(UserError, match=r"cut\.npz"):
        pianoroll.read(tmp_path / "cut.npz")


def test_a_system_of_scores_refuses_rolls_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(tmp_path / "r.npz", rolls=np.ones((2, PITCHES), bool), lengths=np.array([2]))
    for words in (
        ["evaluate", "markov", "--data"],
        ["train", "markov", "-o", "x.safetensors", "--corpus"],
    ):
        assert cli.main([*words, str(path)]) == 2
        assert "piano rolls" in capsys.readouterr().err


def test_both_averages_of_nats() -> None:
    figures = pianoroll.per_frame([np.array([1.0, 1.0, 1.0]), np.array([5.0])])
    assert figures["nats_per_frame_by_frame"] == 2
    assert figures["nats_per_frame_by_piece"] == 3

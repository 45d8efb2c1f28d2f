"""Keeping what was performed: new notes once, edits before mutations, and how a performance was set."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from stage import BAR, quartet

from app.dials import DIALS, HEATS, heat, place
from app.rehearsed import FIRST_PART, SOUND, Rehearsed, fitting
from app.takes import Kept, added, evolved
from engine import edits
from engine.staging import LIVE, Mode, Quantum, modes
from models import catalogue
from models.score import EMPTY, Notes, Region, Score, Track, UserError
from models.timebase import PPQ, MeterMap

CARDS = catalogue.cards()


def live(onsets: list[int], index: int = 0) -> Track:
    """A part that plays quarters at these beats."""
    notes = Notes.of(np.array(onsets, np.int64) * PPQ, PPQ, 60 + np.arange(len(onsets)))
    return Track(LIVE + index, f"Part {index}", notes, channel=15 - index, program=48, port="Gear")


# --- new tracks ----------------------------------------------------------------------------------


def test_what_is_kept_twice_is_there_once() -> None:
    score, kept = added(quartet(), [live([4, 5]), live([], 1)], Kept())
    assert [t.name for t in score.tracks[4:]] == ["Part 0"], "an empty part makes no track"
    made = score.tracks[4]
    assert (made.channel, made.program, made.port) == (15, 48, "Gear")
    assert made.id < LIVE
    again, kept = added(score, [live([4, 5])], kept)
    assert again is score
    more, kept = added(score, [live([4, 5, 6]), live([6], 1)], kept)
    assert more.track(made.id).notes.onset.tolist() == [4 * PPQ, 5 * PPQ, 6 * PPQ]
    assert [t.name for t in more.tracks[4:]] == ["Part 0", "Part 1"]
    assert edits.distinct(more) is more, "every note has an id of its own"


def test_what_is_taken_back_can_be_kept_again() -> None:
    before = quartet()
    _, kept = added(before, [live([4, 5])], Kept())
    other = before.with_track(Track(before.next_track_id, "Mine", Notes.of([0], PPQ, 40)))
    score, _ = added(other, [live([4, 5])], kept)
    assert score.named("Mine") is other.named("Mine"), "the id was another's by then"
    assert len(score.tracks[-1].notes) == 2


def test_edited_notes_that_were_kept_stay_edited() -> None:
    score, kept = added(quartet(), [live([4, 5, 6])], Kept())
    home = score.tracks[-1]
    edited = edits.delete(score, home.notes.id[1:2])
    assert added(edited, [live([4, 5, 6])], kept)[0] is edited


# --- a loop that evolved -------------------------------------------------------------------------

LOOP = Region(PPQ, PPQ + 2 * BAR)


def mutated(score: Score, track_id: int, by: int) -> Track:
    """A track with its pitches moved."""
    track = score.track(track_id)
    return track.with_notes(track.notes.with_(pitch=track.notes.pitch.astype(np.int64) + by))


def test_a_mutated_loop_replaces_what_was_in_it_and_nothing_else() -> None:
    score = quartet()
    got = evolved(score, score, [mutated(score, 1, 2)], LOOP)
    pitches = got.track(1).notes.pitch.tolist()
    assert pitches == [67] + [69] * 8 + [67] * 8
    assert [got.track(i) is score.track(i) for i in (0, 2, 3)] == [True] * 3
    assert evolved(got, got, [got.track(1)], LOOP) is got, "nothing differs"
    assert evolved(score, score, [mutated(score, 1, 2)], None) is score, "there is no loop"


def test_locked_notes_stay() -> None:
    plain = quartet()
    score = edits.set_locked(plain, plain.track(1).notes.id[2:4], True)
    for take in (mutated(score, 1, 2), mutated(plain, 1, 2)):
        got = evolved(score, score, [take], LOOP).track(1).notes
        assert got.pitch[got.locked].tolist() == [67, 67]
        assert got.onset[got.locked].tolist() == [2 * PPQ, 3 * PPQ]
    same = evolved(score, score, [score.track(1)], LOOP)
    assert same is score


def test_bars_edited_since_win_over_the_mutation() -> None:
    base = quartet()
    score = edits.move(base, base.track(1).notes.id[2:3], semitones=-5)
    got = evolved(score, base, [mutated(base, 1, 2)], LOOP).track(1).notes
    assert got.pitch.tolist() == [67, 67, 62, 67, 67] + [69] * 4 + [67] * 8


# --- how it was set ------------------------------------------------------------------------------


def test_chords_follow_on_the_next_beat_to_begin_with() -> None:
    usual = Rehearsed.read("", CARDS)
    assert {m: s.quantum for m, s in usual.settings.items()} == {
        Mode.ANSWER: Quantum.BAR,
        Mode.HARMONISE: Quantum.BEAT,
        Mode.STREAM: Quantum.BAR,
        Mode.MUTATE: Quantum.BAR,
    }
    told = usual.in_mode(Mode.HARMONISE).with_setting(quantum=Quantum.BAR)
    assert Rehearsed.read(told.text(), CARDS).setting.quantum is Quantum.BAR


def test_what_is_written_is_read_again() -> None:
    first = Rehearsed.read("", CARDS)
    told = (
        first.in_mode(Mode.MUTATE)
        .with_setting(system="rbm_c", share=0.5, passes=3, voice=2)
        .in_mode(Mode.ANSWER)
        .with_setting(bars=7, density=1.5, register=-1, quantum=Quantum.BEAT, rest=2.0, repeat=True)
    )
    told = told.with_param(catalogue.card(told.setting.system), "temperature", 1.25)
    told = replace(told, parts=(replace(FIRST_PART, port="Gear", channel=3, offset=-20),))
    again = Rehearsed.read(told.text(), CARDS)
    assert again.setting == told.setting
    mutate = again.in_mode(Mode.MUTATE).setting
    assert mutate == replace(told.in_mode(Mode.MUTATE).setting, voice=None)
    assert set(SOUND) <= set(json.loads(told.text())["parts"][0])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "3",
        "[" * 100_000,
        '{"mode": "dance", "settings": {"answer": {"system": "nobody", "bars": 99, "rest": "x"}}}',
        '{"mode": ["answer"], "settings": 5, "params": {"markov": {"temperature": 9e9, "order": [1]}}}',
        '{"parts": [3, {"channel": true, "port": 5, "program": 128}], "params": {"markov": 3}}',
        '{"settings": {"stream": {"quantum": {}, "bars": 2.5, "density": null, "repeat": 1}}}',
    ],
)
def test_what_makes_no_sense_is_left_out(text: str) -> None:
    usual, got = Rehearsed.read("{}", CARDS), Rehearsed.read(text, CARDS)
    assert got.settings == usual.settings
    assert got.params == usual.params
    assert got.mode is Mode.ANSWER
    assert all((p.port, p.channel, p.program) == ("", 15, 0) for p in got.parts)


def test_a_parameter_out_of_its_range_is_refused() -> None:
    told = Rehearsed.read("", CARDS)
    with pytest.raises(UserError, match="temperature"):
        told.with_param(catalogue.card("markov"), "temperature", 99.0)


@pytest.mark.parametrize("mode", Mode)
def test_every_mode_has_systems_and_a_usual_one_among_them(mode: Mode) -> None:
    ids = [card.id for card in fitting(CARDS, mode)]
    assert Rehearsed.read("", CARDS).in_mode(mode).setting.system in ids
    assert Rehearsed.read("", ()).in_mode(mode).setting.system == ""
    for card in CARDS:
        param = heat(card, mode)
        assert param is None or param.name in HEATS
        assert (card.id in ids) == (mode in modes(card))


# --- where one is --------------------------------------------------------------------------------


def test_bars_and_beats_are_counted_as_musicians_do() -> None:
    score = quartet()  # a pickup of one beat
    assert place(score, 0.0) == (0, 4, 4, 0.0)
    assert place(score, PPQ * 1.5) == (1, 1, 4, 0.5)
    assert place(score, float(PPQ + 2 * BAR + 3 * PPQ)) == (3, 4, 4, 0.0)
    compound = Score((Track(0, "x", EMPTY),), meter=MeterMap([0], [6], [8]))
    assert place(compound, PPQ * 1.5) == (1, 2, 2, 0.0)


def test_dials_hold_what_they_can() -> None:
    assert DIALS["bars"].fit(3.4) == 3
    assert DIALS["bars"].fit(99) == 16
    assert DIALS["density"].fit(-9.0) == -3
    assert DIALS["share"].fit(0.333) == pytest.approx(0.33)

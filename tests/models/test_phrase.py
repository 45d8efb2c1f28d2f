"""From a region to tokens and back: what did not change comes back as it was played."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from coders import melody
from hypothesis import given, settings
from hypothesis import strategies as st

from models.representations import phrase, rewriting
from models.representations.melody import BAR, FIRST, HOLD, REST, TOKENS, Tokens, pitch, repaired
from models.score import Key, Notes, Region, Score, Track, UserError, splice
from models.timebase import PPQ, SIXTEENTH, MeterMap

BARS = 4
END = BARS * phrase.BAR_TICKS


def piece(notes: Notes, meter: MeterMap | None = None, channel: int = 0) -> Score:
    other = Track(9, "Other", Notes.of([0], PPQ, [40], first_id=10_000))
    return Score((Track(0, "Tune", notes, channel=channel), other), meter=meter or MeterMap())


def plain(notes: Notes) -> list[tuple[int, ...]]:
    """Notes as a musician compares them: everything but the ids."""
    columns = (notes.onset, notes.duration, notes.pitch, notes.velocity, notes.voice, notes.locked)
    return sorted(zip(*(c.tolist() for c in columns), strict=True))


def rewritten(score: Score, region: Region, tokens: Tokens | None = None) -> Score:
    """The score with its region's melody written anew: as it is, or as `tokens`."""
    place, line = phrase.read(score, region, "X")
    new = rewriting.write(line, line.tokens if tokens is None else tokens, place)
    return splice(score, region, [place.track.with_notes(new)])


@st.composite
def on_the_grid(draw: st.DrawFn) -> Notes:
    """One voice of sixteenths and longer, each note with a velocity and a voice of its own."""
    cuts = sorted(draw(st.sets(st.integers(0, BARS * BAR - 1), min_size=1, max_size=30)))
    last = [*cuts[1:], BARS * BAR]
    length = [draw(st.integers(1, b - a)) for a, b in zip(cuts, last, strict=True)]
    n = len(cuts)
    numbers = st.lists(st.integers(0, 126), min_size=n, max_size=n)
    return Notes.of(
        np.array(cuts) * SIXTEENTH,
        np.array(length) * SIXTEENTH,
        draw(numbers),
        np.array(draw(numbers)) + 1,
        voice=draw(numbers),
    )


@st.composite
def played(draw: st.DrawFn) -> Notes:
    """Anything a track may hold: chords, any ticks, locked notes."""
    n = draw(st.integers(1, 25))

    def some(low: int, high: int) -> list[int]:
        return draw(st.lists(st.integers(low, high), min_size=n, max_size=n))

    return Notes.of(
        some(0, END + 500),
        some(1, 3000),
        some(0, 127),
        some(1, 127),
        voice=some(0, 3),
        locked=np.array(some(0, 5)) == 0,
    )


@settings(max_examples=40)
@given(on_the_grid(), st.sampled_from([2, 16]))
def test_a_line_on_the_grid_comes_back_through_windows_exactly(notes: Notes, bars: int) -> None:
    score, region = piece(notes), Region(0, END, frozenset({0}))
    place, line = phrase.read(score, region, "X")
    windows = phrase.windows(line.tokens, bars)
    assert windows.shape[1] == bars * BAR
    assert (repaired(windows) == windows).all()
    tokens = phrase.joined(windows, line.tokens)
    assert tokens.tolist() == line.tokens.tolist()
    assert plain(rewriting.write(line, tokens, place)) == plain(notes)


@settings(max_examples=40)
@given(played(), st.integers(0, 2 * BARS - 1), st.integers(1, END))
def test_whatever_is_played_comes_back_exactly_when_nothing_changes(
    notes: Notes, start: int, length: int
) -> None:
    score = piece(notes)
    region = Region(start * PPQ, start * PPQ + length, frozenset({0}))
    try:
        after = rewritten(score, region)
    except UserError:  # nothing there may change
        return
    assert plain(after.track(0).notes) == plain(notes)
    assert after.track(9) is score.track(9)


@settings(max_examples=40)
@given(played(), st.integers(0, 2**32 - 1), st.integers(0, END - 1), st.integers(1, END))
def test_new_notes_keep_inside_and_off_what_stays(
    notes: Notes, seed: int, start: int, length: int
) -> None:
    score, region = piece(notes), Region(start, start + length, frozenset({0}))
    try:
        place, line = phrase.read(score, region, "X")
    except UserError:
        return
    rng = np.random.default_rng(seed)
    tokens = repaired(rng.integers(0, TOKENS, len(line.tokens)).astype(np.uint8))
    new = rewriting.write(line, tokens, place)
    assert new.inside(region.start, region.end).all()
    after = splice(score, region, [place.track.with_notes(new)]).track(0).notes
    owned = region.owned(score.track(0))
    kept = notes.where(~owned)
    assert after.where(after.having(kept.id)) == kept
    begun = {(onset, p) for onset, _, p, *_ in plain(notes)}
    fresh = [n for n in plain(new) if (n[0], n[2]) not in begun]
    for onset, duration, p, *_ in fresh:
        assert not place.stays.sounding(onset, onset + duration).any()
        under = place.beneath.where(place.beneath.pitch == p)
        assert not under.sounding(onset, onset + duration).any()
    for (a, d, *_), (b, *_) in pairwise(fresh):
        assert a + d <= b
    longer = set(plain(new)) - set(plain(notes)) - set(fresh)
    for onset, duration, *_ in longer:  # what keeps its beginning ends before the next that stays
        assert not ((place.stays.onset > onset) & (place.stays.onset < onset + duration)).any()


@settings(max_examples=40)
@given(on_the_grid(), st.integers(0, 2**32 - 1))
def test_a_new_note_is_as_loud_as_what_sounds_nearest(notes: Notes, seed: int) -> None:
    score, region = piece(notes), Region(0, END, frozenset({0}))
    place, line = phrase.read(score, region, "X")
    tokens = repaired(
        np.random.default_rng(seed).integers(0, TOKENS, len(line.tokens)).astype(np.uint8)
    )
    new = rewriting.write(line, tokens, place)
    assert len(new) == (tokens >= FIRST).sum()
    for onset, velocity in zip(new.onset, new.velocity, strict=True):
        away = np.maximum(np.maximum(notes.onset - onset, onset + 1 - notes.end), 0)
        assert velocity in notes.velocity[away == away.min()]


def humanised() -> Notes:
    """Quarters C D E F G A B C, each early or late and short."""
    late = np.array([0, 20, 7, -35, 12, 50, 0, 9])
    return Notes.of(
        np.arange(8) * PPQ + late, 700, [60, 62, 64, 65, 67, 69, 71, 72], np.arange(8) + 70
    )


def test_only_what_changed_is_put_on_the_grid() -> None:
    score, region = piece(humanised()), Region(0, 2 * phrase.BAR_TICKS, frozenset({0}))
    place, line = phrase.read(score, region, "X")
    tokens = line.tokens.copy()
    tokens[12] = FIRST + 30  # F becomes F sharp
    tokens[18] = FIRST + 20  # and in the middle of the G something begins
    notes = rewriting.write(line, tokens, place)
    before, after = plain(humanised()), plain(notes)
    assert [n for n in after if n not in before] == [
        (2880, 720, 66, 73, 0, False),
        (3852, 468, 67, 74, 0, False),  # the G keeps its beginning
        (4320, 240, 56, 74, 0, False),
    ]
    assert len(after) == 9


def test_grace_notes_come_back_with_the_note_they_lead_to() -> None:
    notes = Notes.of([0, 900, 960, 1920], [900, 50, 960, 960], [60, 71, 72, 64])
    score, region = piece(notes), Region(0, phrase.BAR_TICKS, frozenset({0}))
    place, line = phrase.read(score, region, "X")
    assert (line.tokens >= FIRST).sum() == 3
    tokens = line.tokens.copy()
    tokens[8] += 1
    assert rewriting.write(line, tokens, place).pitch.tolist() == [60, 71, 72, 65]
    tokens[4] += 1
    assert rewriting.write(line, tokens, place).pitch.tolist() == [60, 73, 65]


def test_of_chords_the_top_is_heard_and_the_rest_stays() -> None:
    chords = Notes.of(
        np.repeat([0, PPQ, 2 * PPQ], 3) + [0, 9, 18] * 3,
        PPQ,
        [48, 55, 64, 48, 57, 65, 48, 55, 67],
        [40, 41, 90] * 3,
    )
    score, region = piece(chords), Region(0, phrase.BAR_TICKS, frozenset({0}))
    place, line = phrase.read(score, region, "X")
    assert pitch(line.tokens[line.tokens >= FIRST]).tolist() == [64, 65, 67]
    tokens = line.tokens.copy()
    tokens[4] = FIRST + 57 - 36  # the top goes to where another voice is: it is left to that
    tokens[8] = FIRST + 72 - 36
    after = rewriting.write(line, tokens, place)
    expected = [n for n in plain(chords) if n[2] not in (65, 67)] + [(1920, 960, 72, 90, 0, False)]
    assert plain(after) == sorted(expected)


def test_a_melody_played_legato_is_one_line() -> None:
    legato = Notes.of(np.arange(8) * PPQ, PPQ + 100, [72, 71, 69, 67, 65, 64, 62, 60])
    assert phrase.skyline(legato).all()
    held = Notes.of([0, PPQ, 2 * PPQ], [4 * PPQ, PPQ, PPQ], [72, 60, 76])
    assert phrase.skyline(held).tolist() == [True, False, True]


@pytest.mark.parametrize(("low", "shift"), [(24, 36), (36, 24), (60, 0), (100, -24)])
def test_a_line_far_from_where_melodies_lie_moves_there_and_back(low: int, shift: int) -> None:
    notes = Notes.of(np.arange(8) * PPQ, PPQ, low + np.arange(8))
    score, region = piece(notes), Region(0, 2 * phrase.BAR_TICKS, frozenset({0}))
    place, line = phrase.read(score, region, "X")
    assert line.shift == shift
    low_, high = phrase.USUAL
    heard = pitch(line.tokens[line.tokens >= FIRST])
    assert low_ <= heard.mean() <= high
    tokens = line.tokens.copy()
    tokens[0] += 1
    assert rewriting.write(line, tokens, place).pitch.tolist() == [
        low + 1,
        *range(low + 1, low + 8),
    ]


def test_notes_beyond_every_octave_come_back() -> None:
    notes = Notes.of(np.arange(4) * PPQ, PPQ, [0, 60, 127, 60])
    score, region = piece(notes), Region(0, phrase.BAR_TICKS, frozenset({0}))
    assert plain(rewritten(score, region).track(0).notes) == plain(notes)
    assert phrase.folded([-13, 0, 127, 128, 151]).tolist() == [11, 0, 127, 116, 127]


# --- bars and metres -----------------------------------------------------------------------------


def metre(*changes: tuple[int, int, int], pickup: int = 0) -> MeterMap:
    tick, numerator, denominator = np.array(changes).T
    return MeterMap(tick, numerator, denominator, pickup)


@pytest.mark.parametrize(
    ("meter", "start", "end", "expected"),
    [
        (metre((0, 4, 4)), 0, 3840, (0, 1)),
        (metre((0, 4, 4)), 3840, 3840 * 41, (3840, 40)),
        (metre((0, 4, 4)), 4800, 7680, (3840, 1)),
        (metre((0, 4, 4)), 4000, 7681, (3840, 2)),
        (metre((0, 2, 2)), 0, 7680, (0, 2)),
        (metre((0, 4, 4), (3840, 2, 2)), 0, 7680, (0, 2)),
        (metre((0, 2, 4)), 0, 7680, (0, 2)),
        (metre((0, 2, 4)), 1920, 7680, (1920, 2)),
        (metre((0, 4, 4), pickup=960), 0, 960 + 3840, (960, 1)),
        (metre((0, 4, 4), pickup=960), 960, 960 + 3840, (960, 1)),
        (metre((0, 3, 4), (2880, 4, 4)), 2880, 6720, (2880, 1)),
    ],
)
def test_where_the_grid_lies(
    meter: MeterMap, start: int, end: int, expected: tuple[int, int]
) -> None:
    assert phrase.grid(meter, start, end, "X") == expected


@pytest.mark.parametrize(
    ("meter", "end", "words"),
    [
        (metre((0, 3, 4)), 2880, "X knows 4/4, 2/2 and 2/4, and bar 1 is in 3/4"),
        (metre((0, 5, 8)), 2400, "bar 1 is in 5/8"),
        (metre((0, 6, 8)), 2880, "bar 1 is in 6/8"),
        (metre((0, 4, 4), (7680, 3, 4)), 9600, "bar 3 is in 3/4"),
        (metre((0, 4, 4), (7680, 2, 4)), 9600, "changes at bar 3"),
        (metre((0, 2, 4), (3840, 4, 4)), 9600, "changes at bar 3"),
        (metre((0, 4, 4), (4800, 4, 4)), 9600, "changes at bar 2"),
        (metre((0, 4, 4), pickup=960), 960, "a whole bar"),
        (metre((0, 4, 4)), 3840 * 2000, "1000 bars at most"),
    ],
)
def test_other_metres_are_refused_with_a_sentence(meter: MeterMap, end: int, words: str) -> None:
    with pytest.raises(UserError, match=words) as refused:
        phrase.grid(meter, 0, end, "X")
    assert str(refused.value).endswith((".",))


def test_an_upbeat_stays_as_it_is_and_is_not_heard() -> None:
    notes = Notes.of([0, 480, 960, 1920, 2880, 3840], [480, 480, 960, 960, 960, 960], range(60, 66))
    score = piece(notes, metre((0, 4, 4), pickup=960))
    region = Region(0, 4800, frozenset({0}))
    place, line = phrase.read(score, region, "X")
    assert (line.start, line.tokens[0]) == (960, FIRST + 62 - 36)
    silence = np.full(BAR, REST, np.uint8)
    assert plain(rewriting.write(line, silence, place)) == plain(notes.where(notes.onset < 960))
    assert plain(rewritten(score, region).track(0).notes) == plain(notes)


def test_locked_and_crossing_notes_are_heard_and_stay() -> None:
    notes = Notes.of(
        [0, 3600, 4800, 5760, 7440],
        [960, 480, 960, 960, 480],
        [60, 62, 64, 65, 67],
        locked=[False, False, True, False, False],
    )
    score, region = piece(notes), Region(3840, 7680, frozenset({0}))
    place, line = phrase.read(score, region, "X")
    assert line.given.nonzero()[0].tolist() == [0, 4, 5, 6, 7, 15]
    tokens = np.full(BAR, FIRST + 40, np.uint8)
    new = rewriting.write(line, tokens, place)
    steps = (new.onset - 3840) // SIXTEENTH
    assert steps.tolist() == [1, 2, 3, *range(8, 15)]


# --- phrases from elsewhere ----------------------------------------------------------------------


def test_a_phrase_is_repeated_until_it_fills_its_place_and_cut() -> None:
    tokens = melody((0, 4, 60), (4, 12, 64), (16, 8, 67), (28, 4, 72))
    line = phrase.made(tokens, lambda tick: 64 + tick // PPQ, 0)
    place = phrase.clear(Score(), Region(3840, 3840 + 3 * phrase.BAR_TICKS), "X")
    laid = phrase.laid(line, place)
    assert laid.tokens.tolist() == [*tokens, *tokens[:BAR]]
    notes = rewriting.write(laid, laid.tokens, place)
    assert notes.onset.tolist() == [3840, 4800, 7680, 10560, 11520, 12480]
    assert notes.duration.tolist() == [960, 2880, 1920, 960, 960, 2880]
    assert notes.velocity.tolist() == [64, 65, 68, 71, 64, 65]
    assert (place.track.name, place.track.id) == ("Melody", 0)


def test_a_polyphonic_phrase_is_laid_with_all_its_notes() -> None:
    chords = Notes.of([0, 5, PPQ, PPQ], [PPQ, 900, 800, 700], [60, 48, 62, 50], [9, 8, 7, 6])
    line = phrase.alone(piece(chords), "X")
    place = phrase.clear(piece(chords), Region(3840, 7680, frozenset({0})), "X")
    laid = phrase.laid(line, place)
    notes = rewriting.write(laid, laid.tokens, place)
    assert plain(notes) == plain(chords.with_(onset=chords.onset + 3840))


def test_a_phrase_without_notes_or_in_another_metre_is_named() -> None:
    with pytest.raises(UserError, match="B has no notes"):
        phrase.alone(Score(), "X", "B")
    with pytest.raises(UserError, match="A phrase has no notes"):
        phrase.alone(Score((Track(0, "Drums", humanised(), channel=9),)), "X")
    with pytest.raises(UserError, match="bar 1 of B is in 3/4"):
        phrase.alone(piece(humanised(), metre((0, 3, 4))), "X", "B")
    short = Score((Track(0, "A", Notes.of([0], 480, [60])),), meter=metre((0, 4, 4), pickup=960))
    with pytest.raises(UserError, match="whole bar"):
        phrase.alone(short, "X")


def test_an_excerpt_begins_at_its_first_bar_and_sounds_as_there() -> None:
    score = replace(piece(humanised()), keys=(Key(0, 1), Key(3840, -2, True)))
    cut = phrase.excerpt(score, score.track(0), 3840, 3840 + 2 * PPQ)
    assert plain(cut.tracks[0].notes) == [
        (12, 700, 67, 74, 0, False),
        (1010, 700, 69, 75, 0, False),
    ]
    assert cut.keys == (Key(0, -2, True),)
    assert len(cut.tracks) == 1


@pytest.mark.parametrize(
    ("tracks", "words"),
    [(frozenset(), "No track is marked"), (frozenset({1}), "A drum track has no melody")],
)
def test_a_request_for_no_track_is_refused(tracks: frozenset[int], words: str) -> None:
    score = Score((Track(0, "A", humanised()), Track(1, "Kit", humanised(), channel=9)))
    with pytest.raises(UserError, match=words):
        phrase.chosen(score, Region(0, 3840, tracks))


def test_of_several_tracks_the_first_with_notes_there_is_taken() -> None:
    late = humanised().with_(onset=humanised().onset + END)
    score = Score((Track(0, "A", late), Track(1, "B", humanised())))
    assert phrase.chosen(score, Region(0, 3840, frozenset({0, 1}))).name == "B"
    assert phrase.chosen(score, Region(0, END + 99, frozenset({0, 1}))).name == "A"


def test_silence_is_refused_with_the_track_named() -> None:
    with pytest.raises(UserError, match=r"Tune has no notes that may change there"):
        phrase.read(piece(humanised()), Region(END, 2 * END, frozenset({0})), "X")
    locked = humanised().with_(locked=True)
    with pytest.raises(UserError, match="no notes that may change"):
        phrase.read(piece(locked), Region(0, END, frozenset({0})), "X")


# --- windows -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bars", "size", "order"),
    [(1, 2, [0, 0]), (3, 2, [0, 1, 2, 0]), (5, 16, [0, 1, 2, 3, 4] * 3 + [0]), (2, 2, [0, 1])],
)
def test_odd_lengths_are_filled_up_by_repeating(bars: int, size: int, order: Sequence[int]) -> None:
    tokens = np.repeat(np.arange(bars, dtype=np.uint8) + FIRST, BAR)
    windows = phrase.windows(tokens, size)
    assert windows.reshape(-1, BAR)[:, 0].tolist() == [k + FIRST for k in order]


def test_a_note_cut_by_a_window_is_two_there_and_one_again() -> None:
    tokens = np.concatenate([melody((28, 4, 60)), np.full(4, HOLD), np.zeros(28)]).astype(np.uint8)
    windows = phrase.windows(tokens, 2)
    assert windows[1, :5].tolist() == [26, HOLD, HOLD, HOLD, REST]
    assert phrase.joined(windows, tokens).tolist() == tokens.tolist()
    changed: Any = windows.copy()
    changed[0, 28] += 2  # another pitch before: what follows is a note of its own
    assert phrase.joined(changed, tokens)[32] == 26

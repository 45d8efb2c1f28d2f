"""Retrospective record: what was played in comes back as notes, by the time that was in force then."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.capture import Recorder, take
from engine.capture_bars import Passes, Place, Wish
from engine.playback import Anchor, Played
from engine.quantising import Quantise
from models.score import Notes, Score, Track, UserError
from models.timebase import PPQ, TempoMap

BAR = 4 * PPQ
MS = 1_000_000
NOW = 1_000_000 * MS
BEAT_NS = 500 * MS
AT_120 = Score(tempo=TempoMap.constant(120))
EXACT = Quantise(strength=0)


class Player:
    """A recorder, a transport and a keyboard, all at moments of the test's choosing."""

    def __init__(self, score: Score = AT_120, **limits: int) -> None:
        self.score = score
        self.recorder = Recorder(**limits)

    def transport(
        self, at: int, tick: float, playing: bool = True, loop: tuple[int, int] | None = None
    ) -> None:
        self.recorder.anchored(Anchor(tick, at, playing), self.score.tempo, loop)

    def send(self, at: int, *message: int, source: str = "") -> None:
        self.recorder.heard(Played(at, bytes(message), source))

    def key(
        self, at: int, pitch: int, length: int = 200 * MS, *, velocity: int = 80, source: str = ""
    ) -> None:
        self.send(at, 0x90, pitch, velocity, source=source)
        self.send(at + length, 0x80, pitch, 0, source=source)

    def kept(self, wish: Wish | None = None, now: int = NOW, playhead: int = 0) -> Notes:
        passage = self.recorder.passage(wish or Wish(), self.score, playhead, now)
        return take(passage, EXACT).untouched


def rows(notes: Notes) -> list[tuple[int, int]]:
    return list(zip(notes.onset.tolist(), notes.pitch.tolist(), strict=True))


# --- with the transport --------------------------------------------------------------------------


def test_notes_come_back_at_the_ticks_they_were_played_at() -> None:
    player = Player()
    player.transport(1_000 * MS, 0)
    player.key(1_000 * MS + BEAT_NS + 7 * MS, 60, velocity=33)
    notes = player.kept()
    assert rows(notes) == [(PPQ + round(7 * MS * 960 / BEAT_NS), 60)]
    assert notes.duration.tolist() == [384]
    assert notes.velocity.tolist() == [33]


def test_the_last_bars_end_with_the_bar_of_the_last_note_however_long_it_was_ago() -> None:
    player = Player()
    player.transport(0, 0)
    for beat in range(40):  # bars 1 to 10
        player.key(beat * BEAT_NS + 2 * MS, 60)
    passage = player.recorder.passage(Wish(bars=8), AT_120, 0, 600 * BEAT_NS)
    assert (passage.start, passage.length) == (2 * BAR, 8 * BAR)
    assert len(passage.notes) == 32


def test_a_tempo_change_counts_from_the_moment_it_came() -> None:
    player = Player()
    player.transport(0, 0)
    player.key(3 * BEAT_NS, 60)
    player.score = replace(player.score, tempo=TempoMap.constant(60))
    player.transport(4 * BEAT_NS, 4 * PPQ)
    player.key(4 * BEAT_NS + 2 * BEAT_NS, 62)  # a beat at 60
    assert rows(player.kept()) == [(3 * PPQ, 60), (5 * PPQ, 62)]


def test_a_clock_that_is_followed_bends_time_between_its_anchors() -> None:
    player = Player()
    player.transport(0, 0)
    player.key(BEAT_NS, 60)
    player.transport(2 * BEAT_NS, 2 * PPQ + 40)  # it was 2 % faster than the tempo said
    player.key(2 * BEAT_NS, 62)
    assert rows(player.kept()) == [(PPQ + 20, 60), (2 * PPQ + 40, 62)]


@pytest.mark.parametrize(
    ("anchor", "tick"),
    [
        (Anchor(2.0 * PPQ, 2 * BEAT_NS, True, bpm=60), 3 * PPQ),
        (Anchor(2.0 * PPQ, 2 * BEAT_NS, True, rate=1.5), 5 * PPQ),
    ],
)
def test_a_clock_that_is_followed_says_its_tempo(anchor: Anchor, tick: int) -> None:
    player = Player()
    player.transport(0, 0)
    player.recorder.anchored(anchor, player.score.tempo)
    player.key(4 * BEAT_NS, 60)
    assert rows(player.kept()) == [(tick, 60)]


def test_a_note_just_before_play_belongs_to_the_first_bar() -> None:
    player = Player()
    player.key(1_000 * MS - 20 * MS, 60)
    player.transport(1_000 * MS, 8 * PPQ)
    player.key(1_000 * MS + BEAT_NS, 62)
    early = round(20 * MS * 960 / BEAT_NS)
    assert rows(player.kept()) == [(8 * PPQ - early, 60), (9 * PPQ, 62)]


def test_a_seek_begins_anew_and_what_was_before_can_still_be_had() -> None:
    player = Player()
    player.transport(0, 0)
    player.key(BEAT_NS, 60)
    player.transport(8 * BEAT_NS, 100 * BAR)
    player.key(9 * BEAT_NS, 62)
    assert rows(player.kept()) == [(100 * BAR + PPQ, 62)]
    assert rows(player.kept(Wish(stretch=1))) == [(PPQ, 60)]


def test_a_touch_after_stop_does_not_hide_what_was_played_before() -> None:
    player = Player()
    player.transport(0, 0)
    player.key(BEAT_NS, 60)
    player.transport(8 * BEAT_NS, 8 * PPQ, playing=False)
    player.key(10 * BEAT_NS, 40)
    found = player.recorder.stretches(AT_120, 0, 20 * BEAT_NS)
    assert [(s.playing, s.notes) for s in found] == [(False, 1), (True, 1)]
    assert rows(player.kept(Wish(stretch=1))) == [(PPQ, 60)]


def test_a_note_held_over_a_stop_is_as_long_as_it_was_held() -> None:
    player = Player()
    player.transport(0, 0)
    player.key(BEAT_NS, 60, 3 * BEAT_NS)
    player.transport(2 * BEAT_NS, 2 * PPQ, playing=False)
    assert player.kept().duration.tolist() == [3 * PPQ]


def test_latency_is_taken_off() -> None:
    player = Player()
    player.transport(0, 0)
    player.key(BEAT_NS + 12 * MS, 60)
    assert rows(player.kept(Wish(latency_ms=12))) == [(PPQ, 60)]


# --- loops ---------------------------------------------------------------------------------------


def looped(passes: int = 3) -> Player:
    """Round bars 3 and 4 from bar 3 on; pass k strikes pitch 60 + k on its second beat."""
    player = Player()
    loop = (2 * BAR, 4 * BAR)
    for k in range(passes):
        player.transport(k * 8 * BEAT_NS, 2 * BAR, loop=loop)
        player.key(k * 8 * BEAT_NS + BEAT_NS, 60 + k)
    return player


def test_the_last_pass_of_a_loop_stands_alone() -> None:
    player = looped()
    assert rows(player.kept()) == [(2 * BAR + PPQ, 62)]
    assert rows(player.kept(Wish(back=1))) == [(2 * BAR + PPQ, 61)]
    passage = player.recorder.passage(Wish(), AT_120, 0, NOW)
    assert passage.start == 2 * BAR


def test_passes_lie_on_top_of_each_other_or_end_to_end() -> None:
    player = looped()
    layered = player.kept(Wish(passes=Passes.LAYERED))
    assert rows(layered) == [(2 * BAR + PPQ, 60 + k) for k in range(3)]
    laid = player.kept(Wish(passes=Passes.UNROLLED))
    assert rows(laid) == [(2 * BAR + PPQ + k * 2 * BAR, 60 + k) for k in range(3)]
    last = player.recorder.passage(Wish(bars=4, passes=Passes.UNROLLED), AT_120, 0, NOW)
    assert last.start == 3 * BAR  # its first bar is the second of pass 2


def test_a_stroke_ahead_of_the_loop_opens_the_next_pass() -> None:
    player = looped(2)
    loop = (2 * BAR, 4 * BAR)
    player.key(16 * BEAT_NS - 20 * MS, 72, 2 * BEAT_NS)  # for the pass that begins at 16
    player.transport(16 * BEAT_NS, 2 * BAR, loop=loop)
    player.key(17 * BEAT_NS, 62)
    early = round(20 * MS * 960 / BEAT_NS)
    passage = player.recorder.passage(Wish(), AT_120, 0, NOW)
    exact = take(passage, EXACT).untouched
    assert rows(exact) == [(2 * BAR + PPQ, 62), (4 * BAR - early, 72)]
    assert exact.end.max() <= 4 * BAR  # as the loop will play it: cut where it jumps
    whole = take(passage, Quantise()).quantised
    assert rows(whole) == [(2 * BAR, 72), (2 * BAR + PPQ, 62)]
    assert whole.duration.tolist()[0] == 2 * PPQ


# --- without the transport -----------------------------------------------------------------------


def test_free_playing_begins_a_bar_with_its_first_note_where_the_playhead_is() -> None:
    player = Player()
    for k in range(4):
        player.key(777 * MS + k * BEAT_NS, 60 + k)
    passage = player.recorder.passage(Wish(), AT_120, 2 * BAR + 100, NOW)
    assert passage.start == 2 * BAR
    assert passage.length == BAR
    assert passage.notes.onset.tolist() == [2 * BAR + k * PPQ for k in range(4)]


def test_free_playing_can_go_after_the_music() -> None:
    score = replace(AT_120, tracks=(Track(0, "Piano", Notes.of([0], [BAR + 1], [60])),))
    player = Player(score)
    player.key(0, 60)
    assert rows(player.kept(Wish(place=Place.END))) == [(2 * BAR, 60)]


def test_free_playing_keeps_its_last_bars_counted_from_where_it_began() -> None:
    player = Player()
    for beat in range(22):
        player.key(beat * BEAT_NS, 60 + beat)
    notes = player.kept(Wish(bars=2))
    assert rows(notes) == [(k * PPQ, 76 + k) for k in range(6)]  # bars 5 and 6 of the playing


def test_a_long_silence_parts_free_playing() -> None:
    player = Player()
    player.key(0, 60)
    player.key(30 * BEAT_NS, 62)
    assert rows(player.kept()) == [(0, 62)]
    assert rows(player.kept(Wish(stretch=1))) == [(0, 60)]


def test_free_playing_lies_on_the_bars_by_its_own_tempo() -> None:
    player = Player()
    steps = np.cumsum([0, 2, 2, 1, 1, 2, 4, 2, 2, 1, 1, 2, 4, 2, 2, 1, 1, 2, 4])
    beat = 60e9 / 93
    for step in steps.tolist():
        player.key(round(step * beat / 2), 60)
    passage = player.recorder.passage(Wish(bars=16, own_tempo=True), AT_120, 0, NOW)
    assert passage.bpm == pytest.approx(93, rel=0.005)
    assert np.abs(passage.notes.onset - steps * PPQ // 2).max() < 0.01 * steps[-1] * PPQ
    player.score = replace(AT_120, tempo=TempoMap.constant(60))
    none = Player()
    none.key(0, 60)
    assert none.recorder.passage(Wish(own_tempo=True), AT_120, 0, NOW).bpm is None


# --- inputs, controllers, bounds ------------------------------------------------------------------


def test_inputs_are_merged_or_apart_and_one_keyboard_on_two_ports_is_one() -> None:
    player = Player()
    player.transport(0, 0)
    player.key(BEAT_NS, 60, source="A")
    player.key(BEAT_NS + 3 * MS, 60, source="B")
    player.key(2 * BEAT_NS, 64, source="B")
    assert rows(player.kept()) == [(PPQ, 60), (2 * PPQ, 64)]
    assert [p for _, p in rows(player.kept(Wish(source="B")))] == [60, 64]
    assert player.recorder.sources == ("A", "B")
    player.recorder.ignored = frozenset({"C"})
    player.key(3 * BEAT_NS, 65, source="C")
    assert len(player.kept()) == 2


def test_an_input_that_goes_away_ends_what_it_held() -> None:
    player = Player()
    player.transport(0, 0)
    player.send(0, 0x90, 60, 80, source="A")
    player.recorder.lost("A", BEAT_NS)
    player.key(4 * BEAT_NS, 62, source="A")
    assert player.kept(Wish(source="A")).duration.tolist()[0] == PPQ


def test_what_is_held_at_the_moment_ends_there() -> None:
    player = Player()
    player.transport(0, 0)
    player.send(0, 0x90, 60, 80)
    assert player.kept(now=2 * BEAT_NS).duration.tolist() == [2 * PPQ]
    player.send(3 * BEAT_NS, 0xB0, 123, 0)
    assert player.kept().duration.tolist() == [3 * PPQ]


def test_pedal_and_bend_are_kept_and_left_at_rest() -> None:
    player = Player()
    player.transport(0, 0)
    player.send(BEAT_NS, 0xB0, 64, 127)
    player.send(5 * BEAT_NS, 0xE0, 0, 80)
    player.send(5 * BEAT_NS, 0xC0, 3)
    player.key(6 * BEAT_NS, 60)
    wish = Wish(bars=1)
    controls = player.recorder.passage(wish, AT_120, 0, NOW).controls
    columns = (controls.tick, controls.status, controls.data1, controls.data2)
    assert list(zip(*(c.tolist() for c in columns), strict=True)) == [
        (BAR, 0xB0, 64, 127),  # down since before
        (5 * PPQ, 0xE0, 0, 80),
        (2 * BAR, 0xB0, 64, 0),
        (2 * BAR, 0xE0, 0, 64),
    ]


def test_the_pedal_moves_with_the_notes() -> None:
    player = Player()
    player.transport(0, 0)
    player.key(BEAT_NS + 50 * MS, 60)
    player.send(BEAT_NS + 60 * MS, 0xB0, 64, 127)
    player.key(2 * BEAT_NS + 50 * MS, 62)
    passage = player.recorder.passage(Wish(), AT_120, 0, NOW)
    made = take(passage, Quantise(PPQ, 1.0))
    assert made.quantised.onset.tolist() == [PPQ, 2 * PPQ]
    assert made.quantised_controls.tick[0] - PPQ == made.controls.tick[0] - made.untouched.onset[0]


def test_nothing_played_is_said() -> None:
    with pytest.raises(UserError, match="Nothing has been played yet"):
        Player().kept()


def test_what_is_remembered_is_bounded_and_the_oldest_go_whole() -> None:
    player = Player(notes=100, controls=10)
    player.transport(0, 0)
    for k in range(350):
        player.key(k * 10 * MS, 30 + k % 60, 9 * MS)
        player.send(k * 10 * MS, 0xB0, 1, k % 128)
    notes = player.kept(Wish(bars=1000))
    assert len(notes) == player.recorder.notes == 100
    assert notes.onset[0] == round(250 * 10 * MS * 960 / BEAT_NS)
    assert player.recorder.seconds == pytest.approx(0.99)


def test_what_is_too_long_ago_is_forgotten() -> None:
    player = Player(seconds=60)
    player.transport(0, 0)
    player.key(0, 60)
    player.key(100 * 1000 * MS, 62)
    assert player.recorder.notes == 1
    assert [p for _, p in rows(player.kept(Wish(bars=1000), now=101 * 1000 * MS))] == [62]


ANY_BYTES = st.binary(max_size=4) | st.tuples(
    st.sampled_from((0x00, 0x80, 0x95, 0xB0, 0xC0, 0xD0, 0xE0, 0xF0, 0xF8)),
    st.integers(0, 140),
    st.integers(0, 140),
).map(bytes)


@given(ANY_BYTES, st.integers(0, 3))
def test_any_bytes_are_borne(message: bytes, source: int) -> None:
    recorder = Recorder(notes=8, controls=8)
    recorder.heard(Played(5, message, str(source)))
    recorder.anchored(Anchor(0, 0, True), TempoMap())
    try:
        passage = recorder.passage(Wish(), AT_120, 0, 100)
    except UserError:
        return
    assert len(passage.notes) == 1
    assert len(message) == 3
    assert message[0] & 0xF0 == 0x90
    assert message[2]


EVENTS = st.lists(
    st.tuples(
        st.integers(1, 400),  # ms since the last
        st.sampled_from(("on", "off", "pedal", "play", "stop", "loop", "seek", "tempo")),
        st.integers(0, 3),
    ),
    max_size=60,
)


@given(EVENTS, st.sampled_from(tuple(Passes)), st.integers(1, 9), st.integers(0, 3))
def test_whatever_happens_every_note_struck_is_in_some_stretch_and_ends(
    events: list[tuple[int, str, int]], passes: Passes, bars: int, back: int
) -> None:
    player = Player()
    now, struck, loop = 0, 0, (0, BAR // 4)
    anchor = Anchor()
    for wait, what, which in events:
        now += wait * MS
        if what == "on":
            player.send(now, 0x90, 60 + which, 64, source=str(which % 2))
            struck += 1
        elif what == "off":
            player.send(now, 0x80, 60 + which, 64, source=str(which % 2))
        elif what == "pedal":
            player.send(now, 0xB0, 64, 127 * (which % 2))
        elif what == "tempo":
            tick = anchor.position(player.score.tempo, now)
            player.score = replace(AT_120, tempo=TempoMap.constant(60 + 40 * which))
            anchor = Anchor(tick, now, anchor.playing)
            player.transport(now, tick, anchor.playing)
        elif what == "loop" and anchor.playing:
            loop = (0, max(int(anchor.position(player.score.tempo, now)), 60))
            anchor = Anchor(0, now, True)
            player.transport(now, 0, loop=loop)
        elif what in ("play", "stop", "seek"):
            anchor = Anchor(float(which * BAR), now, what != "stop")
            player.transport(now, anchor.tick, anchor.playing)
    found = player.recorder.stretches(player.score, 0, now)
    if len(found) < 12:
        assert sum(s.notes for s in found) == struck
    for k in range(len(found)):
        wish = Wish(bars=bars, stretch=k, passes=passes, back=back)
        made = take(player.recorder.passage(wish, player.score, 0, now), Quantise(strength=0.6))
        assert 0 < len(made.untouched) <= found[k].notes
        assert len(made.quantised) <= len(made.untouched)
        assert (made.quantised.duration >= 1).all()
        assert made.length > 0
        pedal = made.controls.data2[made.controls.data1 == 64]
        assert not len(pedal) or pedal[-1] == 0

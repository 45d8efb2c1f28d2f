"""sync, mtc, following: somebody else's time, with jitter and gaps, as the transport follows it."""

from __future__ import annotations

from queue import SimpleQueue

import numpy as np
import pytest
from fakes import FakeClock, RecordingPorts
from hypothesis import given, settings
from hypothesis import strategies as st
from rehearsal import MS, Played, load, quarters

from engine import mtc
from engine.playback import (
    Anchor,
    Follow,
    Linked,
    Loop,
    Play,
    Quit,
    Seek,
    SendClock,
    Stop,
    Synced,
    Tempo,
    Timing,
)
from engine.sync import Begin, ClockFollower, Halt, Locate, Steer
from engine.sync_figures import errors, pulses
from engine.transport import run
from models.timebase import PPQ, TempoMap

SECOND = 1000 * MS
CLOCK, START, CONTINUE, STOP = b"\xf8", b"\xfa", b"\xfb", b"\xfc"


def clock(bpm: float, begin: int, seconds: float) -> list[tuple[int, Timing]]:
    """Steady pulses of the master "M" from the moment `begin`."""
    moments = (begin + pulses(lambda _: bpm, seconds)).tolist()
    return [(at, Timing(at, CLOCK, "M")) for at in moments]


def said(at: int, message: bytes) -> tuple[int, Timing]:
    return (at, Timing(at, message, "M"))


def followed(*script: tuple[int, object], until: float = 20.0, notes: int = 16) -> Played:
    return Played(
        (0, load(0, quarters(*range(48, 48 + notes)))),
        (0, Follow("clock:M")),
        *script,
        (round(until * SECOND), Quit()),
    )


def struck(played: Played, name: str = "A") -> list[tuple[float, int]]:
    return [(t / 1000, pitch) for t, word, pitch in played.notes(name) if word == "on"]


# The follower alone: jitter, tempo, losses


@pytest.mark.parametrize("bpm", [60.0, 120.0, 174.0])
@pytest.mark.parametrize("lost", [0.0, 0.05])
def test_jitter_of_3_ms_is_smoothed_to_less_than_1(bpm, lost):
    off = np.abs(errors(lambda _: bpm, lost=lost, seconds=20))
    assert np.quantile(off, 0.5) < 0.5
    assert np.quantile(off, 0.99) < 1.5


def test_a_tempo_that_moves_is_followed():
    off = np.abs(errors(lambda t: float(np.clip(120 + 4 * (t - 5), 120, 160)), seconds=20))
    assert np.quantile(off, 0.99) < 4
    assert off.max() < 6


def test_a_pulse_held_up_is_not_counted_twice():
    follower = ClockFollower()
    true = pulses(lambda _: 120.0, 4.0).tolist()
    heard = list(true)
    heard[100] += 30 * MS  # behind the next one: both come at once
    heard[101] = heard[100] + 1000
    follower.hear(0, START)
    for at in heard:
        orders = follower.hear(at, CLOCK)
    (steer,) = orders
    assert steer.place == (len(true) - 1) * 40
    assert abs(steer.at - true[-1]) < 1 * MS


def test_start_stop_continue_and_song_position():
    follower = ClockFollower()
    assert follower.hear(0, bytes((0xF2, 8, 1))) == [Locate((8 + 128) * 240)]
    assert follower.hear(1, CONTINUE) == [Locate(136 * 240)]
    (begin,) = follower.hear(10 * MS, CLOCK)
    assert (begin.place, begin.at) == (136 * 240, 10 * MS)
    for n in range(1, 7):
        orders = follower.hear((10 + 20 * n) * MS, CLOCK)
    assert orders == [Steer(136 * 240 + 240, 130 * MS, pytest.approx(125))]
    assert follower.hear(135 * MS, STOP) == [Halt()]
    assert follower.hear(150 * MS, CLOCK) == []
    # Continue goes on with the pulse after the last one before the stop, foreseen as the clock ticks on.
    (begin,) = follower.hear(160 * MS, CONTINUE)
    assert begin == Begin(136 * 240 + 280, pytest.approx(170 * MS, abs=1000), pytest.approx(125))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 2_000),
            st.binary(max_size=12)
            | st.sampled_from(
                [CLOCK, CLOCK, CLOCK, START, STOP, CONTINUE, b"\xf2\x01\x02", b"\xf1\x73"]
            ),
        ),
        max_size=60,
    ),
    st.sampled_from([ClockFollower, mtc.TimeCodeFollower]),
)
def test_any_bytes_at_any_time_are_borne(steps, kind):
    follower, at = kind(), 0
    for delay, message in steps:
        at += delay * MS
        if follower.due <= at:
            follower.poll(at)
        for order in follower.hear(at, message):
            if isinstance(order, Begin | Steer):
                assert np.isfinite([order.place, order.at, order.speed]).all()
                assert order.speed > 0
    assert follower.state in ("waiting", "locked", "lost")


# The transport that follows


def test_the_masters_start_begins_exactly_with_its_first_pulse():
    played = followed(*clock(100, SECOND, 12), said(2 * SECOND + 7 * MS, START), until=12)
    first = next(at for at, _ in clock(100, SECOND, 12) if at > 2 * SECOND + 7 * MS)
    assert struck(played)[:8] == [
        (pytest.approx(first / SECOND + n * 0.6, abs=1e-4), 48 + n) for n in range(8)
    ]
    states = [e.state for e in played.events if isinstance(e, Synced)]
    assert list(dict.fromkeys(states)) == ["waiting", "locked"]
    assert [e.bpm for e in played.events if isinstance(e, Synced)][-1] == 100.0


def test_a_master_that_is_silent_until_its_start_is_followed_too():
    played = followed(said(SECOND, START), *clock(150, SECOND + 3 * MS, 10))
    onsets = [t for t, _ in struck(played)]
    assert onsets[0] == pytest.approx(1.003, abs=1e-4)
    assert onsets[4:] == pytest.approx([1.003 + 0.4 * n for n in range(4, len(onsets))], abs=0.002)


def test_play_waits_for_the_master_and_joins_one_that_plays():
    waiting = followed((0, Play(0)), until=5)
    assert struck(waiting) == []
    joined = followed(
        said(SECOND, START),
        *clock(120, SECOND + 2 * MS, 15),
        (3 * SECOND, Stop()),
        (5 * SECOND, Play()),
    )
    onsets = struck(joined)
    assert [pitch for t, pitch in onsets if t < 3] == [48, 49, 50, 51]
    # Eight quarters have passed at 5.002: the ninth note is struck where the master is.
    late = [(t, p) for t, p in onsets if t > 5]
    assert late[1:4] == [(pytest.approx(5.502 + 0.5 * n, abs=2e-3), 57 + n) for n in range(3)]
    assert not [t for t, _ in onsets if 3 < t < 5]


def test_a_clock_without_start_lets_play_begin_on_its_next_pulse():
    played = followed(*clock(120, 0, 10), (4 * SECOND + 5 * MS, Play(PPQ)))
    onsets = struck(played)
    assert onsets[0][1] == 49
    assert onsets[0][0] * 48 == pytest.approx(round(onsets[0][0] * 48), abs=0.01)  # on a pulse
    assert 4.005 <= onsets[0][0] <= 4.03


def test_a_master_that_vanishes_leaves_the_beat_going_and_is_met_again_smoothly():
    there = clock(120, SECOND, 30)
    # Gone from 4 s to 7 s; and back 8 ms later than it was.
    script = [step for step in there if step[0] < 4 * SECOND]
    script += [(at + 8 * MS, Timing(at + 8 * MS, CLOCK, "M")) for at, _ in there if at > 7 * SECOND]
    played = followed(said(SECOND - 5 * MS, START), *script, until=9)
    onsets = [t for t, _ in struck(played)]
    assert len(onsets) == 16
    assert onsets[:12] == pytest.approx([1 + 0.5 * n for n in range(12)], abs=1e-3)
    assert onsets[-2:] == pytest.approx([8.008, 8.508], abs=2.5e-3)
    gaps = np.diff(onsets)
    assert gaps.max() < 0.51  # it is late by 8 ms in the end, but at no time by a jump
    states = [e.state for e in played.events if isinstance(e, Synced)]
    assert list(dict.fromkeys(states)) == ["waiting", "locked", "lost"]
    assert states[-1] == "locked"


def test_the_masters_stop_stops_and_its_song_position_moves():
    played = followed(
        said(SECOND - 5 * MS, START),
        *clock(120, SECOND, 10),
        said(3 * SECOND + 100 * MS, STOP),
        said(4 * SECOND, bytes((0xF2, 40, 0))),
        said(4 * SECOND + 10 * MS, CONTINUE),
        until=5,
    )
    onsets = struck(played)
    assert [pitch for _, pitch in onsets][:5] == [48, 49, 50, 51, 52]
    assert [pitch for t, pitch in onsets if t > 3.2] == [58, 59]
    assert not [t for t, _ in onsets if 3.1 < t < 4]
    stops = [a for a in played.anchors() if not a.playing]
    assert stops[-1].tick == 40 * 240


def test_our_loop_and_a_seek_stay_with_the_masters_beat():
    played = followed(
        (0, Loop(0, 2 * PPQ)),
        said(SECOND - 5 * MS, START),
        *clock(120, SECOND, 12),
        (6 * SECOND + 130 * MS, Loop()),
        (7 * SECOND + 130 * MS, Seek(9 * PPQ)),
    )
    onsets = struck(played)
    assert [t for t, _ in onsets if t < 7] == pytest.approx(
        [1 + 0.5 * n for n in range(12)], abs=2e-3
    )
    assert [p for t, p in onsets if t < 6] == [48, 49] * 5
    after = [(t, p) for t, p in onsets if t > 7.2]
    assert after[0] == (pytest.approx(7.5, abs=2e-3), 58)


def test_following_begun_while_playing_takes_the_masters_tempo_and_phase_without_a_jump():
    played = Played(
        (0, load(0, quarters(*range(48, 80)))),
        (0, Tempo(TempoMap.constant(121))),
        (0, Play(0)),
        (4 * SECOND, Follow("clock:M")),
        *[step for step in clock(120, 31 * MS, 14) if step[0] > 4 * SECOND],
        (13 * SECOND, Quit()),
    )
    onsets = np.array([t for t, _ in struck(played)])
    gaps = np.diff(onsets)
    assert gaps[:7] == pytest.approx([60 / 121] * 7, abs=1e-4)
    assert np.abs(gaps - 0.5).max() < 0.025
    late = onsets[-6:]
    assert (late - 0.031) * 48 == pytest.approx(np.round((late - 0.031) * 48), abs=0.02)


def test_clock_is_passed_on_smoothed():
    rng = np.random.default_rng(1)
    jittered = [
        (at, Timing(at, CLOCK, "M"))
        for at in sorted(a + int(rng.integers(-3 * MS, 3 * MS)) for a, _ in clock(120, SECOND, 12))
    ]
    played = followed((0, SendClock(True)), *jittered, said(3 * SECOND, START), until=10)
    ticks = np.array([t for t, m in played.others() if m == CLOCK])
    assert played.others()[-1][1] == STOP
    assert START in [m for _, m in played.others()]
    period = 1000 / 48
    grid = 1000 + period * np.round((ticks - 1000) / period)
    off = np.abs(ticks - grid)
    assert np.quantile(off, 0.99) < 1.5
    assert np.diff(ticks).min() > 0.9 * period * 0.9


def test_own_time_again_when_following_ends():
    played = followed(
        said(SECOND - 5 * MS, START), *clock(60, SECOND, 4), (5 * SECOND - 500 * MS, Follow(""))
    )
    assert np.diff([t for t, _ in struck(played)])[-3:] == pytest.approx([0.5] * 3)


# MIDI time code


def code(rate: int, frames: int) -> tuple[int, int, int, int]:
    """(hours, minutes, seconds, frames) of a frame count, from 01:00:00:00 on."""
    per_second = {0: 24, 1: 25, 2: 30, 3: 30}[rate]
    if rate == 2:  # the usual arithmetic of drop frames
        tens, rest = divmod(frames, 17982)
        frames += 18 * tens + (2 * ((rest - 2) // 1798) if rest > 1 else 0)
    seconds, frame = divmod(frames, per_second)
    return 1 + seconds // 3600, seconds // 60 % 60, seconds % 60, frame


def quarter_frames(rate: int, first: int, begin: int, seconds: float) -> list[tuple[int, Timing]]:
    """What a source sends that passes frame `first` (even) at the moment `begin`."""
    frame_ns = 1e9 / mtc.FRAMES_PER_SECOND[rate]
    found = []
    for n in range(int(seconds * 1e9 / frame_ns * 4)):
        hours, minutes, secs, frame = code(rate, first + 2 * (n // 8))
        value = (frame, frame >> 4, secs, secs >> 4, minutes, minutes >> 4, hours, rate << 1)[n % 8]
        at = begin + round(n * frame_ns / 4)
        found.append((at, Timing(at, bytes((0xF1, (n % 8) << 4 | value & 15)), "M")))
    return found


@pytest.mark.parametrize("rate", [0, 1, 2, 3])
def test_time_code_gives_the_place(rate):
    for frames in (0, 1798, 1800, 17981, 17982, 53946):
        hours, minutes, secs, frame = code(rate, frames)
        expected = frames / mtc.FRAMES_PER_SECOND[rate]
        assert mtc.seconds(rate, hours, minutes, secs, frame) == pytest.approx(expected)
    played = Played(
        (0, load(0, quarters(*range(48, 90)))),
        (0, Follow("mtc:M")),
        *quarter_frames(rate, 30, SECOND, 5),
        (9 * SECOND, Quit()),
    )
    begin = 30 / mtc.FRAMES_PER_SECOND[rate]  # where the source is at 1 s
    onsets = struck(played)
    assert len(onsets) >= 8
    for t, pitch in onsets[1:]:
        assert (pitch - 48) * 0.5 == pytest.approx(begin + t - 1, abs=2e-3)
    # It fell silent after 6 s: that is its stop.
    assert onsets[-1][0] < 6.3
    assert played.anchors()[-1].playing is False


def test_a_full_frame_moves_the_playhead_and_a_gap_is_bridged():
    full = bytes((0xF0, 0x7F, 0x7F, 1, 1, 0x21, 0, 2, 0, 0xF7))  # 25 frames, 01:00:02:00
    frames = quarter_frames(1, 50, SECOND, 4)
    played = Played(
        (0, load(0, quarters(*range(48, 90)))),
        (0, Follow("mtc:M")),
        said(0, full),
        *[f for f in frames if not 2 * SECOND < f[0] < 2 * SECOND + 150 * MS],
        (9 * SECOND, Quit()),
    )
    assert Anchor(4 * PPQ, 0) in played.anchors()
    onsets = struck(played)
    assert [t for t, _ in onsets][1:] == pytest.approx(
        [1.5 + 0.5 * n for n in range(len(onsets) - 1)], abs=3e-3
    )


# Ableton Link


class Peers:
    """Link's other side, in memory."""

    def __init__(self) -> None:
        self.said: list[tuple[str, object]] = []

    def want(self, on: bool) -> None:
        self.said.append(("want", on))

    def lead(self, *, bpm: float | None = None, playing: bool | None = None) -> None:
        self.said.append(("bpm", bpm) if bpm is not None else ("playing", playing))


def linked(*script: tuple[int, object], until: float = 12.0) -> tuple[Played, Peers]:
    played = Played.__new__(Played)
    played.clock = FakeClock(
        [
            (0, load(0, quarters(*range(48, 90)))),
            (0, Follow("link")),
            *script,
            (round(until * SECOND), Quit()),
        ]
    )
    inbox: SimpleQueue = SimpleQueue()
    outbox: SimpleQueue = SimpleQueue()
    played.keeper = RecordingPorts(played.clock, inbox)
    peers = Peers()
    run(played.clock, inbox, played.keeper, outbox, peers)
    played.events = [outbox.get() for _ in range(outbox.qsize())]
    return played, peers


def beats(bpm: float, begin: float, end: float, playing: bool) -> list[tuple[int, Linked]]:
    moments = (np.arange(begin, end, 0.05) * SECOND).astype(np.int64).tolist()
    return [(at, Linked(at, at / SECOND * bpm / 60, bpm, playing, 1)) for at in moments]


def test_link_starts_us_with_the_next_bar_and_stops_us():
    played, peers = linked(
        *beats(96, 0, 3, False), *beats(96, 3, 8, True), *beats(96, 8, 10, False)
    )
    assert peers.said == [("want", True)]
    onsets = struck(played)
    assert onsets[0] == (
        pytest.approx(8 * 60 / 96, abs=1e-3),
        48,
    )  # beat 8 is the next bar after 3 s
    assert [t for t, _ in onsets] == pytest.approx(
        [5 + 0.625 * n for n in range(len(onsets))], abs=1e-3
    )
    assert 7 < onsets[-1][0] < 8.1


def test_we_start_tell_the_tempo_and_stop_for_all():
    played, peers = linked(
        *beats(120, 0, 3, False),
        (2 * SECOND + 10 * MS, Play(PPQ)),
        *beats(120, 3, 8, True),
        (5 * SECOND, Tempo(TempoMap.constant(90))),
        (8 * SECOND, Stop()),
    )
    assert struck(played)[0] == (pytest.approx(4.0, abs=1e-3), 49)
    assert peers.said == [("want", True), ("playing", True), ("bpm", 90.0), ("playing", False)]

"""transport: MIDI clock as slaves hear it: pulses that never falter, and count from where they are told."""

from __future__ import annotations

from collections.abc import Iterator
from queue import SimpleQueue

import numpy as np
import pytest
from fakes import FakeClock, RecordingPort, RecordingPorts
from hypothesis import given, settings
from hypothesis import strategies as st
from rehearsal import MS, QUARTER, Played, load, quarters

from engine.playback import (
    Follow,
    Live,
    Loop,
    Panic,
    Play,
    PortLost,
    PortOpened,
    Quit,
    Seek,
    SendClock,
    Stop,
    Synced,
    Tempo,
    Timing,
    Unload,
)
from engine.sync import Begin, ClockFollower
from engine.transport import LEAD_NS, run
from models.score import Notes
from models.timebase import PPQ, TempoMap

CLOCK, START, CONTINUE, STOP = b"\xf8", b"\xfa", b"\xfb", b"\xfc"
PULSE, SIXTEENTH = PPQ // 24, PPQ // 4
PERIOD = 500 / 24
"""Of pulses at the default tempo, in ms."""
SECOND = 1000 * MS
HELLO = load(0, quarters(*range(48, 80)))


def place(sixteenths: int) -> bytes:
    return bytes((0xF2, sixteenths & 127, sixteenths >> 7))


def times(played: Played, name: str = "A") -> list[tuple[float, bytes]]:
    """(ms, message) of all that is about time, in the order of its moments."""
    return sorted((s for s in played.others(name) if s[1][0] >= 0xF0), key=lambda s: s[0])


def pulses(played: Played, name: str = "A") -> list[float]:
    return [t for t, m in times(played, name) if m == CLOCK]


def words(played: Played, name: str = "A") -> list[tuple[float, bytes]]:
    return [(t, m) for t, m in times(played, name) if m != CLOCK]


def counted(sent: list[tuple[float, bytes]]) -> Iterator[tuple[float, int]]:
    """(moment, tick) of the pulses with which a slave moves, by the MIDI specification's rules."""
    running, tick = False, 0
    for moment, message in sent:
        if message == CLOCK and running:
            yield moment, tick
            tick += PULSE
        elif message == START:
            running, tick = True, 0
        elif message == CONTINUE:
            running = True
        elif message == STOP:
            running = False
        elif message[0] == 0xF2 and not running:
            tick = (message[1] | message[2] << 7) * SIXTEENTH


def shortest_notice(sent: list[tuple[float, bytes]]) -> float:
    """The shortest time (ms) that slaves had between *start* or *continue* and the first pulse that counts."""
    begun = [(t, i) for i, (t, m) in enumerate(sent) if m in (START, CONTINUE)]
    return min(next(t for t, m in sent[i:] if m == CLOCK) - told for told, i in begun)


def steady(moments: list[float], period: float = PERIOD) -> bool:
    return bool(np.abs(np.diff(moments) - period).max() < 1e-4)


def test_pulses_go_on_while_nothing_plays_and_a_start_comes_in_step():
    played = Played(
        (0, SendClock(True)),
        (0, HELLO),
        (337 * MS, Play(0)),
        (1300 * MS, Stop()),
        (2 * SECOND, Quit()),
    )
    heard = pulses(played)
    assert heard[0] == 0
    assert len(heard) == 96  # two seconds at 48 a second
    assert steady(heard)
    told = words(played)
    assert [m for _, m in told] == [STOP, START, STOP]
    moving = list(counted(times(played)))
    # The first after the start is the place started from, with its note; it comes as soon as it can.
    assert moving[0] == (played.notes()[0][0], 0)
    assert 337 + LEAD_NS / MS <= moving[0][0] < 337 + LEAD_NS / MS + PERIOD
    assert moving[0][0] - told[1][0] >= 1
    assert [t for t in heard if t < told[1][0]][-1] == pytest.approx(moving[0][0] - PERIOD)
    assert told[2][0] == 1300
    assert played.others()[-1][1] == CLOCK  # it stands already: nothing is left to be stopped


def test_from_between_sixteenths_pulses_count_from_the_next():
    played = Played((0, SendClock(True)), (0, HELLO), (100 * MS, Play(250)), (2 * SECOND, Quit()))
    assert steady(pulses(played))
    assert [m for _, m in words(played)] == [STOP, place(2), CONTINUE, STOP]
    moment, tick = next(counted(times(played)))
    assert tick == 480
    note = next(t for t, word, pitch in played.notes() if (word, pitch) == ("on", 49))
    assert note - moment == pytest.approx(250)  # tick 960
    told = words(played)[2][0]
    assert 1 <= moment - told < PERIOD


def test_a_seek_stops_slaves_and_starts_them_there_without_a_gap():
    played = Played(
        (0, SendClock(True)),
        (0, HELLO),
        (0, Play(0)),
        (777 * MS, Seek(6 * PPQ)),
        (1500 * MS, Quit()),
    )
    assert steady(pulses(played))
    assert [m for _, m in words(played)] == [STOP, START, STOP, place(24), CONTINUE, STOP]
    moment = next(t for t, tick in counted(times(played)) if tick == 6 * PPQ)
    assert (moment, "on", 54) in played.notes()
    assert 777 + LEAD_NS / MS <= moment < 777 + LEAD_NS / MS + PERIOD


def test_an_end_and_a_loop_leave_the_pulses_alone():
    played = Played((0, SendClock(True)), (0, HELLO), (0, Play(0, 2 * PPQ)), (2 * SECOND, Quit()))
    assert steady(pulses(played))
    assert [m for _, m in words(played)] == [STOP, START, STOP]
    assert [tick for _, tick in counted(times(played))] == list(range(0, 2 * PPQ, PULSE))
    assert [a.playing for a in played.anchors()] == [True, False]
    for loop in (Loop(PPQ, 2 * PPQ), Loop(PPQ + 2 * PULSE, 2 * PPQ - PULSE)):
        played = Played(
            (0, SendClock(True)), (0, HELLO), (0, loop), (0, Play(0)), (4 * SECOND, Quit())
        )
        assert steady(pulses(played))
        first = -(-loop.start // SIXTEENTH)
        assert [m for _, m in words(played)][2:5] == [STOP, place(first), CONTINUE]


def test_a_new_tempo_is_told_while_nothing_plays():
    slower = TempoMap([0, 4 * PPQ], [1_000_000, 500_000])
    played = Played(
        (0, SendClock(True)),
        (0, HELLO),
        (SECOND, Tempo(slower)),
        (2 * SECOND, Seek(5 * PPQ)),
        (3 * SECOND, Play(0)),
        (4 * SECOND, Stop()),
        (5 * SECOND, Quit()),
    )
    gaps = np.diff(pulses(played))
    after = np.array(pulses(played)[1:])
    # What had been foreseen stands, which is one pulse.
    assert gaps[after < 1000] == pytest.approx(PERIOD, abs=1e-4)
    assert gaps[(after > 1000 + 2 * PERIOD) & (after < 2000)] == pytest.approx(2 * PERIOD, abs=1e-4)
    assert gaps[(after > 2000 + 2 * PERIOD) & (after < 3000)] == pytest.approx(PERIOD, abs=1e-4)
    assert gaps[(after > 3000 + 2 * PERIOD)] == pytest.approx(2 * PERIOD, abs=1e-4)
    assert played.notes()[0][0] in pulses(played)


@pytest.mark.parametrize("came", [1300, 1700])
def test_a_stop_goes_on_at_the_tempo_there_and_so_does_a_port_that_comes(came):
    played = Played(
        (0, SendClock(True)),
        (0, HELLO),
        (0, Tempo(TempoMap([0, PPQ], [1_000_000, 250_000]))),
        (0, Play(0)),
        (came * MS, load(1, quarters(60), "B")),
        (1610 * MS, Stop()),
        (2 * SECOND, Quit()),
    )
    fast = [t for t in pulses(played) if t > 1250]
    assert steady(fast, PERIOD / 2)
    assert pulses(played, "B") == [t for t in fast if t >= came]


def test_a_loop_from_between_sixteenths_goes_on_at_the_tempo_there():
    played = Played(
        (0, SendClock(True)),
        (0, HELLO),
        (0, Tempo(TempoMap([0, PPQ], [1_000_000, 250_000]))),
        (0, Loop(PPQ + PULSE, 2 * PPQ)),
        (0, Play(0)),
        (2 * SECOND, Quit()),
    )
    assert steady([t for t in pulses(played) if t > 1250], PERIOD / 2)


def test_a_port_without_a_track_that_wants_messages_early_is_told_the_beginning():
    played = Played(
        (0, SendClock(True)),
        (0, HELLO),
        (0, Live("J", bytes((0xB0, 1, 0)))),
        (100 * MS, Play(0)),
        (SECOND, Quit()),
        leads={"J": 90 * MS},
    )
    moving = list(counted(times(played, "J")))
    assert moving[0] == (played.notes()[0][0], 0)
    assert shortest_notice(times(played, "J")) >= 1


def test_a_slow_tempo_makes_no_start_wait_long():
    played = Played(
        (0, SendClock(True)),
        (0, Tempo(TempoMap.constant(20))),
        (0, HELLO),
        (1010 * MS, Play(0)),
        (3 * SECOND, Quit()),
    )
    begin, tick = next(counted(times(played)))
    assert (begin, tick) == (1010 + LEAD_NS / MS, 0)
    gaps = np.diff(pulses(played))
    assert len(gaps[np.abs(gaps - 125) > 1e-4]) == 1  # the first pulse that counts comes early
    assert gaps.max() <= 1.5 * 125


def test_an_absurd_tempo_is_no_flood():
    played = Played(
        (0, SendClock(True)), (0, Tempo(TempoMap([0], [1]))), (0, HELLO), (SECOND, Quit())
    )
    assert len(pulses(played)) <= 500


def test_ports_come_and_go_without_a_word_to_the_others():
    played = Played(
        (0, SendClock(True)),
        (0, HELLO),
        (300 * MS, load(1, quarters(60), "B")),
        (500 * MS, Play(0)),
        (900 * MS, load(2, quarters(60), "J")),
        (1400 * MS, Unload(2)),
        (1510 * MS, Unload(1)),
        (2 * SECOND, Quit()),
        leads={"J": 12 * MS},
    )
    a, b, j = (pulses(played, name) for name in "ABJ")
    assert steady(a)
    assert [m for _, m in words(played)] == [STOP, START, STOP]
    # The same moments everywhere, at once, and the same places.
    assert b == [t for t in a if 300 <= t < 1510]
    assert j == pytest.approx([t for t in a if 912 <= t < 1412], abs=1e-4)
    assert words(played, "B")[0] == (300, STOP)
    assert [m[0] for _, m in words(played, "J")] == [0xFC, 0xF2, 0xFB, 0xFC]
    here = {round(t, 3): tick for t, tick in counted(times(played))}
    for name, least in (("B", 40), ("J", 15)):
        there = list(counted(times(played, name)))
        assert len(there) >= least
        assert all(here[round(t, 3)] == tick for t, tick in there)


@pytest.mark.parametrize("before", [0, 0.5, 1.9, 3])
def test_a_port_that_comes_just_before_a_sixteenth_has_time_all_the_same(before):
    at = round((500 + 8 * 125 - before) * MS)
    played = Played(
        (0, SendClock(True)),
        (0, HELLO),
        (490 * MS, Play(0)),
        (at, load(1, quarters(60), "B")),
        (2 * SECOND, Quit()),
    )
    assert next(counted(times(played)))[0] == pytest.approx(500)
    assert shortest_notice(times(played, "B")) >= 1
    here = dict(counted(times(played)))
    there = list(counted(times(played, "B")))
    assert len(there) >= 15
    assert all(here[t] == tick for t, tick in there)


def test_gear_that_missed_the_stop_does_not_run_on():
    clock = FakeClock()
    back = RecordingPort(clock)
    clock.script = [
        (0, SendClock(True)),
        (0, HELLO),
        (0, Play(0)),
        (300 * MS, PortLost("A")),
        (400 * MS, Stop()),
        (500 * MS, PortOpened("A", back, again=True)),
        (SECOND, Quit()),
    ]
    inbox: SimpleQueue = SimpleQueue()
    run(clock, inbox, RecordingPorts(clock, inbox), SimpleQueue())
    heard = [m for _, m in back.sent if m[0] >= 0xF0]
    assert heard[0] == STOP
    assert set(heard[1:]) == {CLOCK}


def test_switching_it_off_ends_the_pulses_and_panic_does_not():
    played = Played(
        (0, SendClock(True)),
        (0, HELLO),
        (0, Live("", bytes((0x90, 60, 90)), 0.1)),
        (300 * MS, Panic()),
        (600 * MS, SendClock(False)),
        (SECOND, Quit()),
    )
    heard = pulses(played)
    assert steady(heard)
    assert len(heard) == 29
    assert pulses(played, "") == []  # the built-in synth has no use for it
    running = Played(
        (0, SendClock(True)),
        (0, HELLO),
        (0, Play(0)),
        (600 * MS, SendClock(False)),
        (SECOND, Quit()),
    )
    assert times(running)[-1] == (600, STOP)


def test_after_a_long_sleep_there_is_no_rush():
    clock = FakeClock()

    class SleepyPort(RecordingPort):
        """Sending controller 99 takes it ten seconds, as when the machine is suspended."""

        def send(self, message: bytes) -> None:
            super().send(message)
            if message[1:2] == b"\x63":
                clock.time += 10 * SECOND

    inbox: SimpleQueue = SimpleQueue()
    keeper = RecordingPorts(clock, inbox)
    keeper.ports["A"] = SleepyPort(clock)
    clock.script = [
        (0, SendClock(True)),
        (0, HELLO),
        (500 * MS, Live("A", bytes((0xB0, 99, 1)))),
        (12 * SECOND, Play(0)),
        (13 * SECOND, Quit()),
    ]
    run(clock, inbox, keeper, SimpleQueue())
    gaps = np.diff([t / MS for t, m in keeper.ports["A"].sent if m == CLOCK])
    assert sorted(gaps)[:-1] == pytest.approx([PERIOD] * (len(gaps) - 1), abs=1e-4)


# Whatever is asked

ticks = st.integers(0, 4000)
moves = st.one_of(
    st.builds(Play, st.none() | ticks, st.none() | ticks),
    st.builds(Play, ticks, st.none()),
    st.just(Stop()),
    st.builds(Seek, ticks),
    st.builds(  # a loop that is no whole number of pulses long puts them out of step
        lambda start, length: Loop(start, start + length * PULSE), ticks, st.integers(2, 48)
    ),
    st.just(Loop()),
    st.just(Panic()),
    st.builds(
        lambda track, port, offset: load(track, quarters(60, 62, 64), port, offset=offset),
        st.integers(0, 2),
        st.sampled_from(["A", "J"]),
        st.sampled_from([0, -130, 130]),
    ),
)
scripts = st.lists(
    st.tuples(st.sampled_from([0, 1, 7, 20, 21, 100, 400]), moves), min_size=5, max_size=30
)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(scripts, st.integers(60, 240))
def test_at_one_tempo_pulses_never_falter_and_slaves_are_where_we_are(steps, bpm):
    script: list[tuple[int, object]] = [
        (0, Tempo(TempoMap.constant(bpm))),
        (0, SendClock(True)),
        *((0, Live(name, bytes((0xB0, 1, 0)))) for name in "AJ"),
    ]
    moment = 50 * MS
    for delay, command in steps:
        moment += delay * MS
        script.append((moment, command))
    played = Played(*script, (moment + SECOND, Quit()), leads={"J": 12 * MS})
    tempo = TempoMap.constant(bpm)
    period = float(tempo.us_per_quarter[0]) / 24e3
    assert steady(pulses(played, "A"), period)
    assert steady(pulses(played, "J"), period)
    assert pulses(played, "J")[:20] == pytest.approx(
        [t for t in pulses(played) if t >= 12][:20], abs=1e-3
    )
    for now, tick in counted(times(played)):
        anchor = [a for a in played.anchors() if a.at <= round(now * MS)][-1]
        assert anchor.position(tempo, round(now * MS)) == pytest.approx(tick, abs=0.01)


# Somebody else's time, and ours as somebody else's


def outer(bpm: float, begin: int, end: int) -> list[tuple[int, Timing]]:
    moments = np.arange(begin, end, 60e9 / 24 / bpm).astype(np.int64).tolist()
    return [(at, Timing(at, CLOCK, "M")) for at in moments]


def test_idle_pulses_go_with_the_clock_that_is_followed_while_it_ticks():
    script = outer(100, SECOND + 3 * MS, 4 * SECOND)
    played = Played(
        (0, SendClock(True)),
        (0, HELLO),
        (0, Follow("clock:M")),
        *script,
        (6 * SECOND, Quit()),
    )
    heard = np.array(pulses(played))
    theirs = np.array([at / MS for at, _ in script])
    settled = heard[(heard > 2000) & (heard < 4000)]
    assert np.abs(settled[:, None] - theirs).min(axis=1).max() < 0.3
    assert np.diff(settled) == pytest.approx(25, abs=0.1)
    # It has fallen silent: after a second the score's own tempo.
    assert np.diff(heard[heard > 5100]) == pytest.approx(PERIOD, abs=1e-4)


def test_the_start_of_the_clock_that_is_followed_keeps_the_pulses_in_step():
    start = (3 * SECOND + 10 * MS, Timing(3 * SECOND + 10 * MS, START, "M"))
    played = Played(
        (0, SendClock(True)),
        (0, HELLO),
        (0, Follow("clock:M")),
        *outer(100, SECOND + 3 * MS, 3 * SECOND + 10 * MS),
        start,
        *outer(100, 3 * SECOND + 28 * MS, 5 * SECOND),
        (5 * SECOND, Quit()),
    )
    assert [m for _, m in words(played)] == [STOP, START, STOP]
    assert next(counted(times(played))) == (pytest.approx(3028, abs=0.1), 0)
    heard = np.array(pulses(played))
    assert np.diff(heard[heard > 2000]) == pytest.approx(25, abs=0.2)


def follow(played: Played, *script: tuple[int, object], until: int) -> Played:
    """What another instance makes of our clock."""
    sent = [(round(t * MS), Timing(round(t * MS), m, "us")) for t, m in times(played)]
    return Played(
        (0, load(0, quarters(*range(48, 80)))),
        (0, Follow("clock:us")),
        *(step for step in sent if step[0] < until),
        *script,
        (until, Quit()),
    )


def test_our_follower_learns_the_tempo_from_idle_pulses_and_runs_by_our_word_alone():
    master = Played(
        (0, SendClock(True)),
        (0, HELLO),
        (0, Tempo(TempoMap.constant(90))),
        (3333 * MS, Play(PPQ)),
        (5777 * MS, Stop()),
        (6 * SECOND, Tempo(TempoMap.constant(140))),
        (9111 * MS, Play(8 * PPQ)),
        (11 * SECOND, Seek(20 * PPQ)),
        (13 * SECOND, Quit()),
    )
    follower = ClockFollower()
    orders = [o for t, message in times(master) for o in follower.hear(round(t * MS), message)]
    begins = [order for order in orders if isinstance(order, Begin)]
    assert [round(b.speed) for b in begins] == [90, 140, 140]
    assert [b.place for b in begins] == [PPQ, 8 * PPQ, 20 * PPQ]
    firsts = [t for t, tick in counted(times(master)) if tick in (PPQ, 8 * PPQ, 20 * PPQ)]
    assert [b.at / MS for b in begins] == pytest.approx(firsts, abs=0.1)

    # Nothing without the word, though the user has asked; then every note with the master's, from the first.
    slave = follow(master, (2 * SECOND, Play(0)), until=13 * SECOND - MS)
    ours = [(t, p) for t, word, p in master.notes() if word == "on"]
    theirs = [(t, p) for t, word, p in slave.notes() if word == "on"]
    assert theirs == [(pytest.approx(t, abs=0.1), p) for t, p in ours]
    assert len(theirs) > 10
    states = [e.state for e in slave.events if isinstance(e, Synced)]
    assert list(dict.fromkeys(states)) == ["waiting", "locked"]


@pytest.mark.parametrize("at", range(2000, 2021, 4))
def test_our_follower_is_on_time_wherever_between_two_pulses_play_is_pressed(at):
    master = Played((0, SendClock(True)), (0, HELLO), (at * MS, Play(0)), (3910 * MS, Quit()))
    slave = follow(master, until=3900 * MS)
    ours, theirs = ([t for t, _, _ in played.notes()][:7] for played in (master, slave))
    assert theirs == pytest.approx(ours, abs=0.05)


@pytest.mark.parametrize("start", [0, 100])
def test_unquantised_loops_keep_slaves_where_we_are(start):
    notes = Notes.of([0], [PPQ], [60])
    played = Played(
        (0, SendClock(True)),
        (0, load(0, notes)),
        (0, Loop(start, 1001)),
        (0, Play(0)),
        (8 * QUARTER, Quit()),
    )
    tempo = TempoMap.constant(120)
    assert shortest_notice(times(played)) >= 1
    moving = list(counted(times(played)))
    assert len(moving) > 100
    assert [tick for _, tick in moving].count(-(-start // SIXTEENTH) * SIXTEENTH) >= 7
    for now, tick in moving:
        anchor = [a for a in played.anchors() if a.at <= round(now * MS)][-1]
        assert anchor.position(tempo, round(now * MS)) == pytest.approx(tick, abs=0.01)

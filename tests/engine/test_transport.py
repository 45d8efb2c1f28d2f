"""transport: what leaves, when; and that nothing is ever left sounding. No real time passes here."""

from __future__ import annotations

from dataclasses import replace
from queue import SimpleQueue

import numpy as np
import pytest
from fakes import FakeClock, RecordingPort, RecordingPorts
from hypothesis import given, settings
from hypothesis import strategies as st
from rehearsal import MS, QUARTER, Played, load, quarters

from engine import schedule
from engine.playback import (
    Anchor,
    Lateness,
    Live,
    Load,
    Loop,
    Panic,
    Play,
    PortBack,
    PortLost,
    PortOpened,
    Quit,
    Report,
    Seek,
    Stop,
    Tempo,
    Unload,
)
from engine.transport import LEAD_NS, run
from models.score import NO_CONTROLS, Controls, Notes, Track
from models.timebase import PPQ, TempoMap

LEAD = LEAD_NS / MS


def test_notes_leave_at_their_moments():
    tempo = TempoMap([0, PPQ], [500_000, 250_000])
    played = Played(
        (0, Tempo(tempo)), (0, load(0, quarters(60, 62, 64))), (0, Play(0)), (9 * QUARTER, Quit())
    )
    assert played.notes() == [
        (LEAD + 0, "on", 60),
        (LEAD + 500, "off", 60),
        (LEAD + 500, "on", 62),
        (LEAD + 750, "off", 62),
        (LEAD + 750, "on", 64),
        (LEAD + 1000, "off", 64),
    ]
    assert played.others() == [
        (0, bytes((0xB0, 7, 100))),
        (0, bytes((0xC0, 0))),
        (LEAD, bytes((0xB0, 7, 100))),
    ]


def test_until_ends_by_itself_and_says_so():
    played = Played(
        (0, load(0, quarters(60, 62, 64))), (0, Play(0, 2 * PPQ)), (9 * QUARTER, Quit())
    )
    assert played.notes()[-2:] == [(LEAD + 500, "on", 62), (LEAD + 1000, "off", 62)]
    assert played.anchors()[-1] == Anchor(2 * PPQ, round((LEAD + 1000) * MS), playing=False)


def test_stop_ends_notes_and_lifts_the_pedal_and_play_goes_on_from_there():
    pedal = Controls([0], [0xB0], [64], [127])
    played = Played(
        (0, load(0, quarters(60, 62), controls=pedal)),
        (0, Play(0)),
        (LEAD_NS + QUARTER // 2, Stop()),
        (5 * QUARTER, Play()),
        (9 * QUARTER, Quit()),
    )
    half = LEAD + 250
    again = 2500 + LEAD
    assert played.notes() == [
        (LEAD, "on", 60),
        (half, "off", 60),
        (again, "on", 60),  # it still had more than a sixteenth to sound
        (again + 250, "off", 60),
        (again + 250, "on", 62),
        (again + 750, "off", 62),
    ]
    pedals = [(t, m[2]) for t, m in played.others() if m[0] == 0xB0 and m[1] == 64]
    assert pedals == [(0, 127), (LEAD, 127), (half, 0), (2500, 127), (4500, 0)]


def test_a_seek_ends_notes_and_chases_what_is_in_force():
    controls = Controls([0, PPQ, 3 * PPQ], [0xC0, 0xC0, 0xE0], [5, 6, 0], [0, 0, 100])
    notes = Notes.concatenate(
        [quarters(60, 62, 64, 65), Notes.of([0], [3 * PPQ], [40], first_id=10)]
    )
    played = Played(
        (0, load(0, notes, controls=controls)),
        (0, Play(0)),
        (LEAD_NS + QUARTER // 2, Seek(2 * PPQ)),
        (9 * QUARTER, Quit()),
    )
    jump = LEAD + 250
    assert played.notes()[2:5] == [(jump, "off", 40), (jump, "off", 60), (jump + LEAD, "on", 40)]
    assert played.notes()[5:] == [
        (jump + LEAD, "on", 64),
        (jump + LEAD + 500, "off", 40),
        (jump + LEAD + 500, "off", 64),
        (jump + LEAD + 500, "on", 65),
        (jump + LEAD + 1000, "off", 65),
    ]
    programs = [(t, m[1]) for t, m in played.others() if m[0] == 0xC0]
    assert programs == [(0, 0), (0, 5), (LEAD, 0), (LEAD, 5), (jump, 6)] or programs == [
        (0, 5),
        (LEAD, 0),
        (LEAD, 5),
        (jump, 6),
    ]


def test_a_loop_is_seamless_and_does_not_drift():
    played = Played(
        (0, load(0, quarters(60, 62, 64))),
        (0, Loop(PPQ, 2 * PPQ)),
        (0, Play(0)),
        (LEAD_NS + 100 * QUARTER + QUARTER // 2, Stop()),
        (200 * QUARTER, Quit()),
    )
    expected = [(LEAD, "on", 60), (LEAD + 500, "off", 60)]
    for n in range(1, 101):
        expected += [(LEAD + 500 * n, "on", 62), (LEAD + 500 * (n + 1), "off", 62)]
    expected[-1] = (LEAD + 100 * 500 + 250, "off", 62)
    assert played.notes() == expected
    wraps = [a for a in played.anchors() if a.tick == PPQ]
    assert [a.at for a in wraps] == [LEAD_NS + n * QUARTER for n in range(2, 101)]


def test_beyond_the_loop_it_plays_on():
    played = Played(
        (0, load(0, quarters(60, 62, 64))),
        (0, Loop(0, PPQ)),
        (0, Play(PPQ)),
        (9 * QUARTER, Quit()),
    )
    assert [n[2] for n in played.notes() if n[1] == "on"] == [62, 64]


def test_a_loop_too_short_is_refused():
    with pytest.raises(ValueError, match="loop"):
        Loop(10, 11)
    with pytest.raises(ValueError, match="loop"):
        Loop(20, 10)


def test_an_edit_ends_what_vanished_and_lets_the_rest_sound():
    before = Notes.of([0, 0, 0], [4 * PPQ, 4 * PPQ, PPQ], [60, 64, 67])
    # 60 stays, 64 vanishes, 67 is made longer; 72 is drawn behind the playhead, 74 ahead of it.
    after = Notes.of([0, 0, PPQ // 4, 3 * PPQ], [2 * PPQ, 3 * PPQ, 4 * PPQ, PPQ], [60, 67, 72, 74])
    played = Played(
        (0, load(0, before)),
        (0, Play(0)),
        (LEAD_NS + QUARTER // 2, load(0, after)),
        (9 * QUARTER, Quit()),
    )
    assert played.notes() == [
        (LEAD, "on", 60),
        (LEAD, "on", 64),
        (LEAD, "on", 67),
        (LEAD + 250, "off", 64),
        (LEAD + 1000, "off", 60),
        (LEAD + 1500, "off", 67),
        (LEAD + 1500, "on", 74),
        (LEAD + 2000, "off", 74),
    ]


def test_an_edit_to_the_end_just_reached_keeps_the_rest():
    played = Played(
        (0, load(0, quarters(60))),
        (0, Play(0)),
        (LEAD_NS + QUARTER // 2, load(0, Notes.of([0], [PPQ // 2], [60]))),
        (9 * QUARTER, Quit()),
    )
    assert played.notes() == [(LEAD, "on", 60), (LEAD + 250, "off", 60)]


def test_muting_and_changing_port_or_channel_end_notes():
    silent = Load(0, "A", schedule.NOTHING)
    for change in (silent, load(0, quarters(60), "B"), load(0, quarters(60), channel=3), Unload(0)):
        played = Played(
            (0, load(0, quarters(60))),
            (0, Play(0)),
            (LEAD_NS + 7 * MS, change),
            (9 * QUARTER, Quit()),
        )
        assert played.notes() == [(LEAD, "on", 60), (LEAD + 7, "off", 60)]


def test_a_port_no_track_uses_is_given_back():
    played = Played((0, load(0, quarters(60))), (1, load(0, quarters(60), "B")), (2, Quit()))
    assert played.keeper.open == {"B"}


def test_tracks_that_share_a_key_let_go_one_by_one():
    played = Played(
        (0, load(0, Notes.of([0], [4 * PPQ], [60]))),
        (0, load(1, Notes.of([PPQ, 2 * PPQ], [PPQ // 2, 3 * PPQ], [60, 60]))),
        (0, Play(0)),
        (12 * QUARTER, Quit()),
    )
    assert played.notes() == [
        (LEAD, "on", 60),
        (LEAD + 500, "off", 60),
        (LEAD + 500, "on", 60),
        (LEAD + 1000, "off", 60),
        (LEAD + 1000, "on", 60),
        (LEAD + 2500, "off", 60),
    ]


def test_a_unison_of_two_tracks_is_struck_once():
    played = Played(
        (0, load(0, quarters(60))),
        (0, load(1, Notes.of([0], [2 * PPQ], [60]))),
        (0, Play(0)),
        (9 * QUARTER, Quit()),
    )
    assert played.notes() == [(LEAD, "on", 60), (LEAD + 1000, "off", 60)]


def test_a_tempo_change_keeps_the_place():
    played = Played(
        (0, load(0, quarters(60, 62))),
        (0, Play(0)),
        (LEAD_NS + QUARTER // 2, Tempo(TempoMap.constant(60))),
        (9 * QUARTER, Quit()),
    )
    assert played.notes()[1:] == [
        (LEAD + 750, "off", 60),
        (LEAD + 750, "on", 62),
        (LEAD + 1750, "off", 62),
    ]
    anchor = played.anchors()[-1]
    assert anchor.position(TempoMap.constant(60), round((LEAD + 750) * MS)) == pytest.approx(PPQ)


def test_auditions_end_by_themselves_even_over_one_another():
    played = Played(
        (0, Live("A", bytes((0x90, 60, 100)), 0.2)),
        (10 * MS, Live("A", bytes((0x90, 60, 100)), 0.2)),
        (110 * MS, Live("A", bytes((0x90, 60, 90)), 0.2)),
        (500 * MS, Live("A", bytes((0x90, 64, 90)))),
        (600 * MS, Live("A", bytes((0x90, 64, 0)))),
        (700 * MS, Live("A", bytes((0x90, 65, 90)))),
        (900 * MS, Quit()),
    )
    # The first finds the port still closed.
    assert played.notes() == [
        (10, "on", 60),
        (110, "off", 60),
        (110, "on", 60),
        (310, "off", 60),
        (500, "on", 64),
        (600, "off", 64),
        (700, "on", 65),
        (900, "off", 65),
    ]


def test_panic_silences_everything():
    played = Played(
        (0, load(0, quarters(60))),
        (0, Play(0)),
        (10 * MS, Live("A", bytes((0x90, 70, 90)))),
        (20 * MS, Panic()),
        (30 * MS, Quit()),
    )
    sent = [m for t, m in played.port("A").sent if t == 20 * MS]
    assert sent[:2] == [
        bytes((0x80, 60, 64)),
        bytes((0x80, 70, 64)),
    ]  # what is known to sound, first
    orders = [
        bytes(m)
        for c in range(16)
        for m in (*((0xB0 | c, cc, 0) for cc in (64, 66, 67, 120, 123)), (0xE0 | c, 0, 64))
    ]
    assert sent[2 : 2 + len(orders)] == orders
    assert sent[2 + len(orders) :] == [bytes((0x80, key, 0)) for key in range(128)]


def test_a_port_lost_and_back():
    clock = FakeClock()
    back = RecordingPort(clock)
    clock.script = [
        (0, load(0, quarters(60, 62, 64))),
        (0, Play(0)),
        (QUARTER // 2, PortLost("A")),
        (LEAD_NS + QUARTER + QUARTER // 2, PortOpened("A", back, again=True)),
        (9 * QUARTER, Quit()),
    ]
    inbox: SimpleQueue = SimpleQueue()
    outbox: SimpleQueue = SimpleQueue()
    keeper = RecordingPorts(clock, inbox)
    run(clock, inbox, keeper, outbox)
    assert [m[:2] for _, m in keeper.ports["A"].sent if m[0] & 0xE0 == 0x80] == [b"\x90<", b"\x80<"]
    assert [m[:2] for _, m in back.sent if m[0] & 0xE0 == 0x80] == [b"\x90@", b"\x80@"]
    assert bytes((0xB0, 123, 0)) in [m for _, m in back.sent]  # what hung since it was lost
    assert bytes((0xC0, 0)) in [m for _, m in back.sent]
    told = [outbox.get() for _ in range(outbox.qsize())]
    assert [e for e in told if not isinstance(e, Anchor)] == [
        PortBack("A"),
        PortLost("A"),
        PortBack("A"),
    ]


def test_a_port_that_breaks_is_reported_and_the_music_goes_on():
    clock = FakeClock()
    inbox: SimpleQueue = SimpleQueue()
    outbox: SimpleQueue = SimpleQueue()
    keeper = RecordingPorts(clock, inbox)
    keeper.ports["A"] = RecordingPort(clock)
    keeper.ports["A"].broken = True
    clock.script = [
        (0, load(0, quarters(60, 62, 64))),
        (0, load(1, quarters(60, 62, 64), "B")),
        (0, Play(0)),
        (9 * QUARTER, Quit()),
    ]
    run(clock, inbox, keeper, outbox)
    assert keeper.ports["A"].sent == []
    assert len([m for _, m in keeper.ports["B"].sent if m[0] == 0x90]) == 3
    assert PortLost("A") in [outbox.get() for _ in range(outbox.qsize())]


def test_after_a_long_sleep_the_music_goes_on_without_a_rush():
    clock = FakeClock()

    class SleepyPort(RecordingPort):
        """Sending controller 99 takes it ten seconds, as when the machine is suspended."""

        def send(self, message: bytes) -> None:
            super().send(message)
            if message[1] == 99:
                clock.time += 10_000 * MS

    inbox: SimpleQueue = SimpleQueue()
    keeper = RecordingPorts(clock, inbox)
    keeper.ports["A"] = SleepyPort(clock)
    clock.script = [
        (0, load(0, quarters(60, 62, 64))),
        (0, Play(0)),
        (LEAD_NS + QUARTER // 2, Live("A", bytes((0xB0, 99, 1)))),
        (40 * QUARTER, Quit()),
    ]
    run(clock, inbox, keeper, SimpleQueue())
    ons = [t for t, m in keeper.ports["A"].sent if m[0] == 0x90]
    assert ons[2] - ons[1] == QUARTER
    assert ons[1] - ons[0] >= 10_000 * MS


class HeldUp(FakeClock):
    """A clock of a busy machine: tables that come while it plays are looked at 30 ms later."""

    def wait(self, inbox: SimpleQueue, until: int | None) -> object:
        message = super().wait(inbox, until)
        if isinstance(message, Load) and self.time:
            self.time += 30 * MS
        return message


def test_a_table_that_comes_just_before_a_note_does_not_lose_it():
    tables = [load(0, quarters(60, 62, 64, 65)), load(0, quarters(60, 62, 64, 77))]
    clock = HeldUp(
        [
            (0, tables[0]),
            (0, Play(0)),
            *((LEAD_NS + n * QUARTER - 10 * MS, tables[1]) for n in (1, 2, 3)),
            (3000 * MS, Quit()),
        ]
    )
    inbox: SimpleQueue = SimpleQueue()
    ports = RecordingPorts(clock, inbox)
    run(clock, inbox, ports, SimpleQueue())
    struck = [m[1] for _, m in ports.ports["A"].sent if m[0] & 0xF0 == 0x90]
    assert struck == [60, 62, 64, 77]


def test_lateness_is_reported_and_counted_anew():
    played = Played(
        (0, load(0, quarters(60, 62))),
        (0, Play(0)),
        (9 * QUARTER, Report()),
        (9 * QUARTER, Report()),
        (9 * QUARTER, Quit()),
    )
    reports = [e for e in played.events if isinstance(e, Lateness)]
    assert [len(np.frombuffer(r.nanoseconds, np.int64)) for r in reports] == [6, 0]
    assert not np.frombuffer(reports[0].nanoseconds, np.int64).any()  # the fake clock is never late


# From anywhere

note_rows = st.lists(
    st.tuples(st.integers(0, 3000), st.integers(1, 3000), st.integers(60, 62)), max_size=6
)
tables = st.builds(
    lambda rows, channel, pedal: schedule.compile(
        Track(
            0,
            "t",
            Notes.of(*(zip(*rows, strict=True) if rows else ([], [], []))),
            Controls(*zip(*pedal, strict=True)) if pedal else NO_CONTROLS,
            channel=channel,
        )
    ),
    note_rows,
    st.integers(0, 1),
    st.lists(
        st.tuples(st.integers(0, 3000), st.just(0xB0), st.just(64), st.sampled_from([0, 127])),
        max_size=3,
    ),
)
ports = st.sampled_from(["", "A"])
ticks = st.integers(0, 4000)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(tables, min_size=1, max_size=3), ticks, st.integers(60, 240))
def test_from_anywhere_each_note_leaves_exactly_at_its_moment(tables, start, bpm):
    tempo = TempoMap.constant(bpm)
    script = [(0, Load(i, str(i) + "!", table)) for i, table in enumerate(tables)]
    script += [(0, Tempo(tempo)), (0, Play(start)), (60_000 * MS, Quit())]
    played = Played(*script)
    for i, table in enumerate(tables):
        expected = []
        for row in range(len(table)):
            message, tick, end = table.message[row], int(table.tick[row]), int(table.end[row])
            if message[0] & 0xF0 != 0x90:
                continue
            begin = tick if tick >= start else start
            if tick >= start or end - start >= schedule.SHORTEST_CHASED:
                expected.append((begin, end, int(message[1])))
        base = tempo.second(start)
        moments = {
            t: LEAD_NS + round((tempo.second(t) - base) * 1e9) for row in expected for t in row[:2]
        }
        sent = [(t, m) for t, m in played.port(f"{i}!").sent if m[0] & 0xE0 == 0x80]
        ons = sorted((t, m[1]) for t, m in sent if m[0] & 0x10)
        offs = sorted((t, m[1]) for t, m in sent if not m[0] & 0x10)
        assert ons == sorted((moments[b], p) for b, _, p in expected)
        assert offs == sorted((moments[e], p) for _, e, p in expected)


def test_anchor_position_and_moment_are_inverse():
    tempo = TempoMap([0, 1000], [500_000, 300_000])
    anchor = Anchor(500.0, 7 * MS, playing=True)
    for tick in (500, 999, 1000, 5000):
        assert anchor.position(tempo, anchor.moment(tempo, tick)) == pytest.approx(tick, abs=1e-3)
    assert anchor.position(tempo, 0) == 500
    assert replace(anchor, playing=False).position(tempo, 10**12) == 500

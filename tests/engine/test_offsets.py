"""transport: tracks that play later or earlier than the beat, and ports that want messages ahead of time."""

from __future__ import annotations

import pytest
from rehearsal import MS, QUARTER, Played, load, quarters

from engine.playback import Live, Loop, Play, Quit, Seek, SendClock, Stop, Tempo
from engine.transport import LEAD_NS
from models.score import Controls, Notes
from models.timebase import PPQ, TempoMap

LEAD = LEAD_NS / MS


def shifted(notes: list[tuple[float, str, int]], ms: float) -> list[tuple[float, str, int]]:
    return [(pytest.approx(t + ms, abs=1e-5), word, pitch) for t, word, pitch in notes]


def straight(offset: int, *script: tuple[int, object]) -> Played:
    """Track 0 on A in time, track 1 with the same notes on B, `offset` ms off."""
    notes = quarters(60, 62, 64, 65, 67)
    return Played(
        (0, load(0, notes)),
        (0, load(1, notes, "B", offset=offset)),
        *script,
        (60 * QUARTER, Quit()),
    )


@pytest.mark.parametrize("offset", [-200, -1, 1, 130, 200])
def test_a_track_plays_later_or_earlier_than_the_beat_and_the_beat_waits_for_it(offset):
    played = straight(offset, (0, Play(0, 4 * PPQ)))
    begin = LEAD + max(-offset, 0)
    assert played.notes()[0] == (begin, "on", 60)
    assert played.notes("B") == shifted(played.notes("A"), offset)
    assert next(m for m in played.anchors() if m.playing).at == begin * MS
    last = played.anchors()[-1]
    assert (last.tick, last.playing) == (4 * PPQ, False)
    # The end is that of the last to reach it: nobody's last note is cut short.
    assert last.at / MS == pytest.approx(begin + 2000 + max(offset, 0))


@pytest.mark.parametrize("offset", [-200, -70, 70, 200])
@pytest.mark.parametrize("length", [PPQ // 10, PPQ, 2 * PPQ])
def test_a_loop_is_as_exact_with_an_offset(offset, length):
    begin = LEAD + max(-offset, 0)
    played = straight(
        offset,
        (0, Loop(PPQ, PPQ + length)),
        (0, Play(0)),
        (round((begin + 8020) * MS), Stop()),
    )
    both = begin + 7800  # before that, neither knows of the end
    a, b = played.notes("A"), played.notes("B")
    assert [n for n in b if n[0] < both + offset] == shifted([n for n in a if n[0] < both], offset)
    turns = [x.at for x in played.anchors() if x.tick == PPQ]
    assert len(turns) > 5
    # Nothing hangs, and what sounds at the stop ends there.
    assert a[-1][0] == pytest.approx(begin + 8020)
    assert {n[1] for n in (a[-1], b[-1])} == {"off"}
    assert len([n for n in b if n[1] == "on"]) == len([n for n in b if n[1] == "off"])


def test_what_is_due_before_the_loops_end_but_late_still_sounds_and_ends():
    notes = Notes.of([PPQ - 96], [96], [60])  # the last 50 ms of the loop
    played = Played(
        (0, load(0, notes, offset=200)),
        (0, Loop(0, PPQ)),
        (0, Play(0)),
        (LEAD_NS + 4 * QUARTER + 300 * MS, Stop()),
        (60 * QUARTER, Quit()),
    )
    ends = [LEAD + 500 * n + 200 for n in (1, 2, 3, 4)]
    assert played.notes() == [
        (pytest.approx(t - 50 * (word == "on")), word, 60) for t in ends for word in ("on", "off")
    ]


def test_a_seek_ends_at_once_and_goes_on_with_the_offset():
    played = straight(100, (0, Play(0)), (LEAD_NS + 700 * MS, Seek(3 * PPQ)))
    jump = LEAD + 700
    assert [n for n in played.notes("B") if n[0] <= jump] == [
        (LEAD + 100, "on", 60),
        (LEAD + 600, "off", 60),
        (LEAD + 600, "on", 62),
        (jump, "off", 62),
    ]
    assert played.notes("B")[4] == (jump + LEAD + 100, "on", 65)
    assert played.notes("A")[4] == (jump + LEAD, "on", 65)


def test_a_new_tempo_is_followed_where_the_beat_changed_it():
    change = LEAD_NS + 750 * MS  # at tick 1.5 quarters
    played = straight(200, (0, Play(0)), (change, Tempo(TempoMap.constant(60))))
    assert played.notes("B") == shifted(played.notes("A"), 200)


def test_a_new_tempo_with_a_track_ahead_loses_nothing():
    change = LEAD_NS + 200 * MS + 750 * MS
    played = straight(-200, (0, Play(0)), (change, Tempo(TempoMap.constant(60))))
    b = played.notes("B")
    assert [n[2] for n in b if n[1] == "on"] == [60, 62, 64, 65, 67]
    assert b[4:] == shifted(played.notes("A")[4:], -200)


def test_an_edit_and_a_changed_offset_leave_nothing_behind():
    played = straight(
        150,
        (0, Play(0)),
        (LEAD_NS + 400 * MS, load(1, quarters(60, 72, 64, 65), "B", offset=150)),
        (LEAD_NS + 1400 * MS, load(1, quarters(60, 72, 64, 65), "B", offset=-100)),
    )
    assert played.notes("B") == [
        (LEAD + 150, "on", 60),
        (LEAD + 650, "off", 60),
        (LEAD + 650, "on", 72),
        (LEAD + 1150, "off", 72),
        (LEAD + 1150, "on", 64),
        (LEAD + 1400, "off", 64),
        (LEAD + 1400, "on", 65),
        (LEAD + 1900, "off", 65),
    ]


def test_controls_keep_their_place_among_the_notes():
    controls = Controls([PPQ], [0xC0], [5], [0])
    played = Played(
        (0, load(0, quarters(60, 62), controls=controls, offset=-80)),
        (0, Loop(0, 2 * PPQ)),
        (0, Play(0)),
        (5 * QUARTER, Stop()),
        (60 * QUARTER, Quit()),
    )
    programs = [(t, m[1]) for t, m in played.others() if m[0] == 0xC0]
    assert programs[:3] == [(0, 0), (LEAD + 500, 5), (LEAD + 1000, 0)]


def test_a_port_that_wants_messages_early_gets_them_early_with_their_moments():
    script = (
        (0, load(0, quarters(60, 62, 64), "A")),
        (0, load(1, quarters(60, 62, 64), "J")),
        (0, load(2, quarters(48, 50, 52), "J", offset=100, channel=1)),
        (0, SendClock(True)),
        (0, Loop(0, 2 * PPQ)),
        (0, Play(0)),
        (6 * QUARTER + 40 * MS, Stop()),
        (60 * QUARTER, Quit()),
    )
    played = Played(*script, leads={"J": 12 * MS})
    first = [(t, w, p) for t, w, p in played.notes("J") if p >= 60]
    assert first[:-1] == played.notes("A")[:-1]
    # The stop ends what sounds after everything that was handed over before.
    assert first[-1][1:] == played.notes("A")[-1][1:]
    late = [(t, w, p + 12) for t, w, p in played.notes("J") if p < 60]
    assert late[:-1] == shifted(first[: len(late) - 1], 100)
    port = played.port("J")
    meant = [(moment - call) / MS for call, moment in port.handed if moment > 12 * MS]
    assert set(meant) <= {12.0, 14.0, 0.0}
    clocks = {name: [t for t, m in played.others(name) if m == b"\xf8"] for name in ("A", "J")}
    # The first was due at once.
    assert clocks["A"][1:] == clocks["J"][: len(clocks["A"]) - 1]


def test_live_notes_wait_for_nobody():
    played = Played(
        (0, load(0, quarters(60, 62), "J")),
        (0, Play(0)),
        (300 * MS, Live("J", bytes((0x90, 70, 90)))),
        (310 * MS, Live("J", bytes((0x80, 70, 0)))),
        (60 * QUARTER, Quit()),
        leads={"J": 12 * MS},
    )
    assert (300, "on", 70) in played.notes("J")
    assert (310, "off", 70) in played.notes("J")

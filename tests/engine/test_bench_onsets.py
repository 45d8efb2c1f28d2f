"""The arithmetic by which players are compared, and the whole way once with a few notes."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from engine import bench_midi, bench_onsets, bench_peers, bench_soak, bench_thru, jackd, schedule
from engine.bench_onsets import added, measure, percentiles

MS = 1_000_000


def on(pitch: int, velocity: int = 90, channel: int = 0) -> bytes:
    return bytes((0x90 | channel, pitch, velocity))


def off(pitch: int, channel: int = 0) -> bytes:
    return bytes((0x80 | channel, pitch, 64))


PIECE = [
    (0, on(60)),
    (10 * MS, off(60)),
    (20 * MS, on(60, 91)),
    (30 * MS, off(60)),
    (40 * MS, on(62)),
]


def test_a_constant_latency_is_no_error():
    found = measure(PIECE, [(at + 777 * MS, message) for at, message in PIECE])
    assert found.errors.tolist() == [0, 0, 0]
    assert (found.lost, found.extra) == (0, 0)


def test_errors_are_distances_from_the_median():
    late = {on(60): 5, on(60, 91): 6, on(62): 9}
    found = measure(PIECE, [(at + late.get(message, 0) * MS, message) for at, message in PIECE])
    assert sorted(found.errors.tolist()) == [0, 1 * MS, 3 * MS]


def test_drift_counts():
    found = measure(PIECE, [(at + at // 10, message) for at, message in PIECE])
    assert sorted(found.errors.tolist()) == [0, 2 * MS, 2 * MS]


def test_what_jack_stood_still_is_not_the_players_error():
    """The second onset belongs into a stall and comes 1 ms after its end, the third comes 3 ms late after it."""
    stalls = [(19.0 * MS, 24.0 * MS), (500.0 * MS, 600.0 * MS)]
    came = [PIECE[0], (25 * MS, PIECE[2][1]), (43 * MS, PIECE[4][1]), (60 * MS, on(64))]
    piece = [PIECE[0], PIECE[2], PIECE[4], (60 * MS, on(64))]
    found = measure(piece, [(at, m) for at, m in came], stalls)
    # The median difference is 1.5 ms.
    assert found.errors.tolist() == [1.5 * MS, 3.5 * MS, 1.5 * MS, 1.5 * MS]
    assert found.own.tolist() == [1.5 * MS, 1 * MS, 1.5 * MS, 1.5 * MS]


def test_a_lost_onset_puts_no_other_in_its_place():
    """The second note of the same key is compared with its own moment when the first is missing."""
    found = measure(PIECE, PIECE[1:])
    assert found.errors.tolist() == [0, 0]
    assert (found.lost, found.extra) == (1, 0)


def test_lost_note_offs_and_what_nobody_asked_for_are_counted():
    found = measure(PIECE, [*PIECE[:3], PIECE[4], (50 * MS, on(62)), (51 * MS, off(71))])
    assert (found.lost, found.extra) == (1, 2)


def test_a_note_on_of_velocity_0_is_a_note_off():
    came = [(at, on(m[1], 0) if m[0] == 0x80 else m) for at, m in PIECE]
    assert measure(PIECE, came).lost == 0


def test_nothing_that_comes_is_no_perfect_score():
    found = measure(PIECE, [])
    assert found.lost == 5
    assert np.isnan(list(percentiles("x", found.errors).values())).all()


def test_what_going_round_adds():
    direct = [(0, on(60)), (5, off(60)), (10, on(60)), (15, off(60))]
    later, missing = added(direct, [(3, on(60)), (9, off(60)), (12, on(60))])
    assert sorted(later.tolist()) == [2, 3, 4]
    assert missing == 1


def test_every_note_of_the_piece_is_one_of_a_kind_and_on_the_grid_of_the_file(tmp_path: Path):
    mido = pytest.importorskip("mido")
    score = bench_peers.piece(2000, 12.5, "gear")
    messages = bench_peers.messages(score)
    struck = [s for _, message in messages if (s := bench_onsets.struck(message))]
    assert len(struck) == len(set(struck)) == 2000
    table = schedule.flatten(score)
    ons = table.tick[(table.message[:, 0] & 0xF0) == 0x90]
    assert (np.diff(ons) > 0).all()
    path = tmp_path / "piece.mid"
    bench_peers.write_file(score, path)
    file = mido.MidiFile(path)
    assert len(file.tracks) == 1
    at, read = 0.0, []
    for message in file:
        at += message.time
        if message.type in ("note_on", "note_off"):
            read.append((at * 1e9, bytes(message.bytes())))
    assert [message for _, message in read] == [message for _, message in messages]
    assert np.allclose([at for at, _ in read], [at for at, _ in messages], atol=1000)


def test_sounding_counts_what_ends_a_note_and_what_does_not():
    sounding = bench_soak.Sounding()
    came = [
        on(60),
        on(60),
        off(60),
        off(60),
        on(62),
        b"\xf8",
        off(62, channel=3),
        bytes((0xB0, 123, 0)),
    ]
    sounding.add(enumerate(came))
    assert (sounding.ons, sounding.offs, sounding.again, sounding.clocks) == (3, 1, 1, 1)
    assert sounding.keys == {(0, 62)}


def test_latenesses_are_counted_in_constant_room():
    late = bench_soak.Latenesses()
    nanoseconds = np.array([-100, 0, 9_000, 15_000, 6 * MS, 900 * MS], np.int64)
    late.add(nanoseconds[:3].tobytes())
    late.add(nanoseconds[3:].tobytes())
    late.add(b"")
    assert (late.count, late.late, late.most_ns) == (6, 2, 900 * MS)
    assert late.percentile_ms(50) == pytest.approx(0.01)
    assert late.percentile_ms(60) == pytest.approx(0.02)
    assert late.percentile_ms(80) == pytest.approx(6.01)


def test_growth():
    assert bench_soak.growth_percent(200.0, 210.0) == pytest.approx(5)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere MIDI does not go through JACK")
def test_all_players_play_and_the_ruler_misses_nothing():
    for package in ("mido", "isobar", "jack"):
        pytest.importorskip(package)
    bench_peers.check()
    with jackd.dummy_server("ricercar-test-onsets", 256, patient=True):
        figures = bench_midi.peers(40, 0.5, ["idle"], rounds=1)
        figures |= bench_thru.measure("thru", 20)
    lost = {name: value for name, value in figures.items() if name.endswith("_lost")}
    assert lost == {"thru_lost": 0} | {
        f"{player}_idle_lost": 0 for player in ("ours", *bench_peers.PEERS)
    }
    assert not np.isnan(list(figures.values())).any()

"""The viewport's arithmetic and the time grid: pure, so tested by properties."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.pianoroll import grid
from app.pianoroll.viewport import GREATEST_ROW, LEAST_ROW, MARGIN_PX, Viewport
from models.timebase import PPQ, SIXTEENTH, MeterMap

views = st.builds(
    Viewport,
    width=st.integers(200, 3000),
    height=st.integers(100, 2000),
    left_tick=st.floats(0, 1e6),
    scale=st.floats(1e-4, 2.0),
    row=st.integers(LEAST_ROW, GREATEST_ROW),
)


@given(views, st.floats(-1e6, 1e7))
def test_ticks_and_x_are_inverse(view: Viewport, tick: float) -> None:
    assert view.tick(view.x(tick)) == pytest.approx(tick, abs=1e-3)


@given(views, st.integers(0, 127))
def test_a_pitch_fills_the_row_above_its_lower_edge(view: Viewport, pitch: int) -> None:
    assert view.pitch(view.y(pitch) - 0.5) == pitch
    assert view.pitch(view.y(pitch + 1)) == pitch


@given(views, st.floats(0.05, 20), st.floats(0, 1))
def test_zooming_keeps_the_tick_under_the_pointer(
    view: Viewport, factor: float, share: float
) -> None:
    x = share * view.width
    tick, zoomed = view.tick(x), view.zoomed_time(factor, x)
    if zoomed.left_tick > -MARGIN_PX / zoomed.scale:  # not stopped by the beginning of the piece
        assert zoomed.x(tick) == pytest.approx(x, abs=0.01)
    else:
        assert zoomed.x(0) == pytest.approx(MARGIN_PX)


@given(views, st.integers(-40, 40), st.floats(0, 1))
def test_zooming_keeps_the_pitch_under_the_pointer(
    view: Viewport, steps: int, share: float
) -> None:
    view = view.scrolled(dy=40 * view.row)
    y = share * view.height
    pitch, zoomed = view.pitch(y), view.zoomed_pitch(steps, y)
    at_an_edge = zoomed.scroll_y in (0, max(128 * zoomed.row - zoomed.height, 0))
    assert at_an_edge or abs(zoomed.pitch(y) - pitch) <= 1


@given(views, st.floats(-1e7, 1e7), st.floats(-1e5, 1e5))
def test_scrolling_never_leaves_the_piece_by_more_than_the_margin(
    view: Viewport, dx: float, dy: float
) -> None:
    there = view.scrolled(dx, dy)
    assert there.x(0) <= MARGIN_PX + 1e-6
    assert 0 <= there.scroll_y <= max(128 * there.row - there.height, 0)


@given(views, st.integers(0, 10**6), st.integers(1, 10**5), st.integers(10, 110))
def test_revealing_shows_the_note(view: Viewport, start: int, length: int, pitch: int) -> None:
    shown = view.revealing(start, start + length, pitch, pitch)
    assert shown.x(start) >= 0
    assert shown.x(start) <= shown.width
    assert shown.y(pitch + 1) >= -1
    assert shown.y(pitch) <= shown.height + 1
    assert shown.revealing(start, start + length, pitch, pitch) == shown


def test_device_pixels_are_whole_and_rounded_once() -> None:
    view = Viewport(left_tick=0, scale=0.1)
    ticks = np.array([0, 3, 5, 960])
    assert view.xs(ticks).tolist() == [0, 0, 0, 96]
    assert view.xs(ticks, 2.0).tolist() == [0, 1, 1, 192]


METERS = (
    MeterMap(),
    MeterMap(pickup=PPQ),
    MeterMap(numerator=np.array([3]), denominator=np.array([4]), pickup=2 * PPQ),
    MeterMap(np.array([0, 7680]), np.array([4, 6]), np.array([4, 8])),
    MeterMap(np.array([0, 5000]), np.array([4, 3]), np.array([4, 4])),  # a bar cut short
)
STEPS = (0, 1, 4 * PPQ, PPQ, PPQ * 2 // 3, SIXTEENTH, PPQ // 6, 1000)


@given(st.sampled_from(METERS), st.floats(0, 40_000), st.sampled_from(STEPS))
def test_the_nearest_line_is_one_of_the_two_around(meter: MeterMap, tick: float, step: int) -> None:
    low = grid.floor(meter, tick, step)
    high = grid.after(meter, tick, step)
    found = grid.nearest(meter, tick, step)
    assert low <= tick < high
    assert found in ((low, high) if step > 1 else (round(tick), low, high))
    assert abs(found - tick) <= min(tick - low, high - tick) + 1e-6
    assert grid.nearest(meter, found, step) == found


def test_grids_count_from_the_bar_line() -> None:
    pickup = METERS[1]
    assert grid.nearest(pickup, PPQ + 100, 4 * PPQ) == PPQ  # bar 1 begins after the pickup
    assert grid.nearest(pickup, 100, 4 * PPQ) == 0
    cut = METERS[4]
    assert grid.nearest(cut, 4990, PPQ) == 5000  # the new metre's first bar line, off the old grid
    triplet = PPQ * 2 // 3
    assert [grid.nearest(METERS[0], t, triplet) for t in (600, 1300)] == [640, 1280]


def test_nearest_bar() -> None:
    meter = METERS[1]
    bars = [t for _, t in meter.bars(0, 5 * 4 * PPQ)]
    for start, end in pairwise(bars):
        middle = (start + end) / 2
        assert grid.nearest_bar(meter, middle - 1) == start
        assert grid.nearest_bar(meter, middle + 1) == end


def test_lines_agree_with_the_metre() -> None:
    meter = METERS[2]  # three four, two beats of pickup
    lines = grid.lines(meter, 0, 8 * PPQ, 0.1, SIXTEENTH)
    assert lines.numbers == tuple(meter.bars(0, 8 * PPQ + 1))
    assert lines.beats.tolist() == [PPQ * k for k in (1, 3, 4, 6, 7, 9, 10)]
    everything = np.concatenate([lines.bars, lines.beats, lines.steps])
    assert len(set(everything.tolist())) == len(everything)
    assert not (everything % SIXTEENTH).any()


@given(st.sampled_from(METERS), st.floats(1e-5, 1.0), st.integers(0, 10**6))
def test_lines_never_crowd(meter: MeterMap, scale: float, start: int) -> None:
    end = start + 2000 / scale
    lines = grid.lines(meter, start, end, scale, SIXTEENTH)
    assert len(lines.bars) <= 2000 / grid.LEAST_BAR_PX * 2.1 + 3
    assert len(lines.steps) <= 2000 / grid.LEAST_STEP_PX + 64
    if len(lines.numbers) > 2 and lines.numbers[-1][0] - lines.numbers[-2][0] > 1:
        assert all((bar - 1) % 2 == 0 for bar, _ in lines.numbers if bar)

"""What the canvas draws, looked up in its pixels, and what it finds under the mouse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtCore import QEvent, QObject
from PySide6.QtGui import QColor, QImage, QPainter, QPaintEvent, QRegion
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from app import theme
from app.pianoroll.canvas import Canvas, silent
from app.pianoroll.layers import Layer, members, topmost
from app.pianoroll.painting import Rectangles
from app.pianoroll.scene import CROWD, pitch_name, style
from app.pianoroll.sight import cut_corners, rims
from app.pianoroll.view import View
from app.pianoroll.viewport import Viewport
from app.session import Session
from engine import edits
from engine.document import Document
from models import catalogue
from models.card import Task
from models.score import Notes, Region, Score, Track
from models.system import Ask, Proposal

# --- layers --------------------------------------------------------------------------------------

some_notes = st.lists(
    st.tuples(st.integers(0, 5000), st.integers(1, 9000), st.integers(50, 60)), max_size=40
).map(
    lambda rows: (
        Notes.of(*(list(c) for c in zip(*rows, strict=True))) if rows else Notes.of([], [], [])
    )
)


@given(some_notes, st.floats(-100, 6000), st.floats(0, 3000))
def test_a_span_holds_every_note_that_sounds(notes: Notes, start: float, length: float) -> None:
    layer = Layer.of(notes)
    span = layer.span(start, start + length)
    sounding = np.flatnonzero((notes.onset < start + length) & (notes.end > start))
    assert set(sounding.tolist()) <= set(range(span.start, span.stop))


@given(some_notes, st.integers(0, 6000), st.integers(50, 60))
def test_the_note_under_a_point_is_the_latest_begun(notes: Notes, tick: int, pitch: int) -> None:
    found = Layer.of(notes).at(tick, pitch)
    hit = np.flatnonzero((notes.onset <= tick) & (notes.end > tick) & (notes.pitch == pitch))
    assert found == (int(hit[-1]) if len(hit) else None)


@given(st.lists(st.integers(0, 50)), st.sets(st.integers(0, 50), min_size=1))
def test_members(ids: list[int], chosen: set[int]) -> None:
    mask = members(np.array(ids, np.int64), np.array(sorted(chosen), np.int64))
    assert mask.tolist() == [i in chosen for i in ids]


def test_the_active_track_comes_first_and_a_near_miss_last() -> None:
    a = Layer.of(Notes.of([0], [100], [60]), track=1, active=True)
    b = Layer.of(Notes.of([0], [200], [60]), track=2)
    for order in ([a, b], [b, a]):
        assert topmost(order, 50, 60, 10) == (a, 0)
        assert topmost(order, 105, 60, 10) == (b, 0)  # exactly inside b beats nearly inside a
        assert topmost(order, 205, 60, 10) == (b, 0)
        assert topmost(order, 215, 60, 10) is None


# --- painting ------------------------------------------------------------------------------------


def test_rectangles_land_on_their_pixels_and_the_buffer_grows(qapp: QApplication) -> None:
    image = QImage(200, 4, QImage.Format.Format_RGB32)
    image.fill(0)
    rectangles = Rectangles(capacity=2)
    painter = QPainter(image)
    x = np.arange(0, 200, 4)
    rectangles.fill(painter, QColor("#ffffff"), x, 1, 2, 2)
    rectangles.fill(painter, QColor("#ffffff"), np.zeros(0, int), 0, 5, 5)
    painter.end()
    rows = np.frombuffer(image.constBits(), np.uint32).reshape(4, 200) & 0xFFFFFF
    assert not rows[[0, 3]].any()
    for row in (1, 2):
        assert (rows[row] == 0xFFFFFF).tolist() == [i % 4 < 2 for i in range(200)]


def test_frames_and_cut_corners(qapp: QApplication) -> None:
    image = QImage(20, 10, QImage.Format.Format_RGB32)
    image.fill(0)
    painter, white = QPainter(image), {0: QColor("#ffffff")}
    one, eight, code = np.array([1]), np.array([8]), np.zeros(1, np.int64)
    rectangles = Rectangles(capacity=1)
    rectangles.runs(painter, rims(one, one, eight, eight, 1), code, white)
    rectangles.runs(painter, cut_corners(one + 10, one, eight, eight, 1), code, white)
    painter.end()
    lit = np.frombuffer(image.constBits(), np.uint32).reshape(10, 20) & 0xFFFFFF > 0
    assert lit[1:9, 1:9].sum() == 28  # the rim of 8 × 8
    assert lit[1:9, 11:19].sum() == 60  # 8 × 8 without its corners
    assert not lit[1, 11]


def test_the_colours_of_voices_stay_apart_and_legible() -> None:
    for index in range(len(theme.VOICES)):
        for standing in ("active", "other"):
            for fill in style(index, standing).fills:
                assert theme.contrast(fill, theme.colour("ink")) > 4.5, (index, standing)
                assert theme.contrast(fill, theme.colour("row_white")) > 3.0, (index, standing)
    for a, b in zip(theme.VOICES[:4], theme.VOICES[1:4], strict=False):
        assert abs(QColor(a).hueF() - QColor(b).hueF()) > 0.08
    for name in ("text", "text_dim"):
        for ground in ("window", "panel", "raised", "field"):
            assert theme.contrast(theme.colour(name), theme.colour(ground)) > 4.5


def test_pitch_names() -> None:
    assert [pitch_name(p) for p in (60, 61, 59, 0, 127)] == ["C4", "C♯4", "B3", "C-1", "G9"]
    assert pitch_name(61, flats=True) == "D♭4"


# --- the canvas ----------------------------------------------------------------------------------


class Stage:
    """A canvas of 400 × 200 at a tenth of a pixel a tick, rows of 10 px, pitch 70 in the top row."""

    def __init__(self, qtbot: QtBot, score: Score) -> None:
        self.session = Session(Document(score))
        self.view = View()
        self.canvas = Canvas(self.session, self.view)
        qtbot.addWidget(self.canvas)
        self.canvas.resize(400, 200)
        self.canvas.show()
        qtbot.waitExposed(self.canvas)
        self.view.show(
            Viewport(width=400, height=200, left_tick=0, scale=0.1, row=10, scroll_y=570)
        )

    def colour(self, tick: float, pitch: int) -> QColor:
        """The colour in the middle of a row at a tick."""
        view = self.view.viewport
        picture = self.canvas.grab().toImage()
        return picture.pixelColor(round(view.x(tick)), round(view.y(pitch) - view.row / 2))

    def near(self, tick: float, pitch: int, shade: QColor, tolerance: int = 12) -> bool:
        found = self.colour(tick, pitch)
        return all(
            abs(a - b) <= tolerance
            for a, b in zip(found.getRgb()[:3], shade.getRgb()[:3], strict=True)
        )


@pytest.fixture
def stage(qtbot: QtBot) -> Stage:
    high = Notes.of([0, 1000], 900, [65, 67], 127)
    low = Notes.of([0], [1900], [55], [127], first_id=2)
    return Stage(qtbot, Score((Track(0, "High", high), Track(1, "Low", low))))


def test_notes_show_in_their_tracks_colours(stage: Stage) -> None:
    assert stage.near(500, 65, style(0, "active").fills[-1])
    assert stage.near(500, 55, style(1, "other").fills[-1])
    assert not stage.near(950, 65, style(0, "active").fills[-1])
    stage.session.set_active_track(1)
    assert stage.near(500, 55, style(1, "active").fills[-1])


def test_both_notes_of_a_unison_show(qtbot: QtBot) -> None:
    one = Notes.of([0], [900], [65], [127])
    other = Notes.of([0], [900], [65], [127], first_id=1)
    stage = Stage(qtbot, Score((Track(0, "High", one), Track(1, "Low", other))))
    picture = stage.canvas.grab().toImage()
    top = round(stage.view.viewport.y(66))
    seen = {picture.pixel(50, y) for y in range(top, top + 10)}
    assert {style(0, "active").fills[-1].rgb(), style(1, "other").fills[-1].rgb()} <= seen


def test_quiet_notes_are_darker(stage: Stage) -> None:
    loud = theme.luminance(stage.colour(500, 65))
    stage.session.commit("x", edits.set_velocity(stage.session.score, [0], 20))
    assert theme.luminance(stage.colour(500, 65)) < loud * 0.8


def test_selected_muted_and_previewed_notes_look_so(stage: Stage) -> None:
    session = stage.session
    session.select([1])
    assert stage.near(1500, 67, style(0, "active").picked)
    session.preview(edits.move(session.score, [1], semitones=1))
    assert stage.near(1500, 68, style(0, "active").picked)
    session.revert()
    assert stage.near(1500, 67, style(0, "active").picked)
    session.commit("Mute", edits.set_track(session.score, 1, muted=True))
    assert stage.near(500, 55, style(1, "muted").fills[-1])


def test_notes_that_may_change_have_a_rim(stage: Stage) -> None:
    session, plain = stage.session, style(0, "active").fills[-1].rgb()

    def rims(pitch: int) -> int:
        """How many pixels of the note's upper edge are of another colour than its middle."""
        picture = stage.canvas.grab().toImage()
        top, layer = round(stage.view.viewport.y(pitch + 1)), stage.canvas.layers[0]
        note = layer.notes.where(layer.notes.pitch == pitch)
        x0, x1 = (round(stage.view.viewport.x(int(t))) for t in (note.onset[0], note.end[0]))
        return sum(picture.pixel(x, top) != plain for x in range(x0 + 1, x1 - 2))

    session.set_span((0, 1920))
    assert rims(65) == 0
    session.set_ticked([0])
    assert rims(65) == 87
    session.set_ticked([1])
    assert rims(65) == 0
    session.set_ticked([0])
    session.set_span((10, 1920))  # the first note now begins outside
    assert rims(65) == 0
    assert rims(67) == 87


def test_locked_notes_are_hatched(stage: Stage) -> None:
    def shades() -> int:
        picture = stage.canvas.grab().toImage()
        return len({picture.pixel(x, round(stage.view.viewport.y(65)) - 4) for x in range(20, 80)})

    plain = shades()
    stage.session.commit("Lock", edits.set_locked(stage.session.score, [0], True))
    assert shades() > plain


def test_ghosts_are_drawn_and_what_they_replace_fades(stage: Stage) -> None:
    session = stage.session
    region = Region(0, 1920, frozenset({0}))
    new = (Track(0, "High", Notes.of([0], [900], [60])),)
    ground = stage.colour(500, 60)
    session.begin(CARD, Ask(Task.REGENERATE, session.score, region))
    session.propose(1, Proposal(0, region, new))
    assert stage.colour(500, 60) != ground
    assert not stage.near(500, 60, style(0, "active").fills[-1])
    assert not stage.near(500, 65, style(0, "active").fills[-1])  # it would go
    assert stage.near(500, 55, style(1, "other").fills[-1])  # outside the region's voices
    better = (Track(0, "High", Notes.of([0], [900], [58])),)
    session.propose(1, Proposal(0, region, better))
    assert stage.colour(500, 60) == ground
    session.drop([(1, 0)])
    assert stage.near(500, 65, style(0, "active").fills[-1])


CARD = catalogue.cards()[0]


def test_a_crowd_looks_like_the_same_notes_one_by_one(qtbot: QtBot) -> None:
    rng = np.random.default_rng(3)
    n = CROWD + 1000
    notes = Notes.of(
        rng.integers(0, 3900, n), rng.integers(10, 60, n), rng.choice((56, 60, 64, 68), n), 127
    )
    long = Notes.of([500], [3000], [52], [127], first_id=n)
    stage = Stage(qtbot, Score((Track(0, "Many", Notes.concatenate([notes, long])),)))
    image = stage.canvas.grab().toImage()
    view = stage.view.viewport
    target = style(0, "active").fills[-1].rgb()
    for pitch in (56, 58, 60, 62, 64, 68):
        row = round(view.y(pitch)) - 5
        lit = sum(image.pixel(x, row) == target for x in range(400))
        assert lit > 380 if pitch % 4 == 0 else lit == 0, pitch
    row = round(view.y(52)) - 5
    lit = [x for x in range(400) if image.pixel(x, row) == target]
    assert lit == list(range(50, 350))


def test_twice_the_pixels_show_the_same_picture(qtbot: QtBot, stage: Stage) -> None:
    for dpr in (1.0, 1.5, 2.0):
        stage.canvas._render(dpr)
        image = stage.canvas._image
        assert image is not None
        assert image.width() == int(np.ceil(400 * dpr))
        y = (stage.view.viewport.y(65) - 5) * dpr
        edges = [QColor(image.pixel(round(x * dpr), round(y))) for x in (50, 95)]
        assert edges[0].rgb() == style(0, "active").fills[-1].rgb()
        assert edges[1].rgb() != style(0, "active").fills[-1].rgb()


class Watch(QObject):
    """Notes which regions a widget is told to paint."""

    def __init__(self) -> None:
        super().__init__()
        self.painted: list[QRegion] = []

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if isinstance(event, QPaintEvent):
            self.painted.append(event.region())
        return False


def test_a_moving_playhead_repaints_two_strips_only(stage: Stage, qtbot: QtBot) -> None:
    canvas, watch = stage.canvas, Watch()
    canvas.show_playhead(1000)
    qtbot.wait(30)
    canvas.installEventFilter(watch)
    canvas.show_playhead(1010)
    canvas.show_playhead(1010)
    qtbot.waitUntil(lambda: bool(watch.painted))
    canvas.removeEventFilter(watch)
    assert sum(region.boundingRect().width() for region in watch.painted) <= 8
    assert stage.near(1010, 60, theme.colour("playhead"))


def test_soloing_silences_the_others() -> None:
    tracks = (Track(0, "a"), Track(1, "b", soloed=True), Track(2, "c", soloed=True, muted=True))
    assert silent(Score(tracks)) == {0, 2}
    assert silent(Score(tracks[:1])) == frozenset()

"""The score view: engraved in another process, drawn without nesting, following the playhead."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from mouse import CONTROL, click, wheel
from PySide6.QtGui import QImage, QPainter
from pytestqt.qtbot import QtBot
from stage import BAR, quartet

from app.scoreview import Line, ScoreView
from app.session import Playhead, Session
from engine import edits, engrave
from engine.document import Document
from models.score import Key, Notes, Score, Track
from models.timebase import PPQ, MeterMap

WAIT_MS = 30_000
LAYOUT = engrave.Layout(600, 24, "#ff0000")


def long_quartet(bars: int = 24) -> Score:
    onset = np.arange(4 * bars) * PPQ
    tracks = [
        Track(i, name, Notes.of(onset, PPQ, pitch, first_id=4 * bars * i), channel=i)
        for i, (name, pitch) in enumerate((("Soprano", 71), ("Bass", 50)))
    ]
    return Score(tuple(tracks))


# --- engraving ---------------------------------------------------------------------------------------


def test_a_score_becomes_lines_that_draw_flat(qtbot: QtBot) -> None:
    laid, *pages = engrave.engrave(engrave.Job(7, long_quartet(), LAYOUT))
    assert isinstance(laid, engrave.Laid)
    assert laid.serial == 7
    assert laid.pages == len(pages) > 2
    assert [tick for tick, _, _ in laid.bars] == [BAR * i for i in range(24)]
    assert [page for _, _, page in laid.bars] == sorted(page for _, _, page in laid.bars)
    for page in pages:
        assert isinstance(page, engrave.Page)
        text = page.svg.decode()
        assert text.count("<svg") == 1, "QtSvg draws a nested one blank"
        assert "currentColor" not in text
        assert "<style" not in text
        line = Line(page.svg)
        assert line.renderer.isValid()
    first = Line(pages[0].svg) if isinstance(pages[0], engrave.Page) else None
    assert first is not None
    image = QImage(first.size, QImage.Format.Format_ARGB32_Premultiplied)
    image.fill(0)
    painter = QPainter(image)
    first.renderer.render(painter)
    painter.end()
    pixels = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), -1, 4)
    inked = pixels[..., 3] > 128
    assert inked.sum() > 1000, "staves, clefs and notes"
    assert (pixels[inked][:, 2] > 100).all(), "all of it in the ink's colour"
    assert not pixels[..., :2].any()


def test_the_line_at_the_playhead_comes_first() -> None:
    job = engrave.Job(1, long_quartet(), LAYOUT, tick=20 * BAR)
    laid, *pages = engrave.engrave(job)
    assert isinstance(laid, engrave.Laid)
    wanted = next(page for tick, _, page in laid.bars if tick == 20 * BAR)
    order = [page.page for page in pages if isinstance(page, engrave.Page)]
    assert order[0] == wanted
    assert sorted(order) == list(range(laid.pages))


def test_texts_are_plain_letters() -> None:
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10"><style>x</style>'
        '<svg viewBox="0 0 100 100" color="black"><g class="a placeholder"><ellipse/></g>'
        '<text x="1" font-size="0px"><tspan><tspan font-family="Leipzig" font-size="9px">\ueca5'
        '</tspan></tspan><tspan font-size="5px"> = 66</tspan></text>'
        '<path stroke="currentColor"/></svg></svg>'
    )
    flat = engrave.flatten(svg, "#123456").decode()
    assert re.search(r'<text x="1" font-size="5px" stroke="none">&#9833;= 66</text>', flat)
    assert 'transform="scale(0.1)"' in flat
    assert "ellipse" not in flat
    assert '<path stroke="#123456"' in flat


# --- the view ----------------------------------------------------------------------------------------


@pytest.fixture
def session(qtbot: QtBot) -> Session:
    return Session(Document(long_quartet()))


@pytest.fixture
def view(qtbot: QtBot, session: Session) -> Iterator[ScoreView]:
    made = ScoreView(session)
    qtbot.addWidget(made)
    made.resize(600, 180)
    made.show()
    qtbot.waitUntil(lambda: len(made._lines) == made.pages > 2, timeout=WAIT_MS)
    yield made
    made.close_engraver()


def test_the_view_lives_with_its_score(qtbot: QtBot, session: Session, view: ScoreView) -> None:
    # One view for all of it: starting the engraver takes longer than everything else.
    assert view.current_page == 0
    session.set_playhead(Playhead(23 * BAR + PPQ))
    assert view.current_page == view.pages - 1
    last = view._lines[view.pages - 1]
    assert last.top <= view._scroll.value() + view.height()
    assert last.top + last.size.height() > view._scroll.value()

    sought: list[int] = []
    session.sought.connect(sought.append)
    session.set_playhead(Playhead(0))
    view._scroll.setValue(0)
    tick, element, page = view._bars[2]
    box = view._lines[page].box(element)
    click(view, (box.center().x(), view._lines[page].top + box.center().y()))
    assert sought == [tick]

    image = view.grab().toImage()
    colours = {image.pixelColor(x, 90).name() for x in range(image.width())}
    assert len(colours) > 3, "notes, staff and the bar at the playhead"

    lines = view.pages
    for _ in range(4):
        wheel(view, (50, 50), 1, CONTROL)
    qtbot.waitUntil(lambda: view.pages > lines, timeout=WAIT_MS)

    session.commit("Cut", edits.delete(session.score, np.arange(4, 96)))
    session.commit("Cut", edits.delete(session.score, np.arange(100, 192)))
    qtbot.waitUntil(lambda: view.pages == 1, timeout=WAIT_MS)
    assert len(view._bars) == 1

    session.replace_document(Document(quartet()))
    qtbot.waitUntil(lambda: len(view._bars) == 5, timeout=WAIT_MS)

    process = view._engraver._process
    assert process is not None
    process.kill()
    qtbot.waitUntil(lambda: view._engraver._process is None, timeout=WAIT_MS)
    session.commit("Cut", edits.delete(session.score, np.arange(4, 17)))
    session.commit("Cut", edits.delete(session.score, np.arange(21, 68)))
    qtbot.waitUntil(lambda: len(view._bars) == 2, timeout=WAIT_MS)

    process = view._engraver._process
    assert process is not None
    view.close_engraver()
    assert process.exitcode is not None


def test_a_hidden_view_engraves_nothing(qtbot: QtBot, session: Session) -> None:
    view = ScoreView(session)
    qtbot.addWidget(view)
    session.commit("Edit", edits.move(session.score, [0], 0, 1))
    qtbot.wait(400)
    assert view._engraver._process is None


# --- long scores -------------------------------------------------------------------------------------


def test_a_long_score_is_cut_to_whole_bars_around_the_playhead() -> None:
    score = long_quartet(400)
    assert engrave.around(long_quartet(100), 0)[0].length == 100 * BAR
    for tick in (0, 200 * BAR + 5, 399 * BAR):
        part, start, end = engrave.around(score, tick)
        assert start <= tick < end
        assert start % BAR == end % BAR == 0
        notes = sum(len(t.notes) for t in part.tracks)
        assert engrave.MOST_NOTES - 16 < notes <= engrave.MOST_NOTES
        assert part.length == end - start
    assert engrave.around(score, 0)[1] == 0
    assert engrave.around(score, 399 * BAR)[2] == 400 * BAR


def test_a_cut_keeps_what_sounds_and_what_is_in_force() -> None:
    score = quartet()
    whole = replace(
        score,
        meter=MeterMap([0, PPQ + 2 * BAR], [4, 3], [4, 4], PPQ),
        keys=(Key(0, 1), Key(PPQ + BAR, -2)),
        fermatas=(PPQ, PPQ + BAR + 960),
        tracks=(Track(0, "Long", Notes.of([0], 4 * BAR, 60)),),
    )
    part = engrave.cut(whole, PPQ + BAR, PPQ + 2 * BAR + 3 * PPQ)
    assert part.tracks[0].notes.onset.tolist() == [0]
    assert part.tracks[0].notes.duration.tolist() == [BAR + 3 * PPQ]
    assert part.meter == MeterMap([0, BAR], [4, 3], [4, 4])
    assert part.keys == (Key(0, -2),)
    assert part.fermatas == (960,)


def test_bars_of_a_part_keep_their_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engrave, "MOST_NOTES", 40)
    laid, first, *_ = engrave.engrave(engrave.Job(1, long_quartet(), LAYOUT, tick=20 * BAR))
    assert isinstance(laid, engrave.Laid)
    assert isinstance(first, engrave.Page)
    assert laid.start <= 20 * BAR < laid.end
    assert laid.bars[0][0] == laid.start
    assert laid.end - laid.start == 5 * BAR
    texts = re.findall(r"<text[^>]*>(\d+)</text>", first.svg.decode())
    assert all(laid.start // BAR < int(number) <= laid.end // BAR for number in texts)

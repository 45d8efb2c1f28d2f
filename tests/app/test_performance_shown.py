"""The performance view without a mouse, at small and large sizes, and from one start to the next."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QPainter
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot
from stage import CARDS, open_window, settings_in
from test_performance_view import House

from app.panels.performance import PerformanceView
from app.panels.performance_keys import COMMANDS
from app.panels.performance_text import Painted, font_of
from app.panels.performance_tiles import BigKey, Choice, Tile, Touched
from app.window import Window
from engine.staging import Mode, View

SIZES = [(1024, 600), (1280, 800), (1920, 1080)]
LONGEST = (
    View(True, state="falling back", coming="it is being written, in 16 passes", late=128),
    View(True, state="listening", coming="stop, or press the pad, for the answer"),
    View(True, state="thinking", coming="Loading MusicVAE, 16 bars"),
)


@pytest.fixture
def house(qtbot: QtBot, tmp_path: Path) -> House:
    made = House(qtbot, tmp_path)
    made.open()
    return made


def resize(view: PerformanceView, size: tuple[int, int]) -> None:
    """Give it a size, and lay it out."""
    view.resize(*size)
    layout = view.layout()
    assert layout is not None
    layout.activate()
    view.grab()


# --- without a mouse -----------------------------------------------------------------------------


def test_tab_goes_through_the_controls_as_one_reads(house: House) -> None:
    for mode in Mode:
        house.performance.set_mode(mode)
        reached: list[QWidget] = []
        house.view.setFocus()
        while True:
            house.view.focusNextChild()
            focused = house.view.focusWidget()
            assert focused is not None
            if focused is house.view or focused in reached:
                break
            reached.append(focused)
        places = [w.mapTo(house.view, w.rect().topLeft()) for w in reached]
        assert [(p.y(), p.x()) for p in places] == sorted((p.y(), p.x()) for p in places)
        controls = house.view.findChildren(Touched)
        assert set(reached) == {w for w in controls if w.isVisible() and w.isEnabled()}


def test_every_control_names_a_key_that_there_is(house: House) -> None:
    signs = {"⌫": "Backspace", "↑": "Up", "↓": "Down", "←": "Left", "→": "Right", "−": "-"}
    known = {key for command in COMMANDS for key in command.keys}
    for control in house.view.findChildren(Touched):
        assert isinstance(control, Tile | Choice | BigKey)
        keys = control.keys if control.keys in known else control.keys.replace(" ", "")
        named = [keys] if keys in known else [signs.get(key, key) for key in keys]
        if keys == "Pg":
            named = ["PgUp", "PgDown"]
        assert set(named) <= known, control.objectName()


def test_the_key_that_opened_it_closes_it(house: House) -> None:
    house.press("F8")
    assert not house.view.isVisible()


def test_an_edit_is_taken_back_from_here(house: House) -> None:
    score = house.session.document.score
    house.session.commit("Remove", score.with_track(score.tracks[0]))
    house.press("Ctrl+Z")
    assert house.session.document.score == score


def test_an_input_with_a_long_name_is_told_in_full(house: House) -> None:
    name = "Launchkey Mini MK3:Launchkey Mini MK3 LKMK3 MIDI In 20:0"
    house.player.inputs = (name,)
    house.press("I")
    assert house.view.sentence.text == f"Listening to {name}."
    house.press("I")
    assert house.view.sentence.text == "Listening to no input."


def test_while_a_loop_mutates_lateness_can_be_set_too(house: House) -> None:
    house.press("4")
    tile = house.view.tiles["late"]
    assert (tile.isVisible(), tile.isEnabled(), tile.value) == (True, True, "vary")
    house.press("L")
    assert (tile.value, house.performance.setting.repeat) == ("repeat", True)


# --- at any size -----------------------------------------------------------------------------------


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, bool]]:
    """Of every line that is painted: by whom, what, and whether all of it could be."""
    lines: list[tuple[str, str, bool]] = []
    own = Painted.write

    def write(
        self: Painted,
        painter: QPainter,
        box: QRectF,
        text: str,
        height: float,
        shade: QColor | str,
        align: Qt.AlignmentFlag = Qt.AlignmentFlag.AlignLeft,
        weight: QFont.Weight = QFont.Weight.DemiBold,
        least: float = 0.0,
    ) -> float:
        wide = own(self, painter, box, text, height, shade, align, weight, least)
        smallest = QFontMetricsF(font_of((least or height) * self.unit, weight))
        whole = wide >= smallest.horizontalAdvance(text) - 0.5 and wide <= box.width() + 0.5
        inside = QRectF(self.rect()).adjusted(0, -2, 0, 2).contains(box.center())
        lines.append((self.objectName(), text, whole and inside))
        return wide

    monkeypatch.setattr(Painted, "write", write)
    return lines


@pytest.mark.parametrize("size", SIZES)
def test_no_word_is_cut_short(
    house: House, written: list[tuple[str, str, bool]], size: tuple[int, int]
) -> None:
    view = house.view
    resize(view, size)
    for mode in Mode:
        house.performance.set_mode(mode)
        for card in house.performance.systems():
            house.performance.set_system(card.id)
            view.system.grab()
            view.headline.grab()
        for name in house.performance.dials:
            for end in (-100, 100):
                house.performance.turn(name, end)
                view.tiles[name].grab()
        view.grab()
    for told in LONGEST:
        view.band.show_view(told)
        view.band.grab()
    assert len({text for _, text, _ in written}) > 60
    assert {(who, text) for who, text, whole in written if not whole} == set()


@pytest.mark.parametrize("size", SIZES)
def test_rows_and_the_list_of_keys_are_whole(house: House, size: tuple[int, int]) -> None:
    view, sheet = house.view, house.view.sheet
    resize(view, size)
    rows = [row.geometry() for row in view._rows.values()]
    assert all(above.bottom() < below.top() for above, below in pairwise(rows))
    assert view.rect().contains(rows[-1])
    assert view.coming.height() >= 0.11 * size[1]
    house.press("?")
    assert view.rect().contains(sheet.geometry())
    for words in sheet._labels:
        assert words.width() >= QFontMetricsF(words.font()).horizontalAdvance(words.text())
        assert words.height() >= QFontMetricsF(words.font()).height() - 1
        assert sheet.contentsRect().contains(words.geometry())


# --- from one start to the next --------------------------------------------------------------------


def test_how_large_it_was_is_remembered(qtbot: QtBot, tmp_path: Path) -> None:
    first = House(qtbot, tmp_path)
    first.open()
    first.view.resize(700, 560)
    first.view.close()
    again = PerformanceView(first.performance)
    qtbot.addWidget(again)
    assert (again.width(), again.height()) == (700, 560)
    again.open()
    assert not again.isFullScreen()
    qtbot.keyClick(again, Qt.Key.Key_F11)
    again.close()
    once_more = PerformanceView(first.performance)
    qtbot.addWidget(once_more)
    once_more.open()
    assert once_more.isFullScreen()
    qtbot.keyClick(once_more, Qt.Key.Key_F11)
    assert not once_more.isFullScreen()
    assert (once_more.width(), once_more.height()) == (700, 560)


def shown(window: Window) -> bool:
    return window._stage is not None and window._stage.isVisible()


@pytest.mark.parametrize("closed_first", [False, True])
def test_it_comes_back_with_the_window_it_went_with(
    qtbot: QtBot, tmp_path: Path, closed_first: bool
) -> None:
    window = open_window(qtbot, tmp_path, cards=CARDS)
    assert not shown(window)
    window.show_stage()
    assert window._stage is not None
    if closed_first:
        window._stage.close()
    window.close()
    again = open_window(qtbot, tmp_path, cards=CARDS)
    if closed_first:
        assert settings_in(tmp_path).value("stage_shown", None, bool) is False
        assert not shown(again)
    else:
        qtbot.waitUntil(lambda: shown(again))
    again.close()
    assert not shown(again)

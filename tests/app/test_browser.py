"""The browser: cards in families of five dimensions, filters that combine, and a choice that stays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from mouse import click
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QPushButton
from pytestqt.qtbot import QtBot
from stage import TOY, quartet

from app import facets, theme
from app.composer import VERBS, Composer
from app.facets import Facet, Wanted
from app.panels.browser import FilterPopup, SystemBrowser, about, portrait
from app.panels.systems import ComposePanel
from app.session import Session
from engine.document import Document
from models import catalogue
from models.card import Card, Objective, Representation, Task


def card(name: str, makes: str, architecture: str, **more: object) -> Card:
    made = replace(
        TOY,
        id=name.lower(),
        name=name,
        objective=Objective(makes, "score", "autonomous"),
        architecture=architecture,
        representation=Representation("pianoroll", 4, True, "many-hot"),
        challenges=("control",),
        strategy=("sampling: block Gibbs",),
    )
    return replace(made, **more)  # type: ignore[arg-type]


CARDS = (
    card("Bach", "polyphony", "(LSTM × 2, feedforward × 2) × 4", tasks=(Task.ACCOMPANY,)),
    card("Blues", "melody and chords", "LSTM blocks", challenges=("structure",)),
    card("Coder", "melody", "variational autoencoder (LSTM, LSTM)"),
    card("Hear", "melody", "stacked autoencoder", strategy=("decoder feedforward",)),
    card("Machine", "chords", "RBM", tasks=(Task.ACCOMPANY,)),
    card("Odd", "light show", "lasers (three)", representation=Representation("fog", 1, False, "")),
    card("Table", "melody", "table", strategy=("sampling", "iterative")),
)


def names(browser: SystemBrowser) -> list[str]:
    return [c.name for c in browser.model.shown]


def facet(dimension: str, value: str) -> Facet:
    return Facet(dimension, value)


# --- families --------------------------------------------------------------------------------------


def test_cards_fall_into_families() -> None:
    def values(c: Card, dimension: str) -> set[str]:
        return {f.value for f in facets.facets(c) if f.dimension == dimension}

    by_name = {c.name: c for c in CARDS}
    assert values(by_name["Bach"], "architecture") == {"LSTM", "feedforward"}
    assert values(by_name["Coder"], "architecture") == {"LSTM", "variational"}
    assert values(by_name["Hear"], "architecture") == {"autoencoder"}
    assert values(by_name["Blues"], "objective") == {"melody", "chords"}
    assert values(by_name["Table"], "strategy") == {"sampling", "iterative"}
    assert values(by_name["Machine"], "task") == {"accompany"}
    assert values(by_name["Odd"], "objective") == {"light show"}, "unknown words name themselves"
    assert values(by_name["Odd"], "architecture") == {"lasers"}
    assert values(by_name["Odd"], "representation") == {"fog"}


@pytest.mark.parametrize("known", catalogue.cards(), ids=lambda c: c.id)
def test_every_system_is_found_by_every_dimension(known: Card) -> None:
    found = facets.facets(known)
    assert {f.dimension for f in found} == set(facets.DIMENSIONS)
    for one in found:
        assert one.value
        assert len(one.value) < 30
        assert Wanted(chosen=frozenset({one})).finds(known)


def test_what_can_be_asked_is_offered_in_the_order_of_the_buttons() -> None:
    assert [task for task, _ in facets.TASKS] == list(VERBS)


def test_values_of_a_dimension_add_and_dimensions_narrow() -> None:
    def found(*chosen: tuple[str, str], text: str = "") -> list[str]:
        wanted = Wanted(text, frozenset(Facet(*f) for f in chosen))
        return [c.name for c in CARDS if wanted.finds(c)]

    lstm, rbm = ("architecture", "LSTM"), ("architecture", "RBM")
    accompany = ("task", "accompany")
    assert found(lstm) == ["Bach", "Blues", "Coder"]
    assert found(lstm, rbm) == ["Bach", "Blues", "Coder", "Machine"]
    assert found(lstm, rbm, accompany) == ["Bach", "Machine"]
    assert found(lstm, rbm, accompany, text="mach") == ["Machine"]
    assert found(text="no such thing") == []


def test_counts_say_what_a_value_would_show() -> None:
    nothing = Wanted().counts(CARDS)
    assert nothing[facet("architecture", "LSTM")] == 3
    chosen = Wanted(chosen=frozenset({facet("architecture", "LSTM")}))
    counts = chosen.counts(CARDS)
    assert counts[facet("architecture", "RBM")] == 1, "a second value of a dimension adds"
    assert counts[facet("task", "accompany")] == 1
    assert counts[facet("strategy", "decoding")] == 0
    for value, count in counts.items():
        alone = frozenset({value} | {f for f in chosen.chosen if f.dimension != value.dimension})
        assert count == sum(Wanted(chosen=alone).finds(c) for c in CARDS)


# --- the widget --------------------------------------------------------------------------------------


@pytest.fixture
def browser(qtbot: QtBot) -> SystemBrowser:
    made = SystemBrowser(CARDS)
    qtbot.addWidget(made)
    made.resize(280, 260)
    made.show()
    qtbot.waitExposed(made)
    made.choose("coder")
    return made


def chip(browser: SystemBrowser, name: str) -> QPushButton:
    found = browser.chips.findChild(QPushButton, name)
    assert isinstance(found, QPushButton)
    return found


def test_a_filter_keeps_the_choice_while_it_can(browser: SystemBrowser, qtbot: QtBot) -> None:
    told: list[str] = []
    browser.chosen.connect(lambda c: told.append(c.name))
    browser.toggle(facet("objective", "melody"))
    qtbot.keyClicks(browser.search, "o")
    assert "Coder" in names(browser)
    assert browser.card is not None
    assert browser.card.name == "Coder"
    assert browser.list.currentIndex().data() == "Coder"
    assert not told
    browser.toggle(facet("architecture", "table"))
    assert told == ["Table"], "the chosen one has gone, so the first that is left"
    browser.clear()
    assert told == ["Table"]
    assert browser.list.currentIndex().data() == "Table"
    assert browser.search.text() == ""
    assert len(names(browser)) == len(CARDS)


def test_nothing_found_changes_nothing(browser: SystemBrowser, qtbot: QtBot) -> None:
    told: list[object] = []
    browser.chosen.connect(told.append)
    qtbot.keyClicks(browser.search, "xyzzy")
    assert names(browser) == []
    assert browser.popup.found.text() == "0 of 7 systems"
    browser.grab()  # the list says so
    browser.search.clear()
    assert browser.list.currentIndex().data() == "Coder"
    assert not told


def test_filters_are_ticked_counted_and_greyed(browser: SystemBrowser, qtbot: QtBot) -> None:
    popup: FilterPopup = browser.popup
    lstm, rbm = facet("architecture", "LSTM"), facet("architecture", "RBM")
    decoding = facet("strategy", "decoding")
    click(browser.filter_button, (10, 10))
    qtbot.waitUntil(popup.isVisible)
    assert popup.boxes[lstm].text() == "LSTM  3"
    assert popup.boxes[decoding].isEnabled()
    click(popup.boxes[lstm], (8, popup.boxes[lstm].height() / 2))
    assert names(browser) == ["Bach", "Blues", "Coder"]
    assert popup.isVisible(), "several can be ticked in a row"
    assert not popup.boxes[decoding].isEnabled(), "it would show nothing"
    assert popup.boxes[rbm].isEnabled()
    assert popup.found.text() == "3 of 7 systems"
    popup.boxes[rbm].setFocus()
    qtbot.keyClick(popup.boxes[rbm], Qt.Key.Key_Space)
    assert names(browser) == ["Bach", "Blues", "Coder", "Machine"]
    qtbot.keyClick(popup, Qt.Key.Key_Escape)
    assert not popup.isVisible()
    assert browser.filter_button.text() == "Filter 2"
    click(popup.clear, (10, 10))
    assert len(names(browser)) == len(CARDS)
    assert not any(box.isChecked() for box in popup.boxes.values())


def test_chips_take_filters_away(browser: SystemBrowser, qtbot: QtBot) -> None:
    assert not browser.chips.isVisible()
    for one in (("architecture", "LSTM"), ("task", "accompany"), ("challenge", "control")):
        browser.toggle(Facet(*one))
    assert names(browser) == ["Bach"]
    assert browser.chips.isVisible()
    qtbot.waitUntil(lambda: browser.chips.height() > 30)  # they take two rows
    shown = browser.chips.findChildren(QPushButton)
    assert all(browser.chips.rect().contains(c.geometry()) for c in shown if c.isVisible())
    last = chip(browser, "chip_architecture_LSTM")
    assert last.text() == "LSTM ×"
    assert last.accessibleName() == "remove filter architecture: LSTM"
    click(last, (10, 8))
    assert names(browser) == ["Bach", "Machine"]
    qtbot.keyClick(chip(browser, "clear_filters"), Qt.Key.Key_Space)
    assert len(names(browser)) == len(CARDS)
    assert not browser.chips.isVisible()


def test_what_is_filtered_away_can_still_be_chosen_by_name(browser: SystemBrowser) -> None:
    browser.toggle(facet("architecture", "table"))
    assert not browser.choose("nothing")
    assert names(browser) == ["Table"]
    assert browser.choose("machine")
    assert browser.card is CARDS[4]
    assert len(names(browser)) == len(CARDS)


def test_all_of_it_is_reached_by_keyboard_and_has_a_name(
    browser: SystemBrowser, qtbot: QtBot
) -> None:
    browser.search.setFocus()
    qtbot.keyClick(browser.search, Qt.Key.Key_Down)
    qtbot.waitUntil(browser.list.hasFocus)
    qtbot.keyClick(browser.list, Qt.Key.Key_Down)
    assert browser.card is CARDS[3]
    for widget in (browser.search, browser.list, browser.popup):
        assert widget.accessibleName()
    for box in browser.popup.boxes.values():
        assert box.toolTip()
        assert box.accessibleName()
        assert box.focusPolicy() & Qt.FocusPolicy.TabFocus


# --- about -----------------------------------------------------------------------------------------


def test_the_portrait_says_who_when_what_and_how_well() -> None:
    made = replace(CARDS[0], source="Hadjeres <et al.>", year=2017, figure="0.4 nats & less")
    text = portrait(made)
    for words in (
        "Hadjeres &lt;et al.&gt;, 2017", "accompany", "0.4 nats &amp; less", "polyphony", "LSTM × 2",
        "control", "block Gibbs", "many-hot, 4 steps a beat, notes held",
    ):  # fmt: skip
        assert words in text
    assert "Measured" not in portrait(replace(made, figure=""))
    assert "2017, 2017" not in portrait(replace(made, source="Hadjeres 2017"))


def test_the_about_page_follows_the_choice(qtbot: QtBot) -> None:
    session = Session(Document(quartet()))
    panel = ComposePanel(session, Composer(session), CARDS, np.random.default_rng(1))
    qtbot.addWidget(panel)
    panel.resize(300, 600)
    panel.show()
    qtbot.waitExposed(panel)
    panel.choose("bach")
    panel.tabs.setCurrentIndex(1)
    assert panel.about.isVisible()
    assert not panel.reset.isVisible()
    assert panel.generate_button.isVisible()
    assert "LSTM × 2" in panel.about.text.text()
    panel.choose("machine")
    assert panel.about.isVisible()
    assert "RBM" in panel.about.text.text()
    panel.tabs.setCurrentIndex(0)
    assert panel.reset.isVisible()
    assert not panel.about.isVisible()


def test_deep_bach_is_chosen_to_begin_with_where_it_is(qtbot: QtBot) -> None:
    session = Session(Document(quartet()))
    for cards, chosen in ((CARDS, "bach"), ((*CARDS, replace(TOY, id="deep_bach")), "deep_bach")):
        panel = ComposePanel(session, Composer(session), cards, np.random.default_rng(1))
        qtbot.addWidget(panel)
        assert panel.card is not None
        assert panel.card.id == chosen


@pytest.mark.parametrize("height", [446, 560])
def test_the_panel_fits_a_small_window(qtbot: QtBot, height: int) -> None:
    application = QApplication.instance()
    assert isinstance(application, QApplication)
    theme.apply(application)
    session = Session(Document(quartet()))
    many = tuple(replace(CARDS[i % 7], id=f"s{i}", name=f"System {i}") for i in range(24))
    panel = ComposePanel(session, Composer(session), many, np.random.default_rng(1))
    qtbot.addWidget(panel)
    panel.resize(300, height)
    panel.show()
    qtbot.waitExposed(panel)
    all_tasks = replace(TOY, id="all", tasks=tuple(Task))
    panel.browser.chosen.emit(all_tasks)
    assert panel.minimumSizeHint().width() <= 300, "more tasks take more rows, not more room"
    qtbot.waitUntil(lambda: panel.tasks[Task.RESHAPE].y() > panel.tasks[Task.CREATE].y())
    assert all(b.parentWidget().rect().contains(b.geometry()) for b in panel.tasks.values())
    panel.choose("s0")
    for page in (0, 1):
        panel.tabs.setCurrentIndex(page)
        assert panel.height() == height, "nothing asks for more room than there is"
        assert panel.browser.list.height() >= 100
        bottom = panel.generate_button.geometry().bottom()
        assert bottom <= panel.rect().bottom()
        assert panel.pages.height() >= 60
    assert about(many[0]).startswith("System 0")

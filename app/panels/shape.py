"""The Shape panel: one phrase, pushed by sliders and dragged over the latent map while it is heard."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QSignalBlocker, Qt, QTimer, Signal
from PySide6.QtGui import QAction, QHideEvent, QShowEvent
from PySide6.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QHBoxLayout,
    QLabel,
    QMenu,
    QScrollArea,
    QSplitter,
    QVBoxLayout,
    QWidget,
)

from app.controllers import Controllers
from app.controls import Kind
from app.panels.common import USUAL_CODER, Elided, button, header, mark, spin_text, tool
from app.panels.sliders import AttributeSliders
from app.places import Places
from app.session import Session
from app.shaping import Shaper, with_space
from app.targets import Target
from models.card import Card

if TYPE_CHECKING:
    from app.panels.latent import LatentMap

AXES: dict[str, str] = {"map_x": "Map, left and right", "map_y": "Map, down and up"}
"""The targets of MIDI controls that move the dot, and what to call them."""

BUILD_MS = 30
SLIDERS_PX = 128
"""Room that the sliders have at least; when there are more of them they scroll."""


def _spin(value: float, most: float, name: str, tip: str) -> QDoubleSpinBox:
    spin = QDoubleSpinBox()
    spin.setRange(0, most)
    spin.setSingleStep(0.1)
    spin.setDecimals(1)
    spin.setValue(value)
    spin.setObjectName(name)
    spin.setAccessibleName(tip)
    spin.setToolTip(tip)
    spin.setFixedWidth(46)
    spin_text(spin)
    return spin


class ShapePanel(QWidget):
    """System, phrase, map, sliders, and the ways to other phrases. The map is built when first shown."""

    devices = Signal()

    def __init__(
        self,
        session: Session,
        shaper: Shaper,
        places: Places,
        controllers: Controllers,
        cards: Sequence[Card],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.session, self.controllers = session, controllers
        self.shaper, self.places = shaper, places
        self.cards = with_space(cards)
        self.map: LatentMap | None = None
        self._picked = False
        self.system = QComboBox()
        self.system.setObjectName("shape_system")
        self.system.setAccessibleName("system to shape with")
        self.system.setToolTip("Whose latent space the phrase is moved in")
        for card in self.cards:
            self.system.addItem(card.name, card.id)
        self.phrase = Elided("", "title")
        self.sliders = AttributeSliders()
        self.sound = tool("hear", "hear_shaping", "Hear the phrase as you shape it", side=16)
        self.sound.setCheckable(True)
        self.sound.setChecked(True)
        self.midi = tool("knob", "controllers", "Move the map with MIDI controllers", side=16)
        self.midi.setPopupMode(self.midi.ToolButtonPopupMode.InstantPopup)
        self._menu = QMenu(self.midi)
        self._menu.aboutToShow.connect(self._list_controllers)
        self.midi.setMenu(self._menu)
        self.reset = tool("reset", "reset_shape", "Everything back to the middle", side=16)
        self.header = header("Shape", self.sound, self.midi, self.reset)
        self.keep = button("Keep", "keep_shape", "Make it part of the piece (Ctrl+Return)")
        mark(self.keep, "primary")
        self.more = button("More like this", "more_like_this", "Phrases near this one")
        self.surprise = button(
            "Surprise me", "surprise", "A new phrase, from the middle of the corpus or its edges"
        )
        self.average = button(
            "Average", "average", "Shape the average of the selected phrases (two or more)"
        )
        self.place = button("Place", "place_on_map", "Put the phrase on the map, to be seen there")
        self.radius = _spin(0.5, 3, "shape_radius", "How far around the phrase to look")
        self.temperature = _spin(1.0, 2, "shape_temperature", "How bold the surprise may be")
        self.unmapped = QLabel(
            "This system has no map yet. Train it, or learn its space, then open this again."
        )
        self.unmapped.setWordWrap(True)
        mark(self.unmapped, "dim")

        top = QHBoxLayout()
        top.setSpacing(8)
        top.addWidget(self.system)
        top.addWidget(self.phrase, 1)
        self._upper = QWidget()
        self._map_place = QVBoxLayout(self._upper)
        self._map_place.setContentsMargins(0, 0, 0, 0)
        self._map_place.addWidget(self.unmapped)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setMinimumHeight(SLIDERS_PX)
        area.setWidget(self.sliders)
        split = QSplitter(Qt.Orientation.Vertical)
        split.addWidget(self._upper)
        split.addWidget(area)
        split.setStretchFactor(0, 1)
        split.setChildrenCollapsible(False)
        split.setSizes([170, 190])
        around = QHBoxLayout()
        around.setSpacing(6)
        for made in (self.more, self.radius, self.surprise, self.temperature):
            around.addWidget(made, 1 if made in (self.more, self.surprise) else 0)
        below = QHBoxLayout()
        below.setSpacing(6)
        for made in (self.average, self.place, self.keep):
            below.addWidget(made, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(10, 2, 10, 6)
        layout.setSpacing(6)
        layout.addLayout(top)
        layout.addWidget(split, 1)
        layout.addLayout(around)
        layout.addLayout(below)

        self.system.currentIndexChanged.connect(self._choose)
        self.sliders.pushed.connect(self._push)
        self.sound.toggled.connect(self._sound)
        self.reset.clicked.connect(shaper.reset)
        self.keep.clicked.connect(shaper.keep)
        self.more.clicked.connect(lambda: shaper.more_like_this(self.radius.value()))
        self.surprise.clicked.connect(lambda: shaper.surprise(self.temperature.value()))
        self.average.clicked.connect(shaper.average)
        self.place.clicked.connect(places.place_phrase)
        shaper.changed.connect(self.refresh)
        shaper.system_changed.connect(self._system_changed)
        places.changed.connect(self._show_placed)
        shaper.status_changed.connect(self.refresh)
        session.selection_changed.connect(self._selected)
        session.path_changed.connect(self._show_path)
        for axis, (target, title) in enumerate(AXES.items()):
            move, place = partial(self._move_axis, axis), partial(self._axis_share, axis)
            controllers.add(Target(target, title, Kind.NUMBER, move, place))
        controllers.learnt.connect(self._learnt)
        self.refresh()

    # --- showing -------------------------------------------------------------------------------------

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._selected()
        # Later: the window, or at least the rest of the panel, is to be seen first.
        QTimer.singleShot(BUILD_MS, self._begin)

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self.shaper.attend(False)

    def _begin(self) -> None:
        if not self.isVisible():
            return
        if self.map is None and self.cards:
            self._build_map()
            if not self._picked:
                usual_first = sorted(self.cards, key=lambda c: c.id != USUAL_CODER)
                mapped = next((c for c in usual_first if self.shaper.has_space(c)), None)
                self.choose(mapped.id if mapped is not None else "")
            self._choose()
        self.shaper.attend(True)

    def _build_map(self) -> None:
        # By name: pyqtgraph takes half a second, and the window is up before it is needed.
        made: LatentMap = importlib.import_module("app.panels.latent").LatentMap()
        self.map = made
        self._map_place.insertWidget(0, made, 1)
        plot, shaper, places = made.plot, self.shaper, self.places
        plot.dragged.connect(lambda x, y, settled: shaper.move_to(x, y, settled=settled))
        plot.point_pressed.connect(lambda i, keep: places.hear_point(i, keep=keep))
        plot.placed_pressed.connect(lambda i, keep: places.hear_placed(i, keep=keep))
        plot.dropped.connect(places.place_file)
        self._show_path()

    def choose(self, system_id: str) -> None:
        """Choose a system, if it can reshape."""
        index = self.system.findData(system_id)
        if index >= 0:
            self._picked = True
            self.system.setCurrentIndex(index)

    def _choose(self) -> None:
        chosen = next((c for c in self.cards if c.id == self.system.currentData()), None)
        if chosen is not None and self.map is not None:
            self.shaper.set_system(chosen)

    def _system_changed(self) -> None:
        space = self.shaper.space
        if self.shaper.card is not None:
            with QSignalBlocker(self.system):
                self.system.setCurrentIndex(self.system.findData(self.shaper.card.id))
        if self.map is not None:
            self.map.show_space(space)
            self.map.setVisible(space is not None)
            self._show_path()
        self.unmapped.setVisible(space is None)
        self.sliders.show_names(() if space is None else space.acting)
        self.refresh()

    def refresh(self) -> None:
        """Show the phrase, the sliders and the dot as they are now."""
        shaper = self.shaper
        self.phrase.say(shaper.status or shaper.title())
        self.sliders.show_state(shaper.sliders, shaper.own, shaper.measured)
        self.keep.setEnabled(shaper.shaped)
        self.reset.setEnabled(shaper.pushed)
        for made in (self.more, self.place):
            made.setEnabled(shaper.phrase is not None and shaper.space is not None)
        self.surprise.setEnabled(shaper.card is not None)
        self.sliders.setEnabled(shaper.phrase is not None)
        if self.map is not None:
            self.map.plot.show_dot(shaper.place, shaper.home)

    def _selected(self) -> None:
        if self.isVisible():
            self.average.setEnabled(len(self.shaper.averaged()) > 1)

    def _show_placed(self) -> None:
        if self.map is not None:
            self.map.plot.show_placed(self.places.placed)

    def _show_path(self) -> None:
        card = self.shaper.card
        if self.map is not None and card is not None:
            self.map.set_path(self.session.path(card.id))

    # --- asking --------------------------------------------------------------------------------------

    def _push(self, name: str, amount: float, settled: bool) -> None:
        if self.shaper.sliders.get(name, 0.0) == amount and settled:
            self.shaper.settle()
        else:
            self.shaper.push(name, amount, settled=settled)

    def _sound(self, on: bool) -> None:
        self.shaper.sounding = on
        if not on and self.session.hearing:
            self.session.revert()

    # --- controllers ---------------------------------------------------------------------------------

    def _bounds(self, axis: int) -> tuple[float, float] | None:
        """From where to where the map's points lie along an axis."""
        space = self.shaper.space
        if space is None or not len(space.points):
            return None
        along = space.points[:, axis]
        return float(np.min(along)), float(np.max(along))

    def _axis_share(self, axis: int) -> float | None:
        bounds, place = self._bounds(axis), self.shaper.place
        if bounds is None or place is None:
            return None
        return (place[axis] - bounds[0]) / max(bounds[1] - bounds[0], 1e-9)

    def _move_axis(self, axis: int, share: float) -> None:
        bounds = self._bounds(axis)
        if bounds is not None:
            there = bounds[0] + share * (bounds[1] - bounds[0])
            self.shaper.move_to(*((there, None) if axis == 0 else (None, there)))

    def _list_controllers(self) -> None:
        self._menu.clear()
        for target in (*AXES, "path"):
            controls = ", ".join(m.control.title() for m in self.controllers.of(target))
            action = QAction(f"{self.controllers.title(target)}: {controls or 'learn'}", self._menu)
            action.triggered.connect(lambda _=False, t=target: self._learn(t))
            self._menu.addAction(action)
        self._menu.addSeparator()
        forget = self.controllers.forget
        self._menu.addAction("Forget them", lambda: forget(*AXES, "path"))
        self._menu.addAction("MIDI input…", self.devices.emit)

    def _learn(self, target: str) -> None:
        self.controllers.learn(target)
        self.phrase.say(f"{self.controllers.title(target)}: move a controller now")

    def _learnt(self, target: str) -> None:
        titles = ", ".join(m.control.title() for m in self.controllers.of(target))
        self.phrase.say(f"{self.controllers.title(target)}: {titles}")

"""Small dialogs: metre, key, keys and mouse, about."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QHeaderView,
    QInputDialog,
    QMessageBox,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from app.actions import ACTIONS
from app.panels.transport import MAJOR, MINOR
from app.pianoroll.commands import COMMANDS
from app.session import Session
from engine import edits
from models.score import Key, Score
from models.timebase import MeterMap

METERS = ("4/4", "3/4", "2/4", "2/2", "3/2", "6/4", "3/8", "6/8", "9/8", "12/8", "5/4", "7/8")

MOUSE: tuple[tuple[str, str], ...] = (
    ("Double-click", "Draw a note, or delete the one under the mouse"),
    ("Drag a note", "Move it and the rest of the selection; its ends resize"),
    ("Ctrl+drag", "Drag copies away"),
    ("Drag an empty place", "Select with a rubber band"),
    ("Right-drag", "Erase"),
    ("Alt+drag", "Ignore the grid"),
    ("Drag in the ruler", "Mark bars that may change"),
    ("Shift+drag in the ruler", "Set the loop"),
    ("Click in the ruler", "Put the playhead there"),
    ("Wheel", "Scroll; with Shift sideways"),
    ("Ctrl+wheel", "Zoom in time; with Shift in pitch"),
    ("Drag in the velocity lane", "Set how loud notes are"),
    ("Click a step of a path", "Hear it; Shift and Ctrl select several"),
    ("Drop a file on A or B", "Let a path begin or end with its first voice"),
    ("Drag a track's header", "Take the track into a DAW as a MIDI file"),
    (
        "Drag the dot on the map",
        "Move the phrase; arrow keys too, finer with Shift, Backspace: back",
    ),
    (
        "Click a point of the map",
        "Hear that phrase in the phrase's place; double-click: keep it at hand",
    ),
    ("Drop a file on the map", "Show where its melody lies"),
    ("Double-click a slider", "Back to the middle"),
)


def with_meter(score: Score, tick: int, numerator: int, denominator: int) -> Score:
    """`score` with another metre from `tick` on, which is put at the beginning of its bar."""
    start = score.meter.bar_start(score.meter.position(tick).bar)
    meter = score.meter
    keep = meter.tick != start
    return edits.set_meter(
        score,
        MeterMap(
            np.append(meter.tick[keep], start),
            np.append(meter.numerator[keep], numerator),
            np.append(meter.denominator[keep], denominator),
            0 if start == 0 else meter.pickup,
        ),
    )


def with_key(score: Score, tick: int, sharps: int, minor: bool) -> Score:
    """`score` with another key from the bar of `tick` on."""
    start = score.meter.bar_start(score.meter.position(tick).bar)
    others = [k for k in score.keys if k.tick != start]
    return edits.set_keys(score, [*others, Key(start, sharps, minor)])


def ask_meter(parent: QWidget, session: Session) -> None:
    """Ask for a metre from the playhead's bar on."""
    tick = int(session.playhead_tick())
    now = "{}/{}".format(*session.score.meter.at(tick))
    items = list(dict.fromkeys([now, *METERS]))
    text, ok = QInputDialog.getItem(parent, "Metre", "From the playhead's bar on:", items, 0, False)
    if ok and text != now:
        numerator, denominator = (int(part) for part in text.split("/"))
        changed = with_meter(session.document.score, tick, numerator, denominator)
        session.commit("Change metre", changed)


def ask_key(parent: QWidget, session: Session) -> None:
    """Ask for a key from the playhead's bar on."""
    tick = int(session.playhead_tick())
    keys = [(s, minor) for minor in (False, True) for s in range(-7, 8)]
    names = [
        f"{MINOR[s + 7]} minor".capitalize() if minor else f"{MAJOR[s + 7]} major"
        for s, minor in keys
    ]
    now = session.score.key_at(tick)
    row = keys.index((now.sharps, now.minor)) if now is not None else 7
    text, ok = QInputDialog.getItem(parent, "Key", "From the playhead's bar on:", names, row, False)
    if ok:
        sharps, minor = keys[names.index(text)]
        session.commit("Change key", with_key(session.document.score, tick, sharps, minor))


def show_keys(parent: QWidget) -> None:
    """Every key and everything the mouse does, from the tables."""
    dialog = QDialog(parent)
    dialog.setWindowTitle("Keys and mouse")
    dialog.resize(560, 560)
    tree = QTreeWidget()
    tree.setColumnCount(2)
    tree.setHeaderHidden(True)
    tree.setRootIsDecorated(False)
    tree.setIndentation(12)
    tree.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    tree.header().setSectionResizeMode(0, QHeaderView.ResizeMode.ResizeToContents)

    def section(title: str, rows: Iterable[tuple[str, str]]) -> None:
        top = QTreeWidgetItem(tree, [title])
        font = top.font(0)
        font.setBold(True)
        top.setFont(0, font)
        for keys, text in rows:
            QTreeWidgetItem(top, [keys, text])
        top.setExpanded(True)

    native = QKeySequence.SequenceFormat.NativeText
    section("Mouse", MOUSE)
    section(
        "Notes",
        ((", ".join(QKeySequence(k).toString(native) for k in c.keys), c.tip) for c in COMMANDS),
    )
    section(
        "Window",
        (
            (", ".join(QKeySequence(k).toString(native) for k in a.shortcuts), f"{a.text}: {a.tip}")
            for a in ACTIONS
        ),
    )
    closing = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
    closing.rejected.connect(dialog.reject)
    layout = QVBoxLayout(dialog)
    layout.addWidget(tree)
    layout.addWidget(closing)
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    dialog.show()


def show_about(parent: QWidget) -> None:
    """What this is, and whose work it stands on."""
    from importlib import metadata  # slow to load, and needed here alone

    box = QMessageBox(parent)
    box.setWindowTitle("About Ricercar")
    box.setTextFormat(Qt.TextFormat.PlainText)
    box.setText(f"Ricercar {metadata.version('ricercar')}\nA piano roll that composes with you.")
    box.setInformativeText(
        "The systems follow Briot, Hadjeres and Pachet, Deep Learning Techniques for Music "
        "Generation. Chorales: J. S. Bach, from music21's corpus. Score engraving: Verovio."
    )
    box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    box.show()

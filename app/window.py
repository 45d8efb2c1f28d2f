"""The window: builds session, engine, player and views, and holds them together."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PySide6.QtCore import QSettings, Qt, QTimer
from PySide6.QtGui import (
    QAction,
    QCloseEvent,
    QDragEnterEvent,
    QDropEvent,
    QKeySequence,
    QShowEvent,
)
from PySide6.QtWidgets import (
    QDockWidget,
    QLabel,
    QMainWindow,
    QMenu,
    QToolBar,
    QWidget,
)

from app import dialogs, stage_targets
from app.actions import ACTIONS, MENUS, Action
from app.banner import Banner
from app.capture import Capture
from app.composer import Composer, whole_bars
from app.errands import Errands
from app.files import Files, demo, excerpt
from app.hands import Hands
from app.panels.capture import CapturePanel
from app.panels.common import Elided, header, mark, tool
from app.panels.devices import DevicesDialog
from app.panels.path import PathPanel
from app.panels.proposals import ProposalsPanel
from app.panels.shape import ShapePanel
from app.panels.systems import ComposePanel
from app.panels.tracks import TracksPanel
from app.panels.transport import TransportBar
from app.performing import Performance
from app.pianoroll.commands import COMMANDS
from app.pianoroll.roll import PianoRoll
from app.pianoroll.viewport import MARGIN_PX
from app.places import Places
from app.player import Link, OpenLink, Player, port_title
from app.rig import Rig
from app.scoreview import ScoreView
from app.session import Session
from app.shaping import Shaper, Spaces, shipped
from engine import exchange, playback
from engine.document import Change
from engine.worker import Load
from models import catalogue
from models.card import Card, Task

FIRST_SIZE = (1280, 720)
SHAPE_PX, TRAY_PX = 540, 90


def open_link(emit: Callable[[playback.Event], None]) -> Link:
    """The transport in its own process. Its module is imported here: the window is up before."""
    link: Link = importlib.import_module("engine.midi").MidiLink(emit)
    return link


class Window(QMainWindow):
    """Everything the user sees. Sound and score start after the first painting.

    `settings` remembers geometry, recent files and the last document. `load` is handed to the engine,
    `link` opens the transport, `cards` are the systems offered, `spaces` finds their latent spaces: tests
    bring their own.
    """

    session: Session
    files: Files
    player: Player
    hands: Hands
    performance: Performance
    roll: PianoRoll
    tracks: TracksPanel
    compose: ComposePanel

    def __init__(
        self,
        session: Session,
        settings: QSettings,
        *,
        cards: Sequence[Card] | None = None,
        load: Load | None = None,
        link: OpenLink = open_link,
        spaces: Spaces = shipped,
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__()
        self.session, self._settings = session, settings
        session.setParent(self)
        self.setObjectName("window")
        self.setAcceptDrops(True)
        self.setDockNestingEnabled(True)
        self._started = False
        self._revealed = (0, 0, 127)
        self._roomy = False
        self._devices: DevicesDialog | None = None
        self._actions: dict[str, QAction] = {}
        self._docks: dict[str, QDockWidget] = {}
        self.errands = Errands(self)
        self.files = Files(session, self.errands, settings, self)
        self.composer = Composer(session, load=load)
        self.player = Player(session, link)
        self.rig = Rig(session, self.player, settings)
        cards, rng = catalogue.cards() if cards is None else cards, rng or np.random.default_rng()
        self.shaper = Shaper(session, self.composer, spaces=spaces, rng=rng)
        self.places = Places(session, self.composer, self.errands, self.shaper)
        self.hands = Hands(self.player, self.rig, settings)
        self.controllers = self.hands.controllers
        self.performance = Performance(session, self.player, self.rig, cards, settings, parent=self)
        self.capture = Capture(session, settings)
        self._stage: QWidget | None = None

        self.roll = PianoRoll(session)
        self.tracks = TracksPanel(session)
        self.transport = TransportBar(session)
        self.compose = ComposePanel(session, self.composer, cards, rng)
        self.compose.pushes = self.shaper.pushes
        self.shape = ShapePanel(session, self.shaper, self.places, self.controllers, cards)
        self.path = PathPanel(session, self.composer, self.errands, cards)
        self.captured = CapturePanel(session, self.capture)
        self.proposals = ProposalsPanel(session)
        self.score_view = ScoreView(session)
        self.banner = Banner(self.roll)
        self._lay_out()
        self._build_menus()
        self._connect()
        self._restore()
        self._title()
        self._refresh_actions()

    # --- building ----------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        self.setCentralWidget(self.roll)
        bar = QToolBar("Transport")
        bar.setObjectName("transport_bar")
        bar.setMovable(False)
        bar.addWidget(self.transport)
        self.drag = tool("drag", "drag_out", "Drag the selection, or the piece, into a DAW")
        self.drag.pressed.connect(self.drag_music)
        bar.addWidget(self.drag)
        self.addToolBar(bar)
        left, right = Qt.DockWidgetArea.LeftDockWidgetArea, Qt.DockWidgetArea.RightDockWidgetArea
        bottom = Qt.DockWidgetArea.BottomDockWidgetArea
        self._dock("tracks", "Voices", self.tracks, self.tracks.header, left)
        self._dock("compose", "Compose", self.compose, self.compose.header, right)
        self._dock("proposals", "Proposals", self.proposals, self.proposals.header, right)
        self._dock("shape", "Shape", self.shape, self.shape.header, right)
        self.tabifyDockWidget(self._docks["compose"], self._docks["shape"])
        self._docks["shape"].hide()
        self._dock("score", "Score", self.score_view, self.score_view.header, bottom)
        self._dock("path", "Path", self.path, self.path.header, bottom)
        self._docks["path"].hide()
        self._dock("capture", "Capture", self.captured, header("Capture"), bottom)
        self._docks["capture"].hide()
        for corner, area in (
            (Qt.Corner.BottomLeftCorner, left),
            (Qt.Corner.BottomRightCorner, right),
        ):
            self.setCorner(corner, area)
        self.resize(*FIRST_SIZE)
        horizontal, vertical = Qt.Orientation.Horizontal, Qt.Orientation.Vertical
        self.resizeDocks([self._docks["tracks"], self._docks["compose"]], [232, 300], horizontal)
        self.resizeDocks([self._docks["compose"], self._docks["proposals"]], [446, 190], vertical)
        self.resizeDocks([self._docks["score"]], [196], vertical)
        for name in ("path", "capture"):
            self.tabifyDockWidget(self._docks["score"], self._docks[name])
        self._docks["shape"].visibilityChanged.connect(self._make_room)
        self.hint, self.device, self.busy = Elided("", "dim"), QLabel(), QLabel()
        mark(self.device, "dim")
        mark(self.busy, "dim")
        self.device.setToolTip("Where the networks run")
        status = self.statusBar()
        status.setSizeGripEnabled(False)
        status.setContentsMargins(8, 0, 8, 0)
        status.addWidget(self.hint, 1)
        status.addPermanentWidget(self.busy)
        status.addPermanentWidget(self.device)

    def _dock(
        self, name: str, title: str, widget: QWidget, header: QWidget, area: Qt.DockWidgetArea
    ) -> None:
        dock = QDockWidget(title, self)
        dock.setObjectName(name)
        dock.setTitleBarWidget(header)
        dock.setWidget(widget)
        self.addDockWidget(area, dock)
        self._docks[name] = dock

    def _build_menus(self) -> None:
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.NoContextMenu)
        menus = {name: self.menuBar().addMenu(name) for name in MENUS}
        for entry in ACTIONS:
            menu = menus[entry.menu]
            if entry.separate:
                menu.addSeparator()
            menu.addAction(self._action(entry))
            if entry.name == "demo":
                self._recent = QMenu("Open recent", menu)
                menu.addMenu(self._recent)
                self._recent.aboutToShow.connect(self._list_recent)
            if entry.name == "redo":
                self._add_commands(menu)
        for menu in menus.values():
            menu.setToolTipsVisible(True)
            menu.aboutToShow.connect(self._refresh_actions)

    def _action(self, entry: Action) -> QAction:
        action = QAction(entry.text, self)
        action.setObjectName(entry.name)
        action.setShortcuts([QKeySequence(s) for s in entry.shortcuts])
        action.setToolTip(entry.tip)
        action.setStatusTip(entry.tip)
        action.setCheckable(entry.checked is not None)

        def run() -> None:
            entry.run(self)
            self._refresh_actions()

        action.triggered.connect(run)
        self._actions[entry.name] = action
        return action

    def _add_commands(self, menu: QMenu) -> None:
        """What the roll's own keys do, for those who look for it in the menu."""
        notes = QMenu("Notes", menu)
        notes.setToolTipsVisible(True)
        menu.addSeparator()
        menu.addMenu(notes)
        for command in COMMANDS:
            keys = QKeySequence(command.keys[0]).toString(QKeySequence.SequenceFormat.NativeText)
            action = QAction(f"{command.tip}\t{keys}", notes)
            action.setToolTip(command.tip)
            action.triggered.connect(lambda _=False, c=command: c.run(self.session))
            notes.addAction(action)

    def _connect(self) -> None:
        session, player, transport = self.session, self.player, self.transport
        session.message.connect(self.banner.say)
        self.errands.failed.connect(self.banner.say)
        self.errands.busy_changed.connect(
            lambda what: self.busy.setText(f"{what}…" if what else "")
        )
        session.changed.connect(self._changed)
        for signal in (session.loop_changed, session.proposals_changed, session.job_changed):
            signal.connect(self._refresh_actions)
        session.proposals_changed.connect(self._reveal_ghosts)
        self.files.opened.connect(self._opened)
        self.files.leaving.connect(self._leaving)
        self.composer.device_changed.connect(self.device.setText)
        self.roll.hinted.connect(self.hint.say)
        self.tracks.drag_out.connect(self._drag_track)
        self.path.listener.play_asked.connect(player.play)
        self.path.listener.stop_asked.connect(lambda: player.send(playback.Stop()))
        transport.play.connect(self.toggle)
        transport.stop.connect(player.stop)
        transport.rewind.connect(lambda: session.seek(0))
        transport.loop.connect(lambda _: self.toggle_loop())
        transport.devices.connect(self.show_devices)
        self.rig.changed.connect(lambda: transport.show_followed(self.rig.followed_text()))
        self.shape.devices.connect(self.show_devices)
        self._connect_midi()
        self.compose.system_chosen.connect(self.shape.choose)
        self.compose.shape_wanted.connect(self.show_shape)

    def _connect_midi(self) -> None:
        player, capture, hands = self.player, self.capture, self.hands
        player.played.connect(capture.heard)
        player.anchored.connect(capture.anchored)
        player.restarted.connect(capture.restarted)
        player.input_lost.connect(capture.lost)
        capture.stop_asked.connect(lambda: player.send(playback.Stop()))
        capture.kept.connect(self.banner.say)
        hands.said.connect(self.banner.say)
        hands.hinted.connect(self.hint.say)
        hands.controllers.add(*stage_targets.of(self.performance))
        hands.serve(self.session, self.compose, self.path, self._trigger)

    def _trigger(self, name: str) -> None:
        self._actions[name].trigger()

    def _restore(self) -> None:
        geometry, state = self._settings.value("geometry"), self._settings.value("docks")
        if geometry is not None and state is not None:
            self.restoreGeometry(geometry)
            self.restoreState(state)

    # --- starting and ending -----------------------------------------------------------------------

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.roll.setFocus()
        if not self._started:
            self._started = True
            QTimer.singleShot(50, self.player.start)
            if self._settings.value("stage_shown", False, bool):
                QTimer.singleShot(50, self.show_stage)

    def closeEvent(self, event: QCloseEvent) -> None:
        self._settings.setValue("geometry", self.saveGeometry())
        self._settings.setValue("docks", self.saveState())
        self.hide()
        self.session.revert()
        self._settings.setValue("stage_shown", self._stage is not None and self._stage.isVisible())
        if self._stage is not None:
            self._stage.close()
        self.performance.close()
        self.composer.close()
        self.errands.close()
        self.score_view.close_engraver()
        self.player.close()
        self.files.close()
        self._settings.sync()
        super().closeEvent(event)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if self._dropped(event) is not None:
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        path = self._dropped(event)
        if path is not None:
            event.acceptProposedAction()
            self.files.open_path(path)

    def _dropped(self, event: QDropEvent) -> Path | None:
        paths = [Path(u.toLocalFile()) for u in event.mimeData().urls() if u.isLocalFile()]
        return next((p for p in paths if p.suffix.lower() in exchange.READERS), None)

    # --- what changed --------------------------------------------------------------------------------

    def _changed(self, change: Change) -> None:
        if change.committed:
            self._refresh_actions()
        if change.tracks:
            ports = sorted({t.port for t in self.session.score.tracks}) or [""]
            self.transport.show_port(
                port_title(ports[0]) if len(ports) == 1 else f"{len(ports)} outputs"
            )

    def _leaving(self) -> None:
        self.roll.cancel()
        self.composer.stop()
        self.player.halt()

    def _opened(self) -> None:
        self._title()
        self.banner.hide()
        kept = getattr(self.session.document.journal, "path", None)
        self._settings.setValue("last", str(kept) if kept is not None else "")
        self._suggest_task()
        self._refresh_actions()

    def _suggest_task(self) -> None:
        """Choose what one most likely asks for: music from nothing, voices to a melody, or other ones."""
        voices = sum(bool(len(t.notes)) for t in self.session.score.tracks)
        task = (Task.CREATE, Task.ACCOMPANY, Task.REGENERATE)[min(voices, 2)]
        if task in self.compose.tasks:
            self.compose.choose_task(task)

    def _reveal_ghosts(self) -> None:
        """Make room for proposed notes above or below what the roll shows, once a request, and again when
        it reaches further."""
        shown, view = self.session.shown_candidate, self.roll.view.viewport
        if shown is None:
            return
        pitches = [g.notes.pitch for g in self.session.ghosts if len(g.notes)]
        reach = [(int(p.min()), int(p.max())) for p in pitches]
        request, lowest, highest = self._revealed
        if shown.request == request and all(a >= lowest and b <= highest for a, b in reach):
            return
        if shown.request != request:
            lowest, highest = 128, -1
        self._revealed = (
            shown.request,
            min([lowest, *(a for a, _ in reach)]),
            max([highest, *(b for _, b in reach)]),
        )
        pitches += [t.notes.pitch for t in self.session.score.tracks]
        every = np.concatenate(pitches or [np.zeros(0, np.int64)])
        if len(every):
            low, high = int(every.min()), int(every.max())
            if view.y(high + 1) < 0 or view.y(low) > view.height:
                margin = (view.right_tick - view.left_tick) * MARGIN_PX / view.width
                start, end = view.left_tick + margin, view.right_tick - margin
                self.roll.view.show(view.showing(start, end, low, high))

    def _title(self) -> None:
        self.setWindowTitle(f"{self.files.name} – Ricercar")

    def _refresh_actions(self) -> None:
        if not self._actions:
            return
        document, session = self.session.document, self.session
        for name, label in (("undo", document.undo_label), ("redo", document.redo_label)):
            self._actions[name].setEnabled(label is not None)
            self._actions[name].setText(f"{name.capitalize()} {label or ''}".strip())
        shown = session.shown_candidate is not None
        for name in ("hear", "keep", "drop", "next_candidate", "previous_candidate"):
            self._actions[name].setEnabled(shown)
        for entry in ACTIONS:
            if entry.checked is not None:
                self._actions[entry.name].setChecked(entry.checked(self))

    def _list_recent(self) -> None:
        self._recent.clear()
        for path in self.files.recent:
            action = QAction(path.name, self._recent)
            action.setToolTip(str(path))
            action.triggered.connect(lambda _=False, p=path: self.files.open_path(p))
            self._recent.addAction(action)
        self._recent.setToolTipsVisible(True)
        if self._recent.isEmpty():
            nothing = self._recent.addAction("Nothing yet")
            nothing.setEnabled(False)

    # --- what actions do -----------------------------------------------------------------------------

    def undo(self) -> None:
        """Take the last step back (a drag under way is let go first)."""
        self.roll.cancel()
        self.session.undo()

    def redo(self) -> None:
        """Do again what was taken back."""
        self.roll.cancel()
        self.session.redo()

    def toggle(self) -> None:
        """Play, or stop where it is."""
        self.player.toggle()

    def toggle_loop(self) -> None:
        """Loop the marked bars (everything when none are), or end the loop."""
        session = self.session
        if session.loop is None:
            session.set_loop(session.span or whole_bars(session.score))
        else:
            session.set_loop(None)
        self.transport.refresh()

    def escape(self) -> None:
        """Stop teaching a control; else let go of the drag; else stop the request; else stop hearing; else
        clear the selection."""
        if self.hands.cancel() or self.roll.cancel():
            return
        if self.session.job is not None:
            self.composer.stop()
        elif self.session.hearing:
            self.session.revert()
        else:
            self.session.select(())

    def mark_all(self) -> None:
        """Mark every bar that holds music."""
        self.session.set_span(whole_bars(self.session.score))

    def hear(self) -> None:
        """Hear the shown candidate, or what it would replace."""
        shown = self.session.shown_candidate
        if self.session.hearing:
            self.session.revert()
        elif shown is not None:
            self.session.hear(shown.key)

    def keep(self) -> None:
        """Keep the shown candidate."""
        shown = self.session.shown_candidate
        if shown is not None:
            self.session.keep(shown.key)

    def drop(self) -> None:
        """Drop the shown candidate."""
        shown = self.session.shown_candidate
        if shown is not None:
            self.session.drop([shown.key])

    def step_candidate(self, by: int) -> None:
        """Show another candidate, and hear it if one is heard."""
        session = self.session
        keys = [c.key for c in session.candidates]
        shown = session.shown_candidate
        if shown is None or not keys:
            return
        key = keys[(keys.index(shown.key) + by) % len(keys)]
        if session.hearing:
            session.hear(key)
        else:
            session.show_candidate(key)

    def remove_active_track(self) -> None:
        """Remove the active track."""
        if self.session.active_track >= 0:
            self.tracks.remove_track(self.session.active_track)

    def ask_meter(self) -> None:
        """Ask for a metre from the playhead's bar on."""
        dialogs.ask_meter(self, self.session)

    def ask_key(self) -> None:
        """Ask for a key from the playhead's bar on."""
        dialogs.ask_key(self, self.session)

    def drag_music(self) -> None:
        """Drag the selected notes, or the whole piece, out as a MIDI file."""
        score = self.session.document.score
        if self.session.selection:
            score = excerpt(score, self.session.selected)
        self.files.drag_out(score, self.files.name, self.drag)
        self.drag.setDown(False)

    def _drag_track(self, track_id: int) -> None:
        score = self.session.document.score
        track = score.track(track_id)
        self.files.drag_out(excerpt(score, track.notes.id), track.name, self.tracks)

    def open_demo(self) -> None:
        """Open the demonstration chorale anew."""
        self.files.adopt(demo(), "")
        self.prepare_demo()

    def prepare_demo(self) -> None:
        """Mark bars and voices so that Generate is the next thing to press."""
        session = self.session
        score = session.document.score
        music = whole_bars(score)
        if music is None:
            return
        last = score.meter.position(music[1] - 1).bar
        session.set_span((score.meter.bar_start(1), score.meter.bar_start(min(last, 4) + 1)))
        lower = [t.id for t in score.tracks[1:]]
        session.set_ticked(lower)
        self.compose.choose("deep_bach", Task.REGENERATE)

    def dock_shown(self, name: str) -> bool:
        """Whether a dock is open."""
        return not self._docks[name].isHidden()

    def toggle_dock(self, *names: str) -> None:
        """Open or close docks together; those that open come before others on their tabs."""
        show = not self.dock_shown(names[0])
        for name in names:
            self._docks[name].setVisible(show)
            if show:
                self._docks[name].raise_()

    def _make_room(self, shown: bool) -> None:
        """The map and its sliders need more height than the tray, the first time they are shown."""
        if shown and not self._roomy:
            self._roomy = True
            docks = [self._docks["shape"], self._docks["proposals"]]
            self.resizeDocks(docks, [SHAPE_PX, TRAY_PX], Qt.Orientation.Vertical)

    def place_phrase(self) -> None:
        """Show where the phrase that is chosen lies on the latent map."""
        self.show_shape()
        self.places.place_phrase()

    def show_shape(self) -> None:
        """Bring the Shape panel to the front."""
        self._docks["shape"].show()
        self._docks["shape"].raise_()

    def set_end(self, index: int) -> None:
        """Take what is selected as A (0) or B (1) of a path."""
        self._show_path()
        self.path.set_end(index)

    def make_path(self) -> None:
        """Lead from A to B."""
        self._show_path()
        self.path.make()

    def _show_path(self) -> None:
        if not self.dock_shown("path"):
            self.toggle_dock("path")

    def toggle_compose(self) -> None:
        """Open or close the compose panel and the tray."""
        self.toggle_dock("compose", "proposals")

    def toggle_full_screen(self) -> None:
        """Use the whole screen, or not."""
        if self.isFullScreen():
            self.showNormal()
        else:
            self.showFullScreen()

    def show_stage(self) -> None:
        """Show the performance view."""
        if self._stage is None:
            # By name: a window that never goes on stage need not load it.
            view = importlib.import_module("app.panels.performance").PerformanceView
            self._stage = view(self.performance)
            self._let_learn(self._stage)
        self._stage.show()
        self._stage.raise_()
        self._stage.activateWindow()

    def _let_learn(self, stage: QWidget) -> None:
        """Let a right click on what is set on stage teach it a control."""
        controllers = self.hands.controllers
        learn = importlib.import_module("app.panels.learn")
        for target in controllers.targets:
            if target.id.startswith(stage_targets.PREFIX):
                name = target.id.removeprefix(stage_targets.PREFIX)
                names = ("system",) if name == "next" else (name, f"mode_{name}")
                widgets = (stage.findChild(QWidget, n) for n in names)
                if widget := next((w for w in widgets if w is not None), None):
                    learn.learnable(widget, target.id, controllers)

    def show_devices(self) -> None:
        """Show where everything sounds."""
        if self._devices is None:
            self._devices = DevicesDialog(self.session, self.player, self.rig, self)
        self._devices.refresh()
        self._devices.show()
        self._devices.raise_()

    def show_keys(self) -> None:
        """Show every key and what the mouse does."""
        dialogs.show_keys(self)

    def show_about(self) -> None:
        """Say what this is."""
        dialogs.show_about(self)

"""Hands on: everything in the window that a MIDI control can be taught to move."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from functools import partial

from PySide6.QtCore import QObject, QSettings, Signal
from PySide6.QtWidgets import QWidget

from app import targets
from app.actions import ACTIONS
from app.controllers import Controllers
from app.controls import Control, Kind, Source
from app.panels.parameters import ParameterForm
from app.panels.path import PathPanel
from app.panels.systems import ComposePanel
from app.panels.transport import with_tempo
from app.player import Player
from app.rig import Rig
from app.session import Session
from app.targets import Target
from engine import edits, playback, schedule
from models.card import Card
from models.score import Score, Track

SLOWEST, FASTEST = 30, 240
"""Quarter notes a minute at the ends of a control's way."""
LOUDEST = 127

STATUS = {
    Source.NOTE: schedule.NOTE_ON,
    Source.CC: schedule.CONTROL,
    Source.CC14: schedule.CONTROL,
    Source.NRPN: schedule.CONTROL,
    Source.PROGRAM: schedule.PROGRAM,
    Source.BEND: schedule.BEND,
    Source.PRESSURE: schedule.PRESSURE,
}


class Tentative:
    """A setting of the document that a hand moves: previewed while it moves, one undo step when it rests."""

    def __init__(self, session: Session, label: str) -> None:
        self._session, self._label = session, label
        self._changed: Score | None = None

    def show(self, changed: Score) -> None:
        """What the document would be."""
        self._changed = changed
        self._session.preview(changed)

    def settle(self) -> None:
        """The hand rests."""
        changed, self._changed = self._changed, None
        # Something else may have taken the preview's place meanwhile, an undo for instance.
        if changed is not None and self._session.score is changed:
            self._session.commit(self._label, changed)


def _tempo(session: Session) -> Target:
    moved = Tentative(session, "Change tempo")

    def tick() -> int:
        return int(session.playhead_tick())

    return targets.number(
        "tempo",
        "Tempo",
        SLOWEST,
        FASTEST,
        lambda: session.score.tempo.bpm(tick()),
        lambda bpm: moved.show(with_tempo(session.document.score, tick(), round(bpm, 1))),
        group="Play",
        unit=" bpm",
        settle=moved.settle,
    )


def _volume(session: Session) -> Target:
    moved = Tentative(session, "Change volume")

    def track(score: Score) -> Track | None:
        return next((t for t in score.tracks if t.id == session.active_track), None)

    def volume() -> float | None:
        found = track(session.score)
        return None if found is None else float(found.volume)

    def put(value: float) -> None:
        score = session.document.score
        if track(score) is not None:
            moved.show(edits.set_track(score, session.active_track, volume=round(value)))

    return targets.number(
        "volume",
        "Volume of the active voice",
        0,
        LOUDEST,
        volume,
        put,
        whole=True,
        group="Play",
        settle=moved.settle,
    )


def messages(control: Control) -> Iterator[playback.Taught]:
    """What a control sends."""
    kind, channel, device = STATUS[control.source], control.channel, control.device
    match control.source:
        case Source.CC | Source.CC14:
            for number in control.controllers():
                yield playback.Taught(kind, number, channel, device)
        case Source.NOTE | Source.PROGRAM | Source.NRPN as source:
            yield playback.Taught(kind, control.number, channel, device, nrpn=source is Source.NRPN)
        case Source.BEND | Source.PRESSURE:
            yield playback.Taught(kind, channel=channel, source=device)


class Hands(QObject):
    """The MIDI controls of a window: tells what moves something of ours from music (`Player.played`), and
    teaches. `said(sentence)` and `hinted(words)` are for the user."""

    said = Signal(str)
    hinted = Signal(str)

    def __init__(self, player: Player, rig: Rig, settings: QSettings) -> None:
        super().__init__(player)
        self._player, self._rig = player, rig
        self.controllers = Controllers(settings, self)
        self._dialog: QWidget | None = None
        player.received.connect(self._received)
        self.controllers.changed.connect(self._silence)
        self.controllers.said.connect(self.said)
        self.controllers.waiting.connect(self._waiting)
        self._silence()

    def serve(
        self,
        session: Session,
        compose: ComposePanel,
        path: PathPanel,
        trigger: Callable[[str], object],
    ) -> None:
        """Let what is in the window be moved, and taught by its context menus."""
        self.controllers.add(*every(session, compose, path, trigger))
        compose.form_shown.connect(self._form_shown)

    def cancel(self) -> bool:
        """Teach nothing any more; False when nothing was being taught."""
        taught = bool(self.controllers.learning)
        self.controllers.cancel()
        return taught

    def show(self, parent: QWidget) -> None:
        """Show what is taught, and teach more."""
        if self._dialog is None:
            learn = importlib.import_module("app.panels.learn")
            self._dialog = learn.LearnDialog(self.controllers, lambda: self._player.inputs, parent)
        self._dialog.show()
        self._dialog.raise_()

    def _silence(self) -> None:
        """What is taught is not to sound as well."""
        mappings = self.controllers.mappings
        self._rig.set_taught(frozenset(t for m in mappings for t in messages(m.control)))

    def _received(self, event: playback.Played) -> None:
        if not self.controllers.receive(event.message, event.source, event.at):
            self._player.played.emit(event)

    def _waiting(self, target: str, way: int) -> None:
        words = importlib.import_module("app.panels.learn").pick_up_words
        self.hinted.emit(words(self.controllers, target, way))

    def _form_shown(self, form: ParameterForm, card: Card) -> None:
        importlib.import_module("app.panels.learn").learnable_form(form, card, self.controllers)


def every(
    session: Session, compose: ComposePanel, path: PathPanel, trigger: Callable[[str], object]
) -> tuple[Target, ...]:
    """The targets of the window itself: actions (`trigger(name)` does one), tempo, volume, the path, and the
    parameters of every system. The map's and the stage's come from their own panels."""
    return (
        _tempo(session),
        _volume(session),
        Target("path", "Path from A to B", Kind.NUMBER, path.set_position, path.position),
        *(
            target
            for card in compose.cards
            for target in targets.parameter_targets(
                card, partial(compose.value, card), partial(compose.set_value, card)
            )
        ),
        *targets.action_targets(ACTIONS, trigger),
    )

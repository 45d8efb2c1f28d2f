"""Performance: the live core as Qt sees it: how it is set, what it shows, what is kept of what it plays.

It lives in the GUI thread; the core (`engine.stage`) has a thread of its own and answers through a bridge.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from PySide6.QtCore import QObject, QSettings, QTimer, Signal

from app import takes
from app.bridge import Bridge
from app.composer import bars_text, whole_bars
from app.dials import DIALS, HEAT, Dial, heat
from app.player import Player, port_title
from app.rehearsed import KEY, Rehearsed, fitting
from app.rig import Rig
from app.session import Session
from engine import playback
from engine.document import Change
from engine.staging import LIVE, Mode, Quantum, Scene, Setting, View, modes
from models.card import Card, Value
from models.score import EMPTY, Region, Track, UserError

SAVE_MS = 400
"""Settings are written this long after the first of them has changed."""
MOST_PARTS = 8

TITLES: dict[Mode, str] = {
    Mode.ANSWER: "Answer",
    Mode.HARMONISE: "Harmonise",
    Mode.STREAM: "Stream",
    Mode.MUTATE: "Mutate",
}
HINTS: dict[Mode, str] = {
    Mode.ANSWER: "Play a phrase and stop, or press the pad: it is answered, then it is your turn again",
    Mode.HARMONISE: "Play a melody: chords follow on the next beat",
    Mode.STREAM: "It goes on without end, as far ahead as you say",
    Mode.MUTATE: "The loop is written anew, a little every few passes; locked notes stay",
}
"""What each mode does, in a line."""

CLOSE_SECONDS = 0.5
"""How long leaving waits for the core."""


class Stage(Protocol):
    """What is needed of `engine.stage.Stage`; every method but `close` returns at once."""

    def set(self, setting: Setting) -> None: ...

    def scene(self, scene: Scene) -> None: ...

    def go(self) -> None: ...

    def halt(self) -> None: ...

    def pad(self) -> None: ...

    def heard(self, played: playback.Played) -> None: ...

    def anchored(self, anchor: playback.Anchor) -> None: ...

    def restarted(self) -> None: ...

    def close(self, timeout_seconds: float) -> bool: ...


OpenStage = Callable[[Callable[[playback.Command], None], Callable[[View], None]], Stage]


def open_stage(send: Callable[[playback.Command], None], emit: Callable[[View], None]) -> Stage:
    """The live core, its thread started. torch is loaded there, by the first setting."""
    stage = importlib.import_module("engine.stage").Stage(send, emit)
    stage.start()
    found: Stage = stage
    return found


class Performance(QObject):
    """Sets, starts and stops the live core, and remembers how it was set, each mode for itself.

    `view_changed(View)` follows what the core tells, `setting_changed` follows `setting`. `rig` says which inputs
    are heard and whose clock is followed, `settings` what is remembered from start to start. `laid`: what the
    transport was last given to play by the core, in its ticks: tracks of ids LIVE and above, and the document's that
    mutate. `anchor`: the last word from the transport, if any.
    """

    view_changed = Signal(object)
    setting_changed = Signal()

    def __init__(
        self,
        session: Session,
        player: Player,
        rig: Rig,
        cards: Sequence[Card],
        settings: QSettings,
        *,
        open_stage: OpenStage = open_stage,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.session, self.player, self.rig = session, player, rig
        self._cards = {card.id: card for card in cards}
        self.settings, self._open_stage = settings, open_stage
        self._bridge = Bridge(self._receive, self)
        self._stage: Stage | None = None
        self.anchor: playback.Anchor | None = None
        self._laid_bridge = Bridge(self._laid, self)
        self.view = View()
        self.laid: tuple[Track, ...] = ()
        self._bases = (session.document.score, session.document.score)
        self._kept = takes.Kept()
        self._rehearsed = Rehearsed.read(str(settings.value(KEY, "")), cards)
        self._saving = QTimer(self, singleShot=True, interval=SAVE_MS)
        self._saving.timeout.connect(self._save)
        session.changed.connect(self._changed)
        session.loop_changed.connect(self._tell_scene)
        player.played.connect(self._heard)
        player.anchored.connect(self._anchored)
        player.restarted.connect(self._restarted)

    # --- how it is set -----------------------------------------------------------------------------

    @property
    def setting(self) -> Setting:
        """How the mode chosen is set."""
        return self._rehearsed.setting

    @property
    def mode(self) -> Mode:
        """The mode chosen."""
        return self.setting.mode

    @property
    def card(self) -> Card | None:
        """The system chosen for this mode; None where none can do it."""
        return self._cards.get(self.setting.system)

    @property
    def dials(self) -> dict[str, Dial]:
        """What can be turned in this mode, by name; HEAT as the system has it."""
        found = {name: d for name, d in DIALS.items() if self.mode in d.modes}
        param = heat(self.card, self.mode)
        if param is not None:
            title = param.name.capitalize()
            found[HEAT] = Dial(HEAT, title, float(param.minimum), float(param.maximum), 0.05)
        return found

    def systems(self, mode: Mode | None = None) -> tuple[Card, ...]:
        """The systems whose card offers a mode (the one chosen when None)."""
        return fitting(self._cards.values(), mode or self.mode)

    def set_mode(self, mode: Mode) -> None:
        """Choose a mode; it is set as it was the last time. While it plays, MUTATE loops as `go` does."""
        changes = mode is Mode.MUTATE and self.view.running and mode is not self.mode
        looping = self._loop_something() if changes else ""
        self._adopt(self._rehearsed.in_mode(mode))
        if looping:
            self.session.message.emit(looping)

    def set_system(self, system_id: str) -> None:
        """Choose a system for this mode; one that cannot do it is refused in a sentence."""
        card = self._cards.get(system_id)
        if card is None or self.mode not in modes(card):
            name = card.name if card is not None else system_id
            self.session.message.emit(f"{name} cannot {self.mode}; choose another system.")
        else:
            self._adopt(self._rehearsed.with_setting(system=system_id))

    def step_system(self, by: int) -> None:
        """The next system of this mode (1), or the one before (−1), round and round."""
        ids = [card.id for card in self.systems()]
        if ids:
            at = ids.index(self.setting.system) if self.setting.system in ids else -by
            self.set_system(ids[(at + by) % len(ids)])

    def value(self, name: str) -> float:
        """Where a dial stands; KeyError when this mode and system have none of that name."""
        dial = self.dials[name]
        if name == HEAT:
            param = heat(self.card, self.mode)
            assert param is not None
            value = self.setting.params.get(param.name, param.default)
            assert isinstance(value, int | float)
            return float(value)
        return dial.fit(float(getattr(self.setting, name)))

    def turn(self, name: str, number: float) -> None:
        """Put a dial at the number nearest to this one; nothing where there is no such dial now."""
        dial = self.dials.get(name)
        if dial is None:
            return
        fitted = dial.fit(number)
        param = heat(self.card, self.mode)
        if name == HEAT and param is not None:
            self.set_param(param.name, fitted)
        else:
            self._adopt(
                self._rehearsed.with_setting(**{name: int(fitted) if dial.whole else fitted})
            )

    def step(self, name: str, by: int) -> None:
        """Turn a dial by so many of its steps."""
        dial = self.dials.get(name)
        if dial is not None:
            self.turn(name, self.value(name) + by * dial.step)

    def set_param(self, name: str, value: Value) -> None:
        """Set a parameter of the system; a value out of its range is refused in a sentence."""
        try:
            self._adopt(self._rehearsed.with_param(self.card, name, value))
        except UserError as error:
            self.session.message.emit(str(error))

    def set_quantum(self, quantum: Quantum) -> None:
        """Say where a change may come."""
        self._adopt(self._rehearsed.with_setting(quantum=quantum))

    def set_repeat(self, repeat: bool) -> None:
        """Say what is heard while a model is late: the last good bar again, or a variation of it."""
        self._adopt(self._rehearsed.with_setting(repeat=repeat))

    def step_input(self, by: int) -> None:
        """Listen to the next MIDI input: each, all, none; what is listened to then is said."""
        names = self.player.inputs
        choices: list[tuple[str, ...]] = [(), *((n,) for n in names)]
        if len(names) > 1:
            choices.append(tuple(names))
        now = self.rig.inputs
        at = choices.index(now) if now in choices else 0
        chosen = choices[(at + by) % len(choices)]
        self.rig.listen(chosen)
        titles = ", ".join(map(port_title, chosen)) or "no input"
        self.session.message.emit(f"Listening to {titles}.")

    def step_voice(self, by: int) -> None:
        """The next voice to be written anew; after the last, any."""
        voices = [None, *(t.id for t in self.session.score.tracks)]
        at = voices.index(self.setting.voice) if self.setting.voice in voices else 0
        self._adopt(self._rehearsed.with_setting(voice=voices[(at + by) % len(voices)]))

    def set_parts(self, parts: Sequence[Track]) -> None:
        """Say where it sounds, highest part first: one to MOST_PARTS, numbered anew from LIVE."""
        numbered = tuple(replace(p, id=LIVE + i) for i, p in enumerate(parts[:MOST_PARTS]))
        if numbered:
            self._adopt(replace(self._rehearsed, parts=numbered))

    def _adopt(self, rehearsed: Rehearsed) -> None:
        before, self._rehearsed = self.setting, rehearsed
        if self.setting != before and self._stage is not None:
            self._stage.set(self.setting)
        if not self._saving.isActive():
            self._saving.start()
        self.setting_changed.emit()

    def _save(self) -> None:
        self._saving.stop()
        self.settings.setValue(KEY, self._rehearsed.text())

    # --- playing -----------------------------------------------------------------------------------

    def open(self) -> None:
        """Start the core's thread, so that it is ready when it is wanted."""
        if self._stage is None:
            self._stage = self._open_stage(self._send, self._bridge)
            self._stage.set(self.setting)
            self._tell_scene()
            if self.anchor is not None:
                self._stage.anchored(self.anchor)

    def go(self) -> None:
        """Begin; what stands in the way is said. MUTATE loops the marked bars, or everything."""
        say = self.session.message.emit
        if self.card is None:
            say(f"No system that is installed can {self.mode}.")
            return
        if self.mode is Mode.MUTATE:
            looping = self._loop_something()
            if looping is None:
                say("There is nothing to mutate yet: draw or play some bars first.")
                return
            if looping:
                say(looping)
        elif self.mode is not Mode.STREAM and not self.rig.inputs:
            say("No MIDI input is listened to: press I to choose the one you play on.")
        self.open()
        assert self._stage is not None
        if not self.view.running:
            self._kept = takes.Kept()  # another performance makes tracks of its own
        self._stage.go()

    def _loop_something(self) -> str | None:
        """Where there is no loop, go round the marked bars, else round everything. Returns a sentence about it, empty
        if there was a loop; None where there is no music."""
        session = self.session
        if session.loop is not None:
            return ""
        span = session.span or whole_bars(session.document.score)
        if span is None:
            return None
        session.set_loop(span)
        return f"Looping {bars_text(session.document.score, *span)}."

    def halt(self) -> None:
        """End what it plays; music that played before it plays on."""
        if self._stage is not None:
            self._stage.halt()

    def toggle(self) -> None:
        """Begin, or end."""
        if self.view.running:
            self.halt()
        else:
            self.go()

    def pad(self) -> None:
        """The pad: answer now. Resting, it says how to begin rather than begin unasked."""
        if self._stage is None or not self.view.running:
            self.session.message.emit("Nothing runs yet: press G to begin.")
        else:
            self._stage.pad()

    def panic(self) -> None:
        """Halt, and silence everything on every port."""
        self.halt()
        self.player.panic()

    def keep(self) -> bool:
        """Make what was played (since the last time) part of the document, as one undo step."""
        session = self.session
        score = session.document.score
        region = Region(*session.loop) if session.loop is not None else None
        mutated = takes.evolved(score, self._bases[0], self.view.take, region)
        kept, remembered = takes.added(mutated, self.view.take, self._kept)
        if kept is score:
            session.message.emit("There is nothing new to keep.")
            return False
        if not session.commit("Keep what was performed", kept):
            return False
        self._kept = remembered
        session.message.emit("Kept, as one step to undo.")
        return True

    def close(self) -> None:
        """Write what is remembered, and end the core; waits a moment for it, never for a whole request."""
        self._save()
        self._bridge.close()
        self._laid_bridge.close()
        self.ended(CLOSE_SECONDS)

    def ended(self, seconds: float) -> bool:
        """Whether the core's threads have ended, or do so within `seconds`."""
        return self._stage is None or self._stage.close(seconds)

    # --- what the transport and the core tell ------------------------------------------------------

    def _heard(self, played: playback.Played) -> None:
        """A message came in."""
        if self._stage is not None:
            self._stage.heard(played)

    def _anchored(self, anchor: playback.Anchor) -> None:
        """The transport says where it is."""
        self.anchor = anchor
        if self._stage is not None:
            self._stage.anchored(anchor)

    def _restarted(self) -> None:
        """The MIDI process has been started again, and knows nothing."""
        if self._stage is not None:
            self._stage.restarted()

    def _send(self, command: playback.Command) -> None:
        """A command of the core's, on its thread; what is to be played is shown as well."""
        self.player.send(command)
        if isinstance(command, playback.Load | playback.Unload):
            self._laid_bridge(command)

    def _laid(self, command: object) -> None:
        assert isinstance(command, playback.Load | playback.Unload)
        others = tuple(t for t in self.laid if t.id != command.track)
        if isinstance(command, playback.Load):
            before = next((t.notes for t in self.laid if t.id == command.track), EMPTY)
            tick = self.session.playhead_tick()
            begun = tick - self.session.document.score.meter.position(int(tick)).offset
            notes = takes.shown(takes.notes_of(command.table), before, begun, tick)
            others = (*others, Track(command.track, "", notes))
        self.laid = tuple(sorted(others, key=lambda t: t.id))

    def _receive(self, view: object) -> None:
        assert isinstance(view, View)
        if self.view.running and not view.running:
            self.laid = ()
        self._bases = (self._bases[1], self.session.document.score)
        self.view = view
        self.player.endless = view.running
        self.view_changed.emit(view)

    def _changed(self, change: Change) -> None:
        if not change.committed:
            return
        voices = {t.id for t in self.session.document.score.tracks}
        if self.setting.voice is not None and self.setting.voice not in voices:
            self._adopt(self._rehearsed.with_setting(voice=None))
        self._tell_scene()

    def _tell_scene(self) -> None:
        """Tell the core what it plays beside, right after the transport is told, so that it can overrule it."""
        if self._stage is not None:
            loop = self.session.loop
            score = self.session.document.score
            self.player.send(playback.Show(score))
            self._stage.scene(Scene(score, Region(*loop) if loop is not None else None))

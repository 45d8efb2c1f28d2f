"""The performance: what is played in, asked, laid down and shown, in time. Headless; see `engine.staging`.

`Core` is driven by messages and moments handed in; `run` waits for them; `Stage` hosts it on a thread with an
engine of its own, so that no job of the desk keeps a performer waiting.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import Protocol

import numpy as np

from engine.clock import Clock, SystemClock
from engine.messages import Failed, Finished, Inbound, Outbound, Progressed, Proposed, Started
from engine.playback import Anchor, Command, Play, Played, Stop
from engine.stage_answer import Answer
from engine.stage_asks import Order, accompanying, continuing, task_for, varying
from engine.stage_deck import Deck, Look, Playing
from engine.stage_desk import Desk
from engine.stage_ear import Ear
from engine.stage_harmonise import Harmonise
from engine.stage_mutate import Mutate
from engine.stage_parts import Parts
from engine.stage_stream import Stream
from engine.stage_time import Timeline
from engine.staging import Mode, Quantum, Scene, Setting, View, modes
from engine.worker import Engine, Load
from models import catalogue
from models.card import Card, Task
from models.score import Notes, Track, UserError
from models.timebase import PPQ

log = logging.getLogger(__name__)

MODES: dict[Mode, Callable[[Deck], Playing]] = {
    Mode.ANSWER: Answer,
    Mode.HARMONISE: Harmonise,
    Mode.STREAM: Stream,
    Mode.MUTATE: Mutate,
}


@dataclass(frozen=True)
class Go:
    """The performance begins."""


@dataclass(frozen=True)
class Halt:
    """The performance ends."""


@dataclass(frozen=True)
class Pad:
    """The performer wants the answer (or something new) now."""


@dataclass(frozen=True)
class Restarted:
    """The MIDI process is a new one, which knows nothing."""


@dataclass(frozen=True)
class Quit:
    """The thread is to end."""


Message = Setting | Scene | Go | Halt | Pad | Restarted | Quit | Played | Anchor | Outbound


class Core:
    """A performance. `send` takes commands for the transport, `emit` what is to be seen, `put` requests for the
    engine; their answers come back through `obey`. `cards` finds a card by its id (UserError: there is none)."""

    def __init__(
        self,
        send: Callable[[Command], None],
        emit: Callable[[View], None],
        put: Callable[[Inbound], None],
        *,
        seed: int = 0,
        card: Callable[[str], Card] = catalogue.card,
    ) -> None:
        self._send, self._emit, self._card = send, emit, card
        scene = Scene()
        self._deck: Deck | None = None
        self._timeline = Timeline(scene.score.tempo, scene.score.meter)
        self._scene = scene
        self._desk = Desk(put)
        self._ear = Ear()
        self._parts = Parts(send)
        self._rng = np.random.default_rng(seed)
        self._playing: Playing | None = None  # None: no performance
        self._warm: int | None = None
        self._started = False  # the transport, by this performance
        self._beat: float | None = None  # u of the next beat to be shown
        self._shown: View | None = None
        self._sentence = ""
        self._take: tuple[Track, ...] = ()

    # --- time --------------------------------------------------------------------------------------

    def due(self) -> int | None:
        """The moment at which something is to be done, or None."""
        if not self._timeline.playing:
            return None
        moments = [] if self._beat is None else [self._timeline.moment(self._beat)]
        if self._playing is not None:
            u = self._playing.due(self._beat or 0.0)
            if u is not None:
                moments.append(self._timeline.moment(u))
        return min(moments, default=None)

    def advance(self, now: int) -> None:
        """Do what is due at the moment `now`."""
        # A moment is rounded to nanoseconds: what is due at it must not seem a hair away.
        u = self._timeline.position(now) + 1e-3
        if self._playing is not None:
            due = self._playing.due(u)
            if due is not None and due <= u:
                self._playing.advance(u, now)
        if self._beat is not None and self._beat <= u:
            self._beat = float(self._timeline.following(int(u) + 1, Quantum.BEAT))
            if self._playing is not None and self._timeline.looping:
                self._parts.load(self._timeline, u)
        self._show(now)

    # --- messages ----------------------------------------------------------------------------------

    def obey(self, message: Message, now: int) -> None:
        """Take in one message."""
        u = self._timeline.position(now)
        match message:
            case Setting():
                self._set(message, u, now)
            case Scene():
                self._stage(message, u, now)
            case Go():
                self._go(u, now)
            case Halt():
                self.halt(now)
            case Pad():
                if self._playing is not None:
                    self._playing.pad(u, now)
            case Played():
                began = self._ear.heard(message, self._timeline)
                if self._playing is not None:
                    self._playing.played(self._timeline.position(message.at), now, began=began)
            case Anchor():
                self._anchor(message, now)
            case Restarted():
                self._restart(u, now)
            case Started() | Progressed() | Proposed() | Finished() | Failed():
                reply = self._desk.answered(message, now)
                if reply is not None and reply.job == self._warm:
                    if reply.final:
                        self._warm = None
                elif reply is not None and self._playing is not None:
                    self._playing.replied(reply, u, now)
            case Quit():
                pass
        self._show(now)

    def halt(self, now: int, sentence: str = "") -> None:
        """End the performance; what it made is kept, and `sentence` shown."""
        u = self._timeline.position(now)
        if self._playing is not None:
            self._playing.end(u)
            self._parts.unload(u)
            self._take = self._playing.take()
            self._playing = None
            if self._started and self._timeline.playing:
                self._send(Stop())
        self._started = False
        self._ear.release()
        self._desk.drop_all()
        self._warm = None
        if self._deck is not None:
            self._deck.sentence = ""
        self._sentence = sentence

    def _set(self, setting: Setting, u: float, now: int) -> None:
        try:
            card = self._card(setting.system)
        except UserError as error:
            self._say(str(error))
            return
        if setting.mode not in modes(card):
            self._say(f"{card.name} cannot {setting.mode}; choose another system.")
            return
        # A knob that is out of range must not end a performance.
        setting = replace(
            setting,
            bars=max(setting.bars, 1),
            passes=max(setting.passes, 1),
            share=min(max(setting.share, 0.0), 1.0),
            rest=max(setting.rest, 0.0),
        )
        before = self._deck
        deck = self._deck = Deck(
            self._send_played,
            self._desk,
            self._parts,
            self._ear,
            self._rng,
            self._timeline,
            self._scene,
            setting,
            card,
        )
        self._sentence = ""
        if before is not None:
            deck.late, deck.in_time = before.late, before.in_time
        self._parts.seat(setting.parts)
        if self._playing is None:
            if before is None or before.card is not card or before.setting.mode != setting.mode:
                self._warm_up(now)
            return
        assert before is not None
        if before.setting.mode == setting.mode:
            # The mode goes on with the deck it has.
            before.setting, before.card, before.sentence = setting, card, ""
            self._deck = before
            self._playing.changed(u, now)
            self._parts.load(self._timeline, u)
            return
        self._playing.end(u)
        if self._timeline.playing:
            self._parts.clear(self._timeline.following(u + deck.margin(u), setting.quantum))
            self._parts.load(self._timeline, u)
        self._playing = MODES[setting.mode](deck)
        self._playing.begin(u, now)

    def _stage(self, scene: Scene, u: float, now: int) -> None:
        before, self._scene = self._scene, scene
        self._place(self._timeline.staged(scene, now))
        if self._deck is not None:
            self._deck.scene = scene
        if self._playing is not None:
            self._playing.staged(before, self._timeline.position(now), now)

    def _go(self, u: float, now: int) -> None:
        deck = self._deck
        if deck is None:
            self._say("Choose a mode and a system first.")
            return
        if self._playing is not None:
            return
        deck.late, deck.in_time, deck.sentence, self._sentence = 0, True, "", ""
        self._parts.fresh()
        self._take = ()
        if self._warm is not None and deck.setting.mode in (Mode.STREAM, Mode.MUTATE):
            self._desk.drop(self._warm)  # what they ask for at once loads the system as well
            self._warm = None
        self._playing = MODES[deck.setting.mode](deck)
        self._playing.begin(u, now)

    def _anchor(self, anchor: Anchor, now: int) -> None:
        was_playing = self._timeline.playing
        timeline, left = self._timeline.anchored(anchor)
        self._place(timeline)
        u = timeline.position(max(now, anchor.at))
        if not timeline.playing:
            self._beat = None
            self._started = self._started and not was_playing
        else:
            if not was_playing or left is not None or self._beat is None:
                self._beat = float(timeline.following(u, Quantum.BEAT))
            if not was_playing:
                self._ear.anchored(timeline)
        if self._playing is not None:
            self._playing.moved(u, now, left=left)

    def _restart(self, u: float, now: int) -> None:
        was_playing = self._timeline.playing
        self._ear.release()
        self._place(self._timeline.resting(now))
        self._beat = None
        if self._playing is None:
            return
        self._parts.load(self._timeline, u, everything=True)
        self._playing.restore()
        if was_playing:
            self._send_played(Play(self._timeline.place(u)))

    # --- inside ------------------------------------------------------------------------------------

    def _place(self, timeline: Timeline) -> None:
        self._timeline = timeline
        if self._deck is not None:
            self._deck.timeline = timeline

    def _send_played(self, command: Command) -> None:
        """Send a command of the performance; one that lets the transport play obliges to stop it."""
        if isinstance(command, Play) and not self._timeline.playing:
            self._started = True
        self._send(command)

    def _say(self, sentence: str) -> None:
        self._sentence = sentence

    def _warm_up(self, now: int) -> None:
        """Have the system loaded, and see how long it takes, before the performance begins."""
        if self._warm is not None:
            self._desk.drop(self._warm)
            self._warm = None
        deck = self._deck
        if deck is None or deck.setting.mode is Mode.MUTATE:
            return
        bar = self._timeline.bar_length(0)
        count = max(bar // PPQ, 1)
        steps = np.resize([0, 2, 4, 5], count)
        length = np.where(
            np.arange(count) == count - 1, 2 * bar, bar // count
        )  # the last one is held
        phrase = Notes.of(np.arange(count) * (bar // count), length, 60 + steps)
        order: Order
        task = task_for(deck.card, deck.setting)
        rest = (deck.card, deck.setting, replace(self._timeline, loop=None, shift=0), self._scene)
        if task is Task.CONTINUE:
            order = continuing(*rest, {"Phrase": phrase}, bar, 2 * bar, 0)
        elif task is Task.ACCOMPANY:
            beat = self._timeline.beat_length(bar)
            order = accompanying(*rest, phrase, {}, bar, bar + beat, 0)
        else:
            order = varying(*rest, phrase, bar, 2 * bar, 0)
        first = replace(order, asks=order.asks[:1])  # a refusal will do: it is loaded then
        self._warm = self._desk.want(first, now, empty=True)

    def _show(self, now: int) -> None:
        """Tell what is to be seen, if it has changed."""
        timeline, deck = self._timeline, self._deck
        u = timeline.position(now)
        # A hair before the beat counts as on it: the beat is told at its moment, rounded.
        tick = max(timeline.place(u + 0.5), 0)
        bar = timeline.meter.position(tick)
        beat = timeline.meter.beat_ticks(tick)
        look = Look("ready", self._desk.loading)
        if self._playing is not None:
            look = self._playing.look(u)
        elif self._warm is not None:
            look = Look("thinking", self._desk.loading or "getting ready")
        view = View(
            running=self._playing is not None,
            mode=deck.setting.mode if deck is not None else Mode.ANSWER,
            bar=bar.bar,
            beat=1 + bar.offset // beat,
            beats=max(timeline.bar_length(u) // beat, 1),
            bpm=timeline.bpm(u),
            state=look.state,
            coming=look.coming,
            ahead=round(look.ahead * 4) / 4,
            late=deck.late if deck is not None else 0,
            sentence=(deck.sentence if deck is not None else "") or self._sentence,
            take=self._playing.take() if self._playing is not None else self._take,
            system=deck.card.name if deck is not None else "",
        )
        if view != self._shown:
            self._shown = view
            self._emit(view)


def run(clock: Clock, inbox: SimpleQueue[Message], core: Core) -> None:
    """Obey what is in `inbox` and do what is due until Quit. A fault of ours ends the performance, no more."""
    while True:
        message: Message | None = None
        try:
            due = core.due()
            if due is not None and clock.now() >= due:
                core.advance(clock.now())
                due = 0  # then only look into the inbox: neither can starve the other
            message = clock.wait(inbox, due)
            if isinstance(message, Quit):
                core.halt(clock.now())
                return
            if message is not None:
                core.obey(message, clock.now())
        except Exception as error:
            log.exception("the performance failed")
            core.halt(clock.now(), f"The performance has ended ({type(error).__name__}: {error}).")


class EngineThread(Protocol):
    """What a stage needs of `engine.worker.Engine`."""

    @property
    def inbox(self) -> SimpleQueue[Inbound]: ...

    def start(self) -> None: ...

    def close(self, timeout_seconds: float = ...) -> bool: ...


class Stage:
    """A performance on a thread of its own, with an engine of its own.

    `send` takes commands for the transport (`MidiLink.send`), `emit` every new View; it is called on the stage's
    thread. All methods may be called from any thread and return at once. `engine` makes the engine from where its
    answers go; `load` is how one finds its systems (see `Engine`). The same seed, inputs and moments make the same
    music.
    """

    def __init__(
        self,
        send: Callable[[Command], None],
        emit: Callable[[View], None],
        *,
        engine: Callable[[Callable[[Outbound], None]], EngineThread] | None = None,
        load: Load | None = None,
        clock: Clock | None = None,
        seed: int = 0,
    ) -> None:
        self._inbox: SimpleQueue[Message] = SimpleQueue()
        make = engine or (lambda answer: Engine(answer, load=load))
        self._engine = make(self._inbox.put)
        self._core = Core(send, emit, self._engine.inbox.put, seed=seed)
        self._thread = threading.Thread(
            target=run,
            args=(clock or SystemClock(), self._inbox, self._core),
            name="stage",
            daemon=True,
        )

    def start(self) -> None:
        """Start the threads. torch is loaded by the first setting."""
        self._engine.start()
        self._thread.start()

    def close(self, timeout_seconds: float = 2.0) -> bool:
        """End the performance and the threads; False when they have not ended within the time."""
        self._inbox.put(Quit())
        if self._thread.is_alive():
            self._thread.join(timeout_seconds)
        return self._engine.close(timeout_seconds) and not self._thread.is_alive()

    def set(self, setting: Setting) -> None:
        """Perform so from the next bar or beat on; before `go`, have the system loaded."""
        self._inbox.put(setting)

    def scene(self, scene: Scene) -> None:
        """The document and its loop are these. To be told right after the transport was told the score (Show)."""
        self._inbox.put(scene)

    def go(self) -> None:
        """Begin. A transport that rests is started when there is something to play."""
        self._inbox.put(Go())

    def halt(self) -> None:
        """End, and stop the transport if the performance had started it. `View.take` stays until the next `go`."""
        self._inbox.put(Halt())

    def pad(self) -> None:
        """Answer now; of a stream: go on from what was played last; of a loop: a new version at its end."""
        self._inbox.put(Pad())

    def heard(self, played: Played) -> None:
        """Something was played in."""
        self._inbox.put(played)

    def anchored(self, anchor: Anchor) -> None:
        """The transport has said where the playhead is."""
        self._inbox.put(anchor)

    def restarted(self) -> None:
        """The MIDI process has come back: what is laid is loaded again, and a performance that played plays on."""
        self._inbox.put(Restarted())

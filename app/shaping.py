"""Shaping: moves a phrase through a system's latent space while one listens, by sliders and on a map.

One request is under way at a time, and the newest wish follows it: under a moving hand the answers come as
fast as the system gives them, and none is thrown away for the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial

import numpy as np
from PySide6.QtCore import QObject, QTimer, Signal

from app.candidates import Candidate
from app.composer import Composer, bars_text, phrase_of, plan
from app.phrases import groups, of_bars, sounds
from app.session import Session
from engine import messages
from models import attributes, space
from models.card import LATENT_PARAMS, Card, Task, Value
from models.score import EMPTY, Notes, Region, Score, UserError
from models.space import Space
from models.system import Ask, Proposal

PUSHES = tuple(p.name for p in LATENT_PARAMS if p.tasks == (Task.RESHAPE,))
"""The parameters that are sliders here or the place on the map, and so not in the parameter form."""

MOST = 3.0
"""How far a slider goes to either side, in standard deviations of the corpus."""
FARTHEST = {p.name: p.maximum for p in LATENT_PARAMS}["map_x"]
LOOK_MS = 120
"""What is chosen is looked at when it has been so for this long, as a rubber band chooses many things."""
CANDIDATES = 3

Spaces = Callable[[str], Space | None]
"""System id → its space, None when it has none; UserError when it can't be read."""


def shipped(system_id: str) -> Space | None:
    """The space that comes with the program."""
    path = space.shipped(system_id)
    return None if path is None else space.load(path, system_id)


def excerpt_of(score: Score, region: Region) -> Score:
    """The bars of a region of one track, as music of its own."""
    (track_id,) = region.tracks
    return of_bars(score, track_id, region.start, region.end, "").score


class Shaper(QObject):
    """What the Shape panel works: a system, a phrase, how far it is pushed, and what came of it.

    `changed` follows everything but the system, which `system_changed` follows. `status_changed(text)` says what is being done, or why it can't be. The shaped
    phrase is one candidate of the tray that is replaced by the next; pushed no more, it goes.

    card, space: the system and its space, either may be None. phrase: where it is, None when nothing fit is
    chosen. sources: the phrases whose average is shaped in its place. sliders: attribute → −3…3.
    own, measured: attribute → value, of the phrase and of what came of it. home: where the phrase lies.
    """

    changed = Signal()
    system_changed = Signal()
    status_changed = Signal(str)

    def __init__(
        self,
        session: Session,
        composer: Composer,
        *,
        spaces: Spaces = shipped,
        rng: np.random.Generator,
    ) -> None:
        super().__init__(session)
        self._session, self._composer = session, composer
        self._spaces, self._rng = spaces, rng
        self.card: Card | None = None
        self.space: Space | None = None
        self.phrase: Region | None = None
        self.sources: tuple[Score, ...] = ()
        self.sliders: dict[str, float] = {}
        self.own: Mapping[str, float] = {}
        self.measured: Mapping[str, float] = {}
        self.home: tuple[float, float] | None = None
        self.sounding = True
        self.status = ""
        self._shift = (0.0, 0.0)
        self._leaning = (0.0, 0.0)  # how far the sliders have moved the phrase on the map
        self._leant: Mapping[str, float] = {}  # by which sliders that was
        self._located = False  # the phrase as it is has been asked for
        self._seen: tuple[Region | None, Notes] = (None, EMPTY)
        self._document = session.document
        self._attending = False
        self._request: int | None = None
        self._again = False  # the newest wish has not been asked for yet
        self._settled = False  # the hand has come to rest: play what comes of it from the beginning
        self._live: int | None = None
        self._first: int | None = None
        self._look = QTimer(self, singleShot=True, interval=LOOK_MS)
        self._look.timeout.connect(self.look)
        session.changed.connect(self._document_changed)
        for signal in (
            session.selection_changed,
            session.region_changed,
            session.active_track_changed,
        ):
            signal.connect(self._chosen)
        session.proposals_changed.connect(self._tray_changed)

    # --- what is shaped, and by what ---------------------------------------------------------------

    def attend(self, on: bool) -> None:
        """Follow what is chosen and find its place on the map, or leave it alone."""
        self._attending = on
        if on:
            self.look()
            if self.home is None and self._request is None:
                self._ask()

    def set_system(self, card: Card) -> None:
        """Shape with that system."""
        if card is self.card:
            return
        self.card, self.space = card, None
        self._forget()
        self._seen = (None, EMPTY)
        try:
            self.space = self._spaces(card.id)
        except UserError as error:
            self._say(str(error))
        self.system_changed.emit()
        if self._attending:
            self.look()

    def has_space(self, card: Card) -> bool:
        """Whether a system can be used here."""
        try:
            return self._spaces(card.id) is not None
        except UserError:
            return False

    def look(self) -> None:
        """Take up what is chosen now, if it is other music than before."""
        self._look.stop()
        phrase = phrase_of(self._session)
        self._document = self._session.document
        notes = EMPTY
        if phrase is not None:
            (track_id,) = phrase.tracks
            notes = self._session.document.score.track(track_id).notes
            notes = notes.where(notes.sounding(phrase.start, phrase.end))
        if (phrase, notes) == self._seen:
            return
        self._seen = (phrase, notes)
        self._forget()
        self.phrase = phrase
        self.changed.emit()
        if self._attending:
            self._ask()

    def title(self) -> str:
        """What is being shaped, in a few words."""
        if self.phrase is None:
            return "Select some notes, or mark bars of a voice."
        score = self._session.document.score
        where = bars_text(score, self.phrase.start, self.phrase.end)
        name = next((t.name for t in score.tracks if t.id in self.phrase.tracks), "")
        if self.sources:
            return f"Average of {len(self.sources)} phrases, into {where}"
        return f"{name}, {where}" if name else where.capitalize()

    def _forget(self) -> None:
        """Another phrase comes: nothing is pushed, and nothing is known of it."""
        if self._request is not None:
            self._composer.cancel(self._request)
        self._request, self._live, self._again, self._settled = None, None, False, False
        self.phrase, self.sources, self.home, self._located = None, (), None, False
        self.sliders, self._shift = {}, (0.0, 0.0)
        self._leaning, self._leant = (0.0, 0.0), {}
        self.own, self.measured = {}, {}
        self._say("")

    def _chosen(self) -> None:
        if self._attending:
            self._look.start()

    def _document_changed(self, change: object) -> None:
        if self._attending and getattr(change, "committed", False):
            self._look.start()

    # --- pushing -----------------------------------------------------------------------------------

    @property
    def pushed(self) -> bool:
        """Whether anything is asked for but the phrase itself."""
        return bool(self.sources or any(self.sliders.values()) or any(self._shift))

    def pushes(self) -> dict[str, Value]:
        """The values of the parameters of this panel, by name."""
        x, y = self._shift
        return {**dict.fromkeys(PUSHES, 0.0), **self.sliders, "map_x": x, "map_y": y}

    def push(self, name: str, amount: float, *, settled: bool = False) -> None:
        """Set a slider. `settled`: the hand has let go of it, or it is a key's doing."""
        self.look()
        self.sliders[name] = float(np.clip(amount, -MOST, MOST))
        self._settled = settled
        self._wish()

    def move(self, dx: float, dy: float, *, settled: bool = False) -> None:
        """Move the phrase on the map by so much."""
        self.look()
        x, y = self._shift
        self._shift = (
            float(np.clip(x + dx, -FARTHEST, FARTHEST)),
            float(np.clip(y + dy, -FARTHEST, FARTHEST)),
        )
        self._settled = settled
        self._wish()

    def move_to(
        self, x: float | None = None, y: float | None = None, *, settled: bool = False
    ) -> None:
        """Move the phrase to a place on the map, or along one axis of it."""
        place = self.place
        if place is not None:
            self.move(
                0.0 if x is None else x - place[0],
                0.0 if y is None else y - place[1],
                settled=settled,
            )

    @property
    def busy(self) -> bool:
        """Whether something asked for has not been answered yet."""
        return self._request is not None

    @property
    def shaped(self) -> bool:
        """Whether a shaped phrase is there to be kept."""
        return self._live is not None

    def keep(self) -> None:
        """Make the shaped phrase part of the piece, as one undo step."""
        if self._live is not None:
            self._session.keep((self._live, 0))

    def settle(self) -> None:
        """The hand has let go: play what has come of it once from its beginning."""
        if self._request is not None:
            self._settled = True
        else:
            self._replay()

    def reset(self) -> None:
        """Push nothing any more; the phrase is what it was."""
        averaged, self.sources = bool(self.sources), ()
        self.sliders, self._shift = {}, (0.0, 0.0)
        self._leaning, self._leant = (0.0, 0.0), {}
        self._withdraw()
        if averaged:  # back to the phrase that is chosen
            self._forget()
            self._seen = (None, EMPTY)
            self.look()
        self.measured = self.own
        self.changed.emit()

    @property
    def place(self) -> tuple[float, float] | None:
        """Where the phrase lies as it is pushed now, None while its home is not known."""
        if self.home is None or self.space is None:
            return None
        x, y = np.asarray(self.home) + self._shift + self._leaning
        return float(x), float(y)

    def _wish(self) -> None:
        if self.pushed:
            self._ask()
        else:
            self._withdraw()
        self.changed.emit()

    def _withdraw(self) -> None:
        """Take the shaped candidate out of the tray: nothing is pushed."""
        if self._live is not None:
            live, self._live = self._live, None
            self._session.drop([(live, 0)])

    # --- asking ------------------------------------------------------------------------------------

    def _ask(self) -> None:
        """Ask for the phrase as it is pushed now, once the request under way has been answered."""
        if self.card is None or self.space is None or self.phrase is None:
            if self.pushed and self.phrase is None:
                self._session.message.emit(self.title())
            return
        if self._request is not None:
            self._again = True
            return
        values, shift, sliders = self.pushes(), self._shift, dict(self.sliders)
        if not self._located:  # where it lies comes first, as all else counts from there
            values, shift, sliders = dict.fromkeys(PUSHES, 0.0), (0.0, 0.0), {}
        self._again = values != self.pushes()
        ask = Ask(
            Task.RESHAPE,
            self._session.document.score,
            self.phrase,
            self.card.values(self._known(values)),
            phrases=self.sources,
        )
        if (job := self._session.job) is not None:
            self._say(f"Waiting for {job.card.name}…")
        known = (bool(self.sources or any(values.values())), shift, sliders)
        self._request = self._composer.ask(self.card, ask, partial(self._answer, ask, known))

    def _known(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """Those of the values that the system has a parameter for."""
        assert self.card is not None
        names = {p.name for p in self.card.params}
        return {name: value for name, value in values.items() if name in names}

    def _answer(
        self,
        ask: Ask,
        known: tuple[bool, tuple[float, float], Mapping[str, float]],
        message: messages.Outbound,
    ) -> None:
        match message:
            case messages.Progressed(_, progress):
                if progress.text.startswith("Loading"):
                    self._say(f"{progress.text}…")
            case messages.Started():
                self._say("")
            case messages.Proposed(_, proposal):
                self._receive(ask, proposal, *known)
            case messages.Finished():
                self._request = None
                if self._again:
                    self._ask()
                elif self._settled:
                    self._replay()
            case messages.Failed(_, sentence):
                self._request = None
                self._say(sentence)
                if self.pushed:
                    self._session.message.emit(sentence)
                    self.reset()
                elif self._again:
                    self._ask()

    def _receive(
        self,
        ask: Ask,
        proposal: Proposal,
        pushed: bool,
        shift: tuple[float, float],
        sliders: Mapping[str, float],
    ) -> None:
        if self._session.document is not self._document:
            return  # another one has been opened meanwhile
        figures = proposal.figures
        self.measured = {n: figures[n] for n in attributes.NAMES if n in figures}
        if not pushed:
            self.own = self.measured
        self._located = True
        if "map_x" in figures:
            x, y = figures["map_x"] - shift[0], figures["map_y"] - shift[1]
            if not any(sliders.values()):
                self.home, self._leaning, self._leant = (x, y), (0.0, 0.0), {}
            elif self.home is not None and sliders != self._leant:
                # Only the sliders' doing: elsewhere on the map they may lean further, but a dot that
                # is dragged stays under the hand.
                self._leaning, self._leant = (x - self.home[0], y - self.home[1]), sliders
        if pushed and self.pushed:
            assert self.card is not None
            if self._live is None:
                self._live = self._session.number()
            self._session.offer(self._live, self.card, ask, proposal)
            if self.sounding:
                self._session.hear_phrase((self._live, 0), again=False)
        self.changed.emit()

    def _replay(self) -> None:
        self._settled = False
        if self._live is not None and self.sounding:
            self._session.hear_phrase((self._live, 0))

    # --- other phrases -----------------------------------------------------------------------------

    def more_like_this(self, radius: float) -> None:
        """Ask for candidates near the phrase, as it sounds now."""
        if (around := self.here()) is not None:
            self._request_for(Task.REGENERATE, self.phrase, {"radius": radius}, around)

    def surprise(self, temperature: float) -> None:
        """Ask for new phrases: in the bars that are chosen, else where a system would go on."""
        if self.card is None:
            return
        self.look()
        chosen = self._session.selection or self._session.span
        region = self.phrase if chosen else None
        if region is None:
            bars = self.space.bars if self.space is not None else 4
            region = plan(self._session, self.card, Task.CREATE, bars).region
            track = self._session.active_track
            if region is not None and track >= 0:
                region = region.with_tracks({track})
        self._request_for(Task.CREATE, region, {"temperature": temperature}, ())

    def average(self) -> None:
        """Shape the average of the phrases that are selected, in the place of the first of them."""
        found = self.averaged()
        if len(found) < 2 or self.space is None:
            self._session.message.emit(
                "Select notes of two phrases or more: in several voices, or with a bar between them."
            )
            return
        self.look()
        self._withdraw()
        self._forget()
        score = self._session.document.score
        self.phrase = found[0]
        self.sources = tuple(excerpt_of(score, region) for region in found)
        self._settled = True
        self._wish()

    def averaged(self) -> tuple[Region, ...]:
        """The phrases that are selected, those that are silent left out."""
        bars = self.space.bars if self.space is not None else 2
        found = groups(self._session.document.score, self._session.selected, bars)
        score = self._session.document.score
        return tuple(r for r in found if sounds(score, r))

    def here(self) -> tuple[Score, ...] | None:
        """What "this phrase" is: the phrase as it is shaped, () for what is in its bars, None for nothing."""
        self.look()
        if self.phrase is None:
            self._session.message.emit(self.title())
            return None
        shaped = self._candidate(self._live)
        if shaped is None:
            return ()
        return (excerpt_of(shaped.applied(self._session.document.score), self.phrase),)

    def _candidate(self, number: int | None) -> Candidate | None:
        found = (c for c in self._session.candidates if c.request == number)
        return next(found, None)

    def _request_for(
        self,
        task: Task,
        region: Region | None,
        values: Mapping[str, Value],
        phrases: tuple[Score, ...],
    ) -> None:
        if self.card is None or region is None:
            return
        if task not in self.card.tasks:
            self._session.message.emit(f"{self.card.name} cannot {task}.")
            return
        score = self._session.document.score
        params = self.card.values(self._known(values))
        seed = int(self._rng.integers(2**31))
        ask = Ask(task, score, region, params, seed, CANDIDATES, phrases=phrases)
        self._first = self._composer.request(self.card, ask)

    def _tray_changed(self) -> None:
        if self._live is not None and self._candidate(self._live) is None:
            self._live = None  # kept, or dropped by hand
            self.reset()
        first = self._candidate(self._first)
        if first is not None and first.final:
            self._first = None
            if self.sounding:
                self._session.hear_phrase(first.key)

    def _say(self, text: str) -> None:
        if text != self.status:
            self.status = text
            self.status_changed.emit(text)


def with_space(cards: Iterable[Card]) -> tuple[Card, ...]:
    """The systems that can reshape."""
    return tuple(c for c in cards if Task.RESHAPE in c.tasks)

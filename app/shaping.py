"""Shaping: moves a phrase through a system's latent space while one listens, by sliders and on a map.

One request is under way at a time, and the newest wish follows it: under a moving hand the answers come as
fast as the system gives them, and none is thrown away for the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QObject, QTimer, Signal

from app.candidates import Candidate
from app.composer import Composer, bars_text, phrase_of, plan, whole_bars
from app.errands import Errands
from app.phrases import of_bars
from app.session import Session
from engine import exchange, messages
from models import attributes, space
from models.card import LATENT_PARAMS, Card, Task, Value
from models.representations import melody
from models.score import EMPTY, Notes, Region, Score, Track, UserError
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


@dataclass(frozen=True)
class Placed:
    """Music put on the map to see where it lies: its name, its place, and its notes from tick 0 on."""

    name: str
    x: float
    y: float
    notes: Notes
    length: int


def groups(score: Score, ids: npt.NDArray[np.int64], bars: int) -> tuple[Region, ...]:
    """The phrases among the notes of these ids: the bars that follow one another, of each track.

    When that is one run only, it is cut into phrases of `bars` bars.
    """
    found = []
    for track in score.tracks:
        notes = track.notes.where(track.notes.having(ids))
        touched: set[int] = set()
        for onset, end in zip(notes.onset.tolist(), notes.end.tolist(), strict=True):
            first, last = score.meter.position(onset).bar, score.meter.position(end - 1).bar
            touched.update(range(first, last + 1))
        run: list[int] = []
        for bar in [*sorted(touched), -1]:
            if run and bar != run[-1] + 1:
                found.append((track.id, run[0], run[-1] + 1))
                run = []
            run.append(bar)
    if len(found) == 1:
        track_id, start, stop = found[0]
        found = [(track_id, b, min(b + bars, stop)) for b in range(start, stop, bars)]
    return tuple(
        Region(score.meter.bar_start(a), score.meter.bar_start(b), frozenset({i}))
        for i, a, b in found
    )


def laid(notes: Notes, length: int, region: Region, track: Track) -> Track:
    """`track` with `notes` (from tick 0 on, `length` ticks in all) in `region`, and no others of its own:
    repeated as often as they fit, cut at the end, and left out where locked notes or such as cross the
    region's edges sound. They are as loud as what the region holds."""
    times = -(-(region.end - region.start) // length)
    onset = np.concatenate([notes.onset + region.start + k * length for k in range(times)])
    end = np.minimum(onset + np.tile(notes.duration, times), region.end)
    pitch = np.tile(notes.pitch, times)
    given = track.notes.where(track.notes.sounding(region.start, region.end))
    loud = round(float(given.velocity.mean())) if len(given) else 80
    stays = given.where(~region.with_tracks({track.id}).owned(track.with_notes(given)))
    free = onset < end
    for a, b in zip(stays.onset, stays.end, strict=True):
        free &= (end <= a) | (onset >= b)
    made = Notes.of(onset[free], (end - onset)[free], pitch[free], loud)
    return track.with_notes(made)


class Shaper(QObject):
    """What the Shape panel works: a system, a phrase, how far it is pushed, and what came of it.

    `changed` follows everything but the system, which `system_changed` follows, and `placed_changed` the
    music put on the map. `status_changed(text)` says what is being done, or why it can't be. The shaped
    phrase is one candidate of the tray that is replaced by the next; pushed no more, it goes.

    card, space: the system and its space, either may be None. phrase: where it is, None when nothing fit is
    chosen. sources: the phrases whose average is shaped in its place. sliders: attribute → −3…3.
    own, measured: attribute → value, of the phrase and of what came of it. home: where the phrase lies.
    """

    changed = Signal()
    system_changed = Signal()
    placed_changed = Signal()
    status_changed = Signal(str)

    def __init__(
        self,
        session: Session,
        composer: Composer,
        errands: Errands,
        *,
        spaces: Spaces = shipped,
        rng: np.random.Generator,
    ) -> None:
        super().__init__(session)
        self._session, self._composer, self._errands = session, composer, errands
        self._spaces, self._rng = spaces, rng
        self.card: Card | None = None
        self.space: Space | None = None
        self.phrase: Region | None = None
        self.sources: tuple[Score, ...] = ()
        self.sliders: dict[str, float] = {}
        self.own: Mapping[str, float] = {}
        self.measured: Mapping[str, float] = {}
        self.home: tuple[float, float] | None = None
        self.placed: tuple[Placed, ...] = ()
        self.sounding = True
        self.status = ""
        self._shift = (0.0, 0.0)
        self._seen: tuple[Region | None, Notes] = (None, EMPTY)
        self._attending = False
        self._request: int | None = None
        self._again = False  # the newest wish has not been asked for yet
        self._settled = False  # the hand has come to rest: play what comes of it from the beginning
        self._live: int | None = None
        self._point: int | None = None
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
        self.placed = ()
        try:
            self.space = self._spaces(card.id)
        except UserError as error:
            self._say(str(error))
        self.system_changed.emit()
        self.placed_changed.emit()
        if self._attending:
            self.look()

    def look(self) -> None:
        """Take up what is chosen now, if it is other music than before."""
        self._look.stop()
        phrase = phrase_of(self._session)
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
        self.phrase, self.sources, self.home = None, (), None
        self.sliders, self._shift = {}, (0.0, 0.0)
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
        self._take_up()
        self.sliders[name] = float(np.clip(amount, -MOST, MOST))
        self._settled = settled
        self._wish()

    def move(self, dx: float, dy: float, *, settled: bool = False) -> None:
        """Move the phrase on the map by so much."""
        self._take_up()
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
        self.sources = ()
        self.sliders, self._shift = {}, (0.0, 0.0)
        self._withdraw()
        self.measured = self.own
        self.changed.emit()
        if self.home is None and self._attending:
            self._ask()

    @property
    def place(self) -> tuple[float, float] | None:
        """Where the phrase lies as it is pushed now, None while its home is not known."""
        if self.home is None or self.space is None:
            return None
        x, y = np.asarray(self.home) + self._shift + self._leaning(self.sliders)
        return float(x), float(y)

    def _leaning(self, sliders: Mapping[str, float]) -> npt.NDArray[np.float64]:
        """How far sliders move a phrase on the map."""
        assert self.space is not None
        amounts = np.array([sliders.get(name, 0.0) for name in attributes.NAMES])
        return np.asarray(amounts @ self.space.direction @ self.space.map_axes.T, np.float64)

    def _take_up(self) -> None:
        if self._look.isActive() or self.phrase is None:
            self.look()

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
        self._again = False
        ask = Ask(
            Task.RESHAPE,
            self._session.document.score,
            self.phrase,
            self.card.values(self._known(self.pushes())),
            phrases=self.sources,
        )
        known = (self.pushed, self._shift, dict(self.sliders))
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
                if known[0]:
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
        figures = proposal.figures
        self.measured = {n: figures[n] for n in attributes.NAMES if n in figures}
        if not pushed:
            self.own = self.measured
        if "map_x" in figures and self.home is None:
            there = np.array([figures["map_x"], figures["map_y"]])
            x, y = there - shift - self._leaning(sliders)
            self.home = (float(x), float(y))
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
        if (around := self._here()) is not None:
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
        self.reset()
        score = self._session.document.score
        self.phrase, self.home = found[0], None
        self.sources = tuple(self._excerpt(score, region) for region in found)
        self._settled = True
        self._wish()

    def averaged(self) -> tuple[Region, ...]:
        """The phrases that are selected, those that are silent left out."""
        bars = self.space.bars if self.space is not None else 2
        found = groups(self._session.document.score, self._session.selected, bars)
        score = self._session.document.score
        return tuple(r for r in found if self._sounds(score, r))

    @staticmethod
    def _sounds(score: Score, region: Region) -> bool:
        return any(
            t.notes.sounding(region.start, region.end).any()
            for t in score.tracks
            if t.id in region.tracks
        )

    @staticmethod
    def _excerpt(score: Score, region: Region) -> Score:
        (track_id,) = region.tracks
        return of_bars(score, track_id, region.start, region.end, "").score

    def _here(self) -> tuple[Score, ...] | None:
        """What "this" is: the phrase as it is shaped, () for what is in its bars, None for nothing."""
        self._take_up()
        if self.phrase is None:
            self._session.message.emit(self.title())
            return None
        shaped = self._candidate(self._live)
        if shaped is None:
            return ()
        return (self._excerpt(shaped.applied(self._session.document.score), self.phrase),)

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
        if self._point is not None and self._candidate(self._point) is None:
            self._point = None
        first = self._candidate(self._first)
        if first is not None and first.final:
            self._first = None
            if self.sounding:
                self._session.hear_phrase(first.key)

    # --- music on the map --------------------------------------------------------------------------

    def hear_point(self, index: int, *, keep: bool = False) -> None:
        """Hear a phrase of the corpus in the place of the phrase, as one candidate that the next replaces,
        unless it is to `keep` its place in the tray."""
        if self.space is not None:
            tokens = self.space.point_tokens[index]
            onset, duration, pitch = melody.to_notes(tokens, 0)
            bar = whole_bars(Score((Track(0, "", Notes.of(0, 1, 60)),)))
            assert bar is not None
            self._hear_music(Notes.of(onset, duration, pitch), self.space.bars * bar[1], keep)

    def hear_placed(self, index: int, *, keep: bool = False) -> None:
        """The same with music that was put on the map."""
        self._hear_music(self.placed[index].notes, self.placed[index].length, keep)

    def _hear_music(self, notes: Notes, length: int, keep: bool) -> None:
        self._take_up()
        score = self._session.document.score
        region, track = self._room(length)
        ask = Ask(Task.CREATE, score, region)
        assert self.card is not None
        if self._point is None:
            self._point = self._session.number()
        proposal = Proposal(0, region, (laid(notes, length, region, track),), final=True)
        number = self._point
        self._session.offer(number, self.card, ask, proposal)
        if keep:
            self._point = None
        if self.sounding:
            self._session.hear_phrase((number, 0))

    def _room(self, length: int) -> tuple[Region, Track]:
        """Where music from the map goes: where the phrase is; else into the marked bars, or from the first
        bar on, of the active track or a new one."""
        session, score = self._session, self._session.document.score
        if self.phrase is not None:
            (track_id,) = self.phrase.tracks
            return self.phrase, score.track(track_id)
        start, end = session.span or (0, length)
        track = next((t for t in score.tracks if t.id == session.active_track), None)
        if track is None:
            track = Track(score.next_track_id, "Melody")
        return Region(start, end, frozenset({track.id})), track

    def place_phrase(self) -> None:
        """Put the phrase on the map, to stay there and be seen."""
        if (shaped := self._here()) is None:
            return
        assert self.phrase is not None
        score = shaped[0] if shaped else self._excerpt(self._session.document.score, self.phrase)
        length = self.phrase.end - self.phrase.start
        self._locate(self.title(), score, Region(0, length, frozenset({score.tracks[0].id})))

    def place_file(self, path: Path) -> None:
        """Put the first line of a file on the map."""

        def put(score: Score) -> None:
            track = next((t for t in score.tracks if len(t.notes)), None)
            music = whole_bars(score)
            if track is None or music is None:
                self._session.message.emit(f"{path.name} has no notes; drop a file with a melody.")
                return
            self._locate(path.stem, score, Region(*music, frozenset({track.id})))

        self._errands.run(f"Reading {path.name}", lambda: exchange.read(path), put)

    def clear_placed(self) -> None:
        """Take off the map what was put there."""
        self.placed = ()
        self.placed_changed.emit()

    def _locate(self, name: str, score: Score, region: Region) -> None:
        if self.card is None or self.space is None:
            return
        ask = Ask(Task.RESHAPE, score, region, self.card.values())
        (track_id,) = region.tracks
        notes = score.track(track_id).notes
        notes = notes.where(notes.sounding(region.start, region.end))

        def answer(message: messages.Outbound) -> None:
            match message:
                case messages.Proposed(_, proposal) if "map_x" in proposal.figures:
                    x, y = proposal.figures["map_x"], proposal.figures["map_y"]
                    made = Placed(name, x, y, notes, region.end - region.start)
                    kept = [p for p in self.placed if p.name != name]
                    self.placed = (*kept, made)
                    self.placed_changed.emit()
                case messages.Failed(_, sentence):
                    self._session.message.emit(sentence)

        self._composer.ask(self.card, ask, answer)

    def _say(self, text: str) -> None:
        if text != self.status:
            self.status = text
            self.status_changed.emit(text)


def with_space(cards: Iterable[Card]) -> tuple[Card, ...]:
    """The systems that can reshape."""
    return tuple(c for c in cards if Task.RESHAPE in c.tasks)

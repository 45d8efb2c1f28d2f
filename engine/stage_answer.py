"""Answer: the performer plays a phrase and stops; the system goes on from it for some bars and hands back."""

from __future__ import annotations

import math

from engine import fallback
from engine.playback import Play
from engine.stage_asks import Passage, answering, clipped
from engine.stage_deck import Deck, Look
from engine.stage_desk import Reply
from engine.stage_line import Line
from engine.staging import Scene
from models.score import Notes, Track

PHRASE_BARS = 16
"""Of a longer phrase the end is answered."""


class Answer:
    """See the head of this file.

    A phrase ends `rest` beats after its last key was let go, or at the pad. A transport that rests starts with
    the first note of a phrase, which so becomes the first beat of a bar. The answer is asked for when half of
    the rest has passed, and begins at the next bar or beat that is half a beat away.
    """

    def __init__(self, deck: Deck) -> None:
        self._deck = deck
        self._since: float | None = None  # where the phrase began
        self._from = 0.0  # what is played before is no phrase
        self._starting = False
        self._job: int | None = None
        self._asked: tuple[int, int] | None = (
            None  # where the answer asked for begins, notes of its phrase
        )
        self._reply: Reply | None = None
        self._line: Line | None = None

    # --- what happens ------------------------------------------------------------------------------

    def begin(self, u: float, now: int) -> None:
        self._from = u

    def played(self, u: float, now: int, *, began: bool) -> None:
        deck = self._deck
        if not deck.timeline.playing:
            if began and not self._starting:
                self._starting = True
                deck.send(Play(deck.timeline.place(deck.timeline.following(u))))
            return
        if self._line is not None:
            return
        if began and self._since is None and u >= self._from:
            self._since = u
            deck.sentence = ""
        if began and self._job is not None:
            self._drop()  # the phrase goes on

    def pad(self, u: float, now: int) -> None:
        deck = self._deck
        if self._line is not None:
            return
        if self._since is None:
            deck.sentence = "Play a phrase first, then ask for the answer."
            return
        self._answer(u, now)

    def replied(self, reply: Reply, u: float, now: int) -> None:
        if reply.job != self._job or not reply.final:
            return
        self._job = None
        if reply.passage is None:
            self._deck.sentence = reply.sentence or f"{self._deck.card.name} has no answer to that."
            return
        self._reply = reply
        if self._line is not None:
            self._use(u)

    def changed(self, u: float, now: int) -> None:
        """What is under way is played to its end."""

    def staged(self, before: Scene, u: float, now: int) -> None:
        """Tempo and metre are the timeline's."""

    def moved(self, u: float, now: int, *, left: float | None) -> None:
        deck, line = self._deck, self._line
        if deck.timeline.playing:
            started, self._starting = self._starting, False
            if started and self._since is None:
                self._since = self._from = u - deck.margin(u)
        elif line is None:
            self._since = None
            self._drop()
        if line is not None and deck.timeline.playing:
            if left is not None:
                line.revoke(math.ceil(left))
                line.resume(u)
                while not line.over and line.ahead(u) < 1:
                    line.improvise()
            deck.parts.load(deck.timeline, u, everything=True)

    def due(self, u: float) -> float | None:
        deck = self._deck
        if self._line is not None:
            line = self._line
            if line.over:
                return float(line.next)
            return line.due()
        end = self._phrase_end()
        if end is None:
            return None
        rest = deck.setting.rest * deck.timeline.beat_length(u)
        return end + (rest / 2 if self._asked is None else rest)

    def advance(self, u: float, now: int) -> None:
        deck, line = self._deck, self._line
        if line is None:
            end = self._phrase_end()
            if end is None:
                return
            beat = deck.timeline.beat_length(u)
            if self._asked is None:
                # Half of the rest has passed: should it be the end, this is where the answer begins.
                self._order(end + deck.setting.rest * beat, u, now)
            elif u >= end + deck.setting.rest * beat:
                self._answer(u, now)
            return
        if line.over:
            if u >= line.next:
                self._hand_back(u)
            return
        while not line.over and line.due() <= u:
            line.improvise()
            deck.missed(f"{deck.card.name} is late: your phrase is varied until it answers.")
        deck.parts.load(deck.timeline, u)

    def restore(self) -> None:
        """Its tables are the deck's parts."""

    def end(self, u: float) -> None:
        self._drop()

    def look(self, u: float) -> Look:
        deck, line = self._deck, self._line
        if line is not None:
            if u < line.start:
                beats = (line.start - u) / deck.timeline.beat_length(u)
                return Look("thinking", f"answer in {counted(beats, 'beat')}", line.ahead(u))
            left = ((line.until or 0) - u) / deck.timeline.bar_length(u)
            state = "answering" if deck.in_time else "falling back"
            return Look(state, f"your turn in {counted(left, 'bar')}", line.ahead(u))
        if deck.desk.loading:
            return Look("thinking", deck.desk.loading)
        if self._since is None:
            return Look("ready", "play a phrase")
        return Look("listening", "stop, or press the pad, for the answer")

    def take(self) -> tuple[Track, ...]:
        return self._deck.parts.take

    # --- inside ------------------------------------------------------------------------------------

    def _phrase_end(self) -> float | None:
        """When the last key of the phrase was let go; None while one is down or there is no phrase."""
        ear = self._deck.ear
        if self._since is None or ear.down(self._since):  # an older key may have lost its input
            return None
        end = ear.last_end()
        return end if end is not None and end > self._since else None

    def _start(self, u: float) -> int:
        deck = self._deck
        return deck.timeline.following(u + deck.margin(u), deck.setting.quantum)

    def _phrase(self, u: float) -> Notes:
        deck = self._deck
        since = max(self._since or 0, u - PHRASE_BARS * deck.timeline.bar_length(u))
        return fallback.gridded(deck.ear.notes(since, u))

    def _order(self, ends: float, u: float, now: int) -> None:
        """Ask for an answer to the phrase so far, which ends at `ends`."""
        deck = self._deck
        phrase = self._phrase(u)
        start = self._start(ends)
        bars = deck.setting.bars
        end = start + bars * deck.timeline.bar_length(start)
        phrase = clipped(phrase, 0, start)
        self._asked, self._reply = (start, len(phrase)), None
        if not len(phrase):
            return
        order = answering(
            deck.card, deck.setting, deck.timeline, deck.scene, phrase, start, end, deck.seed()
        )
        self._job = deck.desk.want(order, now)

    def _answer(self, u: float, now: int) -> None:
        """The phrase is over: the answer comes."""
        deck, timeline = self._deck, self._deck.timeline
        start = self._start(u)
        phrase = self._phrase(u)
        fits = (
            self._asked is not None
            and self._asked[1] == len(clipped(phrase, 0, start))
            and timeline.offset(self._asked[0]) == timeline.offset(start)
        )
        if not fits:
            self._drop()
            self._order(u, u, now)
        until = start + deck.setting.bars * timeline.bar_length(start)
        line = self._line = Line(deck, start, until, {"Phrase": phrase})
        deck.in_time = True
        bar = timeline.bar_length(start)
        last = clipped(phrase, max(start - bar, 0), start)
        if not len(last) and len(phrase):
            last = clipped(phrase, max(phrase.length - bar, 0), phrase.length)
            last = last.with_(onset=last.onset + start - phrase.length)
        line.good(Passage(max(start - bar, 0), start, {"Answer": last}))
        line.open(start)
        self._use(u)

    def _use(self, u: float) -> None:
        """Lay the answer, if it is there."""
        deck, line = self._deck, self._line
        if self._reply is None or self._reply.passage is None or line is None or line.over:
            return
        if line.push(self._reply.passage):
            deck.kept_up()
        self._reply = None
        deck.parts.load(deck.timeline, u)

    def _hand_back(self, u: float) -> None:
        """It is the performer's turn; a phrase that began in the last beat of the answer counts."""
        deck, line = self._deck, self._line
        assert line is not None
        self._line, self._since = None, None
        self._drop()
        deck.sentence = ""  # late or not, it is over
        self._from = line.next - deck.timeline.beat_length(u)
        upbeat = deck.ear.notes(self._from, u)
        if len(upbeat):
            self._since = float(upbeat.onset[0])
        deck.parts.load(deck.timeline, u)

    def _drop(self) -> None:
        if self._job is not None:
            self._deck.desk.drop(self._job)
        self._job, self._asked, self._reply = None, None, None


def counted(number: float, what: str) -> str:
    """So many of them begun, e.g. "2 bars", at least one."""
    whole = max(math.ceil(number), 1)
    return f"{whole} {what}" if whole == 1 else f"{whole} {what}s"

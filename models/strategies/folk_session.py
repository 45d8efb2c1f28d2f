"""Folk tunes as they are written word by word, and how they are played: parts and repeats, so that they fill
the bars there are."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.representations import folk
from models.representations.abc_notation import REST, Bar, Element, Note, parts
from models.representations.folk_place import Place
from models.representations.folk_rules import FREE, GRID, Mask, Rules

Column = npt.NDArray[np.int64]
Logits = npt.NDArray[np.float32]
_PLAIN = folk.NUMBER["|"]

CHUNK = 8
"""Bars into which what has no signs of repeat is divided."""
THROUGH = 2
"""Times a tune is played before the next one."""
TRIES = 16
"""Times the last bar of a tune is drawn again to end on its tonic."""
LONGEST = 512
"""Words after which a tune ends where it may."""
MOST, MOST_A_BAR = 600, 60
"""Words after which there are enough of them, whatever they say: so many, and so many for each bar."""


@dataclass(frozen=True, eq=False)
class Section:
    """A part to play: rows [N, 2] (pitch or REST, ticks) of one pass and of all its passes, its bars, and
    where in the bar it begins, in ticks."""

    once: Column
    whole: Column
    bars: int
    phase: int

    @property
    def passes(self) -> int:
        """How often it is played when its repeats are."""
        return max(1, round(int(self.whole[:, 1].sum()) / max(int(self.once[:, 1].sum()), 1)))


def cut(rows: Column, start: int, end: int) -> Column:
    """Rows from tick `start` to tick `end`; a note that crosses an edge is shortened."""
    ends = np.cumsum(rows[:, 1])
    begins = np.maximum(ends - rows[:, 1], start)
    length = np.minimum(ends, end) - begins
    return np.asarray(np.stack([rows[:, 0], length], 1)[length > 0])


def sections(tune: folk.Tune) -> list[Section]:
    """The parts of a tune; one of several times CHUNK bars that is not repeated is several."""
    found: list[Section] = []
    for part in parts(tune.elements):
        once, whole = folk.rows(part.once()), folk.rows(part.whole())
        phase = -_first_bar(part.once()) % tune.bar
        ticks = int(once[:, 1].sum())
        bars = max(1, round(ticks / tune.bar))
        if len(part.endings) > 1 or bars <= CHUNK:
            if ticks >= tune.bar // 2:
                found.append(Section(once, whole, bars, phase))
            continue
        edges = [k * CHUNK * tune.bar for k in range(-(-bars // CHUNK))]
        for a, b in zip(edges, [*edges[1:], ticks + 1], strict=True):
            piece = cut(once, a, b)
            length = round(int(piece[:, 1].sum()) / tune.bar)
            found.append(Section(piece, piece, max(1, length), phase))
    return found


def _first_bar(elements: Sequence[Element]) -> int:
    ticks = 0
    for e in elements:
        if isinstance(e, Note):
            ticks += folk.ticks_of(e)
        elif isinstance(e, Bar) and ticks:
            break
    return ticks


def bars_once(found: Sequence[Section]) -> int:
    """Bars of sections played once each."""
    return sum(s.bars for s in found)


def bars_whole(found: Sequence[Section]) -> int:
    """Bars of sections with their repeats."""
    return sum(s.bars * s.passes for s in found)


def capacity(tunes: Sequence[Sequence[Section]]) -> int:
    """Bars that tunes fill, each played as often as one is."""
    return sum(THROUGH * bars_whole(t) for t in tunes)


def arranged(tunes: Sequence[Sequence[Section]], bars: int, bar: int) -> Column:
    """Rows of so many bars: tunes with their repeats, as often as they fit; then without; then the repeats
    of parts that still fit, and to fill what remains the last bars again, so that it ends with an end.

    A tune too long for the bars gives its first parts, and the last bars of the last of them.
    """
    out = np.zeros((0, 2), np.int64)
    left = bars
    for k, tune in enumerate(tunes):
        if not tune:
            continue
        last = k == len(tunes) - 1
        whole, once = bars_whole(tune), bars_once(tune)
        times = 0
        while left >= whole and (last or times < THROUGH):
            for s in tune:
                out = _add(out, s.whole, s.phase, bar)
            left, times = left - whole, times + 1
        if not last and left >= once:
            continue
        unfinished = tune[-1]
        if left >= once:
            left -= once
            for s in tune:
                again = s.passes > 1 and s.bars <= left
                left -= s.bars if again else 0
                out = _add(out, s.whole if again else s.once, s.phase, bar)
        else:
            for s in tune:
                if s.bars > left:
                    unfinished = s
                    break
                out, left = _add(out, s.once, s.phase, bar), left - s.bars
        s = unfinished
        ticks = int(s.once[:, 1].sum())
        while left > 0:
            tail = min(left, s.bars)
            start = max(ticks - tail * bar, 0)
            out = _add(out, cut(s.once, start, ticks), (s.phase + start) % bar, bar)
            left -= tail
        break
    return cut(out, 0, bars * bar)


def _add(rows: Column, more: Column, phase: int, bar: int) -> Column:
    """Rows and more rows that begin at tick `phase` of a bar: what comes too early for that is left out,
    what comes too late waits."""
    now = int(rows[:, 1].sum()) % bar
    if now < phase and not now:
        more = cut(more, bar - phase, int(more[:, 1].sum()))
    elif now != phase:
        wait = (phase - now) % bar
        rows = np.concatenate([rows, [[REST, wait]]])
    return np.concatenate([rows, more])


def drawn(logits: Logits, mask: Mask, temperature: float, uniform: float) -> int:
    """A word that the mask [WORDS] allows, by inverse distribution function."""
    words = mask.nonzero()[0]
    odds = np.divide(logits[words], temperature, dtype=np.float64)
    odds -= odds.max()
    shares = np.exp(odds, odds).cumsum()
    found = int(shares.searchsorted(uniform * shares[-1], side="right"))
    return int(words[min(found, len(words) - 1)])


class Draft:
    """One candidate as far as it is written: tunes that are finished, and the words of the one in hand."""

    def __init__(self, place: Place, ruled: bool, form: str, cadence: bool) -> None:
        self.place, self.ruled, self.form, self.cadence = place, ruled, form, cadence
        self.tunes: list[list[Section]] = []
        self.fresh = False  # a last bar begins: what the net knows now is to be kept
        self.again = False  # that bar is to be drawn again, from what was kept
        self.past = np.zeros((0, 2), np.int64)
        self.done = False
        self.written = 0
        self._begin(place.offset)

    def _begin(self, offset: int = 0) -> None:
        self.words: list[int] = []
        self.rules = Rules(self.place.bar, self.form, offset, self.place.onward)
        self.repeating = False
        self.mark: tuple[int, Rules] | None = None
        self.tries = TRIES

    @property
    def last(self) -> int:
        """The word written last."""
        return self.words[-1] if self.words else folk.END

    def choose(self, logits: Logits, temperature: float, uniform: float) -> int:
        """The next word, given the net's opinion of all words."""
        mask = self.rules.allowed() if self.ruled else FREE
        if mask[folk.END] and len(self.words) > LONGEST:
            return folk.END
        return drawn(logits, mask, temperature, uniform)

    def push(self, word: int) -> None:
        """Takes the next word."""
        self.written += 1
        if self.ruled:
            self.rules.push(word)
        if self.place.onward:
            self._go_on(word)
            return
        closed = self._closed(word)
        self.words.append(word)
        self.again = self.fresh = False
        if word == _PLAIN and self.rules.bars % CHUNK == CHUNK - 1 and self.ruled:
            self.mark, self.fresh = (len(self.words), copy.copy(self.rules)), True
        if not closed and self.written < MOST + MOST_A_BAR * self.place.bars:
            return
        found = sections(folk.read(self.words))
        missing = self.place.bars - capacity(self.tunes)
        ended = word == folk.END
        enough = bars_once(found) >= missing or (ended and THROUGH * bars_whole(found) >= missing)
        last = enough or ended or self.rules.parts > 1
        if self.cadence and closed and last and self._hangs():
            return
        self.done = enough or not closed
        if found and (self.done or ended):
            self.tunes.append(found)
        if ended:
            self._begin()

    def _hangs(self) -> bool:
        """Whether what is written does not end on its tonic; if so the last bar is taken back."""
        sung = [
            folk.PITCHES[w][0] for w in (folk.WORDS[t] for t in self.words) if w in folk.PITCHES
        ]
        if self.mark is None or not self.tries or (sung and sung[-1] % 12 == 0):
            return False
        length, rules = self.mark
        self.words, self.rules = self.words[:length], copy.copy(rules)
        self.repeating = rules.open
        self.tries -= 1
        self.again = True
        return True

    def _closed(self, word: int) -> bool:
        """Whether this word ends a part; keeps account of whether one is repeated."""
        name = folk.WORDS[word]
        if name == "|:":
            self.repeating = True
        elif name == ":|" and folk.NUMBER["|1"] not in self.words[self._opened() :]:
            self.repeating = False
            return True
        square = self.ruled and self.rules.bars % CHUNK == 0
        return word == folk.END or (name == "|" and not self.repeating and square)

    def _opened(self) -> int:
        """The place of the last sign that opens a repeat."""
        opens = folk.NUMBER["|:"]
        return next((i for i in reversed(range(len(self.words))) if self.words[i] == opens), 0)

    def _go_on(self, word: int) -> None:
        if word == folk.END:
            self.past = self.rows()
            self._begin()
        else:
            self.words.append(word)
        # A note's duration comes after it, so a whole bar is waited for.
        sign = folk.WORDS[word].startswith(("|", ":"))
        spent = self.written >= MOST + MOST_A_BAR * self.place.bars
        if spent or (
            (sign or not self.ruled) and self.rows()[:, 1].sum() > self.place.length - GRID
        ):
            self.done = True

    def rows(self) -> Column:
        """What is written, as it is to be played: [N, 2] (pitch or REST, ticks)."""
        place = self.place
        if self.done and not place.onward:
            return arranged(self.tunes, place.bars, place.bar)
        now = folk.rows(folk.read(self.words).elements)
        if place.onward:
            return np.concatenate([self.past, now])
        first = _first_bar(folk.read(self.words).elements)
        if first < place.bar:
            now = cut(now, first, int(now[:, 1].sum()))  # the pickup
        before = min(capacity(self.tunes), place.bars)
        return np.concatenate([arranged(self.tunes, before, place.bar), now])

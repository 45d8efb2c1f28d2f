"""The grammar of folk's words: which word may come next if bars are to add up and parts to be square.

A net of words knows nothing of sums; it has only seen that they come out. This counts for it.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from models.representations.folk import END, LENGTHS, NUMBER, PITCHES, WORDS

Mask = npt.NDArray[np.bool_]

GRID = 120
"""Ticks that the rules count in: a thirty-second."""
SQUARE = 4
"""Parts have a multiple of so many bars."""
LONGEST_REPEAT = 16
"""Bars of a part that is repeated, at most."""
LONGEST_PART = 32
AABB, SQUARE_PARTS, ANY = "AABB", "square", "any"
"""Forms: two repeated parts of EIGHT bars; parts of a multiple of SQUARE bars; whatever comes."""
EIGHT = 8

_TICKS = {NUMBER[word]: ticks for word, ticks in LENGTHS.items() if word and ticks % GRID == 0}
_EIGHTH = LENGTHS[""]
_TRIPLETS = (120, 240, 480, 960)
"""What a note of a triplet may be written as."""
_NOTES = np.array([NUMBER[w] for w in PITCHES])
_REST, _THREE, _TIE = NUMBER["z"], NUMBER["(3"], NUMBER["-"]
_PLAIN, _OPEN, _CLOSE, _FIRST, _SECOND = (NUMBER[w] for w in ("|", "|:", ":|", "|1", "|2"))
_SIGNS = (_PLAIN, _OPEN, _CLOSE, _FIRST, _SECOND)
_SUNG = np.zeros(len(WORDS), bool)
_SUNG[_NOTES] = True
FREE: Mask = np.array([not w.startswith(("M:", "K:")) for w in WORDS])
"""What may come anywhere when no rules hold: all but another metre or mode."""


def _fits(inside: bool, ticks: int, room: int) -> bool:
    """Whether a note so long may be written where there is so much room, one `inside` a triplet or not."""
    if inside:
        return ticks in _TRIPLETS and 2 * ticks <= room
    return ticks <= room


@lru_cache(maxsize=4096)
def _lengths(inside: bool, room: int) -> Mask:
    """[WORDS] the words of the durations that fit."""
    mask = np.zeros(len(WORDS), bool)
    for word, ticks in _TICKS.items():
        mask[word] = _fits(inside, ticks, room)
    return mask


class Rules:
    """What has been written of one tune, as far as it decides what may follow.

    bar: ticks of a bar. form: AABB, SQUARE_PARTS or ANY. Of music that is gone on with (`onward`)
    `place` ticks of a bar are already written; it has no signs of repeat and no end.
    """

    def __init__(self, bar: int, form: str, place: int = 0, onward: bool = False) -> None:
        self.bar, self.square, self.onward = bar, form != ANY, onward
        self.strict = form == AABB and not onward
        self.most = EIGHT if self.strict else LONGEST_REPEAT
        self.parts = 0  # that are finished
        self.place = place  # in the bar, before the note in hand
        self.bars = 0  # whole ones in this part
        self.pickup: int | None = 0 if onward else None
        self.phase = 0  # where in the bar this part began
        self.halved = False  # whether the bar in hand is the pickup of a part that is not the first
        self.open = False  # inside |: :|
        self.ending = 0
        self.bars_at_ending = 0
        self.last = -1  # the word before, −1 at the beginning
        self.note = 0  # ticks of the note in hand as written, 0 when there is none
        self.timed = False  # whether its duration has been said
        self.sung = 0  # its word
        self.left = 0  # notes of a triplet still to come
        self.triplet = 0  # what each of them is written as, 0 before the first is known
        self.inside = False  # whether the note in hand is in a triplet
        self.tied = -1  # the pitch that has to come
        self.over = False  # nothing but the end may follow

    # --- what may come ---------------------------------------------------------------------------

    def allowed(self) -> Mask:
        """[WORDS] the words that may come next; always at least one."""
        mask = np.zeros(len(WORDS), bool)
        if self.over:
            mask[END] = True
        elif not self.note:
            self._after(mask, self.place)
        elif self.timed or (self.inside and self.triplet):
            if self.inside and not self.timed and self.triplet != _EIGHTH:
                mask[self._word(self.triplet)] = True  # the others of a triplet are as its first
                return mask
            self._after(mask, self.place + self._worth(self.note))
        else:
            room = self._limit() - self.place
            mask |= _lengths(self.inside, room)
            if _fits(self.inside, _EIGHTH, room):
                self._after(mask, self.place + self._worth(_EIGHTH))
        return mask

    @staticmethod
    def _word(ticks: int) -> int:
        return next(word for word, t in _TICKS.items() if t == ticks)

    def _worth(self, ticks: int) -> int:
        """Ticks that the note in hand takes if it is written so; a triplet counts as its first note."""
        if not self.inside:
            return ticks
        return 2 * ticks if self.left == 2 else 0

    def _after(self, mask: Mask, place: int) -> None:
        """Marks what may come when `place` ticks of the bar are written."""
        if self.note and not self.inside and self.sung != _REST:
            held = self._may_go_on(self.bars + 1)
            held &= self._limit() == self.bar and not (
                self.ending == 2 and self._whole(self.bars + 1)
            )
            mask[_TIE] = place < self._limit() or held
        if self.left or place < self._limit():
            if self.tied >= 0:
                mask[self.tied] = True
                return
            mask[_NOTES] = mask[_REST] = True
            mask[_THREE] = not self.left and self._limit() - place >= 2 * GRID
        if not self.left:
            self._signs(mask, place)

    def _signs(self, mask: Mask, place: int) -> None:
        """Marks the barlines, signs of repeat and the end that may come."""
        if self.last == _CLOSE:
            mask[_SECOND] = self.ending == 1
            if self.ending == 1:
                mask[_NOTES] = mask[_REST] = mask[_THREE] = False
            elif self.strict:
                mask[_NOTES] = mask[_REST] = mask[_THREE] = False
                mask[END if self.parts > 1 else _OPEN] = True
            else:
                mask[_OPEN] = mask[END] = True
        elif self.last in (_PLAIN, _OPEN, _FIRST, _SECOND):
            # Where a whole bar has just ended, so may the tune.
            ends = self.last == _PLAIN and self.tied < 0
            mask[END] = ends and self.ending != 1 and self._may_end(self.bars)
        elif self.last < 0:
            mask[_OPEN] = not self.onward
            if self.strict:
                mask[_NOTES] = mask[_REST] = mask[_THREE] = False
        elif self.tied >= 0:
            mask[_PLAIN] = place == self.bar and self._may_go_on(self.bars + 1)
        elif place == self.bar:
            self._barline(mask, self.phase == 0)
        elif self.pickup is None:
            mask[_PLAIN] = 0 < place <= self.bar // 2 and place % GRID == 0
        elif self.pickup and place == self.bar - self.pickup:
            self._barline(mask, self.phase == place)
            mask[_FIRST] = False
            mask[_PLAIN] = self._may_end(self.bars + 1)

    def _barline(self, mask: Mask, returns: bool) -> None:
        """Marks the signs that may end a bar; `returns`: the part may begin anew here."""
        bars = self.bars + (not self.halved)
        mask[_PLAIN] = self._may_go_on(bars)
        if self.onward:
            return
        may = self._whole(bars)
        mask[_CLOSE] = self.open and self.ending < 2 and may and returns
        mask[_OPEN] = self._may_end(bars) and (not self.open or self.ending == 2)
        square = not self.square or bars % SQUARE > 1
        mask[_FIRST] = self.open and not self.ending and bars > 1 and square and not self.strict

    def _limit(self) -> int:
        """Where the bar in hand has to end, at the latest: the last one of a part that began with a pickup
        leaves room for it."""
        bars = self.bars + 1
        last = self.open and not self.halved and bars >= self.most and self._whole(bars)
        return self.phase if last and self.phase and self.ending != 2 else self.bar

    def _whole(self, bars: int) -> bool:
        if self.strict:
            return bars == EIGHT
        return bars > 0 and (not self.square or bars % SQUARE == 0)

    def _may_end(self, bars: int) -> bool:
        """Whether the tune or an unrepeated part of it may end after so many bars."""
        return not self.onward and self._whole(bars) and (not self.open or self.ending == 2)

    def _may_go_on(self, bars: int) -> bool:
        """Whether a plain barline may follow so many bars."""
        if self.onward or (self.ending == 2 and self._whole(bars)):
            return True
        # A part that goes on for too long has to find its end where it can.
        if self.open:
            return bars < self.most or not self._whole(bars) or self.phase > 0
        return bars <= LONGEST_PART or not self._whole(bars)

    # --- what comes ------------------------------------------------------------------------------

    def push(self, word: int) -> None:
        """Takes the next word, one of those that may come."""
        if word in _TICKS:
            self.note, self.timed = _TICKS[word], True
            if self.inside:
                self.triplet = self.note
        elif word == _TIE:
            self.tied = self.sung
            self._put()
        elif word == _THREE:
            self._put()
            self.left, self.triplet = 3, 0
        elif _SUNG[word] or word == _REST:
            self._put()
            self.inside = self.left > 0
            self.left -= self.inside
            self.note, self.timed, self.sung, self.tied = _EIGHTH, False, word, -1
        else:
            self._put()
            self._sign(word)
        self.last = word

    def _put(self) -> None:
        """The note in hand is written."""
        if self.note:
            if self.inside and not self.triplet:
                self.triplet = self.note
            self.place += self._worth(self.note)
        self.note, self.inside = 0, False

    def _sign(self, word: int) -> None:
        if word not in _SIGNS:
            return
        began = self.last < 0 or self.last == _CLOSE
        if not began:
            self._bar_ends(word)
        whole = self._whole(self.bars)
        if word == _OPEN:
            self.open, self.ending, self.bars, self.phase = True, 0, 0, self.place
            self.halved = self.place > 0
        elif word == _CLOSE and self.ending != 1:
            self.open, self.bars, self.phase = False, 0, self.place
            self.parts += 1
            self.halved = self.place > 0
        elif word == _FIRST:
            self.ending, self.bars_at_ending = 1, self.bars
        elif word == _SECOND:
            self.ending, self.bars, self.place, self.halved = 2, self.bars_at_ending, 0, False
        elif word == _PLAIN and not self.onward:
            # A second ending that is whole, and a part as long as may be, end the tune.
            end = self.ending == 2 or (not self.open and self.bars >= LONGEST_PART)
            self.over = whole and end and self.tied < 0

    def _bar_ends(self, word: int) -> None:
        if self.place == self.bar:
            self.place = 0
            self.bars += not self.halved
            self.halved = False
            self.pickup = self.pickup or 0
        elif self.pickup is None:
            self.pickup = self.place
            self.phase = self.bar - self.place
            self.place = 0
        else:  # a short bar before a sign: the pickup completes it
            self.bars += 1
            self.place = self.bar - self.pickup
            self.halved = True

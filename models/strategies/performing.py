"""Performing: a net of performance events at the keyboard, freely or from a score.

Freely, events are drawn one after another, the impossible ones never. From a score, the strokes are given
and the net chooses among the events that play them: how long to wait, how loud to strike.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from models.representations.performance import (
    BOUNDS,
    EVENTS,
    HIGH,
    KEYS,
    LEVELS,
    LONGEST,
    LOW,
    OFF,
    ON,
    SHIFT,
    START,
    STEP,
    VELOCITY,
    Events,
    Part,
    decode,
    level,
    shifts,
    velocity_of,
)
from models.strategies import stepping
from models.strategies.stepping import Floats

Real = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

HELD = 1200
"""Steps after which a key comes up that the net forgot (in the corpus 1 in 1,000 is held longer)."""
PAUSE = 150
"""Steps after which silence is broken."""
AT_ONCE = 30
"""Events without time passing after which it passes (in the corpus 21 at most)."""
STRIKES = 10
"""Keys struck at once at most: a hand has five fingers."""
CROWD = 24
"""Keys down, pedal included, above which none is struck (in the corpus 1 in 500 is)."""
LAST = 12
"""Steps before the end in which nothing begins any more."""
FADE = 24
"""Strokes over which the loudness is averaged that a stroke stands out from."""
CALM = 0.25
"""How far a loudness drawn leads away from the mean of all: at 1 it flutters, at 0 it is nearest to a
pianist's, but every performance is the same."""
LEVELS_TRIED = 16
"""Velocities that are weighed by the key they would strike; the others are too unlikely to matter."""


class State(NamedTuple):
    """Where a net is in its music: output and memory of each layer [B, H], which keys are down [B, KEYS],
    what it expects [B, EVENTS]."""

    memory: list[tuple[Floats, Floats]]
    down: Floats
    logits: Floats

    def rows(self, count: int) -> State:
        """The same place `count` times."""

        def many(x: Floats) -> Floats:
            return np.broadcast_to(x, (count, x.shape[1]))

        return State(
            [(many(h), many(c)) for h, c in self.memory], many(self.down), many(self.logits)
        )


class Stepper:
    """An LSTM's numbers, prepared for one event at a time: what an event adds to the first layer is a row
    of a table, the rest one product a layer.

    The net has `heard` (an embedding), `lstm`, `says` (linear) and `shape.keys`.
    """

    def __init__(self, net: Any) -> None:
        self.net = net
        self.lstm = stepping.LSTM(stepping.weights(net.lstm), KEYS if net.shape.keys else 0)
        self.first = self.lstm.rows(net.heard.weight)  # EVENTS + 1, 4H
        self.says, self.said = stepping.linear(net.says)
        self._hands: dict[int, Hands] = {}

    @torch.inference_mode()
    def begin(self, events: Events) -> State:
        """After those events, from the beginning."""
        heard = torch.from_numpy(np.append(START, events).astype(np.int64))[None]
        logits, (h, c, down) = self.net(heard.to(self.net.says.weight.device))
        memory = [(a.cpu().numpy(), b.cpu().numpy()) for a, b in zip(h, c, strict=True)]
        return State(memory, down.cpu().numpy(), logits[:, -1].cpu().numpy())

    def step(self, events: Sequence[int], state: State) -> State:
        """After one more event a row."""
        rows = len(events)
        hands = self._hands.get(rows)
        if hands is None:
            hands = self._hands[rows] = Hands(self, rows)
        hands.put(state)
        hands.step(events)
        return hands.state()

    def play(self, events: Sequence[int], state: State) -> State:
        """After some more events of one row."""
        for event in events:
            state = self.step([event], state)
        return state


class Hands:
    """Performances in hand, so many side by side; steps are taken in place."""

    def __init__(self, stepper: Stepper, rows: int) -> None:
        self._stepper = stepper
        self._walk = stepping.Walk(stepper.lstm, rows)
        self._down = self._walk.heard if stepper.lstm.heard else np.zeros((rows, KEYS), np.float32)
        self._told = np.empty((rows, stepper.first.shape[1]), np.float32)
        self.logits = np.zeros((rows, EVENTS), np.float32)
        """[rows, EVENTS] what is expected next, until the next step."""

    def put(self, state: State) -> None:
        """Goes on from a state of as many rows."""
        self._walk.put(state.memory)
        self._down[:], self.logits[:] = state.down, state.logits

    def state(self) -> State:
        """A copy of where they are."""
        return State(self._walk.state(), self._down.copy(), self.logits.copy())

    def step(self, events: Sequence[int]) -> None:
        """One more event a row."""
        for row, event in enumerate(events):
            if event < OFF:
                self._down[row, event] = 1
            elif event < SHIFT:
                self._down[row, event - OFF] = 0
        told = self._stepper.first.take(events, 0, self._told, "clip")
        np.matmul(self._walk.step(told), self._stepper.says, self.logits)
        np.add(self.logits, self._stepper.said, self.logits)


@dataclass(frozen=True, eq=False)
class Taste:
    """How to draw: at what temperature, from the likeliest `top_p` of the mass, with what added to the logits."""

    temperature: float
    top_p: float
    bias: Real

    def draw(self, logits: Real | Floats, allowed: Mask, u: float) -> int:
        """An allowed event; `u` in [0, 1) decides which."""
        p = logits + self.bias
        if self.temperature != 1:
            p /= self.temperature
        p -= p.max()
        np.exp(p, p)
        can = p * allowed
        # What can't be is given to what can be of its kind, else a net that is unsure which of many keys
        # comes up would seem to want none to.
        total = 0.0
        every, left = np.add.reduceat((p, can), BOUNDS[:-1], 1).tolist()
        for a, b, wanted, there in zip(BOUNDS, BOUNDS[1:], every, left, strict=False):
            if there > 0:
                total += wanted
                if there < wanted:
                    can[a:b] *= wanted / there
        if not total:
            at = np.flatnonzero(allowed)
            return int(at[int(u * len(at))])
        # All of those that are left out here are less than what is to be left out.
        at = np.flatnonzero(can > (1 - self.top_p) * total / EVENTS)
        can = can[at]
        if self.top_p < 1:
            order = (-can).argsort(kind="stable")
            enough = int(can[order].cumsum().searchsorted(self.top_p * total)) + 1
            at, can = at[order[:enough]], can[order[:enough]]
        return int(at[pick(can, u)])


def softmax(x: Real) -> Real:
    """Probabilities of logits [N]."""
    p = np.exp(x - x.max())
    return np.asarray(p / p.sum())


def pick(weights: Real, u: float) -> int:
    """An index drawn by weights that need not sum to 1; `u` in [0, 1) decides which."""
    total = weights.cumsum()
    return min(int(total.searchsorted(u * total[-1], side="right")), len(total) - 1)


class Stroke(NamedTuple):
    """A key struck: steps of onset and end, pitch, velocity."""

    onset: int
    end: int
    pitch: int
    velocity: int


Blocked = Sequence[tuple[int, int, int]]
"""Keys that others hold: pitch, from step, to step."""


@dataclass
class Keyboard:
    """What one free performance of `length` steps has done so far, and what it may do next; with `attacca` it may
    not wait for its first stroke."""

    length: int
    blocked: Blocked = ()
    loud: int = LEVELS // 2
    attacca: bool = False
    now: int = 0
    last: int = 0
    down: dict[int, tuple[int, int]] = field(default_factory=dict)
    strokes: list[Stroke] = field(default_factory=list)
    at_once: int = 0
    struck: int = 0
    event: int = SHIFT

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        return self.now >= self.length

    def forced(self) -> int | None:
        """A key that must come up now."""
        for pitch, (onset, _) in self.down.items():
            if self.now - onset >= HELD or (
                self.blocked and any(p == pitch and a <= self.now < b for p, a, b in self.blocked)
            ):
                return OFF + pitch
        return None

    def allowed(self) -> Mask:
        """Which events make sense now."""
        mask = np.zeros(EVENTS, bool)
        mask[SHIFT:VELOCITY] = bool(self.down) or self.now - self.last < PAUSE
        if self.attacca and not self.strokes and not self.down:
            mask[SHIFT:VELOCITY] = False
        if self.at_once >= AT_ONCE:
            mask[SHIFT:VELOCITY] = True
            return mask
        for pitch, (onset, _) in self.down.items():
            mask[OFF + pitch] = onset < self.now
        if self.now > 0 and self.now >= self.length - LAST:
            mask[SHIFT:VELOCITY] = True
            return mask
        mask[VELOCITY:] = self.event < VELOCITY
        if self.struck >= STRIKES or len(self.down) >= CROWD:
            mask[SHIFT:VELOCITY] = True
            return mask
        mask[ON + LOW : ON + HIGH + 1] = True
        for pitch in self.down:
            mask[ON + pitch] = False
        for pitch, a, b in self.blocked:
            if a <= self.now < b:
                mask[ON + pitch] = False
        return mask

    def play(self, event: int) -> None:
        """Does what an event says."""
        self.event = event
        self.at_once += 1
        if event >= VELOCITY:
            self.loud = event - VELOCITY
        elif event >= SHIFT:
            self.now = min(self.now + event - SHIFT + 1, self.length)
            self.at_once = self.struck = 0
        elif event >= OFF:
            onset, velocity = self.down.pop(event - OFF)
            self.strokes.append(Stroke(onset, self.now, event - OFF, velocity))
            self.last = self.now
        else:
            self.struck += 1
            self.down[event] = self.now, int(velocity_of(self.loud))

    def so_far(self) -> list[Stroke]:
        """The strokes, those still held up to now."""
        held = [Stroke(a, self.now, p, v) for p, (a, v) in self.down.items() if a < self.now]
        return sorted([*self.strokes, *held])


def improvise(
    stepper: Stepper,
    state: State,
    boards: Sequence[Keyboard],
    tastes: Sequence[Taste],
    rng: np.random.Generator,
    every: int,
) -> Iterator[list[int]]:
    """Plays keyboards to their ends, each by its taste, all from one state; yields after each `every` events those that moved."""
    hands = Hands(stepper, len(boards))
    hands.put(state.rows(len(boards)))
    moved: set[int] = set()
    count = 0
    while not all(board.over for board in boards):
        events = [SHIFT] * len(boards)
        for b, (board, u) in enumerate(zip(boards, rng.random(len(boards)), strict=True)):
            if not board.over:
                event = board.forced()
                if event is None:
                    event = tastes[b].draw(hands.logits[b], board.allowed(), u)
                events[b] = event
                board.play(event)
                moved.add(b)
        hands.step(events)
        count += 1
        if count % every == 0:
            yield sorted(moved)
            moved.clear()


class Played(NamedTuple):
    """How a stroke of a part is played: `late` steps after its nominal onset, and how loud."""

    note: int
    late: float
    velocity: int


@dataclass(frozen=True)
class Manner:
    """How freely to play: at most so many steps early or late, and rather half as many (a normal
    distribution's deviation), how much of what the net stresses is (1: all of it), at what temperature; nothing
    of it from step `last` on."""

    freedom: int
    strength: float
    temperature: float
    last: int


def perform(
    stepper: Stepper, state: State, part: Part, manner: Manner, rng: np.random.Generator
) -> Iterator[Played]:
    """Plays a part: yields each stroke when it is struck. The net hears what is played.

    How much a stroke stands out from the last ones is the net's, how loud they are in the long run the
    score's: left to itself the net would drift away from what is written.
    """
    now, loud = 0, -1
    usual, struck = 0.0, 0  # the loudness of late, of so many strokes
    ends: list[tuple[int, int]] = []  # a heap of (step, pitch)
    down: dict[int, int] = {}  # pitch → the step at which it comes up

    def release(step: int, state: State) -> State:
        """What ends up to a step comes up."""
        nonlocal now
        while ends and ends[0][0] <= step:
            end, pitch = heapq.heappop(ends)
            if down.get(pitch) == end:
                del down[pitch]
                state = stepper.play([*shifts(end - now), OFF + pitch], state)
                now = max(now, end)
        return state

    for i in range(len(part.onset)):
        nominal, pitch = round(float(part.onset[i])), int(part.pitch[i])
        free = bool(part.free[i])
        reach = manner.freedom if free else 0
        low = max(now, nominal - reach)
        high = max(low, min(nominal + reach, manner.last - 1))
        u, v = rng.random(2)
        if high > low:
            state = release(low, state)
            while low - now >= LONGEST:
                state, now = stepper.play(shifts(LONGEST), state), now + LONGEST
            high = min(high, now + LONGEST)
            weight = _waits(state, low - now, high - now, manner.temperature)
            away = (np.arange(low, high + 1) - nominal) / reach
            low += pick(weight * np.exp(-2 * away**2), u)
        state = release(low, state)
        state, now = stepper.play(shifts(low - now), state), low
        if pitch in down:
            del down[pitch]
            state = stepper.play([OFF + pitch], state)
        written = int(part.velocity[i])
        velocity = written
        if free and manner.strength > 0:
            chosen = _loudness(stepper, state, pitch, loud, manner.temperature, v)
            struck += 1
            usual += (chosen - usual) / min(struck, FADE)
            velocity = int(np.clip(round(written + manner.strength * (chosen - usual)), 1, 127))
        new = int(level(velocity))
        state = stepper.play([VELOCITY + new] if new != loud else [], state)
        loud = new
        state = stepper.play([ON + pitch], state)
        late = low - nominal
        end = max(low + 1, round(float(part.end[i])) + late)
        down[pitch] = end
        heapq.heappush(ends, (end, pitch))
        if free:
            yield Played(i, float(late), velocity)


def _waits(state: State, least: int, most: int, temperature: float) -> Real:
    """How likely the net finds each wait of `least` to `most` steps before a stroke."""
    p = softmax(state.logits[0].astype(np.float64) / temperature)
    wait = p[SHIFT + np.maximum(np.arange(least, most + 1) - 1, 0)]
    if least == 0:
        wait[0] = p[ON:OFF].sum() + p[VELOCITY:].sum()
    return np.asarray(wait + 1e-12)


def _loudness(
    stepper: Stepper, state: State, pitch: int, loud: int, temperature: float, u: float
) -> float:
    """A velocity for a key: that before or another, as likely as the net finds it and then this very key.
    One is drawn, and CALM times the temperature says how far to go towards it from the mean of all."""
    p = softmax(state.logits[0].astype(np.float64))
    tried = np.sort(np.argsort(-p[VELOCITY:], kind="stable")[:LEVELS_TRIED])
    after = stepper.step((VELOCITY + tried).tolist(), state.rows(len(tried))).logits
    odds = np.exp(after.astype(np.float64) - after.max(1, keepdims=True))
    strikes = odds[:, ON + pitch] / odds.sum(1)
    weight = np.full(LEVELS, 1e-30)
    weight[tried] += p[VELOCITY + tried] * strikes
    if loud >= 0:
        weight[loud] += p[ON + pitch]
    velocity = velocity_of(np.arange(LEVELS))
    mean = float((weight * velocity).sum() / weight.sum())
    return mean + CALM * temperature * (float(velocity[pick(weight, u)]) - mean)


GRID = 6
"""Steps of the grid that performances are written down on to be performed again."""
TOLD = 300
"""Strokes of each performance that are performed again."""


def likeness(
    stepper: Stepper, pieces: Sequence[Events], manner: Manner, rng: np.random.Generator
) -> dict[str, float]:
    """How much of real performances comes back when their notes, written down on a coarse grid and all as loud
    as the piece in the mean, are performed: correlation of velocities (mean over pieces), mean error of
    velocities and onsets. Beside it the same of what is written, of the piece's velocities in random order and
    of onsets drawn without hearing, as near to the grid."""
    found: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        found.setdefault(name, []).append(value)

    for events in pieces:
        real = decode(events)
        real = real.where(slice(0, TOLD))
        onset, end = np.round(real.onset / STEP), np.round(real.end / STEP)
        grid = np.round(onset / GRID) * GRID
        flat = np.full(len(real), round(float(real.velocity.mean())))
        order = np.lexsort((real.pitch, grid))
        part = Part(grid[order], end[order], real.pitch[order], flat, np.ones(len(real), bool))
        last = int(end.max()) + manner.freedom + 1
        played = list(
            perform(
                stepper,
                stepper.begin(np.zeros(0, np.uint16)),
                part,
                replace(manner, last=last),
                rng,
            )
        )
        truth, true_onset = real.velocity[order].astype(float), onset[order]
        loud = np.array([p.velocity for p in played], float)
        when = grid[order] + np.array([p.late for p in played])
        shuffled = rng.permutation(truth)
        note("humanised_velocity_correlation", correlation(loud, truth))
        note("shuffled_velocity_correlation", correlation(shuffled, truth))
        note("humanised_velocity_error", float(np.abs(loud - truth).mean()))
        note("written_velocity_error", float(np.abs(flat - truth).mean()))
        note("shuffled_velocity_error", float(np.abs(shuffled - truth).mean()))
        ms = 1000 * STEP
        away = np.arange(-manner.freedom, manner.freedom + 1)
        near = np.exp(-2 * (away / max(manner.freedom, 1)) ** 2)
        at_random = grid[order] + rng.choice(away, len(real), p=near / near.sum())
        note("humanised_onset_error_ms", ms * float(np.abs(when - true_onset).mean()))
        note("written_onset_error_ms", ms * float(np.abs(grid[order] - true_onset).mean()))
        note("random_onset_error_ms", ms * float(np.abs(at_random - true_onset).mean()))
        note("humanised_late_ms", ms * float(np.mean([abs(p.late) for p in played])))
    return {name: float(np.mean(values)) for name, values in found.items()}


def correlation(a: Real, b: Real) -> float:
    """Pearson's, 0 when either does not vary."""
    spread = float(a.std() * b.std())
    return float(((a - a.mean()) * (b - b.mean())).mean()) / spread if spread else 0.0

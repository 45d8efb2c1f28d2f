"""Paths: from one phrase to another in a latent space (Roberts et al. 2018, 4.2; Briot et al. 6.12.1).

A code's neighbourhood decodes to one phrase and then, suddenly, to another: of codes at even distances half
repeat the one before. So the way is decoded at as many points as are wanted, then between those where the
music changes most, a few times over, and of all points those are taken between which it changes most evenly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from models.card import Value
from models.coder import Coder
from models.representations import phrase, rewriting
from models.representations.melody import BAR, Tokens
from models.representations.phrase import BAR_TICKS, Line, Place
from models.score import Notes, Region, UserError
from models.space import Space
from models.strategies.codes import (
    Codes,
    Share,
    decode,
    encode,
    evenly,
    lerp,
    on_map,
    slerp,
)
from models.system import Ask, Context, Progress, Proposal

Shares = npt.NDArray[np.float64]

ROUNDS = 4
"""How often half as many points as steps are wanted are put where the music changes most."""
NARROW = 1e-4
"""A jump that happens within so small a share of the way is one."""
BEND = 0.25
"""How far, in the prior's deviations, the middle of a candidate after the first is off the way."""


def interpolate(
    coder: Coder, ask: Ask, values: Mapping[str, Value], context: Context, space: Space | None
) -> Iterator[Proposal | Progress]:
    """A path from the first of two phrases to the second, from the region's start on, one after the other:
    every step is as long as the longer phrase; the shorter one is repeated.

    Figures: steps, step_ticks; difference_a, difference_b: the share of steps of the grid in which the
    decoding of an end differs from it; mean_hamming_step, largest_hamming_step: the share that changes from one
    phrase to the next; map_x_0, map_y_0 and so on. Candidates after the first make a bend.
    """
    name = coder.card.name
    if len(ask.phrases) != 2:
        raise UserError(f"{name} needs two phrases, A and B, to go from one to the other.")
    steps = values["steps"]
    assert isinstance(steps, int)
    ends = [phrase.alone(p, name, called) for p, called in zip(ask.phrases, "AB", strict=True)]
    length = max(line.bars for line in ends) * BAR_TICKS
    start, end = ask.region.start, ask.region.start + steps * length
    if end > ask.region.end:
        bars = steps * length // BAR_TICKS
        raise UserError(f"A path of {steps} such steps is {bars} bars long; mark as many.")
    whole = phrase.clear(ask.score, Region(start, end, ask.region.tracks), name)
    places = [_step_of(whole, start + k * length, length) for k in range(steps)]
    a, b = ([phrase.laid(line, place) for place in places] for line in ends)
    yield Progress(0.0, "Listening")
    heard = np.stack([phrase.windows(line.tokens, coder.bars) for line in (a[0], b[0])])
    z = encode(coder, heard.reshape(-1, heard.shape[-1])).reshape(*heard.shape[:2], -1)
    exact = values["ends"] == "exact"
    for k in range(ask.count):
        yield Progress(k / ask.count, "Decoding")
        bend = BEND * context.rng.standard_normal(z[0].shape, np.float32) if k else None
        way = _way(coder, heard, z, (a[0].tokens, b[0].tokens), steps, values["path"], exact, bend)
        notes = [_notes(way, i, a[i], b[i], place, exact) for i, place in enumerate(places)]
        apart = [float((x != y).mean()) for x, y in pairwise(way.tokens)]
        figures = {
            "steps": float(steps),
            "step_ticks": float(length),
            "difference_a": way.differences[0],
            "difference_b": way.differences[1],
            "mean_hamming_step": float(np.mean(apart)),
            "largest_hamming_step": max(apart),
        }
        for i, code in enumerate(way.codes):
            figures |= on_map(space, code, f"_{i}")
        track = whole.track.with_notes(phrase.together(notes))
        yield Proposal(k, whole.region, (track,), final=True, figures=figures)


@dataclass(frozen=True, eq=False)
class _Way:
    """Steps of a path: how far along each is (0–1), codes [steps, N, L], tokens [steps] each, and the shares
    by which the decoded ends differ from the phrases."""

    shares: Shares
    codes: Codes
    tokens: list[Tokens]
    differences: tuple[float, float]


def _way(
    coder: Coder,
    heard: Tokens,
    z: Codes,
    originals: tuple[Tokens, Tokens],
    steps: int,
    path: Value,
    exact: bool,
    bend: Codes | None,
) -> _Way:
    """The path between codes z [2, N, L] of the windows heard [2, N, T], `bend` [N, L] off the way at its
    middle."""
    turn = lerp if path == "linear" else slerp
    shares, codes, raw = (found[0] for found in points(coder, z[:1], z[1:], steps, turn, bend))
    kept = anchored(raw, heard, shares) if exact else raw
    tokens = [phrase.joined(step, *originals) for step in kept]
    flat = np.stack(tokens)
    chosen = evenly((flat[:, None] != flat[None]).mean(-1), steps)
    return _Way(
        shares[chosen],
        codes[chosen],
        [tokens[i] for i in chosen],
        (float((raw[0] != heard[0]).mean()), float((raw[-1] != heard[1]).mean())),
    )


def points(
    coder: Coder,
    a: Codes,
    b: Codes,
    steps: int,
    turn: Callable[[Codes, Codes, Share], Codes] = slerp,
    bend: Codes | None = None,
) -> tuple[Shares, Codes, Tokens]:
    """Many points on the ways from codes a to b [P, ..., L], closest where the music changes most: how far
    along each is [P, F], codes [P, F, ..., L] and what they decode to [P, F, ..., T].

    First `steps` at even distances, then half as many between the most different neighbours, ROUNDS times.
    """
    inner = (1,) * (a.ndim - 1)

    def at(shares: Shares) -> tuple[Codes, Tokens]:
        t = shares.reshape(*shares.shape, *inner).astype(np.float32)
        found = turn(a[:, None], b[:, None], t)
        if bend is not None:
            found = found + np.sin(np.pi * t) * bend
        return found, decode(coder, found)

    shares = np.broadcast_to(np.linspace(0, 1, steps), (len(a), steps))
    codes, raw = at(shares)
    for _ in range(ROUNDS):
        change = (raw[:, 1:] != raw[:, :-1]).reshape(len(a), len(shares[0]) - 1, -1).mean(-1)
        change = change * (np.diff(shares) > NARROW)
        wide = np.argsort(-change, axis=1, kind="stable")[:, : max(1, steps // 2)]
        low, high = (np.take_along_axis(shares, wide + k, 1) for k in (0, 1))
        middle = (low + high) / 2
        new_codes, new_raw = at(middle)
        shares = np.concatenate([shares, middle], 1)
        order = np.argsort(shares, axis=1, kind="stable")
        shares = np.take_along_axis(shares, order, 1)
        rows = np.arange(len(a))[:, None]
        codes = np.concatenate([codes, new_codes], 1)[rows, order]
        raw = np.concatenate([raw, new_raw], 1)[rows, order]
    return shares, codes, raw


def anchored(raw: Tokens, heard: Tokens, shares: Shares) -> Tokens:
    """Decoded points [F, N, T] of a path that begins and ends with the phrases heard [2, N, T] themselves:
    a step that decodes as at an end is as in that end."""
    first, last = raw == raw[0], raw == raw[-1]
    first &= ~last | (shares < 0.5)[:, None, None]
    return np.where(first, heard[0], np.where(last, heard[1], raw))


def _step_of(whole: Place, start: int, length: int) -> Place:
    """One step of a path, as a place of its own."""
    region = Region(start, start + length, whole.region.tracks)
    return Place(whole.track, region, start, length // BAR_TICKS * BAR, whole.stays)


def _notes(way: _Way, i: int, a: Line, b: Line, place: Place, exact: bool) -> Notes:
    """Step `i` of a path, whose ends are the phrases as they were played if they are to be exact."""
    ends: Sequence[int] = (0, len(way.tokens) - 1)
    if exact and i in ends:
        line = a if i == 0 else b
        return rewriting.write(line, line.tokens, place)
    return rewriting.between(a, b, float(way.shares[i]), way.tokens[i], place)

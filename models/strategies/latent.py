"""Latent strategies: what can be done with codes instead of notes (Briot et al. 6.12; Roberts et al. 2018).

Between two codes lies a path of phrases; added to a code, a direction learnt from the corpus changes one
attribute; around a code are others like it; and any code drawn from the prior is a phrase.

An autoencoder gives nearly, not quite, back what it heard. Where the decoding of a moved code says the same
as that of the code itself, the original stands, so that only what was moved changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from models import space as spaces
from models.attributes import NAMES, measure
from models.card import Task, Value
from models.coder import Coder
from models.representations import phrase, rewriting
from models.representations.melody import BAR, FIRST, Tokens
from models.representations.phrase import BAR_TICKS, Line, Place
from models.score import Notes, Region, Score, UserError
from models.space import Space
from models.strategies import improvising
from models.system import Ask, Context, Progress, Proposal

Codes = npt.NDArray[np.float32]
Steps = Iterator[Proposal | Progress]
Values = Mapping[str, Value]

BATCH = 512
NEAR = 0.25
"""How far from what was asked for the other candidates of `reshape` look, as `radius`."""
LEAST_RADIUS, GROWTH, TRIES = 0.05, 1.4, 10
"""A neighbour that decodes to the original is looked for further away, so many times."""


def generate(coder: Coder, ask: Ask, context: Context) -> Steps:
    """Creates, interpolates, reshapes or regenerates with a coder; see `Ask` for where it starts.

    Figures of a proposal: map_x, map_y where the code lies on the map; each attribute, measured on the new
    phrase; changed: the share of steps that differ. Of `interpolate`: see `_interpolate`.
    """
    card = coder.card
    if ask.task not in card.tasks or ask.task not in _TASKS:
        raise UserError(f"{card.name} cannot {ask.task}; it can {', '.join(card.tasks)}.")
    values = card.values(ask.params)
    return _TASKS[ask.task](coder, ask, values, context)


# --- codes ----------------------------------------------------------------------------------------


def lerp(a: Codes, b: Codes, share: float) -> Codes:
    """The code [..., L] at `share` 0–1 of the straight way from `a` to `b`."""
    return ((1 - share) * a + share * b).astype(np.float32)


def slerp(a: Codes, b: Codes, share: float) -> Codes:
    """The code [..., L] at `share` 0–1 of the way from `a` to `b` along the sphere: the direction turns
    evenly while the length goes from one to the other (Roberts et al. 2018, 4.2).

    Codes of a normal prior lie near a sphere; the straight way leads through its empty middle.
    """
    long_a, long_b = (np.linalg.norm(z, axis=-1, keepdims=True) for z in (a, b))
    u, v = a / np.maximum(long_a, 1e-9), b / np.maximum(long_b, 1e-9)
    angle = np.arccos(np.clip((u * v).sum(-1, keepdims=True), -1, 1))
    sine = np.sin(angle)
    near = sine < 1e-4  # the same direction, or opposite ones, between which no way is the shortest
    safe = np.where(near, 1.0, sine)
    turned = (np.sin((1 - share) * angle) * u + np.sin(share * angle) * v) / safe
    length = (1 - share) * long_a + share * long_b
    return np.where(near, lerp(a, b, share), turned * length).astype(np.float32)


def average(codes: Codes) -> Codes:
    """The mean [..., L] of codes [P, ..., L], as long as they are on average.

    Means of unlike codes are short, and what is near the middle of the prior is everybody's phrase.
    """
    return as_long(codes.mean(0), np.linalg.norm(codes, axis=-1, keepdims=True).mean(0))


def as_long(z: Codes, length: npt.NDArray[np.floating]) -> Codes:
    """Codes [..., L] brought to lengths [..., 1]."""
    now = np.linalg.norm(z, axis=-1, keepdims=True)
    return (z * np.where(now > 1e-6, length / np.maximum(now, 1e-6), 1.0)).astype(np.float32)


def neighbour(z: Codes, scale: Codes | float, radius: float, noise: Codes) -> Codes:
    """Codes [..., L] `radius` deviations `scale` away in the direction of standard normal `noise`, as long
    as before."""
    return as_long(z + radius * scale * noise, np.linalg.norm(z, axis=-1, keepdims=True))


def encode(coder: Coder, windows: Tokens) -> Codes:
    """Mean codes [N, L] of windows [N, T]."""
    parts = torch.split(torch.from_numpy(windows.astype(np.int64)), BATCH)
    return np.concatenate([coder.encode(part)[0].numpy() for part in parts]).astype(np.float32)


def decode(coder: Coder, z: Codes) -> Tokens:
    """The likeliest phrases [..., T] of codes [..., L], all in one batch or few."""
    flat = torch.from_numpy(np.ascontiguousarray(z.reshape(-1, z.shape[-1])))
    written = np.concatenate([coder.decode(part).numpy() for part in torch.split(flat, BATCH)])
    return written.reshape(*z.shape[:-1], -1).astype(np.uint8)


# --- the space ------------------------------------------------------------------------------------


@lru_cache(maxsize=8)
def _read_space(path: Path, system_id: str, modified: int) -> Space:
    return spaces.load(path, system_id)


def space_of(coder: Coder, context: Context) -> Space | None:
    """Directions and map of a coder: beside its weights, or those shipped; None when there are none."""
    path = spaces.beside(context.weights) if context.weights else spaces.shipped(coder.card.id)
    if path is None or not path.is_file():
        return None
    found = _read_space(path, coder.card.id, path.stat().st_mtime_ns)
    return found if found.latent == coder.latent else None


@dataclass(frozen=True)
class _Push:
    """Sliders and a displacement on the map, to be applied in a space."""

    space: Space | None
    sliders: Mapping[str, float]
    dx: float
    dy: float

    @property
    def anything(self) -> bool:
        return bool(self.sliders or self.dx or self.dy)

    def __call__(self, z: Codes) -> Codes:
        if self.space is None or not self.anything:
            return z
        return np.asarray(self.space.shift(self.space.push(z, self.sliders), self.dx, self.dy))


def _number(values: Values, name: str) -> float:
    """A parameter that is a number; 0 when the system has none of that name."""
    value = values.get(name, 0.0)
    return float(value) if isinstance(value, int | float) else 0.0


def _push(coder: Coder, values: Values, space: Space | None) -> _Push:
    """What the sliders say; UserError when they do nothing in this space."""
    sliders = {name: _number(values, name) for name in NAMES if values.get(name)}
    push = _Push(space, sliders, _number(values, "map_x"), _number(values, "map_y"))
    name = coder.card.name
    if space is None and push.anything:
        raise UserError(
            f"{name} has no attributes and no map for these weights; use those that come with the program."
        )
    idle = [s for s in sliders if space is not None and not space.acts(s)]
    if idle and space is not None:
        others = f"these do: {', '.join(space.acting)}" if space.acting else "none does"
        raise UserError(f"The slider {idle[0]} does not act in {name}; {others}.")
    return push


# --- reshape and regenerate -----------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Start:
    """What a request starts from: the original at its place, its windows [N, T], their codes [N, L] and
    what those decode to [N, T]."""

    place: Place
    line: Line
    heard: Tokens
    z: Codes
    back: Tokens

    def put(self, written: Tokens) -> Tokens:
        """The tokens [steps] of a phrase decoded as windows [N, T]: the original where the decoding says
        what it says of the original's code, and where all is silent."""
        silent = ~(self.heard >= FIRST).any(-1, keepdims=True)
        windows = np.where((written == self.back) | silent, self.heard, written)
        return phrase.joined(windows, self.line.tokens)


def _sources(ask: Ask, name: str) -> tuple[Place, list[Line]]:
    """Where to write, and the lines to start from, each as long as that place."""
    if not ask.phrases:
        place, line = phrase.read(ask.score, ask.region, name)
        return place, [line]
    place = phrase.clear(ask.score, ask.region, name)
    return place, [phrase.laid(phrase.alone(p, name), place) for p in ask.phrases]


def _start(coder: Coder, place: Place, lines: Sequence[Line]) -> _Start:
    heard = np.stack([phrase.windows(line.tokens, coder.bars) for line in lines])
    P, N, T = heard.shape
    z = encode(coder, heard.reshape(-1, T)).reshape(P, N, -1)
    if P == 1:
        return _Start(place, lines[0], heard[0], z[0], decode(coder, z[0]))
    mean = average(z)
    back = decode(coder, mean)
    tokens = back.reshape(-1)[: place.steps]

    def velocity(tick: int) -> int:
        return round(float(np.mean([line.notes.velocity[line.nearest(tick)] for line in lines])))

    line = phrase.made(tokens, velocity, lines[0].shift)
    return _Start(place, phrase.laid(line, place), phrase.windows(tokens, coder.bars), mean, back)


def _reshape(coder: Coder, ask: Ask, values: Values, context: Context) -> Steps:
    """Moves a phrase along attributes and on the map; the first candidate exactly so, others nearby."""
    space = space_of(coder, context)
    push = _push(coder, values, space)
    place, lines = _sources(ask, coder.card.name)
    yield Progress(0.0, "Listening")
    start = _start(coder, place, lines)
    z = push(start.z)
    tokens = start.put(decode(coder, z)) if push.anything else start.line.tokens
    yield _proposal(ask, 0, start, tokens, z, space)
    if ask.count > 1:
        near = _neighbours(start, z, ask.count - 1, NEAR, coder, space, context, tokens)
        for k, (tokens, z) in enumerate(near, 1):
            yield _proposal(ask, k, start, tokens, z, space)


def _regenerate(coder: Coder, ask: Ask, values: Values, context: Context) -> Steps:
    """More like this: phrases at a radius from the one there."""
    space = space_of(coder, context)
    place, lines = _sources(ask, coder.card.name)
    yield Progress(0.0, "Listening")
    start = _start(coder, place, lines)
    radius = _number(values, "radius")
    found = _neighbours(start, start.z, ask.count, radius, coder, space, context, start.line.tokens)
    for k, (tokens, z) in enumerate(found):
        yield _proposal(ask, k, start, tokens, z, space)


def _neighbours(
    start: _Start,
    z: Codes,
    count: int,
    radius: float,
    coder: Coder,
    space: Space | None,
    context: Context,
    original: Tokens,
) -> list[tuple[Tokens, Codes]]:
    """So many phrases near a code, in random directions, each further away until it differs from
    `original`."""
    scale: Codes | float = space.code_scale if space is not None else 1.0
    noise = context.rng.standard_normal((count, *z.shape), np.float32)
    radii = np.full(count, max(radius, LEAST_RADIUS), np.float32)
    found: list[tuple[Tokens, Codes]] = [(original, z)] * count
    for _ in range(TRIES):
        same = [k for k in range(count) if np.array_equal(found[k][0], original)]
        if not same:
            break
        codes = neighbour(z, scale, radii[same, None, None], noise[same])  # type: ignore[arg-type]
        for k, code, written in zip(same, codes, decode(coder, codes), strict=True):
            found[k] = (start.put(written), code)
        radii[same] *= GROWTH
    return found


def _proposal(
    ask: Ask, k: int, start: _Start, tokens: Tokens, z: Codes, space: Space | None
) -> Proposal:
    """Candidate `k`: what `tokens` make of the original, with its figures."""
    place, line = start.place, start.line
    figures = {"changed": float((tokens != line.tokens).mean())}
    figures |= _place_on_map(space, z)
    figures |= _attributes(ask.score, place, tokens, start.heard.shape[1] // BAR, line.shift)
    notes = rewriting.write(line, tokens, place)
    return _final(k, place.region, place, notes, figures)


def _final(
    k: int, region: Region, place: Place, notes: Notes, figures: Mapping[str, float]
) -> Proposal:
    return Proposal(k, region, (place.track.with_notes(notes),), final=True, figures=figures)


def _place_on_map(space: Space | None, z: Codes, suffix: str = "") -> dict[str, float]:
    """Where codes [N, L] of one phrase lie on average."""
    if space is None:
        return {}
    x, y = space.project(z).mean(0)
    return {f"map_x{suffix}": float(x), f"map_y{suffix}": float(y)}


def _attributes(
    score: Score, place: Place, tokens: Tokens, bars: int, shift: int
) -> dict[str, float]:
    """Each attribute of tokens [steps], averaged over the windows that have notes."""
    windows = phrase.windows(tokens, bars)
    windows = windows[(windows >= FIRST).any(-1)]
    if not len(windows):
        return {}
    key = score.key_at(place.start)
    sharps, minor = (None, None) if key is None else (key.sharps, int(key.minor))
    found = dict(zip(NAMES, measure(windows, sharps, minor).mean(0).tolist(), strict=True))
    found["pitch"] -= shift
    return found


# --- interpolate ----------------------------------------------------------------------------------


def _interpolate(coder: Coder, ask: Ask, values: Values, context: Context) -> Steps:
    """A path from the first of two phrases to the second, from the region's start on, one after the other:
    every step is as long as the longer phrase; the shorter one is repeated.

    Figures: steps, step_ticks; difference_a, difference_b: the share of steps of the grid in which the
    decoding of an end differs from it; mean_hamming_step, largest_hamming_step: the share that changes from one
    phrase to the next; map_x_0, map_y_0 and so on. Candidates after the first make a bend.
    """
    name = coder.card.name
    if len(ask.phrases) != 2:
        raise UserError(f"{name} needs two phrases, A and B, to go from one to the other.")
    space = space_of(coder, context)
    steps, exact = int(_number(values, "steps")), values["ends"] == "exact"
    ends = [phrase.alone(p, name, called) for p, called in zip(ask.phrases, "AB", strict=True)]
    length = max(line.bars for line in ends) * BAR_TICKS
    start, end = ask.region.start, ask.region.start + steps * length
    if end > ask.region.end:
        bars = steps * length // BAR_TICKS
        raise UserError(f"A path of {steps} steps is {bars} bars long; mark as many.")
    whole = phrase.clear(ask.score, Region(start, end, ask.region.tracks), name)
    places = [_step_of(whole, start + k * length, length) for k in range(steps)]
    a, b = ([phrase.laid(line, place) for place in places] for line in ends)
    yield Progress(0.0, "Listening")
    heard = np.stack([phrase.windows(line.tokens, coder.bars) for line in (a[0], b[0])])
    za, zb = encode(coder, heard.reshape(-1, heard.shape[-1])).reshape(*heard.shape[:2], -1)
    way = slerp if values["path"] == "spherical" else lerp
    shares = np.linspace(0, 1, steps)
    straight = np.stack([way(za, zb, float(t)) for t in shares])  # steps, N, L
    for k in range(ask.count):
        yield Progress(k / ask.count, "Decoding")
        z = straight
        if k:
            bend = context.rng.standard_normal(za.shape, np.float32)
            z = z + NEAR * np.sin(np.pi * shares).astype(np.float32)[:, None, None] * bend
        raw = decode(coder, z)
        kept = _anchored(raw, heard, shares) if exact else raw
        tokens = [phrase.joined(step, a[0].tokens, b[0].tokens) for step in kept]
        notes: list[Notes] = []
        for i, place in enumerate(places):
            if exact and i in (0, steps - 1):
                line = (a if i == 0 else b)[i]
                notes.append(rewriting.write(line, line.tokens, place))
            else:
                notes.append(rewriting.between(a[i], b[i], float(shares[i]), tokens[i], place))
        apart = [float((x != y).mean()) for x, y in pairwise(tokens)]
        figures = {
            "steps": float(steps),
            "step_ticks": float(length),
            "difference_a": float((raw[0] != heard[0]).mean()),
            "difference_b": float((raw[-1] != heard[1]).mean()),
            "mean_hamming_step": float(np.mean(apart)),
            "largest_hamming_step": max(apart),
        }
        for i, code in enumerate(z):
            figures |= _place_on_map(space, code, f"_{i}")
        yield _final(k, whole.region, whole, phrase.together(notes), figures)


def _step_of(whole: Place, start: int, length: int) -> Place:
    """One step of a path, as a place of its own."""
    region = Region(start, start + length, whole.region.tracks)
    return Place(whole.track, region, start, length // BAR_TICKS * BAR, whole.stays)


def _anchored(raw: Tokens, heard: Tokens, shares: npt.NDArray[np.float64]) -> Tokens:
    """Decoded steps [S, N, T] that begin and end with the phrases heard [2, N, T] themselves: what a step
    decodes as an end does is as in that end."""
    near = (raw == raw[0], raw == raw[-1])
    first = near[0] & (~near[1] | (shares < 0.5)[:, None, None])
    return np.where(first, heard[0], np.where(near[1], heard[1], raw))


# --- create ---------------------------------------------------------------------------------------


def _create(coder: Coder, ask: Ask, values: Values, context: Context) -> Steps:
    """Surprise me: a passage from the prior; see `strategies.improvising`."""
    space = space_of(coder, context)
    place = phrase.clear(ask.score, ask.region, coder.card.name)
    temperature = _number(values, "temperature")
    for k in range(ask.count):
        yield Progress(k / ask.count, "Inventing")
        made = improvising.passage(coder, ask.score, place, temperature, context.rng)
        figures = _place_on_map(space, made.codes)
        figures |= _attributes(ask.score, place, made.line.tokens, coder.bars, made.line.shift)
        notes = rewriting.write(made.line, made.line.tokens, place)
        yield Proposal(
            k,
            place.region,
            (place.track.with_notes(notes),),
            final=True,
            keys=made.keys,
            figures=figures,
        )


_TASKS = {
    Task.CREATE: _create,
    Task.INTERPOLATE: _interpolate,
    Task.RESHAPE: _reshape,
    Task.REGENERATE: _regenerate,
}

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
from pathlib import Path

import numpy as np

from models import space as spaces
from models.attributes import NAMES, measure
from models.card import Task, Value
from models.coder import Coder
from models.representations import phrase, rewriting
from models.representations.melody import BAR, FIRST, Tokens
from models.representations.phrase import Line, Place
from models.score import Score, UserError
from models.space import Space
from models.strategies import improvising
from models.strategies.codes import Codes, average, decode, encode, neighbour, on_map
from models.strategies.paths import interpolate
from models.strategies.steering import steer
from models.strategies.travelling import travel
from models.system import Ask, Context, Progress, Proposal

Steps = Iterator[Proposal | Progress]
Values = Mapping[str, Value]

NEAR = 0.25
"""How far from what was asked for the other candidates of `reshape` look, as `radius`."""
LEAST_RADIUS, GROWTH, TRIES = 0.05, 1.4, 10
"""A neighbour that decodes to the original is looked for further away, so many times."""


def generate(coder: Coder, ask: Ask, context: Context) -> Steps:
    """Creates, interpolates, reshapes or regenerates with a coder; see `Ask` for where it starts.

    Figures of a proposal: map_x, map_y where the code lies on the map; each attribute, measured on the new
    phrase; changed: the share of steps that differ. Of `interpolate`: see `strategies.paths`.
    """
    card = coder.card
    if ask.task not in card.tasks:
        raise UserError(f"{card.name} cannot {ask.task}; it can {', '.join(card.tasks)}.")
    values = card.values(ask.params)
    return _TASKS[ask.task](coder, ask, values, context, space_of(coder, context))


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

    coder: Coder
    space: Space | None
    sliders: Mapping[str, float]
    dx: float
    dy: float

    @property
    def anything(self) -> bool:
        return bool(self.sliders or self.dx or self.dy)

    def __call__(self, start: _Start) -> Codes:
        """The codes [N, L] of what it starts from, moved."""
        if self.space is None or not self.anything:
            return start.z
        moved = travel(self.coder, self.space, start.z, self.dx, self.dy)
        return steer(self.coder, self.space, moved, self.sliders, start.windows)


def _number(values: Values, name: str) -> float:
    """A parameter that is a number; 0 when the system has none of that name."""
    value = values.get(name, 0.0)
    return float(value) if isinstance(value, int | float) else 0.0


def _push(coder: Coder, values: Values, space: Space | None) -> _Push:
    """What the sliders say; UserError when they do nothing in this space."""
    sliders = {name: _number(values, name) for name in NAMES if values.get(name)}
    push = _Push(coder, space, sliders, _number(values, "map_x"), _number(values, "map_y"))
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

    def windows(self, written: Tokens) -> Tokens:
        """What is heard of windows decoded [N, C, T]: the original where the decoding says what it says of
        the original's code, and where all is silent."""
        heard, back = self.heard[:, None], self.back[:, None]
        silent = ~(heard >= FIRST).any(-1, keepdims=True)
        return np.where((written == back) | silent, heard, written)

    def put(self, written: Tokens) -> Tokens:
        """The tokens [steps] of a phrase decoded as windows [N, T]."""
        return phrase.joined(self.windows(written[:, None])[:, 0], self.line.tokens)


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


def _reshape(
    coder: Coder, ask: Ask, values: Values, context: Context, space: Space | None
) -> Steps:
    """Moves a phrase along attributes and on the map; the first candidate exactly so, others nearby."""
    push = _push(coder, values, space)
    place, lines = _sources(ask, coder.card.name)
    yield Progress(0.0, "Listening")
    start = _start(coder, place, lines)
    z = push(start)
    tokens = start.put(decode(coder, z)) if push.anything else start.line.tokens
    yield _proposal(ask, 0, start, tokens, z, space)
    if ask.count > 1:
        near = _neighbours(start, z, ask.count - 1, NEAR, coder, space, context, tokens)
        for k, (tokens, z) in enumerate(near, 1):
            yield _proposal(ask, k, start, tokens, z, space)


def _regenerate(
    coder: Coder, ask: Ask, values: Values, context: Context, space: Space | None
) -> Steps:
    """More like this: phrases at a radius from the one there."""
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
    figures |= on_map(space, z)
    figures |= _attributes(ask.score, place, tokens, start.heard.shape[1] // BAR, line.shift)
    track = place.track.with_notes(rewriting.write(line, tokens, place))
    return Proposal(k, place.region, (track,), final=True, figures=figures)


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


# --- create ---------------------------------------------------------------------------------------


def _create(coder: Coder, ask: Ask, values: Values, context: Context, space: Space | None) -> Steps:
    """Surprise me: a passage from the prior; see `strategies.improvising`."""
    place = phrase.clear(ask.score, ask.region, coder.card.name)
    temperature = _number(values, "temperature")
    for k in range(ask.count):
        yield Progress(k / ask.count, "Inventing")
        made = improvising.passage(coder, ask.score, place, temperature, context.rng, space)
        figures = on_map(space, made.codes)
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
    Task.INTERPOLATE: interpolate,
    Task.RESHAPE: _reshape,
    Task.REGENERATE: _regenerate,
}

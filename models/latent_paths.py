"""Paths between two phrases: how even they are, and how much like music, in the latent space and outside.

Outside, each token is taken from the one phrase or the other with the share of the way as its odds, as
Roberts et al. 2018 (4.2) do for comparison; Briot et al. draw it in figure 5.25.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models import space
from models.attributes import in_scale
from models.coder import Coder
from models.representations.melody import BAR, FIRST, Phrases, Tokens, is_valid, pitch
from models.strategies.codes import decode, encode, evenly, slerp
from models.strategies.paths import points

Real = npt.NDArray[np.float64]
Column = npt.NDArray[np.int64]

POINTS = 11
"""Phrases of a path, both ends included."""
ORDER = 5
"""Symbols a language model reads at a time, as in Roberts et al. 2018, figure 4."""
_LEAP = 12  # wider ones count as this
_SYMBOLS = 2 + 2 * _LEAP + 1


def symbols(tokens: Tokens) -> Column:
    """[N, T]: silence, hold, or the interval from the note before, whatever the key."""
    t = tokens.astype(np.int64)
    onset = t >= FIRST
    steps = np.arange(t.shape[1])
    last = np.maximum.accumulate(np.where(onset, steps, -1), axis=1)
    before = np.concatenate([np.full((len(t), 1), -1), last[:, :-1]], 1)
    then = np.take_along_axis(t, np.maximum(before, 0), 1)
    interval = np.where(before >= 0, np.clip(t - then, -_LEAP, _LEAP), 0)
    return np.where(onset, FIRST + _LEAP + interval, t)


class Language:
    """An n-gram model of melodies in any key, which knows the place in the bar: orders mixed after Witten &
    Bell 1991."""

    def __init__(self, tokens: Tokens) -> None:
        self._pairs: list[
            tuple[Column, Column]
        ] = []  # of each order: (context, symbol) keys and counts
        self._contexts: list[tuple[Column, Column, Column]] = []  # keys, counts, kinds of symbols
        for context, symbol in self._read(tokens):
            pairs, times = np.unique(context * _SYMBOLS + symbol, return_counts=True)
            keys, first, kinds = np.unique(pairs // _SYMBOLS, return_index=True, return_counts=True)
            self._pairs.append((pairs, times))
            self._contexts.append((keys, np.add.reduceat(times, first), kinds))

    @staticmethod
    def _read(tokens: Tokens) -> list[tuple[Column, Column]]:
        """(context, symbol) [N · T] for each order: the place in the bar, then ever more of the past."""
        symbol = symbols(tokens)
        steps = symbol.shape[1]
        context = np.broadcast_to(np.arange(steps) % BAR, symbol.shape).copy()
        out = [(context.ravel().copy(), symbol.ravel())]
        for back in range(1, ORDER):
            past = np.full_like(symbol, _SYMBOLS)  # before the beginning
            past[:, back:] = symbol[:, :-back]
            context = context * (_SYMBOLS + 1) + past
            out.append((context.ravel().copy(), symbol.ravel()))
        return out

    def nats(self, tokens: Tokens) -> Real:
        """−log p a step [N] of phrases [N, T]."""
        p = np.full(tokens.size, 1 / _SYMBOLS)
        for (context, symbol), pairs, contexts in zip(
            self._read(tokens), self._pairs, self._contexts, strict=True
        ):
            seen = _look(pairs[0], pairs[1], context * _SYMBOLS + symbol)
            total = _look(contexts[0], contexts[1], context)
            kinds = _look(contexts[0], contexts[2], context)
            p = np.where(total > 0, (seen + kinds * p) / np.maximum(total + kinds, 1), p)
        return np.asarray(-np.log(p).reshape(tokens.shape).mean(1))


def _look(keys: Column, values: Column, wanted: Column) -> Column:
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, values[at], 0)


def mixed(a: Tokens, b: Tokens, count: int, draws: Real) -> Tokens:
    """[N, count, T]: each token from b where its number in `draws` [N, count, T] is below the share of
    the way, else from a."""
    share = np.linspace(0, 1, count)[None, :, None]
    return np.where(draws < share, b[:, None], a[:, None])


def measured(path: Tokens, language: Language, prefix: str) -> dict[str, float]:
    """Figures of paths [N, count, T], the ends included.

    mean_step, largest_step: Hamming distance of neighbours, as a share of the way there is from end to
    end, averaged over paths. monotone: Spearman's ρ of the place on the path and the distance to its
    beginning, and of the way left and the distance to its end, averaged. valid: phrases without a hold that
    holds nothing. cost_nats: a step, by `language`, of the inner phrases; out_of_scale: share of their notes.
    """
    points, steps = path.shape[1:]
    neighbours = (path[:, 1:] != path[:, :-1]).mean(-1)
    apart = np.maximum((path[:, 0] != path[:, -1]).mean(-1), 1 / steps)
    to_a = (path != path[:, :1]).mean(-1)
    to_b = (path != path[:, -1:]).mean(-1)
    place = np.arange(points)
    rho = space.rank_correlations(place, to_a) - space.rank_correlations(place, to_b)
    inner = path[:, 1:-1].reshape(-1, steps)
    return {
        f"{prefix}_mean_step": float((neighbours.mean(-1) / apart).mean()),
        f"{prefix}_largest_step": float((neighbours.max(-1) / apart).mean()),
        f"{prefix}_largest_step_hamming": float(neighbours.max(-1).mean()),
        f"{prefix}_monotone_rho": float(rho.mean() / 2),
        f"{prefix}_valid": float(is_valid(inner).mean()),
        f"{prefix}_cost_nats": float(language.nats(inner).mean()),
        f"{prefix}_out_of_scale": out_of_scale(inner),
    }


def out_of_scale(tokens: Tokens) -> float:
    """Share of the notes of phrases [N, T] that lie outside the diatonic scale that fits their phrase best."""
    notes = pitch(tokens)
    count = int((notes >= 0).sum())
    return float((count - in_scale(notes).sum()) / max(1, count))


def figures(coder: Coder, data: Phrases, pairs: int, rng: np.random.Generator) -> dict[str, float]:
    """Paths between random pairs of `data`: spherical in the latent space, decoded greedily, at the
    points between which the music changes most evenly, as `strategies.paths` takes them (`latent`), or at
    even distances (`latent_raw`); and mixed from the tokens: drawn anew at every point (`data`) or once
    for the whole path (`data_nested`, whose steps are even by construction). The language has read the
    phrases that end no path; path_cost_ends_nats is what those that do cost."""
    order = rng.permutation(len(data))
    pairs = min(pairs, len(data) // 2)
    if not pairs:
        return {}
    a, b = data.tokens[order[:pairs]], data.tokens[order[pairs : 2 * pairs]]
    rest = order[2 * pairs :]
    language = Language(data.tokens[rest if len(rest) else order])
    first, last = encode(coder, a), encode(coder, b)
    even = np.stack([slerp(first, last, float(t)) for t in np.linspace(0, 1, POINTS)], 1)
    raw = decode(coder, even)  # pairs, POINTS, T
    every = points(coder, first, last, POINTS)[2]
    evened = np.stack([way[evenly((way[:, None] != way[None]).mean(-1), POINTS)] for way in every])
    anew = rng.random(raw.shape)
    once = np.broadcast_to(rng.random((pairs, 1, raw.shape[2])), raw.shape)
    return {
        "path_pairs": pairs,
        "path_cost_ends_nats": float(language.nats(np.concatenate([a, b])).mean()),
        "path_out_of_scale_ends": out_of_scale(np.concatenate([a, b])),
        **measured(evened, language, "path_latent"),
        **measured(raw, language, "path_latent_raw"),
        **measured(mixed(a, b, POINTS, anew), language, "path_data"),
        **measured(mixed(a, b, POINTS, once), language, "path_data_nested"),
    }

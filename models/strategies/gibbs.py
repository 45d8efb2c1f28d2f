"""Pseudo-Gibbs sampling of chorales, from a blank page to a finished one in few passes.

A `Canvas` holds C candidates of one piece and the sites that may change. Three moves:

- `write` fills stretches from left to right: one step of the past LSTMs per sixteenth, for all stretches
  and candidates at once, the future hidden as far as it is being written;
- `resample` hides a random share of the sites, evaluates all conditionals in one pass over the whole
  sequence and draws the hidden ones anew (blocked Gibbs; the share is annealed: Yao et al. 2014);
- `single` is the paper's move, one site at a time given all others, as the reference.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from models.representations.chorale import MASK, TOKENS

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

ORDER = (0, 3, 1, 2)
"""In which order the voices of one step are written: soprano, bass, alto, tenor."""
WARM_UP = 24
"""Sixteenths the past LSTMs read before a stretch they write."""


@dataclass(frozen=True)
class Page:
    """A piece to write: tokens [T, 4], metadata [T, M], free [T, 4] sites that may change, and
    allowed [T, 4, TOKENS], what each of them may become (never empty at a free site)."""

    tokens: Ints
    meta: Ints
    free: Flags
    allowed: Flags


class Conditionals(Protocol):
    """What the sampler needs of a network; B sequences of T steps."""

    def logits(self, tokens: Tensor, hide: Tensor, meta: Tensor) -> Tensor:
        """[B, T, 4, TOKENS]: every site's conditional, with the sites of `hide` [B, T, 4] unknown."""
        ...

    def voice_logits(self, voice: int, tokens: Tensor, meta: Tensor) -> Tensor:
        """[B, T, TOKENS]: one voice's conditionals given everything else."""
        ...

    def writer(self, tokens: Tensor, hide: Tensor, meta: Tensor) -> Writer:
        """Prepares to write the sites of `hide` from left to right."""
        ...


class Writer(Protocol):
    """Left-to-right writing of stretches, each a sequence and a first step."""

    def start(self, sequence: Tensor, first: Tensor) -> None:
        """Begins stretches at step `first` [N] of sequences `sequence` [N]."""
        ...

    def voice(self, voice: int, present: Tensor) -> Tensor:
        """Logits [N, TOKENS] of one voice at the present step; `present` [N, 4], MASK where unknown."""
        ...

    def advance(self, present: Tensor) -> None:
        """Takes the step with tokens `present` [N, 4] as written."""
        ...


def draw(logits: Tensor, allowed: Tensor, temperature: float, uniform: Tensor) -> Tensor:
    """One token each from logits [N, TOKENS]: the inverse of the distribution function at `uniform`."""
    scaled = torch.where(allowed, logits, -torch.inf) / temperature
    cumulative = scaled.softmax(-1).cumsum(-1)
    # Rounding may leave the sum a hair below 1; the last allowed token is the limit.
    point = uniform[:, None] * cumulative[:, -1:]
    token = (cumulative <= point).sum(-1)
    return token.clamp(max=TOKENS - 1)


class Canvas:
    """C candidates of a page under way. tokens [C, T, 4] is always a whole piece once `fill` has run."""

    def __init__(
        self, net: Conditionals, page: Page, count: int, rng: np.random.Generator, device: str
    ) -> None:
        self.net, self.page, self.rng, self.device = net, page, rng, device
        self.steps = len(page.tokens)
        self.tokens = torch.from_numpy(page.tokens).to(device).repeat(count, 1, 1)
        self.meta = torch.from_numpy(page.meta).to(device)
        self.free = torch.from_numpy(page.free).to(device)
        self.allowed = torch.from_numpy(page.allowed).to(device)
        self.count = count
        self.columns = np.flatnonzero(page.free.any(axis=1))
        self.updates = 0

    def _uniform(self, *shape: int) -> Tensor:
        return torch.from_numpy(self.rng.random(shape, np.float32)).to(self.device)

    def _meta(self) -> Tensor:
        return self.meta.expand(self.count, -1, -1)

    def fill(self, temperature: float, stretch: int = 4096) -> None:
        """Writes every free site from nothing, in stretches of up to `stretch` steps side by side."""
        first, last = int(self.columns[0]), int(self.columns[-1]) + 1
        self.write(np.arange(first, last, stretch), min(stretch, last - first), temperature)

    @torch.inference_mode()
    def write(self, starts: Ints, length: int, temperature: float) -> None:
        """Rewrites the free sites of the stretches [start, start + length), all side by side."""
        starts = np.asarray(starts)
        span = np.zeros(self.steps, bool)
        for s in starts:
            span[s : s + length] = True
        hide = self.free & torch.from_numpy(span).to(self.device)[:, None]
        writer = self.net.writer(self.tokens, hide.expand(self.count, -1, -1), self._meta())
        n = len(starts) * self.count
        sequence = torch.arange(self.count, device=self.device).repeat_interleave(len(starts))
        warm = min(WARM_UP, int(starts.max()))
        begin = torch.from_numpy(np.tile(starts, self.count)).to(self.device) - warm
        writer.start(sequence, begin)
        uniform = self._uniform(length, 4, n)
        for k in range(warm + length):
            step = begin + k
            at = step.clamp(0, self.steps - 1)
            present = self.tokens[sequence, at]
            writing = k >= warm
            if writing:
                todo = hide[at] & (step < self.steps)[:, None]
                if bool(todo.any()):
                    shown = torch.where(todo, MASK, present)
                    for v in ORDER:
                        here = todo[:, v]
                        if not bool(here.any()):
                            continue
                        logits = writer.voice(v, shown)
                        token = draw(logits, self.allowed[at, v], temperature, uniform[k - warm, v])
                        shown[:, v] = torch.where(here, token, present[:, v])
                    present = shown
                    self.tokens[sequence, at] = present
                    self.updates += int(todo.sum())
            writer.advance(present)

    @torch.inference_mode()
    def resample(self, hide: Flags, temperature: float) -> None:
        """Hides the free sites of `hide` [C, T, 4] and draws them anew, all given the rest."""
        mask = torch.from_numpy(hide).to(self.device) & self.free
        logits = self.net.logits(self.tokens, mask, self._meta())
        rows = logits[mask]
        allowed = self.allowed.expand(self.count, -1, -1, -1)[mask]
        self.tokens[mask] = draw(rows, allowed, temperature, self._uniform(len(rows)))
        self.updates += len(rows)

    @torch.inference_mode()
    def single(self, voice: int, at: Ints, temperature: float) -> None:
        """Draws the sites (`at`, voice) anew, each given everything else; steps far from one another
        at a time are as good as one after the other."""
        logits = self.net.voice_logits(voice, self.tokens, self._meta())[:, at]
        n = self.count * len(at)
        allowed = self.allowed[at, voice].expand(self.count, -1, -1).reshape(n, TOKENS)
        token = draw(logits.reshape(n, TOKENS), allowed, temperature, self._uniform(n))
        self.tokens[:, at, voice] = token.view(self.count, len(at))
        self.updates += n

    @torch.inference_mode()
    def nats(self) -> npt.NDArray[np.float64]:
        """[C] mean of −log p of each free site given all others, at temperature 1."""
        nothing = torch.zeros_like(self.tokens, dtype=torch.bool)
        logits = self.net.logits(self.tokens, nothing, self._meta())
        cost = -F.log_softmax(logits, -1).gather(-1, self.tokens[..., None])[..., 0]
        free = self.free.expand_as(cost)
        return np.asarray((cost * free).sum((1, 2)).double().cpu() / max(1, int(self.free.sum())))


@dataclass(frozen=True)
class Anneal:
    """How `anneal` spends its sweeps: shares of the sites hidden at first and last (falling evenly),
    steps of a rewritten stretch, how many of the sweeps rewrite stretches, temperature of the first
    and of the last sweep as factors."""

    first_share: float = 0.5
    last_share: float = 0.03
    stretch: int = 16
    stretches: float = 0.5
    hot: float = 1.0
    cold: float = 1.0


def anneal(
    canvas: Canvas, sweeps: int, temperature: float, plan: Anneal = Anneal()
) -> Iterator[float]:
    """Improves filled candidates in `sweeps` moves; yields the fraction done after each."""
    rng = canvas.rng
    first, last = int(canvas.columns[0]), int(canvas.columns[-1]) + 1
    writes = round(sweeps * plan.stretches)
    for i in range(sweeps):
        done = i / max(1, sweeps - 1)
        heat = temperature * (plan.hot + (plan.cold - plan.hot) * done)
        if i < writes and last - first > plan.stretch:
            gap = 2 * plan.stretch
            begin = first + int(rng.integers(-plan.stretch, plan.stretch + 1))
            starts = np.arange(begin, last, gap)
            canvas.write(np.maximum(starts, first), plan.stretch, heat)
        else:
            share = plan.first_share + (plan.last_share - plan.first_share) * (
                (i - writes) / max(1, sweeps - 1 - writes)
            )
            hide = rng.random((canvas.count, canvas.steps, 4)) < share
            canvas.resample(hide, heat)
        yield (i + 1) / sweeps


def exact(canvas: Canvas, sweeps: int, temperature: float, apart: int = 32) -> Iterator[float]:
    """The paper's sampler without its windows: `sweeps` times every free site in random order, given
    all others. Sites of one voice that lie `apart` steps or more from one another go together, as
    nothing a network sees at one changes at the other but a distant state."""
    free = canvas.page.free
    for i in range(sweeps):
        groups = [(v, k) for v in range(4) for k in range(apart)]
        for j in canvas.rng.permutation(len(groups)):
            voice, k = groups[j]
            at = np.arange(k, canvas.steps, apart)
            at = at[free[at, voice]]
            if len(at):
                canvas.single(voice, at, temperature)
        yield (i + 1) / sweeps

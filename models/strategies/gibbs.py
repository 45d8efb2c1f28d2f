"""Pseudo-Gibbs sampling of chorales, from a blank page to a finished one in few passes.

A `Canvas` holds C candidates of one piece and the sites that may change. Three moves:

- `write` fills stretches from left to right: one step of the past LSTMs per sixteenth, for all stretches
  and candidates at once, the future hidden as far as it is being written;
- `mend` evaluates every conditional in one pass over the whole sequence and draws the unlikeliest sites
  anew, far enough from one another that they hardly meet;
- `single` is the paper's move, sites given all others in random order, as the reference.

Hiding a random, shrinking share of the sites and drawing them together (Yao et al. 2014; Huang et al.
2017) was measured too: its sites do not hear one another, and it left more faults than it found.
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

from models.representations.chorale import FIRST_PITCH, HOLD, MASK, TOKENS

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

ORDER = (0, 3, 1, 2)
"""In which order the voices of one step are written: soprano, bass, alto, tenor."""
SEAM = 16
"""Sixteenths on either side of where two stretches meet that are written again."""
APART = 8
"""Sixteenths between sites that `mend` draws at a time."""
SURPRISE, RULE = 1.6, 9.0
"""Nats from which a site is mended, and nats that consecutive fifths or octaves cost."""
STEADY = 0.5
"""Share of the sites `mend` draws that keep their rhythm: left free, likely holds would swallow the
unlikely short notes that make up a tenth of real music."""
COOL = 0.85
"""Temperature of the last mending sweep, as a share of the first's."""
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


class Motion:
    """How the voices of one piece move: token columns [T, 4] as sounding pitches and strikes."""

    def __init__(self, columns: Ints) -> None:
        steps = np.arange(len(columns))[:, None]
        last = np.maximum.accumulate(np.where(columns != HOLD, steps, 0), axis=0)
        self.pitch = np.take_along_axis(columns, last, 0)
        self.struck = columns >= FIRST_PITCH
        self.start = last

    def faults(self) -> Flags:
        """[T, 4] the struck notes on either side of consecutive fifths or octaves."""
        p, found = self.pitch, np.zeros(self.pitch.shape, bool)
        for v in range(4):
            for u in range(v + 1, 4):
                both = self.struck[1:, v] & self.struck[1:, u]
                sung = (p[:-1, [u, v]] >= FIRST_PITCH).all(1)
                moved = (p[1:, v] != p[:-1, v]) & (p[1:, u] != p[:-1, u])
                now, then = (p[1:, v] - p[1:, u]) % 12, (p[:-1, v] - p[:-1, u]) % 12
                at = 1 + np.flatnonzero(both & sung & moved & (now == then) & np.isin(now, (0, 7)))
                for w in (v, u):
                    found[at, w] = True
                    found[self.start[at - 1, w], w] = True
        return found

    def wrong(self, t: int, voice: int) -> Flags:
        """[TOKENS] the pitches at (t, voice) that consecutive fifths or octaves with another voice would
        lead to, or lead from to the voice's next note."""
        out = np.zeros(TOKENS, bool)
        tokens = np.arange(FIRST_PITCH, TOKENS)
        after = np.flatnonzero(self.struck[t + 1 :, voice])
        n = t + 1 + int(after[0]) if len(after) else 0
        for u in range(4):
            if u == voice:
                continue
            if t:
                there, here = int(self.pitch[t - 1, u]), int(self.pitch[t, u])
                before = int(self.pitch[t - 1, voice])
                interval = (before - there) % 12
                if here != there and min(here, there, before) >= FIRST_PITCH and interval in (0, 7):
                    out[FIRST_PITCH:] |= ((tokens - here) % 12 == interval) & (tokens != before)
            if n:
                here, there = int(self.pitch[n - 1, u]), int(self.pitch[n, u])
                target = int(self.pitch[n, voice])
                interval = (target - there) % 12
                if here != there and min(here, there) >= FIRST_PITCH and interval in (0, 7):
                    out[FIRST_PITCH:] |= ((tokens - here) % 12 == interval) & (tokens != target)
        return out


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

    def fill(self, temperature: float, stretch: int = 256) -> None:
        """Writes every free site from nothing: a short piece from its beginning to its end, a longer one
        in stretches of `stretch` steps side by side, whose seams are then written once more."""
        first, last = int(self.columns[0]), int(self.columns[-1]) + 1
        starts = np.arange(first, last, stretch)
        self.write(starts, min(stretch, last - first), temperature)
        if len(starts) > 1:
            self.write(starts[1:] - SEAM, 2 * SEAM, temperature)

    def scatter(self) -> None:
        """Puts a random allowed token on every free site: the noise a long run starts from."""
        allowed = self.allowed.expand(self.count, -1, -1, -1)[self.free.expand_as(self.tokens)]
        flat = torch.zeros(len(allowed), TOKENS, device=self.device)
        drawn = draw(flat, allowed, 1.0, self._uniform(len(allowed)))
        self.tokens[self.free.expand_as(self.tokens)] = drawn

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
    def mend(self, temperature: float, surprise: float, rule: float) -> None:
        """Draws the unlikeliest sites anew, each given everything else.

        Sites cost −log p, those in consecutive fifths or octaves `rule` nats more; from the dearest down
        to `surprise` nats they are taken unless one less than `APART` steps away has been. A pitch in
        new consecutive fifths or octaves loses `rule` nats.
        """
        nothing = torch.zeros_like(self.tokens, dtype=torch.bool)
        logits = self.net.logits(self.tokens, nothing, self._meta())
        nats = -F.log_softmax(logits, -1).gather(-1, self.tokens[..., None])[..., 0]
        cost = nats.cpu().numpy() * (0.5 + self.rng.random(nats.shape))
        columns = self.tokens.cpu().numpy()
        chosen: list[tuple[int, int, int]] = []
        wrong: list[Flags] = []
        for c in range(self.count):
            motion = Motion(columns[c])
            dear = np.where(self.page.free, cost[c] + rule * motion.faults(), -1.0)
            taken = np.zeros(self.steps + 2 * APART, bool)
            for site in np.argsort(-dear, axis=None)[: self.steps]:
                t, v = divmod(int(site), 4)
                if dear[t, v] < surprise:
                    break
                if not taken[t + APART]:
                    taken[t + 1 : t + 2 * APART] = True
                    chosen.append((c, t, v))
                    wrong.append(motion.wrong(t, v))
        if not chosen:
            return
        c, t, v = torch.tensor(chosen, device=self.device).T
        banned = torch.from_numpy(np.stack(wrong)).to(self.device)
        allowed = self.allowed[t, v].clone()
        now = self.tokens[c, t, v]
        steady = self._uniform(len(chosen)) < STEADY
        # A struck site may still have to be struck and a held one held; what is alone allowed stays so.
        allowed[steady & (now >= FIRST_PITCH), HOLD] = False
        allowed[steady & (now == HOLD), FIRST_PITCH:] = False
        self.tokens[c, t, v] = draw(
            logits[c, t, v] - rule * banned,
            allowed,
            temperature,
            self._uniform(len(chosen)),
        )
        self.updates += len(chosen)

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


def anneal(canvas: Canvas, sweeps: int, temperature: float, rule: float = RULE) -> Iterator[float]:
    """Mends filled candidates `sweeps` times while they cool; yields the fraction done after each.

    `rule` 0 leaves consecutive fifths and octaves to the networks.
    """
    for i in range(sweeps):
        done = i / max(1, sweeps - 1)
        # The last sweeps look after the faults that the ones before have left or made.
        surprise = SURPRISE if done < 0.6 or not rule else rule / 2
        canvas.mend(temperature * (1 + (COOL - 1) * done), surprise, rule)
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

"""DeepBach (Hadjeres, Pachet, Nielsen 2017): four-part chorales by pseudo-Gibbs sampling.

One network per voice. For voice v at sixteenth t it reads everything but the site itself: a past LSTM
the columns before t, a future LSTM the columns after t, and an MLP joins their states with the column
at t. Three things differ from the paper, each for a measured reason (README, decisions):
whole-sequence states (one pass of each LSTM serves every site, where the paper runs a 16-tick window
per site), masks (any part of past, present and future may be unknown, so the same network fills a
blank page from left to right and resamples blocks), and what each voice *sounds* next to its tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models import evaluation, nets, training
from models.card import Card, Objective, Param, Representation, Task, Value
from models.representations import casting, staging
from models.representations.chorale import (
    EDGE,
    FIRST_PITCH,
    LOW,
    MASK,
    TOKENS,
    VOICES,
    Chorale,
)
from models.representations.columns import (
    META_SIZES,
    Batch,
    View,
    columns,
    crops,
    gather,
    sounding,
    view,
)
from models.score import Key, UserError
from models.strategies import gibbs, masking
from models.strategies.stepwise import MOTIONS, Stepper, Tables, motions
from models.system import Ask, Context, Progress, Proposal

CARD = Card(
    id="deep_bach",
    name="DeepBach",
    source="Hadjeres, Pachet & Nielsen 2017; Briot et al. 6.14.2",
    objective=Objective(type="polyphony", destination="score", mode="interactive"),
    representation=Representation("chorale", steps_per_beat=4, hold=True, encoding="one-hot × 4"),
    architecture="(LSTM × 2, feedforward × 2) × 4",
    challenges=("control", "incrementality", "interactivity"),
    strategy=("sampling: pseudo-Gibbs",),
    tasks=(Task.CREATE, Task.ACCOMPANY, Task.REGENERATE),
    params=(
        Param("iterations", 12, 0, 500, "Sweeps over the piece after its first draft"),
        Param("temperature", 0.9, 0.1, 2.0, "Low is likely and plain, high is bold and faulty"),
        Param("keep_rhythm", False, 0, 1, "Let the voices strike where they strike now"),
        Param("phrase", 2, 0, 16, "Bars from fermata to fermata in created music, 0 for none"),
        Param("soprano", (60, 81), 21, 108, "Lowest and highest pitch"),
        Param("alto", (53, 74), 21, 108, "Lowest and highest pitch"),
        Param("tenor", (48, 69), 21, 108, "Lowest and highest pitch"),
        Param("bass", (36, 64), 21, 108, "Lowest and highest pitch"),
        Param(
            "strictness",
            5.0,
            0,
            20,
            "Against consecutive fifths and octaves, beyond what has been learned (nats)",
        ),
        Param(
            "sampler",
            "fast",
            about="exact: the paper's, one site at a time; slow, for comparison",
            choices=("fast", "exact"),
        ),
    ),
    voices=("soprano", "alto", "tenor", "bass"),
    listens="A melody for one of the four voices, the soprano as a rule; other voices are kept.",
    strengths="Chorales in Bach's manner from nothing, under a melody, or mended bar by bar.",
    weaknesses="Knows chorales in 4/4, 3/4 and 3/2 alone; no words, no large form.",
    year=2017,
    figure=".18 to .30 nats a voice given the others, 91 to 95 % right",
)

KEYS = (
    (-3, False), (-2, False), (-2, False), (-1, False), (-1, False), (0, False), (0, False),
    (1, False), (1, False), (2, False), (2, False), (3, False), (3, False),
    (-2, True), (-1, True), (-1, True), (0, True), (0, True), (0, True), (1, True), (1, True),
    (2, True),
)  # fmt: skip
"""Keys for a blank page, each as often as in the corpus: sharps, minor."""
TRUST = 12.0
"""Nats by which another key or barline must explain a melody better than the ones written."""

SHOWN = 3
"""Sweeps from one proposal of a candidate to the next."""

BATCH, STEPS = 32, 128
"""Stretches a training step sees, and sixteenths in each."""
_BFLOAT16 = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())

PITCHES = TOKENS - FIRST_PITCH


def never(device: torch.device) -> Tensor:
    """[TOKENS] to add to logits: minus infinity, or nearly, for what can't be predicted."""
    out = torch.zeros(TOKENS, device=device)
    out[MASK] = out[EDGE] = -1e9
    return out


class LockedDropout(nn.Module):
    """Dropout that drops the same units at every step of a sequence [B, T, C] (Gal & Ghahramani 2016);
    a mask per step costs a fifth of the training time in random numbers alone."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.rate:
            return x
        kept = torch.rand(x.size(0), 1, x.size(2), device=x.device) >= self.rate
        return x * (kept.to(x.dtype) / (1 - self.rate))


class TokenTable(nn.Module):
    """Vectors for tokens: one per token plus one per pitch class, so that octaves share what they can."""

    def __init__(self, tables: int, width: int, std: float) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(tables, TOKENS, width) * std)
        self.pitch_class = nn.Parameter(torch.randn(tables, 12, width) * std)
        index = torch.full((TOKENS,), 12)
        index[FIRST_PITCH:] = (torch.arange(PITCHES) + LOW) % 12
        self.index: Tensor
        self.register_buffer("index", index, persistent=False)

    def rows(self) -> Tensor:
        """[tables, TOKENS, width]"""
        return self.token + F.pad(self.pitch_class, (0, 0, 0, 1))[:, self.index]

    def forward(self, tokens: Tensor) -> Tensor:
        """[..., 4] tokens → [..., 4 × width], each voice by its own table."""
        rows = self.rows()
        return torch.cat([F.embedding(tokens[..., u], rows[u]) for u in range(len(rows))], -1)


@dataclass(frozen=True)
class Shape:
    """Sizes of a network: LSTM units and layers, width of a voice's and of the metadata's embedding,
    units of the joining layer, dropout in training."""

    units: int = 192
    layers: int = 2
    voice_width: int = 40
    meta_width: int = 32
    joined: int = 256
    dropout: float = 0.3


class VoiceNet(nn.Module):
    """The conditional distribution of one voice's tokens given all else."""

    def __init__(self, voice: int, shape: Shape) -> None:
        super().__init__()
        E, M, H = shape.voice_width, shape.meta_width, shape.units
        self.voice = voice
        self.token = TokenTable(4, E, 0.3)
        self.sound = TokenTable(4, E, 0.3)
        self.present_token = TokenTable(4, E, 0.3)
        self.present_sound = TokenTable(4, E, 0.3)
        self.before_sound = TokenTable(4, E, 0.3)
        self.meta = nn.ModuleList([nn.Embedding(n, M) for n in META_SIZES])
        widths = [4 * E + M] + [H] * (shape.layers - 1)
        self.past = nn.ModuleList([nn.LSTM(w, H, batch_first=True) for w in widths])
        self.future = nn.ModuleList([nn.LSTM(w, H, batch_first=True) for w in widths])
        self.join = nn.Linear(2 * H + 4 * E + M, shape.joined)
        self.out = TokenTable(1, shape.joined, 0.02)
        self.bias = nn.Parameter(torch.zeros(TOKENS))
        # Added to a pitch's logit for its distance from what the other voices sound, and from what
        # this voice sounded last: the part of counterpoint that does not depend on the key.
        self.interval = nn.Parameter(torch.zeros(4, 2 * PITCHES + 1))
        # Added for a pair of intervals: with another voice, from (pitch classes) to, while that voice
        # rests, rises or falls. Parallel fifths are one entry of this table, in any key.
        self.motion = nn.Parameter(torch.zeros(4, 3, 12, 12))
        self.strictness = 0.0
        """Nats against consecutive fifths and octaves, on top of what has been learned; for sampling."""
        self.dropout = LockedDropout(shape.dropout)
        self.dropout_in = LockedDropout(shape.dropout / 2)

    def interval_rows(self) -> Tensor:
        """[4, TOKENS, PITCHES]: what each voice's sounding token adds to the pitches' logits."""
        p = torch.arange(PITCHES, device=self.interval.device)
        return F.pad(self.interval[:, p[None] - p[:, None] + PITCHES], (0, 0, FIRST_PITCH, 0))

    def motion_rows(self) -> Tensor:
        """[4, MOTIONS + 1, PITCHES]: what each row that `motions` names adds to the pitches' logits."""
        device = self.motion.device
        at = (
            torch.arange(PITCHES, device=device) + LOW - torch.arange(12, device=device)[:, None]
        ) % 12
        motion: Tensor = self.motion
        if self.strictness:
            motion = motion.clone()
            for interval in (0, 7):
                motion[:, 1:, interval, interval] -= self.strictness
        return F.pad(motion[..., at].reshape(4, MOTIONS, PITCHES), (0, 0, 0, 1))

    def metadata(self, meta: Tensor) -> Tensor:
        """[B, T, 6] → [B, T, meta_width]"""
        return torch.stack([e(meta[..., i]) for i, e in enumerate(self.meta)]).sum(0)

    def past_states(self, view: View, m: Tensor) -> Tensor:
        """[B, T, units]: the state before each step, which knows nothing of the step itself."""
        h = self.dropout_in(
            torch.cat([self.token(view.past) + self.sound(view.past_sounding), m], -1)
        )
        for i, layer in enumerate(self.past):
            h, _ = layer(self.dropout(h) if i else h)
        return F.pad(h, (0, 0, 1, 0))[:, :-1]

    def future_states(self, view: View, m: Tensor) -> Tensor:
        """[B, T, units]: the state after each step, read from the end."""
        # What this voice sounds later would tell the pitch it strikes now: only its tokens are shown.
        sound = view.future_sounding.clone()
        sound[..., self.voice] = MASK
        h = self.dropout_in(torch.cat([self.token(view.future) + self.sound(sound), m], -1)).flip(1)
        for i, layer in enumerate(self.future):
            h, _ = layer(self.dropout(h) if i else h)
        return F.pad(h.flip(1), (0, 0, 0, 1))[:, 1:]

    def forward(self, view: View, meta: Tensor) -> Tensor:
        """Logits [B, T, TOKENS]; MASK and EDGE are never predicted."""
        v = self.voice
        m = self.metadata(meta)
        past, future = self.past_states(view, m), self.future_states(view, m)
        present, sound = view.present.clone(), view.present_sounding.clone()
        present[..., v] = MASK
        sound[..., v] = view.previous[..., v]
        x = self.present_token(present) + self.present_sound(sound)
        x = x + self.before_sound(view.previous)
        joined = torch.cat([past, future, x.to(past.dtype), m.to(past.dtype)], -1)
        hidden = self.dropout(F.relu(self.join(self.dropout(joined))))
        logits = F.linear(hidden, self.out.rows()[0], self.bias).float()
        moves = motions(sound, view.previous, v)
        intervals, pairs = self.interval_rows(), self.motion_rows()
        near = torch.stack(
            [F.embedding(sound[..., u], intervals[u]) for u in range(4)]
            + [F.embedding(moves[..., u], pairs[u]) for u in range(4)]
        ).sum(0)
        logits = logits + F.pad(near.float(), (FIRST_PITCH, 0))
        return logits + never(logits.device)


class Net(nn.Module):
    """Four voice networks, soprano to bass, that share nothing."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.voices = nn.ModuleList([VoiceNet(v, shape) for v in range(4)])

    def voice(self, v: int) -> VoiceNet:
        """The network of one voice."""
        return cast(VoiceNet, self.voices[v])

    def forward(self, view: View, meta: Tensor) -> Tensor:
        """Logits [B, T, 4, TOKENS]"""
        return torch.stack([net(view, meta) for net in self.voices], 2)


@dataclass(frozen=True)
class Setting:
    """A request made ready: its parameters, who sings what, the grid, and what is new in the score."""

    values: Mapping[str, Value]
    request: casting.Request
    stage: staging.Stage
    page: gibbs.Page
    fermatas: tuple[int, ...]
    keys: tuple[Key, ...]


class System:
    """DeepBach with its weights on a device."""

    card: ClassVar[Card] = CARD
    PLAN: ClassVar[dict[str, float]] = {"rate": 2e-3, "decay": 1e-2, "average": 0.998}
    WATCHED: ClassVar[str] = "cross_entropy_mean_nats"

    def __init__(self, net: Net, device: str) -> None:
        self.net = net.to(device)
        self.device = device
        self._tables: dict[float, Tables] = {}  # by strictness

    @staticmethod
    def corpus(source: training.Source) -> training.Corpus:
        """The chorales `source` stands for."""
        return training.chorales(source)

    @classmethod
    def fresh(cls, device: str = "cpu", shape: Shape | None = None) -> System:
        """An untrained DeepBach; torch's random numbers decide its weights."""
        return cls(Net(shape or Shape()), device)

    @classmethod
    def load(cls, path: Path | None = None, device: str = "cpu") -> System:
        """DeepBach with the weights at `path`, or those shipped; UserError when they don't fit."""
        return cls(nets.load(path, CARD.id, Shape, Net), device)

    def save(self, path: Path, card: Mapping[str, Any]) -> None:
        """Writes the weights (matrices in 8 bits) and `card`, to which the net's shape is added."""
        nets.save(self.net, path, card, bits=8)

    def generate(self, ask: Ask, context: Context) -> Iterator[Proposal | Progress]:
        """Creates, accompanies or regenerates; see `System`. The first proposals come after one pass
        from left to right, better ones after every sweep."""
        setting = self._set(ask, context.rng)
        canvas = gibbs.Canvas(self, setting.page, ask.count, context.rng, self.device)
        values, stage, request = setting.values, setting.stage, setting.request
        temperature, sweeps = values["temperature"], values["iterations"]
        assert isinstance(temperature, float)
        assert isinstance(sweeps, int)
        loudness = casting.velocity(request)

        def proposals(final: bool) -> Iterator[Proposal]:
            if final:
                self._prepare(0.0)
            nats = canvas.nats() if final else None
            for k in range(ask.count):
                notes = staging.written(stage, canvas.tokens[k, 1:-1].cpu().numpy(), loudness)
                yield Proposal(
                    k,
                    ask.region,
                    casting.tracks(ask, request, notes),
                    final,
                    setting.fermatas,
                    setting.keys,
                    {} if nats is None else {"nats_per_site": float(nats[k])},
                )

        yield Progress(0.0, "First draft")
        canvas.fill(temperature)
        yield from proposals(final=sweeps == 0)
        if values["sampler"] == "exact":
            run = gibbs.exact(canvas, sweeps, temperature)
        else:
            run = gibbs.anneal(canvas, sweeps, temperature, gibbs.RULE * bool(values["strictness"]))
        for sweep, fraction in enumerate(run):
            yield Progress(fraction, "Improving")
            if fraction == 1 or sweep % SHOWN == 0:
                yield from proposals(final=fraction == 1)

    def canvas(self, ask: Ask, seed: int) -> gibbs.Canvas:
        """The blank canvas of a request, for measuring the sampler's moves."""
        rng = np.random.default_rng(seed)
        return gibbs.Canvas(self, self._set(ask, rng).page, ask.count, rng, self.device)

    def _set(self, ask: Ask, rng: np.random.Generator) -> Setting:
        """The request as the sampler sees it; UserError when it can't be met."""
        values = CARD.values(ask.params)
        if ask.task not in CARD.tasks:
            raise UserError(f"DeepBach cannot {ask.task}; it can {', '.join(CARD.tasks)}.")
        request = casting.cast(ask)
        stage = staging.lay(ask.score, ask.region, request.lines, request.writable)
        blank = not any(t is not None and len(t.notes) for t in request.lines)
        new_keys: tuple[Key, ...] = ()
        new_fermatas: tuple[int, ...] = ()
        strictness = values["strictness"]
        assert isinstance(strictness, float)
        self._prepare(strictness)
        if blank and not ask.score.keys:
            sharps, minor = KEYS[int(rng.integers(len(KEYS)))]
            stage = staging.in_key(stage, sharps, minor)
            new_keys = (Key(0, sharps, minor),)
        elif not blank:
            stage = self._understood(stage, ask)
        if ask.task is Task.CREATE and blank and not ask.score.fermatas:
            phrase = values["phrase"]
            assert isinstance(phrase, int)
            stage, new_fermatas = staging.phrased(stage, phrase)
        planned = None
        if ask.task is Task.CREATE and blank:
            planned = staging.cadence(stage, self._ranges(values), rng)
        page = self._page(stage, request, values, planned)
        return Setting(values, request, stage, page, new_fermatas, new_keys)

    def _prepare(self, strictness: float) -> None:
        """Readies the networks for sampling under the rule, or, with 0, as they were learned."""
        self.net.eval()
        for v in range(4):
            self.net.voice(v).strictness = strictness

    @staticmethod
    def _ranges(values: Mapping[str, Value]) -> list[tuple[int, int]]:
        """Each voice's lowest and highest pitch as the request has them."""
        return [cast(tuple[int, int], values[voice]) for voice in VOICES]

    def _page(
        self,
        stage: staging.Stage,
        request: casting.Request,
        values: Mapping[str, Value],
        planned: npt.NDArray[np.int64] | None,
    ) -> gibbs.Page:
        """The stage with a column on either side: the edge of the piece, or what is not known.

        `planned` [T, 4] are tokens that are written but not the sampler's to change, −1 elsewhere.
        """
        rhythm = None
        if values["keep_rhythm"]:
            rhythm = [
                t.notes if t is not None and v in request.writable else None
                for v, t in enumerate(request.lines)
            ]
        may = staging.allowed(stage, self._ranges(values), stage.given.shift, rhythm)
        known, free = staging.token_columns(stage, MASK), stage.free
        if planned is not None:
            fixed = free & (planned >= 0)
            known, free = np.where(fixed, planned, known), free & ~fixed
        outer = [EDGE if there else MASK for there in (stage.starts, stage.ends)]
        token = np.pad(known, ((1, 1), (0, 0)))
        token[0], token[-1] = outer
        return gibbs.Page(
            token,
            columns(stage.given).meta,
            np.pad(free, ((1, 1), (0, 0))),
            np.pad(may, ((1, 1), (0, 0), (0, 0))),
        )

    @torch.inference_mode()
    def _understood(self, stage: staging.Stage, ask: Ask) -> staging.Stage:
        """The stage in the key and with the barlines under which what stands is likeliest.

        What the score says counts for `TRUST` nats; MIDI files often say C major and no pickup for
        want of anything better.
        """
        known = (~stage.free & stage.given.attack & (stage.given.pitch >= 0)).sum(0)
        voice = int(known.argmax())
        if known[voice] < 8:
            return stage
        first = max(0, stage.inside[0] - 16)
        part = slice(first, first + 192)

        def cost(stages: Sequence[staging.Stage]) -> npt.NDArray[np.float64]:
            """Nats of the best known voice by itself under each reading."""
            token = np.stack([staging.token_columns(s, MASK)[part] for s in stages])
            alone = np.where(np.arange(4) == voice, token, MASK)
            meta = np.stack([columns(s.given).meta[1:-1][part] for s in stages])
            logits = self.voice_logits(
                voice,
                torch.from_numpy(alone).to(self.device),
                torch.from_numpy(meta).to(self.device),
            )
            truth = torch.from_numpy(alone[..., voice]).to(self.device)
            nats = -F.log_softmax(logits, -1).gather(-1, truth[..., None])[..., 0]
            return np.asarray((nats * (truth != MASK)).sum(1).double().cpu())

        keys = [staging.in_key(stage, s, m) for s in range(-5, 7) for m in (False, True)]
        readings, handicap = [stage, *keys], np.array([0.0] + [TRUST] * len(keys))
        if not ask.score.keys:
            readings, handicap = keys, np.zeros(len(keys))
        best = readings[int((cost(readings) + handicap).argmin())]
        if ask.score.meter.pickup or len(ask.score.meter.tick) > 1:
            return best
        beats = [staging.moved(best, beat) for beat in range(4 if best.given.meter[0] == 0 else 3)]
        handicap = np.array([0.0] + [TRUST] * (len(beats) - 1))
        return beats[int((cost(beats) + handicap).argmin())]

    def _logits(self, batch: Batch, hide: masking.Hidden | None = None) -> Tensor:
        """[B, T, 4, TOKENS], in bfloat16 inside where the processor has it."""
        if hide is None:
            nothing = torch.zeros_like(batch.tokens, dtype=torch.bool)
            seen = view(batch.tokens, batch.before, nothing, nothing, nothing)
        else:
            masks = [torch.from_numpy(m).to(self.device) for m in hide]
            seen = view(batch.tokens, batch.before, *masks)
        with self._fast():
            logits: Tensor = self.net(seen, batch.meta)
        return logits

    def train(
        self, corpus: Any, context: Context, fit: training.Fit | None = None
    ) -> Iterator[Mapping[str, float]]:
        """Learns from `corpus.train` for ever: one update before each yield of the losses in nats, of
        all sites and of those that saw everything. Close it to stop."""
        fit = fit or training.Fit(self.net, training.Plan(minutes=10.0))
        self._prepare(0.0)
        self._tables = {}
        while True:
            self.net.train()
            batch = crops(context.rng, corpus.train, BATCH, STEPS, self.device)
            hide = masking.hidden(context.rng, BATCH, STEPS)
            logits = self._logits(batch, hide)
            loss = F.cross_entropy(
                logits.flatten(0, 2), batch.tokens.flatten(), ignore_index=EDGE, reduction="none"
            ).view(batch.tokens.shape)
            real = batch.tokens != EDGE
            seeing = torch.from_numpy(hide.nothing).to(self.device)
            full = float(loss.detach()[seeing].sum() / real[seeing].sum().clamp(min=1))
            total = fit.update(loss.sum() / real.sum())
            yield {"loss_nats": total, "loss_full_nats": full}

    def logits(self, tokens: Tensor, hide: Tensor, meta: Tensor) -> Tensor:
        """[B, T, 4, TOKENS]: every site's conditional with the sites of `hide` [B, T, 4] unknown."""
        with self._fast():
            out: Tensor = self.net(view(tokens, self._unknown(tokens), hide, hide, hide), meta)
        return out

    def voice_logits(self, voice: int, tokens: Tensor, meta: Tensor) -> Tensor:
        """[B, T, TOKENS]: one voice's conditionals given everything else."""
        no = torch.zeros_like(tokens, dtype=torch.bool)
        with self._fast():
            out: Tensor = self.net.voice(voice)(
                view(tokens, self._unknown(tokens), no, no, no), meta
            )
        return out

    def writer(self, tokens: Tensor, hide: Tensor, meta: Tensor) -> Stepper:
        """Prepares to write the sites of `hide` from left to right; all sequences share `meta[0]`."""
        strictness = self.net.voice(0).strictness
        if strictness not in self._tables:
            self._tables = {strictness: Tables([self.net.voice(v) for v in range(4)])}
        no = torch.zeros_like(hide)
        before = self._unknown(tokens)
        seen = view(tokens, before, no, no, hide)
        with self._fast():
            nets = [self.net.voice(v) for v in range(4)]
            vectors = [net.metadata(meta) for net in nets]
            future = [
                net.future_states(seen, m).float() for net, m in zip(nets, vectors, strict=True)
            ]
        metadata = torch.stack([m[0] for m in vectors])
        return Stepper(
            self._tables[strictness], sounding(tokens, before), torch.stack(future), metadata
        )

    def _unknown(self, tokens: Tensor) -> Tensor:
        return torch.full((len(tokens), 4), MASK, device=tokens.device)

    def _fast(self) -> Any:
        """Inside, matrix products are in bfloat16 where the processor has it."""
        kind = self.device.split(":")[0]
        fast = kind == "cuda" or (kind == "cpu" and _BFLOAT16)
        return torch.autocast(kind, dtype=torch.bfloat16, enabled=fast)

    def conditionals(self, data: Sequence[Chorale]) -> Iterator[tuple[Chorale, Tensor]]:
        """For each chorale the log probabilities [T, 4, TOKENS] of every site given all others."""
        self._prepare(0.0)
        order = sorted(data, key=len)
        for i in range(0, len(order), 16):
            part = order[i : i + 16]
            with torch.inference_mode():
                logits = self._logits(gather([columns(c) for c in part], self.device))
            for chorale, rows in zip(part, logits, strict=True):
                yield chorale, F.log_softmax(rows[1 : len(chorale) + 1], -1).cpu()

    def watch(self, data: Any, context: Context) -> Mapping[str, float]:
        """What training is stopped by; the same as `evaluate`."""
        return self.evaluate(data, context)

    def evaluate(self, data: Any, context: Context) -> Mapping[str, float]:
        """Note-wise cross-entropy (nats) and accuracy of each voice given all else, at temperature 1,
        over all sixteenths and over onsets alone."""
        return evaluation.note_wise(self.conditionals(data))

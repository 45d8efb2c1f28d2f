"""Training: the loop systems share, and `train`, which carries one system from nothing to weights."""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from models import catalogue, corpora, evaluation, latent_sliders, tunes, weights
from models.card import Task
from models.representations import melody, note_step, pianoroll
from models.score import Score, UserError
from models.system import Context

SAVE_EVERY_SECONDS = 180.0
RUN = 12
"""Notes in a row that two tunes do not share by chance."""


@dataclass(frozen=True)
class Corpus:
    """What a system learns from, and what it is watched on: sequences of chorales, or phrases of melody
    (`melody.Phrases`). `report` counts what was read and dropped; `license` is that of weights learnt from it."""

    train: Any
    valid: Any
    name: str = "music21's Bach chorales"
    split: str = "assets/chorales_split.json, train and valid only"
    attribution: str = "Johann Sebastian Bach, public domain; encodings distributed with music21"
    report: Mapping[str, int] = field(default_factory=dict)
    license: str = "MIT"


Source = str | Path | Sequence[tuple[Path, Score]] | pianoroll.Rolls | None
"""Where a corpus comes from: None for the bundled one, a path for that and a folder besides, scores with
their names or a file of piano rolls for those alone."""


@dataclass(frozen=True)
class Plan:
    """How long and how: `minutes` of wall clock; the learning rate rises for `warm_up` steps and falls
    along a cosine to a fiftieth of `rate`; `decay` is AdamW's; `average` the moving average's memory."""

    minutes: float
    rate: float = 2e-3
    warm_up: int = 100
    decay: float = 1e-2
    average: float = 0.998
    state: Path | None = None
    now: Callable[[], float] = time.monotonic


class Fit:
    """One training run: steps AdamW on a net and keeps a moving average of its weights.

    `state` of the plan, if given, is read at the start when it exists (the run goes on from there)
    and written by `save`.
    """

    def __init__(self, net: nn.Module, plan: Plan) -> None:
        self.net, self.plan = net, plan
        self.optimizer = torch.optim.AdamW(
            net.parameters(), lr=plan.rate, weight_decay=plan.decay, betas=(0.9, 0.99)
        )
        self.mean = {n: p.detach().clone() for n, p in net.named_parameters()}
        self.step = 0
        self._before = 0.0  # seconds spent in runs before this one
        self._began = plan.now()
        if plan.state is not None and plan.state.is_file():
            self._restore(plan.state)

    @property
    def seconds(self) -> float:
        """Seconds of training so far, earlier runs included."""
        return self._before + self.plan.now() - self._began

    @property
    def fraction(self) -> float:
        """How much of the time is spent, 0–1."""
        return min(1.0, self.seconds / (60 * self.plan.minutes))

    def update(self, loss: Tensor) -> float:
        """One step down `loss`; returns it as a number."""
        fall = 0.5 * (1 + math.cos(math.pi * self.fraction)) * 0.98 + 0.02
        rate = self.plan.rate * min(1.0, (self.step + 1) / self.plan.warm_up) * fall
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        weight = 1 - min(self.plan.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, parameter in self.net.named_parameters():
                self.mean[name].lerp_(parameter, weight)
        return float(loss.detach())

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside, the net has the averaged weights and is in evaluation mode."""
        live = {n: p.detach().clone() for n, p in self.net.named_parameters()}
        self._put(self.mean)
        self.net.eval()
        try:
            yield
        finally:
            self._put(live)
            self.net.train()

    def _put(self, values: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, parameter in self.net.named_parameters():
                parameter.copy_(values[name])

    def save(self) -> None:
        """Writes all that `_restore` needs to go on."""
        if self.plan.state is None:
            return
        tensors = {f"mean/{n}": t for n, t in self.mean.items()}
        for name, parameter in self.net.named_parameters():
            tensors[f"live/{name}"] = parameter.detach()
            kept = self.optimizer.state.get(parameter, {})
            for key, value in kept.items():
                tensors[f"{key}/{name}"] = value
        tensors["clock"] = torch.tensor([self.step, self.seconds], dtype=torch.float64)
        partial = self.plan.state.with_name(self.plan.state.name + ".partial")
        save_file({n: t.contiguous() for n, t in tensors.items()}, partial)
        partial.replace(self.plan.state)

    def _restore(self, path: Path) -> None:
        tensors = load_file(path)
        self._put({n: tensors[f"live/{n}"] for n, _ in self.net.named_parameters()})
        self.mean = {n: tensors[f"mean/{n}"] for n in self.mean}
        for name, parameter in self.net.named_parameters():
            if f"exp_avg/{name}" in tensors:
                self.optimizer.state[parameter] = {
                    key: tensors[f"{key}/{name}"] for key in ("step", "exp_avg", "exp_avg_sq")
                }
        self.step = int(tensors["clock"][0])
        self._before = float(tensors["clock"][1])


def chorales(source: Source) -> Corpus:
    """A corpus of chorales; UserError when `source` can't be one."""
    if source is None:
        return Corpus(corpora.load("train"), corpora.load("valid"))
    if isinstance(source, str | Path):
        raise UserError(f"{source} is not for training on; leave --corpus out or name a folder.")
    if isinstance(source, pianoroll.Rolls):
        raise _no_rolls(source)
    pieces = evaluation.chorales(source)
    valid = pieces[::10] if len(pieces) > 1 else pieces
    train = [p for i, p in enumerate(pieces) if i % 10] or pieces
    return Corpus(
        train, valid, "the user's own scores", "every tenth to validate", "the user's own"
    )


def _no_rolls(source: pianoroll.Rolls) -> UserError:
    return UserError(f"{source.path} holds piano rolls; this system learns from scores.")


def rolls(source: Source, per_beat: int, white: bool = True) -> Corpus:
    """A corpus of piano rolls (`pianoroll.Roll`): the bundled chorales at so many steps a quarter, the
    user's own scores on that grid, or those of a file as they are. The first two are moved to white keys
    unless `white` is off. UserError when there are none."""
    if source is None:
        halves = [
            [pianoroll.of_chorale(c, per_beat, white) for c in corpora.load(split)]
            for split in ("train", "valid")
        ]
        return Corpus(halves[0], halves[1])
    if isinstance(source, str | Path):
        raise UserError(f"{source} is not for training on; leave --corpus out or name a folder.")
    if isinstance(source, pianoroll.Rolls):
        valid = source.valid or source.pieces
        return Corpus(
            source.pieces, valid, source.path.stem, "as the file and the one beside it say",
            "polyphonic sets of Boulanger-Lewandowski et al. 2012",
            license="not for distribution: the data states no licence, and these weights are to measure with",
        )  # fmt: skip
    own = [pianoroll.of_score(score, path.name, per_beat, white) for path, score in source]
    own = [roll for roll in own if roll.sounds.any()]
    if not own:
        raise UserError("The corpus has no pitched notes; name a folder with music in it.")
    train = [p for i, p in enumerate(own) if i % 10] or own
    return Corpus(
        train, own[::10], "the user's own scores", "every tenth to validate", "the user's own"
    )


def melodies(source: Source) -> Corpus:
    """A corpus of whole tunes (`tunes.Tune`), split as `melody.sides` says; tunes to validate on that
    share RUN notes in any transposition with one to train on are left out. UserError when `source` has
    too few."""
    found, name, credit = _tunes(source)
    side = melody.sides(found)
    train = [t for t, v in zip(found, side, strict=True) if not v]
    known = {run for tune in train for run in note_step.runs(tune, RUN)}
    aside = [t for t, v in zip(found, side, strict=True) if v]
    valid = [t for t in aside if known.isdisjoint(note_step.runs(t, RUN))]
    if not train or not valid:
        raise UserError("The corpus has too few melodies to train and validate on; add tunes.")
    report = {
        "tunes": len(found),
        "tunes_train": len(train),
        "tunes_valid": len(valid),
        "tunes_valid_also_in_train": len(aside) - len(valid),
    }
    return Corpus(train, valid, name, "assets/tunes_split.json", credit, report)


def phrases(source: Source, bars: int) -> Corpus:
    """A corpus of melodies, in windows of `bars` bars; UserError when `source` has too few."""
    found, name, credit = _tunes(source)
    made = melody.material(found, bars)
    if not len(made.train) or not len(made.valid):
        raise UserError(
            f"The corpus has too few runs of {bars} bars in 4/4 to train and validate on; add tunes."
        )
    return Corpus(made.train, made.valid, name, "assets/tunes_split.json", credit, made.report)


def _tunes(source: Source) -> tuple[list[tunes.Tune], str, str]:
    """The tunes of a source, its name, and whom to thank for it."""
    if source is None or isinstance(source, Path):
        found = tunes.load(folder=source)
        name = "Essen, O'Neill's 1850, Ryan's Mammoth, Aird's, Bach's sopranos (all with music21)"
        name += f" and {source.name}" if source else ""
        credit = "traditional and public domain; encodings distributed with music21"
        credit += f"; {source.name}: see its own licence" if source else ""
    elif isinstance(source, str):
        raise UserError(f"{source} is not for training on; leave --corpus out or name a folder.")
    elif isinstance(source, pianoroll.Rolls):
        raise _no_rolls(source)
    else:
        own = [tunes.from_score(score, f"own/{path.name}") for path, score in source]
        found = [tune for tune in own if tune is not None]
        name = credit = "the user's own"
    return found, name, credit


def _best(out: Path, system_id: str, watched: str) -> float:
    """The figure watched of the weights an interrupted run has written, infinite when it has none."""
    if not out.is_file():
        return math.inf
    _, card = weights.load(out, system_id)
    return float(card["figures_valid"][watched])


def shaped(system_id: str, sizes: Mapping[str, str]) -> Any:
    """The system's Shape with some of its fields other than usual, as a command line wrote them; None when
    there are none. UserError for a field it lacks or a value that does not fit."""
    if not sizes:
        return None
    kind = getattr(importlib.import_module(f"models.systems.{system_id}"), "Shape", None)
    shape: Any = kind() if kind else None
    for name, text in sizes.items():
        known = vars(shape) if shape else {}
        if name not in known:
            has = ", ".join(known) or "nothing to set"
            raise UserError(f"The shape of {system_id} has no {name!r}; it has: {has}.")
        try:
            shape = replace(shape, **{name: type(known[name])(text)})
        except ValueError:
            raise UserError(f"--shape {name}={text}: give a number like {known[name]}.") from None
    return shape


def train(
    system_id: str,
    corpus: Corpus | Source,
    minutes: float,
    seed: int,
    device: str,
    out: Path,
    threads: int | None = None,
    sizes: Mapping[str, str] | None = None,
) -> Iterator[Mapping[str, float]]:
    """Trains a system for `minutes` of wall clock and writes `out` and its card.

    Yields one record of figures at a time: minutes, step, loss_nats and, now and then, the figures on
    the validation half. The weights in `out` are replaced every few minutes when the validation half has
    become likelier under them (so a run that goes on too long does no harm); `out` with the suffix
    .resume holds the run's state, so calling again with the same arguments goes on where it stopped.
    At the end a system that can reshape gets a space beside its weights (`models.space`).
    What `corpus` stands for is the system's affair (its `corpus`); `sizes` are those of its net that are
    not as usual (`shaped`). UserError when the system can't be trained on that or `out` not be written.
    """
    catalogue.card(system_id)
    if threads:
        torch.set_num_threads(threads)
    torch.manual_seed(seed)
    shape = shaped(system_id, sizes or {})
    kind = importlib.import_module(f"models.systems.{system_id}").System
    system = kind.fresh(device, shape) if shape else kind.fresh(device)
    found: Corpus = corpus if isinstance(corpus, Corpus) else system.corpus(corpus)
    if not hasattr(system, "net"):
        yield from _tabulate(system, found, seed, device, out)
        return
    state = out.with_suffix(".resume")
    fit = Fit(system.net, Plan(minutes, state=state, **system.PLAN))
    context = Context(rng=np.random.default_rng([seed, fit.step]), device=device)

    def write(figures: Mapping[str, float]) -> None:
        card = _card(system_id, found, seed, figures)
        card |= {"minutes": round(fit.seconds / 60, 1), "steps": fit.step}
        try:
            if figures[system.WATCHED] <= best:
                system.save(out, card)
            fit.save()
        except OSError as error:
            raise UserError(f"{out} could not be written ({error.strerror}).") from None

    saved = plan_now = fit.plan.now()
    best = _best(out, system_id, system.WATCHED) if fit.step else math.inf
    for record in system.train(found, context, fit):
        plan_now = fit.plan.now()
        figures: dict[str, float] = {}
        done = fit.fraction >= 1
        if done or plan_now - saved > SAVE_EVERY_SECONDS:
            with fit.averaged():
                figures = dict(system.watch(found.valid, context))
                write(figures)
                best = min(best, figures[system.WATCHED])
            saved = plan_now
        yield {"minutes": fit.seconds / 60, "step": fit.step, **record, **figures}
        if done:
            state.unlink(missing_ok=True)
            if Task.RESHAPE in system.card.tasks:
                latent_sliders.write(system_id, out, found, seed, device)
            return


def _card(
    system_id: str, corpus: Corpus, seed: int, figures: Mapping[str, float]
) -> dict[str, Any]:
    """What is said beside the weights of where they come from."""
    return {
        "system": system_id,
        "corpus": f"{corpus.name}: {len(corpus.train)} to train, {len(corpus.valid)} to validate",
        "split": corpus.split,
        "attribution": corpus.attribution,
        **({"report": dict(corpus.report)} if corpus.report else {}),
        "license": corpus.license,
        "seed": seed,
        "figures_valid": {name: round(value, 4) for name, value in figures.items()},
    }


def _tabulate(
    system: Any, corpus: Corpus, seed: int, device: str, out: Path
) -> Iterator[Mapping[str, float]]:
    """Training of a system that counts: it has no net, and is done when its `train` ends."""
    context = Context(rng=np.random.default_rng(seed), device=device)
    began = time.monotonic()
    for step, record in enumerate(system.train(corpus, context), 1):
        yield {"minutes": (time.monotonic() - began) / 60, "step": step, **record}
    figures = dict(system.watch(corpus.valid, context))
    try:
        system.save(out, _card(system.card.id, corpus, seed, figures))
    except OSError as error:
        raise UserError(f"{out} could not be written ({error.strerror}).") from None
    yield {"minutes": (time.monotonic() - began) / 60, **figures}

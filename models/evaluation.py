"""Figures: how likely a model finds real music, and how alike sampled and real music are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models import catalogue, corpora, latent_sliders, likeness, space, tunes
from models.card import Task
from models.representations import casting, melody, pianoroll, staging
from models.representations import chorale as grid
from models.representations.chorale import FIRST_PITCH, HOLD, TOKENS, VOICES, Chorale, tokens
from models.score import Region, Score, UserError
from models.system import Ask, Context, Proposal
from models.timebase import SIXTEENTH

Pieces = Iterable[tuple[Chorale, Tensor]]


def note_wise(pieces: Pieces, prefix: str = "") -> dict[str, float]:
    """Cross-entropy in nats and accuracy per voice of log probabilities [T, 4, TOKENS] against the
    chorales they are for, over all sixteenths and over onsets alone, and the means over voices.

    A voice whose probabilities are not numbers is left out.
    """
    nats = np.zeros((2, 4))
    right = np.zeros((2, 4))
    count = np.zeros((2, 4))
    for chorale, log_probability in pieces:
        truth = tokens(chorale)
        rows = log_probability.float().numpy()
        cost = -np.take_along_axis(rows, truth[..., None], -1)[..., 0]
        hit = rows.argmax(-1) == truth
        for kind, sites in enumerate((np.ones_like(hit), truth != HOLD)):
            nats[kind] += np.where(sites, cost, 0).sum(0)
            right[kind] += (hit & sites).sum(0)
            count[kind] += sites.sum(0)
    figures: dict[str, float] = {}
    for kind, word in enumerate(("", "onsets_")):
        known = [v for v in range(4) if np.isfinite(nats[kind, v]) and count[kind, v]]
        for v in known:
            voice = f"{word}{VOICES[v]}"
            figures[f"{prefix}cross_entropy_{voice}_nats"] = nats[kind, v] / count[kind, v]
            figures[f"{prefix}accuracy_{voice}"] = right[kind, v] / count[kind, v]
        if known:
            each = nats[kind, known] / count[kind, known]
            hits = right[kind, known] / count[kind, known]
            figures[f"{prefix}cross_entropy_{word}mean_nats"] = each.mean()
            figures[f"{prefix}accuracy_{word}mean"] = hits.mean()
    return {name: float(value) for name, value in figures.items()}


def unigram(train: Sequence[Chorale], data: Sequence[Chorale]) -> Iterator[tuple[Chorale, Tensor]]:
    """The baseline that knows how often each voice has each token, and nothing else."""
    count = np.ones((4, TOKENS))
    for chorale in train:
        for v, column in enumerate(tokens(chorale).T):
            count[v] += np.bincount(column, minlength=TOKENS)
    rows = torch.from_numpy(np.log(count / count.sum(1, keepdims=True)))
    for chorale in data:
        yield chorale, rows.expand(len(chorale), 4, TOKENS)


def _sounding(table: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """[T, 4] what each voice sounds, as a token, for token columns."""
    steps = np.arange(len(table))[:, None]
    last = np.maximum.accumulate(np.where(table != HOLD, steps, 0), axis=0)
    return np.asarray(np.take_along_axis(table, last, 0))


def hold_previous(
    train: Sequence[Chorale], data: Sequence[Chorale]
) -> Iterator[tuple[Chorale, Tensor]]:
    """The baseline that bets on a hold with each voice's own odds, and otherwise on a melodic step from
    the note before, as often as that voice takes it (a twentieth goes to the voice's onsets at large).
    """
    onsets = np.ones((4, TOKENS))
    onsets[:, HOLD] = 0
    moves = np.ones((4, 2 * TOKENS))
    holds = np.zeros(4)
    steps = 0
    for chorale in train:
        table = tokens(chorale)
        sound = _sounding(table)
        holds += (table == HOLD).sum(0)
        steps += len(table)
        for v in range(4):
            onsets[v] += np.bincount(table[table[:, v] != HOLD, v], minlength=TOKENS)
            now, then = table[1:, v], sound[:-1, v]
            step = (now - then)[(now >= FIRST_PITCH) & (then >= FIRST_PITCH)]
            moves[v] += np.bincount(step + TOKENS, minlength=2 * TOKENS)
    onsets /= onsets.sum(1, keepdims=True)
    moves /= moves.sum(1, keepdims=True)
    pitches = np.arange(FIRST_PITCH, TOKENS)
    for chorale in data:
        sound = _sounding(tokens(chorale))
        p = np.tile(onsets, (len(chorale), 1, 1))
        for v in range(4):
            then = np.append(0, sound[:-1, v])
            known = np.flatnonzero(then >= FIRST_PITCH)
            near = moves[v][pitches - then[known, None] + TOKENS]
            p[known, v] *= 0.05
            p[known, v, FIRST_PITCH:] += 0.95 * near / near.sum(1, keepdims=True)
        p *= (1 - holds / steps)[:, None]
        p[..., HOLD] = holds / steps
        yield chorale, torch.from_numpy(np.log(p + 1e-12))


def chorales(scores: Sequence[tuple[Path, Score]]) -> list[Chorale]:
    """Chorales from a user's scores of four voices; UserError when one is none."""
    return [from_score(score, path.name) for path, score in scores]


def from_score(score: Score, name: str) -> Chorale:
    """A score of four tracks on the grid, soprano to bass; UserError when it has not four."""
    sung = [t for t in score.tracks if len(t.notes) and t.channel != 9]
    if len(sung) != 4:
        raise UserError(f"{name} has {len(sung)} tracks with notes; a chorale has four.")
    region = Region(0, max(SIXTEENTH, score.length))
    lines = casting.match(sung, region)
    try:
        stage = staging.lay(score, region, lines, ())
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    return stage.given


def evaluate(
    system_id: str,
    data: str | Sequence[tuple[Path, Score]] | pianoroll.Rolls | None = None,
    *,
    weights: Path | None = None,
    samples: int = 0,
    attributes: bool = False,
    seed: int = 0,
    device: str = "cpu",
) -> dict[str, float]:
    """All figures of a system on `data`: None or "valid", "test" (chorales alone), scores with their
    names, or a file of piano rolls.

    With `samples`, that many chorales are made (half from nothing, half under a soprano of the data) and
    compared with the data; the same figures of real Bach (training pieces) stand beside, under real_….
    With `attributes`, the figures are those of a latent system's sliders instead.
    """
    system = catalogue.load(system_id, weights, device)
    context = Context(np.random.default_rng(seed), device, weights)
    if attributes and Task.RESHAPE not in system.card.tasks:
        raise UserError(f"{system.card.name} has no attribute sliders; leave --attributes out.")
    if isinstance(data, pianoroll.Rolls):
        if system.card.representation.name != "pianoroll":
            raise UserError(
                f"{data.path} holds piano rolls, which {system.card.name} does not read."
            )
        if samples:
            raise UserError(f"{system.card.name} writes no chorales; leave --samples out.")
        return dict(system.evaluate(data.pieces, context))
    if system.card.representation.name != "chorale":
        if samples:
            raise UserError(f"{system.card.name} writes no chorales; leave --samples out.")
        return _melodies(system, data, attributes, context)
    pieces = held(data)
    figures = dict(system.evaluate(pieces, context))
    train = corpora.load("train")
    figures |= note_wise(hold_previous(train, pieces), "hold_previous_")
    figures |= note_wise(unigram(train, pieces), "unigram_")
    if samples:
        made = list(sample(system, pieces, samples, seed, device))
        figures |= likeness.distances(made, pieces)
        chosen = np.random.default_rng(seed).permutation(len(train))[:samples]
        real = likeness.distances([train[int(i)] for i in chosen], pieces)
        figures |= {f"real_{name}": value for name, value in real.items()}
        figures |= {f"data_{name}": value for name, value in likeness.rates(pieces).items()}
    return figures


def held(data: str | Sequence[tuple[Path, Score]] | None) -> list[Chorale]:
    """The chorales that `data` names."""
    if data is None or data == "valid":
        return corpora.load("valid")
    if data == "test":
        return corpora.held_out()
    if isinstance(data, str):
        raise UserError(f"There is no data {data!r}; say valid, test, or name a file or folder.")
    return chorales(data)


def _melodies(
    system: Any,
    data: str | Sequence[tuple[Path, Score]] | None,
    attributes: bool,
    context: Context,
) -> dict[str, float]:
    """The figures of a system that writes melodies; those of its sliders if `attributes`."""
    if isinstance(data, str) and data != "valid":
        raise UserError(f"{system.card.name} has no data {data!r}; say valid, or name a folder.")
    data = None if isinstance(data, str) else data
    if system.card.representation.name != "melody":
        return dict(system.evaluate(system.corpus(data).valid, context))
    held_out, report = phrases(data, system.bars)
    counts = {f"corpus_{name}": count for name, count in report.items()}
    if not attributes:
        return {**system.evaluate(held_out, context), **counts}
    path = space.beside(context.weights) if context.weights else space.shipped(system.card.id)
    if path is None:
        raise UserError(
            f"{system.card.name} has no attribute vectors yet; train it, or learn them."
        )
    found = space.load(path, system.card.id)
    if found.latent != system.latent:
        raise UserError(f"{path} was learnt with other weights; learn it again.")
    return latent_sliders.figures(system, found, held_out)


def phrases(
    scores: Sequence[tuple[Path, Score]] | None, bars: int
) -> tuple[melody.Phrases, Mapping[str, int]]:
    """Phrases of so many bars to measure a system on, and how they came about: those of the bundled tunes
    that are for validation, or all of the melodies of `scores`. UserError when there are none."""
    if scores is None:
        made = melody.material(tunes.load(), bars)
        return made.valid, made.report
    own = [tunes.from_score(score, f"own/{path.name}") for path, score in scores]
    made = melody.material([tune for tune in own if tune is not None], bars)
    both = (made.train, made.valid)
    if not sum(map(len, both)):
        raise UserError(
            f"{scores[0][0].parent if len(scores) > 1 else scores[0][0]} has no run of {bars} bars of "
            "melody in 4/4 on the grid of sixteenths; choose other music."
        )
    joined = melody.Phrases(
        np.concatenate([p.tokens for p in both]),
        np.concatenate([p.tune for p in both]),
        np.concatenate([p.sharps for p in both]),
        np.concatenate([p.minor for p in both]),
        made.train.names,
    )
    return joined, made.report


def sample(
    system: Any, pieces: Sequence[Chorale], count: int, seed: int, device: str
) -> Iterator[Chorale]:
    """Chorales made by a system as a user would ask for them: for each of `count` pieces in turn, one
    from nothing in its metre, key and length, then one under its soprano."""
    order = np.random.default_rng(seed).permutation(len(pieces))
    tasks = [t for t in (Task.CREATE, Task.ACCOMPANY) if t in system.card.tasks]
    made = tried = 0
    while made < count:
        if tried >= 4 * count + len(pieces):
            raise UserError(f"{system.card.name} could not make {count} chorales from this data.")
        piece = pieces[int(order[tried % len(order)])]
        task = tasks[tried % len(tasks)]
        tried += 1
        whole = staging.score_of(piece)
        if task is Task.CREATE:
            score = staging.without_notes(whole)
        else:
            score = staging.only(whole, 0)
        ids = frozenset(t.id for t in score.tracks if not len(t.notes))
        melody = None if task is Task.CREATE else score.tracks[0].id
        region = Region(0, len(piece) * SIXTEENTH, ids)
        ask = Ask(task, score, region, system.card.values(), seed + tried, 1, melody)
        last = None
        try:
            for step in system.generate(ask, Context(np.random.default_rng(ask.seed), device)):
                last = step if isinstance(step, Proposal) else last
        except UserError:
            continue  # e.g. a metre the system does not know
        if last is not None:
            made += 1
            yield from_score_like(last.apply(score), piece)


def from_score_like(score: Score, piece: Chorale) -> Chorale:
    """A made score on the grid, with the metadata of the piece it was made for."""
    lines = tuple(score.named(voice) for voice in VOICES)
    region = Region(0, len(piece) * SIXTEENTH)
    stage = staging.lay(score, region, lines, ())
    return grid.Chorale(
        piece.name, stage.given.pitch, stage.given.attack, piece.fermata,
        piece.position, piece.meter, piece.sharps, piece.mode,
    )  # fmt: skip

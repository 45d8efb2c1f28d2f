"""Phrases: stretches of music taken out of a score as values, and the paths that systems lay between two."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from models.score import NO_CONTROLS, Notes, Region, Score, Track, UserError
from models.system import Proposal
from models.timebase import SIXTEENTH, MeterMap, TempoMap

SLIVER = SIXTEENTH // 2
"""What is left of a note that a barline cuts is left out when it is shorter than so many ticks."""


@dataclass(frozen=True)
class Phrase:
    """Some bars of one line, as music of its own.

    `score` has that one track and begins at tick 0; `length` is its bars in ticks; `source` says where it
    came from. `track` is that track's id in the document and `start` its tick there, None when it came
    from elsewhere.
    """

    score: Score
    length: int
    source: str
    track: int | None = None
    start: int | None = None

    @property
    def notes(self) -> Notes:
        """Its notes, from tick 0 on."""
        return self.score.tracks[0].notes

    def elsewhere(self) -> Phrase:
        """The same music, no longer tied to a place in the document."""
        return replace(self, track=None, start=None)


def clipped(notes: Notes, start: int, end: int) -> Notes:
    """The notes that sound in [start, end), cut at both edges; slivers that a cut leaves are left out."""
    notes = notes.where(notes.sounding(start, end))
    onset, stop = np.maximum(notes.onset, start), np.minimum(notes.end, end)
    whole = (onset == notes.onset) & (stop == notes.end)
    return notes.with_(onset=onset, duration=stop - onset).where(whole | (stop - onset >= SLIVER))


def of_bars(score: Score, track_id: int, start: int, end: int, source: str) -> Phrase:
    """The bars [start, end) of a track; UserError when they are silent."""
    return _phrase(score, score.track(track_id), start, end, source)


def groups(score: Score, ids: npt.NDArray[np.int64], bars: int) -> tuple[Region, ...]:
    """The phrases among the notes of these ids: the bars that follow one another, of each track.

    When that is one run only, it is cut into phrases of `bars` bars.
    """
    found = []
    for track in score.tracks:
        notes = track.notes.where(track.notes.having(ids))
        touched: set[int] = set()
        for onset, end in zip(notes.onset.tolist(), notes.end.tolist(), strict=True):
            first, last = score.meter.position(onset).bar, score.meter.position(end - 1).bar
            touched.update(range(first, last + 1))
        run: list[int] = []
        for bar in [*sorted(touched), -1]:
            if run and bar != run[-1] + 1:
                found.append((track.id, run[0], run[-1] + 1))
                run = []
            run.append(bar)
    if len(found) == 1:
        track_id, start, stop = found[0]
        found = [(track_id, b, min(b + bars, stop)) for b in range(start, stop, bars)]
    return tuple(
        Region(score.meter.bar_start(a), score.meter.bar_start(b), frozenset({i}))
        for i, a, b in found
    )


def sounds(score: Score, region: Region) -> bool:
    """Whether anything sounds in the region."""
    return any(
        t.notes.sounding(region.start, region.end).any()
        for t in score.tracks
        if t.id in region.tracks
    )


def of_piece(score: Score, source: str) -> Phrase:
    """The first track with notes of a piece, whole, as from a file; UserError when there is none."""
    track = next((t for t in score.tracks if len(t.notes)), None)
    if track is None:
        raise UserError(f"{source} has no notes; drop a file with a melody.")
    last = score.meter.position(track.notes.length - 1).bar
    phrase = _phrase(score, track, 0, score.meter.bar_start(last + 1), source)
    return phrase.elsewhere()


def _phrase(score: Score, track: Track, start: int, end: int, source: str) -> Phrase:
    notes = clipped(track.notes, start, end)
    if not len(notes):
        raise UserError(
            f"{track.name or 'The track'} is silent there: select notes, or mark bars that have some."
        )
    notes = notes.with_(onset=notes.onset - start, locked=False)
    inside = (score.meter.tick > start) & (score.meter.tick < end)
    first = score.meter.at(start)
    meter = MeterMap(
        np.append(0, score.meter.tick[inside] - start),
        np.append(first[0], score.meter.numerator[inside]),
        np.append(first[1], score.meter.denominator[inside]),
        pickup=score.meter.pickup if start == 0 else 0,
    )
    key = score.key_at(start)
    piece = Score(
        (replace(track, notes=notes, controls=NO_CONTROLS, muted=False, soloed=False),),
        TempoMap.constant(score.tempo.bpm(start)),
        meter,
        () if key is None else (key._replace(tick=0),),
        title=source,
    )
    return Phrase(piece, end - start, source, track.id, start)


@dataclass(frozen=True)
class Path:
    """What a system laid between two phrases: `steps`, each as notes from its own tick 0, all of
    `length` ticks, and the proposal they were cut from."""

    steps: tuple[Notes, ...]
    length: int
    proposal: Proposal

    @property
    def figures(self) -> Mapping[str, float]:
        """What the system says of it."""
        return self.proposal.figures

    @property
    def points(self) -> tuple[tuple[float, float], ...]:
        """Where the steps lie on the latent map; empty when the system does not say."""
        f = self.figures
        if f"map_x_{len(self.steps) - 1}" not in f:
            return ()
        return tuple((f[f"map_x_{k}"], f[f"map_y_{k}"]) for k in range(len(self.steps)))


def path_of(proposal: Proposal) -> Path | None:
    """The path in a proposal of `interpolate` (which names its `steps` and `step_ticks`); else None."""
    count = round(proposal.figures.get("steps", 0))
    length = round(proposal.figures.get("step_ticks", 0))
    if count < 2 or length < 1:
        return None
    notes = Notes.concatenate(t.notes for t in proposal.tracks)
    which = (notes.onset - proposal.region.start) // length
    steps = []
    for k in range(count):
        step = notes.where(which == k)
        steps.append(step.with_(onset=step.onset - proposal.region.start - k * length))
    return Path(tuple(steps), length, proposal)


def after_music(score: Score) -> int:
    """The first barline at which nothing sounds any more."""
    return (
        score.meter.bar_start(score.meter.position(score.length - 1).bar + 1) if score.length else 0
    )


def joined(parts: Iterable[Notes]) -> Notes:
    """One set of notes from several, their ids counted up anew."""
    first, found = 0, []
    for part in parts:
        found.append(part.with_(id=first + np.arange(len(part))))
        first += len(part)
    return Notes.concatenate(found)


def passage(steps: Sequence[Notes], length: int) -> Notes:
    """Steps of `length` ticks one after the other, from tick 0 on."""
    return joined(step.with_(onset=step.onset + k * length) for k, step in enumerate(steps))


def kept(score: Score, notes: Notes, length: int, start: int, end: Phrase, own: bool) -> Score:
    """`score` with `notes` (from tick 0 on, `length` ticks in all) put in at `start`.

    On the track that phrase `end` came from when `own` says so, which must be silent there (UserError
    otherwise), else on a new track that sounds like it.
    """
    stop = start + length
    notes = notes.with_(onset=notes.onset + start, id=score.next_id + np.arange(len(notes)))
    track = next((t for t in score.tracks if own and t.id == end.track), None)
    if track is not None:
        if track.notes.sounding(start, stop).any():
            raise UserError(
                f"{track.name or 'The track'} already has notes where the path would go: "
                "put it after the music, or on a new track."
            )
        return score.with_track(track.with_notes(Notes.concatenate([track.notes, notes])))
    used = {t.channel for t in score.tracks}
    sound = end.score.tracks[0]
    channel = next((c for c in range(16) if c != 9 and c not in used), sound.channel)
    new = replace(sound, id=score.next_track_id, name="Path", channel=channel, notes=notes)
    return score.with_track(new)

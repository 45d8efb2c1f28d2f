"""What a system has proposed, as values: candidates of requests, when they are stale, how one is kept."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from models.card import Card
from models.score import Score
from models.system import Ask, Proposal


@dataclass(frozen=True)
class Candidate:
    """One candidate of one request: the newest proposal the engine sent for it.

    `key` names it; `stale` says that the music around it has changed since it was asked for.
    """

    request: int
    card: Card
    ask: Ask
    proposal: Proposal
    stale: bool = False

    @property
    def key(self) -> tuple[int, int]:
        """(request, candidate number)."""
        return self.request, self.proposal.candidate

    @property
    def final(self) -> bool:
        """Whether the sampler has done with it."""
        return self.proposal.final

    @property
    def title(self) -> str:
        """Its name in the tray and in the Edit menu, e.g. "DeepBach 3.2"."""
        return f"{self.card.name} {self.request}.{self.proposal.candidate + 1}"

    def applied(self, score: Score) -> Score:
        """`score` with the proposal in it, as one edit.

        A track the proposal brings gets another id when `score` meanwhile has one of that id that is
        not the proposal's own (told by its name).
        """
        taken = {t.id: t for t in score.tracks}
        known = {t.id for t in self.ask.score.tracks}
        fresh = score.next_track_id
        tracks = []
        for track in self.proposal.tracks:
            there = taken.get(track.id)
            if there is not None and track.id not in known and there.name != track.name:
                track, fresh = replace(track, id=fresh), fresh + 1
            tracks.append(track)
        return replace(self.proposal, tracks=tuple(tracks)).apply(score)

    def is_stale(self, score: Score) -> bool:
        """Whether any note that sounds in the region differs between `score` and the score asked about.

        Other voices count too: a harmony is stale when its melody has changed.
        """
        region = self.proposal.region
        before = {t.id: t for t in self.ask.score.tracks}
        after = {t.id: t for t in score.tracks}
        if before.keys() != after.keys():
            return True
        for track_id, old in before.items():
            new = after[track_id]
            if new.notes is old.notes:
                continue
            a = old.notes.where(old.notes.sounding(region.start, region.end))
            b = new.notes.where(new.notes.sounding(region.start, region.end))
            if len(a) != len(b) or any(
                not np.array_equal(getattr(a, c), getattr(b, c))
                for c in ("onset", "duration", "pitch", "locked")
            ):
                return True
        return False


def received(
    candidates: tuple[Candidate, ...], request: int, card: Card, ask: Ask, proposal: Proposal
) -> tuple[Candidate, ...]:
    """The tray with a new or improved proposal in it: newest request last, candidates by number."""
    new = Candidate(request, card, ask, proposal)
    others = [c for c in candidates if c.key != new.key]
    return tuple(sorted([*others, new], key=lambda c: c.key))

"""MiniBach: windows of four bars, one step, and no more than it promises."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_chorale import made

from models import catalogue
from models.card import Task
from models.representations.chorale import EDGE, TOKENS, tokens
from models.score import Notes, Region, Score, Track, UserError
from models.system import Ask, Context, Proposal
from models.systems import mini_bach
from models.timebase import PPQ, MeterMap

BAR = 4 * PPQ


def test_windows_begin_at_barlines_and_cover_all() -> None:
    chorale = made(150).slice(12, 150)
    starts = mini_bach.windows(chorale)
    assert starts == [-12, 52, 116]
    table = tokens(chorale)
    parts = [mini_bach.window(table, s) for s in starts]
    assert (parts[0][:12] == EDGE).all()
    whole = np.concatenate(parts)[12 : 12 + len(table)]
    assert np.array_equal(whole, table)


def test_the_net_reads_the_soprano_alone() -> None:
    torch.manual_seed(0)
    net = mini_bach.Net(mini_bach.Shape(units=8)).eval()
    logits = net(torch.randint(4, TOKENS, (2, 64)))
    assert logits.shape == (2, 64, 3, TOKENS)
    assert not torch.equal(logits[0], logits[1])


def test_accompanies_nine_bars_in_one_go() -> None:
    system = catalogue.load("mini_bach")
    pitch = np.tile([72, 74, 76, 74, 72, 71, 69, 71, 72], 4)
    track = Track(0, "Melody", Notes.of(np.arange(36) * PPQ, PPQ, pitch))
    ask = Ask(Task.ACCOMPANY, Score((track,)), Region(0, 9 * BAR))
    steps = list(system.generate(ask, Context(np.random.default_rng(0))))
    (proposal,) = [s for s in steps if isinstance(s, Proposal)]
    assert [t.name for t in proposal.tracks] == ["Alto", "Tenor", "Bass"]
    assert all(t.notes.duration.sum() == 9 * BAR for t in proposal.tracks)


def test_other_metres_and_low_melodies_are_refused() -> None:
    system = catalogue.load("mini_bach")
    meter = MeterMap(np.array([0]), np.array([3]), np.array([4]))
    high = Track(0, "Melody", Notes.of(np.arange(9) * PPQ, PPQ, 70))
    ask = Ask(Task.ACCOMPANY, Score((high,), meter=meter), Region(0, 9 * PPQ))
    with pytest.raises(UserError, match="4/4 alone"):
        list(system.generate(ask, Context(np.random.default_rng(0))))
    low = Track(0, "Melody", Notes.of(np.arange(9) * PPQ, PPQ, 42))
    ask = Ask(Task.ACCOMPANY, Score((low,)), Region(0, 9 * PPQ))
    with pytest.raises(UserError, match="soprano"):
        list(system.generate(ask, Context(np.random.default_rng(0))))

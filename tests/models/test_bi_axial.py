"""Bi-Axial LSTM: exact likelihoods, and a writer that agrees with them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from mills.pianoroll import roll

from models.representations.pianoroll import LOWEST, PITCHES, Roll, Seat, struck
from models.score import Notes, Region, Score, Track, UserError
from models.strategies import biaxial
from models.strategies.biaxial import Net, Shape
from models.system import Ask, Context
from models.systems.bi_axial import CARD, System
from models.timebase import PPQ

SMALL = Shape(12, 10, 8, 6, below=2, lowest=58, highest=61, per_beat=4, articulated=0, dropout=0)


@pytest.fixture
def small() -> Net:
    torch.manual_seed(4)
    return Net(SMALL).eval()


def every(steps: int, keys: int) -> list[Roll]:
    """Every roll there is of so many steps and keys."""
    found = []
    for bits in itertools.product((False, True), repeat=steps * keys):
        sounds = np.zeros((steps, PITCHES), bool)
        first = SMALL.lowest - LOWEST
        sounds[:, first : first + keys] = np.array(bits).reshape(steps, keys)
        found.append(Roll("", sounds, struck(sounds), np.arange(steps)))
    return found


def test_the_likelihoods_of_all_rolls_add_up_to_one(small: Net) -> None:
    nats = biaxial.nats(small, every(2, SMALL.keys), "cpu")
    # What lies outside the compass takes a little away.
    outside = 2 * (PITCHES - SMALL.keys) * biaxial.NEVER
    assert np.exp([-n.sum() for n in nats]).sum() == pytest.approx(1 - outside, abs=1e-5)


def test_a_step_hears_nothing_of_itself_above_nor_of_later(small: Net) -> None:
    torch.manual_seed(0)
    sounds = (torch.rand(5, 1, 4) < 0.5).float()
    position = torch.arange(5)[:, None]
    before = small(sounds, sounds, position)[2, 0]
    for t, k in itertools.product(range(5), range(4)):
        other = sounds.clone()
        other[t, 0, k] = 1 - other[t, 0, k]
        moved = (small(other, other, position)[2, 0] - before).abs().sum(-1) > 1e-7
        assert not moved[: k + 1].any() if t == 2 else moved.any() == (t < 2)
        if t == 2 and k < 3:
            assert moved[k + 1 :].all()


def test_the_writer_draws_what_the_likelihood_says() -> None:
    torch.manual_seed(2)
    shape = Shape(12, 10, 8, 6, below=3, lowest=55, highest=72, articulated=1, dropout=0)
    net = Net(shape).eval()
    with torch.no_grad():
        net.says.bias[0] = -1
    before = roll(6, 1)
    first = shape.lowest - LOWEST
    before.sounds[:, :first] = False
    rng = np.random.default_rng(1)
    writer = biaxial.Writer(net, before, 2)
    noise = rng.random((5, 2, shape.keys, 2)).astype(np.float32)
    nothing = np.zeros(shape.keys, bool)
    made = [writer.step(6 + t, nothing, noise[t], 0.8, 0.3) for t in range(5)]
    past = biaxial.tensors([before, before], shape)
    sounds = torch.cat([past[0], torch.tensor(np.array([m[0] for m in made])).float()])
    begins = torch.cat([past[1], torch.tensor(np.array([m[1] for m in made])).float()])
    position = torch.arange(11)[:, None].expand(11, 2)
    logits = net(sounds, begins, position)[6:] / 0.8
    p = torch.sigmoid(logits + torch.tensor([0.3, 0.0]))
    assert (sounds[6:] > 0).any()
    # A draw so near to its probability that rounding decides is no disagreement.
    sure = (torch.from_numpy(noise) - p).abs() > 1e-5
    assert ((torch.from_numpy(noise) < p) == (sounds[6:] > 0)[..., None])[..., 0][
        sure[..., 0]
    ].all()
    struck_now = (torch.from_numpy(noise[..., 1]) < p[..., 1]) & (sounds[6:] > 0)
    assert (struck_now == (begins[6:] > 0))[sure[..., 1]].all()


def test_attacca_draws_a_chord_as_likely_as_it_is_among_all_but_silence(small: Net) -> None:
    heat, more, count = 0.8, -1.0, 8000
    rng = np.random.default_rng(3)
    noise = rng.random((count, SMALL.keys, 2)).astype(np.float32)
    empty = np.zeros((0, PITCHES), bool)
    writer = biaxial.Writer(small, Roll("", empty, empty, np.arange(0)), count)
    kept = np.zeros(SMALL.keys, bool)
    drawn, _ = writer.step(0, kept, noise, heat, more, attacca=True)
    every_chord = np.array(list(itertools.product((0.0, 1.0), repeat=SMALL.keys)), np.float32)
    sounds = torch.from_numpy(every_chord)[None]  # 1, 16, 4
    logits = small(sounds, sounds, torch.zeros(1, 16, dtype=torch.int64))[0, ..., 0] / heat + more
    p = torch.sigmoid(torch.where(sounds[0] > 0, logits, -logits)).prod(-1).detach().numpy()
    assert p[0] > 0.5  # silence was likelier than all else
    expected = p[1:] / (1 - p[0])
    found = np.bincount(drawn @ (1 << np.arange(SMALL.keys)[::-1]), minlength=16) / count
    assert found[0] == 0
    assert found[1:] == pytest.approx(expected, abs=0.02)


def test_keys_outside_the_compass_are_all_but_impossible(small: Net) -> None:
    inside, outside = roll(2, 0), roll(2, 0)
    inside.sounds[:] = False
    outside.sounds[:] = False
    outside.sounds[0, 5] = True
    a, b = biaxial.nats(small, [inside, outside], "cpu")
    assert b[0] - a[0] == pytest.approx(-np.log(biaxial.NEVER), abs=1e-3)


def test_what_stays_is_heard_by_what_is_written() -> None:
    torch.manual_seed(2)
    net = Net(Shape(12, 10, 8, 6, lowest=55, highest=72, dropout=0)).eval()
    empty = np.zeros((4, PITCHES), bool)
    kept = empty.copy()
    kept[1:3, 60 - LOWEST] = True
    past = Roll("", empty[:0], empty[:0], np.arange(0))
    seat = Seat(Region(0, 960), (Track(0, ""),), 0, 240, 80, past,
                Roll("", kept, struck(kept), np.arange(4)), np.arange(4))  # fmt: skip
    *_, (done, sounds, _) = biaxial.write(net, seat, 2, 1.0, 0.0, np.random.default_rng(0))
    assert done == 4
    assert (sounds[:, kept]).all()


def test_nothing_to_continue_is_said() -> None:
    system = System(Net(SMALL), "cpu")
    score = Score((Track(0, "Piano", Notes.of(8 * PPQ, PPQ, 60)),))
    ask = Ask(CARD.tasks[1], score, Region(0, 4 * PPQ, frozenset({0})), CARD.values({}))
    with pytest.raises(UserError, match="nothing before"):
        list(system.generate(ask, Context(np.random.default_rng(0))))


def test_denser_is_denser() -> None:
    torch.manual_seed(2)
    net = Net(Shape(12, 10, 8, 6, lowest=55, highest=72, dropout=0)).eval()
    counts = []
    for more in (-2.0, 0.0, 2.0):
        writer = biaxial.Writer(net, roll(4, 0), 4)
        noise = np.random.default_rng(1).random((4, 4, 18, 2)).astype(np.float32)
        made = [writer.step(t, np.zeros(18, bool), noise[t], 1.0, more)[0].sum() for t in range(4)]
        counts.append(sum(made))
    assert counts[0] < counts[1] < counts[2]


def test_music_from_nothing_begins_with_a_chord_in_its_key() -> None:
    torch.manual_seed(2)
    net = Net(Shape(12, 10, 8, 6, dropout=0)).eval()
    empty = np.zeros((8, PITCHES), bool)
    past = Roll("", empty[:0], empty[:0], np.arange(0))
    still = Roll("", empty, empty, np.arange(8))
    seat = Seat(Region(0, 1920), (Track(0, ""),), 0, 240, 80, past, still, np.arange(8))
    *_, (_, sounds, begins) = biaxial.write(net, seat, 3, 1.0, 0.0, np.random.default_rng(0), 2)
    chords = {tuple(p + 2 for p in chord) for chord in biaxial.OPENINGS}
    for k in range(3):
        assert tuple(np.flatnonzero(sounds[k, 0]) + LOWEST) in chords
        assert (sounds[k, :4] == sounds[k, 0]).all()
        assert (begins[k, 0] == sounds[k, 0]).all()
        assert not begins[k, 1:4].any()

"""What is done with codes: exact where nothing is moved, the same for the same seed, inside what may change."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain, combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from coders import BITS, BitCoder, params
from coders import melody as phrase_of
from music import ordinary

from models import attributes, catalogue, weights
from models import space as spaces
from models.card import Task
from models.representations import melody
from models.representations.melody import BAR, FIRST, HOLD, REST, Tokens
from models.score import Key, Notes, Region, Score, Track, UserError
from models.space import Space
from models.strategies import codes, improvising, paths
from models.system import Ask, Context, Progress, Proposal
from models.timebase import PPQ, SIXTEENTH, MeterMap

BAR_TICKS = BAR * SIXTEENTH


@pytest.fixture(scope="module")
def vae() -> Any:
    torch.set_num_threads(1)
    return catalogue.load("music_vae_2bar")


def tune(bars: int = 4, channel: int = 0, seed: int = 0, key: int = 0) -> Track:
    """Eighths and quarters, most of them played late or early, with a velocity each."""
    rng = np.random.default_rng(seed)
    scale = np.array([0, 2, 4, 5, 7, 9, 11, 12]) + 60 + key
    onset, pitch, duration = [], [], []
    tick, degree = 0, 3
    while tick < bars * BAR_TICKS:
        length = int(rng.choice([2, 2, 4, 4, 4])) * SIXTEENTH
        degree = int(np.clip(degree + rng.integers(-2, 3), 0, 7))
        onset.append(tick + (int(rng.integers(0, 60)) if tick % BAR_TICKS else 0))
        duration.append(min(length - 60, bars * BAR_TICKS - onset[-1]))
        pitch.append(int(scale[degree]))
        tick += length
    velocity = rng.integers(40, 120, len(onset))
    return Track(0, "Tune", Notes.of(onset, duration, pitch, velocity), channel=channel)


def asked(task: Task, score: Score, bars: int, **more: Any) -> Ask:
    given = {k: v for k, v in more.items() if k not in ("phrases", "count", "seed", "region")}
    region = more.get("region", Region(0, bars * BAR_TICKS, frozenset({0})))
    return Ask(
        task,
        score,
        region,
        params(**given),
        more.get("seed", 1),
        more.get("count", 1),
        phrases=more.get("phrases", ()),
    )


def run(coder: Any, ask: Ask, weights: Path | None = None) -> list[Proposal]:
    context = Context(np.random.default_rng(ask.seed), weights=weights)
    found = []
    for step in coder.generate(ask, context):
        if isinstance(step, Progress):
            assert 0 <= step.fraction <= 1
            assert step.text
        else:
            assert step.final
            step.apply(ask.score)
            found.append(step)
    assert [p.candidate for p in found] == list(range(ask.count))
    return found


def plain(notes: Notes) -> list[tuple[int, ...]]:
    columns = (notes.onset, notes.duration, notes.pitch, notes.velocity, notes.voice)
    return sorted(zip(*(c.tolist() for c in columns), strict=True))


def heard(notes: Notes, bars: int, start: int = 0) -> Tokens:
    tokens, _ = melody.from_notes(
        notes.onset, notes.duration, notes.pitch.astype(np.int64), start, bars * BAR
    )
    return tokens


# --- codes ---------------------------------------------------------------------------------------


def test_a_spherical_way_turns_evenly_and_keeps_the_length() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((3, 40)).astype(np.float32) for _ in range(2))
    b *= 2
    way = np.stack([codes.slerp(a, b, t) for t in np.linspace(0, 1, 9)])
    np.testing.assert_allclose(way[0], a, rtol=1e-5)
    np.testing.assert_allclose(way[-1], b, rtol=1e-5)
    length = np.linalg.norm(way, axis=-1)
    np.testing.assert_allclose(np.diff(length, axis=0).std(0), 0, atol=1e-5)
    unit = way / length[..., None]
    turns = np.arccos(np.clip((unit[1:] * unit[:-1]).sum(-1), -1, 1))
    assert (turns.max(0) - turns.min(0) < 1e-3).all()
    straight = codes.lerp(a, b, 0.5)
    assert (np.linalg.norm(straight, axis=-1) < length[4]).all()


def test_between_opposite_or_equal_codes_the_way_is_straight() -> None:
    a = np.array([[1.0, 2.0, 2.0]], np.float32)
    np.testing.assert_allclose(codes.slerp(a, -a, 0.25), a / 2)
    np.testing.assert_allclose(codes.slerp(a, a, 0.5), a)
    zero = np.zeros_like(a)
    np.testing.assert_allclose(codes.slerp(zero, a, 0.5), a / 2)


def test_an_average_and_a_neighbour_are_as_long_as_what_they_come_from() -> None:
    rng = np.random.default_rng(1)
    z = rng.standard_normal((5, 2, 100)).astype(np.float32)
    length = np.linalg.norm(z, axis=-1)
    np.testing.assert_allclose(np.linalg.norm(codes.average(z), axis=-1), length.mean(0), rtol=1e-4)
    near = codes.neighbour(z, 1.0, 0.5, rng.standard_normal(z.shape).astype(np.float32))
    np.testing.assert_allclose(np.linalg.norm(near, axis=-1), length, rtol=1e-4)
    cosine = (near * z).sum(-1) / length**2
    assert ((cosine > 0.8) & (cosine < 0.97)).all()
    assert (codes.average(np.zeros((2, 1, 4), np.float32)) == 0).all()


def test_where_little_changes_each_phrase_is_taken_as_often() -> None:
    place = np.array([0.0] * 30 + [0.3, 0.6] + [1.0] * 5)
    chosen = codes.evenly(np.abs(place[:, None] - place), 8)
    assert place[chosen].tolist() == [0.0, 0.0, 0.3, 0.3, 0.6, 0.6, 1.0, 1.0]
    assert (chosen[0], chosen[-1]) == (0, 36)


def test_points_are_chosen_as_evenly_as_can_be() -> None:
    place = np.array([0.0, 0.1, 0.2, 0.9, 1.0, 1.1, 1.9, 2.0])
    apart = np.abs(place[:, None] - place)
    assert codes.evenly(apart, 3) == [0, 4, 7]
    for count in range(2, 9):
        chosen = codes.evenly(apart, count)
        assert chosen[0] == 0
        assert chosen[-1] == 7
        assert len(set(chosen)) == count
        ways = ([0, *middle, 7] for middle in combinations(range(1, 7), count - 2))
        least = min((np.diff(place[way]) ** 2).sum() for way in ways)
        assert (np.diff(place[chosen]) ** 2).sum() == pytest.approx(least)


# --- reshape -------------------------------------------------------------------------------------


def bits_space(coder: BitCoder, folder: Path) -> Path:
    """Weights' path beside which lies a space of `coder`: density puts a C on step 6, pitch nothing at
    all; the map's axes are the lowest bits of steps 4 and 8."""
    direction = np.zeros((9, coder.latent), np.float32)
    high, low = FIRST + 24, 6 * BITS
    direction[0, low : low + BITS] = (high // 2 ** np.arange(BITS) % 2) * 4 - 2
    axes = np.zeros((2, coder.latent), np.float32)
    axes[0, 4 * BITS] = axes[1, 8 * BITS] = 1
    rho = np.zeros(9, np.float32)
    rho[[0, 1]] = 0.9
    ones = np.ones(9, np.float32)
    space = Space(
        direction=direction,
        mean=ones,
        scale=ones,
        curve=np.zeros((9, 7), np.float32),
        rho=rho,
        drift=ones,
        code_scale=np.ones(coder.latent, np.float32),
        map_mean=np.zeros(coder.latent, np.float32),
        map_axes=axes,
        points=np.zeros((1, 2), np.float16),
        point_attributes=np.zeros((1, 9), np.float16),
        point_tokens=np.zeros((1, coder.bars * BAR), np.uint8),
    )
    path = folder / "bits.safetensors"
    spaces.save(spaces.beside(path), space, {"system": "bits"})
    return path


@pytest.mark.parametrize("window", [2, 16])
@pytest.mark.parametrize("bars", [1, 2, 3, 40])
def test_what_is_not_moved_is_the_original_exactly(window: int, bars: int) -> None:
    track = tune(bars)
    (found,) = run(BitCoder(window), asked(Task.RESHAPE, Score((track,)), bars))
    assert plain(found.tracks[0].notes) == plain(track.notes)
    assert found.figures["changed"] == 0
    assert found.figures["density"] == pytest.approx(len(track.notes) / bars, rel=0.3)


def test_only_what_a_slider_moves_changes_even_when_the_coder_errs(tmp_path: Path) -> None:
    coder = BitCoder(wrong=8)
    weights = bits_space(coder, tmp_path)
    track = tune(2)
    tokens = heard(track.notes, 2)
    assert tokens[8] >= FIRST
    (found,) = run(coder, asked(Task.RESHAPE, Score((track,)), 2, density=2.0), weights)
    after = heard(found.tracks[0].notes, 2)
    expected = tokens.copy()
    expected[6] = FIRST + 24
    assert after.tolist() == expected.tolist()
    kept = set(plain(found.tracks[0].notes)) & set(plain(track.notes))
    assert len(kept) >= len(track.notes) - 2
    assert found.figures["changed"] == pytest.approx(1 / 32)
    x, y = found.figures["map_x"], found.figures["map_y"]
    assert (abs(x), abs(y)) == (1, 1)  # the code's bits, wherever sliders have moved it


def test_the_map_moves_a_phrase_as_far_as_asked(tmp_path: Path) -> None:
    coder = BitCoder()
    weights = bits_space(coder, tmp_path)
    (here,) = run(coder, asked(Task.RESHAPE, Score((tune(2),)), 2), weights)
    (there,) = run(coder, asked(Task.RESHAPE, Score((tune(2),)), 2, map_x=0.5, map_y=-3.0), weights)
    assert there.figures["map_x"] == pytest.approx(here.figures["map_x"] + 0.5)
    assert there.figures["map_y"] == pytest.approx(here.figures["map_y"] - 3)


def test_other_candidates_are_near_what_was_asked_for(tmp_path: Path) -> None:
    coder = BitCoder()
    weights = bits_space(coder, tmp_path)
    one = run(coder, asked(Task.RESHAPE, Score((tune(2),)), 2, density=2.0), weights)
    four = run(coder, asked(Task.RESHAPE, Score((tune(2),)), 2, density=2.0, count=4), weights)
    assert plain(four[0].tracks[0].notes) == plain(one[0].tracks[0].notes)
    lines = {tuple(plain(p.tracks[0].notes)) for p in four}
    assert len(lines) == 4


def test_sliders_that_do_nothing_are_named(tmp_path: Path) -> None:
    weights = bits_space(BitCoder(), tmp_path)
    with pytest.raises(
        UserError, match="slider tension does not act in Bits; these do: density, range"
    ):
        run(BitCoder(), asked(Task.RESHAPE, Score((tune(2),)), 2, tension=1.0), weights)
    for moved in ({"density": 1.0}, {"map_x": 1.0}):
        with pytest.raises(UserError, match="no attributes and no map"):
            run(BitCoder(), asked(Task.RESHAPE, Score((tune(2),)), 2, **moved))
    with pytest.raises(UserError, match="no attributes and no map"):  # a space of other weights
        run(BitCoder(16), asked(Task.RESHAPE, Score((tune(2),)), 2, density=1.0), weights)


def test_locked_notes_other_tracks_and_silent_bars_stay(tmp_path: Path) -> None:
    coder = BitCoder()
    weights = bits_space(coder, tmp_path)
    notes = tune(2).notes
    at = int(np.flatnonzero(notes.onset // SIXTEENTH == 4)[0])
    track = Track(0, "Tune", notes.with_(locked=np.arange(len(notes)) == at, duration=700))
    other = replace(tune(8, seed=5), id=1, name="Other")
    score = Score((track, replace(other, notes=other.notes.with_(id=other.notes.id + 1000))))
    region = Region(0, 8 * BAR_TICKS, frozenset({0, 1}))
    (found,) = run(coder, asked(Task.RESHAPE, score, 8, density=2.0, region=region), weights)
    after = found.apply(score)
    assert after.track(1) is score.track(1)
    assert after.track(0).notes.where(after.track(0).notes.locked) == track.notes.where(
        track.notes.locked
    )
    assert (after.track(0).notes.onset < 2 * BAR_TICKS).all()  # what was silent is
    lines = after.track(0).notes
    locked = lines.where(lines.locked)
    assert lines.sounding(int(locked.onset[0]), int(locked.end[0])).sum() == 1


def test_one_phrase_from_elsewhere_is_put_in_place_as_it_is() -> None:
    there, here = tune(2, seed=4), tune(4, seed=5)
    ask = asked(Task.RESHAPE, Score((here,)), 4, phrases=(Score((there,)),))
    (found,) = run(BitCoder(), ask)
    twice = there.notes.with_(onset=there.notes.onset + 2 * BAR_TICKS)
    assert plain(found.tracks[0].notes) == sorted(plain(there.notes) + plain(twice))


def test_the_average_of_two_phrases_lies_between_them() -> None:
    a, b = tune(2, seed=4), tune(2, seed=5)
    ask = asked(Task.RESHAPE, Score((tune(2),)), 2, phrases=(Score((a,)), Score((b,))))
    (found,) = run(BitCoder(), ask)
    x, y, mean = heard(a.notes, 2), heard(b.notes, 2), heard(found.tracks[0].notes, 2)
    both = (x == y) & (x >= FIRST)
    assert both.any()
    assert (mean[both] == x[both]).all()
    notes = found.tracks[0].notes
    assert (notes.velocity >= min(a.notes.velocity.min(), b.notes.velocity.min())).all()
    assert len(set(notes.velocity.tolist())) > 3


# --- regenerate ----------------------------------------------------------------------------------


@pytest.mark.parametrize("radius", [0.0, 0.5])
def test_more_like_this_is_never_this(radius: float) -> None:
    track = tune(3)
    found = run(BitCoder(), asked(Task.REGENERATE, Score((track,)), 3, radius=radius, count=5))
    lines = {tuple(plain(p.tracks[0].notes)) for p in found}
    assert tuple(plain(track.notes)) not in lines
    assert len(lines) == 5
    assert all(0 < p.figures["changed"] < 0.5 for p in found)


def test_the_real_thing_strays_further_at_a_larger_radius(vae: Any) -> None:
    score = Score((tune(4, seed=2),))

    def changed(radius: float) -> float:
        ask = asked(Task.REGENERATE, score, 4, radius=radius, count=6)
        return float(np.mean([p.figures["changed"] for p in run(vae, ask)]))

    near, far = changed(0.1), changed(1.5)
    assert 0 < near < 0.3
    assert far > near + 0.05


# --- interpolate ---------------------------------------------------------------------------------


def path(a: Track, b: Track, bars: int, **more: Any) -> Ask:
    region = Region(0, bars * BAR_TICKS)
    ends = (Score((a,)), Score((b,)))
    return asked(Task.INTERPOLATE, Score(), bars, region=region, phrases=ends, **more)


@pytest.mark.parametrize("coder", [BitCoder(), BitCoder(16), BitCoder(wrong=12)])
def test_a_path_begins_with_a_and_ends_with_b_as_they_were_played(coder: BitCoder) -> None:
    a, b = tune(2, seed=6), tune(2, seed=7)
    (found,) = run(coder, path(a, b, 10, steps=5))
    notes = found.tracks[0].notes
    assert (found.figures["steps"], found.figures["step_ticks"]) == (5, 2 * BAR_TICKS)
    assert plain(notes.where(notes.onset < 2 * BAR_TICKS)) == plain(a.notes)
    last = notes.where(notes.onset >= 8 * BAR_TICKS)
    assert plain(last) == plain(b.notes.with_(onset=b.notes.onset + 8 * BAR_TICKS))
    steps = [heard(notes, 2, k * 2 * BAR_TICKS) for k in range(5)]
    from_a = [(s != steps[0]).mean() for s in steps]
    assert from_a == sorted(from_a)
    apart = [(x != y).mean() for x, y in pairwise(steps)]
    assert max(apart) == pytest.approx(found.figures["largest_hamming_step"])
    assert np.mean(apart) == pytest.approx(found.figures["mean_hamming_step"])
    wrong = coder.wrong is not None
    assert (found.figures["difference_a"] > 0) == wrong


def test_decoded_ends_show_what_the_coder_makes_of_them() -> None:
    a, b = tune(2, seed=6), tune(2, seed=7)
    (found,) = run(BitCoder(wrong=0), path(a, b, 6, steps=3, ends="decoded"))
    steps = [heard(found.tracks[0].notes, 2, k * 2 * BAR_TICKS) for k in (0, 2)]
    for step, end in zip(steps, (a, b), strict=True):
        assert step[0] == REST
        other = heard(end.notes, 2)
        sung = np.flatnonzero(other[1:] >= FIRST)[0] + 1
        assert step[sung:].tolist() == other[sung:].tolist()
    assert found.figures["difference_a"] > 0


def test_loudness_and_timing_go_over_from_a_to_b() -> None:
    tokens = phrase_of(*((k * 4, 4, 60 + k) for k in range(8)))
    onset, duration, pitch = melody.to_notes(tokens, 0)
    a = Track(0, "A", Notes.of(onset, duration, pitch, 40))
    b = Track(0, "B", Notes.of(onset + 60, duration - 60, pitch + 1, 100))
    (found,) = run(BitCoder(), path(a, b, 18, steps=9))
    notes = found.tracks[0].notes
    loud = [notes.velocity[notes.onset // (2 * BAR_TICKS) == k].mean() for k in range(9)]
    assert loud == sorted(loud)
    assert (loud[0], loud[-1]) == (40, 100)


def test_the_shorter_phrase_is_repeated() -> None:
    a, b = tune(1, seed=6), tune(3, seed=7)
    (found,) = run(BitCoder(), path(a, b, 9, steps=3))
    assert found.figures["step_ticks"] == 3 * BAR_TICKS
    notes = found.tracks[0].notes
    first = notes.where(notes.onset < 3 * BAR_TICKS)
    thrice = [plain(a.notes.with_(onset=a.notes.onset + k * BAR_TICKS)) for k in range(3)]
    assert plain(first) == sorted(chain(*thrice))


def test_phrases_in_different_octaves_meet_half_way() -> None:
    low = tune(2, seed=6)
    low = replace(low, notes=low.notes.with_(pitch=low.notes.pitch - 36))
    (found,) = run(BitCoder(), path(low, tune(2, seed=7), 14, steps=7))
    notes = found.tracks[0].notes
    heights = [notes.pitch[notes.onset // (2 * BAR_TICKS) == k].mean() for k in range(7)]
    assert heights[0] < 40
    assert heights[-1] > 60


def test_a_path_needs_two_phrases_and_room() -> None:
    with pytest.raises(UserError, match="needs two phrases, A and B"):
        run(BitCoder(), asked(Task.INTERPOLATE, Score(), 4, phrases=(Score((tune(),)),)))
    with pytest.raises(UserError, match="A path of 8 such steps is 16 bars long"):
        run(BitCoder(), path(tune(2), tune(1), 15))
    with pytest.raises(UserError, match="B has no notes"):
        run(BitCoder(), path(tune(2), replace(tune(1), channel=9), 16))


def test_a_path_into_a_track_leaves_what_is_locked_there() -> None:
    locked = Notes.of([BAR_TICKS], 960, [50], locked=True)
    score = Score((Track(0, "Tune", locked),))
    ends = (Score((tune(2, seed=1),)), Score((tune(2, seed=2),)))
    (found,) = run(BitCoder(), asked(Task.INTERPOLATE, score, 6, phrases=ends, steps=3))
    after = found.apply(score).track(0).notes
    assert after.where(after.locked) == locked
    assert after.sounding(BAR_TICKS, BAR_TICKS + 960).sum() == 1


def test_points_that_decode_as_an_end_do_are_that_end() -> None:
    raw = np.array([[[5, 1]], [[5, 9]], [[7, 9]]], np.uint8)
    ends = np.array([[[6, 1]], [[7, 8]]], np.uint8)
    out = paths.anchored(raw, ends, np.array([0.0, 0.5, 1.0]))
    assert out[:, 0].tolist() == [[6, 1], [6, 8], [7, 8]]


def test_the_real_path_is_smooth_and_its_steps_differ(vae: Any) -> None:
    (found,) = run(vae, path(tune(2, seed=8), tune(2, seed=9), 20, steps=10))
    notes = found.tracks[0].notes
    steps = [heard(notes, 2, k * 2 * BAR_TICKS) for k in range(10)]
    assert len({s.tobytes() for s in steps}) >= 6
    assert found.figures["largest_hamming_step"] < (steps[0] != steps[-1]).mean()
    assert found.figures["difference_a"] < 0.2
    assert all((s >= FIRST).any() for s in steps)


# --- create --------------------------------------------------------------------------------------


def test_a_form_says_something_again_and_closes() -> None:
    assert improvising.form(1) == [0]
    assert improvising.form(2) == [0, improvising.CLOSE]
    assert improvising.form(4) == [0, 1, 0, improvising.CLOSE]
    eight = improvising.form(8)
    assert eight[:3] == eight[4:7]
    assert eight[3] != eight[7] == improvising.CLOSE
    assert len(set(improvising.form(16))) == 7
    for windows in range(1, 40):
        found = improvising.form(windows)
        assert len(found) == windows
        assert all(improvising.ANSWERS.get(label, 0) in found for label in found)


def test_a_code_turned_keeps_its_length() -> None:
    rng = np.random.default_rng(0)
    z = rng.standard_normal((3, 50)).astype(np.float32)
    turned = improvising.turned(z, rng.standard_normal(z.shape).astype(np.float32), 0.7)
    length = np.linalg.norm(z, axis=-1)
    np.testing.assert_allclose(np.linalg.norm(turned, axis=-1), length, rtol=1e-4)
    np.testing.assert_allclose((turned * z).sum(-1) / length**2, np.cos(0.7), rtol=1e-4)


def created(vae: Any, score: Score, bars: int, seed: int, **more: Any) -> Proposal:
    region = Region(0, bars * BAR_TICKS, frozenset(t.id for t in score.tracks))
    return run(vae, asked(Task.CREATE, score, bars, seed=seed, region=region, **more))[0]


@pytest.mark.parametrize(("key", "tonic"), [(Key(0, 3), 9), (Key(0, -2, True), 7)])
def test_what_is_created_is_in_the_key_and_ends_there(vae: Any, key: Key, tonic: int) -> None:
    inside = ending = 0.0
    steps = (0, 2, 3, 5, 7, 8, 10, 11) if key.minor else (0, 2, 4, 5, 7, 9, 11)
    for seed in range(4):
        found = created(vae, Score(keys=(key,)), 8, seed)
        notes = found.tracks[0].notes
        assert found.keys == ()
        assert notes.length > 7 * BAR_TICKS
        inside += np.isin((notes.pitch.astype(int) - tonic) % 12, steps).mean() / 4
        ending += (int(notes.pitch[-1]) % 12 == tonic) / 4
        assert len(notes) >= 16
    assert inside > 0.85
    assert ending >= 0.5


def test_what_is_created_comes_back_and_lies_where_the_track_does(vae: Any) -> None:
    low = Track(0, "Cello", tune(2).notes.with_(pitch=48, onset=tune(2).notes.onset + 80 * PPQ))
    found = created(vae, Score((low,)), 8, 3)
    notes = found.tracks[0].notes
    assert abs(float(notes.pitch.mean()) - 48) < 8
    first, again = (heard(notes, 2, k * 2 * BAR_TICKS) for k in (0, 2))
    assert first.tolist() == again.tolist()
    assert found.tracks[0].id == 0


def test_what_is_created_from_nothing_names_its_key_and_track(vae: Any) -> None:
    found = created(vae, Score(), 16, 1)
    assert len(found.keys) == 1
    assert abs(found.keys[0].sharps) <= improvising.PLAIN
    assert found.tracks[0].name == "Melody"
    assert found.apply(Score()).keys == found.keys
    cold = created(vae, Score(), 4, 1, temperature=0.0)
    assert plain(cold.tracks[0].notes) == plain(
        created(vae, Score(), 4, 2, temperature=0.0).tracks[0].notes
    )


# --- what holds for all --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("meter", "words"),
    [
        (MeterMap(numerator=np.array([3])), "bar 1 is in 3/4"),
        (MeterMap(numerator=np.array([5]), denominator=np.array([8])), "bar 1 is in 5/8"),
    ],
)
@pytest.mark.parametrize("task", [Task.RESHAPE, Task.REGENERATE, Task.CREATE])
def test_other_metres_are_refused_before_anything_is_done(
    task: Task, meter: MeterMap, words: str
) -> None:
    with pytest.raises(UserError, match=words):
        run(BitCoder(), asked(task, Score((tune(),), meter=meter), 2))


def test_silence_and_drums_are_refused() -> None:
    empty = Score((Track(0, "Tune"),))
    for task in (Task.RESHAPE, Task.REGENERATE):
        with pytest.raises(UserError, match="Tune has no notes"):
            run(BitCoder(), asked(task, empty, 2))
        with pytest.raises(UserError, match="drum"):
            run(BitCoder(), asked(task, Score((tune(2, channel=9),)), 2))
    with pytest.raises(UserError, match="Bits cannot continue"):
        run(BitCoder(), asked(Task.CONTINUE, Score((tune(),)), 2))


@pytest.mark.parametrize("task", [Task.RESHAPE, Task.REGENERATE, Task.CREATE, Task.INTERPOLATE])
def test_the_same_seed_gives_the_same_notes_and_closing_is_clean(vae: Any, task: Task) -> None:
    ends = (Score((tune(2, seed=1),)), Score((tune(2, seed=2),)))
    phrases = ends if task is Task.INTERPOLATE else ()
    more: dict[str, Any] = {"steps": 3} if task is Task.INTERPOLATE else {}
    ask = asked(task, Score((tune(6),)), 6, phrases=phrases, count=2, **more)
    first = run(vae, ask)
    steps = vae.generate(ask, Context(np.random.default_rng(9)))
    next(steps)
    steps.close()
    for one, other in zip(first, run(vae, ask), strict=True):
        assert plain(one.tracks[0].notes) == plain(other.tracks[0].notes)
        assert one.figures == other.figures
    if task in (Task.CREATE, Task.REGENERATE):
        other = run(vae, replace(ask, seed=2))[0]
        assert plain(other.tracks[0].notes) != plain(first[0].tracks[0].notes)


def test_the_figures_are_those_of_the_notes(vae: Any) -> None:
    track = tune(2, seed=3)
    (found,) = run(vae, asked(Task.RESHAPE, Score((track,)), 2))
    tokens = heard(track.notes, 2)
    measured = attributes.measure(tokens[None])[0]
    for name, value in zip(attributes.NAMES, measured, strict=True):
        assert found.figures[name] == pytest.approx(float(value), rel=1e-5)
    assert HOLD in tokens


@pytest.mark.parametrize("name", ["density", "pitch", "contour", "syncopation", "range"])
def test_real_sliders_do_what_they_say(vae: Any, name: str) -> None:
    def measured(amount: float) -> float:
        found = [
            run(vae, asked(Task.RESHAPE, Score((tune(4, seed=s),)), 4, **{name: amount}))[0]
            for s in (1, 2, 3)
        ]
        return float(np.mean([p.figures[name] for p in found]))

    low, here, high = (measured(amount) for amount in (-3.0, 0.0, 3.0))
    assert low < here < high
    space = spaces.load(spaces.beside(weights.shipped("music_vae_2bar")), "music_vae_2bar")
    assert high - low > 1.5 * space.scale[attributes.NAMES.index(name)]


def test_whatever_is_asked_is_answered_within_bounds_or_refused_with_a_sentence() -> None:
    answered = refused = 0
    for k in range(160):
        rng = np.random.default_rng(k)
        score = ordinary(int(rng.integers(0, 60)), int(rng.integers(1, 4)), k)
        locked = [t.notes.with_(locked=rng.random(len(t.notes)) < 0.2) for t in score.tracks]
        tracks = (t.with_notes(n) for t, n in zip(score.tracks, locked, strict=True))
        tick = int(rng.integers(1, 8)) * 2 * PPQ
        meter = MeterMap(
            np.array([0, tick]),
            np.array([int(rng.choice([2, 3, 4, 4, 4])), 4]),
            np.array([4, 4]),
            int(rng.choice([0, 480])),
        )
        score = replace(score, tracks=tuple(tracks), meter=meter if k % 3 == 0 else MeterMap())
        task = (Task.CREATE, Task.INTERPOLATE, Task.RESHAPE, Task.REGENERATE)[k % 4]
        count = 2 if task is Task.INTERPOLATE else int(rng.integers(0, 3))
        phrases = tuple(ordinary(int(rng.integers(0, 30)), 1, k + 1000 + i) for i in range(count))
        start = int(rng.integers(0, 9000))
        end = start + int(rng.integers(1, 20_000)) + (10**6 if task is Task.INTERPOLATE else 0)
        region = Region(start, end, frozenset(rng.choice(3, 2).tolist()))
        ask = Ask(task, score, region, params(steps=3), k, 2, phrases=phrases)
        try:
            found = run(BitCoder(2 if k % 2 else 16, wrong=5), ask)
        except UserError as error:
            refused += str(error).endswith(".")
            continue
        answered += 1
        for proposal in found:
            after = proposal.apply(score)
            for track in score.tracks:
                kept = track.notes.where(~region.owned(track))
                now = after.track(track.id).notes
                assert now.where(now.having(kept.id)) == kept
            assert all(t.notes.inside(start, end).all() for t in proposal.tracks)
    assert answered > 80
    assert refused == 160 - answered

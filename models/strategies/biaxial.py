"""LSTMs along two axes: time, shared by all keys, then the keyboard, low to high (Johnson 2015, 2017).

Every key has a memory of its own in time and hears what was around it one step before; then, from the
lowest key to the highest, it is decided whether it sounds, given what was decided below. All weights are
shared by all keys, so music moved by a third is nearly the same to it. The likelihood is exact.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.representations.pianoroll import LOWEST, PITCHES, Roll, Seat, written
from models.strategies import stepping
from models.strategies.stepping import LSTM, Floats, Walk
from models.system import Progress, Proposal

VICINITY = 12
"""Keys to each side whose last step a key hears."""
HEARD = 2 * (2 * VICINITY + 1) + 12
FEATURES = HEARD + 12 + 1 + 7
"""What a key is told: what sounded and was struck around it, and how many of each pitch class; which key it is;
where in the bar."""
BEATS = 48
"""Steps after which those numbers come again."""
SURE = 25.0
"""A logit that leaves no doubt, and is a number to reckon with still."""
NEVER = 1e-6
"""Probability of a key outside the compass."""
OPENINGS = ((48, 55, 64, 72), (48, 60, 67, 76), (45, 57, 64, 72), (45, 60, 64, 69))
"""Music from nothing begins with one of these for a beat, on C or A: with no music before it, a first chord
drawn key by key does not hold together."""
WARM_STEPS = 16
"""Steps at the start of a stretch from the middle of a piece that only warm the memory up."""


@dataclass(frozen=True)
class Shape:
    """Cells of the two layers along time and of the two along the keys; how many keys below are told to
    each (the paper: 1); the compass; steps a quarter note; whether it knows a repeated note from a long
    one; what is dropped between layers in training; and the steps of a stretch it learns from."""

    time1: int = 300
    time2: int = 300
    note1: int = 100
    note2: int = 50
    below: int = 1
    lowest: int = 31
    highest: int = 84
    per_beat: int = 4
    articulated: int = 1
    dropout: float = 0.5
    stretch: int = 96

    @property
    def keys(self) -> int:
        """Keys of the compass."""
        return self.highest - self.lowest + 1


class Net(nn.Module):
    """Along time, then along the keys; K keys of the compass."""

    table: Tensor
    still: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        if not LOWEST <= shape.lowest < shape.highest < LOWEST + PITCHES or shape.below < 1:
            raise ValueError("the compass lies on a piano's keys")
        self.shape = shape
        self.time1 = nn.LSTM(FEATURES, shape.time1)
        self.time2 = nn.LSTM(shape.time1, shape.time2)
        self.note1 = nn.LSTM(shape.time2 + 2 * shape.below, shape.note1)
        self.note2 = nn.LSTM(shape.note1, shape.note2)
        self.says = nn.Linear(shape.note2, 2)
        with torch.no_grad():
            self.says.bias.copy_(torch.tensor([-3.0, 0.0]))  # few keys sound at once
        key = torch.arange(shape.lowest, shape.highest + 1)
        table = (
            key[:, None] + torch.arange(12)
        ) % 12  # K, 12: pitch classes from a key's own upwards
        self.register_buffer("table", table, persistent=False)
        place = (key[:, None] - 60) / 24
        self.register_buffer(
            "still", torch.cat([F.one_hot(key % 12, 12), place], 1), persistent=False
        )

    def features(self, sounds: Tensor, begins: Tensor, position: Tensor) -> Tensor:
        """What each key hears: of the step before `sounds` and `begins` [T, B, K], and the `position`
        [T, B] of this step → [T, B, K, FEATURES]"""
        T, B, K = sounds.size()
        near = [
            F.pad(x, (VICINITY, VICINITY)).unfold(-1, 2 * VICINITY + 1, 1) for x in (sounds, begins)
        ]
        counts = sounds.new_zeros(T, B, 12)
        counts = counts.index_add(2, self.table[:, 0], sounds)
        bits = torch.stack([(position >> b) & 1 for b in range(4)], -1)
        beat = torch.cat([bits, F.one_hot(position % 3, 3)], -1).to(sounds.dtype)
        return torch.cat(
            [
                *near,
                counts[..., self.table],
                self.still.expand(T, B, K, 13).to(sounds.dtype),
                beat[:, :, None].expand(T, B, K, 7),
            ],
            -1,
        )

    def below(self, sounds: Tensor, begins: Tensor) -> Tensor:
        """[T, B, K, 2 below] what was decided for the keys below each, the nearest last."""
        n = self.shape.below
        both = [F.pad(x, (n, 0))[..., :-1].unfold(-1, n, 1) for x in (sounds, begins)]
        return torch.cat(both, -1)

    def forward(self, sounds: Tensor, begins: Tensor, position: Tensor) -> Tensor:
        """sounds, begins [T, B, K], position [T, B] → logits [T, B, K, 2] of a key sounding, and of its
        being struck if it does"""
        T, B, K = sounds.size()
        past = [F.pad(x, (0, 0, 0, 0, 1, 0))[:-1] for x in (sounds, begins)]
        x = self.features(past[0], past[1], position).flatten(1, 2)  # T, BK, FEATURES
        for layer in (self.time1, self.time2):
            x = self._dropped(layer(x)[0])
        x = x.view(T * B, K, -1).transpose(0, 1)  # K, TB, time2
        told = self.below(sounds, begins).flatten(0, 1).transpose(0, 1)
        x = torch.cat([x, told.to(x.dtype)], -1)
        for layer in (self.note1, self.note2):
            x = self._dropped(layer(x)[0])
        logits: Tensor = self.says(x)
        return logits.transpose(0, 1).reshape(T, B, K, 2)

    def _dropped(self, x: Tensor) -> Tensor:
        """x [steps, rows, cells], in training without some cells: the same at every step of a row."""
        if not self.training or not self.shape.dropout:
            return x
        keep = torch.rand(x.shape[1:], dtype=torch.float32, device=x.device) >= self.shape.dropout
        return x * (keep.to(x.dtype) / (1 - self.shape.dropout))

    def nats(self, sounds: Tensor, begins: Tensor, position: Tensor) -> Tensor:
        """[T, B] −log p of each step"""
        logits = self(sounds, begins, position).float()
        sounds, begins = sounds.float(), begins.float()
        lost = F.binary_cross_entropy_with_logits(logits[..., 0], sounds, reduction="none")
        if self.shape.articulated:
            again = F.binary_cross_entropy_with_logits(logits[..., 1], begins, reduction="none")
            lost = lost + again * sounds
        return lost.sum(-1)


def tensors(rolls: Sequence[Roll], shape: Shape) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """sounds, begins [T, B, K], position [T, B] and whether a step is there at all [T, B]: rolls side by
    side, the shorter ones followed by nothing. A net that is not articulated hears no repeated notes."""
    T, K = max(map(len, rolls)), shape.keys
    first = shape.lowest - LOWEST
    sounds = np.zeros((T, len(rolls), K), np.float32)
    begins = np.zeros_like(sounds)
    position = np.zeros((T, len(rolls)), np.int64)
    there = np.zeros((T, len(rolls)), np.float32)
    for b, roll in enumerate(rolls):
        sounds[: len(roll), b] = roll.sounds[:, first : first + K]
        begins[: len(roll), b] = roll.begins[:, first : first + K]
        position[: len(roll), b] = roll.position
        there[: len(roll), b] = 1
    if not shape.articulated:
        begins[0] = sounds[0]
        begins[1:] = sounds[1:] * (1 - sounds[:-1])
    return tuple(torch.from_numpy(x) for x in (sounds, begins, position, there))  # type: ignore[return-value]


def batches(
    pieces: Sequence[Roll], shape: Shape, frames: int, rng: np.random.Generator
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """For ever, `tensors` of stretches of at most `shape.stretch` steps, as many as make `frames`, pieces as
    often as they are long; half of the stretches are beginnings or whole pieces, and the last of `tensors`
    is 0 where one only warms up."""
    steps, size = shape.stretch, max(1, frames // shape.stretch)
    length = np.array([len(p) for p in pieces], float)
    while True:
        chosen = rng.choice(len(pieces), size, p=length / length.sum())
        starts = [
            int(rng.integers(-steps // 4, max(1, len(pieces[i]) - steps + 1))) for i in chosen
        ]
        cut = [
            pieces[i].slice(max(s, 0), max(s, 0) + steps)
            for i, s in zip(chosen, starts, strict=True)
        ]
        sounds, begins, position, there = tensors(cut, shape)
        for b, start in enumerate(starts):
            if start > 0:
                there[:WARM_STEPS, b] = 0
        yield sounds, begins, position, there


def losses(
    net: Net, pieces: Sequence[Roll], frames: int, device: str, rng: np.random.Generator
) -> Iterator[Tensor]:
    """For ever, the mean −log p of a step of `batches`, in nats, to go down from."""
    for sounds, begins, position, there in batches(pieces, net.shape, frames, rng):
        there = there.to(device)
        # Products in bfloat16 take half the time here; the weights stay in single precision.
        keys = [x.to(device, torch.bfloat16) for x in (sounds, begins)]
        with torch.autocast(torch.device(device).type, torch.bfloat16):
            lost = net.nats(keys[0], keys[1], position.to(device))
        yield (lost * there).sum() / there.sum().clamp(min=1)


def nats(net: Net, pieces: Sequence[Roll], device: str, rows: int = 8192) -> list[npt.NDArray[Any]]:
    """−log p of every step of each piece [T], in nats, exactly; about `rows` memories side by side."""
    order = sorted(range(len(pieces)), key=lambda i: len(pieces[i]))
    side = max(1, rows // net.shape.keys // 16)
    found: dict[int, npt.NDArray[Any]] = {}
    first = net.shape.lowest - LOWEST
    outside = np.ones(PITCHES, bool)
    outside[first : first + net.shape.keys] = False
    net.eval()
    with torch.inference_mode():
        for at in range(0, len(order), side):
            group = order[at : at + side]
            sounds, begins, position, _ = tensors([pieces[i] for i in group], net.shape)
            lost = net.nats(sounds.to(device), begins.to(device), position.to(device)).cpu().numpy()
            for b, i in enumerate(group):
                beyond = pieces[i].sounds[:, outside].sum(1)
                never = -math.log(NEVER) * beyond - math.log1p(-NEVER) * (outside.sum() - beyond)
                found[i] = lost[: len(pieces[i]), b].astype(np.float64) + never
    return [found[i] for i in range(len(pieces))]


def _heard_first(layers: list[stepping.Weights]) -> list[stepping.Weights]:
    """Layers whose lowest is told its other features before those of what is heard; see `Net.features`."""
    (read, turn, bias), *others = layers
    return [(torch.cat([read[:, HEARD:], read[:, :HEARD]], 1), turn, bias), *others]


class Writer:
    """Goes on step by step, for `count` candidates side by side; memories are kept, never replayed."""

    def __init__(self, net: Net, before: Roll, count: int) -> None:
        """`before` is heard first, by all."""
        self.net, self.count = net, count
        shape, K, n = net.shape, net.shape.keys, net.shape.below
        # Where a key lies and when it is are rows of tables; heard is what sounded around it.
        time = LSTM(_heard_first(stepping.weights(net.time1, net.time2)), HEARD)
        place = time.rows(net.still.repeat(count, 1))
        self._time = Walk(time, count * K)
        self._place = place  # count K, 4 time1
        bits = torch.arange(BEATS)[:, None] >> torch.arange(4) & 1
        beat = torch.cat([bits, F.one_hot(torch.arange(BEATS) % 3, 3)], 1)
        self._beat = time.rows(beat, 13, bias=False)  # BEATS, 4 time1
        self._told = np.empty_like(place)
        note = LSTM(stepping.weights(net.note1, net.note2))
        self._note = Walk(note, count)
        # As rows: what the layer along time says, with the bias; a key that sounds, and one that is struck,
        # to the keys above it, the nearest first.
        eye = torch.eye(shape.time2 + 2 * n)
        self._of_time = note.rows(eye[: shape.time2], bias=False)  # time2, 4 note1
        self._bias = note.bias[0]
        below = note.rows(eye[shape.time2 :], bias=False)
        self._sounding = below[:n][::-1].copy()
        self._struck = self._sounding + below[n:][::-1]
        self._says, self._said = stepping.linear(net.says)
        self._heard = np.empty((count, K, 4 * shape.note1), np.float32)
        self._pads = np.zeros((2, count, K + 2 * VICINITY), np.float32)
        near = np.lib.stride_tricks.sliding_window_view(self._pads, 2 * VICINITY + 1, -1)
        self._near = [near[0], near[1]]  # count, K, 2 VICINITY + 1
        self._classes = np.eye(12, dtype=np.float32)[net.table[:, 0].cpu().numpy()]  # K, 12
        self._table = net.table.cpu().numpy()
        self.sounds = np.zeros((count, K), np.float32)
        self.begins = self.sounds
        if len(before):
            sounds, begins, position, _ = tensors([before], shape)
            for t in range(len(before)):
                self._hear(int(position[t, 0]))
                self.sounds = np.repeat(sounds[t].numpy(), count, 0)
                self.begins = np.repeat(begins[t].numpy(), count, 0)

    def _hear(self, position: int) -> Floats:
        """One step along time with what was last decided; [count K, time2]"""
        C, K, W = self.count, self.net.shape.keys, 2 * VICINITY + 1
        heard = self._time.heard.reshape(C, K, HEARD)  # a view
        for k, keys in enumerate((self.sounds, self.begins)):
            self._pads[k, :, VICINITY : VICINITY + K] = keys
            heard[:, :, k * W : (k + 1) * W] = self._near[k]
        heard[:, :, 2 * W :] = (self.sounds @ self._classes)[:, self._table]
        np.add(self._place, self._beat[position % BEATS], self._told)
        return self._time.step(self._told)

    def step(
        self,
        position: int,
        kept: npt.NDArray[np.bool_],
        noise: Floats,
        heat: float,
        more: float,
        *,
        attacca: bool = False,
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """What sounds and what is struck [count, K] at the next step: what is `kept` [K] sounds; `noise`
        [count, K, 2] is uniform; `heat` the temperature, `more` is added to the logits of sounding. With
        `attacca` it is drawn given that something sounds."""
        shape, C, K, n = self.net.shape, self.count, self.net.shape.keys, self.net.shape.below
        heard = self._heard
        np.matmul(self._hear(position), self._of_time, heard.reshape(C * K, -1))
        np.add(heard, self._bias, heard)
        # u < σ(x / heat) is x > heat · log(u / (1 − u)), and the draws are known beforehand.
        bar = heat * np.log((noise + 1e-12) / (1 - noise + 1e-12)) - self._said
        bar[:, :, 0] -= heat * more
        bar[:, kept, 0] = -np.inf
        if attacca:
            first = self._lowest(kept, noise[:, :, 0], heat, more)
            bar[..., 0][np.arange(K) < first[:, None]] = np.inf
            bar[np.arange(C), first, 0] = -np.inf
        bars = bar.swapaxes(0, 1).tolist()  # K, count, 2
        before = self.sounds > 0
        sounds, begins = np.zeros((C, K), bool), np.zeros((C, K), bool)
        said = np.empty((C, 2), np.float32)
        note, says = self._note, self._says
        note.forget()
        for k in range(K):
            np.matmul(note.step(heard[:, k]), says, said)
            for c, ((on, again), (lowest, least)) in enumerate(
                zip(said.tolist(), bars[k], strict=True)
            ):
                if on > lowest:
                    struck = again > least if shape.articulated else not before[c, k]
                    sounds[c, k], begins[c, k] = True, struck
                    above = heard[c, k + 1 : k + 1 + n]
                    above += (self._struck if struck else self._sounding)[: len(above)]
        self.sounds, self.begins = sounds.astype(np.float32), begins.astype(np.float32)
        return sounds, begins

    def _lowest(
        self, kept: npt.NDArray[np.bool_], noise: Floats, heat: float, more: float
    ) -> npt.NDArray[np.intp]:
        """[count] the lowest key that sounds, given that one does: what `noise` [count, K] draws. It is exact, as
        all keys below it are silent, and so there is one way only to come to a key."""
        note, said = self._note, self._said[0]
        note.forget()
        keys = range(self.net.shape.keys)
        alone = np.stack([note.step(self._heard[:, k]) @ self._says[:, 0] for k in keys], 1)
        logits = np.clip((alone.astype(np.float64) + said) / heat + more, -SURE, SURE)
        logits[:, kept] = SURE
        odds = 1 / (1 + np.exp(-logits))
        some = -np.expm1(np.log1p(-odds)[:, ::-1].cumsum(1)[:, ::-1])  # from a key on
        return np.asarray((noise < odds / some).argmax(1))

    def told(
        self, chords: npt.NDArray[np.bool_], struck: bool
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Takes `chords` [count, K] instead of what it drew, `struck` or held."""
        self.sounds = chords.astype(np.float32)
        self.begins = self.sounds * struck
        return chords, chords & struck


def write(
    net: Net,
    seat: Seat,
    count: int,
    heat: float,
    more: float,
    rng: np.random.Generator,
    tonic: int = 0,
    *,
    attacca: bool = False,
) -> Iterator[tuple[int, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]]:
    """Fills a seat: after each step yields how many there are, and `sounds` and `begins` [count, T, PITCHES]
    so far, which are written on. `tonic`: semitones that C major has been moved up by; `attacca`: something
    sounds at the first step."""
    first, K = net.shape.lowest - LOWEST, net.shape.keys
    sounds = np.zeros((count, len(seat), PITCHES), bool)
    begins = np.zeros_like(sounds)
    with torch.inference_mode():
        writer = Writer(net, seat.before, count)
    chords = np.zeros((count, K), bool)
    for row, chord in zip(chords, rng.integers(len(OPENINGS), size=count), strict=True):
        keys = np.array(OPENINGS[chord]) + tonic - net.shape.lowest
        row[keys[(keys >= 0) & (keys < K)]] = True
    for t in range(len(seat)):
        with torch.inference_mode():
            noise = rng.random((count, K, 2)).astype(np.float32)
            kept = seat.kept.sounds[t, first : first + K]
            at_once = attacca and t == 0
            now = writer.step(int(seat.position[t]), kept, noise, heat, more, attacca=at_once)
            if t < net.shape.per_beat and not seat.before.sounds.any():
                now = writer.told(chords | kept, t == 0)
        sounds[:, t, first : first + K], begins[:, t, first : first + K] = now
        yield t + 1, sounds, begins


def proposals(
    net: Net,
    seat: Seat,
    count: int,
    heat: float,
    more: float,
    rng: np.random.Generator,
    tonic: int = 0,
    *,
    attacca: bool = False,
) -> Iterator[Proposal | Progress]:
    """Fills a seat and shows what is there at every bar's end; see `write`."""
    bar = 4 * net.shape.per_beat
    written_on = write(net, seat, count, heat, more, rng, tonic, attacca=attacca)
    for done, sounds, begins in written_on:
        final = done == len(seat)
        if final or not done % bar:
            yield Progress(done / len(seat), "Writing")
            for k in range(count):
                part = seat.until(done)
                tracks = written(sounds[k, :done], begins[k, :done], part)
                yield Proposal(k, seat.region, tracks, final=final)

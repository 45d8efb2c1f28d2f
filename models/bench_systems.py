"""`ricercar bench systems`: how long each system takes for sixteen bars, and how much of that is arithmetic."""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from models import catalogue
from models.bench_latent import phrase
from models.card import Card, Task
from models.representations import melody
from models.score import Notes, Region, Score, Track, UserError
from models.system import Ask, Context, Proposal
from models.timebase import PPQ

log = logging.getLogger(__name__)

BARS = 16
TICKS = BARS * 4 * PPQ
TIMES = 3
RECURRENT = ("lstm", "rnn", "recurrent")
"""Words on the card of a system that goes step by step through matrix products."""

STEPS = {
    "bi_axial": "models.strategies.biaxial:write",
    "blstm_chords": "models.systems.blstm_chords:System.log_odds",
    "blues_c": "models.systems.blues_c:System.unrolled",
    "blues_mc": "models.systems.blues_mc:System.played",
    "celtic": "models.systems.celtic:System.write",
    "concert": "models.systems.concert:System.compose",
    "glsr_vae": "models.systems.glsr_vae:Stepper.decode",
    "hexahedria": "models.strategies.biaxial:write",
    "launchpad_lstm": "models.systems.launchpad_lstm:System.play",
    "music_vae_16bar": "models.systems.music_vae_16bar:Stepper.decode",
    "music_vae_2bar": "models.systems.music_vae_2bar:Stepper.decode",
    "performance_rnn": "models.systems.performance_rnn:improvise",
    "rnn_rbm": "models.systems.rnn_rbm:System.write",
    "vrae": "models.systems.vrae:Stepper.decode",
    "vrash": "models.systems.vrash:Stepper.decode",
}
"""The function of each system that takes the steps, all of them, and draws what they say."""

_aten = torch.ops.aten
PRODUCTS = frozenset({
    _aten.mm, _aten.addmm, _aten.addmm_, _aten.bmm, _aten.baddbmm, _aten.baddbmm_,
    _aten.mv, _aten.addmv, _aten.addmv_, _aten.dot,
})  # fmt: skip
FUSED = _aten.mkldnn_rnn_layer
"""A whole layer of an LSTM over a sequence, of which only the products count."""

_PLAIN = Tensor.numpy

Call = Callable[[], object]


def run(device: str = "cpu", ids: Iterable[str] = ()) -> Mapping[str, float]:
    """Every system (or those of `ids`) with its shipped weights and default parameters, one candidate;
    on one thread of torch as in the program; loading and a first call are left out.

    What is asked for: sixteen bars from nothing, or else to go on from sixteen bars of a made-up melody, to
    accompany them or to write them anew. ID_first_s: seconds to the first proposal; ID_bar_s: seconds per
    bar of the last one; both medians of TIMES.
    ID_step_ratio, of systems with recurrent nets: the processor's time for all steps of the request, from
    what is known to what is drawn, over that for their matrix products alone: the same ones, recorded in a
    run of their own, one right after the other, in turn with the request. What is done once, before the
    first step, or to show what there is, is no part of a step (STEPS); all that is done at each one is.
    ID_product_us: microseconds a product takes in the mean. Beside empty_product_us, what calling for one
    costs that multiplies 1 by 1, it says how much of the ratio is a matter of calls.

    A system that cannot be had is named on standard error and left out.
    """
    threads = torch.get_num_threads()
    wanted = frozenset(ids)
    torch.set_num_threads(1)
    figures = {"empty_product_us": empty()}
    try:
        for card in catalogue.cards():
            if wanted and card.id not in wanted:
                continue
            try:
                figures |= _figures(card, device)
            except UserError as error:
                log.warning("%s is left out: %s", card.id, error)
    finally:
        torch.set_num_threads(threads)
    return figures


def asked(card: Card) -> Ask:
    """What a system is timed with."""
    onset, duration, pitch = melody.to_notes(phrase(BARS, 1)[0], 0)
    tune = Score((Track(0, "Melody", Notes.of(onset, duration, pitch)),))
    values = card.values()
    order = (Task.CREATE, Task.CONTINUE, Task.ACCOMPANY, Task.REGENERATE)
    task = next((t for t in order if t in card.tasks), card.tasks[0])
    if task is Task.CREATE:
        return Ask(task, Score(), Region(0, TICKS), values)
    if task is Task.CONTINUE:
        return Ask(task, tune, Region(TICKS, 2 * TICKS, frozenset({0})), values)
    if task is Task.ACCOMPANY:
        return Ask(task, tune, Region(0, TICKS), values, melody=0)
    return Ask(task, tune, Region(0, TICKS, frozenset({0})), values)


def _figures(card: Card, device: str) -> dict[str, float]:
    system: Any = catalogue.load(card.id, None, device)
    ask = asked(card)
    recurrent = any(word in card.architecture.casefold() for word in RECURRENT)
    timed(system, ask, device)
    bare: Call = _nothing
    place, products = steps_of(system), 0
    if recurrent and device == "cpu":
        recorder = recorded(catalogue.load(card.id, None, device), ask, place)
        bare, products = recorder.replay(), len(recorder.calls)
        bare()
    times, ratios, alone = [], [], []
    for _ in range(TIMES):
        watch = Stopwatch()
        with within(place, watch.start, watch.stop):
            times.append(timed(system, ask, device))
        began = time.thread_time()
        bare()
        alone.append(max(time.thread_time() - began, 1e-9))
        ratios.append(watch.seconds / alone[-1])
    first, whole = np.median(times, 0)
    found = {f"{card.id}_first_s": float(first), f"{card.id}_bar_s": float(whole) / BARS}
    if products:
        found[f"{card.id}_step_ratio"] = float(np.median(ratios))
        found[f"{card.id}_product_us"] = 1e6 * float(np.median(alone)) / products
    return found


class Stopwatch:
    """Sums up a thread's time on the processor between `start` and `stop`."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._began = 0.0

    def start(self) -> None:
        """From here on it counts."""
        self._began = time.thread_time()

    def stop(self) -> None:
        """No longer."""
        self.seconds += time.thread_time() - self._began


def steps_of(system: Any) -> str:
    """Where a system steps: as STEPS says, else all of what it generates."""
    kind = type(system)
    return STEPS.get(system.card.id, f"{kind.__module__}:{kind.__qualname__}.generate")


@contextmanager
def within(place: str, start: Call, stop: Call) -> Iterator[None]:
    """Meanwhile `start` is called when the function at `place` ("module:name") begins, or goes on after a yield,
    and `stop` when it yields or ends."""
    module, _, path = place.partition(":")
    owner: Any = importlib.import_module(module)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    kept, function = vars(owner)[name], getattr(owner, name)

    def going_on(steps: Iterator[Any]) -> Iterator[Any]:
        while True:
            start()
            try:
                step = next(steps)
            except StopIteration:
                return
            finally:
                stop()
            yield step

    def watched(*args: Any, **named: Any) -> Any:
        start()
        try:
            found = function(*args, **named)
        finally:
            stop()
        return going_on(found) if isinstance(found, Iterator) else found

    setattr(owner, name, staticmethod(watched) if isinstance(kept, staticmethod) else watched)
    try:
        yield
    finally:
        setattr(owner, name, kept)


def empty(calls: int = 2000) -> float:
    """Microseconds of a product of 1 by 1."""
    one = np.ones((1, 1), np.float32)
    out = np.empty_like(one)
    spent = []
    for _ in range(TIMES):
        began = time.thread_time()
        for _ in range(calls):
            np.matmul(one, one, out)
        spent.append(time.thread_time() - began)
    return 1e6 * float(np.median(spent)) / calls


def timed(system: Any, ask: Ask, device: str = "cpu") -> tuple[float, float]:
    """Seconds to the first proposal, and in all."""
    began = time.perf_counter()
    first = 0.0
    for step in system.generate(ask, Context(np.random.default_rng(ask.seed), device)):
        if isinstance(step, Proposal) and not first:
            first = time.perf_counter() - began
    return first, time.perf_counter() - began


def recorded(system: Any, ask: Ask, place: str) -> Recorder:
    """The matrix products of the steps of a request, by a system that is not used afterwards."""
    recorder = Recorder()
    recorder.pause()
    with recorder, recorder.numpy():
        timed(system, ask)  # which makes the tables that are kept for the next time
        with within(place, recorder.go_on, recorder.pause):
            timed(system, ask)
    return recorder


def _plain(value: Any) -> Any:
    return value.view(np.ndarray) if isinstance(value, np.ndarray) else value


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Operand:
    """An array of a product: its address, shape, strides (in elements) and kind."""

    place: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    kind: torch.dtype
    of_numpy: bool

    @property
    def floats(self) -> int:
        """How many single precision numbers take at least as much room, an even number."""
        reach = sum((n - 1) * s for n, s in zip(self.shape, self.stride, strict=True) if n)
        return 2 * (-(-(reach + 1) * self.kind.itemsize // 8) + 1)

    def made(self, memory: Tensor) -> Any:
        """An array like it at the beginning of some memory."""
        array = torch.as_strided(memory.view(self.kind), self.shape, self.stride)
        return _PLAIN(array) if self.of_numpy else array


class Recorder(TorchDispatchMode):
    """Notes every matrix product that torch does while it is on, to do them again alone; and within
    `numpy`, those by @ of arrays that come from tensors, as weights do.

    What is kept of an operand is where and how it lay in memory. The replay has memory of its own in the same
    pieces, so that what stayed in the processor's cache does so again.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []
        self._paused = False

    def go_on(self) -> None:
        """From here on products are noted."""
        self._paused = False

    def pause(self) -> None:
        """No longer."""
        self._paused = True

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        packet = func.overloadpacket
        if packet in PRODUCTS:
            self._note(func, args, kwargs)
        elif packet is FUSED:
            self._unfold(*args[:7])
        else:
            with self:  # linear, matmul or einsum are products once they are taken apart
                done = func.decompose(*args, **kwargs)
            if done is not NotImplemented:
                return done
        return func(*args, **kwargs)

    def _note(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._paused:
            return
        named = {name: self._operand(value) for name, value in kwargs.items()}
        self.calls.append((func, tuple(map(self._operand, args)), named))

    @contextmanager
    def numpy(self) -> Iterator[None]:
        """Meanwhile `Tensor.numpy` gives arrays that tell of their products."""
        kind, name = self._telling(), "numpy"
        setattr(Tensor, name, lambda tensor, **force: _PLAIN(tensor, **force).view(kind))
        try:
            yield
        finally:
            delattr(Tensor, name)  # what lies beneath is the base class's own

    def _telling(self) -> type[np.ndarray[Any, Any]]:
        note = self._note

        class Telling(np.ndarray[Any, Any]):
            """An array that tells of the products it has a part in; so do those computed from it."""

            def __array_ufunc__(
                self, ufunc: Any, method: str, *inputs: Any, out: tuple[Any, ...] = (), **more: Any
            ) -> Any:
                given = tuple(map(_plain, inputs))
                if out:
                    more["out"] = tuple(map(_plain, out))
                if ufunc is np.matmul and method == "__call__":
                    note(np.matmul, given, {"out": more["out"][0]} if out else {})
                made = getattr(ufunc, method)(*given, **more)
                if out:
                    return out[0]
                return made.view(Telling) if isinstance(made, np.ndarray) else made

        return Telling

    def _operand(self, value: Any) -> Any:
        of_numpy = isinstance(value, np.ndarray)
        if of_numpy:
            value = torch.from_numpy(_plain(value))
        if not isinstance(value, Tensor):
            return value
        return Operand(value.data_ptr(), tuple(value.shape), value.stride(), value.dtype, of_numpy)

    def _unfold(
        self, x: Tensor, w: Tensor, u: Tensor, b: Tensor, _: Tensor, h: Tensor, c: Any
    ) -> None:
        """The products of x [T, B, I] with weights [4H, I] and, step by step, of h [B, H] with [4H, H]."""
        steps, batch, inner = x.shape
        self._note(_aten.mm.default, (x.reshape(steps * batch, inner), w.t()), {})
        for _step in range(steps):
            self._note(_aten.mm.default, (h.reshape(batch, -1), u.t()), {})

    def replay(self) -> Call:
        """A function that does all of it again, or nothing when there was nothing."""
        operands = {
            value
            for _, args, kwargs in self.calls
            for value in (*args, *kwargs.values())
            if isinstance(value, Operand)
        }
        room: dict[int, int] = {}
        for operand in operands:
            room[operand.place] = max(room.get(operand.place, 0), operand.floats)
        # Not zeros: those and denormals have speeds of their own.
        memory = {place: torch.full((floats,), 0.01) for place, floats in room.items()}
        made = {operand: operand.made(memory[operand.place]) for operand in operands}

        def real(value: Any) -> Any:
            return made[value] if isinstance(value, Operand) else value

        calls = [
            (func, tuple(map(real, args)), {name: real(a) for name, a in kwargs.items()})
            for func, args, kwargs in self.calls
        ]

        def again() -> None:
            with torch.inference_mode():
                for func, args, kwargs in calls:
                    func(*args, **kwargs)

        return again if calls else _nothing

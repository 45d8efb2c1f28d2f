"""What to ask of a system on stage: from what was played and made so far to Asks, and back from a Proposal.

A system gets a short piece of its own that begins with a bar: the last bars of the performance in its metre,
key and tempo. Some want whole bars, or 4/4: what is asked is therefore a list, to be tried in turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from engine import fallback
from engine.stage_time import Timeline
from engine.staging import Mode, Scene, Setting
from models.card import Card, Param, Task, Value
from models.score import EMPTY, Key, Notes, Region, Score, Track, UserError
from models.system import Ask, Proposal
from models.timebase import PPQ, MeterMap, TempoMap

HISTORY_BARS = 8
"""What a system hears of what came before."""

BLUES_BARS = 24
"""What one that looks for its place in the twelve bars hears."""

HASTE = 4
"""Where chords must be there within a beat, samplers take so many times fewer iterations than usual, unless told
how many."""

DRUMS = 9

Lines = Mapping[str, Notes]
"""Music by the names of its lines, in u."""


@dataclass(frozen=True, eq=False)
class Passage:
    """Music from `start` to `end` (u); no note crosses either."""

    start: int
    end: int
    lines: Lines

    @property
    def count(self) -> int:
        """How many notes it has."""
        return sum(len(n) for n in self.lines.values())

    def cut(self, start: int, end: int) -> Passage:
        """What of it lies in [start, end): a note that crosses an edge is cut there."""
        return Passage(start, end, {k: clipped(n, start, end) for k, n in self.lines.items()})

    def moved(self, ticks: int) -> Passage:
        """The same so much later."""
        lines = {k: n.with_(onset=n.onset + ticks) for k, n in self.lines.items()}
        return Passage(self.start + ticks, self.end + ticks, lines)

    def joined(self) -> Notes:
        """All its notes, whatever their line."""
        return merged(list(self.lines.values()))


@dataclass(frozen=True, eq=False)
class Order:
    """What is wanted: music for [start, end) of u. `asks` are tried in turn, each with the u of its tick 0."""

    system: str
    asks: tuple[tuple[Ask, int], ...]
    start: int
    end: int

    def read(self, proposal: Proposal, attempt: int) -> Passage:
        """What a proposal to the ask number `attempt` says."""
        origin = self.asks[attempt][1]
        lines: dict[str, Notes] = {}
        for track in proposal.tracks:
            if track.channel != DRUMS and len(track.notes):
                moved = shifted(track.notes, origin)
                lines[track.name] = (
                    merged([lines[track.name], moved]) if track.name in lines else moved
                )
        return Passage(self.start, self.end, lines).cut(self.start, self.end)


def merged(parts: list[Notes]) -> Notes:
    """All notes in one set, with new ids."""
    parts = [p for p in parts if len(p)]
    first, renumbered = 0, []
    for p in parts:
        renumbered.append(p.with_(id=first + np.arange(len(p))))
        first += len(p)
    return Notes.concatenate(renumbered)


def shifted(notes: Notes, ticks: int) -> Notes:
    """The notes so many ticks later; those that would begin before 0 begin there, or are gone."""
    onset, end = notes.onset + ticks, notes.end + ticks
    there = end > 0
    onset = np.maximum(onset, 0)
    # Through `of`, as durations change with what is cut off.
    return Notes.of(
        onset[there],
        (end - onset)[there],
        notes.pitch[there],
        notes.velocity[there],
        locked=notes.locked[there],
    )


def clipped(notes: Notes, start: int, end: int) -> Notes:
    """What of the notes sounds in [start, end)."""
    notes = notes.where(notes.sounding(start, end))
    onset = np.maximum(notes.onset, start)
    return notes.with_(onset=onset, duration=np.minimum(notes.end, end) - onset)


# --- the parts of an Ask ----------------------------------------------------------------------------


def values(card: Card, setting: Setting, task: Task) -> dict[str, Value]:
    """The system's parameters: those set, and density and register where it has them for that task.

    What it does not have, or not so high or low, is left out: a knob must never stop the music.
    """
    known = {p.name: p for p in card.params}
    wanted: dict[str, Value] = {}
    for name, value in setting.params.items():
        if name in known:
            try:
                wanted[name] = known[name].check(value)
            except UserError:
                continue
    if own(card, "density", task) is not None:
        wanted["density"] = float(np.clip(setting.density, -3, 3))
    register = own(card, "register", task)
    if register is not None:
        base = wanted.get("register", register.default)
        assert isinstance(base, int)
        moved = base + 12 * setting.register
        wanted["register"] = int(np.clip(moved, register.minimum, register.maximum))
    return card.values(wanted)


def own(card: Card, name: str, task: Task) -> Param | None:
    """The system's parameter of that name, if it means something for the task."""
    for param in card.params:
        if param.name == name and (not param.tasks or task in param.tasks):
            return param
    return None


def task_for(card: Card, setting: Setting) -> Task:
    """What a mode asks of a system; UserError when its card does not offer the mode."""
    wanted = {
        Mode.ANSWER: (
            Task.CONTINUE,
            Task.RESHAPE if setting.density else Task.REGENERATE,
            Task.RESHAPE,
        ),
        Mode.HARMONISE: (Task.ACCOMPANY,),
        Mode.STREAM: (Task.CONTINUE,),
        Mode.MUTATE: (Task.REGENERATE,),
    }[setting.mode]
    for task in wanted:
        if task in card.tasks:
            return task
    raise UserError(f"{card.name} cannot {setting.mode}; choose another system.")


def _piece(
    timeline: Timeline, scene: Scene, at: int, common: bool, tracks: tuple[Track, ...]
) -> Score:
    """A piece in the metre (4/4 if `common`), key and tempo of the performance at `at`."""
    tick = max(timeline.place(at), 0)
    numerator, denominator = (4, 4) if common else timeline.meter.at(tick)
    key = scene.score.key_at(tick)
    return Score(
        tracks,
        TempoMap.constant(timeline.tempo.bpm(tick)),
        MeterMap(np.zeros(1, np.int64), np.array([numerator]), np.array([denominator])),
        () if key is None else (Key(0, key.sharps, key.minor),),
    )


def _origins(timeline: Timeline, start: int, bars: int, first: int) -> list[tuple[int, bool]]:
    """Where the piece of a request for music from `start` may begin, `bars` before at most and where the music
    begins (`first`), and whether in 4/4: in the bars there are, in bars that begin at `start`, in such of 4/4."""

    def back(barline: int, length: int) -> int:
        return barline - min(max(-(-(barline - first) // length), 0), bars) * length

    bar = timeline.bar_length(start)
    offset = timeline.offset(start)
    found = [(back(start - offset, bar), False)]
    if offset:
        found.append((back(start, bar), False))
    if bar != 4 * PPQ:
        found.append((back(start, 4 * PPQ), True))
    return found


def _tracks(lines: Lines, origin: int, until: int, setting: Setting, first: int) -> list[Track]:
    """A track for each line that has notes before `until`, with ids from `first` on and channels of its own."""
    sound = setting.parts[0] if setting.parts else Track(0, "")
    found: list[Track] = []
    for name, notes in lines.items():
        past = clipped(notes, origin, max(until, origin + 1)) if until > origin else EMPTY
        i = first + len(found)
        found.append(Track(i, name, shifted(past, -origin), channel=i % 9, program=sound.program))
    used = 0
    for i, track in enumerate(found):
        found[i] = track.with_notes(track.notes.with_(id=used + np.arange(len(track.notes))))
        used += len(track.notes)
    return found


def _whole(timeline: Timeline, start: int, end: int, common: bool) -> int:
    """The end of the last bar that begins at or after `start` and before `end`."""
    bar = 4 * PPQ if common else timeline.bar_length(start)
    return start + -(-(end - start) // bar) * bar


# --- asking -----------------------------------------------------------------------------------------


def led_up(phrase: Notes, start: int, bar: int) -> Notes:
    """The phrase as it is gone on from at `start`, without the rest between: so many whole bars later that less than
    a bar of the rest is left, through which its last notes are held.

    That rest is a sign for us. A system would take it for the beginning of a pause, and go on with the pause.
    """
    rest = start - phrase.length
    if not len(phrase) or rest <= 0:
        return phrase
    last = phrase.end == phrase.length
    moved = phrase.with_(onset=phrase.onset + rest // bar * bar)
    return moved.with_(duration=np.where(last, start - moved.onset, moved.duration))


def answering(
    card: Card,
    setting: Setting,
    timeline: Timeline,
    scene: Scene,
    phrase: Notes,
    start: int,
    end: int,
    seed: int,
) -> Order:
    """Music for [start, end) that answers `phrase`, which has notes: it goes on from it if the system can, at once
    if it can be told that; else it is near to it."""
    if task_for(card, setting) is not Task.CONTINUE:
        return varying(card, setting, timeline, scene, phrase, start, end, seed)
    past = {"Phrase": led_up(phrase, start, timeline.bar_length(start))}
    return continuing(card, setting, timeline, scene, past, start, end, seed, attacca=True)


def continuing(
    card: Card,
    setting: Setting,
    timeline: Timeline,
    scene: Scene,
    past: Lines,
    start: int,
    end: int,
    seed: int,
    *,
    attacca: bool = False,
) -> Order:
    """Music for [start, end) that goes on from `past`; with `attacca`, of systems that have that parameter, it
    begins with a note."""
    bars = BLUES_BARS if card.representation.name == "blues" else HISTORY_BARS
    given = values(card, setting, Task.CONTINUE)
    if attacca and own(card, "attacca", Task.CONTINUE) is not None:
        given["attacca"] = True
    if (
        card.objective.type == "chords"
    ):  # it goes on from chords: its own, else those that fit what was played
        name = card.voices[0].capitalize()
        heard = merged(list(past.values()))
        key = scene.score.key_at(max(timeline.place(start), 0))
        ours = past.get(name, EMPTY)
        past = {name: ours if len(ours) else fallback.chords(heard, fallback.scale(key, heard))}
    asks = []
    first = min((int(n.onset.min()) for n in past.values() if len(n)), default=start)
    for origin, common in _origins(timeline, start, bars, first):
        tracks = _tracks(past, origin, start, setting, 0)
        ids = frozenset(t.id for t in tracks if len(t.notes)) or frozenset(t.id for t in tracks)
        score = _piece(timeline, scene, start, common, tuple(tracks))
        region = Region(start - origin, end - origin, ids)
        asks.append((Ask(Task.CONTINUE, score, region, given, seed), origin))
        whole = _whole(timeline, start, end, common)
        if whole != end:
            region = replace(region, end=whole - origin)
            asks.append((Ask(Task.CONTINUE, score, region, given, seed), origin))
    return Order(card.id, tuple(asks), start, end)


def varying(
    card: Card,
    setting: Setting,
    timeline: Timeline,
    scene: Scene,
    phrase: Notes,
    start: int,
    end: int,
    seed: int,
) -> Order:
    """Music for [start, end) near to `phrase`, which is repeated until it is long enough."""
    bar = timeline.bar_length(start)
    first = int(phrase.onset.min())
    first -= timeline.offset(first)
    length = -(-(phrase.length - first) // bar) * bar
    asks = []
    for task in dict.fromkeys((task_for(card, setting), Task.REGENERATE)):
        if task not in card.tasks:
            continue
        for common in (False, True) if bar != 4 * PPQ else (False,):
            whole = _whole(timeline, start, end, common) - start
            copies = [shifted(phrase, k * length - first) for k in range(-(-whole // length))]
            notes = clipped(merged(copies), 0, whole)
            if not len(notes):
                continue
            track = Track(0, "Phrase", fallback.highest(notes))
            score = _piece(timeline, scene, start, common, (track,))
            region = Region(0, whole, frozenset({0}))
            asks.append((Ask(task, score, region, values(card, setting, task), seed), start))
    return Order(card.id, tuple(asks), start, end)


def accompanying(
    card: Card,
    setting: Setting,
    timeline: Timeline,
    scene: Scene,
    melody: Notes,
    past: Lines,
    start: int,
    end: int,
    seed: int,
) -> Order:
    """Music for [start, end) under `melody`, which says what sounds there, after `past`."""
    given = values(card, setting, Task.ACCOMPANY)
    iterations = given.get("iterations")
    if isinstance(iterations, int) and "iterations" not in setting.params:
        given["iterations"] = -(-iterations // HASTE)
    asks, over = [], []
    bar = timeline.bar_length(start)
    barline = start - timeline.offset(start)
    spans = [(start, end, False)]
    for common in (False, True) if bar != 4 * PPQ else (False,):
        at = start if common else barline
        spans.append((at, _whole(timeline, at, end, common), common))
    for first, last, common in dict.fromkeys(spans):
        length = 4 * PPQ if common else bar
        origin = (first if common else barline) - HISTORY_BARS // 2 * length
        # What is held is heard to the end of what is asked for.
        sung = melody.with_(
            duration=np.where(
                melody.end >= end, np.maximum(last - melody.onset, 1), melody.duration
            )
        )
        sung = shifted(clipped(sung, origin, last), -origin)
        tracks = _tracks(past, origin, start, setting, 1)
        tracks = [t.with_notes(t.notes.with_(id=t.notes.id + len(sung))) for t in tracks]
        score = _piece(
            timeline, scene, start, common, (Track(0, "Melody", sung, channel=15), *tracks)
        )
        region = Region(first - origin, last - origin, frozenset(t.id for t in tracks))
        asks.append((Ask(Task.ACCOMPANY, score, region, given, seed, melody=0), origin))
        # One that plays over chords gets such as fit the melody.
        key = score.key_at(0)
        chords = Track(0, "Chords", fallback.chords(sung, fallback.scale(key, sung)), channel=15)
        over.append((replace(asks[-1][0], score=score.with_track(chords)), origin))
    return Order(card.id, (*asks, *over), start, end)


def mutating(
    card: Card, setting: Setting, score: Score, loop: Region, rng: np.random.Generator
) -> Order:
    """`share` of the notes that may change in the loop, to be written anew; UserError when there are none."""
    given = values(card, setting, Task.REGENERATE)
    bars = replace(loop, tracks=frozenset(t.id for t in score.tracks if t.channel != DRUMS))
    if setting.voice is not None:
        bars = bars.with_tracks({setting.voice} & bars.tracks)
    free = [t for t in score.tracks if bars.owned(t).any()]
    if not free:
        raise UserError(
            "Nothing in the loop may change; unlock some notes, or choose another voice."
        )
    seed = int(rng.integers(1 << 31))
    lone = free[int(rng.integers(len(free)))]
    asks = []
    for chosen in dict.fromkeys((tuple(t.id for t in free), (lone.id,))):
        locked = score
        for track in (t for t in free if t.id in chosen):
            owned = np.flatnonzero(bars.owned(track))
            count = max(round(setting.share * len(owned)), 1)
            spared = rng.permutation(owned)[count:]
            lock = track.notes.locked.copy()
            lock[spared] = True
            locked = locked.with_track(track.with_notes(track.notes.with_(locked=lock)))
        region = bars.with_tracks(chosen)
        asks.append((Ask(Task.REGENERATE, locked, region, given, seed), 0))
    return Order(card.id, tuple(asks), loop.start, loop.end)

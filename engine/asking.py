"""From the words of a command line to an Ask: which bars, which voices, what a task takes for granted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from models.card import Card, Task, Value
from models.representations import phrase
from models.score import EMPTY, Region, Score, Track, UserError
from models.system import Ask
from models.timebase import MeterMap

MAX_BARS = 2000
MAX_COUNT = 64
DRUMS = 9
"""The channel without pitches."""
CREATE_BARS, CONTINUE_BARS = 16, 4
BLENDS = (Task.INTERPOLATE, Task.RESHAPE, Task.REGENERATE)
"""The tasks that a second piece has a meaning for."""


def bars(text: str) -> tuple[int, int]:
    """The bar numbers in "BAR:BAR", both inclusive and as printed; UserError when it says none."""
    first, colon, last = text.partition(":")
    if not colon:
        last = first
    if not (first.strip().isdecimal() and last.strip().isdecimal()) or int(first) > int(last):
        raise UserError(
            f"A region is two bar numbers, first and last, as in 3:6; {text!r} is none."
        )
    return int(first), int(last)


def span(score: Score, text: str, *, beyond: bool = False) -> tuple[int, int]:
    """The ticks [start, end) of the bars in "BAR:BAR"; with `beyond`, they may lie after the music.

    Bar 0 is the pickup. UserError when the score does not have the bars.
    """
    first, last = bars(text)
    if last > MAX_BARS and beyond:
        raise UserError(f"Bar {last} is too far; {MAX_BARS} bars are the most.")
    end_of_music = last_bar(score)
    if last > end_of_music and not beyond:
        raise UserError(f"There is no bar {last}; the music ends in bar {end_of_music}.")
    lowest = 0 if score.meter.pickup else 1
    if first < lowest:
        raise UserError("There is no bar 0, for the music has no pickup; bars count from 1.")
    return score.meter.bar_start(first), score.meter.bar_start(last + 1)


def last_bar(score: Score) -> int:
    """The number of the bar in which the last note ends."""
    return score.meter.position(max(score.length - 1, 0)).bar


def whole(score: Score, name: str) -> tuple[int, int]:
    """All bars that have music; UserError when there is none."""
    if not score.length:
        raise UserError(f"{name} has no notes; choose a file with music in it.")
    return 0, score.meter.bar_start(last_bar(score) + 1)


def tracks(score: Score, names: Sequence[str], card: Card) -> tuple[Score, frozenset[int]]:
    """The ids of the tracks with these names, and the score in which they all are.

    A name the score lacks that is one of the system's own voices becomes a new, empty track. UserError
    for other names.
    """
    ids: list[int] = []
    for name in names:
        track = score.named(name)
        if track is None and name.casefold() in (v.casefold() for v in card.voices):
            used = {t.channel for t in score.tracks}
            channel = next((c for c in range(16) if c != 9 and c not in used), 0)
            track = Track(score.next_track_id, name.capitalize(), channel=channel)
            score = score.with_track(track)
        if track is None:
            known = dict.fromkeys([t.name for t in score.tracks] + list(card.voices))
            raise UserError(
                f"There is no voice {name!r}; choose from {', '.join(known) or 'none'}."
            )
        ids.append(track.id)
    return score, frozenset(ids)


def ask(
    card: Card,
    task: Task,
    score: Score | None,
    name: str,
    *,
    second: Score | None = None,
    second_name: str = "the second piece",
    region: str | None = None,
    voices: Sequence[str] = (),
    bar_count: int | None = None,
    params: Mapping[str, Value] | None = None,
    seed: int = 0,
    count: int = 1,
) -> Ask:
    """The request a command line describes; the names are what a UserError calls the pieces.

    create: `bar_count` bars (16 unless said) from nothing, or the region of the score given.
    continue: `bar_count` bars (4 unless said) from the beat after the last note.
    accompany: a melody, as long as it is. The others: the whole piece unless there is a region.
    interpolate: from the bars of the first piece to all of the second, as a piece of its own; reshape and
    regenerate take the second piece into the average they start from.
    Without `voices`, create and accompany make tracks of their own, continue goes on in all that have pitches,
    and the others may write them all.
    """
    if task not in card.tasks:
        can = ", ".join(card.tasks)
        raise UserError(f"{card.name} cannot {task}; it can {can}.")
    if not 1 <= count <= MAX_COUNT:
        raise UserError(f"--count {count}: give a whole number from 1 to {MAX_COUNT}.")
    if bar_count is not None and not 1 <= bar_count <= MAX_BARS:
        raise UserError(f"--bars {bar_count}: give a whole number from 1 to {MAX_BARS}.")
    if bar_count is not None and task not in (Task.CREATE, Task.CONTINUE):
        raise UserError(f"--bars is for create and continue; {task} takes --region BAR:BAR.")
    if seed < 0:
        raise UserError(f"--seed {seed}: give a whole number that is not negative.")
    if score is None and task is not Task.CREATE:
        raise UserError(f"{task} needs music to start from; name a file with --input.")
    if second is None and task is Task.INTERPOLATE:
        raise UserError("interpolate takes two pieces; name the second with --input-b.")
    if second is not None and task not in BLENDS:
        raise UserError(f"{task} takes one piece; leave --input-b out.")
    score = score or Score()
    if task is Task.CREATE and region is None:
        start, end = 0, score.meter.bar_start((bar_count or CREATE_BARS) + 1)
    elif task is Task.CONTINUE and region is None:
        start, end = _after(score, bar_count or CONTINUE_BARS)
    elif region is None:
        start, end = whole(score, name)
    else:
        start, end = span(score, region, beyond=task in (Task.CREATE, Task.CONTINUE))
    score, ids = tracks(score, voices, card)
    if not voices and task not in (Task.CREATE, Task.ACCOMPANY):
        ids = frozenset(t.id for t in score.tracks)
        if task is Task.CONTINUE:
            # Drums and empty tracks are nothing to go on from, and most systems refuse them.
            pitched = [t for t in score.tracks if t.channel != DRUMS and len(t.notes)]
            ids = frozenset(t.id for t in pitched) or ids
    values = card.values(params)
    phrases: tuple[Score, ...] = ()
    if second is not None:
        phrases = _phrases((score, Region(start, end, ids), name), (second, second_name))
    if task is Task.INTERPOLATE:
        score, target = _path(card, phrases, (name, second_name), values)
        return Ask(task, score, target, values, seed, count, phrases=phrases)
    melody = None
    if task is Task.ACCOMPANY:
        others = [t for t in score.tracks if t.id not in ids and len(t.notes)]
        if not others:
            raise UserError(
                f"{name} has no notes to accompany besides the voices asked for; leave one out."
            )
        melody = others[0].id if len(others) == 1 else None
    return Ask(
        task,
        score,
        Region(start, end, ids),
        params=values,
        seed=seed,
        count=count,
        melody=melody,
        phrases=phrases,
    )


def _phrases(first: tuple[Score, Region, str], second: tuple[Score, str]) -> tuple[Score, Score]:
    """The melody in a region of one piece and that of another; UserError when one is missing."""
    score, region, name = first
    marked = replace(score, tracks=tuple(t for t in score.tracks if t.id in region.tracks))
    found = []
    for piece, start, end, called in (
        (marked, region.start, region.end, name),
        (second[0], 0, max(second[0].length, 1), second[1]),
    ):
        track = phrase.melody_track(piece, start, end)
        if track is None:
            raise UserError(f"{called} has no notes there; choose bars and voices with a melody.")
        found.append(phrase.excerpt(piece, track, start, end))
    return found[0], found[1]


def _path(
    card: Card, phrases: tuple[Score, ...], names: tuple[str, str], values: Mapping[str, Value]
) -> tuple[Score, Region]:
    """An empty piece that sounds like the first of two phrases, as long as the way to the other."""
    track = phrases[0].tracks[0]
    lines = [phrase.alone(p, card.name, called) for p, called in zip(phrases, names, strict=True)]
    steps = values.get("steps")
    count = steps if isinstance(steps, int) else 2
    length = count * max(line.bars for line in lines) * phrase.BAR_TICKS
    score = replace(phrases[0], tracks=(track.with_notes(EMPTY),), meter=MeterMap())
    return score, Region(0, length, frozenset({track.id}))


def _after(score: Score, count: int) -> tuple[int, int]:
    """From the first beat at or after the end of the music to the end of bar `count` from there."""
    meter = score.meter
    here = meter.position(score.length)
    beat = meter.beat_ticks(score.length)
    start = score.length - here.offset + -(-here.offset // beat) * beat
    first = meter.position(start).bar
    return start, meter.bar_start(first + count)


def numbered(count: int, candidate: int) -> str:
    """What tells one of several outputs from the others: "" when there is one, else "-1", "-2" …"""
    return "" if count == 1 else f"-{candidate + 1}"

"""Engraving: a Score as pages of SVG, one system (line of music) a page, made in a process of its own.

verovio holds the interpreter while it lays a score out (0.2 s and more), so a thread would stop the
window's painting; a process does not. `serve` is that process's whole life; it imports no Qt.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np

from models.score import NO_CONTROLS, Score, UserError
from models.timebase import PPQ, MeterMap, TempoMap

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"
MEASURE = re.compile(r'<measure number="(\d+)"')
MOST_NOTES = 1500
"""Longer scores are shown in part; so many notes took 0.6 s."""
LINE_BARS = 8
"""About a line: so much is shown from the playhead on before anything ahead of it."""
SHORTEST_PAGE = 100
"""verovio's least page height: every page then holds exactly one system."""

SIGNS = {"\ueca5": "♩", "\ueca7": "♪", "\uecb7": "."}
"""Signs of SMuFL fonts that occur in texts, and plain letters for them."""


@dataclass(frozen=True)
class Layout:
    """How wide a line of music is, in pixels, the size of its notes in percent, and the ink's colour."""

    width: int
    scale: int
    ink: str = "#000000"


@dataclass(frozen=True)
class Job:
    """Engrave `score`, the page with `tick` first. Answers quote `serial`."""

    serial: int
    score: Score
    layout: Layout
    tick: int = 0


@dataclass(frozen=True)
class Laid:
    """The score is laid out on `pages` pages. `bars` are (tick, element id, page) of every bar, in order.

    Of a long score only the ticks [start, end) around the job's are shown.
    """

    serial: int
    pages: int
    bars: tuple[tuple[int, str, int], ...]
    start: int
    end: int


@dataclass(frozen=True)
class Page:
    """One page (counted from 0) as SVG that draws without nesting or style sheets."""

    serial: int
    page: int
    svg: bytes


@dataclass(frozen=True)
class Refused:
    """The score could not be engraved, and why."""

    serial: int
    sentence: str


def engrave(job: Job) -> Iterator[Laid | Page]:
    """Lay out and draw: one Laid, then every page once. UserError when the score can't be notated."""
    # Imported here, in the engraver's process: the window names this module's messages only.
    import verovio

    from engine import musicxml

    toolkit = verovio.toolkit()
    verovio.enableLog(verovio.LOG_OFF)
    toolkit.setOptions(
        {
            "scale": job.layout.scale,
            "pageWidth": max(round(job.layout.width * 100 / job.layout.scale), 600),
            "pageHeight": SHORTEST_PAGE,
            "adjustPageHeight": True,
            "breaks": "auto",
            "header": "none",
            "footer": "none",
            "svgViewBox": True,
            "spacingStaff": 7,
            "pageMarginTop": 10,
            "pageMarginBottom": 10,
            "pageMarginLeft": 40,
            "pageMarginRight": 30,
            "xmlIdSeed": 1,
        }
    )
    part, start, end = around(job.score, job.tick)
    text = musicxml.to_text(part)
    if start:
        shift = job.score.meter.position(start).bar - 1
        text = MEASURE.sub(lambda m: f'<measure number="{int(m[1]) + shift}"', text)
    if not toolkit.loadData(text):
        raise UserError("This music can't be shown as a score; the piano roll shows all of it.")
    pages: int = toolkit.getPageCount()
    bars = tuple(
        (
            start + round(moment["qstamp"] * PPQ),
            moment["measureOn"],
            toolkit.getPageWithElement(moment["measureOn"]) - 1,
        )
        for moment in toolkit.renderToTimemap({"includeMeasures": True})
        if "measureOn" in moment
    )
    yield Laid(job.serial, pages, bars, start, end)
    first = max((page for tick, _, page in bars if tick <= job.tick), default=0)
    for page in [*range(first, pages), *range(first)]:
        yield Page(job.serial, page, flatten(toolkit.renderToSVG(page + 1), job.layout.ink))


def around(score: Score, tick: int) -> tuple[Score, int, int]:
    """As many whole bars around `tick` as hold about MOST_NOTES, moved to the beginning, and the ticks
    [start, end) they come from; all of a score that holds fewer. verovio's time grows with the square."""
    length = score.length
    bars = [at for _, at in score.meter.bars(0, length)]
    if not bars or bars[0] != 0:
        bars.insert(0, 0)
    whole = score.meter.bar_start(score.meter.position(max(length - 1, 0)).bar + 1)
    onsets = np.concatenate([t.notes.onset for t in score.tracks] or [np.zeros(0, np.int64)])
    if len(onsets) <= MOST_NOTES:
        return score, 0, whole
    counts = np.bincount(np.searchsorted(bars, onsets, side="right") - 1, minlength=len(bars))
    first = last = min(max(int(np.searchsorted(bars, tick, side="right")) - 1, 0), len(bars) - 1)
    room = MOST_NOTES - counts[first]
    while True:
        before = counts[first - 1] if first > 0 else room + 1
        after = counts[last + 1] if last + 1 < len(bars) else room + 1
        if min(before, after) > room:
            break
        if after <= room and (after <= before or last - first < LINE_BARS):
            last, room = last + 1, room - after
        else:
            first, room = first - 1, room - before
    start = bars[first]
    end = bars[last + 1] if last + 1 < len(bars) else whole
    return cut(score, start, end), start, end


def cut(score: Score, start: int, end: int) -> Score:
    """The bars in ticks [start, end), moved to tick 0; notes that cross an end are cut there."""
    tracks = []
    for track in score.tracks:
        notes = track.notes.where(track.notes.sounding(start, end))
        onset, stop = np.maximum(notes.onset, start), np.minimum(notes.end, end)
        moved = notes.with_(onset=onset - start, duration=stop - onset)
        tracks.append(replace(track, notes=moved, controls=NO_CONTROLS))
    meter = score.meter
    later = (meter.tick > start) & (meter.tick < end)
    numerator, denominator = meter.at(start)
    return replace(
        score,
        tracks=tuple(tracks),
        tempo=TempoMap.constant(score.tempo.bpm(start)),
        meter=MeterMap(
            np.append(0, meter.tick[later] - start),
            np.append(numerator, meter.numerator[later]),
            np.append(denominator, meter.denominator[later]),
            meter.pickup if start == 0 else 0,
        ),
        keys=tuple(
            k._replace(tick=max(k.tick - start, 0))
            for k in score.keys
            if start < k.tick < end or k is score.key_at(start)
        ),
        fermatas=tuple(t - start for t in score.fermatas if start <= t < end),
    )


def flatten(svg: str, ink: str) -> bytes:
    """verovio's SVG as QtSvg can draw it: the inner <svg> as a scaled group, the style sheet as attributes."""
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", XLINK)
    root = ElementTree.fromstring(svg)
    width = float(root.get("viewBox", "0 0 1 1").split()[2])
    for child in list(root):
        if child.tag == f"{{{SVG}}}style":
            root.remove(child)
        elif child.tag == f"{{{SVG}}}svg":
            inner = float(child.attrib.pop("viewBox").split()[2])
            child.tag = f"{{{SVG}}}g"
            child.attrib.pop("color", None)
            scale = f"scale({width / inner:.6g})"
            child.attrib.update({"transform": scale, "stroke": ink, "fill": ink})
    for element in root.iter():
        if "placeholder" in element.get("class", "").split():
            for dot in element.findall(f"{{{SVG}}}ellipse"):  # hidden by the style sheet
                element.remove(dot)
        elif element.tag == f"{{{SVG}}}text":
            _plain(element)
    return re.sub(rb"currentColor", ink.encode(), ElementTree.tostring(root))


def _plain(text: ElementTree.Element) -> None:
    """Nested spans as one run of letters, in the size of the first; signs of verovio's own music font
    become those letters that other fonts have, or go."""
    letters, size = "", ""
    for span in text.iter(f"{{{SVG}}}tspan"):
        own = (span.text or "").strip("\n\t ")
        if "font-family" in span.attrib:
            own = "".join(SIGNS.get(sign, "") for sign in own)
        elif own:
            size = size or span.get("font-size", "")
        letters += own
    for child in list(text):
        text.remove(child)
    text.text = letters
    text.attrib.update({"font-size": size or "1px", "stroke": "none"})


def serve(connection: Connection) -> None:
    """Engrave every Job that comes through `connection`; a newer one ends the one at hand. Ends when
    the other side closes."""
    job: Job | None = None
    while True:
        try:
            job = job or connection.recv()
            while connection.poll():
                job = connection.recv()
            assert job is not None
            job = _one(connection, job)
        except (EOFError, OSError):
            return


def _one(connection: Connection, job: Job) -> Job | None:
    """Do one job; returns the newer one that cut it short, if any."""
    try:
        for answer in engrave(job):
            connection.send(answer)
            if connection.poll():
                return connection.recv()  # type: ignore[no-any-return]
    except UserError as error:
        connection.send(Refused(job.serial, str(error)))
    return None

"""MusicXML 4.0 out, and in through `engine.musicxml_reader`: .musicxml and .xml plain, .mxl compressed."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from engine import musicxml_reader, notation
from engine.files import read_bytes, write_bytes
from engine.notation import Bar, Glyph, Staff
from engine.spelling import Head
from models.score import Score, Track
from models.timebase import PPQ

_DOCTYPE = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<!DOCTYPE score-partwise PUBLIC "-//Recordare//DTD MusicXML 4.0 Partwise//EN" '
    '"http://www.musicxml.org/dtds/partwise.dtd">\n'
)
_CONTAINER = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<container><rootfiles>'
    '<rootfile full-path="score.musicxml"/></rootfiles></container>\n'
)
_CLEFS = {
    "treble": ("G", 2, 0),
    "tenor": ("G", 2, -1),
    "alto": ("C", 3, 0),
    "bass": ("F", 4, 0),
    "drums": ("percussion", 3, 0),
}
_ACCIDENTALS = {-2: "flat-flat", -1: "flat", 0: "natural", 1: "sharp", 2: "double-sharp"}
DEFAULT_VELOCITY = 80
FORTE = 90
"""The velocity that MusicXML calls 100 %."""

# Where the percussion of General MIDI stands on a staff, by the customary key (Weinberg 1998).
_DRUMS = {
    35: "F4", 36: "F4", 38: "C5", 40: "C5", 37: "C5", 39: "C5", 42: "G5", 44: "D4", 46: "G5",
    49: "A5", 57: "A5", 51: "F5", 59: "F5", 53: "F5", 41: "A4", 43: "A4", 45: "D5", 47: "D5",
    48: "E5", 50: "E5", 56: "E5",
}  # fmt: skip


def read(path: Path) -> Score:
    """The score in a MusicXML file; see `musicxml_reader.from_bytes`."""
    return musicxml_reader.from_bytes(read_bytes(path, musicxml_reader.MAX_BYTES), str(path))


def write(score: Score, path: Path) -> None:
    """Write MusicXML, compressed when the suffix is .mxl; UserError when folder or disk won't take it."""
    text = to_text(score).encode("utf-8")
    write_bytes(path, _zipped(text) if path.suffix.lower() == ".mxl" else text)


def _zipped(text: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        # A fixed date, so that the same score gives the same bytes.
        for name, content in (("META-INF/container.xml", _CONTAINER), ("score.musicxml", text)):
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def to_text(score: Score) -> str:
    """The score as MusicXML: a part a track, spelled by its key, on a grid that can be notated.

    Notes keep their place and length when these are multiples of a 64th or of the usual tuplets.
    Muted tracks are written too. Velocities, tempo, programs and channels go along as sound.
    """
    measures = notation.bars(score)
    parts = [notation.staves(track, score, measures) for track in score.tracks]
    notation.mark_fermatas(parts, score.fermatas)
    lines = [_DOCTYPE, '<score-partwise version="4.0">']
    if score.title:
        lines.append(f"<work><work-title>{_text(score.title)}</work-title></work>")
    lines.append("<identification><encoding><software>Ricercar</software></encoding>")
    lines.append("</identification>")
    lines += _part_list(score)
    for number, (track, staves) in enumerate(zip(score.tracks, parts, strict=True)):
        lines.append(f'<part id="P{number + 1}">')
        for index, bar in enumerate(measures):
            lines += _measure(score, track, staves, measures, index, bar, number)
        lines.append("</part>")
    if not score.tracks:  # a score without a part is not valid: an empty staff
        lines.append('<part id="P1"><measure number="1"><attributes><divisions>960</divisions>')
        lines.append("</attributes></measure></part>")
    lines.append("</score-partwise>\n")
    return "\n".join(lines)


def _text(text: str) -> str:
    return escape("".join(c for c in text if c.isprintable()))


def _part_list(score: Score) -> Iterator[str]:
    yield "<part-list>"
    together = len(score.tracks) > 1
    if together:
        yield '<part-group type="start" number="1"><group-symbol>bracket</group-symbol>'
        yield "<group-barline>yes</group-barline></part-group>"
    for number, track in enumerate(score.tracks, 1):
        yield f'<score-part id="P{number}"><part-name>{_text(track.name)}</part-name>'
        sounds = sorted(set(track.notes.pitch.tolist())) if track.channel == 9 else [-1]
        for pitch in sounds:
            yield f'<score-instrument id="{_instrument(number, pitch)}">'
            yield f"<instrument-name>{_text(track.name)}</instrument-name></score-instrument>"
        for pitch in sounds:
            yield f'<midi-instrument id="{_instrument(number, pitch)}">'
            yield f"<midi-channel>{track.channel + 1}</midi-channel>"
            yield f"<midi-program>{track.program + 1}</midi-program>"
            if pitch >= 0:
                yield f"<midi-unpitched>{pitch + 1}</midi-unpitched>"
            yield f"<volume>{track.volume / 127 * 100:.4g}</volume></midi-instrument>"
        yield "</score-part>"
    if not score.tracks:
        yield '<score-part id="P1"><part-name></part-name></score-part>'
    if together:
        yield '<part-group type="stop" number="1"/>'
    yield "</part-list>"


def _instrument(part: int, pitch: int) -> str:
    return f"P{part}-I{pitch}" if pitch >= 0 else f"P{part}-I"


def _measure(
    score: Score,
    track: Track,
    staves: Sequence[Staff],
    measures: Sequence[Bar],
    index: int,
    bar: Bar,
    part: int,
) -> Iterator[str]:
    implicit = ' implicit="yes"' if bar.number == 0 else ""
    yield f'<measure number="{bar.number}"{implicit}>'
    yield from _attributes(score, staves, measures, index)
    if part == 0:
        yield from _tempos(score, bar, index == 0)
    now = bar.start
    lines_before = 0
    for number, staff in enumerate(staves):
        for voice, glyphs in staff.bars[index]:
            if now != bar.start:
                yield f"<backup><duration>{now - bar.start}</duration></backup>"
            now = bar.start
            for glyph in glyphs:
                if glyph.start > now:  # left over where nothing can be notated
                    yield f"<forward><duration>{glyph.start - now}</duration></forward>"
                place = (lines_before + voice + 1, number + 1 if len(staves) > 1 else 0)
                yield from _glyph(glyph, place, track, part + 1)
                now = glyph.start + glyph.duration
        lines_before += notation.LINES
    if index == len(measures) - 1:
        yield '<barline location="right"><bar-style>light-heavy</bar-style></barline>'
    yield "</measure>"


def _attributes(
    score: Score, staves: Sequence[Staff], measures: Sequence[Bar], index: int
) -> Iterator[str]:
    bar, before = measures[index], measures[index - 1]
    # A change inside a bar is shown at the next barline.
    changed = next((k for k in reversed(score.keys) if before.start < k.tick <= bar.start), None)
    key = score.key_at(bar.start) if index == 0 else changed
    metre = (bar.numerator, bar.denominator)
    new_metre = index == 0 or metre != (before.numerator, before.denominator)
    if index and key is None and not new_metre:
        return
    yield "<attributes>"
    if index == 0:
        yield f"<divisions>{PPQ}</divisions>"
    if key is not None:
        mode = "minor" if key.minor else "major"
        yield f"<key><fifths>{key.sharps}</fifths><mode>{mode}</mode></key>"
    if new_metre:
        yield f"<time><beats>{metre[0]}</beats><beat-type>{metre[1]}</beat-type></time>"
    if index == 0:
        if len(staves) > 1:
            yield f"<staves>{len(staves)}</staves>"
        for number, staff in enumerate(staves, 1):
            sign, line, octave = _CLEFS[staff.clef]
            which = f' number="{number}"' if len(staves) > 1 else ""
            change = f"<clef-octave-change>{octave}</clef-octave-change>" if octave else ""
            yield f"<clef{which}><sign>{sign}</sign><line>{line}</line>{change}</clef>"
    yield "</attributes>"


def _tempos(score: Score, bar: Bar, first: bool) -> Iterator[str]:
    tempo = score.tempo
    low, high = tempo.tick.searchsorted([bar.start, bar.end])
    for n in range(int(low), int(high)):
        bpm = 60e6 / float(tempo.us_per_quarter[n])
        offset = int(tempo.tick[n]) - bar.start
        # One mark a bar is read, a curve of many is only played.
        shown = n == low
        yield '<direction placement="above">'
        if shown:
            beat = bar.pulse if bar.compound else 4 * PPQ // min(bar.denominator, 4)
            kind = {PPQ: "quarter", 2 * PPQ: "half", 4 * PPQ: "whole"}.get(beat, "quarter")
            dot = "<beat-unit-dot/>" if bar.compound else ""
            rate = f"{bpm * PPQ / (1.5 * PPQ if bar.compound else beat):.0f}"
            yield f"<direction-type><metronome><beat-unit>{kind}</beat-unit>{dot}"
            yield f"<per-minute>{rate}</per-minute></metronome></direction-type>"
        else:
            yield "<direction-type><words/></direction-type>"
        if offset:
            yield f'<offset sound="yes">{offset}</offset>'
        yield f'<sound tempo="{bpm:.6f}"/></direction>'


def _glyph(glyph: Glyph, place: tuple[int, int], track: Track, part: int) -> Iterator[str]:
    voice, staff = place
    length = f"<duration>{glyph.duration}</duration>"
    kind = "" if glyph.whole_bar else f"<type>{glyph.kind}</type>" + "<dot/>" * glyph.dots
    ratio = ""
    if glyph.tuplet:
        actual, normal = glyph.tuplet
        ratio = f"<actual-notes>{actual}</actual-notes><normal-notes>{normal}</normal-notes>"
        ratio = f"<time-modification>{ratio}</time-modification>"
    on_staff = f"<staff>{staff}</staff>" if staff else ""
    bracket = f'<tuplet type="{glyph.bracket}"/>' if glyph.bracket else ""
    if not glyph.heads:
        whole = ' measure="yes"' if glyph.whole_bar else ""
        marks = f"<notations>{bracket}</notations>" if bracket else ""
        yield (
            f"<note><rest{whole}/>{length}<voice>{voice}</voice>{kind}{ratio}{on_staff}{marks}</note>"
        )
        return
    beams = "".join(f'<beam number="{n}">{b}</beam>' for n, b in enumerate(glyph.beams, 1))
    for n, head in enumerate(glyph.heads):
        loud = ""
        if head.velocity != DEFAULT_VELOCITY:
            loud = f' dynamics="{head.velocity / FORTE * 100:.2f}"'
        ties = '<tie type="stop"/>' * head.tied_from + '<tie type="start"/>' * head.tied_to
        pitch, sign, sound = _pitch(head), "", ""
        if track.channel == 9:
            pitch, sound = _unpitched(head), f'<instrument id="{_instrument(part, head.pitch)}"/>'
        elif head.accidental is not None:
            sign = f"<accidental>{_ACCIDENTALS[head.accidental]}</accidental>"
        marks = ties.replace("<tie ", "<tied ") + (bracket if n == 0 else "")
        if glyph.fermata and n == len(glyph.heads) - 1:
            marks += '<fermata type="upright"/>'
        yield (
            f"<note{loud}>{'<chord/>' * (n > 0)}{pitch}{length}{ties}{sound}<voice>{voice}</voice>"
            f"{kind}{sign}{ratio}{on_staff}{beams if n == 0 else ''}"
            f"{f'<notations>{marks}</notations>' if marks else ''}</note>"
        )


def _pitch(head: Head) -> str:
    alter = f"<alter>{head.alter}</alter>" if head.alter else ""
    return f"<pitch><step>{head.step}</step>{alter}<octave>{head.octave}</octave></pitch>"


def _unpitched(head: Head) -> str:
    at = _DRUMS.get(head.pitch, "C5")
    place = f"<display-step>{at[0]}</display-step><display-octave>{at[1]}</display-octave>"
    return f"<unpitched>{place}</unpitched>"

"""Cut FluidR3 to the presets that Ricercar plays and compress it to SF3.

    python packaging/build_soundfont.py FluidR3_GM.sf2 assets/soundfont/ricercar.sf3

The input is Debian's fluid-soundfont-gm (/usr/share/sounds/sf2/FluidR3_GM.sf2, MIT, Frank Wen); the
output is the same on every run. Needs numpy and soundfile (the `dev` extra). An SF2 file is RIFF
with nine index tables ("hydra"): presets → zones → instruments → zones → samples; see the SoundFont
2.04 specification, section 7. SF3 is the same with each sample as an Ogg Vorbis stream: its start
and end then count bytes, and its loop points count from its own first sample.
"""

from __future__ import annotations

import argparse
import io
import struct
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

# Vorbis quality 0.5; files at 0.3 do not load in tinysoundfont.
COMPRESSION = 0.5
VORBIS_SAMPLE = 0x10  # bit of a sample's type in SF3
RIGHT_SAMPLE = 2
INSTRUMENT, SAMPLE, KEY_RANGE, PAN, ATTENUATION = 41, 53, 43, 17, 48  # specification 8.1.2
# FluidR3 was made on E-mu hardware, which takes 0.4 of a written attenuation. fluidsynth follows it,
# tinysoundfont takes the whole: unscaled, its piano came 9 dB too soft beside its organ.
EMU_ATTENUATION = 0.4

Table = npt.NDArray[np.void]
BAG = np.dtype([("gen", "<u2"), ("mod", "<u2")])
GENERATOR = np.dtype([("oper", "<u2"), ("amount", "<u2")])
MODULATOR = np.dtype(
    [("source", "<u2"), ("to", "<u2"), ("amount", "<i2"), ("by", "<u2"), ("curve", "<u2")]
)
TABLES = {
    "phdr": np.dtype(
        [
            ("name", "S20"),
            ("program", "<u2"),
            ("bank", "<u2"),
            ("bag", "<u2"),
            ("reserved", "<u4", 3),
        ]
    ),
    "pbag": BAG,
    "pmod": MODULATOR,
    "pgen": GENERATOR,
    "inst": np.dtype([("name", "S20"), ("bag", "<u2")]),
    "ibag": BAG,
    "imod": MODULATOR,
    "igen": GENERATOR,
    "shdr": np.dtype(
        [
            ("name", "S20"),
            ("start", "<u4"),
            ("end", "<u4"),
            ("loop_start", "<u4"),
            ("loop_end", "<u4"),
            ("rate", "<u4"),
            ("pitch", "u1"),
            ("correction", "i1"),
            ("link", "<u2"),
            ("type", "<u2"),
        ]
    ),
}


@dataclass(frozen=True)
class Wanted:
    """One preset to keep; `keys` limits it, `mono` keeps the left of each stereo pair, centred."""

    bank: int
    program: int
    keys: tuple[int, int] = (0, 127)
    mono: bool = False


# General MIDI programs count from 0 here.
WANTED = (
    Wanted(0, 0),  # grand piano
    Wanted(0, 6),  # harpsichord
    Wanted(0, 19),  # church organ
    Wanted(0, 32),  # acoustic bass
    Wanted(0, 48),  # strings
    Wanted(0, 52),  # choir
    Wanted(0, 56),  # trumpet
    Wanted(0, 57),  # trombone
    Wanted(0, 68),  # oboe
    Wanted(0, 70),  # bassoon
    Wanted(0, 71),  # clarinet
    Wanted(0, 73),  # flute
    Wanted(128, 0, keys=(35, 59), mono=True),  # drums: the kit itself, without Latin percussion
)


@dataclass(frozen=True)
class Font:
    """A SoundFont 2 file in memory."""

    tables: dict[str, Table]
    samples: npt.NDArray[np.int16]


@dataclass
class Zone:
    """One zone: its generators and modulators, still with the input's indices."""

    generators: Table
    modulators: Table

    def value(self, oper: int) -> int | None:
        """The amount of generator `oper`, None where the zone has none."""
        found = self.generators["amount"][self.generators["oper"] == oper]
        return int(found[0]) if len(found) else None

    def meets(self, keys: tuple[int, int]) -> bool:
        """Whether any key of the zone lies in `keys`."""
        span = self.value(KEY_RANGE)
        low, high = (0, 127) if span is None else (span & 0xFF, span >> 8)
        return low <= keys[1] and high >= keys[0]


@dataclass
class Side:
    """The tables of one level under construction: presets or instruments."""

    heads: list[Table] = field(default_factory=list)
    bags: list[tuple[int, int]] = field(default_factory=list)
    generators: list[Table] = field(default_factory=list)
    modulators: list[Table] = field(default_factory=list)

    def add(self, head: Table, zones: Iterable[Zone]) -> None:
        """Append a preset or instrument with its zones."""
        head = head.copy()
        head["bag"] = len(self.bags)
        self.heads.append(head)
        for zone in zones:
            self.bags.append((sum(map(len, self.generators)), sum(map(len, self.modulators))))
            self.generators.append(zone.generators)
            self.modulators.append(zone.modulators)


def read(path: Path) -> Font:
    """Read an SF2 file. Raises ValueError where it is not one."""
    data = path.read_bytes()
    if data[:4] != b"RIFF" or data[8:12] != b"sfbk":
        raise ValueError(f"{path} is not a SoundFont 2 file")
    chunks = dict(walk(data, 12, len(data)))
    tables = {name: np.frombuffer(chunks[name], kind) for name, kind in TABLES.items()}
    return Font(tables, np.frombuffer(chunks["smpl"], "<i2"))


def walk(data: bytes, start: int, end: int) -> Iterable[tuple[str, memoryview]]:
    """Each chunk's name and content, those inside LISTs too."""
    while start + 8 <= end:
        name, size = struct.unpack_from("<4sI", data, start)
        if name == b"LIST":
            yield from walk(data, start + 12, start + 8 + size)
        else:
            yield name.decode(), memoryview(data)[start + 8 : start + 8 + size]
        start += 8 + size + (size & 1)


def zones(font: Font, head: str, index: int) -> list[Zone]:
    """The zones of preset (`head` "phdr") or instrument ("inst") number `index`."""
    kind = head[0]
    heads, bags = font.tables[head], font.tables[f"{kind}bag"]
    found = []
    for bag in range(int(heads[index]["bag"]), int(heads[index + 1]["bag"])):
        here, after = bags[bag], bags[bag + 1]
        found.append(
            Zone(
                scaled(font.tables[f"{kind}gen"][here["gen"] : after["gen"]]),
                font.tables[f"{kind}mod"][here["mod"] : after["mod"]],
            )
        )
    return found


def scaled(generators: Table) -> Table:
    """`generators` with attenuation as the E-mu hardware takes it."""
    result = generators.copy()
    quieter = result["oper"] == ATTENUATION
    amounts = result["amount"][quieter].astype("<i2") * EMU_ATTENUATION
    result["amount"][quieter] = np.round(amounts).astype("<i2").view("<u2")
    return result


def renumber(zone: Zone, oper: int, number: int, drop: Sequence[int] = ()) -> Zone:
    """`zone` with the target of its last generator renumbered and the generators `drop` gone."""
    generators = zone.generators[~np.isin(zone.generators["oper"], drop)].copy()
    generators["amount"][generators["oper"] == oper] = number
    return Zone(generators, zone.modulators)


def cut(font: Font, wanted: Sequence[Wanted]) -> tuple[Side, Side, list[int]]:
    """The preset and instrument levels of `wanted` alone, and the samples they use, in order."""
    presets, instruments = Side(), Side()
    samples: dict[int, int] = {}
    built: dict[tuple[int, tuple[int, int], bool], int] = {}
    heads = font.tables["phdr"]
    for want in wanted:
        index = next(
            i
            for i in range(len(heads) - 1)
            if (heads[i]["bank"], heads[i]["program"]) == (want.bank, want.program)
        )
        kept = []
        for zone in zones(font, "phdr", index):
            target = zone.value(INSTRUMENT)
            if target is None:  # the global zone
                kept.append(zone)
            elif zone.meets(want.keys):
                key = (target, want.keys, want.mono)
                if key not in built:
                    built[key] = len(built)
                    inner = cut_instrument(font, target, want, samples)
                    instruments.add(font.tables["inst"][target], inner)
                kept.append(renumber(zone, INSTRUMENT, built[key]))
        presets.add(heads[index], kept)
    return presets, instruments, list(samples)


def cut_instrument(font: Font, index: int, want: Wanted, samples: dict[int, int]) -> list[Zone]:
    """An instrument's zones inside `want`; samples met for the first time get the next number."""
    kept = []
    for zone in zones(font, "inst", index):
        sample = zone.value(SAMPLE)
        if sample is None:
            kept.append(zone)
            continue
        stereo_right = int(font.tables["shdr"][sample]["type"]) == RIGHT_SAMPLE
        if not zone.meets(want.keys) or (want.mono and stereo_right):
            continue
        number = samples.setdefault(sample, len(samples))
        kept.append(renumber(zone, SAMPLE, number, drop=(PAN,) if want.mono else ()))
    return kept


def encode(samples: npt.NDArray[np.int16], rate: int, serial: int) -> bytes:
    """`samples` (mono) as an Ogg Vorbis stream with stream number `serial`."""
    target = io.BytesIO()
    options = {"format": "OGG", "subtype": "VORBIS", "compression_level": COMPRESSION}
    with soundfile.SoundFile(target, "w", samplerate=rate, channels=1, **options) as sound:
        for start in range(0, len(samples), 4096):
            sound.write(samples[start : start + 4096])
    return with_serial(target.getvalue(), serial)


def with_serial(ogg: bytes, serial: int) -> bytes:
    """`ogg` with its stream number set, page checksums renewed: libsndfile draws one at random."""
    data = bytearray(ogg)
    start = 0
    while start < len(data):
        lacing = data[start + 27 : start + 27 + data[start + 26]]
        end = start + 27 + len(lacing) + sum(lacing)
        struct.pack_into("<I", data, start + 14, serial)
        struct.pack_into("<I", data, start + 22, 0)
        struct.pack_into("<I", data, start + 22, ogg_checksum(data[start:end]))
        start = end
    return bytes(data)


def checksum_table() -> list[int]:
    """Per byte value, the CRC of RFC 3533: polynomial 0x04c11db7, not reflected."""
    table = []
    for byte in range(256):
        crc = byte << 24
        for _ in range(8):
            crc = (crc << 1) ^ (0x04C11DB7 if crc & 0x80000000 else 0)
        table.append(crc & 0xFFFFFFFF)
    return table


CHECKSUMS = checksum_table()


def ogg_checksum(page: bytes | bytearray) -> int:
    crc = 0
    for byte in page:
        crc = ((crc << 8) & 0xFFFFFFFF) ^ CHECKSUMS[(crc >> 24) ^ byte]
    return crc


def compress(font: Font, kept: Sequence[int]) -> tuple[Table, bytes]:
    """The sample headers and the stream data of the samples `kept`."""
    numbers = {sample: number for number, sample in enumerate(kept)}
    headers = np.zeros(len(kept) + 1, TABLES["shdr"])
    data = bytearray()
    for number, sample in enumerate(kept):
        header = font.tables["shdr"][sample].copy()
        start, end = int(header["start"]), int(header["end"])
        stream = encode(font.samples[start:end], int(header["rate"]), number)
        header["start"], header["end"] = len(data), len(data) + len(stream)
        header["loop_start"] -= start
        header["loop_end"] -= start
        partner = int(header["link"])
        header["link"] = numbers.get(partner, number)
        header["type"] = (int(header["type"]) if partner in numbers else 1) | VORBIS_SAMPLE
        headers[number] = header
        data += stream
    headers[-1]["name"] = b"EOS"
    return headers, bytes(data)


def finish(side: Side, kind: str, terminal: bytes) -> dict[str, bytes]:
    """One level's four tables with their terminal records."""
    head = "phdr" if kind == "p" else "inst"
    generators, modulators = sum(map(len, side.generators)), sum(map(len, side.modulators))
    last = np.zeros(1, TABLES[head])
    last["name"], last["bag"] = terminal, len(side.bags)
    bags = np.array([*side.bags, (generators, modulators)], BAG)
    return {
        head: b"".join(row.tobytes() for row in side.heads) + last.tobytes(),
        f"{kind}bag": bags.tobytes(),
        f"{kind}mod": b"".join(t.tobytes() for t in side.modulators) + bytes(MODULATOR.itemsize),
        f"{kind}gen": b"".join(t.tobytes() for t in side.generators) + bytes(GENERATOR.itemsize),
    }


def chunk(name: str, content: bytes) -> bytes:
    return struct.pack("<4sI", name.encode(), len(content)) + content + bytes(len(content) & 1)


def build(font: Font, wanted: Sequence[Wanted] = WANTED) -> bytes:
    """The SF3 file's bytes for the presets `wanted` of `font`. Raises StopIteration for none such."""
    presets, instruments, kept = cut(font, wanted)
    headers, data = compress(font, kept)
    information = {
        "ifil": struct.pack("<HH", 3, 1),
        "isng": b"EMU8000\0",
        "INAM": b"Ricercar (from Fluid R3 GM)\0",
        "IENG": b"Frank Wen\0",
        "ICOP": b"Frank Wen 2000-2002, 2008; Toby Smithe 2008\0",
        "ICMT": b"Licensed under the MIT License.\0",
    }
    index = {**finish(presets, "p", b"EOP"), **finish(instruments, "i", b"EOI")}
    index["shdr"] = headers.tobytes()
    lists = {
        "INFO": information,
        "sdta": {"smpl": data},
        "pdta": {name: index[name] for name in TABLES},
    }
    body = b"sfbk"
    for name, chunks in lists.items():
        body += chunk("LIST", name.encode() + b"".join(chunk(n, c) for n, c in chunks.items()))
    return chunk("RIFF", body)


def main() -> int:
    parser = argparse.ArgumentParser(description="Cut FluidR3 and compress it to SF3.")
    parser.add_argument("source", type=Path, help="FluidR3_GM.sf2")
    parser.add_argument("target", type=Path, help="the SF3 file to write")
    options = parser.parse_args()
    made = build(read(options.source))
    options.target.write_bytes(made)
    print(f"{options.target}: {len(WANTED)} presets, {len(made) / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The command line: words in, one exit status and at most one line of complaint out."""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from engine import asking, bench, exchange, figures
from models import catalogue, tunes
from models.card import Task
from models.representations import pianoroll
from models.score import Score, UserError
from models.system import Context, Progress, Proposal

DEVICES = ("auto", "cpu", "cuda", "mps")
OF_TUNES = ("melody", "note_step", "time_slice", "concert")
"""Representations of systems that are measured on the bundled tunes."""


def is_command(argv: Sequence[str]) -> bool:
    """Whether these arguments are for the command line; otherwise the window opens, perhaps with a file.

    A first word that is neither a command, an existing file nor anything with a suffix is taken for a
    mistyped command, so that the mistake is answered where it was made.
    """
    if not argv:
        return False
    first = argv[0]
    return (
        first in COMMANDS
        or first.startswith("-")
        or not (Path(first).suffix or Path(first).exists())
    )


def main(argv: Sequence[str]) -> int:
    """Run one command; returns 0, or 2 after one line on standard error that says what was wrong."""
    try:
        arguments = _parser().parse_args(list(argv))
        run: Callable[[argparse.Namespace], None] = arguments.run
        run(arguments)
        sys.stdout.flush()
    except UserError as error:
        return _complain(str(error))
    except BrokenPipeError:  # whoever read our output has seen enough
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - Python flushes it as it ends
        return 0
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130
    except SystemExit as done:  # --help and --version
        return int(done.code or 0)
    except Exception as error:  # a fault of ours: one line for the user, all of it for whoever asks
        if os.environ.get("RICERCAR_TRACEBACK"):
            raise
        if isinstance(error, MemoryError) or "out of memory" in str(error):  # torch's own, on a GPU
            return _complain("There is not enough memory for that; ask for less at once.")
        text = (str(error).strip().splitlines() or [""])[0]
        _complain(
            f"Ricercar made a mistake ({type(error).__name__}: {text}); set RICERCAR_TRACEBACK=1 to "
            "see where, and please report it."
        )
        return 1
    return 0


def _complain(sentence: str) -> int:
    print(f"ricercar: {' '.join(sentence.split())}", file=sys.stderr)
    return 2


# --- the commands --------------------------------------------------------------------------------


def systems(arguments: argparse.Namespace) -> None:
    """Every card."""
    cards = catalogue.cards()
    if arguments.json:
        print(json.dumps([asdict(card) for card in cards], ensure_ascii=False, indent=1))
        return
    for card in cards:
        print(f"{card.id}  {card.name} ({card.source})")
        print(f"    can: {', '.join(card.tasks)}")
        print(
            f"    objective: {card.objective.type}, for {card.objective.destination}, "
            f"{card.objective.mode}"
        )
        r = card.representation
        hold = "with" if r.hold else "without"
        print(
            f"    representation: {r.name}, {r.steps_per_beat} steps a beat, {hold} hold, {r.encoding}"
        )
        print(f"    architecture: {card.architecture}")
        print(f"    challenges: {', '.join(card.challenges) or 'none'}")
        print(f"    strategy: {'; '.join(card.strategy)}")
        for p in card.params:
            bounds = "|".join(p.choices) or f"{p.minimum:g} to {p.maximum:g}"
            if isinstance(p.default, bool):
                bounds = "on|off"
            default = ":".join(map(str, p.default)) if isinstance(p.default, tuple) else p.default
            print(f"    --param {p.name}={default} ({bounds}) {p.about}".rstrip())
        for what in (card.listens, card.strengths, card.weaknesses):
            if what:
                print(f"    {what}")


def generate(arguments: argparse.Namespace) -> None:
    """Ask a system for music and write what it proposes."""
    card = catalogue.card(arguments.system)
    out = Path(arguments.output)
    exchange.check_writable(out)
    source = Path(arguments.input) if arguments.input else None
    ask = asking.ask(
        card,
        Task(arguments.task),
        exchange.read(source) if source else None,
        str(source),
        second=exchange.read(Path(arguments.input_b)) if arguments.input_b else None,
        second_name=arguments.input_b or "",
        region=arguments.region,
        voices=[v.strip() for v in arguments.voices.split(",")] if arguments.voices else (),
        bar_count=arguments.bars,
        params=card.parse(_pairs("--param", arguments.param)),
        seed=arguments.seed,
        count=arguments.count,
    )
    device = _device(arguments.device)
    importlib.import_module("models.device").settle(device)
    system = catalogue.load(card.id, None, device)
    found: dict[int, Proposal] = {}
    began = time.perf_counter()
    first: float | None = None
    for step in system.generate(ask, Context(np.random.default_rng(ask.seed), device)):
        if isinstance(step, Progress):
            _progress(step.fraction, step.text)
        else:
            first = time.perf_counter() - began if first is None else first
            found[step.candidate] = step
    seconds = time.perf_counter() - began
    _progress(None)
    if not found:
        raise UserError(f"{card.name} proposed nothing; try another seed or region.")
    table: dict[str, float] = {"seconds": seconds, "first_proposal_s": first or 0.0}
    for candidate, proposal in sorted(found.items()):
        mark = asking.numbered(ask.count, candidate)
        path = out.with_name(f"{out.stem}{mark}{out.suffix}")
        exchange.write(proposal.apply(ask.score), path)
        suffix = mark.replace("-", "_")
        notes = sum(len(track.notes) for track in proposal.tracks)
        table[f"notes{suffix}"] = notes
        table |= {f"{name}{suffix}": value for name, value in proposal.figures.items()}
        if not arguments.json:
            print(f"{path}: {notes} new notes")
    if arguments.json:
        print(figures.as_json(table))


def train(arguments: argparse.Namespace) -> None:
    """Train a system from nothing and write its weights."""
    catalogue.card(arguments.system)
    out = Path(arguments.output)
    if out.suffix != ".safetensors":
        raise UserError(f"{out} is to hold weights; give it the suffix .safetensors.")
    if not out.parent.is_dir():
        raise UserError(f"There is no folder {out.parent}; make it or choose another.")
    if not 0 < arguments.minutes <= 60 * 24 * 30:
        raise UserError(f"--minutes {arguments.minutes:g}: give a number above 0.")
    training = importlib.import_module("models.training")
    corpus = _corpus(arguments.corpus)
    last: Mapping[str, float] = {}
    for record in training.train(
        arguments.system,
        corpus,
        arguments.minutes,
        arguments.seed,
        _device(arguments.device),
        out,
        sizes=_pairs("--shape", arguments.shape),
    ):
        last = record
        if not arguments.json:
            print("  ".join(f"{name} {value:.4g}" for name, value in record.items()), flush=True)
    if arguments.json:
        print(figures.as_json(last))


def evaluate(arguments: argparse.Namespace) -> None:
    """Measure a system on music it has not seen."""
    card = catalogue.card(arguments.system)
    weights = Path(arguments.weights) if arguments.weights else None
    data = _data(arguments.data)
    if data is None and card.representation.name in OF_TUNES:
        for fraction, text in tunes.prepare():  # minutes, the first time
            _progress(fraction, text)
        _progress(None)
    evaluation = importlib.import_module("models.evaluation")
    device = _device(arguments.device)
    importlib.import_module("models.device").settle(device)
    table = evaluation.evaluate(
        arguments.system,
        data,
        weights=weights,
        samples=arguments.samples,
        attributes=arguments.attributes,
        seed=arguments.seed,
        device=device,
    )
    _show(table, arguments.json)


def ports(arguments: argparse.Namespace) -> None:
    """The MIDI ports of this machine."""
    from engine.ports import list_ports

    found = list_ports()
    if arguments.json:
        print(json.dumps(found, ensure_ascii=False))
        return
    for kind, names in found.items():
        for name in names:
            print(f"{kind}: {name}")
    if not any(found.values()):
        print("none; the built-in synth plays")


def play(arguments: argparse.Namespace) -> None:
    """Play a file in time, on a MIDI port or the built-in synth, until it ends or is interrupted."""
    from engine import midi

    score = exchange.read(Path(arguments.file))
    loop = asking.span(score, arguments.loop) if arguments.loop else None
    midi.play(
        score, port=arguments.port, virtual=arguments.virtual, clock=arguments.clock, loop=loop
    )


def export(arguments: argparse.Namespace) -> None:
    """Turn a file of one kind into one of another."""
    out = Path(arguments.output)
    exchange.check_writable(out)
    exchange.write(exchange.read(Path(arguments.file)), out)


def benchmark(arguments: argparse.Namespace) -> None:
    """Take and print the figures of one benchmark."""
    _show(bench.run(arguments.name), arguments.json)


# --- their words ---------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    """An ArgumentParser that complains in one sentence, as everything else here does."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message[:1].upper()}{message[1:]}; see {self.prog} --help.")


def _parser() -> argparse.ArgumentParser:
    version = importlib.metadata.version("ricercar")
    parser = _Parser(
        prog="ricercar",
        description="A piano roll that composes with you. `ricercar [FILE]` opens the window.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"ricercar {version}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, (run, words) in COMMANDS.items():
        about = (run.__doc__ or "").splitlines()[0]
        command = commands.add_parser(name, help=about, description=about, allow_abbrev=False)
        command.set_defaults(run=run)
        words(command)
    return parser


Words = Callable[[argparse.ArgumentParser], None]


def _json_word(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")


def _device_words(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="0 unless said")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="auto unless said")


def _generate_words(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("system", metavar="SYSTEM", help="an id `ricercar systems` shows")
    parser.add_argument("task", metavar="TASK", choices=[t.value for t in Task])
    parser.add_argument("-o", "--output", required=True, metavar="OUT")
    parser.add_argument("--input", metavar="A", help="the music to start from")
    parser.add_argument(
        "--input-b",
        metavar="B",
        help="the other end of an interpolation; reshape and regenerate start from the average of A and B",
    )
    parser.add_argument("--region", metavar="BAR:BAR", help="first and last bar of A, as printed")
    parser.add_argument("--voices", metavar="NAME,NAME", help="the tracks that may change")
    parser.add_argument("--bars", type=int, metavar="N", help="how many to create or continue with")
    parser.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="as `ricercar systems` lists them, e.g. steps=10 or density=+2; may be repeated",
    )
    parser.add_argument("--count", type=int, default=1, metavar="N", help="candidates")
    _device_words(parser)
    _json_word(parser)


def _train_words(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("system", metavar="SYSTEM")
    parser.add_argument(
        "--corpus",
        metavar="FOLDER",
        help="the system's own unless said; bundled+FOLDER is that and a folder",
    )
    parser.add_argument("--minutes", type=float, default=60.0, metavar="M", help="60 unless said")
    parser.add_argument(
        "--shape",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a size of the net other than usual, for comparisons",
    )
    parser.add_argument("-o", "--output", required=True, metavar="WEIGHTS")
    _device_words(parser)
    _json_word(parser)


def _evaluate_words(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("system", metavar="SYSTEM")
    parser.add_argument("--data", metavar="NAME|FILE|FOLDER", help="validation music unless said")
    parser.add_argument(
        "--weights", metavar="W", help="those that come with the program unless said"
    )
    parser.add_argument(
        "--samples", type=int, default=0, metavar="N", help="sample and compare, too"
    )
    parser.add_argument(
        "--attributes", action="store_true", help="what attribute sliders do, instead"
    )
    _device_words(parser)
    _json_word(parser)


def _play_words(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE")
    parser.add_argument("--port", metavar="NAME", help="an output `ricercar ports` shows")
    parser.add_argument("--virtual", metavar="NAME", help="make a port others can listen to")
    parser.add_argument("--clock", action="store_true", help="send MIDI clock, too")
    parser.add_argument("--loop", metavar="BAR:BAR", help="play these bars until interrupted")


def _export_words(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE")
    parser.add_argument("-o", "--output", required=True, metavar="OUT")


def _bench_words(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help=", ".join(bench.BENCHMARKS))
    _json_word(parser)


COMMANDS: dict[str, tuple[Callable[[argparse.Namespace], None], Words]] = {
    "systems": (systems, _json_word),
    "generate": (generate, _generate_words),
    "train": (train, _train_words),
    "evaluate": (evaluate, _evaluate_words),
    "ports": (ports, _json_word),
    "play": (play, _play_words),
    "export": (export, _export_words),
    "bench": (benchmark, _bench_words),
}


# --- their parts ---------------------------------------------------------------------------------


def _pairs(option: str, words: Sequence[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise UserError(f"{option} {word}: write it as name=value.")
        pairs[name.strip()] = value.strip()
    return pairs


def _device(wanted: str) -> str:
    device: str = importlib.import_module("models.device").choose(wanted)
    return device


def _show(table: Mapping[str, float], as_json: bool) -> None:
    for line in [figures.as_json(table)] if as_json else figures.lines(table):
        print(line)


def _progress(fraction: float | None, text: str = "") -> None:
    """A line that rewrites itself on a terminal, and nothing elsewhere; None wipes it."""
    if sys.stderr.isatty():
        line = "" if fraction is None else f"{fraction:4.0%} {text}"
        print(f"\r{line:<60}\r", end="", file=sys.stderr, flush=True)


def _files(folder: Path) -> Iterator[tuple[Path, Score]]:
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in exchange.READERS and path.is_file():
            yield path, exchange.read(path)


def _data(text: str | None) -> Any:
    """None, the name of a part of the corpus, a file of piano rolls, or the scores in a file or folder, with
    their names."""
    if text is None or text in ("valid", "test"):
        return text
    path = Path(text)
    if path.is_dir():
        found = list(_files(path))
        if not found:
            raise UserError(
                f"{path} has no files that can be read; put MIDI, MusicXML or ABC there."
            )
        return found
    if not path.exists() and not path.suffix:
        raise UserError(f"There is no data {text!r}; say valid, test, or name a file or folder.")
    if path.suffix == ".npz":
        return pianoroll.read(path)
    return [(path, exchange.read(path))]


def _corpus(text: str | None) -> Any:
    """None, "bundled+FOLDER" as the folder to read besides the bundled corpus, or as `_data`."""
    if text is not None and text.startswith("bundled+"):
        folder = Path(text.removeprefix("bundled+"))
        if not folder.is_dir():
            raise UserError(f"There is no folder {folder}; name one with music in it.")
        return folder
    return None if text is None else _data(text)

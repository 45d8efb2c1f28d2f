"""The two commands that do all the set-up, from a bare checkout on a fresh machine.

    python3 packaging/start.py             environment, dependencies, the window
    python3 packaging/start.py test        the same with the tools for tests, then every test
    python3 packaging/start.py ANYTHING…   environment, dependencies, then `ricercar ANYTHING…`

Words after `test` go to pytest. The environment is `.venv` in the checkout; a stamp in it says what
it was made from, so a second start only compares the stamp and hands over. The standard library is
all this file needs.
"""

from __future__ import annotations

import os
import sys

if sys.version_info < (3, 11):  # noqa: UP036 - this file meets any Python, and must say so kindly
    sys.exit(
        f"Ricercar needs Python 3.11 or newer, and this is Python {sys.version.split()[0]}: install "
        "a newer one and run this command with it, for example python3.12 packaging/start.py."
    )

import contextlib
import ctypes
import hashlib
import json
import shutil
import subprocess
import sysconfig
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
CONSTRAINTS = CHECKOUT / "packaging/constraints.txt"
NO_DEPS = CHECKOUT / "packaging/no-deps.txt"
VENV = CHECKOUT / ".venv"
STAMP = VENV / "ricercar-stamp.json"
LOG = VENV / "setup.log"
WINDOWS = os.name == "nt"
BIN = VENV / ("Scripts" if WINDOWS else "bin")
PYTHON = BIN / ("python.exe" if WINDOWS else "python")

# What Qt's window needs of a Linux system, found with ldd over PySide6's QtGui and libqxcb:
# the library that is loaded, then Debian's and Ubuntu's names for its package, newest first.
LIBRARIES = (
    ("libEGL.so.1", ("libegl1",)),
    ("libGL.so.1", ("libgl1",)),
    ("libX11-xcb.so.1", ("libx11-xcb1",)),
    ("libxkbcommon.so.0", ("libxkbcommon0",)),
    ("libxkbcommon-x11.so.0", ("libxkbcommon-x11-0",)),
    ("libxcb-cursor.so.0", ("libxcb-cursor0",)),
    ("libxcb-icccm.so.4", ("libxcb-icccm4",)),
    ("libxcb-image.so.0", ("libxcb-image0",)),
    ("libxcb-keysyms.so.1", ("libxcb-keysyms1",)),
    ("libxcb-randr.so.0", ("libxcb-randr0",)),
    ("libxcb-render.so.0", ("libxcb-render0",)),
    ("libxcb-render-util.so.0", ("libxcb-render-util0",)),
    ("libxcb-shape.so.0", ("libxcb-shape0",)),
    ("libxcb-shm.so.0", ("libxcb-shm0",)),
    ("libxcb-sync.so.1", ("libxcb-sync1",)),
    ("libxcb-util.so.1", ("libxcb-util1",)),
    ("libxcb-xfixes.so.0", ("libxcb-xfixes0",)),
    ("libxcb-xkb.so.1", ("libxcb-xkb1",)),
    ("libfontconfig.so.1", ("libfontconfig1",)),
    ("libdbus-1.so.3", ("libdbus-1-3",)),
    ("libglib-2.0.so.0", ("libglib2.0-0t64", "libglib2.0-0")),
    ("libasound.so.2", ("libasound2t64", "libasound2")),
)
# What the tests run for real: the program, then its package.
TOOLS = (
    ("jackd", ("jackd2",)),
    ("jack_lsp", ("jack-example-tools", "jackd2")),
    ("Xvfb", ("xvfb",)),
    ("fluidsynth", ("fluidsynth",)),
)
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
FONTS = ("fonts-dejavu-core",)
# python-rtmidi 1.5.8 and tinysoundfont 0.3.7 come ready-made for Python 3.11 and 3.12; a newer Python
# builds them (tried on Debian 13), which takes these, unless an older one is there too.
READY_MADE = ("python3.12", "python3.11")
BUILDS = sys.version_info >= (3, 13)
BUILDERS = (
    ("g++", ("g++",)),
    ("pkg-config", ("pkg-config",)),
)
HEADERS = (
    ("/usr/include/alsa/asoundlib.h", ("libasound2-dev",)),
    ("/usr/include/jack/jack.h", ("libjack-jackd2-dev",)),
    (sysconfig.get_path("include") + "/Python.h", (f"python{VERSION}-dev",)),
)
# Packages that make torch's Linux build several GB large.
CUDA = ("nvidia", "cuda", "triton")


class SetupError(Exception):
    """One sentence for the user: what failed and what to do."""


def say(line: str) -> None:
    print(f"Ricercar: {line}", file=sys.stderr, flush=True)


def main(words: list[str]) -> int:
    """Set up what `words` needs, then become that command; returns its exit status."""
    older = ready_made_python() if BUILDS else None
    if older:
        return become([older, str(Path(__file__).resolve()), *words])
    testing = words[:1] == ["test"]
    # A file or nothing opens the window; a command's name has no suffix.
    window = not words or Path(words[0]).suffix != ""
    try:
        prepare("test" if testing else "window" if window else "command")
    except SetupError as error:
        say(str(error))
        return 2
    if testing:
        return become([str(PYTHON), "-m", "pytest", *pytest_options(words[1:])], cwd=CHECKOUT)
    if window and sys.platform.startswith("linux") and not screen():
        say(
            "no screen to open a window on (neither DISPLAY nor WAYLAND_DISPLAY is set); the command "
            "line works without one, for example: python3 packaging/start.py systems"
        )
        return 2
    return become([str(BIN / ("ricercar.exe" if WINDOWS else "ricercar")), *words])


def ready_made_python() -> str | None:
    """A Python on this system for which everything comes ready-made, or None."""
    for name in READY_MADE:
        path = shutil.which(name)
        # It may be a shim for a version that is not active.
        if path and subprocess.run([path, "-c", ""], capture_output=True).returncode == 0:
            return path
    return None


def screen() -> bool:
    """Whether a window can open: a display, or a Qt platform that the user chose."""
    return any(os.environ.get(n) for n in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"))


def pytest_options(words: Sequence[str]) -> list[str]:
    """One worker a core, and the tests of one file in one worker: they share what they make."""
    workers = min(os.cpu_count() or 1, 4)
    spread = ["-n", str(workers), "--dist", "loadfile"] if workers > 1 else []
    return [*spread, *words]


def become(command: Sequence[str], cwd: Path | None = None) -> int:
    """Replace this process by `command`, so that signals and the exit status are its own."""
    sys.stdout.flush()
    sys.stderr.flush()
    if cwd is not None:
        os.chdir(cwd)
    if WINDOWS:  # execv there returns to the shell at once and loses the exit status
        return subprocess.call(command)
    os.execv(command[0], list(command))


# --- what is there already -----------------------------------------------------------------------


def wanted() -> str:
    """A digest of everything the environment is made from."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
    parts = [
        json.dumps([project["build-system"], project["project"]], sort_keys=True),
        CONSTRAINTS.read_text(encoding="utf-8"),
        NO_DEPS.read_text(encoding="utf-8"),
        sys.version,
        str(CHECKOUT),  # the scripts in .venv name it
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def read_stamp() -> dict[str, str]:
    """What was done ("packages", "tools", "window libraries", …) → the digest it was done for."""
    try:
        stamp = json.loads(STAMP.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


NEEDS = {
    "command": ("packages", "command libraries"),
    "window": ("packages", "window libraries"),
    "test": ("packages", "tools", "test libraries"),
}


def prepare(level: str) -> None:
    """Bring `.venv` and the system to `level`; nothing to do is the usual case.

    Raises SetupError. System libraries that cannot be installed are named, each time anew.
    """
    digest = wanted()

    def missing(stamp: dict[str, str]) -> list[str]:
        return [n for n in NEEDS[level] if stamp.get(n) != digest or not PYTHON.exists()]

    if not missing(read_stamp()):
        return
    with only_one():
        stamp = read_stamp()
        todo = missing(stamp)  # another start may have done it while this one waited
        libraries = f"{level} libraries"
        if libraries in todo and system_packages(level):
            stamp[libraries] = digest
        if "packages" in todo:
            make_environment()
            install_torch()
            install("the synth", "--no-deps", "--requirement", str(NO_DEPS))
        if "tools" in todo:
            install("Ricercar, its dependencies, the tools for tests", "-e", f"{CHECKOUT}[dev]")
            stamp["tools"] = digest
        elif "packages" in todo:
            install("Ricercar and its dependencies", "-e", str(CHECKOUT))
        stamp["packages"] = digest
        STAMP.write_text(json.dumps(stamp), encoding="utf-8")


@contextlib.contextmanager
def only_one() -> Iterator[None]:
    """Two starts at once must not install into one another."""
    if WINDOWS:
        yield
        return
    import fcntl  # not on Windows

    with Path(__file__).open("rb") as anchor:
        try:
            fcntl.flock(anchor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another start to finish its set-up")
            fcntl.flock(anchor, fcntl.LOCK_EX)
        yield


# --- the system ----------------------------------------------------------------------------------


def lacking(level: str) -> list[tuple[str, tuple[str, ...]]]:
    """What this Linux system lacks for `level`: the thing, and its package's names."""
    programs: list[tuple[str, tuple[str, ...]]] = [*(BUILDERS if BUILDS else ())]
    programs += TOOLS if level == "test" else ()
    found = [(program, names) for program, names in programs if shutil.which(program) is None]
    if BUILDS:
        found += [(header, names) for header, names in HEADERS if not Path(header).exists()]
    if level != "command":
        found += [(library, names) for library, names in LIBRARIES if not loads(library)]
        found += [] if has_fonts() else [("a font", FONTS)]
    return found


def system_packages(level: str) -> bool:
    """Install missing system libraries with apt-get as root, else name the exact command.

    Returns whether all are there now.
    """
    missing = lacking(level) if sys.platform.startswith("linux") else []
    if not missing:
        return True
    if shutil.which("apt-get") is None:
        things = ", ".join(thing for thing, _ in missing)
        say(f"missing from this system, install with its package manager: {things}")
        return False
    if os.geteuid() == 0:
        say("asking apt for its package lists")
        subprocess.run(["apt-get", "update", "-qq"], stdout=subprocess.DEVNULL, check=False)
    packages = sorted({available(names) for _, names in missing})
    command = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    if os.geteuid() != 0:
        say("missing from this system: sudo " + " ".join(command))
        return False
    say("installing with apt: " + " ".join(packages))
    done = subprocess.run(
        command,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode == 0:
        return True
    said = " / ".join(done.stdout.strip().splitlines()[-3:])
    say(f"apt-get failed ({said}); later, run: " + " ".join(command))
    return False


def loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def has_fonts() -> bool:
    """Qt brings no fonts: without one every text in the window is empty."""
    own = (Path.home() / ".fonts", Path.home() / ".local/share/fonts")
    folders = (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), *own)
    return any(f.suffix in {".ttf", ".otf", ".ttc"} for d in folders for f in d.rglob("*"))


def available(names: Sequence[str]) -> str:
    """The first of a package's names that this release of the system has."""
    for name in names[:-1]:
        found = subprocess.run(
            ["apt-cache", "show", name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        if found.returncode == 0:
            return name
    return names[-1]


# --- the environment -----------------------------------------------------------------------------


def make_environment() -> None:
    """A `.venv` whose Python runs and has this one's version; an odd one is made again."""
    if PYTHON.exists():
        ask = "import sys; print('%d.%d' % sys.version_info[:2])"
        found = subprocess.run([str(PYTHON), "-c", ask], capture_output=True, text=True)
        if found.stdout.strip() == VERSION:
            return
    say(f"making an environment in .venv (Python {sys.version.split()[0]})")
    command = [sys.executable, "-m", "venv", "--clear", str(VENV)]
    made = subprocess.run(command, capture_output=True, text=True)
    if made.returncode == 0:
        return
    package = f"python{VERSION}-venv"
    if "ensurepip" in made.stdout + made.stderr and shutil.which("apt-get"):
        if os.geteuid() != 0:
            raise SetupError(f"Python's venv is missing; run: sudo apt-get install -y {package}")
        say(f"installing with apt: {package}")
        subprocess.run(["apt-get", "update", "-qq"], stdout=subprocess.DEVNULL, check=False)
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(
            ["apt-get", "install", "-y", package], env=quiet, stdout=subprocess.DEVNULL, check=False
        )
        made = subprocess.run(command, capture_output=True, text=True)
        if made.returncode == 0:
            return
    last = (made.stderr or made.stdout).strip().splitlines()[-1:]
    raise SetupError(f"could not make {VENV}: {' '.join(last)}")


def install(what: str, *arguments: str) -> None:
    """`pip install` quietly into `.venv`; the log keeps what pip said. Raises SetupError."""
    say(f"installing {what}")
    pip("--constraint", str(CONSTRAINTS), *arguments)


def pip(*arguments: str) -> None:
    logged([str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", *arguments])


def logged(command: Sequence[str]) -> None:
    """Run `command`, its output appended to the log. Raises SetupError with its last error line."""
    with LOG.open("a", encoding="utf-8") as log:
        log.write("$ " + " ".join(command) + "\n")
        log.flush()
        start = log.tell()
        status = subprocess.call(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    if status != 0:
        said = LOG.read_bytes()[start:].decode(errors="replace").strip().splitlines()
        errors = [line for line in said if line.lstrip().lower().startswith("error")] or said
        reason = errors[-1].strip() if errors else f"status {status}"
        raise SetupError(f"installing failed ({reason}); try again, or see {LOG}")


def nvidia_driver() -> bool:
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


def install_torch() -> None:
    """torch: on Linux without an NVIDIA driver its CPU build, whatever this machine's pip offers.

    pip's own choice there brings several GB of CUDA, so it is asked first what it would install.
    uv knows where torch's CPU builds are kept. Raises SetupError.
    """
    torch = pinned("torch")
    if not sys.platform.startswith("linux") or nvidia_driver():
        install(torch, torch)
        return
    report = VENV / "torch-report.json"
    pip("--dry-run", "--report", str(report), torch)
    plan = json.loads(report.read_text(encoding="utf-8"))["install"]
    report.unlink()
    names = [str(entry["metadata"]["name"]).lower() for entry in plan]
    if not names:
        return  # already there
    if not any(name.startswith(CUDA) for name in names):
        install(f"{torch} (CPU)", torch)
        return
    install("uv, which finds torch's CPU build", "uv")
    say(f"installing {torch} (CPU build: no NVIDIA driver found)")
    target = ["--python", str(PYTHON), "--torch-backend", "cpu"]
    try:
        logged([str(BIN / "uv"), "pip", "install", *target, torch])
    except SetupError as error:
        raise SetupError(
            f"{error}; or take the build with CUDA, several GB, and start again: "
            f"{PYTHON} -m pip install {torch}"
        ) from error


def pinned(name: str) -> str:
    """The line of constraints.txt that pins `name`, as a requirement."""
    lines = CONSTRAINTS.read_text(encoding="utf-8").splitlines()
    return next(line.strip() for line in lines if line.startswith(f"{name}=="))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

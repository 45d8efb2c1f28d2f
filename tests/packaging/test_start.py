"""The start script as a stranger meets it: run for real, in a checkout of its own."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CHECKOUT = Path(__file__).resolve().parents[2]
NEEDED = (
    "pyproject.toml",
    "packaging/start.py",
    "packaging/constraints.txt",
    "packaging/no-deps.txt",
)

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the stand-in programs are shell scripts")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A bare checkout, as far as the start script looks at it."""
    root = tmp_path / "check out"  # a blank in the path, as users have
    (root / "packaging").mkdir(parents=True)
    for name in NEEDED:
        (root / name).write_bytes((CHECKOUT / name).read_bytes())
    return root


@pytest.fixture
def start(checkout: Path, load: Callable[[Path], ModuleType]) -> ModuleType:
    """The script of that checkout as a module."""
    return load(checkout / "packaging/start.py")


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + text + "\n", encoding="utf-8")
    path.chmod(0o755)


def ready(start: ModuleType, level: str) -> None:
    """Make the checkout look set up, with a `ricercar` and a `python` that say what they were given."""
    report = 'echo "$(basename "$0") in $PWD:" "$@"; exit 7'
    program(start.BIN / "ricercar", report)
    program(start.PYTHON, report)
    stamp = dict.fromkeys(start.NEEDS[level], start.wanted())
    start.STAMP.write_text(json.dumps(stamp), encoding="utf-8")


def run(
    checkout: Path,
    *words: str,
    cwd: Path | None = None,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(checkout / "packaging/start.py"), *words]
    return subprocess.run(
        command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True
    )


def test_other_words_go_to_ricercar_from_where_the_user_stands(
    checkout: Path, start: ModuleType, tmp_path: Path
) -> None:
    ready(start, "command")
    done = run(checkout, "generate", "deep_bach", "-o", "a b.mid", cwd=tmp_path)
    assert done.stdout == f"ricercar in {tmp_path}: generate deep_bach -o a b.mid\n"
    assert done.stderr == ""
    assert done.returncode == 7


def test_a_second_start_costs_next_to_nothing(checkout: Path, start: ModuleType) -> None:
    ready(start, "command")
    import resource  # not on Windows, where this file is skipped

    seconds = []
    for _ in range(5):  # of the processor: whatever else this machine does is no part of it
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run(checkout, "systems")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(seconds) < 0.2


def test_test_runs_pytest_in_the_checkout_with_the_words_after_it(
    checkout: Path, start: ModuleType, tmp_path: Path
) -> None:
    ready(start, "test")
    done = run(checkout, "test", "-k", "audio", cwd=tmp_path)
    assert done.stdout.startswith(f"python in {checkout}: -m pytest ")
    assert done.stdout.endswith("-k audio\n")
    assert done.returncode == 7


def test_no_words_or_a_file_open_the_window(checkout: Path, start: ModuleType) -> None:
    ready(start, "window")
    for words in ([], ["song.mid"]):
        done = run(checkout, *words, environment={"QT_QPA_PLATFORM": "offscreen"})
        assert done.stdout.startswith("ricercar in ")
        assert done.returncode == 7


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="screens are a matter of Linux")
def test_without_a_screen_the_window_is_refused_in_a_sentence(
    checkout: Path, start: ModuleType
) -> None:
    ready(start, "window")
    done = run(
        checkout, environment=dict.fromkeys(("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"), "")
    )
    assert done.returncode == 2
    assert "no screen" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_old_python_is_told_so(checkout: Path) -> None:
    script = checkout / "packaging/start.py"
    pretend = (
        "import runpy, sys; sys.version_info = (3, 9, 2); sys.version = '3.9.2 (old)';"
        f"runpy.run_path({str(script)!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", pretend], capture_output=True, text=True)
    assert done.returncode == 1
    assert "needs Python 3.11 or newer, and this is Python 3.9.2" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_old_python_can_read_the_script_at_all() -> None:
    ast.parse((CHECKOUT / "packaging/start.py").read_text(encoding="utf-8"), feature_version=(3, 7))


def test_what_cannot_be_fetched_is_said_and_tried_again(checkout: Path) -> None:
    # A real environment is made; there is just nowhere to fetch from.
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}
    done = run(checkout, "systems", environment=offline)
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert lines[0].startswith("Ricercar: making an environment in .venv (Python 3.")
    assert "installing failed (ERROR: No matching distribution found for torch" in lines[-1]
    assert "setup.log" in lines[-1]
    assert "Traceback" not in done.stderr
    assert not (checkout / ".venv/ricercar-stamp.json").exists()
    again = run(checkout, "systems", environment=offline)
    assert again.returncode == 2
    assert "making an environment" not in again.stderr


def test_the_environment_depends_on_what_it_is_made_from(checkout: Path, start: ModuleType) -> None:
    before = start.wanted()
    project = checkout / "pyproject.toml"
    text = project.read_text(encoding="utf-8")
    project.write_text(text.replace("line-length = 100", "line-length = 99"), encoding="utf-8")
    assert start.wanted() == before
    project.write_text(text.replace('"mido>=1.3"', '"mido>=1.2"'), encoding="utf-8")
    assert start.wanted() != before
    project.write_text(text, encoding="utf-8")
    constraints = checkout / "packaging/constraints.txt"
    constraints.write_text(constraints.read_text().replace("1.3.3", "1.3.2"), encoding="utf-8")
    assert start.wanted() != before


def test_every_dependency_is_pinned_to_a_version_it_allows() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    lines = (CHECKOUT / "packaging/constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = {}
    for line in lines:
        if line and not line.startswith("#"):
            name, version = line.split("==")
            pins[canonicalize_name(name)] = version
    for text in wanted:
        requirement = Requirement(text)
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), text


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing in it but stand-ins for apt, which keep a record."""
    folder = tmp_path / "bin"
    record = tmp_path / "apt.txt"
    program(folder / "apt-get", f'echo "apt-get $*" >> "{record}"')
    program(folder / "apt-cache", '[ "$2" != jack-example-tools ]')
    monkeypatch.setenv("PATH", str(folder))
    return record


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="apt is a matter of Linux")
def test_missing_system_packages_are_installed_as_root(
    start: ModuleType,
    tools: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert start.system_packages("test")
    update, install = tools.read_text().splitlines()
    assert update == "apt-get update -qq"
    assert install.startswith("apt-get install -y --no-install-recommends ")
    assert {"jackd2", "xvfb", "fluidsynth"} <= set(install.split())
    assert "jack-example-tools" not in install  # this apt does not have it
    assert "installing with apt: " in capsys.readouterr().err


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="apt is a matter of Linux")
def test_missing_system_packages_are_named_to_others(
    start: ModuleType,
    tools: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert not start.system_packages("test")
    assert not tools.exists()
    said = capsys.readouterr().err
    assert "sudo apt-get install -y --no-install-recommends " in said
    assert "jackd2" in said
    (tools.parent / "bin/apt-get").unlink()
    assert not start.system_packages("test")
    assert "with its package manager: " in capsys.readouterr().err


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="apt is a matter of Linux")
def test_a_python_without_ready_made_packages_gets_a_compiler(
    start: ModuleType, tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(start, "BUILDS", True)
    assert start.ready_made_python() is None  # nothing in this PATH
    assert start.system_packages("command")
    words = tools.read_text().split()
    assert {"g++", "pkg-config"} <= set(words)
    assert "xvfb" not in words


def test_a_newer_python_hands_over_to_one_with_ready_made_packages(
    start: ModuleType, tools: Path
) -> None:
    folder = tools.parent / "bin"
    program(folder / "python3.12", "exit 127")  # a shim for a version that is not active
    program(folder / "python3.11", "exit 0")
    assert start.ready_made_python() == str(folder / "python3.11")


def test_the_check_of_the_project_is_the_readme_s_test_command() -> None:
    script = CHECKOUT / ".ci/run"
    assert os.access(script, os.X_OK)
    command = "python3 packaging/start.py test"
    assert script.read_text(encoding="utf-8").splitlines()[-1] == f"exec {command}"
    assert command in (CHECKOUT / "README.md").read_text(encoding="utf-8")

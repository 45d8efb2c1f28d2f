"""The code as a whole: types, style, and the one way that imports point (see DESIGN.md and pyproject)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted(str(p) for p in (CHECKOUT / "packaging").glob("*.py"))
LINT_IMPORTS = "import sys; from importlinter.cli import lint_imports_command as c; sys.exit(c())"

CHECKS = {
    "types": ["-m", "mypy"],
    "types of the scripts": ["-m", "mypy", "--strict", *SCRIPTS],
    "style": ["-m", "ruff", "check", "."],
    "format": ["-m", "ruff", "format", "--check", "."],
    "imports": ["-c", LINT_IMPORTS],
}


@pytest.mark.parametrize("check", CHECKS)
def test_code(check: str) -> None:
    done = subprocess.run(
        [sys.executable, *CHECKS[check]], cwd=CHECKOUT, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{check}:\n{done.stdout}\n{done.stderr}"

"""The scripts in packaging/ are not a package: they are loaded from their files."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

Loader = Callable[[Path], ModuleType]


@pytest.fixture(scope="module")
def load() -> Iterator[Loader]:
    """Loads a script as a module, known by its name for the length of one test file."""
    known: list[str] = []

    def from_file(path: Path) -> ModuleType:
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
        known.append(path.stem)
        spec.loader.exec_module(module)
        return module

    yield from_file
    for name in known:
        sys.modules.pop(name, None)

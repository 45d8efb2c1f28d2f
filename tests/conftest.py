"""What every test gets: folders of its own in place of the user's, and one torch thread."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Qt without a screen and torch without a thread each per core: two test workers share two cores.
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The same examples every time, however slow the machine is at the moment.
settings.register_profile("ricercar", deadline=None, derandomize=True)
settings.load_profile("ricercar")


@pytest.fixture(autouse=True)
def _own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data and settings never land among the user's own; the cache is shared, for it only saves time."""
    home = tmp_path_factory.getbasetemp() / "home"
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        folder = home / name.removeprefix("XDG_").lower()
        folder.mkdir(parents=True, exist_ok=True)
        monkeypatch.setenv(name, str(folder))


@pytest.fixture
def scores() -> Path:
    """The folder of demo scores."""
    return Path(__file__).resolve().parent.parent / "assets" / "scores"

"""Results for the commands that read them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.command_line import Command


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where what several tests start from is made by the first of them."""
    return tmp_path_factory.mktemp("once")


@pytest.fixture
def a_run(xaibench: Command, weights: Path, tmp_path: Path, once: Path) -> Path:
    """Two clips under a method and a control."""
    if not (once / "run").exists():
        done = xaibench(
            *("run", "-m", "energy", "-m", "random", "-c", weights, "--limit", 2, "--metric", "faithfulness"),
            *("--metric", "sparseness", "--metric", "pointing_game", "--out", once / "run"),
        )
        assert done.code == 0, done.err
    return Path(shutil.copytree(once / "run", tmp_path / "made"))

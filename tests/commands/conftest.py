"""Results for the commands that read them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command_line import Command


@pytest.fixture
def a_run(xaibench: Command, weights: Path, tmp_path: Path) -> Path:
    """Two clips under a method and a control."""
    done = xaibench(
        *("run", "-m", "energy", "-m", "random", "-c", weights, "--limit", 2, "--metric", "faithfulness"),
        *("--metric", "sparseness", "--metric", "pointing_game", "--out", "made"),
    )
    assert done.code == 0, done.err
    return tmp_path / "made"

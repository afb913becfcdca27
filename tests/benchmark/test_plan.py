"""What a run will cost, told before it."""

from __future__ import annotations

from pathlib import Path

import pytest

import xaibench as xb
from tests.support.command_line import Command
from xaibench.results.store import read_costs


def test_the_command_prints_what_is_left_and_writes_nothing(xaibench: Command, weights: Path, tmp_path: Path) -> None:
    arguments = ("run", "-m", "energy", "-m", "uniform", "-c", weights, "--limit", 2, "--metric", "sparseness")
    done = xaibench(*arguments, "--workers", 2, "--dry-run")
    assert done.code == 0
    assert "energy on cnn-micro@" in done.out and "In all: 2 parts, " in done.out
    assert "of memory" in done.out and "at once (cpu" in done.out
    assert not (tmp_path / "results").exists()
    xaibench(*arguments[:3], *arguments[5:])
    assert "In all: 1 parts" in xaibench(*arguments, "--dry-run").out, "what is scored is not to do"


def test_passes_and_bytes_are_those_of_the_run(weights: Path, tmp_path: Path) -> None:
    what = (str(weights), "synth", ["energy", "uniform"], ["faithfulness"])
    settings = {"limit": 5, "threads": 1, "device": "cpu"}
    told = xb.plan(*what, **settings, controls=False)
    assert (told.parts, told.workers, told.threads) == (2, 1, 1)
    results = xb.evaluate(*what, out=tmp_path / "run", progress=False, **settings, controls=False)
    costs = read_costs(results.path)
    assert told.forwards == pytest.approx((costs["forwards_per_clip"] * costs["clips"]).sum(), rel=0.1)
    written = [path for path in results.path.rglob("part-*") if path.is_file()]
    assert told.bytes == pytest.approx(sum(path.stat().st_size for path in written), rel=0.1)
    assert told.seconds > 0
    again = xb.plan(*what[:2], ["energy"], what[3], out=tmp_path / "run", **settings, controls=False)
    assert again.parts == 0 and again.seconds == 0 and again.pairs[0].earlier

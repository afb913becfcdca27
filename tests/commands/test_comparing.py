"""`xaibench compare` and `xaibench leaderboard`."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.support.command_line import Command, assert_refused
from xaibench.results import store


def test_compare_and_leaderboard(xaibench: Command, a_run: Path, tmp_path: Path) -> None:
    done = xaibench("compare", a_run)
    assert done.code == 0
    assert done.out.startswith("results/comparison.csv: ")
    comparison = pd.read_csv(tmp_path / "results" / "comparison.csv")
    assert set(comparison["method"]) == {"energy", "random"}
    assert set(comparison["metric"]) == {"faithfulness", "sparseness", "pointing_game"}
    # The mean of the table is the mean of the clips.
    rows = store.read_rows(a_run)
    cell = (rows["method"] == "energy") & (rows["metric"] == "sparseness")
    line = (comparison["method"] == "energy") & (comparison["metric"] == "sparseness")
    assert comparison.loc[line, "mean"].item() == pytest.approx(rows.loc[cell, "value"].mean(), abs=1e-12)
    done = xaibench("leaderboard", a_run, "--out", "board", "--no-plots")
    assert done.code == 0
    assert "energy" in done.out
    for suffix in ("csv", "md", "tex"):
        assert f"wrote board/leaderboard-synth.{suffix}" in done.out
        assert (tmp_path / "board" / f"leaderboard-synth.{suffix}").stat().st_size > 100


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("manifest.json", "{}", "manifest.json is not a run manifest"),
        ("*/energy/part-000.parquet", "PAR1 no", "part-000.parquet is damaged"),
        ("*/energy/part-000.json", "{", "part-000.json is damaged"),
        ("*/energy/part-000.json", None, "part-000.json is damaged"),
    ],
)
def test_a_corrupt_results_folder(xaibench: Command, a_run: Path, file: str, content: str | None, words: str) -> None:
    (path,) = a_run.glob(file)
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    for command in ("compare", "leaderboard"):
        assert_refused(xaibench(command, a_run), words)

"""`xaibench compare` and `xaibench leaderboard`."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from tests.support.command_line import Command, assert_refused
from tests.support.made_up_runs import FF, Scores, noise, write_run
from xaibench.results import store


def test_compare_and_leaderboard(xaibench: Command, a_run: Path, tmp_path: Path) -> None:
    done = xaibench("compare", a_run)
    assert done.code == 0
    assert done.out.startswith("results/comparison.csv: ")
    comparison = pd.read_csv(tmp_path / "results" / "comparison.csv")
    assert set(comparison["method"]) == {"energy", "random"}
    assert set(comparison["metric"]) == {"faithfulness", "sparseness", "pointing_game"}
    assert xaibench("compare", a_run, "--out", "packed.csv.gz").code == 0
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "packed.csv.gz"), comparison)
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


def test_a_method_that_is_called_like_a_formula_is_text(xaibench: Command, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {"=1+1": {FF: noise(1)}, "random": {FF: noise(2)}})
    assert xaibench("compare", run).code == xaibench("leaderboard", run, "--no-plots").code == 0
    for file in ("comparison.csv", "leaderboard-synth.csv"):
        assert set(pd.read_csv(tmp_path / "results" / file)["method"]) == {"'=1+1", "random"}


def test_a_board_as_json_and_with_chosen_columns(xaibench: Command, a_run: Path, tmp_path: Path) -> None:
    board = ("leaderboard", a_run, "--out", "board", "--no-plots")
    lines = json.loads(xaibench(*board, "--json").out)
    wide = pd.read_csv(tmp_path / "board" / "leaderboard-synth.csv")
    assert [line["method"] for line in lines] == wide["method"].tolist()
    assert [line["faithfulness"] for line in lines] == pytest.approx(wide["faithfulness"].tolist(), rel=1e-15)
    assert lines[0]["training_seconds"] is None, "JSON knows no NaN"
    done = xaibench(*board, "--columns", "sps,FF", "--methods", "energy", "--label", "tab:ours")
    (head,) = [line for line in done.out.splitlines() if line.startswith("Method")]
    assert head.split() == ["Method", "SPS", "↑", "FF", "↑"]
    assert "random" not in [line.split(" ")[0] for line in done.out.splitlines()]
    assert r"\label{tab:ours}" in (tmp_path / "board" / "leaderboard-synth.tex").read_text()
    assert len(pd.read_csv(tmp_path / "board" / "leaderboard-synth.csv")) == 2, "the file for machines has all"
    assert_refused(xaibench(*board, "--sort", "AD"), "there is no column 'AD' to show; there are faithfulness (FF), ")


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("manifest.json", "{}", "manifest.json is not a run manifest"),
        ("*/energy/part-000.parquet", "PAR1 no", "part-000.parquet is damaged"),
        ("*/energy/part-000.json", "{", "part-000.json is damaged"),
    ],
)
def test_a_corrupt_results_folder(xaibench: Command, a_run: Path, file: str, content: str, words: str) -> None:
    (path,) = a_run.glob(file)
    path.write_text(content)
    for command in ("compare", "leaderboard"):
        assert_refused(xaibench(command, a_run), words)


def test_a_part_that_is_not_finished_is_left_out_and_said_once(xaibench: Command, a_run: Path, tmp_path: Path) -> None:
    (path,) = a_run.glob("*/energy/part-000.json")
    path.unlink()
    said = f"left out: 1 part not finished (scores without a description), in {a_run}; give the command of the run "
    for command in (("compare",), ("leaderboard", "--no-plots")):
        done = xaibench(*command, a_run)
        assert done.code == 0, done.err
        assert [line.startswith(said) for line in done.error_lines] == [True]
    assert set(pd.read_csv(tmp_path / "results" / "comparison.csv")["method"]) == {"random"}


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Runs of two seeds, and a shorter one of the first seed."""
    scores: dict[str, Scores] = {name: {FF: noise(i, clips=12)} for i, name in enumerate(["good", "random"])}
    write_run(tmp_path / "runs" / "synth-fold5", scores)
    write_run(tmp_path / "runs" / "synth-fold5-seed7", scores, seed=7)
    short = {name: {FF: values[FF][:8]} for name, values in scores.items()}
    write_run(tmp_path / "runs" / "synth-fold5-limit8", short, limit=8)
    return tmp_path / "runs"


def test_runs_that_cannot_be_compared_have_boards_of_their_own(xaibench: Command, many: Path, tmp_path: Path) -> None:
    done = xaibench("compare", many)
    assert done.code == 0, done.err
    lines = pd.read_csv(tmp_path / "results" / "comparison.csv")
    groups = ["synth-seed0-fold5", "synth-seed0-fold5-limit8", "synth-seed7"]
    assert lines["group"].unique().tolist() == groups
    assert [line.partition(" is a group of its own: ")[0] for line in done.error_lines] == groups
    done = xaibench("leaderboard", many, "--out", "board", "--no-plots")
    assert done.code == 0, done.err
    for name in groups:
        assert f"{name}, " in done.out
        assert f"**{name}, cnn-micro: " in (tmp_path / "board" / f"leaderboard-{name}.md").read_text()
    wide = pd.read_csv(tmp_path / "board" / f"leaderboard-{groups[1]}.csv")
    assert wide[["group", "seed", "clips"]].to_numpy().tolist() == [[groups[1], 0, 8]] * 2


def test_runs_are_chosen(xaibench: Command, many: Path, tmp_path: Path) -> None:
    for choice in (("--seed", 7), ("--run", "synth-fold5-seed7")):
        done = xaibench("compare", many, "--dataset", "synth", "--protocol", "standard", *choice)
        assert done.code == 0, done.err
        lines = pd.read_csv(tmp_path / "results" / "comparison.csv")
        assert set(lines["group"]) == {"synth"} and set(lines["seed"]) == {7}
    assert_refused(
        xaibench("leaderboard", many, "--seed", 8),
        "there is no run of the seed 8; there are datasets synth; protocols standard; seeds 0, 7; runs synth-fold5, ",
    )

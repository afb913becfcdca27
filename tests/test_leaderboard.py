"""Comparisons of synthetic rows whose answer is known, and the tables made of them."""

import csv
import io
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from xaibench import leaderboard, registry, results, tables
from xaibench.errors import ResultsError
from xaibench.results import Manifest, PartInfo, RunFolder
from xaibench.tables import Cell, Row, Table

Scores = dict[tuple[str, float | None], np.ndarray]
CLIPS, RECORDINGS = 40, 25


def write_run(
    folder: Path,
    methods: dict[str, Scores],
    *,
    dataset: str = "synth",
    classifier: str = "cnn-micro",
    controls: tuple[str, ...] = ("random", "uniform"),
    first_clip: int = 0,
    protocol: str = "standard",
    sha256: str = "weights",
    info: dict[str, Any] | None = None,
) -> Path:
    """A run of per-clip values: methods -> (metric, area) -> values."""
    run = RunFolder(folder, Manifest(dataset, "fingerprint", (5,), None, 0, protocol))
    for method, scores in methods.items():
        frames = []
        for (metric, area), values in scores.items():
            clips = first_clip + np.arange(len(values))
            frames.append(
                pd.DataFrame(
                    {
                        "dataset": dataset,
                        "fold": 5,
                        "clip": [f"clip{i:03d}" for i in clips],
                        "src_file": [f"recording{i % RECORDINGS}" for i in clips],
                        "label": "dog",
                        "predicted": "dog",
                        "correct": clips % 4 != 0,
                        "classifier": classifier,
                        "method": method,
                        "protocol": protocol,
                        "metric": metric,
                        "area": float("nan") if area is None else area,
                        "value": values,
                        "reason": [None if np.isfinite(v) else "undefined" for v in values],
                    }
                )
            )
        described = {"native_shape": [8, 9], "polarity": "positive", "parameters": {}, "control": method in controls}
        part = PartInfo(
            len(next(iter(scores.values()))),
            sha256,
            described | (info or {}),
            "a",
            "c",
            {},
            "cpu",
            8,
            4.0,
            1.0,
            9,
            2_500_000,
        )
        run.write(classifier, method, 0, pd.concat(frames), part)
    return folder


def noise(seed: int, mean: float = 0.0, clips: int = CLIPS) -> np.ndarray:
    return mean + np.random.default_rng(seed).normal(0, 0.1, clips)


FF, AD, SPS = ("faithfulness", 0.1), ("average_drop", 0.1), ("sparseness", None)


@pytest.fixture
def comparison(tmp_path: Path) -> pd.DataFrame:
    gap = noise(5, 0.3)
    gap[[1, 2, 3]] = np.nan
    methods: dict[str, Scores] = {
        "good": {FF: noise(1, 0.8), AD: noise(1, 5.0), SPS: noise(1, 0.5), ("faithfulness", 0.2): noise(9, 0.9)},
        "twin": {FF: noise(2, 0.8), AD: noise(2, 5.0), SPS: noise(2, 0.5), ("faithfulness", 0.2): noise(8, 0.1)},
        "poor": {FF: gap, AD: noise(3, 50.0), SPS: noise(3, 0.2)},
        "random": {FF: noise(4), AD: noise(4, 90.0), SPS: noise(4, 0.5)},
        "uniform": {FF: noise(6), AD: noise(6, 90.0), SPS: np.full(CLIPS, np.nan)},
    }
    return leaderboard.compare([write_run(tmp_path / "run", methods)])


def cell(comparison: pd.DataFrame, metric: str, area: float | None = None) -> pd.DataFrame:
    here = comparison["area"].isna() if area is None else comparison["area"] == area
    return comparison[(comparison["metric"] == metric) & here].set_index("method")


def test_one_line_per_cell_with_the_declared_columns(comparison: pd.DataFrame) -> None:
    assert tuple(comparison.columns) == leaderboard.COLUMNS
    assert len(comparison) == 17
    assert not comparison.duplicated(["dataset", "classifier", "method", "metric", "area"]).any()
    line: Any = cell(comparison, *FF).loc["good"]
    assert line["mean"] == pytest.approx(noise(1, 0.8).mean())
    assert line["low"] < line["mean"] < line["high"]
    assert line["accuracy"] == 0.75
    assert line["seconds_per_clip"] == 0.1
    assert line["peak_memory_mb"] == 2.5
    assert (line["native_resolution"], line["polarity"]) == ("8x9", "positive")
    assert not line["control"] and not line["trained"]


def test_ranks_follow_the_direction_of_the_metric(comparison: pd.DataFrame) -> None:
    for metric, area in (FF, AD):
        lines = cell(comparison, metric, area)
        assert set(lines["rank"][["good", "twin"]]) == {1, 2}
        assert lines.loc["poor", "rank"] == 3
    assert cell(comparison, *AD)["mean"]["good"] < cell(comparison, *AD)["mean"]["poor"]


def test_ties_are_symmetric_and_only_where_no_difference_is_shown(comparison: pd.DataFrame) -> None:
    tied = cell(comparison, *FF)["tied_with"]
    assert tied.to_dict() == {"good": "twin", "twin": "good", "poor": "", "random": "uniform", "uniform": "random"}


def test_better_than_random_is_missing_for_random_itself(comparison: pd.DataFrame) -> None:
    better = cell(comparison, *FF)["better_than_random"]
    assert [better[name] for name in ("good", "twin", "poor", "uniform")] == [True, True, True, False]
    assert better["random"] is pd.NA


def test_methods_that_a_control_beats_are_marked_but_not_for_losing_to_the_oracle(tmp_path: Path) -> None:
    methods: dict[str, Scores] = {
        "good": {FF: noise(1, 0.8)},
        "poor": {FF: noise(2, 0.2)},
        "energy": {FF: noise(3, 0.5)},
        "oracle": {FF: noise(4, 0.95)},
        "random": {FF: noise(5)},
    }
    run = write_run(tmp_path / "run", methods, controls=("energy", "oracle", "random"))
    comparison = leaderboard.compare([run])
    lines = cell(comparison, *FF)
    assert lines.loc["poor", "beaten_by"] == "energy"
    assert lines.loc["good", "beaten_by"] == ""
    table = leaderboard.board(comparison, "synth", "cnn-micro")
    assert [row.name for row in table.rows if not row.control] == ["good", "poor" + tables.DOUBLE_DAGGER]
    assert any(note.startswith(tables.DOUBLE_DAGGER) for note in table.notes)


def test_a_method_scored_on_fewer_clips_is_marked(tmp_path: Path) -> None:
    methods: dict[str, Scores] = {"whole": {FF: noise(1, 0.8)}, "stopped": {FF: noise(2, 0.9, clips=CLIPS // 2)}}
    table = leaderboard.board(leaderboard.compare([write_run(tmp_path / "run", methods)]), "synth", "cnn-micro")
    assert [row.name for row in table.rows] == ["stopped" + tables.PARTIAL, "whole"]
    assert f"{CLIPS} clips" in table.caption
    assert any(note.startswith(tables.PARTIAL) for note in table.notes)


def test_undefined_clips_are_counted_and_left_out(comparison: pd.DataFrame) -> None:
    poor = cell(comparison, *FF).loc["poor"]
    assert (poor["n"], poor["undefined"]) == (CLIPS - 3, 3)
    assert poor["mean"] == pytest.approx(np.delete(noise(5, 0.3), [1, 2, 3]).mean())
    uniform = cell(comparison, *SPS).loc["uniform"]
    assert (uniform["n"], uniform["undefined"], uniform["tied_with"]) == (0, CLIPS, "")
    assert np.isnan(uniform["mean"]) and np.isnan(uniform["low"])
    assert uniform["rank"] is pd.NA and uniform["better_than_random"] is pd.NA
    assert "uniform" not in ";".join(cell(comparison, *SPS)["tied_with"])


def test_pairs_are_compared_where_both_are_defined(tmp_path: Path) -> None:
    # Better on every shared clip, yet its mean is lower, because the easy clips are its own.
    hard = np.r_[np.full(20, np.nan), noise(1, 0.3, 20)]
    other = np.r_[np.full(20, 0.9), noise(1, 0.1, 20)]
    lines = cell(leaderboard.compare([write_run(tmp_path / "run", {"a": {FF: hard}, "random": {FF: other}})]), *FF)
    assert lines["mean"]["a"] < lines["mean"]["random"]
    assert lines.loc["a", "better_than_random"]


def test_a_metric_of_flipped_sign_and_direction_gives_the_same_verdicts(tmp_path: Path) -> None:
    values = {name: noise(i, 0.02 * i) for i, name in enumerate(["a", "b", "c", "random", "uniform"])}
    methods: dict[str, Scores] = {
        name: {("insertion_auc", None): v, ("deletion_auc", None): -v} for name, v in values.items()
    }
    found = leaderboard.compare([write_run(tmp_path / "run", methods)])
    up, down = cell(found, "insertion_auc"), cell(found, "deletion_auc")
    verdicts = ["rank", "tied_with", "better_than_random"]
    pd.testing.assert_frame_equal(up[verdicts], down[verdicts])
    np.testing.assert_allclose(up["low"], -down["high"])


def test_noise_seldom_beats_random(tmp_path: Path) -> None:
    for seed in range(5):
        names = [f"m{i}" for i in range(10)] + ["random"]
        methods: dict[str, Scores] = {name: {FF: noise(100 * seed + i)} for i, name in enumerate(names)}
        better = cell(leaderboard.compare([write_run(tmp_path / str(seed), methods)]), *FF)["better_than_random"]
        assert better.fillna(False).sum() <= 1


def test_the_order_of_clips_and_methods_changes_nothing(tmp_path: Path) -> None:
    methods: dict[str, Scores] = {name: {FF: noise(i, 0.1 * i)} for i, name in enumerate("abc")}
    write_run(tmp_path / "one", methods)
    reordered = results.read_rows(tmp_path / "one").sample(frac=1, random_state=0)
    run = RunFolder(tmp_path / "two", results.read_manifest(tmp_path / "one"))
    for method, rows in reordered.groupby("method", sort=False):
        info = results.read_info(tmp_path / "one" / "cnn-micro" / str(method) / "part-000.parquet")
        run.write("cnn-micro", str(method), 0, rows, info)
    one, two = leaderboard.compare([tmp_path / "one"]), leaderboard.compare([tmp_path / "two"])
    pd.testing.assert_frame_equal(one, two)


def test_methods_of_several_runs_and_folds_are_compared_together(tmp_path: Path) -> None:
    first = write_run(tmp_path / "one", {"a": {FF: noise(1, 0.5)}, "random": {FF: noise(2)}})
    second = write_run(tmp_path / "two", {"b": {FF: noise(3, 0.9)}}, info={"trained": True})
    third = write_run(tmp_path / "three", {"b": {FF: noise(4, 0.9, 8)}}, first_clip=CLIPS)
    lines = cell(leaderboard.compare([first, second, third]), *FF)
    assert lines["rank"].to_dict() == {"b": 1, "a": 2, "random": 3}
    assert lines["n"].to_dict() == {"b": CLIPS + 8, "a": CLIPS, "random": CLIPS}
    assert lines.loc["b", "better_than_random"]
    assert lines.loc["b", "seconds_per_clip"] == pytest.approx(8 / (CLIPS + 8))


def test_trained_and_baseline_are_read_from_the_parts(tmp_path: Path) -> None:
    scores: dict[str, Scores] = {"random": {FF: noise(1)}, "a": {FF: noise(2, 0.9)}}
    lines = cell(leaderboard.compare([write_run(tmp_path / "run", scores, controls=(), info={"trained": True})]), *FF)
    assert lines["trained"].all()
    assert lines["better_than_random"].isna().all()  # this "random" is no control


def test_one_recording_gives_no_interval_and_no_verdict(tmp_path: Path) -> None:
    methods: dict[str, Scores] = {"a": {FF: np.array([0.9])}, "random": {FF: np.array([0.1])}}
    lines = cell(leaderboard.compare([write_run(tmp_path / "run", methods)]), *FF)
    assert lines["low"].isna().all()
    assert lines.loc["a", "tied_with"] == "random"
    assert not lines.loc["a", "better_than_random"]


def test_contradicting_runs_are_refused(tmp_path: Path) -> None:
    first = write_run(tmp_path / "one", {"a": {FF: noise(1)}})
    again = write_run(tmp_path / "two", {"a": {FF: noise(2)}})
    with pytest.raises(ResultsError, match=r"scored more than once for 'a' .*compare one of these runs"):
        leaderboard.compare([first, again])
    protocol = write_run(tmp_path / "three", {"b": {FF: noise(2)}}, protocol="legacy")
    with pytest.raises(ResultsError, match=r"different protocols \(legacy, standard\)"):
        leaderboard.compare([first, protocol])
    weights = write_run(tmp_path / "four", {"b": {FF: noise(2)}}, sha256="others")
    with pytest.raises(ResultsError, match="other weights"):
        leaderboard.compare([first, weights])
    with pytest.raises(ResultsError, match="no run to compare"):
        leaderboard.compare([])


def test_a_metric_that_is_not_installed_is_named(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {"a": {("their_metric", None): noise(1)}})
    with pytest.raises(ResultsError, match=r"'their_metric'.*install the package"):
        leaderboard.compare([run])


def test_boards_are_sorted_by_faithfulness_and_controls_stand_below(comparison: pd.DataFrame) -> None:
    board = leaderboard.board(comparison, "synth", "cnn-micro")
    means = cell(comparison, *FF)["mean"]
    assert [row.name for row in board.rows if not row.control] == sorted(
        ["good", "twin", "poor"], key=lambda m: -means[m]
    )
    assert [row.control for row in board.rows] == [False] * 3 + [True] * 2
    assert board.columns == ("FF ↑", "AD ↓", "SPS ↑", "s/clip ↓")
    assert "40 clips, accuracy 0.750" in board.caption


def test_boards_without_faithfulness_are_sorted_by_mean_rank(tmp_path: Path) -> None:
    methods: dict[str, Scores] = {"bad": {AD: noise(1, 90)}, "fine": {AD: noise(1, 10)}}
    comparison = leaderboard.compare([write_run(tmp_path / "run", methods)])
    assert leaderboard.method_order(comparison) == ["fine", "bad"]


def test_cells_are_rounded_to_their_uncertainty_and_marked(comparison: pd.DataFrame) -> None:
    board = leaderboard.board(comparison, "synth", "cnn-micro")
    cells = {row.name: dict(zip(board.columns, row.cells, strict=True)) for row in board.rows}
    assert re.fullmatch(r"0\.\d{3}", cells["good"]["FF ↑"].text)
    assert re.fullmatch(r" ±0\.0\d\d\W*", cells["good"]["FF ↑"].tail)
    assert cells["good"]["FF ↑"].best and cells["twin"]["FF ↑"].best and not cells["poor"]["FF ↑"].best
    assert "(3)" in cells["poor"]["FF ↑"].tail and "†" not in cells["poor"]["FF ↑"].tail
    assert "†" in cells["uniform"]["FF ↑"].tail and "†" not in cells["random"]["FF ↑"].tail
    assert cells["uniform"]["SPS ↑"].text == tables.MISSING and "(40)" in cells["uniform"]["SPS ↑"].tail
    assert cells["good"]["s/clip ↓"].text == "0.1"
    notes = " ".join(board.notes)
    assert "†: not significantly better than random" in notes and "(n)" in notes and "top 10%" in notes


@pytest.mark.parametrize(
    ("half", "largest", "decimals"),
    [(0.031, 0.4, 3), (0.31, 4, 2), (3.4, 80, 1), (12, 80, 0), (0.0042, 1, 3), (0.0003, 1, 4), (float("nan"), 1, 3)],
)
def test_decimals(half: float, largest: float, decimals: int) -> None:
    assert leaderboard._decimals(half, largest) == decimals


def test_written_tables(comparison: pd.DataFrame, tmp_path: Path) -> None:
    paths = leaderboard.write_tables(comparison, tmp_path / "new" / "folder")
    assert [path.name for path in paths] == [f"leaderboard-synth.{suffix}" for suffix in ("csv", "md", "tex")]
    wide = pd.read_csv(paths[0]).set_index("method")
    line = cell(comparison, *FF).loc["good"]
    for key, value in {"": line["mean"], "_low": line["low"], "_high": line["high"]}.items():
        assert wide.loc["good", f"faithfulness{key}"] == pytest.approx(value, rel=1e-15)  # not rounded
    assert wide.loc["poor", "faithfulness_undefined"] == 3
    markdown = paths[1].read_text()
    assert "| *random* |" in markdown and "**0." in markdown
    widths = {line.count("|") for line in markdown.splitlines() if line.startswith("|")}
    assert widths == {6}


def test_the_comparison_survives_a_csv(comparison: pd.DataFrame) -> None:
    text = cell(comparison, *FF).to_csv()
    better = {row["method"]: row["better_than_random"] for row in csv.DictReader(io.StringIO(text))}
    assert better["good"] == "True" and better["random"] == ""


def test_latex_is_balanced_and_escaped() -> None:
    rows = (
        Row("a_b & 50%", False, (Cell("1", " ±2†", best=True),)),
        Row("[x]", True, (Cell("2", "\N{FIGURE SPACE}"),)),
    )
    text = tables.latex(Table("x_y {#1}", ("FF ↑",), rows, ("†: ~worse^2\\",)))
    assert r"a\_b \& 50\% & \textbf{1} $\pm$2$^{\dagger}$ \\" in text
    assert r"\textit{{[}x{]}} & 2\phantom{$^{\dagger}$} \\" in text
    assert r"\caption{x\_y \{\#1\}}" in text
    assert r"$^{\dagger}$: \textasciitilde{}worse\textasciicircum{}2\textbackslash{}" in text
    assert text.isascii()
    plain = re.sub(r"\\[{}]", "", text)
    assert plain.count("{") == plain.count("}") and plain.count("$") % 2 == 0
    assert re.findall(r"\\(toprule|midrule|bottomrule)", text) == ["toprule", "midrule", "midrule", "bottomrule"]
    assert all(line.count(" & ") == 1 for line in text.replace(r"\&", "").splitlines() if line.endswith(r"\\"))


def test_wide_tables_are_split_into_even_pieces_that_fit() -> None:
    columns = tuple(f"c{i}" for i in range(14))
    cells = tuple(Cell(f"{i:07d}", " ±0.1234") for i in range(14))
    table = Table("t", columns, (Row("m" * 14, False, cells),), ("note",))
    pieces = table.split()
    assert [len(piece.columns) for piece in pieces] == [4, 4, 3, 3]  # five are 15 + 5 x 18 + 1 = 106 wide
    assert max(piece.width() for piece in pieces) <= tables.MOST_WIDTH
    assert [cell.text for piece in pieces for cell in piece.rows[0].cells] == [cell.text for cell in cells]
    assert [piece.notes for piece in pieces] == [(), (), (), ("note",)]
    assert [piece.caption for piece in pieces] == [f"t ({i} of 4)" for i in (1, 2, 3, 4)]


def test_terminal_tables_fit_100_columns_with_every_metric(tmp_path: Path) -> None:
    names = ["integrated-gradients", "guided-backprop", "random"]
    keys = [(name, 0.1 if registry.load("metrics", name).per_area else None) for name in registry.names("metrics")]
    methods: dict[str, Scores] = {
        name: {key: noise(10 * i + j, 40.0 if "average" in key[0] else 0.5) for j, key in enumerate(keys)}
        for i, name in enumerate(names)
    }
    comparison = leaderboard.compare([write_run(tmp_path / "run", methods)])
    console = Console(width=100, file=io.StringIO(), record=True)
    for table in leaderboard.terminal_tables(comparison, "synth"):
        console.print(table)
    text = console.export_text()
    assert "…" not in text and text.count("integrated-gradients") == len(
        leaderboard.terminal_tables(comparison, "synth")
    )
    for name in registry.names("metrics"):
        assert leaderboard.metric_heading(name) in text
    with pytest.raises(ResultsError, match="no results on dataset 'esc51'; there are results on synth"):
        leaderboard.terminal_tables(comparison, "esc51")


def test_importing_it_costs_no_torch() -> None:
    code = "import sys, xaibench.leaderboard; sys.exit('torch' in sys.modules or 'rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""Tables, figure and leaderboard name the metrics that fail."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text
from rich.console import Console

from tests.support.made_up_maps import CLIPS, RIGHT, assessed, rows_of
from tests.support.made_up_runs import FF, noise, write_run
from xaibench.errors import ResultsError
from xaibench.reports import leaderboard, tables
from xaibench.results.comparison import at_primary_area, compare
from xaibench.validation import assess, report
from xaibench.validation import figure as figure_module
from xaibench.validation.reference_maps import REFERENCE_MAPS


@pytest.fixture(scope="module")
def assessment() -> pd.DataFrame:
    noisy = dict.fromkeys(RIGHT, 5.0)
    scores = {FF: RIGHT, ("average_gain", 0.1): noisy, ("relevance_rank", np.nan): RIGHT, ("sparseness", np.nan): RIGHT}
    better = scores | {("average_gain", 0.1): RIGHT}
    return assessed(pd.concat([rows_of(scores), rows_of(better, classifier="vit-micro", seed=1)], ignore_index=True))


def test_tables_and_summary_name_the_failures(assessment: pd.DataFrame, tmp_path: Path) -> None:
    assert [line.partition(":")[0] for line in report.summary(assessment)] == [
        assess.DISCRIMINATES,
        assess.FAILS,
        assess.NOT_WHERE,
    ]
    assert report.summary(assessment)[1].startswith("fails: AG ↑ (cnn-micro: oracle > random not shown")
    table = report.table(assessment, "cnn-micro")
    verdicts = {row.name: row.cells[-1].text for row in table.rows}
    assert verdicts == {"FF ↑": "discriminates", "AG ↑": "fails§", "Rank ↑": "discriminates", "SPS ↑": ""}
    assert [row.name for row in table.rows if row.control] == ["SPS ↑"]
    assert any(note.startswith("§ AG ↑: oracle > random not shown") for note in table.notes)
    paths = report.write(assessment, tmp_path / "new")
    assert [path.name for path in paths] == [f"validation-synth.{suffix}" for suffix in ("csv", "md", "png", "pdf")]
    pd.testing.assert_frame_equal(pd.read_csv(paths[0], keep_default_na=True)[["metric"]], assessment[["metric"]])
    text = paths[1].read_text()
    assert "| Metric | oracle |" in text and "| *Not judged* |" in text and f"{CLIPS} recordings" in text
    again = report.write(assessment, tmp_path / "again")
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(paths, again, strict=True))


def test_the_figure_marks_what_fails_where_it_fails(assessment: pd.DataFrame) -> None:
    figure = figure_module.validation(at_primary_area(assessment))
    figure.canvas.draw()
    texts = [text.get_text() for text in figure.findobj(Text) if isinstance(text, Text)]
    assert {"FF ↑", "AG ↑§", "SPS ↑", "cnn-micro", "vit-micro", *REFERENCE_MAPS} <= set(texts)
    marks = [[text.get_text() for text in axis.texts] for axis in figure.axes]
    assert marks[0] == [tables.UNPROVEN] and not any(marks[1:])
    # The oracle is drawn at the best end of a metric that sees the order, at its own height.
    black = [line for line in figure.axes[0].lines if line.get_marker() == "D"]
    assert float(np.ravel(black[0].get_xdata())[0]) == pytest.approx(1)


def test_the_leaderboard_marks_metrics_that_fail(assessment: pd.DataFrame, tmp_path: Path) -> None:
    assert leaderboard.unproven_metrics(tmp_path) == frozenset()
    report.write(assessment, tmp_path)
    unproven = leaderboard.unproven_metrics(tmp_path)
    assert unproven == {"average_gain"}
    methods = {name: {FF: noise(i), ("average_gain", 0.1): noise(i, 0.5)} for i, name in enumerate(("a", "random"))}
    comparison = compare([write_run(tmp_path / "run", methods)])
    plain = leaderboard.board(comparison, "synth", "cnn-micro")
    marked = leaderboard.board(comparison, "synth", "cnn-micro", unproven)
    assert [b for a, b in zip(plain.columns, marked.columns, strict=True) if a != b] == ["AG ↑§"]
    assert plain.rows == marked.rows and marked.notes[:-1] == plain.notes
    assert marked.notes[-1].startswith("§: ") and "xaibench validate" in marked.notes[-1]
    leaderboard.write_tables(comparison, tmp_path, unproven)
    assert "| AG ↑§ |" in (tmp_path / "leaderboard-synth.md").read_text()
    latex = (tmp_path / "leaderboard-synth.tex").read_text()
    assert r"AG $\uparrow$$^{\S}$" in latex and "§" not in latex
    console = Console(width=120, record=True, file=(tmp_path / "out").open("w"))
    for table in leaderboard.terminal_tables(comparison, "synth", unproven):
        console.print(table)
    assert "AG ↑§" in console.export_text()
    # A metric that was not scored here leaves no note.
    only = comparison[comparison["metric"] == FF[0]]
    assert leaderboard.board(only, "synth", "cnn-micro", unproven) == leaderboard.board(only, "synth", "cnn-micro")


def test_a_damaged_validation_is_named(tmp_path: Path) -> None:
    (tmp_path / "validation-synth.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ResultsError, match=r"validation-synth.csv is damaged .*xaibench validate"):
        leaderboard.unproven_metrics(tmp_path)
    (tmp_path / "validation-synth.csv").write_text("")
    with pytest.raises(ResultsError, match="damaged"):
        leaderboard.unproven_metrics(tmp_path)

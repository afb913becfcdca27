"""Metrics whose behaviour is known are judged as they deserve, and a leaderboard marks those that fail."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.text import Text
from rich.console import Console
from typer.testing import CliRunner

from tests.support.made_up_runs import FF, noise, write_run
from xaibench.errors import ResultsError
from xaibench.reports import leaderboard, tables
from xaibench.results import store as results
from xaibench.results.comparison import at_primary_area, compare
from xaibench.results.parts import SCHEMA
from xaibench.testing import check_explainer, toy_batch, toy_classifier
from xaibench.validation import assess as validation
from xaibench.validation import figure as validation_plot

CLIPS = 24
# Means of a metric that sees the known order.
RIGHT = {"oracle": 1.0, "half": 0.7, "shifted": 0.6, "energy": 0.5, "uniform": 0.1, "random": 0.1, "inverted": 0.0}


def rows_of(
    scores: dict[tuple[str, float], dict[str, float | np.ndarray]],
    *,
    deviation: float = 0.05,
    classifier: str = "cnn-micro",
    clips: int = CLIPS,
    seed: int = 0,
) -> pd.DataFrame:
    """Per-clip rows: (metric, area) -> map -> mean, or the values themselves."""
    generator = np.random.default_rng(seed)
    records = []
    for (metric, area), means in scores.items():
        for method, mean in means.items():
            values = mean + deviation * generator.normal(size=clips) if np.isscalar(mean) else np.asarray(mean)
            for i, value in enumerate(values):
                about = ["synth", 5, f"clip{i:02d}", f"clip{i:02d}", "a", "a", True, classifier, method, "standard-1"]
                records.append([*about, metric, area, value, None])
    return pd.DataFrame(records, columns=SCHEMA.names)


def line_of(rows: pd.DataFrame, metric: str, methods: pd.DataFrame | None = None) -> pd.Series:
    lines = validation.assess(rows, methods)
    (index,) = lines.index[lines["metric"] == metric]
    return lines.loc[index]


@pytest.mark.parametrize("name", validation.YARDSTICKS)
def test_a_yardstick_keeps_the_contract(name: str) -> None:
    check_explainer(validation.YARDSTICKS[name])


def maps() -> dict[str, torch.Tensor]:
    batch = toy_batch()
    classifier, target = toy_classifier(), torch.zeros(len(batch), dtype=torch.long)
    return {name: one.explain(classifier, batch, target).map for name, one in validation.yardsticks().items()}


def test_yardsticks_are_what_they_are_called() -> None:
    batch, found = toy_batch(), maps()
    known = batch.ground_truth
    assert known is not None
    for name, one in found.items():
        assert (one >= 0).all()
        torch.testing.assert_close(one.sum(dim=(1, 2)), torch.ones(len(batch)), rtol=1e-4, atol=0), name
    loud = known & (batch.x > 0)
    assert torch.equal(found["oracle"] > 0, loud)
    assert not (found["inverted"] * known).any() and (found["inverted"] > 0).float().mean() > 0.5
    kept = (found["half"] > 0).sum() / loud.sum()
    assert kept == pytest.approx(0.5, abs=0.05) and not ((found["half"] > 0) & ~loud).any()
    steps = round(validation.SHIFT * batch.picture_shape[1])
    assert steps > 0
    torch.testing.assert_close(found["shifted"], found["oracle"].roll(steps, dims=2), rtol=1e-4, atol=0)
    torch.testing.assert_close(found["energy"] * batch.x.sum(dim=(1, 2), keepdim=True), batch.x, rtol=1e-4, atol=0)
    assert len(found["uniform"].unique()) == 1
    assert len(found["random"][0].unique()) > 0.9 * found["random"][0].numel()


def test_a_metric_that_sees_the_order_discriminates_in_either_direction() -> None:
    right = line_of(rows_of({FF: RIGHT}), FF[0])
    assert (right["verdict"], right["because"], right["graded"]) == (validation.DISCRIMINATES, "", "half;shifted")
    assert right["oracle_over_random"] == pytest.approx(0.9, abs=0.05)
    assert right["oracle_over_random_low"] < right["oracle_over_random"] < right["oracle_over_random_high"]
    assert right["oracle_over_random_p"] < 0.01
    assert right["spread"] == pytest.approx(0.05, abs=0.015)
    assert right["effect"] == pytest.approx(0.9 / (0.05 * math.sqrt(2)), rel=0.4)
    rows = rows_of({FF: RIGHT}).assign(metric="deletion_auc", area=np.nan)
    down = line_of(rows.assign(value=-rows["value"]), "deletion_auc")
    assert (down["verdict"], down["graded"]) == (right["verdict"], right["graded"])
    assert down["oracle"] == pytest.approx(-right["oracle"]) and down["oracle_low"] <= down["oracle"]
    assert down["oracle_over_random"] == pytest.approx(right["oracle_over_random"])


def test_a_metric_of_noise_fails_and_says_what_is_not_shown() -> None:
    line = line_of(rows_of({FF: dict.fromkeys(RIGHT, 0.5)}), FF[0])
    assert line["verdict"] == validation.FAILS and line["graded"] == ""
    assert line["because"] == "oracle > random not shown; oracle > inverted not shown"
    assert abs(line["effect"]) < 1


def test_a_metric_that_rewards_the_wrong_map_fails_by_name() -> None:
    turned = line_of(rows_of({FF: {name: -mean for name, mean in RIGHT.items()}}), FF[0])
    assert turned["verdict"] == validation.FAILS and "random > oracle" in turned["because"]
    assert turned["effect"] < 0
    # The ends are in order, but it finds less evidence better than all of it.
    odd = line_of(rows_of({FF: RIGHT | {"half": 1.5}}), FF[0])
    assert (odd["verdict"], odd["because"], odd["graded"]) == (validation.FAILS, "half > oracle", "shifted")


def test_a_metric_blind_to_missing_evidence_is_not_graded_but_discriminates() -> None:
    ones = np.ones(CLIPS)
    line = line_of(rows_of({("relevance_mass", np.nan): RIGHT | {"oracle": ones, "half": ones}}), "relevance_mass")
    assert (line["verdict"], line["graded"]) == (validation.DISCRIMINATES, "shifted")
    assert line["oracle_over_half_p"] == 1


def test_families_that_do_not_ask_where_are_described_not_judged() -> None:
    line = line_of(rows_of({("sparseness", np.nan): dict.fromkeys(RIGHT, 0.5)}), "sparseness")
    assert (line["verdict"], line["because"]) == (validation.NOT_WHERE, "")
    assert line["oracle"] == pytest.approx(0.5, abs=0.05) and np.isfinite(line["spread"])


def test_too_few_recordings_decide_nothing() -> None:
    assert (
        2 * len(validation.ORDER) / 2**validation.FEWEST
        <= 0.05
        < 2 * len(validation.ORDER) / 2 ** (validation.FEWEST - 1)
    )
    few, enough = (line_of(rows_of({FF: RIGHT}, clips=validation.FEWEST - 1 + i), FF[0]) for i in (0, 1))
    assert few["verdict"] == validation.UNDECIDED and str(validation.FEWEST) in few["because"]
    assert enough["verdict"] == validation.DISCRIMINATES
    # Undefined values leave as few.
    gaps = np.r_[np.ones(4), np.full(CLIPS - 4, np.nan)]
    holes = line_of(rows_of({FF: RIGHT | {"random": gaps}}), FF[0])
    assert (holes["verdict"], holes["recordings"], holes["undefined"]) == (validation.UNDECIDED, 4, CLIPS - 4)


def test_what_was_stopped_half_way_is_left_out() -> None:
    rows = rows_of({FF: RIGHT, ("deletion_auc", np.nan): RIGHT})
    stopped = rows[(rows["metric"] == FF[0]) | (rows["method"] != "inverted")]
    assert set(validation.assess(stopped)["metric"]) == {FF[0]}
    with pytest.raises(ResultsError, match="xaibench validate"):
        validation.assess(stopped[stopped["metric"] != FF[0]])


def test_agreement_is_the_rank_correlation_with_what_knows_the_evidence() -> None:
    rank = ("relevance_rank", np.nan)
    scores = {FF: RIGHT, rank: RIGHT, ("deletion_auc", np.nan): RIGHT}  # deletion: lower is better, so turned
    rows = rows_of(scores, deviation=1e-9)
    assert line_of(rows, FF[0])["agreement"] == pytest.approx(1, abs=0.05)
    assert line_of(rows, "deletion_auc")["agreement"] == pytest.approx(-1, abs=0.05)
    assert np.isnan(line_of(rows, rank[0])["agreement"])  # there is no other that knows
    assert line_of(rows, FF[0])["maps"] == len(RIGHT)


def test_methods_of_other_runs_join_the_agreement_if_they_have_all_clips() -> None:
    rank = ("relevance_rank", np.nan)
    rows = rows_of({FF: RIGHT, rank: RIGHT}, deviation=1e-9)
    turned = {f"m{i}": i / 10 for i in range(30)}
    methods = rows_of({FF: turned, rank: {name: -mean for name, mean in turned.items()}}, deviation=1e-9)
    alone, together = line_of(rows, FF[0]), line_of(rows, FF[0], methods)
    assert together["maps"] == alone["maps"] + 30
    assert together["agreement"] < 0 < alone["agreement"]
    half = methods[methods["clip"] < f"clip{CLIPS // 2:02d}"]
    assert line_of(rows, FF[0], half)["maps"] == alone["maps"]
    others = methods.assign(classifier="vit-micro")
    assert line_of(rows, FF[0], others)["agreement"] == alone["agreement"]
    columns = [name for name in alone.index if name not in ("agreement", "maps")]
    pd.testing.assert_series_equal(alone[columns], together[columns])


def test_the_order_of_rows_changes_nothing() -> None:
    rows = rows_of({FF: RIGHT, ("faithfulness", 0.2): RIGHT, ("sparseness", np.nan): RIGHT})
    shuffled = rows.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(validation.assess(rows), validation.assess(shuffled))


def test_real_methods_are_of_the_same_weights_and_no_controls(tmp_path: Path) -> None:
    scores = {"good": {FF: noise(1)}, "random": {FF: noise(2)}}
    write_run(tmp_path / "runs" / "a", scores, protocol="standard-1", sha256="mine")
    write_run(tmp_path / "runs" / "b", {"other": {FF: noise(1)}}, protocol="standard-1", sha256="theirs")
    write_run(tmp_path / "runs" / "c", {"far": {FF: noise(1)}}, dataset="esc10", protocol="standard-1", sha256="mine")
    write_run(tmp_path / "runs" / "d", {"old": {FF: noise(1)}}, protocol="legacy", sha256="mine")
    found = validation.real_methods(tmp_path, {"cnn-micro": "mine"})
    assert set(found["method"]) == {"good"}
    assert validation.real_methods(tmp_path / "nowhere", {}).empty
    assert validation.assess(rows_of({FF: RIGHT}), validation.real_methods(tmp_path / "nowhere", {})) is not None


@pytest.fixture(scope="module")
def assessment() -> pd.DataFrame:
    noisy = dict.fromkeys(RIGHT, 5.0)
    scores = {FF: RIGHT, ("average_gain", 0.1): noisy, ("relevance_rank", np.nan): RIGHT, ("sparseness", np.nan): RIGHT}
    better = scores | {("average_gain", 0.1): RIGHT}
    return validation.assess(
        pd.concat([rows_of(scores), rows_of(better, classifier="vit-micro", seed=1)], ignore_index=True)
    )


def test_tables_and_summary_name_the_failures(assessment: pd.DataFrame, tmp_path: Path) -> None:
    assert [line.partition(":")[0] for line in validation.summary(assessment)] == [
        validation.DISCRIMINATES,
        validation.FAILS,
        validation.NOT_WHERE,
    ]
    assert validation.summary(assessment)[1].startswith("fails: AG ↑ (cnn-micro: oracle > random not shown")
    table = validation.table(assessment, "cnn-micro")
    verdicts = {row.name: row.cells[-1].text for row in table.rows}
    assert verdicts == {"FF ↑": "discriminates", "AG ↑": "fails§", "Rank ↑": "discriminates", "SPS ↑": ""}
    assert [row.name for row in table.rows if row.control] == ["SPS ↑"]
    assert any(note.startswith("§ AG ↑: oracle > random not shown") for note in table.notes)
    paths = validation.write(assessment, tmp_path / "new")
    assert [path.name for path in paths] == [f"validation-synth.{suffix}" for suffix in ("csv", "md", "png", "pdf")]
    pd.testing.assert_frame_equal(pd.read_csv(paths[0], keep_default_na=True)[["metric"]], assessment[["metric"]])
    text = paths[1].read_text()
    assert "| Metric | oracle |" in text and "| *Not judged* |" in text and f"{CLIPS} recordings" in text
    again = validation.write(assessment, tmp_path / "again")
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(paths, again, strict=True))


def test_the_figure_marks_what_fails_where_it_fails(assessment: pd.DataFrame) -> None:
    figure = validation_plot.validation(at_primary_area(assessment))
    figure.canvas.draw()
    texts = [text.get_text() for text in figure.findobj(Text) if isinstance(text, Text)]
    assert {"FF ↑", "AG ↑§", "SPS ↑", "cnn-micro", "vit-micro", *validation.YARDSTICKS} <= set(texts)
    marks = [[text.get_text() for text in axis.texts] for axis in figure.axes]
    assert marks[0] == [tables.UNPROVEN] and not any(marks[1:])
    # The oracle is drawn at the best end of a metric that sees the order, at its own height.
    black = [line for line in figure.axes[0].lines if line.get_marker() == "D"]
    assert float(np.ravel(black[0].get_xdata())[0]) == pytest.approx(1)


def test_the_leaderboard_marks_metrics_that_fail(assessment: pd.DataFrame, tmp_path: Path) -> None:
    assert leaderboard.unproven_metrics(tmp_path) == frozenset()
    validation.write(assessment, tmp_path)
    unproven = leaderboard.unproven_metrics(tmp_path)
    assert unproven == {"average_gain"}
    methods = {name: {FF: noise(i), ("average_gain", 0.1): noise(i)} for i, name in enumerate(("a", "random"))}
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


def test_validate_scores_draws_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from xaibench.cli import app

    monkeypatch.chdir(tmp_path)
    command = ["validate", "-c", "cnn-micro", "--metric", "fidelity_in", "--limit", "2", "--device", "cpu"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "wrote results/validation-synth.csv" in done.output
    lines = pd.read_csv("results/validation-synth.csv")
    assert {"fidelity_in", "relevance_rank", "localisation_auc"} <= set(lines["metric"])
    assert set(lines["verdict"]) == {validation.UNDECIDED}  # two clips decide nothing
    assert (lines.loc[lines["metric"] == "relevance_rank", "oracle"] == 1).all()
    parts = sorted(Path("results").rglob("part-*.parquet"))
    assert {part.parent.name for part in parts} == set(validation.YARDSTICKS)
    stamps = [part.stat().st_mtime_ns for part in parts]
    assert CliRunner().invoke(app, command).exit_code == 0
    assert [part.stat().st_mtime_ns for part in parts] == stamps
    with pytest.raises(ResultsError, match="holds no results"):
        results.find_runs(Path("results"))  # yardsticks of metrics are no results of methods
    assert len(results.find_runs(parts[0].parent.parent.parent)) == 1

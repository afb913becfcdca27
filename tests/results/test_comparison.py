"""Comparisons of synthetic rows whose answer is known."""

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.support.made_up_runs import AD, CLIPS, FF, SPS, Scores, cell, five_methods, noise, write_run
from xaibench.errors import ResultsError
from xaibench.results import parts, store
from xaibench.results.comparison import COLUMNS, by_clip, compare, summarise
from xaibench.results.parts import MetricFacts
from xaibench.results.store import RunFolder


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return five_methods(tmp_path_factory.mktemp("five") / "run")


def test_one_line_per_cell_with_the_declared_columns(comparison: pd.DataFrame) -> None:
    assert tuple(comparison.columns) == COLUMNS
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
    lines = cell(compare([write_run(tmp_path / "run", {"a": {FF: hard}, "random": {FF: other}})]), *FF)
    assert lines["mean"]["a"] < lines["mean"]["random"]
    assert lines.loc["a", "better_than_random"]


def test_a_metric_of_flipped_sign_and_direction_gives_the_same_verdicts(tmp_path: Path) -> None:
    values = {name: noise(i, 0.4 + 0.02 * i) for i, name in enumerate(["a", "b", "c", "random", "uniform"])}
    methods: dict[str, Scores] = {
        name: {("insertion_auc", None): v, ("deletion_auc", None): 1 - v} for name, v in values.items()
    }
    found = compare([write_run(tmp_path / "run", methods)])
    up, down = cell(found, "insertion_auc"), cell(found, "deletion_auc")
    verdicts = ["rank", "tied_with", "better_than_random"]
    pd.testing.assert_frame_equal(up[verdicts], down[verdicts])
    np.testing.assert_allclose(up["low"], 1 - down["high"])


def test_noise_seldom_beats_random(tmp_path: Path) -> None:
    for seed in range(5):
        names = [f"m{i}" for i in range(10)] + ["random"]
        methods: dict[str, Scores] = {name: {FF: noise(100 * seed + i)} for i, name in enumerate(names)}
        better = cell(compare([write_run(tmp_path / str(seed), methods)]), *FF)["better_than_random"]
        assert better.fillna(False).sum() <= 1


def test_the_order_of_clips_and_methods_changes_nothing(tmp_path: Path) -> None:
    methods: dict[str, Scores] = {name: {FF: noise(i, 0.1 * i)} for i, name in enumerate("abc")}
    write_run(tmp_path / "one", methods)
    reordered = store.read_rows(tmp_path / "one").sample(frac=1, random_state=0)
    run = RunFolder(tmp_path / "two", store.read_manifest(tmp_path / "one"))
    for method, rows in reordered.groupby("method", sort=False):
        info = parts.read_info(tmp_path / "one" / "cnn-micro" / str(method) / "part-000.parquet")
        run.write("cnn-micro", str(method), 0, rows, info)
    one, two = compare([tmp_path / "one"]), compare([tmp_path / "two"])
    pd.testing.assert_frame_equal(one, two)


def test_methods_of_several_runs_and_folds_are_compared_together(tmp_path: Path) -> None:
    first = write_run(tmp_path / "one", {"a": {FF: noise(1, 0.5)}, "random": {FF: noise(2)}})
    second = write_run(tmp_path / "two", {"b": {FF: noise(3, 0.9)}})
    third = write_run(tmp_path / "three", {"b": {FF: noise(4, 0.9, 8)}}, first_clip=CLIPS)
    lines = cell(compare([first, second, third]), *FF)
    assert set(lines["group"]) == {"synth"}
    assert lines["rank"].to_dict() == {"b": 1, "a": 2, "random": 3}
    assert lines["n"].to_dict() == {"b": CLIPS, "a": CLIPS, "random": CLIPS}
    assert lines["clips"].to_dict() == {"b": CLIPS + 8, "a": CLIPS, "random": CLIPS}
    assert lines["missing"].to_dict() == {"b": 0, "a": 8, "random": 8}
    assert lines.loc["b", "better_than_random"]
    assert lines.loc["b", "seconds_per_clip"] == pytest.approx(8 / (CLIPS + 8))


def test_what_training_cost_is_read_from_the_parts(tmp_path: Path) -> None:
    scores: dict[str, Scores] = {"random": {FF: noise(1)}, "a": {FF: noise(2, 0.9)}, "b": {FF: noise(3, 0.9)}}
    info = {"a": {"training_seconds": 184.5, "trained_parameters": 350421}}
    lines = cell(compare([write_run(tmp_path / "run", scores, info=info)]), *FF)
    assert lines["trained"].to_dict() == {"a": True, "b": False, "random": False}
    assert (lines.loc["a", "training_seconds"], lines.loc["a", "trained_parameters"]) == (184.5, 350421)
    # Parts from before there were trained methods lack the key, as those of random do.
    assert lines.loc[["b", "random"], ["training_seconds", "trained_parameters"]].isna().all(axis=None)
    assert (lines["mask"] == "equal area").all()


def test_a_baseline_that_is_no_control_is_no_baseline(tmp_path: Path) -> None:
    scores: dict[str, Scores] = {"random": {FF: noise(1)}, "a": {FF: noise(2, 0.9)}}
    lines = cell(compare([write_run(tmp_path / "run", scores, controls=())]), *FF)
    assert lines["better_than_random"].isna().all()


def test_soft_masks_are_ranked_among_themselves_and_change_nothing_for_the_others(tmp_path: Path) -> None:
    soft_ff = ("faithfulness", None)
    equal: dict[str, Scores] = {
        "piq": {FF: noise(1, 0.5), SPS: noise(7, 0.5)},
        "lmac": {FF: noise(2, 0.3), SPS: noise(8, 0.5)},
        "random": {FF: noise(3), SPS: noise(9, 0.3)},
    }
    # Better than all masks of equal area, and worse: neither may count.
    soft: dict[str, Scores] = {"piq-soft": {soft_ff: noise(4, 0.6)}, "lmac-soft": {soft_ff: noise(5, 0.95)}}
    whole = compare([write_run(tmp_path / "whole", equal | soft)])
    lines = cell(whole, *soft_ff)
    assert set(lines.index) == {"piq", "lmac"} and (lines["mask"] == "soft").all()
    assert lines["rank"].to_dict() == {"lmac": 1, "piq": 2}
    assert (lines["tied_with"] == "").all() and (lines["beaten_by"] == "").all()
    assert lines["better_than_random"].isna().all()
    rest = whole[whole["mask"] == "equal area"].reset_index(drop=True)
    pd.testing.assert_frame_equal(rest, compare([write_run(tmp_path / "equal", equal)]))
    # A metric without any area for either would still not rank them together.
    both: dict[str, Scores] = {"piq": {SPS: noise(1, 0.5)}, "piq-soft": {SPS: noise(2, 0.9)}}
    mixed = compare([write_run(tmp_path / "mixed", both)])
    assert mixed["rank"].tolist() == [1, 1]


def test_one_recording_gives_no_interval_and_no_verdict(tmp_path: Path) -> None:
    methods: dict[str, Scores] = {"a": {FF: np.array([0.9])}, "random": {FF: np.array([0.1])}}
    lines = cell(compare([write_run(tmp_path / "run", methods)]), *FF)
    assert lines["low"].isna().all()
    assert lines.loc["a", "tied_with"] == "random"
    assert not lines.loc["a", "better_than_random"]


def test_groups_have_lines_of_their_own(tmp_path: Path) -> None:
    first = write_run(tmp_path / "one", {"a": {FF: noise(1)}})
    other = write_run(tmp_path / "two", {"b": {FF: noise(2)}}, seed=7)
    elsewhere = write_run(tmp_path / "three", {"b": {FF: noise(2)}}, dataset="esc10", seed=7)
    lines = compare([first, other, elsewhere])
    assert lines["group"].tolist() == ["esc10", "synth-seed0", "synth-seed7"]
    assert lines["rank"].tolist() == [1, 1, 1]
    assert lines[["protocol", "seed", "precision", "compiled"]].values.tolist()[2] == ["standard", 7, "float32", False]


def test_methods_are_compared_on_the_clips_that_all_have(tmp_path: Path) -> None:
    """A control that was also scored on easier clips has the better mean, and is worse on every shared clip."""
    easy = np.concatenate([noise(1, 0.2, 16), noise(2, 0.9, CLIPS - 16)])
    own = noise(1, 0.2, 16) + 0.3
    own[0] = np.nan
    methods: dict[str, Scores] = {"a": {FF: own, SPS: noise(3, 0.3, 16)}, "random": {FF: easy, SPS: easy}}
    found = compare([write_run(tmp_path / "run", methods)])
    lines = cell(found, *FF)
    assert easy.mean() > np.nanmean(own) > lines.loc["random", "mean"] == pytest.approx(easy[:16].mean())
    assert lines["rank"].to_dict() == {"a": 1, "random": 2}
    assert lines.loc["a", "better_than_random"] and lines.loc["a", "beaten_by"] == ""
    assert lines[["n", "undefined", "clips", "missing"]].to_dict("index") == {
        "a": {"n": 15, "undefined": 1, "clips": 16, "missing": CLIPS - 16},
        "random": {"n": 16, "undefined": 0, "clips": CLIPS, "missing": 0},
    }
    # Exactly what a comparison of the shared clips alone says.
    fewer = {name: {key: values[:16] for key, values in scores.items()} for name, scores in methods.items()}
    alone = compare([write_run(tmp_path / "alone", fewer)])
    same = ["metric", "method", "mean", "low", "high", "n", "undefined", "accuracy", "rank", "tied_with", "beaten_by"]
    pd.testing.assert_frame_equal(found[same], alone[same])


def test_shared_are_the_clips_not_their_number(tmp_path: Path) -> None:
    first = write_run(tmp_path / "one", {"random": {FF: noise(1)}})
    second = write_run(tmp_path / "two", {"a": {FF: noise(2, 0.9)}}, first_clip=CLIPS - 10)
    lines = cell(compare([first, second]), *FF)
    assert lines["n"].to_dict() == {"a": 10, "random": 10}
    assert lines["missing"].to_dict() == {"a": CLIPS - 10, "random": CLIPS - 10}
    assert lines.loc["random", "mean"] == pytest.approx(noise(1)[-10:].mean())


def test_without_a_shared_clip_nothing_is_ranked(tmp_path: Path) -> None:
    first = write_run(tmp_path / "one", {"random": {FF: noise(1)}})
    second = write_run(tmp_path / "two", {"a": {FF: noise(2, 0.9)}}, first_clip=CLIPS)
    lines = cell(compare([first, second]), *FF)
    assert lines["better_than_random"].isna().all() and lines["rank"].isna().all()
    assert (lines[["tied_with", "beaten_by"]] == "").all(axis=None)
    assert lines["n"].to_dict() == {"a": CLIPS, "random": CLIPS}
    with pytest.raises(ResultsError, match="no run to compare"):
        compare([])


def test_what_a_metric_is_comes_from_the_run_and_not_from_the_registry(tmp_path: Path) -> None:
    methods: dict[str, Scores] = {
        "a": {("their_loss", None): noise(1, 5.0)},
        "b": {("their_loss", None): noise(2, 9.0)},
    }
    facts = MetricFacts(
        title="TL", family="theirs", higher_is_better=False, low=0.0, high=None, needs_ground_truth=False
    )
    made = {method: {"metrics": {"their_loss": facts}} for method in methods}
    lines = compare([write_run(tmp_path / "run", methods, made=made)]).set_index("method")
    assert lines["rank"].to_dict() == {"a": 1, "b": 2}
    assert set(lines["metric_title"]) == {"TL"} and set(lines["family"]) == {"theirs"}
    assert not lines["higher_is_better"].any()
    made["b"] = {"metrics": {"their_loss": replace(facts, higher_is_better=True)}}
    with pytest.raises(ResultsError, match="the metric their_loss had another direction"):
        compare([write_run(tmp_path / "other", methods, made=made)])
    made["b"] = {"metrics": {"their_loss": replace(facts, high=6.0)}}
    with pytest.raises(ResultsError, match=r"their_loss is \S+, which is not within \[0, 6\]"):
        compare([write_run(tmp_path / "beyond", methods, made=made)])


def test_the_comparison_survives_a_csv(comparison: pd.DataFrame) -> None:
    text = cell(comparison, *FF).to_csv()
    better = {row["method"]: row["better_than_random"] for row in csv.DictReader(io.StringIO(text))}
    assert better["good"] == "True" and better["random"] == ""


def test_rows_are_arranged_by_line_and_clip_whatever_their_order() -> None:
    rows = pd.DataFrame(
        [
            ("b", "faithfulness", "clip2", "recording1", 0.2),
            ("a", "faithfulness", "clip1", "recording1", np.nan),
            ("b", "faithfulness", "clip1", "recording1", 0.1),
            ("a", "sparseness", "clip3", "recording2", 0.3),
        ],
        columns=["method", "metric", "clip", "src_file", "value"],
    )
    values, recordings = by_clip(rows, ["method", "metric"])
    assert list(values.index) == [("a", "faithfulness"), ("a", "sparseness"), ("b", "faithfulness")]
    nan = np.nan
    np.testing.assert_array_equal(values, [[nan, nan, nan], [nan, nan, 0.3], [0.1, 0.2, nan]])
    assert list(values.columns) == ["clip1", "clip2", "clip3"]
    assert list(recordings) == ["recording1", "recording1", "recording2"]
    lines = summarise(values, recordings)
    assert lines["n"].tolist() == [0, 1, 2]
    np.testing.assert_allclose(lines["mean"], [nan, 0.3, 0.15])


def test_all_verdicts_are_of_one_family_of_tests(tmp_path: Path) -> None:
    """Weak effects of many sizes: no row is both tied with random and better than it, and the ranks agree with both."""
    methods: dict[str, Scores] = {f"m{i}": {FF: noise(i, 0.01 * i)} for i in range(1, 12)} | {"random": {FF: noise(0)}}
    lines = cell(compare([write_run(tmp_path / "run", methods)]), *FF)
    tied = lines["tied_with"].str.split(";")
    better = lines["better_than_random"].fillna(False).astype(bool)
    assert 0 < better.sum() < 11
    for name, line in lines.drop(index="random").iterrows():
        above = lines.loc["random", "mean"] < line["mean"]
        assert better[name] == (above and "random" not in tied[name])
        behind = [other for other in lines.index if other not in (name, *tied[name])]
        fewer = sum(lines.loc[other, "mean"] > line["mean"] for other in behind)
        assert line["rank_low"] == 1 + fewer and line["rank_high"] == len(lines) - (len(behind) - fewer)
        assert line["rank_low"] <= line["rank"] <= line["rank_high"]
    assert lines["first"].sum() == pytest.approx(1) and np.isnan(lines.loc["random", "first"])
    assert np.isfinite(lines["least_difference"]).all() and lines["least_difference"].nunique() == 1


def test_few_recordings_can_show_no_difference_however_large(tmp_path: Path) -> None:
    methods: dict[str, Scores] = {
        "a": {FF: noise(1, 0.9, 5)},
        "b": {FF: noise(2, 0.5, 5)},
        "random": {FF: noise(3, 0, 5)},
    }
    lines = cell(compare([write_run(tmp_path / "run", methods)]), *FF)
    assert np.isinf(lines["least_difference"]).all()
    assert (lines["rank_low"] == 1).all() and (lines["rank_high"] == 3).all()
    alone = cell(compare([write_run(tmp_path / "alone", {"a": {FF: noise(1, 0.9, 5)}})]), *FF)
    assert np.isnan(alone.loc["a", "least_difference"]), "there is no difference"


def test_a_proportion_of_0_has_an_interval(tmp_path: Path) -> None:
    ai = ("average_increase", 0.1)
    methods: dict[str, Scores] = {"a": {ai: np.zeros(CLIPS)}, "b": {ai: np.full(CLIPS, 100.0)}}
    lines = cell(compare([write_run(tmp_path / "run", methods)]), *ai)
    most = 100 * (1 - 0.025 ** (1 / 25))  # Clopper and Pearson, 25 recordings
    assert lines.loc["a", ["low", "high"]].tolist() == pytest.approx([0, most])
    assert lines.loc["b", ["low", "high"]].tolist() == pytest.approx([100 - most, 100])

"""Metrics whose behaviour is known are judged as they deserve."""

from __future__ import annotations

import math
import re

import numpy as np
import pandas as pd
import pytest

from tests.support.made_up_maps import CLIPS, RIGHT, assessed, rows_of
from tests.support.made_up_runs import FF
from xaibench.errors import ResultsError
from xaibench.results.parts import SOFT
from xaibench.validation import assess
from xaibench.validation.questions import where


def line_of(rows: pd.DataFrame, metric: str, methods: pd.DataFrame | None = None) -> pd.Series:
    lines = assessed(rows, methods)
    (index,) = lines.index[lines["metric"] == metric]
    return lines.loc[index]


def test_a_metric_that_sees_the_order_orders_maps_in_either_direction() -> None:
    right = line_of(rows_of({FF: RIGHT}), FF[0])
    assert (right["verdict"], right["because"], right["graded"]) == (assess.ORDERS, "", "half;shifted")
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


def test_of_a_metric_of_noise_nothing_is_shown_and_it_says_what_and_how_many_recordings_would() -> None:
    line = line_of(rows_of({FF: dict.fromkeys(RIGHT, 0.5)}), FF[0])
    assert line["verdict"] == assess.NOT_SHOWN and line["graded"] == ""
    assert "oracle > random not shown" in line["because"] and "oracle > inverted not shown" in line["because"]
    assert abs(line["effect"]) < 1
    faint = line_of(rows_of({FF: dict.fromkeys(RIGHT, 0.5) | {"oracle": 0.525}}), FF[0])
    assert faint["verdict"] == assess.NOT_SHOWN
    (needed,) = re.findall(r"oracle > random not shown \(about (\d+) recordings would\)", faint["because"])
    assert int(needed) > CLIPS


def test_a_metric_that_rewards_the_wrong_map_reverses_it_by_name() -> None:
    turned = line_of(rows_of({FF: {name: -mean for name, mean in RIGHT.items()}}), FF[0])
    assert turned["verdict"] == assess.REVERSES and "random > oracle" in turned["because"]
    assert turned["effect"] < 0
    # The ends are in order, but it finds less evidence better than all of it.
    odd = line_of(rows_of({FF: RIGHT | {"half": 1.5}}), FF[0])
    assert (odd["verdict"], odd["because"], odd["graded"]) == (assess.REVERSES, "half > oracle", "shifted")


def test_where_the_rest_is_another_sound_its_map_is_the_worst() -> None:
    means = {"oracle": 1.0, "half": 0.7, "energy": 0.5, "uniform": 0.1, "random": 0.1, "swapped": 0.0}
    (line,) = assessed(rows_of({FF: means}), maps=tuple(means)).to_dict("records")
    assert (line["verdict"], line["graded"]) == (assess.ORDERS, "half")
    (turned,) = assessed(rows_of({FF: means | {"swapped": 1.3}}), maps=tuple(means)).to_dict("records")
    assert (turned["verdict"], turned["because"]) == (assess.REVERSES, "swapped > oracle")


@pytest.mark.parametrize(
    ("metric", "means", "verdict", "because"),
    [
        ("max_sensitivity", {"saliency": 0.8, "uniform": 0, "random": 0}, "reverses", "random > saliency"),
        ("max_sensitivity", {"saliency": 0.2, "uniform": 0.9, "random": 1}, "orders", ""),
        ("mprt", {"saliency": 0.1, "random": 1, "energy": 1}, "orders", ""),
        ("mprt", {"saliency": 0.1, "random": 0.1, "energy": 1}, "not shown", "saliency > random not shown"),
    ],
)
def test_robustness_and_randomisation_must_prefer_a_method_to_what_ignores_clip_or_weights(
    metric: str, means: dict[str, float], verdict: str, because: str
) -> None:
    probes = rows_of({(metric, np.nan): means})
    lines = assessed(pd.concat([rows_of({FF: RIGHT}), probes], ignore_index=True)).set_index("metric")
    assert lines.loc[metric, "verdict"] == verdict and because in lines.loc[metric, "because"]
    assert np.isnan(lines.loc[metric, "agreement"]) and np.isnan(lines.loc[FF[0], "saliency"])
    assert lines.loc[FF[0], "verdict"] == assess.ORDERS


def test_metrics_that_hold_the_ground_truth_are_told_apart() -> None:
    lines = assessed(rows_of({FF: RIGHT, ("relevance_rank", np.nan): RIGHT})).set_index("metric")
    assert lines["by_construction"].to_dict() == {FF[0]: False, "relevance_rank": True}


def test_a_metric_blind_to_missing_ground_truth_is_not_graded_but_orders() -> None:
    ones = np.ones(CLIPS)
    line = line_of(rows_of({("relevance_mass", np.nan): RIGHT | {"oracle": ones, "half": ones}}), "relevance_mass")
    assert (line["verdict"], line["graded"]) == (assess.ORDERS, "shifted")
    assert line["oracle_over_half_p"] == 1


def test_families_that_do_not_ask_where_are_described_not_judged() -> None:
    line = line_of(rows_of({("sparseness", np.nan): dict.fromkeys(RIGHT, 0.5)}), "sparseness")
    assert (line["verdict"], line["because"]) == (assess.NOT_JUDGED, "")
    assert line["oracle"] == pytest.approx(0.5, abs=0.05) and np.isfinite(line["spread"])


def test_too_few_recordings_show_nothing() -> None:
    fewest, pairs = (question := where(tuple(RIGHT))).fewest, len(question.order)
    assert 2 * pairs / 2**fewest <= 0.05 < 2 * pairs / 2 ** (fewest - 1)
    few, enough = (line_of(rows_of({FF: RIGHT}, clips=fewest - 1 + i), FF[0]) for i in (0, 1))
    assert few["verdict"] == assess.NOT_SHOWN and f"at least {fewest} recordings" in few["because"]
    assert enough["verdict"] == assess.ORDERS
    # Undefined values leave as few.
    gaps = np.r_[np.ones(4), np.full(CLIPS - 4, np.nan)]
    holes = line_of(rows_of({FF: RIGHT | {"random": gaps}}), FF[0])
    assert (holes["verdict"], holes["recordings"], holes["undefined"]) == (assess.NOT_SHOWN, 4, CLIPS - 4)


def test_what_was_stopped_half_way_is_left_out() -> None:
    rows = rows_of({FF: RIGHT, ("deletion_auc", np.nan): RIGHT})
    stopped = rows[(rows["metric"] == FF[0]) | (rows["method"] != "inverted")]
    assert set(assessed(stopped)["metric"]) == {FF[0]}
    with pytest.raises(ResultsError, match="xaibench validate"):
        assessed(stopped[stopped["metric"] != FF[0]])


def test_agreement_is_the_rank_correlation_with_what_knows_the_ground_truth() -> None:
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
    both = pd.concat([methods, methods.assign(mask=SOFT)])
    assert line_of(rows, rank[0], both)["maps"] == alone["maps"] + 60  # a method's own mask is a map of its own
    columns = [name for name in alone.index if name not in ("agreement", "maps")]
    pd.testing.assert_series_equal(alone[columns], together[columns])


def test_the_order_of_rows_changes_nothing() -> None:
    rows = rows_of({FF: RIGHT, ("faithfulness", 0.2): RIGHT, ("sparseness", np.nan): RIGHT})
    shuffled = rows.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(assessed(rows), assessed(shuffled))

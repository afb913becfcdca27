"""Where methods do well: means within classes, within folds, and of clips that are classified right or wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from xaibench.reports.leaderboard import FIRST_METRICS, metric_order
from xaibench.reports.report_board import plain
from xaibench.results.comparison import at_equal_area, at_one_area, by_clip, summarise
from xaibench.results.parts import MetricFacts

ALL, RIGHT, WRONG = "all clips", "classified right", "classified wrong"


def profiles_of(
    rows: pd.DataFrame, comparison: pd.DataFrame, classifier: str, metrics: Mapping[str, MetricFacts]
) -> list[dict[str, Any]]:
    """Average the metrics that readers look for first within kinds of clips, at the primary area.

    Args:
        rows: per-clip rows of a group (`compared_rows`).
        comparison: the lines of that group.
        classifier: whose.
        metrics: what the metrics are.

    Returns:
        A profile by class, by fold and by decision, as far as there are two kinds of clips or more. Each has its
        `name`, its `kinds` of clips, and `metrics`: by name, and there by method: mean, low, high and n of each kind.
    """
    own = at_one_area(at_equal_area(rows[rows["classifier"] == classifier]))
    own = own[own["metric"].isin(FIRST_METRICS)]
    folds = {f"fold {fold}": own["fold"] == fold for fold in sorted(set(own["fold"]))}
    right = own["correct"].astype("boolean")
    decisions = {
        ALL: right.notna() | right.isna(),
        RIGHT: right.fillna(False).astype(bool),
        WRONG: (~right).fillna(False).astype(bool),
    }
    kinds = {
        "class": {label: own["label"] == label for label in sorted(set(own["label"]))},
        "fold": folds,
        "decision": decisions if decisions[RIGHT].any() and decisions[WRONG].any() else {},
    }
    order = [name for name in metric_order(comparison) if name in set(own["metric"])]
    return [
        {"name": name, "kinds": list(groups), "metrics": _means(own, groups, order, metrics)}
        for name, groups in kinds.items()
        if len(groups) > 1
    ]


def _means(
    rows: pd.DataFrame, groups: Mapping[str, pd.Series], order: list[str], metrics: Mapping[str, MetricFacts]
) -> dict[str, dict[str, list[list[float | None]]]]:
    found: dict[str, dict[str, list[list[float | None]]]] = {name: {} for name in order}
    for place, chosen in enumerate(groups.values()):
        values, recordings = by_clip(rows[chosen], ["metric", "method"])
        ranges = np.array([metrics[str(metric)].range for metric, _ in values.index])
        means = summarise(values, recordings, ranges)
        for (metric, method), line in zip(means.index, means.to_dict("records"), strict=True):
            places = found[metric].setdefault(method, [[None, None, None, 0] for _ in groups])
            places[place] = [*(plain(line[key]) for key in ("mean", "low", "high")), int(line["n"])]
    return found

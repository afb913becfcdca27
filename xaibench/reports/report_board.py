"""The boards of a report as data: the cells of every other board, and behind each what it rests on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from xaibench import registry
from xaibench.errors import RegistryError
from xaibench.reports.agreement import can_agree, metric_agreement
from xaibench.reports.boards import BoardConfig, board
from xaibench.reports.leaderboard import FIRST_METRICS, SORT_METRIC, metric_heading, metric_order, rows_of
from xaibench.reports.marks import Marks
from xaibench.reports.tables import NO_DAGGER, NO_DIGIT
from xaibench.results.areas import PRIMARY_AREA
from xaibench.results.comparison import at_equal_area, at_one_area
from xaibench.results.parts import EQUAL_AREA, SOFT

_SECONDS, _TRAINING, _OVERALL = "seconds_per_clip", "training", "overall"
_RANKS = {"r": "rank", "rl": "rank_low", "rh": "rank_high"}
_ENDS = {"v": "overall", "lo": "overall_low", "hi": "overall_high"}
_PADDING = NO_DAGGER + NO_DIGIT  # columns of a page are aligned by themselves


def boards_of(comparison: pd.DataFrame, group: str, marks: Marks) -> list[dict[str, Any]]:
    """Make the boards of a group of runs: one for each classifier and mask area.

    Returns:
        For each: classifier, area, caption, columns, rows and notes, as `boards.board` makes them; a cell has what the
        comparison says of it, too.
    """
    here = comparison[comparison["group"] == group]
    areas = sorted(here["area"].dropna().unique()) or [PRIMARY_AREA]
    return [
        _board(here, group, str(classifier), float(area), marks)
        for classifier in sorted(set(here["classifier"]))
        for area in areas
    ]


def metrics_of(comparison: pd.DataFrame) -> list[dict[str, Any]]:
    """Say what the metrics of a comparison are, in the order of the boards; more where they are installed."""
    families = dict(zip(comparison["metric"], comparison["family"], strict=True))
    return [
        {
            "name": name,
            "heading": metric_heading(name, comparison),
            "family": families[name],
            "first": name in FIRST_METRICS,
            **_described(name),
        }
        for name in metric_order(comparison)
    ]


def agreement_of(comparison: pd.DataFrame) -> dict[str, Any]:
    """Say how alike the metrics of a group place the methods (`agreement.metric_agreement`); nothing of fewer than two.

    Returns:
        `metrics`: their names. `values`: Kendall's tau-b of every two, mean over classifiers; none where unknown.
    """
    lines = at_one_area(at_equal_area(comparison))
    if not can_agree(comparison):
        return {"metrics": [], "values": []}
    table = metric_agreement(lines)
    return {"metrics": list(table.index), "values": [[plain(value) for value in row] for row in table.to_numpy()]}


def plain(value: float) -> float | None:
    """Return a number as JSON can have it, with six digits; none for NaN."""
    return None if pd.isna(value) else float(f"{value:.6g}")


def _board(lines: pd.DataFrame, group: str, classifier: str, area: float, marks: Marks) -> dict[str, Any]:
    own = at_one_area(lines[lines["classifier"] == classifier], area)
    metrics = metric_order(own)
    columns = [name for name in metrics if name in FIRST_METRICS]
    columns += [_OVERALL] * bool(own["overall"].notna().any() and area == PRIMARY_AREA)  # which is of that area
    columns += [_SECONDS] + [_TRAINING] * bool(own["trained"].any())
    columns += [name for name in metrics if name not in FIRST_METRICS]
    table = board(lines, group, classifier, marks, BoardConfig(area=area, columns=columns))
    records = dict(zip(zip(rows_of(own), own["metric"], strict=True), own.to_dict("records"), strict=True))
    any_of = dict(zip(rows_of(own), own.to_dict("records"), strict=True))
    rows = []
    for row in table.rows:
        key = (row.name, SOFT if row.apart else EQUAL_AREA)
        cells: list[dict[str, Any]] = []
        for name, cell in zip(columns, row.cells, strict=True):
            shown = {"t": cell.text, "s": cell.tail.rstrip(_PADDING), "b": cell.best}
            if (key, name) in records:
                shown |= _behind(records[key, name])
            elif name in (_SECONDS, _TRAINING):
                shown["v"] = plain(any_of[key]["training_seconds" if name == _TRAINING else name])
            elif name == _OVERALL:
                shown |= {key_: plain(any_of[key][end]) for key_, end in _ENDS.items()}
                shown["of"] = any_of[key]["overall_of"] if shown["v"] is not None else ""
            cells.append(shown)
        kind = "soft" if row.apart else "control" if row.control else "method"
        title = any_of[key]["method_title"]
        rows.append({"name": row.name, "title": title, "marks": row.marks, "kind": kind, "cells": cells})
    return {
        "group": group,
        "classifier": classifier,
        "area": area,
        "caption": table.caption,
        "columns": [{"key": key, "head": head} for key, head in zip(columns, table.columns, strict=True)],
        "rows": rows,
        "notes": list(table.explanations),
        "sort": SORT_METRIC if SORT_METRIC in columns else columns[0],
    }


def _behind(line: Mapping[Any, Any]) -> dict[str, Any]:
    """Collect what a cell rests on."""
    better = line["better_than_random"]
    return {
        "v": plain(line["mean"]),
        "lo": plain(line["low"]),
        "hi": plain(line["high"]),
        "n": int(line["n"]),
        "u": int(line["undefined"]),
        **{key: None if pd.isna(line[name]) else int(line[name]) for key, name in _RANKS.items()},
        "f": plain(line["first"]),
        "tie": line["tied_with"],
        "by": line["beaten_by"],
        "rnd": None if pd.isna(better) else bool(better),
    }


def _described(name: str) -> dict[str, str]:
    """Say what a metric is, where it is installed."""
    try:
        metric = registry.load("metrics", name)
        return {key: str(getattr(metric, key)) for key in ("description", "formula", "reference")}
    except (RegistryError, AttributeError):
        return {"description": "", "formula": "", "reference": ""}

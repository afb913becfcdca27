"""Marks of metrics on boards: what `xaibench validate` found of them, for the very classifier of the board."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from xaibench.errors import ResultsError
from xaibench.reports.tables import UNPROVEN
from xaibench.results.areas import PRIMARY_AREA
from xaibench.results.selection import Group
from xaibench.storage.spreadsheet import read_csv

REVERSED, OPEN = UNPROVEN, f"({UNPROVEN})"
# The verdicts of `validation.assess` that speak against a metric.
_MARKS = {"reverses": REVERSED, "not shown": OPEN}
_MEANINGS = {
    REVERSED: "prefers explanations that are worse (xaibench validate).",
    OPEN: "not shown to prefer explanations that are better (xaibench validate).",
}


# By group of runs and classifier, and there by metric and area (None: of no mask): the mark of what speaks against it.
Marks = Mapping[tuple[str, str], Mapping[tuple[str, float | None], str]]
NO_MARKS: Marks = {}


def marks_at(marks: Marks, group: str, classifier: str, area: float = PRIMARY_AREA) -> dict[str, str]:
    """Return the marks of a board: by metric, as it was judged at the area of the board."""
    own = marks.get((group, classifier), {})
    return {metric: mark for (metric, at), mark in own.items() if at is None or math.isclose(at, area)}


def read_marks(folder: Path, groups: Sequence[Group]) -> Marks:
    """Read what `xaibench validate` wrote into a folder (`validation-*.csv`) about the classifiers of runs.

    A verdict belongs to the weights, the protocol and the area for which it was found. Where
    weights were validated on several datasets, that of the runs counts alone if it is among them; else the worst.

    Raises:
        ResultsError: such a file is damaged.
    """
    found = [_read(path) for path in sorted(Path(folder).glob("validation-*.csv"))]
    if not found:
        return NO_MARKS
    lines = pd.concat(found, ignore_index=True)
    marks: dict[tuple[str, str], dict[tuple[str, float | None], str]] = {}
    for group in groups:
        weights: dict[str, set[str]] = {}
        for part in group.parts:
            weights.setdefault(part.classifier, set()).add(part.info.classifier_sha256)
        for classifier, hashes in weights.items():
            own = lines[lines["classifier_sha256"].isin(hashes) & (lines["protocol"] == group.conditions.protocol)]
            here = own[own["dataset"] == group.conditions.dataset]
            own = here if len(here) else own
            marks[group.name, classifier] = {
                (str(line["metric"]), None if pd.isna(line["area"]) else float(line["area"])): _MARKS[verdict]
                for verdict in ("not shown", "reverses")  # the latter is the worse one, and stays
                for line in own[own["verdict"] == verdict].to_dict("records")
            }
    return marks


def explained(marks: Iterable[str]) -> tuple[str, ...]:
    """Say what the marks mean that occur."""
    there = set(marks)
    return tuple(f"{mark}: {meaning}" for mark, meaning in _MEANINGS.items() if mark in there)


def _read(path: Path) -> pd.DataFrame:
    try:
        lines = read_csv(path)
        lines["area"] = lines["area"].astype(float)
        return lines[["dataset", "protocol", "classifier_sha256", "metric", "area", "verdict"]]
    except (KeyError, TypeError, ValueError) as error:
        raise ResultsError(f"{path} is damaged ({error}); make it again with 'xaibench validate'") from error

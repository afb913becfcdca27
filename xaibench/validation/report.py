"""What `xaibench validate` prints and writes: a summary, tables per classifier, files, a page of all datasets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from xaibench.errors import ResultsError
from xaibench.reports import tables
from xaibench.reports.leaderboard import metric_heading, metric_order
from xaibench.reports.marks import OPEN, REVERSED
from xaibench.reports.tables import MISSING, Cell, Row, Table
from xaibench.results.comparison import at_primary_area
from xaibench.storage.atomic import write_atomically
from xaibench.storage.spreadsheet import csv_bytes, read_csv
from xaibench.validation import figure
from xaibench.validation.assess import NOT_JUDGED, NOT_SHOWN, ORDERS, REVERSES
from xaibench.validation.questions import BY_FAMILY, PROBES
from xaibench.validation.reference_maps import REFERENCE_MAPS

MARKS = {ORDERS: "", REVERSES: REVERSED, NOT_SHOWN: OPEN, NOT_JUDGED: ""}
_BY_CONSTRUCTION = "By construction"
OVERVIEW = "validation.md"


def summary(assessment: pd.DataFrame) -> list[str]:
    """Return a line per verdict: its metrics, and with which classifiers where these differ; the tables say why."""
    lines = at_primary_area(assessment)
    everyone = set(lines["classifier"])
    found: dict[str, list[str]] = {verdict: [] for verdict in (ORDERS, REVERSES, NOT_SHOWN, NOT_JUDGED)}
    own = [name for name in metric_order(lines) if not _known(lines, name)]
    for metric in own:
        for verdict, block in lines[lines["metric"] == metric].groupby("verdict"):
            names = sorted(block["classifier"])
            some = f" ({', '.join(names)})" * (set(names) != everyone)
            found[str(verdict)].append(metric_heading(metric, lines) + some)
    said = [f"{verdict}: {', '.join(metrics)}" for verdict, metrics in found.items() if metrics]
    known = [metric_heading(name, lines) for name in metric_order(lines) if _known(lines, name)]
    return said + [f"{_BY_CONSTRUCTION.lower()}, shown apart: {', '.join(known)}"] * bool(known)


def tables_of(assessment: pd.DataFrame, classifier: str) -> list[Table]:
    """Lay out one classifier at the primary area: metrics by reference maps, and metrics by probes."""
    every = assessment[assessment["classifier"] == classifier]
    probed = every["family"].isin(BY_FAMILY)
    maps = [name for name in REFERENCE_MAPS if name in every and every.loc[~probed, name].notna().any()]
    found = []
    if (~probed).any():
        notes = [
            f"{ORDERS}: the oracle significantly above all maps that are wrong, and no pair reversed. "
            f"{REVERSES}: a pair is significantly in the wrong order. {NOT_SHOWN}: neither, with so many recordings.",
            "Effect: paired gain of the oracle over random by its standard deviation between recordings.",
            "Agreement: mean rank correlation with the metrics that know the ground truth, over "
            f"{every.loc[~probed, 'maps'].max()} maps.",
            "Graded: degraded oracles significantly below the oracle and above random.",
            f"{_BY_CONSTRUCTION}: metrics that hold the ground truth of which the maps are made; that they order them "
            "says nothing about classifiers.",
        ]
        found.append(_table(every[~probed], classifier, maps, ("effect", "agreement", "graded"), notes))
    if probed.any():
        notes = [
            "Robustness must prefer the gradient method to uniform and random, which never change; randomisation must "
            "prefer it to random and energy, which ignore the weights.",
        ]
        shown = [name for name in PROBES if every.loc[probed, name].notna().any()]
        found.append(_table(every[probed], classifier, shown, ("effect",), notes))
    return found


def write(assessment: pd.DataFrame, folder: Path) -> list[Path]:
    """Write validation-DATASET.csv (unrounded), .md, .png and .pdf, and the page of all such files in the folder.

    Returns:
        Their paths.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    name = f"validation-{assessment['dataset'].iloc[0]}"
    pieces = [one for classifier in sorted(set(assessment["classifier"])) for one in tables_of(assessment, classifier)]
    text = "".join(f"- {line}\n" for line in summary(assessment))
    contents = {
        f"{name}.csv": csv_bytes(assessment),
        f"{name}.md": "\n".join([text, *map(tables.markdown, pieces)]).encode(),
    }
    written = []
    for file, content in contents.items():
        written.append(folder / file)
        write_atomically(written[-1], content)
    written += figure.write_plot(assessment, folder / name)
    written.append(folder / OVERVIEW)
    write_atomically(written[-1], tables.markdown(overview(folder)).encode())
    return written


def overview(folder: Path) -> Table:
    """Lay out all validations of a folder: metrics by datasets, the verdicts at the primary area.

    Raises:
        ResultsError: there is none, or one is damaged.
    """
    found = []
    for path in sorted(Path(folder).glob("validation-*.csv")):
        try:
            found.append(at_primary_area(read_csv(path))[[*_SHOWN, "recordings"]])
        except (KeyError, TypeError, ValueError) as error:
            raise ResultsError(f"{path} is damaged ({error}); make it again with 'xaibench validate'") from error
    if not found:
        raise ResultsError(f"{folder} holds no validation; make one with 'xaibench validate'")
    lines = pd.concat(found, ignore_index=True)
    lines = lines[lines["verdict"] != NOT_JUDGED]
    datasets = sorted(set(lines["dataset"]))
    rows = []
    for metric in metric_order(lines):
        own = lines[lines["metric"] == metric]
        cells = tuple(Cell(_verdicts(own[own["dataset"] == dataset])) for dataset in datasets)
        rows.append(Row(metric_heading(metric, lines), False, cells, _known(lines, metric)))
    counts = lines.groupby(["dataset", "classifier"])["recordings"].max()
    taken = [
        f"{dataset}: " + ", ".join(f"{classifier} {count}" for classifier, count in counts[dataset].items())
        for dataset in datasets
    ]
    notes = (f"Recordings of {'; '.join(taken)}.", "Classifiers are named where their verdicts differ.")
    return Table(
        "Does a metric order explanations of known quality?",
        tuple(datasets),
        tuple(rows),
        notes,
        names="Metric",
        apart=_BY_CONSTRUCTION,
    )


_SHOWN = ["dataset", "classifier", "metric", "metric_title", "family", "higher_is_better", "area", "verdict"]
_SHOWN += ["by_construction"]


def _verdicts(lines: pd.DataFrame) -> str:
    """Say a verdict, or each with its classifiers."""
    by_verdict = {
        verdict: sorted(lines.loc[lines["verdict"] == verdict, "classifier"])
        for verdict in (ORDERS, REVERSES, NOT_SHOWN)
        if (lines["verdict"] == verdict).any()
    }
    if len(by_verdict) == 1:
        return next(iter(by_verdict))
    return "; ".join(f"{verdict} ({', '.join(names)})" for verdict, names in by_verdict.items())


def _known(lines: pd.DataFrame, metric: str) -> bool:
    return bool(lines.loc[lines["metric"] == metric, "by_construction"].iloc[0])


def _table(
    every: pd.DataFrame, classifier: str, maps: Sequence[str], columns: Sequence[str], notes: list[str]
) -> Table:
    lines = at_primary_area(every)
    records: dict[str, Any] = {str(line["metric"]): line for line in lines.to_dict("records")}
    rows = []
    for metric in metric_order(lines):
        line = records[metric]
        judged = line["verdict"] != NOT_JUDGED
        largest = max((abs(line[name]) for name in maps if not np.isnan(line[name])), default=0.0)
        digits = 0 if largest >= 100 else 1 if largest >= 10 else 3
        cells = [Cell(_number(line[name], digits)) for name in maps]
        for column in columns:
            text = line[column] if column == "graded" else _number(line[column], 2)
            cells.append(Cell((text.replace(";", ", ") or "none") if column == "graded" and judged else text))
        cells.append(Cell(line["verdict"] + MARKS[line["verdict"]] if judged else ""))
        cells.append(Cell(_elsewhere(every[every["metric"] == metric], line)))
        rows.append(Row(metric_heading(metric, lines), not judged, tuple(cells), _known(lines, metric)))
    notes = notes + [
        f"{MARKS[line['verdict']]} {metric_heading(metric, lines)}: {line['because']}.".strip()
        for metric, line in records.items()
        if line["because"]
    ]
    caption = f"{classifier}: {lines['recordings'].max()} recordings of {every['dataset'].iloc[0]}"
    heads = (*maps, *columns, "verdict", "other areas")
    return Table(
        caption,
        heads,
        tuple(rows),
        tuple(notes),
        names="Metric",
        below="Not judged",
        apart=_BY_CONSTRUCTION,
        first=("verdict", "effect", "agreement"),
    )


def _elsewhere(lines: pd.DataFrame, primary: dict[str, Any]) -> str:
    """Say at which other areas a metric has another verdict."""
    return ", ".join(
        f"{100 * line['area']:g}%: {line['verdict']}"
        for line in lines.sort_values("area").to_dict("records")
        if line["verdict"] != primary["verdict"]
    )


def _number(value: float, digits: int) -> str:
    return MISSING if np.isnan(value) else f"{value:.{digits}f}"

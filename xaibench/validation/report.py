"""What `xaibench validate` prints and writes: a summary, a table per classifier, and the files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from xaibench.reports import tables
from xaibench.reports.leaderboard import metric_heading, metric_order
from xaibench.reports.tables import MISSING, UNPROVEN, Cell, Row, Table
from xaibench.results.comparison import at_primary_area
from xaibench.storage.atomic import write_atomically
from xaibench.validation import figure
from xaibench.validation.assess import DISCRIMINATES, FAILS, NOT_WHERE, UNDECIDED
from xaibench.validation.reference_maps import DATASET, FOLDS, REFERENCE_MAPS


def summary(assessment: pd.DataFrame) -> list[str]:
    """Return a line per verdict: its metrics, each with the worst of all classifiers' verdicts, and why."""
    lines = at_primary_area(assessment)
    found: dict[str, list[str]] = {verdict: [] for verdict in (DISCRIMINATES, FAILS, UNDECIDED, NOT_WHERE)}
    for metric in metric_order(lines):
        own = lines[lines["metric"] == metric]
        worst = next(word for word in (FAILS, UNDECIDED, DISCRIMINATES, NOT_WHERE) if word in set(own["verdict"]))
        whys = zip(own["classifier"], own["because"], strict=True)
        reasons = "; ".join(f"{classifier}: {because}" for classifier, because in whys if because)
        found[worst].append(metric_heading(metric, lines) + (f" ({reasons})" if reasons else ""))
    return [f"{verdict}: {', '.join(metrics)}" for verdict, metrics in found.items() if metrics]


def table(assessment: pd.DataFrame, classifier: str) -> Table:
    """Lay out one classifier: metrics by reference maps at the primary area, with effect, agreement and verdict."""
    lines = at_primary_area(assessment[assessment["classifier"] == classifier])
    metrics = metric_order(lines)
    records: dict[str, Any] = {str(line["metric"]): line for line in lines.to_dict("records")}
    rows = []
    for metric in metrics:
        line = records[metric]
        largest = max((abs(line[name]) for name in REFERENCE_MAPS if not np.isnan(line[name])), default=0.0)
        digits = 0 if largest >= 100 else 1 if largest >= 10 else 3
        cells = [Cell(_number(line[name], digits)) for name in REFERENCE_MAPS]
        cells += [Cell(_number(line["effect"], 2)), Cell(_number(line["agreement"], 2))]
        judged = line["verdict"] != NOT_WHERE
        cells.append(Cell(line["graded"].replace(";", ", ") or "none" if judged else ""))
        cells.append(Cell(line["verdict"] + UNPROVEN * (line["verdict"] == FAILS) if judged else ""))
        rows.append(Row(metric_heading(metric, lines), not judged, tuple(cells)))
    shared = f"{lines['recordings'].max()} recordings of {DATASET}, fold {', '.join(map(str, FOLDS))}"
    notes = [
        f"{DISCRIMINATES}: oracle significantly above random and above inverted, and no pair reversed.",
        "Effect: paired gain of the oracle over random by its standard deviation between recordings.",
        "Agreement: mean rank correlation with the metrics that know the ground truth, over "
        f"{lines['maps'].max()} maps.",
        "Graded: degraded oracles significantly below the oracle and above random.",
        "Not judged: metrics that do not ask where the importance lies.",
    ]
    notes += [
        f"{UNPROVEN if line['verdict'] == FAILS else line['verdict']} "
        f"{metric_heading(metric, lines)}: {line['because']}."
        for metric, line in records.items()
        if line["because"]
    ]
    heads = (*REFERENCE_MAPS, "effect", "agreement", "graded", "verdict")
    return Table(f"{classifier}: {shared}", heads, tuple(rows), tuple(notes), names="Metric", below="Not judged")


def write(assessment: pd.DataFrame, folder: Path) -> list[Path]:
    """Write validation-DATASET.csv (unrounded), .md, .png and .pdf; returns their paths."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    classifiers = sorted(set(assessment["classifier"]))
    text = "".join(f"- {line}\n" for line in summary(assessment))
    contents = {
        "csv": assessment.to_csv(index=False, lineterminator="\n"),
        "md": "\n".join([text, *(tables.markdown(table(assessment, classifier)) for classifier in classifiers)]),
    }
    written = []
    for suffix, content in contents.items():
        written.append(folder / f"validation-{DATASET}.{suffix}")
        write_atomically(written[-1], content.encode())
    return written + figure.write_plot(assessment, folder / f"validation-{DATASET}")


def _number(value: float, digits: int) -> str:
    return MISSING if np.isnan(value) else f"{value:.{digits}f}"

"""Leaderboards: a comparison as tables that people read, one per dataset and classifier."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from xaibench.errors import ResultsError
from xaibench.reports import tables
from xaibench.reports.style import arrow
from xaibench.reports.tables import (
    DAGGER,
    DOUBLE_DAGGER,
    MISSING,
    NO_DAGGER,
    NO_DIGIT,
    PARTIAL,
    UNPROVEN,
    Cell,
    Row,
    Table,
)
from xaibench.results.comparison import BASELINE, at_equal_area, at_one_area, at_primary_area, metric_class, sign
from xaibench.results.parts import SOFT
from xaibench.storage.atomic import write_atomically

if TYPE_CHECKING:
    import rich.table

_ROW = ["method", "mask"]
# A board is sorted by this metric where it was scored.
SORT_METRIC = "faithfulness"
# The columns that readers look for first, in this order; all other metrics follow by family.
FIRST_METRICS = (
    *(SORT_METRIC, "fidelity_in", "average_drop", "average_gain", "average_increase"),
    *("deletion_auc", "insertion_auc", "sparseness", "complexity"),
)


def metric_order(names: set[str]) -> list[str]:
    """Sort metrics as people look for them: FIRST_METRICS, then by family and name."""
    first = [name for name in FIRST_METRICS if name in names]
    return first + sorted(names - set(first), key=lambda name: (metric_class(name).family, name))


def metric_heading(name: str, unproven: Collection[str] = ()) -> str:
    """Write a metric's title with an arrow to its better side, and UNPROVEN behind it if it is one of these."""
    metric = metric_class(name)
    return f"{metric.title} {arrow(metric.higher_is_better)}{UNPROVEN * (name in unproven)}"


def axis_label(name: str) -> str:
    """Write a metric's name and title with an arrow along the axis to its better side."""
    metric = metric_class(name)
    return f"{name.capitalize()} ({metric.title}) {arrow(metric.higher_is_better, along=True)}"


def unproven_metrics(folder: Path) -> frozenset[str]:
    """Read which metrics failed on some classifier: from the `validation-*.csv` that `xaibench validate` wrote there.

    Raises:
        ResultsError: such a file is damaged.
    """
    found: set[str] = set()
    for path in sorted(Path(folder).glob("validation-*.csv")):
        try:
            lines = at_primary_area(pd.read_csv(path))
            found |= set(lines.loc[lines["verdict"] == "fails", "metric"])
        except (KeyError, TypeError, ValueError) as error:
            raise ResultsError(f"{path} is damaged ({error}); make it again with 'xaibench validate'") from error
    return frozenset(found)


def method_order(lines: pd.DataFrame) -> list[str]:
    """Sort the methods of a comparison at equal area as a board does: methods, then controls, each best first."""
    return [method for method, _ in _row_order(at_equal_area(lines))]


def _row_order(lines: pd.DataFrame) -> list[tuple[str, str]]:
    """Sort (method, mask): methods, then soft masks, then controls, each best first.

    Best is by SORT_METRIC at the primary area, else by mean rank; over several classifiers, by the mean.
    """
    lines = at_one_area(lines)
    chosen = lines[lines["metric"] == SORT_METRIC]
    if len(chosen):
        key = chosen.groupby(_ROW)["mean"].mean() * sign(SORT_METRIC) * -1
    else:
        key = lines.astype({"rank": float}).groupby(_ROW)["rank"].mean()
    control = lines.groupby(_ROW)["control"].first()
    place = {row: 1 if row[1] == SOFT else 2 if control[row] else 0 for row in control.index}
    return sorted(place, key=lambda row: (place[row], key.get(row, np.inf), row))


def wide(comparison: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """Lay out one line per (classifier, method, mask) of a dataset, unrounded: the boards' numbers for machines.

    Columns: dataset, classifier, method, control, mask, trained, training_seconds, trained_parameters,
    accuracy, mean_rank (none for soft masks, which have other rivals), seconds_per_clip, and per metric at the
    primary area METRIC and METRIC_ + low, high, n, undefined, better_than_random.
    """
    lines = at_one_area(comparison[comparison["dataset"] == dataset])
    records = []
    for classifier, block in lines.groupby("classifier", sort=True):
        for method, mask in _row_order(block):
            own = block[(block["method"] == method) & (block["mask"] == mask)].set_index("metric")
            record: dict[str, Any] = {"dataset": dataset, "classifier": classifier, "method": method}
            about = ("control", "mask", "trained", "training_seconds", "trained_parameters", "accuracy")
            record |= {key: own[key].iloc[0] for key in about}
            record |= {
                "mean_rank": np.nan if record["mask"] == SOFT else own["rank"].astype(float).mean(),
                "seconds_per_clip": own["seconds_per_clip"].iloc[0],
            }
            for metric in (name for name in metric_order(set(lines["metric"])) if name in own.index):
                record[metric] = own.at[metric, "mean"]
                for key in ("low", "high", "n", "undefined", "better_than_random"):
                    record[f"{metric}_{key}"] = own.at[metric, key]
            records.append(record)
    return pd.DataFrame(records)


def board(comparison: pd.DataFrame, dataset: str, classifier: str, unproven: Collection[str] = ()) -> Table:
    """Make the leaderboard of one dataset and classifier: methods by metrics at the primary area.

    Methods are sorted by SORT_METRIC where it was scored, else by mean rank; soft masks and then controls stand
    below. The columns of `unproven` metrics (`unproven_metrics`) are marked.
    """
    here = (comparison["dataset"] == dataset) & (comparison["classifier"] == classifier)
    lines = at_one_area(comparison[here])
    metrics = metric_order(set(lines["metric"]))
    order = _row_order(lines)
    by_row = lines.drop_duplicates(_ROW).set_index(_ROW).loc[order]
    scored = lines["n"] + lines["undefined"]
    whole = scored.groupby([lines["method"], lines["mask"]]).max()
    columns = {metric_heading(name, unproven): _cells(lines[lines["metric"] == name], order, whole) for name in metrics}
    costs = [(f"s/clip {arrow(False)}", [Cell(_short(cost)) for cost in by_row["seconds_per_clip"]])]
    if by_row["trained"].any():
        training = zip(by_row["training_seconds"], by_row["trained_parameters"], strict=True)
        costs.append(("Training", [Cell(_training(*cost)) for cost in training]))
    # The cost stands where it leaves the metrics of the paper and those of localisation in one piece each.
    place = len([name for name in metrics if name in FIRST_METRICS])
    headed = list(columns.items())
    headed[place:place] = costs
    marks = _marks(lines, whole)
    rows = tuple(
        Row(
            row[0] + marks[row],
            bool(by_row["control"].iloc[i]) and row[1] != SOFT,
            tuple(cells[i] for _, cells in headed),
            row[1] == SOFT,
        )
        for i, row in enumerate(order)
    )
    accuracy = lines["accuracy"].iloc[int(scored.to_numpy().argmax())]
    caption = f"{dataset}, {classifier}: {scored.max()} clips, accuracy {accuracy:.3f}"
    notes = _notes(rows, lines)
    if set(metrics) & set(unproven):
        notes += (f"{UNPROVEN}: did not order maps of known quality as it must (xaibench validate).",)
    return Table(caption, tuple(heading for heading, _ in headed), rows, notes)


def terminal_tables(comparison: pd.DataFrame, dataset: str, unproven: Collection[str] = ()) -> list[rich.table.Table]:
    """Make the boards of a dataset for rich to print, each at most 100 characters wide."""
    boards = [board(comparison, dataset, classifier, unproven) for classifier in _classifiers(comparison, dataset)]
    return [tables.terminal(piece) for one in boards for piece in one.split()]


def write_tables(comparison: pd.DataFrame, folder: Path, unproven: Collection[str] = ()) -> list[Path]:
    """Write leaderboard-DATASET.csv (unrounded), .md and .tex (for people); return their paths."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for dataset in sorted(set(comparison["dataset"])):
        boards = [board(comparison, dataset, classifier, unproven) for classifier in _classifiers(comparison, dataset)]
        contents = {
            "csv": wide(comparison, dataset).to_csv(index=False, lineterminator="\n"),
            "md": "\n".join(tables.markdown(one) for one in boards),
            "tex": "\n".join(tables.latex(piece) for one in boards for piece in one.split()),
        }
        for suffix, content in contents.items():
            path = folder / f"leaderboard-{dataset}.{suffix}"
            write_atomically(path, content.encode())
            written.append(path)
    return written


def _classifiers(comparison: pd.DataFrame, dataset: str) -> list[str]:
    found = sorted(set(comparison.loc[comparison["dataset"] == dataset, "classifier"]))
    if not found:
        known = ", ".join(sorted(set(comparison["dataset"])))
        raise ResultsError(f"no results on dataset '{dataset}'; there are results on {known}")
    return found


def _marks(lines: pd.DataFrame, whole: pd.Series) -> dict[tuple[str, str], str]:
    """Make what stands behind the name of each row of a board; `whole` counts the clips that it was scored on."""
    losing = lines[(lines["metric"] == SORT_METRIC) & (lines["beaten_by"] != "") & ~lines["control"]]
    beaten = set(_rows_of(losing))
    partial = set(whole.index[whole < whole.max()])
    return {row: DOUBLE_DAGGER * (row in beaten) + PARTIAL * (row in partial) for row in whole.index}


def _rows_of(lines: pd.DataFrame) -> list[tuple[str, str]]:
    return list(zip(lines["method"], lines["mask"], strict=True))


def _cells(lines: pd.DataFrame, order: list[tuple[str, str]], whole: pd.Series) -> list[Cell]:
    """Make the cells of one metric, rounded to the uncertainty; marked where a row has fewer clips than others."""
    half = (lines["high"] - lines["low"]) / 2
    judged = at_equal_area(lines)
    weak = set(_rows_of(judged[~judged["better_than_random"].fillna(True).astype(bool)]))
    most_undefined = len(str(lines["undefined"].max())) + len(" ()") if lines["undefined"].any() else 0
    decimals = _decimals(float(half[half > 0].median()), float(lines["mean"].abs().max()))
    ranked = judged[~judged["control"] & judged["rank"].notna()].sort_values("rank")
    best = set(ranked["method"][ranked["rank"] == ranked["rank"].min()])
    tied = {method for names in ranked.loc[ranked["method"].isin(best), "tied_with"] for method in names.split(";")}
    cells = []
    by_row = lines.set_index(_ROW).sort_index()
    for row in order:
        if row not in by_row.index:
            cells.append(Cell(""))
            continue
        line = by_row.loc[[row]].iloc[0]
        text = MISSING if np.isnan(line["mean"]) else f"{line['mean']:.{decimals}f}"
        width = (line["high"] - line["low"]) / 2
        tail = "" if np.isnan(width) else f" ±{width:.{decimals}f}"
        tail += DAGGER if row in weak else NO_DAGGER * bool(weak)
        tail += PARTIAL * bool(line["n"] + line["undefined"] < whole[row])
        tail += (f" ({line['undefined']})" if line["undefined"] else "").ljust(most_undefined, NO_DIGIT)
        best_here = row[0] in best | tied and row not in weak and not (line["control"] or row[1] == SOFT)
        cells.append(Cell(text, tail, best_here))
    return cells


def _decimals(half: float, largest: float) -> int:
    """Choose the decimals that show two digits of a usual half interval, at most 3 unless it would vanish."""
    if not half > 0:
        return 3 if largest < 10 else 1
    digits = -int(np.floor(np.log10(half)))
    return max(0, min(digits + 1, 3), digits)


def _short(seconds: float) -> str:
    if np.isnan(seconds):
        return MISSING
    return f"{seconds:.0f}" if seconds >= 100 else f"{seconds:.2g}"


def _training(seconds: float, parameters: float) -> str:
    """Write what fitting cost as people say it: 3 min, 350k."""
    if np.isnan(seconds):
        return MISSING
    said = tables.duration(seconds)
    if parameters < 999.5:
        return f"{said}, {parameters:.0f}"
    return f"{said}, {parameters / 1e3:.0f}k" if parameters < 999_500 else f"{said}, {parameters / 1e6:.1f}M"


def _notes(rows: tuple[Row, ...], lines: pd.DataFrame) -> tuple[str, ...]:
    """Explain the marks that occur."""
    tails = "".join(cell.tail for row in rows for cell in row.cells)
    notes = ["Bold: best method and those not significantly different from it."]
    if lines["area"].notna().any():
        notes.append(f"Masks keep or remove the top {100 * lines['area'].max():g}% of bins.")
    if any(row.apart for row in rows):
        notes.append("Soft masks: the method's own mask, of any size (column Area); not ranked with the others.")
    if "±" in tails:
        notes.append("±: half the 95% bootstrap interval over recordings.")
    if DAGGER in tails:
        notes.append(f"{DAGGER}: not significantly better than {BASELINE}.")
    names = "".join(row.name for row in rows)
    if PARTIAL in names + tails:
        notes.append(f"{PARTIAL}: on fewer clips than the rest; finish it with the command that began the run.")
    if DOUBLE_DAGGER in names:
        title = metric_class(SORT_METRIC).title
        notes.append(f"{DOUBLE_DAGGER}: a control that ignores the classifier is significantly better in {title}.")
    if "(" in tails:
        notes.append("(n): undefined on n clips, which the mean leaves out.")
    return tuple(notes)

"""Leaderboards: a comparison as tables that people read, one per group of runs and classifier."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from xaibench.errors import ResultsError
from xaibench.reports import tables
from xaibench.reports.marks import NO_MARKS, Marks, explained
from xaibench.reports.style import arrow
from xaibench.reports.tables import (
    DAGGER,
    DOUBLE_DAGGER,
    MISSING,
    NO_DAGGER,
    NO_DIGIT,
    OTHERWISE,
    PARTIAL,
    Cell,
    Row,
    Table,
)
from xaibench.results.comparison import BASELINE, CONDITIONS, at_equal_area, at_one_area
from xaibench.results.conditions import CODE
from xaibench.results.parts import SOFT
from xaibench.storage.atomic import write_atomically

if TYPE_CHECKING:
    import rich.table

_ROW = ["method", "mask"]
# A board is sorted by this metric where it was scored.
SORT_METRIC = "faithfulness"
# The columns that readers look for first, in this order; all other metrics follow by family.
FIRST_METRICS = (
    *(SORT_METRIC, "faithfulness_equal_energy", "energy_removed"),
    *("fidelity_in", "average_drop", "average_gain", "average_increase"),
    *("deletion_auc", "insertion_auc", "sparseness", "complexity"),
)


def metric_order(lines: pd.DataFrame) -> list[str]:
    """Sort the metrics of a comparison as people look for them: FIRST_METRICS, then by family and name."""
    families: dict[str, str] = dict(zip(lines["metric"], lines["family"], strict=True))
    first = [name for name in FIRST_METRICS if name in families]
    return first + sorted(families.keys() - set(first), key=lambda name: (families[name], name))


def metric_heading(name: str, lines: pd.DataFrame) -> str:
    """Write a metric's title with an arrow to its better side; `lines` of a comparison say what the metric is."""
    return f"{_title(name, lines)} {arrow(_rises(name, lines))}"


def axis_label(name: str, lines: pd.DataFrame) -> str:
    """Write a metric's name and title with an arrow along the axis to its better side."""
    return f"{name.capitalize()} ({_title(name, lines)}) {arrow(_rises(name, lines), along=True)}"


def _title(name: str, lines: pd.DataFrame) -> str:
    return str(lines.loc[lines["metric"] == name, "metric_title"].iloc[0])


def _rises(name: str, lines: pd.DataFrame) -> bool:
    return bool(lines.loc[lines["metric"] == name, "higher_is_better"].iloc[0])


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
        chosen = chosen[chosen["rank"].notna()]
        key = chosen.groupby(_ROW)["mean"].mean() * (-1 if _rises(SORT_METRIC, lines) else 1)
    else:
        key = lines.astype({"rank": float}).groupby(_ROW)["rank"].mean()
    control = lines.groupby(_ROW)["control"].first()
    place = {row: 1 if row[1] == SOFT else 2 if control[row] else 0 for row in control.index}
    return sorted(place, key=lambda row: (place[row], key.get(row, np.inf), row))


def wide(comparison: pd.DataFrame, group: str) -> pd.DataFrame:
    """Lay out one line per (classifier, method, mask) of a group, unrounded: the boards' numbers for machines.

    Columns: dataset, classifier, method, control, mask, trained, training_seconds, trained_parameters,
    accuracy, mean_rank (none for soft masks, which have other rivals), seconds_per_clip, and per metric at the
    primary area METRIC and METRIC_ + low, high, n, undefined, better_than_random; then group, protocol, seed,
    precision, compiled, fill, target, clips (the most that the method has scored) and differs_in.
    """
    lines = at_one_area(comparison[comparison["group"] == group])
    records: list[dict[str, Any]] = []
    ends: list[dict[str, Any]] = []
    for classifier, block in lines.groupby("classifier", sort=True):
        for method, mask in _row_order(block):
            own = block[(block["method"] == method) & (block["mask"] == mask)].set_index("metric")
            record: dict[str, Any] = {"dataset": own["dataset"].iloc[0], "classifier": classifier, "method": method}
            about = ("control", "mask", "trained", "training_seconds", "trained_parameters", "accuracy")
            record |= {key: own[key].iloc[0] for key in about}
            record |= {
                "mean_rank": np.nan if record["mask"] == SOFT else own["rank"].astype(float).mean(),
                "seconds_per_clip": own["seconds_per_clip"].iloc[0],
            }
            for metric in (name for name in metric_order(lines) if name in own.index):
                record[metric] = own.at[metric, "mean"]
                for key in ("low", "high", "n", "undefined", "better_than_random"):
                    record[f"{metric}_{key}"] = own.at[metric, key]
            records.append(record)
            ends.append(
                {key: own[key].iloc[0] for key in ("group", *CONDITIONS)}
                | {"clips": own["clips"].max(), "differs_in": ";".join(_named(own["differs_in"]))}
            )
    return pd.DataFrame(records).join(pd.DataFrame(ends))


def board(comparison: pd.DataFrame, group: str, classifier: str, marks: Marks = NO_MARKS) -> Table:
    """Make the leaderboard of one group of runs and classifier: methods by metrics at the primary area.

    Methods are sorted by SORT_METRIC where it was scored, else by mean rank; soft masks and then controls stand
    below. Metrics that the validation of this classifier speaks against are marked.
    """
    here = (comparison["group"] == group) & (comparison["classifier"] == classifier)
    lines = at_one_area(comparison[here])
    metrics = metric_order(lines)
    order = _row_order(lines)
    by_row = lines.drop_duplicates(_ROW).set_index(_ROW).loc[order]
    whole = lines.groupby(_ROW)["clips"].max()
    doubts = marks.get((group, classifier), {})
    headings = _headings(metrics, lines, doubts)
    columns = {headings[name]: _cells(lines[lines["metric"] == name], order, whole) for name in metrics}
    costs = [(f"s/clip {arrow(False)}", [Cell(_short(cost)) for cost in by_row["seconds_per_clip"]])]
    if by_row["trained"].any():
        training = zip(by_row["training_seconds"], by_row["trained_parameters"], strict=True)
        costs.append(("Training", [Cell(_training(*cost)) for cost in training]))
    # The cost stands where it leaves the metrics of the paper and those of localisation in one piece each.
    place = len([name for name in metrics if name in FIRST_METRICS])
    headed = list(columns.items())
    headed[place:place] = costs
    of_row = _marks(lines)
    rows = tuple(
        Row(
            row[0] + of_row[row],
            bool(by_row["control"].iloc[i]) and row[1] != SOFT,
            tuple(cells[i] for _, cells in headed),
            row[1] == SOFT,
        )
        for i, row in enumerate(order)
    )
    compared = lines["n"] + lines["undefined"]
    accuracy = lines["accuracy"].iloc[int(compared.to_numpy().argmax())]
    scored = (lines["clips"] + lines["missing"]).max()
    clips = f"{compared.max()} clips" if compared.max() == scored else f"{compared.max()} of {scored} clips"
    caption = f"{group}, {classifier}: {clips}, accuracy {accuracy:.3f}"
    notes = _notes(rows, lines) + explained(doubts[name] for name in metrics if name in doubts)
    return Table(caption, tuple(heading for heading, _ in headed), rows, notes)


def terminal_tables(comparison: pd.DataFrame, group: str, marks: Marks = NO_MARKS) -> list[rich.table.Table]:
    """Make the boards of a group for rich to print, each at most 100 characters wide."""
    boards = [board(comparison, group, classifier, marks) for classifier in _classifiers(comparison, group)]
    return [tables.terminal(piece) for one in boards for piece in one.split()]


def write_tables(comparison: pd.DataFrame, folder: Path, marks: Marks = NO_MARKS) -> list[Path]:
    """Write leaderboard-GROUP.csv (unrounded), .md and .tex (for people); return their paths.

    The only group of a dataset has the name of the dataset.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for group in sorted(set(comparison["group"])):
        boards = [board(comparison, group, classifier, marks) for classifier in _classifiers(comparison, group)]
        contents = {
            "csv": wide(comparison, group).to_csv(index=False, lineterminator="\n"),
            "md": "\n".join(tables.markdown(one) for one in boards),
            "tex": "\n".join(tables.latex(piece) for one in boards for piece in one.split()),
        }
        for suffix, content in contents.items():
            path = folder / f"leaderboard-{group}.{suffix}"
            write_atomically(path, content.encode())
            written.append(path)
    return written


def _classifiers(comparison: pd.DataFrame, group: str) -> list[str]:
    found = sorted(set(comparison.loc[comparison["group"] == group, "classifier"]))
    if not found:
        known = ", ".join(sorted(set(comparison["group"])))
        raise ResultsError(f"no results of the group '{group}'; there are results of {known}")
    return found


def row_marks(lines: pd.DataFrame) -> dict[tuple[str, str], str]:
    """Return what stands behind the name of each (method, mask) of a classifier, of all that says how it was scored.

    PARTIAL: it lacks clips that others have; OTHERWISE: it was made with other code, versions or devices.
    """
    whole = lines.groupby(_ROW)["clips"].transform("max")
    partial = set(_rows_of(lines[(lines["clips"] == whole) & (lines["missing"] > 0)]))
    otherwise = set(_rows_of(lines[lines["differs_in"] != ""]))
    return {row: PARTIAL * (row in partial) + OTHERWISE * (row in otherwise) for row in set(_rows_of(lines))}


def _named(lists: Iterable[str]) -> list[str]:
    """Name what is in lists that are separated by semicolons, each once."""
    return list(dict.fromkeys(word for one in lists for word in one.split(";") if word))


def _headings(metrics: list[str], lines: pd.DataFrame, doubts: Mapping[str, str]) -> dict[str, str]:
    """Write the heading of each metric with its mark; of metrics with the same one, the name too."""
    found = {name: metric_heading(name, lines) + doubts.get(name, "") for name in metrics}
    twice = {heading for heading, count in Counter(found.values()).items() if count > 1}
    return {name: f"{name} {heading}" if heading in twice else heading for name, heading in found.items()}


def _marks(lines: pd.DataFrame) -> dict[tuple[str, str], str]:
    """Make what stands behind the name of each row of a board."""
    losing = lines[(lines["metric"] == SORT_METRIC) & (lines["beaten_by"] != "") & ~lines["control"]]
    beaten = set(_rows_of(losing))
    return {row: DOUBLE_DAGGER * (row in beaten) + marks for row, marks in row_marks(lines).items()}


def _rows_of(lines: pd.DataFrame) -> list[tuple[str, str]]:
    return list(zip(lines["method"], lines["mask"], strict=True))


def _cells(lines: pd.DataFrame, order: list[tuple[str, str]], whole: pd.Series) -> list[Cell]:
    """Make the cells of one metric, rounded to the uncertainty; marked where it has fewer clips than others of its row.

    Args:
        lines: of the metric.
        order: of the rows.
        whole: the most clips that each row was scored on.
    """
    half = (lines["high"] - lines["low"]) / 2
    judged = at_equal_area(lines)
    weak = set(_rows_of(judged[~judged["better_than_random"].fillna(True).astype(bool)]))
    most_undefined = len(str(lines["undefined"].max())) + len(" ()") if lines["undefined"].any() else 0
    decimals = _decimals(float(half[half > 0].median()), float(lines["mean"].abs().max()))
    ranked = judged[~judged["control"] & judged["rank"].notna()].sort_values("rank")
    best = set(ranked["method"][ranked["rank"] == ranked["rank"].min()])
    tied = {method for names in ranked.loc[ranked["method"].isin(best), "tied_with"] for method in names.split(";")}
    cells = []
    by_row = dict(zip(_rows_of(lines), lines.to_dict("records"), strict=True))
    for row in order:
        if row not in by_row:
            cells.append(Cell(""))
            continue
        line = by_row[row]
        text = MISSING if np.isnan(line["mean"]) else f"{line['mean']:.{decimals}f}"
        width = (line["high"] - line["low"]) / 2
        tail = "" if np.isnan(width) else f" ±{width:.{decimals}f}"
        tail += DAGGER if row in weak else NO_DAGGER * bool(weak)
        tail += PARTIAL * bool(line["clips"] < whole[row])
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
        notes.append(f"{PARTIAL}: lacks clips that the rest has; finish it with the command that began the run.")
    notes += _notes_on_clips(lines)
    if DOUBLE_DAGGER in names:
        title = _title(SORT_METRIC, lines)
        notes.append(f"{DOUBLE_DAGGER}: a control that ignores the classifier is significantly better in {title}.")
    if "(" in tails:
        notes.append("(n): undefined on n clips, which the mean leaves out.")
    otherwise = {str(method): _named(own["differs_in"]) for method, own in lines.groupby("method")}
    named = [f"{name} ({', '.join(kinds)})" for name, kinds in otherwise.items() if kinds]
    if named:
        notes.append(f"{OTHERWISE}: made with other code, versions or devices than most: {', '.join(named)}.")
    if any(CODE in kinds for kinds in otherwise.values()):
        notes.append("The mark of code goes when 'xaibench verify RUN --rescore N' agrees.")
    return tuple(notes)


def _notes_on_clips(lines: pd.DataFrame) -> list[str]:
    """Say on how many clips methods are compared, where that is not all of those that were scored."""
    lines = at_equal_area(lines)
    compared, scored = lines["n"] + lines["undefined"], lines["clips"] + lines["missing"]
    fewer = {
        str(metric): (int(compared[own.index].max()), int(scored[own.index].max()), bool(own["rank"].notna().any()))
        for metric, own in lines.groupby("metric")
        if (own["missing"] > 0).any()
    }
    shared: dict[str, list[str]] = {}
    for metric in (name for name in metric_order(lines) if name in fewer):
        clips, of, ranked = fewer[metric]
        shared.setdefault(f"{clips} of {of}" if ranked else "", []).append(_title(metric, lines))
    apart = shared.pop("", [])
    notes = [
        f"{', '.join(titles)}: compared on the clips that all methods have, {count}."
        for count, titles in shared.items()
    ]
    return notes + [f"{', '.join(apart)}: not ranked, because no clip is shared by all methods."] * bool(apart)

"""Leaderboards: a comparison as tables that people read, one per group of runs and classifier."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from xaibench.errors import ResultsError
from xaibench.reports import board_notes, latex, tables
from xaibench.reports.leaderboard import (
    FIRST_METRICS,
    ROW,
    SORT_METRIC,
    best_methods,
    metric_heading,
    metric_order,
    metric_title,
    row_marks,
    row_order,
    rows_of,
    wide,
)
from xaibench.reports.marks import NO_MARKS, Marks, explained, marks_at
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
from xaibench.results.areas import PRIMARY_AREA
from xaibench.results.comparison import at_equal_area, at_one_area
from xaibench.results.conditions import DEVICE, THREADS
from xaibench.results.parts import SOFT
from xaibench.storage.atomic import write_atomically
from xaibench.storage.spreadsheet import csv_bytes

# Columns beside those of metrics, by the names that `wide` has for them, with their headings.
_COSTS = {"seconds_per_clip": f"s/clip {arrow(False)}", "training": "Training"}
_OVERALL = {"overall": f"Overall {arrow(False)}"}
_MOST_DIGITS = 4
_PAPER = latex.PaperConfig()


@dataclass(frozen=True, kw_only=True)
class BoardConfig:
    """What people see of a comparison. What is compared, and what is bold, does not depend on it.

    Attributes:
        columns: metrics by name or short name, such as "faithfulness" or "FF", "seconds_per_clip", "training" and
            "overall" (the place in the order over families of metrics), in this order; empty for all but "overall".
        methods: names; empty for all.
        sort: the metric, likewise, whose best method stands first; None for faithfulness where it was scored, else
            for the mean rank.
        area: share of the bins in the masks.
    """

    columns: Sequence[str] = ()
    methods: Sequence[str] = ()
    sort: str | None = None
    area: float = PRIMARY_AREA


def board(
    comparison: pd.DataFrame,
    group: str,
    classifier: str,
    marks: Marks = NO_MARKS,
    config: BoardConfig = BoardConfig(),
) -> Table:
    """Make the leaderboard of one group of runs and classifier: methods by metrics at one area.

    Soft masks and then controls stand below the methods.

    Args:
        comparison: as `results.comparison.compare` gives it.
        group: name of the group.
        classifier: name of the classifier.
        marks: of metrics that the validation of this classifier speaks against (`marks.read_marks`).
        config: what is shown.

    Raises:
        ResultsError: what is to be shown was not scored.
    """
    in_group = comparison[comparison["group"] == group]
    lines = at_one_area(in_group[in_group["classifier"] == classifier], config.area)
    keys = _chosen_columns(config.columns, in_group, others=True)
    shown = _chosen_methods(config.methods, in_group)
    order = [row for row in row_order(lines, _sort_metric(config, in_group), config.area) if row[0] in shown]
    by_row = lines.drop_duplicates(ROW).set_index(ROW).loc[order]
    whole = lines.groupby(ROW)["clips"].max()
    metrics = metric_order(lines)
    doubts = marks_at(marks, group, classifier, config.area)
    headings = _headings(metrics, lines, doubts)
    silent = _says_nothing(lines[lines["metric"].isin(keys)] if keys else lines)
    columns = {name: _cells(lines[lines["metric"] == name], order, whole, silent) for name in metrics}
    clocks = [OTHERWISE * bool({DEVICE, THREADS} & set(kinds.split(";"))) for kinds in by_row["differs_in"]]
    seconds = zip(by_row["seconds_per_clip"], clocks, strict=True)
    costs = {"seconds_per_clip": [Cell(_short(cost), mark) for cost, mark in seconds]}
    if by_row["trained"].any():
        training = zip(by_row["training_seconds"], by_row["trained_parameters"], strict=True)
        costs["training"] = [Cell(_training(*cost)) for cost in training]
    if not keys:  # the cost stands between the metrics of the paper and those of localisation
        keys = [name for name in metrics if name in FIRST_METRICS]
        keys += [*costs, *(name for name in metrics if name not in FIRST_METRICS)]
    found = columns | costs | {"overall": _places(by_row)}
    titles = headings | _COSTS | _OVERALL
    keys = [key for key in keys if key in found]
    of_row = _marks(lines, keys)
    rows = tuple(
        Row(
            row[0],
            bool(by_row["control"].iloc[i]) and row[1] != SOFT,
            tuple(found[key][i] for key in keys),
            row[1] == SOFT,
            of_row[row],
        )
        for i, row in enumerate(order)
    )
    compared = lines["n"] + lines["undefined"]
    accuracy = lines["accuracy"].iloc[int(compared.to_numpy().argmax())]
    scored = (lines["clips"] + lines["missing"]).max()
    clips = f"{compared.max()} clips" if compared.max() == scored else f"{compared.max()} of {scored} clips"
    caption = f"{group}, {classifier}: {clips}"
    if not np.isnan(accuracy):  # of a classifier that knows none of the labels there is none
        caption += f", accuracy {accuracy:.3f}"
    about = lines[lines["metric"].isin(keys) & lines["method"].isin(shown)]
    findings = board_notes.power(lines[lines["metric"].isin(keys)], silent)  # of all methods, shown or not
    findings += [*board_notes.shared_clips(about), *board_notes.made_otherwise(about)]
    notes = board_notes.notes(rows, about) + explained(doubts[key] for key in keys if key in doubts)
    full = {titles[key]: _in_full(key, lines) for key in keys if key in headings}
    legend = tuple((heading, said) for heading, said in full.items() if said)
    return Table(caption, tuple(titles[key] for key in keys), rows, notes, legend=legend, findings=tuple(findings))


def boards(
    comparison: pd.DataFrame, group: str, marks: Marks = NO_MARKS, config: BoardConfig = BoardConfig()
) -> dict[str, Table]:
    """Make the leaderboards of a group by classifier: of each that the chosen methods were scored on.

    Raises:
        ResultsError: there is no such group, or what is to be shown was not scored.
    """
    here = comparison[comparison["group"] == group]
    if here.empty:
        known = ", ".join(sorted(set(comparison["group"])))
        raise ResultsError(f"no results of the group '{group}'; there are results of {known}")
    shown = here[here["method"].isin(_chosen_methods(config.methods, here))]
    names = sorted(set(shown["classifier"]))
    return {classifier: board(here, group, classifier, marks, config) for classifier in names}


def write(
    comparison: pd.DataFrame,
    folder: Path,
    marks: Marks = NO_MARKS,
    config: BoardConfig = BoardConfig(),
    paper: latex.PaperConfig = _PAPER,
) -> list[Path]:
    """Write leaderboard-GROUP.csv (everything, unrounded), .md and .tex (for people); return their paths.

    The only group of a dataset has the name of the dataset.

    Raises:
        ResultsError: what is to be shown was not scored.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for group in sorted(set(comparison["group"])):
        made = boards(comparison, group, marks, config)
        contents = {
            "csv": csv_bytes(wide(comparison, group)),
            "md": "\n".join(map(tables.markdown, made.values())).encode(),
            "tex": _latex(comparison[comparison["group"] == group], made, config, paper).encode(),
        }
        for suffix, content in contents.items():
            path = folder / f"leaderboard-{group}.{suffix}"
            write_atomically(path, content)
            written.append(path)
    return written


def _latex(lines: pd.DataFrame, made: dict[str, Table], config: BoardConfig, paper: latex.PaperConfig) -> str:
    """Write the boards of a group as one table, in which methods have the names of papers."""
    titles = _method_titles(lines)
    renamed = {
        classifier: replace(one, rows=tuple(replace(row, name=titles[row.name]) for row in one.rows))
        for classifier, one in made.items()
    }
    order = [(titles[method], mask == SOFT) for method, mask in row_order(lines, _sort_metric(config, lines))]
    joined, above = latex.side_by_side(renamed, order, everything=bool(config.columns))
    group = lines["group"].iloc[0]
    caption = f"{group}. {'; '.join(table.caption.removeprefix(f'{group}, ') for table in made.values())}."
    label = paper.label or f"tab:{group}"
    return latex.latex(replace(joined, caption=caption), above, replace(paper, label=label))


def _method_titles(lines: pd.DataFrame) -> dict[str, str]:
    """Return the name that papers have for each method, with its settings; two of the same name keep their own."""
    found = {}
    for method, title in lines.groupby("method")["method_title"].first().items():
        _, _, settings = str(method).partition(":")
        found[str(method)] = f"{title} ({settings})" if settings else str(title)
    twice = {title for title, count in Counter(found.values()).items() if count > 1}
    return {method: method if title in twice else title for method, title in found.items()}


def _chosen_columns(names: Sequence[str], lines: pd.DataFrame, *, others: bool) -> list[str]:
    """Return metrics (and other columns) as typed: by name, or by short name in any case."""
    known = {name: metric_title(name, lines) for name in metric_order(lines)}
    known |= dict.fromkeys((*_COSTS, *_OVERALL), "") if others else {}
    by_text = {title.lower(): name for name, title in reversed(known.items())} | {name: name for name in known}
    return [_known(text, by_text.get(text) or by_text.get(text.lower()), "column", known) for text in names]


def _chosen_methods(names: Sequence[str], lines: pd.DataFrame) -> list[str]:
    known = dict.fromkeys(sorted(set(lines["method"])), "")
    return [_known(name, name if name in known else None, "method", known) for name in names] or list(known)


def _known(text: str, found: str | None, what: str, known: Mapping[str, str]) -> str:
    if not found:
        there = ", ".join(f"{name} ({title})" if title else name for name, title in known.items())
        raise ResultsError(f"there is no {what} '{text}' to show; there are {there}")
    return found


def _sort_metric(config: BoardConfig, lines: pd.DataFrame) -> str | None:
    return _chosen_columns([config.sort], lines, others=False)[0] if config.sort else None


def _in_full(name: str, lines: pd.DataFrame) -> str:
    """Say what a metric's short name stands for; nothing where it is the name itself."""
    title, full = metric_title(name, lines), name.replace("_", " ")
    return "" if full == title.lower() else f"{title}: {full}"


def _headings(metrics: list[str], lines: pd.DataFrame, doubts: Mapping[str, str]) -> dict[str, str]:
    """Write the heading of each metric with its mark; of metrics with the same one, the name too."""
    found = {name: metric_heading(name, lines) + doubts.get(name, "") for name in metrics}
    twice = {heading for heading, count in Counter(found.values()).items() if count > 1}
    return {name: f"{name} {heading}" if heading in twice else heading for name, heading in found.items()}


def _marks(lines: pd.DataFrame, keys: Collection[str]) -> dict[tuple[str, str], str]:
    """Make what stands behind the name of each row of a board of these columns."""
    losing = lines[(lines["metric"] == SORT_METRIC) & (lines["beaten_by"] != "") & ~lines["control"]]
    beaten = set(rows_of(losing)) if SORT_METRIC in keys else set()
    return {row: DOUBLE_DAGGER * (row in beaten) + marks for row, marks in row_marks(lines).items()}


def _says_nothing(lines: pd.DataFrame) -> bool:
    """Tell whether methods were compared, and no two of them told apart in any metric."""
    ranked = at_equal_area(lines).dropna(subset="rank")
    several = ranked.groupby("metric")["rank"].transform("size") > 1
    return bool(several.any() and (ranked["rank_low"] == 1).all())


def _places(lines: pd.DataFrame) -> list[Cell]:
    """Make the cells of the order over families."""
    half = (lines["overall_high"] - lines["overall_low"]) / 2
    cells = []
    for place, width in zip(lines["overall"], half, strict=True):
        tail = "" if np.isnan(width) else f" ±{width:.1f}"
        cells.append(Cell("" if np.isnan(place) else f"{place:.1f}", tail))
    return cells


def _cells(lines: pd.DataFrame, order: list[tuple[str, str]], whole: pd.Series, silent: bool) -> list[Cell]:
    """Make the cells of one metric, rounded to the uncertainty; marked where it has fewer clips than others of its row.

    Args:
        lines: of the metric.
        order: of the rows.
        whole: the most clips that each row was scored on.
        silent: whether the board tells no two rows apart, and marks none.
    """
    half = (lines["high"] - lines["low"]) / 2
    judged = at_equal_area(lines)
    weak = set() if silent else set(rows_of(judged[~judged["better_than_random"].fillna(True).astype(bool)]))
    most_undefined = len(str(lines["undefined"].max())) + len(" ()") if lines["undefined"].any() else 0
    decimals = _decimals(float(half[half > 0].median()), float(lines["mean"].abs().max()))
    leading, cells = set() if silent else best_methods(judged), []
    by_row = dict(zip(rows_of(lines), lines.to_dict("records"), strict=True))
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
        cells.append(Cell(text, tail, row[0] in leading and row[1] != SOFT))
    return cells


def _decimals(half: float, largest: float) -> int:
    """Choose the decimals that show two digits of a usual half interval, at most 3, and at most 4 digits in all.

    One digit of the half interval is shown in any case.
    """
    before = max(0, int(np.floor(np.log10(largest))) + 1) if largest > 0 else 0  # digits before the point
    if not half > 0:
        return max(0, min(3, _MOST_DIGITS - before))
    digits = -int(np.floor(np.log10(half)))
    return max(0, min(digits + 1, 3, _MOST_DIGITS - before), digits)


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

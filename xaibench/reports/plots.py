"""Write all figures of a comparison, each as a vector PDF and a PNG."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from xaibench.errors import ResultsError
from xaibench.reports import style
from xaibench.reports.agreement import agreement, can_agree
from xaibench.reports.cost import cost
from xaibench.reports.curves import CURVE_METRICS, curves, has_curves
from xaibench.reports.distribution import distribution
from xaibench.reports.forest import can_compare, forest
from xaibench.reports.heatmap import heatmap
from xaibench.reports.leaderboard import SORT_METRIC
from xaibench.reports.marks import NO_MARKS, Marks
from xaibench.reports.ranks import can_rank, ranks
from xaibench.results.comparison import at_equal_area, at_primary_area
from xaibench.results.verdicts import BASELINE

_TITLES = {
    "heatmap": "Methods by metrics",
    "ranks": "Places of the methods, and which of them the tests do not tell apart",
    "agreement": "Agreement of metrics",
    "forest": "Paired differences to the controls",
    "distribution": "Scores of the single clips",
    "cost": "Faithfulness and the time that it costs",
    "curves": "Faithfulness over the area of the mask",
}
KINDS = tuple(_TITLES)


def write_plots(rows: pd.DataFrame, comparison: pd.DataFrame, folder: Path, marks: Marks = NO_MARKS) -> list[Path]:
    """Write heatmap-, ranks-, agreement-, forest-, distribution-, cost-GROUP, curves-GROUP-CLASSIFIER as .png and .pdf.

    Args:
        rows: per-clip rows behind the comparison (`comparison.compared_rows`).
        comparison: what `comparison.compare_groups` made of these groups of runs; soft masks, of other areas, are
            left out.
        folder: made if missing.
        marks: of metrics (`marks.read_marks`).

    Returns:
        The files' paths; there are no ranks, no distribution and no cost for a group without SORT_METRIC, no forest for
        one without a control of it, no agreement of fewer than two metrics on fewer than four methods, and there are no
        curves for a classifier without a metric at several areas.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for group in sorted(set(comparison["group"])):
        lines, clips = comparison[comparison["group"] == group], rows[rows["group"] == group]
        figures = {f"heatmap-{group}": draw("heatmap", clips, lines, marks)}
        if _is_sorted(lines) and can_rank(at_primary_area(lines)):
            figures[f"ranks-{group}"] = draw("ranks", clips, lines)
        if can_agree(lines):
            figures[f"agreement-{group}"] = draw("agreement", clips, lines)
        if can_compare(lines):
            figures[f"forest-{group}"] = draw("forest", clips, lines)
        if _is_sorted(lines):
            figures[f"distribution-{group}"] = draw("distribution", clips, lines)
            figures[f"cost-{group}"] = draw("cost", clips, lines)
        for classifier in _with_curves(lines):
            figures[f"curves-{group}-{classifier}"] = curves(at_equal_area(lines), classifier)
        for name, figure in figures.items():
            written += style.save(figure, folder / name)
    return written


def draw(
    kind: str, rows: pd.DataFrame, comparison: pd.DataFrame, marks: Marks = NO_MARKS, width: float = style.WIDTH
) -> Figure:
    """Draw one figure of one group.

    Args:
        kind: of KINDS; the curves are those of the first classifier that has some.
        rows: per-clip rows behind the comparison.
        comparison: lines of one group.
        marks: of metrics.
        width: of the figure in inches; one that needs less is narrower.

    Raises:
        ResultsError: there is no such figure, or nothing that it could show.
    """
    every_area = at_equal_area(comparison)
    lines = at_primary_area(every_area)
    if kind == "heatmap":
        return heatmap(lines, marks, width)
    if kind == "agreement":
        if not can_agree(comparison):
            raise ResultsError("no agreement: it takes two metrics that were scored for four methods of a classifier")
        return agreement(lines, width)
    if kind == "ranks":
        if not can_rank(lines):
            raise ResultsError(f"no ranks: {SORT_METRIC} was not scored for two methods; choose one other metric")
        return ranks(lines, width)
    if kind == "forest":
        if not can_compare(comparison):
            raise ResultsError(f"no forest: {SORT_METRIC} was not scored for a control; add {BASELINE} to the methods")
        return forest(rows, lines, width)
    if kind == "curves":
        names = _with_curves(comparison)
        if not names:
            raise ResultsError(f"no curves: none of {', '.join(CURVE_METRICS)} was scored; add one to the metrics")
        return curves(every_area, names[0], width)
    if kind not in KINDS:
        raise ResultsError(f"there is no plot '{kind}'; there are {', '.join(KINDS)}")
    if not _is_sorted(comparison):
        raise ResultsError(f"no {kind}: {SORT_METRIC} was not scored; add it to the metrics")
    if kind == "cost":
        return cost(lines, width)
    return distribution(at_primary_area(rows[rows["metric"] == SORT_METRIC]), lines, width)


def rows_behind(rows: pd.DataFrame, lines: pd.DataFrame) -> pd.DataFrame:
    """Keep the per-clip rows of the classifiers, methods and metrics of some lines."""
    kept = [rows[column].isin(set(lines[column])) for column in ("classifier", "method", "metric")]
    return rows[kept[0] & kept[1] & kept[2]]


def title(name: str) -> str:
    """Say what a figure is, and of which runs, by the name of its file."""
    kind, _, runs = name.partition("-")
    return f"{_TITLES[kind]}: {runs}"


def caption(kind: str, figure: Figure) -> str:
    """Return the caption of a figure as text: what it is, and what is written in it about scope and marks."""
    said = figure.get_supxlabel() or figure.get_suptitle()
    return f"{_TITLES[kind]}. {' '.join(said.split())}."


def _is_sorted(comparison: pd.DataFrame) -> bool:
    lines = at_primary_area(comparison)
    return bool(lines.loc[lines["metric"] == SORT_METRIC, "mean"].notna().any())


def _with_curves(comparison: pd.DataFrame) -> list[str]:
    every_area = at_equal_area(comparison)
    return [str(name) for name, own in every_area.groupby("classifier", sort=True) if has_curves(own)]

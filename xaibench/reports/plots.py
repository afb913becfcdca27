"""Write all figures of a comparison, each as a vector PDF and a PNG."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pandas as pd

from xaibench.reports import style
from xaibench.reports.cost import cost
from xaibench.reports.curves import curves, has_curves
from xaibench.reports.distribution import distribution
from xaibench.reports.heatmap import heatmap
from xaibench.reports.leaderboard import SORT_METRIC
from xaibench.results.comparison import at_equal_area, at_primary_area


def write_plots(
    rows: pd.DataFrame, comparison: pd.DataFrame, folder: Path, unproven: Collection[str] = ()
) -> list[Path]:
    """Write heatmap-, distribution-, cost-GROUP and curves-GROUP-CLASSIFIER as .png and .pdf.

    Args:
        rows: per-clip rows behind the comparison (`comparison.compared_rows`).
        comparison: what `comparison.compare_groups` made of these groups of runs; soft masks, of other areas, are
            left out.
        folder: made if missing.
        unproven: metrics to mark (`leaderboard.unproven_metrics`).

    Returns:
        The files' paths; there is no distribution and no cost for a group without SORT_METRIC, and there are
        no curves for a classifier without a metric at several areas.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    comparison = at_equal_area(comparison)
    for group in sorted(set(comparison["group"])):
        every_area = comparison[comparison["group"] == group]
        lines = at_primary_area(every_area)
        clips = at_primary_area(rows[(rows["group"] == group) & (rows["metric"] == SORT_METRIC)])
        figures = {f"heatmap-{group}": heatmap(lines, unproven)}
        if lines.loc[lines["metric"] == SORT_METRIC, "mean"].notna().any():
            figures[f"distribution-{group}"] = distribution(clips, lines)
            figures[f"cost-{group}"] = cost(lines)
        for classifier, own in every_area.groupby("classifier", sort=True):
            if has_curves(own):
                figures[f"curves-{group}-{classifier}"] = curves(every_area, str(classifier))
        for name, figure in figures.items():
            written += style.save(figure, folder / name)
    return written

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
    runs_rows: pd.DataFrame, comparison: pd.DataFrame, folder: Path, unproven: Collection[str] = ()
) -> list[Path]:
    """Write heatmap-, distribution-, cost-DATASET and curves-DATASET-CLASSIFIER as .png and .pdf.

    Args:
        runs_rows: per-clip rows of the runs that were compared (`results.read_rows`).
        comparison: what `comparison.compare` made of these runs; soft masks, of other areas, are left out.
        folder: made if missing.
        unproven: metrics to mark (`leaderboard.unproven_metrics`).

    Returns:
        The files' paths; there is no distribution and no cost for a dataset without SORT_METRIC, and there are
        no curves for a classifier without a metric at several areas.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    comparison = at_equal_area(comparison)
    for dataset in sorted(set(comparison["dataset"])):
        every_area = comparison[comparison["dataset"] == dataset]
        lines = at_primary_area(every_area)
        rows = at_primary_area(runs_rows[(runs_rows["dataset"] == dataset) & (runs_rows["metric"] == SORT_METRIC)])
        figures = {f"heatmap-{dataset}": heatmap(lines, unproven)}
        if lines.loc[lines["metric"] == SORT_METRIC, "mean"].notna().any():
            figures[f"distribution-{dataset}"] = distribution(rows, lines)
            figures[f"cost-{dataset}"] = cost(lines)
        for classifier, own in every_area.groupby("classifier", sort=True):
            if has_curves(own):
                figures[f"curves-{dataset}-{classifier}"] = curves(every_area, str(classifier))
        for name, figure in figures.items():
            written += style.save(figure, folder / name)
    return written

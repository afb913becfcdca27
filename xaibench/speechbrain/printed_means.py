"""The means that the original recipes print, from the per-clip rows of a run of legacy-speechbrain."""

from __future__ import annotations

import numpy as np
import pandas as pd

from xaibench import registry
from xaibench.scoring.protocol import Summary

ACCURACY = "accuracy"
BATCH_CLIPS = 6  # clips in one batch of the recipes, on which their printed means depend
COLUMNS = ("dataset", "classifier", "method", "metric", "printed", "mean", "n", "batches")
_PAIR = ["dataset", "classifier", "method"]


def printed(rows: pd.DataFrame, batch_clips: int = BATCH_CLIPS) -> pd.DataFrame:
    """Compute one line per (dataset, classifier, method, metric), and one for the accuracy.

    Most lines are means over clips. The recipes keep one value per batch for SPS and COMP, the mean
    over the batch's clips, and none for a batch whose maps are all zero; they average the accuracy
    over batches too. The last batch is smaller and so weighs its clips more.

    Args:
        rows: per-clip rows in the order of the run's clips, columns as in `results.parts.SCHEMA`.
        batch_clips: clips in one batch.

    Returns:
        COLUMNS: `printed` as the recipe prints it, `mean` over the `n` defined clips.
    """
    lines = []
    for pair, block in rows.groupby(_PAIR, sort=True):
        for metric, clips in block.groupby("metric", sort=True):
            values = clips["value"].to_numpy(dtype=float)
            per_batch = _per_batch(str(metric))
            lines.append((*pair, metric, *_means(values, batch_clips, per_batch)))
        correct = block.drop_duplicates("clip")["correct"].to_numpy(dtype=float)
        lines.append((*pair, ACCURACY, *_means(correct, batch_clips, True)))
    return pd.DataFrame(lines, columns=list(COLUMNS))


def summarise(rows: pd.DataFrame) -> list[Summary]:
    """Lay out what the recipes would print of a run, one table per classifier and method."""
    return [
        Summary(
            title=f"{method} on {classifier}, {dataset}: as the original recipe prints it",
            lines=block.set_index("metric")[["printed", "mean", "n", "batches"]].rename(
                columns={"mean": "mean over clips", "n": "clips"}
            ),
            notes=("The recipe averages SPS, COMP and the accuracy over batches, whose last is smaller.",),
        )
        for (dataset, classifier, method), block in printed(rows).groupby(_PAIR, sort=True)
    ]


def _per_batch(metric: str) -> bool:
    """Tell whether the recipes average a metric over batches; of metrics that are not registered they know nothing."""
    known = metric in registry.names("metrics")
    return known and getattr(registry.load("metrics", metric), "averaged_per_batch", False)


def _means(values: np.ndarray, batch_clips: int, per_batch: bool) -> tuple[float, float, int, int]:
    """Return the printed mean, the mean over clips, the defined clips, and the batches with a value."""
    batches = [values[i : i + batch_clips] for i in range(0, len(values), batch_clips)]
    of_batches = [float(np.nanmean(batch)) for batch in batches if not np.isnan(batch).all()]
    defined = values[~np.isnan(values)]
    if not len(defined):
        return float("nan"), float("nan"), 0, 0
    mean = float(defined.mean())
    return (float(np.mean(of_batches)) if per_batch else mean), mean, len(defined), len(of_batches)

"""Places: which ranks the tests leave open, and one order over families of metrics."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from xaibench.results.parts import MetricFacts
from xaibench.results.resampling import Floats, sum_by_recording
from xaibench.results.statistics import mean_interval

BETWEEN = ";"  # separates the families of `overall_of`
BUDGETS = ("energy_removed", "mask_area")  # what a mask spends: no merit, and in no order


def rank_sets(worse: NDArray[np.bool_], ranked: NDArray[np.bool_]) -> tuple[list[int | None], list[int | None]]:
    """Find the ranks that tests of all pairs leave open for each method: those of all methods at once.

    A method stands behind all that are found better than it, and before all that are found worse. The sets hold
    together as surely as the tests do together (Mogstad, Romano, Shaikh and Wilhelm, "Inference for Ranks with
    Applications to Mobility across Neighbourhoods and Academic Achievement across Countries", 2024, section 3). Unlike
    the quantiles of resampled ranks, they also do so where many methods are nearly alike.

    Args:
        worse: (methods, methods), whether the tests find the first worse than the second.
        ranked: (methods,), which of them have a rank.

    Returns:
        The best and the worst rank of each; None for one that is not ranked.
    """
    count = int(ranked.sum())
    better, below = worse.sum(axis=1), worse.sum(axis=0)
    best = [1 + int(n) if there else None for n, there in zip(better, ranked, strict=True)]
    last = [count - int(n) if there else None for n, there in zip(below, ranked, strict=True)]
    return best, last


def overall(values: pd.DataFrame, recordings: NDArray, metrics: Mapping[str, MetricFacts]) -> pd.DataFrame:
    """Order methods over families of metrics; each family counts once, however many metrics it has.

    On every recording the methods are ranked by each metric (1 is the best, ties share a rank). Within a family, the
    mean of these ranks is ranked again; BUDGETS are left out. The mean over families is the method's place on the
    recording, and `overall` is the mean place over recordings. It is a mean over recordings, so its 95% interval is
    their bootstrap (`mean_interval`), which holds where methods are nearly alike, too. Controls are ranked with the
    methods: an order in which random is not last says little.

    Where fewer methods have a value than are compared, their ranks are stretched to the same ends. A method that lacks
    a whole family on a recording has no place there, and a recording of which a family says nothing does not count. A
    family by which no two methods can be ranked is left out.

    Args:
        values: of one classifier, a row for each (metric, method) and a column for each clip; NaN where undefined.
        recordings: the recording of each column.
        metrics: what the metrics are.

    Returns:
        Columns method, overall, overall_low, overall_high, and overall_of: the names of the families.
    """
    values = values[~values.index.get_level_values("metric").isin(BUDGETS)]
    methods = sorted(set(values.index.get_level_values("method")))
    array = values.to_numpy(float)
    defined = ~np.isnan(array)
    sums = sum_by_recording(np.where(defined, array, 0.0), recordings)
    counts = sum_by_recording(defined.astype(float), recordings)
    means = np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
    families: dict[str, list[Floats]] = {}
    names = values.index.get_level_values("metric").to_numpy(str)
    for name in np.unique(names).tolist():
        rows = np.flatnonzero(names == name)
        own = np.full((len(methods), means.shape[1]), np.nan)
        own[np.searchsorted(methods, values.index.get_level_values("method")[rows])] = means[rows]
        families.setdefault(metrics[name].family, []).append(_ranks(-metrics[name].sign * own))
    placed = {name: _ranks(_mean(np.array(ranks))) for name, ranks in sorted(families.items())}
    placed = {name: own for name, own in placed.items() if not np.isnan(own).all()}
    places = np.array([*placed.values()]).reshape(len(placed), len(methods), means.shape[1])
    complete = ~np.isnan(places).any(axis=0)
    found = mean_interval(np.where(complete, _mean(places), np.nan), np.arange(means.shape[1]))
    return pd.DataFrame(
        {
            "method": methods,
            "overall": found.mean,
            "overall_low": found.low,
            "overall_high": found.high,
            "overall_of": BETWEEN.join(placed),
        }
    )


def _ranks(values: Floats) -> Floats:
    """Rank each column of (methods, recordings), smallest first, from 1 to the number of methods."""
    there = np.count_nonzero(~np.isnan(values), axis=0)
    ranks = rankdata(values, axis=0, nan_policy="omit")
    # One value alone says nothing of an order.
    scale = np.divide(len(values) - 1, there - 1, out=np.full(there.shape, np.nan), where=there > 1)
    return np.asarray(1 + (ranks - 1) * scale)


def _mean(ranks: Floats) -> Floats:
    """Average over the first axis what is defined."""
    there = np.count_nonzero(~np.isnan(ranks), axis=0)
    return np.divide(np.nansum(ranks, axis=0), there, out=np.full(there.shape, np.nan), where=there > 0)

"""Places: which ranks the tests leave open, and one order over families of metrics."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from xaibench.results.parts import MetricFacts
from xaibench.results.statistics import Floats, mean_interval

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


def overall(rows: pd.DataFrame, metrics: Mapping[str, MetricFacts]) -> pd.DataFrame:
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
        rows: per-clip rows of one classifier, with one value for each method, metric and clip.
        metrics: what the metrics are.

    Returns:
        Columns method, mask, overall, overall_low, overall_high, and overall_of: the names of the families.
    """
    rows = rows[~rows["metric"].isin(BUDGETS)]
    known = {name: metrics[name] for name in sorted(set(rows["metric"]))}
    methods, recordings = sorted(set(rows["method"])), sorted(set(rows["src_file"]))
    means = rows.groupby(["metric", "method", "src_file"])["value"].mean().unstack("src_file")
    families: dict[str, list[Floats]] = {}
    for name, facts in known.items():
        values = means.loc[name].reindex(index=methods, columns=recordings).to_numpy(float)
        families.setdefault(facts.family, []).append(_ranks(-facts.sign * values))
    placed = {name: _ranks(_mean(np.array(ranks))) for name, ranks in sorted(families.items())}
    placed = {name: own for name, own in placed.items() if not np.isnan(own).all()}
    places = np.array([*placed.values()]).reshape(len(placed), len(methods), len(recordings))
    complete = ~np.isnan(places).any(axis=0)
    found = mean_interval(np.where(complete, _mean(places), np.nan), np.arange(len(recordings)))
    return pd.DataFrame(
        {
            "method": methods,
            "mask": rows["mask"].iloc[0] if len(rows) else "",
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

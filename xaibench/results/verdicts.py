"""Verdicts within each cell of a comparison: which methods are told apart, and the ranks that this leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xaibench.results import places, power
from xaibench.results.parts import MetricFacts
from xaibench.results.resampling import Floats
from xaibench.results.score_table import ScoreTable
from xaibench.results.statistics import ALPHA, flips_for, holm, paired_p, share_first, standard_error

# The control that every method has to beat: a mask of the same area at random bins, which is what
# a map that knows nothing of the classifier amounts to.
BASELINE = "random"
# The control that is a ceiling: it knows the ground truth, so any method may lose to it.
CEILING = "oracle"
Pairs = tuple[NDArray[np.intp], NDArray[np.intp]]


def verdicts(
    table: ScoreTable,
    means: Floats,
    comparable: NDArray[np.bool_],
    metrics: Mapping[str, MetricFacts],
    controls: set[str],
) -> pd.DataFrame:
    """Compare the methods of every cell; `comparison.compare_groups` says how.

    Args:
        table: the clips on which each cell is compared.
        means: (lines,), of its values.
        comparable: (lines,), whether its methods share a clip: where they share none, nothing is ranked.
        metrics: what the metrics are.
        controls: the names of the controls.

    Returns:
        Columns rank, rank_low, rank_high, first, tied_with, beaten_by, better_than_random and least_difference.
    """
    methods = table.lines["method"].to_numpy(str)
    control = np.isin(methods, list(controls))
    sign = np.array([metrics[name].sign for name in table.lines["metric"]])
    scored = comparable & ~np.isnan(table.values).all(axis=1)
    values, means = table.values * sign[:, None], np.where(scored, means * sign, np.nan)
    cells = table.cells()
    pairs = [_pairs(index[scored[index]]) for index in cells]
    found = [
        _judge(methods[index], means[index], control[index], _Differences(values, index, pair, p, table.recordings))
        for index, pair, p in zip(cells, pairs, _corrected(values, table.recordings, pairs), strict=True)
    ]
    rivals = [index[scored[index] & ~control[index]] for index in cells]
    lines = pd.concat(found, ignore_index=True)
    lines.index = np.concatenate(cells)
    return lines.sort_index().assign(first=share_first(values, table.recordings, rivals))


def _pairs(lines: NDArray[np.intp]) -> Pairs:
    first, second = np.triu_indices(len(lines), 1)
    return lines[first], lines[second]


def _corrected(values: Floats, recordings: NDArray, pairs: Sequence[Pairs]) -> list[Floats]:
    """Test the pairs of each cell, Holm-corrected within the cell; one draw of signs serves all cells."""
    flips = np.array([flips_for(len(first)) for first, _ in pairs])
    found: list[Floats] = [np.empty(0)] * len(pairs)
    for number in np.unique(flips):
        cells = np.flatnonzero(flips == number).tolist()
        first, second = (np.concatenate([pairs[cell][side] for cell in cells]) for side in (0, 1))
        p = paired_p(values, recordings, first, second, flips=int(number))
        ends = np.cumsum([len(pairs[cell][0]) for cell in cells])
        for cell, own in zip(cells, np.split(p, ends[:-1]), strict=True):
            found[cell] = holm(own)
    return found


class _Differences:
    """What the tests say of every two methods of one cell.

    Attributes:
        worse: (methods, methods), whether the first is found worse than the second.
        tied: likewise, whether the two are not told apart.
        untested: likewise, whether they have no common clip.
        least: the mean difference that can be shown here.
    """

    def __init__(self, values: Floats, index: NDArray[np.intp], pairs: Pairs, p: Floats, recordings: NDArray) -> None:
        first, second = (np.searchsorted(index, side) for side in pairs)
        gaps = values[pairs[0]] - values[pairs[1]]
        # Of the clips that both have, as tested: the means of all clips may point the other way.
        gap = np.zeros((len(index), len(index)))
        gap[first, second] = np.nansum(gaps, axis=1)
        gap = gap - gap.T
        self.tied, self.untested = np.zeros_like(gap, bool), np.zeros_like(gap, bool)
        self.tied[first, second] = self.tied[second, first] = ~(p <= ALPHA)  # p is NaN without a common clip
        self.untested[first, second] = self.untested[second, first] = np.isnan(p)
        self.worse = (gap < 0) & ~self.tied
        errors = standard_error(gaps, recordings)
        usual = float(np.median(errors[errors > 0])) if (errors > 0).any() else np.nan
        heard, tested = recordings[~np.isnan(gaps).all(axis=0)], int((~np.isnan(p)).sum())
        self.least = power.least_difference(usual, len(np.unique(heard)), tested) if tested else np.nan


def _judge(methods: NDArray[np.str_], means: Floats, control: NDArray[np.bool_], found: _Differences) -> pd.DataFrame:
    """Ranks, ties and verdicts of one cell, a line for each of its methods; higher means are better."""
    scored = ~np.isnan(means)
    low, high = places.rank_sets(found.worse, scored)
    better: list[bool | None] = [None] * len(methods)
    for random in np.flatnonzero((methods == BASELINE) & control & scored):
        for i in np.flatnonzero(scored & ~found.untested[random]):
            better[i] = None if i == random else bool(found.worse[random, i])
    beats = (control & (methods != CEILING)) & found.worse
    return pd.DataFrame(
        {
            "rank": pd.Series(means).rank(method="min", ascending=False).astype("Int64"),
            "rank_low": pd.array(low, dtype="Int64"),
            "rank_high": pd.array(high, dtype="Int64"),
            "tied_with": [";".join(methods[row]) for row in found.tied],
            "beaten_by": [";".join(methods[row]) for row in beats],
            "better_than_random": pd.array(better, dtype="boolean"),
            "least_difference": found.least,
        }
    )

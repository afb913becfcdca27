"""Which method is better, by how much and how surely: per-clip rows become one line per method, metric and area."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xaibench.results import conditions, places, power, selection, store
from xaibench.results.areas import PRIMARY_AREA
from xaibench.results.parts import EQUAL_AREA, SOFT, MetricFacts, metrics_of
from xaibench.results.selection import Group
from xaibench.results.statistics import ALPHA, Floats, corrected_p, mean_interval, share_first, standard_error

# The control that every method has to beat: a mask of the same area at random bins, which is what
# a map that knows nothing of the classifier amounts to.
BASELINE = "random"
# The control that is a ceiling: it knows the ground truth, so any method may lose to it.
CEILING = "oracle"
# Columns that say under which conditions a group of runs was made, beside its dataset.
CONDITIONS = ("protocol", "seed", "precision", "compiled", "fill", "target", "long")
COLUMNS = (
    *("dataset", "classifier", "method", "metric", "area", "mean", "low", "high", "n", "undefined", "accuracy"),
    *("rank", "rank_low", "rank_high", "first"),
    *(
        "tied_with",
        "beaten_by",
        "better_than_random",
        "least_difference",
        "overall",
        "overall_low",
        "overall_high",
        "overall_of",
        "seconds_per_clip",
        "peak_memory_mb",
        "native_resolution",
        "polarity",
    ),
    *("control", "trained", "mask", "training_seconds", "trained_parameters"),
    *("method_title", "metric_title", "family", "higher_is_better"),
    *("group", *CONDITIONS, "clips", "missing", "unreadable", "recordings", "differs_in"),
)
_LINE = ["metric", "area", "mask", "method"]
_PAIR = ["classifier", "method", "mask"]
_CELL = ["classifier", "metric", "area", "mask"]
_NO_AREA = -1.0  # stands for NaN while grouping, which drops NaN keys


def compare(runs: Sequence[Path]) -> pd.DataFrame:
    """One line per (group of runs, classifier, method, metric, area); see `compare_groups`.

    Args:
        runs: folders written by `xaibench run`; those that may be compared are grouped (`selection.group`).

    Raises:
        ResultsError: a folder cannot be read; runs contradict each other.
    """
    return compare_groups(selection.group(runs))


def compare_groups(groups: Sequence[Group]) -> pd.DataFrame:
    """One line per (group of runs, classifier, method, metric, area).

    All methods and controls of a cell (same group, classifier, metric and area; soft masks, whose area is their
    own, form a cell of their own) are compared on the clips that all of them have scored, which are from so many
    `recordings`. `clips` is how many a method has scored itself, `missing` how many others have scored and it has not,
    and `unreadable` how many clips the runs left out because they could not be read. In a cell without a shared
    clip nothing is ranked, and each line is of its own clips.

    Means are over the `n` clips where the metric is defined; `undefined` clips are only counted.
    `low` and `high` bound the mean with 95% confidence over recordings (`statistics.mean_interval`). `rank` is 1 for
    the best of the cell.

    All verdicts of a cell are read from one family of tests: a paired two-sided test of every two methods, which flips
    the signs of recordings, Holm-corrected over all pairs. Two methods are `tied_with` each other unless it separates
    them; `beaten_by` names the controls (but CEILING) that it finds better; `better_than_random` says whether it finds
    the method better than BASELINE, and is missing where there is nothing to test. From `rank_low` to `rank_high` are
    the ranks that it leaves open, of all methods at once with 95% confidence (`places.rank_sets`). `first` is the share
    of resamples of the recordings in which the method has the best mean of those that are no controls.
    `least_difference` is what a mean difference in the cell must be for these recordings to show it in 4 of 5 samples
    of such (`power.least_difference`), infinite where they are too few to show any.

    `overall` is the place of the method in the order over families of metrics, with its interval, and `overall_of`
    names these families (`places.overall`); soft masks have none. `mask` is
    EQUAL_AREA or SOFT; `training_seconds` and `trained_parameters` are what fitting the method cost,
    missing for one that is not `trained`. `differs_in` says what a line was made with that most were not
    (`conditions.differences`). `method_title`, `metric_title`, `family` and `higher_is_better` are what the runs
    say of method and metric.

    Returns:
        COLUMNS, sorted by dataset, group, classifier, metric, area, rank.

    Raises:
        ResultsError: sound, weights or parameters differ within a group.
    """
    lines = pd.concat([_compare_group(one) for one in groups], ignore_index=True)
    lines["area"] = lines["area"].mask(lines["area"] == _NO_AREA)
    order = ["dataset", "group", "classifier", "metric", "area", "mask", "rank", "method"]
    return lines.sort_values(order, ignore_index=True)[list(COLUMNS)]


def compared_rows(groups: Sequence[Group]) -> pd.DataFrame:
    """The per-clip rows behind `compare_groups`, columns as in `parts.SCHEMA` and `group`."""
    rows = pd.concat([_shared(_rows(one)) for one in groups], ignore_index=True)
    return rows.assign(area=rows["area"].mask(rows["area"] == _NO_AREA))


def at_equal_area(lines: pd.DataFrame) -> pd.DataFrame:
    """The lines of a comparison without those of soft masks, which no other method is to be judged by."""
    return lines[lines["mask"] != SOFT]


def at_one_area(lines: pd.DataFrame, area: float = PRIMARY_AREA) -> pd.DataFrame:
    """The lines (or per-clip rows) at one area, and those without one: of soft masks, of metrics of no mask."""
    return lines[lines["area"].isna() | np.isclose(lines["area"], area)]


def at_primary_area(lines: pd.DataFrame) -> pd.DataFrame:
    """The lines (or per-clip rows) at the primary area, and those of metrics without a mask.

    Where there is a column `mask`, without those of soft masks, which have no area either.
    """
    return at_one_area(at_equal_area(lines) if "mask" in lines else lines)


def by_clip(rows: pd.DataFrame, line: list[str]) -> tuple[pd.DataFrame, NDArray[np.str_]]:
    """Arrange per-clip rows as a table with one column per clip.

    Args:
        rows: with columns clip, src_file and value; at most one row per line and clip.
        line: columns that tell one line of the table from another.

    Returns:
        Values (lines, clips), both sorted, NaN where undefined or not scored; and the recording of each clip, (clips,).
    """
    values = rows.set_index([*line, "clip"])["value"].unstack("clip")
    recordings = rows.drop_duplicates("clip").set_index("clip")["src_file"].reindex(values.columns)
    return values.astype(float), recordings.to_numpy(str)


def summarise(values: pd.DataFrame, recordings: NDArray, ranges: Floats | None = None) -> pd.DataFrame:
    """Average each line of `by_clip`: mean and 95% interval (low, high) over its n defined clips.

    Args:
        values, recordings: as `by_clip` gives them.
        ranges: (lines, 2), the smallest and largest value that each line may have, or None where nobody knows.
    """
    found = mean_interval(values.to_numpy(), recordings, ranges=ranges)
    n = values.notna().sum(axis=1)
    return pd.DataFrame({"mean": found.mean, "low": found.low, "high": found.high, "n": n}, values.index)


def _compare_group(group: Group) -> pd.DataFrame:
    """Compute the lines of one group."""
    conditions.refuse_mixtures(group.parts)
    rows, costs, metrics = _rows(group), _read_costs(group), metrics_of(group.parts)
    controls = set(costs.loc[costs["control"], "method"])
    clips = _count_clips(rows)
    blocks = [
        _compare_block(block, clips.loc[[name]].droplevel(0), controls, metrics).assign(classifier=str(name))
        for name, block in _shared(rows).groupby("classifier", sort=True)
    ]
    about = group.conditions
    return (
        pd.concat(blocks, ignore_index=True)
        .merge(costs, on=_PAIR, how="left", validate="many_to_one")
        .merge(conditions.differences(group.parts), on=[*_PAIR, "metric"], how="left", validate="many_to_one")
        .assign(
            group=group.name,
            unreadable=len({clip for run in group.runs for clip in store.read_manifest(run).unreadable}),
            **{key: getattr(about, key) for key in ("dataset", *CONDITIONS)},
        )
    )


def _rows(group: Group) -> pd.DataFrame:
    rows = group.rows()
    return rows.assign(area=rows["area"].fillna(_NO_AREA))


def _shared(rows: pd.DataFrame) -> pd.DataFrame:
    """Keep of each cell the clips that all of its methods have scored, or all clips where no clip is shared."""
    shared = _is_shared(rows)
    return rows[shared | ~shared.groupby([rows[key] for key in _CELL]).transform("any")]


def _is_shared(rows: pd.DataFrame) -> pd.Series:
    methods = rows.groupby(_CELL)["method"].transform("nunique")
    return rows.groupby([*_CELL, "clip"])["method"].transform("size") == methods


def _count_clips(rows: pd.DataFrame) -> pd.DataFrame:
    """Count the clips of each line (classifier, *_LINE): its own, those it lacks, and those of the cell's methods."""
    rows = rows.assign(shared=_is_shared(rows), known=rows.groupby(_CELL)["clip"].transform("nunique"))
    counts = rows.groupby(["classifier", *_LINE]).agg(
        clips=("clip", "size"), known=("known", "first"), comparable=("shared", "any")
    )
    return counts.assign(missing=counts["known"] - counts["clips"]).drop(columns="known")


def _read_costs(group: Group) -> pd.DataFrame:
    """What each (classifier, method, mask) cost and is, over the runs of a group."""
    costs = pd.concat([store.read_costs(run) for run in group.runs], ignore_index=True)
    costs["seconds"] = costs["explain_seconds_per_clip"] * costs["clips"]
    costs["memory"] = costs["peak_memory_bytes"].astype(float)
    costs["native_resolution"] = [f"{f}x{t}" for f, t in zip(costs["native_freq"], costs["native_time"], strict=True)]
    first = (
        *("native_resolution", "method_title", "polarity", "control"),
        *("trained", "training_seconds", "trained_parameters"),
    )
    same = {key: (key, "first") for key in first}
    merged = costs.groupby(_PAIR, as_index=False).agg(
        seconds=("seconds", "sum"), explained=("clips", "sum"), memory=("memory", "max"), **same
    )
    merged["seconds_per_clip"] = merged["seconds"] / merged["explained"]
    merged["peak_memory_mb"] = merged["memory"] / 1e6
    return merged.drop(columns=["seconds", "explained", "memory"])


def _compare_block(
    rows: pd.DataFrame, clips: pd.DataFrame, controls: set[str], metrics: Mapping[str, MetricFacts]
) -> pd.DataFrame:
    """Compute the lines of one group and classifier.

    Args:
        rows: of the clips on which each cell is compared.
        clips: what `_count_clips` says of each line.
        controls: the names of its controls.
        metrics: what the metrics are.
    """
    values, recordings = by_clip(rows, _LINE)
    rows = rows.assign(correct=rows["correct"].astype(float))  # it may be null
    scored = rows.groupby(_LINE).agg(
        accuracy=("correct", "mean"), size=("clip", "size"), recordings=("src_file", "nunique")
    )
    ranges = np.array([metrics[str(name)].range for name in values.index.get_level_values("metric")])
    lines = summarise(values, recordings, ranges).join(scored).join(clips).reset_index()
    lines["undefined"] = lines["size"] - lines["n"]
    array, cells = values.to_numpy(), []
    for (metric, _, _), cell in lines.groupby(["metric", "area", "mask"], sort=True):
        sign = metrics[str(metric)].sign
        higher = array[cell.index] * sign
        if not cell["comparable"].all():
            higher = np.full_like(higher, np.nan)  # no clip is shared: there is nothing to rank
        cells.append(_judge(cell, higher, sign, recordings, controls))
    about = {name: metrics[str(name)] for name in lines["metric"].unique()}
    lines["metric_title"] = [about[name].title for name in lines["metric"]]
    lines["family"] = [about[name].family for name in lines["metric"]]
    lines["higher_is_better"] = [about[name].higher_is_better for name in lines["metric"]]
    judged = rows[rows["mask"] == EQUAL_AREA]
    order = places.overall(at_one_area(judged.assign(area=judged["area"].mask(judged["area"] == _NO_AREA))), metrics)
    return lines.join(pd.concat(cells)).merge(order, on=["method", "mask"], how="left", validate="many_to_one")


def _judge(cell: pd.DataFrame, values: Floats, sign: int, recordings: NDArray, controls: set[str]) -> pd.DataFrame:
    """Ranks, ties and verdicts in one cell; in `values` (methods, clips) higher is better."""
    methods = cell["method"].to_numpy(str)
    scored = np.count_nonzero(~np.isnan(values), axis=1) > 0
    first, second = np.triu_indices(len(methods), 1)
    both = scored[first] & scored[second]
    first, second = first[both], second[both]
    gaps = values[first] - values[second]
    p = corrected_p(gaps, recordings, "two-sided")
    # Of the clips that both have, as tested: the means of all clips may point the other way.
    gap = np.zeros((len(methods), len(methods)))
    gap[first, second] = np.nansum(gaps, axis=1)
    gap = gap - gap.T
    tied = np.zeros((len(methods), len(methods)), dtype=bool)
    tied[first, second] = tied[second, first] = ~(p <= ALPHA)  # without a common clip, p is NaN: not told apart
    untested = np.zeros_like(tied)
    untested[first, second] = untested[second, first] = np.isnan(p)
    worse = (gap < 0) & ~tied
    low, high = places.rank_sets(worse, scored)

    better: list[bool | None] = [None] * len(methods)
    for random in (i for i, name in enumerate(methods) if name == BASELINE and name in controls and scored[i]):
        for i in np.flatnonzero(scored & ~untested[random]):
            better[i] = None if i == random else bool(worse[random, i])
    means = np.where(scored, cell["mean"].to_numpy(float) * sign, np.nan)
    control = np.array([method in controls for method in methods])
    rivals = scored & ~control
    shares = np.full(len(methods), np.nan)
    shares[rivals] = share_first(values[rivals], recordings)
    errors = standard_error(gaps, recordings)
    usual = float(np.median(errors[errors > 0])) if (errors > 0).any() else np.nan
    recorded = len(np.unique(recordings))
    beats = (control & (methods != CEILING)) & worse
    return pd.DataFrame(
        {
            "rank": pd.Series(means, index=cell.index).rank(method="min", ascending=False).astype("Int64"),
            "rank_low": pd.array(low, dtype="Int64"),
            "rank_high": pd.array(high, dtype="Int64"),
            "first": shares,
            "tied_with": [";".join(methods[row]) for row in tied],
            "beaten_by": [";".join(methods[row]) for row in beats],
            "better_than_random": pd.array(better, dtype="boolean"),
            "least_difference": power.least_difference(usual, recorded, len(p)) if len(p) else np.nan,
        },
        index=cell.index,
    )

"""Which method is better, by how much and how surely: per-clip rows become one line per method, metric and area."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xaibench.results import conditions, places, selection, store
from xaibench.results.areas import PRIMARY_AREA
from xaibench.results.parts import EQUAL_AREA, SOFT, MetricFacts, metrics_of
from xaibench.results.resampling import Floats
from xaibench.results.score_table import CELL, NO_AREA, ScoreTable, score_table
from xaibench.results.selection import Group
from xaibench.results.statistics import mean_interval
from xaibench.results.verdicts import verdicts

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
_PAIR = ["classifier", "method", "mask"]
_COSTS = (
    *("native_resolution", "method_title", "polarity", "control", "trained", "training_seconds"),
    *("trained_parameters", "seconds_per_clip", "peak_memory_mb"),
)


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
    lines["area"] = lines["area"].mask(lines["area"] == NO_AREA)
    order = ["dataset", "group", "classifier", "metric", "area", "mask", "rank", "method"]
    return lines.sort_values(order, ignore_index=True)[list(COLUMNS)]


def compared_rows(groups: Sequence[Group]) -> pd.DataFrame:
    """The per-clip rows behind `compare_groups`, columns as in `parts.SCHEMA` and `group`."""
    return pd.concat([_shared(one.rows()) for one in groups], ignore_index=True)


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
    costs, metrics = _costs(group), metrics_of(group.parts)
    controls = set(costs.loc[costs["control"], "method"])
    blocks = [
        _compare_block(score_table(parts), controls, metrics).assign(classifier=name)
        for name, parts in group.by_classifier().items()
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


def _shared(rows: pd.DataFrame) -> pd.DataFrame:
    """Keep of each cell the clips that all of its methods have scored, or all clips where no clip is shared."""
    key = [rows[name] if name != "area" else rows[name].fillna(NO_AREA) for name in ("classifier", *CELL)]
    methods = rows.groupby(key)["method"].transform("nunique")
    shared = rows.groupby([*key, "clip"])["method"].transform("size") == methods
    return rows[shared | ~shared.groupby(key).transform("any")]


def _costs(group: Group) -> pd.DataFrame:
    """What each (classifier, method, mask) cost and is, over the runs of a group."""
    costs = store.costs(group.parts)
    costs["native_resolution"] = [f"{f}x{t}" for f, t in zip(costs["native_freq"], costs["native_time"], strict=True)]
    costs["peak_memory_mb"] = costs["peak_memory_bytes"].astype(float) / 1e6
    costs["seconds_per_clip"] = costs["explain_seconds_per_clip"]
    return costs[[*_PAIR, *_COSTS]]


def _compare_block(table: ScoreTable, controls: set[str], metrics: Mapping[str, MetricFacts]) -> pd.DataFrame:
    """Compute the lines of one group and classifier.

    Args:
        table: all of its scores.
        controls: the names of its controls.
        metrics: what the metrics are.
    """
    clips = table.counts()
    table, comparable = table.shared()
    about = [metrics[name] for name in table.lines["metric"]]
    values = pd.DataFrame(table.values, pd.MultiIndex.from_frame(table.lines), table.clips)
    lines = summarise(values, table.recordings, np.array([one.range for one in about])).reset_index()
    lines = lines.join(table.summary()).join(clips)
    lines["undefined"] = lines["size"] - lines["n"]
    lines["metric_title"] = [one.title for one in about]
    lines["family"] = [one.family for one in about]
    lines["higher_is_better"] = [one.higher_is_better for one in about]
    lines = lines.join(verdicts(table, lines["mean"].to_numpy(), comparable, metrics, controls))
    judged = (lines["mask"] == EQUAL_AREA) & (lines["area"].eq(NO_AREA) | np.isclose(lines["area"], PRIMARY_AREA))
    order = places.overall(values[judged.to_numpy()].droplevel(["area", "mask"]), table.recordings, metrics)
    return lines.merge(order.assign(mask=EQUAL_AREA), on=["method", "mask"], how="left", validate="many_to_one")

"""Which method is better, by how much and how surely: per-clip rows become one line per method, metric and area."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xaibench import registry
from xaibench.errors import RegistryError, ResultsError
from xaibench.results import parts, store
from xaibench.results.areas import PRIMARY_AREA
from xaibench.results.parts import SOFT
from xaibench.results.statistics import ALPHA, Floats, corrected_p, mean_interval

# The control that every method has to beat: a mask of the same area at random bins, which is what
# a map that knows nothing of the classifier amounts to.
BASELINE = "random"
# The control that is a ceiling: it knows the ground truth, so any method may lose to it.
CEILING = "oracle"
COLUMNS = (
    *("dataset", "classifier", "method", "metric", "area", "mean", "low", "high", "n", "undefined", "accuracy", "rank"),
    *(
        "tied_with",
        "beaten_by",
        "better_than_random",
        "seconds_per_clip",
        "peak_memory_mb",
        "native_resolution",
        "polarity",
    ),
    *("control", "trained", "mask", "training_seconds", "trained_parameters"),
)
_LINE = ["metric", "area", "mask", "method"]
_PAIR = ["dataset", "classifier", "method", "mask"]
_NO_AREA = -1.0  # stands for NaN while grouping, which drops NaN keys


def compare(runs: list[Path]) -> pd.DataFrame:
    """One line per (dataset, classifier, method, metric, area) of one or more runs.

    Means are over the `n` clips where the metric is defined; `undefined` clips are only counted.
    `low` and `high` bound the mean with 95% confidence over recordings. `rank` is 1 for the best of
    all methods and controls of a cell (same dataset, classifier, metric and area; soft masks, whose
    area is their own, form a cell of their own). Two methods are
    `tied_with` each other unless a paired two-sided test, Holm-corrected over all pairs of the
    cell, separates them; `beaten_by` names the controls (but CEILING) that the same test finds better;
    `better_than_random` is a paired one-sided test against BASELINE,
    Holm-corrected over the methods of the cell, and missing where there is nothing to test. `mask` is
    EQUAL_AREA or SOFT; `training_seconds` and `trained_parameters` are what fitting the method cost,
    missing for one that is not `trained`.

    Args:
        runs: folders written by `xaibench run`, of any datasets; none may score a clip again.

    Returns:
        COLUMNS, sorted by dataset, classifier, metric, area, rank.

    Raises:
        ResultsError: a folder cannot be read; runs contradict each other; a metric is not installed.
    """
    if not runs:
        raise ResultsError("no run to compare; make one with 'xaibench run'")
    rows = _read_rows(runs)
    costs = _read_costs(runs)
    controls = set(costs.loc[costs["control"], "method"])
    blocks = [
        _compare_block(block, controls).assign(dataset=str(dataset), classifier=str(classifier))
        for (dataset, classifier), block in rows.groupby(["dataset", "classifier"], sort=True)
    ]
    lines = pd.concat(blocks, ignore_index=True).merge(costs, on=_PAIR, how="left", validate="many_to_one")
    lines["area"] = lines["area"].mask(lines["area"] == _NO_AREA)
    order = ["dataset", "classifier", "metric", "area", "mask", "rank", "method"]
    return lines.sort_values(order, ignore_index=True)[list(COLUMNS)]


class MetricFacts(Protocol):
    """What a metric's class says of itself, as far as comparisons and reports read it."""

    title: str
    family: str
    higher_is_better: bool
    needs_ground_truth: bool


def metric_class(name: str) -> MetricFacts:
    """Load the class of a row's metric, which knows its title, family and direction.

    Raises:
        ResultsError: it is not installed here.
    """
    try:
        found: MetricFacts = registry.load("metrics", name)
        return found
    except RegistryError as error:
        raise ResultsError(
            f"the results hold the metric '{name}', whose direction is unknown here ({error}); "
            "install the package that provides it"
        ) from error


def at_equal_area(lines: pd.DataFrame) -> pd.DataFrame:
    """The lines of a comparison without those of soft masks, which no other method is to be judged by."""
    return lines[lines["mask"] != SOFT]


def at_one_area(lines: pd.DataFrame) -> pd.DataFrame:
    """The lines (or per-clip rows) at the primary area, and those without one: of soft masks, of metrics of no mask."""
    return lines[lines["area"].isna() | np.isclose(lines["area"], PRIMARY_AREA)]


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


def summarise(values: pd.DataFrame, recordings: NDArray) -> pd.DataFrame:
    """Average each line of `by_clip`: mean and 95% interval (low, high) over its n defined clips."""
    found = mean_interval(values.to_numpy(), recordings)
    n = values.notna().sum(axis=1)
    return pd.DataFrame({"mean": found.mean, "low": found.low, "high": found.high, "n": n}, values.index)


def sign(metric: str) -> int:
    """1 where higher is better, else -1."""
    return 1 if metric_class(metric).higher_is_better else -1


def _read_rows(runs: list[Path]) -> pd.DataFrame:
    """Rows of all runs, each clip scored once."""
    rows = pd.concat([store.read_rows(run).assign(run=str(run)) for run in runs], ignore_index=True)
    rows["area"] = rows["area"].fillna(_NO_AREA)
    twice = rows[rows.duplicated([*_PAIR, "metric", "area", "clip"], keep=False)]
    if len(twice):
        one = twice.iloc[0]
        where = " and ".join(sorted(set(twice.loc[twice["clip"] == one["clip"], "run"])))
        raise ResultsError(
            f"clip {one['clip']} of {one['dataset']} is scored more than once for '{one['method']}' on "
            f"{one['classifier']} ({where}); compare one of these runs at a time"
        )
    for dataset, protocols in rows.groupby("dataset")["protocol"].unique().items():
        if len(protocols) > 1:
            raise ResultsError(
                f"the runs on {dataset} follow different protocols ({', '.join(sorted(protocols))}), whose "
                "numbers mean different things; compare one protocol at a time"
            )
    return rows


def _read_costs(runs: list[Path]) -> pd.DataFrame:
    """What each (dataset, classifier, method) cost and is, over all runs."""
    _check_conditions(runs)
    _check_classifiers(runs)
    pieces = []
    for run in runs:
        pieces.append(store.read_costs(run).assign(dataset=store.read_manifest(run).dataset))
    costs = pd.concat(pieces, ignore_index=True)
    costs["seconds"] = costs["explain_seconds_per_clip"] * costs["clips"]
    costs["memory"] = costs["peak_memory_bytes"].astype(float)
    costs["native_resolution"] = [f"{f}x{t}" for f, t in zip(costs["native_freq"], costs["native_time"], strict=True)]
    first = ("native_resolution", "polarity", "control", "trained", "training_seconds", "trained_parameters")
    same = {key: (key, "first") for key in first}
    merged = costs.groupby(_PAIR, as_index=False).agg(
        seconds=("seconds", "sum"), clips=("clips", "sum"), memory=("memory", "max"), **same
    )
    merged["seconds_per_clip"] = merged["seconds"] / merged["clips"]
    merged["peak_memory_mb"] = merged["memory"] / 1e6
    return merged.drop(columns=["seconds", "clips", "memory"])


def _read_infos(run: Path) -> list[tuple[Path, parts.PartInfo]]:
    """Paths of all parts and what each was made with."""
    return [(path, parts.read_info(path)) for path in store.parts_of(run)]


def _check_conditions(runs: list[Path]) -> None:
    """Runs on one dataset may differ in folds and clips, and in nothing else."""
    known: dict[str, tuple[store.Manifest, Path]] = {}
    for run in runs:
        manifest = store.read_manifest(run)
        first, where = known.setdefault(manifest.dataset, (manifest, run))
        for key in ("dataset_fingerprint", "seed", "precision", "compiled"):
            ours, theirs = getattr(manifest, key), getattr(first, key)
            if ours != theirs:
                raise ResultsError(
                    f"{run} and {where} cannot be compared: {key.replace('_', ' ')} {ours} and {theirs}; "
                    "compare one of these runs at a time"
                )


def _check_classifiers(runs: list[Path]) -> None:
    """Methods are compared on one classifier: the parts of a clip must name the same hash."""
    known: dict[tuple[str, str, str], tuple[str, Path]] = {}
    for run in runs:
        dataset = store.read_manifest(run).dataset
        for path, info in _read_infos(run):
            classifier = path.parent.parent.name
            for clip in parts.read_part(path)[0]["clip"].unique().to_pylist():
                other, where = known.setdefault((dataset, classifier, clip), (info.classifier_sha256, path))
                if other != info.classifier_sha256:
                    raise ResultsError(
                        f"{classifier} had other weights, temperature or classes for {path.parent} than for "
                        f"{where.parent}: their scores cannot be compared; run one of them again with the other's "
                        "checkpoint"
                    )


def _compare_block(rows: pd.DataFrame, controls: set[str]) -> pd.DataFrame:
    """Compute the lines of one dataset and classifier; `controls` are the names of its controls."""
    values, recordings = by_clip(rows, _LINE)
    scored = rows.groupby(_LINE).agg(accuracy=("correct", "mean"), size=("clip", "size"))
    lines = summarise(values, recordings).join(scored).reset_index()
    lines["undefined"] = lines["size"] - lines["n"]
    array, cells = values.to_numpy(), []
    for (metric, _, _), cell in lines.groupby(["metric", "area", "mask"], sort=True):
        cells.append(_judge(cell, array[cell.index] * sign(str(metric)), recordings, controls))
    return lines.join(pd.concat(cells))


def _judge(cell: pd.DataFrame, values: Floats, recordings: NDArray, controls: set[str]) -> pd.DataFrame:
    """Rank, ties and verdict against the baseline in one cell; in `values` (methods, clips) higher is better."""
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

    better: list[bool | None] = [None] * len(methods)
    baseline = [i for i, method in enumerate(methods) if method == BASELINE and method in controls and scored[i]]
    if baseline:
        others = np.setdiff1d(np.flatnonzero(scored), baseline)
        gains = values[others] - values[baseline]
        p_better = corrected_p(gains, recordings, "greater")
        for i, p_one in zip(others, p_better, strict=True):
            better[i] = None if np.isnan(p_one) else bool(p_one <= ALPHA)
    means = cell["mean"].to_numpy(float) * np.where(scored, sign(cell["metric"].iloc[0]), 1)
    to_beat = np.array([method in controls and method != CEILING for method in methods])
    beats = to_beat & (gap < 0) & ~tied
    return pd.DataFrame(
        {
            "rank": pd.Series(means, index=cell.index).rank(method="min", ascending=False).astype("Int64"),
            "tied_with": [";".join(methods[row]) for row in tied],
            "beaten_by": [";".join(methods[row]) for row in beats],
            "better_than_random": pd.array(better, dtype="boolean"),
        },
        index=cell.index,
    )

"""Can a metric be trusted? The statistics and the verdict of each metric, from its scores of the reference maps.

Metrics that ask *where* the importance lies must see the order of the maps. Metrics that ask something else are
described, not judged.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xaibench.errors import ResultsError
from xaibench.results.comparison import at_primary_area
from xaibench.results.parts import MetricFacts
from xaibench.results.statistics import ALPHA, Floats, flips_for, holm, mean_interval, sign_flip_p
from xaibench.validation.reference_maps import DEGRADED, ENDS, ORDER, REFERENCE_MAPS

# The families whose question is where the importance lies. The others ask how much of it there is
# (complexity: moving a map's values changes nothing) or what the map does when classifier or clip
# change (robustness, randomisation, axioms), and reference maps never look at a classifier: their
# values there say nothing about the metric.
JUDGED_FAMILIES = frozenset({"faithfulness", "localisation"})
NOT_WHERE = "not a test of where"
DISCRIMINATES = "discriminates"
FAILS = "fails"
UNDECIDED = "too few recordings"
FEWEST_MAPS = 4  # fewer have no rank order to speak of
# The smallest two-sided p of n recordings is 2 / 2^n; Holm multiplies it by the number of comparisons.
FEWEST = math.ceil(math.log2(2 * len(ORDER) / ALPHA))

Pair = tuple[str, str]


def assess(rows: pd.DataFrame, metrics: Mapping[str, MetricFacts], methods: pd.DataFrame | None = None) -> pd.DataFrame:
    """Judge each metric by its scores of the reference maps: one line per (classifier, metric, area).

    Columns, in the metric's units and, where it says "gain", positive where the better map scores better:

    - metric_title, family, higher_is_better: what the metric is.
    - recordings, undefined: recordings with oracle and random defined; undefined values of all maps.
    - MAP, MAP_low, MAP_high: mean and 95% interval of a reference map.
    - A_over_B, _low, _high, _p: mean paired gain of A over B (ORDER) with its 95% interval, and p of a
      two-sided sign-flip test over recordings, Holm-corrected over ORDER.
    - spread: standard deviation between recordings of one map's values, root mean square over maps.
    - effect: mean gain of the oracle over random by its standard deviation between recordings (Cohen's d_z).
    - agreement, maps: mean Spearman correlation, over the means of so many maps, with the other metrics
      that know the ground truth.
    - graded: degraded maps that are significantly below the oracle and above random.
    - verdict: DISCRIMINATES where the ORDER's ends are significantly in order and nothing of ORDER is
      significantly reversed; FAILS, with `because` naming what is not shown or reversed; UNDECIDED with
      fewer than FEWEST recordings; NOT_WHERE for families that are not judged.

    Args:
        rows: per-clip rows of the reference maps.
        metrics: what the metrics are, by name.
        methods: per-clip rows of methods, which only the agreement looks at.

    Raises:
        ResultsError: no metric has all reference maps on all clips.
    """
    blocks = []
    for classifier, block in rows.groupby("classifier", sort=True):
        others = None if methods is None else methods[methods["classifier"] == classifier]
        lines = _assess_block(block, metrics, others)
        if len(lines):
            lines.insert(0, "classifier", str(classifier))
            blocks.append(lines)
    if not blocks:
        raise ResultsError("no metric was scored on all reference maps and clips; finish it with 'xaibench validate'")
    return pd.concat(blocks, ignore_index=True)


def _assess_block(rows: pd.DataFrame, metrics: Mapping[str, MetricFacts], methods: pd.DataFrame | None) -> pd.DataFrame:
    """Assess one classifier."""
    clips = rows.drop_duplicates("clip").sort_values("clip").set_index("clip")["src_file"]
    recordings = clips.to_numpy(str)
    records: list[dict[str, Any]] = []
    means: list[pd.Series] = []
    for _, cell in rows.groupby(["metric", "area"], sort=True, dropna=False):
        metric, area = str(cell["metric"].iloc[0]), float(cell["area"].iloc[0])
        if len(cell) < len(clips) * len(REFERENCE_MAPS):
            continue  # stopped half way; the next call scores the rest
        about = metrics[metric]
        direction = about.sign
        values = direction * _by_clip(cell, clips.index).reindex(list(REFERENCE_MAPS))
        records.append({"metric": metric, "area": area} | _record(about, values.to_numpy(float), recordings))
        means.append(values.mean(axis=1))
        if methods is not None:
            same_area = methods["area"].isna() if np.isnan(area) else np.isclose(methods["area"].astype(float), area)
            here = methods[(methods["metric"] == metric) & same_area & methods["clip"].isin(clips.index)]
            scored = here.groupby(here["method"] + ", " + here["mask"])  # a mask of its own is another map
            # A mean over fewer clips is no match for one over all.
            whole = scored["value"].mean()[scored.size() == len(clips)]
            means[-1] = pd.concat([means[-1], direction * whole])
    lines = pd.DataFrame(records)
    if len(lines):
        lines["agreement"], lines["maps"] = _agreement(lines, pd.concat(means, axis=1, ignore_index=True), metrics)
    return lines


def _by_clip(rows: pd.DataFrame, clips: pd.Index) -> pd.DataFrame:
    """Arrange the values by methods and clips."""
    return rows.pivot(index="method", columns="clip", values="value").reindex(columns=clips).astype(float)


def _record(metric: MetricFacts, values: Floats, recordings: NDArray) -> dict[str, Any]:
    """Find means, gains, spread and verdict of one metric; in `values` (maps, clips) higher is better."""
    place = {name: index for index, name in enumerate(REFERENCE_MAPS)}
    record: dict[str, Any] = {
        "metric_title": metric.title,
        "family": metric.family,
        "higher_is_better": metric.higher_is_better,
    }
    first, second = np.array([[place[a], place[b]] for a, b in ORDER]).T
    gains = values[first] - values[second]
    defined = ~np.isnan(gains[0])
    record |= {"recordings": len(set(recordings[defined])), "undefined": int(np.isnan(values).sum())}
    own = mean_interval(values, recordings)
    direction = metric.sign
    for name, index in place.items():
        ends = sorted([direction * own.low[index], direction * own.high[index]])
        record |= {name: direction * own.mean[index], f"{name}_low": ends[0], f"{name}_high": ends[1]}
    found = mean_interval(gains, recordings)
    p = holm(sign_flip_p(gains, recordings, "two-sided", flips=flips_for(len(ORDER))))
    for index, (a, b) in enumerate(ORDER):
        key = f"{a}_over_{b}"
        record |= {key: found.mean[index], f"{key}_low": found.low[index], f"{key}_high": found.high[index]}
        record[f"{key}_p"] = p[index]
    record["spread"] = np.sqrt(pd.Series([_variance(line, recordings) for line in values]).mean())
    deviation = np.sqrt(_variance(gains[0], recordings))
    with np.errstate(divide="ignore", invalid="ignore"):  # without any spread the effect is infinite, or undefined
        record["effect"] = np.divide(found.mean[0], deviation)
    gain = dict(zip(ORDER, found.mean, strict=True))
    significant = dict(zip(ORDER, p <= ALPHA, strict=True))
    forward = {pair for pair in ORDER if significant[pair] and gain[pair] > 0}
    reverse = {pair for pair in ORDER if significant[pair] and gain[pair] < 0}
    record["graded"] = ";".join(name for name in DEGRADED if {("oracle", name), (name, "random")} <= forward)
    return record | _verdict(record["family"], record["recordings"], forward, reverse)


def _verdict(family: str, recordings: int, forward: set[Pair], reverse: set[Pair]) -> dict[str, str]:
    """Judge one metric by the pairs of ORDER that are significantly in order (`forward`) or reversed."""
    if family not in JUDGED_FAMILIES:
        return {"verdict": NOT_WHERE, "because": ""}
    if recordings < FEWEST:
        return {"verdict": UNDECIDED, "because": f"{recordings} of at least {FEWEST} recordings"}
    reasons = [f"{a} > {b} not shown" for a, b in ENDS if (a, b) not in forward | reverse]
    reasons += [f"{b} > {a}" for a, b in ORDER if (a, b) in reverse]
    return {"verdict": FAILS if reasons else DISCRIMINATES, "because": "; ".join(reasons)}


def _variance(values: Floats, recordings: NDArray) -> float:
    """Return the variance between the means of recordings, NaN with fewer than two."""
    means = pd.Series(values).groupby(recordings).mean().dropna()
    return float(means.var()) if len(means) > 1 else float("nan")


def _agreement(
    lines: pd.DataFrame, means: pd.DataFrame, metrics: Mapping[str, MetricFacts]
) -> tuple[list[float], list[int]]:
    """Correlate each line with the other metrics that know the ground truth; also return over how many maps.

    Args:
        lines: metric and area of each column of `means`.
        means: (maps, lines), higher is better.
        metrics: what the metrics are.
    """
    primary = set(at_primary_area(lines).index)
    names = lines["metric"].tolist()
    knowing = [i for i, name in enumerate(names) if i in primary and metrics[name].needs_ground_truth]
    correlations = means.corr("spearman", min_periods=FEWEST_MAPS).to_numpy(float)
    agreement = []
    for i, name in enumerate(names):
        found = correlations[i, [j for j in knowing if names[j] != name]]
        found = found[~np.isnan(found)]
        agreement.append(float(found.mean()) if len(found) else float("nan"))
    return agreement, [int(count) for count in means.notna().sum()]

"""Can a metric be trusted? Statistics and verdict of each metric, from its scores of explanations of known order.

Metrics that ask *where* the importance lies must see the order of the reference maps; metrics of robustness and
randomisation must prefer a gradient method to maps that take nothing from the classifier. Metrics that ask something
else are described, not judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xaibench.errors import ResultsError
from xaibench.results.comparison import at_primary_area
from xaibench.results.parts import MetricFacts
from xaibench.results.power import recordings_for
from xaibench.results.resampling import Floats
from xaibench.results.statistics import ALPHA, flips_for, holm, mean_interval, sign_flip_p
from xaibench.validation import questions
from xaibench.validation.questions import BY_FAMILY, Pair, Question

ORDERS = "orders"
REVERSES = "reverses"
NOT_SHOWN = "not shown"
NOT_JUDGED = "not judged"
FEWEST_MAPS = 4  # fewer have no rank order to speak of
_MOST_RECORDINGS = 10_000  # a verdict that would take more is out of reach


def assess(
    rows: pd.DataFrame,
    metrics: Mapping[str, MetricFacts],
    maps: Sequence[str],
    methods: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Judge each metric by its scores of explanations: one line per (classifier, metric, area).

    Columns, in the metric's units and, where it says "gain", positive where the better explanation scores better:

    - metric_title, family, higher_is_better: what the metric is; by_construction: whether it orders the maps because
      it holds the ground truth of which they are made.
    - recordings, undefined: recordings with the first pair of explanations defined; undefined values of all.
    - MAP, MAP_low, MAP_high: mean and 95% interval of an explanation.
    - A_over_B, _low, _high, _p: mean paired gain of A over B (`Question.order`) with its 95% interval, and p of a
      two-sided sign-flip test over recordings, Holm-corrected over the pairs.
    - spread: standard deviation between recordings of one explanation's values, root mean square over all.
    - effect: mean gain of the first pair by its standard deviation between recordings (Cohen's d_z).
    - agreement, maps: of metrics that are asked where, the mean Spearman correlation, over the means of so many maps,
      with the other metrics that know the ground truth.
    - graded: degraded maps that are significantly below the oracle and above random.
    - verdict: REVERSES where a pair is significantly reversed; ORDERS where all ends are significantly in order and no
      pair is reversed; else NOT_SHOWN, at this number of recordings; `because` names the pairs. NOT_JUDGED where nobody
      knows what is right.

    Args:
        rows: per-clip rows of the reference maps and of PROBES.
        metrics: what the metrics are, by name.
        maps: names of the reference maps that the dataset has.
        methods: per-clip rows of methods, which only the agreement looks at.

    Raises:
        ResultsError: no metric has all explanations on all clips.
    """
    blocks = []
    for classifier, block in rows.groupby("classifier", sort=True):
        others = None if methods is None else methods[methods["classifier"] == classifier]
        lines = _assess_block(block, metrics, maps, others)
        if len(lines):
            lines.insert(0, "classifier", str(classifier))
            blocks.append(lines)
    if not blocks:
        raise ResultsError("no metric was scored on all reference maps and clips; finish it with 'xaibench validate'")
    return pd.concat(blocks, ignore_index=True)


def _assess_block(
    rows: pd.DataFrame, metrics: Mapping[str, MetricFacts], maps: Sequence[str], methods: pd.DataFrame | None
) -> pd.DataFrame:
    """Assess one classifier."""
    clips = rows.drop_duplicates("clip").sort_values("clip").set_index("clip")["src_file"]
    recordings = clips.to_numpy(str)
    records: list[dict[str, Any]] = []
    means: list[pd.Series] = []
    for _, cell in rows.groupby(["metric", "area"], sort=True, dropna=False):
        metric, area = str(cell["metric"].iloc[0]), float(cell["area"].iloc[0])
        about = metrics[metric]
        question = questions.question_of(about, maps)
        cell = cell[cell["method"].isin(question.maps)]
        if len(cell) < len(clips) * len(question.maps):
            continue  # stopped half way; the next call scores the rest
        direction = about.sign
        values = direction * _by_clip(cell, clips.index).reindex(list(question.maps))
        records.append({"metric": metric, "area": area} | _record(about, question, values.to_numpy(float), recordings))
        means.append(values.mean(axis=1))
        if methods is not None and about.family not in BY_FAMILY:
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


def _record(metric: MetricFacts, question: Question, values: Floats, recordings: NDArray) -> dict[str, Any]:
    """Find means, gains, spread and verdict of one metric; in `values` (maps, clips) higher is better."""
    place = {name: index for index, name in enumerate(question.maps)}
    order = question.order
    record: dict[str, Any] = {
        "metric_title": metric.title,
        "family": metric.family,
        "higher_is_better": metric.higher_is_better,
        "by_construction": questions.by_construction(metric),
    }
    first, second = np.array([[place[a], place[b]] for a, b in order]).T
    gains = values[first] - values[second]
    defined = ~np.isnan(gains[0])
    record |= {"recordings": len(set(recordings[defined])), "undefined": int(np.isnan(values).sum())}
    own = mean_interval(values, recordings)
    direction = metric.sign
    for name, index in place.items():
        ends = sorted([direction * own.low[index], direction * own.high[index]])
        record |= {name: direction * own.mean[index] + 0.0, f"{name}_low": ends[0], f"{name}_high": ends[1]}
    found = mean_interval(gains, recordings)
    p = holm(sign_flip_p(gains, recordings, "two-sided", flips=flips_for(len(order))))
    for index, (a, b) in enumerate(order):
        key = f"{a}_over_{b}"
        record |= {key: found.mean[index], f"{key}_low": found.low[index], f"{key}_high": found.high[index]}
        record[f"{key}_p"] = p[index]
    record["spread"] = np.sqrt(pd.Series([_variance(line, recordings) for line in values]).mean())
    deviations = np.sqrt([_variance(line, recordings) for line in gains])
    with np.errstate(divide="ignore", invalid="ignore"):  # without any spread the effect is infinite, or undefined
        record["effect"] = np.divide(found.mean[0], deviations[0])
    gain = dict(zip(order, found.mean, strict=True))
    significant = dict(zip(order, p <= ALPHA, strict=True))
    forward = {pair for pair in order if significant[pair] and gain[pair] > 0}
    reverse = {pair for pair in order if significant[pair] and gain[pair] < 0}
    record["graded"] = ";".join(name for name in question.degraded if {("oracle", name), (name, "random")} <= forward)
    if not questions.judged(metric):
        return record | {"verdict": NOT_JUDGED, "because": ""}
    if record["recordings"] < question.fewest:
        few = f"{record['recordings']} of at least {question.fewest} recordings"
        return record | {"verdict": NOT_SHOWN, "because": few}
    needed = {
        pair: _needed(gain[pair], deviation, len(order), record["recordings"])
        for pair, deviation in zip(order, deviations, strict=True)
    }
    return record | _verdict(question, forward, reverse, needed)


def _verdict(question: Question, forward: set[Pair], reverse: set[Pair], needed: Mapping[Pair, str]) -> dict[str, str]:
    """Judge one metric by the pairs that are significantly in order (`forward`) or reversed."""
    reversed_ = [f"{b} > {a}" for a, b in question.order if (a, b) in reverse]
    open_ = [f"{a} > {b} not shown{needed[a, b]}" for a, b in question.ends if (a, b) not in forward | reverse]
    verdict = REVERSES if reversed_ else NOT_SHOWN if open_ else ORDERS
    return {"verdict": verdict, "because": "; ".join(reversed_ + open_)}


def _needed(gain: float, deviation: float, comparisons: int, recordings: int) -> str:
    """Say how many recordings would show a gain, if it is one and they are within reach.

    Values that are far from normal may take more than the approximation says: then nothing is said.
    """
    if not (gain > 0 and deviation > 0):
        return ""
    count = recordings_for(gain, comparisons, deviation)
    return f" (about {count} recordings would)" if recordings < count <= _MOST_RECORDINGS else ""


def _variance(values: Floats, recordings: NDArray) -> float:
    """Return the variance between the means of recordings, NaN with fewer than two."""
    means = pd.Series(values).groupby(recordings).mean().dropna()
    return float(means.var()) if len(means) > 1 else float("nan")


def _agreement(
    lines: pd.DataFrame, means: pd.DataFrame, metrics: Mapping[str, MetricFacts]
) -> tuple[list[float], list[int]]:
    """Correlate each line with the other metrics that know the ground truth; also return over how many maps.

    Metrics that are asked about PROBES correlate with none.

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
        others = [] if metrics[name].family in BY_FAMILY else [j for j in knowing if names[j] != name]
        found = correlations[i, others]
        found = found[~np.isnan(found)]
        agreement.append(float(found.mean()) if len(found) else float("nan"))
    return agreement, [int(count) for count in means.notna().sum()]

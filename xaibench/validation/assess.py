"""Can a metric be trusted? Maps whose order is known are scored, and a metric must see that order.

The maps (yardsticks) are made from the known evidence of synthetic clips, from their energy or from
nothing, never from the classifier. A metric that asks *where* the importance lies must put the known
evidence above random bins and above what is loud beside the evidence, and degraded evidence between
the known evidence and random bins. Metrics that ask something else are described, not judged.
"""

from __future__ import annotations

import abc
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from xaibench.classifiers.base import Classifier
from xaibench.errors import ResultsError
from xaibench.explaining.explainer import Explainer
from xaibench.explaining.explanation import Explanation
from xaibench.reports import tables
from xaibench.reports.leaderboard import metric_heading, metric_order
from xaibench.reports.tables import MISSING, UNPROVEN, Cell, Row, Table
from xaibench.results import parts, store
from xaibench.results.comparison import at_primary_area, metric_class
from xaibench.results.statistics import ALPHA, Floats, flips_for, holm, mean_interval, sign_flip_p
from xaibench.scoring import protocol
from xaibench.sound.batch import Batch
from xaibench.storage.atomic import write_atomically

DATASET = "synth"
FOLDS = (5,)
# 0.25 s: what is left of the evidence under its shifted copy is 36% on average.
SHIFT = 0.05
# The families whose question is where the importance lies. The others ask how much of it there is
# (complexity: moving a map's values changes nothing) or what the map does when classifier or clip
# change (robustness, randomisation, axioms), and yardsticks never look at a classifier: their values
# there say nothing about the metric.
JUDGED_FAMILIES = frozenset({"faithfulness", "localisation"})
NOT_WHERE = "not a test of where"
DISCRIMINATES = "discriminates"
FAILS = "fails"
UNDECIDED = "too few recordings"


class _Yardstick(Explainer):
    reference = "xaibench validate"
    polarity = "positive"
    control = True

    @abc.abstractmethod
    def weigh(self, batch: Batch) -> Tensor:
        """Non-negative importance (batch, freq, time), on any scale."""

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        maps = self.weigh(batch)
        # All of the same mass: a metric that reads the scale of a map must not tell them apart by it.
        mass = maps.sum(dim=(1, 2), keepdim=True)
        return Explanation(maps / torch.where(mass > 0, mass, 1), batch.picture_shape)


def _ground_truth(batch: Batch) -> Tensor:
    assert batch.ground_truth is not None
    return batch.ground_truth


class Oracle(_Yardstick):
    title = "Oracle"
    description = "the known evidence, its loudest bins first; zero everywhere else"
    requires = frozenset({"ground_truth"})

    def weigh(self, batch: Batch) -> Tensor:
        return batch.x * _ground_truth(batch)


class Half(_Yardstick):
    title = "Half"
    description = "the oracle without a random half of the evidence"
    requires = frozenset({"ground_truth"})

    def weigh(self, batch: Batch) -> Tensor:
        draws = [torch.rand(batch.picture_shape, generator=batch.generator(i, "half")) < 0.5 for i in range(len(batch))]
        return batch.x * _ground_truth(batch) * torch.stack(draws).to(batch.x.device)


class Shifted(_Yardstick):
    title = "Shifted"
    description = "the oracle, later by a fixed share of the clip; what leaves it at the end enters at its beginning"
    requires = frozenset({"ground_truth"})
    parameters = {"share": SHIFT}

    def weigh(self, batch: Batch) -> Tensor:
        return (batch.x * _ground_truth(batch)).roll(round(SHIFT * batch.picture_shape[1]), dims=2)


class Energy(_Yardstick):
    title = "Energy"
    description = "the spectrogram itself: the loudest bins matter most"

    def weigh(self, batch: Batch) -> Tensor:
        return batch.x


class Uniform(_Yardstick):
    title = "Uniform"
    description = "the same importance everywhere; its masks are random by the tie rule"

    def weigh(self, batch: Batch) -> Tensor:
        return torch.ones_like(batch.x)


class Random(_Yardstick):
    title = "Random"
    description = "independent uniform noise in every bin"

    def weigh(self, batch: Batch) -> Tensor:
        maps = [torch.rand(batch.picture_shape, generator=batch.generator(i, "random")) for i in range(len(batch))]
        return torch.stack(maps).to(batch.x.device)


class Inverted(_Yardstick):
    title = "Inverted"
    description = "everything but the evidence, its loudest bins first; zero on the evidence"
    requires = frozenset({"ground_truth"})

    def weigh(self, batch: Batch) -> Tensor:
        return batch.x * ~_ground_truth(batch)


YARDSTICKS: dict[str, type[_Yardstick]] = {
    kind.__name__.lower(): kind for kind in (Oracle, Half, Shifted, Energy, Uniform, Random, Inverted)
}
# What must score better than what: the ends, which a metric must tell apart, then the degraded maps between them.
ENDS = (("oracle", "random"), ("oracle", "inverted"))
BETWEEN = tuple(pair for name in ("half", "shifted") for pair in (("oracle", name), (name, "random")))
ORDER = ENDS + BETWEEN
# The smallest two-sided p of n recordings is 2 / 2^n; Holm multiplies it by the number of comparisons.
FEWEST_MAPS = 4  # fewer have no rank order to speak of
FEWEST = math.ceil(math.log2(2 * len(ORDER) / ALPHA))


def yardsticks() -> dict[str, Explainer]:
    """All yardsticks by name, best first."""
    return {name: kind() for name, kind in YARDSTICKS.items()}


def assess(rows: pd.DataFrame, methods: pd.DataFrame | None = None) -> pd.DataFrame:
    """What the yardsticks' scores say of each metric: one line per (classifier, metric, area).

    Columns, in the metric's units and, where it says "gain", positive where the better map scores better:

    - recordings, undefined: recordings with oracle and random defined; undefined values of all yardsticks.
    - YARDSTICK, YARDSTICK_low, YARDSTICK_high: mean and 95% interval.
    - A_over_B, _low, _high, _p: mean paired gain of A over B (ORDER) with its 95% interval, and p of a
      two-sided sign-flip test over recordings, Holm-corrected over ORDER.
    - spread: standard deviation between recordings of one map's values, root mean square over yardsticks.
    - effect: mean gain of the oracle over random by its standard deviation between recordings (Cohen's d_z).
    - agreement, maps: mean Spearman correlation, over the means of so many maps, with the other metrics
      that know the evidence.
    - graded: degraded maps that are significantly below the oracle and above random.
    - verdict: DISCRIMINATES where the ORDER's ends are significantly in order and nothing of ORDER is
      significantly reversed; FAILS, with `because` naming what is not shown or reversed; UNDECIDED with
      fewer than FEWEST recordings; NOT_WHERE for families that are not judged.

    Args:
        rows: per-clip rows of the yardsticks.
        methods: per-clip rows of methods, which only the agreement looks at.

    Raises:
        ResultsError: no metric has all yardsticks on all clips; a metric is not installed.
    """
    blocks = []
    for classifier, block in rows.groupby("classifier", sort=True):
        others = None if methods is None else methods[methods["classifier"] == classifier]
        lines = _assess_block(block, others)
        if len(lines):
            lines.insert(0, "classifier", str(classifier))
            blocks.append(lines)
    if not blocks:
        raise ResultsError("no metric was scored on all yardsticks and clips; finish it with 'xaibench validate'")
    return pd.concat(blocks, ignore_index=True)


def real_methods(root: Path, weights: dict[str, str]) -> pd.DataFrame:
    """Per-clip rows on DATASET of all methods but controls in the run folders below `root`.

    Args:
        root: may be missing or hold none.
        weights: `LoadedClassifier.identity` by classifier; parts made with others, or at another protocol, are
            left out.
    """
    frames = []
    try:
        runs = store.find_runs(root)
    except ResultsError:  # none yet: the yardsticks stand alone
        runs = []
    for run in runs:
        manifest = store.read_manifest(run)
        if manifest.dataset != DATASET or manifest.protocol != protocol.default().id or manifest.precision != "float32":
            continue
        for path in sorted(run.glob("*/*/part-*.parquet")):
            info = parts.read_info(path)
            if not info.method.control and weights.get(path.parent.parent.name) == info.classifier_sha256:
                frames.append(parts.read_part(path)[0].to_pandas())
    if not frames:
        return pd.DataFrame(columns=parts.SCHEMA.names)
    return pd.concat(frames, ignore_index=True).drop_duplicates(["classifier", "method", "metric", "area", "clip"])


def _assess_block(rows: pd.DataFrame, methods: pd.DataFrame | None) -> pd.DataFrame:
    """Lines of one classifier."""
    clips = rows.drop_duplicates("clip").sort_values("clip").set_index("clip")["src_file"]
    recordings = clips.to_numpy(str)
    records: list[dict[str, Any]] = []
    means: list[pd.Series] = []
    for _, cell in rows.groupby(["metric", "area"], sort=True, dropna=False):
        metric, area = str(cell["metric"].iloc[0]), float(cell["area"].iloc[0])
        if len(cell) < len(clips) * len(YARDSTICKS):
            continue  # stopped half way; the next call scores the rest
        sign = 1 if metric_class(metric).higher_is_better else -1
        values = sign * _by_clip(cell, clips.index).reindex(list(YARDSTICKS))
        records.append({"metric": metric, "area": area} | _record(metric, values.to_numpy(float), recordings, sign))
        means.append(values.mean(axis=1))
        if methods is not None:
            same_area = methods["area"].isna() if np.isnan(area) else np.isclose(methods["area"].astype(float), area)
            here = methods[(methods["metric"] == metric) & same_area & methods["clip"].isin(clips.index)]
            # A mean over fewer clips is no match for one over all.
            whole = here.groupby("method")["clip"].transform("size") == len(clips)
            means[-1] = pd.concat([means[-1], sign * here[whole].groupby("method")["value"].mean()])
    lines = pd.DataFrame(records)
    if len(lines):
        lines["agreement"], lines["maps"] = _agreement(lines, pd.concat(means, axis=1, ignore_index=True))
    return lines


def _by_clip(rows: pd.DataFrame, clips: pd.Index) -> pd.DataFrame:
    """Values, methods by clips."""
    return rows.pivot(index="method", columns="clip", values="value").reindex(columns=clips).astype(float)


def _record(metric: str, values: Floats, recordings: NDArray, sign: int) -> dict[str, Any]:
    """Means, gains, spread and verdict of one metric; in `values` (yardsticks, clips) higher is better."""
    place = {name: index for index, name in enumerate(YARDSTICKS)}
    record: dict[str, Any] = {"family": metric_class(metric).family}
    first, second = np.array([[place[a], place[b]] for a, b in ORDER]).T
    gains = values[first] - values[second]
    defined = ~np.isnan(gains[0])
    record |= {"recordings": len(set(recordings[defined])), "undefined": int(np.isnan(values).sum())}
    own = mean_interval(values, recordings)
    for name, index in place.items():
        ends = sorted([sign * own.low[index], sign * own.high[index]])
        record |= {name: sign * own.mean[index], f"{name}_low": ends[0], f"{name}_high": ends[1]}
    found = mean_interval(gains, recordings)
    p = holm(sign_flip_p(gains, recordings, "two-sided", flips=flips_for(len(ORDER))))
    for index, (a, b) in enumerate(ORDER):
        key = f"{a}_over_{b}"
        record |= {key: found.mean[index], f"{key}_low": found.low[index], f"{key}_high": found.high[index]}
        record[f"{key}_p"] = p[index]
    record["spread"] = np.sqrt(np.nanmean([_variance(line, recordings) for line in values]))
    deviation = np.sqrt(_variance(gains[0], recordings))
    with np.errstate(divide="ignore", invalid="ignore"):  # without any spread the effect is infinite, or undefined
        record["effect"] = np.divide(found.mean[0], deviation)
    significant = dict(zip(ORDER, p <= ALPHA, strict=True))
    gain = dict(zip(ORDER, found.mean, strict=True))
    shown = {pair for pair in ORDER if significant[pair] and gain[pair] > 0}
    graded = [name for name in ("half", "shifted") if {("oracle", name), (name, "random")} <= shown]
    record["graded"] = ";".join(graded)
    missing = [f"{a} > {b} not shown" for a, b in ENDS if (a, b) not in shown and not significant[a, b]]
    missing += [f"{b} > {a}" for a, b in ORDER if significant[a, b] and gain[a, b] < 0]
    if record["family"] not in JUDGED_FAMILIES:
        return record | {"verdict": NOT_WHERE, "because": ""}
    if record["recordings"] < FEWEST:
        return record | {"verdict": UNDECIDED, "because": f"{record['recordings']} of at least {FEWEST} recordings"}
    return record | {"verdict": FAILS if missing else DISCRIMINATES, "because": "; ".join(missing)}


def _variance(values: Floats, recordings: NDArray) -> float:
    """Variance between the means of recordings, NaN with fewer than two."""
    means = pd.Series(values).groupby(recordings).mean().dropna()
    return float(means.var()) if len(means) > 1 else float("nan")


def _agreement(lines: pd.DataFrame, means: pd.DataFrame) -> tuple[list[float], list[int]]:
    """Per line: mean rank correlation with the other metrics that know the evidence, and over how many maps.

    Args:
        lines: metric and area of each column of `means`.
        means: (maps, lines), higher is better.
    """
    primary = set(at_primary_area(lines).index)
    names = lines["metric"].tolist()
    knowing = [i for i, name in enumerate(names) if i in primary and metric_class(name).needs_ground_truth]
    correlations = means.corr("spearman", min_periods=FEWEST_MAPS).to_numpy(float)
    agreement = []
    for i, name in enumerate(names):
        found = correlations[i, [j for j in knowing if names[j] != name]]
        found = found[~np.isnan(found)]
        agreement.append(float(found.mean()) if len(found) else float("nan"))
    return agreement, [int(count) for count in means.notna().sum()]


def summary(assessment: pd.DataFrame) -> list[str]:
    """A line per verdict: its metrics, each with the worst of all classifiers' verdicts, and why."""
    lines = at_primary_area(assessment)
    found: dict[str, list[str]] = {verdict: [] for verdict in (DISCRIMINATES, FAILS, UNDECIDED, NOT_WHERE)}
    for metric in metric_order(set(lines["metric"])):
        own = lines[lines["metric"] == metric]
        worst = next(word for word in (FAILS, UNDECIDED, DISCRIMINATES, NOT_WHERE) if word in set(own["verdict"]))
        whys = zip(own["classifier"], own["because"], strict=True)
        reasons = "; ".join(f"{classifier}: {because}" for classifier, because in whys if because)
        found[worst].append(metric_heading(metric) + (f" ({reasons})" if reasons else ""))
    return [f"{verdict}: {', '.join(metrics)}" for verdict, metrics in found.items() if metrics]


def table(assessment: pd.DataFrame, classifier: str) -> Table:
    """Metrics by yardsticks at the primary area, with what they say of each metric."""
    lines = at_primary_area(assessment[assessment["classifier"] == classifier]).set_index("metric")
    metrics = metric_order(set(lines.index))
    records: dict[str, Any] = {str(line["metric"]): line for line in lines.reset_index().to_dict("records")}
    rows = []
    for metric in metrics:
        line = records[metric]
        largest = max((abs(line[name]) for name in YARDSTICKS if not np.isnan(line[name])), default=0.0)
        digits = 0 if largest >= 100 else 1 if largest >= 10 else 3
        cells = [Cell(_number(line[name], digits)) for name in YARDSTICKS]
        cells += [Cell(_number(line["effect"], 2)), Cell(_number(line["agreement"], 2))]
        judged = line["verdict"] != NOT_WHERE
        cells.append(Cell(line["graded"].replace(";", ", ") or "none" if judged else ""))
        cells.append(Cell(line["verdict"] + UNPROVEN * (line["verdict"] == FAILS) if judged else ""))
        rows.append(Row(metric_heading(metric), not judged, tuple(cells)))
    shared = f"{lines['recordings'].max()} recordings of {DATASET}, fold {', '.join(map(str, FOLDS))}"
    notes = [
        f"{DISCRIMINATES}: oracle significantly above random and above inverted, and no pair reversed.",
        "Effect: paired gain of the oracle over random by its standard deviation between recordings.",
        f"Agreement: mean rank correlation with the metrics that know the evidence, over {lines['maps'].max()} maps.",
        "Graded: degraded oracles significantly below the oracle and above random.",
        "Not judged: metrics that do not ask where the importance lies.",
    ]
    notes += [
        f"{UNPROVEN if line['verdict'] == FAILS else line['verdict']} {metric_heading(metric)}: {line['because']}."
        for metric, line in records.items()
        if line["because"]
    ]
    heads = (*YARDSTICKS, "effect", "agreement", "graded", "verdict")
    return Table(f"{classifier}: {shared}", heads, tuple(rows), tuple(notes), names="Metric", below="Not judged")


def write(assessment: pd.DataFrame, folder: Path) -> list[Path]:
    """Write validation-DATASET.csv (unrounded), .md, .png and .pdf; returns their paths."""
    from xaibench.validation.figure import write_plot

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    classifiers = sorted(set(assessment["classifier"]))
    text = "".join(f"- {line}\n" for line in summary(assessment))
    contents = {
        "csv": assessment.to_csv(index=False, lineterminator="\n"),
        "md": "\n".join([text, *(tables.markdown(table(assessment, classifier)) for classifier in classifiers)]),
    }
    written = []
    for suffix, content in contents.items():
        written.append(folder / f"validation-{DATASET}.{suffix}")
        write_atomically(written[-1], content.encode())
    return written + write_plot(assessment, folder / f"validation-{DATASET}")


def _number(value: float, digits: int) -> str:
    return MISSING if np.isnan(value) else f"{value:.{digits}f}"

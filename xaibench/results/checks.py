"""What must hold of every part that is read, whoever wrote it: rows agree with themselves, their path and the run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from xaibench.results.parts import BETWEEN_LABELS, EACH_LABEL, EQUAL_AREA, SOFT, PartInfo

_FILLED = (
    *("dataset", "clip", "src_file", "label", "predicted", "classifier", "method", "mask"),
    *("protocol", "fill", "target", "audible_share", "p_fill", "metric"),
)
# Sums of many floats may end a last bit beyond a bound.
_TOLERANCE = 1e-9
_MOST = 2**63  # of anything counted, and of seconds


def problems(path: Path, rows: pd.DataFrame, info: PartInfo, of_run: Mapping[str, str]) -> list[str]:
    """List what is wrong with the rows of a part, a line each; empty where nothing is.

    Args:
        path: of the scores: RUN/CLASSIFIER/METHOD/part-NNN.parquet.
        rows: columns as in `parts.SCHEMA`.
        info: the description beside them.
        of_run: what every row of the run says, by column (`store.Manifest.of_rows`).
    """
    empty = [name for name in (*_FILLED, "fold") if rows[name].isna().any()]
    if empty or not len(rows):
        return [f"nothing in the column {name}" for name in empty] or ["it has no rows"]
    expected = {
        **of_run,
        "classifier": path.parent.parent.name,
        "method": info.method.name,
        "mask": info.method.mask,
    }
    found = [
        f"the {name} of its rows is {', '.join(map(str, values))}, expected {value}"
        for name, value in expected.items()
        if list(values := rows[name].unique()) != [value]
    ]
    if info.method.mask not in {EQUAL_AREA, SOFT}:
        found.append(f"its mask is '{info.method.mask}', expected {EQUAL_AREA} or {SOFT}")
    return found + _of_costs(info) + _of_clips(rows, info) + _of_values(rows) + _of_metrics(rows, info)


def _of_costs(info: PartInfo) -> list[str]:
    costs = {
        "explain_seconds": info.explain_seconds,
        "score_seconds": info.score_seconds,
        "forwards": info.forwards,
        "peak_memory_bytes": info.peak_memory_bytes,
        "training_seconds": info.method.training_seconds,
        "trained_parameters": info.method.trained_parameters,
    }
    return [
        f"its {name} is {str(value)[:20]}, expected a number from 0"
        for name, value in costs.items()
        if value is not None and not 0 <= value < _MOST
    ]


def _of_clips(rows: pd.DataFrame, info: PartInfo) -> list[str]:
    about = ["clip", "fold", "src_file", "label", "predicted", "correct", "audible_share", "p_fill"]
    facts = rows[about].drop_duplicates()
    clips = rows["clip"].nunique()
    found = []
    if len(facts) != clips:
        found.append("the same clip has two labels, folds, recordings, predictions or shares of sound")
    for name in ("audible_share", "p_fill"):
        if not facts[name].between(0, 1).all():
            found.append(f"{name} is not between 0 and 1")
    if clips != info.clips:
        found.append(f"it has {clips} clips, its description says {info.clips}")
    if set(info.audio_sha256) != set(facts["clip"]):
        found.append("its description is of other clips than its rows")
    told = facts[facts["correct"].notna()]
    named = [
        predicted in (label, *label.split(BETWEEN_LABELS))
        for label, predicted in zip(told["label"], told["predicted"], strict=True)
    ]
    # Where each label is explained by itself, the clip's other labels are not in its rows.
    unclear = bool((rows["target"] == EACH_LABEL).all())
    if any(a != b and not (b and unclear) for a, b in zip(named, told["correct"], strict=True)):
        found.append("correct does not say whether label and prediction are the same")
    lines = rows.groupby(["metric", "area"], dropna=False)["clip"]
    if rows.duplicated(["metric", "area", "clip"]).any():
        found.append("a clip is scored twice by one metric")
    elif (lines.nunique() != clips).any():
        found.append("a metric has not all clips")
    return found


def _of_values(rows: pd.DataFrame) -> list[str]:
    values = rows["value"].to_numpy(float)
    defined = ~np.isnan(values)
    found = []
    if np.isinf(values).any():
        found.append("a value is infinite")
    if (defined == rows["reason"].notna().to_numpy()).any():
        found.append("a value and a reason for having none exclude each other; a row has both, or neither")
    area = rows["area"].to_numpy(float)
    if ((area <= 0) | (area > 1)).any():
        found.append("an area is not between 0 and 1")
    return found


def _of_metrics(rows: pd.DataFrame, info: PartInfo) -> list[str]:
    found = []
    metrics = set(rows["metric"])
    if metrics != set(info.metrics_sha256):
        odd = ", ".join(sorted(metrics ^ set(info.metrics_sha256)))
        found.append(f"its rows and its description name other metrics ({odd})")
    if metrics - set(info.metrics):
        found.append(f"its description says nothing of {', '.join(sorted(metrics - set(info.metrics)))}")
    for metric in sorted(metrics & set(info.metrics)):
        low, high = info.metrics[metric].range
        values = rows.loc[rows["metric"] == metric, "value"].to_numpy(float)
        slack = _TOLERANCE * max(1.0, *(abs(bound) for bound in (low, high) if np.isfinite(bound)), 1.0)
        beyond = values[(values < low - slack) | (values > high + slack)]
        if len(beyond):
            found.append(f"{metric} is {beyond[0]:g}, which is not within [{low:g}, {high:g}]")
    return found

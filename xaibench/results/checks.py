"""What must hold of every part that is read, whoever wrote it: rows agree with themselves, their path and the run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from xaibench.results.parts import BETWEEN_LABELS, EACH_LABEL, EQUAL_AREA, SOFT, PartInfo

_FILLED = (
    *("dataset", "clip", "src_file", "label", "predicted", "classifier", "method", "mask"),
    *("protocol", "fill", "target", "audible_share", "p_fill", "metric"),
)
_SHARES = ("audible_share", "p_fill")
# Sums of many floats may end a last bit beyond a bound.
_TOLERANCE = 1e-9
_MOST = 2**63  # of anything counted, and of seconds


def problems(path: Path, table: pa.Table, info: PartInfo, of_run: Mapping[str, str]) -> list[str]:
    """List what is wrong with the rows of a part, a line each; empty where nothing is.

    Args:
        path: of the scores: RUN/CLASSIFIER/METHOD/part-NNN.parquet.
        table: columns as in `parts.CODED`.
        info: the description beside them.
        of_run: what every row of the run says, by column (`store.Manifest.of_rows`).
    """
    empty = [name for name in (*_FILLED, "fold") if table[name].null_count]
    if empty or not len(table):
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
        if (values := _words(table, name)) != [value]
    ]
    if info.method.mask not in {EQUAL_AREA, SOFT}:
        found.append(f"its mask is '{info.method.mask}', expected {EQUAL_AREA} or {SOFT}")
    return found + _of_costs(info) + _of_clips(table, info) + _of_values(table) + _of_metrics(table, info)


class _Coded(NamedTuple):
    """A column as numbers: the place in `words` of each row's value; -1 where it has none."""

    codes: NDArray[np.int32]
    words: list[Any]

    def of(self, place: int) -> Any:
        """Return the value of a row."""
        return None if self.codes[place] < 0 else self.words[self.codes[place]]


def _coded(table: pa.Table, name: str) -> _Coded:
    column = table[name].combine_chunks()
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    # Each step of this counts: a run of ten million scores has 400,000 such columns.
    codes = encoded.indices.fill_null(-1) if encoded.null_count else encoded.indices
    return _Coded(codes.to_numpy(), encoded.dictionary.to_pylist())


def _words(table: pa.Table, name: str) -> list[str]:
    """Return the words of a column that has one in every row."""
    column = table[name]
    if column.num_chunks == 1:
        return column.chunk(0).dictionary.to_pylist()
    return _coded(table, name).words


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


def _of_clips(table: pa.Table, info: PartInfo) -> list[str]:
    clip, metric, area = (_coded(table, name) for name in ("clip", "metric", "area"))
    about = {name: _coded(table, name) for name in ("fold", "src_file", "label", "predicted", "correct", *_SHARES)}
    clips = len(clip.words)
    first = np.unique(clip.codes, return_index=True)[1]
    found = []
    if any((one.codes != one.codes[first[clip.codes]]).any() for one in about.values()):
        found.append("the same clip has two labels, folds, recordings, predictions or shares of sound")
    found += [f"{name} is not between 0 and 1" for name in _SHARES if not all(0 <= v <= 1 for v in about[name].words)]
    if clips != info.clips:
        found.append(f"it has {clips} clips, its description says {info.clips}")
    if set(info.audio_sha256) != set(clip.words):
        found.append("its description is of other clips than its rows")
    # Where each label is explained by itself, the clip's other labels are not in its rows.
    unclear = _coded(table, "target").words == [EACH_LABEL]
    for row in first:
        label, predicted, correct = (about[name].of(row) for name in ("label", "predicted", "correct"))
        named = predicted in (label, *label.split(BETWEEN_LABELS))
        if correct is not None and named != correct and not (correct and unclear):
            found.append("correct does not say whether label and prediction are the same")
            break
    line = metric.codes.astype(np.int64) * (len(area.words) + 1) + area.codes + 1
    if len(np.unique(line * clips + clip.codes)) < len(table):
        found.append("a clip is scored twice by one metric")
    elif (np.unique(line, return_counts=True)[1] != clips).any():
        found.append("a metric has not all clips")
    return found


def _of_values(table: pa.Table) -> list[str]:
    values, area = (_floats(table, name) for name in ("value", "area"))
    reasons = ~table["reason"].is_null().to_numpy()
    found = []
    if np.isinf(values).any():
        found.append("a value is infinite")
    if (~np.isnan(values) == reasons).any():
        found.append("a value and a reason for having none exclude each other; a row has both, or neither")
    if ((area <= 0) | (area > 1)).any():
        found.append("an area is not between 0 and 1")
    return found


def out_of_bounds(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return those values that are not between the bounds of their metric, but for rounding."""
    slack = _TOLERANCE * max(1.0, *(abs(bound) for bound in (low, high) if np.isfinite(bound)), 1.0)
    return values[(values < low - slack) | (values > high + slack)]


def _of_metrics(table: pa.Table, info: PartInfo) -> list[str]:
    found = []
    metric, values = _coded(table, "metric"), _floats(table, "value")
    metrics = set(metric.words)
    if metrics != set(info.metrics_sha256):
        odd = ", ".join(sorted(metrics ^ set(info.metrics_sha256)))
        found.append(f"its rows and its description name other metrics ({odd})")
    if metrics - set(info.metrics):
        found.append(f"its description says nothing of {', '.join(sorted(metrics - set(info.metrics)))}")
    for name in sorted(metrics & set(info.metrics)):
        low, high = info.metrics[name].range
        own = values[metric.codes == metric.words.index(name)]
        beyond = out_of_bounds(own, low, high)
        if len(beyond):
            found.append(f"{name} is {beyond[0]:g}, which is not within [{low:g}, {high:g}]")
    return found


def _floats(table: pa.Table, name: str) -> NDArray[np.float64]:
    """Return a column of numbers, NaN where it has none."""
    return np.asarray(table[name].to_numpy(), np.float64)

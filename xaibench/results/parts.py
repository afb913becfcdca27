"""Parts: the scores of up to 16 clips by one method on one classifier, and the description beside them.

The scores (`part-000.parquet`) are the same bytes whether or not the run was interrupted; the description
(`part-000.json`) holds their SHA-256, what made them, and what that cost. It is written last: a part without it is
not finished.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import TypeAdapter

from xaibench.errors import ResultsError
from xaibench.storage.atomic import write_atomically

PART_CLIPS = 16
_TOLERANCE = 1e-4  # what other devices, numbers of threads or versions may change, as a share of a metric's range
# The column `mask`: scored by the top bins of a map, or by the mask that the map itself is.
EQUAL_AREA = "equal area"
SOFT = "soft"
# Between the labels of a clip that has several, in the column `label`.
BETWEEN_LABELS = ";"
EACH_LABEL = "labels"  # the column `target` where each label of a clip is explained by itself
SCHEMA = pa.schema(
    [
        ("dataset", pa.string()),
        ("fold", pa.int16()),
        ("clip", pa.string()),
        ("src_file", pa.string()),
        ("label", pa.string()),  # of a clip with several: all, or the one that is explained
        ("predicted", pa.string()),
        (
            "correct",
            pa.bool_(),
        ),  # whether it is a label of the clip; null where the classifier knows none
        ("classifier", pa.string()),
        ("method", pa.string()),
        ("mask", pa.string()),  # EQUAL_AREA, or SOFT: the method's own mask, of any size
        ("protocol", pa.string()),
        ("fill", pa.string()),  # what takes the place of removed bins
        ("target", pa.string()),  # the class that is explained: the predicted one, the label, or each label
        ("audible_share", pa.float64()),  # of the clip's frames; areas are shares of their bins
        ("p_fill", pa.float64()),  # probability of the explained class where everything is removed
        ("metric", pa.string()),
        ("area", pa.float64()),  # share of bins in the mask; null where the metric has no mask
        ("value", pa.float64()),  # null where undefined
        ("reason", pa.string()),  # why undefined; null where defined
    ]
)
# In memory words are numbers into a list of words: a score takes 90 bytes that way, and 250 as it is written.
_WORDS = [field.name for field in SCHEMA if field.type == pa.string()]
CODED = pa.schema(
    [(field.name, pa.dictionary(pa.int32(), pa.string()) if field.name in _WORDS else field.type) for field in SCHEMA]
)


@dataclass(frozen=True, kw_only=True)
class MethodFacts:
    """What the results say of a method.

    Attributes:
        name: registry name.
        title: the name used in papers.
        polarity: which part of its map counts.
        control: whether it is a control.
        parameters: all that decides its maps beside classifier and clip.
        code: module and class.
        native_shape: (freq, time) resolution at which it computes its maps.
        mask: EQUAL_AREA or SOFT.
        training_seconds: wall time of fitting it, or None where nothing is fitted or nobody knows.
        trained_parameters: numbers that fitting found, or None where nothing is fitted.
    """

    name: str
    title: str
    polarity: str
    control: bool
    parameters: dict[str, Any]
    code: str
    native_shape: tuple[int, int]
    mask: str = EQUAL_AREA
    training_seconds: float | None = None
    trained_parameters: int | None = None


@dataclass(frozen=True, kw_only=True)
class MetricFacts:
    """What the results say of a metric, so that whoever reads them needs nothing installed.

    Attributes:
        title: short name used in tables.
        family: group shown together.
        higher_is_better: its direction.
        low, high: smallest and largest possible value; None where there is no limit.
        needs_ground_truth: whether it uses the known place of the event.
    """

    title: str
    family: str
    higher_is_better: bool
    low: float | None
    high: float | None
    needs_ground_truth: bool

    @property
    def sign(self) -> int:
        """1 where higher is better, else -1."""
        return 1 if self.higher_is_better else -1

    @property
    def range(self) -> tuple[float, float]:
        """Smallest and largest possible value, infinite where there is no limit."""
        return -math.inf if self.low is None else self.low, math.inf if self.high is None else self.high

    @property
    def scale(self) -> float:
        """Width of the range, 1 where it is infinite."""
        low, high = self.range
        return high - low if math.isfinite(high - low) else 1.0


@dataclass(frozen=True, kw_only=True)
class PartInfo:
    """What a part cost and what it was made with.

    Attributes:
        classifier_sha256: hash of the classifier: of its weights, temperature, classes and geometry.
        weights_sha256: hash of its weights alone.
        method: what the explainer is.
        metrics: what the metrics are, by name.
        sample_rate, samples: of the sound as the classifier heard it, in Hz, and its length.
        audio_sha256: hash of each clip's samples.
        ground_truth_sha256: hash of what is known of each clip; empty where nothing is.
        code_sha256: identity (storage.identity) of the method, the classifier's code, the protocol and the engine;
            empty where it cannot be told, and the part is never used again.
        shared_code_sha256: likewise, of what all methods on this classifier share: all of this but the method.
        metrics_sha256: likewise, of each metric and the engine.
        explain_seconds, score_seconds: wall time for the part's clips.
        peak_memory_bytes: most memory that explaining added, or None where the system cannot say.
        scores_sha256: hash of the file with the scores.
        judge_sha256: hash of the weights of the judge that metrics asked; empty where none did.
    """

    clips: int
    classifier_sha256: str
    weights_sha256: str
    method: MethodFacts
    metrics: dict[str, MetricFacts]
    sample_rate: int
    samples: int
    audio_sha256: dict[str, str]
    ground_truth_sha256: dict[str, str]
    code_sha256: str
    shared_code_sha256: str
    metrics_sha256: dict[str, str]
    versions: dict[str, str]
    device: str
    batch_size: int
    explain_seconds: float
    score_seconds: float
    forwards: int
    peak_memory_bytes: int | None
    scores_sha256: str = ""
    judge_sha256: str = ""


@dataclass(frozen=True)
class Part:
    """A finished part.

    Attributes:
        path: of its scores, RUN/CLASSIFIER/METHOD/part-NNN.parquet.
        table: the scores, columns as in CODED.
        info: what it was made with.
    """

    path: Path
    table: pa.Table
    info: PartInfo

    @property
    def folder(self) -> Path:
        """RUN/CLASSIFIER/METHOD."""
        return self.path.parent

    @property
    def run(self) -> Path:
        return self.path.parents[2]

    @property
    def classifier(self) -> str:
        return self.path.parents[1].name


_PART_INFO = TypeAdapter(PartInfo)


def tolerance(names: pa.ChunkedArray, metrics: Mapping[str, MetricFacts], values: NDArray) -> NDArray[np.float64]:
    """Return what another device, another number of threads or other versions may change of scores.

    Args:
        names: the metric of each score.
        metrics: what they are, by name.
        values: the scores.
    """
    encoded = names.dictionary_encode().combine_chunks()
    scales = np.array([metrics[name].scale for name in encoded.dictionary.to_pylist()])
    return _TOLERANCE * np.maximum(scales[encoded.indices.to_numpy()], np.abs(values))


def metrics_of(parts: Iterable[Part]) -> dict[str, MetricFacts]:
    """Return what parts say of their metrics, by name."""
    return {name: facts for part in parts for name, facts in part.info.metrics.items()}


def write_part(path: Path, rows: pd.DataFrame, info: PartInfo) -> None:
    """Write the scores of a part, and then its description."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pandas(rows, schema=SCHEMA, preserve_index=False), sink, compression="zstd")
    data = sink.getvalue().to_pybytes()
    # Until the new description is there, the old one must not stand beside new scores.
    path.with_suffix(".json").unlink(missing_ok=True)
    write_atomically(path, data)
    info = replace(info, scores_sha256=hashlib.sha256(data).hexdigest())
    write_atomically(path.with_suffix(".json"), (json.dumps(asdict(info), indent=2) + "\n").encode())


def read_part(path: Path) -> tuple[pa.Table, PartInfo]:
    """Read the scores of a part, columns as in CODED, and its description.

    Raises:
        ResultsError: a file is missing or damaged, the scores have other columns, or are not the ones described.
    """
    info = read_info(path)
    try:
        data = path.read_bytes()
        # Not pq.read_table: it would take a folder named "seed=1" for a column, and fill missing ones with nulls.
        with pq.ParquetFile(pa.BufferReader(data), read_dictionary=_WORDS) as file:
            # Threads for so few rows take longer than the rows.
            table = file.read(use_threads=False)
        table = table if table.schema.equals(CODED) else table.cast(CODED)
    except (pa.ArrowException, KeyError, OSError, ValueError) as error:
        raise ResultsError(f"{path} is damaged ({_words(error)}); delete it and run again") from error
    if hashlib.sha256(data).hexdigest() != info.scores_sha256:
        raise ResultsError(
            f"{path} does not hold the scores that its description names (SHA-256 differs); delete it and run again"
        )
    return table, info


def frame(tables: Iterable[pa.Table]) -> pd.DataFrame:
    """Return scores of parts as one table, with those columns of SCHEMA that they have."""
    return pa.concat_tables(
        [table.cast(pa.schema([SCHEMA.field(name) for name in table.column_names])) for table in tables]
    ).to_pandas()


def read_info(path: Path) -> PartInfo:
    """Read what a part (the path of its scores) cost and was made with.

    Raises:
        ResultsError: the file beside the scores is missing or damaged.
    """
    path = path.with_suffix(".json")
    try:
        return _PART_INFO.validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise ResultsError(
            f"{path.with_suffix('.parquet')} has no description: its run was stopped; give the same command again"
        ) from error
    except (OSError, ValueError) as error:
        raise ResultsError(f"{path} is damaged ({_words(error)}); delete it and run again") from error


def _words(error: Exception) -> str:
    return " ".join(str(error).split())

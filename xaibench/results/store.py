"""Per-clip rows on disk: Parquet parts of a fixed number of clips, and what they depend on.

A run folder holds `manifest.json` and, for every classifier and method,
`CLASSIFIER/METHOD/part-000.parquet` (scores: the same bytes whether or not the run was
interrupted) beside `part-000.json` (seconds, memory and versions, which are never the same twice).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter

from xaibench.errors import ResultsError
from xaibench.storage.atomic import write_atomically

PART_CLIPS = 16
MANIFEST = "manifest.json"
VALIDATION = "validation"  # folder of runs whose methods are yardsticks of the metrics
REPRODUCTIONS = "reproductions"  # folder of runs that repeat a paper, with classifiers of their own
SCHEMA = pa.schema(
    [
        ("dataset", pa.string()),
        ("fold", pa.int16()),
        ("clip", pa.string()),
        ("src_file", pa.string()),
        ("label", pa.string()),
        ("predicted", pa.string()),
        ("correct", pa.bool_()),
        ("classifier", pa.string()),
        ("method", pa.string()),
        ("mask", pa.string()),  # EQUAL_AREA, or SOFT: the method's own mask, of any size
        ("protocol", pa.string()),
        ("metric", pa.string()),
        ("area", pa.float64()),  # share of bins in the mask; null where the metric has no mask
        ("value", pa.float64()),  # null where undefined
        ("reason", pa.string()),  # why undefined; null where defined
    ]
)


# The column `mask`: scored by the top bins of a map, or by the mask that the map itself is.
EQUAL_AREA = "equal area"
SOFT = "soft"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What all parts of a run folder share; two runs with different manifests never mix."""

    dataset: str
    dataset_fingerprint: str
    folds: tuple[int, ...]
    limit: int | None
    seed: int
    protocol: str
    precision: str = "float32"
    compiled: bool = False


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
class PartInfo:
    """What a part cost and what it was made with.

    Attributes:
        classifier_sha256: hash of the classifier: of its weights, temperature, classes and geometry.
        weights_sha256: hash of its weights alone.
        method: what the explainer is.
        audio_sha256: hash of the clips' samples.
        ground_truth_sha256: hash of what is known of the clips; empty where nothing is.
        code_sha256: identity (storage.identity) of the method, the classifier's code, the protocol and the engine;
            empty where it cannot be told, and the part is never used again.
        metrics_sha256: likewise, of each metric and the engine.
        explain_seconds, score_seconds: wall time for the part's clips.
        peak_memory_bytes: most memory that explaining added, or None where the system cannot say.
    """

    clips: int
    classifier_sha256: str
    weights_sha256: str
    method: MethodFacts
    audio_sha256: str
    ground_truth_sha256: str
    code_sha256: str
    metrics_sha256: dict[str, str]
    versions: dict[str, str]
    device: str
    batch_size: int
    explain_seconds: float
    score_seconds: float
    forwards: int
    peak_memory_bytes: int | None


_PART_INFO = TypeAdapter(PartInfo)


class RunFolder:
    """One run's folder, opened for writing or made anew.

    Raises:
        ResultsError: the folder holds a run with another manifest, or cannot be written.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = Path(path)
        target = self.path / MANIFEST
        if target.exists():
            other = read_manifest(self.path)
            for key, value in asdict(manifest).items():
                if getattr(other, key) != value:
                    raise ResultsError(
                        f"{self.path} holds a run with {key} {getattr(other, key)}, this one has {value}; "
                        "choose another --out"
                    )
            return
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            write_atomically(target, (json.dumps(asdict(manifest), indent=2) + "\n").encode())
        except OSError as error:
            raise ResultsError(f"{self.path} cannot be written ({error.strerror}); choose another --out") from error

    def part(self, classifier: str, method: str, index: int) -> Path:
        """Path of one part's scores."""
        return self.path / classifier / method / f"part-{index:03d}.parquet"

    def finished(self, classifier: str, method: str, index: int) -> tuple[pd.DataFrame, PartInfo] | None:
        """A part written earlier, or None; a damaged part counts as not written."""
        path = self.part(classifier, method, index)
        try:
            return read_part(path).to_pandas(), read_info(path)
        except ResultsError:
            return None

    def write(self, classifier: str, method: str, index: int, rows: pd.DataFrame, info: PartInfo) -> None:
        """Write a part; the scores appear last and whole."""
        path = self.part(classifier, method, index)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path.with_suffix(".json"), (json.dumps(asdict(info), indent=2) + "\n").encode())
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pandas(rows, schema=SCHEMA, preserve_index=False), sink, compression="zstd")
        write_atomically(path, sink.getvalue().to_pybytes())


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a run folder.

    Raises:
        ResultsError: there is none, or it is not a manifest.
    """
    path = Path(folder) / MANIFEST
    try:
        content = json.loads(path.read_text())
        return Manifest(**content | {"folds": tuple(content["folds"])})
    except OSError:
        raise ResultsError(f"{folder} holds no {MANIFEST}; expected a folder written by 'xaibench run'") from None
    except (ValueError, TypeError, KeyError) as error:
        raise ResultsError(f"{path} is not a run manifest: {error}") from error


def read_part(path: Path) -> pa.Table:
    """The scores of one part, columns as in SCHEMA.

    Raises:
        ResultsError: the file is missing, damaged, or has other columns.
    """
    try:
        # Not pq.read_table: it would take a folder named "seed=1" for a column, and fill missing ones with nulls.
        with pq.ParquetFile(path) as file:
            table = file.read()
        return table.cast(SCHEMA)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ResultsError(f"{path} is damaged ({error}); delete it and run again") from error


def read_info(path: Path) -> PartInfo:
    """What a part (the path of its scores) cost and was made with.

    Raises:
        ResultsError: the file beside the scores is missing or damaged.
    """
    path = path.with_suffix(".json")
    try:
        return _PART_INFO.validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ResultsError(f"{path} is damaged ({' '.join(str(error).split())}); delete it and run again") from error


def find_runs(root: Path) -> list[Path]:
    """Run folders at or below a folder, but for those that belong to a validation or to a paper's reproduction.

    Raises:
        ResultsError: none is there.
    """
    root = Path(root)
    paths = root.rglob(MANIFEST) if root.is_dir() else []
    apart = {VALIDATION, REPRODUCTIONS}
    folders = sorted(path.parent for path in paths if apart.isdisjoint(path.relative_to(root).parts))
    if not folders:
        raise ResultsError(f"{root} holds no results; make some with 'xaibench run --method saliency'")
    return folders


def read_rows(folder: Path) -> pd.DataFrame:
    """All per-clip rows of a run folder, columns as in SCHEMA.

    Raises:
        ResultsError: a part is damaged, or there is none.
    """
    parts = sorted(Path(folder).glob("*/*/part-*.parquet"))
    if not parts:
        raise ResultsError(f"{folder} holds no scores yet; finish it with 'xaibench run --out {folder}'")
    for path in parts:
        read_info(path)  # scores of unknown origin are not scores
    return pa.concat_tables([read_part(path) for path in parts]).to_pandas()


def read_costs(folder: Path) -> pd.DataFrame:
    """Sum up what each (classifier, method, mask) of a run folder cost, and what the method is; one row each.

    Columns: classifier, method, mask, clips, explain_seconds_per_clip, score_seconds_per_clip,
    forwards_per_clip, peak_memory_bytes, native_freq, native_time, polarity, control, trained,
    training_seconds, trained_parameters.

    Raises:
        ResultsError: a part is damaged.
    """
    records = []
    for path in sorted(Path(folder).glob("*/*/part-*.parquet")):
        info = read_info(path)
        records.append(
            {
                "classifier": path.parent.parent.name,
                "method": info.method.name,
                "mask": info.method.mask,
                "clips": info.clips,
                "explain_seconds": info.explain_seconds,
                "score_seconds": info.score_seconds,
                "forwards": info.forwards,
                "peak_memory_bytes": info.peak_memory_bytes,
                "native_freq": info.method.native_shape[0],
                "native_time": info.method.native_shape[1],
                "polarity": info.method.polarity,
                "control": info.method.control,
                "trained": info.method.trained_parameters is not None,
                "training_seconds": _or_nan(info.method.training_seconds),
                "trained_parameters": _or_nan(info.method.trained_parameters),
            }
        )
    grouped = pd.DataFrame(records).groupby(["classifier", "method", "mask"], sort=True)
    costs = grouped.agg(
        clips=("clips", "sum"),
        explain_seconds_per_clip=("explain_seconds", "sum"),
        score_seconds_per_clip=("score_seconds", "sum"),
        forwards_per_clip=("forwards", "sum"),
        peak_memory_bytes=("peak_memory_bytes", "max"),
        native_freq=("native_freq", "first"),
        native_time=("native_time", "first"),
        polarity=("polarity", "first"),
        control=("control", "first"),
        trained=("trained", "first"),
        training_seconds=("training_seconds", "first"),
        trained_parameters=("trained_parameters", "first"),
    )
    for column in ("explain_seconds_per_clip", "score_seconds_per_clip", "forwards_per_clip"):
        costs[column] /= costs["clips"]
    return costs.reset_index()


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else float(value)

"""Run folders: per-clip scores on disk, part by part, and what all parts share.

A run folder holds `manifest.json` and, for every classifier and method, parts as `results.parts` describes them:
`CLASSIFIER/METHOD/part-000.parquet` and `part-000.json`, and METHOD-soft for a method's own mask. Several processes
may fill one folder at once: a part is locked while it is being made (`.locks/`). What failed is in `run.log`, with
its traceback. Maps that are kept for others are in `maps/CLASSIFIER/METHOD/CLIP.npz`.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import pandas as pd
from filelock import FileLock, Timeout
from pydantic import TypeAdapter

from xaibench.errors import ResultsError, one_line
from xaibench.results.checks import problems
from xaibench.results.parts import Part, PartInfo, frame, read_info, read_part, write_part
from xaibench.storage.atomic import remove_leftovers, write_atomically

MANIFEST = "manifest.json"
LOG = "run.log"
VALIDATION = "validation"  # folder of runs whose methods are reference maps of the metrics
REPRODUCTIONS = "reproductions"  # folder of runs that repeat a paper, with classifiers of their own
MAPS = "maps"
_LOCKS = ".locks"
_READERS = 2  # threads that read parts; more wait for each other
_ENTRY = re.compile(r"\d{4}-\d\d-\d\dT[\d:]+\S* \S+ on ")  # begins an entry of the log
_EXPECTED = "parts"  # beside the locks of a classifier and method: how many parts there will be


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What all parts of a run folder share; two runs with different manifests never mix.

    Attributes:
        clips: how many are scored.
        unreadable: ids of the clips that are left out, because they could not be read.
        long: what is heard of clips that are longer than a classifier's input.
    """

    dataset: str
    dataset_fingerprint: str
    folds: tuple[int, ...]
    limit: int | None
    unreadable: tuple[str, ...] = ()
    clips: int
    seed: int
    protocol: str
    precision: str = "float32"
    compiled: bool = False
    fill: str = "silence"
    target: str = "predicted"
    long: str = "cut"

    @property
    def of_rows(self) -> dict[str, str]:
        """What every row of the run says, by column."""
        return {name: getattr(self, name) for name in ("dataset", "protocol", "fill", "target")}


_MANIFEST = TypeAdapter(Manifest)


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
            if other.unreadable != manifest.unreadable:
                then, now = (", ".join(one.unreadable) or "none" for one in (other, manifest))
                raise ResultsError(
                    f"{self.path} holds a run in which these clips could not be read: {then}; now it is {now}; choose "
                    "another --out"
                )
            for key, value in asdict(manifest).items():
                if getattr(other, key) != value:
                    raise ResultsError(
                        f"{self.path} holds a run with {key} {getattr(other, key)}, this one has {value}; "
                        "choose another --out"
                    )
            remove_leftovers(self.path)
            return
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            write_atomically(target, (json.dumps(asdict(manifest), indent=2) + "\n").encode())
        except OSError as error:
            raise ResultsError(f"{self.path} cannot be written ({error.strerror}); choose another --out") from error

    def part(self, classifier: str, method: str, index: int) -> Path:
        """Return the path of one part's scores."""
        return self.path / classifier / method / f"part-{index:03d}.parquet"

    def maps(self, classifier: str, method: str) -> Path:
        """Return the folder of the maps that are kept of a method."""
        return self.path / MAPS / classifier / method

    def expect(self, classifier: str, method: str, parts: int) -> None:
        """Write down how many parts there will be, for those who watch (`status.status`)."""
        path = self.path / _LOCKS / classifier / method / _EXPECTED
        path.parent.mkdir(parents=True, exist_ok=True)
        text = f"{parts}\n"
        if not path.exists() or path.read_text() != text:
            write_atomically(path, text.encode())

    @contextlib.contextmanager
    def claim(self, classifier: str, method: str, index: int, wait: bool) -> Iterator[bool]:
        """Keep other processes from making the same part inside the block.

        Args:
            classifier, method, index: which part.
            wait: for another process that is making it; else give False at once.

        Yields:
            Whether the part is this process's to make.
        """
        folder = self.path / _LOCKS / classifier / method
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"{index:03d}.lock", timeout=-1 if wait else 0)
        try:
            lock.acquire()
        except Timeout:
            yield False
            return
        except (NotImplementedError, OSError) as error:
            raise ResultsError(
                f"{lock.lock_file} cannot be locked ({one_line(error)}); a run folder needs a file system with locks, "
                "and space: choose another --out"
            ) from error
        try:
            yield True
        finally:
            lock.release()

    def finished(self, classifier: str, method: str, index: int) -> tuple[pd.DataFrame, PartInfo] | None:
        """Read a part written earlier, or return None; a damaged part counts as not written."""
        try:
            table, info = read_part(self.part(classifier, method, index))
        except ResultsError:
            return None
        return frame([table]), info

    def write(self, classifier: str, method: str, index: int, rows: pd.DataFrame, info: PartInfo) -> None:
        """Write a part; the description appears last and whole."""
        write_part(self.part(classifier, method, index), rows, info)

    def log(self, classifier: str, method: str, text: str) -> None:
        """Append to the log: a line with the time, the classifier and the method, and the text."""
        entry = (
            f"{datetime.now().astimezone().isoformat(timespec='seconds')} {method} on {classifier}: {text.strip()}\n"
        )
        handle = os.open(self.path / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        try:  # in one piece, so that the entries of several processes do not mix
            os.write(handle, entry.encode(errors="backslashreplace"))
        finally:
            os.close(handle)


def expected(folder: Path) -> dict[tuple[str, str], int]:
    """Read how many parts there will be of each (classifier, method) that a command was given for."""
    found = {}
    for path in Path(folder).glob(f"{_LOCKS}/*/*/{_EXPECTED}"):
        with contextlib.suppress(ValueError, OSError):
            found[path.parent.parent.name, path.parent.name] = int(path.read_text())
    return found


def locks_of(folder: Path, classifier: str, method: str) -> list[tuple[int, Path]]:
    """List the locks of parts of a method on a classifier, by number; a lock may be held or left."""
    found = (Path(folder) / _LOCKS / classifier / method).glob("*.lock")
    return sorted((int(path.stem), path) for path in found)


def logged(folder: Path) -> tuple[str, ...]:
    """Read the first line of every entry of a run's log."""
    try:
        text = (Path(folder) / LOG).read_text(errors="replace")
    except OSError:
        return ()
    return tuple(line for line in text.splitlines() if _ENTRY.match(line))


def parts_of(folder: Path) -> list[Path]:
    """List the paths of the scores of all finished parts, by classifier, method and number of the part.

    A part is finished when its description is there.
    """
    found = [path.with_suffix(".parquet") for path in Path(folder).glob("*/*/part-*.json")]
    return sorted(found, key=lambda path: (path.parts[:-1], len(path.stem), path.stem))


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a run folder.

    Raises:
        ResultsError: there is none, or it is not a manifest.
    """
    path = Path(folder) / MANIFEST
    try:
        return _MANIFEST.validate_json(path.read_bytes())
    except OSError:
        raise ResultsError(f"{folder} holds no {MANIFEST}; expected a folder written by 'xaibench run'") from None
    except ValueError as error:
        words = " ".join(str(error).split())
        raise ResultsError(f"{path} is not a run manifest: {words}") from error


def unfinished(folder: Path) -> list[Path]:
    """List the scores that have no description: whatever was writing them was stopped, or is still at it."""
    found = sorted(Path(folder).glob("*/*/part-*.parquet"))
    return [path for path in found if not path.with_suffix(".json").exists()]


def read_parts(folder: Path) -> list[Part]:
    """Read the finished parts of a run folder, none or more.

    Raises:
        ResultsError: a part is damaged or malformed.
    """
    of_rows = read_manifest(folder).of_rows
    # Half of reading is decompressing and hashing, which threads do side by side.
    with ThreadPoolExecutor(min(_READERS, os.cpu_count() or 1)) as pool:
        return list(pool.map(lambda path: _read_checked(path, folder, of_rows), parts_of(folder)))


def _read_checked(path: Path, folder: Path, of_rows: Mapping[str, str]) -> Part:
    table, info = read_part(path)
    wrong = problems(path, table, info, of_rows)
    if wrong:
        raise ResultsError(f"{path} is malformed ({wrong[0]}); 'xaibench verify {folder}' tells all")
    return Part(path, table, info)


def read_rows(folder: Path) -> pd.DataFrame:
    """All per-clip rows of a run folder, columns as in SCHEMA.

    Raises:
        ResultsError: a part is damaged, or there is none.
    """
    parts = read_parts(folder)
    if not parts:
        raise no_scores(folder)
    return frame(part.table for part in parts)


def no_scores(folder: Path) -> ResultsError:
    """Return the error about a run that has no finished part."""
    return ResultsError(f"{folder} holds no scores yet; finish it with 'xaibench run --out {folder}'")


def read_costs(folder: Path) -> pd.DataFrame:
    """Sum up what each (classifier, method, mask) of a run folder cost; see `costs`.

    Raises:
        ResultsError: a part is damaged.
    """
    return _costs((path.parent.parent.name, read_info(path)) for path in parts_of(folder))


def costs(parts: Iterable[Part]) -> pd.DataFrame:
    """Sum up what each (classifier, method, mask) cost, and what the method is; one row each.

    Columns: classifier, method, mask, clips, explain_seconds_per_clip, score_seconds_per_clip,
    forwards_per_clip, peak_memory_bytes, native_freq, native_time, method_title, polarity, control, trained,
    training_seconds, trained_parameters.
    """
    return _costs((part.classifier, part.info) for part in parts)


def _costs(made: Iterable[tuple[str, PartInfo]]) -> pd.DataFrame:
    records = []
    for classifier, info in made:
        records.append(
            {
                "classifier": classifier,
                "method": info.method.name,
                "mask": info.method.mask,
                "clips": info.clips,
                "explain_seconds": info.explain_seconds,
                "score_seconds": info.score_seconds,
                "forwards": info.forwards,
                "peak_memory_bytes": info.peak_memory_bytes,
                "native_freq": info.method.native_shape[0],
                "native_time": info.method.native_shape[1],
                "method_title": info.method.title,
                "polarity": info.method.polarity,
                "control": info.method.control,
                "trained": info.method.trained_parameters is not None,
                "training_seconds": _or_nan(info.method.training_seconds),
                "trained_parameters": _or_nan(info.method.trained_parameters),
            }
        )
    grouped = pd.DataFrame(records).groupby(["classifier", "method", "mask"], sort=True)
    found = grouped.agg(
        clips=("clips", "sum"),
        explain_seconds_per_clip=("explain_seconds", "sum"),
        score_seconds_per_clip=("score_seconds", "sum"),
        forwards_per_clip=("forwards", "sum"),
        peak_memory_bytes=("peak_memory_bytes", "max"),
        native_freq=("native_freq", "first"),
        native_time=("native_time", "first"),
        method_title=("method_title", "first"),
        polarity=("polarity", "first"),
        control=("control", "first"),
        trained=("trained", "first"),
        training_seconds=("training_seconds", "first"),
        trained_parameters=("trained_parameters", "first"),
    )
    for column in ("explain_seconds_per_clip", "score_seconds_per_clip", "forwards_per_clip"):
        found[column] /= found["clips"]
    return found.reset_index()


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else float(value)

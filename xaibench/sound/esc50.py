"""ESC-50 in its official layout (`meta/esc50.csv`, `audio/`), and ESC-10, its official subset.

K. J. Piczak, "ESC: Dataset for Environmental Sound Classification", ACM Multimedia 2015.
"""

from __future__ import annotations

import hashlib
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from xaibench.errors import AudioError, DataError
from xaibench.sound import audio
from xaibench.sound.dataset import Clip, Dataset
from xaibench.storage.array_cache import cached

COLUMNS = ("filename", "fold", "target", "category", "esc10", "src_file", "take")
# Another version of these libraries may give other samples.
DECODER = f"sndfile{soundfile.__libsndfile_version__}-torchaudio{metadata.version('torchaudio')}"
REMEDY = "run 'xaibench data check PATH' for the whole list"


class Esc50(Dataset):
    """The dataset of 50 classes, read from a folder; the clips are in the order of the CSV.

    Raises:
        DataError: the folder, its CSV or a listed file is missing or inconsistent.
    """

    name = "esc50"
    licence = "CC BY-NC 3.0 (K. J. Piczak, ESC-50)"
    reads_folder = True

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        table = read_metadata(self.folder)
        table = self._select(table)
        if table.empty:
            raise DataError(f"{self.folder}/meta/esc50.csv lists no clips for {self.name}; {REMEDY}")
        names = table.drop_duplicates("target").sort_values("target")
        index = {target: i for i, target in enumerate(names["target"])}
        self.classes = tuple(names["category"])
        self.clips = tuple(
            Clip(
                id=Path(str(row.filename)).stem,
                fold=int(str(row.fold)),
                label=index[row.target],
                src_file=str(row.src_file),
                filename=str(row.filename),
            )
            for row in table.itertuples()
        )
        for clip in self.clips:
            if not (self.folder / "audio" / clip.filename).is_file():
                raise DataError(f"{self.folder}/audio/{clip.filename} is missing; {REMEDY}")

    @staticmethod
    def _select(table: pd.DataFrame) -> pd.DataFrame:
        return table

    def waveform(self, clip: Clip) -> np.ndarray:
        return self._decoded(clip, "audio-16k-v1", limit=True)

    def unlimited_waveform(self, clip: Clip) -> np.ndarray:
        return self._decoded(clip, "audio-16k-unlimited-v1", limit=False)

    def _decoded(self, clip: Clip, kind: str, limit: bool) -> np.ndarray:
        path = self.folder / "audio" / clip.filename
        try:
            data = path.read_bytes()
        except OSError as error:
            raise AudioError(f"{path}: cannot be read ({error.strerror or error})") from error
        # The key is the content: a replaced file is decoded again, a moved folder is not.
        key = f"{hashlib.sha256(data).hexdigest()}-{DECODER}"
        return cached(kind, key, lambda: audio.to_clip(*audio.decode(data, str(path)), limit=limit))


class Esc10(Esc50):
    """The ten classes that ESC-50 marks as ESC-10."""

    name = "esc10"
    licence = "CC BY 3.0 (K. J. Piczak, ESC-10)"

    @staticmethod
    def _select(table: pd.DataFrame) -> pd.DataFrame:
        return table[table["esc10"]]


def read_metadata(folder: Path) -> pd.DataFrame:
    """Read the metadata table and check its values.

    Raises:
        DataError: the folder or CSV is missing, empty, lacks a column, or a row has wrong values.
    """
    table = read_table(folder)
    problems = row_problems(table)
    if problems:
        more = f" (and {len(problems) - 1} more; {REMEDY})" if len(problems) > 1 else ""
        raise DataError(f"{metadata_path(folder)}, {problems[0]}{more}")
    return table.assign(
        fold=table["fold"].astype(int),
        target=table["target"].astype(int),
        esc10=marked_esc10(table),
    )


def metadata_path(folder: Path) -> Path:
    """Return the path of a folder's metadata table."""
    return Path(folder) / "meta" / "esc50.csv"


def marked_esc10(table: pd.DataFrame) -> pd.Series:
    """Tell which rows of a metadata table of strings belong to ESC-10."""
    return table["esc10"].str.lower() == "true"


def read_table(folder: Path) -> pd.DataFrame:
    """Read the metadata table as strings, and check only its columns; row i is line i + 2 of the file.

    Raises:
        DataError: the folder or CSV is missing, unreadable, empty, or lacks a column.
    """
    folder, path = Path(folder), metadata_path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; give --data-dir the folder that holds meta/ and audio/")
    if not path.is_file():
        raise DataError(f"{path} is missing; {folder} is not in ESC-50's layout (meta/esc50.csv, audio/)")
    try:
        # Blank lines are read, so that the index counts lines. They are dropped below.
        table = pd.read_csv(path, dtype=str, keep_default_na=False, skip_blank_lines=False).fillna("")
    except pd.errors.EmptyDataError:
        raise DataError(f"{path} is empty; expected a header and one row per clip") from None
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not a CSV file: {str(error).strip()}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}); check its permissions") from error
    if not isinstance(table.index, pd.RangeIndex):
        raise DataError(f"{path} has rows with more fields than its first line; check its commas")
    missing = [column for column in COLUMNS if column not in table.columns]
    if missing:
        raise DataError(
            f"{path} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}; "
            f"its first line should be {','.join(COLUMNS)}"
        )
    table = table[(table != "").any(axis=1)]
    if table.empty:
        raise DataError(f"{path} has a header but no clips; expected one row per clip")
    return table


def row_problems(table: pd.DataFrame) -> list[str]:
    """Describe what is wrong with the rows of a metadata table of strings, one sentence per problem."""
    problems = []
    category_of: dict[str, str] = {}
    target_of: dict[str, str] = {}
    seen: dict[str, int] = {}
    for line, row in zip(table.index + 2, table.itertuples(), strict=True):
        filename, fold, target, category = str(row.filename), str(row.fold), str(row.target), str(row.category)
        if not is_plain_name(filename):
            problems.append(f"line {line}: filename {filename!r} is not a plain file name")
        # A clip's id is its file name without the ending, so a.wav and a.ogg would be one clip twice.
        clip = Path(filename).stem
        if clip in seen:
            problems.append(f"line {line}: {filename} is listed already in line {seen[clip]}")
        seen.setdefault(clip, line)
        if fold not in {"1", "2", "3", "4", "5"}:
            problems.append(f"line {line}: fold {fold!r} is not 1 to 5")
        if not target.isdecimal() or int(target) > 49:
            problems.append(f"line {line}: target {target!r} is not 0 to 49")
        elif not category or category != category_of.setdefault(target, category):
            elsewhere = f", elsewhere {category_of[target]!r}" if target in category_of else ""
            problems.append(f"line {line}: category {category!r} for target {target}{elsewhere}")
        elif target != target_of.setdefault(category, target):
            problems.append(f"line {line}: target {target} for category {category!r}, elsewhere {target_of[category]}")
        if str(row.esc10).lower() not in {"true", "false"}:
            problems.append(f"line {line}: esc10 {row.esc10!r} is not True or False")
        if not row.src_file:
            problems.append(f"line {line}: src_file is empty, so {filename} belongs to no recording")
    return problems


def is_plain_name(filename: str) -> bool:
    """Tell whether a listed name can only be a file in audio/, and not lead out of this folder."""
    return filename not in {"", "..", "."} and not any(mark in filename for mark in "/\\\0")

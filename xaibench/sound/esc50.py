"""ESC-50 in its official layout (`meta/esc50.csv`, `audio/`), and ESC-10, its official subset.

K. J. Piczak, "ESC: Dataset for Environmental Sound Classification", ACM Multimedia 2015.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import pandas as pd

from xaibench.errors import DataError
from xaibench.sound.audio import CLIP_SECONDS
from xaibench.sound.dataset import Clip
from xaibench.sound.files import AudioFiles

COLUMNS = ("filename", "fold", "target", "category", "esc10", "src_file", "take")
_SEPARATORS = frozenset("/\\\0")
_CREDIT = re.compile(r"^(?:- )?\[?([\w.-]+?\.\w+)\]?: clip (derived from .+)$", re.MULTILINE)
REMEDY = "run 'xaibench data check PATH' for the whole list"


class Esc50(AudioFiles):
    """The dataset of 50 classes, read from a folder; the clips are in the order of the CSV.

    Raises:
        DataError: the folder, its CSV or a listed file is missing or inconsistent.
    """

    name = "esc50"
    licence = "CC BY-NC 3.0 (K. J. Piczak, ESC-50)"
    seconds = CLIP_SECONDS

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
                id=clip_id(str(row.filename)),
                fold=int(str(row.fold)),
                label=index[row.target],
                src_file=str(row.src_file),
                filename=str(row.filename),
            )
            for row in table.itertuples()
        )
        self.require_files(REMEDY)

    @staticmethod
    def _select(table: pd.DataFrame) -> pd.DataFrame:
        return table

    def path(self, clip: Clip) -> Path:
        return self.folder / "audio" / clip.filename

    def credit(self, clip: Clip) -> str:
        """Say who recorded it, as the dataset's LICENSE does; without that file, where the recording is."""
        stem = clip.id.rpartition("-")[0]  # LICENSE lists 1-100032-A.ogg, the folder 1-100032-A-0.wav
        recording = f"Freesound {clip.src_file} (https://freesound.org/s/{clip.src_file})"
        return self._credits.get(clip.id) or self._credits.get(stem) or recording

    @cached_property
    def _credits(self) -> dict[str, str]:
        texts = (path.read_text("utf-8", "replace") for path in sorted(self.folder.glob("LICENSE*")))
        return {Path(name).stem: said for text in texts for name, said in _CREDIT.findall(text)}


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
        raise DataError(
            f"{path} is missing; {folder} is not in ESC-50's layout (meta/esc50.csv, audio/); a folder with a "
            "folder for each class is --dataset folder"
        )
    try:
        # Blank lines are read, so that the index counts lines. They are dropped below.
        # As Python's strings: pandas' own take ten times as long to go through.
        read = pd.read_csv(path, dtype=str, keep_default_na=False, skip_blank_lines=False)
        table = read.fillna("").astype(object)
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
    """Describe what is wrong with the rows of a metadata table of strings, one sentence per problem, by line."""
    filename, fold, target, category = (table[name] for name in ("filename", "fold", "target", "category"))
    line = pd.Series(table.index + 2, index=table.index)
    # a.wav and a.ogg would be one clip twice.
    first_line = line.groupby([clip_id(name) for name in filename]).transform("min")
    # The first category of a target is right, and so is the first target of a category.
    is_target = _each(target, _is_target)
    named = is_target & (category != "")
    right_category = category.where(named).groupby(target).transform("first")
    other_category = is_target & (category != right_category)
    right_target = target.where(named & ~other_category).groupby(category).transform("first")
    checks: tuple[tuple[pd.Series, str], ...] = (
        (~_each(filename, is_plain_name), "filename {filename!r} is not a plain file name"),
        (first_line != line, "{filename} is listed already in line {first_line}"),
        (~fold.isin(["1", "2", "3", "4", "5"]), "fold {fold!r} is not 1 to 5"),
        (~is_target, "target {target!r} is not 0 to 49"),
        (other_category & right_category.isna(), "category {category!r} for target {target}"),
        (
            other_category & right_category.notna(),
            "category {category!r} for target {target}, elsewhere {right_category!r}",
        ),
        (
            named & ~other_category & (target != right_target),
            "target {target} for category {category!r}, elsewhere {right_target}",
        ),
        (~table["esc10"].str.lower().isin(["true", "false"]), "esc10 {esc10!r} is not True or False"),
        (table["src_file"] == "", "src_file is empty, so {filename} belongs to no recording"),
    )
    known = table.assign(first_line=first_line, right_category=right_category, right_target=right_target)
    found = [
        (number, f"line {number}: {sentence.format_map(row)}")
        for wrong, sentence in checks
        for number, row in zip(line[wrong], known[wrong].to_dict("records"), strict=True)
    ]
    return [problem for _, problem in sorted(found, key=lambda one: one[0])]


def _each(values: pd.Series, is_right: Callable[[str], bool]) -> pd.Series:
    """Tell which strings are right, asking once for each different one."""
    return values.isin([value for value in values.unique() if is_right(value)])


def _is_target(text: str) -> bool:
    return text.isdecimal() and len(text) < 5 and int(text) <= 49


def clip_id(filename: str) -> str:
    """Return the name of a clip: its file's without the ending."""
    return filename.rpartition(".")[0] or filename


def is_plain_name(filename: str) -> bool:
    """Tell whether a listed name can only be a file in audio/, and not lead out of this folder."""
    return filename not in {"", "..", "."} and _SEPARATORS.isdisjoint(filename)

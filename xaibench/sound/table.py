"""A table of clips: a CSV file with a path and a label in each row."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import pandas as pd

from xaibench.errors import DataError
from xaibench.sound import folds
from xaibench.sound.dataset import Clip
from xaibench.sound.files import AudioFiles
from xaibench.sound.folder import unique_ids

LABEL_MARK = ";"  # between the labels of a clip
OTHER_LABEL_MARK = ","  # in a table that has no ;, which names of classes may then not hold
_Section = tuple[float, float | None]
_WHOLE: _Section = (0.0, None)


class AudioTable(AudioFiles):
    """Clips that a CSV file lists, in its order.

    Columns are found by their names, see `NAMES`: a path and a label (or labels, where several may be true of a
    clip) must be there; fold, group, start and end in s, and id may be. Paths are relative to the file. Without folds,
    five are drawn by group; without groups, each file is its own.

    Args:
        file: the CSV file.
        columns: other names of columns, such as {"label": "species"}.

    Raises:
        DataError: the file cannot be read, a column is missing, a row is wrong, or a listed file is missing.
    """

    name = "csv"
    licence = "unknown (a table of the user)"
    takes_columns = True
    NAMES: ClassVar[dict[str, tuple[str, ...]]] = {
        "path": ("path", "file", "filename", "filepath"),
        "label": ("label", "class", "category"),
        "labels": ("labels",),
        "fold": ("fold", "split"),
        "group": ("group", "recording", "src_file"),
        "start": ("start",),
        "end": ("end",),
        "id": ("id",),
    }

    def __init__(self, file: Path, columns: Mapping[str, str] | None = None) -> None:
        self.file = Path(file)
        table = read_table(self.file, "give --data-dir the CSV file that lists the clips", "clip")
        where = [f"{self.file}, line {line}" for line in table.index + 2]
        values = {
            what: [str(value).strip() for value in table[column]]
            for what, column in self._columns(table, columns or {}).items()
        }
        for what in set(values) - {"start", "end"}:
            _require_all(values[what], what, where)
        names = values["path"]
        labels = _several(values["labels"], where) if "labels" in values else _single(values["label"], where)
        self.classes = tuple(sorted({label for of_clip in labels for label in of_clip}))
        index = {name: place for place, name in enumerate(self.classes)}
        places = [index[of_clip[0]] for of_clip in labels]
        others = [tuple(index[label] for label in of_clip[1:]) for of_clip in labels]
        sections = _sections(values.get("start"), values.get("end"), where)
        ids = values.get("id") or _ids(names, sections)
        _refuse_repeated(ids, where)
        groups = values.get("group", names)
        chosen = folds.named(values["fold"], where) if "fold" in values else folds.assigned(ids, places, groups)
        self.draws_folds = "fold" not in values
        self._sections = dict(zip(ids, sections, strict=True))
        self.clips = tuple(Clip(*one) for one in zip(ids, chosen, places, groups, names, others, strict=True))
        self.require_files(f"{self.file} lists it: mend its path there, or take its row out")

    def path(self, clip: Clip) -> Path:
        return self.file.parent / clip.filename

    def section(self, clip: Clip) -> _Section:
        return self._sections[clip.id]

    def _columns(self, table: pd.DataFrame, given: Mapping[str, str]) -> dict[str, str]:
        """Find which column of the table is which."""
        there = ", ".join(map(str, table.columns))
        for what, column in given.items():
            if what not in self.NAMES:
                raise DataError(f"there is no {what!r} to look for in a table; there are {', '.join(self.NAMES)}")
            if column not in table.columns:
                raise DataError(f"{self.file} has no column {column!r}; it has {there}")
        known = {what: [name for name in names if name in table.columns] for what, names in self.NAMES.items()}
        found = {what: names[0] for what, names in known.items() if names} | dict(given)
        if "label" in found and "labels" not in given:
            found.pop("labels", None)
        for what in ("path", "label"):
            if what not in found and not (what == "label" and "labels" in found):
                raise DataError(
                    f"{self.file} has no column named {' or '.join(self.NAMES[what])}; it has {there}; name the right "
                    f"one with --columns {what}=NAME"
                )
        return found


def read_table(file: Path, remedy: str, row: str) -> pd.DataFrame:
    """Read a table as strings; row i is line i + 2 of the file.

    Args:
        file: the CSV file.
        remedy: the end of the sentence if it is none.
        row: what its rows are.

    Raises:
        DataError: it cannot be read, or is empty.
    """
    if not file.is_file():
        wrong = "is a folder" if file.is_dir() else "is missing"
        raise DataError(f"{file} {wrong}; {remedy}")
    try:
        # Blank lines are read, so that the index counts lines. They are dropped below.
        table = pd.read_csv(file, dtype=str, keep_default_na=False, skip_blank_lines=False, skipinitialspace=True)
    except pd.errors.EmptyDataError:
        raise DataError(f"{file} is empty; expected a header and one row per {row}") from None
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        raise DataError(f"{file} is not a CSV file: {str(error).strip()}") from error
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror or error}); check its permissions") from error
    if not isinstance(table.index, pd.RangeIndex):
        raise DataError(f"{file} has rows with more fields than its first line; check its commas")
    table = table.fillna("")
    table = table[(table != "").any(axis=1)]
    if table.empty:
        raise DataError(f"{file} has a header but no {row}s; expected one row per {row}")
    return table


def _require_all(values: Sequence[str], what: str, where: Sequence[str]) -> None:
    for value, place in zip(values, where, strict=True):
        if not value:
            raise DataError(f"{place}: the {what} is empty")


def _single(labels: Sequence[str], where: Sequence[str]) -> list[tuple[str, ...]]:
    for label, place in zip(labels, where, strict=True):
        if LABEL_MARK in label:
            raise DataError(
                f"{place}: {label!r} is several labels; if clips may have several, call this column labels (--columns "
                "labels=NAME)"
            )
    return [(label,) for label in labels]


def _several(cells: Sequence[str], where: Sequence[str]) -> list[tuple[str, ...]]:
    """Read the labels of each clip, of which each counts once."""
    mark = LABEL_MARK if any(LABEL_MARK in cell for cell in cells) else OTHER_LABEL_MARK
    found = [tuple(dict.fromkeys(part.strip() for part in cell.split(mark) if part.strip())) for cell in cells]
    _require_all(["".join(labels) for labels in found], "label", where)
    return found


def _sections(starts: Sequence[str] | None, ends: Sequence[str] | None, where: Sequence[str]) -> list[_Section]:
    """Read where clips start and end in their files, in s."""
    empty = [""] * len(where)
    found: list[_Section] = []
    for first, last, place in zip(starts or empty, ends or empty, where, strict=True):
        start, end = seconds(first, place) if first else 0.0, seconds(last, place) if last else None
        if end is not None and end <= start:
            raise DataError(f"{place}: the end, {end:g} s, is not after the start, {start:g} s")
        found.append((start, end))
    return found


def seconds(text: str, place: str) -> float:
    """Read a time in s.

    Raises:
        DataError: it is none; the error begins with `place`.
    """
    try:
        read = float(text)
    except ValueError:
        read = math.nan
    if not 0 <= read < 1e6:
        raise DataError(f"{place}: {text!r} is no time in seconds")
    return read


def _ids(names: Sequence[str], sections: Sequence[_Section]) -> list[str]:
    """Name clips by their files, and by their places where a file is listed more than once."""
    files = list(dict.fromkeys(names))
    ids = dict(zip(files, unique_ids(files), strict=True))
    repeated = {name for name in files if names.count(name) > 1} if len(files) < len(names) else set()

    def one(name: str, section: _Section) -> str:
        if name not in repeated or section == _WHOLE:
            return ids[name]
        start, end = section
        return f"{ids[name]}@{start:g}-{'' if end is None else f'{end:g}'}"

    return [one(*clip) for clip in zip(names, sections, strict=True)]


def _refuse_repeated(ids: Sequence[str], where: Sequence[str]) -> None:
    seen: dict[str, str] = {}
    for one, place in zip(ids, where, strict=True):
        if one in seen:
            other = seen[one].rpartition(", ")[2]
            raise DataError(
                f"{place}: the clip {one!r} stands in {other}, too; a clip has one row and one label "
                "(or several, in a column labels)"
            )
        seen[one] = place

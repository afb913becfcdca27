"""Check a folder in ESC-50's layout: what is wrong with it, and which part of the dataset it holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import pandas as pd

from xaibench.errors import AudioError, DataError
from xaibench.sound import reading
from xaibench.sound.audio import CLIP_SECONDS
from xaibench.sound.esc50 import is_plain_name, marked_esc10, metadata_path, read_table, row_problems

FOLDS = ("1", "2", "3", "4", "5")
CLIPS_PER_CLASS_AND_FOLD = 8
TARGETS = {
    "esc10": ("0", "1", "10", "11", "12", "20", "21", "38", "40", "41"),
    "esc50": tuple(str(target) for target in range(50)),
}
TITLES = {"esc10": "ESC-10", "esc50": "ESC-50"}
LISTED_NAMES = 6
# Of one kind. Nobody reads more, and a table with a million wrong rows takes minutes to print.
LISTED_PROBLEMS = 100


@dataclass
class Report:
    """Content of a folder, and what is wrong with it.

    Attributes:
        folder: the folder that was checked.
        dataset: "esc50" or "esc10"; the counts below are of this dataset's clips.
        clips: number of rows of the CSV.
        classes: number of different targets.
        recordings: number of different source files.
        esc10_clips: number of rows that the CSV marks as ESC-10.
        clips_per_fold: number of clips by fold.
        problems: what must be mended, one sentence each, with the file or line; the first of every kind.
        unlisted: how many problems there are besides.
        notes: further facts that are not errors.
    """

    folder: Path
    dataset: str
    clips: int = 0
    classes: int = 0
    recordings: int = 0
    esc10_clips: int = 0
    clips_per_fold: dict[int, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    unlisted: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def found(self) -> int:
        """How many problems there are."""
        return len(self.problems) + self.unlisted

    def add(self, problems: Sequence[str]) -> None:
        """Add the problems of one kind, and list the first of them."""
        self.problems += problems[:LISTED_PROBLEMS]
        self.unlisted += max(0, len(problems) - LISTED_PROBLEMS)

    def summary(self) -> str:
        """Return the counts and the number of problems in one line."""
        folds = ", ".join(f"fold {fold}: {clips}" for fold, clips in self.clips_per_fold.items())
        found = self.found
        return (
            f"{self.dataset}: {self.clips} clips ({folds or 'none'}), {self.esc10_clips} of them ESC-10; "
            f"{self.classes} classes, {self.recordings} recordings; "
            f"{found or 'no'} problem{'s' * (found != 1)}"
        )


def _ignore(done: int, total: int) -> None:
    pass


def check(folder: Path, dataset: str = "esc50", advance: Callable[[int, int], None] = _ignore) -> Report:
    """Check the CSV, the list of files and the sound of every listed clip.

    Args:
        folder: the folder that holds meta/ and audio/.
        dataset: "esc50", or "esc10" to look only at the clips marked as ESC-10.
        advance: called after every audio file with (done, total).

    Raises:
        DataError: the dataset is not read from such a folder. Problems of the folder itself are reported, not raised.
    """
    if dataset not in TARGETS:
        raise DataError(f"'{dataset}' is not read from a folder; check knows {' and '.join(TARGETS)}")
    report = Report(Path(folder), dataset)
    try:
        everything = read_table(report.folder)
    except DataError as error:
        report.problems.append(str(error))
        return report
    report.add([f"{metadata_path(report.folder)}, {problem}" for problem in row_problems(everything)])
    esc10 = marked_esc10(everything)
    table = everything[esc10] if dataset == "esc10" else everything
    report.clips = len(table)
    report.classes = table["target"].nunique()
    report.recordings = table["src_file"].nunique()
    report.esc10_clips = int(esc10.sum())
    report.clips_per_fold = {int(fold): int((table["fold"] == fold).sum()) for fold in FOLDS}
    if table.empty:
        report.problems.append(f"{metadata_path(report.folder)} lists no clips for {dataset}")
    report.add(_inconsistent_marks(everything))
    crossing, crossing_classes = _crossing_recordings(table)
    report.add(crossing)
    for problems in _file_problems(report.folder, everything["filename"], table["filename"], advance):
        report.add(problems)
    report.notes += _coverage(table, dataset) + crossing_classes[:LISTED_PROBLEMS]
    if len(crossing_classes) > LISTED_PROBLEMS:
        report.notes.append(f"{len(crossing_classes) - LISTED_PROBLEMS} more recordings are in more than one fold")
    if dataset == "esc50" and _is_complete(everything[esc10], "esc10") and not _is_complete(table, "esc50"):
        report.notes.append("ESC-10 is complete: dataset 'esc10' can use every fold of this folder")
    return report


def _inconsistent_marks(table: pd.DataFrame) -> list[str]:
    """Describe classes of which some rows are marked as ESC-10 and others are not."""
    marks = marked_esc10(table).groupby(table["category"]).nunique()
    return [f"category {name!r} is marked esc10 in some rows and not in others" for name in marks[marks > 1].index]


def _crossing_recordings(table: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Describe recordings with clips in different folds, so that training and test clips share a recording.

    Returns:
        Problems (two folds share a recording of one class) and notes (they share a recording of
        different classes; the official ESC-50 itself has a few of these, such as 209698).
    """
    known = table[table["src_file"] != ""]
    crossing = known[known.groupby("src_file")["fold"].transform("nunique") > 1]
    one_a_fold = crossing.drop_duplicates(["src_file", "fold"]).sort_values(["src_file", "fold"])
    folds_of_class = crossing.groupby(["src_file", "target"])["fold"].nunique()
    of_one_class = set(folds_of_class[folds_of_class > 1].index.get_level_values("src_file"))
    problems, notes = [], []
    rows = zip(one_a_fold["src_file"], one_a_fold["filename"], one_a_fold["fold"], strict=True)
    for recording, clips in groupby(rows, key=itemgetter(0)):
        places = ", ".join(f"{filename} in fold {fold}" for _, filename, fold in clips)
        sentence = f"recording {recording} is in more than one fold: {places}"
        if recording in of_one_class:
            problems.append(sentence)
        else:
            notes.append(f"{sentence} (different classes)")
    return problems, notes


def _file_problems(
    folder: Path, listed: pd.Series, wanted: pd.Series, advance: Callable[[int, int], None]
) -> Iterator[list[str]]:
    """Describe files that are not listed, that are missing, and whose sound is odd; a list for each.

    Args:
        folder: the folder that holds audio/.
        listed: file names of the whole CSV.
        wanted: file names of the dataset that is checked.
        advance: called after every wanted file with (done, total).
    """
    sounds = folder / "audio"
    if not sounds.is_dir():
        yield [f"{sounds} is missing; put the clips that {metadata_path(folder)} lists there"]
        return
    present = {path.name for path in sounds.iterdir()}
    # Hidden files (.DS_Store) were put there by the operating system, not by the user.
    unlisted = sorted(name for name in present - set(listed) if not name.startswith("."))
    yield [f"audio/{name} is not listed in meta/esc50.csv" for name in unlisted]
    # A name that is not plain is reported with its line and never opened.
    names = [name for name in dict.fromkeys(wanted) if is_plain_name(name)]
    missing = [name for name in names if name not in present]
    yield [f"audio/{name} is listed in meta/esc50.csv and missing" for name in missing]
    found = []
    for done, name in enumerate((name for name in names if name in present), start=len(missing) + 1):
        found += _sound_problems(sounds / name, f"audio/{name}")
        advance(done, len(names))
    yield found


def _sound_problems(path: Path, name: str) -> list[str]:
    """Describe what is wrong with one audio file, called `name` in messages."""
    try:
        with reading.opened(path) as file:
            decoded = reading.decode(file, name, seconds=CLIP_SECONDS)
        return [f"{name} {finding.text}" for finding in decoded.findings(CLIP_SECONDS)]
    except AudioError as error:
        return [str(error)]


def _counts(table: pd.DataFrame) -> dict[tuple[str, str], int]:
    """Count the clips by (fold, target)."""
    return dict(table.groupby(["fold", "target"]).size())


def _is_complete(table: pd.DataFrame, dataset: str) -> bool:
    official = {(fold, target): CLIPS_PER_CLASS_AND_FOLD for fold in FOLDS for target in TARGETS[dataset]}
    return _counts(table) == official


def _coverage(table: pd.DataFrame, dataset: str) -> list[str]:
    """Describe where the clips differ from the official eight clips per class and fold."""
    title, targets = TITLES[dataset], TARGETS[dataset]
    per_fold = CLIPS_PER_CLASS_AND_FOLD * len(targets)
    if _is_complete(table, dataset):
        return [f"the whole of {title}: {len(table)} clips"]
    notes = [f"a part of {title}: {len(table)} of {per_fold * len(FOLDS)} clips"]
    name_of = dict(table.drop_duplicates("target", keep="last").set_index("target")["category"])
    counts = _counts(table)
    for fold in FOLDS:
        found = {target: counts.get((fold, target), 0) for target in targets}
        if set(found.values()) == {CLIPS_PER_CLASS_AND_FOLD}:
            notes.append(f"fold {fold} is complete: {per_fold} clips")
            continue
        notes.append(f"fold {fold} has {sum(found.values())} of {per_fold} clips")
        missing = [name_of.get(target, f"target {target}") for target, count in found.items() if count == 0]
        if missing:
            more = f" and {len(missing) - LISTED_NAMES} more" if len(missing) > LISTED_NAMES else ""
            notes.append(
                f"fold {fold} has no clips of {len(missing)} of the {len(targets)} classes: "
                f"{', '.join(missing[:LISTED_NAMES])}{more}"
            )
        notes += [
            f"fold {fold} has {count} clips of {name_of[target]}; {title} has {CLIPS_PER_CLASS_AND_FOLD}"
            for target, count in found.items()
            if count not in {0, CLIPS_PER_CLASS_AND_FOLD}
        ]
    return notes

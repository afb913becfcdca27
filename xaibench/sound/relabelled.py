"""A dataset whose classes have the names that a classifier has for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from xaibench.errors import DataError
from xaibench.sound.dataset import Clip, Dataset, SoundEvent
from xaibench.sound.derived import Derived


class Relabelled(Derived):
    """The same clips, their classes under other names; classes that are not named keep theirs.

    Args:
        dataset: the one to translate.
        names: of its classes, what each is called; several may become one.

    Raises:
        DataError: a name is none of the dataset's classes.
    """

    def __init__(self, dataset: Dataset, names: Mapping[str, str]) -> None:
        super().__init__(dataset)
        unknown = sorted(set(names) - set(dataset.classes))
        if unknown:
            raise DataError(
                f"the class map translates {unknown[0]!r}, which is no class of {dataset.name}; there are "
                f"{', '.join(dataset.classes[:6])}{', ...' * (len(dataset.classes) > 6)}"
            )
        called = [names.get(name, name) for name in dataset.classes]
        self.classes = tuple(dict.fromkeys(called))
        place = [self.classes.index(name) for name in called]
        self.clips = tuple(_translated(clip, place) for clip in dataset.clips)
        self._names = dict(names)

    def events(self, clip: Clip) -> tuple[SoundEvent, ...]:
        found = super().events(clip)
        return tuple(event._replace(label=self._names.get(event.label, event.label)) for event in found)


def _translated(clip: Clip, place: Sequence[int]) -> Clip:
    label, *others = dict.fromkeys(place[one] for one in (clip.label, *clip.others))
    return replace(clip, label=label, others=tuple(others))


def read_class_map(file: Path) -> dict[str, str]:
    """Read what classes are called from a CSV file with the columns label and class.

    Raises:
        DataError: the file cannot be read, or has other columns or a label twice.
    """
    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False, skipinitialspace=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error).strip()
        raise DataError(f"{file} cannot be read as a CSV file ({reason})") from error
    if list(table.columns) != ["label", "class"]:
        raise DataError(f"{file} has the columns {', '.join(map(str, table.columns))}; expected label,class")
    twice = table["label"][table["label"].duplicated()]
    if len(twice):
        raise DataError(f"{file} translates {twice.iloc[0]!r} twice")
    return dict(zip(table["label"], table["class"], strict=True))

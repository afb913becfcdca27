"""Folds for datasets that come without any: by recording, and of each class about the same share."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence

import numpy as np

from xaibench.errors import DataError
from xaibench.sound.dataset import Clip

FOLDS = 5
# Words of tables that say which part a clip belongs to.
_PARTS = {"train": 1, "training": 1, "valid": 2, "validation": 2, "val": 2, "dev": 2, "test": 3, "testing": 3}


def assigned(ids: Sequence[str], labels: Sequence[int], groups: Sequence[str], seed: int = 0) -> list[int]:
    """Draw five folds, from 1; clips of one group are in one fold, whatever the order of the clips.

    With fewer than five groups there are as many folds as groups. Each fold has about the same share of each class, if
    one of them has as many clips as there are folds.

    Args:
        ids: names of the clips, each its own.
        labels: their classes.
        groups: the recordings that they were cut from.
        seed: of the draw.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    order = sorted(range(len(ids)), key=lambda place: ids[place])
    count = min(FOLDS, len(set(groups)))
    if count < 2:
        return [1] * len(ids)
    if max(Counter(labels).values()) < count:  # too few clips of each class to have one in every fold
        labels = [0] * len(ids)
    split = StratifiedGroupKFold(n_splits=count, shuffle=True, random_state=seed)
    found = [0] * len(ids)
    with warnings.catch_warnings():
        # A class with fewer clips than folds is missing in some; that is no reason for a warning of scikit-learn's.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        parts = split.split(np.zeros(len(ids)), [labels[i] for i in order], [groups[i] for i in order])
        for fold, (_, chosen) in enumerate(parts, start=1):
            for place in chosen:
                found[order[place]] = fold
    return found


def named(values: Sequence[str], where: Sequence[str]) -> list[int]:
    """Read folds from a table: whole numbers from 1, or the words train, valid and test, which become 1, 2 and 3.

    Args:
        values: as the table has them.
        where: for each, the place in the table, for errors.

    Raises:
        DataError: one is neither.
    """
    found = []
    for value, place in zip(values, where, strict=True):
        word = value.strip().lower()
        number = word.removesuffix(".0")
        if word in _PARTS:
            found.append(_PARTS[word])
        elif number.isdecimal() and 1 <= int(number) <= 1000:
            found.append(int(number))
        else:
            raise DataError(f"{place}: the fold {value!r} is neither a whole number from 1 nor train, valid or test")
    return found


def spanning_groups(clips: Sequence[Clip]) -> str:
    """Say which recordings are in several folds: what is learned on one is then tested on the other. Empty: none."""
    folds: dict[str, set[int]] = {}
    for clip in clips:
        folds.setdefault(clip.src_file, set()).add(clip.fold)
    spanning = {group: sorted(found) for group, found in folds.items() if len(found) > 1}
    if not spanning:
        return ""
    group, found = next(iter(spanning.items()))
    count = f"{len(spanning)} recordings are" if len(spanning) > 1 else "1 recording is"
    return (
        f"{count} in several folds, such as {group} in {' and '.join(map(str, found))}: what is learned on it is "
        "tested on it; give all clips of a recording one fold"
    )

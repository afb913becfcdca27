"""A small part of a dataset."""

from __future__ import annotations

from itertools import zip_longest

from xaibench.sound.dataset import Dataset
from xaibench.sound.derived import Derived


class Few(Derived):
    """The first clips of every fold of a dataset, taken from its classes in turn.

    Args:
        dataset: the dataset from which the clips come.
        per_fold: largest number of clips per fold.
    """

    def __init__(self, dataset: Dataset, per_fold: int) -> None:
        super().__init__(dataset)
        chosen: set[str] = set()
        for fold in {clip.fold for clip in dataset.clips}:
            of_class = [[c for c in dataset.clips if (c.fold, c.label) == (fold, i)] for i in range(len(self.classes))]
            turns = [clip for turn in zip_longest(*of_class) for clip in turn if clip is not None]
            chosen.update(clip.id for clip in turns[:per_fold])
        self.clips = tuple(clip for clip in dataset.clips if clip.id in chosen)

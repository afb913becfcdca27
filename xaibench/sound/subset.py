"""A small part of a dataset."""

from __future__ import annotations

from itertools import zip_longest

import numpy as np

from xaibench.sound.dataset import Clip, Dataset
from xaibench.sound.domain import Domain
from xaibench.sound.findings import Finding


class Few(Dataset):
    """The first clips of every fold of a dataset, taken from its classes in turn.

    Args:
        dataset: the dataset from which the clips come.
        per_fold: largest number of clips per fold.
    """

    def __init__(self, dataset: Dataset, per_fold: int) -> None:
        self._whole = dataset
        self.name, self.licence, self.classes = dataset.name, dataset.licence, dataset.classes
        self.has_ground_truth, self.reads_folder = dataset.has_ground_truth, dataset.reads_folder
        chosen: set[str] = set()
        for fold in {clip.fold for clip in dataset.clips}:
            of_class = [[c for c in dataset.clips if (c.fold, c.label) == (fold, i)] for i in range(len(self.classes))]
            turns = [clip for turn in zip_longest(*of_class) for clip in turn if clip is not None]
            chosen.update(clip.id for clip in turns[:per_fold])
        self.clips = tuple(clip for clip in dataset.clips if clip.id in chosen)

    def waveform(self, clip: Clip) -> np.ndarray:
        return self._whole.waveform(clip)

    def unlimited_waveform(self, clip: Clip) -> np.ndarray:
        return self._whole.unlimited_waveform(clip)

    def waveform_at(self, clip: Clip, sample_rate: int, samples: int | None = None) -> np.ndarray:
        return self._whole.waveform_at(clip, sample_rate, samples)

    def findings(self, clip: Clip) -> tuple[Finding, ...]:
        return self._whole.findings(clip)

    def ground_truth(self, clip: Clip) -> np.ndarray:
        return self._whole.ground_truth(clip)

    def stem(self, clip: Clip) -> np.ndarray:
        return self._whole.stem(clip)

    def ground_truth_at(self, clip: Clip, domain: Domain, samples: int | None = None) -> np.ndarray:
        return self._whole.ground_truth_at(clip, domain, samples)

    def stem_at(self, clip: Clip, sample_rate: int, samples: int | None = None) -> np.ndarray:
        return self._whole.stem_at(clip, sample_rate, samples)

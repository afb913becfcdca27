"""What a dataset is to the benchmark: clips in official folds, their sound, perhaps their evidence."""

from __future__ import annotations

import abc
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xaibench import registry
from xaibench.errors import DataError, RegistryError

if TYPE_CHECKING:
    import numpy as np

TRAIN_FOLDS = (1, 2, 3)
VALIDATION_FOLDS = (4,)
TEST_FOLDS = (5,)


@dataclass(frozen=True)
class Split:
    """Which folds are learnt from, which choose the epoch, and which are only scored; the official ones by default."""

    train: tuple[int, ...] = TRAIN_FOLDS
    validation: tuple[int, ...] = VALIDATION_FOLDS
    test: tuple[int, ...] = TEST_FOLDS

    @classmethod
    def testing(cls, fold: int, folds: Sequence[int]) -> Split:
        """The split that tests on one of `folds`: the fold before it validates (before the first, the last)."""
        ordered = sorted(folds)
        before = ordered[ordered.index(fold) - 1]
        return cls(tuple(other for other in ordered if other not in {fold, before}), (before,), (fold,))


OFFICIAL = Split()


@dataclass(frozen=True)
class Clip:
    """One five-second clip.

    Attributes:
        id: unique within the dataset.
        fold: official fold, from 1.
        label: index into the dataset's classes.
        src_file: the recording it was cut from; statistics resample recordings, not clips.
        filename: file name inside the dataset, or "" for generated sound.
    """

    id: str
    fold: int
    label: int
    src_file: str
    filename: str = ""


class Dataset(abc.ABC):
    """Clips with labels, folds and sound.

    Attributes:
        name: registry name.
        licence: of the sound, carried by everything trained on it.
        classes: class names in the order of the labels.
        clips: all clips, in a fixed order.
        has_ground_truth: whether `ground_truth` and `stem` know the labelled event.
        reads_folder: whether it is read from a folder that its user names, and made as `Kind(folder)`;
            else it is generated, and made as `Kind()`.
    """

    name: str
    licence: str
    classes: tuple[str, ...]
    clips: tuple[Clip, ...]
    has_ground_truth: bool = False
    reads_folder: bool = False

    @abc.abstractmethod
    def waveform(self, clip: Clip) -> np.ndarray:
        """Float32 (80000,) samples of one clip, in [-1, 1]."""

    def unlimited_waveform(self, clip: Clip) -> np.ndarray:
        """The samples before they are clipped to [-1, 1], which resamplers and lossy decoders overshoot."""
        return self.waveform(clip)

    def ground_truth(self, clip: Clip) -> np.ndarray:
        """Boolean (513, 431): True where the labelled event is louder than everything else."""
        raise DataError(f"{self.name} does not know the evidence of its clips")

    def stem(self, clip: Clip) -> np.ndarray:
        """Float32 (80000,) samples of the labelled event alone, as loud as in the clip."""
        raise DataError(f"{self.name} does not know the stems of its clips")

    def fingerprint(self) -> str:
        """Hash of the clip list; what two runs must share to be compared."""
        lines = "\n".join(f"{c.id},{c.fold},{c.label},{c.src_file}" for c in self.clips)
        return hashlib.sha256(lines.encode()).hexdigest()[:16]

    def in_folds(self, folds: Sequence[int]) -> list[Clip]:
        """Clips of the given folds, in dataset order.

        Raises:
            DataError: a fold has no clips.
        """
        present = sorted({clip.fold for clip in self.clips})
        for fold in folds:
            if fold not in present:
                raise DataError(
                    f"{self.name} has no clips in fold {fold}; folds with clips: {', '.join(map(str, present))}"
                )
        return [clip for clip in self.clips if clip.fold in set(folds)]


def data_option(name: str) -> str:
    """What a command needs besides the name of a dataset, for remedies; empty where the dataset cannot be loaded."""
    try:
        kind = registry.load("datasets", name)
    except RegistryError:
        return ""
    return " --data-dir FOLDER" if kind.reads_folder else ""

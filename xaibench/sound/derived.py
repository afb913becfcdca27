"""A dataset that is made of another one: the same sound, other clips or labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xaibench.sound.dataset import Clip, Dataset, Listener, SoundEvent
from xaibench.sound.domain import Domain
from xaibench.sound.findings import Finding


class Derived(Dataset):
    """All that another dataset knows of its clips; subclasses choose the clips.

    Args:
        dataset: the other one.
    """

    def __init__(self, dataset: Dataset) -> None:
        self._whole = dataset
        self.name, self.licence, self.classes = dataset.name, dataset.licence, dataset.classes
        self.has_ground_truth, self.has_two_sounds = dataset.has_ground_truth, dataset.has_two_sounds
        self.reads_folder = dataset.reads_folder
        self.has_events = self.has_events or dataset.has_events
        self.origin, self.draws_folds, self.clips = dataset.origin, dataset.draws_folds, dataset.clips
        self.seconds = dataset.seconds

    def waveform(self, clip: Clip) -> np.ndarray:
        return self._whole.waveform(clip)

    def unlimited_waveform(self, clip: Clip) -> np.ndarray:
        return self._whole.unlimited_waveform(clip)

    def waveform_at(self, clip: Clip, sample_rate: int, samples: int | None = None, long: str = "cut") -> np.ndarray:
        return self._whole.waveform_at(clip, sample_rate, samples, long)

    def length(self, clip: Clip) -> float:
        return self._whole.length(clip)

    def findings(self, clip: Clip) -> tuple[Finding, ...]:
        return self._whole.findings(clip)

    def ground_truth(self, clip: Clip) -> np.ndarray:
        return self._whole.ground_truth(clip)

    def events(self, clip: Clip) -> tuple[SoundEvent, ...]:
        return self._whole.events(clip)

    def section(self, clip: Clip) -> tuple[float, float | None]:
        return self._whole.section(clip)

    def undecided(self, clips: Sequence[Clip], listener: Listener) -> list[str | None]:
        return self._whole.undecided(clips, listener)

    def stem(self, clip: Clip) -> np.ndarray:
        return self._whole.stem(clip)

    def ground_truth_at(self, clip: Clip, domain: Domain, samples: int | None = None, long: str = "cut") -> np.ndarray:
        return self._whole.ground_truth_at(clip, domain, samples, long)

    def stem_at(self, clip: Clip, sample_rate: int, samples: int | None = None, long: str = "cut") -> np.ndarray:
        return self._whole.stem_at(clip, sample_rate, samples, long)

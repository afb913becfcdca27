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

    def _own(self, clip: Clip) -> Clip:
        """Return the clip of the other dataset that a clip is made of."""
        return clip

    def waveform(self, clip: Clip) -> np.ndarray:
        return self._whole.waveform(self._own(clip))

    def unlimited_waveform(self, clip: Clip) -> np.ndarray:
        return self._whole.unlimited_waveform(self._own(clip))

    def waveform_at(self, clip: Clip, sample_rate: int, samples: int | None = None, long: str = "cut") -> np.ndarray:
        return self._whole.waveform_at(self._own(clip), sample_rate, samples, long)

    def length(self, clip: Clip) -> float:
        return self._whole.length(self._own(clip))

    def findings(self, clip: Clip) -> tuple[Finding, ...]:
        return self._whole.findings(self._own(clip))

    def ground_truth(self, clip: Clip) -> np.ndarray:
        return self._whole.ground_truth(self._own(clip))

    def events(self, clip: Clip) -> tuple[SoundEvent, ...]:
        return self._whole.events(self._own(clip))

    def credit(self, clip: Clip) -> str:
        return self._whole.credit(self._own(clip))

    def section(self, clip: Clip) -> tuple[float, float | None]:
        return self._whole.section(self._own(clip))

    def undecided(self, clips: Sequence[Clip], listener: Listener) -> list[str | None]:
        return self._whole.undecided([self._own(clip) for clip in clips], listener)

    def stem(self, clip: Clip) -> np.ndarray:
        return self._whole.stem(self._own(clip))

    def ground_truth_at(self, clip: Clip, domain: Domain, samples: int | None = None, long: str = "cut") -> np.ndarray:
        return self._whole.ground_truth_at(self._own(clip), domain, samples, long)

    def stem_at(self, clip: Clip, sample_rate: int, samples: int | None = None, long: str = "cut") -> np.ndarray:
        return self._whole.stem_at(self._own(clip), sample_rate, samples, long)

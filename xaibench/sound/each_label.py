"""Clips of which several classes are true, each of these classes as a target of its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from xaibench.sound.dataset import Clip, Dataset
from xaibench.sound.derived import Derived

MARK = "#"


class EachLabel(Derived):
    """One clip, ID#LABEL, for each label of each clip; recordings and folds stay what they are.

    Args:
        dataset: clips of which several classes may be true.
    """

    def __init__(self, dataset: Dataset) -> None:
        super().__init__(dataset)
        # Known of a clip, and not of each of its labels.
        self.has_ground_truth = self.has_two_sounds = False
        self._clips = {clip.id: clip for clip in dataset.clips}
        self.clips = tuple(one for clip in dataset.clips for one in self._each(clip))
        self._last: tuple[tuple[str, int], np.ndarray] | None = None

    def waveform_at(self, clip: Clip, sample_rate: int, samples: int | None = None, long: str = "cut") -> np.ndarray:
        """Return one clip as a classifier hears it; the labels of a clip, which are neighbours, share what was read."""
        if samples is not None:
            return super().waveform_at(clip, sample_rate, samples, long)
        key = self._own(clip).id, sample_rate
        if self._last is None or self._last[0] != key:
            self._last = key, super().waveform_at(clip, sample_rate)
        return self._last[1].copy()

    def _each(self, clip: Clip) -> list[Clip]:
        every = (clip.label, *clip.others)
        return [
            replace(
                clip,
                id=f"{clip.id}{MARK}{self.classes[label]}",
                label=label,
                others=tuple(other for other in every if other != label),
            )
            for label in every
        ]

    def _own(self, clip: Clip) -> Clip:
        return self._clips[clip.id.removesuffix(MARK + self.classes[clip.label])]

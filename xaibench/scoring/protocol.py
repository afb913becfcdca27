"""Protocols: what turns sound into input and logits into probabilities, and which numbers are then read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from torch import Tensor

from xaibench import registry
from xaibench.classifiers.base import Classifier
from xaibench.sound import audio
from xaibench.sound.batch import Batch
from xaibench.sound.dataset import Clip, Dataset
from xaibench.sound.domain import Domain

DEFAULT = "standard"


@dataclass(frozen=True, kw_only=True)
class Summary:
    """One table that a protocol adds to what every run prints.

    Attributes:
        title: over the table.
        lines: one row per quantity, whose name is in the index; floats are printed with six decimals.
        notes: sentences below the table.
    """

    title: str
    lines: pd.DataFrame
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How clips become the numbers of a run; docs/protocols.md says what each is for.

    A protocol is registered in the entry-point group `xaibench.protocols`. Explainers and metrics name the
    protocols that they belong to. The masks that are scored belong to the metrics, as perturbations.

    Attributes:
        name: registry name.
        id: what the results call it; it changes when a number changes its meaning.
        limited: whether samples are clipped to [-1, 1] first.
        spectrogram: turns waveforms (batch, 80000) into the pictures (batch, 513, 431) that classifiers are fed;
            None where classifiers hear sound, and changed pictures are turned into sound first.
        temperature: of the softmax, or None for the scale that the classifier's head was trained at.
        summarise: makes tables of its own from the per-clip rows of a run, or None.
    """

    name: str
    id: str
    limited: bool
    spectrogram: Callable[[Tensor], Tensor] | None = None
    temperature: float | None = None
    summarise: Callable[[pd.DataFrame], list[Summary]] | None = None

    @property
    def heard(self) -> bool:
        """Whether classifiers hear sound; else they are fed pictures."""
        return self.spectrogram is None

    def waveform(self, dataset: Dataset, clip: Clip, classifier: Classifier) -> np.ndarray:
        """Return the samples of one clip as a classifier hears it, float32 (samples,)."""
        if not self.limited:
            return dataset.unlimited_waveform(clip)
        return dataset.waveform_at(clip, classifier.sample_rate, classifier.samples)

    def batch(
        self,
        waveform: Tensor,
        clip_ids: tuple[str, ...],
        domain: Domain,
        seed: int = 0,
    ) -> Batch:
        """Make a batch of waveforms (batch, samples), on their device.

        Args:
            waveform: as `waveform` returns them.
            clip_ids: one a clip.
            domain: of the classifier's pictures.
            seed: of the run.
        """
        if self.spectrogram is not None:
            return Batch(self.spectrogram(waveform), clip_ids, seed)
        return Batch.of_sound(waveform, clip_ids, domain, seed)


STANDARD = Protocol(name="standard", id="standard-2", limited=True)
SPECTROGRAM = Protocol(name="spectrogram", id="standard-1", limited=True, spectrogram=audio.spectrogram)


def default() -> Protocol:
    """Return the protocol that is used where none is named."""
    found: Protocol = registry.load("protocols", DEFAULT)
    return found

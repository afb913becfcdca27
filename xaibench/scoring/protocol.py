"""Protocols: what turns sound into input and logits into probabilities, and which numbers are then read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from xaibench.errors import XaibenchError
from xaibench.sound import audio
from xaibench.sound.dataset import Clip, Dataset
from xaibench.speechbrain.spectrogram import legacy_spectrogram


@dataclass(frozen=True)
class Protocol:
    """How clips become the numbers of a run; docs/protocols.md says what each is for.

    Methods and metrics name the protocols they belong to. The masks that are scored belong to the
    metrics, as perturbations.

    Attributes:
        name: what the command line, methods and metrics call it.
        id: what the results call it; changes when a number changes its meaning.
        limited: whether samples are clipped to [-1, 1] first.
        spectrogram: waveforms (batch, 80000) to classifier input (batch, 513, 431).
        temperature: of the softmax, or None for the scale that the classifier's head was trained at.
        batch_clips: clips in a batch of the original code, whose printed means depend on it; None
            where means are over clips.
    """

    name: str
    id: str
    limited: bool
    spectrogram: Callable[[Tensor], Tensor]
    temperature: float | None = None
    batch_clips: int | None = None

    def waveform(self, dataset: Dataset, clip: Clip) -> np.ndarray:
        """Float32 (80000,) samples of one clip."""
        return dataset.waveform(clip) if self.limited else dataset.unlimited_waveform(clip)


STANDARD = Protocol("standard", "standard-1", True, audio.spectrogram)
LEGACY = Protocol("legacy-speechbrain", "legacy-speechbrain", False, legacy_spectrogram, temperature=1.0, batch_clips=6)
PROTOCOLS = {protocol.name: protocol for protocol in (STANDARD, LEGACY)}


def find(name: str) -> Protocol:
    """The protocol of a name.

    Raises:
        XaibenchError: there is none.
    """
    if name not in PROTOCOLS:
        raise XaibenchError(f"unknown protocol '{name}'; there are {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]

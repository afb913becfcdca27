"""Protocols: what turns sound into input and logits into probabilities, and which numbers are then read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from xaibench import registry
from xaibench.classifiers.base import Classifier
from xaibench.classifiers.windows import Windowed
from xaibench.errors import XaibenchError
from xaibench.scoring.targets import PREDICTED, TARGETS
from xaibench.sound import audio
from xaibench.sound.batch import Batch
from xaibench.sound.dataset import Clip, Dataset
from xaibench.sound.fills import FILLS, SILENCE

DEFAULT = "standard"
WINDOWS = "windows"  # a longer clip is heard whole, window by window
LONG = (*audio.LONG, WINDOWS)


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
        fixed: whether it repeats what other code prints, so that its fill, target and `long` cannot be chosen.
        fill: what takes the place of removed bins, one of `sound.fills.FILLS`.
        target: which class is explained, one of TARGETS.
        long: what is heard of a clip that is longer than a classifier's input, one of LONG.
        temperature: of the softmax, or None for the scale that the classifier's head was trained at.
        summarise: makes tables of its own from the per-clip rows of a run, or None.
    """

    name: str
    id: str
    limited: bool
    spectrogram: Callable[[Tensor], Tensor] | None = None
    fixed: bool = False
    fill: str = SILENCE
    target: str = PREDICTED
    long: str = audio.CUT
    temperature: float | None = None
    summarise: Callable[[pd.DataFrame], list[Summary]] | None = None

    @property
    def heard(self) -> bool:
        """Whether classifiers hear sound; else they are fed pictures."""
        return self.spectrogram is None

    def with_choices(self, fill: str, target: str, long: str = audio.CUT) -> Protocol:
        """Return the protocol with other choices; numbers of two of them are not compared.

        Args:
            fill, target, long: as the attributes of these names.

        Raises:
            XaibenchError: there is no such choice, or the protocol has none.
        """
        for what, value, known in (("fill", fill, FILLS), ("target", target, TARGETS), ("long", long, LONG)):
            if value not in known:
                raise XaibenchError(f"unknown {what} {value!r}; choose one of {', '.join(known)}")
        if fill != SILENCE and not self.heard:
            raise XaibenchError(
                f"the protocol {self.name} feeds pictures, and the fill {fill} is a sound; use --protocol {DEFAULT}"
            )
        if target != PREDICTED and self.fixed:
            raise XaibenchError(
                f"the protocol {self.name} explains the predicted class, as the original does; use --protocol {DEFAULT}"
            )
        if long != audio.CUT and self.fixed:
            raise XaibenchError(
                f"the protocol {self.name} hears the beginning of long clips, as the original does; use --protocol "
                f"{DEFAULT}"
            )
        if long == WINDOWS and not self.heard:
            raise XaibenchError(
                f"the protocol {self.name} feeds pictures of one length, and windows are of sound; use --protocol "
                f"{DEFAULT}"
            )
        return replace(self, fill=fill, target=target, long=long)

    def listening(self, classifier: Classifier) -> Classifier:
        """Return a classifier as it hears clips: one of any length, if it hears long ones window by window."""
        return classifier if self.long != WINDOWS or classifier.samples is None else Windowed(classifier)

    def waveform(self, dataset: Dataset, clip: Clip, classifier: Classifier) -> np.ndarray:
        """Return what a classifier hears of one clip, float32 (samples,): cut to its input, but not padded.

        Args:
            dataset, clip: whose sound it is.
            classifier: as `listening` returns it. By windows, it hears a whole clip, which lasts a window at least.
        """
        whole = dataset.waveform_at(clip, classifier.sample_rate) if self.limited else dataset.unlimited_waveform(clip)
        if isinstance(classifier, Windowed):
            return audio.of_length(whole, max(len(whole), classifier.window))
        return audio.of_length(whole, min(len(whole), classifier.samples or len(whole)), self.long)

    def batch(
        self,
        sounds: Sequence[np.ndarray],
        clip_ids: tuple[str, ...],
        classifier: Classifier,
        seed: int = 0,
    ) -> Batch:
        """Make a batch of clips, on the CPU.

        Args:
            sounds: as `waveform` returns them; of one length if the classifier's input has none.
            clip_ids: one a clip.
            classifier: that hears them; they are padded with zeros to its input, and this padding is no evidence.
            seed: of the run.
        """
        waveform = padded(sounds, classifier)
        if self.spectrogram is not None:
            return Batch(self.spectrogram(waveform), clip_ids, seed)
        return Batch.of_sound(waveform, clip_ids, classifier.domain, seed)


STANDARD = Protocol(name="standard", id="standard-2", limited=True)
SPECTROGRAM = Protocol(name="spectrogram", id="standard-1", limited=True, spectrogram=audio.spectrogram)


def padded(sounds: Sequence[np.ndarray], classifier: Classifier) -> Tensor:
    """Pad sounds with zeros at their ends to a classifier's input length, if it has one: (batch, samples)."""
    return torch.stack([torch.from_numpy(audio.of_length(one, classifier.samples or len(one))) for one in sounds])


def default() -> Protocol:
    """Return the protocol that is used where none is named."""
    found: Protocol = registry.load("protocols", DEFAULT)
    return found

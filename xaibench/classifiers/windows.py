"""A classifier that hears a longer clip window by window."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from xaibench.classifiers.base import Classifier


class Windowed(Classifier):
    """A classifier of one input length, as one of any: its probabilities are the means over windows of that length.

    Windows overlap by half (by whole frames of the picture), and the last one is flush with the end of the clip. A clip
    that is shorter than a window is padded with zeros at its end.

    Attributes:
        inner: the classifier, which hears one window.
        window: its input length in samples.
    """

    samples = None

    def __init__(self, inner: Classifier) -> None:
        super().__init__(inner.name, inner.family, inner.classes, inner.temperature)
        assert inner.samples is not None
        self.inner, self.window = inner, inner.samples
        self.activation, self.sample_rate, self.domain = inner.activation, inner.sample_rate, inner.domain
        # What else it gives belongs to the picture of a window.
        self.capabilities = inner.capabilities & {"gradients"}
        self.training = inner.training

    @property
    def device(self) -> torch.device:
        """The device of the classifier."""
        return self.inner.device

    def starts(self, samples: int) -> list[int]:
        """Return the first sample of each window of a clip of so many samples."""
        last = max(0, samples - self.window)
        hop = self.domain.hop_samples
        step = max(hop, self.window // 2 // hop * hop)
        return [*range(0, last, step), last]

    def first_frame(self, start: int, samples: int) -> int:
        """Return the frame of a clip's picture on which the first one of a window lies.

        That of the last window, which begins between two frames, is the nearest one from which the window's frames
        reach to the end.
        """
        nearest = round(start / self.domain.hop_samples)
        if start < samples - self.window:
            return nearest
        return max(nearest, self.domain.shape(samples)[1] - self.domain.shape(self.window)[1])

    def logits(self, waveform: Tensor) -> Tensor:
        """Logits (batch, classes) of the mean probabilities of the windows of waveforms (batch, samples)."""
        samples = waveform.shape[1]
        padded = functional.pad(waveform, (0, max(0, self.window - samples)))
        each = [self.inner.logits(padded[:, start : start + self.window]) for start in self.starts(samples)]
        if len(each) == 1:
            return each[0]
        scaled = self.temperature * torch.stack(each).float()
        if self.activation == "sigmoid":
            yes, no = (functional.logsigmoid(sign * scaled).logsumexp(dim=0) for sign in (1, -1))
            return (yes - no) / self.temperature
        means = scaled.log_softmax(dim=2).logsumexp(dim=0).log_softmax(dim=1)
        return means / self.temperature

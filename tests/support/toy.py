"""A classifier small enough to follow by hand, and evidence made from it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from xaibench.classifiers.base import Classifier, PictureClassifier
from xaibench.classifiers.forward import Forwarder
from xaibench.explaining.bound import BoundExplainer
from xaibench.scoring.clean import Clean
from xaibench.scoring.context import ScoringContext
from xaibench.sound.batch import Batch
from xaibench.testing import GradientTimesInput


class LinearToy(PictureClassifier):
    """Logits linear in a 4 x 3 mean-pooled spectrogram of any size, in double precision.

    Double precision makes batched and single forward passes agree to 1e-12, so that a reference
    that forwards one clip at a time may be held to 1e-9.

    Attributes:
        forwarded: spectrograms in each forward pass so far.
    """

    def __init__(self, classes: int = 5, temperature: float = 3.0, seed: int = 0) -> None:
        super().__init__("linear-toy", "toy", [f"class-{i}" for i in range(classes)], temperature)
        generator = torch.Generator().manual_seed(seed)
        self.weight = torch.randn(classes, 12, generator=generator, dtype=torch.float64)
        self.bias = 0.5 * torch.randn(classes, generator=generator, dtype=torch.float64)
        self.forwarded: list[int] = []

    def picture_logits(self, x: Tensor) -> Tensor:
        self.forwarded.append(len(x))
        pooled = torch.nn.functional.adaptive_avg_pool2d(x.double()[:, None], (4, 3))
        return pooled.flatten(1) @ self.weight.T + self.bias


class RegionToy(PictureClassifier):
    """Logit c is the mean of row band c of the spectrogram: the evidence of class c is that band."""

    def __init__(self, classes: int = 3, temperature: float = 8.0) -> None:
        super().__init__("region-toy", "toy", [f"band-{i}" for i in range(classes)], temperature)

    def picture_logits(self, x: Tensor) -> Tensor:
        bands = x.double().tensor_split(len(self.classes), dim=1)
        return torch.stack([band.mean(dim=(1, 2)) for band in bands], dim=1)


def ids(count: int) -> tuple[str, ...]:
    """Clip ids."""
    return tuple(f"clip-{i}" for i in range(count))


def context(
    classifier: Classifier,
    x: Tensor,
    importance: Tensor,
    known: Tensor | None = None,
    clip_ids: Sequence[str] | None = None,
    batch_size: int = 16,
) -> ScoringContext:
    """Evidence as the evaluation loop makes it; importance is cast to its contract, float32."""
    forwarder = Forwarder(classifier, batch_size)
    batch = Batch(x, tuple(clip_ids) if clip_ids is not None else ids(len(x)), 0, known)
    clean = Clean(batch, forwarder.logits(x), forwarder.logits(torch.zeros_like(x[:1]))[0])
    return ScoringContext(clean, importance.float(), BoundExplainer(GradientTimesInput(), forwarder))


def probability_function(classifier: Classifier) -> Callable[[np.ndarray], np.ndarray]:
    """p = softmax(temperature * logits) of one numpy spectrogram (freq, time), by hand."""

    def probabilities(x: np.ndarray) -> np.ndarray:
        logits = [float(value) for value in classifier.picture_logits(torch.as_tensor(x)[None])[0]]
        weights = [math.exp(classifier.temperature * (logit - max(logits))) for logit in logits]
        return np.array([weight / math.fsum(weights) for weight in weights])

    return probabilities

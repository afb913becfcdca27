"""A method, metrics and clips that no package registers, and clips in memory."""

from __future__ import annotations

import numpy as np
from torch import Tensor

import xaibench as xb
from xaibench.sound.synth import Synth


class LoudBins(xb.Explainer):
    """A map of powers of the log magnitude."""

    title = "Loud bins"
    reference = "none"
    description = "a power of the log magnitude"
    polarity = "positive"
    parameters = {"power": 2.0, "window": (3, 4), "steps": 8, "centred": False, "baseline": "silence"}
    choices = {"baseline": ("silence",)}

    def explain(self, classifier: xb.Classifier, batch: xb.Batch, target: Tensor) -> xb.Explanation:
        return xb.Explanation(batch.x ** self.parameters["power"], batch.picture_shape)


class MeanLoss(xb.Metric):
    """The mean of the map, which shall be small."""

    title = "ML"
    family = "mine"
    reference = "none"
    description = "mean importance"
    formula = "mean"
    traps = "none"
    higher_is_better = False
    bounds = (0.0, float("inf"))
    cost = "none"

    def score(self, context: xb.ScoringContext, area: float | None) -> xb.Scores:
        return xb.scores(context.importance.mean(dim=(1, 2)))


class Failing(MeanLoss):
    """A metric that fails."""

    def score(self, context: xb.ScoringContext, area: float | None) -> xb.Scores:
        raise ValueError("no such luck")


def sounds(count: int = 3) -> list[np.ndarray]:
    """Clips of synth."""
    dataset = Synth()
    return [dataset.waveform(clip) for clip in dataset.in_folds([5])[:count]]


def bells(count: int = 3) -> xb.Dataset:
    """Clips in memory with the classes of the toy classifiers."""
    return xb.clips(sounds(count), 16_000, ["bell", "crow", "rain"][:count], xb.toy_classifier().classes)

"""Rule-based backward passes through Captum. They are defined for networks whose only non-linearity is ReLU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import captum.attr
import torch
from torch import Tensor, nn

from xaibench.classifiers.base import Classifier
from xaibench.explaining.explainer import Explainer
from xaibench.explaining.explanation import Explanation
from xaibench.sound.batch import Batch

from ._captum import TargetScore, quiet


class DeepLift(Explainer):
    title = "DeepLIFT"
    reference = "Shrikumar, Greenside, Kundaje, arXiv 1704.02685 (rescale rule)"
    description = "difference from silence, propagated back by the rescale rule; sums to the logit's difference"
    polarity = "positive"
    requires = frozenset({"rectifiers"})
    parameters = {"baseline": "silence", "rule": "rescale"}

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        x = batch.x.clone().requires_grad_()
        with quiet(), _without_leftovers(classifier):
            attribution = captum.attr.DeepLift(TargetScore(classifier)).attribute(
                x, baselines=torch.zeros_like(x), target=target
            )
        return Explanation(attribution.detach(), batch.picture_shape)


@contextmanager
def _without_leftovers(classifier: Classifier) -> Iterator[None]:
    """Remove the activations that DeepLIFT stores on each ReLU, which Captum leaves there after an exception."""
    try:
        yield
    finally:
        for module in classifier.modules():
            if isinstance(module, nn.ReLU):
                vars(module).pop("input", None)
                vars(module).pop("output", None)


class GuidedBackprop(Explainer):
    title = "Guided backprop"
    reference = "Springenberg et al., arXiv 1412.6806"
    description = "gradient that passes a ReLU only where both the activation and the gradient are positive"
    polarity = "positive"
    requires = frozenset({"rectifiers"})

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        return Explanation(guided_backprop(classifier, batch.x, target), batch.picture_shape)


def guided_backprop(classifier: Classifier, x: Tensor, target: Tensor) -> Tensor:
    """Compute guided gradients of spectrograms (batch, 513, 431), same shape, signed."""
    with quiet():
        return (
            captum.attr.GuidedBackprop(TargetScore(classifier)).attribute(x.clone().requires_grad_(), target).detach()
        )

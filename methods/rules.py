"""Rule-based backward passes through Captum. They are defined for networks whose only non-linearity is ReLU.

The rules end at the picture: they know no synthesis, so the classifier is fed the picture as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import captum.attr
import torch
from torch import Tensor, nn

from xaibench.classifiers.base import Classifier
from xaibench.errors import ExplanationError
from xaibench.explaining.explainer import Explainer
from xaibench.explaining.explanation import Explanation
from xaibench.sound.batch import Batch
from xaibench.sound.fills import FILLS, fill_of

from ._captum import TargetScore, quiet

# Rounding moves the sum by less than 1e-6 of the rise (cnn-micro on ESC-10); a rectification that is not seen leaves
# much more.
TOLERANCE = 1e-3
_ROUNDINGS = 16  # of a logit, by which sums of many terms may be off


class DeepLift(Explainer):
    title = "DeepLIFT"
    family = "rules"
    reference = "Shrikumar, Greenside, Kundaje, arXiv 1704.02685 (rescale rule)"
    description = "difference from the baseline, propagated back by the rescale rule; sums to the logit's difference"
    polarity = "positive"
    requires = frozenset({"gradients", "picture", "rectifiers"})
    parameters = {"baseline": "silence", "rule": "rescale"}
    choices = {"baseline": FILLS, "rule": ("rescale",)}

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        fill = fill_of(self.parameters["baseline"], batch, classifier.domain)
        baseline = None if fill is None else fill.picture.x
        return Explanation(contributions(classifier, batch, target, baseline), batch.picture_shape)


class GuidedBackprop(Explainer):
    title = "Guided backprop"
    family = "rules"
    reference = "Springenberg et al., arXiv 1412.6806"
    description = "gradient that passes a ReLU only where both the activation and the gradient are positive"
    polarity = "positive"
    requires = frozenset({"gradients", "picture", "rectifiers"})

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        return Explanation(guided_backprop(classifier, batch, target), batch.picture_shape)


def contributions(classifier: Classifier, batch: Batch, target: Tensor, baseline: Tensor | None = None) -> Tensor:
    """Compute DeepLIFT's contributions, (batch, freq, time), signed.

    Args:
        classifier: to be explained.
        batch: the clips.
        target: class indices (batch,).
        baseline: pictures to compare them with, (batch, freq, time); None for silence.

    Raises:
        ExplanationError: they do not sum to the rise of the logit (Shrikumar et al., section 3.1), so that the
            classifier rectifies somewhere where Captum's hooks do not see it.
    """
    score, x = TargetScore(classifier, None), batch.x
    rest = torch.zeros_like(x) if baseline is None else baseline
    with quiet(), _without_leftovers(classifier):
        found = captum.attr.DeepLift(score).attribute(x.clone().requires_grad_(), baselines=rest, target=target)
    found = found.detach()
    with torch.no_grad():
        here, there = (score(one).gather(1, target[:, None])[:, 0].double() for one in (x, rest))
    rise, total = here - there, found.double().flatten(1).sum(dim=1)
    slack = TOLERANCE * (rise.abs() + 0.1 * found.double().abs().flatten(1).sum(dim=1))
    # With random weights a rise may be no larger than the rounding of the two logits.
    slack += _ROUNDINGS * torch.finfo(x.dtype).eps * torch.maximum(here.abs(), there.abs())
    wrong = ~((total - rise).abs() <= slack)
    if wrong.any():
        i = int(wrong.nonzero()[0, 0])
        raise ExplanationError(
            f"{classifier.name} rectifies where the rules of this method do not reach: DeepLIFT's contributions sum to "
            f"{float(total[i]):.4g}, the logit rises by {float(rise[i]):.4g}. Make every non-linearity an nn.ReLU "
            "module that runs once, or take 'rectifiers' from the classifier's capabilities"
        )
    return found


def guided_backprop(classifier: Classifier, batch: Batch, target: Tensor) -> Tensor:
    """Compute guided gradients of pictures, (batch, freq, time), signed.

    Raises:
        ExplanationError: the classifier rectifies somewhere where Captum's hooks do not see it.
    """
    # Its own result has no sum that would tell; the same hooks see the same modules.
    contributions(classifier, batch, target)
    x = batch.x.clone().requires_grad_()
    with quiet():
        return captum.attr.GuidedBackprop(TargetScore(classifier, None)).attribute(x, target).detach()


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

"""Class activation maps through Captum, on the classifier's deepest spatial feature map."""

from __future__ import annotations

import captum.attr
import torch
from torch import Tensor

from xaibench.classifiers.base import Classifier
from xaibench.explaining.explainer import Explainer
from xaibench.explaining.explanation import Explanation
from xaibench.sound.batch import Batch

from ._captum import TargetScore
from .rules import guided_backprop


class GradCam(Explainer):
    title = "Grad-CAM"
    reference = "Selvaraju et al., arXiv 1610.02391"
    description = "feature maps weighted by their mean gradient, rectified, resized to the spectrogram"
    polarity = "positive"

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        maps = _cam(classifier, batch.x, target)
        return Explanation(classifier.front_end.to_picture(maps), (maps.shape[1], maps.shape[2]))


class GuidedGradCam(Explainer):
    title = "Guided Grad-CAM"
    reference = "Selvaraju et al., arXiv 1610.02391"
    description = "guided backprop times the resized Grad-CAM"
    polarity = "positive"
    requires = frozenset({"rectifiers"})

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        # Captum's own GuidedGradCam resizes over the image; only the front end knows its axes.
        cam = classifier.front_end.to_picture(_cam(classifier, batch.x, target))
        return Explanation(cam * guided_backprop(classifier, batch.x, target), batch.picture_shape)


def _cam(classifier: Classifier, x: Tensor, target: Tensor) -> Tensor:
    """Grad-CAM at the resolution of the feature map, (batch, h, w)."""
    method = captum.attr.LayerGradCam(TargetScore(classifier), classifier.feature_maps)
    maps = method.attribute(x.clone().requires_grad_(), target, relu_attributions=True)
    assert isinstance(maps, torch.Tensor)
    return maps[:, 0].detach()

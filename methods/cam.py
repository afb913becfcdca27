"""Class activation maps through Captum, on the classifier's deepest spatial feature map."""

from __future__ import annotations

from typing import cast

import captum.attr
import torch
from torch import Tensor, nn

from xaibench.classifiers.base import Classifier
from xaibench.classifiers.capabilities import FeatureMapped
from xaibench.explaining.explainer import Explainer
from xaibench.explaining.explanation import Explanation
from xaibench.sound.batch import Batch

from ._picture import on_picture
from .rules import guided_backprop


class GradCam(Explainer):
    title = "Grad-CAM"
    family = "class activation"
    reference = "Selvaraju et al., arXiv 1610.02391"
    description = "feature maps weighted by their mean gradient, rectified, resized to the spectrogram"
    polarity = "positive"
    requires = frozenset({"gradients", "feature_map"})

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        maps = _cam(classifier, batch, target)
        return Explanation(on_picture(classifier, maps, batch), (maps.shape[1], maps.shape[2]))


class GuidedGradCam(Explainer):
    title = "Guided Grad-CAM"
    family = "class activation"
    reference = "Selvaraju et al., arXiv 1610.02391"
    description = "guided backprop times the resized Grad-CAM"
    polarity = "positive"
    requires = frozenset({"gradients", "picture", "feature_map", "rectifiers"})

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        # Captum's own GuidedGradCam resizes over the image; only the front end knows its axes.
        cam = on_picture(classifier, _cam(classifier, batch, target), batch)
        return Explanation(cam * guided_backprop(classifier, batch, target), batch.picture_shape)


def _cam(classifier: Classifier, batch: Batch, target: Tensor) -> Tensor:
    """Grad-CAM at the resolution of the feature map, (batch, h, w)."""
    layer = cast(FeatureMapped, classifier).feature_maps
    method = captum.attr.LayerGradCam(_ScoreOfClips(classifier), layer)
    clips = batch.x if batch.waveform is None else batch.waveform
    maps = method.attribute(
        clips.clone().requires_grad_(), target, additional_forward_args=not batch.heard, relu_attributions=True
    )
    assert isinstance(maps, torch.Tensor)
    return maps[:, 0].detach()


class _ScoreOfClips(nn.Module):
    """The score of clips as they are: what the feature map is made of."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, clips: Tensor, pictures: bool) -> Tensor:
        logits = self.classifier.picture_logits(clips) if pictures else self.classifier.logits(clips)
        return self.classifier.temperature * logits

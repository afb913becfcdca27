"""Class activation maps from gradients, on a feature map of the classifier: by default the deepest."""

from __future__ import annotations

import captum.attr
import torch
from torch import Tensor, nn

from xaibench.classifiers.base import Classifier
from xaibench.classifiers.layers import noise
from xaibench.errors import ExplanationError
from xaibench.explaining.explanation import Explanation
from xaibench.sound.audio import clip_samples
from xaibench.sound.batch import Batch

from ._features import ClassActivation, seen_maps
from ._picture import explained, on_picture
from .rules import guided_backprop


class GradCam(ClassActivation):
    title = "Grad-CAM"
    reference = "Selvaraju et al., arXiv 1610.02391"
    description = "feature maps weighted by their mean gradient, rectified, resized to the spectrogram"

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        maps = _cam(classifier, self.layer(classifier), batch, target)
        return explained(classifier, maps, batch)


class GuidedGradCam(ClassActivation):
    title = "Guided Grad-CAM"
    reference = "Selvaraju et al., arXiv 1610.02391"
    description = "guided backprop times the resized Grad-CAM"
    requires = frozenset({"gradients", "picture", "feature_map", "rectifiers"})

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        # Captum's own GuidedGradCam resizes over the image; only the front end knows its axes.
        cam = on_picture(classifier, _cam(classifier, self.layer(classifier), batch, target), batch)
        return Explanation(cam * guided_backprop(classifier, batch, target), batch.picture_shape)


class LayerCam(ClassActivation):
    """LayerCAM: every place of a feature map has a weight of its own, relu(gradient)."""

    title = "LayerCAM"
    reference = "Jiang, Zhang, Hou, Cheng, Wei, LayerCAM, IEEE TIP 30, 2021"
    description = "feature maps weighted, place by place, by their positive gradients, summed and rectified"

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        features, slopes = _features(classifier, self.layer(classifier), batch, target)
        maps = (slopes.clamp(min=0) * features).sum(dim=1).clamp(min=0)
        return explained(classifier, maps, batch)


class GradCamPlusPlus(ClassActivation):
    """Grad-CAM++, with the weights of equation 19 of the paper.

    With g the gradient of the logit at one place and S the sum of the feature map, the weight of the map is the sum of
    alpha relu(g) over places, alpha = g^2 / (2 g^2 + S g^3). Only places with g > 0 count, and there alpha is
    1 / (2 + S g). The factor exp(logit), which all weights of a clip share, is left out.
    """

    title = "Grad-CAM++"
    reference = "Chattopadhay, Sarkar, Howlader, Balasubramanian, arXiv 1710.11063"
    description = "feature maps weighted by their positive gradients, those of small regions as much as of large ones"

    def refusal(self, classifier: Classifier, has_ground_truth: bool) -> str | None:
        reason = super().refusal(classifier, has_ground_truth)
        if reason is not None or classifier.training:  # a pass in training would move the statistics of batch norm
            return reason
        return self._unfit(classifier, _of_noise(classifier, self.layer(classifier)))

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        features, slopes = _features(classifier, self.layer(classifier), batch, target)
        unfit = self._unfit(classifier, features)
        if unfit is not None:
            raise ExplanationError(f"{self.title} {unfit}")
        rising = slopes.clamp(min=0)
        total = features.sum(dim=(2, 3), keepdim=True)
        weights = (rising / (2 + total * rising)).sum(dim=(2, 3), keepdim=True)
        maps = (weights * features).sum(dim=1).clamp(min=0)
        return explained(classifier, maps, batch)

    @staticmethod
    def _unfit(classifier: Classifier, features: Tensor) -> str | None:
        # Else 2 + S g may be 0, and the third derivatives of the paper's equation 10 are not these.
        if (features >= 0).all():
            return None
        return f"needs a feature map that is never negative, as after a ReLU, and that of {classifier.name} is not"


def _features(classifier: Classifier, layer: nn.Module, batch: Batch, target: Tensor) -> tuple[Tensor, Tensor]:
    """Feature maps of clips, (batch, channels, h, w), and the gradients of the target's score there."""
    clips = batch.x if batch.waveform is None else batch.waveform
    with torch.enable_grad(), seen_maps(layer) as seen:
        score = _ScoreOfClips(classifier)(clips.clone().requires_grad_(), not batch.heard)
    (slopes,) = torch.autograd.grad(score.gather(1, target[:, None]).sum(), seen[0])
    return seen[0].detach(), slopes


@torch.no_grad()
def _of_noise(classifier: Classifier, layer: nn.Module) -> Tensor:
    """Feature maps of noise of a clip's length."""
    with seen_maps(layer) as seen:
        classifier.logits(noise(classifier.samples or clip_samples(classifier.sample_rate), classifier.device))
    return seen[0]


def _cam(classifier: Classifier, layer: nn.Module, batch: Batch, target: Tensor) -> Tensor:
    """Grad-CAM at the resolution of the feature map, (batch, h, w)."""
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

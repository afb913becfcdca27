"""Gradient methods through Captum, for every differentiable classifier.

The baseline is always silence (x = 0), because the masks of the metrics silence bins too.
"""

from __future__ import annotations

import captum.attr
import torch
from torch import Tensor

from xaibench.classifiers.base import Classifier
from xaibench.explaining.explainer import Explainer
from xaibench.explaining.explanation import Explanation
from xaibench.sound.batch import Batch

from ._captum import INTERNAL_BATCH, TargetScore, per_clip


class Saliency(Explainer):
    title = "Saliency"
    reference = "Simonyan, Vedaldi, Zisserman, arXiv 1312.6034"
    description = "gradient of the predicted class's logit with respect to the spectrogram"
    polarity = "absolute"

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        method = captum.attr.Saliency(TargetScore(classifier))
        x = batch.x.clone().requires_grad_()
        return Explanation(method.attribute(x, target, abs=False).detach(), batch.picture_shape)


class InputXGradient(Explainer):
    title = "Input x gradient"
    reference = "Shrikumar et al., arXiv 1605.01713"
    description = "gradient times spectrogram: the first-order effect of silencing a bin"
    polarity = "positive"

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        method = captum.attr.InputXGradient(TargetScore(classifier))
        x = batch.x.clone().requires_grad_()
        return Explanation(method.attribute(x, target).detach(), batch.picture_shape)


class IntegratedGradients(Explainer):
    title = "Integrated gradients"
    reference = "Sundararajan, Taly, Yan, arXiv 1703.01365"
    description = "spectrogram times the mean gradient along the straight line from silence (Gauss-Legendre)"
    polarity = "positive"
    parameters = {"steps": 32, "baseline": "silence"}

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        method = captum.attr.IntegratedGradients(TargetScore(classifier))
        # Captum needs at least one step of every clip in its internal batch.
        internal = max(INTERNAL_BATCH, len(batch))
        x = batch.x.clone()
        attribution = method.attribute(x, target=target, n_steps=self.parameters["steps"], internal_batch_size=internal)
        return Explanation(attribution.detach().float(), batch.picture_shape)


class SmoothGrad(Explainer):
    title = "SmoothGrad"
    reference = "Smilkov et al., arXiv 1706.03825"
    description = "mean gradient over noisy copies of the spectrogram"
    polarity = "absolute"
    parameters = {"samples": 24, "noise_level": 0.15}

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        method = captum.attr.NoiseTunnel(captum.attr.Saliency(TargetScore(classifier)))

        def attribute(x: Tensor, c: Tensor) -> Tensor:
            # The paper's noise level is relative to the input's range.
            spread = float(self.parameters["noise_level"] * (x.max() - x.min()))
            return method.attribute(
                x,
                nt_type="smoothgrad",
                nt_samples=self.parameters["samples"],
                nt_samples_batch_size=min(INTERNAL_BATCH, self.parameters["samples"]),
                stdevs=max(spread, 1e-12),
                target=c,
                abs=False,
            )

        return Explanation(per_clip(batch, target, "smoothgrad", attribute), batch.picture_shape)


class GradientShap(Explainer):
    title = "GradientSHAP"
    reference = "Lundberg, Lee, arXiv 1705.07874; Erion et al., arXiv 1906.10670"
    description = "spectrogram times the mean gradient at random points between silence and noisy copies"
    polarity = "positive"
    parameters = {"samples": 24, "noise_level": 0.05, "baseline": "silence"}

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        method = captum.attr.GradientShap(TargetScore(classifier))
        draws = self.parameters["samples"]

        def attribute(x: Tensor, c: Tensor) -> Tensor:
            spread = float(self.parameters["noise_level"] * (x.max() - x.min()))
            total = torch.zeros_like(x)
            for start in range(0, draws, INTERNAL_BATCH):
                count = min(INTERNAL_BATCH, draws - start)
                part = method.attribute(
                    x, baselines=torch.zeros_like(x), n_samples=count, stdevs=max(spread, 1e-12), target=c
                )
                total += part.detach().float() * (count / draws)
            return total

        return Explanation(per_clip(batch, target, "gradient-shap", attribute), batch.picture_shape)

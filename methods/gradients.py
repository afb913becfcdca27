"""Gradient methods through Captum, for every classifier that gives gradients.

The baseline is always silence (x = 0), because the masks of the metrics silence bins too. Where the classifier hears
sound, the gradient goes through the synthesis of the picture (`path=sound`), because that is what is scored. With
`path=direct` a classifier that reads pictures is differentiated as if it were fed the picture.
"""

from __future__ import annotations

from dataclasses import replace

import captum.attr
import torch
from torch import Tensor

from xaibench.classifiers.base import Classifier
from xaibench.explaining.explainer import Explainer
from xaibench.explaining.explanation import Explanation
from xaibench.sound.batch import Batch

from ._captum import INTERNAL_BATCH, TargetScore, per_clip
from ._gains import gain_gradient, integrated_gain_gradients

PATHS = ("sound", "direct")


class _Gradient(Explainer):
    """Base of the methods that differentiate the score."""

    requires = frozenset({"gradients"})
    parameters = {"path": "sound"}
    choices = {"path": PATHS, "baseline": ("silence",)}

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        if self.parameters["path"] == "direct" and batch.heard:
            batch = replace(batch, phase=None, waveform=None)
        maps = self.attribute(classifier, batch, target)
        return Explanation(maps.detach().float(), batch.picture_shape)

    def refusal(self, classifier: Classifier, has_ground_truth: bool) -> str | None:
        if self.parameters["path"] == "direct" and "picture" not in classifier.capabilities:
            return f"cannot take the direct path: {classifier.name} hears sound and reads no pictures; use path=sound"
        return super().refusal(classifier, has_ground_truth)

    def attribute(self, classifier: Classifier, batch: Batch, target: Tensor) -> Tensor:
        """Attribute pictures: maps (batch, freq, time)."""
        raise NotImplementedError


class Saliency(_Gradient):
    title = "Saliency"
    reference = "Simonyan, Vedaldi, Zisserman, arXiv 1312.6034"
    description = "gradient of the predicted class's logit with respect to the log magnitudes"
    polarity = "absolute"

    def attribute(self, classifier: Classifier, batch: Batch, target: Tensor) -> Tensor:
        method = captum.attr.Saliency(TargetScore(classifier, batch.samples))
        x = batch.x.clone().requires_grad_()
        return method.attribute(x, target, abs=False, additional_forward_args=batch.phase)


class InputXGradient(_Gradient):
    title = "Input x gradient"
    reference = "Shrikumar et al., arXiv 1605.01713"
    description = (
        "gradient times log magnitude: the first-order effect of silencing a bin; of a classifier that does not read "
        "the picture, the derivative along the bin's gain"
    )
    polarity = "positive"

    def attribute(self, classifier: Classifier, batch: Batch, target: Tensor) -> Tensor:
        score = TargetScore(classifier, batch.samples)
        if "picture" not in classifier.capabilities:
            return gain_gradient(score, batch, target)
        x = batch.x.clone().requires_grad_()
        return captum.attr.InputXGradient(score).attribute(x, target, additional_forward_args=batch.phase)


class IntegratedGradients(_Gradient):
    title = "Integrated gradients"
    reference = "Sundararajan, Taly, Yan, arXiv 1703.01365"
    description = (
        "log magnitude times the mean gradient along the straight line from silence (Gauss-Legendre); of a classifier "
        "that does not read the picture, the integral of the gain's gradient as the clip is faded in, evenly in dB"
    )
    polarity = "positive"
    parameters = {"path": "sound", "steps": 32, "baseline": "silence"}

    def attribute(self, classifier: Classifier, batch: Batch, target: Tensor) -> Tensor:
        score, steps = TargetScore(classifier, batch.samples), self.parameters["steps"]
        if "picture" not in classifier.capabilities:
            return integrated_gain_gradients(score, batch, target, steps)
        # Captum needs at least one step of every clip in its internal batch.
        internal = max(INTERNAL_BATCH, len(batch))
        return captum.attr.IntegratedGradients(score).attribute(
            batch.x.clone(),
            target=target,
            additional_forward_args=batch.phase,
            n_steps=steps,
            internal_batch_size=internal,
        )


class SmoothGrad(_Gradient):
    title = "SmoothGrad"
    reference = "Smilkov et al., arXiv 1706.03825"
    description = "mean gradient over noisy copies of the log magnitudes"
    polarity = "absolute"
    parameters = {"path": "sound", "samples": 24, "noise_level": 0.15}

    def attribute(self, classifier: Classifier, batch: Batch, target: Tensor) -> Tensor:
        method = captum.attr.NoiseTunnel(captum.attr.Saliency(TargetScore(classifier, batch.samples)))

        def attribute(clip: Batch, c: Tensor) -> Tensor:
            # The paper's noise level is relative to the input's range.
            spread = float(self.parameters["noise_level"] * (clip.x.max() - clip.x.min()))
            return method.attribute(
                clip.x.clone(),
                nt_type="smoothgrad",
                nt_samples=self.parameters["samples"],
                nt_samples_batch_size=min(INTERNAL_BATCH, self.parameters["samples"]),
                stdevs=max(spread, 1e-12),
                target=c,
                abs=False,
                additional_forward_args=clip.phase,
            )

        return per_clip(batch, target, "smoothgrad", attribute)


class GradientShap(_Gradient):
    title = "GradientSHAP"
    reference = "Lundberg, Lee, arXiv 1705.07874; Erion et al., arXiv 1906.10670"
    description = "log magnitude times the mean gradient at random points between silence and noisy copies"
    polarity = "positive"
    parameters = {"path": "sound", "samples": 24, "noise_level": 0.05, "baseline": "silence"}

    def attribute(self, classifier: Classifier, batch: Batch, target: Tensor) -> Tensor:
        method = captum.attr.GradientShap(TargetScore(classifier, batch.samples))
        draws = self.parameters["samples"]

        def attribute(clip: Batch, c: Tensor) -> Tensor:
            spread = float(self.parameters["noise_level"] * (clip.x.max() - clip.x.min()))
            total = torch.zeros_like(clip.x)
            for start in range(0, draws, INTERNAL_BATCH):
                count = min(INTERNAL_BATCH, draws - start)
                part = method.attribute(
                    clip.x,
                    baselines=torch.zeros_like(clip.x),
                    n_samples=count,
                    stdevs=max(spread, 1e-12),
                    target=c,
                    additional_forward_args=clip.phase,
                )
                total += part.detach().float() * (count / draws)
            return total

        return per_clip(batch, target, "gradient-shap", attribute)

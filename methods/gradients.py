"""Gradient methods through Captum, for every classifier that gives gradients.

The baseline is silence (x = 0), because the masks of the metrics silence bins too, or another fill (`_baseline`).
Where the classifier hears sound, the gradient goes through the synthesis of the picture (`path=sound`), because that is
what is scored. With `path=direct` a classifier that reads pictures is differentiated as if it were fed the picture.
"""

from __future__ import annotations

from typing import Any, ClassVar

import captum.attr
import torch
from torch import Tensor

from xaibench.classifiers.base import Classifier
from xaibench.explaining.explainer import Explainer
from xaibench.explaining.explanation import Explanation
from xaibench.sound.batch import Batch
from xaibench.sound.fills import SILENCE

from ._baseline import BASELINES, Attributed, attributed
from ._captum import INTERNAL_BATCH, TargetScore, per_clip
from ._gains import gain_gradient, integrated_gain_gradients

PATHS = ("sound", "direct")
AUTO = "auto"
# With steps=auto they are doubled from the first number until what is missing of the sum is at most this share of the
# difference that it should be, or this much of a logit: p changes by a four-hundredth at most.
FIRST_STEPS, MOST_STEPS = 16, 512
MISSING = 0.01


class _Gradient(Explainer):
    """Base of the methods that differentiate the score."""

    family = "gradient"
    requires = frozenset({"gradients"})
    parameters = {"path": "sound"}
    choices: ClassVar[dict[str, tuple[Any, ...]]] = {"path": PATHS, "baseline": BASELINES}

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        maps = self.attribute(classifier, batch, target)
        return Explanation(maps.detach().float(), batch.picture_shape)

    def refusal(self, classifier: Classifier, has_ground_truth: bool) -> str | None:
        if self.parameters["path"] == "direct" and "picture" not in classifier.capabilities:
            return f"cannot take the direct path: {classifier.name} hears sound and reads no pictures; use path=sound"
        return super().refusal(classifier, has_ground_truth)

    def function(self, classifier: Classifier, batch: Batch) -> Attributed:
        """Return the function of clips that is attributed, and where."""
        baseline = self.parameters.get("baseline", SILENCE)
        return attributed(classifier, batch, baseline, direct=self.parameters["path"] == "direct")

    def attribute(self, classifier: Classifier, batch: Batch, target: Tensor) -> Tensor:
        """Attribute pictures: maps (batch, freq, time)."""
        raise NotImplementedError


class Saliency(_Gradient):
    title = "Saliency"
    reference = "Simonyan, Vedaldi, Zisserman, arXiv 1312.6034"
    description = "gradient of the predicted class's logit with respect to the log magnitudes"
    polarity = "absolute"

    def attribute(self, classifier: Classifier, batch: Batch, target: Tensor) -> Tensor:
        of = self.function(classifier, batch)
        x = of.inputs.clone().requires_grad_()
        return captum.attr.Saliency(of.score).attribute(x, target, abs=False, additional_forward_args=of.extra)


class InputXGradient(_Gradient):
    title = "Input x gradient"
    reference = "Shrikumar et al., arXiv 1605.01713"
    description = (
        "gradient times log magnitude: the first-order effect of silencing a bin; of a classifier that does not read "
        "the picture, the derivative along the bin's gain"
    )
    polarity = "positive"

    def attribute(self, classifier: Classifier, batch: Batch, target: Tensor) -> Tensor:
        if "picture" not in classifier.capabilities:
            return gain_gradient(TargetScore(classifier, batch.samples), batch, target)
        of = self.function(classifier, batch)
        x = of.inputs.clone().requires_grad_()
        return captum.attr.InputXGradient(of.score).attribute(x, target, additional_forward_args=of.extra)


class IntegratedGradients(_Gradient):
    title = "Integrated gradients"
    reference = "Sundararajan, Taly, Yan, arXiv 1703.01365"
    description = (
        "log magnitude times the mean gradient along the straight line from silence (Gauss-Legendre); of a classifier "
        "that does not read the picture, the integral of the gain's gradient as the clip is faded in, evenly in dB; "
        "with another baseline, the mean gradient along each bin's share of the clip, as that grows from 0 to 1; "
        f"steps=auto doubles the steps of each clip, from {FIRST_STEPS} to at most {MOST_STEPS}, until the sum is "
        "right to 1%"
    )
    polarity = "positive"
    parameters = {"path": "sound", "steps": 32, "baseline": "silence"}
    choices = {**_Gradient.choices, "steps": (AUTO,)}

    def attribute(self, classifier: Classifier, batch: Batch, target: Tensor) -> Tensor:
        if self.parameters["steps"] != AUTO:
            return self._integrate(classifier, batch, target, self.parameters["steps"])
        clips = [(batch.slice(i, i + 1), target[i : i + 1]) for i in range(len(batch))]
        return torch.cat([self._until_complete(classifier, clip, c) for clip, c in clips])

    def _until_complete(self, classifier: Classifier, clip: Batch, target: Tensor) -> Tensor:
        """Integrate one clip with as many steps as its sum needs (Sundararajan et al., proposition 1)."""
        of = self.function(classifier, clip)
        with torch.no_grad():
            ends = [of.score(inputs, *of.extra)[0, target] for inputs in (of.inputs, torch.zeros_like(of.inputs))]
        rise, steps = float(ends[0].double() - ends[1].double()), FIRST_STEPS
        while True:
            found = self._integrate(classifier, clip, target, steps)
            missing = abs(float(found.double().sum()) - rise)
            if missing <= MISSING * max(abs(rise), 1.0) or steps >= MOST_STEPS:
                return found
            steps *= 2

    def _integrate(self, classifier: Classifier, batch: Batch, target: Tensor, steps: int) -> Tensor:
        if "picture" not in classifier.capabilities and self.parameters["baseline"] == SILENCE:
            return integrated_gain_gradients(TargetScore(classifier, batch.samples), batch, target, steps)
        of = self.function(classifier, batch)
        # Captum needs at least one step of every clip in its internal batch.
        internal = max(INTERNAL_BATCH, len(batch))
        return captum.attr.IntegratedGradients(of.score).attribute(
            of.inputs.clone(),
            target=target,
            additional_forward_args=of.extra,
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
        def attribute(clip: Batch, c: Tensor) -> Tensor:
            of = self.function(classifier, clip)
            # The paper's noise level is relative to the input's range.
            spread = float(self.parameters["noise_level"] * of.span)
            return captum.attr.NoiseTunnel(captum.attr.Saliency(of.score)).attribute(
                of.inputs.clone(),
                nt_type="smoothgrad",
                nt_samples=self.parameters["samples"],
                nt_samples_batch_size=min(INTERNAL_BATCH, self.parameters["samples"]),
                stdevs=max(spread, 1e-12),
                target=c,
                abs=False,
                additional_forward_args=of.extra,
            )

        return per_clip(batch, target, "smoothgrad", attribute)


class GradientShap(_Gradient):
    title = "GradientSHAP"
    reference = "Lundberg, Lee, arXiv 1705.07874; Erion et al., arXiv 1906.10670"
    description = "log magnitude times the mean gradient at random points between the baseline and noisy copies"
    polarity = "positive"
    parameters = {"path": "sound", "samples": 24, "noise_level": 0.05, "baseline": "silence"}

    def attribute(self, classifier: Classifier, batch: Batch, target: Tensor) -> Tensor:
        draws = self.parameters["samples"]

        def attribute(clip: Batch, c: Tensor) -> Tensor:
            of = self.function(classifier, clip)
            method = captum.attr.GradientShap(of.score)
            spread = float(self.parameters["noise_level"] * of.span)
            total = torch.zeros_like(clip.x)
            for start in range(0, draws, INTERNAL_BATCH):
                count = min(INTERNAL_BATCH, draws - start)
                part = method.attribute(
                    of.inputs,
                    baselines=torch.zeros_like(of.inputs),
                    n_samples=count,
                    stdevs=max(spread, 1e-12),
                    target=c,
                    additional_forward_args=of.extra,
                )
                total += part.detach().float() * (count / draws)
            return total

        return per_clip(batch, target, "gradient-shap", attribute)

"""Occlusion through Captum: silence a window, or fill it, and measure the drop of the logit."""

from __future__ import annotations

import math

import captum.attr
import torch
from torch import Tensor

from xaibench.classifiers.base import Classifier
from xaibench.explaining.explainer import Explainer
from xaibench.explaining.explanation import Explanation
from xaibench.sound.batch import Batch

from ._baseline import BASELINES, attributed
from ._captum import INTERNAL_BATCH


class Occlusion(Explainer):
    title = "Occlusion"
    family = "perturbation"
    reference = "Zeiler, Fergus, arXiv 1311.2901"
    description = "drop of the predicted class's logit when a sliding window of the spectrogram is silenced"
    polarity = "positive"
    parameters = {"window": (72, 60), "stride": (49, 41), "baseline": "silence"}  # bins: 1.1 kHz by 0.7 s
    choices = {"baseline": BASELINES}

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        shape = batch.picture_shape
        window = tuple(min(w, s) for w, s in zip(self.parameters["window"], shape, strict=True))
        stride = tuple(min(w, s) for w, s in zip(self.parameters["stride"], window, strict=True))
        of = attributed(classifier, batch, self.parameters["baseline"])
        with torch.inference_mode():
            attribution = captum.attr.Occlusion(of.score).attribute(
                of.inputs,
                sliding_window_shapes=window,
                strides=stride,
                target=target,
                additional_forward_args=of.extra,
                perturbations_per_eval=max(1, INTERNAL_BATCH // len(batch)),
            )
        native = tuple(math.ceil((s - w) / d) + 1 for s, w, d in zip(shape, window, stride, strict=True))
        return Explanation(attribution.clone().float(), (native[0], native[1]))

"""Segments of the clip, silenced or filled in random subsets: LIME, as SLIME brings it to sound, and Kernel SHAP.

Segments are stretches of time, bands of frequency, or both: `bands` x `stretches` rectangles of the picture. One band
leaves segments of time, one stretch segments of frequency.
"""

from __future__ import annotations

import captum.attr
import torch
from torch import Tensor

from xaibench.classifiers.base import Classifier
from xaibench.explaining.explainer import Explainer
from xaibench.explaining.explanation import Explanation
from xaibench.sound.batch import Batch
from xaibench.sound.cells import cell_index, cell_sides, on_bins

from ._baseline import BASELINES, Attributed, attributed
from ._captum import INTERNAL_BATCH, per_clip


class _OfSegments(Explainer):
    """Base of the methods that find one number for each segment."""

    family = "perturbation"
    polarity = "positive"
    forwards_parameter = "samples"
    choices = {"baseline": BASELINES}

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        shape = batch.picture_shape
        sides = cell_sides(shape, (self.parameters["bands"], self.parameters["stretches"]))
        effects = self.effects(classifier, batch, target, sides)
        return Explanation(on_bins(effects.to(batch.x), shape, sides), sides)

    def function(self, classifier: Classifier, clip: Batch) -> Attributed:
        """Return the function of a clip that is attributed, and where."""
        return attributed(classifier, clip, self.parameters["baseline"])

    def effects(self, classifier: Classifier, batch: Batch, target: Tensor, sides: tuple[int, int]) -> Tensor:
        """Find what each segment does to the score, (batch, segments), row by row.

        Args:
            classifier: to be explained.
            batch: clips.
            target: class indices (batch,).
            sides: number of bands and of stretches.
        """
        raise NotImplementedError


class Lime(_OfSegments):
    title = "LIME"
    reference = "Mishra, Sturm, Dixon, SLIME, ISMIR 2017; Ribeiro, Singh, Guestrin, arXiv 1602.04938"
    description = (
        "coefficients of a weighted ridge regression of the predicted class's logit on which segments of time and "
        "frequency are left and which are silenced"
    )
    parameters = {
        "samples": 500,
        "bands": 8,
        "stretches": 10,
        "kernel_width": 0.25,
        "ridge": 1.0,
        "baseline": "silence",
    }

    def effects(self, classifier: Classifier, batch: Batch, target: Tensor, sides: tuple[int, int]) -> Tensor:
        found = []
        for i in range(len(batch)):
            left = torch.rand(self.parameters["samples"], sides[0] * sides[1], generator=batch.generator(i, "lime"))
            left = left.to(batch.x.device) < 0.5
            left[0] = True  # the clip itself
            of, values = self.function(classifier, batch.slice(i, i + 1)), []
            for some in left.split(INTERNAL_BATCH):  # masks of all samples at once would take a gigabyte
                values.append(of.answers(on_bins(some, batch.picture_shape, sides)))
            answers = torch.cat(values)[:, int(target[i])].double()
            found.append(self._regress(left.double(), answers))
        return torch.stack(found)

    def _regress(self, left: Tensor, answers: Tensor) -> Tensor:
        """Solve the weighted ridge regression of answers (samples,) on segments (samples, segments), with intercept.

        A sample weighs exp(-D^2 / width^2), D the cosine distance between its segments and all segments.
        """
        distance = 1 - left.mean(dim=1).sqrt()
        weights = torch.exp(-((distance / self.parameters["kernel_width"]) ** 2))
        share = weights / weights.sum()
        centred, rest = left - share @ left, answers - share @ answers
        squares = centred.T @ (weights[:, None] * centred)
        penalty = self.parameters["ridge"] * torch.eye(len(squares), dtype=squares.dtype, device=squares.device)
        return torch.linalg.solve(squares + penalty, centred.T @ (weights * rest))


class KernelShap(_OfSegments):
    title = "Kernel SHAP"
    reference = "Lundberg, Lee, arXiv 1705.07874, section 4.1"
    description = (
        "Shapley values of segments of time and frequency, estimated by a regression of the predicted class's logit "
        "on which segments are left and which are silenced"
    )
    parameters = {"samples": 500, "bands": 8, "stretches": 10, "baseline": "silence"}

    def effects(self, classifier: Classifier, batch: Batch, target: Tensor, sides: tuple[int, int]) -> Tensor:
        segments = cell_index(batch.picture_shape, batch.x.device, sides)[None]

        def attribute(clip: Batch, c: Tensor) -> Tensor:
            of = self.function(classifier, clip)
            return captum.attr.KernelShap(of.score).attribute(
                of.inputs,
                target=c,
                additional_forward_args=of.extra,
                feature_mask=segments,
                n_samples=self.parameters["samples"],
                perturbations_per_eval=INTERNAL_BATCH,
                return_input_shape=False,
            )

        return per_clip(batch, target, "kernel-shap", attribute)

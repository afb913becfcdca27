"""Faithfulness by masking: how the probability changes when the most important bins are kept or removed.

c is the class predicted for the clean clip (or its label, if that is explained), and p the softmax at the classifier's
temperature. kept and removed are the spectrogram times the mask and times its complement, with the run's fill in the
place of the rest; the default fill is silence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from xaibench.results.areas import CURVE_AREAS
from xaibench.scoring.context import Masked, Part, Perturbation, ScoringContext
from xaibench.scoring.metric import Metric, Scores, decisions, ratios, scores
from xaibench.sound.domain import Picture

# Where clips are heard, a part of the whole clip is synthesised and the clip is not: p differs by the rounding.
LEAST_RISE = 1e-6
ENERGY_SHARE = 0.5


@dataclass(frozen=True)
class WithoutEnergy(Perturbation):
    """The clip without its most important bins, as many as are needed to hold a share of its energy.

    A control that attenuates makes the whole clip softer, so that the same share of its energy goes.

    Attributes:
        share: of the sum of |X|^2 over the bins, above 0 and at most 1.
    """

    share: float

    def apply(self, context: ScoringContext) -> Tensor | Picture:
        x = context.clean.batch.x
        if context.explainer.method.attenuates:
            return context.left(torch.full_like(x, math.sqrt(1 - self.share)))
        counts = context.ranking.counts_holding(torch.expm1(x.double()).square(), self.share)
        return context.left(~context.ranking.top_counts(counts))


class _Masking(Metric):
    family = "faithfulness"
    per_area = True
    soft_mask = "also"
    in_default_set = True
    reads_masks_only = True
    part: Part = "kept"
    cost = "1 per area (shared)"

    def perturbations(self, areas: Sequence[float | None]) -> list[Perturbation]:
        return [Masked(self.part, area) for area in areas]


class FidelityIn(_Masking):
    title = "Fid-In"
    reference = "Paissan et al., PIQ, arXiv 2303.12659; Della Libera et al., arXiv 2402.02754"
    description = "1 if the most important bins alone keep the prediction, else 0"
    formula = "1 if argmax p(kept) = c, else 0"
    traps = "a masked spectrogram is unlike any training clip; a classifier may predict one class for any sparse input"
    higher_is_better = True
    bounds = (0.0, 1.0)

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        return decisions(context.probabilities(Masked("kept", area)), context.target)


class Faithfulness(_Masking):
    title = "FF"
    reference = "Paissan et al., L-MAC, arXiv 2403.13086, after Parekh et al., L2I, arXiv 2202.11479"
    description = "how much probability the predicted class loses without the most important bins"
    formula = "p_c(x) - p_c(removed)"
    traps = "the published AMT 'faithfulness' is p_c(x) - p_c(kept), the opposite polarity"
    higher_is_better = True
    bounds = (-1.0, 1.0)
    part = "removed"

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        return scores(context.p_full - context.p_removed(area))


class FaithfulnessEqualEnergy(Metric):
    title = "FF(energy)"
    family = "faithfulness"
    reference = "xaibench; the difference is that of FF (Paissan et al., L-MAC, arXiv 2403.13086)"
    description = (
        "how much probability the predicted class loses without the most important bins that hold half of the energy"
    )
    formula = "p_c(x) - p_c(removed), removed the fewest most important bins with 50% of the sum of |X|^2"
    traps = (
        "FF at an equal area rises with the energy that a mask removes, and this does not: energy alone scores low. "
        "Faint bins are free here, so read it beside FF; what holds under both is the strong claim"
    )
    higher_is_better = True
    bounds = (-1.0, 1.0)
    cost = "1"
    in_default_set = True
    reads_masks_only = True
    protocols = frozenset({"standard"})

    def perturbations(self, areas: Sequence[float | None]) -> list[Perturbation]:
        return [WithoutEnergy(ENERGY_SHARE)]

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        return scores(context.p_full - context.p_changed(WithoutEnergy(ENERGY_SHARE)))


class FaithfulnessKept(_Masking):
    title = "FF(kept)"
    reference = "Della Libera et al., arXiv 2402.02754, and compute_faithfulness of its recipe, interpret_amt.py"
    description = "how much probability the predicted class loses when only the most important bins are left"
    formula = "p_c(x) - p_c(kept)"
    traps = (
        "the opposite polarity of faithfulness: a mask that loses the class scores high. The paper calls it "
        "faithfulness and takes higher as better; use it only to compare with published numbers"
    )
    higher_is_better = True  # as in the paper's table
    bounds = (-1.0, 1.0)
    in_default_set = False

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        return scores(context.p_full - context.p_kept(area))


class AverageDrop(_Masking):
    title = "AD"
    reference = "Chattopadhyay et al., Grad-CAM++, arXiv 1710.11063"
    description = "percentage of the predicted class's probability lost when only the most important bins are left"
    formula = "100 max(0, p_c(x) - p_c(kept)) / p_c(x)"
    traps = "it does not see gains: read it together with AG"
    higher_is_better = False
    bounds = (0.0, 100.0)

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        p_full, p_kept = context.p_full, context.p_kept(area)
        return ratios(100 * (p_full - p_kept).clamp(min=0) / p_full, p_full)


class AverageIncrease(_Masking):
    title = "AI"
    reference = "Chattopadhyay et al., Grad-CAM++, arXiv 1710.11063"
    description = "100 if the most important bins alone are classified with more confidence than the whole clip, else 0"
    formula = "100 if p_c(kept) > p_c(x), else 0; heard, p_c must rise by more than 1e-6"
    traps = "a rise of 0.0001 counts as much as one of 0.5"
    higher_is_better = True
    bounds = (0.0, 100.0)

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        return scores(100.0 * (_rise(context, area) > 0))


class AverageGain(_Masking):
    title = "AG"
    reference = "Zhang et al., Opti-CAM, arXiv 2301.07002"
    description = "percentage of the missing confidence that is gained when only the most important bins are left"
    formula = "100 max(0, p_c(kept) - p_c(x)) / (1 - p_c(x)); heard, a rise of at most 1e-6 is none"
    traps = "it divides by 1 - p_c(x), so clips classified with near certainty weigh most"
    higher_is_better = True
    bounds = (0.0, 100.0)

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        p_full = context.p_full
        gain = 100 * _rise(context, area) / (1 - p_full)
        return scores(gain, p_full >= 1, "the clean clip's probability is 1: nothing can be gained")


def _rise(context: ScoringContext, area: float | None) -> Tensor:
    """How much more probable c is in the kept part than in the whole clip, (batch,); 0 where it is not."""
    rise = context.p_kept(area) - context.p_full
    return torch.where(rise > (LEAST_RISE if context.clean.batch.heard else 0.0), rise, 0.0)


class _Curve(Metric):
    family = "faithfulness"
    bounds = (0.0, 1.0)
    in_default_set = True
    reads_masks_only = True
    part: Part = "kept"
    cost = f"{len(CURVE_AREAS) - 2} (shared)"

    def perturbations(self, areas: Sequence[float | None]) -> list[Perturbation]:
        return [Masked(self.part, area) for area in CURVE_AREAS]

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        curve = [context.p_changed(Masked(self.part, area)) for area in CURVE_AREAS]
        steps = zip(CURVE_AREAS, CURVE_AREAS[1:], curve, curve[1:], strict=False)
        return scores(sum(((b - a) * (low + high) / 2 for a, b, low, high in steps), start=curve[0] * 0))


class DeletionAuc(_Curve):
    title = "Deletion"
    reference = "Petsiuk et al., RISE, arXiv 1806.07421"
    description = "mean probability of the predicted class while its bins are silenced, most important first"
    formula = "area under p_c(removed) over areas 0, 5, ..., 100%, by the trapezoid rule"
    traps = (
        "a silenced spectrogram is not a natural sound: a low area may show a fragile classifier, not a faithful map; "
        "compare with random"
    )
    higher_is_better = False
    part = "removed"


class InsertionAuc(_Curve):
    title = "Insertion"
    reference = "Petsiuk et al., RISE, arXiv 1806.07421"
    description = "mean probability of the predicted class while its bins are revealed in silence, most important first"
    formula = "area under p_c(kept) over areas 0, 5, ..., 100%, by the trapezoid rule"
    traps = "the first steps are sparse sounds, on which the classifier was never trained"
    higher_is_better = True
    part = "kept"

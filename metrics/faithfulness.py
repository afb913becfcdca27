"""Faithfulness by masking: how the probability changes when the most important bins are kept or removed.

c is the class predicted for the clean clip, and p the softmax at the classifier's temperature. kept and removed are
the spectrogram times the mask and times its complement.
"""

from __future__ import annotations

from collections.abc import Sequence

from xaibench.results.areas import CURVE_AREAS
from xaibench.scoring.context import Masked, Part, Perturbation, ScoringContext
from xaibench.scoring.metric import Metric, Scores, scores


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
        predicted = context.probabilities(Masked("kept", area)).argmax(dim=1)
        return scores(predicted == context.target)


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
        # c is the most probable class, so p_full is at least 1 / classes and never 0.
        return scores(100 * (p_full - p_kept).clamp(min=0) / p_full)


class AverageIncrease(_Masking):
    title = "AI"
    reference = "Chattopadhyay et al., Grad-CAM++, arXiv 1710.11063"
    description = "100 if the most important bins alone are classified with more confidence than the whole clip, else 0"
    formula = "100 if p_c(kept) > p_c(x), else 0"
    traps = "a rise of 0.0001 counts as much as one of 0.5"
    higher_is_better = True
    bounds = (0.0, 100.0)

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        return scores(100.0 * (context.p_kept(area) > context.p_full))


class AverageGain(_Masking):
    title = "AG"
    reference = "Zhang et al., Opti-CAM, arXiv 2301.07002"
    description = "percentage of the missing confidence that is gained when only the most important bins are left"
    formula = "100 max(0, p_c(kept) - p_c(x)) / (1 - p_c(x))"
    traps = "it divides by 1 - p_c(x), so clips classified with near certainty weigh most"
    higher_is_better = True
    bounds = (0.0, 100.0)

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        p_full, p_kept = context.p_full, context.p_kept(area)
        gain = 100 * (p_kept - p_full).clamp(min=0) / (1 - p_full)
        return scores(gain, p_full >= 1, "the clean clip's probability is 1: nothing can be gained")


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

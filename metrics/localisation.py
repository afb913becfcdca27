"""Localisation: agreement of the importance map with the ground truth of a clip."""

from __future__ import annotations

import torch
from torch import Tensor

from xaibench.scoring.context import ScoringContext
from xaibench.scoring.metric import Metric, Scores, scores

TOP_SHARE = 0.02  # of all bins, as Quantus's 1000 of its 224 x 224 pixels

_NO_GROUND_TRUTH = "the clip has no bin in which the event is loudest"
_ALL_GROUND_TRUTH = "the event is loudest in every bin of the clip: there is no other bin to compare with"


class _Localisation(Metric):
    family = "localisation"
    higher_is_better = True
    bounds = (0.0, 1.0)
    cost = "0"
    in_default_set = True
    needs_ground_truth = True


def _known(context: ScoringContext) -> tuple[Tensor, Tensor]:
    """Return the flat ground truth in audible frames, bool (batch, bins), and its size (batch,)."""
    assert context.ground_truth is not None
    known = context.audible(context.ground_truth).flatten(1)
    return known, known.sum(dim=1)


class RelevanceMass(_Localisation):
    title = "Mass"
    reference = "Arras et al., CLEVR-XAI, arXiv 2003.07258: relevance mass accuracy"
    description = "share of all importance that lies in the ground truth"
    formula = "sum of a over the ground truth E / sum of a"
    traps = "a map with a wide faint floor loses mass although its peaks are right"

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        known, size = _known(context)
        flat = context.importance.flatten(1).double()
        total = flat.sum(dim=1)
        values = scores((flat * known).sum(dim=1) / total, total == 0, "the importance map is zero everywhere")
        return _without_ground_truth(values, size)


class RelevanceRank(_Localisation):
    title = "Rank"
    reference = "Arras et al., CLEVR-XAI, arXiv 2003.07258: relevance rank accuracy"
    description = "share of the |E| most important bins that lie in the ground truth E"
    formula = "bins of E among the |E| most important bins / |E|"
    traps = "the classifier may rightly use bins outside the ground truth; then no faithful map reaches 1"

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        known, size = _known(context)
        top = context.ranking.top_counts(size).flatten(1)
        return _without_ground_truth(scores((top & known).sum(dim=1).double() / size), size)


class PointingGame(_Localisation):
    title = "Pointing"
    reference = "Zhang et al., Excitation Backprop, arXiv 1608.00507; without its margin around the object"
    description = "1 if the most important bin lies in the ground truth, else 0"
    formula = "1 if the most important bin lies in E, else 0"
    traps = "one bin decides; ties are broken at random"

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        known, size = _known(context)
        top = context.ranking.top_counts(torch.ones_like(size)).flatten(1)
        return _without_ground_truth(scores((top & known).any(dim=1)), size)


class LocalisationAuc(_Localisation):
    title = "Loc-AUC"
    reference = "Fawcett, An introduction to ROC analysis, 2006; Quantus's AUC"
    description = "probability that a bin in the ground truth is more important than one outside; ties count half"
    formula = "P(a_i > a_j) + P(a_i = a_j) / 2 for i in E, j not in E, both audible"
    traps = "the ground truth covers few bins, so a high area may go together with a poor rank"

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        known, size = _known(context)
        flat = context.importance.flatten(1)
        rows = zip(flat, context.ranking.ascending, known, strict=True)
        values = torch.stack([_roc_auc(*row) for row in rows])
        return _without_ground_truth(scores(values, size == context.ranking.sizes, _ALL_GROUND_TRUTH), size)


class TopKIntersection(_Localisation):
    title = "Top-k"
    reference = "Theiner et al., arXiv 2104.14995, without its concept influence; Quantus's TopKIntersection"
    description = "share of the few most important bins that lie in the ground truth"
    formula = f"bins of E among the k most important bins / k, k = {TOP_SHARE:.0%} of all bins, at least 1"
    traps = "where the ground truth has fewer than k bins, no map reaches 1"
    in_default_set = False

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        known, size = _known(context)
        count = (TOP_SHARE * context.ranking.sizes.double()).round().long().clamp(min=1)
        top = context.ranking.top_counts(count).flatten(1)
        return _without_ground_truth(scores((top & known).sum(dim=1).double() / count), size)


class MaskIou(_Localisation):
    title = "IoU"
    reference = "Jaccard, 1912; of masks and objects as in Everingham et al., PASCAL VOC, 2010"
    description = "overlap of the most important bins with the ground truth, divided by their union"
    formula = "|K and E| / |K or E|, K the most important bins; of a soft mask M, sum min(M, E) / sum max(M, E)"
    traps = "at an area far from the ground truth's size no map reaches 1; compare with the oracle's value"
    in_default_set = False
    per_area = True
    soft_mask = "also"

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        known, size = _known(context)
        mask = context.mask(area).flatten(1).double()
        both, either = torch.minimum(mask, known.double()).sum(dim=1), torch.maximum(mask, known.double()).sum(dim=1)
        return _without_ground_truth(scores(both / either), size)


def _roc_auc(importance: Tensor, ascending: Tensor, positive: Tensor) -> Tensor:
    """Compute Mann-Whitney's U divided by its maximum, with mid-ranks for ties.

    Args:
        importance: of all bins, (bins,).
        ascending: of the audible ones, in that order.
        positive: which of all bins, all of them audible, are in the ground truth.
    """
    inside = importance[positive].contiguous()
    below = torch.searchsorted(ascending, inside, right=False).double().sum()
    not_above = torch.searchsorted(ascending, inside, right=True).double().sum()
    count, others = len(inside), len(ascending) - len(inside)
    return ((below + not_above) / 2 - count**2 / 2) / (count * others)


def _without_ground_truth(values: Scores, size: Tensor) -> Scores:
    """Make values undefined wherever there is no ground truth, before any other reason."""
    absent = (size == 0).tolist()
    reasons = tuple(_NO_GROUND_TRUTH if gone else reason for gone, reason in zip(absent, values.reasons, strict=True))
    return Scores(values.values.masked_fill(size == 0, float("nan")), reasons)

"""Complexity: how few bins hold the importance of a map."""

from __future__ import annotations

import torch
from torch import Tensor

from xaibench.scoring.context import ScoringContext
from xaibench.scoring.metric import Metric, Scores, scores

NEGLIGIBLE = 1e-5  # relative to the map's largest value; Quantus's eps

_ZERO_MAP = "the importance map is zero everywhere"


class Sparseness(Metric):
    title = "SPS"
    family = "complexity"
    reference = (
        "Chalasani et al., arXiv 1810.06583, after Hurley and Rickard, arXiv 0811.4706: the Gini index of the map"
    )
    description = "0 when all bins are equally important, near 1 when few bins have all the importance"
    formula = "1 - 2 sum_k a_(k) / sum(a) * (n - k + 1/2) / n over the ascending map a_(1..n) of the audible bins"
    traps = "says nothing about whether they are the right bins; compare with the oracle's value"
    higher_is_better = True
    bounds = (0.0, 1.0)
    cost = "0"
    in_default_set = True

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        values = torch.stack([_gini_index(bins.double()) for bins in context.ranking.ascending])
        return scores(values, context.importance.flatten(1).amax(dim=1) == 0, _ZERO_MAP)


class Complexity(Metric):
    title = "COMP"
    family = "complexity"
    reference = "Bhatt et al., arXiv 2005.00631: the entropy of the map normalised to sum 1"
    description = "0 when one bin has all the importance, log(bins) = 12.3 when all bins have the same"
    formula = "-sum_i s_i log s_i, s = a / sum(a)"
    traps = "natural logarithm; depends on the number of audible bins, so never compare clips of different length"
    higher_is_better = False
    bounds = (0.0, float("inf"))
    cost = "0"
    in_default_set = True

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        flat = context.importance.flatten(1).double()
        total = flat.sum(dim=1)
        share = flat / total[:, None]
        return scores(torch.special.entr(share).sum(dim=1), total == 0, _ZERO_MAP)


class EffectiveComplexity(Metric):
    title = "ECOMP"
    family = "complexity"
    reference = "Nguyen and Rodriguez Martinez, arXiv 2007.07584, as Quantus's EffectiveComplexity counts it"
    description = "how many bins have more than a negligible importance"
    formula = f"number of bins i with a_i > {NEGLIGIBLE:g} max(a)"
    traps = "a faint floor counts as much as a peak: most gradient maps reach nearly all bins"
    higher_is_better = False
    bounds = (0.0, float("inf"))
    cost = "0"

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        flat = context.importance.flatten(1).double()
        largest = flat.amax(dim=1)
        return scores((flat > NEGLIGIBLE * largest[:, None]).sum(dim=1), largest == 0, _ZERO_MAP)


class MaskArea(Metric):
    title = "Area"
    family = "complexity"
    reference = "the mean of the mask, as L-MAC (arXiv 2403.13086) penalises it"
    description = "share of the bins that a method's own soft mask keeps"
    formula = "mean of M over the audible bins, M the soft mask from 0 to 1"
    traps = "a mask of ones keeps every decision and explains nothing: never read a soft mask's scores without its area"
    higher_is_better = False
    bounds = (0.0, 1.0)
    cost = "0"
    in_default_set = True
    per_area = True
    soft_mask = "only"

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        mask, audible = context.mask(area).double(), context.clean.batch.audible
        if audible is None:
            return scores(mask.mean(dim=(1, 2)))
        frames = audible.sum(dim=1)
        area_of_audible = (mask.mean(dim=1) * audible).sum(dim=1) / frames
        return scores(area_of_audible, frames == 0, "the clip is digital silence")


def _gini_index(ascending: Tensor) -> Tensor:
    """Compute the Gini index of values (n,) in ascending order, not negative; NaN where all are 0."""
    # Largest minus smallest, second largest minus second smallest, ...: no term is negative, so the uniform
    # map never falls below 0 by rounding. Summing signed terms gave -2.5e-13.
    size = len(ascending)
    spread = (ascending.flip(0) - ascending)[: size // 2]
    weight = size - 1 - 2 * torch.arange(size // 2, dtype=torch.float64, device=ascending.device)
    return (spread * weight).sum() / (size * ascending.sum())

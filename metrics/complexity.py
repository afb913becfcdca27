"""How few bins an importance map needs."""

from __future__ import annotations

import torch

from xaibench.evidence import Evidence
from xaibench.metric import Metric, Scores, scores


class Sparseness(Metric):
    title = "SPS"
    family = "complexity"
    reference = "Chalasani et al., arXiv 1810.06583: the Gini index of the importance map"
    description = "0 when all bins matter alike, towards 1 when few do"
    traps = "says nothing about whether they are the right bins; the oracle's value is the scale"
    higher_is_better = True
    bounds = (0.0, 1.0)
    cost = "0"

    def score(self, evidence: Evidence, area: float | None) -> Scores:
        ordered = evidence.importance.flatten(1).double().sort(dim=1).values
        size = ordered.shape[1]
        total = ordered.sum(dim=1)
        weight = 2 * torch.arange(1, size + 1, dtype=torch.float64, device=ordered.device) - size - 1
        return scores((ordered @ weight) / (size * total), total == 0, "the importance map is zero everywhere")


class Complexity(Metric):
    title = "COMP"
    family = "complexity"
    reference = "Bhatt et al., arXiv 2005.00631, equation 8: the entropy of the map normalised to sum 1"
    description = "0 when one bin has all the importance, log(bins) = 12.3 when all share it alike"
    traps = "natural logarithm; depends on the grid's size, so never compare across grids"
    higher_is_better = False
    bounds = (0.0, float("inf"))
    cost = "0"

    def score(self, evidence: Evidence, area: float | None) -> Scores:
        flat = evidence.importance.flatten(1).double()
        total = flat.sum(dim=1)
        share = flat / total[:, None]
        return scores(torch.special.entr(share).sum(dim=1), total == 0, "the importance map is zero everywhere")

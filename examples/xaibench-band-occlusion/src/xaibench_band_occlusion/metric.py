"""Faithfulness on the log-odds scale."""

from collections.abc import Sequence

from xaibench import Masked, Metric, Perturbation, Scores, ScoringContext, scores


class LogOddsDrop(Metric):
    title = "LOD"
    family = "faithfulness"
    reference = "after Shrikumar, Greenside, Kundaje, arXiv 1704.02685"
    description = "how much the log-odds of the predicted class fall without the most important bins"
    formula = "logit p_c(x) - logit p_c(removed)"
    traps = "one clip classified with near certainty can outweigh many others: read the median too"
    higher_is_better = True
    bounds = (float("-inf"), float("inf"))
    cost = "1 per area (shared)"
    per_area = True

    def perturbations(self, areas: Sequence[float | None]) -> list[Perturbation]:
        return [Masked("removed", area) for area in areas]

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        assert area is not None
        drop = context.p_full.logit() - context.p_removed(area).logit()
        return scores(drop, ~drop.isfinite(), "a probability of exactly 0 or 1 has no log-odds")

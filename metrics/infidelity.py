"""Infidelity: the difference between the attribution of a part and the change when the part is silenced."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from xaibench.scoring.context import Perturbation, ScoringContext
from xaibench.scoring.metric import Metric, Scores, scores

from ._cells import RandomCellsSilenced, drops, subset_sums

SUBSETS = tuple(RandomCellsSilenced(0.20, draw) for draw in range(50))  # the same as in faithfulness_correlation


class Infidelity(Metric):
    title = "Infidelity"
    family = "faithfulness"
    reference = "Yeh et al., arXiv 1901.09392, definition 2.1, square removal with optimal scaling as in its code"
    description = "mean squared error of the attribution, in its best unit, as a forecast of the drop of p_c"
    formula = (
        "min over b of the mean over 50 random subsets S of 20% of 12 x 12 cells of "
        "(b sum_S e - (p_c(x) - p_c(x without S)))^2; e = a, signed, or x a of a sensitivity map"
    )
    traps = (
        "the best unit may be negative, so a map and its opposite score the same; "
        "the clips that change most when silenced dominate a mean over clips"
    )
    higher_is_better = False
    bounds = (0.0, 1.0)
    cost = f"{len(SUBSETS)} (shared)"

    def perturbations(self, areas: Sequence[float | None]) -> list[Perturbation]:
        return [*SUBSETS]

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        forecast = subset_sums(context, SUBSETS, effect(context))
        changes = drops(context, SUBSETS)
        return scores(infidelity(scaled(forecast, changes), changes))


def effect(context: ScoringContext) -> Tensor:
    """Return I . a of each bin, for an I that removes all, float64 (batch, freq, time).

    A sensitivity map is multiplied by what is removed, x, less the log magnitudes of what takes its place. A
    contribution map already contains this factor, so there I is 1 where a bin is removed. The paper's code makes the
    same distinction: for its squares it multiplies gradients by the input, and it takes Shapley values as they are.
    """
    attribution, fill = context.attribution.double(), context.clean.fill
    if context.explainer.method.polarity != "absolute":
        return attribution
    return attribution * (context.clean.batch.x if fill is None else context.clean.batch.x - fill.picture.x)


def infidelity(forecast: Tensor, changes: Tensor) -> Tensor:
    """Average (I . a - (f(x) - f(x - I)))^2 over the draws (definition 2.1), from (batch, draws) to (batch,)."""
    return (forecast - changes).square().mean(dim=1)


def scaled(forecast: Tensor, changes: Tensor) -> Tensor:
    """Scale the forecast (batch, draws) by the factor that makes its infidelity smallest; zero stays zero."""
    largest = forecast.abs().amax(dim=1, keepdim=True)
    # Maps may hold anything from denormals to 1e38; their squares must stay in range.
    unit = torch.where(largest > 0, forecast / largest, 0.0)
    squares = unit.square().mean(dim=1, keepdim=True)
    best = torch.where(squares > 0, (unit * changes).mean(dim=1, keepdim=True) / squares, 0.0)
    return best * unit

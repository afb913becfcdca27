"""Infidelity: how far the attribution of a silenced part is from the change that silencing it makes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from xaibench.scoring.context import Perturbation, ScoringContext
from xaibench.scoring.metric import Metric, Scores, scores

from ._cells import RandomCellsSilenced, drops, subset_sums

SUBSETS = tuple(RandomCellsSilenced(0.20, draw) for draw in range(50))  # those of faithfulness_correlation


class Infidelity(Metric):
    title = "Infidelity"
    family = "faithfulness"
    reference = "Yeh et al., arXiv 1901.09392, definition 2.1, square removal with optimal scaling as in its code"
    description = "mean squared error of the attribution, in its best unit, as a forecast of what silencing does to p_c"
    formula = (
        "min over b of the mean over 50 random subsets S of 20% of 12 x 12 cells of "
        "(b sum_S e - (p_c(x) - p_c(x without S)))^2; e = a, signed, or x a of a sensitivity map"
    )
    traps = (
        "the best unit may be negative: a map and its opposite score the same; "
        "an average over clips is that of the clips that silencing changes most"
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
    """Bin by bin, I . a for I that silences all, float64 (batch, freq, time).

    A sensitivity map is multiplied by what is taken away, x. A contribution map already says what its bins add, so
    there I counts bins (1 where silenced): the paper's code too multiplies gradients by the input for its squares
    and takes Shapley values as they are.
    """
    attribution = context.attribution.double()
    return attribution * context.clean.batch.x if context.explainer.method.polarity == "absolute" else attribution


def infidelity(forecast: Tensor, changes: Tensor) -> Tensor:
    """Definition 2.1: the mean over perturbations of (I . a - (f(x) - f(x - I)))^2, (batch, draws) each to (batch,)."""
    return (forecast - changes).square().mean(dim=1)


def scaled(forecast: Tensor, changes: Tensor) -> Tensor:
    """The forecast (batch, draws) in the unit that makes its infidelity smallest; zero stays zero."""
    largest = forecast.abs().amax(dim=1, keepdim=True)
    # Maps may be anything from denormal to 1e38: their squares must stay in range.
    unit = torch.where(largest > 0, forecast / largest, 0.0)
    squares = unit.square().mean(dim=1, keepdim=True)
    best = torch.where(squares > 0, (unit * changes).mean(dim=1, keepdim=True) / squares, 0.0)
    return best * unit

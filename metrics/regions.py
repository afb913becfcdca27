"""Faithfulness by region: cells of the spectrogram are removed one after the other, most important first.

The segments are the 12 x 12 cells (`xaibench.sound.cells`). The IROF paper segments photographs with SLIC; for a log
spectrogram SLIC returns a regular grid (`test_slic_of_a_spectrogram_is_a_regular_grid`), because a spectrogram has
textures and no outlines. Cells are ordered by their mean importance, so that larger cells are not favoured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from xaibench.scoring.context import Perturbation, ScoringContext
from xaibench.scoring.metric import Metric, Scores, ratios, scores
from xaibench.sound.cells import cell_count, cell_means, on_bins
from xaibench.sound.domain import Picture

from ._cells import CellsSilenced, drops

IROF_STEPS = 48  # three of 144 cells each
REGIONS = 36  # of 144 cells, a quarter of the clip; Samek et al. use 16%, Quantus 13%


@dataclass(frozen=True)
class CellsReplacedByMean(Perturbation):
    """The spectrogram with its most important cells replaced by the clip's mean.

    Attributes:
        step: number of the step, up to IROF_STEPS, at which all cells are replaced.
    """

    step: int

    def apply(self, context: ScoringContext) -> Tensor | Picture:
        batch = context.clean.batch
        mean = batch.x.double().mean(dim=(1, 2)).float()[:, None, None]
        chosen = _cell_ranks(context) < round(self.step / IROF_STEPS * cell_count(batch.picture_shape))
        return context.filled(on_bins(chosen, batch.picture_shape), mean.expand_as(batch.x))


@dataclass(frozen=True)
class TopCellsSilenced(CellsSilenced):
    """The spectrogram without its most important cells.

    Attributes:
        count: how many cells; all if there are fewer.
    """

    count: int

    def chosen(self, context: ScoringContext) -> Tensor:
        return _cell_ranks(context) < self.count


class Irof(Metric):
    title = "IROF"
    family = "faithfulness"
    reference = "Rieger and Hansen, arXiv 2003.08747, section 3: area over the curve"
    description = "how early the predicted class's probability falls as cells are replaced, most important first"
    formula = (
        f"1 - area under p_c(x_k) / p_c(x), k = 0..{IROF_STEPS}, by the trapezoid rule over the share of 12 x 12 cells "
        "replaced by the clip's mean; cells in order of mean a"
    )
    traps = (
        "the mean fill is noise of one level, not silence: a classifier may hear rain, and clips of rain score below 0"
    )
    higher_is_better = True
    bounds = (float("-inf"), 1.0)
    cost = f"{IROF_STEPS}"

    def perturbations(self, areas: Sequence[float | None]) -> list[Perturbation]:
        return [CellsReplacedByMean(step) for step in range(1, IROF_STEPS + 1)]

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        p_full = context.p_full
        curve = torch.stack([context.p_changed(one) for one in self.perturbations(())], dim=1) / p_full[:, None]
        return ratios(1 - (0.5 + curve.sum(dim=1) - curve[:, -1] / 2) / IROF_STEPS, p_full)


class RegionPerturbation(Metric):
    title = "AOPC"
    family = "faithfulness"
    reference = "Samek et al., arXiv 1509.06321: area over the MoRF perturbation curve (AOPC)"
    description = "mean loss of the predicted class's probability as cells are silenced, most important first"
    formula = (
        f"mean over k = 0..{REGIONS} of p_c(x) - p_c(x without its k most important of 12 x 12 cells); "
        "cells in order of mean a"
    )
    traps = "it grows with the number of regions, so compare equal numbers only; it is bounded by p_c(x)"
    higher_is_better = True
    bounds = (-1.0, 1.0)
    cost = f"{REGIONS}"

    def perturbations(self, areas: Sequence[float | None]) -> list[Perturbation]:
        return [TopCellsSilenced(count) for count in range(1, REGIONS + 1)]

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        return scores(drops(context, self.perturbations(())).sum(dim=1) / (REGIONS + 1))


def _cell_ranks(context: ScoringContext) -> Tensor:
    """Rank the cells by mean importance, 0 for the most important, (batch, cells).

    Cells of equal importance are in a random order that belongs to the clip.
    """

    def compute() -> Tensor:
        batch = context.clean.batch
        count = cell_count(batch.picture_shape)
        shuffles = [torch.randperm(count, generator=batch.generator(i, "regions/ties")) for i in range(len(batch))]
        shuffle = torch.stack(shuffles).to(batch.x.device)
        means = cell_means(context.importance).gather(1, shuffle)
        order = shuffle.gather(1, means.argsort(dim=1, descending=True, stable=True))
        return order.argsort(dim=1)

    return context.shared(("regions", "ranks"), compute)

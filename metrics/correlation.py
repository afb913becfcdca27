"""Faithfulness as correlation: do parts that the map calls important change the prediction more when they change?

Parts are random subsets of cells of a regular grid (`_cells`), or bands of bins in order of importance: silencing
single bins of 221,103 changes nothing. A correlation is undefined where either side does not vary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from xaibench.results.areas import CURVE_AREAS
from xaibench.scoring.context import Perturbation, ScoringContext
from xaibench.scoring.metric import Metric, Scores
from xaibench.scoring.ranking import Ranking

from ._cells import RandomCellsSilenced, drops, subset_sums

SUBSET = 0.20  # of the cells, in faithfulness_correlation
SUBSET_DRAWS = 50
SENSITIVITY_SHARES = (0.05, 0.10, 0.20, 0.40)
SENSITIVITY_DRAWS = 20  # of each share; at 20% the first of faithfulness_correlation's
BANDS = len(CURVE_AREAS) - 1
REPLACEMENTS = 3  # random values tried for each band

ROUNDING = 1e-6  # probabilities come from float32 logits: smaller differences change with the batch size

_CONSTANT_MAP = "the map is the same everywhere: nothing to correlate with"
_CONSTANT_SUMS = "all parts hold the same importance: nothing to correlate with"
_CONSTANT_DROPS = "the probability changes alike whichever part changes: nothing to correlate with"


@dataclass(frozen=True)
class BandSilenced(Perturbation):
    """The spectrogram without one band of its bins in order of importance.

    Attributes:
        band: 0 for the most important twentieth of the bins, 19 for the least.
    """

    band: int

    def apply(self, context: ScoringContext) -> Tensor:
        return context.clean.batch.x * (~_band(context.ranking, self.band)).float()


@dataclass(frozen=True)
class BandReplaced(Perturbation):
    """The spectrogram with one band of its bins, in order of |attribution|, replaced by values of bins drawn from it.

    Attributes:
        band: 0 for the twentieth of the bins with the largest |attribution|, 19 for the smallest.
        draw: number of the draw.
    """

    band: int
    draw: int

    def apply(self, context: ScoringContext) -> Tensor:
        mask = _band(_ranking_by_size(context), self.band)
        return torch.where(mask, _resampled(context, self.draw), context.clean.batch.x)


class FaithfulnessCorrelation(Metric):
    title = "Faith-Corr"
    family = "faithfulness"
    reference = "Bhatt, Weller, Moura, arXiv 2005.00631, equation 1"
    description = "whether parts that hold more attribution lower the predicted class's probability more when silenced"
    formula = (
        f"Pearson correlation over {SUBSET_DRAWS} random subsets S of {SUBSET:.0%} of 12 x 12 cells between the sum "
        "of a over S and p_c(x) - p_c(x without S); a signed, or |a| of a sensitivity map"
    )
    traps = "cells are coarse: where within its cell a map is sharp does not count"
    higher_is_better = True
    bounds = (-1.0, 1.0)
    cost = f"{SUBSET_DRAWS} (shared)"

    def perturbations(self, areas: Sequence[float | None]) -> list[Perturbation]:
        return [*_draws(SUBSET, SUBSET_DRAWS)]

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        subsets = _draws(SUBSET, SUBSET_DRAWS)
        maps = _contribution(context)
        sums, changes = subset_sums(context, subsets, maps), drops(context, subsets)
        return _defined(pearson(sums, changes), maps, [sums], [changes])


class SensitivityN(Metric):
    title = "Sens-n"
    family = "faithfulness"
    reference = "Ancona et al., arXiv 1711.06104, definition of sensitivity-n, and the measure they derive from it"
    description = "faithfulness correlation averaged over subsets of several sizes"
    formula = (
        f"mean over n = 5, 10, 20, 40% of 12 x 12 cells of the Pearson correlation over {SENSITIVITY_DRAWS} random "
        "subsets S of n cells between the sum of a over S and p_c(x) - p_c(x without S); a signed, or |a| of a "
        "sensitivity map"
    )
    traps = (
        "few draws of each size: one clip's value is noisy, a mean over clips is not; Quantus correlates across clips"
    )
    higher_is_better = True
    bounds = (-1.0, 1.0)
    cost = f"{len(SENSITIVITY_SHARES) * SENSITIVITY_DRAWS} ({SENSITIVITY_DRAWS} shared)"

    def perturbations(self, areas: Sequence[float | None]) -> list[Perturbation]:
        return [one for share in SENSITIVITY_SHARES for one in _draws(share, SENSITIVITY_DRAWS)]

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        sizes = [_draws(share, SENSITIVITY_DRAWS) for share in SENSITIVITY_SHARES]
        maps = _contribution(context)
        sums = [subset_sums(context, subsets, maps) for subsets in sizes]
        changes = [drops(context, subsets) for subsets in sizes]
        values = torch.stack([pearson(a, b) for a, b in zip(sums, changes, strict=True)])
        return _defined(values.mean(dim=0), maps, sums, changes)


class FaithfulnessEstimate(Metric):
    title = "Faith-Est"
    family = "faithfulness"
    reference = "Alvarez-Melis and Jaakkola, arXiv 1806.07538: faithfulness; bands as Quantus makes them"
    description = "whether more important twentieths of the bins lower the predicted class's probability more"
    formula = (
        f"Pearson correlation over {BANDS} bands of 5% of the bins, in order of importance a, between the sum of a "
        "over the band and p_c(x) - p_c(x without the band)"
    )
    traps = "of a sparse map all bands but the first hold next to nothing: one band then decides"
    higher_is_better = True
    bounds = (-1.0, 1.0)
    cost = f"{BANDS}"

    def perturbations(self, areas: Sequence[float | None]) -> list[Perturbation]:
        return [BandSilenced(band) for band in range(BANDS)]

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        sums = _band_sums(context.importance, context.ranking)
        changes = drops(context, [BandSilenced(band) for band in range(BANDS)])
        return _defined(pearson(sums, changes), context.importance, [sums], [changes])


class MonotonicityCorrelation(Metric):
    title = "Mono-Corr"
    family = "faithfulness"
    reference = "Nguyen and Rodriguez Martinez, arXiv 2007.07584: monotonicity"
    description = "whether the prediction depends more on bins that the map calls more important"
    formula = (
        f"Spearman correlation over {BANDS} bands of 5% of the bins, in order of |a|, between the sum of |a| over the "
        f"band and the mean of (p_c(x) - p_c(x with the band's values drawn from the clip's))^2 over {REPLACEMENTS} "
        "draws; a signed"
    )
    traps = f"ranks of means over {REPLACEMENTS} draws: bands that matter alike are ordered by chance"
    higher_is_better = True
    bounds = (-1.0, 1.0)
    cost = f"{BANDS * REPLACEMENTS}"

    def perturbations(self, areas: Sequence[float | None]) -> list[Perturbation]:
        return [BandReplaced(band, draw) for band in range(BANDS) for draw in range(REPLACEMENTS)]

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        size = context.attribution.abs()
        sums = _band_sums(size, _ranking_by_size(context))
        squares = drops(context, self.perturbations(())).square().view(-1, BANDS, REPLACEMENTS).mean(dim=2)
        # Else the ranks of bands that change nothing would be those of rounding.
        changes = torch.where(squares.sqrt() > ROUNDING, squares, 0.0)
        return _defined(spearman(sums, changes), size, [sums], [changes.sqrt()])


def pearson(a: Tensor, b: Tensor) -> Tensor:
    """Correlation of float64 (batch, n) with (batch, n): (batch,), NaN where one is constant."""
    a, b = (values - values.mean(dim=1, keepdim=True) for values in (a, b))
    # Scaled first: squares of maps up to the largest float32, and down to denormals, stay in float64's range.
    a, b = (values / values.abs().amax(dim=1, keepdim=True) for values in (a, b))
    return ((a * b).sum(dim=1) / (a.square().sum(dim=1) * b.square().sum(dim=1)).sqrt()).clamp(-1, 1)


def spearman(a: Tensor, b: Tensor) -> Tensor:
    """Rank correlation of (batch, n) with (batch, n), equal values sharing their mean rank: (batch,)."""
    return pearson(_mid_ranks(a), _mid_ranks(b))


def _mid_ranks(values: Tensor) -> Tensor:
    """Ranks within each row, float64, equal values sharing their mean rank; up to one constant."""
    below = values[:, None, :] < values[:, :, None]
    equal = values[:, None, :] == values[:, :, None]
    return below.double().sum(dim=2) + equal.double().sum(dim=2) / 2


def _draws(share: float, count: int) -> list[RandomCellsSilenced]:
    return [RandomCellsSilenced(share, draw) for draw in range(count)]


def _contribution(context: ScoringContext) -> Tensor:
    """What the map says of how far each bin raises p_c: the definitions sum it, so its sign counts.

    A sensitivity map's sign says in which direction to move a bin, not what the bin does for the class.
    """
    return context.importance if context.explainer.method.polarity == "absolute" else context.attribution


def _ranking_by_size(context: ScoringContext) -> Ranking:
    """Order of the bins by |attribution|: a bin that speaks against the class matters as well."""

    def compute() -> Ranking:
        size = context.attribution.abs()
        return context.ranking if torch.equal(size, context.importance) else Ranking(size, context.clean.batch)

    return context.shared(("correlation", "ranking by size"), compute)


def _resampled(context: ScoringContext, draw: int) -> Tensor:
    """Spectrograms of values drawn from each clip's own bins, with replacement, (batch, freq, time)."""

    def compute() -> Tensor:
        batch = context.clean.batch
        flat = batch.x.flatten(1)
        size = flat.shape[1]
        drawn = [
            torch.randint(size, (size,), generator=batch.generator(i, f"correlation/replacement/{draw}"))
            for i in range(len(batch))
        ]
        return flat.gather(1, torch.stack(drawn).to(flat.device)).view_as(batch.x)

    return context.shared(("correlation", "resampled", draw), compute)


def _band(ranking: Ranking, band: int) -> Tensor:
    """Bool mask (batch, freq, time) of one band, as wide as one step of the deletion curve."""
    return ranking.top(CURVE_AREAS[band + 1]) & ~ranking.top(CURVE_AREAS[band])


def _band_sums(maps: Tensor, ranking: Ranking) -> Tensor:
    """Sums of maps (batch, freq, time) over each band, float64 (batch, bands)."""
    sums = [maps.masked_fill(~_band(ranking, band), 0.0).flatten(1).double().sum(dim=1) for band in range(BANDS)]
    return torch.stack(sums, dim=1)


def _defined(values: Tensor, maps: Tensor, sums: Sequence[Tensor], changes: Sequence[Tensor]) -> Scores:
    """Correlations (batch,) of sums with changes, each (batch, parts); undefined where one of them is constant."""
    flat = maps.flatten(1)
    constant = (flat == flat[:, :1]).all(dim=1)
    # Equal sums differ by the rounding of float64.
    same_sums = torch.stack([_spread(one) <= 1e-12 * one.abs().amax(dim=1) for one in sums]).any(dim=0)
    same_changes = torch.stack([_spread(one) <= ROUNDING for one in changes]).any(dim=0)
    reasons = [
        _CONSTANT_MAP if a else _CONSTANT_SUMS if b else _CONSTANT_DROPS if c else None
        for a, b, c in zip(constant.tolist(), same_sums.tolist(), same_changes.tolist(), strict=True)
    ]
    return Scores(values.masked_fill(constant | same_sums | same_changes, float("nan")), tuple(reasons))


def _spread(values: Tensor) -> Tensor:
    """Largest less smallest value of each row, (batch,)."""
    return values.amax(dim=1) - values.amin(dim=1)

"""Faithfulness as correlation: parts with more importance should change the prediction more when they are changed.

Parts are random subsets of the 12 x 12 cells (`_cells`), or bands of bins in order of importance, because silencing
one bin of 221,103 changes nothing. A correlation is undefined where either side does not vary.
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
from xaibench.sound.domain import Picture

from ._cells import RandomCellsSilenced, drops, subset_sums

SUBSET = 0.20  # of the cells, in faithfulness_correlation
SUBSET_DRAWS = 50
SENSITIVITY_SHARES = (0.05, 0.10, 0.20, 0.40)
SENSITIVITY_DRAWS = 20  # for each share; at 20% they are the first draws of faithfulness_correlation
BANDS = len(CURVE_AREAS) - 1
REPLACEMENTS = 3  # random values tried for each band

ROUNDING = 1e-6  # probabilities come from float32 logits, so smaller differences change with the batch size

_CONSTANT_MAP = "the map is the same everywhere: nothing to correlate with"
_CONSTANT_SUMS = "all parts hold the same importance: nothing to correlate with"
_CONSTANT_DROPS = "the probability changes equally whichever part is changed: nothing to correlate with"


@dataclass(frozen=True)
class BandSilenced(Perturbation):
    """The spectrogram without one band of bins, in order of importance.

    Attributes:
        band: 0 for the most important twentieth of the bins, 19 for the least.
    """

    band: int

    def apply(self, context: ScoringContext) -> Tensor | Picture:
        return context.left(~_band(context, context.ranking, self.band))


@dataclass(frozen=True)
class BandReplaced(Perturbation):
    """The spectrogram with one band of bins, in order of |attribution|, replaced by values drawn from the clip.

    Attributes:
        band: 0 for the twentieth of the bins with the largest |attribution|, 19 for the smallest.
        draw: number of the draw.
    """

    band: int
    draw: int

    def apply(self, context: ScoringContext) -> Tensor | Picture:
        return context.filled(_band(context, _ranking_by_size(context), self.band), _resampled(context, self.draw))


class FaithfulnessCorrelation(Metric):
    title = "Faith-Corr"
    family = "faithfulness"
    reference = "Bhatt, Weller, Moura, arXiv 2005.00631, faithfulness correlation"
    description = "whether parts with more attribution lower the predicted class's probability more when silenced"
    formula = (
        f"Pearson correlation over {SUBSET_DRAWS} random subsets S of {SUBSET:.0%} of 12 x 12 cells between the sum "
        "of a over S and p_c(x) - p_c(x without S); a signed, or |a| of a sensitivity map"
    )
    traps = "cells are coarse: the position of a peak within its cell does not count"
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
        "there are few draws of each size: one clip's value is noisy, a mean over clips is not; Quantus correlates "
        "across clips"
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
    description = "whether more important bands of bins lower the predicted class's probability more when silenced"
    formula = (
        f"Pearson correlation over {BANDS} bands of 5% of the bins, in order of importance a, between the sum of a "
        "over the band and p_c(x) - p_c(x without the band)"
    )
    traps = "in a sparse map all bands except the first hold almost nothing, and one band decides"
    higher_is_better = True
    bounds = (-1.0, 1.0)
    cost = f"{BANDS}"

    def perturbations(self, areas: Sequence[float | None]) -> list[Perturbation]:
        return [BandSilenced(band) for band in range(BANDS)]

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        sums = _band_sums(context, context.importance, context.ranking)
        changes = drops(context, [BandSilenced(band) for band in range(BANDS)])
        return _defined(pearson(sums, changes), context.importance, [sums], [changes])


class MonotonicityCorrelation(Metric):
    title = "Mono-Corr"
    family = "faithfulness"
    reference = "Nguyen and Rodriguez Martinez, arXiv 2007.07584: monotonicity"
    description = "whether the prediction depends more on bins with a larger attribution"
    formula = (
        f"Spearman correlation over {BANDS} bands of 5% of the bins, in order of |a|, between the sum of |a| over the "
        f"band and the mean of (p_c(x) - p_c(x with the band's values drawn from the clip's))^2 over {REPLACEMENTS} "
        "draws; a signed"
    )
    traps = f"ranks of means over {REPLACEMENTS} draws: bands that matter equally are ordered by chance"
    higher_is_better = True
    bounds = (-1.0, 1.0)
    cost = f"{BANDS * REPLACEMENTS}"

    def perturbations(self, areas: Sequence[float | None]) -> list[Perturbation]:
        return [BandReplaced(band, draw) for band in range(BANDS) for draw in range(REPLACEMENTS)]

    def score(self, context: ScoringContext, area: float | None) -> Scores:
        size = context.audible(context.attribution.abs())
        sums = _band_sums(context, size, _ranking_by_size(context))
        squares = drops(context, self.perturbations(())).square().view(-1, BANDS, REPLACEMENTS).mean(dim=2)
        # Without this, the ranks of bands that change nothing would be those of rounding.
        changes = torch.where(squares.sqrt() > ROUNDING, squares, 0.0)
        return _defined(spearman(sums, changes), size, [sums], [changes.sqrt()])


def pearson(a: Tensor, b: Tensor) -> Tensor:
    """Correlate the rows of float64 (batch, n) with those of (batch, n): (batch,), NaN where one is constant."""
    a, b = (values - values.mean(dim=1, keepdim=True) for values in (a, b))
    # Scaled first, so that squares of any float32 map, denormal or huge, stay in float64's range.
    a, b = (values / values.abs().amax(dim=1, keepdim=True) for values in (a, b))
    return ((a * b).sum(dim=1) / (a.square().sum(dim=1) * b.square().sum(dim=1)).sqrt()).clamp(-1, 1)


def spearman(a: Tensor, b: Tensor) -> Tensor:
    """Correlate the ranks of (batch, n) and (batch, n), row by row; equal values share their mean rank: (batch,)."""
    return pearson(_mid_ranks(a), _mid_ranks(b))


def _mid_ranks(values: Tensor) -> Tensor:
    """Rank the values within each row, up to a constant, float64; equal values share their mean rank."""
    below = values[:, None, :] < values[:, :, None]
    equal = values[:, None, :] == values[:, :, None]
    return below.double().sum(dim=2) + equal.double().sum(dim=2) / 2


def _draws(share: float, count: int) -> list[RandomCellsSilenced]:
    return [RandomCellsSilenced(share, draw) for draw in range(count)]


def _contribution(context: ScoringContext) -> Tensor:
    """Return each bin's contribution to p_c. The definitions sum it, so its sign counts.

    The sign of a sensitivity map is the direction in which to change a bin, not the bin's effect on the class;
    the importance is used instead.
    """
    if context.explainer.method.polarity == "absolute":
        return context.importance
    return context.audible(context.attribution)


def _ranking_by_size(context: ScoringContext) -> Ranking:
    """Rank the bins by |attribution|, because a bin that speaks against the class matters as well."""

    def compute() -> Ranking:
        size = context.audible(context.attribution.abs())
        return context.ranking if torch.equal(size, context.importance) else Ranking(size, context.clean.batch)

    return context.shared(("correlation", "ranking by size"), compute)


def _resampled(context: ScoringContext, draw: int) -> Tensor:
    """Draw spectrograms from the values of each clip's own bins, with replacement, (batch, freq, time)."""

    def compute() -> Tensor:
        batch, drawn = context.clean.batch, []
        for i, x in enumerate(batch.x):
            values = (x if batch.audible is None else x[:, batch.audible[i]]).flatten()
            generator = batch.generator(i, f"correlation/replacement/{draw}")
            # A clip that is silent all over has nothing to draw from, and none of its bins is replaced.
            index = torch.randint(max(1, len(values)), (x.numel(),), generator=generator)
            drawn.append(values[index.to(x.device)].view_as(x) if len(values) else x)
        return torch.stack(drawn)

    return context.shared(("correlation", "resampled", draw), compute)


def _band(context: ScoringContext, ranking: Ranking, band: int) -> Tensor:
    """Return the mask of one band, as wide as one step of the deletion curve, bool (batch, freq, time).

    Padding is in none: the last step of a ranking goes from all audible bins to all bins.
    """
    mask = ranking.top(CURVE_AREAS[band + 1]) & ~ranking.top(CURVE_AREAS[band])
    audible = context.clean.batch.audible
    return mask if audible is None else mask & audible[:, None, :]


def _band_sums(context: ScoringContext, maps: Tensor, ranking: Ranking) -> Tensor:
    """Sum maps (batch, freq, time) over each band, float64 (batch, bands)."""
    bands = (_band(context, ranking, band) for band in range(BANDS))
    sums = [maps.masked_fill(~band, 0.0).flatten(1).double().sum(dim=1) for band in bands]
    return torch.stack(sums, dim=1)


def _defined(values: Tensor, maps: Tensor, sums: Sequence[Tensor], changes: Sequence[Tensor]) -> Scores:
    """Turn correlations (batch,) into scores; undefined where map, sums or changes (batch, parts) are constant."""
    flat = maps.flatten(1)
    constant = (flat == flat[:, :1]).all(dim=1)
    # Equal sums may differ by the rounding of float64.
    same_sums = torch.stack([_spread(one) <= 1e-12 * one.abs().amax(dim=1) for one in sums]).any(dim=0)
    same_changes = torch.stack([_spread(one) <= ROUNDING for one in changes]).any(dim=0)
    reasons = [
        _CONSTANT_MAP if a else _CONSTANT_SUMS if b else _CONSTANT_DROPS if c else None
        for a, b, c in zip(constant.tolist(), same_sums.tolist(), same_changes.tolist(), strict=True)
    ]
    return Scores(values.masked_fill(constant | same_sums | same_changes, float("nan")), tuple(reasons))


def _spread(values: Tensor) -> Tensor:
    """Return the largest minus the smallest value of each row, (batch,)."""
    return values.amax(dim=1) - values.amin(dim=1)

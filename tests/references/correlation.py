"""Slow, independent re-derivations of the correlation metrics and of infidelity, for one clip.

As `references`: loops, one clip at a time, the paper's formula. The metrics draw at random, so what was drawn is
an argument: subsets of the bins as bool (freq, time), or the changed spectrograms themselves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from tests.references.values import Clip, mask, p_full, predicted

BANDS = 20
ROUNDING = 1e-6  # of probabilities from float32 logits: where all drops agree to it, there is nothing to correlate


def cells(shape: tuple[int, int], most: int = 12) -> np.ndarray:
    """Cell of each bin: sides cut at the multiples of their length over 12, or bin by bin where they are shorter."""
    numbers = np.full(shape, -1)
    rows, columns = (min(most, side) for side in shape)
    for r in range(rows):
        for c in range(columns):
            top, bottom = (math.ceil(edge * shape[0] / rows) for edge in (r, r + 1))
            left, right = (math.ceil(edge * shape[1] / columns) for edge in (c, c + 1))
            numbers[top:bottom, left:right] = r * columns + c
    return numbers


def pearson(a: Sequence[float], b: Sequence[float]) -> float:
    """r = sum (a - mean a)(b - mean b) / sqrt(sum (a - mean a)^2 sum (b - mean b)^2)."""
    mean_a, mean_b = math.fsum(a) / len(a), math.fsum(b) / len(b)
    above = math.fsum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True))
    below = math.fsum((x - mean_a) ** 2 for x in a) * math.fsum((y - mean_b) ** 2 for y in b)
    return above / math.sqrt(below)


def spearman(a: Sequence[float], b: Sequence[float]) -> float:
    """Pearson correlation of the ranks, 1 the smallest; equal values share the mean of their ranks."""

    def ranks(values: Sequence[float]) -> list[float]:
        order = sorted(values)
        return [order.index(v) + (order.count(v) + 1) / 2 for v in values]

    return pearson(ranks(a), ranks(b))


def drop(clip: Clip, changed: np.ndarray) -> float:
    """p_c(x) - p_c(changed)."""
    return p_full(clip) - float(clip.probabilities(changed)[predicted(clip)])


def faithfulness_correlation(clip: Clip, subsets: Sequence[np.ndarray]) -> float:
    """Bhatt et al. (arXiv 2005.00631), eq. 1: corr over S of sum_{i in S} g_i and f_c(x) - f_c(x[x_S = baseline])."""
    sums = [math.fsum(float(v) for v in clip.importance[subset]) for subset in subsets]
    drops = [drop(clip, np.where(subset, 0, clip.x)) for subset in subsets]
    return math.nan if max(drops) - min(drops) <= ROUNDING else pearson(sums, drops)


def sensitivity_n(clip: Clip, subsets_of_n: Sequence[Sequence[np.ndarray]]) -> float:
    """Ancona et al. (arXiv 1711.06104), sensitivity-n: the same correlation for each n, averaged over n."""
    return math.fsum(faithfulness_correlation(clip, subsets) for subsets in subsets_of_n) / len(subsets_of_n)


def bands(clip: Clip) -> list[np.ndarray]:
    """Twentieths of the bins, most important first, bool (freq, time)."""
    masks = [mask(clip, i / BANDS) for i in range(BANDS + 1)]
    return [more - less == 1 for less, more in pairwise(masks)]


def faithfulness_estimate(clip: Clip, area: None) -> float:
    """Alvarez-Melis and Jaakkola (arXiv 1806.07538), "faithfulness": corr of relevance and drop, band by band."""
    return faithfulness_correlation(clip, bands(clip))


def monotonicity_correlation(clip: Clip, changed: Sequence[Sequence[np.ndarray]]) -> float:
    """Nguyen, Rodriguez Martinez (arXiv 2007.07584), monotonicity: rank corr of |a_i|, E[(f(x) - f(x, x_i random))^2].

    `changed` holds, for each band, the spectrograms with that band's values replaced at random.
    """
    sums = [math.fsum(float(v) for v in clip.importance[band]) for band in bands(clip)]
    squares = [math.fsum(drop(clip, one) ** 2 for one in draws) / len(draws) for draws in changed]
    return spearman(sums, squares)


def infidelity(clip: Clip, effect: np.ndarray, subsets: Sequence[np.ndarray], scale: bool = True) -> float:
    """Yeh et al. (arXiv 1901.09392), definition 2.1: E[(I^T Phi - (f(x) - f(x - I)))^2].

    `effect` is I * Phi, bin by bin, of an I that silences every bin. Scaled as in the paper's code: I^T Phi is
    first multiplied by E[I^T Phi (f(x) - f(x - I))] / E[(I^T Phi)^2].
    """
    forecast = [math.fsum(float(v) for v in effect[subset]) for subset in subsets]
    drops = [drop(clip, np.where(subset, 0, clip.x)) for subset in subsets]
    beta = 1.0
    if scale:
        below = math.fsum(f * f for f in forecast)
        beta = math.fsum(f * d for f, d in zip(forecast, drops, strict=True)) / below if below else 0.0
    return math.fsum((beta * f - d) ** 2 for f, d in zip(forecast, drops, strict=True)) / len(drops)


REFERENCES: dict[str, Callable[..., float]] = {
    "faithfulness_estimate": faithfulness_estimate,
}

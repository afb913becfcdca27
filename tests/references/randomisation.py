"""Slow re-derivations of what the randomisation and separation metrics compute from maps and sound.

They take maps, not a `Clip`: which maps to compare is a matter of weights and classes, which the
tests make by hand. `REFERENCES` holds the functions by the id of the metric.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np


def average_ranks(values: Sequence[float]) -> list[float]:
    """Rank 1 for the smallest; equal values share the mean of their ranks (Kendall, Rank Correlation Methods, 1948)."""
    return [
        sum(other < value for other in values) + (sum(other == value for other in values) + 1) / 2 for value in values
    ]


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rho as Adebayo et al. (arXiv 1810.03292, section 3) use it: the product moment of the ranks."""
    first, second = (average_ranks([float(value) for value in one.flat]) for one in (a, b))
    mean = (len(first) + 1) / 2
    cross = math.fsum((p - mean) * (q - mean) for p, q in zip(first, second, strict=True))
    squares = math.fsum((p - mean) ** 2 for p in first) * math.fsum((q - mean) ** 2 for q in second)
    return cross / math.sqrt(squares) if squares else math.nan


def mprt(original: np.ndarray, randomised: Sequence[np.ndarray]) -> float:
    """Adebayo et al. (arXiv 1810.03292): similarity along the cascade, here averaged over its stages."""
    return math.fsum(rank_correlation(original, one) for one in randomised) / len(randomised)


def histogram_entropy(values: np.ndarray) -> float:
    """Hedstroem et al. (arXiv 2401.06465, section 4.2): entropy of a histogram of 100 bins of one width."""
    flat = [float(value) for value in values.flat]
    low, high = min(flat), max(flat)
    counts = [0] * 100
    for value in flat:
        position = 0 if low == high else math.floor((value - low) / (high - low) * 100)
        counts[min(position, 99)] += 1
    return -math.fsum(count / len(flat) * math.log(count / len(flat)) for count in counts if count)


def efficient_mprt(original: np.ndarray, randomised: np.ndarray) -> float:
    """Hedstroem et al. (arXiv 2401.06465, section 4.2): relative rise of the complexity of the explanation."""
    before, after = histogram_entropy(original), histogram_entropy(randomised)
    return (after - before) / before if before else math.nan


def si_sdr(estimate: np.ndarray, target: np.ndarray) -> float:
    """Le Roux et al. (arXiv 1811.02508, scale-invariant), in dB, in double precision."""
    y, s = estimate.astype(float), target.astype(float)
    scaled = float(np.dot(y, s)) / float(np.dot(s, s)) * s
    residual = scaled - y
    return 10 * math.log10(float(np.dot(scaled, scaled)) / float(np.dot(residual, residual)))


REFERENCES: dict[str, Callable[..., float]] = {
    "efficient_mprt": efficient_mprt,
    "mprt": mprt,
    "random_logit": rank_correlation,
    "si_sdr": si_sdr,
}

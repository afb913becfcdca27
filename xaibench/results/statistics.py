"""How sure a mean or a difference is, when several clips are cut from one recording.

Clips of one recording resemble each other, so it is recordings that are resampled (cluster
bootstrap: Davison and Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8) and
whose signs are flipped (Good, "Permutation, Parametric and Bootstrap Tests of Hypotheses", 2005,
section 3.2). scipy.stats does both for one sample at a time; here one draw serves all rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from xaibench.results.resampling import Floats, alike, in_blocks, recording_signs, recording_weights, sum_by_recording

ALPHA = 0.05
RESAMPLES = 10_000
FLIPS = 9_999


@dataclass(frozen=True)
class MeanInterval:
    """Means (rows,) and the ends (rows,) of their 95% intervals, NaN where there is none."""

    mean: Floats
    low: Floats
    high: Floats


def mean_interval(
    values: Floats, recordings: NDArray, *, ranges: Floats | None = None, resamples: int = RESAMPLES, seed: int = 0
) -> MeanInterval:
    """Mean over the defined clips, with a 95% percentile interval by bootstrap over recordings.

    The percentile interval (Efron, 1979) rather than BCa: it never leaves the range of the metric,
    it exists where all clips agree (an all-or-nothing metric at 0 or 1), and it contains the mean.

    Where all clips are at an end of the range, a resample has nothing to vary, and the interval is that of Clopper and
    Pearson (1934) for none of n recordings departing from it: the mean departs by at most that share of the range.

    Args:
        values: (rows, clips), NaN where undefined; a row is one method under one metric.
        recordings: (clips,), the recording that each clip was cut from.
        ranges: (rows, 2), the smallest and the largest value that a row may have, infinite where there is no limit.
            None: no row has limits.
        resamples: number of bootstrap samples.
        seed: of the resampling; a row's interval does not depend on the other rows.

    Returns:
        NaN means without a defined clip; NaN intervals with fewer than two recordings.
    """
    defined = ~np.isnan(values)
    sums = sum_by_recording(np.where(defined, values, 0.0), recordings)
    counts = sum_by_recording(defined.astype(float), recordings)
    clips = counts.sum(axis=1)
    mean = np.divide(sums.sum(axis=1), clips, out=np.full(len(values), np.nan), where=clips > 0)
    low, high = np.full((2, len(values)), np.nan)
    first, pattern_of = alike(counts > 0)
    for index, pattern in enumerate(counts[first] > 0):
        if pattern.sum() < 2:
            continue
        for rows in in_blocks(np.flatnonzero(pattern_of == index)):
            means = _Means(sums[rows][:, pattern], counts[rows][:, pattern])
            draws = recording_weights(int(pattern.sum()), resamples, seed)
            drawn = np.concatenate([means.of(weights) for weights in draws])
            low[rows], high[rows] = np.quantile(drawn, (0.025, 0.975), axis=0)
    if ranges is not None:
        _widen_at_the_ends(values, (counts > 0).sum(axis=1), ranges, low, high)
    # Of clips that all agree, the resampled means differ from the mean by rounding alone.
    return MeanInterval(mean, np.minimum(low, mean), np.maximum(high, mean))


def _widen_at_the_ends(values: Floats, recordings: NDArray, ranges: Floats, low: Floats, high: Floats) -> None:
    """Replace the intervals of rows whose clips are all at the same end of a finite range."""
    width = ranges[:, 1] - ranges[:, 0]
    bounded = np.isfinite(width) & (recordings > 1)
    for end, moved, towards in ((0, high, 1.0), (1, low, -1.0)):
        agree = bounded & np.all(np.isnan(values) | np.isclose(values, ranges[:, [end]], rtol=0, atol=1e-12), axis=1)
        share = 1 - (ALPHA / 2) ** (1 / recordings[agree])  # Clopper and Pearson's upper end for 0 of n
        moved[agree] = ranges[agree, end] + towards * share * width[agree]


def share_first(
    values: Floats, recordings: NDArray, contests: Iterable[NDArray], *, resamples: int = RESAMPLES, seed: int = 0
) -> Floats:
    """Share of the resamples in which each row has the largest mean of its contest, recordings resampled.

    Equals share a first place. It describes how much an order owes to the recordings that happened to be drawn. It is
    no probability that a row is the best, and no test.

    Args:
        values: (rows, clips), NaN where undefined; higher is better.
        recordings: (clips,), the recording that each clip was cut from.
        contests: the numbers of the rows that are compared with each other; one draw serves all contests.
        resamples: number of bootstrap samples.
        seed: of the resampling.

    Returns:
        Shares (rows,), which add up to 1 in each contest; NaN for a row without a defined clip or in no contest.
    """
    defined = ~np.isnan(values)
    there = np.asarray(defined.any(axis=1))
    among = [own for rows in contests if len(own := np.asarray(rows)[there[rows]])]
    shares = np.full(len(values), np.nan)
    if not among:
        return shares
    sums = sum_by_recording(np.where(defined, values, 0.0), recordings)
    counts = sum_by_recording(defined.astype(float), recordings)
    shares[np.concatenate(among)] = 0.0
    means = _Means(sums, counts)
    for weights in recording_weights(sums.shape[1], resamples, seed):
        drawn = means.of(weights)
        for rows in among:
            best = drawn[:, rows] >= drawn[:, rows].max(axis=1, keepdims=True) - 1e-12
            shares[rows] += (best / best.sum(axis=1, keepdims=True)).sum(axis=0)
    return shares / resamples


def standard_error(values: Floats, recordings: NDArray) -> Floats:
    """Standard error (rows,) of each row's mean over its defined clips, by recording; NaN with fewer than two.

    Args:
        values: (rows, clips), NaN where undefined.
        recordings: (clips,), the recording that each clip was cut from.
    """
    defined = ~np.isnan(values)
    sums = sum_by_recording(np.where(defined, values, 0.0), recordings).T
    counts = sum_by_recording(defined.astype(float), recordings).T
    several = np.count_nonzero(counts, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        clips = counts.sum(axis=0)
        off = sums - sums.sum(axis=0) / clips * counts
        errors = np.sqrt((off**2).sum(axis=0) * several / (several - 1)) / clips
    return np.where(several > 1, errors, np.nan)


def simultaneous_interval(
    values: Floats, recordings: NDArray, *, resamples: int = RESAMPLES, seed: int = 0
) -> MeanInterval:
    """Mean over the defined clips, with intervals that hold for all rows at once with 95% confidence.

    Bootstrap-t over recordings: mean ± c standard errors, where c is the 95% quantile of the largest studentised
    deviation of any row, each studentised by its own sample (Davison and Hinkley, 1997, section 2.4, for one row;
    Westfall and Young, "Resampling-Based Multiple Testing", 1993, section 2.5, for the largest of several).

    Args:
        values: (rows, clips), NaN where undefined, such as the differences of every method to one control.
        recordings: (clips,), the recording that each clip was cut from.
        resamples: number of bootstrap samples. One in which a row does not vary says nothing of that row.
        seed: of the resampling.

    Returns:
        NaN means without a defined clip; NaN intervals with clips of fewer than two recordings.
    """
    defined = ~np.isnan(values)
    sums = sum_by_recording(np.where(defined, values, 0.0), recordings)
    counts = sum_by_recording(defined.astype(float), recordings)
    several, clips = (counts > 0).sum(axis=1) > 1, counts.sum(axis=1)
    mean = np.divide(sums.sum(axis=1), clips, out=np.full(len(values), np.nan), where=clips > 0)
    low, high = np.full((2, len(values)), np.nan)
    if not several.any():
        return MeanInterval(mean, low, high)
    sums, counts = sums[several].T, counts[several].T
    centre, error = _ratio(np.ones((1, len(sums))), sums, counts)
    largest = []
    for weights in recording_weights(len(sums), resamples, seed):
        drawn, own_error = _ratio(weights, sums, counts)
        varies = (own_error > 1e-9) & (error > 1e-9)
        scaled = np.divide(np.abs(drawn - centre), own_error, out=np.zeros_like(drawn), where=varies)
        largest.append(scaled.max(axis=1))
    half = np.quantile(np.concatenate(largest), 1 - ALPHA) * error[0]
    low[several], high[several] = mean[several] - half, mean[several] + half
    return MeanInterval(mean, low, high)


def _ratio(weights: Floats, sums: Floats, counts: Floats) -> tuple[Floats, Floats]:
    """Mean over clips and its standard error, (samples, rows), from sums and counts (recordings, rows) and weights.

    The error is that of a ratio of sums over clusters (Cochran, "Sampling Techniques", 1977, section 6.3).
    """
    clips = weights @ counts
    with np.errstate(invalid="ignore"):  # a sample may hold no clip of a row
        means = (weights @ sums) / clips
        squares = weights @ sums**2 - 2 * means * (weights @ (sums * counts)) + means**2 * (weights @ counts**2)
        recordings = weights.sum(axis=1, keepdims=True)
        errors = np.sqrt(np.maximum(squares, 0.0) * recordings / (recordings - 1)) / clips
    return np.nan_to_num(means), np.nan_to_num(errors)


def sign_flip_p(
    differences: Floats,
    recordings: NDArray,
    alternative: Literal["two-sided", "greater"],
    *,
    flips: int = FLIPS,
    seed: int = 0,
) -> Floats:
    """p of a mean paired difference being 0, by flipping the signs of whole recordings.

    All flips are enumerated where there are at most `flips` of them, else drawn. p is
    (1 + count) / (1 + n), never 0 (Phipson and Smyth, "Permutation P-values should never be zero",
    2010).

    Args:
        differences: (rows, clips), one method minus another; NaN where either is undefined.
        recordings: (clips,), the recording that each clip was cut from.
        alternative: whether the mean may differ either way, or only "greater" than 0 counts.
        flips: most flips to try.
        seed: of the draws.

    Returns:
        p (rows,); NaN for rows without any defined difference.
    """
    defined = ~np.isnan(differences)
    sums = sum_by_recording(np.where(defined, differences, 0.0), recordings)
    # A flip of recordings that cancel reproduces the observed sum only up to rounding.
    observed = sums.sum(axis=1)
    tolerance = 1e-12 * np.abs(sums).sum(axis=1)
    p = np.full(len(sums), np.nan)
    for rows in in_blocks(np.flatnonzero(defined.any(axis=1))):
        extreme, tried = np.zeros(len(rows), dtype=np.int64), 0
        for signs in recording_signs(sums.shape[1], flips, seed):
            flipped = signs @ sums[rows].T
            if alternative == "two-sided":
                found = np.abs(flipped) >= np.abs(observed[rows]) - tolerance[rows]
            else:
                found = flipped >= observed[rows] - tolerance[rows]
            extreme += found.sum(axis=0)
            tried += len(signs)
        p[rows] = (1 + extreme) / (1 + tried)
    return p


def corrected_p(differences: Floats, recordings: NDArray, alternative: Literal["two-sided", "greater"]) -> Floats:
    """Test every row's mean paired difference against 0 (`sign_flip_p`) and correct for the number of rows (`holm`)."""
    return holm(sign_flip_p(differences, recordings, alternative, flips=flips_for(len(differences))))


def paired_p(
    values: Floats, recordings: NDArray, first: NDArray[np.intp], second: NDArray[np.intp], *, flips: int = FLIPS
) -> Floats:
    """Test whether two rows have the same mean: `sign_flip_p` of their differences, two-sided, for many pairs.

    A difference of sums is the sum of the differences, so that rows of the same defined clips need one product with
    the signs each, however many pairs they are in.

    Args:
        values: (rows, clips), NaN where undefined.
        recordings: (clips,), the recording that each clip was cut from.
        first, second: (pairs,), numbers of rows.
        flips: most flips to try.

    Returns:
        p (pairs,); NaN for pairs without a clip that both have.
    """
    defined = ~np.isnan(values)
    kind = alike(defined)[1]
    same = kind[first] == kind[second]
    p = np.full(len(first), np.nan)
    for pairs in in_blocks(np.flatnonzero(~same)):
        p[pairs] = sign_flip_p(values[first[pairs]] - values[second[pairs]], recordings, "two-sided", flips=flips)
    blocks = in_blocks(np.flatnonzero(same & np.asarray(defined.any(axis=1))[first]))
    if not blocks:
        return p
    sums = sum_by_recording(np.where(defined, values, 0.0), recordings)
    total, size = sums.sum(axis=1), np.abs(sums).sum(axis=1)
    least = np.zeros(len(p))
    for pairs in blocks:
        one, other = first[pairs], second[pairs]
        # As in `sign_flip_p`; and the sums of two rows that are nearly alike have less than their digits left.
        tolerance = 1e-12 * np.abs(sums[one] - sums[other]).sum(axis=1) + 1e-14 * (size[one] + size[other])
        least[pairs] = np.abs(total[one] - total[other]) - tolerance
    extreme, tried = np.zeros(len(p), dtype=np.int64), 0
    for signs in recording_signs(sums.shape[1], flips, seed=0):
        flipped = signs @ sums.T
        for pairs in blocks:
            found = np.abs(flipped[:, first[pairs]] - flipped[:, second[pairs]]) >= least[pairs]
            extreme[pairs] += found.sum(axis=0)
        tried += len(signs)
    tested = np.concatenate(blocks)
    p[tested] = (1 + extreme[tested]) / (1 + tried)
    return p


@dataclass(frozen=True)
class PairedDifference(MeanInterval):
    """Mean differences (rows,) with their 95% intervals, and two-sided p (rows,), corrected for the number of rows."""

    p: Floats


def paired_difference(first: Floats, second: Floats, recordings: NDArray) -> PairedDifference:
    """Compare every row of `first` with the same row of `second`, over the clips where both are defined.

    Args:
        first: (rows, clips), NaN where undefined.
        second: likewise, of the same clips.
        recordings: (clips,), the recording that each clip was cut from.

    Returns:
        Means of first minus second, with intervals and p; NaN without a common clip.
    """
    differences = first - second
    found = mean_interval(differences, recordings)
    return PairedDifference(found.mean, found.low, found.high, corrected_p(differences, recordings, "two-sided"))


def flips_for(comparisons: int) -> int:
    """Flips of which, at the threshold of Holm's first step for so many comparisons, 20 are extreme.

    Of fewer, chance would decide about the pairs near the threshold.
    """
    return max(FLIPS, math.ceil(20 * comparisons / ALPHA))


def holm(p: Floats) -> Floats:
    """p values (n,) adjusted for their number by Holm's step-down method; NaN is no comparison.

    Holm, "A simple sequentially rejective multiple test procedure", 1979.
    """
    adjusted = np.full(len(p), np.nan)
    order = np.argsort(p)[: int((~np.isnan(p)).sum())]  # NaN sorts last
    steps = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * steps), 1.0)
    return adjusted


class _Means:
    """Means over clips of resamples of the recordings.

    Args:
        sums, counts: (rows, recordings).
    """

    def __init__(self, sums: Floats, counts: Floats) -> None:
        self._sums = sums.T
        first, self._kind = alike(counts)  # most rows are of the same clips
        self._counts = counts[first].T

    def of(self, weights: Floats) -> Floats:
        """Means (samples, rows) of weights (samples, recordings); -inf where a sample holds no clip of a row."""
        clips = (weights @ self._counts)[:, self._kind]
        return np.divide(weights @ self._sums, clips, out=np.full_like(clips, -np.inf), where=clips > 0)

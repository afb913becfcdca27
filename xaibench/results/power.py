"""How many recordings a verdict needs: told before anything is scored, and of what was scored."""

from __future__ import annotations

import math
from statistics import NormalDist

from xaibench.results.statistics import ALPHA

# Of paired differences in FF between two methods, measured on ESC-10 and ESC-50. Other metrics have other units.
DEVIATION = 0.36
POWER = 0.8  # the usual one: Cohen, "Statistical Power Analysis for the Behavioral Sciences", 1988


def smallest_difference(recordings: int, comparisons: int, deviation: float = DEVIATION) -> float:
    """Return the mean paired difference that so many recordings show as significant, in 4 of 5 samples of them.

    Args:
        recordings: how many there are.
        comparisons: pairs that are tested together (Holm's correction is at most a division by their number).
        deviation: standard deviation of the differences between recordings.
    """
    return _reach(comparisons) * deviation / math.sqrt(recordings)


def least_difference(standard_error: float, recordings: int, comparisons: int) -> float:
    """Return the mean paired difference that these recordings show as significant, in 4 of 5 samples of such.

    Args:
        standard_error: of a usual mean paired difference.
        recordings: how many there are. With few, even one that all of them agree about is not significant, and
            the difference is infinite: flipping the signs of n recordings has 2^n outcomes.
        comparisons: pairs that are tested together.
    """
    return _reach(comparisons) * standard_error if recordings >= fewest_recordings(comparisons) else math.inf


def fewest_recordings(comparisons: int) -> int:
    """Return how many recordings there must be for any difference to be significant (two-sided, by flipping signs)."""
    return 1 + math.ceil(math.log2(comparisons / ALPHA))


def recordings_for(difference: float, comparisons: int, deviation: float = DEVIATION) -> int:
    """Return how many recordings show a mean paired difference; the inverse of `smallest_difference`."""
    return math.ceil((_reach(comparisons) * deviation / difference) ** 2)


def _reach(comparisons: int) -> float:
    """Return how many standard errors from 0 a two-sided test has its power (normal approximation)."""
    normal = NormalDist()
    return normal.inv_cdf(1 - ALPHA / (2 * comparisons)) + normal.inv_cdf(POWER)

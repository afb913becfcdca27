"""What metrics must be able to tell: which explanations must score better than which others, by the metric's family."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from xaibench.results.parts import MetricFacts
from xaibench.results.statistics import ALPHA
from xaibench.validation.reference_maps import BEST

Pair = tuple[str, str]

# A method that differentiates the classifier, so that its maps depend on clip and weights.
GRADIENT = "saliency"
# Maps that take nothing from the classifier, and some nothing from the clip either.
TRIVIAL = ("uniform", "random", "energy")
PROBES = (GRADIENT, *TRIVIAL)


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question to metrics whose answer is known.

    Attributes:
        maps: the explanations that are scored.
        ends: pairs of a better and a worse one, which a metric must tell apart.
        between: more such pairs, which it must not reverse.
    """

    maps: tuple[str, ...]
    ends: tuple[Pair, ...]
    between: tuple[Pair, ...] = ()

    @property
    def order(self) -> tuple[Pair, ...]:
        """All pairs."""
        return self.ends + self.between

    @property
    def degraded(self) -> tuple[str, ...]:
        """The maps between the best and the worst, which a metric may or may not tell from both."""
        return tuple(dict.fromkeys(worse for _, worse in self.between if worse not in {w for _, w in self.ends}))

    @property
    def fewest(self) -> int:
        """Recordings below which no pair can be significant.

        The smallest two-sided p of n recordings is 2 / 2^n; Holm multiplies it by the number of pairs.
        """
        return math.ceil(math.log2(2 * len(self.order) / ALPHA))


def where(maps: Sequence[str]) -> Question:
    """Ask where the importance lies, with those reference maps that a dataset has."""
    wrong = [name for name in ("random", "inverted", "swapped") if name in maps]
    degraded = [name for name in ("half", "shifted") if name in maps]
    return Question(
        maps=tuple(maps),
        ends=tuple((BEST, name) for name in wrong),
        between=tuple(pair for name in degraded for pair in ((BEST, name), (name, "random"))),
    )


# An explainer that ignores clip and classifier never changes, so it is the most robust of all; that it wins shows that
# a robustness metric alone recommends it. Compare Miro-Nicolau et al., arXiv 2412.10942.
ROBUSTNESS = Question(maps=(GRADIENT, "uniform", "random"), ends=((GRADIENT, "random"), (GRADIENT, "uniform")))
# A constant map has no order that random weights could change: its values are undefined.
RANDOMISATION = Question(maps=(GRADIENT, "random", "energy"), ends=((GRADIENT, "random"), (GRADIENT, "energy")))
# The families of metrics that are asked about PROBES; the others are asked about the reference maps.
BY_FAMILY = {"robustness": ROBUSTNESS, "randomisation": RANDOMISATION}
# Families whose question is where the importance lies. The others ask how much of it there is (complexity: moving a
# map's values changes nothing), or whether it adds up (axioms).
_WHERE = frozenset({"faithfulness", "localisation"})


def by_construction(metric: MetricFacts) -> bool:
    """Whether a metric holds the ground truth of which the reference maps are made, or the time of the same events.

    That it orders them says that it is computed rightly, and nothing about classifiers.
    """
    return metric.needs_ground_truth or metric.family == "localisation"


def judged(metric: MetricFacts) -> bool:
    """Whether it is known how a metric must answer; the values of others are shown without a verdict."""
    return metric.family in _WHERE or metric.family in BY_FAMILY


def question_of(metric: MetricFacts, maps: Sequence[str]) -> Question:
    """Return what a metric is asked, `maps` being the reference maps of the dataset."""
    return BY_FAMILY.get(metric.family) or where(maps)

"""Can a metric be trusted? Maps whose order is known are scored, and a metric must see that order.

The maps (yardsticks) are made from the known evidence of synthetic clips, from their energy or from
nothing, never from the classifier. A metric that asks *where* the importance lies must put the known
evidence above random bins and above what is loud beside the evidence, and degraded evidence between
the known evidence and random bins. Metrics that ask something else are described, not judged.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from xaibench import results, tables
from xaibench.batch import Batch
from xaibench.classifiers.base import Classifier
from xaibench.errors import ResultsError
from xaibench.explainer import Explainer
from xaibench.explanation import Explanation
from xaibench.leaderboard import at_primary_area, metric_class, metric_heading, metric_order
from xaibench.statistics import ALPHA, Floats, flips_for, holm, mean_interval, sign_flip_p
from xaibench.tables import MISSING, UNPROVEN, Cell, Row, Table

DATASET = "synth"
FOLDS = (5,)
CLIPS = 32
# 0.25 s: what is left of the evidence under its shifted copy is 36% on average.
SHIFT = 0.05
# The families whose question is where the importance lies. The others ask how much of it there is
# (complexity: moving a map's values changes nothing) or what the map does when classifier or clip
# change (robustness, randomisation, axioms), and yardsticks never look at a classifier: their values
# there say nothing about the metric.
JUDGED_FAMILIES = frozenset({"faithfulness", "localisation"})
NOT_WHERE = "not a test of where"
DISCRIMINATES = "discriminates"
FAILS = "fails"
UNDECIDED = "too few recordings"


class _Yardstick(Explainer):
    reference = "xaibench validate"
    polarity = "positive"
    control = True

    @abc.abstractmethod
    def weigh(self, batch: Batch) -> Tensor:
        """Non-negative importance (batch, freq, time), on any scale."""

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        maps = self.weigh(batch)
        # All of the same mass: a metric that reads the scale of a map must not tell them apart by it.
        mass = maps.sum(dim=(1, 2), keepdim=True)
        return Explanation(maps / torch.where(mass > 0, mass, 1), batch.grid)


def _evidence(batch: Batch) -> Tensor:
    assert batch.evidence is not None
    return batch.evidence


class Oracle(_Yardstick):
    title = "Oracle"
    description = "the known evidence, its loudest bins first; zero everywhere else"
    needs = frozenset({"evidence"})

    def weigh(self, batch: Batch) -> Tensor:
        return batch.x * _evidence(batch)


class Half(_Yardstick):
    title = "Half"
    description = "the oracle without a random half of the evidence"
    needs = frozenset({"evidence"})

    def weigh(self, batch: Batch) -> Tensor:
        draws = [torch.rand(batch.grid, generator=batch.generator(i, "half")) < 0.5 for i in range(len(batch))]
        return batch.x * _evidence(batch) * torch.stack(draws).to(batch.x.device)


class Shifted(_Yardstick):
    title = "Shifted"
    description = "the oracle, later by a fixed share of the clip; what leaves it at the end enters at its beginning"
    needs = frozenset({"evidence"})
    parameters = {"share": SHIFT}

    def weigh(self, batch: Batch) -> Tensor:
        return (batch.x * _evidence(batch)).roll(round(SHIFT * batch.grid[1]), dims=2)


class Energy(_Yardstick):
    title = "Energy"
    description = "the spectrogram itself: the loudest bins matter most"

    def weigh(self, batch: Batch) -> Tensor:
        return batch.x


class Uniform(_Yardstick):
    title = "Uniform"
    description = "the same importance everywhere; its masks are random by the tie rule"

    def weigh(self, batch: Batch) -> Tensor:
        return torch.ones_like(batch.x)


class Random(_Yardstick):
    title = "Random"
    description = "independent uniform noise in every bin"

    def weigh(self, batch: Batch) -> Tensor:
        maps = [torch.rand(batch.grid, generator=batch.generator(i, "random")) for i in range(len(batch))]
        return torch.stack(maps).to(batch.x.device)


class Inverted(_Yardstick):
    title = "Inverted"
    description = "everything but the evidence, its loudest bins first; zero on the evidence"
    needs = frozenset({"evidence"})

    def weigh(self, batch: Batch) -> Tensor:
        return batch.x * ~_evidence(batch)


YARDSTICKS: dict[str, type[_Yardstick]] = {
    kind.__name__.lower(): kind for kind in (Oracle, Half, Shifted, Energy, Uniform, Random, Inverted)
}
# What must score better than what.
ORDER = (
    ("oracle", "random"),
    ("oracle", "inverted"),
    ("oracle", "half"),
    ("half", "random"),
    ("oracle", "shifted"),
    ("shifted", "random"),
)


def yardsticks() -> dict[str, Explainer]:
    """All yardsticks by name, best first."""
    return {name: kind() for name, kind in YARDSTICKS.items()}

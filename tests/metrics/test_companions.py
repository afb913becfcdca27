"""A metric's values are the same in every digit whatever other metrics, and methods, are scored beside it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor

from xaibench import registry
from xaibench.classifiers.forward import Forwarder
from xaibench.explaining.bound import BoundExplainer
from xaibench.results.areas import AREAS
from xaibench.scoring.clean import Clean
from xaibench.scoring.context import ScoringContext
from xaibench.scoring.metric import Metric
from xaibench.sound.events import SEGMENTS_PER_SECOND
from xaibench.testing import toy_batch, toy_classifier
from xaibench.testing.toys import CLASSES

NAMES = registry.names("metrics")
CLIPS, SEGMENTS = 3, 12


@cache
def made() -> tuple[Clean, Tensor, BoundExplainer]:
    """Saliency of toy clips by a toy classifier."""
    batch, forwarder = toy_batch(CLIPS, seconds=SEGMENTS / SEGMENTS_PER_SECOND), Forwarder(toy_classifier(), 16)
    clean = Clean(batch, forwarder.logits(batch.x), forwarder.logits(torch.zeros_like(batch.x[:1]))[0])
    clean = replace(clean, events=torch.ones(CLIPS, 1, SEGMENTS, dtype=torch.bool).tril().expand(-1, len(CLASSES), -1))
    explainer = BoundExplainer(registry.create("methods", "saliency"), forwarder)
    return clean, explainer.explain(batch, clean.target).map, explainer


def fresh() -> ScoringContext:
    """The same again, nothing asked yet."""
    clean, attribution, explainer = made()
    return ScoringContext(replace(clean), attribution, explainer)


def values(metric: Metric, context: ScoringContext) -> list[Tensor]:
    """At every area."""
    return [metric.score(context, area).values for area in (AREAS if metric.per_area else (None,))]


@pytest.fixture(scope="module")
def among_others() -> dict[str, list[Tensor]]:
    """All metrics on one evidence, forwarded together, after another method on the same clips."""
    metrics = {name: registry.create("metrics", name) for name in reversed(NAMES)}
    first = fresh()
    wanted = [one for metric in metrics.values() for one in metric.perturbations(AREAS)]
    other = ScoringContext(first.clean, first.attribution.flip(1), first.explainer)
    other.require(wanted)
    first.require(wanted)
    return {name: values(metric, first) for name, metric in metrics.items()}


@pytest.mark.parametrize("name", NAMES)
def test_alone_as_among_all_others(name: str, among_others: dict[str, list[Tensor]]) -> None:
    alone = values(registry.create("metrics", name), fresh())
    for one, other in zip(alone, among_others[name], strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)

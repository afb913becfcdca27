"""What the results say of a method and of a metric: their own words, parameters, and what fitting took."""

from __future__ import annotations

import math
from typing import Any

from xaibench.explaining.explainer import Explainer
from xaibench.explaining.explanation import Explanation
from xaibench.results.parts import EQUAL_AREA, SOFT, MethodFacts, MetricFacts
from xaibench.scoring.config import MethodOnClassifier
from xaibench.scoring.metric import Metric
from xaibench.storage import provenance


def describe(method: Explainer) -> dict[str, Any]:
    """What the results say of a method."""
    return {
        "title": method.title,
        "polarity": method.polarity,
        "control": method.control,
        "parameters": provenance.plain(method.parameters),
        "code": f"{type(method).__module__}:{type(method).__qualname__}",
    }


def facts_of(pair: MethodOnClassifier, explanation: Explanation) -> MethodFacts:
    """Collect what the results say of a method."""
    freq, time_ = explanation.native_shape
    return MethodFacts(
        name=pair.name,
        **describe(pair.method),
        native_shape=(int(freq), int(time_)),
        mask=SOFT if pair.soft else EQUAL_AREA,
        training_seconds=None if pair.card is None else pair.card.seconds,
        trained_parameters=None if pair.card is None else pair.card.parameters,
    )


def metric_facts(metric: Metric) -> MetricFacts:
    """Collect what the results say of a metric."""
    low, high = (float(bound) if math.isfinite(bound) else None for bound in metric.bounds)
    return MetricFacts(
        title=metric.title,
        family=metric.family,
        higher_is_better=bool(metric.higher_is_better),
        low=low,
        high=high,
        needs_ground_truth=bool(metric.needs_ground_truth),
    )

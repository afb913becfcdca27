"""What the results say of a method: its own words, its parameters and what fitting it took."""

from __future__ import annotations

from typing import Any

from xaibench.explaining.explainer import Explainer
from xaibench.explaining.explanation import Explanation
from xaibench.results.parts import EQUAL_AREA, SOFT, MethodFacts
from xaibench.scoring.config import MethodOnClassifier
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

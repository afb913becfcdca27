"""Every registered metric is compared with an independent reference, by a test that notices a wrong value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest

from tests.metrics import (
    test_axioms,
    test_correlation,
    test_events,
    test_f_fidelity,
    test_heard,
    test_imputation,
    test_legacy_metrics,
    test_randomisation,
    test_regions,
    test_robustness,
    test_separation,
    test_soft_masks,
    test_values,
)
from tests.references import robustness
from xaibench import registry
from xaibench.scoring.context import ScoringContext
from xaibench.scoring.metric import Scores

SHAPE = (9, 7)
WRONG = 0.01  # what is added to every value

# The smallest case of the test that compares a metric with its reference. What is not named here is compared by
# test_values.py, which takes every metric whose reference needs no more than a map and probabilities.
COMPARISONS: dict[str, Callable[[], None]] = {
    "completeness": partial(test_axioms.test_completeness_equals_the_reference, SHAPE),
    "efficient_mprt": test_randomisation.test_efficient_mprt_equals_the_reference,
    "faithfulness_estimate": partial(test_correlation.test_faithfulness_estimate_equals_its_reference, SHAPE),
    **{name: partial(test_events.compare, name) for name in test_events.NAMES},
    **{name: partial(test_f_fidelity.test_equals_loops_by_hand, seed=4, name=name) for name in test_f_fidelity.BOTH},
    **{name: partial(test_heard.test_equals_the_reference, name) for name in test_heard.NAMES},
    "infidelity": partial(test_correlation.test_infidelity_equals_its_reference, SHAPE, "positive"),
    "irof": partial(test_regions.test_equals_the_reference, "irof", SHAPE),
    "mask_area": partial(test_soft_masks.test_equals_the_reference, "mask_area", SHAPE),
    "monotonicity_correlation": partial(
        test_correlation.test_monotonicity_correlation_equals_its_reference, SHAPE, "positive"
    ),
    "mprt": test_randomisation.test_mprt_equals_the_reference,
    "non_sensitivity": partial(test_axioms.test_non_sensitivity_equals_the_reference, SHAPE),
    "random_logit": test_randomisation.test_random_logit_equals_the_reference,
    "region_perturbation": partial(test_regions.test_equals_the_reference, "region_perturbation", SHAPE),
    "road": partial(test_imputation.test_equals_the_reference, SHAPE),
    "si_sdr": lambda: test_separation.test_equals_the_reference(test_separation.clips_of_synth(), 0.1),
    **{
        name: partial(test_robustness.test_equals_the_reference, name, "rough", SHAPE) for name in robustness.REFERENCES
    },
    **dict.fromkeys(
        ("faithfulness_correlation", "sensitivity_n"),
        partial(
            test_correlation.test_faithfulness_correlation_and_sensitivity_n_equal_their_references, SHAPE, "positive"
        ),
    ),
    **dict.fromkeys(
        ("legacy_sparseness", "legacy_complexity"), test_legacy_metrics.test_sparseness_and_complexity_are_quantus
    ),
    **dict.fromkeys(test_legacy_metrics.BY_HAND, test_legacy_metrics.test_every_metric_of_a_soft_mask_by_hand),
}


def compare(name: str) -> None:
    """Run the comparison of a metric with its reference."""
    if name in COMPARISONS:
        COMPARISONS[name]()
    elif name in test_values.REFERENCED:
        test_values.test_equals_the_reference(name, SHAPE)
    else:
        pytest.fail(f"no test compares the metric '{name}' with a reference: name one in COMPARISONS")


@pytest.mark.parametrize("name", registry.names("metrics"))
def test_a_wrong_value_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison, which passes in its own file, fails once every value of the metric is a hundredth too large."""
    kind = registry.load("metrics", name)
    score = kind.score

    def shifted(self: object, context: ScoringContext, area: float | None) -> Scores:
        scores: Scores = score(self, context, area)
        return replace(scores, values=scores.values + WRONG)

    monkeypatch.setattr(kind, "score", shifted)
    with pytest.raises(AssertionError):
        compare(name)

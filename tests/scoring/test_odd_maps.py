"""Maps that cannot be scored, through the whole loop and for every metric: recorded as what they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pandas as pd
import pytest
import torch
from torch import Tensor

from tests.support.evaluating import config_of, run
from tests.support.judges import write_judge
from xaibench import registry
from xaibench.classifiers.base import Classifier
from xaibench.explaining.explainer import Explainer
from xaibench.explaining.explanation import Explanation
from xaibench.results import store
from xaibench.scoring.evaluate import Event, LoadedClassifier
from xaibench.scoring.metric import Metric
from xaibench.scoring.protocol import STANDARD
from xaibench.sound.batch import Batch
from xaibench.sound.synth import Synth

# What reads more of a map than the order of its bins has no value for a map without any.
NO_VALUE = {
    "zero": {
        *("avg_sensitivity", "complexity", "effective_complexity", "efficient_mprt", "faithfulness_correlation"),
        *("faithfulness_estimate", "local_lipschitz", "max_sensitivity", "monotonicity_correlation", "mprt"),
        *("random_logit", "relative_input_stability", "relative_output_stability"),
        *("relevance_mass", "sensitivity_n", "sparseness", "sufficiency"),
    },
    "constant": {
        *("efficient_mprt", "faithfulness_correlation", "faithfulness_estimate", "monotonicity_correlation"),
        *("mprt", "random_logit", "sensitivity_n"),
    },
}


def metrics_of_standard() -> dict[str, Metric]:
    every = {name: registry.create("metrics", name) for name in registry.names("metrics")}
    return {name: metric for name, metric in every.items() if STANDARD.name in metric.protocols}


def names_of_maps() -> set[str]:
    """Of the metrics that score a map; a soft mask is another row, of methods whose maps are masks."""
    return {name for name, metric in metrics_of_standard().items() if metric.soft_mask != "only"}


def _nan(x: Tensor) -> Tensor:
    made = x.clone()
    made[:, 3, 4] = torch.nan
    return made


def _infinite(x: Tensor) -> Tensor:
    made = x.clone()
    made[:, 3, 4] = torch.inf
    return made


MAPS: dict[str, Callable[[Tensor], Tensor]] = {
    "nan": _nan,
    "infinite": _infinite,
    "zero": torch.zeros_like,
    "constant": torch.ones_like,
    "wrong-shape": lambda x: x[:, :-1],
}


class Odd(Explainer):
    """What its function makes of the spectrogram."""

    title = "odd"
    reference = "a test"
    description = "a test"
    polarity = "positive"

    def __init__(self, make: Callable[[Tensor], Tensor]) -> None:
        self.make = make

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        return Explanation(self.make(batch.x), batch.picture_shape)


@pytest.fixture(scope="module")
def scored(
    tmp_path_factory: pytest.TempPathFactory, synth: Synth, loaded: LoadedClassifier
) -> tuple[pd.DataFrame, list[Event]]:
    """All metrics of one clip, with each of the maps."""
    methods: dict[str, Explainer] = {name: Odd(make) for name, make in MAPS.items()}
    folder = tmp_path_factory.mktemp("odd")
    # Its event is in the part that the classifier hears.
    clip = next(clip for clip in synth.in_folds([5]) if synth.ground_truth(clip)[:, :50].any())
    write_judge(folder / "fitted", loaded, synth.name)
    config = replace(config_of(synth, methods, metrics_of_standard(), [clip]), explainers=folder / "fitted")
    events = run(config, loaded, folder / "run")
    return store.read_rows(folder / "run"), events


@pytest.mark.parametrize(
    ("method", "reason"), [("nan", "the map holds NaN"), ("infinite", "the map holds infinite values")]
)
def test_a_broken_map_has_no_value_in_any_metric(
    scored: tuple[pd.DataFrame, list[Event]], method: str, reason: str
) -> None:
    rows = scored[0].query("method == @method")
    assert set(rows["metric"]) == names_of_maps()
    assert rows["value"].isna().all()
    assert set(rows["reason"]) == {reason}


@pytest.mark.parametrize("method", ["zero", "constant"])
def test_an_empty_or_constant_map_has_a_value_or_a_reason(
    scored: tuple[pd.DataFrame, list[Event]], method: str
) -> None:
    rows = scored[0].query("method == @method")
    assert set(rows["metric"]) == names_of_maps()
    assert (rows["value"].isna() == rows["reason"].notna()).all()
    undefined = set(rows.loc[rows["value"].isna(), "metric"])
    # The classifier is at chance, and of the class that it predicts there is no event in the clip.
    undefined -= {name for name, metric in metrics_of_standard().items() if metric.needs_events}
    assert undefined == NO_VALUE[method], "a metric that reads a map's values needs them"


def test_a_map_of_the_wrong_shape_is_refused(scored: tuple[pd.DataFrame, list[Event]]) -> None:
    rows, events = scored
    (event,) = [event for event in events if event.method == "wrong-shape"]
    assert event.kind == "failed"
    assert "the map has shape (1, 512, 108), expected (1, 513, 108)" in event.reason
    assert "wrong-shape" not in set(rows["method"])

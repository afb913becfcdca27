"""Maps that cannot be scored, through the whole loop and for every metric: recorded as what they are."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest
import torch
from torch import Tensor

from xaibench import registry
from xaibench.classifiers import checkpoint
from xaibench.classifiers.base import Classifier
from xaibench.explaining.explainer import Explainer
from xaibench.explaining.explanation import Explanation
from xaibench.results import store
from xaibench.results.store import Manifest, RunFolder
from xaibench.scoring.evaluate import Event, LoadedClassifier, RunConfig, evaluate
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
OF_STANDARD = [name for name in registry.names("metrics") if registry.load("metrics", name).protocol == "standard"]
# A soft mask is another row, of methods whose maps are masks.
OF_MAPS = {name for name in OF_STANDARD if registry.load("metrics", name).soft_mask != "only"}


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
def scored(tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, list[Event]]:
    """All metrics of one clip, with each of the maps."""
    source = Synth()
    classifier, card = checkpoint.resolve("cnn-micro", "synth")
    metrics = {name: registry.create("metrics", name) for name in OF_STANDARD}
    methods: dict[str, Explainer] = {name: Odd(make) for name, make in MAPS.items()}
    config = RunConfig(
        dataset=source, clips=source.in_folds([5])[:1], methods=methods, metrics=metrics, seed=0, batch_size=16
    )
    folder = RunFolder(
        tmp_path_factory.mktemp("odd"),
        Manifest(
            dataset="synth",
            dataset_fingerprint=source.fingerprint(),
            folds=(5,),
            limit=1,
            clips=1,
            seed=0,
            protocol=STANDARD.id,
        ),
    )
    events: list[Event] = []
    evaluate(config, LoadedClassifier("cnn", classifier, card.weights_sha256), folder, events.append)
    return store.read_rows(folder.path), events


@pytest.mark.parametrize(
    ("method", "reason"), [("nan", "the map holds NaN"), ("infinite", "the map holds infinite values")]
)
def test_a_broken_map_has_no_value_in_any_metric(
    scored: tuple[pd.DataFrame, list[Event]], method: str, reason: str
) -> None:
    rows = scored[0].query("method == @method")
    assert set(rows["metric"]) == OF_MAPS
    assert rows["value"].isna().all()
    assert set(rows["reason"]) == {reason}


@pytest.mark.parametrize("method", ["zero", "constant"])
def test_an_empty_or_constant_map_has_a_value_or_a_reason(
    scored: tuple[pd.DataFrame, list[Event]], method: str
) -> None:
    rows = scored[0].query("method == @method")
    assert set(rows["metric"]) == OF_MAPS
    assert (rows["value"].isna() == rows["reason"].notna()).all()
    undefined = set(rows.loc[rows["value"].isna(), "metric"])
    assert undefined == NO_VALUE[method], "a metric that reads a map's values needs them"


def test_a_map_of_the_wrong_shape_is_refused(scored: tuple[pd.DataFrame, list[Event]]) -> None:
    rows, events = scored
    (event,) = [event for event in events if event.method == "wrong-shape"]
    assert event.kind == "failed"
    assert "the map has shape (1, 512, 431), expected (1, 513, 431)" in event.reason
    assert "wrong-shape" not in set(rows["method"])

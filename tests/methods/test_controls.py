"""On sound whose evidence is known, the oracle beats chance: what the metrics must be able to see."""

from pathlib import Path

import pytest

from tests.support.evaluating import config_of, run
from xaibench import registry
from xaibench.classifiers import checkpoint, references
from xaibench.results import store
from xaibench.results.comparison import at_primary_area
from xaibench.scoring.evaluate import LoadedClassifier
from xaibench.sound.synth import Synth

CLIPS = 16


@pytest.mark.parametrize("name", [name for dataset, name in references.shipped() if dataset == "synth"])
def test_the_oracle_beats_random(name: str, synth: Synth, tmp_path: Path) -> None:
    classifier, card = checkpoint.resolve(name, "synth")
    every = {metric: registry.load("metrics", metric) for metric in registry.names("metrics")}
    metrics = ["faithfulness", *(metric for metric, kind in every.items() if kind.needs_ground_truth)]
    loaded = LoadedClassifier(name, classifier, card.weights_sha256)
    run(config_of(synth, ["oracle", "random"], metrics, CLIPS), loaded, tmp_path)
    means = at_primary_area(store.read_rows(tmp_path)).groupby(["metric", "method"])["value"].mean().unstack()
    assert set(means.index) == set(metrics)
    for metric, line in means.iterrows():
        assert line["oracle"] > line["random"] + 0.05, metric

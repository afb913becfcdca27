"""On sound whose evidence is known, the oracle beats chance: what the metrics must be able to see."""

from pathlib import Path

import pytest

from xaibench import registry
from xaibench.classifiers import checkpoint, references
from xaibench.results import store
from xaibench.results.comparison import at_primary_area
from xaibench.scoring.evaluate import LoadedClassifier, RunConfig, evaluate
from xaibench.scoring.protocol import STANDARD
from xaibench.sound.synth import Synth

CLIPS = 16
LOCALISATION = [name for name in registry.names("metrics") if registry.load("metrics", name).needs_ground_truth]


@pytest.mark.parametrize("name", [name for dataset, name in references.shipped() if dataset == "synth"])
def test_the_oracle_beats_random(name: str, tmp_path: Path) -> None:
    source = Synth()
    classifier, card = checkpoint.resolve(name, "synth")
    methods = {method: registry.create("methods", method) for method in ("oracle", "random")}
    metrics = {metric: registry.create("metrics", metric) for metric in ("faithfulness", *LOCALISATION)}
    plan = RunConfig(
        dataset=source, clips=source.in_folds([5])[:CLIPS], methods=methods, metrics=metrics, seed=0, batch_size=16
    )
    manifest = store.Manifest(
        dataset="synth",
        dataset_fingerprint=source.fingerprint(),
        folds=(5,),
        limit=CLIPS,
        clips=CLIPS,
        seed=0,
        protocol=STANDARD.id,
    )
    folder = store.RunFolder(tmp_path, manifest)
    evaluate(plan, LoadedClassifier(name, classifier, card.weights_sha256), folder, lambda event: None)
    means = at_primary_area(store.read_rows(tmp_path)).groupby(["metric", "method"])["value"].mean().unstack()
    assert set(means.index) == set(metrics)
    for metric, line in means.iterrows():
        assert line["oracle"] > line["random"] + 0.05, metric

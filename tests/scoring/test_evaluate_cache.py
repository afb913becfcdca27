"""Explanations of an earlier run are used again, with what they cost, and give the same scores."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
from torch import Tensor

from tests.support.quick import quick_cnn
from xaibench import registry
from xaibench.classifiers.base import Classifier
from xaibench.explaining.cache import ExplanationCache
from xaibench.explaining.explainer import Explainer
from xaibench.explaining.explanation import Explanation
from xaibench.results import store
from xaibench.results.store import Manifest, RunFolder
from xaibench.scoring.evaluate import RunConfig, evaluate
from xaibench.scoring.protocol import STANDARD
from xaibench.sound.batch import Batch
from xaibench.sound.synth import Synth

SLEEP = 0.08


class Slow(Explainer):
    """The spectrogram times a parameter, after a while."""

    title = "slow"
    reference = "a test"
    description = "a test"
    polarity = "positive"
    parameters: ClassVar[dict[str, Any]] = {"power": 2}
    calls = 0

    def explain(self, classifier: Classifier, batch: Batch, target: Tensor) -> Explanation:
        type(self).calls += len(batch)
        time.sleep(SLEEP)
        return Explanation(batch.x ** self.parameters["power"], batch.picture_shape)


class OtherParameters(Slow):
    parameters: ClassVar[dict[str, Any]] = {"power": 3}


def run(
    folder: Path, method: Explainer, metric: str, cache: ExplanationCache | None, seed: int = 0, warmth: float = 1
) -> pd.DataFrame:
    source, loaded = Synth(), quick_cnn()
    loaded.classifier.temperature /= warmth
    metrics = {metric: registry.create("metrics", metric)}
    config = RunConfig(
        dataset=source,
        clips=source.in_folds([5])[:3],
        methods={"slow": method},
        metrics=metrics,
        seed=seed,
        batch_size=16,
        cache=cache,
    )
    run_folder = RunFolder(
        folder,
        Manifest(
            dataset="synth",
            dataset_fingerprint=source.fingerprint(),
            folds=(5,),
            limit=3,
            clips=3,
            seed=seed,
            protocol=STANDARD.id,
        ),
    )
    evaluate(config, loaded, run_folder, lambda event: None)
    return store.read_rows(folder)


def test_another_metric_costs_no_new_explanation(tmp_path: Path) -> None:
    cache = ExplanationCache(tmp_path / "cache")
    before = Slow.calls
    run(tmp_path / "one", Slow(), "sparseness", cache)
    assert Slow.calls == before + 3
    found = run(tmp_path / "two", Slow(), "relevance_mass", cache)
    assert Slow.calls == before + 3
    anew = run(tmp_path / "three", Slow(), "relevance_mass", None)
    assert Slow.calls == before + 6
    pd.testing.assert_frame_equal(found, anew)


def test_the_cost_is_that_of_making_them(tmp_path: Path) -> None:
    cache = ExplanationCache(tmp_path / "cache")
    for folder in ("one", "two"):
        run(tmp_path / folder, Slow(), "sparseness", cache)
    first, second = (store.read_costs(tmp_path / folder).iloc[0] for folder in ("one", "two"))
    assert first["explain_seconds_per_clip"] >= SLEEP
    assert second["explain_seconds_per_clip"] == first["explain_seconds_per_clip"]
    assert second["peak_memory_bytes"] == first["peak_memory_bytes"]


def test_other_parameters_seeds_and_temperatures_are_explained_anew(tmp_path: Path) -> None:
    cache = ExplanationCache(tmp_path / "cache")
    run(tmp_path / "one", Slow(), "sparseness", cache)
    for folder, method, seed, warmth in (
        ("two", OtherParameters(), 0, 1),
        ("three", Slow(), 1, 1),
        ("four", Slow(), 0, 3),
    ):
        before = type(method).calls
        run(tmp_path / folder, method, "sparseness", cache, seed, warmth)
        assert type(method).calls == before + 3

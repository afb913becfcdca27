"""Runs of the evaluation loop on a few clips of synth, and their scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from xaibench import registry
from xaibench.explaining.explainer import Explainer
from xaibench.results import store
from xaibench.results.store import Manifest, RunFolder
from xaibench.scoring.engine import Engine
from xaibench.scoring.evaluate import Event, LoadedClassifier, RunConfig, evaluate
from xaibench.scoring.local import Local
from xaibench.scoring.metric import Metric
from xaibench.sound.dataset import Clip, Dataset

ALONE = Local()


def config_of(
    dataset: Dataset,
    methods: dict[str, Explainer] | Sequence[str] = ("energy",),
    metrics: dict[str, Metric] | Sequence[str] = ("sparseness",),
    clips: Sequence[Clip] | int = 3,
    seed: int = 0,
    batch_size: int = 16,
) -> RunConfig:
    """A plan over registered names or objects, on the first clips of fold 5."""
    if not isinstance(methods, dict):
        methods = {name: registry.create("methods", name) for name in methods}
    if not isinstance(metrics, dict):
        metrics = {name: registry.create("metrics", name) for name in metrics}
    if isinstance(clips, int):
        clips = dataset.in_folds([5])[:clips]
    return RunConfig(dataset=dataset, clips=clips, methods=methods, metrics=metrics, seed=seed, batch_size=batch_size)


def open_folder(path: Path, config: RunConfig) -> RunFolder:
    """The run folder of a plan."""
    fingerprint = config.dataset.fingerprint()
    return RunFolder(
        path,
        Manifest(
            dataset=config.dataset.name,
            dataset_fingerprint=fingerprint,
            folds=(5,),
            limit=len(config.clips),
            clips=len(config.clips),
            seed=config.seed,
            protocol=config.protocol.id,
            fill=config.protocol.fill,
            target=config.protocol.target,
            long=config.protocol.long,
        ),
    )


def run(config: RunConfig, loaded: LoadedClassifier, path: Path, engine: Engine = ALONE) -> list[Event]:
    """Evaluate into a folder; what was reported, but not that classes of the tests run in this process."""
    events: list[Event] = []
    evaluate(config, loaded, open_folder(path, config), events.append, engine)
    return [event for event in events if event.kind != "unprotected"]


KEY = ["classifier", "method", "metric", "area", "clip"]


def values(path: Path) -> pd.Series:
    """Scores by KEY, NaN where undefined."""
    rows = store.read_rows(path).fillna({"area": -1.0})
    assert not rows.duplicated(KEY).any()
    return rows.set_index(KEY)["value"].sort_index()


def assert_same(one: pd.Series, other: pd.Series, tolerance: float = 1e-4) -> None:
    """The same clips, methods and metrics, with scores equal to the tolerance as a share of the metric's range.

    A convolution rounds differently in a batch of another size; near the mask's threshold that swaps a few bins.
    """
    assert list(one.index) == list(other.index)
    for name, block in one.groupby(level="metric"):
        low, high = registry.load("metrics", name).bounds
        scale = high - low if np.isfinite(high - low) else 1.0
        reference = other[other.index.get_level_values("metric") == name]
        np.testing.assert_allclose(
            block.to_numpy(), reference.to_numpy(), rtol=tolerance, atol=tolerance * max(scale, 1.0), err_msg=str(name)
        )

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
from xaibench.scoring import evaluate as engine
from xaibench.scoring.evaluate import Event, Plan, Subject
from xaibench.scoring.metric import Metric
from xaibench.sound.dataset import Clip, Dataset


def plan_of(
    dataset: Dataset,
    methods: dict[str, Explainer] | Sequence[str] = ("energy",),
    metrics: dict[str, Metric] | Sequence[str] = ("sparseness",),
    clips: Sequence[Clip] | int = 3,
    seed: int = 0,
    batch_size: int = 16,
) -> Plan:
    """A plan over registered names or objects, on the first clips of fold 5."""
    if not isinstance(methods, dict):
        methods = {name: registry.create("methods", name) for name in methods}
    if not isinstance(metrics, dict):
        metrics = {name: registry.create("metrics", name) for name in metrics}
    if isinstance(clips, int):
        clips = dataset.in_folds([5])[:clips]
    return Plan(dataset, clips, methods, metrics, seed, batch_size)


def open_folder(path: Path, plan: Plan) -> RunFolder:
    """The run folder of a plan."""
    fingerprint = plan.dataset.fingerprint()
    return RunFolder(path, Manifest(plan.dataset.name, fingerprint, (5,), len(plan.clips), plan.seed, engine.PROTOCOL))


def run(plan: Plan, subject: Subject, path: Path) -> list[Event]:
    """Evaluate into a folder; what was reported."""
    events: list[Event] = []
    engine.evaluate(plan, subject, open_folder(path, plan), events.append)
    return events


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

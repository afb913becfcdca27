"""Runs of made-up scores whose comparison is known."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from xaibench import registry
from xaibench.results.comparison import compare
from xaibench.results.parts import EQUAL_AREA, SOFT, MethodFacts, MetricFacts, PartInfo
from xaibench.results.store import Manifest, RunFolder

Scores = dict[tuple[str, float | None], np.ndarray]
CLIPS, RECORDINGS = 40, 25


def write_run(
    folder: Path,
    methods: dict[str, Scores],
    *,
    dataset: str = "synth",
    classifier: str = "cnn-micro",
    controls: tuple[str, ...] = ("random", "uniform"),
    first_clip: int = 0,
    protocol: str = "standard",
    sha256: str = "weights",
    info: dict[str, dict[str, Any]] | None = None,
    made: dict[str, dict[str, Any]] | None = None,
    **conditions: Any,
) -> Path:
    """A run of per-clip values: methods -> (metric, area) -> values; METHOD-soft is the soft mask of METHOD.

    Args:
        info: more of what the parts say of a method, by its key in `methods`.
        made: likewise, of what they were made with.
        conditions: of the manifest, instead of the usual ones.
    """
    manifest = Manifest(
        dataset=dataset,
        dataset_fingerprint="fingerprint",
        folds=(5,),
        limit=None,
        clips=clips_of(methods),
        seed=0,
        protocol=protocol,
    )
    manifest = replace(manifest, **conditions)
    run = RunFolder(folder, manifest)
    for key, scores in methods.items():
        method, mask = key.removesuffix("-soft"), SOFT if key.endswith("-soft") else EQUAL_AREA
        frames = []
        for (metric, area), values in scores.items():
            clips = first_clip + np.arange(len(values))
            frames.append(
                pd.DataFrame(
                    {
                        "dataset": dataset,
                        "fold": 5,
                        "clip": [f"clip{i:03d}" for i in clips],
                        "src_file": [f"recording{i % RECORDINGS}" for i in clips],
                        "label": "dog",
                        "predicted": np.where(clips % 4 != 0, "dog", "cat"),
                        "correct": clips % 4 != 0,
                        "classifier": classifier,
                        "method": method,
                        "mask": mask,
                        "protocol": protocol,
                        "fill": manifest.fill,
                        "target": manifest.target,
                        "audible_share": 1.0,
                        "p_fill": 0.1,
                        "metric": metric,
                        "area": float("nan") if area is None else area,
                        "value": values,
                        "reason": [None if np.isfinite(v) else "undefined" for v in values],
                    }
                )
            )
        facts = MethodFacts(
            name=method,
            title=method,
            polarity="positive",
            control=method in controls,
            parameters={},
            code="",
            native_shape=(8, 9),
            mask=mask,
        )
        part = PartInfo(
            clips=len(next(iter(scores.values()))),
            classifier_sha256=sha256,
            weights_sha256=sha256,
            method=replace(facts, **(info or {}).get(key, {})),
            metrics=facts_of({metric for metric, _ in scores}),
            sample_rate=16_000,
            samples=80_000,
            audio_sha256={clip: "a" for frame in frames for clip in frame["clip"]},
            ground_truth_sha256={},
            code_sha256="c",
            shared_code_sha256="e",
            metrics_sha256={metric: "m" for metric, _ in scores},
            versions={},
            device="cpu",
            batch_size=8,
            explain_seconds=4.0,
            score_seconds=1.0,
            forwards=9,
            peak_memory_bytes=2_500_000,
        )
        run.write(classifier, key, 0, pd.concat(frames), replace(part, **(made or {}).get(key, {})))
    return folder


def facts_of(names: Iterable[str]) -> dict[str, MetricFacts]:
    """What is known of registered metrics; of others, that higher is better."""
    found = {}
    for name in sorted(names):
        kind = registry.load("metrics", name) if name in registry.names("metrics") else None
        low, high = kind.bounds if kind else (-np.inf, np.inf)
        found[name] = MetricFacts(
            title=kind.title if kind else name,
            family=kind.family if kind else "others",
            higher_is_better=kind.higher_is_better if kind else True,
            low=low if np.isfinite(low) else None,
            high=high if np.isfinite(high) else None,
            needs_ground_truth=kind.needs_ground_truth if kind else False,
        )
    return found


def clips_of(methods: dict[str, Scores]) -> int:
    """How many clips the longest of them has."""
    return max(len(values) for scores in methods.values() for values in scores.values())


def noise(seed: int, mean: float = 0.0, clips: int = CLIPS) -> np.ndarray:
    """Values around a mean; a mean between 0 and 1 keeps them there."""
    values = mean + np.random.default_rng(seed).normal(0, 0.1, clips)
    return values.clip(0.0, 1.0) if 0 < mean < 1 else values


FF, AD, SPS = ("faithfulness", 0.1), ("average_drop", 0.1), ("sparseness", None)


def five_methods(folder: Path) -> pd.DataFrame:
    """The comparison of two good methods, a poor one and two controls."""
    gap = noise(5, 0.3)
    gap[[1, 2, 3]] = np.nan
    methods: dict[str, Scores] = {
        "good": {FF: noise(1, 0.8), AD: noise(1, 5.0), SPS: noise(1, 0.5), ("faithfulness", 0.2): noise(9, 0.9)},
        "twin": {FF: noise(2, 0.8), AD: noise(2, 5.0), SPS: noise(2, 0.5), ("faithfulness", 0.2): noise(8, 0.1)},
        "poor": {FF: gap, AD: noise(3, 50.0), SPS: noise(3, 0.2)},
        "random": {FF: noise(4), AD: noise(4, 90.0), SPS: noise(4, 0.5)},
        "uniform": {FF: noise(6), AD: noise(6, 90.0), SPS: np.full(CLIPS, np.nan)},
    }
    return compare([write_run(folder, methods)])


def cell(comparison: pd.DataFrame, metric: str, area: float | None = None) -> pd.DataFrame:
    """Lines of one metric and area, by method."""
    here = comparison["area"].isna() if area is None else comparison["area"] == area
    return comparison[(comparison["metric"] == metric) & here].set_index("method")

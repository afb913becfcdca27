"""Made-up scores of the reference maps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tests.support.made_up_runs import facts_of
from xaibench.results.parts import EQUAL_AREA, SCHEMA
from xaibench.validation.assess import assess

CLIPS = 24
# Means of a metric that sees the known order.
RIGHT = {"oracle": 1.0, "half": 0.7, "shifted": 0.6, "energy": 0.5, "uniform": 0.1, "random": 0.1, "inverted": 0.0}


def rows_of(
    scores: dict[tuple[str, float], dict[str, float | np.ndarray]],
    *,
    deviation: float = 0.05,
    classifier: str = "cnn-micro",
    mask: str = EQUAL_AREA,
    clips: int = CLIPS,
    seed: int = 0,
) -> pd.DataFrame:
    """Per-clip rows: (metric, area) -> map -> mean, or the values themselves."""
    generator = np.random.default_rng(seed)
    records = []
    for (metric, area), means in scores.items():
        for method, mean in means.items():
            values = mean + deviation * generator.normal(size=clips) if np.isscalar(mean) else np.asarray(mean)
            for i, value in enumerate(values):
                about = [
                    "synth",
                    5,
                    f"clip{i:02d}",
                    f"clip{i:02d}",
                    "a",
                    "a",
                    True,
                    classifier,
                    method,
                    mask,
                    "standard-1",
                    "silence",
                    "predicted",
                    1.0,
                    0.1,
                ]
                records.append([*about, metric, area, value, None])
    return pd.DataFrame(records, columns=SCHEMA.names)


def assessed(
    rows: pd.DataFrame, methods: pd.DataFrame | None = None, maps: Sequence[str] = tuple(RIGHT)
) -> pd.DataFrame:
    """What validation makes of rows of registered metrics."""
    lines = assess(rows, facts_of(set(rows["metric"])), maps, methods)
    lines.insert(1, "classifier_sha256", "sha of " + lines["classifier"])
    lines.insert(0, "dataset", "synth")
    lines.insert(1, "protocol", "standard-2")
    return lines

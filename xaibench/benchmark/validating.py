"""Test metrics on a classifier of one's own, from Python."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from xaibench.benchmark.data import dataset
from xaibench.benchmark.models import Model, load_models
from xaibench.benchmark.naming import MetricLike, as_list, metrics_named
from xaibench.classifiers.device import AUTO, device_named
from xaibench.scoring import protocol
from xaibench.sound.dataset import Dataset
from xaibench.validation import report
from xaibench.validation.sample import choose
from xaibench.validation.validate import default_metrics, validate_metrics


def validate(
    model: Model | Sequence[Model],
    data: Dataset | str = "synth",
    metrics: MetricLike | Sequence[MetricLike] | None = None,
    *,
    folds: Sequence[int] | None = None,
    limit: int = 32,
    seed: int = 0,
    out: str | Path | None = None,
    results: str | Path = "results",
    device: str = AUTO,
) -> pd.DataFrame:
    """Test metrics with explanations whose order is known, as `xaibench validate` does.

    A warning says before the run of how many clips and recordings each classifier can be asked, and which differences
    these cannot show.

    Args:
        model: a classifier (`xaibench.wrap`, `xaibench.classifier`, ...), a name, or a list of these.
        data: a dataset with ground truth, or the name of one that needs no folder.
        metrics: names, Metric classes and objects. None: the default ones, and those of robustness and randomisation.
        folds: of the clips. None: the test fold.
        limit: at most so many clips of each classifier: a sample of those that it decides by their labelled event.
        seed: of every random draw.
        out: folder for tables, plot and scores; the same call continues a run that was stopped. None: a temporary one.
        results: folder with runs of methods on the dataset, which join in the agreement of metrics; it need not exist.
        device: of models that are named.

    Returns:
        One line per classifier, metric and area; docs/validation.md says what `verdict` and the other columns are.

    Raises:
        XaibenchError: what is given makes no sense; one line says what to do.
    """
    source = dataset(data) if isinstance(data, str) else data
    chosen = source.test_folds if folds is None else tuple(sorted(set(folds)))
    tested = default_metrics() if metrics is None else metrics_named(metrics, protocol.DEFAULT)
    loaded = load_models(as_list(model, "model"), source, chosen, device_named(device), _warn)
    samples = [choose(one, source, chosen, limit, seed) for one in loaded]
    for one in samples:
        _warn(one.sentence())
    with tempfile.TemporaryDirectory(prefix="xaibench-") as temporary:
        lines = validate_metrics(
            samples,
            source,
            tested,
            folds=chosen,
            limit=limit,
            out=Path(temporary if out is None else out),
            results=Path(results),
            seed=seed,
        )
    if out is not None:
        report.write(lines, Path(out))
    return lines


def _warn(sentence: str) -> None:
    warnings.warn(sentence, stacklevel=3)

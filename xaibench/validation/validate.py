"""Test metrics: score the reference maps on the embedded clips, and judge every metric by its scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from xaibench import registry
from xaibench.classifiers.forward import automatic_batch_size
from xaibench.classifiers.loaded import LoadedClassifier
from xaibench.errors import ResultsError, XaibenchError
from xaibench.results import parts, store
from xaibench.scoring import protocol
from xaibench.scoring.config import RunConfig
from xaibench.scoring.evaluate import Event, evaluate
from xaibench.scoring.metric import Metric
from xaibench.sound.subset import sample
from xaibench.sound.synth import Synth
from xaibench.validation.assess import assess
from xaibench.validation.reference_maps import DATASET, FOLDS, reference_maps


def validate_metrics(
    classifiers: Sequence[LoadedClassifier],
    metrics: Mapping[str, Metric],
    *,
    limit: int,
    out: Path,
    results: Path,
    seed: int = 0,
    report: Callable[[Event], None] = lambda event: None,
) -> pd.DataFrame:
    """Score the reference maps and assess the metrics; what an earlier call has scored is not scored again.

    Args:
        classifiers: of the ten classes of the embedded set.
        metrics: by name. The default metrics that use the ground truth are added: the agreement is with them,
            and they cost nothing.
        limit: how many of the 80 clips of the test fold are scored, a sample.
        out: the scores go to its folder runs/validation.
        results: folder with runs of methods on the embedded set, which join the agreement; it need not exist.
        seed: of every random draw.
        report: called after each map on each part of the clips.

    Returns:
        The lines of `assess`; `report.write` makes files of them.

    Raises:
        XaibenchError: some maps could not be scored; the rest is saved.
        ResultsError: the folder of the scores holds scores of other weights, parameters or code.
    """
    dataset, maps = Synth(), reference_maps()
    clips = sample(dataset, dataset.in_folds(FOLDS), limit, seed)
    scored = dict(metrics) | _ground_truth_metrics()
    name = f"{dataset.name}-limit{limit}" + (f"-seed{seed}" if seed else "")
    path = Path(out) / "runs" / store.VALIDATION / name
    manifest = store.Manifest(
        dataset=dataset.name,
        dataset_fingerprint=dataset.fingerprint(),
        folds=FOLDS,
        limit=limit,
        clips=len(clips),
        seed=seed,
        protocol=protocol.default().id,
    )
    folder = store.RunFolder(path, manifest)
    failures: list[str] = []

    def watch(event: Event) -> None:
        if event.kind == "failed":
            failures.append(f"{event.method} on {event.classifier}: {event.reason}")
        report(event)

    for loaded in classifiers:
        size = automatic_batch_size(loaded.classifier.device)
        config = RunConfig(dataset=dataset, clips=clips, methods=maps, metrics=scored, seed=seed, batch_size=size)
        evaluate(config, loaded, folder, watch)
    if failures:
        raise XaibenchError(
            f"{len(failures)} of the reference maps could not be scored (the first: {failures[0]}; see "
            f"{path / store.LOG}); mend the cause and validate again, the rest is saved"
        )
    identities = {loaded.label: loaded.identity for loaded in classifiers}
    rows = store.read_rows(path)
    rows = rows[rows["classifier"].isin(list(identities))]
    return assess(rows, parts.metrics_of(store.read_parts(path)), rows_of_methods(results, identities))


def rows_of_methods(root: Path, identities: Mapping[str, str]) -> pd.DataFrame:
    """Read the per-clip rows on the embedded set of all methods but controls in the run folders below `root`.

    Args:
        root: may be missing or hold none.
        identities: `LoadedClassifier.identity` by label; parts made with others, or at another protocol, are
            left out.
    """
    frames, rules = [], protocol.default()
    wanted = {"dataset": DATASET, "protocol": rules.id, "fill": rules.fill, "target": rules.target}
    try:
        runs = store.find_runs(root)
    except ResultsError:  # none yet: the reference maps stand alone
        runs = []
    for run in runs:
        manifest = store.read_manifest(run)
        if manifest.of_rows != wanted or manifest.precision != "float32":
            continue
        for path in store.parts_of(run):
            info = parts.read_info(path)
            if not info.method.control and identities.get(path.parent.parent.name) == info.classifier_sha256:
                frames.append(parts.read_part(path)[0].to_pandas())
    if not frames:
        return pd.DataFrame(columns=parts.SCHEMA.names)
    once = ["classifier", "method", "mask", "metric", "area", "clip"]
    return pd.concat(frames, ignore_index=True).drop_duplicates(once)


def _ground_truth_metrics() -> dict[str, Metric]:
    """Make the default metrics that use the ground truth."""
    kinds = {name: registry.load("metrics", name) for name in registry.names("metrics")}
    return {
        name: registry.create("metrics", name)
        for name, kind in kinds.items()
        if protocol.DEFAULT in kind.protocols and kind.needs_ground_truth and kind.in_default_set
    }

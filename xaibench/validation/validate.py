"""Test metrics: score explanations of known quality on clips with ground truth, and judge each metric by them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from xaibench import registry
from xaibench.classifiers.forward import automatic_batch_size
from xaibench.errors import ResultsError, XaibenchError
from xaibench.explaining.explainer import Explainer
from xaibench.results import parts, store
from xaibench.results.parts import MetricFacts
from xaibench.results.runs import find_runs
from xaibench.scoring import protocol
from xaibench.scoring.config import RunConfig
from xaibench.scoring.evaluate import Event, evaluate
from xaibench.scoring.metric import Metric
from xaibench.sound.dataset import Dataset
from xaibench.validation.assess import assess
from xaibench.validation.questions import BY_FAMILY, GRADIENT, TRIVIAL
from xaibench.validation.reference_maps import REFERENCE_MAPS, reference_maps
from xaibench.validation.sample import Sample

_MAPS, _PROBES = "maps", "probes"


def default_metrics() -> dict[str, Metric]:
    """Make the default metrics of the protocol, and those of the families that are judged by PROBES."""
    every, _ = registry.create_all("metrics")
    return {
        name: one
        for name, one in every.items()
        if protocol.DEFAULT in one.protocols and (one.in_default_set or one.family in BY_FAMILY)
    }


def validate_metrics(
    samples: Sequence[Sample],
    dataset: Dataset,
    metrics: Mapping[str, Metric],
    *,
    folds: Sequence[int],
    limit: int,
    out: Path,
    results: Path,
    seed: int = 0,
    report: Callable[[Event], None] = lambda event: None,
) -> pd.DataFrame:
    """Score the reference maps and the probes, and assess the metrics; what an earlier call has scored is kept.

    Args:
        samples: classifiers and their clips (`sample`).
        dataset: of the clips.
        metrics: by name. The default metrics that use the ground truth are added: the agreement is with them, and they
            cost nothing.
        folds: of the clips.
        limit: how many clips were asked for.
        out: the scores go to its folder runs/validation.
        results: folder with runs of methods on the dataset, which join the agreement; it need not exist.
        seed: of every random draw.
        report: called after each map on each part of the clips.

    Returns:
        The lines of `assess` with the columns dataset, protocol and classifier_sha256 (`LoadedClassifier.identity`);
        `report.write` makes files of them.

    Raises:
        XaibenchError: some maps could not be scored; the rest is saved.
        ResultsError: the folder of the scores holds scores of other weights, parameters or code.
    """
    folds = tuple(folds)
    scored = dict(metrics) | {name: one for name, one in default_metrics().items() if one.needs_ground_truth}
    facts: dict[str, MetricFacts] = {}
    maps, rules = reference_maps(dataset), protocol.default()
    asked = {
        _MAPS: (maps, {name: one for name, one in scored.items() if one.family not in BY_FAMILY}),
        _PROBES: (_probes(), {name: one for name, one in scored.items() if one.family in BY_FAMILY}),
    }
    name = f"{dataset.name}-fold{'-'.join(map(str, folds))}-{limit}clips" + (f"-seed{seed}" if seed else "")
    root = Path(out) / "runs" / store.VALIDATION / name
    failures: list[str] = []

    def watch(event: Event) -> None:
        if event.kind == "failed":
            failures.append(f"{event.method} on {event.classifier}: {event.reason} (see {folder.path / store.LOG})")
        report(event)

    found = []
    for sample in samples:
        loaded = sample.loaded
        manifest = store.Manifest(
            dataset=dataset.name,
            dataset_fingerprint=dataset.fingerprint(),
            folds=tuple(folds),
            limit=limit,
            clips=len(sample.clips),
            seed=seed,
            protocol=rules.id,
        )
        rows: dict[str, pd.DataFrame] = {}
        for kind, (explainers, own) in asked.items():
            if not own or (kind == _PROBES and explainers[GRADIENT].refusal(loaded.classifier, True)):
                continue
            # A folder for each classifier: each has clips of its own.
            folder = store.RunFolder(root / loaded.label / kind, manifest)
            config = RunConfig(
                dataset=dataset,
                clips=sample.clips,
                methods=explainers,
                metrics=own,
                seed=seed,
                batch_size=automatic_batch_size(loaded.classifier.device),
            )
            evaluate(config, loaded, folder, watch)
            if not failures:
                rows[kind] = store.read_rows(folder.path)
                facts |= parts.metrics_of(store.read_parts(folder.path))
        if failures:
            continue
        others = rows_of_methods(results, dataset.name, {loaded.label: loaded.identity})
        lines = assess(pd.concat(rows.values(), ignore_index=True), facts, tuple(maps), others)
        lines.insert(1, "classifier_sha256", loaded.identity)
        found.append(lines)
    if failures:
        raise XaibenchError(
            f"{len(failures)} of the explanations could not be scored (the first: {failures[0]}); mend the cause and "
            "validate again, the rest is saved"
        )
    every = pd.concat(found, ignore_index=True)
    every.insert(0, "dataset", dataset.name)
    every.insert(1, "protocol", rules.id)
    return every


def _probes() -> dict[str, Explainer]:
    return {GRADIENT: registry.create("methods", GRADIENT)} | {name: REFERENCE_MAPS[name]() for name in TRIVIAL}


def rows_of_methods(root: Path, dataset: str, identities: Mapping[str, str]) -> pd.DataFrame:
    """Read the per-clip rows on a dataset of all methods but controls in the run folders below `root`.

    Args:
        root: may be missing or hold none.
        dataset: its name.
        identities: `LoadedClassifier.identity` by label; parts made with others, or at another protocol, are
            left out.
    """
    tables, rules = [], protocol.default()
    wanted = {"dataset": dataset, "protocol": rules.id, "fill": rules.fill, "target": rules.target}
    try:
        runs = find_runs(root)
    except ResultsError:  # none yet: the reference maps stand alone
        runs = []
    for run in runs:
        manifest = store.read_manifest(run)
        if manifest.of_rows != wanted or manifest.precision != "float32":
            continue
        for path in store.parts_of(run):
            info = parts.read_info(path)
            if not info.method.control and identities.get(path.parent.parent.name) == info.classifier_sha256:
                tables.append(parts.read_part(path)[0])
    if not tables:
        return pd.DataFrame(columns=parts.SCHEMA.names)
    once = ["classifier", "method", "mask", "metric", "area", "clip"]
    return parts.frame(tables).drop_duplicates(once)

"""Score parts of a run anew, and compare: does what is written still come out?"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from xaibench import registry
from xaibench.classifiers.loaded import LoadedClassifier
from xaibench.errors import RegistryError, ResultsError, XaibenchError, one_line
from xaibench.explaining.settings import registered_name
from xaibench.results import agreement, store
from xaibench.results.parts import MetricFacts, PartInfo, frame, read_part, tolerance
from xaibench.results.store import Manifest, RunFolder
from xaibench.scoring.config import RunConfig
from xaibench.scoring.evaluate import Event, evaluate
from xaibench.scoring.remade import method_of, protocol_of
from xaibench.scoring.targets import with_target
from xaibench.sound.dataset import Dataset
from xaibench.storage import provenance

_KEY = ["metric", "area", "clip"]


@dataclass(frozen=True)
class Rescored:
    """What became of one part.

    Attributes:
        part: its path inside the run folder.
        exact: whether it had to be the same to the digit: same code, device, threads and versions.
        finding: what is wrong, in one line; empty where it came out the same.
        info: what it was made with this time, or None where it could not be made.
    """

    part: str
    exact: bool
    finding: str
    info: PartInfo | None = None


def rescore(
    folder: Path,
    count: int,
    dataset: Dataset,
    loaded: Mapping[str, LoadedClassifier],
    explainers: Path,
    seed: int,
    report: Callable[[Rescored], None],
) -> tuple[list[Rescored], str]:
    """Draw (clip, method) pairs of a run, and score the parts that hold them again.

    What comes out the same is kept in the run folder (`results.agreement`), where comparisons find it. Parts of what
    cannot be made anew, such as a class typed into a notebook, are not drawn.

    Args:
        folder: of the run.
        count: pairs to draw; a part that is drawn twice is scored once.
        dataset: the run's sound.
        loaded: its classifiers, by their label in the results.
        explainers: folder with the weights that the user fitted.
        seed: of the draw.
        report: called after every part.

    Returns:
        The parts, and one line about those that could not be drawn; empty where there are none.

    Raises:
        ResultsError: the folder holds no run, or a part is damaged.
    """
    manifest = store.read_manifest(folder)
    dataset = with_target(dataset, manifest.target)
    if dataset.fingerprint() != manifest.dataset_fingerprint:
        raise ResultsError(f"{folder} is of other clips than this {dataset.name}; choose another --data-dir")
    drawn: dict[Path, None] = {}
    pairs: list[tuple[Path, int]] = []
    lost: dict[str, None] = {}
    left_out, paths = 0, store.parts_of(folder)
    for path in paths:
        info = read_part(path)[1]
        unknown = _unknown(path, info, loaded)
        lost |= dict.fromkeys(unknown)
        left_out += bool(unknown)
        pairs += [] if unknown else [(path, i) for i in range(info.clips)]
    for path, _ in random.Random(seed).sample(pairs, min(count, len(pairs))):
        drawn[path] = None
    found = []
    for path in sorted(drawn):
        one = _one(folder, path, manifest, dataset, loaded, explainers)
        report(one)
        found.append(one)
    agreement.keep(folder, [(one.part, one.info, not one.finding) for one in found])
    if not left_out:
        return found, ""
    return found, (
        f"{left_out} of {len(paths)} parts are left out: {', '.join(lost)} cannot be made anew here, as objects of a "
        "notebook cannot, or are not installed"
    )


def _unknown(path: Path, info: PartInfo, loaded: Mapping[str, LoadedClassifier]) -> list[str]:
    """Name the method, metrics and classifier of a part of which nobody here knows how they were made."""
    label = path.parent.parent.name
    named: list[tuple[registry.Group, str]] = [("methods", registered_name(info.method.name))]
    named += [("metrics", metric) for metric in sorted(info.metrics)]
    found = [name for group, name in named if not _is_registered(group, name)]
    # A classifier that is called after its weights is in a folder, which can be given.
    return found + [label] * (label not in loaded and "@" not in label)


def _is_registered(group: registry.Group, name: str) -> bool:
    try:
        registry.entry(group, name)
    except RegistryError:
        return False
    return True


def _one(
    folder: Path,
    path: Path,
    manifest: Manifest,
    dataset: Dataset,
    loaded: Mapping[str, LoadedClassifier],
    explainers: Path,
) -> Rescored:
    table, info = read_part(path)
    rows = frame([table])
    where = str(path.relative_to(folder))
    label = path.parent.parent.name
    if label not in loaded:
        return Rescored(where, False, f"no classifier {label} is here; give it with --classifier")
    classifier = loaded[label]
    if classifier.identity != info.classifier_sha256:
        return Rescored(where, False, f"{label} has other weights, temperature or classes here")
    try:
        again, made = _score_again(rows, info, manifest, dataset, classifier, explainers)
    except XaibenchError as error:
        return Rescored(where, False, one_line(error))
    exact = (made.device, made.versions) == (info.device, info.versions) and agreement.code_of(made) == (
        agreement.code_of(info)
    )
    return Rescored(where, exact, _difference(rows, again, info.metrics, exact), made)


def _score_again(
    rows: pd.DataFrame,
    info: PartInfo,
    manifest: Manifest,
    dataset: Dataset,
    loaded: LoadedClassifier,
    explainers: Path,
) -> tuple[pd.DataFrame, PartInfo]:
    by_id = {clip.id: clip for clip in dataset.clips}
    config = RunConfig(
        dataset=dataset,
        clips=[by_id[clip] for clip in rows["clip"].drop_duplicates()],
        methods={info.method.name: method_of(info.method)},
        metrics={name: registry.create("metrics", name) for name in sorted(set(rows["metric"]))},
        seed=manifest.seed,
        batch_size=info.batch_size,
        precision=getattr(torch, manifest.precision),
        compiled=manifest.compiled,
        protocol=protocol_of(manifest),
        explainers=explainers,
    )
    events: list[Event] = []
    with tempfile.TemporaryDirectory() as temporary:
        run = RunFolder(Path(temporary), replace(manifest, clips=len(config.clips)))
        evaluate(config, loaded, run, events.append)
        reasons = [event.reason for event in events if event.kind == "failed"]
        if reasons:
            raise ResultsError(f"it cannot be scored again: {reasons[0]}")
        found = store.read_rows(run.path)
        made = [read_part(path)[1] for path in store.parts_of(run.path)]
    (own,) = [one for one in made if one.method.mask == info.method.mask]
    # A parameter that came later has its default here; whether that is what was done before, the scores say.
    before, now = provenance.plain(info.method.parameters), own.method.parameters
    if any(name not in now or now[name] != value for name, value in before.items()):
        raise ResultsError(f"it was made with other parameters of {info.method.name} than those here")
    return found[found["mask"] == info.method.mask], own


def _difference(rows: pd.DataFrame, again: pd.DataFrame, metrics: Mapping[str, MetricFacts], exact: bool) -> str:
    """Say where two tables differ; empty where they do not."""
    before, after = (
        table.fillna({"area": -1.0}).set_index(_KEY)[["value", "predicted"]].sort_index() for table in (rows, again)
    )
    if list(before.index) != list(after.index):
        return "other metrics, areas or clips come out"
    if (before["predicted"] != after["predicted"]).any():
        return "the classifier predicts other classes"
    old, new = (table["value"].to_numpy(float) for table in (before, after))
    gap = np.where(np.isnan(old) & np.isnan(new), 0.0, np.abs(old - new))
    names = pa.chunked_array([pa.array(before.index.get_level_values("metric"), pa.string())])
    allowed = tolerance(names, metrics, old) * (not exact)
    worst = int(np.nanargmax(np.where(np.isnan(gap), np.inf, gap - allowed)))
    if np.isnan(gap[worst]) or gap[worst] > allowed[worst]:
        metric, area, clip = before.index[worst]
        at = "" if area < 0 else f" at {area:g}"
        return f"{metric}{at} of {clip} is {old[worst]:.17g}, and {new[worst]:.17g} when scored again"
    return ""

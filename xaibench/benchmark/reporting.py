"""A report of runs that one can read, hear and pass on: everything that its page shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd

from xaibench import registry
from xaibench._version import __version__
from xaibench.benchmark.models import Model, load_scored
from xaibench.classifiers.device import AUTO, device_named
from xaibench.classifiers.loaded import LoadedClassifier
from xaibench.errors import RegistryError, XaibenchError, one_line
from xaibench.explaining import fitting
from xaibench.explaining.cache import ExplanationCache
from xaibench.reports import report_page
from xaibench.reports.marks import NO_MARKS, Marks
from xaibench.reports.progress import progress as bar_of
from xaibench.reports.report_board import agreement_of, boards_of, metrics_of
from xaibench.reports.report_choice import OUTCOMES, choose, clip_scores
from xaibench.reports.report_clips import Sources, shown_clips
from xaibench.reports.report_methods import costs_of, methods_of
from xaibench.reports.report_profile import profiles_of
from xaibench.results.areas import PRIMARY_AREA
from xaibench.results.comparison import compare_groups, compared_rows
from xaibench.results.parts import metrics_of as facts_of
from xaibench.results.selection import Group
from xaibench.scoring.targets import with_target
from xaibench.sound.dataset import Dataset
from xaibench.storage.user_folders import cache_folder

CLIPS = 30  # of 12 methods, they are about 8 MB
LARGE = 15_000_000  # bytes: a page that is larger opens slowly


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """What a report shows beside the boards.

    Attributes:
        data: the sound of the runs, or None: that of a dataset that needs no folder.
        models: classifiers of the runs whose clips are shown: labels, checkpoint folders or objects. Empty: the first.
        loaded: classifiers of the runs that need not be loaded.
        clips: most clips to show.
        seed: of those that are drawn at random.
        device: where maps are made again that are not kept.
        explainers: folder with the weights that the user fitted.
        title: of the page.
        folder: whether the report is a folder whose page loads clips one by one, instead of one file.
        progress: whether a progress bar is shown.
    """

    data: Dataset | None = None
    models: Sequence[Model] = ()
    loaded: Sequence[LoadedClassifier] = ()
    clips: int = CLIPS
    seed: int = 0
    device: str = AUTO
    explainers: Path = fitting.ROOT
    title: str | None = None
    folder: bool = False
    progress: bool = True


@dataclass(frozen=True)
class Written:
    """A report that was written.

    Attributes:
        page: its file.
        size: of all its files, in bytes.
        clips: how many it shows.
        missing: what it lacks, and how to have it: sentences.
    """

    page: Path
    size: int
    clips: int
    missing: tuple[str, ...]


def write_report(groups: Sequence[Group], path: Path, config: ReportConfig, marks: Marks = NO_MARKS) -> Written:
    """Write a report of groups of runs.

    Args:
        groups: as `selection.group` gives them.
        path: of the HTML file, or of the folder.
        config: what is shown.
        marks: of metrics that a validation speaks against.

    Raises:
        ResultsError: the runs cannot be compared.
    """
    with bar_of(config.progress) as bar:
        task = bar.add_task("comparing methods", total=None)
        comparison, rows = compare_groups(groups), compared_rows(groups)
        shown: list[dict[str, Any]] = []
        missing: list[str] = []

        def report(what: str, clips: int) -> None:
            bar.update(task, advance=clips, description=what)

        if config.clips:
            bar.update(task, description="reading sound")
            try:
                group, sources = _sources(groups, config)
                controls = set(comparison.loc[comparison["control"], "method"])
                chosen = {}
                for one in sources:
                    own = rows[rows["group"] == group.name], comparison[comparison["group"] == group.name]
                    chosen[one.loaded.label] = choose(
                        clip_scores(*own, one.loaded.label), controls, config.clips, config.seed
                    )
                work = sum(len(clips) * len(_methods(group, label)) for label, clips in chosen.items())
                bar.reset(task, total=work)
                for one in sources:
                    label = one.loaded.label
                    made = shown_clips(group, one, chosen[label], report)
                    missing += [f"{label}: {sentence}" for sentence in made.missing]
                    shown.append(
                        {
                            "group": group.name,
                            "classifier": label,
                            "about": made.about,
                            "clips": made.clips,
                            "agreement": made.agreement,
                        }
                    )
            except XaibenchError as error:
                missing.append(one_line(error))
        title = config.title or f"Explanations compared on {', '.join(dict.fromkeys(_datasets(groups)))}"
        page = page_of(groups, comparison, rows, marks, title) | {"shown": shown, "missing": missing}
        bar.update(task, description="writing")
        size = (report_page.write_folder if config.folder else report_page.write_page)(page, path)
    file = path / report_page.PAGE if config.folder else path
    return Written(file, size, sum(len(one["clips"]) for one in shown), tuple(missing))


def page_of(
    groups: Sequence[Group], comparison: pd.DataFrame, rows: pd.DataFrame, marks: Marks, title: str
) -> dict[str, Any]:
    """Collect all that a page says of groups of runs, without clips.

    Args:
        groups: as `selection.group` gives them.
        comparison, rows: what `compare_groups` and `compared_rows` make of them.
        marks: of metrics that a validation speaks against.
        title: of the page.
    """
    return {
        "title": title,
        "version": __version__,
        "date": date.today().isoformat(),
        "outcomes": list(OUTCOMES),
        "area": PRIMARY_AREA,
        "groups": [_group(one, comparison, rows, marks) for one in groups],
        "metrics": metrics_of(comparison),
        "methods": methods_of(groups),
        "shown": [],
        "missing": [],
        "site": None,
    }


def _datasets(groups: Sequence[Group]) -> list[str]:
    return [one.conditions.dataset for one in groups]


def _methods(group: Group, label: str) -> set[str]:
    return {part.info.method.name for part in group.parts if part.classifier == label}


def _group(group: Group, comparison: pd.DataFrame, rows: pd.DataFrame, marks: Marks) -> dict[str, Any]:
    """Collect what a page says of a group of runs."""
    lines, own = comparison[comparison["group"] == group.name], rows[rows["group"] == group.name]
    classifiers = sorted(set(lines["classifier"]))
    scores = {label: clip_scores(own, lines, label) for label in classifiers}
    return {
        "name": group.name,
        "dataset": group.conditions.dataset,
        "protocol": group.conditions.protocol,
        "classifiers": classifiers,
        "boards": boards_of(comparison, group.name, marks),
        "agreement": agreement_of(lines),
        "profiles": {label: profiles_of(own, lines, label, facts_of(group.parts)) for label in classifiers},
        "costs": costs_of(lines),
        "extremes": {
            label: {"metric": one.metric, "title": one.title, "methods": one.extremes()}
            for label, one in scores.items()
        },
        "provenance": _provenance(group, own),
    }


def _provenance(group: Group, rows: pd.DataFrame) -> list[tuple[str, str]]:
    """Say what the scores of a group were made with, as pairs of a name and a value."""
    about, infos = group.conditions, [part.info for part in group.parts]
    weights = {part.classifier: part.info.weights_sha256 for part in group.parts}
    versions = {", ".join(f"{name} {version}" for name, version in info.versions.items()): None for info in infos}
    clips = f"{rows['clip'].nunique()}, of {rows['src_file'].nunique()} recordings"
    said = {
        "Runs": ", ".join(run.name for run in group.runs),
        "Dataset": f"{about.dataset}, fold{'s' * (len(about.folds) > 1)} {', '.join(map(str, about.folds))}",
        "Clips": clips + (f"; {len(about.unreadable)} could not be read" if about.unreadable else ""),
        "Clip list": about.dataset_fingerprint,
        "Protocol": about.protocol,
        "Fill, target, long clips": f"{about.fill}, {about.target}, {about.long}",
        "Seed": str(about.seed),
        "Precision": about.precision + ", compiled" * about.compiled,
        "Weights (SHA-256)": "; ".join(f"{label} {sha256[:16]}" for label, sha256 in sorted(weights.items())),
        "Sample rate": ", ".join(sorted({f"{info.sample_rate} Hz" for info in infos})),
        "Device": "; ".join(sorted({info.device for info in infos})),
        "Versions": "; or ".join(versions),
    }
    return list(said.items())


def _sources(groups: Sequence[Group], config: ReportConfig) -> tuple[Group, list[Sources]]:
    """Find the group whose sound is here, and its classifiers that are shown.

    Raises:
        XaibenchError: there is no sound or classifier; says which option gives it.
    """
    refused: list[str] = []
    for group in groups:
        data = config.data or _generated(group.conditions.dataset)
        if data is None:
            name = group.conditions.dataset
            refused.append(f"clips of {name} are not shown: give its sound with --data-dir (in Python, data=...)")
            continue
        data = with_target(data, group.conditions.target)
        if data.fingerprint() != group.conditions.dataset_fingerprint:
            refused.append(f"clips of {group.name} are not shown: the run is of other clips than the {data.name} given")
        else:
            return group, _classifiers(group, data, config)
    raise XaibenchError("; ".join(dict.fromkeys(refused)))


def _classifiers(group: Group, data: Dataset, config: ReportConfig) -> list[Sources]:
    labels = sorted({part.classifier for part in group.parts})
    known = {one.label: one for one in config.loaded if one.label in labels}
    asked = config.models or list(known)[:1] or labels[:1]
    found = {label: known[label] for label in known if label in asked}
    others = [one for one in asked if one not in found]
    found |= load_scored(
        [one for one in others if isinstance(one, str) and one in labels],
        [one for one in others if one not in labels],
        data,
        group.conditions.folds,
        device_named(config.device),
        lambda said: None,  # what is odd was said when they were scored
    )
    shown = [one for one in found.values() if one.label in labels]
    if not shown:
        raise XaibenchError(
            f"clips are not shown: {labels[0]} is not here; give it with --classifier (in Python, model=...), its "
            "checkpoint folder or the object"
        )
    cache = ExplanationCache(cache_folder() / "explanations")
    return [Sources(dataset=data, loaded=one, cache=cache, explainers=config.explainers) for one in shown]


def _generated(name: str) -> Dataset | None:
    """Make a dataset that needs no folder, or return None."""
    try:
        kind: Callable[[], Dataset] = registry.load("datasets", name)
    except RegistryError:
        return None
    return None if getattr(kind, "reads_folder", True) else kind()

"""`xaibench validate`: test the metrics with explanations whose order is known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xaibench.commands import options
from xaibench.commands.console import notes, output, progress, show

if TYPE_CHECKING:
    from xaibench.scoring.evaluate import Event

CLIPS = 32  # three classifiers and the default metrics then take some minutes on two cores


def validate(
    classifier: Annotated[
        list[str] | None,
        typer.Option(
            "--classifier",
            "-c",
            help="Classifier, repeatable. Default: all whose weights are shipped for the dataset.",
            metavar=options.CLASSIFIER,
        ),
    ] = None,
    dataset: options.DatasetOption = "synth",
    data_dir: options.DataDirOption = None,
    class_map: options.ClassMapOption = None,
    folds: options.FoldsOption = None,
    metric: options.MetricOption = None,
    limit: Annotated[
        int,
        typer.Option(
            help="Use a sample of N clips of each classifier, of those that it decides by their labelled event.",
            metavar="N",
            min=1,
        ),
    ] = CLIPS,
    results: Annotated[
        Path,
        typer.Option(
            help="Folder with runs on the dataset, whose methods join in the agreement of metrics.", metavar="FOLDER"
        ),
    ] = Path("results"),
    seed: options.SeedOption = 0,
    device: options.DeviceOption = "auto",
    out: Annotated[
        Path, typer.Option(help="Folder for table and plot; the scores go to runs/validation in it.", metavar="FOLDER")
    ] = Path("results"),
) -> None:
    """Test the metrics themselves, with explanations whose order is known, on a dataset with ground truth.

    A map of the ground truth must score better than random bins, and better than loud bins outside the ground truth. A
    gradient method must be preferred by metrics of robustness to maps that never change, and by metrics of
    randomisation to maps that ignore the weights. These families join the default metrics here. [bold]xaibench
    leaderboard[/bold] then marks metrics that fail with the same classifier. If the command is stopped, the same
    command continues it.

    [bold]Examples[/bold]

    xaibench validate

    xaibench validate --limit 80 --metric default --metric road

    xaibench validate --dataset esc10-mix --data-dir ESC-50-master --limit 57
    """
    from xaibench.benchmark.models import load_models
    from xaibench.validation import report
    from xaibench.validation.questions import BY_FAMILY, PROBES
    from xaibench.validation.reference_maps import reference_maps
    from xaibench.validation.sample import choose
    from xaibench.validation.validate import default_metrics, validate_metrics

    source = options.open_dataset(dataset, data_dir, class_map=class_map)
    chosen = source.test_folds if folds is None else options.folds_named(folds, source)
    metrics = options.metrics(metric, []) if metric else default_metrics()
    classifiers = load_models(classifier, source, chosen, options.open_device(device), options.warn)
    with notes().status("asking classifiers by what they decide"):
        samples = [choose(one, source, chosen, limit, seed) for one in classifiers]
    for one in samples:
        notes().print(one.sentence(), markup=False, soft_wrap=True)
    with progress() as bar:
        maps = len(reference_maps(source)) + len(PROBES) * any(one.family in BY_FAMILY for one in metrics.values())
        task = bar.add_task("scoring", total=maps * sum(len(one.clips) for one in samples))

        def advance(event: Event) -> None:
            if event.kind == "failed":
                line = f"failed: {event.method} on {event.classifier}: {event.reason}"
                bar.console.print(line, style="red", markup=False, soft_wrap=True)
            bar.update(task, advance=event.clips, description=f"{event.classifier} · {event.method}")

        assessment = validate_metrics(
            samples,
            source,
            metrics,
            folds=chosen,
            limit=limit,
            out=out,
            results=results,
            seed=seed,
            report=advance,
        )
    show(*(table for loaded in classifiers for table in report.tables_of(assessment, loaded.label)))
    for line in report.summary(assessment):
        output().print(line, markup=False, soft_wrap=True)
    with notes().status("drawing"):
        written = report.write(assessment, out)
    for file in written:
        output().print(f"wrote {file}", markup=False, soft_wrap=True)

"""`xaibench validate`: test the metrics with maps whose order is known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xaibench.commands import options
from xaibench.commands.console import notes, output, progress

if TYPE_CHECKING:
    from xaibench.scoring.evaluate import Event

CLIPS = 32  # three classifiers and the default metrics then take some minutes on two cores


def validate(
    classifier: Annotated[
        list[str] | None,
        typer.Option(
            "--classifier",
            "-c",
            help="Classifier for synth, repeatable. Default: all whose weights are shipped.",
            metavar=options.CLASSIFIER,
        ),
    ] = None,
    metric: options.MetricOption = None,
    limit: Annotated[
        int, typer.Option(help="Use a sample of N of the 80 clips of fold 5, of all classes.", metavar="N", min=1)
    ] = CLIPS,
    results: Annotated[
        Path,
        typer.Option(
            help="Folder with runs on synth, whose methods join in the agreement of metrics.", metavar="FOLDER"
        ),
    ] = Path("results"),
    seed: options.SeedOption = 0,
    device: options.DeviceOption = "auto",
    out: Annotated[
        Path, typer.Option(help="Folder for table and plot; the scores go to runs/validation in it.", metavar="FOLDER")
    ] = Path("results"),
) -> None:
    """Test the metrics themselves, with reference maps whose order is known, on the embedded set.

    A map of the ground truth must score better than random bins, and better than loud bins outside the ground truth.
    [bold]xaibench leaderboard[/bold] then marks metrics that fail. If the command is stopped, the same command
    continues it.

    [bold]Examples[/bold]

    xaibench validate

    xaibench validate --limit 80 --metric default --metric road
    """
    from xaibench.benchmark.models import load_models
    from xaibench.reports import tables
    from xaibench.sound.subset import described, sample
    from xaibench.validation import report
    from xaibench.validation.reference_maps import DATASET, FOLDS, REFERENCE_MAPS
    from xaibench.validation.validate import validate_metrics

    source = options.open_dataset(DATASET, None)
    metrics = options.metrics(metric or [], [])
    classifiers = load_models(classifier, source, FOLDS, options.open_device(device), options.warn)
    with progress() as bar:
        clips = source.in_folds(FOLDS)
        chosen = sample(source, clips, limit, seed)
        notes().print(described(chosen, clips), style="dim", soft_wrap=True)
        task = bar.add_task("scoring", total=len(classifiers) * len(REFERENCE_MAPS) * len(chosen))

        def advance(event: Event) -> None:
            if event.kind == "failed":
                line = f"failed: {event.method} on {event.classifier}: {event.reason}"
                bar.console.print(line, style="red", markup=False, soft_wrap=True)
            bar.update(task, advance=event.clips, description=f"{event.classifier} · {event.method}")

        assessment = validate_metrics(
            classifiers, metrics, limit=limit, out=out, results=results, seed=seed, report=advance
        )
    for loaded in classifiers:
        for piece in report.table(assessment, loaded.label).split():
            output().print(tables.terminal(piece))
    for line in report.summary(assessment):
        output().print(line, markup=False, soft_wrap=True)
    with notes().status("drawing"):
        written = report.write(assessment, out)
    for file in written:
        output().print(f"wrote {file}", markup=False, soft_wrap=True)

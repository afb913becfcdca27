"""`xaibench validate`: test the metrics with maps whose order is known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xaibench.commands import options
from xaibench.commands.console import notes, output, progress
from xaibench.errors import XaibenchError

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
    limit: Annotated[int, typer.Option(help="Use only the first N of the 80 clips of fold 5.", min=1)] = CLIPS,
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
    from xaibench import registry
    from xaibench.classifiers.forward import automatic_batch_size
    from xaibench.commands.classifiers import load_classifiers
    from xaibench.reports import tables
    from xaibench.results.store import VALIDATION, Manifest, RunFolder, read_rows
    from xaibench.scoring import protocol
    from xaibench.scoring.evaluate import Event, RunConfig, evaluate
    from xaibench.validation import assess

    source = options.open_dataset(assess.DATASET, None)
    where = options.open_device(device)
    metrics = options.metrics(metric or [], [])
    # The agreement is computed with these metrics, which cost nothing.
    for name in registry.names("metrics"):
        kind = registry.load("metrics", name)
        if kind.needs_ground_truth and kind.in_default_set and kind.protocol == protocol.DEFAULT:
            metrics[name] = registry.create("metrics", name)
    clips = source.in_folds(assess.FOLDS)[:limit]
    maps = assess.yardsticks()
    config = RunConfig(
        dataset=source, clips=clips, methods=maps, metrics=metrics, seed=seed, batch_size=automatic_batch_size(where)
    )
    loaded_classifiers = load_classifiers(classifier, source, assess.FOLDS, where)
    path = out / "runs" / VALIDATION / (f"{source.name}-first{limit}" + (f"-seed{seed}" if seed else ""))
    folder = RunFolder(
        path,
        Manifest(
            dataset=source.name,
            dataset_fingerprint=source.fingerprint(),
            folds=assess.FOLDS,
            limit=limit,
            clips=len(clips),
            seed=seed,
            protocol=protocol.default().id,
        ),
    )

    failures: list[str] = []
    with progress() as bar:
        task = bar.add_task("scoring", total=len(loaded_classifiers) * len(maps) * len(clips))

        def report(event: Event) -> None:
            if event.kind == "failed":
                failures.append(f"failed: {event.method} on {event.classifier}: {event.reason}")
            bar.update(task, advance=event.clips, description=f"{event.classifier} · {event.method}")

        for loaded in loaded_classifiers:
            evaluate(config, loaded, folder, report)
    for line in failures:
        notes().print(line, style="red", markup=False, soft_wrap=True)
    if failures:
        raise XaibenchError(
            "some reference maps could not be scored (see above); mend the cause and run this again, the rest is saved"
        )

    with notes().status("comparing"):
        rows = read_rows(path)
        rows = rows[rows["classifier"].isin([loaded.label for loaded in loaded_classifiers])]
        methods = assess.real_methods(results, {loaded.label: loaded.identity for loaded in loaded_classifiers})
        assessment = assess.assess(rows, methods)
    for loaded in loaded_classifiers:
        for piece in assess.table(assessment, loaded.label).split():
            output().print(tables.terminal(piece))
    for line in assess.summary(assessment):
        output().print(line, markup=False, soft_wrap=True)
    with notes().status("drawing"):
        written = assess.write(assessment, out)
    for file in written:
        output().print(f"wrote {file}", markup=False, soft_wrap=True)

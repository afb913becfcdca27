"""`xaibench score`: score maps that were made elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xaibench.commands import options
from xaibench.commands.evaluation import carry_out


def score(
    maps: Annotated[
        Path,
        typer.Option(
            help="An npz file with an array for each clip, called after the clip, and perhaps times (s) and "
            "frequencies (Hz); or a folder with a file for each clip, as [bold]run --keep-maps[/bold] writes it.",
            metavar="FILE|FOLDER",
        ),
    ],
    name: Annotated[str, typer.Option(help="What the results call them.", metavar="NAME")],
    classifier: Annotated[
        list[str] | None,
        typer.Option(
            "--classifier",
            "-c",
            help="Classifier that the maps explain; repeatable. Default: all that are shipped for the dataset.",
            metavar=options.CLASSIFIER,
        ),
    ] = None,
    dataset: options.DatasetOption = "synth",
    data_dir: options.DataDirOption = None,
    columns: options.ColumnsOption = None,
    class_map: options.ClassMapOption = None,
    folds: options.FoldsOption = None,
    metric: options.MetricOption = None,
    limit: options.LimitOption = None,
    seed: options.SeedOption = 0,
    protocol: Annotated[
        str, typer.Option(help="standard, or another protocol of docs/protocols.md.", metavar="NAME")
    ] = options.STANDARD,
    controls: options.ControlsOption = True,
    fill: options.FillOption = options.SILENCE,
    target: options.TargetOption = options.PREDICTED,
    long: options.LongOption = options.CUT,
    device: options.DeviceOption = "auto",
    out: Annotated[
        Path | None, typer.Option(help="Run folder. Default: the one of [bold]xaibench run[/bold].", metavar="FOLDER")
    ] = None,
) -> None:
    """Score maps that were made elsewhere, beside the methods of a run.

    A map is an array (frequencies, times), or (times,), that covers the whole clip. It is brought to the picture of the
    classifier by linear interpolation along its axes. With the same dataset, folds and limit, the scores stand in the
    folder of [bold]xaibench run[/bold], and are compared with those that are there.

    [bold]Examples[/bold]

    xaibench score --maps maps.npz --name mine -c cnn-micro --limit 16

    xaibench score --maps maps --name mine -c cnn-micro --dataset esc10 --data-dir ESC-50-master
    """
    from xaibench.benchmark.naming import methods_named
    from xaibench.explaining.precomputed import Precomputed

    carry_out(
        methods_named(Precomputed(maps, name)),
        classifier=classifier,
        dataset=dataset,
        data_dir=data_dir,
        columns=columns,
        class_map=class_map,
        folds=folds,
        metric=metric,
        limit=limit,
        seed=seed,
        protocol=protocol,
        controls=controls,
        fill=fill,
        target=target,
        long=long,
        device=device,
        out=out,
    )

"""`xaibench classifiers check`: ask whether a classifier is itself in here, before it is scored."""

from __future__ import annotations

from typing import Annotated

import typer

from xaibench.commands import options
from xaibench.commands.console import notes, output


def check(
    name: Annotated[
        str,
        typer.Argument(
            help="A name from [bold]xaibench classifiers[/bold], or a checkpoint folder.", metavar=options.CLASSIFIER
        ),
    ],
    dataset: options.DatasetOption = "synth",
    data_dir: options.DataDirOption = None,
    columns: options.ColumnsOption = None,
    class_map: options.ClassMapOption = None,
    folds: options.CheckedFoldsOption = None,
    limit: Annotated[int, typer.Option(help="Number of clips to hear, a sample of all classes.", min=1)] = 100,
    device: options.DeviceOption = "auto",
) -> None:
    """Check a classifier on clips of a dataset before you score explanations of it.

    A model that is asked in the wrong way (another sample rate, front end, length or order of classes than it was
    trained with) still gives numbers, and its scores mean nothing. The check prints how often the model is right, and
    whether it answers as the bare model does; what changes when a clip goes through analysis and synthesis, is made
    softer or louder, comes with other clips, or is heard again; and whether there are gradients. A line that begins
    with ! is a warning and says what to do.

    The exit code is 1 if a warning makes scores meaningless, else 0.

    [bold]Examples[/bold]

    xaibench classifiers check cnn-micro

    xaibench classifiers check mine --dataset esc10 --data-dir ESC-50-master --limit 40
    """
    from xaibench.benchmark.models import load_models
    from xaibench.classifiers.check import check as checked

    source = options.open_dataset(dataset, data_dir, columns, class_map)
    chosen = None if folds is None else options.folds_named(folds, source)
    (loaded,) = load_models([name], source, (), options.open_device(device))
    with notes().status("listening"):
        found = checked(loaded.classifier, source, limit=limit, folds=chosen)
    output().print(f"{loaded.label}, {found.clips} clips of {source.name}", markup=False, soft_wrap=True)
    for line in found.lines():
        output().print(line, markup=False, soft_wrap=True)
    for sentence in found.warnings:
        options.warn(f"! {sentence}")
    if found.faults:
        raise typer.Exit(1)

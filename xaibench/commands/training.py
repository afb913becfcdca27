"""`xaibench train`: train a classifier."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from xaibench.commands import options
from xaibench.commands.console import output, progress_wanted


def train(
    classifier: Annotated[
        str, typer.Option("--classifier", "-c", help="Architecture, such as cnn-micro.", metavar="NAME")
    ],
    dataset: options.DatasetOption = "synth",
    data_dir: options.DataDirOption = None,
    columns: options.ColumnsOption = None,
    out: Annotated[
        Path | None, typer.Option(help="Checkpoint folder. Default: checkpoints/DATASET/CLASSIFIER.", metavar="FOLDER")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Number of epochs. Default: that of the classifier's recipe.", min=1)
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(help="Peak learning rate. Default: that of the classifier's recipe.", min=1e-9, max=10.0),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Clips per step. Default: that of the classifier's recipe.", min=1)
    ] = None,
    frequency_shift: Annotated[
        int, typer.Option(help="Shift training clips up or down by at most N bins of 15.6 Hz each.", min=0, max=128)
    ] = 0,
    stretch: Annotated[
        float,
        typer.Option(
            help="Stretch or squeeze the frequencies and the times of training clips by at most this share each.",
            min=0.0,
            max=1.0,
        ),
    ] = 0.0,
    init: Annotated[
        str | None,
        typer.Option(
            help="Start from the weights of this classifier, without its head: as [bold]run --classifier[/bold] takes "
            "it, such as esc10/vit-micro, or an image model of transformers such as microsoft/focalnet-base.",
            metavar=f"{options.CLASSIFIER}|OWNER/NAME",
        ),
    ] = None,
    freeze: Annotated[
        bool, typer.Option("--freeze", help="Train the head alone: all else stays as [bold]--init[/bold] has it.")
    ] = False,
    teacher: Annotated[
        list[str] | None,
        typer.Option(
            help="Train half on the probabilities of this classifier, such as synth/cnn-micro. Repeatable: on the "
            "mean of several.",
            metavar=options.CLASSIFIER,
        ),
    ] = None,
    precision: Annotated[
        options.Precision,
        typer.Option(help="Precision of matrix products; bfloat16 is twice as fast where the processor supports it."),
    ] = options.Precision.float32,
    seed: options.SeedOption = 0,
    device: options.DeviceOption = "auto",
    deterministic: options.DeterministicOption = False,
) -> None:
    """Train a classifier on folds 1-3, select the epoch on fold 4, and test it once on fold 5.

    Of a dataset with other folds, the last is for the test and the one before it for the choice.

    The folder that this writes can be given to [bold]xaibench run --classifier[/bold]. If a training is
    stopped, the same command continues it.

    [bold]Examples[/bold]

    xaibench train --classifier cnn-micro

    xaibench train -c cnn-micro --dataset esc10 --data-dir ESC-50-master --epochs 40
    """
    from xaibench.benchmark.learning import train as train_classifier

    source = options.open_dataset(dataset, data_dir, columns)
    options.open_device(device, deterministic)
    learned = train_classifier(
        classifier,
        source,
        out=out,
        epochs=epochs,
        learning_rate=learning_rate,
        batch_size=batch_size,
        frequency_shift=frequency_shift,
        stretch=stretch,
        init=init,
        freeze=freeze,
        teachers=teacher or (),
        seed=seed,
        precision=precision,
        device=device,
        progress=progress_wanted(),
        command=shlex.join(["xaibench", *sys.argv[1:]]),
        say=options.warn,
    )
    card = learned.card
    valid, test = (", ".join(map(str, folds)) for folds in (card.validation_folds, card.test_folds))
    output().print(
        f"{classifier} on {dataset}: accuracy {card.validation_accuracy:.4f} on fold {valid} (epoch "
        f"{card.best_epoch} of {card.epochs}, chosen there), {card.test_accuracy:.4f} on fold {test}; "
        f"{card.seconds:.0f} s",
        soft_wrap=True,
    )
    output().print(f"weights and card: {learned.folder}", markup=False, soft_wrap=True)

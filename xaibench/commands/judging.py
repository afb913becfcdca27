"""`xaibench judge`: train the judge of a classifier, for metrics that ask one."""

from __future__ import annotations

import shlex
import sys
from typing import Annotated

import typer

from xaibench.commands import options
from xaibench.commands.console import output, progress_wanted

EPOCHS, LEARNING_RATE = 5, 1e-4  # those of classifiers.judge_training, whose module imports torch


def judge(
    classifier: Annotated[
        str,
        typer.Option("--classifier", "-c", help="Classifier of which it is a copy.", metavar=options.CLASSIFIER),
    ],
    dataset: options.DatasetOption = "synth",
    data_dir: options.DataDirOption = None,
    columns: options.ColumnsOption = None,
    epochs: Annotated[int, typer.Option(help="Passes over the training folds.", metavar="N", min=1)] = EPOCHS,
    learning_rate: Annotated[
        float, typer.Option(help="Peak of the learning rate.", metavar="RATE", min=0.0)
    ] = LEARNING_RATE,
    seed: options.SeedOption = 0,
    device: options.DeviceOption = "auto",
    precision: Annotated[
        options.Precision, typer.Option(help="Precision of matrix products; bfloat16 is faster on a GPU.")
    ] = options.Precision.float32,
    deterministic: options.DeterministicOption = False,
    out: options.ExplainersOption = options.EXPLAINERS,
) -> None:
    """Train a judge: a copy of a classifier that is used to missing parts of clips.

    A clip without its most important part is unlike every clip that a classifier knows. The judge has learned a little
    longer, on folds 1-3, on clips with up to half of their bins taken out at random; the epoch is chosen on fold 4.
    Metrics that need a judge (f_fidelity_plus, f_fidelity_minus) ask it instead of the classifier, if it is accepted:
    on fold 4 its accuracy may fall by at most 0.05 where parts are missing. Explanations stay the classifier's.

    The judge goes to EXPLAINERS/DATASET/CLASSIFIER/judge. If its training is stopped, the same command continues it.

    [bold]Examples[/bold]

    xaibench judge --classifier cnn-micro

    xaibench judge -c cnn-micro --dataset esc10 --data-dir ESC-50-master --epochs 10
    """
    from xaibench.benchmark.learning import judge as train_judge

    source = options.open_dataset(dataset, data_dir, columns)
    options.open_device(device, deterministic)
    learned = train_judge(
        classifier,
        source,
        epochs=epochs,
        learning_rate=learning_rate,
        out=out,
        seed=seed,
        precision=precision,
        device=device,
        progress=progress_wanted(),
        command=shlex.join(["xaibench", *sys.argv[1:]]),
        say=options.warn,
    )
    card, folds = learned.card, ", ".join(map(str, source.split.validation))
    output().print(
        f"judge of {card.classifier} on {dataset}: accuracy on fold {folds} {card.accuracy:.3f} (the classifier's: "
        f"{card.original_accuracy:.3f}), {card.masked_accuracy:.3f} where parts are missing; epoch {card.best_epoch} "
        f"of {card.epochs}, {card.seconds:.0f} s",
        soft_wrap=True,
    )
    output().print(f"weights and card: {learned.folder}", markup=False, soft_wrap=True)

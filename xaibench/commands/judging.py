"""`xaibench judge`: train the judge of a classifier, for metrics that ask one."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from xaibench.commands import options
from xaibench.commands.console import output, progress

if TYPE_CHECKING:
    from xaibench.classifiers.judge_training import JudgeEpoch

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
    from xaibench.benchmark.models import load_models
    from xaibench.classifiers.judge import folder_of
    from xaibench.classifiers.judge_training import JudgeConfig, train_judge

    source = options.open_dataset(dataset, data_dir, columns)
    where = options.open_device(device, deterministic)
    (loaded,) = load_models([classifier], source, (), where, options.warn)
    folder = folder_of(out, dataset, loaded.label)
    config = JudgeConfig(
        epochs=epochs,
        learning_rate=learning_rate,
        seed=seed,
        precision=precision.dtype,
        command=shlex.join(["xaibench", *sys.argv[1:]]),
        split=source.split,
    )
    options.warn_of_spanning_groups(source)
    valid = ", ".join(map(str, config.split.validation))
    with progress() as bar:
        task = bar.add_task("reading sound", total=None)

        def report(step: JudgeEpoch) -> None:
            text = f"loss {step.loss:.3f} · fold {valid}, parts missing: {step.masked_accuracy:.3f}"
            bar.update(task, completed=step.epoch, total=step.epochs, description=text)

        card = train_judge(loaded, source, config, folder, report)
    output().print(
        f"judge of {loaded.label} on {dataset}: accuracy on fold {valid} {card.accuracy:.3f} (the classifier's: "
        f"{card.original_accuracy:.3f}), {card.masked_accuracy:.3f} where parts are missing; epoch {card.best_epoch} "
        f"of {card.epochs}, {card.seconds:.0f} s",
        soft_wrap=True,
    )
    if card.fault:
        options.warn(f"the judge {card.fault}")
    output().print(f"weights and card: {folder}", markup=False, soft_wrap=True)

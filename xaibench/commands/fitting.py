"""`xaibench fit`: fit an explainer that has weights of its own."""

from __future__ import annotations

import shlex
import sys
from typing import Annotated

import typer

from xaibench.commands import options
from xaibench.commands.console import output, progress_wanted
from xaibench.errors import XaibenchError


def fit(
    method: Annotated[
        str, typer.Option("--method", "-m", help="Explainer with weights of its own, such as piq.", metavar="NAME")
    ],
    classifier: Annotated[
        str,
        typer.Option("--classifier", "-c", help="Classifier that it will explain.", metavar=options.CLASSIFIER),
    ],
    dataset: options.DatasetOption = "synth",
    data_dir: options.DataDirOption = None,
    columns: options.ColumnsOption = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Value of a hyperparameter, repeatable; [bold]xaibench methods show NAME[/bold] lists them with their "
            "defaults.",
            metavar="NAME=VALUE",
        ),
    ] = None,
    seed: options.SeedOption = 0,
    device: options.DeviceOption = "auto",
    precision: Annotated[
        options.Precision, typer.Option(help="Precision of matrix products; bfloat16 is faster on a GPU.")
    ] = options.Precision.float32,
    deterministic: options.DeterministicOption = False,
    out: options.ExplainersOption = options.EXPLAINERS,
) -> None:
    """Fit an explainer to a classifier on folds 1-3, with early stopping on fold 4.

    Of a dataset with other folds, the last is left for the test, and the one before it is for early stopping.

    The classifier is not changed. The weights and their card go to EXPLAINERS/DATASET/CLASSIFIER/METHOD, where
    [bold]xaibench run --method[/bold] finds them. If a fit is stopped, the same command continues it.

    [bold]Examples[/bold]

    xaibench fit --method piq --classifier cnn-micro

    xaibench fit -m lmac -c checkpoints/esc10/cnn-micro --dataset esc10 --data-dir ESC-50-master --set epochs=10
    """
    from xaibench.benchmark.learning import fit as fit_explainer

    source = options.open_dataset(dataset, data_dir, columns)
    options.open_device(device, deterministic)
    learned = fit_explainer(
        method,
        classifier,
        source,
        settings=dict(_pair(text) for text in settings or []),
        out=out,
        seed=seed,
        precision=precision,
        device=device,
        progress=progress_wanted(),
        command=shlex.join(["xaibench", *sys.argv[1:]]),
        say=options.warn,
    )
    card, folds = learned.card, ", ".join(map(str, source.split.validation))
    best = [losses["valid"] for losses in card.losses if losses["epoch"] == card.best_epoch]
    loss = (
        f"loss {best[0]:.4f} on fold {folds} (epoch {card.best_epoch} of {len(card.losses)}, chosen there)"
        if best
        else ""
    )
    measures = [f"{name.replace('_', ' ')} {value:.2f}" for name, value in card.measures.items()]
    fitted = ", ".join([loss, *measures] if loss else measures)
    output().print(
        f"{method} for {card.classifier} on {dataset}: {fitted}{'; ' * bool(fitted)}{card.parameters:,} parameters, "
        f"{card.seconds:.0f} s",
        soft_wrap=True,
    )
    output().print(f"weights and card: {learned.folder}", markup=False, soft_wrap=True)


def _pair(text: str) -> tuple[str, str]:
    name, mark, value = text.partition("=")
    if not mark:
        raise XaibenchError(f"--set {text!r} is not of the form NAME=VALUE, such as epochs=10")
    return name.strip(), value.strip()

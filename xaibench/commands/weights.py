"""`xaibench weights`: list the weights of trained explainers, or add weights that another project fitted."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from xaibench import registry
from xaibench.commands import options
from xaibench.commands.console import output
from xaibench.errors import CheckpointError, UnsupportedPairError

if TYPE_CHECKING:
    from xaibench.explaining.fitting import ExplainerCard

app = typer.Typer(
    help="List the weights of trained explainers; 'add' adds weights that another project fitted.",
    rich_markup_mode="rich",
)


@app.callback(invoke_without_command=True)
def list_all(context: typer.Context, explainers: options.ExplainersOption = options.EXPLAINERS) -> None:
    """List the weights of trained explainers, your own before the shipped ones.

    Weights belong to one classifier. [bold]xaibench run[/bold] finds them by the classifier's hash. "through" says how
    the classifier was asked about changed clips while they were fitted: as sound, as the protocol standard does, or as
    pictures. Fit weights with
    [bold]xaibench fit[/bold], or add those that another project fitted with [bold]xaibench weights add[/bold].
    """
    from xaibench.explaining import fitting

    if context.invoked_subcommand is not None:
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("method", "classifier", "dataset"):
        table.add_column(heading, no_wrap=True)
    for heading in ("parameters", "fitted in"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("through", no_wrap=True)
    table.add_column("where", overflow="fold")
    damaged = []
    for folder in fitting.found(explainers):
        try:
            card = fitting.ExplainerCard.read(folder)
        except CheckpointError as error:  # one damaged card must not hide the others
            damaged.append(str(error))
            continue
        facts = (f"{card.parameters:,}", _time(card), card.fitted_through or "\N{EN DASH}")
        cells = (card.method, card.classifier, card.dataset or "unknown", *facts, str(folder))
        table.add_row(*map(escape, cells))
    if table.row_count:
        output().print(table)
    else:
        output().print(
            f"no fitted explainer is shipped or lies in {explainers}; fit one with 'xaibench fit'",
            markup=False,
            soft_wrap=True,
        )
    for line in damaged:
        output().print(line, markup=False, soft_wrap=True)


def _time(card: ExplainerCard) -> str:
    return "elsewhere" if card.seconds is None else f"{card.seconds:.0f} s"


@app.command("add")
def add(
    method: Annotated[
        str, typer.Argument(help="Trained explainer that reads files of another project, such as piq-speechbrain.")
    ],
    classifier: Annotated[
        str,
        typer.Option(
            "--classifier",
            "-c",
            help="Classifier to which it was fitted, such as a name from [bold]xaibench classifiers add[/bold].",
            metavar=options.CLASSIFIER,
        ),
    ],
    source: Annotated[Path, typer.Option("--from", help="Folder with the other project's files.", metavar="FOLDER")],
    explainers: options.ExplainersOption = options.EXPLAINERS,
    force: Annotated[bool, typer.Option("--force", help="Replace weights that are there already.")] = False,
) -> None:
    """Add the weights of an explainer that another project fitted, so that runs with its classifier find them.

    The files are checked and converted to safetensors; no code in them is run. The weights and their card go to
    EXPLAINERS/DATASET/CLASSIFIER/METHOD.

    [bold]Examples[/bold]

    xaibench classifiers add paper --from results/focalnet/1234/save

    xaibench weights add piq-speechbrain -c paper --from results/piq_focalnet/1234/save
    """
    from xaibench.explaining import adding
    from xaibench.explaining.trainable import TrainableExplainer

    explainer = registry.create("methods", method)
    if not isinstance(explainer, TrainableExplainer):
        raise UnsupportedPairError(f"{method} has no weights; use it with 'xaibench run --method {method}'")
    command = shlex.join(["xaibench", *sys.argv[1:]])
    config = adding.AddExplainerConfig(
        method=method, classifier=classifier, source=source.expanduser(), root=explainers, command=command
    )
    added = adding.add(config, explainer, force)
    card = added.card
    output().print(
        f"added {method} for {card.classifier}: {card.parameters:,} parameters, from {card.origin}",
        markup=False,
        soft_wrap=True,
    )
    output().print(f"weights and card: {added.folder}", markup=False, soft_wrap=True)
    where = "" if explainers == options.EXPLAINERS else f" --explainers {shlex.quote(str(explainers))}"
    dataset = f"--dataset {card.dataset}" if card.dataset else "--dataset DATASET"
    output().print(
        f"next: xaibench run -c {shlex.quote(classifier)} -m {method} {dataset} --data-dir FOLDER{where}",
        markup=False,
        soft_wrap=True,
    )
